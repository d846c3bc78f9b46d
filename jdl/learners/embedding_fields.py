"""Hyperparameters of embeddings of numbers and of categories, which the learners of networks for tables share."""

from collections.abc import Mapping
from typing import Any

from jdl.core.errors import ConfigError, shown
from jdl.core.fields import Field
from jdl.networks.embedding_spec import KINDS, EmbeddingSpec
from jdl.networks.embeddings.piecewise import BINNINGS

# The kinds of embeddings that each of their hyperparameters acts on.
_WAVES, _BINNED = ("periodic", "pbld"), ("piecewise_linear",)
_ACTS_ON: dict[str, tuple[str, ...]] = {
    "d_embedding": KINDS,
    "n_frequencies": _WAVES,
    "frequency_init_scale": _WAVES,
    "lite": ("periodic",),
    "embedding_activation": _WAVES + _BINNED,
    "n_bins": _BINNED,
    "binning": _BINNED,
    "ple_version": _BINNED,
}


def embedding_fields(kind: str | None, n_bins: int = 48) -> dict[str, Field]:
    """Hyperparameters of numeric embeddings, with this kind and number of bins as defaults."""
    return {
        "num_embeddings": Field("str", kind, choices=KINDS, optional=True, doc="Embeddings of numeric columns."),
        "d_embedding": Field(
            "int", None, low=1, optional=True,
            doc="Width of an embedding; None: 16, linear_relu 32, periodic 24, pbld 4.",
        ),
        "n_frequencies": Field(
            "int", None, low=1, optional=True, doc="Of periodic embeddings and pbld; None: 48 and 16."
        ),
        "frequency_init_scale": Field(
            "float", None, low=0.0, open_low=True, optional=True,
            doc="Their first frequencies' deviation; None: 0.01 and 0.1.",
        ),
        "lite": Field("bool", False, doc="Whether periodic embeddings share one linear map."),
        "embedding_activation": Field(
            "bool", None, optional=True,
            doc="Whether ReLU follows periodic, pbld and piecewise-linear embeddings; None: periodic ones only.",
        ),
        "n_bins": Field("int", n_bins, low=2, doc="Most bins of piecewise-linear embeddings."),
        "binning": Field(
            "str", "quantile", choices=BINNINGS,
            doc="Their bins: quantiles of the training rows, or splits of a decision tree per column on the target.",
        ),
        "ple_version": Field("str", "B", choices=("A", "B"), doc="Version of them."),
    }  # fmt: skip


def cat_embedding_fields() -> dict[str, Field]:
    """Hyperparameters of categories, for networks that take one flat array."""
    return {
        "cat_embeddings": Field(
            "str", "one_hot", choices=("one_hot", "embedding"),
            doc="How categories are encoded: one-hot, or as learned vectors, of which one is for missing and unseen.",
        ),
        "d_cat_embedding": Field(
            "int", None, low=1, optional=True, doc="Width of a category's vector; None: 8, as RealMLP's."
        ),
    }  # fmt: skip


def cat_width(values: dict[str, Any]) -> int | None:
    """Width of the embedding of a category; None where there is none."""
    return (values["d_cat_embedding"] or 8) if values["cat_embeddings"] == "embedding" else None


def check_cat_embedding(who: str, values: dict[str, Any]) -> None:
    """Refuses a width of embeddings where there are none.

    Raises:
      ConfigError: It is given.
    """
    width = values["d_cat_embedding"]
    if width is not None and cat_width(values) is None:
        raise ConfigError(
            f"{who}: 'd_cat_embedding' acts on cat_embeddings 'embedding', but cat_embeddings is 'one_hot', got "
            f"d_cat_embedding={width}.\nHint: cat_embeddings='embedding', or no 'd_cat_embedding'."
        )


def embedding_of(values: dict[str, Any]) -> EmbeddingSpec | None:
    """The embeddings that these hyperparameters stand for."""
    if values["num_embeddings"] is None:
        return None
    return EmbeddingSpec(
        values["num_embeddings"],
        d_embedding=values.get("d_embedding"),
        n_frequencies=values["n_frequencies"],
        frequency_init_scale=values["frequency_init_scale"],
        lite=values["lite"],
        activation=values["embedding_activation"],
        n_bins=values["n_bins"],
        binning=values["binning"],
        version=values["ple_version"],
    )


def check_embedding(who: str, fields: Mapping[str, Field], values: dict[str, Any]) -> None:
    """Refuses embeddings that cannot be, and hyperparameters that do not act on the kind that is chosen.

    Raises:
      ConfigError: Names the hyperparameter and the kinds that it acts on.
    """
    kind = values["num_embeddings"]
    for name, kinds in _ACTS_ON.items():
        if name in values and kind not in kinds and not is_default(name, fields, values):
            raise ConfigError(
                f"{who}: '{name}' acts on num_embeddings {' and '.join(map(repr, kinds))}, but num_embeddings is "
                f"{kind!r}, got {name}={shown(values[name])}.\n"
                f"Hint: num_embeddings={kinds[0]!r}, or no '{name}'."
            )
    try:
        embedding_of(values)
    except ConfigError as error:
        raise type(error)(f"{who}: {error}") from None


def is_default(name: str, fields: Mapping[str, Field], values: dict[str, Any]) -> bool:
    """Whether a hyperparameter has its default, be it that nothing was given or the same."""
    return values[name] is None or values[name] == fields[name].default
