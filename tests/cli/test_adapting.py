"""niwaki validate and niwaki adapt, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from niwaki.policies.storage import save_policy

from .conftest import Run

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cartpole", "--task", "cartpole"), "the base policy: cartpole.safetensors: this policy is deterministic"),
        (("base.safetensors",), "which task? add --task NAME"),
        (("base.safetensors", "--task", "cartpole"), "the policy takes 44 observations, cartpole gives 4"),
        (("base.safetensors", "--task", "meadow.toml", "-n", "0"), "at least 1, got 0"),
        (("base.safetensors", "--task", "meadow.toml", "--horizon", "99"), "from 1 to the 40 steps"),
    ],
)
def test_validate_refuses_in_one_sentence(field: Run, arguments: tuple[str, ...], message: str) -> None:
    ran = field("validate", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert len(ran.err.splitlines()) == 1
