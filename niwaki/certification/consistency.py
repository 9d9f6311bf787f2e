"""Does a certificate agree with itself: whatever follows from its plan and its recorded episodes is worked out again.

The bound has its own lines here, apart from those that made it.
"""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betainc, betaln

from niwaki.certification import words
from niwaki.certification.bounds import PRIOR, share
from niwaki.certification.certificate import Beside, Certificate
from niwaki.certification.differences import differing
from niwaki.certification.episodes import recall
from niwaki.certification.evidence import rate_difference_upper
from niwaki.types import NiwakiError

CLOSE = 1e-9  # relative, between two ways to work out the same number


def contradictions(c: Certificate) -> list[str]:
    """A sentence for every field that does not follow from the plan and the recorded episodes."""
    names, n = [spec.name for spec in c.specs], c.episodes
    if not names or n < 1 or n > c.plan.episodes or (n < c.plan.episodes and not c.plan.anytime):
        return [f"{n} episodes under {len(names)} specifications do not fit the plan of {c.plan.episodes}"]
    if (c.teacher is not None and c.teacher_record is None) or len(set(names)) != len(names):
        return ["the certificate lacks the record of the teacher's episodes, or names a specification twice"]
    try:
        broken = recall(c.record, names, n)
        teacher = None if c.teacher_record is None else recall(c.teacher_record, names, n)
    except NiwakiError as error:
        return [str(error)]
    expected = _worked_out(c, broken)
    if c.teacher is not None and teacher is not None:
        beside = _beside(c, c.teacher, broken, teacher)
        expected = replace(expected, teacher=c.teacher if same_numbers(beside, c.teacher) else beside)
    expected = replace(
        expected,
        statement=words.statement(expected),
        assumptions=words.assumptions(c.plan, c.returns, expected.teacher),
        not_claimed=words.not_claimed(c.plan, expected.teacher),
    )
    return [
        f"{field.name} does not follow from the recorded episodes"
        for field in fields(c)
        if getattr(c, field.name) != getattr(expected, field.name)
    ]


def _worked_out(c: Certificate, broken: NDArray[np.bool_]) -> Certificate:
    """The certificate as its plan and its policy's episodes have it; numbers that are close stay as they are."""
    n, k = c.episodes, int(broken.any(axis=1).sum())
    each = share(c.plan.confidence, c.plan.attempt)
    bound = _bound(k, n, error=1 - each, anytime=c.plan.anytime)
    bound = c.bound if math.isclose(bound, c.bound, rel_tol=CLOSE) else bound
    counts = broken.sum(axis=0).tolist()
    return replace(
        c,
        claimed=bound <= c.plan.risk,
        reason=words.why_not(c.plan, bound),
        attempt_confidence=each,
        method="anytime" if c.plan.anytime else "clopper-pearson",
        violations=k,
        rate=k / n,
        bound=bound,
        specs=tuple(replace(spec, violations=count) for spec, count in zip(c.specs, counts, strict=True)),
    )


def _beside(c: Certificate, teacher: Beside, broken: NDArray[np.bool_], by_teacher: NDArray[np.bool_]) -> Beside:
    """The comparison with the teacher, its violations counted again."""
    violated, also = np.any(broken, axis=1), np.any(by_teacher, axis=1)
    worse, better = differing(violated, also)
    return replace(
        teacher,
        violations=int(also.sum()),
        rate=float(also.mean()),
        worse=worse,
        better=better,
        rate_difference=(worse - better) / c.episodes,
        rate_difference_upper=rate_difference_upper(c.plan, worse, better, c.episodes),
    )


def _bound(k: int, n: int, *, error: float, anytime: bool) -> float:
    """Where the evidence against p first suffices: the tail of the binomial, or the mixture of likelihood ratios."""

    def ruled_out(p: float) -> bool:
        if not anytime:
            return bool(bdtr(k, n, p) <= error)
        a, b = PRIOR + k, n - k + 1
        mixture = math.log(PRIOR) + betaln(a, b) + math.log(betainc(a, b, p))
        return bool(mixture - a * math.log(p) - (n - k) * math.log1p(-p) >= -math.log(error))

    low, high = k / n, 1.0
    for _ in range(100 if k < n else 0):
        middle = (low + high) / 2
        low, high = (low, middle) if middle == 1 or ruled_out(middle) else (middle, high)
    return high


def upper_bound(violations: int, n: int, *, confidence: float) -> float:
    """`bounds.clopper_pearson` again, by bisection of the binomial's tail instead of the beta quantile."""
    return _bound(violations, n, error=1 - confidence, anytime=False)


def same_numbers(a: object, b: object) -> bool:
    """Whether two values agree, floats to CLOSE: dataclasses field by field, dicts key by key."""
    if is_dataclass(a) and type(a) is type(b):
        return all(same_numbers(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_numbers(a[key], b[key]) for key in a)
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=CLOSE)
    return bool(a == b)
