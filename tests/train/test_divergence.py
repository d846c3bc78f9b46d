"""A run whose loss turns NaN or infinite ends as diverged, by itself."""

import numpy as np
import pytest

from jdl.train.optimizer import sgd
from jdl.train.state import Status

RATES = (0.01, 1e6, 0.02)


@pytest.fixture(scope="module")
def program(lab):
    return lab.program("mse", optimizer=sgd(lr=0.1), validate=True, keep_best=True)


@pytest.mark.parametrize("strategy", ["map", "vmap", "loop"])
def test_one_member_diverges_and_the_others_do_not_notice(lab, program, strategy, assert_close):
    given = {"strategy": strategy, "epochs": 9, "patience": 9}
    sane, diverged, other = lab.run(program, lab.folds(), hyper=[lab.hyper(sgd(lr=lr)) for lr in RATES], **given)
    assert diverged.status == Status.DIVERGED
    assert diverged.epochs < 9
    assert not np.isfinite(diverged.history[-1, 0])
    for outcome in (sane, other):
        assert outcome.status == Status.COMPLETE
        assert np.isfinite(outcome.history).all()
        assert np.isfinite(outcome.outputs).all()
    without = lab.run(program, lab.folds(), hyper=[lab.hyper(sgd(lr=lr)) for lr in (0.01, 0.01, 0.02)], **given)
    assert_close([sane, other], [without[0], without[2]], 1e-6)


def test_infinite_target_diverges_in_the_first_epoch(lab, program):
    target = lab.values.copy()
    rows = lab.folds(2)
    only_first = np.setdiff1d(rows[0].train, np.concatenate([rows[1].train, rows[1].valid]))
    target[only_first[0]] = np.inf
    first, second = lab.run(program, rows, hyper=lab.hyper(sgd(lr=0.01)), target=target)
    assert (first.status, first.epochs) == (Status.DIVERGED, 1)
    assert second.status == Status.COMPLETE
