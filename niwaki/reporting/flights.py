"""Flying teacher and shipped policy over the same scenarios, and what the report shows of these flights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.rollout import Stages, counted, rollout
from niwaki.tasks import Task
from niwaki.types import Engine, Floats, NiwakiError, Simulator, Trajectories

DRAWN, SEARCHED = 0x4E90, 0x4E91  # the report's own dice: no claim and no search ever uses these scenarios
MEMORY = 30_000_000  # numbers of one recording at most
ENGINE_STEPS = 100_000  # that an engine flies at most, for each policy and each kind of start
ORIGINS = ("drawn", "searched", "counterexample")  # where a scenario of the report comes from


@dataclass(frozen=True, eq=False)
class Pair:
    """Teacher and shipped policy on the same scenarios, everything recorded."""

    teacher: Trajectories
    policy: Trajectories
    origins: NDArray[np.integer]  # [B], indices into ORIGINS


def fly_pair(
    task: Task,
    teacher: NetworkPolicy,
    policy: NetworkPolicy,
    counterexamples: Floats,
    *,
    episodes: int,
    seed: int,
    progress: Stages,
) -> Pair:
    """Both policies over `episodes` drawn scenarios, as many from the search's ranges where these are wider,
    and the counterexamples [N, K]. Fewer episodes where so many recordings would not fit into memory, or
    where an engine would take minutes to fly them."""
    if episodes < 1:
        raise NiwakiError(f"a report needs at least one episode, got {episodes}")
    simulator = task.simulator
    per_episode = simulator.horizon * (len(simulator.signals) + simulator.observation_size)
    most = MEMORY // per_episode
    if isinstance(simulator, Engine):
        most = min(most, ENGINE_STEPS // simulator.horizon)
    episodes = max(1, min(episodes, most))
    parts = [
        simulator.sample(np.random.default_rng([seed, DRAWN]), episodes),
        searched_scenarios(simulator, episodes, seed=seed),
        counterexamples[:episodes].reshape(-1, len(simulator.columns)),
    ]
    scenarios, origins = np.concatenate(parts), np.repeat(np.arange(3), [len(part) for part in parts])
    flown = []
    for stage, network in (("flying the teacher", teacher), ("flying the policy", policy)):
        advance = counted(progress, stage, len(scenarios))
        flown.append(rollout(simulator, deployed(network), scenarios, specs=task.specs, record=True, progress=advance))
    return Pair(flown[0], flown[1], origins)


def searched_scenarios(simulator: Simulator, n: int, *, seed: int) -> Floats:
    """Scenarios [n, K], uniform over what a falsifier may try; none where that is what is drawn anyway."""
    low, high = simulator.bounds.T
    if all(column.sample == column.search for column in simulator.columns):
        return np.empty((0, len(low)))
    rows = np.random.default_rng([seed, SEARCHED]).uniform(low, high, size=(n, len(low)))
    whole = [i for i, column in enumerate(simulator.columns) if column.integer]
    rows[:, whole] = np.floor(rows[:, whole])
    return rows
