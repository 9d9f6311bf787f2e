"""Policies of every size side by side: a picture that tells its numbers, and the same rows as a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from niwaki.reporting.fronts import fronts_section, plotted_fronts, reason, same
from niwaki.reporting.report import collect, render
from niwaki.reporting.report_data import ReportData
from niwaki.reporting.run_folder import Fronts

from .browser import Browser

MARKS = """const home = document.getElementById("front");
const marks = () => [...home.querySelectorAll(".front-mark")];
const place = (mark) => { const hit = mark.querySelector("circle"); return [Number(hit.getAttribute("cx")), Number(hit.getAttribute("cy"))]; };
const chosen = (axis, value) => {
  const choice = home.querySelectorAll("select")[axis];
  choice.value = value; choice.dispatchEvent(new window.Event("change"));
};
"""


@pytest.fixture(scope="module")
def fronts(cartpole_run: Path) -> Fronts:
    return Fronts.model_validate(json.loads((cartpole_run / "run.json").read_text())["fronts"])


def test_every_row_is_a_mark_at_its_place_on_every_choice_of_axes(
    cartpole_page: Path, fronts: Fronts, browser: Browser
) -> None:
    shown = browser.ask(
        cartpole_page,
        MARKS
        + """const found = [];
        for (const across of [0, 1, 2]) for (const up of [0, 1]) {
          chosen(0, across); chosen(1, up);
          found.push(marks().map((mark) => [mark.getAttribute("aria-label"), ...place(mark)]));
        }
        return found""",
    )
    rows = [row for series in fronts.series for row in series.rows]
    pairs = [(a, b) for a in ("nonzero_parameters", "bytes", "ns_per_call") for b in ("return_mean", "violation_rate")]
    by_size = {f"{row.nonzero_parameters:,} parameters": row for row in rows}
    for (across, up), marks in zip(pairs, shown, strict=True):
        assert len(marks) == len(rows)
        told = [next(row for size, row in by_size.items() if f" {size}," in label) for label, _, _ in marks]
        places = np.array([mark[1:] for mark in marks])
        sizes, merits = (np.array([getattr(row, key) for row in told]) for key in (across, up))
        assert np.corrcoef(places[:, 0], np.log(sizes))[0, 1] == pytest.approx(1)
        assert np.corrcoef(-places[:, 1], merits)[0, 1] == pytest.approx(1)


def test_a_baseline_that_is_far_off_is_drawn_at_the_edge_with_its_number(
    changed_run: Callable[..., Path], fronts: Fronts, browser: Browser
) -> None:
    fallen = fronts.series[-1].rows[0].model_dump() | {"return_mean": -3000.0, "return_low": -3100.0, "return_high": -2900.0, "violation_rate": 1.0}  # fmt: skip
    safe = [row.model_dump() | {"violation_rate": 0.01} for each in fronts.series[:-1] for row in each.rows]
    series = [{"name": "shaped", "rows": safe}, {"name": "direct distillation", "rows": [fallen]}]
    teacher = fronts.teacher.model_dump() | {"violation_rate": 0.01}
    folder = changed_run(fronts__series=series, fronts__teacher=teacher)
    page = folder / "far.html"
    page.write_text(render(collect(folder, episodes=3)), encoding="utf-8")
    shown = browser.ask(
        page,
        MARKS
        + """const found = [];
        for (const up of [0, 1]) {
          chosen(1, up);
          found.push({ beyond: [...home.querySelectorAll(".beyond text")].map((text) => text.textContent),
            places: marks().map((mark) => place(mark)[1]), level: Number(home.querySelector(".plot .teacher-line").getAttribute("y1")) });
        }
        return found""",
    )
    returns, rates = shown
    assert returns["beyond"] == ["\u22123,000"]
    assert rates["beyond"] == ["100 %"]
    assert max(returns["places"]) <= 400  # of the picture's plain, above its axis
    assert max(returns["places"]) - returns["level"] > 100
    assert min(rates["places"]) >= 44


def test_a_mark_tells_its_numbers_to_the_pointer_and_to_the_keyboard(cartpole_page: Path, browser: Browser) -> None:
    shown = browser.ask(
        cartpole_page,
        MARKS
        + """const mark = marks().at(-1), tip = home.querySelector(".tip"), said = [tip.hidden];
        mark.dispatchEvent(new window.PointerEvent("pointerenter")); said.push(tip.textContent);
        mark.dispatchEvent(new window.PointerEvent("pointerleave")); said.push(tip.hidden);
        mark.focus(); said.push(tip.hidden, tip.textContent);
        mark.dispatchEvent(new window.KeyboardEvent("keydown", { key: "Escape" })); said.push(tip.hidden);
        return { said, label: mark.getAttribute("aria-label"), steps: marks().map((m) => m.getAttribute("tabindex")) }""",
    )
    hidden, pointed, left, focused, told, silenced = shown["said"]
    assert (hidden, left, focused, silenced) == (True, True, False, True)
    assert pointed == told
    for words in ("parameters", "weights", "bytes", "ns a call", "return ", "[", "violations", "of 200 episodes"):
        assert words in told
        assert words in shown["label"]
    assert set(shown["steps"]) == {"0"}


def test_series_differ_in_shape_and_what_was_shipped_and_the_knee_are_marked_and_named(
    cartpole_page: Path, fronts: Fronts, browser: Browser
) -> None:
    shown = browser.ask(
        cartpole_page,
        MARKS
        + """const named = (kind) => marks().filter((mark) => mark.querySelector(kind)).map((mark) => mark.getAttribute("aria-label"));
        return { ring: named(".shipped-ring"), knee: named(".knee"), squares: named("rect.direct").length,
          words: [...home.querySelectorAll(".halo")].map((text) => text.textContent),
          band: home.querySelectorAll(".plot .teacher-band").length, level: home.querySelectorAll(".plot .teacher-line").length,
          legend: home.querySelector(".legend").innerText }""",
    )
    assert fronts.policy is not None
    assert fronts.knee is not None
    (ring,), (knee,) = shown["ring"], shown["knee"]
    assert ring.startswith(f"shaped: shipped, {fronts.policy.nonzero_parameters:,} parameters")
    assert knee.startswith(f"shaped: the knee, {fronts.knee.nonzero_parameters:,} parameters")
    assert shown["squares"] == len(fronts.series[-1].rows)
    assert {"shipped", "the knee"} <= set(shown["words"])
    assert (shown["band"], shown["level"]) == (1, 1)
    for name in ("shaped: 4", "whittled: 1", "direct distillation: 2", "teacher: 17,410 parameters"):
        assert name in shown["legend"]


def test_the_choice_of_an_axis_keeps_the_focus(cartpole_page: Path, browser: Browser) -> None:
    focused = browser.ask(
        cartpole_page,
        MARKS + "home.querySelector('select').focus(); chosen(0, 1); return document.activeElement.tagName",
    )
    assert focused == "SELECT"


@pytest.mark.parametrize("width", [390, 1280])
def test_no_word_of_the_picture_covers_another(cartpole_page: Path, browser: Browser, width: int) -> None:
    covered = browser.ask(
        cartpole_page,
        MARKS
        + """const boxes = [...home.querySelectorAll(".plot text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
        return boxes.flatMap(([a, p], i) => boxes.slice(i + 1).filter(([, q]) =>
          p.left < q.right && q.left < p.right && p.top + 2 < q.bottom && q.top + 2 < p.bottom).map(([b]) => [a, b]))""",
        width=width,
    )
    assert covered == []


def test_the_table_has_the_same_rows(cartpole_data: ReportData, fronts: Fronts) -> None:
    text = str(fronts_section(cartpole_data.run))
    rows = [fronts.teacher, *(row for series in fronts.series for row in series.rows)]
    assert text.count("<tr") == 1 + len(rows)
    for row in rows:
        assert f'<td class="n">{row.nonzero_parameters:,}</td><td class="n">{row.nonzero_weights:,}</td>' in text
    assert text.count(">shipped<") == text.count(">knee<") == 1


def test_the_knee_is_told_with_its_rule_and_its_file(fronts: Fronts) -> None:
    assert fronts.knee is not None
    said = reason(fronts)
    assert said.startswith(
        f"The knee is at {fronts.knee.nonzero_parameters:,} parameters, which is not what was shipped"
    )
    assert "at most 2 % below the best" in said
    assert "at most 0.5 % of episodes more than the safest" in said
    assert said.endswith(f"Its network is {fronts.knee.file}.")
    shipped = fronts.model_copy(update={"knee": fronts.policy})
    assert "which is what was shipped" in reason(shipped)
    assert "safetensors" not in reason(shipped)
    assert reason(fronts.model_copy(update={"knee": None})) == "No policy passed, so none is recommended."


def test_what_was_shipped_is_shown_where_a_smaller_one_keeps_it_off_the_front(fronts: Fronts) -> None:
    rows = [row for series in fronts.series for row in series.rows if not same(row, fronts.policy)]
    without = fronts.model_copy(update={"series": (fronts.series[0].model_copy(update={"rows": tuple(rows)}),)})
    shown = plotted_fronts(without)["rows"]
    assert isinstance(shown, list)
    assert [row["series"] for row in shown if row["shipped"]] == ["shipped"]
    assert len(shown) == len(rows) + 1


def test_without_times_there_is_no_axis_of_times(changed_run: Callable[..., Path], browser: Browser) -> None:
    folder = changed_run()
    run = json.loads((folder / "run.json").read_text())
    for series in run["fronts"]["series"]:
        for row in series["rows"]:
            row["ns_per_call"] = None
    (folder / "run.json").write_text(json.dumps(run))
    page = folder / "report.html"
    page.write_text(render(collect(folder, episodes=3)), encoding="utf-8")
    assert browser.complaints(page) == []
    assert browser.ask(page, "return document.querySelector('#front select').options.length") == 2


HOSTILE = "</script><script>document.title = 'owned'</script><img src=x onerror=alert(1)>"


def test_hostile_names_are_shown_as_text(changed_run: Callable[..., Path], browser: Browser) -> None:
    folder = changed_run()
    run = json.loads((folder / "run.json").read_text())
    run["fronts"]["series"][0]["name"] = "__proto__"
    for series in run["fronts"]["series"][1:]:
        series["name"] = HOSTILE
    for part in (run["fronts"]["knee"], run["fronts"]["policy"], *run["fronts"]["series"][1]["rows"]):
        part["file"] = HOSTILE
    (folder / "run.json").write_text(json.dumps(run))
    page = folder / "report.html"
    page.write_text(render(collect(folder, episodes=3)), encoding="utf-8")
    assert browser.complaints(page) == []
    shown = browser.ask(
        page,
        MARKS
        + """marks().at(-1).focus();
        return { title: document.title, tip: home.querySelector(".tip").textContent, legend: home.querySelector(".legend").innerText,
          cell: document.querySelector("#front-section tbody tr:last-child td").innerText, scripts: document.querySelectorAll("script").length,
          strange: document.querySelectorAll("img[onerror]").length }""",
    )
    assert shown["title"].startswith("niwaki: ")
    assert (shown["scripts"], shown["strange"]) == (2, 0)
    for place in ("tip", "legend", "cell"):
        assert HOSTILE in shown[place]
