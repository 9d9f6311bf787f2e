"""The one loop: same scenario, same bits; finished episodes are dropped; recordings say what happened."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from niwaki.policies.deployed import MirrorPolicy, deployed
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.rollout import rollout
from niwaki.simulators.cartpole import CartPole
from niwaki.simulators.gymnasium import gymnasium_engine
from niwaki.simulators.pendulum import Pendulum
from niwaki.types import Floats, NiwakiError, Trajectories


def network(inputs: int, outputs: int, head: Head, seed: int = 0) -> NetworkPolicy:
    rng = np.random.default_rng(seed)
    hidden = Layer(rng.normal(size=(20, inputs)), rng.normal(size=20) * 0.1, "tanh")
    return NetworkPolicy((hidden, Layer(rng.normal(size=(outputs, 20)), np.zeros(outputs))), head)


def same(a: Trajectories, b: Trajectories) -> bool:
    fields = ("scenarios", "returns", "lengths", "endings")
    equal = all(np.array_equal(getattr(a, f), getattr(b, f)) for f in fields)
    if a.recording is None or b.recording is None:
        return equal and a.recording is b.recording
    kept = ("signals", "actions", "rewards", "observations")
    return equal and all(np.array_equal(getattr(a.recording, f), getattr(b.recording, f)) for f in kept)


@dataclass(frozen=True)
class AlwaysRight:
    observation_size: int = 4

    def __call__(self, observations: Floats, /) -> NDArray:
        return np.ones(len(observations), dtype=np.int64)


def test_the_same_scenario_gives_the_same_bits_whatever_the_batch() -> None:
    simulator, policy = CartPole(), deployed(network(4, 2, Head("argmax")))
    rows = simulator.sample(np.random.default_rng(0), 40)
    together = rollout(simulator, policy, rows, record=True)
    for i in (0, 7, 39):
        alone = rollout(simulator, policy, rows[i], record=True)
        assert alone.returns[0] == together.returns[i]
        steps = alone.lengths[0]
        assert np.array_equal(alone.recording.signals[0], together.recording.signals[i, : steps + 1])  # type: ignore[union-attr]


@pytest.mark.parametrize("record", [False, True])
def test_workers_do_not_change_a_bit(record: bool) -> None:
    simulator, policy = CartPole(), deployed(network(4, 2, Head("argmax")))
    rows = simulator.sample(np.random.default_rng(1), 1500 if not record else 1100)
    assert same(
        rollout(simulator, policy, rows, record=record, workers=1),
        rollout(simulator, policy, rows, record=record, workers=2),
    )


def test_workers_do_not_change_a_bit_of_an_engine() -> None:
    pytest.importorskip("Box2D", reason="LunarLander needs the extra box2d")
    simulator = gymnasium_engine("LunarLander-v3", kwargs={"continuous": True})
    policy = deployed(network(8, 2, Head("clip", -np.ones(2), np.ones(2))))
    rows = simulator.sample(np.random.default_rng(2), 12)
    assert same(
        rollout(simulator, policy, rows, record=True, workers=1),
        rollout(simulator, policy, rows, record=True, workers=2),
    )


def test_compiled_code_and_mirror_fly_the_same_trajectories() -> None:
    simulator, net = Pendulum(), network(3, 1, Head("squash", [-2], [2]))
    rows = simulator.sample(np.random.default_rng(3), 20)
    assert same(
        rollout(simulator, deployed(net), rows, record=True), rollout(simulator, MirrorPolicy(net), rows, record=True)
    )


def test_an_episode_ends_when_the_simulator_says_so_and_its_return_is_the_sum_of_its_rewards() -> None:
    simulator = CartPole()
    flights = rollout(simulator, AlwaysRight(), simulator.sample(np.random.default_rng(4), 50), record=True)
    recording = flights.recording
    assert recording is not None
    assert (flights.lengths < 20).all()
    assert flights.ended(["fell"]).all()
    assert np.array_equal(flights.returns, recording.rewards.sum(axis=1))
    assert np.array_equal(flights.returns, flights.lengths)  # one a step
    alive = flights.alive(recording.rewards.shape[1])
    assert (recording.actions[alive] == 1).all()
    assert (recording.actions[~alive] == 0).all()


def test_signals_keep_their_last_value_after_the_end() -> None:
    simulator = CartPole()
    flights = rollout(simulator, AlwaysRight(), simulator.sample(np.random.default_rng(5), 30), record=True)
    theta = flights.recording.signal("theta")  # type: ignore[union-attr]
    for i, n in enumerate(flights.lengths):
        assert abs(theta[i, n - 1]) <= 0.2095 < abs(theta[i, n])
        assert (theta[i, n:] == theta[i, n]).all()


def test_an_episode_still_running_at_the_horizon_is_a_time_out() -> None:
    simulator = replace(CartPole(), horizon=5)
    flights = rollout(simulator, AlwaysRight(), simulator.sample(np.random.default_rng(6), 10))
    assert (flights.lengths == 5).all()
    assert flights.ended(["time_out"]).all()
    assert not flights.ended(simulator.failures).any()


def test_progress_counts_every_episode_once() -> None:
    simulator, seen = CartPole(), []
    rollout(simulator, AlwaysRight(), simulator.sample(np.random.default_rng(7), 2500), progress=seen.append)
    assert sum(seen) == 2500
    assert len(seen) > 1


def test_no_scenarios_give_no_trajectories() -> None:
    assert len(rollout(CartPole(), AlwaysRight(), np.zeros((0, 10)))) == 0
    assert len(rollout(gymnasium_engine("CartPole-v1"), AlwaysRight(), np.zeros((0, 1)))) == 0


def test_scenarios_of_another_width_are_refused() -> None:
    with pytest.raises(NiwakiError, match="takes scenarios of 10 numbers, got 3"):
        rollout(CartPole(), AlwaysRight(), np.zeros((2, 3)))


def test_a_policy_for_other_observations_is_refused() -> None:
    with pytest.raises(NiwakiError, match="takes 6 observations, CartPole gives 4"):
        rollout(CartPole(), AlwaysRight(observation_size=6), np.zeros((2, 10)))
