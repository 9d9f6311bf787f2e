"""A policy is made ready for a task, or refused in words that say what does not fit."""

from __future__ import annotations

import pytest

from niwaki.policies.network import Head
from niwaki.tasks import load_task
from niwaki.tasks.fitting import fit
from niwaki.types import NiwakiError


def test_a_raw_head_gets_the_meaning_that_the_task_gives_it(make_network):
    assert fit(make_network((4, 3, 2)), load_task("cartpole")).head.kind == "argmax"
    assert fit(make_network((3, 3, 1)), load_task("pendulum")).head.high.tolist() == [2.0]


def test_a_stochastic_policy_that_fits_stays_as_it_is(homing, meadow):
    policy = homing(1.0, 1.0, 0.0)
    assert fit(policy, meadow) is policy


def test_other_observations_and_other_actions_are_refused(make_network, homing, meadow):
    for policy in (make_network((4, 3, 2)), make_network((3, 3, 1))):
        with pytest.raises(NiwakiError, match=f"takes {policy.observation_size} observations, meadow gives 44"):
            fit(policy, meadow)
    with pytest.raises(NiwakiError, match="takes 44 observations, cartpole gives 4: is it the task that the policy"):
        fit(homing(1.0, 1.0, 0.0), load_task("cartpole"))
    with pytest.raises(NiwakiError, match="one of 2 actions, the policy gives 2 continuous"):
        fit(make_network((4, 3, 2), head=Head("clip", [-1.0, -1.0], [1.0, 1.0])), load_task("cartpole"))
