"""The compiled functions lower for every platform, whatever this machine has."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdl import train

SGD = train.sgd(lr=0.1, momentum=0.9, weight_decay=0.01)
PLATFORMS = ["cpu", "cuda", "tpu"]


@pytest.fixture(scope="module")
def program(lab):
    options = {"norm": "batch", "dropout": True, "measures": True, "optimizer": SGD}
    return lab.program(validate=True, keep_best=True, eval_freq=2, **options)


@pytest.fixture(scope="module")
def members(lab, program):
    rows = train.MemberRows(np.arange(40), np.arange(40, 50))
    make = partial(train.draw, program, target=lab.labels, rows=rows, epochs=3, hyper=lab.hyper(SGD, dropout=0.1))
    return [make(0), make(1)]


def stacked(members):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *members)


def fit(program, table, member):
    run, history = train.fit(program, table, member)
    return train.predict(program, run, table), history["valid.loss"]


def lower(function, *args):
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(*args)
    assert exported.platforms == tuple(PLATFORMS)
    return exported


def test_fit_and_predict_lower_for_all_platforms(lab, program, members):
    one = partial(fit, program)
    exported = lower(one, lab.table, members[0])
    # What was lowered is the function, not a part of it.
    for a, b in zip(exported.call(lab.table, members[0]), jax.jit(one)(lab.table, members[0]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_vmapped_fit_and_predict_lower_for_all_platforms(lab, program, members):
    many = jax.vmap(partial(fit, program), in_axes=(None, 0))
    exported = lower(many, lab.table, stacked(members))
    assert exported.out_avals[0].shape == (2, 64, 1)


def test_predict_lowers_for_all_platforms(lab, program, members):
    state = train.init(program, members[0])
    exported = lower(partial(train.predict, program), state, lab.table)
    assert exported.out_avals[0].shape == (64, 1)
    states = jax.vmap(partial(train.init, program))(stacked(members))
    many = jax.vmap(partial(train.predict, program), in_axes=(0, None))
    assert lower(many, states, lab.table).out_avals[0].shape == (2, 64, 1)


def test_init_draws_nothing_on_the_device(lab, program, members):
    """Initial values come with the member; a generator in the program would cost seconds of compiling."""
    member = jax.tree.map(jnp.asarray, members[0])
    text = str(jax.make_jaxpr(partial(fit, program))(jax.tree.map(jnp.asarray, lab.table), member))
    assert not re.search(r"random_|threefry|erf_inv", text)
