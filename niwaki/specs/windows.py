"""Minimum and maximum over sliding windows of time, for many episodes at once.

Arrays are [T, B], time first, so that one step forward is one block of memory further. The last row holds
for ever. Windows are built by doubling (a window of 2w is two windows of w): log2(w) passes, no loop over time;
those that reach the end for whatever start are one running minimum from there.
"""

from __future__ import annotations

import numpy as np

from niwaki.types import Floats


def sliding(choose: np.ufunc, values: Floats, start: int, stop: int, count: int) -> Floats:
    """[count, B]: row t is `choose` (np.minimum or np.maximum) over the rows t+start .. t+stop of values [T, B]."""
    last = len(values) - 1
    start, stop = min(start, last), min(stop, last)
    if count == 1:
        return choose.reduce(values[start : stop + 1], axis=0, keepdims=True)
    if stop == last:  # every window reaches the end: one pass backwards
        return later(choose.accumulate(values[::-1], axis=0)[::-1], start, count)
    width, span = stop - start + 1, 1
    while 2 * span <= width:
        values = joined(choose, values, values, span)
        span *= 2
    if span < width:
        values = joined(choose, values, values, width - span)  # two windows that overlap
    return later(values, start, count)


def until(left: Floats, right: Floats, start: int, stop: int, count: int) -> Floats:
    """[count, B]: row t is the maximum over t' in t+start .. t+stop of min(right[t'], min(left[t .. t'-1])).

    `left until[a,b] right` holds where `left` holds for a steps and then `left until right` does, with
    `right` within b - a steps (Donze, Ferrere & Maler 2013); minimum and maximum form a distributive
    lattice, so that the margins agree as the truth values do.
    """
    width = min(stop - start, len(left) - 1)
    held, reached, span = left, right, 1
    while span <= width:
        reached = np.maximum(reached, joined(np.minimum, held, reached, span))
        held = joined(np.minimum, held, held, span)
        span *= 2
    if width < len(left) - 1:  # the doubling may have gone beyond the window
        reached = np.minimum(reached, sliding(np.maximum, right, 0, width, len(right)))
    if start == 0:
        return reached[:count]
    return np.minimum(sliding(np.minimum, left, 0, start - 1, count), later(reached, start, count))


def joined(choose: np.ufunc, values: Floats, others: Floats, steps: int) -> Floats:
    """Row t is `choose` of values[t] and of others[t + steps], both [T, B]; 0 < steps <= T."""
    out = np.empty_like(values)
    choose(values[:-steps], others[steps:], out=out[:-steps])
    choose(values[-steps:], others[-1:], out=out[-steps:])
    return out


def later(values: Floats, start: int, count: int) -> Floats:
    """The rows start .. start+count-1 of values [T, B], of which the last one holds for ever."""
    if start + count <= len(values):
        return values[start : start + count]
    return values[np.minimum(np.arange(start, start + count), len(values) - 1)]
