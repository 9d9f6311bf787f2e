"""Fly a lockstep simulator beside the Gymnasium environment that it stands for."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from niwaki.types import Floats, Lockstep

Pilot = Callable[[Floats, int], NDArray]  # (state [B, D], step) -> actions of B rows


def mathematics_is_exact() -> bool:
    """Whether NumPy's vectors have the bits of what Gymnasium uses: its scalars, and libm."""
    values = np.random.default_rng(0).uniform(-10.0, 10.0, 20_000)
    floats = values.astype(np.float32)
    return (
        np.cos(values).tolist() == [math.cos(x) for x in values]
        and np.sin(values).tolist() == [np.sin(x) for x in values]
        and np.float_power(values, 2.0).tolist() == [x**2 for x in values]
        and np.power(floats, np.full_like(floats, 2.0)).tolist() == [x**2 for x in floats]
        and np.cos(floats).tolist() == [np.cos(x) for x in floats]
        and np.sin(floats).tolist() == [np.sin(x) for x in floats]
    )


EXACT = mathematics_is_exact()


def assert_same(ours: Any, theirs: Any, *, tolerance: float, what: str) -> None:
    if EXACT:
        assert np.array_equal(ours, theirs), f"{what}: {ours!r} is not {theirs!r}"
    else:
        assert np.all(np.abs(np.subtract(ours, theirs)) <= tolerance), f"{what}: {ours!r} is not near {theirs!r}"


def fly_beside(
    simulator: Lockstep, env: Any, put: Callable[[Any, Floats], None], scenarios: Floats, pilot: Pilot, *, steps: int
) -> set[int]:
    """Compare every step of every episode; returns the endings that were reached.

    `put(env, scenario)` sets the environment's model and start state.
    """
    states = [simulator.reset(scenarios)]
    actions, rewards, endings = [], [], []
    for t in range(steps):
        actions.append(pilot(states[-1], t))
        state, reward, ending = simulator.step(states[-1], actions[-1])
        states.append(state)
        rewards.append(reward)
        endings.append(ending)
    observations = [simulator.observe(state) for state in states]

    reached = set()
    for row, scenario in enumerate(scenarios):
        env.reset(seed=0)
        put(env, scenario)
        for t in range(steps):
            if not EXACT and t > 0:  # else tiny differences would grow over an episode
                env.state = states[t][row, : len(env.state)].astype(np.asarray(env.state).dtype)
            seen, reward, terminated, truncated, _ = env.step(actions[t][row])
            where = f"row {row}, step {t}"
            assert_same(states[t + 1][row, : len(env.state)], env.state, tolerance=1e-12, what=f"state, {where}")
            assert observations[t + 1].dtype == seen.dtype == np.float32
            assert_same(observations[t + 1][row], seen, tolerance=1e-6, what=f"observation, {where}")
            assert_same(rewards[t][row], reward, tolerance=1e-9, what=f"reward, {where}")
            assert not truncated
            assert terminated == (endings[t][row] > 0), where
            reached.add(int(endings[t][row]))
            if terminated:
                break
    return reached


@pytest.fixture(scope="session")
def same_flights() -> Callable[..., set[int]]:
    """`fly_beside`, which asserts bit by bit (on machines whose vectors differ from scalars: nearly)."""
    return fly_beside


@pytest.fixture(scope="session")
def same_starts() -> Callable[..., None]:
    """Compares first observations with those of Gymnasium's own resets (seeds 0 to 19)."""

    def compare(simulator: Lockstep, env: Any, *, options: dict[str, float] | None = None) -> None:
        for seed in range(20):
            seen, _ = env.reset(seed=seed, options=options)
            scenario = simulator.nominal
            scenario[: len(env.state)] = env.state
            ours = simulator.observe(simulator.reset(scenario[None]))
            assert_same(ours[0], seen, tolerance=1e-6, what=f"first observation of seed {seed}")

    return compare


@pytest.fixture(scope="session")
def same_distribution() -> Callable[..., None]:
    """Compares the start columns' ranges and constants with 2000 of Gymnasium's own resets."""

    def compare(simulator: Lockstep, env: Any) -> None:
        env.reset(seed=0)
        starts = np.array([np.array(env.state) for _ in range(2000) if env.reset()])
        low, high = np.array([column.sample for column in simulator.columns[: starts.shape[1]]]).T
        assert np.all(starts >= np.float32(low))
        assert np.all(starts <= np.float32(high))
        # the extremes of 2000 uniform draws lie within 1 % of the range's ends
        slack = 0.01 * (high - low)
        assert np.all(starts.min(0) <= low + slack)
        assert np.all(starts.max(0) >= high - slack)

    return compare
