"""Projected PPO: no flight of the training exceeds the budget, and what is learnt is worth something."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import FixedRatio, GaussianShift, Odometer
from niwaki.adaptation.experience import Experience
from niwaki.adaptation.learning import Settings, Update
from niwaki.adaptation.projected_ppo import clipped, finetune
from niwaki.policies.gaussian import Gaussian, GaussianPolicy, LogStd
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.policies.noise import episode_keys, normals
from niwaki.policies.sampled import sampled
from niwaki.rollout import rollout
from niwaki.specs import parse_spec
from niwaki.tasks import Task
from niwaki.types import Box, Column, Floats, Lockstep, NiwakiError, Signal, Transition

STEPS = 6
REACH = 2.0  # largest action
ACTIONS = Box((-REACH,), (REACH,))


@dataclass(frozen=True, kw_only=True)
class Walk(Lockstep):
    """Its actions are its steps, and its reward the way forward. Keeps a list of all actions that it was given."""

    name: str = "Walk"
    columns: tuple[Column, ...] = (Column("start", "m", 0.0, (-1.0, 1.0), (-1.0, 1.0)),)
    observation_size: int = 1
    action_space: Box = ACTIONS
    signals: tuple[Signal, ...] = (Signal("x", "m"),)
    endings: tuple[str, ...] = ("time_out",)
    failures: tuple[str, ...] = ()
    horizon: int = STEPS
    given: list[Any] = field(default_factory=list, compare=False)

    def reset(self, scenarios: Floats) -> Floats:
        return scenarios.copy()

    def step(self, state: Floats, actions: Floats) -> Transition:
        self.given.append(actions.copy())
        return Transition(state + actions, actions[:, 0].astype(float), np.zeros(len(state), dtype=np.int64))

    def observe(self, state: Floats) -> Floats:
        return state.astype(np.float32)

    def measure(self, state: Floats) -> Floats:
        return state


def walk() -> Task:
    simulator = Walk()
    spec = parse_spec("eventually(x >= 1)", simulator, name="spec")
    return Task("walk", "Walk forward", simulator, (spec,))


BASE = GaussianPolicy(
    NetworkPolicy((Layer([[0.1]] * 8, np.linspace(-1, 1, 8), "tanh"), Layer(np.zeros((2, 8)), [-0.2, -0.3]))),
    Head("squash", [-REACH], [REACH]),
    LogStd("clamp", -5.0, 2.0),
)
BUDGETS = {
    "ratio": FixedRatio.within(0.5, risk=0.01, horizon=STEPS),
    "odometer": Odometer.within(0.5, risk=0.01),
    "gaussian": GaussianShift.within(0.5, risk=0.01, horizon=STEPS),
}
QUICK = Settings(steps=3_600, episodes=100, warm_up=1, rate=3e-3, widths=(16,))
SURROGATES = ("through", "published")


def excess(experience: Experience, budget: object) -> float:
    """By how much the worst flight exceeded what the budget promises, by the definitions of the ratios alone."""
    (mean, std), (base_mean, base_std), drawn = experience.chosen, experience.base, experience.presquash
    if isinstance(budget, GaussianShift):
        assert np.array_equal(std, base_std)
        squares = experience.grid((((mean - base_mean) / base_std) ** 2).sum(axis=1))
        return float((squares.sum(axis=1) - budget.shift**2).max())
    realised = (norm.logpdf(drawn, mean, std) - norm.logpdf(drawn, base_mean, base_std)).sum(axis=1)
    spent = experience.grid(realised).cumsum(axis=1)
    total = np.log(0.5 / 0.01)
    if isinstance(budget, FixedRatio):
        anywhere = norm.ppf(np.linspace(1e-9, 1 - 1e-9, 2001))[:, None] * base_std.T + base_mean.T
        largest = (norm.logpdf(anywhere, mean.T, std.T) - norm.logpdf(anywhere, base_mean.T, base_std.T)).max(axis=0)
        return float(max(largest.max() - total / STEPS, spent.max() - total))
    return float(spent.max() - total)


def train(budget, surrogate="through", **changes):
    """Flights of every update, and what came out; all that was flown was watched."""
    seen: list[Experience] = []
    task, settings = walk(), replace(QUICK, surrogate=surrogate, **changes)
    learnt = finetune(BASE, budget, task, settings, seed=3, watch=seen.append)
    flown = np.concatenate(task.simulator.given)
    watched = np.concatenate([BASE.actions(each.presquash) for each in seen])
    assert np.array_equal(flown, watched)
    for each in seen:  # the presquash actions are draws from what is said to be their distribution
        keys = episode_keys(each.flights.scenarios)
        for t in range(STEPS):
            now = each.steps == t
            noise = normals(keys[each.episodes[now]], t, 1)
            assert np.array_equal(each.presquash[now], each.chosen.mean[now] + each.chosen.std[now] * noise)
    return learnt, seen


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("method", BUDGETS)
def test_no_flight_of_the_training_exceeds_the_budget(method, surrogate):
    budget = BUDGETS[method]
    learnt, seen = train(budget, surrogate)
    assert len(seen) == len(learnt.updates) == 6
    assert max(excess(each, budget) for each in seen) <= 1e-9
    assert np.array_equal(seen[0].chosen.mean, seen[0].base.mean)  # it begins as the base
    assert np.array_equal(seen[0].chosen.std, seen[0].base.std)
    assert (seen[-1].chosen.mean - seen[-1].base.mean).mean() > 0.05  # and learns to go forward


class Loose(FixedRatio):
    """Forgets to project."""

    def project(self, t: int, memory: Floats, task: Gaussian, base: Gaussian) -> Gaussian:
        return task


class Late(Odometer):
    """Forgets what the first step spent."""

    def project(self, t: int, memory: Floats, task: Gaussian, base: Gaussian) -> Gaussian:
        return super().project(t, memory if t else 20 * memory, task, base)


class Squandering(GaussianShift):
    """Lets every step use all of it."""

    def charge(self, memory: Floats, chosen: Gaussian, base: Gaussian, presquash: Floats) -> Floats:
        return memory


@pytest.mark.parametrize("broken", [Loose.within(0.5, risk=0.01, horizon=STEPS), Late.within(0.5, risk=0.01),
                                    Squandering.within(0.5, risk=0.01, horizon=STEPS)])  # fmt: skip
def test_a_training_that_exceeds_it_is_noticed(broken):
    _, seen = train(broken, rate=2e-2)
    assert max(excess(each, broken) for each in seen) > 0.01


def best_return(budget: GaussianShift) -> float:
    """What equal moves forward earn, by numerical integration over the noise."""
    mean, std = BASE.distribution(np.zeros((1, 1)))
    z = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    moved = mean[0, 0] + std[0, 0] * (z + budget.shift / np.sqrt(STEPS))
    return float(STEPS * REACH * np.tanh(moved).mean())


def test_it_learns_nearly_the_best_that_the_budget_allows():
    """The best is nearly to go forward with an equal share in each step."""
    budget, task = BUDGETS["gaussian"], walk()
    learnt, _ = train(budget, steps=20_000, rate=1e-2)
    rows = task.simulator.sample(np.random.default_rng(5), 4_000)
    after = rollout(task.simulator, AdaptedPolicy(sampled(BASE), sampled(learnt.policy), budget), rows).returns.mean()
    before = rollout(task.simulator, sampled(BASE), rows).returns.mean()
    assert after - before > 0.9 * (best_return(budget) - before) > 1


def test_through_the_projection_every_ratio_begins_at_one_and_without_it_some_begin_beyond_the_clip():
    through, _ = train(BUDGETS["ratio"], rate=2e-2)
    published, _ = train(BUDGETS["ratio"], "published", rate=2e-2)
    assert [update.outside for update in through.updates] == [0.0] * 6
    assert published.updates[0].outside == 0  # of the critic alone
    assert published.updates[-1].outside > 0.05


def test_the_same_seed_gives_the_same_bits_and_another_one_others():
    def learn(seed):
        return finetune(BASE, BUDGETS["ratio"], walk(), replace(QUICK, steps=2_000), seed=seed)

    threads = torch.get_num_threads()
    one, same, other = learn(0), learn(0), learn(1)
    assert torch.get_num_threads() == threads
    assert one.updates == same.updates
    assert all(np.array_equal(a, b) for a, b in zip(one.policy.network.parts, same.policy.network.parts, strict=True))
    assert not np.array_equal(one.policy.network.layers[-1].bias, other.policy.network.layers[-1].bias)


def test_while_the_critic_warms_up_the_base_flies():
    learnt, seen = train(BUDGETS["ratio"], warm_up=6)
    assert all(np.array_equal(each.chosen.mean, each.base.mean) for each in seen)
    assert learnt.policy.network.parts[0].tolist() == BASE.network.parts[0].tolist()


def test_updates_say_what_was_flown():
    learnt, seen = train(BUDGETS["ratio"], steps=1_200, warm_up=0)
    failed = [(each.flights.margins < 0).sum() for each in seen]
    assert learnt.updates[-1] == Update(
        steps=1_200,
        episodes=100,
        failures=int(failed[-1]),
        returns=float(seen[-1].flights.returns.mean()),
        length=float(STEPS),
        outside=0.0,
    )
    assert sum(failed) > 0


def test_the_clip_leaves_what_would_make_things_worse():
    ratio = torch.tensor([0.5, 1.5, 0.5, 1.5])
    advantage = torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert clipped(ratio, advantage, 0.2).tolist() == pytest.approx([0.5, 1.2, -0.8, -1.5])


def test_broken_rewards_are_refused():
    @dataclass(frozen=True, kw_only=True)
    class Broken(Walk):
        def step(self, state: Floats, actions: Floats) -> Transition:
            return super().step(state, actions)._replace(rewards=np.full(len(state), np.nan))

    task = replace(walk(), simulator=Broken())
    with pytest.raises(NiwakiError, match="no number any more"):
        finetune(BASE, BUDGETS["ratio"], task, QUICK)
