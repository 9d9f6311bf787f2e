"""When the base fails: exact counting, bounds that hold for every horizon and every alpha at once, sound alphas."""

import math

import numpy as np
import pytest
from scipy import stats

from niwaki.adaptation.budget import FixedRatio
from niwaki.adaptation.horizons import FailureTimes, StoppingRatio, failure_times, horizon_table
from niwaki.certification.bounds import clopper_pearson
from niwaki.testing import check_budget
from niwaki.types import NiwakiError

GRID = (4, 6, 8, 10, 12)
BASE = np.array([[0.6, 0.3, 0.1]] * 4)  # in each of four cells: walk, run, wait
ADVANCE = np.array([[0.8, 0.95, 0.0]] * 4)
HAZARD = np.array([[0.002, 0.02, 0.0], [0.01, 0.05, 0.0], [0.002, 0.01, 0.0], [0.0, 0.01, 0.001]])


def base_outcomes(horizon):
    """P(hazard at step k) and P(goal at step k), k = 1 .. horizon, by following the distribution over cells."""
    cells, hazard, goal = np.eye(4)[0], [], []
    for _ in range(horizon):
        joint = cells[:, None] * BASE
        hazard.append((joint * HAZARD).sum())
        moved = (joint * (1 - HAZARD) * ADVANCE).sum(axis=1)
        goal.append(moved[3])
        cells = cells - (joint * HAZARD).sum(axis=1) - moved + np.append(0, moved[:3])
    return np.array(hazard), np.array(goal)


def worst_failure(alpha, horizon):
    """The largest failure probability of any policy whose ratio to the base never exceeds alpha: backward induction,
    the worst actions first. Not to be at the goal at the horizon is a failure."""
    value = np.ones(4)
    for _ in range(horizon):
        following = np.append(value[1:], 0.0)
        action = HAZARD + (1 - HAZARD) * (ADVANCE * following[:, None] + (1 - ADVANCE) * value[:, None])
        order = np.argsort(-action, axis=1)
        most = np.take_along_axis(alpha * BASE, order, axis=1)
        policy = np.minimum(most, np.clip(1 - np.cumsum(most, axis=1) + most, 0, None))
        value = (policy * np.take_along_axis(action, order, axis=1)).sum(axis=1)
    return value[0]


def databases(rng, repeats, episodes, horizon=20):
    """Lengths and successes [repeats, episodes] of validations of the base."""
    hazard, goal = base_outcomes(horizon)
    chances = np.concatenate((hazard, goal, [1 - hazard.sum() - goal.sum()]))
    drawn = rng.choice(len(chances), p=chances, size=(repeats, episodes))
    return np.where(drawn == 2 * horizon, horizon, drawn % horizon + 1), (drawn >= horizon) & (drawn < 2 * horizon)


def growth(alpha, horizon):
    """E_b[alpha^tau; F] exactly."""
    hazard, goal = base_outcomes(horizon)
    return (alpha ** np.arange(1, horizon + 1) * hazard).sum() + alpha**horizon * (1 - hazard.sum() - goal.sum())


def times_of(lengths, succeeded, horizon=8, grid=tuple(range(1, 9)), confidence=0.9):
    return failure_times(lengths, succeeded, horizon, grid, confidence=confidence, bound=clopper_pearson)


@pytest.mark.parametrize("horizon", [6, 12])
@pytest.mark.parametrize("alpha", [1.0, 1.1, 1.5, 3.0])
def test_no_policy_within_alpha_fails_more_often_than_the_stopping_form_says(alpha, horizon):
    hazard, goal = base_outcomes(horizon)
    exact, risk = growth(alpha, horizon), 1 - goal.sum()
    assert worst_failure(1.0, horizon) == pytest.approx(risk)
    assert worst_failure(alpha, horizon) <= exact * (1 + 1e-12)
    assert exact <= alpha**horizon * risk * (1 + 1e-12)
    late = 1 - goal.sum() - np.append(0, np.cumsum(hazard))[:horizon]
    known = FailureTimes(horizon, tuple(range(horizon)), tuple(late))
    assert known.growth(math.log(alpha)) == pytest.approx(exact)  # with a grid of every step nothing is lost


def test_the_alpha_of_the_stopping_form_is_sound_and_larger_than_the_fixed_one():
    """From databases: the worst policy within the permitted alpha, exactly, against the wanted bound."""
    rng, wanted, horizon = np.random.default_rng(0), 0.3, 12
    kept, gains = [], []
    for lengths, succeeded in zip(*databases(rng, 200, 400), strict=True):
        times = times_of(lengths, succeeded, horizon, (4, 8, 11))
        method = StoppingRatio.within(wanted, times=times)
        assert wanted * (1 - 1e-9) < method.bound <= wanted
        kept.append(worst_failure(math.exp(method.log_alpha_per_step), horizon) <= wanted)
        gains.append(
            method.log_alpha_per_step
            / FixedRatio.within(wanted, risk=times.risks[0], horizon=horizon).log_alpha_per_step
        )
    assert np.mean(kept) >= 0.9
    assert np.mean(gains) > 1.2


def test_failure_times_hold_for_every_alpha_at_once():
    """Miscoverage of the whole curve within the stated error, and not idle."""
    rng, repeats, alphas = np.random.default_rng(1), 1500, np.array([1.0, 1.2, 1.5, 2.0, 4.0])
    exact = [growth(alpha, 8) for alpha in alphas]
    missed = 0
    for lengths, succeeded in zip(*databases(rng, repeats, 150), strict=True):
        times = times_of(lengths, succeeded, grid=(2, 5), confidence=0.8)
        missed += any(times.growth(math.log(alpha)) < e for alpha, e in zip(alphas, exact, strict=True))
    assert 0.01 < missed / repeats <= 0.2


def with_known_times(risk, horizon, bound):
    return StoppingRatio.within(bound, times=FailureTimes(horizon, (0,), (risk,)))


def test_the_stopping_form_keeps_its_bound_whatever_the_task_and_the_world():
    check_budget(with_known_times)


def test_lengths_that_are_one_step_short_are_caught():
    """Stored as n - 1, as SPoRt's are: alpha^(T-1) where T steps were taken."""

    def short(risk, horizon, bound):
        if horizon == 1:
            return with_known_times(risk, horizon, bound)
        times = FailureTimes(horizon, (0, horizon - 1), (risk, 0.0))  # all failures a step too early
        return StoppingRatio.within(bound, times=times)

    with pytest.raises(AssertionError, match="a budget must keep its bound"):
        check_budget(short)


def test_steps_are_counted_to_the_last_one():
    """Success in just T steps is success within T; a violation in step T is a failure after T steps, not before."""
    lengths, succeeded = np.array([5, 5, 9, 20]), np.array([True, False, True, False])
    counts = [
        row.failures
        for row in horizon_table(
            lengths, succeeded, (4, 5, 8, 9, 20), wanted=1.0, confidence=0.5, bound=clopper_pearson
        )
    ]
    assert counts == [4, 3, 3, 2, 2]
    times = times_of(lengths, succeeded, 8, (4, 5, 7), confidence=0.5)
    each = 1 - 0.5 / 4
    assert times.after == (0, 4, 5, 7)
    assert times.risks == tuple(clopper_pearson(k, 4, confidence=each) for k in (3, 3, 2, 2))


def test_every_horizon_of_the_grid_has_its_share_of_the_error():
    lengths, succeeded = (column[0] for column in databases(np.random.default_rng(2), 1, 3000))
    table = horizon_table(lengths, succeeded, GRID, wanted=0.5, confidence=0.99, bound=clopper_pearson)
    assert [row.horizon for row in table] == list(GRID)
    for row in table:
        assert row.risk == clopper_pearson(row.failures, 3000, confidence=1 - 0.01 / 5)
        assert row.risk * row.alpha**row.horizon == pytest.approx(0.5)


def test_choosing_the_horizon_costs_coverage_unless_it_is_paid_for():
    rng, repeats, grid = np.random.default_rng(3), 1000, tuple(range(4, 20))
    _, goal = base_outcomes(20)
    missed = {"paid": 0, "free": 0}

    def unpaid(k, n, *, confidence):
        return clopper_pearson(k, n, confidence=0.8)

    for lengths, succeeded in zip(*databases(rng, repeats, 60), strict=True):
        for name, bound in (("paid", clopper_pearson), ("free", unpaid)):
            row = max(
                horizon_table(lengths, succeeded, grid, wanted=1.0, confidence=0.8, bound=bound), key=lambda r: r.alpha
            )
            missed[name] += row.risk < 1 - goal[: row.horizon].sum()
    assert missed["paid"] / repeats <= 0.2
    assert missed["free"] > 3 * missed["paid"]


def test_clopper_pearson_is_the_papers_bound():
    """47 failures of 10,001 at 1e-7, T = 21: eps .0092838."""
    lengths = np.where(np.arange(10_001) < 47, 22, 14)
    row = horizon_table(lengths, np.ones(10_001, bool), (21,), wanted=0.1, confidence=1 - 1e-7, bound=clopper_pearson)[
        0
    ]
    assert row.failures == 47
    assert row.risk == pytest.approx(stats.beta.isf(1e-7, 48, 9954), rel=1e-9)
    assert row.risk == pytest.approx(0.0092838, abs=2e-6)
    assert row.alpha == pytest.approx(1.1198, abs=1e-4)


ONE = (np.array([3]), np.array([True]))
REFUSED = {
    "an empty database": (lambda: times_of(np.array([], int), np.array([], bool)), "the scenario database is empty"),
    "an episode of no steps": (lambda: times_of(np.array([0]), np.array([True])), "cannot end after 0"),
    "outcomes of other episodes": (
        lambda: times_of(np.array([1]), np.array([True, False])),
        "one length and one outcome",
    ),
    "a grid from zero": (lambda: times_of(*ONE, grid=(0, 3)), "whole numbers from 1, got .0, 3."),
    "no grid": (lambda: horizon_table(*ONE, (), wanted=0.1, confidence=0.9, bound=clopper_pearson), "whole numbers"),
    "the same until failure": (lambda: StoppingRatio.within(0.01, times=times_of(*ONE)), "below the base's own"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_says_nothing_of_the_base_is_refused(case):
    call, words = REFUSED[case]
    with pytest.raises(NiwakiError, match=words):
        call()
