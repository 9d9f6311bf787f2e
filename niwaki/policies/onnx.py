"""Policies from ONNX files: an MLP with an optional observation normaliser in front and an action head behind.

The graph is read, not run. Whatever is not recognised is refused with the operator's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np

from niwaki.policies.files import naming, parsing, read_bytes
from niwaki.policies.network import LEAKY_SLOPE, Head, Layer, NetworkPolicy, Normalizer
from niwaki.policies.onnx_graph import Step, read_steps
from niwaki.types import Floats, NiwakiError

ACTIVATION_OPS = {
    "Relu": "relu",
    "Tanh": "tanh",
    "Elu": "elu",
    "LeakyRelu": "leaky_relu",
    "Sigmoid": "sigmoid",
    "Silu": "silu",
    "Swish": "silu",
}
LINEAR_OPS = ("Gemm", "MatMul")
AFFINE_OPS = ("Add", "Sub", "Mul", "Div")
CLIP_OPS = ("Clip", "Min", "Max")
FLOAT_TYPES, WHOLE_TYPES = (1, 11), (6, 7)  # TensorProto: float and double, int32 and int64
INFINITY = float("inf")
ROUNDING = 1e-5  # how far a clip may cut into the range of a scaled tanh and still be its rounding


def load_onnx(path: str | Path) -> NetworkPolicy:
    """The policy of an ONNX model with one input [B, O] and one output, opset 6 or newer.

    In front, arithmetic with constants and a symmetric clip become the normaliser. Behind, ArgMax, a clip,
    or Tanh with a scale become the head; without them the head is `raw`. Raises NiwakiError, naming the
    operator, for everything else, and for weights kept in other files.
    """
    path = Path(path)
    with naming(path):
        steps, shape = read_steps(read_bytes(path))
        with parsing("chain of ONNX operators"):
            steps = _without_shaping(steps, shape)
            first = _first_layer(steps)
            layers, tail = _layers(steps[first:])
            normalizer = _normalizer(steps[:first], layers[0].weight.shape[1])
            head = _head(tail, layers[-1].weight.shape[0])
            return NetworkPolicy(layers, head, normalizer, (("source", path.name), ("format", "ONNX")))


def _first_layer(steps: Sequence[Step]) -> int:
    for i, step in enumerate(steps):
        if step.op in LINEAR_OPS:
            return i
    raise NiwakiError("the ONNX model has no Gemm or MatMul: it is not an MLP")


def _without_shaping(steps: Sequence[Step], shape: Sequence[int | None]) -> list[Step]:
    """The steps that compute something, of a model whose input has this shape. Reshaping [B, n] to [B, n] does not, nor
    does losing an axis of size 1; what would move numbers from one row to another, or add an axis along which the next
    step spreads them, is refused. A model of one row may join all of its numbers."""
    single = len(shape) == 1 or shape[:1] == (1,)
    size = _matrix(steps[_first_layer(steps)]).shape[1]
    kept: list[Step] = []
    flat = False  # whether the rows' axis may be gone, so that a second axis would cut the row up
    for step in steps:
        whole = bool(kept) and kept[-1].op == "ArgMax"
        if step.op == "Cast" and step.attributes.get("to") not in (*FLOAT_TYPES, *(WHOLE_TYPES if whole else ())):
            raise _refusal(step, "to this type")
        if step.op == "Flatten" and (flat or step.attributes.get("axis", 1) != 1):
            raise _refusal(step, "over the batch axis")
        if step.op == "Reshape" and not _keeps_rows(_axes(step), size, single=single, flat=flat):
            raise _refusal(step, f"to {_axes(step)} from {size} numbers a row")
        if step.op == "Unsqueeze" and (kept or _axes(step) != [0] or len(shape) != 1):
            raise _refusal(step, "in this place")
        if step.op in LINEAR_OPS:
            size = len(_matrix(step))
        if step.op == "ArgMax":
            size = 1
        if step.op in ("Reshape", "Squeeze"):
            flat = step.op == "Squeeze" or _axes(step) in ([-1], [size])
        if step.op not in ("Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Cast"):
            kept.append(step)
    return kept


def _keeps_rows(axes: list[int] | None, size: int, *, single: bool, flat: bool) -> bool:
    """Whether a Reshape to these axes leaves every row of so many numbers a row. A `single` row may be all there is; 0
    stands for the first axis that is there, which is no row's where it is `flat`."""
    kept = [[size], [-1, size], [1, size]]
    if single or size == 1:
        kept.append([-1])
    if single:
        kept.append([1, -1])
    if not flat:
        kept += [[0, size], [0, -1]]
    return axes in kept


def _axes(step: Step) -> list[int] | None:
    """What a step says of axes, in an input or, before opset 13, an attribute; None where that is not constant."""
    given = step.constants[1] if len(step.constants) > 1 and step.slot == 0 else step.attributes.get("axes")
    return None if given is None else np.reshape(given, -1)[:8].tolist()


def _layers(steps: list[Step]) -> tuple[tuple[Layer, ...], list[Step]]:
    """The layers, and the steps behind them that belong to the head."""
    layers: list[Layer] = []
    while steps and steps[0].op in LINEAR_OPS:
        weight, bias = _linear(steps[0])
        arithmetic = list(takewhile(lambda step: step.op in AFFINE_OPS, steps[1:]))
        for step in arithmetic:
            weight, bias = _fold(step, weight, bias)
        steps = steps[1 + len(arithmetic) :]
        activation = "identity"
        if steps and steps[0].op in ACTIVATION_OPS and not _is_squash(steps):
            activation = _activation(steps[0])
            steps = steps[1:]
        layers.append(Layer(weight, bias, activation))
    return tuple(layers), steps


def _is_squash(steps: list[Step]) -> bool:
    """Whether a Tanh belongs to the head: nothing but its scaling follows."""
    return steps[0].op == "Tanh" and all(step.op in (*AFFINE_OPS, *CLIP_OPS) for step in steps[1:])


def _matrix(step: Step) -> Floats:
    """weight [out, in] of a Gemm or MatMul whose first input is the data, as the file has it: nothing is copied."""
    matrix = step.constants[1] if step.slot == 0 else None
    if matrix is None or matrix.ndim != 2 or step.attributes.get("transA", 0):
        raise _refusal(step, "without a constant weight matrix on its right")
    return matrix if step.op == "Gemm" and step.attributes.get("transB", 0) else matrix.T


def _linear(step: Step) -> tuple[Floats, Floats]:
    """weight [out, in] and bias [out], float64, of a Gemm or MatMul whose first input is the data."""
    weight = _matrix(step).astype(np.float64)
    bias = np.zeros(len(weight))
    if step.op == "MatMul":
        return weight, bias
    weight = weight * step.attributes.get("alpha", 1.0)
    if len(step.constants) > 2 and step.constants[2] is not None:
        bias = bias + step.attributes.get("beta", 1.0) * _vector(step, step.constants[2], len(weight))
    return weight, bias


def _fold(step: Step, weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """The layer with arithmetic on its outputs folded in."""
    scale, shift = _affine(step, len(weight))
    return weight * scale[:, None], bias * scale + shift


def _affine(step: Step, size: int) -> tuple[Floats, Floats]:
    """(scale, shift) of scale * x + shift [size], float64."""
    other = [value for value in step.constants if value is not None]
    if len(other) != 1 or (step.op in ("Sub", "Div") and step.slot != 0):
        raise _refusal(step, "with the data on this side")
    value = _vector(step, other[0], size)
    one, zero = np.ones(size), np.zeros(size)
    if step.op in ("Add", "Sub"):
        return one, (value if step.op == "Add" else -value)
    return (value if step.op == "Mul" else one / value), zero


def _normalizer(steps: list[Step], size: int) -> Normalizer | None:
    """(x - mean) / scale, clipped, from the steps before the first layer."""
    if not steps:
        return None
    mean, scale = np.zeros(size), np.ones(size)
    arithmetic = list(takewhile(lambda step: step.op in AFFINE_OPS, steps))
    for step in arithmetic:
        if step.op == "Div":
            _affine(step, size)  # checks its shape; dividing once keeps the file's scale to the last bit
            scale = scale * _vector(step, _only(step), size)
        else:
            factor, shift = _affine(step, size)
            mean, scale = mean - shift * scale, scale / factor
    low, high = _clip_bounds(steps[len(arithmetic) :], size)
    if not (low == -high).all() or not (high == high[0]).all():
        raise NiwakiError(
            f"the observations are clipped to {low[0]:g} .. {high[0]:g}: only one symmetric bound can be kept"
        )
    return Normalizer(mean, scale, float(high[0]))


def _head(steps: list[Step], size: int) -> Head:
    """The head from the steps behind the last layer."""
    if not steps:
        return Head()
    if steps[-1].op == "ArgMax":
        if (
            len(steps) > 1
            or steps[0].attributes.get("axis", 0) not in (1, -1)
            or steps[0].attributes.get("select_last_index")
        ):
            raise _refusal(steps[0], "in this place or form")
        return Head("argmax")
    clips = list(takewhile(lambda step: step.op in CLIP_OPS, steps))
    low, high = _clip_bounds(clips, size)
    rest = steps[len(clips) :]
    if not rest:
        return Head("clip", low, high)
    if not _is_squash(rest) or not (low == -high[0]).all() or not (high == high[0]).all():
        raise _refusal(rest[0], "in this place")
    return _squash(rest[1:], size, float(high[0]))


def _squash(steps: list[Step], size: int, limit: float) -> Head:
    """A head that scales tanh's -1 .. 1 to low .. high."""
    arithmetic = list(takewhile(lambda step: step.op in AFFINE_OPS, steps))
    scale, shift = np.ones(size), np.zeros(size)
    for step in arithmetic:
        factor, offset = _affine(step, size)
        scale, shift = scale * factor, shift * factor + offset
    if not (scale > 0).all():
        raise NiwakiError("the tanh at the end is scaled by a number that is not positive: this head is not known")
    low, high = _clip_bounds(steps[len(arithmetic) :], size)
    if (low > shift - scale + ROUNDING * scale).any() or (high < shift + scale - ROUNDING * scale).any():
        raise NiwakiError("the tanh at the end is clipped inside its own range: this head is not known")
    # A clip to the very bounds names them exactly; the scale's arithmetic has rounded them.
    exact_low = np.where(np.abs(low - (shift - scale)) <= ROUNDING * scale, low, shift - scale)
    exact_high = np.where(np.abs(high - (shift + scale)) <= ROUNDING * scale, high, shift + scale)
    return Head("squash", exact_low, exact_high, limit)


def _clip_bounds(steps: list[Step], size: int) -> tuple[Floats, Floats]:
    """(low, high) [size] of Clip, Min and Max steps; any other step is refused."""
    low, high = np.full(size, -INFINITY), np.full(size, INFINITY)
    for step in steps:
        if step.op not in CLIP_OPS:
            raise _refusal(step, "in this place")
        if step.op == "Clip":
            bounds = [*step.constants[1:], None, None][:2]
            bounds = [
                np.asarray(step.attributes[key]) if key in step.attributes else value
                for key, value in zip(("min", "max"), bounds, strict=True)
            ]  # attributes before opset 11
        else:
            bounds = [_only(step), None] if step.op == "Max" else [None, _only(step)]
        if bounds[0] is not None:
            low = np.maximum(low, _vector(step, bounds[0], size))
        if bounds[1] is not None:
            high = np.minimum(high, _vector(step, bounds[1], size))
    return low, high


def _activation(step: Step) -> str:
    alpha = step.attributes.get("alpha")
    usual = {"LeakyRelu": LEAKY_SLOPE, "Elu": 1.0, "Swish": 1.0}.get(step.op)
    if alpha is not None and usual is not None and not abs(alpha - usual) <= 1e-7:
        raise _refusal(step, f"with alpha {alpha:g}, only {usual:g},")
    return ACTIVATION_OPS[step.op]


def _only(step: Step) -> Floats:
    """The one constant beside the data."""
    constants = [value for value in step.constants if value is not None]
    if len(constants) != 1 or len(step.constants) != 2:
        raise _refusal(step, "with this number of inputs")
    return constants[0]


def _vector(step: Step, value: Floats, size: int) -> Floats:
    """A constant that applies to each of `size` numbers, as float64 [size]."""
    if value.size not in (1, size) or value.ndim > 2 or any(n != 1 for n in value.shape[:-1]):
        raise _refusal(step, f"with a constant of shape {value.shape} on {size} numbers")
    return np.broadcast_to(value.reshape(-1).astype(np.float64), (size,))


def _refusal(step: Step, detail: str) -> NiwakiError:
    return NiwakiError(f"the ONNX operator {step.op} {detail} is not supported: niwaki imports plain MLPs")
