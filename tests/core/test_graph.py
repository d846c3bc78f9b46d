"""Topology: composing, numbering of ids, hyperparameters by dotted names, drawings."""

import shutil
from dataclasses import replace

import pytest

import jdl
from jdl.core.errors import ConfigError, GraphError, MissingPackageError, UnknownNameError
from jdl.core.graph import Edge, Graph, Node, Port


def linear(n=2, **more):
    return jdl.nn("linear", out_features=n, **more)


def pairs(graph):
    return [(edge.source.node, edge.target.node) for edge in graph.edges]


def test_a_chain_runs_from_left_to_right():
    graph = linear() >> jdl.nn("relu") >> linear(3)
    assert graph.ids == ("linear", "relu", "linear_2")
    assert pairs(graph) == [("linear", "relu"), ("relu", "linear_2")]
    assert graph.inputs == (Port("linear"),) and graph.outputs == (Port("linear_2"),)


def test_composing_is_associative():
    a, b, c = linear(1), jdl.nn("relu"), linear(3)
    assert (a >> b) >> c == a >> (b >> c)


def test_a_list_runs_side_by_side_and_one_output_feeds_all():
    graph = linear() >> [jdl.nn("relu"), linear(3)] >> jdl.nn("merge_cat")
    assert pairs(graph) == [
        ("linear", "relu"), ("linear", "linear_2"), ("relu", "merge_cat"), ("linear_2", "merge_cat"),
    ]  # fmt: skip
    assert [p.node for p in graph.sources("merge_cat")] == ["relu", "linear_2"]


def test_a_graph_used_twice_is_two_copies():
    part = linear() >> jdl.nn("relu")
    assert (part >> part).ids == ("linear", "relu", "linear_2", "relu_2")


def test_a_given_id_must_not_repeat():
    for graph in (
        lambda: linear(id="a") >> linear(id="a"),
        lambda: jdl.nn("linear_1", out_features=1) >> [linear(id="linear_1"), linear()],
    ):
        with pytest.raises(GraphError, match="two nodes have the id"):
            graph()


def test_numbers_pass_over_ids_that_are_taken():
    assert (linear() >> linear(id="linear_2") >> linear()).ids == ("linear", "linear_2", "linear_3")


@pytest.mark.parametrize("bad", ["a.b", "", 3])
def test_an_id_is_a_text_without_a_dot(bad):
    with pytest.raises(ConfigError, match="'id' must be a text without a dot"):
        linear(id=bad)


def test_numbers_of_ports_must_fit():
    two = jdl.nn("multihead_attention", num_heads=1, mode="cross")
    with pytest.raises(
        GraphError, match=r"3 outputs \('linear', 'linear_2', 'linear_3'\), but node 'multihead.*' takes 2 inputs"
    ):
        [linear(), linear(), linear()] >> two
    with pytest.raises(GraphError, match="takes no input"):
        linear() >> Graph((), (), (), ())
    with pytest.raises(GraphError, match="has no output"):
        Graph((), (), (), ()) >> linear()


def test_hyperparameters_have_dotted_names():
    graph = jdl.nn("linear_1", out_features=4) >> jdl.nn("dropout", p=0.2)
    assert graph.params()["linear_1.out_features"] == 4
    again = graph.set({"linear_1.out_features": 7, "dropout.p": 0.5})
    assert again["linear_1"].params()["out_features"] == 7 and graph["linear_1"].params()["out_features"] == 4
    with pytest.raises(
        UnknownNameError, match=r"'linear_1.out_feature' of the graph. Did you mean 'linear_1.out_features'"
    ):
        graph.set({"linear_1.out_feature": 3})
    with pytest.raises(ConfigError, match="out_features"):
        graph.set({"linear_1.out_features": 0})
    with pytest.raises(UnknownNameError, match="Unknown node 'linear'"):
        graph["linear"]


def test_equal_graphs_are_equal_and_hash_alike():
    make = lambda: linear() >> [jdl.nn("relu"), jdl.nn("tanh")] >> jdl.nn("merge_sum")  # noqa: E731
    assert make() == make() and hash(make()) == hash(make())
    assert make() != make().set({"linear.out_features": 9})


def test_what_is_left_out_takes_its_edges_with_it():
    graph = (linear() >> jdl.nn("relu") >> linear(3)).without(["relu"])
    assert graph.ids == ("linear", "linear_2") and graph.edges == ()


def test_what_is_left_is_open_where_edges_were_cut():
    graph = linear() >> jdl.nn("relu") >> [linear(3), jdl.nn("identity")] >> jdl.nn("merge_sum")
    left = graph.without(["relu"])
    assert left.outputs == (Port("merge_sum"), Port("linear"))
    assert left.inputs == (Port("linear"), Port("linear_2"), Port("identity"))
    assert graph.without(["linear_2"]).inputs == (Port("linear"), Port("merge_sum", None))


# -- put together by hand

CHAIN = linear() >> jdl.nn("relu") >> linear(3)


def test_nodes_in_any_order_are_sorted():
    assert replace(CHAIN, nodes=CHAIN.nodes[::-1]) == CHAIN


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edges": (*CHAIN.edges, Edge(Port("relu"), Port("linear")))}, r"'linear', 'relu' form a cycle \(linear >> "),
        ({"edges": CHAIN.edges[:1]}, "nothing feeds input 0 of node 'linear_2'"),
        ({"outputs": ()}, "node 'linear_2' dangles"),
        ({"nodes": (*CHAIN.nodes, Node("tanh", jdl.nn("tanh")))}, "nothing feeds input 0 of node 'tanh'"),
        ({"nodes": (*CHAIN.nodes, CHAIN.nodes[0])}, "two nodes have the id 'linear'"),
        ({"edges": (*CHAIN.edges, Edge(Port("nope"), Port("relu")))}, "no node 'nope'.*'nope' >> 'relu'"),
        ({"edges": (*CHAIN.edges, Edge(Port("linear"), Port("linear_2")))}, "'linear_2' is fed by more than one edge"),
        ({"edges": (CHAIN.edges[0], Edge(Port("relu", 2), Port("linear_2")))}, "'relu' has 1 outputs.* no output 2"),
        ({"inputs": (Port("linear"), Port("relu"))}, "'relu' is fed, and listed as an open input"),
        ({"inputs": (Port("linear", 1),)}, "'linear' has 1 inputs.* no input 1"),
    ],
)
def test_a_graph_put_together_wrongly_names_the_node(changes, message):
    with pytest.raises(GraphError, match=message):
        replace(CHAIN, **changes)


def test_mermaid_names_all_nodes_and_edges():
    text = (linear() >> [jdl.nn("relu"), jdl.nn("identity")] >> jdl.nn("merge_sum")).to_mermaid()
    assert text.splitlines()[0] == "flowchart TD"
    assert 'n0["linear: out_features=2"]' in text
    assert text.count("-->") == 4


def test_svg_needs_graphviz(monkeypatch):
    graph = linear() >> jdl.nn("relu")
    if shutil.which("dot"):
        assert "<svg" in graph.to_svg()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingPackageError, match="Graphviz"):
        graph.to_svg()


def test_edges_are_values():
    assert Edge(Port("a"), Port("b", 1)) == Edge(Port("a", 0), Port("b", 1))
