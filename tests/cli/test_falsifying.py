"""niwaki falsify, refine, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from niwaki.policies.deployed import deployed
from niwaki.policies.loading import load_policy
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.rollout import rollout
from niwaki.tasks import load_task

from .conftest import Run

TASK = ("--task", "cartpole-v0")


@pytest.fixture
def shaky(tmp_path: Path) -> Path:
    """A linear policy that heeds the angle and hardly its rate: it falls from some starts."""
    weight = np.array([[0.0, -0.2, -1.0, -0.12], [0.0, 0.2, 1.0, 0.12]])
    path = tmp_path / "shaky.safetensors"
    save_policy(NetworkPolicy((Layer(weight, np.zeros(2)),), Head("argmax")), path)
    return path


def test_counterexamples_are_found_written_and_fail_again(niwaki: Run, shaky: Path, tmp_path: Path) -> None:
    ran = niwaki(
        "falsify", shaky, *TASK, "--against", "cartpole", "--simulations", 200, "--out", "found.json", "--json"
    )
    assert (ran.code, ran.err) == (1, "")
    found = ran.json
    assert list(found) == [
        "task", "seed", "search", "simulations", "failures", "unconfirmed", "counterexamples", "file", "seconds",
    ]  # fmt: skip
    assert found["failures"] >= len(found["counterexamples"]) > 0
    task = load_task("cartpole-v0")
    policy, teacher = deployed(load_policy(shaky)), deployed(load_policy("cartpole"))
    for entry in found["counterexamples"]:
        row = np.array([[entry["scenario"][name] for name in task.simulator.names]])
        index = [spec.name for spec in task.specs].index(entry["spec"])
        assert rollout(task.simulator, policy, row, specs=task.specs).margins[0, index] == entry["margin"] < 0
        assert rollout(task.simulator, teacher, row, specs=task.specs).margins[0, index] == entry["teacher_margin"] >= 0
    written = json.loads((tmp_path / "found.json").read_text())["counterexamples"]
    assert [entry["scenario"] for entry in written] == [entry["scenario"] for entry in found["counterexamples"]]


def test_a_person_reads_what_breaks_and_where(niwaki: Run, shaky: Path) -> None:
    ran = niwaki("falsify", shaky, *TASK, "--simulations", 100, COLUMNS="200")
    assert ran.code == 1
    assert " ".join(ran.out.split("\n")[0].split()) == "broken margin teacher's where it differs from nominal"
    assert "failures in" in ran.out
    assert "theta" in ran.out


def test_where_none_is_found_the_number_of_tries_is_said(niwaki: Run, balancer: Path) -> None:
    ran = niwaki("falsify", balancer, *TASK, "--simulations", 50, "--out", "found.json")
    assert ran.code == 0
    assert ran.out.startswith("no counterexample in 50 tries")
    assert json.loads(Path("found.json").read_text())["counterexamples"] == []


@pytest.mark.parametrize("search", ["portfolio", "random", "sobol", "cma-es", "cross-entropy", "tpe", "gp"])
def test_every_search_has_its_name(niwaki: Run, balancer: Path, search: str) -> None:
    assert (
        niwaki("falsify", balancer, *TASK, "--simulations", 12, "--search", search, "--json").json["search"] == search
    )


def test_refine_mends_what_was_found_and_writes_the_policy(niwaki: Run, shaky: Path) -> None:
    niwaki("falsify", shaky, *TASK, "--against", "cartpole", "--simulations", 100, "--out", "found.json")
    ran = niwaki(
        "refine", shaky, *TASK, "--against", "cartpole", "--counterexamples", "found.json", "-o", "new.safetensors",
        "--json",
    )  # fmt: skip
    found = ran.json
    assert ran.code == (1 if found["remaining"] else 0)
    assert found["corrected"] + found["remaining"] == found["counterexamples"] > 0
    assert found["corrected"] > 0
    assert found["nonzero_weights"] == load_policy("new.safetensors").nonzero_weights <= 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("falsify", "{policy}", *TASK, "--search", "genetic"), "--search is one of "),
        (("falsify", "{policy}", *TASK, "--simulations", "0"), "0"),
        (("falsify", "{policy}", *TASK, "--against", "none.pth"), "--against none.pth: there is no file"),
        (("falsify", "{policy}", *TASK, "--out", "nowhere/found.json"), "there is no folder 'nowhere'"),
        (
            ("refine", "{policy}", *TASK, "--against", "cartpole", "--counterexamples", "none.json", "-o", "nowhere/n"),
            "there is no folder 'nowhere' to write 'n' into",
        ),
        (("refine", "{policy}", *TASK, "--against", "cartpole", "--counterexamples", "no.json", "-o", "n"), "no.json"),
        (
            ("refine", "{policy}", *TASK, "--against", "cartpole", "--counterexamples", "bad.json", "-o", "n"),
            "bad.json: this JSON file cannot be read",
        ),
        (
            ("refine", "{policy}", *TASK, "--against", "cartpole", "--counterexamples", "none.json", "-o", "n",
             "--method", "pray"),
            "the ways to refine are imitate and restore, got 'pray'",
        ),
    ],
)  # fmt: skip
def test_wrong_use_is_one_sentence(
    niwaki: Run, tmp_path: Path, balancer: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "bad.json").write_text("{")
    empty = {"format": 1, "niwaki": "0", "task": "cartpole-v0", "specs": {}, "counterexamples": []}
    (tmp_path / "none.json").write_text(json.dumps(empty))
    ran = niwaki(*(a.format(policy=balancer) for a in arguments))
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert ran.err.startswith("niwaki: ")
    assert ran.err.count("\n") == 1


def test_sanps_published_lander_crashes_in_about_a_quarter_of_its_flights(niwaki: Run, shared: Path) -> None:
    pytest.importorskip("Box2D", reason="LunarLander needs the extra box2d")
    published = shared / "sanp_lander" / "ppo_actor_refinedLunarLanderContinuous-v2.pth"
    refused = niwaki("evaluate", published, "--task", "lunarlander-continuous")
    assert refused.code == 2
    assert "pass it, for example --activation relu" in refused.err
    row = niwaki(
        "evaluate", published, "--activation", "relu", "--task", "lunarlander-continuous", "--episodes", 300, "--json"
    ).json["policy"]
    assert row["return_mean"] >= 200  # "solved", by its mean
    assert 0.10 <= row["violations"]["no_crash"] / row["episodes"] <= 0.35
    assert 0.55 <= 1 - row["nonzero_weights"] / row["weights"] <= 0.58
