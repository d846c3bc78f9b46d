"""Callbacks in Python between compiled chunks: when they are called, what they see, and what they may change."""

import time
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from jdl.core.errors import CallbackError
from jdl.train.callback import STAGES, HostCallback
from jdl.train.optimizer import sgd
from jdl.train.progress import Progress
from jdl.train.state import Status

SGD = sgd(lr=0.1)
EPOCHS = [3, 1, 2]
RUN = ("on_begin", "on_end", "on_exit")
EPOCH = (*RUN, "on_epoch_begin", "on_epoch_end")
VALID = ("on_batch_valid_begin", "on_batch_valid_end", "on_valid_end")


def recorder(*stages) -> Any:
    """A host callback that acts at these stages and notes stage, epoch and step of each call."""

    def noting(stage):
        def note(self, ctx):
            self.calls.append((stage, ctx.epoch, ctx.step))

        return note

    made: Any = type("Recorder", (HostCallback,), {"id": "recorder"} | {stage: noting(stage) for stage in stages})()
    made.calls = []
    return made


def acting(id: Any = "acting", **stages: Any):
    """A host callback of these functions."""
    return type("Acting", (HostCallback,), {"id": id} | {s: staticmethod(f) for s, f in stages.items()})()


def expected_calls(epochs, steps, eval_freq):
    calls = [("on_begin", 0, 0)]
    for epoch in range(1, epochs + 1):
        calls += [("on_epoch_begin", epoch, 0)]
        for step in range(1, steps + 1):
            calls += [(stage, epoch, step) for stage in ("on_batch_begin", "on_after_backward", "on_batch_end")]
        calls += [("on_before_valid", epoch, 0)]
        if epoch % eval_freq == 0 or epoch == epochs:
            calls += [(stage, epoch, 0) for stage in VALID]
        calls += [("on_epoch_end", epoch, 0)]
    return [*calls, ("on_end", epochs, 0), ("on_exit", epochs, 0)]


@pytest.fixture(scope="module")
def program(lab):
    return lab.program("mse", optimizer=SGD, validate=True, keep_best=True, norm="batch", measures=True)


@pytest.fixture(scope="module")
def run(lab, program):
    def run(*callbacks, **options):
        options = {"epochs": EPOCHS, "hyper": lab.hyper(SGD), **options}
        return lab.run(options.pop("program", program), lab.folds(), callbacks=callbacks, **options)

    return run


@pytest.fixture(scope="module")
def plain(run):
    return run()


def only(calls, stages):
    return [call for call in calls if call[0] in stages]


# -- when they are called


def test_every_stage_is_called_in_order(lab, run):
    # The longest of the runs in flight gives the number of epochs and of steps.
    eval_freq = 2
    rare = lab.program("mse", optimizer=SGD, validate=True, eval_freq=eval_freq)
    callback = recorder(*STAGES)
    run(callback, program=rare)
    assert callback.calls == expected_calls(3, 6, eval_freq)


@pytest.mark.parametrize("stages", [RUN, EPOCH, (*EPOCH, "on_valid_end"), ("on_epoch_end",)], ids=lambda s: s[-1])
def test_stages_of_longer_chunks_are_called_in_order(run, stages):
    callback = recorder(*stages)
    run(callback)
    assert callback.calls == only(expected_calls(3, 6, 1), stages)


def test_without_validation_its_stages_are_not_called(lab, run):
    callback = recorder(*STAGES)
    run(callback, program=lab.program("mse", optimizer=SGD))
    assert callback.calls == [call for call in expected_calls(3, 6, 1) if call[0] not in VALID]


def test_called_for_each_group_of_runs_in_flight(run):
    callback, seen = recorder(*RUN), []
    watcher = acting(on_begin=lambda ctx: seen.append((ctx.iterations, ctx.last)))
    run(callback, watcher, group=2)
    assert [stage for stage, _, _ in callback.calls] == [*RUN, *RUN]
    assert seen == [((0, 1), False), ((2,), True)]


def test_callbacks_are_called_in_the_order_given(run):
    calls = []
    first = acting(on_epoch_begin=lambda ctx: calls.append("first"), on_end=lambda ctx: calls.append("first"))
    second = acting(on_epoch_begin=lambda ctx: calls.append("second"), on_end=lambda ctx: calls.append("second"))
    run(first, second)
    assert calls == ["first", "second"] * 4


def test_training_ends_when_all_runs_have(lab, run):
    callback = recorder("on_epoch_end", "on_end")
    outcomes = run(callback, epochs=40, patience=1, hyper=lab.hyper(sgd(lr=0.5)))
    longest = max(o.epochs for o in outcomes)
    assert longest < 40
    assert len(callback.calls) == longest + 1


# -- what they do not change


@pytest.mark.parametrize("stages", [("on_begin",), ("on_epoch_end",)], ids=lambda s: s[0])
def test_watching_runs_and_epochs_changes_no_bit(run, plain, assert_same, stages):
    assert_same(plain, run(recorder(*stages)))


@pytest.mark.parametrize("kind", [{}, {"shuffle": False}, {"drop_last": True}], ids=str)
def test_watching_steps_changes_nothing_but_rounding(run, program, assert_close, kind):
    watched = replace(program, **kind)
    assert_close(run(program=watched), run(recorder("on_batch_end"), program=watched), 1e-6)


def test_watching_steps_leaves_early_stopping_alone(lab, run, assert_close):
    options = {"epochs": 9, "patience": [1, 2, 3], "hyper": lab.hyper(sgd(lr=0.5))}
    stopped = run(**options)
    assert any(o.status == Status.STOPPED_EARLY for o in stopped)
    assert_close(stopped, run(recorder("on_batch_end"), **options), 1e-4)


# -- what they see


def test_losses_and_scores_are_those_of_the_history(run, plain):
    seen = []
    run(acting(on_epoch_end=lambda ctx: seen.append(ctx.scores)))
    assert list(seen[0]) == [
        *["train.loss", "valid.loss", "train.regr.rmse", "train.regr.mae", *seen[0]][:4],
        "valid.regr.mae",
        "valid.regr.rmse",
        "lr",
    ]
    for i, outcome in enumerate(plain):
        for epoch in range(outcome.epochs):
            np.testing.assert_allclose([s[i] for s in seen[epoch].values()], outcome.history[epoch], atol=1e-6)


def test_epochs_done_and_in_all_are_counted_over_all_runs(run):
    seen = []
    run(acting(on_epoch_end=lambda ctx: seen.append((ctx.done, ctx.total))), group=2)
    # Runs of 3 and 1 epochs together, then one of 2.
    assert seen == [(2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]


@pytest.mark.parametrize("stage", ["on_begin", "on_epoch_end", "on_batch_end"])
def test_compiling_and_running_make_up_the_time_that_passes(lab, run, stage):
    fresh = lab.program("mse", optimizer=SGD, neurons=(3 + len(stage),))
    start = time.perf_counter()
    outcomes = run(recorder(stage), program=fresh)
    passed = time.perf_counter() - start
    compiled, ran = (sum(getattr(o, f"{name}_seconds") for o in outcomes) for name in ("compile", "run"))
    assert compiled > 0 and ran > 0
    assert 0.7 * passed < compiled + ran < passed
    again = run(recorder(stage), program=fresh)
    assert sum(o.compile_seconds for o in again) == 0


# -- what they may change


def test_stop_ends_all_runs_after_the_epoch(run):
    def stop(ctx):
        if ctx.epoch == 2:
            ctx.stop()

    for stage in ("on_epoch_begin", "on_epoch_end", "on_batch_end"):
        outcomes = run(acting(**{stage: stop}))
        assert [(o.epochs, o.status) for o in outcomes] == [
            (2, Status.STOPPED_EARLY),
            (1, Status.COMPLETE),
            (2, Status.COMPLETE),
        ]
        assert all(np.isfinite(o.outputs).all() for o in outcomes)


def test_stop_at_the_start_trains_nothing(run):
    outcomes = run(acting(on_begin=lambda ctx: ctx.stop()))
    assert {(o.epochs, o.status) for o in outcomes} == {(0, Status.STOPPED_EARLY)}


def test_gradients_may_be_replaced(run, plain):
    """None of them leaves the initial values; clipped ones change the training by less."""

    def clip(bound):
        def act(ctx):
            ctx.grads = jax.tree.map(lambda g: g.clip(-bound, bound), ctx.grads)

        return acting(on_after_backward=act)

    untrained = run(epochs=0)
    for before, after in zip(untrained, run(clip(0.0)), strict=True):
        jax.tree.map(np.testing.assert_array_equal, before.params, after.params)
    for before, after, free in zip(untrained, run(clip(1e-3)), plain, strict=True):
        moved, freely = (distance(before, other) for other in (after, free))
        assert 0 < moved < 0.5 * freely


def distance(one, other):
    return sum(
        float(np.abs(a - b).sum()) for a, b in zip(*map(jax.tree.leaves, (one.params, other.params)), strict=True)
    )


@pytest.mark.parametrize("stage", ["on_begin", "on_epoch_begin", "on_epoch_end", "on_batch_begin", "on_batch_end"])
def test_runs_may_be_replaced(run, stage):
    """Here the learning rate of one run is set to 0 at its first chance."""

    def still(ctx):
        hyper = ctx.runs.train.hyper
        rate = np.array(hyper["opt.lr"])
        rate[0] = 0.0
        ctx.runs = replace(ctx.runs, train=replace(ctx.runs.train, hyper={**hyper, "opt.lr": rate}))

    outcomes = run(acting(**{stage: still}))
    first_rate = 0.1 if stage == "on_epoch_end" else 0.0
    np.testing.assert_allclose(outcomes[0].history[:, -1], [first_rate, 0, 0])
    np.testing.assert_allclose(outcomes[2].history[:, -1], [0.1, 0.1])


# -- errors


@pytest.mark.parametrize("stage", [*RUN[:2], "on_epoch_begin", "on_batch_end", "on_valid_end"])
def test_an_exception_names_callback_and_stage_and_on_exit_still_runs(run, stage):
    def fail(ctx):
        raise ZeroDivisionError("that number")

    exits = []
    other = acting(id="other", on_exit=lambda ctx: exits.append(ctx.epoch))
    with pytest.raises(CallbackError, match=rf"'acting' failed at stage '{stage}'.*that number") as caught:
        run(acting(**{stage: fail}), other)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert len(exits) == 1


def test_on_end_is_not_called_after_an_error(run):
    def fail(ctx):
        raise ValueError

    callback = recorder(*RUN)
    with pytest.raises(CallbackError):
        run(callback, acting(on_epoch_begin=fail))
    assert [stage for stage, _, _ in callback.calls] == ["on_begin", "on_exit"]


# -- progress


def test_progress_forces_no_chunks_and_is_quiet_where_not_shown(run, plain, assert_same, capfd):
    assert_same(plain, run(Progress(shown=False)))
    assert capfd.readouterr() == ("", "")


def test_progress_draws_one_line_that_ends_full(run, capfd):
    run(Progress("three runs", shown=True), group=2)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("three runs") == 1
    assert "6/6" in err
