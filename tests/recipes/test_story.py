"""The story of a run: what a stage has found, in one line, and as the rows that the report draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.recipes.ledger import Facts, Ledger, Stage
from niwaki.recipes.story import as_facts, counterexample, in_words, story
from niwaki.tasks import load_task
from niwaki.types import Counterexample

NETWORK = NetworkPolicy((Layer(np.array([[1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 3.0]]), np.array([0.0, 4.0])),))
VIOLATIONS = {"position": 2, "momentum": 0, "angle": 0}
ROW: Facts = {"return_mean": 199.5, "episodes": 1000, "violation_rate": 0.002, "violations": VIOLATIONS}
VERDICT: Facts = {"passed": True, "reason": "", "episodes": 200, "return_mean": 198.0, "violation_rate": 0.01}
ORDER: Facts = {"seed": 3, "return_threshold": 195, "risk": 0.001, "confidence": 0.999999}
STAGES: dict[str, tuple[Facts, NetworkPolicy | None]] = {
    "teacher": ({"teacher": ROW}, None),
    "shape 1": ({"step": {"kind": "grow", "size": 4}, "verdict": VERDICT}, NETWORK),
    "shape 2": ({"step": {"kind": "thin", "size": 2}, "verdict": VERDICT | {"passed": False}}, NETWORK),
    "search 1.0": ({"simulations": 2050, "failures": 7, "counterexamples": []}, NETWORK),
    "repair 1.0": ({"counterexamples": 7, "corrected": 6, "accepted": False}, NETWORK),
    "certificate 1": ({"passed": False, "reason": "the bound is above the risk", "policy": ROW}, NETWORK),
    "certificate 2": ({"passed": True, "reason": "", "policy": ROW, "paired_difference": {"episodes": 1000}}, NETWORK),
    "front": ({"rows": [ROW, ROW]}, None),
}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path, {})
    for name, (facts, network) in STAGES.items():
        ledger.stage(name, lambda facts=facts, network=network: (facts, network))
    return ledger


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("teacher", "teacher: return 199.5, violates in 0.20% of 1,000"),
        ("shape 1", "grow: 3 weights: return 198.0, violates in 1.00%, passed"),
        ("shape 2", "thin: 3 weights: return 198.0, violates in 1.00%, refused"),
        ("repair 1.0", "repair: 6 of 7 counterexamples corrected, nothing that could be kept"),
        ("certificate 1", "certificate: 3 weights: return 199.5, violates in 0.20% of 1,000, the bound is above the"),
        ("certificate 2", "certificate: 3 weights: return 199.5, violates in 0.20% of 1,000, passed"),
        ("front", "front: 2 policies flown side by side"),
    ],
)
def test_a_stage_is_told_in_one_line(name: str, words: str) -> None:
    facts, network = STAGES[name]
    assert in_words(Stage(name, facts, network, 1.0)).startswith(words)


def test_a_search_tells_its_failures_and_its_tries() -> None:
    facts, network = STAGES["search 1.0"]
    told = in_words(Stage("search 1.0", facts, network, 1.0))
    assert "7 failures in 2,050 tries" in told
    assert "\n" not in told


def test_the_end_of_shaping_is_told_as_well() -> None:
    assert in_words(Stage("shape 9", {"exhausted": True}, None, 0.1)) == "shape: nothing smaller is left to try"


def test_every_stage_is_a_row_that_says_what_was_left_and_what_it_did(ledger: Ledger) -> None:
    told = story({"shipped": True}, load_task("cartpole-v0"), ledger, command=["niwaki"], order=ORDER, weights=100)
    rows = told["stages"]
    assert [row["stage"] for row in rows] == [name.split()[0] for name in STAGES]
    assert (rows[0]["nonzero_weights"], rows[0]["sparsity"]) == (100, 0.0)
    assert all((row["nonzero_weights"], row["sparsity"]) == (3, 0.97) for row in rows[1:-1])
    assert (rows[-1]["title"], rows[-1].get("nonzero_weights")) == ("front: 2 policies side by side", None)
    assert [row.get("passed") for row in rows] == [None, True, False, None, False, False, True, None]
    assert rows[0]["violations"] == VIOLATIONS
    assert rows[3]["counterexamples"] == 7
    assert [i for i, row in enumerate(rows) if row.get("shipped")] == [list(STAGES).index("certificate 2")]
    assert told["attempts"] == [
        {"attempt": 1, "passed": False, "reason": "the bound is above the risk"},
        {"attempt": 2, "passed": True, "reason": ""},
    ]
    assert told["paired_difference"] == {"episodes": 1000}
    assert (told["seed"], told["task"]["risk"]) == (3, 0.001)


def test_where_nothing_is_shipped_no_row_is(ledger: Ledger) -> None:
    told = story({"shipped": False}, load_task("cartpole-v0"), ledger, command=[], order=ORDER, weights=100)
    assert not any(row.get("shipped") for row in told["stages"])
    assert told["paired_difference"] is None


def test_a_counterexample_keeps_every_bit_in_facts() -> None:
    found = Counterexample(np.array([1 / 3, -0.1, 5e-324]), "angle", -1e-17, None)
    again = counterexample(as_facts(found))
    assert np.array_equal(again.scenario, found.scenario)
    assert (again.spec, again.margin, again.teacher_margin) == (found.spec, found.margin, found.teacher_margin)
