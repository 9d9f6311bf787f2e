"""How good is a policy on a task: returns with intervals, violations by specification, paired differences.

`policy_row` is the one row that every command reports about a policy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from niwaki.policies.c_source import table_bytes
from niwaki.policies.compact import compact
from niwaki.policies.network import NetworkPolicy
from niwaki.types import Floats, NiwakiError, Simulator, Trajectories

Row = dict[str, object]


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided confidence interval (Student's t)."""

    mean: float
    low: float
    high: float


def mean_interval(values: Floats, *, confidence: float = 0.95) -> Interval:
    """Mean of independent values [n] with its Student-t interval; NaN bounds for fewer than two values.

    >>> mean_interval(np.array([1.0, 2.0, 3.0])).mean
    2.0
    """
    if not 0 < confidence < 1:
        raise NiwakiError(f"confidence must be between 0 and 1, got {confidence}")
    n = len(values)
    mean = float(np.mean(values)) if n else float("nan")
    if n < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = float(stdtrit(n - 1, (1 + confidence) / 2) * np.std(values, ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def policy_row(
    network: NetworkPolicy,
    *,
    trajectories: Trajectories | None = None,
    ns_per_call: float | None = None,
) -> Row:
    """Size, speed, return and violations of a policy under the keys that all commands share.

    `bytes` are the constants of the emitted C (after dead units were removed); what was not
    measured is None.
    """
    row: Row = {
        "weights": network.weights,
        "nonzero_weights": network.nonzero_weights,
        "parameters": network.parameters,
        "nonzero_parameters": network.nonzero_parameters,
        "bytes": table_bytes(compact(network)),
        "ns_per_call": None if ns_per_call is None else round(ns_per_call, 1),
        "episodes": 0,
        "return_mean": None,
        "return_low": None,
        "return_high": None,
        "length_mean": None,
        "violations": {},
        "violation_rate": None,
    }
    if trajectories is not None and len(trajectories):
        returns = mean_interval(trajectories.returns)
        row |= {
            "episodes": len(trajectories),
            "return_mean": returns.mean,
            "return_low": finite_or_none(returns.low),
            "return_high": finite_or_none(returns.high),
            "length_mean": float(np.mean(trajectories.lengths)),
            "violations": trajectories.violations(),
            "violation_rate": float(np.mean(trajectories.violated)),
        }
    return row


def paired_difference(policy: Trajectories, teacher: Trajectories) -> Row:
    """Policy minus teacher over the same scenarios: return and violation rate, with 95 % intervals."""
    if not np.array_equal(policy.scenarios, teacher.scenarios):
        raise NiwakiError("a paired difference needs both policies flown on the same scenarios")
    returns = mean_interval(policy.returns - teacher.returns)
    rates = mean_interval(policy.violated.astype(float) - teacher.violated)
    return {
        "episodes": len(policy),
        "return_mean": returns.mean,
        "return_low": finite_or_none(returns.low),
        "return_high": finite_or_none(returns.high),
        "violation_rate": rates.mean,
        "violation_low": finite_or_none(rates.low),
        "violation_high": finite_or_none(rates.high),
    }


def scenarios_for(simulator: Simulator, episodes: int, *, seed: int) -> Floats:
    """The scenarios [episodes, K] of an evaluation: the same seed gives every policy the same ones."""
    if episodes < 1:
        raise NiwakiError(f"episodes must be at least 1, got {episodes}")
    if seed < 0:
        raise NiwakiError(f"the seed must not be negative, got {seed}")
    return simulator.sample(np.random.default_rng([seed, EVALUATION]), episodes)


EVALUATION = 0xE7A1  # keeps the scenarios of an evaluation apart from those of a search with the same seed


def finite_or_none(value: float) -> float | None:
    """The value as JSON can hold it."""
    return value if np.isfinite(value) else None
