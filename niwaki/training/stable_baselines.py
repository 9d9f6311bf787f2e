"""A Stable-Baselines3 agent for a task, and its policy at any moment. Needs the extra `train`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sb3_contrib import QRDQN, TQC, TRPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from niwaki.policies.gaussian import GaussianPolicy
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.sb3 import load_sb3, load_sb3_gaussian
from niwaki.simulators.environments import find_spec
from niwaki.simulators.gymnasium import GymnasiumEngine, gymnasium_engine
from niwaki.tasks import Algorithm, Task, Training
from niwaki.training.curriculum import Curriculum
from niwaki.training.environment import SimulatorVecEnv
from niwaki.training.presets import stages_of
from niwaki.training.prioritized import PrioritizedSAC
from niwaki.types import NiwakiError, Simulator

ALGORITHMS: dict[Algorithm, Any] = {
    "ppo": PPO,
    "a2c": A2C,
    "dqn": DQN,
    "sac": SAC,
    "td3": TD3,
    "tqc": TQC,
    "trpo": TRPO,
    "qrdqn": QRDQN,
}
ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "elu": torch.nn.ELU}
EXPLORATION = 0.1  # standard deviation of TD3's action noise, which Stable-Baselines3 leaves out by default
DEFAULT_GAMMA = 0.99


def make_agent(task: Task, training: Training, *, seed: int) -> Any:
    """The untrained agent. Raises NiwakiError for settings that the algorithm does not take."""
    arguments: dict[str, Any] = dict(training.arguments)
    stages = stages_of(task, training)
    environments = make_environments(stages[0], training.environments, seed=seed, staged=len(stages) > 1)
    if training.normalize:
        environments = VecNormalize(environments, gamma=arguments.get("gamma", DEFAULT_GAMMA))
    if training.linear_schedule and "learning_rate" in arguments:
        rate = arguments["learning_rate"]
        arguments["learning_rate"] = lambda remaining: rate * remaining
    if training.algorithm == "td3":
        size = environments.action_space.shape
        arguments["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, EXPLORATION))
    network = {"net_arch": _architecture(training), "activation_fn": ACTIVATIONS[training.activation]}
    algorithm = PrioritizedSAC if training.prioritized else ALGORITHMS[training.algorithm]
    try:
        return algorithm("MlpPolicy", environments, seed=seed, device="cpu", policy_kwargs=network, **arguments)
    except (TypeError, ValueError, AssertionError) as error:
        raise NiwakiError(f"{training.algorithm} does not take the settings of {task.name}: {error}") from error


def _architecture(training: Training) -> list[int] | dict[str, list[int]]:
    if training.critic_widths is None:
        return list(training.widths)
    critics = "vf" if training.algorithm in ("ppo", "a2c", "trpo") else "qf"
    return {"pi": list(training.widths), critics: list(training.critic_widths)}


def make_environments(simulator: Simulator, count: int, *, seed: int, staged: bool = False) -> Any:
    """So many environments: Gymnasium's own where the task changes nothing of it but its time limit and its
    search ranges, else the simulator itself, started from the task's scenarios. The latter too where it is only the
    first of several stages."""
    if staged or not isinstance(simulator, GymnasiumEngine):
        return SimulatorVecEnv(simulator, count)
    own = gymnasium_engine(simulator.env_id, kwargs=simulator.kwargs, horizon=simulator.horizon)
    if [c.sample for c in simulator.columns] != [c.sample for c in own.columns]:
        return SimulatorVecEnv(simulator, count)
    arguments = {**dict(simulator.kwargs), "render_mode": None}  # a lander that may be drawn is twice as slow
    if simulator.horizon != find_spec(simulator.env_id).max_episode_steps:
        arguments["max_episode_steps"] = simulator.horizon
    return make_vec_env(simulator.env_id, count, seed=seed, env_kwargs=arguments, vec_env_cls=DummyVecEnv)


def policy_of(agent: Any, *, stochastic: bool = False) -> NetworkPolicy | GaussianPolicy:
    """The agent's policy as it is now, with its observation normaliser baked in; with its noise if it is stochastic.

    It takes the way of every other agent, through its files: what is imported is what was trained.
    """
    load = load_sb3_gaussian if stochastic else load_sb3
    normalizer = agent.get_vec_normalize_env()
    with tempfile.TemporaryDirectory(prefix="niwaki-") as folder:
        zipped, statistics = Path(folder, "agent.zip"), Path(folder, "vecnormalize.pkl")
        agent.save(zipped)
        if normalizer is None:
            return load(zipped)
        normalizer.save(str(statistics))
        return load(zipped, vecnormalize=statistics)


def finite(agent: Any) -> bool:
    """Whether all weights are numbers."""
    return all(bool(torch.isfinite(weights).all()) for weights in agent.policy.parameters())


class Watch(BaseCallback):  # type: ignore[misc]  # Stable-Baselines3 is not type-checked here
    """Calls `see(steps so far)` before each collection of experience, that is after each update."""

    def __init__(self, see: Callable[[int], None]) -> None:
        super().__init__()
        self.see = see

    def _on_rollout_start(self) -> None:
        self.see(int(self.num_timesteps))

    def _on_step(self) -> bool:
        return True


class Promote(BaseCallback):  # type: ignore[misc]
    """Leads the environments through the stages of a curriculum."""

    def __init__(self, stages: Sequence[Simulator]) -> None:
        super().__init__()
        self.stages, self.curriculum = stages, Curriculum(len(stages))

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "is_success" in info and self.curriculum.note(info["is_success"]):
                self.training_env.unwrapped.go_on_to(self.stages[self.curriculum.stage])
                break  # the others belong to the stage before
        return True


def rollout_steps(agent: Any) -> int:
    """Steps between two updates of an on-policy agent; off-policy agents may be watched at any step: 1."""
    return int(agent.n_envs * getattr(agent, "n_steps", 1))
