"""Fitness: flights beside the teacher's, as one number."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.recipes import fitness as module
from niwaki.recipes.fitness import Fitness
from niwaki.shrinking.polish import JUDGING
from niwaki.tasks import Task, load_task

STEADY = NetworkPolicy((Layer([[0, 0, 0, 0], [0.0, 0.1, 1.0, 0.3]], [0.0, 0.0]),), Head("argmax"))
SHOWN = SimpleNamespace(scenarios=None, returns=np.full(50, 100.0), violated=np.arange(50) < 2)


@pytest.fixture
def lander() -> Fitness:
    linear = NetworkPolicy((Layer(np.ones((2, 8)), np.zeros(2)),), Head("clip", low=(-1.0,) * 2, high=(1.0,) * 2))
    return Fitness(linear, load_task("lunarlander-continuous"), 0)


def flown(monkeypatch: pytest.MonkeyPatch, *flights: object) -> None:
    coming = iter(flights)
    monkeypatch.setattr(module, "rollout", lambda *_, **__: next(coming))
    monkeypatch.setattr(module, "rollouts", lambda _, networks, *__, **___: [next(coming) for _ in networks])


def test_return_does_not_pay_for_violations(
    teacher: NetworkPolicy, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    bold = SimpleNamespace(returns=np.full(50, 104.0), violated=np.arange(50) < 3)
    flown(monkeypatch, SHOWN, bold)
    fitness = Fitness(teacher, task, 0)([STEADY], JUDGING)[0]
    assert fitness == pytest.approx(0.04 - module.PRICE / 50)
    assert fitness < -0.02


def test_where_networks_are_judged_fewer_violations_than_the_teacher_s_are_no_merit(
    teacher: NetworkPolicy, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    careful = SimpleNamespace(returns=np.full(50, 99.0), violated=np.zeros(50, dtype=bool))
    flown(monkeypatch, SHOWN, careful)
    assert Fitness(teacher, task, 0)([STEADY], JUDGING)[0] == pytest.approx(-0.01)


def test_in_other_draws_they_are(teacher: NetworkPolicy, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    careful = SimpleNamespace(returns=np.full(50, 99.0), violated=np.zeros(50, dtype=bool))
    careless = SimpleNamespace(returns=np.full(50, 99.0), violated=np.arange(50) < 1)
    flown(monkeypatch, SHOWN, careful, careless)
    first, second = Fitness(teacher, task, 0)([STEADY, STEADY], 1)
    assert first - second == pytest.approx(module.PRICE / 50)


def test_a_draw_is_the_same_for_all_and_unlike_the_others(teacher: NetworkPolicy, task: Task) -> None:
    fitness = Fitness(teacher, task, 0)
    assert np.array_equal(fitness._rows(3), Fitness(teacher, task, 0)._rows(3))
    assert not np.isin(fitness._rows(3)[:, 0], fitness._rows(4)[:, 0]).any()
    assert not np.isin(fitness._rows(3)[:, 0], fitness.bench.scenarios[:, 0]).any()
    assert len(fitness._rows(3)) * module.SHARE == len(fitness.bench) == module.EPISODES


@pytest.mark.parametrize(("length", "episodes"), [(100, 64), (1000, 32), (100_000, 16)])
def test_an_engine_flies_as_many_episodes_as_its_steps_allow(
    lander: Fitness, monkeypatch: pytest.MonkeyPatch, length: int, episodes: int
) -> None:
    flown(monkeypatch, SimpleNamespace(lengths=np.array([length])))
    assert lander._episodes == episodes


def test_networks_that_share_the_workers_fly_as_they_do_alone(lander: Fitness) -> None:
    other = lander.teacher.with_parts([-part for part in lander.teacher.parts])
    together = lander([lander.teacher, other], 5)
    assert together == [*lander([lander.teacher], 5), *lander([other], 5)]
    assert together[0] != together[1]
