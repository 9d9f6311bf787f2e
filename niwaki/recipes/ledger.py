"""The ledger of a run: every finished stage with its facts and its network, as files in the run's folder.

A run that was killed at any moment goes on after its last finished stage: a stage is finished when run.json
names it, and run.json is replaced in one piece after the stage's network was written.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from niwaki.policies.files import make_folder, parsing, read_bytes, write_whole
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import load_niwaki, save_policy
from niwaki.tasks import Task
from niwaki.types import NiwakiError

FORMAT = 1
FILE = "run.json"
FILE_LIMIT = 64 * 2**20  # bytes of a run.json
STAGES = "stages"  # the folder of the stages' networks

Facts = dict[str, Any]  # what JSON can hold
Work = Callable[[], tuple[Facts, NetworkPolicy | None]]  # of a stage


class OutOfTime(Exception):
    """It was late before a stage found anything: there is nothing to write down."""


@dataclass(frozen=True)
class Stage:
    """A finished stage: what was found, and the policy as it was then."""

    name: str
    facts: Facts
    network: NetworkPolicy | None
    seconds: float


class Ledger:
    """The stages of one run, in order. `identity` is what makes two runs the same run."""

    def __init__(self, folder: Path, identity: Facts, *, outcome: Sequence[str] = (), restart: bool = False) -> None:
        """Opens the run in `folder`, or begins it there.

        `outcome` names the files and folders that the run leaves at its end: `restart` removes them. Raises
        NiwakiError when the folder holds another run, or one of these and no run.
        """
        _make_room(folder, outcome, restart=restart)
        self.folder = folder
        self.book: Facts = {"format": FORMAT, "identity": _plain(identity), "ledger": []}
        self.resumed = 0  # stages that were found finished
        self._asked: set[str] = set()
        if (folder / FILE).exists():
            found = read_run(folder)
            _same_run(folder, found["identity"], self.book["identity"])
            self.book = found
            self.resumed = len(found["ledger"])
        else:
            make_folder(folder / STAGES)
            self._write()

    def stage(self, name: str, work: Work, *, about: str = "") -> Stage:
        """The stage called `name`: read back where it is finished, otherwise worked for and written down.

        `about` says what goes into the stage where a run that is given more time may come to it with something else: a
        stage that was about something else is done anew."""
        if name in self._asked:
            raise ValueError(f"two stages of one run are called {name!r}")
        self._asked.add(name)
        for entry in self.book["ledger"]:
            if entry["stage"] == name and entry.get("about", "") == about:
                return self._read(entry)
        start = time.perf_counter()
        facts, network = work()
        entry = {"stage": name, "seconds": round(time.perf_counter() - start, 3), "facts": _plain(facts)}
        if about:
            entry["about"] = about
        if network is not None:
            path = self._next_file()
            save_policy(network, path)
            entry |= {"network": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        kept = [other for other in self.book["ledger"] if other["stage"] != name]
        self.book["ledger"] = [*kept, entry]
        self._write()
        return self._read(entry)  # as a resumed run would see it

    def has(self, name: str, *, about: str | None = None) -> bool:
        """Whether the stage called `name` is finished, and is about that where it is given."""
        return any(entry["stage"] == name and about in (None, entry.get("about", "")) for entry in self.book["ledger"])

    def file(self, name: str) -> str:
        """Where the network of the stage called `name` lies in the folder."""
        return next(f"{STAGES}/{entry['network']}" for entry in self.book["ledger"] if entry["stage"] == name)

    def stages(self) -> list[Stage]:
        """All finished stages, in order."""
        return [self._read(entry) for entry in self.book["ledger"]]

    def close(self, summary: Facts) -> None:
        """Write the run's outcome beside its stages."""
        self.book |= _plain(summary)
        self._write()

    @property
    def seconds(self) -> float:
        """Work done in all stages, those before an interruption included."""
        return float(sum(entry["seconds"] for entry in self.book["ledger"]))

    def _next_file(self) -> Path:
        """Where the next stage's network goes: stages that were done anew have left gaps."""
        numbers = [int(Path(entry["network"]).stem) for entry in self.book["ledger"] if "network" in entry]
        return self.folder / STAGES / f"{max([len(self.book['ledger']), *(n + 1 for n in numbers)]):03d}.safetensors"

    def _read(self, entry: Facts) -> Stage:
        network = None
        if "network" in entry:
            path = self.folder / STAGES / entry["network"]
            if hashlib.sha256(read_bytes(path)).hexdigest() != entry["sha256"]:
                raise NiwakiError(f"{path} is not what {FILE} says it was: begin anew with --restart")
            network = load_niwaki(path)
        return Stage(entry["stage"], entry["facts"], network, entry["seconds"])

    def _write(self) -> None:
        write_whole(self.folder / FILE, json.dumps(self.book, indent=1, allow_nan=False).encode())


def identity(teacher: NetworkPolicy, task: Task, **asked: object) -> Facts:
    """What makes two runs the same run: the teacher, the task and what was asked."""
    return {
        "teacher": hashlib.sha256(b"".join(part.tobytes() for part in teacher.parts)).hexdigest(),
        "task": task.name,
        "task_file": hashlib.sha256(task.source.encode()).hexdigest(),
        "specifications": {spec.name: spec.text for spec in task.specs},
        **asked,
        "niwaki": version("niwaki"),
    }


def read_run(folder: Path) -> Facts:
    """The run.json of a folder. Raises NiwakiError when it is missing, damaged or of another format."""
    data = read_bytes(folder / FILE, limit=FILE_LIMIT)
    with parsing("run.json"):
        book = json.loads(data)
        version, stages, names = book["format"], book["ledger"], []
        for entry in stages:
            names.append((entry["stage"], entry["facts"], float(entry["seconds"])))
            if "network" in entry and not _is_file_name(entry["network"], entry["sha256"]):
                raise NiwakiError(f"{FILE} names a network file {str(entry['network'])[:40]!r} that no run writes")
        if not isinstance(book["identity"], dict):
            raise NiwakiError(f"{FILE} does not say which run it is")
    if version != FORMAT:
        raise NiwakiError(f"{folder / FILE} has format {str(version)[:20]}, this niwaki reads format {FORMAT}")
    return dict(book)


def _make_room(folder: Path, outcome: Sequence[str], *, restart: bool) -> None:
    """See to it that nothing in the folder passes for the outcome of a run that was refused, or is not over."""
    book = folder / FILE
    old = [folder / name for name in outcome if (folder / name).exists()]
    if restart:
        for path in (book, *old, folder / STAGES):  # the book first: without it the rest is nobody's
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    elif old and not book.exists():
        raise NiwakiError(f"{old[0]} belongs to no run: choose another --out, or add --restart to replace it")


def _same_run(folder: Path, found: Facts, wanted: Facts) -> None:
    different = [key for key in wanted if found.get(key) != wanted[key]]
    if different:
        key = different[0]
        raise NiwakiError(
            f"{folder} holds a run with another {key.replace('_', ' ')} ({_short(found.get(key))}, "
            f"not {_short(wanted[key])}): choose another --out, or add --restart to begin anew there"
        )


def _is_file_name(name: object, digest: object) -> bool:
    return (
        isinstance(name, str)
        and isinstance(digest, str)
        and name.endswith(".safetensors")
        and name.removesuffix(".safetensors").isdigit()
    )


def _plain(facts: Facts) -> Facts:
    """As JSON gives it back, so that a first run and a resumed one see the same values."""
    plain: Facts = json.loads(json.dumps(facts, allow_nan=False))
    return plain


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
