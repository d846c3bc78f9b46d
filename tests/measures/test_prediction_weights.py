"""Every measure scores a prediction with the weights that it carries."""

from dataclasses import replace

import numpy as np
import pytest

from jdl.data.prediction import PredictionClassif, PredictionRegr
from jdl.measures.catalogue import MEASURES

RNG = np.random.default_rng(0)
COUNTS = RNG.integers(0, 4, 40)
PROB = RNG.uniform(0.05, 0.95, 40)
CLASSIF = PredictionClassif(
    rows=np.arange(40),
    truth=np.where(RNG.uniform(size=40) < PROB, "p", "n"),
    prob=np.stack([1 - PROB, PROB], axis=1),
    class_names=("n", "p"),
)
REGR = PredictionRegr(rows=np.arange(40), truth=RNG.uniform(1, 2, 40), response=RNG.uniform(1, 2, 40))


@pytest.mark.parametrize("name", MEASURES)
def test_a_whole_weight_counts_as_copies_of_a_row(name):
    measure = MEASURES.make(name)
    plain = CLASSIF if measure.task_type == "classif" else REGR
    kept = np.repeat(np.arange(40), COUNTS)
    names = [n for n in ("rows", "truth", "response", "prob") if getattr(plain, n, None) is not None]
    copied = replace(plain, **{n: getattr(plain, n)[kept] for n in names})
    weighted = replace(plain, weights=COUNTS)
    assert weighted.score(measure) == pytest.approx(copied.score(measure), rel=1e-9)
