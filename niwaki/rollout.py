"""The one loop: simulator x policy x scenarios -> trajectories."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from niwaki.types import (
    Discrete,
    Engine,
    EngineRun,
    EpisodicPolicy,
    Floats,
    Integers,
    Lockstep,
    NiwakiError,
    Pilot,
    Policy,
    Recording,
    Simulator,
    Spec,
    Trajectories,
)

CHUNK = 1024  # rows a lockstep simulator flies at once when they are recorded: more are too much memory
UNRECORDED = 4096  # and when they are not: with fewer, calling NumPy costs as much as its work
TASKS_PER_WORKER = 32  # portions in which engine rows are dealt out: nobody waits long for the last one

Progress = Callable[[int], None]  # how many more
Stages = Callable[[str, int, int], None]  # (stage, done, in all)


def counted(stages: Stages, stage: str, total: int) -> Progress:
    """A rollout's progress, which tells how many more, as a stage's, which tells how many in all."""
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        stages(stage, done, total)

    return advance


def rollout(
    simulator: Simulator,
    policy: Policy | EpisodicPolicy,
    scenarios: Floats,
    *,
    specs: Sequence[Spec] = (),
    record: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Trajectories:
    """Fly one episode per scenario row [B, K].

    The same scenario gives the same bits whatever the batch and however many workers. `specs` are judged
    as the episodes end, so that their margins cost no memory. With `record`, signals, actions, rewards and
    observations of every step are kept. `workers` processes share the rows
    (None: one per processor for an engine, one for a lockstep simulator); they are joblib's, so any joblib
    backend, such as a Ray cluster's, takes the same call. `progress` is told how many more episodes ended.
    Raises NiwakiError when rows or policy do not fit the simulator.
    """
    scenarios = np.atleast_2d(np.asarray(scenarios, dtype=np.float64))
    return _share_out(simulator, _Crew(policy), scenarios, tuple(specs), record, workers, progress)


def rollouts(
    simulator: Simulator, policies: Sequence[Policy], scenarios: Floats, *, specs: Sequence[Spec] = ()
) -> list[Trajectories]:
    """Fly every policy through the same scenarios [B, K]: what `rollout` gives of each, to the bit.

    A lockstep simulator flies many of them at once, where calling NumPy costs more than its work on B rows.
    """
    n = len(scenarios)
    together = max(1, _most(specs) // max(1, n)) if isinstance(simulator, Lockstep) else 1
    flown: list[Trajectories] = []
    for group in (policies[i : i + together] for i in range(0, len(policies), together)):
        rows = np.tile(scenarios, (len(group), 1))
        all_of_them = rollout(simulator, _Formation(group) if len(group) > 1 else group[0], rows, specs=specs)
        flown += (all_of_them.part(slice(i * n, (i + 1) * n)) for i in range(len(group)))
    return flown


def take_over(
    simulator: Simulator,
    policy: Policy | EpisodicPolicy,
    flights: Trajectories,
    *,
    rows: Integers,
    steps: Integers,
    specs: Sequence[Spec] = (),
    workers: int | None = None,
) -> Trajectories:
    """Fly recorded episodes again and let the policy take over: flight i repeats episode rows[i] for its first
    steps[i] actions. Returns and margins are of the whole flight.

    The same scenario under the same actions gives the same bits, so this is exact for every simulator. An episodic
    policy watches the steps that it does not fly: what it remembers is as if its own actions had been flown.
    Raises NiwakiError when the flights were not recorded, or for steps beyond an episode's end.
    """
    if flights.recording is None:
        raise NiwakiError("only recorded flights can be taken over: fly them with record=True")
    beyond = (steps < 0) | (steps > flights.lengths[rows])
    if beyond.any():
        raise NiwakiError(f"a policy cannot take over after {steps[beyond][0]} steps of an episode that has fewer")
    crew = _Crew(policy, flights.recording.actions[rows], steps)
    return _share_out(simulator, crew, flights.scenarios[rows], tuple(specs), False, workers, None)


@dataclass(frozen=True)
class _Crew:
    """Who acts: for an episode's first steps a recording, where there is one, then the policy."""

    policy: Policy | EpisodicPolicy
    recorded: NDArray | None = None  # [B, T] or [B, T, A]
    steps: Integers | None = None  # [B], how many of them are flown again

    def part(self, rows: slice) -> _Crew:
        if self.recorded is None or self.steps is None:
            return self
        return _Crew(self.policy, self.recorded[rows], self.steps[rows])

    def begin(self, scenarios: Floats) -> Pilot:
        pilot = self.policy.begin(scenarios) if isinstance(self.policy, EpisodicPolicy) else _Forgetful(self.policy)
        if self.recorded is None or self.steps is None:
            return pilot
        return _Repeating(pilot, self.recorded, self.steps)


@dataclass(frozen=True)
class _Forgetful:
    """A pure function of the observations as a pilot."""

    policy: Policy

    def act(self, t: int, rows: Integers, observations: Floats, /) -> NDArray:
        return self.policy(observations)


@dataclass(frozen=True)
class _Repeating:
    """A pilot that waits until the recording has been flown."""

    pilot: Pilot
    recorded: NDArray
    steps: Integers

    def act(self, t: int, rows: Integers, observations: Floats, /) -> NDArray:
        free = t >= self.steps[rows]
        if free.all():
            return self.pilot.act(t, rows, observations)
        actions = self.recorded[rows, t]
        if not isinstance(self.pilot, _Forgetful):
            actions[free] = self.pilot.act(t, rows, observations)[free]
        elif free.any():
            actions[free] = self.pilot.act(t, rows[free], observations[free])
        return actions


@dataclass(frozen=True)
class _Formation:
    """Several policies, each of which flies its equal share of the episodes, in order."""

    policies: Sequence[Policy]

    @property
    def observation_size(self) -> int:
        return self.policies[0].observation_size

    def begin(self, scenarios: Floats, /) -> _InFormation:
        return _InFormation(self.policies, np.arange(1, len(self.policies)) * (len(scenarios) // len(self.policies)))


@dataclass(frozen=True)
class _InFormation:
    """The pilot of several policies; `firsts`: the first episode of each but the first."""

    policies: Sequence[Policy]
    firsts: Integers

    def act(self, t: int, rows: Integers, observations: Floats, /) -> NDArray:
        shares = np.split(observations, np.searchsorted(rows, self.firsts))
        return np.concatenate([policy(seen) for policy, seen in zip(self.policies, shares, strict=True)])


def _share_out(
    simulator: Simulator,
    crew: _Crew,
    scenarios: Floats,
    specs: tuple[Spec, ...],
    record: bool,
    workers: int | None,
    progress: Progress | None,
) -> Trajectories:
    """Deal the rows out to the workers and put together what they flew."""
    name, columns, size = simulator.name, len(simulator.columns), simulator.observation_size
    if scenarios.shape[1] != columns:
        raise NiwakiError(f"{name} takes scenarios of {columns} numbers, got {scenarios.shape[1]}")
    if crew.policy.observation_size != size:
        raise NiwakiError(f"the policy takes {crew.policy.observation_size} observations, {name} gives {size}")
    if workers is None:
        workers = (os.cpu_count() or 1) if isinstance(simulator, Engine) else 1
    if workers < 1:
        raise NiwakiError(f"workers must be at least 1, got {workers}")
    chunks = _chunks(simulator, len(scenarios), workers, _most(specs, record))
    jobs = (delayed(_judged)(simulator, crew.part(rows), scenarios[rows], specs, record) for rows in chunks)
    parts = []
    for part in Parallel(n_jobs=min(workers, len(chunks)) or 1, return_as="generator")(jobs):
        parts.append(part)
        if progress is not None:
            progress(len(part))
    return join(parts)


def _most(specs: Sequence[Spec], record: bool = False) -> int:
    """Rows that a lockstep simulator flies at once."""
    return CHUNK if record or any(spec.recorded for spec in specs) else UNRECORDED


def _chunks(simulator: Simulator, n: int, workers: int, size: int) -> list[slice]:
    if isinstance(simulator, Lockstep):
        size = min(size, max(CHUNK, -(-n // workers)))
    if isinstance(simulator, Engine):
        size = max(1, min(CHUNK, -(-n // (workers * TASKS_PER_WORKER))))
    return [slice(i, i + size) for i in range(0, n, size)] or [slice(0)]


def _judged(simulator: Simulator, crew: _Crew, rows: Floats, specs: tuple[Spec, ...], record: bool) -> Trajectories:
    flown = _fly(simulator, crew, rows, record or any(spec.recorded for spec in specs))
    if specs:
        margins = np.column_stack([spec(flown) for spec in specs])
        flown = replace(flown, spec_names=tuple(spec.name for spec in specs), margins=margins)
    return flown if record else replace(flown, recording=None)


def _fly(simulator: Simulator, crew: _Crew, rows: Floats, record: bool) -> Trajectories:
    if isinstance(simulator, Lockstep):
        return _fly_lockstep(simulator, crew.begin(rows), rows, record)
    if isinstance(simulator, Engine):
        run = _running(simulator)
        pilots = (crew.part(slice(i, i + 1)).begin(rows[i : i + 1]) for i in range(len(rows)))
        parts = [_fly_engine(simulator, run, pilot, row, record) for pilot, row in zip(pilots, rows, strict=True)]
        return join(parts or [_nothing(simulator, rows)])
    raise NiwakiError(f"{simulator.name} is neither a Lockstep nor an Engine simulator")


def _fly_lockstep(simulator: Lockstep, pilot: Pilot, rows: Floats, record: bool) -> Trajectories:
    n, horizon = len(rows), simulator.horizon
    returns, lengths = np.zeros(n), np.full(n, horizon, dtype=np.int32)
    endings = np.zeros(n, dtype=np.int8)
    state, alive = simulator.reset(rows), np.arange(n)
    book = _Book(simulator, n) if record else None
    for t in range(horizon):
        observations = simulator.observe(state)
        if book:
            book.see(t, alive, observations, simulator.measure(state))
        actions = pilot.act(t, alive, observations)
        state, rewards, ending = simulator.step(state, actions)
        returns[alive] += rewards
        if book:
            book.do(t, alive, actions, rewards)
        done = ending != 0
        if done.any():
            lengths[alive[done]], endings[alive[done]] = t + 1, ending[done]
            if book:
                book.see(t + 1, alive[done], simulator.observe(state[done]), simulator.measure(state[done]))
            state, alive = state[~done], alive[~done]
            if len(alive) == 0:
                break
    else:
        if book:
            book.see(horizon, alive, simulator.observe(state), simulator.measure(state))
    recording = book.close(lengths) if book else None
    return Trajectories(rows, returns, lengths, endings, simulator.endings, recording)


def _fly_engine(simulator: Engine, run: EngineRun, pilot: Pilot, row: Floats, record: bool) -> Trajectories:
    total, ending, t, only = 0.0, 0, 0, np.zeros(1, dtype=int)
    observation = run.start(row)
    # Copies: an engine may write into the arrays that it gave before.
    seen = [(observation.copy(), run.measure().copy())] if record else []
    done: list[tuple[NDArray | int, float]] = []
    for t in range(1, simulator.horizon + 1):
        action = pilot.act(t - 1, only, observation[None])[0]
        observation, reward, ending = run.advance(action)
        total += reward
        if record:
            done.append((action, reward))
            seen.append((observation.copy(), run.measure().copy()))
        if ending:
            break
    lengths = np.array([t], dtype=np.int32)
    recording = _written(simulator, seen, done) if record else None
    endings = np.array([ending], dtype=np.int8)
    return Trajectories(row[None], np.array([total]), lengths, endings, simulator.endings, recording)


class _Book:
    """Arrays that a recording is written into, steps first so that a step's rows lie together."""

    def __init__(self, simulator: Simulator, n: int) -> None:
        steps, space = simulator.horizon, simulator.action_space
        self.names = tuple(s.name for s in simulator.signals)
        self.signals = np.zeros((steps + 1, n, len(self.names)))
        self.observations = np.zeros((steps + 1, n, simulator.observation_size), dtype=np.float32)
        self.rewards = np.zeros((steps, n))
        self.actions: NDArray
        if isinstance(space, Discrete):
            self.actions = np.zeros((steps, n), dtype=np.int32)
        else:
            self.actions = np.zeros((steps, n, len(space.low)), dtype=np.float32)

    def see(self, t: int, rows: NDArray | None, observations: Floats, signals: Floats) -> None:
        self.observations[t, rows], self.signals[t, rows] = observations, signals

    def do(self, t: int, rows: NDArray | None, actions: NDArray, rewards: Floats | float) -> None:
        self.actions[t, rows], self.rewards[t, rows] = actions, rewards

    def close(self, lengths: NDArray) -> Recording:
        """Cut to the longest episode; what was last seen is held after an episode's end."""
        longest = int(lengths.max(initial=0))
        last = np.minimum(np.arange(longest + 1)[:, None], lengths)
        column = np.arange(len(lengths))
        return Recording(
            self.names,
            self.signals[last, column].swapaxes(0, 1),
            self.actions[:longest].swapaxes(0, 1),
            self.rewards[:longest].swapaxes(0, 1),
            self.observations[last, column].swapaxes(0, 1),
        )


def _written(
    simulator: Engine, seen: list[tuple[Floats, Floats]], done: list[tuple[NDArray | int, float]]
) -> Recording:
    """The recording of one episode that was noted step by step: ten times quicker than writing into arrays."""
    observations, signals = zip(*seen, strict=True)
    actions, rewards = zip(*done, strict=True)
    kind = np.int32 if isinstance(simulator.action_space, Discrete) else np.float32
    return Recording(
        tuple(s.name for s in simulator.signals),
        np.array(signals, dtype=np.float64)[None],
        np.array(actions, dtype=kind)[None],
        np.array(rewards, dtype=np.float64)[None],
        np.array(observations, dtype=np.float32)[None],
    )


_open: dict[Engine, EngineRun] = {}


def _running(simulator: Engine) -> EngineRun:
    """This process's engine for the simulator: opening one costs more than an episode."""
    if simulator not in _open:
        _open.clear()
        _open[simulator] = simulator.open()
    return _open[simulator]


def _nothing(simulator: Simulator, rows: Floats) -> Trajectories:
    return Trajectories(rows, np.zeros(0), np.zeros(0, np.int32), np.zeros(0, np.int8), simulator.endings)


def join(parts: Sequence[Trajectories]) -> Trajectories:
    """The episodes of all parts in order; all were flown under the same specifications."""
    if len(parts) == 1:
        return parts[0]
    recordings = [p.recording for p in parts if p.recording is not None]
    return Trajectories(
        np.concatenate([p.scenarios for p in parts]),
        np.concatenate([p.returns for p in parts]),
        np.concatenate([p.lengths for p in parts]),
        np.concatenate([p.endings for p in parts]),
        parts[0].ending_names,
        _join_recordings(recordings) if recordings else None,
        parts[0].spec_names,
        None if parts[0].margins is None else np.concatenate([p.margins for p in parts if p.margins is not None]),
    )


def _join_recordings(parts: list[Recording]) -> Recording:
    longest = max(p.rewards.shape[1] for p in parts)

    def stretch(arrays: Iterator[NDArray], steps: int, mode: str) -> NDArray:
        # signals and observations hold their last value; actions and rewards are zero after the end
        kind = {"mode": "edge"} if mode == "edge" else {"mode": "constant"}
        return np.concatenate(
            [np.pad(a, [(0, 0), (0, steps - a.shape[1])] + [(0, 0)] * (a.ndim - 2), **kind) for a in arrays]  # type: ignore[call-overload]
        )

    return Recording(
        parts[0].signal_names,
        stretch((p.signals for p in parts), longest + 1, "edge"),
        stretch((p.actions for p in parts), longest, "zero"),
        stretch((p.rewards for p in parts), longest, "zero"),
        stretch((p.observations for p in parts), longest + 1, "edge"),
    )
