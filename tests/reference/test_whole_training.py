"""Optimizers, and a whole training run, against PyTorch from equal weights on equal batches."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jdl import train
from jdl.train.optimizer import Optimizer

OPTIMIZERS = {
    "adam": (torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6}),
    "adam, decay": (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    "sgd": (torch.optim.SGD, {"lr": 0.05}),
    "sgd, momentum": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "sgd, dampening": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    "sgd, nesterov": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fifty_steps_of_an_optimizer(name):
    theirs_class, values = OPTIMIZERS[name]
    rng = np.random.default_rng(0)
    start, curvature = rng.normal(size=5), rng.uniform(0.5, 2.0, size=5)
    weights = torch.tensor(start, requires_grad=True)
    theirs = theirs_class([weights], **values)
    for _ in range(50):
        theirs.zero_grad()
        (torch.tensor(curvature) * (weights - 1.0) ** 4).sum().backward()
        theirs.step()
    with jax.enable_x64(True):
        transformation = Optimizer.named(name.partition(",")[0], **values).optax()
        ours = jnp.asarray(start)
        state = transformation.init(ours)
        for _ in range(50):
            grads = jax.grad(lambda w: jnp.sum(curvature * (w - 1.0) ** 4))(ours)
            updates, state = transformation.update(grads, state, ours)
            ours = optax.apply_updates(ours, updates)
        np.testing.assert_allclose(np.asarray(ours), weights.detach().numpy(), rtol=1e-10)


def torch_net(params, widths):
    """PyTorch's network with jdl's initial weights."""
    net = torch.nn.Sequential()
    blocks = [params["blocks"][i]["linear"] for i in range(len(widths) - 2)]
    for i, layer in enumerate([*blocks, params["head"]]):
        linear = torch.nn.Linear(widths[i], widths[i + 1])
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(np.asarray(layer["kernel"].get_value()).T))
            linear.bias.copy_(torch.tensor(np.asarray(layer["bias"].get_value())))
        net.append(linear)
        if i < len(widths) - 2:
            net.append(torch.nn.ReLU())
    return net


@pytest.mark.parametrize(("loss", "n_classes"), [("mse", 0), ("cross_entropy", 2), ("cross_entropy", 3)])
def test_three_epochs_of_an_mlp(loss, n_classes):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 4)).astype(np.float32)
    y = rng.integers(n_classes, size=50).astype(np.int32) if n_classes else rng.normal(size=50).astype(np.float32)
    n_outputs = n_classes if n_classes > 2 else 1
    optimizer = train.sgd(lr=0.05, momentum=0.9)
    program = train.program(
        train.MLPSpec((6, 5)),
        n_features=4,
        n_outputs=n_outputs,
        loss=loss,
        optimizer=optimizer,
        batch_size=16,
    )
    hyper = {f"opt.{name}": value for name, value in optimizer.dynamic().items()}
    member = train.draw(program, 0, y, epochs=3, hyper=hyper)
    run, history = jax.jit(lambda m: train.fit(program, train.numeric_table(jnp.asarray(x)), m))(member)

    net = torch_net(member.params, [4, 6, 5, n_outputs])
    theirs = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for order in member.orders:
        total = 0.0
        for start in range(0, 50, 16):
            rows = order[start : min(start + 16, 50)]
            value = torch_loss(net(torch.tensor(x[rows])), torch.tensor(y[rows]), n_classes)
            theirs.zero_grad()
            value.backward()
            theirs.step()
            total += value.item() * len(rows)
        losses.append(total / 50)
    outputs = train.predict(program, run, train.numeric_table(jnp.asarray(x)))
    np.testing.assert_allclose(outputs, net(torch.tensor(x)).detach().numpy(), atol=2e-5)
    np.testing.assert_allclose(history["train.loss"], losses, rtol=1e-5)


def torch_loss(output, target, n_classes):
    if n_classes == 0:
        return torch.nn.functional.mse_loss(output[:, 0], target)
    if n_classes == 2:
        return torch.nn.functional.binary_cross_entropy_with_logits(output[:, 0], target.float())
    return torch.nn.functional.cross_entropy(output, target.long())
