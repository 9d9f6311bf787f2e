"""Compacting: the same function with fewer numbers."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from niwaki.policies import arithmetic
from niwaki.policies.compact import compact, is_constant
from niwaki.policies.network import ACTIVATIONS, Head, Layer, NetworkPolicy

from .conftest import TORCH


def exact_outputs(policy, observations):
    """The outputs in float64, by torch."""
    y = torch.from_numpy(observations.astype(np.float64))
    for layer in policy.layers:
        y = TORCH[layer.activation](y @ torch.tensor(layer.weight).double().T + torch.tensor(layer.bias).double())
    return y.numpy()


def connected(policy):
    """Whether any path of non-zero weights leads from input to output, by counting paths."""
    paths = np.eye(policy.observation_size, dtype=object)
    for layer in policy.layers:
        paths = (layer.weight != 0).astype(object) @ paths
    return bool(paths.any())


@st.composite
def sparse_policies(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(st.lists(st.integers(1, 12), min_size=2, max_size=5))
    density = draw(st.sampled_from([0.02, 0.1, 0.3, 0.6, 1.0]))
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        weight = rng.normal(size=(outputs, inputs)) / np.sqrt(inputs) * (rng.random((outputs, inputs)) < density)
        layers.append(Layer(weight, rng.normal(size=outputs), draw(st.sampled_from(ACTIVATIONS))))
    return NetworkPolicy(tuple(layers))


@given(policy=sparse_policies())
@settings(max_examples=300, deadline=None)
def test_compacting_changes_no_output_beyond_rounding(policy):
    x = np.random.default_rng(0).normal(size=(20, policy.observation_size)).astype(np.float32)
    np.testing.assert_allclose(exact_outputs(compact(policy), x), exact_outputs(policy, x), rtol=5e-5, atol=5e-5)


@given(policy=sparse_policies())
@settings(max_examples=200, deadline=None)
def test_compacting_twice_equals_compacting_once(policy):
    once = compact(policy)
    twice = compact(once)
    assert once.sizes == twice.sizes
    for a, b in zip(once.layers, twice.layers, strict=True):
        np.testing.assert_array_equal(a.weight, b.weight)
        np.testing.assert_array_equal(a.bias, b.bias)


@given(policy=sparse_policies())
@settings(max_examples=200, deadline=None)
def test_every_hidden_unit_that_is_left_lies_on_a_path(policy):
    small = compact(policy)
    for layer, following in itertools.pairwise(small.layers):
        assert (layer.weight != 0).any(axis=1).all()
        assert (following.weight != 0).any(axis=0).all()
    assert (small.observation_size, small.output_size) == (policy.observation_size, policy.output_size)
    assert small.nonzero_weights <= policy.nonzero_weights


@given(policy=sparse_policies())
@settings(max_examples=200, deadline=None)
def test_a_policy_is_constant_exactly_when_no_path_leads_through_it(policy):
    assert is_constant(policy) == (not connected(policy))
    assert is_constant(compact(policy)) == is_constant(policy)
    if is_constant(policy):
        assert len(compact(policy).layers) == 1


def test_leaving_out_units_without_outgoing_weights_changes_no_bit_of_a_wide_layer(make_network):
    policy = make_network((6, 40, 30, 20), ("silu", "tanh"))
    dead = np.arange(40) % 4 == 0
    following = policy.layers[1]
    cut = Layer(np.where(dead, 0, following.weight), following.bias, following.activation)
    policy = replace(policy, layers=(policy.layers[0], cut, policy.layers[2]))
    small = compact(policy)
    assert small.sizes == (6, 30, 30, 20)
    x = np.random.default_rng(0).normal(size=(1000, 6)).astype(np.float32)
    before, after = arithmetic.mirror_outputs(policy, x), arithmetic.mirror_outputs(small, x)
    np.testing.assert_array_equal(before.view(np.int32), after.view(np.int32))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_unit_without_incoming_weights_is_folded_into_the_next_biases(activation):
    first = Layer(np.array([[1.0, 2.0], [0, 0]]), np.array([0.5, -0.7]), activation)
    policy = NetworkPolicy((first, Layer(np.array([[1.0, 3.0], [2.0, 0.0]]), np.array([0.1, 0.2]))))
    small = compact(policy)
    value = TORCH[activation](torch.tensor(-0.7, dtype=torch.float64)).item()
    assert small.sizes == (2, 1, 2)
    np.testing.assert_allclose(small.layers[1].bias, [0.1 + 3 * value, 0.2], rtol=0, atol=1e-6)


def test_a_constant_is_folded_through_several_layers():
    first = Layer(np.array([[0.0], [1.0]]), np.array([2.0, 0.0]), "relu")
    second = Layer(np.array([[3.0, 0.0], [0.0, 1.0]]), np.array([-1.0, 0.0]), "relu")  # its first unit: always 5
    policy = NetworkPolicy((first, second, Layer(np.array([[7.0, 1.0]]), np.array([1.0]))))
    small = compact(policy)
    assert small.sizes == (1, 1, 1, 1)
    assert small.layers[2].bias.tolist() == [36]


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_a_policy_without_any_path_becomes_one_layer_that_ignores_its_input(make_network, cut):
    policy = make_network((4, 6, 5, 2), ("elu",), Head("squash", [-1, -2], [1, 2]), normalized=True)
    layers = list(policy.layers)
    layers[cut] = Layer(np.zeros_like(layers[cut].weight), layers[cut].bias, layers[cut].activation)
    policy = replace(policy, layers=tuple(layers))
    small = compact(policy)
    assert is_constant(policy)
    assert small.sizes == (4, 2)
    assert not small.layers[0].weight.any()
    x = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    np.testing.assert_allclose(arithmetic.mirror_act(small, x), arithmetic.mirror_act(policy, x), rtol=0, atol=1e-6)
    assert len(np.unique(arithmetic.mirror_act(small, x), axis=0)) == 1


def test_head_normaliser_and_origin_are_kept(make_network):
    policy = replace(make_network((3, 5, 2), head=Head("argmax"), normalized=True, density=0.3), origin=(("a", "b"),))
    small = compact(policy)
    assert (small.head, small.normalizer, small.origin) == (policy.head, policy.normalizer, policy.origin)


def test_a_dense_policy_stays_as_it_is(make_network):
    policy = make_network((3, 5, 2))
    assert all(a is b for a, b in zip(compact(policy).layers, policy.layers, strict=True))
