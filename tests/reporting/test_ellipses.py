"""Ellipses: one deviation around the mean, in the base's, to one scale, with the numbers when pointed at."""

from __future__ import annotations

import re

import numpy as np
import pytest

from niwaki.policies.gaussian import Gaussian
from niwaki.reporting.adapted_flights import Moment
from niwaki.reporting.ellipses import SHOWN, panels


def moment(step: int) -> Moment:
    def at(x: float, std: float) -> Gaussian:
        return Gaussian(np.array([x, step / 10]), np.array([std, std / 2]))

    return Moment(step, at(1.0, 2.0), at(41.0, 0.6), at(1.8, 1.8), at(1.0, 2.0), np.array([1.4, 0.6]))


def test_every_ellipse_lies_where_its_distribution_does():
    drawn = panels([moment(1)], ("throttle", "steering"))
    found = re.findall(r'<ellipse cx="([^"]*)" cy="([^"]*)" rx="([^"]*)" ry="([^"]*)" class="([^"]*)"', drawn)
    assert found == [
        ("0.0", "0.0", "0.7", "0.6", "region"),
        ("0.0", "0.0", "1.0", "1.0", "one"),
        ("20.0", "0.0", "0.3", "0.3", "three"),
        ("0.4", "0.0", "0.9", "0.9", "two"),
    ]
    assert "step 1. base: 1.00 ± 2.00, 0.10 ± 1.00. adapted: 1.80 ± 1.80" in drawn
    assert "Across throttle, up steering" in drawn


def test_a_far_task_policy_does_not_make_the_rest_small():
    left, _, width, _ = map(float, re.search(r'viewBox="([^"]*)"', panels([moment(1)], ("a", "b")))[1].split())  # type: ignore[index]
    assert left == pytest.approx(-4.2)
    assert width == pytest.approx(8.4)


def test_long_episodes_are_shown_from_first_to_last_step_to_one_scale():
    drawn = panels([moment(i + 1) for i in range(40)], ("a", "b"))
    steps = [int(n) for n in re.findall(r"<p>step (\d+)</p>", drawn)]
    assert (len(steps), steps[0], steps[-1]) == (SHOWN, 1, 40)
    assert steps == sorted(set(steps))
    assert len(set(re.findall(r'viewBox="([^"]*)"', drawn))) == 1
    assert panels([moment(1), moment(2)], ("a", "b")).count("<svg") == 2
