"""Graphs of layers as modules: shapes, branches, blocks, own layers, mistakes."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jdl
from jdl.core.errors import ConfigError, ConfigTypeError, GraphError, ShapeError
from jdl.core.random import RandomKey
from jdl.networks.array_spec import ArraySpec, Unknowns
from jdl.networks.block import Block, dynamic_values, static_graph
from jdl.networks.context import BatchContext, batch_context
from jdl.networks.graph_spec import GraphSpec, build_for_table
from jdl.networks.initial import HostRngs
from jdl.networks.layer import Site
from jdl.networks.network import build_network
from jdl.networks.scan import SCANNED


def linear(n=2, **more):
    return jdl.nn("linear", out_features=n, **more)


def built(graph, *shape, n_outputs=None):
    inputs = {"input": ArraySpec(Unknowns().shape("input", (None, *shape)))}
    return build_network(graph, inputs, Site(HostRngs(RandomKey((0,))), n_outputs=n_outputs))


MIXED = jdl.tsk("mixed")
NUM = jdl.po("ingress_num")
CATEG = jdl.po("ingress_categ")


SITE = Site(HostRngs(RandomKey((0,))), n_outputs=1)


def module(graph, task=MIXED, n_outputs=1):
    return GraphSpec(graph).build(task.spec, n_outputs, HostRngs(RandomKey((0,))))


def test_a_network_computes_what_its_layers_compute():
    made = built(linear(3) >> jdl.nn("relu") >> linear(1), 4)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    first, last = made.module.nodes["linear"], made.module.nodes["linear_2"]
    np.testing.assert_array_equal(made.module(x), last(nnx.relu(first(x))))
    assert str(made.specs["linear"][0]) == "(batch, 3)"


def test_paths_get_the_one_input_and_merge():
    made = built([jdl.nn("identity"), linear(4)] >> jdl.nn("merge_sum"), 4)
    x = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(made.module(x), x + made.module.nodes["linear"](x))


def test_several_outputs_are_a_tuple():
    made = built(linear(3) >> [jdl.nn("relu"), linear(2)], 4)
    shapes = [y.shape for y in made.module(np.ones((5, 4), np.float32))]
    assert shapes == [(5, 3), (5, 2)]


def test_only_the_selected_path_is_built():
    choice = jdl.po("branch", ["wide", "none"], "none") >> [linear(50), jdl.nn("identity")] >> jdl.po("unbranch")
    graph = linear(3) >> choice >> linear(1)
    assert set(built(graph, 4).module.nodes) == {"linear", "branch", "identity", "unbranch", "linear_3"}
    wide = graph.set({"branch.selection": "wide"})
    assert str(built(wide, 4).specs["unbranch"][0]) == "(batch, 50)"
    with pytest.raises(ConfigError, match="'wide', 'none'"):
        graph.set({"branch.selection": "deep"})


def test_a_branch_inside_a_block_is_chosen_too():
    inner = linear(4) >> (jdl.po("branch", 2) >> [jdl.nn("relu"), jdl.nn("tanh")] >> jdl.po("unbranch"))
    block = jdl.nn("block", inner, n_blocks=2).set(**{"branch.selection": "1"})
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    assert np.abs(built(block >> jdl.nn("identity"), 4).module(x)).max() < 1
    assert "branch.selection" in block.fields


def test_paths_of_a_branch_end_in_unbranch():
    graph = jdl.po("branch", 2) >> [linear(3), linear(3)] >> jdl.nn("merge_sum")
    with pytest.raises(GraphError, match="end the paths of a branch with"):
        built(graph, 4)
    with pytest.raises(GraphError, match="must get one of several paths"):
        built([linear(3), linear(3)] >> jdl.po("unbranch"), 4)
    with pytest.raises(ConfigError, match="two or more different names"):
        jdl.po("branch", ["a", "a"])


def test_codes_pass_through_what_keeps_them():
    two = [CATEG, CATEG] >> jdl.nn("merge_cat") >> jdl.nn("identity") >> jdl.nn("embed_categ", d_embedding=2)
    assert str(build_for_table(two, MIXED.spec, SITE).specs["embed_categ"][0]) == "(batch, 4, 2)"
    own = CATEG >> jdl.nn("fn", lambda codes: codes * 1.0) >> jdl.nn("head")
    assert own.summary(MIXED).to_pandas().set_index("node").loc["head", "gives"] == "(batch, 1)"


def test_embeddings_are_a_choice_too():
    """Also where one of them finds bins in the columns that reach it through the branch."""
    kinds = [jdl.nn("embed_pbld"), jdl.nn("embed_piecewise_linear", n_bins=3, binning="tree")]
    graph = NUM >> jdl.po("branch", ["pbld", "ple"], "ple") >> kinds >> jdl.po("unbranch")
    spec = GraphSpec(graph >> jdl.nn("flatten") >> jdl.nn("head"))
    made: Any = spec.build(MIXED.spec, 1, HostRngs(RandomKey((0,))))
    table = MIXED.table
    spec.prepare(
        made, replace(table, numeric=np.nan_to_num(table.numeric)), np.arange(MIXED.n_rows) % 2, RandomKey((0,))
    )
    assert np.asarray(made.nodes["embed_piecewise_linear"].impl.weight[...]).any()


# -- blocks


def test_a_block_of_none_hands_its_input_on():
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(built(jdl.nn("block", linear(9), n_blocks=0) >> jdl.nn("identity"), 3).module(x), x)


@pytest.mark.parametrize("n", [1, SCANNED - 1, SCANNED, SCANNED + 3])
def test_copies_run_in_series_with_parameters_of_their_own(n):
    made = built(jdl.nn("block", linear(3) >> jdl.nn("tanh"), n_blocks=n) >> jdl.nn("identity"), 3)
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    params = jax.tree.leaves(nnx.state(made.module, nnx.Param))
    assert sum(p.size for p in params) == n * (9 + 3)
    kernels = [p for p in params if p.shape[-2:] == (3, 3)]
    stacked = np.concatenate([np.asarray(k).reshape(-1, 3, 3) for k in kernels])
    biases = np.concatenate([np.asarray(p).reshape(-1, 3) for p in params if p.shape[-2:] != (3, 3)])
    expected = x
    for kernel, bias in zip(stacked, biases, strict=True):
        expected = np.tanh(expected @ kernel + bias)
    assert len(np.unique(stacked)) == n * 9, "no two copies begin alike"
    np.testing.assert_allclose(made.module(x), expected, rtol=1e-5, atol=1e-6)


def test_copies_that_are_scanned_are_compiled_once():
    deep = built(jdl.nn("block", linear(3) >> jdl.nn("tanh"), n_blocks=12) >> jdl.nn("identity"), 3).module
    graph, state = nnx.split(deep)
    text = jax.jit(lambda s, x: nnx.merge(graph, s)(x)).lower(state, np.ones((2, 3), np.float32)).as_text()
    assert text.count("dot_general") == 1


@pytest.mark.parametrize("n", [SCANNED - 1, SCANNED])
def test_a_network_with_statistics_is_called_inside_transformations_of_jax(n):
    made: Any = built(jdl.nn("block", linear(3) >> jdl.nn("batch_norm1d"), n_blocks=n) >> jdl.nn("identity"), 3).module
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    made(x)
    means = [leaf for leaf in jax.tree.leaves(nnx.state(made, nnx.BatchStat)) if np.any(leaf == 0)]
    assert not means, "training writes the statistics of all copies"
    made.eval()
    expected = np.asarray(made(x))
    np.testing.assert_allclose(jax.jit(lambda x: made(x))(x), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(lambda x: made(x[None])[0])(jnp.asarray(x)), expected, rtol=1e-5, atol=1e-6)


def test_dropout_differs_from_copy_to_copy():
    block = jdl.nn("block", jdl.nn("dropout", p=0.5), n_blocks=SCANNED)
    made = built(block >> jdl.nn("identity"), 50).module
    with batch_context(BatchContext(seed=jnp.uint32(7), hyper={"block.dropout.p": 0.5})):
        kept = np.asarray(made(np.ones((40, 50), np.float32))) != 0
    # With one mask for all copies a half would be left; with four masks a sixteenth.
    assert 0.03 < kept.mean() < 0.1


def test_a_trafo_changes_copies():
    def widen(i, values):
        return {"linear.out_features": 4 + i}

    block = jdl.nn("block", linear(3), n_blocks=3, trafo=widen)
    assert str(built(block >> jdl.nn("identity"), 3).specs["block"][0]) == "(batch, 6)"
    with pytest.raises(ConfigTypeError, match="'trafo' must be a function"):
        jdl.nn("block", linear(3), trafo=3)


def test_values_of_dynamic_hyperparameters_are_no_part_of_the_program():
    def half(i, values):
        return {"dropout.p": 0.5 / (i + 1)}

    graph = jdl.nn("dropout", p=0.3) >> jdl.nn("block", jdl.nn("dropout", p=0.1), n_blocks=2)
    assert dynamic_values(graph) == {"dropout.p": 0.3, "block.dropout.p": 0.1}
    assert static_graph(graph) == static_graph(graph.set({"dropout.p": 0.7, "block.dropout.p": 0.2}))
    assert static_graph(graph) != static_graph(graph.set({"dropout.p": 0.0})), "no dropout is another program"
    block = jdl.nn("block", jdl.nn("dropout", p=0.1), n_blocks=2, trafo=half)
    assert block.dynamic() == {"0.dropout.p": 0.5, "1.dropout.p": 0.25}


def test_a_trafo_leaves_dynamic_values_dynamic():
    def half(i, values):
        return {"dropout.p": values["dropout.p"] / (i + 1)}

    graph = jdl.nn("block", jdl.nn("dropout", p=0.8), n_blocks=2, trafo=half) >> jdl.nn("identity")
    other = graph.set({"block.dropout.p": 0.4})
    assert static_graph(graph) == static_graph(other), "one program"
    assert dynamic_values(other) == {"block.0.dropout.p": 0.4, "block.1.dropout.p": 0.2}
    made, x = built(static_graph(graph), 50).module, np.ones((80, 50), np.float32)
    with batch_context(BatchContext(seed=jnp.uint32(7), hyper=dynamic_values(graph))):
        kept = np.asarray(made(x)) != 0
    assert 0.09 < kept.mean() < 0.15, "0.2 of 0.6 are left"


def test_a_block_takes_a_graph_of_layers_with_one_output():
    with pytest.raises(GraphError, match="must give one output, but it gives 2"):
        jdl.nn("block", [linear(), linear()])
    with pytest.raises(GraphError, match="begin with a layer"):
        jdl.nn("block", NUM >> linear())
    with pytest.raises(ConfigTypeError, match="expected a graph of layers"):
        jdl.nn("block", 3)
    assert isinstance(jdl.nn("block_3", linear()), Block)


# -- own layers


def test_a_function_is_a_layer_in_three_lines():
    @jdl.layer
    def winsorize(x, limit=1.0):
        return jnp.clip(x, -limit, limit)

    made = built(winsorize(limit=0.5) >> jdl.nn("identity"), 2).module
    np.testing.assert_array_equal(made(np.array([[3.0, -0.2]])), np.float32([[0.5, -0.2]]))
    assert winsorize(limit=0.5) == winsorize(limit=0.5) != winsorize()
    with pytest.raises(ConfigTypeError, match="hyperparameter 'limit' must be a number"):
        winsorize(limit="a")


def test_two_inputs_and_any_number_of_them():
    both = jdl.nn("fn", lambda a, b: a - b)
    made = built([jdl.nn("identity"), linear(3)] >> both, 3).module
    assert made(np.ones((2, 3), np.float32)).shape == (2, 3)
    total = jdl.nn("fn", lambda *xs: sum(xs))
    assert built([jdl.nn("identity")] * 3 >> total, 3).module(np.ones((1, 3)))[0, 0] == 3


def test_a_class_is_a_layer_whose_sizes_are_given():
    @jdl.layer
    class Gate(nnx.Module):
        """A learned gate per feature."""

        def __init__(self, in_features, start=1.0, *, rngs):
            self.gate = nnx.Param(np.full((in_features,), start, np.float32))

        def __call__(self, x):
            return x * self.gate[...][None]

    made = built(Gate(start=2.0) >> jdl.nn("identity"), 3).module
    np.testing.assert_array_equal(made(np.ones((2, 3), np.float32)), np.full((2, 3), 2.0))
    other = NUM >> jdl.nn("module", nnx.Linear, out_features=5) >> jdl.nn("head")
    assert other.summary(MIXED).to_pandas().set_index("node").loc["Linear", "gives"] == "(batch, 5)"


def test_what_is_no_layer_is_refused():
    for wrong in (3, int, nnx.Linear(1, 1, rngs=nnx.Rngs(0))):
        with pytest.raises(ConfigTypeError, match=r"expected a function or an nnx\.Module class"):
            jdl.layer(wrong)
    with pytest.raises(ConfigError, match="needs at least one argument without default"):
        jdl.layer(lambda limit=1.0: limit)
    with pytest.raises(ConfigError, match="an argument called 'id' is taken"):
        jdl.layer(lambda x, id=1: x)


def test_an_error_in_an_own_layer_names_the_node():
    with pytest.raises(ShapeError, match=r"node 'fn' cannot be applied to \(batch, 3\)"):
        built(jdl.nn("fn", lambda x: x @ jnp.ones((2, 2))) >> jdl.nn("identity"), 3)


# -- mistakes


def test_unknown_sizes_say_which_hyperparameter_gives_them():
    graph = NUM >> linear(3)
    with pytest.raises(ShapeError, match=r"node 'linear' needs the size of axis 1[\s\S]*'ingress_num.n_features'"):
        build_for_table(graph, None, Site(HostRngs(RandomKey((0,)))))
    known = jdl.po("ingress_num", n_features=4) >> linear(3)
    assert str(build_for_table(known, None, Site(HostRngs(RandomKey((0,))))).specs["linear"][0]) == "(batch, 3)"


def test_head_needs_a_task():
    with pytest.raises(ShapeError, match="node 'head' needs a task"):
        built(jdl.nn("head") >> jdl.nn("identity"), 3)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (linear(3) >> jdl.nn("head"), "there is no ingress"),
        (NUM >> [jdl.nn("head"), jdl.nn("head")], r"nodes 'head' and 'head_2' are heads, but a network has one"),
        (NUM >> jdl.nn("head") >> jdl.nn("head"), "nodes 'head' and 'head_2' are heads, but a network has one head"),
        (CATEG >> linear(3), "'linear' takes numbers, but .* holds category codes .* need an embedding"),
        (CATEG >> jdl.nn("reshape", shape=(-1, 2)) >> jdl.nn("relu"), "'relu' takes numbers, but .* category codes"),
        ([NUM, CATEG] >> jdl.nn("merge_cat") >> jdl.nn("head"), "'merge_cat' takes numbers, but .* category codes"),
        (CATEG >> jdl.nn("block", linear(2), n_blocks=2), "'block.linear' takes numbers, but .* category codes"),
        (
            NUM >> jdl.nn("block", jdl.nn("embed_piecewise_linear") >> jdl.nn("flatten"), n_blocks=1),
            "block.embed_piece",
        ),
        ([NUM >> linear(3), linear(3)] >> jdl.nn("merge_sum") >> jdl.nn("head"), "nothing feeds node 'linear_2'"),
        (NUM >> linear(5), r"needs an output of shape \(batch, 1\), but node 'linear' gives \(batch, 5\)"),
        (NUM >> jdl.nn("unsqueeze", axis=1) >> jdl.nn("head"), r"node 'head' needs an input with 2 axes"),
        (
            [NUM >> linear(3), NUM >> linear(4)] >> jdl.nn("merge_sum") >> jdl.nn("head"),
            r"node 'merge_sum' .*\(batch, 3\)",
        ),
        (jdl.po("ingress_num", n_features=9) >> jdl.nn("head"), "expects 9 columns .* but it reads 4"),
        (jdl.po("ingress_tensor", shape=(3, 3)) >> jdl.nn("flatten") >> jdl.nn("head"), "expects 9 columns"),
        (jdl.po("ingress_num", columns="city") >> jdl.nn("head"), "it finds none"),
        (
            NUM >> linear(3) >> jdl.nn("embed_piecewise_linear") >> jdl.nn("flatten") >> jdl.nn("head"),
            "such as bins",
        ),
    ],
)
def test_mistakes_are_named_before_anything_runs(graph, message):
    with pytest.raises((GraphError, ShapeError), match=message):
        module(graph)


def test_a_summary_shows_shapes_and_parameters_as_far_as_they_are_known():
    graph = NUM >> linear(8) >> jdl.nn("relu") >> jdl.nn("head")
    frame = graph.summary(MIXED).to_pandas().set_index("node")
    assert frame.loc["linear", "gives"] == "(batch, 8)" and frame.loc["linear", "parameters"] == 4 * 8 + 8
    assert frame.loc["head", "gives"] == "(batch, 1)"
    assert "?" in repr(graph) and "and more" in repr(graph)
    assert "in all" in repr(graph.summary(MIXED)).splitlines()[-1]
