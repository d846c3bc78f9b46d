"""Pooling, channels last: (batch, *space, channel)."""

from typing import Any

from flax import nnx

from jdl.core.errors import ShapeError
from jdl.core.fields import Field
from jdl.networks.array_spec import ArraySpec
from jdl.networks.conv import Pairs
from jdl.networks.layer import Apply, LayerKind, Site, layer_kind
from jdl.networks.layers.common import PerAxis, per_axis
from jdl.networks.layers.conv import SPACE, axes_of, need_room
from jdl.networks.pool import adaptive_pool, avg_pool, max_pool, max_pool_with_indices


def _shared(n: int) -> dict[str, Any]:
    return {
        "kernel_size": per_axis("kernel_size", n, "Size of a window: one number, or one per axis of space."),
        "stride": per_axis("stride", n, "Steps between windows; None takes the size of a window.", None, optional=True),
        "padding": per_axis(
            "padding", n, "How much is added on both sides of each axis; at most half a window.", 0, low=0
        ),
        "ceil_mode": Field("bool", False, doc="Whether a last window that is not filled counts."),
    }


def _padding(
    x: ArraySpec,
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    ceil_mode: bool,
) -> Pairs:
    """Pairs of before and after; in ceil mode what completes the last window comes on top."""
    if any(2 * p > k for p, k in zip(padding, sizes, strict=True)):
        raise ShapeError(f"needs padding of at most half its windows, but padding {padding}, windows {sizes}")
    pairs = []
    for axis, (k, s, p, d) in enumerate(zip(sizes, strides, padding, dilation, strict=True), start=1):
        high = p
        if ceil_mode:
            size = x.size(axis)
            extent = d * (k - 1) + 1
            # No window starts behind the input and the padding before it.
            last = min(-(-(size + 2 * p - extent) // s), (size + p - 1) // s)
            high = last * s + extent - size - p
        pairs.append((p, high))
    need_room(x, sizes, dilation, tuple(pairs))
    return tuple(pairs)


def _max_pool(n: int) -> LayerKind:
    def build(site: Site, x: ArraySpec, **values: Any) -> nnx.Module:
        del site
        x.need_ndim(n + 2, what=axes_of(n))
        sizes, dilation = values["kernel_size"], values["dilation"]
        strides = values["stride"] or sizes
        padding = _padding(x, sizes, strides, values["padding"], dilation, values["ceil_mode"])
        function = max_pool_with_indices if values["return_indices"] else max_pool
        return Apply(function, kwargs={"sizes": sizes, "strides": strides, "padding": padding, "dilation": dilation})

    build.__doc__ = (
        f"The greatest element of each window of {SPACE[n]}: {axes_of(n)}.\n\n"
        "With return_indices a second output says where it is: its number among the positions of its channel."
    )
    return layer_kind(
        name=f"max_pool{n}d",
        n_outputs=_n_outputs,
        **_shared(n),
        dilation=per_axis("dilation", n, "Steps between the elements of a window.", 1),
        return_indices=Field("bool", False, doc="Whether there is a second output that says where each maximum is."),
    )(build)


def _n_outputs(values: dict[str, Any]) -> int:
    return 2 if values["return_indices"] else 1


def _avg_pool(n: int) -> LayerKind:
    def build(site: Site, x: ArraySpec, **values: Any) -> nnx.Module:
        del site
        x.need_ndim(n + 2, what=axes_of(n))
        sizes = values["kernel_size"]
        strides = values["stride"] or sizes
        padding = _padding(x, sizes, strides, values["padding"], (1,) * n, values["ceil_mode"])
        options = {"count_include_pad": values["count_include_pad"], "divisor": values.get("divisor_override")}
        return Apply(avg_pool, kwargs={"sizes": sizes, "strides": strides, "padding": padding, **options})

    build.__doc__ = f"The mean of each window of {SPACE[n]}: {axes_of(n)}."
    more = {}
    if n > 1:
        doc = "Divides the sums instead of the number of elements."
        more["divisor_override"] = Field("int", None, low=1, optional=True, doc=doc)
    return layer_kind(
        name=f"avg_pool{n}d",
        **_shared(n),
        count_include_pad=Field("bool", True, doc="Whether zeros of the padding count as elements."),
        **more,
    )(build)


def _adaptive(n: int, how: str) -> LayerKind:
    def build(site: Site, x: ArraySpec, output_size: tuple[int, ...]) -> nnx.Module:
        del site
        x.need_ndim(n + 2, what=axes_of(n))
        for axis, size in enumerate(output_size, start=1):
            if size > 1:
                x.size(axis)
        return Apply(adaptive_pool, kwargs={"output_size": output_size, "how": how})

    what = "mean" if how == "avg" else "greatest element"
    build.__doc__ = (
        f"The {what} of windows that share out {SPACE[n]} evenly: {axes_of(n)} to the output size.\n\n"
        "An output size of 1 reduces an axis of any size, known or not."
    )
    doc = "Size of each axis of space: one number, or one per axis."
    return layer_kind(
        name=f"adaptive_{how}_pool{n}d", output_size=Field("ints", low=1, convert=PerAxis("output_size", n), doc=doc)
    )(build)


KINDS = (
    *(_avg_pool(n) for n in (1, 2, 3)),
    *(_max_pool(n) for n in (1, 2, 3)),
    *(_adaptive(n, how) for how in ("avg", "max") for n in (1, 2, 3)),
)
