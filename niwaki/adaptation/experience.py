"""What an adapted policy met, did and was allowed in recorded flights, step by step: what a policy learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import GaussianShift, RatioBudget
from niwaki.policies.gaussian import Gaussian
from niwaki.policies.noise import episode_keys, normals
from niwaki.types import Floats, Integers, NiwakiError, Trajectories


@dataclass(frozen=True, eq=False)
class Experience:
    """N steps of B flights, ordered by the step, then by the flight."""

    flights: Trajectories  # B
    episodes: Integers  # [N], which flight
    steps: Integers  # [N], from 0
    observations: Floats  # [N, O] float32
    base: Gaussian  # [N, A], what the base would have drawn from
    chosen: Gaussian  # [N, A], what was drawn from
    presquash: Floats  # [N, A], what was drawn
    memory: Floats  # [N], the budget's, before the step
    limit: Floats  # [N], how far the step might go: a log ratio, or a shift in the base's deviations

    def __len__(self) -> int:
        return len(self.steps)

    def grid(self, values: Floats) -> Floats:
        """Values [N] as [B, T], zero where an episode had ended."""
        table = np.zeros((len(self.flights), int(self.flights.lengths.max(initial=0))))
        table[self.episodes, self.steps] = values
        return table

    def rows(self, table: Floats) -> Floats:
        """A table [B, T] as values [N]."""
        return table[self.episodes, self.steps]


def trace(policy: AdaptedPolicy, flights: Trajectories) -> Experience:
    """The distributions behind recorded flights of this policy, in one stage, worked out again from what was recorded.

    So flying needs to remember nothing for it, and any simulator will do. Raises NiwakiError for flights whose
    actions are not, bit for bit, those that the policy draws there.
    """
    if flights.recording is None or policy.before:
        raise NiwakiError("only recorded flights of a policy with one budget can be traced")
    recording, budget = flights.recording, policy.budget
    alive = flights.alive(recording.rewards.shape[1])
    steps, episodes = np.nonzero(alive.T)
    observations = recording.observations[episodes, steps]
    base, task = policy.base.distribution(observations), policy.task.distribution(observations)
    mean, std, drawn = np.empty_like(base.mean), np.empty_like(base.std), np.empty_like(base.mean)
    memory, limit, left = np.empty(len(steps)), np.empty(len(steps)), budget.begin(len(flights))
    keys, size = episode_keys(flights.scenarios), base.mean.shape[1]
    ends = np.cumsum(alive.sum(axis=0)).tolist()
    for t, (first, last) in enumerate(zip([0, *ends], ends, strict=False)):
        now, rows = slice(first, last), episodes[first:last]
        here = Gaussian(base.mean[now], base.std[now])
        memory[now] = left[rows]
        limit[now] = allowed(budget, t, left[rows])
        chosen = budget.project(t, left[rows], Gaussian(task.mean[now], task.std[now]), here)
        mean[now], std[now] = chosen
        drawn[now] = chosen.mean + chosen.std * normals(keys[rows], t, size)
        left[rows] = budget.charge(left[rows], chosen, here, drawn[now])
    if not np.array_equal(policy.base.policy.actions(drawn), recording.actions[episodes, steps]):
        raise NiwakiError("the recorded actions are not those of the policy in the recorded scenarios")
    return Experience(flights, episodes, steps, observations, base, Gaussian(mean, std), drawn, memory, limit)


def allowed(budget: object, t: int, memory: Floats) -> Floats:
    """How far a budget lets step t go [n]: the largest log ratio, or the longest shift in the base's deviations."""
    if isinstance(budget, RatioBudget):
        return budget.log_alpha(t, memory)
    if isinstance(budget, GaussianShift):
        return budget.allowed(t, memory)
    raise NiwakiError(f"{type(budget).__name__} does not say how far a step may go")


def advantages(rewards: Floats, values: Floats, *, gamma: float, lam: float) -> Floats:
    """Generalised advantages [B, T] of rewards and state values [B, T], both 0 after an episode's end, where nothing
    more is to come: A_t = sum_k (gamma lam)^k (r_(t+k) + gamma V_(t+k+1) - V_(t+k)).

    (Schulman, Moritz, Levine, Jordan, Abbeel, ICLR 2016, equation 16.)

    >>> advantages(np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]]), gamma=1.0, lam=0.5)
    array([[0.25, 0.5 ]])
    """
    following = np.column_stack((values[:, 1:], np.zeros(len(values))))
    surprise = rewards + gamma * following - values
    found, ahead = np.zeros_like(surprise), np.zeros(len(values))
    for t in reversed(range(surprise.shape[1])):
        ahead = surprise[:, t] + gamma * lam * ahead
        found[:, t] = ahead
    return found
