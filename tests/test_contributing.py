"""The skeletons of the contributor's guide run, and what they make does what the contracts ask."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jdl.data.table import Column, Table, TableSpec
from jdl.train.factors import Rates

GUIDE = Path(__file__).parent.parent / "CONTRIBUTING.md"


def made(name: str, kind: str = "class") -> Any:
    """What a skeleton of the guide defines under this name; of a function, the catalogue beside it."""
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    (block,) = [text for text in blocks if f"{kind} {name}(" in text]
    names: dict[str, Any] = {}
    exec(block, names)
    return names[name if kind == "class" else "KINDS"]


@pytest.mark.parametrize("xp", [np, jnp])
def test_stage_ignores_rows_without_weight(xp):
    spec = TableSpec(numeric=(Column("x", "float"),))
    table = Table(xp.asarray([[1.0], [3.0], [np.nan]]), xp.zeros((3, 0), int))
    stage = made("Center")()
    state = stage.fit(spec, table, xp.asarray([1.0, 1.0, 0.0]), None)
    assert stage.apply(spec, state, table, None, False).numeric[:2, 0].tolist() == [-1.0, 1.0]


def test_measure_weights_rows_alike_in_numpy_and_jax():
    truth, response, weights = np.array([0.0, 2.0, 9.0]), np.array([1.0, 2.0, np.nan]), np.array([1.0, 2.0, 0.0])
    expected = np.log(np.cosh(1.0)) / 3
    assert made("MeanLogCosh")().compute(truth, response, weights) == pytest.approx(expected)
    in_jax = made("MeanLogCosh")().compute(jnp.asarray(truth), jnp.asarray(response), jnp.asarray(weights))
    assert float(in_jax) == pytest.approx(expected, rel=1e-5)


def test_splitter_partitions_the_rows():
    pairs = made("EvenOdd")().pairs(SimpleNamespace(n_rows=5), None)
    assert [sorted([*train, *test]) for train, test in pairs] == [list(range(5))] * 2


def test_learner_has_its_own_fields_and_the_common_ones():
    learner = made("RegrLinear")(bias=False, epochs=3)
    assert not learner.network().bias
    assert learner.get("epochs") == 3


def test_learner_trains_although_its_initialisers_want_jax_keys():
    import jdl

    learner = jdl.po("scale") >> made("RegrLinear")(epochs=60, batch_size=16, optimizer=jdl.opt("adam", lr=0.03))
    task, folds = jdl.tsk("diabetes"), jdl.rsmp("cv", folds=3)
    result = jdl.resample(task, learner, folds)
    assert result.aggregate("regr.rsq") > 0.4
    looped = jdl.resample(task, learner, folds, strategy="loop")
    np.testing.assert_allclose(looped.prediction.response, result.prediction.response, rtol=1e-3)


def test_callbacks_act_at_the_stages_they_override():
    assert made("ClipNorm")().stages == ("on_after_backward",)
    assert made("PrintEpoch")().stages == ("on_epoch_end",)


def test_loss_gives_a_value_per_row():
    loss = made("Asymmetric")(factor=3.0)
    assert loss.per_row(jnp.array([[0.5], [3.0]]), jnp.array([1.5, 1.0])).tolist() == [3.0, 4.0]
    assert loss.structure.at({"loss.factor": 3.0}) == loss


def test_optimizer_follows_its_rates():
    kind = made("_sign", "def")["sign"]
    p = {"w": jnp.array([1.0, -2.0])}
    hyper = {name: field.default for name, field in kind.fields.items()}
    transformation = kind.build(hyper, frozenset(), Rates(hyper))
    updates, _ = transformation.update(p, transformation.init(p), p)
    np.testing.assert_allclose(updates["w"], [-1e-3, 1e-3], rtol=1e-6)
