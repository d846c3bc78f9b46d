"""Networks as learners: what they learn, by which rules they train, and what they say about it."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss, r2_score

import jdl
from jdl.measures.measure import NumberMeasure
from jdl.measures.sums import weighted_mean

N = 80
X = np.random.default_rng(0).normal(size=(N, 3))
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
NOISE = np.random.default_rng(1).normal(size=N)
SIDE = np.where(X[:, 0] - X[:, 1] + NOISE > 0, "right", "left")
PRICE = 5 + 2 * X[:, 0] - X[:, 2] + 0.3 * NOISE
QUICK: dict[str, Any] = {"epochs": 3, "batch_size": 32, "neurons": (8,)}


def task(**options) -> Any:
    return jdl.TaskClassif(FRAME, SIDE, **options)


def regr(price: np.ndarray = PRICE) -> Any:
    return jdl.TaskRegr(FRAME, price)


def mlp(name: str = "classif.mlp", **values) -> Any:
    return jdl.lrn(name, **{**QUICK, **values})


# -- what is learned


def test_without_hidden_layers_it_is_linear_regression():
    linear = mlp("regr.mlp", neurons=(), epochs=300, batch_size=N, optimizer=jdl.opt("sgd", lr=0.1)).train(regr())
    expected = LinearRegression().fit(X, PRICE).predict(X)
    np.testing.assert_allclose(linear.predict(regr()).response, expected, atol=1e-3)


def test_without_hidden_layers_it_is_logistic_regression():
    optimizer = jdl.opt("sgd", lr=1.0)
    linear = mlp(neurons=(), epochs=1000, batch_size=N, optimizer=optimizer, predict_type="prob").train(task())
    expected = LogisticRegression(C=np.inf, tol=1e-8).fit(X, SIDE).predict_proba(X)
    np.testing.assert_allclose(linear.predict(task()).prob, expected, atol=1e-3)


@pytest.mark.parametrize(("factor", "shift"), [(1e6, 1e9), (1e-6, 0.0), (3.0, -1e4)])
def test_predictions_are_in_the_units_of_the_target(factor, shift):
    """In float64 outside of the network: a shift of 1e9 must not cost digits."""
    learner = mlp("regr.mlp", epochs=30).set({"opt.lr": 0.02})
    plain, scaled = learner.train(regr()), learner.train(regr(shift + factor * PRICE))
    response = scaled.predict(regr(shift + factor * PRICE)).response
    score = r2_score(PRICE, plain.predict(regr()).response)
    assert score > 0.5
    assert abs(r2_score(shift + factor * PRICE, response) - score) < 1e-3
    np.testing.assert_allclose((response - shift) / factor, plain.predict(regr()).response, atol=1e-2)
    np.testing.assert_allclose(scaled.history["train.loss"], plain.history["train.loss"], rtol=1e-3)


def test_a_constant_target_is_predicted():
    assert np.allclose(mlp("regr.mlp").train(regr(np.full(N, 7.0)), rows=[0, 1]).predict(regr()).response, 7.0, atol=2)


def test_the_positive_class_changes_no_prediction():
    first = mlp(predict_type="prob").train(task(positive="left")).predict(task(positive="left"))
    second = mlp(predict_type="prob").train(task(positive="right")).predict(task(positive="right"))
    np.testing.assert_array_equal(first.prob, second.prob)
    assert (first.positive, second.positive) == ("left", "right")


@pytest.mark.parametrize(
    ("frame", "stages"),
    [
        (FRAME[["a"]], []),
        (FRAME.assign(same=1.0), ["scale"]),
        (FRAME.assign(empty=np.nan), ["imputemedian", "scale"]),
        (FRAME.assign(empty=pd.Series([None] * N, dtype=object)), ["imputemode", "encode"]),
        (FRAME.assign(flag=FRAME["a"] > 0, n=np.arange(N), city=["Rome", None] * (N // 2)), ["encode", "scale"]),
    ],
    ids=["one feature", "constant", "all missing", "all missing objects", "all types"],
)
@pytest.mark.filterwarnings("ignore:.*has no observed value")
def test_odd_columns_do_no_harm(frame, stages):
    learner = mlp(predict_type="prob")
    for name in reversed(stages):
        learner = jdl.po(name) >> learner
    data = jdl.TaskClassif(frame, SIDE)
    model = learner.train(data)
    assert np.isfinite(model.history["train.loss"]).all()
    assert np.isfinite(model.predict(data).prob).all()


def test_one_row_is_enough_to_train_on():
    assert np.isfinite(mlp(predict_type="prob").train(task(), rows=[3]).predict(task()).prob).all()
    assert np.isfinite(mlp("regr.mlp").train(regr(), rows=[3]).predict(regr()).response).all()


def test_classes_that_the_training_rows_lack_have_a_probability_too():
    kind = np.array(["x", "y", "z"])[np.arange(N) % 3]
    data = jdl.TaskClassif(FRAME, kind)
    prediction = mlp(predict_type="prob").train(data, rows=kind != "y").predict(data)
    assert prediction.prob.shape == (N, 3)
    np.testing.assert_allclose(prediction.prob.sum(axis=1), 1, atol=1e-6)


def test_numbers_that_overflow_in_the_network_warn_and_name_the_row():
    model = (jdl.po("scale") >> mlp("regr.mlp")).train(jdl.TaskRegr(FRAME * 1e-3, PRICE))
    new = FRAME.copy()
    new.loc[5] = 3e38
    with pytest.warns(
        jdl.JdlWarning, match=r"scale.regr.mlp': the outputs of 1 of 80 rows are NaN or infinite, .* row 5\.\nHint"
    ):
        response = model.predict(new).response
    assert np.isnan(response).tolist() == [i == 5 for i in range(N)]


# -- how it trains


def test_epochs_of_its_own_are_all_trained_on_all_rows_and_the_last_weights_kept():
    model = mlp(epochs=5).train(task())
    assert (model.epochs, model.status, model.best_epoch) == (5, "complete", None)
    assert len(model.history) == 5


def test_no_epoch_at_all_leaves_the_initial_weights():
    model = mlp(epochs=0, predict_type="prob").train(task())
    assert model.epochs == 0 and len(model.history) == 0
    assert model.predict(task()).prob.std() > 0


@pytest.mark.parametrize(
    ("values", "n_rows", "validate", "patience", "restore"),
    [
        ({}, 100, None, 0, False),
        ({}, 5000, 0.2, 16, True),
        ({"validate": 0.3}, 100, 0.3, 16, True),
        ({"patience": 3}, 5000, 0.2, 3, True),
        ({"validate": 0.3, "patience": 3, "restore_best": False}, 5000, 0.3, 3, False),
        ({"epochs": 10}, 5000, None, 0, False),
        ({"epochs": 10, "validate": 0.2}, 5000, 0.2, 0, True),
        ({"epochs": 10, "validate": 0.2, "restore_best": False}, 5000, 0.2, 0, False),
        ({"epochs": 10, "validate": "test"}, 5000, "test", 0, False),
        ({"epochs": 10, "validate": "test", "restore_best": True}, 5000, "test", 0, True),
    ],
)
def test_only_without_epochs_do_validation_patience_and_best_weights_have_defaults(
    values, n_rows, validate, patience, restore
):
    schedule = jdl.lrn("classif.mlp", **values).schedule(n_rows)  # pyright: ignore
    assert (schedule.validate, schedule.patience, schedule.restore_best) == (validate, patience, restore)
    assert schedule.epochs == values.get("epochs", schedule.epochs) > 0


def test_the_default_batch_grows_with_the_rows():
    sizes = [jdl.lrn("classif.mlp").schedule(n).batch_size for n in (10, 1000, 5000, 50_000, 10**6)]  # pyright: ignore
    assert sizes == sorted(sizes) and sizes[0] >= 16 and sizes[-1] > sizes[0]
    assert jdl.lrn("classif.mlp", batch_size=7).schedule(10**6).batch_size == 7  # pyright: ignore


def test_n_layers_repeats_a_width():
    assert mlp(neurons=(8,), n_layers=3).network() == mlp(neurons=(8, 8, 8)).network()


def test_hyperparameters_of_the_optimizer_are_the_learners():
    learner = mlp(optimizer=jdl.opt("adamw", lr=0.01))
    assert learner.get("opt.lr") == 0.01
    other = learner.set({"opt.lr": 0.02, "opt.weight_decay": 0.3})
    assert other.optimizer == jdl.opt("adamw", lr=0.02, weight_decay=0.3)
    assert learner.optimizer == jdl.opt("adamw", lr=0.01)
    sgd = jdl.lrn("classif.mlp", **{"optimizer": "sgd", "opt.lr": 0.5})
    assert sgd.optimizer == jdl.opt("sgd", lr=0.5)  # pyright: ignore
    assert "opt.betas" not in set(sgd.params()["name"])


def test_changing_what_is_dynamic_compiles_nothing(compilations):
    loss = jdl.loss("cross_entropy", label_smoothing=0.1, class_weight=(1.0, 2.0))
    optimizer = jdl.opt("adamw", accumulate=2)
    learner = mlp(optimizer=optimizer, loss=loss, dropout=0.2, validate=0.25, patience=2, min_delta=0.01)
    dynamic = learner.params().query("dynamic")["name"].tolist()
    assert set(dynamic) >= {"epochs", "dropout", "patience", "min_delta", "opt.lr", "opt.weight_decay"}
    others = {"epochs": 5, "dropout": 0.3, "patience": 4, "min_delta": 0.0, "opt.lr": 0.1, "opt.betas": (0.8, 0.9)}
    others |= {"opt.eps": 1e-6, "opt.weight_decay": 0.5, "opt.accumulate": 3}
    others |= {"loss.label_smoothing": 0.2, "loss.class_weight": (2.0, 1.0)}
    assert set(others) == set(dynamic)
    learner.train(task())
    before = len(compilations)
    for name, value in others.items():
        learner.set({name: value}).train(task(), key=3)
    assert len(compilations) == before


def test_activations_are_names_or_functions_with_arguments():
    named = mlp(activation="leaky_relu", activation_args={"negative_slope": 0.3}, predict_type="prob").train(task())
    own = mlp(activation=slope_of_three_tenths, predict_type="prob").train(task())
    np.testing.assert_allclose(own.predict(task()).prob, named.predict(task()).prob, rtol=1e-5)
    plain = mlp(activation="leaky_relu", predict_type="prob").train(task())
    assert (plain.predict(task()).prob != named.predict(task()).prob).any()


def slope_of_three_tenths(x: jax.Array) -> jax.Array:
    return jnp.where(x >= 0, x, 0.3 * x)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_norms_train_and_predict_each_row_by_itself(norm):
    model = mlp(norm=norm, predict_type="prob").train(task())
    everything = model.predict(task()).prob
    np.testing.assert_allclose(model.predict(task(), rows=[5]).prob, everything[[5]], rtol=1e-5)


def test_the_trained_network_is_a_plain_module():
    model = mlp(predict_type="prob", norm="batch", dropout=0.5).train(task())
    assert isinstance(model.network, nnx.Module)
    logits = model.network(jnp.asarray(X, jnp.float32))
    np.testing.assert_allclose(jax.nn.sigmoid(logits[:, 0]), model.predict(task()).prob[:, 1], rtol=1e-4)


# -- history


def test_history_columns_are_in_the_documented_order():
    learner = mlp(validate=0.25, measures_train=["classif.acc", "classif.logloss"], measures_valid="classif.mcc")
    history = learner.set({"opt.lr": 0.05}).train(task()).history
    assert list(history.columns) == [
        *("epoch", "train.loss", "valid.loss"),
        *("train.classif.acc", "train.classif.logloss", "valid.classif.mcc", "lr", "seconds"),
    ]
    assert history["epoch"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(history["lr"], 0.05)
    assert (history["seconds"] > 0).all()
    np.testing.assert_allclose(history["train.classif.logloss"], history["train.loss"], rtol=1e-4)


def test_history_without_validation_has_no_column_for_it():
    assert list(mlp().train(task()).history.columns) == ["epoch", "train.loss", "lr", "seconds"]


def test_between_evaluations_scores_are_nan():
    learner = mlp(epochs=5, eval_freq=2, validate=0.25, measures_train="classif.acc", measures_valid="classif.acc")
    history = learner.train(task()).history
    for column in ("valid.loss", "train.classif.acc", "valid.classif.acc"):
        assert history[column].notna().tolist() == [False, True, False, True, True]
    assert history["train.loss"].notna().all()


def test_train_loss_of_frozen_weights_is_the_loss_of_the_initial_ones():
    model = mlp(epochs=1, dropout=0.0, optimizer=jdl.opt("sgd", lr=0.0), predict_type="prob").train(task())
    expected = log_loss(SIDE, model.predict(task()).prob)
    assert model.history["train.loss"].iloc[0] == pytest.approx(expected, rel=1e-5)


def test_timings_keep_compile_time_apart():
    learner = mlp(neurons=(9,))
    first, second = learner.train(task()), learner.train(task(), key=1)
    assert set(first.timings) == {"compile", "run"}
    assert first.timings["compile"] > 0 and second.timings["compile"] == 0
    assert 0 < second.timings["run"] < first.timings["compile"]
    assert second.history["seconds"].sum() <= second.timings["run"] * 1.001


@dataclass(frozen=True, kw_only=True)
class PercentageError(NumberMeasure):
    minimize: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, np.inf)
    id: str = "regr.mape"

    def formula(self, xp, truth, response, weights):
        return weighted_mean(xp, xp.abs(truth - response) / xp.abs(truth), weights)


def test_measures_that_are_not_shift_invariant_see_the_units_of_the_target():
    far = regr(PRICE + 100).with_validation(np.arange(N) % 3 == 0)
    measures = [PercentageError(), jdl.msr("regr.mae")]
    model = mlp("regr.mlp", validate="predefined", measures_valid=measures, restore_best=False).train(far)
    scores = model.predict(far.validation).score(measures)
    for name, score in scores.items():
        assert model.history[f"valid.{name}"].iloc[-1] == pytest.approx(score, rel=1e-4)
    assert scores["regr.mape"] < 0.1


def test_test_rows_alone_stop_nothing():
    chosen = jdl.lrn("classif.mlp", validate="test")
    assert chosen.schedule(1000).patience == 0 and not chosen.schedule(1000).restore_best
    assert chosen.set(patience=3).schedule(1000).patience == 3
    assert jdl.lrn("classif.mlp").schedule(1000).patience == 16


# -- validation


@pytest.fixture(scope="module")
def with_validation() -> Any:
    return task().with_validation(np.arange(N) % 3 == 0)


@pytest.mark.parametrize("restore_best", [True, False])
def test_weights_of_the_best_or_the_last_epoch_predict(with_validation, restore_best):
    learner = mlp(epochs=30, validate="predefined", restore_best=restore_best, predict_type="prob", neurons=(32,))
    model = learner.set({"opt.lr": 0.05}).train(with_validation)
    losses = model.history["valid.loss"]
    assert model.best_epoch == losses.idxmin() + 1 < 30
    expected = losses.min() if restore_best else losses.iloc[-1]
    valid = with_validation.validation
    assert log_loss(valid.truth(), model.predict(valid).prob) == pytest.approx(expected, rel=1e-4)


def test_patience_stops_after_so_many_evaluations_without_improvement(with_validation):
    learner = mlp(epochs=200, validate="predefined", patience=4, neurons=(32,)).set({"opt.lr": 0.05})
    model = learner.train(with_validation)
    assert model.status == "stopped_early" and model.epochs == model.best_epoch + 4 == len(model.history)
    assert model.history["valid.loss"].idxmin() + 1 == model.best_epoch
    patient = learner.set(patience=0, epochs=30).train(with_validation)
    assert patient.status == "complete" and patient.epochs == 30
    np.testing.assert_allclose(
        patient.history["valid.loss"][: model.epochs], model.history["valid.loss"][:30], rtol=1e-4
    )


def test_evaluations_are_what_patience_counts(with_validation):
    learner = mlp(epochs=200, validate="predefined", patience=2, eval_freq=3, neurons=(32,)).set({"opt.lr": 0.05})
    model = learner.train(with_validation)
    assert model.status == "stopped_early" and model.best_epoch % 3 == 0
    assert model.epochs == model.best_epoch + 2 * 3


def test_an_improvement_below_min_delta_is_none(with_validation):
    model = mlp(epochs=50, validate="predefined", patience=3, min_delta=1e3).train(with_validation)
    assert (model.best_epoch, model.epochs) == (1, 4)


def test_the_first_validation_measure_decides_in_its_own_direction(with_validation):
    learner = mlp(epochs=20, validate="predefined", measures_valid=["classif.acc", "classif.logloss"], neurons=(32,))
    model = learner.set({"opt.lr": 0.05}).train(with_validation)
    history = model.history
    assert model.best_epoch == history["valid.classif.acc"].idxmax() + 1
    assert history["valid.loss"].idxmin() != history["valid.classif.acc"].idxmax()
    response = model.predict(with_validation.validation).score("classif.acc")
    assert response == pytest.approx(history["valid.classif.acc"].max())


def test_a_ratio_of_the_rows_is_held_back():
    model = mlp(epochs=10, validate=0.5, dropout=0.0, optimizer=jdl.opt("sgd", lr=0.0), predict_type="prob").train(
        task()
    )
    prob = model.predict(task()).prob
    losses = -np.log(prob[np.arange(N), (SIDE == "right").astype(int)])
    history = model.history
    # With weights that stay as they are, the two losses are means over two halves of all rows.
    np.testing.assert_allclose(history["train.loss"], history["train.loss"][0], rtol=1e-5)
    assert history["train.loss"].iloc[0] + history["valid.loss"].iloc[0] == pytest.approx(2 * losses.mean(), rel=1e-4)
    assert history["train.loss"].iloc[0] != pytest.approx(history["valid.loss"].iloc[0], rel=1e-3)


def test_rows_outside_of_the_training_rows_validate_nothing(with_validation):
    """The validation task's rows are not among the task's own."""
    assert with_validation.n_rows + with_validation.validation.n_rows == N
    first = mlp(validate="predefined", predict_type="prob").train(with_validation)
    second = mlp(predict_type="prob").train(with_validation)
    np.testing.assert_allclose(first.history["train.loss"], second.history["train.loss"], rtol=1e-5)
