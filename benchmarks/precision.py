"""What computing in bfloat16 gains in time and costs in scores, beside float32.

Time: a wide network, large batches, one fit, compilation not counted. Scores: five folds of the digits. Whether
bfloat16 is faster depends on the hardware: GPUs and TPUs have units for it, most CPUs convert it to float32.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import measure

PRECISIONS = ("float32", "mixed", "bfloat16")
N_ROWS, N_FEATURES, BATCH, EPOCHS, WIDTH, LAYERS = 20_000, 100, 1024, 5, 1024, 4
QUICK_ROWS = 4_000
FOLDS = 5


def wide_fit(n_rows: int, precision: str) -> Callable[[], float]:
    """Trains once and returns seconds of running, without compiling."""
    import pandas as pd

    import jdl

    rng = np.random.default_rng(0)
    x = rng.standard_normal((n_rows, N_FEATURES), dtype=np.float32)
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(N_FEATURES)])
    task = jdl.TaskRegr(frame.assign(y=x[:, 0] * x[:, 1] + x[:, 2]), "y")
    learner = jdl.lrn(
        "regr.mlp", neurons=(WIDTH,) * LAYERS, dropout=0.0, epochs=EPOCHS, batch_size=BATCH, precision=precision
    )

    def train() -> float:
        wall, fitted = measure.timed(lambda: learner.train(task, key=0))
        return measure.run_seconds(fitted, wall)

    train()
    return train


def digits_scores(precision: str) -> dict[str, list[float]]:
    """Accuracy and log loss of each fold."""
    import jdl

    learner = jdl.po("scale") >> jdl.lrn("classif.mlp", epochs=30, predict_type="prob", precision=precision)
    result = jdl.resample("digits", learner, jdl.rsmp("cv", folds=FOLDS), key=0)
    scores = result.score(["classif.acc", "classif.logloss"])
    return {measure: scores[measure].tolist() for measure in ("classif.acc", "classif.logloss")}


def all_precisions(n_rows: int, repetitions: int) -> dict[str, Any]:
    """Seconds of each precision, a list over turns, and its scores by fold."""
    import jax

    fits = {precision: wide_fit(n_rows, precision) for precision in PRECISIONS}
    seconds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for _ in range(repetitions):
        for precision, fit in fits.items():
            seconds[precision].append(fit())
    device = jax.devices()[0]
    return {
        "backend": jax.default_backend(),
        "device": device.device_kind,
        "rows": n_rows,
        "seconds": seconds,
        "scores": {precision: digits_scores(precision) for precision in PRECISIONS},
    }


def row(found: dict[str, Any], precision: str) -> tuple[object, ...]:
    """A line of the printed table; score differences are to float32, fold by fold, with their standard errors."""
    seconds = found["seconds"]
    median = measure.summary(seconds[precision]).median
    ratio = measure.ratios(seconds[precision], seconds["float32"]).median
    scores, of_float32 = found["scores"][precision], found["scores"]["float32"]
    return precision, median, ratio, *map(partial(_difference, scores, of_float32), scores)


def _difference(scores: dict[str, list[float]], peer: dict[str, list[float]], name: str) -> str:
    by_fold = np.asarray(scores[name]) - np.asarray(peer[name])
    return f"{by_fold.mean():+.4f} ± {by_fold.std(ddof=1) / np.sqrt(FOLDS):.4f}"


def main() -> None:
    """Measure."""
    args = measure.arguments(__doc__, repetitions=5)
    if args.child:
        measure.reply(all_precisions(*map(int, args.child)))
        return
    n_rows = QUICK_ROWS if args.quick else N_ROWS
    found = measure.fresh("benchmarks.precision", "--child", str(n_rows), str(args.repetitions))
    header = ("precision", "one fit s", "/ float32", "acc - float32", "log loss - float32")
    text = f"on {found['device']}\n\n" + measure.table(header, [row(found, precision) for precision in PRECISIONS])
    measure.report("precision", text, [], found, quick=args.quick)


if __name__ == "__main__":
    main()
