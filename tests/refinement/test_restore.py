"""Restoring gives back few weights, only pruned ones, and says honestly what it could not correct."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from niwaki.policies.deployed import deployed
from niwaki.policies.loading import load_policy
from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.pruning import scores
from niwaki.pruning.prune import prune
from niwaki.refinement.recover import recover
from niwaki.refinement.restore import Restoration, restore
from niwaki.rollout import rollout
from niwaki.simulators.cartpole import CartPole
from niwaki.specs import parse_spec
from niwaki.types import Floats, NiwakiError

SIMULATOR = CartPole(horizon=200)
SPECS = (parse_spec("always(not fell)", SIMULATOR), parse_spec("always(not out_of_track)", SIMULATOR))
TEACHER = load_policy("cartpole")
SCENARIOS = SIMULATOR.sample(np.random.default_rng(0), 24)


def visited() -> Floats:
    flights = rollout(SIMULATOR, TEACHER, SCENARIOS[:20], record=True)
    assert flights.recording is not None
    return flights.recording.observations[:, ::10].reshape(-1, 4)


def case(keep: int) -> tuple[NetworkPolicy, Floats, Floats]:
    """A network that was pruned too far, its counterexamples and its recovery states."""
    sparse = prune(TEACHER, scores.taylor(TEACHER, visited()), keep=keep, scope="global")
    flights = rollout(SIMULATOR, deployed(sparse), SCENARIOS, specs=SPECS)
    rows = SCENARIOS[flights.violated]
    failing = rollout(SIMULATOR, deployed(sparse), rows, specs=SPECS, record=True)
    found = recover(SIMULATOR, deployed(TEACHER), failing, specs=SPECS, threshold=195)
    return sparse, rows, np.array([r.observation for r in found if r is not None])


@pytest.fixture(scope="module")
def mended() -> tuple[NetworkPolicy, Floats, Restoration]:
    sparse, rows, observations = case(90)
    assert len(rows) > 3
    result = restore(SIMULATOR, sparse, TEACHER, scenarios=rows, observations=observations, specs=SPECS)
    return sparse, rows, result


def test_every_counterexample_is_corrected_when_it_is_flown_again(mended) -> None:
    _, rows, result = mended
    assert result.remaining == 0
    assert not rollout(SIMULATOR, deployed(result.network), rows, specs=SPECS).violated.any()


def test_only_pruned_weights_change_and_they_take_the_teachers_values(mended) -> None:
    sparse, _, result = mended
    changed = 0
    for before, after, original in zip(sparse.layers, result.network.layers, TEACHER.layers, strict=True):
        different = after.weight != before.weight
        assert np.all(before.weight[different] == 0)
        assert np.array_equal(after.weight[different], original.weight[different])
        assert np.array_equal(after.bias, before.bias)
        changed += int(different.sum())
    assert changed == result.restored
    assert 0 < result.restored < 2000


def test_what_is_not_needed_is_taken_away_again(mended) -> None:
    """No block of a 32nd of what was restored can go without breaking a counterexample again."""
    sparse, rows, result = mended
    positions = [
        (i, *at)
        for i, (a, b) in enumerate(zip(sparse.layers, result.network.layers, strict=True))
        for at in np.argwhere(a.weight != b.weight).tolist()
    ]
    half = positions[: len(positions) // 2]
    weights = [layer.weight.copy() for layer in result.network.layers]
    for i, row, column in half:
        weights[i][row, column] = 0
    layers = tuple(replace(layer, weight=w) for layer, w in zip(result.network.layers, weights, strict=True))
    fewer = replace(result.network, layers=layers)
    assert rollout(SIMULATOR, deployed(fewer), rows, specs=SPECS).violated.any()


def test_the_same_input_gives_the_same_result(mended) -> None:
    sparse, rows, observations = case(90)
    again = restore(SIMULATOR, sparse, TEACHER, scenarios=rows, observations=observations, specs=SPECS)
    assert again.restored == mended[2].restored
    assert again.simulations == mended[2].simulations
    pairs = zip(again.network.layers, mended[2].network.layers, strict=True)
    assert all(np.array_equal(a.weight, b.weight) for a, b in pairs)


def test_a_network_without_any_path_left_can_be_restored() -> None:
    """All gradients but the last layer's are zero at first: what the weights carry has to decide."""
    dead = prune(TEACHER, scores.magnitude(TEACHER, visited()), keep=0)
    result = restore(SIMULATOR, dead, TEACHER, scenarios=SCENARIOS[:8], observations=visited(), specs=SPECS)
    assert result.remaining == 0
    assert 0 < result.network.nonzero_weights < TEACHER.nonzero_weights


def test_what_the_teacher_breaks_too_remains_and_is_counted() -> None:
    lost = SCENARIOS[:4].copy()
    lost[:2, 2] = 0.2  # beyond rescue: the pole falls already
    lost[:2, 3] = 2.0
    dead = prune(TEACHER, scores.magnitude(TEACHER, visited()), keep=0)
    told: list[tuple[str, int, int]] = []
    result = restore(
        SIMULATOR, dead, TEACHER, scenarios=lost, observations=visited(), specs=SPECS,
        progress=lambda *report: told.append(report),
    )  # fmt: skip
    assert result.corrected.tolist() == [False, False, True, True]
    assert result.remaining == 2
    assert told[-1] == ("restoring", 2, 4)


def test_a_network_that_breaks_nothing_is_returned_as_it_is() -> None:
    result = restore(SIMULATOR, TEACHER, TEACHER, scenarios=SCENARIOS[:5], observations=visited(), specs=SPECS)
    assert (result.restored, result.remaining, result.simulations) == (0, 0, 5)


def test_what_cannot_be_restored_from_is_refused() -> None:
    other = NetworkPolicy((Layer(np.ones((2, 4)), np.zeros(2)),), TEACHER.head)
    given = {"scenarios": SCENARIOS[:2], "observations": visited(), "specs": SPECS}
    with pytest.raises(NiwakiError, match=r"differ in shape: \(4, 2\) and \(4, 128, 128, 2\)"):
        restore(SIMULATOR, other, TEACHER, **given)
    with pytest.raises(NiwakiError, match="at least one counterexample"):
        restore(SIMULATOR, TEACHER, TEACHER, **given | {"scenarios": SCENARIOS[:0]})
    with pytest.raises(NiwakiError, match="at least one recovery state"):
        restore(SIMULATOR, TEACHER, TEACHER, **given | {"observations": visited()[:0]})
