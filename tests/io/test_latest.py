"""The background worker: the newest value wins, nothing is lost, errors reach the caller."""

import threading
import time

import pytest

from jdl.io.latest import LONGEST_REST, LatestWins


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


def test_drop_waits_for_what_is_worked_on_and_forgets_the_rest():
    begun, go, seen = threading.Event(), threading.Event(), []

    def work(value):
        begun.set()
        assert go.wait(timeout=30)
        seen.append(value)
        raise ValueError(value)

    worker = LatestWins(work)
    worker.give(1)
    assert begun.wait(timeout=30)
    worker.give(2)
    threading.Timer(0.1, go.set).start()
    worker.drop()
    assert seen == [1] and worker.idle
    worker.finish()


def test_an_interrupt_while_waiting_leaves_it_as_it_was(monkeypatch):
    go, seen = threading.Event(), []
    worker = LatestWins(lambda value: (go.wait(timeout=30), seen.append(value)))
    worker.give(1)

    def interrupted():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(worker._condition, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            worker.finish()
    assert not worker._finishing
    go.set()
    worker.finish()
    assert seen == [1]


def test_between_two_calls_it_rests_but_not_when_it_is_to_finish():
    begun, seen = threading.Event(), []

    def work(value):
        seen.append(value)
        time.sleep(0.05)
        begun.set()

    worker = LatestWins(work, rest=1e6)  # as long as can be: ten seconds
    assert worker.idle
    worker.give(1)
    assert begun.wait(timeout=30)
    worker.give(2)
    worker.give(3)
    time.sleep(0.2)
    assert seen == [1] and not worker.idle
    start = time.monotonic()
    worker.finish()
    assert seen == [1, 3] and worker.idle
    assert time.monotonic() - start < LONGEST_REST / 2
