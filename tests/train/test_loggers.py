"""Callbacks that hand losses and scores on: event files, CSV, experiment trackers."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tensorboardX.event_file_writer import EventsWriter

import jdl
from jdl.core.errors import CallbackError, ConfigError, ConfigTypeError, MissingPackageError
from jdl.train.callback import HostCallback
from jdl.train.callbacks.csv_log import CSVLog
from jdl.train.optimizer import sgd
from jdl.train.run_context import RunInfo

SGD = sgd(lr=0.1)
EPOCHS = [3, 1, 2]


@pytest.fixture(scope="module")
def program(lab):
    return lab.program("mse", optimizer=SGD, validate=True, eval_freq=2)


@pytest.fixture(scope="module")
def run(lab, program):
    def run(*callbacks, n=3, **options):
        epochs = options.pop("epochs", EPOCHS[:n])
        options = {"epochs": epochs, "hyper": lab.hyper(SGD), "capacity": 2, **options}
        return lab.run(program, lab.folds(n), callbacks=callbacks, **options)

    return run


@pytest.fixture(scope="module")
def plain(run):
    return run()


def scalars(folder):
    """Tag -> pairs of step and value, by TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder))
    reader.Reload()
    return {tag: [(e.step, e.value) for e in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_event_files_open_in_tensorboards_own_reader(run, plain, tmp_path, assert_same):
    assert_same(plain, run(jdl.cb("tensorboard", tmp_path / "runs"), group=2))
    for i, outcome in enumerate(plain):
        found = scalars(tmp_path / "runs" / f"iteration_{i}")
        assert set(found) == {"train.loss", "valid.loss", "lr"}
        np.testing.assert_allclose([v for _, v in found["train.loss"]], outcome.history[:, 0], rtol=1e-6)
        # Every second epoch is evaluated, and the last.
        assert [step for step, _ in found["valid.loss"]] == [e for e in (1, 2, 3) if e % 2 == 0 or e == EPOCHS[i]][
            : outcome.epochs
        ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_loss_of_every_batch_is_written_on_request(run, tmp_path):
    callback: Any = jdl.cb("tensorboard", tmp_path, log_train_loss=True)
    run(callback, n=1)
    found = scalars(tmp_path)
    assert [step for step, _ in found["batch.loss"]] == list(range(1, 19))
    epochs = np.reshape([v for _, v in found["batch.loss"]], (3, 6))
    weights = np.array([8, 8, 8, 8, 8, 1]) / 41
    np.testing.assert_allclose(epochs @ weights, [v for _, v in found["train.loss"]], rtol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_runs_of_the_same_second_have_files_of_their_own(run, tmp_path):
    for epochs in (1, 2):
        run(jdl.cb("tensorboard", tmp_path), n=1, epochs=epochs)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_disk_that_is_full_ends_the_training_with_an_error(run, tmp_path, monkeypatch):
    def full(self, event):
        raise OSError(28, "No space left on device")

    def fill(ctx):
        if ctx.epoch == 2:
            monkeypatch.setattr(EventsWriter, "write_event", full)

    callbacks = [jdl.callback(id="fill", on_epoch_end=fill), jdl.cb("tensorboard", tmp_path)]
    with pytest.raises(
        CallbackError, match=r"'tensorboard' failed at stage 'on_epoch_end', epoch 2: .*No space left"
    ) as e:
        run(*callbacks, n=1)
    assert [o.epochs for o in e.value.result] == [2]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_folder_of_other_files_is_refused_and_one_of_events_is_not(run, tmp_path):
    run(jdl.cb("tensorboard", tmp_path), n=1)
    run(jdl.cb("tensorboard", tmp_path), n=1)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds 'notes.txt', which is no event file"):
        run(jdl.cb("tensorboard", tmp_path), n=1)
    with pytest.raises(ConfigError, match="is a file"):
        run(jdl.cb("tensorboard", tmp_path / "notes.txt"), n=1)


def test_csv_has_a_line_per_run_and_epoch(run, plain, tmp_path, assert_same):
    path = tmp_path / "log.csv"
    assert_same(plain, run(jdl.cb("csv_log", path), group=2))
    table = pd.read_csv(path)
    assert list(table.columns) == ["iteration", "epoch", "train.loss", "valid.loss", "lr"]
    for i, outcome in enumerate(plain):
        own = table[table["iteration"] == i].drop(columns=["iteration", "epoch"]).to_numpy()
        np.testing.assert_allclose(own, outcome.history, rtol=1e-6)


def test_csv_refuses_what_is_in_the_way(run, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("old")
    with pytest.raises(ConfigError, match="is there already"):
        run(jdl.cb("csv_log", path))
    run(jdl.cb("csv_log", path, overwrite=True))
    assert len(pd.read_csv(path)) == 6
    with pytest.raises(ConfigError, match="there is no folder"):
        run(jdl.cb("csv_log", tmp_path / "none" / "log.csv"))


def logged(path, folder, *more, epochs=6, resume=True, **options):
    """Three folds, one after another, that write checkpoints and a log."""
    callbacks = [jdl.cb("csv_log", path, **options), jdl.cb("checkpoint", folder), *more]
    learner = jdl.lrn("classif.mlp", neurons=(3,), epochs=epochs, callbacks=callbacks, resume=resume)
    jdl.resample("iris", learner, jdl.rsmp("cv", folds=3), key=4, memory_budget=1)
    return pd.read_csv(path)


def test_csv_goes_on_where_it_was_interrupted(tmp_path):
    """The last of three runs fell out behind its last checkpoint, in the middle of a line."""

    def fail(ctx):
        if 2 in ctx.iterations and ctx.epoch == 4:
            raise ValueError

    path, folder = tmp_path / "log.csv", tmp_path / "ck"
    whole = logged(tmp_path / "whole.csv", tmp_path / "other", resume=False)
    with pytest.raises(jdl.CallbackError):
        logged(path, folder, jdl.callback(on_epoch_end=fail), resume=False)
    with path.open("a") as file:
        file.write("2,5,0.25,0.1\n2,5")
    pd.testing.assert_frame_equal(logged(path, folder), whole)
    longer = logged(path, folder, epochs=8)
    assert sorted(zip(longer["iteration"], longer["epoch"], strict=True)) == [
        (i, e + 1) for i in range(3) for e in range(8)
    ]
    path.unlink()
    anew = logged(path, folder, epochs=9)
    assert set(zip(anew["iteration"], anew["epoch"], strict=True)) >= {(0, 9), (1, 9), (2, 9)}


@pytest.mark.parametrize("text", ["mine", "iteration,epoch,notes\n0,1,good\n", ""])
def test_csv_that_goes_on_leaves_files_of_others_alone(tmp_path, text):
    path = tmp_path / "log.csv"
    path.write_text(text)
    info: Any = RunInfo("test", None, 1, 3, ("train.loss",), resumed=True)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"is no log of this run, whose first line is 'iteration,epoch,train.loss'"):
        CSVLog(path).opened(info)
    assert path.read_text() == text
    CSVLog(path, overwrite=True).opened(info)


@pytest.mark.parametrize(("name", "path"), [("csv_log", None), ("tensorboard", 3)])
def test_what_is_no_path_is_refused(name, path):
    with pytest.raises(ConfigTypeError, match=f"'{name}': 'path' must be"):
        jdl.cb(name, path)


def test_history_is_one_table_of_all_runs(run, plain, assert_same):
    history: Any = jdl.cb("history")
    assert_same(plain, run(history, group=2))
    table = history.to_pandas()
    assert table.groupby("iteration")["epoch"].max().tolist() == EPOCHS
    np.testing.assert_allclose(table[table["iteration"] == 2]["train.loss"], plain[2].history[:, 0])
    other: Any = jdl.cb("history")
    other.restore(history.state())
    assert other.to_pandas().equals(table)


# -- trackers: what is called is recorded by a stand-in for the package


class Recorder:
    """Takes any call, and notes it."""

    def __init__(self, calls, name="", results=None):
        self._calls, self._name, self._results = calls, name, results or {}

    def __getattr__(self, name):
        return Recorder(self._calls, f"{self._name}.{name}".lstrip("."), self._results)

    def __call__(self, *args, **kwargs):
        self._calls.append((self._name, args, kwargs))
        return self._results.get(self._name, lambda *a, **k: None)(*args, **kwargs)


def test_wandb_gets_a_run_per_run(run, plain, monkeypatch, assert_same):
    calls = []

    def init(name, **rest):
        return Recorder(calls, f"run {name}")

    monkeypatch.setitem(sys.modules, "wandb", Recorder(calls, results={"init": init}))
    assert_same(plain, run(jdl.cb("wandb_log", project="heart", tags=["a"])))
    begun = [kwargs for name, _, kwargs in calls if name == "init"]
    assert [k["name"] for k in begun] == ["jdl.0", "jdl.1", "jdl.2"]
    assert begun[0]["project"] == "heart" and begun[0]["tags"] == ["a"] and begun[0]["reinit"] == "create_new"
    assert begun[1]["config"]["epochs"] == 1 and begun[1]["config"]["opt.lr"] == pytest.approx(0.1)
    logged = [(args[0], kwargs["step"]) for name, args, kwargs in calls if name == "run jdl.0.log"]
    assert [step for _, step in logged] == [1, 2, 3]
    assert [set(numbers) for numbers, _ in logged] == [
        {"train.loss", "lr"},
        {"train.loss", "valid.loss", "lr"},
        {"train.loss", "valid.loss", "lr"},
    ]
    assert logged[2][0]["train.loss"] == pytest.approx(plain[0].history[2, 0])
    assert sorted(name for name, _, _ in calls if name.endswith("finish")) == [f"run jdl.{i}.finish" for i in range(3)]


def test_mlflow_gets_a_run_per_run(run, plain, monkeypatch, assert_same):
    calls, results = [], {}
    results["get_experiment_by_name"] = lambda name: None
    results["create_experiment"] = lambda name: "7"
    results["create_run"] = lambda experiment, run_name: SimpleNamespace(info=SimpleNamespace(run_id=run_name))
    tracking = SimpleNamespace(MlflowClient=lambda tracking_uri: Recorder(calls, results=results))
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(tracking=tracking))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", tracking)
    assert_same(plain, run(jdl.cb("mlflow_log", experiment="heart")))
    assert [args for name, args, _ in calls if name == "create_experiment"] == [("heart",)]
    losses = [(a[2], k["step"]) for n, a, k in calls if n == "log_metric" and a[:2] == ("jdl.2", "train.loss")]
    assert [step for _, step in losses] == [1, 2]
    np.testing.assert_allclose([value for value, _ in losses], plain[2].history[:, 0])
    assert ("jdl.1", "epochs", 1) in [args for name, args, _ in calls if name == "log_param"]
    assert [args for name, args, _ in calls if name == "set_terminated"] == [("jdl.0",), ("jdl.1",), ("jdl.2",)]


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("tensorboard", "tensorboardX", "tensorboard"),
        ("wandb_log", "wandb", "wandb"),
        ("mlflow_log", "mlflow.tracking", "mlflow"),
    ],
)
def test_an_absent_package_is_named_with_its_extra_before_anything_runs(
    run, monkeypatch, tmp_path, name, module, extra
):
    monkeypatch.setitem(sys.modules, module, None)
    callback = jdl.cb(name, tmp_path) if name == "tensorboard" else jdl.cb(name)
    begun = []
    with pytest.raises(MissingPackageError, match=rf"callback '{name}' needs the package.*\n.*'jdl\[{extra}\]'"):
        run(callback, jdl.callback(id="begun", on_begin=lambda ctx: begun.append(1)))
    assert not begun


def test_runs_of_a_tracker_are_closed_after_an_error(run, monkeypatch):
    calls = []
    monkeypatch.setitem(sys.modules, "wandb", Recorder(calls, results={"init": lambda **k: Recorder(calls, "run")}))

    def fail(ctx):
        raise ValueError

    with pytest.raises(jdl.CallbackError):
        run(jdl.cb("wandb_log"), jdl.callback(on_epoch_end=fail))
    assert [name for name, _, _ in calls].count("run.finish") == 3


def test_what_cannot_be_opened_is_named(run):
    class Broken(HostCallback):
        id = "broken"

        def opened(self, info):
            raise OSError("no disk")

    with pytest.raises(jdl.CallbackError, match=r"'broken' failed before the runs began.*OSError: no disk"):
        run(Broken())


def test_chunks_that_callbacks_ask_for_are_said():
    learner = jdl.lrn("classif.mlp", neurons=(3,), epochs=1)
    rsmp = jdl.rsmp("cv", folds=2)
    quiet = jdl.resample("iris", learner.set(callbacks="history"), rsmp)
    assert "by epoch" not in quiet.plan and "by step" not in quiet.plan
    watched = jdl.callback(id="watch", on_epoch_end=lambda ctx: None)
    assert "by epoch for 'watch'" in jdl.resample("iris", learner.set(callbacks=["history", watched]), rsmp).plan


def test_what_iterations_had_come_to_is_in_the_error_of_a_resampling():
    def fail(ctx):
        if ctx.epoch == 2:
            raise ValueError("no more")

    learner = jdl.lrn("classif.mlp", neurons=(3,), epochs=3, callbacks=jdl.callback(on_epoch_end=fail))
    with pytest.raises(jdl.CallbackError) as caught:
        jdl.resample("iris", learner, jdl.rsmp("cv", folds=2))
    assert [fitted.epochs for fitted in caught.value.result.fitted] == [2, 2]
    assert 0 <= caught.value.result.aggregate("classif.acc") <= 1
    with pytest.raises(jdl.CallbackError) as caught:
        learner.train("iris")
    assert caught.value.result.epochs == 2
    assert len(caught.value.result.predict("iris").response) == 150
