"""Flying scenarios and judging them within a budget."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from niwaki.rollout import Progress, rollout
from niwaki.types import Floats, Policy, Simulator, Spec

TIE = 1e-6  # what the return may add to a margin at most
HUGE = 1e9  # stands for an infinite margin, and for one that is no number
SIMPLIFYING_ONE = 40  # simulations, about
FIRST = 8  # scenarios flown to see how long one takes


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What came of n scenarios under P specifications."""

    scenarios: Floats  # [n, K]
    margins: Floats  # [n, P], the policy's
    teacher_margins: Floats  # [n, P], NaN where the teacher was not flown: the policy broke nothing
    returns: Floats  # [n], the policy's

    @property
    def losses(self) -> Floats:
        """[n, P], what a search is told: the margin; where the teacher breaks the specification too, how badly it
        does, as a positive number. So a negative loss is a failure that the teacher avoids.

        A return adds up to a millionth, which decides between equal margins only: a specification that just says
        yes or no is flat, and among the scenarios that keep it, those with little return are nearer to failing.
        """
        guide = np.where(self.teacher_margins < 0, -self.teacher_margins, self.margins)
        guide = np.clip(np.nan_to_num(guide, nan=HUGE), -HUGE, HUGE)
        returns = np.nan_to_num(self.returns)
        return guide + (TIE * returns / (1 + np.abs(returns)))[:, None]


def together(outcomes: Sequence[Outcomes]) -> Outcomes:
    """All in one, in order."""
    fields = ("scenarios", "margins", "teacher_margins", "returns")
    return Outcomes(*(np.concatenate([getattr(part, name) for part in outcomes]) for name in fields))


@dataclass(eq=False)
class Trials:
    """Flies scenarios and counts them. The teacher flies only where the policy has failed."""

    simulator: Simulator
    policy: Policy
    teacher: Policy | None
    specs: tuple[Spec, ...]
    simulations: int | None  # how many may be flown
    seconds: float | None  # for how long
    progress: Progress | None
    flown: int = 0
    started: float = field(default_factory=time.perf_counter)

    def fly(self, scenarios: Floats) -> Outcomes:
        """Fly the scenarios [n, K]."""
        seen = rollout(self.simulator, self.policy, scenarios, specs=self.specs, progress=self.progress)
        margins = np.asarray(seen.margins)
        teacher_margins = np.full(margins.shape, np.nan)
        failed = (margins < 0).any(axis=1)
        if self.teacher is not None and failed.any():
            teacher_margins[failed] = rollout(self.simulator, self.teacher, scenarios[failed], specs=self.specs).margins
        self.flown += len(scenarios)
        return Outcomes(scenarios, margins, teacher_margins, seen.returns)

    def allowed(self, n: int, failures: int = 0) -> int:
        """How many of n scenarios the budget allows now. After `failures`, up to a quarter of it is kept back for
        making them simpler. Time is shared out by the pace so far, so its limit is met roughly."""
        if self.simulations is not None:
            kept_back = min(self.simulations // 4, SIMPLIFYING_ONE * failures)
            n = min(n, self.simulations - kept_back - self.flown)
        if self.seconds is not None:
            left = self.seconds * (0.75 if failures else 1.0) - self.elapsed
            if left <= 0:
                return 0
            n = min(n, int(left * self.flown / self.elapsed) + 1 if self.flown else FIRST)
        return max(n, 0)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started
