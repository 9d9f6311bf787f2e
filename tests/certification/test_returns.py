"""Bounds on the mean return."""

import numpy as np
import pytest
from scipy import stats

from niwaki.certification.returns import betting_lower, student_lower
from niwaki.types import NiwakiError


def test_students_bound_is_that_of_scipy():
    values = np.random.default_rng(0).normal(3, 2, size=40)
    expected = stats.ttest_1samp(values, 0, alternative="greater").confidence_interval(0.95).low
    assert student_lower(values, confidence=0.95) == pytest.approx(expected)
    assert np.isnan(student_lower(values[:1], confidence=0.95))


SKEWED = {
    "a rare crash": lambda rng, n: np.where(rng.random(n) < 0.01, 0.0, 500.0),
    "a coin": lambda rng, n: rng.integers(2, size=n).astype(float),
    "long tailed": lambda rng, n: rng.exponential(size=n) ** 3,
}
MEANS = {"a rare crash": 495.0, "a coin": 0.5, "long tailed": 6.0}


@pytest.mark.parametrize("kind", SKEWED)
def test_the_betting_bound_covers_whatever_the_distribution(kind):
    rng = np.random.default_rng(1)
    bounds = [betting_lower(SKEWED[kind](rng, 200), floor=0.0, confidence=0.9) for _ in range(300)]
    assert np.sum(np.array(bounds) > MEANS[kind]) <= 43  # more than 43 of 300 has probability below 1 %
    assert np.mean(bounds) > 0.3 * MEANS[kind]


def test_students_bound_does_not_cover_rare_crashes():
    """Why it is called asymptotic."""
    rng = np.random.default_rng(1)
    bounds = [student_lower(SKEWED["a rare crash"](rng, 60), confidence=0.9) for _ in range(300)]
    assert np.sum(np.array(bounds) > MEANS["a rare crash"]) > 100


def test_the_betting_bound_is_near_students_where_that_is_right():
    values = np.random.default_rng(2).normal(250, 30, size=5000)
    student, betting = student_lower(values, confidence=0.95), betting_lower(values, floor=-300.0, confidence=0.95)
    assert student - 0.7 < betting < student


def test_stakes_follow_the_variance():
    """Stakes that are much too large or small would lose the capital or gain nothing."""
    coins = np.random.default_rng(4).integers(2, size=5000).astype(float)
    assert 0.95 * coins.mean() < betting_lower(coins, floor=0.0, confidence=0.95) < coins.mean()


def test_a_shifted_floor_shifts_the_bound():
    values = np.random.default_rng(3).random(100)
    low = betting_lower(values, floor=0.0, confidence=0.95)
    assert betting_lower(values - 7, floor=-7.0, confidence=0.95) == pytest.approx(low - 7)
    assert betting_lower(values, floor=-5.0, confidence=0.95) < low


def test_few_values_say_no_more_than_the_floor():
    assert betting_lower(np.full(10, 5.0), floor=-1.0, confidence=0.95) == -1.0


def test_a_value_below_the_promised_floor_is_refused():
    with pytest.raises(NiwakiError, match=r"value -0.5 is below the floor 0 that was promised"):
        betting_lower(np.array([1.0, -0.5]), floor=0.0, confidence=0.95)
