"""Polish: the numbers of a network move to where the fitness is highest, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.shrinking.polish import FAIR, JUDGING, Fitness, moved, numbers, polish, with_numbers


def network(weight: list[list[float]], bias: list[float]) -> NetworkPolicy:
    return NetworkPolicy((Layer(weight, bias),))


def each(fitness: Callable[[NetworkPolicy, int], float]) -> Fitness:
    return lambda networks, draw: [fitness(policy, draw) for policy in networks]


SPARSE = network([[1.0, 0.0, -2.0], [0.0, 0.5, 0.0]], [0.0, 3.0])
TARGET = np.array([1.4, -2.5, 0.6, 2.8])


def near_target(policy: NetworkPolicy, draw: int = 0) -> float:
    return -float(np.sum((numbers(policy) - TARGET) ** 2))


def test_numbers_are_the_non_zero_ones_and_go_back_where_they_were() -> None:
    assert numbers(SPARSE).tolist() == [1.0, -2.0, 0.5, 3.0]
    moved = with_numbers(SPARSE, TARGET).layers[0]
    np.testing.assert_array_equal(moved.weight, np.float32([[1.4, 0, -2.5], [0, 0.6, 0]]))
    np.testing.assert_array_equal(moved.bias, np.float32([0, 2.8]))


def test_it_climbs_to_the_summit_and_zeros_stay_zero() -> None:
    polished, fitness = polish(SPARSE, each(near_target), generations=150)
    np.testing.assert_allclose(numbers(polished), TARGET, atol=1e-2)
    assert fitness == near_target(polished) > near_target(SPARSE)


def test_it_ends_where_it_is_enough() -> None:
    asked: list[float] = []

    def counted(policy: NetworkPolicy, draw: int) -> float:
        if draw == JUDGING:
            asked.append(near_target(policy))
        return near_target(policy)

    assert polish(SPARSE, each(counted), enough=-10.0)[0] is SPARSE
    assert len(asked) == 1
    _, fitness = polish(SPARSE, each(counted), enough=-0.1)
    assert fitness >= -0.1
    assert max(asked[:-1]) < -0.1 <= asked[-1]


def test_it_ends_between_two_generations_where_it_is_late_and_hands_over_what_it_has() -> None:
    answers = iter([False, False, True])
    polished, fitness = polish(SPARSE, each(near_target), generations=100, late=lambda: next(answers))
    short, same = polish(SPARSE, each(near_target), generations=2)
    assert near_target(SPARSE) < fitness == same
    np.testing.assert_array_equal(numbers(polished), numbers(short))


def slow() -> tuple[Fitness, list[int]]:
    """A fitness that creeps from -10 to -9.1 over 100 centres, and the draws that it was asked for."""
    fits, asked = np.linspace(-10.0, -9.1, 100), list[int]()

    def creeping(policy: NetworkPolicy, draw: int) -> float:
        asked.append(draw)
        return float(fits[asked.count(JUDGING)]) + 1e-6 * near_target(policy)

    return each(creeping), asked


def test_it_gives_up_where_it_falls_behind_a_straight_line_to_enough() -> None:
    creeping, asked = slow()
    assert polish(SPARSE, creeping, enough=-9.0, generations=100)[1] < -9.5
    assert asked.count(JUDGING) == 1 + np.ceil(100 * FAIR)
    asked.clear()
    polish(SPARSE, creeping, enough=-9.5, generations=80)
    assert asked.count(JUDGING) > 1.5 * 80 * FAIR


def test_it_goes_on_for_all_it_can_reach_unless_it_falls_behind_what_is_needed() -> None:
    creeping, asked = slow()
    for needed, generations in ((-9.0, np.ceil(60 * FAIR)), (-9.9, 60)):
        asked.clear()
        polish(SPARSE, creeping, needed=needed, generations=60)
        assert asked.count(JUDGING) == 1 + generations


def test_the_same_seed_gives_the_same_numbers_and_nobody_else_s_dice_are_thrown() -> None:
    np.random.seed(3)  # noqa: NPY002  the global generator is the one to be left alone
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    first, second, other = (polish(SPARSE, each(near_target), generations=5, seed=seed)[0] for seed in (1, 1, 2))
    assert numbers(first).tolist() == numbers(second).tolist() != numbers(other).tolist()
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_a_single_number_can_be_polished_and_none_cannot() -> None:
    one = network([[2.0]], [0.0])
    polished, _ = polish(one, each(lambda policy, _: -abs(float(policy.layers[0].weight[0, 0]) - 1.5)), generations=60)
    assert polished.layers[0].weight[0, 0] == pytest.approx(1.5, abs=0.01)
    none = network([[0.0]], [0.0])
    assert polish(none, each(lambda policy, _: 1.0)) == (none, 1.0)


def test_a_fitness_that_is_not_finite_is_the_worst() -> None:
    def broken(policy: NetworkPolicy, draw: int) -> float:
        return near_target(policy) if numbers(policy)[0] < 1.2 else float("nan")

    polished, fitness = polish(SPARSE, each(broken), generations=20)
    assert numbers(polished)[0] < 1.2
    assert fitness > near_target(SPARSE)


def test_every_generation_has_a_draw_of_its_own_and_its_networks_share_it() -> None:
    draws: list[int] = []

    def noted(policy: NetworkPolicy, draw: int) -> float:
        draws.append(draw)
        return near_target(policy)

    polish(SPARSE, each(noted), generations=3)
    generation = 8  # 4 + 3 log 4
    assert draws[0] == JUDGING
    rounds = [draws[1 + i * (generation + 1) :][: generation + 1] for i in range(3)]
    assert len({tuple(each[:generation]) for each in rounds}) == len({each[0] for each in rounds}) == 3
    assert all(set(each[:generation]) == {each[0]} != {JUDGING} and each[-1] == JUDGING for each in rounds)


def test_what_goes_wrong_in_few_draws_only_is_avoided_all_the_same() -> None:
    """The first number wants to be large; one draw in eight, not JUDGING, punishes what is beyond 1.2."""

    def treacherous(policy: NetworkPolicy, draw: int) -> float:
        first = float(numbers(policy)[0])
        return min(first, 1.5) - (50 * max(0.0, first - 1.2) if draw % 8 == 1 else 0.0)

    polished, _ = polish(network([[1.0, 0.1]], [0.0]), each(treacherous), generations=40)
    assert treacherous(polished, JUDGING) > 1
    calm = each(lambda policy, _: treacherous(policy, JUDGING))
    reckless, _ = polish(network([[1.0, 0.1]], [0.0]), calm, generations=40)
    assert numbers(reckless)[0] > 1.45


def test_of_many_numbers_only_those_of_the_output_layer_move() -> None:
    rng = np.random.default_rng(0)
    hidden = Layer(rng.normal(size=(25, 4)), np.ones(25), "tanh")
    large = NetworkPolicy((hidden, Layer(rng.normal(size=(2, 25)), [1.0, 0.0])))
    polished, _ = polish(large, each(lambda policy, _: -float(np.sum(policy.parts[1] ** 2))), generations=10)
    before, after = large.parts, polished.parts
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(before[2], after[2])
    assert (before[1] != after[1]).all()
    assert before[3][0] != after[3][0]
    assert after[3][1] == 0


@pytest.mark.parametrize(("width", "expected"), [(12, 4 * 12 + 2 * 12 + 12 + 2), (20, 2 * 20 + 2)])
def test_how_many_numbers_a_polish_would_move(width: int, expected: int) -> None:
    hidden = Layer(np.ones((width, 4)), np.ones(width), "tanh")
    assert moved(NetworkPolicy((hidden, Layer(np.ones((2, width)), np.ones(2))))) == expected
