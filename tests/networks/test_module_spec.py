"""Modules of others as networks: what their call takes, and what does not fit."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jdl
from jdl.core.errors import ConfigError, ShapeError
from jdl.core.random import RandomKey
from jdl.networks import FTTransformer, HostRngs, RealMLP, TabM
from jdl.networks.module_spec import ModuleSpec, reads

MIXED = jdl.tsk("mixed")
IRIS = jdl.tsk("iris")


def build(target, task=MIXED, n_outputs=1, **values) -> Any:
    spec = ModuleSpec(target, tuple(values.items()))
    try:
        return spec.build(task.spec, n_outputs, HostRngs(RandomKey((0,))))
    except (TypeError, AttributeError):  # initialisers of flax want JAX keys
        return spec.build(task.spec, n_outputs, nnx.Rngs(0))


class Both(nnx.Module):
    def __init__(self, d_in, cat_cardinalities, d_out, *, rngs):
        self.table = nnx.Param(jnp.zeros((sum(cat_cardinalities), 2)))
        self.last = nnx.Linear(d_in + 2, d_out, rngs=rngs)

    def __call__(self, x_cat, x_num):
        return self.last(jnp.concatenate([x_num, self.table[...][x_cat[:, 0]]], axis=1))


class Numbers(nnx.Module):
    def __init__(self, d_in, d_out, *, rngs):
        self.last = nnx.Linear(d_in, d_out, rngs=rngs)

    def __call__(self, x, scale=1.0):
        return self.last(x * scale)


class Second(Numbers):
    def __call__(self, x, y):
        return self.last(x + y)


@pytest.mark.parametrize(
    ("call", "blocks"),
    [
        (lambda x: x, ("numeric",)),
        (lambda whatever, scale=2.0: whatever, ("numeric",)),
        (lambda x_num, x_cat: x_num, ("numeric", "codes")),
        (lambda codes, x: x, ("codes", "numeric")),
        (lambda x_cat: x_cat, ("codes",)),
        (lambda x_num=None, x_cat=None: x_num, ("numeric", "codes")),
        (lambda x=None: x, ("numeric",)),
        (lambda *xs: xs, ("numeric",)),
    ],
)
def test_names_of_arguments_say_what_they_get(call, blocks):
    assert reads(call) == blocks


@pytest.mark.parametrize(
    "call",
    [lambda x, y: x, lambda x, mask, x_cat: x, lambda x_cat, codes: x_cat, lambda x, *, mask: x, lambda: 0],
)
def test_other_arguments_are_refused(call):
    with pytest.raises(ConfigError, match=r"net: its call must take .* 'x_cat' or .*; it takes"):
        reads(call, "net")


def test_a_learner_says_so_when_it_is_made():
    with pytest.raises(ConfigError, match=r"learner 'classif.module': module Second: .*; it takes 'x', 'y'"):
        jdl.lrn("classif.module", module=Second)
    assert "category" in jdl.lrn("classif.module", module=Both).feature_types
    assert "category" not in jdl.lrn("classif.module", module=Numbers).feature_types


def test_codes_and_numbers_go_where_they_belong():
    model = build(Both)
    table = MIXED.table
    y = ModuleSpec(Both).forward(model, table)
    np.testing.assert_array_equal(y, model(table.codes, table.numeric))


def test_no_column_is_left_out_in_silence():
    maker = lambda d_in, d_out, rngs: Numbers(d_in, d_out, rngs=rngs)  # noqa: E731
    with pytest.raises(ShapeError, match=r"takes no category codes, but there are columns '"):
        build(maker)
    with pytest.raises(ShapeError, match=r"takes no numeric columns, but there are columns '"):
        build(OnlyCodes)
    assert build(maker, IRIS, n_outputs=3).last.out_features == 3


class OnlyCodes(nnx.Module):
    def __call__(self, x_cat):
        return x_cat.astype(jnp.float32)


def test_outputs_fit_the_task():
    with pytest.raises(ShapeError, match=r"needs an output of shape \(batch, 3\), but it gives \(batch, 2\)"):
        build(lambda d_in, rngs: Numbers(d_in, 2, rngs=rngs), IRIS, n_outputs=3)
    ensemble = build(TabM, IRIS, n_outputs=3, k=4, d_block=8)
    ensemble.eval()
    assert ModuleSpec(TabM).forward(ensemble, IRIS.table).shape == (150, 4, 3)


@pytest.mark.parametrize("task", [IRIS, MIXED], ids=["numbers", "mixed"])
def test_models_of_jdl_are_modules_like_any_other(task):
    n = 3 if task is IRIS else 1
    for model, options in ((RealMLP, {"hidden_sizes": (8,)}), (FTTransformer, {"n_blocks": 1}), (TabM, {"k": 2})):
        assert isinstance(build(model, task, n, **options), model)


def test_a_module_that_prepares_gets_its_training_rows():
    spec = ModuleSpec(RealMLP, (("hidden_sizes", (8,)),))
    assert spec.prepares and not ModuleSpec(Numbers).prepares
    model: Any = spec.build(IRIS.spec, 3, HostRngs(RandomKey((0,))))
    spec.prepare(model, IRIS.table, np.zeros(150, np.int32), RandomKey((1,)))
    np.testing.assert_allclose(model.scaling.center[...], np.median(IRIS.table.numeric, axis=0), rtol=1e-6)
