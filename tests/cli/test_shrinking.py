"""niwaki shrink, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from niwaki.cli import app
from niwaki.recipes import candidates, front, merging, stages

from .conftest import Run

KEYS = ["passed", "reason", "teacher", "policy", "front", "knee", "baseline", "out", "seconds"]


def test_shrink_finds_few_numbers_and_goes_on_where_it_was(niwaki: Run, balancer: Path, tmp_path: Path) -> None:
    command = ("shrink", balancer, "--task", "cartpole-v0", "--return-loss", "0.05", "--more-violations", "0.05")
    ran = niwaki(*command, "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    assert list(found) == KEYS
    assert found["passed"] is True
    assert found["policy"]["nonzero_parameters"] <= 4
    assert found["policy"]["return_mean"] >= 190
    assert {path.name for path in (tmp_path / "shrunk").iterdir()} == {
        "run.json", "teacher.safetensors", "policy.safetensors", "policy.c", "policy.h", "policy.onnx", "stages",
        "report.html",
    }  # fmt: skip
    knee = found["knee"]
    assert knee["file"] in [row["file"] for row in found["front"]]
    assert niwaki("info", Path("shrunk") / knee["file"], "--json").json["policy"]["nonzero_parameters"] <= 4
    assert "parameters do the job" in (tmp_path / "shrunk" / "report.html").read_text(encoding="utf-8")
    again = niwaki(*command, COLUMNS="80")
    assert again.code == 0
    assert again.out.splitlines()[-1] == "shrunk/report.html"
    assert "parameters do the job" in again.out
    assert "direct" in again.out


def test_compact_merges_the_units_of_a_bundled_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(candidates, "TOLERANCES", (0.03, 0.3))
    monkeypatch.setattr(front, "BASELINE_WIDTHS", ())
    for module, name in (
        (candidates, "TRIAL_EPISODES"), (front, "FRONT_EPISODES"), (stages, "PILOT_EPISODES"),
        (merging, "MET_EPISODES"), (merging, "UNSEEN_EPISODES"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, 50)
    ran = CliRunner().invoke(app, ["shrink", "cartpole", "--task", "cartpole-v0", "--method", "compact", "--json"])
    assert ran.exit_code == 0, ran.exception
    found = json.loads(ran.stdout)
    assert list(found) == KEYS
    assert found["teacher"]["parameters"] == 17_410
    assert found["policy"]["nonzero_parameters"] < 1000
    assert found["policy"]["return_mean"] >= 195
    assert json.loads((tmp_path / "shrunk" / "run.json").read_text())["identity"]["method"] == "compact"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "magic"), "the method must be one of search, pops, compact, got 'magic'"),
        (("--budget", "soon"), "a time is a number and a unit, such as 90s, 10m or 1h, got 'soon'"),
        (("--budget", "0s"), "the budget must be a positive time, got 0 s"),
        (("--max-params", "0"), "a policy needs at least one parameter, got 0"),
        (("--return-loss", "-1"), "the return that may be lost must be a share of at least 0, got -1"),
        (("--seed", "-1"), "the seed must not be negative, got -1"),
    ],
)
def test_wrong_use_is_refused_and_nothing_is_written(
    niwaki: Run, balancer: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    ran = niwaki("shrink", balancer, "--task", "cartpole-v0", *options, COLUMNS="200")
    assert ran.code == 2
    assert message in ran.err
    assert not (tmp_path / "shrunk").exists()
