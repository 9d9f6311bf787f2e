"""Flights, traced: the distributions behind every step are those that were flown with, in any simulator."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import FixedRatio, GaussianShift, Odometer
from niwaki.adaptation.experience import advantages, allowed, trace
from niwaki.adaptation.ratio import log_max_ratio
from niwaki.policies.deployed import MirrorPolicy
from niwaki.policies.gaussian import GaussianPolicy, LogStd
from niwaki.policies.network import Head
from niwaki.policies.noise import episode_keys, normals
from niwaki.policies.sampled import SampledPolicy
from niwaki.rollout import rollout
from niwaki.simulators.gymnasium import gymnasium_engine
from niwaki.simulators.pendulum import Pendulum
from niwaki.types import NiwakiError

BUDGETS = {
    "ratio": FixedRatio.within(0.2, risk=0.01, horizon=9),
    "odometer": Odometer.within(0.2, risk=0.01),
    "gaussian": GaussianShift.within(0.2, risk=0.01, horizon=9),
}


def policy(make_network, seed):
    network = make_network((3, 8, 2), ("relu",), seed=seed)
    gaussian = GaussianPolicy(network, Head("squash", [-2.0], [2.0]), LogStd("tanh", -1.0, 0.5))
    return SampledPolicy(gaussian, MirrorPolicy(network))


@pytest.mark.parametrize("method", BUDGETS)
@pytest.mark.parametrize("simulator", [Pendulum(horizon=12), gymnasium_engine("Pendulum-v1", horizon=12)])
def test_every_step_is_what_a_pilot_does_who_keeps_a_diary(make_network, method, simulator):
    base, task, budget = policy(make_network, 1), policy(make_network, 2), BUDGETS[method]
    adapted = AdaptedPolicy(base, task, budget)
    rows = simulator.sample(np.random.default_rng(1), 3)
    flights = rollout(simulator, adapted, rows, record=True, workers=1)
    found = trace(adapted, flights)
    assert len(found) == 3 * 12
    for b in range(3):
        memory = budget.begin(1)
        for t in range(12):
            here = np.flatnonzero((found.episodes == b) & (found.steps == t))
            seen = flights.recording.observations[b : b + 1, t]
            ground = base.distribution(seen)
            chosen = budget.project(t, memory, task.distribution(seen), ground)
            drawn = chosen.mean + chosen.std * normals(episode_keys(rows[b : b + 1]), t, 1)
            assert found.memory[here] == memory
            assert found.limit[here] == allowed(budget, t, memory)
            for kept, expected in zip((*found.base, *found.chosen, found.presquash),
                                      (*ground, *chosen, drawn), strict=True):  # fmt: skip
                assert kept[here] == expected
            memory = budget.charge(memory, chosen, ground, drawn)
    if method == "ratio":
        bound = log_max_ratio(*found.chosen, *found.base)
        assert bound.max() <= budget.log_alpha_per_step
        assert bound[found.steps >= 9].max() == 0
    table = found.grid(found.limit)
    assert table.shape == (3, 12)
    assert np.array_equal(found.rows(table), found.limit)


def test_flights_of_another_policy_or_without_recording_are_refused(make_network):
    simulator, budget = Pendulum(horizon=5), BUDGETS["ratio"]
    one = AdaptedPolicy(policy(make_network, 1), policy(make_network, 2), budget)
    other = AdaptedPolicy(policy(make_network, 1), policy(make_network, 3), budget)
    rows = simulator.sample(np.random.default_rng(0), 2)
    with pytest.raises(NiwakiError, match="not those of the policy"):
        trace(one, rollout(simulator, other, rows, record=True))
    with pytest.raises(NiwakiError, match="only recorded flights"):
        trace(one, rollout(simulator, one, rows))
    staged = AdaptedPolicy(policy(make_network, 1), policy(make_network, 2), budget, (budget,))
    with pytest.raises(NiwakiError, match="with one budget"):
        trace(staged, rollout(simulator, staged, rows, record=True))
    with pytest.raises(NiwakiError, match="does not say how far"):
        allowed(object(), 0, np.zeros(1))


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=6), st.floats(0, 1), st.floats(0, 1), st.integers(0, 3))
def test_advantages_are_the_sum_of_the_discounted_surprises(rewards, gamma, lam, later):
    """Whatever comes after an episode's end, which is zeros."""
    steps = len(rewards)
    values = np.sin(np.arange(steps))
    padded = [np.append(row, np.zeros(later))[None] for row in (rewards, values)]
    found = advantages(*padded, gamma=gamma, lam=lam)[0]
    surprises = [r + gamma * (values[t + 1] if t + 1 < steps else 0.0) - values[t] for t, r in enumerate(rewards)]
    for t in range(steps):
        expected = math.fsum((gamma * lam) ** k * surprises[t + k] for k in range(steps - t))
        assert found[t] == pytest.approx(expected, abs=1e-9)
    assert (found[steps:] == 0).all()


def test_with_lambda_one_it_is_the_return_less_the_value():
    rewards, values = np.array([[1.0, 2.0, 4.0]]), np.array([[0.3, 0.2, 0.1]])
    assert advantages(rewards, values, gamma=0.5, lam=1.0)[0] == pytest.approx([3 - 0.3, 4 - 0.2, 4 - 0.1])
