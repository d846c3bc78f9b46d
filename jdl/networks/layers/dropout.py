"""Noise while training: dropout of elements, of channels, of whole branches."""

from flax import nnx

from jdl.core.fields import Field
from jdl.networks.array_spec import ArraySpec
from jdl.networks.layer import Apply, LayerKind, Site, layer_kind
from jdl.networks.layers.common import noise, rate
from jdl.networks.layers.elementwise import same


@layer_kind(p=rate(0.5, "Probability that an element becomes 0."))
def dropout(site: Site, x: ArraySpec, p: float) -> nnx.Module:
    """Zeroes each element with probability p while training and scales the others by 1 / (1 - p)."""
    del x
    return noise(site, p, "p") or Apply(same)


def _channel_dropout(n: int) -> LayerKind:
    def build(site: Site, x: ArraySpec, p: float) -> nnx.Module:
        x.need_ndim(n + 2, what=f"(batch, {n} of space, channel)")
        return noise(site, p, "p", shared=tuple(range(1, n + 1))) or Apply(same)

    build.__doc__ = (
        f"Zeroes whole channels of a row with probability p while training, of arrays with {n} axes of space.\n\n"
        "The channels that stay are scaled by 1 / (1 - p) (Tompson et al., 2015)."
    )
    return layer_kind(name=f"dropout{n}d", p=rate(0.5, "Probability that a channel of a row becomes 0."))(build)


@layer_kind(
    p=rate(0.5, "Probability that a row becomes 0."),
    mode=Field("str", "row", choices=("row", "batch"), doc="'row' draws for each row, 'batch' once for all."),
)
def stochastic_depth(site: Site, x: ArraySpec, p: float, mode: str) -> nnx.Module:
    """Zeroes whole rows with probability p while training: at the end of a branch it skips the branch.

    The rows that stay are scaled by 1 / (1 - p) (Huang et al., 2016).
    """
    return noise(site, p, "p", shared=tuple(range(1 if mode == "row" else 0, x.ndim))) or Apply(same)


KINDS = (dropout, *(_channel_dropout(n) for n in (1, 2, 3)), stochastic_depth)
