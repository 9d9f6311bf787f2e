"""The one arithmetic of a deployed policy, in NumPy: float32, a fixed order of operations, no libm.

The C that `niwaki.policies.c_source` emits computes the same operations in the same order, so both give
the same bits on every IEEE 754 machine. This mirror is the oracle for the compiled code and the fallback
where no compiler exists.

The order, for one layer with inputs x[0..n) and outputs y[0..m):
  wide (m >= 16 or n < 16)   y[j] = (((b[j] + w[j,0] x[0]) + w[j,1] x[1]) + ...)
  narrow (otherwise)         s[t] = sum over i = t, t+8, t+16, ... of w[j,i] x[i], from +0, in that order;
                             y[j] = b[j] + (((s0+s1) + (s2+s3)) + ((s4+s5) + (s6+s7)))
A wide layer is vectorised across its outputs, a narrow one across its inputs (eight partial sums).
Terms whose weight is zero may be left out: no sum here can ever be -0.0 (see `Layer`), so adding +-0.0
changes nothing as long as the inputs are finite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.policies.network import LEAKY_SLOPE, Head, Layer, NetworkPolicy, Normalizer
from niwaki.types import Floats, NiwakiError

PARTIAL_SUMS = 8
NARROW_OUTPUTS = 16  # fewer outputs than this,
NARROW_INPUTS = 16  # and at least this many inputs, make a layer narrow

# tanh(x) = x P(x^2) / Q(x^2) on [-TANH_LIMIT, TANH_LIMIT], our own minimax fit (benchmarks/inference/fit_tanh.py).
# Over all float32 inputs: absolute error below 4.8e-7, |result| < 1; relative error below 7.8e-7 for normal floats.
TANH_LIMIT = np.float32(float.fromhex("0x1.eccccc0p+2"))
TANH_P = tuple(
    np.float32(float.fromhex(h)) for h in ("0x1.fffff0p-1", "0x1.0906p-3", "0x1.84fe22p-9", "0x1.8612c2p-17")
)
TANH_Q = tuple(
    np.float32(float.fromhex(h))
    for h in ("0x1p+0", "0x1.d9d7e0p-2", "0x1.87494ap-6", "0x1.f9af3ep-13", "0x1.0f225ap-22")
)


def narrow(layer: Layer) -> bool:
    """Whether the layer is summed in eight partial sums."""
    outputs, inputs = layer.weight.shape
    return outputs < NARROW_OUTPUTS and inputs >= NARROW_INPUTS


def mirror_outputs(policy: NetworkPolicy, observations: Floats) -> Floats:
    """The last layer's outputs [B, out] before the head, in the deployed arithmetic.

    Observations must be finite: with NaN or infinity the result is defined on no machine.
    """
    x = np.asarray(observations, dtype=np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if policy.normalizer is not None:
            x = normalize(normalizer_tables(policy.normalizer), x)
        for layer in policy.layers:
            x = activate(layer.activation, linear(layer, x))
    return x


def mirror_act(policy: NetworkPolicy, observations: Floats) -> NDArray:
    """Actions for observations [B, O] in the deployed arithmetic: int64 [B] or float32 [B, A]."""
    outputs = mirror_outputs(policy, observations)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return apply_head(policy.head, outputs)


@dataclass(frozen=True)
class NormalizerTables:
    """The float32 numbers that the deployed normaliser holds, each [O]. The mean comes in two parts, so
    that subtracting it loses nothing where an observation hardly varies around a large mean."""

    mean: Floats
    mean_rest: Floats
    factor: Floats
    clip: np.float32


def normalizer_tables(normalizer: Normalizer) -> NormalizerTables:
    """float32 tables of a float64 normaliser. Raises NiwakiError where a mean or 1 / scale is too large for one."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = normalizer.mean.astype(np.float32)
        rest = (normalizer.mean - mean).astype(np.float32)
        factor = (1.0 / normalizer.scale).astype(np.float32)
        clip = np.float32(normalizer.clip)
    if not (np.isfinite(mean).all() and np.isfinite(factor).all()):
        i = int(np.argmin(np.isfinite(mean) & np.isfinite(factor)))
        raise NiwakiError(
            f"the normaliser's mean {normalizer.mean[i]:g} and scale {normalizer.scale[i]:g} of observation {i} "
            "cannot be held in float32: rescale that observation"
        )
    return NormalizerTables(mean, rest, factor, clip)


def normalize(tables: NormalizerTables, x: Floats) -> Floats:
    """clip(((x - mean) - mean_rest) * factor, -clip, clip)."""
    z = ((x - tables.mean) - tables.mean_rest) * tables.factor
    return clamp(z, -tables.clip, tables.clip) if np.isfinite(tables.clip) else z


def linear(layer: Layer, x: Floats) -> Floats:
    """One layer before its activation [B, out], summed in the fixed order."""
    b, columns = layer.bias, np.ascontiguousarray(layer.weight.T)
    sums = np.zeros((PARTIAL_SUMS if narrow(layer) else 1, len(x), len(b)), dtype=np.float32)
    if not narrow(layer):
        sums[0] = b
    term = np.empty_like(sums[0])  # made once: a fresh array per input would cost three times the arithmetic
    for i, column in enumerate(columns):
        np.multiply(column, x[:, i : i + 1], out=term)
        sums[i % len(sums)] += term
    if not narrow(layer):
        return sums[0]
    s = sums
    return b + (((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7])))


def tanh(x: Floats) -> Floats:
    """tanh in the deployed arithmetic."""
    p, q = TANH_P, TANH_Q
    x = clamp(x, -TANH_LIMIT, TANH_LIMIT)
    u = x * x
    v = u * u
    numerator = (p[0] + p[1] * u) + v * (p[2] + p[3] * u)
    denominator = (q[0] + q[1] * u) + v * ((q[2] + q[3] * u) + v * q[4])
    return x * numerator / denominator


def activate(name: str, x: Floats) -> Floats:
    """The activation in the deployed arithmetic; tanh is the only transcendental function it needs."""
    one, half = np.float32(1), np.float32(0.5)
    if name == "relu":
        return np.where(x > 0, x, np.float32(0))
    if name == "tanh":
        return tanh(x)
    if name == "leaky_relu":
        return np.where(x > 0, x, x * np.float32(LEAKY_SLOPE))
    if name == "elu":  # e^x - 1 = 2 t / (1 - t) with t = tanh(x / 2)
        t = tanh(x * half)
        return np.where(x > 0, x, (t + t) / (one - t))
    if name in ("sigmoid", "silu"):
        gate = half + half * tanh(x * half)
        return gate if name == "sigmoid" else x * gate
    return x  # identity


def apply_head(head: Head, y: Floats) -> NDArray:
    """Actions from outputs [B, out] in the deployed arithmetic."""
    if head.kind == "argmax":
        best = np.zeros(len(y), dtype=np.int64)
        largest = y[:, 0].copy()
        for j in range(1, y.shape[1]):
            better = y[:, j] > largest
            best[better] = j
            largest[better] = y[better, j]
        return best
    if head.kind == "clip":
        bounds = clip_bounds(head)
        return y if bounds is None else clamp(y, *bounds)
    if head.kind == "squash":
        limit = squash_limit(head)
        if np.isfinite(limit):
            y = clamp(y, -limit, limit)
        return head.low + (tanh(y) + np.float32(1)) * half_ranges(head)
    return y


def clip_bounds(head: Head) -> tuple[Floats, Floats] | None:
    """(low, high) [A] of a clip head, an unbounded side as the largest float; None where nothing is bounded."""
    if not (np.isfinite(head.low).any() or np.isfinite(head.high).any()):
        return None
    largest = np.finfo(np.float32).max
    return np.clip(head.low, -largest, largest), np.clip(head.high, -largest, largest)


def squash_limit(head: Head) -> np.float32:
    """The bound of a squash head's outputs as float32; infinity where there is none that a float can reach."""
    with np.errstate(over="ignore"):
        return np.float32(head.limit)


def half_ranges(head: Head) -> Floats:
    """(high - low) / 2 as float32 [A]."""
    return ((head.high.astype(np.float64) - head.low) / 2).astype(np.float32)


def clamp(x: Floats, low: Floats | np.float32, high: Floats | np.float32) -> Floats:
    """Elementwise clip by comparisons, upper bound first, as the C does it."""
    x = np.where(x < high, x, high)
    return np.where(x > low, x, low)
