"""Recurrent layers over sequences, (batch, step, feature)."""

from typing import Any

from flax import nnx

from jdl.core.errors import ShapeError
from jdl.core.fields import Field
from jdl.networks.array_spec import ArraySpec
from jdl.networks.layer import LayerKind, Site, layer_kind
from jdl.networks.layers.common import bias_field, noise, rate
from jdl.networks.recurrent import Recurrent


def _recurrent(kind: str, doc: str) -> LayerKind:
    def build(site: Site, x: ArraySpec, **values: Any) -> nnx.Module:
        x.need_ndim(3, what="(batch, step, feature)")
        if isinstance(x.shape[1], int) and x.shape[1] < 1:
            raise ShapeError(f"needs at least one step, but its input is {x}")
        n_layers = values["n_layers"]
        return Recurrent(
            kind,
            x.size(2),
            values["hidden_size"],
            n_layers=n_layers,
            bidirectional=values["bidirectional"],
            bias=values["bias"],
            dropouts=tuple(noise(site, values["dropout"], "dropout", i) for i in range(n_layers - 1)),
            last=values["output"] == "last",
            rngs=site.rngs,
        )

    build.__doc__ = doc
    return layer_kind(
        name=kind,
        hidden_size=Field("int", low=1, doc="Width of the state."),
        n_layers=Field("int", 1, low=1, doc="Number of layers, each on the states of the one before it."),
        bidirectional=Field("bool", False, doc="Whether each layer runs in both directions, side by side."),
        dropout=rate(0.0, "Probability that a state becomes 0 between layers."),
        bias=bias_field("Whether inputs and states each have a bias."),
        output=Field("str", "all", choices=("all", "last"), doc="The states of all steps, or the last one."),
    )(build)


_SHAPES = "(batch, step, feature) -> (batch, step, hidden_size), or (batch, hidden_size) of the last step."
_INITIAL = "Initial values: U(-b, b) with b = 1 / sqrt(hidden_size), as in PyTorch."

KINDS = (
    _recurrent("lstm", f"Long short-term memory (Hochreiter & Schmidhuber, 1997).\n\n{_SHAPES}\n{_INITIAL}"),
    _recurrent("gru", f"Gated recurrent units (Cho et al., 2014).\n\n{_SHAPES}\n{_INITIAL}"),
)
