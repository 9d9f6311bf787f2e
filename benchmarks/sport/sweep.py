"""The paper's experiments, `niwaki sport`, for several seeds; what each method gains; how tight its bounds are.

The first seed flies the whole sweep over alpha, the others the methods at the wanted bound only. A seed draws the
episodes: pilot, database, certificates, comparison. The policies are the same for all.

    python benchmarks/sport/sweep.py [--seeds 0 1 2 3 4] [--episodes 10000] [--base POLICY --task-policy POLICY]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

OUT = Path(__file__).parent / "out"
FEW = "1.1"  # alphas of all seeds but the first


def sport(seed: int, arguments: argparse.Namespace, *, whole: bool) -> dict:
    """What `niwaki sport --json` prints; a run that was stopped goes on."""
    command = [sys.executable, "-m", "niwaki", "sport", "--experiment", str(arguments.experiment), "--json"]
    command += ["--base", arguments.base, "--task-policy", arguments.task_policy, "--seed", str(seed)]
    command += ["--episodes", str(arguments.episodes), "--out", str(OUT / f"experiment-{arguments.experiment}-{seed}")]
    command += [] if whole else ["--alphas", FEW]
    command += ["--methods", arguments.methods] if arguments.methods else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if not done.stdout.strip():
        raise SystemExit(f"niwaki sport --seed {seed} ended with {done.returncode} and no output")
    return json.loads(done.stdout)


def show_sweep(found: dict) -> None:
    """The table over alpha, the paper's figures beside ours."""
    for result in found["layouts"]:
        base = f"{result['base_failures']} of {result['base_episodes']:,} base episodes failed"
        bound = f"eps(T) = {result['base_failure_bound']:.4g}, permitted alpha {result['permitted_alpha'] or 0:.4f}"
        print(f"\n{result['layout']} layout, T = {result['horizon']}: {base}, {bound}\n")
        print("| alpha | steps | paper | sooner | failures | rate | paper | known before | by own episodes |")
        print("|---|---|---|---|---|---|---|---|---|")
        for point in result["points"]:
            row(f"{point['alpha']:g}", point["flown"], point)
        row("task policy", result["task_policy"], {})


def row(name: str, flown: dict, point: dict) -> None:
    """One line of the sweep."""
    steps, rate = point.get("published_steps_to_goal"), point.get("published_violation_rate")
    cells = [
        name,
        shown(flown["steps_to_goal"], ".2f"),
        shown(steps, "g"),
        sooner(flown),
        f"{flown['violations']:,}",
        f"{flown['violation_rate']:.2%}",
        shown(rate, ".1%"),
        shown(point.get("prior_bound"), ".3g"),
        f"{flown['posterior_bound']:.3g}",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


def show_methods(found: dict) -> None:
    """All methods at the wanted bound: the gain, and how far the bounds are from what was seen."""
    for result in found["layouts"]:
        ratio = [m["flown"]["sooner"] for m in result["methods"] if m["method"] == "ratio" and m["flown"]]
        first = ratio[0] if ratio else 0.0
        for m in result["methods"]:
            if m["flown"] is None:
                print(f"| {found['seed']} | {result['layout']} | {m['method']} | no certificate: {m['refused']} |")
                continue
            flown, rate = m["flown"], m["flown"]["violation_rate"]
            cells = [
                str(found["seed"]),
                result["layout"],
                m["method"],
                f"{flown['steps_to_goal']:.2f}",
                sooner(flown),
                f"{flown['reduction']:.1%}",
                f"{flown['sooner'] / first:.1f}" if first > 0 else "",
                f"{flown['violations']:,}",
                f"{rate:.2%}",
                f"{found['bound'] / rate:.1f}" if rate else "none seen",
                tightness(m),
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


def tightness(m: dict) -> str:
    """The bound of a method's own certificate over the rate that its episodes had."""
    if m["own_bound"] is None:
        return "no certificate"
    return f"{m['own_bound'] * m['own_episodes'] / m['own_violations']:.1f}" if m["own_violations"] else "none seen"


def sooner(flown: dict) -> str:
    """Steps sooner than the base, with the 95 % interval."""
    if flown["sooner"] is None or flown["sooner_low"] is None:
        return "-"
    return f"{flown['sooner']:.2f} [{flown['sooner_low']:.2f}, {flown['sooner_high']:.2f}]"


def shown(value: float | None, form: str) -> str:
    """The number, or a dash."""
    return "-" if value is None else format(value, form)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", type=int, default=1)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--methods", help="as niwaki sport takes them")
    parser.add_argument("--base", default="reach-avoid-base")
    parser.add_argument("--task-policy", default="reach-avoid-task")
    arguments = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    runs = []
    for i, seed in enumerate(arguments.seeds):
        found = sport(seed, arguments, whole=i == 0)
        print(f"seed {seed}: holds {found['holds']}, {found['seconds']:.0f} s", flush=True)
        if i == 0:
            show_sweep(found)
        runs.append(found)
    print(
        "\n| seed | layout | method | steps | sooner | of the base's | times the ratio's | failures | rate "
        "| bound / rate | own bound / own rate |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for found in runs:
        show_methods(found)


if __name__ == "__main__":
    main()
