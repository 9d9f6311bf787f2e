"""What the report flies, and what it shows of these flights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from niwaki.policies.deployed import deployed
from niwaki.policies.loading import load_policy
from niwaki.policies.network import NetworkPolicy
from niwaki.reporting.cases import FRAMES, SCENES, scene, worst_cases
from niwaki.reporting.flights import ENGINE_STEPS, Pair, fly_pair, searched_scenarios
from niwaki.reporting.reach_tube import ENOUGH, limits, reach_tube
from niwaki.reporting.starts import start_map, telling
from niwaki.rollout import rollout, take_over
from niwaki.specs import parse_spec
from niwaki.tasks import Task, load_task
from niwaki.types import Column, NiwakiError

from .conftest import pruned

NONE = np.empty((0, 10))


@pytest.fixture(scope="module")
def wide() -> Task:
    """CartPole whose search may start further out than the task does."""
    task = load_task("cartpole")
    columns = tuple(replace(c, search=(-0.15, 0.15)) if c.name == "theta" else c for c in task.simulator.columns)
    return replace(task, simulator=replace(task.simulator, columns=columns, horizon=150))


@pytest.fixture(scope="module")
def teacher(wide: Task) -> NetworkPolicy:
    return load_policy("cartpole").for_actions(wide.simulator.action_space)


@pytest.fixture(scope="module")
def pair(wide: Task, teacher: NetworkPolicy) -> Pair:
    found = wide.simulator.sample(np.random.default_rng(7), 3)
    return fly_pair(
        wide, teacher, pruned(teacher, 0.8), found, episodes=80, seed=3, progress=lambda stage, done, total: None
    )


def test_both_policies_fly_the_same_starts_of_three_kinds(pair: Pair) -> None:
    assert np.array_equal(pair.teacher.scenarios, pair.policy.scenarios)
    assert np.bincount(pair.origins).tolist() == [80, 80, 3]
    theta = pair.policy.scenarios[:, 2]
    assert np.abs(theta[pair.origins == 0]).max() <= 0.05
    assert 0.05 < np.abs(theta[pair.origins == 1]).max() <= 0.15


def test_the_scenarios_are_the_reports_own(pair: Pair, wide: Task) -> None:
    again = fly_pair(
        wide, load_policy("cartpole"), load_policy("cartpole"), NONE, episodes=80, seed=3, progress=lambda *_: None
    )
    other = fly_pair(
        wide, load_policy("cartpole"), load_policy("cartpole"), NONE, episodes=80, seed=4, progress=lambda *_: None
    )
    assert np.array_equal(again.policy.scenarios, pair.policy.scenarios[:160])
    assert not np.isin(other.policy.scenarios[:, 0], pair.policy.scenarios[:, 0]).any()


def test_the_search_ranges_are_flown_only_where_they_are_wider() -> None:
    assert searched_scenarios(load_task("cartpole").simulator, 9, seed=0).shape == (0, 10)


def test_whole_columns_stay_whole() -> None:
    seeds = searched_scenarios(_wider("x"), 50, seed=0)[:, -1]
    assert np.array_equal(seeds, np.floor(seeds))


def _wider(name: str):
    simulator = load_task("cartpole").simulator
    return replace(
        simulator, columns=tuple(replace(c, search=(-1.0, 1.0)) if c.name == name else c for c in simulator.columns)
    )


def test_no_episodes_are_refused(wide: Task, teacher: NetworkPolicy) -> None:
    with pytest.raises(NiwakiError, match="at least one episode, got 0"):
        fly_pair(wide, teacher, teacher, NONE, episodes=0, seed=0, progress=lambda *_: None)


def test_an_engine_flies_no_more_than_takes_moderate_time(teacher: NetworkPolicy) -> None:
    task = load_task("CartPole-v1")
    flown = fly_pair(task, teacher, teacher, np.empty((0, 1)), episodes=10**6, seed=0, progress=lambda *_: None)
    assert len(flown.policy) == ENGINE_STEPS // 500


# ---- cases


def test_the_worst_come_first_and_some_start_as_the_task_does(pair: Pair, wide: Task, teacher: NetworkPolicy) -> None:
    cases = worst_cases(wide, pair, teacher)
    rank = [(not c.policy.broken, bool(c.teacher.broken), c.policy.total) for c in cases]
    assert len(cases) == 6
    assert rank == sorted(rank)
    assert sum(c.origin == "drawn" for c in cases) >= 2
    worst = pair.policy.returns[pair.policy.violated & ~pair.teacher.violated].min()
    assert cases[0].policy.total == worst


def test_a_case_shows_the_recorded_signals_and_both_ends(pair: Pair, wide: Task, teacher: NetworkPolicy) -> None:
    recording = pair.policy.recording
    assert recording is not None
    for case in worst_cases(wide, pair, teacher):
        row = int(np.flatnonzero(pair.policy.scenarios[:, -1] == case.scenario["seed"])[0])
        held = np.minimum(case.steps, case.policy.length)
        assert np.array_equal(case.policy.signals, recording.signals[row][held])
        assert {0, case.policy.length, case.teacher.length} <= set(case.steps.tolist())
        assert len(case.steps) <= FRAMES + 2
        assert case.policy.actions.shape == (len(case.steps), 1)


def test_a_recovery_state_is_the_last_one_that_the_teacher_saves(
    pair: Pair, wide: Task, teacher: NetworkPolicy
) -> None:
    cases = [c for c in worst_cases(wide, pair, teacher) if c.recovery is not None]
    assert cases
    case = cases[0]
    scenario = wide.simulator.nominal
    scenario[[wide.simulator.names.index(name) for name in case.scenario]] = list(case.scenario.values())
    failing = rollout(wide.simulator, deployed(pruned(teacher, 0.8)), scenario, specs=wide.specs, record=True)
    steps = np.arange(failing.lengths[0] + 1)
    saved = take_over(
        wide.simulator, deployed(teacher), failing, rows=np.zeros_like(steps), steps=steps, specs=wide.specs
    )
    assert case.recovery == np.flatnonzero(~saved.violated).max()


def test_a_case_names_only_the_columns_that_are_not_nominal(pair: Pair, wide: Task, teacher: NetworkPolicy) -> None:
    for case in worst_cases(wide, pair, teacher):
        assert set(case.scenario) <= {"x", "x_dot", "theta", "theta_dot", "seed"}


def test_every_bundled_simulator_of_a_kind_we_draw_has_its_scene() -> None:
    assert scene(load_task("cartpole-v0").simulator) == "cartpole"
    assert scene(load_task("CartPole-v1").simulator) is None
    assert scene(load_task("mountaincar-continuous").simulator) == "hill"
    assert set(SCENES.values()) == {"acrobot", "walker", "cartpole", "lander", "hill", "pendulum"}


# ---- starts


def test_outcomes_say_who_broke_a_specification(pair: Pair, wide: Task) -> None:
    starts = start_map(wide.simulator, pair)
    for i, outcome in enumerate(starts.outcomes):
        expected = {(False, False): 0, (True, False): 1, (True, True): 2, (False, True): 3}
        assert outcome == expected[bool(pair.policy.violated[i]), bool(pair.teacher.violated[i])]


def test_axes_vary_and_do_not_repeat_each_other(pair: Pair, wide: Task) -> None:
    starts = start_map(wide.simulator, pair)
    assert starts.names == ("x", "x_dot", "theta", "theta_dot")  # the first signals say the same as the columns
    assert np.array_equal(starts.values, pair.policy.scenarios[:, :4])


def test_the_axis_that_decides_is_the_most_telling(pair: Pair, wide: Task) -> None:
    rng = np.random.default_rng(0)
    margins = np.where(pair.policy.scenarios[:, :1] > 0.02, -1.0, 1.0)
    planted = replace(pair, policy=replace(pair.policy, margins=margins, spec_names=("planted",)))
    assert telling(pair.policy.scenarios[:, 0], planted) == 1.0
    assert telling(rng.random(len(margins)), planted) < 0.5
    assert start_map(wide.simulator, planted).first == 0


def test_starts_that_do_not_differ_give_no_map(wide: Task, teacher: NetworkPolicy) -> None:
    columns = tuple(c if c.name == "seed" else _fixed(c) for c in wide.simulator.columns)
    task = replace(wide, simulator=replace(wide.simulator, columns=columns, horizon=5))
    flown = fly_pair(task, teacher, teacher, NONE, episodes=4, seed=0, progress=lambda *_: None)
    assert start_map(task.simulator, flown).first is None


def _fixed(column: Column) -> Column:
    return replace(column, sample=(column.nominal,) * 2, search=(column.nominal,) * 2)


# ---- the reach tube


def test_the_tube_is_what_brute_force_finds(pair: Pair) -> None:
    tube = reach_tube(pair)
    recording = pair.policy.recording
    assert recording is not None
    drawn = [i for i in range(len(pair.policy)) if pair.origins[i] == 0]
    assert tube.episodes == len(drawn)
    for m in range(0, len(tube.steps), 7):
        step = int(tube.steps[m])
        running = [i for i in drawn if pair.policy.lengths[i] >= step]
        assert tube.policy.running[m] == len(running)
        for s in range(4):
            values = sorted(float(recording.signals[i, step, s]) for i in running)
            shown = tube.policy.bands[s, :, m]
            if not values:
                assert np.isnan(shown).all()
                continue
            assert (shown[0], shown[-1]) == (values[0], values[-1])
            if len(values) < ENOUGH:
                assert np.isnan(shown[1:-1]).all()
            else:
                assert shown[2] == pytest.approx(np.median(values))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("always(abs(x) <= 2.4)", [("x", 2.4), ("x", -2.4)]),
        ("always(abs(1.1 * x_dot) <= 2.2)", [("x_dot", 2.0), ("x_dot", -2.0)]),
        ("always( theta<0.2 )", [("theta", 0.2)]),
        ("always(theta >= -0.2)", [("theta", -0.2)]),
        ("always(abs(x) >= 1)", []),
        ("eventually(abs(x) <= 1)", []),
        ("always(abs(x) <= 1 and abs(theta) <= 1)", []),
        ("always[0,10](abs(x) <= 1)", []),
        ("always(reward >= 0)", []),
        ("always(0 * x <= 1)", []),
    ],
)
def test_a_limit_is_drawn_where_the_formula_is_one(formula: str, expected: list[tuple[str, float]]) -> None:
    simulator = load_task("cartpole").simulator
    found = limits((parse_spec(formula, simulator, name="s"),), simulator.signals)
    assert [(limit.signal, pytest.approx(limit.value)) for limit in found] == expected
    assert all(limit.spec == "s" for limit in found)
