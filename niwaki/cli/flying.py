"""niwaki evaluate, play, tasks: flying policies."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from niwaki.cli.console import (
    ActivationOption,
    JsonOption,
    LayersOption,
    PolicyArgument,
    SeedOption,
    VecNormalizeOption,
    err,
    out,
    print_json,
    progress,
    read_policy,
    say,
    table,
)
from niwaki.cli.subject import SpecOption, TaskOption, WorkersOption, has_teacher, read_teacher, task_of
from niwaki.compiler import find_compiler
from niwaki.evaluation import Row, paired_difference, policy_row, scenarios_for
from niwaki.policies.deployed import deployed, ns_per_call
from niwaki.policies.network import NetworkPolicy
from niwaki.rollout import rollout
from niwaki.tasks import Task, load_task, task_names, with_specs
from niwaki.tasks.fitting import fit
from niwaki.types import Box, Discrete, NiwakiError, Trajectories


def register(app: typer.Typer) -> None:
    app.command("evaluate")(evaluate)
    app.command("play")(play)
    app.command("tasks")(tasks)


def evaluate(
    policy: PolicyArgument,
    task: TaskOption = None,
    episodes: Annotated[int, typer.Option("--episodes", "-n", help="Episodes to fly.")] = 1000,
    seed: SeedOption = 0,
    against: Annotated[
        str | None, typer.Option("--against", metavar="POLICY", help="Fly this one on the same scenarios as well.")
    ] = None,
    spec: SpecOption = None,
    workers: WorkersOption = None,
    activation: ActivationOption = None,
    layers: LayersOption = None,
    vecnormalize: VecNormalizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fly a policy many times: return with a 95 % interval, violations by specification, size and speed.

    What flies is the C that would be exported, compiled; without a compiler, the same bits in NumPy.

    Example: niwaki evaluate cartpole --episodes 1000
    """
    start = time.perf_counter()
    if find_compiler() is None:
        err.print("no C compiler found: the same bits, more slowly, in NumPy (install gcc or clang, or set CC)")
    chosen = with_specs(task_of(policy, task), spec)
    subject = fit(read_policy(policy, activation=activation, layers=layers, vecnormalize=vecnormalize), chosen)
    teacher = None if against is None else fit(read_teacher(against), chosen)
    row, flights, seconds = _fly(policy, subject, chosen, episodes, seed, workers)
    teacher_row: Row | None = None
    difference: Row | None = None
    steps = int(flights.lengths.sum())
    if against is not None and teacher is not None:
        teacher_row, teacher_flights, more = _fly(against, teacher, chosen, episodes, seed, workers)
        difference = paired_difference(flights, teacher_flights)
        steps, seconds = steps + int(teacher_flights.lengths.sum()), seconds + more
    report = {
        "task": chosen.name,
        "seed": seed,
        "policy": row,
        "teacher": teacher_row,
        "paired_difference": difference,
        "steps_per_second": round(steps / seconds, 1),
        "seconds": round(time.perf_counter() - start, 3),
    }
    if as_json:
        print_json(report)
        return
    _show(chosen, [(policy, row)] + ([] if teacher_row is None else [(str(against), teacher_row)]), difference, seed)
    say(f"{report['steps_per_second']:,.0f} steps per second, {report['seconds']:.1f} s in all")


def _fly(
    name: str, policy: NetworkPolicy, task: Task, episodes: int, seed: int, workers: int | None
) -> tuple[Row, Trajectories, float]:
    flying = deployed(policy)
    scenarios = scenarios_for(task.simulator, episodes, seed=seed)
    start = time.perf_counter()
    with progress(f"flying {Path(name).name}", episodes) as advance:
        flights = rollout(task.simulator, flying, scenarios, specs=task.specs, workers=workers, progress=advance)
    seconds = time.perf_counter() - start
    row = policy_row(policy, trajectories=flights, ns_per_call=ns_per_call(flying))
    return row, flights, seconds


def _show(task: Task, rows: list[tuple[str, Row]], difference: Row | None, seed: int) -> None:
    names = [Path(name).name for name, _ in rows]
    shown = table(f"{task.name}", *(names if len(set(names)) == len(names) else ("policy", "teacher")))
    values = [row for _, row in rows]
    episodes = values[0]["episodes"]
    shown.add_row("return, mean", *(number(r["return_mean"]) for r in values))
    shown.add_row("  95 % interval", *(interval(r) for r in values))
    shown.add_row("episode length", *(number(r["length_mean"]) for r in values))
    for spec in task.specs:
        shown.add_row(f"broken: {spec.name}", *(f"{r['violations'][spec.name]:,}" for r in values))  # type: ignore[index]
    if task.specs:
        shown.add_row("violation rate", *(f"{r['violation_rate']:.2%}" for r in values))
    shown.add_row("parameters", *(f"{r['parameters']:,}" for r in values))
    shown.add_row("bytes", *(f"{r['bytes']:,}" for r in values))
    shown.add_row("ns per call", *(number(r["ns_per_call"]) for r in values))
    out.print(shown)
    if difference is not None:
        say(f"paired difference of return: {number(difference['return_mean'])} {interval(difference)}")
        say(f"paired difference of violation rate: {difference['violation_rate']:+.2%}")
    say(f"{episodes:,} episodes, seed {seed}", "dim")


def add_measures(shown: Table, rows: Sequence[Any]) -> None:
    """The table's lines about policies: how good, how safe, how big, how fast; a policy row for each column."""
    shown.add_row("return, mean", *(f"{number(r['return_mean'])} {half_width(r)}" for r in rows))
    for name in rows[0]["violations"]:
        shown.add_row(f"broken: {name}", *(f"{r['violations'][name]:,}" for r in rows))
    shown.add_row("violation rate", *(f"{r['violation_rate']:.2%}" for r in rows))
    shown.add_row("weights that are not zero", *(f"{r['nonzero_weights']:,}" for r in rows))
    shown.add_row("bytes", *(f"{r['bytes']:,}" for r in rows))
    shown.add_row("ns per call", *(number(r["ns_per_call"]) for r in rows))


def number(value: object, digits: int = 1) -> str:
    """A number for people; a dash for what was not measured."""
    return "-" if value is None else f"{value:,.{digits}f}"


def interval(row: Row) -> str:
    """The interval of a row's return."""
    return "-" if row["return_low"] is None else f"[{row['return_low']:,.1f}, {row['return_high']:,.1f}]"


def half_width(row: Row) -> str:
    """The interval of a row's return as +- around the mean."""
    low, high = row["return_low"], row["return_high"]
    return "-" if low is None else f"±{(high - low) / 2:,.1f}"  # type: ignore[operator]


def tasks(as_json: JsonOption = False) -> None:
    """List what can be flown. Any Gymnasium id, or a TOML file of yours, will do as well.

    Example: niwaki tasks
    """
    found, missing = [], {}
    for name in task_names():
        try:
            found.append(load_task(name))
        except NiwakiError as error:
            missing[name] = str(error)
    if as_json:
        print_json({"tasks": [_describe(t) for t in found], "unavailable": missing})
        return
    shown = table("task", "observations", "actions", "steps", "goal", "teacher", title="Tasks")
    for t in found:
        s = t.simulator
        goal = "-" if t.return_threshold is None else f"{t.return_threshold:g}"
        teacher = "yes" if has_teacher(t.name) else "-"
        shown.add_row(t.name, str(s.observation_size), _actions(t), f"{s.horizon:,}", goal, teacher)
    out.print(shown)
    for name, reason in missing.items():
        say(f"{name}: {reason}", "dim")


def _actions(task: Task) -> str:
    space = task.simulator.action_space
    return f"one of {space.n}" if isinstance(space, Discrete) else f"{len(space.low)} continuous"


def _describe(task: Task) -> dict[str, object]:
    s = task.simulator
    space = s.action_space
    bounds = None if not isinstance(space, Box) else {"low": list(space.low), "high": list(space.high)}
    return {
        "name": task.name,
        "title": task.title,
        "observations": s.observation_size,
        "actions": space.n if isinstance(space, Discrete) else len(space.low),
        "discrete": isinstance(space, Discrete),
        "bounds": bounds,
        "horizon": s.horizon,
        "return_threshold": task.return_threshold,
        "scenario": [{"name": c.name, "unit": c.unit, "sample": c.sample, "search": c.search} for c in s.columns],
        "signals": [{"name": x.name, "unit": x.unit} for x in s.signals],
        "endings": s.endings,
        "failures": s.failures,
        "specs": {spec.name: spec.text for spec in task.specs},
        "risk": task.risk,
        "teacher": has_teacher(task.name),
    }


def play(
    policy: PolicyArgument,
    task: TaskOption = None,
    record: Annotated[
        Path | None, typer.Option("--record", help="Write a film (.mp4 or .gif) instead of opening a window.")
    ] = None,
    episodes: Annotated[int, typer.Option("--episodes", "-n", help="Episodes to show.")] = 1,
    seed: SeedOption = 0,
    activation: ActivationOption = None,
    layers: LayersOption = None,
    vecnormalize: VecNormalizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch a policy fly: in a window where there is a display, as a film with --record where not.

    Example: niwaki play cartpole --record cartpole.gif
    """
    from niwaki.playback import has_display, record_film, show_window

    chosen = task_of(policy, task)
    subject = fit(read_policy(policy, activation=activation, layers=layers, vecnormalize=vecnormalize), chosen)
    if record is None and not has_display():
        raise NiwakiError("there is no display here: add --record FILE.gif or --record FILE.mp4")
    scenarios = scenarios_for(chosen.simulator, episodes, seed=seed)
    flying = deployed(subject)
    with progress("flying", episodes) as advance:
        if record is None:
            seen = show_window(chosen.simulator, flying, scenarios, progress=advance)
        else:
            seen = record_film(chosen.simulator, flying, scenarios, record, progress=advance)
    report = {
        "task": chosen.name,
        "seed": seed,
        "file": None if record is None else str(record),
        "episodes": [
            {"return": float(r), "length": int(n), "ending": seen.ending_names[e]}
            for r, n, e in zip(seen.returns, seen.lengths, seen.endings, strict=True)
        ],
    }
    if as_json:
        print_json(report)
        return
    for i in range(len(seen)):
        ending = seen.ending_names[seen.endings[i]].replace("_", " ")
        say(f"episode {i + 1}: return {seen.returns[i]:.1f} in {seen.lengths[i]} steps, ended: {ending}")
    if record is not None:
        out.print(str(record), soft_wrap=True)
