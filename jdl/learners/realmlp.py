"""RealMLP as a learner."""

from collections.abc import Mapping
from typing import Any, ClassVar

from jdl.core.errors import ConfigError, shown
from jdl.core.fields import Field
from jdl.learners.embedding_fields import embedding_fields, embedding_of, is_default
from jdl.learners.neural import COMMON, VALIDATION_RATIO
from jdl.learners.tabular import PREPROCESS, TabularLearner
from jdl.learners.task_type import ForClassif, ForRegrByLoss
from jdl.networks.activation import as_activation
from jdl.networks.tabular_specs import RealMLPSpec
from jdl.pipeline.impute import ImputeMean
from jdl.pipeline.missing_indicator import MissingIndicator
from jdl.pipeline.stage import Stage
from jdl.train.callback import InScanCallback
from jdl.train.callbacks.run_schedules import CosLog4, FlatCos
from jdl.train.callbacks.schedule import Schedule
from jdl.train.loss import CrossEntropy
from jdl.train.optimizer import Optimizer

_LR = {("classif", "td"): 0.04, ("regr", "td"): 0.2, ("classif", "td-s"): 0.04, ("regr", "td-s"): 0.07}
_EMBEDDING_FIELDS = embedding_fields("pbld")


class RealMLPLearner(TabularLearner):
    """What classification and regression share: the package's defaults, 256 epochs, the weights of the best one.

    If the first of `measures_valid` is a measure of probabilities, labels are not smoothed. Of equally good epochs
    the later one is taken.
    """

    own_stages: ClassVar[tuple[Stage, ...]] = (MissingIndicator(id="own_missind"), ImputeMean(id="own_imputemean"))
    later_ties: ClassVar[bool] = True
    fields: ClassVar[dict[str, Field]] = {
        "variant": Field("str", "td", choices=("td", "td-s"), doc="Tuned defaults, or their simple form."),
        "hidden_sizes": Field("ints", (256, 256, 256), low=1, doc="Widths of the hidden layers."),
        "activation": Field("any", None, optional=True, doc="Name or function; None: selu, mish in regression."),
        "dropout": Field(
            "float", None, low=0.0, high=1.0, optional=True, dynamic=True,
            doc="Dropout after each hidden layer at first, falling to 0 along the schedule; None: 0.15, and 0 in td-s.",
        ),
        "max_one_hot_cat_size": Field(
            "int", 9, low=0, doc="Most codes, code 0 included, that are one-hot encoded; td-s encodes all."
        ),
        "embedding_size": Field("int", 8, low=1, doc="Width of the embedding of other categories."),
        "label_smoothing": Field(
            "float", None, low=0.0, high=0.999, optional=True,
            doc="In classification; None: 0.1, and 0 where the measure is of probabilities.",
        ),
        "preprocess": PREPROCESS,
    } | _EMBEDDING_FIELDS | COMMON | {
        "drop_last": Field("bool", True, doc="Whether an incomplete last batch is left out."),
        "optimizer": Field("any", None, optional=True, doc="An optimizer or its name; None: the package's Adam."),
    }  # fmt: skip

    def _check(self) -> None:
        super()._check()
        who = f"learner '{self.name}'"
        if self._simple:
            self._check_simple(who)
        if self.values.get("label_smoothing") is not None and self.values["loss"] is not None:
            raise ConfigError(
                f"{who}: 'label_smoothing' is of the learner's own loss and has no effect on a given one, got "
                f"{self.values['label_smoothing']} and {self.values['loss']!r}.\n"
                "Hint: jdl.loss('cross_entropy', label_smoothing=0.1, one_logit=False), or no 'loss'."
            )
        if self.values["activation"] is not None:
            as_activation(self.values["activation"])

    def _split_names(self, given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        if "variant" in given:  # checked before the rest, since the default optimizer follows from it
            self.fields["variant"].check(f"learner '{self.name}'", "variant", given["variant"])
        own, other = super()._split_names(given)
        # The default stays a default, which follows the variant.
        if own.get("optimizer") == self.default_optimizer({**getattr(self, "values", {}), **own}):
            own["optimizer"] = None
        return own, other

    def _check_simple(self, who: str) -> None:
        """Refuses what RealMLP-TD-S does not have."""
        for name in ("dropout", "max_one_hot_cat_size", "embedding_size", *_EMBEDDING_FIELDS):
            # Defaults cannot be told from what was given, and a rate of 0 is what it has.
            has_none = name == "dropout" and self.values[name] == 0
            if not has_none and not is_default(name, self.fields, self.values):
                raise ConfigError(
                    f"{who}: variant='td-s' has neither dropout nor embeddings, so that '{name}' has no effect, got "
                    f"{shown(self.values[name])}.\nHint: variant='td', or no '{name}'."
                )

    def _all_fields(self) -> dict[str, tuple[Field, Any]]:
        fields = super()._all_fields()
        return fields | {"num_embeddings": (self.fields["num_embeddings"], None)} if self._simple else fields

    @property
    def _simple(self) -> bool:
        return self.values["variant"] == "td-s"

    def default_optimizer(self, values: Mapping[str, Any]) -> Any:
        """Adam with the package's betas and its decoupled decay."""
        variant = values.get("variant") or "td"
        decay = 0.02 if variant == "td" else 0.0
        lr = _LR[self.task_type, variant]
        return Optimizer.named("adamw", lr=lr, betas=(0.9, 0.95), weight_decay=decay)

    def default_loss(self) -> Any:
        """Cross-entropy of one logit per class with smoothed labels; squared error."""
        if self.task_type == "regr":
            return "mse"
        smoothing = self.values["label_smoothing"]
        if smoothing is None:
            given = self.values["measures_valid"]
            smoothing = 0.0 if given and given[0].predict_type == "prob" else 0.1
        return CrossEntropy(label_smoothing=smoothing, one_logit=False)

    def default_batch_size(self, n_rows: int) -> int:
        """256, or all rows of a shorter table."""
        del n_rows
        return 256

    def default_epochs(self, n_rows: int, batch_size: int, validate: Any, patience: int | None) -> tuple[int, Any, int]:
        """256, without stopping early."""
        del n_rows, batch_size
        return 256, VALIDATION_RATIO if validate is None else validate, patience or 0

    def dropouts(self) -> dict[str, float]:
        """The rate of dropout, where there is any."""
        rate = self.values["dropout"]
        rate = (0.0 if self._simple else 0.15) if rate is None else rate
        return {"dropout": rate} if rate else {}

    def in_scan_callbacks(self) -> tuple[InScanCallback, ...]:
        """The schedules of learning rate, decay and dropout, and those given, which take the place of its own."""
        schedules: list[Schedule] = [CosLog4()] if "lr" in self.optimizer.fields else []
        if self.optimizer.has_term("weight_decay"):
            schedules.append(FlatCos(of="weight_decay"))
        if self.dropouts():
            schedules.append(FlatCos(of="dropout"))
        given = super().in_scan_callbacks()
        driven = {callback.of.removeprefix("opt.") for callback in given if isinstance(callback, Schedule)}
        return (*(schedule for schedule in schedules if schedule.of not in driven), *given)

    def network(self) -> RealMLPSpec:
        """The network's spec."""
        values = self.values
        default = "selu" if self.task_type == "classif" else "mish"
        options = {
            "hidden_sizes": values["hidden_sizes"],
            "activation": values["activation"] or default,
            "clamp_output": self.task_type == "regr" and not self._simple and self.loss.direct,
        }
        if self._simple:
            return RealMLPSpec(options=tuple(options.items()), simple=True, dropout=False)
        options |= {name: values[name] for name in ("max_one_hot_cat_size", "embedding_size")}
        if values["num_embeddings"] is None:
            options["num_emb_type"] = "none"
        return RealMLPSpec(
            options=tuple(options.items()), dropout=bool(self.dropouts()), embedding=embedding_of(values)
        )


class ClassifRealMLP(ForClassif, RealMLPLearner):
    """RealMLP: an MLP with tuned defaults, embeddings and schedules (Holzmüller et al., 2024).

    >>> ClassifRealMLP().get("opt.lr")
    0.04
    """

    name: ClassVar[str] = "classif.realmlp"


class RegrRealMLP(ForRegrByLoss, RealMLPLearner):
    """RealMLP: an MLP with tuned defaults, embeddings and schedules (Holzmüller et al., 2024).

    >>> RegrRealMLP(variant="td-s").get("opt.lr")
    0.07
    """

    name: ClassVar[str] = "regr.realmlp"
    fields: ClassVar[dict[str, Field]] = {n: f for n, f in RealMLPLearner.fields.items() if n != "label_smoothing"}
    refused: ClassVar[dict[str, str]] = {
        "label_smoothing": "has no effect, since it is for classes and this learner predicts numbers.\n"
        "Hint: leave it out."
    }
