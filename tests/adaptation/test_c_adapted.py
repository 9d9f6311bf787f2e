"""The C of an adapted policy: under every method it acts as the reference does, on any processor."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import FixedRatio, GaussianShift, Odometer
from niwaki.adaptation.c_adapted import FILES, LEFT, MOST_STEPS, TOLERANCE, c_adapted, reference
from niwaki.policies.gaussian import GaussianPolicy, LogStd
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.policies.noise import episode_keys, normals
from niwaki.rollout import rollout
from niwaki.types import NiwakiError

SHIFT = GaussianShift.within(0.1, risk=0.01, horizon=12)
METHODS = {
    "ratio": (FixedRatio(0.01, 12, 0.15),),
    "odometer": (Odometer(0.01, 2.3),),
    "gaussian": (SHIFT,),
    "ratios in stages": (FixedRatio(0.01, 12, 0.1), FixedRatio(0.005, 12, 0.2)),
    "odometers in stages": (Odometer(0.01, 2.3), Odometer(0.005, 1.0, fraction=0.7), Odometer(0.002, 2.0)),
    "gaussian in stages": (SHIFT, GaussianShift(0.005, 12, 0.7, fraction=0.25), GaussianShift(0.005, 9, 0.4)),
    "a ratio, then an odometer": (FixedRatio(0.01, 12, 0.1), Odometer(0.005, 1.0)),
}
FLAGS = {"ratio": "-O2", "odometer": "-O0", "gaussian": "-O3"}
SOURCES = [name for name in FILES if name.endswith(".c")]


def memories_of(budgets, left):
    """What the C has left, as the reference counts it: a fixed ratio has no memory."""
    return left * [not isinstance(budget, FixedRatio) for budget in budgets]


@pytest.mark.parametrize("method", ["ratio", "odometer", "gaussian", "odometers in stages", "gaussian in stages"])
def test_on_real_flights_it_does_what_the_reference_did(homing, meadow, mirrored, in_c, method):
    budgets = METHODS[method]
    pair = mirrored(homing(0.3, 6.0, -1.0)), mirrored(homing(1.5, 8.0, -1.5))
    policy = AdaptedPolicy(*pair, budgets[-1], budgets[:-1])
    built = in_c(policy, FLAGS.get(method, "-O1"))
    assert built.self_test() == 0
    rows = meadow.simulator.sample(np.random.default_rng(3), 3)
    flights = rollout(meadow.simulator, policy, rows, record=True)
    assert flights.recording is not None
    for i, (length, key) in enumerate(zip(flights.lengths, episode_keys(rows), strict=True)):
        noise = np.array([normals(np.array([key]), t, 2)[0] for t in range(length)])
        seen = flights.recording.observations[i, :length]
        flown = built.fly(seen[None], noise[None])
        recorded = flights.recording.actions[i, :length]
        actions, memories = reference(policy, seen, noise)
        assert np.array_equal(recorded, actions)
        assert np.abs(flown.actions[0] - recorded).max() <= TOLERANCE
        np.testing.assert_allclose(memories_of(budgets, flown.left[0]), memories, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_on_thousands_of_random_steps_it_does_what_the_reference_does(
    wired, in_c, situations, by_the_reference, method
):
    budgets = METHODS[method]
    policy = wired(*budgets)
    seen, noise = situations(150, 14, wide=0.5, seed=1)
    ours, theirs = in_c(policy).fly(seen, noise), by_the_reference(policy, seen, noise)
    base_std = theirs.chosen[:, :, 0, 1]
    for k in range(1, len(budgets) + 1):
        off = ours.chosen[:, :, k] - theirs.chosen[:, :, k]
        assert (np.abs(off) <= 1e-7 * base_std[:, :, None]).all()
    off = memories_of(budgets, ours.left) - theirs.left
    assert (np.abs(off) <= LEFT * (1 + np.abs(theirs.left))).all()
    assert (np.abs(ours.actions - theirs.actions) <= TOLERANCE * (1 + np.abs(theirs.actions))).all()


@pytest.mark.parametrize("method", ["ratio", "odometer", "gaussian", "odometers in stages"])
def test_without_finite_numbers_it_is_the_base_and_nothing_is_spent(wired, in_c, situations, method):
    policy = wired(*METHODS[method])
    built = in_c(policy)
    seen, noise = situations(40, 3, wide=0.5, seed=2)
    alone = seen.copy()
    alone[:, 1, 4:] = alone[:, 1, :4]  # in the second step the task is the base itself
    expected = built.fly(alone, noise)
    assert (expected.left[:, 1] == expected.left[:, 0]).all()
    for column in (4, 5):  # the task's means
        for hostile in (np.nan, np.inf, -np.inf):
            seen[:, 1] = alone[:, 1]
            seen[:, 1, column] = hostile
            found = built.fly(seen, noise)
            assert np.array_equal(found.actions, expected.actions)
            assert np.array_equal(found.left, expected.left)
    seen[:, 1] = np.nan
    found = built.fly(seen, noise)
    assert np.array_equal(found.left, expected.left)
    assert np.array_equal(found.actions[:, 1], policy.base.policy.actions(np.full((40, 2), np.nan)))
    assert np.array_equal(found.actions[:, 2], expected.actions[:, 2])


@pytest.mark.parametrize("method", ["ratio", "odometers in stages", "gaussian in stages"])
def test_huge_numbers_keep_the_budget_finite_and_do_not_stop_it(wired, in_c, situations, method):
    built = in_c(wired(*METHODS[method]), "-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all")
    seen, noise = situations(200, 12, wide=30.0, seed=3)
    noise[::5] *= 1e200
    noise[1::5] = np.nan
    found = built.fly(np.clip(seen, -3e38, 3e38), noise)
    assert np.isfinite(found.left).all()
    assert (found.left >= 0).all()
    assert np.isfinite(found.chosen).all()


@pytest.mark.parametrize(
    "exhausted", [FixedRatio(0.01, 9, 0.0), Odometer(0.01, 0.0), GaussianShift(0.01, 9, 0.0), FixedRatio(0.01, 1, 2.0)]
)
def test_an_exhausted_budget_leaves_the_base(wired, in_c, situations, exhausted):
    seen, noise = situations(100, 4)
    found = in_c(wired(exhausted)).fly(seen[:, 1:], noise[:, 1:])
    steps = slice(1 if exhausted.horizon == 1 else 0, None) if isinstance(exhausted, FixedRatio) else slice(None)
    assert np.array_equal(found.chosen[:, steps, 0], found.chosen[:, steps, 1])


@pytest.mark.parametrize(
    ("method", "form"),
    [
        ("odometers in stages", LogStd("clamp", -20, 2)),
        ("odometers in stages", LogStd("tanh", -5, 2)),
        ("gaussian in stages", LogStd("clamp", -0.5, 0.1)),
        ("gaussian in stages", LogStd("tanh", -5, 2)),
    ],
)
def test_networks_of_any_kind_and_every_form_of_deviation(make_network, mirrored, in_c, method, form):
    head = Head("squash", [-2.0, 0.0], [2.0, 1.0])
    pair = [
        mirrored(GaussianPolicy(make_network((5, 16, 4), ("tanh",), seed=s, normalized=True), head, other))
        for s, other in ((1, form), (2, LogStd("clamp", -20, 2)))
    ]
    budgets = METHODS[method]
    policy = AdaptedPolicy(*pair, budgets[-1], budgets[:-1])
    built = in_c(policy, "-O2")
    assert built.self_test() == 0
    rng = np.random.default_rng(0)
    for scale in (1.0, 100.0):
        seen, noise = (rng.standard_normal((1, 30, n)) * (scale if n == 5 else 1) for n in (5, 2))
        actions, _ = reference(policy, seen[0].astype(np.float32), noise[0])
        assert np.abs(built.fly(seen, noise).actions[0] - actions).max() <= 2 * TOLERANCE


PROGRAM = """
#include <stdio.h>
int main(void)
{
  static float seen[EPISODES * STEPS * POLICY_OBSERVATIONS], action[EPISODES * STEPS * POLICY_ACTIONS];
  static double noise[EPISODES * STEPS * POLICY_ACTIONS], left[EPISODES * STEPS * 3];
  static double chosen[EPISODES * STEPS * 8 * POLICY_ACTIONS];
  if (policy_self_test()) return 9;
  if (fread(seen, sizeof seen, 1, stdin) != 1 || fread(noise, sizeof noise, 1, stdin) != 1) return 8;
  fly(EPISODES, STEPS, seen, noise, action, left, chosen);
  fwrite(action, sizeof action, 1, stdout);
  fwrite(left, sizeof left, 1, stdout);
  fwrite(chosen, sizeof chosen, 1, stdout);
  return 0;
}
"""
BUILDS = [
    (("gcc", "-O0"), ()),
    (("gcc", "-O3", "-march=native"), ()),
    (("clang", "-O3", "-march=native"), ()),
    (("aarch64-linux-gnu-gcc", "-O3", "-static"), ("qemu-aarch64",)),
    (("arm-linux-gnueabihf-gcc", "-O2", "-mfpu=neon-vfpv4", "-mfloat-abi=hard", "-static"), ("qemu-arm",)),
]


@pytest.mark.parametrize("method", ["odometers in stages", "gaussian in stages"])
def test_every_compiler_and_processor_gives_the_same_bits(wired, write_c, situations, require_tool, tmp_path, method):
    seen, noise = situations(40, 12, wide=1.0, seed=6)
    numbers = seen.tobytes() + noise.tobytes()
    sizes = PROGRAM.replace("EPISODES", "40").replace("STEPS", "12")
    write_c(wired(*METHODS[method]), tmp_path, extra=sizes)
    answers = set()
    for (compiler, *flags), emulator in BUILDS:
        command = [require_tool(compiler), *flags, "-std=gnu17", *SOURCES, "-o", "fly"]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
        run = [*map(require_tool, emulator), str(tmp_path / "fly")]
        answers.add(subprocess.run(run, input=numbers, capture_output=True, check=True, timeout=120).stdout)
    assert len(answers) == 1
    assert len(answers.pop()) == 40 * 12 * (2 * 4 + 3 * 8 + 8 * 2 * 8)


@pytest.mark.parametrize("method", ["ratio", "odometer", "gaussian"])
def test_it_needs_no_library_and_warns_of_nothing_on_a_microcontroller(wired, require_tool, tmp_path, method):
    compiler, names = require_tool("arm-none-eabi-gcc"), require_tool("arm-none-eabi-nm")
    for name, text in c_adapted(wired(*METHODS[method])).items():
        (tmp_path / name).write_text(text, encoding="ascii")
    flags = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-Os", "-ffreestanding")
    strict = ("-std=c99", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-pedantic", "-Werror")
    subprocess.run([compiler, *flags, *strict, "-c", "policy.c", "-o", "policy.o"], cwd=tmp_path, check=True)
    said = subprocess.run([names, "-u", "policy.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    needed = {line.split()[-1] for line in said.splitlines()}
    assert not {name for name in needed if not name.startswith(("__aeabi_", "policy_"))}
    assert {"memcpy", "__aeabi_memcpy", "__aeabi_memcpy8", "malloc"}.isdisjoint(needed)


@pytest.mark.parametrize("method", ["ratio", "odometer", "gaussian"])
def test_the_self_test_notices_another_budget(homing, mirrored, in_c, method):
    (budget,) = METHODS[method]
    number = {"ratio": "log_alpha_per_step", "odometer": "log_budget"}.get(method)
    value = SHIFT.shift**2 if number is None else getattr(budget, number)

    def change(text):
        assert value.hex() in text
        head, tail = text.split("};", 1)  # of the table of budgets, not of what is expected
        return head.replace(value.hex(), (1.01 * value).hex()) + "};" + tail

    policy = AdaptedPolicy(mirrored(homing(0.3, 6.0, -1.0)), mirrored(homing(1.5, 8.0, -1.5)), budget)
    assert in_c(policy, change=change).self_test() > 0


def test_what_cannot_be_kept_is_refused(wired):
    with pytest.raises(NiwakiError, match="hold the ratio and stages that hold the shift are not exported to C"):
        c_adapted(wired(Odometer(0.01, 2.0), SHIFT))
    wide = GaussianPolicy(
        NetworkPolicy((Layer(np.zeros((8194, 1)), np.zeros(8194)),)), Head("clip", [-1.0] * 4097, [1.0] * 4097)
    )
    policy = wired(SHIFT)
    for part in (policy.base, policy.task):
        object.__setattr__(part, "policy", wide)
    with pytest.raises(NiwakiError, match="at most 4096 actions is exported to C, this has 4097"):
        c_adapted(policy)


def test_a_step_counter_that_is_full_stays_with_the_base(wired, in_c, situations):
    built = in_c(wired(Odometer(0.01, 2.3)))

    class State(ctypes.Structure):
        _fields_ = (("left", ctypes.c_double), ("step", ctypes.c_int32))

    state = State(2.3, MOST_STEPS)
    seen, noise = (np.ascontiguousarray(each[0, 0]) for each in situations(1, 1))
    action, chosen = np.zeros(2, np.float32), np.zeros((2, 2, 2))
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (seen, noise, action)]
    watched = ctypes.c_void_p.in_dll(built.library, "watched")
    watched.value = chosen.ctypes.data
    built.library.policy_act(ctypes.byref(state), *pointers)
    assert np.array_equal(chosen[0], chosen[1])
    assert (state.left, state.step) == (2.3, MOST_STEPS)
