"""When callbacks in Python between compiled chunks are called, and that watching changes nothing."""

from dataclasses import replace

import pytest

from jdl.train.callback import STAGES
from jdl.train.optimizer import sgd
from jdl.train.state import Status

SGD = sgd(lr=0.1)
RUN = ("on_begin", "on_end", "on_exit")
EPOCH = (*RUN, "on_epoch_begin", "on_epoch_end")
VALID = ("on_batch_valid_begin", "on_batch_valid_end", "on_valid_end")


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


def only(calls, stages):
    return [call for call in calls if call[0] in stages]


def test_every_stage_is_called_in_order(lab, run, recorder):
    # The longest of the runs in flight gives the number of epochs and of steps.
    eval_freq = 2
    rare = lab.program("mse", optimizer=SGD, validate=True, eval_freq=eval_freq)
    callback = recorder(*STAGES)
    run(callback, program=rare)
    assert callback.calls == expected_calls(3, 6, eval_freq)


@pytest.mark.parametrize("stages", [RUN, EPOCH, (*EPOCH, "on_valid_end"), ("on_epoch_end",)], ids=lambda s: s[-1])
def test_stages_of_longer_chunks_are_called_in_order(run, recorder, stages):
    callback = recorder(*stages)
    run(callback)
    assert callback.calls == only(expected_calls(3, 6, 1), stages)


def test_without_validation_its_stages_are_not_called(lab, run, recorder):
    callback = recorder(*STAGES)
    run(callback, program=lab.program("mse", optimizer=SGD))
    assert callback.calls == [call for call in expected_calls(3, 6, 1) if call[0] not in VALID]


def test_called_for_each_group_of_runs_in_flight(run, acting, recorder):
    callback, seen = recorder(*RUN), []
    watcher = acting(on_begin=lambda ctx: seen.append((ctx.iterations, ctx.last)))
    run(callback, watcher, group=2)
    assert [stage for stage, _, _ in callback.calls] == [*RUN, *RUN]
    assert seen == [((0, 1), False), ((2,), True)]


def test_callbacks_are_called_in_the_order_given(run, acting):
    calls = []
    first = acting(on_epoch_begin=lambda ctx: calls.append("first"), on_end=lambda ctx: calls.append("first"))
    second = acting(on_epoch_begin=lambda ctx: calls.append("second"), on_end=lambda ctx: calls.append("second"))
    run(first, second)
    assert calls == ["first", "second"] * 4


def test_training_ends_when_all_runs_have(lab, run, recorder):
    callback = recorder("on_epoch_end", "on_end")
    outcomes = run(callback, epochs=40, patience=1, hyper=lab.hyper(sgd(lr=0.5)))
    longest = max(o.epochs for o in outcomes)
    assert longest < 40
    assert len(callback.calls) == longest + 1


def test_all_callbacks_and_what_will_run_are_known(run, acting):
    infos, found = [], []
    first = acting(id="first", on_begin=lambda ctx: found.append(sorted(ctx.callbacks)))
    first.opened = infos.append
    run(first, acting(id="second"), group=2)
    assert found == [["first", "second"]] * 2
    assert [(info.n_runs, info.total_epochs, info.resumed) for info in infos] == [(3, 3, False)]
    assert infos[0].columns[:2] == ("train.loss", "valid.loss")


def test_callbacks_are_called_by_weight(run, acting):
    calls = []
    late = acting(id="late", on_begin=lambda ctx: calls.append("late"))
    late.weight = 10.0
    run(
        late, acting(on_begin=lambda ctx: calls.append("first")), acting(id="b", on_begin=lambda ctx: calls.append("b"))
    )
    assert calls == ["first", "b", "late"]


# -- watching changes nothing


@pytest.mark.parametrize("stages", [("on_begin",), ("on_epoch_end",)], ids=lambda s: s[0])
def test_watching_runs_and_epochs_changes_no_bit(run, recorder, plain, assert_same, stages):
    assert_same(plain, run(recorder(*stages)))


@pytest.mark.parametrize("kind", [{}, {"shuffle": False}, {"drop_last": True}], ids=str)
def test_watching_steps_changes_nothing_but_rounding(run, recorder, program, assert_close, kind):
    watched = replace(program, **kind)
    assert_close(run(program=watched), run(recorder("on_batch_end"), program=watched), 1e-6)


def test_watching_steps_leaves_early_stopping_alone(lab, run, recorder, assert_close):
    options = {"epochs": 9, "patience": [1, 2, 3], "hyper": lab.hyper(sgd(lr=0.5))}
    stopped = run(**options)
    assert any(o.status == Status.STOPPED_EARLY for o in stopped)
    assert_close(stopped, run(recorder("on_batch_end"), **options), 1e-4)
