"""niwaki train, as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from niwaki.policies.loading import load_stochastic

from .conftest import Run

pytest.importorskip("stable_baselines3", reason="training needs the extra train")


def test_train_writes_a_policy_that_evaluate_takes(niwaki: Run, tmp_path: Path) -> None:
    ran = niwaki("train", "--task", "cartpole", "--steps", 4096, "-n", 20, "--json")
    assert ran.code == 0, ran.err
    report = ran.json
    assert report["file"] == "cartpole.safetensors"
    assert report["algorithm"] == "ppo"
    assert report["policy"]["episodes"] == 20
    again = niwaki("evaluate", "cartpole.safetensors", "--task", "cartpole", "-n", 20, "--json").json
    assert again["policy"]["return_mean"] == report["policy"]["return_mean"]


def test_train_unsafe_trains_on_the_variant_without_dangers(niwaki: Run, tmp_path: Path) -> None:
    ran = niwaki("train", "--task", "reach-avoid", "--algo", "sac", "--unsafe", "--steps", 16, "-n", 3, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["task"] == "reach-avoid-reset-goal"
    assert ran.json["file"] == "reach-avoid-reset-goal.safetensors"
    policy = load_stochastic(tmp_path / "reach-avoid-reset-goal.safetensors")
    assert dict(policy.origin)["command"] == "niwaki train --task reach-avoid --algo sac --unsafe --steps 16 --seed 0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "cartpole", "--algo", "magic"), "magic"),
        (("--task", "cartpole", "--algo", "sac"), "sac"),
        (("--task", "cartpole", "--steps", "0"), "0"),
        (("--task", "cartpole", "-o", "nowhere/p.safetensors"), "there is no folder 'nowhere'"),
        (("--task", "cartpol"), "did you mean cartpole"),
        (("--task", "cartpole", "--unsafe"), 'cartpole has no unsafe variant: its file names none (unsafe = "...")'),
    ],
)
def test_train_says_what_is_wrong(niwaki: Run, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    ran = niwaki("train", *arguments)
    assert ran.code == 2
    assert message in ran.err
    assert ran.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
