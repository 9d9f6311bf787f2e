"""The paper's method, step by step, and what it leaves undone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from niwaki.evaluation import scenarios_for
from niwaki.falsification.searches import RandomSearch
from niwaki.policies.deployed import MirrorPolicy, deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.pruning.prune import prune
from niwaki.pruning.scores import activation
from niwaki.recipes.sanp import Arguments, Sanp, sanp
from niwaki.recipes.sparsify import bench
from niwaki.rollout import rollout
from niwaki.tasks import Task
from niwaki.types import NiwakiError

ARGUMENTS = Arguments(search=RandomSearch)  # as SANP's released code searches; quicker than its paper


@pytest.fixture(scope="module")
def result(teacher: NetworkPolicy, task: Task) -> Sanp:
    return sanp(teacher, task, ARGUMENTS)


def test_k_is_the_first_at_which_the_mean_return_is_kept(teacher: NetworkPolicy, task: Task, result: Sanp) -> None:
    at = bench(teacher, task, episodes=100)

    def mean_return(k: float) -> float:
        network = prune(teacher, activation(teacher, at.observations), amount=k)
        return float(rollout(task.simulator, MirrorPolicy(network), at.flights.scenarios).returns.mean())

    assert mean_return(result.k) >= 195
    assert all(mean_return(k) < 195 for k in np.arange(result.k + 0.01, 0.995, 0.01))
    assert result.pruned.nonzero_weights == teacher.weights - round(result.k * teacher.weights)


def test_every_counterexample_of_the_search_is_corrected(task: Task, result: Sanp) -> None:
    assert result.simulations == 205
    assert len(result.counterexamples) > 5
    before = rollout(task.simulator, deployed(result.pruned), result.counterexamples, specs=task.specs)
    after = rollout(task.simulator, deployed(result.network), result.counterexamples, specs=task.specs)
    assert before.violated.all()
    assert int(after.violated.sum()) == result.left == 0
    assert len(result.recovery_states) == len(result.counterexamples) - result.hopeless


def test_corrected_counterexamples_are_not_safety(task: Task, result: Sanp) -> None:
    """Fewer violations on fresh starts than before, but not none: what the certificate is for."""
    fresh = scenarios_for(task.simulator, 2000, seed=0)
    rates = [
        rollout(task.simulator, deployed(network), fresh, specs=task.specs).violated.mean()
        for network in (result.pruned, result.network)
    ]
    assert 0 < rates[1] < rates[0] / 3


def test_only_a_few_weights_come_back(teacher: NetworkPolicy, result: Sanp) -> None:
    assert result.restoration is not None
    assert result.network.nonzero_weights == result.pruned.nonzero_weights + result.restoration.restored
    assert result.restoration.restored < 0.05 * teacher.weights


def test_a_policy_without_counterexamples_stays_as_it_was_pruned(teacher: NetworkPolicy, task: Task) -> None:
    unpruned = sanp(teacher, task, replace(ARGUMENTS, k=0.0, simulations=20))
    assert (len(unpruned.counterexamples), unpruned.left, unpruned.restoration) == (0, 0, None)
    assert unpruned.network is unpruned.pruned
    assert unpruned.network.nonzero_weights == teacher.nonzero_weights


def test_starts_on_which_the_teacher_fails_too_are_left_and_counted(teacher: NetworkPolicy, task: Task) -> None:
    simulator = task.simulator
    wide = tuple(replace(c, search=(-0.19, 0.19)) if c.name == "theta" else c for c in simulator.columns)
    wide = tuple(replace(c, search=(-1.7, 1.7)) if c.name == "theta_dot" else c for c in wide)
    hard = replace(task, simulator=replace(simulator, columns=wide))
    result = sanp(teacher, hard, replace(ARGUMENTS, simulations=24, k=0.9, step=0.1))
    assert 0 < result.hopeless < len(result.counterexamples)
    assert result.left >= result.hopeless


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"specs": ()}, Arguments(), "cartpole-v0 has no specification"),
        ({"return_threshold": None}, Arguments(), "no return threshold: say which mean return"),
        ({}, Arguments(delta=201, k=0.02), r"keeps a mean return of 201: the teacher's own is 200\.0"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    teacher: NetworkPolicy, task: Task, changes: dict, arguments: Arguments, message: str
) -> None:
    with pytest.raises(NiwakiError, match=message):
        sanp(teacher, replace(task, **changes), arguments)
