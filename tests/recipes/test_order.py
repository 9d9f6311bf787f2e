"""Order: what the gate asks for follows from what the certificate must be able to show."""

from __future__ import annotations

import math

import numpy as np
import pytest

from niwaki.certification.differences import difference_bound
from niwaki.recipes.order import SELECTION, Order, certificate_plan, confirmations, gate

ORDER = Order(risk=0.05, even_so=True)


def row(rate: float, episodes: int = 300) -> dict[str, float]:
    return {"violation_rate": rate, "episodes": episodes}


def test_a_teacher_that_hardly_fails_leaves_half_of_what_may_be_added() -> None:
    assert gate(ORDER, row(0.0)).more_violations == SELECTION * ORDER.more_violations
    assert gate(ORDER, row(0.0)).return_loss == SELECTION * ORDER.return_loss


@pytest.mark.parametrize("rate", [0.01, 0.03, 0.1, 0.34])
def test_the_more_a_teacher_fails_the_less_a_comparison_can_bear(rate: float) -> None:
    n = certificate_plan(ORDER, row(rate), attempt=1).episodes
    more = gate(ORDER, row(rate)).more_violations
    assert more is not None
    seen, differing = round(more * n), round(2 * rate * (1 - rate) * n)
    better = (differing - seen) // 2
    assert difference_bound(better + seen, better, n, confidence=0.95) <= ORDER.more_violations
    assert difference_bound(better + seen + 4, better - 2, n, confidence=0.95) > ORDER.more_violations
    assert (more < 0) == (rate >= 0.03)  # it must then fail less than its teacher


def test_a_gate_that_lets_a_policy_pass_leads_to_certificates_that_do_too() -> None:
    rate, rng = 0.02, np.random.default_rng(0)
    n, more = certificate_plan(ORDER, row(rate), attempt=1).episodes, gate(ORDER, row(rate)).more_violations
    assert more is not None
    held = 0
    for _ in range(200):
        policy, teacher = rng.random(n) < rate + more - 0.002, rng.random(n) < rate
        bound = difference_bound(int((policy & ~teacher).sum()), int((teacher & ~policy).sum()), n, confidence=0.95)
        held += bound <= ORDER.more_violations
    assert 100 <= held < 200  # 0.2 points better than the gate asks for: more often than not, but not always


@pytest.mark.parametrize("rate", [0.01, 0.03, 0.34])
def test_a_confirmation_tells_the_difference_that_the_gate_lets_pass_from_noise(rate: float) -> None:
    noise = math.sqrt(2 * rate * (1 - rate) / confirmations(ORDER, row(rate)))
    assert noise == pytest.approx(SELECTION * ORDER.more_violations, rel=0.01)


def test_a_confirmation_is_never_short() -> None:
    assert confirmations(ORDER, row(0.0, 1000)) == 1000
    assert confirmations(ORDER, row(0.0, 100)) > 3000  # few flights without a violation say little
