"""Which environments an agent is trained in."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3", reason="needs the extra niwaki[train]")
pytest.importorskip("sb3_contrib", reason="needs the extra niwaki[train]")

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from niwaki.simulators.reach_avoid_layout import CURRICULUM
from niwaki.tasks import load_task, parse_task
from niwaki.training.environment import SimulatorVecEnv
from niwaki.training.presets import DEFAULTS, stages_of
from niwaki.training.prioritized import PrioritizedSAC
from niwaki.training.stable_baselines import Promote, make_agent, make_environments, policy_of


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


def small(task, **update):
    """The task's preset with little networks, and its agent."""
    training = task.training.model_copy(update={"widths": (16, 8), "critic_widths": (8,), **update})
    return training, make_agent(replace(task, training=training), training, seed=0)


def test_the_preset_of_the_point_robot_is_a_prioritised_sac_on_five_stages():
    task = load_task("reach-avoid")
    training, agent = small(task)
    assert isinstance(agent, PrioritizedSAC)
    assert [stage.layout for stage in stages_of(task, training)] == [CURRICULUM[level] for level in range(1, 6)]
    assert agent.get_env().unwrapped.simulator.layout == CURRICULUM[1]
    assert {stage.reward for stage in stages_of(task, training)} == {"sparse"}
    assert task.simulator.reward == "progress"  # what is flown to choose is the task itself
    assert [layer.out_features for layer in agent.actor.latent_pi if hasattr(layer, "out_features")] == [16, 8]
    assert [layer.out_features for layer in agent.critic.q_networks[0] if hasattr(layer, "out_features")] == [8, 1]
    assert (agent.target_entropy, agent.log_ent_coef.exp().item()) == (0.0, pytest.approx(0.1))


def test_the_actor_of_on_policy_algorithms_has_a_critic_of_other_widths_too():
    training = DEFAULTS["ppo"].model_copy(update={"widths": (4,), "critic_widths": (6,), "normalize": False})
    agent = make_agent(load_task("pendulum"), training, seed=0)
    assert agent.policy.mlp_extractor.policy_net[0].out_features == 4
    assert agent.policy.mlp_extractor.value_net[0].out_features == 6


def test_the_stages_of_a_gymnasium_task_are_flown_in_niwakis_environment():
    head = 'title = "t"\ngymnasium = "Pendulum-v1"\n[training]\nalgorithm = "sac"\nsteps = 9\n'
    task = parse_task("t", head + "stages = [{g = 1.0}, {g = 9.0}]")
    environments = make_agent(task, task.training, seed=0).get_env().unwrapped
    assert isinstance(environments, SimulatorVecEnv)
    assert [dict(stage.kwargs)["g"] for stage in task.stages] == [1.0, 9.0]


def test_success_leads_to_the_next_stage(monkeypatch):
    monkeypatch.setattr("niwaki.training.curriculum.WINDOW", 4)
    task = load_task("reach-avoid")
    stages = tuple(replace(stage, failures=(), horizon=5) for stage in task.stages)  # any end is a success
    _, agent = small(replace(task, stages=stages), environments=3)
    promote, levels = Promote(stages), []
    agent.learn(150, callback=[promote, Watching(lambda: levels.append(agent.get_env().simulator.layout))])
    assert [layout for i, layout in enumerate(levels) if layout not in levels[:i]] == [stage.layout for stage in stages]
    first = [next(i for i, layout in enumerate(levels) if layout == stage.layout) for stage in stages]
    assert first == [0, 10, 21, 32, 43]  # three episodes each five steps; one step cuts off the next


class Watching(BaseCallback):
    def __init__(self, see):
        super().__init__()
        self.see = see

    def _on_step(self):
        self.see()
        return True


@pytest.mark.parametrize("name", ["reach-avoid", "reach-avoid-reset-goal"])
def test_the_policy_with_its_noise_is_the_agents_actor(name):
    _, agent = small(load_task(name))
    agent.actor.log_std.bias.data[0] += 2  # so that some log-stds meet the clamp
    policy = policy_of(agent, stochastic=True)
    observations = np.random.default_rng(0).normal(size=(500, 44)).astype(np.float32)
    with torch.no_grad():
        mean, log_std, _ = agent.actor.get_action_dist_params(torch.as_tensor(observations))
        presquash = torch.distributions.Normal(mean, log_std.exp()).sample()
        density = (
            torch.distributions.Normal(mean.double(), log_std.double().exp()).log_prob(presquash.double()).sum(dim=1)
        )
    found = policy.distribution(observations)
    assert found.mean == pytest.approx(mean.numpy(), rel=1e-6, abs=1e-6)
    assert np.log(found.std) == pytest.approx(log_std.numpy(), rel=1e-6, abs=1e-6)
    assert (log_std == 2).any()
    assert found.log_density(presquash.numpy()) == pytest.approx(density.numpy(), rel=1e-4, abs=1e-4)
    assert np.array_equal(policy_of(agent).layers[-1].weight, policy.deterministic.layers[-1].weight)
