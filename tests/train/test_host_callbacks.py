"""Callbacks in Python between compiled chunks: when they are called, what they see, and what they may change."""

import copy
import gc
import pickle
import time
import weakref
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import numpy as np
import pytest

from jdl.core.errors import CallbackError, JdlError
from jdl.train.callback import STAGES, HostCallback, InScanCallback
from jdl.train.optimizer import sgd
from jdl.train.progress import Progress
from jdl.train.runs_in_flight import RunsInFlight
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


@pytest.mark.parametrize(
    "stage",
    ["on_begin", "on_epoch_begin", "on_epoch_end", "on_batch_begin", "on_after_backward", "on_batch_end"],
)
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


@pytest.mark.parametrize("stage", ["on_batch_begin", "on_after_backward", "on_batch_end", "on_before_valid"])
def test_what_the_end_of_an_epoch_decides_is_not_replaced_within_one(run, plain, assert_same, stage):
    def call_off(ctx):
        ctx.runs = replace(ctx.runs, status=np.full_like(ctx.runs.status, int(Status.STOPPED_EARLY)))

    with pytest.raises(CallbackError, match="within an epoch 'train' and 'memories' may be replaced, but 'status' was"):
        run(acting(**{stage: call_off}))
    watched = run(acting(**{stage: lambda ctx: None}))
    copied = run(acting(**{stage: lambda ctx: setattr(ctx, "runs", jax.tree.map(np.array, ctx.runs))}))
    assert_same(watched, copied)


@pytest.mark.parametrize("stage", ["on_batch_begin", "on_after_backward", "on_batch_end", "on_before_valid"])
def test_changes_within_an_epoch_leave_runs_that_have_ended_alone(lab, run, stage):
    """Though in-scan callbacks are called for them at the beginning of each epoch, to no effect."""

    @dataclass(frozen=True)
    class Shrink(InScanCallback):
        id: ClassVar[str] = "shrink"

        def on_epoch_begin(self, memory, event):
            params = jax.tree.map(lambda leaf: 0.5 * leaf, event.state.params)
            return memory, event.replace(state=replace(event.state, params=params))

    program = lab.program("mse", optimizer=SGD, callbacks=(Shrink(),))
    same = acting(**{stage: lambda ctx: ctx.set_hyper("lr", ctx.hyper("lr"))})
    nothing = acting(**{stage: lambda ctx: None})
    ended, expected = (run(callback, program=program, epochs=[3, 1, 3])[1] for callback in (same, nothing))
    jax.tree.map(np.testing.assert_array_equal, ended.params, expected.params)


def test_a_run_that_takes_over_another_goes_on_from_there(run):
    """Its history has a gap where it trained nothing of its own."""

    def take_over(ctx):
        if ctx.epoch == 3:
            runs = jax.tree.map(np.array, ctx.runs)
            jax.tree.map(lambda leaf: leaf.__setitem__(1, leaf[0]), runs)
            ctx.runs = runs
            ctx.total_epochs = [5, 5, 2]

    outcomes = run(acting(on_epoch_end=take_over), epochs=[4, 1, 2])
    assert [o.epochs for o in outcomes] == [5, 5, 2]
    assert [len(o.history) for o in outcomes] == [5, 5, 2]
    assert np.isfinite(outcomes[1].history[:, 0]).tolist() == [True, False, False, True, True]


def test_gradients_are_taken_as_in_scan_callbacks_gave_them(lab, run):
    """Parameters are bfloat16 here, gradients float32."""

    @dataclass(frozen=True)
    class Precise(InScanCallback):
        id: ClassVar[str] = "precise"

        def on_after_backward(self, memory, event):
            return memory, event.replace(grads=jax.tree.map(lambda g: g.astype(np.float32) / 3, event.grads))

    program = replace(lab.program("mse", optimizer=SGD, callbacks=(Precise(),)), precision="bfloat16")
    looked, other = (
        run(acting(**{stage: lambda ctx: None}), program=program) for stage in ("on_after_backward", "on_batch_end")
    )
    for a, b in zip(looked, other, strict=True):
        np.testing.assert_array_equal(a.history, b.history)
        jax.tree.map(np.testing.assert_array_equal, a.params, b.params)


def test_runs_that_are_set_back_train_their_epochs_again(run, plain):
    """The history is that of the epochs that count."""
    kept: list[Any] = []
    frames: list[Any] = []

    def back(ctx):
        frames.append(ctx.history)
        if ctx.epoch == 1:
            kept.append(ctx.runs)
        if ctx.epoch == 2 and len(kept) == 1:
            ctx.runs = kept[0]
            kept.append(None)

    outcomes = run(acting(on_epoch_end=back))
    assert [o.epochs for o in outcomes] == [2, 1, 2]  # an epoch of the budget was lost
    for ours, whole in zip(outcomes, plain, strict=True):
        np.testing.assert_array_equal(ours.history[0], whole.history[0])
        assert len(ours.history) == ours.epochs
    assert list(zip(frames[-1]["iteration"], frames[-1]["epoch"], strict=True)) == [
        (0, 1),
        (1, 1),
        (2, 1),
        (0, 2),
        (2, 2),
    ]


def test_what_is_set_takes_the_types_that_there_were(run, plain, assert_same):
    def as_it_is(ctx):
        ctx.params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), ctx.params)
        ctx.runs = jax.tree.map(np.asarray, ctx.runs)

    assert_same(run(acting(on_epoch_end=as_it_is)), plain)


def test_a_budget_raised_as_an_epoch_begins_has_rows_to_train_on(run):
    """The chunk is five epochs long here, two more than the run was to have."""

    def more(ctx):
        ctx.total_epochs = 6

    raised = acting(on_epoch_begin=more)
    raised.every = 6
    early = acting(on_begin=more)
    for ours, whole in zip(run(raised, epochs=[3, 3, 6]), run(early, epochs=[3, 3, 6]), strict=True):
        np.testing.assert_allclose(ours.history, whole.history, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("look", [lambda ctx: ctx.params, lambda ctx: ctx.runs.train.params], ids=["params", "runs"])
@pytest.mark.parametrize("how", [{"strategy": "map"}, {"strategy": "vmap"}, {"group": 1}], ids=str)
def test_what_a_callback_keeps_stays_as_it_was(run, how, look):
    """Chunks take the memory of the runs over, but for runs that somebody may have kept."""
    kept: list[Any] = []
    seen: list[Any] = []

    def keep(ctx):
        kept.append(look(ctx))
        seen.append(jax.tree.map(np.array, kept[-1]))

    watched = run(acting(on_begin=keep, on_epoch_end=keep, on_exit=keep), **how)
    assert len(kept) == (sum(EPOCHS) + 6 if how.get("group") == 1 else max(EPOCHS) + 2)
    jax.tree.map(np.testing.assert_array_equal, kept, seen)
    for one, other in zip(watched, run(**how), strict=True):
        jax.tree.map(np.testing.assert_array_equal, one.params, other.params)


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


def test_on_end_of_all_is_called_whatever_one_raises(run):
    def fail(ctx):
        raise ValueError("at the end")

    ends = []
    other = acting(id="other", on_end=lambda ctx: ends.append(ctx.epoch))
    with pytest.raises(CallbackError, match=r"'acting' failed at stage 'on_end'.*at the end") as caught:
        run(acting(on_end=fail), other)
    assert ends == [3] and [o.epochs for o in caught.value.result] == EPOCHS


def test_what_callbacks_changed_at_the_end_counts_though_one_raises(lab, run):
    def zero(ctx):
        ctx.params = jax.tree.map(lambda leaf: 0.0 * leaf, ctx.params)

    def fail(ctx):
        raise ValueError("at the end")

    with pytest.raises(CallbackError) as caught:
        run(acting(id="zero", on_end=zero), acting(on_end=fail), program=lab.program("mse", optimizer=SGD))
    assert sum(float(np.abs(leaf).sum()) for o in caught.value.result for leaf in jax.tree.leaves(o.params)) == 0.0


def test_on_exit_is_called_though_the_recovery_is_interrupted(run, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    def fail(ctx):
        monkeypatch.setattr(RunsInFlight, "_end", interrupted)
        raise ValueError("the user's")

    exits = []
    with pytest.raises(KeyboardInterrupt):
        run(acting(on_epoch_end=fail, on_exit=lambda ctx: exits.append(ctx.epoch)))
    assert exits == [1]


def test_runs_that_have_ended_leave_the_memory_at_once(run):
    """Groups are there because memory does not hold more."""
    alive: list[int] = []
    groups: dict[tuple[int, ...], Any] = {}

    def count(ctx):
        groups[ctx.iterations] = weakref.ref(ctx)
        alive.append(sum(ref() is not None for ref in groups.values()))

    gc.collect()
    gc.disable()
    try:
        run(acting(on_epoch_end=count), group=1)
    finally:
        gc.enable()
    assert max(alive) == 1 and len(groups) == 3
    assert not any(ref() is not None for ref in groups.values())


def test_what_cannot_be_recovered_hides_no_error(lab, run, monkeypatch):
    def fail(ctx):
        if ctx.epoch == 1:
            monkeypatch.setattr(RunsInFlight, "_end", lambda self: 1 / 0)
            raise ValueError("the user's")

    with pytest.raises(CallbackError, match="the user's") as caught:
        run(acting(on_epoch_end=fail))
    assert "is lost: ZeroDivisionError" in caught.value.__notes__[0] and caught.value.result == []


def test_an_interrupt_in_a_chunk_leaves_parameters_to_look_at(run, monkeypatch):
    def interrupted(self, block):
        raise KeyboardInterrupt

    seen = []
    look = acting(
        on_epoch_begin=lambda ctx: monkeypatch.setattr(RunsInFlight, "_note", interrupted),
        on_exit=lambda ctx: seen.append(jax.tree.map(np.asarray, ctx.params)),
    )
    with pytest.raises(KeyboardInterrupt):
        run(look)
    assert len(seen) == 1


def test_on_exit_of_all_is_called_whatever_one_raises(run, plain):
    def fail(ctx):
        raise ValueError("at the door")

    exits = []
    other = acting(id="other", on_exit=lambda ctx: exits.append(ctx.epoch))
    with pytest.raises(CallbackError, match=r"'acting' failed at stage 'on_exit'.*at the door") as caught:
        run(acting(on_exit=fail), other)
    assert exits == [3]
    jax.tree.map(np.testing.assert_array_equal, [o.params for o in caught.value.result], [o.params for o in plain])
    with pytest.raises(CallbackError, match="on_epoch_begin") as caught:
        run(acting(on_exit=fail, on_epoch_begin=fail), other)
    assert "at the door" in caught.value.__notes__[0]


@pytest.mark.parametrize("stage", ["on_epoch_end", "on_batch_end", "on_epoch_begin"])
def test_what_was_trained_before_an_error_is_handed_back(run, plain, stage):
    """Up to the last whole epoch; runs that ended before are whole."""

    def fail(ctx):
        if ctx.epoch == 2:
            raise ValueError

    with pytest.raises(CallbackError) as caught:
        run(acting(**{stage: fail}))
    found, done = caught.value.result, 2 if stage == "on_epoch_end" else 1
    assert [o.epochs for o in found] == [done, 1, done]
    assert found[1].status == Status.COMPLETE and found[0].status == Status.STOPPED_EARLY
    for ours, whole in zip(found, plain, strict=True):
        np.testing.assert_allclose(ours.history, whole.history[: ours.epochs], rtol=1e-5, atol=1e-6)
        assert np.isfinite(ours.outputs).all()


def test_groups_before_an_error_are_whole(run, plain):
    def fail(ctx):
        if ctx.iterations == (2,):
            raise ValueError

    with pytest.raises(CallbackError) as caught:
        run(acting(on_epoch_end=fail), group=2)
    assert [o.epochs for o in caught.value.result] == [3, 1, 1]
    np.testing.assert_array_equal(caught.value.result[0].outputs, plain[0].outputs)


def test_an_error_before_anything_is_trained_hands_nothing_back(run):
    def fail(ctx):
        raise ValueError

    with pytest.raises(CallbackError) as caught:
        run(acting(on_begin=fail, id="early"))
    assert [o.epochs for o in caught.value.result] == [0, 0, 0]
    quiet = acting(on_begin=fail)
    quiet.forces_chunks = False
    with pytest.raises(CallbackError) as caught:
        run(quiet)
    assert caught.value.result == []


# -- what they may change by name


def test_hyperparameters_are_set_by_short_names_for_all_or_each(run):
    def set_rates(ctx):
        if ctx.epoch == 1:
            ctx.set_hyper("lr", 0.02)
        if ctx.epoch == 2:
            np.testing.assert_allclose(ctx.hyper("lr"), 0.02)
            ctx.set_hyper("lr", [0.03, 0.04, 0.05])

    outcomes = run(acting(on_epoch_end=set_rates))
    np.testing.assert_allclose(outcomes[0].history[:, -1], [0.1, 0.02, 0.03])
    assert float(outcomes[2].hyper["opt.lr"]) == pytest.approx(0.05)
    with pytest.raises(CallbackError, match="Unknown dynamic hyperparameter 'rate'"):
        run(acting(on_begin=lambda ctx: ctx.set_hyper("rate", 1.0)))


def test_changes_by_name_compile_nothing_anew(run):
    change = acting(on_epoch_end=lambda ctx: ctx.set_hyper("lr", 0.01))
    run(change)
    assert sum(o.compile_seconds for o in run(change)) == 0


def test_parameters_are_seen_and_set(run, program):
    def zero(ctx):
        ctx.params = jax.tree.map(lambda leaf: 0.0 * leaf, ctx.params)

    outcomes = run(acting(on_end=zero), program=replace(program, keep_best=False))
    assert all(not np.any(leaf) for o in outcomes for leaf in jax.tree.leaves(o.params))


@pytest.mark.parametrize(("total", "epochs"), [(2, [2, 1, 2]), ([5, 1, 4], [5, 1, 4]), (1, [1, 1, 1])])
def test_the_epoch_budget_may_be_changed(run, total, epochs):
    def change(ctx):
        if ctx.epoch == 1:
            ctx.total_epochs = total

    outcomes = run(acting(on_epoch_end=change))
    assert [(o.epochs, o.status) for o in outcomes] == [(n, Status.COMPLETE) for n in epochs]
    longer = run(epochs=[5, 1, 4])
    np.testing.assert_allclose(outcomes[0].history[:, 0], longer[0].history[: epochs[0], 0], rtol=1e-6)


def set_first(name, value):
    """A change of the first leaf of parameters or gradients."""

    def change(ctx):
        leaves, tree = jax.tree.flatten(getattr(ctx, name))
        setattr(ctx, name, jax.tree.unflatten(tree, [value(leaves[0]), *leaves[1:]]))

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda ctx: ctx.set_hyper("lr", -1.0), r"ctx.set_hyper: .*'opt.lr' must be a number in .0, inf\), got -1"),
        (lambda ctx: ctx.set_hyper("lr", np.nan), "'opt.lr' must be finite, got nan"),
        (lambda ctx: ctx.set_hyper("lr", "fast"), "'lr' must be a number, got 'fast'"),
        (
            lambda ctx: ctx.set_hyper("momentum", 0.9),
            "'opt.momentum' has no effect: sgd with momentum=0 has no such term",
        ),
        (
            lambda ctx: ctx.set_hyper("lr", [0.1, 0.2]),
            r"one number, or as many for each of the 3 runs.*got \[0.1, 0.2\]",
        ),
        (lambda ctx: setattr(ctx, "total_epochs", -5), "whole numbers of at least 0, got -5"),
        (lambda ctx: setattr(ctx, "total_epochs", 2.7), "whole numbers of at least 0, got 2.7"),
        (lambda ctx: setattr(ctx, "total_epochs", [1, 2]), r"one for each of 3 runs, got \[1, 2\]"),
        (lambda ctx: ctx.network(7), "from 0 to 2, got 7"),
        (lambda ctx: setattr(ctx, "runs", None), "ctx.runs: expected the structure that it had, got None"),
        (lambda ctx: setattr(ctx, "runs", ctx.runs.train), "ctx.runs: expected the structure that it had"),
        (lambda ctx: setattr(ctx, "params", {"a": 1}), "ctx.params: expected the structure that it had, got {'a': 1}"),
        (set_first("params", lambda leaf: leaf + 1j), "ctx.params: expected float32 at .*, got complex64"),
        (set_first("params", lambda leaf: leaf[0]), r"ctx.params: expected shape .* at .*bias.*got"),
    ],
)
def test_changes_that_do_not_fit_are_refused(run, change, match):
    with pytest.raises(CallbackError, match=f"(?s){match}") as caught:
        run(acting(on_epoch_end=change))
    assert isinstance(caught.value.__cause__, JdlError)


def test_gradients_that_do_not_fit_are_refused(run):
    with pytest.raises(CallbackError, match=r"(?s)ctx.grads: expected shape .* at .*bias.*got"):
        run(acting(on_after_backward=set_first("grads", lambda leaf: leaf[0])))


def changing(quiet, **stages):
    made: Any = acting(**stages)
    made.forces_chunks = not quiet
    return made


@pytest.mark.parametrize("strategy", ["map", "loop"])
def test_callbacks_that_force_no_chunks_change_what_others_do(run, assert_same, strategy):
    """Chunks of an epoch make the same of both kinds."""

    def change(ctx):
        if ctx.epoch == 1:
            ctx.total_epochs = [5] * len(ctx.iterations)
            ctx.set_hyper("lr", 0.03)
        if ctx.epoch == 2:
            ctx.stop()

    def zero(ctx):
        ctx.params = jax.tree.map(lambda leaf: 0.0 * leaf, ctx.params)

    for stages in ({"on_epoch_end": change}, {"on_begin": lambda ctx: ctx.stop()}, {"on_end": zero}):
        assert_same(run(changing(False, **stages)), run(changing(True, **stages), capacity=1, strategy=strategy))


def test_before_the_runs_begin_those_that_force_no_chunks_may_set_epochs_alone(run, assert_same):
    def more(ctx):
        ctx.total_epochs = [4, 2, 3]

    assert_same(run(epochs=[4, 2, 3]), run(changing(True, on_begin=more), capacity=3))
    for change in (
        lambda ctx: ctx.set_hyper("lr", 0.01),
        lambda ctx: ctx.params,
        lambda ctx: ctx.network(),
        lambda ctx: ctx.valid_output,
        lambda ctx: setattr(ctx, "runs", None),
    ):
        with pytest.raises(CallbackError, match=r"the runs have not begun.*\n.*forces_chunks = True"):
            run(changing(True, on_begin=change))


def test_what_there_is_not_cannot_be_set(run):
    with pytest.raises(CallbackError, match=r"AttributeError: .*'total_epoch'"):
        run(acting(on_epoch_end=lambda ctx: setattr(ctx, "total_epoch", 9)))
    with pytest.raises(CallbackError, match="there are gradients at 'on_after_backward' only"):
        run(acting(on_batch_end=lambda ctx: setattr(ctx, "grads", None)))


# -- what they see of each member


def test_the_history_grows_with_each_chunk(run, plain):
    tables, news = [], []

    def look(ctx):
        tables.append(ctx.history)
        news.append([(row["iteration"], row["epoch"]) for row in ctx.new_rows])

    run(acting(on_epoch_end=look))
    assert news == [[(0, 1), (1, 1), (2, 1)], [(0, 2), (2, 2)], [(0, 3)]]
    last = tables[-1].set_index(["iteration", "epoch"])
    for i, outcome in enumerate(plain):
        np.testing.assert_allclose(last.loc[i].to_numpy(), outcome.history, atol=1e-6)


def test_a_callback_that_forces_no_chunks_gets_the_same_rows(run):
    rows, calls = [], []

    def take(ctx):
        rows.extend(ctx.new_rows)
        calls.append(ctx.epoch)

    quiet = acting(on_epoch_end=take)
    quiet.forces_chunks = False
    run(quiet, capacity=2)
    assert calls == [2, 3]
    assert [(r["iteration"], r["epoch"]) for r in rows] == [(0, 1), (0, 2), (1, 1), (2, 1), (2, 2), (0, 3)]


def test_a_callback_that_forces_no_chunks_sees_the_scores_of_the_last_epoch(run):
    seen, forced = [], []
    quiet = changing(True, on_epoch_end=lambda ctx: seen.append((ctx.epoch, ctx.scores)))
    run(quiet, capacity=2)
    run(acting(on_epoch_end=lambda ctx: forced.append((ctx.epoch, ctx.scores))))
    assert [epoch for epoch, _ in seen] == [2, 3]
    np.testing.assert_equal(seen[0][1], forced[1][1])
    assert np.isnan(forced[1][1]["train.loss"]).tolist() == [False, True, False]


def test_the_network_of_a_member_predicts_what_it_would(lab, run):
    def look(ctx):
        if ctx.epoch == 2:
            for i in range(2):
                network, rows = ctx.network(i), lab.folds()[i].valid
                ours = np.asarray(network(lab.x[rows]))
                np.testing.assert_allclose(np.asarray(ctx.valid_output)[i, : len(rows)], ours, rtol=1e-5, atol=1e-6)
                seen.append(i)

    seen = []
    run(acting(on_epoch_end=look))
    assert seen == [0, 1]


def test_the_batch_and_its_outputs_are_there_at_the_batch_stages(lab, run):
    seen = []

    def begin(ctx):
        if ctx.epoch == 1:
            seen.append((np.asarray(ctx.batch.weights).sum(axis=1).tolist(), ctx.output is None))

    def end(ctx):
        if ctx.epoch == 1:
            batch, output = ctx.batch, np.asarray(ctx.output)
            error = (output[..., 0] - np.asarray(batch.target)) ** 2 * np.asarray(batch.weights)
            real = np.asarray(batch.weights).sum(axis=1)
            loss = error.sum(axis=1)[real > 0] / real[real > 0]
            np.testing.assert_allclose(loss, ctx.loss[real > 0], rtol=1e-5)
            assert ctx.global_step.tolist()[0] == ctx.step

    run(acting(on_batch_begin=begin, on_batch_end=end))
    assert [weights for weights, _ in seen] == [[8, 8, 8]] * 2 + [[8, 8, 7], [8, 8, 0], [8, 0, 0], [1, 0, 0]]


def test_all_callbacks_and_what_will_run_are_known(run):
    infos, found = [], []
    first = acting(id="first", on_begin=lambda ctx: found.append(sorted(ctx.callbacks)))
    first.opened = infos.append
    run(first, acting(id="second"), group=2)
    assert found == [["first", "second"]] * 2
    assert [(info.n_runs, info.total_epochs, info.resumed) for info in infos] == [(3, 3, False)]
    assert infos[0].columns[:2] == ("train.loss", "valid.loss")


def test_callbacks_are_called_by_weight(run):
    calls = []
    late = acting(id="late", on_begin=lambda ctx: calls.append("late"))
    late.weight = 10.0
    run(
        late, acting(on_begin=lambda ctx: calls.append("first")), acting(id="b", on_begin=lambda ctx: calls.append("b"))
    )
    assert calls == ["first", "b", "late"]


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


def test_progress_is_copied_without_the_line_that_it_draws(run, capfd):
    copies = []
    drawn = Progress("first", shown=True)
    run(drawn, acting(on_epoch_end=lambda ctx: copies.append(copy.deepcopy(drawn))))
    capfd.readouterr()
    for copied in (copies[0], pickle.loads(pickle.dumps(drawn))):
        run(copied)
        assert "6/6" in capfd.readouterr().err
