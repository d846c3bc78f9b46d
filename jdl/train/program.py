"""A program: all that is static about a training run. Equal programs share one compilation."""

from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any

import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, UInt32

from jdl.core.arrays import namespace
from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError, shown
from jdl.core.fields import check_compares
from jdl.core.random import RandomKey
from jdl.data.table import Column, Table, TableSpec
from jdl.measures.catalogue import as_measures
from jdl.measures.measure import Measure
from jdl.networks.context import BatchContext, batch_context
from jdl.networks.dropout import mix
from jdl.networks.initial import InitialValues
from jdl.networks.spec import NetworkSpec
from jdl.pipeline.compose import apply_chain, out_specs
from jdl.pipeline.stage import Stage
from jdl.train.callback import InScanCallback, ask, by_weight
from jdl.train.checks import as_matrix, check_memory, checked_sizes
from jdl.train.factors import Factors, parameter_names
from jdl.train.groups import by_group
from jdl.train.loss import LOSSES, Loss, mean_logits
from jdl.train.optimizer import Optimizer, OptimizerStructure, as_optimizer
from jdl.train.precision import Precision, compute_type, computed, keeping_types, like


@dataclass(frozen=True, eq=True)
class Program:
    """Architecture, loss, optimizer structure, batch sizes, measures, in-scan callbacks.

    Args:
      network: Spec from which the network is built.
      spec: Columns of the rows as they are stored; the stages turn them into what the network sees.
      n_outputs: Outputs of the network.
      loss: What is minimised.
      optimizer: Structure of the optimizer; its values are dynamic.
      stages: Fitted per member; applied inside the program.
      batch_size: Rows of a training step.
      batch_size_predict: Rows of a prediction step.
      full_steps: Steps of an epoch that have a real row in every member.
      shuffle: Whether each epoch has an order of its own.
      drop_last: Whether an incomplete last batch is left out.
      eval_freq: Epochs between two evaluations; the last epoch is always evaluated.
      measures_train: Computed on the outputs seen during each epoch.
      measures_valid: Computed on the validation rows; the first one decides about stopping.
      validate: Whether there are validation rows.
      keep_best: Whether the weights of the best evaluated epoch are kept and used.
      positive: Code of the positive class.
      materialise: Whether a member's stages are applied to all rows once, instead of to every batch.
      callbacks: In-scan callbacks, in the order in which they are called.
      copies: Orders of its own that each epoch has per row: members of an ensemble see batches of their own.
      later_ties: Whether of equally good epochs the later one is the best.
      precision: "float32"; "mixed", parameters in float32 and layers in bfloat16; or "bfloat16" throughout.
      remat: Whether blocks are computed again on the way back, instead of keeping what they compute.
    """

    network: NetworkSpec
    spec: TableSpec
    n_outputs: int
    loss: Loss
    optimizer: OptimizerStructure
    stages: tuple[Stage, ...] = ()
    batch_size: int = 32
    batch_size_predict: int = 1024
    full_steps: int = 0
    shuffle: bool = True
    drop_last: bool = False
    eval_freq: int = 1
    measures_train: tuple[Measure, ...] = ()
    measures_valid: tuple[Measure, ...] = ()
    validate: bool = False
    keep_best: bool = False
    positive: int = 1
    materialise: bool = True
    callbacks: tuple[InScanCallback, ...] = ()
    copies: int = 1
    later_ties: bool = False
    precision: Precision = "float32"
    remat: bool = False

    def __post_init__(self) -> None:
        for part in (
            self.network,
            self.loss,
            *self.stages,
            *self.measures_train,
            *self.measures_valid,
            *self.callbacks,
        ):
            check_compares(part)

    def __hash__(self) -> int:
        return self._hash

    def __getstate__(self) -> dict[str, Any]:
        # Less what is cached: texts have another hash in another process.
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def _hash(self) -> int:
        # Hashed at every look-up of a compiled function: 16 layers and 300 levels would cost half a millisecond.
        return hash(tuple(getattr(self, f.name) for f in fields(self)))

    @cached_property
    def network_spec(self) -> TableSpec:
        """The columns that the network sees."""
        return out_specs(self.stages, self.spec)[-1]

    @property
    def materialises(self) -> bool:
        """Whether a member's rows go through its stages once; not where a stage treats training rows otherwise."""
        differs = any(getattr(stage, "differs_in_training", False) for stage in self.stages)
        return bool(self.stages) and self.materialise and not differs

    @property
    def is_classif(self) -> bool:
        """Whether targets are class codes."""
        return "classif" in self.loss.task_types

    def build(self, rngs: Any) -> nnx.Module:
        """A network with values from `rngs`."""
        return self.network.build(self.network_spec, self.n_outputs, rngs)

    def transform(self, states: Any, table: Table, *, train: bool) -> Table:
        """Rows after the fitted stages."""
        return apply_chain(self.stages, self.spec, states, table, None, train)

    def forward(
        self,
        params: Any,
        rest: Any,
        x: Table,
        *,
        train: bool,
        weights: Float[Array, "row"] | None = None,
        seed: UInt32[Array, ""] | None = None,
        hyper: Any = None,
        combine: bool = True,
    ) -> tuple[Float[Array, "row ..."], Any]:
        """Outputs for a batch, and what the network keeps beside its parameters (batch statistics).

        Rows of weight 0 are padding: the layers do not see them. Members of an ensemble have outputs of their own
        while it trains, and with `combine=False`.
        """
        values = initial_values(self)
        graph = values.graph_train if train else values.graph_eval
        params, x = computed(self.precision, params), computed(self.precision, x)
        # copy=True: a merge inside a differentiated function must own its variables.
        model = nnx.merge(graph, params, rest, copy=True)
        copies, remat = (self.copies, self.remat) if train else (1, False)
        options: Any = {"copies": copies, "remat": remat, "dtype": compute_type(self.precision)}
        with batch_context(BatchContext(weights=weights, seed=seed, hyper=hyper or {}, **options)):
            output = self.network.forward(model, x)
        output = output if self.precision == "float32" else output.astype(jnp.float32)
        if combine and not train:
            output = self.combined(output, hyper)
        after = nnx.split(model, nnx.Param, ...)[2]
        return output, after if self.precision == "float32" else like(after, rest)

    def combined(self, output: Float[Array, "row ..."], hyper: Any = None) -> Float[Array, "row output"]:
        """Of the members of an ensemble: logits of their mean probabilities, or what the loss makes of their values."""
        if output.ndim == 2:
            return output
        return mean_logits(output) if self.is_classif else self.loss.at(hyper or {}).combined(output)

    def transformation(self, hyper: Any, params: Any) -> optax.GradientTransformation:
        """The Optax transformation with these values of the optimizer's hyperparameters, for these parameters."""
        factors = Factors(self.network.lr_factor, self.network.decay_factor) if self.network.has_factors else None

        def make(params: Any, hyper: Any) -> optax.GradientTransformation:
            del params
            made = self.optimizer.transformation(hyper, factors)
            return keeping_types(made) if self.precision == "bfloat16" else made

        asked = (ask(callback, "groups", params) for callback in self.callbacks)
        labels = next((groups for groups in asked if groups is not None), None)
        if labels is None:
            return make(params, hyper)
        if self.optimizer.averages:
            raise ConfigError(
                f"program: optimizer '{self.optimizer.name}' averages all parameters, and goes with no callback that "
                "freezes some, such as 'unfreeze'.\nHint: another optimizer, or groups with frozen=True."
            )
        return by_group(labels, make, params, hyper)


@lru_cache(maxsize=256)
def initial_values(program: Program) -> InitialValues:
    """Graph definitions of the program's network, and its initial values for any key.

    Raises:
      ConfigError: A network for which this machine has not the memory, a loss that is none, or a parameter group that
        matches nothing.
    """
    check_memory(program)
    program.loss.check(program.n_outputs)
    values = InitialValues(program.build)
    if program.optimizer.groups:
        program.optimizer.check(parameter_names(values.draw(RandomKey((0,)))[0]))
    return values


def step_seed(seed: UInt32[Array, ""], step: Array) -> UInt32[Array, ""]:
    """The random word of one step of one member."""
    return mix(seed ^ mix(step.astype(jnp.uint32) + jnp.uint32(0x9E3779B9)))


def numeric_spec(n_features: int) -> TableSpec:
    """The spec of a plain matrix: float columns x0, x1, ...

    >>> numeric_spec(2).names
    ('x0', 'x1')
    """
    return TableSpec(numeric=tuple(Column(f"x{i}", "float") for i in range(n_features)))


def numeric_table(x: Float[Any, "row feature"]) -> Table:
    """A plain matrix as a `Table`; frames and lists of rows become float32.

    Raises:
      ShapeError: It has not two axes.
      ConfigError: It does not hold numbers.
    """
    x = as_matrix(x)
    xp = namespace(x)
    return Table(numeric=x, codes=xp.zeros((x.shape[0], 0), xp.int32))


def program(
    network: NetworkSpec,
    *,
    n_features: int | None = None,
    spec: TableSpec | None = None,
    n_outputs: int = 1,
    loss: Loss | str = "mse",
    optimizer: Optimizer | str = "adam",
    **options: Any,
) -> Program:
    """A `Program` from names and plain values.

    Args:
      network: Spec of the network.
      n_features: Columns of a plain matrix; or give `spec`.
      spec: Columns of the rows.
      n_outputs: Outputs of the network (one logit for two classes).
      loss: A loss or its name.
      optimizer: An optimizer or its name; only its structure is kept, values go to `draw(hyper=...)`.
      options: Further fields of `Program`; measures may be given by name.

    Raises:
      ConfigError: Neither or both of `n_features` and `spec`, or a size that is no integer above 0.
      UnknownNameError: `options` names no field of `Program`.
    """
    taken = [f.name for f in fields(Program)]
    for name in options:
        if name not in taken:
            raise UnknownNameError.of("option", name, [*taken, "n_features"], owner="program")
    if (n_features is None) == (spec is None):
        raise ConfigError("program: give either n_features (a plain matrix) or spec (a TableSpec).")
    if not isinstance(network, NetworkSpec):
        raise ConfigTypeError(
            f"program: expected the spec of a network, got {shown(network)}.\nHint: jdl.train.MLPSpec(neurons=(64,))."
        )
    if n_features is not None:
        spec = numeric_spec(checked_sizes(n_features=n_features)["n_features"])
    sizes = {name: options[name] for name in ("batch_size", "batch_size_predict", "eval_freq") if name in options}
    options |= checked_sizes(n_outputs=n_outputs, **sizes)
    for name in ("stages", "callbacks"):
        options[name] = tuple(options.get(name, ()))
    options["callbacks"] = by_weight(options["callbacks"])
    for name in ("measures_train", "measures_valid"):
        options[name] = as_measures(options.get(name, ()))
    loss = LOSSES.make(loss) if isinstance(loss, str) else loss
    if not isinstance(loss, Loss) or len(loss.task_types) > 1:
        raise ConfigTypeError(
            f"program: 'loss' must be a loss or its name, got {shown(loss)}.\n"
            "Hint: loss='mse', or jdl.train.FunctionLoss(function, task_type='regr')."
        )
    made = Program(
        network=network,
        spec=spec,  # pyright: ignore[reportArgumentType]
        loss=loss,
        optimizer=as_optimizer(optimizer, "program").structure,
        **options,
    )
    for measure in (*made.measures_train, *made.measures_valid):
        measure.check("classif" if made.is_classif else "regr", 2 if n_outputs == 1 else n_outputs)
    return made
