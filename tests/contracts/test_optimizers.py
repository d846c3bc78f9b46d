"""What every optimizer of the catalogue keeps to. A new one adds its hyperparameters to `OPTIMIZERS_UNDER_TEST`."""

import pickle
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import jdl
from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError
from jdl.networks.select import select_all, select_grep, select_name
from jdl.train.factors import Rates, thawed
from jdl.train.optimizer import FIELDS, OPTIMIZERS, Optimizer, as_optimizer
from jdl.train.optimizers.groups import no_decay

OPTIMIZERS_UNDER_TEST: dict[str, list[dict]] = {
    "rmsprop": [{}, {"momentum": 0.9, "centered": True, "alpha": 0.9}],
    "adagrad": [{}, {"lr": 0.3, "lr_decay": 0.1, "initial_accumulator_value": 0.1}],
    "nadamw": [{"lr": 0.02}],
    "lamb": [{"lr": 0.02, "weight_decay": 0.1}],
    "lion": [{"lr": 0.01, "betas": (0.9, 0.9)}],
    "adafactor": [{"lr": 0.02}, {"lr": 0.02, "multiply_by_parameter_scale": False}],
    "adabelief": [{"lr": 0.02}],
    "radam": [{"lr": 0.02}],
    "muon": [{"lr": 0.02, "nesterov": False}],
    "schedule_free": [{"lr": 0.02, "weight_decay": 0.1}],
    "adam": [{}, {"lr": 0.02, "amsgrad": True}, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}],
    "adamw": [{}, {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.1}, {"weight_decay": 0.0}],
    "sgd": [
        {"lr": 0.05},
        {"lr": 0.05, "momentum": 0.9, "dampening": 0.3},
        {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ],
}
# Learning rates of those that need another one to reach a minimum in 800 steps.
FAST = {"adagrad": 1.0, "lamb": 0.01, "lion": 0.01, "schedule_free": 0.3, "adafactor": 0.01}
CASES = [(name, values) for name, each in OPTIMIZERS_UNDER_TEST.items() for values in each]
every_optimizer = pytest.mark.parametrize("optimizer", [OPTIMIZERS.make(n, **v) for n, v in CASES], ids=repr)
every_name = pytest.mark.parametrize("name", list(OPTIMIZERS))


def params():
    random = np.random.default_rng(0)
    return {"w": jnp.asarray(random.normal(size=(3, 2)), jnp.float32), "b": jnp.zeros(2)}


def grads(step):
    random = np.random.default_rng((1, step))
    return jax.tree.map(lambda p: jnp.asarray(random.normal(size=p.shape), jnp.float32), params())


def steps(transform, n_steps=4, start=None):
    """Parameters after some steps; `transform` makes the transformation that each step uses."""
    p = params() if start is None else start
    state = transform().init(p)
    for step in range(n_steps):
        updates, state = transform().update(grads(step), state, p)
        p = optax.apply_updates(p, updates)
    return p


@cache
def compiled(structure):
    """The beginning and a step of an optimizer, with the values of its hyperparameters as an argument."""
    begin = jax.jit(lambda hyper, p: structure.transformation(hyper).init(p))

    @jax.jit
    def step(hyper, p, state, g):
        updates, state = structure.transformation(hyper).update(g, state, p)
        return optax.apply_updates(p, updates), state

    return begin, step


def path(optimizer, hyper, n_steps=4, start=None):
    """Parameters after some steps, with the values of `hyper` handed to every step."""
    p = params() if start is None else start
    begin, step = compiled(optimizer.structure)
    hyper = {name: jnp.asarray(value) for name, value in hyper.items()}
    state = begin(hyper, p)
    for i in range(n_steps):
        p, state = step(hyper, p, state, grads(i))
    return p


def assert_close(left, right):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), left, right)


def test_every_optimizer_of_the_catalogue_is_tested():
    assert set(OPTIMIZERS_UNDER_TEST) == set(OPTIMIZERS) == set(FIELDS)


@every_optimizer
def test_is_a_hashable_value(optimizer):
    assert OPTIMIZERS.make(optimizer.name, **dict(optimizer.values)) == optimizer
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer
    assert hash(optimizer.structure) == hash(optimizer.set().structure)
    assert as_optimizer(optimizer, "test") is optimizer


@every_optimizer
def test_set_changes_what_is_named_and_no_more(optimizer):
    other = optimizer.set(lr=0.5)
    assert other.get("lr") == 0.5
    assert dict(other.values) | {"lr": optimizer.get("lr")} == dict(optimizer.values)


@every_optimizer
def test_structure_does_not_depend_on_the_size_of_its_values(optimizer):
    """Equal structures share a program: only what is 0 or not, or True or False, may make another one."""
    lows = {name: field.low or 0.0 for name, field in optimizer.fields.items()}
    halved = {n: max(v / 2, lows[n]) for n, v in optimizer.values if isinstance(v, float)}
    assert optimizer.set(**halved).structure == optimizer.structure


@every_optimizer
def test_dynamic_values_are_float32_arrays_of_all_dynamic_fields(optimizer):
    dynamic = optimizer.dynamic()
    assert set(dynamic) == {name for name, field in optimizer.fields.items() if field.dynamic}
    assert all(value.dtype == np.float32 for value in dynamic.values())


@every_optimizer
def test_traced_values_give_the_steps_of_the_optax_transformation_with_fixed_ones(optimizer):
    fixed = jax.jit(lambda: steps(optimizer.optax))()
    assert_close(fixed, path(optimizer, optimizer.dynamic()))


@every_optimizer
def test_state_that_was_written_and_read_goes_on_as_if_nothing_was(optimizer):
    """In mid-run, through bytes, as a checkpoint does it: bit for bit."""
    hyper = optimizer.dynamic()
    begin, step = compiled(optimizer.structure)

    def run(p, state, which):
        for i in which:
            p, state = step(hyper, p, state, grads(i))
        return p, state

    middle = run(params(), begin(hyper, params()), range(3))
    leaves, tree = jax.tree.flatten(middle)
    again = jax.tree.unflatten(tree, [jnp.asarray(leaf) for leaf in pickle.loads(pickle.dumps(leaves_of(leaves)))])
    jax.tree.map(np.testing.assert_array_equal, run(*middle, range(3, 6)), run(*again, range(3, 6)))


def leaves_of(leaves):
    return [np.asarray(leaf) for leaf in leaves]


@every_optimizer
def test_vmap_over_values_is_a_loop_over_them(optimizer):
    """Of every dynamic hyperparameter, all of them different."""
    members = [{n: v * factor for n, v in optimizer.dynamic().items()} for factor in (0.9, 1.0)]
    stacked = jax.tree.map(lambda *v: jnp.stack(v), *members)
    many = jax.vmap(lambda hyper: steps(lambda: optimizer.structure.transformation(hyper)))
    many = jax.jit(many)(stacked)
    for i, hyper in enumerate(members):
        assert_close(path(optimizer, hyper), jax.tree.map(lambda leaf, i=i: leaf[i], many))


@every_optimizer
def test_minimises_a_parabola(optimizer):
    optimizer = optimizer.set(lr=FAST.get(optimizer.name, 0.05), weight_decay=0.0)
    hyper = optimizer.dynamic() | {"lr_decay": np.float32(0)}
    transformation = optimizer.structure.transformation(hyper)

    def step(carry, _):
        p, state = carry
        updates, state = transformation.update(jax.grad(lambda p: jnp.sum((p - 3.0) ** 2))(p), state, p)
        return (optax.apply_updates(p, updates), state), None

    start = jnp.array([-1.0, 0.5])
    (end, state), _ = jax.lax.scan(step, (start, transformation.init(start)), length=800)
    end = optimizer.structure.evaluated(hyper, state, end)
    np.testing.assert_allclose(np.asarray(end), 3.0, atol=0.06)


@every_optimizer
def test_no_learning_rate_is_no_step(optimizer):
    jax.tree.map(np.testing.assert_array_equal, path(optimizer, optimizer.dynamic() | {"lr": jnp.float32(0)}), params())


@every_optimizer
def test_weight_decay_draws_weights_to_zero(optimizer):
    less, more = (optimizer.set(weight_decay=decay) for decay in (0.1, 0.8))
    start = jax.tree.map(lambda p: p + 5.0, params())
    ends = [path(o, o.dynamic(), start=start) for o in (less, more)]
    sizes = [sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(end)) for end in ends]
    assert sizes[1] < sizes[0]


@every_name
def test_unknown_hyperparameter_is_named_with_the_nearest(name):
    with pytest.raises(UnknownNameError, match=r"'weight_decai'.*'weight_decay'"):
        OPTIMIZERS.make(name, lr=0.1, weight_decai=1.0)
    with pytest.raises(UnknownNameError, match="'weight_decai'"):
        OPTIMIZERS.make(name, lr=0.1).set(weight_decai=1.0)


@every_name
@pytest.mark.parametrize("value", [-0.1, float("nan"), "fast", None])
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match="lr"):
        OPTIMIZERS.make(name, lr=value)
    with pytest.raises(ConfigError, match="lr"):
        OPTIMIZERS.make(name, lr=0.1).set(lr=value)


def test_sgd_needs_a_learning_rate():
    with pytest.raises(ConfigError, match=r"'sgd'.*lr"):
        OPTIMIZERS.make("sgd")


@pytest.mark.parametrize("values", [{}, {"momentum": 0.9, "dampening": 0.1}], ids=str)
def test_nesterov_needs_momentum_without_dampening(values):
    with pytest.raises(ConfigError, match="nesterov=True needs a momentum"):
        OPTIMIZERS.make("sgd", lr=0.1, nesterov=True, **values)


def test_unknown_optimizers_are_refused():
    with pytest.raises(UnknownNameError, match=r"'adamm'.*'adam'"):
        as_optimizer("adamm", "test")
    with pytest.raises(ConfigTypeError, match="'optimizer' must be"):
        as_optimizer(optax.adam, "test")
    assert isinstance(as_optimizer("adam", "test"), Optimizer)


# -- parameter groups, for every optimizer


def grouped(name, *groups):
    return OPTIMIZERS.make(name, lr=0.02, groups=list(groups))


BIAS, WEIGHT = select_name("b"), select_name("w")


@every_name
def test_a_frozen_group_keeps_every_bit_and_gets_no_gradient(name):
    optimizer = grouped(name, {"params": BIAS, "frozen": True})
    start = jax.tree.map(lambda p: p + 0.1, params())
    moved = path(optimizer, optimizer.dynamic(), n_steps=3, start=start)
    np.testing.assert_array_equal(moved["b"], start["b"])
    assert (np.asarray(moved["w"]) != np.asarray(start["w"])).all()
    loss = jax.grad(lambda p: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(thawed(p, optimizer.structure.groups))))
    np.testing.assert_array_equal(loss(start)["b"], 0.0)
    assert (loss(start)["w"] != 0).all()


@every_name
def test_a_group_with_the_optimizers_own_values_changes_nothing(name):
    plain = OPTIMIZERS.make(name, lr=0.02, weight_decay=0.1)
    same = plain.set(groups=[{"params": WEIGHT, "lr": 0.02, "weight_decay": 0.1}, {"params": BIAS, "lr_factor": 1.0}])
    assert_close(path(plain, plain.dynamic()), path(same, same.dynamic()))


@every_name
def test_a_group_has_its_own_rate_and_decay(name):
    """Two groups move as two optimizers of their own would; schedule-free averages by one learning rate."""
    if name == "schedule_free":
        pytest.skip("its average is weighted by the optimizer's learning rate, whatever the group's")
    group = {"params": BIAS, "lr": 0.05, "weight_decay": 0.3}
    both = OPTIMIZERS.make(name, lr=0.02, weight_decay=0.1, groups=[group])
    slow, fast = both.set(groups=()), OPTIMIZERS.make(name, lr=0.05, weight_decay=0.3)
    moved = path(both, both.dynamic())
    assert_close(moved["w"], path(slow, slow.dynamic())["w"])
    assert_close(moved["b"], path(fast, fast.dynamic())["b"])


def test_values_of_groups_are_dynamic_and_named():
    optimizer = grouped("adam", {"params": BIAS, "lr": 0.1}, {"params": WEIGHT, "lr_factor": 2.0})
    assert {"groups.0.lr", "groups.1.lr_factor"} < set(optimizer.dynamic())
    other = optimizer.set(**{"groups.0.lr": 0.5, "lr": 0.3})
    assert (other.get("groups.0.lr"), other.get("lr")) == (0.5, 0.3)
    assert other.structure == optimizer.structure
    with pytest.raises(UnknownNameError, match=r"'groups\.0\.lrr'.*'groups\.0\.lr'"):
        optimizer.set(**{"groups.0.lrr": 1.0})
    with pytest.raises(ConfigError, match=r"groups\.0\.lr"):
        optimizer.set(**{"groups.0.lr": -1.0})


def test_the_later_of_two_groups_counts():
    optimizer = OPTIMIZERS.make(
        "sgd", lr=1.0, groups=[{"params": select_all(), "lr": 2.0}, {"params": BIAS, "lr": 3.0}, "no_decay"]
    )
    tree = {"b": 0.0, "norm": {"scale": 0.0}, "w": 0.0}
    rates = Rates(optimizer.dynamic(), optimizer.structure.groups)
    assert [float(r) for r in rates.lr(tree)] == [3.0, 2.0, 2.0]


def test_no_decay_is_biases_norms_and_embeddings_of_all_networks():
    names = [
        "blocks.0.linear.kernel", "blocks.0.linear.bias", "blocks.0.norm.scale", "cls_embedding",
        "cat_embeddings.table", "num_embeddings.bias_1", "head.kernel", "tokenizer_num.weight",
    ]  # fmt: skip
    assert no_decay().params(names) == (*names[1:6], names[7])


@pytest.mark.parametrize(
    ("groups", "match"),
    [
        ([{"params": BIAS}], "sets nothing"),
        ([{"params": "bias", "lr": 0.1}], "must be a Select function"),
        ([{"params": BIAS, "lr": -0.1}], r"'lr' must be a number in \[0"),
        ([{"params": BIAS, "rate": 0.1}], r"Unknown key 'rate'"),
        ([{"lr": 0.1}], "must hold parameter groups"),
        (["no_decai"], "Did you mean 'no_decay'"),
        (3, "must hold parameter groups"),
    ],
    ids=str,
)
def test_groups_that_are_none_are_refused(groups, match):
    with pytest.raises(ConfigError, match=match):
        OPTIMIZERS.make("adam", groups=groups)


def test_a_group_that_matches_nothing_names_the_parameters():
    optimizer = grouped("adam", {"params": BIAS, "lr": 0.1}, {"params": select_grep("^encoder"), "lr": 0.1})
    with pytest.raises(ConfigError, match=r"group 1 .*matches no parameter.\n.*are b, w"):
        optimizer.structure.check(["b", "w"])
    with pytest.raises(ConfigError, match="'c', which is no parameter"):
        grouped("adam", {"params": lambda names: ("c",), "lr": 0.1}).structure.check(["b", "w"])


# -- transformations of one's own


def test_any_optax_transformation_is_an_optimizer():
    optimizer = as_optimizer(optax.yogi(0.05), "test")
    yogi = optax.yogi(0.05)
    assert_close(path(optimizer, optimizer.dynamic()), steps(lambda: yogi))
    frozen = Optimizer.of(optax.yogi(0.05), groups=[{"params": BIAS, "frozen": True}])
    np.testing.assert_array_equal(path(frozen, frozen.dynamic())["b"], params()["b"])
    with pytest.raises(ConfigError, match="sets 'lr', which a transformation of one's own has inside"):
        Optimizer.of(optax.yogi(0.05), groups=[{"params": BIAS, "lr": 0.1}])


@pytest.mark.parametrize(
    "transform",
    [optax.lbfgs(), optax.polyak_sgd(), optax.chain(optax.adam(0.1), optax.contrib.reduce_on_plateau())],
    ids=["lbfgs", "polyak_sgd", "reduce_on_plateau"],
)
def test_a_transformation_that_needs_the_loss_is_refused(transform):
    with pytest.raises(ConfigError, match=r"it needs more: .*'value'"):
        as_optimizer(transform, "test")


def test_a_transformation_that_keeps_a_random_key_is_refused():
    with pytest.raises(ConfigError, match="keeps a random key"):
        as_optimizer(optax.noisy_sgd(0.1, key=0), "test")


def test_a_transformation_that_fails_on_the_network_is_the_optimizers_error():
    made = as_optimizer(optax.lookahead(optax.adam(0.1), 5, 0.5), "test")
    with pytest.raises(ConfigError, match=r"optimizer 'optax': the transformation fails .*AttributeError"):
        path(made, made.dynamic())


def test_several_steps_and_what_is_not_called():
    assert jdl.opt(optax.MultiSteps(optax.adam(0.1), 3)).name == "optax"
    with pytest.raises(ConfigTypeError, match=r"got <function adam.*\n.*Hint: call"):
        jdl.opt(optax.adam)  # pyright: ignore[reportArgumentType]


def test_a_group_whose_function_chooses_no_names_is_refused():
    with pytest.raises(ConfigError, match=r"parameter group 0 .* fails: .*bool.*\n.*returns those that it chooses"):
        grouped("adam", {"params": lambda names: True, "lr": 0.1}).structure.check(["b", "w"])


def test_a_transformation_for_the_parameters_of_one_network_is_taken():
    labels = {"w": "a", "b": "b"}
    made = as_optimizer(optax.partition({"a": optax.sgd(0.1), "b": optax.set_to_zero()}, labels), "test")
    np.testing.assert_array_equal(path(made, made.dynamic())["b"], params()["b"])


OPTAX = {
    "nadamw": lambda: optax.nadamw(0.02),
    "lamb": lambda: optax.lamb(0.02, weight_decay=0.1),
    "lion": lambda: optax.lion(0.01, 0.9, 0.9),
    "adabelief": lambda: optax.adabelief(0.02),
    "radam": lambda: optax.radam(0.02),
    "muon": lambda: optax.contrib.muon(0.02, nesterov=False),
    "adafactor": lambda: optax.adafactor(0.02),
    "schedule_free": lambda: optax.contrib.schedule_free_adamw(0.02, weight_decay=0.1),
}


@pytest.mark.parametrize("name", list(OPTAX))
def test_optaxs_own_are_optaxs_own(name):
    optimizer = OPTIMIZERS.make(name, **OPTIMIZERS_UNDER_TEST[name][0])
    theirs = jax.jit(lambda: steps(OPTAX[name]))()
    assert_close(path(optimizer, optimizer.dynamic()), theirs)
    if name == "schedule_free":
        ours = optimizer.structure.transformation(optimizer.dynamic())
        ours_state = ours.init(params())
        for step in range(2):
            _, ours_state = ours.update(grads(step), ours_state, params())
        averaged = optimizer.structure.evaluated(optimizer.dynamic(), ours_state, params())
        assert_close(averaged, optax.contrib.schedule_free_eval_params(ours_state, params()))
