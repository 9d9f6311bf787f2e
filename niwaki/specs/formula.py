"""A specification: a formula with a name, and its margin on every episode."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from niwaki.specs.parts import FOREVER, Part, Quantity, Temporal, Until, everything_in
from niwaki.specs.samples import Samples
from niwaki.types import Floats, Integers, Trajectories

BLOCK = 2**16  # numbers [T, B] worked on at once (512 KiB): what is computed stays in the processor's cache
LARGEST = 1e30  # margins lie within +-LARGEST, so that they can be added up and written to JSON


@dataclass(frozen=True)
class Formula:
    """A specification. Two are equal when they have the same name and mean the same, spaces aside."""

    name: str
    text: str = field(compare=False)
    part: Part

    @property
    def recorded(self) -> bool:
        """Whether it reads more than events, for which lengths and endings are enough."""
        return any(isinstance(part, Quantity) for part in everything_in(self.part))

    def __str__(self) -> str:
        return str(self.part)

    def __call__(self, trajectories: Trajectories, /) -> Floats:
        """Robustness margin [B] at the start of each episode, float64, within +-1e30; negative: violated.

        A margin that is not a number (an episode went to infinity, zero was divided by zero) counts as the
        worst. Raises NiwakiError when a recording is needed and there is none.
        """
        flown = trajectories
        samples = _samples(flown)
        if len(flown) == 0:
            return np.zeros(0)
        if self.recorded:
            return self._margins(samples)
        # Without signals, episodes of the same length and ending are the same.
        kinds = flown.lengths.astype(np.int64) * len(flown.ending_names) + flown.endings
        _, first, which = np.unique(kinds, return_index=True, return_inverse=True)
        return self._margins(Samples(flown.lengths[first], flown.endings[first], flown.ending_names))[which]

    def lost(self, trajectories: Trajectories, /) -> Integers:
        """The first index [B] from which it cannot hold any more, whatever follows.

        That is where the inside of an `always` that looks at single moments is first violated. Where it is not, and for
        all other formulas, an index beyond the last."""
        samples, part = _samples(trajectories), self.part
        count = len(samples.indices)
        always = isinstance(part, Temporal) and part.operator == "always" and (part.start, part.stop) == (0, FOREVER)
        if not always or any(isinstance(inner, Temporal | Until) for inner in everything_in(part.inside()[0])):
            return np.full(len(trajectories), count)
        with np.errstate(all="ignore"):
            broken = ~(part.inside()[0].values(samples, count) >= 0)  # what is not a number is
        broken = np.broadcast_to(broken, (count, len(trajectories)))
        return np.where(broken.any(axis=0), broken.argmax(axis=0), count)

    def _margins(self, samples: Samples) -> Floats:
        rows = max(1, BLOCK // len(samples.indices))
        blocks = [samples.rows(slice(i, i + rows)) for i in range(0, len(samples.lengths), rows)]
        with np.errstate(all="ignore"):
            margins = np.concatenate([self.part.values(block, 1)[0] for block in blocks])
        return np.clip(np.nan_to_num(margins, nan=-LARGEST), -LARGEST, LARGEST)


def _samples(flown: Trajectories) -> Samples:
    return Samples(flown.lengths, flown.endings, flown.ending_names, flown.recording)
