"""A network's torch twin: the same function in float32, with parameters that can learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from niwaki.policies.gaussian import LogStd
from niwaki.policies.network import LEAKY_SLOPE, NetworkPolicy

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "elu": functional.elu,
    "leaky_relu": lambda x: functional.leaky_relu(x, LEAKY_SLOPE),
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
}


class Twin:
    """Calling it gives the network's outputs [B, out] before the head, for observations [B, O]."""

    def __init__(self, network: NetworkPolicy) -> None:
        self.origin = network
        self.parts = [torch.tensor(part).requires_grad_() for part in network.parts]

    def __call__(self, observations: Tensor) -> Tensor:
        x, depth = observations, len(self.origin.layers)
        if self.origin.normalizer is not None:
            n = self.origin.normalizer
            mean, scale = torch.from_numpy(np.array(n.mean)), torch.from_numpy(np.array(n.scale))
            x = torch.clamp((x - mean) / scale, -n.clip, n.clip).float()
        for layer, weight, bias in zip(self.origin.layers, self.parts[:depth], self.parts[depth:], strict=True):
            x = FUNCTIONS[layer.activation](functional.linear(x, weight, bias))
        return x

    @property
    def network(self) -> NetworkPolicy:
        """The network as it is now. Raises NiwakiError where a weight is no number any more."""
        return self.origin.with_parts([part.detach().numpy() for part in self.parts])


def deviations(log_std: LogStd, outputs: Tensor) -> Tensor:
    """Standard deviations [B, A] of a Gaussian policy from its network's last outputs, as `LogStd` has them."""
    if log_std.form == "clamp":
        return torch.exp(torch.clamp(outputs, log_std.low, log_std.high))
    return torch.exp(log_std.low + (torch.tanh(outputs) + 1) / 2 * (log_std.high - log_std.low))
