"""Counterexamples on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from niwaki.counterexamples import read_counterexamples, write_counterexamples
from niwaki.tasks import load_task
from niwaki.types import Counterexample, NiwakiError

TASK = load_task("cartpole-v0")
FOUND = (
    Counterexample(TASK.simulator.nominal + 1 / 3, "angle", -0.1, None),
    Counterexample(TASK.simulator.nominal, "momentum", -1e-17, 2.5),
)


def test_what_was_written_is_read_to_the_last_bit(tmp_path: Path) -> None:
    write_counterexamples(tmp_path / "found.json", TASK, FOUND)
    read = read_counterexamples(tmp_path / "found.json", TASK)
    assert [(c.spec, c.margin, c.teacher_margin) for c in read] == [("angle", -0.1, None), ("momentum", -1e-17, 2.5)]
    assert all(np.array_equal(a.scenario, b.scenario) for a, b in zip(read, FOUND, strict=True))


def test_columns_are_found_by_name_whatever_their_order(tmp_path: Path) -> None:
    write_counterexamples(tmp_path / "found.json", TASK, FOUND)
    content = json.loads((tmp_path / "found.json").read_text())
    first = content["counterexamples"][0]
    first["scenario"] = dict(reversed(first["scenario"].items()))
    (tmp_path / "found.json").write_text(json.dumps(content))
    assert np.array_equal(read_counterexamples(tmp_path / "found.json", TASK)[0].scenario, FOUND[0].scenario)


def test_a_file_of_another_task_is_refused(tmp_path: Path) -> None:
    write_counterexamples(tmp_path / "found.json", TASK, FOUND)
    with pytest.raises(NiwakiError, match=r"found\.json: the scenarios do not fit the task pendulum"):
        read_counterexamples(tmp_path / "found.json", load_task("pendulum"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2}',
        '{"format": 1, "counterexamples": 3}',
        '{"format": 1, "niwaki": "", "task": "", "specs": {}, "counterexamples": [{"spec": "a", "margin": NaN, '
        '"teacher_margin": null, "scenario": {}}]}',
        "[" * 100_000,
    ],
)
def test_hostile_files_are_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "found.json").write_text(text)
    with pytest.raises(NiwakiError):
        read_counterexamples(tmp_path / "found.json", TASK)
