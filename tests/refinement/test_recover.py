"""The recovery state is the last one from which the teacher is safe, as probing every single step shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from niwaki.policies.deployed import deployed
from niwaki.policies.loading import load_policy
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.refinement.recover import Recovery, recover
from niwaki.rollout import rollout
from niwaki.simulators.cartpole import CartPole
from niwaki.simulators.gymnasium import gymnasium_engine
from niwaki.specs import parse_spec
from niwaki.types import Floats, Lockstep, NiwakiError, Policy, Spec, Trajectories

SIMULATOR = CartPole(horizon=200)
SPECS = tuple(parse_spec(text, SIMULATOR) for text in ("always(abs(theta) <= 0.2)", "always(abs(x) <= 2.4)"))


def linear(theta: float, theta_dot: float) -> NetworkPolicy:
    push = np.array([0.1, 0.3, theta, theta_dot])
    return NetworkPolicy((Layer(np.array([-push, push]), np.zeros(2)),), Head("argmax"))


TEACHER = deployed(linear(3.0, 1.0))


@dataclass(frozen=True)
class Falls:
    """Balances until the cart moves fast to the right, then pushes on."""

    observation_size: int = 4

    def __call__(self, observations: Floats, /) -> NDArray:
        return np.where(observations[:, 1] > 0.1, 1, TEACHER(observations)).astype(np.int64)


def failing(specs: tuple[Spec, ...] = SPECS, policy: Policy = Falls()) -> Trajectories:
    rows = SIMULATOR.sample(np.random.default_rng(1), 12)
    flights = rollout(SIMULATOR, policy, rows, specs=specs)
    return rollout(SIMULATOR, policy, rows[flights.violated], specs=specs, record=True)


def probed_forwards(
    simulator: Lockstep, teacher: Policy, flight: Trajectories, specs: tuple[Spec, ...], threshold: float
) -> int | None:
    """The last safe step of a single failing run, from kept states and a loop of its own."""
    assert flight.recording is not None
    safe = None
    kept = [simulator.reset(flight.scenarios)]
    for t in range(int(flight.lengths[0])):
        kept.append(simulator.step(kept[-1], flight.recording.actions[:, t]).state)
    for step in range(int(flight.lengths[0])):
        states, total, t, ending = kept[: step + 1], float(step), step, 0
        while t < simulator.horizon and not ending:
            moved = simulator.step(states[-1], teacher(simulator.observe(states[-1])))
            states.append(moved.state)
            total, t, ending = total + float(moved.rewards[0]), t + 1, int(moved.endings[0])
        x, _, theta, _ = np.concatenate([simulator.measure(state) for state in states]).T
        if np.abs(theta).max() <= 0.2 and np.abs(x).max() <= 2.4 and total >= threshold:
            safe = step
    return safe


@pytest.mark.parametrize("threshold", [195.0, 60.0, None])
def test_walking_back_finds_what_probing_every_step_forwards_finds(threshold: float | None) -> None:
    flights = failing()
    assert len(flights) >= 5
    found = recover(SIMULATOR, TEACHER, flights, specs=SPECS, threshold=threshold)
    steps = [None if r is None else r.step for r in found]
    alone = [rollout(SIMULATOR, Falls(), flights.scenarios[i], specs=SPECS, record=True) for i in range(len(flights))]
    assert steps == [probed_forwards(SIMULATOR, TEACHER, one, SPECS, threshold or -np.inf) for one in alone]
    assert any(step is not None and 0 < step < n - 1 for step, n in zip(steps, flights.lengths, strict=True))


def test_the_observation_is_the_one_of_the_failing_run() -> None:
    flights = failing()
    for i, recovery in enumerate(recover(SIMULATOR, TEACHER, flights, specs=SPECS)):
        assert isinstance(recovery, Recovery)
        assert np.array_equal(recovery.observation, flights.recording.observations[i, recovery.step])  # type: ignore[union-attr]


def test_a_run_does_not_depend_on_the_runs_beside_it() -> None:
    flights = failing()
    together = recover(SIMULATOR, TEACHER, flights, specs=SPECS)
    for i in (0, len(flights) - 1):
        one = rollout(SIMULATOR, Falls(), flights.scenarios[i], specs=SPECS, record=True)
        (alone,) = recover(SIMULATOR, TEACHER, one, specs=SPECS)
        assert alone is not None
        assert together[i] is not None
        assert alone.step == together[i].step  # type: ignore[union-attr]


def test_where_the_teacher_fails_from_the_start_there_is_no_recovery_state() -> None:
    flights = failing()
    bad = deployed(linear(-3.0, -1.0))
    told: list[int] = []
    assert recover(SIMULATOR, bad, flights, specs=SPECS, progress=told.append) == [None] * len(flights)
    assert sum(told) == len(flights)
    assert recover(SIMULATOR, TEACHER, flights, specs=SPECS, threshold=201.0) == [None] * len(flights)


def test_an_engine_gives_what_probing_every_step_gives() -> None:
    pytest.importorskip("Box2D", reason="LunarLander needs the extra box2d")
    simulator = gymnasium_engine("LunarLander-v3", horizon=40, kwargs={"continuous": True})
    specs = (parse_spec("always(abs(angle) < 0.3)", simulator),)
    turns = NetworkPolicy((Layer(np.zeros((2, 8)), np.array([0.0, 1.0])),), Head("clip", -np.ones(2), np.ones(2)))
    teacher = deployed(load_policy("lunarlander-continuous"))
    rows = simulator.sample(np.random.default_rng(2), 2)
    flights = rollout(simulator, turns, rows, specs=specs, record=True)
    assert flights.violated.all()
    found = recover(simulator, teacher, flights, specs=specs, workers=1)
    assert flights.recording is not None
    run = simulator.open()
    for i, recovery in enumerate(found):
        safe = []
        for step in range(int(flights.lengths[i])):
            observation, t, ending, upright = run.start(rows[i]), 0, 0, True
            while t < simulator.horizon and not ending:
                action = flights.recording.actions[i, t] if t < step else teacher(observation[None])[0]
                observation, _, ending = run.advance(action)
                upright &= abs(float(run.measure()[4])) < 0.3
                t += 1
            safe.append(upright)
        last = None if not any(safe) else max(np.flatnonzero(safe))
        assert (None if recovery is None else recovery.step) == last
    assert any(recovery is not None and recovery.step > 5 for recovery in found)


def test_a_run_that_kept_its_specifications_is_refused() -> None:
    rows = SIMULATOR.sample(np.random.default_rng(1), 3)
    kept = rollout(SIMULATOR, TEACHER, rows, specs=SPECS, record=True)
    with pytest.raises(NiwakiError, match="run 0 broke no specification"):
        recover(SIMULATOR, TEACHER, kept, specs=SPECS)


def test_runs_without_a_recording_or_under_other_specifications_are_refused() -> None:
    flights = failing()
    bare = rollout(SIMULATOR, Falls(), flights.scenarios, specs=SPECS)
    with pytest.raises(NiwakiError, match="needs recorded runs"):
        recover(SIMULATOR, TEACHER, bare, specs=SPECS)
    with pytest.raises(NiwakiError, match="were judged under"):
        recover(SIMULATOR, TEACHER, flights, specs=SPECS[:1])
