"""The progress bar: quiet where not shown, one line where it is."""

import copy
import pickle

from jdl.train.progress import Progress


def test_progress_forces_no_chunks_and_is_quiet_where_not_shown(run, plain, assert_same, capfd):
    assert_same(plain, run(Progress(shown=False)))
    assert capfd.readouterr() == ("", "")


def test_progress_draws_one_line_that_ends_full(run, capfd):
    run(Progress("three runs", shown=True), group=2)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("three runs") == 1
    assert "6/6" in err


def test_progress_is_copied_without_the_line_that_it_draws(run, acting, capfd):
    copies = []
    drawn = Progress("first", shown=True)
    run(drawn, acting(on_epoch_end=lambda ctx: copies.append(copy.deepcopy(drawn))))
    capfd.readouterr()
    for copied in (copies[0], pickle.loads(pickle.dumps(drawn))):
        run(copied)
        assert "6/6" in capfd.readouterr().err
