"""The two contracts of callbacks: the stages, who acts where, and how long a chunk may be."""

import inspect
from dataclasses import dataclass
from typing import ClassVar

import pytest

from jdl.core.errors import CallbackError, JdlError
from jdl.train import Event, Progress
from jdl.train.callback import (
    EPOCH_STAGES,
    STAGES,
    STEP_STAGES,
    HostCallback,
    InScanCallback,
    call_in_scan,
    chunking,
    overridden,
)
from jdl.train.host_loop import call_host

CONTRACTS = (InScanCallback, HostCallback)
every_contract = pytest.mark.parametrize("contract", CONTRACTS)
every_stage = pytest.mark.parametrize("stage", STAGES)

# Callbacks that come with jdl: a new one goes here.
HOST_CALLBACKS = [Progress()]


def host(*stages, forces_chunks=True, id="host"):
    def act(self, ctx):
        del self
        ctx.append(id)

    return type("Host", (HostCallback,), {"id": id, "forces_chunks": forces_chunks} | dict.fromkeys(stages, act))()


def test_there_are_twelve_stages():
    assert len(set(STAGES)) == 12
    assert set(STEP_STAGES) | set(EPOCH_STAGES) < set(STAGES)
    assert not set(STEP_STAGES) & set(EPOCH_STAGES)


@every_contract
def test_contracts_have_exactly_these_stages(contract):
    methods = [name for name, _ in inspect.getmembers(contract, inspect.isfunction) if name.startswith("on_")]
    assert sorted(methods) == sorted(STAGES)
    assert all(inspect.getdoc(getattr(contract, name)) for name in STAGES)


@every_contract
def test_a_callback_that_overrides_nothing_acts_nowhere(contract):
    assert contract().stages == ()
    assert type("Sub", (contract,), {})().stages == ()


@every_stage
def test_overridden_stages_are_known_also_through_inheritance(stage):
    parent = type("Parent", (InScanCallback,), {stage: lambda self, memory, event: (memory, event)})
    child = type("Child", (parent,), {"on_exit": lambda self, memory, event: (memory, event)})
    assert overridden(parent(), InScanCallback) == (stage,)
    assert set(child().stages) == {stage, "on_exit"}
    assert list(child().stages) == sorted(child().stages, key=STAGES.index)


@every_stage
def test_in_scan_stages_pass_memory_and_event_on(stage):
    event, memory = Event(state=1, epoch=2), object()
    assert getattr(InScanCallback(), stage)(memory, event) == (memory, event)
    assert InScanCallback().init(None) == ()


@every_stage
def test_in_scan_callbacks_are_called_in_order_with_their_own_memory(stage):
    @dataclass(frozen=True)
    class Append(InScanCallback):
        letter: str = "a"
        id: ClassVar[str] = "append"

    def act(self, memory, event):
        return memory + 1, event.replace(state=event.state + self.letter)

    setattr(Append, stage, act)
    callbacks = (Append("a"), InScanCallback(), Append("b"))
    memories, event = call_in_scan(callbacks, stage, (0, "untouched", 10), Event(state="", epoch=0))
    assert (memories, event.state) == ((1, "untouched", 11), "ab")
    other = next(s for s in STAGES if s != stage)
    assert call_in_scan(callbacks, other, (0, 0, 0), event) == ((0, 0, 0), event)


def test_in_scan_callbacks_of_equal_values_are_equal():
    """They are part of programs, and equal programs share a compilation."""

    @dataclass(frozen=True)
    class Clip(InScanCallback):
        bound: float = 1.0

    assert Clip(0.5) == Clip(0.5)
    assert hash(Clip(0.5)) == hash(Clip(0.5))
    assert Clip(0.5) != Clip(0.7)


@pytest.mark.parametrize(
    ("stages", "longest"),
    [
        ((), "run"),
        (("on_begin", "on_end", "on_exit"), "run"),
        *[((stage, "on_begin"), "epoch") for stage in EPOCH_STAGES],
        *[((stage, "on_epoch_end"), "step") for stage in STEP_STAGES],
    ],
)
def test_chunks_are_as_long_as_the_stages_allow(stages, longest):
    assert chunking([host(*stages)]) == longest
    assert chunking([host(), host(*stages)]) == longest
    assert chunking([host(*stages, forces_chunks=False)]) == "run"


def test_no_callback_allows_the_longest_chunk():
    assert chunking([]) == "run"


@every_stage
def test_host_callbacks_are_called_in_order_where_they_act(stage):
    calls = []
    callbacks = [host(stage, id="first"), host(id="nowhere"), host(stage, id="second")]
    call_host(callbacks, stage, calls)  # pyright: ignore[reportArgumentType]
    assert calls == ["first", "second"]


@every_stage
def test_an_error_is_chained_and_names_callback_stage_and_epoch(stage):
    class Context:
        epoch = 7

    def fail(self, ctx):
        raise KeyError("lost")

    callback = type("Failing", (HostCallback,), {"id": "failing", stage: fail})()
    with pytest.raises(
        CallbackError, match=rf"'failing' failed at stage '{stage}', epoch 7: KeyError: 'lost'"
    ) as caught:
        call_host([callback], stage, Context())  # pyright: ignore[reportArgumentType]
    assert isinstance(caught.value, JdlError) and isinstance(caught.value, RuntimeError)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("callback", HOST_CALLBACKS, ids=lambda callback: callback.id)
def test_callbacks_of_jdl_have_an_id_and_a_docstring(callback):
    assert callback.id != HostCallback.id
    assert callback.stages
    assert inspect.getdoc(type(callback))


def test_progress_forces_no_chunks():
    assert chunking([Progress()]) == "run"
