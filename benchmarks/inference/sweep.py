"""Nanoseconds for one action: the emitted C against torch, onnxruntime and NumPy, batch 1, one thread.

C is timed inside C, as it runs on a target: a loop over many observations around `policy_act`. The others
are timed as they are called from Python, which is how they are used. The quickest of several passes counts.

    python benchmarks/inference/sweep.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import onnxruntime
import torch

from niwaki.export.onnx import onnx_model
from niwaki.policies.deployed import deployed, ns_per_call
from niwaki.policies.network import Head, Layer, NetworkPolicy

NETWORKS = (  # widths, hidden activation
    ((4, 64, 64, 2), "tanh"),
    ((8, 64, 64, 4), "tanh"),
    ((8, 64, 64, 4), "relu"),
    ((24, 128, 128, 4), "tanh"),
    ((17, 256, 256, 6), "relu"),
    ((8, 400, 300, 2), "relu"),
)


def network(sizes: tuple[int, ...], activation: str) -> NetworkPolicy:
    rng = np.random.default_rng(0)
    pairs = list(pairwise(sizes))
    layers = tuple(
        Layer(
            rng.normal(size=(m, n)) / np.sqrt(n),
            rng.normal(size=m) * 0.1,
            activation if i < len(pairs) - 1 else "identity",
        )
        for i, (n, m) in enumerate(pairs)
    )
    bound = np.ones(sizes[-1])
    return NetworkPolicy(layers, Head("clip", -bound, bound))


def best_ns(call: Callable[[], object], calls: int = 2000, passes: int = 9) -> float:
    """Nanoseconds of one call, the quickest pass."""
    best = np.inf
    for _ in range(passes):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        best = min(best, time.perf_counter() - start)
    return best / calls * 1e9


def torch_call(policy: NetworkPolicy, observation: np.ndarray) -> Callable[[], object]:
    kinds = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}
    modules: list[torch.nn.Module] = []
    for layer in policy.layers:
        linear = torch.nn.Linear(layer.weight.shape[1], layer.weight.shape[0])
        linear.weight.data, linear.bias.data = torch.tensor(layer.weight), torch.tensor(layer.bias)
        modules += [linear] + ([kinds[layer.activation]()] if layer.activation in kinds else [])
    net, x = torch.nn.Sequential(*modules).eval(), torch.tensor(observation)

    def call() -> object:
        with torch.inference_mode():
            return net(x).clamp(-1, 1)

    return call


def onnx_call(policy: NetworkPolicy, observation: np.ndarray) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = onnx_model(policy).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: observation}
    return lambda: session.run(None, feed)


def main() -> None:
    torch.set_num_threads(1)
    print("| network | C, ns | from Python, ns | NumPy | onnxruntime | torch | onnxruntime / C |")
    print("|---|---|---|---|---|---|---|")
    for sizes, activation in NETWORKS:
        policy = network(sizes, activation)
        compiled = deployed(policy)
        c = min(ns_per_call(compiled) or np.nan for _ in range(5))
        observation = np.random.default_rng(1).standard_normal((1, sizes[0])).astype(np.float32)
        called = best_ns(lambda p=compiled, x=observation: p(x))
        plain = best_ns(lambda p=policy, x=observation: p(x))
        ort, eager = best_ns(onnx_call(policy, observation)), best_ns(torch_call(policy, observation))
        name = "-".join(map(str, sizes)) + f" {activation}"
        row = f"| {name} | {c:,.0f} | {called:,.0f} | {plain:,.0f} | {ort:,.0f} | {eager:,.0f} | {ort / c:.0f}x |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
