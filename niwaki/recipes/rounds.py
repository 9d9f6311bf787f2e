"""rounds: PoPS's loop, one round after the other: prune on the way, read off the redundancy, shrink, distil.

(D. Livne & K. Cohen: PoPS, IEEE Journal of Selected Topics in Signal Processing 14(4), 2020, arXiv:2001.05012.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np

from niwaki.imitation import MOST_LESSONS, Lessons, gather, join
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.recipes.ipp import Course, Fly, Loop, distil_dense, prune_on_the_way
from niwaki.recipes.ledger import Facts, Stage, Work
from niwaki.recipes.stages import fly
from niwaki.rollout import Stages
from niwaki.shrinking.widths import narrower, newborn, redundancy
from niwaki.tasks import Task
from niwaki.types import Lockstep, NiwakiError, Policy

LESSON, GLANCE, BIRTH = 0x1E55, 0x6A9C, 0xB127  # families of dice
NEW_STEPS = 25_000  # that the teacher flies for every iteration
BUFFER = 4  # iterations whose flights are learned from: 100,000 steps, as in the paper
LOOK_EPISODES, ENGINE_LOOK_EPISODES = 100, 25
LOWER_SHARE = 80 / 190  # the paper's lower bound on CartPole, as a share of its objective
LEAST_FALL = 0.0005  # share of the teacher's weights; a step that gains less is the last


def check_shrinkable(teacher: NetworkPolicy) -> None:
    """Raises NiwakiError for a policy without hidden units."""
    if len(teacher.layers) < 2:
        raise NiwakiError("the policy has no hidden units to shrink")


def lower_bound(objective: float) -> float:
    """The paper's lower bound for an objective: below it by 110/190 of its size."""
    return objective - (1 - LOWER_SHARE) * abs(objective)


@dataclass(frozen=True)
class Iteration:
    """One round of the loop: what pruning left of a network, and the smaller dense network that took its place."""

    nonzero_weights: int  # that pruning left
    redundancy: tuple[float, ...]  # of each layer
    widths: tuple[int, ...]  # of the dense network, from observation to output
    weights: int
    parameters: int
    score: float  # of the dense network, at its last look
    reached: bool  # the objective
    seconds: float


@dataclass(eq=False)
class Rounds:
    """The rounds of one run; `stage` writes each half of one down."""

    teacher: NetworkPolicy
    task: Task
    loop: Loop
    stage: Callable[[str, Work], Stage]
    progress: Stages
    reason: str = ""  # why there is no further round, where little gain is not the reason
    _flown: dict[int, Lessons] = field(default_factory=dict)

    def __call__(self, length: float) -> Iterator[tuple[Iteration, Stage]]:
        """Yields each round, and the stage of its dense network, until little is gained or an objective is missed.

        `length` is that of the teacher's episodes, in steps.
        """
        # As large as the teacher, but not its copy: large Q values that differ by little are a bad start for logits.
        network = self._newborn(self.teacher.sizes[1:-1], 0)
        for number in range(1, self.loop.iterations + 1):
            pruned = self.stage(f"prune {number}", partial(self._prune, network, number, length))
            if pruned.network is None:
                self.reason = "no pruned network reached the objective"
                return
            widths = narrower(network.sizes[1:-1], pruned.facts["redundancy"])
            if widths == network.sizes[1:-1]:
                self.reason = "what pruning left needs a network as wide as before"
                return
            shrunk = self.stage(f"distil {number}", partial(self._distil, widths, number, length))
            yield _iteration(pruned, shrunk), shrunk
            if shrunk.network is None:
                self.reason = f"no dense network of {shrunk.facts['weights']:,} weights reached the objective"
                return
            fall = network.weights - shrunk.network.weights
            network = shrunk.network
            if fall < LEAST_FALL * self.teacher.weights:
                return

    def _prune(self, network: NetworkPolicy, number: int, length: float) -> tuple[Facts, NetworkPolicy | None]:
        self.progress(f"pruning {network.weights:,} weights", 0, 0)
        course = prune_on_the_way(
            network,
            self._lessons(number, length),
            self._fly_look(number, 0),
            self.loop,
            iteration=number,
        )
        facts = _facts(course)
        if course.network is not None:
            facts["redundancy"] = redundancy(course.network)
        return facts, course.network

    def _distil(self, widths: tuple[int, ...], number: int, length: float) -> tuple[Facts, NetworkPolicy | None]:
        student = self._newborn(widths, number)
        self.progress(f"distilling into {student.weights:,} weights", 0, 0)
        course = distil_dense(
            student,
            self._lessons(number, length),
            self._fly_look(number, 1),
            self.loop,
            iteration=number,
        )
        facts = _facts(course) | {
            "widths": student.sizes,
            "weights": student.weights,
            "parameters": student.parameters,
        }
        return facts, course.network

    def _newborn(self, widths: tuple[int, ...], number: int) -> NetworkPolicy:
        return newborn(self.teacher, widths, np.random.default_rng([self.loop.seed, BIRTH, number]))

    def _lessons(self, number: int, length: float) -> Lessons:
        """The teacher's last flights up to this iteration: some new ones, and those of the iterations before."""
        episodes = max(1, round(NEW_STEPS / length))
        recent = range(max(1, number - BUFFER + 1), number + 1)
        for i in recent:
            if i not in self._flown:
                dice = (self.loop.seed, LESSON, i)
                flights = fly(deployed(self.teacher), self.task, dice, episodes, progress=self.progress, record=True)
                self._flown[i] = gather(self.teacher, flights)
        rng = np.random.default_rng([self.loop.seed, LESSON, number, 1])
        return join([self._flown[i] for i in recent], most=MOST_LESSONS, rng=rng)

    def _fly_look(self, number: int, kind: int) -> Fly:
        """Mean returns for the looks of a course, each on scenarios of its own."""

        def score(student: NetworkPolicy, look: int) -> float:
            quick = isinstance(self.task.simulator, Lockstep)
            n = LOOK_EPISODES if quick else ENGINE_LOOK_EPISODES
            flying: Policy = student if quick else deployed(student)  # compiling costs more than it saves
            dice = (self.loop.seed, GLANCE, number, kind, look)
            return float(fly(flying, self.task, dice, n, progress=self.progress).returns.mean())

        return score


def _facts(course: Course) -> Facts:
    return {"looks": [asdict(look) for look in course.looks]}


def _iteration(pruned: Stage, shrunk: Stage) -> Iteration:
    assert pruned.network is not None
    return Iteration(
        nonzero_weights=pruned.network.nonzero_weights,
        redundancy=tuple(pruned.facts["redundancy"]),
        widths=tuple(shrunk.facts["widths"]),
        weights=shrunk.facts["weights"],
        parameters=shrunk.facts["parameters"],
        score=shrunk.facts["looks"][-1]["score"],
        reached=shrunk.network is not None,
        seconds=round(pruned.seconds + shrunk.seconds, 1),
    )


def in_words(stage: Stage) -> str:
    """What half a round has found, in one line."""
    facts, kind = stage.facts, stage.name.split()[0]
    if kind == "distil":
        said = "reached" if stage.network is not None else "not reached"
        return f"distil: {facts['weights']:,} weights, return {facts['looks'][-1]['score']:.1f}, objective {said}"
    if stage.network is None:
        return "prune: nothing reached the objective"
    return f"prune: {stage.network.nonzero_weights:,} of {stage.network.weights:,} weights are left"
