"""validate: fly a stochastic policy with its noise, and keep when every episode ended: the scenario database.

What is judged is F_T: not to have ended, within T steps, in an episode that kept the task's specifications.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from niwaki.adaptation.database import FORMAT, Database, Facts, draw, save_database
from niwaki.adaptation.horizons import horizon_table
from niwaki.certification.artefact import describe_task, machine, versions
from niwaki.certification.bounds import clopper_pearson
from niwaki.certification.episodes import scenario_digest
from niwaki.policies.files import make_folder
from niwaki.policies.gaussian import GaussianPolicy
from niwaki.policies.sampled import sampled
from niwaki.policies.storage import fingerprint
from niwaki.recipes.prior import best_of, grid_of
from niwaki.rollout import Progress, Stages, counted, rollout
from niwaki.tasks import Task
from niwaki.tasks.fitting import fit
from niwaki.types import EpisodicPolicy, Floats, Integers, NiwakiError

VALIDATION = 0x7A11D  # family of dice
CONFIDENCE = 0.9999999


@dataclass(frozen=True)
class HorizonRow:
    """What the base promises within so many steps, and what that permits."""

    horizon: int
    failures: int
    failure_bound: float
    permitted_alpha: float | None  # None: the base's own bound is above the wanted one


@dataclass(frozen=True)
class Validated:
    """The outcome; `asdict` gives the JSON of `niwaki validate`. The first figures are those of the best horizon."""

    task: str
    seed: int
    episodes: int
    failures: int
    failure_rate: float
    failure_bound: float
    confidence: float  # of all failure bounds together
    bound: float  # that an adapted policy shall keep
    horizon: int
    permitted_alpha: float | None
    steps_to_goal: float | None
    endings: dict[str, int]
    horizons: tuple[HorizonRow, ...]
    policy_sha256: str
    out: str | None
    seconds: float


class Outcomes(NamedTuple):
    """How n episodes ended: the columns of a database."""

    lengths: Integers  # [n], steps until the end
    succeeded: NDArray[np.bool_]  # [n], kept all specifications
    endings: Integers  # [n], indices into the simulator's endings


def validate(
    base: GaussianPolicy,
    task: Task,
    out: Path | None = None,
    *,
    episodes: int = 10_000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    bound: float = 0.1,
    horizon: int | None = None,
    workers: int | None = None,
    progress: Stages = lambda stage, done, total: None,
) -> Validated:
    """Fly the policy on fresh scenarios, write its database into the folder `out`, and say what it permits.

    All bounds hold together with `confidence`: the horizons are a grid fixed beforehand, each with its share; or
    the one that is given. Raises NiwakiError for a policy or numbers that do not fit.
    """
    start = time.perf_counter()
    if not 0 < bound <= 1:
        raise NiwakiError(f"the wanted bound must be above 0 and at most 1, got {bound}")
    if not 0 < confidence < 1:
        raise NiwakiError(f"the confidence must be between 0 and 1, got {confidence}")
    grid = grid_of("ratio", task.simulator.horizon, horizon)
    policy = sampled(fit(base, task))
    database = fly_database(
        policy, fingerprint(base), task, family=VALIDATION, seed=seed, n=episodes, workers=workers, progress=progress
    )
    if out is not None:
        database = save_database(database, make_folder(out))
    return replace(
        summarise(database, grid, confidence=confidence, bound=bound),
        out=None if out is None else str(out),
        seconds=round(time.perf_counter() - start, 3),
    )


def summarise(database: Database, grid: Sequence[int], *, confidence: float, bound: float) -> Validated:
    """What a database says at every horizon of the grid, and at the one that permits the largest alpha."""
    table = horizon_table(
        database.lengths, database.succeeded, grid, wanted=bound, confidence=confidence, bound=clopper_pearson
    )
    best, facts, n = best_of(table, "ratio", wanted=bound), database.facts, len(database)
    rows = tuple(HorizonRow(r.horizon, r.failures, r.risk, r.alpha if r.risk <= bound else None) for r in table)
    counts = np.bincount(database.endings, minlength=len(facts.ending_names)).tolist()
    return Validated(
        task=str(facts.task["name"]),
        seed=facts.seed,
        episodes=n,
        failures=best.failures,
        failure_rate=best.failures / n,
        failure_bound=best.risk,
        confidence=confidence,
        bound=bound,
        horizon=best.horizon,
        permitted_alpha=best.alpha if best.risk <= bound else None,
        steps_to_goal=database.steps_to_goal(best.horizon),
        endings=dict(zip(facts.ending_names, counts, strict=True)),
        horizons=rows,
        policy_sha256=facts.policy_sha256,
        out=None,
        seconds=0.0,
    )


def fly_database(
    policy: EpisodicPolicy,
    digest: str,
    task: Task,
    *,
    family: int,
    seed: int,
    n: int,
    workers: int | None = None,
    progress: Stages = lambda stage, done, total: None,
    doing: str = "flying the base",
) -> Database:
    """Fly n fresh scenarios, drawn from the policy's digest, and keep how each ended."""
    if not task.specs:
        raise NiwakiError(f"the task {task.name} has no specification to keep: give one, such as always(abs(x) <= 1)")
    scenarios = draw(task.simulator, digest, family=family, seed=seed, n=n)
    facts = Facts(
        format=FORMAT,
        policy_sha256=digest,
        task=describe_task(task),
        specs={spec.name: spec.text for spec in task.specs},
        seed=seed,
        family=family,
        episodes=n,
        ending_names=task.simulator.endings,
        horizon=task.simulator.horizon,
        scenarios_sha256=scenario_digest(scenarios),
        arrays_sha256="",
        versions=versions(),
        platform=machine(),
    )
    return Database(facts, *outcomes(policy, task, scenarios, workers=workers, progress=counted(progress, doing, n)))


def outcomes(
    policy: EpisodicPolicy,
    task: Task,
    scenarios: Floats,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Outcomes:
    """How the episodes of the scenarios [n, K] end. A margin that is no number is a failure."""
    flights = rollout(task.simulator, policy, scenarios, specs=task.specs, workers=workers, progress=progress)
    assert flights.margins is not None
    kept = np.all(flights.margins >= 0, axis=1)  # not where it is no number
    return Outcomes(flights.lengths, kept, flights.endings)
