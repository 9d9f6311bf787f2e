"""whittling: what is missed least goes, as long as the flights say that it may.

small network -> leave numbers out -> fly -> teach -> polish -> gate
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property, partial

import numpy as np

from niwaki.gates import Verdict
from niwaki.imitation import MOST_LESSONS, Lessons, choose, distil, gather
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.pruning.surgeon import MOST_PARAMETERS, operate
from niwaki.recipes.fitness import Fitness
from niwaki.recipes.ledger import Facts, OutOfTime
from niwaki.recipes.shape import CURVATURE_LESSONS
from niwaki.rollout import Stages, rollout
from niwaki.shrinking.polish import JUDGING, polish
from niwaki.shrinking.whittle import MOST, left_out, whittle
from niwaki.tasks import Task

LESSON = 0x7E57  # family of dice
LESSON_EPISODES, LESSON_STEPS = 96, 2000  # flights to learn from, and gradient steps
POLISH_GENERATIONS, ENGINE_POLISH_GENERATIONS = 60, 20  # of a network that is to be put to the test
FAR = 1.0  # below a teacher's fitness, where one is that earns nothing: too far for the flights of an engine
LEAST = 0.05  # share of the weights that the surgeon takes at once
BY_FLIGHTS = 60  # parameters of a network of which each is left out once, to see how it flies without
GENERATIONS, ENGINE_GENERATIONS = 30, 10  # of the polish of what is left
TRIES, ENGINE_TRIES = 4, 2  # numbers that are left out alone


@dataclass(frozen=True)
class Whittler:
    """What a network is whittled beside and by: its teacher, and what lets a network pass. Where no time is `left`,
    what was begun is ended between two generations of a polish."""

    teacher: NetworkPolicy
    task: Task
    passes: Callable[[NetworkPolicy], Verdict]
    loss: float  # share of the teacher's return that a network may lose to be put to the test
    seed: int
    progress: Stages = field(default_factory=lambda: lambda stage, done, total: None)
    left: Callable[[], float] = field(default_factory=lambda: lambda: float("inf"))  # seconds

    def worth_while(self, network: NetworkPolicy) -> bool:
        """Whether the network is small enough."""
        return network.parameters <= MOST_PARAMETERS

    def __call__(self, network: NetworkPolicy, number: int, share: float = MOST) -> tuple[Facts, NetworkPolicy | None]:
        """The network without a share of its numbers, or without fewer, if it passes, and a stage's facts; `number`
        changes the dice. Raises OutOfTime."""
        self.progress(f"leaving out some of {network.nonzero_parameters} parameters", 0, 0)
        quick, verdicts = self._fitness.quick, list[Verdict]()
        lessons = cache(partial(self._lessons, network, number))  # flown where they are needed, once

        def passes(other: NetworkPolicy) -> bool:
            verdicts.append(self.passes(other))
            return verdicts[-1].passed

        if network.nonzero_parameters <= BY_FLIGHTS:
            chosen = left_out(network, self._fitness, share=share, tries=TRIES if quick else ENGINE_TRIES)
        else:
            chosen = self._operated(network, lessons(), number, share)
        left = whittle(
            chosen,
            self._fitness,
            passes,
            enough=-self.loss,
            teach=lambda other: distil(other, lessons(), steps=LESSON_STEPS, bare=True, seed=self.seed + number),
            generations=GENERATIONS if quick else ENGINE_GENERATIONS,
            late=self._late(),
            seed=self.seed + number,
        )
        if left is None and self.left() <= 0:
            raise OutOfTime
        return ({"verdict": asdict(verdicts[-1])} if left else {"exhausted": True}), left

    def _operated(self, network: NetworkPolicy, lessons: Lessons, number: int, share: float) -> list[NetworkPolicy]:
        """The network without those of its weights that its own answers miss least."""
        few = choose(lessons, CURVATURE_LESSONS, np.random.default_rng([self.seed, LESSON, number, 1]))
        weights = network.nonzero_weights
        cuts = sorted({max(cut, LEAST) for cut in (share, share / 2, share / 4)}, reverse=True)
        return [operate(network, few, keep=weights - max(1, round(cut * weights))) for cut in cuts]

    def polished(self, network: NetworkPolicy, *, share: float = 1.0) -> tuple[Facts, NetworkPolicy | None]:
        """The network moved by what its flights earn, until that is what the teacher's do; of an engine, whose flights
        are few, for all it can earn. None where it is too far off, where that brings nothing, or not enough to pass.
        It has a `share` of the time that is left: the rest is for something else. Raises OutOfTime where none is."""
        self.progress(f"polishing {network.nonzero_parameters} parameters", 0, 0)
        generations = POLISH_GENERATIONS if self._fitness.quick else ENGINE_POLISH_GENERATIONS
        enough = 0.0 if self._fitness.quick else float("inf")
        if not self._fitness.quick and (fitness := self._fitness([network], JUDGING)[0]) < -FAR:
            return {"exhausted": True, "fitness": fitness}, None
        late = self._late(share)
        better, fitness = polish(
            network,
            self._fitness,
            enough=enough,
            needed=-self.loss,
            generations=generations,
            late=late,
            seed=self.seed,
        )
        if self.left() <= 0 and fitness < -self.loss:
            raise OutOfTime
        if fitness < -self.loss or better is network:
            return {"exhausted": True, "fitness": fitness}, None
        verdict = self.passes(better)
        if not verdict.passed:  # what is enough where it was polished is not enough elsewhere
            late = self._late(share)
            better, fitness = polish(better, self._fitness, generations=generations, late=late, seed=self.seed + 1)
            verdict = self.passes(better)
        if not verdict.passed and self.left() <= 0:
            raise OutOfTime
        return {"verdict": asdict(verdict)}, better if verdict.passed else None

    def _late(self, share: float = 1.0) -> Callable[[], bool]:
        """Says when this share of the time that is left now is over."""
        end = time.monotonic() + share * self.left()
        return lambda: time.monotonic() > end

    def _lessons(self, network: NetworkPolicy, number: int) -> Lessons:
        """What the network does in its own flights: once it is polished there is no better teacher of what is left of
        it."""
        rows = self.task.simulator.sample(np.random.default_rng([self.seed, LESSON, number]), LESSON_EPISODES)
        flown = rollout(self.task.simulator, deployed(network), rows, specs=self.task.specs, record=True)
        lessons = gather(network, flown)
        return choose(lessons, MOST_LESSONS, np.random.default_rng([self.seed, LESSON, number, 2]))

    @cached_property
    def _fitness(self) -> Fitness:
        return Fitness(self.teacher, self.task, self.seed)
