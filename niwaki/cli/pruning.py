"""niwaki prune, sanp: fewer weights, and the paper's way to mend what that breaks."""

from __future__ import annotations

import time
from dataclasses import asdict
from math import ceil, log2
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from niwaki.cli.console import (
    DOES_NOT_HOLD,
    ActivationOption,
    JsonOption,
    LayersOption,
    PolicyArgument,
    SeedOption,
    VecNormalizeOption,
    out,
    print_json,
    read_policy,
    say,
    stages,
    table,
    writable,
)
from niwaki.cli.flying import add_measures
from niwaki.cli.subject import SpecOption, TaskOption, task_of
from niwaki.evaluation import Row
from niwaki.gates import Gate
from niwaki.policies.files import make_folder
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.pruning import scores
from niwaki.pruning.prune import Scope
from niwaki.pruning.schedules import Schedule, cubic, one_shot
from niwaki.pruning.scores import Score
from niwaki.pruning.search import PATIENCE, Attempt
from niwaki.recipes.compare import compare, shares
from niwaki.recipes.sparsify import Bench, Pruner, Units, Weights, bench, sparsify
from niwaki.rollout import Stages
from niwaki.tasks import Task, with_specs
from niwaki.tasks.fitting import fit
from niwaki.types import NiwakiError

if TYPE_CHECKING:  # searches take a while to import; only `sanp` does
    from niwaki.recipes.sanp import Sanp

SCORES: dict[str, Score] = {
    "magnitude": scores.magnitude,
    "activation": scores.activation,
    "taylor": scores.taylor,
    "fisher": scores.fisher,
    "random": scores.random(0),
}
UNIT_SCORES: dict[str, Score] = {"unit-taylor": scores.unit_taylor, "unit-spread": scores.unit_spread}
SCHEDULES: dict[str, tuple[Schedule, int]] = {"one-shot": (one_shot, 1), "cubic": (cubic, 10)}  # with its rounds
EPISODES = 100  # of every trial in a search
MAY_LOSE = 0.02  # share of the teacher's return, where nobody says which return is needed

ReturnOption = Annotated[
    float | None, typer.Option("--return", help="Mean return that must be kept. Default: the task's threshold.")
]
EpisodesOption = Annotated[
    int, typer.Option("--episodes", "-n", help="Fresh episodes that the result is evaluated on.")
]


def register(app: typer.Typer) -> None:
    app.command("prune")(prune_command)
    app.command("sanp")(sanp_command)


def prune_command(
    policy: PolicyArgument,
    output: Annotated[Path, typer.Option("--out", "-o", help="Where to write the .safetensors file.")],
    task: TaskOption = None,
    spec: SpecOption = None,
    score: Annotated[
        str, typer.Option("--score", help=f"What counts: {', '.join([*SCORES, *UNIT_SCORES])}.")
    ] = "taylor",
    scope: Annotated[
        str, typer.Option("--scope", help="Who competes: layer (each gives its share) or global (all weights).")
    ] = "global",
    schedule: Annotated[
        str, typer.Option("--schedule", help="one-shot, or cubic: in ten rounds, what is left scored anew in each.")
    ] = "one-shot",
    keep: Annotated[
        int | None, typer.Option("--keep", help="Weights (units, for a unit score) to keep, instead of a search.")
    ] = None,
    amount: Annotated[
        float | None, typer.Option("--amount", help="Share of them to prune, instead of a search.")
    ] = None,
    threshold: ReturnOption = None,
    episodes: EpisodesOption = 1000,
    seed: SeedOption = 0,
    activation: ActivationOption = None,
    layers: LayersOption = None,
    vecnormalize: VecNormalizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prune a policy as far as its return and its specifications allow. Nothing is trained.

    The search for the smallest number of weights flies the same scenarios as the policy it began with; the
    result is then evaluated on fresh ones.

    Example: niwaki prune cartpole --task cartpole-v0 -o pruned.safetensors
    """
    start = time.perf_counter()
    writable(output)
    chosen = with_specs(task_of(policy, task), spec)
    teacher = fit(read_policy(policy, activation=activation, layers=layers, vecnormalize=vecnormalize), chosen)
    pruner = _pruner(score, scope, schedule)
    count = _count(pruner.counts(teacher)[0], keep, amount)
    attempts: tuple[Attempt, ...] = ()
    with stages() as progress:
        progress("flying the teacher", 0, EPISODES)
        at = bench(teacher, chosen, episodes=EPISODES, seed=seed)
        progress("flying the teacher", EPISODES, EPISODES)
        if count is None:
            network, attempts = _search(teacher, chosen, at, pruner, _gate(threshold, chosen), progress)
        else:
            network = pruner(teacher, at.observations, keep=count)
        rows = compare({"teacher": teacher, "policy": network}, chosen, episodes, seed, progress)
    save_policy(network, output)
    report = {
        "task": chosen.name,
        "seed": seed,
        "score": score,
        "attempts": [{"keep": a.keep} | asdict(a.verdict) for a in attempts],
        **shares(network, teacher),
        **rows,
        "file": str(output),
        "seconds": round(time.perf_counter() - start, 3),
    }
    if as_json:
        print_json(report)
        return
    _show(report, ("teacher", "policy"))
    tried = f"{len(attempts)} sizes tried; " if attempts else ""
    say(f"{tried}{episodes:,} fresh episodes, seed {seed}, {report['seconds']:.1f} s in all", "dim")
    out.print(str(output), soft_wrap=True)


def sanp_command(
    policy: PolicyArgument,
    task: TaskOption = None,
    spec: SpecOption = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for both policies: pruned, and mended.")
    ] = None,
    threshold: ReturnOption = None,
    simulations: Annotated[int, typer.Option("--simulations", help="Tries of the search for counterexamples.")] = 205,
    episodes: EpisodesOption = 1000,
    seed: SeedOption = 0,
    activation: ActivationOption = None,
    layers: LayersOption = None,
    vecnormalize: VecNormalizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prune as the paper SANP does: at once, then give back weights until the counterexamples found are corrected.

    It is here to be compared with. Exit code 1 when counterexamples are left. That none is left says nothing
    about other starts: look at the violations over the fresh episodes.

    Example: niwaki sanp cartpole --task cartpole-v0 --out sanp
    """
    from niwaki.recipes.sanp import Arguments, sanp

    start = time.perf_counter()
    chosen = with_specs(task_of(policy, task), spec)
    teacher = fit(read_policy(policy, activation=activation, layers=layers, vecnormalize=vecnormalize), chosen)
    arguments = Arguments(delta=threshold, simulations=simulations, seed=seed)
    with stages() as progress:
        result = sanp(teacher, chosen, arguments, progress=progress)
        networks = {"teacher": teacher, "pruned_policy": result.pruned, "policy": result.network}
        rows = compare(networks, chosen, episodes, seed, progress)
    if out_folder is not None:
        make_folder(out_folder)
        save_policy(result.pruned, out_folder / "pruned.safetensors")
        save_policy(result.network, out_folder / "policy.safetensors")
    report = {
        "task": chosen.name,
        "seed": seed,
        **_steps(result),
        **shares(result.network, teacher),
        **rows,
        "out": None if out_folder is None else str(out_folder),
        "method_seconds": round(result.seconds, 3),
        "seconds": round(time.perf_counter() - start, 3),
    }
    if as_json:
        print_json(report)
    else:
        _show(report, ("teacher", "pruned_policy", "policy"))
        _show_steps(report)
        say(f"{episodes:,} fresh episodes, seed {seed}, {report['seconds']:.1f} s in all", "dim")
    if result.left:
        raise typer.Exit(DOES_NOT_HOLD)


def _pruner(score: str, scope: str, schedule: str) -> Pruner:
    for name, value, known in (
        ("score", score, {**SCORES, **UNIT_SCORES}),
        ("scope", scope, get_args(Scope)),
        ("schedule", schedule, SCHEDULES),
    ):
        if value not in known:
            raise NiwakiError(f"--{name} must be one of {', '.join(known)}, got {value!r}")
    if score not in UNIT_SCORES:
        along, rounds = SCHEDULES[schedule]
        return Weights(SCORES[score], cast(Scope, scope), along, rounds)
    if (scope, schedule) != ("global", "one-shot"):
        raise NiwakiError(f"--score {score} prunes the units of all layers at once: leave out --scope and --schedule")
    return Units(UNIT_SCORES[score])


def _count(size: int, keep: int | None, amount: float | None) -> int | None:
    """How many are to be left; None where a search shall tell."""
    if keep is not None and amount is not None:
        raise NiwakiError(f"give either --keep or --amount, got {keep} and {amount:g}")
    if amount is None:
        return keep
    if not 0 <= amount <= 1:
        raise NiwakiError(f"--amount is a share from 0 to 1, got {amount:g}")
    return size - round(amount * size)


def _gate(threshold: float | None, task: Task) -> Gate:
    needed = task.return_threshold if threshold is None else threshold
    return Gate(return_threshold=needed, return_loss=MAY_LOSE if needed is None else None)


def _search(
    teacher: NetworkPolicy, task: Task, at: Bench, pruner: Pruner, gate: Gate, progress: Stages
) -> tuple[NetworkPolicy, tuple[Attempt, ...]]:
    done = 0

    def tried(attempt: Attempt) -> None:
        nonlocal done
        done += 1
        progress("trying sizes", done, ceil(log2(len(pruner.counts(teacher)))) + PATIENCE)

    found = sparsify(teacher, task, at, pruner, gate=gate, progress=tried)
    assert found.network is not None  # the teacher itself is among the tried and passes
    return found.network, found.attempts


def _steps(result: Sanp) -> Row:
    restoration = result.restoration
    return {
        "k": round(result.k, 6),
        "counterexamples_found": len(result.counterexamples),
        "counterexamples_hopeless": result.hopeless,
        "counterexamples_left": result.left,
        "recovery_states": len(result.recovery_states),
        "restored": 0 if restoration is None else restoration.restored,
        "search_simulations": result.simulations,
        "restore_simulations": 0 if restoration is None else restoration.simulations,
    }


def _show(report: Row, names: tuple[str, ...]) -> None:
    rows: list[Any] = [report[name] for name in names]
    shown = table(str(report["task"]), *(name.replace("_", " ") for name in names))
    add_measures(shown, rows)
    out.print(shown)
    say(f"{report['pruned']:.2%} of the weights pruned; {report['pruned_with_biases']:.2%} with biases")


def _show_steps(report: Row) -> None:
    r = report
    say(f"pruned at once: {r['k']:.0%}")
    say(
        f"{r['counterexamples_found']} counterexamples in {r['search_simulations']} tries; the teacher fails on "
        f"{r['counterexamples_hopeless']} of them too; {r['counterexamples_left']} left after {r['restored']} "
        f"weights were given back, in {r['method_seconds']:.1f} s"
    )
