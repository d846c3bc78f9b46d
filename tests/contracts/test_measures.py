"""What every measure of the catalogue keeps to."""

import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError, TaskError, UnknownNameError
from jdl.data.prediction import PredictionClassif, PredictionRegr
from jdl.measures import MEASURES

every_measure = pytest.mark.parametrize("name", list(MEASURES))
N_ROWS = 40


def arrays(measure, seed=0, n_rows=N_ROWS):
    """Truth, output and weights that suit the measure; scores tie now and then."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.2, 2.0, n_rows)
    if measure.task_type == "regr":
        truth = rng.normal(size=n_rows)
        return truth, truth + rng.normal(size=n_rows), weights
    n_classes = 2 if measure.binary_only else 3
    truth = rng.integers(0, n_classes, n_rows)
    prob = rng.integers(1, 6, (n_rows, n_classes)) + 2.0 * (truth[:, None] == np.arange(n_classes))
    return truth, prob / prob.sum(axis=1, keepdims=True), weights


def prediction(measure, truth, output, weights=None):
    rows = np.arange(len(output))
    if measure.task_type == "regr":
        return PredictionRegr(rows, truth, output, weights)
    names = np.array(["a", "b", "c"])[: output.shape[1]]
    labels = None if truth is None else names[truth]
    return PredictionClassif(rows, labels, None, output, tuple(names.tolist()), weights=weights)


@every_measure
def test_id_is_the_name(name):
    measure = MEASURES.make(name)
    assert measure.id == name
    assert name.startswith(measure.task_type + ".")


@every_measure
def test_equal_measures_hash_alike_and_survive_pickling(name):
    assert MEASURES.make(name) == MEASURES.make(name)
    assert hash(MEASURES.make(name)) == hash(MEASURES.make(name))
    assert pickle.loads(pickle.dumps(MEASURES.make(name))) == MEASURES.make(name)
    assert MEASURES.make(name, id="other") != MEASURES.make(name)


@every_measure
def test_unknown_hyperparameter_is_named(name):
    with pytest.raises(UnknownNameError, match="'bta'"):
        MEASURES.make(name, bta=1)
    with pytest.raises(ConfigTypeError, match="by name"):
        MEASURES.make(name, 1)


@every_measure
def test_score_of_a_prediction_is_the_score_of_its_arrays(name):
    measure = MEASURES.make(name)
    truth, output, weights = arrays(measure)
    score = prediction(measure, truth, output, weights).score(name)
    assert isinstance(score, float)
    assert score == pytest.approx(float(measure.compute(truth, output, weights)), rel=1e-12)


@every_measure
def test_a_measure_that_says_it_is_shift_invariant_is(name):
    measure = MEASURES.make(name)
    if getattr(measure, "shift_invariant", False):
        truth, output, weights = arrays(measure)
        shifted = float(measure.compute(truth + 1000.0, output + 1000.0, weights))
        assert float(measure.compute(truth, output, weights)) == pytest.approx(shifted, rel=1e-9)


@every_measure
def test_no_weights_are_equal_weights(name):
    measure = MEASURES.make(name)
    truth, output, _ = arrays(measure)
    score = measure.compute(truth, output)
    assert float(score) == pytest.approx(float(measure.compute(truth, output, np.full(N_ROWS, 3.0))), rel=1e-12)


@every_measure
@pytest.mark.parametrize("n_rows", [N_ROWS, 700])
def test_jitted_score_is_the_host_score(name, n_rows):
    measure = MEASURES.make(name)
    for positive in (0, 1):
        data = arrays(measure, n_rows=n_rows)
        traced = jax.jit(lambda t, o, w, p=positive: measure.compute(t, o, w, positive=p))(*map(jnp.asarray, data))
        assert isinstance(traced, jax.Array)
        assert float(traced) == pytest.approx(float(measure.compute(*data, positive=positive)), abs=2e-5)


@every_measure
@pytest.mark.parametrize("n_rows", [N_ROWS, 700])
def test_vmapped_scores_are_the_host_scores(name, n_rows):
    measure = MEASURES.make(name)
    members = [arrays(measure, seed, n_rows) for seed in range(3)]
    stacked = [jnp.stack(part) for part in zip(*members, strict=True)]
    scores = jax.jit(jax.vmap(measure.compute))(*stacked)
    np.testing.assert_allclose(scores, [float(measure.compute(*member)) for member in members], atol=2e-5)


@every_measure
@pytest.mark.parametrize("garbage", [np.nan, np.inf, -7.0])
def test_padded_rows_are_invisible(name, garbage):
    measure = MEASURES.make(name)
    truth, output, weights = arrays(measure)
    codes = measure.task_type == "classif"
    padded = (
        np.append(truth, [99, -99] if codes else [garbage, garbage]),
        np.concatenate([output, np.full((2, *output.shape[1:]), garbage)]),
        np.append(weights, [0.0, 0.0]),
    )
    expected = float(measure.compute(truth, output, weights))
    assert float(measure.compute(*padded)) == pytest.approx(expected, rel=1e-12)
    traced = jax.jit(measure.compute)
    assert float(traced(*map(jnp.asarray, padded))) == pytest.approx(
        float(traced(*map(jnp.asarray, (truth, output, weights)))), abs=1e-6
    )


@every_measure
@pytest.mark.parametrize("xp", [np, jnp])
def test_no_row_or_only_padding_is_nan(name, xp):
    measure = MEASURES.make(name)
    truth, output, weights = map(xp.asarray, arrays(measure))
    assert math.isnan(measure.compute(truth, output, 0 * weights))
    assert math.isnan(measure.compute(truth[:0], output[:0], weights[:0]))


@every_measure
@pytest.mark.parametrize("xp", [np, jnp])
def test_nan_output_of_a_real_row_is_nan(name, xp):
    measure = MEASURES.make(name)
    truth, output, weights = arrays(measure)
    output[3] = np.nan
    assert math.isnan(measure.compute(xp.asarray(truth), xp.asarray(output), xp.asarray(weights)))


@every_measure
def test_order_of_rows_is_irrelevant(name):
    measure = MEASURES.make(name)
    data = arrays(measure)
    order = np.random.default_rng(1).permutation(N_ROWS)
    shuffled = [part[order] for part in data]
    assert float(measure.compute(*shuffled)) == pytest.approx(float(measure.compute(*data)), rel=1e-12)


@every_measure
def test_weight_two_is_a_row_twice(name):
    measure = MEASURES.make(name)
    truth, output, _ = arrays(measure)
    weights = np.where(np.arange(N_ROWS) < 10, 2.0, 1.0)
    twice = np.append(np.arange(N_ROWS), np.arange(10))
    assert float(measure.compute(truth, output, weights)) == pytest.approx(
        float(measure.compute(truth[twice], output[twice])), rel=1e-12
    )


@every_measure
def test_perfect_prediction_is_the_best_score(name):
    measure = MEASURES.make(name)
    truth, output, weights = arrays(measure)
    perfect = truth if measure.task_type == "regr" else np.eye(output.shape[1])[truth]
    best = measure.range[0] if measure.minimize else measure.range[1]
    assert float(measure.compute(truth, perfect, weights)) == pytest.approx(best, abs=1e-12)
    assert measure.range[0] <= float(measure.compute(truth, output, weights)) <= measure.range[1]
    assert float(measure.compute(truth, output, weights)) != pytest.approx(best)


@every_measure
def test_unknown_truth_is_refused(name):
    measure = MEASURES.make(name)
    _, output, _ = arrays(measure)
    with pytest.raises(TaskError, match="true values"):
        measure.score(prediction(measure, None, output))


@every_measure
def test_other_task_type_is_refused(name):
    measure = MEASURES.make(name)
    other = "classif" if measure.task_type == "regr" else "regr"
    with pytest.raises(ConfigError, match=f"{name}.*for {measure.task_type} tasks"):
        measure.check(other, 2)


@every_measure
def test_arrays_of_unequal_length_are_refused(name):
    measure = MEASURES.make(name)
    truth, output, _ = arrays(measure)
    with pytest.raises(ShapeError, match=name):
        measure.compute(truth[1:], output)
    with pytest.raises(ShapeError, match=name):
        measure.compute(truth, output[:, None])
