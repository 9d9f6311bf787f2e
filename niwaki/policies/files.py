"""Reading files nobody vouches for: sizes are checked before memory is taken, errors name their file.
And writing them: whole or not at all."""

from __future__ import annotations

import os
import secrets
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from niwaki.types import NiwakiError

FILE_LIMIT = 512 * 2**20  # bytes, on disk and unpacked
MEMBER_LIMIT = 10_000  # files in one zip


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Puts the file's name in front of every NiwakiError raised inside."""
    try:
        yield
    except NiwakiError as error:
        raise NiwakiError(f"{path.name}: {error}") from error


@contextmanager
def parsing(kind: str) -> Iterator[None]:
    """One NiwakiError for whatever a parser that is not ours raises on damaged or hostile bytes."""
    try:
        yield
    except NiwakiError:
        raise
    except Exception as error:  # parsers meet hostile bytes with every kind of exception
        raise NiwakiError(f"this {kind} cannot be read, it is damaged or something else ({_reason(error)})") from error


def read_bytes(path: Path, *, limit: int = FILE_LIMIT) -> bytes:
    """The whole file. Raises NiwakiError when it is missing, not a plain file, empty or above `limit` bytes."""
    check_file(path, limit=limit)
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise NiwakiError(f"{path.name} cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise NiwakiError(f"{path.name} grew above {limit} bytes while it was read")
    return data


def check_file(path: Path, *, limit: int = FILE_LIMIT) -> None:
    """Raises NiwakiError unless the path is a plain file of 1 to `limit` bytes."""
    try:
        if path.is_dir():
            raise NiwakiError(f"{path.name or path} is a folder: give a policy file inside it")
        if not path.is_file():
            raise NiwakiError(f"there is no file {str(path)!r}")
        size = path.stat().st_size
    except (OSError, ValueError) as error:  # ValueError: a NUL inside the name
        raise NiwakiError(f"{str(path)!r} cannot be opened: {error}") from error
    if size == 0:
        raise NiwakiError(f"{path.name} is empty")
    if size > limit:
        raise NiwakiError(f"{path.name} has {size} bytes, more than the {limit} that are read for such a file")


@contextmanager
def unzipped(source: Path | BytesIO) -> Iterator[zipfile.ZipFile]:
    """An opened zip that unpacks to at most FILE_LIMIT bytes; nothing is unpacked before this is known."""
    with parsing("zip file"):
        archive = zipfile.ZipFile(source)
    with archive:
        members = archive.infolist()
        total = sum(member.file_size for member in members)
        names = [member.filename for member in members]
        if len(members) > MEMBER_LIMIT or total > FILE_LIMIT:
            raise NiwakiError(f"refused: the zip unpacks to {total} bytes in {len(members)} files (limit {FILE_LIMIT})")
        if len(set(names)) != len(names):
            raise NiwakiError("refused: the zip holds two files of the same name")
        if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
            raise NiwakiError("refused: the zip uses a compression other than deflate")
        yield archive


def unzip(archive: zipfile.ZipFile, member: str) -> bytes:
    """One member of a zip from `unzipped`, its checksum checked."""
    with parsing("zip file"), archive.open(member) as file:
        # Asking for the promised size and no more: a plain read() unpacks everything before it looks.
        return file.read(archive.getinfo(member).file_size)


def make_folder(folder: Path) -> Path:
    """The folder, made where it is missing. Raises NiwakiError where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NiwakiError(f"cannot make the folder {str(folder)!r}: {error.strerror}") from error
    return folder


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it appears whole or not at all. Raises NiwakiError when it cannot be written."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise NiwakiError(f"{str(path)!r} cannot be written: {error.strerror}") from error


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
