"""The gate: what a smaller policy must still do, and the quickest honest way to find out that it does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, stdtrit

from niwaki.rollout import rollout
from niwaki.types import Floats, NiwakiError, Policy, Simulator, Spec, Trajectories

FIRST_LOOK = 10  # episodes before the first look; each look has twice the episodes of the one before
CONFIDENCE = 0.999  # with which an early refusal is right, over all its looks


@dataclass(frozen=True)
class Gate:
    """What is asked of a policy, on the scenarios on which its teacher was flown. None: not asked."""

    return_threshold: float | None = None  # mean return at least this,
    return_loss: float | None = None  # and at least the teacher's less this share of its size,
    more_violations: float | None = 0.0  # violation rate at most the teacher's plus this; it may be negative

    def __post_init__(self) -> None:
        if self.return_loss is not None and not self.return_loss >= 0:
            raise NiwakiError(f"the return that may be lost must be a share of at least 0, got {self.return_loss}")
        if self.more_violations is not None and not -1 <= self.more_violations <= 1:
            raise NiwakiError(f"the violation rate that may be added must be from -1 to 1, got {self.more_violations}")

    def least_return(self, teacher: Trajectories) -> float:
        """The mean return that a policy needs beside this teacher; -infinity where none is asked."""
        mean = float(teacher.returns.mean())
        fixed = -np.inf if self.return_threshold is None else self.return_threshold
        return max(fixed, -np.inf if self.return_loss is None else mean - self.return_loss * abs(mean))

    def most_violations(self, teacher: Trajectories) -> int:
        """How many of the teacher's episodes may break a specification."""
        more = 1.0 if self.more_violations is None else self.more_violations
        most = int(teacher.violated.sum()) + math.floor(more * len(teacher) + 1e-9)
        return min(max(most, 0), len(teacher))


def patient(gate: Gate, teacher: Trajectories, *, usual: float = 0.0) -> Gate:
    """The gate for a trial of few episodes, in which the teacher may have been lucky: its violations count as those of
    these flights or as its `usual` rate, whichever is more, with one standard deviation to spare."""
    if gate.more_violations is None:
        return gate
    seen, n = int(teacher.violated.sum()), len(teacher)
    expected = max(seen, usual * n)
    spare = expected - seen + math.sqrt(max(expected, 1.0))
    return replace(gate, more_violations=min(1.0, gate.more_violations + spare / n))


@dataclass(frozen=True)
class Verdict:
    """What the gate said. A policy that was refused early flew only some of the episodes."""

    passed: bool
    reason: str  # for people
    episodes: int
    return_mean: float
    violation_rate: float
    violations: dict[str, int] = field(default_factory=dict)  # episodes, by specification


def judge(
    gate: Gate,
    simulator: Simulator,
    policy: Policy,
    teacher: Trajectories,
    *,
    specs: Sequence[Spec] = (),
    workers: int | None = None,
) -> Verdict:
    """Whether the policy passes the gate on the scenarios of the teacher's flights.

    To pass, a policy flies them all. One that clearly fails is refused early, with a confidence of 0.999 after
    10, 20, 40, ... episodes (Bonferroni over these looks): when its mean return is below what is asked, by itself
    and by a t-test paired with the teacher (which alone is sure too soon, while rare flights that cost much are still
    to come), or when it has broken specifications more often than one that may just pass would by now, by Fisher's
    exact test. A verdict selects, it is no certificate. Raises NiwakiError when the teacher flew
    under other specifications.
    """
    if teacher.spec_names != tuple(spec.name for spec in specs):
        raise NiwakiError(f"the teacher was flown under {teacher.spec_names}, not under the specifications given")
    total, least, most = len(teacher), gate.least_return(teacher), gate.most_violations(teacher)
    looks = _looks(total)
    may_lose = float(teacher.returns.mean()) - least  # on average over all scenarios
    returns, broken = np.zeros(0), np.zeros((0, len(specs)), dtype=bool)
    reason = ""
    for end in looks:
        rows = teacher.scenarios[len(returns) : end]
        flown = rollout(simulator, policy, rows, specs=specs, workers=workers)
        returns = np.append(returns, flown.returns)
        if flown.margins is not None:
            broken = np.concatenate([broken, flown.margins < 0])
        violated = broken.any(axis=1)
        lost = teacher.returns[:end] - returns
        if _too_often(int(violated.sum()), end, most, total, len(looks)):
            reason = f"{violated.sum()} of {end} episodes broke a specification; of {total} only {most} may"
        elif returns.mean() < least and (end == total or _lower_bound(lost, len(looks)) > may_lose):
            reason = f"mean return {returns.mean():.1f} over {end} episodes; asked for: {least:.1f}"
        if reason:
            break
    violations = dict(zip(teacher.spec_names, broken.sum(axis=0).tolist(), strict=True))
    rate = float(violated.mean()) if specs else 0.0
    return Verdict(not reason, reason, len(returns), float(returns.mean()), rate, violations)


def _looks(total: int) -> list[int]:
    """Episodes flown at each look: 10, 20, 40, ... and all."""
    looks = [FIRST_LOOK]
    while looks[-1] < total:
        looks.append(2 * looks[-1])
    return [*looks[:-1], total]


def _too_often(seen: int, n: int, most: int, total: int, looks: int) -> bool:
    """Whether n of `total` episodes have so many violations that not even `most` in all would explain them."""
    if seen > most:
        return True
    k = np.arange(seen, min(most, n) + 1)  # hypergeometric tail: n drawn without replacement, of which k are bad
    ways = _log_choose(most, k) + _log_choose(total - most, n - k) - _log_choose(total, np.array(n))
    return bool(np.exp(ways).sum() <= (1 - CONFIDENCE) / looks)


def _log_choose(n: int, k: NDArray) -> Floats:
    """log of the ways to choose k of n; minus infinity where there is none."""
    within = (k >= 0) & (k <= n)
    chosen = np.where(within, k, 0)
    ways = gammaln(n + 1) - gammaln(chosen + 1) - gammaln(n - chosen + 1)
    return np.where(within, ways, -np.inf)


def _lower_bound(values: Floats, looks: int) -> float:
    """What the mean exceeds by Student's t, when each of `looks` looks has its share of the error."""
    n = len(values)
    t = stdtrit(n - 1, 1 - (1 - CONFIDENCE) / looks)
    return float(values.mean() - t * values.std(ddof=1) / np.sqrt(n))
