"""The promotion rule: 95 of the last 100 episodes of a stage."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from niwaki.training.curriculum import Curriculum


def promotions(outcomes: Iterable[bool], stages: int = 5) -> list[int]:
    """After which episodes (counted from 1) it promoted."""
    curriculum = Curriculum(stages)
    return [i for i, success in enumerate(outcomes, 1) if curriculum.note(success)]


@pytest.mark.parametrize(("failures", "after"), [(0, [100]), (5, [100]), (6, [101]), (20, [115])])
def test_it_promotes_when_at_most_five_of_the_last_hundred_failed(failures: int, after: list[int]) -> None:
    assert promotions([False] * failures + [True] * (150 - failures)) == after


def test_it_never_promotes_on_94_of_100() -> None:
    block = [False] * 6 + [True] * 94
    assert promotions(block[i % 100] for i in range(2000)) == []


def test_the_next_stage_counts_afresh_and_the_last_one_stays() -> None:
    assert promotions([True] * 1000, stages=4) == [100, 200, 300]
    assert promotions([True] * 1000, stages=1) == []
