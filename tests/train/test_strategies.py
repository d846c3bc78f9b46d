"""One result: a population is trained to the same numbers whatever strategy, chunks, groups and devices ran it."""

from dataclasses import replace

import numpy as np
import pytest

from jdl.train.loss import probabilities
from jdl.train.optimizer import adamw, sgd
from jdl.train.state import Status

pytestmark = pytest.mark.bits

SGD = sgd(lr=0.3, momentum=0.5)
# Members that train not at all, once, a chunk, more than one chunk; some stop in between.
EPOCHS = [4, 0, 1, 11, 11]


def options(lab, optimizer):
    return {
        "epochs": EPOCHS,
        "patience": [0, 2, 2, 2, 3],
        "hyper": [lab.hyper(optimizer, dropout=rate) for rate in (0.0, 0.5, 0.2, 0.1, 0.3)],
        "keys": [3, 3, 5, 6, 7],
        "capacity": 8,
    }


@pytest.fixture(scope="module")
def program(lab):
    return lab.program(
        norm="batch", dropout=True, validate=True, keep_best=True, measures=True, optimizer=SGD, full_steps=1
    )


@pytest.fixture(scope="module")
def run(lab, program):
    def run(**how):
        return lab.run(program, lab.folds(5), **{**options(lab, SGD), **how})

    return run


@pytest.fixture(scope="module")
def mapped(run):
    return run(strategy="map")


def test_members_end_at_different_epochs(mapped):
    """Or the other tests would compare less than they say."""
    assert [o.epochs for o in mapped[:3]] == [4, 0, 1]
    assert {o.status for o in mapped} == {Status.COMPLETE, Status.STOPPED_EARLY}
    assert len({o.epochs for o in mapped}) >= 4
    assert mapped[1].history.shape == (0, 7)
    assert all(np.isfinite(o.history).all() and len(o.history) == o.epochs for o in mapped)
    assert [len(o.outputs) for o in mapped] == [9, 11, 13, 15, 17]


@pytest.mark.parametrize(
    "how",
    [
        {"strategy": "loop"},
        {"strategy": "loop", "capacity": 3},
        {"strategy": "map", "capacity": 1},
        {"strategy": "map", "capacity": 2},
        {"strategy": "map", "group": 2},
        {"strategy": "map", "group": 7},
    ],
    ids=str,
)
def test_loop_map_chunks_and_groups_agree_to_the_last_bit(run, mapped, assert_same, how):
    assert_same(mapped, run(**how))


@pytest.mark.parametrize(
    "how",
    [
        {"strategy": "vmap"},
        {"strategy": "vmap", "capacity": 3, "group": 2},
        {"strategy": "vmap", "n_devices": 2},
        {"strategy": "vmap", "n_devices": 4},
        {"strategy": "map", "n_devices": 2},
        {"strategy": "map", "n_devices": 4, "group": 4},
    ],
    ids=str,
)
def test_vmap_and_sharded_agree_to_rounding(run, mapped, assert_close, how):
    assert_close(mapped, run(**how), 1e-5)


@pytest.mark.parametrize("how", [{"strategy": "vmap"}, {"strategy": "vmap", "n_devices": 4}], ids=str)
def test_predictions_of_adamw_agree(lab, how):
    """Adam moves weights whose gradient is rounding noise, so weights may differ where predictions do not."""
    program = lab.program(norm="layer", dropout=True, validate=True)
    given = options(lab, adamw(lr=0.01))
    mapped = lab.run(program, lab.folds(5), **given)
    other = lab.run(program, lab.folds(5), **given, **how)
    for a, b in zip(mapped, other, strict=True):
        assert (a.epochs, a.status, a.best_epoch) == (b.epochs, b.status, b.best_epoch)
        np.testing.assert_allclose(probabilities(a.outputs), probabilities(b.outputs), atol=1e-3)


@pytest.mark.parametrize("kind", [{"shuffle": False}, {"drop_last": True}], ids=str)
def test_chunks_agree_without_shuffling_and_without_the_last_batch(lab, assert_same, assert_close, kind):
    program = lab.program("mse", optimizer=SGD, measures=True, **kind)
    given = {"hyper": lab.hyper(SGD), "epochs": [5, 2, 3]}
    mapped = lab.run(program, lab.folds(), **given)
    assert_same(mapped, lab.run(program, lab.folds(), **given, strategy="loop", capacity=2))
    assert_close(mapped, lab.run(program, lab.folds(), **given, strategy="vmap"), 1e-5)


def test_a_member_is_the_same_in_any_company(lab, mapped, program, assert_same):
    given = options(lab, SGD)
    own = {name: value[3:4] if isinstance(value, list) else value for name, value in given.items()}
    alone = lab.run(program, lab.folds(5)[3:4], **own)
    # Alone it has less padding, and how the sum in a measure associates depends on that.
    assert_same(mapped[3:4], alone, but_measures=4)


def test_a_dropped_last_batch_leaves_its_rows_out(lab, assert_same):
    program = lab.program("mse", optimizer=SGD, shuffle=False, drop_last=True)
    rows = lab.folds(1)[0]
    given = {"hyper": lab.hyper(SGD), "strategy": "loop"}
    assert len(rows.train) == 41
    whole = lab.run(program, [rows], **given)
    assert_same(whole, lab.run(program, [replace(rows, train=rows.train[:40])], **given))
