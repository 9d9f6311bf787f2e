"""An adapted policy as files that fly again with the same bits: base.safetensors, task.safetensors, adapted.json."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import Budget, FixedRatio, GaussianShift, Odometer
from niwaki.policies.files import naming, parsing, read_bytes, write_whole
from niwaki.policies.gaussian import GaussianPolicy
from niwaki.policies.sampled import sampled
from niwaki.policies.storage import fingerprint, load_gaussian, save_policy
from niwaki.types import NiwakiError

FORMAT = 1
BASE, TASK, BUDGETS = "base.safetensors", "task.safetensors", "adapted.json"
FILES = (BASE, TASK, BUDGETS)
FILE_LIMIT = 2**20  # bytes of adapted.json
MOST_STAGES = 100
KINDS: dict[str, type[Any]] = {"ratio": FixedRatio, "odometer": Odometer, "gaussian": GaussianShift}


def plain(budget: Budget) -> dict[str, Any]:
    """A budget as JSON values: its method and its numbers, to the bit.

    >>> plain(Odometer(risk=0.01, log_budget=2.0))
    {'method': 'odometer', 'risk': 0.01, 'log_budget': 2.0, 'fraction': 0.3}
    """
    method = next(name for name, kind in KINDS.items() if isinstance(budget, kind))
    return {"method": method} | asdict(budget)  # type: ignore[call-overload]


def budget_of(described: object) -> Budget:
    """The budget that `plain` described. Raises NiwakiError for anything else."""
    if not isinstance(described, dict) or described.get("method") not in KINDS:
        raise NiwakiError(f"no budget is described by {str(described)[:80]!r}")
    kind = KINDS[described["method"]]
    values = {key: value for key, value in described.items() if key != "method"}
    if set(values) != {field.name for field in fields(kind)}:
        raise NiwakiError(f"a budget of the method {described['method']} has not the numbers {sorted(values)}"[:200])
    for key, value in values.items():
        wanted = (int,) if key == "horizon" else (int, float, type(None)) if key == "fraction" else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise NiwakiError(f"a budget's {key} must be a number, got {str(value)[:40]!r}")
    budget: Budget = kind(**values)
    return budget


def adapted_digest(base: GaussianPolicy, task: GaussianPolicy, budgets: tuple[Budget, ...]) -> str:
    """SHA-256 of all that an adapted policy computes with."""
    return hashlib.sha256(_encoded(base, task, budgets)).hexdigest()


def save_adapted(base: GaussianPolicy, task: GaussianPolicy, budgets: tuple[Budget, ...], folder: Path) -> None:
    """Write the three files into the folder."""
    save_policy(base, folder / BASE)
    save_policy(task, folder / TASK)
    write_whole(folder / BUDGETS, _encoded(base, task, budgets))


def load_parts(folder: Path) -> tuple[GaussianPolicy, GaussianPolicy, tuple[Budget, ...]]:
    """Base, task and budgets of an adapted policy's folder. Raises NiwakiError where they do not belong together."""
    base, task = load_gaussian(folder / BASE), load_gaussian(folder / TASK)
    with naming(folder / BUDGETS):
        data = read_bytes(folder / BUDGETS, limit=FILE_LIMIT)
        with parsing("adapted policy"):
            found = json.loads(data)
            version, described = found["format"], list(found["budgets"])
        if version != FORMAT:
            raise NiwakiError(f"it has format {str(version)[:20]}, this niwaki reads format {FORMAT}: update niwaki")
        if not 1 <= len(described) <= MOST_STAGES:
            raise NiwakiError(f"an adapted policy has between 1 and {MOST_STAGES} budgets, got {len(described)}")
        budgets = tuple(budget_of(each) for each in described)
        if data != _encoded(base, task, budgets):
            raise NiwakiError(f"it does not belong to {BASE} and {TASK} beside it, or was changed")
    return base, task, budgets


def load_adapted(folder: str | Path) -> AdaptedPolicy:
    """The adapted policy of a folder, as it flies."""
    base, task, budgets = load_parts(Path(folder))
    return adapted(base, task, budgets)


def adapted(base: GaussianPolicy, task: GaussianPolicy, budgets: tuple[Budget, ...]) -> AdaptedPolicy:
    """The policy of these parts as it flies, its networks compiled where there is a compiler."""
    return AdaptedPolicy.staged(sampled(base), sampled(task), budgets)


def _encoded(base: GaussianPolicy, task: GaussianPolicy, budgets: tuple[Budget, ...]) -> bytes:
    content = {
        "format": FORMAT,
        "base_sha256": fingerprint(base),
        "task_sha256": fingerprint(task),
        "budgets": [plain(budget) for budget in budgets],
    }
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
