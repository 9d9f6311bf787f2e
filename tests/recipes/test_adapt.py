"""adapt: what is promised follows from the base's flights alone, is kept, and every method earns something with it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta, norm

from niwaki.adaptation import projected_ppo
from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import FixedRatio, GaussianShift, Odometer
from niwaki.adaptation.database import draw, horizon_grid, load_database, save_database
from niwaki.adaptation.saved import adapted, load_adapted, load_parts
from niwaki.policies.gaussian import GaussianPolicy
from niwaki.policies.network import Head
from niwaki.policies.storage import fingerprint
from niwaki.recipes.adapt import ADAPTED, GLANCE, Order, adapt
from niwaki.recipes.adapted_check import check_adapted
from niwaki.recipes.validate import VALIDATION, validate
from niwaki.rollout import rollout
from niwaki.tasks import load_task
from niwaki.types import NiwakiError

EPISODES = 800


@pytest.fixture(scope="module")
def pair(homing) -> tuple[GaussianPolicy, GaussianPolicy]:
    return homing(0.3, 6.0, -1.0), homing(1.5, 8.0, -1.5)


@pytest.fixture(scope="module")
def database(pair, meadow, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("database")
    validate(pair[0], meadow, folder, episodes=EPISODES)
    return folder


ORDERS = {
    "ratio": Order("ratio", episodes=EPISODES),
    "odometer": Order("odometer", episodes=EPISODES),
    "gaussian": Order("gaussian", episodes=EPISODES),
    "stagewise": Order("stagewise", episodes=EPISODES, stages=2),
    "stagewise gaussian": Order("stagewise", episodes=EPISODES, stages=2, rule="gaussian"),
}


@pytest.fixture(scope="module")
def runs(pair, meadow, database, tmp_path_factory):
    found = {}
    for name, order in ORDERS.items():
        out = tmp_path_factory.mktemp("run") / "out"
        found[name] = adapt(*pair, meadow, out, order, database=database)
    return found


@pytest.mark.parametrize("name", ORDERS)
def test_the_task_is_done_sooner_and_the_bound_is_kept(runs, name):
    run = runs[name]
    assert run.holds
    assert run.episodes == run.base_episodes == EPISODES
    assert run.violation_rate == run.violations / EPISODES <= run.bound
    assert run.steps_to_goal < run.base_steps_to_goal
    flown = load_database(Path(run.out), f"adapted-{len(run.stages)}")
    assert run.violations == int(flown.failed(run.horizon).sum())
    assert run.steps_to_goal == flown.lengths[~flown.failed(run.horizon)].mean()


def test_the_budget_follows_from_the_failures_of_the_base_by_the_papers_formulas(runs):
    def risk(run, tests, error=1e-7):
        failures = run.base_violations
        return beta.isf(error / tests, failures + 1, EPISODES - failures)

    ratio, odometer, gaussian = (load_parts(Path(runs[name].out))[2][0] for name in ("ratio", "odometer", "gaussian"))
    m = len(horizon_grid(40))
    assert isinstance(ratio, FixedRatio)
    eps = risk(runs["ratio"], m)
    assert runs["ratio"].base_failure_bound == ratio.risk == pytest.approx(eps, rel=1e-8)
    assert ratio.log_alpha_per_step == pytest.approx(math.log(0.1 / eps) / runs["ratio"].horizon, rel=1e-8)
    assert isinstance(odometer, Odometer)  # of the whole episode, so no horizon was chosen
    assert runs["odometer"].horizon == 40
    assert odometer.log_budget == pytest.approx(math.log(0.1 / risk(runs["odometer"], 1)), rel=1e-8)
    assert isinstance(gaussian, GaussianShift)
    assert gaussian.shift == pytest.approx(norm.ppf(0.1) - norm.ppf(risk(runs["gaussian"], m)), rel=1e-8)


def test_the_posterior_bound_is_that_of_its_own_flights(runs):
    run = runs["ratio"]
    expected = beta.isf(1e-7, run.violations + 1, EPISODES - run.violations)
    assert run.posterior_bound == pytest.approx(expected, rel=1e-7)


def test_stage_by_stage_the_errors_sum_to_what_is_allowed_and_each_stage_rests_on_the_one_before(runs):
    run = runs["stagewise"]
    first, second = run.stages
    shares = [first["prior_confidence"], second["prior_confidence"], second["posterior_confidence"]]
    assert first["posterior_confidence"] == second["prior_confidence"]
    assert sum(1 - share for share in shares) == pytest.approx(1e-7, rel=1e-6)
    assert second["base_failures"] == first["violations"]
    assert second["base_risk"] == first["posterior_bound"]
    assert second["budget"]["horizon"] == first["budget"]["horizon"]
    expected = math.log(0.1 / second["base_risk"]) / run.horizon
    assert second["budget"]["log_alpha_per_step"] == pytest.approx(expected, rel=1e-9)
    assert run.steps_to_goal < runs["ratio"].steps_to_goal


def test_no_two_policies_of_a_run_share_a_scenario(runs):
    databases = [load_database(Path(runs["stagewise"].out), name) for name in ("database", "adapted-1", "adapted-2")]
    assert len({database.facts.scenarios_sha256 for database in databases}) == 3
    assert len({VALIDATION, ADAPTED, GLANCE, projected_ppo.FLIGHTS}) == 4


@pytest.mark.parametrize("name", ORDERS)
def test_it_is_loaded_and_flown_again_with_the_same_bits(runs, meadow, name):
    out = Path(runs[name].out)
    policy, flown = load_adapted(out), load_database(out, f"adapted-{len(runs[name].stages)}")
    facts = flown.facts
    rows = draw(meadow.simulator, facts.policy_sha256, family=ADAPTED, seed=0, n=EPISODES)[-40:]
    again = rollout(meadow.simulator, policy, rows, record=True)
    assert again.lengths.tolist() == flown.lengths[-40:].tolist()
    made = adapted(*load_parts(out))
    same = rollout(meadow.simulator, made, rows[::-1], record=True)
    assert again.recording is not None
    assert same.recording is not None
    steps = min(again.recording.actions.shape[1], same.recording.actions.shape[1])
    assert np.array_equal(again.recording.actions[:, :steps], same.recording.actions[::-1][:, :steps])


def test_a_run_that_was_stopped_goes_on_and_gives_the_same(pair, meadow, tmp_path, runs):
    order = Order("stagewise", episodes=300, stages=2)
    whole = adapt(*pair, meadow, tmp_path / "whole", order)
    adapt(*pair, meadow, tmp_path / "part", order)
    book = json.loads((tmp_path / "part" / "run.json").read_text())
    book["ledger"] = [entry for entry in book["ledger"] if entry["stage"] in ("base", "widths")]
    (tmp_path / "part" / "run.json").write_text(json.dumps(book))
    (tmp_path / "part" / "adapted-2.npz").unlink()
    again = adapt(*pair, meadow, tmp_path / "part", order)
    assert again.certificate == whole.certificate
    with pytest.raises(NiwakiError, match="a run with another order"):
        adapt(*pair, meadow, tmp_path / "part", Order("ratio", episodes=300))
    (tmp_path / "part" / "adapted-1.npz").write_bytes((tmp_path / "part" / "database.npz").read_bytes())
    with pytest.raises(NiwakiError, match="it was changed, or is not the file"):
        adapt(*pair, meadow, tmp_path / "part", order)


@pytest.fixture(scope="module")
def finetuned(pair, meadow, database, tmp_path_factory):
    order = Order("gaussian", episodes=EPISODES, finetune="through", steps=20_000)
    return adapt(pair[0], None, meadow, tmp_path_factory.mktemp("run") / "out", order, database=database)


def test_a_task_policy_is_trained_within_the_bound_and_certified_as_any_other(finetuned, pair, meadow):
    out = Path(finetuned.out)
    base, learnt, budgets = load_parts(out)
    assert fingerprint(base) == fingerprint(pair[0])
    assert fingerprint(learnt) != fingerprint(base)
    assert dict(learnt.origin)["base"] == fingerprint(base)  # where it came from, not where the base came from
    assert finetuned.holds
    assert finetuned.steps_to_goal < finetuned.base_steps_to_goal - 0.1
    trained = finetuned.finetune
    assert trained["surrogate"] == "through"
    assert 20_000 <= trained["steps"] < 24_000
    assert trained["failures"] <= finetuned.bound * trained["episodes"]
    horizon = budgets[0].horizon
    updates = next(e for e in json.loads((out / "run.json").read_text())["ledger"] if e["stage"] == "finetune")["facts"]
    assert all(update["length"] <= horizon for update in updates["updates"])  # trained for the certified event
    checked = check_adapted(out, task=meadow, episodes=50, seed=0)
    assert checked.refused == ()
    assert checked.replayed == 100


def test_what_was_trained_is_not_trained_again(finetuned, pair, meadow, database, monkeypatch):
    out = Path(finetuned.out)
    book = json.loads((out / "run.json").read_text())
    book["ledger"] = [entry for entry in book["ledger"] if entry["stage"] in ("base", "finetune")]
    (out / "run.json").write_text(json.dumps(book))
    monkeypatch.setattr(projected_ppo, "finetune", None)
    order = Order("gaussian", episodes=EPISODES, finetune="through", steps=20_000)
    again = adapt(pair[0], None, meadow, out, order, database=database)
    assert again.certificate == finetuned.certificate


def test_a_trained_policy_may_be_wider_than_the_base_and_its_stages_share_it(pair, meadow, database, tmp_path):
    order = Order("stagewise", episodes=300, stages=2, finetune="published", steps=3_000)
    run = adapt(pair[0], None, meadow, tmp_path / "out", order, database=database)
    assert run.holds
    assert len(run.stages) == 2
    assert 0 <= run.wider <= 1


def test_a_task_policy_is_given_or_trained(pair, meadow, tmp_path):
    with pytest.raises(NiwakiError, match="either give a task policy, or have one trained"):
        adapt(pair[0], None, meadow, tmp_path / "out", Order())
    with pytest.raises(NiwakiError, match="either give a task policy, or have one trained"):
        adapt(*pair, meadow, tmp_path / "out", Order(finetune="through"))
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_promised_is_refused_in_one_sentence(pair, homing, meadow, database, tmp_path):
    base, task = pair
    few = Order("ratio", episodes=20)
    with pytest.raises(NiwakiError, match=r"the wanted bound 0\.1 is below the base's own, 0\.\d+: no policy can"):
        adapt(base, task, meadow, tmp_path / "a", few)
    with pytest.raises(NiwakiError, match=r"the database in .* is about another policy than the base"):
        adapt(homing(0.3, 6.0, -0.9), task, meadow, tmp_path / "b", few, database=database)
    with pytest.raises(NiwakiError, match="is about the task meadow as it was validated, not about reach-avoid"):
        adapt(base, task, load_task("reach-avoid"), tmp_path / "c", few, database=database)
    wide = homing(1.5, 8.0, -0.5)
    for method in ("ratio", "odometer", "stagewise"):
        with pytest.raises(NiwakiError, match=r"above the base's in 100% of .* the method gaussian does"):
            adapt(base, wide, meadow, tmp_path / method, Order(method, episodes=EPISODES), database=database)
    assert adapt(base, wide, meadow, tmp_path / "g", Order("gaussian", episodes=50), database=database).wider == 1
    empty = load_database(database)
    nothing = type(empty.facts)(**(vars(empty.facts) | {"episodes": 0}))
    (tmp_path / "empty").mkdir()
    save_database(type(empty)(nothing, *(v[:0] for v in (empty.lengths, empty.succeeded, empty.endings))),
                  tmp_path / "empty")  # fmt: skip
    with pytest.raises(NiwakiError, match="the scenario database is empty"):
        adapt(base, task, meadow, tmp_path / "d", few, database=tmp_path / "empty")
    other = GaussianPolicy(task.network, Head("clip", [-1.0, -1.0], [1.0, 1.0]), task.log_std)
    with pytest.raises(NiwakiError, match="they need one head"):
        adapt(base, other, meadow, tmp_path / "e", few)
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "magic"}, "unknown method 'magic'; there are ratio, odometer, gaussian, stagewise"),
        ({"bound": 1.5}, "above 0 and at most 1, got 1.5"),
        ({"confidence": 0.0}, "the confidence must be between 0 and 1"),
        ({"episodes": 0}, "at least 1, got 0"),
        ({"stages": 0}, "1 to 20 stages, got 0"),
        ({"finetune": "magic"}, "the surrogate is one of through, published, got 'magic'"),
        ({"finetune": "through", "steps": 0}, "steps must be at least 1, got 0"),
        ({"rule": "stagewise"}, "a stage uses one of ratio, odometer, gaussian"),
        ({"seed": -1}, "the seed must not be negative"),
    ],
)
def test_a_wrong_order_is_refused(wrong, message):
    with pytest.raises(NiwakiError, match=message):
        Order(**wrong)


def test_the_adapted_policy_of_one_stage_is_what_it_was_before_there_were_stages(pair):
    policy = adapted(*pair, (FixedRatio.within(0.1, risk=0.01, horizon=20),))
    assert isinstance(policy, AdaptedPolicy)
    assert policy.budgets == (policy.budget,)
    assert fingerprint(policy.base.policy) == fingerprint(pair[0])
