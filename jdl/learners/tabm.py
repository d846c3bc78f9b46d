"""TabM as a learner."""

from typing import Any, ClassVar

from jdl.core.errors import ConfigError
from jdl.core.fields import Field
from jdl.learners.embedding_fields import (
    cat_embedding_fields,
    cat_width,
    check_cat_embedding,
    embedding_fields,
    embedding_of,
)
from jdl.learners.neural import COMMON, NeuralLearner
from jdl.learners.tabular import PREPROCESS, TabularLearner, optimizer_field, rate
from jdl.learners.task_type import ForClassif, ForRegrByLoss
from jdl.networks.activation import as_activation
from jdl.networks.tabular_specs import TabMSpec
from jdl.train.callback import InScanCallback
from jdl.train.callbacks.clip import GradClip
from jdl.train.optimizer import Optimizer

_EMBEDDING_FIELDS = embedding_fields("piecewise_linear", n_bins=32) | cat_embedding_fields()
_LARGE = 10_000  # training rows above which layers are wider


class TabMLearner(TabularLearner):
    """What classification and regression share. Predictions are means over the members, each trained for itself."""

    recipe: ClassVar[Any] = Optimizer.named("adamw", lr=1.3e-3, weight_decay=3e-4)
    fields: ClassVar[dict[str, Field]] = {
        "arch_type": Field(
            "str", "tabm-mini", choices=("tabm", "tabm-mini", "tabm-packed"), doc="What members have of their own."
        ),
        "k": Field("int", 32, low=1, doc="Members."),
        "n_blocks": Field("int", 3, low=1, doc="Hidden layers."),
        "d_block": Field(
            "int", None, low=1, optional=True, doc="Their width; None takes 512, and 768 above 10,000 training rows."
        ),
        "dropout": rate(0.1, "Dropout after each hidden layer."),
        "activation": Field("any", "relu", doc="Name or function."),
        "start_scaling_init": Field(
            "str", None, choices=("normal", "random-signs"), optional=True, doc="First scales; None: by embeddings."
        ),
        "share_batches": Field("bool", False, doc="Whether all members see the same rows in a step."),
        "max_grad_norm": Field("float", 1.0, low=0.0, open_low=True, optional=True, doc="Greatest norm of gradients."),
        "preprocess": PREPROCESS,
    } | _EMBEDDING_FIELDS | COMMON | optimizer_field(recipe)  # fmt: skip

    @property
    def copies(self) -> int:
        """An order per member, unless all share their batches."""
        return 1 if self.values["share_batches"] else self.values["k"]

    def _check(self) -> None:
        super()._check()
        as_activation(self.values["activation"])
        check_cat_embedding(f"learner '{self.name}'", self.values)
        start = self.values["start_scaling_init"]
        if self.values["arch_type"] == "tabm-packed" and start is not None:
            raise ConfigError(
                f"learner '{self.name}': arch_type='tabm-packed' scales nothing, so that 'start_scaling_init' has no "
                f"effect, got {start!r}.\nHint: arch_type='tabm', or no 'start_scaling_init'."
            )

    def for_rows(self, n_rows: int) -> NeuralLearner:
        """With the layers' width."""
        if self.values["d_block"] is not None:
            return self
        return self.set(d_block=768 if self.n_training(n_rows) > _LARGE else 512)  # pyright: ignore[reportReturnType]

    def in_scan_callbacks(self) -> tuple[InScanCallback, ...]:
        """Those given, and clipping, of which one that is given takes the place."""
        limit = self.values["max_grad_norm"]
        given = super().in_scan_callbacks()
        if limit is None or any(isinstance(callback, GradClip) for callback in given):
            return given
        return GradClip(max_norm=limit), *given

    def network(self) -> TabMSpec:
        """The network's spec."""
        values = self.values
        names = ("k", "n_blocks", "activation", "arch_type", "start_scaling_init")
        return TabMSpec(
            **{name: values[name] for name in names},
            d_block=values["d_block"] or 512,
            dropout=values["dropout"] > 0,
            embedding=embedding_of(values),
            d_cat_embedding=cat_width(values),
        )


class ClassifTabM(ForClassif, TabMLearner):
    """TabM: an ensemble of MLPs that share almost all of their weights (Gorishniy et al., 2024).

    Predictions are means over the members; `fitted.member_outputs(task, rows=...)` gives what each of them says, as
    an array (row, member, output).

    >>> ClassifTabM(k=8).get("k")
    8
    """

    name: ClassVar[str] = "classif.tabm"


class RegrTabM(ForRegrByLoss, TabMLearner):
    """TabM: an ensemble of MLPs that share almost all of their weights (Gorishniy et al., 2024).

    Predictions are means over the members; `fitted.member_outputs(task, rows=...)` gives what each of them says, as
    an array (row, member, output).

    >>> RegrTabM().get("arch_type")
    'tabm-mini'
    """

    name: ClassVar[str] = "regr.tabm"
