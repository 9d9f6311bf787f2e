"""check: whatever was changed is refused, by name; what is sound is valid."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import pytest

from niwaki.certification import words
from niwaki.certification.artefact import fingerprints
from niwaki.certification.certificate import FILE, read_certificate, write_certificate
from niwaki.certification.certify import certify
from niwaki.certification.check import changed_files, check
from niwaki.certification.consistency import contradictions
from niwaki.certification.episodes import draw, scenario_digest
from niwaki.certification.plan import plan
from niwaki.tasks import load_task, with_specs
from niwaki.types import NiwakiError

from .conftest import CARELESS, SPECS, export, linear

FILES = ("policy.c", "policy.h", "policy.safetensors", "policy.onnx", "teacher.safetensors")


def test_a_sound_certificate_is_valid(certified, task, certificate):
    found = check(certified, task=task, seed=0)
    assert found.valid
    assert (found.refused, found.notes, found.certificate) == ((), (), certificate)
    assert found.replayed == 200


def test_all_episodes_can_be_flown_again(certified, task, certificate):
    found = check(certified, task=task, full=True)
    assert found.valid, found.refused
    assert found.replayed == certificate.episodes


def test_an_anytime_certificate_that_abstains_is_sound_too(task, tmp_path):
    export(CARELESS, tmp_path)
    certify(tmp_path, task, plan(0.02, confidence=0.9, episodes=1000, anytime=True))
    assert check(tmp_path, task=task).valid


@pytest.mark.parametrize("name", FILES)
def test_every_changed_byte_of_a_bound_file_is_refused_by_its_name(certified, certificate, name):
    data = (certified / name).read_bytes()
    for i in range(0, len(data), max(1, len(data) // 60)):
        (certified / name).write_bytes(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        assert changed_files(certificate, certified) == [f"{name} was changed after it was certified"]


@pytest.mark.parametrize("name", FILES)
def test_a_changed_or_missing_file_makes_a_check_fail(certified, task, name):
    (certified / name).write_bytes((certified / name).read_bytes() + b" ")
    assert check(certified, task=task).refused == (f"{name} was changed after it was certified",)
    (certified / name).unlink()
    (sentence,) = check(certified, task=task).refused
    assert sentence.startswith(f"{name}, which the certificate binds, cannot be read")


def test_a_changed_certificate_is_refused_by_its_name(certified, task):
    path = certified / FILE
    path.write_bytes(path.read_bytes().replace(b'"violations": ', b'"violations": 1', 1))
    found = check(certified, task=task)
    assert not found.valid
    assert found.certificate is None
    assert found.refused[0].startswith("certificate.json")


def edited(certificate, **changes):
    """The certificate with other values, its digest made anew by whoever writes it."""
    for name, value in changes.items():
        inner = isinstance(value, dict) and not isinstance(getattr(certificate, name), dict)
        value = replace(getattr(certificate, name), **value) if inner else value
        certificate = replace(certificate, **{name: value})
    return certificate


EDITS = {
    "violations": {"violations": 0},
    "rate": {"rate": 0.0},
    "bound": {"bound": 0.01},
    "attempt_confidence": {"attempt_confidence": 0.5},
    "method": {"method": "anytime"},
    "claimed": {"claimed": False},
    "reason": {"reason": "a whim"},
    "statement": {"statement": "It is safe."},
    "assumptions": {"assumptions": ()},
    "not_claimed": {"not_claimed": ()},
    "teacher": {"teacher": {"rate_difference_upper": 0.0}},
}


@pytest.mark.parametrize("field", EDITS)
def test_a_certificate_that_was_edited_and_digested_again_contradicts_itself(certified, certificate, task, field):
    write_certificate(edited(certificate, **EDITS[field]), certified)
    found = check(certified, task=task)
    assert f"{field} does not follow from the recorded episodes" in found.refused
    assert found.replayed == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"plan": {"confidence": 0.9999}},
        {"plan": {"attempt": 2}},
        {"plan": {"risk": 0.001}},
        {"plan": {"anytime": True}},
        {"plan": {"episodes": 331}},
        {"episodes": 329},
        {"specs": ()},
        {"teacher_record": None},
        {"teacher": {"better": 0}},
        {"returns": {"lower": 59.9}},
        {"record": {"digests": ()}},
    ],
)
def test_no_single_number_can_be_bettered(certificate, changes):
    assert contradictions(edited(certificate, **changes))


def test_a_rewritten_history_is_found_when_it_is_flown_again(certified, certificate, task):
    """Violations, and all that follows from them, taken out of the record: consistent, and a lie."""
    honest = certify(certified, task, certificate.plan).certificate
    none = {name: base64.b64encode(bytes(-(-330 // 8))).decode() for name in honest.record.violated}
    lie = replace(honest, record=replace(honest.record, violated=none), violations=0, rate=0.0)
    lie = replace(lie, specs=tuple(replace(spec, violations=0) for spec in lie.specs))
    lie = replace(lie, bound=1 - (1 - lie.attempt_confidence) ** (1 / lie.episodes))
    lie = replace(lie, statement=words.statement(lie))
    assert contradictions(lie) == []
    write_certificate(lie, certified)
    found = check(certified, task=task, full=True)
    assert not found.valid
    assert "broke other specifications than recorded" in found.refused[0]
    assert f"{honest.violations} of 330" in found.refused[0]


def test_other_returns_are_found_when_they_are_flown_again(certified, certificate, task):
    digests = ("0" * 16, *certificate.record.digests[1:])
    write_certificate(edited(certificate, record={"digests": digests}), certified)
    found = check(certified, task=task, full=True)
    assert found.refused == ("episodes flown again gave other returns, lengths or endings than recorded",)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"returns": {"mean": 59.99}}, "the mean return does not follow from the episodes"),
        ({"teacher": {"return_mean": 1.0}}, "the comparison with the teacher does not follow from the episodes"),
        ({"scenarios_sha256": "0" * 64}, "the scenarios that follow from policy.c are not the certified ones"),
    ],
)
def test_what_a_record_cannot_tell_is_found_by_flying_all_again(certified, certificate, task, changes, sentence):
    lie = edited(certificate, **changes)
    write_certificate(replace(lie, statement=words.statement(lie)), certified)
    assert check(certified, task=task, full=True).refused == (sentence,)


def test_another_policy_under_fresh_hashes_is_refused(certified, certificate, task):
    """All hashes fit, but the scenarios do not come from this C."""
    export(linear(0, 0.1, 1, 0.1), certified)
    write_certificate(replace(certificate, files=fingerprints(certified, FILES)), certified)
    assert check(certified, task=task).refused == (
        "the scenarios that follow from policy.c are not the certified ones",
    )


def test_hostile_c_is_refused_and_not_compiled(certified, certificate, task):
    trap = certified / "trap"
    run = f'\n#include <stdlib.h>\n__attribute__((constructor)) static void f(void) {{ system("touch {trap}"); }}\n'
    (certified / "policy.c").write_text((certified / "policy.c").read_text() + run)
    files = fingerprints(certified, FILES)
    write_certificate(replace(certificate, files=files), certified)
    assert not check(certified, task=task).valid
    rows = draw(task.simulator, files["policy.c"], attempt=1, n=certificate.episodes)
    write_certificate(replace(certificate, files=files, scenarios_sha256=scenario_digest(rows)), certified)
    (sentence,) = check(certified, task=task).refused
    assert sentence.startswith("policy.c is not what this niwaki makes of policy.safetensors")
    assert not trap.exists()


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "policy.exe"])
def test_a_certificate_may_bind_its_own_files_only(certificate, certified, name):
    found = changed_files(replace(certificate, files=certificate.files | {name: "0" * 64}), certified)
    assert found == [f"the certificate binds {name!r}, which is no file of a certificate"]


def test_a_certificate_must_bind_what_it_is_about(certificate, certified):
    for name in ("policy.c", "policy.h", "policy.safetensors", "teacher.safetensors"):
        files = {key: value for key, value in certificate.files.items() if key != name}
        assert changed_files(replace(certificate, files=files), certified) == [f"the certificate does not bind {name}"]


def test_another_task_is_refused_with_the_place(certified, task):
    other = replace(task, simulator=replace(task.simulator, horizon=61))
    (sentence,) = check(certified, task=other).refused
    assert sentence == "the task cartpole-v0 is another one than was certified: its simulator differs in 'horizon'"
    assert "differs in 'horizon'" in check(certified).refused[0]  # the bundled one flies 200 steps


def test_a_bundled_task_is_found_by_its_name(tmp_path):
    export(CARELESS, tmp_path)
    certify(tmp_path, with_specs(load_task("cartpole-v0"), SPECS), plan(0.9, confidence=0.9, episodes=60))
    assert check(tmp_path).valid


def test_a_task_of_ones_own_must_be_given(tmp_path, task):
    export(CARELESS, tmp_path)
    certify(tmp_path, replace(task, name="mine"), plan(0.9, confidence=0.9, episodes=60))
    with pytest.raises(NiwakiError, match="about 'mine', which is no bundled task: give it with --task"):
        check(tmp_path)
    assert check(tmp_path, task=replace(task, name="mine")).valid


def test_other_versions_are_a_note_and_bits_may_then_differ(certified, certificate, task):
    """As if it came from another machine, where returns have other last bits."""
    foreign = edited(
        certificate,
        versions=certificate.versions | {"numpy": "1.0"},
        record={"digests": tuple("0" * 16 for _ in certificate.record.digests)},
    )
    write_certificate(foreign, certified)
    found = check(certified, task=task)
    assert found.valid
    assert found.notes[0] == f"made with numpy 1.0, here is {np.__version__}"
    assert "differ from the recorded ones in some bits" in found.notes[1]


def test_a_folder_without_a_certificate_is_wrong_use(tmp_path):
    with pytest.raises(NiwakiError, match=r"there is no certificate\.json"):
        check(tmp_path)


def test_at_least_one_episode_is_flown_again(certified, task):
    with pytest.raises(NiwakiError, match="got 0"):
        check(certified, task=task, episodes=0)


def test_the_seed_says_which_episodes_are_flown_again(certified, certificate, task):
    """A lie in one block is found when that block is drawn, and only then."""
    digests = ("0" * 16, *certificate.record.digests[1:])
    write_certificate(edited(certificate, record={"digests": digests}), certified)
    verdicts = {seed: check(certified, task=task, episodes=100, seed=seed).valid for seed in range(6)}
    assert set(verdicts.values()) == {True, False}
    assert check(certified, task=task, episodes=100, seed=3).valid == verdicts[3]


def test_reading_back_is_what_was_checked(certified, certificate):
    assert read_certificate(certified) == certificate
