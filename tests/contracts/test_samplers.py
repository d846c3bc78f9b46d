"""Every sampler: positions of its own rows, an equal number each epoch, and the same ones from the same generator."""

import numpy as np
import pytest

import jdl
from jdl.train.sampler import FunctionSampler, SamplerRows, Sampling
from jdl.train.samplers import SAMPLERS

N, BATCH = 50, 8
ARGUMENTS = {"weighted": {"weights": np.linspace(0, 1, 2 * N)}}
EVERY_ROW = ("shuffle", "sequential", "stratified", "grouped")
samplers = pytest.mark.parametrize("name", SAMPLERS)


def sampling(name: str, **arguments) -> Sampling:
    generator = np.random.default_rng(0)
    target = (generator.random(N) < 0.2).astype(int)
    groups = generator.integers(25, size=N)
    rows = SamplerRows(np.arange(N, 2 * N), target, BATCH, is_classif=True, groups=groups)
    return Sampling(SAMPLERS.make(name, **(ARGUMENTS.get(name, {}) | arguments)), rows)


def batches(made: Sampling, seed: int = 1) -> list[np.ndarray]:
    order = made.order(np.random.default_rng(seed))
    return [batch[batch >= 0] for batch in np.split(order, range(BATCH, len(order), BATCH))]


@samplers
def test_positions_are_a_function_of_the_generator(name):
    made = sampling(name)
    first, again, other = (made.order(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert len(first) == made.length
    np.testing.assert_array_equal(first, again)
    assert (first == other).all() == (not made.sampler.shuffles)


@samplers
def test_every_batch_holds_rows_of_the_run(name):
    for batch in batches(sampling(name)):
        assert 0 < len(batch) <= BATCH
        assert batch.min() >= 0 and batch.max() < N


@pytest.mark.parametrize("name", EVERY_ROW)
def test_every_row_comes_once(name):
    assert sorted(np.concatenate(batches(sampling(name)))) == list(range(N))


@pytest.mark.parametrize("name, strategy", [*((name, "map") for name in SAMPLERS), ("grouped", "vmap")])
def test_trains_folds_of_unequal_size(name, strategy):
    task = jdl.TaskClassif(frame(), target="y", group="g")
    arguments = {"weights": np.arange(len(task.group_codes))} if name == "weighted" else {}
    learner = jdl.lrn("classif.mlp", neurons=(4,), epochs=2, batch_size=8, sampler=jdl.sampler(name, **arguments))
    rr = jdl.resample(task, learner, jdl.rsmp("cv", folds=2), strategy=strategy)
    assert rr.aggregate("classif.acc") > 0


def frame() -> dict:
    generator = np.random.default_rng(3)
    x = generator.normal(size=(41, 2))
    return {"a": x[:, 0], "b": x[:, 1], "y": np.where(x[:, 0] > 0, "u", "v"), "g": np.arange(41) % 11}


def test_weighted_never_draws_rows_of_weight_zero():
    weights = np.zeros(2 * N)
    weights[[N + 3, N + 5]] = 1.0, 3.0
    order = np.concatenate(batches(sampling("weighted", weights=weights, n=4000)))
    assert set(order) == {3, 5}
    assert 0.7 < (order == 5).mean() < 0.8


def test_class_balanced_batches_hold_equal_numbers():
    made = sampling("class_balanced")
    counts = [made.rows.target[batch].sum() for batch in batches(made)]
    assert counts[:-1] == [BATCH // 2] * (len(counts) - 1)


def test_stratified_batches_hold_the_shares_of_all_rows():
    made = sampling("stratified")
    share = made.rows.target.mean()
    for batch in batches(made)[:-1]:
        assert abs(made.rows.target[batch].sum() - share * BATCH) <= 1


def test_a_group_stays_in_one_batch():
    made = sampling("grouped")
    homes: dict[int, set[int]] = {}
    for i, batch in enumerate(batches(made)):
        for group in made.rows.groups[batch]:
            homes.setdefault(int(group), set()).add(i)
    assert all(len(home) == 1 for home in homes.values())


def test_shuffle_and_sequential_are_what_no_sampler_does():
    task = jdl.TaskClassif(frame(), target="y")
    plain = jdl.lrn("classif.mlp", neurons=(4,), epochs=3, batch_size=8)
    for sampler, shuffle in (("shuffle", True), ("sequential", False)):
        ours = plain.set(sampler=sampler).train(task).history["train.loss"]
        theirs = plain.set(shuffle=shuffle).train(task).history["train.loss"]
        np.testing.assert_array_equal(ours, theirs)


def test_empty_places_are_invisible():
    """Groups of two in batches of three leave a place empty; batches of two do not, and see the same rows."""
    data = frame()
    data["g"] = np.arange(41) // 2
    data["a"][-1] = np.nan  # the last row is held out
    task = jdl.TaskClassif(data, target="y", group="g")
    learner = jdl.lrn("classif.mlp", neurons=(4,), epochs=3, sampler="grouped", norm="batch")
    histories = [learner.set(batch_size=size).train(task, rows=np.arange(40)).history for size in (2, 3)]
    np.testing.assert_allclose(histories[0]["train.loss"], histories[1]["train.loss"], rtol=1e-5)


def test_own_sampler_from_a_function():
    learner = jdl.lrn(
        "classif.mlp", neurons=(4,), epochs=2, sampler=lambda generator, rows: np.flatnonzero(rows.target)
    )
    assert isinstance(learner.get("sampler"), FunctionSampler)
    assert len(learner.train(jdl.TaskClassif(frame(), target="y")).history) == 2


@pytest.mark.parametrize(
    "given, message",
    [
        (lambda generator, rows: np.arange(0), "expected positions"),
        (lambda generator, rows: np.arange(rows.n) + 1, "positions count the 41 training rows"),
        (lambda generator, rows: np.arange(1 + generator.integers(rows.n)), "same number of positions"),
        (lambda generator, rows: np.full(rows.n, -1), "must hold a row"),
        (lambda generator, rows: np.arange(rows), "sampler: the function .* failed: TypeError"),
        ("grouped", "needs a task with groups"),
        (
            lambda rows: np.arange(rows.n),
            r"expected a function \(generator, rows\) -> positions, .*too many positional",
        ),
        (3, "must be a sampler, its name, or a function"),
        ("statified", "Did you mean 'stratified'"),
    ],
)
def test_what_is_no_sampler_is_refused(given, message):
    with pytest.raises(jdl.JdlError, match=message):
        jdl.lrn("classif.mlp", epochs=9, neurons=(4,), sampler=given).train(jdl.TaskClassif(frame(), target="y"))


@pytest.mark.parametrize(
    "values, message",
    [
        ({"weights": "abc"}, "must be a finite number >= 0 per row"),
        ({"replacement": "no"}, "'replacement' must be True or False, got 'no'"),
        ({"n": True}, "'n' must be an integer above 0 or None, got True"),
    ],
)
def test_values_of_a_weighted_sampler_are_checked(values, message):
    with pytest.raises(jdl.JdlError, match=message):
        jdl.sampler("weighted", **({"weights": np.ones(41)} | values))


def test_classes_are_needed_for_balance():
    task = jdl.TaskRegr({"x": np.arange(9.0), "y": np.arange(9.0)}, target="y")
    with pytest.raises(jdl.ConfigError, match="needs classes"):
        jdl.lrn("regr.mlp", epochs=1, sampler="class_balanced").train(task)


def test_sampler_and_shuffle_do_not_go_together():
    with pytest.raises(jdl.ConfigError, match="sampler='sequential'"):
        jdl.lrn("classif.mlp", sampler="stratified", shuffle=False)
