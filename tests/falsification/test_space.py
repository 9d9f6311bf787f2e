"""What a search may vary, and how far scenarios are from each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from niwaki.falsification.space import search_space
from niwaki.tasks import load_task
from niwaki.types import NiwakiError

from .conftest import Field, column

CUBE = np.random.default_rng(0).random((500, 4))


def test_scenarios_lie_within_the_search_bounds_and_fill_them(simulator):
    space = search_space(Field(uses_seed=True))
    rows = space.scenarios(CUBE)
    low, high = simulator.bounds.T
    assert ((rows >= low) & (rows <= high)).all()
    assert (rows[:, 2] == 7).all()
    assert np.ptp(rows[:, 1]) > 190
    corners = space.scenarios(np.array([[0.0] * 4, [1.0] * 4]))
    assert np.array_equal(corners, [low, high])


def test_whole_number_columns_are_whole_and_equally_likely():
    column_of_three = replace(column("n", 1.0, 3.0), integer=True)
    space = search_space(Field(columns=(column("a", 0.0, 1.0), column_of_three, *Field().columns[-1:])))
    values, counts = np.unique(space.scenarios(np.random.default_rng(0).random((3000, 2)))[:, 1], return_counts=True)
    assert values.tolist() == [1, 2, 3]
    assert counts.min() > 900


def test_a_seed_that_a_lockstep_simulator_does_not_use_is_not_searched():
    assert search_space(Field(uses_seed=True)).varying.tolist() == [0, 1, 3, 4]
    assert search_space(Field()).varying.tolist() == [0, 1, 3]
    assert search_space(load_task("cartpole").simulator).varying.tolist() == [0, 1, 2, 3]


def test_the_seed_of_an_engine_is_always_searched():
    pytest.importorskip("gymnasium")
    space = search_space(load_task("CartPole-v1").simulator)
    assert space.varying.tolist() == [0]
    assert space.categorical.tolist() == [True]


def test_nothing_to_search_is_said():
    with pytest.raises(NiwakiError, match="Field has no column to vary"):
        search_space(Field(columns=Field().columns[2:3]))


def test_distances_are_fractions_of_ranges_and_another_seed_is_another_scenario():
    space = search_space(Field(uses_seed=True))
    here = np.array([0.0, 100.0, 7.0, 2.0, 5.0])
    others = here + np.array([[0, 0, 0, 0, 0], [1, 20, 0, 0, 0], [0, 20, 0, 0, 0], [0, 0, 0, 0.5, 1]])
    assert np.allclose(space.distances(here, others), [0, 0.5, 0.1, 1.25])


def test_the_most_distinct_scenarios_begin_with_the_first_and_leave_out_the_nearly_same():
    space = search_space(Field())
    rows = np.tile(space.nominal, (5, 1))
    rows[:, 0] = (0.0, 0.001, 0.9, -0.4, 0.9)
    assert space.most_distinct(rows, at_most=9, apart=0.02)[:, 0].tolist() == [0.0, 0.9, -0.4]
    assert space.most_distinct(rows, at_most=2, apart=0.02)[:, 0].tolist() == [0.0, 0.9]
    assert len(space.most_distinct(rows[:0], at_most=2, apart=0.02)) == 0
