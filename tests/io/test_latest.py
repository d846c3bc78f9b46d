"""The background worker: the newest value wins, nothing is lost, errors reach the caller."""

import threading

import pytest

from jdl.io.latest import LatestWins


def test_values_that_are_overtaken_are_dropped_and_the_newest_is_not():
    begun, go, seen = threading.Event(), threading.Event(), []

    def work(value):
        begun.set()
        assert go.wait(timeout=30)
        seen.append(value)

    worker = LatestWins(work)
    worker.give(1)
    assert begun.wait(timeout=30)
    worker.give(2)
    worker.give(3)
    go.set()
    worker.finish()
    assert seen == [1, 3]


def test_an_error_is_raised_once_and_work_goes_on():
    seen = []

    def work(value):
        if value == "bad":
            raise ValueError("bad")
        seen.append(value)

    worker = LatestWins(work)
    worker.give("bad")
    with pytest.raises(ValueError, match="bad"):
        worker.finish()
    worker.give("good")
    worker.finish()
    assert seen == ["good"]


def test_finish_without_work_returns():
    LatestWins(print).finish()
