"""The story of a run: its stages in words, and as the rows of run.json that the report draws."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from niwaki.recipes.ledger import Facts, Ledger, Stage
from niwaki.tasks import Task
from niwaki.types import Counterexample

PACKAGES = ("niwaki", "numpy", "torch", "gymnasium")


def in_words(stage: Stage) -> str:
    """What a stage has found, in one line."""
    facts, kind = stage.facts, stage.name.split()[0]
    size = "" if stage.network is None else f"{stage.network.nonzero_weights:,} weights: "
    if kind == "teacher":
        row = facts["teacher"]
        return (
            f"teacher: return {row['return_mean']:.1f}, violates in {row['violation_rate']:.2%} of {row['episodes']:,}"
        )
    if kind in ("shape", "whittle"):
        if stage.network is None:
            return f"{kind}: nothing smaller is left to try"
        verdict = facts["verdict"]
        said = f"return {verdict['return_mean']:.1f}, violates in {verdict['violation_rate']:.2%}"
        what = facts["step"]["kind"] if kind == "shape" else kind
        return f"{what}: {size}{said}, {'passed' if verdict['passed'] else 'refused'}"
    if kind == "search":
        return f"search: {size}{facts['failures']:,} failures in {facts['simulations']:,} tries that the teacher avoids"
    if kind == "repair":
        outcome = "kept" if facts["accepted"] else "nothing that could be kept"
        return f"repair: {facts['corrected']} of {facts['counterexamples']} counterexamples corrected, {outcome}"
    if kind in ("front", "baseline"):
        return f"{kind}: {len(facts['rows'])} policies flown side by side"
    row = facts["policy"]
    said = f"return {row['return_mean']:.1f}, violates in {row['violation_rate']:.2%} of {row['episodes']:,}"
    return f"certificate: {size}{said}, {'passed' if facts['passed'] else facts['reason']}"


def story(
    outcome: dict[str, Any], task: Task, ledger: Ledger, *, command: Sequence[str], order: Facts, weights: int
) -> Facts:
    """What run.json says beside its ledger: the outcome, the task, the versions, and a row for every stage.

    `weights` is the teacher's count, which sparsity is measured against.
    """
    certificates = [stage for stage in ledger.stages() if stage.name.startswith("certificate")]
    shipped = certificates[-1] if outcome["shipped"] else None
    asked = {key: order[key] for key in ("return_threshold", "risk", "confidence")}
    return {
        **{key: value for key, value in outcome.items() if key not in ("out", "certificate")},
        **setting(task, command=command, seed=order["seed"], asked=asked),
        "order": order,
        "paired_difference": None if shipped is None else shipped.facts["paired_difference"],
        "stages": stage_rows(ledger, weights, shipped=None if shipped is None else shipped.name),
        "attempts": [
            {"attempt": i + 1, "passed": stage.facts["passed"], "reason": stage.facts["reason"]}
            for i, stage in enumerate(certificates)
        ],
    }


def setting(task: Task, *, command: Sequence[str], seed: int, asked: Facts | None = None) -> Facts:
    """Under what a run was made: versions, command, seed, and the task with the figures that were asked for."""
    specs = [{"name": spec.name, "text": spec.text} for spec in task.specs]
    described = {
        "name": task.name,
        "title": task.title,
        "source": task.source or None,
        "simulator": task.simulator.name,
        "specs": specs,
    }
    return {
        "niwaki": version("niwaki"),
        "command": list(command),
        "versions": {"python": sys.version.split()[0], **{name: version(name) for name in PACKAGES}},
        "seed": seed,
        "task": described | (asked or {}),
    }


def stage_rows(ledger: Ledger, weights: int, *, shipped: str | None) -> list[Facts]:
    """A row for every stage; the stage called `shipped` is marked as what was handed over. `weights` is the
    teacher's count, which sparsity is measured against."""
    rows = {stage.name: _row(stage, weights) for stage in ledger.stages()}
    if shipped is not None:
        rows[shipped]["shipped"] = True
    return list(rows.values())


def _row(stage: Stage, weights: int) -> Facts:
    facts, kind = stage.facts, stage.name.split()[0]
    row: Facts = {"stage": kind, "title": _title(stage), "seconds": stage.seconds}
    if stage.network is not None:
        left = stage.network.nonzero_weights
        row |= {"nonzero_weights": left, "sparsity": 1 - left / weights}
    measured = facts.get("verdict") or facts.get("policy") or facts.get("teacher") or {}
    keys = ("episodes", "return_mean", "return_low", "return_high", "violation_rate", "violations")
    row |= {key: measured[key] for key in keys if measured.get(key) is not None}
    if kind == "teacher":
        row |= {"nonzero_weights": weights, "sparsity": 0.0}
    if kind == "search":
        row["counterexamples"] = facts["failures"]
    passed = facts.get("passed", facts.get("verdict", {}).get("passed", facts.get("accepted")))
    return row if passed is None else row | {"passed": passed}


def _title(stage: Stage) -> str:
    kind = stage.name.split()[0]
    left = "" if stage.network is None else f"{stage.network.nonzero_weights:,} weights"
    if kind == "shape":
        return f"{stage.facts['step']['kind']}: {left}" if left else "nothing smaller is left to try"
    if kind in ("front", "baseline"):
        return f"{kind}: {len(stage.facts['rows'])} policies side by side"
    return f"{stage.name}: {left}" if left else stage.name


def as_facts(found: Counterexample) -> Facts:
    """A counterexample as JSON holds it, every bit of it."""
    return {
        "scenario": found.scenario.tolist(),
        "spec": found.spec,
        "margin": found.margin,
        "teacher_margin": found.teacher_margin,
    }


def counterexample(facts: Facts) -> Counterexample:
    """The counterexample that `as_facts` wrote down."""
    return Counterexample(np.array(facts["scenario"]), facts["spec"], facts["margin"], facts["teacher_margin"])
