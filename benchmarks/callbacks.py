"""What callbacks cost: in-scan ones beside a bare run and a scan by hand, host ones per epoch and batch, checkpoints.

The run is that of `paper_grid` at width 200 with 8 layers, AdamW, on one thread. Both sides take turns in one
process; compilation is not counted. All is pinned to one core, but where checkpoints are written: they are written
beside the training, by a thread that wants a core of its own.
"""

import itertools
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure
from benchmarks.paper_grid import (
    BATCH,
    DECAY,
    EPOCHS,
    LR,
    N_FEATURES,
    N_ROWS,
    ONE_THREAD,
    STEPS,
    data,
    initial,
    scan_net,
    widths,
)

WIDTH, LAYERS, VALID, DECAY_OF_MEAN, MAX_NORM = 200, 8, 0.2, 0.99, 1.0
PARTS = ("in_scan", "by_hand", "host", "checkpoint")
# Trains once and returns seconds of running, without compiling.
Contender = Callable[[], float]


def learner(**options: Any) -> Contender:
    """The mlp of jdl with these further options."""
    import pandas as pd

    import jdl

    x, y = data()
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(N_FEATURES)])
    task = jdl.TaskRegr(frame.assign(y=y), "y")
    made = jdl.lrn(
        "regr.mlp",
        neurons=(WIDTH,) * LAYERS,
        activation="relu",
        dropout=0.0,
        epochs=EPOCHS,
        batch_size=BATCH,
        shuffle=False,
        loss=jdl.loss("mse"),
        optimizer=jdl.opt("adamw", lr=LR, weight_decay=DECAY),
        **options,
    )

    def train() -> float:
        wall, fitted = measure.timed(lambda: made.train(task, key=0))
        assert fitted.epochs == EPOCHS, "all contenders must do the same work"
        return measure.run_seconds(fitted, wall)

    train()
    return train


def in_scan() -> dict[str, Contender]:
    """History, one-cycle, early stopping with best weights and unfreeze, beside the same run without; both validate."""
    import jdl
    from jdl.networks import select_all, select_grep

    callbacks = [
        jdl.cb("history"),
        jdl.cb("lr_one_cycle", max_lr=LR),
        jdl.cb("unfreeze", starting_weights=select_grep("head"), unfreeze={"epoch": [2], "weights": [select_all()]}),
    ]
    stopping = {"patience": EPOCHS, "restore_best": True}
    return {
        "without": learner(validate=VALID, restore_best=False),
        "with": learner(validate=VALID, callbacks=callbacks, **stopping),
    }


def by_hand() -> dict[str, Contender]:
    """A moving average of the weights and clipping by norm, beside a scan by hand that does the same arithmetic."""
    import jdl

    callbacks = [jdl.cb("ema", decay=DECAY_OF_MEAN), jdl.cb("grad_clip", max_norm=MAX_NORM)]
    return {"scan": hand_written_scan(), "jdl": learner(callbacks=callbacks)}


def host() -> dict[str, Contender]:
    """A host callback that does nothing, after each epoch and after each batch, beside none."""
    import jdl

    return {
        "none": learner(),
        "epoch": learner(callbacks=jdl.callback(on_epoch_end=lambda ctx: None)),
        "batch": learner(callbacks=jdl.callback(on_batch_end=lambda ctx: None)),
    }


def checkpoint() -> dict[str, Contender]:
    """A checkpoint after each epoch, each run into a folder of its own, beside none."""
    import jdl

    folder = tempfile.TemporaryDirectory(prefix="jdl-benchmark-")
    numbers = itertools.count()

    def path() -> Path:
        assert folder  # it lives as long as this function
        return Path(folder.name) / str(next(numbers))

    return {"none": learner(), "checkpoint": learner(callbacks=jdl.cb("checkpoint", path=path))}


def hand_written_scan() -> Contender:
    """Plain arrays, one jitted epoch with clipping, AdamW and the average, contiguous slices, no history."""
    import jax
    import jax.numpy as jnp
    import optax

    x, y = data()
    pad = STEPS * BATCH - N_ROWS
    x_all, y_all = jnp.asarray(np.pad(x, ((0, pad), (0, 0)))), jnp.asarray(np.pad(y, (0, pad)))
    opt = optax.chain(optax.clip_by_global_norm(MAX_NORM), optax.adamw(LR, weight_decay=DECAY))

    def loss_of(params: Any, x: Any, y: Any, weights: Any) -> Any:
        return jnp.sum(weights * (scan_net(params, x) - y) ** 2) / jnp.sum(weights)

    @partial(jax.jit, donate_argnums=0)
    def epoch(carry: Any, x_all: Any, y_all: Any) -> Any:
        def step(carry: Any, start: Any) -> tuple[Any, None]:
            params, state, mean = carry
            x = jax.lax.dynamic_slice_in_dim(x_all, start, BATCH)
            y = jax.lax.dynamic_slice_in_dim(y_all, start, BATCH)
            weights = (start + jnp.arange(BATCH) < N_ROWS).astype(jnp.float32)
            grads = jax.grad(loss_of)(params, x, y, weights)
            updates, state = opt.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            mean = jax.tree.map(lambda a, p: DECAY_OF_MEAN * a + (1 - DECAY_OF_MEAN) * p, mean, params)
            return (params, state, mean), None

        return jax.lax.scan(step, carry, BATCH * jnp.arange(STEPS))[0]

    def train() -> float:
        params = jax.tree.map(jnp.asarray, initial(widths(LAYERS, WIDTH)))
        carry = jax.block_until_ready((params, opt.init(params), jax.tree.map(jnp.copy, params)))

        def epochs(carry: Any) -> Any:
            for _ in range(EPOCHS):
                carry = epoch(carry, x_all, y_all)
            return jax.block_until_ready(carry)

        return measure.timed(partial(epochs, carry))[0]

    train()
    return train


def one_part(part: str, repetitions: int) -> dict[str, list[float]]:
    """Seconds of each contender, a list over turns."""
    contenders = {"in_scan": in_scan, "by_hand": by_hand, "host": host, "checkpoint": checkpoint}[part]()
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repetitions):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seconds[name].append(contenders[name]())
    return seconds


def claims(parts: dict[str, dict[str, list[float]]]) -> list[measure.Claim]:
    """The figures to reach."""
    in_scan, by_hand, checkpoint = parts["in_scan"], parts["by_hand"], parts["checkpoint"]
    per_epoch = extra(parts["host"]["epoch"], parts["host"]["none"], EPOCHS)
    return [
        measure.claim(
            "history, one-cycle, stopping, unfreeze / without",
            measure.ratios(in_scan["with"], in_scan["without"]),
            1.05,
        ),
        measure.claim("EMA and clipping / scan by hand", measure.ratios(by_hand["jdl"], by_hand["scan"]), 1.05),
        measure.claim("host callback, ms per epoch", per_epoch, 2.0),
        measure.claim(
            "a checkpoint every epoch / none", measure.ratios(checkpoint["checkpoint"], checkpoint["none"]), 1.10
        ),
    ]


def extra(ours: list[float], theirs: list[float], times: int) -> measure.Summary:
    """Milliseconds more for each of so many calls, by turns."""
    return measure.summary((a - b) / times * 1e3 for a, b in zip(ours, theirs, strict=True))


def main() -> None:
    """Run all parts."""
    args = measure.arguments(__doc__, repetitions=9)
    if args.child:
        part, repetitions = args.child
        measure.reply(one_part(part, int(repetitions)))
        return
    parts = {}
    for part in PARTS:
        env = measure.environment(**ONE_THREAD)
        child = ["--child", part, str(args.repetitions)]
        core = None if part == "checkpoint" else measure.cores()[-1]
        parts[part] = measure.fresh("benchmarks.callbacks", *child, env=env, core=core)
    rows = []
    for part, seconds in parts.items():
        for name, values in seconds.items():
            found = measure.summary([s / (EPOCHS * STEPS) * 1e3 for s in values])
            rows.append((part, name, found.median, found.low, found.high))
    per_batch = extra(parts["host"]["batch"], parts["host"]["none"], EPOCHS * STEPS)
    text = measure.table(("part", "contender", "ms a step", "low", "high"), rows)
    text += f"\n\nA host callback per batch costs {per_batch.median:.3g} ms a batch."
    measure.report("callbacks", text, claims(parts), parts, quick=args.quick)


if __name__ == "__main__":
    main()
