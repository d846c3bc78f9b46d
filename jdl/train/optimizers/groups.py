"""Parameter groups: parameters, chosen by name, that have a learning rate or weight decay of their own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError, shown
from jdl.core.fields import REQUIRED, Field
from jdl.train.optimizers.fields import number

Select = Callable[[Sequence[str]], tuple[str, ...]]

FIELDS: dict[str, Field] = {
    "lr": number(REQUIRED, doc="Learning rate of the group, in place of the optimizer's."),
    "lr_factor": number(1.0, doc="What the learning rate of the group is multiplied with."),
    "weight_decay": number(0.0, doc="Weight decay of the group, in place of the optimizer's."),
}
_TAKEN = ("params", *FIELDS, "frozen")


@dataclass(frozen=True)
class GroupStructure:
    """What is static about a group: whom it chooses and what it sets.

    Args:
      select: A Select function of parameters' names.
      sets: Names of the hyperparameters that it sets.
      frozen: Whether its parameters stay as they are.
    """

    select: Select
    sets: tuple[str, ...] = ()
    frozen: bool = False


@dataclass(frozen=True)
class ParamGroup:
    r"""Parameters with a learning rate or weight decay of their own, or frozen.

    A parameter of several groups takes from each what it sets; of two that set the same the later one counts. What
    no group sets is the optimizer's.

    Args:
      params: A Select function (`select_all`, `select_none`, `select_grep`, `select_name`, `select_invert`), or a
        function from all parameters' names to those of the group.
      lr: Learning rate, in place of the optimizer's.
      lr_factor: What the learning rate is multiplied with.
      weight_decay: Weight decay, in place of the optimizer's.
      frozen: Whether the parameters stay as they are; no gradient is computed for them.

    Raises:
      ConfigError: A value out of range, or a group that sets nothing.

    >>> from jdl.networks.select import select_grep
    >>> ParamGroup(select_grep(r"^head\."), lr_factor=10.0).structure.sets
    ('lr_factor',)
    """

    params: Select
    lr: float | None = None
    lr_factor: float | None = None
    weight_decay: float | None = None
    frozen: bool = False

    def __post_init__(self) -> None:
        if not callable(self.params):
            raise ConfigTypeError(
                f"parameter group: 'params' must be a Select function, got {shown(self.params)}.\n"
                "Hint: jdl.networks.select_grep('bias$')."
            )
        for name, field in FIELDS.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, field.check("parameter group", name, getattr(self, name)))
        if not isinstance(self.frozen, bool):
            raise ConfigTypeError(f"parameter group: 'frozen' must be True or False, got {shown(self.frozen)}.")
        if not self.structure.sets and not self.frozen:
            raise ConfigError(
                "parameter group: sets nothing.\nHint: give it lr, lr_factor, weight_decay or frozen=True."
            )

    @property
    def structure(self) -> GroupStructure:
        """Its static part."""
        return GroupStructure(self.params, tuple(n for n in FIELDS if getattr(self, n) is not None), self.frozen)

    def __repr__(self) -> str:
        values = "".join(f", {n}={getattr(self, n)!r}" for n in self.structure.sets)
        return f"ParamGroup({self.params!r}{values}{', frozen=True' if self.frozen else ''})"


@dataclass(frozen=True)
class _BiasesNormsEmbeddings:
    """The Select function of what is not decayed as a rule."""

    def __call__(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if _is_exempt(name.lower().split(".")))


def _is_exempt(parts: list[str]) -> bool:
    if parts[-1].startswith("bias") or parts[-1] in ("scale", "table", "token"):
        return True
    return any(word in part for part in parts for word in ("norm", "embed", "token", "cls"))


def no_decay() -> ParamGroup:
    """The group "no_decay": biases, norms and embeddings, without weight decay.

    They are known by name: parameters called bias, scale, table or token, and those of layers whose name holds norm,
    embed, token or cls.

    >>> no_decay().params(["norm.scale", "embedding.table", "head.kernel", "head.bias"])
    ('norm.scale', 'embedding.table', 'head.bias')
    """
    return ParamGroup(_BiasesNormsEmbeddings(), weight_decay=0.0)


READY: dict[str, Callable[[], ParamGroup]] = {"no_decay": no_decay}


def as_groups(owner: str, given: Any) -> tuple[ParamGroup, ...]:
    """Parameter groups from groups, dicts with `params` and what they set, and names of ready groups.

    Raises:
      ConfigTypeError: Something else.
      UnknownNameError: A name of no ready group, or a dict with a key that groups do not have.
    """
    parts = given if isinstance(given, list | tuple) else (given,)
    return tuple(_as_group(owner, part) for part in parts)


def _as_group(owner: str, given: Any) -> ParamGroup:
    if isinstance(given, ParamGroup):
        return given
    if isinstance(given, str):
        if given not in READY:
            raise UnknownNameError.of("parameter group", given, READY, owner=owner)
        return READY[given]()
    if not isinstance(given, Mapping) or "params" not in given:
        raise ConfigTypeError(
            f"{owner}: 'groups' must hold parameter groups, got {shown(given)}.\n"
            "Hint: jdl.train.ParamGroup(jdl.networks.select_grep('bias$'), lr=0.1), the same as a dict with 'params', "
            "or 'no_decay'."
        )
    for name in given:
        if name not in _TAKEN:
            raise UnknownNameError.of("key", name, _TAKEN, owner=f"a parameter group of {owner}")
    return ParamGroup(**given)


def check_groups(owner: str, groups: Sequence[GroupStructure], names: Sequence[str]) -> None:
    """Refuses a group that chooses no parameter, or something that is none.

    Raises:
      ConfigError: Names the group and the parameters there are.
    """
    for i, group in enumerate(groups):
        try:
            chosen = tuple(group.select(names))
        except TypeError as error:
            raise ConfigError(
                f"{owner}: parameter group {i} ({shown(group.select)}) fails: {error}.\n"
                "Hint: it takes the names of all parameters, and returns those that it chooses."
            ) from error
        unknown = [name for name in chosen if name not in names]
        if chosen and not unknown:
            continue
        what = f"chooses {unknown[0]!r}, which is no parameter" if unknown else "matches no parameter"
        raise ConfigError(
            f"{owner}: parameter group {i} ({group.select!r}) {what}.\n"
            f"Hint: the parameters of the network are {_listed(names)}."
        )


def _listed(names: Sequence[str], most: int = 40) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
