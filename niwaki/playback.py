"""Watching a policy fly: in a window, or as a film.

Our lockstep simulators compute what Gymnasium's environments do, so Gymnasium draws them: its environment
is put into each state and asked for a picture.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from niwaki.policies.files import write_whole
from niwaki.rollout import Progress
from niwaki.simulators.environments import make_environment
from niwaki.types import Engine, Floats, Lockstep, NiwakiError, Policy, Simulator, Trajectories

Frame = NDArray[np.uint8]  # [H, W, 3]

# The Gymnasium environment that draws a lockstep simulator, and how many state columns it holds.
DRAWN_BY = {
    "CartPole": ("CartPole-v1", 4),
    "Pendulum": ("Pendulum-v1", 2),
    "MountainCar": ("MountainCar-v0", 2),
    "MountainCarContinuous": ("MountainCarContinuous-v0", 2),
    "Acrobot": ("Acrobot-v1", 4),
}
FRAMES_PER_SECOND = 50


def has_display() -> bool:
    """Whether a window can be opened here."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show_window(simulator: Simulator, policy: Policy, scenarios: Floats, *, progress: Progress) -> Trajectories:
    """Fly the scenarios [B, K] in a window; returns what happened."""
    show = _Show(simulator, policy, "human")
    try:
        for scenario in scenarios:
            for _ in show.fly(scenario):
                pass
            progress(1)
    finally:
        show.close()
    return show.flown()


def record_film(
    simulator: Simulator, policy: Policy, scenarios: Floats, path: Path, *, progress: Progress
) -> Trajectories:
    """Fly the scenarios [B, K] into a film (.mp4 or .gif, whole or not at all); returns what
    happened. Raises NiwakiError when the extra `play` is missing, the suffix is another or the disk is full."""
    if path.suffix not in (".mp4", ".gif"):
        raise NiwakiError(f"a film ends in .mp4 or .gif, got {path.name!r}")
    if not path.parent.is_dir():
        raise NiwakiError(f"there is no folder {str(path.parent)!r} to write the film into")
    try:
        import imageio.v2 as imageio
    except ImportError as error:
        raise NiwakiError('recording needs an extra package: pip install "niwaki[play]"') from error
    show = _Show(simulator, policy, "rgb_array")
    film = BytesIO()  # imageio complains at length about a full disk, even after the program has ended
    options: dict[str, Any] = {"format": path.suffix, "fps": FRAMES_PER_SECOND}
    options |= {"loop": 0} if path.suffix == ".gif" else {"macro_block_size": 2}
    try:
        writer: Any = imageio.get_writer(film, **options)
        with writer:
            for scenario in scenarios:
                for frame in show.fly(scenario):
                    writer.append_data(frame)
                progress(1)
    finally:
        show.close()
    write_whole(path, film.getvalue())
    return show.flown()


class _Show:
    """Flies one episode at a time, frame by frame, and remembers how each went."""

    def __init__(self, simulator: Simulator, policy: Policy, mode: str) -> None:
        self.simulator, self.policy = simulator, policy
        self.seen: list[tuple[Floats, float, int, int]] = []
        if isinstance(simulator, Engine):
            self.run = simulator.open(render_mode=mode)  # type: ignore[call-arg]
            self.env = self.run.env  # type: ignore[attr-defined]
        else:
            env_id, self.held = DRAWN_BY[simulator.name]
            self.env = make_environment(env_id, (), render_mode=mode).unwrapped
            self.env.reset(seed=0)

    def fly(self, scenario: Floats) -> Iterator[Frame | None]:
        """Yield a frame per step (None where the frame went to the window)."""
        flight = self._lockstep(scenario) if isinstance(self.simulator, Lockstep) else self._engine(scenario)
        total, t, last = 0.0, 0, 0
        for frame, reward, ending in flight:
            total, t, last = total + reward, t + 1, ending
            yield frame
            if t == self.simulator.horizon:
                break
        self.seen.append((scenario, total, t, last))

    def _lockstep(self, scenario: Floats) -> Iterator[tuple[Frame | None, float, int]]:
        simulator = self.simulator
        assert isinstance(simulator, Lockstep)
        state, ending = simulator.reset(scenario[None]), 0
        while not ending:
            action = self.policy(simulator.observe(state))
            state, rewards, endings = simulator.step(state, action)
            ending = int(endings[0])
            self.env.state = state[0, : self.held].copy()
            self.env.last_u = float(np.ravel(action)[0])  # the arrow that Pendulum's picture shows
            yield self.env.render(), float(rewards[0]), ending

    def _engine(self, scenario: Floats) -> Iterator[tuple[Frame | None, float, int]]:
        observation, ending = self.run.start(scenario), 0
        while not ending:
            observation, reward, ending = self.run.advance(self.policy(observation[None])[0])
            yield self.env.render(), reward, ending

    def flown(self) -> Trajectories:
        scenarios, returns, lengths, endings = zip(*self.seen, strict=True)
        return Trajectories(
            np.array(scenarios), np.array(returns), np.array(lengths), np.array(endings), self.simulator.endings
        )

    def close(self) -> None:
        self.env.close()
