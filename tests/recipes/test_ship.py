"""Ship: the whole way in small, what stops it, and that a stopped run ends as an undisturbed one does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from niwaki.certification.check import check
from niwaki.policies.loading import load_policy
from niwaki.policies.network import NetworkPolicy
from niwaki.recipes import front as front_module
from niwaki.recipes import ship as module
from niwaki.recipes.ledger import read_run
from niwaki.recipes.order import Order
from niwaki.recipes.shape import Effort
from niwaki.recipes.ship import Shipped, Watch, ship
from niwaki.tasks import Task, load_task, with_specs
from niwaki.types import NiwakiError

from .conftest import Killed, killed_after

ORDER = Order(risk=0.05, confidence=0.9, episodes=1000, simulations=50, rounds=0)


QUICK = Effort(flights=16, trials=40, confirmations=100, rounds=2, steps=300)


@pytest.fixture(scope="module", autouse=True)
def little_effort() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "effort", lambda *_, **__: QUICK)
        patch.setattr(front_module, "BASELINE_STEPS", 100)
        patch.setattr(front_module, "BASELINE_WIDTHS", (0, 2))
        patch.setattr(front_module, "FRONT_EPISODES", 50)
        yield


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("cartpole-v0")


@pytest.fixture(scope="module")
def teacher(task: Task) -> NetworkPolicy:
    return load_policy("cartpole").for_actions(task.simulator.action_space)


@pytest.fixture(scope="module")
def whole(teacher: NetworkPolicy, task: Task, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shipped]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, ship(teacher, task, folder, ORDER)


def test_what_is_shipped_is_small_certified_and_holds(whole: tuple[Path, Shipped], task: Task) -> None:
    folder, shipped = whole
    assert shipped.shipped
    assert shipped.policy["nonzero_weights"] < 0.01 * shipped.teacher["weights"]  # type: ignore[operator]
    assert shipped.certificate is not None
    assert shipped.certificate["claimed"]
    assert check(folder, full=True).valid
    assert not (folder / "candidate").exists()
    run = read_run(folder)
    assert run["stages"][-1]["shipped"] is True
    assert run["fronts"] is None  # nobody asked for the smallest
    assert run["policy"]["nonzero_weights"] == load_policy(str(folder / "policy.safetensors")).nonzero_weights


def test_killed_after_every_stage_it_ends_with_the_same_bits(
    whole: tuple[Path, Shipped], teacher: NetworkPolicy, task: Task, tmp_path: Path
) -> None:
    folder, shipped = whole
    count = len(read_run(folder)["ledger"])
    for stage in range(1, count + 1):
        with pytest.raises(Killed):
            ship(teacher, task, tmp_path, ORDER, watch=Watch(note=killed_after(stage)))
    again = ship(teacher, task, tmp_path, ORDER)
    assert len(read_run(tmp_path)["ledger"]) == count
    for name in ("policy.c", "policy.safetensors", "policy.onnx", "counterexamples.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert again.certificate == shipped.certificate


def test_the_smallest_has_fewer_numbers_and_keeps_the_specifications(
    whole: tuple[Path, Shipped], teacher: NetworkPolicy, task: Task, tmp_path: Path
) -> None:
    _, sparsest = whole
    shipped = ship(teacher, task, tmp_path, replace(ORDER, smallest=True))
    assert shipped.shipped
    assert shipped.policy["nonzero_parameters"] < sparsest.policy["nonzero_parameters"]  # type: ignore[operator]
    names = [entry["stage"] for entry in read_run(tmp_path)["ledger"]]
    assert names.index("whittle 1.1") < names.index("search 1.0")
    assert names[-2:] == ["front", "baseline"]
    assert check(tmp_path).valid
    run = read_run(tmp_path)
    fronts, shaped = run["fronts"], [row for row in run["stages"] if row["stage"] == "shape" and row.get("passed")]
    sizes = {series["name"]: [row["nonzero_parameters"] for row in series["rows"]] for series in fronts["series"]}
    assert len(sizes["shaped"]) == len(shaped)
    assert min(sizes["whittled"]) < min(sizes["shaped"])
    assert sizes["direct distillation"] == [10, 16]
    assert fronts["policy"]["nonzero_parameters"] == shipped.policy["nonzero_parameters"]
    left = load_policy(str(tmp_path / fronts["policy"]["file"]))
    assert [part.tobytes() for part in left.parts] == [
        part.tobytes() for part in load_policy(str(tmp_path / "policy.safetensors")).parts
    ]
    assert fronts["knee"]["nonzero_parameters"] >= left.nonzero_parameters


def test_a_refused_certificate_leaves_no_policy_behind(teacher: NetworkPolicy, task: Task, tmp_path: Path) -> None:
    strict = replace(ORDER, more_violations=0.0)  # a comparison with finitely many episodes cannot show that
    shipped = ship(teacher, task, tmp_path, strict)
    assert not shipped.shipped
    assert "more often than its teacher, 0.00% is allowed" in shipped.reason
    assert {path.name for path in tmp_path.iterdir()} == {
        "run.json", "teacher.safetensors", "counterexamples.json", "stages",
    }  # fmt: skip
    assert shipped.policy == shipped.teacher
    assert shipped.pruned == 0.0


def test_a_teacher_that_breaks_the_specification_stops_it_with_its_rate(
    teacher: NetworkPolicy, task: Task, tmp_path: Path
) -> None:
    shipped = ship(teacher, with_specs(task, ["always(abs(x) <= 0.01)"]), tmp_path, ORDER)
    assert not shipped.shipped
    assert "breaks always(abs(x) <= 0.01) in 100.00% of 1,000 episodes" in shipped.reason
    assert "--even-so" in shipped.reason
    assert len(read_run(tmp_path)["ledger"]) == 1  # nothing was shaped


def test_another_order_needs_another_folder_or_a_new_beginning(
    teacher: NetworkPolicy, task: Task, tmp_path: Path
) -> None:
    impossible = replace(ORDER, return_threshold=201.0)
    ship(teacher, task, tmp_path, impossible)
    with pytest.raises(NiwakiError, match=r"another return threshold \(201.0, not 202.0\).*--restart"):
        ship(teacher, task, tmp_path, replace(ORDER, return_threshold=202.0))
    assert ship(teacher, task, tmp_path, replace(ORDER, return_threshold=202.0), restart=True).reason.startswith(
        "the teacher's own mean return is 200.0"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episodes": 10}, "needs at least 59 episodes without a violation, more than 10"),
        ({"episodes": 999}, "needs at least 1,000 episodes, more than the 999 that are allowed"),
        ({"risk": 0.0}, "between 0 and 1, got 0"),
        ({"confidence": 1.5}, "between 0 and 1, got 1.5"),
    ],
)
def test_an_order_that_cannot_be_met_is_refused_before_anything_flies(
    teacher: NetworkPolicy, task: Task, tmp_path: Path, change: dict[str, float], message: str
) -> None:
    with pytest.raises(NiwakiError, match=message):
        ship(teacher, task, tmp_path / "none", replace(ORDER, **change))  # type: ignore[arg-type]
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"return_threshold": np.nan}, {"return_loss": np.nan}, {"return_loss": -0.1}, {"more_violations": 1.1},
        {"simulations": 0}, {"rounds": -1}, {"seed": -1},
    ],
)  # fmt: skip
def test_an_order_without_sense_is_refused_with_its_value(change: dict[str, float]) -> None:
    (value,) = change.values()
    with pytest.raises(NiwakiError, match=f"got {value}"):
        Order(**change)  # type: ignore[arg-type]


def test_a_task_without_specifications_is_told_how_to_give_one(
    teacher: NetworkPolicy, task: Task, tmp_path: Path
) -> None:
    with pytest.raises(NiwakiError, match="has no specification: give one, such as --spec"):
        ship(teacher, replace(task, specs=()), tmp_path, ORDER)
