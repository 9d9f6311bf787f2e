"""Sealed JSON: what is written is read, every changed byte is noticed, and what is hostile is refused in a sentence."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from niwaki.policies.sealed import read_sealed, write_sealed
from niwaki.types import NiwakiError


@dataclass(frozen=True)
class Note:
    format: int
    text: str
    numbers: tuple[float, ...]
    count: Annotated[int, Field(ge=0)] = 0


def read(path: Path) -> Note:
    return read_sealed(path, Note, "note", format=1, limit=1000)


@settings(max_examples=40, deadline=None)  # a disk may be slow
@given(text=st.text(max_size=20), numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5))
def test_what_is_written_is_read_to_the_bit(tmp_path_factory, text, numbers):
    path = tmp_path_factory.mktemp("sealed") / "note.json"
    note = Note(1, text, tuple(numbers))
    write_sealed(note, path)
    assert repr(read(path)) == repr(note)


def test_the_digest_is_that_of_everything_else(tmp_path):
    path = tmp_path / "note.json"
    write_sealed(Note(1, "hällo", (0.1, 2.0)), path)
    values = json.loads(path.read_bytes())
    digest = values.pop("digest")
    rest = json.dumps(values, sort_keys=True, indent=1) + "\n"
    assert digest == hashlib.sha256(rest.encode()).hexdigest()


def test_every_changed_missing_or_added_byte_is_noticed(tmp_path):
    path = tmp_path / "note.json"
    write_sealed(Note(1, "hello", (0.1, 2.0), 3), path)
    data = path.read_bytes()
    changed = [data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :] for i in range(len(data))]
    for other in (*changed, data[:-1], data + b"\n", data.replace(b"{", b'{"more": 1,')):
        path.write_bytes(other)
        with pytest.raises(NiwakiError, match=r"^note\.json: (it was changed|this is no note|it has format)"):
            read(path)


HOSTILE = {
    "deep": (b"[" * 900, "this is no note: it: Invalid JSON"),
    "a number as text": (b'{"format": 1, "text": "", "numbers": ["1"]}', r"numbers\.0: Input should be a valid number"),
    "out of bounds": (b'{"format": 1, "text": "", "numbers": [], "count": -1}', "count: Input should be greater"),
    "no number": (b'{"format": 1, "text": "", "numbers": [NaN]}', "this is no note: ValueError"),
    "no digest": (b'{"format": 1, "text": "", "numbers": []}', "it does not fit its own digest"),
    "another format": (b'{"format": 2, "text": "", "numbers": []}', "format 2, this niwaki reads format 1: update"),
    "bytes": (b"\xff\xfe", "this is no note"),
    "much": (b" " * 1001, "1001 bytes, more than the 1000"),
    "nothing": (b"", "is empty"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_one_sentence(tmp_path, case):
    data, words = HOSTILE[case]
    (tmp_path / "note.json").write_bytes(data)
    with pytest.raises(NiwakiError, match=words) as refused:
        read(tmp_path / "note.json")
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("note.json")
