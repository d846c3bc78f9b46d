"""What every optimizer of the catalogue keeps to. A new one adds its hyperparameters to `OPTIMIZERS_UNDER_TEST`."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError
from jdl.train.optimizer import FIELDS, OPTIMIZERS, Optimizer, as_optimizer

OPTIMIZERS_UNDER_TEST: dict[str, list[dict]] = {
    "adam": [{}, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}],
    "adamw": [{}, {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.1}, {"weight_decay": 0.0}],
    "sgd": [
        {"lr": 0.05},
        {"lr": 0.05, "momentum": 0.9, "dampening": 0.3},
        {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ],
}
CASES = [(name, values) for name, each in OPTIMIZERS_UNDER_TEST.items() for values in each]
every_optimizer = pytest.mark.parametrize("optimizer", [OPTIMIZERS.make(n, **v) for n, v in CASES], ids=repr)
every_name = pytest.mark.parametrize("name", list(OPTIMIZERS))


def params():
    random = np.random.default_rng(0)
    return {"w": jnp.asarray(random.normal(size=(3, 2)), jnp.float32), "b": jnp.zeros(2)}


def grads(step):
    random = np.random.default_rng((1, step))
    return jax.tree.map(lambda p: jnp.asarray(random.normal(size=p.shape), jnp.float32), params())


def path(optimizer, hyper, n_steps=4, start=None):
    """Parameters after some steps, with the values of `hyper` handed to every step."""
    p = params() if start is None else start
    state = optimizer.structure.transformation(hyper).init(p)
    for step in range(n_steps):
        updates, state = optimizer.structure.transformation(hyper).update(grads(step), state, p)
        p = optax.apply_updates(p, updates)
    return p


def assert_close(left, right):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), left, right)


def test_every_optimizer_of_the_catalogue_is_tested():
    assert set(OPTIMIZERS_UNDER_TEST) == set(OPTIMIZERS) == set(FIELDS)


@every_optimizer
def test_is_a_hashable_value(optimizer):
    assert OPTIMIZERS.make(optimizer.name, **dict(optimizer.values)) == optimizer
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer
    assert hash(optimizer.structure) == hash(optimizer.set().structure)
    assert as_optimizer(optimizer, "test") is optimizer


@every_optimizer
def test_set_changes_what_is_named_and_no_more(optimizer):
    other = optimizer.set(lr=0.5)
    assert other.get("lr") == 0.5
    assert dict(other.values) | {"lr": optimizer.get("lr")} == dict(optimizer.values)


@every_optimizer
def test_structure_does_not_depend_on_the_size_of_its_values(optimizer):
    """Equal structures share a program: only what is 0 or not, or True or False, may make another one."""
    halved = {n: v / 2 for n, v in optimizer.values if isinstance(v, float)}
    assert optimizer.set(**halved).structure == optimizer.structure


@every_optimizer
def test_dynamic_values_are_float32_arrays_of_all_dynamic_fields(optimizer):
    dynamic = optimizer.dynamic()
    assert set(dynamic) == {name for name, field in optimizer.fields.items() if field.dynamic}
    assert all(value.dtype == np.float32 for value in dynamic.values())


@every_optimizer
def test_traced_values_give_the_steps_of_fixed_ones(optimizer):
    fixed = path(optimizer, dict(optimizer.values))
    traced = jax.jit(lambda hyper: path(optimizer, hyper))(optimizer.dynamic())
    assert_close(fixed, traced)


@every_optimizer
def test_optax_transformation_is_the_same(optimizer):
    transformation, p = optimizer.optax(), params()
    state = transformation.init(p)
    for step in range(4):
        updates, state = transformation.update(grads(step), state, p)
        p = optax.apply_updates(p, updates)
    assert_close(p, path(optimizer, optimizer.dynamic()))


@every_optimizer
def test_vmap_over_values_is_a_loop_over_them(optimizer):
    rates = jnp.array([0.001, 0.1])
    many = jax.vmap(lambda lr: path(optimizer, optimizer.dynamic() | {"lr": lr}))(rates)
    for i, lr in enumerate(rates):
        one = path(optimizer, optimizer.dynamic() | {"lr": lr})
        assert_close(one, jax.tree.map(lambda leaf, i=i: leaf[i], many))


@every_optimizer
def test_minimises_a_parabola(optimizer):
    optimizer = optimizer.set(lr=0.05, weight_decay=0.0)
    hyper = optimizer.dynamic()
    transformation = optimizer.structure.transformation(hyper)

    def step(carry, _):
        p, state = carry
        updates, state = transformation.update(jax.grad(lambda p: jnp.sum((p - 3.0) ** 2))(p), state, p)
        return (optax.apply_updates(p, updates), state), None

    start = jnp.array([-1.0, 0.5])
    (end, _), _ = jax.lax.scan(step, (start, transformation.init(start)), length=300)
    np.testing.assert_allclose(np.asarray(end), 3.0, atol=0.05)


@every_optimizer
def test_no_learning_rate_is_no_step(optimizer):
    jax.tree.map(np.testing.assert_array_equal, path(optimizer, optimizer.dynamic() | {"lr": jnp.float32(0)}), params())


@every_optimizer
def test_weight_decay_draws_weights_to_zero(optimizer):
    less, more = (optimizer.set(weight_decay=decay) for decay in (0.1, 0.8))
    start = jax.tree.map(lambda p: p + 5.0, params())
    ends = [path(o, o.dynamic(), start=start) for o in (less, more)]
    sizes = [sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(end)) for end in ends]
    assert sizes[1] < sizes[0]


@every_name
def test_unknown_hyperparameter_is_named_with_the_nearest(name):
    with pytest.raises(UnknownNameError, match=r"'weight_decai'.*'weight_decay'"):
        OPTIMIZERS.make(name, lr=0.1, weight_decai=1.0)
    with pytest.raises(UnknownNameError, match="'weight_decai'"):
        OPTIMIZERS.make(name, lr=0.1).set(weight_decai=1.0)


@every_name
@pytest.mark.parametrize("value", [-0.1, float("nan"), "fast", None])
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match="lr"):
        OPTIMIZERS.make(name, lr=value)
    with pytest.raises(ConfigError, match="lr"):
        OPTIMIZERS.make(name, lr=0.1).set(lr=value)


def test_sgd_needs_a_learning_rate():
    with pytest.raises(ConfigError, match=r"'sgd'.*lr"):
        OPTIMIZERS.make("sgd")


@pytest.mark.parametrize("values", [{}, {"momentum": 0.9, "dampening": 0.1}], ids=str)
def test_nesterov_needs_momentum_without_dampening(values):
    with pytest.raises(ConfigError, match="nesterov=True needs a momentum"):
        OPTIMIZERS.make("sgd", lr=0.1, nesterov=True, **values)


def test_unknown_optimizers_are_refused():
    with pytest.raises(UnknownNameError, match=r"'adamm'.*'adam'"):
        as_optimizer("adamm", "test")
    with pytest.raises(ConfigTypeError, match="'optimizer' must be"):
        as_optimizer(optax.adam(0.1), "test")  # pyright: ignore[reportArgumentType]
    assert isinstance(as_optimizer("adam", "test"), Optimizer)
