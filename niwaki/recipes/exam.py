"""exam: does a small policy still do its teacher's work? The rule is fixed before anything flies.

Passed: on fresh episodes that both fly, the one-sided 95 % bound of the paired difference in return is no worse than
the share of the teacher's return that may be lost, and that of the violation rate no more than what may be added.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from niwaki.certification.differences import difference_bound, differing
from niwaki.certification.returns import student_lower
from niwaki.evaluation import Row, policy_row
from niwaki.policies.deployed import deployed, ns_per_call
from niwaki.policies.network import NetworkPolicy
from niwaki.rollout import Stages, counted, join, rollout
from niwaki.tasks import Task
from niwaki.types import Lockstep, NiwakiError, Trajectories

EXAM = 0xE8A3  # family of dice
CONFIDENCE = 0.95  # of each bound, over all looks
LOOKS, ENGINE_LOOKS = (2000, 8000, 32_000), (1000, 2000, 4000)  # episodes by then, all of them fresh


@dataclass(frozen=True)
class Rule:
    """What may be lost."""

    return_loss: float = 0.01  # share of the teacher's mean return
    more_violations: float = 0.005  # by which the violation rate may exceed the teacher's

    def __post_init__(self) -> None:
        if not 0 <= self.return_loss < np.inf:
            raise NiwakiError(f"the return that may be lost must be a share of at least 0, got {self.return_loss}")
        if not 0 <= self.more_violations <= 1:
            raise NiwakiError(f"the violation rate that may be added must be from 0 to 1, got {self.more_violations}")


@dataclass(frozen=True, eq=False)
class Exam:
    """What came of it, by all of its episodes."""

    passed: bool
    reason: str  # why not
    policy: Row
    teacher: Row
    return_difference: float
    return_difference_lower: float
    rate_difference_upper: float
    looks: int


def examine(
    network: NetworkPolicy,
    teacher: NetworkPolicy,
    task: Task,
    rule: Rule,
    *,
    seed: int,
    number: int = 0,
    progress: Stages = lambda stage, done, total: None,
) -> Exam:
    """The policy beside its teacher on fresh episodes, and on more of them while the answer is not clear.

    Each look is at all that was flown so far and has its share of the error (Bonferroni), so that the bounds of the
    last one hold whenever it was the last. One that shows that the policy earns too little, or violates too often, is.
    `number` tells the exams of one run apart, so that no two share a scenario.
    """
    looks = LOOKS if isinstance(task.simulator, Lockstep) else ENGINE_LOOKS
    confidence = 1 - (1 - CONFIDENCE) / len(looks)
    pair = deployed(teacher), deployed(network)
    nanoseconds = [ns_per_call(policy) for policy in pair]
    parts: list[list[Trajectories]] = [[], []]
    for look, (before, n) in enumerate(pairwise((0, *looks)), start=1):
        rows = task.simulator.sample(np.random.default_rng([seed, EXAM, number, look]), n - before)
        count = counted(progress, "examining", 2 * (n - before))
        for policy, flights in zip(pair, parts, strict=True):
            flights.append(rollout(task.simulator, policy, rows, specs=task.specs, progress=count))
        shown, flown = map(join, parts)
        least = -rule.return_loss * abs(float(shown.returns.mean()))
        difference = flown.returns - shown.returns
        lower = student_lower(difference, confidence=confidence)
        too_little = -student_lower(-difference, confidence=confidence) < least
        worse, better = differing(flown.violated, shown.violated)
        upper = difference_bound(worse, better, n, confidence=confidence)
        too_often = -difference_bound(better, worse, n, confidence=confidence) > rule.more_violations
        if too_little or too_often or (lower >= least and upper <= rule.more_violations):
            break
    reason = ""
    if not lower >= least and (too_little or not too_often):
        reason = f"it may earn {-lower:.3g} less than its teacher, {-least:.3g} is allowed"
    elif upper > rule.more_violations:
        reason = f"it may violate {upper:.2%} more often than its teacher, {rule.more_violations:.2%} is allowed"
    return Exam(
        passed=not reason,
        reason=reason,
        policy=policy_row(network, trajectories=flown, ns_per_call=nanoseconds[1]),
        teacher=policy_row(teacher, trajectories=shown, ns_per_call=nanoseconds[0]),
        return_difference=float(difference.mean()),
        return_difference_lower=lower,
        rate_difference_upper=upper,
        looks=look,
    )
