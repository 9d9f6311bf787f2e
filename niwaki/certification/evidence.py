"""What flown episodes say: of the violations, the returns, and the teacher on the same scenarios."""

from __future__ import annotations

import numpy as np

from niwaki.certification.bounds import anytime, clopper_pearson, share
from niwaki.certification.certificate import SIDE_CONFIDENCE, Beside, Plan, Returns
from niwaki.certification.differences import difference_bound, differing
from niwaki.certification.returns import betting_lower, student_lower
from niwaki.types import Floats, Trajectories

ENOUGH_FOR_STUDENT = 1000  # episodes below which a mean is not taken for normal


def violation_bound(plan: Plan, violations: int, n: int) -> float:
    """The plan's bound on the probability of a violation, with the attempt's share of the confidence."""
    bound = anytime if plan.anytime else clopper_pearson
    return bound(violations, n, confidence=share(plan.confidence, plan.attempt))


def summarise(plan: Plan, returns: Floats, *, floor: float | None) -> Returns | None:
    """The mean return with a lower bound: exact above a floor, Student's t from 1,000 episodes on, otherwise (and
    where the number of episodes was free) none. None where a return is not finite."""
    if not np.isfinite(returns).all():
        return None
    lower, method = None, None
    if floor is not None and not plan.anytime:
        lower, method = betting_lower(returns, floor=floor, confidence=SIDE_CONFIDENCE), "betting"
    elif not plan.anytime:
        lower = _student(returns)
        method = None if lower is None else "student"
    return Returns(float(returns.mean()), lower, method, floor)


def compare(plan: Plan, policy: Trajectories, teacher: Trajectories) -> Beside | None:
    """Policy against teacher on the same scenarios. None where a return is not finite."""
    difference = policy.returns - teacher.returns
    if not np.isfinite(difference).all():
        return None
    n = len(difference)
    worse, better = differing(policy.violated, teacher.violated)
    return Beside(
        violations=int(teacher.violated.sum()),
        rate=float(teacher.violated.mean()),
        return_mean=float(teacher.returns.mean()),
        worse=worse,
        better=better,
        rate_difference=(worse - better) / n,
        rate_difference_upper=rate_difference_upper(plan, worse, better, n),
        return_difference=float(difference.mean()),
        return_difference_lower=None if plan.anytime else _student(difference),
    )


def rate_difference_upper(plan: Plan, worse: int, better: int, n: int) -> float | None:
    """Bound on how much more often the policy violates than the teacher; None where n was not fixed."""
    return None if plan.anytime else difference_bound(worse, better, n, confidence=SIDE_CONFIDENCE)


def _student(values: Floats) -> float | None:
    return student_lower(values, confidence=SIDE_CONFIDENCE) if len(values) >= ENOUGH_FOR_STUDENT else None
