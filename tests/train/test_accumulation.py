"""Gradient accumulation, parameter groups and losses inside whole runs."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jdl
from jdl import train
from jdl.core.errors import ConfigError, UnknownNameError
from jdl.networks.select import select_grep
from jdl.train.member import MemberRows

N, K = 37, 4  # rows that are no whole number of batches, nor of steps


def run(program, target, x, epochs=2, hyper=None, rows=None):
    member = train.draw(program, 0, target, epochs=epochs, hyper=hyper, rows=rows)
    table = train.numeric_table(x)
    return jax.jit(lambda m: train.fit(program, table, m, epochs=epochs))(member)


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    x = random.normal(size=(N, 3)).astype(np.float32)
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int32), (x[:, 0] + x[:, 1] ** 2).astype(np.float32)


def hyper_of(optimizer, **more):
    return {f"opt.{name}": value for name, value in optimizer.dynamic().items()} | more


def made(optimizer, loss="cross_entropy", *, batch_size, **options):
    return train.program(
        train.MLPSpec((5,), activation="tanh"),
        n_features=3,
        loss=loss,
        optimizer=optimizer,
        batch_size=batch_size,
        shuffle=options.pop("shuffle", False),
        **options,
    )


@pytest.mark.parametrize("weights", [None, (0.3, 2.0)], ids=["plain", "class weights"])
def test_batches_of_8_accumulated_4_times_are_batches_of_32(data, weights):
    """Exactly: the last step of an epoch has 5 rows of one batch; rows count by their class weights."""
    x, y, _ = data
    loss = train.CrossEntropy(class_weight=weights)
    whole, parts = train.adamw(lr=0.05), train.adamw(lr=0.05, accumulate=K)
    large, large_history = run(made(whole, loss, batch_size=8 * K), y, x, hyper=hyper_of(whole))
    small, history = run(made(parts, loss, batch_size=8), y, x, hyper=hyper_of(parts))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), small.train.params, large.train.params)
    np.testing.assert_allclose(history["train.loss"][0], large_history["train.loss"][0], rtol=0.2)
    assert float(small.train.opt_state.weight) == 0  # nothing waits after an epoch
    assert int(small.train.step) == 2 * 5


@pytest.mark.parametrize("average", [jdl.cb("ema", decay=0.5), jdl.cb("polyak", start=2)], ids=lambda a: a.id)
def test_averages_are_of_the_weights_after_steps_not_batches(data, average):
    x, y, _ = data
    whole, parts = train.sgd(lr=0.5), train.sgd(lr=0.5, accumulate=K)
    means = []
    for optimizer, size in ((whole, 8 * K), (parts, 8)):
        program = made(optimizer, batch_size=size, callbacks=(average.structure(),))
        state, _ = run(program, y, x, hyper=hyper_of(optimizer, **average.dynamic()))
        means.append(state.memories[0])
    assert int(means[0]["n"]) == int(means[1]["n"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), *(m["mean"] for m in means))


def test_how_many_batches_make_a_step_is_dynamic_and_padding_is_invisible(data):
    """Members with other numbers side by side, and padded by whole batches, are the runs alone."""
    x, y, _ = data
    optimizer = train.sgd(lr=0.3, momentum=0.9, accumulate=2)
    program = made(optimizer, batch_size=8)
    table = train.numeric_table(x)
    hypers = [hyper_of(optimizer) | {"opt.accumulate": float(k)} for k in (1, 3)]
    fit = jax.jit(lambda m: train.fit(program, table, m, epochs=2)[0].train.params)
    alone = [fit(train.draw(program, 0, y, epochs=2, hyper=h)) for h in hypers]
    rows = MemberRows(train=np.arange(N), n_train=56)
    members = [train.draw(program, 0, y, epochs=2, hyper=h, rows=rows) for h in hypers]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *members)
    both = jax.jit(jax.vmap(lambda m: train.fit(program, table, m, epochs=2)[0].train.params))(stacked)
    for i, one in enumerate(alone):
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a, b[i], atol=1e-6), one, both)
    different = [np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, alone), strict=True)]
    assert max(different) > 1e-3


def test_frozen_parameters_keep_every_bit_through_a_run(data):
    x, y, _ = data
    optimizer = train.adamw(lr=0.05, weight_decay=0.1, groups=[{"params": select_grep("^head"), "frozen": True}])
    program = made(optimizer, batch_size=8)
    member = train.draw(program, 0, y, epochs=2, hyper=hyper_of(optimizer))
    state = jax.jit(lambda m: train.fit(program, train.numeric_table(x), m, epochs=2)[0].train)(member)
    jax.tree.map(np.testing.assert_array_equal, state.params["head"], member.params["head"])
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), state.params["blocks"], member.params["blocks"])
    assert min(map(float, jax.tree.leaves(moved))) > 1e-3


def test_a_group_that_matches_nothing_is_named_before_anything_compiles(data):
    optimizer = train.adam(groups=[{"params": select_grep("encoder"), "lr": 0.1}])
    with pytest.raises(ConfigError, match=r"matches no parameter.*\n.*blocks\.0\.linear\.bias, .*head\.kernel"):
        train.draw(made(optimizer, batch_size=8), 0, data[1], hyper=hyper_of(optimizer))


def test_schedule_free_predicts_with_its_average(data):
    x, y, _ = data
    optimizer = train.schedule_free(lr=0.1, accumulate=2)
    program = made(optimizer, batch_size=8, validate=True)
    rows = MemberRows(train=np.arange(30), valid=np.arange(30, N))
    state, history = run(program, y, x, hyper=hyper_of(optimizer), rows=rows)
    outputs = train.predict(program, state, train.numeric_table(x))
    loss = train.CrossEntropy().per_row(outputs, jnp.asarray(y))[30:].mean()
    assert float(history["valid.loss"][-1]) == pytest.approx(float(loss), rel=1e-5)
    trained = train.predict(replace(program, optimizer=train.adam().structure), state, train.numeric_table(x))
    assert np.abs(trained - outputs).max() > 1e-3


def test_values_of_the_loss_are_dynamic_in_a_run(data):
    x, y, _ = data
    optimizer = train.adam(lr=0.05)
    loss = train.CrossEntropy(label_smoothing=0.3, class_weight=(0.5, 2.0))
    program = made(optimizer, loss.structure, batch_size=8)
    dynamic = {f"loss.{name}": value for name, value in loss.dynamic().items()}
    free, _ = run(program, y, x, hyper=hyper_of(optimizer, **dynamic))
    fixed, _ = run(made(optimizer, loss, batch_size=8), y, x, hyper=hyper_of(optimizer))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), free.train.params, fixed.train.params)
    other, _ = run(program, y, x, hyper=hyper_of(optimizer, **dynamic | {"loss.label_smoothing": 0.0}))
    assert np.abs(other.train.params["head"]["bias"][...] - free.train.params["head"]["bias"][...]).max() > 1e-3
    with pytest.raises(UnknownNameError, match=r"'loss\.smoothing'.*'loss\.label_smoothing'"):
        train.draw(program, 0, y, hyper=hyper_of(optimizer, **{"loss.smoothing": 0.1}))
    with pytest.raises(ConfigError, match="label_smoothing"):
        train.draw(program, 0, y, hyper=hyper_of(optimizer, **{"loss.label_smoothing": 1.5}))


def test_balanced_weights_are_those_of_the_members_own_rows(data):
    _, y, _ = data
    program = made(train.adam(), train.CrossEntropy(class_weight="balanced"), batch_size=8)
    rows = np.flatnonzero((y == 0) | (np.arange(N) < 12))
    member = train.draw(program, 0, y, rows=rows)
    counts = np.bincount(y[rows])
    np.testing.assert_allclose(member.hyper["loss.class_weight"], len(rows) / (2 * counts), rtol=1e-6)


def test_several_labels_are_learned_together(data):
    x, y, _ = data
    labels = np.stack([y, x[:, 2] > 0], axis=1).astype(np.float32)
    program = made(train.adam(), train.MultiLabel(n_labels=2), batch_size=8, n_outputs=2, shuffle=True)
    state, history = run(program, labels, x, epochs=60, hyper=hyper_of(train.adam(lr=0.05)))
    assert history["train.loss"][-1] < 0.3 < history["train.loss"][0]
    assert train.predict(program, state, train.numeric_table(x)).shape == (N, 2)
    with pytest.raises(ConfigError, match="needs targets"):
        train.draw(program, 0, labels[:, :1])
