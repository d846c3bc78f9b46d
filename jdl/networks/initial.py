"""Initial values that are drawn on the host, so that a network is built without compiling anything.

`HostRngs` stands in for `nnx.Rngs`: its streams hand out keys of the host, which jdl's initialisers understand
beside JAX keys. Initialisers are frozen values, so that equal networks have equal graph definitions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jdl.core.random import RandomKey
from jdl.networks.noise import forget_own_noise


@dataclass(frozen=True)
class Drawn:
    """How one array of initial values was drawn: by what, in which shape, from which stream."""

    initializer: Callable[..., Any]
    shape: tuple[int, ...]
    dtype: Any
    stream: tuple[str, int]


class HostKey:
    """What a stream of `HostRngs` hands out in place of a JAX key: a generator, and a note of what it drew."""

    def __init__(self, key: RandomKey, stream: tuple[str, int], log: "DrawLog | None" = None):
        self._key = key
        self._stream = stream
        self._log = log

    @property
    def generator(self) -> np.random.Generator:
        """A fresh generator of the stream."""
        if self._log is not None:
            self._log.n_generators += 1
        return self._key.generator(*self._stream)

    def silent(self) -> "HostKey":
        """The same key, for an initialiser inside another one, which makes the note."""
        return HostKey(self._key, self._stream)

    def note(self, values: Any, initializer: Callable[..., Any], shape: tuple[int, ...], dtype: Any) -> Any:
        """Remembers by what `values` were drawn, and returns them."""
        if self._log is not None:
            self._log.notes.append((values, Drawn(initializer, tuple(shape), dtype, self._stream)))
        return values


@dataclass
class DrawLog:
    """What was drawn while a network was built: arrays with how, and how often a generator was handed out."""

    notes: list[tuple[Any, Drawn]] = field(default_factory=list)
    n_generators: int = 0


class HostRngs:
    """Random streams by name, as `nnx.Rngs` has them, that hand out `HostKey`s.

    Args:
      key: Equal keys give equal streams.
      log: Where to note each draw.

    >>> rngs = HostRngs(RandomKey((0,)))
    >>> bool(rngs.params().generator.random() != rngs.params().generator.random())
    True
    """

    def __init__(self, key: RandomKey, log: DrawLog | None = None):
        self._key = key
        self._log = log
        self._counts: dict[str, int] = {}

    def __getattr__(self, stream: str) -> Callable[[], HostKey]:
        if stream.startswith("_"):
            raise AttributeError(stream)
        return lambda: self._next(stream)

    def __call__(self) -> HostKey:
        """The next key of the default stream."""
        return self._next("default")

    def _next(self, stream: str) -> HostKey:
        count = self._counts[stream] = self._counts.get(stream, -1) + 1
        return HostKey(self._key, (stream, count), self._log)


class InitialValues:
    """The initial values of a network for any key, without building the network again.

    Building takes milliseconds, drawing a tenth of that; a population draws once per member. The values are those
    of a network built with `HostRngs(key)`. A network that keeps something else than what an initialiser drew (a
    scaled copy, say) is built anew for every key, and one whose initialisers want JAX keys gets `nnx.Rngs`.

    Args:
      build: Makes the network from random streams.
    """

    def __init__(self, build: Callable[[HostRngs], nnx.Module]):
        self._build = build
        log = DrawLog()
        self._on_host = True
        try:
            model = build(HostRngs(RandomKey((0,)), log))
        except (TypeError, AttributeError):
            # Initialisers that are not jdl's want JAX keys: slower, and only then is anything compiled.
            self._on_host = False
            model = self._built(RandomKey((0,)))
        model.train()
        self.graph_train, params, rest = nnx.split(model, nnx.Param, ...)
        model.eval()
        self.graph_eval = nnx.split(model, nnx.Param, ...)[0]
        leaves, self._tree = jax.tree.flatten((params, rest))
        drawn = {id(values): how for values, how in log.notes}
        self._leaves = [drawn.get(id(leaf), leaf) for leaf in leaves]
        n_drawn = sum(isinstance(leaf, Drawn) for leaf in self._leaves)
        # A draw without a note, or one whose array was not kept, cannot be repeated alone.
        self._replays = self._on_host and log.n_generators == len(log.notes) == n_drawn
        self.n_parameters = sum(leaf.size for leaf in jax.tree.leaves(params))

    def shapes(self) -> tuple[Any, Any]:
        """Parameters and other variables, of each the shape and type."""
        leaves: list[Any] = self._leaves
        return jax.tree.unflatten(self._tree, [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves])

    def draw(self, key: RandomKey, prepare: Callable[[Any], None] | None = None) -> tuple[Any, Any]:
        """Parameters and other variables for a key.

        Args:
          key: Equal keys give equal values.
          prepare: Called with the built network, to set what it takes from data.
        """
        if prepare is not None or not self._replays:
            model = self._built(key)
            if prepare is not None:
                prepare(model)
            _, params, rest = nnx.split(model, nnx.Param, ...)
            return jax.tree.map(np.asarray, (params, rest))
        leaves = [self._again(leaf, key) if isinstance(leaf, Drawn) else leaf for leaf in self._leaves]
        return jax.tree.unflatten(self._tree, leaves)

    def _built(self, key: RandomKey) -> nnx.Module:
        rngs: Any = HostRngs(key) if self._on_host else nnx.Rngs(key.seed("initial"))
        model = self._build(rngs)
        forget_own_noise(model)
        return model

    @staticmethod
    def _again(drawn: Drawn, key: RandomKey) -> Any:
        return drawn.initializer(HostKey(key, drawn.stream), drawn.shape, drawn.dtype)


@dataclass(frozen=True)
class UniformFanIn:
    """U(-b, b) with b = 1 / sqrt(fan_in): PyTorch's default for weights and biases of linear layers.

    >>> bool(abs(UniformFanIn(4)(HostKey(RandomKey((0,)), ("params", 0)), (4, 2))).max() <= 0.5)
    True
    """

    fan_in: int

    def __call__(self, key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32, out_sharding: Any = None) -> Any:
        """Values of that shape."""
        del out_sharding
        bound = 1.0 / max(self.fan_in, 1) ** 0.5
        if isinstance(key, HostKey):
            values = key.generator.random(shape, dtype=np.float32)
            values *= np.float32(2 * bound)
            values -= np.float32(bound)
            return key.note(values.astype(dtype, copy=False), self, shape, dtype)
        return jax.random.uniform(key, shape, dtype, -bound, bound)


@dataclass(frozen=True)
class Constant:
    """The same value everywhere; uses no random number."""

    value: float = 0.0

    def __call__(self, key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32, out_sharding: Any = None) -> Any:
        """Values of that shape."""
        del key, out_sharding
        return np.full(shape, self.value, dtype)


@dataclass(frozen=True)
class Uniform:
    """U(-bound, bound).

    >>> bool(abs(Uniform(0.5)(HostKey(RandomKey((0,)), ("params", 0)), (4, 2))).max() <= 0.5)
    True
    """

    bound: float

    def __call__(self, key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32, out_sharding: Any = None) -> Any:
        """Values of that shape."""
        del out_sharding
        if isinstance(key, HostKey):
            values = (2 * key.generator.random(shape, dtype=np.float32) - 1) * np.float32(self.bound)
            return key.note(values.astype(dtype, copy=False), self, shape, dtype)
        return jax.random.uniform(key, shape, dtype, -self.bound, self.bound)


@dataclass(frozen=True)
class Normal:
    """N(0, std^2).

    >>> Normal(0.02)(HostKey(RandomKey((0,)), ("params", 0)), (4, 2)).shape
    (4, 2)
    """

    std: float = 1.0

    def __call__(self, key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32, out_sharding: Any = None) -> Any:
        """Values of that shape."""
        del out_sharding
        if isinstance(key, HostKey):
            values = key.generator.standard_normal(shape, dtype=np.float32) * np.float32(self.std)
            return key.note(values.astype(dtype, copy=False), self, shape, dtype)
        return jax.random.normal(key, shape, dtype) * jnp.asarray(self.std, dtype)


@dataclass(frozen=True)
class ZeroRows:
    """Another initialiser's values, with some rows (positions on the first axis) set to 0.

    Args:
      inner: Draws the values; one of this module.
      rows: Which to set to 0.

    >>> ZeroRows(Uniform(1.0), (0,))(HostKey(RandomKey((0,)), ("params", 0)), (3, 2))[0].tolist()
    [0.0, 0.0]
    """

    inner: Callable[..., Any]
    rows: tuple[int, ...]

    def __call__(self, key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32, out_sharding: Any = None) -> Any:
        """Values of that shape."""
        del out_sharding
        if isinstance(key, HostKey):
            values = self.inner(key.silent(), shape, dtype)
            values[list(self.rows)] = 0
            return key.note(values, self, shape, dtype)
        return self.inner(key, shape, dtype).at[np.array(self.rows, int)].set(0)


INITIALIZERS = (
    "default",
    "xavier_uniform",
    "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal",
    "lecun_normal",
    "normal",
    "zeros",
)


def kernel_initializer(name: str, fan_in: int, fan_out: int) -> Callable[..., Any]:
    """How the weights between `fan_in` inputs and `fan_out` outputs start.

    "default" is PyTorch's for linear layers and convolutions, U(-1/sqrt(fan_in), 1/sqrt(fan_in)); "normal" is
    N(0, 0.02^2); the Kaiming ones are those for ReLU, gain sqrt(2).

    References: Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010;
    He et al., Delving deep into rectifiers, 2015.

    >>> kernel_initializer("xavier_uniform", 4, 2)
    Uniform(bound=1.0)
    """
    fan_in, fan_out = max(fan_in, 1), max(fan_out, 1)
    return {
        "default": UniformFanIn(fan_in),
        "xavier_uniform": Uniform((6.0 / (fan_in + fan_out)) ** 0.5),
        "xavier_normal": Normal((2.0 / (fan_in + fan_out)) ** 0.5),
        "kaiming_uniform": Uniform((6.0 / fan_in) ** 0.5),
        "kaiming_normal": Normal((2.0 / fan_in) ** 0.5),
        "lecun_normal": Normal(fan_in**-0.5),
        "normal": Normal(0.02),
        "zeros": Constant(0.0),
    }[name]


def bias_initializer(name: str, fan_in: int) -> Callable[..., Any]:
    """How a bias starts beside weights of that initialiser: as PyTorch's for "default", at 0 for all others."""
    return UniformFanIn(fan_in) if name == "default" else Constant(0.0)
