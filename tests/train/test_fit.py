"""`draw`, `init`, `step`, `fit` and `predict` as a JAX user meets them."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from jdl import train
from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError, UnknownNameError
from jdl.pipeline.scale import Scale
from jdl.train import callback as train_callback
from jdl.train.loss import CrossEntropy, Loss
from jdl.train.member import MemberRows


@pytest.fixture(scope="module")
def program(lab):
    return lab.program("mse", optimizer=train.sgd(lr=0.05), validate=True)


@pytest.fixture(scope="module")
def draw(lab, program):
    rows = MemberRows(np.arange(40), np.arange(40, 52))
    hyper = lab.hyper(train.sgd(lr=0.05))
    return partial(train.draw, program, target=lab.values, rows=rows, epochs=4, hyper=hyper)


@pytest.fixture(scope="module")
def fit(lab, program):
    return jax.jit(lambda member: train.fit(program, lab.table, member))


def test_step_by_step_is_fit(lab, program, draw, fit):
    member = draw(0)
    state = train.init(program, member)
    step = jax.jit(partial(train.step, program))
    losses = []
    for order in member.orders:
        infos = []
        for rows in order.reshape(-1, program.batch_size):
            batch = train.Batch(
                x=jax.tree.map(jnp.asarray, lab.table.take(rows)),
                target=jnp.asarray(lab.values[rows]),
                weights=jnp.ones(len(rows)),
            )
            state, info = step(state, batch)
            infos.append(float(info.loss))
        losses.append(np.mean(infos))
    run, history = fit(member)
    np.testing.assert_allclose(history["train.loss"], losses, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), run.train.params, state.params)
    assert int(run.train.step) == int(state.step) == 20


def test_predict_is_the_networks_outputs(lab, program, draw, fit):
    run, history = fit(draw(0))
    outputs = train.predict(program, run, lab.table)
    assert outputs.shape == (64, 1)
    valid_loss = np.mean(np.square(outputs[40:52, 0] - lab.values[40:52]))
    assert float(history["valid.loss"][-1]) == pytest.approx(valid_loss, rel=1e-5)
    np.testing.assert_array_equal(outputs, train.predict(program, run.train, lab.table))


def test_vmap_over_learning_rates_is_a_loop_over_them(lab, program, draw, fit):
    member = draw(3)

    def with_lr(lr):
        return replace(member, hyper={**member.hyper, "opt.lr": lr})

    rates = jnp.array([0.01, 0.05, 0.1])
    _, many = jax.jit(jax.vmap(lambda lr: train.fit(program, lab.table, with_lr(lr))))(rates)
    for i, lr in enumerate(rates):
        _, one = fit(with_lr(lr))
        np.testing.assert_allclose(many["valid.loss"][i], one["valid.loss"], rtol=1e-5)


def test_gradient_through_a_step_is_the_finite_difference(lab, program, draw):
    """Hyperparameters are arrays of the state, so that one can differentiate by them."""
    state = train.init(program, draw(0))
    rows = np.arange(8)
    batch = train.Batch(lab.table.take(rows), jnp.asarray(lab.values[rows]), jnp.ones(8))

    def loss_after(lr):
        after, _ = train.step(program, replace(state, hyper={**state.hyper, "opt.lr": lr}), batch)
        return train.step(program, after, batch)[1].loss

    slope = jax.grad(loss_after)(jnp.float32(0.1))
    numeric = (loss_after(jnp.float32(0.11)) - loss_after(jnp.float32(0.09))) / 0.02
    assert float(slope) == pytest.approx(float(numeric), rel=0.02)


def test_history_is_as_long_as_asked_for(lab, program, draw):
    run, history = jax.jit(lambda m: train.fit(program, lab.table, m, epochs=3))(draw(0))
    assert history["train.loss"].shape == (3,)
    assert (int(run.epoch), int(run.status)) == (3, train.Status.RUNNING)


def test_more_epochs_than_orders_are_refused(lab, program, draw):
    with pytest.raises(ConfigError, match="'epochs' is 9, but the member has orders for 4"):
        train.fit(program, lab.table, draw(0), epochs=9)


def test_without_shuffling_the_number_of_epochs_must_be_given(lab, draw):
    program = lab.program("mse", shuffle=False)
    member = train.draw(program, 0, lab.values, epochs=5, hyper=lab.hyper())
    with pytest.raises(ConfigError, match="'epochs' is needed"):
        train.fit(program, lab.table, member)
    run, history = jax.jit(lambda m: train.fit(program, lab.table, m, epochs=5))(member)
    assert int(run.epoch) == 5
    assert np.isfinite(history["train.loss"]).all()


@pytest.mark.parametrize(
    ("name", "size", "named"), [("n_train", 32, "40 rows"), ("n_train", 44, "batches of 8"), ("n_valid", 8, "12 rows")]
)
def test_padded_sizes_that_do_not_fit_are_refused(lab, program, name, size, named):
    rows = replace(MemberRows(np.arange(40), np.arange(40, 52)), **{name: size})
    with pytest.raises(ConfigError, match=f"'{name}' is {size}.*{named}"):
        train.draw(program, 0, lab.values, rows=rows, hyper={"opt.lr": 0.1})


def test_more_validation_rows_than_a_prediction_batch_are_padded_to_whole_batches(lab, program):
    rows = MemberRows(np.arange(8), np.arange(8, 28))
    member = train.draw(program, 0, lab.values, rows=rows, hyper={"opt.lr": 0.1})
    assert member.valid_rows.shape == (2 * program.batch_size_predict,)
    assert int(member.n_valid) == 20


@pytest.mark.parametrize(
    ("hyper", "error", "parts"),
    [
        ({"lr": 0.5}, UnknownNameError, r"'lr' of draw\(hyper=...\). Did you mean 'opt.lr'"),
        ({"opt.lr": 0.5, "opt.momentun": 0.9}, UnknownNameError, r"'opt.momentun'.*Did you mean 'opt.momentum'"),
        ({}, ConfigError, r"optimizer 'sgd' needs the hyperparameter 'opt.lr', got none"),
    ],
)
def test_hyperparameters_that_are_unknown_or_required_are_named(lab, program, hyper, error, parts):
    with pytest.raises(error, match=parts):
        train.draw(program, 0, lab.values, hyper=hyper)


def test_dropout_needs_its_rate(lab):
    program = lab.program(dropout=True)
    with pytest.raises(ConfigError, match=r"the network needs the hyperparameter 'dropout'[\s\S]*Hint: draw"):
        train.draw(program, 0, lab.labels)
    assert float(train.draw(program, 0, lab.labels, hyper={"dropout": 0.2}).hyper["dropout"]) == np.float32(0.2)


def test_an_unknown_option_of_a_program_comes_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'bath_size' of program. Did you mean 'batch_size'"):
        train.program(train.MLPSpec(), n_features=2, bath_size=3)


@dataclass(frozen=True)
class OnlyInTraining(Scale):
    """Says what rows it meets: adds 1 to those that train."""

    differs_in_training: ClassVar[bool] = True

    def apply(self, spec, state, table, key, train):
        return replace(table, numeric=table.numeric + (1.0 if train else 0.0))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("materialise", [True, False])
def test_a_stage_that_differs_in_training_knows_which_rows_train(lab, shuffle, materialise):
    options = {"stages": (OnlyInTraining(),), "materialise": materialise, "shuffle": shuffle, "validate": True}
    program = lab.program("mse", neurons=(), optimizer=train.sgd(lr=0.0), **options)
    rows = MemberRows(np.arange(8), np.arange(8))
    states = ({"center": np.zeros(4), "factor": np.ones(4)},)
    member = train.draw(program, 0, lab.values, rows=rows, epochs=1, hyper={"opt.lr": 0.0}, stage_states=states)
    _, history = train.fit(program, lab.table, member, epochs=1)
    head = member.params["head"]
    for shift, column in ((1.0, "train.loss"), (0.0, "valid.loss")):
        outputs = (lab.x[:8] + shift) @ head["kernel"].get_value() + head["bias"].get_value()
        assert float(history[column][0]) == pytest.approx(np.mean((outputs[:, 0] - lab.values[:8]) ** 2), rel=1e-4)


class PlainLoss(Loss):
    id = "plain"
    task_types = ("classif",)

    def __init__(self, factor):
        self.factor = factor

    def per_row(self, output, target):
        return self.factor * output[:, 0]


class PlainCallback(train_callback.InScanCallback):
    def __init__(self, factor):
        self.factor = factor


@dataclass(frozen=True)
class CachingLoss(CrossEntropy):
    @cached_property
    def cached(self):
        return 1


def test_parts_that_compare_equal_although_they_differ_are_refused(lab):
    """Or the program that was compiled for one of them would be run for the other."""
    assert PlainLoss(1.0) == PlainLoss(100.0)
    message = r"Plain\w+: 'factor' is no field of the class[\s\S]*decorate it with @dataclass\(frozen=True\)"
    with pytest.raises(ConfigTypeError, match=message):
        lab.program(PlainLoss(1.0))
    with pytest.raises(ConfigTypeError, match=message):
        lab.program(callbacks=(PlainCallback(1.0),))
    loss = CachingLoss()
    assert loss.cached == 1
    assert lab.program(loss).loss is loss


def test_no_training_row_is_refused(lab, program):
    with pytest.raises(ConfigError, match="at least one training row"):
        train.draw(program, 0, lab.values, rows=np.zeros(0, int))


def test_table_must_be_described_once():
    with pytest.raises(ConfigError, match="either n_features"):
        train.program(train.MLPSpec())
    with pytest.raises(ConfigError, match="either n_features"):
        train.program(train.MLPSpec(), n_features=2, spec=train.numeric_spec(2))


def test_programs_of_equal_parts_are_equal(lab):
    """Equal programs share a compilation; numbers that members carry are no part of one."""
    one, other = (lab.program(optimizer=train.adamw(lr=lr), measures=True) for lr in (0.1, 0.2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != lab.program(optimizer=train.sgd(lr=0.1))
    assert lab.program(optimizer=train.sgd(lr=0.1)) != lab.program(optimizer=train.sgd(lr=0.1, momentum=0.9))


def test_masks_of_rows_are_taken(lab, program):
    mask = lab.values > 0
    for rows in (mask, list(mask), MemberRows(mask, ~mask)):
        member = train.draw(program, 0, lab.values, rows=rows, hyper={"opt.lr": 0.1})
        assert int(member.n_train) == mask.sum()
        assert set(np.unique(member.orders)) == set(np.flatnonzero(mask))
    assert int(member.n_valid) == (~mask).sum()


@pytest.mark.parametrize(
    ("change", "error", "parts"),
    [
        ({"rows": [0, 64]}, ConfigError, r"draw, train rows: rows must lie in \[0, 64\), got 64"),
        ({"rows": [0, -1]}, ConfigError, r"must lie in \[0, 64\), got -1"),
        ({"rows": [0.5, 1.5]}, ConfigError, "must be integer positions or a boolean mask"),
        ({"rows": [True, False]}, ConfigError, "a value for each of the 64 rows, got 2"),
        ({"rows": MemberRows(np.arange(8), np.array([70]))}, ConfigError, "draw, valid rows: .*got 70"),
        ({"rows": MemberRows(np.arange(8), test=np.array([70]))}, ConfigError, "draw, test rows: .*got 70"),
        ({"target": np.zeros((64, 1))}, ShapeError, r"one axis, got shape \(64, 1\)"),
        ({"epochs": -1}, ConfigError, "'epochs' must be an integer .*got -1"),
        ({"epochs": 2.5}, ConfigTypeError, "'epochs' must be an integer .*got 2.5"),
        ({"patience": -1}, ConfigError, "'patience' must be an integer .*got -1"),
        ({"min_delta": -0.5}, ConfigError, "'min_delta' must be a number .*got -0.5"),
        ({"hyper": {"opt.lr": -1.0}}, ConfigError, r"'opt.lr' must be a number in \[0, inf\), got -1"),
        ({"hyper": {"opt.lr": np.nan}}, ConfigTypeError, "'opt.lr' must be a number"),
        ({"hyper": {"opt.lr": 0.1, "opt.momentum": 1.5}}, ConfigError, r"'opt.momentum' must be .*\[0, 1\], got 1.5"),
        ({"hyper": {"opt.lr": 0.1, "dropout": 2.0}}, ConfigError, r"'dropout' must be .*\[0, 1\], got 2"),
    ],
    ids=str,
)
def test_what_draw_does_not_take(lab, program, change, error, parts):
    with pytest.raises(error, match=parts):
        train.draw(program, 0, **{"target": lab.values, "hyper": {"opt.lr": 0.1}, **change})


@pytest.mark.parametrize("eps", [1e-16, np.float32(1e-16), np.asarray(1e-16, np.float32)])
def test_an_end_of_a_range_rounded_to_float32_is_in_it(lab, eps):
    member = train.draw(lab.program(optimizer=train.adam()), 0, lab.labels, hyper={"opt.eps": eps})
    assert float(member.hyper["opt.eps"]) == np.float32(1e-16)


@pytest.mark.parametrize(
    ("shift", "n_outputs", "parts"),
    [
        (1, 1, "n_outputs=1, but the target holds class codes from 1 to 2[\\s\\S]*3 classes need n_outputs=3"),
        (3, 3, "n_outputs=3, [\\s\\S]*5 classes need n_outputs=5"),
        (-1, 1, "class codes from -1 to 0"),
    ],
)
def test_class_codes_that_the_outputs_do_not_cover(lab, shift, n_outputs, parts):
    with pytest.raises(ConfigError, match=parts):
        train.draw(lab.program(n_outputs=n_outputs), 0, lab.labels + shift)
    outside = np.where(np.arange(64) < 8, 9, lab.labels)
    assert train.draw(lab.program(), 0, outside, rows=np.arange(8, 64)).n_train == 56
    with pytest.raises(ConfigError, match=r"must be class codes, integers from 0, got float32[\s\S]*Hint"):
        train.draw(lab.program(), 0, lab.values)


def test_tables_that_do_not_fit_are_refused_while_tracing(lab, program, draw):
    member = draw(0)
    for table, parts in (
        (train.numeric_table(lab.x[:, :3]), r"4 numeric and 0 coded columns, got a table of shapes \(64, 3\)"),
        (train.numeric_table(lab.x[:10]), r"drawn for 64 rows, got a table of 10"),
    ):
        with pytest.raises(ShapeError, match=parts):
            jax.jit(lambda t, m: train.fit(program, t, m))(table, member)
    stacked = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), member)
    with pytest.raises(ShapeError, match=r"expected one member[\s\S]*Hint: .*jax.vmap"):
        train.fit(program, lab.table, stacked)
    with pytest.raises(ShapeError, match="predict: the program's spec has 4 numeric"):
        train.predict(program, train.init(program, member), train.numeric_table(lab.x[:, :3]))


def test_no_epoch_is_refused(lab, program, draw):
    with pytest.raises(ConfigError, match="fit: expected at least one epoch, got 0"):
        train.fit(program, lab.table, draw(0), epochs=0)
    with pytest.raises(ConfigError, match="fit: expected at least one epoch, got 0"):
        train.fit(program, lab.table, train.draw(program, 0, lab.values, epochs=0, hyper={"opt.lr": 0.1}))


@pytest.mark.parametrize("x", [[[1.0, 2.0], [3, None]], pd.DataFrame({"a": [1, 3], "b": [2.0, None]})])
def test_lists_and_frames_become_tables(x):
    table = train.numeric_table(x)
    assert table.numeric.dtype == np.float32 and table.codes.shape == (2, 0)
    np.testing.assert_array_equal(table.numeric, [[1.0, 2.0], [3.0, np.nan]])


@pytest.mark.parametrize(
    ("x", "error", "parts"),
    [
        (np.zeros(3), ShapeError, r"a matrix \(row, feature\), got shape \(3,\)"),
        ([["a"]], ConfigError, "a matrix of numbers, got .*'a'"),
        (pd.DataFrame({"a": ["u"]}), ConfigError, r"a matrix of numbers, got DataFrame of shape \(1, 1\)"),
        (np.array([["u"]]), ConfigError, "a matrix of numbers, got <U1"),
    ],
)
def test_what_is_no_matrix_is_refused(x, error, parts):
    with pytest.raises(error, match=parts):
        train.numeric_table(x)


@pytest.mark.parametrize(
    ("options", "error", "parts"),
    [
        ({"batch_size": 0}, ConfigError, r"'batch_size' must be an integer in \[1, inf\), got 0"),
        ({"n_outputs": "1"}, ConfigTypeError, "'n_outputs' must be an integer .*got '1'"),
        ({"n_outputs": 0}, ConfigError, "'n_outputs' must be"),
        ({"n_features": 0}, ConfigError, "'n_features' must be"),
        ({"batch_size_predict": 2.5}, ConfigTypeError, "'batch_size_predict' must be"),
        ({"network": "mlp"}, ConfigTypeError, "expected the spec of a network, got 'mlp'"),
        ({"loss": 3}, ConfigTypeError, "'loss' must be a loss or its name, got 3"),
        ({"measures_train": ("classif.acc",)}, ConfigError, "'classif.acc' is for classif tasks, got a regr task"),
        ({"measures_valid": "regr.ms"}, UnknownNameError, "Did you mean 'regr.mse'"),
    ],
    ids=str,
)
def test_what_a_program_does_not_take(options, error, parts):
    with pytest.raises(error, match=parts):
        train.program(**{"network": train.MLPSpec(neurons=(4,)), "n_features": 2, **options})


def test_measures_of_a_program_may_be_names():
    made = train.program(
        train.MLPSpec(),
        n_features=2,
        loss="cross_entropy",
        measures_train="classif.acc",
        measures_valid=["classif.auc"],
    )
    assert [m.id for m in (*made.measures_train, *made.measures_valid)] == ["classif.acc", "classif.auc"]
    assert isinstance(hash(made), int)


def test_a_network_beyond_the_memory_is_refused_before_it_is_drawn(compilations):
    before = len(compilations)
    huge = train.program(train.MLPSpec(neurons=(10**6, 10**6)), n_features=2)
    message = (
        r"MLPSpec: one run needs 18,627 GiB for 1,000,005,000,001 parameters[\s\S]*this machine has \d+[\s\S]*Hint"
    )
    with pytest.raises(ConfigError, match=message):
        train.draw(huge, 0, np.zeros(4, np.float32))
    wide = train.program(train.MLPSpec(neurons=(5000,)), n_features=2)
    assert train.draw(wide, 0, np.zeros(4, np.float32)).params["head"]["kernel"][...].shape == (5000, 1)
    assert len(compilations) == before


@pytest.mark.parametrize(
    ("variable", "said"), [("JAX_DISABLE_JIT", "told not to compile"), ("JAX_DEBUG_NANS", "trained")]
)
def test_debugging_options_of_jax(variable, said):
    code = """
import jdl
learner = jdl.po("scale") >> jdl.lrn("classif.mlp", epochs=2, neurons=(4,))
try:
    jdl.resample("iris", learner.set(eval_freq=2, validate=0.3), jdl.rsmp("cv", folds=3))
    print("trained")
except jdl.ConfigError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {variable: "1"}
    )
    assert said in done.stdout
