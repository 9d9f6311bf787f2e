"""Curves as SVG inside a page of their own: no script, nothing fetched."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from niwaki.reporting.markup import Markup, join, tag
from niwaki.reporting.wording import number

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 300, 70, 20, 16, 44  # of a plot and its margins
MOST_LINES = 6  # that say where one is on an axis, about
LEAST = 1e-12  # what a logarithmic axis shows for less
STYLE = Markup("""
:root { color-scheme: light dark; --paper: #fbfaf7; --ink: #1d1c1a; --muted: #66635c; --hair: #dcd9d0; --wash: #f2efe8;
  --one: #0b6e5f; --two: #bf3f0a; --three: #4658a9; --four: #8a6a00; --five: #8b3a86; --six: #66635c; }
@media (prefers-color-scheme: dark) { :root { --paper: #141513; --ink: #e8e5de; --muted: #a29f96; --hair: #35362f;
  --wash: #1c1d1a; --one: #5cc6ab; --two: #ff8f63; --three: #a3b1ff; --four: #d8b445; --five: #dd92d8;
  --six: #a29f96; } }
body { margin: 2rem auto; max-width: 64rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1, h2 { font-weight: 500; } td, th { text-align: right; padding: .1rem .8rem; }
td { white-space: nowrap; } th { font-weight: 500; }
td:first-child, th:first-child { text-align: left; } table { display: block; overflow-x: auto; }
figure { margin: 1rem 0; } figcaption, .muted { color: var(--muted); } svg { max-width: 100%; height: auto; }
text { fill: var(--muted); font-size: 12px; } line { stroke: var(--hair); } polyline { fill: none; stroke-width: 1.5; }
.one { stroke: var(--one); --its: var(--one); } .two { stroke: var(--two); --its: var(--two); }
.three { stroke: var(--three); --its: var(--three); } .four { stroke: var(--four); --its: var(--four); }
.five { stroke: var(--five); --its: var(--five); } .six { stroke: var(--six); --its: var(--six); }
circle { fill: none; stroke-width: 1.5; } line.level { stroke-dasharray: 5 4; stroke: var(--two); }
circle.dot { fill: var(--its); } line.whisker { stroke: var(--its); }
.panels, .ellipses { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
.ellipses { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); } .panels figure, .ellipses p { margin: 0; }
.ellipses p, .panels figcaption { color: var(--muted); font-size: 13px; }
.arena, .ellipses svg { width: 100%; } .arena *, .ellipses svg * { vector-effect: non-scaling-stroke; }
.arena .way { opacity: .45; stroke-width: 1; } .arena .goal { fill: var(--one); opacity: .25; }
.arena .hazard { fill: var(--two); opacity: .3; } .arena .start { fill: var(--ink); stroke: var(--ink); }
.ellipses svg { background: var(--wash); } ellipse { fill: none; stroke-width: 1.5; }
.region { stroke: var(--muted); stroke-dasharray: 4 3; }
line.mean { stroke: var(--its); stroke-width: 6; stroke-linecap: round; }
.key { color: var(--its); margin-left: 1em; display: inline-block; }
figure { overflow-x: auto; } .plot { min-width: 30rem; }
rect.one { fill: var(--one); opacity: .5; stroke: none; } rect.two { fill: var(--two); opacity: .5; stroke: none; }
""")
COLOURS = ("one", "two", "three", "four", "five", "six")


@dataclass(frozen=True)
class Curve:
    """A named line through points (x, y); `marked` is the place of one that stands out. `dots`: every point is one,
    with its numbers when pointed at, and with a `whisker` (low, high) where there are some."""

    name: str
    points: tuple[tuple[float, float], ...]
    marked: int | None = None
    dots: bool = False
    whiskers: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Axis:
    """What a number on it means, and whether equal distances are equal factors."""

    name: str
    logarithmic: bool = False


def document(title: str, *body: object) -> str:
    """A whole HTML page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        tag("title", title),
        tag("style", STYLE),
    )
    return "<!doctype html>\n" + tag("html", head, tag("body", tag("h1", title), *body), lang="en") + "\n"


def plot(curves: Sequence[Curve], x: Axis, y: Axis, *, level: float | None = None) -> Markup:
    """Up to six curves over the same axes, and a dashed line at a level of y."""
    points = [point for curve in curves for point in curve.points]
    if not points:
        return tag("p", "Nothing to draw.")
    heights = [height for _, height in points] + ([] if level is None else [level])
    heights += [end for curve in curves for whisker in curve.whiskers for end in whisker]
    across, along = _scale([place for place, _ in points], x, LEFT, WIDTH - RIGHT)
    up, above = _scale(heights, y, HEIGHT - BOTTOM, TOP)
    parts: list[object] = [
        *(_rule(across(v), across(v), TOP, HEIGHT - BOTTOM, number(v), across(v), HEIGHT - BOTTOM + 18) for v in along),
        *(_rule(LEFT, WIDTH - RIGHT, up(v), up(v), number(v), LEFT - 34, up(v) + 4) for v in above),
        tag("text", x.name, x=WIDTH - RIGHT, y=HEIGHT - 6, text_anchor="end"),
    ]
    if level is not None:
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=up(level), y2=up(level), class_="level"))
    for curve, colour in zip(curves, COLOURS, strict=False):
        way = [(across(place), up(height)) for place, height in curve.points]
        parts.append(tag("polyline", points=" ".join(f"{a},{b}" for a, b in way), class_=colour))
        parts += [
            tag("line", x1=a, x2=a, y1=up(low), y2=up(high), class_=f"whisker {colour}")
            for (a, _), (low, high) in zip(way, curve.whiskers, strict=False)
        ]
        for i, (a, b) in enumerate(way):
            if i == curve.marked or len(way) == 1 or curve.dots:
                said = f"{curve.name}: {number(curve.points[i][1])} at {number(curve.points[i][0])}"
                small = curve.dots and i != curve.marked
                kind = f"{colour} dot" if small else colour
                parts.append(tag("circle", tag("title", said), cx=a, cy=b, r=3 if small else 5, class_=kind))
    names = ", ".join(curve.name for curve in curves)
    return tag(
        "figure",
        tag(
            "svg",
            *parts,
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            role="img",
            aria_label=f"{names} against {x.name}",
            class_="plot",
        ),
        tag("figcaption", y.name, legend([curve.name for curve in curves]) if len(curves) > 1 else None),
    )


def legend(names: Sequence[str]) -> Markup:
    """The names in the colours that they are drawn in."""
    return join(*(tag("span", name, class_=f"key {c}") for name, c in zip(names, COLOURS, strict=False)))


def bars(name: str, groups: Sequence[tuple[str, Sequence[int]]]) -> Markup:
    """How many episodes took how many steps: for up to two groups, shares of all, from step 1 on."""
    longest = max((len(counts) for _, counts in groups), default=0)
    shares = [[n / max(1, sum(counts)) for n in counts] for _, counts in groups]
    highest = max((share for group in shares for share in group), default=0.0) or 1.0
    width, room = (WIDTH - LEFT - RIGHT) / max(1, longest), HEIGHT - BOTTOM - TOP
    parts: list[object] = [
        tag("rect", x=_at(LEFT + width * i), y=_at(TOP + room * (1 - s / highest)), width=_at(max(0.5, width - 1)),
            height=_at(room * s / highest), class_=colour)
        for group, colour in zip(shares, COLOURS, strict=False)
        for i, s in enumerate(group)
        if s
    ]  # fmt: skip
    for step in range(0, longest, max(1, longest // 10)):
        parts.append(tag("text", str(step + 1), x=_at(LEFT + width * (step + 0.5)), y=HEIGHT - BOTTOM + 18,
                         text_anchor="middle"))  # fmt: skip
    parts.append(tag("text", name, x=WIDTH - RIGHT, y=HEIGHT - 6, text_anchor="end"))
    said = ", ".join(title for title, _ in groups)
    return tag(
        "figure",
        tag("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=f"{said}: {name}", class_="plot"),
        tag("figcaption", "share of the episodes", legend([title for title, _ in groups])),
    )


def rows(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> Markup:
    """A table."""
    head = tag("tr", *(tag("th", heading) for heading in headings))
    return tag("table", head, *(tag("tr", *(tag("td", cell) for cell in line)) for line in lines))


def _scale(
    values: Sequence[float], axis: Axis, start: float, end: float
) -> tuple[Callable[[float], float], list[float]]:
    """From a value to its place, and the values of which a line is drawn."""

    def bent(value: float) -> float:
        return math.log10(max(value, LEAST)) if axis.logarithmic else value

    low, high = min(map(bent, values)), max(map(bent, values))
    span = (high - low) or 1.0
    ends = (10.0**low, 10.0**high) if axis.logarithmic else (low, high)
    ticks = (_decades(low, high) if axis.logarithmic else []) or _round(*ends)
    return lambda value: _at(start + (bent(value) - low) / span * (end - start)), ticks


def _decades(low: float, high: float) -> list[float]:
    """The powers of ten from 10^low to 10^high, at most every second or third where there are many; none where they
    are fewer than two."""
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    every = max(1, -(-(last - first + 1) // MOST_LINES))
    return [10.0**k for k in range(first, last + 1, every)] if last > first else []


def _round(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from low to high; low where they are equal."""
    if not high > low:
        return [low]
    rough = (high - low) / MOST_LINES
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(times for times in (1, 2, 5, 10) if unit * times >= rough * (1 - 1e-9))
    return [step * k for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _rule(x1: float, x2: float, y1: float, y2: float, text: str, x: float, y: float) -> Markup:
    return tag("g", tag("line", x1=x1, x2=x2, y1=y1, y2=y2), tag("text", text, x=x, y=y, text_anchor="middle"))


def _at(place: float) -> float:
    return round(place, 1)
