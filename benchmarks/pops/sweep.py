"""PoPS's own CartPole setting: its loop, `niwaki pops`, beside `niwaki shrink`, on the same teacher.

The teacher is a DQN of 4-256-256-128-2 ReLU units (99,584 weights) on CartPole-v0, trained here by `niwaki train` on
the task teacher.toml. For every seed each method is one process, timed whole in seconds of processor time, its
compilers included: the wall clock would say how busy the machine is. What comes out then flies 1,000 episodes that
neither has seen.

    python benchmarks/pops/sweep.py [--seeds 0 1 2] [--methods pops shrink]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE / "out"
TASK = "cartpole-v0"
TEACHER = OUT / "teacher.safetensors"
TEACHER_WEIGHTS = 99_584
METHODS = ("pops", "shrink")
UNSEEN = 1_000_000  # added to the seed of the last flights


def niwaki(*arguments: str) -> tuple[dict, float]:
    """The JSON that a niwaki command prints, and the processor seconds of its process and of those that it started."""
    before = cpu_seconds()
    done = subprocess.run([sys.executable, "-m", "niwaki", *arguments, "--json"], stdout=subprocess.PIPE, text=True)
    if not done.stdout.strip():
        raise SystemExit(f"niwaki {' '.join(arguments)} ended with {done.returncode} and no output")
    return json.loads(done.stdout), round(cpu_seconds() - before, 1)


def cpu_seconds() -> float:
    """Of all children that have ended, user and system."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def train() -> None:
    """Train the teacher, once."""
    if not TEACHER.exists():
        trained, seconds = niwaki("train", "--task", str(HERE / "teacher.toml"), "--out", str(TEACHER))
        print(f"teacher: return {trained['policy']['return_mean']}, {seconds:.0f} CPU s", flush=True)
    found, _ = niwaki("info", str(TEACHER))
    assert found["policy"]["weights"] == TEACHER_WEIGHTS, found["policy"]


def measure(method: str, seed: int) -> dict:
    """One row: what the method says, and what an evaluation on other scenarios says."""
    out = OUT / f"{method}-{seed}"
    options = ["--task", TASK, "--seed", str(seed), "--out", str(out), "--restart"]
    found, seconds = niwaki(method, str(TEACHER), *options)
    row = {"method": method, "seed": seed, "cpu_seconds": seconds, "found": found}
    if found["passed"]:
        fresh = ["--task", TASK, "--episodes", "1000", "--seed", str(UNSEEN + seed), "--against", str(TEACHER)]
        row["evaluation"], _ = niwaki("evaluate", str(out / "policy.safetensors"), *fresh)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    train()
    for seed in arguments.seeds:
        for method in arguments.methods:
            row = measure(method, seed)
            with (OUT / "rows.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            show(row)


def show(row: dict) -> None:
    """One line for people, and the rounds of the loop."""
    found, policy = row["found"], row["found"]["policy"]
    flown = row["evaluation"]["policy"]["return_mean"] if "evaluation" in row else "nothing"
    print(
        f"{row['method']:6} seed {row['seed']}  {policy['nonzero_weights']:,} weights, {policy['nonzero_parameters']:,}"
        f" parameters, {policy['bytes']:,} bytes, {policy['ns_per_call']} ns; return {policy['return_mean']:.2f}"
        f" of {policy['episodes']:,} episodes, {flown} of 1,000 others;"
        f" {row['cpu_seconds']:.0f} CPU s {found['reason']}",
        flush=True,
    )
    for each in found.get("iterations", ()):
        print(f"    {each['nonzero_weights']:,} left -> {each['widths']} {each['weights']:,}, {each['score']:.1f}")


if __name__ == "__main__":
    main()
