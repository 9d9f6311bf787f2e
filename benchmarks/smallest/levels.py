"""How few values may weights have? A grid of 255, 31, 15, 7 or 3 values around zero for each layer, then no training.

Weights are rounded one after the other, those that cost least first, and the rest makes up for it, as `niwaki shrink`
does with 255 values (niwaki/pruning/surgeon.py). Of a few steps for a grid the one is taken that changes the
outputs least, so that 3 values are those of a ternary network.

    python benchmarks/smallest/levels.py TASK POLICY [--episodes 300]
"""

from __future__ import annotations

import argparse

import numpy as np

from niwaki.imitation import Lessons, choose, gather
from niwaki.policies.deployed import deployed
from niwaki.policies.loading import load_policy
from niwaki.policies.network import NetworkPolicy
from niwaki.pruning.surgeon import _settled
from niwaki.rollout import rollout
from niwaki.tasks import load_task

LARGEST = (127, 15, 7, 3, 1)  # of the whole numbers that a weight may be
SHARES = (1.0, 0.8, 0.6, 0.45, 0.3)  # of a layer's largest weight, at which its grid may end
LESSON_EPISODES, LESSONS = 40, 4000


def rounded(network: NetworkPolicy, lessons: Lessons, largest: int, share: float) -> NetworkPolicy:
    """The network with weights that are whole numbers up to `largest` times a step of their layer's."""
    ends = [share * max(float(np.abs(layer.weight).max()), 1e-9) for layer in network.layers]
    step = np.repeat(np.array(ends) / largest, [layer.weight.size for layer in network.layers])
    step = np.append(step, np.ones(network.parameters - network.weights))  # of biases, which stay as they are

    def nearest(values: np.ndarray, index: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(values / step[index]), -largest, largest) * step[index]

    return _settled(network, lessons, nearest, 0, bare=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("policy")
    parser.add_argument("--episodes", type=int, default=300)
    arguments = parser.parse_args()
    task, network = load_task(arguments.task), load_policy(arguments.policy)
    lesson_rows, rows = (
        task.simulator.sample(np.random.default_rng(i), n) for i, n in enumerate((LESSON_EPISODES, arguments.episodes))
    )
    met = rollout(task.simulator, deployed(network), lesson_rows, specs=task.specs, record=True)
    lessons = choose(gather(network, met), LESSONS, np.random.default_rng(2))

    def change(other: NetworkPolicy) -> float:
        return float(np.mean((other.outputs(lessons.observations) - lessons.outputs) ** 2))

    candidates = {largest: [rounded(network, lessons, largest, share) for share in SHARES] for largest in LARGEST}
    tried = {"as it is": network} | {f"{2 * k + 1} values": min(each, key=change) for k, each in candidates.items()}
    for name, other in tried.items():
        flown = rollout(task.simulator, deployed(other), rows, specs=task.specs)
        print(
            f"{name:12} {other.nonzero_parameters:6,} parameters, return {flown.returns.mean():8.1f},"
            f" violates in {flown.violated.mean():.1%} of {len(rows):,}",
            flush=True,
        )


if __name__ == "__main__":
    main()
