"""Quantile transform to a normal distribution.

Let q be the `n` quantiles of a column at r_k = k / (n - 1). A number between two of them gets u by linear interpolation
of r, a number that equals several of them the middle of their r, one at the lower end or below 0, one at the upper
end or above 1. The result is the normal distribution's quantile at u, with u kept within [1e-7, 1 - 1e-7].
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Float

from jdl.core.arrays import namespace
from jdl.core.errors import ConfigError
from jdl.core.fields import Field
from jdl.core.random import RandomKey
from jdl.data.selectors import Columns
from jdl.data.table import Table, TableSpec
from jdl.pipeline.columns import ALL_COLUMNS, COLUMNS, change_at, changed_numeric, numeric_positions
from jdl.pipeline.stage import Stage
from jdl.pipeline.statistic import Noise, over_columns, quantiles

_END = 1e-7


@dataclass(frozen=True)
class QuantileNormal(Stage):
    """Maps numbers through their column's distribution function to a standard normal distribution.

    Equal to scikit-learn's `QuantileTransformer(output_distribution="normal", subsample=None)`. Results lie within
    about +-5.2. A column that is constant in the training rows goes to an end (-5.2 for its value; put
    `removeconstants` before); one without any observed value becomes 0. Missing values stay missing. The columns' type
    becomes float.

    Args:
      columns: Numeric columns to transform; all by default.
      n_quantiles: Number of quantiles; never above that of the training rows. None takes one per 30 rows, at least 10
        and at most 1000.
      noise: Standard deviation of the normal noise that is added to the training rows when quantiles are
        taken, never to what is transformed. A little of it (1e-5, on columns that are scaled) spreads tied values
        over the quantiles that they cover.

    References: Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, 2021 (number of quantiles, noise).

    >>> import numpy as np
    >>> from jdl.data.table import Column
    >>> spec = TableSpec.of([Column("x", "float")])
    >>> table = Table(np.array([[1.0], [2.0], [90.0]], np.float32), np.zeros((3, 0), np.int32))
    >>> stage = QuantileNormal()
    >>> state = stage.fit(spec, table, np.ones(3), None)
    >>> stage.apply(spec, state, table, None, False).numeric[:, 0].tolist()
    [-5.199..., 0.0, 5.199...]
    """

    name: ClassVar[str] = "quantilenormal"
    fields: ClassVar[dict[str, Field]] = {
        "columns": COLUMNS,
        "n_quantiles": Field("int", None, low=1, high=10_000, optional=True, doc="Number of quantiles."),
        "noise": Field("float", 0.0, low=0.0, doc="Standard deviation of the noise that splits ties."),
    }

    columns: Columns = ALL_COLUMNS
    n_quantiles: int | None = None
    noise: float = 0.0

    def out_spec(self, spec: TableSpec) -> TableSpec:
        """The same columns, the chosen ones of type float."""
        return changed_numeric(spec, self.columns, type="float")

    def fit(self, spec: TableSpec, table: Table, weights: Float[Any, "row"], key: Any) -> dict[str, Any]:
        """The quantiles of each column, and their number, which is 0 for a column without an observed value."""
        positions = numeric_positions(spec, self.columns)
        used = self._n_used(weights)
        statistic = partial(_quantiles, used=used, slots=self.n_quantiles or 1000)
        noise = self._noise(key) if self.noise else None
        found, number = over_columns(statistic, table.numeric, weights, positions, noise)
        return {"quantiles": found, "number": number}

    def apply(self, spec: TableSpec, state: dict[str, Any], table: Table, key: Any, train: bool) -> Table:
        """The rows, transformed."""
        del key, train
        found, number = state["quantiles"], state["number"]

        def transform(x: Any) -> Any:
            if namespace(x, found) is not np:
                return jax.vmap(_scores, in_axes=(1, 0, 0), out_axes=1)(x, found, number)
            out = np.empty_like(x)
            for j in range(x.shape[1]):
                out[:, j] = _scores(x[:, j].astype(np.float64), found[j].astype(np.float64), number[j])
            return out

        return Table(change_at(table.numeric, numeric_positions(spec, self.columns), transform), table.codes)

    def _n_used(self, weights: Float[Any, "row"]) -> Any:
        xp = namespace(weights)
        n_rows = xp.round(xp.sum(weights)).astype(int)
        wanted = self.n_quantiles if self.n_quantiles is not None else xp.clip(n_rows // 30, 10, 1000)
        return xp.maximum(xp.minimum(wanted, n_rows), 1)

    def _noise(self, key: Any) -> Noise:
        if key is None:
            raise ConfigError(f"{self._owner}: noise={self.noise:g} needs a key to draw it.\nHint: noise=0.")

        def draw(column: int, n: int) -> Any:
            if isinstance(key, RandomKey):
                return self.noise * key.generator(column).standard_normal(n)
            return self.noise * jax.random.normal(jax.random.fold_in(key, column), (n,))

        return draw


def _quantiles(values: Any, weights: Any, *, used: Any, slots: int) -> tuple[Any, Any]:
    xp = namespace(values)
    (found,) = quantiles(values, weights, used, slots)
    # Interpolation between neighbors may step back by a rounding error.
    found = np.maximum.accumulate(found) if xp is np else jax.lax.cummax(found)
    return found, xp.where((weights > 0).any(), used, 0)


def _scores(x: Float[Any, "row"], found: Float[Any, "slot"], number: Float[Any, ""]) -> Float[Any, "row"]:
    """Normal scores of one column."""
    xp = namespace(x, found)
    last = len(found) - 1
    steps = xp.maximum(number - 1, 1)
    # The last quantile not above x and the first not below it: neighbors, or the ends of a run of ties.
    below = xp.clip(xp.searchsorted(found, x, side="right") - 1, 0, last)
    above = xp.clip(xp.searchsorted(found, x, side="left"), 0, last)
    width = found[above] - found[below]
    way = xp.where(width > 0, (x - found[below]) / xp.where(width > 0, width, 1), 0.5)
    first, second = xp.minimum(below, number - 1), xp.minimum(above, number - 1)
    # Shares of both sides, for in float32 a share near 1 has no digits left for the tail.
    down = ((1 - way) * first + way * second) / steps
    up = ((1 - way) * (number - 1 - first) + way * (number - 1 - second)) / steps
    down = xp.where(x - found[0] < _END, 0.0, xp.where(found[-1] - x < _END, 1.0, down))
    up = xp.where(x - found[0] < _END, 1.0, xp.where(found[-1] - x < _END, 0.0, up))
    tail = 0.0 - _ndtri(xp.maximum(xp.minimum(down, up), _END))
    scores = xp.where(down < up, -tail, tail)
    return xp.where(xp.isnan(x), x, xp.where(number > 0, scores, 0.0)).astype(np.float32)


def _ndtri(share: Any) -> Any:
    if isinstance(share, jax.Array):
        return jax.scipy.special.ndtri(share)
    from scipy.special import ndtri

    return ndtri(share)
