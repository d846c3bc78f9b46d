"""Schedules, and averages of weights, against PyTorch's: fifty steps of training in float64."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jdl
from jdl.networks import select_all, select_grep
from jdl.train.callback import Event
from jdl.train.groups import by_group
from jdl.train.state import TrainState

STEPS, LR, MOMENTUM = 50, 0.05, 0.9
SCHEDULERS = torch.optim.lr_scheduler


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def problem():
    random = np.random.default_rng(0)
    matrix = random.normal(size=(4, 4))
    return matrix @ matrix.T / 4 + np.eye(4), random.normal(size=4), random.normal(size=4)


def gradient(matrix, shift, w):
    return matrix @ (w - shift)


def by_torch(make, scores=None):
    """Weights, learning rate and momentum at each of the fifty steps."""
    matrix, shift, first = (torch.tensor(a) for a in problem())
    w = torch.nn.Parameter(first.clone())
    optimizer = torch.optim.SGD([w], lr=LR, momentum=MOMENTUM)
    scheduler = make(optimizer)
    rows = []
    for step in range(STEPS):
        group = optimizer.param_groups[0]
        rates = (group["lr"], group["momentum"])
        w.grad = gradient(matrix, shift, w.detach())
        optimizer.step()
        rows.append([*rates, *w.detach().tolist()])
        scheduler.step() if scores is None else scheduler.step(scores[step])
    return np.array(rows)


def by_jdl(callback, scores=None, minimize=True, n=STEPS):
    """The same with a callback: each step is an epoch too, so that both ways of counting are seen."""
    matrix, shift, first = problem()
    transformation = jdl.opt("sgd", lr=LR, momentum=MOMENTUM).structure.transformation
    hyper = {"opt.lr": jnp.float64(LR), "opt.momentum": jnp.float64(MOMENTUM), "opt.dampening": jnp.float64(0)}

    def of_optimizer(hyper):
        return transformation({"weight_decay": 0.0} | {n.removeprefix("opt."): v for n, v in hyper.items()})

    w = jnp.asarray(first)
    state = TrainState(jnp.zeros((), jnp.int32), w, (), of_optimizer(hyper).init(w), hyper, jnp.uint32(0))
    memory = callback.init(state)
    at = {"total_epochs": jnp.int32(n), "total_steps": jnp.int32(n), "minimize": minimize}

    def call(stage, memory, state, epoch, **more):
        if stage not in callback.stages:
            return memory, state
        memory, event = getattr(callback, stage)(memory, Event(state=state, epoch=epoch, **at, **more))
        return memory, event.state

    @jax.jit
    def one(memory, state, epoch, score):
        memory, state = call("on_epoch_begin", memory, state, epoch)
        memory, state = call("on_batch_begin", memory, state, epoch)
        rates = [state.hyper["opt.lr"], state.hyper["opt.momentum"]]
        grads = gradient(matrix, shift, state.params)
        updates, opt_state = of_optimizer(state.hyper).update(grads, state.opt_state, state.params)
        state = replace(state, params=state.params + updates, opt_state=opt_state, step=state.step + 1)
        memory, state = call("on_batch_end", memory, state, epoch)
        memory, state = call("on_valid_end", memory, state, epoch, score=score)
        return memory, state, jnp.stack([*rates, *state.params])

    rows = []
    for step in range(n):
        score = 0.0 if scores is None else scores[step]
        memory, state, row = one(memory, state, jnp.int32(step + 1), jnp.float64(score))
        rows.append(row)
    return np.array(rows)


def assert_equal(ours, theirs):
    assert ours.dtype == np.float64
    scale = np.abs(theirs).max(axis=0)
    assert (np.abs(ours - theirs).max(axis=0) / scale).max() < 1e-10
    # The rate of each single step too: it spans orders of magnitude.
    np.testing.assert_allclose(ours[:, 0], theirs[:, 0], rtol=1e-10, atol=1e-18)


def decay(t):
    return 0.9**t


def bumpy(t):
    return 1.0 + 0.1 * (-1.0) ** t


CASES = {
    "cosine": (("lr_cosine_annealing", {"T_max": 50}), ("CosineAnnealingLR", {"T_max": 50})),
    "cosine_wave": (
        ("lr_cosine_annealing", {"T_max": 15, "eta_min": 0.001, "by": "step"}),
        ("CosineAnnealingLR", {"T_max": 15, "eta_min": 0.001}),
    ),
    "lambda": (("lr_lambda", {"lr_lambda": decay}), ("LambdaLR", {"lr_lambda": decay})),
    "multiplicative": (("lr_multiplicative", {"lr_lambda": bumpy}), ("MultiplicativeLR", {"lr_lambda": bumpy})),
    "one_cycle": (("lr_one_cycle", {"max_lr": 0.1}), ("OneCycleLR", {"max_lr": 0.1, "total_steps": 50})),
    "one_cycle_linear": (
        ("lr_one_cycle", {"max_lr": 0.1, "pct_start": 0.43, "anneal_strategy": "linear", "cycle_momentum": False}),
        (
            "OneCycleLR",
            {
                "max_lr": 0.1,
                "total_steps": 50,
                "pct_start": 0.43,
                "anneal_strategy": "linear",
                "cycle_momentum": False,
            },
        ),
    ),
    "one_cycle_three": (
        ("lr_one_cycle", {"max_lr": 0.1, "three_phase": True, "div_factor": 10.0, "base_momentum": 0.8}),
        (
            "OneCycleLR",
            {"max_lr": 0.1, "total_steps": 50, "three_phase": True, "div_factor": 10.0, "base_momentum": 0.8},
        ),
    ),
    "step": (("lr_step", {"step_size": 7, "gamma": 0.5}), ("StepLR", {"step_size": 7, "gamma": 0.5})),
    "linear": (("lr_linear", {}), ("LinearLR", {})),
    "linear_long": (
        ("lr_linear", {"start_factor": 0.9, "end_factor": 0.1, "total_iters": 30}),
        ("LinearLR", {"start_factor": 0.9, "end_factor": 0.1, "total_iters": 30}),
    ),
    "polynomial": (
        ("lr_polynomial", {"total_iters": 40, "power": 2.5, "by": "step"}),
        ("PolynomialLR", {"total_iters": 40, "power": 2.5}),
    ),
    "restarts": (("lr_cosine_restarts", {"T_0": 7}), ("CosineAnnealingWarmRestarts", {"T_0": 7})),
    "restarts_longer": (
        ("lr_cosine_restarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.001}),
        ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.001}),
    ),
    "exponential": (("lr_exponential", {"gamma": 0.93}), ("ExponentialLR", {"gamma": 0.93})),
    "warmup": (
        ("lr_warmup", {"steps": 20, "start_factor": 0.1}),
        ("LinearLR", {"start_factor": 0.1, "end_factor": 1.0, "total_iters": 20}),
    ),
    "optax": (("schedule", {"schedule": decay, "relative": True, "by": "epoch"}), ("LambdaLR", {"lr_lambda": decay})),
}


@pytest.mark.parametrize("case", CASES)
def test_schedules_train_as_pytorchs(case):
    (name, values), (theirs, arguments) = CASES[case]
    ours = by_jdl(jdl.cb(name, **values))
    assert_equal(ours, by_torch(lambda optimizer: getattr(SCHEDULERS, theirs)(optimizer, **arguments)))


def test_every_schedule_that_pytorch_has_is_here():
    covered = {name for (name, _), _ in CASES.values()}
    own = {"lr_coslog4", "lr_flat_cos"}  # of RealMLP: tests/reference/test_torch_realmlp.py
    ours = {name for name in jdl.cb() if name.startswith("lr_")} | {"schedule"}
    assert ours - covered - own == {"lr_reduce_on_plateau"}


PLATEAUS = {
    "min": {"patience": 2, "factor": 0.5},
    "abs": {"patience": 1, "factor": 0.5, "threshold": 0.05, "threshold_mode": "abs", "cooldown": 3},
    "floor": {"patience": 0, "factor": 0.3, "min_lr": 0.002, "threshold": 0.01},
    "eps": {"patience": 0, "factor": 0.3, "eps": 0.01},
}


@pytest.mark.parametrize("minimize", [True, False])
@pytest.mark.parametrize("case", PLATEAUS)
def test_plateaus_are_pytorchs_in_both_directions(case, minimize):
    random = np.random.default_rng(1)
    scores = np.exp(-np.arange(STEPS) / 20) + 0.1 * random.random(STEPS)
    scores = scores if minimize else 2.0 - scores
    scores[[0, 9]] = np.nan  # the first one too
    values = PLATEAUS[case]
    mode = "min" if minimize else "max"
    theirs = by_torch(lambda optimizer: SCHEDULERS.ReduceLROnPlateau(optimizer, mode=mode, **values), scores)
    assert len(np.unique(theirs[:, 0])) > 1
    assert_equal(by_jdl(jdl.cb("lr_reduce_on_plateau", **values), scores, minimize), theirs)


def test_warmup_and_then_is_pytorchs_sequence():
    def make(optimizer):
        up = SCHEDULERS.LinearLR(optimizer, start_factor=0.1, total_iters=10)
        down = SCHEDULERS.CosineAnnealingLR(optimizer, T_max=40)
        return SCHEDULERS.SequentialLR(optimizer, [up, down], milestones=[10])

    ours = jdl.cb("lr_warmup", steps=10, start_factor=0.1, then=jdl.cb("lr_cosine_annealing", by="step"))
    assert_equal(by_jdl(ours), by_torch(make))


@pytest.mark.parametrize("kind", ["ema", "polyak"])
def test_averages_are_pytorchs(kind):
    swa = torch.optim.swa_utils
    callback: Any = jdl.cb("ema", decay=0.8, start=3) if kind == "ema" else jdl.cb("polyak", start=3)
    average = {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.8)} if kind == "ema" else {}
    random = np.random.default_rng(2)
    steps = random.normal(size=(STEPS, 4))
    module = torch.nn.Linear(4, 1, bias=False).double()
    theirs = swa.AveragedModel(module, **average)
    state = TrainState(jnp.zeros((), jnp.int32), jnp.asarray(steps[0]), (), (), {}, jnp.uint32(0))
    memory = callback.init(state)
    for epoch, weights in enumerate(steps, 1):
        module.weight.data = torch.tensor(weights)[None]
        if epoch >= 3:
            theirs.update_parameters(module)
        state = replace(state, params=jnp.asarray(weights))
        memory, _ = callback.on_batch_end(memory, Event(state=state, epoch=jnp.int32(epoch)))
    mean = callback.weights(memory, state)[0]
    np.testing.assert_allclose(mean, theirs.module.weight.detach().numpy()[0], rtol=1e-10)


@pytest.mark.parametrize("bound", ["max_norm", "max_value"])
def test_clipping_is_pytorchs(bound):
    random = np.random.default_rng(3)
    grads = [random.normal(size=size) for size in ((4, 3), (3,))]
    callback: Any = jdl.cb("grad_clip", **{bound: 0.7})
    state = TrainState(jnp.zeros((), jnp.int32), [jnp.zeros((4, 3)), jnp.zeros(3)], (), (), {}, jnp.uint32(0))
    event = Event(state=state, epoch=1, grads=[jnp.asarray(g) for g in grads])
    ours = callback.on_after_backward((), event)[1].grads
    params = [torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64)) for g in grads]
    for p, g in zip(params, grads, strict=True):
        p.grad = torch.tensor(g)
    if bound == "max_norm":
        torch.nn.utils.clip_grad_norm_(params, 0.7)
    else:
        torch.nn.utils.clip_grad_value_(params, 0.7)
    for p, g in zip(params, ours, strict=True):
        np.testing.assert_allclose(g, p.grad.numpy(), rtol=1e-12)


def test_a_weight_that_is_unfrozen_begins_as_pytorchs_does():
    """Its count of steps and its moments too, and decay has left no trace in them."""
    first, matrix = problem()[2], problem()[0]
    chosen = {"epoch": [11], "weights": [select_all()]}
    callback: Any = jdl.cb("unfreeze", starting_weights=select_grep("head"), unfreeze=chosen)
    hyper = {"lr": 0.05, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}
    make = jdl.opt("adam", lr=0.05).structure.transformation

    def of_optimizer(hyper, params):
        hyper = {n.removeprefix("opt."): v for n, v in hyper.items()}
        return by_group(callback.groups(params), lambda _, own: make(own), params, hyper)

    params = {"body": jnp.asarray(first), "head": jnp.asarray(first[::-1].copy())}
    hyper = {f"opt.{n}": jnp.asarray(v, jnp.float64) for n, v in hyper.items()}
    state = TrainState(
        jnp.zeros((), jnp.int32), params, (), of_optimizer(hyper, params).init(params), hyper, jnp.uint32(0)
    )

    @jax.jit
    def one(state, epoch):
        grads = {name: matrix @ w for name, w in state.params.items()}
        event = Event(state=state, epoch=epoch, grads=grads)
        memory, event = callback.on_after_backward((), event)
        update = of_optimizer(event.state.hyper, state.params).update
        updates, opt_state = update(event.grads, state.opt_state, state.params)
        moved = jax.tree.map(jnp.add, state.params, updates)
        after = replace(event.state, params=moved, opt_state=opt_state, step=state.step + 1)
        return callback.on_batch_end(memory, event.replace(state=after, grads=None))[1].state

    theirs = {name: torch.nn.Parameter(torch.tensor(np.asarray(w))) for name, w in params.items()}
    theirs["body"].requires_grad_(False)
    optimizer = torch.optim.Adam(list(theirs.values()), lr=0.05, weight_decay=0.1)
    for epoch in range(1, 31):
        if epoch == 11:
            theirs["body"].requires_grad_(True)
        state = one(state, jnp.int32(epoch))
        for w in theirs.values():
            w.grad = torch.tensor(matrix) @ w.detach() if w.requires_grad else None
        optimizer.step()
        for name, w in theirs.items():
            np.testing.assert_allclose(state.params[name], w.detach().numpy(), rtol=1e-10)
