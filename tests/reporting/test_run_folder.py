"""Reading a run: its files may come from anybody."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from niwaki.compiler import find_compiler
from niwaki.reporting.run_folder import read_run_folder
from niwaki.types import NiwakiError


def test_a_run_is_read(cartpole_run: Path) -> None:
    found = read_run_folder(cartpole_run)
    written = json.loads((cartpole_run / "run.json").read_text())
    assert found.run.teacher.weights == found.teacher.weights == written["teacher"]["weights"]
    assert found.policy is not None
    assert found.run.policy is not None
    assert found.policy.nonzero_weights == found.run.policy.nonzero_weights
    assert len(found.run.stages) == len(written["stages"])


def test_the_path_is_what_was_flown_without_the_teacher(changed_run: Callable[..., Path], cartpole_run: Path) -> None:
    stages = json.loads((cartpole_run / "run.json").read_text())["stages"]
    stages = [stages[0] | {"stage": "teacher"}, *stages[1:], {"stage": "search", "nonzero_weights": 5}]
    path = read_run_folder(changed_run(stages=stages)).run.path
    assert [stage.nonzero_weights for stage in path] == [s["nonzero_weights"] for s in stages[1:5]]


def test_keys_of_a_newer_niwaki_are_let_through(changed_run: Callable[..., Path]) -> None:
    assert read_run_folder(changed_run(later={"a": 1}, task__later=2)).run.shipped


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 2}, "run.json has format 2, this niwaki reads format 1"),
        ({"seconds": "long"}, "run.json: seconds: .*got 'long'"),
        ({"teacher__violation_rate": 1.5}, r"run.json: teacher.violation_rate: .*got '1.5'"),
        ({"teacher__weights": -1}, r"run.json: teacher.weights"),
        ({"task__name": "x" * 5000}, "run.json: task.name: .*at most 4000"),
        ({"stages": [{"stage": "x"}] * 1001}, "run.json: stages: .*at most 1000"),
        ({"stages": [{"title": "without a kind"}]}, r"run.json: stages.0.stage: Field required"),
        ({"fronts": []}, "run.json: fronts: "),
        ({"fronts__teacher__bytes": -4}, "run.json: fronts.teacher.bytes: "),
        ({"fronts__rule__more_violations": 7}, "run.json: fronts.rule.more_violations: .*got '7'"),
        ({"fronts__series": [{"name": "x", "rows": []}] * 11}, "run.json: fronts.series: .*at most 10"),
        ({"fronts__series": [{"name": "x", "rows": [{}]}]}, r"fronts.series.0.rows.0.nonzero_weights: Field"),
        ({"fronts__knee": {"return_mean": "high"}}, "run.json: fronts.knee"),
        ({"shrunk": {"exams": 1}}, "run.json: shrunk.rule: Field required"),
        ({"shrunk": {"rule": {"return_loss": -1, "more_violations": 0}}}, "run.json: shrunk.rule.return_loss: "),
    ],
)
def test_a_run_json_that_cannot_be_is_one_sentence(changed_run: Callable[..., Path], change, sentence) -> None:
    with pytest.raises(NiwakiError, match=sentence) as error:
        read_run_folder(changed_run(**change))
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("text", ["{", "[]", "NaN", '{"format": 1, "shipped": NaN}', "[" * 100_000, "\x00", '"'])
def test_damaged_json_is_one_sentence(changed_run: Callable[..., Path], text: str) -> None:
    folder = changed_run()
    (folder / "run.json").write_text(text)
    with pytest.raises(NiwakiError, match=r"^run\.json: "):
        read_run_folder(folder)


def test_a_run_without_an_outcome_is_not_finished(changed_run: Callable[..., Path]) -> None:
    folder = changed_run()
    (folder / "run.json").write_text('{"format": 1, "ledger": []}')
    with pytest.raises(NiwakiError, match="has no outcome yet: give its command again"):
        read_run_folder(folder)


def test_a_folder_that_is_no_run_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(NiwakiError, match="give one that niwaki ship or niwaki shrink wrote"):
        read_run_folder(tmp_path / "nowhere")
    with pytest.raises(NiwakiError, match=r"run\.json: there is no file"):
        read_run_folder(tmp_path)


def test_what_was_not_shipped_has_no_policy(changed_run: Callable[..., Path]) -> None:
    found = read_run_folder(changed_run(shipped=False, reason="no"))
    assert found.policy is None
    assert found.run.result is None


# ---- the certificate


@pytest.fixture
def certified(changed_run: Callable[..., Path]) -> Path:
    if find_compiler() is None:
        pytest.skip("needs a C compiler")
    return changed_run()


def test_a_certificate_that_fits_its_files_is_believed(certified: Path) -> None:
    claim = read_run_folder(certified).claim
    assert claim.certificate is not None
    assert claim.certificate.episodes == 300
    assert (claim.complaint, claim.changed) == (None, ())


@pytest.mark.parametrize("name", ["policy.c", "policy.h"])
def test_one_changed_byte_of_a_bound_file_is_noticed(certified: Path, name: str) -> None:
    data = bytearray((certified / name).read_bytes())
    data[len(data) // 2] ^= 1
    (certified / name).write_bytes(bytes(data))
    assert read_run_folder(certified).claim.changed == (name,)


def test_a_missing_file_is_noticed(certified: Path) -> None:
    (certified / "policy.h").unlink()
    assert read_run_folder(certified).claim.changed == ("policy.h",)


def test_a_changed_certificate_is_not_believed_and_the_rest_is_shown(certified: Path) -> None:
    path = certified / "certificate.json"
    path.write_text(path.read_text().replace('"episodes": 300', '"episodes": 900'))
    found = read_run_folder(certified)
    assert found.claim.certificate is None
    assert "changed after it was written" in str(found.claim.complaint)
    assert found.policy is not None


def test_no_certificate_is_no_claim(certified: Path) -> None:
    (certified / "certificate.json").unlink()
    assert read_run_folder(certified).claim.certificate is None
