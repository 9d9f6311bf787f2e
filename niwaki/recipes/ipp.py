"""IPP: a student is distilled from its teacher and looked at now and then, pruned on the way or as it is.

The two halves of PoPS's loop (D. Livne & K. Cohen 2020, arXiv:2001.05012, algorithms 1 and 2); niwaki.recipes.pops puts
them together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from niwaki.imitation import THIN_EVERY, Lessons, Thin, distil
from niwaki.policies.network import NetworkPolicy
from niwaki.pruning.prune import prune
from niwaki.pruning.schedules import cubic
from niwaki.pruning.scores import magnitude
from niwaki.types import NiwakiError

FIT = 0xF175  # family of dice
FINAL_SPARSITY = 0.99
LOOKS = 20  # in one schedule
PATIENCE = 5  # looks below the objective in a row, after which a student that has once reached it is given up
SURE = 3  # looks in a row that reach the objective, after which a dense student is done
BATCH, RATE = 256, 1e-3  # lessons in one gradient step, and Adam's learning rate
NOTHING = np.zeros((0, 0))  # observations: magnitude looks at none

Fly = Callable[[NetworkPolicy, int], float]  # (student, number of the look) -> mean return


@dataclass(frozen=True)
class Loop:
    """What PoPS's loop works towards, and how long."""

    objective: float  # mean return that a student must reach
    lower_bound: float  # mean return below which pruning pauses
    steps: int = 10_000  # of one pruning schedule; at most of one distillation of a smaller network
    iterations: int = 10
    temperature: float = 0.01  # of the teacher's softmax, in units of its outputs
    seed: int = 0

    def __post_init__(self) -> None:
        if not math.isfinite(self.objective):
            raise NiwakiError(f"the objective must be a finite number, got {self.objective}")
        if not (math.isfinite(self.lower_bound) and self.lower_bound <= self.objective):
            raise NiwakiError(
                f"the lower bound must be a number that is no larger than the objective, {self.objective:g}, "
                f"got {self.lower_bound:g}"
            )
        if self.steps < LOOKS * THIN_EVERY:
            raise NiwakiError(f"a schedule needs at least {LOOKS * THIN_EVERY} steps, got {self.steps}")
        if self.iterations < 1:
            raise NiwakiError(f"iterations must be at least 1, got {self.iterations}")
        if not 0 < self.temperature < math.inf:
            raise NiwakiError(f"the temperature must be a positive number, got {self.temperature}")
        if self.seed < 0:
            raise NiwakiError(f"the seed must not be negative, got {self.seed}")

    @property
    def stride(self) -> int:
        """Gradient steps from one look to the next: each ends with a pruning."""
        return self.steps // (LOOKS * THIN_EVERY) * THIN_EVERY


@dataclass(frozen=True)
class Look:
    """What a student was worth after some steps."""

    step: int
    nonzero_weights: int
    score: float  # mean return


@dataclass(frozen=True, eq=False)
class Course:
    """Every look at a student, and the student to keep: None where none is worth it."""

    looks: tuple[Look, ...]
    network: NetworkPolicy | None


def prune_on_the_way(student: NetworkPolicy, lessons: Lessons, fly: Fly, loop: Loop, *, iteration: int) -> Course:
    """Iterative policy pruning: the sparsest student that reaches the objective.

    Every layer has the same target, s(t) = 0.99 (1 - (1 - t/T)^3), and the weights of the smallest magnitude go
    (M. Zhu & S. Gupta 2017). A look below the lower bound stops the clock t until the student has recovered. The end
    is a student at the final sparsity that reaches the objective, or PATIENCE looks in a row that do not (LOOKS where
    none ever did: it has to learn first).
    """
    looks: list[Look] = []
    kept, clock, bad, paused = None, 0, 0, False
    while bad < (LOOKS if kept is None else PATIENCE):
        thin = None if paused else _thinning(clock / loop.steps, loop.steps)
        student = _fit(student, lessons, loop, thin, (iteration, 0, len(looks)))
        clock += 0 if paused else loop.stride
        looks.append(_look(student, looks, fly, loop))
        score = looks[-1].score
        paused = score < loop.lower_bound
        bad = 0 if score >= loop.objective else bad + 1
        if not bad:
            kept = student
            if clock >= loop.steps:
                break
    return Course(tuple(looks), kept)


def distil_dense(student: NetworkPolicy, lessons: Lessons, fly: Fly, loop: Loop, *, iteration: int) -> Course:
    """The student as it is, distilled until SURE looks in a row reach the objective, or the steps are over."""
    looks: list[Look] = []
    good = 0
    while good < SURE and len(looks) < LOOKS:
        student = _fit(student, lessons, loop, None, (iteration, 1, len(looks)))
        looks.append(_look(student, looks, fly, loop))
        good = good + 1 if looks[-1].score >= loop.objective else 0
    return Course(tuple(looks), student if good else None)


def _thinning(progress: float, steps: int) -> Thin:
    """Prunes by magnitude to the schedule's target at `progress` and so many steps of it later."""

    def thin(done: int, student: NetworkPolicy) -> NetworkPolicy:
        target = FINAL_SPARSITY * cubic(min(1.0, progress + done / steps))
        return prune(student, magnitude(student, NOTHING), amount=target, scope="layer")

    return thin


def _fit(student: NetworkPolicy, lessons: Lessons, loop: Loop, thin: Thin | None, at: tuple[int, ...]) -> NetworkPolicy:
    return distil(
        student,
        lessons,
        steps=loop.stride,
        rate=RATE,
        batch=BATCH,
        temperature=loop.temperature,
        thin=thin,
        seed=int(np.random.default_rng([loop.seed, FIT, *at]).integers(2**31)),
    )


def _look(student: NetworkPolicy, before: list[Look], fly: Fly, loop: Loop) -> Look:
    return Look((len(before) + 1) * loop.stride, student.nonzero_weights, fly(student, len(before)))
