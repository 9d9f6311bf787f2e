"""The pseudo-lidar against a slow reference and by hand."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from niwaki.simulators.reach_avoid_lidar import pseudo_lidar

coordinates = st.tuples(st.floats(-4, 4), st.floats(-4, 4))


def slow_lidar(position, heading, things) -> np.ndarray:
    """One row, as its definition reads."""
    seen = np.zeros(16)
    width = 2 * math.pi / 16
    for x, y in things:
        offset = complex(x - position[0], y - position[1]) * cmath.exp(-1j * heading)
        angle = cmath.phase(offset) % (2 * math.pi)
        k = int(angle / width) % 16
        behind = angle / width - int(angle / width)
        near = math.exp(-0.5 * abs(offset))
        for i, value in ((k, near), ((k + 1) % 16, behind * near), ((k - 1) % 16, (1 - behind) * near)):
            seen[i] = max(seen[i], value)
    return seen


@given(position=coordinates, heading=st.floats(-10, 10), things=st.lists(coordinates, max_size=8))
def test_the_lidar_is_its_definition(position, heading, things) -> None:
    shaped = np.array(things, dtype=float).reshape(1, len(things), 2)
    (ours,) = pseudo_lidar(np.array([position]), np.array([heading]), shaped)
    slow = slow_lidar(position, heading, things)
    width = 2 * math.pi / 16
    for x, y in things:  # rounding decides the bin of what lies on its edge
        angle = math.atan2(y - position[1], x - position[0]) - heading
        if abs(angle / width - round(angle / width)) < 1e-9:
            return
    assert ours == pytest.approx(slow, abs=1e-12)


def test_what_lies_to_the_left_is_seen_in_the_fifth_bin_whichever_way_the_robot_looks() -> None:
    ways = np.linspace(-7, 7, 9)
    left = np.stack((-np.sin(ways + 0.01), np.cos(ways + 0.01)), axis=1) * 2  # a little more than 90 degrees
    seen = pseudo_lidar(np.zeros((9, 2)), ways, left[:, None])
    assert (seen.argmax(axis=1) == 4).all()
    assert seen[:, 4] == pytest.approx(np.full(9, math.exp(-1)))
    shares = seen[:, [3, 5]] / seen[:, [4]]
    assert shares.sum(axis=1) == pytest.approx(np.ones(9))
    assert shares[:, 1] == pytest.approx(np.full(9, 0.01 * 16 / (2 * math.pi)))
    assert (np.delete(seen, [3, 4, 5], axis=1) == 0).all()


def test_the_nearest_thing_in_a_bin_is_the_one_that_shows() -> None:
    things = np.array([[[3.0, 0.1], [1.0, 0.02], [2.0, 0.05]]])
    (seen,) = pseudo_lidar(np.zeros((1, 2)), np.zeros(1), things)
    assert seen[0] == pytest.approx(math.exp(-0.5 * math.hypot(1.0, 0.02)))


def test_nothing_shows_where_there_is_nothing() -> None:
    assert (pseudo_lidar(np.zeros((3, 2)), np.zeros(3), np.zeros((3, 0, 2))) == 0).all()
