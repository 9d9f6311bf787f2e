"""The certificate's file: every byte of it counts."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from niwaki.certification.certificate import (
    FILE,
    next_attempt,
    read_certificate,
    rounded_up,
    summary,
    write_certificate,
)
from niwaki.types import NiwakiError


def test_what_is_written_is_read(certificate, certified):
    assert read_certificate(certified) == certificate


def test_the_same_certificate_gives_the_same_bytes(certificate, certified, tmp_path):
    write_certificate(certificate, tmp_path)
    assert (tmp_path / FILE).read_bytes() == (certified / FILE).read_bytes()


def test_every_changed_byte_is_noticed(certified):
    path = certified / FILE
    data = path.read_bytes()
    for i in range(0, len(data), 61):
        path.write_bytes(data[:i] + bytes([data[i] ^ (1, 2, 0x80)[i % 3]]) + data[i + 1 :])
        with pytest.raises(NiwakiError, match=r"^certificate\.json"):
            read_certificate(certified)


@pytest.mark.parametrize("spoil", [lambda d: d[:-1], lambda d: d + b"\n", lambda d: d[: len(d) // 2], lambda d: b"{}"])
def test_a_longer_or_shorter_file_is_noticed(certified, spoil):
    path = certified / FILE
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(NiwakiError, match=r"^certificate\.json"):
        read_certificate(certified)


@pytest.mark.parametrize(
    "hostile",
    [
        b"[" * 100_000,
        b'{"episodes": 1e400}',
        b'{"format": 1, "format": 2}',
        b"\xff\xfe",
        b"null",
    ],
)
def test_hostile_files_are_one_sentence(tmp_path, hostile):
    (tmp_path / FILE).write_bytes(hostile)
    with pytest.raises(NiwakiError, match=r"^certificate\.json: this is no certificate of niwaki"):
        read_certificate(tmp_path)


def test_a_plan_beyond_all_measure_is_refused(certificate, tmp_path):
    """It would make a check draw that many scenarios."""
    write_certificate(replace(certificate, plan=replace(certificate.plan, episodes=10**9)), tmp_path)
    with pytest.raises(NiwakiError, match=r"plan\.episodes"):
        read_certificate(tmp_path)


def test_another_format_asks_for_another_niwaki(certificate, tmp_path):
    write_certificate(replace(certificate, format=2), tmp_path)
    with pytest.raises(NiwakiError, match="format 2, this niwaki reads format 1: update niwaki"):
        read_certificate(tmp_path)


def test_the_summary_leaves_single_episodes_out(certificate):
    found = summary(certificate)
    assert found["violations"] == certificate.violations
    assert not {"record", "teacher_record"} & set(found)


def test_attempts_go_on_from_the_certificate_in_the_folder(certificate, certified, tmp_path):
    assert next_attempt(tmp_path) == 1
    assert next_attempt(certified) == 2
    write_certificate(replace(certificate, plan=replace(certificate.plan, attempt=6)), certified)
    assert next_attempt(certified) == 7


@given(st.floats(1e-12, 1.0))
def test_a_bound_for_people_is_never_below_the_bound(p):
    shown = Fraction(rounded_up(p))
    assert Fraction(p) <= shown <= Fraction(p) * Fraction(101, 100)
