"""Parts of others' modules that are replaced, so that padding and populations are none of their business."""

import collections
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jdl
from jdl.core.errors import ConfigError
from jdl.networks import BatchNorm, Dropout
from jdl.networks.context import BatchContext, batch_context
from jdl.networks.foreign import adopted


class Net(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(3, momentum=0.8, epsilon=1e-3, rngs=rngs)
        self.again = self.norm
        self.parts = nnx.Dict({"drop": nnx.Dropout(0.5, broadcast_dims=(1,), rngs=rngs)})
        self.many = nnx.List([nnx.Dropout(0.5, rngs=rngs), nnx.BatchNorm(3, rngs=rngs)])

    def __call__(self, x):
        return self.norm(x)


def test_dropout_and_batch_norm_are_replaced_wherever_they_are():
    net: Any = adopted(Net(nnx.Rngs(0)), "net")
    assert isinstance(net.norm, BatchNorm) and net.again is net.norm and isinstance(net.many[1], BatchNorm)
    assert isinstance(net.parts.drop, Dropout) and net.parts.drop.shared == (1,) and isinstance(net.many[0], Dropout)
    assert net.parts.drop.layer != net.many[0].layer
    assert isinstance(adopted(nnx.BatchNorm(3, rngs=nnx.Rngs(0)), "net"), BatchNorm)


class Contained(nnx.Module):
    def __init__(self, make, rngs):
        self.parts = nnx.data(make(nnx.BatchNorm(3, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)))


Pair = collections.namedtuple("Pair", "norm drop")


@pytest.mark.parametrize(
    "make",
    [
        lambda norm, drop: (norm, drop),
        lambda norm, drop: {"a": [norm], "b": {"c": (drop, None)}},
        Pair,
        lambda norm, drop: nnx.List([nnx.data((norm, drop)), norm]),
    ],
    ids=["tuple", "dict", "namedtuple", "list"],
)
def test_parts_in_tuples_and_dicts_are_replaced(make):
    net: Any = adopted(Contained(make, nnx.Rngs(0)), "net")
    parts = [part for _, part in nnx.iter_graph(net)]
    assert {BatchNorm, Dropout} <= {type(part) for part in parts}
    assert not any(isinstance(part, nnx.BatchNorm | nnx.Dropout) for part in parts)
    assert len(jax.tree.leaves(nnx.state(net))) == 4


def test_a_part_that_cannot_be_replaced_is_refused():
    @dataclass(frozen=True)
    class Holder(nnx.Pytree):
        norm: nnx.BatchNorm

    class Frozen(nnx.Module):
        def __init__(self):
            self.holder = Holder(nnx.BatchNorm(3, rngs=nnx.Rngs(0)))

    with pytest.raises(ConfigError, match=r"net: holds an nnx.BatchNorm at 'holder\.norm'.*\nHint: an attribute"):
        adopted(Frozen(), "net")


def test_a_frozen_batch_norm_stays_frozen():
    class Frozen(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(3, use_running_average=True, rngs=rngs)
            self.other = nnx.BatchNorm(3, rngs=rngs)

    x = jnp.asarray(np.random.default_rng(0).normal(5.0, 2.0, (4, 3)), jnp.float32)
    for built in (True, False):
        net: Any = adopted(Frozen(nnx.Rngs(0)), "net", built=built)
        net.train()
        np.testing.assert_allclose(net.norm(x), x / (1 + 1e-5) ** 0.5, rtol=1e-6)
        assert not np.asarray(net.norm.mean[...]).any()
        net.other(x)
        assert np.asarray(net.other.mean[...]).all()
    # An object as a whole in evaluation is one that was used for predictions.
    used = Frozen(nnx.Rngs(0))
    used.eval()
    net = adopted(used, "net", built=False)
    net.train()
    assert abs(float(net.norm(x).mean())) < 1e-5


def test_axes_of_dropout_may_count_from_the_last():
    class Shared(nnx.Module):
        def __init__(self, rngs):
            self.drop = nnx.Dropout(0.5, broadcast_dims=(-1,), rngs=rngs)

    net: Any = adopted(Shared(nnx.Rngs(0)), "net")
    y = net.drop(jnp.ones((40, 5)), key=jax.random.key(0))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    assert 0 < np.count_nonzero(y) < y.size


def test_batch_norm_keeps_what_it_was_and_does_not_see_padding():
    x, rngs = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), nnx.Rngs(0)
    flax, ours = Net(rngs), adopted(Net(rngs), "net")
    expected = flax(jnp.asarray(x))
    spoilt = np.concatenate([x, np.full((2, 3), np.nan, np.float32)])
    with batch_context(BatchContext(weights=jnp.float32([1, 1, 1, 1, 0, 0]))):
        y: Any = ours(jnp.asarray(spoilt))  # pyright: ignore[reportCallIssue]
    np.testing.assert_allclose(y[:4], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.norm.mean[...], flax.norm.mean[...], rtol=1e-5)  # pyright: ignore


def test_other_batch_norms_and_random_state_are_refused():
    with pytest.raises(ConfigError, match=r"net: holds an nnx.BatchNorm with axis=1"):
        adopted(nnx.BatchNorm(3, axis=1, rngs=nnx.Rngs(0)), "net")
    with pytest.raises(ConfigError, match="keeps JAX random state"):
        adopted(nnx.MultiHeadAttention(2, 4, dropout_rate=0.5, rngs=nnx.Rngs(0)), "net")


def test_a_class_a_function_and_an_object_train_more_than_once():
    class Small(nnx.Module):
        def __init__(self, d_in, d_out, *, rngs):
            self.norm = nnx.BatchNorm(d_in, rngs=rngs)
            self.last = nnx.Linear(d_in, d_out, rngs=rngs)

        def __call__(self, x):
            return self.last(self.norm(x))

    task, made = jdl.tsk("iris"), Small(4, 3, rngs=nnx.Rngs(0))
    before = np.array(made.last.kernel[...])
    for target in (Small, lambda d_in, d_out, rngs: Small(d_in, d_out, rngs=rngs), made):
        learner = jdl.lrn("classif.module", module=target, epochs=1, batch_size=64)
        first, second = (learner.train(task, key=0).predict(task).response for _ in range(2))
        np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(made.last.kernel[...], before)
