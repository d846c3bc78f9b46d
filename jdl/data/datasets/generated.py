"""Tasks that are drawn at random: the same key gives the same rows."""

from typing import Any

import numpy as np
import pandas as pd

from jdl.core.errors import ConfigError
from jdl.core.random import as_key
from jdl.data.task_classif import TaskClassif
from jdl.data.task_regr import TaskRegr

LABELS = np.array(["A", "B"])


def moons(n: int = 400, *, noise: float = 0.2, key: Any = 0) -> TaskClassif:
    """Two half circles that reach into each other.

    Args:
      n: Number of rows.
      noise: Standard deviation of what is added to both coordinates.
      key: Integer or JAX key.

    Raises:
      ConfigError: `n` or `noise` is out of range.

    Examples:
    >>> moons(10, key=1)
    TaskClassif 'moons': 10 rows, 2 features
      features  2 float
      target    class: A 5, B 5 (positive: B)
      missing   none
    """
    rng, label = _start("moons", n, noise, key)
    angle = rng.uniform(0, np.pi, n)
    upper = np.column_stack([np.cos(angle), np.sin(angle)])
    lower = np.column_stack([1 - np.cos(angle), 0.5 - np.sin(angle)])
    return _plane("moons", np.where(label[:, None] == 0, upper, lower), label, noise, rng)


def circles(n: int = 400, *, noise: float = 0.1, factor: float = 0.5, key: Any = 0) -> TaskClassif:
    """A circle within a circle.

    Args:
      n: Number of rows.
      noise: Standard deviation of what is added to both coordinates.
      factor: Radius of the inner circle; the outer one's is 1.
      key: Integer or JAX key.

    Raises:
      ConfigError: `n`, `noise` or `factor` is out of range.
    """
    rng, label = _start("circles", n, noise, key)
    if not 0 < factor < 1:
        raise ConfigError(f"circles: factor must lie between 0 and 1, got {factor!r}.\nHint: factor=0.5.")
    angle = rng.uniform(0, 2 * np.pi, n)
    points = np.column_stack([np.cos(angle), np.sin(angle)]) * np.where(label == 0, 1.0, factor)[:, None]
    return _plane("circles", points, label, noise, rng)


def spirals(n: int = 400, *, noise: float = 0.05, cycles: float = 1.0, key: Any = 0) -> TaskClassif:
    """Two spirals, one the other turned by half a circle.

    Args:
      n: Number of rows.
      noise: Standard deviation of what is added to both coordinates.
      cycles: How often a spiral goes round; more is harder.
      key: Integer or JAX key.

    Raises:
      ConfigError: `n`, `noise` or `cycles` is out of range.
    """
    rng, label = _start("spirals", n, noise, key)
    if not cycles > 0:
        raise ConfigError(f"spirals: cycles must be above 0, got {cycles!r}.\nHint: cycles=1.")
    radius = np.sqrt(rng.uniform(0, 1, n))
    angle = 2 * np.pi * cycles * radius + np.pi * label
    points = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return _plane("spirals", points, label, noise, rng)


def xor(n: int = 400, *, noise: float = 0.0, key: Any = 0) -> TaskClassif:
    """Points of a square; the class says whether the signs of both coordinates differ.

    Args:
      n: Number of rows.
      noise: Standard deviation of what is added to both coordinates after the class is fixed.
      key: Integer or JAX key.

    Raises:
      ConfigError: `n` or `noise` is out of range.
    """
    rng, label = _start("xor", n, noise, key)
    points = rng.uniform(0, 1, (n, 2)) * rng.choice([-1.0, 1.0], (n, 1))
    points[:, 1] *= np.where(label == 0, 1.0, -1.0)
    return _plane("xor", points, label, noise, rng)


def friedman1(n: int = 400, *, noise: float = 1.0, key: Any = 0) -> TaskRegr:
    """Friedman's first regression problem: ten uniform features, of which five matter.

    The target is 10 sin(pi x0 x1) + 20 (x2 - 0.5)^2 + 10 x3 + 5 x4, plus normal noise.

    Args:
      n: Number of rows.
      noise: Standard deviation of the noise.
      key: Integer or JAX key.

    Raises:
      ConfigError: `n` or `noise` is out of range.

    References: J. Friedman, Multivariate adaptive regression splines, 1991, section 4.3.
    """
    rng, _ = _start("friedman1", n, noise, key)
    x = rng.uniform(0, 1, (n, 10))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(10)])
    return TaskRegr(frame.assign(y=y + noise * rng.standard_normal(n)), target="y", id="friedman1")


def mixed(n: int = 400, *, noise: float = 1.0, missing: float = 0.1, key: Any = 0) -> TaskClassif:
    """Who buys? Columns of all five types, three of them with missing values.

    Args:
      n: Number of rows.
      noise: Scale of the logistic noise; 0 makes the class a function of the features.
      missing: Share of values missing in `age` (int), `income` (float) and `city` (category).
      key: Integer or JAX key.

    Raises:
      ConfigError: `n`, `noise` or `missing` is out of range.
    """
    rng, _ = _start("mixed", n, noise, key)
    if not 0 <= missing < 1:
        raise ConfigError(f"mixed: missing must lie in [0, 1), got {missing!r}.\nHint: missing=0.1.")
    age, income = rng.integers(18, 80, n), rng.lognormal(3.5, 0.5, n)
    city, school = rng.integers(0, 4, n), rng.integers(0, 3, n)
    member = rng.random(n) < 0.4
    score = 0.05 * (age - 48) + 1.5 * np.log(income / 33) + np.array([-1.0, 0.0, 0.5, 1.0])[city] + 0.8 * school
    score += 1.5 * member * (age < 40) + noise * rng.logistic(size=n)
    columns: dict[str, Any] = {
        "age": pd.Series(age, dtype="Int64"),
        "income": pd.Series(income),
        "member": member,
        "city": pd.Series(np.array(["Bergen", "Lyon", "Porto", "Turin"])[city], dtype=object),
        "school": pd.Categorical.from_codes(school, ["basic", "middle", "high"], ordered=True),
        "visits": rng.poisson(3, n),
    }
    for name in ("age", "income", "city"):
        columns[name] = columns[name].mask(rng.random(n) < missing)
    # The median splits the rows in half, so that there are always two classes.
    columns["buys"] = np.where(np.argsort(np.argsort(score)) < n // 2, "no", "yes")
    return TaskClassif(columns, target="buys", id="mixed", positive="yes")


def _start(name: str, n: int, noise: float, key: Any) -> tuple[np.random.Generator, np.ndarray]:
    """The generator of a task, and as many rows of class 0 as of class 1, shuffled."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 2:
        raise ConfigError(f"{name}: n must be an integer of at least 2, got {n!r}.\nHint: n=400.")
    if not 0 <= noise < np.inf:
        raise ConfigError(f"{name}: noise must be a number of at least 0, got {noise!r}.\nHint: noise=0.1.")
    rng = as_key(key).generator(name)
    return rng, rng.permutation(np.arange(n) % 2)


def _plane(name: str, points: np.ndarray, label: np.ndarray, noise: float, rng: np.random.Generator) -> TaskClassif:
    x = points + noise * rng.standard_normal(points.shape)
    return TaskClassif({"x0": x[:, 0], "x1": x[:, 1], "class": LABELS[label]}, target="class", id=name)
