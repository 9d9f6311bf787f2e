"""Milliseconds to judge 1000 recorded episodes of 500 steps, beside the time it takes to read the recording once.

The recording lies in memory as `rollout` leaves it: time first, the signals of an episode side by side. `once` is one
pass of np.minimum.reduce over all bytes of the arrays that a formula reads: no evaluation can be faster than the
memory gives them. Times are CPU time of this process; the fastest and the median of all repeats.

    python benchmarks/specs/sweep.py [--repeats 50]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from niwaki.simulators.cartpole import CartPole
from niwaki.specs import parse_spec
from niwaki.specs.formula import Formula
from niwaki.types import Recording, Trajectories

EPISODES, STEPS = 1000, 500
FORMULAS = (
    "always(not fell)",
    "always(abs(x) <= 2.4)",
    "eventually(always(abs(x) <= 0.2))",
    "always(abs(x) <= 2.4) and always(theta > 0.1 implies eventually[0,20](abs(theta) <= 0.05))",
    "always((abs(x) <= 1 and abs(theta) <= 0.1) until[0,100] (abs(x_dot) <= 0.5 or fell))",
    "always(theta > 0.1 implies eventually[0,20](always[0,50](abs(theta) <= 0.05) or return >= 100))",
)


def flights() -> Trajectories:
    """Made-up episodes of all lengths, in the memory layout of a rollout."""
    rng, simulator = np.random.default_rng(0), CartPole()
    lengths = rng.integers(1, STEPS + 1, EPISODES).astype(np.int32)
    lengths[0] = STEPS
    signals = rng.normal(size=(STEPS + 1, EPISODES, len(simulator.signals))).cumsum(axis=0) / 50
    recording = Recording(
        tuple(s.name for s in simulator.signals),
        signals.swapaxes(0, 1),
        np.zeros((STEPS, EPISODES), dtype=np.int32).swapaxes(0, 1),
        np.ones((STEPS, EPISODES)).swapaxes(0, 1),
        np.zeros((STEPS + 1, EPISODES, 4), dtype=np.float32).swapaxes(0, 1),
    )
    endings = rng.integers(0, len(simulator.endings), EPISODES)
    return Trajectories(np.zeros((EPISODES, 1)), np.zeros(EPISODES), lengths, endings, simulator.endings, recording)


def arrays_read(spec: Formula, flown: Trajectories) -> list[np.ndarray]:
    """What a formula reads of the recording."""
    seen = flown.recording
    assert seen is not None
    signals = [seen.signals] if any(name in spec.text for name in seen.signal_names) else []
    return signals + ([seen.rewards] if "return" in spec.text else [])


def read_once(arrays: list[np.ndarray]) -> None:
    """One pass over the arrays in the order of memory."""
    for array in arrays:
        np.minimum.reduce(array.swapaxes(0, 1).reshape(STEPS, -1) if array.ndim == 2 else by_time(array))


def by_time(array: np.ndarray) -> np.ndarray:
    """[T+1, B*S] without a copy."""
    return array.swapaxes(0, 1).reshape(array.shape[1], -1)


def milliseconds(work: Callable[[], object], repeats: int) -> list[float]:
    """CPU time of every repeat."""
    times = []
    for _ in range(repeats):
        start = time.process_time_ns()
        work()
        times.append((time.process_time_ns() - start) / 1e6)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=50)
    args = parser.parse_args()
    flown = flights()
    print("| formula | ms, fastest | median | read, MB | once, ms | ratio |\n|---|---|---|---|---|---|")
    for text in FORMULAS:
        spec = parse_spec(text, CartPole())
        assert isinstance(spec, Formula)
        arrays = arrays_read(spec, flown)
        took = milliseconds(lambda spec=spec: spec(flown), args.repeats)
        once = min(milliseconds(lambda arrays=arrays: read_once(arrays), args.repeats))
        megabytes = sum(array.nbytes for array in arrays) / 1e6
        limit = f"{megabytes:.0f} | {once:.2f} | {min(took) / once:.1f}" if arrays else "0 | - | -"
        print(f"| `{text}` | {min(took):.2f} | {statistics.median(took):.2f} | {limit} |", flush=True)


if __name__ == "__main__":
    main()
