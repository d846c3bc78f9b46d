"""What host callbacks see of runs, epochs, batches and members."""

import time

import numpy as np
import pytest

from jdl.train.optimizer import sgd

SGD = sgd(lr=0.1)


def test_losses_and_scores_are_those_of_the_history(run, acting, plain):
    seen = []
    run(acting(on_epoch_end=lambda ctx: seen.append(ctx.scores)))
    assert list(seen[0]) == [
        *["train.loss", "valid.loss", "train.regr.rmse", "train.regr.mae", *seen[0]][:4],
        "valid.regr.mae",
        "valid.regr.rmse",
        "lr",
    ]
    for i, outcome in enumerate(plain):
        for epoch in range(outcome.epochs):
            np.testing.assert_allclose([s[i] for s in seen[epoch].values()], outcome.history[epoch], atol=1e-6)


def test_epochs_done_and_in_all_are_counted_over_all_runs(run, acting):
    seen = []
    run(acting(on_epoch_end=lambda ctx: seen.append((ctx.done, ctx.total))), group=2)
    # Runs of 3 and 1 epochs together, then one of 2.
    assert seen == [(2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]


@pytest.mark.parametrize("stage", ["on_begin", "on_epoch_end", "on_batch_end"])
def test_compiling_and_running_make_up_the_time_that_passes(lab, run, recorder, stage):
    fresh = lab.program("mse", optimizer=SGD, neurons=(3 + len(stage),))
    start = time.perf_counter()
    outcomes = run(recorder(stage), program=fresh)
    passed = time.perf_counter() - start
    compiled, ran = (sum(getattr(o, f"{name}_seconds") for o in outcomes) for name in ("compile", "run"))
    assert compiled > 0 and ran > 0
    assert 0.7 * passed < compiled + ran < passed
    again = run(recorder(stage), program=fresh)
    assert sum(o.compile_seconds for o in again) == 0


def test_the_history_grows_with_each_chunk(run, acting, plain):
    tables, news = [], []

    def look(ctx):
        tables.append(ctx.history)
        news.append([(row["iteration"], row["epoch"]) for row in ctx.new_rows])

    run(acting(on_epoch_end=look))
    assert news == [[(0, 1), (1, 1), (2, 1)], [(0, 2), (2, 2)], [(0, 3)]]
    last = tables[-1].set_index(["iteration", "epoch"])
    for i, outcome in enumerate(plain):
        np.testing.assert_allclose(last.loc[i].to_numpy(), outcome.history, atol=1e-6)


def test_a_callback_that_forces_no_chunks_gets_the_same_rows(run, acting):
    rows, calls = [], []

    def take(ctx):
        rows.extend(ctx.new_rows)
        calls.append(ctx.epoch)

    quiet = acting(on_epoch_end=take)
    quiet.forces_chunks = False
    run(quiet, capacity=2)
    assert calls == [2, 3]
    assert [(r["iteration"], r["epoch"]) for r in rows] == [(0, 1), (0, 2), (1, 1), (2, 1), (2, 2), (0, 3)]


def test_a_callback_that_forces_no_chunks_sees_the_scores_of_the_last_epoch(run, acting, changing):
    seen, forced = [], []
    quiet = changing(True, on_epoch_end=lambda ctx: seen.append((ctx.epoch, ctx.scores)))
    run(quiet, capacity=2)
    run(acting(on_epoch_end=lambda ctx: forced.append((ctx.epoch, ctx.scores))))
    assert [epoch for epoch, _ in seen] == [2, 3]
    np.testing.assert_equal(seen[0][1], forced[1][1])
    assert np.isnan(forced[1][1]["train.loss"]).tolist() == [False, True, False]


def test_the_network_of_a_member_predicts_what_it_would(lab, run, acting):
    def look(ctx):
        if ctx.epoch == 2:
            for i in range(2):
                network, rows = ctx.network(i), lab.folds()[i].valid
                ours = np.asarray(network(lab.x[rows]))
                np.testing.assert_allclose(np.asarray(ctx.valid_output)[i, : len(rows)], ours, rtol=1e-5, atol=1e-6)
                seen.append(i)

    seen = []
    run(acting(on_epoch_end=look))
    assert seen == [0, 1]


def test_the_batch_and_its_outputs_are_there_at_the_batch_stages(lab, run, acting):
    seen = []

    def begin(ctx):
        if ctx.epoch == 1:
            seen.append((np.asarray(ctx.batch.weights).sum(axis=1).tolist(), ctx.output is None))

    def end(ctx):
        if ctx.epoch == 1:
            batch, output = ctx.batch, np.asarray(ctx.output)
            error = (output[..., 0] - np.asarray(batch.target)) ** 2 * np.asarray(batch.weights)
            real = np.asarray(batch.weights).sum(axis=1)
            loss = error.sum(axis=1)[real > 0] / real[real > 0]
            np.testing.assert_allclose(loss, ctx.loss[real > 0], rtol=1e-5)
            assert ctx.global_step.tolist()[0] == ctx.step

    run(acting(on_batch_begin=begin, on_batch_end=end))
    assert [weights for weights, _ in seen] == [[8, 8, 8]] * 2 + [[8, 8, 7], [8, 8, 0], [8, 0, 0], [1, 0, 0]]
