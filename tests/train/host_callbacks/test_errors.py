"""Errors of host callbacks: named, and what was trained is handed back."""

import gc
import weakref
from typing import Any

import jax
import numpy as np
import pytest

from jdl.core.errors import CallbackError
from jdl.train.optimizer import sgd
from jdl.train.runs_in_flight import RunsInFlight
from jdl.train.state import Status

SGD = sgd(lr=0.1)
EPOCHS = [3, 1, 2]
RUN = ("on_begin", "on_end", "on_exit")


@pytest.mark.parametrize("stage", [*RUN[:2], "on_epoch_begin", "on_batch_end", "on_valid_end"])
def test_an_exception_names_callback_and_stage_and_on_exit_still_runs(run, acting, stage):
    def fail(ctx):
        raise ZeroDivisionError("that number")

    exits = []
    other = acting(id="other", on_exit=lambda ctx: exits.append(ctx.epoch))
    with pytest.raises(CallbackError, match=rf"'acting' failed at stage '{stage}'.*that number") as caught:
        run(acting(**{stage: fail}), other)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert len(exits) == 1


def test_on_end_is_not_called_after_an_error(run, acting, recorder):
    def fail(ctx):
        raise ValueError

    callback = recorder(*RUN)
    with pytest.raises(CallbackError):
        run(callback, acting(on_epoch_begin=fail))
    assert [stage for stage, _, _ in callback.calls] == ["on_begin", "on_exit"]


def test_on_end_of_all_is_called_whatever_one_raises(run, acting):
    def fail(ctx):
        raise ValueError("at the end")

    ends = []
    other = acting(id="other", on_end=lambda ctx: ends.append(ctx.epoch))
    with pytest.raises(CallbackError, match=r"'acting' failed at stage 'on_end'.*at the end") as caught:
        run(acting(on_end=fail), other)
    assert ends == [3] and [o.epochs for o in caught.value.result] == EPOCHS


def test_what_callbacks_changed_at_the_end_counts_though_one_raises(lab, run, acting):
    def zero(ctx):
        ctx.params = jax.tree.map(lambda leaf: 0.0 * leaf, ctx.params)

    def fail(ctx):
        raise ValueError("at the end")

    with pytest.raises(CallbackError) as caught:
        run(acting(id="zero", on_end=zero), acting(on_end=fail), program=lab.program("mse", optimizer=SGD))
    assert sum(float(np.abs(leaf).sum()) for o in caught.value.result for leaf in jax.tree.leaves(o.params)) == 0.0


def test_on_exit_is_called_though_the_recovery_is_interrupted(run, acting, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    def fail(ctx):
        monkeypatch.setattr(RunsInFlight, "_end", interrupted)
        raise ValueError("the user's")

    exits = []
    with pytest.raises(KeyboardInterrupt):
        run(acting(on_epoch_end=fail, on_exit=lambda ctx: exits.append(ctx.epoch)))
    assert exits == [1]


def test_runs_that_have_ended_leave_the_memory_at_once(run, acting):
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


def test_what_cannot_be_recovered_hides_no_error(lab, run, acting, monkeypatch):
    def fail(ctx):
        if ctx.epoch == 1:
            monkeypatch.setattr(RunsInFlight, "_end", lambda self: 1 / 0)
            raise ValueError("the user's")

    with pytest.raises(CallbackError, match="the user's") as caught:
        run(acting(on_epoch_end=fail))
    assert "is lost: ZeroDivisionError" in caught.value.__notes__[0] and caught.value.result == []


def test_an_interrupt_in_a_chunk_leaves_parameters_to_look_at(run, acting, monkeypatch):
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


def test_on_exit_of_all_is_called_whatever_one_raises(run, acting, plain):
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
def test_what_was_trained_before_an_error_is_handed_back(run, acting, plain, stage):
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


def test_groups_before_an_error_are_whole(run, acting, plain):
    def fail(ctx):
        if ctx.iterations == (2,):
            raise ValueError

    with pytest.raises(CallbackError) as caught:
        run(acting(on_epoch_end=fail), group=2)
    assert [o.epochs for o in caught.value.result] == [3, 1, 1]
    np.testing.assert_array_equal(caught.value.result[0].outputs, plain[0].outputs)


def test_an_error_before_anything_is_trained_hands_nothing_back(run, acting):
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
