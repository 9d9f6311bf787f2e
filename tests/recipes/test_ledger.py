"""Runs that are killed and go on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from niwaki.recipes.ledger import Ledger, read_run
from niwaki.types import NiwakiError

IDENTITY = {"task": "cartpole", "seed": 0}


def never() -> tuple:
    raise AssertionError("a finished stage was worked for again")


def test_a_finished_stage_is_read_back_instead_of_worked_for_again(tmp_path: Path, make_network) -> None:
    network = make_network((4, 8, 2))
    first = Ledger(tmp_path, IDENTITY).stage("prune", lambda: ({"return": 1 / 3}, network))
    again = Ledger(tmp_path, IDENTITY)
    second = again.stage("prune", never)
    assert again.resumed == 1
    assert second.facts == first.facts == {"return": 1 / 3}
    assert second.seconds == first.seconds
    assert np.array_equal(second.network.layers[0].weight, network.layers[0].weight)


def test_a_stage_that_was_interrupted_leaves_no_trace_and_is_done_again(tmp_path: Path, make_network) -> None:
    ledger = Ledger(tmp_path, IDENTITY)
    ledger.stage("one", lambda: ({}, make_network((4, 2))))

    def killed() -> tuple:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.stage("two", killed)
    again = Ledger(tmp_path, IDENTITY)
    again.stage("one", never)
    assert again.stage("two", lambda: ({"found": 3}, None)).facts == {"found": 3}
    assert [entry["stage"] for entry in read_run(tmp_path)["ledger"]] == ["one", "two"]


def test_a_stage_about_something_else_is_done_anew_and_replaced(tmp_path: Path, make_network) -> None:
    ledger = Ledger(tmp_path, IDENTITY)
    ledger.stage("judge", lambda: ({"of": 4}, make_network((4, 2))), about="four")
    ledger.stage("after", lambda: ({}, make_network((3, 3))))
    assert ledger.has("judge", about="four")
    assert not ledger.has("judge", about="five")
    again = Ledger(tmp_path, IDENTITY)
    assert again.stage("judge", lambda: ({"of": 5}, make_network((5, 2))), about="five").facts == {"of": 5}
    assert again.stage("after", never).network.sizes == (3, 3)
    assert [entry["stage"] for entry in read_run(tmp_path)["ledger"]] == ["after", "judge"]
    third = Ledger(tmp_path, IDENTITY)
    assert third.stage("judge", never, about="five").network.sizes == (5, 2)


def test_a_network_written_before_its_stage_was_noted_does_no_harm(tmp_path: Path, make_network) -> None:
    ledger = Ledger(tmp_path, IDENTITY)
    (tmp_path / "stages" / "000.safetensors").write_bytes(b"left over by a kill between two writes")
    ledger.stage("one", lambda: ({}, make_network((4, 2))))
    assert Ledger(tmp_path, IDENTITY).stage("one", never).network.sizes == (4, 2)


def test_another_run_in_the_same_folder_is_refused_unless_it_begins_anew(tmp_path: Path) -> None:
    Ledger(tmp_path, IDENTITY).stage("one", lambda: ({}, None))
    with pytest.raises(NiwakiError, match=r"another task \(cartpole, not pendulum\).*--restart"):
        Ledger(tmp_path, IDENTITY | {"task": "pendulum"})
    fresh = Ledger(tmp_path, IDENTITY | {"task": "pendulum"}, restart=True)
    assert fresh.resumed == 0
    assert read_run(tmp_path)["identity"]["task"] == "pendulum"


def test_to_begin_anew_removes_what_the_run_before_left(tmp_path: Path, make_network) -> None:
    Ledger(tmp_path, IDENTITY).stage("one", lambda: ({}, make_network((4, 2))))
    (tmp_path / "policy.c").write_text("of the run before")
    (tmp_path / "candidate").mkdir()
    (tmp_path / "notes.txt").write_text("the user's own")
    Ledger(tmp_path, IDENTITY, outcome=("policy.c", "candidate"), restart=True)
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "stages", "notes.txt"}
    assert not list((tmp_path / "stages").iterdir())


def test_an_outcome_without_a_run_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "policy.c").write_text("of another tool")
    with pytest.raises(NiwakiError, match=r"policy.c belongs to no run: choose another --out, or add --restart"):
        Ledger(tmp_path, IDENTITY, outcome=("policy.c",))
    assert [path.name for path in tmp_path.iterdir()] == ["policy.c"]


def test_a_network_changed_behind_the_ledgers_back_is_noticed(tmp_path: Path, make_network) -> None:
    Ledger(tmp_path, IDENTITY).stage("one", lambda: ({}, make_network((4, 2))))
    file = tmp_path / "stages" / "000.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(NiwakiError, match="is not what"):
        Ledger(tmp_path, IDENTITY).stage("one", never)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"format": 1, "identity": {}, "ledger": 3}',
        '{"format": 2, "identity": {}, "ledger": []}',
        '{"format": 1, "identity": [], "ledger": []}',
        '{"format": 1, "identity": {}, "ledger": [{"stage": "a"}]}',
        json.dumps(
            {
                "format": 1,
                "identity": {},
                "ledger": [{"stage": "a", "seconds": 0, "facts": {}, "network": "../x.safetensors", "sha256": ""}],
            }
        ),
    ],
)
def test_a_run_json_that_no_run_wrote_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(NiwakiError):
        Ledger(tmp_path, {})


def test_the_outcome_stands_beside_the_stages(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, IDENTITY)
    ledger.stage("one", lambda: ({}, None))
    ledger.close({"shipped": True})
    assert read_run(tmp_path)["shipped"] is True
    assert len(read_run(tmp_path)["ledger"]) == 1


def test_two_stages_of_one_name_are_a_mistake_of_ours(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, IDENTITY)
    ledger.stage("one", lambda: ({}, None))
    with pytest.raises(ValueError, match="two stages"):
        ledger.stage("one", lambda: ({}, None))
