"""Environment steps per second: the script way against ours, in one run.

The script way is what research code does: a Gymnasium environment with its wrappers, one torch forward
per step, batch 1. Ours is niwaki.rollout with the compiled policy. Both fly the same network (2 x 64,
tanh) on one core; rates count CPU seconds of the process, so other work on the machine disturbs them less.
The last column is wall-clock speed-up of two worker processes over one.

    python benchmarks/rollout/sweep.py [--seconds 4] [--repeats 5] [--tasks cartpole reach-avoid]
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import pairwise

import gymnasium
import numpy as np
import torch

from niwaki.policies.deployed import deployed
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.rollout import rollout
from niwaki.simulators.as_gymnasium import SimulatorEnv
from niwaki.simulators.reach_avoid_mujoco import reach_avoid_twin
from niwaki.tasks import load_task
from niwaki.types import Discrete, Engine, Simulator

CASES = (  # task, Gymnasium id and arguments of the script way, episodes of ours
    ("cartpole", "CartPole-v1", {}, 4096),
    ("pendulum", "Pendulum-v1", {}, 4096),
    ("lunarlander-continuous", "LunarLander-v3", {"continuous": True}, 600),
    ("bipedalwalker", "BipedalWalker-v3", {}, 120),
    ("reach-avoid", "MuJoCo", {}, 8192),
)


def policy_for(task: str, simulator: Simulator) -> NetworkPolicy:
    """A 2 x 64 tanh network with random weights; on CartPole one that balances, for a random one falls in
    ten steps, and then resets would be measured."""
    rng = np.random.default_rng(0)
    inputs = simulator.observation_size
    space = simulator.action_space
    outputs = space.n if isinstance(space, Discrete) else len(space.low)
    sizes = (inputs, 64, 64, outputs)
    layers = [
        Layer(rng.normal(size=(m, n)) / np.sqrt(n), rng.normal(size=m) * 0.01, "tanh" if m == 64 else "identity")
        for n, m in pairwise(sizes)
    ]
    if task == "cartpole":  # push towards where the pole leans: stays up for the whole episode
        lean = np.tile([0.02, 0.1, 1.0, 0.2], (64, 1))
        push = np.stack([-np.ones(64), np.ones(64)])
        layers = [
            Layer(lean, np.zeros(64), "tanh"),
            Layer(np.eye(64) + 1e-3, np.zeros(64), "tanh"),
            Layer(push, np.zeros(2)),
        ]
    return NetworkPolicy(tuple(layers), Head()).for_actions(space)


def environment(env_id: str, arguments: dict) -> gymnasium.Env:
    """What the script way flies. The original of reach-avoid is MuJoCo in a Gymnasium environment: its twin is too."""
    return SimulatorEnv(reach_avoid_twin()) if env_id == "MuJoCo" else gymnasium.make(env_id, **arguments)


def script_way(network: NetworkPolicy, env_id: str, arguments: dict, seconds: float) -> float:
    """Steps per CPU second of gymnasium + torch, batch 1."""
    modules: list[torch.nn.Module] = []
    for layer in network.layers:
        linear = torch.nn.Linear(layer.weight.shape[1], layer.weight.shape[0])
        linear.weight.data, linear.bias.data = torch.tensor(layer.weight), torch.tensor(layer.bias)
        modules += [linear, torch.nn.Tanh()] if layer.activation == "tanh" else [linear]
    net, env = torch.nn.Sequential(*modules), environment(env_id, arguments)
    steps, start, seed = 0, time.process_time(), 0
    while time.process_time() - start < seconds:
        observation, _ = env.reset(seed=seed)
        over, seed = False, seed + 1
        while not over:
            with torch.no_grad():
                outputs = net(torch.as_tensor(observation, dtype=torch.float32).unsqueeze(0))
            if network.discrete:
                action = int(outputs.argmax(1))
            else:
                action = np.clip(outputs.numpy()[0], network.head.low, network.head.high)
            observation, _, terminated, truncated, _ = env.step(action)
            over, steps = terminated or truncated, steps + 1
    return steps / (time.process_time() - start)


def ours(simulator: Simulator, network: NetworkPolicy, rows: np.ndarray) -> float:
    """Steps per CPU second of rollout in this process."""
    policy = deployed(network)
    start = time.process_time()
    flights = rollout(simulator, policy, rows, workers=1)
    return float(flights.lengths.sum()) / (time.process_time() - start)


def two_processes(simulator: Simulator, network: NetworkPolicy, rows: np.ndarray) -> float:
    """Wall-clock speed-up of two workers over one; both are started before the clock is."""
    policy = deployed(network)

    def seconds(workers: int) -> float:
        rollout(simulator, policy, rows[:16], workers=workers)
        start = time.perf_counter()
        rollout(simulator, policy, rows, workers=workers)
        return time.perf_counter() - start

    return statistics.median(seconds(1) / seconds(2) for _ in range(3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="CPU seconds of each measurement of the script way")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", default=[case[0] for case in CASES], help="some of them only")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| task | script way, steps/s | ours, steps/s | ratio (median, range) | two processes |")
    print("|---|---|---|---|---|")
    for task, env_id, arguments, episodes in CASES:
        if task not in args.tasks:
            continue
        simulator = load_task(task).simulator
        network = policy_for(task, simulator)
        rows = simulator.sample(np.random.default_rng(1), episodes)
        ours(simulator, network, rows[:64])  # warm caches
        pairs = [
            (script_way(network, env_id, arguments, args.seconds), ours(simulator, network, rows))
            for _ in range(args.repeats)
        ]
        ratios = sorted(b / a for a, b in pairs)
        a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
        more = two_processes(simulator, network, rows) if isinstance(simulator, Engine) else None
        print(
            f"| {task} | {a:,.0f} | {b:,.0f} | {statistics.median(ratios):.1f}x ({ratios[0]:.1f}-{ratios[-1]:.1f}) | "
            f"{'-' if more is None else f'{more:.2f}x'} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
