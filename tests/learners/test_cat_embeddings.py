"""Embedded categories as an argument of the learners whose networks take flat rows: unseen levels, folds, files."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import jdl
from jdl.core.errors import ConfigError
from jdl.core.random import as_key
from jdl.networks import MLP, CategoricalEmbeddings
from jdl.train.program import initial_values

N = 60
QUICK: dict[str, Any] = {"epochs": 3, "batch_size": 16, "cat_embeddings": "embedding"}
SIZES: dict[str, dict[str, Any]] = {
    "mlp": {"neurons": (8,), "preprocess": True},
    "tab_resnet": {"n_blocks": 1, "d_block": 8},
    "tabm": {"k": 3, "d_block": 8, "n_blocks": 1, "n_bins": 5},
}
every_model = pytest.mark.parametrize("name", SIZES)


def learner(name, **more) -> Any:
    return jdl.lrn(f"classif.{name}", **QUICK | SIZES[name] | {"predict_type": "prob"} | more)


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    few = rng.choice(["u", "v"], N)
    many = [f"level {i}" for i in np.arange(N) % 12]
    y = np.where((few == "u") ^ (np.arange(N) % 12 < 6), "yes", "no")
    return pd.DataFrame(
        {"x": np.where(rng.random(N) < 0.2, np.nan, rng.normal(size=N)), "few": few, "many": many, "y": y}
    )


TASK = jdl.TaskClassif(frame(), target="y")


@every_model
def test_each_category_has_a_table_with_a_row_for_what_is_unseen(name):
    fitted: Any = learner(name).train(TASK)
    embeddings = fitted.network.cat_embeddings
    assert isinstance(embeddings, CategoricalEmbeddings)
    assert embeddings.cardinalities == (3, 13) and embeddings.output_shape == (2, 8)
    before = initial_values(fitted.program).draw(as_key(0).fold("initial"))[0]["cat_embeddings"]["table"]
    moved = np.abs(np.asarray(embeddings.table[...]) - np.asarray(before)).max(axis=1) > 1e-6
    assert moved.tolist() == ([False] + [True] * 2) + ([False] + [True] * 12)
    assert learner(name, d_cat_embedding=3).train(TASK).network.cat_embeddings.output_shape == (2, 3)


@every_model
def test_unseen_levels_are_predicted_as_missing_ones(name):
    fitted = learner(name).train(TASK)
    new = frame().drop(columns="y")
    unseen = fitted.predict(new.assign(few="never", many="seen")).prob
    np.testing.assert_array_equal(unseen, fitted.predict(new.assign(few=None, many=None)).prob)
    assert not np.allclose(unseen, fitted.predict(new).prob)


@every_model
@pytest.mark.parametrize("strategy", ["map", "vmap"])
def test_folds_train_as_each_alone(name, strategy):
    slow = learner(name, optimizer=jdl.opt("sgd", lr=0.01))
    rr = jdl.resample(TASK, slow, jdl.rsmp("cv", folds=3), strategy=strategy)
    rows, held_out = rr.splits[0]
    alone = slow.train(TASK, rows=rows, key=as_key(0).fold("iteration", 0)).predict(TASK, rows=held_out)
    np.testing.assert_allclose(rr.predictions[0].prob, alone.prob, atol=1e-4)


@every_model
def test_files_hold_the_embeddings(name, tmp_path):
    fitted = learner(name).train(TASK)
    fitted.save(tmp_path / "model")
    again = jdl.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(TASK).prob, fitted.predict(TASK).prob)
    np.testing.assert_array_equal(again.to_numpy()["cat_embeddings.table"], fitted.to_numpy()["cat_embeddings.table"])


@every_model
def test_a_table_without_categories_needs_none(name):
    fitted: Any = learner(name).train(jdl.tsk("iris"))
    assert getattr(fitted.network, "cat_embeddings", None) is None
    np.testing.assert_array_equal(
        fitted.predict(jdl.tsk("iris")).prob,
        learner(name, cat_embeddings="one_hot").train(jdl.tsk("iris")).predict(jdl.tsk("iris")).prob,
    )


@every_model
def test_a_table_of_categories_alone(name):
    task = jdl.TaskClassif(frame().drop(columns="x"), target="y")
    assert learner(name, num_embeddings="linear", n_bins=32 if name == "tabm" else 48).train(task).epochs == 3


def test_an_mlp_takes_categories_with_preprocessing_or_without():
    categories = jdl.TaskClassif(frame().assign(x=1.0 * np.arange(N), few=[None, "v", "u"] * 20), target="y")
    fitted: Any = learner("mlp", preprocess=False, num_embeddings="periodic").train(categories)
    assert fitted.network.num_embeddings.n_features == 1
    assert isinstance(learner("mlp", preprocess=False, cat_embeddings="one_hot").train(jdl.tsk("iris")).network, MLP)


@every_model
def test_a_width_without_embeddings_is_refused(name):
    message = rf"'classif.{name}': 'd_cat_embedding' acts on cat_embeddings 'embedding'.*got d_cat_embedding=3\.\nHint"
    with pytest.raises(ConfigError, match=message):
        learner(name, cat_embeddings="one_hot", d_cat_embedding=3)
    with pytest.raises(ConfigError, match=r"'cat_embeddings' must be one of 'one_hot', 'embedding', got 'onehot'"):
        learner(name, cat_embeddings="onehot")
