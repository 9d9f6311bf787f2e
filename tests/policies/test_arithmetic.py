"""The one arithmetic: close to float64, the same for a row alone and in a batch, in exactly the order it states."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from niwaki.policies import arithmetic
from niwaki.policies.network import ACTIVATIONS, Head, Layer, NetworkPolicy, Normalizer
from niwaki.types import NiwakiError

from .conftest import TORCH

F = np.float32
SMALLEST_NORMAL = F(2**-126)
LIMITS = st.floats(-1e6, 1e6, width=32)


def floats_of_every_size():
    """Some two million float32 from zero to the largest, denormals included, evenly spaced in their bits."""
    return np.arange(0, 0x7F800000, 997, dtype=np.uint32).view(np.float32)


def bits(x):
    return np.asarray(x).view(np.int32)


def test_tanh_stays_within_its_stated_errors_over_all_floats():
    x = floats_of_every_size()
    exact = np.tanh(x.astype(np.float64))
    error = np.abs(arithmetic.tanh(x) - exact)
    normal = x >= SMALLEST_NORMAL
    assert error.max() < 4.8e-7
    assert (error[normal] / exact[normal]).max() < 7.8e-7
    assert error[~normal].max() < 8 * 2.0**-149


def test_tanh_is_odd_and_stays_inside_one():
    x = floats_of_every_size()
    y = arithmetic.tanh(x)
    np.testing.assert_array_equal(bits(arithmetic.tanh(-x)), bits(-y))
    assert np.abs(y).max() < 1


# absolute error over max(1, |x|), against torch in float64
ERRORS = {
    "identity": 0,
    "relu": 0,
    "tanh": 4.8e-7,
    "elu": 2.5e-7,
    "leaky_relu": 1e-9,
    "sigmoid": 2.4e-7,
    "silu": 2.9e-7,
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_close_to_its_exact_value(activation):
    x = floats_of_every_size()[::7]
    x = np.concatenate([x, -x])
    y = arithmetic.activate(activation, x)
    exact = TORCH[activation](torch.from_numpy(x.astype(np.float64))).numpy()
    assert y.dtype == np.float32
    assert (np.abs(y - exact) / np.maximum(np.abs(x.astype(np.float64)), 1)).max() <= ERRORS[activation]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_network_is_close_to_the_same_network_in_torch_and_float64(make_network, activation):
    policy = make_network((9, 40, 40, 3), (activation,))
    x = np.random.default_rng(1).normal(size=(2000, 9)).astype(np.float32)
    y = torch.from_numpy(x).double()
    for layer in policy.layers:
        y = y @ torch.tensor(layer.weight).double().T + torch.tensor(layer.bias).double()
        y = TORCH[layer.activation](y)
    np.testing.assert_allclose(arithmetic.mirror_outputs(policy, x), y.numpy(), rtol=0, atol=5e-6)


def test_the_normaliser_loses_nothing_where_an_observation_hardly_varies_around_a_large_mean():
    normalizer = Normalizer(np.array([1e5 + 0.123456]), np.array([0.01]), 10.0)
    x = (1e5 + 0.123456 + 0.01 * np.linspace(-5, 5, 101)).astype(np.float32)[:, None]
    exact = (x.astype(np.float64) - normalizer.mean) / normalizer.scale
    z = arithmetic.normalize(arithmetic.normalizer_tables(normalizer), x)
    np.testing.assert_allclose(z, exact, rtol=1e-6, atol=1e-6)


def test_the_normaliser_clips_at_its_bound_only():
    tables = arithmetic.normalizer_tables(Normalizer(np.zeros(1), np.ones(1), 2.5))
    z = arithmetic.normalize(tables, np.array([[-9], [-2.5], [1], [2.5], [9]], np.float32))
    assert z.ravel().tolist() == [-2.5, -2.5, 1, 2.5, 2.5]


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1e-60), (1e300, 1.0)])
def test_a_normaliser_beyond_float32_is_refused(mean, scale):
    normalizer = Normalizer(np.array([0.0, mean]), np.array([1.0, scale]))
    with pytest.raises(NiwakiError, match="of observation 1 cannot be held in float32"):
        arithmetic.normalizer_tables(normalizer)


@pytest.mark.parametrize("sizes", [(1, 1), (4, 2), (8, 64, 64, 4), (40, 15, 17, 3), (16, 15), (15, 16)])
def test_a_row_alone_gives_the_same_bits_as_in_a_batch(make_network, sizes):
    policy = make_network(sizes, ("silu", "elu"), normalized=True)
    x = np.random.default_rng(0).normal(size=(50, sizes[0])).astype(np.float32) * 3
    together = arithmetic.mirror_outputs(policy, x)
    alone = np.concatenate([arithmetic.mirror_outputs(policy, row[None]) for row in x])
    np.testing.assert_array_equal(bits(alone), bits(together))


def documented_layer(layer, x):
    """The layer as the module's docstring states it, in scalars, leaving out zero weights."""
    outputs, inputs = layer.weight.shape
    result = []
    for weight, bias in zip(layer.weight, layer.bias, strict=True):
        terms = [(i, weight[i] * x[i]) for i in range(inputs) if weight[i] != 0]
        if outputs >= 16 or inputs < 16:
            total = bias
            for _, term in terms:
                total = total + term
        else:
            s = [F(0)] * 8
            for i, term in terms:
                s[i % 8] = s[i % 8] + term
            total = bias + (((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7])))
        result.append(total)
    return np.array(result, dtype=np.float32)


@given(
    outputs=st.integers(1, 20),
    inputs=st.integers(1, 40),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
def test_a_layer_is_summed_in_the_documented_order_and_zero_weights_change_no_bit(outputs, inputs, density, seed):
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(outputs, inputs)) * (rng.random((outputs, inputs)) < density)
    weight = np.where(rng.random(weight.shape) < 0.5, weight, weight * -1.0)  # zeros of both signs
    layer = Layer(weight, rng.choice([0.0, -0.0, 1e-40, 0.3], size=outputs))
    x = (rng.normal(size=inputs) * rng.choice([0.0, -0.0, 1e-40, 1.0, 1e20], size=inputs)).astype(np.float32)
    np.testing.assert_array_equal(bits(arithmetic.linear(layer, x[None])[0]), bits(documented_layer(layer, x)))


def test_argmax_takes_the_first_of_equal_scores():
    scores = np.array(list(itertools.product([-1, 0, 2], repeat=4)), np.float32)
    np.testing.assert_array_equal(arithmetic.apply_head(Head("argmax"), scores), scores.argmax(axis=1))


def test_a_clip_head_leaves_an_unbounded_side_alone():
    head = Head("clip", [-np.inf, -1, -np.inf], [2, np.inf, np.inf])
    y = np.array([[-1e30, -1e30, -1e30], [1e30, 1e30, 1e30]], np.float32)
    expected = np.array([[-1e30, -1, -1e30], [2, 1e30, 1e30]], np.float32)
    np.testing.assert_array_equal(arithmetic.apply_head(head, y), expected)
    assert arithmetic.clip_bounds(Head("clip", [-np.inf], [np.inf])) is None


@given(low=LIMITS, span=st.floats(2**-10, 1e6, width=32), y=st.floats(width=32, allow_nan=False))
@settings(max_examples=300, deadline=None)
def test_a_squashed_action_never_leaves_its_bounds_and_is_close_to_the_exact_one(low, span, y):
    high = F(F(low) + F(span))
    if not low < high:
        return
    head = Head("squash", [low], [high])
    action = arithmetic.apply_head(head, np.array([[y]], np.float32))[0, 0]
    exact = low + (np.tanh(np.float64(y)) + 1) / 2 * (np.float64(high) - low)
    assert low <= action <= high
    assert abs(action - exact) <= 1e-6 * max(abs(low), abs(high), 1)


def test_a_squash_limit_clips_before_the_tanh():
    head = Head("squash", [-1], [1], limit=0.5)
    y = arithmetic.apply_head(head, np.array([[3], [0.5], [0.25], [-3]], np.float32)).ravel()
    np.testing.assert_allclose(y, np.tanh([0.5, 0.5, 0.25, -0.5]), atol=1e-6)


def test_the_mirror_gives_actions_of_the_head(make_network):
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    chosen = make_network((4, 8, 3), head=Head("argmax"))
    scores = arithmetic.mirror_outputs(chosen, x)
    np.testing.assert_array_equal(arithmetic.mirror_act(chosen, x), scores.argmax(axis=1))
    plain = NetworkPolicy(chosen.layers)
    np.testing.assert_array_equal(bits(arithmetic.mirror_act(plain, x)), bits(scores))
