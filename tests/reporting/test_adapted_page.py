"""The pages of validate and adapt: their numbers are those of the databases."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from niwaki.adaptation.database import load_database
from niwaki.adaptation.learning import Update
from niwaki.recipes.adapt import Order, adapt
from niwaki.recipes.adapted_certificate import read_adapted
from niwaki.recipes.validate import validate
from niwaki.reporting.adapted_page import write_adapted_page
from niwaki.reporting.validation_page import render
from niwaki.reporting.wording import number
from niwaki.types import NiwakiError


@pytest.fixture(scope="module")
def folder(homing, meadow, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    order = Order("stagewise", episodes=400, stages=2, bound=0.2)
    return Path(adapt(homing(0.3, 6.0, -1.0), homing(1.5, 8.0, -1.5), meadow, out, order).out)


def test_the_report_shows_what_the_databases_say(folder):
    page = write_adapted_page(folder).read_text(encoding="utf-8")
    c = read_adapted(folder)
    cells = re.findall(r"<td>([^<]*)</td>", page)
    for i, name in enumerate(("database", "adapted-1", "adapted-2")):
        d = load_database(folder, name)
        line = cells[7 * i : 7 * i + 7]
        failures = int((~d.succeeded | (d.lengths > c.horizon)).sum())
        assert line[1:4] == [number(d.lengths[d.succeeded & (d.lengths <= c.horizon)].mean()), str(failures), "400"]
    assert c.statement.replace("<", "&lt;") in page
    assert page.count('viewBox="0 0 640 300"') == 4  # steps, horizon, and two from stage to stage
    for line in (*c.assumptions, *c.not_claimed):
        assert line.replace("'", "&#x27;") in page


def test_the_promise_at_the_chosen_horizon_lies_on_the_wanted_bound(folder):
    page, c = write_adapted_page(folder).read_text(encoding="utf-8"), read_adapted(folder)
    assert f"eps(T) alpha^T: {number(c.bound)} at {c.horizon}" in page


def test_it_shows_where_the_policies_go_and_what_they_draw_from(folder, tmp_path):
    page = write_adapted_page(folder, tmp_path / "page.html", episodes=7).read_text(encoding="utf-8")
    for name in ("base", "adapted", "task policy"):
        assert re.search(rf"<figcaption>{name}: \d of 7 failed", page)
    assert len(re.findall(r"<figcaption>base: \d+ steps?(?:, failed)?, adapted: \d+ step", page)) == 6
    assert page.count('class="ellipses"') == 1
    assert write_adapted_page(folder, tmp_path / "again.html", episodes=7).read_text(encoding="utf-8") == page


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(NiwakiError, match="there is no file"):
        write_adapted_page(tmp_path)


def test_the_page_of_a_database_marks_the_best_horizon(homing, meadow):
    found = validate(homing(0.3, 6.0, -1.0), meadow, episodes=400, bound=0.2)
    page = render(found)
    assert f"eps(T): {number(found.failure_bound)} at {found.horizon}" in page
    assert f"max ln alpha(T): {number(math.log(found.permitted_alpha))} at {found.horizon}" in page
    assert page.count("<tr>") == 1 + len(found.horizons)
    hopeless = validate(homing(0.3, 6.0, -1.0), meadow, episodes=20, bound=0.01)
    assert "nothing can be permitted" in render(hopeless)
    assert np.isfinite(found.failure_bound)


def test_a_training_that_the_run_holds_is_drawn(folder, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    assert "The training" not in write_adapted_page(copy).read_text(encoding="utf-8")
    book = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    update = asdict(Update(steps=3000, episodes=8, failures=2, returns=0.0, length=15.0, outside=0.0))
    book["ledger"].append({"stage": "finetune", "facts": {"updates": [update]}, "seconds": 1.0})
    (copy / "run.json").write_text(json.dumps(book), encoding="utf-8")
    page = write_adapted_page(copy).read_text(encoding="utf-8")
    assert "2 of 8 failed" in page
    assert "steps to goal: 15 at 3000" in page.replace(",", "")
    book["ledger"][-1]["facts"] = {"updates": [update | {"episodes": 0}]}
    (copy / "run.json").write_text(json.dumps(book), encoding="utf-8")
    with pytest.raises(NiwakiError, match="cannot be read"):
        write_adapted_page(copy)
