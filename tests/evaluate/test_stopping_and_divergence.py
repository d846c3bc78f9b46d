"""Early stopping, best weights and divergence of the members of one population, in every strategy."""

import numpy as np
import pandas as pd
import pytest

import jdl

STRATEGIES = ["map", "vmap", "loop"]


@pytest.fixture(scope="module")
def noise():
    """Nothing to learn: validation soon gets worse."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 4)), columns=list("abcd"))
    return jdl.TaskRegr(frame.assign(y=rng.normal(size=80)), target="y")


def learner(**changes):
    given = {"neurons": (16,), "epochs": 40, "batch_size": 16, "validate": 0.3, "dropout": 0.0}
    return jdl.lrn("regr.mlp", **{**given, "optimizer": jdl.opt("adam", lr=0.03), **changes})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_members_stop_by_their_own_scores(noise, strategy):
    result = jdl.resample(noise, learner(patience=3), jdl.rsmp("cv", folds=4), key=0, strategy=strategy)
    for fitted in result.fitted:
        losses = fitted.history["valid.loss"].to_numpy()
        assert fitted.status == "stopped_early"
        assert fitted.best_epoch == int(losses.argmin()) + 1
        assert fitted.epochs == fitted.best_epoch + 3
    assert len({fitted.epochs for fitted in result.fitted}) > 1


def test_patience_counts_evaluations(noise):
    fitted = learner(patience=2, eval_freq=3).train(noise, key=0)
    losses = fitted.history["valid.loss"]
    evaluated = losses.notna().to_numpy().nonzero()[0] + 1
    assert evaluated.tolist() == list(range(3, fitted.epochs + 1, 3))
    assert fitted.epochs == fitted.best_epoch + 6


def test_last_epoch_is_always_evaluated(noise):
    fitted = learner(epochs=5, eval_freq=3).train(noise, key=0)
    assert fitted.history["valid.loss"].notna().tolist() == [False, False, True, False, True]


def test_without_patience_nothing_stops(noise):
    assert learner(patience=0).train(noise, key=0).epochs == 40


def test_small_improvements_do_not_count(noise):
    fitted = learner(patience=2, min_delta=1e6).train(noise, key=0)
    assert (fitted.best_epoch, fitted.epochs) == (1, 3)


def test_best_weights_are_those_of_a_run_that_ended_there(noise):
    stopped = learner(patience=3).train(noise, key=0)
    short = learner(epochs=stopped.best_epoch, restore_best=False).train(noise, key=0)
    last = learner(patience=3, restore_best=False).train(noise, key=0)
    ours, theirs = stopped.predict(noise).response, short.predict(noise).response
    assert np.array_equal(ours, theirs)
    assert not np.array_equal(ours, last.predict(noise).response)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_diverging_member_leaves_the_others_alone(strategy):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc"))
    frame["y"] = frame["a"] + rng.normal(size=60)
    frame.loc[0, "a"] = 3e38  # finite, until it is multiplied
    task = jdl.TaskRegr(frame, target="y")
    sets = {"train_sets": [np.arange(20), np.arange(20, 40)], "test_sets": [np.arange(40, 60)] * 2}
    plain = jdl.lrn("regr.mlp", neurons=(8,), epochs=5, batch_size=8)
    with pytest.warns(jdl.JdlWarning, match=r"iteration 0.*NaN or infinite.*epoch 1"):
        result = jdl.resample(task, plain, jdl.rsmp("custom", **sets), key=0, strategy=strategy)
    assert [outcome.status for outcome in result.outcomes] == ["diverged", "complete"]
    assert np.isfinite(result.predictions[1].response).all()
    assert result.score("regr.mse")["regr.mse"].isna().tolist() == [True, False]
    with pytest.warns(jdl.JdlWarning, match="iteration 0"):
        assert np.isnan(result.aggregate("regr.mse"))
    with pytest.raises(jdl.DivergedError, match="Hint"):
        plain.train(task, rows=np.arange(20))
