"""niwaki import, info, export: what a policy is, and what it becomes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
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
)
from niwaki.cli.flying import half_width, number
from niwaki.cli.subject import TaskOption, task_of, task_of_teacher
from niwaki.evaluation import finite_or_none, policy_row
from niwaki.policies.c_source import table_bytes
from niwaki.policies.compact import compact, is_constant
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.tasks import Task, load_task
from niwaki.tasks.fitting import fit

if TYPE_CHECKING:  # these import onnx, which takes a while; only `export` does
    from niwaki.export.export import Export
    from niwaki.recipes.deliver import Delivery


def register(app: typer.Typer) -> None:
    app.command("import")(import_policy)
    app.command("info")(info)
    app.command("export")(export)


def import_policy(
    policy: PolicyArgument,
    output: Annotated[Path, typer.Option("--out", "-o", help="Where to write the .safetensors file.")],
    task: Annotated[
        str | None, typer.Option("--task", help="Give a bare network its action head from this task.")
    ] = None,
    activation: ActivationOption = None,
    layers: LayersOption = None,
    vecnormalize: VecNormalizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn a trained agent into our format: one safetensors file, normaliser and action scaling baked in.

    Nothing in the file is run: no pickle is ever executed.

    Example: niwaki import ppo_cartpole.zip -o policy.safetensors
    """
    network = read_policy(policy, activation=activation, layers=layers, vecnormalize=vecnormalize)
    if task is not None:
        network = fit(network, load_task(task))
    save_policy(network, output)
    if as_json:
        print_json({"file": str(output), **describe(network)})
        return
    _show(Path(policy).name, network)
    out.print(str(output), soft_wrap=True)


def info(
    policy: PolicyArgument,
    activation: ActivationOption = None,
    layers: LayersOption = None,
    vecnormalize: VecNormalizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a policy consists of: layers, parameters, non-zeros, bytes, normaliser, action head.

    Example: niwaki info cartpole
    """
    network = read_policy(policy, activation=activation, layers=layers, vecnormalize=vecnormalize)
    if as_json:
        print_json(describe(network))
        return
    _show(Path(policy).name, network)


def export(
    policy: PolicyArgument,
    out_folder: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the files.")],
    task: TaskOption = None,
    episodes: Annotated[
        int, typer.Option("--episodes", "-n", help="Episodes that each form flies when the task is known; 0: none.")
    ] = 200,
    tested_inputs: Annotated[
        int, typer.Option("--inputs", help="Random inputs on which C and reference are compared bit for bit.")
    ] = 1_000_000,
    name: Annotated[str, typer.Option("--name", help="Name of the files and prefix of the C functions.")] = "policy",
    seed: SeedOption = 0,
    activation: ActivationOption = None,
    layers: LayersOption = None,
    vecnormalize: VecNormalizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write policy.c, policy.h and policy.onnx, and prove that they behave the same.

    The C is compiled and compared with the reference bit for bit, the ONNX file is run by ONNX Runtime, and
    every form is flown on the same scenarios when the task is known. Exit code 1 when something differs.

    Example: niwaki export cartpole --out demo
    """
    from niwaki.recipes.deliver import deliver

    network = read_policy(policy, activation=activation, layers=layers, vecnormalize=vecnormalize)
    known = task_of(policy, task) if task is not None or task_of_teacher(policy) is not None else None
    if known is not None:
        network = fit(network, known)
    with stages() as progress:
        delivery = deliver(
            network, known, out_folder, name=name, episodes=episodes, tested_inputs=tested_inputs, seed=seed,
            progress=progress,
        )  # fmt: skip
    exported = delivery.export
    shipped = delivery.forms.get("c") or delivery.forms["mirror"]
    report = asdict(exported) | {"policy": shipped, "forms": delivery.forms}
    if as_json:
        print_json(report)
    else:
        _show_export(delivery, known)
    if exported.bit_exact is False or not exported.onnx_agrees:
        raise typer.Exit(DOES_NOT_HOLD)


def describe(network: NetworkPolicy) -> dict[str, object]:
    """What `info --json` prints."""
    normalizer, head = network.normalizer, network.head
    return {
        "layers": [
            {
                "inputs": layer.weight.shape[1],
                "outputs": layer.weight.shape[0],
                "activation": layer.activation,
                "weights": layer.weight.size,
                "nonzero_weights": int(np.count_nonzero(layer.weight)),
            }
            for layer in network.layers
        ],
        "normalizer": None
        if normalizer is None
        else {"observations": normalizer.mean.size, "clip": finite_or_none(normalizer.clip)},
        "head": {
            "kind": head.kind,
            "actions": network.output_size,
            "low": [finite_or_none(v) for v in head.low.tolist()],
            "high": [finite_or_none(v) for v in head.high.tolist()],
        },
        "constant": is_constant(network),
        "origin": dict(network.origin),
        "policy": policy_row(network),
    }


def _show(name: str, network: NetworkPolicy) -> None:
    shown = table("layer", "inputs", "outputs", "activation", "weights", "non-zero", title=name)
    for i, layer in enumerate(network.layers):
        outputs, inputs = layer.weight.shape
        nonzero = f"{np.count_nonzero(layer.weight):,}"
        shown.add_row(str(i), f"{inputs:,}", f"{outputs:,}", layer.activation, f"{layer.weight.size:,}", nonzero)
    out.print(shown)
    small = compact(network)
    facts = table("", "")
    facts.add_row("weights + biases", f"{network.parameters:,}")
    facts.add_row("bytes of tables in C", f"{table_bytes(small):,}")
    facts.add_row("normaliser", "none" if network.normalizer is None else f"clips at {network.normalizer.clip:g}")
    facts.add_row("action head", _head(network))
    if small.sizes != network.sizes:
        facts.add_row("without dead units", "-".join(map(str, small.sizes)))
    for key, value in network.origin:
        facts.add_row(key, value)
    facts.columns[1].justify = "left"
    facts.show_header = False
    out.print(facts)
    if is_constant(network):
        say("no path of non-zero weights leads from an observation to an action: the policy is constant", "bold")


FORMS = {"imported": "imported", "c": "C", "mirror": "mirror of C", "onnx": "ONNX"}


def _show_export(delivery: Delivery, task: Task | None) -> None:
    exported = delivery.export
    shown = table("", "return", "95 %", "failed", "bytes", "ns/call")
    for form, row in delivery.forms.items():
        rate = "-" if row["violation_rate"] is None else f"{row['violation_rate']:.1%}"
        bytes_ = f"{row['bytes']:,}" if form in ("c", "mirror") else "-"
        cells = (number(row["return_mean"]), half_width(row), rate, bytes_, number(row["ns_per_call"]))
        shown.add_row(FORMS[form], *cells)
    out.print(shown)
    flown = delivery.forms["onnx"]["episodes"]
    if task is not None and flown:
        say(f"{task.name}, the same {flown:,} episodes each", "dim")
    say("C is timed inside C; imported (NumPy) and ONNX (Runtime) as called from Python", "dim")
    for line in _findings(exported):
        say(line)
    for file in exported.files:
        out.print(file, soft_wrap=True)


def _findings(exported: Export) -> list[str]:
    """What was verified, in words."""
    lines = []
    if exported.bit_exact is not None:
        verdict = "the same bits" if exported.bit_exact else "OTHER BITS"
        lines.append(f"C against the reference: {verdict} on {exported.tested_inputs:,} inputs ({exported.compiler})")
    agreement = "agrees" if exported.onnx_agrees else "does NOT agree"
    if exported.onnx_max_abs_difference is None:
        detail = f"{exported.argmax_ties} ties"
    else:
        detail = f"largest difference {exported.onnx_max_abs_difference:.1e}"
    lines.append(f"ONNX against the reference: {agreement} on {exported.onnx_inputs:,} inputs ({detail})")
    if exported.cortex_m4 is not None:
        m4 = exported.cortex_m4
        lines.append(f"Cortex-M4: {m4['flash_bytes']:,} bytes of flash, {m4['ram_bytes']:,} bytes of RAM")
    return lines + list(exported.notes)


def _head(network: NetworkPolicy) -> str:
    head, n = network.head, network.output_size
    if head.kind == "raw":
        return f"{n} numbers; a task says what they mean"
    if head.kind == "argmax":
        return f"the largest of {n} scores"
    verb = "clipped to" if head.kind == "clip" else "tanh, scaled to"
    bounds = {f"[{low:g}, {high:g}]" for low, high in zip(head.low, head.high, strict=True)}
    return f"{n} numbers, {verb} {bounds.pop() if len(bounds) == 1 else 'bounds of their own'}"
