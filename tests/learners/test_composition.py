from typing import Any

import numpy as np
import pandas as pd
import pytest

import jdl
from jdl.core.errors import ConfigError, GraphError, UnknownNameError
from jdl.learners import ClassifFeatureless, Learner, as_learner

RNG = np.random.default_rng(0)
TASK = jdl.TaskClassif(
    {"a": RNG.normal(5, 3, 40), "b": np.where(RNG.random(40) < 0.3, np.nan, RNG.normal(size=40)), "c": ["u", "v"] * 20},
    target=np.where(np.arange(40) % 2, "yes", "no"),
)


def test_stages_before_a_learner_are_a_learner():
    mlp = jdl.lrn("classif.mlp")
    pipe = jdl.po("imputemedian") >> jdl.po("scale") >> mlp
    assert isinstance(pipe, Learner) and type(pipe) is type(mlp)
    assert pipe.id == "imputemedian.scale.classif.mlp"
    assert mlp.id == "classif.mlp" and mlp.stages == ()
    assert [s.stage_id for s in (jdl.po("encode") >> (jdl.po("scale") >> mlp)).stages] == ["encode", "scale"]
    assert (pipe.task_type, pipe.predict_type) == ("classif", "response")


def test_an_id_of_its_own_stays():
    pipe = jdl.po("scale") >> jdl.lrn("classif.mlp", id="mine")
    assert pipe.id == "mine"
    assert pipe.set(epochs=3).id == "mine"
    assert pipe.set(id="yours").id == "yours"


def test_hyperparameters_of_a_learner_keep_their_names_and_those_of_stages_get_a_prefix():
    pipe = jdl.po("scale", id="first") >> jdl.lrn("classif.mlp", epochs=7)
    names = set(pipe.params()["name"])
    assert {"epochs", "opt.lr", "first.center", "first.scale"} <= names
    assert "scale.center" not in names
    other = pipe.set({"first.center": False, "opt.lr": 0.5, "epochs": 8})
    assert (other.get("first.center"), other.get("opt.lr"), other.get("epochs")) == (False, 0.5, 8)
    assert (pipe.get("first.center"), pipe.get("opt.lr"), pipe.get("epochs")) == (True, 1e-3, 7)
    with pytest.raises(UnknownNameError, match=r"Unknown hyperparameter 'second\.center'"):
        pipe.set({"second.center": False})


def test_two_stages_of_one_name_are_numbered():
    numbered = jdl.po("scale") >> jdl.po("scale") >> jdl.lrn("classif.mlp")
    assert numbered.id == "scale.scale_2.classif.mlp"
    pipe = jdl.po("scale") >> jdl.po("scale", id="again") >> jdl.lrn("classif.mlp")
    assert pipe.id == "scale.again.classif.mlp"


def test_stages_act_in_their_order():
    rows = np.arange(30)
    pipe = jdl.po("imputemedian") >> jdl.po("encode") >> jdl.po("scale") >> jdl.lrn("classif.log_reg")
    fitted: Any = pipe.set(predict_type="prob").train(TASK, rows=rows)
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = TASK.to_pandas()[["a", "b", "c"]]
    columns = ColumnTransformer([("n", SimpleImputer(strategy="median"), ["a", "b"]), ("c", OneHotEncoder(), ["c"])])
    by_hand = make_pipeline(columns, StandardScaler(), LogisticRegression(max_iter=1000))
    by_hand.fit(frame.iloc[rows], TASK.truth(rows))
    expected = by_hand.predict_proba(frame.iloc[30:])
    np.testing.assert_allclose(fitted.predict(TASK, rows=range(30, 40)).prob, expected, atol=1e-4)


def test_the_learner_comes_last():
    with pytest.raises(GraphError, match=r"learner 'classif.mlp' must come last[\s\S]*Hint: put Scale"):
        _ = jdl.lrn("classif.mlp") >> jdl.po("scale")
    with pytest.raises(GraphError, match="must come last"):
        _ = jdl.lrn("classif.mlp") >> jdl.lrn("classif.mlp")


def test_as_learner_takes_names_and_learners():
    learner = ClassifFeatureless()
    assert as_learner(learner) is learner
    assert isinstance(as_learner("classif.featureless"), ClassifFeatureless)


def test_get_and_set_of_one_learner_do_not_reach_another():
    first = jdl.lrn("classif.mlp", epochs=5)
    second = first.set(epochs=6)
    third = second.set()
    assert [learner.get("epochs") for learner in (first, second, third)] == [5, 6, 6]
    second.values["epochs"] = 99
    assert third.get("epochs") == 6


def graph_learner() -> Any:
    net = (
        jdl.po("ingress_num")
        >> jdl.nn("head")
        >> jdl.po("loss", loss="cross_entropy")
        >> jdl.po("optimizer", optimizer="adam")
        >> jdl.po("model_classif", epochs=2, batch_size=8)
    )
    return as_learner(net)


@pytest.mark.parametrize(
    ("learner", "hint"),
    [
        (jdl.lrn("classif.mlp"), r"learner.set\({'epochs': 99}\)"),
        (jdl.lrn("classif.mlp").set(epochs=3), r"learner.set\({'epochs': 99}\)"),
        (jdl.po("scale") >> jdl.lrn("classif.mlp"), r"learner.set\({'epochs': 99}\)"),
        (graph_learner(), r"learner.set\({'model_classif.epochs': 99}\)"),
        (graph_learner().set({"model_classif.epochs": 3}), r"learner.set\({'model_classif.epochs': 99}\)"),
    ],
    ids=["mlp", "set", "pipeline", "graph", "graph, set"],
)
def test_learners_are_not_assigned_to(learner, hint):
    before = repr(learner)
    with pytest.raises(ConfigError, match=rf"learners never change; 'epochs' cannot be set.\nHint: {hint} returns"):
        learner.epochs = 99
    with pytest.raises(ConfigError, match=r"'epocs' cannot be set\.\nIt is no hyperparameter either\."):
        learner.epocs = 99
    with pytest.raises(ConfigError, match="'id' cannot be set"):
        learner.id = "mine"
    assert repr(learner) == before


def test_parts_of_a_learner_are_not_assigned_to():
    for learner in (
        jdl.lrn("classif.mlp"),
        jdl.lrn("classif.log_reg").set(C=2.0),
        jdl.po("scale") >> jdl.lrn("regr.lm"),
    ):
        for part, value in (("predict_type", "prob"), ("values", {}), ("stages", ())):
            with pytest.raises(ConfigError, match=f"'{part}' cannot be set"):
                setattr(learner, part, value)


def test_a_learner_behind_a_learner():
    with pytest.raises(GraphError, match=r"must come last[\s\S]*Hint: a pipeline has one learner"):
        jdl.lrn("classif.mlp") >> jdl.lrn("classif.log_reg")
    with pytest.raises(GraphError, match=r"Hint: put .* before the learner"):
        jdl.lrn("classif.mlp") >> jdl.po("scale")


def test_the_table_of_hyperparameters_prints_whole():
    params = jdl.lrn("classif.mlp").params()
    lines = str(params).splitlines()
    assert len(lines) == 1 + len(params) and "..." not in lines[0]
    assert next(line for line in lines if line.startswith("opt.eps")).split()[1] == "1e-08"
    epochs = next(line for line in lines if line.startswith("epochs"))
    assert "yes" in epochs and epochs.endswith("by the data's size.")
    assert type(params[["name", "value"]]) is pd.DataFrame


def test_the_history_that_is_handed_out_is_a_copy():
    fitted: Any = (jdl.po("imputemean") >> jdl.po("encode") >> jdl.lrn("classif.mlp", epochs=2, neurons=(4,))).train(
        TASK
    )
    before = fitted.history
    changed = fitted.history
    changed["train.loss"] = 0.0
    pd.testing.assert_frame_equal(fitted.history, before)
    assert (before["train.loss"] > 0).all()
