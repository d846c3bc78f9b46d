"""What holds for every layer of the catalogue. A new layer adds its arguments and input shapes to `CASES`."""

import functools
import operator
import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jdl.core.random import RandomKey
from jdl.networks import HostRngs
from jdl.networks.array_spec import ArraySpec, Unknowns
from jdl.networks.context import BatchContext, batch_context
from jdl.networks.infer import output_specs
from jdl.networks.initial import InitialValues
from jdl.networks.layer import Site
from jdl.networks.layers import LAYERS

N_ROWS = 4
WEIGHTS = np.array([1, 1, 1, 1, 0, 0], np.float32)


@dataclass(frozen=True)
class Case:
    """A layer with arguments, and what it is applied to.

    Args:
      name: In the catalogue.
      values: Hyperparameters.
      shapes: Of each input, without the batch.
      free: For each input the axes (counted with the batch) whose size may be unknown, the batch apart.
      kinds: For each input "float", "bool" or "codes".
      cardinalities: Of codes.
    """

    name: str
    values: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    free: tuple[tuple[int, ...], ...]
    kinds: tuple[str, ...] = ()
    cardinalities: tuple[int, ...] | None = None

    def __repr__(self):
        inside = ",".join(f"{k}={v}" for k, v in self.values.items())
        return re.sub(r"<function.*? at 0x[0-9a-f]+>| ", "", f"{self.name}({inside})")

    __hash__ = object.__hash__

    @property
    def layer(self):
        return LAYERS.make(self.name, **self.values)

    def kind(self, i):
        return self.kinds[i] if self.kinds else "float"

    def specs(self, batch: Any = N_ROWS, unknown: bool = False, dtype=jnp.float32):
        scope, result = Unknowns(), []
        for i, shape in enumerate(self.shapes):
            full: list[Any] = [scope.dims(["batch"])[0] if unknown else batch, *shape]
            for axis in self.free[i] if unknown else ():
                full[axis] = scope.dims([f"n{full[axis]}"])[0]  # equal sizes are one unknown
            types = {"float": dtype, "bool": jnp.bool_, "codes": jnp.int32}
            cardinalities = self.cardinalities if self.kind(i) == "codes" else None
            result.append(ArraySpec(tuple(full), types[self.kind(i)], cardinalities))
        return tuple(result)

    def build(self, key=0, specs=None):
        site = Site(HostRngs(RandomKey((key,))), id="node", number=3, n_outputs=2)
        return self.layer.build(site, *(specs or self.specs()))

    def inputs(self, n=N_ROWS, seed=0):
        draw, result = np.random.default_rng(seed), []
        for i, shape in enumerate(self.shapes):
            size = (n, *shape)
            if self.kind(i) == "codes":
                result.append(draw.integers(0, min(self.cardinalities or (3,)), size).astype(np.int32))
            elif self.kind(i) == "bool":
                mask = draw.random(size) < 0.4
                mask[..., 0] = False
                result.append(mask)
            else:
                result.append(draw.normal(0.3, 1.0, size).astype(np.float32))
        return tuple(result)


def case(name, *shapes, free=None, kinds=(), cardinalities=None, **values):
    """`free` may be one tuple for all inputs; axis numbers count the batch."""
    free = free or ()
    each = tuple(free) if free and isinstance(free[0], tuple) else (tuple(free),) * len(shapes)
    return Case(name, values, tuple(shapes), each, tuple(kinds), cardinalities)


POINTWISE = (
    "identity relu relu6 selu sigmoid hardsigmoid log_sigmoid softsign tanh tanhshrink silu swish mish hardswish elu "
    "celu gelu hardshrink softshrink hardtanh leaky_relu softplus prelu rrelu dropout"
).split()
CASES = [
    *(case(name, (3,)) for name in POINTWISE),
    case("linear", (3,), out_features=2),
    case("linear", (5, 3), out_features=2, bias=False, init="xavier_normal", free=(1,)),
    case("head", (3,)),
    case("elu", (2, 3), alpha=0.5, free=(1, 2)),
    case("gelu", (3,), approximate="tanh"),
    case("prelu", (2, 3), num_parameters=3, free=(1,)),
    case("threshold", (3,), threshold=0.1, value=2.0),
    case("softmax", (3,), free=(1,)),
    case("log_softmax", (2, 3), axis=1, free=(1, 2)),
    case("softmin", (3,), free=(1,)),
    *(case(name, (5, 4), free=(1,)) for name in ("glu", "reglu", "geglu", "swiglu")),
    case("glu", (4, 3), axis=1, free=(2,)),
    case("dropout", (3,), p=0.0),
    case("dropout1d", (4, 3), free=(1, 2)),
    case("dropout2d", (2, 2, 3), p=0.3, free=(1, 2, 3)),
    case("dropout3d", (2, 2, 2, 3), free=(1, 2, 3)),
    case("stochastic_depth", (4, 3), free=(1, 2)),
    case("stochastic_depth", (3,), mode="batch"),
    case("batch_norm1d", (3,)),
    case("batch_norm1d", (4, 3), eps=0.1, momentum=0.5, free=(1,)),
    case("batch_norm1d", (3,), affine=False, track_running_stats=False),
    case("batch_norm2d", (2, 3, 2), free=(1, 2)),
    case("batch_norm3d", (2, 2, 2, 2), free=(1, 2, 3)),
    case("layer_norm", (3,)),
    case("layer_norm", (5, 2, 3), n_axes=2, free=(1,)),
    case("layer_norm", (5, 3), elementwise_affine=False, free=(1,)),
    case("group_norm", (5, 4), num_groups=2, free=(1,)),
    case("instance_norm", (4, 4, 2), free=(1, 2)),
    case("instance_norm", (5, 2), affine=True, free=(1,)),
    case("rms_norm", (5, 3), free=(1,)),
    case("merge_sum", (3,), (3,), (1,)),
    case("merge_sum", (3,)),
    case("merge_prod", (5, 3), (1, 3), free=((1,), ())),
    case("merge_cat", (3,), (2,), free=((1,), ())),
    case("merge_cat", (2, 3), (4, 3), axis=1, free=((1, 2), (2,))),
    case("reshape", (2, 6), shape=(-1, 3, 4)),
    case("reshape", (2, 6), shape=(-1, 3, -1), free=(1,)),
    case("reshape", (2, 6), shape=lambda shape: (shape[0], shape[2], shape[1]), free=(1, 2)),
    case("squeeze", (1, 3, 1), axes=(1, -1)),
    case("squeeze", (2, 3), axes=1),
    case("unsqueeze", (3,), axis=-1, free=(1,)),
    case("unsqueeze", (2, 3), axis=1, free=(1, 2)),
    case("flatten", (2, 3, 4), free=(1, 2)),
    case("flatten", (2, 3, 4), start_axis=2, end_axis=3, free=(1, 2)),
    case("tokenizer_num", (3,), d_token=2),
    case("tokenizer_num", (3,), d_token=2, bias=False, initialization="normal"),
    case("tokenizer_categ", (2,), d_token=2, kinds=("codes",), cardinalities=(3, 5)),
    case(
        "tokenizer_categ",
        (2,),
        d_token=2,
        bias=False,
        kinds=("codes",),
        cardinalities=None,
        **{"cardinalities_": (3, 5)},
    ),
    case("embedding", (5,), embedding_dim=2, num_embeddings=3, kinds=("codes",), free=(1,)),
    case("embedding", (2, 2), embedding_dim=2, kinds=("codes",), cardinalities=(3, 5)),
    case("embed_linear", (3,), d_embedding=2),
    case("embed_linear_relu", (3,), d_embedding=2),
    case("embed_periodic", (3,), d_embedding=2, n_frequencies=4, frequency_init_scale=0.3),
    case("embed_periodic", (3,), d_embedding=2, n_frequencies=4, lite=True),
    case("embed_pbld", (3,)),
    case("embed_pbld", (3,), d_embedding=2, n_frequencies=4, frequency_init_scale=0.3, activation=True),
    case("embed_piecewise_linear", (2,), d_embedding=3, bins=((-1, 0, 1, 2), (0, 1))),
    case("embed_piecewise_linear", (2,), n_bins=4, version="A", activation=True),
    case("onehot", (2,), kinds=("codes",), cardinalities=(3, 5)),
    case("embed_categ", (2,), d_embedding=2, kinds=("codes",), cardinalities=(3, 5)),
    case("ft_cls", (3, 4), free=(1,)),
    case("ft_transformer_block", (3, 4), attention_n_heads=2, free=(1,)),
    case("ft_transformer_block", (3, 4), attention_n_heads=1, query_idx=-1, is_first_layer=True, free=(1,)),
    case(
        "ft_transformer_block",
        (3, 4),
        attention_n_heads=2,
        attention_initialization="xavier",
        prenormalization=False,
        attention_normalization="rms_norm",
        ffn_normalization="batch_norm",
        ffn_activation="gelu",
        residual_dropout=0.2,
        ffn_d_hidden=3,
        free=(1,),
    ),
    case("conv1d", (5, 4), out_channels=2, kernel_size=3, free=(1,)),
    case(
        "conv1d",
        (7, 4),
        out_channels=4,
        kernel_size=3,
        groups=2,
        dilation=2,
        padding=1,
        padding_mode="circular",
        bias=False,
        init="kaiming_normal",
        free=(1,),
    ),
    case("conv2d", (5, 4, 2), out_channels=3, kernel_size=3, padding="same", free=(1, 2)),
    case("conv2d", (6, 5, 2), out_channels=4, kernel_size=(3, 2), stride=2, padding=(1, 0), groups=2, free=(1, 2)),
    case("conv2d", (5, 5, 2), out_channels=2, kernel_size=3, padding=2, padding_mode="reflect", free=(1, 2)),
    case("conv2d", (5, 5, 2), out_channels=2, kernel_size=3, padding=2, padding_mode="replicate", free=(1, 2)),
    case("conv3d", (3, 3, 3, 2), out_channels=2, kernel_size=2, free=(1, 2, 3)),
    case("conv_transpose1d", (4, 2), out_channels=3, kernel_size=3, stride=2, padding=1, free=(1,)),
    case(
        "conv_transpose2d",
        (3, 4, 4),
        out_channels=2,
        kernel_size=3,
        stride=2,
        output_padding=1,
        groups=2,
        dilation=(1, 2),
        free=(1, 2),
    ),
    case("conv_transpose3d", (2, 2, 2, 2), out_channels=1, kernel_size=2, bias=False, free=(1, 2, 3)),
    case("avg_pool1d", (5, 3), kernel_size=2, free=(1,)),
    case("avg_pool2d", (5, 6, 2), kernel_size=3, stride=2, padding=1, count_include_pad=False, free=(1, 2)),
    case("avg_pool2d", (5, 6, 2), kernel_size=2, ceil_mode=True, divisor_override=3),
    case("avg_pool3d", (4, 4, 2, 2), kernel_size=2, free=(1, 2, 3)),
    case("max_pool1d", (6, 3), kernel_size=2, free=(1,)),
    case("max_pool2d", (7, 6, 2), kernel_size=3, stride=2, padding=1, dilation=2, free=(1, 2)),
    case("max_pool2d", (5, 6, 2), kernel_size=2, return_indices=True, ceil_mode=True),
    case("max_pool3d", (4, 4, 2, 2), kernel_size=2, free=(1, 2, 3)),
    case("adaptive_avg_pool1d", (5, 3), output_size=1, free=(1,)),
    case("adaptive_avg_pool2d", (5, 4, 2), output_size=(3, 2)),
    case("adaptive_avg_pool3d", (3, 2, 2, 2), output_size=2),
    case("adaptive_max_pool1d", (5, 3), output_size=2),
    case("adaptive_max_pool2d", (5, 4, 2), output_size=1, free=(1, 2)),
    case("adaptive_max_pool3d", (3, 2, 2, 2), output_size=2),
    case("upsample", (3, 4, 2), scale_factor=2, free=(1, 2)),
    case("upsample", (3, 4, 2), size=(5, 6), mode="linear"),
    case("upsample", (3, 2), scale_factor=2, mode="linear", free=(1,)),
    case("upsample", (3, 2), scale_factor=1.5, mode="linear", align_corners=True),
    case("pixel_shuffle", (2, 3, 8), upscale_factor=2, free=(1, 2)),
    case("pad", (3, 4, 2), padding=1, free=(1, 2)),
    case("pad", (3, 4, 2), padding=(0, 1, 2, 0), mode="circular", free=(1, 2)),
    case("pad", (3, 2), padding=(2, 1), axes=-2, mode="reflect", free=(1,)),
    case("pad", (3,), padding=(1, 0), axes=1, value=2.0, free=(1,)),
    case("multihead_attention", (5, 4), num_heads=2, free=(1,)),
    case("multihead_attention", (5, 4), num_heads=2, is_causal=True, rotary=True, dropout=0.2, bias=False, free=(1,)),
    case(
        "multihead_attention",
        (3, 4),
        (5, 6),
        num_heads=2,
        mode="cross",
        need_weights=True,
        add_bias_kv=True,
        add_zero_attn=True,
        free=((1,), (1,)),
    ),
    case(
        "multihead_attention",
        (3, 4),
        (5, 6),
        (5, 2),
        (2, 3, 5),
        (5,),
        num_heads=2,
        mode="general",
        need_weights=True,
        avg_weights=False,
        attn_mask=True,
        key_padding_mask=True,
        kinds=("float", "float", "float", "float", "bool"),
        free=((), (), (), (), ()),
    ),
    case(
        "multihead_attention",
        (5, 4),
        (5,),
        num_heads=2,
        key_padding_mask=True,
        add_zero_attn=True,
        kinds=("float", "bool"),
    ),
    case("transformer_encoder_layer", (5, 4), nhead=2, dim_feedforward=3, free=(1,)),
    case(
        "transformer_encoder_layer",
        (5, 4),
        nhead=2,
        dim_feedforward=3,
        is_causal=True,
        norm_first=True,
        bias=False,
        activation="gelu",
        dropout=0.0,
        free=(1,),
    ),
    case(
        "transformer_encoder_layer",
        (5, 4),
        (5, 5),
        (5,),
        nhead=2,
        dim_feedforward=3,
        src_mask=True,
        src_key_padding_mask=True,
        activation=jax.nn.silu,
        kinds=("float", "bool", "bool"),
    ),
    case("position_learned", (5, 4)),
    case("position_learned", (5, 4), max_length=7, free=(1,)),
    case("position_sinusoidal", (5, 3), free=(1,)),
    case("position_rotary", (5, 2, 4), free=(1, 2)),
    case("lstm", (5, 3), hidden_size=4, free=(1,)),
    case("lstm", (5, 3), hidden_size=2, n_layers=2, bidirectional=True, dropout=0.3, output="last", free=(1,)),
    case("gru", (5, 3), hidden_size=2, n_layers=2, bidirectional=True, bias=False, free=(1,)),
    case("gru", (5, 3), hidden_size=2, output="last", free=(1,)),
]
CASES = [
    Case(c.name, {k.rstrip("_"): v for k, v in c.values.items()}, c.shapes, c.free, c.kinds, c.cardinalities)
    for c in CASES
]
every_case = pytest.mark.parametrize("case", CASES, ids=repr)
FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # to compile, not to run


def floats(outputs):
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return tuple(y for y in outputs if jnp.issubdtype(y.dtype, jnp.floating))


@functools.cache
def parts(case):
    module = case.build()
    module.eval()
    evaluating = nnx.split(module, nnx.Param, ...)[0]
    module.train()
    training, params, rest = nnx.split(module, nnx.Param, ...)
    return training, evaluating, params, rest


@functools.cache
def program(case):
    """All that is asked in evaluation mode, as one program: two members one by one, together, and in bfloat16."""
    graph = parts(case)[1]

    def forward(params, rest, inputs):
        model: Any = nnx.merge(graph, params, rest, copy=True)
        return model(*inputs)

    def run(members, inputs, short):
        alone = [forward(params, rest, x) for (params, rest), x in zip(members, inputs, strict=True)]
        params, rest, x = short
        all_params, all_rest = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
        both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *inputs)
        return alone, jax.vmap(forward, axis_size=2)(all_params, all_rest, both), forward(params, rest, x)

    return jax.jit(run, compiler_options=FAST)


def evaluate(case, members):
    """Outputs of two members, of the first one's inputs and of others."""
    inputs = [case.inputs(seed=seed) for seed in range(2)]
    short = jax.tree.map(lambda x: x.astype(jnp.bfloat16) if x.dtype == np.float32 else x, (*members[0], inputs[0]))
    return jax.device_get(program(case)(members, inputs, short))


@functools.cache
def evaluated(case):
    return evaluate(case, [nnx.split(case.build(key=key), nnx.Param, ...)[1:] for key in range(2)])


def outputs_of(case):
    """Outputs of the layer, as a tuple."""
    outputs = evaluated(case)[0][0]
    return outputs if isinstance(outputs, tuple) else (outputs,)


@functools.cache
def step(case):
    """Gradient of a weighted sum of all outputs over the real rows, outputs, and batch statistics."""
    graph = parts(case)[0]

    def run(params, rest, inputs, weights, seed):
        numbers = [x if jnp.issubdtype(x.dtype, jnp.floating) else None for x in inputs]

        def total(params, numbers):
            model = nnx.merge(graph, params, rest, copy=True)
            args = [x if y is None else y for x, y in zip(inputs, numbers, strict=True)]
            with batch_context(BatchContext(weights=weights, seed=seed)):
                outputs = floats(model(*args))
            value = 0.0
            for y in outputs:
                factors = jnp.cos(jnp.arange(y[0].size, dtype=y.dtype)).reshape(1, *y.shape[1:])
                real = (weights > 0).reshape(-1, *(1 for _ in y.shape[1:]))
                value += jnp.sum(jnp.where(real, y * factors, 0.0))
            return value, (outputs, nnx.split(model, nnx.Param, ...)[2])

        grads, (outputs, after) = jax.grad(total, argnums=(0, 1), has_aux=True)(params, numbers)
        return grads, outputs, after

    return jax.jit(run, compiler_options=FAST)


def trained(case, inputs, weights=None, seed=7):
    weights = np.ones(len(inputs[0]), np.float32) if weights is None else weights
    return jax.device_get(step(case)(*parts(case)[2:], inputs, weights, np.uint32(seed)))


def noisy(case):
    return case.name == "rrelu" or bool(case.layer.dynamic())


def padded(case):
    inputs = case.inputs()
    return tuple(np.concatenate([x, x[:1], x[:1]]) for x in inputs), WEIGHTS


def assert_close(left, right, rtol=1e-5, atol=1e-5):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=atol), left, right
    )


def shape_of(spec, case):
    """A symbolic shape at the sizes of the known inputs."""
    sizes = {"batch": N_ROWS} | {f"n{size}": size for shape in case.shapes for size in shape}
    known = {"floordiv": operator.floordiv, "mod": operator.mod, "max": max, "min": min}
    return tuple(eval(str(size).replace("^", "**"), {}, known | sizes) for size in spec.shape)


def test_every_layer_of_the_catalogue_is_tested():
    assert {case.name for case in CASES} == set(LAYERS)
    assert all(LAYERS[name].name == name for name in LAYERS)


def test_every_hyperparameter_is_described():
    bare = [f"{name}.{field}" for name in LAYERS for field, f in LAYERS[name].fields.items() if not f.doc]
    assert not bare
    assert all(LAYERS[name].doc for name in LAYERS)


@every_case
def test_builds_on_the_host_and_compiles_nothing(case, compilations):
    before = len(compilations)
    module = case.build()
    values = InitialValues(lambda rngs: case.layer.build(Site(rngs, n_outputs=2), *case.specs()))
    values.draw(RandomKey((1,)))
    assert len(compilations) == before
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(nnx.state(module)))
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


@every_case
def test_equal_layers_have_equal_graph_definitions(case):
    graphs = [nnx.split(case.build(key=key))[0] for key in (0, 1)]
    assert graphs[0] == graphs[1]
    assert hash(graphs[0]) == hash(graphs[1])


@every_case
def test_inferred_shapes_are_the_actual_ones(case):
    actual = [y.shape for y in outputs_of(case)]
    assert [spec.shape for spec in output_specs(case.build(), *case.specs())] == actual
    assert len(actual) == case.layer.n_outputs
    unknown = case.specs(unknown=True)
    specs = output_specs(case.build(specs=unknown), *unknown)
    assert [shape_of(spec, case) for spec in specs] == actual
    assert all(not isinstance(spec.shape[0], int) for spec in specs)


@every_case
def test_gradients_are_finite(case):
    grads, outputs, _ = trained(case, *padded(case))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((grads, outputs)))
    assert outputs


@every_case
def test_vmap_over_members_equals_a_loop(case):
    alone, together, _ = evaluated(case)
    for i, outputs in enumerate(alone):
        assert_close(jax.tree.map(lambda y, i=i: y[i], together), outputs)


@every_case
def test_bfloat16_stays_bfloat16(case):
    short = evaluated(case)[2]
    for y, reference in zip(floats(short), floats(outputs_of(case)), strict=True):
        if case.kind(0) == "float" or jax.tree.leaves(parts(case)[2]):
            assert y.dtype == jnp.bfloat16
        np.testing.assert_allclose(y.astype(np.float32), reference, rtol=0.1, atol=0.1)


@every_case
def test_noise_only_while_training(case):
    first, again, *others = (trained(case, *padded(case), seed=seed)[1] for seed in (1, 1, 2, 3, 4, 5))
    assert_close(first, again, 0, 0)
    differ = any(not np.array_equal(a, b) for other in others for a, b in zip(first, other, strict=True))
    assert differ == noisy(case)


@every_case
def test_padded_rows_are_invisible(case):
    inputs, (copies, weights) = case.inputs(), padded(case)
    spoilt = tuple(np.concatenate([x, np.full_like(x[:2], np.nan if x.dtype.kind == "f" else 1)]) for x in inputs)
    (grads, numbers), *clean = trained(case, copies, weights)
    dirty = trained(case, spoilt, weights)[1:]
    real = [(tuple(y[:N_ROWS] for y in outputs), rest) for outputs, rest in (clean, dirty)]
    assert_close(*real, rtol=1e-5, atol=1e-6)
    assert all(not np.asarray(x[N_ROWS:]).any() for x in jax.tree.leaves(numbers))
    if not jax.tree.leaves(real[0][1]) and not noisy(case):
        assert_close(real[0][0], floats(outputs_of(case)))
        return
    expected = trained(case, inputs)
    assert_close(expected[0], (grads, jax.tree.map(lambda x: x[:N_ROWS], numbers)), rtol=1e-4, atol=1e-4)
    assert_close(real[0], expected[1:], rtol=1e-4, atol=1e-5)


@every_case
def test_state_survives_a_round_trip_through_arrays(case, tmp_path):
    _, _, params, rest = parts(case)
    flat: Any = {
        "/".join(map(str, path)): np.asarray(leaf[...])
        for path, leaf in nnx.to_flat_state(nnx.merge_state(params, rest))
    }
    np.savez(tmp_path / "arrays.npz", **flat)
    other = case.build(key=9)
    with np.load(tmp_path / "arrays.npz") as loaded:
        for path, variable in nnx.to_flat_state(nnx.state(other)):
            variable.set_value(loaded["/".join(map(str, path))])
            variable.set_value(np.asarray(variable[...]))
        nnx.update(other, nnx.state(other))
    members = [nnx.split(model, nnx.Param, ...)[1:] for model in (other, case.build(key=1))]
    assert_close(evaluate(case, members)[0], evaluated(case)[0], 0, 0)
