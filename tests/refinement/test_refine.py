"""Imitate: counterexamples are corrected, what was safe stays safe, and nothing is claimed that was not flown."""

from dataclasses import replace

import numpy as np
import pytest

from niwaki.policies.deployed import deployed
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.refinement.refine import Practice, imitate
from niwaki.rollout import rollout
from niwaki.tasks import load_task
from niwaki.types import NiwakiError

TASK = load_task("cartpole-v0")
QUICK = Practice(rounds=4, flights=16, guard=60, steps=600)
NOTHING_SEEN = np.zeros((0, 4))


def controller(*gains):
    weight = np.array([np.zeros(4), gains])
    return NetworkPolicy((Layer(weight, np.zeros(2)),), Head("argmax"))


TEACHER = controller(0.4, 1.0, 10.0, 3.0)
SLOPPY = controller(0.0, -0.2, 10.0, 2.0)  # keeps the pole up and lets the cart run away


@pytest.fixture(scope="module")
def counterexamples():
    rows = TASK.simulator.sample(np.random.default_rng(5), 200)
    failing = rollout(TASK.simulator, deployed(SLOPPY), rows, specs=TASK.specs).violated
    assert failing.sum() > 5
    assert not rollout(TASK.simulator, deployed(TEACHER), rows, specs=TASK.specs).violated.any()
    return rows[failing]


def imitated(counterexamples, network=SLOPPY, teacher=TEACHER, observations=NOTHING_SEEN, practice=QUICK, **more):
    return imitate(
        TASK.simulator,
        network,
        teacher,
        scenarios=counterexamples,
        observations=observations,
        specs=TASK.specs,
        practice=practice,
        **more,
    )


def test_counterexamples_are_corrected_and_zeros_stay_zero(counterexamples):
    result = imitated(counterexamples)
    flown = rollout(TASK.simulator, deployed(result.network), counterexamples, specs=TASK.specs)
    assert result.remaining == 0
    assert np.array_equal(result.corrected, ~flown.violated)
    assert np.array_equal(result.network.layers[0].weight == 0, SLOPPY.layers[0].weight == 0)
    assert result.history[-1].accepted
    assert result.history[-1].remaining == 0


def test_what_was_safe_stays_safe(counterexamples):
    result = imitated(counterexamples)
    assert [r.broken for r in result.history if r.accepted] == [0] * sum(r.accepted for r in result.history)


def test_a_bad_teacher_changes_nothing(counterexamples):
    pushes_over = controller(0.0, 0.0, -10.0, -3.0)
    result = imitated(counterexamples, teacher=pushes_over)
    assert result.network is SLOPPY
    assert not result.corrected.any()
    assert not any(r.accepted for r in result.history)
    assert max(r.broken for r in result.history) > 0
    assert len(result.history) == QUICK.rounds


def test_a_lost_return_is_refused_even_where_every_counterexample_is_corrected(counterexamples):
    greedy = replace(QUICK, may_lose=-0.5)  # half as much again is more than there is
    result = imitated(counterexamples, practice=greedy)
    assert any(r.remaining == 0 for r in result.history)
    assert result.network is SLOPPY


def test_recovery_states_alone_can_teach(counterexamples):
    observations = np.random.default_rng(2).normal(size=(300, 4)) * (1, 1, 0.1, 0.5)
    none = replace(QUICK, flights=0)
    with_states = imitated(counterexamples[:1], observations=observations, practice=none).history[0]
    without = imitated(counterexamples[:1], practice=none).history[0]
    assert with_states != without


def test_the_same_seed_gives_the_same_network_and_progress_is_told(counterexamples):
    told = []
    a = imitated(counterexamples, progress=lambda *what: told.append(what))
    b = imitated(counterexamples)
    assert np.array_equal(a.network.layers[0].weight, b.network.layers[0].weight)
    assert told == [("imitate", i + 1, QUICK.rounds) for i in range(len(a.history))]


def test_no_counterexamples_and_no_specifications_are_refused(counterexamples):
    with pytest.raises(NiwakiError, match="counterexamples"):
        imitated(np.zeros((0, 10)))
    with pytest.raises(NiwakiError, match="specifications"):
        imitate(TASK.simulator, SLOPPY, TEACHER, scenarios=counterexamples, observations=NOTHING_SEEN, specs=())
