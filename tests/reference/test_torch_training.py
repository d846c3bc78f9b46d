"""A whole training with normalisation and validation against PyTorch, from equal weights on equal batches.

The last batch of an epoch is short, so that jdl pads it and PyTorch does not.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jdl import train

N_TRAIN, N_VALID, BATCH, EPOCHS = 43, 12, 8, 2
NORMS = {"none": None, "batch": torch.nn.BatchNorm1d, "layer": torch.nn.LayerNorm}


def network(params, norm):
    """PyTorch's network with the weights of jdl's."""
    modules = []
    blocks = params["blocks"]
    for i in range(2):
        modules += [linear(blocks[i]["linear"])]
        modules += [NORMS[norm](modules[-1].out_features)] if NORMS[norm] else []
        modules += [torch.nn.Tanh()]
    return torch.nn.Sequential(*modules, linear(params["head"]))


def linear(layer):
    kernel, bias = (np.asarray(layer[name].get_value()) for name in ("kernel", "bias"))
    made = torch.nn.Linear(*kernel.shape)
    made.weight.data, made.bias.data = torch.tensor(kernel.T.copy()), torch.tensor(bias)
    return made


def by_torch(net, optimizer, x, y):
    """Losses of training and validation by epoch."""
    losses = []
    for _ in range(EPOCHS):
        net.train()
        total = 0.0
        for start in range(0, N_TRAIN, BATCH):
            rows = slice(start, min(start + BATCH, N_TRAIN))
            loss = torch.nn.functional.mse_loss(net(x[rows])[:, 0], y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * (rows.stop - rows.start)
        net.eval()
        with torch.no_grad():
            valid = torch.nn.functional.mse_loss(net(x[N_TRAIN:])[:, 0], y[N_TRAIN:]).item()
        losses.append((total / N_TRAIN, valid))
    return np.array(losses)


@pytest.mark.parametrize("norm", NORMS)
def test_two_epochs_without_shuffling(norm):
    random = np.random.default_rng(3)
    x = random.normal(size=(N_TRAIN + N_VALID, 4)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] + random.normal(0, 0.1, len(x))).astype(np.float32)
    optimizer = train.sgd(lr=0.05, momentum=0.9, weight_decay=0.01)
    program = train.program(
        train.MLPSpec((6, 5), activation="tanh", norm=norm),
        n_features=4,
        optimizer=optimizer,
        batch_size=BATCH,
        shuffle=False,
        validate=True,
    )
    rows = train.MemberRows(np.arange(N_TRAIN), np.arange(N_TRAIN, len(x)), n_train=56, n_valid=20)
    hyper = {f"opt.{name}": value for name, value in optimizer.dynamic().items()}
    member = train.draw(program, 0, y, rows=rows, epochs=EPOCHS, hyper=hyper)
    table = train.numeric_table(jnp.asarray(x))
    run, history = jax.jit(lambda m: train.fit(program, table, m, epochs=EPOCHS))(member)

    net = network(member.params, norm)
    theirs = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    losses = by_torch(net, theirs, torch.tensor(x), torch.tensor(y))
    np.testing.assert_allclose(np.stack([history["train.loss"], history["valid.loss"]], 1), losses, rtol=1e-5)
    outputs = net(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(train.predict(program, run, table), outputs, atol=1e-5)
