"""Default networks against scikit-learn's on real tables: ten folds, equal folds, equal preprocessing.

Impute, encode, scale and `jdl.lrn("classif.mlp")` or `"regr.mlp"` with no argument, against scikit-learn's
`MLPClassifier`/`MLPRegressor(max_iter=1000)` behind an equal pipeline. Accuracy, or root mean squared error with its
sign turned, so that more is better. Reach: the mean paired difference over folds is no worse than minus one standard
error of the differences. Tables of at most 1,000 rows are split with ten keys: 100 folds. The peer's scores depend on
nothing of jdl but the folds, and take up to an hour: they are kept in a file and computed where they are missing.

Run: python -m benchmarks.defaults --data FOLDER [--only sonar mpg]
"""

import argparse
import json
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import jdl
from benchmarks import measure

TARGETS = {
    "sonar": "Class",
    "german_credit": "credit_risk",
    "penguins": "species",
    "titanic": "survived",
    "mpg": "mpg",
    "diamonds": "price",
}
REGRESSION = ("mpg", "diamonds")
DROPPED = {"titanic": ["alive"]}  # another spelling of the target
FOLDS = 10
PEERS = measure.RESULTS / "defaults_peers.json"


def load(folder: Path, name: str) -> Any:
    """The task of a CSV file."""
    frame = pd.read_csv(folder / f"{name}.csv").drop(columns=DROPPED.get(name, []))
    make = jdl.TaskRegr if name in REGRESSION else jdl.TaskClassif
    return make(frame, target=TARGETS[name], id=name)


def keys_of(task: Any) -> tuple[int, ...]:
    """Keys that split the task: ten for small tables."""
    return tuple(range(10)) if task.n_rows <= 1000 else (0,)


def our_scores(task: Any, key: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Score of jdl's default network on each fold, and how it was run."""
    stages = [jdl.po(name) for name in ("imputemedian", "imputemode", "encode", "scale")]
    learner = stages[0] >> stages[1] >> stages[2] >> stages[3] >> jdl.lrn(f"{task.task_type}.mlp")
    result = jdl.resample(task, learner, jdl.rsmp("cv", folds=FOLDS), key=key)
    name, sign = ("regr.rmse", -1.0) if task.task_type == "regr" else ("classif.acc", 1.0)
    seconds = {"seconds": result.seconds, "compiling": result.compile_seconds}
    return sign * result.score(name)[name].to_numpy(), seconds


def peer_score(task: Any, key: int, fold: int) -> float:
    """Score of scikit-learn's network on one fold."""
    from sklearn.exceptions import ConvergenceWarning

    frame, truth = task.to_pandas()[task.feature_names].copy(), task.truth()
    for column in frame:
        if task.feature_types[column] in ("category", "ordered"):
            frame[column] = frame[column].astype(object).where(frame[column].notna(), np.nan)
    train, test = jdl.rsmp("cv", folds=FOLDS).split(task, key=key)[fold]
    model = peer_pipeline(task, seed=fold)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        response = model.fit(frame.iloc[train], truth[train]).predict(frame.iloc[test])
    if task.task_type == "regr":
        return -float(np.sqrt(np.mean((response - truth[test]) ** 2)))
    return float(np.mean(response == truth[test]))


def peer_pipeline(task: Any, seed: int) -> Any:
    """Impute, encode, scale, network."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    coded = [name for name, kind in task.feature_types.items() if kind in ("category", "ordered")]
    numeric = [name for name in task.feature_names if name not in coded]
    encode = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    )
    columns = make_column_transformer((SimpleImputer(strategy="median"), numeric), (encode, coded))
    network = MLPRegressor if task.task_type == "regr" else MLPClassifier
    return make_pipeline(columns, StandardScaler(), network(max_iter=1000, random_state=seed))


def kept_peer_scores(task: Any, key: int) -> list[float]:
    """The peer's scores, from the file where they are; written after each fold, which may take minutes."""
    splits = jdl.rsmp("cv", folds=FOLDS).split(task, key=key)
    folds = zlib.crc32(b"".join(test.tobytes() for _, test in splits))
    name = f"{task.id}, key {key}, folds {folds:08x}"
    scores = list(_kept().get(name, {"scores": []})["scores"])
    for fold in range(len(scores), FOLDS):
        scores.append(peer_score(task, key, fold))
        machine = measure.machine()
        entry = {"scores": scores, "sklearn": machine["packages"]["scikit-learn"], "date": machine["date"]}
        PEERS.write_text(json.dumps(_kept() | {name: entry}, indent=1), encoding="utf-8")
    return scores


def _kept() -> dict[str, Any]:
    return json.loads(PEERS.read_text(encoding="utf-8")) if PEERS.exists() else {}


def compare(task: Any) -> dict[str, Any]:
    """Both contenders' scores on all folds of all keys."""
    ours, theirs, seconds = [], [], []
    for key in keys_of(task):
        scores, took = our_scores(task, key)
        ours += list(scores)
        theirs += kept_peer_scores(task, key)
        seconds.append(took)
    difference = np.array(ours) - np.array(theirs)
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    return {
        "task": task.id,
        "folds": len(ours),
        "jdl": float(np.mean(ours)),
        "sklearn": float(np.mean(theirs)),
        "difference": float(difference.mean()),
        "standard error": error,
        "holds": bool(difference.mean() >= -error),
        "seconds": seconds,
        "scores": {"jdl": ours, "sklearn": theirs},
    }


def main() -> None:
    """Compare on each table and write what came."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the CSV files")
    parser.add_argument("--only", nargs="+", default=list(TARGETS), choices=TARGETS)
    args = parser.parse_args()
    found = []
    print(f"{'task':<15}{'folds':>6}{'jdl':>12}{'sklearn':>12}{'difference':>12}{'std. error':>12}  holds", flush=True)
    for name in args.only:
        row = compare(load(args.data, name))
        found.append(row)
        numbers = (row["jdl"], row["sklearn"], row["difference"], row["standard error"])
        print(
            f"{name:<15}{row['folds']:>6}" + "".join(f"{n:>12.4f}" for n in numbers) + f"  {row['holds']}", flush=True
        )
    if set(args.only) == set(TARGETS):
        results = {"machine": measure.machine(), "rows": found}
        (measure.RESULTS / "defaults.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
