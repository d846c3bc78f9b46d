"""Checkpoints and resuming: bit-equal to a run that was never stopped, and clear about what does not fit."""

import copy
import functools
import os
import pickle
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import optax
import pandas as pd
import pytest

import jdl
from jdl.core.errors import CallbackError, CheckpointError
from jdl.io import directory
from jdl.train.callbacks.checkpoint import Checkpoint
from jdl.train.callbacks.history import History
from jdl.train.checkpoint_folder import CheckpointFolder

pytestmark = pytest.mark.bits

CV = {"folds": 3}


def learner(epochs: int, folder: Path | None = None, *, freq: int = 1, keep: int = 1, **more):
    callbacks = [*more.pop("callbacks", ()), *([Checkpoint(folder, freq=freq, keep=keep)] if folder else [])]
    values = {"neurons": (6,), "dropout": 0.1, "batch_size": 32, "callbacks": callbacks}
    return jdl.po("scale") >> jdl.lrn("classif.mlp", epochs=epochs, **(values | more))


def cross_validated(made, strategy: str = "auto", **more):
    return jdl.resample(jdl.tsk("iris"), made, jdl.rsmp("cv", **(CV | more)), strategy=strategy, key=4)


def epochs_in(folder: Path) -> list[int]:
    """Epochs of the checkpoints of a folder."""
    return [name.epoch for name in CheckpointFolder(folder).names()]


def assert_equal(a, b) -> None:
    for one, other in zip(a.outcomes, b.outcomes, strict=True):
        np.testing.assert_array_equal(one.fitted.run.history, other.fitted.run.history)
        parts = [(o.fitted.run.params, o.fitted.run.rest, o.fitted.run.outputs) for o in (one, other)]
        jax.tree.map(np.testing.assert_array_equal, *parts)
        assert one.status == other.status


@pytest.mark.parametrize("strategy", ["map", "vmap", "loop"])
def test_resumed_folds_equal_those_that_were_never_stopped(tmp_path, strategy):
    whole = cross_validated(learner(7), strategy)
    cross_validated(learner(3, tmp_path / "ck"), strategy)
    resumed = cross_validated(learner(7, tmp_path / "ck", resume=True), strategy)
    assert_equal(whole, resumed)


def test_early_stopping_and_best_weights_go_on(tmp_path):
    options = {"validate": 0.3, "patience": 3, "opt.lr": 0.05, "restore_best": True}
    whole = cross_validated(learner(30, **options))
    assert len({outcome.fitted.epochs for outcome in whole.outcomes}) > 1
    cross_validated(learner(4, tmp_path / "ck", **options))
    resumed = cross_validated(learner(30, tmp_path / "ck", resume=True, **options))
    assert_equal(whole, resumed)


def test_groups_in_flight_one_after_another(tmp_path):
    """Of three groups the first has ended, the second is in flight, the third has not begun."""
    whole = jdl.resample(jdl.tsk("iris"), learner(6), jdl.rsmp("cv", **CV), key=4, memory_budget=1)
    made = learner(6, tmp_path / "ck", callbacks=[Interrupt(run=1, epoch=4)])
    with pytest.raises(CallbackError):
        jdl.resample(jdl.tsk("iris"), made, jdl.rsmp("cv", **CV), key=4, memory_budget=1)
    made = learner(6, tmp_path / "ck", callbacks=[Interrupt()], resume=True)
    resumed = jdl.resample(jdl.tsk("iris"), made, jdl.rsmp("cv", **CV), key=4, memory_budget=1)
    assert_equal(whole, resumed)


class Interrupt(jdl.HostCallback):
    """Raises after an epoch of a run; counts the epochs that it saw, over interruptions too.

    Every epoch before is written: it waits for the writer.
    """

    id = "interrupt"

    def __init__(self, run: int = -1, epoch: int = -1):
        self.run, self.epoch, self.seen = run, epoch, 0

    def state(self):
        return {"seen": self.seen}

    def restore(self, state):
        self.seen = state["seen"]

    def on_epoch_end(self, ctx):
        self.seen += 1
        if "checkpoint" in ctx.callbacks:
            ctx.callbacks["checkpoint"]._writer.finish()
        if self.run in ctx.iterations and ctx.epoch == self.epoch:
            raise RuntimeError("interrupted")


def test_states_of_host_callbacks_come_back(tmp_path):
    cross_validated(learner(3, tmp_path / "ck", callbacks=[Interrupt()]))
    counter = Interrupt()
    cross_validated(learner(5, tmp_path / "ck", callbacks=[counter], resume=True))
    assert counter.seen == 5


def test_a_callback_that_is_gone_is_said_and_one_of_another_class_refused(tmp_path):
    class Other(Interrupt):
        pass

    cross_validated(learner(2, tmp_path / "ck", callbacks=[Interrupt()]))
    with pytest.raises(CheckpointError, match="callback 'interrupt' was a"):
        cross_validated(learner(3, tmp_path / "ck", callbacks=[Other()], resume=True))
    with pytest.warns(jdl.JdlWarning, match="no callback 'interrupt'"):
        cross_validated(learner(3, tmp_path / "ck", resume=True))


def test_resume_without_a_checkpoint_starts_from_scratch(tmp_path):
    assert_equal(cross_validated(learner(2)), cross_validated(learner(2, tmp_path / "ck", resume=True)))


def test_resume_from_another_folder_by_its_path(tmp_path):
    cross_validated(learner(2, tmp_path / "a"))
    resumed = cross_validated(learner(4, tmp_path / "b", resume=tmp_path / "a"))
    assert_equal(cross_validated(learner(4)), resumed)
    assert_equal(resumed, cross_validated(learner(4, resume=str(tmp_path / "b"))))


def test_a_run_at_its_end_trains_nothing(tmp_path):
    first = cross_validated(learner(3, tmp_path / "ck"))
    counter = Interrupt()
    again = cross_validated(learner(3, tmp_path / "ck", callbacks=[counter], resume=True))
    assert_equal(first, again)
    assert counter.seen == 0


def test_runs_that_were_stopped_early_stay_so(tmp_path):
    options = {"validate": 0.3, "patience": 1, "opt.lr": 0.5}
    first = cross_validated(learner(40, tmp_path / "ck", **options))
    assert {outcome.status for outcome in first.outcomes} == {"stopped_early"}
    with pytest.warns(jdl.JdlWarning, match="3 of 3 runs had been stopped early"):
        again = cross_validated(learner(50, tmp_path / "ck", resume=True, **options))
    assert_equal(first, again)


def test_keeps_the_latest_and_the_best(tmp_path):
    callback = Checkpoint(tmp_path / "ck", keep=2, keep_best=True)
    made = jdl.po("scale") >> jdl.lrn(
        "classif.mlp", neurons=(64, 64), epochs=25, validate=0.5, callbacks=[callback], **{"opt.lr": 0.1}
    )
    fitted = made.train(jdl.tsk("iris"))
    names = [name.epoch for name in callback.folder().names()]
    assert names[-1] == 25 and 2 <= len(names) <= 3
    written = [name for name in callback._scores if np.isfinite(callback._scores[name])]
    best = min(written, key=lambda name: (callback._scores[name], name))
    assert best in callback.folder().names()
    assert fitted.epochs == 25


def test_the_best_is_kept_after_some_runs_have_stopped(tmp_path):
    """A run that has stopped counts with its last score."""
    options = {"validate": 0.3, "patience": 2, "opt.lr": 0.05}
    callback = Checkpoint(tmp_path / "ck", keep=99, keep_best=True)
    rr = cross_validated(learner(30, callbacks=[Interrupt(), callback], **options))
    ends = sorted(outcome.fitted.epochs for outcome in rr.outcomes)
    assert ends[0] < ends[-1]
    scores = {name.epoch: score for name, score in callback._scores.items()}
    last = [outcome.fitted.history["valid.loss"].iloc[-1] for outcome in rr.outcomes]
    assert np.isfinite(list(scores.values())).all() and max(scores) == ends[-1]
    np.testing.assert_allclose(scores[ends[-1]], np.mean(last), rtol=1e-6)


def diverge(ctx):
    ctx.set_hyper("lr", [1e30, 0.01, 0.01])


@pytest.mark.filterwarnings("ignore:.*the loss is NaN or infinite")
@pytest.mark.parametrize("kind", ["unevaluated", "diverged"])
def test_a_history_with_gaps_is_kept_and_comes_back(tmp_path, kind):
    whole, parts = History(), History()
    if kind == "diverged":
        options, first = {"optimizer": jdl.opt("sgd", lr=0.01)}, [jdl.callback(id="diverge", on_begin=diverge)]
    else:  # the last epoch is always evaluated: 3 is in any case
        options, first = {"validate": 0.2, "eval_freq": 3}, []
    cross_validated(learner(4, callbacks=[*first, whole], **options))
    cross_validated(learner(3, tmp_path / "ck", callbacks=[*first, parts], **options))
    cross_validated(learner(4, tmp_path / "ck", callbacks=[*first, parts], resume=True, **options))
    tables = [h.to_pandas().sort_values(["iteration", "epoch"], ignore_index=True) for h in (whole, parts)]
    assert not np.isfinite(tables[0].to_numpy()).all()
    pd.testing.assert_frame_equal(*tables)


def zeroed(event):
    params = jax.tree.map(lambda leaf: 0.0 * leaf, event.state.params)
    return event.replace(state=replace(event.state, params=params))


def doubled(event):
    params = jax.tree.map(lambda leaf: 2.0 * leaf, event.state.params)
    return event.replace(state=replace(event.state, params=params))


def stop_at_two(ctx):
    if ctx.epoch == 2:
        ctx.stop()


def test_runs_that_a_callback_had_stopped_stay_so(tmp_path):
    """What in-scan callbacks do at the end of a run is done again."""
    callbacks = [jdl.callback(id="zero", on_end=zeroed), jdl.callback(id="stop", on_epoch_end=stop_at_two)]
    first = cross_validated(learner(5, tmp_path / "ck", callbacks=callbacks))
    with pytest.warns(jdl.JdlWarning, match="3 of 3 runs had been stopped early"):
        again = cross_validated(learner(5, tmp_path / "ck", callbacks=callbacks, resume=True))
    assert_equal(first, again)
    assert {outcome.status for outcome in again.outcomes} == {"stopped_early"}


def test_runs_that_were_stopped_at_their_last_epoch_stay_as_they_are(tmp_path):
    """The end of a run, with its in-scan callbacks, comes once."""

    def stop(ctx):
        if ctx.epoch == 3:
            ctx.stop()

    callbacks = [jdl.callback(id="more", on_end=doubled), jdl.callback(id="stop", on_epoch_end=stop)]
    first = cross_validated(learner(3, tmp_path / "ck", callbacks=callbacks))
    assert_equal(first, cross_validated(learner(5, tmp_path / "ck", callbacks=callbacks, resume=True)))


def test_a_checkpoint_is_named_by_the_epoch_that_was_reached(tmp_path):
    """All runs stop within a chunk of fifty epochs here."""
    options = {"validate": 0.3, "patience": 1, "opt.lr": 0.5}
    first = cross_validated(learner(60, tmp_path / "ck", freq=50, **options))
    longest = max(outcome.fitted.epochs for outcome in first.outcomes)
    assert epochs_in(tmp_path / "ck") == [longest] and longest < 50
    with pytest.warns(jdl.JdlWarning, match="3 of 3 runs had been stopped early"):
        again = cross_validated(learner(longest, tmp_path / "ck", freq=50, resume=True, **options))
    assert_equal(first, again)


def test_a_folder_that_cannot_be_read_is_given_back(tmp_path, monkeypatch):
    cross_validated(learner(2, tmp_path / "ck"))
    checkpoint = Checkpoint(tmp_path / "ck", keep_best=True)
    made = learner(3, callbacks=[checkpoint], resume=True)

    def broken(self, folder):
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "_scores_in", broken)
        with pytest.raises(CallbackError, match="gone"):
            cross_validated(made)
    assert cross_validated(made).outcomes[0].fitted.epochs == 3


def test_a_budget_below_what_was_done_ends_the_run(tmp_path):
    def less(ctx):
        if ctx.epoch == 3:
            ctx.total_epochs = 2

    callbacks = [jdl.callback(id="less", on_epoch_end=less)]
    first = cross_validated(learner(10, tmp_path / "ck", callbacks=callbacks))
    assert epochs_in(tmp_path / "ck") == [3]
    assert_equal(first, cross_validated(learner(10, tmp_path / "ck", callbacks=callbacks, resume=True)))


def test_runs_that_had_ended_before_others_stay_as_they_are(tmp_path):
    def few(ctx):
        ctx.total_epochs = [2, 4, 4]

    cross_validated(learner(4, tmp_path / "ck", callbacks=[jdl.callback(id="few", on_begin=few)]))
    resumed = cross_validated(learner(6, tmp_path / "ck", resume=True))
    assert [outcome.fitted.epochs for outcome in resumed.outcomes] == [2, 6, 6]
    for outcome in resumed.outcomes:
        assert np.isfinite(outcome.fitted.history["train.loss"]).all()


def test_no_stage_is_called_where_the_epochs_asked_for_were_done(tmp_path):
    """The run was to be longer, and was interrupted at the epoch that is asked for now."""
    with pytest.raises(CallbackError):
        cross_validated(learner(9, tmp_path / "ck", callbacks=[Interrupt(run=0, epoch=4)]))
    calls = []
    watch = {stage: lambda ctx, stage=stage: calls.append(stage) for stage in ("on_begin", "on_epoch_end", "on_end")}
    watched = jdl.callback(id="watch", kind="host", **watch)
    made = learner(3, tmp_path / "ck", callbacks=[Interrupt(), watched], resume=True)
    assert_equal(cross_validated(learner(3)), cross_validated(made))
    assert calls == []


def test_one_learner_in_two_trainings_at_once(tmp_path):
    """The second is refused, and leaves the first its folder."""
    made = learner(2, tmp_path / "ck")
    refused = []

    def second(ctx):
        if not refused:
            with pytest.raises(CheckpointError, match="another training of this learner") as caught:
                made.train("iris")
            refused.append(caught.value)
            with pytest.raises(CheckpointError, match="another run is writing"):
                learner(2, tmp_path / "ck").train("iris")

    nested = jdl.callback(id="nested", on_epoch_end=second)
    inner = made.callbacks if hasattr(made, "callbacks") else made.get("callbacks")
    made.set(callbacks=[nested, *inner]).train("iris")
    assert refused and epochs_in(tmp_path / "ck") == [2]


def test_a_checkpoint_every_so_many_epochs(tmp_path):
    made = Checkpoint(tmp_path / "ck", freq=4, keep=99)
    seen = []
    made._write, write = None, made._write
    made._writer._work = lambda work: (seen.append(work[1].name.epoch), write(work))
    learner(10).set(callbacks=[made]).train(jdl.tsk("iris"))
    assert set(seen) <= {4, 8, 10} and seen[-1] == 10


def test_a_damaged_checkpoint_is_said_and_the_one_before_it_used(tmp_path):
    whole = cross_validated(learner(6))
    folder = tmp_path / "ck"
    for epochs in (2, 4):
        cross_validated(learner(epochs, folder, keep=9, resume=True))
    newest = folder / "runs-0-2-epoch-4"
    victim = max((p for p in newest.rglob("*") if p.is_file() and p.name != directory.HEAD), key=os.path.getsize)
    victim.write_bytes(b"\0" * victim.stat().st_size)
    with pytest.warns(jdl.JdlWarning, match="damaged, 'runs-0-2-epoch-[23]' is used"):
        assert_equal(whole, cross_validated(learner(6, folder, keep=9, resume=True)))


def test_a_full_disk_is_an_error_and_leaves_the_earlier_checkpoint_whole(tmp_path, monkeypatch):
    folder = tmp_path / "ck"
    cross_validated(learner(3, folder))

    def full(*args):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(directory, "write_arrays", full)
        with pytest.raises(CallbackError, match="No space left") as raised:
            cross_validated(learner(6, folder, resume=True))
    assert len(raised.value.result.outcomes) == 3  # what was trained so far
    assert [str(name) for name in Checkpoint(folder).folder().names()] == ["runs-0-2-epoch-3"]
    assert_equal(cross_validated(learner(6)), cross_validated(learner(6, folder, resume=True)))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"folds": 4}, "runs had the rows"),
        ({"key": 5}, "runs had the rows"),
        ({"epochs": 2}, "3 epochs are done, but epochs=2"),
        ({"batch_size": 16}, "batch_size=32"),
        ({"neurons": (7,)}, "neurons"),
        ({"opt.lr": 0.5}, "opt.lr"),
        ({"task": "wine"}, "runs had the task"),
        ({"validate": 0.2}, "runs had the rows"),
    ],
)
def test_other_runs_are_refused(tmp_path, change, message):
    cross_validated(learner(3, tmp_path / "ck"))
    more = {"epochs": 4, "folds": 3, "key": 4, "task": "iris"} | change
    task, key, folds = jdl.tsk(more.pop("task")), more.pop("key"), more.pop("folds")
    with pytest.raises(CheckpointError, match=message):
        jdl.resample(task, learner(folder=tmp_path / "ck", resume=True, **more), jdl.rsmp("cv", folds=folds), key=key)


def test_folders_that_are_none_of_the_checkpoints(tmp_path):
    cross_validated(learner(2, tmp_path / "used"))
    with pytest.raises(CheckpointError, match="checkpoints of another run"):
        cross_validated(learner(2, tmp_path / "used"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"holds .notes.txt"):
        cross_validated(learner(2, tmp_path / "other"))
    with pytest.raises(CheckpointError, match=r"holds .notes.txt"):
        cross_validated(learner(2, resume=tmp_path / "other"))
    with pytest.raises(CheckpointError, match="there is no folder"):
        cross_validated(learner(2, resume=tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is no folder"):
        cross_validated(learner(2, tmp_path / "file"))


def test_two_writers_on_one_folder(tmp_path):
    first = CheckpointFolder(tmp_path / "ck")
    first.open()
    with pytest.raises(CheckpointError, match="another run is writing"):
        cross_validated(learner(2, tmp_path / "ck"))
    first.close()
    cross_validated(learner(2, tmp_path / "ck"))


def test_resume_needs_to_know_from_where():
    with pytest.raises(jdl.ConfigError, match="callback 'checkpoint'"):
        learner(2, resume=True)
    with pytest.raises(jdl.ConfigError, match="must be True, a path or None"):
        learner(2, resume=3)


def test_the_folder_may_come_from_a_function(tmp_path):
    calls = []

    def folder():
        calls.append(1)
        return tmp_path / f"run-{len(calls)}"

    made = learner(2).set(callbacks=[Checkpoint(folder)])
    made.train(jdl.tsk("iris"))
    made.train(jdl.tsk("iris"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run-1", "run-2"]


def graph(**more):
    net = jdl.po("ingress_num") >> jdl.nn("linear", out_features=6) >> jdl.nn("relu") >> jdl.nn("head")
    parts = jdl.po("loss", "cross_entropy") >> jdl.po("optimizer", "adam", lr=0.01)
    callbacks = jdl.po("callbacks", more.pop("callbacks", ()))
    return jdl.as_learner(net >> parts >> callbacks >> jdl.po("model_classif", batch_size=32, **more))


def test_a_graph_goes_on_with_more_epochs_and_other_host_callbacks(tmp_path):
    whole = graph(epochs=5).train("iris", key=1)
    graph(epochs=2, callbacks=[Checkpoint(tmp_path / "ck")]).train("iris", key=1)
    later = graph(epochs=5, callbacks=[Checkpoint(tmp_path / "ck", freq=2), "history"], resume=True)
    np.testing.assert_array_equal(whole.history["train.loss"], later.train("iris", key=1).history["train.loss"])
    with pytest.warns(jdl.JdlWarning, match="no callback 'history'"):
        assert graph(epochs=5, resume=tmp_path / "ck").train("iris", key=1).epochs == 5


def test_an_epoch_budget_that_a_callback_has_changed_comes_back(tmp_path):
    def more(ctx):
        if ctx.epoch == 2:
            ctx.total_epochs = 6

    callbacks = [jdl.callback(id="more", on_epoch_end=more)]
    whole = cross_validated(learner(3, callbacks=callbacks))
    broken = [*callbacks, Interrupt(run=0, epoch=5)]
    with pytest.raises(CallbackError):
        cross_validated(learner(3, tmp_path / "ck", callbacks=broken))
    assert epochs_in(tmp_path / "ck") == [4]
    resumed = cross_validated(learner(3, tmp_path / "ck", callbacks=[*callbacks, Interrupt()], resume=True))
    assert_equal(whole, resumed)


@pytest.mark.parametrize(
    "of",
    [
        lambda factor: {"loss": lambda output, target: factor * (output**2).sum(axis=1)},
        lambda factor: {"callbacks": [jdl.cb("lr_lambda", lr_lambda=lambda epoch: factor * 0.1 * epoch)]},
        lambda factor: {"sampler": functools.partial(some_rows, step=int(factor))},
        lambda factor: {"optimizer": jdl.opt(optax.yogi(0.01 * factor))},
    ],
    ids=["loss", "schedule", "sampler", "optimizer"],
)
def test_functions_are_told_apart_by_what_they_compute(tmp_path, of):
    cross_validated(learner(2, tmp_path / "ck", **of(1.0)))
    with pytest.raises(CheckpointError, match="its learner had"):
        cross_validated(learner(3, tmp_path / "ck", resume=True, **of(2.0)))
    cross_validated(learner(3, tmp_path / "ck", resume=True, **of(1.0)))


def some_rows(generator, rows, step):
    return generator.permutation(rows.n // 2)[::step]


def test_other_weights_are_other_data(tmp_path):
    frame = jdl.tsk("iris").to_pandas()
    for i, weights in enumerate((np.ones(150), np.r_[np.ones(50), np.full(100, 9.0)])):
        task = jdl.TaskClassif(frame.assign(w=weights), target="species", weights="w", id="flowers")
        made = learner(2 + i, tmp_path / "ck", resume=True)
        if i == 0:
            made.train(task)
        else:
            with pytest.raises(CheckpointError, match="runs had the data"):
                made.train(task)


def test_a_damaged_best_checkpoint_is_passed_over(tmp_path):
    folder = tmp_path / "ck"
    for epochs in (2, 4):
        made = learner(epochs, validate=0.2).set(callbacks=[Checkpoint(folder, keep=3, keep_best=True)], resume=True)
        made.train("iris", key=2)
    (folder / "runs-0-0-epoch-4" / directory.HEAD).write_text("{")
    with pytest.warns(jdl.JdlWarning, match="damaged"):
        assert made.set(epochs=6).train("iris", key=2).epochs == 6


def test_learners_with_checkpoints_can_be_copied_and_sent(tmp_path):
    made = learner(2, tmp_path / "ck")
    copies = [copy.deepcopy(made), pickle.loads(pickle.dumps(made))]
    made.train("iris")
    for again in copies:
        with pytest.raises(CheckpointError, match="checkpoints of another run"):
            again.train("iris")
    assert pickle.loads(pickle.dumps(made)).set(resume=True, epochs=3).train("iris").epochs == 3


def test_another_grouping_of_runs_is_refused(tmp_path):
    cross_validated(learner(2, tmp_path / "ck"), "loop")
    with pytest.raises(CheckpointError, match="were in flight together"):
        cross_validated(learner(3, tmp_path / "ck", resume=True), "vmap")


def test_states_that_json_does_not_hold_are_named(tmp_path):
    class Bad(Interrupt):
        def state(self):
            return given

    for given in ({"best": float("nan")}, {1: 2}, {"a": (1, 2)}):
        with pytest.raises(CallbackError, match="callback 'interrupt': its state cannot be saved"):
            cross_validated(learner(2, tmp_path / f"ck{given}", callbacks=[Bad()]))


def test_a_saved_model_is_no_checkpoint(tmp_path):
    learner(2).train("iris").save(tmp_path / "ck" / "runs-0-0-epoch-2")
    with pytest.raises(CheckpointError, match="no checkpoint of a run in training"):
        learner(3, resume=tmp_path / "ck").train("iris")
