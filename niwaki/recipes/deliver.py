"""deliver: a policy becomes C and ONNX, and every form of it is flown on the same scenarios."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from niwaki.evaluation import Row, policy_row, scenarios_for
from niwaki.export.export import Export, export_policy
from niwaki.export.onnx import INPUT
from niwaki.export.verification import onnx_session
from niwaki.policies.c_source import random_observations
from niwaki.policies.deployed import MirrorPolicy, deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.rollout import Stages, counted, rollout
from niwaki.tasks import Task
from niwaki.types import Floats, NiwakiError, Policy, Trajectories

TIMED_CALLS = 2000


@dataclass(frozen=True)
class Delivery:
    """What was exported, and a row for each form of the policy: "imported", "c" or "mirror", "onnx"."""

    export: Export
    forms: dict[str, Row]


@dataclass(frozen=True)
class OnnxPolicy:
    """The exported ONNX file in ONNX Runtime."""

    session: Any
    observation_size: int

    def __call__(self, observations: Floats, /) -> NDArray:
        """Actions for observations [B, O]."""
        actions: NDArray = self.session.run(None, {INPUT: observations})[0]
        return actions


def deliver(
    policy: NetworkPolicy,
    task: Task | None,
    out: Path,
    *,
    name: str = "policy",
    episodes: int = 200,
    tested_inputs: int = 1_000_000,
    seed: int = 0,
    progress: Stages = lambda stage, done, total: None,
) -> Delivery:
    """Export the policy into the folder `out`, then fly it as imported, as C and as ONNX.

    Without a task, or with no episodes, nothing is flown. See `export_policy` for what is verified and raised.
    """
    if episodes < 0:
        raise NiwakiError(f"episodes must not be negative, got {episodes}")
    exported = export_policy(
        policy,
        out,
        name=name,
        tested_inputs=tested_inputs,
        seed=seed,
        progress=partial(progress, "comparing bits"),
    )
    compiled = deployed(policy)
    onnx_file = next(Path(file) for file in exported.files if file.endswith(".onnx"))
    onnx = OnnxPolicy(onnx_session(onnx_file.read_bytes()), policy.observation_size)
    forms: dict[str, Policy] = {
        "imported": policy,
        "mirror" if isinstance(compiled, MirrorPolicy) else "c": compiled,
        "onnx": onnx,
    }
    rows = {}
    for stage, form in forms.items():
        speed = exported.ns_per_call if stage == "c" else _ns_from_python(form, policy)
        flights = None if task is None or episodes < 1 else _fly(task, form, stage, episodes, seed, progress)
        rows[stage] = policy_row(policy, trajectories=flights, ns_per_call=speed)
    return Delivery(exported, rows)


def _fly(task: Task, form: Policy, stage: str, episodes: int, seed: int, progress: Stages) -> Trajectories:
    """Fly in this process: ONNX Runtime's session cannot be sent to another."""
    scenarios = scenarios_for(task.simulator, episodes, seed=seed)
    count = counted(progress, stage, episodes)
    return rollout(task.simulator, form, scenarios, specs=task.specs, workers=1, progress=count)


def _ns_from_python(form: Policy, policy: NetworkPolicy) -> float:
    """Nanoseconds of one call with one observation, as Python makes it: the quickest of several passes."""
    row = random_observations(policy, 1)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(TIMED_CALLS // 5):
            form(row)
        best = min(best, time.perf_counter() - start)
    return best / (TIMED_CALLS // 5) * 1e9
