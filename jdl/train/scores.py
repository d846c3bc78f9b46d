"""Scores inside training: the jnp forms of measures on outputs of the network."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jdl.measures.measure import Measure, NumberMeasure
from jdl.train.loss import probabilities
from jdl.train.member import Member
from jdl.train.program import Program


def scores_of(
    program: Program,
    measures: tuple[Measure, ...],
    member: Member,
    rows: Int[Array, "row"],
    outputs: Float[Array, "row output"],
    weights: Float[Array, "row"],
    hyper: Any,
) -> dict[str, Array]:
    """Score by measure id for outputs of the rows at these positions; weight 0 is padding.

    Regression is scored in units of the target, but about the training mean where the measure allows it: adding a
    large mean back costs float32 its digits.
    """
    if not measures:
        return {}
    target = jnp.asarray(member.target)[rows]
    if program.is_classif:
        output: Any = probabilities(outputs)
    else:
        sd = jnp.asarray(member.target_scale)[1]
        target, output = target * sd, program.loss.at(hyper).response(outputs) * sd
    scores = {}
    for measure in measures:
        pair = (target, output)
        if isinstance(measure, NumberMeasure) and not measure.shift_invariant:
            mean = jnp.asarray(member.target_scale)[0]
            pair = (target + mean, output + mean)
        scores[measure.id] = jnp.asarray(measure.compute(*pair, weights, positive=program.positive), jnp.float32)
    return scores


def monitored(program: Program, scores: Mapping[str, Any]) -> Array:
    """The score that decides about the best epoch and stopping, signed so that less is better.

    The first validation measure, or the validation loss where there is none.
    """
    if not program.measures_valid:
        return scores["valid.loss"]
    measure = program.measures_valid[0]
    score = scores[f"valid.{measure.id}"]
    return score if measure.minimize else -score
