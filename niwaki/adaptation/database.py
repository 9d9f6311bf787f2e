"""The scenario database of a stochastic policy: after how many steps each fresh episode ended, and how.

Two files, which any program can read: NAME.npz with one array entry per episode, NAME.json with what they are about.
The scenarios themselves follow from the policy's digest and the seed.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from pydantic import Field

from niwaki.policies.files import check_file, naming, parsing, read_bytes, unzip, unzipped, write_whole
from niwaki.policies.sealed import read_sealed, write_sealed
from niwaki.types import Floats, Integers, NiwakiError, Simulator

FORMAT = 1
NAME = "database"
MOST_EPISODES = 10_000_000  # of one database: what a hostile one may ask memory for
ARRAYS_LIMIT, FACTS_LIMIT = 256 * 2**20, 4 * 2**20  # bytes of the two files
COLUMNS = {"lengths": np.dtype("<i4"), "succeeded": np.dtype("?"), "endings": np.dtype("i1")}
FINENESS = 1.15  # from one horizon of the grid to the next, at least
SHORTEST = 20  # the grid begins at this part of an episode

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Facts:
    """What the episodes of a database are about."""

    format: int
    policy_sha256: Digest
    task: dict[str, Any]  # name, title, source, simulator
    specs: dict[str, str]  # what an episode had to keep until its end, by name
    seed: Annotated[int, Field(ge=0)]
    family: Annotated[int, Field(ge=0)]  # of dice
    episodes: Annotated[int, Field(ge=0, le=MOST_EPISODES)]
    ending_names: tuple[str, ...]
    horizon: Annotated[int, Field(ge=1)]  # steps after which an episode is over
    scenarios_sha256: Digest
    arrays_sha256: str  # of the .npz; empty until it is written
    versions: dict[str, str]
    platform: str


@dataclass(frozen=True, eq=False)
class Database:
    """Episodes of one policy on fresh scenarios. Steps are counted from 1: who reaches the goal with the n-th action
    has used n steps."""

    facts: Facts
    lengths: Integers  # [N], steps until the end
    succeeded: NDArray[np.bool_]  # [N], ended without breaking a specification
    endings: Integers  # [N], indices into facts.ending_names

    def __len__(self) -> int:
        return len(self.lengths)

    def failed(self, horizon: int) -> NDArray[np.bool_]:
        """[N]: not ended in success within so many steps. A time-out is a failure."""
        return ~(self.succeeded & (self.lengths <= horizon))

    def steps_to_goal(self, horizon: int) -> float | None:
        """Mean number of steps of the episodes that did not fail; None where all did."""
        reached = self.lengths[~self.failed(horizon)]
        return float(reached.mean()) if len(reached) else None


def horizon_grid(horizon: int) -> tuple[int, ...]:
    """The horizons that a database of episodes of at most so many steps is asked about: fixed before there is any
    data, a few, each about 15 % longer than the one before.

    >>> horizon_grid(100)[:8], len(horizon_grid(100)), horizon_grid(100)[-1], horizon_grid(3)
    ((5, 6, 7, 9, 11, 13, 15, 18), 20, 100, (1, 2, 3))
    """
    grid, step = [], max(1, horizon // SHORTEST)
    while step < horizon:
        grid.append(step)
        step = max(step + 1, math.ceil(step * FINENESS))
    return (*grid, horizon)


def draw(simulator: Simulator, policy_sha256: str, *, family: int, seed: int, n: int) -> Floats:
    """The n scenarios [n, K] on which the policy of this digest is judged: first the policy, then the dice."""
    if n < 1:
        raise NiwakiError(f"the number of episodes must be at least 1, got {n}")
    if n > MOST_EPISODES:
        raise NiwakiError(f"a database holds at most {MOST_EPISODES:,} episodes, got {n:,}")
    if seed < 0:
        raise NiwakiError(f"the seed must not be negative, got {seed}")
    words = np.frombuffer(bytes.fromhex(policy_sha256), dtype=">u4").tolist()
    return simulator.sample(np.random.default_rng([seed, family, *words]), n)


def save_database(database: Database, folder: Path, name: str = NAME) -> Database:
    """Write both files; the same database gives the same bytes. Returns it with the digest of its arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for column, kind in COLUMNS.items():
            member = io.BytesIO()
            npy.write_array(member, np.ascontiguousarray(getattr(database, column), kind), version=(1, 0))
            archive.writestr(zipfile.ZipInfo(f"{column}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED)
    data = buffer.getvalue()
    facts = Facts(**(vars(database.facts) | {"arrays_sha256": hashlib.sha256(data).hexdigest()}))
    write_whole(folder / f"{name}.npz", data)
    write_sealed(facts, folder / f"{name}.json")
    return Database(facts, database.lengths, database.succeeded, database.endings)


def load_database(folder: Path, name: str = NAME) -> Database:
    """The database that `save_database` wrote. Nothing in the files is trusted: sizes are checked before memory is
    taken, and nothing is unpickled. Raises NiwakiError, in one sentence, for anything else and for an empty one."""
    if not folder.is_dir():
        raise NiwakiError(f"there is no folder {str(folder)!r} with a scenario database: niwaki validate writes one")
    facts_file, arrays_file = folder / f"{name}.json", folder / f"{name}.npz"
    facts = read_sealed(facts_file, Facts, "scenario database of niwaki", format=FORMAT, limit=FACTS_LIMIT)
    if facts.episodes == 0:
        raise NiwakiError("the scenario database is empty: validate the base policy first")
    with naming(arrays_file):
        check_file(arrays_file, limit=ARRAYS_LIMIT)
        archive = read_bytes(arrays_file, limit=ARRAYS_LIMIT)
        if hashlib.sha256(archive).hexdigest() != facts.arrays_sha256:
            raise NiwakiError(f"it was changed, or is not the file that {facts_file.name} describes")
        with unzipped(io.BytesIO(archive)) as opened:
            if sorted(opened.namelist()) != sorted(f"{column}.npy" for column in COLUMNS):
                raise NiwakiError(f"a scenario database holds {', '.join(COLUMNS)} and nothing else")
            columns = {c: _column(unzip(opened, f"{c}.npy"), kind, facts.episodes) for c, kind in COLUMNS.items()}
        database = Database(facts, **columns)
        _check(database)
    return database


def _column(data: bytes, kind: np.dtype, n: int) -> NDArray:
    """An array [n] from its .npy bytes. Its header is only compared: it never decides how much memory is taken."""
    stream = io.BytesIO(data)
    with parsing("array"):
        if npy.read_magic(stream) != (1, 0):
            raise NiwakiError("an array of the database has another format than 1.0")
        shape, _, dtype = npy.read_array_header_1_0(stream)
    rest = data[stream.tell() :]
    if shape != (n,) or dtype != kind or len(rest) != n * kind.itemsize:
        raise NiwakiError(f"an array of the database is {str(dtype)[:20]} {str(shape)[:40]}, not {kind} ({n},)")
    return np.frombuffer(rest, kind)


def _check(database: Database) -> None:
    """Raises NiwakiError for numbers that no episode can have."""
    lengths, endings, facts = database.lengths, database.endings, database.facts
    if (lengths < 1).any() or (lengths > facts.horizon).any():
        raise NiwakiError(f"an episode has between 1 and {facts.horizon} steps, one here has {_odd(lengths, facts)}")
    if (endings < 0).any() or (endings >= len(facts.ending_names)).any():
        raise NiwakiError(f"an episode has one of {len(facts.ending_names)} endings, one here has another")
    if len(np.frombuffer(database.succeeded.tobytes(), np.uint8)) and database.succeeded.view(np.uint8).max() > 1:
        raise NiwakiError("an episode has succeeded or not, one here has neither")


def _odd(lengths: Integers, facts: Facts) -> int:
    return int(lengths[(lengths < 1) | (lengths > facts.horizon)][0])
