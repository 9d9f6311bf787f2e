"""The search finds the sparsest network that passes, with few attempts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from niwaki.gates import Verdict
from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.pruning.search import PATIENCE, Attempt, ladder, sparsest
from niwaki.types import NiwakiError


def with_weights(keep: int) -> NetworkPolicy:
    weight = np.zeros((1, 400))
    weight[0, :keep] = 1
    return NetworkPolicy((Layer(weight, np.zeros(1)),))


def judge(passes: Callable[[int], bool]) -> Callable[[NetworkPolicy], Verdict]:
    return lambda network: Verdict(passes(network.nonzero_weights), "", 10, 0.0, 0.0)


@pytest.mark.parametrize("least", [1, 2, 57, 399, 400])
def test_where_more_weights_never_hurt_the_sparsest_is_found_by_bisection(least: int) -> None:
    found = sparsest(with_weights, range(1, 401), judge(lambda n: n >= least))
    assert found.network is not None
    assert found.network.nonzero_weights == least
    assert len(found.attempts) <= 10 + PATIENCE


def test_a_gap_is_overcome() -> None:
    found = sparsest(with_weights, range(1, 401), judge(lambda n: n >= 200 or n in (194, 190)))
    assert found.network is not None
    assert found.network.nonzero_weights == 190


def test_nothing_passes_and_nothing_is_returned() -> None:
    found = sparsest(with_weights, [1, 10, 100], judge(lambda n: False))
    assert found.network is None
    assert sorted(a.keep for a in found.attempts) == [1, 10, 100]


def test_progress_hears_of_every_attempt_once() -> None:
    heard: list[Attempt] = []
    found = sparsest(with_weights, range(1, 100), judge(lambda n: n >= 30), progress=heard.append)
    assert tuple(heard) == found.attempts
    assert len({a.keep for a in heard}) == len(heard)


def test_a_ladder_goes_down_to_one_weight_without_repeating() -> None:
    rungs = ladder(17152)
    assert rungs[0] == 17152
    assert rungs[-1] == 1
    assert all(b < a for a, b in itertools.pairwise(rungs))
    assert all(b >= 0.85 * a for a, b in itertools.pairwise(rungs) if a > 20)


def test_a_search_without_counts_and_a_ladder_without_steps_are_refused() -> None:
    with pytest.raises(NiwakiError, match="at least one number"):
        sparsest(with_weights, [], judge(lambda n: True))
    with pytest.raises(NiwakiError, match="between 0 and 1, got 1"):
        ladder(10, ratio=1.0)
