"""The check of an adapted policy's certificate: it accepts what is true, and every lie is found."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from niwaki.adaptation.budget import GaussianShift
from niwaki.adaptation.database import Database, load_database, save_database
from niwaki.adaptation.saved import adapted_digest, load_parts, plain, save_adapted
from niwaki.certification.artefact import fingerprints
from niwaki.recipes.adapt import Order, adapt
from niwaki.recipes.adapted_certificate import in_words, is_adapted, read_adapted, write_adapted
from niwaki.recipes.adapted_check import check_adapted
from niwaki.types import NiwakiError


@pytest.fixture(scope="module")
def certified(homing, meadow, tmp_path_factory) -> dict[str, Path]:
    found = {}
    for method in ("gaussian", "odometer", "stagewise"):
        folder = tmp_path_factory.mktemp("certified") / "out"
        order = Order(method, episodes=400, stages=2, bound=0.2)
        found[method] = Path(adapt(homing(0.3, 6.0, -1.0), homing(1.5, 8.0, -1.5), meadow, folder, order).out)
    return found


@pytest.fixture
def folder(certified, tmp_path) -> Path:
    shutil.copytree(certified["stagewise"], tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("method", ["gaussian", "odometer", "stagewise"])
def test_what_was_certified_is_valid_and_all_of_it_flies_again(certified, meadow, method):
    found = check_adapted(certified[method], task=meadow, full=True)
    assert (found.refused, found.notes) == ((), ())
    assert found.replayed == 400 * (3 if method == "stagewise" else 2)
    assert found.certificate is not None
    assert found.certificate.claimed


def said_again(folder: Path, **changes) -> None:
    """A certificate with other numbers, its words and its digest made to fit."""
    write_adapted(in_words(replace(read_adapted(folder), **changes)), folder)


def refused(folder: Path, task) -> str:
    found = check_adapted(folder, task=task, episodes=400, seed=0)
    assert not found.valid
    return " / ".join(found.refused)


def test_numbers_that_do_not_follow_are_refused(folder, meadow):
    c = read_adapted(folder)
    first, second = c.stages
    for changes, message in (
        ({"bound": 0.5}, "does not follow from the episodes"),
        ({"confidence": 0.999}, "base_risk of stage 1"),
        ({"horizon": c.horizon + 1}, "does not follow from the episodes of the base"),
        ({"stages": (first, replace(second, violations=second.violations + 1))}, "violations of stage 2"),
        (
            {"stages": (first, replace(second, posterior_bound=second.posterior_bound / 2))},
            "posterior_bound of stage 2",
        ),
        ({"stages": (replace(first, base_risk=first.base_risk / 2), second)}, "base_risk of stage 1"),
        ({"planned_stages": 1}, "do not fit the method"),
        ({"method": "ratio"}, "do not fit the method"),
        ({"asked_horizon": c.horizon}, "base_risk of stage 1"),
    ):
        said_again(folder, **changes)
        assert message in refused(folder, meadow)
        write_adapted(c, folder)
    write_adapted(replace(c, statement="It is safe."), folder)
    assert "statement does not follow" in refused(folder, meadow)


def test_a_changed_file_is_refused(folder, meadow):
    for file in ("base.safetensors", "task.safetensors", "adapted.json", "database.npz", "adapted-2.json", "policy.c"):
        data = (folder / file).read_bytes()
        (folder / file).write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
        assert f"{file} was changed after it was certified" in refused(folder, meadow)
        (folder / file).write_bytes(data)
    (folder / "certificate.json").write_bytes((folder / "certificate.json").read_bytes().replace(b"0.2", b"0.3", 1))
    assert "certificate.json: " in refused(folder, meadow)


def test_another_budget_is_refused_though_every_hash_fits(folder, meadow):
    base, task, budgets = load_parts(folder)
    save_adapted(base, task, (budgets[0], replace(budgets[1], log_alpha_per_step=9.0)), folder)
    c = read_adapted(folder)
    write_adapted(replace(c, files=fingerprints(folder, c.files)), folder)
    assert "other policies than those beside it" in refused(folder, meadow)


@pytest.mark.parametrize("method", ["gaussian", "stagewise"])
def test_other_c_is_refused_though_every_hash_fits(certified, meadow, tmp_path, method):
    folder = tmp_path / "out"
    shutil.copytree(certified[method], folder)
    text = (folder / "policy.c").read_text()
    (folder / "policy.c").write_text(text.replace("allowed * (1.0 - MARGIN)", "2.0 * allowed"))
    assert (folder / "policy.c").read_text() != text
    c = read_adapted(folder)
    write_adapted(replace(c, files=fingerprints(folder, c.files)), folder)
    assert "policy.c is not what this niwaki makes of the adapted policy" in refused(folder, meadow)


def test_stages_that_no_c_can_hold_are_refused_in_one_sentence(folder, meadow):
    base, task, budgets = load_parts(folder)
    mixed = (budgets[0], GaussianShift(0.01, 40, 1.0))
    save_adapted(base, task, mixed, folder)
    c = read_adapted(folder)
    stages = tuple(replace(stage, budget=plain(budget)) for stage, budget in zip(c.stages, mixed, strict=True))
    files, digest = fingerprints(folder, c.files), adapted_digest(base, task, mixed)
    write_adapted(replace(c, stages=stages, files=files, policy_sha256=digest), folder)
    assert "stages that hold the shift are not exported to C together" in refused(folder, meadow)


@pytest.mark.parametrize("name", ["database", "adapted-1"])
def test_invented_episodes_are_refused_though_every_hash_and_number_fits(certified, meadow, tmp_path, name):
    """Whoever turns a failure into a success must also have it flown."""
    folder = tmp_path / "out"
    shutil.copytree(certified["gaussian"], folder)
    d = load_database(folder, name)
    lengths = d.lengths.copy()
    lengths[int(np.argmin(lengths))] -= 1
    save_database(Database(d.facts, lengths, d.succeeded, d.endings), folder, name)
    c = read_adapted(folder)
    write_adapted(replace(c, files=fingerprints(folder, c.files)), folder)
    found = refused(folder, meadow)
    assert "1 of 400 episodes of" in found
    assert "ended otherwise than recorded" in found


def test_another_task_and_no_certificate_are_said(folder, meadow, tmp_path):
    other = replace(meadow, simulator=replace(meadow.simulator, horizon=39))
    assert "its simulator differs in 'horizon'" in refused(folder, other)
    with pytest.raises(NiwakiError, match="which is no bundled task: give it with --task"):
        check_adapted(folder)
    with pytest.raises(NiwakiError, match=r"there is no certificate\.json"):
        check_adapted(tmp_path)
    with pytest.raises(NiwakiError, match="at least one episode"):
        check_adapted(folder, task=meadow, episodes=0)


def test_it_abstains_where_its_own_flights_contradict_the_promise(certified):
    c = read_adapted(certified["gaussian"])
    bad = in_words(replace(c, stages=(replace(c.stages[-1], violations=200),)))
    assert not bad.claimed
    assert bad.statement.startswith("Nothing is claimed: the adapted policy failed in 200 of 400 episodes")


def test_what_is_no_certificate_of_an_adapted_policy_is_told_apart(folder, tmp_path):
    assert is_adapted(folder)
    assert not is_adapted(tmp_path)
    for text in ("[]", "{", json.dumps({"kind": "other"}), "[" * 100_000):
        (tmp_path / "certificate.json").write_text(text)
        assert not is_adapted(tmp_path)
    (tmp_path / "certificate.json").write_text(json.dumps({"kind": "adapted"}))
    with pytest.raises(NiwakiError, match="this is no certificate of an adapted policy"):
        read_adapted(tmp_path)
