"""Layouts: the table of levels, the original's distribution, new goals from a hash."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

from niwaki.simulators.reach_avoid_layout import (
    CURRICULUM,
    PLAIN,
    Layout,
    columns_of,
    layout_of,
    next_goals,
    sample_layouts,
    uniforms,
)
from niwaki.types import NiwakiError

LEVELS = [*((True, level) for level in CURRICULUM), *((False, level) for level in PLAIN)]


def slow_sample(layout: Layout, rng: np.random.Generator) -> list[float]:
    """One layout, thing by thing, as the original draws it; the goal is drawn once more at the end."""
    rectangles = [layout.robot, layout.goal, *[layout.hazard] * layout.hazards]
    keepouts = [0.4, 0.305, *[layout.hazard_keepout] * layout.hazards]

    def place(i, placed):
        left, bottom, right, top = rectangles[i]
        k = keepouts[i]
        for _ in range(100):
            x, y = rng.uniform(left + k, right - k), rng.uniform(bottom + k, top - k)
            if all(math.dist((x, y), place) >= k + keepouts[j] for j, place in placed.items()):
                return x, y
        return None

    while True:
        placed = {}
        for i in range(len(rectangles)):
            spot = place(i, placed)
            if spot is None:
                break
            placed[i] = spot
        else:
            del placed[1]
            goal = place(1, placed)
            if goal is not None:
                hazards = [value for i, value in sorted(placed.items()) if i > 1]
                return [*placed[0], *goal, *(v for hazard in hazards for v in hazard)]


@pytest.mark.parametrize(("curriculum", "level"), [(True, 1), (True, 2), (True, 5), (False, 0), (False, 1), (False, 2)])
def test_layouts_have_the_distribution_of_a_slow_sampler(curriculum: bool, level: int) -> None:
    layout = layout_of(level, curriculum=curriculum)
    columns = columns_of(layout)
    ours = np.delete(sample_layouts(layout, columns, np.random.default_rng(1), 6000), [2, -1], axis=1)
    rng = np.random.default_rng(2)
    slow = np.array([slow_sample(layout, rng) for _ in range(1200)])

    def features(rows):
        places = rows.reshape(len(rows), -1, 2)
        gaps = [np.hypot(*(places[:, i] - places[:, j]).T) for i in range(places.shape[1]) for j in range(i)]
        return [*rows.T, *gaps]

    p = [ks_2samp(a, b).pvalue for a, b in zip(features(ours), features(slow), strict=True)]
    assert min(p) * len(p) > 0.001


def test_the_goal_is_drawn_after_the_hazards_where_they_share_a_place() -> None:
    """The order matters: with a joint rejection the robot would keep away from the crowded middle."""
    layout = layout_of(1)
    rows = sample_layouts(layout, columns_of(layout), np.random.default_rng(3), 20_000)
    assert kstest(rows[:, 0], "uniform", args=(-0.6, 1.2)).pvalue > 0.001  # the robot is placed first, so uniformly
    assert kstest(rows[:, 2], "uniform", args=(0, 2 * math.pi)).pvalue > 0.001


@pytest.mark.parametrize(("curriculum", "level"), LEVELS)
def test_no_keep_outs_overlap_and_all_lie_in_their_rectangles(curriculum: bool, level: int) -> None:
    layout = layout_of(level, curriculum=curriculum)
    columns = columns_of(layout)
    rows = sample_layouts(layout, columns, np.random.default_rng(4), 500)
    rows = np.concatenate((rows, [[c.nominal for c in columns]]))
    keepouts = [0.4, 0.305, *[layout.hazard_keepout] * layout.hazards]
    places = np.delete(rows, [2, -1], axis=1).reshape(len(rows), -1, 2)
    for i, k in enumerate(keepouts):
        left, bottom, right, top = (layout.robot, layout.goal, layout.hazard)[min(i, 2)]
        assert (places[:, i] >= (left + k, bottom + k)).all()
        assert (places[:, i] <= (right - k, top - k)).all()
        for j in range(i):
            assert (np.hypot(*(places[:, i] - places[:, j]).T) >= k + keepouts[j]).all()


def test_the_levels_are_those_of_the_table() -> None:
    table = {level: (x.hazard_size, x.hazard_keepout, x.goal, x.hazard) for level, x in CURRICULUM.items()}
    assert table == {
        1: (0.3, 0.3, (-1, 0, 1, 1), (-1.5, 0, 1.5, 1.5)),
        2: (0.3, 0.3, (-1, 0.5, 1, 1.5), (-1, 0, 1, 1.5)),
        3: (0.3, 0.3, (-1, 1, 1, 2), (-1, 0, 1, 1.5)),
        4: (0.4, 0.2, (-1, 1, 1, 2), (-1, 0, 1, 1.5)),
        5: (0.5, 0.2, (-1, 1.5, 1, 2.5), (-1, 0, 1, 1.5)),
    }
    assert {x.robot for x in CURRICULUM.values()} == {(-1, -1, 1, 0)}
    assert [x.hazards for x in PLAIN.values()] == [0, 4, 8]


def test_fixed_columns_stay_and_the_rest_keeps_clear_of_them() -> None:
    layout = layout_of(1)
    fixed = {"hazard_x": 0.0, "hazard_y": 0.6}
    columns = tuple(replace(c, sample=(fixed[c.name],) * 2) if c.name in fixed else c for c in columns_of(layout))
    rows = sample_layouts(layout, columns, np.random.default_rng(5), 300)
    assert (rows[:, 5:7] == (0.0, 0.6)).all()
    assert (np.hypot(*(rows[:, 3:5] - rows[:, 5:7]).T) >= 0.605).all()


def test_a_layout_that_is_fixed_altogether_is_taken_as_it_is_even_where_it_overlaps() -> None:
    layout = layout_of(5)
    columns = tuple(replace(c, sample=(c.nominal, c.nominal)) for c in columns_of(layout))
    overlapping = tuple(replace(c, sample=(0.0, 0.0)) if c.name == "hazard_y" else c for c in columns)
    rows = sample_layouts(layout, overlapping, np.random.default_rng(5), 3)
    assert (rows[:, 5:7] == (0.0, 0.0)).all()


def test_ranges_without_room_are_refused_in_one_sentence() -> None:
    layout = layout_of(0, curriculum=False)
    narrow = {"x": (0.0, 0.0), "y": (0.0, 0.0), "goal_x": (0.0, 0.1), "goal_y": (0.0, 0.1)}
    columns = tuple(replace(c, sample=narrow.get(c.name, c.sample)) for c in columns_of(layout))
    with pytest.raises(NiwakiError, match="leave no room"):
        sample_layouts(layout, columns, np.random.default_rng(0), 2)


@pytest.mark.parametrize(("level", "curriculum"), [(0, True), (6, True), (3, False), (True, True), ("5", True)])
def test_a_level_that_does_not_exist_is_refused(level: object, curriculum: bool) -> None:
    with pytest.raises(NiwakiError, match=r"levels . to ., got"):
        layout_of(level, curriculum=curriculum)  # type: ignore[arg-type]


def test_hashed_numbers_are_uniform_and_independent() -> None:
    seeds = np.arange(2000.0)[:, None]
    values = uniforms(seeds, np.full((2000, 1), 3.0), np.arange(5))
    assert values.shape == (2000, 5, 2)
    for column in values.reshape(2000, 10).T:
        assert kstest(column, "uniform").pvalue > 1e-4
    assert np.abs(np.corrcoef(values.reshape(2000, 10).T) - np.eye(10)).max() < 0.1
    counted = uniforms(np.full(2000, 7.0), np.arange(2000.0), np.zeros(1))
    assert np.abs(np.corrcoef(counted[:-1, 0], counted[1:, 0])[0, 1]) < 0.1
    assert len(np.unique(values)) == values.size


def test_a_new_goal_depends_on_its_own_row_only_and_keeps_clear() -> None:
    layout = layout_of(1, curriculum=False)
    rng = np.random.default_rng(6)
    rows = sample_layouts(layout, columns_of(layout), rng, 400)
    hazards, seeds, counts = rows[:, 5:-1].reshape(-1, 4, 2), rows[:, -1], rng.integers(1, 9, 400).astype(float)
    goals = next_goals(layout, rows[:, 0:2], hazards, seeds, counts)
    alone = next_goals(layout, rows[7:8, 0:2], hazards[7:8], seeds[7:8], counts[7:8])
    assert alone.tobytes() == goals[7:8].tobytes()
    assert (np.hypot(*(goals - rows[:, 0:2]).T) >= 0.705).all()
    for i in range(4):
        assert (np.hypot(*(goals - hazards[:, i]).T) >= 0.705).all()
    again = next_goals(layout, rows[:, 0:2], hazards, seeds, counts + 1)
    assert (again != goals).any(axis=1).all()


def test_new_goals_have_the_distribution_of_a_slow_sampler() -> None:
    layout = layout_of(5)
    robot, hazard = np.array((0.3, 1.6)), np.array((0.0, 0.75))
    n = 3000
    goals = next_goals(layout, np.tile(robot, (n, 1)), np.tile(hazard, (n, 1, 1)), np.arange(float(n)), np.ones(n))
    rng = np.random.default_rng(8)
    tries = rng.uniform((-0.695, 1.805), (0.695, 2.195), (200_000, 2))
    slow = tries[(np.hypot(*(tries - robot).T) >= 0.705) & (np.hypot(*(tries - hazard).T) >= 0.505)]
    assert min(ks_2samp(goals[:, i], slow[:, i]).pvalue for i in range(2)) > 0.001


def test_where_there_is_no_room_the_goal_moves_all_the_same() -> None:
    layout = replace(layout_of(5), goal=(-0.4, 1.5, 0.4, 2.2))
    goals = next_goals(layout, np.array([(0.0, 1.85)]), np.zeros((1, 1, 2)), np.zeros(1), np.ones(1))
    assert np.isfinite(goals).all()
    assert (np.abs(goals - (0.0, 1.85)) <= 0.1).all()
