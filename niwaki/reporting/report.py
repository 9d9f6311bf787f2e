"""report: everything a run folder says, and what its policies do, as one HTML file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from niwaki.adaptation.database import NAME
from niwaki.compiler import find_compiler
from niwaki.counterexamples import read_counterexamples
from niwaki.policies.c_source import c_source, random_observations
from niwaki.policies.compact import compact
from niwaki.policies.compiled import CompiledPolicy
from niwaki.policies.deployed import MirrorPolicy
from niwaki.policies.files import read_bytes, write_whole
from niwaki.policies.network import NetworkPolicy
from niwaki.recipes.adapted_certificate import is_adapted
from niwaki.reporting.adapted_page import write_adapted_page
from niwaki.reporting.adapted_pictures import PATHS
from niwaki.reporting.answers import Bits
from niwaki.reporting.cases import scene, worst_cases
from niwaki.reporting.flights import fly_pair
from niwaki.reporting.formula import formulas
from niwaki.reporting.page import render_page
from niwaki.reporting.reach_tube import limits, reach_tube
from niwaki.reporting.report_data import Flown, ReportData
from niwaki.reporting.run_folder import RunFolder, TaskText, read_run_folder
from niwaki.reporting.sport_page import is_sport, write_sport_page
from niwaki.reporting.starts import start_map
from niwaki.reporting.validation_page import redraw_validation
from niwaki.reporting.weight_pictures import mosaic, weight_pictures
from niwaki.rollout import Stages
from niwaki.specs import parse_spec
from niwaki.tasks import Task, load_task, parse_task
from niwaki.types import Floats, NiwakiError

EPISODES = 200
COMPARED_INPUTS = 20_000
TEACHER_INK, POLICY_INK = (124, 121, 113), (22, 138, 119)  # greys and greens that read on white and on black


def write_report(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    episodes: int = EPISODES,
    progress: Stages = lambda stage, done, total: None,
) -> Path:
    """Write the report of a run folder into one HTML file (default: report.html in the folder); returns its path.

    Folders of `niwaki validate`, `adapt` and `sport` have pages of their own. Raises NiwakiError as `collect` does,
    and when the file cannot be written.
    """
    folder = Path(folder)
    if episodes < 1:
        raise NiwakiError(f"a report needs at least one episode, got {episodes}")
    drawn = None if out is None else Path(out)
    if is_sport(folder):
        return write_sport_page(folder, drawn, episodes=min(episodes, PATHS))
    if is_adapted(folder):
        return write_adapted_page(folder, drawn, episodes=min(episodes, PATHS))
    if (folder / f"{NAME}.json").is_file() and not (folder / "run.json").exists():
        return redraw_validation(folder, drawn)
    path = folder / "report.html" if drawn is None else drawn
    write_whole(path, render(collect(folder, episodes=episodes, progress=progress)).encode("utf-8"))
    return path


def collect(
    folder: str | Path,
    *,
    episodes: int = EPISODES,
    progress: Stages = lambda stage, done, total: None,
) -> ReportData:
    """Read a run folder and fly what is to be shown.

    Both policies fly `episodes` scenarios of the task, as many of the search's ranges and the run's
    counterexamples, drawn by the run's seed in a family of its own. Raises NiwakiError for a folder that is
    not a run's.
    """
    found = read_run_folder(Path(folder))
    flown = None
    if found.policy is not None:
        flown = _fly(task_of_run(found.run.task), found, found.policy, episodes, progress)
    return ReportData(
        run=found.run,
        claim=found.claim,
        teacher_weights=weight_pictures(found.teacher, TEACHER_INK),
        policy_weights=() if found.policy is None else weight_pictures(found.policy, POLICY_INK),
        formulas=() if found.policy is None else formulas(found.policy),
        mosaic=None if found.policy is None else mosaic(found.teacher, found.policy, (TEACHER_INK, POLICY_INK)),
        bits=None if found.policy is None else compare_bits(found.policy, found.path),
        flown=flown,
    )


def render(data: ReportData) -> str:
    """The report as HTML: complete, without a reference to anything outside itself."""
    return render_page(data)


def task_of_run(text: TaskText) -> Task:
    """The task that a run was about, with the specifications that it used."""
    task = parse_task(text.name, text.source) if text.source else load_task(text.name)
    if not text.specs:
        return task
    return replace(task, specs=tuple(parse_spec(spec.text, task.simulator, name=spec.name) for spec in text.specs))


def compare_bits(policy: NetworkPolicy, folder: Path) -> Bits:
    """The compiled C against its NumPy mirror, and policy.c against what the weights give."""
    network, path = compact(policy), folder / "policy.c"
    same_source = read_bytes(path) == c_source(network).source.encode("ascii") if path.exists() else None
    if find_compiler() is None:
        return Bits(0, 0, same_source)
    rows = random_observations(network, COMPARED_INPUTS)
    compiled, mirror = CompiledPolicy(policy)(rows), MirrorPolicy(policy)(rows)
    differing = compiled != mirror.astype(compiled.dtype)
    return Bits(len(rows), int(differing.reshape(len(rows), -1).any(axis=1).sum()), same_source)


def _fly(task: Task, found: RunFolder, policy: NetworkPolicy, episodes: int, progress: Stages) -> Flown:
    simulator = task.simulator
    teacher = _fitted(found.teacher, task)
    pair = fly_pair(
        task, teacher, _fitted(policy, task), _counterexamples(found.path, task), episodes=episodes,
        seed=found.run.seed, progress=progress,
    )  # fmt: skip
    lines = limits(task.specs, simulator.signals)
    names = [signal.name for signal in simulator.signals]
    return Flown(
        scene=scene(simulator),
        signals=simulator.signals,
        first_signal=names.index(lines[0].signal) if lines else 0,
        step_seconds=simulator.step_seconds,
        cases=worst_cases(task, pair, teacher),
        starts=start_map(simulator, pair),
        tube=reach_tube(pair),
        limits=lines,
    )


def _fitted(policy: NetworkPolicy, task: Task) -> NetworkPolicy:
    size = task.simulator.observation_size
    if policy.observation_size != size:
        raise NiwakiError(f"a policy of the run takes {policy.observation_size} observations, {task.name} gives {size}")
    return policy.for_actions(task.simulator.action_space)


def _counterexamples(folder: Path, task: Task) -> Floats:
    """The scenarios [N, K] of counterexamples.json, each once; none where there is no such file."""
    path = folder / "counterexamples.json"
    found = read_counterexamples(path, task) if path.exists() else ()
    rows = np.array([c.scenario for c in found]).reshape(-1, len(task.simulator.columns))
    return np.unique(rows, axis=0)
