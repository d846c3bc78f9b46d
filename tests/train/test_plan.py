"""How a population is planned: strategy by device and memory, groups that fit, and what it says of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import jdl
from jdl.learners import population
from jdl.train.plan import make_plan


@dataclass(frozen=True)
class Device:
    """Enough of a device to plan for."""

    platform: str
    bytes: int = 0

    def memory_stats(self) -> dict[str, int]:
        return {"bytes_limit": self.bytes}


def plan(platform: str, n_devices: int = 1, **options) -> Any:
    sizes = {"n_members": 12, "member_bytes": 2**20, "data_bytes": 2**20, "memory_budget": 8 * 2**20}
    return make_plan("auto", devices=[Device(platform)] * n_devices, **{**sizes, **options})


def test_accelerators_run_side_by_side_what_fits():
    assert (plan("gpu").strategy, plan("gpu").group) == ("vmap", 6)
    crowded = plan("gpu", working_bytes=3 * 2**20)
    assert (crowded.strategy, crowded.group) == ("vmap", 2)
    assert "4 MiB a run, budget 8 MiB a device" in crowded.reason


def test_accelerators_run_one_after_another_what_does_not_fit_side_by_side():
    alone = plan("gpu", working_bytes=5 * 2**20)
    assert (alone.strategy, alone.group) == ("map", 3)
    assert "but one run fits into memory" in alone.reason
    # One member per device is all that there is: nothing is side by side anyway.
    assert plan("gpu", n_members=4, n_devices=4, working_bytes=5 * 2**20).strategy == "vmap"


@pytest.mark.parametrize("working_bytes", [0, 5 * 2**20, 2**40])
def test_cores_run_one_after_another(working_bytes):
    assert plan("cpu", working_bytes=working_bytes).strategy == "map"
    assert plan("cpu", n_devices=2, working_bytes=working_bytes).group % 2 == 0


def test_the_size_of_the_network_is_said():
    assert str(plan("cpu", n_parameters=47105)).startswith(
        "12 runs by map on 1 cpu device, in 2 groups of 6 (47,105 para"
    )


@pytest.fixture
def asked(monkeypatch) -> list[dict[str, Any]]:
    """What plans are made from."""
    seen = []

    def note(strategy, **options):
        seen.append(options)
        return make_plan(strategy, **options)

    monkeypatch.setattr(population, "make_plan", note)
    return seen


def test_working_memory_counts_copied_rows_and_activations(asked, monkeypatch):
    task = jdl.TaskRegr(np.random.default_rng(0).normal(size=(50, 5)), np.arange(50.0))
    learner = jdl.lrn("regr.mlp", neurons=(7, 3), epochs=1, batch_size=8, batch_size_predict=16)
    folds = jdl.rsmp("cv", folds=2)
    jdl.resample(task, learner, folds)
    jdl.resample(task, jdl.po("scale") >> learner, folds)
    monkeypatch.setattr(population, "MATERIALISE_BYTES", 0)
    jdl.resample(task, jdl.po("scale") >> learner, folds)
    plain, copied, in_the_step = (options["working_bytes"] for options in asked)
    # 16 rows in flight, of 5 columns and, twice for weight and bias, 7 + 3 + 1 numbers of the layers.
    assert plain == in_the_step == 4 * 16 * (5 + 2 * 11)
    assert copied == plain + 4 * 50 * 5
    assert asked[0]["n_parameters"] == 5 * 7 + 7 + 7 * 3 + 3 + 3 + 1
