"""Budgets: every method keeps its bound in worlds where the truth can be computed, every broken one does not."""

import math

import numpy as np
import pytest
from scipy import stats

from niwaki.adaptation.budget import (
    FixedRatio,
    GaussianShift,
    Odometer,
    confidence_shares,
    permitted_alpha,
)
from niwaki.adaptation.ratio import log_max_ratio
from niwaki.certification.bounds import clopper_pearson
from niwaki.policies.gaussian import Gaussian
from niwaki.testing import check_budget
from niwaki.types import NiwakiError


def ratio(risk, horizon, bound):
    return FixedRatio.within(bound, risk=risk, horizon=horizon)


def shift(risk, horizon, bound, kind=GaussianShift, **options):
    return kind.within(bound, risk=risk, horizon=horizon, **options)


def odometer(risk, horizon, bound, kind=Odometer, **options):
    return kind.within(bound, risk=risk, **options)


METHODS = {
    "ratio": ratio,
    "odometer": odometer,
    "odometer, all at once": lambda *case: odometer(*case, fraction=1.0),
    "odometer, slowly": lambda *case: odometer(*case, fraction=0.02),
    "gaussian": shift,
    "gaussian, a fraction": lambda *case: shift(*case, fraction=0.3),
    "gaussian, all at once": lambda *case: shift(*case, fraction=1.0),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_keeps_its_bound_whatever_the_task_and_the_world(method):
    check_budget(METHODS[method])


class Forgets(Odometer):
    def spend(self, memory, log_ratio):
        return memory


class ForgetsWhatIsNotNew(Odometer):
    """Credits count, debts do not."""

    def spend(self, memory, log_ratio):
        return memory - np.minimum(log_ratio, 0)


class SpendsTwice(Odometer):
    """May use more in a step than is left."""

    def log_alpha(self, t, memory):
        return 1.5 * np.maximum(memory, 0)


class OneStepTooMany(GaussianShift):
    def begin(self, episodes):
        return super().begin(episodes) * (self.horizon + 1) / self.horizon


class ForgetsTheShift(GaussianShift):
    def charge(self, memory, chosen, base, presquash):
        return memory


class KeepsTheTasksWidth(GaussianShift):
    """Unequal variances: the mean is held as it should be, the deviation is the task's."""

    def project(self, t, memory, task, base):
        return super().project(t, memory, task, base)._replace(std=task.std)

    def charge(self, memory, chosen, base, presquash):
        return super().charge(memory, chosen._replace(std=base.std), base, presquash)


class AnyWidth(FixedRatio):
    """Bounds the ratio where the mean is and lets the deviation be the task's."""

    def project(self, t, memory, task, base):
        return super().project(t, memory, task, base)._replace(std=task.std)


BROKEN = {
    "a horizon one step short": lambda r, t, b: FixedRatio(r, t, math.log(b / r) / max(1, t - 1)),
    "a bound of log 10 instead of e": lambda r, t, b: FixedRatio(r, t, math.log(b / r) / t * math.log(10)),
    "a ratio that ignores deviations": lambda r, t, b: AnyWidth.within(b, risk=r, horizon=t),
    "an odometer that forgets to subtract": lambda *case: odometer(*case, kind=Forgets),
    "an odometer that only adds": lambda *case: odometer(*case, kind=ForgetsWhatIsNotNew),
    "an odometer that spends what it has not": lambda *case: odometer(*case, kind=SpendsTwice),
    "a shift for one step too many": lambda *case: shift(*case, kind=OneStepTooMany),
    "a shift that is never taken off": lambda *case: shift(*case, kind=ForgetsTheShift, fraction=1.0),
    "a shift with unequal variances": lambda *case: shift(*case, kind=KeepsTheTasksWidth),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_method_is_caught_by_the_same_check(case):
    with pytest.raises(AssertionError, match="a budget must keep its bound"):
        check_budget(BROKEN[case])


def test_the_adversarial_half_space_attains_the_gaussian_bound_and_the_unanimous_action_that_of_ratios():
    """Tight: no better bound from the same quantities exists."""
    risk, horizon, bound = 0.01, 21, 0.1
    method = shift(risk, horizon, bound)
    memory, base = method.begin(1), Gaussian(np.zeros((1, 1)), np.full((1, 1), 2.0))
    total = 0.0
    for t in range(horizon):
        chosen = method.project(t, memory, Gaussian(np.full((1, 1), 99.0), np.ones((1, 1))), base)
        memory = method.charge(memory, chosen, base, chosen.mean)
        total += chosen.mean[0, 0]
    threshold = stats.norm.isf(risk) * 2 * np.sqrt(horizon)
    assert stats.norm.sf(threshold, total, 2 * np.sqrt(horizon)) == pytest.approx(bound, rel=1e-9)
    assert memory[0] == pytest.approx(0, abs=1e-12)
    always = (risk ** (1 / horizon) * math.exp(ratio(risk, horizon, bound).log_alpha_per_step)) ** horizon
    assert always == pytest.approx(bound, rel=1e-9)


def test_credits_let_the_odometer_go_further_and_are_sound():
    """A base that errs by a bad action now and a bad action later: the adversary first takes good ones."""
    spent = odometer(0.01, 5, 0.1)
    memory = spent.begin(2)
    after = spent.spend(memory, np.array([-1.0, 1.0]))
    assert after.tolist() == [memory[0] + 1, memory[1] - 1]
    assert (spent.log_alpha(0, after) == 0.3 * after).all()


def test_the_odometers_realised_ratio_never_exceeds_its_budget_on_any_path():
    rng, n = np.random.default_rng(0), 2000
    method = odometer(0.0093, 21, 0.1)
    memory, total = method.begin(n), np.zeros(n)
    for t in range(60):
        base = Gaussian(rng.normal(size=(n, 2)), np.exp(rng.normal(size=(n, 2)) / 3))
        task = Gaussian(base.mean + rng.normal(size=(n, 2)) * 3, base.std * np.exp(rng.normal(size=(n, 2)) / 2))
        chosen = method.project(t, memory, task, base)
        lack = np.maximum(base.std**2 - chosen.std**2, 1e-9)
        worst = base.mean + (chosen.mean - base.mean) * base.std**2 / lack  # the action of the largest ratio
        drawn = np.where(rng.random((n, 1)) < 0.5, worst, chosen.mean + chosen.std * rng.normal(size=(n, 2)))
        assert (log_max_ratio(*chosen, *base) <= memory + 1e-12).all()
        memory = method.charge(memory, chosen, base, drawn)
        total += chosen.log_density(drawn) - base.log_density(drawn)
        assert (total <= method.log_budget + 1e-9).all()
    assert total.max() > 0.9 * method.log_budget


def test_the_gaussian_budget_is_kept_on_every_path_and_what_is_left_carries_over():
    rng, n, horizon = np.random.default_rng(1), 500, 12
    method = shift(0.01, horizon, 0.2)
    memory, used = method.begin(n), np.zeros(n)
    for t in range(horizon + 3):
        base = Gaussian(rng.normal(size=(n, 2)), np.exp(rng.normal(size=(n, 2))))
        near = rng.random((n, 1)) < 0.5
        task = Gaussian(base.mean + base.std * np.where(near, 0.01, 5.0), base.std * 3)
        chosen = method.project(t, memory, task, base)
        assert np.array_equal(chosen.std, base.std)
        moved = (((chosen.mean - base.mean) / base.std) ** 2).sum(axis=1)
        if t == 0:
            first = moved.max()
        memory = method.charge(memory, chosen, base, chosen.mean)
        used += moved
        if t >= horizon:
            assert np.array_equal(chosen.mean, base.mean)  # beyond the horizon nothing is bounded
    assert (used <= method.shift**2 + 1e-9).all()
    assert used.max() > method.shift**2 * 0.999
    assert first < method.shift**2 / horizon * 1.001


def test_a_task_within_the_allowed_shift_is_kept():
    method = shift(0.01, 4, 0.5)
    base = Gaussian(np.zeros((1, 2)), np.array([[1.0, 2.0]]))
    task = Gaussian(np.array([[0.1, -0.2]]), np.array([[0.5, 0.5]]))
    chosen = method.project(0, method.begin(1), task, base)
    np.testing.assert_allclose(chosen.mean, task.mean)
    same = method.project(0, method.begin(1), base, base)
    assert np.array_equal(same.mean, base.mean)


def test_the_permitted_shift_per_step_beside_the_fixed_ratio_is_as_published_figures_say():
    """2.1, 3.3 and 9.6 times as far in a step (the mean of the nearest policy of the same width)."""
    for risk, bound, horizon, times in ((0.0093, 0.1, 21, 2.1), (1e-3, 1e-2, 100, 3.3), (1e-4, 1e-2, 1000, 9.6)):
        base = Gaussian(np.zeros((1, 1)), np.ones((1, 1)))
        task = Gaussian(np.full((1, 1), 40.0), np.ones((1, 1)))
        methods = shift(risk, horizon, bound), ratio(risk, horizon, bound)
        moves = [method.project(0, method.begin(1), task, base).mean[0, 0] for method in methods]
        assert moves[0] / moves[1] == pytest.approx(times, abs=0.06)


@pytest.mark.parametrize("method", [ratio, shift, odometer])
def test_the_stated_bound_is_the_wanted_one(method):
    assert method(0.0093, 21, 0.1).bound == pytest.approx(0.1, rel=1e-12)


def test_alpha_may_be_chosen_without_a_bound_which_is_then_vacuous():
    assert FixedRatio(0.0093, 21, math.log(2)).bound == 1.0
    assert FixedRatio(0.0093, 21, 0.0).bound == pytest.approx(0.0093)
    assert Odometer(0.0093, 50.0).bound == 1.0


def test_the_permitted_alpha_is_the_papers():
    assert permitted_alpha(0.009285, horizon=21, bound=0.1) == pytest.approx(1.1198, abs=1e-4)
    assert permitted_alpha(0.009285, horizon=21, bound=1.0) == pytest.approx(1.2496, abs=2e-4)
    assert FixedRatio(0.009285, 21, math.log(permitted_alpha(0.009285, horizon=21, bound=0.1))).bound == pytest.approx(
        0.1
    )


def test_the_confidence_shares_of_stages_never_spend_more_than_there_is():
    for stages in (1, 3, 17):
        shares = confidence_shares(1 - 1e-7, stages)
        assert len(shares) == stages
        assert sum(1 - share for share in shares) == pytest.approx(1e-7, rel=1e-6)


def stages_that_hold(confidences, *, repeats=1000, episodes=400, risk=0.05):
    """The part of repeated stage-wise runs in which every certificate holds. In each stage the worst policy that the
    Gaussian method allows is flown, whose failure probability is known, and certified by its own episodes."""
    rng, held = np.random.default_rng(5), 0
    for _ in range(repeats):
        truth, holds = risk, True
        for confidence in confidences:
            found = clopper_pearson(int(rng.binomial(episodes, truth)), episodes, confidence=confidence)
            holds &= found >= truth
            method = shift(found, 10, min(0.9, 1.5 * found))
            truth = stats.norm.cdf(stats.norm.ppf(truth) + method.shift)
            holds &= not holds or truth <= method.bound * (1 + 1e-9)  # the prior bound follows from the certificate
        held += holds
    return held / repeats


def test_all_stages_hold_together_with_the_stated_confidence_and_not_without_shares():
    assert stages_that_hold(confidence_shares(0.8, 3)) >= 0.8
    assert stages_that_hold((0.8,) * 3) < 0.7


REFUSED = {
    "a bound below the base's own": (lambda: ratio(0.2, 5, 0.1), "bound 0.1 is below the base's own, 0.2"),
    "the same of the odometer": (lambda: odometer(0.2, 5, 0.1), "below the base's own"),
    "the same of the shift": (lambda: shift(0.2, 5, 0.1), "below the base's own"),
    "a bound of zero": (lambda: ratio(0.2, 5, 0.0), "wanted bound must be above 0 and at most 1, got 0.0"),
    "a base that never fails": (lambda: ratio(0.0, 5, 0.1), "must be above 0 and at most 1, got 0.0"),
    "no step": (lambda: ratio(0.1, 0, 0.2), "at least one step, got 0"),
    "an alpha below one": (lambda: FixedRatio(0.1, 5, -0.5), "alpha must be at least 1, got 0.6065"),
    "a shift without a bound": (lambda: shift(0.1, 5, 1.0), "needs one below 1"),
    "a fraction beyond all": (lambda: odometer(0.1, 5, 0.2, fraction=1.1), "at most 1, got 1.1"),
    "no fraction": (lambda: shift(0.1, 5, 0.2, fraction=0.0), "above 0 and at most 1, got 0.0"),
    "a budget below zero": (lambda: Odometer(0.1, -1.0), "must not be negative, got -1.0"),
    "no stage": (lambda: confidence_shares(0.9, 0), "at least one stage, got 0"),
    "a certain confidence": (lambda: confidence_shares(1.0, 2), "between 0 and 1, got 1.0"),
    "other deviations than the base's": (
        lambda: shift(0.1, 5, 0.2).charge(
            np.ones(1),
            Gaussian(np.zeros((1, 1)), np.full((1, 1), 0.9)),
            Gaussian(np.zeros((1, 1)), np.ones((1, 1))),
            np.zeros((1, 1)),
        ),
        "needs the base's standard deviations",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_promises_nothing_is_refused_in_one_sentence(case):
    call, words = REFUSED[case]
    with pytest.raises(NiwakiError, match=words):
        call()
