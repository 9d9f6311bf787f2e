"""The paper's experiments, `niwaki sport`, for several seeds; what each method gains; how tight its bounds are.

Every seed flies both sweeps over alpha and every method at the wanted bound. A seed draws the episodes: pilot,
database, training within the bound, certificates, comparison. The base and the task policy are the same for all.

    python benchmarks/sport/sweep.py [--seeds 0 1 2 3 4] [--episodes 10000] [--base POLICY --task-policy POLICY]

A run that was stopped goes on; runs that are there are only read.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median

OUT = Path(__file__).parent / "out"
METHODS = {  # of each experiment: what flies the given task policy and the best of ours, what trains one of its own
    1: "ratio,odometer,gaussian,stagewise ratio,stagewise odometer,stagewise gaussian,finetuned stagewise odometer",
    2: "ratio,published ratio,finetuned ratio,finetuned odometer,finetuned gaussian",
}
LAYOUTS = ("fixed", "random")


def sport(experiment: int, seed: int, arguments: argparse.Namespace) -> dict:
    """What `niwaki sport --json` prints; a run that was stopped goes on."""
    command = [sys.executable, "-m", "niwaki", "sport", "--experiment", str(experiment), "--json"]
    command += ["--base", arguments.base, "--task-policy", arguments.task_policy, "--seed", str(seed)]
    command += ["--episodes", str(arguments.episodes), "--out", str(OUT / f"experiment-{experiment}-{seed}")]
    done = subprocess.run([*command, "--methods", METHODS[experiment]], stdout=subprocess.PIPE, text=True)
    if not done.stdout.strip():
        raise SystemExit(f"niwaki sport --seed {seed} ended with {done.returncode} and no output")
    return json.loads(done.stdout)


def layouts(runs: list[dict], name: str) -> list[dict]:
    """One layout of every run."""
    return [result for found in runs for result in found["layouts"] if result["layout"] == name]


def show_bases(runs: list[dict]) -> None:
    """What the base fails, and the ratio that this permits."""
    print("\n| layout | T | base failed, of its episodes | eps(T) | permitted alpha |\n|---|---|---|---|---|")
    for name in LAYOUTS:
        its = layouts(runs, name)
        cells = [
            name,
            spread([r["horizon"] for r in its], "d"),
            f"{spread([r['base_failures'] for r in its], 'd')} of {its[0]['base_episodes']:,}",
            spread([r["base_failure_bound"] for r in its], ".2%"),
            spread([r["permitted_alpha"] for r in its], ".4f"),
        ]
        print(f"| {' | '.join(cells)} |")


def show_sweep(runs: list[dict]) -> None:
    """The table over alpha, the paper's figures beside ours: median and range over the seeds."""
    print("\n| alpha |" + "".join(f" {n}: steps | sooner | failures |" for n in LAYOUTS) + " SPoRt: steps | failures |")
    print("|---|" + "---|" * (3 * len(LAYOUTS) + 2))
    both = [layouts(runs, name) for name in LAYOUTS]
    for i, point in enumerate(both[0][0]["points"]):
        cells = [f"{point['alpha']:g}"]
        for its in both:
            cells += flown([r["points"][i]["flown"] for r in its])
        cells += [shown(point["published_steps_to_goal"], "g"), shown(point["published_violation_rate"], ".1%")]
        print(f"| {' | '.join(cells)} |")
    if runs[0]["experiment"] == 1:
        cells = ["task policy", *(cell for its in both for cell in flown([r["task_policy"] for r in its])), "", ""]
        print(f"| {' | '.join(cells)} |")


def flown(of_seeds: list[dict]) -> list[str]:
    """Steps, steps sooner and failures of one policy over the seeds."""
    return [
        f"{median(f['steps_to_goal'] for f in of_seeds):.2f}",
        spread([f["sooner"] for f in of_seeds], ".2f"),
        spread([f["violation_rate"] for f in of_seeds], ".2%"),
    ]


def show_methods(runs: dict[int, list[dict]], bound: float) -> None:
    """All methods at the wanted bound: the gain, and how far the bounds are from what was seen, as ranges."""
    print(f"\n| layout | method | sooner, steps | of the base's | times `ratio`'s | failures | {bound:g} / failures |")
    print("|---|---|---|---|---|---|---|")
    for name in LAYOUTS:
        plain = [method(r, "ratio")["sooner"] for r in layouts(runs[1], name)]
        for experiment, names in METHODS.items():
            for each in names.split(",") if experiment == 1 else names.split(",")[1:]:
                its = [method(r, each) for r in layouts(runs[experiment], name)]
                if not all(its):
                    print(f"| {name} | {each} | no certificate on every seed |")
                    continue
                times = [f["sooner"] / first for f, first in zip(its, plain, strict=True) if first > 0]
                cells = [
                    name,
                    each,
                    spread([f["sooner"] for f in its], ".2f"),
                    spread([f["reduction"] for f in its], ".1%"),
                    spread(times, ".1f") if len(times) == len(its) else "no ratio",
                    spread([f["violation_rate"] for f in its], ".2%"),
                    spread([bound / f["violation_rate"] if f["violation_rate"] else float("inf") for f in its], ".1f"),
                ]
                print(f"| {' | '.join(cells)} |")


def method(result: dict, name: str) -> dict | None:
    """What one method flew in a layout; None where it got no certificate."""
    return next(m["flown"] for m in result["methods"] if m["method"] == name)


def spread(values: Iterable[float], form: str) -> str:
    """The median and, where they differ, the range."""
    ordered = sorted(values)
    low, mid, high = (format(v, form) for v in (ordered[0], type(ordered[0])(median(ordered)), ordered[-1]))
    return mid if low == high else f"{mid} ({low} to {high})"


def shown(value: float | None, form: str) -> str:
    """The number, or nothing."""
    return "" if value is None else format(value, form)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--base", default="reach-avoid-base")
    parser.add_argument("--task-policy", default="reach-avoid-task")
    arguments = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    runs: dict[int, list[dict]] = {experiment: [] for experiment in METHODS}
    for seed in arguments.seeds:
        for experiment in METHODS:
            found = sport(experiment, seed, arguments)
            runs[experiment].append(found)
            print(f"experiment {experiment} seed {seed}: holds {found['holds']}, {found['seconds']:.0f} s", flush=True)
    show_bases(runs[1])
    for experiment in METHODS:
        print(f"\nExperiment {experiment}, median and range of seeds {', '.join(map(str, arguments.seeds))}")
        show_sweep(runs[experiment])
    show_methods(runs, runs[1][0]["bound"])


if __name__ == "__main__":
    main()
