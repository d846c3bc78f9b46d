"""Callbacks from functions: which kind they become, and what is refused."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jdl
from jdl.core.errors import CallbackError, ConfigError
from jdl.train.optimizer import sgd

SGD = sgd(lr=0.1)


def clipped(event):
    return event.replace(grads=jax.tree.map(lambda g: jnp.clip(g, -1e-3, 1e-3), event.grads))


def test_the_gradient_clipper_of_the_paper_in_both_kinds(lab, assert_close):
    """In the scan and on the host they clip alike."""

    def on_host(ctx):
        ctx.grads = optax.tree.clip(ctx.grads, -1e-3, 1e-3)

    in_scan, host = jdl.callback(on_after_backward=clipped), jdl.callback(on_after_backward=on_host)
    assert isinstance(in_scan, jdl.InScanCallback) and isinstance(host, jdl.HostCallback)
    program = lab.program("mse", optimizer=SGD)
    options = {"hyper": lab.hyper(SGD), "epochs": 2}
    free = lab.run(program, lab.folds(1), **options)
    ours = lab.run(lab.program("mse", optimizer=SGD, callbacks=(in_scan,)), lab.folds(1), **options)
    assert_close(ours, lab.run(program, lab.folds(1), callbacks=[host], **options), 1e-6)
    assert not np.allclose(ours[0].outputs, free[0].outputs, atol=1e-3)


def test_a_memory_is_kept_from_stage_to_stage(lab):
    """Counts the steps, and stops after the fifth: within the first epoch of six."""

    def count(memory, event):
        return memory + 1, event.replace(stop=event.stop | (memory + 1 >= 5))

    counter = jdl.callback(init=lambda state: jnp.zeros((), jnp.int32), on_batch_end=count)
    program = lab.program("mse", optimizer=SGD, callbacks=(counter,))
    (outcome,) = lab.run(program, lab.folds(1), epochs=3, hyper=lab.hyper(SGD))
    assert outcome.epochs == 1


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({}, "give at least one stage"),
        ({"on_epoch_ned": print}, "Unknown stage 'on_epoch_ned'.*Did you mean 'on_epoch_end'"),
        ({"on_epoch_end": 1}, "must be a function, got 1"),
        ({"on_epoch_end": lambda ctx: None, "on_begin": lambda event: event}, "are of both kinds"),
        ({"on_epoch_end": lambda a, b, c: None}, "takes 3 arguments"),
        ({"on_epoch_end": lambda ctx: None, "init": lambda state: 0}, "'init' is for in-scan callbacks"),
    ],
)
def test_what_makes_no_callback_is_refused(arguments, match):
    with pytest.raises(ConfigError, match=match):
        jdl.callback(**arguments)


@pytest.mark.parametrize("function", [lambda event: None, lambda memory, event: event], ids=["event", "memory"])
def test_a_function_that_returns_no_event_is_named(lab, function):
    program = lab.program("mse", optimizer=SGD, callbacks=(jdl.callback(id="mine", on_batch_end=function),))
    with pytest.raises(ConfigError, match="'mine': the function of 'on_batch_end' must return"):
        lab.run(program, lab.folds(1), epochs=1, hyper=lab.hyper(SGD))


def raising(event):
    raise KeyError("no such thing")


BAD_STAGES = {
    "raises": ({"on_epoch_begin": raising}, "'on_epoch_begin', failed: KeyError: 'no such thing'"),
    "branches": (
        {"on_epoch_end": lambda event: event.replace(stop=True) if event.loss > 0 else event},
        r"'on_epoch_end', failed: TracerBoolConversionError: .*\n.*jnp\.where",
    ),
    "type of memory": (
        {"on_batch_end": lambda memory, event: (memory + 0.5, event), "init": lambda state: 0},
        r"'on_batch_end', changed its memory: it was int32\[\], is float32\[\]",
    ),
    "shape of memory": (
        {"on_epoch_end": lambda m, event: ({"a": m["a"][:1]}, event), "init": lambda state: {"a": jnp.zeros(2)}},
        r"'on_epoch_end', changed its memory: a was float32\[2\], is float32\[1\]",
    ),
    "structure of memory": (
        {"on_epoch_end": lambda m, event: ({**m, "b": 1}, event), "init": lambda state: {"a": jnp.zeros(2)}},
        r"'on_epoch_end', changed its memory: .*\(gained b\)",
    ),
    "gradients": (
        {"on_after_backward": lambda event: event.replace(grads={"head": 1.0})},
        r"'on_after_backward', changed the gradients: .*gained head",
    ),
    "parameters": (
        {
            "on_batch_end": lambda event: event.replace(
                state=replace(event.state, params=jax.tree.map(lambda p: p.astype(jnp.float16), event.state.params))
            )
        },
        r"'on_batch_end', changed the parameters: blocks\.0\.linear\.bias was float32\[6\], is float16",
    ),
}


@pytest.mark.parametrize("case", list(BAD_STAGES))
def test_what_goes_wrong_while_it_is_traced_names_callback_and_stage(lab, case):
    stages, match = BAD_STAGES[case]
    program = lab.program("mse", optimizer=SGD, callbacks=(jdl.callback(id="mine", **stages),))
    with pytest.raises(CallbackError, match=f"callback 'mine', stage {match}") as caught:
        lab.run(program, lab.folds(1), epochs=2, hyper=lab.hyper(SGD))
    if case == "raises":
        assert isinstance(caught.value.__cause__, KeyError)


def test_a_class_that_returns_no_event_is_named(lab):
    @dataclass(frozen=True)
    class Forgetful(jdl.InScanCallback):
        id: ClassVar[str] = "forgetful"

        def on_epoch_end(self, memory, event) -> Any:
            return event

    program = lab.program("mse", optimizer=SGD, callbacks=(Forgetful(),))
    with pytest.raises(CallbackError, match="'forgetful', stage 'on_epoch_end', must return the memory and the event"):
        lab.run(program, lab.folds(1), epochs=1, hyper=lab.hyper(SGD))


def test_the_kind_may_be_said():
    assert isinstance(jdl.callback(kind="in_scan", on_begin=lambda ctx: ctx), jdl.InScanCallback)
    assert isinstance(jdl.callback(kind="host", on_begin=lambda event: None), jdl.HostCallback)
