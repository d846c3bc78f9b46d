"""Layers of network graphs against PyTorch's: equal weights, equal outputs and gradients."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jdl.core.random import RandomKey
from jdl.networks import HostRngs
from jdl.networks.array_spec import ArraySpec
from jdl.networks.layer import Site
from jdl.networks.layers import LAYERS

torch = pytest.importorskip("torch")
F = torch.nn.functional
FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # to compile, not to run


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(0.2, 1.0, shape).astype(np.float32)


def built(layer, *inputs, **values) -> Any:
    site = Site(HostRngs(RandomKey((0,))), id="node", n_outputs=2)
    module = LAYERS.make(layer, **values).build(site, *(ArraySpec(x.shape, x.dtype) for x in inputs))
    module.eval()
    return module


def channels_first(x):
    return torch.tensor(np.ascontiguousarray(np.moveaxis(np.asarray(x), -1, 1)))


def channels_last(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


def assert_close(ours, theirs, rtol=1e-5, atol=1e-5):
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=rtol, atol=atol)


def load(variable, weight):
    """Takes the values of one of PyTorch's parameters, which must have the same number of elements."""
    values = weight.detach().numpy() if isinstance(weight, torch.Tensor) else weight
    assert variable.shape == values.shape
    variable.set_value(jnp.asarray(values))


def load_linear(ours, theirs):
    load(ours.kernel, theirs.weight.T)
    if ours.bias is not None:
        load(ours.bias, theirs.bias)


def compiled(module):
    """The module as a function of its inputs, in whichever mode it is."""
    graph, state = nnx.split(module)
    return jax.jit(lambda *inputs: nnx.merge(graph, state, copy=True)(*inputs), compiler_options=FAST)


def assert_equal(module, theirs, x, first=False, gradients=True):
    """Outputs, and gradients of a weighted sum of them with respect to the input."""
    leaf = (channels_first(x) if first else torch.tensor(x)).requires_grad_(gradients)
    y = theirs(leaf)
    expected = channels_last(y) if first else y.detach().numpy()
    if not gradients:
        assert_close(compiled(module)(x), expected)
        return
    factors = draw(*expected.shape, seed=5)
    (y * (channels_first(factors) if first else torch.tensor(factors))).sum().backward()
    graph, state = nnx.split(module)

    @partial(jax.jit, compiler_options=FAST)
    def both(x):
        def total(x):
            out = nnx.merge(graph, state, copy=True)(x)
            return jnp.sum(out * factors), out

        return jax.grad(total, has_aux=True)(x)

    gradient, out = both(x)
    assert leaf.grad is not None
    assert_close(out, expected)
    assert_close(gradient, channels_last(leaf.grad) if first else leaf.grad, atol=3e-5)


# --- one matrix ---


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 4), (5, 3, 4)])
def test_linear(shape, bias):
    x, theirs = draw(*shape), torch.nn.Linear(4, 3, bias=bias)
    ours = built("linear", x, out_features=3, bias=bias)
    load_linear(ours, theirs)
    assert_close(compiled(ours)(x), theirs(torch.tensor(x)))


# --- functions of each element ---

ACTIVATIONS: list[tuple[str, dict[str, Any], Any]] = [
    ("identity", {}, torch.nn.Identity()),
    ("relu", {}, torch.nn.ReLU()),
    ("relu6", {}, torch.nn.ReLU6()),
    ("selu", {}, torch.nn.SELU()),
    ("sigmoid", {}, torch.nn.Sigmoid()),
    ("hardsigmoid", {}, torch.nn.Hardsigmoid()),
    ("log_sigmoid", {}, torch.nn.LogSigmoid()),
    ("softsign", {}, torch.nn.Softsign()),
    ("tanh", {}, torch.nn.Tanh()),
    ("tanhshrink", {}, torch.nn.Tanhshrink()),
    ("silu", {}, torch.nn.SiLU()),
    ("swish", {}, torch.nn.SiLU()),
    ("mish", {}, torch.nn.Mish()),
    ("hardswish", {}, torch.nn.Hardswish()),
    ("elu", {}, torch.nn.ELU()),
    ("elu", {"alpha": 0.4}, torch.nn.ELU(0.4)),
    ("celu", {}, torch.nn.CELU()),
    ("celu", {"alpha": 0.4}, torch.nn.CELU(0.4)),
    ("gelu", {}, torch.nn.GELU()),
    ("gelu", {"approximate": "tanh"}, torch.nn.GELU("tanh")),
    ("hardshrink", {}, torch.nn.Hardshrink()),
    ("hardshrink", {"lambd": 1.1}, torch.nn.Hardshrink(1.1)),
    ("softshrink", {}, torch.nn.Softshrink()),
    ("softshrink", {"lambd": 1.1}, torch.nn.Softshrink(1.1)),
    ("hardtanh", {}, torch.nn.Hardtanh()),
    ("hardtanh", {"min_val": -0.5, "max_val": 2}, torch.nn.Hardtanh(-0.5, 2.0)),
    ("leaky_relu", {}, torch.nn.LeakyReLU()),
    ("leaky_relu", {"negative_slope": 0.3}, torch.nn.LeakyReLU(0.3)),
    ("prelu", {}, torch.nn.PReLU()),
    ("prelu", {"num_parameters": 4, "init": 0.1}, torch.nn.PReLU(4, 0.1)),
    ("rrelu", {}, torch.nn.RReLU().eval()),
    ("softplus", {}, torch.nn.Softplus()),
    ("softplus", {"beta": 2, "threshold": 3}, torch.nn.Softplus(2, 3)),
    ("threshold", {"threshold": 0.3, "value": -1}, torch.nn.Threshold(0.3, -1)),
    ("softmax", {"axis": 1}, torch.nn.Softmax(1)),
    ("log_softmax", {"axis": 1}, torch.nn.LogSoftmax(1)),
    ("softmin", {"axis": 1}, torch.nn.Softmin(1)),
    ("glu", {}, torch.nn.GLU()),
    ("reglu", {}, lambda x: x[:, :2] * F.relu(x[:, 2:])),
    ("geglu", {}, lambda x: x[:, :2] * F.gelu(x[:, 2:])),
    ("swiglu", {}, lambda x: x[:, :2] * F.silu(x[:, 2:])),
]


@pytest.mark.parametrize(
    "name, values, theirs", ACTIVATIONS, ids=[f"{name}-{values}" for name, values, _ in ACTIVATIONS]
)
def test_activations(name, values, theirs):
    x = np.linspace(-6.03, 6.07, 48, dtype=np.float32).reshape(4, 12).T.copy()
    ours = built(name, x, **values)
    assert_equal(ours, theirs, x)


BY_ELEMENT = ACTIVATIONS[: next(i for i, (name, *_) in enumerate(ACTIVATIONS) if name == "softmax")]


@pytest.mark.parametrize("name, values, theirs", BY_ELEMENT, ids=[f"{name}-{values}" for name, values, _ in BY_ELEMENT])
def test_activations_at_their_kinks_and_of_nan(name, values, theirs):
    kinks = {0.0, 1.0, 3.0, 6.0, *(abs(float(v)) for v in (0.5, *values.values()) if not isinstance(v, str))}
    x = np.tile(np.float32([*kinks, *(-k for k in kinks)])[:, None], 4)
    ours = built(name, x, **values)
    assert_equal(ours, theirs, x)
    assert np.isnan(ours(jnp.full((1, 4), jnp.nan))).all() and theirs(torch.full((1, 4), torch.nan)).isnan().all()


# --- convolutions ---

CONVOLUTIONS: list[dict[str, Any]] = [
    {"kernel_size": 3},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 2, "dilation": 2, "groups": 2, "bias": False},
    {"kernel_size": 3, "groups": 4, "padding": 2},
    {"kernel_size": 3, "padding": "same", "dilation": 2},
    {"kernel_size": 3, "padding": 2, "padding_mode": "circular"},
    {"kernel_size": 3, "padding": 2, "padding_mode": "replicate", "stride": 2},
    {"kernel_size": 2, "padding": 2, "padding_mode": "reflect"},
    {"kernel_size": 1},
]
SPACE = {1: (9,), 2: (6, 7), 3: (5, 6, 5)}


def few(options):
    """All options for images, every other one for sequences and for volumes."""
    return [(n, each) for n in SPACE for i, each in enumerate(options) if n == 2 or i % 2 == (n == 3)]


@pytest.mark.parametrize("n, values", few(CONVOLUTIONS), ids=str)
def test_convolutions(n, values):
    x = draw(2, *SPACE[n], 4)
    theirs = getattr(torch.nn, f"Conv{n}d")(4, 8, **values)
    ours = built(f"conv{n}d", x, out_channels=8, **values)
    load(ours.kernel, theirs.weight.permute(*range(2, n + 2), 1, 0))
    if ours.bias is not None:
        load(ours.bias, theirs.bias)
    assert_equal(ours, theirs, x, first=True)


TRANSPOSED: list[dict[str, Any]] = [
    {"kernel_size": 3},
    {"kernel_size": 2, "stride": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
    {"kernel_size": 2, "dilation": 2, "groups": 2, "bias": False, "stride": 3, "output_padding": 2},
    {"kernel_size": 3, "groups": 4, "padding": 2},
]


@pytest.mark.parametrize("n, values", few(TRANSPOSED), ids=str)
def test_transposed_convolutions(n, values):
    x = draw(2, *SPACE[n], 4)
    theirs = getattr(torch.nn, f"ConvTranspose{n}d")(4, 8, **values)
    ours = built(f"conv_transpose{n}d", x, out_channels=8, **values)
    load(ours.kernel, theirs.weight.permute(*range(2, n + 2), 0, 1))
    if ours.bias is not None:
        load(ours.bias, theirs.bias)
    assert_equal(ours, theirs, x, first=True)


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_initial_values_of_convolutions_have_the_same_range(name):
    kind = torch.nn.Conv2d if name == "conv2d" else torch.nn.ConvTranspose2d
    theirs = kind(8, 64, 3, groups=4)
    ours = built(name, draw(1, 5, 5, 8), out_channels=64, kernel_size=3, groups=4)
    for left, right in ((ours.kernel, theirs.weight), (ours.bias, theirs.bias)):
        assert left.size == right.numel()
        spreads = np.abs(left[...]).max(), right.detach().abs().max().item()
        assert abs(spreads[0] / spreads[1] - 1) < 0.1


# --- pooling and resizing ---

POOLS: list[tuple[str, dict[str, Any]]] = [
    ("max", {"kernel_size": 2}),
    ("max", {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max", {"kernel_size": 2, "stride": 1, "dilation": 2}),
    ("max", {"kernel_size": 2, "ceil_mode": True}),
    ("max", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("avg", {"kernel_size": 2}),
    ("avg", {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("avg", {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    ("avg", {"kernel_size": 2, "ceil_mode": True}),
    ("avg", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("avg", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}),
    ("avg", {"kernel_size": 2, "divisor_override": 3}),
]


@pytest.mark.parametrize("n, pool", few(POOLS), ids=str)
def test_pools(n, pool):
    how, values = pool
    x = draw(2, *SPACE[n], 3)
    theirs = getattr(torch.nn, f"{how.capitalize()}Pool{n}d")(**values)
    ours = built(f"{how}_pool{n}d", x, **values)
    assert_equal(ours, theirs, x, first=True)


@pytest.mark.parametrize("n, values", few([v for how, v in POOLS if how == "max"]), ids=str)
def test_indices_of_maxima(n, values):
    x = draw(2, *SPACE[n], 3)
    theirs = getattr(torch.nn, f"MaxPool{n}d")(**values, return_indices=True)(channels_first(x))
    ours = compiled(built(f"max_pool{n}d", x, **values, return_indices=True))(x)
    for left, right in zip(ours, theirs, strict=True):
        assert_close(left, channels_last(right), 0, 0)


@pytest.mark.parametrize("n, size", few([1, 2, 3, 5]))
@pytest.mark.parametrize("how", ["avg", "max"])
def test_adaptive_pools(n, size, how):
    x = draw(2, *SPACE[n], 3)
    theirs = getattr(torch.nn, f"Adaptive{how.capitalize()}Pool{n}d")(size)
    ours = built(f"adaptive_{how}_pool{n}d", x, output_size=size)
    assert_equal(ours, theirs, x, first=True, gradients=False)


@pytest.mark.parametrize(
    "n, values", few([{"scale_factor": 2}, {"scale_factor": 1.5}, {"size": 4}, {"size": 11}]), ids=str
)
@pytest.mark.parametrize("mode", ["nearest", "linear", "corners"])
def test_upsample(n, values, mode):
    x = draw(2, *SPACE[n], 3)
    theirs_mode = "nearest" if mode == "nearest" else {1: "linear", 2: "bilinear", 3: "trilinear"}[n]
    corners = {} if mode == "nearest" else {"align_corners": mode == "corners"}
    theirs = torch.nn.Upsample(**values, mode=theirs_mode, **corners)
    ours = built("upsample", x, mode="nearest" if mode == "nearest" else "linear", **corners, **values)
    assert_equal(ours, theirs, x, first=True, gradients=False)


def test_pixel_shuffle():
    x = draw(2, 3, 4, 18)
    ours = built("pixel_shuffle", x, upscale_factor=3)
    assert_close(compiled(ours)(x), channels_last(torch.nn.PixelShuffle(3)(channels_first(x))))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad(mode):
    x = draw(2, 4, 5, 3)
    ours = built("pad", x, padding=(1, 2, 0, 3), mode=mode, value=1.5 if mode == "constant" else 0.0)
    value = {"value": 1.5} if mode == "constant" else {}
    theirs = F.pad(channels_first(x), (0, 3, 1, 2), mode=mode, **value)
    assert_close(compiled(ours)(x), channels_last(theirs))


# --- norms ---


@pytest.mark.parametrize("n", SPACE)
def test_batch_norm_of_space(n):
    theirs = getattr(torch.nn, f"BatchNorm{n}d")(3, momentum=0.3)
    theirs.weight.data, theirs.bias.data = torch.tensor([0.5, 1.0, 2.0]), torch.tensor([1.0, -1.0, 0.0])
    ours = built(f"batch_norm{n}d", draw(2, *SPACE[n], 3), momentum=0.3)
    load(ours.scale, theirs.weight)
    load(ours.bias, theirs.bias)
    ours.train()
    x = draw(4, *SPACE[n], 3)
    assert_equal(ours, theirs, x, first=True)
    ours(jnp.asarray(x))
    assert_close(ours.mean[...], theirs.running_mean)
    assert_close(ours.var[...], theirs.running_var)
    ours.eval()
    theirs.eval()
    assert_equal(ours, theirs, x, first=True)


def test_norms_of_rows():
    x = draw(3, 5, 4, 6)
    scale, bias = draw(6, seed=1), draw(6, seed=2)

    def affine(ours, theirs):
        load(ours.scale, scale)
        theirs.weight.data = torch.tensor(scale)
        if getattr(theirs, "bias", None) is not None:
            load(ours.bias, bias)
            theirs.bias.data = torch.tensor(bias)
        return ours, theirs

    last = affine(built("layer_norm", x), torch.nn.LayerNorm(6))
    rms = affine(built("rms_norm", x), torch.nn.RMSNorm(6))
    assert_close(compiled(last[0])(x), last[1](torch.tensor(x)))
    assert_close(compiled(rms[0])(x), rms[1](torch.tensor(x)))
    group = affine(built("group_norm", x, num_groups=3), torch.nn.GroupNorm(3, 6))
    instance = affine(built("instance_norm", x, affine=True), torch.nn.InstanceNorm2d(6, affine=True))
    for ours, theirs in (group, instance):
        assert_equal(ours, theirs, x, first=True)
    trailing, theirs = built("layer_norm", x, n_axes=2), torch.nn.LayerNorm((4, 6))
    both = draw(4, 6, seed=3)
    theirs.weight.data = torch.tensor(both)
    load(trailing.norm.scale, both.reshape(-1))
    assert_close(compiled(trailing)(x), theirs(torch.tensor(x)))


# --- tokens ---


def test_embedding():
    theirs = torch.nn.Embedding(7, 3)
    codes = np.random.default_rng(0).integers(0, 7, (4, 5)).astype(np.int32)
    ours = built("embedding", codes, num_embeddings=7, embedding_dim=3)
    load(ours.embed.embedding, theirs.weight)
    assert_close(compiled(ours)(codes), theirs(torch.tensor(codes)))


# --- attention ---


def load_attention(ours, theirs):
    """All of PyTorch's weights of a multi-head attention, however either keeps them."""
    d = theirs.embed_dim
    if theirs.in_proj_weight is not None:
        query, key, value = theirs.in_proj_weight.detach().numpy().reshape(3, d, d).swapaxes(1, 2)
    else:
        query, key, value = (
            w.detach().numpy().T for w in (theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight)
        )
    biases = None if theirs.in_proj_bias is None else theirs.in_proj_bias.detach().numpy().reshape(3, d)
    parts = {
        "qkv": ([query, key, value], [0, 1, 2]),
        "query": ([query], [0]),
        "key_value": ([key, value], [1, 2]),
        "key": ([key], [1]),
        "value": ([value], [2]),
    }
    for name, (kernels, which) in parts.items():
        linear = getattr(ours, name)
        if linear is not None:
            load(linear.kernel, np.concatenate(kernels, axis=1))
            if biases is not None:
                load(linear.bias, np.concatenate([biases[i] for i in which]))
    load_linear(ours.out, theirs.out_proj)
    if theirs.bias_k is not None:
        load(ours.more_key, theirs.bias_k.reshape(-1))
        load(ours.more_value, theirs.bias_v.reshape(-1))


def torch_attention(seed=0, **values):
    torch.manual_seed(seed)
    theirs = torch.nn.MultiheadAttention(batch_first=True, **values)
    if theirs.in_proj_bias is not None:
        theirs.in_proj_bias.data.normal_()
        theirs.out_proj.bias.data.normal_()
    return theirs


def masks(n_rows=3, n_query=4, n_key=5, seed=0):
    draw_ = np.random.default_rng(seed)
    pairs, positions = draw_.random((n_rows, n_query, n_key)) < 0.3, draw_.random((n_rows, n_key)) < 0.3
    pairs[..., 0] = positions[..., 0] = False
    return pairs, positions


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"add_bias_kv": True, "add_zero_attn": True}], ids=str)
@pytest.mark.parametrize("mode", ["self", "cross", "general"])
@pytest.mark.parametrize("masked", [False, True])
def test_multihead_attention(mode, options, masked):
    query, key, value = draw(3, 5, 6), draw(3, 5, 4, seed=1), draw(3, 5, 2, seed=2)
    inputs = {"self": (query,), "cross": (query, key), "general": (query, key, value)}[mode]
    widths = {"self": {}, "cross": {"kdim": 4, "vdim": 4}, "general": {"kdim": 4, "vdim": 2}}[mode]
    theirs = torch_attention(embed_dim=6, num_heads=2, **widths, **options)
    pairs, positions = masks(3, 5, 5)
    more = (pairs, positions) if masked else ()
    ours = built(
        "multihead_attention",
        *inputs,
        *more,
        num_heads=2,
        mode=mode,
        need_weights=True,
        attn_mask=masked,
        key_padding_mask=masked,
        **options,
    )
    load_attention(ours.inner if masked else ours, theirs)
    full = {"self": (query, query, query), "cross": (query, key, key), "general": (query, key, value)}[mode]
    blocked = (
        {"attn_mask": torch.tensor(np.repeat(pairs, 2, axis=0)), "key_padding_mask": torch.tensor(positions)}
        if masked
        else {}
    )
    expected = theirs(*map(torch.tensor, full), **blocked)
    for left, right in zip(compiled(ours)(*inputs, *more), expected, strict=True):
        assert_close(left, right)


def test_attention_with_numbers_as_mask_and_weights_of_each_head():
    x, scores = draw(3, 5, 6), draw(3, 2, 5, 5, seed=4)
    theirs = torch_attention(embed_dim=6, num_heads=2)
    values: dict[str, Any] = {"num_heads": 2, "attn_mask": True}
    ours = built("multihead_attention", x, scores, need_weights=True, avg_weights=False, **values)
    load_attention(ours.inner, theirs)
    mask = torch.tensor(scores.reshape(6, 5, 5))
    tensor = torch.tensor(x)
    expected = theirs(tensor, tensor, tensor, attn_mask=mask, average_attn_weights=False)
    for left, right in zip(compiled(ours)(x, scores), expected, strict=True):
        assert_close(left, right)


def test_causal_attention():
    x = draw(3, 5, 6)
    theirs = torch_attention(embed_dim=6, num_heads=3)
    ours = built("multihead_attention", x, num_heads=3, is_causal=True)
    load_attention(ours, theirs)
    blocked = torch.triu(torch.ones(5, 5, dtype=torch.bool), diagonal=1)
    assert_equal(ours, lambda t: theirs(t, t, t, attn_mask=blocked)[0], x)


def test_initial_values_of_attention_have_the_same_range():
    theirs, ours = torch_attention(embed_dim=32, num_heads=2), built("multihead_attention", draw(1, 2, 32), num_heads=2)
    for left, right in ((ours.qkv.kernel, theirs.in_proj_weight), (ours.out.kernel, theirs.out_proj.weight)):
        assert abs(np.abs(left[...]).max() / right.detach().abs().max().item() - 1) < 0.05
    np.testing.assert_array_equal(ours.qkv.bias[...], 0)
    np.testing.assert_array_equal(ours.out.bias[...], 0)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("masking", ["none", "causal", "masks"])
def test_transformer_encoder_layer(norm_first, activation, masking):
    torch.manual_seed(0)
    common: dict[str, Any] = {"nhead": 2, "dim_feedforward": 7, "activation": activation, "norm_first": norm_first}
    theirs = torch.nn.TransformerEncoderLayer(d_model=6, batch_first=True, dropout=0.0, layer_norm_eps=1e-3, **common)
    for parameter in theirs.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    x, (pairs, positions) = draw(3, 5, 6), masks(3, 5, 5)
    more = (pairs, positions) if masking == "masks" else ()
    flags = {"src_mask": bool(more), "src_key_padding_mask": bool(more), "is_causal": masking == "causal"}
    ours = built("transformer_encoder_layer", x, *more, layer_norm_eps=1e-3, dropout=0.2, **common, **flags)
    inner = ours.inner if more else ours
    load_attention(inner.attention, theirs.self_attn)
    for name in ("linear1", "linear2"):
        load_linear(getattr(inner, name), getattr(theirs, name))
    for name in ("norm1", "norm2"):
        load(getattr(inner, name).scale, getattr(theirs, name).weight)
        load(getattr(inner, name).bias, getattr(theirs, name).bias)
    options: dict[str, Any] = {}
    if more:
        options = {
            "src_mask": torch.tensor(np.repeat(pairs, 2, axis=0)),
            "src_key_padding_mask": torch.tensor(positions),
        }
    if masking == "causal":
        options = {"src_mask": torch.triu(torch.ones(5, 5, dtype=torch.bool), diagonal=1)}
    assert_close(compiled(ours)(x, *more), theirs(torch.tensor(x), **options))


# --- recurrent ---


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_recurrent(kind, bias, bidirectional):
    torch.manual_seed(0)
    common: dict[str, Any] = {"bias": bias, "bidirectional": bidirectional}
    theirs = getattr(torch.nn, kind.upper())(3, 4, num_layers=2, batch_first=True, **common)
    x = draw(2, 5, 3)
    modules = [
        built(kind, x, hidden_size=4, n_layers=2, dropout=0.3, output=output, **common) for output in ("all", "last")
    ]
    for ours in modules:
        for i, layer in enumerate(ours.layers):
            for direction, end in zip(layer, ("", "_reverse"), strict=False):
                for name, linear in (("ih", direction.inputs), ("hh", direction.recurrent)):
                    load(linear.kernel, getattr(theirs, f"weight_{name}_l{i}{end}").T)
                    if bias:
                        load(linear.bias, getattr(theirs, f"bias_{name}_l{i}{end}"))
    _, last = theirs(torch.tensor(x))
    last = last[0] if kind == "lstm" else last
    n = 2 if bidirectional else 1
    assert_close(compiled(modules[1])(x), torch.cat(list(last[-n:]), dim=-1))
    assert_equal(modules[0], lambda t: theirs(t)[0], x)
