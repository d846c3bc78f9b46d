"""Arguments of functions and modules of others: any list, dict or array may be a hyperparameter."""

import itertools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jdl
from jdl.core.errors import ConfigTypeError
from jdl.networks.argument import Declared, Kept, handed_out, kept, kept_default

WEIGHTS = np.float32([1, 2, 3, 4])


def weighted(x, weights=None, options=None):
    assert options is None or type(options) is dict
    return x * jnp.asarray(weights)[None]


class Deep(nnx.Module):
    """Its sizes are a list by default, its options a dict; it changes both."""

    kinds: ClassVar[list[Any]] = []

    def __init__(self, d_in, d_out, sizes=[8], options={"bias": True}, activation=nnx.relu, *, rngs):  # noqa: B006
        self.kinds.append((type(sizes), type(options)))
        widths = [d_in, *sizes, d_out]
        pairs = itertools.pairwise(widths)
        self.layers = nnx.List([nnx.Linear(a, b, use_bias=options["bias"], rngs=rngs) for a, b in pairs])
        self.activation = activation
        sizes.clear()
        options.clear()

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


def learner_of(layer):
    end = jdl.po("loss", "cross_entropy") >> jdl.po("optimizer", "sgd", lr=0.01) >> jdl.po("model_classif", epochs=1)
    return jdl.as_learner(jdl.po("ingress_num") >> layer >> jdl.nn("head") >> end)


def n_parameters(fitted):
    return sum(leaf.size for leaf in jax.tree.leaves(fitted.run.params))


@pytest.mark.parametrize(
    "value",
    [
        *([8, 4], [], {"a": [1, {"b": 2}]}, {3, 1}, (1, [2]), "text", None, 0.5, len),
        *(WEIGHTS, jnp.asarray(WEIGHTS), [WEIGHTS, 1]),
    ],
    ids=repr,
)
def test_what_is_kept_compares_and_comes_back_equal_in_its_own_type(value):
    assert kept(value) == kept(value) and hash(kept(value)) == hash(kept(value))
    back = handed_out(kept(value))
    assert type(back) is (np.ndarray if hasattr(value, "dtype") else type(value))
    np.testing.assert_equal(back, value)
    assert kept(kept(value)) == kept(value)


@pytest.mark.parametrize("other", [[8, 4, 2], (8, 4), {8: 4}, {8, 4}, [4, 8]], ids=repr)
def test_what_differs_is_kept_apart(other):
    assert kept([8, 4]) != kept(other)
    assert kept(WEIGHTS) != kept(WEIGHTS.astype(np.float64)) and kept(WEIGHTS) != kept(-WEIGHTS)


def test_what_cannot_be_hashed_is_refused_by_name():
    class Odd:
        __hash__: Any = None

    with pytest.raises(ConfigTypeError, match=r"layer 'weighted': hyperparameter 'weights': expected .*class Odd"):
        jdl.nn("fn", weighted, weights=Odd())
    with pytest.raises(ConfigTypeError, match=r"learner 'classif.module': .* 'sizes': expected .*class Odd"):
        jdl.lrn("classif.module", module=Deep, sizes=[Odd()])


def test_defaults_that_are_no_data_are_left_to_their_owner():
    assert kept_default([1]) == Kept("list", (1,))
    assert repr(kept_default(nnx.initializers.lecun_normal())) == "<init>"
    assert kept_default(object()) == Declared("object")  # without an address, which no other process has


@pytest.mark.parametrize("weights", [[1.0, 2.0, 3.0, 4.0], WEIGHTS, jnp.asarray(WEIGHTS)], ids=["list", "numpy", "jax"])
def test_functions_take_lists_dicts_and_arrays(weights):
    task = jdl.tsk("iris")
    learner = learner_of(jdl.nn("fn", weighted, weights=weights, options={"a": 1}))
    same = learner_of(jdl.nn("fn", weighted, weights=(1.0, 2.0, 3.0, 4.0)))
    ours, theirs = (each.train(task, key=0).predict(task).response for each in (learner, same))
    np.testing.assert_array_equal(ours, theirs)


def test_modules_take_lists_and_dicts_and_may_change_them(tmp_path):
    task = jdl.tsk("iris")
    Deep.kinds.clear()
    wide = jdl.lrn("classif.module", module=Deep, sizes=[6, 5], epochs=1)
    assert wide.get("sizes") == [6, 5] and jdl.lrn("classif.module", module=Deep).get("sizes") == [8]
    fitted = wide.train(task, key=0)
    again = wide.set(epochs=1).train(task, key=0)
    assert set(Deep.kinds) == {(list, dict)} and n_parameters(fitted) == 4 * 6 + 6 + 6 * 5 + 5 + 5 * 3 + 3
    assert again.timings["compile"] == 0
    fitted.save(tmp_path / "model")
    loaded = jdl.load(tmp_path / "model", trust={__name__})
    np.testing.assert_array_equal(loaded.predict(task).response, fitted.predict(task).response)


def test_any_module_is_a_layer_with_its_own_defaults(tmp_path):
    task = jdl.tsk("iris")
    learner = learner_of(jdl.nn("module", nnx.Linear, out_features=8))
    fitted = learner.train(task, key=0)
    assert n_parameters(fitted) == 4 * 8 + 8 + 8 * 3 + 3
    fitted.save(tmp_path / "model")
    loaded = jdl.load(tmp_path / "model", trust={"flax.nnx"})
    np.testing.assert_array_equal(loaded.predict(task).response, fitted.predict(task).response)
    zero = learner_of(jdl.nn("module", nnx.Linear, out_features=8, kernel_init=nnx.initializers.zeros))
    assert len(set(zero.set({"model_classif.epochs": 0}).train(task, key=0).predict(task).response)) == 1
