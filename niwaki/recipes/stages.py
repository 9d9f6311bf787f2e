"""The stages with which every search for a smaller policy begins: the teacher's first flights, and shaping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

import numpy as np

from niwaki.evaluation import policy_row
from niwaki.gates import Verdict
from niwaki.policies.deployed import deployed, ns_per_call
from niwaki.policies.network import NetworkPolicy
from niwaki.recipes.ledger import Facts, Stage, Work
from niwaki.recipes.shape import Attempt, Step
from niwaki.rollout import Stages, counted, rollout
from niwaki.tasks import Task
from niwaki.types import Lockstep

FILES = ("policy.safetensors", "policy.c", "policy.h", "policy.onnx")  # that the smaller policy is handed over as
PILOT = 0x9107  # family of dice
PILOT_EPISODES, ENGINE_PILOT_EPISODES = 1000, 300


def fly_teacher(teacher: NetworkPolicy, task: Task, *, seed: int, progress: Stages) -> tuple[Facts, None]:
    """The teacher's row, of its first flights."""
    n = PILOT_EPISODES if isinstance(task.simulator, Lockstep) else ENGINE_PILOT_EPISODES
    rows = task.simulator.sample(np.random.default_rng([seed, PILOT]), n)
    flying, count = deployed(teacher), counted(progress, "flying the teacher", n)
    flights = rollout(task.simulator, flying, rows, specs=task.specs, progress=count)
    return {"teacher": policy_row(teacher, trajectories=flights, ns_per_call=ns_per_call(flying))}, None


def attempts_of(
    stage: Callable[[str, Work], Stage], begin: Callable[[], Iterator[Attempt]], attempts: list[Attempt]
) -> Iterator[Attempt]:
    """Every attempt of shaping as a stage of the run, added to `attempts` and yielded: those that are finished read
    back, then those that `begin` goes on with."""
    coming: Iterator[Attempt] | None = None

    def work() -> tuple[Facts, NetworkPolicy | None]:
        nonlocal coming
        coming = coming or begin()
        attempt = next(coming, None)
        if attempt is None:
            return {"exhausted": True}, None
        return {"step": asdict(attempt.step), "verdict": asdict(attempt.verdict), "fits": attempt.fits}, attempt.network

    while (done := stage(f"shape {len(attempts) + 1}", work)).network is not None:
        facts = done.facts
        attempts.append(Attempt(Step(**facts["step"]), done.network, Verdict(**facts["verdict"]), facts["fits"]))
        yield attempts[-1]
