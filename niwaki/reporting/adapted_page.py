"""The report of a run of `niwaki adapt`: base and adapted policy side by side, what was promised and what was seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from niwaki.adaptation.database import NAME, Database, horizon_grid, load_database
from niwaki.adaptation.horizons import horizon_table
from niwaki.adaptation.learning import Update
from niwaki.adaptation.saved import load_adapted
from niwaki.certification.bounds import clopper_pearson
from niwaki.policies.files import parsing, write_whole
from niwaki.recipes.adapt import PAGE
from niwaki.recipes.adapted_certificate import AdaptedCertificate, read_adapted
from niwaki.recipes.ledger import FILE, read_run
from niwaki.reporting.adapted_pictures import PATHS, ellipses, paths
from niwaki.reporting.curves import Axis, Curve, bars, document, plot, rows
from niwaki.reporting.learning_curve import learning_curve
from niwaki.reporting.markup import Markup, tag
from niwaki.reporting.wording import number, percent
from niwaki.specs import parse_spec
from niwaki.tasks import load_task, parse_task

TIGHTEST = 1e-4  # an axis of probabilities begins at the least of these and what was seen


@dataclass(frozen=True)
class Shown:
    """What the page is drawn from."""

    certificate: AdaptedCertificate
    base: Database
    flown: tuple[Database, ...]  # of every stage
    pictures: tuple[Markup, ...] = ()  # which need flights, or the run's book


def write_adapted_page(folder: Path, out: Path | None = None, *, episodes: int = PATHS) -> Path:
    """Write the page into the run's folder, or to `out`; returns its path. Its pictures fly so many episodes of every
    policy. Raises NiwakiError where the run cannot be read, or its task not be built."""
    with parsing("run of niwaki adapt"):
        certificate = read_adapted(folder)
        flown = tuple(load_database(folder, f"adapted-{i + 1}") for i in range(len(certificate.stages)))
        pictures = (*_training(folder, certificate.bound), *_pictures(folder, certificate, episodes))
        shown = Shown(certificate, load_database(folder, NAME), flown, pictures)
    path = folder / PAGE if out is None else out
    write_whole(path, render(shown).encode())
    return path


def render(shown: Shown) -> str:
    """The HTML file."""
    c = shown.certificate
    lines = [_line("base", shown.base, c.horizon, None, c.stages[0].base_risk)]
    for i, (stage, database) in enumerate(zip(c.stages, shown.flown, strict=True)):
        name = f"adapted, stage {i + 1}" if len(c.stages) > 1 else "adapted"
        lines.append(_line(name, database, c.horizon, c.bound, stage.posterior_bound))
    headings = ["", "steps to goal", "failures", "episodes", "failure rate", "at most, own episodes", "known before"]
    return document(
        f"{c.method}: {c.task.get('name')}",
        tag("p", tag("strong", c.statement)),
        rows(headings, lines),
        tag("h2", "Steps to the goal"),
        bars("steps", [("base", _counts(shown.base, c.horizon)), ("adapted", _counts(shown.flown[-1], c.horizon))]),
        *_horizons(shown),
        *_stages(shown),
        *shown.pictures,
        tag("h2", "What the claim rests on"),
        tag("ul", *(tag("li", line) for line in c.assumptions)),
        tag("h2", "What is not claimed"),
        tag("ul", *(tag("li", line) for line in c.not_claimed)),
    )


def _training(folder: Path, bound: float) -> tuple[Markup, ...]:
    """Of a task policy that this run has trained."""
    if not (folder / FILE).exists():
        return ()
    for entry in read_run(folder)["ledger"]:
        if entry["stage"] == "finetune":
            return (learning_curve(TypeAdapter(tuple[Update, ...]).validate_python(entry["facts"]["updates"]), bound),)
    return ()


def _pictures(folder: Path, c: AdaptedCertificate, episodes: int) -> tuple[Markup, ...]:
    """Paths and ellipses, from flights of the page's own."""
    source, name = str(c.task.get("source", "")), str(c.task.get("name", ""))
    task = parse_task(name, source) if source else load_task(name)
    specs = tuple(parse_spec(text, task.simulator, name=key) for key, text in c.specs.items())
    task, policy = replace(task, specs=specs), load_adapted(folder)
    named = [("adapted", policy)]
    found = (
        paths(task, (policy.base, policy.task), named, horizon=c.horizon, seed=0, episodes=episodes),
        ellipses(task, named, seed=0),
    )
    return tuple(picture for picture in found if picture is not None)


def _line(name: str, database: Database, horizon: int, bound: float | None, posterior: float) -> list[str]:
    failures, n = int(database.failed(horizon).sum()), len(database)
    steps = number(database.steps_to_goal(horizon))
    return [name, steps, f"{failures:,}", f"{n:,}", percent(failures / n), number(posterior), number(bound)]


def _counts(database: Database, horizon: int) -> list[int]:
    """Episodes that succeeded in 1, 2, ... steps."""
    reached = database.lengths[~database.failed(horizon)]
    counts: list[int] = np.bincount(reached, minlength=2)[1:].tolist()
    return counts


def _horizons(shown: Shown) -> list[Markup]:
    """What the same ratio per step would promise at every horizon: a valley, with the chosen horizon in it."""
    c = shown.certificate
    first: dict[str, Any] = c.stages[0].budget
    if first["method"] != "ratio":
        return []
    grid = horizon_grid(shown.base.facts.horizon)
    table = horizon_table(
        shown.base.lengths,
        shown.base.succeeded,
        grid,
        wanted=c.bound,
        confidence=c.stages[0].prior_confidence,
        bound=clopper_pearson,
    )
    promised = [
        (float(row.horizon), min(1.0, row.risk * math.exp(min(50.0, row.horizon * first["log_alpha_per_step"]))))
        for row in table
    ]
    mark = next((i for i, row in enumerate(table) if row.horizon == c.horizon), None)
    alone = Curve("eps(T)", tuple((float(row.horizon), row.risk) for row in table))
    return [
        tag("h2", "The horizon"),
        plot(
            [alone, Curve("eps(T) alpha^T", tuple(promised), mark)],
            Axis("horizon T, steps"),
            Axis("probability of a failure within T steps", logarithmic=True),
            level=c.bound,
        ),
    ]


def _stages(shown: Shown) -> list[Markup]:
    """From stage to stage: steps to the goal, and failures with their bounds."""
    c = shown.certificate
    if len(c.stages) < 2:
        return []
    databases = (shown.base, *shown.flown)
    steps = [(float(i), d.steps_to_goal(c.horizon) or math.nan) for i, d in enumerate(databases)]
    rates = [(float(i), max(TIGHTEST, float(d.failed(c.horizon).mean()))) for i, d in enumerate(databases)]
    posterior = [(0.0, c.stages[0].base_risk), *((i + 1.0, s.posterior_bound) for i, s in enumerate(c.stages))]
    stage = Axis("stage, 0: the base")
    return [
        tag("h2", "From stage to stage"),
        plot([Curve("steps to goal", tuple(steps))], stage, Axis("steps to goal")),
        plot(
            [Curve("failure rate", tuple(rates)), Curve("bound by own episodes", tuple(posterior))],
            stage,
            Axis("probability of a failure; dashed: known before", logarithmic=True),
            level=c.bound,
        ),
    ]
