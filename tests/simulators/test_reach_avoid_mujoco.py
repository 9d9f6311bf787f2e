"""The point robot beside its twin on MuJoCo: exact over a control period, alike over episodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import fisher_exact, ks_2samp

pytest.importorskip("mujoco", reason="needs the extra niwaki[mujoco]")

from niwaki.rollout import rollout
from niwaki.simulators.reach_avoid import ReachAvoid, reach_avoid
from niwaki.simulators.reach_avoid_dynamics import INERTIA, MASS, MOMENT, sensors
from niwaki.simulators.reach_avoid_mujoco import reach_avoid_twin
from niwaki.testing import check_simulator


def random_states(simulator: ReachAvoid, rng: np.random.Generator, n: int, turn_rate: float) -> np.ndarray:
    state = simulator.reset(simulator.sample(rng, n))
    state[:, 2] = rng.uniform(-20, 20, n)
    state[:, 3:5] = rng.uniform(-1.5, 1.5, (n, 2))
    state[:, 5] = rng.uniform(-turn_rate, turn_rate, n)
    state[:, 6:8] = rng.uniform(-1, 1, (n, 2))
    return state


def assert_same_period(simulator: ReachAvoid, states: np.ndarray, actions: np.ndarray) -> None:
    """States and sensors in float64 to 1e-9; observations as float32; rewards and endings."""
    after, rewards, endings = simulator.step(states, actions)
    seen = simulator.observe(after)
    felt = sensors(after[:, :6].T, after[:, 6:8]).T
    run = reach_avoid_twin(period=simulator.step_seconds).open()
    for i, state in enumerate(states):
        run.put(state[None])
        observation, reward, ending = run.advance(actions[i])
        assert run.state[0] == pytest.approx(after[i], abs=1e-9, rel=0)
        read = run.data.sensordata
        assert read[[0, 1, 3, 4, 8, 9, 10]] == pytest.approx(felt[i], abs=1e-9, rel=1e-9)
        assert read[[2, 5, 6, 7, 11]] == pytest.approx([9.81, 0, 0, 0, 0], abs=1e-9)
        assert observation == pytest.approx(seen[i], abs=1e-6)
        assert reward == pytest.approx(rewards[i], abs=1e-9)
        assert ending == endings[i]


def test_mass_and_inertia_are_those_that_mujoco_finds_in_the_shapes() -> None:
    model = reach_avoid_twin().open().model
    assert model.body_mass[1] == pytest.approx(MASS, rel=1e-12)
    assert model.body_ipos[1] == pytest.approx([MOMENT / MASS, 0, 0], rel=1e-12)
    about_centre = model.body_inertia[1].max()
    assert about_centre + MOMENT**2 / MASS == pytest.approx(INERTIA, rel=1e-12)


def test_a_standard_control_period_agrees_from_any_state_under_any_action() -> None:
    simulator, rng = reach_avoid(period=0.02), np.random.default_rng(0)
    states = random_states(simulator, rng, 300, 3.5)
    assert_same_period(simulator, states, rng.uniform(-1, 1, (300, 2)).astype(np.float32))


@pytest.mark.parametrize("steering", [-1.0, 1.0])
def test_a_low_frequency_period_agrees_where_the_turn_servo_does_not_chatter(steering: float) -> None:
    simulator, rng = reach_avoid(), np.random.default_rng(1)
    states = random_states(simulator, rng, 100, 2.5)
    actions = np.column_stack((rng.uniform(-1, 1, 100), np.full(100, steering))).astype(np.float32)
    assert_same_period(simulator, states, actions)


def test_the_first_observation_is_the_same() -> None:
    simulator = reach_avoid()
    rows = simulator.sample(np.random.default_rng(2), 20)
    run = reach_avoid_twin().open()
    twin = np.array([run.start(row) for row in rows])
    assert twin == pytest.approx(simulator.observe(simulator.reset(rows)), abs=1e-6)


@pytest.mark.parametrize("variant", [{}, {"period": 0.02, "reset_goal": True}, {"level": 2, "curriculum": False}])
def test_the_twin_keeps_the_promises_of_a_simulator(variant: dict) -> None:
    twin, simulator = reach_avoid_twin(**variant), reach_avoid(**variant)
    check_simulator(twin)
    for name in ("columns", "signals", "endings", "failures", "horizon", "step_seconds", "observation_size"):
        assert getattr(twin, name) == getattr(simulator, name)


class Wandering:
    """Heads for the goal with large deterministic noise that depends on what it sees, so that it also fails."""

    observation_size = 44

    def __call__(self, observations):
        way = np.exp(2j * np.pi * np.arange(16) / 16)
        angle = np.angle((observations[:, 12:28] * way).sum(axis=1))
        noise = np.sin(1e4 * observations[:, [0, 3]].astype(np.float64))
        throttle = np.where(np.abs(angle) < 1.5, 0.06 * noise[:, 0] + 0.012, 0.0)
        return np.column_stack((throttle, np.clip(angle + noise[:, 1], -1, 1))).astype(np.float32)


def test_episodes_have_the_same_distribution() -> None:
    simulator, twin = (replace(make(), horizon=50) for make in (reach_avoid, reach_avoid_twin))
    rows = simulator.sample(np.random.default_rng(3), 1000)
    ours, theirs = rollout(simulator, Wandering(), rows), rollout(twin, Wandering(), rows[:250], workers=1)
    assert (np.bincount(theirs.endings, minlength=3) > 5).all()
    assert ks_2samp(ours.returns, theirs.returns).pvalue > 0.001
    assert ks_2samp(ours.lengths, theirs.lengths).pvalue > 0.001
    for ending in range(3):
        counts = [[int((f.endings == ending).sum()), int((f.endings != ending).sum())] for f in (ours, theirs)]
        assert fisher_exact(counts).pvalue > 0.001
