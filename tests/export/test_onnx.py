"""The ONNX model: valid, small in its demands, and computing the policy to rounding."""

from dataclasses import replace

import numpy as np
import pytest

from niwaki.export.onnx import INPUT, OUTPUT, onnx_model
from niwaki.export.verification import onnx_session
from niwaki.policies.arithmetic import mirror_act, mirror_outputs
from niwaki.policies.c_source import random_observations
from niwaki.policies.compact import compact
from niwaki.policies.network import ACTIVATIONS, Head, Layer, NetworkPolicy, Normalizer
from niwaki.policies.onnx import load_onnx
from niwaki.types import NiwakiError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

HEADS = {
    "raw": Head(),
    "argmax": Head("argmax"),
    "clip": Head("clip", [-0.5, -np.inf, 0], [0.5, 0.25, np.inf]),
    "unbounded": Head("clip", [-np.inf] * 3, [np.inf] * 3),
    "squash": Head("squash", [-1, -2, 0], [1, 2, 0.5]),
    "limited": Head("squash", [-1, -2, 0], [1, 2, 0.5], limit=0.7),
}


def run(model, observations):
    (actions,) = onnx_session(model.SerializeToString()).run([OUTPUT], {INPUT: observations})
    return actions


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_onnx_runtime_gives_the_mirrors_actions(make_network, head, normalized):
    policy = make_network((6, 40, 24, 3), ("tanh", "elu"), HEADS[head], normalized=normalized)
    x = random_observations(policy, 20_000)
    actions, expected = run(onnx_model(policy), x), mirror_act(policy, x)
    assert actions.dtype == (np.int64 if policy.discrete else np.float32)
    assert actions.shape == expected.shape
    if not policy.discrete:
        np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)
        return
    differs = actions != expected
    scores = np.sort(mirror_outputs(policy, x[differs]), axis=1)
    assert (scores[:, -1] - scores[:, -2] < 1e-5).all()
    assert differs.mean() < 1e-3


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_computes_what_the_mirror_computes(make_network, activation):
    policy = make_network((5, 30, 30, 2), (activation,))
    policy = replace(policy, layers=(*policy.layers[:-1], replace(policy.layers[-1], activation=activation)))
    x = random_observations(policy, 5000)
    np.testing.assert_allclose(run(onnx_model(policy), x), mirror_act(policy, x), rtol=1e-5, atol=1e-5)


def test_a_hundred_thousand_observations_agree_to_rounding(make_network):
    policy = make_network((8, 32, 32, 4), head=Head("squash", [-1] * 4, [1] * 4), normalized=True)
    x = random_observations(policy, 100_000)
    np.testing.assert_allclose(run(onnx_model(policy), x), mirror_act(policy, x), rtol=0, atol=1e-5)


def test_an_observation_that_hardly_varies_around_a_large_mean_loses_nothing():
    normalizer = Normalizer(np.array([1e5 + 0.123456]), np.array([0.01]))
    policy = NetworkPolicy((Layer([[1.0]], [0.0]),), normalizer=normalizer)
    x = (1e5 + 0.123456 + 0.01 * np.linspace(-5, 5, 101)).astype(np.float32)[:, None]
    exact = (x.astype(np.float64) - normalizer.mean) / normalizer.scale
    np.testing.assert_allclose(run(onnx_model(policy), x), exact, rtol=1e-6, atol=1e-6)


def test_equal_scores_give_the_first_action():
    policy = NetworkPolicy((Layer(np.ones((4, 1)), [0, 1, 1, 1]),), Head("argmax"))
    assert run(onnx_model(policy), np.zeros((2, 1), np.float32)).tolist() == [1, 1]


def test_any_number_of_rows_can_be_given(make_network):
    policy = make_network((3, 8, 2))
    session = onnx_session(onnx_model(policy).SerializeToString())
    for rows in (1, 7):
        (actions,) = session.run(None, {INPUT: np.zeros((rows, 3), np.float32)})
        assert actions.shape == (rows, 2)


def test_the_model_asks_for_little_and_says_where_it_comes_from(make_network):
    policy = replace(make_network((3, 8, 2), ("silu",), normalized=True), origin=(("source", "hopper.zip"),))
    model = onnx_model(policy)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (7, [("", 13)])
    assert model.producer_name == "niwaki"
    assert {p.key: p.value for p in model.metadata_props} == {"origin.source": "hopper.zip"}
    assert [i.name for i in model.graph.input] == [INPUT]
    assert [o.name for o in model.graph.output] == [OUTPUT]


def test_the_same_policy_gives_the_same_bytes(make_network):
    a, b = (onnx_model(make_network((3, 8, 2))).SerializeToString(deterministic=True) for _ in range(2))
    assert a == b


def test_dead_units_are_left_out(make_network):
    policy = make_network((6, 40, 3), density=0.02)
    (weights,) = (t for t in onnx_model(policy).graph.initializer if t.name == "weights_0")
    assert list(weights.dims) == list(compact(policy).layers[0].weight.shape)
    assert weights.dims[0] < 40


def test_a_policy_that_ignores_its_input_can_be_exported(make_network):
    policy = make_network((6, 8, 3), density=0.0)
    actions = run(onnx_model(policy), np.ones((3, 6), np.float32))
    np.testing.assert_allclose(actions, policy(np.ones((3, 6))), atol=1e-6)


def test_a_normaliser_beyond_float32_is_refused(make_network):
    policy = replace(make_network((1, 1)), normalizer=Normalizer(np.zeros(1), np.full(1, 1e-60)))
    with pytest.raises(NiwakiError, match="cannot be held in float32"):
        onnx_model(policy)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_niwaki_imports_what_it_exports(make_network, tmp_path, head, activation):
    policy = make_network((5, 12, 9, 3), (activation,), HEADS[head], normalized=True)
    path = tmp_path / "policy.onnx"
    onnx.save(onnx_model(policy), path)
    again = load_onnx(path)
    kind = "raw" if head == "unbounded" else policy.head.kind
    assert (again.sizes, again.head.kind) == (policy.sizes, kind)
    assert [layer.activation for layer in again.layers] == [layer.activation for layer in policy.layers]
    for a, b in zip(again.layers, policy.layers, strict=True):
        np.testing.assert_array_equal(a.weight, b.weight)
        np.testing.assert_array_equal(a.bias, b.bias)
    x = random_observations(policy, 500)
    np.testing.assert_allclose(mirror_act(again, x), mirror_act(policy, x), rtol=0, atol=2e-6)
