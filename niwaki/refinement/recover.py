"""Recovery states: the last moment of a failing run at which the teacher could still have saved it.

B. Gangopadhyay, P. Dasgupta, S. Dey: Safety Aware Neural Pruning for Deep Reinforcement Learning, 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.rollout import CHUNK, Progress, take_over
from niwaki.types import Floats, Integers, Lockstep, NiwakiError, Policy, Simulator, Spec, Trajectories

FIRST_LEAP = 8  # steps back from the end of an engine's run; every further leap reaches twice as far


Probe = Callable[[Integers, Integers], NDArray[np.bool_]]  # (runs, steps): whether the teacher is safe from there


@dataclass(frozen=True)
class Recovery:
    """Where a run could still be saved."""

    step: int  # actions of the failing policy before it
    observation: Floats  # [O], what the teacher sees there


def recover(
    simulator: Simulator,
    teacher: Policy,
    failing: Trajectories,
    *,
    specs: Sequence[Spec],
    threshold: float | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Recovery | None]:
    """For each failing run, the last state from which the teacher continues safely; None where there is none.

    Safely: all `specs` hold over what was flown and the continuation, and the whole return is at least
    `threshold` (None: no matter). Where a simulator steps many runs at once, every step is probed from the end
    backwards, because safety need not be monotone. An engine repeats the run for every probe, so it leaps back,
    8, 16, 32, ... steps from the end, to the first safe state, and bisects after that: this finds a safe state
    whose next is not safe, the last one where safety is monotone. `failing` must be recorded and judged under
    `specs`, and every run in it must have failed (NiwakiError). `progress` is told how many more runs are settled.
    """
    _check(failing, specs)
    least = -np.inf if threshold is None else threshold

    def safe(runs: Integers, steps: Integers) -> NDArray[np.bool_]:
        flown = take_over(simulator, teacher, failing, rows=runs, steps=steps, specs=specs, workers=workers)
        return ~flown.violated & (flown.returns >= least)

    lengths = failing.lengths.astype(int)
    find = _by_every_step if isinstance(simulator, Lockstep) else _by_leaps
    steps = find(lengths, safe, progress or (lambda settled: None))
    return [_recovery(failing, run, int(step)) if step >= 0 else None for run, step in enumerate(steps)]


def _by_every_step(lengths: Integers, safe: Probe, progress: Progress) -> Integers:
    """The last safe step of each run, -1 where there is none."""
    found, upto, open_runs = np.full(len(lengths), -1), lengths.copy(), np.arange(len(lengths))
    while len(open_runs):
        block = max(1, CHUNK // len(open_runs))
        steps = upto[open_runs, None] - 1 - np.arange(block)  # [runs, block], the latest first
        rows = np.broadcast_to(open_runs[:, None], steps.shape)[steps >= 0]
        good = np.zeros(steps.shape, dtype=bool)
        good[steps >= 0] = safe(rows, steps[steps >= 0])
        some = good.any(axis=1)
        found[open_runs[some]] = steps[some, good[some].argmax(axis=1)]
        upto[open_runs] -= block
        settled = some | (upto[open_runs] <= 0)
        progress(int(settled.sum()))
        open_runs = open_runs[~settled]
    return found


def _by_leaps(lengths: Integers, safe: Probe, progress: Progress) -> Integers:
    """A safe step of each run whose next step is not safe, -1 where the first state is not safe either."""
    low, high = np.full(len(lengths), -1), lengths.copy()  # safe (as far as known), not safe
    leap, open_runs = FIRST_LEAP, np.arange(len(lengths))
    while len(open_runs):
        steps = np.maximum(lengths[open_runs] - leap, 0)
        good = safe(open_runs, steps)
        low[open_runs[good]], high[open_runs[~good]] = steps[good], steps[~good]
        open_runs, leap = open_runs[~good & (steps > 0)], 2 * leap
    open_runs = np.arange(len(lengths))
    while len(open_runs := open_runs[high[open_runs] - low[open_runs] > 1]):
        steps = (low[open_runs] + high[open_runs]) // 2
        good = safe(open_runs, steps)
        low[open_runs[good]], high[open_runs[~good]] = steps[good], steps[~good]
    progress(len(lengths))
    return low


def _recovery(failing: Trajectories, run: int, step: int) -> Recovery:
    assert failing.recording is not None
    return Recovery(step, failing.recording.observations[run, step])


def _check(failing: Trajectories, specs: Sequence[Spec]) -> None:
    if failing.recording is None:
        raise NiwakiError("recovery needs recorded runs: fly them with record=True")
    if not specs or failing.spec_names != tuple(spec.name for spec in specs):
        raise NiwakiError(f"the runs were judged under {failing.spec_names}, not under the specifications given")
    if not failing.violated.all():
        run = int(np.argmin(failing.violated))
        raise NiwakiError(f"run {run} broke no specification, so there is nothing to recover from")
