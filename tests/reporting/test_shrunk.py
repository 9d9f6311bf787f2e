"""The report of a shrink run: its words, each with its sample, and its page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from niwaki.reporting.answers import Bits
from niwaki.reporting.report import collect, render
from niwaki.reporting.run_folder import Exam, Run, Shrunk, read_run_folder
from niwaki.reporting.shrunk import answers, backing_section, lede, points, title, verdicts

from .browser import Browser

REASON = "the smallest that passed has 3 parameters, 2 were asked for"


@pytest.fixture
def run(shrunk_run: Callable[..., Path]) -> Run:
    return read_run_folder(shrunk_run()).run


def shrunk(run: Run, **changes: object) -> Shrunk:
    assert run.shrunk is not None
    return run.shrunk.model_copy(update=changes)


def exam(run: Run, **changes: object) -> Exam:
    assert run.shrunk is not None
    assert run.shrunk.exam is not None
    return run.shrunk.exam.model_copy(update=changes)


def test_the_headline_counts_weights_and_biases(run: Run) -> None:
    assert run.policy is not None
    assert str(title(run)) == f"<em>{run.policy.nonzero_parameters:,}</em> of 17,410 parameters do the job."
    assert "On 200 fresh episodes" in lede(run)


def test_a_run_that_found_nothing_small_enough_says_why(run: Run) -> None:
    short = run.model_copy(update={"reason": REASON})
    assert str(title(short)) == "Not <em>shrunk.</em>"
    assert lede(short) == f"The {REASON[4:]}. Below is the smallest that passed its exam."
    nothing = run.model_copy(
        update={"shipped": False, "policy": None, "reason": "no smaller network passed the trials"}
    )
    assert str(title(nothing)) == "Not <em>shrunk.</em>"
    assert lede(nothing).startswith("No smaller network passed the trials.")
    assert all(answer.value == "–" for answer in answers(nothing, None))


def test_every_answer_rests_on_the_exam_with_its_sample_and_its_bound(run: Run) -> None:
    shown = {answer.question: answer for answer in answers(run, Bits(1000, 0, True))}
    assert list(shown) == ["Smaller", "Faster", "As good", "Safe", "Same bits"]
    assert run.policy is not None
    assert float(shown["Smaller"].value.removesuffix("×")) == pytest.approx(17410 / run.policy.nonzero_parameters, 0.05)
    assert shown["As good"].value == "−0.5"
    assert shown["As good"].basis[0].startswith("it earns at most 1.25 less (95 %, one-sided); ")
    assert "over 200 scenarios that both flew" in shown["As good"].basis
    assert "at most 0.31 percentage points above the teacher's (95 %, one-sided)" in shown["Safe"].basis
    assert "no bound on the rate itself is certified" in shown["Safe"].basis
    bare = run.model_copy(update={"task": run.task.model_copy(update={"specs": ()})})
    assert answers(bare, None)[3].value == "–"


def test_only_an_exam_that_was_passed_bounds_anything(run: Run) -> None:
    proved, bounded, searched = verdicts(shrunk(run))
    assert (proved.said, bounded.said, searched.said) == ("no", "yes", "no")
    assert "earns at most 1.25 less, and violates at most 0.31 percentage points more often" in bounded.text
    assert "200 fresh episodes" in bounded.text
    better = exam(run, return_difference_lower=0.75)
    assert "earns at least 0.75 more" in verdicts(shrunk(run, exam=better))[1].text
    failed = exam(run, passed=False, reason="it may earn too little")
    assert verdicts(shrunk(run, exam=failed))[1].said == "no"
    assert verdicts(shrunk(run, exam=failed))[1].text == "Nothing is claimed: it may earn too little."
    assert verdicts(shrunk(run, exam=None))[1].text == "No exam was taken."


def test_a_bound_is_only_ever_rounded_to_the_worse(run: Run) -> None:
    for worst, words in (
        (-0.0012341, "at most 0.00124 less"),
        (0.0012349, "at least 0.00123 more"),
        (0.0, "at least 0 "),
    ):
        assert words in verdicts(shrunk(run, exam=exam(run, return_difference_lower=worst)))[1].text
    close = exam(run, rate_difference_upper=0.0012341)
    assert "at most 0.124 percentage points" in verdicts(shrunk(run, exam=close))[1].text
    assert points(0.005) == "0.5 percentage points"


def test_what_backs_what_counts_looks_and_exams(run: Run) -> None:
    one, many = str(backing_section(run, shrunk(run))), str(backing_section(run, shrunk(run, exams=3)))
    assert "It took 2 looks" in one
    assert "exams; each has" not in one
    assert "the last of 3 exams; each has a confidence of 95 % of its own" in many
    assert "they are no exam" in one
    assert "No certificate" in one


def test_the_page_shows_what_a_shrink_run_has_and_nothing_else(
    shrunk_run: Callable[..., Path], browser: Browser
) -> None:
    folder = shrunk_run()
    page = folder / "report.html"
    page.write_text(render(collect(folder, episodes=5)), encoding="utf-8")
    assert browser.complaints(page) == []
    shown = browser.ask(
        page,
        """return { headings: [...document.querySelectorAll("main h2")].map((h) => h.innerText),
          title: document.querySelector("h1").innerText, drawn: document.documentElement.dataset.drawn,
          words: [...document.querySelectorAll(".verdict b")].map((b) => b.innerText),
          asked: document.querySelector(".verdict li").innerText, marks: document.querySelectorAll("#front .front-mark").length,
          page: [document.documentElement.scrollWidth, document.documentElement.clientWidth] }""",
        width=390,
    )
    assert shown["headings"][0] == "Return against size"
    assert "What backs what" in shown["headings"]
    assert "The certificate" not in shown["headings"]
    assert shown["title"].endswith("parameters do the job.")
    assert shown["drawn"] == "all"
    assert shown["words"] == ["Asked for", "Proved", "Bounded", "No counterexample"]
    assert "at most 1 % of the teacher's return lost" in shown["asked"]
    assert shown["marks"] == 7
    assert shown["page"][0] == shown["page"][1]


def test_a_page_without_a_policy_still_shows_the_front(shrunk_run: Callable[..., Path], browser: Browser) -> None:
    folder = shrunk_run(
        shipped=False, reason="none of the smallest passed the exam", fronts__policy=None, fronts__knee=None
    )
    page = folder / "report.html"
    page.write_text(render(collect(folder)), encoding="utf-8")
    assert browser.complaints(page) == []
    text = browser.ask(page, "return document.body.innerText")
    assert "Not shrunk." in text
    assert "No policy passed, so none is recommended." in text
    assert browser.ask(page, "return document.querySelectorAll('#front .shipped-ring, #front .knee').length") == 0
