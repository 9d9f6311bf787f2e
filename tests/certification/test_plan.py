"""What is claimed is fixed, and known to be possible, before an episode is flown."""

import pytest

from niwaki.certification.bounds import anytime, clopper_pearson, episodes_needed, least_episodes, share
from niwaki.certification.plan import BUDGET, plan
from niwaki.types import NiwakiError


def test_without_a_number_a_plan_has_the_episodes_that_are_needed():
    for rate in (0.0, 0.003):
        expected = episodes_needed(0.01, confidence=share(0.99, 1), rate=rate)
        assert plan(0.01, confidence=0.99, expected_rate=rate).episodes == expected


def test_a_later_attempt_needs_more_episodes():
    numbers = [plan(0.01, attempt=j).episodes for j in (1, 2, 5, 50)]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] < 1.6 * numbers[0]


def test_an_anytime_plan_says_how_many_at_most():
    assert plan(0.01, anytime=True).episodes == BUDGET
    assert plan(0.01, anytime=True, episodes=3000).episodes == 3000


@pytest.mark.parametrize(("free", "bound"), [(False, clopper_pearson), (True, anytime)])
def test_a_risk_that_needs_more_episodes_than_allowed_says_how_many(free, bound):
    least = least_episodes(0.001, confidence=share(0.999999, 1), bound=bound)
    assert plan(0.001, episodes=least, anytime=free).episodes == least
    with pytest.raises(NiwakiError, match=rf"a risk of 0.001 at confidence 0.999999 .* at least {least:,} episodes"):
        plan(0.001, episodes=least - 1, anytime=free)


def test_more_than_the_budget_is_not_flown_unasked():
    with pytest.raises(NiwakiError, match=r"needs [\d,]+ episodes of a policy that violates at a rate of 0.009"):
        plan(0.01, expected_rate=0.009)
    with pytest.raises(NiwakiError, match="at least 145,080 episodes without a violation, more than 50,000"):
        plan(0.0001)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"risk": 0.0}, "risk must be between 0 and 1, got 0"),
        ({"risk": 0.1, "confidence": 1.0}, "confidence must be between 0 and 1, got 1.0"),
        ({"risk": 0.1, "episodes": 0}, "episodes must be between 1 and 2,000,000, got 0"),
        ({"risk": 0.1, "episodes": 10**9}, "got 1000000000"),
        ({"risk": 0.1, "attempt": 0}, "attempts are counted from 1, got 0"),
        ({"risk": 0.1, "expected_rate": 0.2}, "rate 0.2 is not below the allowed risk 0.1"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(arguments, sentence):
    with pytest.raises(NiwakiError, match=sentence):
        plan(**arguments)
