"""Windows built by doubling against windows looked at one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from niwaki.specs.windows import sliding, until

LENGTHS = st.integers(1, 20)
BOUNDS = st.tuples(st.integers(0, 25), st.integers(0, 25)).map(sorted)


def at(values, t):
    return values[min(t, len(values) - 1)]


@given(LENGTHS, BOUNDS, st.data())
def test_a_sliding_minimum_is_the_minimum_of_each_window(length, window, data):
    (start, stop), count = window, data.draw(st.integers(1, length))
    values = np.random.default_rng(length).normal(size=(length, 3))
    for choose in (np.minimum, np.maximum):
        expected = [choose.reduce([at(values, u) for u in range(t + start, t + stop + 1)]) for t in range(count)]
        assert np.array_equal(sliding(choose, values, start, stop, count), expected)


@given(LENGTHS, BOUNDS, st.data())
def test_until_is_the_best_moment_at_which_right_follows_an_unbroken_left(length, window, data):
    (start, stop), count = window, data.draw(st.integers(1, length))
    rng = np.random.default_rng(length + 100 * stop)
    left, right = rng.normal(size=(2, length, 3)).round(1)
    expected = [
        np.max(
            [
                np.min([at(right, u), *(at(left, v) for v in range(t, u))], axis=0)
                for u in range(t + start, t + stop + 1)
            ],
            axis=0,
        )
        for t in range(count)
    ]
    assert np.array_equal(until(left, right, start, stop, count), expected)


@pytest.mark.parametrize("stop", [0, 1, 5, 10**9])
def test_what_goes_in_is_left_as_it_was(stop):
    values = np.random.default_rng(0).normal(size=(6, 2))
    before = values.copy()
    sliding(np.minimum, values, 0, stop, 6)
    until(values, values, 0, stop, 6)
    assert np.array_equal(values, before)
