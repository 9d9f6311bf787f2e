"""Networks are compared on the same scenarios, and shares count what is gone."""

from __future__ import annotations

import numpy as np
import pytest

from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.recipes.compare import compare, shares
from niwaki.tasks import load_task


def network(hidden: np.ndarray, output: np.ndarray) -> NetworkPolicy:
    layers = (Layer(hidden, np.ones(len(hidden)), "tanh"), Layer(output, np.ones(len(output))))
    return NetworkPolicy(layers, Head("argmax"))


FULL = network(np.ones((3, 4)), np.ones((2, 3)))


def test_shares_count_weights_and_the_biases_of_units_that_still_live() -> None:
    hidden, output = np.zeros((3, 4)), np.zeros((2, 3))
    hidden[0, :2], output[1, 0] = 1, 1
    assert shares(network(hidden, output), FULL) == {
        "pruned": pytest.approx(1 - 3 / 18),
        "pruned_with_biases": pytest.approx(1 - (3 + 1 + 2) / 23),
    }
    assert shares(FULL, FULL) == {"pruned": 0.0, "pruned_with_biases": 0.0}


def test_a_comparison_is_paired_and_told_about() -> None:
    task = load_task("cartpole-v0")
    push = np.array([[-0.02, -0.1, -1.0, -0.2], [0.02, 0.1, 1.0, 0.2]])
    balancer = NetworkPolicy((Layer(push, np.zeros(2)),), Head("argmax"))
    told: list[tuple[str, int, int]] = []
    rows = compare({"teacher": balancer, "policy": FULL}, task, 30, 5, lambda *report: told.append(report))
    assert list(rows) == ["teacher", "policy", "paired_difference"]
    assert rows["teacher"]["return_mean"] == 200
    assert rows["paired_difference"]["return_mean"] == rows["policy"]["return_mean"] - 200  # type: ignore[operator]
    assert rows["paired_difference"]["violation_rate"] == 1.0
    assert ("evaluating teacher", 30, 30) in told
    assert ("evaluating policy", 30, 30) in told
