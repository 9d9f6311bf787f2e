"""Noise of a scenario: normal, independent, and the same number wherever it is asked for."""

import numpy as np
import pytest
from scipy import stats

from niwaki.policies.noise import episode_keys, normals

SCENARIOS = np.random.default_rng(0).random((100_000, 3))
KEYS = episode_keys(SCENARIOS)


def test_the_noise_of_an_episode_does_not_depend_on_the_batch():
    together = normals(KEYS[:50], 7, 2)
    for i in (0, 13, 49):
        assert np.array_equal(normals(episode_keys(SCENARIOS[i : i + 1]), 7, 2)[0], together[i])
    assert np.array_equal(normals(KEYS[:50], 7, 5)[:, :2], together)


def test_the_noise_is_normal_and_its_numbers_do_not_know_of_each_other():
    """Steps, components and episodes; every limit is 4.5 standard errors."""
    first, second = normals(KEYS, 0, 3), normals(KEYS, 1, 3)
    assert stats.kstest(first.ravel(), "norm").pvalue > 1e-4
    columns = np.column_stack((first, second, first**2, second**2, np.roll(first[:, :1], 1)))
    correlation = np.corrcoef(columns.T)[np.triu_indices(columns.shape[1], 1)]
    assert np.abs(correlation).max() < 4.5 / np.sqrt(len(KEYS))


def test_every_bit_of_a_scenario_matters():
    """Also the last ones: neighbouring seeds, rows in another order, a change of one unit in the last place."""
    rows = np.array([[0.1, 0.0, 5.0], [0.1, 0.0, 6.0], [0.0, 0.1, 5.0], [np.nextafter(0.1, 1), 0.0, 5.0]])
    assert len(set(episode_keys(rows).tolist())) == 4


def test_consecutive_seeds_give_independent_noise():
    seeds = np.column_stack((np.zeros(100_000), np.arange(100_000.0)))
    noise = normals(episode_keys(seeds), 0, 1)[:, 0]
    assert stats.kstest(noise, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 4.5 / np.sqrt(len(noise))


def test_equal_scenarios_have_equal_noise_whatever_the_sign_of_zero():
    assert episode_keys(np.array([[0.0, 1.0]])) == episode_keys(np.array([[-0.0, 1.0]]))


@pytest.mark.parametrize("word", [0, 2**64 - 1])
def test_no_hash_gives_an_infinite_number(word, monkeypatch):
    monkeypatch.setattr("niwaki.policies.noise.mixed", lambda words: np.full_like(words, word))
    assert 8 < np.abs(normals(np.zeros(1, np.uint64), 0, 1))[0, 0] < 9
