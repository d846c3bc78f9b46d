"""Initial values drawn on the host."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from jdl.core.random import RandomKey, as_key
from jdl.networks import MLP, HostRngs
from jdl.networks.initial import Constant, HostKey, InitialValues, UniformFanIn

keys = st.integers(0, 2**32).map(as_key)


def mlp(rngs):
    return MLP(5, 2, neurons=(16, 4), norm="layer", dropout=0.1, rngs=rngs)


def built(build, key):
    _, params, rest = nnx.split(build(HostRngs(key)), nnx.Param, ...)
    return params, rest


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)), left, right)


class Scaled(nnx.Module):
    """Keeps something else than what its initialiser drew."""

    def __init__(self, rngs):
        self.kernel = nnx.Param(2 * UniformFanIn(4)(rngs.params(), (4, 3)))


class Tied(nnx.Module):
    """Draws two arrays and keeps their sum."""

    def __init__(self, rngs):
        self.kernel = nnx.Param(UniformFanIn(4)(rngs.params(), (4, 3)) + UniformFanIn(4)(rngs.params(), (4, 3)))
        self.head = nnx.Linear(4, 2, kernel_init=UniformFanIn(4), bias_init=Constant(), rngs=rngs)


class Foreign(nnx.Module):
    """A module of flax as it comes, whose initialisers want JAX keys."""

    def __init__(self, rngs):
        self.linear = nnx.Linear(4, 3, rngs=rngs)


@pytest.fixture(scope="module", params=[mlp, Scaled, Tied], ids=lambda build: build.__name__)
def build(request):
    return request.param


@given(key=keys)
def test_drawing_equals_building_the_network_with_that_key(build, key):
    assert_same(InitialValues(build).draw(key), built(build, key))


def test_a_foreign_module_draws_from_the_key_too():
    values = InitialValues(Foreign)
    one, again, other = (values.draw(as_key(k)) for k in (1, 1, 2))
    assert_same(one, again)
    kernels = [params["linear"]["kernel"][...] for params, _ in (one, other)]
    assert np.isfinite(kernels[0]).all()
    assert not np.array_equal(*kernels)


def test_the_mlp_is_not_built_again(monkeypatch):
    values = InitialValues(mlp)
    monkeypatch.setattr(values, "_build", None)
    values.draw(as_key(3))


def test_drawing_compiles_nothing():
    events = []

    def listen(event: str, duration_secs: float, **kwargs: str | int):
        events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        InitialValues(mlp).draw(as_key(4))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not [event for event in events if "backend_compile" in event]


def test_two_layers_of_one_shape_have_other_values():
    params, _ = InitialValues(lambda rngs: MLP(4, 4, neurons=(4, 4), rngs=rngs)).draw(as_key(0))
    kernels = [params["blocks"][i]["linear"]["kernel"][...] for i in (0, 1)] + [params["head"]["kernel"][...]]
    assert len({kernel.tobytes() for kernel in kernels}) == 3


def test_graphs_train_and_evaluate():
    values = InitialValues(mlp)
    params, rest = values.draw(as_key(0))
    x = jnp.ones((3, 5))
    evaluating = nnx.merge(values.graph_eval, params, rest, copy=True)
    assert evaluating(x).shape == (3, 2)
    training: Any = nnx.merge(values.graph_train, params, rest, copy=True)
    assert not training.blocks[0].dropout.deterministic
    # 5 x 16 + 16 and 16 x 4 + 4 weights, scale and bias of two norms, 4 x 2 + 2.
    assert values.n_parameters == 96 + 68 + 40 + 10


@pytest.mark.parametrize("kind", ["host", "jax"])
@pytest.mark.parametrize("fan_in", [1, 9, 400])
def test_uniform_values_fill_their_range(kind, fan_in):
    key = HostKey(RandomKey((1,)), ("params", 0)) if kind == "host" else jax.random.key(0)
    values = np.asarray(UniformFanIn(fan_in)(key, (200, 100)), np.float64)
    bound = fan_in**-0.5
    assert values.dtype == np.float64 and values.shape == (200, 100)
    assert np.abs(values).max() <= bound * (1 + 1e-6)
    assert np.abs(values).max() > 0.99 * bound
    # Five standard errors of the mean and of the mean square of 20,000 uniform numbers.
    assert abs(values.mean()) < 5 * bound / np.sqrt(3 * 20000)
    assert abs((values**2).mean() / bound**2 - 1 / 3) < 5 * np.sqrt(4 / 45 / 20000)


def test_values_are_float32_whatever_drew_them():
    key = HostKey(RandomKey((1,)), ("params", 0))
    assert UniformFanIn(4)(key, (2, 2)).dtype == np.float32
    assert Constant(1.0)(key, (2,)).tolist() == [1.0, 1.0]
    assert Constant(1.0)(key, (2,)).dtype == np.float32


def test_streams_are_counted_by_name():
    key = RandomKey((0,))
    rngs = HostRngs(key)
    numbers = [k.generator.random() for k in (rngs.params(), rngs.params(), rngs.dropout(), rngs())]
    streams = [("params", 0), ("params", 1), ("dropout", 0), ("default", 0)]
    assert numbers == [key.generator(*stream).random() for stream in streams]
    assert len(set(numbers)) == 4
    assert not hasattr(rngs, "_private")
