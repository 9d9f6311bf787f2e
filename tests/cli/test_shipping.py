"""niwaki ship, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from niwaki.cli import app
from niwaki.recipes import ship as recipe
from niwaki.recipes.shape import Effort

from .conftest import Ran, Run

KEYS = [
    "shipped", "reason", "teacher", "policy", "pruned", "pruned_with_biases", "counterexamples_found",
    "counterexamples_left", "search_simulations", "certificate", "out", "seconds",
]  # fmt: skip
TASK = ("--task", "cartpole-v0")
QUICK = (*TASK, "--risk", "0.05", "--confidence", "0.9", "--episodes", "1000", "--simulations", "50", "--rounds", "0")
TOO_STRICT = ("--spec", "always(abs(x) <= 0.01)")  # starts are drawn from [-0.05, 0.05]


def ship(folder: Path, *arguments: str) -> Ran:
    """In an empty folder beside --out, as the fixture `niwaki` does, but for more than one test."""
    command = [sys.executable, "-m", "niwaki", "ship", "cartpole", "--out", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=folder.parent)
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("ship") / "shipped"
    return folder, ship(folder, *QUICK, "--json")


def stages(folder: Path) -> list[dict[str, Any]]:
    """The finished stages, none while there is no run.json."""
    book = folder / "run.json"
    found: list[dict[str, Any]] = json.loads(book.read_text())["ledger"] if book.exists() else []
    return found


def test_ship_prints_the_keys_of_the_issue_and_says_the_truth(shipped: tuple[Path, Ran]) -> None:
    folder, ran = shipped
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    assert list(found) == KEYS
    assert found["shipped"] is True
    assert found["policy"]["nonzero_weights"] < 10 < found["teacher"]["nonzero_weights"] == 17152
    assert found["pruned"] == 1 - found["policy"]["nonzero_weights"] / 17152
    assert found["policy"]["return_mean"] >= 195
    assert found["policy"]["violation_bound"] == found["certificate"]["bound"] <= 0.05
    assert found["policy"]["episodes"] == found["certificate"]["episodes"] == 1000
    assert found["search_simulations"] == 50
    assert found["out"] == str(folder)


def test_the_folder_holds_what_is_shipped_and_nothing_of_the_work(shipped: tuple[Path, Ran]) -> None:
    folder, _ = shipped
    assert {path.name for path in folder.iterdir()} == {
        "run.json", "teacher.safetensors", "policy.safetensors", "policy.c", "policy.h", "policy.onnx",
        "counterexamples.json", "certificate.json", "report.html", "stages",
    }  # fmt: skip


def test_the_same_command_again_works_for_nothing_twice(shipped: tuple[Path, Ran]) -> None:
    folder, first = shipped
    before, run = (folder / "policy.c").stat().st_mtime_ns, (folder / "run.json").read_bytes()
    again = ship(folder, *QUICK, "--json")
    assert again.json == first.json
    assert (folder / "policy.c").stat().st_mtime_ns == before
    assert stages(folder) == json.loads(run)["ledger"]


def test_a_run_that_was_killed_goes_on_and_ends_as_if_nothing_had_happened(
    shipped: tuple[Path, Ran], tmp_path: Path
) -> None:
    whole, _ = shipped
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "niwaki", "ship", "cartpole", "--out", str(folder), *QUICK]
    for enough in (2, len(stages(whole)) - 1):  # amid shaping; amid the certificate
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=tmp_path)
        while len(stages(folder)) < enough and running.poll() is None:
            time.sleep(0.01)
        running.kill()
        assert running.wait() == -9
        assert not (folder / "report.html").exists()
        assert enough <= len(stages(folder)) < len(stages(whole))
    assert ship(folder, *QUICK).code == 0
    assert [stage["stage"] for stage in stages(folder)] == [stage["stage"] for stage in stages(whole)]
    for name in ("policy.safetensors", "policy.c", "policy.h", "policy.onnx", "counterexamples.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert not (folder / "candidate").exists()


def test_another_order_in_the_same_folder_is_refused_and_changes_nothing(shipped: tuple[Path, Ran]) -> None:
    folder, _ = shipped
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    ran = ship(folder, *QUICK, "--seed", "7")
    assert (ran.code, ran.out) == (2, "")
    assert "holds a run with another seed (0, not 7): choose another --out, or add --restart" in ran.err
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_check_finds_a_changed_file_and_names_it(niwaki: Run, shipped: tuple[Path, Ran], tmp_path: Path) -> None:
    folder, _ = shipped
    assert niwaki("check", folder, "--episodes", 50).code == 0
    for name in ("policy.c", "policy.onnx", "policy.safetensors"):
        data = (folder / name).read_bytes()
        try:
            (folder / name).write_bytes(data + b" ")
            ran = niwaki("check", folder, "--episodes", 50)
        finally:
            (folder / name).write_bytes(data)
        assert ran.code in (1, 2)
        assert name in ran.out + ran.err
        assert "Traceback" not in ran.err


def test_a_teacher_that_breaks_the_specification_is_refused_with_its_rate(niwaki: Run, tmp_path: Path) -> None:
    ran = niwaki("ship", "cartpole", *TASK, *TOO_STRICT, "--out", "out", "--json")
    assert ran.code == 1
    assert ran.json["shipped"] is False
    assert ran.json["certificate"] is None
    assert ran.json["reason"] == (
        "the teacher itself breaks always(abs(x) <= 0.01) in 100.00% of 1,000 episodes, more often than the risk of "
        "0.001 allows: mend the teacher or the specification, or go on with --even-so and be measured against the "
        "teacher alone"
    )
    assert not (tmp_path / "out" / "policy.c").exists()
    assert "Not shipped." in (tmp_path / "out" / "report.html").read_text()


def test_even_so_goes_on_and_claims_no_risk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    little = Effort(flights=16, trials=40, confirmations=100, rounds=2, steps=300)
    monkeypatch.setattr(recipe, "effort", lambda *_, **__: little)
    command = ["ship", "cartpole", *QUICK, *TOO_STRICT, "--even-so", "--out", str(tmp_path / "out"), "--json"]
    ran = CliRunner().invoke(app, command)
    found = json.loads(ran.stdout)
    assert ran.exit_code == (0 if found["shipped"] else 1)
    assert found["search_simulations"] >= 50
    assert found["certificate"]["claimed"] is False
    assert found["teacher"]["violation_rate"] > 0.9
    assert "itself breaks" not in found["reason"]


def test_a_return_that_the_teacher_does_not_reach_is_one_sentence(niwaki: Run, tmp_path: Path) -> None:
    ran = niwaki("ship", "cartpole", *TASK, "--return", 201, "--out", "out")
    assert ran.code == 1
    assert ran.out.splitlines()[0] == (
        "not shipped: the teacher's own mean return is 200.0 over 1,000 episodes, below the 201 that is asked for: "
        "no smaller policy is expected to do better, ask for less with --return"
    )
    assert ran.out.splitlines()[-1] == "out/report.html"


def test_a_run_that_begins_anew_and_is_refused_leaves_no_policy_of_the_old_one(
    niwaki: Run, shipped: tuple[Path, Ran], tmp_path: Path
) -> None:
    old, _ = shipped
    (tmp_path / "out").mkdir()
    for name in ("run.json", "policy.c", "policy.h", "policy.safetensors", "certificate.json"):
        (tmp_path / "out" / name).write_bytes((old / name).read_bytes())
    ran = niwaki("ship", "cartpole", *TASK, "--return", 201, "--out", "out", "--restart")
    assert ran.code == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "run.json", "teacher.safetensors", "counterexamples.json", "report.html", "stages",
    }  # fmt: skip


def test_a_policy_of_no_run_is_not_overwritten(niwaki: Run, tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "policy.c").write_text("mine")
    ran = niwaki("ship", "cartpole", *TASK, "--out", "build")
    assert ran.code == 2
    assert "build/policy.c belongs to no run: choose another --out, or add --restart to replace it" in ran.err
    assert [path.name for path in (tmp_path / "build").iterdir()] == ["policy.c"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--episodes", "100"), "needs at least 14,502 episodes without a violation, more than 100: allow more"),
        (("--risk", "0.00001"), "needs at least 1,450,859 episodes without a violation, more than 50,000"),
        (("--risk", "0.5", "--confidence", "0.5", "--episodes", "100"), "needs at least 1,000 episodes, more than the"),
        (("--risk", "nan"), "the risk must be between 0 and 1, got nan"),
        (("--confidence", "2"), "the confidence must be between 0 and 1, got 2.0"),
        (("--return", "inf"), "must be a finite number, got inf"),
        (("--return-loss", "-1"), "must be a share of at least 0, got -1.0"),
        (("--more-violations", "1.5"), "must be from 0 to 1, got 1.5"),
        (("--rounds", "-1"), "rounds must not be negative, got -1"),
        (("--simulations", "0"), "at least one simulation, got 0"),
        (("--seed", "-1"), "the seed must not be negative, got -1"),
        (("--task", "pendulum"), "takes 4 observations, pendulum gives 3"),
        (("--task", "low.toml"), "search.pole_mass: low 0.5 is above high 0.1"),
        (("--task", "sample.toml"), "sample.x: low 1 is above high -1"),
        (("--out", "low.toml"), "cannot make the folder"),
    ],
)
def test_wrong_use_is_one_sentence_before_anything_flies(
    niwaki: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    cartpole = 'title = "T"\nsimulator = "cartpole"\n'
    (tmp_path / "low.toml").write_text(cartpole + "[search]\npole_mass = [0.5, 0.1]\n")
    (tmp_path / "sample.toml").write_text(cartpole + "[sample]\nx = [1, -1]\n")
    ran = niwaki("ship", "cartpole", *TASK, "--out", "out", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert ran.err.startswith("niwaki: ")
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_wrong_formula_is_pointed_at(niwaki: Run, tmp_path: Path) -> None:
    ran = niwaki("ship", "cartpole", *TASK, "--spec", "always(abs(thetta) <= 0.2)", "--out", "out")
    assert ran.code == 2
    sentence, formula, caret = ran.err.rstrip("\n").split("\n")
    assert "nothing is called thetta; did you mean theta?" in sentence
    assert formula[caret.index("^") :].startswith("thetta")
    assert not (tmp_path / "out").exists()
