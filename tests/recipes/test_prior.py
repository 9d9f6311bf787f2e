"""prior: of the horizons the one that leaves each step the most, by each rule's own measure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from niwaki.adaptation.budget import FixedRatio, GaussianShift, Odometer
from niwaki.adaptation.database import Database, Facts, horizon_grid
from niwaki.adaptation.horizons import horizon_table
from niwaki.certification.bounds import clopper_pearson
from niwaki.recipes.prior import best_of, grid_of, prior
from niwaki.types import NiwakiError

WANTED, CONFIDENCE, EPISODE = 0.2, 0.999, 40


@pytest.fixture(scope="module")
def database() -> Database:
    """Most episodes end early, a few late, one in a hundred never."""
    rng = np.random.default_rng(0)
    lengths = np.minimum(5 + rng.geometric(0.15, 4000), EPISODE).astype(np.int32)
    succeeded = lengths < EPISODE
    facts = Facts(
        1, "0" * 64, {"name": "t"}, {"s": "always(x <= 1)"}, 0, 7, 4000, ("time_out", "goal"), EPISODE, "0" * 64, "",
        {}, "",
    )  # fmt: skip
    return Database(facts, lengths, succeeded, succeeded.astype(np.int8))


def test_each_rule_takes_the_horizon_that_is_best_for_it(database):
    grid = horizon_grid(EPISODE)
    rows = horizon_table(
        database.lengths, database.succeeded, grid, wanted=WANTED, confidence=CONFIDENCE, bound=clopper_pearson
    )
    room = {
        "ratio": [math.log(WANTED / row.risk) / row.horizon for row in rows],
        "gaussian": [(norm.ppf(WANTED) - norm.ppf(row.risk)) / math.sqrt(row.horizon) for row in rows],
    }
    chosen = {rule: best_of(rows, rule, wanted=WANTED) for rule in ("ratio", "gaussian")}
    for rule, values in room.items():
        assert chosen[rule] == rows[int(np.nanargmax(values))]
    assert chosen["gaussian"].horizon > chosen["ratio"].horizon  # a move costs less of a longer episode


@pytest.mark.parametrize(("rule", "kind"), [("ratio", FixedRatio), ("odometer", Odometer), ("gaussian", GaussianShift)])
def test_the_budget_is_that_of_the_chosen_horizon_and_promises_the_wanted_bound(database, rule, kind):
    grid = grid_of(rule, EPISODE, None)
    found = prior(database, rule, wanted=WANTED, confidence=CONFIDENCE, grid=grid)
    assert isinstance(found.budget, kind)
    assert found.budget.bound == pytest.approx(WANTED)
    assert found.budget.risk == found.risk
    assert found.failures == int(database.failed(found.horizon).sum())
    assert found.risk == clopper_pearson(found.failures, 4000, confidence=1 - (1 - CONFIDENCE) / len(grid))


def test_the_horizons_are_fixed_before_the_data():
    assert grid_of("ratio", EPISODE, None) == grid_of("gaussian", EPISODE, None) == horizon_grid(EPISODE)
    assert grid_of("odometer", EPISODE, None) == (EPISODE,)
    assert grid_of("ratio", EPISODE, 7) == (7,)
    for wrong in (0, EPISODE + 1):
        with pytest.raises(NiwakiError, match=f"from 1 to the 40 steps of an episode, got {wrong}"):
            grid_of("ratio", EPISODE, wrong)


def test_what_the_base_itself_does_not_keep_is_refused(database):
    with pytest.raises(NiwakiError, match=r"the wanted bound 0\.001 is below the base's own"):
        prior(database, "ratio", wanted=0.001, confidence=CONFIDENCE, grid=(EPISODE,))
    with pytest.raises(NiwakiError, match="above 0 and at most 1, got 0"):
        prior(database, "gaussian", wanted=0.0, confidence=CONFIDENCE, grid=(EPISODE,))
