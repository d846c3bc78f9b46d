"""Loading weights under PyTorch's names, without PyTorch."""

from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError, UnknownNameError
from jdl.core.random import as_key
from jdl.networks import FTTransformer, HostRngs, PiecewiseLinearEmbeddings, RealMLP, TabM, TabResNet


def host(seed=0):
    return HostRngs(as_key(seed))


def ple(seed=0):
    options: Any = {"activation": False, "version": "B", "n_features": 3, "max_bins": 4}
    return PiecewiseLinearEmbeddings(None, 5, rngs=host(seed), **options)


def tabm(seed=0):
    options: Any = {"n_num_features": 3, "cat_cardinalities": [2], "d_out": 2, "k": 4, "d_block": 6}
    return TabM(**options, num_embeddings=ple(seed), rngs=host(seed))


def ft(seed=0):
    options: Any = {"d_block": 8, "attention_n_heads": 2}
    return FTTransformer(n_cont_features=2, cat_cardinalities=[2, 3], d_out=1, n_blocks=2, rngs=host(seed), **options)


def resnet(seed=0):
    return TabResNet(3, 2, 1, 4, rngs=host(seed))


def realmlp(seed=0):
    model = RealMLP(n_num_features=2, cat_cardinalities=[3, 12], d_out=2, hidden_sizes=(4,), rngs=host(seed))
    random = np.random.default_rng(seed)
    model.prepare(random.normal(size=(9, 2)), random.integers(0, [3, 12], (9, 2)), key=seed)
    return model


BUILDS = {"tabm": tabm, "ft": ft, "resnet": resnet, "realmlp": realmlp}
every_model = pytest.mark.parametrize("build", BUILDS.values(), ids=list(BUILDS))


def state_of(model):
    """The model's own values under PyTorch's names, in PyTorch's shapes."""
    state = {}
    for name, slot in model.torch_slots().items():
        if slot is None:
            continue
        values = np.asarray(slot.variable[...])
        values = values if slot.rows is None else values[slice(*slot.rows)]
        state[name] = (values.T if slot.transpose else values).reshape(slot.torch_shape)
    return state


def leaves(model):
    return [np.array(leaf) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))]


@every_model
def test_names_cover_every_parameter(build):
    model = build()
    n_slots = sum(
        np.prod(slot.torch_shape)
        for slot in model.torch_slots().values()
        if slot is not None and isinstance(slot.variable, nnx.Param)
    )
    assert n_slots == sum(leaf.size for leaf in leaves(model))


@every_model
def test_a_state_moves_from_model_to_model(build):
    source, target = build(0), build(1)
    target.load_torch_state(state_of(source))
    for left, right in zip(leaves(source), leaves(target), strict=True):
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype == np.float32


@every_model
def test_errors_name_what_is_wrong_and_change_nothing(build):
    model, state = build(1), state_of(build(0))
    before = leaves(model)
    name = list(state)[-1]
    with pytest.raises(UnknownNameError, match=f"'{name}s'.*Did you mean '{name}'"):
        model.load_torch_state(state | {f"{name}s": np.zeros(1)})
    without = {key: value for key, value in state.items() if key != name}
    with pytest.raises(ConfigError, match=f"1 of {len(state)} names are missing.*'{name}'"):
        model.load_torch_state(without)
    with pytest.raises(ShapeError, match=f"'{name}'.*must have shape.*got \\(7, 7, 7\\)"):
        model.load_torch_state(state | {name: np.zeros((7, 7, 7))})
    for left, right in zip(before, leaves(model), strict=True):
        np.testing.assert_array_equal(left, right)


def test_buffers_without_weights_are_skipped():
    resnet().load_torch_state(state_of(resnet()) | {"blocks.0.normalization.num_batches_tracked": np.array(3)})
    buffers = {"impl.weight": np.ones((3, 4)), "impl.bias": np.ones((3, 4)), "impl.mask": np.ones((3, 4), bool)}
    model = ple()
    model.load_torch_state(state_of(ple(1)) | buffers)
    assert not np.asarray(model.impl.weight[...]).any()


def test_running_statistics_are_not_skipped():
    state = state_of(resnet())
    model: Any = resnet()
    with pytest.raises(ConfigError, match="running_mean"):
        model.load_torch_state({name: value for name, value in state.items() if "running_mean" not in name})
    model.load_torch_state(state | {"output.normalization.running_var": np.full(4, 9.0)})
    np.testing.assert_array_equal(model.final_norm.var[...], 9.0)


class Tensor:
    """What matters of a tensor of PyTorch with a gradient."""

    def __init__(self, values):
        self.values = values

    def detach(self):
        return self

    cpu = detach
    float = detach

    def is_floating_point(self):
        return True

    def __array__(self, dtype=None, copy=None):
        return self.values


@every_model
def test_tensors_with_gradients_are_taken(build):
    model, other = build(0), build(1)
    model.load_torch_state({name: Tensor(values) for name, values in state_of(other).items()})
    jax.tree.map(np.testing.assert_array_equal, nnx.state(model, nnx.Param), nnx.state(other, nnx.Param))


@pytest.mark.parametrize("wrong", [None, [1, 2], np.zeros(3)], ids=str)
def test_what_is_no_mapping_is_refused(wrong):
    with pytest.raises(ConfigTypeError, match="TabResNet: expected names and arrays, as state_dict"):
        resnet().load_torch_state(wrong)


def test_after_values_that_are_no_numbers_nothing_has_changed():
    model = resnet()
    before = jax.tree.map(np.array, nnx.state(model))
    state = state_of(resnet(1))
    name = list(state)[-1]
    with pytest.raises(ConfigTypeError, match="must hold numbers"):
        model.load_torch_state(state | {name: np.full(state[name].shape, "a")})
    with pytest.raises(ConfigError, match="names are missing") as caught:
        model.load_torch_state({})
    assert "takes none" not in str(caught.value)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(model), before)
