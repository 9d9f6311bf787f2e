"""The pictures of adapted policies that need flights: paths over the arena, and the ellipses of the actions."""

from __future__ import annotations

from collections.abc import Sequence

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.policies.sampled import SampledPolicy
from niwaki.reporting.adapted_flights import fly_paths, moments, scenarios
from niwaki.reporting.arena import by_policy, by_scenario
from niwaki.reporting.ellipses import panels
from niwaki.reporting.markup import Markup, join, tag
from niwaki.simulators.reach_avoid import ReachAvoid
from niwaki.tasks import Task
from niwaki.types import EpisodicPolicy, NiwakiError

PATHS, LAYOUTS = 60, 6  # episodes in one layout, and layouts with one episode each
MOST = 5  # policies over one another
Named = Sequence[tuple[str, AdaptedPolicy]]


def paths(
    task: Task, pair: tuple[SampledPolicy, SampledPolicy], policies: Named, *, horizon: int, seed: int,
    episodes: int = PATHS,
) -> Markup | None:  # fmt: skip
    """Where base, adapted policies and task policy go: many times in the nominal layout, and once in a few others
    where the task draws them. None for tasks that are not driven over the arena."""
    simulator = task.simulator
    if not isinstance(simulator, ReachAvoid) or simulator.reset_goal:
        return None
    if episodes < 1:
        raise NiwakiError(f"a report needs at least one episode, got {episodes}")
    flying: list[tuple[str, EpisodicPolicy]] = [("base", pair[0]), *policies, ("task policy", pair[1])]
    rows = scenarios(simulator, episodes, seed=seed, fixed=True)
    note = (
        f"{episodes} episodes of each policy in the layout in the middle of the ranges, each with noise of its own. "
        f"Orange: failed, by the hazard or by not being there within {horizon} steps."
    )
    found = [
        tag("h2", "Where they go"),
        tag("p", note),
        by_policy(simulator, rows, fly_paths(task, flying, rows, horizon=horizon)),
    ]
    if any(column.sample[0] != column.sample[1] for column in simulator.columns if column.name != "seed"):
        flying = [flying[0], *policies[: MOST - 2], flying[-1]]
        others = scenarios(simulator, LAYOUTS, seed=seed, fixed=False)
        flown = fly_paths(task, flying, others, horizon=horizon)
        found += [tag("h3", "On layouts as the task draws them"), by_scenario(simulator, others, flown)]
    return join(*found)


def ellipses(task: Task, policies: Named, *, seed: int) -> Markup | None:
    """What each adapted policy's actions were drawn from over one episode. None for a single action component."""
    if not policies or policies[0][1].base.policy.head.low.size < 2:
        return None
    axes = ("throttle", "steering") if isinstance(task.simulator, ReachAvoid) else ("action 1", "action 2")
    (row,) = scenarios(task.simulator, 1, seed=seed, fixed=True)
    note = (
        "One episode of the adapted policy, step by step, before the squash: one deviation around the mean. What it "
        "draws from lies as near to the task policy's as the budget allows."
    )
    drawn = [join(tag("h3", name), panels(moments(task.simulator, policy, row), axes)) for name, policy in policies]
    return join(tag("h2", "What the actions are drawn from"), tag("p", note), *drawn)
