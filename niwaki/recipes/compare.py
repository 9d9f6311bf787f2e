"""compare: several networks on the same fresh scenarios."""

from __future__ import annotations

from collections.abc import Callable

from niwaki.evaluation import Row, paired_difference, policy_row, scenarios_for
from niwaki.policies.compact import compact
from niwaki.policies.deployed import deployed, ns_per_call
from niwaki.policies.network import NetworkPolicy
from niwaki.rollout import rollout
from niwaki.tasks import Task
from niwaki.types import Trajectories

Progress = Callable[[str, int, int], None]  # (stage, done, in all)


def shares(network: NetworkPolicy, teacher: NetworkPolicy) -> Row:
    """What share of the teacher's weights is gone, without and with biases; biases of dead units are gone too."""
    biases = sum(layer.bias.size for layer in compact(network).layers)
    return {
        "pruned": 1 - network.nonzero_weights / teacher.weights,
        "pruned_with_biases": 1 - (network.nonzero_weights + biases) / teacher.parameters,
    }


def compare(
    networks: dict[str, NetworkPolicy], task: Task, episodes: int, seed: int, progress: Progress
) -> dict[str, Row]:
    """A policy row for each network from the same fresh scenarios, and the paired difference of "policy" and
    "teacher", all flown as compiled C."""
    scenarios = scenarios_for(task.simulator, episodes, seed=seed)
    rows: dict[str, Row] = {}
    flights: dict[str, Trajectories] = {}
    for name, network in networks.items():
        flying = deployed(network)
        stage = f"evaluating {name.replace('_', ' ')}"
        advance = counted(progress, stage, episodes)
        flights[name] = rollout(task.simulator, flying, scenarios, specs=task.specs, progress=advance)
        rows[name] = policy_row(network, trajectories=flights[name], ns_per_call=ns_per_call(flying))
    return rows | {"paired_difference": paired_difference(flights["policy"], flights["teacher"])}


def counted(progress: Progress, stage: str, total: int) -> Callable[[int], None]:
    """A rollout's progress, which tells how many more, as a stage's, which tells how many in all."""
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        progress(stage, done, total)

    return advance
