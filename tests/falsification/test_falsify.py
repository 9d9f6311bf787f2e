"""Falsification on planted failures, where everything about them is known."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import pytest

from niwaki.evaluation import scenarios_for
from niwaki.falsification.cma_es import CmaEsSearch
from niwaki.falsification.falsify import falsify
from niwaki.falsification.gaussian_process import GaussianProcessSearch
from niwaki.falsification.portfolio import portfolio
from niwaki.falsification.searches import CrossEntropySearch, RandomSearch, SobolSearch
from niwaki.falsification.space import search_space
from niwaki.falsification.tpe import TpeSearch
from niwaki.policies.deployed import deployed
from niwaki.policies.loading import load_policy
from niwaki.rollout import rollout
from niwaki.tasks import load_task
from niwaki.types import NiwakiError

from .conftest import Field, Idle, Rule

A, B, C = 0, 1, 3
SEARCHES = (RandomSearch, SobolSearch, CrossEntropySearch, CmaEsSearch, TpeSearch, GaussianProcessSearch, portfolio)


class Teacher(Idle):
    """Another policy, told apart by its type."""


@dataclass(frozen=True)
class ByPolicy:
    """A margin that depends on who flies: the return says who (see TwoPilots)."""

    name: str = "rule"
    text: str = "planted"
    recorded: bool = False

    def __call__(self, trajectories):
        return np.where(
            trajectories.returns > 0, teacher_margin(trajectories.scenarios), 0.5 - trajectories.scenarios[:, A]
        )


def teacher_margin(rows):
    """The teacher fails where b is large, too."""
    return 150.0 - rows[:, B]


@dataclass(frozen=True, kw_only=True)
class TwoPilots(Field):
    """The reward tells action 1, the teacher's, from action 0."""

    def step(self, state, actions):
        return super().step(state, actions)._replace(rewards=np.where(actions == 1, 1.0, -1.0))


class One(Idle):
    def __call__(self, observations):
        return np.ones(len(observations), dtype=np.int32)


def corner(rows):
    return 0.5 - rows[:, A]


def test_a_planted_failure_is_found_simplified_and_replayed(simulator, idle):
    rule = Rule(lambda rows: np.maximum(0.6 - rows[:, A], 0.02 * (100 - rows[:, B])))
    found = falsify(simulator, idle, [rule], simulations=400)
    assert found.found > 0
    first = found.counterexamples[0]
    assert first.spec == "rule"
    assert first.teacher_margin is None
    assert first.margin == rule.margin(first.scenario[None])[0] < 0
    assert np.array_equal(first.scenario[2:], [7.0, 2.0, 0.0])  # what was not needed is nominal
    again = rollout(simulator, idle, first.scenario, specs=[rule])
    assert again.margins[0, 0] == first.margin


def test_everything_tried_lies_within_the_search_bounds_and_is_reported(idle):
    rule = Rule(corner)
    simulator = Field(uses_seed=True)
    found = falsify(simulator, idle, [rule], search=RandomSearch, simulations=300, simplify=False)
    low, high = simulator.bounds.T
    assert ((found.scenarios >= low) & (found.scenarios <= high)).all()
    assert np.array_equal(found.scenarios[:, -1], np.floor(found.scenarios[:, -1]))
    assert found.scenarios.shape == (300, 5)
    assert np.array_equal(found.margins[:, 0], corner(found.scenarios))
    assert found.found == int((corner(found.scenarios) < 0).sum())
    assert np.array_equal(found.worst[:, 0], [corner(found.scenarios[: i + 1]).min() for i in range(300)])


@pytest.mark.parametrize("simulations", [1, 7, 60, 205])
def test_the_budget_is_never_exceeded(simulator, idle, simulations):
    rule, advanced = Rule(corner), []
    found = falsify(simulator, idle, [rule], simulations=simulations, progress=advanced.append)
    replays = len(found.counterexamples)
    assert sum(map(len, rule.judged)) - replays == found.simulations == sum(advanced) <= simulations
    assert len(found.scenarios) >= 0.75 * simulations - 8
    assert found.simulations == simulations or found.counterexamples


def test_without_failures_the_whole_budget_is_search(simulator, idle):
    found = falsify(simulator, idle, [Rule(lambda rows: np.ones(len(rows)))], simulations=333)
    assert (found.found, found.counterexamples, found.simulations, len(found.scenarios)) == (0, (), 333, 333)


def test_a_limit_in_seconds_is_kept_roughly(simulator, idle):
    def slow(rows):
        time.sleep(0.002 * len(rows))
        return corner(rows)

    start = time.perf_counter()
    found = falsify(simulator, idle, [Rule(slow)], search=RandomSearch, seconds=0.5)
    assert 0.3 < found.seconds <= time.perf_counter() - start < 5
    assert found.simulations > 20


def test_the_same_seed_gives_the_same_findings(simulator, idle):
    one, same, other = (falsify(simulator, idle, [Rule(corner)], simulations=200, seed=s) for s in (4, 4, 5))
    assert one.scenarios.tobytes() == same.scenarios.tobytes() != other.scenarios.tobytes()
    assert [c.scenario.tolist() for c in one.counterexamples] == [c.scenario.tolist() for c in same.counterexamples]


@pytest.mark.parametrize("search", SEARCHES, ids=lambda s: s.__name__)
def test_every_search_finds_repeatably_where_the_policy_fails_and_the_teacher_does_not(search):
    def findings():
        return falsify(TwoPilots(), Idle(), [ByPolicy()], search=search, simulations=200, seed=3, teacher=One())

    found, again = findings(), findings()
    avoided = (found.margins[:, 0] < 0) & (teacher_margin(found.scenarios) >= 0)
    assert np.array_equal(found.failed[:, 0], avoided)
    assert found.scenarios.tobytes() == again.scenarios.tobytes()
    assert [c.scenario.tolist() for c in found.counterexamples] == [c.scenario.tolist() for c in again.counterexamples]
    assert found.simulations <= 200
    for c in (c for c in found.counterexamples if c.teacher_margin >= 0):
        assert rollout(TwoPilots(), Idle(), c.scenario, specs=[ByPolicy()]).margins[0, 0] == c.margin < 0
        assert rollout(TwoPilots(), One(), c.scenario, specs=[ByPolicy()]).margins[0, 0] == c.teacher_margin
    assert found.counterexamples[0].teacher_margin >= 0


def test_scenarios_of_a_search_are_not_those_of_an_evaluation_or_of_another_seed():
    simulator, rule = Field(uses_seed=True), Rule(corner)
    searched = [falsify(simulator, Idle(), [rule], simulations=100, seed=seed).scenarios for seed in (0, 1)]
    evaluated = scenarios_for(simulator, 100, seed=0)
    seeds = [set(rows[:, -1].tolist()) for rows in (*searched, evaluated)]
    assert not seeds[0] & seeds[1]
    assert not (seeds[0] | seeds[1]) & seeds[2]


def test_a_specification_with_large_units_does_not_hide_one_with_small_units(simulator, idle):
    large = Rule(lambda rows: 1e6 * np.linalg.norm(rows[:, [A, C]] - (0.9, 2.2), axis=1) - 1e4, "large")
    small = Rule(lambda rows: 1e-3 * np.linalg.norm(rows[:, [A, C]] - (-0.7, 3.6), axis=1) - 1e-5, "small")
    found = falsify(simulator, idle, [large, small], simulations=1000)
    assert {c.spec for c in found.counterexamples} == {"large", "small"}


def test_a_flat_specification_is_guided_by_the_return(simulator, idle):
    """The return is minus |a|: it leads towards the edge, where the failure is."""
    rule = Rule(lambda rows: np.where(np.abs(rows[:, A]) > 0.99999, -1.0, 1.0))
    assert falsify(simulator, idle, [rule], simulations=1000, search=CmaEsSearch).found > 0
    assert falsify(simulator, idle, [rule], simulations=1000, search=RandomSearch).found == 0


def test_failures_of_the_teacher_are_labelled_and_do_not_count():
    simulator = TwoPilots()
    found = falsify(simulator, Idle(), [ByPolicy()], simulations=600, teacher=One())
    policy_failed = found.margins[:, 0] < 0
    assert np.array_equal(np.isnan(found.teacher_margins[:, 0]), ~policy_failed)
    both = policy_failed & (teacher_margin(found.scenarios) < 0)
    assert both.any()
    assert found.found == int((policy_failed & ~both).sum()) > 0
    for c in found.counterexamples:
        assert c.teacher_margin == teacher_margin(c.scenario[None])[0]
    labels = [c.teacher_margin < 0 for c in found.counterexamples]
    assert labels == sorted(labels)  # first those that the teacher avoids
    assert set(labels) == {True, False}


def test_with_a_teacher_the_search_looks_where_the_teacher_does_well(idle):
    """Margins alone lead into the region where both fail."""

    @dataclass(frozen=True)
    class Hard(ByPolicy):
        def __call__(self, trajectories):
            b = trajectories.scenarios[:, B]
            return np.where(trajectories.returns > 0, 100.0 - b, 80.0 - b)

    share = {}
    for teacher in (None, One()):
        found = falsify(TwoPilots(), idle, [Hard()], search=CmaEsSearch, simulations=400, teacher=teacher)
        share[teacher is None] = np.mean((found.scenarios[:, B] > 80) & (found.scenarios[:, B] <= 100))
    assert share[False] > 1.5 * share[True]


def test_findings_are_distinct_and_few(simulator, idle):
    found = falsify(
        simulator, idle, [Rule(lambda rows: -np.ones(len(rows)))], search=RandomSearch, simulations=500, simplify=False
    )
    assert found.found == 500
    rows = np.array([c.scenario for c in found.counterexamples])
    assert len(rows) == 20
    space = search_space(simulator)
    assert all(np.sort(space.distances(row, rows))[1] > 0.2 for row in rows)


def test_where_everything_fails_the_simplest_counterexample_is_the_nominal_scenario(simulator, idle):
    found = falsify(simulator, idle, [Rule(lambda rows: -np.ones(len(rows)))], simulations=500)
    assert [c.scenario.tolist() for c in found.counterexamples] == [[0.0, 0.0, 7.0, 2.0, 0.0]]


def test_a_failure_that_cannot_be_replayed_is_counted_and_not_reported(simulator, idle):
    rule = Rule(lambda rows: np.where(len(rows) > 1, -1.0, 1.0) * np.ones(len(rows)))
    found = falsify(simulator, idle, [rule], simulations=50, simplify=False)
    assert found.counterexamples == ()
    assert found.unconfirmed > 0


@pytest.mark.parametrize("margin", [np.nan, np.inf])
def test_margins_that_are_no_numbers_are_no_failures(simulator, idle, margin):
    rule = Rule(lambda rows: np.where(rows[:, A] > 0, margin, 1.0))
    assert falsify(simulator, idle, [rule], simulations=200).found == 0
    below = Rule(lambda rows: np.where(rows[:, A] > 0.95, -np.inf, margin))
    assert falsify(simulator, idle, [below], simulations=200).found > 0


def test_one_specification_is_judged_on_the_scenarios_of_all(simulator, idle):
    rules = [Rule(corner, "one"), Rule(lambda rows: corner(rows) - 0.1, "other")]
    found = falsify(simulator, idle, rules, simulations=100, simplify=False)
    assert np.allclose(found.margins[:, 0] - 0.1, found.margins[:, 1])
    assert found.spec_names == ("one", "other")


def test_a_network_flies_as_it_is_deployed():
    task = load_task("cartpole-v0")
    simulator = replace(task.simulator, horizon=20)
    network = load_policy("cartpole").for_actions(simulator.action_space)
    found = falsify(simulator, network, task.specs, simulations=40)
    flown = rollout(simulator, deployed(network), found.scenarios, specs=task.specs)
    assert np.array_equal(found.margins, flown.margins)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"specs": []}, "there is no specification to break"),
        ({"simulations": 0}, "simulations must be at least 1, got 0"),
        ({"seconds": 0.0}, "seconds must be above 0, got 0"),
        ({"seconds": float("nan")}, "seconds must be above 0, got nan"),
        ({"seed": -1}, "the seed must not be negative, got -1"),
    ],
)
def test_wrong_arguments_are_one_sentence(simulator, idle, arguments, message):
    specs = arguments.pop("specs", [Rule(corner)])
    with pytest.raises(NiwakiError, match=message):
        falsify(simulator, idle, specs, **arguments)
