"""whittling: one number after the other goes, as long as the flights say that it may.

small network -> leave one number out -> fly -> polish -> gate
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np

from niwaki.gates import Verdict
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.recipes.ledger import Facts
from niwaki.rollout import Stages, rollout
from niwaki.shrinking.whittle import Whittling, whittle
from niwaki.tasks import Task
from niwaki.types import Lockstep, Policy, Trajectories

FITNESS = 0xF17E  # family of dice
FITNESS_EPISODES, ENGINE_FITNESS_EPISODES = 256, 64  # on which numbers are left out and polished
WHITTLED = 60  # parameters of a network that is worth whittling: each one is left out once


@dataclass(frozen=True)
class Whittler:
    """What a network is whittled beside and by: its teacher, and what lets a network pass."""

    teacher: NetworkPolicy
    task: Task
    passes: Callable[[NetworkPolicy], Verdict]
    loss: float  # share of the teacher's return that a network may lose to be put to the test
    seed: int
    progress: Stages = field(default_factory=lambda: lambda stage, done, total: None)

    def worth_while(self, network: NetworkPolicy) -> bool:
        """Whether the network is small enough."""
        return network.nonzero_parameters <= WHITTLED

    def __call__(self, network: NetworkPolicy, number: int) -> tuple[Facts, NetworkPolicy | None]:
        """The network without one more number, if it passes, and the facts of a stage; `number` changes the dice."""
        self.progress(f"leaving out one of {network.nonzero_parameters} parameters", 0, 0)
        verdicts: list[Verdict] = []

        def passes(other: NetworkPolicy) -> bool:
            verdicts.append(self.passes(other))
            return verdicts[-1].passed

        left = whittle(
            network,
            self._fitness,
            passes,
            enough=-self.loss,
            whittling=Whittling() if self._quick else Whittling(tries=2, generations=10),
            seed=self.seed + number,
        )
        return ({"verdict": asdict(verdicts[-1])} if left else {"exhausted": True}), left

    def _fitness(self, network: NetworkPolicy) -> float:
        """How much better than the teacher, as a share of its return, less how much more often it violates."""
        shown = self._bench
        flying: Policy = network if self._quick else deployed(network)  # compiling costs more than it saves
        flown = rollout(self.task.simulator, flying, shown.scenarios, specs=self.task.specs)
        gained = float((flown.returns - shown.returns).mean()) / max(abs(float(shown.returns.mean())), 1e-9)
        return gained - max(0.0, float(flown.violated.mean() - shown.violated.mean()))

    @cached_property
    def _bench(self) -> Trajectories:
        simulator, n = self.task.simulator, FITNESS_EPISODES if self._quick else ENGINE_FITNESS_EPISODES
        rows = simulator.sample(np.random.default_rng([self.seed, FITNESS]), n)
        return rollout(simulator, deployed(self.teacher), rows, specs=self.task.specs)

    @property
    def _quick(self) -> bool:
        return isinstance(self.task.simulator, Lockstep)
