"""Gradients by hand agree with finite differences and with torch, sample by sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from niwaki.policies.gradients import backward, derivative, forward, weight_gradients
from niwaki.policies.network import ACTIVATIONS, Layer, NetworkPolicy, activate

Make = Callable[..., NetworkPolicy]
RNG = np.random.default_rng(5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_derivative_is_the_slope(name: str) -> None:
    x = RNG.normal(size=200) * 3
    step = 1e-6
    slope = (activate(name, x + step) - activate(name, x - step)) / (2 * step)
    np.testing.assert_allclose(derivative(name, x), slope, atol=1e-6)


def test_the_forward_pass_ends_in_the_networks_outputs(make_network: Make) -> None:
    network = make_network((5, 7, 6, 3), ("relu", "silu"), normalized=True)
    x = RNG.normal(size=(40, 5)) * 4
    np.testing.assert_allclose(forward(network, x).outputs, network.outputs(x), atol=1e-5)


@pytest.mark.parametrize("activation", ["tanh", "relu", "elu", "sigmoid"])
def test_mean_weight_gradients_are_torchs(make_network: Make, activation: str) -> None:
    network = make_network((4, 8, 6, 2), (activation,), normalized=True, density=0.7, seed=3)
    x = RNG.normal(size=(30, 4)) * 3
    wanted = RNG.normal(size=(30, 2))
    seen = forward(network, x)
    ours = weight_gradients(network, seen, 2 * (seen.outputs - wanted))

    apply = {"tanh": torch.tanh, "relu": torch.relu, "elu": torch.nn.functional.elu, "sigmoid": torch.sigmoid}
    weights = [torch.tensor(layer.weight, dtype=torch.float64, requires_grad=True) for layer in network.layers]
    h = torch.tensor(seen.inputs[0])
    for i, (weight, layer) in enumerate(zip(weights, network.layers, strict=True)):
        h = h @ weight.T + torch.tensor(layer.bias)
        h = apply[activation](h) if i < len(weights) - 1 else h
    ((h - torch.tensor(wanted)) ** 2).sum(dim=1).mean().backward()
    for mine, weight in zip(ours, weights, strict=True):
        np.testing.assert_allclose(mine, weight.grad, atol=1e-10)


def test_a_delta_times_an_input_is_one_samples_gradient(make_network: Make) -> None:
    network = make_network((3, 5, 2), ("tanh",))
    x = RNG.normal(size=(4, 3))
    seen = forward(network, x)
    direction = RNG.normal(size=(4, 2))
    deltas = backward(network, seen, direction)
    step = 1e-2  # weights are float32

    def loss(weight: np.ndarray) -> np.ndarray:
        first = Layer(weight, network.layers[0].bias, "tanh")
        return (forward(replace(network, layers=(first, network.layers[1])), x).outputs * direction).sum(axis=1)

    moved = network.layers[0].weight.copy()
    moved[2, 1] += step
    back = network.layers[0].weight.copy()
    back[2, 1] -= step
    slope = (loss(moved) - loss(back)) / float(moved[2, 1] - back[2, 1])
    np.testing.assert_allclose(deltas[0][:, 2] * seen.inputs[0][:, 1], slope, atol=1e-3)
