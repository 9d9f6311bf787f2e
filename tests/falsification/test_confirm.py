"""From what was tried to what is reported, with every failure planted by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from niwaki.falsification.confirm import KEEP, KEEP_HOPELESS, confirm
from niwaki.falsification.space import search_space
from niwaki.falsification.trials import Trials

from .conftest import Field, Idle, Rule
from .test_falsify import ByPolicy, One, TwoPilots

A, B = 0, 1
SPACE = search_space(Field())


def below(column, limit, name="rule"):
    """Fails where the column is above the limit."""
    return Rule(lambda rows: limit - rows[:, column], name)


def scenarios(n, seed=0):
    return SPACE.scenarios(np.random.default_rng(seed).random((n, 3)))


def confirmed(rules, rows, *, simplify, simulations=100_000, simulator=None, teacher=None):
    trials = Trials(simulator or Field(), Idle(), teacher, tuple(rules), simulations, None, None)
    return confirm(trials.fly(rows), SPACE, trials, simplify=simplify), trials


def test_failures_are_reported_by_specification_the_worst_first():
    (found, unconfirmed), _ = confirmed([below(A, 0.5, "a"), below(B, 120, "b")], scenarios(60), simplify=False)
    assert unconfirmed == 0
    assert [c.spec for c in found] == sorted(c.spec for c in found)
    assert {c.spec for c in found} == {"a", "b"}
    for name in "ab":
        margins = [c.margin for c in found if c.spec == name]
        assert margins == sorted(margins)
        assert max(margins) < 0


def test_the_worst_failure_of_all_is_among_those_that_are_kept():
    rows = scenarios(5000)
    (found, _), _ = confirmed([below(A, 0.5)], rows, simplify=False)
    assert len(found) == KEEP
    assert found[0].margin == 0.5 - rows[:, A].max()


def test_no_two_findings_are_nearly_the_same():
    rows = np.concatenate([scenarios(3), scenarios(3) + np.array([1e-3, 0.1, 0, 1e-3, 0])])
    (found, _), _ = confirmed([Rule(lambda rows: -np.ones(len(rows)))], rows, simplify=False)
    assert len(found) == 3
    assert {tuple(c.scenario) for c in found} <= set(map(tuple, rows))


def test_of_starts_on_which_the_teacher_fails_too_few_are_kept_and_after_the_others():
    (found, _), _ = confirmed([ByPolicy()], scenarios(800), simplify=False, simulator=TwoPilots(), teacher=One())
    hopeless = [c.teacher_margin < 0 for c in found]
    assert hopeless == [False] * KEEP + [True] * KEEP_HOPELESS


def test_simplified_findings_stay_of_their_kind_and_lose_what_they_do_not_need():
    (found, _), _ = confirmed([ByPolicy()], scenarios(50), simplify=True, simulator=TwoPilots(), teacher=One())
    for c in found:
        assert c.margin == 0.5 - c.scenario[A] < 0
        assert c.teacher_margin == 150 - c.scenario[B]
        assert c.scenario[3] == 2.0  # of no account for either: nominal
    avoidable = [c for c in found if c.teacher_margin >= 0]
    assert [c.scenario[B] for c in avoidable] == [0.0] * len(avoidable)
    assert all(150 < c.scenario[B] <= 200 for c in found[len(avoidable) :])
    assert len(found) > len(avoidable) > 0


def test_what_became_the_same_by_simplification_is_one_finding():
    rows = scenarios(200)
    (plain, _), _ = confirmed([below(A, -2)], rows, simplify=False)
    (simple, _), _ = confirmed([below(A, -2)], rows, simplify=True)
    assert len(plain) == KEEP
    assert [c.scenario.tolist() for c in simple] == [SPACE.nominal.tolist()]


@pytest.mark.parametrize("spare", [0, 1, 5])
def test_without_a_budget_to_simplify_findings_are_reported_as_they_are(spare):
    rows = scenarios(40)
    rule = below(A, 0.5)
    (found, _), trials = confirmed([rule], rows, simplify=True, simulations=len(rows) + spare)
    assert trials.flown == len(rows) + spare
    assert found
    assert all(c.margin == 0.5 - c.scenario[A] < 0 for c in found)
    changed = [c for c in found if not (rows == c.scenario).all(axis=1).any()]
    assert len(changed) <= spare


def test_replays_are_flown_alone_and_cost_nothing_of_the_budget():
    rule = below(A, 0.5)
    (found, _), trials = confirmed([rule], scenarios(40), simplify=False)
    assert [len(rows) for rows in rule.judged] == [40] + [1] * len(found)
    assert trials.flown == 40


def test_a_failure_that_does_not_come_back_is_counted_and_left_out():
    @dataclass(frozen=True)
    class Fickle(Rule):
        """Fails in company; alone it holds where b is large."""

        def __call__(self, flown):
            alone = len(flown.scenarios) == 1
            return np.where(alone & (flown.scenarios[:, B] > 100), 1.0, -1.0)

    rows = scenarios(12)
    (found, unconfirmed), _ = confirmed([Fickle(lambda rows: rows)], rows, simplify=False)
    assert unconfirmed == int((rows[:, B] > 100).sum()) > 0
    assert len(found) == 12 - unconfirmed
    assert all(c.scenario[B] <= 100 for c in found)


def test_nothing_failed_nothing_is_flown():
    (found, unconfirmed), trials = confirmed([below(A, 2)], scenarios(30), simplify=True)
    assert (found, unconfirmed, trials.flown) == ((), 0, 30)
