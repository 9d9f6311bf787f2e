"""The policy as it will run on the target: compiled where there is a compiler, mirrored where not."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from niwaki.compiler import find_compiler
from niwaki.policies import arithmetic
from niwaki.policies.c_source import random_observations
from niwaki.policies.compact import compact
from niwaki.policies.compiled import CompiledPolicy
from niwaki.policies.network import NetworkPolicy
from niwaki.types import Floats

TIMED_ROWS = 4096
TIMED_REPEATS = 15


@dataclass(frozen=True, eq=False)
class MirrorPolicy:
    """The deployed arithmetic in NumPy: the bits of the compiled code, some 3 microseconds a row."""

    policy: NetworkPolicy
    network: NetworkPolicy = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", compact(self.policy))

    @property
    def observation_size(self) -> int:
        return self.policy.observation_size

    def __call__(self, observations: Floats, /) -> NDArray:
        """Actions for observations [B, O]."""
        return arithmetic.mirror_act(self.network, observations)


def deployed(policy: NetworkPolicy) -> CompiledPolicy | MirrorPolicy:
    """The policy in the arithmetic it is shipped in."""
    return CompiledPolicy(policy) if find_compiler() else MirrorPolicy(policy)


def ns_per_call(policy: CompiledPolicy | MirrorPolicy) -> float | None:
    """Nanoseconds of one call inside C: the quickest of several passes over many observations (other work
    on the machine only ever adds time). None without a compiler."""
    if isinstance(policy, MirrorPolicy):
        return None
    rows = random_observations(policy.network, TIMED_ROWS)
    best = np.inf
    for _ in range(TIMED_REPEATS):
        start = time.perf_counter()
        policy(rows)
        best = min(best, time.perf_counter() - start)
    return float(best) / TIMED_ROWS * 1e9
