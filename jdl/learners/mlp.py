"""Multi-layer perceptrons as learners."""

from dataclasses import replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError
from jdl.core.fields import Field
from jdl.learners.embedding_fields import cat_embedding_fields, cat_width, embedding_fields, embedding_of
from jdl.learners.neural import COMMON, default_epochs
from jdl.learners.tabular import PREPROCESS, FlatLearner
from jdl.learners.task_type import ForClassif, ForRegrByLoss
from jdl.networks.activation import as_activation
from jdl.networks.spec import MLPSpec

MLP_FIELDS: dict[str, Field] = {
    "neurons": Field("ints", (128, 128), low=1, doc="Widths of the hidden layers; () is a linear model."),
    "n_layers": Field("int", None, low=1, optional=True, doc="How often a single width is repeated."),
    "activation": Field("any", "relu", doc="Name or function."),
    "activation_args": Field("any", (), doc="Arguments of the activation, a dict."),
    "norm": Field("str", "none", choices=("none", "batch", "layer"), doc="Norm before each activation."),
    "dropout": Field("float", 0.1, low=0.0, high=1.0, dynamic=True, doc="Dropout after each activation."),
}


class MLPLearner(FlatLearner):
    """What the classification and the regression MLP share.

    Takes numeric columns and adds no preprocessing, unless `preprocess=True` asks for what the other networks do.
    With `cat_embeddings="embedding"` it takes categorical columns too, with preprocessing or without.
    """

    decisive: ClassVar[dict[str, str]] = {}
    fields: ClassVar[dict[str, Field]] = (
        MLP_FIELDS
        | {"preprocess": replace(PREPROCESS, default=False)}
        | embedding_fields(None)
        | cat_embedding_fields()
        | COMMON
    )

    def _check(self) -> None:
        super()._check()
        self.values["activation_args"] = _checked_activation(f"learner '{self.name}'", self.values)
        if self.values["n_layers"] is not None and len(self.values["neurons"]) != 1:
            raise ConfigError(
                f"learner '{self.name}': 'n_layers' repeats a single width, but 'neurons' is "
                f"{self.values['neurons']}.\nHint: neurons={self.values['neurons'][:1] or (128,)}, or no n_layers."
            )

    def network(self) -> MLPSpec:
        """The MLP's spec."""
        values = self.values
        return MLPSpec(
            neurons=values["neurons"] * (values["n_layers"] or 1),
            activation=values["activation"],
            activation_args=values["activation_args"],
            norm=values["norm"],
            dropout=values["dropout"] > 0,
            embedding=embedding_of(values),
            d_cat_embedding=cat_width(values),
        )

    def default_epochs(self, n_rows: int, batch_size: int, validate: Any, patience: int | None) -> tuple[int, Any, int]:
        """By the number of rows, as for any network; see `jdl.learners.neural.default_epochs`."""
        return default_epochs(n_rows, batch_size, validate, patience)


class ClassifMLP(ForClassif, MLPLearner):
    """Multi-layer perceptron for classification.

    >>> ClassifMLP(neurons=(10,), epochs=5).get("epochs")
    5
    """

    name: ClassVar[str] = "classif.mlp"


class RegrMLP(ForRegrByLoss, MLPLearner):
    """Multi-layer perceptron for regression; the target is standardised inside.

    >>> RegrMLP(neurons=()).get("neurons")
    ()
    """

    name: ClassVar[str] = "regr.mlp"


def _checked_activation(who: str, values: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The activation's arguments as pairs, if it takes them and maps an array to one of its shape."""
    activation, arguments = values["activation"], values["activation_args"]
    function = as_activation(activation)
    try:
        pairs = tuple(sorted(dict(arguments).items()))
    except (TypeError, ValueError):
        raise ConfigTypeError(
            f"{who}: 'activation_args' must be a dict, got {arguments!r}.\n"
            "Hint: activation='leaky_relu', activation_args={'negative_slope': 0.1}."
        ) from None
    try:
        hash(pairs)
    except TypeError:
        raise ConfigTypeError(
            f"{who}: 'activation_args' must hold numbers and texts, got {arguments!r}.\n"
            "Hint: they are a part of what is compiled; a tuple stands for a list."
        ) from None
    if isinstance(activation, str) and not pairs:
        return pairs
    given = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    try:
        out = jax.eval_shape(lambda x: function(x, **dict(pairs)), given)
    except Exception as error:
        name = type(error).__name__
        raise ConfigError(f"{who}: activation {activation!r} fails with {dict(pairs)}: {name}: {error}") from error
    if getattr(out, "shape", None) != given.shape:
        raise ShapeError(f"{who}: activation {activation!r} must keep the shape {given.shape}, but it gives {out}.")
    return pairs
