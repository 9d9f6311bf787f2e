"""The adapted policy: the task's, held near its base by a budget, in flight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.adaptation.budget import Budget
from niwaki.policies.gaussian import Gaussian
from niwaki.policies.noise import episode_keys, normals
from niwaki.policies.sampled import SampledPolicy
from niwaki.splitmix import Words
from niwaki.types import Floats, Integers, NiwakiError


@dataclass(frozen=True, eq=False)
class AdaptedPolicy:
    """Draws what `budget` makes of the task's distribution beside the base's, with the scenario's own noise.

    In stages, what one budget makes is the base of the next: `before` are those of the stages that came first.
    Every stage keeps its own memory of the same path, so that its distribution is known in every step, whatever its
    method. Raises NiwakiError where base and task do not observe or squash alike: their ratio is taken before the
    squash.
    """

    base: SampledPolicy
    task: SampledPolicy
    budget: Budget
    before: tuple[Budget, ...] = ()

    def __post_init__(self) -> None:
        base, task = self.base.policy.head, self.task.policy.head
        if self.base.observation_size != self.task.observation_size:
            raise NiwakiError(
                f"base and task observe {self.base.observation_size} and {self.task.observation_size} numbers"
            )
        same = np.array_equal(base.low, task.low) and np.array_equal(base.high, task.high)
        if (base.kind, base.limit) != (task.kind, task.limit) or not same:
            raise NiwakiError("base and task turn what they draw into actions in different ways: they need one head")

    @classmethod
    def staged(cls, base: SampledPolicy, task: SampledPolicy, budgets: tuple[Budget, ...]) -> AdaptedPolicy:
        """The policy of the last of these stages, at least one, in their order."""
        return cls(base, task, budgets[-1], budgets[:-1])

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """Of all stages, in their order."""
        return (*self.before, self.budget)

    @property
    def observation_size(self) -> int:
        return self.base.observation_size

    def chain(self, t: int, memories: tuple[Floats, ...], observations: Floats) -> list[Gaussian]:
        """What the base draws from in step t, then what each stage makes of it, [n, A]; the last one acts."""
        task, chain = self.task.distribution(observations), [self.base.distribution(observations)]
        for budget, memory in zip(self.budgets, memories, strict=True):
            chain.append(budget.project(t, memory, task, chain[-1]))
        return chain

    def step(
        self, t: int, memories: tuple[Floats, ...], observations: Floats, noise: Floats
    ) -> tuple[NDArray, tuple[Floats, ...]]:
        """Actions [n, A] in step t from standard normal noise [n, A], and the memories [n] of all stages after it."""
        chain = self.chain(t, memories, observations)
        drawn = chain[-1].mean + chain[-1].std * noise
        stages = zip(self.budgets, memories, chain[1:], chain[:-1], strict=True)
        after = tuple(budget.charge(memory, chosen, base, drawn) for budget, memory, chosen, base in stages)
        return self.base.policy.actions(drawn), after

    def begin(self, scenarios: Floats, /) -> AdaptedPilot:
        """A pilot for the episodes of scenarios [B, K], with the whole budget for each."""
        memories = tuple(budget.begin(len(scenarios)) for budget in self.budgets)
        return AdaptedPilot(self, episode_keys(scenarios), memories)


@dataclass(frozen=True, eq=False)
class AdaptedPilot:
    """Keeps what each episode has left of its budgets."""

    policy: AdaptedPolicy
    keys: Words  # [B]
    memories: tuple[Floats, ...]  # [B] for each stage

    def act(self, t: int, rows: Integers, observations: Floats, /) -> NDArray:
        """Actions [n, A] of the episodes `rows` in step t."""
        noise = normals(self.keys[rows], t, self.policy.base.policy.head.low.size)
        before = tuple(memory[rows] for memory in self.memories)
        actions, after = self.policy.step(t, before, observations, noise)
        for memory, left in zip(self.memories, after, strict=True):
            memory[rows] = left
        return actions
