"""Mistakes in networks of one's own are named, with the node and what to do, before a program is compiled."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jdl
from jdl.core.errors import ConfigError, ConfigTypeError, GraphError, JdlError, ShapeError, TaskError
from jdl.networks import MLP, RealMLP, replace_head

IRIS = jdl.tsk("iris")
NUM = jdl.po("ingress_num")


def linear(n):
    return jdl.nn("linear", out_features=n)


def end(**model):
    return jdl.po("loss", "cross_entropy") >> jdl.po("model_classif", epochs=1, **model)


def learner_of(*layers):
    graph = NUM
    for layer in layers:
        graph = graph >> layer
    return jdl.as_learner(graph >> end())


# -- heads


@pytest.mark.parametrize(
    "layers",
    [
        [[jdl.nn("head"), jdl.nn("head")], jdl.nn("merge_sum")],
        [jdl.nn("head"), jdl.nn("relu"), jdl.nn("head")],
        [jdl.nn("block", linear(4) >> jdl.nn("head"), n_blocks=2)],
        [jdl.nn("block", jdl.nn("head"), n_blocks=1), jdl.nn("head")],
    ],
    ids=["parallel", "apart", "in a block", "in a block too"],
)
def test_a_network_has_one_head(layers):
    with pytest.raises(GraphError, match=r"a network has one head[\s\S]*Hint: jdl.nn\('linear'"):
        learner_of(*layers)


def test_each_path_of_a_branch_may_have_a_head():
    paths = [jdl.nn("head"), linear(4) >> jdl.nn("head")]
    learner = learner_of(jdl.po("branch", 2), paths, jdl.po("unbranch"))
    assert learner.summary(IRIS).to_pandas()["parameters"].sum() == 4 * 3 + 3
    assert learner.set({"branch.selection": 1}).summary(IRIS).to_pandas()["parameters"].sum() == 4 * 5 + 5 * 3


# -- outputs


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x: x.mean(0, keepdims=True),
            r"node 'fn' would give \(1, 4\) for .* but axis 0 is the batch",
        ),
        (lambda x: jnp.concatenate([x, x]), r"node 'fn' would give \(2\*batch, 4\).*axis 0 is the batch"),
        (lambda x: x[:3], "node 'fn' .*axis 0 is the batch"),
        (lambda x: x.sum(), r"node 'fn' would give \(\).*axis 0 is the batch"),
        (lambda x: (x, x), r"node 'fn' must give 1 array, but it gives 2 .*\nHint: jdl.layer\(..., n_outputs=2\)"),
        (lambda x: (x,), "node 'fn' must give an array, but it gives one inside of a tuple"),
        (lambda x: x.reshape(len(x), -1), r"x\.shape\[0\] may be used as a size"),
        (lambda x: x if x.shape[0] > 5 else -x, r"the number of rows is not known while shapes are found"),
    ],
)
def test_a_layer_keeps_the_batch_and_gives_what_it_says(function, message):
    learner = learner_of(jdl.nn("fn", function), jdl.nn("head"))
    for attempt in (lambda: learner.train(IRIS), lambda: learner.summary(IRIS)):
        with pytest.raises(ShapeError, match=message):
            attempt()


@pytest.mark.parametrize(
    "change", [lambda x: x > 0, lambda x: x.astype(jnp.int32), jnp.fft.fft], ids=["bool", "int", "complex"]
)
def test_a_loss_needs_floating_point_numbers(change):
    with pytest.raises(ShapeError, match=r"node '(fn|fft)': a loss needs floating-point numbers, but the output"):
        learner_of(linear(3), jdl.nn("fn", change)).train(IRIS)


class Wrong(nnx.Module):
    """Changes what a linear layer gives."""

    def __init__(self, d_in, d_out, change: Any = None, *, rngs):
        self.linear = nnx.Linear(d_in, d_out, rngs=rngs)
        self.change = change

    def __call__(self, x):
        return self.change(self.linear(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: (y, y), r"module Wrong: the task needs an output of shape \(batch, 3\), but it gives .* and "),
        (lambda y: (y,), "module Wrong must give an array, but it gives one inside of a tuple"),
        (lambda y: y.mean(0, keepdims=True), r"module Wrong: the task needs .* but it gives \(1, 3\)"),
        (lambda y: y[:3], "module Wrong: the task needs an output of shape"),
        (lambda y: y[:, 0], r"module Wrong: the task needs .* but it gives \(batch,\)"),
        (lambda y: y.astype(jnp.int32), "module Wrong: a loss needs floating-point numbers"),
    ],
)
def test_the_output_of_a_module_must_fit_the_task(change, message):
    with pytest.raises(ShapeError, match=message):
        jdl.lrn("classif.module", module=Wrong, change=change).train(IRIS)


def test_a_layer_may_give_several_arrays():
    @jdl.layer(n_outputs=2)
    def both(x, factor=2.0):
        return x, factor * x

    table = learner_of(both(factor=3.0), jdl.nn("merge_cat"), jdl.nn("head")).summary(IRIS).to_pandas()
    assert table.set_index("node").loc["merge_cat", "gives"] == "(batch, 8)"
    paths = [jdl.nn("relu"), linear(4)]
    learner_of(both(), paths, jdl.nn("merge_sum"), jdl.nn("head")).train(IRIS, key=0)


# -- constructors and trafos


class Fails(nnx.Module):
    """Cannot be made."""

    def __init__(self, in_features, kind=ValueError, *, rngs):
        rngs.params()
        raise kind("boom")

    def __call__(self, x):
        return x


@pytest.mark.parametrize("kind", [ValueError, TypeError, AttributeError])
def test_an_error_of_a_constructor_names_the_node(kind):
    learner = learner_of(jdl.nn("module", Fails, kind=kind, id="mine"), jdl.nn("head"))
    for attempt in (lambda: learner.train(IRIS), lambda: learner.summary(IRIS)):
        with pytest.raises(ConfigError, match=rf"node 'mine' \(Fails\) fails: {kind.__name__}: boom") as caught:
            attempt()
        assert isinstance(caught.value.__cause__, kind)


@pytest.mark.parametrize(
    ("trafo", "message"),
    [
        (lambda i, v: v["nope"], "node 'block': 'trafo' of copy 0 fails: KeyError: 'nope'\nHint: trafo=lambda i"),
        (lambda i: {}, "node 'block': 'trafo' of copy 0 fails: TypeError"),
        (lambda i, v: 1 / i, "node 'block': 'trafo' of copy 0 fails: ZeroDivisionError"),
        (lambda i, v: None, "node 'block': 'trafo' of copy 0 must give a dict of hyperparameters, got None"),
        (lambda i, v: {"linear.out": 3}, "node 'block': 'trafo' of copy 0: .*'linear.out'.*linear.out_features"),
        (lambda i, v: {"linear.out_features": 0}, "node 'block': 'trafo' of copy 0: .*must be an integer"),
    ],
)
def test_errors_of_a_trafo_name_the_block_and_the_copy(trafo, message):
    block = jdl.nn("block", linear(4), n_blocks=2, trafo=trafo)
    with pytest.raises(JdlError, match=message):
        learner_of(block, jdl.nn("head")).train(IRIS)


def test_functions_that_make_modules_are_modules():
    def two(in_features, width=5, *, rngs):
        return nnx.Sequential(nnx.Linear(in_features, width, rngs=rngs), nnx.relu)

    layers = [jdl.nn("module", two, width=6), jdl.nn("module", functools.partial(nnx.Linear, out_features=7))]
    table = learner_of(*layers, jdl.nn("head")).summary(IRIS).to_pandas()
    assert table["parameters"].tolist()[:4] == [0, 4 * 6 + 6, 6 * 7 + 7, 7 * 3 + 3]
    with pytest.raises(ConfigTypeError, match=r"layer 'bare': must make an nnx.Module, but it gives int"):
        learner_of(jdl.nn("module", bare), jdl.nn("head")).train(IRIS)
    fitted = jdl.lrn("classif.module", module=functools.partial(MLP, neurons=(4,)), epochs=1).train(IRIS, key=0)
    assert sum(leaf.size for leaf in jax.tree.leaves(fitted.run.params)) == 4 * 4 + 4 + 4 * 3 + 3


def bare(in_features, rngs):
    return in_features


# -- what is put together


def test_one_output_does_not_feed_two_inputs_of_one_node():
    with pytest.raises(GraphError, match=r"node 'fn' takes 2 inputs, but .*, relu' gives one[\s\S]*\[path, other"):
        NUM >> jdl.nn("relu") >> jdl.nn("fn", lambda a, b: a - b)


@pytest.mark.parametrize(
    ("part", "hint"),
    [
        ("relu", r"jdl\.nn\('relu'\)"),
        (jnp.tanh, r"jdl\.nn\('fn', function\)"),
        (nnx.Linear, r"jdl\.nn\('module', Linear\)"),
        ([], "a list"),
        (3, "a list"),
    ],
)
def test_what_cannot_be_joined_is_refused_with_a_hint(part, hint):
    with pytest.raises(ConfigTypeError, match=rf"'>>' joins layers[\s\S]*Hint: .*{hint}"):
        NUM >> part
    with pytest.raises(ConfigTypeError, match="'>>' joins layers"):
        part >> NUM


def test_hyperparameters_of_a_layer_are_given_by_name():
    times = jdl.layer(lambda x, factor=2.0: factor * x)
    with pytest.raises(ConfigTypeError, match=r"hyperparameters are given by name, got 3.0[\s\S]*factor=3.0"):
        times(3.0)


def test_an_ingress_behind_an_ingress_is_named():
    with pytest.raises(GraphError, match="'ingress_num_2' must get nothing before it, but it gets 'ingress_num'"):
        learner_of(NUM, jdl.nn("head"))


@pytest.mark.parametrize("options", ["relu", ["a"], ["a", "a"]])
def test_options_of_a_branch_are_two_or_more_names(options):
    with pytest.raises(ConfigError, match="'options' must be two or more different names"):
        jdl.po("branch", options)


def test_messages_name_the_ingress_as_it_is_called_in_the_graph():
    paths = [jdl.po("ingress_num", n_features=4), jdl.po("ingress_num", n_features=7)]
    with pytest.raises(ShapeError, match="node 'ingress_num_2' expects 7 columns"):
        jdl.as_learner(paths >> jdl.nn("merge_cat") >> jdl.nn("head") >> end()).train(IRIS)
    unknown = [jdl.po("ingress_num", id="num") >> jdl.nn("relu"), jdl.po("ingress_num", id="anum") >> linear(3)]
    table = (unknown >> jdl.nn("merge_cat")).summary().to_pandas().set_index("node")
    assert table.loc["relu", "gives"] == "(batch, num_1)" and table.loc["linear", "gives"] == "?"
    unequal = [jdl.po("ingress_num"), jdl.po("ingress_num")] >> jdl.nn("merge_sum")
    assert unequal.summary().to_pandas()["gives"].tolist()[-1] == "?"


# -- summaries


def test_with_a_task_a_summary_says_what_does_not_fit():
    graph = NUM >> [linear(3), linear(3)] >> jdl.nn("merge_cat", axis=5) >> jdl.nn("head") >> end()
    assert "?" in repr(graph)
    for attempt in (lambda: graph.summary(IRIS), lambda: jdl.as_learner(graph).summary("iris")):
        with pytest.raises(ShapeError, match=r"node 'merge_cat' .*axis 5"):
            attempt()


@pytest.mark.parametrize("how", ["graph", "learner"])
def test_a_summary_counts_the_outputs_of_the_loss_and_knows_the_stages(how):
    loss = jdl.po("loss", jdl.loss("quantile", quantiles=(0.1, 0.5, 0.9)))
    graph = jdl.po("encode") >> NUM >> jdl.nn("head") >> loss >> jdl.po("model_regr", epochs=1)
    task = jdl.TaskRegr({"a": list("uvw") * 5, "b": range(15), "y": range(15)}, "y")
    shown = (graph if how == "graph" else jdl.as_learner(graph)).summary(task).to_pandas().set_index("node")
    trained = jdl.as_learner(graph).train(task, key=0)
    assert shown.loc["head", "gives"] == "(batch, 3)"
    assert shown["parameters"].sum() == sum(leaf.size for leaf in jax.tree.leaves(trained.run.params))


def test_a_summary_of_another_task_type_is_refused():
    with pytest.raises(TaskError, match="is for classif tasks, but task 'diabetes' is of type regr"):
        (NUM >> jdl.nn("head") >> end()).summary("diabetes")


def test_a_learner_of_a_graph_draws_itself():
    assert "linear" in learner_of(linear(3)).to_mermaid()


# -- programs


def test_a_path_that_is_not_chosen_is_no_part_of_the_program():
    paths = [linear(5), jdl.nn("relu") >> linear(6)]
    inner = jdl.po("branch", 2) >> paths >> jdl.po("unbranch")
    for graph, name in ((inner, "linear_2"), (jdl.nn("block", inner, n_blocks=1), "block.linear_2")):
        learner = learner_of(graph, jdl.nn("head"))
        other = learner.set({f"{name}.out_features": 9})
        assert other.network() == learner.network()
        chosen = {f"{name.removesuffix('linear_2')}branch.selection": "1"}
        assert other.set(chosen).network() != learner.set(chosen).network()


def test_values_of_other_types_make_other_programs():
    def exact(x, flag=None):
        return x if flag is True else -x

    with_true, with_one = (jdl.nn("fn", exact, flag=flag) for flag in (True, 1))
    assert with_true != with_one and with_true.params()["flag"] is True
    assert jdl.nn("fn", exact, flag=1.0) != with_one


# -- objects


def test_an_object_is_taken_as_it_is_when_the_learner_is_made():
    module = MLP(4, 3, neurons=(4,), rngs=nnx.Rngs(0))
    learner = jdl.lrn("classif.module", module=module, epochs=0)
    before = learner.train(IRIS, key=0).run.params
    module.head.kernel.set_value(jnp.full((4, 3), 7.0))
    jax.tree.map(np.testing.assert_array_equal, learner.train(IRIS, key=0).run.params, before)
    again = jdl.lrn("classif.module", module=module, epochs=0).train(IRIS, key=0)
    np.testing.assert_array_equal(again.network.head.kernel[...], 7.0)


def test_a_pretrained_object_keeps_its_values_though_it_has_a_prepare():
    module = RealMLP(n_num_features=4, d_out=3, hidden_sizes=(8,), rngs=nnx.Rngs(0))
    module.head.kernel.set_value(jnp.full(module.head.kernel.shape, 0.5))
    fitted = jdl.lrn("classif.module", module=module, epochs=0).train(IRIS, key=0)
    np.testing.assert_array_equal(fitted.network.head.kernel[...], 0.5)


def test_an_object_as_a_hyperparameter_stays_as_it_was():
    embeddings = jdl.networks.PiecewiseLinearEmbeddings(
        None, 4, n_features=4, max_bins=5, version="A", activation=False, rngs=nnx.Rngs(0)
    )
    before = jax.tree.map(np.array, nnx.state(embeddings))
    learner = jdl.lrn("classif.module", module=MLP, neurons=[8], num_embeddings=embeddings, epochs=1)
    fitted = learner.train(IRIS, key=0)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(embeddings), before)
    assert np.any(np.asarray(fitted.network.num_embeddings.impl.weight[...]))


# -- what a module takes from its training rows


class Centered(nnx.Module):
    """Takes the training rows' mean away."""

    def __init__(self, in_features, *, rngs):
        self.mean = nnx.Variable(jnp.zeros(in_features))
        self.linear = nnx.Linear(in_features, in_features, rngs=rngs)

    def prepare(self, x, target):
        assert len(x) == len(target)
        self.mean.set_value(jnp.asarray(x.mean(axis=0)))

    def __call__(self, x):
        return self.linear(x - self.mean[...][None])


def test_own_layers_and_modules_that_functions_make_get_their_training_rows():
    rows = np.arange(30, 120)
    expected = np.asarray(IRIS.to_pandas()[IRIS.feature_names].iloc[rows].mean(), np.float32)
    fitted = learner_of(jdl.layer(Centered)(), jdl.nn("head")).train(IRIS, rows=rows, key=0)
    np.testing.assert_allclose(fitted.network.nodes["Centered"].mean[...], expected, rtol=1e-5)
    made = jdl.lrn(
        "classif.module",
        module=lambda d_in, d_out, rngs: RealMLP(n_num_features=d_in, d_out=d_out, hidden_sizes=(4,), rngs=rngs),
        epochs=1,
    ).train(IRIS, rows=rows, key=0)
    assert np.any(np.asarray(made.network.scaling.center[...]))
    with pytest.raises(GraphError, match="'Centered' takes something, such as bins, from columns"):
        learner_of(linear(3), jdl.layer(Centered)(), jdl.nn("head"))


# -- heads of trained networks


def test_a_new_head_is_no_part_of_the_fitted_learner():
    fitted = learner_of(jdl.nn("head")).train(IRIS, key=0)
    assert replace_head(fitted.network, 5, rngs=nnx.Rngs(0)).nodes["head"].bias.shape == (5,)
    assert fitted.network.nodes["head"].bias.shape == (3,)


def test_the_head_of_a_graph_whose_end_joins_paths_is_not_replaced():
    learner = learner_of([linear(3), linear(3)], jdl.nn("merge_sum"))
    network = learner.train(IRIS, key=0).network
    with pytest.raises(ConfigError, match="node 'merge_sum', at the end of the graph, joins several paths"):
        replace_head(network, 5, rngs=nnx.Rngs(0))
    with pytest.raises(ConfigTypeError, match=r"replace_head: expected an nnx.Module, got 3"):
        replace_head(3, 5, rngs=nnx.Rngs(0))  # pyright: ignore[reportArgumentType]
