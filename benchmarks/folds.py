"""Time of ten folds over the time of one fit, same process, everything compiled.

The one fit has one core to itself (on a GPU: the GPU). The peer is jdl itself, which trains fold after fold
with `strategy="loop"`. Every figure is the time a user waits, host work and predictions included.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import measure

FOLDS = 10


@dataclass(frozen=True)
class Setting:
    """Size of the data, and of the training."""

    name: str
    n_rows: int
    n_features: int
    neurons: tuple[int, ...]
    epochs: int
    batch_size: int


SETTINGS = [
    Setting("small", n_rows=569, n_features=30, neurons=(100, 100), epochs=50, batch_size=32),
    Setting("wide", n_rows=5000, n_features=100, neurons=(400, 400), epochs=10, batch_size=64),
]


def experiment(setting: Setting) -> Any:
    """Task and learner of a setting."""
    import pandas as pd

    import jdl

    rng = np.random.default_rng(0)
    x = rng.standard_normal((setting.n_rows, setting.n_features), dtype=np.float32)
    y = np.where(x[:, 0] * x[:, 1] + 0.5 * rng.standard_normal(setting.n_rows) > 0, "yes", "no")
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(setting.n_features)])
    learner = jdl.lrn(
        "classif.mlp",
        neurons=setting.neurons,
        dropout=0.0,
        epochs=setting.epochs,
        batch_size=setting.batch_size,
        optimizer=jdl.opt("adamw"),
    )
    return jdl.TaskClassif(frame.assign(y=y), "y"), jdl.po("scale") >> learner


def one_setting(index: int, repetitions: int) -> dict[str, Any]:
    """Seconds of each way, a list over turns."""
    import jax

    import jdl

    task, learner = experiment(SETTINGS[index])
    gpu = jax.default_backend() == "gpu"
    n_train = task.n_rows - task.n_rows // FOLDS

    def one_fit() -> Any:
        return learner.train(task, rows=np.arange(n_train), key=0)

    def ten_folds(strategy: str) -> Any:
        return jdl.resample(task, learner, jdl.rsmp("cv", folds=FOLDS), key=0, strategy=strategy)

    def pinned_fit() -> Any:
        if gpu:
            return measure.timed(one_fit)
        with measure.pinned(measure.cores()[-1]):
            return measure.timed(one_fit)

    ways = {
        "one fit": pinned_fit,
        "ten folds": lambda: measure.timed(lambda: ten_folds("auto")),
        "ten folds, loop": lambda: measure.timed(lambda: ten_folds("loop")),
    }
    for way in ways.values():  # compiles
        way()
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    running: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repetitions):
        for way, measured in ways.items():
            wall, result = measured()
            seconds[way].append(wall)
            running[way].append(measure.run_seconds(result, wall))
    backend = {"backend": jax.default_backend(), "devices": jax.device_count()}
    return {
        "setting": SETTINGS[index].name,
        **backend,
        "cores": len(measure.cores()),
        "seconds": seconds,
        "run": running,
    }


def reach(found: dict[str, Any]) -> float:
    """Ten folds over one fit, at most: on CPU cores 15 % above an even share, on a GPU half above one fit."""
    return 1.5 if found["backend"] == "gpu" else 1.15 * FOLDS / found["cores"]


def row(found: dict[str, Any]) -> tuple[object, ...]:
    """A line of the printed table."""
    seconds = found["seconds"]
    medians = [measure.summary(values).median for values in seconds.values()]
    to_loop = measure.ratios(seconds["ten folds"], seconds["ten folds, loop"]).median
    return found["setting"], found["backend"], found["devices"], *medians, to_loop


def main() -> None:
    """Measure."""
    args = measure.arguments(__doc__, repetitions=7)
    if args.child:
        measure.reply(one_setting(int(args.child[0]), int(args.child[1])))
        return
    indices = range(1 if args.quick else len(SETTINGS))
    all_found = [measure.fresh("benchmarks.folds", "--child", str(i), str(args.repetitions)) for i in indices]
    header = ("setting", "backend", "devices", "one fit s", "ten folds s", "loop s", "ten folds / loop")
    claims = [
        measure.claim(
            f"{found['setting']}: ten folds / one fit",
            measure.ratios(found["seconds"]["ten folds"], found["seconds"]["one fit"]),
            reach(found),
        )
        for found in all_found
    ]
    text = measure.table(header, map(row, all_found))
    measure.report("folds", text, claims, all_found, quick=args.quick)


if __name__ == "__main__":
    main()
