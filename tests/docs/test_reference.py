"""The pages on the command line and on JSON name every command, option and key that there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from niwaki.cli import app
from niwaki.evaluation import policy_row
from niwaki.policies.loading import load_policy
from niwaki.policies.storage import save_policy
from niwaki.types import NiwakiError

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


EXAMPLES = {
    "import": "import cartpole -o policy.safetensors",
    "info": "info cartpole",
    "evaluate": "evaluate cartpole --against cartpole --episodes 2",
    "export": "export cartpole --out build --inputs 10 --episodes 2",
    "train": "train --task cartpole --steps 500 --episodes 2",
    "play": "play cartpole --task short.toml --record film.gif",
    "tasks": "tasks",
    "certify": "certify cartpole --task cartpole-v0 --out build --risk 0.5 --confidence 0.5 --against cartpole",
    "check": "check build",
    "validate": "validate base.safetensors --task meadow.toml --episodes 300 --bound 0.3 --out database",
    "adapt": "adapt base.safetensors task.safetensors --task meadow.toml --episodes 300 --bound 0.3",
    "prune": "prune cartpole --task cartpole-v0 --score magnitude -o pruned.safetensors --episodes 2",
    "sanp": "sanp cartpole --task cartpole-v0 --simulations 5 --episodes 2 --return 100",
    "falsify": "falsify cartpole --task cartpole-v0 --simulations 20",
    "refine": "refine cartpole --task cartpole-v0 --against cartpole --counterexamples found.json -o new.safetensors",
    "ship": "ship cartpole --task short.toml --risk 0.5 --confidence 0.5 --simulations 20 --rounds 0 --out shipped",
    "shrink": "shrink cartpole --task short.toml --out shrunk",
    "pops": "pops cartpole --task short.toml --objective 5 --steps 200 --iterations 1 --out popped",
    "sport": "sport --base base.safetensors --task-policy task.safetensors --task meadow.toml -n 200 --bound 0.5"
    " --alphas 1,2 --methods ratio",
    "report": "report refused -o report.html --episodes 2",
}
BEFORE = {
    "refine": "falsify cartpole --task cartpole-v0 --simulations 20 --out found.json",
    "check": "certify cartpole --task cartpole-v0 --out build --risk 0.5 --confidence 0.5",
    "report": "ship cartpole --task short.toml --return 1000 --out refused",
}
SHOWS = {"import": "info", "check": "certify", "ship": "certify", "adapt": "certify"}  # what else a command prints
# Their keys are names that the policy, the task or the machine chose.
FREE = {"violations", "endings", "specs", "scenario", "origin", "unavailable", "files", "versions", "simulator"}


def keys(value: object) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(keys, value))
    if not isinstance(value, dict):
        return set()
    return set(value) | set().union(*(keys(v) for k, v in value.items() if k not in FREE))


def test_every_command_has_an_example_here():
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.parametrize("command", EXAMPLES)
def test_every_key_of_a_commands_json_is_described(command, tmp_path, monkeypatch, homing, meadow):
    monkeypatch.chdir(tmp_path)
    save_policy(homing(0.3, 6.0, -1.0), "base.safetensors")
    save_policy(homing(1.5, 8.0, -1.5), "task.safetensors")
    Path("meadow.toml").write_text(meadow.source)
    Path("short.toml").write_text('title = "A short film"\nsimulator = "cartpole"\nhorizon = 5\n')
    if command in BEFORE:
        CliRunner().invoke(app, BEFORE[command].split())
    result = CliRunner().invoke(app, [*EXAMPLES[command].split(), "--json"])
    if isinstance(result.exception, NiwakiError) and "pip install" in str(result.exception):
        pytest.skip(str(result.exception))
    assert result.exit_code == 0, result.exception
    text = section("json.md", f"niwaki {command}") + section("json.md", "The policy row")
    if command in SHOWS:
        text += section("json.md", f"niwaki {SHOWS[command]}")
    described = set(re.findall(r"`(\w+)`", text))
    assert keys(json.loads(result.stdout)) <= described


def test_the_row_has_no_key_that_is_gone():
    row = section("json.md", "The policy row")
    described = {key for line in row.splitlines() if line.startswith("| `") for key in re.findall(r"`(\w+)`", line)}
    assert described == set(policy_row(load_policy("cartpole")))
