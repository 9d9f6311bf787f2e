"""The sparsest form of a policy keeps what the gate asks for, on scenarios apart from any evaluation's."""

from __future__ import annotations

import numpy as np
import pytest

from niwaki.evaluation import scenarios_for
from niwaki.gates import Gate
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.pruning.schedules import cubic
from niwaki.pruning.scores import magnitude, taylor
from niwaki.recipes.sparsify import MOST_STATES, Bench, Units, Weights, bench, sparsify
from niwaki.rollout import rollout
from niwaki.tasks import Task
from niwaki.types import NiwakiError


@pytest.fixture(scope="module")
def at(teacher: NetworkPolicy, task: Task) -> Bench:
    return bench(teacher, task, episodes=60)


GATE = Gate(return_threshold=195)


@pytest.mark.parametrize("pruner", [Weights(taylor), Weights(magnitude, "layer", cubic, 4), Units()])
def test_what_is_found_keeps_the_return_and_breaks_nothing_on_the_bench(
    teacher: NetworkPolicy, task: Task, at: Bench, pruner: Weights | Units
) -> None:
    found = sparsify(teacher, task, at, pruner, gate=GATE)
    assert found.network is not None
    flown = rollout(task.simulator, deployed(found.network), at.flights.scenarios, specs=task.specs)
    assert flown.returns.mean() >= 195
    assert not flown.violated.any()
    assert found.network.nonzero_weights < 0.8 * teacher.weights
    passed = [a for a in found.attempts if a.verdict.passed]
    assert found.network is min(passed, key=lambda a: a.keep).network


def test_the_bench_is_the_teachers_and_apart_from_an_evaluation(teacher: NetworkPolicy, task: Task, at: Bench) -> None:
    assert not at.flights.violated.any()
    assert len(at.observations) == MOST_STATES
    evaluated = scenarios_for(task.simulator, 60, seed=0)
    assert not np.isin(at.flights.scenarios[:, 0], evaluated[:, 0]).any()
    assert not np.array_equal(bench(teacher, task, episodes=60, seed=1).flights.scenarios, at.flights.scenarios)
    again = bench(teacher, task, episodes=60)
    assert np.array_equal(again.flights.scenarios, at.flights.scenarios)
    assert np.array_equal(again.observations, at.observations)


def test_the_observations_were_visited(at: Bench) -> None:
    assert at.flights.recording is not None
    seen = {tuple(row) for row in at.flights.recording.observations.reshape(-1, 4).tolist()}
    assert all(tuple(row) in seen for row in at.observations[::500].tolist())


def test_a_unit_count_leaves_at_least_one_in_each_layer(teacher: NetworkPolicy) -> None:
    assert Units().counts(teacher)[0] == 64
    assert Units().counts(teacher)[-1] == 2
    assert Weights().counts(teacher)[-1] == 1


def test_a_return_that_the_teacher_does_not_earn_is_refused(teacher: NetworkPolicy, task: Task, at: Bench) -> None:
    with pytest.raises(NiwakiError, match=r"the teacher's own mean return is 200\.0 over 60 episodes, below the 201"):
        sparsify(teacher, task, at, Weights(), gate=Gate(return_threshold=201))


def test_a_linear_policy_has_no_units_to_prune(task: Task, at: Bench, make_network) -> None:
    linear = make_network((4, 2)).for_actions(task.simulator.action_space)
    with pytest.raises(NiwakiError, match="no hidden units to prune"):
        sparsify(linear, task, at, Units(), gate=Gate())


def test_no_episodes_and_a_negative_seed_are_refused(teacher: NetworkPolicy, task: Task) -> None:
    with pytest.raises(NiwakiError, match="at least 1, got 0"):
        bench(teacher, task, episodes=0)
    with pytest.raises(NiwakiError, match="must not be negative, got -1"):
        bench(teacher, task, seed=-1)
