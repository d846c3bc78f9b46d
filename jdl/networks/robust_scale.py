"""RealMLP's preprocessing as layers: categories as signs, columns scaled by their quartiles and clipped smoothly."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from jdl.networks.embeddings.base import like
from jdl.networks.fitted import Fitted

_MAX_ABS = 3.0
_FAR = 1e18  # whence the clipped value is 3 to the last digit, and below whose square float32 has no end
_TINY = float(np.finfo(np.float32).tiny)


class RobustScale(nnx.Module):
    """Subtracts the median, divides by the distance of the quartiles, and clips smoothly to (-3, 3).

    Where the quartiles are equal half of the range takes the place of their distance; a constant column becomes 0.
    Distances below the least normal number of float32 count as none.
    Before `prepare` columns are only clipped.

    Args:
      n_columns: Number of columns.

    References: Holzmüller et al., Better by Default, 2024.

    >>> scale = RobustScale(1)
    >>> scale.prepare(np.array([[0.0], [1.0], [2.0], [3.0], [4.0]], np.float32))
    >>> scale.embed(np, np.array([[2.0], [1e9]], np.float32)).tolist()
    [[0.0], [3.0]]
    """

    def __init__(self, n_columns: int):
        self.center = Fitted(np.zeros((n_columns,), np.float32))
        self.factor = Fitted(np.ones((n_columns,), np.float32))

    def prepare(self, x: Float[np.ndarray, "row column"]) -> None:
        """Takes medians and quartiles from the training rows, in place."""
        low, middle, high = np.quantile(x, [0.25, 0.5, 0.75], axis=0)
        width = high - low
        width = np.where(width < _TINY, 0.5 * (x.max(axis=0) - x.min(axis=0)), width)
        factor = np.where(width < _TINY, 0, 1 / np.where(width < _TINY, 1, width))
        self.center.set_value(middle.astype(np.float32))
        self.factor.set_value(factor.astype(np.float32))

    def embed(self, xp: Any, x: Float[Any, "*batch column"]) -> Float[Any, "*batch column"]:
        """Scaled columns, computed with the array namespace `xp`."""
        x = (x - like(xp.asarray(self.center[...]), x)) * like(xp.asarray(self.factor[...]), x)
        x = xp.clip(x, -_FAR, _FAR)
        return x / xp.sqrt(1 + (x / _MAX_ABS) ** 2)


class SignedOneHot(nnx.Module):
    """One column per category, 1 where the row has it; code 0 (missing or unseen) has none and gives zeros.

    A feature with two categories is one column: 1 for the first, -1 for the second. One with a single category is
    1 where it is present and -1 where it is missing. A code that is out of range counts as missing.

    Args:
      cardinalities: Number of codes of each feature, code 0 included.

    References: Holzmüller et al., Better by Default, 2024.

    >>> SignedOneHot([3, 4]).embed(np, np.array([[1, 3], [2, 0], [0, 9]])).tolist()
    [[1.0, 0.0, 0.0, 1.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """

    def __init__(self, cardinalities: Sequence[int]):
        self.cardinalities = tuple(cardinalities)
        plus_minus = {1: [], 2: [(1, 0)], 3: [(1, 2)]}
        # Per column: the feature, and the codes that give 1 and -1.
        self.signs = tuple(
            (i, plus, minus)
            for i, size in enumerate(self.cardinalities)
            for plus, minus in plus_minus.get(size, zip(range(1, size), itertools.repeat(-1), strict=False))
        )

    @property
    def d_out(self) -> int:
        """Number of columns."""
        return len(self.signs)

    def embed(self, xp: Any, x: Int[Any, "*batch feature"]) -> Float[Any, "*batch column"]:
        """The columns, computed with the array namespace `xp`."""
        feature, plus, minus = np.array(self.signs, np.int32).reshape(-1, 3).T
        x = xp.where((x >= 0) & (x < like(np.array(self.cardinalities, np.int32), x)), x, 0)[..., feature]
        return (x == like(plus, x)).astype(np.float32) - (x == like(minus, x)).astype(np.float32)
