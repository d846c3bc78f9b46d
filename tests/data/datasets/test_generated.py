import jax
import numpy as np
import pytest

from jdl.core.errors import ConfigError
from jdl.data.datasets import generated

NAMES = ["moons", "circles", "spirals", "xor", "friedman1", "mixed"]


@pytest.mark.parametrize("name", NAMES)
def test_a_key_determines_the_rows(name):
    make = getattr(generated, name)
    first, again, other = (make(30, key=key).to_pandas() for key in (1, 1, 2))
    assert first.equals(again) and not first.equals(other)
    assert make(30, key=jax.random.key(1)).n_rows == 30
    assert make(31).n_rows == 31


@pytest.mark.parametrize("name", NAMES)
def test_wrong_sizes_and_noise_raise(name):
    make = getattr(generated, name)
    for n in (1, 2.5, True):
        with pytest.raises(ConfigError, match=f"{name}: n must be an integer of at least 2"):
            make(n)
    with pytest.raises(ConfigError, match="noise must be a number of at least 0"):
        make(10, noise=-1.0)


def test_other_options_out_of_range_raise():
    with pytest.raises(ConfigError, match="factor must lie between 0 and 1"):
        generated.circles(factor=1.0)
    with pytest.raises(ConfigError, match="cycles must be above 0"):
        generated.spirals(cycles=0)
    with pytest.raises(ConfigError, match="missing must lie in"):
        generated.mixed(missing=1.0)


def points(task):
    return task.table.numeric.astype(np.float64), task.target_codes


def test_moons_without_noise_are_half_circles():
    x, y = points(generated.moons(200, noise=0))
    centers = np.where(y[:, None] == 0, [[0.0, 0.0]], [[1.0, 0.5]])
    np.testing.assert_allclose(np.linalg.norm(x - centers, axis=1), 1, atol=1e-6)
    assert (x[y == 0, 1] >= -1e-6).all() and (x[y == 1, 1] <= 0.5 + 1e-6).all()


def test_circles_without_noise_have_their_radii():
    x, y = points(generated.circles(200, noise=0, factor=0.25))
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), np.where(y == 0, 1, 0.25), atol=1e-6)


def test_spirals_turn_into_each_other_by_half_a_circle():
    x, y = points(generated.spirals(200, noise=0, cycles=2))
    radius = np.linalg.norm(x, axis=1)
    turned = np.arctan2(x[:, 1], x[:, 0]) - 4 * np.pi * radius - np.pi * y
    np.testing.assert_allclose(np.cos(turned), 1, atol=1e-4)


def test_xor_is_the_signs_product():
    x, y = points(generated.xor(200))
    np.testing.assert_array_equal(y, x[:, 0] * x[:, 1] < 0)
    assert {tuple(row) for row in np.sign(x)} == {(1, 1), (1, -1), (-1, 1), (-1, -1)}


def test_friedman1_without_noise_is_its_formula():
    task = generated.friedman1(50, noise=0)
    x = task.to_pandas()
    expected = 10 * np.sin(np.pi * x.x0 * x.x1) + 20 * (x.x2 - 0.5) ** 2 + 10 * x.x3 + 5 * x.x4
    np.testing.assert_allclose(task.target_values, expected)


def test_mixed_has_all_types_and_missing_values():
    task = generated.mixed(500, missing=0.2)
    assert set(task.feature_types.values()) == {"bool", "int", "float", "category", "ordered"}
    missing = task.missings() / 500
    assert ((missing[["age", "income", "city"]] > 0.1) & (missing[["age", "income", "city"]] < 0.3)).all()
    assert missing.drop(["age", "income", "city"]).sum() == 0
    assert task.levels()["school"] == ["basic", "middle", "high"]
    assert np.bincount(task.target_codes).tolist() == [250, 250]
    assert generated.mixed(50, missing=0).missings().sum() == 0
