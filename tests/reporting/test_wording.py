"""Words of the report: each claim with its sample, nothing that was not shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from niwaki.certification.certificate import Certificate
from niwaki.reporting.answers import Answer, Bits, answers
from niwaki.reporting.run_folder import Claim, Run
from niwaki.reporting.verdict import headline, lede, verdicts
from niwaki.reporting.wording import percent

ROW = {
    "weights": 1000, "nonzero_weights": 1000, "parameters": 1100, "nonzero_parameters": 1100, "bytes": 4400, "ns_per_call": 500.0, "episodes": 200,
    "return_mean": 250.0, "return_low": 240.0, "return_high": 260.0, "violations": {"safe": 2}, "violation_rate": 0.01,
}  # fmt: skip
SHIPPED = ROW | {"nonzero_weights": 40, "bytes": 200, "ns_per_call": 40.0, "return_mean": 251.0}
DIFFERENCE = {"episodes": 200, "return_mean": 1.0, "return_low": -0.5, "return_high": 2.5, "violation_rate": 0.0}


def run(**changes: Any) -> Run:
    values = {
        "format": 1,
        "task": {"name": "t", "title": "T", "return_threshold": 200.0, "risk": 0.02, "confidence": 0.99},
        "shipped": True,
        "teacher": ROW,
        "policy": SHIPPED,
        "pruned": 0.96,
        "pruned_with_biases": 0.9,
        "paired_difference": DIFFERENCE,
        "search_simulations": 100,
    }
    return Run.model_validate(values | changes)


@pytest.fixture
def certificate(cartpole_data) -> Certificate:
    found: Certificate | None = cartpole_data.claim.certificate
    if found is None:
        pytest.skip("needs a C compiler")
    return replace(found, claimed=True, reason=None, bound=0.0123456, violations=3, episodes=900)


def word(shown: Run, claim: Claim, name: str) -> tuple[str, str]:
    return next((v.said, v.text) for v in verdicts(shown, claim) if v.word == name)


def answer(name: str, shown: Run, bits: Bits | None = None, claim: Claim | None = None) -> Answer:
    return next(a for a in answers(shown, bits, claim or Claim(None)) if a.question == name)


def test_the_headline_counts_what_is_left() -> None:
    assert headline(run()) == "1,000 weights became 40."
    assert "2 of 200 episodes" in lede(run())


def test_what_was_not_shipped_is_not_called_smaller() -> None:
    refused = run(shipped=False, reason="the return is too low", policy=ROW)
    assert headline(refused) == "Not shipped."
    assert lede(refused).startswith("The return is too low.")
    assert all(a.value == "–" for a in answers(refused, None, Claim(None)))


def test_nothing_is_ever_called_proved(certificate) -> None:
    assert word(run(), Claim(certificate), "Proved")[0] == "no"


def test_a_bound_is_told_with_its_confidence_and_sample_and_never_rounded_down(certificate) -> None:
    said, text = word(run(), Claim(certificate), "Bounded")
    assert said == "yes"
    assert "At most 1.24 % of runs" in text  # 1.23456 rounded up
    assert "confidence 99 %" in text
    assert "3 violations in 900 fresh episodes" in text


@pytest.mark.parametrize(
    ("change", "said", "words"),
    [
        (lambda c: Claim(None), "no", "No certificate was made."),
        (lambda c: Claim(None, "it was changed"), "alarm", "No: it was changed."),
        (lambda c: Claim(c, None, ("policy.c",)), "alarm", "policy.c changed after it was certified"),
        (lambda c: Claim(replace(c, claimed=False, reason="too little")), "no", "Nothing is claimed: too little."),
    ],
)
def test_without_a_sound_certificate_nothing_is_bounded(certificate, change, said, words) -> None:
    claim = change(certificate)
    found = word(run(), claim, "Bounded")
    assert found[0] == said
    assert words in found[1]
    assert "no bound is certified" in answer("Safe", run(), None, claim).basis[-1]


def test_the_search_says_how_often_it_tried() -> None:
    assert word(run(), Claim(None), "No counterexample") == ("yes", "None in 100 simulations that looked for one.")
    assert word(run(search_simulations=0), Claim(None), "No counterexample")[0] == "no"
    mended = run(counterexamples_found=5)
    assert "5 were found on the way, and mended" in word(mended, Claim(None), "No counterexample")[1]
    left = run(counterexamples_found=5, counterexamples_left=2)
    assert word(left, Claim(None), "No counterexample")[0] == "alarm"
    assert "2 of the 5" in word(left, Claim(None), "No counterexample")[1]


def test_every_answer_is_a_number_with_what_it_rests_on() -> None:
    shown = {a.question: a for a in answers(run(), Bits(1000, 0, True), Claim(None))}
    assert shown["Smaller"].value == "25×"
    assert "1,000 → 40 weights, counted" in shown["Smaller"].basis
    assert shown["Faster"].value == "12.5×"
    assert (shown["As good"].value, shown["As good"].alarm) == ("+1", False)
    assert "95 % interval [−0.5, +2.5]" in shown["As good"].basis
    assert "over 200 scenarios that both flew" in shown["As good"].basis
    assert (shown["Safe"].value, shown["Safe"].alarm) == ("1 %", False)
    assert (shown["Same bits"].value, shown["Same bits"].unit) == ("1,000", "inputs, none differs")


def test_an_answer_that_is_no_is_marked() -> None:
    assert answer("As good", run(policy=SHIPPED | {"return_mean": 199.0})).alarm
    assert answer("Safe", run(policy=SHIPPED | {"violation_rate": 0.03})).alarm
    assert answer("Same bits", run(), Bits(1000, 7, True)).alarm
    assert answer("Same bits", run(), Bits(1000, 7, True)).value == "7"
    assert answer("Same bits", run(), Bits(1000, 0, False)).value == "no"


def test_what_was_not_measured_is_a_dash() -> None:
    assert answer("Faster", run(policy=SHIPPED | {"ns_per_call": None})).value == "–"
    assert answer("As good", run(paired_difference=None)).value == "–"
    assert answer("Same bits", run(), Bits(0, 0, True)).value == "–"


@pytest.mark.parametrize("rate", [0.0, 1e-9, 0.00999, 0.01, 0.5, 0.994, 0.99996, 1 - 1e-12, 1.0])
def test_only_all_is_a_hundred_percent_and_only_none_is_zero(rate: float) -> None:
    shown = float(percent(rate).removesuffix(" %"))
    assert (shown == 0) == (rate == 0)
    assert (shown == 100) == (rate == 1)
    assert shown == pytest.approx(100 * rate, rel=0.05)
