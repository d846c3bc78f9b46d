"""Convolutions and pools have two forms, one for CPU and one for other platforms: they compute the same."""

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

from jdl.core.random import RandomKey
from jdl.networks import HostRngs, conv, pool
from jdl.networks.array_spec import ArraySpec
from jdl.networks.layer import Site
from jdl.networks.layers import LAYERS

SPACE = {1: (9,), 2: (7, 8), 3: (5, 4, 5)}
FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # to compile, not to run


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def with_gradients(function, *arrays):
    """Outputs, and gradients of a weighted sum of them."""

    @partial(jax.jit, compiler_options=FAST)
    def run(*arrays):
        def total(*arrays):
            y = function(*arrays)
            factors = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
            return jnp.sum(y * factors), y

        return jax.grad(total, argnums=tuple(range(len(arrays))), has_aux=True)(*arrays)

    return run(*arrays)


def assert_same(first, second, *arrays):
    for left, right in zip(
        jax.tree.leaves(with_gradients(first, *arrays)), jax.tree.leaves(with_gradients(second, *arrays)), strict=True
    ):
        np.testing.assert_allclose(left, right, rtol=2e-5, atol=2e-5)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"strides": 2, "padding": (1, 0)},
    {"dilation": 2, "padding": (2, 2), "groups": 2},
    {"groups": 4, "strides": 3, "padding": (0, 2)},
]


@pytest.mark.parametrize("n, options", [*itertools.product(SPACE, OPTIONS)], ids=str)
def test_convolutions(n, options):
    groups = options.get("groups", 1)
    values: dict[str, Any] = {
        "strides": (options.get("strides", 1),) * n,
        "padding": (options.get("padding", (0, 0)),) * n,
        "dilation": (options.get("dilation", 1),) * n,
        "groups": groups,
    }
    x, kernel = draw(2, *SPACE[n], 4), draw(*(2, 3, 2)[:n], 4 // groups, 8, seed=1)
    at = conv.Geometry(**values)
    assert_same(partial(conv.matrix_form, at=at), partial(conv.general_form, at=at), x, kernel)


TRANSPOSED: list[dict[str, Any]] = [
    {},
    {"strides": 2, "padding": 1, "output_padding": 1},
    {"dilation": 2, "groups": 2, "padding": 3},
    {"groups": 4, "strides": 3},
]


@pytest.mark.parametrize("n, options", [*itertools.product(SPACE, TRANSPOSED)], ids=str)
def test_transposed_convolutions(n, options):
    values: dict[str, Any] = {"strides": 1, "padding": 0, "output_padding": 0, "dilation": 1} | options
    groups = values.pop("groups", 1)
    values = {name: (value,) * n for name, value in values.items()} | {"groups": groups}
    x, kernel = draw(2, *SPACE[n], 4), draw(*(2, 3, 2)[:n], 4, 8 // groups, seed=1)
    matrix, general = conv.transposed_matrix_form, conv.transposed_general_form
    at = conv.TransposedGeometry(**values)
    assert_same(partial(matrix, at=at), partial(general, at=at), x, kernel)


POOLS = [((2, 2), 0, 0), ((3, 3), 0, 0), ((3, 2), 1, 1), ((2, 3), 0, 2)]


@pytest.mark.parametrize("n, sizes", [*itertools.product(SPACE, POOLS)], ids=str)
def test_pools(n, sizes):
    (size, stride), low, high = sizes
    values: dict[str, Any] = {"sizes": (size,) * n, "strides": (stride,) * n, "padding": ((low, high),) * n}
    x = draw(2, *SPACE[n], 3)
    assert_same(partial(pool.sliced_sum, **values), partial(pool.reduced_sum, **values), x)
    values["dilation"] = (1,) * n
    assert_same(partial(pool.sliced_max, **values), partial(pool.reduced_max, **values), x)


def test_dilated_maxima():
    values: dict[str, Any] = {"sizes": (3, 2), "strides": (2, 1), "padding": ((1, 1), (1, 0)), "dilation": (2, 3)}
    x = draw(2, 7, 8, 3)
    np.testing.assert_array_equal(pool.sliced_max(jnp.asarray(x), **values), pool.reduced_max(jnp.asarray(x), **values))
    maxima, indices = pool.max_pool_with_indices(jnp.asarray(x), **values)
    np.testing.assert_array_equal(maxima, pool.sliced_max(jnp.asarray(x), **values))
    flat = np.moveaxis(x, -1, 1).reshape(2, 3, -1)
    picked = np.take_along_axis(flat, np.moveaxis(np.asarray(indices), -1, 1).reshape(2, 3, -1), axis=2)
    np.testing.assert_array_equal(picked, np.moveaxis(np.asarray(maxima), -1, 1).reshape(2, 3, -1))


@pytest.mark.parametrize(
    "name, values, operation",
    [
        ("conv2d", {"out_channels": 2, "kernel_size": 3}, "stablehlo.convolution"),
        ("conv_transpose2d", {"out_channels": 2, "kernel_size": 3}, "stablehlo.convolution"),
        ("max_pool2d", {"kernel_size": 2}, "stablehlo.reduce_window"),
        ("avg_pool2d", {"kernel_size": 2}, "stablehlo.reduce_window"),
    ],
)
def test_programs_for_other_platforms_get_their_form(name, values, operation):
    layer = LAYERS.make(name, **values)
    module = layer.build(Site(HostRngs(RandomKey((0,)))), ArraySpec((2, 6, 6, 3)))
    graph, state = nnx.split(module)
    run = jax.jit(lambda state, x: nnx.merge(graph, state, copy=True)(x))
    text = {
        platform: export.export(run, platforms=[platform])(state, jnp.ones((2, 6, 6, 3))).mlir_module()
        for platform in ("cpu", "cuda", "tpu")
    }
    assert operation not in text["cpu"]
    assert operation in text["cuda"] and operation in text["tpu"]


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_of_unknown_sizes(mode):
    """Traced with symbols an axis is continued by index, with known sizes by `jnp.pad`."""
    x = draw(2, 5, 3)
    function = jax.jit(lambda x: conv.pad_like(x, 1, 2, 3, mode))
    (size,) = export.symbolic_shape("n", constraints=["n >= 4"])
    symbolic = export.export(function)(jax.ShapeDtypeStruct((2, size, 3), jnp.float32))
    np.testing.assert_array_equal(symbolic.call(x), function(x))
