"""The surgeon: what it takes away and how the rest makes up for it, against least squares and brute force."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from niwaki.imitation import Lessons
from niwaki.policies.grid import grid_of, step_for
from niwaki.policies.network import Head
from niwaki.pruning import surgeon
from niwaki.pruning.surgeon import operate, round_weights
from niwaki.types import NiwakiError


def lessons_of(teacher, n=400, seed=3, mix=True):
    rng = np.random.default_rng(seed)
    observations = rng.normal(size=(n, teacher.observation_size))
    if mix:  # inputs that stand in for each other
        observations = observations @ rng.normal(size=(teacher.observation_size,) * 2)
    observations = observations.astype(np.float32)
    return Lessons(observations, teacher.outputs(observations), rng.uniform(0.5, 2, n).astype(np.float32))


def test_for_a_linear_network_the_loss_of_one_weight_is_answered_by_least_squares(make_network):
    network = make_network((5, 1))
    lessons = lessons_of(network)
    root = np.sqrt(lessons.weights)[:, None]
    design = np.column_stack([lessons.observations, np.ones(len(lessons))])

    def best_without(q):
        columns = [i for i in range(6) if i != q]
        found, rest, _, _ = np.linalg.lstsq(design[:, columns] * root, lessons.outputs * root, rcond=None)
        return float(rest[0]), np.insert(found[:, 0], q, 0)

    _, expected = min((best_without(q) for q in range(5)), key=lambda pair: pair[0])
    thinner = operate(network, lessons, keep=4).layers[0]
    assert np.allclose(np.append(thinner.weight, thinner.bias), expected, atol=2e-3)
    assert np.array_equal(thinner.weight[0] == 0, expected[:5] == 0)


def test_removing_several_is_about_as_good_as_the_best_choice_of_all(make_network):
    network = make_network((7, 1), seed=4)
    lessons = lessons_of(network)
    root = np.sqrt(lessons.weights)[:, None]
    design = np.column_stack([lessons.observations, np.ones(len(lessons))]) * root

    def loss(columns):
        return float(np.linalg.lstsq(design[:, [*columns, 7]], lessons.outputs * root, rcond=None)[1][0])

    best = min(loss(columns) for columns in combinations(range(7), 3))
    thinner = operate(network, lessons, keep=3)
    error = (thinner.outputs(lessons.observations) - lessons.outputs) * root
    assert thinner.nonzero_weights == 3
    assert np.isclose(float((error**2).sum()), best, rtol=0.2)


@pytest.mark.parametrize(
    "head",
    [Head(), Head("argmax"), Head("squash", np.full(2, -1.0), np.ones(2)), Head("clip", np.full(2, -1.0), np.ones(2))],
    ids=lambda h: h.kind,
)
def test_the_curvature_is_that_of_the_loss(make_network, head):
    torch = pytest.importorskip("torch")
    network = make_network((3, 4, 2), head=head, seed=8)
    lessons = replace(lessons_of(network, 50), weights=np.ones(50, dtype=np.float32))
    x = torch.tensor(lessons.observations.astype(np.float64))
    shapes = [layer.weight.shape for layer in network.layers] + [layer.bias.shape for layer in network.layers]
    flat = torch.tensor(np.concatenate([p.ravel() for p in network.parts]).astype(np.float64))
    inside = np.abs(lessons.outputs) < 1

    def act(values):
        parts = [
            part.reshape(shape)
            for part, shape in zip(torch.split(values, [int(np.prod(s)) for s in shapes]), shapes, strict=True)
        ]
        y = torch.tanh(x @ parts[0].T + parts[2]) @ parts[1].T + parts[3]
        if head.kind == "argmax":
            return y
        if head.kind == "clip":
            return y * torch.tensor(inside)
        return torch.tanh(y) if head.kind == "squash" else y

    jacobian = torch.autograd.functional.jacobian(act, flat).numpy()  # [50, 2, P]
    middle = np.broadcast_to(np.eye(2), (50, 2, 2))
    if head.kind == "argmax":
        q = torch.softmax(act(flat), dim=1).numpy()
        middle = np.einsum("na,ab->nab", q, np.eye(2)) - np.einsum("na,nb->nab", q, q)
    expected = np.einsum("nap,nab,nbq->pq", jacobian, middle, jacobian) / 50
    assert np.allclose(surgeon._curvature(network, lessons), expected, atol=1e-4 * np.abs(expected).max())


def test_of_two_rival_outputs_one_can_say_it_all(make_network):
    network = make_network((4, 2), head=Head("argmax"), seed=2)
    lessons = lessons_of(network, mix=False)
    thinner = operate(network, lessons, keep=4)
    agree = thinner(lessons.observations) == network(lessons.observations)
    assert thinner.nonzero_weights == 4
    assert agree.mean() > 0.99


def test_dead_units_go_and_at_most_the_number_asked_for_is_left(make_network):
    network = make_network((6, 8, 2), head=Head("clip", np.full(2, -1.0), np.ones(2)), seed=6)
    for keep in (60, 20, 6, 0):
        thinner = operate(network, lessons_of(network), keep=keep)
        assert thinner.nonzero_weights <= keep
        for layer, following in zip(thinner.layers, thinner.layers[1:], strict=False):
            assert (layer.weight != 0).any(axis=1).all()
            assert (following.weight != 0).any(axis=0).all()


def test_what_is_too_large_or_makes_no_sense_is_refused(make_network):
    small = make_network((3, 2))
    with pytest.raises(NiwakiError, match="negative, got -1"):
        operate(small, lessons_of(small), keep=-1)
    large = make_network((60, 60, 10))
    with pytest.raises(NiwakiError, match="4270 parameters"):
        operate(large, lessons_of(large, 5, mix=False), keep=10)


def test_rounded_weights_fit_a_byte_and_the_rest_makes_up_for_it(make_network):
    network = make_network((5, 6, 2), ("tanh",), Head("clip", np.full(2, -9.0), np.full(2, 9.0)), seed=2)
    lessons = lessons_of(network, 2000)
    fine = round_weights(network, lessons)
    assert all(grid_of(layer.weight) for layer in fine.layers)
    steps = [step_for(layer.weight) for layer in network.layers]
    weights = [np.rint(layer.weight / step) * step for layer, step in zip(network.layers, steps, strict=True)]
    plain = network.with_parts([*weights, *(layer.bias for layer in network.layers)])

    def error(other):
        return float((lessons.weights[:, None] * (other.outputs(lessons.observations) - lessons.outputs) ** 2).mean())

    assert error(fine) < 0.5 * error(plain)


def test_zeros_stay_zeros_when_the_rest_is_rounded(make_network):
    network = operate(make_network((7, 2), seed=4), lessons_of(make_network((7, 2), seed=4)), keep=6)
    network = network.with_parts([network.layers[0].weight, np.array([0.0, network.layers[0].bias[1]])])
    rounded = round_weights(network, lessons_of(network))
    assert not rounded.layers[0].weight[network.layers[0].weight == 0].any()
    assert rounded.layers[0].bias[0] == 0
    assert rounded.layers[0].bias[1] != network.layers[0].bias[1]


def test_a_large_network_is_rounded_as_it_is(make_network):
    network = make_network((40, 100, 3))
    rounded = round_weights(network, lessons_of(network, 10))
    for old, new in zip(network.layers, rounded.layers, strict=True):
        assert np.abs(old.weight - new.weight).max() <= step_for(old.weight) / 2
        np.testing.assert_array_equal(old.bias, new.bias)
