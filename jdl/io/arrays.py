"""Pytrees of arrays as named arrays and a description of their structure, and back, bit by bit."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from jdl.core.errors import CheckpointError, ConfigTypeError, shown

DTYPES = {
    np.dtype(t).name: np.dtype(t)
    for t in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
        *(ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.int4),
    )
}
_KEYS = ("threefry2x32", "rbg", "unsafe_rbg")


@dataclass(frozen=True)
class ArrayEntry:
    """What is known of an array before it is read.

    Args:
      shape: Its shape; of random keys, that of their words.
      dtype: Name of the type of its entries.
      key: Of random keys, the name of their generator.
    """

    shape: tuple[int, ...]
    dtype: str
    key: str | None = None

    @property
    def n_bytes(self) -> int:
        """Bytes that the array takes."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        plain: dict[str, Any] = {"shape": list(self.shape), "dtype": self.dtype}
        return plain if self.key is None else {**plain, "key": self.key}

    @classmethod
    def from_json(cls, name: str, plain: Any) -> "ArrayEntry":
        """From plain values, each of which is checked.

        Raises:
          CheckpointError: They describe no array.
        """
        shape, dtype, key = (plain.get(n) if isinstance(plain, Mapping) else None for n in ("shape", "dtype", "key"))
        sizes = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
        if not sizes or dtype not in DTYPES or key not in (None, *_KEYS):
            raise CheckpointError(f"the description of array '{name}' is none: {shown(plain)}.")
        return cls(tuple(shape or ()), dtype, key)


def flatten(tree: Any) -> tuple[dict[str, np.ndarray], dict[str, ArrayEntry], Any]:
    """The arrays of a pytree by name, what each of them is, and the tree's structure as plain values.

    Dicts, lists, tuples and None come back as they are; of other containers - named tuples, dataclasses, states -
    dicts by the names of their parts come back, unless a template is given.

    Raises:
      ConfigTypeError: A leaf is no array.

    >>> arrays, _, structure = flatten({"a": [np.zeros(2), None]})
    >>> list(arrays), structure
    (['a/0'], {'dict': [['a', {'list': [{'array': 'a/0'}, None]}]]})
    """
    arrays: dict[str, np.ndarray] = {}
    entries: dict[str, ArrayEntry] = {}

    def visit(node: Any, path: tuple[str, ...]) -> Any:
        if node is None:
            return None
        children = _children(node)
        if children is None:
            name = "/".join(path) or "array"
            if name in arrays:
                raise ConfigTypeError(f"write_directory: two arrays have the name '{name}'.")
            arrays[name], entries[name] = _leaf(node, name)
            return {"array": name}
        parts = [(key, visit(child, (*path, _quoted(key)))) for key, child in children]
        if type(node) in (list, tuple):
            return {type(node).__name__: [part for _, part in parts]}
        return {"dict": [[key, part] for key, part in parts]}

    structure = visit(tree, ())
    return arrays, entries, structure


def _children(node: Any) -> list[tuple[Any, Any]] | None:
    """The parts of a container by name; None of a leaf."""
    if type(node) is dict:
        for key in node:
            if type(key) not in (str, int):
                raise ConfigTypeError(f"write_directory: keys of dicts must be texts or integers, got {shown(key)}.")
        return list(node.items())
    if type(node) in (list, tuple):
        return [(str(i), child) for i, child in enumerate(node)]
    pairs = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda part: part is not node)[0]
    if len(pairs) == 1 and pairs[0][1] is node:
        return None
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), child) for path, child in pairs]


def _quoted(key: Any) -> str:
    # Orbax joins the parts of a path by dots.
    return quote(str(key), safe=" ").replace(".", "%2E") or "%"


def _leaf(leaf: Any, name: str) -> tuple[np.ndarray, ArrayEntry]:
    key = None
    if is_key(getattr(leaf, "dtype", None)):
        key = str(jax.random.key_impl(leaf))
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    if array.dtype.name not in DTYPES or (key is not None and key not in _KEYS):
        raise ConfigTypeError(
            f"write_directory: '{name}' must be an array of numbers, got {shown(leaf)}.\nHint: other values belong "
            "into the spec."
        )
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
    return array, ArrayEntry(array.shape, array.dtype.name, key)


def unflatten(structure: Any, arrays: Mapping[str, np.ndarray], entries: Mapping[str, ArrayEntry]) -> Any:
    """The pytree that `flatten` took apart.

    Raises:
      CheckpointError: The structure names an array that there is not, or is none.
    """
    if structure is None:
        return None
    single = isinstance(structure, dict) and len(structure) == 1
    kind, content = next(iter(structure.items())) if single else ("", None)
    if kind == "array" and isinstance(content, str) and content in arrays:
        return restored(arrays[content], entries[content])
    if kind in ("list", "tuple") and isinstance(content, list):
        parts = [unflatten(part, arrays, entries) for part in content]
        return parts if kind == "list" else tuple(parts)
    if kind == "dict" and isinstance(content, list) and all(_is_pair(pair) for pair in content):
        return {key: unflatten(part, arrays, entries) for key, part in content}
    raise CheckpointError(f"the structure of its arrays is damaged at {shown(structure)}.")


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and type(pair[0]) in (str, int)


def restored(array: np.ndarray, entry: ArrayEntry) -> Any:
    """The array, or the random keys that it stands for."""
    return array if entry.key is None else jax.random.wrap_key_data(jnp.asarray(array), impl=entry.key)


def is_key(dtype: Any) -> bool:
    """Whether it is the type of JAX's random keys."""
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def fill(like: Any, arrays: Mapping[str, np.ndarray], entries: Mapping[str, ArrayEntry]) -> Any:
    """A pytree in the structure of `like`, with the arrays of the same names.

    Args:
      like: Arrays, or `jax.ShapeDtypeStruct`s.
      arrays: By name.
      entries: What they are.

    Raises:
      CheckpointError: Names the array that is missing, too many, or of another shape or type.
    """
    wanted: dict[str, Any] = {}

    def visit(node: Any, path: tuple[str, ...]) -> None:
        children = None if node is None else _children(node)
        if node is not None and children is None:
            wanted["/".join(path) or "array"] = node
        ordered = (
            sorted(children or (), key=lambda c: c[0]) if type(node) is dict else children or ()
        )  # as JAX orders the leaves
        for key, child in ordered:
            visit(child, (*path, _quoted(key)))

    visit(like, ())
    for name in [*wanted, *arrays]:
        if name not in arrays:
            raise CheckpointError(f"array '{name}' is missing.\nHint: it was saved from something else.")
        if name not in wanted:
            raise CheckpointError(f"array '{name}' belongs to nothing.\nHint: it was saved from something else.")
        _check_like(name, entries[name], wanted[name])
    leaves = [restored(arrays[name], entries[name]) for name in wanted]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _check_like(name: str, entry: ArrayEntry, like: Any) -> None:
    dtype = getattr(like, "dtype", None)
    if is_key(dtype):
        fits = entry.key is not None and entry.shape[: len(like.shape)] == tuple(like.shape)
    else:
        fits = entry.key is None and (entry.shape, entry.dtype) == (np.shape(like), np.dtype(dtype or type(like)).name)
    if not fits:
        what = f"{entry.key or entry.dtype} of shape {entry.shape}"
        raise CheckpointError(f"array '{name}' is {what}, expected {dtype} of shape {np.shape(like)}.")
