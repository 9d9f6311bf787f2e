"""Merging: the bound is about flights by which nothing was merged, and it is exact."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import beta

from niwaki.compiler import find_compiler
from niwaki.gates import Verdict
from niwaki.policies.compact import compact
from niwaki.policies.compiled import CompiledPolicy
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.recipes import merging as module
from niwaki.recipes.merging import Merger
from niwaki.rollout import rollout
from niwaki.tasks import Task, load_task

EPISODES = 200


@pytest.fixture(autouse=True)
def little_effort(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "MET_EPISODES", 20)
    monkeypatch.setattr(module, "UNSEEN_EPISODES", EPISODES)
    return None


def passing(network: NetworkPolicy) -> Verdict:
    return Verdict(True, "", 1, 0.0, 0.0)


@pytest.fixture(scope="module")
def pendulum() -> Task:
    return load_task("pendulum")


@pytest.fixture(scope="module")
def one_sided(pendulum: Task) -> NetworkPolicy:
    """A pendulum's policy with a unit for each sign of cos(angle)."""
    hidden = Layer([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], [0.0, 0.0], "relu")
    return NetworkPolicy((hidden, Layer([[1.0, 1.5]], [0.0]))).for_actions(pendulum.simulator.action_space)


def test_the_bound_sees_what_the_merging_did_not(pendulum: Task, one_sided: NetworkPolicy) -> None:
    """Merged by upright states alone, the unit for hanging ones goes; the teacher's other flights hang too."""
    merger = Merger(one_sided, pendulum, passing, seed=0)
    upright = np.array([[c, 0, 0] for c in np.linspace(0, 1, 50)], dtype=np.float32)
    merger.__dict__["_met"] = upright
    facts, merged = merger(one_sided, 0.1)
    assert merged is not None
    assert merged.sizes == (3, 1, 1)
    assert np.abs(merged(upright) - one_sided(upright)).max() <= 0.1 * 2
    unseen = merger._unseen
    assert unseen.shape == (EPISODES, 3)
    changes = np.abs(merged(unseen) - one_sided(unseen))[:, 0] / 2  # half of -2 .. 2
    exceeding = int((changes > 0.1).sum())
    assert 20 < exceeding < EPISODES
    change = facts["change"]
    assert (change["states"], change["exceeding"], change["other_choices"]) == (EPISODES, exceeding, None)
    np.testing.assert_allclose([change["largest"], change["mean"]], [changes.max(), changes.mean()], rtol=1e-5)
    np.testing.assert_allclose(change["exceeding_upper"], beta.ppf(0.95, exceeding + 1, EPISODES - exceeding))


def test_the_states_of_the_bound_are_one_of_each_of_other_flights(pendulum: Task, one_sided: NetworkPolicy) -> None:
    merger = Merger(one_sided, pendulum, passing, seed=3)
    rows = {
        family: pendulum.simulator.sample(np.random.default_rng([3, family]), n)
        for family, n in ((module.MET, 20), (module.UNSEEN, EPISODES))
    }
    assert not set(map(tuple, rows[module.MET].tolist())) & set(map(tuple, rows[module.UNSEEN].tolist()))
    flying = CompiledPolicy(one_sided) if find_compiler() else compact(one_sided)
    for family, states in ((module.MET, merger._met), (module.UNSEEN, merger._unseen)):
        recording = rollout(pendulum.simulator, flying, rows[family], record=True).recording
        assert recording is not None
        flown = [set(map(tuple, flight.tolist())) for flight in recording.observations[:, :-1]]
        if family == module.UNSEEN:
            assert all(tuple(state) in flight for state, flight in zip(states.tolist(), flown, strict=True))
        else:
            assert set(map(tuple, states.tolist())) <= set().union(*flown)


def test_another_choice_is_counted_where_it_is_another(task: Task) -> None:
    teacher = NetworkPolicy(
        (Layer([[0, 0, 1.0, 0.3]], [0.0], "tanh"), Layer([[-1.0], [1.0]], [0.0, 0.0])), Head("argmax")
    )
    other = teacher.with_parts([*teacher.parts[:-1], np.float32([0.0, 0.02])])
    merger = Merger(teacher, task, passing, seed=0)
    change = merger.change(other, 0.0)
    differing = float((teacher(merger._unseen) != other(merger._unseen)).mean())
    assert 0 < differing < 1
    assert change.other_choices == differing
    assert change.exceeding == round(differing * change.states)
    same = merger.change(teacher, 0.0)
    assert (same.largest, same.mean, same.other_choices, same.exceeding) == (0, 0, 0, 0)
    np.testing.assert_allclose(same.exceeding_upper, 1 - 0.05 ** (1 / EPISODES))


def test_where_no_unit_can_go_nobody_is_asked(pendulum: Task, one_sided: NetworkPolicy) -> None:
    def never(network: NetworkPolicy) -> Verdict:
        raise AssertionError("asked")

    assert Merger(one_sided, pendulum, never, seed=0)(one_sided, 0.0) == ({"tolerance": 0.0}, None)
