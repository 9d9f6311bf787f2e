"""Every search keeps the promises of all searches; each has one property more that is its own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, kstest, qmc

from niwaki.falsification.cma_es import CmaEsSearch
from niwaki.falsification.gaussian_process import GaussianProcessSearch
from niwaki.falsification.portfolio import portfolio
from niwaki.falsification.searches import (
    CrossEntropySearch,
    RandomSearch,
    SobolSearch,
    reflected,
    with_names_of,
)
from niwaki.falsification.tpe import TpeSearch
from niwaki.testing import check_search

GUIDED = (CrossEntropySearch, CmaEsSearch, TpeSearch, GaussianProcessSearch, portfolio)
SEARCHES = (RandomSearch, SobolSearch, *GUIDED)
NUMBERS = np.zeros(4, dtype=bool)


def talk(search, loss, tries, batch=20):
    """All rows [tries, D] that the search asked for, told of their losses."""
    seen = []
    for _ in range(tries // batch):
        seen.append(search.ask(batch))
        search.tell(seen[-1], loss(seen[-1]))
    return np.concatenate(seen)


def small_ball(rows):
    """Fails in one ten thousandth of the cube."""
    return np.linalg.norm(rows[:, :4] - np.array([0.15, 0.7, 0.4, 0.9]), axis=1) - 0.067


@pytest.mark.parametrize("search", SEARCHES, ids=lambda s: s.__name__)
def test_a_search_keeps_its_promises(search):
    check_search(search)


@pytest.mark.parametrize("search", GUIDED, ids=lambda s: s.__name__)
def test_a_guided_search_finds_what_chance_would_need_ten_thousand_tries_for(search):
    rows = talk(search(NUMBERS, np.random.default_rng(3)), small_ball, 1000)
    assert (small_ball(rows) < 0).any()
    assert not (small_ball(talk(RandomSearch(NUMBERS, np.random.default_rng(3)), small_ball, 1000)) < 0).any()


@pytest.mark.parametrize("search", GUIDED, ids=lambda s: s.__name__)
def test_only_the_order_of_losses_matters(search):
    plain = talk(search(NUMBERS, np.random.default_rng(0)), small_ball, 200)
    bent = talk(search(NUMBERS, np.random.default_rng(0)), lambda rows: 1e4 * np.sinh(3 * small_ball(rows)), 200)
    assert np.array_equal(plain, bent)


@pytest.mark.parametrize("search", GUIDED, ids=lambda s: s.__name__)
def test_a_good_name_is_tried_again(search):
    categorical = np.array([False, False, True])

    def luck(rows):
        return np.modf(rows[:, 2] * 997)[0]

    rows = talk(search(categorical, np.random.default_rng(1)), lambda rows: rows[:, 0] + 3 * luck(rows), 300)
    _, first = np.unique(rows[:, 2], return_index=True)
    again = np.setdiff1d(np.arange(len(rows)), first)
    assert len(again) > 20
    assert luck(rows[again]).mean() < 0.3  # of fresh names: one half


@pytest.mark.parametrize("search", SEARCHES, ids=lambda s: s.__name__)
def test_where_there_are_nothing_but_names_no_name_is_tried_twice(search):
    rows = talk(search(np.array([True]), np.random.default_rng(2)), lambda rows: rows[:, 0], 200)
    assert len(np.unique(rows)) == 200


@pytest.mark.parametrize("search", [RandomSearch, SobolSearch], ids=lambda s: s.__name__)
def test_searches_that_learn_nothing_are_uniform_and_fail_as_often_as_the_volume_says(search):
    rows = talk(search(NUMBERS, np.random.default_rng(0)), small_ball, 8000)
    assert all(kstest(column, "uniform").pvalue > 0.01 for column in rows.T)
    radius, volume = 0.4, np.pi**2 / 2 * 0.4**4  # of a ball in four dimensions
    inside = int((np.linalg.norm(rows - 0.5, axis=1) < radius).sum())
    assert binom.ppf(0.001, 8000, volume) <= inside <= binom.ppf(0.999, 8000, volume)


def test_sobol_points_put_one_in_each_of_1024_slices_and_are_more_even_than_chance():
    rows = SobolSearch(NUMBERS, np.random.default_rng(0)).ask(1024)
    assert np.array_equal(np.sort((rows * 1024).astype(int), axis=0), np.tile(np.arange(1024), (4, 1)).T)
    chance = RandomSearch(NUMBERS, np.random.default_rng(0)).ask(1024)
    assert qmc.discrepancy(rows) < 0.1 * qmc.discrepancy(chance)


def test_sobol_points_do_not_depend_on_how_many_are_asked_for_at_a_time():
    one, other = (SobolSearch(NUMBERS, np.random.default_rng(0)) for _ in range(2))
    parts = np.concatenate([one.ask(n) for n in (1, 999, 500)])
    assert np.array_equal(parts, other.ask(1500))


@pytest.mark.parametrize("search", [CrossEntropySearch, CmaEsSearch])
def test_a_failure_that_is_found_sets_off_a_new_search_elsewhere(search):
    corners = np.array([[0.1] * 4, [0.9] * 4])

    def loss(rows):
        return np.linalg.norm(rows[:, None] - corners, axis=2).min(axis=1) - 0.15

    rows = talk(search(NUMBERS, np.random.default_rng(0)), loss, 2000)
    failing = rows[loss(rows) < 0]
    assert set((failing[:, 0] > 0.5).tolist()) == {True, False}


def test_rows_are_folded_at_the_walls_and_names_are_passed_on_to_half():
    assert np.allclose(reflected(np.array([-0.25, 0.5, 1.25, 3.0, -2.1])), [0.25, 0.5, 0.75, 1.0, 0.1])
    rows, parents = np.zeros((10_000, 2)), np.ones((10_000, 2))
    mixed = with_names_of(parents, rows, np.array([False, True]), np.random.default_rng(0))
    assert not mixed[:, 0].any()
    assert abs(mixed[:, 1].mean() - 0.5) < 0.02
