"""Contract checks for what others add: call them from your own tests.

Each raises AssertionError with one sentence that names the broken promise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtr

from niwaki.types import Discrete, Engine, EngineRun, EpisodicPolicy, Floats, Lockstep, Simulator

STEPS, ROWS = 40, 6  # of a check's flights, unless actions are given
ASKS = (1, 7, 40, 40, 40)  # rows in the asks of a check's dialogue with a search
PLANTED, TRIES = 0.005, 2000  # the fraction of the cube that fails, and the tries a search has to find it


def check_simulator(
    simulator: Lockstep | Engine, *, actions: NDArray | None = None, rng: np.random.Generator | None = None
) -> None:
    """Fly a simulator and compare what it does with what every simulator promises.

    Of both kinds: what it says of itself is coherent, samples lie in their ranges, the same scenario
    gives the same bits, arguments are left as they were, shapes and dtypes are right, endings have
    names. Of a Lockstep: rows do not depend on each other, and a kept state resumes the straight run. Of
    an Engine: an episode does not depend on the episodes before it.

    `actions` [T, B] or [T, B, A] are flown by B scenarios, the nominal one and B - 1 samples (at least
    two rows and two steps); without them actions are drawn at random.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    _check_description(simulator)
    actions = _random_actions(simulator, rng) if actions is None else actions
    scenarios = np.concatenate((simulator.nominal[None], _checked_samples(simulator, rng, actions.shape[1] - 1)))
    if isinstance(simulator, Lockstep):
        _check_lockstep(simulator, scenarios, actions)
    else:
        _check_engine(simulator, scenarios, actions)


def _expect(kept: bool | np.bool_, simulator: Simulator, sentence: str) -> None:
    if not kept:
        raise AssertionError(f"{simulator.name}: {sentence}")


def _check_description(simulator: Simulator) -> None:
    names, bounds, nominal = simulator.names, simulator.bounds, simulator.nominal
    signals = [signal.name for signal in simulator.signals]
    _expect(len(set(names)) == len(names), simulator, f"column names must be unique, got {names}.")
    _expect(names[-1] == "seed", simulator, f'the last column must be "seed", got {names[-1]!r}.')
    _expect(len(set(signals)) == len(signals), simulator, f"signal names must be unique, got {signals}.")
    _expect(simulator.endings[0] == "time_out", simulator, f'endings[0] must be "time_out", got {simulator.endings}.')
    unknown = set(simulator.failures) - set(simulator.endings)
    _expect(not unknown, simulator, f"failures must be endings, {sorted(unknown)} are not.")
    for name, (low, high), value in zip(names, bounds, nominal, strict=True):
        _expect(low <= value <= high, simulator, f"nominal {name} {value} is outside its range [{low}, {high}].")


def _checked_samples(simulator: Simulator, rng: np.random.Generator, n: int) -> Floats:
    rows = simulator.sample(rng, n)
    _expect(rows.shape == (n, len(simulator.columns)), simulator, f"sample must be [n, K], got {rows.shape}.")
    for column, values in zip(simulator.columns, rows.T, strict=True):
        low, high = column.sample
        inside = np.all((values >= low) & (values <= high))
        _expect(inside, simulator, f"a sample of {column.name} is outside its range [{low}, {high}].")
        whole = not column.integer or np.all(values == np.floor(values))
        _expect(whole, simulator, f"a sample of {column.name} is not a whole number.")
    return rows


def _random_actions(simulator: Simulator, rng: np.random.Generator) -> NDArray:
    space = simulator.action_space
    if isinstance(space, Discrete):
        return rng.integers(space.n, size=(STEPS, ROWS))
    low, high = (np.nan_to_num(side, neginf=-1.0, posinf=1.0) for side in (space.low, space.high))
    return rng.uniform(low, high, size=(STEPS, ROWS, len(space.low))).astype(np.float32)


def _call(simulator: Simulator, method: Callable[..., Any], *arguments: NDArray) -> Any:
    before = [argument.tobytes() for argument in arguments]
    result = method(*arguments)
    after = [argument.tobytes() for argument in arguments]
    _expect(before == after, simulator, f"{method.__name__} must not write into its arguments.")
    return result


def _expect_array(simulator: Simulator, what: str, array: NDArray, shape: tuple[int, ...], kind: type) -> None:
    right = isinstance(array, np.ndarray) and array.shape == shape and np.issubdtype(array.dtype, kind)
    got = f"{getattr(array, 'dtype', type(array).__name__)} {list(np.shape(array))}"
    _expect(right, simulator, f"{what} must be {kind.__name__} {list(shape)}, got {got}.")


def _expect_same(simulator: Simulator, log: Floats, other: Floats, sentence: str) -> None:
    """Bit for bit, so that -0.0 is not 0.0 and NaN is itself."""
    steps = [t for t in range(len(log)) if log[t].tobytes() != other[t].tobytes()]
    _expect(not steps, simulator, f"{sentence} (first difference after step {min(steps, default=0)}).")


def _check_lockstep(simulator: Lockstep, scenarios: Floats, actions: NDArray) -> None:
    straight, _, _ = _fly(simulator, _start(simulator, scenarios), actions)
    again, _, _ = _fly(simulator, _start(simulator, scenarios), actions)
    _expect_same(simulator, straight, again, "the same scenarios must give the same bits every time")

    half = len(actions) // 2
    _, kept, alive = _fly(simulator, _start(simulator, scenarios), actions[:half])
    kept = kept.copy()
    _fly(simulator, _start(simulator, scenarios), actions)
    resumed, _, _ = _fly(simulator, kept, actions[half:, alive])
    sentence = "a kept state must resume the straight run"
    # The entry at `half` itself holds the last reward in one log and none in the other.
    _expect_same(simulator, straight[half + 1 :, alive], resumed[1:], sentence)

    for row in range(len(scenarios)):
        one = slice(row, row + 1)
        single, _, _ = _fly(simulator, _start(simulator, scenarios[one]), actions[:, one])
        sentence = f"{len(scenarios)} rows stepped together must equal {len(scenarios)} single runs"
        _expect_same(simulator, straight[:, one], single, sentence)


def _start(simulator: Lockstep, scenarios: Floats) -> Floats:
    state: Floats = _call(simulator, simulator.reset, scenarios)
    right = isinstance(state, np.ndarray) and state.ndim == 2 and len(state) == len(scenarios)
    _expect(right, simulator, f"reset must return a state [{len(scenarios)}, D], got {list(np.shape(state))}.")
    return state


def _fly(simulator: Lockstep, state: Floats, actions: NDArray) -> tuple[Floats, Floats, NDArray]:
    """Everything seen [T+1, B, state + observation + signals + reward + ending] (zeros after an
    episode's end), the last state of the rows that still fly, and which rows these are."""
    alive = np.arange(len(state))
    first = _seen(simulator, state, np.zeros(len(state)), np.zeros(len(state), dtype=np.int64))
    log = np.zeros((len(actions) + 1, *first.shape))
    log[0] = first
    for t, now in enumerate(actions, start=1):
        if len(alive) == 0:
            break
        state, rewards, endings = _call(simulator, simulator.step, state, now[alive])
        log[t, alive] = _seen(simulator, state, rewards, endings)
        state, alive = state[endings == 0], alive[endings == 0]
    return log, state, alive


def _seen(simulator: Lockstep, state: Floats, rewards: Floats, endings: NDArray) -> Floats:
    n = len(state)
    observations = _call(simulator, simulator.observe, state)
    signals = _call(simulator, simulator.measure, state)
    _expect_array(simulator, "an observation", observations, (n, simulator.observation_size), np.float32)
    _expect_array(simulator, "a measurement", signals, (n, len(simulator.signals)), np.floating)
    _expect_array(simulator, "rewards", rewards, (n,), np.floating)
    _expect_array(simulator, "endings", endings, (n,), np.integer)
    _expect_named(simulator, endings)
    return np.concatenate((state, observations, signals, rewards[:, None], endings[:, None]), axis=1)


def _expect_named(simulator: Simulator, endings: NDArray) -> None:
    named = np.all((endings >= 0) & (endings < len(simulator.endings)))
    _expect(named, simulator, f"an ending must be an index into {simulator.endings}, got {endings}.")


def _check_engine(simulator: Engine, scenarios: Floats, actions: NDArray) -> None:
    engine = simulator.open()
    straight = _fly_engine(simulator, engine, scenarios[0], actions[:, 0])
    _fly_engine(simulator, engine, scenarios[1], actions[: len(actions) // 2, 1])
    again = _fly_engine(simulator, engine, scenarios[0], actions[:, 0])
    _expect_same(simulator, straight, again, "an episode must not depend on the episodes flown before it")
    fresh = _fly_engine(simulator, simulator.open(), scenarios[0], actions[:, 0])
    _expect_same(simulator, straight, fresh, "the same scenario must give the same bits in every engine")


def _fly_engine(simulator: Simulator, engine: EngineRun, scenario: Floats, actions: NDArray) -> Floats:
    """Everything seen [T+1, observation + signals + reward + ending], zeros after the episode's end."""
    log = np.zeros((len(actions) + 1, simulator.observation_size + len(simulator.signals) + 2))
    observation, reward, ending = _call(simulator, engine.start, scenario), 0.0, 0
    for t in range(len(log)):
        if t > 0:
            observation, reward, ending = _call(simulator, engine.advance, actions[t - 1])
        signals = engine.measure()
        _expect_array(simulator, "an observation", observation, (simulator.observation_size,), np.floating)
        _expect_array(simulator, "a measurement", signals, (len(simulator.signals),), np.floating)
        _expect(np.ndim(reward) == 0, simulator, f"a reward must be one number, got {reward!r}.")
        _expect_named(simulator, np.asarray(ending))
        log[t] = (*observation, *signals, reward, ending)
        if ending:
            break
    return log


def check_episodic(policy: EpisodicPolicy, scenarios: Floats, *, rng: np.random.Generator | None = None) -> None:
    """Let a policy act in the episodes of scenarios [B, K] (two or more, all different) and compare what it does with
    what every episodic policy promises.

    The same scenario and observations give the same bits: again, alone or beside others that end earlier, and while
    another pilot of the same policy flies. Arguments are left as they were. Observations are drawn at random.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    rows = len(scenarios)
    seen = rng.normal(size=(STEPS, rows, policy.observation_size)).astype(np.float32)
    ends = np.linspace(STEPS // 3, STEPS, rows).astype(int)  # the first ends first: the others are no prefix
    together = _dealt(policy, scenarios, seen, ends)
    _promise(_same(together, _dealt(policy, scenarios, seen, ends)), "the same episodes must give the same actions.")
    for row in range(rows):
        one = slice(row, row + 1)
        alone = _dealt(policy, scenarios[one], seen[:, one], ends[one])
        sentence = f"{rows} episodes flown together must equal {rows} flown alone, episode {row} does not."
        _promise(_same(alone, [actions[one] for actions in together[: ends[row]]]), sentence)


def _dealt(policy: EpisodicPolicy, scenarios: Floats, seen: Floats, ends: NDArray) -> list[NDArray]:
    """The actions of every step [B, ...] (zeros where an episode has ended), while a second pilot flies other steps."""
    pilot, other = policy.begin(scenarios), policy.begin(scenarios[:1] + 1)
    log: list[NDArray] = []
    for t in range(int(ends.max())):
        rows = np.flatnonzero(t < ends)
        given = [rows.copy(), seen[t, rows]]
        before = [array.tobytes() for array in given]
        actions = np.asarray(pilot.act(t, given[0], given[1]))
        _promise(before == [array.tobytes() for array in given], "act must not write into its arguments.")
        _promise(len(actions) == len(rows), f"act must give {len(rows)} actions, got {len(actions)}.")
        log.append(np.zeros((len(ends), *actions.shape[1:]), dtype=actions.dtype))
        log[-1][rows] = actions
        other.act(t, np.zeros(1, dtype=int), seen[-1 - t, :1])
    return log


def _same(log: list[NDArray], other: list[NDArray]) -> bool:
    return len(log) == len(other) and all(a.tobytes() == b.tobytes() for a, b in zip(log, other, strict=True))


def check_score(score: Callable[[Any, Floats], tuple[Floats, ...]], network: Any, observations: Floats) -> None:
    """Score a network (a NetworkPolicy) on observations [N, O] and compare with what every score promises.

    One array per layer in the shape of its weights, or, from a score of units, one number per unit of each
    hidden layer; finite and never negative; the same every time; arguments left as they were; seeing every
    observation twice, or in another order, changes nothing but rounding.
    """
    weights = [layer.weight.shape for layer in network.layers]
    units = [(outputs,) for outputs, _ in weights[:-1]]
    before = observations.tobytes()
    scores = score(network, observations)
    _promise(observations.tobytes() == before, "a score must not write into the observations.")
    shapes = [np.shape(s) for s in scores]
    _promise(shapes in (weights, units), f"scores must have the shapes {weights} or {units}, got {shapes}.")
    _promise(all(np.isfinite(s).all() for s in scores), "scores must be finite.")
    _promise(all((s >= 0).all() for s in scores), "scores must not be negative.")
    again = score(network, observations)
    same = all(np.array_equal(a, b) for a, b in zip(scores, again, strict=True))
    _promise(same, "the same network and observations must have the same scores every time.")
    twice = np.concatenate((observations, observations[::-1]))
    close = all(np.allclose(a, b, rtol=1e-5, atol=1e-12) for a, b in zip(scores, score(network, twice), strict=True))
    _promise(close, "seeing every observation twice must not change the scores: take means, not sums.")


def check_bound(bound: Callable[..., float], *, sizes: tuple[int, ...] = (1, 2, 5, 20, 100)) -> None:
    """Compare an upper bound on a probability, `bound(violations, n, confidence=...)`, with what each promises.

    It lies between violations / n and 1, does not shrink with more violations or more confidence, and covers: by
    enumeration, for every true probability. A probability is missed when so few violations came that the bound is
    below it, so the worst ones lie just above a value of the bound.
    """
    for n in sizes:
        smaller = np.zeros(n + 1)
        for confidence in (0.5, 0.95, 0.999999):
            values = np.array([bound(k, n, confidence=confidence) for k in range(n + 1)])
            case = f"n = {n} and confidence {confidence}"
            inside = np.all((values >= np.arange(n + 1) / n) & (values <= 1))
            _promise(inside, f"a bound must lie between violations / n and 1, for {case} it is {values}.")
            _promise(np.all(np.diff(values) >= 0), f"a bound must not shrink with more violations, as for {case}.")
            _promise(np.all(values >= smaller), f"a bound must not shrink with more confidence, as for {case}.")
            smaller = values
            missed = np.where(values < 1, bdtr(np.arange(n + 1), n, values), 0.0)
            covers = np.all(missed <= (1 - confidence) * (1 + 1e-6))
            _promise(covers, f"a bound must cover: for {case} it misses with probability {missed.max()}.")


def check_budget(make: Callable[[float, int, float], Any], *, rng: np.random.Generator | None = None) -> None:
    """Let the worst task policies use up a budget (see niwaki.adaptation.budget) in worlds whose failure probability
    can be computed, and compare it with the bound. `make(risk, horizon, bound)` gives the budget for a base that fails
    with exactly that probability.

    In all of them: a sum of Gaussian actions that fails in an interval, half-lines included, by quadrature over the
    memory. Where it has `log_alpha` and `spend`, a budget on ratios: a base that fails only by one action in every
    step, which an adversary takes as often as it may; and random trees of actions and chance, by enumeration.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    for bound in (0.02, 0.3, 0.97):
        for horizon in (1, 2, 3):
            for low, high in ((2.4, np.inf), (2.2, 2.6), (-np.inf, -2.4)):
                risk = _between(low, high, 0.0, 1.0)
                for shift, width in ((4.0, 1.0), (0.7, 1.6), (-4.0, 1.0), (2.3, 0.6)):
                    truth = _chain_failure(make(risk, horizon, bound), horizon, (low, high), (shift, width))
                    world = f"actions that sum to [{low}, {high}] deviations, a task at {shift} of width {width}"
                    _bounded(truth, bound, risk, horizon, world)
    for horizon, bound in ((1, 0.1), (5, 0.1), (30, 0.9)):
        budget = make(0.01, horizon, bound)
        if hasattr(budget, "log_alpha"):
            truth = _unanimous_failure(budget, 0.01, horizon)
            _bounded(truth, bound, 0.01, horizon, "a base that fails by the same action in every step")
    for _ in range(10):
        tree = _Tree(rng)
        bound = tree.risk ** rng.uniform(0.1, 0.9)
        budget = make(tree.risk, tree.horizon, bound)
        if hasattr(budget, "log_alpha"):
            _bounded(tree.failure(budget), bound, tree.risk, tree.horizon, "a random tree of actions and chance")


def _bounded(truth: float, bound: float, risk: float, horizon: int, world: str) -> None:
    case = f"base risk {risk:.3g}, {horizon} steps and {world}"
    _promise(truth <= bound * (1 + 1e-6), f"a budget must keep its bound {bound:.3g}: for {case} {truth:.4g} fail.")


def _between(low: float, high: float, mean: Floats | float, std: Floats | float) -> Any:
    sign = -1 if low > 0 else 1  # in the tail that is small
    ends = sorted((sign * low, sign * high))
    return ndtr((ends[1] - sign * mean) / std) - ndtr((ends[0] - sign * mean) / std)


def _chain_failure(budget: Any, horizon: int, event: tuple[float, float], task: tuple[float, float]) -> float:
    """P(sum of the actions in the event, in units of sqrt(horizon)), base N(0, 1) and task N(*task) in each step."""
    nodes = np.linspace(-9, 9, 61)
    weights = np.exp(-(nodes**2) / 2) / np.exp(-(nodes**2) / 2).sum()
    memory, sums, mass = budget.begin(1), np.zeros(1), np.ones(1)
    for t in range(horizon):
        base, wanted = (_Normal(*(np.full((len(sums), 1), v) for v in pair)) for pair in ((0.0, 1.0), task))
        chosen = budget.project(t, memory, wanted, base)
        if t == horizon - 1:
            low, high = np.sqrt(horizon) * np.array(event)
            return float(mass @ _between(low, high, sums + chosen.mean[:, 0], chosen.std[:, 0]))
        actions = chosen.mean + chosen.std * nodes  # [paths, nodes]
        many = [_Normal(*(np.repeat(part, len(nodes), axis=0) for part in pair)) for pair in (chosen, base)]
        memory = budget.charge(np.repeat(memory, len(nodes)), *many, actions.reshape(-1, 1))
        sums, mass = (sums[:, None] + actions).ravel(), np.outer(mass, weights).ravel()
    raise AssertionError("a chain needs at least one step")


class _Normal(NamedTuple):
    """What niwaki.policies.gaussian.Gaussian is, for those that know only the nouns."""

    mean: Floats
    std: Floats

    def log_density(self, presquash: Floats) -> Floats:
        z = (presquash - self.mean) / self.std
        return -(z**2 / 2 + np.log(self.std) + np.log(2 * np.pi) / 2).sum(axis=1)


def _unanimous_failure(budget: Any, risk: float, horizon: int) -> float:
    """The base takes the bad action with risk^(1 / horizon) in each step and fails if it always did."""
    memory, bad, truth = budget.begin(1), risk ** (1 / horizon), 1.0
    for t in range(horizon):
        p = min(1.0, bad * float(np.exp(budget.log_alpha(t, memory)[0])))
        memory, truth = budget.spend(memory, np.log([p / bad])), truth * p
    return truth


class _Tree:
    """Three actions in each of four steps, each followed by one of two chances; one leaf in ten fails."""

    horizon, actions, chances = 4, 3, 2

    def __init__(self, rng: np.random.Generator) -> None:
        sizes = [(self.actions * self.chances) ** t for t in range(self.horizon + 1)]
        self.base = [rng.dirichlet(np.ones(self.actions), size=n) for n in sizes[:-1]]
        self.chance = [rng.dirichlet(np.ones(self.chances), size=(n, self.actions)) for n in sizes[:-1]]
        value = (rng.random(sizes[-1]) < 0.1).astype(float)
        self.leaves, self.values = value, [np.zeros(0)] * self.horizon  # [nodes, actions]: the base's risk after each
        for t in reversed(range(self.horizon)):
            self.values[t] = (self.chance[t] * value.reshape(sizes[t], self.actions, self.chances)).sum(axis=2)
            value = (self.base[t] * self.values[t]).sum(axis=1)
        self.risk = float(value[0])

    def failure(self, budget: Any) -> float:
        """Under a policy that takes the action that is worst under the base as often as it may."""
        mass, memory = np.ones(1), budget.begin(1)
        for t in range(self.horizon):
            most = np.exp(budget.log_alpha(t, memory))[:, None] * self.base[t]
            order = np.argsort(-self.values[t], axis=1)
            worst = np.take_along_axis(most, order, axis=1)
            left = np.clip(1 - np.cumsum(worst, axis=1) + worst, 0, None)
            policy = np.empty_like(most)
            np.put_along_axis(policy, order, np.minimum(worst, left), axis=1)
            taken = np.repeat(policy.ravel(), self.chances)
            ratios = np.where(taken > 0, taken, 1.0) / np.repeat(self.base[t].ravel(), self.chances)
            memory = budget.spend(np.repeat(memory, self.actions * self.chances), np.log(ratios))
            mass = np.repeat(mass, self.actions * self.chances) * taken * self.chance[t].ravel()
        return float(mass @ self.leaves)


def _promise(kept: bool | np.bool_, sentence: str) -> None:
    if not kept:
        raise AssertionError(sentence)


def check_search(make: Callable[[NDArray[np.bool_], np.random.Generator], Any]) -> None:
    """Talk to a search (see niwaki.falsification.searches) and compare it with what every search promises.

    Rows have the right shape and lie in the unit cube, the same dice and losses give the same rows, what
    it is told is left as it was, and it may be told of rows that it did not ask for. It bears losses that are
    all equal and cubes of nothing but names, and it finds a failure that fills half a percent of a cube.
    """
    name = getattr(make, "__name__", type(make).__name__)
    for categorical in ((False,) * 5, (False, True, False), (True,)):
        for loss in (_distance, _flat):
            first, again = (_dialogue(name, make, np.array(categorical), loss) for _ in range(2))
            _keeps(first.tobytes() == again.tobytes(), name, "the same dice and losses must give the same rows.")
    _keeps(_finds(make), name, f"a failure in {PLANTED:.1%} of a cube must be found in {TRIES} tries.")


def _keeps(kept: bool | np.bool_, name: str, sentence: str) -> None:
    if not kept:
        raise AssertionError(f"{name}: {sentence}")


def _distance(rows: Floats) -> Floats:
    """Negative in a ball in the middle of the first three columns that holds PLANTED of the cube."""
    radius = (PLANTED * 3 / (4 * np.pi)) ** (1 / 3)
    return np.sqrt(np.sum((rows[:, :3] - 0.6) ** 2, axis=1)) - radius


def _flat(rows: Floats) -> Floats:
    return np.ones(len(rows))


def _dialogue(
    name: str, make: Callable[..., Any], categorical: NDArray[np.bool_], loss: Callable[[Floats], Floats]
) -> Floats:
    search, strangers = make(categorical, np.random.default_rng(1)), np.random.default_rng(2)
    seen = []
    for n in ASKS:
        rows = search.ask(n)
        shape = (n, len(categorical))
        _keeps(np.shape(rows) == shape, name, f"ask({n}) must return rows {list(shape)}, got {list(np.shape(rows))}.")
        _keeps(np.all((rows >= 0) & (rows <= 1)), name, "rows must lie within [0, 1].")
        for told in (rows, strangers.random(shape)):
            losses = loss(told)
            before = told.tobytes(), losses.tobytes()
            search.tell(told, losses)
            _keeps(before == (told.tobytes(), losses.tobytes()), name, "tell must not write into its arguments.")
        seen.append(rows)
    return np.concatenate(seen)


def _finds(make: Callable[..., Any]) -> bool:
    search = make(np.zeros(3, dtype=bool), np.random.default_rng(0))
    for _ in range(TRIES // 40):
        rows = search.ask(40)
        losses = _distance(rows)
        if (losses < 0).any():
            return True
        search.tell(rows, losses)
    return False
