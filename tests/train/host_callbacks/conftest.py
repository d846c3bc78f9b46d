"""Host callbacks made of functions, and three runs of different lengths that they watch."""

from typing import Any

import pytest

from jdl.train.callback import HostCallback
from jdl.train.optimizer import sgd

SGD = sgd(lr=0.1)
EPOCHS = [3, 1, 2]


@pytest.fixture(scope="session")
def recorder():
    """Makes host callbacks that note their calls."""

    def recorder(*stages) -> Any:
        """A host callback that acts at these stages and notes stage, epoch and step of each call."""

        def noting(stage):
            def note(self, ctx):
                self.calls.append((stage, ctx.epoch, ctx.step))

            return note

        made: Any = type("Recorder", (HostCallback,), {"id": "recorder"} | {stage: noting(stage) for stage in stages})()
        made.calls = []
        return made

    return recorder


@pytest.fixture(scope="session")
def acting():
    """Makes host callbacks of functions by stage."""

    def acting(id: Any = "acting", **stages: Any):
        """A host callback of these functions."""
        return type("Acting", (HostCallback,), {"id": id} | {s: staticmethod(f) for s, f in stages.items()})()

    return acting


@pytest.fixture(scope="session")
def changing(acting):
    """Makes host callbacks of functions that do, or do not, take chunks as they come."""

    def changing(quiet, **stages):
        made: Any = acting(**stages)
        made.forces_chunks = not quiet
        return made

    return changing


@pytest.fixture(scope="session")
def program(lab):
    return lab.program("mse", optimizer=SGD, validate=True, keep_best=True, norm="batch", measures=True)


@pytest.fixture(scope="session")
def run(lab, program):
    def run(*callbacks, **options):
        options = {"epochs": EPOCHS, "hyper": lab.hyper(SGD), **options}
        return lab.run(options.pop("program", program), lab.folds(), callbacks=callbacks, **options)

    return run


@pytest.fixture(scope="session")
def plain(run):
    return run()
