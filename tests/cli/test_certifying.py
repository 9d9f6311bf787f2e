"""niwaki certify, check, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Run

TASK = ("--task", "cartpole-v0")
QUICK = (*TASK, "--risk", 0.05, "--confidence", 0.99)


@pytest.fixture
def build(niwaki: Run, tmp_path: Path, balancer: Path) -> Path:
    """A certified folder."""
    ran = niwaki("certify", balancer, *QUICK, "--out", "build", "--json")
    assert (ran.code, ran.err) == (0, "")
    return tmp_path / "build"


def test_a_policy_is_exported_certified_and_checked(niwaki: Run, tmp_path: Path, balancer: Path) -> None:
    ran = niwaki("certify", balancer, *QUICK, "--out", "build", "--against", "cartpole", "--return-floor", 0, "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    assert found["claimed"] is True
    assert found["violations"] == 0
    assert found["episodes"] == 104  # log(0.005) / log(0.95): what no violation needs
    assert found["bound"] <= 0.05
    assert found["returns"]["method"] == "betting"
    assert found["teacher"]["violations"] == 0
    assert found["file"] == "build/certificate.json"
    assert set(found["files"]) == {path.name for path in (tmp_path / "build").iterdir()} - {"certificate.json"}
    checked = niwaki("check", "build", "--json")
    assert (checked.code, checked.err) == (0, "")
    assert checked.json["valid"] is True
    assert checked.json["replayed"] == 104
    assert checked.json["certificate"]["statement"] == found["statement"]


def test_the_statement_is_what_a_person_reads(niwaki: Run, build: Path) -> None:
    for command in (("certify", "build", *QUICK), ("check", "build")):
        ran = niwaki(*command, COLUMNS="4000")
        assert ran.code == 0, ran.err
        assert "Bounded: with confidence 0.99 the probability that an episode breaks" in ran.out
        assert "attempt 2" in ran.out  # the folder held a certificate
    assert "valid: every file is the certified one" in ran.out


def test_a_changed_file_is_exit_code_1_and_named(niwaki: Run, build: Path) -> None:
    (build / "policy.h").write_text((build / "policy.h").read_text() + "\n")
    ran = niwaki("check", "build")
    assert ran.code == 1
    assert "refused: policy.h was changed after it was certified" in ran.out
    assert niwaki("check", "build", "--json").json["refused"] == ["policy.h was changed after it was certified"]


def test_nothing_is_claimed_of_a_policy_that_fails_and_that_is_exit_code_1(niwaki: Run, build: Path) -> None:
    ran = niwaki(
        "certify", "build", *QUICK, "--spec", "always(abs(x) <= 0.03)", "--episodes", 300, "--anytime", COLUMNS="4000"
    )
    assert ran.code == 1
    assert "Nothing is claimed: the bound" in ran.out
    assert niwaki("check", "build", "--full").code == 0  # it says so truly


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("certify", "{policy}", *QUICK), "say where with --out DIR"),
        (("certify", "empty", *QUICK), "policy.safetensors"),
        (("certify", "{policy}", "--out", "b"), "which task?"),
        (("certify", "{policy}", *TASK, "--out", "b", "--risk", 0.00001), "needs at least 1,450,"),
        (("certify", "{policy}", *QUICK, "--out", "b", "--episodes", 50), "at least 104 episodes without a violation"),
        (
            ("certify", "{policy}", *QUICK, "--out", "b", "--spec", "always(abs(x) <= 0.03)"),
            "not below the allowed risk",
        ),
        (("check", "empty"), "there is no certificate.json"),
        (("check", "nosuch"), "there is no certificate.json"),
    ],
)
def test_wrong_use_is_one_sentence(
    niwaki: Run, tmp_path: Path, balancer: Path, arguments: tuple[object, ...], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    ran = niwaki(*(str(a).format(policy=balancer) for a in arguments), "--json")
    assert ran.code == 2
    assert ran.out == ""
    assert message in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", ["certify", "check"])
def test_the_command_explains_itself_with_an_example(niwaki: Run, command: str) -> None:
    ran = niwaki(command, "--help", COLUMNS="100")
    assert ran.code == 0
    assert f"Example: niwaki {command}" in ran.out
