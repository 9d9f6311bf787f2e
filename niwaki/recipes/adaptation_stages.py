"""Stages that `adapt` and `sport` share: a database that is flown once, and a task policy that is trained once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from niwaki.adaptation.budget import Budget
from niwaki.adaptation.database import Database, load_database, save_database
from niwaki.adaptation.learning import Surrogate, settings_for
from niwaki.policies.gaussian import GaussianPolicy
from niwaki.policies.network import NetworkPolicy
from niwaki.recipes.ledger import Facts, Ledger
from niwaki.rollout import Stages
from niwaki.tasks import Task
from niwaki.types import NiwakiError


def database_stage(ledger: Ledger, stage: str, folder: Path, name: str, fly: Callable[[], Database]) -> Database:
    """The database of a stage: flown and written down, or read back where that is done. Raises NiwakiError where the
    folder holds another one than the stage has written."""

    def work() -> tuple[Facts, None]:
        stored = save_database(fly(), folder, name)
        return {"arrays": stored.facts.arrays_sha256, "policy": stored.facts.policy_sha256}, None

    facts = ledger.stage(stage, work).facts
    database = load_database(folder, name)
    if (database.facts.arrays_sha256, database.facts.policy_sha256) != (facts["arrays"], facts["policy"]):
        raise NiwakiError(f"{folder / name}.npz is not what the run has written: use --restart")
    return database


def training(
    base: GaussianPolicy,
    budget: Budget,
    task: Task,
    surrogate: Surrogate,
    steps: int | None,
    *,
    horizon: int,
    seed: int,
    workers: int | None,
    progress: Stages,
) -> tuple[Facts, NetworkPolicy]:
    """Projected PPO from the base within a budget for so many steps of an episode: a stage's facts, and the network of
    the task policy that was learnt."""
    from niwaki.adaptation.projected_ppo import finetune  # torch: only those who train wait for it

    learnt = finetune(
        base,
        budget,
        replace(task, simulator=replace(task.simulator, horizon=horizon)),
        settings_for(surrogate, steps),
        seed=seed,
        workers=workers,
        progress=progress,
    )
    return {"updates": [asdict(update) for update in learnt.updates]}, learnt.policy.network
