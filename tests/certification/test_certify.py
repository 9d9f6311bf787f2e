"""certify: what it flies, what it says, and when it says nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from niwaki.certification.artefact import describe_task, load_artefact
from niwaki.certification.bounds import anytime, clopper_pearson, share
from niwaki.certification.certificate import read_certificate
from niwaki.certification.certify import LOOK, certify
from niwaki.certification.differences import difference_bound
from niwaki.certification.episodes import draw
from niwaki.certification.plan import plan
from niwaki.certification.returns import betting_lower, student_lower
from niwaki.compiler import find_compiler
from niwaki.policies.arithmetic import mirror_act
from niwaki.policies.compact import compact
from niwaki.policies.deployed import MirrorPolicy
from niwaki.policies.storage import save_policy
from niwaki.rollout import rollout
from niwaki.types import NiwakiError

from .conftest import CARELESS, TEACHER, export, linear


@pytest.fixture
def flights(task, certificate):
    """The certificate's episodes of policy and teacher, flown by the NumPy mirror."""
    rows = draw(task.simulator, certificate.files["policy.c"], attempt=1, n=certificate.episodes)
    policies = (MirrorPolicy(CARELESS), MirrorPolicy(TEACHER))
    return [rollout(task.simulator, policy, rows, specs=task.specs) for policy in policies]


def test_it_counts_what_the_mirror_of_the_bytes_does_on_the_hash_seeded_scenarios(certificate, flights):
    policy, teacher = flights
    assert 10 < certificate.violations == policy.violated.sum() < 100
    assert certificate.rate == policy.violated.mean()
    assert {s.name: s.violations for s in certificate.specs} == policy.violations()
    assert certificate.teacher.violations == teacher.violated.sum()
    assert certificate.returns.mean == pytest.approx(policy.returns.mean(), rel=1e-12)
    assert certificate.teacher.return_mean == pytest.approx(teacher.returns.mean(), rel=1e-12)


def test_its_bounds_are_those_of_the_numbers(certificate, flights):
    policy, teacher = flights
    each = share(0.99, 1)
    assert certificate.bound == clopper_pearson(int(policy.violated.sum()), 330, confidence=each)
    assert (certificate.attempt_confidence, certificate.method) == (each, "clopper-pearson")
    worse = int((policy.violated & ~teacher.violated).sum())
    better = int((teacher.violated & ~policy.violated).sum())
    assert (certificate.teacher.worse, certificate.teacher.better) == (worse, better)
    assert certificate.teacher.rate_difference == pytest.approx(policy.violated.mean() - teacher.violated.mean())
    assert certificate.teacher.rate_difference_upper == difference_bound(worse, better, 330, confidence=0.95)
    assert certificate.returns.lower == betting_lower(policy.returns, floor=0.0, confidence=0.95)
    assert certificate.returns.method == "betting"


def test_it_binds_the_files_by_their_hashes(certificate, certified):
    names = {"policy.c", "policy.h", "policy.safetensors", "policy.onnx", "teacher.safetensors"}
    assert set(certificate.files) == names
    for name in names:
        assert certificate.files[name] == hashlib.sha256((certified / name).read_bytes()).hexdigest()
    assert "-O3" in certificate.compiler
    assert certificate.versions["numpy"] == np.__version__
    assert certificate.task["simulator"]["horizon"] == 60


def test_it_says_so_in_words(certificate):
    said = certificate.statement
    for part in (
        "Bounded: with confidence 0.99 the probability that an episode breaks always(abs(x) <= 0.24) or",
        f"{certificate.violations} violations in 330 fresh episodes, attempt 1",
        "sample distribution of the task cartpole-v0",
        "(exact, by betting)",
        f"The teacher violated in {certificate.teacher.violations} of the same episodes",
    ):
        assert part in said
    assert any("No return can be below 0" in line for line in certificate.assumptions)
    assert any("absence is not proved" in line for line in certificate.not_claimed)


def test_a_teacher_is_not_needed(task, tmp_path):
    export(CARELESS, tmp_path)
    certificate = certify(tmp_path, task, plan(0.5, confidence=0.9, episodes=40)).certificate
    assert certificate.teacher is None
    assert "teacher" not in certificate.statement
    assert set(certificate.files) == {"policy.c", "policy.h", "policy.safetensors"}
    assert read_certificate(tmp_path) == certificate


def test_the_same_bytes_and_plan_give_the_same_certificate_however_many_workers(task, tmp_path):
    made = []
    for name, workers in (("a", 1), ("b", 2)):
        export(CARELESS, tmp_path / name)
        made.append(certify(tmp_path / name, task, plan(0.5, confidence=0.9, episodes=80), workers=workers).certificate)
    assert made[0] == made[1]


def test_it_abstains_when_the_bound_is_above_the_risk_and_writes_that_down(task, tmp_path):
    export(CARELESS, tmp_path)
    certificate = certify(tmp_path, task, plan(0.05, confidence=0.99, episodes=200)).certificate
    assert not certificate.claimed
    assert certificate.bound > 0.05
    assert certificate.reason.endswith("is above the allowed risk 0.05")
    assert certificate.statement.startswith("Nothing is claimed: the bound 0.")
    assert read_certificate(tmp_path) == certificate


def test_anytime_stops_when_the_claim_is_reached(task, tmp_path):
    export(TEACHER, tmp_path)
    certificate = certify(
        tmp_path, task, plan(0.05, confidence=0.9, episodes=5000, anytime=True), teacher=CARELESS
    ).certificate
    assert certificate.claimed
    assert certificate.episodes % LOOK == 0
    assert certificate.episodes < 5000
    each = share(0.9, 1)
    assert certificate.bound == anytime(certificate.violations, certificate.episodes, confidence=each) <= 0.05
    assert (certificate.returns.lower, certificate.teacher.rate_difference_upper) == (None, None)
    assert any("was not fixed for them" in line for line in certificate.not_claimed)


def test_anytime_stops_when_the_claim_cannot_be_reached_any_more(task, tmp_path):
    export(CARELESS, tmp_path)
    certificate = certify(tmp_path, task, plan(0.02, confidence=0.9, episodes=1000, anytime=True)).certificate
    assert not certificate.claimed
    assert certificate.episodes == LOOK
    assert anytime(certificate.violations, 1000, confidence=share(0.9, 1)) > 0.02


def test_another_attempt_flies_other_scenarios(task, tmp_path):
    export(CARELESS, tmp_path)
    first, second = (
        certify(tmp_path, task, plan(0.5, confidence=0.9, episodes=60, attempt=j)).certificate for j in (1, 2)
    )
    assert first.scenarios_sha256 != second.scenarios_sha256
    assert second.attempt_confidence > first.attempt_confidence
    assert "attempt 2" in second.statement


def test_returns_without_a_floor_are_bounded_by_student_from_a_thousand_episodes_on(task, tmp_path):
    export(TEACHER, tmp_path)
    short = replace(task, simulator=replace(task.simulator, horizon=5))
    few = certify(tmp_path, short, plan(0.5, confidence=0.9, episodes=999)).certificate
    assert few.returns.lower is None
    many = certify(tmp_path, short, plan(0.5, confidence=0.9, episodes=1000), teacher=TEACHER).certificate
    assert (many.returns.method, many.returns.lower) == ("student", student_lower(np.full(1000, 5.0), confidence=0.95))
    assert "asymptotic, Student's t; all returns were the same" in many.statement
    assert many.teacher.return_difference_lower == 0.0


def test_progress_is_told_stage_by_stage(task, tmp_path):
    export(CARELESS, tmp_path)
    told = []
    planned = plan(0.5, confidence=0.9, episodes=40)
    certify(tmp_path, task, planned, teacher=TEACHER, progress=lambda *report: told.append(report))
    assert told[-1] == ("flying the teacher", 40, 40)
    assert ("flying the policy", 40, 40) in told


@pytest.mark.parametrize("file", ["policy.c", "policy.h", "policy.safetensors"])
def test_a_missing_file_is_named(task, tmp_path, file):
    export(CARELESS, tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(NiwakiError, match=file):
        certify(tmp_path, task, plan(0.5, confidence=0.9, episodes=10))


def test_c_that_is_not_that_of_the_weights_is_refused_and_not_compiled(task, tmp_path):
    export(CARELESS, tmp_path)
    trap = tmp_path / "trap"
    run = f'__attribute__((constructor)) static void f(void) {{ system("touch {trap}"); }}\n'
    source = (tmp_path / "policy.c").read_text()
    (tmp_path / "policy.c").write_text("#include <stdlib.h>\n" + source + run)
    with pytest.raises(NiwakiError, match=r"policy\.c is not what this niwaki makes of policy\.safetensors"):
        certify(tmp_path, task, plan(0.5, confidence=0.9, episodes=10))
    assert not trap.exists()
    export(CARELESS, tmp_path)
    save_policy(linear(0, 0, 1, 0.02), tmp_path / "policy.safetensors")
    with pytest.raises(NiwakiError, match=r"policy\.c is not what this niwaki makes"):
        certify(tmp_path, task, plan(0.5, confidence=0.9, episodes=10))


def test_a_header_that_is_not_that_of_the_weights_is_refused(task, tmp_path):
    export(CARELESS, tmp_path)
    (tmp_path / "policy.h").write_text((tmp_path / "policy.h").read_text().replace("int32_t", "int64_t"))
    with pytest.raises(NiwakiError, match=r"policy\.h is not what this niwaki makes"):
        certify(tmp_path, task, plan(0.5, confidence=0.9, episodes=10))


def test_without_a_compiler_there_is_no_certificate(task, tmp_path, monkeypatch):
    export(CARELESS, tmp_path)
    monkeypatch.setenv("CC", "no-such-compiler")
    assert find_compiler() is None
    with pytest.raises(NiwakiError, match="no C compiler found"):
        certify(tmp_path, task, plan(0.5, confidence=0.9, episodes=10))


def test_a_task_without_specifications_is_refused(task, tmp_path):
    export(CARELESS, tmp_path)
    with pytest.raises(NiwakiError, match="cartpole-v0 has no specification to certify"):
        certify(tmp_path, replace(task, specs=()), plan(0.5, confidence=0.9, episodes=10))


def test_the_artefact_is_the_network_of_the_folder(tmp_path):
    export(CARELESS, tmp_path)
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    expected = mirror_act(compact(CARELESS), rows)
    assert np.array_equal(mirror_act(compact(load_artefact(tmp_path)), rows), expected)


def test_the_description_of_a_task_holds_all_that_a_claim_depends_on(task):
    described = describe_task(task)["simulator"]
    simulator = task.simulator
    columns = (replace(simulator.columns[0], sample=(-0.01, 0.01)), *simulator.columns[1:])
    for other in (replace(simulator, horizon=61), replace(simulator, columns=columns)):
        assert describe_task(replace(task, simulator=other))["simulator"] != described


def test_two_specifications_of_one_name_are_refused(task, tmp_path):
    export(CARELESS, tmp_path)
    with pytest.raises(NiwakiError, match="two specifications have the same name"):
        certify(tmp_path, replace(task, specs=task.specs * 2), plan(0.5, confidence=0.9, episodes=10))
