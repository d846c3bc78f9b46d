"""Ten-fold cross-validation of a small MLP in a fresh process: jdl, skorch, a plain PyTorch loop.

breast_cancer, scaling, MLP (100, 100), 50 epochs, batch size 32, adamw, no validation. Imports are timed
apart. jdl runs without any cache, and with the persistent cache of an earlier process; every process then
goes on in the same program ("again"), where jdl has nothing left to compile. Peers run with their default
threads and with one.
"""

import importlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import measure

FOLDS, WIDTH, EPOCHS, BATCH, LR, DECAY = 10, 100, 50, 32, 1e-3, 0.01
AGAIN = 5  # repetitions in the same process
PEERS = [(name, threads) for name in ("skorch", "loop") for threads in ("default", "1")]

# Runs the cross-validation with a seed and returns the mean accuracy.
Run = Callable[[int], Any]


# --- contenders: each imports what it needs, then returns its run ---


def import_late_ones(*modules: str) -> None:
    """Import what a contender's packages load at first use: it counts as import for all of them."""
    for module in modules:
        importlib.import_module(module)


def jdl_run() -> Run:
    """jdl, scoring included."""
    import jdl

    import_late_ones("jdl.sugar", "jdl.evaluate.resample", "rich.progress")
    import_late_ones("sklearn.datasets", "sklearn.metrics", "sklearn.model_selection")

    def run(seed: int) -> Any:
        learner = jdl.lrn(
            "classif.mlp",
            neurons=(WIDTH, WIDTH),
            dropout=0.0,
            epochs=EPOCHS,
            batch_size=BATCH,
            optimizer=jdl.opt("adamw", lr=LR, weight_decay=DECAY),
        )
        task = jdl.tsk("breast_cancer")
        result = jdl.resample(task, jdl.po("scale") >> learner, jdl.rsmp("cv", folds=FOLDS), key=seed)
        return result.aggregate(jdl.msr("classif.acc"))

    return run


def skorch_run() -> Run:
    """Net of skorch in scikit-learn's `cross_val_score`."""
    import torch
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skorch import NeuralNetClassifier

    import_late_ones("torch._dynamo")

    def run(seed: int) -> float:
        torch.manual_seed(seed)
        x, y = load_breast_cancer(return_X_y=True)
        settings: dict[str, Any] = {
            "module__n_features": x.shape[1],
            "criterion": torch.nn.CrossEntropyLoss,
            "optimizer": torch.optim.AdamW,
            "optimizer__weight_decay": DECAY,
            "lr": LR,
            "max_epochs": EPOCHS,
            "batch_size": BATCH,
            "iterator_train__shuffle": True,
            "train_split": None,
            "verbose": 0,
        }
        net = NeuralNetClassifier(torch_mlp, **settings)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        pipe = make_pipeline(StandardScaler(), net)
        return float(cross_val_score(pipe, x.astype(np.float32), y, cv=folds).mean())

    return run


def loop_run() -> Run:
    """A plain PyTorch loop over shuffled index batches, without a DataLoader."""
    import torch
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import StratifiedKFold

    import_late_ones("torch._dynamo")

    def fold_accuracy(x: Any, y: Any, x_test: Any, y_test: Any) -> float:
        net = torch_mlp(x.shape[1])
        opt = torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=DECAY)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(x)).split(BATCH):
                opt.zero_grad()
                torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
                opt.step()
        with torch.no_grad():
            return (net(x_test).argmax(1) == y_test).float().mean().item()

    def run(seed: int) -> float:
        torch.manual_seed(seed)
        data = load_breast_cancer(return_X_y=True)
        x, y = torch.tensor(data[0], dtype=torch.float32), torch.tensor(data[1])
        scores = []
        for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(*data):
            mean, std = x[train].mean(0), x[train].std(0, correction=0)
            scores.append(fold_accuracy((x[train] - mean) / std, y[train], (x[test] - mean) / std, y[test]))
        return float(np.mean(scores))

    return run


def torch_mlp(n_features: int) -> Any:
    """The peers' network."""
    from torch import nn

    hidden = [nn.Linear(n_features, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, 2))


CONTENDERS = {"jdl": jdl_run, "skorch": skorch_run, "loop": loop_run}


def child(name: str, threads: str) -> dict[str, Any]:
    """Seconds of one fresh process: imports, the first run, runs after it; and the first run's accuracy."""
    imports, run = measure.timed(CONTENDERS[name])
    if threads != "default":
        import torch

        torch.set_num_threads(int(threads))
    first, accuracy = measure.timed(lambda: run(0))
    again = [measure.timed(lambda seed=seed: run(seed))[0] for seed in range(1, 1 + AGAIN)]
    return {"imports": imports, "first": first, "again": measure.summary(again).median, "accuracy": accuracy}


# --- the comparison ---


def turns(repetitions: int) -> Iterator[dict[str, dict[str, Any]]]:
    """What each contender measured, per turn."""
    module = "benchmarks.cross_validation"
    with tempfile.TemporaryDirectory() as cache:
        cached = measure.environment(JDL_COMPILATION_CACHE=cache)
        measure.fresh(module, "--child", "jdl", "default", env=cached)  # the earlier process
        for _ in range(repetitions):
            turn = {
                "jdl": measure.fresh(module, "--child", "jdl", "default"),
                "jdl, disk cache": measure.fresh(module, "--child", "jdl", "default", env=cached),
            }
            for name, threads in PEERS:
                turn[f"{name}, {threads} threads"] = measure.fresh(module, "--child", name, threads)
            yield turn


def main() -> None:
    """Compare."""
    args = measure.arguments(__doc__, repetitions=5)
    if args.child:
        measure.reply(child(*args.child))
        return
    found = list(turns(args.repetitions))

    def seconds(name: str, what: str) -> list[float]:
        return [turn[name][what] for turn in found]

    def best(peer: str, what: str) -> list[float]:
        of_threads = [seconds(f"{name}, {threads} threads", what) for name, threads in PEERS if name == peer]
        return min(of_threads, key=lambda values: measure.summary(values).median)

    def row(name: str) -> tuple[object, ...]:
        medians = [measure.summary(seconds(name, what)).median for what in ("imports", "first", "again", "accuracy")]
        return name, *medians

    text = measure.table(("contender", "imports s", "first s", "again s", "accuracy"), map(row, found[0]))
    cold, disk, again = seconds("jdl", "first"), seconds("jdl, disk cache", "first"), seconds("jdl", "again")
    claims = [
        measure.claim("no cache: jdl / skorch", measure.ratios(cold, best("skorch", "first")), 0.3),
        measure.claim("no cache: jdl / loop", measure.ratios(cold, best("loop", "first")), 0.5),
        measure.claim("disk cache: jdl / loop", measure.ratios(disk, best("loop", "first")), 0.25),
        measure.claim("compiled: jdl / loop, both again", measure.ratios(again, best("loop", "again")), 0.06),
    ]
    measure.report("cross_validation", text, claims, found, quick=args.quick)


if __name__ == "__main__":
    main()
