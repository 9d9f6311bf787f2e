"""Parzen estimators against densities written out with SciPy."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from niwaki.falsification.tpe import FIRST, GOOD_AT_MOST, NARROW, TpeSearch

NAMED = np.array([False, False, True])


def test_a_density_is_the_mean_of_kernels_and_of_a_uniform_part():
    rng = np.random.default_rng(0)
    centres, rows = rng.random((7, 3)), rng.random((30, 3))
    rows[:10, 2] = centres[0, 2]
    density = TpeSearch(NAMED, rng)._density(centres, rows)
    widths = np.clip(centres[:, :2].std(axis=0) * 7 ** (-1 / 7), NARROW, 0.5)
    expected = [
        np.mean([1.0] + [np.prod(norm.pdf(row[:2], c[:2], widths)) * (1.0 if row[2] == c[2] else 0.5) for c in centres])
        for row in rows
    ]
    assert np.allclose(density, expected)


def test_the_first_rows_are_uniform_and_the_next_are_not():
    def loss(rows):
        return np.abs(rows[:, 0] - 0.9)

    search = TpeSearch(NAMED[:2], np.random.default_rng(0))
    rows = search.ask(FIRST - 1)
    search.tell(rows, loss(rows))
    again = search.ask(400)
    assert abs(again[:, 0].mean() - 0.5) < 0.1  # one row too few
    search.tell(again, loss(again))
    assert loss(search.ask(200)).mean() < 0.5 * loss(again).mean()


def test_every_row_is_the_best_by_the_ratio_of_densities_among_its_candidates(monkeypatch):
    search = TpeSearch(NAMED[:2], np.random.default_rng(0))
    rows = np.random.default_rng(1).random((60, 2))
    search.tell(rows, rows[:, 0])
    candidates = np.random.default_rng(2).random((5 * 24, 2))
    monkeypatch.setattr(search, "_drawn", lambda good, fresh: candidates)
    order = np.argsort(rows[:, 0])
    good, others = rows[order[:6]], rows[order[6:]]
    ratio = search._density(good, candidates) / search._density(others, candidates)
    expected = [candidates[24 * i + np.argmax(ratio[24 * i : 24 * (i + 1)])] for i in range(5)]
    assert np.array_equal(search.ask(5), expected)


def test_the_good_rows_are_a_tenth_and_never_many(monkeypatch):
    search, seen = TpeSearch(NAMED[:2], np.random.default_rng(0)), []
    real = search._density
    monkeypatch.setattr(search, "_density", lambda centres, rows: seen.append(len(centres)) or real(centres, rows))
    rows = np.random.default_rng(1).random((2000, 2))
    for part in (rows[:100], rows[100:]):
        search.tell(part, part[:, 0])
        search.ask(1)
    assert seen == [10, 90, GOOD_AT_MOST, 200]
