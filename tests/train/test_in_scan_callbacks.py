"""Callbacks in the compiled program: when they are called, and what they may change."""

from dataclasses import dataclass, replace
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdl.core.errors import CallbackError
from jdl.train.callback import STAGES, HostCallback, InScanCallback
from jdl.train.member import draw
from jdl.train.optimizer import sgd
from jdl.train.state import Status

STRATEGIES = ("map", "vmap", "loop")
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)
EPOCHS = [3, 1, 0]
STEPS = [6, 4, 3]  # 41, 32 and 23 rows in batches of 8
LOG = 80
SGD = sgd(lr=0.1)


def noting(stage):
    def note(self, memory, event):
        del self
        number, epoch = STAGES.index(stage), jnp.asarray(event.epoch, jnp.int32)
        entry = jnp.stack([jnp.asarray(number, jnp.int32), epoch, event.state.step])
        return {"log": memory["log"].at[memory["n"]].set(entry), "n": memory["n"] + 1}, event

    return note


def init(self, state):
    del self, state
    return {"log": jnp.full((LOG, 3), -1, jnp.int32), "n": jnp.zeros((), jnp.int32)}


# Writes stage, epoch and step of each of its calls into its memory.
Recorder = dataclass(frozen=True)(
    type("Recorder", (InScanCallback,), {"id": "recorder", "init": init} | {stage: noting(stage) for stage in STAGES})
)


class Spy(HostCallback):
    """Keeps the memories of in-scan callbacks as they are in the end: stage, epoch and step of each call."""

    forces_chunks = False

    def __init__(self):
        self.logs = []

    def on_end(self, ctx):
        logs = np.asarray(ctx.runs.memories[0]["log"])
        logs = logs if logs.ndim == 3 else logs[None]
        self.logs += [[(STAGES[s], e, n) for s, e, n in log.tolist() if s >= 0] for log in logs]


def expected_log(epochs, steps, eval_freq):
    log, done = [("on_begin", 0, 0)], 0
    for epoch in range(1, epochs + 1):
        log += [("on_epoch_begin", epoch, done)]
        for _ in range(steps):
            log += [("on_batch_begin", epoch, done), ("on_after_backward", epoch, done)]
            done += 1
            log += [("on_batch_end", epoch, done)]
        log += [("on_before_valid", epoch, done)]
        if epoch % eval_freq == 0 or epoch == epochs:
            log += [(stage, epoch, done) for stage in ("on_batch_valid_begin", "on_batch_valid_end", "on_valid_end")]
        log += [("on_epoch_end", epoch, done)]
    return [*log, ("on_end", epochs, done), ("on_exit", epochs, done)]


@pytest.mark.parametrize(("strategy", "eval_freq"), [("map", 1), ("map", 2), ("vmap", 2), ("loop", 2)])
def test_stages_are_called_in_order_for_each_member(lab, strategy, eval_freq):
    spy = Spy()
    program = lab.program(validate=True, callbacks=(Recorder(),), eval_freq=eval_freq)
    lab.run(program, lab.folds(), strategy=strategy, epochs=EPOCHS, capacity=2, callbacks=[spy])
    assert spy.logs == [expected_log(e, s, eval_freq) for e, s in zip(EPOCHS, STEPS, strict=True)]


def test_without_validation_its_stages_are_not_called(lab):
    spy = Spy()
    lab.run(lab.program(callbacks=(Recorder(),)), lab.folds(1), epochs=2, callbacks=[spy])
    called = {stage for stage, _, _ in spy.logs[0]}
    assert called == set(STAGES) - {"on_batch_valid_begin", "on_batch_valid_end", "on_valid_end"}


def test_recording_changes_no_number(lab, assert_close):
    options = {"epochs": EPOCHS, "hyper": lab.hyper(SGD)}
    plain = lab.program(validate=True, optimizer=SGD)
    recorded = lab.run(replace(plain, callbacks=(Recorder(),)), lab.folds(), **options)
    assert_close(lab.run(plain, lab.folds(), **options), recorded, 1e-6)


# -- what they may change


@dataclass(frozen=True)
class Halve(InScanCallback):
    """Halves the learning rate after each epoch."""

    id: ClassVar[str] = "halve"

    def on_epoch_end(self, memory, event):
        return memory, with_rate(event, event.state.hyper["opt.lr"] / 2)


@dataclass(frozen=True)
class AddOne(InScanCallback):
    """Adds one to the learning rate after each epoch."""

    id: ClassVar[str] = "add_one"

    def on_epoch_end(self, memory, event):
        return memory, with_rate(event, event.state.hyper["opt.lr"] + 1)


@dataclass(frozen=True)
class StartInSecond(InScanCallback):
    """A rate of a tenth from the second epoch on."""

    id: ClassVar[str] = "start_in_second"

    def on_epoch_begin(self, memory, event):
        return memory, with_rate(event, jnp.where(event.epoch >= 2, 0.1, event.state.hyper["opt.lr"]))


def with_rate(event, rate):
    return event.replace(state=replace(event.state, hyper={**event.state.hyper, "opt.lr": rate}))


@dataclass(frozen=True)
class OnlyLastBias(InScanCallback):
    """Lets no gradient but one through to the optimizer."""

    id: ClassVar[str] = "only_last_bias"

    def on_after_backward(self, memory, event):
        grads = jax.tree.map(jnp.zeros_like, event.grads)
        grads["head"]["bias"] = event.grads["head"]["bias"]
        return memory, event.replace(grads=grads)


@dataclass(frozen=True)
class FlipTargets(InScanCallback):
    """Trains on the opposite."""

    id: ClassVar[str] = "flip"

    def on_batch_begin(self, memory, event):
        return memory, event.replace(target=-event.target)


STOP_STAGES = ("on_begin", "on_epoch_begin", "on_batch_begin", "on_batch_end", "on_valid_end", "on_epoch_end")


def asking(stage):
    def ask(self, memory, event):
        del self
        wanted = event.state.hyper["stop"]  # number of the stage, epoch
        asked = (wanted[0] == STOP_STAGES.index(stage)) & (wanted[1] == event.epoch)
        return memory, event.replace(stop=jnp.asarray(event.stop) | asked)

    return ask


# Asks for the end at the member's own stage and epoch.
Stop = dataclass(frozen=True)(
    type("Stop", (InScanCallback,), {"id": "stop"} | {stage: asking(stage) for stage in STOP_STAGES})
)


@every_strategy
def test_rate_gradients_and_the_end_may_be_changed(lab, strategy):
    program = lab.program("mse", optimizer=SGD, validate=True, callbacks=(Halve(), OnlyLastBias(), Stop()))
    rates, ends = (0.1, 0.4, 0.4), ([5, 3], [5, 9], [3, 2])
    outcomes = lab.run(
        program,
        lab.folds(),
        strategy=strategy,
        epochs=[4, 2, 5],
        hyper=[lab.hyper(sgd(lr=rate), stop=end) for rate, end in zip(rates, ends, strict=True)],
        capacity=3,
    )
    ended = [(o.epochs, o.status) for o in outcomes]
    assert ended == [(3, Status.STOPPED_EARLY), (2, Status.COMPLETE), (2, Status.STOPPED_EARLY)]
    # A row says the rate that its epoch was trained with.
    np.testing.assert_allclose(outcomes[0].history[:, 2], [0.1, 0.05, 0.025])
    np.testing.assert_allclose(outcomes[1].history[:, 2], [0.4, 0.2])
    assert float(outcomes[1].hyper["opt.lr"]) == pytest.approx(0.1)
    for i, outcome in enumerate(outcomes):
        before, after = draw(program, i, lab.values, n_orders=0, hyper={"opt.lr": 0.1}).params, outcome.params
        np.testing.assert_array_equal(before["head"]["kernel"][...], after["head"]["kernel"][...])
        assert (before["head"]["bias"][...] != after["head"]["bias"][...]).all()


def test_stop_at_any_stage_ends_the_run_after_the_epoch(lab):
    """At the start it ends before the first; a member that reaches its last epoch anyway is complete."""
    program = lab.program("mse", optimizer=SGD, validate=True, callbacks=(Stop(),))
    ends = [[i, 2 if i else 0] for i in range(len(STOP_STAGES))]
    outcomes = lab.run(
        program, lab.folds(1) * 7, epochs=[*[5] * 6, 2], hyper=[lab.hyper(SGD, stop=e) for e in (*ends, [1, 2])]
    )
    assert [o.epochs for o in outcomes] == [0, 2, 2, 2, 2, 2, 2]
    assert [o.status for o in outcomes] == [Status.STOPPED_EARLY] * 6 + [Status.COMPLETE]


def test_changed_rate_is_trained_with(lab):
    still = lab.program("mse", optimizer=SGD)
    given = {"epochs": 2, "hyper": lab.hyper(sgd(lr=0.0))}
    before = lab.run(still, lab.folds(1), **given)[0].history[:, 0]
    moved = lab.run(replace(still, callbacks=(StartInSecond(),)), lab.folds(1), **given)[0].history[:, 0]
    assert moved[0] == before[0]
    assert moved[1] < before[1] - 1e-3


def test_batches_may_be_changed(lab, assert_same):
    plain = lab.program("mse", optimizer=SGD)
    options = {"hyper": lab.hyper(SGD)}
    flipped = lab.run(replace(plain, callbacks=(FlipTargets(),)), lab.folds(2), **options)
    assert_same(flipped, lab.run(plain, lab.folds(2), target=-lab.values, **options))


def test_callbacks_are_called_in_the_order_given(lab):
    """Halving and then adding is not adding and then halving."""
    rates = []
    for callbacks in ((Halve(), AddOne()), (AddOne(), Halve())):
        program = lab.program("mse", optimizer=SGD, callbacks=callbacks)
        rates.append(float(lab.run(program, lab.folds(1), epochs=1, hyper=lab.hyper(SGD))[0].hyper["opt.lr"]))
    assert rates == pytest.approx([1.05, 0.55])


@pytest.mark.parametrize("method", ["init", "weights", "groups"])
def test_an_error_beside_the_stages_names_callback_and_method_too(lab, method):
    def broken(self, *args):
        raise KeyError("no such layer")

    callback = dataclass(frozen=True)(type("Broken", (InScanCallback,), {"id": "broken", method: broken}))()
    with pytest.raises(CallbackError, match=rf"'broken', method '{method}', failed: KeyError: 'no such layer'"):
        lab.run(lab.program(callbacks=(callback,), validate=True), lab.folds(1), epochs=1)
