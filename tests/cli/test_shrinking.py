"""niwaki shrink, as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("options", "message"),
    [
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
