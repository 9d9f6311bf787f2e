"""The C of an adapted policy: on real flights it acts as the reference did, budget after budget."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import GaussianShift, Odometer
from niwaki.adaptation.c_gaussian import FILES, TOLERANCE, c_gaussian, reference
from niwaki.policies.deployed import MirrorPolicy
from niwaki.policies.gaussian import GaussianPolicy, LogStd
from niwaki.policies.network import Head
from niwaki.policies.noise import episode_keys, normals
from niwaki.policies.sampled import SampledPolicy
from niwaki.rollout import rollout
from niwaki.types import NiwakiError

ONE = (GaussianShift.within(0.1, risk=0.01, horizon=12),)
THREE = (*ONE, GaussianShift(0.005, 12, 0.7, fraction=0.25), GaussianShift(0.005, 9, 0.4))
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")


def mirrored(policy: GaussianPolicy) -> SampledPolicy:
    return SampledPolicy(policy, MirrorPolicy(policy.network))


def build(policy: AdaptedPolicy, folder: Path, compiler: str, *flags: str) -> ctypes.CDLL:
    files = c_gaussian(policy)
    assert set(files) == set(FILES)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="ascii")
    sources = [name for name in files if name.endswith(".c")]
    subprocess.run(
        [compiler, *STRICT, *flags, "-fPIC", "-shared", *sources, "-o", "p.so"], cwd=folder, check=True, timeout=120
    )
    return ctypes.CDLL(str(folder / "p.so"))


def flown_by(library: ctypes.CDLL, stages: int, observations: np.ndarray, noise: np.ndarray):
    """Actions [T, A] and what is left of the budgets [T, stages]."""

    class State(ctypes.Structure):
        _fields_ = (("left", ctypes.c_double * stages), ("step", ctypes.c_int32))

    state, left, actions = State(), [], []
    library.policy_begin(ctypes.byref(state))
    for seen, drawn in zip(observations, noise, strict=True):
        action, seen = np.zeros(len(drawn), np.float32), np.ascontiguousarray(seen, np.float32)
        drawn = np.ascontiguousarray(drawn)
        library.policy_act(
            ctypes.byref(state), *(ctypes.c_void_p(array.ctypes.data) for array in (seen, drawn, action))
        )
        actions.append(action)
        left.append(list(state.left))
    return np.array(actions), np.array(left)


@pytest.mark.parametrize(("budgets", "flag"), [(ONE, "-O2"), (THREE, "-O0"), (THREE, "-O3")])
def test_on_real_flights_it_does_what_the_reference_did(homing, meadow, require_tool, tmp_path, budgets, flag):
    policy = AdaptedPolicy(
        mirrored(homing(0.3, 6.0, -1.0)), mirrored(homing(1.5, 8.0, -1.5)), budgets[-1], budgets[:-1]
    )
    library = build(policy, tmp_path, require_tool("gcc"), flag)
    assert library.policy_self_test() == 0
    rows = meadow.simulator.sample(np.random.default_rng(3), 25)
    flights = rollout(meadow.simulator, policy, rows, record=True)
    assert flights.recording is not None
    longest = 0.0
    for i, (length, key) in enumerate(zip(flights.lengths, episode_keys(rows), strict=True)):
        noise = np.array([normals(np.array([key]), t, 2)[0] for t in range(length)])
        seen = flights.recording.observations[i, :length]
        actions, left = flown_by(library, len(budgets), seen, noise)
        recorded = flights.recording.actions[i, :length]
        assert np.abs(actions - recorded).max() <= TOLERANCE
        longest = max(longest, float(np.abs(recorded - reference(policy, seen, noise)).max()))
        memories = tuple(budget.begin(1) for budget in budgets)
        for t in range(length):
            _, memories = policy.step(t, memories, seen[t : t + 1], noise[t : t + 1])
            assert left[t] == pytest.approx([memory[0] for memory in memories], rel=1e-12, abs=1e-12)
        assert left[-1][0] < ONE[0].shift ** 2
    assert longest == 0


@pytest.mark.parametrize("form", [LogStd("clamp", -20, 2), LogStd("clamp", -0.5, 0.1), LogStd("tanh", -5, 2)])
def test_networks_of_any_kind_and_every_form_of_deviation(make_network, require_tool, tmp_path, form):
    head = Head("squash", [-2.0, 0.0], [2.0, 1.0])
    pair = [
        mirrored(
            GaussianPolicy(make_network((5, 16, 4), ("tanh",), seed=s, normalized=True), head, LogStd("clamp", -20, 2))
        )
        for s in (1, 2)
    ]
    policy = AdaptedPolicy(pair[0], pair[1], THREE[-1], THREE[:-1])
    library = build(policy, tmp_path, require_tool("gcc"), "-O2")
    assert library.policy_self_test() == 0
    rng = np.random.default_rng(0)
    for scale in (1.0, 100.0):
        seen, noise = (rng.standard_normal((30, n)) * (scale if n == 5 else 1) for n in (5, 2))
        actions, _ = flown_by(library, 3, seen, noise)
        assert np.abs(actions - reference(policy, seen.astype(np.float32), noise)).max() <= 2 * TOLERANCE


def test_the_self_test_notices_another_budget(homing, require_tool, tmp_path):
    policy = AdaptedPolicy(mirrored(homing(0.3, 6.0, -1.0)), mirrored(homing(1.5, 8.0, -1.5)), *ONE)
    build(policy, tmp_path, require_tool("gcc"))
    text = (tmp_path / "policy.c").read_text()
    value = (ONE[0].shift ** 2).hex()
    (tmp_path / "policy.c").write_text(text.replace(value, (1.01 * ONE[0].shift ** 2).hex()))
    sources = [name for name in FILES if name.endswith(".c")]
    subprocess.run([require_tool("gcc"), "-fPIC", "-shared", *sources, "-o", "q.so"], cwd=tmp_path, check=True)
    assert ctypes.CDLL(str(tmp_path / "q.so")).policy_self_test() > 0


def test_other_budgets_are_refused(homing):
    pair = mirrored(homing(0.3, 6.0, -1.0)), mirrored(homing(1.5, 8.0, -1.5))
    with pytest.raises(NiwakiError, match="only Gaussian budgets are exported to C, not Odometer"):
        c_gaussian(AdaptedPolicy(*pair, Odometer(0.01, 2.0)))
