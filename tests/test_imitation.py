"""Imitation: lessons are what was flown, and a fit is torch's fit."""

from dataclasses import replace

import numpy as np
import pytest

from niwaki.imitation import (
    LOST,
    MISTAKE,
    Lessons,
    action_targets,
    attention,
    choose,
    distil,
    gather,
    join,
    slopes,
)
from niwaki.policies.network import ACTIVATIONS, Head, Layer, NetworkPolicy
from niwaki.rollout import rollout
from niwaki.simulators.cartpole import CartPole
from niwaki.types import NiwakiError

CLIP = Head("clip", np.array([-1.0, 0.0]), np.array([1.0, 3.0]))
SQUASH = Head("squash", np.array([-2.0, -1.0]), np.array([2.0, 1.0]))


def lessons_of(teacher, n=500, seed=3):
    observations = np.random.default_rng(seed).normal(size=(n, teacher.observation_size)).astype(np.float32)
    return Lessons(observations, teacher.outputs(observations), np.ones(n, dtype=np.float32))


def flown(teacher, episodes=6):
    simulator = CartPole(horizon=40)
    return rollout(simulator, teacher, simulator.sample(np.random.default_rng(0), episodes), record=True)


def test_a_lesson_is_the_teacher_s_answer_at_every_step_that_was_flown(make_network):
    student, teacher = (
        make_network((4, 3, 2), head=Head("argmax")),
        make_network((4, 8, 2), head=Head("argmax"), seed=1),
    )
    flights = flown(student)
    lessons = gather(teacher, flights)
    rows = [flights.recording.observations[b, t] for b in range(len(flights)) for t in range(flights.lengths[b])]
    assert np.array_equal(lessons.observations, rows)
    assert np.allclose(lessons.outputs, teacher.outputs(np.array(rows)), atol=1e-6)
    assert (lessons.weights == 1).all()


def test_weights_count_per_flight_or_per_step_and_zero_leaves_out(make_network):
    teacher = make_network((4, 3, 2), head=Head("argmax"))
    flights = flown(teacher)
    per_flight = gather(teacher, flights, weights=np.array([2.0, 0, 0, 0, 0, 1]))
    assert len(per_flight) == flights.lengths[0] + flights.lengths[5]
    assert per_flight.weights.sum() == 2 * flights.lengths[0] + flights.lengths[5]
    steps = np.zeros(flights.recording.rewards.shape)
    steps[3, 2] = 7
    one = gather(teacher, flights, weights=steps)
    assert one.weights.tolist() == [7]
    assert np.array_equal(one.observations[0], flights.recording.observations[3, 2])


def test_mistakes_count_more_and_what_comes_after_them_less(make_network):
    flights = flown(make_network((4, 3, 2), head=Head("argmax")), episodes=3)
    flights = replace(flights, spec_names=("s",), margins=np.array([[1.0], [-1.0], [-1.0]]))
    assert attention(flights).tolist() == [1, MISTAKE, MISTAKE]
    steps = flights.recording.rewards.shape[1]
    counts = attention(flights, lost=np.array([steps + 1, 2, 0]))
    assert counts.shape == (3, steps)
    assert (counts[0] == 1).all()
    assert counts[1].tolist() == [MISTAKE, MISTAKE, *[LOST] * (steps - 2)]
    assert (counts[2] == LOST).all()


def test_lessons_need_a_recording(make_network):
    with pytest.raises(NiwakiError, match="record=True"):
        gather(
            make_network((4, 2), head=Head("argmax")),
            replace(flown(make_network((4, 2), head=Head("argmax"))), recording=None),
        )


def test_joining_keeps_all_lessons_or_a_random_choice_without_repetition(make_network):
    rng = np.random.default_rng(0)
    parts = [lessons_of(make_network((3, 2)), 40, seed) for seed in (1, 2)]
    assert len(join(parts, most=80, rng=rng)) == 80
    some = join(parts, most=30, rng=rng)
    assert len(some) == 30 == len(np.unique(some.observations[:, 0]))
    both = np.concatenate([part.observations[:, 0] for part in parts])
    assert np.isin(some.observations[:, 0], both).all()
    assert len(choose(parts[0], 1000, rng)) == 40


def test_zero_weights_stay_zero_and_all_others_learn(make_network):
    teacher, student = make_network((5, 8, 2), head=CLIP), make_network((5, 6, 2), head=CLIP, density=0.5, seed=2)
    after = distil(student, lessons_of(teacher), steps=20)
    for old, new in zip(student.layers, after.layers, strict=True):
        assert np.array_equal(old.weight == 0, new.weight == 0)
        assert (old.weight != new.weight)[old.weight != 0].all()
        assert (old.bias != new.bias).all()


def test_the_same_seed_gives_the_same_bits_and_another_one_other_bits(make_network):
    teacher, student = make_network((5, 8, 2), head=CLIP), make_network((5, 6, 2), head=CLIP, seed=2)
    lessons = lessons_of(teacher, 5000)
    a, b, c = (distil(student, lessons, steps=30, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(a.layers[0].weight, b.layers[0].weight)
    assert not np.array_equal(a.layers[0].weight, c.layers[0].weight)


def test_a_linear_student_finds_the_least_squares_answer(make_network):
    teacher, student = make_network((4, 3, 2), seed=1), make_network((4, 2), seed=2)
    lessons = lessons_of(teacher, 2000)
    lessons = replace(lessons, outputs=lessons.outputs / 4)  # all inside the quadratic part of Huber's loss
    lessons = replace(lessons, weights=np.linspace(0.5, 2, 2000, dtype=np.float32))
    fitted = distil(student, lessons, steps=4000, rate=1e-2).layers[0]
    root = np.sqrt(lessons.weights)[:, None]
    design = np.column_stack([lessons.observations, np.ones(2000)])
    best = np.linalg.lstsq(design * root, lessons.outputs * root, rcond=None)[0]
    assert np.allclose(fitted.weight, best[:4].T, atol=0.02)
    assert np.allclose(fitted.bias, best[4], atol=0.02)


@pytest.mark.parametrize("head", [Head(), CLIP, SQUASH, Head("argmax")], ids=lambda head: head.kind)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_one_step_moves_every_parameter_against_torch_s_gradient(make_network, activation, head):
    torch = pytest.importorskip("torch")
    teacher = make_network((3, 6, 2), head=head, seed=4)
    student = make_network((3, 5, 2), (activation,), head=head, normalized=True, seed=5)
    lessons = lessons_of(teacher, 64)
    lessons = replace(lessons, weights=np.linspace(1, 3, 64, dtype=np.float32))
    after = distil(student, lessons, steps=1, rate=1e-3)
    expected = _torch_gradients(torch, student, lessons)
    for i, layer in enumerate(after.layers):
        for moved, gradient in (
            (layer.weight - student.layers[i].weight, expected[i][0]),
            (layer.bias - student.layers[i].bias, expected[i][1]),
        ):
            clear = np.abs(gradient) > 1e-4
            assert clear.any()
            assert np.allclose(
                moved[clear], -1e-3 * np.sign(gradient[clear]), rtol=0.02
            )  # Adam's first step is the sign


def _torch_gradients(torch, student, lessons):
    functions = {
        "identity": lambda x: x,
        "relu": torch.relu,
        "tanh": torch.tanh,
        "elu": torch.nn.functional.elu,
        "leaky_relu": torch.nn.functional.leaky_relu,
        "sigmoid": torch.sigmoid,
        "silu": torch.nn.functional.silu,
    }
    n, head = student.normalizer, student.head
    x = torch.tensor(np.clip((lessons.observations - n.mean) / n.scale, -n.clip, n.clip))
    parameters = [
        [torch.tensor(np.array(a, dtype=np.float64), requires_grad=True) for a in (la.weight, la.bias)]
        for la in student.layers
    ]
    for layer, (weight, bias) in zip(student.layers, parameters, strict=True):
        x = functions[layer.activation](x @ weight.T + bias)
    taught = torch.tensor(lessons.outputs.astype(np.float64))
    if head.kind == "argmax":
        soft = torch.tensor(action_targets(head, lessons.outputs).astype(np.float64))
        loss = -(soft * torch.log_softmax(x, dim=1)).sum(1)
    elif head.kind == "squash":
        loss = 0.5 * (torch.tanh(x) - torch.tanh(taught)).square().sum(1)
    elif head.kind == "raw":
        loss = torch.nn.functional.huber_loss(x, taught, reduction="none").sum(1)
    else:
        low, high = (torch.tensor(np.asarray(v, dtype=np.float64)) for v in (head.low, head.high))
        half, target = (high - low) / 2, torch.clamp(taught, low, high)
        right = ((x >= high) & (target >= high)) | ((x <= low) & (target <= low))
        loss = (half * torch.nn.functional.huber_loss(x / half, target / half, reduction="none") * ~right).sum(1)
    (loss * torch.tensor(lessons.weights / lessons.weights.mean())).mean().backward()
    return [(weight.grad.numpy(), bias.grad.numpy()) for weight, bias in parameters]


def test_an_action_that_is_clipped_like_the_teacher_s_is_left_alone():
    outputs = np.array([[5.0, -1.0], [5.0, 4.0]], dtype=np.float32)
    targets = action_targets(CLIP, np.array([[2.0, -8.0], [-2.0, 1.0]], dtype=np.float32))
    assert slopes(CLIP, outputs, targets).tolist() == [[0, 0], [1, 1]]


def test_the_softmax_fits_logits_and_small_q_values_alike():
    logits = np.array([[3.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    head = Head("argmax")
    assert np.allclose(action_targets(head, logits), action_targets(head, 100 + logits / 1000), atol=1e-6)
    assert np.isclose(action_targets(head, logits)[2, 0], 1 / (1 + np.exp(-3)))


def test_a_student_taught_where_it_goes_itself_learns_to_balance():
    weight = np.zeros((2, 4))
    weight[1] = (0.2, 0.5, 5.0, 1.5)
    teacher = NetworkPolicy((Layer(weight, np.zeros(2)),), Head("argmax"))
    simulator = CartPole(horizon=200)
    student = replace(teacher, layers=(Layer(-weight + 0.1, np.zeros(2)),))
    scenarios = simulator.sample(np.random.default_rng(1), 30)
    parts = []
    for seed in range(5):
        parts.append(gather(teacher, rollout(simulator, student, scenarios, record=True)))
        student = distil(
            student, join(parts, most=10_000, rng=np.random.default_rng(0)), steps=1000, rate=3e-2, seed=seed
        )
    assert rollout(simulator, student, scenarios).lengths.min() == 200


def test_no_lessons_and_lessons_that_do_not_fit_are_refused(make_network):
    empty = Lessons(np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0))
    with pytest.raises(NiwakiError, match="no lessons"):
        distil(make_network((3, 2)), empty)
    with pytest.raises(NiwakiError, match=r"\(2, 1, 2\)"):
        Lessons(np.zeros((2, 3)), np.zeros((1, 2)), np.zeros(2))


def test_what_is_taken_out_on_the_way_stays_out_and_is_asked_every_ten_steps(make_network):
    teacher, student = make_network((5, 8, 2), head=CLIP), make_network((5, 6, 2), head=CLIP, seed=2)
    asked = []

    def thin(done, network):
        asked.append(done)
        gone = done // 10 - 1  # one column of the first layer more each time
        weight = np.where(np.arange(5) <= gone, 0, network.layers[0].weight)
        return replace(network, layers=(replace(network.layers[0], weight=weight), network.layers[1]))

    after = distil(student, lessons_of(teacher), steps=25, thin=thin)
    assert asked == [10, 20]
    assert np.array_equal(after.layers[0].weight == 0, np.tile(np.arange(5) < 2, (6, 1)))
    assert (after.layers[1].weight != 0).all()


def test_a_fit_that_takes_nothing_out_is_the_fit_without_it(make_network):
    teacher, student = make_network((5, 8, 2), head=CLIP), make_network((5, 6, 2), head=CLIP, density=0.5, seed=2)
    plain, asked = (distil(student, lessons_of(teacher), steps=25, thin=thin) for thin in (None, lambda _, n: n))
    assert all(np.array_equal(a, b) for a, b in zip(plain.parts, asked.parts, strict=True))


def test_at_a_temperature_the_targets_are_the_softmax_of_the_outputs_over_it():
    outputs = np.array([[0.01, 0.0, -0.02], [5.0, 1.0, 4.0]])
    raised = np.exp(outputs / 0.01 - (outputs / 0.01).max(axis=1, keepdims=True))
    wanted = raised / raised.sum(axis=1, keepdims=True)
    assert np.allclose(action_targets(Head("argmax"), outputs, temperature=0.01), wanted)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(NiwakiError, match="temperature must be a positive number"):
            action_targets(Head("argmax"), outputs, temperature=wrong)


def test_the_batch_is_as_large_as_is_asked_for(make_network):
    teacher, student = make_network((5, 8, 2), head=CLIP), make_network((5, 6, 2), head=CLIP, seed=2)
    lessons = lessons_of(teacher, 64)
    whole, twice = (distil(student, lessons, steps=3, batch=batch) for batch in (64, 1000))
    half = distil(student, lessons, steps=3, batch=32)  # Adam's first step is the sign
    assert all(np.array_equal(a, b) for a, b in zip(whole.parts, twice.parts, strict=True))
    assert not np.array_equal(whole.layers[1].bias, half.layers[1].bias)


def test_biases_that_are_zero_stay_zero_where_nothing_may_grow(make_network):
    teacher = make_network((3, 2))
    observations = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    lessons = Lessons(observations, teacher.outputs(observations) + 1, np.ones(500, np.float32))
    student = NetworkPolicy((Layer([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]], [0.0, 0.5]),))
    bare = distil(student, lessons, steps=50, bare=True).layers[0]
    assert bare.bias[0] == 0
    assert bare.bias[1] != 0.5
    assert distil(student, lessons, steps=50).layers[0].bias[0] != 0
