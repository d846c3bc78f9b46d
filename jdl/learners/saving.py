"""Fitted learners as folders, and back."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from jdl.core.errors import CheckpointError, ConfigTypeError, JdlWarning, shown
from jdl.io.arrays import fill, flatten
from jdl.io.codec import Arrays, Codec, Form, Named
from jdl.io.directory import HEAD, check_path, read_directory, read_head, write_directory
from jdl.io.names import Trust, Trusted
from jdl.io.sklearn_parts import from_bytes, is_sklearn, to_bytes
from jdl.learners.fitted_neural import FittedNeural
from jdl.learners.graph import GraphLearner
from jdl.learners.graph_nodes import ModelPart
from jdl.learners.learner import FittedLearner, Learner
from jdl.learners.neural import NeuralLearner
from jdl.networks.layer import LayerKind
from jdl.networks.layers.named import kind_of, name_of_kind
from jdl.pipeline.stage import StageChain
from jdl.train.optimizer import OptimizerStructure
from jdl.train.precision import kept
from jdl.train.program import initial_values
from jdl.train.runs import RunOutcome

_WHAT = "fitted learner"


def save(fitted: FittedLearner, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Writes a fitted learner to a folder; see `FittedLearner.save`."""
    check_path(path, "save")
    if overwrite:
        _check_is_model(Path(path))
    spec, arrays = CODEC.encode(fitted)
    write_directory(path, {"what": _WHAT, "object": spec}, arrays, overwrite)


def load(path: str | os.PathLike[str], trust: Trusted = ()) -> FittedLearner:
    """The fitted learner that `FittedLearner.save` wrote to a folder. Runs no code from it.

    Args:
      path: The folder.
      trust: What may be looked up although jdl does not know it - own functions, modules, classes, and types inside
        of scikit-learn's estimators: names of modules, or a dict that hands the objects in by name. Modules that are
        named are imported.

    Raises:
      CheckpointError: A file is missing, truncated, altered or too many; the format is newer than this jdl; or it needs
        what is not trusted. Says which.
      MissingPackageError: A part needs a package that is not installed.

    >>> import tempfile, jdl
    >>> task = jdl.tsk("iris")
    >>> fitted = jdl.lrn("classif.featureless", predict_type="prob").train(task)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fitted.save(folder + "/model")
    ...     again = jdl.load(folder + "/model")
    >>> bool((again.predict(task).prob == fitted.predict(task).prob).all())
    True
    """
    folder = check_path(path, "load")
    trusted = Trust.of(trust, bases=(Learner,))
    spec, arrays = read_directory(folder)
    if not isinstance(spec, dict) or spec.get("what") != _WHAT:
        raise CheckpointError(f"{folder}: holds no fitted learner.\nHint: it was not written by fitted.save.")
    try:
        loaded = CODEC.decode(spec.get("object"), arrays, trusted)
        if not isinstance(loaded, FittedLearner):
            raise CheckpointError("its spec describes no fitted learner.")
    except CheckpointError as error:
        raise CheckpointError(f"{Path(folder)}: {error}") from error.__cause__
    return loaded


def _check_is_model(path: Path) -> None:
    """Refuses to replace what jdl has written, but is no model: a checkpoint, for one."""
    if not (path / HEAD).is_file():
        return
    try:
        spec = read_head(path)["spec"]
    except CheckpointError:  # a damaged one
        return
    if not isinstance(spec, dict) or spec.get("what") != _WHAT:
        raise CheckpointError(f"{path}: holds no fitted learner, and is not replaced by one.\nHint: another path.")


# -- how what is no plain dataclass is taken apart


def _take_learner(learner: Learner) -> dict[str, Any]:
    parts = learner.parts()
    if isinstance(learner, GraphLearner):
        nodes = [replace(node, op=_lasting_node(node.op)) for node in parts["graph"]]
        for node in nodes:
            _check_node(node.id, node.op)
        parts["graph"] = replace(parts["graph"], nodes=tuple(nodes))
    elif isinstance(learner, NeuralLearner):
        parts = _lasting(parts)
    own = {"class": Named(type(learner)), "id": learner._id, "predict_type": learner.predict_type}
    return {**own, "stages": learner.stages, "parts": parts}


def _check_node(name: str, op: Any) -> None:
    """Refuses a node that cannot be saved, by its id.

    Raises:
      ConfigTypeError: Says why.
    """
    try:
        CODEC.encode(op)
    except ConfigTypeError as error:
        raise ConfigTypeError(f"save: node '{name}' cannot be saved.\n{error}") from error


def _lasting_node(op: Any) -> Any:
    return replace(op, values=tuple(_lasting(dict(op.values)).items())) if isinstance(op, ModelPart) else op


def _lasting(values: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters less what belongs to one training run: callbacks on the host, and where it went on from.

    What only training needs, and what cannot be saved, is left out too.
    """
    kept = dict(values)
    for name in ("optimizer", "sampler"):
        if name in kept and not CODEC.can_encode(kept[name]):
            _say_left_out(f"{name} {shown(kept.pop(name))}")
    if "callbacks" in kept:
        kept["callbacks"] = tuple(callback for callback in kept["callbacks"] if _kept(callback))
    if "resume" in kept:
        kept["resume"] = None
    return kept


def _kept(callback: Any) -> bool:
    """Whether a callback can be saved; it acts while training only, so that a model is whole without it."""
    if CODEC.can_encode(callback):
        return True
    _say_left_out(f"callback '{callback.id}'")
    return False


def _say_left_out(what: str) -> None:
    warnings.warn(
        f"save: {what} is not saved, for it is or holds what has no importable name. Predictions do not depend on it; "
        "whoever trains the loaded learner again gives it once more.",
        JdlWarning,
        stacklevel=2,
    )


def _make_learner(values: Mapping[str, Any], trust: Trust) -> Learner:
    del trust
    kind = values["class"]
    if not isinstance(kind, type) or not issubclass(kind, Learner):
        raise CheckpointError(f"{kind!r} is no class of learners.")
    made = kind(**values["parts"], id=values["id"], predict_type=values["predict_type"])
    return StageChain(values["stages"]) >> made if values["stages"] else made


def _take_neural(fitted: FittedNeural) -> dict[str, Any]:
    program = fitted.program
    callbacks = tuple(c for c in program.callbacks if CODEC.can_encode(c))
    run = {f.name: getattr(fitted.run, f.name) for f in fields(RunOutcome)}
    # Outputs for test rows are part of a result, not of a model.
    run |= {"params": Arrays(fitted.run.params), "rest": Arrays(fitted.run.rest), "outputs": fitted.run.outputs[:0]}
    program = replace(program, callbacks=callbacks)
    if not CODEC.can_encode(program.optimizer):
        program = replace(program, optimizer=OptimizerStructure("adam"))  # it averages nothing either
    return {**_values(fitted), "program": program, "run": run}


def _make_neural(values: Mapping[str, Any], trust: Trust) -> FittedNeural:
    del trust
    run, program = dict(values["run"]), values["program"]
    params, rest = initial_values(program).shapes()
    params = jax.eval_shape(partial(kept, program.precision), params)
    run["params"] = fill(params, *flatten(run["params"])[:2])
    run["rest"] = fill(rest, *flatten(run["rest"])[:2])
    return FittedNeural(**{**values, "run": RunOutcome(**run)})


def _values(part: Any) -> dict[str, Any]:
    return {f.name: getattr(part, f.name) for f in fields(part)}


def _make_sklearn(values: Mapping[str, Any], trust: Trust) -> Any:
    return from_bytes(values["skops"], trust)


def _take_module(module: nnx.Module) -> dict[str, Any]:
    return {"class": f"{type(module).__module__}:{type(module).__qualname__}"}


def _make_module(values: Mapping[str, Any], trust: Trust) -> nnx.Module:
    name = values["class"]
    module = trust.find(name) if trust.covers(name) else None
    if not isinstance(module, nnx.Module):
        raise CheckpointError(
            f"its network was given as an object of {name}; only its arrays are saved.\nHint: hand such an object in, "
            f"of the same sizes: load(path, trust={{{name!r}: network}})."
        )
    return module


def _make_kind(values: Mapping[str, Any], trust: Trust) -> LayerKind:
    del trust
    return kind_of(values["kind"])


def _take_kind(kind: LayerKind) -> dict[str, Any]:
    name = name_of_kind(kind)
    return {"kind": name if name is not None else Named(kind.target)}


CODEC = Codec(
    [
        Form("learner", lambda part: isinstance(part, Learner), _take_learner, _make_learner),
        Form("network learner", lambda part: isinstance(part, FittedNeural), _take_neural, _make_neural),
        Form("layer", lambda part: isinstance(part, LayerKind), _take_kind, _make_kind),
        Form("network", lambda part: isinstance(part, nnx.Module), _take_module, _make_module),
        Form("sklearn", is_sklearn, lambda part: {"skops": to_bytes(part)}, _make_sklearn),
    ]
)
