"""Ten thousand repeated certificates of policies whose risk is known: how often the bound is below it."""

import numpy as np
import pytest
from scipy import stats

from niwaki.certification.bounds import anytime, clopper_pearson

REPEATS, CONFIDENCE = 10_000, 0.95


def least_safe(bound, p, most):
    """For n = 1 .. most, the fewest violations after which the bound is not below p."""
    counts, k = [], 0
    for n in range(1, most + 1):
        while k <= n and bound(k, n, confidence=CONFIDENCE) < p:
            k += 1
        counts.append(k)
    return np.array(counts)


def stopped(bound, p, most):
    """The part of sequences in which somebody who looks after every episode and stops when it suits him, which is
    when the bound is below the truth, gets a wrong certificate."""
    safe = least_safe(bound, p, most)
    wrong = 0
    for seed in range(10):
        seen = np.random.default_rng([seed, 977]).random((REPEATS // 10, most)) < p
        wrong += (np.cumsum(seen, axis=1) < safe).any(axis=1).sum()
    return wrong / REPEATS


@pytest.mark.parametrize("bound", [clopper_pearson, anytime])
@pytest.mark.parametrize(("p", "n"), [(0.0031, 1000), (0.02, 500), (0.08, 40), (0.3, 200), (0.9, 100)])
def test_of_a_fixed_number_of_episodes_at_most_one_certificate_in_twenty_is_wrong(bound, p, n):
    seen = np.random.default_rng(n).binomial(n, p, size=REPEATS)
    values = np.array([bound(k, n, confidence=CONFIDENCE) for k in range(n + 1)])
    missed = (values[seen] < p).mean()
    assert missed <= 1 - CONFIDENCE
    if bound is clopper_pearson:
        exact = stats.binom.cdf(np.searchsorted(values, p) - 1, n, p)
        assert abs(missed - exact) < 0.01
        assert missed > 0.01  # not idle


@pytest.mark.parametrize("p", [0.02, 0.1, 0.5])
def test_with_optional_stopping_at_most_one_anytime_certificate_in_twenty_is_wrong(p):
    missed = stopped(anytime, p, 300)
    assert 0.003 < missed <= 1 - CONFIDENCE


def test_with_optional_stopping_the_bound_of_a_fixed_number_is_wrong_more_often():
    assert stopped(clopper_pearson, 0.1, 300) > 2 * (1 - CONFIDENCE)
