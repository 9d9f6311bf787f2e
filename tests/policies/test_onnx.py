"""ONNX files: what is imported computes what ONNX Runtime computes, everything else is refused by operator."""

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from niwaki.policies.onnx import load_onnx
from niwaki.types import NiwakiError

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

QUIET = runtime.SessionOptions()
QUIET.log_severity_level, QUIET.intra_op_num_threads = 4, 1
rng = np.random.default_rng(0)
W1, B1 = rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=6).astype(np.float32)
W2, B2 = rng.normal(size=(3, 6)).astype(np.float32), rng.normal(size=3).astype(np.float32)
MEAN, SCALE = np.array([0.5, -1, 2, 0], np.float32), np.array([0.3, 2, 1, 5], np.float32)
LOW, HIGH = np.array([-1.1, 0, -3.3], np.float32), np.array([2.3, 0.7, 7.7], np.float32)
L1 = ("Gemm", {"w": W1, "b": B1}, {"transB": 1})
L2 = ("Gemm", {"w": W2, "b": B2}, {"transB": 1})
L3 = ("MatMul", {"w": W1.T.copy()}, {})
RELU = ("Relu", {}, {})


def save(folder, *steps, opset=17, output=TensorProto.FLOAT, inputs=4):
    """A chain: each step is (operator, constants after the data, attributes); "<Op" puts the constants first."""
    nodes, initializers, flowing = [], [], "obs"
    for i, (op, constants, attributes) in enumerate(steps):
        names = [f"{key}{i}" if value is not None else "" for key, value in constants.items()]
        initializers += [
            numpy_helper.from_array(np.asarray(value), name)
            for name, value in zip(names, constants.values(), strict=True)
            if value is not None
        ]
        ordered = [*names, flowing] if op.startswith("<") else [flowing, *names]
        flowing = "out" if i == len(steps) - 1 else f"t{i}"
        nodes.append(helper.make_node(op.removeprefix("<"), ordered, [flowing], **attributes))
    obs = helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["batch", inputs])
    out = helper.make_tensor_value_info("out", output, None) if output else helper.make_empty_tensor_value_info("out")
    return write(folder, helper.make_graph(nodes, "mlp", [obs], [out], initializers), opset)


def write(folder, graph, opset=17):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8 if opset > 8 else 3
    if model.ir_version == 3:  # before version 4, constants were inputs too
        model.graph.input.extend(
            helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in graph.initializer
        )
    path = folder / "policy.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def assert_same_actions(path, policy, width=2.0):
    observations = (rng.normal(size=(1000, 4)) * width).astype(np.float32)
    (expected,) = runtime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"obs": observations})
    actions = policy(observations)
    np.testing.assert_allclose(actions, expected.reshape(actions.shape), rtol=1e-5, atol=1e-5)


def answers(path, observations):
    """What ONNX Runtime computes; None where it refuses the model."""
    try:
        session = runtime.InferenceSession(path, QUIET, providers=["CPUExecutionProvider"])
        return session.run(None, {"obs": observations})[0]
    except Exception:  # its exceptions share no class of their own
        return None


SPAN = [("Tanh", {}, {}), ("Mul", {"c": (HIGH - LOW) / 2}, {}), ("Add", {"c": (HIGH + LOW) / 2}, {})]
SIX = np.arange(1, 7, dtype=np.float32)
NOTHING = ("Reshape", {"s": np.array([0, -1])}, {})
KNOWN = {
    "one layer": ([L1], "raw"),
    "two layers": ([L1, RELU, L2], "raw"),
    "matrix and sum": ([("MatMul", {"w": W1.T}, {}), ("Add", {"b": B1}, {}), RELU, ("MatMul", {"w": W2.T}, {})], "raw"),
    "sum from the left": ([("MatMul", {"w": W1.T}, {}), ("<Add", {"b": B1[None]}, {})], "raw"),
    "Gemm not transposed": ([("Gemm", {"w": W1.T.copy(), "b": B1}, {})], "raw"),
    "Gemm with factors": ([("Gemm", {"w": W1, "b": B1}, {"transB": 1, "alpha": 0.5, "beta": 2.0})], "raw"),
    "Gemm without bias": ([("Gemm", {"w": W1}, {"transB": 1})], "raw"),
    "Gemm with one bias for all": ([("Gemm", {"w": W1, "b": B1[:1]}, {"transB": 1})], "raw"),
    "linear on linear": ([L1, L2], "raw"),
    "scaled outputs": ([L1, ("Mul", {"c": np.float32(0.5)}, {}), ("Div", {"c": np.abs(B1) + 1}, {}), RELU, L2], "raw"),
    "shifted outputs": ([L1, ("Sub", {"c": B1 * 2}, {}), ("Tanh", {}, {}), L2], "raw"),
    "elu and sigmoid": ([L1, ("Elu", {}, {}), ("MatMul", {"w": W2.T @ W1[:3]}, {}), ("Sigmoid", {}, {}), L3], "raw"),
    "leaky relu": ([L1, ("LeakyRelu", {}, {"alpha": 0.01}), L2], "raw"),
    "normaliser": ([("Sub", {"c": MEAN}, {}), ("Div", {"c": SCALE}, {}), L1, RELU, L2], "raw"),
    "normaliser with one number": ([("Sub", {"c": np.float32(0.5)}, {}), L1], "raw"),
    "normaliser as a product": ([("Mul", {"c": 1 / SCALE}, {}), ("Add", {"c": -MEAN}, {}), L1], "raw"),
    "normaliser and clip": (
        [
            ("Sub", {"c": MEAN}, {}),
            ("Div", {"c": SCALE}, {}),
            ("Clip", {"l": -np.float32(1), "h": np.float32(1)}, {}),
            L1,
        ],
        "raw",
    ),
    "no-ops": (
        [("Identity", {}, {}), ("Flatten", {}, {}), L1, ("Reshape", {"s": np.array([-1, 6])}, {}), RELU, L2, NOTHING],
        "raw",
    ),
    "a cast to float": ([("Cast", {}, {"to": TensorProto.FLOAT}), L1], "raw"),
    "clipped": ([L1, RELU, L2, ("Clip", {"l": -np.float32(1), "h": np.float32(0.5)}, {})], "clip"),
    "clipped above only": (
        [("Gemm", {"w": W1}, {"transB": 1}), ("Clip", {"l": None, "h": np.float32(0.5)}, {})],
        "clip",
    ),
    "clipped to each action's bounds": ([L1, RELU, L2, ("Max", {"c": LOW}, {}), ("<Min", {"c": HIGH}, {})], "clip"),
    "tanh at the end": ([L1, RELU, L2, ("Tanh", {}, {})], "squash"),
    "tanh with a scale": ([L1, RELU, L2, *SPAN], "squash"),
    "tanh inside a wide clip": (
        [L1, ("Tanh", {}, {}), ("Clip", {"l": np.float32(-9), "h": np.float32(9)}, {})],
        "squash",
    ),
    "tanh moved, then scaled": (
        [L1, ("Tanh", {}, {}), ("Add", {"c": np.float32(1)}, {}), ("Mul", {"c": SIX}, {}), ("Sub", {"c": 2 * SIX}, {})],
        "squash",
    ),
    "tanh with a scale and a clip": (
        [L1, RELU, L2, *SPAN, ("Max", {"c": LOW}, {}), ("Min", {"c": HIGH}, {})],
        "squash",
    ),
    "tanh with a limit": ([L1, RELU, L2, ("Clip", {"l": -np.float32(2), "h": np.float32(2)}, {}), *SPAN], "squash"),
    "relu at the end": ([L1, RELU], "raw"),
    "relu at the end, clipped": ([L1, RELU, ("Clip", {"l": -np.float32(1), "h": np.float32(0.5)}, {})], "clip"),
}


@pytest.mark.parametrize("case", sorted(KNOWN))
def test_imported_networks_compute_what_onnx_runtime_computes(tmp_path, case):
    steps, head = KNOWN[case]
    path = save(tmp_path, *steps)
    policy = load_onnx(path)
    assert policy.head.kind == head
    assert_same_actions(path, policy)


CHOOSE = ("ArgMax", {}, {"axis": 1, "keepdims": 0})
KEEP = ("ArgMax", {}, {"axis": -1})
CHOICES = {
    "alone": [L1, CHOOSE],
    "after a tanh": [L1, ("Tanh", {}, {}), CHOOSE],
    "kept axis, reshaped": [L1, KEEP, ("Reshape", {"s": np.array([-1])}, {})],
    "cast": [L1, CHOOSE, ("Cast", {}, {"to": TensorProto.INT64})],
    "squeezed": [L1, KEEP, ("Squeeze", {"a": np.array([1])}, {})],
}


@pytest.mark.parametrize("case", sorted(CHOICES))
def test_an_argmax_at_the_end_is_the_head(tmp_path, case):
    path = save(tmp_path, *CHOICES[case], output=TensorProto.INT64)
    policy = load_onnx(path)
    assert policy.head.kind == "argmax"
    assert_same_actions(path, policy, width=0.3)  # a wide tanh rounds to ties


def test_models_of_opset_6_load(tmp_path):
    """Bounds as attributes, a broadcast flag, constants among the inputs."""
    path = save(
        tmp_path,
        ("Gemm", {"w": W1, "b": B1}, {"transB": 1, "broadcast": 1}),
        ("Clip", {}, {"min": -1.0, "max": 0.5}),
        opset=6,
    )
    policy = load_onnx(path)
    assert (policy.head.low[0], policy.head.high[0]) == (-1.0, 0.5)
    observations = rng.normal(size=(100, 4)).astype(np.float32)
    np.testing.assert_allclose(policy(observations), np.clip(observations @ W1.T + B1, -1, 0.5), atol=1e-6)


def test_bounds_and_limit_are_found_exactly(tmp_path):
    head = load_onnx(save(tmp_path, *KNOWN["tanh with a scale and a clip"][0])).head
    assert head.low.tolist() == LOW.tolist()
    assert head.high.tolist() == HIGH.tolist()
    assert load_onnx(save(tmp_path, *KNOWN["tanh with a limit"][0])).head.limit == 2.0


def test_a_normaliser_keeps_its_numbers(tmp_path):
    normalizer = load_onnx(save(tmp_path, *KNOWN["normaliser and clip"][0])).normalizer
    assert normalizer.mean.tolist() == MEAN.tolist()
    assert normalizer.scale.tolist() == SCALE.tolist()
    assert normalizer.clip == 1.0


def graph_of(nodes, initializers, outputs=("out",)):
    obs = helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["batch", 4])
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    tensors = [numpy_helper.from_array(value, name) for name, value in initializers.items()]
    return helper.make_graph(nodes, "mlp", [obs], outs, tensors)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], **attributes)


@pytest.mark.parametrize("opset", [11, 17])
def test_a_model_of_one_observation_is_imported(tmp_path, opset):
    axes = numpy_helper.from_array(np.array([0]), "zero")
    shape = (lambda op, a, b: node(op, f"{a} zero", b)) if opset > 12 else (lambda op, a, b: node(op, a, b, axes=[0]))
    nodes = [shape("Unsqueeze", "obs", "row"), node("Gemm", "row w b", "x", transB=1), shape("Squeeze", "x", "out")]
    graph = graph_of(nodes, {"w": W1, "b": B1})
    graph.initializer.append(axes)
    del graph.input[0].type.tensor_type.shape.dim[0]
    path = write(tmp_path, graph, opset)
    observation = np.array([0.3, -1, 2, 0.1], np.float32)
    np.testing.assert_allclose(load_onnx(path)(observation[None])[0], answers(path, observation), rtol=1e-5)


def test_a_model_of_one_row_may_join_all_of_its_numbers(tmp_path):
    nodes = [node("Gemm", "obs w b", "x", transB=1), node("Reshape", "x one", "row"), node("Tanh", "row", "out")]
    graph = graph_of(nodes, {"w": W1, "b": B1, "one": np.array([1, -1])})
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    path = write(tmp_path, graph)
    observation = np.array([[0.3, -1, 2, 0.1]], np.float32)
    np.testing.assert_allclose(load_onnx(path)(observation), answers(path, observation), rtol=1e-5)


def test_silu_written_as_a_product_is_found(tmp_path):
    nodes = [node("Gemm", "obs w b", "x", transB=1), node("Sigmoid", "x", "g"), node("Mul", "g x", "s")]
    path = write(tmp_path, graph_of([*nodes, node("MatMul", "s v", "out")], {"w": W1, "b": B1, "v": W2.T.copy()}))
    policy = load_onnx(path)
    assert policy.layers[0].activation == "silu"
    assert_same_actions(path, policy)


def test_weights_behind_constant_and_transpose_nodes_are_found(tmp_path):
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(W1)),
        node("Transpose", "w", "wt", perm=[1, 0]),
        node("MatMul", "obs wt", "out"),
    ]
    path = write(tmp_path, graph_of(nodes, {}))
    assert_same_actions(path, load_onnx(path))


def test_a_branch_that_leads_nowhere_is_ignored(tmp_path):
    nodes = [node("MatMul", "obs w", "out"), node("Softmax", "out", "unused")]
    assert load_onnx(write(tmp_path, graph_of(nodes, {"w": W1.T.copy()}))).sizes == (4, 6)


ONE = np.float32(1)
REFUSED = {
    "convolution": ([("Conv", {"w": W1[None]}, {}), L1], "operator Conv"),
    "softmax": ([L1, ("Softmax", {}, {})], "operator Softmax"),
    "normalisation layer": ([L1, ("LayerNormalization", {"s": B1}, {}), L2], "operator LayerNormalization"),
    "activation in front": ([("Tanh", {}, {}), L1], "operator Tanh"),
    "two activations": ([L1, RELU, ("Sigmoid", {}, {}), L2], "operator Relu|operator Sigmoid"),
    "another slope": ([L1, ("LeakyRelu", {}, {"alpha": 0.2}), L2], "LeakyRelu with alpha 0.2"),
    "another ELU": ([L1, ("Elu", {}, {"alpha": 2.0}), L2], "Elu with alpha 2"),
    "transposed data": ([("Gemm", {"w": W1}, {"transA": 1})], "operator Gemm without a constant weight"),
    "weights on the left": ([("<MatMul", {"w": W1}, {})], "operator MatMul without a constant weight"),
    "weights with three axes": ([("MatMul", {"w": W1.T[None]}, {})], "operator MatMul"),
    "one minus x": ([L1, ("<Sub", {"c": ONE}, {}), L2], "operator Sub with the data on this side"),
    "one over x": ([L1, ("<Div", {"c": ONE}, {}), L2], "operator Div with the data on this side"),
    "a sum over the batch": ([L1, ("Add", {"c": np.ones((5, 1), "f4")}, {})], r"Add with a constant of shape \(5, 1\)"),
    "a skewed clip in front": ([("Clip", {"l": -ONE, "h": 2 * ONE}, {}), L1], "clipped to -1 .. 2"),
    "unequal clips in front": ([("Max", {"c": -SCALE}, {}), ("Min", {"c": SCALE}, {}), L1], "symmetric"),
    "arithmetic behind a clip in front": ([("Clip", {"l": -ONE, "h": ONE}, {}), ("Mul", {"c": ONE}, {}), L1], "Mul"),
    "an empty clip": ([L1, ("Clip", {"l": ONE, "h": -ONE}, {})], "low < high"),
    "a negative scale": ([L1, ("Tanh", {}, {}), ("Mul", {"c": -ONE}, {})], "not positive"),
    "a clip inside tanh's range": ([L1, ("Tanh", {}, {}), ("Clip", {"l": -ONE / 2, "h": ONE}, {})], "inside its own"),
    "a skewed limit": ([L1, ("Clip", {"l": -ONE, "h": 2 * ONE}, {}), ("Tanh", {}, {})], "operator Tanh"),
    "arithmetic behind a clip": ([L1, ("Clip", {"l": -ONE, "h": ONE}, {}), ("Mul", {"c": ONE}, {})], "operator Mul"),
    "a scaled sigmoid": ([L1, ("Sigmoid", {}, {}), ("Mul", {"c": ONE}, {})], "operator Mul"),
    "argmax over the batch": ([L1, ("ArgMax", {}, {"axis": 0})], "operator ArgMax in this place or form"),
    "the last of equals": ([L1, ("ArgMax", {}, {"axis": 1, "select_last_index": 1})], "operator ArgMax"),
    "argmax in the middle": ([L1, ("ArgMax", {}, {"axis": 1}), ("Cast", {}, {"to": 1}), L2], "operator ArgMax"),
    "rounding": ([L1, ("Cast", {}, {"to": TensorProto.INT64})], "operator Cast to this type"),
    "half precision": ([("Cast", {}, {"to": TensorProto.FLOAT16}), L1], "operator Cast to this type"),
    "flattening the batch": ([("Flatten", {}, {"axis": 0}), L1], "operator Flatten over the batch axis"),
    "three axes": ([("Reshape", {"s": np.array([-1, 2, 2])}, {}), L1], r"Reshape to \[-1, 2, 2\] from 4 numbers a row"),
    "rows cut up": ([L1, ("Reshape", {"s": np.array([-1, 1])}, {}), CHOOSE], r"Reshape to \[-1, 1\] from 6 numbers"),
    "all rows in one": (
        [L1, ("Reshape", {"s": np.array([1, -1])}, {}), CHOOSE],
        r"Reshape to \[1, -1\] from 6 numbers",
    ),
    "all rows in a line": ([L1, ("Reshape", {"s": np.array([-1])}, {}), KEEP], r"Reshape to \[-1\] from 6 numbers"),
    "a row on its side": (
        [L1, ("Squeeze", {"a": np.array([0])}, {}), ("Flatten", {}, {"axis": 1}), CHOOSE],
        "operator Flatten over the batch axis",
    ),
    "a line cut up": (
        [L1, ("Squeeze", {"a": np.array([0])}, {}), ("Reshape", {"s": np.array([0, -1])}, {}), CHOOSE],
        r"Reshape to \[0, -1\] from 6 numbers",
    ),
    "a shape that is not given": ([L1, ("Reshape", {}, {})], "operator Reshape to None"),
    "one more axis in front": (
        [("Unsqueeze", {"a": np.array([0])}, {}), L3, CHOOSE],
        "operator Unsqueeze in this place",
    ),
    "one more axis": ([L1, ("Unsqueeze", {"a": np.array([-1])}, {}), ("Max", {"c": -(B1**2)}, {})], "Unsqueeze"),
    "a constant with three axes": ([L1, ("Add", {"c": B1[None, None]}, {}), CHOOSE], r"constant of shape \(1, 1, 6\)"),
    "a slope that is no number": ([L1, ("LeakyRelu", {}, {"alpha": float("nan")}), L2], "LeakyRelu with alpha nan"),
    "no layer": ([RELU], "no Gemm or MatMul"),
    "division by zero": ([("Div", {"c": np.zeros(4, "f4")}, {}), L1], "positive, finite scales"),
    "multiplication by zero": ([("Mul", {"c": np.zeros(4, "f4")}, {}), L1], "finite"),
    "weights that are not finite": ([("MatMul", {"w": np.full((4, 2), np.nan, "f4")}, {})], "not finite"),
    "layers that do not fit": ([L1, ("MatMul", {"w": W1.T}, {})], "do not fit"),
    "three inputs to Max": ([L1, ("Max", {"a": B1, "b": B1}, {})], "operator Max with this number of inputs"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_is_not_known_is_refused_by_name(tmp_path, case):
    steps, message = REFUSED[case]
    with pytest.raises(NiwakiError, match=message) as caught:
        load_onnx(save(tmp_path, *steps))
    assert str(caught.value).startswith("policy.onnx: ")


SHAPES = [(), (6,), (1, 6), (6, 1), (1, 1, 6)]
AXES = [[-1], [0], [1], [-1, 6], [-1, 1], [0, -1], [1, -1], [6, -1], [-1, 2, 3]]
constants = st.sampled_from(SHAPES).map(lambda shape: {"c": np.random.default_rng(1).normal(size=shape).astype("f4")})
axes = st.sampled_from(AXES).map(lambda numbers: {"a": np.array(numbers)})
bare = st.just({})
ARITHMETIC = ["Add", "Sub", "Mul", "Div", "Max", "Min", "<Sub", "<Div", "MatMul"]
CHOICE = [{"axis": axis, "keepdims": kept} for axis in (-1, 0, 1) for kept in (0, 1)]
FOREIGN = st.one_of(
    st.tuples(st.sampled_from(ARITHMETIC), constants, bare),
    st.tuples(st.sampled_from(["Reshape", "Squeeze", "Unsqueeze"]), axes, bare),
    st.tuples(st.just("Flatten"), bare, st.sampled_from([{"axis": axis} for axis in (-1, 0, 1, 2)])),
    st.tuples(st.just("ArgMax"), bare, st.sampled_from(CHOICE)),
    st.tuples(st.just("Cast"), bare, st.sampled_from([{"to": kind} for kind in (1, 6, 7, 9)])),
    st.tuples(st.sampled_from(["Identity", "Tanh", "Neg", "Softmax", "Transpose"]), bare, bare),
)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FOREIGN, max_size=1), st.lists(FOREIGN, max_size=2), st.sampled_from([[], [CHOOSE], [RELU]]))
def test_whatever_is_imported_computes_what_onnx_runtime_computes(tmp_path, before, after, end):
    path = save(tmp_path, *before, L1, *after, *end, output=None)
    try:
        policy = load_onnx(path)
    except NiwakiError:
        return
    for rows in (1, 7):
        observations = np.random.default_rng(2).normal(size=(rows, 4)).astype(np.float32)
        if (expected := answers(path, observations)) is not None:
            actions = policy(observations)
            np.testing.assert_allclose(actions, expected.reshape(actions.shape), rtol=1e-4, atol=1e-4)


def test_operators_of_other_domains_are_refused_by_full_name(tmp_path):
    graph = graph_of([helper.make_node("Gemm", ["obs", "w"], ["out"], domain="com.evil")], {"w": W1.T.copy()})
    with pytest.raises(NiwakiError, match=r"com\.evil\.Gemm|no Gemm or MatMul"):
        load_onnx(write(tmp_path, graph))


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            graph_of([node("Add", "obs obs", "x"), node("MatMul", "x w", "out")], {"w": W1.T.copy()}),
            "Add joins several",
        ),
        (
            graph_of([node("Sigmoid", "obs", "s"), node("Mul", "obs s w", "out")], {"w": W1.T.copy()}),
            "Mul joins several",
        ),
        (graph_of([node("MatMul", "obs w", "out")], {"w": W1.T.copy()}, ("out", "obs")), "1 inputs and 2 outputs"),
        (graph_of([node("MatMul", "other w", "out")], {"w": W1.T.copy()}), "does not lead back to the input"),
        (graph_of([node("Relu", "out", "out")], {}), "does not lead back to the input"),
        (
            graph_of([node("Relu", "b", "a"), node("Relu", "a", "b"), node("Relu", "b", "out")], {}),
            "does not lead back",
        ),
        (graph_of([helper.make_node("RandomNormal", [], ["out"], shape=[1])], {}), "RandomNormal"),
    ],
)
def test_graphs_that_are_no_chain_are_refused(tmp_path, graph, message):
    with pytest.raises(NiwakiError, match=message):
        load_onnx(write(tmp_path, graph))


def test_weights_in_other_files_are_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(W1.nbytes))
    for location in ("secret", "../secret", "/etc/passwd"):
        graph = graph_of([node("MatMul", "obs w", "out")], {"w": W1.T.copy()})
        tensor = graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        with pytest.raises(NiwakiError, match="keeps its weights in another file: save it as one file"):
            load_onnx(write(tmp_path, graph))


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ([2**40, 2**20], "impossible shape"),
        ([2**62] * 20, "impossible shape"),  # more than a float holds
        ([-1, 6], "impossible shape"),
        ([4, 7], "ONNX tensor cannot be read"),
    ],
)
def test_tensors_that_lie_about_their_size_are_refused(tmp_path, dims, message):
    graph = graph_of([node("MatMul", "obs w", "out")], {"w": W1.T.copy()})
    graph.initializer[0].dims[:] = dims
    with pytest.raises(NiwakiError, match=message):
        load_onnx(write(tmp_path, graph))


def test_tensors_of_text_are_refused(tmp_path):
    graph = graph_of([node("MatMul", "obs w", "out")], {})
    graph.initializer.append(helper.make_tensor("w", TensorProto.STRING, [4, 1], [b"a"] * 4))
    with pytest.raises(NiwakiError, match="not plain numbers"):
        load_onnx(write(tmp_path, graph))


def test_what_is_no_onnx_is_refused(tmp_path):
    path = tmp_path / "policy.onnx"
    for data in (b"hello", b"\x08\x08", b"\x08" + b"\xff" * 50):
        path.write_bytes(data)
        with pytest.raises(NiwakiError, match=r"cannot be read|neither an ONNX model"):
            load_onnx(path)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=400, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6))
def test_mutated_files_load_or_are_refused(tmp_path, changes):
    path = tmp_path / "policy.onnx"
    if not (tmp_path / "whole").exists():
        (tmp_path / "whole").write_bytes(save(tmp_path, *KNOWN["tanh with a limit"][0]).read_bytes())
    data = bytearray((tmp_path / "whole").read_bytes())
    for where, byte in changes:
        data[int(where * len(data))] = byte
    path.write_bytes(data)
    with contextlib.suppress(NiwakiError):
        load_onnx(path)
