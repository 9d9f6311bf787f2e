"""The certificate of an adapted policy: what was promised before it ever ran, from which base episodes, and what its
own episodes say. It covers the files of its folder by their hashes.

Its file is sealed JSON, as that of `niwaki.certification.certificate`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from niwaki.certification.bounds import clopper_pearson_lower
from niwaki.certification.certificate import FILE, FILE_LIMIT, Count, Inside, Probability, rounded_up
from niwaki.policies.files import read_bytes
from niwaki.policies.sealed import read_sealed, write_sealed
from niwaki.types import NiwakiError

FORMAT = 1
KIND = "adapted"

Method = Literal["ratio", "odometer", "gaussian", "stagewise"]
Horizon = Annotated[int, Field(ge=1, le=1_000_000)]


@dataclass(frozen=True)
class Stage:
    """One adaptation: what its base promised, the budget that follows, and what the adapted policy then did."""

    budget: dict[str, Any]
    base_episodes: Count
    base_failures: Count  # within the horizon
    base_risk: Probability  # upper bound, with `prior_confidence`
    prior_confidence: Inside
    episodes: Count
    violations: Count  # of the adapted policy, within the horizon
    posterior_bound: Probability  # with `posterior_confidence`, from these episodes alone
    posterior_confidence: Inside


@dataclass(frozen=True)
class AdaptedCertificate:
    """A statement about the adapted policy in the same folder."""

    format: int
    kind: Literal["adapted"]
    claimed: bool
    reason: str | None  # why nothing is claimed
    statement: str
    method: Method
    rule: Literal["ratio", "odometer", "gaussian"]  # of every stage
    bound: Probability  # on the probability of a failure, known before the policy flew
    confidence: Inside
    horizon: Horizon
    asked_horizon: Horizon | None  # None: the best of the grid
    planned_stages: Annotated[int, Field(ge=1, le=100)]
    stages: tuple[Stage, ...]
    policy_sha256: str
    base_sha256: str
    task: dict[str, Any]  # name, title, source, simulator
    specs: dict[str, str]
    files: dict[str, str]  # SHA-256 by name
    versions: dict[str, str]
    platform: str
    assumptions: tuple[str, ...]
    not_claimed: tuple[str, ...]


def in_words(c: AdaptedCertificate) -> AdaptedCertificate:
    """The certificate with everything that is said in words, and with its verdict: it abstains where the adapted
    policy's own episodes contradict the promise."""
    last = c.stages[-1]
    least = clopper_pearson_lower(last.violations, last.episodes, confidence=c.confidence)
    reason = None
    if least > c.bound:
        reason = (
            f"the adapted policy failed in {last.violations:,} of {last.episodes:,} episodes, with confidence "
            f"{c.confidence!r} more often than {c.bound:g}: an assumption does not hold"
        )
    first, together = c.stages[0], c.method == "stagewise"
    bounded = (
        f"with confidence {c.confidence!r} an episode of the adapted policy fails, that is, does not end within "
        f"{c.horizon} steps with {' and '.join(c.specs.values())} kept, with a probability of at most "
        f"{c.bound!r}: by the method {c.method}, from {first.base_failures:,} failures in "
        f"{first.base_episodes:,} fresh episodes of the base."
    )
    own = (
        f"Its own {last.episodes:,} fresh episodes had {last.violations:,} failures: with confidence "
        f"{last.posterior_confidence!r}{'' if together else ', by itself,'} at most {rounded_up(last.posterior_bound)}."
    )
    begin = "Bounded before it flew: " if reason is None else f"Nothing is claimed: {reason}. What was derived: "
    return replace(
        c,
        claimed=reason is None,
        reason=reason,
        statement=f"{begin}{bounded} {own}",
        assumptions=assumptions(c),
        not_claimed=not_claimed(c),
    )


def assumptions(c: AdaptedCertificate) -> tuple[str, ...]:
    """What the claim rests on."""
    by_rule = {
        "ratio": "No action is more likely than under the base by more than the budget's ratio, in exact arithmetic; "
        "float64 is taken for that.",
        "odometer": "The ratios of the drawn actions multiply to at most the budget on every path, in exact "
        "arithmetic; float64 is taken for that.",
        "gaussian": "Base and adapted policy draw from Gaussians with the same deviations in every state, and the "
        "moves of the mean stay within the budget on every path.",
    }
    lines = [
        "The scenarios are independent draws from the sample distribution written under task; NumPy's PCG64, seeded "
        "with the policy's digest and the seed, is as good as that.",
        "The policies were fixed before their scenarios were drawn, and nothing was drawn anew until it was kind.",
        "The noise of a policy, a hash of the scenario, the step and the component, is as good as independent normal "
        "numbers, and nothing else in the world depends on it.",
        "The world is the simulator written under task. What it does given the actions is the same for all policies.",
        "What flies is drawn from the adapted distribution with its full noise, before the squash that base and task "
        "share.",
        by_rule[c.rule],
    ]
    if c.asked_horizon is None and c.rule != "odometer":
        lines.append("The horizon was chosen among those of a grid fixed beforehand, each with its share of the error.")
    if c.method == "stagewise":
        lines.append(
            f"The errors of the base's certificate and of {c.planned_stages} adapted policies sum to 1 - confidence: "
            "all of them hold together. Each policy was fixed before its episodes were drawn."
        )
    return tuple(lines)


def not_claimed(c: AdaptedCertificate) -> tuple[str, ...]:
    """What nobody may read into it."""
    lines = [
        "That no failure exists: its probability is bounded, over fresh scenarios and noise together.",
        "Anything about the task policy alone, about the mean of the adapted policy, or about the base without noise.",
        "Anything about scenarios drawn otherwise, or about the real machine beyond the simulator.",
        f"That an episode which has not ended within {c.horizon} steps is safe: it counts as failed.",
        "Who made it: a digest shows that nothing was changed by accident, it is no signature.",
    ]
    if c.method != "stagewise":
        lines.append(
            "That the bound known before and the one from its own episodes hold at once: each has the confidence."
        )
    return tuple(lines)


def write_adapted(certificate: AdaptedCertificate, folder: Path) -> None:
    """Write certificate.json into the folder, whole or not at all."""
    write_sealed(certificate, folder / FILE)


def is_adapted(folder: Path) -> bool:
    """Whether the folder's certificate.json is about an adapted policy; False where it cannot be read."""
    try:
        found = json.loads(read_bytes(folder / FILE, limit=FILE_LIMIT))
    except (NiwakiError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("kind") == KIND


def read_adapted(folder: Path) -> AdaptedCertificate:
    """The certificate in a folder. Raises NiwakiError when there is none, or a byte of it was changed."""
    what = "certificate of an adapted policy"
    return read_sealed(folder / FILE, AdaptedCertificate, what, format=FORMAT, limit=FILE_LIMIT)
