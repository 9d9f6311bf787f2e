"""What the actions of an episode were drawn from: base, task and adapted policy as ellipses, step by step.

An ellipse is one standard deviation around the mean of the first two action components, before the squash, drawn in
deviations of the base around its mean: there the base is the unit circle of every panel, and equal ratios look equal.
The dashed one is the contour of the largest allowed ratio: where the adapted mean may lie, given its deviations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from niwaki.policies.gaussian import Gaussian
from niwaki.reporting.adapted_flights import Moment
from niwaki.reporting.curves import legend
from niwaki.reporting.markup import Markup, tag
from niwaki.types import Floats

SHOWN = 12  # moments of an episode at most
SIDE = 170  # pixels of a panel
FAR = 4.0  # deviations of the base: where a panel ends, however far the task policy is
MARGIN = 1.05
NAMES = ("base", "adapted", "task")


def panels(moments: Sequence[Moment], axes: tuple[str, str]) -> Markup:
    """Up to SHOWN panels to one scale, evenly over the episode, the first and last step included."""
    chosen = np.unique(np.linspace(0, len(moments) - 1, min(SHOWN, len(moments))).round().astype(int))
    shown = [moments[i] for i in chosen]
    reach = _reach(shown)
    note = (
        f"Across {axes[0]}, up {axes[1]}, in deviations of the base around its mean, {reach:.1f} to each side; a line "
        "leads to the task policy's mean. Dashed: where the adapted mean may lie."
    )
    return tag(
        "figure",
        tag("div", *(_panel(moment, reach) for moment in shown), class_="ellipses"),
        tag("figcaption", note, legend(NAMES)),
    )


def _panel(moment: Moment, reach: float) -> Markup:
    base = moment.base
    parts = [
        _line(base, moment.task),
        _ring(base, moment.near.mean, moment.region, "region"),
        *(
            part
            for of, colour in ((base, "one"), (moment.task, "three"), (moment.adapted, "two"))
            for part in (_ring(base, of.mean, of.std, colour), _dot(base, of.mean, colour))
        ),
    ]
    said = f"step {moment.step}. " + ". ".join(
        _said(name, of) for name, of in zip(NAMES, (base, moment.adapted, moment.task), strict=True)
    )
    svg = tag(
        "svg", tag("title", said), tag("g", *parts, transform="scale(1,-1)"), role="img", aria_label=said,
        viewBox=f"{-reach:.3f} {-reach:.3f} {2 * reach:.3f} {2 * reach:.3f}", width=SIDE, height=SIDE,
    )  # fmt: skip
    return tag("div", svg, tag("p", f"step {moment.step}"))


def _reach(shown: Sequence[Moment]) -> float:
    """Half a panel's side: as far as base, adapted policy and region go, and the task policy's mean, up to FAR."""
    furthest = 1.0
    for m in shown:
        sides = (np.abs(_scaled(m.base, of.mean)) + of.std[:2] / m.base.std[:2] for of in (m.adapted, m.near))
        furthest = max(furthest, *(float(side.max()) for side in sides))
        furthest = max(furthest, min(FAR, float(np.abs(_scaled(m.base, m.task.mean)).max())))
        furthest = max(furthest, float((np.abs(_scaled(m.base, m.near.mean)) + m.region[:2] / m.base.std[:2]).max()))
    return MARGIN * furthest


def _scaled(base: Gaussian, mean: Floats) -> Floats:
    """The first two components in deviations of the base around its mean."""
    return (mean[:2] - base.mean[:2]) / base.std[:2]


def _ring(base: Gaussian, mean: Floats, around: Floats, colour: str) -> Markup:
    x, y = _rounded(_scaled(base, mean))
    a, b = _rounded(around[:2] / base.std[:2])
    return tag("ellipse", cx=x, cy=y, rx=a, ry=b, class_=colour)


def _dot(base: Gaussian, mean: Floats, colour: str) -> Markup:
    x, y = _rounded(_scaled(base, mean))
    return tag("line", x1=x, y1=y, x2=x, y2=y, class_=f"mean {colour}")  # of no length: a dot at any scale


def _line(base: Gaussian, task: Gaussian) -> Markup:
    x, y = _rounded(_scaled(base, task.mean))
    return tag("line", x1=0, y1=0, x2=x, y2=y)


def _rounded(values: Floats) -> list[float]:
    rounded: list[float] = values.round(4).tolist()
    return rounded


def _said(name: str, of: Gaussian) -> str:
    parts = (f"{m:.2f} ± {s:.2f}" for m, s in zip(of.mean[:2], of.std[:2], strict=True))
    return f"{name}: {', '.join(parts)}"
