"""Projected PPO: a task policy that learns within a budget, so that no flight of its training exceeds the bound.

It starts as the base. Whole episodes are flown with the adapted policy, what the budget makes of it; then PPO's clipped
surrogate (Schulman et al. 2017) improves it with r(theta) = numerator / density that the action was really drawn from:

    published   the numerator is the task policy's own density, before the projection (Cloete, Vertovec, Abate: SPoRt,
                IJCAI 2025). The projection is a part of the world: r is not 1 where learning starts, and where it
                begins beyond the clip on the side that the advantage asks for, nothing is learnt.
    through     the numerator is the adapted policy's density, with its gradient through the projection
                (`ratio_torch`): r starts at 1, and what the projection would undo has no gradient.

A flight ends at the horizon, and nothing is worth anything after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import Budget, GaussianShift
from niwaki.adaptation.experience import Experience, advantages, trace
from niwaki.adaptation.learning import Settings, Update
from niwaki.adaptation.ratio_torch import project_torch, shift_torch
from niwaki.policies.deployed import MirrorPolicy
from niwaki.policies.gaussian import GaussianPolicy
from niwaki.policies.network import Layer, NetworkPolicy, Normalizer
from niwaki.policies.sampled import SampledPolicy, sampled
from niwaki.policies.twin import Twin, deviations
from niwaki.rollout import Stages, rollout
from niwaki.tasks import Task
from niwaki.types import Floats, NiwakiError

FLIGHTS, SHUFFLES, BIRTH = 0xF11E5, 0x5F0FF1E, 0xC417  # families of dice: episodes, their batches, the critic
GRADIENT = 0.5  # longest gradient of one step, as in PPO's usual implementations
TINY = 1e-8


@dataclass(frozen=True, eq=False)
class Finetuned:
    """The task policy that was learnt, and its training."""

    policy: GaussianPolicy
    updates: tuple[Update, ...]


def finetune(
    base: GaussianPolicy,
    budget: Budget,
    task: Task,
    settings: Settings,
    *,
    seed: int = 0,
    workers: int | None = None,
    progress: Stages = lambda stage, done, total: None,
    watch: Callable[[Experience], None] = lambda experience: None,
) -> Finetuned:
    """Train a task policy for `budget`, beginning with the base, on scenarios of its own.

    Every flight is one of the adapted policy as it was then, so each failed with at most the budget's probability. The
    same arguments give the same bits on the same machine. `watch` is shown every flight. Raises NiwakiError when the
    weights stop being finite.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks of this size are quicker on one thread, and their bits reproducible
    try:
        return _learn(base, budget, task, settings, seed, workers, progress, watch)
    finally:
        torch.set_num_threads(threads)


def _learn(
    base: GaussianPolicy,
    budget: Budget,
    task: Task,
    settings: Settings,
    seed: int,
    workers: int | None,
    progress: Stages,
    watch: Callable[[Experience], None],
) -> Finetuned:
    flying, policy, actor = sampled(base), base, Twin(base.network)
    critic: Twin | None = None
    optimizer = torch.optim.Adam(actor.parts, lr=settings.rate, eps=1e-5)
    updates: list[Update] = []
    done = 0
    while done < settings.steps:
        adapted = AdaptedPolicy(flying, SampledPolicy(policy, MirrorPolicy(policy.network)), budget)
        scenarios = task.simulator.sample(np.random.default_rng([seed, FLIGHTS, len(updates)]), settings.episodes)
        flights = rollout(task.simulator, adapted, scenarios, specs=task.specs, record=True, workers=workers)
        experience = trace(adapted, flights)
        watch(experience)
        done += len(experience)
        number = len(updates) + 1
        if critic is None:
            critic = Twin(_critic(experience, settings, seed))
            critic_optimizer = torch.optim.Adam(critic.parts, lr=settings.critic_rate, eps=1e-5)
        dice = np.random.default_rng([seed, SHUFFLES, number])
        lessons = _lessons(experience, critic, settings)
        _fit(critic, critic_optimizer, lessons, settings, dice)
        outside = 0.0
        if number > settings.warm_up:
            optimizer.param_groups[0]["lr"] = settings.rate * max(0.0, 1 - done / settings.steps)
            outside = _improve(policy, actor, optimizer, lessons, budget, settings, dice)
            policy = replace(base, network=actor.network)
        updates.append(_summary(experience, done, outside))
        progress("finetuning", min(done, settings.steps), settings.steps)
    return Finetuned(policy, tuple(updates))


@dataclass(frozen=True, eq=False)
class _Lessons:
    """Experience as tensors of N steps."""

    observations: Tensor  # [N, O]
    situations: Tensor  # [N, O + 2], what the critic sees
    presquash: Tensor  # [N, A] float64
    base_mean: Tensor
    base_std: Tensor
    limit: Tensor  # [N]
    log_density: Tensor  # [N], of what was drawn from
    advantage: Tensor  # [N], standardised
    worth: Tensor  # [N, 1], the advantage and the critic's value: what it should have said


def _lessons(experience: Experience, critic: Twin, settings: Settings) -> _Lessons:
    situations = torch.from_numpy(_situations(experience))
    with torch.no_grad():
        values = critic(situations).double().numpy()[:, 0]
    recording = experience.flights.recording
    assert recording is not None
    table = experience.grid(values)
    gained = advantages(recording.rewards[:, : table.shape[1]], table, gamma=settings.gamma, lam=settings.lam)
    advantage = experience.rows(gained)
    return _Lessons(
        observations=torch.from_numpy(experience.observations),
        situations=situations,
        presquash=torch.from_numpy(experience.presquash),
        base_mean=torch.from_numpy(experience.base.mean),
        base_std=torch.from_numpy(experience.base.std),
        limit=torch.from_numpy(experience.limit),
        log_density=torch.from_numpy(experience.chosen.log_density(experience.presquash)),
        advantage=torch.from_numpy((advantage - advantage.mean()) / (advantage.std() + TINY)),
        worth=torch.from_numpy(advantage + values).float()[:, None],
    )


def _situations(experience: Experience) -> Floats:
    """What the value depends on [N, O + 2]: what is seen, how late it is, and what is left of the budget."""
    return np.column_stack((experience.observations, experience.steps, experience.memory)).astype(np.float32)


def _critic(experience: Experience, settings: Settings, seed: int) -> NetworkPolicy:
    """An untrained network for the value, which begins at 0 everywhere; its inputs scaled as in the first flights."""
    dice, seen = np.random.default_rng([seed, BIRTH]), _situations(experience).astype(np.float64)
    sizes, layers = (seen.shape[1], *settings.widths), []
    for inputs, outputs in pairwise(sizes):
        layers.append(Layer(dice.normal(size=(outputs, inputs)) / np.sqrt(inputs), np.zeros(outputs), "tanh"))
    layers.append(Layer(np.zeros((1, sizes[-1])), np.zeros(1)))
    spread = seen.std(axis=0)
    return NetworkPolicy(tuple(layers), normalizer=Normalizer(seen.mean(axis=0), np.where(spread > 0, spread, 1), 10.0))


def _fit(
    critic: Twin, optimizer: torch.optim.Optimizer, lessons: _Lessons, settings: Settings, dice: np.random.Generator
) -> None:
    for rows in _portions(len(lessons.worth), settings, dice):
        error = critic(lessons.situations[rows]) - lessons.worth[rows]
        _descend(optimizer, (error**2).mean(), critic)


def _improve(
    policy: GaussianPolicy,
    actor: Twin,
    optimizer: torch.optim.Optimizer,
    lessons: _Lessons,
    budget: Budget,
    settings: Settings,
    dice: np.random.Generator,
) -> float:
    """One update of the actor; returns what `Update.outside` says."""
    outside: float | None = None
    for rows in _portions(len(lessons.worth), settings, dice):
        density = _numerator(policy, actor, lessons, rows, budget, settings)
        ratio = torch.exp(density - lessons.log_density[rows])
        _descend(optimizer, -clipped(ratio, lessons.advantage[rows], settings.clip).mean(), actor)
        if outside is None:
            outside = float((torch.abs(ratio - 1) > settings.clip).double().mean())
    return outside or 0.0


def _numerator(
    policy: GaussianPolicy, actor: Twin, lessons: _Lessons, rows: Tensor, budget: Budget, settings: Settings
) -> Tensor:
    """Log densities [n] of what was drawn, under the policy that learns."""
    outputs = actor(lessons.observations[rows]).double()
    size = outputs.shape[1] // 2
    mean, std = outputs[:, :size], deviations(policy.log_std, outputs[:, size:])
    if settings.surrogate == "through":
        base, limit = (lessons.base_mean[rows], lessons.base_std[rows]), lessons.limit[rows]
        if isinstance(budget, GaussianShift):
            mean, std = shift_torch(mean, *base, limit)
        else:
            mean, std = project_torch(mean, std, *base, limit)
    return log_density(mean, std, lessons.presquash[rows])


def clipped(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """PPO's surrogate [N]: min(r A, clip(r, 1 - clip, 1 + clip) A) (Schulman et al. 2017, equation 7)."""
    return torch.minimum(ratio * advantage, torch.clamp(ratio, 1 - clip, 1 + clip) * advantage)


def log_density(mean: Tensor, std: Tensor, presquash: Tensor) -> Tensor:
    """Logarithm [N] of independent normal densities [N, A]."""
    z = (presquash - mean) / std
    return -(z**2 / 2 + torch.log(std) + np.log(2 * np.pi) / 2).sum(dim=1)


def _portions(n: int, settings: Settings, dice: np.random.Generator) -> list[Tensor]:
    """The rows of every gradient step: each epoch shuffles them and deals them out."""
    epochs = (np.array_split(dice.permutation(n), settings.batches) for _ in range(settings.epochs))
    return [torch.from_numpy(rows) for epoch in epochs for rows in epoch if len(rows)]


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, twin: Twin) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    length = torch.nn.utils.clip_grad_norm_(twin.parts, GRADIENT)
    if not torch.isfinite(length):
        raise NiwakiError("the gradient of the training is no number any more: take a smaller rate")
    optimizer.step()


def _summary(experience: Experience, steps: int, outside: float) -> Update:
    flights = experience.flights
    failed = flights.violated if flights.margins is None else ~np.all(flights.margins >= 0, axis=1)
    length = None if failed.all() else float(flights.lengths[~failed].mean())
    return Update(steps, len(flights), int(failed.sum()), float(flights.returns.mean()), length, outside)
