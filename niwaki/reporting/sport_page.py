"""The report of a run of `niwaki sport`: the paper's pictures of our own flights, and all methods side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from niwaki.adaptation.budget import FixedRatio
from niwaki.adaptation.saved import BASE, TASK
from niwaki.policies.files import parsing, read_bytes, write_whole
from niwaki.policies.sampled import SampledPolicy, sampled
from niwaki.policies.storage import load_gaussian
from niwaki.recipes.experiment import PAGE, RECIPE, Flown, Point, Result, Sport, layout_named, method_folder
from niwaki.recipes.ledger import FILE, FILE_LIMIT, read_run
from niwaki.recipes.sport import saved_policy
from niwaki.reporting.adapted_pictures import PATHS, ellipses, paths
from niwaki.reporting.curves import Axis, Curve, document, plot, rows
from niwaki.reporting.markup import Markup, join, tag
from niwaki.reporting.wording import number, percent
from niwaki.tasks import parse_task
from niwaki.types import NiwakiError

LEAST_RATE = 1e-4  # where a rate of 0 is drawn
AT_MOST = "That the paper's failure rates are exact in experiment 2: it says at most 0.6 % everywhere."
DRAWN_ALPHAS = 5  # curves of eps(T) alpha^T


def is_sport(folder: Path) -> bool:
    """Whether the folder's run.json is about a run of `niwaki sport`; False where it cannot be read."""
    try:
        found = json.loads(read_bytes(folder / FILE, limit=FILE_LIMIT))
        return bool(found["identity"]["recipe"] == RECIPE)
    except (NiwakiError, ValueError, RecursionError, KeyError, TypeError):
        return False


def write_sport_page(folder: Path, out: Path | None = None, *, episodes: int = PATHS) -> Path:
    """Write the page into the run's folder, or to `out`; returns its path. Its pictures fly so many episodes of every
    policy. Raises NiwakiError where the run cannot be read, or has no outcome yet."""
    book = read_run(folder)
    if "outcome" not in book:
        raise NiwakiError(f"the run in {str(folder)!r} has no outcome yet: give its command again")
    with parsing("run of niwaki sport"):
        found: Sport = TypeAdapter(Sport).validate_python(book["outcome"])
        pair = sampled(load_gaussian(folder / BASE)), sampled(load_gaussian(folder / TASK))
        drawn = render(found, [_pictures(folder, pair, result, found.seed, episodes) for result in found.layouts])
    path = folder / PAGE if out is None else out
    write_whole(path, drawn.encode())
    return path


def _pictures(
    folder: Path, pair: tuple[SampledPolicy, SampledPolicy], result: Result, seed: int, episodes: int
) -> Markup:
    """Paths of every policy, and the ellipses of each budget alone, from flights of the page's own."""
    file = folder / f"{layout_named(result.layout)}.toml"
    task = parse_task(file.stem, read_bytes(file).decode("utf-8", "replace"))
    reached = [c.method for c in result.methods if c.refused is None]
    policies = [(method, saved_policy(folder / method_folder(result.layout, method), pair)) for method in reached]
    alone = [(method, policy) for method, policy in policies if not policy.before]
    return join(
        paths(task, pair, policies, horizon=result.horizon, seed=seed, episodes=episodes),
        ellipses(task, alone, seed=seed),
    )


def render(found: Sport, pictures: Sequence[Markup]) -> str:
    """The HTML file; `pictures` of every layout."""
    intro = (
        f"A task policy held near its base with a ratio of at most alpha per step, on {found.task}: "
        f"{found.episodes:,} episodes of every policy on each layout, all on the same scenarios with the same noise. "
        f"A failure is not to be at the goal within T steps, or to enter a hazard before. Bounds hold with confidence "
        f"{found.confidence!r}, rates and differences have 95 % intervals."
    )
    alarm = None if found.holds else tag("p", tag("strong", "A policy failed more often than was promised."))
    return document(
        f"SPoRt, experiment {found.experiment}",
        tag("p", intro),
        alarm,
        *(_layout(*each, found) for each in zip(found.layouts, pictures, strict=True)),
        tag("h2", "What is not claimed"),
        tag(
            "ul",
            *([] if found.experiment == 1 else [tag("li", AT_MOST)]),
            tag("li", "That the paper's figures are of this very task: its layout, policies and simulator are others."),
            tag("li", "That the bounds of all alphas hold at once: each has the confidence by itself."),
            tag("li", "Anything about mean actions without noise, or about the real machine beyond the simulator."),
        ),
    )


def _layout(result: Result, pictures: Markup, found: Sport) -> Markup:
    alpha = "no ratio" if result.permitted_alpha is None else f"alpha = {result.permitted_alpha:.4f}"
    about = (
        f"T = {result.horizon} steps, chosen by other episodes. {result.base_failures:,} of {result.base_episodes:,} "
        f"fresh episodes of the base failed, so eps(T) = {number(result.base_failure_bound)}, which permits {alpha} "
        f"for a bound of {number(found.bound)}."
    )
    return join(
        tag("h2", f"{result.layout.capitalize()} layout" + ("s" if result.layout == "random" else "")),
        tag("p", about),
        rows(SWEEP, [*(_point(point) for point in result.points), _line("task policy", result.task_policy)]),
        _steps(result),
        _rates(result, found.bound),
        _horizons(result, found.bound),
        tag("h3", f"Every method at a bound of {number(found.bound)}"),
        _methods(result),
        pictures,
    )


SWEEP = (
    "alpha", "steps to goal", "paper", "sooner than the base", "failures", "rate", "95 %", "paper", "known before",
    "by own episodes",
)  # fmt: skip


def _point(point: Point) -> list[str]:
    cells = _line(number(point.alpha), point.flown)
    cells[2], cells[7] = number(point.published_steps_to_goal), percent(point.published_violation_rate)
    cells[8] = number(point.prior_bound)
    return cells


def _line(name: str, f: Flown) -> list[str]:
    """Cells under SWEEP."""
    return [
        name, _fine(f.steps_to_goal), "–", _sooner(f), f"{f.violations:,}", percent(f.violation_rate),
        f"{percent(f.violation_low)} to {percent(f.violation_high)}", "–", "–", number(f.posterior_bound),
    ]  # fmt: skip


def _fine(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _sooner(f: Flown) -> str:
    if f.sooner_low is None or f.sooner_high is None:
        return _fine(f.sooner)
    return f"{f.sooner:.2f} [{f.sooner_low:.2f}, {f.sooner_high:.2f}]"


def _steps(result: Result) -> Markup:
    """Steps to the goal against alpha."""
    curves = [
        _dots("projected", result, lambda p: p.flown.steps_to_goal),
        _dots("paper", result, lambda p: p.published_steps_to_goal),
    ]
    return plot(
        [curve for curve in curves if curve.points],
        Axis("alpha", logarithmic=True),
        Axis("steps to the goal, mean of the episodes that did not fail"),
    )  # fmt: skip


def _rates(result: Result, bound: float) -> Markup:
    """Failure rate against alpha, with the bounds known before and after."""
    whiskers = tuple(
        (max(LEAST_RATE, p.flown.violation_low), max(LEAST_RATE, p.flown.violation_high)) for p in result.points
    )
    rate = _dots("failure rate", result, lambda p: max(LEAST_RATE, p.flown.violation_rate), whiskers)
    curves = [
        rate,
        _dots("bound known before", result, lambda p: p.prior_bound),
        _dots("bound by own episodes", result, lambda p: p.flown.posterior_bound),
        _dots("paper", result, lambda p: p.published_violation_rate),
    ]
    return plot(
        [curve for curve in curves if curve.points],
        Axis("alpha", logarithmic=True),
        Axis(f"probability of a failure, {LEAST_RATE:g} where none was seen; dashed: {number(bound)}", True),
        level=bound,
    )  # fmt: skip


def _dots(
    name: str, result: Result, value: Callable[[Point], float | None],
    whiskers: tuple[tuple[float, float], ...] = (),
) -> Curve:  # fmt: skip
    points = ((p.alpha, value(p)) for p in result.points)
    return Curve(name, tuple((a, v) for a, v in points if v is not None), dots=True, whiskers=whiskers)


def _horizons(result: Result, bound: float) -> Markup:
    """eps(T) alpha^T against T for a few alphas, from the episodes that chose T."""
    alphas = sorted({1.0, *(p.alpha for p in result.points)})[:DRAWN_ALPHAS]
    chosen = next((i for i, row in enumerate(result.horizons) if row.horizon == result.horizon), None)
    curves = [
        Curve(
            "eps(T)" if alpha == 1 else f"alpha = {number(alpha)}",
            tuple(
                (float(row.horizon), FixedRatio(row.failure_bound, row.horizon, math.log(alpha)).bound)
                for row in result.horizons
            ),
            chosen,
        )
        for alpha in alphas
    ]  # fmt: skip
    return plot(curves, Axis("T, steps"), Axis("eps(T) alpha^T; rings: the T that was chosen", True), level=bound)


def _methods(result: Result) -> Markup:
    """All methods at the wanted bound, by what they gain."""
    lines = []
    first = next((c.flown.sooner for c in result.methods if c.method == "ratio" and c.flown is not None), None)
    for c in result.methods:
        f = c.flown
        if f is None:
            lines.append([c.method, "refused", *["–"] * 7])
            continue
        times = "–" if not first or first <= 0 or f.sooner is None else f"{f.sooner / first:.1f}"
        lines.append(
            [
                c.method,
                _fine(f.steps_to_goal),
                _sooner(f),
                percent(f.reduction),
                times,
                f"{f.violations:,}",
                percent(f.violation_rate),
                number(c.own_bound),
                str(c.stages),
            ]
        )
    headings = ["", "steps to goal", "sooner than the base", "of the base's steps", "times the ratio's", "failures",
                "rate", "bound by own episodes", "policies"]  # fmt: skip
    reasons = [tag("p", f"No certificate of {c.method}: {c.refused}.") for c in result.methods if c.refused is not None]
    return join(rows(headings, lines), *reasons)
