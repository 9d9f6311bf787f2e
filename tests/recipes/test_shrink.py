"""Shrink: a few numbers are left, they pass an exam, and a stopped run ends as an undisturbed one does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from niwaki.gates import Gate, Verdict
from niwaki.policies.grid import grid_of
from niwaki.policies.loading import load_policy
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.recipes import candidates as candidates_module
from niwaki.recipes import exam as exam_module
from niwaki.recipes import fitness as fitness_module
from niwaki.recipes import front as front_module
from niwaki.recipes import merging as merging_module
from niwaki.recipes import shrink as module
from niwaki.recipes import stages as stages_module
from niwaki.recipes import whittling as whittling_module
from niwaki.recipes.candidates import Wish, smallest_first
from niwaki.recipes.exam import Exam, Rule
from niwaki.recipes.front import Candidate
from niwaki.recipes.ipp import Loop
from niwaki.recipes.ledger import Facts, read_run
from niwaki.recipes.shape import Attempt, Effort, Step
from niwaki.recipes.shrink import Shrunk, shrink
from niwaki.recipes.whittling import Whittler
from niwaki.rollout import rollout
from niwaki.tasks import Task
from niwaki.types import NiwakiError

from .conftest import Killed, as_it_was_before, killed_after

QUICK = Effort(flights=16, trials=100, confirmations=200, rounds=3, steps=400)
WISH = Wish(Rule(return_loss=0.05, more_violations=0.02))


@pytest.fixture(scope="module", autouse=True)
def little_effort() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates_module, "effort", lambda *_, seconds, **__: replace(QUICK, seconds=seconds))
        patch.setattr(front_module, "BASELINE_STEPS", 200)
        patch.setattr(front_module, "BASELINE_WIDTHS", (0, 2, 256))
        patch.setattr(stages_module, "PILOT_EPISODES", 100)
        patch.setattr(front_module, "FRONT_EPISODES", 100)
        patch.setattr(candidates_module, "TRIAL_EPISODES", 100)
        patch.setattr(fitness_module, "EPISODES", 40)
        patch.setattr(exam_module, "LOOKS", (1000, 2000))
        patch.setattr(merging_module, "MET_EPISODES", 20)
        patch.setattr(merging_module, "UNSEEN_EPISODES", 300)
        tolerances = (0.05, 0.3, 0.3, 2.0)  # at the third there is nothing more to merge
        patch.setattr(candidates_module, "TOLERANCES", tolerances)
        yield


@pytest.fixture(scope="module")
def whole(teacher: NetworkPolicy, task: Task, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shrunk]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, shrink(teacher, task, folder, WISH)


def test_a_few_numbers_are_left_and_they_do_the_job(
    whole: tuple[Path, Shrunk], task: Task, teacher: NetworkPolicy
) -> None:
    folder, shrunk = whole
    assert shrunk.passed
    policy = load_policy(str(folder / "policy.safetensors"))
    left = policy.nonzero_parameters
    assert shrunk.policy["nonzero_parameters"] == left <= 6 < teacher.parameters
    fresh = task.simulator.sample(np.random.default_rng(777), 300)
    assert rollout(task.simulator, policy, fresh).returns.mean() >= 0.95 * 200
    assert (folder / "policy.c").exists()


def test_the_front_falls_with_the_size_and_the_baseline_is_dense(whole: tuple[Path, Shrunk]) -> None:
    folder, shrunk = whole
    sizes = [row["nonzero_parameters"] for row in shrunk.front]
    assert sizes == sorted(sizes)
    assert shrunk.policy["nonzero_parameters"] in sizes
    for row in shrunk.front:
        assert load_policy(str(folder / str(row["file"]))).nonzero_parameters == row["nonzero_parameters"]
    dense = [row["parameters"] for row in shrunk.baseline]
    assert dense == [4 * 2 + 2, 4 * 2 + 2 + 2 * 2 + 2]  # 256 units are more than the teacher has


def test_the_run_says_what_its_report_needs(whole: tuple[Path, Shrunk]) -> None:
    folder, shrunk = whole
    run = read_run(folder)
    fronts, exam = run["fronts"], run["shrunk"]["exam"]
    assert {series["name"]: series["rows"] for series in fronts["series"]} == {
        "front": list(shrunk.front),
        "direct distillation": list(shrunk.baseline),
    }
    left, shipped = load_policy(str(folder / fronts["policy"]["file"])), load_policy(str(folder / "policy.safetensors"))
    assert [part.tobytes() for part in left.parts] == [part.tobytes() for part in shipped.parts]
    assert fronts["knee"] == shrunk.knee
    assert shrunk.knee is not None
    assert shrunk.knee["nonzero_parameters"] >= shrunk.policy["nonzero_parameters"]  # type: ignore[operator]
    assert (run["passed"], run["shipped"], exam["passed"]) == (True, True, True)
    assert exam["policy"] == run["policy"] == shrunk.policy
    assert [row["stage"] for row in run["stages"] if row.get("shipped")] == ["exam"]
    assert "out" not in run


def test_killed_again_and_again_it_ends_with_the_same_bits(
    whole: tuple[Path, Shrunk], teacher: NetworkPolicy, task: Task, tmp_path: Path
) -> None:
    folder, undisturbed = whole
    names = [entry["stage"] for entry in read_run(folder)["ledger"]]
    for stage in ("shape 1", "whittle 1", "exam 1", "front"):
        done = names[: names.index(stage) + 1]
        with pytest.raises(Killed):
            shrink(teacher, task, tmp_path, WISH, note=killed_after(len(done)))
        assert [entry["stage"] for entry in read_run(tmp_path)["ledger"]] == done
    again = shrink(teacher, task, tmp_path, WISH)
    assert [entry["stage"] for entry in read_run(tmp_path)["ledger"]] == names
    for name in ("policy.safetensors", "policy.c"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert again.policy["return_mean"] == undisturbed.policy["return_mean"]


def test_a_finished_run_that_is_given_more_time_examines_what_it_finds_then(
    whole: tuple[Path, Shrunk], teacher: NetworkPolicy, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, undisturbed = whole
    begun = as_it_was_before("whittle 1", folder, tmp_path / "begun")
    with monkeypatch.context() as patch:
        patch.setattr(candidates_module.Finder, "_late", lambda finder, name, about="": name.startswith("whittle"))
        short = shrink(teacher, task, begun, WISH)
    assert short.passed
    assert short.policy["nonzero_parameters"] > undisturbed.policy["nonzero_parameters"]
    longer = shrink(teacher, task, begun, WISH)
    assert longer.passed
    assert longer.policy["nonzero_parameters"] == undisturbed.policy["nonzero_parameters"]
    assert load_policy(str(begun / "policy.safetensors")).nonzero_parameters == longer.policy["nonzero_parameters"]
    exams = [entry for entry in read_run(begun)["ledger"] if entry["stage"].startswith("exam")]
    assert len(exams) == len({entry["about"] for entry in exams}) > 1
    assert [row["stage"] for row in read_run(begun)["stages"] if row.get("shipped")] == ["exam"]


def test_a_stage_that_the_end_of_the_time_cuts_short_is_done_when_there_is_more(
    whole: tuple[Path, Shrunk], teacher: NetworkPolicy, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, undisturbed = whole
    begun = as_it_was_before("whittle 1", folder, tmp_path / "begun")
    names = [entry["stage"] for entry in read_run(folder)["ledger"]]

    def cut_short(*_: object, late: Callable[[], bool], **__: object) -> None:
        assert late()

    with monkeypatch.context() as patch:
        patch.setattr(candidates_module.Finder, "_left", lambda finder: -1.0)
        patch.setattr(whittling_module, "whittle", cut_short)
        assert shrink(teacher, task, begun, WISH).passed
    assert not any(entry["stage"].startswith("whittle") for entry in read_run(begun)["ledger"])
    longer = shrink(teacher, task, begun, WISH)
    assert longer.policy["nonzero_parameters"] == undisturbed.policy["nonzero_parameters"]
    assert {"whittle 1", *names} <= {entry["stage"] for entry in read_run(begun)["ledger"]}


@pytest.fixture(scope="module")
def merged(teacher: NetworkPolicy, task: Task, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shrunk]:
    folder = tmp_path_factory.mktemp("merged")
    return folder, shrink(teacher, task, folder, replace(WISH, method="compact"))


def test_merging_alone_leaves_a_small_network_that_does_the_job(
    merged: tuple[Path, Shrunk], task: Task, teacher: NetworkPolicy
) -> None:
    folder, shrunk = merged
    assert shrunk.passed
    policy = load_policy(str(folder / "policy.safetensors"))
    assert shrunk.policy["nonzero_parameters"] == policy.nonzero_parameters < teacher.parameters / 5
    assert len(policy.layers) == len(teacher.layers)  # units went, layers did not
    fresh = task.simulator.sample(np.random.default_rng(777), 300)
    assert rollout(task.simulator, policy, fresh).returns.mean() >= 0.95 * 200
    assert {"policy.c", "policy.h", "policy.onnx", "teacher.safetensors"} <= {path.name for path in folder.iterdir()}


def test_every_merge_says_how_much_the_actions_change(merged: tuple[Path, Shrunk]) -> None:
    ledger = read_run(merged[0])["ledger"]
    kinds = {entry["stage"].split()[0] for entry in ledger}
    assert kinds == {"teacher", "merge", "exam", "bytes", "front", "baseline", "export"}
    merges = [entry for entry in ledger if entry["stage"].startswith("merge")]
    done = [entry["facts"] for entry in merges if "network" in entry]
    assert [facts["tolerance"] for facts in done[:2]] == [0.05, 0.3]
    assert merges[2]["facts"] == {"tolerance": 0.3}
    for facts in done:
        change = facts["change"]
        assert change["states"] == 300
        assert change["mean"] <= change["largest"]
        assert change["exceeding"] / 300 < change["exceeding_upper"] < 0.1


def test_merging_that_was_killed_ends_with_the_same_bits(
    merged: tuple[Path, Shrunk], teacher: NetworkPolicy, task: Task, tmp_path: Path
) -> None:
    folder, _ = merged
    wish = replace(WISH, method="compact")
    with pytest.raises(Killed):
        shrink(teacher, task, tmp_path, wish, note=killed_after(3))
    assert read_run(tmp_path)["ledger"][-1]["stage"] == "merge 2"
    shrink(teacher, task, tmp_path, wish)
    assert [e["stage"] for e in read_run(tmp_path)["ledger"]] == [e["stage"] for e in read_run(folder)["ledger"]]
    for name in ("policy.safetensors", "policy.c"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_the_networks_of_pops_are_put_to_the_same_exam(
    teacher: NetworkPolicy, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates_module, "Loop", lambda *rest, **more: Loop(*rest, steps=6000, iterations=1, **more))
    shrunk = shrink(teacher, task, tmp_path, replace(WISH, method="pops"))
    assert shrunk.passed
    assert len(load_policy(str(tmp_path / "policy.safetensors")).layers) == len(teacher.layers)
    names = [entry["stage"] for entry in read_run(tmp_path)["ledger"]]
    assert names[:5] == ["teacher", "prune 1", "distil 1", "trial 1", "exam 1"]


def test_a_linear_teacher_has_nothing_for_pops(task: Task, tmp_path: Path) -> None:
    linear = NetworkPolicy((Layer(np.ones((2, 4)), np.zeros(2)),), Head("argmax"))
    with pytest.raises(NiwakiError, match="no hidden units"):
        shrink(linear, task, tmp_path, replace(WISH, method="pops"))
    assert not list(tmp_path.iterdir())


def test_a_run_goes_on_with_its_own_method_only(
    merged: tuple[Path, Shrunk], teacher: NetworkPolicy, task: Task
) -> None:
    with pytest.raises(NiwakiError, match="a run with another method \\(compact, not search\\)"):
        shrink(teacher, task, merged[0], WISH)


def test_what_is_too_much_to_ask_is_said_with_the_best_that_was_found(
    whole: tuple[Path, Shrunk], teacher: NetworkPolicy, task: Task, tmp_path: Path
) -> None:
    _, possible = whole
    least = possible.policy["nonzero_parameters"]
    assert isinstance(least, int)
    begun = as_it_was_before("export", whole[0], tmp_path / "begun", most_parameters=least - 1)
    shrunk = shrink(teacher, task, begun, replace(WISH, most_parameters=least - 1))
    assert not shrunk.passed
    assert shrunk.reason == f"the smallest that passed has {least} parameters, {least - 1} were asked for"
    assert shrunk.policy["nonzero_parameters"] == least
    assert read_run(begun)["shipped"] is True
    assert (begun / "policy.c").exists()  # the policy that was found lies there all the same


def test_after_a_failed_exam_a_clearly_larger_one_is_examined(
    whole: tuple[Path, Shrunk], teacher: NetworkPolicy, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = module.examine

    def strict(network: NetworkPolicy, *rest: object, **options: object) -> Exam:
        sizes.append(network.nonzero_parameters)
        exam = real(network, *rest, **options)  # type: ignore[arg-type]
        return replace(exam, passed=len(sizes) == 3, reason="too small")

    monkeypatch.setattr(module, "examine", strict)
    shrunk = shrink(teacher, task, as_it_was_before("exam 1", whole[0], tmp_path / "begun"), WISH)
    assert len(sizes) == 3
    assert all(b >= 1.25 * a for a, b in pairwise(sizes))
    assert shrunk.passed
    assert shrunk.policy["nonzero_parameters"] == sizes[-1]


def test_of_two_candidates_of_a_size_the_one_found_last_goes_first() -> None:
    def candidate(width: int, file: str) -> Candidate:
        return Candidate(NetworkPolicy((Layer(np.ones((1, width)), np.zeros(1)),)), file)

    found = [candidate(3, "shaped"), candidate(2, "smaller"), candidate(3, "polished"), candidate(4, "larger")]
    assert [each.file for each in smallest_first(found)] == ["smaller", "polished", "shaped", "larger"]


def test_a_linear_map_that_imitation_does_not_bring_through_is_polished(
    teacher: NetworkPolicy, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaning = NetworkPolicy((Layer([[0, 0, 0, 0], [0.0, 0.1, 1.0, 0.3]], [0.0, 0.15]),), Head("argmax"))
    refused = Attempt(Step("grow", 0), leaning, Verdict(False, "it falls", 10, 60.0, 1.0), 3)
    monkeypatch.setattr(candidates_module, "shape", lambda *_, **__: iter([refused]))
    shrunk = shrink(teacher, task, tmp_path, WISH)
    assert shrunk.passed
    assert shrunk.policy["nonzero_parameters"] <= leaning.nonzero_parameters  # type: ignore[operator]
    assert "polish linear" in [entry["stage"] for entry in read_run(tmp_path)["ledger"]]


def test_a_trial_goes_by_how_often_the_teacher_failed_in_all_its_flights(
    teacher: NetworkPolicy, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates: list[Gate] = []
    first_flights = candidates_module.fly_teacher

    def often(*where: Any, **how: Any) -> Any:
        facts, network = first_flights(*where, **how)
        return {"teacher": facts["teacher"] | {"violation_rate": 0.1}}, network

    def refuses(gate: Gate, *_: object, **__: object) -> Verdict:
        gates.append(gate)
        return Verdict(False, "no", 1, 0.0, 1.0)

    shares: list[float] = []

    def tried(whittler: Whittler, network: NetworkPolicy, *, share: float) -> tuple[Facts, None]:
        shares.append(share)
        return {"verdict": asdict(whittler.passes(network))}, None

    refused = [Attempt(Step("grow", n), teacher, Verdict(False, "it falls", 10, 60.0, 1.0), 3) for n in (0, 8)]
    monkeypatch.setattr(candidates_module, "fly_teacher", often)
    monkeypatch.setattr(candidates_module, "judge", refuses)
    monkeypatch.setattr(candidates_module, "POLISHED", teacher.parameters)
    monkeypatch.setattr(candidates_module, "shape", lambda *_, **__: iter(refused))
    monkeypatch.setattr(Whittler, "polished", tried)
    shrink(teacher, task, tmp_path, WISH)
    first, n = stages_module.PILOT_EPISODES, candidates_module.TRIAL_EPISODES  # in the n of the trial it never failed
    expected = (0.1 * first + math.sqrt(0.1 * first)) / (first + n) * n  # one deviation more than was seen
    spare = (expected + math.sqrt(expected)) / n
    assert gates[0].more_violations == pytest.approx(WISH.rule.more_violations / 2 + spare)
    assert shares == [0.5, 0.25]  # of refused ones: something wider wants its time too


@pytest.mark.parametrize(("width", "goes_on"), [(8, False), (64, True)])
def test_a_refused_student_is_polished_where_it_is_small_and_then_nothing_wider_is_grown(
    width: int, goes_on: bool, teacher: NetworkPolicy, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = Layer(np.vstack(([0.0, 0.1, 1.0, 0.3], np.full((width - 1, 4), 1e-9))), np.zeros(width), "tanh")
    output = np.eye(2, width)[::-1] + np.where(np.arange(width) < 2, 0.0, 1e-9)  # of 64 units, too many to move
    leaning = NetworkPolicy((hidden, Layer(output, [0.0, 0.15])), Head("argmax"))
    refused = Attempt(Step("grow", width), leaning, Verdict(False, "it falls", 10, 60.0, 1.0), 3)
    wider = Attempt(Step("grow", 2 * width), teacher, Verdict(True, "", 1, 200.0, 0.0), 1)
    grown: list[Attempt] = []

    def shapes(*_: object, **__: object) -> Iterator[Attempt]:
        for attempt in (refused, wider):
            grown.append(attempt)
            yield attempt

    monkeypatch.setattr(candidates_module, "shape", shapes)
    monkeypatch.setattr(candidates_module.Finder, "_whittle", lambda *_: iter(()))
    shrunk = shrink(teacher, task, tmp_path, WISH)
    assert shrunk.passed
    assert (wider in grown) == goes_on
    assert (f"polish {width}" in [entry["stage"] for entry in read_run(tmp_path)["ledger"]]) != goes_on


@pytest.mark.parametrize(("earned", "polishes"), [(203.0, True), (207.0, False)])
def test_what_earns_clearly_more_than_its_teacher_on_an_engine_was_polished_already(
    earned: float, polishes: bool, teacher: NetworkPolicy, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaning = NetworkPolicy((Layer([[0, 0, 0, 0], [0.0, 0.1, 1.0, 0.3]], [0.0, 0.15]),), Head("argmax"))
    confirmed = Attempt(Step("confirm", 0), leaning, Verdict(True, "", 100, earned, 0.0), 1)
    monkeypatch.setattr(candidates_module, "shape", lambda *_, **__: iter([confirmed]))
    monkeypatch.setattr(candidates_module, "Lockstep", type("Nothing", (), {}))  # so that this counts as an engine
    monkeypatch.setattr(candidates_module.Finder, "_whittle", lambda *_: iter(()))
    shrink(teacher, task, tmp_path, WISH)
    assert ("polish" in [entry["stage"] for entry in read_run(tmp_path)["ledger"]]) == polishes


def test_weights_of_one_byte_are_shipped_where_they_pass_their_own_exam(
    teacher: NetworkPolicy, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Attempt(Step("grow", 64), teacher, Verdict(True, "", 1, 200.0, 0.0), 1)
    monkeypatch.setattr(candidates_module, "shape", lambda *_, **__: iter([found]))
    monkeypatch.setattr(Whittler, "worth_while", lambda *_: False)  # of few numbers bytes save nothing
    shrunk = shrink(teacher, task, tmp_path, WISH)
    assert shrunk.passed
    policy = load_policy(str(tmp_path / "policy.safetensors"))
    assert all(grid_of(layer.weight) for layer in policy.layers)
    assert shrunk.policy["bytes"] == sum(layer.weight.size + 4 * layer.bias.size for layer in policy.layers)
    assert "int8_t" in (tmp_path / "policy.c").read_text()


def test_a_few_numbers_are_not_rounded_for_nothing(whole: tuple[Path, Shrunk]) -> None:
    folder, _ = whole
    (stage,) = (entry for entry in read_run(folder)["ledger"] if entry["stage"] == "bytes")
    assert stage["facts"] == {"exhausted": True}


def test_without_time_the_teacher_s_row_stands_and_with_more_the_run_ends_as_any_other(
    whole: tuple[Path, Shrunk], teacher: NetworkPolicy, task: Task, tmp_path: Path
) -> None:
    (tmp_path / "policy.c").write_text("of an earlier run")
    shrunk = shrink(teacher, task, tmp_path, replace(WISH, seconds=1e-9), restart=True)
    assert (shrunk.passed, shrunk.reason) == (False, "no smaller network passed the trials")
    assert shrunk.policy["parameters"] == teacher.parameters
    assert shrunk.knee is None
    assert read_run(tmp_path)["shrunk"]["exam"] is None
    assert not (tmp_path / "policy.c").exists()
    assert shrink(teacher, task, tmp_path, WISH).passed
    for name in ("policy.safetensors", "policy.c"):
        assert (tmp_path / name).read_bytes() == (whole[0] / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "guess"}, "one of search, pops, compact, got 'guess'"),
        ({"most_parameters": 0}, "at least one parameter, got 0"),
        ({"seconds": 0.0}, "positive time, got 0 s"),
        ({"seed": -1}, "must not be negative, got -1"),
    ],
)
def test_a_wish_without_sense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(NiwakiError, match=message):
        replace(Wish(), **change)
