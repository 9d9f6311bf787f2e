"""How large can the probability of a violation be, given how often it was seen.

Every bound is one-sided and exact: it holds for every n and every true probability, with at least the stated
confidence. `clopper_pearson` is for a number of episodes fixed in advance, `anytime` for one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import bdtr, betainc, betainccinv, betaincinv, betaln

from niwaki.types import NiwakiError

Bound = Callable[..., float]  # (violations, n, *, confidence) -> upper bound on the probability

POWER = 0.9  # probability with which a planned number of episodes is enough
PRIOR = 0.25  # of `anytime`: a small one bets on no violations at all, 1 treats all rates alike
MOST_EPISODES = 10**12  # no plan is longer: beyond it float64 no longer counts well


def clopper_pearson(violations: int, n: int, *, confidence: float) -> float:
    """Exact upper bound on a binomial proportion (Clopper & Pearson 1934).

    With probability at least `confidence` over the n draws, p <= the returned value: it is the p for which so
    few violations have probability 1 - confidence.

    >>> round(clopper_pearson(0, 4000, confidence=0.999), 5)
    0.00173
    >>> clopper_pearson(0, 4000, confidence=0.999) == -math.expm1(math.log(1 - 0.999) / 4000)
    True
    """
    _check(violations, n, confidence)
    if violations == n:
        return 1.0
    if violations == 0:
        return -math.expm1(math.log(1 - confidence) / n)
    return float(betainccinv(violations + 1, n - violations, 1 - confidence))


def clopper_pearson_lower(violations: int, n: int, *, confidence: float) -> float:
    """Exact lower bound on a binomial proportion (Clopper & Pearson 1934).

    >>> clopper_pearson_lower(4000, 4000, confidence=0.999) == 1 - clopper_pearson(0, 4000, confidence=0.999)
    True
    """
    _check(violations, n, confidence)
    if violations == n:
        return math.exp(math.log(1 - confidence) / n)
    return 0.0 if violations == 0 else float(betaincinv(violations, n - violations + 1, 1 - confidence))


def anytime(violations: int, n: int, *, confidence: float) -> float:
    """Upper bound on a binomial proportion that holds at all n at once, so that one may stop when one likes.

    With probability at least `confidence`, p <= the returned value after every single draw (Ville 1939). It is
    the p at which the evidence for a smaller one, the mixture of the likelihood ratios of all q = u p, u in
    (0, 1) weighted with the density of Beta(PRIOR, 1), reaches 1 / (1 - confidence) (Robbins 1970):

        M(p) = integral of PRIOR u^(PRIOR-1) u^k ((1 - u p) / (1 - p))^(n-k) du

    Each ratio is a supermartingale under every probability >= p, and M grows with p.

    >>> round(anytime(0, 4000, confidence=0.999), 5)
    0.00188
    """
    _check(violations, n, confidence)
    if violations == n:
        return 1.0
    wanted = -math.log(1 - confidence)
    low, high = violations / n, 1.0
    while high - low > 1e-15 + 1e-13 * low:
        middle = (low + high) / 2
        if _log_evidence(middle, violations, n) < wanted:
            low = middle
        else:
            high = middle
    return high


def _log_evidence(p: float, violations: int, n: int) -> float:
    """log M(p) of `anytime`, by the incomplete beta function."""
    if p <= 0:
        return 0.0
    a, b = PRIOR + violations, n - violations + 1
    mixture = math.log(PRIOR) + float(betaln(a, b)) + float(np.log(betainc(a, b, p)))
    return mixture - a * math.log(p) - (n - violations) * math.log1p(-p)


def share(confidence: float, attempt: int) -> float:
    """The confidence left for one attempt when any number of them shall keep `confidence` together.

    Attempt j may err with probability (1 - confidence) / (j (j + 1)); these sum to 1 - confidence.

    >>> share(0.9, 1), round(share(0.9, 2), 6)
    (0.95, 0.983333)
    """
    _check_confidence(confidence)
    if attempt < 1:
        raise NiwakiError(f"attempts are counted from 1, got {attempt}")
    return 1 - (1 - confidence) / (attempt * (attempt + 1))


def least_episodes(risk: float, *, confidence: float, bound: Bound = clopper_pearson) -> int:
    """The fewest episodes after which `bound` is at most `risk`, when none of them is a violation.

    >>> least_episodes(0.001, confidence=0.999999)
    13809
    """
    _check_risk(risk)
    _check_confidence(confidence)
    return _smallest(lambda n: bound(0, n, confidence=confidence) <= risk, 1)


def episodes_needed(risk: float, *, confidence: float, rate: float = 0.0) -> int:
    """Episodes after which `clopper_pearson` is at most `risk`, with probability 0.9 or more, for a policy that
    violates at `rate`. Raises NiwakiError when the rate is not below the risk.

    >>> episodes_needed(0.01, confidence=0.999999, rate=0.002)
    3431
    """
    _check_risk(risk)
    _check_confidence(confidence)
    if not 0 <= rate < risk:
        raise NiwakiError(f"the violation rate {rate:g} is not below the allowed risk {risk:g}: no number is enough")

    def needed(k: int) -> int:
        """The fewest episodes that bear k violations."""
        return _smallest(lambda n: clopper_pearson(k, n, confidence=confidence) <= risk, k + 1)

    return needed(_smallest(lambda k: bdtr(k, needed(k), rate) >= POWER, 0))


def _smallest(holds: Callable[[int], bool], start: int) -> int:
    """The smallest whole number from `start` on for which a condition holds that goes on to hold."""
    low, step = start - 1, 1
    while not holds(low + step):
        low, step = low + step, 2 * step
        if low > MOST_EPISODES:
            raise NiwakiError(f"more than {MOST_EPISODES:.0e} episodes would be needed: allow a larger risk")
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _check(violations: int, n: int, confidence: float) -> None:
    if not 0 <= violations <= n or n < 1:
        raise NiwakiError(f"violations must be between 0 and n, and n at least 1, got {violations} of {n}")
    _check_confidence(confidence)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise NiwakiError(f"the confidence must be between 0 and 1, got {confidence}")


def _check_risk(risk: float) -> None:
    if not 0 < risk < 1:
        raise NiwakiError(f"the risk must be between 0 and 1, got {risk}")
