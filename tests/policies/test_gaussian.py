"""GaussianPolicy: one network, a mean and a deviation; what cannot be one is refused."""

import numpy as np
import pytest
import torch

from niwaki.policies.gaussian import Gaussian, GaussianPolicy, LogStd
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.types import Box, Discrete, NiwakiError

SQUASH = Head("squash", np.array([-1.0, 0.0]), np.array([1.0, 4.0]))
OBSERVATIONS = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32) * 3


def policy(make_network, head=SQUASH, **std):
    return GaussianPolicy(make_network((3, 8, 4), ("relu",)), head, LogStd(**std))


@pytest.mark.parametrize("form", ["clamp", "tanh"])
def test_the_distribution_is_that_of_the_same_formula_in_torch(make_network, form):
    noisy = policy(make_network, form=form, low=-1.0, high=0.5)
    outputs = torch.from_numpy(noisy.network.outputs(OBSERVATIONS)).double()
    raw = outputs[:, 2:]
    log_std = raw.clamp(-1.0, 0.5) if form == "clamp" else -1.0 + 0.5 * 1.5 * (torch.tanh(raw) + 1)
    found = noisy.distribution(OBSERVATIONS)
    np.testing.assert_array_equal(found.mean, outputs[:, :2])
    np.testing.assert_allclose(found.std, log_std.exp(), rtol=2e-6)
    assert len(np.unique(found.std)) > 100


def test_the_log_density_is_that_of_torch(make_network):
    noisy = policy(make_network)
    presquash = np.random.default_rng(1).normal(size=(400, 2))
    mean, std = noisy.distribution(OBSERVATIONS)
    expected = torch.distributions.Normal(torch.from_numpy(mean), torch.from_numpy(std))
    expected = expected.log_prob(torch.from_numpy(presquash)).sum(1)
    np.testing.assert_allclose(noisy.log_density(OBSERVATIONS, presquash), expected, rtol=1e-12)
    np.testing.assert_array_equal(
        Gaussian(mean, std).log_density(presquash), noisy.log_density(OBSERVATIONS, presquash)
    )


def test_without_noise_it_is_its_deterministic_view(make_network):
    noisy = policy(make_network)
    mean = noisy.distribution(OBSERVATIONS).mean
    np.testing.assert_allclose(noisy.deterministic(OBSERVATIONS), noisy.actions(mean), atol=2e-6)
    assert noisy.deterministic.action_space == noisy.action_space == Box((-1.0, 0.0), (1.0, 4.0))
    assert noisy.observation_size == 3


def test_actions_stay_in_the_box_however_far_the_noise_goes(make_network):
    for head in (SQUASH, Head("clip", SQUASH.low, SQUASH.high)):
        actions = policy(make_network, head).actions(np.array([[1e300, -1e300], [-1e300, 1e300]]))
        assert actions.dtype == np.float32
        np.testing.assert_allclose(actions, [[1.0, 0.0], [-1.0, 4.0]], atol=1e-6)


def test_other_action_spaces_are_refused(make_network):
    noisy = policy(make_network)
    assert noisy.for_actions(Box((-9.0, -9.0), (9.0, 9.0))) is noisy
    with pytest.raises(NiwakiError, match="takes one of 2 actions"):
        noisy.for_actions(Discrete(2))


LAYER = Layer(np.ones((4, 3)), np.zeros(4))
REFUSED = {
    "a discrete head": (lambda: GaussianPolicy(NetworkPolicy((LAYER,)), Head("argmax")), "continuous actions"),
    "a network with a head": (
        lambda: GaussianPolicy(NetworkPolicy((LAYER,), Head("argmax")), SQUASH),
        "needs a raw head, got argmax",
    ),
    "too few outputs": (
        lambda: GaussianPolicy(NetworkPolicy((Layer(np.ones((2, 3)), np.zeros(2)),)), SQUASH),
        "2 actions need 4 network outputs, means and log-stds, got 2",
    ),
    "an unknown form": (lambda: LogStd("softplus"), "unknown form of the log-std 'softplus'"),  # type: ignore[arg-type]
    "bounds the wrong way round": (lambda: LogStd("clamp", 2.0, -20.0), "low < high within -80 and 80, got 2.0"),
    "a bound that is not a number": (lambda: LogStd("tanh", float("nan"), 2.0), "low < high"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_gaussian_policy_is_refused(case):
    build, words = REFUSED[case]
    with pytest.raises(NiwakiError, match=words):
        build()
