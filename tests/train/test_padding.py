"""Padding is invisible: rows that only fill up a shape change no number, not even those of a batch of nothing else."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import jdl
from jdl.networks.context import current_batch
from jdl.networks.graph_spec import GraphSpec
from jdl.train.callback import HostCallback
from jdl.train.loop import history_columns
from jdl.train.member import MemberRows, draw
from jdl.train.optimizer import sgd

pytestmark = pytest.mark.bits

NETWORKS = {
    "plain": {},
    "dropout": {"dropout": True},
    "batch norm": {"norm": "batch"},
    "layer norm": {"norm": "layer", "loss": "mse"},
}
MORE = (2, 2, 1)


@pytest.fixture(params=NETWORKS)
def program(request, lab):
    options = {"validate": True, "keep_best": True, "measures": True, **NETWORKS[request.param]}
    return lab.program(**options)


def test_more_padding_changes_no_bit_under_map(lab, program, assert_same):
    options = {"hyper": lab.hyper(dropout=0.3), "patience": 2, "epochs": 5}
    tight = lab.run(program, lab.folds(), **options)
    padded = lab.run(program, lab.folds(), padding=MORE, **options)
    # How the sum in a measure associates depends on the number of rows.
    assert_same(tight, padded, but_measures=4)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_more_padding_changes_no_bit_under_loop(lab, assert_same, loss):
    program = lab.program(loss, norm="batch", dropout=True, validate=True)
    options = {"hyper": lab.hyper(dropout=0.3), "strategy": "loop"}
    tight = lab.run(program, lab.folds(), **options)
    assert_same(tight, lab.run(program, lab.folds(), padding=MORE, **options))


def test_more_padding_changes_nothing_under_vmap(lab, assert_close):
    # Three steps have a real row in every member; from there on the step is guarded.
    program = lab.program(norm="batch", dropout=True, validate=True, optimizer=sgd(lr=0.1), full_steps=3)
    options = {"hyper": lab.hyper(sgd(lr=0.1), dropout=0.3), "strategy": "vmap"}
    tight = lab.run(program, lab.folds(), **options)
    assert_close(tight, lab.run(program, lab.folds(), padding=MORE, **options), 1e-6)


def test_size_of_a_prediction_batch_changes_nothing(lab, assert_close):
    options = {"norm": "batch", "validate": True, "keep_best": True}
    folds = lab.folds()
    small = lab.run(lab.program(batch_size_predict=4, **options), folds, strategy="loop")
    large = lab.run(lab.program(batch_size_predict=64, **options), folds, strategy="loop")
    assert_close(small, large, 1e-5)


def test_a_member_beside_longer_ones_is_itself(lab, assert_same):
    """The shortest member alone needs no empty batch; beside the longest it meets three."""
    program = lab.program(norm="batch", validate=True)
    folds = lab.folds()
    together = lab.run(program, folds, strategy="loop")
    alone = lab.run(program, folds[2:], strategy="loop", keys=[2])
    assert_same(together[2:], alone)


def centered(x):
    """Less the mean of the real rows: an own layer that looks at the whole batch."""
    weights = current_batch().weights
    weights = jnp.ones(x.shape[0]) if weights is None else weights
    return x - (jnp.sum(weights[:, None] * x, axis=0) / jnp.sum(weights))[None]


@pytest.mark.parametrize("strategy", ["loop", "map", "vmap"])
def test_layers_that_look_at_the_batch_see_no_padding_in_validation_and_test(lab, strategy):
    norm = jdl.nn("batch_norm1d", track_running_stats=False)
    layers = jdl.nn("linear", out_features=6) >> norm >> jdl.nn("relu") >> jdl.nn("fn", centered)
    network = GraphSpec(jdl.po("ingress_num") >> layers >> jdl.nn("head"))
    program = replace(lab.program("mse", validate=True, batch_size_predict=64), network=network)
    folds = lab.folds()
    for rows, outcome in zip(folds, lab.run(program, folds, strategy=strategy), strict=True):
        member = outcome.params, outcome.rest
        expected, loss = (
            np.asarray(program.forward(*member, lab.table.take(part), train=False)[0])
            for part in (rows.test, rows.valid)
        )
        np.testing.assert_allclose(outcome.outputs, expected, rtol=1e-4, atol=1e-5)
        loss = ((loss[:, 0] - lab.values[rows.valid]) ** 2).mean()
        column = history_columns(program).index("valid.loss")
        np.testing.assert_allclose(outcome.history[-1, column], loss, rtol=1e-4)


def test_padding_repeats_rows_of_the_member(lab):
    """So that whatever lies in other rows is never even gathered."""
    program = lab.program(validate=True)
    rows = MemberRows(np.array([5, 7, 9]), np.array([11]), np.array([2, 3]), n_train=16, n_valid=4, n_test=8)
    member = draw(program, 0, lab.labels, rows=rows, epochs=6)
    assert member.orders.shape == (6, 16)
    assert set(np.unique(member.orders[:, 3:])) <= {5, 7, 9}
    assert member.valid_rows.shape == (4,) and set(member.valid_rows[1:]) <= {5, 7, 9, 11}
    assert member.test_rows.shape == (8,) and set(member.test_rows[2:]) <= {5, 7, 9, 2, 3}
    assert (int(member.n_train), int(member.n_valid), int(member.n_test)) == (3, 1, 2)


def test_empty_batches_take_no_optimizer_step(lab):
    """Adam's bias correction, momentum and the dropout noise all hang on the count of steps."""
    runs = []

    class Keep(HostCallback):
        forces_chunks = False

        def on_end(self, ctx):
            runs.append(ctx.runs)

    for strategy in ("map", "vmap"):
        lab.run(lab.program(), lab.folds(), padding=MORE, strategy=strategy, callbacks=[Keep()])
        # 41, 32 and 23 rows in batches of 8, three epochs.
        assert np.asarray(runs.pop().train.step).tolist() == [18, 12, 9]
