"""Losses and optimizers through learners: names of values, predict types, units, refusals."""

import numpy as np
import optax
import pandas as pd
import pytest

import jdl
from jdl.core.errors import ConfigError, JdlError, UnknownNameError
from jdl.networks.select import select_grep


@pytest.fixture(scope="module")
def noisy():
    """A value of mean 1000 whose noise depends on a column."""
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 2))
    spread = np.where(x[:, 1] > 0, 20.0, 4.0)
    return jdl.TaskRegr(
        pd.DataFrame(x, columns=["a", "b"]).assign(y=1000 + 10 * x[:, 0] + spread * random.normal(size=300)), "y"
    )


def regr(**hyper):
    return jdl.lrn("regr.mlp", **{"neurons": (16,), "epochs": 30, "optimizer": jdl.opt("adam", lr=0.02)} | hyper)


def test_standard_errors_come_in_units_of_the_target(noisy):
    prediction = regr(loss="gaussian_nll", predict_type="se").train(noisy, progress=False).predict(noisy)
    assert prediction.predict_types == ("response", "se")
    assert "se" in prediction.to_pandas()
    wide = noisy.to_pandas()["b"].to_numpy() > 0
    assert 12 < prediction.se[wide].mean() < 28
    assert 2 < prediction.se[~wide].mean() < 9
    assert abs(prediction.response.mean() - 1000) < 5
    part = prediction.filter(np.arange(5))
    assert part.se.shape == (5,)


def test_quantiles_come_in_units_of_the_target_and_in_order(noisy):
    learner = regr(loss=jdl.loss("quantile", quantiles=(0.1, 0.5, 0.9)), predict_type="quantiles")
    rr = jdl.resample(noisy, learner, jdl.rsmp("cv", folds=2), key=0)
    prediction = rr.prediction
    below = (prediction.truth[:, None] < prediction.quantiles).mean(axis=0)
    np.testing.assert_allclose(below, (0.1, 0.5, 0.9), atol=0.12)
    assert (np.diff(prediction.quantiles, axis=1) > 0).all()
    np.testing.assert_array_equal(prediction.response, prediction.quantiles[:, 1])
    assert list(prediction.to_pandas())[-3:] == ["quantiles.0.1", "quantiles.0.5", "quantiles.0.9"]
    again = rr.score("regr.rmse")["regr.rmse"]
    assert (again < 40).all()


def test_poisson_predicts_counts_and_refuses_what_is_none(noisy):
    random = np.random.default_rng(1)
    a = random.normal(size=300)
    counts = jdl.TaskRegr(pd.DataFrame({"a": a, "y": random.poisson(np.exp(3 + 0.5 * a))}), "y")
    learner = regr(loss="poisson", validate=0.2, measures_valid="regr.rmse", restore_best=False)
    fitted = learner.train(counts, progress=False)
    prediction = fitted.predict(counts)
    assert (prediction.response > 0).all()
    np.testing.assert_allclose(prediction.response, np.exp(3 + 0.5 * a), rtol=0.5)
    # In-scan scores are in the units of the counts too.
    assert prediction.score("regr.rmse") == pytest.approx(fitted.history["valid.regr.rmse"].iloc[-1], rel=0.4)
    negative = jdl.TaskRegr(pd.DataFrame({"a": a, "y": a}), "y", id="signed")
    with pytest.raises(ConfigError, match=r"task 'signed': loss 'poisson' .*goes down to -"):
        learner.train(negative, progress=False)


def test_predict_types_need_their_loss():
    with pytest.raises(
        ConfigError, match=r"predict_type='se' needs a loss that predicts it, got 'mse'.\n.*'gaussian_nll'"
    ):
        jdl.lrn("regr.mlp", predict_type="se")
    with pytest.raises(ConfigError, match=r"needs a loss that predicts it, got 'l1'.\n.*'quantile'"):
        jdl.lrn("regr.tabm", loss="l1", predict_type="quantiles")
    with pytest.raises(ConfigError, match="'predict_type' must be one of 'response', 'prob'"):
        jdl.lrn("classif.mlp", predict_type="se")
    with pytest.raises(ConfigError, match="'predict_type' must be one of 'response'"):
        jdl.lrn("regr.lm", predict_type="se")


def test_values_of_the_loss_are_hyperparameters_of_the_learner():
    learner = jdl.lrn("classif.mlp", **{"loss.label_smoothing": 0.1})
    assert learner.get("loss.label_smoothing") == 0.1
    assert learner.set({"loss.class_weight": "balanced"}).loss == jdl.loss(
        "cross_entropy", label_smoothing=0.1, class_weight="balanced"
    )
    assert learner.set(loss="focal").set({"loss.gamma": 3.0}).get("loss.gamma") == 3.0
    assert jdl.lrn("classif.realmlp", **{"loss.class_weight": "balanced"}).loss.one_logit is False
    row = learner.params().set_index("name").loc["loss.label_smoothing"]
    assert row["dynamic"] and row["value"] == 0.1
    with pytest.raises(UnknownNameError, match=r"'smoothing'"):
        learner.set({"loss.smoothing": 0.1})
    with pytest.raises(ConfigError, match="label_smoothing"):
        learner.set({"loss.label_smoothing": 2.0})


def graph(loss, task_type="classif", **model):
    return jdl.as_learner(
        jdl.po("ingress_num") >> jdl.nn("linear", out_features=6) >> jdl.nn("relu") >> jdl.nn("head")
        >> jdl.po("loss", loss=loss) >> jdl.po("optimizer", optimizer="adam", lr=0.02)
        >> jdl.po(f"model_{task_type}", epochs=3, batch_size=32, **model)
    )  # fmt: skip


def test_the_head_of_a_graph_follows_its_loss(noisy):
    learner = graph("quantile", "regr").set({"loss.quantiles": (0.2, 0.8), "optimizer.accumulate": 2})
    learner = learner.set(predict_type="quantiles")
    prediction = learner.train(noisy, progress=False).predict(noisy)
    assert prediction.quantiles.shape == (300, 2)
    smooth = graph("cross_entropy").set({"loss.label_smoothing": 0.1})
    assert smooth.get("loss.label_smoothing") == 0.1
    assert smooth.train(jdl.tsk("iris"), progress=False).run.hyper["loss.label_smoothing"] == np.float32(0.1)
    with pytest.raises(ConfigError, match="is for regr tasks, the learner is for classif tasks"):
        graph("mse")


def squared(output, target):
    return (output[:, 0] - target) ** 2


def test_a_function_is_the_loss_that_it_computes(noisy):
    own = regr(loss=squared, epochs=3).train(noisy, progress=False)
    assert own.predict(noisy).response == pytest.approx(
        regr(epochs=3).train(noisy, progress=False).predict(noisy).response, rel=1e-6
    )
    with pytest.raises(JdlError, match="must give a number per row"):
        regr(loss=lambda output, target: squared(output, target).mean()).train(noisy, progress=False)
    of_graph = graph(squared, "regr").train(noisy, progress=False)
    assert np.isfinite(of_graph.predict(noisy).response).all()


def test_class_weights_by_name_move_predictions_to_the_heavy_class():
    task = jdl.tsk("iris")
    learner = jdl.lrn("classif.mlp", neurons=(8,), epochs=15, optimizer=jdl.opt("adam", lr=0.02))
    shares = []
    for weight in (0.02, 50.0):
        weighted = learner.set({"loss.class_weight": {"setosa": 1.0, "versicolor": weight, "virginica": 1.0}})
        fitted = weighted.train(task, progress=False)
        shares.append((fitted.predict(task).response == "versicolor").mean())
    assert shares[0] < 0.2 < shares[1]
    with pytest.raises(ConfigError, match=r"has the classes 'a', but the task has 'setosa'"):
        learner.set({"loss.class_weight": {"a": 1.0}}).train(task, progress=False)


def test_other_values_of_loss_groups_and_accumulation_compile_nothing():
    task = jdl.tsk("iris")
    group = {"params": select_grep("^head"), "lr": 0.1}
    learner = jdl.lrn(
        "classif.mlp", neurons=(7,), epochs=2, optimizer=jdl.opt("adam", groups=[group, "no_decay"], accumulate=2),
        **{"loss.label_smoothing": 0.1, "loss.class_weight": (1.0, 2.0, 3.0)},
    )  # fmt: skip
    first = learner.train(task, progress=False)
    assert first.timings["compile"] > 0
    other = learner.set(
        {"opt.groups.0.lr": 0.01, "opt.groups.1.weight_decay": 0.1, "opt.accumulate": 3, "loss.label_smoothing": 0.2,
         "loss.class_weight": "balanced"}
    )  # fmt: skip
    assert other.train(task, progress=False).timings["compile"] == 0


class Watch(jdl.HostCallback):
    """Makes the loop return to the host at every step."""

    id = "watch"

    def on_batch_end(self, ctx):
        assert np.isfinite(ctx.loss).all()


def test_accumulation_and_class_weights_are_the_same_with_the_host_at_every_step():
    task = jdl.tsk("iris")
    learner = jdl.lrn(
        "classif.mlp", neurons=(6,), epochs=3, batch_size=16, dropout=0.0,
        loss=jdl.loss("focal", class_weight=(1, 5, 2)), optimizer=jdl.opt("sgd", lr=0.1, accumulate=3),
    )  # fmt: skip
    rows = np.arange(0, 150, 2)
    alone = learner.train(task, rows=rows, progress=False)
    hosted = learner.set(callbacks=Watch()).train(task, rows=rows, progress=False)
    np.testing.assert_allclose(hosted.history["train.loss"], alone.history["train.loss"], rtol=1e-5)
    predictions = [f.outputs(task.table) for f in (alone, hosted)]
    np.testing.assert_allclose(*predictions, atol=1e-5)


def test_an_optax_transformation_trains_a_learner():
    task = jdl.tsk("iris")
    learner = jdl.lrn("classif.mlp", neurons=(8,), epochs=10, optimizer=optax.yogi(0.05))
    assert learner.train(task, progress=False).predict(task).score("classif.acc") > 0.7


def test_a_group_that_matches_nothing_names_the_parameters():
    learner = jdl.lrn("classif.mlp", optimizer=jdl.opt("sgd", lr=0.1, groups=[{"params": select_grep("x"), "lr": 1.0}]))
    with pytest.raises(ConfigError, match=r"group 0 .*matches no parameter.\n.*head\.kernel"):
        learner.train(jdl.tsk("iris"), progress=False)
