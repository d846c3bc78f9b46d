"""Early stopping, with scores that follow a script and with scores as they come."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdl.measures import MEASURES
from jdl.train.callback import HostCallback, InScanCallback
from jdl.train.optimizer import sgd
from jdl.train.state import Status

N_EPOCHS = 10
NAN = math.nan
STRATEGIES = ("map", "vmap", "loop")
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


@dataclass(frozen=True)
class Scripted(InScanCallback):
    """Puts the next number of the member's script in the place of its validation loss."""

    id: ClassVar[str] = "scripted"

    def on_valid_end(self, memory, event):
        score = event.state.hyper["script"][event.epoch - 1]
        return memory, event.replace(scores={**event.scores, "valid.loss": score})


def expected(script, patience, min_delta, eval_freq, epochs):
    """(epochs trained, best epoch, status), by the rules as one would tell them."""
    best, best_epoch, since = math.inf, 0, 0
    for epoch in range(1, epochs + 1):
        if epoch % eval_freq == 0 or epoch == epochs:
            if script[epoch - 1] < best - min_delta:
                best, best_epoch, since = script[epoch - 1], epoch, 0
            else:
                since += 1
        if epoch == epochs:
            return epoch, best_epoch, Status.COMPLETE
        if 0 < patience <= since:
            return epoch, best_epoch, Status.STOPPED_EARLY
    return 0, 0, Status.COMPLETE


@pytest.fixture(scope="module")
def follow(lab):
    """Trains two members by their scripts; returns what `expected` does."""

    def follow(cases, *, eval_freq=1, strategy="map"):
        program = lab.program(
            "mse",
            neurons=(),
            optimizer=sgd(lr=0.01),
            validate=True,
            keep_best=True,
            eval_freq=eval_freq,
            callbacks=(Scripted(),),
        )
        scripts = [np.array([*c["script"], *[9.0] * N_EPOCHS][:N_EPOCHS], np.float32) for c in cases]
        outcomes = lab.run(
            program,
            lab.folds(1) * len(cases),
            strategy=strategy,
            epochs=[c.get("epochs", N_EPOCHS) for c in cases],
            patience=[c.get("patience", 0) for c in cases],
            min_delta=[c.get("min_delta", 0.0) for c in cases],
            hyper=[lab.hyper(sgd(lr=0.01), script=s) for s in scripts],
            capacity=4,
        )
        return [(o.epochs, o.best_epoch, o.status) for o in outcomes]

    return follow


RULES: dict[str, tuple[dict[str, Any], tuple[int, int, Status]]] = {
    "an improvement must exceed min_delta": (
        {"script": [1, 0.75, 0.5, 0.5], "min_delta": 0.25, "patience": 2},
        (5, 3, Status.STOPPED_EARLY),
    ),
    "small steps do not add up to an improvement of each": (
        {"script": [1, 0.9, 0.8, 0.7, 0.6], "min_delta": 0.25, "patience": 9},
        (10, 4, Status.COMPLETE),
    ),
    "ties keep the earlier epoch": ({"script": [3, 2, 2, 2], "patience": 2}, (4, 2, Status.STOPPED_EARLY)),
    "nan is no improvement and does not switch stopping off": (
        {"script": [3, NAN, 2, NAN, NAN], "patience": 2},
        (5, 3, Status.STOPPED_EARLY),
    ),
    "nothing but nan has no best epoch": ({"script": [NAN] * 10, "patience": 3}, (3, 0, Status.STOPPED_EARLY)),
    "patience 0 never stops": ({"script": [1, *range(2, 11)]}, (10, 1, Status.COMPLETE)),
    "an improvement starts the count anew": (
        {"script": [5, 6, 4, 5, 3, 4, 4], "patience": 2},
        (7, 5, Status.STOPPED_EARLY),
    ),
    "the last epoch is complete even where patience ends": (
        {"script": [1, 2, 3], "patience": 2, "epochs": 3},
        (3, 1, Status.COMPLETE),
    ),
    "minus infinity cannot be beaten": ({"script": [1, -math.inf, -9], "patience": 1}, (3, 2, Status.STOPPED_EARLY)),
}


@every_strategy
def test_rules(follow, strategy):
    cases, wanted = zip(*RULES.values(), strict=True)
    assert dict(zip(RULES, follow(cases, strategy=strategy), strict=True)) == dict(zip(RULES, wanted, strict=True))


EVAL_FREQ_RULES: dict[str, tuple[dict[str, Any], tuple[int, int, Status]]] = {
    # Epochs 3, 6 and 9 are evaluated, and the last.
    "epochs between evaluations do not count": (
        {"script": [0, 0, 5, 0, 0, 6, 0, 0, 7, 0], "patience": 2},
        (9, 3, Status.STOPPED_EARLY),
    ),
    "patience counts evaluations": ({"script": [0, 0, 5, 0, 0, 4, 0, 0, 7], "patience": 2}, (10, 6, Status.COMPLETE)),
    "the last epoch is always evaluated": ({"script": [0, 0, 5, 0, 4], "epochs": 5}, (5, 5, Status.COMPLETE)),
    "the only epoch is evaluated": ({"script": [3], "epochs": 1}, (1, 1, Status.COMPLETE)),
}


@every_strategy
def test_rules_with_rare_evaluation(follow, strategy):
    cases, wanted = zip(*EVAL_FREQ_RULES.values(), strict=True)
    found = follow(cases, eval_freq=3, strategy=strategy)
    assert dict(zip(EVAL_FREQ_RULES, found, strict=True)) == dict(zip(EVAL_FREQ_RULES, wanted, strict=True))


@settings(max_examples=40)
@given(
    scripts=st.lists(
        st.fixed_dictionaries(
            {
                "script": st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0, 2.0, NAN]), min_size=10, max_size=10),
                "patience": st.integers(0, 4),
                "min_delta": st.sampled_from([0.0, 0.25, 1.0]),
                "epochs": st.integers(0, N_EPOCHS),
            }
        ),
        min_size=4,
        max_size=4,
    ),
    eval_freq=st.sampled_from([1, 3]),
)
def test_any_script_ends_as_told(follow, scripts, eval_freq):
    wanted = [expected(c["script"], c["patience"], c["min_delta"], eval_freq, c["epochs"]) for c in scripts]
    assert follow(scripts, eval_freq=eval_freq) == wanted


# -- scores as they come

FAST = sgd(lr=0.8, momentum=0.8)  # so that the validation loss goes up again


@pytest.fixture(scope="module")
def natural(lab):
    return lab.program(norm="batch", dropout=True, optimizer=FAST, validate=True, keep_best=True)


def train(lab, program, strategy, **options):
    folds = lab.folds(4)
    hyper = lab.hyper(FAST, dropout=0.2)
    return lab.run(program, folds, **{"strategy": strategy, "hyper": hyper, "epochs": 12, "capacity": 5, **options})


@every_strategy
def test_history_explains_the_decision(lab, natural, strategy):
    patience = [2, 3, 1, 0]
    outcomes = train(lab, natural, strategy, patience=patience, min_delta=[0.0, 0.0, 0.01, 0.0])
    assert {o.status for o in outcomes} == {Status.COMPLETE, Status.STOPPED_EARLY}
    for o, p, delta in zip(outcomes, patience, (0.0, 0.0, 0.01, 0.0), strict=True):
        losses = [*o.history[:, 1], *[NAN] * 12]
        assert (o.epochs, o.best_epoch, o.status) == expected(losses, p, np.float32(delta), 1, 12)


@every_strategy
def test_best_weights_are_those_of_a_run_that_ends_there(lab, natural, strategy):
    """Batch statistics and outputs too; only the run with validation knows which epoch was the best."""
    long = train(lab, natural, strategy, patience=3)
    assert any(o.best_epoch < o.epochs for o in long)
    short = train(lab, natural, strategy, epochs=[o.best_epoch for o in long])
    for a, b in zip(long, short, strict=True):
        np.testing.assert_array_equal(a.outputs, b.outputs)
        assert all(map(np.array_equal, leaves(a), leaves(b)))


def leaves(outcome):
    return jax.tree.leaves((outcome.params, outcome.rest))


def test_weights_of_the_last_epoch_stay_where_the_best_are_not_kept(lab, natural):
    """The same training, whatever is kept of it, and with no validation at all."""
    rows = lab.folds(2)
    options = {"hyper": lab.hyper(FAST, dropout=0.2), "strategy": "loop"}
    best = lab.run(natural, rows, epochs=12, **options)
    last = lab.run(lab.program(norm="batch", dropout=True, optimizer=FAST, validate=True), rows, epochs=12, **options)
    blind = lab.run(
        lab.program(norm="batch", dropout=True, optimizer=FAST), rows, epochs=[o.best_epoch for o in best], **options
    )
    for kept, went_on, until_there in zip(best, last, blind, strict=True):
        assert kept.best_epoch == went_on.best_epoch < went_on.epochs
        np.testing.assert_array_equal(kept.history, went_on.history)
        assert not np.allclose(kept.outputs, went_on.outputs)
        np.testing.assert_allclose(kept.outputs, until_there.outputs, atol=1e-5)


def test_a_measure_that_is_maximised_chooses_its_first_maximum(lab):
    auc = MEASURES.make("classif.auc")
    program = lab.program(optimizer=FAST, validate=True, keep_best=True, measures_valid=(auc,))
    outcomes = train(lab, program, "map", hyper=lab.hyper(FAST))
    aucs = [o.history[:, 2] for o in outcomes]
    assert [o.best_epoch for o in outcomes] == [int(np.argmax(scores)) + 1 for scores in aucs]
    assert any(np.ptp(scores) > 0 for scores in aucs)


def test_no_chunk_runs_after_the_last_member_has_stopped(lab, natural):
    chunks = []

    class CountChunks(HostCallback):
        forces_chunks = False

        def on_epoch_end(self, ctx):
            chunks.append(ctx.epoch)

    outcomes = train(lab, natural, "map", patience=1, epochs=200, capacity=2, callbacks=[CountChunks()])
    longest = max(o.epochs for o in outcomes)
    assert longest < 150
    assert chunks[-1] == longest
