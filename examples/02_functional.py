"""Five learning rates times three seeds, vmapped by hand: the pure functions below jdl's learners.

Run: python examples/02_functional.py
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

import jdl
from jdl import train

task = jdl.tsk("breast_cancer")
train_rows, test_rows = jdl.partition(task, ratio=2 / 3, key=0)
x = task.table.numeric
x = (x - x[train_rows].mean(axis=0)) / x[train_rows].std(axis=0)
table = train.numeric_table(jnp.asarray(x))

optimizer = train.adamw()
program = train.program(
    train.MLPSpec(neurons=(64, 64)),
    n_features=x.shape[1],
    n_outputs=1,
    loss="cross_entropy",
    optimizer=optimizer,
    batch_size=32,
)
hyper = {f"opt.{name}": value for name, value in optimizer.dynamic().items()}
seeds = range(3)
draws = [train.draw(program, seed, task.target_codes, rows=train_rows, epochs=20, hyper=hyper) for seed in seeds]
members = jax.tree.map(lambda *leaves: jnp.stack(leaves), *draws)
rates = jnp.array([1e-4, 3e-4, 1e-3, 3e-3, 1e-2])


def accuracy(lr: jax.Array, member: train.Member) -> jax.Array:
    """Test accuracy of one run with one learning rate."""
    member = replace(member, hyper={**member.hyper, "opt.lr": lr})
    run, _ = train.fit(program, table, member)
    outputs = train.predict(program, run, table.take(test_rows))
    return jnp.mean((outputs[:, 0] > 0) == task.target_codes[test_rows])


over_seeds = jax.vmap(accuracy, in_axes=(None, 0))
over_both = jax.jit(jax.vmap(over_seeds, in_axes=(0, None)))
grid = np.asarray(over_both(rates, members))

print("test accuracy    " + "  ".join(f"seed {seed}" for seed in seeds))
for rate, row in zip(rates, grid, strict=True):
    print(f"lr {rate:<12.0e}  " + "   ".join(f"{value:.3f}" for value in row))
