"""Small data, and whole populations of runs in one call."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from jdl.core.random import as_key
from jdl.data.table import Table
from jdl.measures import MEASURES
from jdl.networks.spec import MLPSpec
from jdl.train.member import MemberRows, draw
from jdl.train.optimizer import Optimizer, as_optimizer
from jdl.train.plan import Plan
from jdl.train.population import run_population
from jdl.train.program import Program, numeric_table
from jdl.train.program import program as make_program
from jdl.train.runs import RunOutcome, RunRequest

N_ROWS, N_FEATURES, BATCH = 64, 4, 8


@dataclass(frozen=True)
class Lab:
    """A table of `N_ROWS` rows with a class of two and a standardised value as targets, and what trains on it."""

    x: np.ndarray
    labels: np.ndarray
    values: np.ndarray
    default: Optimizer = field(default_factory=lambda: as_optimizer("adamw", "test"))

    @property
    def table(self) -> Table:
        return numeric_table(self.x)

    def target(self, program: Program) -> np.ndarray:
        return self.labels if program.is_classif else self.values

    def program(self, loss: str = "cross_entropy", *, optimizer: Any = None, measures: bool = False, **options: Any):
        """A program of one hidden layer with batches of `BATCH` rows."""
        spec = {name: options.pop(name) for name in ("neurons", "norm", "dropout", "activation") if name in options}
        if measures:
            names = ("classif.auc", "classif.logloss") if loss == "cross_entropy" else ("regr.rmse", "regr.mae")
            options["measures_train"] = tuple(MEASURES.make(name) for name in names)
            if options.get("validate"):
                options["measures_valid"] = tuple(MEASURES.make(name) for name in names[::-1])
        return make_program(
            MLPSpec(**{"neurons": (6,), **spec}),
            n_features=N_FEATURES,
            loss=loss,
            optimizer=optimizer or self.default,
            **{"batch_size": BATCH, "batch_size_predict": 16, **options},
        )

    def folds(self, n: int = 3, *, seed: int = 0, valid: bool = True) -> list[MemberRows]:
        """Rows of `n` members whose parts all differ in size."""
        folds = []
        for i in range(n):
            order = np.random.default_rng((seed, i)).permutation(N_ROWS).astype(np.int32)
            n_train, n_valid, n_test = 41 - 9 * i, (11 + i if valid else 0), 9 + 2 * i
            parts = np.split(order[: n_train + n_valid + n_test], [n_train, n_train + n_valid])
            folds.append(MemberRows(train=parts[0], valid=parts[1], test=parts[2]))
        return folds

    def hyper(self, optimizer: Optimizer | None = None, **more: Any) -> dict[str, Any]:
        """Dynamic hyperparameters: the optimizer's, and others."""
        return {f"opt.{name}": value for name, value in (optimizer or self.default).dynamic().items()} | more

    def run(
        self,
        program: Program,
        rows: Sequence[MemberRows],
        *,
        strategy: str = "map",
        n_devices: int = 1,
        capacity: int = 4,
        group: int | None = None,
        padding: tuple[int, int, int] | None = None,
        epochs: Any = 3,
        keys: Sequence[int] | None = None,
        hyper: Any = None,
        callbacks: Any = (),
        table: Table | None = None,
        target: np.ndarray | None = None,
        **options: Any,
    ) -> list[RunOutcome]:
        """One run per entry of `rows`; `epochs`, `hyper` and draw's options are for all runs, or a list of one each."""
        n = len(rows)
        requests = []
        padded = pad(program, rows, padding or (0, 0, 0))
        for i in range(n):
            own = {name: each(value, i) for name, value in options.items()}
            key = as_key(i if keys is None else keys[i])
            make = partial(
                draw,
                program,
                key,
                self.target(program) if target is None else target,
                rows=padded[i],
                epochs=each(epochs, i),
                hyper=each(hyper, i) or self.hyper(),
                n_orders=0,
                **own,
            )
            requests.append(RunRequest(make=make, key=key, rows=padded[i], epochs=each(epochs, i)))
        devices = tuple(jax.devices()[:n_devices])
        size = group or (1 if strategy == "loop" else -(-n // n_devices) * n_devices)
        plan = Plan(strategy, devices, size, n)  # pyright: ignore[reportArgumentType]
        table = self.table if table is None else table
        return run_population(program, table, requests, plan, capacity, callbacks=callbacks)


def each(value: Any, i: int) -> Any:
    return value[i] if isinstance(value, list) else value


def pad(program: Program, rows: Sequence[MemberRows], more: tuple[int, int, int]) -> list[MemberRows]:
    """The rows with common sizes, and so many whole batches more for training, validation and prediction."""
    batch, predict = program.batch_size, program.batch_size_predict

    def size(longest: int, unit: int, extra: int) -> int:
        return (-(-longest // unit) + extra) * unit if longest else 0

    sizes = {
        "n_train": size(max(len(r.train) for r in rows), batch, more[0]),
        "n_valid": size(max(len(r.valid) for r in rows), predict, more[1]),
        "n_test": size(max(len(r.test) for r in rows), predict, more[2]),
    }
    return [replace(r, **sizes) for r in rows]


@pytest.fixture(scope="session")
def lab() -> Lab:
    random = np.random.default_rng(7)
    x = random.normal(size=(N_ROWS, N_FEATURES)).astype(np.float32)
    signal = x[:, 0] * x[:, 1] + x[:, 2]
    return Lab(
        x=x,
        labels=(signal + random.normal(0, 0.7, N_ROWS) > 0).astype(np.int32),
        values=(signal + random.normal(0, 0.3, N_ROWS)).astype(np.float32),
    )


def numbers(outcome: RunOutcome) -> dict[str, Any]:
    """All that training has made of a run, without its timings."""
    return {
        "params": jax.tree.map(np.asarray, outcome.params),
        "rest": jax.tree.map(np.asarray, outcome.rest),
        "history": outcome.history,
        "outputs": outcome.outputs,
        "status": int(outcome.status),
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "hyper": jax.tree.map(np.asarray, outcome.hyper),
    }


@pytest.fixture(scope="session")
def assert_same():
    """Bit for bit, outcome by outcome; on request the columns of measures in the history up to rounding only."""

    def check(left: Sequence[RunOutcome], right: Sequence[RunOutcome], *, but_measures: int = 0) -> None:
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            ours, theirs = numbers(a), numbers(b)
            if but_measures:
                columns = slice(-1 - but_measures, -1)  # behind them is the learning rate
                scores = [numbers.pop("history") for numbers in (ours, theirs)]
                np.testing.assert_allclose(*[s[:, columns] for s in scores], rtol=1e-6)
                np.testing.assert_array_equal(*[np.delete(s, columns, axis=1) for s in scores])
            jax.tree.map(np.testing.assert_array_equal, ours, theirs)

    return check


@pytest.fixture(scope="session")
def assert_close():
    """Equal decisions, and numbers within a tolerance."""

    def check(left: Sequence[RunOutcome], right: Sequence[RunOutcome], atol: float) -> None:
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert (a.epochs, a.best_epoch, a.status) == (b.epochs, b.best_epoch, b.status)
            jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=atol, rtol=0), numbers(a), numbers(b))

    return check
