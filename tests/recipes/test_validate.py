"""validate: every count is the flights' own, eps(T) is the exact quantile, and a step is counted as a step."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta

from niwaki.adaptation.database import horizon_grid, load_database
from niwaki.policies.sampled import sampled
from niwaki.policies.storage import fingerprint, load_gaussian, save_policy
from niwaki.recipes.validate import fly_database, outcomes, validate
from niwaki.rollout import rollout
from niwaki.simulators.reach_avoid import reach_avoid
from niwaki.tasks import load_task
from niwaki.types import NiwakiError


def test_its_numbers_are_those_of_the_flights_and_of_the_beta_quantile(homing, meadow, tmp_path):
    found = validate(homing(0.3, 6.0, -1.0), meadow, tmp_path, episodes=500, bound=0.2, confidence=0.999)
    database = load_database(tmp_path)
    grid = horizon_grid(40)
    assert [row.horizon for row in found.horizons] == list(grid)
    for row in found.horizons:
        late = int((~database.succeeded | (database.lengths > row.horizon)).sum())
        assert row.failures == late
        risk = beta.isf(0.001 / len(grid), late + 1, 500 - late) if late < 500 else 1.0
        assert row.failure_bound == pytest.approx(risk, rel=1e-9)
        if risk <= 0.2:
            assert row.permitted_alpha == pytest.approx((0.2 / risk) ** (1 / row.horizon), rel=1e-9)
        else:
            assert row.permitted_alpha is None
    best = max((row for row in found.horizons if row.permitted_alpha), key=lambda row: row.permitted_alpha)
    chosen = (found.horizon, found.failures, found.failure_bound, found.permitted_alpha)
    assert chosen == (best.horizon, best.failures, best.failure_bound, best.permitted_alpha)
    assert found.failure_rate == best.failures / 500
    assert found.steps_to_goal == pytest.approx(database.lengths[database.lengths <= found.horizon].mean())


def test_a_horizon_that_was_fixed_pays_nothing_for_the_others(homing, meadow):
    free = validate(homing(0.3, 6.0, -1.0), meadow, episodes=300)
    fixed = validate(homing(0.3, 6.0, -1.0), meadow, episodes=300, horizon=free.horizon)
    assert fixed.failures == free.failures
    assert fixed.failure_bound < free.failure_bound
    assert len(fixed.horizons) == 1


def test_the_goal_reached_with_the_third_action_is_three_steps(homing):
    """The episodes are stepped by hand, apart from the loop."""
    task = load_task("reach-avoid")
    simulator, policy = reach_avoid(), sampled(homing(2.0, 6.0, -4.0))
    rows = np.tile(simulator.nominal, (6, 1))
    away = simulator.names.index("hazard_x")
    rows[:, away] = 5.0
    rows[:, simulator.names.index("heading")] = math.pi / 2
    rows[:, simulator.names.index("x")] = rows[:, simulator.names.index("goal_x")]
    goal = rows[0, simulator.names.index("goal_y")]
    rows[:, simulator.names.index("y")] = goal - np.array([0.2, 0.32, 0.4, 0.5, 0.8, 1.2])
    rows[:, -1] = np.arange(6)
    lengths, kept, endings = outcomes(policy, task, rows)
    pilot, state = policy.begin(rows), simulator.reset(rows)
    used, alive = np.zeros(6, int), np.arange(6)
    while len(alive):
        step = simulator.step(state, pilot.act(used[alive[0]], alive, simulator.observe(state)))
        used[alive] += 1  # an action was taken: a step was used
        state, alive = step.state[step.endings == 0], alive[step.endings == 0]
    assert lengths.tolist() == used.tolist()
    assert lengths[0] == 1  # who starts at the goal has it with the first action, not with none
    assert 3 in lengths
    assert kept.all()
    assert (endings == 1).all()


def test_a_hazard_and_a_time_out_are_failures(homing):
    task = load_task("reach-avoid")
    found = validate(homing(0.3, 6.0, -1.0), task, episodes=200)
    assert found.endings["hazard_entered"] > 0
    whole = found.horizons[-1]
    assert whole.horizon == 100
    assert whole.failures == found.endings["hazard_entered"] + found.endings["time_out"]


def test_the_same_seed_gives_the_same_database_and_another_none_of_its_scenarios(homing, meadow):
    base = homing(0.3, 6.0, -1.0)
    one, same, other = (
        fly_database(sampled(base), fingerprint(base), meadow, family=1, seed=seed, n=50) for seed in (3, 3, 4)
    )
    assert one.facts == same.facts
    assert np.array_equal(one.lengths, same.lengths)
    assert one.facts.scenarios_sha256 != other.facts.scenarios_sha256


def test_the_noise_flies_along(homing, meadow):
    base = homing(0.3, 6.0, -1.0)
    rows = meadow.simulator.sample(np.random.default_rng(0), 100)
    noisy, _, _ = outcomes(sampled(base), meadow, rows)
    assert not np.array_equal(noisy, rollout(meadow.simulator, base.deterministic, rows).lengths)


def test_a_fingerprint_is_about_the_numbers_and_not_about_the_file(homing, tmp_path):
    base = homing(0.3, 6.0, -1.0)
    save_policy(base, tmp_path / "base.safetensors")
    assert fingerprint(load_gaussian(tmp_path / "base.safetensors")) == fingerprint(base)
    assert fingerprint(homing(0.3, 6.0, -0.9)) != fingerprint(base)


def test_wrong_numbers_are_refused(homing, meadow):
    base = homing(0.3, 6.0, -1.0)
    for wrong, message in (
        ({"episodes": 0}, "at least 1, got 0"),
        ({"horizon": 41}, "from 1 to the 40 steps of an episode, got 41"),
        ({"confidence": 1.0}, "the confidence must be between 0 and 1"),
        ({"bound": 0.0}, "the wanted bound must be above 0"),
    ):
        with pytest.raises(NiwakiError, match=message):
            validate(base, meadow, **{"episodes": 10} | wrong)
    with pytest.raises(NiwakiError, match="the policy takes 44 observations, cartpole gives 4"):
        validate(base, load_task("cartpole"), episodes=10)
