"""Verification: what does not compute the policy is found, what is only rounding is not blamed."""

from dataclasses import replace

import numpy as np
import pytest

from niwaki.export import verification
from niwaki.export.onnx import onnx_model
from niwaki.export.verification import CHUNK, OnnxGaps, onnx_gaps, rows_differing, verify
from niwaki.policies.compact import compact
from niwaki.policies.compiled import CompiledPolicy
from niwaki.policies.network import Head, Layer

pytest.importorskip("onnxruntime")
SQUASH = Head("squash", [-1, -1], [1, 1])


def onnx_bytes(policy):
    return onnx_model(policy).SerializeToString()


def nudged(policy, by):
    """The policy with one weight of its last layer moved."""
    last = policy.layers[-1]
    weight = last.weight.copy()
    weight[0, 0] += by
    return replace(policy, layers=(*policy.layers[:-1], Layer(weight, last.bias, last.activation)))


def test_what_was_exported_agrees_with_itself(make_network, require_tool):
    require_tool("cc")
    policy = make_network((6, 20, 2), head=SQUASH, normalized=True)
    agreement = verify(policy, CompiledPolicy(policy), onnx_bytes(policy), inputs=10_000, seed=0)
    assert (agreement.differing_inputs, agreement.argmax_ties, agreement.onnx_errors) == (0, 0, 0)
    assert 0 < agreement.onnx_max_abs_difference < 1e-5


def test_a_million_inputs_give_the_same_bits(make_network, require_tool):
    require_tool("cc")
    policy = make_network((8, 32, 32, 4), head=Head("argmax"), normalized=True)
    agreement = verify(policy, CompiledPolicy(policy), onnx_bytes(policy), inputs=1_000_000, seed=0)
    assert (agreement.differing_inputs, agreement.onnx_errors) == (0, 0)


def test_c_of_another_policy_is_found(make_network, require_tool):
    require_tool("cc")
    policy = make_network((6, 20, 2))
    other = CompiledPolicy(nudged(policy, 1e-6))
    agreement = verify(policy, other, onnx_bytes(policy), inputs=5000, seed=0)
    assert agreement.differing_inputs > 1000
    assert agreement.onnx_errors == 0


@pytest.mark.parametrize("head", [Head(), Head("argmax"), SQUASH, Head("clip", [-1, -1], [1, 1])])
def test_onnx_of_another_policy_is_found(make_network, head):
    policy = make_network((6, 20, 2), head=head)
    agreement = verify(policy, None, onnx_bytes(nudged(policy, 0.1)), inputs=5000, seed=0)
    assert agreement.differing_inputs is None
    assert agreement.onnx_errors > 0


def test_large_outputs_may_differ_by_their_own_rounding(make_network):
    policy = make_network((6, 20, 2))
    last = policy.layers[-1]
    large = replace(policy, layers=(policy.layers[0], Layer(last.weight * 1e4, last.bias * 1e4)))
    agreement = verify(large, None, onnx_bytes(large), inputs=20_000, seed=0)
    assert agreement.onnx_max_abs_difference > 1e-5
    assert agreement.onnx_errors == 0


def test_scores_that_are_equal_to_rounding_are_counted_as_ties(make_network):
    policy = make_network((6, 40, 2), head=Head("argmax"))
    row = policy.layers[1].weight[:1]
    noise = np.random.default_rng(0).normal(size=row.shape) * 1e-7
    twins = replace(policy, layers=(policy.layers[0], Layer(np.concatenate([row, row + noise]), np.ones(2))))
    agreement = verify(twins, None, onnx_bytes(twins), inputs=20_000, seed=0)
    assert agreement.argmax_ties > 0
    assert agreement.onnx_errors == 0
    assert agreement.onnx_max_abs_difference is None


def test_gaps_are_counted_by_hand():
    scores = np.array([[0, 0.5], [0, 5e-6], [0, 5e-5]], np.float32)
    best, found = np.array([1, 1, 1]), np.array([1, 0, 0])
    assert onnx_gaps(Head("argmax"), scores, best, found) == OnnxGaps(ties=1, errors=1)
    assert onnx_gaps(Head("argmax"), scores * 100, best, found) == OnnxGaps(ties=1, errors=1)
    wide = Head("squash", [-100], [100])
    assert onnx_gaps(wide, np.ones((1, 1)), np.full((1, 1), 50.0), np.full((1, 1), 50.0009)).errors == 0
    assert onnx_gaps(wide, np.ones((1, 1)), np.full((1, 1), 50.0), np.full((1, 1), 50.002)).errors == 1
    actions = np.array([[0.5], [2.0]], np.float32)
    gaps = onnx_gaps(Head(), actions, actions, actions + np.array([[0], [0.5]], np.float32))
    assert gaps == OnnxGaps(largest=0.5, errors=1)
    nothing = np.full((1, 1), np.nan, np.float32)
    assert onnx_gaps(Head(), nothing, nothing, actions[:1]).errors == 1


def test_rows_differ_in_a_sign_of_zero_but_not_in_the_bits_of_nan():
    a = np.array([[0.0, 1], [np.nan, 1], [1, 1], [2, 1]], np.float32)
    b = np.array([[-0.0, 1], [-np.nan, 1], [1, 1], [2, 1.0000001]], np.float32)
    assert rows_differing(a, b).tolist() == [True, False, False, True]
    assert rows_differing(np.array([1, 2]), np.array([1, 3], np.int32)).tolist() == [False, True]


def test_progress_counts_up_to_all_inputs(make_network, require_tool):
    require_tool("cc")
    policy, seen = compact(make_network((3, 4, 1))), []
    data = onnx_bytes(policy)
    verify(policy, CompiledPolicy(policy), data, inputs=2 * CHUNK + 7, seed=0, progress=lambda *step: seen.append(step))
    assert seen == [(done, 2 * CHUNK + 7) for done in (CHUNK, 2 * CHUNK, 2 * CHUNK + 7)]


def test_no_observation_is_tested_twice(make_network, monkeypatch):
    policy, seen = make_network((2, 2)), []
    draw = verification.random_observations

    def kept(*arguments, **options):
        seen.append(draw(*arguments, **options))
        return seen[-1]

    monkeypatch.setattr(verification, "random_observations", kept)
    verify(policy, None, onnx_bytes(policy), inputs=2 * CHUNK, seed=0)
    assert len(np.unique(np.concatenate(seen), axis=0)) == 2 * CHUNK


def test_another_seed_tests_other_inputs(make_network):
    policy = make_network((6, 20, 2))
    data = onnx_bytes(policy)
    a, b, c = (verify(policy, None, data, inputs=500, seed=seed).onnx_max_abs_difference for seed in (0, 1, 0))
    assert a == c != b
