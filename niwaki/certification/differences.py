"""How much more often does a policy violate than its teacher, over the same scenarios."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, gammaln

from niwaki.certification.bounds import clopper_pearson
from niwaki.types import Floats, NiwakiError

SPENT_ON_RATE = 0.05  # part of 1 - confidence that is spent on how often the two differ at all


def differing(violated: NDArray[np.bool_], also: NDArray[np.bool_]) -> tuple[int, int]:
    """Pairs [N] with a violation of the policy alone, and of its teacher alone."""
    return int((violated & ~also).sum()), int((also & ~violated).sum())


def difference_bound(worse: int, better: int, n: int, *, confidence: float) -> float:
    """Exact upper bound on p_worse - p_better of n independent pairs (a confidence set of Berger & Boos 1994).

    `worse` pairs have a violation of the policy alone, `better` ones of the teacher alone. With probability at
    least `confidence` over the pairs, the difference of the two violation probabilities is <= the returned
    value, whatever they are and for every n.

    A difference D is ruled out when g + sup P(worse - better <= seen) <= 1 - confidence, the supremum over all
    probabilities q = p_worse + p_better <= Q, Q their exact upper bound at confidence 1 - g. The step from q
    to more changes that probability by n/2 (P(S = seen + 1) - P(S = seen)), S the sum over n - 1 pairs. For
    q <= 1/2, S is a sum of independent yes-or-no draws, moved; so it has one mode, less than 1 from its mean
    (n - 1) D (Darroch 1964). Hence for D >= (seen + 1) / (n - 1) the supremum is at q = Q. Where Q > 1/2,
    Hoeffding's inequality (1963) takes its place.

    >>> round(difference_bound(50, 50, 5000, confidence=0.95), 5)
    0.00391
    """
    if min(worse, better) < 0 or worse + better > n or n < 1:
        raise NiwakiError(f"{worse} and {better} are no numbers of pairs out of {n}")
    error, seen = 1 - confidence, worse - better
    spent = SPENT_ON_RATE * error
    most = clopper_pearson(worse + better, n, confidence=1 - spent)
    if most > 0.5:
        return min(1.0, seen / n + math.sqrt(2 * math.log(1 / (error - spent)) / n))
    low, high = max(-most, (seen + 1) / (n - 1)), most
    while high - low > 1e-12:
        middle = (low + high) / 2
        if _at_most(seen, n, middle, most) <= error - spent:
            high = middle
        else:
            low = middle
    return high


def _at_most(seen: int, n: int, difference: float, rate: float) -> float:
    """P(worse - better <= seen) over n pairs, where p_worse - p_better and p_worse + p_better are given."""
    worse, better = (rate + difference) / 2, (rate - difference) / 2
    mean = n * better
    width = 12 * math.sqrt(mean) + 60  # what is outside has probability below 1e-16
    first, last = max(0, -seen, math.floor(mean - width)), min(n, math.ceil(mean + width))
    k = np.arange(first, last + 1)
    weights = np.exp(_log_binomial(k, n, better))
    return float(np.sum(weights * bdtr(np.minimum(k + seen, n - k), n - k, min(1.0, worse / (1 - better)))))


def _log_binomial(k: Floats | np.ndarray, n: int, p: float) -> Floats:
    """log P(K = k) of a binomial K."""
    if p <= 0:
        return np.where(k == 0, 0.0, -np.inf)
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
