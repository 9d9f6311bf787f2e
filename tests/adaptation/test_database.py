"""The scenario database: what was written is read back, what was tampered with is refused, steps count from 1."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from niwaki.adaptation.database import (
    MOST_EPISODES,
    Database,
    Facts,
    draw,
    horizon_grid,
    load_database,
    save_database,
)
from niwaki.policies.sealed import write_sealed
from niwaki.simulators.cartpole import CartPole
from niwaki.types import NiwakiError

ZERO = "0" * 64


def database(lengths=(3, 5, 5), succeeded=(True, True, False), endings=(1, 1, 0)) -> Database:
    facts = Facts(
        1, ZERO, {"name": "t"}, {"s": "always(x <= 1)"}, 0, 7, len(lengths), ("time_out", "goal"), 5, ZERO, "", {}, ""
    )
    return Database(facts, np.array(lengths, np.int32), np.array(succeeded), np.array(endings, np.int8))


@given(st.integers(1, 5000))
def test_the_grid_rises_to_the_whole_episode_in_few_steps(horizon: int) -> None:
    grid = horizon_grid(horizon)
    assert grid[-1] == horizon
    assert grid[0] >= 1
    assert all(a < b for a, b in itertools.pairwise(grid))
    assert len(grid) <= 24


def test_who_reaches_the_goal_with_the_nth_action_has_used_n_steps() -> None:
    d = database()
    assert [int(d.failed(t).sum()) for t in range(1, 6)] == [3, 3, 2, 2, 1]
    assert d.steps_to_goal(2) is None
    assert d.steps_to_goal(4) == 3
    assert d.steps_to_goal(5) == 4


def test_it_is_read_back_and_the_same_one_gives_the_same_bytes(tmp_path: Path) -> None:
    first = save_database(database(), tmp_path)
    before = [(tmp_path / f"database{kind}").read_bytes() for kind in (".npz", ".json")]
    again = load_database(tmp_path)
    assert again.facts == first.facts
    for name in ("lengths", "succeeded", "endings"):
        assert np.array_equal(getattr(again, name), getattr(first, name))
    save_database(again, tmp_path)
    assert [(tmp_path / f"database{kind}").read_bytes() for kind in (".npz", ".json")] == before


def test_any_program_can_read_it(tmp_path: Path) -> None:
    save_database(database(), tmp_path)
    with np.load(tmp_path / "database.npz", allow_pickle=False) as arrays:
        assert arrays["lengths"].tolist() == [3, 5, 5]
        assert arrays["succeeded"].tolist() == [True, True, False]
    assert json.loads((tmp_path / "database.json").read_text())["episodes"] == 3


def rewrite(folder: Path, **members: bytes) -> None:
    """Other arrays, with a digest that fits: what somebody would write who wants to be believed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    stored = save_database(database(), folder)
    (folder / "database.npz").write_bytes(buffer.getvalue())
    facts = replace(stored.facts, arrays_sha256=hashlib.sha256(buffer.getvalue()).hexdigest())
    write_sealed(facts, folder / "database.json")


def npy(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


GOOD = {
    "lengths": npy(np.array([3, 5, 5], np.int32)),
    "succeeded": npy(np.array([True, True, False])),
    "endings": npy(np.array([1, 1, 0], np.int8)),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": npy(np.array([3, 5, 5], np.int64))}, "int64"),
        ({"lengths": npy(np.array([3, 5], np.int32))}, r"\(2,\), not int32 \(3,\)"),
        ({"lengths": npy(np.array([3, 0, 5], np.int32))}, "between 1 and 5 steps, one here has 0"),
        ({"lengths": npy(np.array([3, 6, 5], np.int32))}, "one here has 6"),
        ({"endings": npy(np.array([1, 2, 0], np.int8))}, "one of 2 endings"),
        ({"lengths": npy(np.array([1, "a", 2], object), allow_pickle=True)}, "not int32"),
        ({"lengths": b"\x93NUMPY\x01\x00v\x00{'descr': '<i4', 'fortran_order': False, 'shape': (10**18,), }"}, "array"),
        ({"lengths": GOOD["lengths"][:-1]}, "array of the database"),
        ({"succeeded": GOOD["succeeded"][:-1] + b"\x07"}, "succeeded or not"),
        ({"more": b"x"}, "nothing else"),
    ],
)
def test_hostile_arrays_are_refused_in_one_sentence(tmp_path: Path, change: dict[str, bytes], message: str) -> None:
    rewrite(tmp_path, **GOOD)
    load_database(tmp_path)
    rewrite(tmp_path, **(GOOD | change))
    with pytest.raises(NiwakiError, match=message) as refused:
        load_database(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_changed_byte_of_either_file_is_noticed(tmp_path: Path) -> None:
    for file, message in (("database.npz", "changed"), ("database.json", "database.json")):
        for place in (40, -40):
            save_database(database(), tmp_path)
            data = bytearray((tmp_path / file).read_bytes())
            data[place] ^= 1
            (tmp_path / file).write_bytes(data)
            with pytest.raises(NiwakiError, match=message):
                load_database(tmp_path)


def test_what_is_missing_or_empty_is_said(tmp_path: Path) -> None:
    with pytest.raises(NiwakiError, match="niwaki validate writes one"):
        load_database(tmp_path / "none")
    with pytest.raises(NiwakiError, match="there is no file"):
        load_database(tmp_path)
    save_database(database((), (), ()), tmp_path)
    with pytest.raises(NiwakiError, match="the scenario database is empty"):
        load_database(tmp_path)


def test_scenarios_follow_from_policy_family_and_seed() -> None:
    simulator = CartPole()
    rows = draw(simulator, ZERO, family=1, seed=0, n=5)
    assert np.array_equal(rows, draw(simulator, ZERO, family=1, seed=0, n=5))
    for other in (("1" * 64, 1, 0), (ZERO, 2, 0), (ZERO, 1, 1)):
        fresh = draw(simulator, other[0], family=other[1], seed=other[2], n=5)
        assert not (fresh == rows).all(axis=1).any()
    for n, message in ((0, "at least 1, got 0"), (MOST_EPISODES + 1, "at most 10,000,000")):
        with pytest.raises(NiwakiError, match=message):
            draw(simulator, ZERO, family=1, seed=0, n=n)
    with pytest.raises(NiwakiError, match="the seed must not be negative"):
        draw(simulator, ZERO, family=1, seed=-1, n=1)
