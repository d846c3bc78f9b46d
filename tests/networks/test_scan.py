"""Many equal blocks are compiled as one, and compute what each by itself computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jdl.core.random import RandomKey
from jdl.networks import FTTransformer, HostRngs, TabM, TabResNet, scan
from jdl.networks.context import BatchContext, batch_context

DEEP = {
    "ft_transformer": lambda rngs: FTTransformer(
        n_cont_features=3, d_out=2, n_blocks=6, d_block=8, attention_n_heads=2,
        attention_dropout=0.2, ffn_dropout=0.1, residual_dropout=0.1, rngs=rngs,
    ),
    "tab_resnet": lambda rngs: TabResNet(
        d_in=3, d_out=2, n_blocks=5, d_block=8, d_hidden_multiplier=2.0, dropout1=0.3, dropout2=0.1, rngs=rngs
    ),
    "tabm": lambda rngs: TabM(n_num_features=3, d_out=2, k=4, n_blocks=6, d_block=8, rngs=rngs),
}  # fmt: skip
every_model = pytest.mark.parametrize("build", DEEP.values(), ids=list(DEEP))


def run(build, monkeypatch, *, scanned: bool, train: bool):
    """Outputs, gradients of their squares, and what the network keeps beside its parameters."""
    monkeypatch.setattr(scan, "MANY", 2 if scanned else 100)
    model = build(HostRngs(RandomKey((0,))))
    model.train() if train else model.eval()
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32)

    @jax.jit
    def of(params, x):
        def loss(params):
            module = nnx.merge(graph, params, rest, copy=True)
            with batch_context(BatchContext(seed=jnp.uint32(3) if train else None)):
                y = module(x)
            return jnp.sum(y**2), (y, nnx.split(module, nnx.Param, ...)[2])

        return jax.value_and_grad(loss, has_aux=True)(params)

    text = of.lower(params, x).as_text()
    return of(params, x), text


@every_model
def test_a_scan_computes_the_same(build, monkeypatch):
    apart, _ = run(build, monkeypatch, scanned=False, train=False)
    together, text = run(build, monkeypatch, scanned=True, train=False)
    assert "stablehlo.while" in text
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5), apart, together)


@every_model
def test_a_scan_trains(build, monkeypatch):
    """Noise differs from copy to copy, and what layers keep of a batch comes out of the scan."""
    (_, (apart, _)), _ = run(build, monkeypatch, scanned=False, train=True)[0]
    (_, (together, kept)), gradients = run(build, monkeypatch, scanned=True, train=True)[0]
    assert apart.shape == together.shape
    assert all(np.isfinite(leaf).all() and np.any(leaf != 0) for leaf in jax.tree.leaves(gradients["blocks"]))
    means = [leaf for path, leaf in jax.tree.leaves_with_path(kept) if "mean" in jax.tree_util.keystr(path)]
    assert len({leaf.tobytes() for leaf in map(np.asarray, means)}) == len(means)


@every_model
def test_an_eager_call_compiles_no_scan(build, monkeypatch):
    monkeypatch.setattr(scan, "MANY", 2)
    monkeypatch.setattr(jax.lax, "scan", lambda *args: pytest.fail("scanned"))
    model = build(HostRngs(RandomKey((0,))))
    model.eval()
    assert np.isfinite(model(jnp.ones((2, 3)))).all()
