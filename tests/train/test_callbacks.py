"""Callbacks at the twelve stages: how often they are called, in which order, what they may change."""

from dataclasses import dataclass, replace
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jdl
from jdl.core.errors import CallbackError
from jdl.train.callback import STAGES, HostCallback, InScanCallback

EPOCHS, STEPS = 3, 4


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(40, 3)), columns=list("abc"))
    return jdl.TaskRegr(frame.assign(y=frame["a"] + 0.1 * rng.normal(size=40)), target="y")


def learner(*callbacks, **changes):
    given = {"neurons": (4,), "epochs": EPOCHS, "batch_size": 8, "validate": 0.25, "dropout": 0.0}
    return jdl.lrn("regr.mlp", callbacks=list(callbacks), **{**given, **changes})


def expected_calls():
    per_epoch = {"on_epoch_begin", "on_before_valid", "on_batch_valid_begin", "on_batch_valid_end"}
    per_epoch |= {"on_valid_end", "on_epoch_end"}
    once = {"on_begin", "on_end", "on_exit"}
    return {s: 1 if s in once else EPOCHS if s in per_epoch else EPOCHS * STEPS for s in STAGES}


def counting(stage, base):
    """A class that counts the calls of one stage."""

    def in_scan(self, memory, event):
        return memory + 1, event

    def on_host(self, ctx):
        self.calls += 1

    if base is InScanCallback:
        return type("Counting", (base,), {"init": lambda self, state: jnp.zeros((), jnp.int32), stage: in_scan})()
    return type("Counting", (base,), {"calls": 0, stage: on_host})()


@dataclass(frozen=True)
class CountAll(InScanCallback):
    """Counts each stage in a memory of twelve numbers."""

    id: ClassVar[str] = "count_all"

    def init(self, state):
        return jnp.zeros(len(STAGES), jnp.int32)


def _counter(position):
    def stage(self, memory, event):
        return memory.at[position].add(1), event

    return stage


for _position, _name in enumerate(STAGES):
    setattr(CountAll, _name, _counter(_position))


@pytest.mark.parametrize("strategy", ["map", "vmap", "loop"])
def test_in_scan_stages_are_called_as_often_as_they_occur(task, strategy, monkeypatch):
    from jdl.train.runs_in_flight import RunsInFlight

    seen = []
    plain = RunsInFlight.outcomes

    def outcomes(self):
        seen.append(np.asarray(self.runs.memories[0]).reshape(-1, len(STAGES)))
        return plain(self)

    monkeypatch.setattr(RunsInFlight, "outcomes", outcomes)
    jdl.resample(task, learner(CountAll()), jdl.rsmp("subsampling", ratio=0.975, repeats=2), strategy=strategy)
    for counts in seen[0][:2]:
        assert dict(zip(STAGES, counts.tolist(), strict=True)) == expected_calls()


@pytest.mark.parametrize("stage", STAGES)
def test_each_host_stage_is_called_as_often_as_it_occurs(task, stage):
    callback = counting(stage, HostCallback)
    learner(callback).train(task.filter(range(39)), key=0)
    assert callback.calls == expected_calls()[stage]


def test_host_stages_come_in_order(task):
    calls = []

    def note(name):
        return lambda self, ctx: calls.append(name)

    every = type("Every", (HostCallback,), {name: note(name) for name in STAGES})()
    learner(every, epochs=1).train(task.filter(range(11)), key=0)
    step = ["on_batch_begin", "on_after_backward", "on_batch_end"]
    valid = ["on_before_valid", "on_batch_valid_begin", "on_batch_valid_end", "on_valid_end"]
    assert calls == ["on_begin", "on_epoch_begin", *step, *valid, "on_epoch_end", "on_end", "on_exit"]


@pytest.mark.parametrize("stage", ["on_begin", "on_epoch_end", "on_batch_end", "on_after_backward"])
def test_a_callback_that_does_nothing_changes_nothing(task, stage):
    plain = learner().train(task, key=0)
    watched = learner(counting(stage, HostCallback)).train(task, key=0)
    np.testing.assert_allclose(watched.predict(task).response, plain.predict(task).response, atol=1e-5)
    pd.testing.assert_frame_equal(
        watched.history.drop(columns="seconds"), plain.history.drop(columns="seconds"), atol=1e-5, rtol=1e-4
    )


@dataclass(frozen=True)
class NoGradients(InScanCallback):
    """Sets all gradients to zero."""

    id: ClassVar[str] = "no_gradients"

    def on_after_backward(self, memory, event):
        import jax

        return memory, event.replace(grads=jax.tree.map(jnp.zeros_like, event.grads))


@dataclass(frozen=True)
class HalveRate(InScanCallback):
    """Halves the learning rate after each epoch."""

    id: ClassVar[str] = "halve"

    def on_epoch_end(self, memory, event):
        hyper = {**event.state.hyper, "opt.lr": event.state.hyper["opt.lr"] / 2}
        return memory, event.replace(state=replace(event.state, hyper=hyper))


@dataclass(frozen=True)
class StopAtTwo(InScanCallback):
    """Ends training after the second epoch."""

    id: ClassVar[str] = "stop_at_two"

    def on_epoch_end(self, memory, event):
        return memory, event.replace(stop=event.stop | (event.epoch >= 2))


def test_in_scan_callbacks_change_gradients_rates_and_the_end(task):
    frozen = learner(NoGradients(), optimizer=jdl.opt("sgd", lr=0.1)).train(task, key=0)
    assert frozen.history["valid.loss"].nunique() == 1
    halved = learner(HalveRate(), optimizer=jdl.opt("sgd", lr=0.1)).train(task, key=0)
    assert halved.run.hyper["opt.lr"] == pytest.approx(0.1 / 2**EPOCHS)
    assert learner(StopAtTwo()).train(task, key=0).epochs == 2


class ClipOnHost(HostCallback):
    """Sets the gradients to zero from Python."""

    id: ClassVar[str] = "clip_on_host"

    def on_after_backward(self, ctx):
        import jax

        ctx.grads = jax.tree.map(jnp.zeros_like, ctx.grads)


class StopOnHost(HostCallback):
    """Ends training after the second epoch."""

    id: ClassVar[str] = "stop_on_host"

    def on_epoch_end(self, ctx):
        if ctx.epoch == 2:
            ctx.stop()


def test_host_callbacks_change_gradients_and_the_end(task):
    frozen = learner(ClipOnHost(), optimizer=jdl.opt("sgd", lr=0.1)).train(task, key=0)
    assert frozen.history["valid.loss"].nunique() == 1
    stopped = learner(StopOnHost()).train(task, key=0)
    assert (stopped.epochs, stopped.status) == (2, "stopped_early")
    assert np.isfinite(stopped.predict(task).response).all()


def test_host_callbacks_see_every_member_of_a_resampling(task):
    shapes = []

    class Look(HostCallback):
        id: ClassVar[str] = "look"

        def on_epoch_end(self, ctx):
            shapes.append((len(ctx.iterations), np.asarray(ctx.runs.epoch).shape[0], ctx.done, ctx.total))

    result = jdl.resample(task, learner(Look()), jdl.rsmp("cv", folds=4), key=0)
    assert shapes == [(4, 4, 4 * epoch, 4 * EPOCHS) for epoch in range(1, EPOCHS + 1)]
    plain = jdl.resample(task, learner(), jdl.rsmp("cv", folds=4), key=0)
    np.testing.assert_allclose(result.prediction.response, plain.prediction.response, atol=1e-5)


def test_an_error_names_callback_and_stage_and_exit_still_comes(task):
    left = []

    class Broken(HostCallback):
        id: ClassVar[str] = "broken"

        def on_epoch_end(self, ctx):
            raise ValueError("no disk")

        def on_exit(self, ctx):
            left.append(True)

    with pytest.raises(CallbackError, match=r"'broken'.*'on_epoch_end'.*epoch 1.*no disk"):
        learner(Broken()).train(task, key=0)
    assert left == [True]
