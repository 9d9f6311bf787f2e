"""The episodes of a certificate: drawn from the artefact's own hash, and remembered in a few bits each."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from niwaki.certification.certificate import Record
from niwaki.rollout import rollout
from niwaki.tasks import Task
from niwaki.types import Floats, NiwakiError, Policy, Simulator, Trajectories

CERTIFICATION = 0xCE27  # keeps these scenarios apart from those of an evaluation or a search
BLOCK = 50  # episodes under one digest
DIGITS = 16  # of a digest: 64 bits are enough to notice another flight


def draw(simulator: Simulator, source_sha256: str, *, attempt: int, n: int) -> Floats:
    """The n scenarios [n, K] of an attempt to certify the C with this SHA-256: nobody can choose them.

    They come from `Simulator.sample`, which the claim is about, not from the ranges of a search.
    """
    words = np.frombuffer(bytes.fromhex(source_sha256), dtype=">u4").tolist()
    return simulator.sample(np.random.default_rng([CERTIFICATION, attempt, *words]), n)


def scenario_digest(scenarios: Floats) -> str:
    """SHA-256 of scenario rows [n, K]."""
    return hashlib.sha256(np.ascontiguousarray(scenarios, dtype="<f8").tobytes()).hexdigest()


def fly(
    task: Task,
    policy: Policy,
    scenarios: Floats,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Trajectories:
    """Fly the scenarios [n, K] under the task's specifications. A margin that is no number is a violation."""
    flights = rollout(task.simulator, policy, scenarios, specs=task.specs, workers=workers, progress=progress)
    assert flights.margins is not None  # the task has specifications
    return replace(flights, margins=np.where(np.isnan(flights.margins), -np.inf, flights.margins))


def broken(flights: Trajectories) -> NDArray[np.bool_]:
    """[n, P]: whether the episode broke the specification."""
    assert flights.margins is not None
    return np.asarray(flights.margins < 0)


def remember(flights: Trajectories) -> Record:
    """The record of flown episodes."""
    bits = [base64.b64encode(np.packbits(column).tobytes()).decode() for column in broken(flights).T]
    return Record(dict(zip(flights.spec_names, bits, strict=True)), block_digests(flights))


def recall(record: Record, names: Sequence[str], n: int) -> NDArray[np.bool_]:
    """[n, P]: which episodes broke which specification. Raises NiwakiError when the record does not fit."""
    columns = []
    for name in names:
        try:
            data = base64.b64decode(record.violated[name], validate=True)
        except (KeyError, ValueError) as error:
            raise NiwakiError(f"the record of {name!r} cannot be read") from error
        bits = np.unpackbits(np.frombuffer(data, np.uint8))
        if len(data) != -(-n // 8) or bits[n:].any():
            raise NiwakiError(f"the record of {name!r} is not one of {n} episodes")
        columns.append(bits[:n].astype(bool))
    if len(record.violated) != len(names) or len(record.digests) != -(-n // BLOCK):
        raise NiwakiError(f"the record is not one of {n} episodes and {len(names)} specifications")
    return np.column_stack(columns)


def block_digests(flights: Trajectories) -> tuple[str, ...]:
    """A digest of returns, lengths and endings for every BLOCK episodes."""
    columns = (flights.returns.astype("<f8"), flights.lengths.astype("<i8"), flights.endings.astype("<i8"))
    starts = range(0, len(flights), BLOCK)
    blocks = (b"".join(column[i : i + BLOCK].tobytes() for column in columns) for i in starts)
    return tuple(hashlib.sha256(block).hexdigest()[:DIGITS] for block in blocks)
