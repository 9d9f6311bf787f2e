"""sport: every point is the paper's formula, every pair of policies flies the same scenarios, and a run goes on."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import FixedRatio
from niwaki.adaptation.database import draw, horizon_grid, load_database
from niwaki.adaptation.saved import load_adapted, load_parts
from niwaki.policies.gaussian import GaussianPolicy
from niwaki.policies.sampled import sampled
from niwaki.policies.storage import load_niwaki
from niwaki.recipes.adapt import ADAPTED, GLANCE
from niwaki.recipes.adapted_check import check_adapted
from niwaki.recipes.experiment import Order, Sport, method_folder
from niwaki.recipes.sport import PAIRED, PILOT, kept, sport, with_fixed_layout
from niwaki.recipes.validate import VALIDATION
from niwaki.rollout import rollout
from niwaki.tasks import load_task, parse_task
from niwaki.types import NiwakiError

EPISODES, SOME = 300, ("ratio", "odometer", "stagewise ratio")  # all: tests/cli/test_sport.py
ORDER = Order(bound=0.3, episodes=EPISODES, stages=2, alphas=(1.0, 1.1, 2.0, 20.0), methods=SOME)


@pytest.fixture(scope="module")
def pair(homing) -> tuple[GaussianPolicy, GaussianPolicy]:
    return homing(0.3, 6.0, -1.0), homing(1.5, 8.0, -1.5)


@pytest.fixture(scope="module")
def run(pair, meadow, tmp_path_factory) -> Sport:
    return sport(*pair, meadow, tmp_path_factory.mktemp("sport") / "out", ORDER)


def test_the_prior_bound_is_the_papers_from_episodes_that_did_not_choose_the_horizon(run):
    for result in run.layouts:
        folder = Path(run.out) / result.layout
        pilot, base = load_database(folder, "pilot"), load_database(folder)
        assert pilot.facts.scenarios_sha256 != base.facts.scenarios_sha256
        risks = []
        for horizon in horizon_grid(40):
            late = int((~pilot.succeeded | (pilot.lengths > horizon)).sum())
            error = 1e-7 / len(horizon_grid(40))
            risks.append(beta.isf(error, late + 1, EPISODES - late) if late < EPISODES else 1.0)
        alphas = [(0.3 / risk) ** (1 / t) for risk, t in zip(risks, horizon_grid(40), strict=True)]
        assert result.horizon == horizon_grid(40)[int(np.argmax(alphas))]
        late = int((~base.succeeded | (base.lengths > result.horizon)).sum())
        eps = beta.isf(1e-7, late + 1, EPISODES - late)
        assert (result.base_failures, result.base_failure_bound) == (late, pytest.approx(eps, rel=1e-7))
        assert result.permitted_alpha == pytest.approx((0.3 / eps) ** (1 / result.horizon))
        for point in result.points:
            assert point.prior_bound == pytest.approx(min(1.0, eps * point.alpha**result.horizon), rel=1e-6)


def test_alpha_one_is_the_base_and_more_is_sooner(run):
    for result in run.layouts:
        assert result.points[0].flown == result.base
        assert (result.base.sooner, result.base.reduction) == (0.0, 0.0)
        sooner = [point.flown.sooner for point in result.points]
        assert sooner == sorted(sooner)
        assert sooner[0] < sooner[1] < sooner[-1] <= result.task_policy.sooner + 0.2
    assert run.holds


def test_a_point_of_the_sweep_is_what_one_finds_by_flying_it_oneself(run, pair, meadow):
    fixed, (base, task) = run.layouts[0], map(sampled, pair)
    where = with_fixed_layout(meadow)
    digest = _digest_of(pair)
    rows = draw(where.simulator, digest, family=PAIRED, seed=0, n=EPISODES)
    assert (rows[:, :-1] == rows[0, :-1]).all()
    assert len(np.unique(rows[:, -1])) == EPISODES
    policy = AdaptedPolicy(base, task, FixedRatio(fixed.base_failure_bound, fixed.horizon, math.log(2)))
    ours, theirs = (rollout(where.simulator, p, rows, specs=where.specs) for p in (policy, base))
    failed = [(f.margins < 0).any(axis=1) | (f.lengths > fixed.horizon) for f in (ours, theirs)]
    flown = fixed.points[2].flown
    assert flown.violations == failed[0].sum()
    assert flown.steps_to_goal == ours.lengths[~failed[0]].mean()
    both = ~failed[0] & ~failed[1]
    gained = (theirs.lengths.astype(float) - ours.lengths)[both]
    assert flown.sooner == pytest.approx(gained.mean())
    assert flown.sooner_high - flown.sooner_low == pytest.approx(2 * 1.96 * gained.std() / math.sqrt(len(gained)), 0.02)
    assert flown.reduction == pytest.approx(gained.mean() / theirs.lengths[both].mean())
    assert flown.posterior_bound == pytest.approx(beta.isf(1e-7, flown.violations + 1, EPISODES - flown.violations))


def _digest_of(pair):
    import hashlib

    from niwaki.policies.storage import fingerprint

    return hashlib.sha256((fingerprint(pair[0]) + fingerprint(pair[1])).encode()).hexdigest()


def test_every_method_promises_the_same_and_its_certificate_can_be_checked(run, meadow):
    for result in run.layouts:
        assert [each.method for each in result.methods] == list(SOME)
        for each in result.methods:
            assert each.refused is None
            folder = Path(run.out) / method_folder(result.layout, each.method)
            last = load_parts(folder)[2][-1]
            assert last.bound == pytest.approx(0.3, rel=1e-6)
            assert each.flown.violations <= 0.3 * EPISODES
            assert each.flown.sooner > 0
        by = {each.method: each.flown.sooner for each in result.methods}
        assert by["ratio"] < by["stagewise ratio"]
        assert by["ratio"] < by["odometer"]
    where = parse_task("meadow-fixed", (Path(run.out) / "fixed.toml").read_text())
    assert check_adapted(Path(run.out) / "fixed" / "odometer", task=where, episodes=20, seed=0).valid
    assert not check_adapted(Path(run.out) / "fixed" / "odometer", task=meadow, episodes=20, seed=0).valid


def test_a_methods_row_is_its_saved_policy_over_the_scenarios_of_the_sweep(run, pair, meadow):
    result = run.layouts[1]
    each = next(m for m in result.methods if m.method == "stagewise ratio")
    assert each.stages == 2
    policy = load_adapted(Path(run.out) / "random" / "stagewise-ratio")
    rows = draw(meadow.simulator, _digest_of(pair), family=PAIRED, seed=0, n=EPISODES)
    flown = rollout(meadow.simulator, policy, rows, specs=meadow.specs)
    failed = (flown.margins < 0).any(axis=1) | (flown.lengths > result.horizon)
    assert each.flown.violations == failed.sum()
    assert each.flown.steps_to_goal == flown.lengths[~failed].mean()


def test_a_broken_promise_is_noticed(run):
    result = run.layouts[0]
    assert kept(result, ORDER)
    worst = result.points[-1]
    liar = replace(worst, prior_bound=1e-6, flown=replace(worst.flown, violations=40))
    assert not kept(replace(result, points=(*result.points[:-1], liar)), ORDER)
    method = replace(result.methods[0], flown=replace(worst.flown, violations=200))
    assert not kept(replace(result, methods=(method,)), ORDER)


def test_a_run_that_was_stopped_goes_on_and_gives_the_same(pair, meadow, tmp_path):
    order = replace(ORDER, episodes=100, bound=0.5, alphas=(1.0, 2.0), methods=("ratio",))
    whole = sport(*pair, meadow, tmp_path / "a", order)
    sport(*pair, meadow, tmp_path / "b", order)
    book = json.loads((tmp_path / "b" / "run.json").read_text())
    names = [entry["stage"] for entry in book["ledger"]]
    book["ledger"] = book["ledger"][: names.index("fixed ratio")]
    (tmp_path / "b" / "run.json").write_text(json.dumps(book))
    again = sport(*pair, meadow, tmp_path / "b", order)
    assert replace(again, out="", seconds=0.0) == replace(whole, out="", seconds=0.0)
    with pytest.raises(NiwakiError, match="a run with another order"):
        sport(*pair, meadow, tmp_path / "b", replace(order, seed=1))
    (tmp_path / "b" / "fixed" / "pilot.npz").write_bytes((tmp_path / "b" / "fixed" / "database.npz").read_bytes())
    with pytest.raises(NiwakiError, match="it was changed, or is not the file"):
        sport(*pair, meadow, tmp_path / "b", order)


def test_experiment_2_trains_a_task_policy_at_every_alpha_from_the_base(pair, meadow, tmp_path):
    order = replace(
        ORDER, experiment=2, episodes=60, bound=0.6, alphas=(3.0,), methods=("finetuned gaussian",), steps=2000,
    )  # fmt: skip
    found = sport(*pair, meadow, tmp_path / "out", order)
    book = json.loads((tmp_path / "out" / "run.json").read_text())
    stages = {entry["stage"]: entry for entry in book["ledger"]}
    for result in found.layouts:
        entry = stages[f"{result.layout} train alpha 3"]
        assert entry["facts"]["updates"][-1]["steps"] >= 2000
        learnt = sampled(replace(pair[0], network=load_niwaki(tmp_path / "out" / "stages" / entry["network"])))
        where = with_fixed_layout(meadow) if result.layout == "fixed" else meadow
        rows = draw(where.simulator, _digest_of(pair), family=PAIRED, seed=0, n=60)
        budget = FixedRatio(result.base_failure_bound, result.horizon, math.log(3))
        flown = rollout(where.simulator, AdaptedPolicy(sampled(pair[0]), learnt, budget), rows, specs=where.specs)
        failed = (flown.margins < 0).any(axis=1) | (flown.lengths > result.horizon)
        assert result.points[0].flown.steps_to_goal == flown.lengths[~failed].mean()
        assert not np.array_equal(learnt.policy.network.layers[0].weight, pair[0].network.layers[0].weight)
        (trained,) = result.methods
        assert trained.refused is None
        saved = load_parts(tmp_path / "out" / method_folder(result.layout, trained.method))
        assert dict(saved[1].origin)["source"] == "niwaki adapt --finetune"
    assert sport(*pair, meadow, tmp_path / "out", order) == found


def test_where_nothing_can_be_promised_the_sweep_is_flown_and_the_methods_say_why(homing, pair, meadow, tmp_path):
    order = Order(bound=0.01, episodes=50, alphas=(1.0, 3.0), methods=("ratio", "gaussian"))
    found = sport(*pair, meadow, tmp_path / "low", order)
    for result in found.layouts:
        assert result.permitted_alpha is None
        assert all("below the base's own" in each.refused and each.flown is None for each in result.methods)
        assert result.points[1].flown.episodes == 50
    wide = sport(pair[0], homing(1.5, 8.0, -0.5), meadow, tmp_path / "wide", replace(order, bound=0.6))
    refused = {each.method for each in wide.layouts[0].methods if each.refused is not None}
    assert refused == {"ratio"}
    for result in wide.layouts:  # its budget keeps the bound all the same
        ratio = result.methods[0]
        assert ratio.flown.violations <= 0.6 * 50
        assert ratio.own_bound is None
        assert not (tmp_path / "wide" / result.layout / "ratio" / "certificate.json").exists()


def test_what_cannot_be_flown_is_refused_in_one_sentence(pair, meadow, tmp_path):
    narrow = parse_task("narrow", meadow.source + "\n[sample]\nx = 0.0\n")
    with pytest.raises(NiwakiError, match=r"narrow has a \[sample\] table of its own"):
        sport(*pair, narrow, tmp_path / "a", ORDER)
    with pytest.raises(NiwakiError, match="takes 44 observations, pendulum gives 3"):
        sport(*pair, load_task("pendulum"), tmp_path / "b", ORDER)
    with pytest.raises(NiwakiError, match="meadow has no layout to fix"):
        with_fixed_layout(replace(meadow, source=""))
    assert not (tmp_path / "a").exists()


def test_the_dice_are_families_of_their_own():
    assert len({PILOT, PAIRED, VALIDATION, ADAPTED, GLANCE}) == 5
