"""niwaki sport and the reports of its kind of runs, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from niwaki.cli import main
from niwaki.policies.storage import save_policy
from niwaki.recipes.experiment import UNTRAINED

from .conftest import Run

PAIR = ("--base", "base.safetensors", "--task-policy", "task.safetensors", "--task", "meadow.toml")


@pytest.fixture
def field(niwaki: Run, tmp_path: Path, homing, meadow) -> Run:
    """A folder with a base, a task policy and a task; and the command line in it."""
    save_policy(homing(0.3, 6.0, -1.0), tmp_path / "base.safetensors")
    save_policy(homing(1.5, 8.0, -1.5), tmp_path / "task.safetensors")
    (tmp_path / "meadow.toml").write_text(meadow.source)
    return niwaki


def test_the_experiment_from_flights_to_report(field: Run, tmp_path: Path) -> None:
    command = ("sport", *PAIR, "--alphas", "1,20", "--bound", "0.4", "-n", "150", "--stages", "1", "--out", "s")
    ran = field(*command, "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    assert (found["experiment"], found["episodes"], found["holds"]) == (1, 150, True)
    assert [result["layout"] for result in found["layouts"]] == ["fixed", "random"]
    for result in found["layouts"]:
        assert [point["alpha"] for point in result["points"]] == [1, 20]
        assert [each["method"] for each in result["methods"]] == list(UNTRAINED)
        assert result["points"][0]["published_steps_to_goal"] == 14.0
        assert result["points"][-1]["flown"]["sooner"] > 0
    again = field(*command)
    assert again.code == 0
    assert "fixed layout, every method at a bound of 0.4" in again.out
    assert again.out.rstrip().endswith("report.html")
    checked = field("check", "s/fixed/gaussian", "--task", "s/fixed.toml", "-n", "20")
    assert (checked.code, checked.err) == (0, "")


def test_a_database_is_drawn_again(field: Run, tmp_path: Path) -> None:
    assert field("validate", "base.safetensors", "--task", "meadow.toml", "-n", "300", "--out", "db").code == 0
    first = (tmp_path / "db" / "validation.html").read_text()
    assert field("report", "db", "-o", "again.html").code == 0
    assert (tmp_path / "again.html").read_text() == first


REFUSALS = [
    ("sport --experiment 3", "the paper has experiments 1 and 2, got 3"),
    ("sport --alphas 1,x", "--alphas takes numbers such as 1,1.5,2, got '1,x'"),
    ("sport --methods ratio,magic", "the methods are ratio, odometer"),
    ("sport --alphas 0.5", "alpha must be at least 1"),
    ("sport --base cartpole", "the base policy: cartpole.safetensors: this policy is deterministic"),
    ("sport --base base.safetensors --task-policy task.safetensors --task pendulum", "takes 44 observations"),
    ("sport --base base.safetensors --task-policy task.safetensors --task cartpole", "takes 44 observations"),
    ("report .", "run.json"),
]


@pytest.mark.parametrize(("line", "message"), REFUSALS)
def test_wrong_use_is_refused_in_one_sentence(
    field: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    monkeypatch.setattr("sys.argv", ["niwaki", *line.split()])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
