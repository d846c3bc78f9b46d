"""What is random comes from the key alone, and each purpose has a stream of its own."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jdl.core.random import as_key
from jdl.train import member
from jdl.train.member import MemberRows, draw_orders

ROWS = MemberRows(np.arange(10, 29, dtype=np.int32))


@pytest.fixture(scope="module")
def program(lab):
    return lab.program(norm="batch", dropout=True)


def leaves(member):
    return jax.tree.leaves((member.params, member.rest))


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_same_key_same_result_other_key_other_result(lab, program, assert_same):
    options = {"hyper": lab.hyper(dropout=0.4), "epochs": 2}
    first = lab.run(program, lab.folds(), keys=[1, 2, 3], **options)
    assert_same(first, lab.run(program, lab.folds(), keys=[1, 2, 3], **options))
    other = lab.run(program, lab.folds(), keys=[1, 2, 4], **options)
    assert_same(first[:2], other[:2])
    assert not np.array_equal(first[2].outputs, other[2].outputs)


@given(key=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 12), max_size=4))
def test_an_order_depends_on_key_and_epoch_only(lab, key, cuts):
    program = lab.program()
    whole = draw_orders(program, as_key(key), ROWS, range(12))
    bounds = [0, *sorted(cuts), 12]
    pieces = [draw_orders(program, as_key(key), ROWS, range(a, b)) for a, b in itertools.pairwise(bounds)]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))


@given(key=st.integers(0, 2**32))
def test_each_order_has_every_row_once(lab, key):
    orders = draw_orders(lab.program(), as_key(key), ROWS, range(5))
    np.testing.assert_array_equal(np.sort(orders[:, :19], axis=1), np.tile(ROWS.train, (5, 1)))
    assert len({order.tobytes() for order in orders}) == 5
    assert not np.array_equal(orders, draw_orders(lab.program(), as_key(key + 1), ROWS, range(5)))


def test_repeated_rows_are_taken_as_often_as_they_occur(lab):
    rows = MemberRows(np.array([3, 3, 3, 8], np.int32))
    orders = draw_orders(lab.program(), as_key(0), rows, range(3))
    np.testing.assert_array_equal(np.sort(orders[:, :4], axis=1), np.tile(rows.train, (3, 1)))


def test_without_shuffling_rows_keep_their_order(lab):
    orders = draw_orders(lab.program(shuffle=False), as_key(0), ROWS, range(5))
    assert orders.shape == (1, 24)
    np.testing.assert_array_equal(orders[0, :19], ROWS.train)


def test_every_row_visits_every_position(lab):
    """A uniform permutation: the mean position of each row is the middle."""
    orders = draw_orders(lab.program(), as_key(5), ROWS, range(4000))[:, :19]
    positions = np.argsort(orders, axis=1)
    # The standard error of a mean of 4000 uniform positions among 19 is 0.087.
    assert np.abs(positions.mean(axis=0) - 9).max() < 0.4


def draw(program, key, target, **options):
    """A member with a rate of dropout, which the network may need."""
    return member.draw(program, key, target, **{"hyper": {"dropout": 0.1}, **options})


@pytest.mark.parametrize(
    "changed", [{"epochs": 30}, {"rows": np.arange(30)}, {"patience": 3}, {"hyper": {"a": 1.0, "dropout": 0.3}}]
)
def test_initial_values_and_noise_do_not_depend_on(lab, program, changed):
    one = draw(program, 7, lab.labels, **{"epochs": 3, **changed})
    other = draw(program, 7, lab.labels, epochs=3)
    assert same(leaves(one), leaves(other))
    assert one.seed == other.seed


def test_epochs_and_dropout_leave_orders_alone(lab, program):
    short = draw(program, 7, lab.labels, epochs=3)
    np.testing.assert_array_equal(draw(program, 7, lab.labels, epochs=30).orders[:3], short.orders)
    np.testing.assert_array_equal(draw(lab.program(), 7, lab.labels, epochs=3).orders, short.orders)


def test_dropout_leaves_initial_values_alone(lab):
    with_dropout, without = (draw(lab.program(dropout=d), 7, lab.labels, n_orders=0) for d in (True, False))
    assert same(leaves(with_dropout), leaves(without))


def test_keys_give_other_values_orders_and_noise(lab, program):
    one, other = (draw(program, key, lab.labels, epochs=3) for key in (7, 8))
    assert not same(leaves(one), leaves(other))
    assert not np.array_equal(one.orders, other.orders)
    assert one.seed != other.seed


def test_jax_keys_are_taken(lab, program):
    one, again = (draw(program, jax.random.key(3), lab.labels, epochs=2) for _ in range(2))
    assert same(leaves(one), leaves(again))
    assert not same(leaves(one), leaves(draw(program, jax.random.key(4), lab.labels, epochs=2)))


def test_first_epochs_of_a_longer_run_are_the_shorter_run(lab, program):
    options = {"hyper": lab.hyper(dropout=0.4), "strategy": "loop"}
    short = lab.run(program, lab.folds(), epochs=2, **options)
    long = lab.run(program, lab.folds(), epochs=9, **options)
    for a, b in zip(short, long, strict=True):
        np.testing.assert_array_equal(a.history, b.history[:2])


def test_dropout_rates_of_members_are_their_own(lab, program):
    folds = lab.folds(1) * 2
    rates = [lab.hyper(dropout=rate) for rate in (0.0, 0.5)]
    plain, dropped = lab.run(program, folds, keys=[1, 1], hyper=rates, epochs=1)
    without = lab.run(lab.program(norm="batch"), folds, keys=[1, 1], epochs=1)[0]
    np.testing.assert_allclose(plain.outputs, without.outputs, atol=1e-5)
    assert not np.allclose(dropped.outputs, without.outputs, atol=1e-3)
