"""Any nnx.Module as a learner."""

import inspect
from typing import Any, ClassVar

from flax import nnx

from jdl.core.errors import ConfigError, ConfigTypeError
from jdl.core.fields import Field
from jdl.data.table import NUMERIC_TYPES, ColumnType
from jdl.learners.learner import ALL_TYPES
from jdl.learners.neural import COMMON, NeuralLearner
from jdl.learners.task_type import ForClassif, ForRegrByLoss
from jdl.networks.argument import handed_out, kept
from jdl.networks.module_spec import SUPPLIED, ModuleSpec, name_of, reads
from jdl.networks.own_layer import field_of, parameters_of


class ModuleLearner(NeuralLearner):
    """What both task types share.

    Args:
      module: An nnx.Module class or a function that makes one, whose arguments become hyperparameters, except those
        that jdl gives: `d_in` (or `in_features`, `n_features`), `d_out` (or `out_features`, `n_outputs`),
        `cat_cardinalities`, `spec` and `rngs`. Or an nnx.Module: each training then starts from the values that it
        has now, and its `prepare`, should it have one, is not called.
        It is called with the numeric columns, and with the codes too if an argument is called x_cat (or codes).
      id: See `Learner`.
      predict_type: See `Learner`.
      hyperparameters: The module's and those that all networks share.

    Raises:
      ConfigTypeError: No module.
      ConfigError: An argument of the module has the name of a hyperparameter that all networks share, or its call
        takes arguments of which it is not known what they are to get.
    """

    takes_missing_categories: ClassVar[bool] = True

    def __init__(self, *, module: Any = None, id: str | None = None, predict_type: str | None = None, **hyper: Any):
        module = _checked(f"learner '{self.name}'", module)
        self.module = nnx.clone(module) if isinstance(module, nnx.Module) else module
        super().__init__(id=id, predict_type=predict_type, **hyper)

    @property
    def fields(self) -> dict[str, Field]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Hyperparameters of the module, and those that all networks share."""
        return _own_fields(self.module) | COMMON

    @property
    def feature_types(self) -> tuple[ColumnType, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Numeric columns, and coded ones if the module takes them."""
        if not isinstance(self.module, nnx.Module | type):
            return ALL_TYPES  # what a function makes is known when it is called
        return ALL_TYPES if "codes" in _reads(f"learner '{self.name}'", self.module) else NUMERIC_TYPES

    def get(self, name: str) -> Any:
        """The value of a hyperparameter; a list, dict or array is a copy."""
        return handed_out(super().get(name))

    def network(self) -> ModuleSpec:
        """The module's spec."""
        target = kept(self.module) if isinstance(self.module, nnx.Module) else self.module
        return ModuleSpec(target, tuple((name, self.values[name]) for name in _own_fields(self.module)))

    def parts(self) -> dict[str, Any]:
        """Its module too."""
        return {"module": self.module, **super().parts()}

    def _shown(self) -> dict[str, Any]:
        return {"module": name_of(self.module)} | super()._shown()


def _checked(who: str, module: Any) -> Any:
    if module is None:
        raise ConfigError(f"{who}: 'module' is required, got none.\nHint: module=MyModule, an nnx.Module class.")
    if not isinstance(module, nnx.Module) and not callable(module):
        raise ConfigTypeError(f"{who}: 'module' must be an nnx.Module or what makes one, got {module!r}.")
    if isinstance(module, type) and not issubclass(module, nnx.Module):
        raise ConfigTypeError(f"{who}: 'module' must be an nnx.Module class, got the class {module.__name__}.")
    clash = sorted(set(_own_fields(module)) & set(COMMON))
    if clash:
        raise ConfigError(
            f"{who}: '{clash[0]}' is a hyperparameter of all networks, and an argument of {name_of(module)} too.\n"
            "Hint: give the argument another name, or hand in a function that makes the module."
        )
    if isinstance(module, nnx.Module | type):
        _reads(who, module)
    return module


def _reads(who: str, module: Any) -> tuple[str, ...]:
    """What the call of an object or of a class takes; see `reads`."""
    return reads(module if isinstance(module, nnx.Module) else module.__call__, f"{who}: module {name_of(module)}")


def _own_fields(module: Any) -> dict[str, Field]:
    if isinstance(module, nnx.Module):
        return {}
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name: field_of(f"module {name_of(module)}", name, p)
        for name, p in parameters_of(module).items()
        if name not in SUPPLIED and p.kind not in variable
    }


class ClassifModule(ForClassif, ModuleLearner):
    """Any nnx.Module as a classifier.

    >>> class Net(nnx.Module):
    ...     def __init__(self, d_in, d_out, width=8, *, rngs):
    ...         self.first = nnx.Linear(d_in, width, rngs=rngs)
    ...         self.last = nnx.Linear(width, d_out, rngs=rngs)
    ...     def __call__(self, x):
    ...         return self.last(nnx.relu(self.first(x)))
    >>> ClassifModule(module=Net, width=16).get("width")
    16
    """

    name: ClassVar[str] = "classif.module"


class RegrModule(ForRegrByLoss, ModuleLearner):
    """Any nnx.Module for regression; the target is standardised inside.

    >>> RegrModule(module=lambda d_in, d_out, rngs: nnx.Linear(d_in, d_out, rngs=rngs)).task_type
    'regr'
    """

    name: ClassVar[str] = "regr.module"
