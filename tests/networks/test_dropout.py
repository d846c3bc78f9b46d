"""Dropout, and the hash that its noise comes from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from jdl.core.errors import ConfigError
from jdl.networks import Dropout
from jdl.networks.context import BatchContext, batch_context, current_batch
from jdl.networks.dropout import hash_uniform, mix
from jdl.networks.scan import Series, Stacked
from jdl.train.program import step_seed

N = 1 << 16
word = st.integers(0, 2**32 - 1)


def seed(value=12345):
    return jnp.uint32(value)


def drop(rate, *, layer=0, x=None, **hyper):
    x = jnp.ones((256, 256)) if x is None else x
    with batch_context(BatchContext(seed=seed(), hyper=hyper)):
        return np.asarray(Dropout(rate, layer=layer)(x))


def test_a_layer_that_is_called_twice_draws_twice():
    layer, x = Dropout(0.5), jnp.ones((64, 64))

    @jax.jit
    def both(value):
        with batch_context(BatchContext(seed=value)):
            return layer(x), layer(x), Dropout(0.5)(x)

    first, second, third = (np.asarray(y) != 0 for y in both(seed()))
    np.testing.assert_array_equal(first, drop(0.5, x=x) != 0)
    for a, b in ((first, second), (first, third), (second, third)):
        assert 0.45 < (a == b).mean() < 0.55, "independent masks agree in half of their places"


@pytest.mark.parametrize("kind", [Series, Stacked])
def test_so_does_a_series_of_copies(kind):
    copies, x = kind([Dropout(0.5), Dropout(0.5)]), jnp.ones((64, 64))
    with batch_context(BatchContext(seed=seed())):
        first, second, single = copies(x), copies(x), Dropout(0.5)(x)
    kept = [np.asarray(y) != 0 for y in (first, second, single)]
    assert 0.2 < kept[0].mean() < 0.3, "two masks leave a quarter"
    assert 0.03 < (kept[0] & kept[1]).mean() < 0.1, "four leave a sixteenth"
    assert 0.08 < (kept[0] & kept[2]).mean() < 0.17


def test_a_copy_in_which_a_layer_is_called_twice_draws_twice():
    class Twice(nnx.Module):
        def __init__(self):
            self.dropout = Dropout(0.5)

        def __call__(self, x):
            return self.dropout(self.dropout(x))

    with batch_context(BatchContext(seed=seed())):
        apart, scanned = (kind([Twice(), Twice()])(jnp.ones((64, 64))) for kind in (Series, Stacked))
    assert 0.03 < (np.asarray(scanned) != 0).mean() < 0.1
    assert 0.03 < (np.asarray(apart) != 0).mean() < 0.1


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_keeps_the_mean_and_drops_its_share(rate):
    y = drop(rate)
    kept = y != 0
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-6)
    # Five standard errors of a share among 65536.
    assert abs((~kept).mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / N)
    assert abs(y.mean() - 1) < 5 * np.sqrt(rate / (1 - rate) / N)


def test_rate_0_keeps_and_rate_1_drops_everything():
    x = jnp.linspace(-3, 3, 64).reshape(8, 8)
    np.testing.assert_array_equal(drop(0.0, x=x), x)
    np.testing.assert_array_equal(drop(1.0, x=x), 0.0)


def test_gradient_is_the_mask():
    def total(x):
        with batch_context(BatchContext(seed=seed())):
            return Dropout(0.5)(x).sum()

    x = jnp.linspace(-3, 3, 64)
    np.testing.assert_array_equal(jax.grad(total)(x), drop(0.5, x=jnp.ones(64)))


def test_evaluation_changes_nothing_and_needs_no_seed():
    layer = Dropout(0.5)
    layer.eval()
    x = jnp.arange(6.0)
    np.testing.assert_array_equal(layer(x), x)
    layer.train()
    with pytest.raises(ConfigError, match="needs randomness"):
        layer(x)


def test_rate_is_looked_up_by_name():
    np.testing.assert_array_equal(drop(0.9, dropout=jnp.float32(0.0)), 1.0)
    assert (drop(0.0, dropout=jnp.float32(0.5)) == 0).any()
    np.testing.assert_array_equal(drop(0.0, other=jnp.float32(0.5)), 1.0)


def test_layers_and_seeds_drop_other_values():
    """Masks of two layers, or of two steps, agree in half of the places, as independent ones do."""
    first = drop(0.5)
    masks = [drop(0.5, layer=layer) for layer in (1, 2, 17)]
    with batch_context(BatchContext(seed=seed(12346))):
        masks.append(np.asarray(Dropout(0.5)(jnp.ones((256, 256)))))
    for other in masks:
        assert abs((first == other).mean() - 0.5) < 5 * 0.5 / np.sqrt(N)


def test_a_key_may_be_given_without_jdl():
    layer, x = Dropout(0.5), jnp.ones(64)
    one, again, other = (layer(x, key=jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


# -- the hash


@pytest.mark.parametrize("value", [0, 1, 12345, 2**32 - 1])
@pytest.mark.parametrize("stream", [0, 1, 5])
def test_numbers_are_uniform(value, stream):
    numbers = np.asarray(hash_uniform(seed(value), stream, (N,)), np.float64)
    assert 0 <= numbers.min() and numbers.max() < 1
    # Chi-squared over 256 bins: mean 255, standard deviation 22.6.
    counts = np.bincount((numbers * 256).astype(int), minlength=256)
    assert 155 < ((counts - N / 256) ** 2 / (N / 256)).sum() < 385
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 5 / np.sqrt(N)


def test_rows_of_a_block_are_not_alike():
    numbers = np.asarray(hash_uniform(seed(), 0, (64, 1024)), np.float64)
    correlations = np.corrcoef(numbers) - np.eye(64)
    assert np.abs(correlations).max() < 6 / np.sqrt(1024)


@given(value=word)
def test_streams_and_seeds_differ(value):
    def numbers(s, stream):
        return np.asarray(hash_uniform(seed(s), stream, (64,)))

    base = numbers(value, 0)
    assert np.array_equal(base, numbers(value, 0))
    assert not np.array_equal(base, numbers(value, 1))
    assert not np.array_equal(base, numbers((value + 1) % 2**32, 0))


@given(value=word)
def test_a_number_does_not_depend_on_the_rows_after_it(value):
    """So that padding a batch changes no noise of its real rows."""
    short, long = (np.asarray(hash_uniform(seed(value), 3, (rows, 5))) for rows in (4, 9))
    np.testing.assert_array_equal(short, long[:4])


def test_mix_is_a_bijection_and_spreads_each_bit():
    words = jnp.arange(N, dtype=jnp.uint32) * jnp.uint32(0x9E3779B1)
    assert len(np.unique(np.asarray(mix(words)))) == N
    for bit in (0, 1, 15, 31):
        flipped = np.asarray(mix(words) ^ mix(words ^ jnp.uint32(1 << bit)))
        changed = np.unpackbits(flipped.view(np.uint8)).mean()
        assert abs(changed - 0.5) < 0.01


@given(value=word)
def test_steps_have_seeds_of_their_own(value):
    steps = jax.vmap(lambda step: step_seed(seed(value), step))(jnp.arange(4096))
    assert len(np.unique(np.asarray(steps))) > 4090


# -- the context


def test_context_is_seen_inside_and_forgotten_outside():
    assert current_batch() == BatchContext()
    outer, inner = BatchContext(hyper={"a": 1}), BatchContext(hyper={"a": 2})
    with batch_context(outer):
        with pytest.raises(ZeroDivisionError), batch_context(inner):
            assert current_batch() is inner
            raise ZeroDivisionError
        assert current_batch() is outer
    assert current_batch() == BatchContext()
