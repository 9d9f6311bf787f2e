"""check: is a certificate still true of the files beside it.

Nothing in the folder is trusted. The C is never compiled as found: it must be, byte for byte, what niwaki emits
for policy.safetensors. The task is a bundled one, or given by the caller. Whatever follows from the recorded
episodes is worked out again, the bound by lines of its own; then episodes are flown again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from niwaki.certification.artefact import (
    HEADER,
    OPTIONAL,
    SOURCE,
    TEACHER,
    WEIGHTS,
    differences_here,
    fingerprints,
    load_artefact,
)
from niwaki.certification.certificate import FILE, Certificate, read_certificate
from niwaki.certification.consistency import contradictions, same_numbers
from niwaki.certification.evidence import compare, summarise
from niwaki.certification.replay import Refused, Rerun, fly_again
from niwaki.certification.replay import rerun as prepare
from niwaki.compiler import find_compiler
from niwaki.policies.storage import load_niwaki
from niwaki.rollout import Stages, counted
from niwaki.tasks import Task
from niwaki.types import NiwakiError

KNOWN_FILES = (SOURCE, HEADER, WEIGHTS, *OPTIONAL, TEACHER)


Checked = TypeVar("Checked")


@dataclass(frozen=True)
class Check(Generic[Checked]):
    """What a check found of one kind of certificate. It is valid when nothing was refused."""

    certificate: Checked | None  # None: it cannot be read
    refused: tuple[str, ...]  # one sentence each
    notes: tuple[str, ...]  # what is otherwise here than where it was made
    replayed: int  # episodes that were flown again

    @property
    def valid(self) -> bool:
        """Whether nothing speaks against the certificate."""
        return not self.refused


def check(
    folder: str | Path,
    *,
    task: Task | None = None,
    episodes: int = 200,
    full: bool = False,
    seed: int | None = None,
    workers: int | None = None,
    progress: Stages = lambda stage, done, total: None,
) -> Check[Certificate]:
    """Verify the certificate in a folder: hashes, numbers, then `episodes` of its flights again (`full`: all).

    Which ones is drawn with `seed`; None: so that nobody can know it beforehand. A certificate about a task
    that is not a bundled one needs the `task`. Raises NiwakiError when there is no certificate, or that task
    is missing; whatever speaks against the certificate is reported, not raised.
    """
    folder = Path(folder)
    expect_certificate(folder, episodes, written_by="niwaki certify")
    try:
        certificate = read_certificate(folder)
    except NiwakiError as error:
        return Check(None, (str(error),), (), 0)
    refused = changed_files(certificate, folder) or contradictions(certificate)
    notes = differences_here(certificate.versions, certificate.platform)
    if refused:
        return Check(certificate, tuple(refused), tuple(notes), 0)
    try:
        count = certificate.episodes if full else episodes
        rerun = prepare(certificate, task, episodes=count, seed=seed)
        notes += _fly(rerun, folder, full, workers, progress)
    except Refused as reason:
        return Check(certificate, (str(reason),), tuple(notes), 0)
    return Check(certificate, (), tuple(notes), len(rerun.rows))


def expect_certificate(folder: Path, episodes: int, *, written_by: str) -> None:
    """Raises NiwakiError where there is nothing to check: no certificate in the folder, or no episode to fly again."""
    if episodes < 1:
        raise NiwakiError(f"at least one episode must be flown again, got {episodes}")
    if not (folder / FILE).is_file():
        raise NiwakiError(f"there is no {FILE} in {str(folder)!r}: {written_by} writes one")


def _fly(rerun: Rerun, folder: Path, full: bool, workers: int | None, progress: Stages) -> list[str]:
    """Fly again, the teacher too; returns notes. Raises Refused."""
    c, total = rerun.certificate, len(rerun.rows)
    try:
        policy, teacher = load_artefact(folder), load_niwaki(folder / TEACHER) if c.teacher_record else None
    except NiwakiError as error:
        raise Refused(str(error)) from error
    count = counted(progress, "flying the policy again", total)
    flown, same = fly_again(rerun, c.record, policy, workers=workers, progress=count)
    beside = None
    if teacher is not None and c.teacher_record is not None:
        count = counted(progress, "flying the teacher again", total)
        beside, also = fly_again(rerun, c.teacher_record, teacher, workers=workers, progress=count)
        same = same and also
    if not same:
        return ["returns or lengths differ from the recorded ones in some bits; the violations are the recorded ones"]
    if full:
        floor = None if c.returns is None else c.returns.floor
        _expect_same(summarise(c.plan, flown.returns, floor=floor), c.returns, "the mean return")
        if beside is not None:
            _expect_same(compare(c.plan, flown, beside), c.teacher, "the comparison with the teacher")
    return [] if find_compiler() else ["no C compiler is here: the same bits were flown in NumPy"]


def _expect_same(here: object, recorded: object, what: str) -> None:
    if not same_numbers(here, recorded):
        raise Refused(f"{what} does not follow from the episodes")


def changed_files(certificate: Certificate, folder: Path) -> list[str]:
    """A sentence for every bound file that is not what it was."""
    bound, found = certificate.files, []
    needed = {SOURCE, HEADER, WEIGHTS} | ({TEACHER} if certificate.teacher_record else set())
    for name in sorted(needed - set(bound)):
        found.append(f"the certificate does not bind {name}")
    for name in sorted(bound):
        if name not in KNOWN_FILES:
            found.append(f"the certificate binds {name[:60]!r}, which is no file of a certificate")
            continue
        try:
            if fingerprints(folder, [name])[name] != bound[name]:
                found.append(f"{name} was changed after it was certified")
        except NiwakiError as error:
            found.append(f"{name}, which the certificate binds, cannot be read: {error}")
    return found
