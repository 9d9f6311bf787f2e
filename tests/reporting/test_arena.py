"""Paths over the arena: up is up, everything is inside, failures stand out."""

from __future__ import annotations

import re

import numpy as np
import pytest

from niwaki.reporting.adapted_flights import Paths
from niwaki.reporting.arena import by_policy, by_scenario
from niwaki.simulators.reach_avoid import reach_avoid

SIMULATOR = reach_avoid(5)
ROWS = SIMULATOR.sample(np.random.default_rng(0), 3)


def ways(rng, n):
    return tuple(np.cumsum(rng.normal(size=(5 + i, 2)), axis=0) for i in range(n))


FLOWN = [
    Paths("base <b>", ways(np.random.default_rng(1), 3), (False, False, False)),
    Paths("adapted", ways(np.random.default_rng(2), 3), (True, False, False)),
]


@pytest.mark.parametrize("draw", [by_policy, by_scenario])
def test_everything_is_inside_and_up_is_up(draw):
    drawn = draw(SIMULATOR, ROWS, FLOWN)
    views = re.findall(r'viewBox="([^"]*)"', drawn)
    assert len(views) == (2 if draw is by_policy else 3)
    assert len(set(views)) == 1
    left, top, width, height = map(float, views[0].split())
    points = [tuple(map(float, p.split(","))) for way in re.findall(r'points="([^"]*)"', drawn) for p in way.split()]
    assert len(points) == sum(len(way) for paths in FLOWN for way in paths.ways)
    for x, y in points:
        assert left <= x <= left + width
        assert top <= -y <= top + height
    assert drawn.count('transform="scale(1,-1)"') == len(views)
    goal = re.search(r'<circle cx="([^"]*)" cy="([^"]*)" r="0.3" class="goal"', drawn)
    assert goal is not None
    assert float(goal[2]) == pytest.approx(ROWS[0, 4], abs=1e-4)
    assert 'r="0.5" class="hazard"' in drawn
    assert "<b>" not in drawn


def test_failures_are_counted_and_drawn_in_their_own_colour():
    drawn = by_policy(SIMULATOR, ROWS, FLOWN)
    assert "adapted: 1 of 3 failed; 5.5 steps where not" in drawn
    assert len(re.findall(r'<polyline points="[^"]*" class="way two"', drawn)) == 1
    assert len(re.findall(r'<polyline points="[^"]*" class="way one"', drawn)) == 5


def test_a_panel_of_a_scenario_says_how_long_everyone_took():
    drawn = by_scenario(SIMULATOR, ROWS, FLOWN)
    assert "base &lt;b&gt;: 4 steps, adapted: 4 steps, failed" in drawn
    assert "adapted: 6 steps" in drawn
