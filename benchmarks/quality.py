"""RealMLP and TabM without any argument against pytabkit's defaults on real tables: equal folds, five of them.

`jdl.lrn("classif.realmlp")` and `"classif.tabm"` (or `regr.`) against pytabkit's RealMLP-TD and TabM, with
scikit-learn's HistGradientBoosting beside them. Every contender gets the raw columns: categories as such, numbers as
they are; where a package refuses missing numbers they become the mean of the fold's training rows and an indicator.
The folds of a table never change. Tables under 1,000 rows are trained with three seeds, whose scores are averaged
within each fold. Score: classification error, or root mean squared error; smaller is better. Reach: the mean paired
difference over folds is no worse than one standard error of the differences.

Every finished (table, contender, seed) is written at once, so that a run goes on where it was broken off. The peers'
scores depend on nothing of jdl but the folds and are kept in a file of their own; jdl's are kept until `--again`.

Run: python -m benchmarks.quality --data FOLDER [--tables sonar ...] [--contenders jdl.realmlp ...] [--again]
"""

import argparse
import contextlib
import importlib.metadata
import json
import logging
import os
import tempfile
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import jdl
from benchmarks import measure

FOLDS, SEEDS = 5, (0, 1, 2)
TARGETS = {
    "penguins": "species",
    "sonar": "Class",
    "titanic": "survived",
    "german_credit": "credit_risk",
    "abalone": "rings",
    "phoneme": "Class",
    "diamonds": "price",
}
REGRESSION = ("abalone", "diamonds")
SMALL = ("penguins", "sonar", "titanic")  # under 1,000 rows
DROPPED = {"titanic": ["alive"]}  # another spelling of the target
SAMPLED = {"diamonds": 5000}
OURS = ("jdl.realmlp", "jdl.tabm")
# With the settings of the peer's own defaults: tells a preset that is behind from an engine that is.
AS_PEER = {"jdl.tabm.as_pytabkit": ("abalone", "phoneme")}  # and the tables for which that is asked
PEERS = {"pytabkit.realmlp": "pytabkit", "pytabkit.tabm": "pytabkit", "sklearn.boosting": "scikit-learn"}
PAIRS = {"jdl.realmlp": "pytabkit.realmlp", "jdl.tabm": "pytabkit.tabm", "jdl.tabm.as_pytabkit": "pytabkit.tabm"}
CONTENDERS = (*OURS, *AS_PEER, *PEERS)
OWN_FILE, PEER_FILE = measure.RESULTS / "quality.json", measure.RESULTS / "quality_peers.json"
FOLDER = "JDL_BENCH_DATA"  # environment variable
ENGINES = {"pytabkit": ("pytabkit", "torch"), "scikit-learn": ("scikit-learn",), "jdl": ("jdl",)}

Scores = dict[str, list[float]]  # by measure, a number per fold


# --- tables and folds ---


@dataclass(frozen=True)
class Case:
    """A table with its folds."""

    task: Any
    splits: list[tuple[np.ndarray, np.ndarray]]
    fingerprint: str

    @classmethod
    def load(cls, folder: Path, name: str) -> "Case":
        """The case of a CSV file."""
        frame = pd.read_csv(folder / f"{name}.csv").drop(columns=DROPPED.get(name, []))
        if name in SAMPLED:
            frame = frame.sample(SAMPLED[name], random_state=0).reset_index(drop=True)
        make = jdl.TaskRegr if name in REGRESSION else jdl.TaskClassif
        task = make(frame, target=TARGETS[name], id=name)
        splits = list(jdl.rsmp("cv", folds=FOLDS).split(task, key=0))
        said = [test.astype(np.int64).tobytes() for _, test in splits] + [str(v).encode() for v in task.truth()]
        return cls(task, splits, f"{zlib.crc32(b''.join(said)):08x}")

    @property
    def measures(self) -> tuple[str, ...]:
        """What is recorded; the first one decides."""
        return ("rmse",) if self.task.task_type == "regr" else ("error", "logloss")

    def score(self, fold: int, found: np.ndarray, classes: Any = None) -> dict[str, float]:
        """Scores of predictions (probabilities in the order of `classes`) for the test rows of a fold."""
        truth = self.task.truth()[self.splits[fold][1]]
        if classes is None:
            return {"rmse": float(np.sqrt(np.mean((np.asarray(found, np.float64) - truth) ** 2)))}
        names, prob = np.asarray(classes), np.asarray(found, np.float64)
        of_truth = prob[np.arange(len(truth)), np.argmax(truth[:, None] == names, axis=1)]
        error = np.mean(names[prob.argmax(axis=1)] != truth)
        return {"error": float(error), "logloss": float(-np.mean(np.log(np.clip(of_truth, 1e-15, 1))))}


def seeds_of(table: str, contender: str) -> tuple[int, ...]:
    """Three for small tables, except for what draws nothing by chance; none where nothing is asked."""
    if table not in AS_PEER.get(contender, TARGETS):
        return ()
    return SEEDS if table in SMALL and contender != "sklearn.boosting" else SEEDS[:1]


# --- contenders: scores of all folds for a seed ---


def jdl_scores(case: Case, contender: str, seed: int) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Those of a learner of jdl."""
    task = case.task
    options = {"predict_type": "prob"} if task.task_type == "classif" else {}
    more = pytabkits_tabm(task.task_type) if contender in AS_PEER else {}
    learner = jdl.lrn(f"{task.task_type}.{contender.split('.')[1]}", **options, **more)
    train_sets, test_sets = zip(*case.splits, strict=True)
    folds = jdl.rsmp("custom", train_sets=train_sets, test_sets=test_sets)
    result = jdl.resample(task, learner, folds, key=seed)
    scores = []
    for fold, prediction in enumerate(result.predictions):
        assert prediction is not None and np.array_equal(prediction.rows, case.splits[fold][1])
        prob = getattr(prediction, "prob", None)
        classes = None if prob is None else prediction.class_names  # pyright: ignore[reportAttributeAccessIssue]
        scores.append(case.score(fold, prediction.response if prob is None else prob, classes))
    return scores, {
        "seconds": result.seconds,
        "compiling": result.compile_seconds,
        "epochs": [getattr(fitted, "epochs", None) for fitted in result.fitted],
        "best epoch": [getattr(fitted, "best_epoch", None) for fitted in result.fitted],
        "source": source_fingerprint(),
    }


def pytabkits_tabm(task_type: str) -> dict[str, Any]:
    """The defaults of pytabkit's TabM: no embeddings of numbers, decay or clipping, and two logits for two classes."""
    settings = {
        "arch_type": "tabm",
        "num_embeddings": None,
        "batch_size": 256,
        "max_grad_norm": None,
        "optimizer": jdl.opt("adamw", lr=2e-3, weight_decay=0.0),
    }
    if task_type == "regr":
        return settings
    return settings | {"loss": jdl.loss("cross_entropy", one_logit=False), "measures_valid": "classif.ce"}


def peer_scores(case: Case, contender: str, seed: int) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Those of another package's model."""
    truth, scores, seconds = case.task.truth(), [], 0.0
    for fold, (train, test) in enumerate(case.splits):
        with quietly():
            model = peer_model(case, contender, random_state=1000 * seed + fold)
            x_train, x_test = peer_columns(case.task, train, test, imputed=contender.startswith("pytabkit"))
            took, _ = measure.timed(lambda model=model, x=x_train, y=truth[train]: model.fit(x, y))
            if case.task.task_type == "classif":
                scores.append(case.score(fold, model.predict_proba(x_test), model.classes_))
            else:
                scores.append(case.score(fold, model.predict(x_test)))
        seconds += took
    return scores, {"seconds": seconds}


def peer_model(case: Case, contender: str, random_state: int) -> Any:
    """An estimator with its package's defaults."""
    kind = "Regressor" if case.task.task_type == "regr" else "Classifier"
    if contender == "sklearn.boosting":
        import sklearn.ensemble

        return getattr(sklearn.ensemble, f"HistGradientBoosting{kind}")(random_state=random_state)
    import pytabkit

    name = {"pytabkit.realmlp": "RealMLP_TD", "pytabkit.tabm": "TabM_D"}[contender]
    return getattr(pytabkit, f"{name}_{kind}")(random_state=random_state, device="cpu", n_threads=1)


def peer_columns(task: Any, train: np.ndarray, test: np.ndarray, *, imputed: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows: pandas categories and numbers, missing numbers filled in if the package wants that."""
    frame = task.to_pandas()[task.feature_names].copy()
    coded = [name for name, kind in task.feature_types.items() if kind in ("category", "ordered")]
    for name in frame:
        frame[name] = frame[name].astype("category") if name in coded else frame[name].astype(np.float64)
    if imputed:
        for name in [n for n in frame if n not in coded and frame[n].iloc[train].isna().any()]:
            frame[f"missing_{name}"] = frame[name].isna().astype(np.float64)
        numeric = [n for n in frame if n not in coded]
        frame[numeric] = frame[numeric].fillna(frame[numeric].iloc[train].mean())
    return frame.iloc[train].reset_index(drop=True), frame.iloc[test].reset_index(drop=True)


@contextlib.contextmanager
def quietly() -> Any:
    """Without warnings and notes, and in a folder in which packages may leave what they like."""
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


# --- what is kept ---


def key_of(case: Case, contender: str, seed: int) -> str:
    """Under which name scores are kept: table, folds, contender, seed, versions."""
    packages = ENGINES[PEERS.get(contender, "jdl")]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return f"{case.task.id}, folds {case.fingerprint}, {contender}, seed {seed}, {versions}"


def source_fingerprint() -> str:
    """Of jdl's source, to tell which scores come from another state of it."""
    root = Path(jdl.__file__).parent
    return f"{zlib.crc32(b''.join(path.read_bytes() for path in sorted(root.rglob('*.py')))):08x}"


def file_of(contender: str) -> Path:
    """The file that keeps the scores of a contender."""
    return PEER_FILE if contender in PEERS else OWN_FILE


def kept(path: Path) -> dict[str, Any]:
    """All scores of a file."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if path == PEER_FILE else found["data"]["scores"]


def write(path: Path, content: Any) -> None:
    """Write a file in one go: whoever reads it sees the old or the new one."""
    path.parent.mkdir(exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}.tmp")
    new.write_text(json.dumps(content, indent=1, default=float) + "\n", encoding="utf-8")
    os.replace(new, path)


def keep(contender: str, key: str, entry: dict[str, Any]) -> None:
    """Add an entry to its file as that is now: another process may have written meanwhile."""
    path = file_of(contender)
    scores = kept(path) | {key: entry}
    write(path, scores if path == PEER_FILE else summarised(scores))


def entry_of(case: Case, contender: str, seed: int) -> dict[str, Any]:
    """Scores of a contender, computed."""
    compute = peer_scores if contender in PEERS else jdl_scores
    scores, more = compute(case, contender, seed)
    by_measure = {name: [fold[name] for fold in scores] for name in case.measures}
    return {"scores": by_measure, "date": measure.machine()["date"]} | more


# --- what comes of it ---


def parts_of(key: str) -> tuple[str, str, str, int]:
    """Table, folds, contender and seed of a key."""
    table, folds, contender, seed = key.split(", ")[:4]
    return table, folds, contender, int(seed.removeprefix("seed "))


def collected(scores: dict[str, Any]) -> dict[tuple[str, str], dict[str, dict[int, Scores]]]:
    """Scores by table with its folds, contender and seed."""
    found: dict[tuple[str, str], dict[str, dict[int, Scores]]] = {}
    for key, entry in scores.items():
        table, folds, contender, seed = parts_of(key)
        found.setdefault((table, folds), {}).setdefault(contender, {})[seed] = entry["scores"]
    order = list(TARGETS)
    return dict(sorted(found.items(), key=lambda item: order.index(item[0][0])))


def comparison(ours: dict[int, Scores], theirs: dict[int, Scores], name: str) -> dict[str, Any]:
    """Paired differences over folds, each of means over seeds; smaller is better for jdl."""
    a, b = (np.mean([scores[name] for scores in each.values()], axis=0) for each in (ours, theirs))
    difference = a - b
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    mean = float(difference.mean())
    return {
        "seeds": len(ours),
        "peer's seeds": len(theirs),
        "jdl": float(a.mean()),
        "peer's": float(b.mean()),
        "difference": mean,
        "standard error": error,
        "met": bool(mean <= error),
        "wins": int((difference < 0).sum()),
        "ties": int((difference == 0).sum()),
    }


def rows_of(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per table, learner, peer and measure."""
    rows = []
    for (table, _), found in collected(scores).items():
        for ours, peer in [*PAIRS.items(), *[(name, "sklearn.boosting") for name in OURS]]:
            mine, theirs = found.get(ours, {}), found.get(peer, {})
            if not mine or not theirs:
                continue
            for name in next(iter(mine.values())):
                row = {"table": table, "learner": ours, "peer": peer, "measure": name}
                rows.append(row | comparison(mine, theirs, name))
    return rows


def decides(row: dict[str, Any]) -> bool:
    """Whether a claim is made about a row."""
    return row["learner"] in OURS and PAIRS[row["learner"]] == row["peer"] and row["measure"] != "logloss"


def claims_of(rows: list[dict[str, Any]]) -> list[measure.Claim]:
    """A claim per table and learner: how many standard errors it lies behind."""
    found = []
    for row in filter(decides, rows):
        error = row["standard error"]
        behind = row["difference"] / error if error else 0.0 if row["difference"] <= 0 else 99.0
        text = f"{row['table']}: {row['learner']} behind {row['peer']}, in standard errors"
        found.append(measure.Claim(text, behind, behind, 1.0))
    return found


def missing_of(scores: dict[str, Any]) -> list[str]:
    """Scores that were not computed yet."""
    known = {(table, contender, seed) for table, _, contender, seed in map(parts_of, scores)}
    wanted = [(t, c, seed) for t in TARGETS for c in CONTENDERS for seed in seeds_of(t, c)]
    return [
        f"{table}, {contender}, seed {seed}"
        for table, contender, seed in wanted
        if (table, contender, seed) not in known
    ]


def summarised(scores: dict[str, Any]) -> dict[str, Any]:
    """The content of the result file for these scores of jdl's and the peers' that are kept."""
    everything = scores | kept(PEER_FILE)
    rows = rows_of(everything)
    claims = [vars(claim) | {"verdict": claim.verdict} for claim in claims_of(rows)]
    data = {"missing": missing_of(everything), "rows": rows, "scores": scores}
    return {"machine": measure.machine(), "claims": claims, "data": data}


def table_of(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    header = (
        "table",
        "learner",
        "peer",
        "measure",
        "seeds",
        "jdl",
        "peer's",
        "difference",
        "std. error",
        "met",
        "wins",
    )
    lines = []
    for row in rows:
        names = [row[name] for name in ("table", "learner", "peer", "measure")]
        numbers = [f"{row[name]:.4f}" for name in ("jdl", "peer's", "difference", "standard error")]
        lines.append((*names, row["seeds"], *numbers, "yes" if row["met"] else "no", row["wins"]))
    return measure.table(header, lines)


def main() -> None:
    """Compute what is missing, and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get(FOLDER), help=f"CSV files; default ${FOLDER}")
    parser.add_argument("--tables", nargs="+", default=None, choices=TARGETS)
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), choices=SEEDS)
    parser.add_argument("--again", action="store_true", help="compute scores anew that are kept already")
    parser.add_argument("--write", action=argparse.BooleanOptionalAction, default=None, help="default: unless --quick")
    parser.add_argument("--quick", action="store_true", help="the smallest table with one seed; writes no result file")
    parser.add_argument("--repetitions", type=int, help=argparse.SUPPRESS)  # of benchmarks that measure times
    args = parser.parse_args()
    if args.data is None:
        print(f"quality: no folder with tables, so nothing was compared.\nHint: --data FOLDER, or ${FOLDER}.")
        return
    writes = not args.quick if args.write is None else args.write
    tables = args.tables or (list(TARGETS)[:1] if args.quick else list(TARGETS))
    scores: dict[str, Any] = {}
    for name in tables:
        case = Case.load(args.data, name)
        for contender in args.contenders:
            seeds = [seed for seed in seeds_of(name, contender) if seed in args.seeds]
            for seed in seeds[: 1 if args.quick else None]:
                key = key_of(case, contender, seed)
                found = None if args.again else kept(file_of(contender)).get(key)
                if found is None:
                    found = entry_of(case, contender, seed)
                    means = ", ".join(f"{n} {np.mean(v):.4f}" for n, v in found["scores"].items())
                    print(f"{name}, {contender}, seed {seed}: {means} in {found['seconds']:.0f} s", flush=True)
                    if writes:
                        keep(contender, key, found)
                scores[key] = found
    rows = rows_of(scores)
    print(f"\nquality\n\n{table_of(rows)}\n")
    verdicts = [(c.text, c.value, c.reach, c.verdict) for c in claims_of(rows)]
    print(measure.table(("claim", "measured", "reach", "verdict"), verdicts))
    sources = {entry["source"] for entry in scores.values() if "source" in entry} - {source_fingerprint()}
    if sources:
        print("\nSome of jdl's scores come from another state of its source; --again computes them anew.")
    if writes and OWN_FILE.exists():
        write(OWN_FILE, summarised(kept(OWN_FILE)))
        print("Written to benchmarks/results/quality.json and quality_peers.json.")


if __name__ == "__main__":
    main()
