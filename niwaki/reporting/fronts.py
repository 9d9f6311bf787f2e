"""The picture of the fronts, policies of every size side by side, and the same rows as a table."""

from __future__ import annotations

from niwaki.reporting.markup import Markup, tag
from niwaki.reporting.run_folder import Fronts, PolicyRow, Run
from niwaki.reporting.wording import broken, count, interval, number, percent

TITLE = "Return against size"
HEADS = ("", "parameters", "weights", "bytes", "ns a call", "return", "95 %", "violations", "", "network")
ALIGNED = (None, "n", "n", "n", "n", "n", "n", "n", None, None)


def fronts_section(run: Run) -> Markup | None:
    """The figure that the script draws, the knee in words, and a table; None for a run that has no fronts."""
    fronts = run.fronts
    if fronts is None:
        return None
    which = (
        "Each dot is a policy that passed a trial and that no smaller one matches in return and violations"
        if run.shrunk
        else "Each dot is a policy that passed a trial on the way down: shaped, then whittled number by number"
    )
    note = (
        f"{which}. Squares are dense networks of growing width that learned from the teacher's own flights and from "
        f"nothing else. All flew the same {fronts.teacher.episodes:,} episodes. Parameters are the weights and biases "
        "that are not zero. Point at a mark, or go there with the Tab key, for its numbers."
    )
    lines = [_row(name, row, fronts) for name, row in (("teacher", fronts.teacher), *_shown(fronts))]
    head = tag("tr", *(tag("th", text, class_=side) for text, side in zip(HEADS, ALIGNED, strict=True)))
    table = tag("table", tag("thead", head), tag("tbody", *lines))
    return tag(
        "section",
        tag("h2", TITLE),
        tag("p", note, class_="note"),
        tag("figure", id="front"),
        tag("p", reason(fronts)),
        tag("div", table, class_="wide"),
        id="front-section",
    )


def reason(fronts: Fronts) -> str:
    """Why the knee is the one that is recommended."""
    knee, rule = fronts.knee, fronts.rule
    if knee is None:
        return "No policy passed, so none is recommended."
    file = "" if not knee.file or same(knee, fronts.policy) else f" Its network is {knee.file}."
    who = "which is what was shipped" if same(knee, fronts.policy) else "which is not what was shipped"
    return (
        f"The knee is at {count(knee.nonzero_parameters, 'parameter')}, {who}: of what was shipped and what is larger, "
        f"the smallest whose return is at most {percent(rule.return_loss)} below the best, among those that break a "
        f"specification in at most {percent(rule.more_violations)} of episodes more than the safest.{file}"
    )


def same(a: PolicyRow, b: PolicyRow | None) -> bool:
    """Whether two rows are about the same network."""
    return b is not None and (a.file == b.file if a.file or b.file else a == b)


def plotted_fronts(fronts: Fronts) -> dict[str, object]:
    """What the script draws: the teacher, and rows with their series and whether each is the shipped one, the knee."""
    rows = [
        row.model_dump() | {"series": name, "shipped": same(row, fronts.policy), "knee": same(row, fronts.knee)}
        for name, row in _shown(fronts)
    ]
    return {"teacher": fronts.teacher.model_dump(), "rows": rows}


def _shown(fronts: Fronts) -> list[tuple[str, PolicyRow]]:
    """Every row with the name of its series; the shipped policy too where a smaller one keeps it off the front."""
    rows = [
        (series.name, row)
        for series in fronts.series
        for row in sorted(series.rows, key=lambda row: row.nonzero_parameters)
    ]
    policy = fronts.policy
    if policy is not None and not any(same(row, policy) for _, row in rows):
        rows.append(("shipped", policy))
    return rows


def _row(name: str, row: PolicyRow, fronts: Fronts) -> Markup:
    shipped, knee = same(row, fronts.policy), same(row, fronts.knee)
    cells = (
        name,
        f"{row.nonzero_parameters:,}",
        f"{row.nonzero_weights:,}",
        f"{row.bytes:,}",
        number(row.ns_per_call),
        number(row.return_mean),
        interval(row),
        broken(row),
        " · ".join(["shipped"] * shipped + ["knee"] * knee),
        tag("code", row.file) if row.file else "",
    )
    line = (tag("td", cell, class_=side) for cell, side in zip(cells, ALIGNED, strict=True))
    return tag("tr", *line, class_="shipped" if shipped else None)
