"""Run folders with real networks, real flights and a real certificate, made in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from niwaki.certification.certify import certify
from niwaki.certification.plan import plan
from niwaki.compiler import find_compiler
from niwaki.evaluation import paired_difference, policy_row, scenarios_for
from niwaki.policies.c_source import c_source
from niwaki.policies.compact import compact
from niwaki.policies.compiled import write_sources
from niwaki.policies.deployed import deployed, ns_per_call
from niwaki.policies.loading import load_policy
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.reporting.report import collect, render
from niwaki.reporting.report_data import ReportData
from niwaki.rollout import rollout
from niwaki.tasks import Task, load_task

from .browser import Browser


def pruned(network: NetworkPolicy, share: float) -> NetworkPolicy:
    """The network without the smallest `share` of each layer's weights."""
    layers = []
    for layer in network.layers:
        limit = np.quantile(np.abs(layer.weight), share)
        layers.append(replace(layer, weight=np.where(np.abs(layer.weight) > limit, layer.weight, 0)))
    return replace(network, layers=tuple(layers))


def build_run(
    out: Path, task: Task, teacher: NetworkPolicy, *, shares: tuple[float, ...], shipped: int, episodes: int
) -> dict[str, Any]:
    """Write the folder of a run that pruned by each share in turn and shipped one; returns its run.json."""
    out.mkdir(parents=True, exist_ok=True)
    networks = [pruned(teacher, share) for share in shares]
    scenarios = scenarios_for(task.simulator, episodes, seed=0)
    flights = [rollout(task.simulator, deployed(n), scenarios, specs=task.specs) for n in (teacher, *networks)]
    rows = [
        policy_row(n, trajectories=f, ns_per_call=ns_per_call(deployed(n)))
        for n, f in zip((teacher, *networks), flights, strict=True)
    ]
    for row, name in zip(rows, ("teacher", *(f"stages/{i:03d}" for i in range(len(networks)))), strict=True):
        row["file"] = f"{name}.safetensors"
    policy = networks[shipped]
    save_policy(teacher, out / "teacher.safetensors")
    save_policy(policy, out / "policy.safetensors")
    write_sources(c_source(compact(policy)), out)
    run = {
        "format": 1,
        "niwaki": "0.1.0",
        "command": ["niwaki", "ship", task.name, "--out", "out dir"],
        "versions": {"python": "3.11", "numpy": np.__version__},
        "seed": 0,
        "task": {
            "name": task.name,
            "title": task.title,
            "source": task.source,
            "simulator": task.simulator.name,
            "specs": [{"name": s.name, "text": s.text} for s in task.specs],
            "return_threshold": task.return_threshold,
            "risk": task.risk,
            "confidence": 0.999999,
        },
        "shipped": True,
        "reason": "",
        "teacher": rows[0],
        "policy": rows[shipped + 1],
        "pruned": 1 - policy.nonzero_weights / policy.weights,
        "pruned_with_biases": 0.5,
        "paired_difference": paired_difference(flights[shipped + 1], flights[0]),
        "counterexamples_found": 7,
        "counterexamples_left": 0,
        "search_simulations": 2050,
        "seconds": 41.5,
        "stages": [
            stage(share, n, row, i == shipped) for i, (share, n, row) in enumerate(zip(shares, networks, rows[1:], strict=True))
        ] + [{"stage": "certify", "title": "certify", "seconds": 4.1}],
        "attempts": [{"attempt": 1, "passed": True, "reason": ""}],
    }  # fmt: skip
    run["fronts"] = {
        "series": [
            {"name": "shaped", "rows": rows[1:-1]},
            {"name": "whittled", "rows": rows[-1:]},
            {"name": "direct distillation", "rows": [row | {"file": ""} for row in rows[2:4]]},
        ],
        "teacher": rows[0],
        "policy": rows[shipped + 1],
        "knee": rows[shipped],
        "rule": {"return_loss": 0.02, "more_violations": 0.005},
    }
    (out / "run.json").write_text(json.dumps(run))
    return run


def shrunk_changes(run: dict[str, Any]) -> dict[str, Any]:
    """What run.json says in other words where niwaki shrink has made the run."""
    exam = {
        "passed": True,
        "reason": "",
        "policy": run["policy"],
        "teacher": run["teacher"],
        "return_difference": -0.5,
        "return_difference_lower": -1.25,
        "rate_difference_upper": 0.0031,
        "looks": 2,
    }
    rule = {"return_loss": 0.01, "more_violations": 0.005}
    front = [row for series in run["fronts"]["series"][:2] for row in series["rows"]]
    return {
        "shrunk": {"rule": rule, "most_parameters": None, "exams": 1, "exam": exam},
        "fronts__series": [{"name": "front", "rows": front}, run["fronts"]["series"][2]],
    }


def stage(share: float, network: NetworkPolicy, row: dict[str, Any], shipped: bool) -> dict[str, Any]:
    """A stage as run.json holds it."""
    measured = {key: row[key] for key in ("episodes", "return_mean", "return_low", "return_high")}
    return measured | {
        "stage": "prune",
        "title": f"prune {share:.1%}",
        "seconds": 3.25,
        "nonzero_weights": network.nonzero_weights,
        "sparsity": 1 - network.nonzero_weights / network.weights,
        "violation_rate": row["violation_rate"],
        "violations": row["violations"],
        "counterexamples": None,
        "passed": shipped,
        "shipped": shipped,
    }


@pytest.fixture(scope="session")
def cartpole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of CartPole whose shipped policy fails now and then; certified where there is a compiler."""
    out, task = tmp_path_factory.mktemp("run"), load_task("cartpole")
    teacher = load_policy("cartpole").for_actions(task.simulator.action_space)
    build_run(out, task, teacher, shares=(0.5, 0.6, 0.7, 0.8, 0.95), shipped=2, episodes=200)
    if find_compiler() is not None:
        certify(out, task, plan(0.2, confidence=0.99, episodes=300), teacher=teacher)
    return out


@pytest.fixture
def changed_run(cartpole_run: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the CartPole run whose run.json has other values; keys go down with dots."""

    def change(**changes: Any) -> Path:
        for file in cartpole_run.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        run = json.loads((tmp_path / "run.json").read_text())
        for path, value in changes.items():
            *parents, last = path.split("__")
            place = run
            for key in parents:
                place = place[key]
            place[last] = value
        (tmp_path / "run.json").write_text(json.dumps(run))
        return tmp_path

    return change


@pytest.fixture
def shrunk_run(changed_run: Callable[..., Path], cartpole_run: Path) -> Callable[..., Path]:
    """The same as niwaki shrink would have left it, with other values on top."""
    run = json.loads((cartpole_run / "run.json").read_text())

    def change(**changes: Any) -> Path:
        folder = changed_run(**(shrunk_changes(run) | changes))
        (folder / "certificate.json").unlink(missing_ok=True)
        return folder

    return change


@pytest.fixture(scope="session")
def browser(require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """Headless Chromium."""
    return Browser(require_tool("chromium"), tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="session")
def cartpole_data(cartpole_run: Path) -> ReportData:
    """What the report of the CartPole run shows."""
    return collect(cartpole_run, episodes=60)


@pytest.fixture(scope="session")
def cartpole_page(cartpole_data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the CartPole run."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(cartpole_data), encoding="utf-8")
    return path
