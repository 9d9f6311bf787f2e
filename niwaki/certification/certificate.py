"""The certificate: what is claimed, about which bytes, with which confidence, from how many episodes, and what is not.

Its file is sealed JSON: a changed byte is noticed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, Context, Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, FiniteFloat

from niwaki.policies.sealed import Sealable, read_sealed, write_sealed

FILE = "certificate.json"
FILE_LIMIT = 64 * 2**20  # bytes
FORMAT = 1
MOST_EPISODES = 2_000_000  # of one certificate: what a hostile one may ask for
SIDE_CONFIDENCE = 0.95  # of the bounds on returns and on the difference from the teacher

Count = Annotated[int, Field(ge=0, le=MOST_EPISODES)]
Probability = Annotated[float, Field(ge=0, le=1)]
Inside = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Plan:
    """What is to be claimed, and how: fixed before the first scenario is drawn."""

    risk: Inside  # largest allowed probability of a violation
    confidence: Inside  # that all attempts of a run keep together
    episodes: Annotated[int, Field(ge=1, le=MOST_EPISODES)]  # to fly; at most, if anytime
    anytime: bool  # stop as soon as the claim is decided
    attempt: Annotated[int, Field(ge=1, le=10_000)]  # of this run, from 1


@dataclass(frozen=True)
class SpecCount:
    """One specification and how many episodes broke it."""

    name: str
    text: str
    violations: Count


@dataclass(frozen=True)
class Returns:
    """The mean return, and a lower bound of the true mean."""

    mean: FiniteFloat
    lower: FiniteFloat | None  # with SIDE_CONFIDENCE; None where nothing can be said
    method: str | None  # "betting" (exact, returns are never below the floor) or "student" (asymptotic)
    floor: FiniteFloat | None  # that returns were promised never to be below


@dataclass(frozen=True)
class Beside:
    """The teacher (teacher.safetensors) on the same scenarios, and policy minus teacher. The bounds have
    SIDE_CONFIDENCE; None where the number of episodes was free."""

    violations: Count
    rate: Probability
    return_mean: FiniteFloat
    worse: Count  # episodes that the policy alone violates
    better: Count  # episodes that the teacher alone violates
    rate_difference: FiniteFloat
    rate_difference_upper: FiniteFloat | None  # exact
    return_difference: FiniteFloat
    return_difference_lower: FiniteFloat | None  # Student's t: asymptotic


@dataclass(frozen=True)
class Record:
    """What every episode gave, small: for a replay to be compared with."""

    violated: dict[str, str]  # by specification: one bit for each episode, base64
    digests: tuple[str, ...]  # of returns, lengths and endings, BLOCK episodes each


@dataclass(frozen=True)
class Certificate:
    """A statement about policy.c. `claimed` False: it abstains, for the `reason`."""

    format: int
    claimed: bool
    reason: str | None
    statement: str
    plan: Plan
    attempt_confidence: Inside  # of `bound`: this attempt's share
    method: str  # "clopper-pearson" or "anytime"
    episodes: Count
    violations: Count  # episodes that broke any specification
    rate: Probability
    bound: Probability  # on the probability of a violation
    specs: tuple[SpecCount, ...]
    returns: Returns | None
    teacher: Beside | None
    files: dict[str, str]  # SHA-256 by name
    compiler: str
    task: dict[str, Any]  # name, title, source, simulator
    scenarios_sha256: str
    record: Record
    teacher_record: Record | None
    versions: dict[str, str]
    platform: str
    assumptions: tuple[str, ...]
    not_claimed: tuple[str, ...]


def summary(certificate: Sealable) -> dict[str, Any]:
    """A certificate of any kind as plain values, without its records of single episodes."""
    return {key: value for key, value in asdict(certificate).items() if not key.endswith("record")}


def write_certificate(certificate: Certificate, folder: Path) -> None:
    """Write certificate.json into the folder, whole or not at all."""
    write_sealed(certificate, folder / FILE)


def read_certificate(folder: Path) -> Certificate:
    """The certificate in a folder. Raises NiwakiError when there is none, or a byte of it was changed."""
    return read_sealed(folder / FILE, Certificate, "certificate of niwaki", format=FORMAT, limit=FILE_LIMIT)


def next_attempt(folder: Path) -> int:
    """The number of the next attempt in a folder: one more than its certificate's, 1 where there is none."""
    return read_certificate(folder).plan.attempt + 1 if (folder / FILE).exists() else 1


def rounded_up(p: float) -> str:
    """A bound for people: three digits, never below the bound itself.

    >>> rounded_up(0.00172545), rounded_up(0.5), rounded_up(1.0)
    ('0.00173', '0.5', '1')
    """
    return f"{float(Context(prec=3, rounding=ROUND_CEILING).create_decimal(Decimal(p))):g}"
