"""Bounds on what an adapted policy can fail, known before it runs, and how much of them each step may use.

All methods share one interface (`Budget`). An episode of at most T steps fails (F) by what happened in it; the base
policy fails with probability at most `risk`. Every method chooses, step by step, a Gaussian near the task's that lies
near enough to the base's, such that the adapted policy fails with probability at most `bound`, whatever the task
policy is and whatever the world does. Each holds for the exact distributions: noise is drawn in float64.
Proofs: docs/papers/sport.md.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import ndtr, ndtri

from niwaki.adaptation.ratio import project
from niwaki.policies.gaussian import Gaussian
from niwaki.types import Floats, NiwakiError

FRACTION = 0.3  # of what is left that the odometer allows one step: near the best on 21 steps, see docs/papers/sport.md


class Budget(Protocol):
    """How far a policy may go from its base. A frozen value: what an episode has used is the memory, one number for
    each of B episodes, which the caller keeps."""

    @property
    def bound(self) -> float:
        """The failure probability that the adapted policy cannot exceed, at most 1."""
        ...

    def begin(self, episodes: int) -> Floats:
        """The memory [B] of episodes that begin."""
        ...

    def project(self, t: int, memory: Floats, task: Gaussian, base: Gaussian) -> Gaussian:
        """The distribution to draw from in step t (from 0), [B, A]: near the task's, as far as the memory allows."""
        ...

    def charge(self, memory: Floats, chosen: Gaussian, base: Gaussian, presquash: Floats) -> Floats:
        """The memory [B] after actions [B, A] were drawn from what `project` returned."""
        ...


class RatioBudget(ABC):
    """A budget on the likelihood ratio pi(a | s) / pi_b(a | s), for any kind of action."""

    @abstractmethod
    def log_alpha(self, t: int, memory: Floats) -> Floats:
        """The largest log ratio [B] that an action may have in step t."""

    @abstractmethod
    def spend(self, memory: Floats, log_ratio: Floats) -> Floats:
        """The memory [B] after actions of these log ratios [B]."""

    def project(self, t: int, memory: Floats, task: Gaussian, base: Gaussian) -> Gaussian:
        """The nearest Gaussian whose ratio is nowhere above what step t may have (`ratio.project`)."""
        mean, std, _, _ = project(*task, base.mean, base.std, self.log_alpha(t, memory))
        return Gaussian(mean, std)

    def charge(self, memory: Floats, chosen: Gaussian, base: Gaussian, presquash: Floats) -> Floats:
        """Spends the ratio of what was drawn."""
        return self.spend(memory, chosen.log_density(presquash) - base.log_density(presquash))


@dataclass(frozen=True)
class FixedRatio(RatioBudget):
    """P(F) <= alpha^T risk: no action of any step is more than alpha times as likely as under the base.

    Assumes: F is decided within T steps, `risk` bounds the base's P_b(F) over the same T, and the same noise model.
    Proof sketch: P(F) = E_b[product of at most T ratios; F] <= alpha^T P_b(F).
    (Cloete, Vertovec, Abate: SPoRt, IJCAI 2025, theorem on policy ratios.)
    """

    risk: float
    horizon: int
    log_alpha_per_step: float

    def __post_init__(self) -> None:
        _check_base(self.risk, self.horizon)
        if not 0 <= self.log_alpha_per_step < math.inf:
            raise NiwakiError(f"alpha must be at least 1, got {math.exp(self.log_alpha_per_step):g}")

    @classmethod
    def within(cls, bound: float, *, risk: float, horizon: int) -> FixedRatio:
        """The largest alpha under which the bound holds."""
        return cls(risk, horizon, math.log(permitted_alpha(risk, horizon=horizon, bound=bound)))

    @property
    def bound(self) -> float:
        return min(1.0, math.exp(min(0.0, math.log(self.risk) + self.horizon * self.log_alpha_per_step)))

    def begin(self, episodes: int) -> Floats:
        """Nothing to remember."""
        return np.zeros(episodes)

    def log_alpha(self, t: int, memory: Floats) -> Floats:
        """The same in every step; beyond the horizon, where nothing is bounded, none."""
        return np.full(len(memory), self.log_alpha_per_step if t < self.horizon else 0.0)

    def spend(self, memory: Floats, log_ratio: Floats) -> Floats:
        """Nothing: what an action did not use is lost."""
        return memory


@dataclass(frozen=True)
class Odometer(RatioBudget):
    """P(F) <= e^B risk with B = `log_budget`: only the product of the ratios of the actions that were drawn counts.

    The memory is what is left of B: B minus the sum of realised log ratios. A step may use a fraction c of it, so it
    never falls below 0. An action that the base likes better has a negative log ratio and refills it, without limit.
    Assumes: F is decided by the time the episode ends, however long that takes; `risk` bounds P_b(F).
    Proof sketch: P(F) = E_b[product of realised ratios; F], and on every path, so on those of F, the product at the
    end is e^(B - what is left) <= e^B. What the product was before the end enters nowhere: refilling costs nothing.
    (The quantity is the privacy odometer's of Rogers, Roth, Ullman, Vadhan, NeurIPS 2016, with realised losses.)
    """

    risk: float
    log_budget: float
    fraction: float = FRACTION

    def __post_init__(self) -> None:
        _check_base(self.risk, 1)
        _check_fraction(self.fraction)
        if not 0 <= self.log_budget < math.inf:
            raise NiwakiError(f"a budget must not be negative, got {self.log_budget}")

    @classmethod
    def within(cls, bound: float, *, risk: float, fraction: float = FRACTION) -> Odometer:
        """The largest budget under which the bound holds."""
        _check_wanted(risk, bound)
        return cls(risk, math.log(bound / risk), fraction)

    @property
    def bound(self) -> float:
        return math.exp(min(0.0, math.log(self.risk) + self.log_budget))

    def begin(self, episodes: int) -> Floats:
        """All of the budget."""
        return np.full(episodes, self.log_budget)

    def log_alpha(self, t: int, memory: Floats) -> Floats:
        """The fraction of what is left."""
        return self.fraction * np.maximum(memory, 0.0)

    def spend(self, memory: Floats, log_ratio: Floats) -> Floats:
        """What is left; more than before where the base likes the action better."""
        return memory - log_ratio


@dataclass(frozen=True)
class GaussianShift:
    """P(F) <= Phi(Phi^-1(risk) + M) with M = `shift`: the base's deviations are kept, only its mean moves.

    With m_t = |(mu_t - mu_b,t) / sigma_b,t|, the length of a step's move in the base's deviations, the sum of m_t^2
    stays at most M^2 on every path; the memory is what is left of M^2. A step may use a fraction of it, or, where
    none is given, an equal share for each step until the horizon: what a step leaves unused, the later ones have.
    Assumes: both policies draw from Gaussians with independent components and EQUAL deviations in every state (the
    claim is wrong otherwise: arXiv 2602.06756; `charge` refuses), `risk` bounds P_b(F).
    Proof sketch: spend what an episode leaves over on one more, unobserved Gaussian step. Then the log ratio of the
    whole path is N(-M^2/2, M^2) under the base although each m_t depends on the past, so by Neyman and Pearson no
    event of base probability `risk` has more than a half-space's. It is attained: the bound cannot be improved.
    (Gaussian differential privacy: Dong, Roth, Su, JRSS B 2022; fully adaptive: Smith, Thakurta, arXiv 2210.17520.)
    """

    risk: float
    horizon: int
    shift: float  # M, in standard deviations
    fraction: float | None = None

    def __post_init__(self) -> None:
        _check_base(self.risk, self.horizon)
        if self.fraction is not None:
            _check_fraction(self.fraction)
        if not 0 <= self.shift < math.inf:
            raise NiwakiError(f"the total shift must be finite and not negative, got {self.shift}")

    @classmethod
    def within(cls, bound: float, *, risk: float, horizon: int, fraction: float | None = None) -> GaussianShift:
        """The largest total shift under which the bound holds. Raises NiwakiError for a bound that is not below 1."""
        _check_wanted(risk, bound)
        if bound == 1:
            raise NiwakiError("a bound of 1 allows any shift: the Gaussian method needs one below 1")
        return cls(risk, horizon, max(0.0, float(ndtri(bound) - ndtri(risk))), fraction)

    @property
    def bound(self) -> float:
        return float(ndtr(ndtri(self.risk) + self.shift))

    def begin(self, episodes: int) -> Floats:
        """All of M^2."""
        return np.full(episodes, self.shift**2)

    def allowed(self, t: int, memory: Floats) -> Floats:
        """m [B], the length that the move of step t may have, in the base's deviations."""
        share = 1 / max(1, self.horizon - t) if self.fraction is None else self.fraction
        return np.sqrt(share * memory) if t < self.horizon else np.zeros(len(memory))

    def project(self, t: int, memory: Floats, task: Gaussian, base: Gaussian) -> Gaussian:
        """mu = mu_b + sigma_b z min(1, m / |z|) with z the task's mean in the base's deviations, which are kept."""
        allowed = self.allowed(t, memory)
        z = (task.mean - base.mean) / base.std
        length = np.sqrt((z**2).sum(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(length > allowed, allowed / length, 1.0)
        return Gaussian(base.mean + base.std * z * part[:, None], base.std)

    def charge(self, memory: Floats, chosen: Gaussian, base: Gaussian, presquash: Floats) -> Floats:
        """Takes the move off, whatever was drawn. Raises NiwakiError where the deviations are not the base's."""
        if not np.array_equal(chosen.std, base.std):
            raise NiwakiError("the Gaussian method needs the base's standard deviations, the policy's are others")
        return np.maximum(memory - (((chosen.mean - base.mean) / base.std) ** 2).sum(axis=1), 0.0)


def permitted_alpha(risk: float, *, horizon: int, bound: float) -> float:
    """The largest ratio per step under which `bound` holds: (bound / risk)^(1 / horizon).

    >>> round(permitted_alpha(0.009285, horizon=21, bound=0.1), 4)
    1.1198
    """
    _check_base(risk, horizon)
    _check_wanted(risk, bound)
    return math.exp(math.log(bound / risk) / horizon)


def confidence_shares(confidence: float, stages: int) -> tuple[float, ...]:
    """The confidence of each of so many certificates that are to hold together with `confidence`.

    Stage-wise adaptation certifies the base, adapts, certifies the adapted policy on fresh episodes, and takes it for
    the base of the next stage. By the union bound all certificates hold where their errors sum to 1 - confidence; a
    stage may depend on the ones before it, as long as its episodes are drawn after its policy is fixed.

    >>> confidence_shares(0.9, 2)
    (0.95, 0.95)
    """
    if not 0 < confidence < 1:
        raise NiwakiError(f"the confidence must be between 0 and 1, got {confidence}")
    if stages < 1:
        raise NiwakiError(f"there must be at least one stage, got {stages}")
    return (1 - (1 - confidence) / stages,) * stages


def _check_base(risk: float, horizon: int) -> None:
    if not 0 < risk <= 1:
        raise NiwakiError(f"the base's failure bound must be above 0 and at most 1, got {risk}")
    if horizon < 1:
        raise NiwakiError(f"the horizon must be at least one step, got {horizon}")


def _check_wanted(risk: float, bound: float) -> None:
    if not 0 < bound <= 1:
        raise NiwakiError(f"the wanted bound must be above 0 and at most 1, got {bound}")
    if bound < risk:
        raise NiwakiError(f"the wanted bound {bound:g} is below the base's own, {risk:g}: no policy can promise it")


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise NiwakiError(f"the fraction that a step may use must be above 0 and at most 1, got {fraction}")
