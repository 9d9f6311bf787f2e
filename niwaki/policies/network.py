"""NetworkPolicy: observation normaliser -> linear layers with activations -> action head.

A frozen value. Zeros in the weights ARE the mask; there are no mask objects beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from niwaki.types import ActionSpace, Box, Discrete, Floats, NiwakiError

ACTIVATIONS = ("identity", "relu", "tanh", "elu", "leaky_relu", "sigmoid", "silu")
LEAKY_SLOPE = 0.01  # torch's default negative slope

HeadKind = Literal["raw", "argmax", "clip", "squash"]
HEADS: tuple[HeadKind, ...] = ("raw", "argmax", "clip", "squash")


def _freeze(value: object, **arrays: Floats) -> None:
    """Make arrays read-only fields of a frozen dataclass."""
    for name, array in arrays.items():
        array.setflags(write=False)
        object.__setattr__(value, name, array)


@dataclass(frozen=True, eq=False)
class Layer:
    """y = activation(weight @ x + bias)."""

    weight: Floats  # [out, in] float32
    bias: Floats  # [out] float32
    activation: str = "identity"

    def __post_init__(self) -> None:
        weight = np.array(self.weight, dtype=np.float32, order="C")  # a copy: nobody else holds it
        # A bias of -0.0 becomes +0.0: a sum that starts at +0.0 never turns into -0.0, so leaving out
        # terms with zero weight (sparse code, removed units) cannot change a single bit.
        bias = np.array(self.bias, dtype=np.float32) + np.float32(0.0)
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise NiwakiError(f"a layer needs weights [out, in] and biases [out], got {weight.shape} and {bias.shape}")
        if self.activation not in ACTIVATIONS:
            raise NiwakiError(f"unknown activation {self.activation!r}; known: {', '.join(ACTIVATIONS)}")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise NiwakiError(f"a layer of shape {weight.shape} holds weights that are not finite (NaN or infinity)")
        _freeze(self, weight=weight, bias=bias)


@dataclass(frozen=True, eq=False)
class Normalizer:
    """clip((observation - mean) / scale, -clip, clip); `scale` is sqrt(variance + epsilon)."""

    mean: Floats  # [O] float64
    scale: Floats  # [O] float64
    clip: float = float("inf")

    def __post_init__(self) -> None:
        mean, scale = (np.array(v, dtype=np.float64).reshape(-1) for v in (self.mean, self.scale))
        if mean.shape != scale.shape:
            raise NiwakiError(f"normaliser mean and scale differ in size: {mean.size} and {scale.size}")
        if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise NiwakiError("the observation normaliser needs finite means and positive, finite scales")
        if not self.clip > 0:
            raise NiwakiError(f"the normaliser's clip must be positive, got {self.clip}")
        _freeze(self, mean=mean, scale=scale)


@dataclass(frozen=True, eq=False)
class Head:
    """From the last layer's outputs to an action.

    raw: the outputs themselves, until a task says what they mean (`NetworkPolicy.for_actions`);
    argmax: index of the largest output, the first one on ties; clip: clip(y, low, high);
    squash: low + (tanh(y) + 1) / 2 * (high - low). `limit` clips the outputs to [-limit, limit] before
    the tanh (Stable-Baselines3's `clip_mean` under state-dependent exploration); squash only.
    """

    kind: HeadKind = "raw"
    low: Floats = field(default_factory=lambda: np.zeros(0))  # [A] float32, clip and squash only
    high: Floats = field(default_factory=lambda: np.zeros(0))  # [A] float32, clip and squash only
    limit: float = float("inf")

    def __post_init__(self) -> None:
        if self.kind not in HEADS:
            raise NiwakiError(f"unknown action head {self.kind!r}; known: {', '.join(HEADS)}")
        low, high = (np.array(v, dtype=np.float32).reshape(-1) for v in (self.low, self.high))
        if low.shape != high.shape or not (low < high).all():
            raise NiwakiError(f"action bounds must have low < high, got low {low.tolist()} and high {high.tolist()}")
        if self.kind == "squash" and not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise NiwakiError("a tanh-squashed action needs finite bounds")
        if not self.limit > 0:
            raise NiwakiError(f"the head's limit must be positive, got {self.limit}")
        _freeze(self, low=low, high=high)


@dataclass(frozen=True, eq=False)
class NetworkPolicy:
    """The policy we can shape. Calling it computes in float32 with BLAS: quick, but its last bits
    depend on the machine. Where bits are promised, use `niwaki.policies.mirror` or the compiled C."""

    layers: tuple[Layer, ...]
    head: Head = field(default_factory=Head)
    normalizer: Normalizer | None = None
    origin: tuple[tuple[str, str], ...] = ()  # where it came from: ("source", ...), ("algorithm", ...)

    def __post_init__(self) -> None:
        if not self.layers:
            raise NiwakiError("a network needs at least one layer")
        for a, b in zip(self.layers, self.layers[1:], strict=False):
            if a.weight.shape[0] != b.weight.shape[1]:
                raise NiwakiError(f"layers do not fit: {a.weight.shape[0]} outputs into {b.weight.shape[1]} inputs")
        if self.normalizer is not None and self.normalizer.mean.size != self.observation_size:
            raise NiwakiError(
                f"the normaliser has {self.normalizer.mean.size} entries, the network takes {self.observation_size}"
            )
        if self.head.kind in ("clip", "squash") and self.head.low.size != self.output_size:
            raise NiwakiError(f"{self.head.low.size} action bounds for {self.output_size} network outputs")

    @property
    def observation_size(self) -> int:
        return self.layers[0].weight.shape[1]

    @property
    def output_size(self) -> int:
        return self.layers[-1].weight.shape[0]

    @property
    def discrete(self) -> bool:
        return self.head.kind == "argmax"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths from observation to output, such as (8, 64, 64, 2)."""
        return (self.observation_size, *(layer.weight.shape[0] for layer in self.layers))

    @property
    def weights(self) -> int:
        """Number of weights, without biases."""
        return sum(layer.weight.size for layer in self.layers)

    @property
    def nonzero_weights(self) -> int:
        return int(sum(np.count_nonzero(layer.weight) for layer in self.layers))

    @property
    def nonzero_parameters(self) -> int:
        """Number of weights and biases that are not zero."""
        return self.nonzero_weights + int(sum(np.count_nonzero(layer.bias) for layer in self.layers))

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return self.weights + sum(layer.bias.size for layer in self.layers)

    @property
    def parts(self) -> list[Floats]:
        """The weights of all layers, then their biases."""
        return [layer.weight for layer in self.layers] + [layer.bias for layer in self.layers]

    def with_parts(self, parts: Sequence[Floats]) -> NetworkPolicy:
        """This policy with other weights and biases, in the order of `parts`."""
        depth = len(self.layers)
        layers = zip(parts[:depth], parts[depth:], self.layers, strict=True)
        return replace(self, layers=tuple(Layer(weight, bias, layer.activation) for weight, bias, layer in layers))

    def __call__(self, observations: Floats, /) -> NDArray:
        """Actions for observations [B, O]."""
        return apply_head(self.head, self.outputs(observations))

    def outputs(self, observations: Floats) -> Floats:
        """The last layer's outputs [B, out], before the head, float32."""
        x = np.asarray(observations, dtype=np.float32)
        if self.normalizer is not None:
            n = self.normalizer
            x = np.clip((x - n.mean) / n.scale, -n.clip, n.clip).astype(np.float32)
        for layer in self.layers:
            x = activate(layer.activation, x @ layer.weight.T + layer.bias)
        return x

    def for_actions(self, space: ActionSpace) -> NetworkPolicy:
        """This policy with a `raw` head given its meaning by the action space; otherwise checked to fit it.

        Raises NiwakiError when the number of actions or the kind of action does not match.
        """
        given = f"one of {self.output_size} actions" if self.discrete else f"{self.output_size} continuous actions"
        if isinstance(space, Discrete):
            if self.output_size != space.n or self.head.kind not in ("raw", "argmax"):
                raise NiwakiError(f"the task takes one of {space.n} actions, the policy gives {given}")
            return replace(self, head=Head("argmax")) if self.head.kind == "raw" else self
        if self.output_size != len(space.low) or self.head.kind == "argmax":
            raise NiwakiError(f"the task takes {len(space.low)} continuous actions, the policy gives {given}")
        if self.head.kind != "raw":
            return self
        return replace(self, head=Head("clip", np.array(space.low), np.array(space.high)))

    @property
    def action_space(self) -> ActionSpace:
        """The actions this policy gives (a raw head has no bounds)."""
        if self.discrete:
            return Discrete(self.output_size)
        if self.head.kind == "raw":
            unbounded = (float("inf"),) * self.output_size
            return Box(tuple(-bound for bound in unbounded), unbounded)
        return Box(tuple(self.head.low.tolist()), tuple(self.head.high.tolist()))


def activate(name: str, x: Floats) -> Floats:
    """The activation in the dtype of x, with NumPy's own functions."""
    if name == "identity":
        return x
    if name == "relu":
        return np.maximum(x, 0)
    if name == "tanh":
        return np.tanh(x)
    if name == "elu":
        return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    if name == "leaky_relu":
        return np.where(x > 0, x, x * x.dtype.type(LEAKY_SLOPE))
    if name == "sigmoid":
        return (np.tanh(x / 2) + 1) / 2
    return x * (np.tanh(x / 2) + 1) / 2  # silu


def apply_head(head: Head, outputs: Floats) -> NDArray:
    """Actions from network outputs [B, out]."""
    if head.kind == "argmax":
        return np.argmax(outputs, axis=1)
    if head.kind == "clip":
        return np.clip(outputs, head.low, head.high)
    if head.kind == "squash":
        squashed = np.tanh(np.clip(outputs, -head.limit, head.limit))
        return head.low + (squashed + 1) / 2 * (head.high - head.low)
    return outputs
