"""A network's torch twin: the same function, the same gradients, and back to the same bits."""

import numpy as np
import pytest
import torch

from niwaki.policies.gaussian import LogStd
from niwaki.policies.gradients import forward, weight_gradients
from niwaki.policies.network import ACTIVATIONS
from niwaki.policies.twin import Twin, deviations


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("normalized", [False, True])
def test_it_computes_what_the_network_computes_and_gives_it_back(make_network, activation, normalized):
    network = make_network((5, 7, 6, 3), (activation,), normalized=normalized)
    seen = np.random.default_rng(1).normal(size=(20, 5)).astype(np.float32) * 2
    twin = Twin(network)
    with torch.no_grad():
        assert np.allclose(twin(torch.from_numpy(seen)).numpy(), network.outputs(seen), atol=1e-5)
    assert all(np.array_equal(a, b) for a, b in zip(twin.network.parts, network.parts, strict=True))


def test_its_gradient_is_that_of_the_network(make_network):
    network = make_network((4, 6, 2), ("tanh",), normalized=True)
    seen = np.random.default_rng(2).normal(size=(9, 4)).astype(np.float32)
    twin = Twin(network)
    twin(torch.from_numpy(seen)).mean(dim=0).sum().backward()
    expected = weight_gradients(network, forward(network, seen), np.ones((9, 2)))
    for part, gradient in zip(twin.parts, expected, strict=False):
        assert np.allclose(part.grad.numpy(), gradient, atol=1e-5)


@pytest.mark.parametrize("log_std", [LogStd("clamp", -2.0, 0.5), LogStd("tanh", -5.0, 2.0)])
def test_its_deviations_are_those_of_the_policy(log_std):
    outputs = np.linspace(-4, 4, 30)[:, None]
    found = deviations(log_std, torch.from_numpy(outputs)).numpy()
    assert np.allclose(found, np.exp(log_std(outputs)), rtol=1e-5)
