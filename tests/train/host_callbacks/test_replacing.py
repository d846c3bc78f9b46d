"""Host callbacks replace gradients and runs, stop, and keep what they looked at."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import numpy as np
import pytest

from jdl.core.errors import CallbackError
from jdl.train.callback import InScanCallback
from jdl.train.optimizer import sgd
from jdl.train.state import Status

SGD = sgd(lr=0.1)
EPOCHS = [3, 1, 2]


def test_stop_ends_all_runs_after_the_epoch(run, acting):
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


def test_stop_at_the_start_trains_nothing(run, acting):
    outcomes = run(acting(on_begin=lambda ctx: ctx.stop()))
    assert {(o.epochs, o.status) for o in outcomes} == {(0, Status.STOPPED_EARLY)}


def test_gradients_may_be_replaced(run, acting, plain):
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
def test_runs_may_be_replaced(run, acting, stage):
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
def test_what_the_end_of_an_epoch_decides_is_not_replaced_within_one(run, acting, plain, assert_same, stage):
    def call_off(ctx):
        ctx.runs = replace(ctx.runs, status=np.full_like(ctx.runs.status, int(Status.STOPPED_EARLY)))

    with pytest.raises(CallbackError, match="within an epoch 'train' and 'memories' may be replaced, but 'status' was"):
        run(acting(**{stage: call_off}))
    watched = run(acting(**{stage: lambda ctx: None}))
    copied = run(acting(**{stage: lambda ctx: setattr(ctx, "runs", jax.tree.map(np.array, ctx.runs))}))
    assert_same(watched, copied)


@pytest.mark.parametrize("stage", ["on_batch_begin", "on_after_backward", "on_batch_end", "on_before_valid"])
def test_changes_within_an_epoch_leave_runs_that_have_ended_alone(lab, run, acting, stage):
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


def test_a_run_that_takes_over_another_goes_on_from_there(run, acting):
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


def test_gradients_are_taken_as_in_scan_callbacks_gave_them(lab, run, acting):
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


def test_runs_that_are_set_back_train_their_epochs_again(run, acting, plain):
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


def test_what_is_set_takes_the_types_that_there_were(run, acting, plain, assert_same):
    def as_it_is(ctx):
        ctx.params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), ctx.params)
        ctx.runs = jax.tree.map(np.asarray, ctx.runs)

    assert_same(run(acting(on_epoch_end=as_it_is)), plain)


def test_a_budget_raised_as_an_epoch_begins_has_rows_to_train_on(run, acting):
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
def test_what_a_callback_keeps_stays_as_it_was(run, acting, how, look):
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
