"""`train`: a teacher for a task, learnt with Stable-Baselines3 and chosen among its checkpoints.

The last checkpoint of a run is seldom its best. So every checkpoint is flown as it would be shipped, on the
same scenarios, and the best is kept: among those that reach the task's return threshold the one that fails
least often, then the one with the highest lower bound of the mean return. That choice makes its own figures
too good: what is reported comes from fresh scenarios.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from niwaki.evaluation import Interval, Row, mean_interval, policy_row, scenarios_for
from niwaki.policies.deployed import deployed
from niwaki.policies.gaussian import GaussianPolicy
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.sampled import SampledPolicy, sampled
from niwaki.policies.storage import save_policy
from niwaki.rollout import rollout
from niwaki.tasks import Task, Training
from niwaki.training.presets import stages_of, training_for
from niwaki.types import Floats, NiwakiError, Policy

CHECKPOINTS = 18  # about so many in a run
CHANCE = 3  # failures: so few more or less are none
SELECTION = 0x5E1E  # keeps the scenarios that choose a checkpoint apart from those that evaluate it

TrainingProgress = Callable[[int, int, float | None], None]


@dataclass(frozen=True)
class Checkpoint:
    """The policy after some steps, and how its episodes on the selection scenarios went."""

    steps: int
    returns: Interval  # 95 %
    failures: int

    def merit(self, threshold: float | None) -> tuple[bool, int, float]:
        """What checkpoints are ranked by, higher is better: goal reached, fewer failures, lower bound of the return.

        Failures count in threes, for fewer do not tell checkpoints apart: in whole per cent of 300 episodes. Before
        the goal is reached they do not count: doing nothing may be the safest of all.
        """
        reached = threshold is not None and self.returns.low >= threshold
        return reached, -round(self.failures / CHANCE) if reached else 0, self.returns.low


@dataclass(frozen=True, eq=False)
class Trained:
    """The chosen policy and how it came about."""

    policy: NetworkPolicy | GaussianPolicy
    training: Training
    chosen: Checkpoint
    checkpoints: tuple[Checkpoint, ...]  # in the order of training
    row: Row  # the evaluation on fresh scenarios, see `niwaki.evaluation.policy_row`
    interrupted: bool  # stopped from the keyboard: the best checkpoint until then was kept
    seconds: float  # of training and choosing


def train(
    task: Task,
    *,
    algorithm: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    out: Path,
    progress: TrainingProgress | None = None,
    episodes: int = 200,
    command: str | None = None,
) -> Trained:
    """Train a policy for the task, write the best checkpoint to `out`, evaluate it on fresh scenarios.

    Settings come from the task's preset, or from defaults where it has none for the algorithm. The same task,
    settings, seed and versions give the same policy on the same kind of machine. `out` is written whenever a
    checkpoint is the best so far, so nothing is lost when the process dies; a KeyboardInterrupt ends the
    training and keeps that checkpoint. `progress` is told steps done, all steps and the best mean so far.
    `command` is what the policy's origin says of how to make it again, where it is not the obvious one.

    Raises NiwakiError when Stable-Baselines3 is missing, for settings that do not fit, when the weights stop
    being finite, and when the run is interrupted before its first checkpoint.
    """
    training = training_for(task, algorithm=algorithm, steps=steps)
    fresh = scenarios_for(task.simulator, episodes, seed=seed)
    if not out.parent.is_dir():
        raise NiwakiError(f"there is no folder {str(out.parent)!r} to write {out.name!r} into")
    _stable_baselines()
    command = command or train_command(task.name, algorithm, steps, seed)
    horizon = training.choice_horizon or task.simulator.horizon
    judge = replace(task, simulator=replace(task.simulator, horizon=horizon))
    choice = Choice(judge, out, seed=seed, episodes=training.episodes, origin=_origin(task, training, seed, command))
    start = time.monotonic()
    interrupted = _learn(task, training, choice, seed=seed, progress=progress)
    if choice.best is None or choice.policy is None:
        raise NiwakiError("the training was interrupted before its first checkpoint: there is nothing to keep")
    seconds = time.monotonic() - start
    flown = rollout(task.simulator, flying(choice.policy), fresh, specs=task.specs)
    network = choice.policy.network if isinstance(choice.policy, GaussianPolicy) else choice.policy
    row = policy_row(network, trajectories=flown)
    return Trained(choice.policy, training, choice.best, tuple(choice.seen), row, interrupted, seconds)


def flying(policy: NetworkPolicy | GaussianPolicy) -> Policy | SampledPolicy:
    """The policy as it would be shipped, with its noise if it has any."""
    return sampled(policy) if isinstance(policy, GaussianPolicy) else deployed(policy)


def selection_scenarios(task: Task, episodes: int, *, seed: int) -> Floats:
    """The scenarios [episodes, K] that a run with this seed chooses its checkpoint on."""
    return task.simulator.sample(np.random.default_rng([seed, SELECTION]), episodes)


def checkpoint_steps(steps: int, rollout: int) -> int:
    """Steps from one checkpoint to the next: a whole number of rollouts."""
    return max(1, steps // CHECKPOINTS // rollout) * rollout


@dataclass
class Choice:
    """The best checkpoint so far."""

    task: Task
    out: Path
    seed: int
    episodes: int
    origin: tuple[tuple[str, str], ...]
    seen: list[Checkpoint] = field(default_factory=list)
    best: Checkpoint | None = None
    policy: NetworkPolicy | GaussianPolicy | None = None

    def consider(self, steps: int, policy: NetworkPolicy | GaussianPolicy) -> None:
        """Fly the checkpoint and keep it if it is better than all before."""
        policy = _signed(policy, (*self.origin, ("checkpoint", f"{steps} steps")))
        policy = policy.for_actions(self.task.simulator.action_space)
        scenarios = selection_scenarios(self.task, self.episodes, seed=self.seed)
        flown = rollout(self.task.simulator, flying(policy), scenarios)
        failures = int(flown.ended(self.task.simulator.failures).sum())
        checkpoint = Checkpoint(steps, mean_interval(flown.returns), failures)
        self.seen.append(checkpoint)
        goal = self.task.return_threshold
        if self.best is None or checkpoint.merit(goal) > self.best.merit(goal):
            save_policy(policy, self.out)
            self.best, self.policy = checkpoint, policy


def _signed(
    policy: NetworkPolicy | GaussianPolicy, origin: tuple[tuple[str, str], ...]
) -> NetworkPolicy | GaussianPolicy:
    if isinstance(policy, GaussianPolicy):
        return replace(policy, network=replace(policy.network, origin=origin))
    return replace(policy, origin=origin)


def _learn(task: Task, training: Training, choice: Choice, *, seed: int, progress: TrainingProgress | None) -> bool:
    """Train to the end; whether it was interrupted."""
    sb3 = _stable_baselines()
    agent = sb3.make_agent(task, training, seed=seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks of this size are quicker on one thread, and their bits reproducible
    every = checkpoint_steps(training.steps, sb3.rollout_steps(agent))
    last = 0

    def see(steps: int) -> None:
        nonlocal last
        if steps >= last + every:
            last = steps
            choice.consider(steps, sb3.policy_of(agent, stochastic=training.stochastic))
        if progress is not None:
            progress(steps, training.steps, choice.best.returns.mean if choice.best else None)

    try:
        agent.learn(training.steps, callback=[sb3.Watch(see), sb3.Promote(stages_of(task, training))])
        if agent.num_timesteps > last:
            choice.consider(int(agent.num_timesteps), sb3.policy_of(agent, stochastic=training.stochastic))
    except KeyboardInterrupt:
        return True
    except ValueError as error:  # what torch raises when a network's outputs are no numbers any more
        if sb3.finite(agent):
            raise
        raise NiwakiError(
            f"the weights are not finite after {agent.num_timesteps} steps: lower learning_rate"
        ) from error
    finally:
        agent.get_env().close()
        torch.set_num_threads(threads)
    return False


def _stable_baselines() -> Any:
    try:
        from niwaki.training import stable_baselines
    except ImportError as error:
        raise NiwakiError('training needs Stable-Baselines3: pip install "niwaki[train]"') from error
    return stable_baselines


def train_command(task: str, algorithm: str | None, steps: int | None, seed: int, *, unsafe: bool = False) -> str:
    """The command line that trains like this; `task` as a user would type it."""
    given = {"task": task, "algo": algorithm, "unsafe": "" if unsafe else None, "steps": steps, "seed": seed}
    return "niwaki train " + " ".join(f"--{key} {value}".rstrip() for key, value in given.items() if value is not None)


def _origin(task: Task, training: Training, seed: int, command: str) -> tuple[tuple[str, str], ...]:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("stable-baselines3", "torch", "gymnasium"))
    return (
        ("source", "niwaki train"),
        ("task", task.name),
        ("algorithm", training.algorithm.upper()),
        ("steps", str(training.steps)),
        ("seed", str(seed)),
        ("command", command),
        ("libraries", libraries),
    )
