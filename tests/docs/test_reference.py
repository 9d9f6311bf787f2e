"""The pages on the command line and on JSON name every command, option and key that there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from niwaki.cli import app

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def section(page: str, heading: str) -> str:
    """The text below a heading such as `## niwaki info`."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    found = [part for part in parts if part.splitlines()[0].strip("` ") == heading]
    assert len(found) == 1, f"{page} needs one section {heading!r}"
    return found[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_described(command):
    text = section("commands.md", f"niwaki {command}")
    for parameter in COMMANDS[command].params:
        for name in (o for o in parameter.opts if o.startswith("--") and o not in ("--help", "--json")):
            assert f"`{name}" in text, f"commands.md says nothing of {name} of niwaki {command}"
    described = set(re.findall(r"`(--[a-z-]+)", text))
    known = {o for p in COMMANDS[command].params for o in p.opts}
    assert described <= known | {"--json", "--help"}, f"niwaki {command} has no option {described - known}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example_in_its_help(command):
    assert f"Example: niwaki {command}" in " ".join((COMMANDS[command].help or "").split())
