"""Restore: give back the pruned weights that the recovery states ask for.

B. Gangopadhyay, P. Dasgupta, S. Dey: Safety Aware Neural Pruning for Deep Reinforcement Learning, 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from niwaki.policies.deployed import deployed
from niwaki.policies.gradients import forward, weight_gradients
from niwaki.policies.network import NetworkPolicy
from niwaki.rollout import CHUNK, rollout
from niwaki.types import Floats, Lockstep, NiwakiError, Policy, Simulator, Spec

FIRST_SHARE = 1 / 1024  # of a layer's pruned weights; every raise doubles it, and the tenth gives them all back
BLOCKS = (2, 4, 8, 16, 32)  # into which the restored weights are divided to find those that are not needed
AT_ONCE = 8  # counterexamples that an engine flies before looking whether one of them fails

Mask = NDArray[np.bool_]  # [W], over the weights of all layers one after the other


@dataclass(frozen=True, eq=False)
class Restoration:
    """What restoring led to."""

    network: NetworkPolicy
    corrected: NDArray[np.bool_]  # [B], of the counterexamples, as replayed
    restored: int  # weights that were given back
    simulations: int  # flights that were needed to find out

    @property
    def remaining(self) -> int:
        """Counterexamples on which the network still breaks a specification."""
        return int((~self.corrected).sum())


def restore(
    simulator: Simulator,
    network: NetworkPolicy,
    teacher: NetworkPolicy,
    *,
    scenarios: Floats,
    observations: Floats,
    specs: Sequence[Spec],
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Restoration:
    """The pruned network with as few of the teacher's weights given back as correct its counterexamples.

    `scenarios` [B, K] are the counterexamples, `observations` [N, O] the recovery states. The loss is the
    mean squared difference between the outputs of network and teacher (before the head) at these states. In
    every layer the share p of the pruned weights with the largest |gradient| takes the teacher's values, and
    p is doubled until no counterexample is left, each replayed in the deployed arithmetic. Gradients are
    taken anew at every p; where they are zero, as at a unit that is silent at these states, |weight| x mean
    |input| of the teacher decides. In the end, blocks of restored weights whose removal breaks nothing go.

    When even p = 1 does not correct them all, the best attempt is returned and `remaining` says how many are
    left. Raises NiwakiError when the networks differ in shape, and without scenarios, observations or specs.
    """
    _check(network, teacher, scenarios, observations, specs)
    replay = _Replay(simulator, scenarios, tuple(specs))
    pruned = (_weights(network) == 0) & (_weights(teacher) != 0)
    restored, share = np.zeros_like(pruned), FIRST_SHARE
    best, corrected = restored, replay.corrected(network)
    while not corrected.all() and share <= 1:
        current = _with_weights_of(teacher, network, restored)
        restored = _most_wanted(current, teacher, observations, pruned=pruned, restored=restored, share=share)
        now = replay.corrected(_with_weights_of(teacher, network, restored))
        if now.sum() > corrected.sum():
            best, corrected = restored, now
        progress("restoring", int(corrected.sum()), len(scenarios))
        share *= 2
    if corrected.all() and best.any():
        fewer = _needed(network, teacher, best, replay, progress)
        if replay.corrected(_with_weights_of(teacher, network, fewer)).all():
            best = fewer
    return Restoration(_with_weights_of(teacher, network, best), corrected, int(best.sum()), replay.simulations)


def _check(
    network: NetworkPolicy, teacher: NetworkPolicy, scenarios: Floats, observations: Floats, specs: Sequence[Spec]
) -> None:
    if network.sizes != teacher.sizes:
        raise NiwakiError(f"network and teacher differ in shape: {network.sizes} and {teacher.sizes}")
    for what, given in (("counterexample", scenarios), ("recovery state", observations), ("specification", specs)):
        if len(given) == 0:
            raise NiwakiError(f"restoring needs at least one {what}")


def _weights(network: NetworkPolicy) -> Floats:
    return np.concatenate([layer.weight.ravel() for layer in network.layers])


def _with_weights_of(teacher: NetworkPolicy, network: NetworkPolicy, restored: Mask) -> NetworkPolicy:
    weights = np.where(restored, _weights(teacher), _weights(network))
    parts = np.split(weights, np.cumsum([layer.weight.size for layer in network.layers])[:-1])
    layers = (replace(a, weight=w.reshape(a.weight.shape)) for a, w in zip(network.layers, parts, strict=True))
    return replace(network, layers=tuple(layers))


def _most_wanted(
    current: NetworkPolicy, teacher: NetworkPolicy, observations: Floats, *, pruned: Mask, restored: Mask, share: float
) -> Mask:
    """In every layer the given share of the pruned weights, rounded up: what is restored already, then by
    |gradient|, then by what they carry in the teacher."""
    seen, wanted = forward(current, observations), forward(teacher, observations)
    gradients = weight_gradients(current, seen, seen.outputs - wanted.outputs)
    more, start = np.zeros_like(pruned), 0
    for layer, x, gradient in zip(teacher.layers, wanted.inputs, gradients, strict=True):
        part = slice(start, start + layer.weight.size)
        carried = np.abs(layer.weight) * np.abs(x).mean(axis=0)
        order = np.lexsort((-carried.ravel(), -np.abs(gradient).ravel(), ~restored[part], ~pruned[part]))
        more[start + order[: int(np.ceil(share * pruned[part].sum()))]] = True
        start = part.stop
    return more


def _needed(
    network: NetworkPolicy,
    teacher: NetworkPolicy,
    restored: Mask,
    replay: _Replay,
    progress: Callable[[str, int, int], None],
) -> Mask:
    """The restored weights less the blocks without which all counterexamples stay corrected."""
    left, tried = np.flatnonzero(restored), 0
    for blocks in BLOCKS:
        for block in np.array_split(left, blocks):
            tried += 1
            fewer = np.isin(np.arange(len(restored)), np.setdiff1d(left, block))
            if len(block) and replay.seems_to_correct_all(_with_weights_of(teacher, network, fewer)):
                left = np.flatnonzero(fewer)
            progress("removing what is not needed", tried, sum(BLOCKS))
    return np.isin(np.arange(len(restored)), left)


class _Replay:
    """Flies the counterexamples and counts the flights."""

    def __init__(self, simulator: Simulator, scenarios: Floats, specs: tuple[Spec, ...]) -> None:
        self.simulator, self.scenarios, self.specs = simulator, scenarios, specs
        self.simulations = 0

    def corrected(self, network: NetworkPolicy) -> NDArray[np.bool_]:
        """[B]: whether the network, in the deployed arithmetic, keeps all specifications."""
        return ~self._violated(deployed(network), self.scenarios)

    def seems_to_correct_all(self, network: NetworkPolicy) -> bool:
        """The same of all of them, found out with few flights, and without a compiler's time."""
        at_once = CHUNK if isinstance(self.simulator, Lockstep) else AT_ONCE
        parts = (self.scenarios[i : i + at_once] for i in range(0, len(self.scenarios), at_once))
        return not any(self._violated(network, part).any() for part in parts)

    def _violated(self, policy: Policy, scenarios: Floats) -> NDArray[np.bool_]:
        self.simulations += len(scenarios)
        return rollout(self.simulator, policy, scenarios, specs=self.specs).violated
