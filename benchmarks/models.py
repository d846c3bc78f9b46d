"""Milliseconds per training step of the networks for tables at their defaults, against the PyTorch packages' modules.

Regression, 10,000 rows, 14 numeric and 6 categorical columns of 5 to 20 levels, batches of 256. The peer is the module
of the package that published the network (`rtdl_revisiting_models`, `tabm`, `pytabkit`) with equal sizes, in a plain
loop: batches by index from a tensor in memory, its own optimizer, no DataLoader and no validation. jdl's time is that
of running the compiled program, its preprocessing included, over the number of steps; compiling the program that
trains and validates is apart. Both have one thread. A second process trains five folds, and one fit on one core.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import measure
from benchmarks.paper_grid import ONE_THREAD

N_ROWS, N_NUMERIC, LEVELS, BATCH, FOLDS = 10_000, 14, (5, 8, 11, 14, 17, 20), 256, 5
# Epochs of a measurement, and the ratio to reach.
MODELS = {"mlp": (20, 0.7), "tab_resnet": (5, 0.7), "realmlp": (10, 0.7), "tabm": (1, 1.0), "ft_transformer": (1, 1.05)}

# A contender trains for some epochs and returns milliseconds per step.
Contender = Callable[[], float]


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, codes from 0, and a standardised target."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N_ROWS, N_NUMERIC), dtype=np.float32)
    codes = np.stack([rng.integers(0, n, N_ROWS) for n in LEVELS], axis=1)
    y = x[:, 0] * x[:, 1] + 0.2 * codes[:, 0] + 0.3 * rng.standard_normal(N_ROWS, dtype=np.float32)
    return x, codes, ((y - y.mean()) / y.std()).astype(np.float32)


def frame() -> Any:
    """The same as a data frame, with the target "y"."""
    import pandas as pd

    x, codes, y = data()
    columns: dict[str, Any] = {f"x{i}": x[:, i] for i in range(N_NUMERIC)}
    for i in range(len(LEVELS)):
        columns[f"c{i}"] = pd.Categorical([f"level {code:02d}" for code in codes[:, i]])
    return pd.DataFrame(columns | {"y": y})


def one_hot(codes: np.ndarray) -> np.ndarray:
    """An indicator column per level."""
    return np.concatenate([np.eye(n, dtype=np.float32)[codes[:, i]] for i, n in enumerate(LEVELS)], axis=1)


# --- contenders ---


def jdl_learner(name: str, **options: Any) -> Any:
    """Task, and learner at its defaults; the MLP takes no categories, so one-hot encoding stands before it."""
    import jdl

    learner = jdl.lrn(f"regr.{name}", batch_size=BATCH, **options)
    return jdl.TaskRegr(frame(), "y"), jdl.po("encode") >> learner if name == "mlp" else learner


def jdl_steps(name: str) -> Contender:
    """Training of jdl, without validation as in the peer's loop."""
    epochs, _ = MODELS[name]
    task, learner = jdl_learner(name, epochs=epochs)
    # RealMLP leaves out an incomplete last batch.
    steps = epochs * (N_ROWS // BATCH if name == "realmlp" else -(-N_ROWS // BATCH))

    def train() -> float:
        wall, fitted = measure.timed(lambda: learner.train(task, key=0))
        return 1e3 * measure.run_seconds(fitted, wall) / steps

    train()
    return train


def torch_steps(name: str) -> Contender:
    """The plain loop around the package's module."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    epochs, _ = MODELS[name]
    step, copies = {
        "mlp": torch_mlp,
        "tab_resnet": torch_resnet,
        "realmlp": torch_realmlp,
        "tabm": torch_tabm,
        "ft_transformer": torch_ft_transformer,
    }[name]()

    def orders() -> Any:
        if copies == 1:
            return torch.randperm(N_ROWS).split(BATCH)
        return torch.rand(N_ROWS, copies).argsort(dim=0).split(BATCH)

    def train(n_epochs: int) -> float:
        n_steps = 0

        def work() -> None:
            nonlocal n_steps
            for _ in range(n_epochs):
                for rows in orders():
                    step(rows)
                    n_steps += 1

        wall, _ = measure.timed(work)
        return 1e3 * wall / n_steps

    for rows in orders()[:2]:  # warm-up
        step(rows)
    return partial(train, epochs)


def plain_step(model: Any, optimizer: Any, inputs: tuple[Any, ...], clip: float | None = None) -> Any:
    """A step on rows of tensors: squared error, gradients, update."""
    import torch

    y = torch.from_numpy(data()[2])
    model.train()

    def step(rows: Any) -> None:
        optimizer.zero_grad()
        outputs = model(*(block[rows] for block in inputs)).squeeze(-1)
        torch.nn.functional.mse_loss(outputs, y[rows]).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()

    return step


def tensors() -> tuple[Any, Any]:
    """Numbers and codes."""
    import torch

    x, codes, _ = data()
    return torch.from_numpy(x), torch.from_numpy(codes)


def flat_tensor() -> Any:
    """Numbers and indicators of levels."""
    import torch

    x, codes, _ = data()
    return torch.from_numpy(np.concatenate([x, one_hot(codes)], axis=1))


def torch_mlp() -> tuple[Any, int]:
    """Two layers of 128, as jdl's mlp."""
    import rtdl_revisiting_models as rtdl
    import torch

    x = flat_tensor()
    model = rtdl.MLP(d_in=x.shape[1], d_out=1, n_blocks=2, d_block=128, dropout=0.1)
    return plain_step(model, torch.optim.Adam(model.parameters(), lr=1e-3), (x,)), 1


def torch_resnet() -> tuple[Any, int]:
    """The package's example."""
    import rtdl_revisiting_models as rtdl
    import torch

    x = flat_tensor()
    sizes = {"n_blocks": 2, "d_block": 192, "d_hidden": None, "d_hidden_multiplier": 2.0}
    model = rtdl.ResNet(d_in=x.shape[1], d_out=1, dropout1=0.3, dropout2=0.0, **sizes)
    return plain_step(model, torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=1e-5), (x,)), 1


def torch_ft_transformer() -> tuple[Any, int]:
    """The package's defaults and optimizer."""
    import rtdl_revisiting_models as rtdl

    options = rtdl.FTTransformer.get_default_kwargs()
    model = rtdl.FTTransformer(n_cont_features=N_NUMERIC, cat_cardinalities=list(LEVELS), d_out=1, **options)
    return plain_step(model, model.make_default_optimizer(), tensors()), 1


def torch_tabm() -> tuple[Any, int]:
    """TabM-mini with piecewise-linear embeddings, a batch of its own for each member, as jdl's tabm."""
    import rtdl_num_embeddings as rtdl
    import tabm
    import torch

    x, codes = tensors()
    bins = rtdl.compute_bins(x, n_bins=32)
    embeddings = rtdl.PiecewiseLinearEmbeddings(bins, 16, activation=False, version="B")
    sizes = {"k": 32, "n_blocks": 3, "d_block": 512, "dropout": 0.1, "arch_type": "tabm-mini"}
    model = tabm.TabM.make(
        n_num_features=N_NUMERIC, cat_cardinalities=list(LEVELS), d_out=1, num_embeddings=embeddings, **sizes
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.3e-3, weight_decay=3e-4)
    return plain_step(model, optimizer, (x, codes), clip=1.0), 32


def torch_realmlp() -> tuple[Any, int]:
    """The network of a fitted RealMLP-TD with the package's optimizer and schedules."""
    import pytabkit
    import torch

    from benchmarks.quality import quietly

    table = frame()
    estimator = pytabkit.RealMLP_TD_Regressor(random_state=0, device="cpu", n_threads=1, n_epochs=1)
    with quietly():
        estimator.fit(table.drop(columns="y"), table["y"])
    module: Any = estimator.alg_interface_.model  # pyright: ignore[reportAttributeAccessIssue]
    rows_of = estimator.x_converter_.transform(table.drop(columns="y"))  # pyright: ignore[reportAttributeAccessIssue]
    blocks = dict(module.creator.static_model.forward_ds(rows_of).tensors)
    blocks["y"] = torch.from_numpy(table["y"].to_numpy(np.float32))[:, None]
    optimizer = module.configure_optimizers()
    module.model.train()

    def step(rows: Any) -> None:
        module.hp_manager.update_hypers(module)
        batch = module.model({name: block[rows][None] for name, block in blocks.items()})
        loss = module.criterion(batch["x_cont"], batch["y"]).sum()
        loss.backward()
        optimizer.step(loss=loss)
        optimizer.zero_grad()

    return step, 1


# --- measuring ---


def one_model(name: str, repetitions: int) -> dict[str, Any]:
    """Milliseconds per step of both, a list over turns, and seconds of compiling."""
    # The program at its defaults: one that trains, validates and stops.
    task, learner = jdl_learner(name, epochs=1, validate=0.2, patience=1)
    compiling = float(learner.train(task, key=0).timings["compile"])
    contenders = {"jdl": jdl_steps(name), "torch": torch_steps(name)}
    found: dict[str, list[float]] = {who: [] for who in contenders}
    for turn in range(repetitions):
        for who in list(contenders)[:: 1 if turn % 2 else -1]:
            found[who].append(contenders[who]())
    return {"model": name, "ms": found, "compile": compiling}


def folds_of(name: str, repetitions: int) -> dict[str, Any]:
    """Seconds of one fit on one core, and of five folds on all, an epoch each."""
    import jdl

    task, learner = jdl_learner(name, epochs=1)
    rows = np.arange(N_ROWS - N_ROWS // FOLDS)

    def one_fit() -> float:
        with measure.pinned(measure.cores()[-1]):
            return measure.timed(lambda: learner.train(task, rows=rows, key=0))[0]

    def five_folds() -> float:
        return measure.timed(lambda: jdl.resample(task, learner, jdl.rsmp("cv", folds=FOLDS), key=0))[0]

    ways = {"one fit": one_fit, "five folds": five_folds}
    for way in ways.values():  # compiles
        way()
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repetitions):
        for way, work in ways.items():
            found[way].append(work())
    return {"cores": len(measure.cores()), "seconds": found}


def row(found: dict[str, Any]) -> tuple[object, ...]:
    """A line of the printed table."""
    ms, seconds = found["ms"], found["folds"]["seconds"]
    medians = [measure.summary(values).median for values in (*ms.values(), *seconds.values())]
    ratio = measure.ratios(ms["jdl"], ms["torch"]).median
    of_folds = measure.ratios(seconds["five folds"], seconds["one fit"]).median
    return found["model"], *medians[:2], ratio, found["compile"], *medians[2:], of_folds


def claims(all_found: list[dict[str, Any]]) -> list[measure.Claim]:
    """The figures to reach."""
    made = []
    for found in all_found:
        ms, folds = found["ms"], found["folds"]
        name = found["model"]
        made.append(
            measure.claim(f"{name}: jdl / torch, per step", measure.ratios(ms["jdl"], ms["torch"]), MODELS[name][1])
        )
        ratio = measure.ratios(folds["seconds"]["five folds"], folds["seconds"]["one fit"])
        made.append(measure.claim(f"{name}: five folds / one fit", ratio, 1.15 * FOLDS / folds["cores"]))
    return made


def main() -> None:
    """Measure each model in fresh processes."""
    args = measure.arguments(__doc__, repetitions=5)
    if args.child:
        part, name, repetitions = args.child
        measure.reply({"steps": one_model, "folds": folds_of}[part](name, int(repetitions)))
        return
    all_found = []
    for name in ("mlp", "realmlp") if args.quick else MODELS:
        child = ("benchmarks.models", "--child")
        env = measure.environment(**ONE_THREAD)
        found = measure.fresh(*child, "steps", name, str(args.repetitions), env=env, core=measure.cores()[-1])
        found["folds"] = measure.fresh(*child, "folds", name, str(args.repetitions))
        all_found.append(found)
    header = ("model", "jdl ms", "torch ms", "jdl / torch", "compile s", "one fit s", "five folds s", "five / one")
    measure.report("models", measure.table(header, map(row, all_found)), claims(all_found), all_found, quick=args.quick)


if __name__ == "__main__":
    main()
