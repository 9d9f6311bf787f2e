"""Fitting: a policy made ready for a task's observations and actions."""

from __future__ import annotations

from typing import TypeVar

from niwaki.policies.gaussian import GaussianPolicy
from niwaki.policies.network import NetworkPolicy
from niwaki.tasks import Task
from niwaki.types import NiwakiError

Fitted = TypeVar("Fitted", NetworkPolicy, GaussianPolicy)


def fit(policy: Fitted, task: Task) -> Fitted:
    """The policy with its head made for the task's actions. Raises NiwakiError when it does not fit."""
    size = task.simulator.observation_size
    if policy.observation_size != size:
        raise NiwakiError(
            f"the policy takes {policy.observation_size} observations, {task.name} gives {size}: "
            "is it the task that the policy was trained for?"
        )
    return policy.for_actions(task.simulator.action_space)
