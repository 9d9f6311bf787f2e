"""The task around the point robot: observations, rewards, endings, variants, and their agreement with the specs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from niwaki.rollout import rollout
from niwaki.simulators.reach_avoid import ReachAvoid, reach_avoid
from niwaki.specs import parse_spec
from niwaki.tasks import load_task, parse_task
from niwaki.testing import check_simulator
from niwaki.types import NiwakiError

REST = np.zeros((1, 2), dtype=np.float32)
SIMULATOR = reach_avoid()


class Homing:
    """Turns to where the goal's lidar is brightest and drives; with `shy` it stops before hazards."""

    observation_size = 44

    def __init__(self, shy: float = 0.0) -> None:
        self.shy = shy

    def __call__(self, observations):
        goal, hazard = observations[:, 12:28], observations[:, 28:44]
        rows, brightest = np.arange(len(goal)), goal.argmax(axis=1)
        behind = goal[rows, (brightest + 1) % 16] / goal[rows, brightest]
        angle = (2 * np.pi / 16 * (brightest + behind) + np.pi) % (2 * np.pi) - np.pi
        throttle = np.where(np.abs(angle) < 1, 1.0, 0.0)
        throttle[hazard.max(axis=1) > 1 - self.shy] = 0.0
        return np.column_stack((throttle, np.clip(1.5 * angle, -1, 1))).astype(np.float32)


def scenario(simulator: ReachAvoid = SIMULATOR, **values: float) -> np.ndarray:
    row = simulator.nominal
    for name, value in values.items():
        row[simulator.names.index(name)] = value
    return row[None]


def flown(simulator, policy=None, n=400, seed=0):
    rows = simulator.sample(np.random.default_rng(seed), n)
    return rollout(simulator, policy or Homing(), rows, record=True)


@pytest.mark.parametrize("reset_goal", [False, True])
@pytest.mark.parametrize(("level", "curriculum"), [(1, True), (5, True), (0, False), (1, False), (2, False)])
def test_it_keeps_the_promises_of_a_simulator(level: int, curriculum: bool, reset_goal: bool) -> None:
    check_simulator(reach_avoid(level, curriculum=curriculum, reset_goal=reset_goal, period=0.02))


def test_the_default_is_the_published_level_at_low_frequency() -> None:
    check_simulator(SIMULATOR)
    assert reach_avoid() == ReachAvoid()
    assert (SIMULATOR.horizon, SIMULATOR.step_seconds, SIMULATOR.physics_steps) == (100, 0.2, 100)
    standard = reach_avoid(period=0.02)
    assert (standard.horizon, standard.step_seconds, standard.physics_steps) == (1000, 0.02, 10)
    assert SIMULATOR.layout.hazard_size == 0.5


def test_ten_standard_periods_are_one_of_low_frequency_but_for_rounding() -> None:
    """At full steering: elsewhere the servo's chatter makes rounding large."""
    rows = SIMULATOR.sample(np.random.default_rng(0), 20)
    actions = np.column_stack((np.linspace(-1, 1, 20), np.ones(20))).astype(np.float32)
    standard = reach_avoid(period=0.02)
    fine = standard.reset(rows)
    for _ in range(10):
        fine = standard.step(fine, actions).state
    assert fine == pytest.approx(SIMULATOR.step(SIMULATOR.reset(rows), actions).state, abs=1e-9)


def test_the_observation_is_sensors_then_goal_then_hazard() -> None:
    seen = SIMULATOR.observe(SIMULATOR.reset(scenario(x=0.0, y=-0.5, heading=math.pi / 2 - 0.1)))[0]
    assert seen.shape == (44,)
    assert seen.dtype == np.float32
    assert seen[:9] == pytest.approx([0, 0, 9.81, 0, 0, 0, 0, 0, 0])
    assert seen[9:12] == pytest.approx([-0.5 * math.cos(0.1), -0.5 * math.sin(0.1), 0], abs=1e-6)  # looks north
    assert seen[12:28].argmax() == seen[28:44].argmax() == 0  # both lie ahead, a little to the left
    assert seen[12] == pytest.approx(math.exp(-0.5 * 2.5))
    assert seen[28] == pytest.approx(math.exp(-0.5 * 1.25))


def test_the_accelerometer_feels_the_last_action_and_nothing_before_the_first() -> None:
    state = SIMULATOR.reset(scenario())
    pushed = SIMULATOR.step(state, np.array([[1.0, 0.0]], np.float32)).state
    first, second = (SIMULATOR.observe(s)[0] for s in (state, pushed))
    assert first[0] == 0
    drag, turned = 0.01 * second[3], second[8]  # the turn servo chatters even around rest
    assert second[0] == pytest.approx((0.3 * 0.05 - drag) / 0.0051888 + 0.01927 * turned**2, rel=1e-4)


def test_without_hazards_their_lidar_is_dark_and_there_is_no_clearance() -> None:
    simulator = reach_avoid(0, curriculum=False)
    observations = simulator.observe(simulator.reset(simulator.sample(np.random.default_rng(0), 50)))
    assert (observations[:, 28:] == 0).all()
    assert "hazard_clearance" not in [s.name for s in simulator.signals]
    assert not flown(simulator, n=50).ended(["hazard_entered"]).any()


def test_signals_are_what_their_names_say() -> None:
    simulator = reach_avoid(2, curriculum=False)
    row = simulator.sample(np.random.default_rng(0), 1)
    state = simulator.step(simulator.reset(row), np.array([[1.0, 1.0]], np.float32)).state
    values = dict(zip((s.name for s in simulator.signals), simulator.measure(state)[0].tolist(), strict=True))
    here = values["x"], values["y"]
    hazards = row[0, 5:-1].reshape(-1, 2)
    assert values["goal_distance"] == pytest.approx(math.dist(here, row[0, 3:5]))
    assert values["hazard_clearance"] == pytest.approx(min(math.dist(here, h) for h in hazards) - 0.2)
    assert values["speed"] == pytest.approx(math.hypot(values["vx"], values["vy"]))
    assert values["turn_rate"] == pytest.approx(1.5, abs=1.5)
    assert -math.pi <= values["heading"] <= math.pi
    turned = math.remainder(values["heading"] - row[0, 2], 2 * math.pi)
    assert 0 < turned < 0.2 * 3.1


def test_the_reward_is_the_way_made_good_and_one_at_the_goal() -> None:
    flights = flown(SIMULATOR)
    way = flights.recording.signal("goal_distance")
    reached = flights.ended(["goal_reached"])
    assert 0.1 < reached.mean() < 0.9
    assert flights.returns == pytest.approx(way[:, 0] - way[:, -1] + reached)


def test_the_sparse_reward_is_one_at_the_goal_and_a_quarter_lost_in_a_hazard() -> None:
    sparse = flown(reach_avoid(reward="sparse"))
    goal, hazard = sparse.ended(["goal_reached"]), sparse.ended(["hazard_entered"])
    assert (sparse.returns == 1.0 * goal - 0.25 * hazard).all()
    assert (sparse.lengths == flown(SIMULATOR).lengths).all()


@pytest.mark.parametrize("shy", [0.0, 0.35])
def test_what_breaks_the_tasks_specifications_are_the_endings_that_are_failures(shy: float) -> None:
    task = load_task("reach-avoid")
    rows = task.simulator.sample(np.random.default_rng(1), 600)
    flights = rollout(task.simulator, Homing(shy), rows, specs=task.specs)
    assert set(task.simulator.failures) == {"time_out", "hazard_entered"}
    assert (flights.violated == flights.ended(task.simulator.failures)).all()
    avoids, reaches = (flights.margins[:, i] < 0 for i in (0, 1))
    assert (avoids == flights.ended(["hazard_entered"])).all()
    assert (~reaches >= flights.ended(["goal_reached"])).all()
    endings = {name: int(flights.ended([name]).sum()) for name in task.simulator.endings}
    assert endings["goal_reached"] > 10
    assert endings["hazard_entered" if shy == 0 else "time_out"] > 10


def test_a_start_in_a_hazard_ends_with_the_first_step_even_if_that_leads_out() -> None:
    rows = scenario(hazard_x=0.0, hazard_y=-0.5 + 0.499, y=-0.5)  # 1 mm inside
    simulator = replace(SIMULATOR, step_seconds=2.0, horizon=10)
    away = np.array([[-1.0, 0.0]], np.float32)
    turned = rows.copy()
    turned[0, 2] = math.pi / 2
    transition = simulator.step(simulator.reset(turned), away)
    assert simulator.measure(transition.state)[0, -1] > 0.1
    assert simulator.endings[transition.endings[0]] == "hazard_entered"
    outside = scenario(hazard_x=0.0, hazard_y=-0.5 + 0.501, y=-0.5)
    assert SIMULATOR.step(SIMULATOR.reset(outside), REST).endings[0] == 0


def test_goal_and_hazard_in_one_step_count_as_hazard() -> None:
    both = scenario(goal_x=0.0, goal_y=-0.3, hazard_x=0.0, hazard_y=-0.9)
    for reward, worth in (("progress", 0.0), ("sparse", -0.25)):
        simulator = reach_avoid(reward=reward)
        _, rewards, endings = simulator.step(simulator.reset(both), REST)
        assert simulator.endings[endings[0]] == "hazard_entered"
        assert rewards[0] == worth
    only_goal = both.copy()
    only_goal[0, 6] = 0.9
    _, rewards, endings = SIMULATOR.step(SIMULATOR.reset(only_goal), REST)
    assert (SIMULATOR.endings[endings[0]], rewards[0]) == ("goal_reached", 1.0)


@pytest.mark.parametrize(("distance", "ending"), [(0.2999, "goal_reached"), (0.3001, "time_out")])
def test_the_goal_is_reached_within_three_tenths_of_a_metre(distance: float, ending: str) -> None:
    rows = scenario(goal_x=0.0, goal_y=-0.5 + distance)
    assert SIMULATOR.endings[SIMULATOR.step(SIMULATOR.reset(rows), REST).endings[0]] == ending


def test_with_reset_goal_the_goal_moves_hazards_do_nothing_and_only_time_ends_an_episode() -> None:
    simulator = reach_avoid(reset_goal=True)
    flights = flown(simulator, n=60)
    assert set(flights.lengths) == {100}
    assert simulator.endings == ("time_out",)
    counts, way = flights.recording.signal("goals_reached"), flights.recording.signal("goal_distance")
    assert counts[:, -1].mean() > 3
    assert (flights.recording.signal("hazard_clearance") < 0).any()
    scored = np.diff(counts, axis=1) > 0
    assert (way[:, 1:][scored] > 0.4).all()  # the new goal is elsewhere
    # The step's reward is about the old goal: rewards and the way still to go make up the way there was.
    silent = ~scored
    assert flights.recording.rewards[silent] == pytest.approx(-np.diff(way, axis=1)[silent])
    assert (flights.recording.rewards[scored] > 0.9).all()


def test_new_goals_are_the_same_whatever_the_batch_and_differ_between_seeds() -> None:
    simulator = reach_avoid(reset_goal=True, period=0.2)
    rows = np.repeat(scenario(simulator), 3, axis=0)
    rows[:, -1] = (1, 2, 1)
    flights = rollout(simulator, Homing(), rows, record=True)
    alone = rollout(simulator, Homing(), rows[:1], record=True)
    assert flights.recording.signals[0].tobytes() == alone.recording.signals[0].tobytes()
    assert flights.recording.signals[0].tobytes() == flights.recording.signals[2].tobytes()
    assert flights.recording.signal("goals_reached")[0, -1] > 1
    assert flights.returns[0] != flights.returns[1]


def test_the_seed_means_nothing_where_goals_stay() -> None:
    a, b = scenario(seed=1.0), scenario(seed=2.0)
    assert SIMULATOR.reset(a).tobytes() == SIMULATOR.reset(b).tobytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": 7}, "curriculum levels 1 to 5, got 7"),
        ({"level": 5, "curriculum": False}, "plain levels 0 to 2, got 5"),
        ({"period": 0.003}, "whole number of 0.002 s steps, at most 20 s, got 0.003"),
        ({"period": 0.0}, "got 0.0"),
        ({"period": float("nan")}, "got nan"),
        ({"period": 21.0}, "got 21.0"),
        ({"reward": "dense"}, "one of progress, sparse, got 'dense'"),
    ],
)
def test_variants_that_do_not_exist_are_refused_in_one_sentence(arguments: dict, message: str) -> None:
    with pytest.raises(NiwakiError, match=message) as caught:
        reach_avoid(**arguments)
    assert "\n" not in str(caught.value)


def test_a_task_file_chooses_variants_and_fixes_the_layout() -> None:
    task = parse_task(
        "mine",
        'title = "Mine"\nsimulator = "reach-avoid"\n[arguments]\nlevel = 1\nperiod = 0.02\n'
        "[sample]\nx = 0.1\ny = -0.5\nheading = 1.5\ngoal_x = 0.0\ngoal_y = 0.5\nhazard_x = 0.9\nhazard_y = 0.4\n",
    )
    rows = task.simulator.sample(np.random.default_rng(0), 5)
    assert (rows[:, :-1] == (0.1, -0.5, 1.5, 0.0, 0.5, 0.9, 0.4)).all()
    assert task.simulator.horizon == 1000
    assert [spec.text for spec in task.specs] == ["always(not time_out)", "always(not hazard_entered)"]
    assert parse_spec("always(hazard_clearance > 0)", task.simulator)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [("levl = 1", "arguments.levl: it takes level, curriculum"), ("level = 9", "task mine: .*levels 1 to 5, got 9")],
)
def test_a_task_file_with_a_wrong_variant_gets_one_sentence(arguments: str, message: str) -> None:
    with pytest.raises(NiwakiError, match=message):
        parse_task("mine", f'title = "Mine"\nsimulator = "reach-avoid"\n[arguments]\n{arguments}\n')
