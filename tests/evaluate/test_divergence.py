"""Runs whose loss becomes NaN or infinite: they end, they are named, and the others stand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jdl
from jdl.core.errors import DivergedError, JdlWarning

N = 60
X = np.random.default_rng(0).normal(size=(N, 4))
LABELS = np.where(X[:, 0] + X[:, 1] > 0, "yes", "no")
# Rows that no test set holds, so that it is by its own training rows only that an iteration fails.
HUGE = 3
SPLITS = jdl.rsmp(
    "custom",
    train_sets=[range(10, 40), [HUGE, *range(10, 40)], range(20, 50), range(5, 35)],
    test_sets=[range(40, N), range(40, N), range(50, N), range(40, N)],
)
STRATEGIES = ("map", "vmap", "loop")


@pytest.fixture(scope="module")
def task() -> Any:
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame.loc[HUGE] = 3e38
    return jdl.TaskClassif(frame, LABELS)


def learner(**values) -> Any:
    quick = {"epochs": 4, "batch_size": 16, "neurons": (8,), "optimizer": jdl.opt("sgd", lr=1.0)}
    return jdl.lrn("classif.mlp", **{**quick, **values})


@pytest.fixture(scope="module", params=STRATEGIES)
def rr(request, task) -> Any:
    with pytest.warns(JdlWarning, match=r"learner 'classif.mlp', iteration 1: the loss is NaN or infinite from epoch"):
        return jdl.resample(task, learner(), SPLITS, strategy=request.param)


def test_the_run_is_marked_with_learner_iteration_and_epoch(rr):
    frame = rr.to_pandas()
    assert frame["status"].tolist() == ["complete", "diverged", "complete", "complete"]
    assert frame["message"].tolist()[0] == ""
    epoch = frame["epochs"][1]
    assert epoch < 4 and frame["epochs"].tolist() == [4, epoch, 4, 4]
    who = "learner 'classif.mlp', iteration 1"
    assert frame["message"][1].startswith(f"{who}: the loss is NaN or infinite from epoch {epoch} on.")
    assert "Hint: a smaller learning rate" in frame["message"][1]
    assert "failed: iteration 1" in repr(rr)


def test_the_other_iterations_stand(rr, task):
    assert [p is None for p in rr.predictions] == [False, True, False, False]
    scores = rr.score("classif.acc")["classif.acc"]
    assert np.isnan(scores).tolist() == [False, True, False, False]
    # The joined predictions are kept: they warn once.
    fresh = replace(rr)
    with pytest.warns(JdlWarning, match=r"prediction: without iteration 1 \(diverged\) of learner 'classif.mlp'"):
        assert len(fresh.prediction) == 20 + 10 + 20
    kept = [0, 2, 3]
    alone = jdl.rsmp("custom", train_sets=[range(10, 40)], test_sets=[range(40, N)])
    first = jdl.resample(task, learner(), alone, strategy="loop")
    np.testing.assert_array_equal(first.predictions[0].response, rr.predictions[0].response)  # pyright: ignore
    assert (scores[kept] > 0.5).all()


def test_outputs_that_are_not_finite_fail_the_iteration(task):
    """A class would be predicted for such rows, and be counted as right or wrong."""
    splits = jdl.rsmp("custom", train_sets=[range(10, 40)] * 2, test_sets=[[HUGE, 41, 42], range(40, N)])
    scaled = jdl.TaskClassif(task.to_pandas().assign(a=lambda f: f["a"] * 1e-3), task.target)
    message = (
        r"iteration 0: the outputs for 1 of 3 test rows are NaN or infinite, the first for row 3, although the loss"
    )
    with pytest.warns(JdlWarning, match=message):
        rr: Any = jdl.resample(scaled, jdl.po("scale") >> learner(optimizer=jdl.opt("sgd", lr=0.1)), splits)
    assert [outcome.status for outcome in rr.outcomes] == ["diverged", "complete"]
    assert rr.fitted[0].history["train.loss"].notna().all()
    assert np.isnan(rr.score("classif.acc")["classif.acc"]).tolist() == [True, False]


def test_weights_that_are_not_finite_are_not_called_a_loss():
    """One step from a finite loss to infinite weights."""
    task = jdl.TaskClassif(pd.DataFrame(100 * X, columns=list("abcd")), LABELS)
    once = learner(epochs=1, batch_size=64, neurons=(), optimizer=jdl.opt("sgd", lr=3e38))
    with pytest.raises(
        DivergedError, match=r"weights are NaN or infinite after epoch 1, although the loss was not"
    ) as e:
        once.train(task, rows=range(10, 40))
    assert e.value.result.history["train.loss"].notna().all()


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_aggregate_is_nan_and_names_the_iteration(rr, average):
    with pytest.warns(JdlWarning, match=r"'classif.acc' is NaN, because of iteration 1 \(diverged\) of learner"):
        assert np.isnan(rr.aggregate("classif.acc", average=average))
    with pytest.warns(JdlWarning) as caught:
        means = rr.aggregate(["classif.acc", "classif.ce"], average=average)
    assert np.isnan(list(means.values())).all()
    assert len(caught) == 2


def test_training_alone_raises(task):
    with pytest.raises(
        DivergedError, match=r"learner 'classif.mlp': the loss is NaN or infinite from epoch \d on\.\nHint"
    ):
        learner().train(task, rows=[HUGE, *range(10, 40)])


def test_the_error_of_training_alone_holds_the_history(task):
    with pytest.raises(DivergedError) as caught:
        learner().train(task, rows=[HUGE, *range(10, 40)])
    assert caught.value.result.status == "diverged"
    assert len(caught.value.result.history) == caught.value.result.epochs


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_when_all_iterations_diverge_the_first_is_raised(task, strategy):
    splits = jdl.rsmp("custom", train_sets=[[HUGE, *range(10, 40)]] * 2, test_sets=[range(40, N)] * 2)
    with pytest.raises(DivergedError, match=r"learner 'classif\.mlp', iteration 0: the loss is NaN or infinite"):
        jdl.resample(task, learner(), splits, strategy=strategy)


def test_divergence_in_a_later_epoch_is_dated():
    """Steps that are too long double the error of a quadratic loss, until it overflows."""
    price = X[:, 0]
    fitted = jdl.TaskRegr(pd.DataFrame(X, columns=list("abcd")), price)
    growing = jdl.lrn("regr.mlp", neurons=(), epochs=200, batch_size=N, optimizer=jdl.opt("sgd", lr=3.0))
    with pytest.raises(DivergedError, match=r"from epoch \d+ on") as caught:
        growing.train(fitted)
    epoch = int(str(caught.value).split("from epoch ")[1].split(" ")[0])
    assert 10 < epoch < 200
    short = growing.set(epochs=epoch - 1).train(fitted)
    assert np.isfinite(short.history["train.loss"]).all() and short.history["train.loss"].iloc[-1] > 1e6


def test_best_weights_of_a_run_that_diverged_later_are_not_used_silently():
    """It is marked, although it had been better once."""
    fitted = jdl.TaskRegr(pd.DataFrame(X, columns=list("abcd")), X[:, 0])
    growing = jdl.lrn("regr.mlp", neurons=(), epochs=200, batch_size=N, validate=0.25, optimizer=jdl.opt("sgd", lr=3.0))
    with pytest.raises(DivergedError):
        growing.train(fitted)
