"""How a task policy learnt within its budget: what each part of the training took, and how often it failed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from niwaki.adaptation.learning import Update
from niwaki.reporting.curves import Axis, Curve, plot
from niwaki.reporting.markup import Markup, join, tag

PARTS = 40  # points of a curve, at most: updates of few episodes are drawn together


def learning_curve(updates: Sequence[Update], bound: float) -> Markup:
    """Steps to the goal and failures against the control steps that were flown, the bound dashed."""
    steps, failures = [], []
    for part in np.array_split(np.arange(len(updates)), min(PARTS, len(updates))):
        chosen = [updates[i] for i in part]
        at, (failed, flown) = float(chosen[-1].steps), _episodes(chosen)
        failures.append((at, failed / flown))
        arrived = [(u.length, u.episodes - u.failures) for u in chosen if u.length is not None]
        if arrived:
            steps.append((at, sum(length * n for length, n in arrived) / sum(n for _, n in arrived)))
    failed, flown = _episodes(updates)
    flown_until = Axis("control steps of the training")
    return join(
        tag("h2", "The training"),
        tag("p", f"Every flight kept the budget: {failed:,} of {flown:,} failed."),
        plot([Curve("steps to goal", tuple(steps), dots=True)], flown_until, Axis("steps to goal")),
        plot(
            [Curve("failure rate", tuple(failures), dots=True)],
            flown_until,
            Axis("share of the episodes that failed; dashed: the bound"),
            level=bound,
        ),
    )


def _episodes(updates: Sequence[Update]) -> tuple[int, int]:
    """Those that failed, and all."""
    return sum(u.failures for u in updates), sum(u.episodes for u in updates)
