"""Compiled functions of programs, kept so that equal work compiles once, with the time that compiling took."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jdl.core.errors import ConfigError
from jdl.train.loop import run_chunk
from jdl.train.member import Member
from jdl.train.program import Program
from jdl.train.state import RunState, Status, begin, end

MEMBER_AXIS = "member"
# A compiled program takes some 170 memory mappings of the 65,530 that Linux allows a process; a jitted function keeps
# what it compiled, so that both numbers bound them.
MOST_EXECUTABLES = 128
MOST_FUNCTIONS = 64


@dataclass(frozen=True)
class Layout:
    """How members lie on devices and how they are run there."""

    strategy: str
    devices: tuple[Any, ...]

    @property
    def mesh(self) -> Mesh:
        """The devices as one axis of members."""
        return jax.make_mesh((len(self.devices),), (MEMBER_AXIS,), axis_types=(AxisType.Auto,), devices=self.devices)

    def shared(self) -> Any:
        """Where data goes that all members use."""
        return self.devices[0] if self.strategy == "loop" else NamedSharding(self.mesh, P())

    def split(self) -> Any:
        """Where arrays with a leading member axis go."""
        return self.devices[0] if self.strategy == "loop" else NamedSharding(self.mesh, P(MEMBER_AXIS))

    def lift(self, one: Callable[..., Any], n_common: int = 0, donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        """The jitted function over all members of `one(table, member's own ..., common ...)`.

        Args:
          one: Takes the shared table, then what is the member's own, then `n_common` scalars that all share.
          n_common: How many of the last arguments all members share.
          donate: Positions of arguments whose memory the result may take.
        """
        if self.strategy == "loop":
            return jax.jit(one, donate_argnums=donate)

        def many(table: Any, *args: Any) -> Any:
            own, common = args[: len(args) - n_common], args[len(args) - n_common :]
            call = partial(_call_with_own, one, table, common)
            if self.strategy == "vmap":
                return jax.vmap(call)(own)
            if jax.tree.leaves(own)[0].shape[0] == 1:
                # A map would copy the only member's state into the loop and out of it.
                alone = call(jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[1:]), own))
                return jax.tree.map(lambda leaf: jnp.expand_dims(leaf, 0), alone)
            return jax.lax.map(call, own)

        def sharded(table: Any, *args: Any) -> Any:
            n_own = len(args) - n_common
            function = jax.shard_map(
                many,
                mesh=self.mesh,
                in_specs=(P(), *[P(MEMBER_AXIS)] * n_own, *[P()] * n_common),
                out_specs=P(MEMBER_AXIS),
                check_vma=False,
            )
            return function(table, *args)

        # Said, for on one device JAX would call it unsplit, and a chunk's result is the next one's argument.
        return jax.jit(sharded, donate_argnums=donate, out_shardings=self.split())


def _call_with_own(one: Callable[..., Any], table: Any, common: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
    return one(table, *own, *common)


@lru_cache(maxsize=MOST_FUNCTIONS)
def chunk_function(program: Program, layout: Layout, capacity: int, begins: bool) -> Callable[..., Any]:
    """The jitted `run_chunk` of a program over a layout's members: (table, members, runs, fresh, n_epochs).

    The result takes the memory of the runs over. Without `begins` there is no `fresh`: runs only go on.
    """
    options = {"capacity": capacity, "lockstep": layout.strategy == "vmap"}

    def go_on(table: Any, member: Any, run: Any, n_epochs: Any) -> Any:
        return run_chunk(program, table, member, run, None, n_epochs, **options)

    if begins:
        return layout.lift(partial(run_chunk, program, **options), n_common=2, donate=(2,))
    return layout.lift(go_on, n_common=1, donate=(2,))


@lru_cache(maxsize=32)
def begin_function(program: Program, layout: Layout) -> Callable[..., Any]:
    """The jitted beginning of all runs: (table, members)."""

    def begin_one(table: Any, member: Member) -> RunState:
        del table
        return begin(program, member)

    return layout.lift(begin_one)


@lru_cache(maxsize=8)
def copy_function(layout: Layout) -> Callable[..., Any]:
    """The jitted copy of all runs' states, in memory of its own."""

    def copy(runs: Any) -> Any:
        return jax.tree.map(jnp.copy, runs)

    return jax.jit(copy) if layout.strategy == "loop" else jax.jit(copy, out_shardings=layout.split())


@lru_cache(maxsize=32)
def stop_function(program: Program, layout: Layout) -> Callable[..., Any]:
    """The jitted end of all runs that have not ended yet: (table, members, runs)."""

    def stop_one(table: Any, member: Member, run: RunState) -> RunState:
        del table
        status = jnp.where(run.epoch >= member.max_epochs, int(Status.COMPLETE), int(Status.STOPPED_EARLY))
        ended = replace(run, status=status.astype(jnp.int32))
        return jax.lax.cond(run.status == int(Status.RUNNING), lambda: end(program, member, ended), lambda: run)

    return layout.lift(stop_one)


class Executables:
    """Executables by function and argument shapes, the latest used ones, with the seconds that compiling took."""

    def __init__(self) -> None:
        self._table: OrderedDict[Any, Any] = OrderedDict()

    def call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, float]:
        """What a jitted function gives, and the seconds spent on compiling it now.

        Raises:
          ConfigError: JAX was told not to compile.
        """
        executable, seconds = self.get(function, args)
        return execute(executable, args), seconds

    def get(self, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, float]:
        """The executable of a jitted function for such arguments, and the seconds spent on compiling it now.

        Raises:
          ConfigError: JAX was told not to compile.
        """
        if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]
            raise ConfigError(
                "training is one compiled program, but JAX is told not to compile (JAX_DISABLE_JIT).\n"
                "Hint: unset it; to look at single steps use jdl.train.step, which runs without compiling too."
            )
        leaves, tree = jax.tree.flatten(args)
        key = (function, tree, tuple((leaf.shape, leaf.dtype, _sharding(leaf)) for leaf in leaves))
        if key in self._table:
            self._table.move_to_end(key)
            return self._table[key], 0.0
        start = time.perf_counter()
        executable = function.lower(*args).compile()  # pyright: ignore[reportFunctionMemberAccess]
        self._table[key] = executable
        if len(self._table) > MOST_EXECUTABLES:
            self._table.popitem(last=False)
        return executable, time.perf_counter() - start

    def clear(self) -> None:
        """Forgets all of them."""
        self._table.clear()


def execute(executable: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """What an executable gives.

    NaN is what a history holds where nothing was measured, so JAX is not asked to look for it; losses, weights and
    outputs that are not finite are found and named by jdl.
    """
    with jax.debug_nans(False), jax.debug_infs(False):
        return executable(*args)


def _sharding(leaf: Any) -> Any:
    return getattr(leaf, "sharding", None)


EXECUTABLES = Executables()
