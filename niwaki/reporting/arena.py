"""Paths over the arena of the point robot: start, hazards, goal, and where each policy went."""

from __future__ import annotations

import numpy as np

from niwaki.reporting.adapted_flights import Paths
from niwaki.reporting.curves import COLOURS, legend
from niwaki.reporting.markup import Markup, tag
from niwaki.reporting.wording import count
from niwaki.simulators.reach_avoid import ReachAvoid
from niwaki.simulators.reach_avoid_layout import GOAL_RADIUS
from niwaki.types import Floats

PIXELS, MARGIN = 100, 0.25  # per metre; metres around everything that is shown
CENTIMETRE = 2  # decimals of a position


def by_policy(simulator: ReachAvoid, rows: Floats, flown: list[Paths]) -> Markup:
    """One panel for each policy with all of its paths; for scenarios [N, K] of one layout."""
    box = _box(simulator, rows[:1], [way for paths in flown for way in paths.ways])
    return tag("div", *(_panel(simulator, rows[0], box, paths) for paths in flown), class_="panels")


def by_scenario(simulator: ReachAvoid, rows: Floats, flown: list[Paths]) -> Markup:
    """One panel for each scenario [N, K] with the path of every policy."""
    box = _box(simulator, rows, [way for paths in flown for way in paths.ways])
    panels = []
    for i, row in enumerate(rows):
        said = ", ".join(f"{p.name}: {count(len(p.ways[i]) - 1, 'step')}{_ending(p.failed[i])}" for p in flown)
        parts = [*_things(simulator, row), tag("title", said)]
        for paths, colour in zip(flown, COLOURS, strict=False):
            parts += [_way(paths.ways[i], colour), _end(paths.ways[i], colour)]
        panels.append(tag("figure", _drawn(box, parts, said), tag("figcaption", said)))
    return tag("div", tag("p", legend([paths.name for paths in flown])), tag("div", *panels, class_="panels"))


def _panel(simulator: ReachAvoid, row: Floats, box: tuple[float, float, float, float], paths: Paths) -> Markup:
    failed = sum(paths.failed)
    said = f"{paths.name}: {failed} of {len(paths.ways)} failed"
    order = np.argsort(paths.failed, kind="stable")  # failures last, on top
    ways = [_way(paths.ways[i], "way two" if paths.failed[i] else "way one") for i in order]
    ends = [_end(paths.ways[i], "two") for i in order if paths.failed[i]]
    steps = np.array([len(way) - 1 for way, bad in zip(paths.ways, paths.failed, strict=True) if not bad])
    mean = f"; {steps.mean():.1f} steps where not" if len(steps) else ""
    return tag("figure", _drawn(box, [*_things(simulator, row), *ways, *ends], said), tag("figcaption", said + mean))


def _box(simulator: ReachAvoid, rows: Floats, ways: list[Floats]) -> tuple[float, float, float, float]:
    """Left, bottom, right, top in metres: everything that is drawn, with a margin."""
    size = simulator.layout.hazard_size
    hazards = [rows[:, 5 + 2 * i : 7 + 2 * i] for i in range(simulator.layout.hazards)]
    corners = [*ways, rows[:, 0:2], rows[:, 3:5] - GOAL_RADIUS, rows[:, 3:5] + GOAL_RADIUS]
    corners += [place + side for place in hazards for side in (-size, size)]
    whole = np.concatenate(corners)
    low, high = whole.min(axis=0) - MARGIN, whole.max(axis=0) + MARGIN
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _drawn(box: tuple[float, float, float, float], parts: list[Markup], said: str) -> Markup:
    left, bottom, right, top = box
    turned = tag("g", *parts, transform="scale(1,-1)")  # up is up
    view = f"{left:.2f} {-top:.2f} {right - left:.2f} {top - bottom:.2f}"
    size = {"width": round((right - left) * PIXELS), "height": round((top - bottom) * PIXELS)}
    return tag("svg", turned, viewBox=view, role="img", aria_label=said, class_="arena", **size)


def _things(simulator: ReachAvoid, row: Floats) -> list[Markup]:
    """Goal and hazards as discs, the robot's start as a dot with its heading."""
    x, y, heading, goal_x, goal_y = (round(float(v), 4) for v in row[:5])
    ahead = round(x + 0.2 * np.cos(heading), 4), round(y + 0.2 * np.sin(heading), 4)
    hazards = (row[5 + 2 * i : 7 + 2 * i].round(4).tolist() for i in range(simulator.layout.hazards))
    return [
        tag("circle", tag("title", "goal"), cx=goal_x, cy=goal_y, r=GOAL_RADIUS, class_="goal"),
        *(
            tag("circle", tag("title", "hazard"), cx=a, cy=b, r=simulator.layout.hazard_size, class_="hazard")
            for a, b in hazards
        ),
        tag("circle", tag("title", "start"), cx=x, cy=y, r=0.05, class_="start"),
        tag("line", x1=x, y1=y, x2=ahead[0], y2=ahead[1], class_="start"),
    ]


def _way(way: Floats, colour: str) -> Markup:
    points = " ".join(f"{x:g},{y:g}" for x, y in way.round(CENTIMETRE).tolist())
    return tag("polyline", points=points, class_=colour)


def _end(way: Floats, colour: str) -> Markup:
    x, y = way[-1].round(CENTIMETRE).tolist()
    return tag("circle", cx=x, cy=y, r=0.045, class_=f"dot {colour}")


def _ending(failed: bool) -> str:
    return ", failed" if failed else ""
