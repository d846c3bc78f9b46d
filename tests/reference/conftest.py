"""What comparisons of networks with their PyTorch counterparts share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx


def _shaken(module: Any, seed: int = 0, scale: float = 0.1) -> Any:
    """The module with noise on all parameters, so that none is at a special value such as 0 or 1."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += scale * torch.randn_like(parameter)
    return module


def _relative_error(ours: Any, theirs: Any) -> float:
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else np.asarray(theirs)
    ours = np.asarray(ours)
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


_outputs = nnx.jit(lambda model, *inputs: model(*inputs))


def _tensors(*arrays: Any) -> list[Any]:
    return [None if a is None else torch.tensor(np.asarray(a, np.int64) if a.dtype.kind == "i" else a) for a in arrays]


def _same_steps(
    ours: Any,
    theirs: Any,
    batches: list[Any],
    *,
    lr: float,
    weight_decay: float,
    groups: Any = None,
    no_weight_decay: Callable[[Any], bool] | None = None,
    clip: float | None = None,
    rounding: tuple[str, ...] = (),
) -> None:
    """Trains both with AdamW on equal batches and squared errors, and compares parameters and outputs.

    A batch is inputs, then targets of the output's shape; the mean over all outputs is the loss, which for members
    side by side is the mean of their losses. Adam moves a parameter whose gradient is rounding noise by the whole
    learning rate. Parameters that no output depends on (a bias before a batch norm, say) are named in `rounding` and
    not compared; of the others one in a thousand may have met a gradient near zero.
    """
    optimizer = torch.optim.AdamW(groups or theirs.parameters(), lr=lr, weight_decay=weight_decay)
    theirs.train()
    for *inputs, y in batches:
        optimizer.zero_grad()
        ((theirs(*_tensors(*inputs)) - torch.tensor(y)) ** 2).mean().backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        optimizer.step()
    ours.train()
    graph, params, rest = nnx.split(ours, nnx.Param, ...)
    decayed = jax.tree_util.tree_map_with_path(lambda path, _: not (no_weight_decay or bool)(path), params)
    if no_weight_decay is None:
        decayed = jax.tree.map(lambda _: True, decayed)
    adamw = optax.adamw(lr, weight_decay=weight_decay, mask=decayed)
    clipped = adamw if clip is None else optax.chain(optax.clip_by_global_norm(clip), adamw)
    state = clipped.init(params)

    def loss(params, rest, inputs, y):
        model = nnx.merge(graph, params, rest, copy=True)
        return ((model(*inputs) - y) ** 2).mean(), nnx.split(model, nnx.Param, ...)[2]

    @jax.jit
    def step(params, rest, state, inputs, y):
        grads, rest = jax.grad(loss, has_aux=True)(params, rest, inputs, y)
        updates, state = clipped.update(grads, state, params)
        return optax.apply_updates(params, updates), rest, state

    for *inputs, y in batches:
        arrays = [None if a is None else jnp.asarray(a) for a in inputs]
        params, rest, state = step(params, rest, state, arrays, jnp.asarray(y))
    nnx.update(ours, params, rest)
    trained = theirs.state_dict()
    arrays = {name: values for name, values in _torch_arrays(ours).items() if not name.endswith(rounding or ("?",))}
    differences = [np.abs(values - trained[name].numpy()).ravel() for name, values in arrays.items()]
    everywhere = np.concatenate(differences)
    assert (everywhere < 1e-4).mean() > 0.999
    assert everywhere.max() < lr
    *inputs, _ = batches[0]
    assert _relative_error(_outputs(ours, *inputs), theirs(*_tensors(*inputs))) < 1e-4


def _torch_arrays(model: Any) -> dict[str, np.ndarray]:
    """Parameters under PyTorch's names, in PyTorch's shapes."""
    arrays = {}
    for name, slot in model.torch_slots().items():
        if slot is not None and isinstance(slot.variable, nnx.Param):
            array = np.asarray(slot.variable[...])
            array = array if slot.rows is None else array[slice(*slot.rows)]
            arrays[name] = (array.T if slot.transpose else array).reshape(slot.torch_shape)
    return arrays


@pytest.fixture
def shaken() -> Callable[..., Any]:
    """Adds noise to all parameters of a PyTorch module."""
    return _shaken


@pytest.fixture
def relative_error() -> Callable[[Any, Any], float]:
    """Largest difference over the largest value."""
    return _relative_error


@pytest.fixture
def tensors() -> Callable[..., list[Any]]:
    """Arrays as tensors, integers as PyTorch wants them."""
    return _tensors


@pytest.fixture
def same_steps() -> Callable[..., None]:
    """Trains a network and its counterpart on equal batches."""
    return _same_steps


@pytest.fixture
def outputs() -> Callable[..., Any]:
    """A network applied to inputs, compiled as a whole."""
    return _outputs
