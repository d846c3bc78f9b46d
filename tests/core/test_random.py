import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jdl.core.errors import ConfigTypeError
from jdl.core.random import RandomKey, as_key

words = st.integers(0, 2**32 - 1) | st.text(max_size=5)


def numbers(key, *path):
    return key.generator(*path).random(4).tolist()


def test_equal_keys_and_paths_give_equal_numbers():
    assert numbers(as_key(3), "split", 1) == numbers(as_key(3), "split", 1)
    assert numbers(as_key(3).fold("split").fold(1)) == numbers(as_key(3), "split", 1)
    assert as_key(3).seed("a") == as_key(3).seed("a")


def test_streams_differ_by_key_by_name_and_by_number():
    root = as_key(0)
    streams = [root, as_key(1), root.fold("a"), root.fold("b"), root.fold(0), root.fold(1), root.fold("a", 0)]
    drawn = {tuple(numbers(key)) for key in streams}
    assert len(drawn) == len(streams)


@given(st.integers(0, 2**40), st.lists(words, min_size=1, max_size=3), st.lists(words, min_size=1, max_size=3))
def test_paths_are_keys_of_their_own(seed, left, right):
    same = as_key(seed).fold(*left) == as_key(seed).fold(*right)
    assert same == (numbers(as_key(seed), *left) == numbers(as_key(seed), *right))


def test_jax_keys_of_either_kind_are_taken():
    typed, raw = jax.random.key(7), jax.random.PRNGKey(7)
    assert as_key(typed) == as_key(raw) == as_key(jax.random.key(7))
    assert as_key(typed) != as_key(jax.random.key(8))
    assert as_key(typed) != as_key(7)
    first, second = jax.random.split(typed)
    assert numbers(as_key(first)) != numbers(as_key(second))


def test_numpy_integers_and_keys_themselves_are_taken():
    assert as_key(np.int64(7)) == as_key(7)
    key = as_key(7).fold("x")
    assert as_key(key) is key
    assert isinstance(key, RandomKey)


def test_large_seeds_differ_from_their_remainders():
    assert numbers(as_key(2**40 + 5)) != numbers(as_key(5))


@pytest.mark.parametrize("key", ["a", None, -1, 1.0, True, [0, 1], np.array([0, 1])])
def test_what_is_no_key_raises(key):
    with pytest.raises(ConfigTypeError, match=r"key: expected a non-negative integer or one JAX key, got [\s\S]*Hint"):
        as_key(key)


def test_several_jax_keys_are_not_one():
    with pytest.raises(ConfigTypeError, match="one JAX key"):
        as_key(jax.random.split(jax.random.key(0)))
    with pytest.raises(ConfigTypeError, match="one JAX key"):
        as_key(jax.numpy.arange(3.0))


def test_seeds_are_32_bit_words():
    seeds = [as_key(0).seed("s", i) for i in range(100)]
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert len(set(seeds)) == 100
    assert max(seeds) > 2**31
