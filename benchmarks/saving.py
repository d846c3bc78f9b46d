"""Size and time of saving and loading networks for tables at their defaults, in one process."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import jdl
from benchmarks import measure
from jdl.io.directory import HEAD, read_head

LEARNERS = ("mlp", "realmlp", "tabm")
N_ROWS, N_COLUMNS = 2000, 20
SECONDS, EXTRA_BYTES = 1.0, 32 << 10


def task() -> Any:
    """Numbers, and classes that follow from two of them."""
    x = np.random.default_rng(0).normal(size=(N_ROWS, N_COLUMNS))
    return jdl.TaskClassif(x, np.where(x[:, 0] + x[:, 1] > 0, "yes", "no"))


def sizes(folder: Path) -> tuple[int, int]:
    """Bytes of all files of a saved model, and those that its arrays take."""
    head = read_head(folder)
    stored = (folder / HEAD).stat().st_size + sum(file["size"] for file in head["files"].values())
    entries = head["arrays"].values()
    return stored, sum(int(np.prod(e["shape"])) * np.dtype(e["dtype"]).itemsize for e in entries)


def main() -> None:
    """Measure."""
    args = measure.arguments(__doc__, repetitions=11)
    data: dict[str, dict[str, Any]] = {}
    for name in LEARNERS:
        fitted = jdl.lrn(f"classif.{name}", epochs=1).train(task())
        found: dict[str, Any] = {"save": [], "load": []}
        with tempfile.TemporaryDirectory() as folder:
            for turn in range(1 + args.repetitions):
                path = Path(folder) / str(turn)
                saving = measure.timed(lambda fitted=fitted, path=path: fitted.save(path))[0]
                loading = measure.timed(lambda path=path: jdl.load(path))[0]
                found["bytes"], found["array bytes"] = sizes(path)
                if turn:  # the first one imports Orbax
                    found["save"].append(saving)
                    found["load"].append(loading)
        data[name] = found
    rows, claims = [], []
    for name, found in data.items():
        seconds = {what: measure.summary(found[what]) for what in ("save", "load")}
        extra = found["bytes"] - found["array bytes"]
        rows.append((name, *(s.median for s in seconds.values()), found["bytes"], found["array bytes"], extra))
        claims += [measure.claim(f"{name}: seconds to {what}", s, SECONDS) for what, s in seconds.items()]
        claims.append(measure.claim(f"{name}: bytes beyond the arrays", measure.summary([extra]), EXTRA_BYTES))
    header = ("learner", "save s", "load s", "bytes", "bytes of arrays", "bytes beyond")
    measure.report("saving", measure.table(header, rows), claims, data, quick=args.quick)


if __name__ == "__main__":
    main()
