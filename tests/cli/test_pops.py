"""niwaki pops, as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Run

KEYS = ["passed", "reason", "teacher", "policy", "iterations", "out", "seconds"]
ROUND = ["nonzero_weights", "redundancy", "widths", "weights", "parameters", "score", "reached", "seconds"]


def test_pops_finds_a_small_dense_network_and_goes_on_where_it_was(niwaki: Run, tmp_path: Path) -> None:
    command = (
        "pops",
        "cartpole",
        "--task",
        "cartpole-v0",
        "--steps",
        "1000",
        "--iterations",
        "1",
        "--objective",
        "100",
    )
    ran = niwaki(*command, "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    assert list(found) == KEYS
    assert list(found["iterations"][0]) == ROUND
    assert found["passed"] is True
    assert found["policy"]["weights"] == found["iterations"][-1]["weights"] < 17152 / 4
    assert found["policy"]["return_low"] >= 100
    assert found["policy"]["episodes"] == found["teacher"]["episodes"] == 1000
    assert {path.name for path in (tmp_path / "popped").iterdir()} == {
        "run.json", "teacher.safetensors", "policy.safetensors", "policy.c", "policy.h", "policy.onnx", "pops.html",
        "stages",
    }  # fmt: skip
    again = niwaki(*command, COLUMNS="80")
    assert again.code == 0
    assert "of 17,152 weights do the job" in again.out
    assert again.out.splitlines()[-1] == "popped/pops.html"


def test_an_objective_out_of_reach_is_said_with_exit_code_1(niwaki: Run) -> None:
    ran = niwaki("pops", "cartpole", "--task", "cartpole-v0", "--objective", "201")
    assert ran.code == 1
    assert ran.out.startswith("not shrunk: the teacher's own mean return is 200.0, below the objective of 201")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--lower-bound", "196"), "no larger than the objective, 195, got 196"),
        (("--seed", "-1"), "the seed must not be negative, got -1"),
    ],
)
def test_wrong_use_is_refused_and_nothing_is_written(
    niwaki: Run, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    ran = niwaki("pops", "cartpole", "--task", "cartpole-v0", *options, COLUMNS="200")
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert not (tmp_path / "popped").exists()
