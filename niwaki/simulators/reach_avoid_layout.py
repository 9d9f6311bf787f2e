"""Where the robot starts, and where its goal and the hazards lie: the levels of SafetyPointReachAvoid.

Cloete, Vertovec & Abate (2025, arXiv 2504.06386) train along five curriculum levels and publish results for the fifth.
Three more levels have no curriculum: 0, 4 and 8 hazards strewn over one square.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators.columns import varying
from niwaki.splitmix import mixed
from niwaki.types import Column, Floats, NiwakiError, seed_column

Rectangle = tuple[float, float, float, float]  # x and y of the lower left corner, of the upper right one, in m
Placed = tuple[Floats, float]  # positions [n, 2] and a keep-out

ROBOT_KEEPOUT, GOAL_KEEPOUT = 0.4, 0.305  # m: a disc around each thing's centre that no other thing's disc may overlap
GOAL_RADIUS = 0.3  # m
TRIES, FRESH_STARTS = 100, 100  # of one thing, before everything is placed anew; and of everything
REDRAWS, REDRAW_BATCH = 10_000, 100  # places that a new goal may be tried at


@dataclass(frozen=True)
class Layout:
    """Where things may lie, keep-outs included: a centre stays its own keep-out away from a rectangle's edges."""

    hazards: int
    hazard_size: float  # m, the radius in which it is violated
    hazard_keepout: float  # m
    robot: Rectangle
    goal: Rectangle
    hazard: Rectangle = (0.0, 0.0, 0.0, 0.0)


_START: Rectangle = (-1, -1, 1, 0)
_AHEAD: Rectangle = (-1, 0, 1, 1.5)


def _square(half: float, hazards: int, keepout: float) -> Layout:
    square = (-half, -half, half, half)
    return Layout(hazards, 0.2, keepout, square, square, square)


CURRICULUM = {
    1: Layout(1, 0.3, 0.3, _START, (-1, 0, 1, 1), (-1.5, 0, 1.5, 1.5)),
    2: Layout(1, 0.3, 0.3, _START, (-1, 0.5, 1, 1.5), _AHEAD),
    3: Layout(1, 0.3, 0.3, _START, (-1, 1, 1, 2), _AHEAD),
    4: Layout(1, 0.4, 0.2, _START, (-1, 1, 1, 2), _AHEAD),
    5: Layout(1, 0.5, 0.2, _START, (-1, 1.5, 1, 2.5), _AHEAD),
}
PLAIN = {0: _square(1.0, 0, 0.4), 1: _square(1.5, 4, 0.4), 2: _square(1.5, 8, 0.18)}


def layout_of(level: int, *, curriculum: bool = True) -> Layout:
    """The layout of a level. Raises NiwakiError for a level that does not exist."""
    levels = CURRICULUM if curriculum else PLAIN
    if isinstance(level, bool) or level not in levels:
        kind = "curriculum " if curriculum else "plain "
        raise NiwakiError(f"reach-avoid has the {kind}levels {min(levels)} to {max(levels)}, got {level!r}")
    return levels[level]


def columns_of(layout: Layout) -> tuple[Column, ...]:
    """The scenario columns: the robot's place and heading, the goal's place, the hazards' places, seed.

    Their nominal values are the middles of the ranges; where those overlap, the first layout drawn with seed 0."""
    names = ["hazard"] if layout.hazards == 1 else [f"hazard{i + 1}" for i in range(layout.hazards)]
    columns = (
        *_places("", layout.robot, ROBOT_KEEPOUT),
        varying("heading", "rad", 0.0, 2 * math.pi),
        *_places("goal_", layout.goal, GOAL_KEEPOUT),
        *(c for name in names for c in _places(f"{name}_", layout.hazard, layout.hazard_keepout)),
        seed_column(),
    )
    things = _things(layout, np.array([[c.nominal for c in columns]]))
    if all(_apart(*things[i], things[:i])[0] for i in range(len(things))):
        return columns
    drawn = sample_layouts(layout, columns, np.random.default_rng(0), 1)[0, :-1].tolist()
    moved = (Column(c.name, c.unit, value, c.sample, c.search) for c, value in zip(columns, drawn, strict=False))
    return (*moved, columns[-1])


def _places(prefix: str, rectangle: Rectangle, keepout: float) -> tuple[Column, Column]:
    left, low, right, high = rectangle
    return (
        varying(f"{prefix}x", "m", round(left + keepout, 9), round(right - keepout, 9)),
        varying(f"{prefix}y", "m", round(low + keepout, 9), round(high - keepout, 9)),
    )


def _things(layout: Layout, rows: Floats) -> list[Placed]:
    """Robot, goal and hazards of scenarios [n, K]."""
    hazards = [(rows[:, 5 + 2 * i : 7 + 2 * i], layout.hazard_keepout) for i in range(layout.hazards)]
    return [(rows[:, 0:2], ROBOT_KEEPOUT), (rows[:, 3:5], GOAL_KEEPOUT), *hazards]


def _apart(place: Floats, keepout: float, others: Sequence[Placed]) -> NDArray[np.bool_]:
    """[n]: whether a disc around each place [n, 2] meets none of the others'."""
    free = np.ones(len(place), dtype=bool)
    for other, other_keepout in others:
        free &= np.hypot(*(place - other).T) >= keepout + other_keepout
    return free


def sample_layouts(layout: Layout, columns: tuple[Column, ...], rng: np.random.Generator, n: int) -> Floats:
    """Scenarios [n, K] as the original draws its layouts, within the columns' sample ranges.

    One thing after the other is drawn uniformly, again and again until its disc is clear of those before it: robot,
    goal, hazards; at last the goal once more, clear of all others, for the original's reset moves it. After 100 tries
    for one thing everything starts afresh. A thing whose place is fixed lies there, overlapping or not.

    Raises NiwakiError where the ranges leave no room.
    """
    low, high = np.array([c.sample for c in columns]).T
    rows = np.empty((n, len(columns)))
    waiting = np.arange(n)
    for _ in range(FRESH_STARTS):
        drawn, placed = _draw(layout, low, high, rng, len(waiting))
        rows[waiting] = drawn
        waiting = waiting[~placed]
        if len(waiting) == 0:
            rows[:, 2] = rng.uniform(low[2], high[2], n)
            rows[:, -1] = rng.integers(int(low[-1]), int(high[-1]), size=n, endpoint=True)
            return rows
    raise NiwakiError("reach-avoid: the sample ranges leave no room for a layout without overlaps")


def _draw(
    layout: Layout, low: Floats, high: Floats, rng: np.random.Generator, n: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Scenarios [n, K] but for heading and seed, and which of them are whole."""
    rows, placed = np.empty((n, len(low))), np.ones(n, dtype=bool)
    starts = (0, 3, *(5 + 2 * i for i in range(layout.hazards)))
    keepouts = (ROBOT_KEEPOUT, GOAL_KEEPOUT, *(layout.hazard_keepout,) * layout.hazards)
    order = [*range(len(starts)), *([1] if layout.hazards else [])]
    for turn, i in enumerate(order):
        span = slice(starts[i], starts[i] + 2)
        before = [j for j in order[:turn] if j != i]
        waiting = np.flatnonzero(placed)
        for _ in range(TRIES):
            rows[waiting, span] = rng.uniform(low[span], high[span], (len(waiting), 2))
            if np.array_equal(low[span], high[span]):
                break
            others = [(rows[waiting, starts[j] : starts[j] + 2], keepouts[j]) for j in before]
            waiting = waiting[~_apart(rows[waiting, span], keepouts[i], others)]
            if len(waiting) == 0:
                break
        else:
            placed[waiting] = False
    return rows, placed


def next_goals(layout: Layout, robot: Floats, hazards: Floats, seeds: Floats, counts: Floats) -> Floats:
    """The next goals [n, 2] of robots [n, 2] among hazards [n, H, 2] that have reached `counts` [n] goals.

    Uniform over the goal's rectangle and clear of robot and hazards, as at the start. The place depends on nothing
    but the arguments of its own row: its chance is a hash of seed, count and try. Where 10,000 tries find no room,
    which ends the original's episode, the last try stands.
    """
    goals = np.empty((len(robot), 2))
    left, bottom, right, top = layout.goal
    corner = np.array((left + GOAL_KEEPOUT, bottom + GOAL_KEEPOUT))
    size = np.array((right - GOAL_KEEPOUT, top - GOAL_KEEPOUT)) - corner
    others: list[Callable[[NDArray], Placed]] = [lambda rows: (robot[rows, None], ROBOT_KEEPOUT)]
    others += [lambda rows, i=i: (hazards[rows, i, None], layout.hazard_keepout) for i in range(layout.hazards)]  # type: ignore[misc]
    waiting = np.arange(len(robot))
    for start in range(0, REDRAWS, REDRAW_BATCH):
        tries = np.arange(start, start + REDRAW_BATCH)
        chance = uniforms(seeds[waiting, None], counts[waiting, None], tries)
        places = corner + size * chance
        free = np.ones(places.shape[:2], dtype=bool)
        for other in others:
            centre, keepout = other(waiting)
            free &= np.sqrt(np.sum((places - centre) ** 2, axis=2)) >= keepout + GOAL_KEEPOUT
        first = np.where(free.any(axis=1), free.argmax(axis=1), REDRAW_BATCH - 1)
        goals[waiting] = places[np.arange(len(waiting)), first]
        waiting = waiting[~free.any(axis=1)]
        if len(waiting) == 0:
            break
    return goals


def uniforms(seeds: Floats, counts: Floats, tries: NDArray) -> Floats:
    """Two numbers in [0, 1) for each seed, count and try (broadcast together) [..., 2]: SplitMix64's mixing
    function over the three, one after the other."""
    words = mixed(np.asarray(seeds).astype(np.uint64))
    for part in (np.asarray(counts), np.asarray(tries)):
        words = mixed(words ^ part.astype(np.uint64))
    pair = np.stack((words, mixed(words ^ np.uint64(1))), axis=-1)
    return (pair >> np.uint64(11)) * 2.0**-53
