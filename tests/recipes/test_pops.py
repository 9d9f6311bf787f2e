"""pops: smaller dense networks, one after the other, and a stopped run ends as an undisturbed one does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from niwaki.policies.loading import load_policy
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.recipes import pops as module
from niwaki.recipes import rounds as rounds_module
from niwaki.recipes import stages as stages_module
from niwaki.recipes.ipp import Loop
from niwaki.recipes.ledger import read_run
from niwaki.recipes.pops import Popped, loop_for, pops
from niwaki.rollout import rollout
from niwaki.shrinking.widths import narrower
from niwaki.tasks import Task, load_task
from niwaki.types import NiwakiError

from .conftest import Killed, as_it_was_before, killed_after

LOOP = Loop(objective=190, lower_bound=80, steps=2000, iterations=2)


@pytest.fixture(scope="module", autouse=True)
def little_effort() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "JUDGED", 100)
        patch.setattr(rounds_module, "LOOK_EPISODES", 20)
        patch.setattr(rounds_module, "NEW_STEPS", 4000)
        patch.setattr(stages_module, "PILOT_EPISODES", 100)
        yield


@pytest.fixture(scope="module")
def whole(teacher: NetworkPolicy, task: Task, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Popped]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, pops(teacher, task, folder, LOOP)


def test_a_smaller_dense_network_does_the_job(whole: tuple[Path, Popped], task: Task, teacher: NetworkPolicy) -> None:
    folder, popped = whole
    assert (popped.passed, popped.reason) == (True, "")
    policy = load_policy(str(folder / "policy.safetensors"))
    assert policy.weights == policy.nonzero_weights == popped.policy["weights"] < teacher.weights / 4
    assert len(policy.layers) == len(teacher.layers)
    fresh = task.simulator.sample(np.random.default_rng(777), 300)
    assert rollout(task.simulator, policy, fresh).returns.mean() >= 190
    assert (folder / "policy.c").exists()


def test_every_round_takes_what_the_pruning_before_it_says(whole: tuple[Path, Popped], teacher: NetworkPolicy) -> None:
    folder, popped = whole
    assert [each.reached for each in popped.iterations] == [True, True]
    sizes = teacher.sizes
    for each in popped.iterations:
        layers = [a * b for a, b in pairwise(sizes)]
        left = sum(n * (1 - r) for n, r in zip(layers, each.redundancy, strict=True))
        assert each.nonzero_weights == round(left)
        assert each.widths[1:-1] == narrower(sizes[1:-1], each.redundancy)
        assert each.weights == sum(a * b for a, b in pairwise(each.widths))
        assert each.parameters == each.weights + sum(each.widths[1:])
        sizes = each.widths
    stages = {entry["stage"]: entry["facts"] for entry in read_run(folder)["ledger"]}
    looks = stages["prune 1"]["looks"]
    assert [look["step"] for look in looks] == [100 * (i + 1) for i in range(len(looks))]
    good = [look["nonzero_weights"] for look in looks if look["score"] >= 190]
    assert popped.iterations[0].nonzero_weights == good[-1] == min(good)


def test_killed_again_and_again_it_ends_with_the_same_bits(
    whole: tuple[Path, Popped], teacher: NetworkPolicy, task: Task, tmp_path: Path
) -> None:
    folder, undisturbed = whole
    names = [entry["stage"] for entry in read_run(folder)["ledger"]]
    for stage in ("prune 1", "judge 1"):
        done = names[: names.index(stage) + 1]
        with pytest.raises(Killed):
            pops(teacher, task, tmp_path, LOOP, note=killed_after(len(done)))
        assert [entry["stage"] for entry in read_run(tmp_path)["ledger"]] == done
    again = pops(teacher, task, tmp_path, LOOP)
    assert [entry["stage"] for entry in read_run(tmp_path)["ledger"]] == names
    for name in ("policy.safetensors", "policy.c"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert replace(again.iterations[0], seconds=0) == replace(undisturbed.iterations[0], seconds=0)


def test_looks_lessons_and_judgements_share_no_scenario_and_a_gain_too_small_ends_the_loop(
    teacher: NetworkPolicy, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flown: list[np.ndarray] = []
    real = rollout

    def watched(simulator, policy, rows, **options):  # type: ignore[no-untyped-def]
        flown.append(rows)
        return real(simulator, policy, rows, **options)

    monkeypatch.setattr(stages_module, "rollout", watched)
    monkeypatch.setattr(rounds_module, "LEAST_FALL", 1.0)
    popped = pops(teacher, task, tmp_path, replace(LOOP, steps=400, objective=30, lower_bound=10))
    assert popped.passed
    assert len(popped.iterations) == 1
    *others, judged, beside = flown
    assert np.array_equal(judged, beside)  # the teacher flies the judgement too
    rows = [row.tobytes() for rows in [*others, judged] for row in rows]
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize("strict_with_all", [False, True])
def test_the_smallest_that_passes_the_judgement_is_taken(
    whole: tuple[Path, Popped],
    teacher: NetworkPolicy,
    task: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strict_with_all: bool,
) -> None:
    folder, popped = whole
    as_it_was_before("judge 1", folder, tmp_path)
    second, smallest = (each.weights for each in popped.iterations[-2:])
    real = module.policy_row

    def strict(network: NetworkPolicy, **options: object) -> dict[str, object]:
        row = real(network, **options)  # type: ignore[arg-type]
        return row | {"return_low": 189.9} if strict_with_all or network.weights == smallest else row

    monkeypatch.setattr(module, "policy_row", strict)
    judged = pops(teacher, task, tmp_path, LOOP)
    assert judged.passed is not strict_with_all
    assert judged.policy["weights"] == (teacher.weights if strict_with_all else second)
    assert (tmp_path / "policy.c").exists() is not strict_with_all
    if strict_with_all:
        assert judged.reason == "the last that was judged may return 189.9, 190 is asked for"


def test_an_objective_that_the_teacher_does_not_reach_is_said_before_any_work(
    teacher: NetworkPolicy, task: Task, tmp_path: Path
) -> None:
    popped = pops(teacher, task, tmp_path, replace(LOOP, objective=201))
    assert (popped.passed, popped.reason) == (
        False,
        "the teacher's own mean return is 200.0, below the objective of 201",
    )
    assert popped.iterations == ()
    assert [entry["stage"] for entry in read_run(tmp_path)["ledger"]] == ["teacher"]


def test_a_student_that_never_learns_is_the_end(teacher: NetworkPolicy, task: Task, tmp_path: Path) -> None:
    popped = pops(teacher, task, tmp_path, replace(LOOP, steps=200))
    assert (popped.passed, popped.reason) == (False, "no pruned network reached the objective")


def test_a_teacher_of_continuous_actions_is_imitated(make_network, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    task = load_task("pendulum")
    teacher = make_network((3, 16, 1), head=Head("clip", np.array([-2.0]), np.array([2.0])))
    popped = pops(teacher, task, tmp_path, Loop(objective=-2000, lower_bound=-3000, steps=200, iterations=1))
    assert popped.passed
    assert popped.policy["weights"] < 64


def test_a_teacher_without_hidden_units_is_refused(task: Task, tmp_path: Path) -> None:
    linear = NetworkPolicy((Layer(np.ones((2, 4)), np.zeros(2)),), Head("argmax"))
    with pytest.raises(NiwakiError, match="no hidden units to shrink"):
        pops(linear, task, tmp_path / "out", LOOP)
    assert not (tmp_path / "out").exists()


def test_the_task_gives_the_objective_and_the_objective_the_lower_bound(task: Task) -> None:
    assert loop_for(task).objective == 195
    assert loop_for(task).lower_bound == pytest.approx(195 * 80 / 190)
    assert loop_for(task, objective=190).lower_bound == pytest.approx(80)
    assert loop_for(task, objective=-100).lower_bound == pytest.approx(-100 - 100 * 110 / 190)
    assert loop_for(task, objective=190, lower_bound=3, steps=200).lower_bound == 3
    with pytest.raises(NiwakiError, match=f"{task.name} has no return threshold"):
        loop_for(replace(task, return_threshold=None))
