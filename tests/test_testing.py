"""Every promise has a simulator that breaks it and nothing else, and is caught for it."""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import stats

from niwaki.testing import check_bound, check_episodic, check_simulator
from niwaki.types import Box, Column, Discrete, Engine, Lockstep, Signal, Transition, seed_column

START = Column("position", "m", 0.0, sample=(-1.0, 1.0), search=(-1.0, 1.0))
SELF_DESCRIPTION = {
    "name": "Walk",
    "columns": (START, seed_column()),
    "observation_size": 1,
    "action_space": Discrete(3),
    "signals": (Signal("position", "m"), Signal("doubled", "m")),
    "endings": ("time_out", "away"),
    "failures": ("away",),
    "horizon": 50,
}


@dataclass(frozen=True, kw_only=True)
class Walk(Lockstep):
    """Steps of 0.1 m on a line of 1.2 m; keeps every promise."""

    def reset(self, scenarios):
        return scenarios.copy()

    def step(self, state, actions):
        after = state.copy()
        after[:, 0] += 0.1 * (actions - 1.0)
        return Transition(after, -np.abs(after[:, 0]), (np.abs(after[:, 0]) > 1.2).astype(np.int64))

    def observe(self, state):
        return state[:, :1].astype(np.float32)

    def measure(self, state):
        return np.stack((state[:, 0], 2 * state[:, 0]), axis=1)


class WalkRun:
    """The same walk, one episode at a time."""

    def start(self, scenario):
        self.position = float(scenario[0])
        return np.array([self.position], dtype=np.float32)

    def advance(self, action):
        self.position += 0.1 * (float(action) - 1.0)
        return np.array([self.position], dtype=np.float32), -abs(self.position), int(abs(self.position) > 1.2)

    def measure(self):
        return np.array([self.position, 2 * self.position])


@dataclass(frozen=True, kw_only=True)
class WalkEngine(Engine):
    run: type = WalkRun

    def open(self):
        return self.run()


def walk(**methods):
    """The walk with some methods replaced."""
    return type("BrokenWalk", (Walk,), methods)(**SELF_DESCRIPTION)


def engine(**methods):
    return WalkEngine(**SELF_DESCRIPTION, run=type("BrokenRun", (WalkRun,), methods))


def described(**fields):
    return replace(walk(), **fields)


def test_simulators_that_keep_their_promises_pass():
    check_simulator(walk())
    check_simulator(engine())


DESCRIPTIONS = {
    "column names must be unique": described(columns=(START, START, seed_column())),
    'the last column must be "seed"': described(columns=(seed_column(), START)),
    "signal names must be unique": described(signals=(Signal("position", "m"), Signal("position", "m"))),
    r'endings\[0\] must be "time_out"': described(endings=("away", "time_out")),
    r"failures must be endings, \['fell'\] are not": described(failures=("fell",)),
    "nominal position 2.0 is outside its range": described(columns=(replace(START, nominal=2.0), seed_column())),
}


@pytest.mark.parametrize("sentence", DESCRIPTIONS)
def test_an_incoherent_description_is_caught(sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_simulator(DESCRIPTIONS[sentence])


def shifted_samples(position, seed):
    return walk(sample=lambda self, rng, n: Walk.sample(self, rng, n) + np.array((position, seed)))


SAMPLES = {
    "sample must be": walk(sample=lambda self, rng, n: np.zeros((n, 3))),
    "a sample of position is outside its range": shifted_samples(2.1, 0.0),
    "a sample of seed is not a whole number": shifted_samples(0.0, -0.5),
}


@pytest.mark.parametrize("sentence", SAMPLES)
def test_a_bad_sample_is_caught(sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_simulator(SAMPLES[sentence])


def changed_step(change):
    """A walk whose every transition goes through `change(state, rewards, endings)`."""
    return walk(step=lambda self, state, actions: Transition(*change(*Walk.step(self, state, actions))))


SHAPES = {
    r"reset must return a state \[6, D\], got \[2, 6\]": walk(reset=lambda self, scenarios: scenarios.copy().T),
    r"an observation must be float32 \[6, 1\], got float64": walk(observe=lambda self, state: state[:, :1].copy()),
    r"an observation must be .* got float32 \[6, 2\]": walk(observe=lambda self, state: state.astype(np.float32)),
    r"a measurement must be floating \[6, 2\], got float64 \[6, 1\]": walk(measure=lambda self, state: state[:, :1]),
    r"a measurement must be floating .* got int64": walk(measure=lambda self, state: state.astype(np.int64)),
    r"rewards must be floating \[6\], got float64 \[6, 1\]": changed_step(lambda s, r, e: (s, r[:, None], e)),
    r"rewards must be floating \[6\], got list": changed_step(lambda s, r, e: (s, r.tolist(), e)),
    r"endings must be integer \[6\], got bool": changed_step(lambda s, r, e: (s, r, e > 0)),
    "an ending must be an index into .* got .*2": changed_step(lambda s, r, e: (s, r, e + 2)),
    "an ending must be an index into .* got .*-1": changed_step(lambda s, r, e: (s, r, e - 1)),
}


@pytest.mark.parametrize("sentence", SHAPES)
def test_a_wrong_shape_type_or_ending_is_caught(sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_simulator(SHAPES[sentence])


def scribbling(method, argument):
    """A walk whose `method` computes what it should and then writes into its argument."""

    def scribble(self, *arguments):
        result = getattr(Walk, method)(self, *arguments)
        arguments[argument][0] += 1
        return result

    scribble.__name__ = method
    return walk(**{method: scribble})


@pytest.mark.parametrize(
    ("method", "argument"), [("reset", 0), ("step", 0), ("step", 1), ("observe", 0), ("measure", 0)]
)
def test_writing_into_an_argument_is_caught(method, argument):
    with pytest.raises(AssertionError, match=f"{method} must not write into its arguments"):
        check_simulator(scribbling(method, argument))


def test_chance_that_is_not_in_the_scenario_is_caught():
    noisy = changed_step(lambda s, r, e: (s, r + np.random.default_rng().normal(size=len(r)), e))
    with pytest.raises(
        AssertionError, match=r"the same scenarios must give the same bits every time \(first .* step 1\)"
    ):
        check_simulator(noisy)


def test_a_zero_that_changes_its_sign_is_caught():
    signs = itertools.cycle((0.0, -0.0, 0.0))
    fickle = changed_step(lambda s, r, e: (s, r * 0.0 * next(signs), e))
    with pytest.raises(AssertionError, match="the same scenarios must give the same bits every time"):
        check_simulator(fickle)


def test_rows_that_depend_on_their_batch_are_caught():
    coupled = changed_step(lambda s, r, e: (s, r - r.mean(), e))
    with pytest.raises(AssertionError, match="6 rows stepped together must equal 6 single runs"):
        check_simulator(coupled)


def test_a_memory_outside_the_state_is_caught():
    clock = [0]

    def reset(self, scenarios):
        clock[0] = 0
        return Walk.reset(self, scenarios)

    def step(self, state, actions):
        clock[0] += 1
        after, rewards, endings = Walk.step(self, state, actions)
        return Transition(after, rewards + clock[0], endings)

    with pytest.raises(AssertionError, match="a kept state must resume the straight run"):
        check_simulator(walk(reset=reset, step=step))


def test_given_actions_are_flown():
    """This walk is noisy at its right end only, where it does not get without a push."""

    def noise_at_the_end(state, rewards, endings):
        return state, np.where(state[:, 0] > 1.1, np.random.default_rng().normal(), rewards), endings

    still, right = np.ones((30, 4), dtype=int), np.full((30, 4), 2)
    check_simulator(changed_step(noise_at_the_end), actions=still)
    with pytest.raises(AssertionError, match="same bits every time"):
        check_simulator(changed_step(noise_at_the_end), actions=right)


def test_continuous_actions_are_float32_within_their_limits():
    seen = []

    def step(self, state, actions):
        seen.append(actions)
        return Walk.step(self, state, actions[:, 0])

    check_simulator(replace(walk(step=step), action_space=Box((-2.0, -np.inf), (2.0, np.inf))))
    actions = np.concatenate(seen)
    assert actions.dtype == np.float32
    assert actions.shape[1] == 2
    assert np.all(np.abs(actions) <= (2.0, 1.0))
    assert np.abs(actions[:, 0]).max() > 1.0


def start_keeping_something(self, scenario):
    WalkRun.start(self, scenario)
    self.position += getattr(self, "left_over", 0.0)
    self.left_over = 0.01
    return np.array([self.position], dtype=np.float32)


def start_of_a_run_with_its_own_number(self, scenario, numbers={}):  # noqa: B006
    WalkRun.start(self, scenario)
    self.position += 0.001 * numbers.setdefault(id(self), len(numbers))
    return np.array([self.position], dtype=np.float32)


def start_that_scribbles(self, scenario):
    observation = WalkRun.start(self, scenario)
    scenario[0] += 1.0
    return observation


def changed_advance(change):
    return engine(advance=lambda self, action: change(*WalkRun.advance(self, action)))


ENGINES = {
    "an episode must not depend on the episodes flown before it": engine(start=start_keeping_something),
    "the same scenario must give the same bits in every engine": engine(start=start_of_a_run_with_its_own_number),
    "start_that_scribbles must not write into its arguments": engine(start=start_that_scribbles),
    r"an observation must be floating \[1\], got float32 \[2\]": changed_advance(lambda o, r, e: (o.repeat(2), r, e)),
    r"a measurement must be floating \[2\], got float64 \[3\]": engine(measure=lambda self: np.zeros(3)),
    "a reward must be one number": changed_advance(lambda o, r, e: (o, o, e)),
    "an ending must be an index into .* got 7": changed_advance(lambda o, r, e: (o, r, 7)),
}


@pytest.mark.parametrize("sentence", ENGINES)
def test_an_engine_that_breaks_a_promise_is_caught(sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_simulator(ENGINES[sentence])


def test_an_engine_that_does_not_start_afresh_after_an_interrupted_episode_is_caught():
    def start(self, scenario):
        if not getattr(self, "interrupted", False):
            WalkRun.start(self, scenario)
        self.interrupted = True
        return np.array([self.position], dtype=np.float32)

    def advance(self, action):
        observation, reward, ending = WalkRun.advance(self, action)
        self.interrupted = not ending
        return observation, reward, ending

    with pytest.raises(AssertionError, match="an episode must not depend on the episodes flown before it"):
        check_simulator(engine(start=start, advance=advance), actions=np.tile((2, 1), (20, 1)))


def exact(k, n, confidence):
    """Clopper and Pearson's bound."""
    return 1.0 if k == n else float(stats.beta.isf(1 - confidence, k + 1, n - k))


BOUNDS = {
    "must lie between violations / n and 1": lambda k, n, confidence: exact(k, n, confidence) + 0.1,
    "must not shrink with more violations": lambda k, n, confidence: 1.0 if k == 0 else exact(k, n, confidence),
    "must not shrink with more confidence": lambda k, n, confidence: (
        1.0 if confidence == 0.5 else exact(k, n, confidence)
    ),
    # Jeffreys' bound: well known, and not exact
    "must cover: for n = 1 and": lambda k, n, confidence: max(
        k / n, stats.beta.isf(1 - confidence, k + 0.5, n - k + 0.5)
    ),
    "must cover: for n = 2 and": lambda k, n, confidence: exact(k, n, confidence) - 1e-5 * (n == 2 and k == 1),
}


@pytest.mark.parametrize("sentence", BOUNDS)
def test_a_bound_that_breaks_a_promise_is_caught(sentence):
    check_bound(exact)
    with pytest.raises(AssertionError, match=sentence):
        check_bound(BOUNDS[sentence])


class Wanderer:
    """Turns with its scenario, its step, and how often its episode was flown; keeps every promise."""

    observation_size = 2

    def __init__(self):
        self.shared = 0.0

    def begin(self, scenarios):
        return WandererPilot(self, scenarios, np.zeros(len(scenarios)))


@dataclass
class WandererPilot:
    policy: Wanderer
    scenarios: np.ndarray
    memory: np.ndarray

    def act(self, t, rows, observations):
        self.memory[rows] += observations[:, 0]
        return self.scenarios[rows, 0] + t + self.memory[rows]


class ForgetsItsRows(WandererPilot):
    def act(self, t, rows, observations):
        return self.scenarios[: len(rows), 0] + t


class SharesItsMemory(WandererPilot):
    def act(self, t, rows, observations):
        self.policy.shared += 1.0
        return np.full(len(rows), self.policy.shared)


class KnowsItsBatch(WandererPilot):
    def act(self, t, rows, observations):
        return super().act(t, rows, observations - observations.mean(axis=0))


class WritesIntoItsRows(WandererPilot):
    def act(self, t, rows, observations):
        rows[:] = 0
        return super().act(t, rows, observations)


class ActsForAll(WandererPilot):
    def act(self, t, rows, observations):
        return self.scenarios[:, 0]


PILOTS = {
    "flown alone, episode": ForgetsItsRows,
    "the same episodes must give the same actions": SharesItsMemory,
    "must equal 4 flown alone": KnowsItsBatch,
    "must not write into its arguments": WritesIntoItsRows,
    "must give 3 actions, got 4": ActsForAll,
}


@pytest.mark.parametrize("sentence", PILOTS)
def test_each_promise_of_an_episodic_policy_is_checked(sentence):
    scenarios = np.arange(8.0).reshape(4, 2)
    check_episodic(Wanderer(), scenarios)
    broken = Wanderer()
    broken.begin = lambda rows: PILOTS[sentence](broken, rows, np.zeros(len(rows)))
    with pytest.raises(AssertionError, match=sentence):
        check_episodic(broken, scenarios)
