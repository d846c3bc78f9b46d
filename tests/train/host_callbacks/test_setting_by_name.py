"""Host callbacks set hyperparameters, parameters and the number of epochs; what does not fit is refused."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jdl.core.errors import CallbackError, JdlError
from jdl.train.state import Status


def test_hyperparameters_are_set_by_short_names_for_all_or_each(run, acting):
    def set_rates(ctx):
        if ctx.epoch == 1:
            ctx.set_hyper("lr", 0.02)
        if ctx.epoch == 2:
            np.testing.assert_allclose(ctx.hyper("lr"), 0.02)
            ctx.set_hyper("lr", [0.03, 0.04, 0.05])

    outcomes = run(acting(on_epoch_end=set_rates))
    np.testing.assert_allclose(outcomes[0].history[:, -1], [0.1, 0.02, 0.03])
    assert float(outcomes[2].hyper["opt.lr"]) == pytest.approx(0.05)
    with pytest.raises(CallbackError, match="Unknown dynamic hyperparameter 'rate'"):
        run(acting(on_begin=lambda ctx: ctx.set_hyper("rate", 1.0)))


def test_changes_by_name_compile_nothing_anew(run, acting):
    change = acting(on_epoch_end=lambda ctx: ctx.set_hyper("lr", 0.01))
    run(change)
    assert sum(o.compile_seconds for o in run(change)) == 0


def test_parameters_are_seen_and_set(run, acting, program):
    def zero(ctx):
        ctx.params = jax.tree.map(lambda leaf: 0.0 * leaf, ctx.params)

    outcomes = run(acting(on_end=zero), program=replace(program, keep_best=False))
    assert all(not np.any(leaf) for o in outcomes for leaf in jax.tree.leaves(o.params))


@pytest.mark.parametrize(("total", "epochs"), [(2, [2, 1, 2]), ([5, 1, 4], [5, 1, 4]), (1, [1, 1, 1])])
def test_the_epoch_budget_may_be_changed(run, acting, total, epochs):
    def change(ctx):
        if ctx.epoch == 1:
            ctx.total_epochs = total

    outcomes = run(acting(on_epoch_end=change))
    assert [(o.epochs, o.status) for o in outcomes] == [(n, Status.COMPLETE) for n in epochs]
    longer = run(epochs=[5, 1, 4])
    np.testing.assert_allclose(outcomes[0].history[:, 0], longer[0].history[: epochs[0], 0], rtol=1e-6)


def set_first(name, value):
    """A change of the first leaf of parameters or gradients."""

    def change(ctx):
        leaves, tree = jax.tree.flatten(getattr(ctx, name))
        setattr(ctx, name, jax.tree.unflatten(tree, [value(leaves[0]), *leaves[1:]]))

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda ctx: ctx.set_hyper("lr", -1.0), r"ctx.set_hyper: .*'opt.lr' must be a number in .0, inf\), got -1"),
        (lambda ctx: ctx.set_hyper("lr", np.nan), "'opt.lr' must be finite, got nan"),
        (lambda ctx: ctx.set_hyper("lr", "fast"), "'lr' must be a number, got 'fast'"),
        (
            lambda ctx: ctx.set_hyper("momentum", 0.9),
            "'opt.momentum' has no effect: sgd with momentum=0 has no such term",
        ),
        (
            lambda ctx: ctx.set_hyper("lr", [0.1, 0.2]),
            r"one number, or as many for each of the 3 runs.*got \[0.1, 0.2\]",
        ),
        (lambda ctx: setattr(ctx, "total_epochs", -5), "whole numbers of at least 0, got -5"),
        (lambda ctx: setattr(ctx, "total_epochs", 2.7), "whole numbers of at least 0, got 2.7"),
        (lambda ctx: setattr(ctx, "total_epochs", [1, 2]), r"one for each of 3 runs, got \[1, 2\]"),
        (lambda ctx: ctx.network(7), "from 0 to 2, got 7"),
        (lambda ctx: setattr(ctx, "runs", None), "ctx.runs: expected the structure that it had, got None"),
        (lambda ctx: setattr(ctx, "runs", ctx.runs.train), "ctx.runs: expected the structure that it had"),
        (lambda ctx: setattr(ctx, "params", {"a": 1}), "ctx.params: expected the structure that it had, got {'a': 1}"),
        (set_first("params", lambda leaf: leaf + 1j), "ctx.params: expected float32 at .*, got complex64"),
        (set_first("params", lambda leaf: leaf[0]), r"ctx.params: expected shape .* at .*bias.*got"),
    ],
)
def test_changes_that_do_not_fit_are_refused(run, acting, change, match):
    with pytest.raises(CallbackError, match=f"(?s){match}") as caught:
        run(acting(on_epoch_end=change))
    assert isinstance(caught.value.__cause__, JdlError)


def test_gradients_that_do_not_fit_are_refused(run, acting):
    with pytest.raises(CallbackError, match=r"(?s)ctx.grads: expected shape .* at .*bias.*got"):
        run(acting(on_after_backward=set_first("grads", lambda leaf: leaf[0])))


@pytest.mark.parametrize("strategy", ["map", "loop"])
def test_callbacks_that_force_no_chunks_change_what_others_do(run, changing, assert_same, strategy):
    """Chunks of an epoch make the same of both kinds."""

    def change(ctx):
        if ctx.epoch == 1:
            ctx.total_epochs = [5] * len(ctx.iterations)
            ctx.set_hyper("lr", 0.03)
        if ctx.epoch == 2:
            ctx.stop()

    def zero(ctx):
        ctx.params = jax.tree.map(lambda leaf: 0.0 * leaf, ctx.params)

    for stages in ({"on_epoch_end": change}, {"on_begin": lambda ctx: ctx.stop()}, {"on_end": zero}):
        assert_same(run(changing(False, **stages)), run(changing(True, **stages), capacity=1, strategy=strategy))


def test_before_the_runs_begin_those_that_force_no_chunks_may_set_epochs_alone(run, changing, assert_same):
    def more(ctx):
        ctx.total_epochs = [4, 2, 3]

    assert_same(run(epochs=[4, 2, 3]), run(changing(True, on_begin=more), capacity=3))
    for change in (
        lambda ctx: ctx.set_hyper("lr", 0.01),
        lambda ctx: ctx.params,
        lambda ctx: ctx.network(),
        lambda ctx: ctx.valid_output,
        lambda ctx: setattr(ctx, "runs", None),
    ):
        with pytest.raises(CallbackError, match=r"the runs have not begun.*\n.*forces_chunks = True"):
            run(changing(True, on_begin=change))


def test_what_there_is_not_cannot_be_set(run, acting):
    with pytest.raises(CallbackError, match=r"AttributeError: .*'total_epoch'"):
        run(acting(on_epoch_end=lambda ctx: setattr(ctx, "total_epoch", 9)))
    with pytest.raises(CallbackError, match="there are gradients at 'on_after_backward' only"):
        run(acting(on_batch_end=lambda ctx: setattr(ctx, "grads", None)))
