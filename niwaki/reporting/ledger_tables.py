"""The sections that are text and tables: violations through the stages, the certificate, how it was made."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from niwaki.certification.certificate import Certificate
from niwaki.reporting.markup import Markup, join, tag
from niwaki.reporting.run_folder import Claim, Measured, Run, Stage
from niwaki.reporting.verdict import bound_of, seen_by
from niwaki.reporting.wording import broken, duration, interval, number, percent

CHECK = """\
niwaki check DIR          # hashes, bound, a sample of the episodes
niwaki check DIR --full   # every episode again"""

LEAST_SCALE = 0.05  # of the bars: a rate of one in a thousand shall not look like a wall


def violations_section(run: Run) -> Markup:
    """How many episodes broke each specification, stage by stage, beside the teacher."""
    judged = [s for s in run.stages if s.violation_rate is not None and s.stage != "teacher"]
    rows: list[tuple[str, Measured, bool]] = [("teacher", run.teacher, False)]
    rows += [(stage.title or stage.stage, stage, stage.shipped) for stage in judged]
    names = [spec.name for spec in run.task.specs]
    names += sorted({name for _, row, _ in rows for name in row.violations or {}} - set(names))
    title = tag("h2", "What broke on the way")
    if not judged or not names:
        note = "No stage of this run was judged by a specification, so there are no violations to show."
        return tag("section", title, tag("p", note, class_="note"), id="violations")
    full = max(LEAST_SCALE, *(row.violation_rate or 0.0 for _, row, _ in rows))
    heads = ("stage", "any specification", *(names if len(names) > 1 else ()))
    body = (
        tag(
            "tr",
            tag("td", name),
            tag("td", _bar(row, any_of(row), full)),
            *(tag("td", _bar(row, (row.violations or {}).get(each), full)) for each in heads[2:]),
            class_="shipped" if shipped else None,
        )
        for name, row, shipped in rows
    )
    note = (
        "Episodes that broke a specification, of those flown to judge a stage: few where it was clear soon. A full bar "
        f"is {percent(full)}; a dash where the stage kept no count of its own."
    )
    table = tag("table", tag("thead", tag("tr", *(tag("th", name) for name in heads))), tag("tbody", *body))
    return tag("section", title, tag("p", note, class_="note"), tag("div", table, class_="wide"), id="violations")


def any_of(row: Measured) -> int | None:
    """Episodes that broke any specification."""
    return None if row.violation_rate is None else round(row.violation_rate * row.episodes)


def _bar(row: Measured, n: int | None, full: float) -> Markup:
    if n is None:
        return tag("span", "–", class_="zero")
    length = tag("i", style=f"width:{n / max(row.episodes, 1) / full:.3%}")
    text = tag("span", f"{n:,} of {row.episodes:,}", class_="zero" if n == 0 else None)
    return tag("div", tag("span", length, class_="rail"), text, class_="bar")


def certificate_section(claim: Claim) -> Markup:
    """The certificate in words, what it rests on, what it does not say, and how to check it."""
    c, title = claim.certificate, tag("h2", "The certificate")
    if c is None:
        why = claim.complaint or "this run made no certificate, so nothing is claimed beyond the counts above"
        return tag("section", title, tag("p", f"{why[:1].upper()}{why[1:]}.", class_="note"), id="certificate")
    first = f"{bound_of(c)}: {seen_by(c)}." if c.claimed else f"The certificate abstains: {c.reason}."
    changed = None
    if claim.changed:
        changed = tag("p", f"It is void: {', '.join(claim.changed)} changed after it was certified.", class_="alarm")
    return tag(
        "section",
        title,
        tag("p", first),
        changed,
        tag("p", c.statement, class_="small muted"),
        tag("div", _list("It rests on", c.assumptions), _list("It does not say", c.not_claimed), class_="pair"),
        tag("h3", "Which bytes it is about (SHA-256)"),
        _facts(_bound_facts(c)),
        tag("h3", "Check it"),
        tag("pre", CHECK),
        id="certificate",
    )


def _bound_facts(c: Certificate) -> list[tuple[str, str]]:
    return [
        *sorted(c.files.items()),
        ("scenarios", c.scenarios_sha256),
        ("method", f"{c.method}, attempt {c.plan.attempt}, {c.episodes:,} episodes, {c.violations:,} violations"),
        ("compiler", c.compiler),
        ("machine", c.platform),
        ("versions", ", ".join(f"{name} {version}" for name, version in c.versions.items())),
    ]


def _list(title: str, lines: Iterable[str]) -> Markup:
    return tag("div", tag("h3", title), tag("ul", *(tag("li", line) for line in lines), class_="small"))


def _facts(pairs: Iterable[tuple[str, object]]) -> Markup:
    items = (join(tag("dt", name), tag("dd", tag("code", value))) for name, value in pairs)
    return tag("dl", *items, class_="hashes")


def made_section(run: Run) -> Markup:
    """Command, seed, versions, and the ledger of stages and attempts."""
    facts: list[tuple[str, object]] = [("seed", run.seed), ("time", duration(run.seconds)), ("niwaki", run.niwaki)]
    facts += sorted(run.versions.items())
    head = ("", "stage", "weights left", "return", "95 %", "violations", "gate", "time")
    aligned = ("n", None, "n", "n", "n", "n", None, "n")
    attempts = None
    if run.attempts:
        lines = (tag("li", "passed" if a.passed else f"not passed: {a.reason}") for a in run.attempts)
        attempts = join(tag("h3", "Certificates"), tag("ol", *lines, class_="small"))
    table = tag(
        "table",
        tag("thead", tag("tr", *(tag("th", text, class_=side) for text, side in zip(head, aligned, strict=True)))),
        tag("tbody", *(_stage(i + 1, stage, aligned) for i, stage in enumerate(run.stages))),
    )
    return tag(
        "section",
        tag("h2", "How it was made"),
        tag("pre", shlex.join(run.command)) if run.command else None,
        _facts(facts),
        tag("h3", "Stages"),
        tag("div", table, class_="wide") if run.stages else tag("p", "The run left no stages.", class_="small muted"),
        attempts,
        id="made",
    )


def _stage(i: int, stage: Stage, aligned: tuple[str | None, ...]) -> Markup:
    gate = {True: "passed", False: "not passed", None: ""}[stage.passed]
    cells = (
        i,
        stage.title or stage.stage,
        "" if stage.nonzero_weights is None else f"{stage.nonzero_weights:,}",
        "" if stage.return_mean is None else number(stage.return_mean),
        interval(stage),
        "" if stage.violation_rate is None else broken(stage),
        "shipped" if stage.shipped else gate,
        duration(stage.seconds),
    )
    row = (tag("td", cell, class_=side) for cell, side in zip(cells, aligned, strict=True))
    return tag("tr", *row, class_="shipped" if stage.shipped else None)
