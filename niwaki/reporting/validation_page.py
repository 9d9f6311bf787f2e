"""The page about a scenario database: how often the base fails within how many steps, and what that permits."""

from __future__ import annotations

import math
from pathlib import Path

from niwaki.adaptation.database import horizon_grid, load_database
from niwaki.policies.files import write_whole
from niwaki.recipes.adapt import Order
from niwaki.recipes.validate import Validated, summarise
from niwaki.reporting.curves import Axis, Curve, document, plot, rows
from niwaki.reporting.markup import tag
from niwaki.reporting.wording import number

PAGE = "validation.html"


def write_validation(validated: Validated, folder: Path) -> Path:
    """Write the page into the folder; returns its path."""
    path = folder / PAGE
    write_whole(path, render(validated).encode())
    return path


def redraw_validation(folder: Path, out: Path | None = None) -> Path:
    """Write the page of a database's folder again, to `out` where it is given, with the usual confidence and for the
    usual bound; returns its path. Raises NiwakiError for a damaged database."""
    database = load_database(folder)
    grid = horizon_grid(database.facts.horizon)
    found = summarise(database, grid, confidence=Order.confidence, bound=Order.bound)
    path = folder / PAGE if out is None else out
    write_whole(path, render(found).encode())
    return path


def render(v: Validated) -> str:
    """The HTML: eps(T), the largest log alpha(T), the best T marked, and the numbers."""
    best = next(i for i, row in enumerate(v.horizons) if row.horizon == v.horizon)
    risks = tuple((float(row.horizon), row.failure_bound) for row in v.horizons)
    allowed = [(float(row.horizon), math.log(row.permitted_alpha)) for row in v.horizons if row.permitted_alpha]
    mark = next((i for i, (horizon, _) in enumerate(allowed) if horizon == v.horizon), None)
    steps = Axis("horizon T, steps")
    intro = (
        f"{v.episodes:,} fresh episodes of the base policy on {v.task}, with its noise. Within T steps it fails with a "
        f"probability of at most eps(T); all of these bounds hold together with confidence {v.confidence!r}."
    )
    found = (
        f"Best at T = {v.horizon}: an adapted policy whose actions are at most {number(v.permitted_alpha)} times as "
        f"likely as the base's fails within {v.horizon} steps with a probability of at most {number(v.bound)}."
        if v.permitted_alpha is not None
        else f"At no horizon is the base's own bound below {number(v.bound)}: nothing can be permitted."
    )
    lines = [
        [str(r.horizon), f"{r.failures:,}", number(r.failure_bound), number(r.permitted_alpha)] for r in v.horizons
    ]
    return document(
        f"Scenario database: {v.task}",
        tag("p", intro),
        tag("p", found),
        plot([Curve("eps(T)", risks, best)], steps, Axis("eps(T)", logarithmic=True), level=v.bound),
        plot([Curve("max ln alpha(T)", tuple(allowed), mark)], steps, Axis("max ln alpha(T)")),
        rows(["T", "failures", "eps(T)", "alpha(T)"], lines),
    )
