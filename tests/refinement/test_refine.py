"""Imitate: counterexamples are corrected, the guard has the last word, and nothing is claimed that was not flown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from niwaki.gates import Verdict
from niwaki.policies.deployed import deployed
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.refinement.refine import PATIENCE, Imitation, Practice, imitate
from niwaki.rollout import rollout
from niwaki.tasks import load_task
from niwaki.types import Floats, NiwakiError

TASK = load_task("cartpole-v0")
QUICK = Practice(rounds=4, flights=16, steps=600)
NOTHING_SEEN = np.zeros((0, 4))


def controller(*gains: float) -> NetworkPolicy:
    weight = np.array([np.zeros(4), gains])
    return NetworkPolicy((Layer(weight, np.zeros(2)),), Head("argmax"))


TEACHER = controller(0.4, 1.0, 10.0, 3.0)
SLOPPY = controller(-0.3, -1.0, 10.0, 2.0)  # runs with the cart until the pole leans too far
BAD = controller(0.0, 0.0, -10.0, -3.0)  # pushes the pole over


class Guard:
    """Refuses so many networks, then lets every other pass; remembers whom it was asked about."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.asked: list[NetworkPolicy] = []

    def __call__(self, network: NetworkPolicy, /) -> Verdict:
        self.asked.append(network)
        passed = len(self.asked) > self.refusals
        return Verdict(passed, "" if passed else "asked too early", 1, 0.0, 0.0)


@pytest.fixture(scope="module")
def counterexamples() -> Floats:
    rows = TASK.simulator.sample(np.random.default_rng(5), 200)
    failing = rollout(TASK.simulator, deployed(SLOPPY), rows, specs=TASK.specs).violated
    assert failing.sum() > 5
    assert not rollout(TASK.simulator, deployed(TEACHER), rows, specs=TASK.specs).violated.any()
    return rows[failing]


def imitated(
    counterexamples, network=SLOPPY, teacher=TEACHER, observations=NOTHING_SEEN, practice=QUICK, guard=None, **more
):
    return imitate(
        TASK.simulator,
        network,
        teacher,
        scenarios=counterexamples,
        observations=observations,
        specs=TASK.specs,
        guard=guard or Guard(),
        practice=practice,
        **more,
    )


@pytest.fixture(scope="module")
def mended(counterexamples) -> Imitation:
    return imitated(counterexamples)


def test_counterexamples_are_corrected_and_zeros_stay_zero(counterexamples, mended) -> None:
    flown = rollout(TASK.simulator, deployed(mended.network), counterexamples, specs=TASK.specs)
    assert mended.remaining == 0
    assert np.array_equal(mended.corrected, ~flown.violated)
    assert np.array_equal(mended.network.layers[0].weight == 0, SLOPPY.layers[0].weight == 0)


def test_it_ends_with_the_first_network_that_corrects_all_and_passes(mended) -> None:
    *earlier, last = mended.history
    assert last.network is mended.network
    assert last.corrected.all()
    assert last.verdict is not None
    assert last.verdict.passed
    assert not any(r.corrected.all() for r in earlier)


def test_where_the_guard_refuses_all_nothing_changes(counterexamples) -> None:
    guard = Guard(refusals=100)
    result = imitated(counterexamples, guard=guard)
    assert result.network is SLOPPY
    assert not result.corrected.any()
    assert 0 < len(guard.asked) <= len(result.history)
    assert all(r.verdict is None or not r.verdict.passed for r in result.history)


def test_after_refusals_the_next_best_network_is_taken(counterexamples) -> None:
    few = replace(QUICK, steps=6, rounds=4)  # too few steps to correct all
    everything = imitated(counterexamples, practice=few, guard=Guard(refusals=100)).history
    better = sorted((r for r in everything if r.corrected.any()), key=lambda r: r.failures)
    assert better[:2] == [everything[2], everything[3]]  # the latest is not the best
    assert not any(r.corrected.all() for r in everything)
    guard = Guard(refusals=1)
    result = imitated(counterexamples, practice=few, guard=guard)
    assert np.array_equal(result.network.layers[0].weight, better[1].network.layers[0].weight)
    assert np.array_equal(result.corrected, better[1].corrected)
    assert len(guard.asked) == 2


def test_it_ends_when_nothing_gets_better_any_more(counterexamples) -> None:
    history = imitated(counterexamples, guard=Guard(refusals=100), practice=replace(QUICK, rounds=50)).history
    best = min(range(len(history)), key=lambda i: history[i].failures)
    assert len(history) == best + 1 + PATIENCE


def test_a_teacher_that_is_safe_nowhere_is_not_asked_and_the_network_learns_from_itself(counterexamples) -> None:
    rows = TASK.simulator.sample(np.random.default_rng(6), 500)
    assert rollout(TASK.simulator, deployed(BAD), rows, specs=TASK.specs).violated.all()
    before = rollout(TASK.simulator, deployed(SLOPPY), rows, specs=TASK.specs)
    last = imitated(counterexamples, teacher=BAD).history[-1].network
    after = rollout(TASK.simulator, deployed(last), rows, specs=TASK.specs)
    assert after.violated.mean() < before.violated.mean() + 0.3 < 0.6


def test_a_network_that_corrects_nothing_is_not_even_shown_to_the_guard(counterexamples) -> None:
    guard = Guard()
    result = imitated(counterexamples, network=BAD, guard=guard, practice=replace(QUICK, steps=1, rounds=1))
    assert not result.history[0].corrected.any()
    assert guard.asked == []
    assert result.network is BAD
    assert result.remaining == len(counterexamples)


def test_the_scale_of_a_teachers_scores_does_not_matter(counterexamples, mended) -> None:
    loud = replace(TEACHER, layers=tuple(replace(layer, weight=1024 * layer.weight) for layer in TEACHER.layers))
    result = imitated(counterexamples, teacher=loud)
    assert np.array_equal(result.network.layers[0].weight, mended.network.layers[0].weight)


def test_no_fit_is_begun_beyond_the_budget(counterexamples) -> None:
    def rounds(budget: float) -> int:
        practice = replace(QUICK, steps=3, rounds=3, budget=budget)
        return len(imitated(counterexamples, guard=Guard(refusals=100), practice=practice).history)

    once = 200 * (len(counterexamples) + QUICK.flights)  # steps, when no flight ends early
    assert rounds(1) == 1
    assert rounds(4 * once) == 2
    assert rounds(np.inf) == 3


def test_recovery_states_alone_can_teach(counterexamples) -> None:
    observations = np.random.default_rng(2).normal(size=(300, 4)) * (1, 1, 0.1, 0.5)
    none = replace(QUICK, flights=0, rounds=1)
    with_states = imitated(counterexamples[:1], observations=observations, practice=none).history[0].network
    without = imitated(counterexamples[:1], practice=none).history[0].network
    assert not np.array_equal(with_states.layers[0].weight, without.layers[0].weight)


def test_practice_goes_where_a_search_may_look(counterexamples) -> None:
    columns = (replace(TASK.simulator.columns[0], search=(-2.0, 2.0)), *TASK.simulator.columns[1:])
    wide = replace(TASK.simulator, columns=columns)

    def learned(simulator, flights: int) -> Floats:
        result = imitate(
            simulator, SLOPPY, TEACHER, scenarios=counterexamples, observations=NOTHING_SEEN, specs=TASK.specs,
            guard=Guard(), practice=replace(QUICK, flights=flights, rounds=1),
        )  # fmt: skip
        return result.history[0].network.layers[0].weight

    assert not np.array_equal(learned(TASK.simulator, 16), learned(wide, 16))
    assert np.array_equal(learned(TASK.simulator, 0), learned(wide, 0))


def test_the_same_seed_gives_the_same_network_and_progress_is_told(counterexamples, mended) -> None:
    told: list[tuple[str, int, int]] = []
    again = imitated(counterexamples, progress=lambda *what: told.append(what))
    other = imitated(counterexamples, practice=replace(QUICK, seed=1))
    assert np.array_equal(again.network.layers[0].weight, mended.network.layers[0].weight)
    assert not np.array_equal(other.network.layers[0].weight, mended.network.layers[0].weight)
    assert told == [("imitate", i + 1, QUICK.rounds) for i in range(len(mended.history))]


def test_no_counterexamples_and_no_specifications_are_refused(counterexamples) -> None:
    with pytest.raises(NiwakiError, match="counterexamples"):
        imitated(np.zeros((0, 10)))
    with pytest.raises(NiwakiError, match="specifications"):
        imitate(
            TASK.simulator, SLOPPY, TEACHER, scenarios=counterexamples, observations=NOTHING_SEEN, specs=(),
            guard=Guard(),
        )  # fmt: skip
