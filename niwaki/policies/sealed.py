"""Sealed JSON: a dataclass in canonical JSON with a digest over all else in it, so that a changed byte is noticed.

A digest is no signature: who can write the file can write another one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from niwaki.policies.files import FILE_LIMIT, naming, read_bytes, write_whole
from niwaki.types import NiwakiError


class Sealable(Protocol):
    """A dataclass with the number of its format, which grows when its fields change."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def format(self) -> int: ...


Content = TypeVar("Content", bound=Sealable)


def write_sealed(content: Sealable, path: Path) -> None:
    """Write the file, whole or not at all; the same content gives the same bytes. Raises NiwakiError where it cannot
    be written, ValueError for a number that JSON has not."""
    write_whole(path, _encode(content))


def read_sealed(path: Path, kind: type[Content], what: str, *, format: int, limit: int = FILE_LIMIT) -> Content:
    """What was written, every field checked against the dataclass `kind`; `what` names it in an error's words.

    Raises NiwakiError when the file is missing, above `limit` bytes, anything else, of another format, or when a byte
    of it was changed.
    """
    with naming(path):
        data = read_bytes(path, limit=limit)
        try:
            content = TypeAdapter(kind).validate_json(data, strict=True)
            unchanged = content.format == format and data == _encode(content)
        except (ValidationError, ValueError, RecursionError) as error:
            raise NiwakiError(f"this is no {what}: {_first(error)}") from error
        if content.format != format:
            raise NiwakiError(
                f"it has format {str(content.format)[:20]}, this niwaki reads format {format}: update niwaki"
            )
        if not unchanged:
            raise NiwakiError("it was changed after it was written: it does not fit its own digest")
    return content


def _encode(content: Sealable) -> bytes:
    values = json.loads(_canonical(asdict(content)))  # tuples become lists
    return _canonical(values | {"digest": hashlib.sha256(_canonical(values)).hexdigest()})


def _canonical(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, sort_keys=True, indent=1, allow_nan=False) + "\n").encode("ascii")


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))[:80] or 'it'}: {first['msg'][:120]}"
    return f"{type(error).__name__}: {str(error)[:120]}"
