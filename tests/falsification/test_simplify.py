"""What is not needed for a failure goes back to normal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from niwaki.falsification.simplify import simplify
from niwaki.falsification.space import search_space

from .conftest import Field

SPACE = search_space(Field(uses_seed=True))
LOW, HIGH = SPACE.bounds.T


def scenario(a=0.0, b=0.0, c=2.0, seed=0.0):
    return np.array([a, b, 7.0, c, seed])


def simplest(row, fails):
    return simplify(row[None], SPACE, lambda which, rows: fails(rows))[0]


def test_columns_that_are_not_needed_become_nominal():
    row = simplest(scenario(0.83, 123.4, 3.21, 99), lambda rows: rows[:, 0] > 0.5)
    assert np.array_equal(row[1:], scenario()[1:])
    assert 0.5 < row[0] <= 0.83


def test_the_nominal_value_is_taken_inside_the_bounds():
    assert simplest(scenario(c=3.9), lambda rows: rows[:, 3] > 0)[3] == 2.0


def test_distances_are_halved_while_the_failure_stays():
    row = simplest(scenario(b=200.0), lambda rows: rows[:, 1] > 20)
    assert row[1] == 25.0


def test_numbers_are_rounded_where_the_failure_stays():
    assert simplest(scenario(0.83777), lambda rows: rows[:, 0] > 0.5)[0] == 0.84
    assert simplest(scenario(0.83777), lambda rows: (rows[:, 0] > 0.835) & (rows[:, 0] < 0.839))[0] == 0.838
    assert simplest(scenario(0.83777), lambda rows: np.abs(rows[:, 0] - 0.83777) < 1e-5)[0] == 0.83777


def test_two_columns_that_are_needed_together_stay():
    row = simplest(scenario(0.8, 150.0, 3.0, 5), lambda rows: (rows[:, 0] > 0.3) & (rows[:, 1] > 100))
    assert row.tolist() == [0.4, 150.0, 7.0, 2.0, 0.0]


def test_a_seed_is_nominal_or_as_it_was():
    assert simplest(scenario(seed=123_456.0), lambda rows: rows[:, 4] == 123_456)[4] == 123_456
    assert simplest(scenario(seed=123_456.0), lambda rows: rows[:, 4] >= 0)[4] == 0


def test_scenarios_take_their_steps_together_and_each_keeps_its_own_failure():
    batches = []

    def fails(which, rows):
        batches.append(len(rows))
        return np.where(which == 0, rows[:, 0] > 0.5, rows[:, 1] > 100)

    first, second = simplify(np.array([scenario(0.9, 150.0), scenario(0.9, 150.0)]), SPACE, fails)
    assert (first[0] > 0.5, first[1]) == (True, 0.0)
    assert (second[0], second[1] > 100) == (0.0, True)
    assert batches[0] == 2


@pytest.mark.parametrize("tries", range(8))
def test_when_the_budget_ends_what_is_left_still_fails(tries):
    left = tries

    def fails(which, rows):
        nonlocal left
        rows = rows[:left]
        left -= len(rows)
        return rows[:, 0] > 0.5

    rows = simplify(np.array([scenario(0.9, 150.0, 3.0), scenario(0.8, 120.0, 3.5)]), SPACE, fails)
    assert (rows[:, 0] > 0.5).all()
    assert left == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.lists(st.floats(-1, 1), min_size=5, max_size=5))
def test_the_simplest_scenario_fails_lies_within_bounds_and_is_no_farther_from_nominal(place, weights):
    row = LOW + np.array(place) * (HIGH - LOW)
    row[4] = np.floor(row[4])
    unit = (row - SPACE.nominal) / np.maximum(HIGH - LOW, 1e-9)
    limit = float(unit @ weights)

    def fails(rows):
        return ((rows - SPACE.nominal) / np.maximum(HIGH - LOW, 1e-9)) @ weights >= limit

    result = simplest(row, fails)
    assert fails(result[None])[0] or np.array_equal(result, row)
    assert ((result >= LOW) & (result <= HIGH)).all()
    rounding = 0.05 * np.maximum(np.abs(row), np.abs(result))  # two significant digits
    assert (np.abs(result - SPACE.nominal) <= np.abs(row - SPACE.nominal) + rounding).all()
