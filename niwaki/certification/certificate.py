"""The certificate: what is claimed, about which bytes, with which confidence, from how many episodes, and what is not.

Its file is canonical JSON with a digest over everything else in it, so that a changed byte is noticed. A digest is
no signature: who can write the file can write another one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, Context, Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError

from niwaki.policies.files import naming, read_bytes, write_whole
from niwaki.types import NiwakiError

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


def summary(certificate: Certificate) -> dict[str, Any]:
    """The certificate as plain values, without its records of single episodes."""
    return {key: value for key, value in asdict(certificate).items() if not key.endswith("record")}


def write_certificate(certificate: Certificate, folder: Path) -> None:
    """Write certificate.json into the folder, whole or not at all."""
    write_whole(folder / FILE, _encode(certificate))


def read_certificate(folder: Path) -> Certificate:
    """The certificate in a folder. Raises NiwakiError when there is none, or a byte of it was changed."""
    path = folder / FILE
    with naming(path):
        data = read_bytes(path, limit=FILE_LIMIT)
        try:
            certificate = TypeAdapter(Certificate).validate_json(data, strict=True)
            unchanged = certificate.format == FORMAT and data == _encode(certificate)
        except (ValidationError, ValueError, RecursionError) as error:
            raise NiwakiError(f"this is no certificate of niwaki: {_first(error)}") from error
    if certificate.format != FORMAT:
        raise NiwakiError(f"{FILE} has format {certificate.format}, this niwaki reads format {FORMAT}: update niwaki")
    if not unchanged:
        raise NiwakiError(f"{FILE} was changed after it was written: it does not fit its own digest")
    return certificate


def next_attempt(folder: Path) -> int:
    """The number of the next attempt in a folder: one more than its certificate's, 1 where there is none."""
    return read_certificate(folder).plan.attempt + 1 if (folder / FILE).exists() else 1


def _encode(certificate: Certificate) -> bytes:
    content = json.loads(_canonical(asdict(certificate)))  # tuples become lists
    return _canonical(content | {"digest": hashlib.sha256(_canonical(content)).hexdigest()})


def _canonical(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=1, allow_nan=False) + "\n").encode("ascii")


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))[:80] or 'it'}: {first['msg'][:120]}"
    return f"{type(error).__name__}: {str(error)[:120]}"


def rounded_up(p: float) -> str:
    """A bound for people: three digits, never below the bound itself.

    >>> rounded_up(0.00172545), rounded_up(0.5), rounded_up(1.0)
    ('0.00173', '0.5', '1')
    """
    return f"{float(Context(prec=3, rounding=ROUND_CEILING).create_decimal(Decimal(p))):g}"
