"""niwaki prune and sanp, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from niwaki.evaluation import scenarios_for
from niwaki.policies.deployed import deployed
from niwaki.policies.loading import load_policy
from niwaki.policies.storage import save_policy
from niwaki.pruning.prune import prune_units
from niwaki.pruning.scores import unit_taylor
from niwaki.rollout import rollout
from niwaki.tasks import load_task

from .conftest import Run

TASK = ("--task", "cartpole-v0")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher with 32 hidden units, quick to try."""
    teacher = load_policy("cartpole")
    simulator = load_task("cartpole-v0").simulator
    flights = rollout(simulator, teacher, simulator.sample(np.random.default_rng(0), 20), record=True)
    assert flights.recording is not None
    states = flights.recording.observations[:, :-1].reshape(-1, 4)
    path = tmp_path_factory.mktemp("teacher") / "small.safetensors"
    save_policy(prune_units(teacher, unit_taylor(teacher, states), states, keep=32), path)
    return path


def test_prune_writes_the_sparsest_policy_that_it_reports(niwaki: Run, small: Path) -> None:
    ran = niwaki("prune", small, *TASK, "-o", "pruned.safetensors", "-n", 50, "--seed", 2, "--json")
    assert (ran.code, ran.err) == (0, "")
    report = ran.json
    pruned, teacher = load_policy("pruned.safetensors"), load_policy(small)
    assert report["policy"]["nonzero_weights"] == pruned.nonzero_weights < teacher.weights
    assert report["pruned"] == pytest.approx(1 - pruned.nonzero_weights / teacher.weights)
    assert report["pruned_with_biases"] < 1
    passed = [a for a in report["attempts"] if a["passed"]]
    assert min(a["keep"] for a in passed) == pruned.nonzero_weights
    assert all(a["episodes"] == 100 and a["return_mean"] >= 195 for a in passed)
    task = load_task("cartpole-v0")
    fresh = rollout(task.simulator, deployed(pruned), scenarios_for(task.simulator, 50, seed=2), specs=task.specs)
    assert report["policy"]["return_mean"] == fresh.returns.mean()
    assert report["policy"]["violations"] == fresh.violations()
    expected = report["policy"]["return_mean"] - report["teacher"]["return_mean"]
    assert report["paired_difference"]["return_mean"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (("--amount", "0.75", "--score", "magnitude", "--scope", "layer"), None),
        (("--keep", "30", "--score", "fisher", "--schedule", "cubic"), 30),
        (("--keep", "0", "--score", "activation"), 0),
        (("--keep", "12", "--score", "random"), 12),
    ],
)
def test_prune_to_a_given_size_does_not_search(niwaki: Run, small: Path, options: tuple[str, ...], left: int | None):
    report = niwaki("prune", small, *TASK, "-o", "out.safetensors", "-n", 5, *options, "--json").json
    weights = load_policy(small).weights
    assert report["attempts"] == []
    assert load_policy("out.safetensors").nonzero_weights == (weights - round(0.75 * weights) if left is None else left)


def test_units_are_counted_as_units(niwaki: Run, small: Path) -> None:
    report = niwaki(
        "prune", small, *TASK, "-o", "out.safetensors", "-n", 5, "--score", "unit-spread", "--keep", 9, "--json"
    ).json
    assert sum(load_policy("out.safetensors").sizes[1:-1]) == 9
    assert report["score"] == "unit-spread"


def test_prune_shows_both_policies(niwaki: Run, small: Path) -> None:
    ran = niwaki("prune", small, *TASK, "-o", "out.safetensors", "-n", 5, "--keep", 100, COLUMNS="60")
    assert ran.code == 0, ran.err
    assert "teacher" in ran.out
    assert "broken: momentum" in ran.out
    assert "of the weights pruned" in ran.out
    assert "out.safetensors" in ran.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--score", "size"), "--score must be one of magnitude, activation"),
        (("--scope", "all"), "--scope must be one of layer, global, got 'all'"),
        (("--schedule", "slow"), "--schedule must be one of one-shot, cubic, got 'slow'"),
        (("--score", "unit-taylor", "--scope", "layer"), "prunes the units of all layers at once"),
        (("--keep", "3", "--amount", "0.5"), "give either --keep or --amount, got 3 and 0.5"),
        (("--amount", "1.5"), "--amount is a share from 0 to 1, got 1.5"),
        (("--keep", "100000"), "keep must be from 0 to the network's"),
        (("--score", "unit-taylor", "--keep", "1"), "keep must be from 2 to the network's 32 hidden units, got 1"),
        (("--return", "201"), "the teacher's own mean return is 200.0 over 100 episodes, below the 201"),
        (("--spec", "always(x <"), "x <"),
        (("--seed", "-1"), "the seed must not be negative, got -1"),
        (("--episodes", "0"), "episodes must be at least 1, got 0"),
        (("-o", "nowhere/out.safetensors"), "there is no folder 'nowhere' to write 'out.safetensors' into"),
    ],
)
def test_wrong_use_of_prune_is_refused_and_leaves_no_file(
    niwaki: Run, small: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    ran = niwaki("prune", small, *TASK, "-o", "out.safetensors", *options, COLUMNS="200")
    assert ran.code == 2
    assert message in ran.err
    assert not (tmp_path / "out.safetensors").exists()


def test_sanp_tells_each_step_and_writes_both_policies(niwaki: Run, small: Path) -> None:
    ran = niwaki("sanp", small, *TASK, "--out", "sanp", "--simulations", 16, "-n", 40, "--json")
    report = ran.json
    assert ran.code == (1 if report["counterexamples_left"] else 0)
    pruned, policy = load_policy("sanp/pruned.safetensors"), load_policy("sanp/policy.safetensors")
    assert report["pruned_policy"]["nonzero_weights"] == pruned.nonzero_weights
    assert report["policy"]["nonzero_weights"] == policy.nonzero_weights == pruned.nonzero_weights + report["restored"]
    assert report["search_simulations"] == 16
    assert 0 < report["k"] < 1
    assert report["counterexamples_left"] <= report["counterexamples_found"]


def test_sanp_that_leaves_counterexamples_ends_with_code_1(niwaki: Run, small: Path) -> None:
    """No start in the search box keeps this: the teacher breaks it as well."""
    ran = niwaki("sanp", small, *TASK, "--spec", "always(abs(theta) <= 0.001)", "--simulations", 10, "-n", 5)
    assert ran.code == 1
    assert "10 counterexamples in 10 tries; the teacher fails on 10 of them too; 10 left" in " ".join(ran.out.split())
