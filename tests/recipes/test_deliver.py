"""A delivered policy is the same policy in every form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.recipes.deliver import deliver
from niwaki.tasks import load_task
from niwaki.types import NiwakiError


def balancer() -> NetworkPolicy:
    weight = np.array([[-0.02, -0.1, -1.0, -0.2], [0.02, 0.1, 1.0, 0.2]])
    return NetworkPolicy((Layer(weight, np.zeros(2)),), Head("argmax"))


def test_all_forms_fly_alike(tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    delivery = deliver(
        balancer(),
        load_task("cartpole-v0"),
        tmp_path,
        episodes=30,
        tested_inputs=2000,
        progress=lambda *report: stages.append(report),
    )
    assert list(delivery.forms) == ["imported", "c", "onnx"]
    assert {row["return_mean"] for row in delivery.forms.values()} == {200.0}
    assert all(row["episodes"] == 30 for row in delivery.forms.values())
    assert all(row["ns_per_call"] > 0 for row in delivery.forms.values())  # type: ignore[operator]
    assert delivery.export.bit_exact
    assert delivery.export.onnx_agrees
    ended = {stage: (done, total) for stage, done, total in stages}
    assert ended == {
        "comparing bits": (2000, 2000),
        "imported": (30, 30),
        "c": (30, 30),
        "onnx": (30, 30),
    }


def test_without_a_compiler_the_mirror_stands_for_the_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nonexistent/cc")
    delivery = deliver(balancer(), load_task("cartpole-v0"), tmp_path, episodes=3, tested_inputs=100)
    assert list(delivery.forms) == ["imported", "mirror", "onnx"]
    assert delivery.export.bit_exact is None
    assert delivery.forms["mirror"]["return_mean"] == 200.0


def test_without_a_task_nothing_is_flown(tmp_path: Path) -> None:
    delivery = deliver(balancer(), None, tmp_path, tested_inputs=100)
    assert all(row["episodes"] == 0 for row in delivery.forms.values())


def test_a_negative_number_of_episodes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NiwakiError, match="not be negative, got -1"):
        deliver(balancer(), None, tmp_path / "none", episodes=-1)
    assert not (tmp_path / "none").exists()
