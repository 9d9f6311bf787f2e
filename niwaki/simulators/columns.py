"""The two usual kinds of scenario column: a start value that varies, a model parameter that does not."""

from __future__ import annotations

from niwaki.types import Column


def varying(name: str, unit: str, low: float, high: float) -> Column:
    """A column drawn from, and searched over, [low, high]; its nominal value is the middle."""
    return Column(name, unit, (low + high) / 2.0, sample=(low, high), search=(low, high))


def constant(name: str, unit: str, value: float) -> Column:
    """A column that keeps its value until a task widens one of its ranges."""
    return Column(name, unit, value, sample=(value, value), search=(value, value))
