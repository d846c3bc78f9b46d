"""Schedules that PyTorch has, with its values at every epoch or step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp

from jdl.core.fields import REQUIRED, Field
from jdl.train.callback import Event
from jdl.train.callbacks.curves import half_cosine
from jdl.train.callbacks.schedule import OF, Schedule, by, count, number, traced
from jdl.train.hyper_names import slots_of, with_value

_BY = {"by": by("epoch"), "of": OF}


@dataclass(frozen=True)
class CosineAnnealing(Schedule):
    """From the value at the start down to `eta_min` along half a cosine wave, and on as a wave.

    References: Loshchilov & Hutter, SGDR, 2017.

    >>> CosineAnnealing(T_max=20, of="weight_decay").id
    'lr_cosine_annealing_weight_decay'
    """

    name: ClassVar[str] = "lr_cosine_annealing"
    fields: ClassVar[dict[str, Field]] = {
        "T_max": count(None, "Epochs or steps of the way down; None: the whole run's."),
        "eta_min": number(0.0, "The least value."),
    } | _BY

    T_max: Any = None
    eta_min: Any = 0.0

    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after `t` epochs or steps."""
        low = self.value("eta_min", event.state)
        return low + (start - low) * half_cosine(t / self.length("T_max", event))


@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """Down along half a cosine wave again and again, each time from the value at the start.

    References: Loshchilov & Hutter, SGDR, 2017.

    >>> CosineRestarts(T_0=5).id
    'lr_cosine_restarts'
    """

    name: ClassVar[str] = "lr_cosine_restarts"
    fields: ClassVar[dict[str, Field]] = {
        "T_0": Field("int", REQUIRED, low=1, dynamic=True, doc="Epochs or steps before the first restart."),
        "T_mult": Field("int", 1, low=1, dynamic=True, doc="How many times as long each way is as the one before."),
        "eta_min": number(0.0, "The least value."),
    } | _BY

    T_0: Any = REQUIRED
    T_mult: Any = 1
    eta_min: Any = 0.0

    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after `t` epochs or steps."""
        first, times, low = (jnp.asarray(self.value(n, event.state), t.dtype) for n in ("T_0", "T_mult", "eta_min"))
        longer = jnp.where(times > 1, times, 2.0)

        def begin(restart: Any) -> Any:
            # Whole numbers, which a power computed by logarithms may miss by its rounding.
            return jnp.round(first * (jnp.round(longer**restart) - 1.0) / (longer - 1.0))

        restart = jnp.floor(jnp.log(t / first * (longer - 1.0) + 1.0) / jnp.log(longer))
        restart = jnp.where(begin(restart + 1.0) <= t, restart + 1.0, restart)
        restart = jnp.where(begin(restart) > t, restart - 1.0, restart)
        since = jnp.where(times > 1, t - begin(restart), jnp.mod(t, first))
        length = jnp.where(times > 1, jnp.round(first * longer**restart), first)
        return low + (start - low) * half_cosine(since / length)


@dataclass(frozen=True)
class Step(Schedule):
    """Times `gamma` every `step_size` epochs or steps.

    >>> Step(step_size=10).gamma
    0.1
    """

    name: ClassVar[str] = "lr_step"
    fields: ClassVar[dict[str, Field]] = {
        "step_size": Field("int", REQUIRED, low=1, dynamic=True, doc="Epochs or steps between two changes."),
        "gamma": number(0.1, "What the value is multiplied with."),
    } | _BY

    step_size: Any = REQUIRED
    gamma: Any = 0.1

    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after `t` epochs or steps."""
        times = jnp.floor(t / self.value("step_size", event.state))
        return start * jnp.power(jnp.asarray(self.value("gamma", event.state), t.dtype), times)


@dataclass(frozen=True)
class Exponential(Schedule):
    """Times `gamma` at every epoch or step.

    >>> Exponential(gamma=0.95).id
    'lr_exponential'
    """

    name: ClassVar[str] = "lr_exponential"
    fields: ClassVar[dict[str, Field]] = {"gamma": number(REQUIRED, "What the value is multiplied with.")} | _BY

    gamma: Any = REQUIRED

    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after `t` epochs or steps."""
        return start * jnp.power(jnp.asarray(self.value("gamma", event.state), t.dtype), t)


@dataclass(frozen=True)
class Linear(Schedule):
    """From one factor of the value at the start to another along a line.

    >>> Linear(start_factor=1.0, end_factor=0.0, total_iters=None).id
    'lr_linear'
    """

    name: ClassVar[str] = "lr_linear"
    fields: ClassVar[dict[str, Field]] = {
        "start_factor": number(1 / 3, "Factor in the beginning."),
        "end_factor": number(1.0, "Factor in the end."),
        "total_iters": Field(
            "float", 5.0, low=1, optional=True, dynamic=True, doc="Epochs or steps of the way; None: the whole run's."
        ),
    } | _BY

    start_factor: Any = 1 / 3
    end_factor: Any = 1.0
    total_iters: Any = 5.0

    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after `t` epochs or steps."""
        first, last = self.value("start_factor", event.state), self.value("end_factor", event.state)
        share = jnp.minimum(t / self.length("total_iters", event), 1.0)
        return start * (first + (last - first) * share)


@dataclass(frozen=True)
class Polynomial(Schedule):
    """Down to 0 along a power of the share that is left.

    >>> Polynomial(power=2.0).id
    'lr_polynomial'
    """

    name: ClassVar[str] = "lr_polynomial"
    fields: ClassVar[dict[str, Field]] = {
        "total_iters": Field(
            "float", 5.0, low=1, optional=True, dynamic=True, doc="Epochs or steps of the way; None: the whole run's."
        ),
        "power": number(1.0, "Of the share that is left."),
    } | _BY

    total_iters: Any = 5.0
    power: Any = 1.0

    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after `t` epochs or steps."""
        left = 1.0 - jnp.minimum(t / self.length("total_iters", event), 1.0)
        return start * jnp.power(left, jnp.asarray(self.value("power", event.state), t.dtype))


@dataclass(frozen=True)
class Lambda(Schedule):
    """The value at the start times a function of the number of epochs or steps done.

    The function is compiled: it computes with `jax.numpy` on a traced number.

    >>> Lambda(lambda epoch: 0.95**epoch).id
    'lr_lambda'
    """

    name: ClassVar[str] = "lr_lambda"
    fields: ClassVar[dict[str, Field]] = {
        "lr_lambda": Field(doc="A function of the epochs or steps done, such as `lambda epoch: 0.95**epoch`.")
    } | _BY

    lr_lambda: Callable[[Any], Any] | Any = REQUIRED

    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after `t` epochs or steps."""
        del event
        return start * traced(f"callback '{self.id}'", self.lr_lambda, t.astype(jnp.int32))


@dataclass(frozen=True)
class Multiplicative(Schedule):
    """The value before times a function of the number of epochs or steps done.

    The function is compiled: it computes with `jax.numpy` on a traced number.

    >>> Multiplicative(lambda epoch: 0.95).id
    'lr_multiplicative'
    """

    name: ClassVar[str] = "lr_multiplicative"
    fields: ClassVar[dict[str, Field]] = {
        "lr_lambda": Field(doc="A function of the epochs or steps done, such as `lambda epoch: 0.95`.")
    } | _BY

    lr_lambda: Callable[[Any], Any] | Any = REQUIRED

    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after `t` epochs or steps, from the one before."""
        slots = slots_of(event.state.hyper, self.of, self.id)
        now = slots[0].read(event.state.hyper)
        factor = traced(f"callback '{self.id}'", self.lr_lambda, t.astype(jnp.int32))
        return jnp.where(t > 0, now * factor, start)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to `max_lr` and down to almost nothing within the run, and momentum the other way round.

    It counts steps. Momentum is that of the optimizer, or the first beta of Adam.

    References: Smith & Topin, Super-Convergence, 2018.

    >>> OneCycle(max_lr=0.1).stages
    ('on_batch_begin',)
    """

    name: ClassVar[str] = "lr_one_cycle"
    fields: ClassVar[dict[str, Field]] = {
        "max_lr": Field(
            "float", None, low=0.0, optional=True, dynamic=True, doc="The highest value; None: the optimizer's own."
        ),
        "pct_start": Field("float", 0.3, low=0.0, high=1.0, dynamic=True, doc="Share of the run that goes up."),
        "anneal_strategy": Field("str", "cos", choices=("cos", "linear"), doc="Form of the ways."),
        "cycle_momentum": Field("bool", True, doc="Whether momentum goes the other way round."),
        "base_momentum": Field("float", 0.85, low=0.0, high=1.0, dynamic=True, doc="Least momentum."),
        "max_momentum": Field("float", 0.95, low=0.0, high=1.0, dynamic=True, doc="Momentum at both ends."),
        "div_factor": Field(
            "float", 25.0, low=0.0, open_low=True, dynamic=True, doc="How many times less the first value is."
        ),
        "final_div_factor": Field(
            "float", 1e4, low=0.0, open_low=True, dynamic=True, doc="How many times less than the first the last is."
        ),
        "three_phase": Field("bool", False, doc="Whether the way down stops at the first value for a third phase."),
        "of": OF,
    }

    max_lr: Any = None
    pct_start: Any = 0.3
    anneal_strategy: str = "cos"
    cycle_momentum: bool = True
    base_momentum: Any = 0.85
    max_momentum: Any = 0.95
    div_factor: Any = 25.0
    final_div_factor: Any = 1e4
    three_phase: bool = False

    @property
    def stages(self) -> tuple[str, ...]:
        """Every step."""
        return ("on_batch_begin",)

    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after `t` steps."""
        value = {n: jnp.asarray(self.value(n, event.state), t.dtype) for n in ("div_factor", "final_div_factor")}
        given = self.value("max_lr", event.state)
        high = start if given is None else jnp.asarray(given, t.dtype)
        first = high / value["div_factor"]
        last = first / value["final_div_factor"]
        return self._along(t, event, (first, high, first, last) if self.three_phase else (first, high, last))

    def _along(self, t: Any, event: Event, points: tuple[Any, ...]) -> Any:
        """Where a way from point to point has come after `t` steps."""
        total = jnp.asarray(event.total_steps, t.dtype)
        share = jnp.asarray(self.value("pct_start", event.state), t.dtype)
        ends = [share * total - 1.0, *([2.0 * share * total - 2.0] if self.three_phase else []), total - 1.0]
        begins = [jnp.zeros_like(total), *ends[:-1]]
        value = points[-1]
        for i in reversed(range(len(ends))):
            done = (t - begins[i]) / jnp.where(ends[i] == begins[i], 1.0, ends[i] - begins[i])
            way = 1.0 - half_cosine(done) if self.anneal_strategy == "cos" else done
            here = points[i] + (points[i + 1] - points[i]) * way
            value = here if i == len(ends) - 1 else jnp.where(t <= ends[i], here, value)
        return value

    def on_batch_begin(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Sets value and momentum for the step."""
        memory, event = super().on_batch_begin(memory, event)
        if not self.cycle_momentum:
            return memory, event
        slots = slots_of(event.state.hyper, "momentum", f"the run, which callback '{self.id}' wants to cycle")
        dtype = memory["start"].dtype
        low, high = (jnp.asarray(self.value(n, event.state), dtype) for n in ("base_momentum", "max_momentum"))
        points = (high, low, high, high) if self.three_phase else (high, low, high)
        momentum = self._along(jnp.asarray(event.state.step, dtype), event, points)
        return memory, event.replace(state=with_value(event.state, slots, momentum))


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """Times `factor` where the score of the validation rows has not improved for more than `patience` evaluations.

    The score is the one that early stopping goes by, and which way is better follows from its measure.

    >>> ReduceOnPlateau(patience=3).needs_validation
    True
    """

    name: ClassVar[str] = "lr_reduce_on_plateau"
    needs_validation: ClassVar[bool] = True
    fields: ClassVar[dict[str, Field]] = {
        "mode": Field("str", "auto", choices=("auto", "min", "max"), doc="Which way is better; auto: as the measure."),
        "factor": Field("float", 0.1, low=0.0, high=1.0, dynamic=True, doc="What the value is multiplied with."),
        "patience": Field("int", 10, low=0, dynamic=True, doc="Evaluations without improvement that are borne."),
        "threshold": number(1e-4, "Improvements below do not count."),
        "threshold_mode": Field(
            "str", "rel", choices=("rel", "abs"), doc="Whether the threshold is a share of the best score."
        ),
        "cooldown": Field("int", 0, low=0, dynamic=True, doc="Evaluations after a change that are not counted."),
        "min_lr": number(0.0, "The least value."),
        "eps": number(1e-8, "Changes by less are not made."),
        "of": OF,
    }

    mode: str = "auto"
    factor: Any = 0.1
    patience: Any = 10
    threshold: Any = 1e-4
    threshold_mode: str = "rel"
    cooldown: Any = 0
    min_lr: Any = 0.0
    eps: Any = 1e-8

    @property
    def stages(self) -> tuple[str, ...]:
        """After each evaluation."""
        return ("on_valid_end",)

    def init(self, state: Any) -> Any:
        """The best score so far, evaluations without improvement, and those left to cool down."""
        dtype = super().init(state)["start"].dtype
        count = jnp.zeros((), jnp.int32)
        return {"best": jnp.asarray(jnp.nan, dtype), "bad": count, "cooling": count}

    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after a reduction."""
        del t
        return jnp.maximum(start * self.value("factor", event.state), self.value("min_lr", event.state))

    def on_valid_end(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Counts, and reduces where it is time to."""
        best, state = memory["best"], event.state
        score = jnp.asarray(event.score, best.dtype)
        better = self._better(score, best, event) | (jnp.isnan(best) & ~jnp.isnan(score))
        bad = jnp.where(better, 0, memory["bad"] + 1)
        cooling = memory["cooling"]
        bad = jnp.where(cooling > 0, 0, bad)
        cooling = jnp.maximum(cooling - 1, 0)
        due = bad > self.value("patience", state)
        slots = slots_of(state.hyper, self.of, self.id)
        old = slots[0].read(state.hyper)
        new = self.at(old, None, event)
        new = jnp.where(due & (old - new > self.value("eps", state)), new, old)
        memory = {
            "best": jnp.where(better, score, best),
            "bad": jnp.where(due, 0, bad),
            "cooling": jnp.where(due, jnp.asarray(self.value("cooldown", state), jnp.int32), cooling),
        }
        return memory, event.replace(state=with_value(state, slots, new))

    def _better(self, score: Any, best: Any, event: Event) -> Any:
        threshold = self.value("threshold", event.state)
        less = event.minimize if self.mode == "auto" else self.mode == "min"
        if self.threshold_mode == "rel":
            return score < best * (1.0 - threshold) if less else score > best * (1.0 + threshold)
        return score < best - threshold if less else score > best + threshold
