"""CompiledPolicy: the mirror's bits, whatever the network, and plain sentences where it cannot be."""

import itertools
import multiprocessing
import pickle
import re
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from niwaki.compiler import find_compiler
from niwaki.policies import compiled as module
from niwaki.policies.arithmetic import mirror_act
from niwaki.policies.c_source import random_observations
from niwaki.policies.compact import compact
from niwaki.policies.compiled import Built, CompiledPolicy
from niwaki.policies.network import ACTIVATIONS, Head
from niwaki.types import Discrete, NiwakiError


def head_of(kind, size):
    low, high = np.linspace(-2, -1, size), np.linspace(0.5, 3, size)
    return Head(kind, low, high, limit=2.0) if kind in ("clip", "squash") else Head(kind)


# Sizes around every boundary of the kernels: LANES and four times LANES outputs, NARROW_OUTPUTS, eight partial sums.
SIZES = [
    (1, 1),
    (4, 2),
    (3, 17, 33, 1),
    (8, 64, 64, 4),
    (24, 128, 128, 4),
    (8, 300, 20, 2),
    *((9, width, 6) for width in (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 95, 97, 129)),
    *((width, 5) for width in (15, 16, 17, 23, 24, 25, 31, 32, 33)),
    (1, 16, 1),
    (40, 15, 16, 17, 3),
]
COMBINATIONS = list(itertools.product(ACTIVATIONS, ("raw", "argmax", "clip", "squash"), (False, True)))
TABLE = [
    (SIZES[i % len(SIZES)], *COMBINATIONS[i % len(COMBINATIONS)]) for i in range(max(len(SIZES), len(COMBINATIONS)))
]


def special_observations(size):
    """Every finite value a sensor should never give: zeros, denormals, the largest floats, mixed with usual ones."""
    values = np.array(
        [0.0, -0.0, 1e-45, -1e-40, 1.17e-38, 1e30, -1e30, 3.4028235e38, -3.4028235e38, 1, -2.5], np.float32
    )
    rng = np.random.default_rng(0)
    rows = [np.full(size, v, np.float32) for v in values]
    return np.concatenate([rows, rng.choice(values, size=(300, size)), rng.choice(values[:5], size=(100, size))])


@pytest.mark.parametrize(("sizes", "activation", "head", "normalized"), TABLE)
def test_the_compiled_policy_gives_the_mirrors_bits(
    make_network, assert_same_bits, require_tool, sizes, activation, head, normalized
):
    require_tool("cc")
    policy = make_network(sizes, (activation,), head_of(head, sizes[-1]), normalized=normalized, density=0.8)
    network = compact(policy)
    observations = np.concatenate([random_observations(network, 3000, seed=1), special_observations(sizes[0])])
    actions = CompiledPolicy(policy)(observations)
    assert actions.dtype == (np.int32 if policy.discrete else np.float32)
    assert_same_bits(actions, mirror_act(network, observations))


def test_a_policy_that_ignores_its_input_compiles_too(make_network, assert_same_bits):
    policy = make_network((5, 8, 3), head=Head("argmax"), normalized=True, density=0.0)
    x = random_observations(policy, 100)
    actions = CompiledPolicy(policy)(x)
    assert_same_bits(actions, mirror_act(compact(policy), x))
    assert len(set(actions.tolist())) == 1


@pytest.fixture(scope="module")
def policy(make_network):
    return make_network((4, 16, 2), normalized=True)


@pytest.fixture(scope="module")
def fast(policy, require_tool):
    require_tool("cc")
    return CompiledPolicy(policy)


def test_one_row_gives_the_bits_it_has_in_a_batch_and_float64_is_taken(fast):
    x = np.random.default_rng(0).normal(size=(20, 4))
    together = fast(x)
    alone = np.concatenate([fast(x[i : i + 1]) for i in range(20)])
    np.testing.assert_array_equal(alone.view(np.int32), together.view(np.int32))


def test_an_action_is_not_overwritten_by_the_next_call(fast):
    first = fast(np.zeros((1, 4)))
    kept = first.copy()
    fast(np.ones((1, 4)))
    np.testing.assert_array_equal(first, kept)


def test_no_rows_give_no_actions(fast):
    assert fast(np.zeros((0, 4))).shape == (0, 2)


def test_rows_that_are_not_contiguous_are_read_correctly(fast):
    x = np.random.default_rng(0).normal(size=(10, 8)).astype(np.float32)
    np.testing.assert_array_equal(fast(x[:, ::2]), fast(x[:, ::2].copy()))


@pytest.mark.parametrize("shape", [(4,), (1, 3), (1, 1), (1,), (2, 5), (3, 1), (1, 4, 1), ()])
def test_observations_of_another_shape_are_refused(fast, shape):
    with pytest.raises(NiwakiError, match=r"observations must be \[B, 4\], got \("):
        fast(np.zeros(shape, np.float32))


def test_it_says_what_it_is(fast, policy, make_network):
    assert fast.observation_size == 4
    assert fast.action_space == policy.action_space
    chosen = CompiledPolicy(make_network((2, 3), head=Head("argmax")), name="batch")
    assert chosen.action_space == Discrete(3)
    assert chosen.c.name == "batch"


def test_it_travels_to_another_process_as_its_network(fast):
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    assert b"ELF" not in pickle.dumps(fast)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fast))(x), fast(x))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(fast, (x,)), fast(x))


def test_a_pickle_that_comes_twice_is_compiled_once(fast):
    data = pickle.dumps(fast)
    assert pickle.loads(data) is pickle.loads(data)


def test_a_pickle_brings_no_second_library_unless_the_first_is_gone(policy, monkeypatch):
    first, x = CompiledPolicy(policy), np.ones((1, 4), dtype=np.float32)
    bits = first(x)
    monkeypatch.setattr(module, "_rebuilt", {})
    assert pickle.loads(pickle.dumps(first)).built == first.built
    module._rebuilt.clear()
    first.built = Built("/nonexistent/policy.so", first.built.command)  # as it looks from another machine
    again = pickle.loads(pickle.dumps(first))
    assert Path(again.built.library).exists()
    np.testing.assert_array_equal(again(x), bits)


def test_its_files_go_when_it_goes(policy):
    short = CompiledPolicy(policy)
    folder = Path(short.built.library).parent
    assert folder.is_dir()
    del short
    assert not folder.exists()


def test_code_that_fails_its_self_test_is_refused(policy, monkeypatch):
    def corrupted(network, *, name):
        c = c_source(network, name=name)
        flipped = re.sub(r"(weights_0\[.*\n  )(-?)", lambda m: m[1] + ("" if m[2] else "-"), c.source, count=1)
        return replace(c, source=flipped)

    c_source = module.c_source
    monkeypatch.setattr(module, "c_source", corrupted)
    with pytest.raises(NiwakiError, match="fails its own self-test"):
        CompiledPolicy(policy)


def test_without_a_compiler_it_says_what_to_install(policy, monkeypatch):
    monkeypatch.setenv("CC", "/nonexistent")
    assert find_compiler() is None
    with pytest.raises(NiwakiError, match="install gcc or clang, or set CC"):
        CompiledPolicy(policy)


def fake_compiler(folder, script):
    path = folder / "fakecc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_compiler_that_fails_is_quoted(policy, monkeypatch, tmp_path):
    monkeypatch.setenv("CC", fake_compiler(tmp_path, "echo 'disk is on fire' >&2; exit 1"))
    with pytest.raises(NiwakiError, match="cannot compile the policy: disk is on fire"):
        CompiledPolicy(policy)


def test_a_compiler_that_fails_in_silence_is_reported_by_its_exit_code(policy, monkeypatch, tmp_path):
    monkeypatch.setenv("CC", fake_compiler(tmp_path, "exit 3"))
    with pytest.raises(NiwakiError, match="exit code 3"):
        CompiledPolicy(policy)


def test_a_compiler_that_knows_no_native_march_gets_portable_flags(policy, monkeypatch, tmp_path):
    real = shutil.which("cc")
    if real is None:
        pytest.skip("needs cc")
    refuse = 'case "$*" in *-march=native*) echo "unknown argument -march=native" >&2; exit 1;; esac'
    monkeypatch.setenv("CC", fake_compiler(tmp_path, f'{refuse}\nexec {real} "$@"'))
    assert "-march=native" not in CompiledPolicy(policy).built.command
