"""The Gaussian process against the textbook: SciPy's Bessel functions, densities and plain inverses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import gamma, kv
from scipy.stats import multivariate_normal, norm, rankdata

from niwaki.falsification import gaussian_process
from niwaki.falsification.gaussian_process import (
    LENGTHS,
    NOISES,
    REMEMBERED,
    GaussianProcessSearch,
    expected_improvement,
    matern,
)

NUMBERS = np.zeros(3, dtype=bool)


def bowl(rows):
    return np.sum((rows - 0.3) ** 2, axis=1)


def informed(tries=40, categorical=NUMBERS, seed=0):
    """A search that knows some rows, and what it knows."""
    search = GaussianProcessSearch(categorical, np.random.default_rng(seed))
    rows = np.random.default_rng(seed + 1).random((tries, len(categorical)))
    search.tell(rows, bowl(rows))
    return search, rows, norm.ppf((rankdata(bowl(rows)) - 0.5) / tries)


def test_the_kernel_is_that_of_matern_with_smoothness_five_halves():
    r, nu, length = np.linspace(0.01, 3, 50), 2.5, 0.4
    z = np.sqrt(2 * nu) * r / length
    assert np.allclose(
        matern(r, np.ones(50, dtype=bool), length=length, other_name=1.0),
        2 ** (1 - nu) / gamma(nu) * z**nu * kv(nu, z),
    )
    other = matern(r, r < 1, length=length, other_name=0.5) / matern(r, r < 1, length=length, other_name=1.0)
    assert np.allclose(other, np.where(r < 1, 1.0, 0.5))


def test_expected_improvement_is_the_mean_of_what_is_gained():
    mean, variance, best = np.array([0.3, -1.0, 2.0]), np.array([1.0, 0.25, 4.0]), -0.2
    quantiles = norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    values = mean[:, None] + np.sqrt(variance)[:, None] * quantiles
    assert np.allclose(expected_improvement(mean, variance, best), np.maximum(best - values, 0).mean(axis=1), rtol=1e-3)


def test_the_chosen_kernel_makes_what_is_known_most_likely():
    search, rows, scores = informed()
    kernel, noise = search._most_likely(rows, scores)
    distances = np.linalg.norm(rows[:, None] - rows, axis=2)

    def likelihood(length, noise):
        covariance = matern(distances, distances >= 0, length=length, other_name=1.0) + noise * np.eye(len(rows))
        return multivariate_normal(np.zeros(len(rows)), covariance).logpdf(scores)

    best = max(((length, noise) for length in LENGTHS for noise in NOISES), key=lambda pair: likelihood(*pair))
    assert (kernel.keywords["length"], noise) == best


def test_a_batch_is_what_one_by_one_conditioning_on_the_predictions_would_choose(monkeypatch):
    search, rows, scores = informed()
    candidates = np.random.default_rng(5).random((60, 3))
    monkeypatch.setattr(search, "_candidates", lambda best, count: candidates)
    kernel, noise = search._most_likely(rows, scores)

    def covariance(a, b):
        return kernel(np.linalg.norm(a[:, None] - b, axis=2), np.ones((len(a), len(b)), dtype=bool))

    known, values, expected = rows, scores, []
    for _ in range(6):
        inverse = np.linalg.inv(covariance(known, known) + noise * np.eye(len(known)))
        cross = covariance(candidates, known)
        mean, variance = cross @ inverse @ values, 1 - np.einsum("ij,jk,ik->i", cross, inverse, cross)
        gain = expected_improvement(mean, variance, scores.min())
        gain[expected] = -1
        expected.append(int(np.argmax(gain)))
        known, values = np.vstack([known, candidates[expected[-1]]]), np.append(values, mean[expected[-1]])
    assert np.array_equal(search.ask(6), candidates[expected])


def test_a_batch_is_spread_out():
    search, _, _ = informed()
    rows = search.ask(10)
    apart = np.linalg.norm(rows[:, None] - rows, axis=2)[np.triu_indices(10, 1)]
    assert apart.min() > 0.01


def test_a_full_memory_keeps_the_best_half_and_draws_the_rest():
    search, rows, _ = informed(3 * REMEMBERED)
    kept, scores = search._remembered()
    assert len(kept) == len(scores) == REMEMBERED
    best = rows[np.argsort(bowl(rows))[: REMEMBERED // 2]]
    assert np.array_equal(kept[: REMEMBERED // 2], best)
    assert len(np.unique(kept, axis=0)) == REMEMBERED
    assert bowl(kept[REMEMBERED // 2 :]).max() > np.median(bowl(rows))  # not only the next best
    assert np.array_equal(np.argsort(scores), np.argsort(bowl(kept)))


def test_what_it_costs_does_not_grow_with_what_was_tried(monkeypatch):
    sizes = []
    real = np.linalg.cholesky
    monkeypatch.setattr(gaussian_process.np.linalg, "cholesky", lambda a: sizes.append(len(a)) or real(a))
    search, _, _ = informed(5 * REMEMBERED)
    search.ask(3)
    assert max(sizes) == REMEMBERED


@pytest.mark.parametrize("losses", [np.zeros(30), np.array([0.0] * 29 + [-1e9])])
def test_losses_of_any_size_give_rows_within_the_cube(losses):
    search = GaussianProcessSearch(NUMBERS, np.random.default_rng(0))
    search.tell(np.random.default_rng(1).random((30, 3)), losses)
    rows = search.ask(20)
    assert ((rows >= 0) & (rows <= 1)).all()
    assert len(np.unique(rows, axis=0)) == 20
