"""IPP: the schedule, its pauses and its end, on scores that the test makes up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from niwaki.imitation import Lessons
from niwaki.policies.network import Head, NetworkPolicy
from niwaki.recipes.ipp import LOOKS, Course, Loop, distil_dense, prune_on_the_way
from niwaki.types import NiwakiError

LOOP = Loop(objective=190, lower_bound=80, steps=200)
Make = Callable[..., NetworkPolicy]


@pytest.fixture(scope="module")
def student(make_network: Make) -> NetworkPolicy:
    return make_network((4, 20, 10, 2), ("relu",), Head("argmax"))


@pytest.fixture(scope="module")
def lessons(student: NetworkPolicy) -> Lessons:
    x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    return Lessons(x, student.outputs(x), np.ones(300, dtype=np.float32))


def prune(student: NetworkPolicy, lessons: Lessons, scores: Sequence[float], loop: Loop = LOOP) -> Course:
    """With these scores at the first looks, and the last one from then on."""

    def fly(network: NetworkPolicy, look: int) -> float:
        return scores[min(look, len(scores) - 1)]

    return prune_on_the_way(student, lessons, fly, loop, iteration=1)


def test_every_layer_follows_the_cubic_schedule_to_its_end(student: NetworkPolicy, lessons: Lessons) -> None:
    seen: list[list[float]] = []

    def fly(network: NetworkPolicy, look: int) -> float:
        seen.append([float(np.mean(layer.weight == 0)) for layer in network.layers])
        return 200.0

    course = prune_on_the_way(student, lessons, fly, LOOP, iteration=1)
    targets = [0.99 * (1 - (1 - look.step / 200) ** 3) for look in course.looks]
    assert [look.step for look in course.looks] == list(range(10, 201, 10))
    for target, shares in zip(targets, seen, strict=True):
        sizes = [layer.weight.size for layer in student.layers]
        assert all(abs(share - target) <= 2.5 / size for share, size in zip(shares, sizes, strict=True))
    assert course.network is not None
    assert course.network.nonzero_weights == course.looks[-1].nonzero_weights == 3  # 1 % of 300


def test_steps_that_are_no_round_number_end_at_the_final_sparsity_too(student: NetworkPolicy, lessons: Lessons) -> None:
    course = prune(student, lessons, [200.0], replace(LOOP, steps=399))
    assert course.looks[-1].step == 400
    assert course.looks[-1].nonzero_weights == 3


def test_below_the_lower_bound_pruning_pauses_and_then_goes_on_where_it_was(
    student: NetworkPolicy, lessons: Lessons
) -> None:
    undisturbed = prune(student, lessons, [200.0])
    paused = prune(student, lessons, [200.0, 79.0, 79.0, 100.0, 200.0])
    left = [look.nonzero_weights for look in paused.looks]
    whole = [look.nonzero_weights for look in undisturbed.looks]
    assert left[:2] == whole[:2]
    assert left[1] == left[2] == left[3]
    assert left[4:] == whole[2:]
    assert len(left) == len(whole) + 2


def test_after_five_looks_in_a_row_below_the_objective_it_gives_up_and_keeps_the_last_good_one(
    student: NetworkPolicy, lessons: Lessons
) -> None:
    course = prune(student, lessons, [200.0, 189.0, 189.0, 189.0, 189.0, 190.0, 100.0])
    assert len(course.looks) == 6 + 5
    assert course.network is not None
    assert course.network.nonzero_weights == course.looks[5].nonzero_weights > course.looks[-1].nonzero_weights
    never = prune(student, lessons, [0.0])
    assert (len(never.looks), never.network) == (LOOKS, None)


def test_at_the_final_sparsity_a_student_may_still_recover(student: NetworkPolicy, lessons: Lessons) -> None:
    course = prune(student, lessons, [200.0] * 19 + [100.0, 100.0, 200.0])
    assert [look.score for look in course.looks[-3:]] == [100.0, 100.0, 200.0]
    assert course.network is not None
    assert course.network.nonzero_weights == 3


def test_a_dense_student_stays_dense_and_ends_when_it_is_sure(student: NetworkPolicy, lessons: Lessons) -> None:
    def distilled(scores: Sequence[float]) -> Course:
        return distil_dense(student, lessons, lambda n, look: scores[min(look, len(scores) - 1)], LOOP, iteration=1)

    sure = distilled([0.0, 200.0, 200.0, 0.0, 190.0])
    assert len(sure.looks) == 7
    assert sure.network is not None
    assert sure.network.nonzero_weights == student.weights
    never = distilled([189.9])
    assert (len(never.looks), never.network) == (LOOKS, None)


def test_a_student_learns_what_its_teacher_does(student: NetworkPolicy, lessons: Lessons, make_network: Make) -> None:
    other = make_network((4, 20, 10, 2), ("relu",), Head("argmax"), seed=7)
    wanted = student(lessons.observations)

    def agreement(network: NetworkPolicy, look: int) -> float:
        return float(np.mean(network(lessons.observations) == wanted))

    loop = replace(LOOP, objective=0.97, lower_bound=0.5, steps=4000)
    course = distil_dense(other, lessons, agreement, loop, iteration=1)
    assert agreement(other, 0) < 0.9
    assert course.network is not None
    assert agreement(course.network, 0) >= 0.97


def test_the_same_seed_gives_the_same_bits(student: NetworkPolicy, lessons: Lessons) -> None:
    a, b, c = (prune(student, lessons, [200.0], replace(LOOP, seed=seed)).network for seed in (1, 1, 2))
    assert a is not None
    assert b is not None
    assert c is not None
    same = [np.array_equal(x, y) for x, y in zip(a.parts, b.parts, strict=True)]
    assert all(same)
    assert not all(np.array_equal(x, y) for x, y in zip(a.parts, c.parts, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": float("nan")}, "finite number, got nan"),
        ({"lower_bound": 191.0}, "no larger than the objective, 190, got 191"),
        ({"lower_bound": float("nan")}, "got nan"),
        ({"steps": 199}, "at least 200 steps, got 199"),
        ({"iterations": 0}, "at least 1, got 0"),
        ({"temperature": 0.0}, "must be a positive number, got 0"),
        ({"seed": -1}, "must not be negative, got -1"),
    ],
)
def test_a_loop_without_sense_is_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(NiwakiError, match=message):
        replace(LOOP, **change)  # type: ignore[arg-type]
