"""A simulator as Stable-Baselines3 sees it."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="needs the extra niwaki[train]")

from niwaki.rollout import rollout
from niwaki.simulators.reach_avoid import reach_avoid
from niwaki.tasks import load_task, parse_task
from niwaki.training.environment import TRAINING, SimulatorVecEnv
from niwaki.types import Simulator

ENGINE = 'title = "t"\ngymnasium = "Pendulum-v1"\nhorizon = 30'


class Constant:
    """The same action, whatever is observed."""

    def __init__(self, simulator, action):
        self.observation_size, self.action = simulator.observation_size, np.asarray(action)

    def __call__(self, observations):
        return np.repeat(self.action[None], len(observations), axis=0)


def fly(simulator, action, episodes, *, count=3):
    """Scenario rows, returns, lengths and truncations of the first episodes that end."""
    environment = SimulatorVecEnv(simulator, count)
    environment.seed(11)
    environment.reset()
    ended = []
    while len(ended) < episodes:
        _, _, done, infos = environment.step(np.repeat(np.asarray(action)[None], count, axis=0))
        ended += [infos[i] for i in np.flatnonzero(done)]
    environment.close()
    return ended[:episodes]


@pytest.mark.parametrize(
    ("task", "action"),
    [(load_task("cartpole"), 1), (load_task("pendulum"), [0.5]), (parse_task("t", ENGINE), np.float32([0.5]))],
    ids=["cartpole", "pendulum", "an engine"],
)
def test_its_first_episodes_are_those_of_the_rollout(task, action):
    simulator: Simulator = task.simulator
    rows = simulator.sample(np.random.default_rng([11, TRAINING]), 3)
    flown = rollout(simulator, Constant(simulator, action), rows, workers=1)
    ended = fly(simulator, action, 3)
    assert sorted(info["episode"]["l"] for info in ended) == sorted(flown.lengths.tolist())
    returns = sorted(info["episode"]["r"] for info in ended)
    assert returns == pytest.approx(sorted(flown.returns.tolist()), rel=1e-12)


def test_an_episode_at_the_horizon_is_truncated_and_a_fall_is_not():
    assert all(info["TimeLimit.truncated"] for info in fly(load_task("pendulum").simulator, [0.0], 3))
    assert not any(info["TimeLimit.truncated"] for info in fly(load_task("cartpole").simulator, 1, 5))


def test_after_an_end_the_next_observation_belongs_to_a_new_episode():
    simulator = load_task("cartpole").simulator
    environment = SimulatorVecEnv(simulator, 1)
    environment.seed(0)
    environment.reset()
    done = [False]
    while not done[0]:
        observations, rewards, done, infos = environment.step(np.array([1]))
    assert np.abs(observations).max() <= 0.05  # CartPole's start box
    assert np.abs(infos[0]["terminal_observation"]).max() > 0.2
    assert rewards.dtype == np.float32
    environment.step(np.array([1]))
    assert environment.lengths.tolist() == [1]


def test_the_same_seed_gives_the_same_starts_and_another_seed_others():
    environment = SimulatorVecEnv(load_task("acrobot").simulator, 4)
    starts = []
    for seed in (1, 1, 2):
        environment.seed(seed)
        starts.append(environment.reset())
    assert np.array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0], starts[2])
    assert not np.array_equal(starts[2], environment.reset())  # without a new seed it goes on


def test_an_episode_succeeds_when_it_ends_in_none_of_the_failures():
    assert not any(info["is_success"] for info in fly(load_task("cartpole").simulator, 1, 5))
    assert all(info["is_success"] for info in fly(load_task("pendulum").simulator, [0.0], 3))


@pytest.fixture
def promoted():
    """Two robots that stand still at level 1 and go on to level 5: environment, last step of the one, first of the
    other."""
    environment = SimulatorVecEnv(reach_avoid(1), 2)
    environment.seed(0)
    environment.reset()
    environment.step(np.zeros((2, 2)))
    environment.go_on_to(reach_avoid(5))
    last = environment.step(np.zeros((2, 2)))
    return environment, last, environment.step(np.zeros((2, 2)))


def test_going_on_to_another_simulator_cuts_off_the_episodes_underway(promoted):
    environment, (observations, _, done, infos), (_, _, done_after, _) = promoted
    assert done.all()
    assert not done_after.any()
    assert all(info["TimeLimit.truncated"] for info in infos)
    # Nobody knows how they would have ended.
    assert not any("is_success" in info or "episode" in info for info in infos)
    last = np.array([info["terminal_observation"] for info in infos])
    assert (np.abs(last - observations).max(axis=1) > 0.1).all()
    assert environment.lengths.tolist() == [1, 1]


def test_after_it_all_episodes_are_the_other_simulators(promoted):
    environment, _, _ = promoted
    assert environment.simulator == reach_avoid(5)
    assert (environment.fleet.state[:, 9] > 1.8).all()  # the goal's rectangle of level 5; level 1 ends at y = 0.7
    assert environment.fleet.simulator.layout.hazard_size == 0.5


def test_an_ending_in_the_step_of_the_promotion_is_no_truncation():
    environment = SimulatorVecEnv(replace(load_task("cartpole").simulator, horizon=500), 1)
    environment.seed(0)
    environment.reset()
    steps = fly_until_it_falls(environment)
    environment.seed(0)
    environment.reset()
    for _ in range(steps - 1):
        environment.step(np.array([1]))
    environment.go_on_to(load_task("cartpole").simulator)
    _, _, done, infos = environment.step(np.array([1]))
    assert done[0]
    assert not infos[0]["TimeLimit.truncated"]
    assert infos[0]["episode"]["l"] == steps


def fly_until_it_falls(environment):
    for step in range(1, 500):
        if environment.step(np.array([1]))[2][0]:
            return step
    raise AssertionError("it never fell")
