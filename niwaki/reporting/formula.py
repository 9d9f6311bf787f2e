"""A policy that became so small that one can read it: written out as formulas."""

from __future__ import annotations

import numpy as np

from niwaki.policies.compact import compact
from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.types import Floats

READABLE = 40  # weights up to which formulas say more than a picture
DIGITS = 4


def formulas(policy: NetworkPolicy) -> tuple[str, ...]:
    """The policy, one line for every quantity; none where there are too many weights to read.

    o are the observations, n the normalised ones, h the hidden units, y the outputs, all counted from 0. Numbers
    are rounded to `DIGITS` significant digits.
    """
    if policy.nonzero_weights > READABLE:
        return ()
    network = compact(policy)
    names = [f"o{i}" for i in range(network.observation_size)]
    lines, names = _normalised(network, names)
    for depth, layer in enumerate(network.layers):
        last = depth == len(network.layers) - 1
        stem = "y" if last else "h" if len(network.layers) == 2 else f"h{depth + 1}."
        outputs = [f"{stem}{i}" for i in range(len(layer.bias))]
        lines += [f"{name} = {_unit(layer, i, names)}" for i, name in enumerate(outputs)]
        names = outputs
    return (*lines, _action(network, names))


def _normalised(network: NetworkPolicy, names: list[str]) -> tuple[list[str], list[str]]:
    """A line for each observation that is read, and what the first layer reads."""
    normalizer = network.normalizer
    if normalizer is None:
        return [], names
    read = np.flatnonzero(network.layers[0].weight.any(axis=0))
    lines = []
    for i in read:
        shifted = _sum([(1.0, names[i])], -float(normalizer.mean[i]))
        scaled = f"({shifted}) / {_number(float(normalizer.scale[i]))}"
        limit = _number(normalizer.clip)
        lines.append(f"n{i} = " + (scaled if np.isinf(normalizer.clip) else f"clip({scaled}, −{limit}, {limit})"))
    return lines, [f"n{i}" for i in range(len(names))]


def _unit(layer: Layer, i: int, names: list[str]) -> str:
    terms = [(float(w), name) for w, name in zip(layer.weight[i], names, strict=True) if w != 0]
    inside = _sum(terms, float(layer.bias[i]))
    return inside if layer.activation == "identity" else f"{layer.activation}({inside})"


def _sum(terms: list[tuple[float, str]], constant: float) -> str:
    """Terms with their signs, such as −1.5 a + b − 2."""
    shown = [(w < 0, name if abs(w) == 1 else f"{_number(abs(w))} {name}") for w, name in terms]
    if constant != 0 or not terms:
        shown.append((constant < 0, _number(abs(constant))))
    first, *rest = shown
    return ("−" if first[0] else "") + first[1] + "".join(f" {'−' if minus else '+'} {text}" for minus, text in rest)


def _action(network: NetworkPolicy, outputs: list[str]) -> str:
    head, listed = network.head, ", ".join(outputs)
    if head.kind == "argmax":
        return f"action = the index of the largest of {listed} (the first one on ties)"
    if head.kind == "raw":
        return f"action = {listed}"
    verb = "clip" if head.kind == "clip" else "tanh, scaled to"
    return f"action = {listed}; {verb} {_bounds(head.low, head.high)}"


def _bounds(low: Floats, high: Floats) -> str:
    each = [f"[{_sum([], float(a))}, {_sum([], float(b))}]" for a, b in zip(low, high, strict=True)]
    return each[0] if len(set(each)) == 1 else ", ".join(each)


def _number(value: float) -> str:
    return f"{value:.{DIGITS}g}"
