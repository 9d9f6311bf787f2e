"""Flights of base, task and adapted policy for the pictures: where they went, and what they drew their actions from.

The scenarios have dice of their own: no claim rests on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import Budget, GaussianShift
from niwaki.adaptation.experience import allowed
from niwaki.policies.gaussian import Gaussian
from niwaki.rollout import rollout
from niwaki.tasks import Task
from niwaki.types import EpisodicPolicy, Floats, Simulator

FLOWN = 0x5F10  # family of dice


@dataclass(frozen=True, eq=False)
class Paths:
    """One policy's way through every scenario."""

    name: str
    ways: tuple[Floats, ...]  # of episode i the positions [L_i + 1, 2]
    failed: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Moment:
    """What the action of one step was drawn from, before the squash: arrays [A]."""

    step: int  # from 1
    base: Gaussian
    task: Gaussian
    adapted: Gaussian
    near: Gaussian  # what the last stage must stay near to: the base, or the policy of the stage before
    region: Floats  # half axes of the ellipse around near's mean in which the adapted mean may lie


def scenarios(simulator: Simulator, n: int, *, seed: int, fixed: bool) -> Floats:
    """Scenarios [n, K] for pictures; `fixed`: all in the nominal layout, each with noise of its own."""
    rows = simulator.sample(np.random.default_rng([seed, FLOWN]), n)
    if fixed:
        for i, column in enumerate(simulator.columns):
            if column.name != "seed":
                rows[:, i] = column.nominal
    return rows


def fly_paths(task: Task, policies: Sequence[tuple[str, EpisodicPolicy]], rows: Floats, *, horizon: int) -> list[Paths]:
    """The ways of all policies through the same scenarios [N, K], by the signals x and y. An episode failed that is
    not done within the horizon with every specification kept."""
    found = []
    for name, policy in policies:
        flown = rollout(task.simulator, policy, rows, specs=task.specs, record=True)
        assert flown.recording is not None
        assert flown.margins is not None
        places = [flown.recording.signal_names.index(axis) for axis in ("x", "y")]
        ways = (s[: n + 1, places] for s, n in zip(flown.recording.signals, flown.lengths, strict=True))
        kept = np.all(flown.margins >= 0, axis=1) & (flown.lengths <= horizon)
        found.append(Paths(name, tuple(ways), tuple((~kept).tolist())))
    return found


def moments(simulator: Simulator, policy: AdaptedPolicy, scenario: Floats) -> list[Moment]:
    """Every step of the adapted policy's episode in one scenario [K]."""
    rows, only = scenario[None], np.zeros(1, dtype=int)
    flown = rollout(simulator, policy, rows, record=True)
    assert flown.recording is not None
    pilot, found = policy.begin(rows), []
    for t in range(int(flown.lengths[0])):
        seen = flown.recording.observations[:, t]
        memories = tuple(memory.copy() for memory in pilot.memories)
        chain = policy.chain(t, memories, seen)
        wanted = policy.task.distribution(seen)
        region = region_of(policy.budget, t, memories[-1], chain[-1], chain[-2])[0]
        found.append(Moment(t + 1, _one(chain[0]), _one(wanted), _one(chain[-1]), _one(chain[-2]), region))
        pilot.act(t, only, seen)  # charges the budgets
    return found


def _one(of: Gaussian) -> Gaussian:
    """The distribution of the only episode, arrays [A]."""
    return Gaussian(of.mean[0], of.std[0])


def region_of(budget: Budget, t: int, memory: Floats, chosen: Gaussian, near: Gaussian) -> Floats:
    """Half axes [B, A] of the ellipse of means that the budget allows in step t, for the deviations of `chosen`.

    Of a ratio: where ln alpha = sum ln(s_n,i / s_i) + (mu_i - mu_n,i)^2 / (2 (s_n,i^2 - s_i^2)), the contour of the
    largest ratio; 0 where nothing is left. Of a Gaussian shift: its length in the deviations of `near`.
    """
    far = allowed(budget, t, memory)
    if isinstance(budget, GaussianShift):
        return near.std * far[:, None]
    room = np.maximum(far - np.log(near.std / chosen.std).sum(axis=1), 0.0)
    return np.sqrt(2 * np.maximum(near.std**2 - chosen.std**2, 0.0) * room[:, None])
