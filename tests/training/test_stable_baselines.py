"""Which environments an agent is trained in."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="needs the extra niwaki[train]")
pytest.importorskip("sb3_contrib", reason="needs the extra niwaki[train]")

from stable_baselines3.common.vec_env import DummyVecEnv

from niwaki.tasks import load_task, parse_task
from niwaki.training.environment import SimulatorVecEnv
from niwaki.training.presets import DEFAULTS
from niwaki.training.stable_baselines import make_agent, make_environments


def test_a_plain_gymnasium_task_is_trained_in_gymnasiums_own_environment():
    environments = make_environments(load_task("Pendulum-v1").simulator, 2, seed=0)
    assert isinstance(environments, DummyVecEnv)
    assert environments.envs[0].spec.id == "Pendulum-v1"
    assert environments.envs[0].spec.max_episode_steps == 200


def test_the_horizon_of_a_task_is_the_time_limit_of_its_environment():
    task = parse_task("t", 'title = "t"\ngymnasium = "Pendulum-v1"\nhorizon = 77')
    environments = make_environments(task.simulator, 1, seed=0)
    assert environments.envs[0].spec.max_episode_steps == 77


def test_the_arguments_of_a_task_reach_its_environment():
    task = parse_task("t", 'title = "t"\ngymnasium = "Pendulum-v1"\n[arguments]\ng = 2.5')
    assert make_environments(task.simulator, 1, seed=0).envs[0].unwrapped.g == 2.5


def test_nothing_is_drawn_while_training():
    assert make_environments(load_task("Pendulum-v1").simulator, 1, seed=0).envs[0].render_mode is None


def test_a_task_that_starts_elsewhere_than_gymnasium_is_trained_where_it_starts():
    pytest.importorskip("Box2D", reason="needs the extra niwaki[box2d]")
    windy = 'title = "t"\ngymnasium = "LunarLander-v3"\n[sample]\nwind_power = [0.0, 10.0]'
    assert isinstance(make_environments(parse_task("t", windy).simulator, 1, seed=0), SimulatorVecEnv)
    searched = windy.replace("[sample]", "[search]")
    assert isinstance(make_environments(parse_task("t", searched).simulator, 1, seed=0), DummyVecEnv)


def test_a_lockstep_task_is_trained_in_its_own_simulator():
    assert isinstance(make_environments(load_task("cartpole").simulator, 3, seed=0), SimulatorVecEnv)


def test_td3_explores_with_noise_on_its_actions():
    agent = make_agent(replace(load_task("pendulum"), training=None), DEFAULTS["td3"], seed=0)
    assert np.std([agent.action_noise()[0] for _ in range(500)]) == pytest.approx(0.1, rel=0.2)


def test_the_learning_rate_falls_to_zero_only_where_the_preset_says_so():
    task = load_task("cartpole")
    falling = make_agent(task, task.training, seed=0)
    assert falling.lr_schedule(0.5) == pytest.approx(5e-4)
    constant = make_agent(task, task.training.model_copy(update={"linear_schedule": False}), seed=0)
    assert constant.lr_schedule(0.5) == pytest.approx(1e-3)
