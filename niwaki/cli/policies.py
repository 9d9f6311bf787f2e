"""niwaki import, info, export: what a policy is, and what it becomes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

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
    err,
    out,
    print_json,
    progress,
    read_policy,
    table,
)
from niwaki.evaluation import policy_row
from niwaki.policies.c_source import c_source
from niwaki.policies.compact import compact, is_constant
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy


def register(app: typer.Typer) -> None:
    app.command("import")(import_policy)
    app.command("info")(info)


def import_policy(
    policy: PolicyArgument,
    output: Annotated[Path, typer.Option("--out", "-o", help="Where to write the .safetensors file.")],
    task: Annotated[str | None, typer.Option("--task", help="Give a bare network its action head from this task.")] = None,
    activation: ActivationOption = None,
    layers: LayersOption = None,
    vecnormalize: VecNormalizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn a trained agent into our format: one safetensors file, normaliser and action scaling baked in.

    Nothing in the file is run: no pickle is ever executed.

    Example: niwaki import ppo_cartpole.zip -o policy.safetensors
    """
    from niwaki.cli.flying import fit
    from niwaki.tasks import load_task

    network = read_policy(policy, activation=activation, layers=layers, vecnormalize=vecnormalize)
    if task is not None:
        network = fit(network, load_task(task))
    save_policy(network, output)
    if as_json:
        print_json({"file": str(output), **describe(network)})
        return
    _show(Path(policy).name, network)
    out.print(str(output))


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
        "normalizer": None if normalizer is None else {"observations": normalizer.mean.size, "clip": _finite(normalizer.clip)},
        "head": {
            "kind": head.kind,
            "actions": network.output_size,
            "low": [_finite(v) for v in head.low.tolist()],
            "high": [_finite(v) for v in head.high.tolist()],
        },
        "constant": is_constant(network),
        "origin": dict(network.origin),
        "policy": policy_row(network),
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


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
    facts.add_row("bytes of tables in C", f"{c_source(small).table_bytes:,}")
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
        out.print("no path of non-zero weights leads from an observation to an action: the policy is constant", style="bold")


def _head(network: NetworkPolicy) -> str:
    head, n = network.head, network.output_size
    if head.kind == "raw":
        return f"{n} numbers; a task says what they mean"
    if head.kind == "argmax":
        return f"the largest of {n} scores"
    verb = "clipped to" if head.kind == "clip" else "tanh, scaled to"
    bounds = {f"[{low:g}, {high:g}]" for low, high in zip(head.low, head.high, strict=True)}
    return f"{n} numbers, {verb} {bounds.pop() if len(bounds) == 1 else 'bounds of their own'}"
