"""Time per training batch on the grid of the mlr3torch paper, on one thread: jdl, PyTorch, a scan by hand.

Regression, 2000 rows, 1000 features, batch size 32, no shuffling, 20 epochs, mean squared error, learning
rate 1e-4. Each cell of the grid is a fresh process on one core, in which the three take turns; compilation is
not counted.
"""

import itertools
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import measure

N_ROWS, N_FEATURES, BATCH, EPOCHS, LR, DECAY = 2000, 1000, 32, 20, 1e-4, 0.01
STEPS = -(-N_ROWS // BATCH)
CELLS = [(n, w, o) for o in ("sgd", "adamw") for w in (100, 200, 400) for n in (0, 4, 8, 12, 16)]
QUICK_CELLS = [(0, 100, "adamw"), (4, 200, "sgd"), (8, 400, "adamw")]
ONE_THREAD = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "OMP_NUM_THREADS": "1",
    "JDL_CPU_DEVICES": "off",
}

# A contender trains once and returns seconds and the training loss of the end.
Contender = Callable[[], tuple[float, float]]


def data() -> tuple[np.ndarray, np.ndarray]:
    """Features and a standardized target that is linear in them, with noise."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N_ROWS, N_FEATURES), dtype=np.float32)
    y = x @ rng.standard_normal(N_FEATURES, dtype=np.float32)
    y = y / y.std() + 0.3 * rng.standard_normal(N_ROWS, dtype=np.float32)
    return x, ((y - y.mean()) / y.std()).astype(np.float32)


def widths(n_layers: int, width: int) -> list[int]:
    """Units of each layer, inputs and the output included."""
    return [N_FEATURES, *[width] * n_layers, 1]


# --- contenders ---


def jdl_learner(n_layers: int, width: int, optimizer: str) -> Contender:
    """The mlp of jdl through `learner.train`."""
    import pandas as pd

    import jdl

    x, y = data()
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(N_FEATURES)])
    task = jdl.TaskRegr(frame.assign(y=y), "y")
    decay = {"weight_decay": DECAY} if optimizer == "adamw" else {}
    learner = jdl.lrn(
        "regr.mlp",
        neurons=(width,) * n_layers,
        activation="relu",
        dropout=0.0,
        epochs=EPOCHS,
        batch_size=BATCH,
        shuffle=False,
        loss=jdl.loss("mse"),
        optimizer=jdl.opt(optimizer, lr=LR, **decay),
    )

    def train() -> tuple[float, float]:
        wall, fitted = measure.timed(lambda: learner.train(task, key=0))
        return measure.run_seconds(fitted, wall), float(fitted.history["train.loss"].iloc[-1])

    train()
    return train


def eager_torch(n_layers: int, width: int, optimizer: str) -> Contender:
    """The loop that a PyTorch user writes: TensorDataset, DataLoader, eager steps."""
    import torch

    torch.set_num_threads(1)
    x, y = (torch.from_numpy(a) for a in data())
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y[:, None]), batch_size=BATCH)
    loss_of = torch.nn.MSELoss()

    def epochs(n_epochs: int) -> tuple[float, float]:
        torch.manual_seed(0)
        net = torch_mlp(widths(n_layers, width))
        if optimizer == "sgd":
            opt: Any = torch.optim.SGD(net.parameters(), lr=LR)
        else:
            opt = torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=DECAY)

        def train() -> None:
            for _ in range(n_epochs):
                for x_batch, y_batch in loader:
                    opt.zero_grad()
                    loss_of(net(x_batch), y_batch).backward()
                    opt.step()

        seconds, _ = measure.timed(train)
        with torch.no_grad():
            return seconds, float(loss_of(net(x), y[:, None]))

    epochs(2)  # warm-up
    return partial(epochs, EPOCHS)


def torch_mlp(units: list[int]) -> Any:
    """Linear layers with ReLU between them."""
    import torch

    layers: list[Any] = []
    for d_in, d_out in itertools.pairwise(units):
        layers += [torch.nn.Linear(d_in, d_out), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def hand_written_scan(n_layers: int, width: int, optimizer: str) -> Contender:
    """The least that JAX can do: plain arrays, one jitted epoch, contiguous slices, no history."""
    import jax
    import jax.numpy as jnp
    import optax

    x, y = data()
    pad = STEPS * BATCH - N_ROWS
    x_all, y_all = jnp.asarray(np.pad(x, ((0, pad), (0, 0)))), jnp.asarray(np.pad(y, (0, pad)))
    opt = optax.sgd(LR) if optimizer == "sgd" else optax.adamw(LR, weight_decay=DECAY)

    def loss_of(params: Any, x: Any, y: Any, weights: Any) -> Any:
        return jnp.sum(weights * (scan_net(params, x) - y) ** 2) / jnp.sum(weights)

    @partial(jax.jit, donate_argnums=0)
    def epoch(carry: Any, x_all: Any, y_all: Any) -> Any:
        def step(carry: Any, start: Any) -> tuple[Any, None]:
            params, state = carry
            x = jax.lax.dynamic_slice_in_dim(x_all, start, BATCH)
            y = jax.lax.dynamic_slice_in_dim(y_all, start, BATCH)
            weights = (start + jnp.arange(BATCH) < N_ROWS).astype(jnp.float32)
            grads = jax.grad(loss_of)(params, x, y, weights)
            updates, state = opt.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, carry, BATCH * jnp.arange(STEPS))[0]

    def train() -> tuple[float, float]:
        params = jax.tree.map(jnp.asarray, initial(widths(n_layers, width)))
        carry = jax.block_until_ready((params, opt.init(params)))

        def epochs(carry: Any) -> Any:
            for _ in range(EPOCHS):
                carry = epoch(carry, x_all, y_all)
            return jax.block_until_ready(carry)

        seconds, (params, _) = measure.timed(partial(epochs, carry))
        return seconds, float(np.mean((np.asarray(scan_net(params, jnp.asarray(x))) - y) ** 2))

    train()  # compiles
    return train


def scan_net(params: Any, x: Any) -> Any:
    """Predictions of the hand-written network."""
    import jax

    for kernel, bias in params[:-1]:
        x = jax.nn.relu(x @ kernel + bias)
    kernel, bias = params[-1]
    return (x @ kernel + bias)[:, 0]


def initial(units: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias of each layer, drawn as PyTorch draws them."""
    rng = np.random.default_rng(1)
    params = []
    for d_in, d_out in itertools.pairwise(units):
        draws = rng.uniform(-1, 1, (d_in + 1, d_out)).astype(np.float32) / np.sqrt(np.float32(d_in))
        params.append((draws[:-1], draws[-1]))
    return params


CONTENDERS = {"scan": hand_written_scan, "torch": eager_torch, "jdl": jdl_learner}


# --- the grid ---


def one_cell(n_layers: int, width: int, optimizer: str, repetitions: int) -> dict[str, Any]:
    """Seconds per batch of each contender, a list over turns, and the loss each ended with."""
    contenders = {name: make(n_layers, width, optimizer) for name, make in CONTENDERS.items()}
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    losses = {}
    for turn in range(repetitions):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            total, losses[name] = contenders[name]()
            seconds[name].append(total / (EPOCHS * STEPS))
    return {"layers": n_layers, "width": width, "optimizer": optimizer, "seconds": seconds, "loss": losses}


def row(cell: dict[str, Any]) -> tuple[object, ...]:
    """A line of the printed table."""
    seconds = cell["seconds"]
    times = [measure.summary(seconds[name]).median * 1e3 for name in CONTENDERS]
    to = [measure.ratios(seconds["jdl"], seconds[peer]).median for peer in ("scan", "torch")]
    return cell["optimizer"], cell["width"], cell["layers"], *times, *to


def claims(cells: list[dict[str, Any]]) -> list[measure.Claim]:
    """The figures to reach, over all cells."""
    to_scan = [measure.ratios(c["seconds"]["jdl"], c["seconds"]["scan"]) for c in cells]
    to_torch = [measure.ratios(c["seconds"]["jdl"], c["seconds"]["torch"]) for c in cells]
    return [
        over_cells("jdl / scan, median", statistics.median, to_scan, 1.05),
        over_cells("jdl / scan, any point", max, to_scan, 1.15),
        over_cells("jdl / torch, any point", max, to_torch, 0.65),
        over_cells("jdl / torch, geometric mean", statistics.geometric_mean, to_torch, 0.25),
    ]


def over_cells(text: str, join: Callable[[Any], float], found: list[measure.Summary], reach: float) -> measure.Claim:
    """A claim about a statistic over cells; its spread is that of the cells' better quartiles."""
    return measure.Claim(text, join([r.median for r in found]), join([r.low for r in found]), reach)


def main() -> None:
    """Run the grid."""
    args = measure.arguments(__doc__, repetitions=5)
    if args.child:
        n_layers, width, optimizer, repetitions = args.child
        measure.reply(one_cell(int(n_layers), int(width), optimizer, int(repetitions)))
        return
    cells = []
    for cell in QUICK_CELLS if args.quick else CELLS:
        child = [str(part) for part in (*cell, args.repetitions)]
        env = measure.environment(**ONE_THREAD)
        cells.append(measure.fresh("benchmarks.paper_grid", "--child", *child, env=env, core=measure.cores()[-1]))
    header = ("optimizer", "width", "layers", *(f"{n} ms" for n in CONTENDERS), "jdl/scan", "jdl/torch")
    text = measure.table(header, map(row, cells))
    measure.report("paper_grid", text, claims(cells), cells, quick=args.quick)


if __name__ == "__main__":
    main()
