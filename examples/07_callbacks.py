"""Control over training: ready-made callbacks, and one of your own of each kind.

Run: python examples/07_callbacks.py
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import jax
import jax.numpy as jnp

import jdl


@dataclass(frozen=True)
class NoisyGradients(jdl.InScanCallback):
    """Adds noise that fades to the gradients. In the scan: pure, compiled, next to free."""

    id: ClassVar[str] = "noisy_gradients"

    size: float = 0.01

    def on_after_backward(self, memory, event):
        size = self.size / (1.0 + event.state.step) ** 0.55
        key = jax.random.fold_in(jax.random.key(0), event.state.step)
        leaves, tree = jax.tree.flatten(event.grads)
        keys = jax.random.split(key, len(leaves))
        noisy = [g + size * jax.random.normal(k, g.shape) for g, k in zip(leaves, keys, strict=True)]
        return memory, event.replace(grads=jax.tree.unflatten(tree, noisy))


class Watch(jdl.HostCallback):
    """Prints the score now and then, and ends all runs at 97 %. On the host: ordinary Python between the chunks."""

    id: ClassVar[str] = "watch"

    def on_epoch_end(self, ctx):
        scores = ctx.scores["valid.classif.acc"]
        if ctx.epoch % 5 == 0:
            print(f"epoch {ctx.epoch:2d}  accuracy by fold {scores.round(3)}  lr {ctx.hyper('lr')[0]:.4f}")
        if scores.min() >= 0.97:
            ctx.stop()


def halved(memory, event):
    """Halves the rate for good where the loss of an epoch is above that of the epoch before."""
    rate = jnp.where(event.loss > memory, 0.5, 1.0) * event.state.hyper["opt.lr"]
    state = replace(event.state, hyper={**event.state.hyper, "opt.lr": rate})
    return jnp.asarray(event.loss), event.replace(state=state)


def main():
    task = jdl.tsk("breast_cancer")
    learner = jdl.po("scale") >> jdl.lrn(
        "classif.mlp",
        neurons=(64, 64),
        epochs=30,
        batch_size=32,
        validate=0.2,
        measures_valid="classif.acc",
        callbacks=[
            NoisyGradients(),
            Watch(),
            jdl.callback(id="halved", init=lambda state: jnp.float32(jnp.inf), on_epoch_end=halved),
            jdl.cb("grad_clip", max_norm=1.0),
            jdl.cb("ema", decay=0.98),
        ],
    )
    rr = jdl.resample(task, learner, jdl.rsmp("cv", folds=3), key=0)
    print(rr.plan)
    print(f"accuracy {rr.aggregate('classif.acc'):.3f}, epochs {rr.to_pandas()['epochs'].tolist()}")
    # Numbers of callbacks are hyperparameters like others: changing them compiles nothing.
    print(learner.set({"cb.ema.decay": 0.9}).get("cb.ema.decay"))


if __name__ == "__main__":
    main()
