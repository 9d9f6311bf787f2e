"""The picture of a training: every update once, and nothing of an update without an arrival."""

from __future__ import annotations

import re

from niwaki.adaptation.learning import Update
from niwaki.reporting.learning_curve import PARTS, learning_curve
from niwaki.reporting.wording import number


def said(page: str, name: str) -> list[tuple[str, str]]:
    return re.findall(rf"<title>{name}: (\S+) at ([^<]+)</title>", page)


def test_a_training_of_few_updates_is_drawn_update_by_update():
    updates = [Update(100, 4, 1, 0.0, 20.0, 0.0), Update(200, 4, 4, 0.0, None, 0.0), Update(300, 4, 0, 0.0, 10.0, 0.0)]
    page = str(learning_curve(updates, 0.5))
    assert said(page, "failure rate") == [("0.25", "100"), ("1", "200"), ("0", "300")]
    assert said(page, "steps to goal") == [("20", "100"), ("10", "300")]
    assert "5 of 12 failed" in page
    assert 'class="level"' in page


def test_many_updates_are_drawn_together_each_weighing_its_episodes():
    n = 2 * PARTS
    updates = [Update(i + 1, 1 + i % 2, 0, 0.0, 9.0 if i % 2 else 12.0, 0.0) for i in range(n)]
    points = said(str(learning_curve(updates, 0.5)), "steps to goal")
    assert points == [("10", number(float(at))) for at in range(2, n + 1, 2)]


def test_where_nobody_arrives_there_is_nothing_to_draw():
    assert "Nothing to draw" in str(learning_curve([Update(100, 4, 4, 0.0, None, 0.0)], 0.5))
