"""The two contracts of callbacks, and the suite that every callback of the catalogue passes.

A new entry is tested by being registered; what it cannot be made without stands in `NEEDED`.
"""

import inspect
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jdl
from jdl.core.errors import CallbackError, ConfigError, JdlError
from jdl.core.fields import check_compares
from jdl.networks.select import select_all, select_grep
from jdl.train import CALLBACKS, Event, Progress
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
from jdl.train.callbacks.catalogue import as_callbacks
from jdl.train.groups import by_group
from jdl.train.host_loop import call_host
from jdl.train.state import TrainState

CONTRACTS = (InScanCallback, HostCallback)
every_contract = pytest.mark.parametrize("contract", CONTRACTS)
every_stage = pytest.mark.parametrize("stage", STAGES)


def falling(t):
    return 0.9**t


NEEDED: dict[str, dict[str, Any]] = {
    "checkpoint": {"path": "checkpoints"},
    "tensorboard": {"path": "events"},
    "csv_log": {"path": "log.csv"},
    "unfreeze": {
        "starting_weights": select_grep("head"),
        "unfreeze": {"epoch": [3, 2], "weights": [select_all(), select_grep("bias")]},
    },
    "grad_clip": {"max_norm": 0.5, "max_value": 0.4, "adaptive": 0.2},
    "lr_lambda": {"lr_lambda": falling},
    "lr_multiplicative": {"lr_lambda": falling},
    "lr_step": {"step_size": 2},
    "lr_warmup": {"steps": 4},
    "lr_cosine_restarts": {"T_0": 2},
    "lr_exponential": {"gamma": 0.9},
    "schedule": {"schedule": falling},
    "lr_reduce_on_plateau": {"patience": 0},  # else it would wait for longer than the run here
}
MADE: dict[str, Any] = {name: CALLBACKS.make(name, **NEEDED.get(name, {})) for name in CALLBACKS}
IN_SCAN = {name: callback for name, callback in MADE.items() if isinstance(callback, InScanCallback)}
HOST_CALLBACKS = [callback for callback in MADE.values() if isinstance(callback, HostCallback)]
every_entry = pytest.mark.parametrize("name", CALLBACKS)
every_in_scan = pytest.mark.parametrize("name", IN_SCAN)


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


@pytest.mark.parametrize("stage", STAGES)
def test_what_forces_no_chunks_acts_between_them(stage):
    quiet = host(stage, forces_chunks=False)
    if stage in ("on_begin", "on_epoch_end", "on_end", "on_exit"):
        assert as_callbacks(quiet, "learner") == (quiet,)
    else:
        with pytest.raises(ConfigError, match=f"'host' has forces_chunks=False and would never be called at '{stage}'"):
            as_callbacks(quiet, "learner")


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


# -- every callback of the catalogue


@every_entry
def test_entries_are_of_one_kind_with_an_id_and_a_weight(name):
    callback = MADE[name]
    assert isinstance(callback, InScanCallback) != isinstance(callback, HostCallback)
    assert callback.id == name
    assert isinstance(jdl.cb(name, weight=3.5, **NEEDED.get(name, {})).weight, float)


@every_in_scan
def test_fields_describe_the_arguments(name):
    callback = IN_SCAN[name]
    declared = {f.name: f.default for f in fields(callback) if f.name not in ("weight", "by", "of")}
    assert set(declared) <= set(callback.fields)
    for argument, default in declared.items():
        assert default is callback.fields[argument].default or default == callback.fields[argument].default
        assert callback.fields[argument].doc
    with pytest.raises(ConfigError):
        CALLBACKS.make(name, **NEEDED.get(name, {}), nothing_like_it=1)


@every_in_scan
def test_numbers_stay_out_of_the_program(name):
    """Callbacks that differ in dynamic values only are one program."""
    callback, other = IN_SCAN[name], other_values(name)
    assert callback.structure() == other.structure() and hash(callback.structure()) == hash(other.structure())
    check_compares(callback.structure())
    assert callback.dynamic().keys() == other.dynamic().keys()
    if callback.dynamic():
        assert callback != other
        with pytest.raises(ConfigError, match=f"callback '{name}'.*(is dynamic|needs|no value)"):
            drive(callback.structure(), {})


@every_in_scan
def test_members_may_differ_in_every_dynamic_value(name):
    """Side by side under vmap they are what each is by itself."""
    pair = [IN_SCAN[name], other_values(name)]
    if not pair[0].dynamic():
        return
    stacked = jax.tree.map(lambda *values: jnp.stack(values), *[c.dynamic() for c in pair])
    together = driver(pair[0].structure())[2](stacked)
    alone = [drive(c.structure(), c.dynamic()) for c in pair]
    for i in range(2):
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=2e-6, atol=1e-7), together, alone[i])
    leaves = zip(*(jax.tree.leaves(result[2]) for result in alone), strict=True)
    assert any(not np.array_equal(a, b) for a, b in leaves), "the other values change nothing"


@every_in_scan
def test_given_values_are_those_of_the_run(name):
    """By hand, in `jdl.train.program(callbacks=...)`, the callback's own values count."""
    callback = IN_SCAN[name]
    if callback.dynamic():
        given, dynamic = drive(callback, {})[2], drive(callback.structure(), callback.dynamic())[2]
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), given, dynamic)


@every_in_scan
@pytest.mark.parametrize("at", [1, 2])
def test_saved_and_restored_in_mid_run_it_goes_on_to_the_last_bit(name, at):
    callback, values = IN_SCAN[name].structure(), IN_SCAN[name].dynamic()
    whole = drive(callback, values)
    saved = jax.tree.map(np.array, drive(callback, values, end=at))  # to NumPy and back, as files would do
    resumed = drive(callback, values, begin=at, saved=saved)
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)


@every_in_scan
def test_it_has_an_effect(name):
    nothing = drive(InScanCallback(), {})
    changed = drive(IN_SCAN[name].structure(), IN_SCAN[name].dynamic())
    pairs = zip(jax.tree.leaves(nothing[2]), jax.tree.leaves(changed[2]), strict=True)
    assert any(not np.array_equal(a, b) for a, b in pairs)


@every_in_scan
def test_a_schedule_may_drive_whatever_is_dynamic(name):
    if not hasattr(IN_SCAN[name], "of"):
        return
    more = {"cycle_momentum": False} if name == "lr_one_cycle" else {}
    for of in ("weight_decay", "momentum"):
        assert CALLBACKS.make(name, **NEEDED.get(name, {}), of=of, **more).id == f"{name}_{of}"
    callback = CALLBACKS.make(name, **NEEDED.get(name, {}), of="dropout", **more)
    state, _, trail = drive(callback.structure(), callback.dynamic())
    assert len(np.unique(trail["hyper"]["dropout"])) > 1
    assert float(state.hyper["opt.lr"]) == np.float32(HYPER["opt.lr"])
    with pytest.raises(ConfigError, match="Unknown dynamic hyperparameter 'drop'"):
        drive(CALLBACKS.make(name, **NEEDED.get(name, {}), of="drop", **more), {})


def other_values(name):
    """The callback with each dynamic value another one, within its range."""
    callback, changed = IN_SCAN[name], {}
    for argument, entry in callback.fields.items():
        value = getattr(callback, argument)
        if not entry.dynamic or value is None:
            continue
        if entry.kind == "int":
            changed[argument] = value + 1
        elif entry.kind == "float":
            changed[argument] = value / 2 if value else 0.25
        else:
            changed[argument] = tuple(np.asarray(value) + 1)
    return replace(callback, **changed)


# A run of four epochs of three steps on a quadratic, by hand: all stages, and nothing else to compile.
EPOCHS, STEPS_EACH = 4, 3
HYPER = {"opt.lr": 0.1, "opt.momentum": 0.9, "opt.dampening": 0.0, "opt.weight_decay": 0.1, "dropout": 0.5}


@lru_cache
def driver(callback):
    """The jitted beginning of such a run, and any epochs of it: (state, memory, what was seen at each step)."""

    def transformation(hyper, params):
        made = jdl.opt("sgd", lr=0.1, momentum=0.9, weight_decay=0.1).structure.transformation
        hyper = {n.removeprefix("opt."): v for n, v in hyper.items()}
        labels = callback.groups(params)
        if labels is None:
            return made(hyper)
        return by_group(labels, lambda _, own: made(own), params, hyper)

    def call(stage, memory, state, epoch, **more):
        event = Event(state=state, epoch=epoch, total_epochs=EPOCHS, total_steps=EPOCHS * STEPS_EACH, **more)
        (memory,), event = call_in_scan((callback,), stage, (memory,), event)
        return memory, event

    def seen(memory, state):
        used = callback.weights(memory, state) or (state.params, ())
        return {"params": state.params, "used": used[0], "hyper": {n: state.hyper[n] for n in HYPER}}

    def first(values):
        hyper = {n: jnp.float32(v) for n, v in HYPER.items()} | {n: jnp.asarray(v) for n, v in values.items()}
        params = {"body": {"kernel": jnp.arange(1.0, 7.0).reshape(2, 3), "bias": jnp.ones(3)}, "head": jnp.ones(3)}
        opt_state = transformation(hyper, params).init(params)
        state = TrainState(jnp.zeros((), jnp.int32), params, (), opt_state, hyper, jnp.uint32(0))
        memory = callback.init(state)
        trail = jax.tree.map(lambda leaf: jnp.zeros((EPOCHS * STEPS_EACH, *leaf.shape)), seen(memory, state))
        return state, memory, trail

    def one_step(_, carry, epoch):
        state, memory, trail = carry
        memory, event = call("on_batch_begin", memory, state, epoch)
        state = event.state
        grads = jax.tree.map(lambda p: 0.5 * p, state.params)
        memory, event = call("on_after_backward", memory, state, epoch, grads=grads)
        update = transformation(event.state.hyper, state.params).update
        moves, opt_state = update(event.grads, state.opt_state, state.params)
        params = jax.tree.map(jnp.add, state.params, moves)
        after = replace(event.state, params=params, opt_state=opt_state, step=state.step + 1)
        memory, event = call("on_batch_end", memory, after, epoch)
        trail = jax.tree.map(lambda t, now: t.at[state.step].set(now), trail, seen(memory, event.state))
        return event.state, memory, trail

    def one_epoch(i, carry):
        state, memory, trail = carry
        epoch = i + 1
        memory, event = call("on_epoch_begin", memory, state, epoch)
        carry = jax.lax.fori_loop(0, STEPS_EACH, partial(one_step, epoch=epoch), (event.state, memory, trail))
        state, memory, trail = carry
        # It improves in the first epoch only, which is what plateaus wait for.
        score = jnp.where(epoch == 1, 1.0, 2.0)
        memory, event = call("on_valid_end", memory, state, epoch, score=score, scores={"valid.loss": score})
        memory, event = call("on_epoch_end", memory, event.state, epoch)
        return event.state, memory, trail

    def run(begin, end, carry):
        return jax.lax.fori_loop(begin, end, one_epoch, carry)

    return jax.jit(first), jax.jit(run), jax.jit(jax.vmap(lambda values: run(0, EPOCHS, first(values))))


def drive(callback, values, begin=0, end=EPOCHS, saved=None):
    """State, memory and trail after these epochs."""
    first, run, _ = driver(callback)
    return run(begin, end, first(values) if saved is None else saved)


def test_a_warm_up_stands_before_no_other():
    with pytest.raises(JdlError, match="'then' must be a schedule"):
        jdl.cb("lr_warmup", epochs=1, then=jdl.cb("lr_warmup", epochs=3))
