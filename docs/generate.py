"""Writes the lists of layers and of learners for tables: docs/layers.md and docs/tabular-learners.md.

Run: python docs/generate.py
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jdl
from jdl.core.fields import REQUIRED, Field
from jdl.learners.neural import COMMON
from jdl.networks.layers import LAYERS

FOLDER = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py; change the docstrings and run it. -->"
TABULAR = ("mlp", "tab_resnet", "ft_transformer", "tabm", "realmlp", "module")


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
        parts += [f"## {name}", kind.doc, *_table(kind.fields.items())]
    return "\n\n".join(parts) + "\n"


def learners() -> str:
    """The list of learners for tables, each with the hyperparameters that the others do not share."""
    parts = [
        "# Learners for tables",
        NOTE,
        "Each is there as `classif.<name>` and `regr.<name>`. All but `mlp` and `module` take any table: mixed "
        "columns, missing values, unseen levels, constant columns; `preprocess=False` leaves that to you, and "
        "`preprocess=True` makes `mlp` do the same. What they share stands at the end.",
    ]
    for short in TABULAR:
        entry: Any = jdl.learners.LEARNERS[f"classif.{short}"]
        options = {"module": jdl.networks.MLP} if short == "module" else {}
        fields = entry(**options).fields
        own = {n: f for n, f in fields.items() if n not in COMMON} if short != "module" else {}
        parts += [f"## {short}", (entry.__doc__ or "").partition("\n")[0], *_table(own.items())]
        optimizer = entry(**options).optimizer
        parts.append(f"Optimizer: `{optimizer!r}`.")
    parts += ["## What all networks share", *_table(COMMON.items())]
    return "\n\n".join(parts) + "\n"


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


PAGES = {"layers.md": layers, "tabular-learners.md": learners}

if __name__ == "__main__":
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write(), encoding="utf-8")
