"""compare: several networks on the same fresh scenarios."""

from __future__ import annotations

from niwaki.evaluation import Row, paired_difference, policy_row, scenarios_for
from niwaki.policies.compact import compact
from niwaki.policies.deployed import deployed, ns_per_call
from niwaki.policies.network import NetworkPolicy
from niwaki.rollout import Stages, counted, rollout
from niwaki.tasks import Task
from niwaki.types import Trajectories


def shares(network: NetworkPolicy, teacher: NetworkPolicy) -> dict[str, float]:
    """What share of the teacher's weights is gone, without and with biases; biases of dead units are gone too."""
    biases = sum(layer.bias.size for layer in compact(network).layers)
    return {
        "pruned": 1 - network.nonzero_weights / teacher.weights,
        "pruned_with_biases": 1 - (network.nonzero_weights + biases) / teacher.parameters,
    }


def compare(
    networks: dict[str, NetworkPolicy], task: Task, episodes: int, seed: int, progress: Stages
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
