"""The page: sections in the order in which a reader asks, text made here, plots drawn by the script from JSON."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from niwaki.reporting import shrunk
from niwaki.reporting.answers import Answer, answers
from niwaki.reporting.cases import SHOWN
from niwaki.reporting.flights import ORIGINS
from niwaki.reporting.fronts import fronts_section, plotted_fronts
from niwaki.reporting.ledger_tables import certificate_section, made_section, violations_section
from niwaki.reporting.markup import Markup, join, script_json, tag
from niwaki.reporting.report_data import Flown, ReportData
from niwaki.reporting.run_folder import Run
from niwaki.reporting.starts import OUTCOMES
from niwaki.reporting.verdict import headline, lede, verdicts
from niwaki.reporting.weight_pictures import LayerPicture
from niwaki.reporting.wording import count, number, percent

SCRIPTS = ("draw", "front", "path", "scenes", "flights", "starts", "tube", "main")
NOT_FLOWN = "Not shown: nothing was shipped, so there is no policy to fly beside the teacher."
CANVAS, MOSAIC = 256, 270  # screen pixels of a layer's longer side, of all weights in one square
THINNEST = 12  # screen pixels of a layer's shorter side


def render_page(data: ReportData) -> str:
    """The whole HTML file."""
    run = data.run
    script = join(Markup("(() => {\n'use strict';\n"), *(_asset(f"{name}.js") for name in SCRIPTS), Markup("})();\n"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),  # nothing is fetched, nothing else runs
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"niwaki: {run.task.title}"),
        tag("style", _asset("style.css")),
    )
    body = tag(
        "body",
        _first_screen(data),
        tag("main", *_sections(data)),
        tag("footer", f"Made by niwaki {run.niwaki}. This file is whole: it needs no network and sends nothing."),
        tag("script", script_json(plotted(data)), id="data", type="application/json"),
        tag("script", script),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _asset(name: str) -> Markup:
    return Markup((resources.files("niwaki.reporting") / "page" / name).read_text(encoding="utf-8"))


def _sections(data: ReportData) -> list[Markup | None]:
    run = data.run
    if run.shrunk is not None:
        return [
            _answers(shrunk.answers(run, data.bits)),
            fronts_section(run),
            _path(run),
            _weights(data),
            _worst(data),
            _starts(data),
            _tube(data),
            shrunk.backing_section(run, run.shrunk),
            made_section(run),
        ]
    return [
        _answers(answers(run, data.bits, data.claim)),
        _path(run),
        fronts_section(run),
        _weights(data),
        violations_section(run),
        _worst(data),
        _starts(data),
        _tube(data),
        certificate_section(data.claim),
        made_section(run),
    ]


def section(title: str, note: object, *children: object, name: str) -> Markup:
    """A section with its heading and one paragraph that says what is seen."""
    return tag("section", tag("h2", title), tag("p", note, class_="note"), *children, id=name)


def _first_screen(data: ReportData) -> Markup:
    run = data.run
    said = verdicts(run, data.claim) if run.shrunk is None else shrunk.verdicts(run.shrunk)
    words = (
        tag("li", tag("b", v.word), tag("span", v.text), class_={"yes": None, "no": "unsaid"}.get(v.said, v.said))
        for v in said
    )
    below = lede(run) if run.shrunk is None else shrunk.lede(run)
    return tag(
        "header",
        tag("p", tag("b", "niwaki"), f" · {run.task.title} · ", tag("code", run.task.name), class_="kicker"),
        tag("div", tag("div", tag("h1", _title(run)), tag("p", below, class_="lede")), _mosaic(data), class_="opening"),
        tag("ul", tag("li", tag("b", "Asked for"), _asked(run), class_="unsaid"), *words, class_="verdict"),
    )


def _title(run: Run) -> Markup:
    """The headline, with what matters in it in the accent colour."""
    if run.shrunk is not None:
        return shrunk.title(run)
    text, _, last = headline(run).rpartition(" ")
    return join(headline(run)) if run.result is None else join(text + " ", tag("em", last))


def _mosaic(data: ReportData) -> Markup | None:
    """Every weight of the teacher as a dot, those that were shipped in the accent colour."""
    shown = data.mosaic
    if shown is None or data.run.result is None:
        return None
    zoom = max(1, MOSAIC // shown.side)
    left, total = data.run.result.nonzero_weights, data.run.teacher.weights
    dot = "a weight" if shown.block == 1 else f"{shown.block} × {shown.block} weights"
    text = f"Each dot is {dot} of the teacher. The {left:,} coloured ones were shipped."
    if not shown.aligned:
        text = f"Each dot is {dot} of the teacher. Coloured, to the same scale: the {left:,} that were shipped instead."
    size = {"width": shown.side * zoom, "height": shown.side * zoom}
    return tag(
        "figure",
        tag("img", src=shown.teacher, alt=f"{total:,} weights of the teacher", class_="before", **size),
        tag("img", src=shown.policy, alt=f"{left:,} weights were shipped", class_="after", **size),
        tag("figcaption", text, style=f"max-width:{max(shown.side * zoom, 200)}px"),
        class_="mosaic",
    )


def _asked(run: Run) -> Markup:
    """The specifications, the return and the risk that the run was to keep."""
    parts: list[object] = []
    for spec in run.task.specs:
        parts += [None if spec.name == spec.text else f"{spec.name} ", tag("code", spec.text), "; "]
    if run.task.return_threshold is not None:
        parts.append(f"a mean return of at least {number(run.task.return_threshold)}; ")
    if run.task.risk is not None:
        parts.append(f"a violation in at most {percent(run.task.risk)} of runs")
    if run.shrunk is not None:
        parts.append(shrunk.asked(run.shrunk))
    return tag("span", *parts)


def _answers(shown: tuple[Answer, ...]) -> Markup:
    cells = (
        tag(
            "div",
            tag("dt", a.question),
            tag("dd", a.value, class_="value"),
            tag("dd", a.unit, class_="unit"),
            tag("dd", [tag("div", line, class_="basis") for line in a.basis], class_="bases"),
            class_="alarm" if a.alarm else None,
        )
        for a in shown
    )
    return tag("section", tag("dl", *cells, class_="answers"), id="answers", aria_label="The five answers")


def _path(run: Run) -> Markup:
    if not run.path:
        note = "No stage of this run was measured, so there is no path to draw."
        return section("From dense to sparse", note, name="path-section")
    note = (
        "Every network that the run tried and flew, by the weights it had left. Filled dots passed their trial and are "
        "joined, hollow ones did not; bars are 95 % intervals; the ring is what was shipped. The numbers are those of "
        "the stages in the table at the end."
    )
    return section("From dense to sparse", note, tag("figure", id="path"), name="path-section")


def _weights(data: ReportData) -> Markup:
    note = (
        "One dot per weight: inputs from left to right, outputs from top to bottom, the darker the larger, each "
        "layer by its own largest weight. Blank is zero."
    )
    shipped = tag("div", tag("p", "Nothing was shipped."))
    if data.policy_weights:
        shipped = tag("div", _network("shipped", data.policy_weights), _written_out(data.formulas))
    return section(
        "What is left of the network",
        note,
        tag("div", _network("teacher", data.teacher_weights), shipped, class_="networks"),
        name="weights",
    )


def _written_out(lines: tuple[str, ...]) -> Markup | None:
    if not lines:
        return None
    names = "o: observations, n: normalised, h: hidden units, y: outputs, all counted from 0"
    return join(
        tag("h3", "The whole policy"),
        tag("pre", "\n".join(lines)),
        tag("p", f"{names}. Numbers to four digits; policy.c has them in full.", class_="small muted"),
    )


def _network(name: str, layers: tuple[LayerPicture, ...]) -> Markup:
    longest = max(-(-max(layer.inputs, layer.outputs) // layer.block) for layer in layers)
    total = sum(layer.weights for layer in layers)
    left = sum(layer.nonzero_weights for layer in layers)
    pictures = (_layer(name, i, layer, max(1, CANVAS // longest)) for i, layer in enumerate(layers))
    title = f"{name}: {left:,} of {total:,} weights are not zero"
    return tag("div", tag("h3", title), tag("div", *pictures, class_="layers"))


def _layer(name: str, i: int, layer: LayerPicture, zoom: int) -> Markup:
    """`zoom`: screen pixels per dot, whole so that all dots are of one size; more across a thin layer."""
    dots = [-(-size // layer.block) for size in (layer.inputs, layer.outputs)]
    width, height = (n * max(zoom, -(-THINNEST // n)) for n in dots)
    alt = f"{name}, layer {i + 1}: {layer.nonzero_weights} of {layer.weights} weights"
    block = f", one dot for {layer.block} × {layer.block}" if layer.block > 1 else ""
    return tag(
        "figure",
        tag("img", src=layer.uri, width=width, height=height, alt=alt, title=alt),
        tag("figcaption", f"{layer.inputs} → {layer.outputs}", tag("br"), f"{layer.nonzero_weights:,} left{block}"),
    )


def _worst(data: ReportData) -> Markup:
    title = "The hardest flights"
    if data.flown is None:
        return section(title, NOT_FLOWN, name="flights-section")
    failed = sum(bool(case.policy.broken) for case in data.flown.cases)
    begin = f"The {SHOWN} worst starts that this report tried" if len(data.flown.cases) == SHOWN else "The worst starts"
    verdict = (
        "the shipped policy broke nothing on any" if not failed else f"the shipped policy broke a rule on {failed}"
    )
    note = (
        f"{begin}: {verdict}. Solid is the shipped policy, the outline is its teacher on the very same start. Where a "
        "flight failed and the teacher could have saved it, the last such moment is marked as its recovery state."
    )
    return section(title, note, tag("figure", id="flights"), name="flights-section")


def _starts(data: ReportData) -> Markup:
    title = "Where it starts, and how it ends"
    if data.flown is None:
        return section(title, NOT_FLOWN, name="starts-section")
    starts = data.flown.starts
    if starts.first is None:
        note = "The starts of this task do not differ in two numbers, so there is no map."
        return section(title, note, name="starts-section")
    kinds = [int((starts.origins == k).sum()) for k in range(len(ORIGINS))]
    note = f"{count(kinds[0], 'start')} drawn from the task's own distribution"
    note += (
        f", {kinds[1]:,} from the wider ranges of the search (the dashed frame holds the former)" if kinds[1] else ""
    )
    note += f", {count(kinds[2], 'counterexample')} that the run found on its way" if kinds[2] else ""
    note += ", all flown for this report. The two axes are those that tell failures from the rest best; choose others."
    return section(title, note, tag("figure", id="starts"), name="starts-section")


def _tube(data: ReportData) -> Markup:
    title = "The reach tube"
    if data.flown is None:
        return section(title, NOT_FLOWN, name="tube-section")
    note = (
        f"Between which values a signal stayed, over the {data.flown.tube.episodes:,} starts drawn from the task's own "
        "distribution, among the episodes that still ran. It is what was seen, not a bound on what can happen."
    )
    return section(title, note, tag("figure", id="tube"), name="tube-section")


def plotted(data: ReportData) -> dict[str, object]:
    """What the script draws from."""
    run = data.run
    path = [
        {"number": i + 1} | stage.model_dump() | {"title": stage.title or stage.stage}
        for i, stage in enumerate(run.stages)
        if stage in run.path
    ]
    facts: dict[str, object] = {
        "teacher": run.teacher.model_dump(),
        "threshold": run.task.return_threshold,
        "path": path,
        "outcomes": OUTCOMES,
        "origins": ORIGINS,
    }
    if run.fronts is not None:
        facts["fronts"] = plotted_fronts(run.fronts)
    return facts | ({} if data.flown is None else _flown(data.flown))


def _flown(flown: Flown) -> dict[str, object]:
    return {name: getattr(flown, name) for name in flown.__dataclass_fields__}
