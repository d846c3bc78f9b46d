"""How a population is run: strategy, devices, groups of members. Chosen from what is known, and said."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from jdl.core.errors import UnknownNameError

Strategy = Literal["auto", "vmap", "map", "loop"]
STRATEGIES = ("auto", "vmap", "map", "loop")
# Share of a device's memory that the members in flight may take, and what is assumed where it is unknown.
MEMORY_SHARE = 0.5
DEFAULT_MEMORY = 4 * 2**30
# Orders of a chunk of epochs are drawn on the host and shipped: this bounds them.
ORDER_BYTES = 16 * 2**20
MAX_CHUNK_EPOCHS = 128
# A chunk that takes much longer than a second shows no progress and cannot be interrupted.
CHUNK_WORK = 4e11


@dataclass(frozen=True)
class Plan:
    """A strategy, the devices it uses, and how many members it holds at a time.

    Args:
      strategy: "vmap" (side by side), "map" (one after another inside the program) or "loop" (a call each).
      devices: Devices over which the member axis is spread.
      group: Members in flight at a time, a multiple of the number of devices.
      n_members: Members in all.
      reason: Why the strategy was chosen.
      chunks: What host callbacks make of the chunks, in words; empty where they are as long as can be.
    """

    strategy: Literal["vmap", "map", "loop"]
    devices: tuple[Any, ...]
    group: int
    n_members: int
    reason: str = ""
    chunks: str = ""

    @property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """The first and the last of the members that are in flight together.

        >>> Plan("map", (None,), group=2, n_members=3).groups
        ((0, 1), (2, 2))
        """
        starts = range(0, self.n_members, self.group)
        return tuple((start, min(start + self.group, self.n_members) - 1) for start in starts)

    def __str__(self) -> str:
        kind = self.devices[0].platform
        where = f"{len(self.devices)} {kind} device{'s' if len(self.devices) > 1 else ''}"
        groups = -(-self.n_members // self.group)
        parts = [f"{self.n_members} run{'s' if self.n_members > 1 else ''} by {self.strategy} on {where}"]
        if groups > 1 and self.strategy != "loop":
            parts.append(f"in {groups} groups of {self.group}")
        if self.chunks:
            parts.append(self.chunks)
        return ", ".join(parts) + (f" ({self.reason})" if self.reason else "")


def make_plan(
    strategy: str,
    *,
    n_members: int,
    member_bytes: int,
    data_bytes: int,
    working_bytes: int = 0,
    n_parameters: int | None = None,
    devices: Sequence[Any] | None = None,
    memory_budget: int | None = None,
) -> Plan:
    """The plan for a population.

    Args:
      strategy: One of `STRATEGIES`.
      n_members: Runs in all.
      member_bytes: Device memory that one member holds.
      data_bytes: Device memory of the shared data.
      working_bytes: Device memory that a member takes beside while it runs: of all in flight under "vmap", of one
        per device under "map".
      n_parameters: Size of the network, which the plan says.
      devices: All local devices by default.
      memory_budget: Bytes that members may take on one device.

    Raises:
      UnknownNameError: No strategy has the name.
    """
    if strategy not in STRATEGIES:
        raise UnknownNameError.of("strategy", strategy, STRATEGIES)
    devices = tuple(devices or jax.local_devices())
    if n_members == 1 or strategy == "loop":
        reason = "asked for" if strategy == "loop" and n_members > 1 else ""
        return Plan("loop", devices[:1], 1, n_members, reason)
    devices = devices[: min(len(devices), n_members)]
    budget = memory_budget or _budget(devices[0], data_bytes)
    most = _ceil_divide(n_members, len(devices))
    fits = {
        "vmap": max(1, min(budget // max(member_bytes + working_bytes, 1), most)),
        "map": max(1, min((budget - working_bytes) // max(member_bytes, 1), most)),
    }
    chosen, reason = strategy, "asked for"
    if strategy == "auto":
        chosen, reason = _choice(devices[0].platform, alone=fits["vmap"] == 1 < most)
        reason = reason if n_parameters is None else f"{n_parameters:,} parameters; {reason}"
    per_device = fits[chosen]
    # Equal groups: the last one would else be mostly filling.
    n_groups = _ceil_divide(n_members, int(per_device * len(devices)))
    group = _ceil_divide(_ceil_divide(n_members, n_groups), len(devices)) * len(devices)
    if n_groups > 1:
        needed = member_bytes + working_bytes
        reason += f"; {needed / 2**20:.0f} MiB a run, budget {budget / 2**20:.0f} MiB a device"
    return Plan(chosen, devices, group, n_members, reason)  # pyright: ignore[reportArgumentType]


def _ceil_divide(a: int, b: int) -> int:
    return -(-a // b)


def _choice(platform: str, *, alone: bool) -> tuple[str, str]:
    """A strategy, and why; `alone` says that memory holds but one of several runs side by side on a device."""
    if platform == "cpu":
        return "map", "cores work side by side, and a run that stops early frees its core"
    if alone:
        return "map", "side by side but one run fits into memory, and by itself it stops when it is done"
    return "vmap", "small kernels of many runs fill the device together"


def _budget(device: Any, data_bytes: int) -> int:
    stats = device.memory_stats() or {}
    limit = stats.get("bytes_limit", DEFAULT_MEMORY + data_bytes)
    return max(int(limit * MEMORY_SHARE) - data_bytes, 2**24)


def chunk_epochs(*, n_members: int, order_size: int, shuffle: bool, epoch_work: float) -> int:
    """Epochs of the longest chunk, a power of two, from what an epoch ships and computes.

    It depends on sizes alone, so that runs that differ in the number of epochs share one program.
    """
    by_orders = ORDER_BYTES / max(4 * n_members * order_size, 1) if shuffle else MAX_CHUNK_EPOCHS
    by_work = CHUNK_WORK / max(epoch_work * n_members, 1.0)
    return int(2 ** np.clip(np.floor(np.log2(max(min(by_orders, by_work), 1.0))), 0, np.log2(MAX_CHUNK_EPOCHS)))
