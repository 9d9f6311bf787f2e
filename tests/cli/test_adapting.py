"""niwaki validate and niwaki adapt, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from niwaki.cli import main
from niwaki.policies.storage import save_policy

from .conftest import Run

ADAPT_KEYS = [
    "method", "bound", "base_steps_to_goal", "steps_to_goal", "violations", "episodes", "violation_rate",
    "posterior_bound", "certificate", "out", "seconds",
]  # fmt: skip
PROMISED = ["episodes", "failures", "failure_rate", "failure_bound", "confidence", "horizon", "permitted_alpha"]


@pytest.fixture
def field(niwaki: Run, tmp_path: Path, homing, meadow) -> Run:
    """A folder with a base, a task policy and a task; and the command line in it."""
    save_policy(homing(0.3, 6.0, -1.0), tmp_path / "base.safetensors")
    save_policy(homing(1.5, 8.0, -1.5), tmp_path / "task.safetensors")
    save_policy(homing(1.5, 8.0, -0.5), tmp_path / "wide.safetensors")
    (tmp_path / "meadow.toml").write_text(meadow.source)
    return niwaki


def test_validate_says_what_the_base_promises_and_writes_it_down(field: Run, tmp_path: Path) -> None:
    command = ("validate", "base.safetensors", "--task", "meadow.toml", "-n", "500", "--bound", "0.2")
    ran = field(*command, "--out", "db", "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    assert set(PROMISED) <= set(found)
    assert found["episodes"] == 500
    assert found["failure_rate"] == found["failures"] / 500 <= found["failure_bound"] <= 0.2
    assert found["permitted_alpha"] == pytest.approx((0.2 / found["failure_bound"]) ** (1 / found["horizon"]))
    assert {path.name for path in (tmp_path / "db").iterdir()} == {"database.npz", "database.json", "validation.html"}
    assert (tmp_path / "db" / "validation.html").read_text().count("<svg") == 2
    shown = field(*command)
    assert shown.code == 0
    assert f"{found['horizon']} steps *" in shown.out
    assert f"a ratio of {found['permitted_alpha']:.4f} per step is permitted" in shown.out


def test_a_base_that_fails_too_often_permits_nothing(field: Run) -> None:
    ran = field("validate", "base.safetensors", "--task", "meadow.toml", "-n", "20", "--bound", "0.2", "--json")
    assert ran.code == 0
    assert ran.json["permitted_alpha"] is None


def test_adapt_and_check_end_to_end(field: Run, tmp_path: Path) -> None:
    where = ("--task", "meadow.toml", "--bound", "0.2", "-n", "300")
    assert field("validate", "base.safetensors", *where, "--out", "db").code == 0
    command = ("adapt", "base.safetensors", "task.safetensors", *where, "--database", "db", "--method", "gaussian")
    ran = field(*command, "--out", "o", "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    assert set(ADAPT_KEYS) <= set(found)
    assert found["steps_to_goal"] < found["base_steps_to_goal"]
    assert found["violation_rate"] == found["violations"] / found["episodes"] <= found["posterior_bound"]
    assert found["certificate"]["claimed"] is True
    written = {path.name for path in (tmp_path / "o").iterdir()}
    assert {"base.safetensors", "task.safetensors", "adapted.json", "database.npz", "adapted-1.npz", "policy.c",
            "run.json", "certificate.json", "report.html"} <= written  # fmt: skip
    checked = field("check", "o", "--task", "meadow.toml")
    assert (checked.code, checked.err) == (0, "")
    assert checked.out.splitlines()[-1].startswith("valid: every file is the certified one")
    (tmp_path / "o" / "adapted-1.npz").write_bytes((tmp_path / "o" / "database.npz").read_bytes())
    refused = field("check", "o", "--task", "meadow.toml", "--json")
    assert refused.code == 1
    assert refused.json["refused"] == ["adapted-1.npz was changed after it was certified"]


def test_a_policy_is_trained_from_the_base_alone(field: Run, tmp_path: Path) -> None:
    command = ("adapt", "base.safetensors", "--finetune", "--steps", "2000", "--task", "meadow.toml", "--bound", "0.2")
    ran = field(*command, "-n", "300", "--out", "o", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert set(ADAPT_KEYS) <= set(ran.json)
    trained = ran.json["finetune"]
    assert (trained["surrogate"], trained["steps"] >= 2000) == ("through", True)
    shown = field(*command, "-n", "300", "--out", "o")  # the same run, which is read back
    assert f"trained for {trained['steps']:,} steps within the bound: {trained['failures']}" in shown.out
    assert field("check", "o", "--task", "meadow.toml").code == 0


REFUSALS = [
    ("validate cartpole --task cartpole", "the base policy: cartpole.safetensors: this policy is deterministic"),
    ("validate base.safetensors", "which task? add --task NAME"),
    ("validate base.safetensors --task cartpole", "the policy takes 44 observations, cartpole gives 4"),
    ("validate base.safetensors --task meadow.toml -n 0", "at least 1, got 0"),
    ("validate base.safetensors --task meadow.toml --horizon 99", "from 1 to the 40 steps"),
    ("adapt cartpole task.safetensors --task meadow.toml", "the base policy: cartpole.safetensors: this policy is det"),
    ("adapt base.safetensors cartpole --task meadow.toml", "the task policy: cartpole.safetensors: this policy is det"),
    ("adapt base.safetensors wide.safetensors --task meadow.toml -n 300", "method ratio needs a narrower task policy"),
    ("adapt base.safetensors task.safetensors --task meadow.toml -n 20", "0.1 is below the base's own, 0."),
    ("adapt base.safetensors task.safetensors --task meadow.toml --database none", "niwaki validate writes one"),
    ("adapt base.safetensors --task meadow.toml", "adapt needs TASKPOLICY, or --finetune to train one from BASE"),
    ("adapt base.safetensors task.safetensors --finetune --task meadow.toml", "to train one from BASE; not both"),
    ("adapt base.safetensors --finetune --steps 0 --task meadow.toml", "steps must be at least 1, got 0"),
    ("adapt base.safetensors --finetune --surrogate x --task meadow.toml", "one of through, published, got 'x'"),
    ("adapt base.safetensors --finetune -n 20 --task meadow.toml", "0.1 is below the base's own, 0."),
    ("adapt base.safetensors task.safetensors --task meadow.toml --method magic", "unknown method 'magic'"),
    ("adapt base.safetensors task.safetensors --task reach-avoid --horizon 101", "from 1 to the 100 steps"),
]


@pytest.mark.parametrize(("line", "message"), REFUSALS)
def test_wrong_use_is_refused_in_one_sentence(
    field: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str,
    message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.argv", ["niwaki", *line.split()])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    assert (stopped.value.code, said.out) == (2, "")
    assert message in said.err
    assert len(said.err.splitlines()) == 1


def test_a_discrete_agent_is_no_base(shared: Path, field: Run, monkeypatch, capsys) -> None:
    agent = shared / "agents" / "dqn" / "CartPole-v1" / "CartPole-v1.zip"
    monkeypatch.setattr("sys.argv", ["niwaki", "validate", str(agent), "--task", "cartpole"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
