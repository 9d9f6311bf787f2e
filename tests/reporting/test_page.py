"""The report as a reader sees it: Chromium draws it, and the test looks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from niwaki.reporting.report import collect, render
from niwaki.reporting.report_data import ReportData
from niwaki.reporting.run_folder import Claim

from .browser import Browser


def test_the_file_refers_to_nothing_outside_itself(cartpole_page: Path) -> None:
    text = cartpole_page.read_text(encoding="utf-8")
    assert len(text.encode()) < 2_000_000
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, nothing is fetched from it
    assert not re.search(r"@import|url\(|<link|<iframe", text)
    sources = re.findall(r"""\bsrc="([^"]*)""", text)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_the_page_forbids_the_network_and_foreign_scripts(cartpole_page: Path, browser: Browser) -> None:
    assert "default-src &#x27;none&#x27;" in cartpole_page.read_text(encoding="utf-8")
    added = cartpole_page.with_name("added.html")
    text = cartpole_page.read_text(encoding="utf-8")
    added.write_text(text.replace("</body>", "<script>document.title = 'taken over'</script></body>"), encoding="utf-8")
    assert browser.ask(added, "return document.title") == browser.ask(cartpole_page, "return document.title")


def test_the_script_runs_without_a_complaint(cartpole_page: Path, browser: Browser) -> None:
    assert browser.complaints(cartpole_page) == []
    assert browser.ask(cartpole_page, "return document.documentElement.dataset.drawn") == "all"
    broken = cartpole_page.with_name("broken.html")
    broken.write_text("<script>undefinedFunction()</script>")
    assert browser.complaints(broken)


def test_the_first_screen_says_what_was_shipped_in_three_words(
    cartpole_page: Path, cartpole_run: Path, browser: Browser
) -> None:
    run = json.loads((cartpole_run / "run.json").read_text())
    shown = browser.ask(
        cartpole_page,
        """return {
          title: document.querySelector("h1").innerText,
          words: [...document.querySelectorAll(".verdict li")].map((row) => row.innerText.split(/\\s*\\n\\s*|\\t/)),
          answers: [...document.querySelectorAll(".answers > div")].map((cell) =>
            ["dt", ".value", ".unit"].map((part) => cell.querySelector(part).innerText)),
        }""",
    )
    left, total = run["policy"]["nonzero_weights"], run["teacher"]["nonzero_weights"]
    assert " ".join(shown["title"].split()) == f"{total:,} weights became {left:,}."
    assert [row[0] for row in shown["words"]] == ["Asked for", "Proved", "Bounded", "No counterexample"]
    assert shown["words"][1][1].startswith("Nothing.")
    assert (
        shown["words"][3][1]
        == "None is left, in 2,050 simulations that looked for one; 7 were found on the way, and mended."
    )
    questions, values, _ = zip(*shown["answers"], strict=True)
    assert questions == ("Smaller", "Faster", "As good", "Safe", "Same bits")
    assert values[0] == f"{total / left:.1f}×"
    assert float(values[1].removesuffix("×")) == pytest.approx(
        run["teacher"]["ns_per_call"] / run["policy"]["ns_per_call"], rel=0.05
    )
    difference = run["paired_difference"]["return_mean"]
    assert float(values[2].replace("−", "-").replace(",", "")) == pytest.approx(difference, rel=0.01)
    assert float(values[3].removesuffix(" %")) == pytest.approx(100 * run["policy"]["violation_rate"])
    assert values[4] == "20,000"


def test_the_path_has_a_point_for_every_measured_stage_and_a_ring_around_the_shipped_one(
    cartpole_page: Path, cartpole_run: Path, browser: Browser
) -> None:
    stages = [s for s in json.loads((cartpole_run / "run.json").read_text())["stages"] if "return_mean" in s]
    shown = browser.ask(
        cartpole_page,
        """const marks = [...document.querySelectorAll("#path .stage-mark")];
        const centre = (shape) => [Number(shape.getAttribute("cx")), Number(shape.getAttribute("cy"))];
        return {
          dots: marks.map((mark) => [...mark.querySelectorAll(".path-dot")].map(centre)),
          rings: marks.map((mark) => [...mark.querySelectorAll(".shipped-ring")].map(centre)),
          said: document.querySelector("#path svg").textContent,
        }""",
    )
    dots = np.array(shown["dots"])  # [stage, return or rate, x or y]
    assert len(dots) == len(stages)
    weights, returns, rates = (
        np.array([s[key] for s in stages], dtype=float) for key in ("nonzero_weights", "return_mean", "violation_rate")
    )
    assert np.corrcoef(dots[:, 0, 0], -np.log(weights))[0, 1] == pytest.approx(1)
    assert np.corrcoef(dots[:, 0, 1], -returns)[0, 1] == pytest.approx(1)
    assert np.corrcoef(dots[:, 1, 1], -rates)[0, 1] == pytest.approx(1)
    expected = [dots[i].tolist() if s["shipped"] else [] for i, s in enumerate(stages)]
    assert shown["rings"] == expected
    assert "asked for 475" in shown["said"]


def test_pointing_at_a_stage_tells_its_numbers(cartpole_page: Path, browser: Browser) -> None:
    shown = browser.ask(
        cartpole_page,
        """const mark = document.querySelectorAll("#path .stage-mark")[4], tip = document.querySelector("#path .tip");
        const before = tip.hidden;
        mark.dispatchEvent(new window.PointerEvent("pointerenter"));
        const said = tip.textContent, box = tip.getBoundingClientRect();
        mark.dispatchEvent(new window.PointerEvent("pointerleave"));
        return { before, said, after: tip.hidden, width: box.width, tabindex: mark.getAttribute("tabindex") }""",
    )
    assert (shown["before"], shown["after"], shown["tabindex"]) == (True, True, "0")
    assert "5. prune 95.0%" in shown["said"]
    assert "of 200 episodes" in shown["said"]
    assert "did not pass its gate" in shown["said"]
    assert shown["width"] > 100


def test_every_layer_is_drawn_for_teacher_and_policy(cartpole_page: Path, browser: Browser) -> None:
    sizes = browser.ask(
        cartpole_page,
        "return [...document.querySelectorAll('#weights img')].map((i) => [i.naturalWidth, i.naturalHeight, i.alt])",
    )
    assert [size[:2] for size in sizes] == [[4, 128], [128, 128], [128, 2]] * 2
    assert sizes[0][2].startswith("teacher, layer 1: 512 of 512")
    assert sizes[3][2].startswith("shipped, layer 1: ")


def test_the_animation_moves_and_the_slider_moves_it(
    cartpole_page: Path, cartpole_data: ReportData, browser: Browser
) -> None:
    shown = browser.ask(
        cartpole_page,
        """// without a screen no frame is ever due, so a timer says when one is
        window.requestAnimationFrame = (draw) => window.setTimeout(() => draw(window.performance.now()), 16);
        const home = document.getElementById("flights"), button = home.querySelector(".play");
        const slider = home.querySelector("input"), cart = () => home.querySelector(".stage .body-policy").getAttribute("d");
        if (button.textContent === "Pause") button.click();
        const moveTo = (frame) => { slider.value = frame; slider.dispatchEvent(new window.Event("input")); return cart(); };
        const first = moveTo(0), last = moveTo(Number(slider.max));
        moveTo(0);
        button.click();
        const frames = [];
        for (let i = 0; i < 5; i++) { await wait(150); frames.push(Number(home.dataset.frame)); }
        return { first, last, frames, frame_count: Number(slider.max) + 1, cases: home.querySelectorAll(".cases button").length }""",
    )
    assert shown["first"] != shown["last"]
    assert shown["frames"] == sorted(shown["frames"])
    assert shown["frames"][-1] > shown["frames"][0]
    assert cartpole_data.flown is not None
    assert shown["frame_count"] == len(cartpole_data.flown.cases[0].steps)
    assert shown["cases"] == len(cartpole_data.flown.cases) == 6


def test_the_recovery_state_is_marked_where_it_is_known(
    cartpole_page: Path, cartpole_data: ReportData, browser: Browser
) -> None:
    assert cartpole_data.flown is not None
    known = [case.recovery is not None for case in cartpole_data.flown.cases]
    assert any(known)
    marked = browser.ask(
        cartpole_page,
        """return [...document.querySelectorAll("#flights .cases button")].map((button) => {
          button.click();
          return document.querySelectorAll("#flights .recovery-state").length > 0;
        })""",
    )
    assert marked == known


def test_the_map_shows_every_start_with_its_outcome_and_other_axes_on_request(
    cartpole_page: Path, cartpole_data: ReportData, browser: Browser
) -> None:
    assert cartpole_data.flown is not None
    starts = cartpole_data.flown.starts
    shown = browser.ask(
        cartpole_page,
        """const home = document.getElementById("starts");
        const count = (kind) => home.querySelectorAll(`:scope > svg > .${kind}`).length;
        const axis = () => [...home.querySelectorAll(":scope > svg text.strong")].map((text) => text.textContent);
        const counts = ["safe", "counterexample", "both", "teacher"].map(count), before = axis();
        const choice = home.querySelectorAll("select")[0];
        choice.value = (Number(choice.value) + 1) % choice.options.length;
        choice.dispatchEvent(new window.Event("change"));
        return { counts, before, after: axis(), points: count("safe") + count("counterexample") + count("both") + count("teacher") }""",
    )
    assert shown["counts"] == [int((starts.outcomes == k).sum()) for k in range(4)]
    assert shown["counts"][0] > 0
    assert shown["counts"][1] > 0
    assert shown["points"] == len(starts.values)
    assert shown["before"][0] == shown["after"][0]
    assert shown["before"][1] != shown["after"][1]


def test_the_tube_shows_the_signal_that_is_chosen(cartpole_page: Path, browser: Browser) -> None:
    shown = browser.ask(
        cartpole_page,
        """const home = document.getElementById("tube"), choice = home.querySelector("select");
        const title = () => home.querySelector("svg[role=img]").getAttribute("aria-label");
        const before = title();
        choice.value = 2;
        choice.dispatchEvent(new window.Event("change"));
        return [before, title(), home.querySelector(".band-wide[d]").getAttribute("d").length]""",
    )
    assert shown[0] == "Range of x over 60 episodes, teacher and shipped policy"
    assert shown[1] == "Range of theta over 60 episodes, teacher and shipped policy"
    assert shown[2] > 100


@pytest.mark.parametrize("width", [390, 1280, 1440])
def test_nothing_sticks_out_to_the_side(cartpole_page: Path, browser: Browser, width: int) -> None:
    script = "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
    needed, available = browser.ask(cartpole_page, script, width=width)
    assert needed == available
    assert width - 20 <= available <= width  # but for a scroll bar


def test_every_picture_says_what_it_shows(cartpole_page: Path, browser: Browser) -> None:
    silent = browser.ask(
        cartpole_page,
        """const said = (shape) => shape.getAttribute("aria-label") || shape.getAttribute("alt") || shape.getAttribute("aria-hidden") !== null;
        return [...document.querySelectorAll("svg, img, input")].filter((shape) => !said(shape)).map((shape) => shape.outerHTML.slice(0, 80))""",
    )
    assert silent == []


def test_the_page_is_light_or_dark_as_the_reader_likes_it(cartpole_page: Path, browser: Browser) -> None:
    script = "return window.getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert min(browser.ask(cartpole_page, script)) > 240
    assert max(browser.ask(cartpole_page, script, dark=True)) < 40


def test_it_prints_on_a4(cartpole_page: Path, browser: Browser) -> None:
    pdf = browser.print_pdf(cartpole_page)
    sizes = {tuple(round(float(v)) for v in box.split()) for box in re.findall(rb"/MediaBox \[([\d. ]+)\]", pdf)}
    assert sizes == {(0, 0, 595, 842)}
    assert 3 <= len(re.findall(rb"/Type /Page\b", pdf)) <= 12


HOSTILE = "</script><script>document.title = 'owned'</script><img src=x onerror=alert(1)>&lt;\u2028"


def test_hostile_names_are_shown_as_text(changed_run: Callable[..., Path], browser: Browser) -> None:
    folder = changed_run(
        task__title=HOSTILE, reason=HOSTILE, niwaki=HOSTILE, command=[HOSTILE], attempts=[{"reason": HOSTILE}]
    )
    run = json.loads((folder / "run.json").read_text())
    run["versions"] = {HOSTILE: HOSTILE}
    run["teacher"]["violations"] = {HOSTILE: 3}
    for stage in run["stages"]:
        stage |= {"title": HOSTILE, "stage": HOSTILE, "violations": {HOSTILE: 3}}
    (folder / "run.json").write_text(json.dumps(run))
    page = folder / "report.html"
    page.write_text(render(collect(folder, episodes=5)), encoding="utf-8")
    shown = browser.ask(
        page,
        """document.querySelector("#path .stage-mark").dispatchEvent(new window.PointerEvent("pointerenter"));
        return {
          title: document.title, kicker: document.querySelector(".kicker").innerText,
          stage: document.querySelector("#made tbody td:nth-child(2)").innerText,
          spec: [...document.querySelectorAll("#violations th")].map((cell) => cell.innerText),
          tip: document.querySelector("#path .tip").textContent, scripts: document.querySelectorAll("script").length,
          strange: document.querySelectorAll("img[onerror]").length,
        }""",
    )
    visible = HOSTILE.replace("\u2028", "")
    assert shown["title"].startswith("niwaki: </script>")
    assert visible[:60] in shown["kicker"]
    assert visible[:60] in shown["stage"]
    assert any(visible[:60] in name for name in shown["spec"])
    assert visible[:60] in shown["tip"]
    assert (shown["scripts"], shown["strange"]) == (2, 0)


def test_missing_parts_are_named_instead_of_drawn(cartpole_data: ReportData, tmp_path: Path, browser: Browser) -> None:
    run = cartpole_data.run.model_copy(update={"stages": (), "search_simulations": 0, "paired_difference": None})
    page = tmp_path / "bare.html"
    page.write_text(render(replace(cartpole_data, run=run, claim=Claim(None), bits=None)), encoding="utf-8")
    assert browser.complaints(page) == []
    text = browser.ask(page, "return document.body.innerText")
    for sentence in (
        "No stage of this run was measured",
        "No stage of this run was judged",
        "No certificate was made.",
        "This run made no certificate",
        "No search was made.",
        "not compared with the teacher",
        "The run left no stages.",
    ):
        assert sentence in text


def test_a_run_that_shipped_nothing_says_so_and_why(changed_run: Callable[..., Path], browser: Browser) -> None:
    folder = changed_run(shipped=False, reason="the bound 0.4 is above the allowed risk 0.01", policy=None)
    page = folder / "report.html"
    page.write_text(render(collect(folder)), encoding="utf-8")
    assert browser.complaints(page) == []
    shown = browser.ask(page, "return [document.querySelector('h1').innerText, document.body.innerText]")
    assert shown[0] == "Not shipped."
    assert "The bound 0.4 is above the allowed risk 0.01." in shown[1]
    assert shown[1].count("Not shown: nothing was shipped") == 3


def test_the_same_data_give_the_same_page(cartpole_data: ReportData, cartpole_run: Path) -> None:
    assert render(cartpole_data) == render(collect(cartpole_run, episodes=60))
