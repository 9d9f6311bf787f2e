"""Polish: the numbers of a network move to where the fitness is highest, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.shrinking.polish import numbers, polish, with_numbers


def network(weight: list[list[float]], bias: list[float]) -> NetworkPolicy:
    return NetworkPolicy((Layer(weight, bias),))


SPARSE = network([[1.0, 0.0, -2.0], [0.0, 0.5, 0.0]], [0.0, 3.0])
TARGET = np.array([1.4, -2.5, 0.6, 2.8])


def near_target(policy: NetworkPolicy) -> float:
    return -float(np.sum((numbers(policy) - TARGET) ** 2))


def test_numbers_are_the_non_zero_ones_and_go_back_where_they_were() -> None:
    assert numbers(SPARSE).tolist() == [1.0, -2.0, 0.5, 3.0]
    moved = with_numbers(SPARSE, TARGET).layers[0]
    np.testing.assert_array_equal(moved.weight, np.float32([[1.4, 0, -2.5], [0, 0.6, 0]]))
    np.testing.assert_array_equal(moved.bias, np.float32([0, 2.8]))


def test_it_climbs_to_the_summit_and_zeros_stay_zero() -> None:
    polished, fitness = polish(SPARSE, near_target, generations=150)
    np.testing.assert_allclose(numbers(polished), TARGET, atol=1e-2)
    assert fitness == near_target(polished) > near_target(SPARSE)


def test_it_ends_where_it_is_enough() -> None:
    asked: list[float] = []

    def counted(policy: NetworkPolicy) -> float:
        asked.append(near_target(policy))
        return asked[-1]

    assert polish(SPARSE, counted, enough=-10.0)[0] is SPARSE
    assert len(asked) == 1
    _, fitness = polish(SPARSE, counted, enough=-0.1)
    assert fitness >= -0.1
    generation = 8  # 4 + 3 log 4
    assert max(asked[:-generation]) < -0.1


def test_the_same_seed_gives_the_same_numbers_and_nobody_else_s_dice_are_thrown() -> None:
    np.random.seed(3)  # noqa: NPY002  the global generator is the one to be left alone
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    first, second, other = (polish(SPARSE, near_target, generations=5, seed=seed)[0] for seed in (1, 1, 2))
    assert numbers(first).tolist() == numbers(second).tolist() != numbers(other).tolist()
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_a_single_number_can_be_polished_and_none_cannot() -> None:
    one = network([[2.0]], [0.0])
    polished, _ = polish(one, lambda policy: -abs(float(policy.layers[0].weight[0, 0]) - 1.5), generations=60)
    assert polished.layers[0].weight[0, 0] == pytest.approx(1.5, abs=0.01)
    none = network([[0.0]], [0.0])
    assert polish(none, lambda policy: 1.0) == (none, 1.0)


def test_a_fitness_that_is_not_finite_is_the_worst() -> None:
    def broken(policy: NetworkPolicy) -> float:
        return near_target(policy) if numbers(policy)[0] < 1.2 else float("nan")

    polished, fitness = polish(SPARSE, broken, generations=20)
    assert numbers(polished)[0] < 1.2
    assert fitness > near_target(SPARSE)
