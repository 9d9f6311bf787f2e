"""From a run folder to a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from niwaki.compiler import find_compiler
from niwaki.counterexamples import write_counterexamples
from niwaki.reporting.report import COMPARED_INPUTS, collect, compare_bits, task_of_run, write_report
from niwaki.reporting.report_data import ReportData
from niwaki.reporting.run_folder import read_run_folder
from niwaki.tasks import load_task
from niwaki.types import Counterexample, NiwakiError


def test_the_report_lies_in_the_folder_or_where_it_is_wanted(changed_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = changed_run()
    path = write_report(folder, episodes=3)
    assert path == folder / "report.html"
    elsewhere = write_report(folder, tmp_path / "elsewhere.html", episodes=3)
    assert elsewhere.read_bytes() == path.read_bytes()
    assert path.read_bytes().startswith(b"<!doctype html>")


def test_writing_to_nowhere_is_one_sentence(cartpole_run: Path, tmp_path: Path) -> None:
    with pytest.raises(NiwakiError, match="cannot be written"):
        write_report(cartpole_run, tmp_path / "none" / "report.html", episodes=1)


def test_the_task_is_built_again_as_it_was(cartpole_data: ReportData) -> None:
    text = cartpole_data.run.task
    task = task_of_run(text)
    assert [(s.name, s.text) for s in task.specs] == [(s.name, s.text) for s in text.specs]
    shorter = text.model_copy(update={"source": 'title = "Short"\nsimulator = "cartpole"\nhorizon = 7\n'})
    assert task_of_run(shorter).simulator.horizon == 7
    other = text.specs[0].model_copy(update={"name": "mine", "text": "always(x <= 1)"})
    (spec,) = task_of_run(text.model_copy(update={"specs": (other,)})).specs
    assert (spec.name, spec.text) == ("mine", "always(x <= 1)")


def test_the_counterexamples_of_the_run_are_flown_once_each(changed_run: Callable[..., Path]) -> None:
    folder, task = changed_run(), load_task("cartpole")
    rows = task.simulator.sample(np.random.default_rng(0), 3)
    found = [Counterexample(row, "angle", -1.0, 1.0) for row in (*rows, rows[0])]
    write_counterexamples(folder / "counterexamples.json", task, found)
    data = collect(folder, episodes=5)
    assert data.flown is not None
    starts = data.flown.starts
    assert np.bincount(starts.origins).tolist() == [5, 0, 3]
    assert {tuple(r) for r in starts.values[-3:]} == {tuple(r) for r in rows[:, : starts.values.shape[1]]}


def test_progress_counts_every_flight(cartpole_run: Path) -> None:
    told: list[tuple[str, int, int]] = []
    collect(cartpole_run, episodes=6, progress=lambda *step: told.append(step))
    assert ("flying the teacher", 6, 6) in told
    assert ("flying the policy", 6, 6) in told


def test_bits_are_compared_on_many_inputs(cartpole_run: Path) -> None:
    policy = read_run_folder(cartpole_run).policy
    assert policy is not None
    bits = compare_bits(policy, cartpole_run)
    assert bits.same_source is True
    assert (bits.inputs, bits.differing) == ((COMPARED_INPUTS, 0) if find_compiler() else (0, 0))


def test_a_policy_c_of_other_weights_is_found_out(changed_run: Callable[..., Path]) -> None:
    folder = changed_run()
    found = read_run_folder(folder)
    assert found.policy is not None
    assert compare_bits(found.teacher, folder).same_source is False
    (folder / "policy.c").unlink()
    assert compare_bits(found.policy, folder).same_source is None


def test_compiled_code_that_differs_is_counted(cartpole_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_compiler() is None:
        pytest.skip("needs a C compiler")
    policy = read_run_folder(cartpole_run).policy
    assert policy is not None

    class Other:
        def __init__(self, network):
            self.network = network

        def __call__(self, rows):
            return np.zeros(len(rows), dtype=np.int64)

    monkeypatch.setattr("niwaki.reporting.report.MirrorPolicy", Other)
    assert 0 < compare_bits(policy, cartpole_run).differing < COMPARED_INPUTS


def test_a_policy_of_another_task_is_one_sentence(changed_run: Callable[..., Path]) -> None:
    task = load_task("pendulum")
    folder = changed_run(task__name="pendulum", task__source=task.source, task__specs=[])
    with pytest.raises(NiwakiError, match="takes 4 observations, pendulum gives 3"):
        collect(folder, episodes=2)


def test_a_run_without_its_teacher_is_one_sentence(changed_run: Callable[..., Path]) -> None:
    folder = changed_run()
    (folder / "teacher.safetensors").unlink()
    with pytest.raises(NiwakiError, match=r"teacher\.safetensors"):
        collect(folder)


def test_the_reports_flights_are_seeded_by_the_run(cartpole_data: ReportData, changed_run: Callable[..., Path]) -> None:
    other = collect(changed_run(seed=1), episodes=60)
    assert cartpole_data.flown is not None
    assert other.flown is not None
    assert not np.array_equal(other.flown.starts.values, cartpole_data.flown.starts.values)
    assert replace(other, flown=None).run.seed == 1
