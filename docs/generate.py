"""Writes the lists of layers, of learners for tables, of optimizers, of losses and of callbacks.

Run: python docs/generate.py
"""

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jdl
from jdl.core.fields import REQUIRED, Field
from jdl.learners.neural import COMMON
from jdl.networks.layers import LAYERS
from jdl.train.callback import InScanCallback
from jdl.train.callbacks import CALLBACKS
from jdl.train.loss import LOSSES
from jdl.train.optimizer import KINDS, OPTIMIZERS
from jdl.train.optimizers.groups import FIELDS as GROUP_FIELDS

FOLDER = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py; change the docstrings and run it. -->"
TABULAR = ("mlp", "tab_resnet", "ft_transformer", "tabm", "realmlp", "module")

# Values of required hyperparameters, for the examples.
REQUIRED_VALUES: dict[str, Any] = {
    "out_features": 16, "out_channels": 8, "kernel_size": 3, "output_size": 1, "hidden_size": 16, "d_token": 8,
    "d_embedding": 8, "embedding_dim": 8, "num_heads": 2, "nhead": 2, "num_groups": 2, "upscale_factor": 2,
    "threshold": 0.1, "value": 0.0, "shape": (-1, 4, 4), "axes": 1, "axis": 1, "padding": 1,
}  # fmt: skip
EXAMPLES = {
    "mlp": 'jdl.lrn("classif.mlp", neurons=(100, 100), num_embeddings="piecewise_linear", preprocess=True)',
    "tab_resnet": 'jdl.lrn("regr.tab_resnet", n_blocks=3, final_norm=False)',
    "ft_transformer": 'jdl.lrn("classif.ft_transformer", n_blocks=2, d_block=64)',
    "tabm": 'jdl.lrn("classif.tabm", arch_type="tabm", k=16, share_batches=True)',
    "realmlp": 'jdl.lrn("regr.realmlp", variant="td-s")',
    "module": """class Net(nnx.Module):
    def __init__(self, d_in, d_out, width=8, *, rngs):
        self.first = nnx.Linear(d_in, width, rngs=rngs)
        self.last = nnx.Linear(width, d_out, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.first(x)))


jdl.lrn("classif.module", module=Net, width=16)""",
}


def layers() -> str:
    """The list of layers, each with its hyperparameters."""
    parts = [
        "# Layers",
        NOTE,
        f"{len(LAYERS)} layers for `jdl.nn(name, ...)`. Axes count from 0, the first is the batch, the last holds "
        "features or channels. Beside them there are `block` (a graph, repeated), `fn` and `module` (your own); "
        "see [Defining an architecture](architectures.md) and [Writing your own layer](own-layers.md).",
    ]
    for name, kind in LAYERS.items():
        needed = {n: REQUIRED_VALUES[n] for n, field in kind.fields.items() if field.default is REQUIRED}
        arguments = "".join(f", {n}={value!r}" for n, value in needed.items())
        parts += [f"## {name}", kind.doc, _code(f'jdl.nn("{name}"{arguments})'), *_table(kind.fields.items())]
    return "\n\n".join(parts) + "\n"


def learners() -> str:
    """The list of learners for tables, each with the hyperparameters that the others do not share."""
    parts = [
        "# Learners for tables",
        NOTE,
        "Each is there as `classif.<name>` and `regr.<name>`. All but `mlp` and `module` take any table: mixed "
        "columns, missing values, unseen levels, constant columns; `preprocess=False` leaves that to you, and "
        '`preprocess=True` makes `mlp` do the same. With `cat_embeddings="embedding"` `mlp` takes categorical columns '
        "and their missing values itself, with preprocessing or without. The best epoch of those that take any table "
        "has the least classification error or RMSE on the validation rows, unless `measures_valid` names another "
        "measure or a loss is given, which then decides. A value that would have no effect beside the others is an "
        "error. What all networks share stands at the end; where a learner has another default, its own "
        "list says so.",
    ]
    for short in TABULAR:
        entry: Any = jdl.learners.LEARNERS[f"classif.{short}"]
        options = {"module": jdl.networks.MLP} if short == "module" else {}
        learner = entry(**options)
        own = _own_fields(learner.fields) if short != "module" else {}
        parts += [f"## {short}", *_doc(entry), _code(EXAMPLES[short]), *_table(own.items())]
        other: Any = jdl.learners.LEARNERS[f"regr.{short}"]
        parts.append(_optimizers(learner.optimizer, other(**options).optimizer))
    parts += ["## What all networks share", *_table(COMMON.items())]
    return "\n\n".join(parts) + "\n"


def _own_fields(fields: dict[str, Field]) -> dict[str, Field]:
    """Those that other networks have not, or with another default; the optimizer stands apart, with its values."""
    return {n: f for n, f in fields.items() if n not in COMMON or (f != COMMON[n] and n != "optimizer")}


def _optimizers(classif: Any, regr: Any) -> str:
    text = f"Optimizer: `{classif!r}`"
    if classif != regr:
        values, others = dict(classif.values), dict(regr.values)
        text += "; in regression " + ", ".join(f"`{n}={v!r}`" for n, v in others.items() if v != values[n])
    return text + "."


OPTIMIZERS_TEXT = """`jdl.opt(name, ...)` gives an optimizer, `jdl.lrn(..., optimizer=...)` takes it or its name,
and `learner.set({"opt.lr": 0.01})` changes one of its values. `adam`, `adamw`, `sgd`, `rmsprop` and `adagrad` take
PyTorch's steps (compared in float64 over fifty of them), the others are Optax's own. What is dynamic is an array
at run time: another value compiles nothing, and members of a population may differ in it.

`jdl.opt(...).optax()` is the Optax transformation, for a loop of your own. The other way round,
`jdl.opt(transformation)` takes any `optax.GradientTransformation`; its values are then fixed, so make it once.

```python
import optax

import jdl

learner = jdl.lrn("classif.mlp", epochs=20, optimizer=jdl.opt("adamw", lr=1e-3, weight_decay=0.05))
learner = jdl.lrn("classif.mlp", epochs=20, optimizer=jdl.opt(optax.yogi(1e-2)))
```"""

GROUPS_TEXT = """Parameters can have values of their own. A group is `jdl.train.ParamGroup` or a dict: `params` is
a Select function (`jdl.networks.select_all, select_none, select_grep, select_name, select_invert`), beside it
stands what the group sets. A parameter of several groups takes from each what it sets; of two that set the same
the later one counts. A group that matches nothing is an error that lists the parameters there are.

```python
from jdl.networks import select_grep

optimizer = jdl.opt(
    "adamw",
    lr=1e-3,
    groups=[
        "no_decay",  # no weight decay on biases, norms and embeddings
        {"params": select_grep("^head"), "lr_factor": 10.0},  # follows "opt.lr", whatever a schedule makes of it
        {"params": select_grep(r"^blocks\\.0"), "frozen": True},  # no gradient is computed
    ],
)
learner = jdl.lrn("classif.mlp", epochs=20, optimizer=optimizer).set({"opt.groups.1.lr_factor": 5.0})
```

`frozen=True` is a part of the program; the rest is dynamic and has a name, such as "opt.groups.1.lr_factor", that
schedules can move too."""

ACCUMULATE_TEXT = """`accumulate=k` makes one step of k batches: that of one batch of all their rows, each counted
by its weight. What is left over when an epoch ends is applied. Callbacks see the gradients of each batch, before
they are added up.

```python
learner = jdl.lrn("classif.mlp", epochs=20, batch_size=16, optimizer=jdl.opt("sgd", lr=0.1, accumulate=4))
```"""


def optimizers() -> str:
    """The list of optimizers, each with its hyperparameters and an example."""
    parts = ["# Optimizers", NOTE, OPTIMIZERS_TEXT]
    for name, make in OPTIMIZERS.items():
        needed = ", lr=0.1" if KINDS[name].fields["lr"].default is REQUIRED else ""
        parts += [f"## {name}", *_doc(make), *_table(KINDS[name].fields.items())]
        parts.append(f'```python\njdl.lrn("classif.mlp", epochs=20, optimizer=jdl.opt("{name}"{needed}))\n```')
    parts += ["## Parameter groups", GROUPS_TEXT, *_table(GROUP_FIELDS.items()), "## Accumulation", ACCUMULATE_TEXT]
    return "\n\n".join(parts) + "\n"


LOSSES_TEXT = """`jdl.loss(name, ...)` gives a loss, `jdl.lrn(..., loss=...)` takes it, its name, or a function. A
learner shows its values as "loss.label_smoothing" and so on. What is dynamic is an array at run time: another
value compiles nothing; 0 label smoothing and no class weights leave their terms out, so that the step from there
to a value compiles once more.

A batch's loss is the mean over its rows, each counted by its weight, which class weights multiply; padding has
weight 0. In regression the target is standardised inside, so losses are in units of the standardised target,
unless they say otherwise; what is predicted comes back in units of the target. The loss decides how many outputs
the network has.

A function takes outputs (row, output) and targets (row), class codes or standardised values, and gives a loss for
each row:

```python
import jax.numpy as jnp

import jdl


def too_low_costs_double(output, target):
    error = target - output[:, 0]
    return jnp.where(error > 0, 2.0, 1.0) * error**2


learner = jdl.lrn("regr.mlp", epochs=20, loss=too_low_costs_double)
```"""

LOSS_EXAMPLES = {
    "cross_entropy": 'jdl.lrn("classif.mlp", loss=jdl.loss("cross_entropy", label_smoothing=0.1))\n'
    'jdl.lrn("classif.mlp", loss=jdl.loss("cross_entropy", class_weight="balanced"))',
    "focal": 'jdl.lrn("classif.mlp", loss=jdl.loss("focal", gamma=2.0))',
    "gaussian_nll": 'jdl.lrn("regr.mlp", loss="gaussian_nll", predict_type="se")',
    "quantile": 'jdl.lrn("regr.mlp", loss=jdl.loss("quantile", quantiles=(0.05, 0.5, 0.95)), predict_type="quantiles")',
    "multilabel": "jdl.train.program(jdl.train.MLPSpec((32,)), n_features=4, n_outputs=3, "
    'loss=jdl.loss("multilabel", n_labels=3))',
}


def losses() -> str:
    """The list of losses, each with its hyperparameters and an example."""
    parts = ["# Losses", NOTE, LOSSES_TEXT]
    for name, loss in LOSSES.items():
        kinds: Any = loss
        task_type = kinds.task_types[0]
        example = LOSS_EXAMPLES.get(name, f'jdl.lrn("{task_type}.mlp", loss="{name}")')
        parts += [f"## {name}", f"For {task_type} tasks.", *_doc(loss), *_table(kinds.fields.items())]
        parts.append(f"```python\n{example}\n```")
    return "\n\n".join(parts) + "\n"


def _doc(documented: Any) -> list[str]:
    """The paragraphs of a docstring before its sections, and its references."""
    paragraphs = (inspect.getdoc(documented) or "").split("\n\n")
    return [p for p in paragraphs if not p.startswith(("Args:", "Raises:", ">>>"))]


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


# How each callback is made in an example, where a name alone is not enough.
CALLBACK_EXAMPLES = {
    "checkpoint": 'jdl.cb("checkpoint", "runs/first", freq=5)',
    "tensorboard": 'jdl.cb("tensorboard", "runs")',
    "csv_log": 'jdl.cb("csv_log", "log.csv")',
    "wandb_log": 'jdl.cb("wandb_log", project="heart")',
    "mlflow_log": 'jdl.cb("mlflow_log", experiment="heart")',
    "unfreeze": """jdl.cb(
    "unfreeze",
    starting_weights=jdl.networks.select_grep("head"),
    unfreeze={"epoch": [3], "weights": [jdl.networks.select_all()]},
)""",
    "grad_clip": 'jdl.cb("grad_clip", max_norm=1.0)',
    "ema": 'jdl.cb("ema", decay=0.99)',
    "polyak": 'jdl.cb("polyak", start=10)',
    "lr_lambda": 'jdl.cb("lr_lambda", lr_lambda=lambda epoch: 0.95**epoch)',
    "lr_multiplicative": 'jdl.cb("lr_multiplicative", lr_lambda=lambda epoch: 0.95)',
    "lr_one_cycle": 'jdl.cb("lr_one_cycle", max_lr=0.01)',
    "lr_reduce_on_plateau": 'jdl.cb("lr_reduce_on_plateau", patience=5, factor=0.5)',
    "lr_step": 'jdl.cb("lr_step", step_size=10)',
    "lr_warmup": 'jdl.cb("lr_warmup", epochs=2, then=jdl.cb("lr_cosine_annealing"))',
    "lr_cosine_restarts": 'jdl.cb("lr_cosine_restarts", T_0=5, T_mult=2)',
    "lr_flat_cos": 'jdl.cb("lr_flat_cos", of="dropout")',
    "lr_exponential": 'jdl.cb("lr_exponential", gamma=0.95)',
    "schedule": """import optax

jdl.cb("schedule", schedule=optax.cosine_decay_schedule(0.01, decay_steps=1000), of="weight_decay")""",
}


def callbacks() -> str:
    """The list of callbacks, each with its parameters and an example."""
    parts = [
        "# List of callbacks",
        NOTE,
        f"{len(CALLBACKS)} callbacks for `jdl.cb(name, ...)`; [Callbacks](callbacks.md) says how they work. Numbers "
        'marked dynamic are hyperparameters of the learner, `"cb.<id>.<name>"`; changing them compiles nothing. Every '
        'schedule takes `of=`, what it drives: `"lr"`, `"weight_decay"`, `"momentum"`, `"dropout"` or another dynamic '
        "hyperparameter by its name.",
        "```python\nimport jdl\n```",
    ]
    for name, kind in CALLBACKS.items():
        in_scan = issubclass(kind, InScanCallback)  # pyright: ignore[reportArgumentType]
        doc = inspect.getdoc(kind) or ""
        text = (
            doc.partition("\n\n>>>")[0].partition("\n\nRaises:")[0].partition("\n\nArgs:")[0].replace("Raises:\n", "")
        )
        parts += [f"## {name}", text, "In the scan." if in_scan else "On the host."]
        parts.append(f"```python\n{CALLBACK_EXAMPLES.get(name, f'jdl.cb({name!r})').replace(chr(39), chr(34))}\n```")
        if in_scan:
            parts += _table(kind.fields.items())  # pyright: ignore[reportFunctionMemberAccess]
        else:
            parts += _arguments(kind, doc)
    return "\n\n".join(parts) + "\n"


def _arguments(kind: Any, doc: str) -> list[str]:
    """The arguments of a callback on the host, as its docstring says them."""
    described = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", doc.partition("Args:\n")[2].partition("\n\n")[0], re.M)
    taken = inspect.signature(kind).parameters
    rows = []
    for name, text in described:
        default = taken[name].default if name in taken else None
        shown = "required" if default is inspect.Parameter.empty else f"`{default!r}`"
        rows.append(f"| `{name}` | {shown} | {' '.join(text.split())} |")
    return ["\n".join(["| argument | default | |", "|---|---|---|", *rows])] if rows else []


def _table(fields: Iterable[tuple[str, Field]]) -> list[str]:
    rows = [
        f"| `{name}` | {_default(field)} | {field.expected().replace('|', '/')} | {'yes' if field.dynamic else ''} "
        f"| {field.doc} |"
        for name, field in fields
    ]
    if not rows:
        return []
    head = ["| hyperparameter | default | takes | dynamic | |", "|---|---|---|---|---|"]
    return ["\n".join([*head, *rows])]


def _default(field: Field) -> str:
    return "required" if field.default is REQUIRED else f"`{field.default!r}`"


PAGES = {
    "layers.md": layers,
    "tabular-learners.md": learners,
    "optimizers.md": optimizers,
    "losses.md": losses,
    "callbacks-list.md": callbacks,
}

if __name__ == "__main__":
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write(), encoding="utf-8")
