"""The one loop: same scenario, same bits; finished episodes are dropped; recordings say what happened."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from niwaki import rollout as module
from niwaki.policies.deployed import MirrorPolicy, deployed
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.rollout import counted, rollout, rollouts, take_over
from niwaki.simulators.cartpole import CartPole
from niwaki.simulators.gymnasium import gymnasium_engine
from niwaki.simulators.pendulum import Pendulum
from niwaki.specs import parse_spec
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
    rollout(simulator, AlwaysRight(), simulator.sample(np.random.default_rng(7), 5000), progress=seen.append)
    assert sum(seen) == 5000
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


@pytest.mark.parametrize("simulator", [CartPole(horizon=60), Pendulum(horizon=60)])
def test_a_policy_that_takes_over_from_itself_changes_nothing(simulator: CartPole | Pendulum) -> None:
    head = Head("argmax") if isinstance(simulator, CartPole) else Head("clip", np.array([-2.0]), np.array([2.0]))
    policy = deployed(network(simulator.observation_size, 2 if head.kind == "argmax" else 1, head))
    flights = rollout(simulator, policy, simulator.sample(np.random.default_rng(3), 5), record=True)
    rows = np.repeat(np.arange(5), 4)
    steps = (flights.lengths[rows] * np.tile([0.0, 0.3, 0.9, 1.0], 5)).astype(int)
    again = take_over(simulator, policy, flights, rows=rows, steps=steps)
    assert np.array_equal(again.returns, flights.returns[rows])
    assert np.array_equal(again.endings, flights.endings[rows])


def test_what_takes_over_acts_from_its_step_on() -> None:
    simulator, first = CartPole(), deployed(network(4, 2, Head("argmax")))
    flights = rollout(simulator, first, simulator.sample(np.random.default_rng(4), 3), record=True)
    assert flights.recording is not None
    for step in (0, 3, 7):
        taken = take_over(simulator, AlwaysRight(), flights, rows=np.array([2]), steps=np.array([step]))
        state = simulator.reset(flights.scenarios[2:3])
        for t in range(500):
            action = flights.recording.actions[2:3, t] if t < step else np.array([1])
            state, _, ending = simulator.step(state, action)
            if ending[0]:
                break
        assert taken.lengths[0] == t + 1
        assert np.array_equal(taken.scenarios, flights.scenarios[2:3])


def test_an_engine_is_taken_over_alike_with_any_number_of_workers() -> None:
    pytest.importorskip("Box2D", reason="LunarLander needs the extra box2d")
    simulator = gymnasium_engine("LunarLander-v3", horizon=80)
    policy = deployed(network(8, 4, Head("argmax")))
    other = deployed(network(8, 4, Head("argmax"), seed=1))
    flights = rollout(simulator, policy, simulator.sample(np.random.default_rng(5), 2), record=True)
    rows, steps = np.array([0, 0, 1, 1]), np.array([0, 20, 30, int(flights.lengths[1])])
    alone = take_over(simulator, other, flights, rows=rows, steps=steps, workers=1)
    assert same(alone, take_over(simulator, other, flights, rows=rows, steps=steps, workers=2))
    assert alone.returns[3] == flights.returns[1]
    assert alone.returns[0] == rollout(simulator, other, flights.scenarios[:1]).returns[0]
    assert alone.returns[1] != alone.returns[0]


def test_taking_over_what_was_not_recorded_or_is_over_is_refused() -> None:
    simulator, policy = CartPole(), AlwaysRight()
    rows = simulator.sample(np.random.default_rng(6), 2)
    with pytest.raises(NiwakiError, match="only recorded flights"):
        take_over(simulator, policy, rollout(simulator, policy, rows), rows=np.array([0]), steps=np.array([1]))
    flights = rollout(simulator, policy, rows, record=True)
    with pytest.raises(NiwakiError, match="cannot take over after 400 steps"):
        take_over(simulator, policy, flights, rows=np.array([0, 1]), steps=np.array([1, 400]))


def test_counting_adds_up() -> None:
    told: list[tuple[str, int, int]] = []
    advance = counted(lambda *report: told.append(report), "flying", 10)
    advance(3)
    advance(4)
    assert told == [("flying", 3, 10), ("flying", 7, 10)]


class Counting:
    """Remembers how often each of its episodes was flown, and turns right when that is odd."""

    observation_size = 4

    def begin(self, scenarios: Floats) -> CountingPilot:
        return CountingPilot(np.zeros(len(scenarios), dtype=np.int64))


@dataclass(frozen=True)
class CountingPilot:
    steps: NDArray

    def act(self, t: int, rows: NDArray, observations: Floats) -> NDArray:
        assert (self.steps[rows] == t).all()
        self.steps[rows] += 1
        return self.steps[rows] % 2


def test_a_pilot_is_told_its_episodes_and_each_of_their_steps_once() -> None:
    """Over chunk borders, among episodes of other lengths, alone, and behind a recording."""
    simulator = CartPole()
    rows = simulator.sample(np.random.default_rng(8), 1500)
    flights = rollout(simulator, Counting(), rows, record=True)
    assert len(set(flights.lengths.tolist())) > 5
    alone = rollout(simulator, Counting(), rows[1234])
    assert alone.lengths[0] == flights.lengths[1234]
    taken = take_over(simulator, Counting(), flights, rows=np.array([3, 1234]), steps=np.array([0, 7]))
    assert np.array_equal(taken.lengths, flights.lengths[[3, 1234]])


@pytest.mark.parametrize(("workers", "sizes"), [(1, [2500]), (2, [1250, 1250]), (8, [1024, 1024, 452])])
def test_what_is_not_recorded_is_flown_in_larger_portions(workers: int, sizes: list[int]) -> None:
    simulator = CartPole(horizon=3)
    rows, seen = simulator.sample(np.random.default_rng(7), 2500), []
    together = rollout(simulator, AlwaysRight(), rows, workers=workers, progress=seen.append)
    assert seen == sizes
    recorded = rollout(simulator, AlwaysRight(), rows, record=True)
    assert recorded.returns.tobytes() == together.returns.tobytes()


@pytest.mark.parametrize("text", ["always(abs(theta) <= 0.1)", None])
def test_policies_that_fly_together_fly_as_they_do_alone(text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 150)  # recorded: two policies at once, then the third
    simulator = CartPole()
    specs = (parse_spec(text, simulator),) if text else ()
    policies = [network(4, 2, Head("argmax"), seed) for seed in range(3)]
    rows = simulator.sample(np.random.default_rng(0), 70)
    together = rollouts(simulator, policies, rows, specs=specs)
    for policy, flown in zip(policies, together, strict=True):
        alone = rollout(simulator, policy, rows, specs=specs)
        assert same(flown, alone)
        assert np.array_equal(flown.violated, alone.violated)
    assert len({int(flown.lengths.sum()) for flown in together}) == 3


def test_on_an_engine_they_fly_one_after_the_other() -> None:
    simulator = gymnasium_engine("CartPole-v1")
    policies = [network(4, 2, Head("argmax"), seed) for seed in range(2)]
    rows = simulator.sample(np.random.default_rng(0), 3)
    together = rollouts(simulator, policies, rows)
    assert all(same(flown, rollout(simulator, policy, rows)) for policy, flown in zip(policies, together, strict=True))
    assert not same(*together)
