"""Recovery states: the last moment of a failing run at which the teacher could still have saved it.

B. Gangopadhyay, P. Dasgupta, S. Dey: Safety Aware Neural Pruning for Deep Reinforcement Learning, 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from niwaki.rollout import CHUNK, Progress, take_over
from niwaki.types import Floats, Lockstep, NiwakiError, Policy, Simulator, Spec, Trajectories

ENGINE_PROBES = 8  # flown at once by a stateful engine: enough to keep a few processes busy


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
    `threshold` (None: no matter). Steps are probed one by one from the end backwards, several at a time:
    safety need not be monotone, so no bisection, and a probe that is too late fails soon. `failing` must be
    recorded and judged under `specs`, and every run in it must have failed (NiwakiError). `progress` is told
    how many more runs are settled.
    """
    _check(failing, specs)
    found: list[Recovery | None] = [None] * len(failing)
    at_once = CHUNK if isinstance(simulator, Lockstep) else ENGINE_PROBES
    upto, open_runs = failing.lengths.astype(int), np.arange(len(failing))  # steps from upto on are too late
    while len(open_runs):
        block = max(1, at_once // len(open_runs))
        steps = upto[open_runs, None] - 1 - np.arange(block)  # [runs, block], the latest first
        rows = np.broadcast_to(open_runs[:, None], steps.shape)[steps >= 0]
        flown = take_over(simulator, teacher, failing, rows=rows, steps=steps[steps >= 0], specs=specs, workers=workers)
        safe = np.zeros(steps.shape, dtype=bool)
        safe[steps >= 0] = ~flown.violated & (flown.returns >= (-np.inf if threshold is None else threshold))
        for run, good, at in zip(open_runs, safe, steps, strict=True):
            if good.any():
                found[run] = _recovery(failing, int(run), int(at[good.argmax()]))
        upto[open_runs] -= block
        settled = safe.any(axis=1) | (upto[open_runs] <= 0)
        open_runs = open_runs[~settled]
        if progress is not None:
            progress(int(settled.sum()))
    return found


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
