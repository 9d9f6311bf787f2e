"""Bounds on a violation probability: coverage by enumeration, values by a second route."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import integrate, stats

from niwaki.certification.bounds import (
    PRIOR,
    anytime,
    clopper_pearson,
    clopper_pearson_lower,
    episodes_needed,
    least_episodes,
    share,
)
from niwaki.testing import check_bound
from niwaki.types import NiwakiError

TINY = 1 - 1e-6


@pytest.mark.parametrize("bound", [clopper_pearson, anytime])
def test_a_bound_keeps_what_every_bound_promises(bound):
    check_bound(bound)


def tail(k, n, p):
    """P(at most k violations), in exact fractions."""
    p = Fraction(p)
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@pytest.mark.parametrize("confidence", [0.5, 0.95, TINY])
@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 40), (1, 40), (3, 40), (20, 40), (39, 40)])
def test_at_clopper_pearsons_bound_so_few_violations_have_just_the_probability_of_error(k, n, confidence):
    bound = clopper_pearson(k, n, confidence=confidence)
    assert float(tail(k, n, bound)) == pytest.approx(1 - confidence, rel=1e-9)


@pytest.mark.parametrize("confidence", [0.9, TINY])
@pytest.mark.parametrize(("k", "n"), [(1, 7), (30, 5000), (4999, 5000), (120, 10**6)])
def test_clopper_pearson_is_the_beta_quantile(k, n, confidence):
    upper, lower = clopper_pearson(k, n, confidence=confidence), clopper_pearson_lower(k, n, confidence=confidence)
    assert upper == pytest.approx(stats.beta.isf(1 - confidence, k + 1, n - k), rel=1e-10)
    assert lower == pytest.approx(stats.beta.ppf(1 - confidence, k, n - k + 1), rel=1e-10)


def test_clopper_pearson_at_its_ends_has_a_closed_form():
    assert clopper_pearson(0, 1000, confidence=TINY) == pytest.approx(1 - (1 - TINY) ** (1 / 1000), rel=1e-12)
    assert clopper_pearson(7, 7, confidence=0.9) == 1.0
    assert clopper_pearson_lower(0, 7, confidence=0.9) == 0.0
    assert clopper_pearson_lower(7, 7, confidence=0.9) == pytest.approx(0.1 ** (1 / 7))


@pytest.mark.parametrize(("k", "n", "confidence"), [(0, 50, 0.95), (3, 50, 0.95), (40, 50, 0.99), (2, 900, TINY)])
def test_the_anytime_bound_is_where_the_mixture_reaches_the_evidence(k, n, confidence):
    """With u = v^(1/PRIOR), the integral has no singularity."""
    p = anytime(k, n, confidence=confidence)

    def ratio(v):
        u = v ** (1 / PRIOR)
        return u**k * ((1 - u * p) / (1 - p)) ** (n - k)

    evidence, _ = integrate.quad(ratio, 0, 1, epsabs=0, epsrel=1e-10, limit=500)
    assert evidence == pytest.approx(1 / (1 - confidence), rel=1e-6)


def ever_missed(bound, p, confidence, most):
    """P(the bound falls below p after any of `most` draws), by following all counts that have not missed yet."""
    alive, missed = np.array([1.0]), 0.0
    smallest_safe = 0
    for n in range(1, most + 1):
        alive = np.append(alive, 0) * (1 - p) + np.append(0, alive) * p
        while smallest_safe <= n and bound(smallest_safe, n, confidence=confidence) < p:
            smallest_safe += 1
        missed += alive[:smallest_safe].sum()
        alive[:smallest_safe] = 0
    return missed


@pytest.mark.parametrize("p", [0.02, 0.1, 0.5, 0.9])
def test_the_anytime_bound_holds_after_every_draw_at_once(p):
    missed = ever_missed(anytime, p, 0.9, 200)
    assert 0.005 < missed <= 0.1  # not idle either


def test_a_fixed_bound_does_not_hold_after_every_draw_at_once():
    assert ever_missed(clopper_pearson, 0.1, 0.9, 200) > 0.2


def test_the_price_of_anytime_is_a_tenth_of_the_episodes_when_nothing_is_violated():
    fixed = least_episodes(0.001, confidence=TINY)
    free = least_episodes(0.001, confidence=TINY, bound=anytime)
    assert 1.0 < free / fixed < 1.07


def test_anytime_needs_fewer_episodes_on_average_than_a_plan_that_is_mostly_enough():
    """The plan knows the rate; the sequence does not."""
    risk, confidence, rate = 0.02, 0.999, 0.01
    planned = episodes_needed(risk, confidence=confidence, rate=rate)
    rng, stops = np.random.default_rng(0), []
    for _ in range(60):
        seen = np.cumsum(rng.binomial(50, rate, size=planned // 5))
        counts = ((k, 50 * (i + 1)) for i, k in enumerate(seen.tolist()))
        stops.append(next(n for k, n in counts if anytime(k, n, confidence=confidence) <= risk))
    assert np.mean(stops) < planned


def test_attempts_share_the_error_and_never_spend_more():
    errors = [1 - share(0.9, j) for j in range(1, 2001)]
    assert sum(errors) == pytest.approx(0.1, rel=1e-3)
    assert sum(errors) <= 0.1
    assert errors[0] == pytest.approx(0.05)
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("bound", [clopper_pearson, anytime])
@pytest.mark.parametrize(("risk", "confidence"), [(0.3, 0.5), (0.01, 0.95), (0.001, TINY)])
def test_least_episodes_is_the_least(bound, risk, confidence):
    n = least_episodes(risk, confidence=confidence, bound=bound)
    assert bound(0, n, confidence=confidence) <= risk
    assert n == 1 or bound(0, n - 1, confidence=confidence) > risk


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.004, 0.007])
def test_the_episodes_needed_are_enough_in_nine_of_ten_cases(rate):
    n = episodes_needed(0.01, confidence=0.999, rate=rate)
    passing = [k for k in range(n) if clopper_pearson(k, n, confidence=0.999) <= 0.01]
    assert stats.binom.cdf(max(passing), n, rate) >= 0.9
    half = n // 2
    few = [k for k in range(half) if clopper_pearson(k, half, confidence=0.999) <= 0.01]
    assert not few or stats.binom.cdf(max(few), half, rate) < 0.9


def test_without_expected_violations_the_episodes_needed_are_the_least():
    assert episodes_needed(0.02, confidence=TINY) == least_episodes(0.02, confidence=TINY)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: clopper_pearson(3, 2, confidence=0.9), "got 3 of 2"),
        (lambda: clopper_pearson(0, 0, confidence=0.9), "n at least 1"),
        (lambda: anytime(0, 9, confidence=1.0), "confidence must be between 0 and 1, got 1.0"),
        (lambda: clopper_pearson_lower(-1, 2, confidence=0.9), "got -1 of 2"),
        (lambda: share(0.9, 0), "counted from 1, got 0"),
        (lambda: least_episodes(0, confidence=0.9), "risk must be between 0 and 1, got 0"),
        (lambda: least_episodes(1e-14, confidence=0.9), "episodes would be needed"),
        (lambda: episodes_needed(0.01, confidence=0.9, rate=0.02), "rate 0.02 is not below the allowed risk 0.01"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(call, sentence):
    with pytest.raises(NiwakiError, match=sentence):
        call()
