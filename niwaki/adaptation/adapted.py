"""The adapted policy: the task's, held near its base by a budget, in flight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.adaptation.budget import Budget
from niwaki.policies.noise import Words, episode_keys, normals
from niwaki.policies.sampled import SampledPolicy
from niwaki.types import Floats, Integers, NiwakiError


@dataclass(frozen=True, eq=False)
class AdaptedPolicy:
    """Draws what `budget` makes of the task's distribution beside the base's, with the scenario's own noise.

    Raises NiwakiError where base and task do not observe or squash alike: their ratio is taken before the squash.
    """

    base: SampledPolicy
    task: SampledPolicy
    budget: Budget

    def __post_init__(self) -> None:
        base, task = self.base.policy.head, self.task.policy.head
        if self.base.observation_size != self.task.observation_size:
            raise NiwakiError(
                f"base and task observe {self.base.observation_size} and {self.task.observation_size} numbers"
            )
        same = np.array_equal(base.low, task.low) and np.array_equal(base.high, task.high)
        if (base.kind, base.limit) != (task.kind, task.limit) or not same:
            raise NiwakiError("base and task turn what they draw into actions in different ways: they need one head")

    @property
    def observation_size(self) -> int:
        return self.base.observation_size

    def begin(self, scenarios: Floats, /) -> AdaptedPilot:
        """A pilot for the episodes of scenarios [B, K], with the whole budget for each."""
        return AdaptedPilot(self, episode_keys(scenarios), self.budget.begin(len(scenarios)))


@dataclass(frozen=True, eq=False)
class AdaptedPilot:
    """Keeps what each episode has left of its budget."""

    policy: AdaptedPolicy
    keys: Words  # [B]
    memory: Floats  # [B]

    def act(self, t: int, rows: Integers, observations: Floats, /) -> NDArray:
        """Actions [n, A] of the episodes `rows` in step t."""
        base, task = (policy.distribution(observations) for policy in (self.policy.base, self.policy.task))
        chosen = self.policy.budget.project(t, self.memory[rows], task, base)
        drawn = chosen.mean + chosen.std * normals(self.keys[rows], t, chosen.mean.shape[1])
        self.memory[rows] = self.policy.budget.charge(self.memory[rows], chosen, base, drawn)
        return self.policy.base.policy.actions(drawn)
