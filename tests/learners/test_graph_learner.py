"""Graphs as learners: what is missing or misplaced, hyperparameters, populations of networks with several inputs."""

import numpy as np
import pytest

import jdl
from jdl.core.errors import ConfigError, GraphError, UnknownNameError
from jdl.networks.summary import n_parameters

EPOCHS = 3


def network(*, n=8, epochs=EPOCHS, model="model_classif", loss="cross_entropy", **more):
    return (
        jdl.po("scale")
        >> jdl.po("ingress_num")
        >> jdl.nn("linear", out_features=n)
        >> jdl.nn("relu")
        >> jdl.nn("dropout", p=0.1)
        >> jdl.nn("head")
        >> jdl.po("loss", loss=loss)
        >> jdl.po("optimizer", optimizer=jdl.opt("adam", lr=0.05))
        >> jdl.po(model, epochs=epochs, batch_size=16, **more)
    )


def two_paths():
    num = jdl.po("ingress_num") >> jdl.nn("tokenizer_num", d_token=4)
    categ = jdl.po("ingress_categ") >> jdl.nn("tokenizer_categ", d_token=4)
    return (
        jdl.po("imputemean")
        >> jdl.po("scale")
        >> [num, categ]
        >> jdl.nn("merge_cat", axis=1)
        >> jdl.nn("flatten")
        >> jdl.nn("head")
        >> jdl.po("loss", loss="cross_entropy")
        >> jdl.po("optimizer", "adamw", lr=1e-2)
        >> jdl.po("model_classif", epochs=EPOCHS)
    )


def test_the_graph_of_the_design_trains_and_predicts():
    task = jdl.tsk("iris")
    fitted = jdl.as_learner(network(epochs=60)).train(task, key=0)
    assert fitted.predict(task).score("classif.acc") > 0.9
    assert len(fitted.history) == 60


def test_predictions_of_a_batch_see_no_row_that_fills_it_up():
    norm = jdl.nn("batch_norm1d", track_running_stats=False)
    layers = jdl.nn("linear", out_features=8) >> norm >> jdl.nn("relu") >> jdl.nn("head")
    parts = jdl.po("loss", "cross_entropy") >> jdl.po("model_classif", epochs=1)
    task = jdl.tsk("iris")
    fitted = jdl.as_learner(jdl.po("ingress_num") >> layers >> parts).train(task, key=0)
    rows = np.arange(0, 150, 9)
    assert len(rows) == 17
    table = task.table.take(rows)
    expected = fitted.program.network.forward(fitted.network, table)
    np.testing.assert_allclose(fitted.outputs(table), expected, rtol=1e-4, atol=1e-5)


def test_it_is_the_mlp_that_it_looks_like():
    task = jdl.tsk("breast_cancer")
    mlp = jdl.po("scale") >> jdl.lrn(
        "classif.mlp", neurons=(8,), dropout=0.0, epochs=2, batch_size=16, optimizer=jdl.opt("adam", lr=0.05)
    )
    graph = jdl.as_learner(network(epochs=2).set({"dropout.p": 0.0}))
    parameters = [n_parameters(f.network) for f in (mlp.train(task), graph.train(task))]
    assert parameters[0] == parameters[1] == 30 * 8 + 8 + 8 + 1


def test_regression_and_predict_types():
    task = jdl.tsk("friedman1", n=80)
    learner = jdl.as_learner(network(model="model_regr", loss="mse"))
    assert learner.task_type == "regr" and learner.train(task).predict(task).response.shape == (80,)
    prob = jdl.as_learner(network(), predict_type="prob")
    assert prob.train(jdl.tsk("iris")).predict(jdl.tsk("iris")).prob.shape == (150, 3)
    with pytest.raises(ConfigError, match="'predict_type' must be one of 'response', 'se', 'quantiles', got 'prob'"):
        jdl.as_learner(network(model="model_regr", loss="mse"), predict_type="prob")


def test_every_hyperparameter_has_the_name_of_its_node():
    learner = jdl.as_learner(network())
    names = set(learner.params()["name"])
    assert {
        "scale.center",
        "linear.out_features",
        "dropout.p",
        "optimizer.lr",
        "loss.loss",
        "model_classif.epochs",
    } <= names
    other = learner.set(
        {"linear.out_features": 3, "optimizer.lr": 0.5, "model_classif.epochs": 7, "scale.center": False}
    )
    assert [other.get(n) for n in ("linear.out_features", "optimizer.lr", "model_classif.epochs", "scale.center")] == [
        3,
        0.5,
        7,
        False,
    ]
    assert learner.get("linear.out_features") == 8, "a new object"
    with pytest.raises(UnknownNameError, match=r"'linear.out_feature'.*Did you mean 'linear.out_features'"):
        learner.set({"linear.out_feature": 3})


def test_dynamic_hyperparameters_compile_nothing(compilations):
    task, learner = jdl.tsk("iris"), jdl.as_learner(network())
    jdl.resample(task, learner, jdl.rsmp("cv", folds=3))
    before = len(compilations)
    jdl.resample(
        task, learner.set({"dropout.p": 0.4, "optimizer.lr": 0.01, "model_classif.epochs": 5}), jdl.rsmp("cv", folds=3)
    )
    assert len(compilations) == before


@pytest.mark.parametrize("strategy", ["map", "vmap", "loop"])
def test_networks_with_several_inputs_run_in_one_program(strategy):
    task = jdl.tsk("mixed")
    rr = jdl.resample(
        task, jdl.as_learner(two_paths(), predict_type="prob"), jdl.rsmp("cv", folds=3), strategy=strategy
    )
    alone = jdl.resample(
        task, jdl.as_learner(two_paths(), predict_type="prob"), jdl.rsmp("cv", folds=3), strategy="loop"
    )
    np.testing.assert_allclose(rr.prediction.prob, alone.prediction.prob, atol=1e-3)


def test_unseen_levels_and_missing_codes_are_taken():
    task = jdl.tsk("mixed")
    fitted = jdl.as_learner(two_paths()).train(task)
    rows = task.to_pandas().head(4).astype({"city": object})
    rows.loc[0, "city"], rows.loc[1, "city"] = None, "never seen"
    assert len(fitted.predict(rows)) == 4


def test_architecture_is_a_hyperparameter():
    choice = jdl.po("branch", ["relu", "tanh"]) >> [jdl.nn("relu"), jdl.nn("tanh")] >> jdl.po("unbranch")
    graph = (
        jdl.po("ingress_num")
        >> jdl.nn("block", jdl.nn("linear", out_features=4) >> choice, n_blocks=1)
        >> jdl.nn("head")
        >> jdl.po("loss", "cross_entropy")
        >> jdl.po("model_classif", epochs=1)
    )
    learner = jdl.as_learner(graph)
    task = jdl.tsk("iris")
    sizes = []
    for values in ({}, {"block.n_blocks": 3}, {"block.branch.selection": "tanh"}):
        sizes.append(n_parameters(learner.set(values).train(task).network))
    assert sizes == [5 * 4 + 5 * 3, 3 * 20 + 15, 5 * 4 + 15]


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (lambda: jdl.po("ingress_num") >> jdl.nn("head"), r"there is no model node[\s\S]*model_classif"),
        (lambda: jdl.po("ingress_num") >> jdl.nn("head") >> jdl.po("model_classif"), r"there is no loss node"),
        (lambda: network() >> jdl.po("scale"), "has no output, so that nothing can follow"),
        (
            lambda: (
                jdl.po("ingress_num")
                >> jdl.nn("head")
                >> jdl.po("loss", "mse")
                >> jdl.po("loss", "mse", id="again")
                >> jdl.po("model_regr")
            ),
            "node 'again' sets the loss a second time",
        ),
        (
            lambda: jdl.po("ingress_num") >> jdl.po("loss", "mse") >> jdl.nn("head") >> jdl.po("model_regr"),
            "node 'head' stands behind node 'loss'",
        ),
        (
            lambda: jdl.nn("head") >> jdl.po("loss", "mse") >> jdl.po("model_regr"),
            "there is no ingress",
        ),
        (
            lambda: (
                [jdl.po("scale") >> jdl.po("ingress_num"), jdl.po("ingress_num")]
                >> jdl.nn("merge_cat")
                >> jdl.nn("head")
                >> jdl.po("loss", "mse")
                >> jdl.po("model_regr")
            ),
            "must get its rows from the last stage, 'scale'",
        ),
        (
            lambda: (
                jdl.po("ingress_num")
                >> [jdl.nn("head"), jdl.nn("head")]
                >> jdl.po("loss", "mse")
                >> jdl.po("model_regr")
            ),
            r"has 2 outputs \('head', 'head_2'\), but node 'loss' takes 1 input",
        ),
    ],
)
def test_what_is_no_learner_says_why(graph, message):
    with pytest.raises(GraphError, match=message):
        jdl.as_learner(graph())


def test_the_task_must_suit_the_model():
    with pytest.raises(ConfigError, match="is for classif tasks"):
        jdl.as_learner(network()).train(jdl.tsk("friedman1"))
    with pytest.raises(ConfigError, match="loss 'mse' is for regr tasks"):
        jdl.as_learner(network(loss="mse"))


def test_stages_may_come_before_and_pipelines_go_on():
    bare = (
        jdl.po("ingress_num") >> jdl.nn("head") >> jdl.po("loss", "cross_entropy") >> jdl.po("model_classif", epochs=1)
    )
    learner = jdl.po("scale") >> jdl.as_learner(bare)
    assert learner.id == "scale.model_classif" and learner.get("scale.center") is True
    assert learner.train(jdl.tsk("iris")).predict(jdl.tsk("iris")).score("classif.acc") >= 0


def test_a_graph_learner_is_never_changed():
    for learner in (jdl.as_learner(network()), jdl.as_learner(network()).set({"dropout.p": 0.3})):
        for name in ("epochs", "predict_type", "lr"):
            with pytest.raises(ConfigError, match="learners never change"):
                setattr(learner, name, 3)
