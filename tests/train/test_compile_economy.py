"""Little is compiled, and seldom: what changes only numbers changes no program."""

from typing import Any

import jax
import numpy as np
import pytest

import jdl

LOWER = "/jax/core/compile/jaxpr_to_mlir_module_duration"
COMPILE = "/jax/core/compile/backend_compile_duration"


@pytest.fixture
def compiled(events):
    """A list that grows by one for everything that XLA compiles."""
    return events[COMPILE]


@pytest.fixture
def events():
    """Seconds of all that is lowered, and of all that is compiled."""
    events: dict[str, list[float]] = {LOWER: [], COMPILE: []}

    def listen(event: str, duration_secs: float, **kwargs: str | int):
        if event in events:
            events[event].append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(scope="module")
def task():
    random = np.random.default_rng(0)
    x = random.normal(size=(103, 3))
    y = x[:, 0] + random.normal(0, 0.5, 103) > 0
    return jdl.TaskClassif({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2]}, target=y, id="small")


@pytest.fixture(scope="module")
def learner():
    mlp = jdl.lrn(
        "classif.mlp",
        neurons=(4,),
        dropout=0.1,
        epochs=3,
        batch_size=16,
        optimizer=jdl.opt("adamw", lr=1e-3),
        validate=0.2,
        patience=2,
        predict_type="prob",
    )
    return jdl.po("scale") >> mlp


def resample(task, learner, **options) -> Any:
    return jdl.resample(task, learner, jdl.rsmp("cv", folds=10), **{"key": 0, **options})


@pytest.mark.parametrize("strategy", ["map", "vmap", "loop"])
def test_ten_folds_of_unequal_size_compile_once(task, learner, compiled, strategy):
    # Programs that no other test has compiled.
    learner = learner.set(neurons=(5,), batch_size={"map": 16, "vmap": 15, "loop": 14}[strategy])
    result = resample(task, learner, strategy=strategy)
    assert len({len(train) for train, _ in result.splits}) > 1
    assert len(compiled) == 1
    assert result.compile_seconds > 0


@pytest.mark.parametrize("strategy", ["map", "vmap", "loop"])
def test_a_second_chunk_is_the_same_function(lab, events, strategy):
    """What a chunk returns lies on the devices as what it takes, also where there is one device only."""
    rows = lab.folds(2)
    outcomes = lab.run(lab.program(neurons=(3,)), rows, strategy=strategy, epochs=5, capacity=2)
    assert [o.epochs for o in outcomes] == [5, 5]
    assert {name: len(each) for name, each in events.items()} == {LOWER: 1, COMPILE: 1}


CHANGES = {
    "learning rate": {"opt.lr": 0.02},
    "weight decay": {"opt.weight_decay": 0.5},
    "momentum terms": {"opt.betas": (0.8, 0.99)},
    "dropout": {"dropout": 0.4},
    "fewer epochs": {"epochs": 1},
    "no epoch": {"epochs": 0},
    "more epochs": {"epochs": 7},
    "patience": {"patience": 5},
    "no patience": {"patience": 0},
    "least improvement": {"min_delta": 0.01},
}


@pytest.fixture(scope="module")
def first(task, learner):
    return resample(task, learner)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_number_compiles_nothing(task, learner, first, compiled, change):
    result = resample(task, learner.set(change))
    assert compiled == []
    assert result.compile_seconds == 0
    changed = not np.array_equal(result.prediction.prob, first.prediction.prob)
    # Patience and improvement matter only to runs that would stop.
    assert changed or set(change) <= {"patience", "min_delta"}


def test_another_key_compiles_nothing(task, learner, first, compiled):
    result = resample(task, learner, key=1)
    assert compiled == []
    assert not np.array_equal(result.prediction.prob, first.prediction.prob)


def programs(compiled, run, keys=range(6)):
    """How often something was compiled, by key."""
    counts = []
    for key in keys:
        del compiled[:]
        run(key)
        counts.append(len(compiled))
    return counts


def test_test_sets_whose_sizes_chance_decides_seldom_compile_anew(task, learner, compiled):
    learner = learner.set(neurons=(6,), validate=None, patience=None)
    sizes = set()

    def run(key):
        rr = jdl.resample(task, learner, jdl.rsmp("bootstrap", repeats=4), key=key)
        sizes.add(max(len(test) for _, test in rr.splits))

    assert sum(programs(compiled, run)) <= 2
    assert len(sizes) > 2


@pytest.mark.parametrize("strategy", ["map", "vmap"])
def test_training_sets_whose_sizes_chance_decides_seldom_compile_anew(task, learner, compiled, strategy):
    learner = learner.set(neurons=(6,), batch_size=2, epochs=1)
    sizes = set()

    def run(key):
        random = np.random.default_rng(key)
        sets = [np.split(random.permutation(103), [n]) for n in random.integers(66, 80, 3)]
        splits = jdl.rsmp("custom", train_sets=[s[0] for s in sets], test_sets=[s[1] for s in sets])
        jdl.resample(task, learner, splits, key=key, strategy=strategy)
        sizes.add((min(len(s[0]) for s in sets), max(len(s[0]) for s in sets)))

    assert sum(programs(compiled, run)) <= 3
    assert len(sizes) > 3


def test_where_missing_values_lie_compiles_nothing(task, learner, compiled):
    """A rare one is in the training rows of some keys and not of others."""
    learner = jdl.po("imputemedian") >> learner.set(neurons=(6,))

    def run(row):
        frame = task.to_pandas()
        frame.loc[row, "abc"[row]] = np.nan
        data = jdl.TaskClassif(frame, target=task.target)
        jdl.resample(data, learner, jdl.rsmp("custom", train_sets=[range(1, 81)], test_sets=[range(81, 103)]))

    assert programs(compiled, run, keys=range(3)) == [1, 0, 0]


def test_stages_that_choose_by_missing_values_do_compile_anew(task, learner, compiled):
    learner = jdl.po("imputemedian", columns=jdl.selectors.missing()) >> learner.set(neurons=(6,))
    for column in "ab":
        frame = task.to_pandas()
        frame.loc[3, column] = np.nan
        fitted = learner.train(jdl.TaskClassif(frame, target=task.target))
        assert fitted.program.stages[0].out_spec(fitted.program.spec).columns != fitted.program.spec.columns
        assert [c.name for c in fitted.program.spec.columns if c.missing] == [column]
    assert len(compiled) == 2


def test_other_rows_of_the_same_number_compile_nothing(task, learner, first, compiled):
    frame = task.to_pandas()
    frame[["a", "b", "c"]] += np.random.default_rng(1).normal(size=(103, 3))
    other = jdl.TaskClassif(frame, target=task.target, id="other")
    result = resample(other, learner)
    assert compiled == []
    assert not np.array_equal(result.prediction.prob, first.prediction.prob)


def test_an_equal_learner_made_anew_compiles_nothing(task, learner, first, compiled):
    again = jdl.po("scale") >> jdl.lrn("classif.mlp", **dict(learner.values), predict_type="prob")
    result = resample(task, again)
    assert compiled == []
    np.testing.assert_array_equal(result.prediction.prob, first.prediction.prob)


def test_host_callbacks_compile_their_pieces_once(task, learner, compiled):
    class EveryStep(jdl.HostCallback):
        id = "every_step"

        def on_batch_end(self, ctx):
            del ctx

    learner = learner.set(callbacks=EveryStep())
    resample(task, learner)
    n_first = len(compiled)
    resample(task, learner.set({"opt.lr": 0.02, "epochs": 4}), key=1)
    assert n_first > 0
    assert len(compiled) == n_first


def test_predicting_again_compiles_nothing(task, first, compiled):
    fitted = first.fitted[0]
    fitted.predict(task)
    del compiled[:]
    first.fitted[1].predict(task, rows=np.arange(100))
    assert compiled == []
