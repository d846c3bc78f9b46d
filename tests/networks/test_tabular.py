"""What all tabular networks keep: sizes, equal graphs, no compilation, vmap over members, gradients, row by row."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

from jdl.core.errors import ConfigError, ShapeError, UnknownNameError
from jdl.core.random import as_key
from jdl.networks import (
    MLP,
    CategoricalEmbeddings,
    FTTransformer,
    HostRngs,
    PBLDEmbeddings,
    PeriodicEmbeddings,
    PiecewiseLinearEmbeddings,
    RealMLP,
    TabM,
    TabResNet,
)
from jdl.networks.context import BatchContext, batch_context
from jdl.networks.initial import InitialValues
from jdl.networks.noise import forget_own_noise

F, SIZES, N = 3, (3, 12), 24


def ple(rngs, n=F, bins=5, width=4):
    options: Any = {"activation": False, "version": "B", "n_features": n, "max_bins": bins}
    return PiecewiseLinearEmbeddings(None, width, rngs=rngs, **options)


def tabm(arch_type, embedded):
    def build(rngs):
        embeddings = ple(rngs) if embedded else None
        options: Any = {"n_num_features": F, "cat_cardinalities": SIZES, "d_out": 2, "k": 4, "d_block": 8}
        return TabM(**options, arch_type=arch_type, num_embeddings=embeddings, rngs=rngs)

    return build


def tabm_of_embedded_categories(rngs):
    options: Any = {"n_num_features": F, "cat_cardinalities": SIZES, "d_out": 2, "k": 4, "d_block": 8}
    return TabM(
        **options, num_embeddings=ple(rngs), cat_embeddings=CategoricalEmbeddings(SIZES, 5, rngs=rngs), rngs=rngs
    )


def ft(rngs):
    options: Any = {"d_block": 8, "attention_n_heads": 2, "residual_dropout": 0.1}
    return FTTransformer(n_cont_features=F, cat_cardinalities=SIZES, d_out=2, n_blocks=2, rngs=rngs, **options)


def realmlp(rngs):
    return RealMLP(n_num_features=F, cat_cardinalities=SIZES, d_out=2, hidden_sizes=(8, 8), rngs=rngs)


def realmlp_simple(rngs):
    return RealMLP.simple(n_num_features=F, cat_cardinalities=SIZES, d_out=2, hidden_sizes=(8,), rngs=rngs)


def resnet(rngs):
    return TabResNet(F, 2, 2, 8, dropout2=0.1, num_embeddings=ple(rngs), rngs=rngs)


def plain_resnet(rngs):
    return TabResNet(F, 2, 1, 8, final_norm=False, dropout1=None, rngs=rngs)


def mlp(rngs):
    embeddings = PeriodicEmbeddings(2, 4, n_frequencies=5, lite=True, rngs=rngs)
    return MLP(F, 2, neurons=(8,), dropout=0.1, num_embeddings=embeddings, rngs=rngs)


BUILDS = {
    "tabm": tabm("tabm", False),
    "tabm embedded": tabm("tabm", True),
    "tabm-mini": tabm("tabm-mini", True),
    "tabm-packed": tabm("tabm-packed", False),
    "tabm of embedded categories": tabm_of_embedded_categories,
    "ft_transformer": ft,
    "realmlp": realmlp,
    "realmlp simple": realmlp_simple,
    "resnet": resnet,
    "resnet without final norm": plain_resnet,
    "mlp": mlp,
}
every_network = pytest.mark.parametrize("build", BUILDS.values(), ids=list(BUILDS))


def rows(seed=0, n=N):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, F)).astype(np.float32), random.integers(0, SIZES, (n, 2)).astype(np.int32)


def inputs(model, n=N, seed=0):
    x, codes = rows(seed, n)
    return (x,) if isinstance(model, MLP | TabResNet) else (x, codes)


def dropouts(model) -> list[Any]:
    return [m for _, m in nnx.iter_modules(model) if type(m).__name__ == "Dropout"]


call = nnx.jit(lambda model, *x: model(*x))


@nnx.jit
def call_in_training(model, *x):
    with batch_context(BatchContext(seed=jnp.uint32(3))):
        return model(*x)


@every_network
def test_host_and_flax_streams_build_equal_graphs(build):
    models = [build(rngs) for rngs in (HostRngs(as_key(0)), HostRngs(as_key(1)), nnx.Rngs(0))]
    forget_own_noise(models[2])  # flax's streams are state
    graphs = [nnx.graphdef(model) for model in models]
    assert graphs[0] == graphs[1] == graphs[2]
    assert hash(graphs[0]) == hash(graphs[2])


@every_network
def test_building_drawing_and_preparing_compile_nothing(build, compilations):
    before = len(compilations)
    model = build(HostRngs(as_key(0)))
    model.prepare(*inputs(model), key=as_key(1))
    InitialValues(build).draw(as_key(4))
    assert len(compilations) == before


@every_network
def test_initial_values_are_drawn_without_building(build, monkeypatch):
    values = InitialValues(build)
    expected = jax.tree.leaves(nnx.state(build(HostRngs(as_key(3)))))
    monkeypatch.setattr(values, "_build", None)
    drawn = jax.tree.leaves(nnx.merge_state(*values.draw(as_key(3))))
    for left, right in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(left, right)


@every_network
def test_evaluation_treats_every_row_alone(build):
    model = build(HostRngs(as_key(0)))
    model.prepare(*inputs(model), key=0)
    model.eval()
    whole = np.asarray(call(model, *inputs(model)))
    assert np.isfinite(whole).all()
    assert whole.shape == ((N, 4, 2) if isinstance(model, TabM) else (N, 2))
    part = call(model, *(block[5:9] for block in inputs(model)))
    np.testing.assert_allclose(part, whole[5:9], rtol=1e-5, atol=1e-6)
    other = [block.copy() for block in inputs(model)]
    other[0][0] = np.nan
    np.testing.assert_allclose(call(model, *other)[1:], whole[1:], rtol=1e-5, atol=1e-6)


@every_network
def test_members_side_by_side_and_their_gradients(build):
    graph = nnx.graphdef(build(HostRngs(as_key(0))))
    states = []
    for seed in range(2):
        model = build(HostRngs(as_key(seed)))
        model.prepare(*(block[seed:] for block in inputs(model)), key=seed)  # a fold of its own
        states.append(nnx.split(model, nnx.Param, ...)[1:])
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *states)
    x = inputs(model)

    def loss(params, rest, seed):
        model = nnx.merge(graph, params, rest, copy=True)
        with batch_context(BatchContext(seed=seed)):
            return (model(*x) ** 2).mean()

    step = jax.value_and_grad(loss)
    seeds = jnp.array([1, 2], jnp.uint32)
    together, grads = jax.jit(jax.vmap(step))(*stacked, seeds)
    for i, state in enumerate(states):
        alone, alone_grads = jax.jit(step)(*state, seeds[i])
        np.testing.assert_allclose(together[i], alone, rtol=1e-4)
        for left, right in zip(jax.tree.leaves(grads), jax.tree.leaves(alone_grads), strict=True):
            np.testing.assert_allclose(left[i], right, rtol=1e-3, atol=1e-4)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@every_network
def test_dropout_is_on_in_training_only(build):
    model = build(HostRngs(as_key(0)))
    model.prepare(*inputs(model), key=0)
    layers = dropouts(model)
    assert len({layer.layer for layer in layers}) == len(layers)
    model.eval()
    evaluated = call(model, *inputs(model))
    np.testing.assert_array_equal(evaluated, call(model, *inputs(model)))
    model.train()
    if layers:
        assert not np.allclose(call_in_training(model, *inputs(model)), evaluated)


def test_names_of_the_rates():
    names = {layer.hyper for layer in dropouts(ft(nnx.Rngs(0)))}
    assert names == {"attention_dropout", "ffn_dropout", "residual_dropout"}
    model = TabResNet(2, 1, dropout2=0.5, rngs=nnx.Rngs(0))
    assert {layer.hyper for layer in dropouts(model)} == {"dropout1", "dropout2"}


# -- numbers of parameters (8 numeric inputs, one output)


def tabm_of(embeddings=None, **options):
    return TabM(n_num_features=8, d_out=1, num_embeddings=embeddings, rngs=host(), **options)


def host():
    return HostRngs(as_key(0))


def periodic_mlp(lite, k, d, width, depth=1):
    embeddings = PeriodicEmbeddings(8, d, n_frequencies=k, lite=lite, rngs=host())
    return MLP(8, 1, neurons=(width,) * depth, num_embeddings=embeddings, rngs=host())


def ft_of(**options):
    return FTTransformer(n_cont_features=8, d_out=1, rngs=host(), **options)


COUNTS = {
    "tabm": (lambda: tabm_of(d_block=400), 438_688),
    "mini": (lambda: tabm_of(arch_type="tabm-mini", d_block=304), 198_192),
    "mini ple": (
        lambda: tabm_of(ple(host(), 8, 30, 16), arch_type="tabm-mini", d_block=576, n_blocks=3),
        765_664,
    ),
    "tabm ple": (lambda: tabm_of(ple(host(), 8, 47, 20), d_block=416, n_blocks=3), 545_472),
    "packed": (lambda: tabm_of(arch_type="tabm-packed", d_block=992, n_blocks=4), 94_882_848),
    "mlp": (lambda: MLP(8, 1, neurons=(510, 263, 363), rngs=host()), 235_179),
    "mlp plr": (lambda: periodic_mlp(False, 60, 28, 832), 215_617),
    "mlp plr lite": (lambda: periodic_mlp(True, 24, 16, 672, 3), 992_849),
    "mlp ple": (
        lambda: MLP(8, 1, neurons=(672, 672), num_embeddings=ple(host(), 8, 108, 20), rngs=host()),
        578_721,
    ),
    "resnet": (lambda: TabResNet(8, 1, 3, 168, d_hidden=501, rngs=host()), 510_040),
    "ft 255": (lambda: ft_of(ffn_d_hidden_multiplier=1.333333333333333), 893_179),
    "ft 256": (lambda: ft_of(), 894_913),
    "realmlp": (lambda: RealMLP(n_num_features=8, d_out=1, activation="mish", rngs=host()), 141_753),
}


@pytest.mark.parametrize("name", COUNTS)
def test_number_of_parameters(name):
    build, expected = COUNTS[name]
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(build(), nnx.Param))) == expected


# -- bad input


BAD = {
    "no features": (lambda: TabM(d_out=1, rngs=host()), "at least one feature"),
    "no features, realmlp": (lambda: RealMLP(d_out=1, rngs=host()), "at least one feature"),
    "no features, ft": (lambda: FTTransformer(n_cont_features=0, d_out=1, rngs=host()), "at least one feature"),
    "zero width": (lambda: tabm_of(d_block=0), "d_block must be an integer from 1 on, got 0"),
    "zero outputs": (lambda: TabResNet(3, 0, rngs=host()), "d_out must be"),
    "no rate": (lambda: tabm_of(dropout=1.5), r"dropout must lie in \[0, 1\), got 1.5"),
    "cardinality": (lambda: TabM(cat_cardinalities=[3, 0], d_out=1, rngs=host()), r"cat_cardinalities\[1\]"),
    "heads": (lambda: ft_of(d_block=100), "multiple of attention_n_heads, got 100 and 8.*\n.*d_block=96"),
    "depth": (lambda: ft_of(n_blocks=7), "1 to 6 blocks, got n_blocks=7"),
    "ratio": (lambda: ft_of(linformer_kv_compression_ratio=2.0), r"lie in \(0, 1\), got 2.0"),
    "sharing alone": (
        lambda: ft_of(linformer_kv_compression_sharing="headwise"),
        "needs linformer_kv_compression_ratio",
    ),
    "both widths": (lambda: TabResNet(3, 1, d_hidden=3, d_hidden_multiplier=2.0, rngs=host()), "got both"),
    "other features": (lambda: tabm_of(ple(host(), 7)), "for 7 features, but n_num_features=8"),
    "other features, realmlp": (
        lambda: RealMLP(n_num_features=8, d_out=1, num_embeddings=PBLDEmbeddings(3, rngs=host()), rngs=host()),
        "for 3 features, but n_num_features=8",
    ),
    "other width, ft": (lambda: ft_of(num_embeddings=ple(host(), 8)), r"shape \(8, 192\).*got \(8, 4\)"),
    "more features than columns": (
        lambda: MLP(2, 1, num_embeddings=PBLDEmbeddings(3, rngs=host()), rngs=host()),
        "for 3 features, but d_in=2",
    ),
    "no embedding": (lambda: MLP(2, 1, num_embeddings="pbld", rngs=host()), "must be a module.*got str"),  # pyright: ignore[reportArgumentType]
    "other cardinalities": (
        lambda: tabm_of(cat_cardinalities=[3], cat_embeddings=CategoricalEmbeddings([4], 2, rngs=host())),
        r"cat_embeddings are for cardinalities \(4,\), but cat_cardinalities=\(3,\)",
    ),
    "no categories": (
        lambda: tabm_of(cat_embeddings=CategoricalEmbeddings([4], 2, rngs=host())),
        r"cat_embeddings are for cardinalities \(4,\), but cat_cardinalities=\(\)",
    ),
    "no embeddings of categories": (
        lambda: tabm_of(cat_cardinalities=[3], cat_embeddings=ple(host())),
        "cat_embeddings must be CategoricalEmbeddings or None, got PiecewiseLinearEmbeddings",
    ),
    "packed scaling": (
        lambda: tabm_of(arch_type="tabm-packed", start_scaling_init="normal"),
        "takes no start_scaling_init",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_named(name):
    build, message = BAD[name]
    with pytest.raises(ConfigError, match=message):
        build()


def test_unknown_names_come_with_the_nearest():
    with pytest.raises(UnknownNameError, match="'tabm-mini'"):
        tabm_of(arch_type="tabm-mimi")
    with pytest.raises(UnknownNameError, match="'selu'"):
        RealMLP(n_num_features=1, d_out=1, activation="sellu", rngs=host())
    with pytest.raises(UnknownNameError, match="num_emb_type"):
        RealMLP(n_num_features=1, d_out=1, num_emb_type="pbd", rngs=host())


@every_network
def test_wrong_columns_are_named(build):
    model = build(host())
    x, codes = rows()
    bad: list[tuple[Any, ...]] = [(x[:, :2],)] if isinstance(model, MLP | TabResNet) else []
    if not isinstance(model, MLP | TabResNet):
        bad = [(x[:, :2], codes), (x, codes[:, :1]), (x, None), (None, codes), (x[0], codes[0])]
    for arguments in bad:
        with pytest.raises(ShapeError, match="must have"):
            model(*arguments)
    if not isinstance(model, MLP | TabResNet):
        with pytest.raises(ShapeError, match="equal rows"):
            model(x[:3], codes)


@every_network
def test_lists_and_frames_are_taken(build):
    model: Any = build(host())
    if isinstance(model, MLP):
        return
    model.prepare(*inputs(model), key=0)
    model.eval()
    expected = np.asarray(model(*inputs(model)))
    for kind in (pd.DataFrame, np.ndarray.tolist):
        np.testing.assert_allclose(model(*map(kind, inputs(model))), expected, rtol=1e-5, atol=1e-6)


@every_network
def test_codes_are_integers(build):
    model = build(host())
    x, codes = rows()
    owner = type(model).__name__
    if isinstance(model, MLP | TabResNet):
        return
    message = rf"{owner}: x_cat must hold category codes, which are integers, got float32\.\nHint: x_cat\.astype"
    with pytest.raises(ConfigError, match=message):
        model(x, codes.astype(np.float32))
    with pytest.raises(ConfigError, match=rf"{owner}: x_cat must hold .* got float64"):
        model(x, (codes * 1.0).tolist())
    with pytest.raises(ConfigError, match=rf"{owner}: x_num must hold numbers, got <U"):
        model(x.astype(str), codes)
    with pytest.raises(ShapeError, match=f"{owner}: x_num must be an array, got rows of different lengths"):
        model([[1.0], [1.0, 2.0]], codes)


def test_members_of_another_number_are_refused():
    model: Any = tabm("tabm", False)(host())
    x, codes = rows()
    with pytest.raises(ShapeError, match="4 members on axis 1, got 5"):
        model(np.repeat(x[:, None], 5, 1), np.repeat(codes[:, None], 5, 1))
