"""Whittle: the number that is missed least goes first, and nothing goes that is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.shrinking import whittle as module
from niwaki.shrinking.polish import numbers
from niwaki.shrinking.whittle import MOST, left_out, next_share

X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
TRUTH = NetworkPolicy((Layer([[2.0, -1.0, 0.0]], [0.0]),))
WITH_IDLE = NetworkPolicy((Layer([[2.0, -1.0, 0.01]], [0.02]),))


def fitness(policy: NetworkPolicy) -> float:
    return -float(np.mean((policy.outputs(X) - TRUTH.outputs(X)) ** 2))


def whittle(network, fitness, passes, **options):
    def each(networks, draw):
        return [fitness(policy) for policy in networks]

    return module.whittle(left_out(network, each), each, passes, **options)


def always(policy: NetworkPolicy) -> bool:
    return True


def test_what_is_missed_least_goes_first_and_what_is_needed_stays() -> None:
    left = whittle(WITH_IDLE, fitness, always, enough=-0.001)
    assert left is not None
    assert numbers(left).tolist() == np.float32([2.0, -1.0, 0.01]).tolist()
    left = whittle(left, fitness, always, enough=-0.001)
    assert left is not None
    assert numbers(left).tolist() == [2.0, -1.0]
    assert whittle(left, fitness, always, enough=-0.001) is None


def test_where_leaving_out_is_not_enough_the_others_are_polished() -> None:
    split = NetworkPolicy(
        (Layer([[1.2, -1.0, 0.0], [0.8, 0.0, 0.0]], [0.0, 0.0], "identity"), Layer([[1.0, 1.0]], [0.0]))
    )
    assert fitness(split) > -1e-9
    left = whittle(split, fitness, always, enough=-0.01, generations=80)
    assert left is not None
    assert left.nonzero_parameters < split.nonzero_parameters
    assert fitness(left) >= -0.01


def test_the_others_are_taught_again_before_anything_is_polished() -> None:
    taught: list[int] = []

    def teach(policy: NetworkPolicy) -> NetworkPolicy:
        taught.append(policy.nonzero_parameters)
        return TRUTH

    left = whittle(NetworkPolicy((Layer([[1.5, -0.5, 0.5]], [0.0]),)), fitness, always, enough=-0.001, teach=teach)
    assert left is TRUTH
    assert taught == [2]


def test_what_is_taught_for_the_worse_is_polished_as_it_was() -> None:
    split = NetworkPolicy(
        (Layer([[1.2, -1.0, 0.0], [0.8, 0.0, 0.0]], [0.0, 0.0], "identity"), Layer([[1.0, 1.0]], [0.0]))
    )

    def spoil(policy: NetworkPolicy) -> NetworkPolicy:
        return policy.with_parts([100 * part for part in policy.parts])

    left = whittle(split, fitness, always, enough=-0.01, teach=spoil, generations=80)
    assert left is not None
    assert fitness(left) >= -0.01


def test_only_what_is_fit_enough_is_put_to_the_test_and_a_refusal_counts() -> None:
    asked: list[float] = []

    def never(policy: NetworkPolicy) -> bool:
        asked.append(fitness(policy))
        return False

    assert whittle(WITH_IDLE, fitness, never, enough=-0.001, generations=3) is None
    assert asked
    assert min(asked) >= -0.001


def test_nothing_is_left_out_that_would_leave_a_constant() -> None:
    one = NetworkPolicy((Layer([[2.0, 0.0, 0.0]], [0.0]),))
    assert whittle(one, lambda policy: 0.0, always, enough=-1.0) is None


def test_many_are_left_out_together_where_nobody_misses_them() -> None:
    idle = NetworkPolicy((Layer([[2.0, -1.0, 0.0]] + 3 * [[0.01, 0.01, 0.01]], [0.0, 0.01, 0.0, 0.0]),))

    def first_output(policy: NetworkPolicy) -> float:
        return -float(np.mean((policy.outputs(X)[:, :1] - TRUTH.outputs(X)) ** 2))

    left = whittle(idle, first_output, always, enough=-0.001)
    assert left is not None
    assert idle.nonzero_parameters == 12
    assert left.nonzero_parameters == 8  # 30 % at once
    assert first_output(left) == 0


def test_of_many_left_out_together_fewer_go_where_they_are_missed() -> None:
    half_idle = NetworkPolicy((Layer([[2.0, -1.0, 0.001], [0.001, 2.0, 2.0], [3.0, 1.0, 1.0]], [0.5, 0.5, 0.5]),))

    def all_outputs(policy: NetworkPolicy) -> float:
        return -float(np.mean((policy.outputs(X) - half_idle.outputs(X)) ** 2))

    left = whittle(half_idle, all_outputs, always, enough=-0.001)
    assert left is not None
    assert half_idle.nonzero_parameters - left.nonzero_parameters == 2  # not four


@pytest.mark.parametrize(
    ("share", "left", "expected"),
    [
        (MOST, 70, MOST),  # as much as ever goes at once
        (0.1, 90, 0.2),  # what was tried first passed: twice as much
        (0.1, 92, 0.2),  # a tenth of the weights, and few biases
        (0.3, 85, 0.15),  # half of it went
        (0.3, 93, 0.075),
        (0.3, 99, 0.009375),  # a single number
    ],
)
def test_what_was_too_much_is_not_tried_again_at_once(share: float, left: int, expected: float) -> None:
    before, after = (NetworkPolicy((Layer(np.ones((1, n)), [0.0]),)) for n in (100, left))
    assert next_share(share, before, after) == pytest.approx(expected)


def test_of_a_small_share_each_number_is_left_out_alone() -> None:
    network = NetworkPolicy((Layer(np.ones((3, 7)), [1.0, 1.0, 1.0]),))

    def equal(networks: Sequence[NetworkPolicy], draw: int) -> list[float]:
        return [0.0] * len(networks)

    gone = [[24 - other.nonzero_parameters for other in left_out(network, equal, share=s)] for s in (0.3, 0.1, 0.01)]
    assert gone == [[7, 4, 1, 1, 1, 1], [2, 1, 1, 1, 1], [1, 1, 1, 1]]
