"""Saving and loading of fitted learners: own parts, trust, callbacks, and other processes."""

import json
import multiprocessing
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from flax import nnx
from sklearn.neighbors import KNeighborsClassifier

import jdl
from jdl.core.errors import CheckpointError, ConfigTypeError, JdlWarning, MissingPackageError
from jdl.io import read_directory, write_directory
from jdl.pipeline.stage import Stage

HERE = __name__


def steep(x):
    return jnp.where(x > 0, x, 0.3 * x)


@jdl.layer
def doubled(x, factor=2.0):
    """A decorated layer: its name stands for the kind, not for the function."""
    return factor * x


class Net(nnx.Module):
    """Given as an object: its values are the first ones."""

    def __init__(self, width, *, rngs):
        self.first = nnx.Linear(2, width, rngs=rngs)
        self.last = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.first(x)))


@dataclass(frozen=True)
class Shift(Stage):
    """A stage of somebody else."""

    name: ClassVar[str] = "shift"

    def out_spec(self, spec):
        return spec

    def fit(self, spec, table, weights, key):
        return ({"shift": np.float32(1.0)}, None)

    def apply(self, spec, state, table, key, train):
        return jdl.train.numeric_table(table.numeric + state[0]["shift"])


class Quiet(jdl.HostCallback):
    """A host callback: an object that no spec can stand for."""

    id = "quiet"

    def on_end(self, ctx):
        self.seen = ctx


@cache
def task() -> Any:
    x = np.random.default_rng(0).normal(size=(40, 2))
    return jdl.TaskClassif(pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": np.where(x[:, 0] > 0, "p", "n")}), "y")


def mlp(**values) -> Any:
    return jdl.lrn("classif.mlp", **{"neurons": (4,), "epochs": 2, "batch_size": 16, "predict_type": "prob", **values})


@cache
def fitted() -> Any:
    return (jdl.po("scale") >> mlp(validate=0.3, measures_valid="classif.auc")).train(task())


def assert_same(one, other):
    np.testing.assert_array_equal(one.predict(task()).prob, other.predict(task()).prob)


def test_a_pipeline_keeps_what_validation_chose(tmp_path):
    model = fitted()
    model.save(tmp_path / "m")
    again = jdl.load(tmp_path / "m")
    assert_same(again, model)
    assert again.best_epoch == model.best_epoch and list(again.history) == list(model.history)
    assert again.learner.id == "scale.classif.mlp" and again.learner.get("scale.columns") == model.learner.get(
        "scale.columns"
    )
    assert again.program == model.program


def test_graphs_with_known_and_own_layers_come_back(tmp_path):
    graph = (
        jdl.po("scale")
        >> jdl.po("ingress_num")
        >> [jdl.nn("linear", out_features=3) >> jdl.nn("dropout", p=0.1), jdl.nn("linear", out_features=2, id="other")]
        >> jdl.nn("merge_cat")
        >> doubled(factor=0.5)
        >> jdl.nn("fn", steep)
        >> jdl.nn("block", jdl.nn("linear", out_features=5) >> jdl.nn("relu"), n_blocks=2)
        >> jdl.nn("head")
        >> jdl.po("loss", loss="cross_entropy")
        >> jdl.po("optimizer", optimizer=jdl.opt("sgd", lr=0.1, momentum=0.9))
        >> jdl.po("model_classif", epochs=1, batch_size=16)
    )
    model = jdl.as_learner(graph, predict_type="prob").train(task())
    model.save(tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"doubled.*steep"):
        jdl.load(tmp_path / "m")
    again = jdl.load(tmp_path / "m", trust=HERE)
    assert_same(again, model)
    assert again.learner.params()["name"].tolist() == model.learner.params()["name"].tolist()
    assert again.program == model.program
    handed_in = jdl.load(tmp_path / "m", trust={f"{HERE}:doubled": doubled, f"{HERE}:steep": steep})
    assert handed_in.program == model.program


def test_own_activations_and_stages_come_back_where_they_are_trusted(tmp_path):
    model = (Shift() >> mlp(activation=steep)).train(task())
    model.save(tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"Shift.*steep"):
        jdl.load(tmp_path / "m")
    assert_same(jdl.load(tmp_path / "m", trust={HERE}), model)


def test_activations_of_jax_need_no_trust(tmp_path):
    model = mlp(activation=jax.nn.leaky_relu, activation_args={"negative_slope": 0.2}).train(task())
    model.save(tmp_path / "m")
    assert_same(jdl.load(tmp_path / "m"), model)


def test_a_lambda_is_refused_by_the_hyperparameter(tmp_path):
    model = mlp(activation=lambda x: jnp.tanh(x)).train(task())
    with pytest.raises(ConfigTypeError, match=r"activation.*lambda"):
        model.save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_a_network_given_as_an_object_is_handed_in_again(tmp_path):
    net = Net(3, rngs=nnx.Rngs(0))
    model = jdl.lrn("classif.module", module=net, epochs=1, batch_size=16, predict_type="prob").train(task())
    model.save(tmp_path / "m")
    with pytest.raises(CheckpointError, match="hand such an object in"):
        jdl.load(tmp_path / "m", trust=HERE)
    other = Net(3, rngs=nnx.Rngs(1))
    assert_same(jdl.load(tmp_path / "m", trust={f"{HERE}:Net": other}), model)
    with pytest.raises(CheckpointError, match="expected float32 of shape"):
        jdl.load(tmp_path / "m", trust={f"{HERE}:Net": Net(4, rngs=nnx.Rngs(1))})


def test_host_callbacks_stay_behind_with_a_warning(tmp_path):
    model = mlp(callbacks=Quiet()).train(task())
    with pytest.warns(JdlWarning, match="callback 'quiet' is not saved"):
        model.save(tmp_path / "m")
    again = jdl.load(tmp_path / "m")
    assert_same(again, model)
    assert again.learner.get("callbacks") == ()


def test_what_only_training_needs_stays_behind_with_a_warning(tmp_path):
    """An Optax transformation has no name by which it could be found again."""
    learner = jdl.lrn(
        "classif.mlp",
        epochs=1,
        neurons=(4,),
        optimizer=jdl.opt(optax.yogi(1e-2)),
        sampler=lambda generator, rows: generator.permutation(rows.n),
    )
    fitted = learner.train("iris")
    with pytest.warns(JdlWarning) as warned:
        fitted.save(tmp_path / "model")
    assert [text for text in map(str, warned.list) if "optimizer" in text] and len(warned) == 2
    loaded = jdl.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict("iris").response, fitted.predict("iris").response)
    assert loaded.learner.get("opt.lr") == 0.001 and loaded.learner.get("sampler") is None


def test_a_checkpoint_is_not_replaced_by_a_model(tmp_path):
    learner = jdl.lrn("classif.mlp", epochs=1, neurons=(4,), callbacks=jdl.cb("checkpoint", tmp_path / "ck"))
    fitted = learner.train("iris")
    (checkpoint,) = (path for path in (tmp_path / "ck").iterdir() if path.is_dir())
    with pytest.raises(CheckpointError, match="holds no fitted learner, and is not replaced"):
        fitted.save(checkpoint, overwrite=True)


@pytest.mark.parametrize("given", [True, "runs"])
def test_a_resumed_model_forgets_what_it_went_on_from(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    model = mlp(callbacks=jdl.cb("checkpoint", "runs"), resume=given).train(task())
    with pytest.warns(JdlWarning, match="callback 'checkpoint' is not saved"):
        model.save("m")
    again = jdl.load("m")
    assert_same(again, model)
    assert again.learner.get("resume") is None


def test_host_callbacks_and_resume_stay_behind_in_graphs_too(tmp_path):
    graph = (
        jdl.po("ingress_num")
        >> jdl.nn("head")
        >> jdl.po("loss", loss="cross_entropy")
        >> jdl.po("callbacks", ["history", jdl.cb("checkpoint", tmp_path / "r"), jdl.cb("grad_clip", max_norm=1.0)])
        >> jdl.po("model_classif", epochs=1, batch_size=16, resume=tmp_path / "r")
    )
    model = jdl.as_learner(graph, predict_type="prob").train(task())
    with pytest.warns(JdlWarning) as warned:
        model.save(tmp_path / "m")
    assert [str(w.message).split("'")[1] for w in warned] == ["history", "checkpoint"]
    again = jdl.load(tmp_path / "m")
    assert_same(again, model)
    assert [callback.id for callback in again.learner.get("callbacks.callbacks")] == ["grad_clip"]
    assert again.learner.get("model_classif.resume") is None


def test_estimators_with_unknown_types_need_trust(tmp_path):
    model = jdl.lrn("classif.sklearn", estimator=KNeighborsClassifier(), predict_type="prob").train(task())
    model.save(tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"sklearn\.neighbors\._kd_tree\.KDTree"):
        jdl.load(tmp_path / "m")
    assert_same(jdl.load(tmp_path / "m", trust={"sklearn.neighbors", "sklearn.metrics"}), model)


def test_without_skops_the_extra_is_named(tmp_path, monkeypatch):
    model = jdl.lrn("classif.log_reg").train(task())
    model.save(tmp_path / "m")
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(MissingPackageError, match=r"skops.*\n.*jdl\[sklearn\]"):
        model.save(tmp_path / "other")
    with pytest.raises(MissingPackageError, match=r"jdl\[sklearn\]"):
        jdl.load(tmp_path / "m")


def test_classes_of_all_kinds_of_labels_come_back(tmp_path):
    for i, labels in enumerate(([True, False], [3, 5], np.array([0.0, 1.0]), ["ü", "b"])):
        data = jdl.TaskClassif({"x": np.arange(8.0), "y": np.repeat(np.asarray(labels), 4)}, "y")
        model = jdl.lrn("classif.featureless").train(data)
        model.save(tmp_path / str(i))
        again = jdl.load(tmp_path / str(i))
        assert repr(again.known) == repr(model.known)
        assert again.predict(data).response.dtype == model.predict(data).response.dtype


def test_save_replaces_a_model_only_where_it_is_told_to(tmp_path):
    fitted().save(tmp_path / "m")
    with pytest.raises(CheckpointError, match="overwrite=True"):
        fitted().save(tmp_path / "m")
    other = jdl.lrn("classif.featureless").train(task())
    other.save(tmp_path / "m", overwrite=True)
    assert repr(jdl.load(tmp_path / "m")) == repr(other)
    for path in (3, "", None):
        with pytest.raises(jdl.ConfigError, match="path"):
            fitted().save(path)


def test_damage_is_named_by_load(tmp_path):
    fitted().save(tmp_path / "m")
    names = [f for f in (tmp_path / "m").rglob("*") if f.is_file()]
    for file in names:
        shutil.copytree(tmp_path / "m", tmp_path / "copy")
        (tmp_path / "copy" / file.relative_to(tmp_path / "m")).unlink()
        with pytest.raises(CheckpointError, match=file.name):
            jdl.load(tmp_path / "copy")
        shutil.rmtree(tmp_path / "copy")
    with pytest.raises(CheckpointError, match="no such folder"):
        jdl.load(tmp_path / "none")


def test_a_folder_with_something_else_is_no_model(tmp_path):
    write_directory(tmp_path / "a", {"what": "training"}, {"x": np.ones(1)})
    with pytest.raises(CheckpointError, match="no fitted learner"):
        jdl.load(tmp_path / "a")


def test_weights_of_other_shapes_are_refused(tmp_path):
    fitted().save(tmp_path / "m")
    spec, arrays = read_directory(tmp_path / "m")
    text = json.dumps(spec).replace('"neurons": {"$": [4]}', '"neurons": {"$": [5]}')
    write_directory(tmp_path / "other", json.loads(text), arrays)
    with pytest.raises(CheckpointError, match="shape"):
        jdl.load(tmp_path / "other")


def test_to_numpy_gives_copies_of_the_weights_by_path():
    model = fitted()
    arrays = model.to_numpy()
    assert {path: a.shape for path, a in arrays.items()} == {
        "blocks.0.linear.bias": (4,),
        "blocks.0.linear.kernel": (2, 4),
        "head.bias": (1,),
        "head.kernel": (4, 1),
    }
    np.testing.assert_array_equal(arrays["head.kernel"], model.network.head.kernel[...])
    arrays["head.kernel"][:] = 0
    assert model.to_numpy()["head.kernel"].any()
    linear = jdl.lrn("classif.log_reg").train(task())
    np.testing.assert_array_equal(linear.to_numpy()["coef_"], linear.model.coef_)


def test_other_processes_train_and_predict_with_what_they_are_sent():
    frame = task().to_pandas()[["a", "b"]]
    net = jdl.po("ingress_num") >> jdl.nn("linear", out_features=3) >> jdl.nn("relu") >> jdl.nn("head")
    graph = net >> jdl.po("loss", loss="cross_entropy") >> jdl.po("model_classif", epochs=1, batch_size=16)
    learner = jdl.as_learner(graph, predict_type="prob")
    fitted().predict(frame)  # what is kept for later must not travel
    assert fitted().network is not None
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        predicted = pool.submit(fitted().predict, frame).result(timeout=120)
        trained = pool.submit(learner.train, task()).result(timeout=120)
    np.testing.assert_allclose(predicted.prob, fitted().predict(frame).prob, rtol=1e-6)
    np.testing.assert_allclose(
        trained.predict(frame).prob, learner.train(task()).predict(frame).prob, rtol=1e-5, atol=1e-6
    )
    assert hash(trained.program) == hash(learner.train(task()).program)
