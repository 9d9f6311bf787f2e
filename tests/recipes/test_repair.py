"""Repair: what is hopeless is left out, both methods correct the rest, and the sample distribution is guarded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from niwaki.gates import Verdict
from niwaki.policies.deployed import deployed
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.recipes import repair as recipe
from niwaki.recipes.repair import Repair, repair, to_correct, unharmed
from niwaki.rollout import rollout
from niwaki.simulators.gymnasium import gymnasium_engine
from niwaki.specs import parse_spec
from niwaki.tasks import load_task
from niwaki.types import Counterexample, Floats, NiwakiError

TASK = load_task("cartpole-v0")


def controller(*gains: float) -> NetworkPolicy:
    push = np.array(gains)
    return NetworkPolicy((Layer(np.array([-push, push]), np.zeros(2)),), Head("argmax"))


TEACHER = controller(0.2, 0.5, 5.0, 1.5)
SLOPPY = controller(-0.15, -0.5, 5.0, 1.0)  # runs with the cart until the pole leans too far
PRUNED = controller(0.0, 0.0, 5.0, 0.0)  # of the teacher's weights; the pole falls ever wider
BAD = controller(0.0, 0.0, -5.0, -1.5)  # pushes the pole over


def counterexamples(scenarios: Floats) -> list[Counterexample]:
    return [Counterexample(row, "angle", -0.1, 0.1) for row in scenarios]


def failures(network: NetworkPolicy, n: int = 100) -> Floats:
    rows = TASK.simulator.sample(np.random.default_rng(5), n)
    failing = rollout(TASK.simulator, deployed(network), rows, specs=TASK.specs).violated
    assert failing.sum() > 5
    return rows[failing]


def weights(network: NetworkPolicy) -> Floats:
    return np.concatenate([layer.weight.ravel() for layer in network.layers])


def broken(network: NetworkPolicy, rows: Floats) -> int:
    return int(rollout(TASK.simulator, deployed(network), rows, specs=TASK.specs).violated.sum())


def refuses(candidate: NetworkPolicy) -> Verdict:
    return Verdict(False, "worse", 1, 0.0, 1.0)


@pytest.fixture(scope="module")
def mended() -> Repair:
    return repair(SLOPPY, TEACHER, TASK, counterexamples(failures(SLOPPY)))


def test_to_correct_leaves_out_the_hopeless_the_harmless_and_duplicates() -> None:
    avoidable = failures(SLOPPY)[:3]
    hopeless, harmless = TASK.simulator.nominal, TASK.simulator.nominal
    hopeless[2:4] = 0.19, 2.0  # the pole falls already
    given = np.vstack([avoidable, avoidable[:2], hopeless, harmless])
    assert broken(SLOPPY, hopeless) == broken(TEACHER, hopeless) == 1
    assert broken(SLOPPY, harmless) == 0
    left = to_correct(TASK, SLOPPY, TEACHER, counterexamples(given))
    assert np.array_equal(left, np.unique(avoidable, axis=0))
    assert to_correct(TASK, SLOPPY, TEACHER, []).shape == (0, len(TASK.simulator.columns))


def test_imitating_corrects_what_fails(mended) -> None:
    rows = failures(SLOPPY)
    assert (mended.counterexamples, mended.corrected, mended.restored) == (len(rows), len(rows), 0)
    assert mended.remaining == broken(mended.network, rows) == 0
    assert len(mended.recoveries) == len(rows)


def test_restoring_gives_back_weights_of_the_teacher() -> None:
    rows = failures(PRUNED)
    result = repair(PRUNED, TEACHER, TASK, counterexamples(rows), method="restore")
    assert result.corrected == result.counterexamples == len(rows)
    assert broken(result.network, rows) == 0
    changed = weights(result.network) != weights(PRUNED)
    assert result.restored == changed.sum() > 0
    assert np.array_equal(weights(result.network)[changed], weights(TEACHER)[changed])


@pytest.mark.parametrize(("network", "method"), [(SLOPPY, "imitate"), (PRUNED, "restore")])
def test_what_the_guard_refuses_is_not_returned(network, method) -> None:
    rows = failures(network)
    result = repair(network, TEACHER, TASK, counterexamples(rows), method=method, guard=refuses)
    assert result.network is network
    assert (result.counterexamples, result.corrected, result.restored) == (len(rows), 0, 0)


def test_unharmed_refuses_more_violations_and_less_return_and_lets_the_same_network_pass() -> None:
    guard = unharmed(TEACHER, TASK)
    assert guard(TEACHER).passed
    assert "broke a specification" in guard(SLOPPY).reason
    without = replace(TASK, specs=())
    assert "mean return" in unharmed(TEACHER, without)(BAD).reason
    assert unharmed(BAD, TASK)(SLOPPY).passed


def test_a_teacher_that_fails_everywhere_leaves_nothing_to_correct() -> None:
    result = repair(SLOPPY, BAD, TASK, counterexamples(failures(SLOPPY)))
    assert result.network is SLOPPY
    assert (result.counterexamples, result.remaining, result.recoveries) == (0, 0, ())


def test_an_engine_practises_within_its_budget(monkeypatch) -> None:
    simulator = gymnasium_engine("CartPole-v1", horizon=60)
    task = replace(TASK, simulator=simulator, specs=(parse_spec("always(not terminated)", simulator),))
    falls = counterexamples(simulator.sample(np.random.default_rng(1), 4))
    told: list[tuple[str, int, int]] = []

    def rounds() -> int:
        told.clear()
        hopeless = repair(BAD, TEACHER, task, falls, guard=refuses, progress=lambda *what: told.append(what))
        assert (hopeless.counterexamples, hopeless.corrected) == (4, 0)
        return sum(stage == "imitate" for stage, _, _ in told)

    assert rounds() > 1
    monkeypatch.setattr(recipe, "ENGINE_STEPS", 1)
    assert rounds() == 1


def test_the_same_seed_gives_the_same_network_and_another_seed_another(mended) -> None:
    found = counterexamples(failures(SLOPPY))
    assert np.array_equal(weights(repair(SLOPPY, TEACHER, TASK, found).network), weights(mended.network))
    assert not np.array_equal(weights(repair(SLOPPY, TEACHER, TASK, found, seed=1).network), weights(mended.network))


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(NiwakiError, match="imitate and restore, got 'guess'"):
        repair(SLOPPY, TEACHER, TASK, [], method="guess")  # type: ignore[arg-type]
