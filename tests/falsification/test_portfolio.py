"""Several searches side by side."""

from __future__ import annotations

import numpy as np

from niwaki.falsification.cma_es import CmaEsSearch
from niwaki.falsification.gaussian_process import GaussianProcessSearch
from niwaki.falsification.portfolio import Portfolio, portfolio
from niwaki.falsification.searches import RandomSearch

NUMBERS = np.zeros(4, dtype=bool)


def test_members_of_a_portfolio_share_every_batch_and_hear_of_every_row():
    class Member(RandomSearch):
        def ask(self, n):
            self.asked = n
            return super().ask(n)

        def tell(self, rows, losses):
            self.heard = [*getattr(self, "heard", []), *losses.tolist()]

    members = [Member(NUMBERS, np.random.default_rng(s)) for s in range(3)]
    search = Portfolio(*members)
    for n in (4, 5):
        rows = search.ask(n)
        search.tell(rows, rows[:, 0])
    assert [m.asked for m in members] == [1, 2, 2]
    assert all(m.heard == members[0].heard for m in members)
    assert len(members[0].heard) == 9


def test_a_portfolio_asked_for_single_rows_goes_round():
    class Named(RandomSearch):
        def ask(self, n):
            return np.full((n, 1), self.value)

    members = [Named(NUMBERS[:1], np.random.default_rng(0)) for _ in range(3)]
    for value, member in enumerate(members):
        member.value = value / 10
    search = Portfolio(*members)
    assert [search.ask(1)[0, 0] for _ in range(4)] == [0.0, 0.1, 0.2, 0.0]


def test_it_finds_the_end_of_a_slope_that_bayesian_optimisation_alone_does_not():
    def cone(rows):
        return np.linalg.norm(rows[:, :3] - (0.95, 0.1, 0.6), axis=1) - 0.004

    found = {}
    for make in (portfolio, GaussianProcessSearch):
        search, found[make] = make(NUMBERS[:3], np.random.default_rng(0)), False
        for _ in range(40):
            rows = search.ask(25)
            search.tell(rows, cone(rows))
            found[make] |= bool((cone(rows) < 0).any())
    assert found == {portfolio: True, GaussianProcessSearch: False}


def test_its_members_are_cma_es_and_bayesian_optimisation_with_dice_of_their_own():
    members = portfolio(NUMBERS, np.random.default_rng(0)).members
    assert [type(member) for member in members] == [CmaEsSearch, GaussianProcessSearch]
    assert not np.array_equal(*(member.ask(3) for member in members))
