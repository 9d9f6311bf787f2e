"""An adapted policy's C in memory: whole episodes at once, and what it chose on the way."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import Budget
from niwaki.adaptation.c_adapted import FILES, c_adapted
from niwaki.policies.deployed import MirrorPolicy
from niwaki.policies.gaussian import GaussianPolicy, LogStd
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.policies.sampled import SampledPolicy

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
SOURCES = [name for name in FILES if name.endswith(".c")]
HEAD = "  policy_head_act(drawn, action);\n"

# The base and what every stage made of it, means before deviations.
WATCH = """
double *watched;
static void watch(const normal *chain)
{
  int32_t i, k;
  if (!watched) return;
  for (k = 0; k <= (int32_t)(sizeof budget / sizeof *budget); ++k) {
    for (i = 0; i < POLICY_ACTIONS; ++i) *watched++ = chain[k].mean[i];
    for (i = 0; i < POLICY_ACTIONS; ++i) *watched++ = chain[k].deviation[i];
  }
}
"""
# n episodes of t steps.
FLIGHT = """
void fly(int32_t n, int32_t t, const float *seen, const double *noise, float *action, double *left, double *chosen)
{
  const int32_t stages = sizeof budget / sizeof *budget;
  int32_t i, j, k;
  watched = chosen;
  for (i = 0; i < n; ++i) {
    policy_state state;
    policy_begin(&state);
    for (j = 0; j < t; ++j) {
      policy_act(&state, seen, noise, action);
      for (k = 0; k < stages; ++k) *left++ = state.left[k];
      seen += POLICY_OBSERVATIONS;
      noise += POLICY_ACTIONS;
      action += POLICY_ACTIONS;
    }
  }
  watched = 0;
}
"""


@dataclass(frozen=True)
class Flown:
    """n episodes of T steps under S stages."""

    actions: np.ndarray  # [n, T, A]
    left: np.ndarray  # [n, T, S]
    chosen: np.ndarray  # [n, T, S + 1, 2, A]: means and deviations of the base and of every stage


@dataclass(frozen=True)
class InC:
    """The compiled C of an adapted policy."""

    library: ctypes.CDLL
    stages: int
    actions: int

    def fly(self, seen: np.ndarray, noise: np.ndarray) -> Flown:
        """Episodes that see [n, T, O] and draw [n, T, A]."""
        seen, noise = np.ascontiguousarray(seen, np.float32), np.ascontiguousarray(noise, np.float64)
        n, t = seen.shape[:2]
        actions = np.zeros((n, t, self.actions), np.float32)
        left, chosen = np.zeros((n, t, self.stages)), np.zeros((n, t, self.stages + 1, 2, self.actions))
        self.library.fly(n, t, *map(pointer, (seen, noise, actions, left, chosen)))
        return Flown(actions, left, chosen)

    def self_test(self) -> int:
        return int(self.library.policy_self_test())


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def written(policy: AdaptedPolicy, folder: Path, change: Callable[[str], str] = str, extra: str = "") -> None:
    """The files of the policy, `policy.c` with what the tests need beside it."""
    for name, text in c_adapted(policy).items():
        if name == "policy.c":
            text = change(text)
            assert HEAD in text
            text = text.replace("void policy_begin", WATCH + "\nvoid policy_begin", 1)
            text = text.replace(HEAD, "  watch(chain);\n" + HEAD) + FLIGHT + extra
        (folder / name).write_text(text, encoding="ascii")


@pytest.fixture(scope="session")
def write_c() -> Callable[..., None]:
    """Writes the C of an adapted policy, and of what watches it, into a folder."""
    return written


@pytest.fixture(scope="session")
def in_c(require_tool, tmp_path_factory) -> Callable[..., InC]:
    """Builds the C of an adapted policy, changed where a test wants that, with further C functions."""

    def build(policy, *flags, compiler="gcc", change=str, extra="") -> InC:
        folder = tmp_path_factory.mktemp("c")
        written(policy, folder, change, extra)
        command = [require_tool(compiler), *STRICT, *(flags or ("-O2",)), "-fPIC", "-shared", *SOURCES, "-o", "p.so"]
        subprocess.run(command, cwd=folder, check=True, timeout=120)
        return InC(ctypes.CDLL(str(folder / "p.so")), len(policy.budgets), policy.base.policy.head.low.size)

    return build


def as_it_flies(policy: GaussianPolicy) -> SampledPolicy:
    return SampledPolicy(policy, MirrorPolicy(policy.network))


@pytest.fixture(scope="session")
def mirrored() -> Callable[[GaussianPolicy], SampledPolicy]:
    """A policy as it flies, in NumPy."""
    return as_it_flies


@pytest.fixture(scope="session")
def wired() -> Callable[..., AdaptedPolicy]:
    """Builds adapted policies whose observations ARE base and task: means and logarithms of deviations of both."""

    def wires(first: int, actions: int) -> SampledPolicy:
        weight = np.zeros((2 * actions, 4 * actions))
        weight[np.arange(2 * actions), first + np.arange(2 * actions)] = 1
        head = Head("clip", [-1e3] * actions, [1e3] * actions)
        network = NetworkPolicy((Layer(weight, np.zeros(2 * actions)),))
        return as_it_flies(GaussianPolicy(network, head, LogStd("clamp", -30, 30)))

    def make(*budgets: Budget, actions: int = 2) -> AdaptedPolicy:
        return AdaptedPolicy(wires(0, actions), wires(2 * actions, actions), budgets[-1], budgets[:-1])

    return make


@pytest.fixture(scope="session")
def situations() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """What a wired policy sees [n, T, 4A] and draws [n, T, A]; `wide` stretches all scales."""

    def make(n: int, steps: int, *, wide: float = 1.0, seed: int = 0, actions: int = 2):
        rng = np.random.default_rng(seed)
        base_mean, base_log, mean, log = rng.normal(size=(4, n, steps, actions))
        base_log, log = wide * base_log, wide * (base_log + 0.6 * log) - 0.3
        mean = base_mean + np.exp(base_log) * mean * np.exp(rng.normal(size=mean.shape) * 2 * wide)
        seen = np.concatenate([base_mean, base_log, mean, log], axis=2)
        with np.errstate(over="ignore"):
            return seen.astype(np.float32), rng.normal(size=(n, steps, actions))

    return make


@pytest.fixture(scope="session")
def by_the_reference() -> Callable[..., Flown]:
    """What the Python reference does on the same episodes."""

    def fly(policy: AdaptedPolicy, seen: np.ndarray, noise: np.ndarray) -> Flown:
        memories = tuple(budget.begin(len(seen)) for budget in policy.budgets)
        actions, left, chosen = [], [], []
        for t in range(seen.shape[1]):
            task, chain = policy.task.distribution(seen[:, t]), [policy.base.distribution(seen[:, t])]
            for budget, memory in zip(policy.budgets, memories, strict=True):
                chain.append(budget.project(t, memory, task, chain[-1]))
            drawn = chain[-1].mean + chain[-1].std * noise[:, t]
            stages = zip(policy.budgets, memories, chain[1:], chain[:-1], strict=True)
            memories = tuple(budget.charge(memory, new, old, drawn) for budget, memory, new, old in stages)
            actions.append(policy.base.policy.actions(drawn))
            left.append(np.stack(memories, axis=1))
            chosen.append(np.stack([np.stack([g.mean, g.std], axis=1) for g in chain], axis=1))
        return Flown(*(np.stack(each, axis=1) for each in (actions, left, chosen)))

    return fly
