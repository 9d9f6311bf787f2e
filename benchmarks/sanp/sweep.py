"""Safety-aware pruning beside SANP: `niwaki ship` on bundled and public teachers, as a user runs it.

For every teacher and seed: one process of `niwaki ship --json`, timed whole; then, for what was shipped,
1,000 episodes of `niwaki evaluate --against` on scenarios that the run has never seen; and with --faithful the
paper's own method, `niwaki sanp`, on equal terms. The paired comparison over 5,000 and more fresh episodes is the
certificate's own.

    python benchmarks/sanp/sweep.py [--cases cartpole-v0 lander walker ...] [--seeds 0 1 2] [--faithful]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE / "out"
AGENTS = HERE.parents[2] / "shared" / "agents" / "ppo"  # public agents, beside the repository


@dataclass(frozen=True)
class Case:
    """A teacher on a task; `public` agents may break the specifications so often that no risk can be certified."""

    policy: str
    task: str
    public: bool = False
    options: tuple[str, ...] = ()


CASES = {
    "cartpole": Case("cartpole", "cartpole-v0"),
    "lander": Case("lunarlander-continuous", "lunarlander-continuous"),
    "walker": Case("bipedalwalker", "bipedalwalker"),
    "cartpole-public": Case("CartPole-v1", "cartpole-v0", public=True),
    "lander-public": Case("LunarLanderContinuous-v2", "lunarlander-continuous", public=True),
    "walker-public": Case("BipedalWalker-v3", "bipedalwalker", public=True, options=("--return", "200")),
}


def policy_of(case: Case) -> str:
    """The POLICY argument: a bundled name, or the public agent's zip."""
    if not case.public:
        return case.policy
    return str(next((AGENTS / case.policy).rglob("*.zip")))


def run(*arguments: str) -> tuple[dict, float]:
    """The JSON that a niwaki command prints, and its wall-clock seconds, everything included."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "niwaki", *arguments, "--json"], stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - start
    if not done.stdout.strip():
        raise SystemExit(f"niwaki {' '.join(arguments)} ended with {done.returncode} and no output")
    return json.loads(done.stdout), seconds


def measure(name: str, seed: int) -> dict:
    """One row: what ship says, and what an evaluation on other scenarios says."""
    case = CASES[name]
    policy, out = policy_of(case), OUT / f"{name}-{seed}"
    even_so = ["--even-so"] if case.public else []
    options = ["--task", case.task, "--seed", str(seed), "--out", str(out), "--restart", *even_so, *case.options]
    shipped, seconds = run("ship", policy, *options)
    row = {"case": name, "seed": seed, "wall_seconds": round(seconds, 1), "ship": shipped}
    if shipped["shipped"]:
        fresh = ["--task", case.task, "--episodes", "1000", "--seed", str(1_000_000 + seed), "--against", policy]
        row["evaluation"], _ = run("evaluate", str(out / "policy.safetensors"), *fresh)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--faithful", action="store_true", help="the paper's method as well")
    arguments = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    for name in arguments.cases:
        for seed in arguments.seeds:
            row = measure(name, seed)
            if arguments.faithful:
                case = CASES[name]
                row["sanp"], row["sanp_seconds"] = run(
                    "sanp", policy_of(case), "--task", case.task, "--seed", str(seed)
                )
            with (OUT / "rows.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            show(row)


def show(row: dict) -> None:
    """One line for people."""
    ship, policy = row["ship"], row["ship"]["policy"]
    print(
        f"{row['case']:16} seed {row['seed']}  pruned {ship['pruned']:.4%}  left {policy['nonzero_weights']:,}"
        f"  return {policy['return_mean']:.1f} (teacher {ship['teacher']['return_mean']:.1f})"
        f"  violations {policy['violation_rate']:.3%} (teacher {ship['teacher']['violation_rate']:.3%})"
        f"  left {ship['counterexamples_left']}  {row['wall_seconds']:.0f} s  {ship['reason']}",
        flush=True,
    )


if __name__ == "__main__":
    main()
