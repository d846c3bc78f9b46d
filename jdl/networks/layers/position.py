"""Positional encodings of sequences, (batch, position, feature)."""

from flax import nnx

from jdl.core.errors import ShapeError
from jdl.core.fields import Field
from jdl.networks.array_spec import ArraySpec
from jdl.networks.layer import Apply, Site, layer_kind
from jdl.networks.position import LearnedPositions, add_sinusoids, rotate

_BASE = Field("float", 10000.0, low=1, open_low=True, doc="Longest wavelength, in units of 2 pi.")
_SEQUENCE = "(batch, position, feature)"


@layer_kind(
    max_length=Field(
        "int", None, low=1, optional=True, doc="Greatest number of positions; None takes that of the input."
    ),
    std=Field("float", 0.02, low=0, doc="Standard deviation of the initial values."),
)
def position_learned(site: Site, x: ArraySpec, max_length: int | None, std: float) -> nnx.Module:
    """Adds a learned vector per position."""
    x.need_ndim(3, what=_SEQUENCE)
    length = max_length or x.size(1)
    if isinstance(x.shape[1], int) and x.shape[1] > length:
        raise ShapeError(f"knows {length} positions (max_length), but its input {x} has {x.shape[1]}")
    return LearnedPositions(length, x.size(2), std=std, rngs=site.rngs)


@layer_kind(base=_BASE)
def position_sinusoidal(site: Site, x: ArraySpec, base: float) -> nnx.Module:
    """Adds sines and cosines of the position, of wavelengths from 2 pi to 2 pi * base (Vaswani et al., 2017)."""
    del site
    x.need_ndim(3, what=_SEQUENCE)
    x.size(2)
    return Apply(add_sinusoids, (base,))


@layer_kind(base=_BASE)
def position_rotary(site: Site, x: ArraySpec, base: float) -> nnx.Module:
    """Rotates pairs of features by angles that grow with the position (Su et al., 2021).

    For queries and keys, (batch, position, feature) or (batch, position, head, feature); within an attention layer
    its own `rotary` does it.
    """
    del site
    x.need_ndim(3, 4, what="(batch, position, feature) or (batch, position, head, feature)")
    if x.size(-1) % 2:
        raise ShapeError(f"rotates pairs of features, but its input {x} has an odd number of them")
    return Apply(rotate, (base,))


KINDS = (position_learned, position_sinusoidal, position_rotary)
