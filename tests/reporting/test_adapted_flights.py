"""The pictures' flights: what is drawn is what flew, and the contour is where the ratio ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import FixedRatio, GaussianShift, Odometer
from niwaki.adaptation.ratio import log_max_ratio
from niwaki.policies.gaussian import Gaussian
from niwaki.policies.noise import episode_keys, normals
from niwaki.policies.sampled import sampled
from niwaki.reporting.adapted_flights import fly_paths, moments, region_of, scenarios
from niwaki.rollout import rollout

BUDGETS = [
    FixedRatio(0.01, 30, 0.1),
    Odometer.within(0.1, risk=0.01),
    GaussianShift.within(0.1, risk=0.01, horizon=30),
]
NARROW, MEAN = st.floats(0.1, 0.99), st.floats(-3, 3)


@settings(deadline=None)
@given(st.lists(st.tuples(NARROW, MEAN), min_size=2, max_size=2), st.floats(0.0, 6.3), st.floats(0.0, 2.0))
def test_on_the_contour_the_largest_ratio_is_the_allowed_one(parts, angle, spare):
    std, mean = np.array(parts).T
    near = Gaussian(mean[None], np.array([[1.3, 0.4]]))
    chosen = Gaussian(mean[None], near.std * std)
    limit = float(-np.log(std).sum()) + spare
    region = region_of(FixedRatio(0.01, 30, limit), 3, np.zeros(1), chosen, near)
    there = near.mean + region * [np.cos(angle), np.sin(angle)]
    found = log_max_ratio(there, chosen.std, near.mean, near.std)
    assert found[0] == pytest.approx(limit, rel=1e-6, abs=1e-9)


def test_of_a_shift_the_region_is_its_length_in_the_bases_deviations_and_nothing_beyond_the_horizon():
    near = Gaussian(np.zeros((1, 2)), np.array([[2.0, 0.5]]))
    budget = GaussianShift(0.01, 4, shift=2.0)
    assert region_of(budget, 0, budget.begin(1), near, near).tolist() == [[2.0, 0.5]]  # a quarter of M^2, its root 1
    assert region_of(budget, 4, budget.begin(1), near, near).tolist() == [[0.0, 0.0]]


@pytest.fixture(scope="module")
def pair(homing):
    return sampled(homing(0.3, 6.0, -1.0)), sampled(homing(1.5, 8.0, -1.5))


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_moments_are_those_of_the_flight_and_the_mean_lies_in_the_region(pair, meadow, budget):
    policy, simulator = AdaptedPolicy(*pair, budget), meadow.simulator
    (row,) = scenarios(simulator, 1, seed=3, fixed=True)
    found = moments(simulator, policy, row)
    flown = rollout(simulator, policy, row[None], record=True)
    assert flown.recording is not None
    assert [m.step for m in found] == list(range(1, flown.lengths[0] + 1))
    for t, m in enumerate(found):
        noise = normals(episode_keys(row[None]), t, 2)
        action = pair[0].policy.actions(m.adapted.mean + m.adapted.std * noise)[0]
        assert np.array_equal(action, flown.recording.actions[0, t])
        away = (m.adapted.mean - m.near.mean) / np.maximum(m.region, 1e-300)
        assert (away**2).sum() <= 1 + 1e-6
        assert np.array_equal(m.near.mean, m.base.mean)


def test_of_stages_the_region_lies_around_the_stage_before(pair, meadow):
    policy = AdaptedPolicy(*pair, FixedRatio(0.01, 30, 0.1), (FixedRatio(0.01, 30, 0.2),))
    (row,) = scenarios(meadow.simulator, 1, seed=3, fixed=True)
    first = moments(meadow.simulator, policy, row)[0]
    alone = moments(meadow.simulator, AdaptedPolicy(*pair, FixedRatio(0.01, 30, 0.2)), row)[0]
    assert np.array_equal(first.near.mean, alone.adapted.mean)
    assert not np.array_equal(first.near.mean, first.base.mean)


def test_paths_end_where_the_flights_do_and_a_late_goal_is_a_failure(pair, meadow):
    rows = scenarios(meadow.simulator, 20, seed=1, fixed=False)
    (paths,) = fly_paths(meadow, [("base", pair[0])], rows, horizon=10)
    flown = rollout(meadow.simulator, pair[0], rows, specs=meadow.specs, record=True)
    assert flown.recording is not None
    assert [len(way) - 1 for way in paths.ways] == flown.lengths.tolist()
    assert paths.failed == tuple(((flown.margins < 0).any(axis=1) | (flown.lengths > 10)).tolist())
    assert 0 < sum(paths.failed) < 20
    assert np.array_equal(paths.ways[4][-1], flown.recording.signals[4, flown.lengths[4], :2])


def test_in_the_fixed_layout_only_the_noise_differs(meadow):
    rows = scenarios(meadow.simulator, 5, seed=0, fixed=True)
    assert (rows[:, :-1] == [column.nominal for column in meadow.simulator.columns[:-1]]).all()
    assert len(set(rows[:, -1])) == 5
