"""Folders of a spec and arrays: bit-exact round trips, verification, atomic writing."""

import json
import os
import shutil
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from flax import nnx

from jdl.core.errors import CheckpointError, ConfigTypeError
from jdl.io import directory as directory_module
from jdl.io import read_directory, write_directory
from jdl.io.directory import HEAD

SPEC = {"kind": "example", "values": [1, 2.5, None, True, "ü"]}
ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": [np.float64(1.5), None]}


@pytest.fixture
def saved(tmp_path):
    write_directory(tmp_path / "saved", SPEC, ARRAYS)
    return tmp_path / "saved"


def same_bits(one, other):
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def only_entry(folder):
    return sorted(os.listdir(folder))


class Pair(NamedTuple):
    first: object
    second: object


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    step: object
    key: object
    best: object


def test_dtypes_and_odd_values_come_back_bit_by_bit(tmp_path):
    names = ("bool int8 uint8 int32 uint32 int64 uint64 float16 float32 float64 complex64").split()
    types = [*map(np.dtype, names), np.dtype(ml_dtypes.bfloat16), np.dtype(ml_dtypes.float8_e5m2)]
    arrays = {t.name: np.arange(4).astype(t) for t in types}
    arrays |= {
        "nan": np.array([np.nan, -np.inf, -0.0, 5e-324]),
        "empty": np.zeros((0, 3), np.int32),
        "scalar": np.float32(0.1),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "strided": np.arange(10)[::2],
    }
    write_directory(tmp_path / "a", {}, arrays)
    back = read_directory(tmp_path / "a")[1]
    assert list(back) == list(arrays)
    assert all(same_bits(back[name], array) for name, array in arrays.items())


def test_spec_and_plain_containers_come_back(saved):
    spec, arrays = read_directory(saved)
    assert spec == SPEC
    assert list(arrays) == ["a", "b"] and isinstance(arrays["b"], list) and arrays["b"][1] is None
    assert same_bits(arrays["a"], ARRAYS["a"])


@pytest.mark.parametrize(
    "tree",
    [
        None,
        {},
        (),
        [],
        np.ones(2),
        ({}, None, [()]),
        {10: np.ones(1), 9: np.zeros(1)},
        {"a.b": {"c/d": np.ones(1)}, "": ()},
    ],
)
def test_structures_come_back(tmp_path, tree):
    write_directory(tmp_path / "a", None, tree)
    spec, back = read_directory(tmp_path / "a")
    assert spec is None and jax.tree.structure(back) == jax.tree.structure(tree)
    jax.tree.map(np.testing.assert_array_equal, back, tree)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_random_keys_continue_where_they_were(tmp_path, impl):
    key, keys = jax.random.key(3, impl=impl), jax.random.split(jax.random.key(4, impl=impl), 3)
    write_directory(tmp_path / "a", None, [key, keys])
    for back in (read_directory(tmp_path / "a")[1], read_directory(tmp_path / "a", like=[key, keys])[1]):
        assert back[1].shape == (3,) and back[0].dtype == key.dtype
        assert jax.random.bits(back[0]) == jax.random.bits(key)
        np.testing.assert_array_equal(jax.random.key_data(back[1]), jax.random.key_data(keys))


def training_state():
    params = nnx.state(nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Linear(3, 1, rngs=nnx.Rngs(1))))
    optimizer = optax.chain(optax.clip(1.0), optax.adam(1e-3, mu_dtype=jnp.bfloat16))
    # The order of the keys is not the one in which JAX takes the leaves.
    best = {"z": jnp.int32(3), "a": Pair(jnp.ones(2), None)}
    return params, optimizer.init(nnx.to_pure_dict(params)), State(jnp.uint32(7), jax.random.key(1), best)


def test_a_training_state_comes_back_in_its_structure(tmp_path):
    state = training_state()
    write_directory(tmp_path / "a", {"epoch": 3}, state)
    shapes = jax.eval_shape(lambda: state)
    for like in (state, shapes):
        back = read_directory(tmp_path / "a", like=like)[1]
        assert jax.tree.structure(back) == jax.tree.structure(state)
        for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(state), strict=True):
            if jnp.issubdtype(other.dtype, jax.dtypes.prng_key):
                one, other = jax.random.key_data(one), jax.random.key_data(other)
            assert same_bits(one, other)


@pytest.mark.parametrize(
    ("like", "named"),
    [
        ({"a": np.ones((2, 3), np.float32)}, "'b/0'"),
        ({"a": np.ones((3, 2), np.float32), "b": [1.0, None]}, "'a'"),
        ({"a": np.ones((2, 3), np.float64), "b": [1.0, None]}, "'a'"),
        ({"a": np.ones((2, 3), np.float32), "b": [1.0, None], "c": np.ones(1)}, "'c'"),
        ({"a": jax.random.key(0), "b": [1.0, None]}, "'a'"),
    ],
)
def test_a_template_that_does_not_fit_is_refused_by_the_array(saved, like, named):
    with pytest.raises(CheckpointError, match=named):
        read_directory(saved, like=like)


@pytest.mark.parametrize("leaf", ["text", np.array(["a"]), object()])
def test_what_is_no_array_is_refused_and_leaves_nothing(tmp_path, leaf):
    with pytest.raises(ConfigTypeError, match="'x/y'"):
        write_directory(tmp_path / "a", None, {"x": {"y": leaf}})
    assert not only_entry(tmp_path)


@pytest.mark.parametrize("spec", [{"a": np.nan}, {"a": {1, 2}}, {"a": float("inf")}, object()])
def test_what_is_no_plain_spec_is_refused(tmp_path, spec):
    with pytest.raises(ConfigTypeError, match="spec"):
        write_directory(tmp_path / "a", spec)
    assert not only_entry(tmp_path)


# -- verification


def files_of(folder):
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())


def test_each_missing_truncated_altered_or_extra_file_is_named(saved, tmp_path):
    names = files_of(saved)
    assert HEAD in names and any(name.startswith("arrays/") for name in names)
    for name in names:
        for what in ("missing", "truncated", "altered"):
            copy = tmp_path / "copy"
            shutil.copytree(saved, copy)
            content = (copy / name).read_bytes()
            if what == "missing":
                (copy / name).unlink()
            elif what == "truncated":
                (copy / name).write_bytes(content[:-1])
            else:
                middle = len(content) // 2
                (copy / name).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
            with pytest.raises(CheckpointError, match=name) as caught:
                read_directory(copy)
            assert what in str(caught.value) or name == HEAD
            shutil.rmtree(copy)
    (saved / "arrays" / "more").write_text("")
    with pytest.raises(CheckpointError, match="arrays/more"):
        read_directory(saved)


def rewrite(folder, **changes):
    content = json.loads((folder / HEAD).read_text())
    content.pop("sha256")
    content.update(changes)
    (folder / HEAD).write_text(json.dumps({**content, "sha256": directory_module._digest(content)}))


def test_a_newer_format_is_refused_with_the_version_that_wrote_it(saved):
    rewrite(saved, format_version=2, jdl="9.1.0")
    with pytest.raises(CheckpointError, match=r"format 2.*9\.1\.0.*up to 1"):
        read_directory(saved)


def test_a_spec_that_was_changed_is_refused(saved):
    text = (saved / HEAD).read_text()
    (saved / HEAD).write_text(text.replace('"example"', '"exbmple"'))
    with pytest.raises(CheckpointError, match=HEAD):
        read_directory(saved)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../b"])
def test_names_that_lead_out_of_the_folder_are_refused(saved, name):
    (saved.parent / "outside").write_text("x")
    rewrite(saved, files={name: {"size": 1, "sha256": ""}})
    with pytest.raises(CheckpointError, match="leads out"):
        read_directory(saved)


def test_a_link_in_place_of_a_file_is_refused(saved):
    name = next(name for name in files_of(saved) if name != HEAD)
    (saved / name).rename(saved.parent / "elsewhere")
    (saved / name).symlink_to(saved.parent / "elsewhere")
    with pytest.raises(CheckpointError, match=name):
        read_directory(saved)


def test_arrays_that_claim_more_than_their_files_hold_are_refused_before_they_are_made(saved):
    arrays = {"a": {"shape": [1 << 40, 3], "dtype": "float32"}, "b/0": {"shape": [], "dtype": "float64"}}
    rewrite(saved, arrays=arrays)
    with pytest.raises(CheckpointError, match="bytes"):
        read_directory(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"arrays": {"a": {"shape": [2, 3], "dtype": "object"}}},
        {"arrays": {"a": {"shape": [-2, 3], "dtype": "float32"}}},
        {"arrays": {"a": 3}},
        {"arrays": {}},
        {"structure": {"array": "c"}},
        {"structure": {"dict": [["a"]]}},
        {"structure": 3},
        {"files": []},
        {"format": "else"},
        {"format_version": "1"},
    ],
)
def test_a_head_that_makes_no_sense_is_refused(saved, changes):
    rewrite(saved, **changes)
    with pytest.raises(CheckpointError, match="saved"):
        read_directory(saved)


@pytest.mark.parametrize("content", ["", "[]", "{", "null", "[" * 100_000])
def test_a_head_that_is_none_is_refused(saved, content):
    (saved / HEAD).write_text(content)
    with pytest.raises(CheckpointError, match=HEAD):
        read_directory(saved)


def test_no_folder_a_file_and_no_path_are_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none", tmp_path / "file", tmp_path):
        with pytest.raises(CheckpointError, match=path.name):
            read_directory(path)
    with pytest.raises(ConfigTypeError, match="path"):
        read_directory(3)  # pyright: ignore[reportArgumentType]


# -- writing


def test_an_existing_path_is_refused_unless_it_is_to_be_overwritten(saved):
    with pytest.raises(CheckpointError, match="overwrite=True"):
        write_directory(saved, {"kind": "new"})
    assert read_directory(saved)[0] == SPEC
    write_directory(saved, {"kind": "new"}, overwrite=True)
    assert read_directory(saved) == ({"kind": "new"}, None)
    assert only_entry(saved.parent) == ["saved"]


def test_only_what_jdl_has_saved_is_overwritten(tmp_path, saved):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data.csv").write_text("1")
    (tmp_path / "file").write_text("1")
    (saved / "notes.txt").write_text("mine")
    for path, name in ((tmp_path / "mine", "data.csv"), (tmp_path / "file", "file"), (saved, "notes.txt")):
        with pytest.raises(CheckpointError, match=name):
            write_directory(path, SPEC, overwrite=True)
    assert (tmp_path / "mine" / "data.csv").exists() and (saved / "notes.txt").exists()
    (tmp_path / "empty").mkdir()
    write_directory(tmp_path / "empty", SPEC, overwrite=True)
    assert read_directory(tmp_path / "empty")[0] == SPEC


def test_folders_above_are_made_and_links_are_followed(tmp_path, saved):
    write_directory(tmp_path / "x" / "y", SPEC)
    assert read_directory(tmp_path / "x" / "y")[0] == SPEC
    (tmp_path / "link").symlink_to(saved)
    write_directory(tmp_path / "link", {"kind": "new"}, overwrite=True)
    assert (tmp_path / "link").is_symlink() and read_directory(saved)[0] == {"kind": "new"}


@pytest.mark.parametrize("step", ["write_arrays", "list_files", "_digest"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("RESOURCE_EXHAUSTED")])
def test_a_full_disk_leaves_the_earlier_folder_and_no_rubbish(saved, monkeypatch, step, error):
    def fails(*args):
        raise error

    monkeypatch.setattr(directory_module, step, fails)
    with pytest.raises(CheckpointError, match=r"No space left|RESOURCE_EXHAUSTED") as caught:
        write_directory(saved, {"kind": "new"}, ARRAYS, overwrite=True)
    assert caught.value.__cause__ is error
    monkeypatch.undo()
    assert read_directory(saved)[0] == SPEC
    assert only_entry(saved.parent) == ["saved"]


def test_an_interrupt_leaves_the_earlier_folder_and_no_rubbish(saved, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(directory_module, "list_files", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_directory(saved, {"kind": "new"}, ARRAYS, overwrite=True)
    with pytest.raises(KeyboardInterrupt):
        write_directory(saved.parent / "new", {"kind": "new"}, ARRAYS)
    monkeypatch.undo()
    assert read_directory(saved)[0] == SPEC
    assert only_entry(saved.parent) == ["saved"]


@pytest.mark.parametrize("at_once", [True, False])
def test_the_swap_has_two_ways_that_do_the_same(saved, monkeypatch, at_once):
    from jdl.io import atomic

    if not at_once:
        monkeypatch.setattr(atomic.sys, "platform", "other")
    write_directory(saved, {"kind": "new"}, ARRAYS, overwrite=True)
    assert read_directory(saved)[0] == {"kind": "new"}
    assert only_entry(saved.parent) == ["saved"]


def test_a_rename_that_fails_puts_the_earlier_folder_back(saved, monkeypatch):
    from jdl.io import atomic

    rename = os.rename

    def fails(source, target):
        if os.fspath(source).endswith(".tmp"):
            raise OSError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(atomic.sys, "platform", "other")
    monkeypatch.setattr(atomic.os, "rename", fails)
    with pytest.raises(CheckpointError, match="Permission denied"):
        write_directory(saved, {"kind": "new"}, ARRAYS, overwrite=True)
    monkeypatch.undo()
    assert read_directory(saved)[0] == SPEC and only_entry(saved.parent) == ["saved"]
