"""Ready-made callbacks in whole training runs: strategies, chunks, interruptions, and what they do to a run."""

import itertools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jdl
from jdl.core.errors import ConfigError, JdlWarning
from jdl.networks.select import select_all, select_grep, select_none
from jdl.train.callback import by_weight
from jdl.train.optimizer import adamw, sgd
from jdl.train.state import Status

SGD = sgd(lr=0.05, momentum=0.9, weight_decay=0.01)
EPOCHS = [6, 3, 5]


def several(**changes):
    """Callbacks that meet in one run, with other values for each of three members."""
    made = [
        jdl.cb("ema", decay=changes.get("decay", 0.8), start=2),
        jdl.cb("lr_one_cycle", max_lr=changes.get("max_lr", 0.1)),
        jdl.cb("grad_clip", max_norm=changes.get("max_norm", 1.0)),
        jdl.cb("lr_reduce_on_plateau", of="weight_decay", patience=0, factor=0.5),
        jdl.cb("unfreeze", starting_weights=select_grep("head"), unfreeze={"epoch": [2], "weights": [select_all()]}),
        jdl.cb("schedule", schedule=falling, of="dropout", relative=True),
    ]
    return by_weight(made)


def falling(step):
    return 0.9**step


@pytest.fixture(scope="module")
def program(lab):
    return lab.program(
        "mse",
        optimizer=SGD,
        validate=True,
        keep_best=True,
        norm="batch",
        dropout=True,
        eval_freq=2,
        callbacks=tuple(c.structure() for c in several()),
    )


@pytest.fixture(scope="module")
def run(lab, program):
    hypers = []
    for i in range(3):
        values: dict[str, Any] = {"dropout": 0.1 * (i + 1)}
        for callback in several(decay=0.5 + 0.2 * i, max_lr=0.1 / (i + 1), max_norm=0.3 * (i + 1)):
            values |= callback.dynamic()
        hypers.append(lab.hyper(SGD, **values))

    def run(**options):
        options = {"epochs": EPOCHS, "hyper": hypers, "patience": [0, 0, 2], **options}
        return lab.run(options.pop("program", program), lab.folds(), **options)

    return run


@pytest.fixture(scope="module")
def plain(run):
    return run()


def test_chunks_and_the_loop_change_no_bit(run, plain, assert_same):
    assert_same(plain, run(capacity=1))
    assert_same(plain, run(strategy="loop", capacity=2))


def test_side_by_side_they_are_the_same_to_rounding(run, plain, assert_close):
    assert_close(plain, run(strategy="vmap"), 1e-4)


def test_step_by_step_they_are_the_same_to_rounding(run, plain, assert_close):
    assert_close(plain, run(callbacks=[jdl.callback(on_batch_end=lambda ctx: None)]), 1e-4)


def test_saved_after_an_epoch_and_restored_they_end_with_the_same_bits(run, program, plain, assert_same):
    saved = {}

    def save(ctx):
        if ctx.epoch == 2:
            saved["runs"] = jax.tree.map(np.array, ctx.runs)

    assert_same(plain, run(callbacks=[jdl.callback(on_epoch_end=save)]))

    def resume(ctx):
        ctx.runs = saved["runs"]
        ctx.epoch = 2

    resumed = run(callbacks=[jdl.callback(on_begin=resume, on_epoch_begin=lambda ctx: None)])
    for a, b in zip(plain, resumed, strict=True):
        jax.tree.map(np.testing.assert_array_equal, (a.params, a.rest, a.outputs), (b.params, b.rest, b.outputs))
        assert (a.epochs, a.best_epoch) == (b.epochs, b.best_epoch)


# -- averages


def test_the_average_validates_and_is_the_final_model(lab):
    """Of the weights after the first step alone, here: with this decay nothing later is let in."""
    seen = []
    spy = jdl.callback(on_batch_end=lambda ctx: seen.append(np.asarray(ctx.params["head"]["kernel"])[0]))
    program = lab.program("mse", optimizer=sgd(lr=0.1), validate=True, callbacks=(jdl.cb("ema", decay=1.0),))
    (kept,) = lab.run(program, lab.folds(1), epochs=3, hyper=lab.hyper(sgd(lr=0.1)), callbacks=[spy])
    losses = kept.history[:, 1]
    assert len(set(losses)) == 1 and len(set(kept.history[:, 0])) == 3
    np.testing.assert_array_equal(kept.params["head"]["kernel"], seen[0])
    assert not np.array_equal(seen[0], seen[-1])


def test_polyak_is_the_mean_of_the_weights_after_each_step(lab):
    seen = []
    spy = jdl.callback(on_batch_end=lambda ctx: seen.append(np.asarray(ctx.params["head"]["kernel"])[0]))
    program = lab.program("mse", optimizer=sgd(lr=0.1), callbacks=(jdl.cb("polyak", start=2),))
    (outcome,) = lab.run(program, lab.folds(1), epochs=3, hyper=lab.hyper(sgd(lr=0.1)), callbacks=[spy])
    mean = np.mean(seen[len(seen) // 3 :], axis=0)
    np.testing.assert_allclose(np.asarray(outcome.params["head"]["kernel"]), mean, rtol=1e-5)


def test_the_best_weights_are_the_best_average(lab):
    program = lab.program("mse", optimizer=SGD, validate=True, keep_best=True, callbacks=(jdl.cb("ema", decay=0.9),))
    seen = {}

    def look(ctx):
        seen[ctx.epoch] = np.asarray(ctx.network(0).head.kernel[...])

    watch = jdl.callback(on_epoch_end=look)
    (outcome,) = lab.run(program, lab.folds(1), epochs=4, hyper=lab.hyper(SGD), callbacks=[watch])
    np.testing.assert_array_equal(outcome.params["head"]["kernel"], seen[outcome.best_epoch])


# -- freezing


HEAD = select_grep("head")


def frozen_run(lab, table, *, start=HEAD, epochs=3):
    """The kernels of both layers after each epoch, under AdamW with decay, which moves what only looks frozen."""
    callback = jdl.cb("unfreeze", starting_weights=start, unfreeze=table)
    seen = []

    def look(ctx):
        params = ctx.params
        seen.append([np.asarray(params["blocks"][0]["linear"]["kernel"])[0], np.asarray(params["head"]["kernel"])[0]])

    program = lab.program("mse", optimizer=adamw(lr=0.01, weight_decay=0.1), callbacks=(callback,))
    watch = jdl.callback(on_begin=look, on_epoch_end=look)
    lab.run(program, lab.folds(1), epochs=epochs, hyper=lab.hyper(adamw(lr=0.01, weight_decay=0.1)), callbacks=[watch])
    return [[not np.array_equal(a, b) for a, b in zip(*pair, strict=True)] for pair in itertools.pairwise(seen)]


def test_weights_are_trained_from_their_epoch_or_batch_on(lab):
    every = select_all()
    assert frozen_run(lab, {"epoch": [2], "weights": [every]}) == [[False, True], [True, True], [True, True]]
    # Six batches an epoch.
    assert frozen_run(lab, pd.DataFrame({"batch": [13], "weights": [every]}))[1:] == [[False, True], [True, True]]
    assert frozen_run(lab, None, start=every, epochs=1) == [[True, True]]
    assert frozen_run(lab, {"epoch": [2], "weights": [select_grep("head")]}, start=select_none()) == [
        [False, False],
        [False, True],
        [False, True],
    ]


def test_a_select_that_chooses_nothing_warns(lab):
    nothing = select_grep("nothing")
    with pytest.warns(JdlWarning, match="chooses none of 4 parameters, such as"):
        frozen_run(lab, {"epoch": [2], "weights": [nothing]}, epochs=1)
    with pytest.warns(JdlWarning, match="'nothing'.* chooses none of 4 parameters, such as"):
        frozen_run(lab, {"epoch": 2, "weights": HEAD}, start=nothing, epochs=1)
    for table in (None, {"epoch": [2], "weights": [nothing]}):
        with pytest.raises(ConfigError, match=r"nothing would be trained.*\n.*'head.kernel'"):
            frozen_run(lab, table, start=nothing, epochs=1)


@pytest.mark.parametrize("times", [(1, 2), (), -1, (1.5,), "soon"])
def test_times_are_one_for_each_row_of_the_table(times):
    made = learner(jdl.cb("unfreeze", starting_weights=HEAD, unfreeze={"epoch": 2, "weights": select_all()}))
    assert made.set({"cb.unfreeze.times": 3}).get("cb.unfreeze.times") == (3,)
    with pytest.raises(ConfigError, match=r"'times' must hold a whole number .* for each row.*has 1, got"):
        made.set({"cb.unfreeze.times": times})


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ({"epoch": [1], "batch": [1], "weights": [select_all()]}, "one of 'epoch' and 'batch'"),
        ({"weights": [select_all()]}, "one of 'epoch' and 'batch'"),
        ({"epoch": [1, 1], "weights": [select_all()] * 2}, "different integers"),
        ({"epoch": [1.5], "weights": [select_all()]}, "different integers"),
        ({"epoch": [-1], "weights": [select_all()]}, "different integers"),
        ({"epoch": [1], "weights": ["head"]}, "Select functions, got 'head'"),
        ({"epoch": "soon", "weights": select_all()}, "different integers"),
        ({"epoch": [1, 2], "weights": select_all()}, "different integers.* for 1 entries"),
        ([1], "must be a table"),
    ],
)
def test_tables_that_say_nothing_are_refused(table, match):
    with pytest.raises(ConfigError, match=match):
        jdl.cb("unfreeze", starting_weights=select_all(), unfreeze=table)


# -- stopping


def test_an_undefined_first_score_does_not_switch_stopping_off(lab):
    """A NaN loss ends a run; a NaN measure, here in the first two epochs, is no improvement."""

    def undefined(event):
        nan = jax.numpy.where(event.epoch <= 2, jax.numpy.nan, event.scores["valid.regr.rmse"])
        return event.replace(scores=event.scores | {"valid.regr.rmse": nan})

    worse = jdl.callback(on_valid_end=undefined)
    program = lab.program("mse", optimizer=sgd(lr=0.0), validate=True, callbacks=(worse,), keep_best=True)
    measure = jdl.msr("regr.rmse")
    program = replace(program, measures_valid=(measure,))
    (outcome,) = lab.run(program, lab.folds(1), epochs=20, patience=4, hyper=lab.hyper(sgd(lr=0.0)))
    assert (outcome.status, outcome.best_epoch, outcome.epochs) == (Status.STOPPED_EARLY, 3, 7)


# -- what does not go together


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(40, 3)), columns=list("abc"))
    return jdl.TaskRegr(frame.assign(y=frame["a"] + 0.1 * rng.normal(size=40)), target="y")


def learner(*callbacks, **changes):
    return jdl.lrn(
        "regr.mlp", **{"neurons": (4,), "epochs": 2, "batch_size": 8, "callbacks": list(callbacks), **changes}
    )


@pytest.mark.parametrize(
    ("callbacks", "changes", "match"),
    [
        (["lr_cosine_annealing", "lr_flat_cos"], {}, "both drive 'opt.lr'.\nHint.*lr_warmup"),
        (["lr_reduce_on_plateau"], {}, "'lr_reduce_on_plateau' needs validation rows"),
        (["ema", "polyak"], {}, "'ema' and 'polyak' both average the weights"),
        (["lr_one_cycle"], {"optimizer": jdl.opt("sgd", lr=0.1)}, "sgd with momentum=0 has no such term"),
        ([jdl.cb("lr_flat_cos", of="dropuot")], {}, "Unknown dynamic hyperparameter 'dropuot'.*Did you mean 'dropout'"),
        (["lr_one_cycle"], {"optimizer": jdl.opt("adagrad", lr=0.1)}, "'momentum'.*\nHint: cycle_momentum=False"),
        (
            [jdl.cb("lr_flat_cos", of="dropout")],
            {"dropout": 0.0},
            "'dropout'.*\nHint: a value of 0 .* give 'dropout' one above 0",
        ),
        (
            [jdl.cb("lr_flat_cos", of="label_smoothing")],
            {},
            "'label_smoothing'.*\nHint: a value of 0 .* give 'label_smoothing' one above 0",
        ),
        ([jdl.cb("lr_lambda", lr_lambda=lambda t: 1.0 if t > 3 else 0.5)], {}, "cannot be compiled.*\nHint.*jnp.where"),
        ([jdl.cb("lr_lambda", lr_lambda=lambda t: jnp.ones(3))], {}, "must give one number, got .* shape .3,."),
        ([jdl.cb("lr_multiplicative", lr_lambda=lambda t: 1 / 0)], {}, "the function raised ZeroDivisionError"),
    ],
)
def test_what_does_not_go_together_is_said_before_training(task, callbacks, changes, match):
    with pytest.raises(ConfigError, match=f"(?s){match}"):
        learner(*callbacks, **changes).train(task)


def test_values_are_hyperparameters_of_the_learner(task):
    made = learner("ema", jdl.cb("grad_clip", max_norm=1.0))
    assert made.get("cb.grad_clip.max_norm") == 1.0
    assert made.params().set_index("name")["dynamic"]["cb.ema.decay"]
    changed = made.set({"cb.grad_clip.max_norm": 0.01, "cb.ema.decay": 0.5})
    assert (changed.get("cb.grad_clip.max_norm"), changed.get("cb.ema.decay")) == (0.01, 0.5)
    made.train(task)
    again = changed.train(task)
    assert again.timings["compile"] == 0.0
    with pytest.raises(ConfigError, match=r"cb.grad_clip.max_nrom"):
        made.set({"cb.grad_clip.max_nrom": 1.0})
    with pytest.raises(ConfigError, match=r"'max_norm' must be a number in \(0, inf\)"):
        made.set({"cb.grad_clip.max_norm": -1.0})


def test_a_graph_has_a_node_for_them(task):
    net = (
        jdl.po("ingress_num")
        >> jdl.nn("head")
        >> jdl.po("loss", "mse")
        >> jdl.po("callbacks", ["lr_cosine_annealing", jdl.cb("grad_clip", max_norm=1.0)])
        >> jdl.po("model_regr", epochs=4)
    )
    made = jdl.as_learner(net).set({"callbacks.grad_clip.max_norm": 0.5, "callbacks.lr_cosine_annealing.eta_min": 1e-4})
    assert made.get("callbacks.grad_clip.max_norm") == 0.5
    rates = made.train(task).history["lr"].to_numpy()
    np.testing.assert_allclose(rates, 1e-4 + 9e-4 * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2, rtol=1e-5)


def test_names_stand_for_callbacks_and_others_are_refused(task):
    assert [c.id for c in learner("history", "ema").get("callbacks")] == ["history", "ema"]
    with pytest.raises(ConfigError, match=r"Unknown callback 'histroy'\. Did you mean 'history'"):
        learner("histroy")
    with pytest.raises(ConfigError, match="a class wants to be called"):
        learner(jdl.HostCallback)


def test_a_given_schedule_takes_the_place_of_the_learners_own(task):
    made = jdl.lrn("regr.realmlp", epochs=4, callbacks="lr_cosine_annealing")
    ids = [callback.id for callback in made.in_scan_callbacks()]  # pyright: ignore[reportAttributeAccessIssue]
    assert ids == ["lr_flat_cos_weight_decay", "lr_flat_cos_dropout", "lr_cosine_annealing"]
