"""What every loss of the catalogue keeps to. A new one of another task type adds its targets to `case`."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError
from jdl.train.loss import LOSSES, as_loss, mean_loss, padded_mean, probabilities, weighted_mean

CASES = [(name, k) for name in LOSSES for k in ((1, 3) if "classif" in LOSSES.make(name).task_types else (1,))]
every_loss = pytest.mark.parametrize(("name", "n_outputs"), CASES)
GARBAGE = (np.nan, np.inf, -np.inf, 1e38)


def case(loss, n_outputs, n_rows=7, seed=0):
    """Outputs and targets that suit the loss."""
    random = np.random.default_rng(seed)
    output = jnp.asarray(random.normal(0, 2, (n_rows, n_outputs)), jnp.float32)
    if "regr" in loss.task_types:
        return output, jnp.asarray(random.normal(size=n_rows), jnp.float32)
    return output, jnp.asarray(random.integers(0, max(n_outputs, 2), n_rows), jnp.int32)


@every_loss
def test_is_a_hashable_value(name, n_outputs):
    del n_outputs
    loss = LOSSES.make(name)
    assert loss.id == name
    assert loss == LOSSES.make(name)
    assert hash(loss) == hash(LOSSES.make(name))
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert as_loss(name, loss.task_types[0], "test") == loss


@every_loss
def test_a_number_per_row_that_depends_on_the_row_only(name, n_outputs):
    loss = LOSSES.make(name)
    output, target = case(loss, n_outputs)
    values = loss.per_row(output, target)
    assert values.shape == target.shape
    assert values.dtype == jnp.float32
    assert (values >= 0).all()
    order = np.random.default_rng(1).permutation(len(target))
    np.testing.assert_allclose(loss.per_row(output[order], target[order]), values[order], rtol=1e-6)


@every_loss
def test_gradient_is_the_finite_difference(name, n_outputs):
    loss = LOSSES.make(name)
    output, target = case(loss, n_outputs)
    weights = jnp.linspace(0.5, 2.0, len(target))
    slope = jax.grad(lambda o: mean_loss(loss, o, target, weights))(output)
    for row in range(3):
        for column in range(n_outputs):
            step = jnp.zeros_like(output).at[row, column].set(0.01)
            up, down = (float(mean_loss(loss, output + s * step, target, weights)) for s in (1, -1))
            assert float(slope[row, column]) == pytest.approx((up - down) / 0.02, abs=2e-4)


@every_loss
@pytest.mark.parametrize("size", [0.0, 1e3, 1e4])
def test_large_outputs_stay_finite_with_their_gradient(name, n_outputs, size):
    loss = LOSSES.make(name)
    output, target = case(loss, n_outputs)
    value, slope = jax.value_and_grad(lambda o: loss.per_row(o, target).mean())(output * size)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


@every_loss
@pytest.mark.parametrize("garbage", GARBAGE)
def test_rows_without_weight_may_hold_anything(name, n_outputs, garbage):
    """Neither the mean nor its gradient knows them: 0 * nan would be nan."""
    loss = LOSSES.make(name)
    output, target = case(loss, n_outputs)
    more_output = jnp.concatenate([output, jnp.full((2, n_outputs), garbage)])
    of_garbage = jnp.array([garbage, garbage]) if target.dtype == jnp.float32 else jnp.array([-1, 99], jnp.int32)
    more_target = jnp.concatenate([target, of_garbage])
    weights = jnp.linspace(0.5, 2.0, len(target))
    more_weights = jnp.concatenate([weights, jnp.zeros(2)])
    value, slope = jax.value_and_grad(lambda o: mean_loss(loss, o, target, weights))(output)
    other, other_slope = jax.value_and_grad(lambda o: mean_loss(loss, o, more_target, more_weights))(more_output)
    assert float(other) == pytest.approx(float(value), rel=1e-6)
    np.testing.assert_allclose(other_slope[:-2], slope, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(other_slope[-2:], 0.0)


@every_loss
def test_no_row_with_weight_is_0_with_no_gradient(name, n_outputs):
    loss = LOSSES.make(name)
    output, target = case(loss, n_outputs)
    garbage = jnp.full_like(output, jnp.nan)
    value, slope = jax.value_and_grad(lambda o: mean_loss(loss, o, target, jnp.zeros(len(target))))(garbage)
    assert float(value) == 0
    np.testing.assert_array_equal(slope, 0.0)


@every_loss
def test_weights_count_rows(name, n_outputs):
    loss = LOSSES.make(name)
    output, target = case(loss, n_outputs)
    twice = jnp.concatenate([jnp.arange(7), jnp.arange(2)])
    weights = jnp.where(jnp.arange(7) < 2, 2.0, 1.0)
    assert float(mean_loss(loss, output, target, weights)) == pytest.approx(
        float(loss.per_row(output[twice], target[twice]).mean()), rel=1e-6
    )


@every_loss
def test_other_task_type_is_refused(name, n_outputs):
    del n_outputs
    loss = LOSSES.make(name)
    other = "regr" if "classif" in loss.task_types else "classif"
    with pytest.raises(ConfigError, match=rf"'{name}' is for .*\n.*take '"):
        as_loss(name, other, "learner")


def test_number_of_outputs():
    cross_entropy, mse = LOSSES.make("cross_entropy"), LOSSES.make("mse")
    assert [cross_entropy.n_outputs(k) for k in (2, 3, 10)] == [1, 3, 10]
    assert mse.n_outputs(0) == 1


def test_one_logit_is_the_difference_of_two():
    loss = LOSSES.make("cross_entropy")
    output, target = case(loss, 2)
    np.testing.assert_allclose(
        loss.per_row(output[:, 1:] - output[:, :1], target), loss.per_row(output, target), rtol=1e-5
    )


def test_unknown_losses_are_refused():
    with pytest.raises(UnknownNameError, match=r"'crossentropy'.*'cross_entropy'"):
        as_loss("crossentropy", "classif", "test")
    with pytest.raises(ConfigTypeError, match="must be a loss or its name"):
        as_loss(3, "classif", "test")  # pyright: ignore[reportArgumentType]


# -- means

finite = st.floats(-100, 100, width=32)


@settings(max_examples=20)  # each length is compiled by itself
@given(values=st.lists(finite, min_size=1, max_size=20), n_padded=st.integers(0, 40))
def test_padding_changes_no_bit_of_a_padded_mean(values, n_padded):
    weights = np.ones(len(values), np.float32)
    more = np.array([*values, *[np.nan] * n_padded], np.float32)
    more_weights = np.concatenate([weights, np.zeros(n_padded, np.float32)])
    mean = float(padded_mean(jnp.asarray(values, jnp.float32), jnp.asarray(weights)))
    assert mean == float(padded_mean(jnp.asarray(more), jnp.asarray(more_weights)))
    assert mean == pytest.approx(np.mean(np.float64(np.float32(values))), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("mean", [weighted_mean, padded_mean])
def test_means_are_numpys(mean):
    random = np.random.default_rng(0)
    values, weights = random.normal(size=33), random.uniform(0, 2, 33)
    assert float(mean(jnp.float32(values), jnp.float32(weights))) == pytest.approx(
        np.average(values, weights=weights), rel=1e-5
    )
    assert float(mean(jnp.array([np.nan, np.inf]), jnp.zeros(2))) == 0
    slope = jax.grad(lambda v: mean(v, jnp.array([1.0, 0.0, 3.0])))(jnp.array([1.0, np.nan, np.inf]))
    np.testing.assert_allclose(slope, [0.25, 0, 0.75])


def test_mean_of_no_row_is_0():
    assert float(padded_mean(jnp.zeros(0), jnp.zeros(0))) == 0


# -- probabilities


@pytest.mark.parametrize("n_outputs", [1, 2, 4])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_probabilities_are_those_of_the_loss(n_outputs, size):
    loss = LOSSES.make("cross_entropy")
    output, target = case(loss, n_outputs)
    host = probabilities(np.asarray(output) * size)
    assert host.dtype == np.float64 and host.shape == (7, max(n_outputs, 2))
    np.testing.assert_allclose(host.sum(axis=1), 1, atol=1e-12)
    assert (host >= 0).all() and (host <= 1).all()
    np.testing.assert_allclose(jax.jit(probabilities)(output * size), host, atol=2e-6)
    if size == 1:
        np.testing.assert_allclose(
            -np.log(host[np.arange(7), target]), loss.per_row(output, target), rtol=1e-5, atol=1e-6
        )
