"""whittling: one number after the other goes, as long as the flights say that it may.

small network -> leave one number out -> fly -> teach -> polish -> gate
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property, partial

import numpy as np

from niwaki.gates import Verdict
from niwaki.imitation import MOST_LESSONS, Lessons, attention, distil, gather, join
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.recipes.fitness import Fitness
from niwaki.recipes.ledger import Facts
from niwaki.rollout import Stages, rollout
from niwaki.shrinking.polish import JUDGING, polish
from niwaki.shrinking.whittle import Whittling, whittle
from niwaki.tasks import Task

LESSON = 0x7E57  # family of dice
LESSON_EPISODES, LESSON_STEPS = 48, 2000  # flights to learn from, of the network and of its teacher, and gradient steps
POLISH_GENERATIONS, ENGINE_POLISH_GENERATIONS = 60, 20  # of a network that is to be put to the test
FAR = 2.0  # below a teacher's fitness: too far for the flights of an engine that polishing takes
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
        lessons = cache(partial(self._lessons, network, number))  # flown where they are needed, once

        def passes(other: NetworkPolicy) -> bool:
            verdicts.append(self.passes(other))
            return verdicts[-1].passed

        left = whittle(
            network,
            self._fitness,
            passes,
            enough=-self.loss,
            teach=lambda other: self._teach(lessons(), number, other),
            whittling=Whittling() if self._fitness.quick else Whittling(tries=2, generations=10),
            seed=self.seed + number,
        )
        return ({"verdict": asdict(verdicts[-1])} if left else {"exhausted": True}), left

    def polished(self, network: NetworkPolicy) -> tuple[Facts, NetworkPolicy | None]:
        """The network moved by what its flights earn, until that is what the teacher's do; of an engine, whose flights
        are few, for all it can earn. None where it is too far off, where that brings nothing, or not enough to pass."""
        self.progress(f"polishing {network.nonzero_parameters} parameters", 0, 0)
        generations = POLISH_GENERATIONS if self._fitness.quick else ENGINE_POLISH_GENERATIONS
        enough = 0.0 if self._fitness.quick else float("inf")
        if not self._fitness.quick and (fitness := self._fitness(network, JUDGING)) < -FAR:
            return {"exhausted": True, "fitness": fitness}, None
        better, fitness = polish(network, self._fitness, enough=enough, generations=generations, seed=self.seed)
        if fitness < -self.loss or better is network:
            return {"exhausted": True, "fitness": fitness}, None
        verdict = self.passes(better)
        if not verdict.passed:  # what is enough where it was polished is not enough elsewhere
            better, fitness = polish(better, self._fitness, generations=generations, seed=self.seed + 1)
            verdict = self.passes(better)
        return {"verdict": asdict(verdict)}, better if verdict.passed else None

    def _lessons(self, network: NetworkPolicy, number: int) -> Lessons:
        """What the teacher would have done where the network flies, and where the teacher itself does."""
        rng, n = np.random.default_rng([self.seed, LESSON, number]), LESSON_EPISODES
        parts = []
        for flying in (network, self.teacher):
            rows = self.task.simulator.sample(rng, n)
            flown = rollout(self.task.simulator, deployed(flying), rows, specs=self.task.specs, record=True)
            parts.append(gather(self.teacher, flown, weights=attention(flown)))
        return join(parts, most=MOST_LESSONS, rng=rng)

    def _teach(self, lessons: Lessons, number: int, network: NetworkPolicy) -> NetworkPolicy:
        return distil(network, lessons, steps=LESSON_STEPS, bare=True, seed=self.seed + number)

    @cached_property
    def _fitness(self) -> Fitness:
        return Fitness(self.teacher, self.task, self.seed)
