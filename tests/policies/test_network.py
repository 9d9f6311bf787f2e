"""NetworkPolicy: computes what torch computes, refuses what it cannot be, and cannot be changed."""

import numpy as np
import pytest
import torch
from torch import nn

from niwaki.policies.network import ACTIVATIONS, Head, Layer, NetworkPolicy, Normalizer
from niwaki.types import Box, Discrete, NiwakiError

TORCH = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
}
rng = np.random.default_rng(0)
OBSERVATIONS = (rng.normal(size=(500, 5)) * 3).astype(np.float32)
LOW, HIGH = np.array([-1, -2, 0], np.float32), np.array([1, 0.5, 3], np.float32)
INFINITY = float("inf")


def of(head, weight=None, bias=None):
    """A policy of one layer: by default its outputs are its observations."""
    weight = np.eye(head.low.size or 3) if weight is None else weight
    return NetworkPolicy((Layer(weight, np.zeros(len(weight)) if bias is None else bias),), head)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_outputs_are_those_of_the_same_network_in_torch(activation):
    modules = nn.Sequential(nn.Linear(5, 17), TORCH[activation](), nn.Linear(17, 3), TORCH[activation]()).double()
    layers = [
        Layer(m.weight.detach().numpy(), m.bias.detach().numpy(), activation) for m in modules if hasattr(m, "weight")
    ]
    with torch.no_grad():
        expected = modules(torch.from_numpy(OBSERVATIONS).double()).numpy()
    outputs = NetworkPolicy(tuple(layers))(OBSERVATIONS)
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=2e-6)


def test_the_normaliser_subtracts_divides_and_clips():
    normalizer = Normalizer(np.array([1.0, -2.0]), np.array([0.5, 4.0]), clip=3.0)
    policy = NetworkPolicy((Layer(np.eye(2), np.zeros(2)),), normalizer=normalizer)
    observations = np.array([[1.0, -2.0], [1.5, 2.0], [100.0, -100.0]])
    np.testing.assert_array_equal(policy(observations), [[0, 0], [1, 1], [3, -3]])


def test_argmax_takes_the_first_of_equal_scores():
    policy = of(Head("argmax"))
    assert policy(np.array([[1, 3, 3], [2, 2, 2], [0, -1, 5]])).tolist() == [1, 0, 2]


def test_clip_keeps_each_action_in_its_own_bounds():
    policy = of(Head("clip", LOW, HIGH))
    np.testing.assert_array_equal(policy(np.array([[9, 9, 9], [-9, -9, -9], [0, 0, 1]])), [HIGH, LOW, [0, 0, 1]])


def test_squash_is_a_tanh_scaled_to_the_bounds_and_its_limit_comes_first():
    y = np.array([[0.3, -1.0, 9.0]])
    free, limited = of(Head("squash", LOW, HIGH))(y), of(Head("squash", LOW, HIGH, limit=0.5))(y)
    torch_y = torch.from_numpy(y)
    middle, half = (LOW + HIGH) / 2, (HIGH - LOW) / 2
    np.testing.assert_allclose(free, middle + half * torch.tanh(torch_y).numpy(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        limited, middle + half * torch.tanh(torch_y.clamp(-0.5, 0.5)).numpy(), rtol=1e-6, atol=1e-6
    )


def test_a_raw_head_becomes_what_the_action_space_says():
    raw, box = of(Head()), Box((-1.0, -2.0, 0.0), (1.0, 0.5, INFINITY))
    chosen, clipped = raw.for_actions(Discrete(3)), raw.for_actions(box)
    assert (chosen.head.kind, chosen.action_space) == ("argmax", Discrete(3))
    assert (clipped.head.kind, clipped.action_space) == ("clip", box)
    assert raw.action_space == Box((-INFINITY,) * 3, (INFINITY,) * 3)


def test_a_head_that_already_fits_is_kept():
    squashed, chosen = of(Head("squash", LOW, HIGH)), of(Head("argmax"))
    assert squashed.for_actions(Box((-5.0,) * 3, (5.0,) * 3)) is squashed
    assert chosen.for_actions(Discrete(3)) is chosen


@pytest.mark.parametrize(
    ("head", "space", "words"),
    [
        (Head(), Discrete(4), "one of 4 actions, the policy gives 3 continuous"),
        (Head("argmax"), Discrete(2), "one of 2 actions, the policy gives one of 3"),
        (Head("clip", LOW, HIGH), Discrete(3), "one of 3 actions, the policy gives 3 continuous"),
        (Head("argmax"), Box((-1.0,) * 3, (1.0,) * 3), "3 continuous actions, the policy gives one of 3"),
        (Head(), Box((-1.0,), (1.0,)), "1 continuous actions, the policy gives 3"),
    ],
)
def test_an_action_space_that_does_not_fit_is_refused(head, space, words):
    with pytest.raises(NiwakiError, match=words):
        of(head).for_actions(space)


def test_sizes_and_counts():
    weight = np.array([[1.0, 0.0], [0.0, 0.0], [2.0, 3.0]])
    policy = NetworkPolicy((Layer(weight, np.ones(3), "relu"), Layer(np.zeros((1, 3)), np.ones(1))))
    assert policy.sizes == (2, 3, 1)
    assert (policy.observation_size, policy.output_size) == (2, 1)
    assert (policy.weights, policy.nonzero_weights, policy.parameters) == (9, 3, 13)


def test_a_bias_of_minus_zero_becomes_plus_zero():
    layer = Layer(np.ones((2, 1)), np.array([-0.0, -1.0]))
    assert not np.signbit(layer.bias[0])
    assert np.signbit(layer.bias[1])


def test_no_array_of_a_policy_can_be_changed():
    normalizer, head = Normalizer(np.zeros(2), np.ones(2)), Head("clip", LOW, HIGH)
    layer = Layer(np.ones((3, 2)), np.zeros(3))
    for array in (layer.weight, layer.bias, normalizer.mean, normalizer.scale, head.low, head.high):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 7


def test_a_policy_does_not_follow_the_arrays_it_was_made_from():
    weight, mean = np.ones((1, 2), np.float32), np.zeros(2)
    layer, normalizer = Layer(weight, np.zeros(1)), Normalizer(mean, np.ones(2))
    weight[...], mean[...] = 5, 5
    assert layer.weight.tolist() == [[1, 1]]
    assert normalizer.mean.tolist() == [0, 0]


NOT_A_NUMBER = float("nan")
LAYER = Layer(np.ones((2, 3)), np.zeros(2))
REFUSED = {
    "weights and biases of other sizes": (lambda: Layer(np.ones((2, 3)), np.zeros(3)), "got .2, 3. and .3"),
    "weights that are no matrix": (lambda: Layer(np.ones(3), np.zeros(3)), "weights .out, in."),
    "an unknown activation": (lambda: Layer(np.ones((1, 1)), np.zeros(1), "gelu"), "unknown activation 'gelu'"),
    "a weight that is not a number": (lambda: Layer(np.full((1, 1), NOT_A_NUMBER), np.zeros(1)), "not finite"),
    "an infinite bias": (lambda: Layer(np.ones((1, 1)), np.array([INFINITY])), "not finite"),
    "a mean without a scale": (lambda: Normalizer(np.zeros(2), np.ones(3)), "differ in size: 2 and 3"),
    "a scale of zero": (lambda: Normalizer(np.zeros(2), np.array([1.0, 0.0])), "positive, finite scales"),
    "an infinite scale": (lambda: Normalizer(np.zeros(1), np.array([INFINITY])), "positive, finite scales"),
    "a mean that is not a number": (lambda: Normalizer(np.array([NOT_A_NUMBER]), np.ones(1)), "finite means"),
    "a clip of zero": (lambda: Normalizer(np.zeros(1), np.ones(1), 0.0), "clip must be positive, got 0.0"),
    "an unknown head": (lambda: Head("softmax"), "unknown action head 'softmax'"),
    "bounds the wrong way round": (lambda: Head("clip", [1], [-1]), "low < high"),
    "bounds of other sizes": (lambda: Head("clip", [-1], [1, 1]), "low < high"),
    "a bound that is not a number": (lambda: Head("clip", [NOT_A_NUMBER], [1]), "low < high"),
    "a squash without bounds": (lambda: Head("squash", [-1], [INFINITY]), "needs finite bounds"),
    "no layer": (lambda: NetworkPolicy(()), "at least one layer"),
    "layers that do not fit": (lambda: NetworkPolicy((LAYER, LAYER)), "2 outputs into 3 inputs"),
    "a normaliser that does not fit": (
        lambda: NetworkPolicy((LAYER,), normalizer=Normalizer(np.zeros(2), np.ones(2))),
        "2 entries, the network takes 3",
    ),
    "bounds that do not fit": (lambda: NetworkPolicy((LAYER,), Head("clip", LOW, HIGH)), "3 action bounds for 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_policy_is_refused_in_one_sentence(case):
    build, words = REFUSED[case]
    with pytest.raises(NiwakiError, match=words):
        build()


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_that_is_not_positive_is_refused(limit):
    with pytest.raises(NiwakiError, match="limit must be positive"):
        Head("squash", LOW, HIGH, limit=limit)
