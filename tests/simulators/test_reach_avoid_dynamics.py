"""The point robot's dynamics against a slow reference: mass matrix, damping and Coriolis force written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from niwaki.simulators.reach_avoid_dynamics import INERTIA, MASS, MOMENT, drive, sensors

H, SLIDE, TURN, GEAR, TOP = 0.002, 0.01, 0.005, 0.3, 0.05


def mass_matrix(heading: float) -> np.ndarray:
    """Of x, y and heading, in the world's frame."""
    s, c = math.sin(heading), math.cos(heading)
    return np.array([[MASS, 0, -MOMENT * s], [0, MASS, MOMENT * c], [-MOMENT * s, MOMENT * c, INERTIA]])


def forces(q: np.ndarray, v: np.ndarray, action: np.ndarray) -> np.ndarray:
    s, c, w = math.sin(q[2]), math.cos(q[2]), v[2]
    push = GEAR * min(max(action[0], -TOP), TOP)
    wanted = min(max(action[1], -1.0), 1.0)
    torque = GEAR * min(max(wanted - GEAR * w, -TOP), TOP)
    centrifugal = MOMENT * w * w
    return np.array([(push + centrifugal) * c, (push + centrifugal) * s, torque]) - (SLIDE, SLIDE, TURN) * v


def slow_drive(motion: np.ndarray, action: np.ndarray, steps: int) -> np.ndarray:
    q, v = motion[:3].copy(), motion[3:].copy()
    for _ in range(steps):
        v += H * np.linalg.solve(mass_matrix(q[2]) + H * np.diag((SLIDE, SLIDE, TURN)), forces(q, v, action))
        q += H * v
    return np.concatenate((q, v))


DRIVEN = {
    "heading": st.floats(-50, 50),
    "velocity": st.tuples(*[st.floats(-1.5, 1.5)] * 2),
    "turn_rate": st.floats(-4, 4),
    "action": st.tuples(*[st.floats(-2, 2)] * 2),
}


def test_the_body_is_the_one_of_the_facts() -> None:
    assert pytest.approx(0.00519, abs=5e-6) == MASS
    assert pytest.approx(0.01927, abs=5e-6) == MOMENT / MASS
    rng = np.random.default_rng(0)  # inertia by brute force: ball and box filled with points
    points = rng.uniform(-0.1, 0.1, (400_000, 3))
    ball = points[(points**2).sum(1) <= 0.01]
    box = points / 2 + (0.1, 0, 0)
    volumes = 4 / 3 * math.pi * 1e-3, 1e-3
    inertia = sum(v * (part[:, :2] ** 2).sum(1).mean() for v, part in zip(volumes, (ball, box), strict=True))
    assert pytest.approx(inertia, rel=0.01) == INERTIA


@settings(max_examples=60, deadline=None)
@given(**DRIVEN, steps=st.sampled_from([1, 2, 10]))
def test_a_standard_period_is_that_of_the_equations_of_motion(heading, velocity, turn_rate, action, steps) -> None:
    motion = np.array((0.3, -0.7, heading, *velocity, turn_rate))
    ours = drive(motion[:, None], np.array([action]), steps=steps)[:, 0]
    assert ours == pytest.approx(slow_drive(motion, np.array(action), steps), abs=1e-9, rel=0)


@pytest.mark.parametrize("steering", [-1.0, 1.0])
def test_a_long_period_at_full_steering_is_too_because_the_servo_does_not_chatter(steering: float) -> None:
    rng = np.random.default_rng(1)
    motion = rng.uniform((-2, -2, -3, -1, -1, -2.5), (2, 2, 3, 1, 1, 2.5), (20, 6)).T
    actions = np.column_stack((rng.uniform(-0.1, 0.1, 20), np.full(20, steering)))
    ours = drive(motion, actions, steps=250)  # more than one lap
    slow = [slow_drive(column, action, 250) for column, action in zip(motion.T, actions, strict=True)]
    assert pytest.approx(np.array(slow), abs=1e-9, rel=0) == ours.T


def test_the_drive_ends_at_one_and_a_half_metres_per_second_with_half_a_second_of_delay() -> None:
    start = np.zeros((6, 1))
    straight = np.array([[1.0, 0.0]])
    assert drive(start, straight, steps=5000)[3, 0] == pytest.approx(1.5, abs=1e-6)
    reached = drive(start, straight, steps=round(MASS / SLIDE / H))[3, 0]
    assert reached == pytest.approx(1.5 * (1 - math.exp(-1)), rel=0.01)
    saturated = drive(start, np.array([[TOP, 0.0]]), steps=100)
    assert saturated.tobytes() == drive(start, straight, steps=100).tobytes()


def test_the_servo_holds_the_wanted_turn_rate_but_for_its_chatter() -> None:
    motion, rates = np.zeros((6, 1)), []
    for _ in range(400):
        motion = drive(motion, np.array([[0.0, 0.5]]), steps=1)
        rates.append(motion[5, 0])
    assert np.mean(rates[200:]) == pytest.approx(0.5 / GEAR, abs=0.4)
    assert np.std(rates[200:]) > 0.1


@pytest.mark.parametrize("steps", [1, 10, 100, 130])
def test_rows_and_blocks_do_not_matter(steps: int) -> None:
    """One row is flown in Python's floats, many in NumPy's: down to the chatter, they have the same bits."""
    rng = np.random.default_rng(2)
    motion, actions = rng.uniform(-2, 2, (6, 4200)), rng.uniform(-1, 1, (4200, 2))
    motion[:, 3], actions[3] = 0.0, 0.0  # unstable rest
    actions[4] = np.nan
    together = drive(motion, actions, steps=steps)
    for i in (*range(40), 1023, 1024, 4095, 4096, 4199):
        alone = drive(motion[:, i : i + 1], actions[i : i + 1], steps=steps)
        assert alone.tobytes() == together[:, i : i + 1].tobytes()
    few = drive(motion[:, 5:10], actions[5:10], steps=steps)
    assert few.tobytes() == together[:, 5:10].tobytes()
    assert np.isnan(together[5, 4])


@settings(max_examples=60, deadline=None)
@given(**DRIVEN)
def test_sensors_read_the_state_in_the_robots_own_frame(heading, velocity, turn_rate, action) -> None:
    motion, action = np.array((0.3, -0.7, heading, *velocity, turn_rate)), np.array(action)
    acceleration = np.linalg.solve(mass_matrix(heading), forces(motion[:3], motion[3:], action))
    into_body = np.array([[math.cos(heading), math.sin(heading)], [-math.sin(heading), math.cos(heading)]])
    expected = (*into_body @ acceleration[:2], *into_body @ velocity, turn_rate, *into_body @ (0, -0.5))
    assert sensors(motion[:, None], action[None])[:, 0] == pytest.approx(np.array(expected), abs=1e-9, rel=1e-9)
