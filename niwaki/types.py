"""The nouns: what flies (Policy), where it flies (Simulator), what happened (Trajectories), what must hold (Spec).

One alphabet for every shape in the project: B batch, T steps, O observation, A action, K scenario
columns, S signals, P specifications, D simulator state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

SEED_LIMIT = 2**31  # seeds are whole numbers below this: exact in a float64 scenario column


class NiwakiError(Exception):
    """What went wrong, in one sentence a person can act on. The command line prints it and exits 2."""


@dataclass(frozen=True)
class Discrete:
    """Actions are whole numbers 0 .. n-1, shape [B]."""

    n: int


@dataclass(frozen=True)
class Box:
    """Actions are float32 vectors within [low, high], shape [B, A]."""

    low: tuple[float, ...]  # [A]
    high: tuple[float, ...]  # [A]


ActionSpace = Discrete | Box


@runtime_checkable
class Policy(Protocol):
    """A pure function from observations to actions."""

    @property
    def observation_size(self) -> int:
        """Numbers in one observation."""
        ...

    def __call__(self, observations: Floats, /) -> NDArray:
        """Actions for observations [B, O]: int [B] (Discrete) or float32 [B, A] (Box)."""
        ...


class Pilot(Protocol):
    """A policy in flight with B episodes. What it remembers of them lives here, never in the policy."""

    def act(self, t: int, rows: Integers, observations: Floats, /) -> NDArray:
        """Actions in step t of the episodes `rows` [n], which see observations [n, O]. Steps are counted from 0 and
        come in order; an episode that has ended is not asked again."""
        ...


@runtime_checkable
class EpisodicPolicy(Protocol):
    """A policy that needs to know which episode it flies: for its noise, or for what it has spent so far."""

    @property
    def observation_size(self) -> int:
        """Numbers in one observation."""
        ...

    def begin(self, scenarios: Floats, /) -> Pilot:
        """A fresh pilot for the episodes of scenarios [B, K]. The same scenario and the same observations give the
        same actions, whatever the other rows are (`niwaki.testing.check_episodic`)."""
        ...


@dataclass(frozen=True)
class Column:
    """One number of a scenario: what it means, where it is drawn from, where a search may look.

    `sample` is the distribution that statistical claims are about (uniform); `search` is the range a
    falsifier may try. They are different questions: keep them apart.
    """

    name: str
    unit: str
    nominal: float
    sample: tuple[float, float]
    search: tuple[float, float]
    integer: bool = False


def seed_column() -> Column:
    """The last column of every scenario: the source of all chance that is not a column of its own."""
    span = (0.0, float(SEED_LIMIT - 1))
    return Column("seed", "1", 0.0, sample=span, search=span, integer=True)


@dataclass(frozen=True)
class Signal:
    """A named quantity that specifications read."""

    name: str
    unit: str


@dataclass(frozen=True, kw_only=True)
class Simulator:
    """What every simulator says of itself. A scenario row [K] fixes a whole run.

    `endings[0]` is "time_out": what an episode gets that is still running at the horizon. The other
    endings are the reasons for which the simulator itself stops an episode. `failures` names the
    endings that must not happen where a task has no specification of its own.
    """

    name: str
    columns: tuple[Column, ...]
    observation_size: int
    action_space: ActionSpace
    signals: tuple[Signal, ...]
    endings: tuple[str, ...]
    failures: tuple[str, ...]
    horizon: int
    step_seconds: float | None = None  # simulated seconds of one step, where the simulator has a clock

    @property
    def names(self) -> tuple[str, ...]:
        """Scenario column names [K]."""
        return tuple(c.name for c in self.columns)

    @property
    def nominal(self) -> Floats:
        """The undisturbed scenario [K]."""
        return np.array([c.nominal for c in self.columns])

    @property
    def bounds(self) -> Floats:
        """What a falsifier may try [K, 2]."""
        return np.array([c.search for c in self.columns])

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """Draw n scenarios [n, K] from the distribution that claims are about."""
        low, high = np.array([c.sample for c in self.columns]).T
        rows = rng.uniform(low, high, size=(n, len(self.columns)))
        whole = [i for i, c in enumerate(self.columns) if c.integer]
        for i in whole:
            rows[:, i] = rng.integers(int(low[i]), int(high[i]), size=n, endpoint=True)
        return rows


class Transition(NamedTuple):
    """What one step of a lockstep simulator returns for n rows."""

    state: Floats  # [n, D]
    rewards: Floats  # [n]
    endings: Integers  # [n], 0 = goes on, otherwise an index into Simulator.endings


@dataclass(frozen=True, kw_only=True)
class Lockstep(Simulator, ABC):
    """A simulator that steps many episodes at once. Its state is a plain array [n, D]: keeping the
    array is the snapshot, indexing it drops finished episodes. All methods are pure."""

    @abstractmethod
    def reset(self, scenarios: Floats) -> Floats:
        """Start states [n, D] of scenarios [n, K]."""

    @abstractmethod
    def step(self, state: Floats, actions: NDArray) -> Transition:
        """One control period for state [n, D] under actions [n] or [n, A]."""

    @abstractmethod
    def observe(self, state: Floats) -> Floats:
        """What the policy sees, float32 [n, O]."""

    @abstractmethod
    def measure(self, state: Floats) -> Floats:
        """The signals [n, S] that specifications read."""


@dataclass(frozen=True, kw_only=True)
class Engine(Simulator, ABC):
    """A simulator around a stateful engine that flies one episode at a time. The value describes it;
    `open` makes the thing that runs."""

    @abstractmethod
    def open(self) -> EngineRun:
        """A running engine; one per process is enough, `start` begins each episode afresh."""


class EngineRun(Protocol):
    """One engine in flight. Its state is hidden, so a snapshot is (scenario, actions so far)."""

    def start(self, scenario: Floats) -> Floats:
        """Begin the episode of scenario [K]; returns the first observation [O]."""
        ...

    def advance(self, action: NDArray) -> tuple[Floats, float, int]:
        """One control period: observation [O], reward, ending (0 = goes on)."""
        ...

    def measure(self) -> Floats:
        """The signals [S] of the current state."""
        ...


@dataclass(frozen=True)
class Recording:
    """Everything that was seen step by step. After an episode's end, signals and observations keep
    their last value; actions and rewards are zero."""

    signal_names: tuple[str, ...]
    signals: Floats  # [B, T+1, S]
    actions: NDArray  # [B, T] or [B, T, A]
    rewards: Floats  # [B, T]
    observations: Floats  # [B, T+1, O]

    def signal(self, name: str) -> Floats:
        """One signal [B, T+1] by name."""
        return self.signals[:, :, self.signal_names.index(name)]


@dataclass(frozen=True)
class Trajectories:
    """What happened in B episodes, in the order of their scenarios."""

    scenarios: Floats  # [B, K]
    returns: Floats  # [B]
    lengths: Integers  # [B]
    endings: Integers  # [B], indices into ending_names
    ending_names: tuple[str, ...]
    recording: Recording | None = None
    spec_names: tuple[str, ...] = ()
    margins: Floats | None = None  # [B, P], one column per specification; negative = violated

    def __len__(self) -> int:
        return len(self.returns)

    def part(self, rows: slice) -> Trajectories:
        """These of the episodes; of a recording nothing."""
        arrays = (self.scenarios[rows], self.returns[rows], self.lengths[rows], self.endings[rows])
        margins = None if self.margins is None else self.margins[rows]
        return Trajectories(*arrays, self.ending_names, spec_names=self.spec_names, margins=margins)

    def alive(self, steps: int) -> NDArray[np.bool_]:
        """[B, steps]: whether step t of episode b took place."""
        return np.arange(steps) < self.lengths[:, None]

    def ended(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """[B]: whether the episode ended in one of the named ways."""
        return np.isin(self.endings, [self.ending_names.index(name) for name in names])

    @property
    def violated(self) -> NDArray[np.bool_]:
        """[B]: whether the episode broke any of the specifications it was flown under."""
        if self.margins is None:
            return np.zeros(len(self), dtype=bool)
        return np.any(self.margins < 0, axis=1)

    def violations(self) -> dict[str, int]:
        """How many episodes broke each specification."""
        if self.margins is None:
            return {}
        return dict(zip(self.spec_names, (self.margins < 0).sum(axis=0).tolist(), strict=True))


@runtime_checkable
class Spec(Protocol):
    """What must hold: from trajectories to a robustness margin."""

    @property
    def name(self) -> str:
        """Short name, the key under which violations are counted."""
        ...

    @property
    def text(self) -> str:
        """The formula as it was written."""
        ...

    @property
    def recorded(self) -> bool:
        """Whether it reads recordings; where not, lengths and endings are enough."""
        ...

    def __call__(self, trajectories: Trajectories, /) -> Floats:
        """Robustness margins [B]; negative = violated."""
        ...


@dataclass(frozen=True, eq=False)
class Counterexample:
    """A scenario on which a policy breaks a specification, replayed through the reference path."""

    scenario: Floats  # [K]
    spec: str  # the broken specification's name
    margin: float  # the policy's, negative
    teacher_margin: float | None  # the teacher's on the same scenario; negative: the teacher fails too
