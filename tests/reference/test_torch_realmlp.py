"""RealMLP against `pytabkit`: preprocessing, outputs, and training steps with all its factors and schedules."""

import logging
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from flax import nnx

from jdl.core.random import as_key
from jdl.networks import HostRngs, RealMLP

pytest.importorskip("pytabkit")
# Lightning warns of what it would like to have installed.
pytestmark = pytest.mark.filterwarnings("ignore")

SIZES = {"binary": 3, "few": 6, "many": 16}
N_ROWS = 120


def rows(seed=0, n=N_ROWS):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": random.normal(size=n), "b": random.exponential(size=n), "constant": np.full(n, 3.0)})
    for name, size in SIZES.items():
        codes = random.integers(0, size - 1, n)
        codes[: size - 1] = np.arange(size - 1)
        frame[name] = pd.Categorical([f"level {code:02d}" for code in codes])
    return frame, np.asarray((frame["a"] + (frame["few"] == "level 01") > 0).astype(int))


def blocks(frame):
    num = frame[["a", "b", "constant"]].to_numpy(np.float32)
    codes = [frame[name].cat.codes.to_numpy() + 1 for name in SIZES]
    return num, np.stack(codes, axis=1).astype(np.int32)


def fitted(kind, frame, y, **options):
    import pytabkit

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = getattr(pytabkit, kind)(random_state=0, device="cpu", n_threads=1, verbosity=0, **options)
        model.fit(frame, y)
    return model


def parameters(module):
    """Learned arrays by the last parts of their scopes, without the axis of vectorised models."""
    state = {}
    for parameter in module.parameters():
        if not parameter.requires_grad:
            continue
        parts = str(parameter.context.scope).strip("/").split("/")
        name = "emb.0" if parts[-1] == "emb" else ".".join(parts[-2:])
        state[name] = parameter.detach().numpy()[0].copy()
    return state


def statistics(module):
    """Medians and factors of the layers that are not learned, numbers first."""
    layers = list(module.modules())
    shifts = [m.bias for m in layers if type(m).__name__ == "BiasLayer" and not m.bias.requires_grad]
    factors = [m.scale for m in layers if type(m).__name__ == "ScaleLayer" and not m.scale.requires_grad]
    flat = [np.concatenate([v.detach().numpy().ravel() for v in values]) for values in (shifts, factors)]
    return {"scaling.median": -flat[0], "scaling.factor": flat[1]}


def state_of(model):
    inner = model.alg_interface_.model
    static = statistics(inner.creator.static_model if kind_is_simple(model) else inner.model)
    return parameters(inner.model) | static


def kind_is_simple(model):
    return "TD_S" in type(model).__name__


def loaded(model, d_out, **options):
    build: Any = RealMLP.simple if kind_is_simple(model) else RealMLP
    ours = build(
        n_num_features=3, cat_cardinalities=list(SIZES.values()), d_out=d_out, rngs=HostRngs(as_key(0)), **options
    )
    ours.load_torch_state(state_of(model))
    ours.eval()
    return ours


def unseen(frame):
    """Rows beyond the training range, with levels that training did not have."""
    new, _ = rows(7)
    new[["a", "b"]] *= 5.0
    num, codes = blocks(new)
    changed = new.copy()
    for i, name in enumerate(SIZES):
        changed[name] = pd.Categorical(np.where(np.arange(len(new)) % 5 == 0, "new level", new[name].astype(str)))
        codes[::5, i] = 0
    return changed, num, codes


def relative_error(ours, theirs):
    return np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("kind", ["RealMLP_TD_Classifier", "RealMLP_TD_S_Classifier"])
def test_probabilities(kind):
    frame, y = rows()
    model = fitted(kind, frame, y, n_epochs=3)
    ours = loaded(model, 2)
    for given, (num, codes) in ((frame, blocks(frame)), (unseen(frame)[0], unseen(frame)[1:])):
        theirs = model.predict_proba(given)
        log_odds = ours(num, codes)
        assert relative_error(jax.nn.softmax(log_odds), theirs) < 1e-5
        # The odds see what the ends of the sigmoid hide.
        odds = np.log(theirs[:, 1].astype(np.float64)) - np.log(theirs[:, 0].astype(np.float64))
        assert relative_error(log_odds[:, 1] - log_odds[:, 0], odds) < 1e-5


@pytest.mark.parametrize("kind", ["RealMLP_TD_Regressor", "RealMLP_TD_S_Regressor"])
def test_predicted_numbers(kind):
    frame, _ = rows()
    y = frame["a"].to_numpy() ** 2 + frame["b"].to_numpy()
    model = fitted(kind, frame, y, n_epochs=3)
    clamped = not kind_is_simple(model)
    ours = loaded(model, 1, activation="mish", **({"clamp_output": True} if clamped else {}))
    norm = next(m for m in model.alg_interface_.model.model.modules() if type(m).__name__ == "NormalizeOutputLayer")
    mean, std = float(norm.mean), float(norm.std)
    if clamped:
        clamp = next(m for m in model.alg_interface_.model.model.modules() if type(m).__name__ == "ClampLayer")
        limits = [(float(v) - mean) / std for v in (clamp.low, clamp.high)]
        ours.clamp.prepare(np.array(limits))
    for given, (num, codes) in ((frame, blocks(frame)), (unseen(frame)[0], unseen(frame)[1:])):
        theirs = model.predict(given)
        assert relative_error(np.asarray(ours(num, codes))[:, 0] * std + mean, theirs) < 1e-5


def test_medians_and_factors_are_those_that_prepare_finds():
    frame, y = rows()
    model = fitted("RealMLP_TD_S_Classifier", frame, y, n_epochs=1, val_fraction=0.0)
    theirs = state_of(model)
    ours = RealMLP.simple(n_num_features=3, cat_cardinalities=list(SIZES.values()), d_out=2, rngs=HostRngs(as_key(0)))
    ours.prepare(*blocks(frame), key=0)
    np.testing.assert_allclose(ours.scaling.center[...], theirs["scaling.median"], rtol=1e-6)
    np.testing.assert_allclose(ours.scaling.factor[...], theirs["scaling.factor"], rtol=1e-6)


# -- training


def recorded(kind, frame, y, monkeypatch, **options):
    """A fit, with parameters before every step and after the last one, and the first column of each step's rows."""
    from pytabkit.models.training.lightning_modules import TabNNModule

    states, seen = [], []
    step = TabNNModule.training_step

    def recording(self, batch, batch_idx):
        states.append(parameters(self.model))
        seen.append(batch["x_cont"].numpy()[0, :, 0])
        loss = step(self, batch, batch_idx)
        last[:] = [parameters(self.model)]
        return loss

    last: list[Any] = []
    monkeypatch.setattr(TabNNModule, "training_step", recording)
    model = fitted(kind, frame, y, p_drop=0.0, batch_size=40, n_epochs=10, **options)
    return model, [*states, *last], seen


def coslog4(t):
    return 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * t)))


def flat_cos(t):
    return 1.0 if t < 0.5 else 0.5 * (1 + np.cos(np.pi * (2 * t - 1)))


def trained(ours, loss, batches, lr, wd):
    """The package's Adam in a plain loop: schedules are read before a step, and factors are squared in the decay."""
    graph, params, rest = nnx.split(ours, nnx.Param, ...)
    adam = optax.scale_by_adam(b1=0.9, b2=0.95, eps=1e-8)
    moments = adam.init(params)
    lr_factor = jax.tree_util.tree_map_with_path(lambda path, _: RealMLP.lr_factor(path), params)
    wd_factor = jax.tree_util.tree_map_with_path(lambda path, _: RealMLP.wd_factor(path), params)

    @jax.jit
    def step(params, moments, batch, lr_t, wd_t):
        grads = jax.grad(lambda p: loss(nnx.merge(graph, p, rest, copy=True), *batch))(params)
        direction, moments = adam.update(grads, moments)
        moved = jax.tree.map(
            lambda p, d, f, g: p * (1 - lr_t * wd_t * f**2 * g**2) - lr_t * f * d,
            params,
            direction,
            lr_factor,
            wd_factor,
        )
        return moved, moments

    for i, batch in enumerate(batches):
        t = i / len(batches)
        params, moments = step(params, moments, batch, lr * coslog4(t), wd * flat_cos(t))
    nnx.update(ours, params)
    return ours


def smoothed_cross_entropy(model, num, codes, y):
    target = 0.9 * jax.nn.one_hot(y, 2) + 0.05
    return optax.softmax_cross_entropy(model(num, codes), target).mean()


def squared_error(model, num, codes, y):
    return ((model(num, codes)[:, 0] - y) ** 2).mean()


@pytest.mark.parametrize(
    ("kind", "lr", "wd"),
    [
        ("RealMLP_TD_Classifier", 0.04, 0.02),
        ("RealMLP_TD_Regressor", 0.2, 0.02),
        ("RealMLP_TD_S_Classifier", 0.04, 0.0),
    ],
)
def test_twenty_steps(kind, lr, wd, monkeypatch):
    frame, y = rows()
    is_regr = kind.endswith("Regressor")
    if is_regr:
        y = (frame["a"] ** 2 + frame["b"]).to_numpy()
    model, states, seen = recorded(kind, frame, y, monkeypatch)
    assert len(seen) == 20
    inner = model.alg_interface_.model
    target = y.astype(np.int32)
    if is_regr:
        norm = next(m for m in inner.model.modules() if type(m).__name__ == "NormalizeOutputLayer")
        target = ((y - float(norm.mean)) / float(norm.std)).astype(np.float32)
    ours = loaded(model, 1 if is_regr else 2, activation="mish" if is_regr else "selu", p_drop=None)
    static = {name: value for name, value in state_of(model).items() if name.startswith("scaling")}
    ours.load_torch_state(states[0] | static)
    ours.train()
    num, codes = blocks(frame)
    # TD-S scales before the loader does its work.
    column = np.asarray(ours._raw(np, num, codes))
    column = (ours.scaling.embed(np, column) if kind_is_simple(model) else column)[:, 0]
    orders = [np.abs(column[:, None] - values[None]).argmin(axis=0) for values in seen]
    batches = [tuple(jnp.asarray(part[order]) for part in (num, codes, target)) for order in orders]
    trained(ours, squared_error if is_regr else smoothed_cross_entropy, batches, lr, wd)
    for name, slot in ours.torch_slots().items():
        if name not in static:
            theirs = states[-1][name]
            assert not np.array_equal(theirs, states[0][name])
            np.testing.assert_allclose(slot.variable[...].reshape(theirs.shape), theirs, rtol=1e-4, atol=1e-4)
