"""What every loss of the catalogue keeps to. A new one of another task type adds its targets to `case`."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError, UnknownNameError
from jdl.train.loss import LOSSES, as_loss, mean_loss, padded_mean, probabilities, weighted_mean


def output_counts(name):
    """Numbers of outputs to test a loss with."""
    loss = LOSSES.make(name)
    return (1, 3) if "classif" in loss.task_types else (loss.n_outputs(0),)


CASES = [(name, k) for name in LOSSES for k in output_counts(name)]
MAY_BE_NEGATIVE = ("poisson", "gaussian_nll")  # log likelihoods of densities
every_loss = pytest.mark.parametrize(("name", "n_outputs"), CASES)
GARBAGE = (np.nan, np.inf, -np.inf, 1e38)


def case(loss, n_outputs, n_rows=7, seed=0):
    """Outputs and targets that suit the loss."""
    random = np.random.default_rng(seed)
    output = jnp.asarray(random.normal(0, 2, (n_rows, n_outputs)), jnp.float32)
    if "multilabel" in loss.task_types:
        return output, jnp.asarray(random.integers(0, 2, (n_rows, n_outputs)), jnp.float32)
    if loss.id == "poisson":
        return output, jnp.asarray(random.poisson(2.0, n_rows) / 2.0, jnp.float32)
    if "regr" in loss.task_types:
        return output, jnp.asarray(random.normal(size=n_rows), jnp.float32)
    return output, jnp.asarray(random.integers(0, max(n_outputs, 2), n_rows), jnp.int32)


@every_loss
def test_is_a_hashable_value(name, n_outputs):
    del n_outputs
    loss = LOSSES.make(name)
    assert loss.id == name
    assert loss == LOSSES.make(name)
    assert hash(loss) == hash(LOSSES.make(name))
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert as_loss(name, loss.task_types[0], "test") == loss


@every_loss
def test_a_number_per_row_that_depends_on_the_row_only(name, n_outputs):
    loss = LOSSES.make(name)
    output, target = case(loss, n_outputs)
    values = loss.per_row(output, target)
    assert values.shape == target.shape[:1]
    assert values.dtype == jnp.float32
    assert (values >= 0).all() or name in MAY_BE_NEGATIVE
    order = np.random.default_rng(1).permutation(len(target))
    np.testing.assert_allclose(loss.per_row(output[order], target[order]), values[order], rtol=1e-6)


@every_loss
def test_gradient_is_the_finite_difference(name, n_outputs):
    loss = LOSSES.make(name)
    output, target = case(loss, n_outputs)
    weights = jnp.linspace(0.5, 2.0, len(target))
    slope = jax.grad(lambda o: mean_loss(loss, o, target, weights))(output)
    for row in range(3):
        for column in range(n_outputs):
            step = jnp.zeros_like(output).at[row, column].set(0.01)
            up, down = (float(mean_loss(loss, output + s * step, target, weights)) for s in (1, -1))
            assert float(slope[row, column]) == pytest.approx((up - down) / 0.02, rel=2e-3, abs=2e-4)


@every_loss
@pytest.mark.parametrize("size", [0.0, 1e3, 1e4])
def test_large_outputs_stay_finite_with_their_gradient(name, n_outputs, size):
    loss = LOSSES.make(name)
    output, target = case(loss, n_outputs)
    value, slope = jax.value_and_grad(lambda o: loss.per_row(o, target).mean())(output * size)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


@every_loss
@pytest.mark.parametrize("garbage", GARBAGE)
def test_rows_without_weight_may_hold_anything(name, n_outputs, garbage):
    """Neither the mean nor its gradient knows them: 0 * nan would be nan."""
    loss = LOSSES.make(name)
    output, target = case(loss, n_outputs)
    more_output = jnp.concatenate([output, jnp.full((2, n_outputs), garbage)])
    of_garbage = jnp.array([garbage, garbage]) if target.dtype == jnp.float32 else jnp.array([-1, 99], jnp.int32)
    of_garbage = jnp.broadcast_to(of_garbage.reshape(-1, *[1] * (target.ndim - 1)), (2, *target.shape[1:]))
    more_target = jnp.concatenate([target, of_garbage])
    weights = jnp.linspace(0.5, 2.0, len(target))
    more_weights = jnp.concatenate([weights, jnp.zeros(2)])
    value, slope = jax.value_and_grad(lambda o: mean_loss(loss, o, target, weights))(output)
    other, other_slope = jax.value_and_grad(lambda o: mean_loss(loss, o, more_target, more_weights))(more_output)
    assert float(other) == pytest.approx(float(value), rel=1e-6)
    np.testing.assert_allclose(other_slope[:-2], slope, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(other_slope[-2:], 0.0)


@every_loss
def test_no_row_with_weight_is_0_with_no_gradient(name, n_outputs):
    loss = LOSSES.make(name)
    output, target = case(loss, n_outputs)
    garbage = jnp.full_like(output, jnp.nan)
    value, slope = jax.value_and_grad(lambda o: mean_loss(loss, o, target, jnp.zeros(len(target))))(garbage)
    assert float(value) == 0
    np.testing.assert_array_equal(slope, 0.0)


@every_loss
def test_weights_count_rows(name, n_outputs):
    loss = LOSSES.make(name)
    output, target = case(loss, n_outputs)
    twice = jnp.concatenate([jnp.arange(7), jnp.arange(2)])
    weights = jnp.where(jnp.arange(7) < 2, 2.0, 1.0)
    assert float(mean_loss(loss, output, target, weights)) == pytest.approx(
        float(loss.per_row(output[twice], target[twice]).mean()), rel=1e-6
    )


@every_loss
def test_other_task_type_is_refused(name, n_outputs):
    del n_outputs
    loss = LOSSES.make(name)
    other = "regr" if "classif" in loss.task_types else "classif"
    with pytest.raises(ConfigError, match=rf"'{name}' is for .*\n.*take '"):
        as_loss(name, other, "learner")


def test_number_of_outputs():
    cross_entropy, mse = LOSSES.make("cross_entropy"), LOSSES.make("mse")
    assert [cross_entropy.n_outputs(k) for k in (2, 3, 10)] == [1, 3, 10]
    assert mse.n_outputs(0) == 1


def test_one_logit_is_the_difference_of_two():
    loss = LOSSES.make("cross_entropy")
    output, target = case(loss, 2)
    np.testing.assert_allclose(
        loss.per_row(output[:, 1:] - output[:, :1], target), loss.per_row(output, target), rtol=1e-5
    )


def test_unknown_losses_are_refused():
    with pytest.raises(UnknownNameError, match=r"'crossentropy'.*'cross_entropy'"):
        as_loss("crossentropy", "classif", "test")
    with pytest.raises(ConfigTypeError, match="must be a loss, its name or a function"):
        as_loss(3, "classif", "test")  # pyright: ignore[reportArgumentType]


# -- means

finite = st.floats(-100, 100, width=32)


@settings(max_examples=20)  # each length is compiled by itself
@given(values=st.lists(finite, min_size=1, max_size=20), n_padded=st.integers(0, 40))
def test_padding_changes_no_bit_of_a_padded_mean(values, n_padded):
    weights = np.ones(len(values), np.float32)
    more = np.array([*values, *[np.nan] * n_padded], np.float32)
    more_weights = np.concatenate([weights, np.zeros(n_padded, np.float32)])
    mean = float(padded_mean(jnp.asarray(values, jnp.float32), jnp.asarray(weights)))
    assert mean == float(padded_mean(jnp.asarray(more), jnp.asarray(more_weights)))
    assert mean == pytest.approx(np.mean(np.float64(np.float32(values))), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("mean", [weighted_mean, padded_mean])
def test_means_are_numpys(mean):
    random = np.random.default_rng(0)
    values, weights = random.normal(size=33), random.uniform(0, 2, 33)
    assert float(mean(jnp.float32(values), jnp.float32(weights))) == pytest.approx(
        np.average(values, weights=weights), rel=1e-5
    )
    assert float(mean(jnp.array([np.nan, np.inf]), jnp.zeros(2))) == 0
    slope = jax.grad(lambda v: mean(v, jnp.array([1.0, 0.0, 3.0])))(jnp.array([1.0, np.nan, np.inf]))
    np.testing.assert_allclose(slope, [0.25, 0, 0.75])


def test_mean_of_no_row_is_0():
    assert float(padded_mean(jnp.zeros(0), jnp.zeros(0))) == 0


# -- probabilities


@pytest.mark.parametrize("n_outputs", [1, 2, 4])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_probabilities_are_those_of_the_loss(n_outputs, size):
    loss = LOSSES.make("cross_entropy")
    output, target = case(loss, n_outputs)
    host = probabilities(np.asarray(output) * size)
    assert host.dtype == np.float64 and host.shape == (7, max(n_outputs, 2))
    np.testing.assert_allclose(host.sum(axis=1), 1, atol=1e-12)
    assert (host >= 0).all() and (host <= 1).all()
    np.testing.assert_allclose(jax.jit(probabilities)(output * size), host, atol=2e-6)
    if size == 1:
        np.testing.assert_allclose(
            -np.log(host[np.arange(7), target]), loss.per_row(output, target), rtol=1e-5, atol=1e-6
        )


# -- dynamic values

VALUES = {
    "cross_entropy": {"label_smoothing": 0.2, "class_weight": (0.5, 1.0, 2.0)},
    "focal": {"gamma": 1.5, "class_weight": (0.5, 1.0, 2.0)},
    "hinge": {"margin": 0.7, "class_weight": (0.5, 1.0, 2.0)},
    "huber": {"delta": 0.4},
    "gaussian_nll": {"eps": 0.3},
    "quantile": {"quantiles": (0.2, 0.4, 0.8)},
    "mse": {}, "l1": {}, "log_cosh": {}, "poisson": {}, "multilabel": {},
}  # fmt: skip


def test_every_dynamic_value_is_tested():
    assert set(VALUES) == set(LOSSES)
    for name, values in VALUES.items():
        assert set(values) == {n for n, field in LOSSES.make(name).fields.items() if field.dynamic}


def hyper_of(loss, factor=1.0):
    return {f"loss.{name}": jnp.asarray(value * factor) for name, value in loss.dynamic().items()}


@every_loss
def test_traced_values_give_what_fixed_ones_do_for_each_member(name, n_outputs):
    """Under jit and vmap over members with other values; equal structures share a program."""
    values = {n: v[:2] if n == "class_weight" and n_outputs == 1 else v for n, v in VALUES[name].items()}
    loss = LOSSES.make(name, **values)
    output, target = case(loss, n_outputs)
    weights = jnp.linspace(0.5, 2.0, len(target))
    other = loss.set(**{n: tuple(x * 0.9 for x in v) if isinstance(v, tuple) else v * 0.9 for n, v in values.items()})
    assert loss.structure == other.structure and hash(loss.structure) == hash(other.structure)
    assert pickle.loads(pickle.dumps(loss.structure)) == loss.structure
    members = jax.tree.map(lambda *v: jnp.stack(v), hyper_of(loss), hyper_of(other))

    def slope(hyper):
        return jax.value_and_grad(lambda o: mean_loss(loss.structure.at(hyper), o, target, weights))(output)

    if not values:
        assert loss.structure == loss
        return
    many = jax.jit(jax.vmap(slope))(members)
    for i, fixed in enumerate((loss, other)):
        one = jax.value_and_grad(lambda o, fixed=fixed: mean_loss(fixed, o, target, weights))(output)
        for left, right in zip(one, many, strict=True):
            np.testing.assert_allclose(left, right[i], rtol=1e-5, atol=1e-6)


@every_loss
def test_set_checks_what_the_constructor_does(name, n_outputs):
    del n_outputs
    loss = LOSSES.make(name)
    assert loss.set() == loss
    with pytest.raises(UnknownNameError, match="'foo'"):
        loss.set(foo=1)


@pytest.mark.parametrize(
    ("name", "values", "match"),
    [
        ("cross_entropy", {"label_smoothing": 1.0}, "label_smoothing"),
        ("cross_entropy", {"class_weight": "balance"}, "'class_weight' must be"),
        ("cross_entropy", {"class_weight": (1.0, -1.0)}, "'class_weight' must be"),
        ("focal", {"class_weight": (0.0, 0.0)}, "'class_weight' must be"),
        ("hinge", {"margin": -1.0}, "margin"),
        ("huber", {"delta": 0.0}, "delta"),
        ("quantile", {"quantiles": (0.5, 0.5)}, "that go up"),
        ("quantile", {"quantiles": (0.0, 0.5)}, "between 0 and 1"),
        ("quantile", {"quantiles": ()}, "that go up"),
        ("multilabel", {"n_labels": 0}, "n_labels"),
    ],
)
def test_values_out_of_range_are_refused(name, values, match):
    with pytest.raises(ConfigError, match=match):
        LOSSES.make(name, **values)


# -- single losses


def test_quantiles_never_cross_and_keep_their_order():
    loss = LOSSES.make("quantile", quantiles=(0.05, 0.2, 0.5, 0.7, 0.9))
    output, _ = case(loss, 5)
    values = loss.values(output * 30.0)
    assert (jnp.diff(values, axis=1) >= 0).all()
    np.testing.assert_allclose(loss.values(np.asarray(output)), loss.values(output), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss.response(output), loss.values(output)[:, 2], rtol=1e-6)
    np.testing.assert_allclose(
        loss.set(quantiles=(0.1, 0.2, 0.3, 0.45, 0.9)).response(output), loss.values(output)[:, 3]
    )


@pytest.mark.parametrize("name", ["quantile", "gaussian_nll", "poisson", "mse"])
def test_an_ensemble_of_equal_members_is_one_of_them(name):
    loss = LOSSES.make(name)
    output, target = case(loss, loss.n_outputs(0))
    combined = loss.combined(jnp.stack([output, output], axis=1))
    np.testing.assert_allclose(loss.per_row(combined, target), loss.per_row(output, target), rtol=1e-4, atol=1e-4)


def test_the_variance_of_an_ensemble_is_that_of_the_mixture():
    loss = LOSSES.make("gaussian_nll", eps=0.0)
    members = jnp.asarray([[[1.0, 0.5], [3.0, -0.2]]])
    se = loss.extras(np.asarray(loss.combined(members)), 0.0, 1.0)["se"]
    variance = np.log1p(np.exp([0.5, -0.2]))
    assert float(se[0]) ** 2 == pytest.approx(variance.mean() + 1.0, rel=1e-5)


def test_balanced_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    codes = np.random.default_rng(0).choice(3, 50, p=[0.2, 0.3, 0.5])
    ours = LOSSES.make("cross_entropy", class_weight="balanced").from_rows(codes, 3)["class_weight"]
    np.testing.assert_allclose(ours, compute_class_weight("balanced", classes=np.arange(3), y=codes), rtol=1e-6)
    weights = np.random.default_rng(1).integers(1, 4, 50)
    repeated = compute_class_weight("balanced", classes=np.arange(3), y=np.repeat(codes, weights))
    ours = LOSSES.make("focal", class_weight="balanced").from_rows(codes, 3, weights)["class_weight"]
    np.testing.assert_allclose(ours, repeated, rtol=1e-6)


def test_class_weights_by_name_and_number_must_fit_the_classes():
    by_name = LOSSES.make("focal", class_weight={"b": 2.0, "a": 1.0})
    assert by_name.for_classes(("a", "b")).class_weight == (1.0, 2.0)
    with pytest.raises(ConfigError, match="has the classes 'b', 'a', but the task has 'a', 'c'"):
        by_name.for_classes(("a", "c"))
    with pytest.raises(ConfigError, match="has 2 numbers, but the task has 3 classes"):
        LOSSES.make("focal", class_weight=(1.0, 2.0)).for_classes(("a", "b", "c"))


def test_poisson_refuses_what_is_no_count():
    loss = LOSSES.make("poisson")
    loss.check_target(np.array([0.0, 2.5]), "task 't'")
    with pytest.raises(ConfigError, match=r"task 't': loss 'poisson' .* down to -1"):
        loss.check_target(np.array([0.0, -1.0]), "task 't'")
    assert loss.scale_of(np.array([1.0, 3.0])) == (0.0, 2.0)


def weighted(output, target):
    return 2.0 * (output[:, 0] - target) ** 2


def test_a_function_is_a_loss():
    loss = as_loss(weighted, "regr", "test")
    assert (loss.id, loss.task_types, loss) == ("weighted", ("regr",), as_loss(weighted, "regr", "test"))
    output, target = case(LOSSES.make("mse"), 1)
    np.testing.assert_allclose(loss.per_row(output, target), 2 * LOSSES.make("mse").per_row(output, target))
    loss.check(1)


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda output, target: weighted(output, target).mean(), "must give a number per row"),
        (lambda output, target: output, "must give a number per row"),
        (lambda output, target: output @ target, "fails on outputs of shape"),
    ],
)
def test_a_function_that_is_no_loss_is_refused_before_anything_compiles(function, match):
    with pytest.raises((ConfigError, ShapeError), match=match):
        as_loss(function, "regr", "test").check(1)


@pytest.mark.parametrize("n_outputs", [1, 3, 5, 7])
def test_a_mean_over_rows_is_refused_for_any_number_of_outputs(n_outputs):
    loss = as_loss(lambda output, target: output.mean(0) + 0 * target.sum(), "classif", "test")
    with pytest.raises(ShapeError, match="must give a number per row"):
        loss.check(n_outputs)


def test_what_is_no_function_of_output_and_target_is_refused():
    with pytest.raises(ConfigTypeError, match=r"take \(output, target\)"):
        as_loss(lambda output: output, "regr", "test")
    with pytest.raises(ConfigTypeError, match="must be a loss"):
        as_loss(LOSSES["mse"], "regr", "test")
