"""Scenarios from the hash, and the small record of what was flown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from niwaki.certification.certificate import Record
from niwaki.certification.episodes import BLOCK, block_digests, broken, draw, fly, recall, remember
from niwaki.evaluation import scenarios_for
from niwaki.policies.deployed import deployed
from niwaki.types import NiwakiError, Trajectories

from .conftest import CARELESS

HASH = "ab" * 32


def test_the_same_bytes_give_the_same_scenarios_and_others_give_others(task):
    first = draw(task.simulator, HASH, attempt=1, n=20)
    assert np.array_equal(first, draw(task.simulator, HASH, attempt=1, n=20))
    for other in (
        draw(task.simulator, "bb" + HASH[2:], attempt=1, n=20),
        draw(task.simulator, HASH[:-1] + "c", attempt=1, n=20),
        draw(task.simulator, HASH, attempt=2, n=20),
        scenarios_for(task.simulator, 20, seed=0),
    ):
        assert not np.isin(first[:, 0], other[:, 0]).any()


def test_scenarios_come_from_the_sample_ranges_not_from_the_search(task):
    columns = tuple(replace(c, search=(c.search[0] - 1, c.search[1] + 1)) for c in task.simulator.columns)
    simulator = replace(task.simulator, columns=columns)
    rows = draw(simulator, HASH, attempt=1, n=2000)
    for column, values in zip(columns, rows.T, strict=True):
        assert column.sample[0] <= values.min() <= values.max() <= column.sample[1]


def some_episodes(n, seed=0):
    rng = np.random.default_rng(seed)
    margins = rng.normal(0.5, size=(n, 3))
    numbers = (rng.normal(size=n), rng.integers(1, 99, n), rng.integers(0, 3, n))
    return Trajectories(np.zeros((n, 1)), *numbers, ("time_out", "a", "b"), spec_names=("a", "b", "c"), margins=margins)


@pytest.mark.parametrize("n", [1, 7, 8, 50, 51, 333])
def test_what_is_remembered_is_recalled(n):
    flown = some_episodes(n)
    record = remember(flown)
    assert np.array_equal(recall(record, "abc", n), broken(flown))
    assert np.array_equal(recall(record, "cab", n), broken(flown)[:, [2, 0, 1]])
    assert len(record.digests) == -(-n // BLOCK)


@pytest.mark.parametrize("change", ["returns", "lengths", "endings"])
def test_one_other_number_in_one_episode_gives_its_block_another_digest(change):
    flown = some_episodes(120)
    values = getattr(flown, change).copy()
    values[77] = np.nextafter(values[77], np.inf) if change == "returns" else values[77] + 1
    before, after = block_digests(flown), block_digests(replace(flown, **{change: values}))
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: replace(r, violated={"a": r.violated["a"]}),
        lambda r: replace(r, violated=r.violated | {"d": ""}),
        lambda r: replace(r, violated=r.violated | {"a": r.violated["a"][:-4]}),
        lambda r: replace(r, violated=r.violated | {"a": "?" * len(r.violated["a"])}),
        lambda r: replace(r, violated=r.violated | {"a": "/" * len(r.violated["a"])}),
        lambda r: replace(r, digests=r.digests[:-1]),
    ],
)
def test_a_record_that_does_not_fit_is_refused(spoil):
    record = remember(some_episodes(93))
    with pytest.raises(NiwakiError, match="record"):
        recall(spoil(record), "abc", 93)


def test_a_margin_that_is_no_number_is_a_violation(task):
    class Lost:
        name = text = "lost"
        recorded = False

        def __call__(self, trajectories):
            return np.where(np.arange(len(trajectories)) == 2, np.nan, 1.0)

    flown = fly(replace(task, specs=(Lost(),)), deployed(CARELESS), draw(task.simulator, HASH, attempt=1, n=5))
    assert flown.violated.tolist() == [False, False, True, False, False]


def test_a_record_is_small():
    record = remember(some_episodes(14_000))
    assert isinstance(record, Record)
    assert sum(map(len, record.violated.values())) + sum(map(len, record.digests)) < 12_000
