"""The picture of a run of `niwaki pops`: score against size at every look, and the weights of each layer as histograms.

One HTML file of SVG and text: no script, nothing fetched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from niwaki.certification.artefact import TEACHER
from niwaki.policies.files import parsing, write_whole
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import load_niwaki
from niwaki.recipes.ledger import STAGES, read_run
from niwaki.recipes.pops import PICTURE
from niwaki.reporting.markup import Markup, tag
from niwaki.reporting.wording import count, number
from niwaki.types import Floats

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 400, 60, 20, 16, 44  # of the plot and its margins
BAR, TALL, BINS = 6, 60, 25  # of a histogram
STYLE = Markup("""
:root { color-scheme: light dark; --paper: #fbfaf7; --ink: #1d1c1a; --muted: #66635c; --hair: #dcd9d0;
  --pruned: #0b6e5f; --dense: #bf3f0a; }
@media (prefers-color-scheme: dark) { :root { --paper: #141513; --ink: #e8e5de; --muted: #a29f96; --hair: #35362f;
  --pruned: #5cc6ab; --dense: #ff8f63; } }
body { margin: 2rem auto; max-width: 64rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1, h2 { font-weight: 500; } p, td, th { color: var(--muted); } th { text-align: left; font-weight: 500; }
table { border-spacing: .8rem .4rem; display: block; overflow-x: auto; } svg { max-width: 100%; height: auto; }
text { fill: var(--muted); font-size: 12px; } line { stroke: var(--hair); } .goal { stroke-dasharray: 5 4; }
polyline { fill: none; stroke: var(--pruned); opacity: .4; } rect { fill: var(--pruned); }
.pruned { fill: var(--pruned); } .dense { fill: none; stroke: var(--dense); stroke-width: 1.5; }
""")


@dataclass(frozen=True)
class Dot:
    """One look."""

    kind: Literal["pruned", "dense"]
    iteration: int
    step: int
    weights: int  # not zero
    score: float


def write_picture(folder: Path) -> Path:
    """Draw what run.json and the stages of a `niwaki pops` run say, into the run's folder; returns the file's path.

    Raises NiwakiError where the run cannot be read, or the file not be written.
    """
    book = read_run(folder)
    with parsing("run.json of niwaki pops"):
        loop = book["identity"]["loop"]
        goals = float(loop["objective"]), float(loop["lower_bound"])
        dots = [dot for entry in book["ledger"] for dot in _dots(entry)]
        task = str(book["identity"]["task"])
    shown = [("teacher", load_niwaki(folder / TEACHER))]
    for entry in book["ledger"]:
        if _kind(entry) is not None and "network" in entry:
            shown.append((str(entry["stage"]), load_niwaki(folder / STAGES / entry["network"])))
    path = folder / PICTURE
    write_whole(path, render(task, dots, goals, shown).encode("utf-8"))
    return path


def render(
    task: str, dots: Sequence[Dot], goals: tuple[float, float], shown: Sequence[tuple[str, NetworkPolicy]]
) -> str:
    """The HTML file. `goals`: objective and lower bound; `shown`: networks by name, whose weights are drawn."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        tag("title", f"niwaki pops: {task}"),
        tag("style", STYLE),
    )
    note = (
        "Filled: a look while pruning, joined in the order of the steps of one round. Hollow: a look while a dense "
        "network was distilled. Dashed: the objective and the lower bound."
    )
    body = tag(
        "body",
        tag("h1", f"Score against size: {task}"),
        tag("p", note),
        plot(dots, goals) if dots else tag("p", "Nothing was tried."),
        tag("h2", "Weights of each layer"),
        tag("p", "Weights that are not zero; each layer by its own largest. Its size and count stand below."),
        tag("table", *(_row(name, network) for name, network in shown)),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def plot(dots: Sequence[Dot], goals: tuple[float, float]) -> Markup:
    """Mean return over non-zero weights, these on a logarithmic axis."""
    sizes = [math.log10(max(1, dot.weights)) for dot in dots]
    scores = [*(dot.score for dot in dots), *goals]
    across = _scale(min(0.0, *sizes), max(1.0, *sizes), LEFT, WIDTH - RIGHT)
    up = _scale(min(scores), max(scores), HEIGHT - BOTTOM, TOP)
    parts: list[object] = []
    for power in range(math.floor(max(1.0, *sizes)) + 1):
        x = across(power)
        parts += [
            tag("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM),
            tag("text", f"{10**power:,}", x=x, y=HEIGHT - BOTTOM + 18, text_anchor="middle"),
        ]
    parts.append(tag("text", "weights that are not zero", x=WIDTH - RIGHT, y=HEIGHT - 6, text_anchor="end"))
    for score in sorted({min(scores), *goals, max(scores)}):
        y = up(score)
        parts += [
            tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="goal" if score in goals else None),
            tag("text", number(score), x=LEFT - 8, y=y + 4, text_anchor="end"),
        ]
    for i in sorted({dot.iteration for dot in dots if dot.kind == "pruned"}):
        way = [(across(x), up(dot.score)) for x, dot in zip(sizes, dots, strict=True) if _pruned_in(dot, i)]
        parts.append(tag("polyline", points=" ".join(f"{x},{y}" for x, y in way)))
    for x, dot in zip(sizes, dots, strict=True):
        said = f"round {dot.iteration}, {dot.kind}, step {dot.step:,}: {count(dot.weights, 'weight')}, {dot.score:.1f}"
        parts.append(tag("circle", tag("title", said), cx=across(x), cy=up(dot.score), r=4, class_=dot.kind))
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label="score against size")


def histogram(weight: Floats) -> tuple[NDArray, float]:
    """Counts [BINS] of the weights that are not zero, between minus and plus the largest magnitude; and that."""
    there = weight[weight != 0]
    largest = float(np.abs(there).max(initial=0.0))
    if largest == 0:
        return np.zeros(BINS, dtype=int), 0.0
    return np.histogram(there.astype(np.float64), bins=BINS, range=(-largest, largest))[0], largest


def _kind(entry: dict[str, Any]) -> Literal["pruned", "dense"] | None:
    name = str(entry["stage"]).split(" ")[0]
    return "pruned" if name == "prune" else "dense" if name == "distil" else None


def _dots(entry: dict[str, Any]) -> list[Dot]:
    kind = _kind(entry)
    if kind is None:
        return []
    iteration = int(entry["stage"].split(" ")[1])
    looks = entry["facts"]["looks"]
    return [Dot(kind, iteration, int(k["step"]), int(k["nonzero_weights"]), float(k["score"])) for k in looks]


def _pruned_in(dot: Dot, iteration: int) -> bool:
    return dot.kind == "pruned" and dot.iteration == iteration


def _scale(low: float, high: float, start: float, end: float) -> Any:
    span = (high - low) or 1.0
    return lambda value: round(start + (value - low) / span * (end - start), 1)


def _row(name: str, network: NetworkPolicy) -> Markup:
    return tag("tr", tag("th", name), *(tag("td", _bars(layer.weight)) for layer in network.layers))


def _bars(weight: Floats) -> Markup:
    counts, largest = histogram(weight)
    unit = TALL / max(1, int(counts.max()))
    bars = [
        tag("rect", x=BAR * i, y=round(TALL - unit * n, 1), width=BAR - 1, height=round(unit * n, 1))
        for i, n in enumerate(counts.tolist())
        if n
    ]
    outputs, inputs = weight.shape
    text = f"{inputs} → {outputs}: {int(counts.sum()):,}, ±{number(largest)}"
    base = tag("line", x1=0, x2=BAR * BINS, y1=TALL, y2=TALL)
    size = {"width": BAR * BINS, "height": TALL + 1}
    return tag("div", tag("svg", base, *bars, viewBox=f"0 0 {BAR * BINS} {TALL + 1}", **size), tag("div", text))
