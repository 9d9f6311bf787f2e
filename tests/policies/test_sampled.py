"""A Gaussian policy in flight: the scenario's own noise, whatever the batch, the simulator and the workers."""

import numpy as np
import pytest

from niwaki.policies.deployed import MirrorPolicy
from niwaki.policies.gaussian import GaussianPolicy, LogStd
from niwaki.policies.network import Head
from niwaki.policies.sampled import SampledPolicy, sampled
from niwaki.rollout import rollout, take_over
from niwaki.simulators.gymnasium import gymnasium_engine
from niwaki.simulators.pendulum import Pendulum
from niwaki.testing import check_episodic


@pytest.fixture(scope="module")
def noisy(make_network):
    network = make_network((3, 16, 2), ("relu",), seed=2)
    return sampled(GaussianPolicy(network, Head("squash", [-2.0], [2.0]), LogStd("tanh", -2.0, 0.5)))


def everything(flights):
    """All bits of some flights, episode by episode."""
    recording = flights.recording
    return [
        (flights.returns[i], n, recording.actions[i, :n].tobytes(), recording.observations[i, : n + 1].tobytes())
        for i, n in enumerate(flights.lengths)
    ]


def test_it_keeps_what_every_episodic_policy_promises(noisy):
    check_episodic(noisy, Pendulum().sample(np.random.default_rng(0), 5))


def test_it_draws_from_the_distribution_it_states(noisy):
    """One state, many scenarios: mean and deviation of what was drawn, within 4.5 standard errors."""
    observation, n = np.array([[0.6, 0.8, -0.4]], np.float32), 40_000
    mean, std = noisy.distribution(observation)[:2]
    pilot = noisy.begin(np.random.default_rng(0).random((n, 2)))
    actions = pilot.act(3, np.arange(n), np.repeat(observation, n, axis=0))[:, 0].astype(float)
    drawn = np.arctanh(actions / 2)
    assert abs(drawn.mean() - mean[0, 0]) < 4.5 * std[0, 0] / np.sqrt(n)
    assert abs(drawn.std() / std[0, 0] - 1) < 4.5 / np.sqrt(2 * n)


def test_mirror_and_compiled_code_draw_the_same_actions(noisy):
    rows = Pendulum().sample(np.random.default_rng(1), 8)
    mirrored = SampledPolicy(noisy.policy, MirrorPolicy(noisy.policy.network))
    simulator = Pendulum(horizon=30)
    flights = [everything(rollout(simulator, policy, rows, record=True)) for policy in (noisy, mirrored)]
    assert flights[0] == flights[1]


@pytest.mark.parametrize("kind", ["lockstep", "engine"])
def test_episodes_together_are_episodes_alone_on_any_number_of_workers(noisy, kind):
    simulator = Pendulum(horizon=30) if kind == "lockstep" else gymnasium_engine("Pendulum-v1", horizon=30)
    rows = simulator.sample(np.random.default_rng(2), 6)
    together = everything(rollout(simulator, noisy, rows, record=True, workers=1))
    alone = [everything(rollout(simulator, noisy, row, record=True, workers=1))[0] for row in rows]
    assert together == alone
    if kind == "engine":
        assert everything(rollout(simulator, noisy, rows, record=True, workers=2)) == together
    assert len({actions for _, _, actions, _ in together}) == 6


def test_the_same_start_with_another_seed_is_another_flight(noisy):
    simulator = Pendulum(horizon=30)
    rows = np.repeat(simulator.nominal[None], 2, axis=0)
    rows[1, -1] = 1.0
    flights = rollout(simulator, noisy, rows)
    assert flights.returns[0] != flights.returns[1]


def test_taking_over_from_itself_changes_nothing(noisy):
    simulator = Pendulum(horizon=30)
    flights = rollout(simulator, noisy, simulator.sample(np.random.default_rng(3), 4), record=True)
    rows, steps = np.repeat(np.arange(4), 3), np.tile([0, 11, 30], 4)
    again = take_over(simulator, noisy, flights, rows=rows, steps=steps)
    assert np.array_equal(again.returns, flights.returns[rows])
