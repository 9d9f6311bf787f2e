"""The front: rows that can be compared, and a knee that gives away no more than an exam would forgive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from niwaki.evaluation import Row
from niwaki.policies.network import NetworkPolicy
from niwaki.recipes import front as module
from niwaki.recipes import stages as stages_module
from niwaki.recipes.exam import Rule
from niwaki.recipes.front import Candidate, Lineup, by_size, knee, pareto, recommended
from niwaki.rollout import rollout
from niwaki.tasks import Task
from niwaki.types import NiwakiError

VALUES = st.lists(
    st.tuples(st.integers(1, 6), st.integers(-4, 4), st.integers(0, 4)), min_size=1, max_size=12
)  # parameters, return, violations of 4
RULES = st.builds(Rule, st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([0.0, 0.25, 1.0]))


def row(size: int, mean: float, rate: float) -> Row:
    return {"nonzero_parameters": size, "return_mean": float(mean), "violation_rate": rate}


def rows(values: list[tuple[int, int, int]]) -> list[Row]:
    return [row(size, mean, violations / 4) for size, mean, violations in values]


def numbers(found: Row) -> tuple[float, float, float]:
    return found["nonzero_parameters"], found["return_mean"], found["violation_rate"]  # type: ignore[return-value]


@given(VALUES)
def test_the_front_is_what_no_other_row_matches_in_everything(values: list[tuple[int, int, int]]) -> None:
    def better(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
        return a != b and a[0] <= b[0] and a[1] >= b[1] and a[2] <= b[2]

    kept, everyone = [numbers(found) for found in pareto(rows(values))], {numbers(r) for r in rows(values)}
    assert set(kept) == {found for found in everyone if not any(better(other, found) for other in everyone)}
    assert len(kept) == len(set(kept))
    assert [size for size, *_ in kept] == sorted(size for size, *_ in kept)


@given(VALUES, RULES)
def test_the_knee_gives_away_no_more_than_is_allowed_and_nothing_smaller_does(
    values: list[tuple[int, int, int]], rule: Rule
) -> None:
    size, mean, rate = numbers(knee(rows(values), rule))
    everyone = [numbers(r) for r in rows(values)]
    assert (size, mean, rate) in everyone
    assert all(rate <= other + rule.more_violations for _, _, other in everyone)

    def forgiven(found: tuple[float, float, float]) -> bool:
        """By comparing it with every other row, one at a time."""
        if any(found[2] > other + rule.more_violations for _, _, other in everyone):
            return False
        rivals = [r for r in everyone if all(r[2] <= other + rule.more_violations for _, _, other in everyone)]
        return all(found[1] >= r[1] - rule.return_loss * abs(r[1]) for r in rivals if r[1] == max(q[1] for q in rivals))

    assert forgiven((size, mean, rate))
    assert not any(forgiven(other) for other in everyone if other[0] < size)


@given(VALUES, RULES, st.randoms(use_true_random=False))
def test_the_knee_knows_neither_the_order_of_the_rows_nor_what_is_off_the_front(values, rule: Rule, random) -> None:
    found, shuffled = rows(values), rows(values)
    random.shuffle(shuffled)
    assert numbers(knee(found, rule)) == numbers(knee(shuffled, rule)) == numbers(knee(pareto(found), rule))


@given(VALUES)
def test_where_everything_is_forgiven_the_smallest_is_the_knee_and_where_nothing_is_the_best_of_the_safest(
    values: list[tuple[int, int, int]],
) -> None:
    everyone = [numbers(r) for r in rows(values)]
    if max(mean for _, mean, _ in everyone) != 0:  # a share of nothing is nothing
        assert numbers(knee(rows(values), Rule(1000.0, 1.0)))[0] == min(size for size, *_ in everyone)
    least = min(rate for *_, rate in everyone)
    best = max(mean for _, mean, rate in everyone if rate == least)
    assert numbers(knee(rows(values), Rule(0.0, 0.0)))[1:] == (best, least)


@given(VALUES, st.sampled_from([0.0, 0.25]))
def test_who_forgives_more_return_is_never_recommended_a_larger_one(values, more: float) -> None:
    sizes = [numbers(knee(rows(values), Rule(loss, more)))[0] for loss in (0.0, 0.1, 0.5, 2.0)]
    assert sizes == sorted(sizes, reverse=True)


def test_on_a_usual_front_the_knee_is_where_more_parameters_stop_to_pay() -> None:
    front = [row(2, 120, 0.0), row(5, 196, 0.0), row(12, 199.5, 0.0), row(60, 200, 0.0)]
    assert numbers(knee(front, Rule(0.01, 0.005)))[0] == 12
    assert numbers(knee(front, Rule(0.02, 0.005)))[0] == 5
    unsafe = [row(1, 200, 0.3), *front]
    assert numbers(knee(unsafe, Rule(0.01, 0.005)))[0] == 12
    with pytest.raises(NiwakiError, match="at least one row"):
        knee([], Rule())


def test_what_is_smaller_than_what_passed_is_not_recommended() -> None:
    front, passed = [row(2, 200, 0.0), row(5, 201, 0.0), row(9, 300, 0.0)], row(4, 199, 0.1)
    assert recommended(front, passed, Rule(1.0, 1.0)) is passed
    assert recommended(front, passed, Rule(0.01, 0.0)) is front[2]
    assert recommended(front[:1], passed, Rule(0.0, 0.0)) is passed


def test_of_two_that_are_as_small_the_better_one_comes_first() -> None:
    assert [numbers(r)[1] for r in by_size([row(3, 1, 0), row(2, 5, 0), row(3, 4, 0)])] == [5, 4, 1]


# ---- flown


@pytest.fixture(scope="module", autouse=True)
def little_effort() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FRONT_EPISODES", 50)
        patch.setattr(module, "BASELINE_STEPS", 300)
        patch.setattr(module, "BASELINE_WIDTHS", (0, 2, 256))
        yield


def test_all_fly_the_same_episodes_and_the_teacher_is_among_them(
    teacher: NetworkPolicy, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    flown: list[bytes] = []

    def watched(simulator, policy, scenarios, **options):
        flown.append(scenarios.tobytes())
        return rollout(simulator, policy, scenarios, **options)

    monkeypatch.setattr(stages_module, "rollout", watched)

    def front(seed: int) -> list[Row]:
        lineup = Lineup(teacher, task, seed, lambda *_: None)
        return lineup.front([Candidate(weak, "a"), Candidate(teacher, "b")])[0]["rows"]

    weak = teacher.with_parts([0.1 * part for part in teacher.parts])
    found = front(0)
    assert len(flown) == 3
    assert len(set(flown)) == 1
    assert [r["file"] for r in found] == ["a", "b", "teacher.safetensors"]
    keys = ("return_mean", "violations", "episodes", "length_mean")
    assert [found[1][key] for key in keys] == [found[2][key] for key in keys]
    assert found[0]["return_mean"] != found[1]["return_mean"]
    assert [r["return_mean"] for r in front(0)] == [r["return_mean"] for r in found]
    assert [r["return_mean"] for r in front(1)] != [r["return_mean"] for r in found]


def test_the_baseline_is_dense_smaller_than_the_teacher_and_has_learned(teacher: NetworkPolicy, task: Task) -> None:
    found = Lineup(teacher, task, 0, lambda *_: None).baseline()[0]["rows"]
    assert [r["parameters"] for r in found] == [4 * 2 + 2, 4 * 2 + 2 + 2 * 2 + 2]  # 256 units: more than the teacher
    assert found[0]["nonzero_parameters"] == 10
    assert max(r["return_mean"] for r in found) > 40  # at random it falls after about 22 steps
    assert "file" not in found[0]
