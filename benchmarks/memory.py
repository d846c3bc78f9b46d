"""Growth of the peak resident memory of a ten-fold cross-validation, as a multiple of the data.

200,000 rows, 100 float32 features, scaling, MLP (100, 100), 2 epochs, batch size 512, in a fresh process.
Growth counts from what is resident after the imports, a warm-up on 1,000 rows, and with the frame in memory.
Linux only: it reads /proc.
"""

import ctypes
import gc
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure

N_ROWS, N_FEATURES, FOLDS, EPOCHS, BATCH = 200_000, 100, 10, 2, 512
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
REACH_ONE_DEVICE, REACH_PER_FURTHER_DEVICE = 4.0, 1.0


def resident(field: str) -> int:
    """Bytes of a field of /proc/self/status: VmRSS is resident now, VmHWM was at the peak."""
    for line in STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise SystemExit(f"{STATUS} has no {field}.")


def reset_peak() -> bool:
    """Free what can be freed, then let the peak start from here; False where the kernel does not allow it."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        CLEAR_REFS.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def frame(n_rows: int) -> Any:
    """Random features and a target, in float32 and without copies on the way."""
    import pandas as pd

    x = np.random.default_rng(0).standard_normal((n_rows, N_FEATURES + 1), dtype=np.float32)
    return pd.DataFrame(x, columns=[*(f"x{i}" for i in range(N_FEATURES)), "y"], copy=False)


def cross_validation(data: Any) -> Any:
    """The work: split, scale, train, predict and score."""
    import jdl

    learner = jdl.lrn("regr.mlp", neurons=(100, 100), dropout=0.0, epochs=EPOCHS, batch_size=BATCH)
    task = jdl.TaskRegr(data, "y")
    result = jdl.resample(task, jdl.po("scale") >> learner, jdl.rsmp("cv", folds=FOLDS), key=0)
    return result.aggregate(jdl.msr("regr.mse"))


def child(n_rows: int) -> dict[str, Any]:
    """Bytes before and at the peak of one fresh process."""
    cross_validation(frame(1000))
    data = frame(n_rows)
    peak_was_reset = reset_peak()
    before = resident("VmRSS")
    seconds, mse = measure.timed(lambda: cross_validation(data))
    import jax

    return {
        "data": n_rows * N_FEATURES * 4,
        "before": before,
        "peak": resident("VmHWM"),
        "peak_was_reset": peak_was_reset,
        "devices": jax.device_count(),
        "seconds": seconds,
        "mse": mse,
    }


def main() -> None:
    """Measure."""
    args = measure.arguments(__doc__, repetitions=5)
    if args.child:
        measure.reply(child(int(args.child[0])))
        return
    n_rows = N_ROWS // 4 if args.quick else N_ROWS
    found = [measure.fresh("benchmarks.memory", "--child", str(n_rows)) for _ in range(args.repetitions)]
    growth = measure.summary((f["peak"] - f["before"]) / f["data"] for f in found)
    reach = REACH_ONE_DEVICE + REACH_PER_FURTHER_DEVICE * (found[0]["devices"] - 1)
    rows = [
        (f["devices"], *(f[k] / 2**20 for k in ("data", "before", "peak")), f["seconds"], f["peak_was_reset"])
        for f in found
    ]
    text = measure.table(("devices", "data MiB", "before MiB", "peak MiB", "seconds", "peak reset"), rows)
    claims = [measure.claim("growth of the peak / data", growth, reach)]
    measure.report("memory", text, claims, found, quick=args.quick)


if __name__ == "__main__":
    main()
