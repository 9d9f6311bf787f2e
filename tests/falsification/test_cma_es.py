"""CMA-ES where the answer is known from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from niwaki.falsification.cma_es import SMALLEST_STEP, START_STEP, CmaEsSearch, _Run
from niwaki.falsification.searches import RandomSearch

NUMBERS = np.zeros(4, dtype=bool)


def talk(search, loss, tries, batch=10):
    """All rows [tries, D] that the search asked for, told of their losses."""
    seen = []
    for _ in range(tries // batch):
        seen.append(search.ask(batch))
        search.tell(seen[-1], loss(seen[-1]))
    return np.concatenate(seen)


def banana(rows):
    """Rosenbrock's valley, its floor at (0.75, 0.75)."""
    x, y = 4 * rows.T - 2
    return 100 * (y - x**2) ** 2 + (1 - x) ** 2


def test_it_ends_where_a_descent_by_gradients_ends():
    expected = minimize(lambda x: banana(x[None])[0], [0.6, 0.6], method="BFGS").x
    rows = talk(CmaEsSearch(NUMBERS[:2], np.random.default_rng(0)), banana, 2000)
    assert np.linalg.norm(rows[np.argmin(banana(rows))] - expected) < 0.02


def test_it_learns_a_narrow_slanted_valley():
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    stretch = turn @ np.diag([1, 3, 10, 30]) @ turn.T

    def valley(rows):
        return np.sum(((rows - 0.4) @ stretch) ** 2, axis=1)

    lowest = [valley(talk(CmaEsSearch(NUMBERS, np.random.default_rng(s)), valley, 1500)).min() for s in range(3)]
    assert max(lowest) < 1e-3  # uniform rows: 0.2
    assert valley(RandomSearch(NUMBERS, rng).ask(1500)).min() > 0.1


def test_its_covariance_takes_the_shape_of_the_inverse_hessian():
    hessian = np.array([[40.0, 12.0], [12.0, 5.0]])
    run, rng = _Run(np.array([0.5, 0.5])), np.random.default_rng(0)
    for _ in range(40):
        rows = run.sample(12, rng)
        run.adapt(rows, np.einsum("ni,ij,nj->n", rows - 0.45, hessian, rows - 0.45))
    assert np.allclose(run.B @ np.diag(run.D**2) @ run.B.T, run.C, rtol=1e-6)
    learnt, expected = np.linalg.eigh(run.C)[1][:, 1], np.linalg.eigh(np.linalg.inv(hessian))[1][:, 1]
    assert abs(learnt @ expected) > 0.95  # the long axis
    assert run.over
    assert run.sigma * run.D.max() < SMALLEST_STEP < START_STEP


def test_in_one_run_the_names_stay_those_of_the_best_row():
    categorical = np.array([False, False, True])

    def loss(rows):
        return rows[:, 0] + 10 * rows[:, 2]

    search = CmaEsSearch(categorical, np.random.default_rng(0))
    first = talk(search, loss, 100, 50)
    rows = search.ask(30)
    assert set(rows[:, 2]) == {first[np.argmin(loss(first)), 2]}


def test_rows_that_it_did_not_ask_for_change_nothing():
    one, other = (CmaEsSearch(NUMBERS, np.random.default_rng(0)) for _ in range(2))
    strangers = np.random.default_rng(1).random((50, 4))
    for _ in range(10):
        rows, same = one.ask(8), other.ask(8)
        assert np.array_equal(rows, same)
        for search in (one, other):
            search.tell(rows, rows.sum(axis=1))
        one.tell(strangers, -strangers.sum(axis=1))


@pytest.mark.parametrize("flat", [0.0, 1.0])
def test_where_nothing_gets_better_it_starts_again(flat):
    search = CmaEsSearch(NUMBERS, np.random.default_rng(0))
    runs = []
    for _ in range(60):
        rows = search.ask(8)
        search.tell(rows, np.full(8, flat))
        if not runs or search.run is not runs[-1]:
            runs.append(search.run)
    assert len(runs) > 3
    assert None in runs[1:]  # uniform rows between two runs
