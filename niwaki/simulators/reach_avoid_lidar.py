"""The pseudo-lidars of Safety Gym: in which directions things lie, and how near they are."""

from __future__ import annotations

import math

import numpy as np

from niwaki.types import Floats

BINS = 16
GAIN = 0.5  # 1/m


def pseudo_lidar(position: Floats, heading: Floats, things: Floats) -> Floats:
    """What one lidar sees [n, 16] of things [n, M, 2] from positions [n, 2] with headings [n].

    A thing at distance r and angle b to the left of the heading, in bin k = floor(16 b / 2 pi), shows there with
    exp(-r / 2). It also shows in both neighbours: with the fraction f of the bin that lies behind it in bin k + 1, and
    with 1 - f in bin k - 1. A bin keeps the largest value; nothing shows where there is nothing.
    """
    n, count, _ = things.shape
    seen = np.zeros((n, BINS))
    rows = np.arange(n)
    cos, sin = np.cos(heading), np.sin(heading)
    for m in range(count):
        dx, dy = (things[:, m] - position).T
        angle = np.arctan2(cos * dy - sin * dx, cos * dx + sin * dy) * (BINS / (2 * math.pi))
        bins = np.floor(angle)
        fraction = angle - bins
        bins = bins.astype(np.intp)
        nearness = np.exp(-GAIN * np.sqrt(dx * dx + dy * dy))
        for step, share in ((-1, 1.0 - fraction), (0, None), (1, fraction)):
            shown = nearness if share is None else nearness * share
            place = rows, (bins + step) % BINS
            seen[place] = shown if m == 0 else np.maximum(seen[place], shown)
    return seen
