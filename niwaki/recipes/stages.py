"""The stages with which every search for a smaller policy begins: the teacher's first flights, and shaping."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from niwaki.evaluation import policy_row
from niwaki.export.export import export_policy
from niwaki.gates import Verdict
from niwaki.policies.deployed import deployed, ns_per_call
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.recipes.ledger import Facts, OutOfTime, Stage, Work
from niwaki.recipes.shape import Attempt, Step
from niwaki.rollout import Stages, counted, rollout
from niwaki.tasks import Task
from niwaki.types import Lockstep, Policy, Trajectories

FILES = ("policy.safetensors", "policy.c", "policy.h", "policy.onnx")  # that the smaller policy is handed over as
PILOT = 0x9107  # family of dice
PILOT_EPISODES, ENGINE_PILOT_EPISODES = 1000, 300


def fly_teacher(teacher: NetworkPolicy, task: Task, *, seed: int, progress: Stages) -> tuple[Facts, None]:
    """The teacher's row, of its first flights."""
    n = PILOT_EPISODES if isinstance(task.simulator, Lockstep) else ENGINE_PILOT_EPISODES
    flying = deployed(teacher)
    flights = fly(flying, task, (seed, PILOT), n, progress=progress, doing="flying the teacher")
    return {"teacher": policy_row(teacher, trajectories=flights, ns_per_call=ns_per_call(flying))}, None


def fly(
    policy: Policy,
    task: Task,
    dice: Sequence[int],
    n: int,
    *,
    progress: Stages,
    doing: str = "flying",
    record: bool = False,
) -> Trajectories:
    """Flights of n scenarios that these dice, a seed and a family, draw from the task's distribution."""
    rows = task.simulator.sample(np.random.default_rng(dice), n)
    count = counted(progress, doing, n)
    return rollout(task.simulator, policy, rows, specs=task.specs, record=record, progress=count)


def export(network: NetworkPolicy, folder: Path, *, seed: int) -> tuple[Facts, NetworkPolicy]:
    """Write the FILES into the folder."""
    save_policy(network, folder / "policy.safetensors")
    return {"export": asdict(export_policy(network, folder, seed=seed))}, network


def attempts_of(
    stage: Callable[[str, Work], Stage], begin: Callable[[], Iterator[Attempt]], attempts: list[Attempt]
) -> Iterator[Attempt]:
    """Every attempt of shaping as a stage of the run, added to `attempts` and yielded: those that are finished read
    back, then those that `begin` goes on with. That it is over is a stage too, but not where the time is: a run that
    is given more goes on."""
    coming: Iterator[Attempt] | None = None

    def work() -> tuple[Facts, NetworkPolicy | None]:
        nonlocal coming
        coming = coming or begin()
        attempt = next(coming, None)
        if attempt is None:
            return {"exhausted": True}, None
        return {"step": asdict(attempt.step), "verdict": asdict(attempt.verdict), "fits": attempt.fits}, attempt.network

    with suppress(OutOfTime):
        while (done := stage(f"shape {len(attempts) + 1}", work)).network is not None:
            facts = done.facts
            attempts.append(Attempt(Step(**facts["step"]), done.network, Verdict(**facts["verdict"]), facts["fits"]))
            yield attempts[-1]
