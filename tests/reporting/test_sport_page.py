"""The page of a sport run: every figure of the outcome, the paper's beside it, and no way out of the folder."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from niwaki.recipes.experiment import Order, Sport
from niwaki.recipes.ledger import read_run
from niwaki.recipes.sport import sport
from niwaki.reporting.report import write_report
from niwaki.reporting.sport_page import is_sport, write_sport_page
from niwaki.reporting.wording import number, percent
from niwaki.types import NiwakiError

ORDER = Order(bound=0.3, episodes=200, stages=2, alphas=(1.0, 1.1, 2.0, 20.0),
              methods=("ratio", "stagewise gaussian"))  # fmt: skip


@pytest.fixture(scope="module")
def run(homing, meadow, tmp_path_factory) -> Sport:
    out = tmp_path_factory.mktemp("sport") / "out"
    return sport(homing(0.3, 6.0, -1.0), homing(1.5, 8.0, -1.5), meadow, out, ORDER)


@pytest.fixture(scope="module")
def page(run) -> str:
    return write_sport_page(Path(run.out), episodes=8).read_text(encoding="utf-8")


def test_the_tables_say_what_was_found(run, page):
    lines = [re.findall(r"<td>([^<]*)</td>", line) for line in re.findall(r"<tr>(.*?)</tr>", page)]
    lines = [[html.unescape(cell) for cell in line] for line in lines]
    for result in run.layouts:
        for point in result.points:
            f = point.flown
            cells = [number(point.alpha), f"{f.steps_to_goal:.2f}", number(point.published_steps_to_goal)]
            (line,) = [each for each in lines if each[:3] == cells and each[4] == f"{f.violations:,}"][:1]
            assert line[5] == percent(f.violation_rate)
            assert line[7:] == [
                percent(point.published_violation_rate), number(point.prior_bound), number(f.posterior_bound),
            ]  # fmt: skip
        first = result.methods[0].flown.sooner
        for each in result.methods:
            wanted = [each.method, f"{each.flown.steps_to_goal:.2f}"]
            found = [line for line in lines if line[:2] == wanted]
            assert any(line[4] == f"{each.flown.sooner / first:.1f}" for line in found)


def test_the_bounds_are_drawn_where_they_lie(run, page):
    for result in run.layouts:
        for point in result.points:
            assert f"bound known before: {number(point.prior_bound)} at {number(point.alpha)}" in page
        at = next(row for row in result.horizons if row.horizon == result.horizon)
        assert f"eps(T): {number(at.failure_bound)} at {result.horizon}" in page
        promised = min(1.0, at.failure_bound * 1.1**result.horizon)
        assert f"alpha = 1.1: {number(promised)} at {result.horizon}" in page
    assert page.count('class="ellipses"') == 2  # of the one budget alone, on both layouts
    assert page.count("8 episodes of each policy") == 2
    assert "<script" not in page


def test_the_report_command_finds_the_page_of_each_kind_of_folder(run, page, tmp_path):
    folder = Path(run.out)
    assert is_sport(folder)
    assert not is_sport(folder / "fixed" / "ratio")
    assert write_report(folder, tmp_path / "a.html", episodes=8).read_text(encoding="utf-8") == page
    own = write_report(folder / "fixed" / "ratio", tmp_path / "b.html", episodes=8).read_text(encoding="utf-8")
    assert own.startswith("<!doctype html>")
    assert "ratio: meadow-fixed" in own
    with pytest.raises(NiwakiError, match="at least one episode, got 0"):
        write_report(folder, episodes=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: o["layouts"][0]["methods"][0].update(method="../../x"), "has the methods ratio"),
        (lambda o: o["layouts"][0].update(layout=".."), "has the layouts fixed and random"),
        (lambda o: o["layouts"][0]["points"][0].update(alpha="many"), "cannot be read, it is damaged"),
        (lambda o: o["layouts"][0]["points"][0].update(alpha=-1.0), "cannot be read, it is damaged"),
        (lambda o: o.pop("layouts"), "cannot be read, it is damaged"),
    ],
)
def test_a_changed_run_is_refused(run, tmp_path, change, message):
    book = read_run(Path(run.out))
    change(book["outcome"])
    (tmp_path / "run.json").write_text(json.dumps(book))
    for name in ("base.safetensors", "task.safetensors", "fixed.toml", "random.toml"):
        (tmp_path / name).write_bytes((Path(run.out) / name).read_bytes())
    with pytest.raises(NiwakiError, match=message):
        write_sport_page(tmp_path)


def test_a_run_that_is_not_over_is_refused(run, tmp_path):
    book = read_run(Path(run.out))
    del book["outcome"]
    (tmp_path / "run.json").write_text(json.dumps(book))
    assert is_sport(tmp_path)
    with pytest.raises(NiwakiError, match="has no outcome yet"):
        write_sport_page(tmp_path)
