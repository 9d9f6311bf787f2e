"""niwaki report, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from niwaki.evaluation import policy_row
from niwaki.policies.loading import load_policy
from niwaki.policies.storage import save_policy

from .conftest import Run


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """The smallest run there is: a teacher that was shipped as it was."""
    folder = tmp_path / "run"
    folder.mkdir()
    teacher = load_policy("cartpole")
    for name in ("teacher", "policy"):
        save_policy(teacher, folder / f"{name}.safetensors")
    row = policy_row(teacher)
    run = {
        "format": 1,
        "shipped": True,
        "task": {"name": "cartpole-v0", "title": "Balance"},
        "teacher": row,
        "policy": row,
    }
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def test_report_writes_one_file_and_says_where(niwaki: Run, run_folder: Path) -> None:
    ran = niwaki("report", run_folder, "--episodes", 2)
    assert ran.code == 0
    assert "report.html" in ran.out
    assert (run_folder / "report.html").read_text().count("17,152 weights became") == 1


def test_report_takes_another_place_and_prints_json(niwaki: Run, run_folder: Path) -> None:
    ran = niwaki("report", run_folder, "-o", "mine.html", "-n", 2, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert set(ran.json) == {"file", "bytes", "seconds"}
    assert ran.json["file"] == "mine.html"
    assert ran.json["bytes"] == Path("mine.html").stat().st_size
    assert not (run_folder / "report.html").exists()


def test_a_folder_that_is_no_run_is_wrong_use(niwaki: Run, tmp_path: Path) -> None:
    ran = niwaki("report", tmp_path / "nowhere")
    assert ran.code == 2
    assert "give one that niwaki ship or niwaki shrink wrote" in " ".join(ran.err.split())


def test_no_episodes_are_wrong_use_and_nothing_is_written(niwaki: Run, run_folder: Path) -> None:
    ran = niwaki("report", run_folder, "--episodes", 0)
    assert ran.code == 2
    assert "at least one episode" in ran.err
    assert not (run_folder / "report.html").exists()
