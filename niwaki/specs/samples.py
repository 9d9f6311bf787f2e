"""What a formula reads: the quantities of some episodes over time, held after an episode's end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from niwaki.types import Floats, Integers, NiwakiError, Recording

Source = Literal["event", "signal", "action", "reward", "return"]


@dataclass(frozen=True, eq=False)
class Samples:
    """B episodes, seen at the indices 0 .. T, where T is the longest of their lengths."""

    lengths: Integers  # [B]
    endings: Integers  # [B], indices into ending_names
    ending_names: tuple[str, ...]
    recording: Recording | None = None
    _read: dict[tuple[Source, str | int], Floats] = field(default_factory=dict)

    @property
    def indices(self) -> NDArray:
        """0 .. T, as a column."""
        return np.arange(int(self.lengths.max()) + 1)[:, None]

    def rows(self, rows: slice) -> Samples:
        """Some of the episodes."""
        seen = self.recording
        if seen is not None:
            arrays = (seen.signals, seen.actions, seen.rewards, seen.observations)
            seen = Recording(seen.signal_names, *(array[rows] for array in arrays))
        return Samples(self.lengths[rows], self.endings[rows], self.ending_names, seen)

    def read(self, source: Source, key: str | int) -> Floats:
        """Values [T+1, B] of an event (+1 where it holds, else -1), a signal, or an action by its number."""
        if (source, key) not in self._read:
            self._read[source, key] = np.ascontiguousarray(self._values(source, key), dtype=np.float64)
        return self._read[source, key]

    def _values(self, source: Source, key: str | int) -> NDArray:
        match source, key:
            case "event", str(name):
                return self._event(name)
            case "signal", str(name):
                return self._signal(name)
            case "action", int(column):
                return self._action(column)
            case "reward", _:
                return self._reward()
        return np.cumsum(np.where(self.indices <= self.lengths, self._reward(), 0.0), axis=0)

    def _event(self, name: str) -> Floats:
        named = name in self.ending_names  # otherwise it is "terminated": any ending but the time limit
        happened = self.endings == self.ending_names.index(name) if named else self.endings != 0
        return np.where(happened & (self.indices >= self.lengths), 1.0, -1.0)

    def _signal(self, name: str) -> Floats:
        recording = self._recording()
        if name not in recording.signal_names:
            names = ", ".join(recording.signal_names)
            raise NiwakiError(f"the recording has no signal {name!r}; it has {names}")
        return recording.signal(name).T[: len(self.indices)]

    def _action(self, column: int) -> NDArray:
        """The action taken at an index; at the end of the episode, the last one."""
        actions = self._recording().actions
        values = actions if actions.ndim == 2 else actions[:, :, column]
        return np.take_along_axis(values.T, np.minimum(self.indices, self.lengths - 1), axis=0)

    def _reward(self) -> Floats:
        """What was received on arriving at an index: nothing at index 0; at the end, what the last step gave."""
        received = np.pad(self._recording().rewards.T, ((1, 0), (0, 0)))
        return np.take_along_axis(received, np.minimum(self.indices, self.lengths), axis=0)

    def _recording(self) -> Recording:
        if self.recording is None:
            raise NiwakiError("the specification is read step by step: fly with record=True")
        return self.recording
