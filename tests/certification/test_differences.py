"""How much more often one of two violates: coverage by enumeration, and the steps of the argument."""

import math

import numpy as np
import pytest

from niwaki.certification.bounds import clopper_pearson, clopper_pearson_lower
from niwaki.certification.differences import _at_most, difference_bound
from niwaki.types import NiwakiError


def outcomes(n):
    """All (worse, better) of n pairs."""
    return [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]


def probability(b, c, n, p_worse, p_better):
    ways = math.factorial(n) // (math.factorial(b) * math.factorial(c) * math.factorial(n - b - c))
    return ways * p_worse**b * p_better**c * max(0.0, 1 - p_worse - p_better) ** (n - b - c)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("n", [1, 2, 5, 14])
def test_the_difference_is_covered_whatever_the_probabilities(n, confidence):
    bounds = {pair: difference_bound(*pair, n, confidence=confidence) for pair in outcomes(n)}
    for p_worse in np.linspace(0, 1, 21):
        for p_better in np.linspace(0, 1 - p_worse, 11):
            difference = p_worse - p_better
            missed = [pair for pair, bound in bounds.items() if bound < difference - 1e-12]
            assert sum(probability(*pair, n, p_worse, p_better) for pair in missed) <= 1 - confidence


@pytest.mark.parametrize(("p_worse", "p_better"), [(0.02, 0.02), (0.01, 0.002), (0.0005, 0.0)])
def test_the_difference_is_covered_in_thousands_of_episodes(p_worse, p_better):
    rng = np.random.default_rng(0)
    draws = rng.multinomial(5000, (p_worse, p_better, 1 - p_worse - p_better), size=150)
    bounds = np.array([difference_bound(b, c, 5000, confidence=0.9) for b, c, _ in draws.tolist()])
    missed = int((bounds < p_worse - p_better).sum())
    assert missed <= 24  # 0.9 is covered: more than 24 of 150 has probability below 1 %
    assert np.median(bounds) < p_worse - p_better + 0.005


@pytest.mark.parametrize(("difference", "rate"), [(0.1, 0.3), (0.0, 0.5), (-0.2, 0.2), (0.05, 0.05)])
def test_the_probability_of_a_small_difference_is_the_sum_over_all_outcomes(difference, rate):
    n = 9
    for seen in range(-n, n + 1):
        pairs = [(b, c) for b, c in outcomes(n) if b - c <= seen]
        direct = sum(probability(b, c, n, (rate + difference) / 2, (rate - difference) / 2) for b, c in pairs)
        assert _at_most(seen, n, difference, rate) == pytest.approx(direct, abs=1e-12)


@pytest.mark.parametrize("n", [3, 8, 25])
def test_more_discordant_pairs_make_a_small_difference_likelier(n):
    """The step of the proof: it holds for D >= (seen + 1) / (n - 1) and rates up to 1/2."""
    for seen in range(-n, n):
        lowest = (seen + 1) / (n - 1)
        for difference in (d for d in (lowest, lowest + 0.05, lowest + 0.2) if -0.5 < d < 0.5):
            values = [_at_most(seen, n, difference, q) for q in np.linspace(abs(difference), 0.5, 12)]
            assert np.all(np.diff(values) >= -1e-12)


@pytest.mark.parametrize(("worse", "better", "n"), [(3, 3, 200), (20, 9, 200), (0, 4, 60), (150, 150, 5000)])
def test_at_the_bound_both_ways_to_err_together_have_just_the_probability_of_error(worse, better, n):
    bound = difference_bound(worse, better, n, confidence=0.95)
    rate = clopper_pearson(worse + better, n, confidence=1 - 0.05 * 0.05)
    assert 0.05 * 0.05 + _at_most(worse - better, n, bound, rate) == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize("confidence", [0.05, 0.3])
def test_it_never_goes_where_the_argument_does_not_hold(confidence):
    n = 30
    for worse, better in ((0, 0), (1, 0), (2, 5), (4, 1)):
        assert difference_bound(worse, better, n, confidence=confidence) >= (worse - better + 1) / (n - 1)


def test_it_is_a_tenth_above_the_asymptotic_bound_and_far_below_two_exact_ones():
    worse = better = 150
    n, confidence = 5000, 0.95
    bound = difference_bound(worse, better, n, confidence=confidence)
    asymptotic = 1.6449 * math.sqrt(worse + better) / n  # Wald's, at no difference seen
    half = (1 + confidence) / 2
    split = clopper_pearson(worse, n, confidence=half) - clopper_pearson_lower(better, n, confidence=half)
    assert asymptotic < bound < 1.12 * asymptotic
    assert bound < 0.7 * split


def test_it_grows_with_worse_and_shrinks_with_better():
    n = 400
    assert difference_bound(5, 5, n, confidence=0.95) < difference_bound(6, 5, n, confidence=0.95)
    assert difference_bound(5, 6, n, confidence=0.95) < difference_bound(5, 5, n, confidence=0.95)
    assert difference_bound(0, 60, n, confidence=0.95) < -0.05  # clearly better


@pytest.mark.parametrize("pair", [(3, 3, 5), (-1, 0, 5), (0, 0, 0)])
def test_impossible_counts_are_refused(pair):
    with pytest.raises(NiwakiError, match="are no numbers of pairs out of"):
        difference_bound(*pair, confidence=0.95)
