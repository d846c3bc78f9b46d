"""Noise of the networks for tables in training loops that are not jdl's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jdl
from jdl.core.errors import ConfigError
from jdl.core.random import RandomKey
from jdl.networks import MLP, FTTransformer, HostRngs, RealMLP, TabM, TabResNet, noise

NUM, CAT = jnp.linspace(-1, 1, 18).reshape(6, 3), jnp.zeros((6, 1), int)
MODELS = {
    "mlp": (lambda rngs, p=0.5: MLP(3, 1, neurons=(8,), dropout=p, rngs=rngs), (NUM,)),
    "tab_resnet": (lambda rngs, p=0.3: TabResNet(3, 1, d_block=8, dropout1=p, rngs=rngs), (NUM,)),
    "tabm": (
        lambda rngs, p=0.1: TabM(
            n_num_features=3, cat_cardinalities=[2], d_out=1, k=4, dropout=p, d_block=8, rngs=rngs
        ),
        (NUM, CAT),
    ),
    "ft_transformer": (
        lambda rngs, p=0.2: FTTransformer(
            n_cont_features=3,
            cat_cardinalities=[2],
            d_out=1,
            n_blocks=1,
            d_block=16,
            attention_dropout=p,
            ffn_dropout=p,
            rngs=rngs,
        ),
        (NUM, CAT),
    ),
    "realmlp": (
        lambda rngs, p=0.15: RealMLP(n_num_features=3, cat_cardinalities=[2], d_out=1, p_drop=p, rngs=rngs),
        (NUM, CAT),
    ),
}
every_model = pytest.mark.parametrize(("make", "rows"), MODELS.values(), ids=MODELS)


@every_model
def test_each_call_draws_from_the_streams_that_the_network_was_built_with(make, rows):
    model, same = make(nnx.Rngs(0)), make(nnx.Rngs(0))
    first, second = model(*rows), model(*rows)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(first, same(*rows))
    model.eval()
    np.testing.assert_array_equal(model(*rows), model(*rows))


@every_model
def test_a_key_gives_the_noise(make, rows):
    model = make(HostRngs(RandomKey((0,))))
    with noise(1):
        first, second = model(*rows), model(*rows)
    with noise(jax.random.key(1)):
        again = model(*rows)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(first, again)
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def output(key):
        with noise(key):
            return nnx.merge(graph, params, rest, copy=True)(*rows)

    np.testing.assert_allclose(output(jax.random.key(1)), first, rtol=1e-5, atol=1e-6)


@every_model
def test_without_noise_there_is_no_random_state(make, rows):
    model = make(nnx.Rngs(0), 0.0)
    assert not jax.tree.leaves(nnx.state(model, nnx.RngState))
    model(*rows)


def test_without_streams_the_error_says_what_to_do():
    make, rows = MODELS["tabm"]
    with pytest.raises(ConfigError, match=r"needs randomness .*\n.*jdl\.networks\.noise\(key\).*model\.eval"):
        make(HostRngs(RandomKey((0,))))(*rows)
    with pytest.raises(ConfigError, match="needs randomness"):
        make(nnx.Rngs(params=0))(*rows)


@every_model
def test_a_compiled_training_loop_of_ones_own_learns(make, rows):
    model = make(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
    target = NUM[:, :1] - 2.0

    @nnx.jit
    def step(model, optimizer):
        def loss(model):
            output = model(*rows)
            wanted = target if output.ndim == 2 else target[:, None]
            return jnp.mean((output - wanted) ** 2)

        value, grads = nnx.value_and_grad(loss)(model)
        optimizer.update(model, grads)
        return value

    losses = [float(step(model, optimizer)) for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.5 * losses[0]


def test_an_object_of_ones_own_trains_in_jdls_program_with_the_seeds_of_its_steps():
    task = jdl.tsk("iris")
    network = TabM(n_num_features=4, d_out=3, k=2, d_block=8, rngs=nnx.Rngs(0))
    fitted = jdl.lrn("classif.module", module=network, epochs=2).train(task, key=0)
    other = jdl.lrn("classif.module", module=network, epochs=2).train(task, key=0)
    jax.tree.map(np.testing.assert_array_equal, fitted.run.params, other.run.params)
    assert network.noise.stream is not None  # the user's own is as it was
