"""What a search is told, who flies, and how long."""

from __future__ import annotations

import numpy as np
import pytest

from niwaki.falsification import trials as trials_module
from niwaki.falsification.trials import FIRST, HUGE, TIE, Outcomes, Trials, together

from .conftest import Field, Idle, Rule

A, B = 0, 1


class Teacher(Idle):
    """Counts the rows that it flew."""

    def __init__(self):
        self.rows = 0

    def __call__(self, observations):
        self.rows += len(observations)
        return super().__call__(observations)


def outcomes(margins, teacher_margins=None, returns=None):
    margins = np.atleast_2d(np.array(margins, dtype=float).T).T
    n = len(margins)
    teacher = np.full(margins.shape, np.nan) if teacher_margins is None else np.array(teacher_margins, dtype=float)
    return Outcomes(
        np.zeros((n, 5)), margins, teacher.reshape(margins.shape), np.zeros(n) if returns is None else returns
    )


def make(*specs, teacher=None, simulations=None, seconds=None):
    return Trials(Field(), Idle(), teacher, specs, simulations, seconds, None)


def test_a_loss_is_the_margin_or_how_badly_the_teacher_does():
    told = outcomes([0.5, -0.5, -0.5, -0.5], [np.nan, 0.1, -2.0, np.nan])
    assert told.losses[:, 0].tolist() == [0.5, -0.5, 2.0, -0.5]


def test_a_return_decides_between_equal_margins_and_nothing_else():
    told = outcomes([1.0, 1.0, 1.0 + 4 * TIE, 1.0], returns=np.array([-300.0, 0.0, -1e9, np.nan]))
    losses = told.losses[:, 0]
    assert losses[0] < losses[1] < losses[2]
    assert losses[3] == losses[1]
    assert np.abs(losses - told.margins[:, 0]).max() <= TIE


@pytest.mark.parametrize(("margin", "loss"), [(np.nan, HUGE), (np.inf, HUGE), (-np.inf, -HUGE)])
def test_losses_are_always_numbers(margin, loss):
    assert outcomes([margin]).losses[0, 0] == loss


def test_the_teacher_flies_only_where_the_policy_failed():
    teacher = Teacher()
    trials = make(Rule(lambda rows: rows[:, A]), Rule(lambda rows: rows[:, B] - 10), teacher=teacher)
    rows = np.array([[0.5, 50, 7, 2, 0], [-0.5, 50, 7, 2, 0], [0.5, 5, 7, 2, 0], [-0.5, 5, 7, 2, 0]])
    seen = trials.fly(rows)
    assert seen.margins.tolist() == [[0.5, 40], [-0.5, 40], [0.5, -5], [-0.5, -5]]
    assert np.isnan(seen.teacher_margins[0]).all()
    assert seen.teacher_margins[1:].tolist() == seen.margins[1:].tolist()
    assert (teacher.rows, trials.flown) == (3, 4)  # the teacher's flights are not tries


def test_outcomes_are_put_together_in_order():
    parts = [outcomes([[1.0, 2.0]]), outcomes([[3.0, 4.0], [5.0, 6.0]])]
    assert together(parts).margins.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert together(parts).losses.shape == (3, 2)
    assert together(parts).scenarios.shape == (3, 5)


@pytest.mark.parametrize(
    ("flown", "failures", "allowed"),
    [(0, 0, 30), (90, 0, 10), (100, 0, 0), (70, 1, 5), (60, 9, 15), (80, 9, 0), (0, 1, 30)],
)
def test_after_a_failure_up_to_a_quarter_of_the_simulations_is_kept_back(flown, failures, allowed):
    trials = make(Rule(lambda rows: rows[:, A]), simulations=100)
    trials.flown = flown
    assert trials.allowed(30, failures) == allowed


@pytest.mark.parametrize(
    ("elapsed", "flown", "failures", "allowed"),
    [
        (0.0, 0, 0, FIRST),  # the pace is not known yet
        (1.0, 10, 0, 64),
        (9.5, 95, 0, 6),  # half a second at ten a second, and one
        (10.0, 100, 0, 0),
        (7.0, 70, 1, 6),  # a quarter is kept back
        (7.5, 75, 1, 0),
    ],
)
def test_seconds_are_shared_out_by_the_pace_so_far(monkeypatch, elapsed, flown, failures, allowed):
    monkeypatch.setattr(trials_module.time, "perf_counter", lambda: 100.0 + elapsed)
    trials = Trials(Field(), Idle(), None, (), None, 10.0, None, flown=flown, started=100.0)
    assert trials.allowed(64, failures) == allowed


def test_of_two_budgets_the_tighter_one_holds(monkeypatch):
    monkeypatch.setattr(trials_module.time, "perf_counter", lambda: 101.0)
    trials = Trials(Field(), Idle(), None, (), 12, 10.0, None, flown=10, started=100.0)
    assert trials.allowed(64) == 2
    trials.simulations = 1000
    assert trials.allowed(200) == 91
