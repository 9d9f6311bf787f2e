"""The smallest policy that does the job: `niwaki shrink` on bundled and public teachers, as a user runs it.

For every teacher and seed: one process of `niwaki shrink --json`, timed whole. The pass rule stands in
niwaki/recipes/exam.py: one-sided 95 % bounds of the paired differences in return (-1 % of the teacher's) and
violation rate (+0.5 percentage points) over 1,000 fresh episodes or more.

    python benchmarks/smallest/sweep.py [--cases cartpole acrobot ...] [--seeds 0 1 2 3 4] [--budget 10m]
    python benchmarks/smallest/sweep.py --table      # of all that was measured, no run
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import geometric_mean, median

from niwaki.certification.bounds import clopper_pearson

HERE = Path(__file__).parent
OUT = HERE / "out"
ROWS = HERE / "rows.jsonl"  # kept: a table is made of the runs of several days
AGENTS = HERE.parents[2] / "shared" / "agents"  # public agents, beside the repository

# Bundled teachers are named after their task; public agents are files.
CASES = {
    "cartpole": ("cartpole", "cartpole"),
    "acrobot": ("acrobot", "acrobot"),
    "mountaincar-continuous": ("mountaincar-continuous", "mountaincar-continuous"),
    "pendulum": ("pendulum", "pendulum"),
    "lunarlander": ("lunarlander", "lunarlander"),
    "lunarlander-continuous": ("lunarlander-continuous", "lunarlander-continuous"),
    "bipedalwalker": ("bipedalwalker", "bipedalwalker"),
}
PUBLIC_TASKS = {
    "Acrobot-v1": "acrobot",
    "BipedalWalker-v3": "bipedalwalker",
    "CartPole-v1": "cartpole",
    "HalfCheetah-v3": "halfcheetah",
    "LunarLander-v2": "lunarlander",
    "LunarLanderContinuous-v2": "lunarlander-continuous",
    "MountainCarContinuous-v0": "mountaincar-continuous",
    "Pendulum-v1": "pendulum",
}


def cases() -> dict[str, tuple[str, str]]:
    """POLICY and task of every case; the public agents where they lie beside the repository."""
    public = {
        f"{path.parents[1].name}-{path.stem}": (str(path), PUBLIC_TASKS[path.stem])
        for path in sorted(AGENTS.glob("*/*/*.zip"))
        if path.stem in PUBLIC_TASKS
    }
    return CASES | public


def measure(name: str, policy: str, task: str, seed: int, budget: str) -> dict:
    """What shrink says of one teacher and seed."""
    out = OUT / f"{name}-{seed}"
    options = ["--task", task, "--seed", str(seed), "--budget", budget, "--out", str(out), "--restart", "--json"]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "niwaki", "shrink", policy, *options], stdout=subprocess.PIPE, text=True
    )
    seconds = round(time.perf_counter() - start, 1)
    if not done.stdout.strip():
        raise SystemExit(f"niwaki shrink {policy} ended with {done.returncode} and no output")
    found = json.loads(done.stdout)
    kept = {key: found[key] for key in ("passed", "reason", "policy", "teacher")}
    return {"case": name, "seed": seed, "budget": budget, "commit": commit(), "wall_seconds": seconds, "shrink": kept}


def commit() -> str:
    """Which state of the code is measured. Not whether it was changed: the rows themselves are kept in the tree."""
    command = ["git", "log", "-1", "--format=%h"]
    return subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=cases(), default=list(cases()))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        return table()
    OUT.mkdir(exist_ok=True)
    for name in arguments.cases:
        for seed in arguments.seeds:
            row = measure(name, *cases()[name], seed, arguments.budget)
            with ROWS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            show(row)


def show(row: dict) -> None:
    """One line for people."""
    found = row["shrink"]
    policy, teacher = found["policy"], found["teacher"]
    print(
        f"{row['case']:30} seed {row['seed']}  {teacher['parameters']:,} -> {policy['nonzero_parameters']:,}"
        f" parameters, {policy['bytes']:,} bytes, {policy['ns_per_call']} ns;"
        f" return {policy['return_mean']:.2f} (teacher {teacher['return_mean']:.2f}),"
        f" violations {policy['violation_rate']:.2%} (teacher {teacher['violation_rate']:.2%})"
        f" of {policy['episodes']:,}; {row['wall_seconds']:.0f} s {found['reason']}",
        flush=True,
    )


def table() -> None:
    """Markdown: a line for every teacher, the details those of its first seed. The last run of a seed counts."""
    latest = {}
    for line in ROWS.read_text().splitlines():
        row = json.loads(line)
        latest[row["case"], row["seed"]] = row
    print(
        "| teacher | parameters | left: median (range), seeds | bytes | ns | return (95 %) | teacher "
        "| violations, at most (95 %) | teacher | episodes | s, median |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )
    shares = {}
    for case in cases():
        runs = [row for (name, _), row in sorted(latest.items()) if name == case]
        if not runs:
            continue
        left = [run["shrink"]["policy"]["nonzero_parameters"] for run in runs]
        policy, teacher = runs[0]["shrink"]["policy"], runs[0]["shrink"]["teacher"]
        n, alike = policy["episodes"], len(set(left)) == 1
        shares[case] = teacher["parameters"] / median(left)
        cells = [
            case,
            f"{teacher['parameters']:,}",
            f"**{median(left):g}**" + ("" if alike else f" ({min(left)} to {max(left)})") + f", {len(runs)}",
            f"{policy['bytes']:,}",
            f"{policy['ns_per_call']:.0f}",
            f"{policy['return_mean']:.2f} ({policy['return_low']:.2f} to {policy['return_high']:.2f})",
            f"{teacher['return_mean']:.2f}",
            f"{policy['violation_rate']:.2%}, "
            f"{clopper_pearson(round(n * policy['violation_rate']), n, confidence=0.95):.2%}",
            f"{teacher['violation_rate']:.2%}",
            f"{n:,}",
            f"{median(run['wall_seconds'] for run in runs):.0f}",
        ]
        print(f"| {' | '.join(cells)} |")
    public = [share for case, share in shares.items() if case not in CASES]
    if public:
        print(f"\n{len(public)} public agents: geometric mean of teacher / left {geometric_mean(public):,.0f}")


if __name__ == "__main__":
    main()
