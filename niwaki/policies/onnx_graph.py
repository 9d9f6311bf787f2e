"""An ONNX file as a chain of steps from its one input to its one output: what each step does, with which constants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from niwaki.policies.files import FILE_LIMIT, parsing
from niwaki.types import NiwakiError

NODE_LIMIT = 10_000


@dataclass(frozen=True)
class Step:
    """One node on the way from input to output."""

    op: str
    constants: tuple[NDArray | None, ...] = ()  # the node's inputs; None where the data flows in or none is given
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def slot(self) -> int:
        """Which input the data flows into."""
        return int(self.attributes["slot"])


@dataclass(frozen=True)
class _Graph:
    producers: dict[str, Any]  # tensor name -> node
    constants: dict[str, NDArray]
    input: str
    output: str
    shape: tuple[int | None, ...]


def read_steps(data: bytes) -> tuple[list[Step], tuple[int | None, ...]]:
    """The steps of a model, input first, and the shape that it declares for its input: None for a size that is open,
    () where nothing is declared. Raises NiwakiError where the graph branches, holds weights in other files, or is no
    ONNX at all."""
    graph = _read(data)
    steps: list[Step] = []
    name = graph.output
    while name != graph.input:
        if name not in graph.producers or len(steps) > NODE_LIMIT:
            raise NiwakiError(f"the ONNX output does not lead back to the input, but to {name[:60]!r}")
        node = graph.producers[name]
        flowing = [i for i, source in enumerate(node.input) if source and source not in graph.constants]
        silu = _silu_input(graph, node, flowing)
        if silu is not None:
            steps.append(Step("Silu", (), {"slot": 0}))
            name = silu
            continue
        if len(flowing) != 1:
            raise NiwakiError(
                f"the ONNX operator {_operator(node)} joins several paths: only plain MLPs can be imported"
            )
        constants = tuple(graph.constants.get(source) for source in node.input)
        steps.append(Step(_operator(node), constants, {**_attributes(node), "slot": flowing[0]}))
        name = node.input[flowing[0]]
    return steps[::-1], graph.shape


def _silu_input(graph: _Graph, node: Any, flowing: list[int]) -> str | None:
    """x when the node is x * sigmoid(x), as exporters write SiLU."""
    if node.op_type != "Mul" or len(flowing) != 2 or len(node.input) != 2:
        return None
    for x, gate in (node.input, node.input[::-1]):
        producer = graph.producers.get(gate)
        if producer is not None and producer.op_type == "Sigmoid" and list(producer.input) == [x]:
            return str(x)
    return None


def _read(data: bytes) -> _Graph:
    import onnx  # half a second: only those who read ONNX pay

    with parsing("ONNX file"):
        model = onnx.load_model_from_string(data)
        graph = model.graph
        opsets = [opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    if not graph.output or not opsets:
        raise NiwakiError("this file is neither an ONNX model nor any other policy niwaki knows")
    producers = {name: node for node in graph.node for name in node.output if name}
    constants = {tensor.name: _array(tensor) for tensor in graph.initializer}
    for node in graph.node:  # ONNX nodes are listed in the order they run
        folded = _constant(node, constants)
        if folded is not None:
            constants[node.output[0]] = folded
    inputs = [value for value in graph.input if value.name not in constants]
    outputs = [value.name for value in graph.output]
    if len(inputs) != 1 or len(outputs) != 1:
        raise NiwakiError(
            f"the ONNX model has {len(inputs)} inputs and {len(outputs)} outputs: niwaki takes one of each"
        )
    shape = tuple(n.dim_value if n.HasField("dim_value") else None for n in inputs[0].type.tensor_type.shape.dim)
    return _Graph(producers, constants, inputs[0].name, outputs[0], shape)


def _array(tensor: Any) -> NDArray:
    """A stored tensor; its shape is checked against its bytes before anything is allocated."""
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise NiwakiError("the ONNX model keeps its weights in another file: save it as one file")
    if any(n < 0 for n in tensor.dims) or 8 * math.prod(map(float, tensor.dims)) > FILE_LIMIT:
        raise NiwakiError(f"an ONNX tensor claims the impossible shape {list(tensor.dims)[:8]}")
    with parsing("ONNX tensor"):
        array: NDArray = onnx.numpy_helper.to_array(tensor)
        if array.dtype.kind not in "fiub":
            raise NiwakiError(f"an ONNX tensor holds {array.dtype}, not plain numbers")
        return array


def _constant(node: Any, constants: Mapping[str, NDArray]) -> NDArray | None:
    """The value of a node that depends on no input; None for every other node."""
    if node.op_type == "Constant":
        values = _attributes(node)
        value = next(
            (
                values[key]
                for key in ("value", "value_float", "value_floats", "value_int", "value_ints")
                if key in values
            ),
            None,
        )
        return None if value is None else np.asarray(value)
    if len(node.input) == 1 and node.input[0] in constants and len(node.output) == 1:
        value = constants[node.input[0]]
        if node.op_type in ("Identity", "Cast"):
            return value
        if node.op_type == "Transpose":
            permutation = _attributes(node).get("perm", list(range(value.ndim))[::-1])
            with parsing("ONNX Transpose"):
                return np.transpose(value, permutation)
    return None


def _attributes(node: Any) -> dict[str, Any]:
    import onnx

    kinds = onnx.AttributeProto
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.type == kinds.TENSOR:
            found[attribute.name] = _array(attribute.t)
        elif attribute.type in (kinds.FLOAT, kinds.INT, kinds.FLOATS, kinds.INTS):
            with parsing("ONNX attribute"):
                found[attribute.name] = onnx.helper.get_attribute_value(attribute)
    return found


def _operator(node: Any) -> str:
    return str(node.op_type)[:60] if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"[:60]
