"""An Optax transformation apart for each group of parameters, with a state of its own."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

# Among the optimizer's hyperparameters, while some groups may be frozen: by label, whether a group is trained.
TRAINED = "trained"


def by_group(
    labels: Any, make: Callable[[Any, Mapping[str, Any]], optax.GradientTransformation], params: Any, hyper: Any
) -> Any:
    """A transformation whose state is a dict by label, so that a group's count of steps is its own.

    Args:
      labels: Label of each parameter, in the structure of the parameters.
      make: Gives the transformation of a group from its parameters (the others' places hold nothing) and the
        hyperparameters.
      params: All parameters.
      hyper: The optimizer's hyperparameters; what is not trained is not decayed.
    """
    trained = hyper.get(TRAINED, {})
    hyper = {name: value for name, value in hyper.items() if name != TRAINED}
    names = sorted(set(jax.tree.leaves(labels)))

    def part(tree: Any, name: str) -> Any:
        return jax.tree.map(lambda label, leaf: leaf if label == name else optax.MaskedNode(), labels, tree)

    def own(name: str) -> dict[str, Any]:
        if name not in trained:
            return hyper
        return {n: v * trained[name] if n.rpartition(".")[2] == "weight_decay" else v for n, v in hyper.items()}

    made = {name: make(part(params, name), own(name)) for name in names}

    def init(params: Any) -> Any:
        return {name: made[name].init(part(params, name)) for name in names}

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        after, places = {}, []
        for name in names:
            of_params = None if params is None else part(params, name)
            moved, after[name] = made[name].update(part(updates, name), state[name], of_params)
            places.append(moved)
        return jax.tree.map(lambda label, *own: own[names.index(label)], labels, *places), after

    return optax.GradientTransformation(init, update)
