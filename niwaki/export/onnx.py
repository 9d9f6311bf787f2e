"""A policy as an ONNX model: the same graph in operators that every ONNX runtime has, in float32.

Runtimes choose their own order of sums and their own tanh: an ONNX model agrees with the C to rounding,
not to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from niwaki.policies import arithmetic
from niwaki.policies.compact import compact
from niwaki.policies.network import LEAKY_SLOPE, NetworkPolicy
from niwaki.types import Floats

OPSET, IR_VERSION = 13, 7  # ONNX 1.8 (2020): runtimes of microcontroller vendors are years behind
INPUT, OUTPUT = "observation", "action"
OPERATORS = {"relu": "Relu", "tanh": "Tanh", "elu": "Elu", "leaky_relu": "LeakyRelu", "sigmoid": "Sigmoid"}
ALPHA = {"leaky_relu": LEAKY_SLOPE, "elu": 1.0}


def onnx_model(policy: NetworkPolicy) -> Any:
    """The `onnx.ModelProto` of the compacted policy: "observation" float32 [batch, O] to "action", float32
    [batch, A] or, for an argmax head, int64 [batch].

    Raises NiwakiError when the normaliser cannot be held in float32.
    """
    from onnx import TensorProto, checker, helper  # half a second: only those who export pay

    chain = _Chain()
    network = compact(policy)
    _add_normalizer(chain, network)
    for i, layer in enumerate(network.layers):
        chain.add("Gemm", {f"weights_{i}": layer.weight, f"biases_{i}": layer.bias}, transB=1)
        _add_activation(chain, layer.activation)
    _add_head(chain, network)
    chain.nodes[-1].output[0] = OUTPUT
    batch = "batch"
    observation = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [batch, network.observation_size])
    action = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [batch, network.output_size])
    if network.discrete:
        action = helper.make_tensor_value_info(OUTPUT, TensorProto.INT64, [batch])
    graph = helper.make_graph(chain.nodes, "policy", [observation], [action], chain.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name, model.producer_version = "niwaki", version("niwaki")
    helper.set_model_props(model, {f"origin.{key}": value for key, value in policy.origin})
    checker.check_model(model)
    return model


class _Chain:
    """Nodes that each take what the one before gave."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.last = INPUT

    def add(self, operator: str, constants: Mapping[str, Floats | np.float32] | None = None, **attributes: Any) -> None:
        """Append a node: the last result is its first input, the constants follow."""
        from onnx import helper, numpy_helper

        arrays = {name: np.array(value, np.float32, order="C") for name, value in (constants or {}).items()}
        self.constants += [numpy_helper.from_array(array, name) for name, array in arrays.items()]
        self.join(helper.make_node(operator, [self.last, *arrays], [f"value_{len(self.nodes)}"], **attributes))

    def join(self, node: Any) -> None:
        self.nodes.append(node)
        self.last = node.output[0]

    def clip(self, name: str, limit: np.float32) -> None:
        """Clip to [-limit, limit]; nothing where the limit is infinite."""
        if np.isfinite(limit):
            self.add("Clip", {f"{name}_low": -limit, f"{name}_high": limit})


def _add_normalizer(chain: _Chain, policy: NetworkPolicy) -> None:
    if policy.normalizer is None:
        return
    tables = arithmetic.normalizer_tables(policy.normalizer)
    chain.add("Sub", {"mean": tables.mean})
    chain.add("Sub", {"mean_rest": tables.mean_rest})
    chain.add("Mul", {"factor": tables.factor})
    chain.clip("clip", tables.clip)


def _add_activation(chain: _Chain, name: str) -> None:
    if name == "identity":
        return
    if name == "silu":
        from onnx import helper

        x = chain.last
        chain.add("Sigmoid")
        chain.join(helper.make_node("Mul", [x, chain.last], [f"value_{len(chain.nodes)}"]))
        return
    if name in ALPHA:
        chain.add(OPERATORS[name], alpha=ALPHA[name])
    else:
        chain.add(OPERATORS[name])


def _add_head(chain: _Chain, policy: NetworkPolicy) -> None:
    head = policy.head
    if head.kind == "argmax":
        chain.add("ArgMax", axis=1, keepdims=0, select_last_index=0)
    elif head.kind == "clip":
        bounds = arithmetic.clip_bounds(head)
        if bounds is not None:
            chain.add("Min", {"high": bounds[1]})
            chain.add("Max", {"low": bounds[0]})
    elif head.kind == "squash":
        chain.clip("limit", arithmetic.squash_limit(head))
        chain.add("Tanh")
        chain.add("Add", {"one": np.ones(1)})
        chain.add("Mul", {"half_range": arithmetic.half_ranges(head)})
        chain.add("Add", {"low": head.low})
