"""SANP: safety-aware neural pruning, as its paper has it.

B. Gangopadhyay, P. Dasgupta, S. Dey: Safety Aware Neural Pruning for Deep Reinforcement Learning. AAAI 2023.

    1  prune k % of the weights at once; lower k until the mean return is at least delta
    2  look for counterexamples to the specification by Bayesian optimisation over the starts
    3  the recovery state of each: the last one from which the teacher continues safely, with return >= delta
    4  at the recovery states, the loss is the mean squared difference to the teacher's outputs
    5  restore the p % of each layer's weights with the largest gradient; raise p until all are corrected
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from niwaki.falsification.falsify import falsify
from niwaki.falsification.gaussian_process import GaussianProcessSearch
from niwaki.falsification.searches import MakeSearch
from niwaki.gates import Gate, judge
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.pruning.prune import Scope, prune
from niwaki.pruning.scores import Score, activation
from niwaki.recipes.sparsify import Bench, bench
from niwaki.refinement.recover import recover
from niwaki.refinement.restore import Restoration, restore
from niwaki.rollout import Stages, counted, rollout
from niwaki.tasks import Task
from niwaki.types import Floats, NiwakiError


@dataclass(frozen=True)
class Arguments:
    """The paper's, with its values."""

    delta: float | None = None  # mean return that must be kept; None: the task's
    k: float = 0.99  # share of the weights that is pruned first
    step: float = 0.01  # by which k is lowered
    episodes: int = 100  # that the mean return is taken over
    score: Score = activation
    scope: Scope = "layer"
    search: MakeSearch = GaussianProcessSearch
    simulations: int = 205  # 5 at random, then 200
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Sanp:
    """What came of each step."""

    k: float  # share that was pruned at once
    pruned: NetworkPolicy  # after step 1
    counterexamples: Floats  # [B, K], scenarios of step 2
    hopeless: int  # of these: the teacher fails too, from every state of the run
    recovery_states: Floats  # [N, O], observations of step 3
    restoration: Restoration | None  # steps 4 and 5; None without anything to correct
    simulations: int  # of step 2
    seconds: float

    @property
    def network(self) -> NetworkPolicy:
        """The policy that the method ends with."""
        return self.pruned if self.restoration is None else self.restoration.network

    @property
    def left(self) -> int:
        """Counterexamples that are not corrected, the hopeless ones included."""
        return self.hopeless + (0 if self.restoration is None else self.restoration.remaining)


def sanp(
    teacher: NetworkPolicy,
    task: Task,
    arguments: Arguments | None = None,
    *,
    progress: Stages = lambda stage, done, total: None,
) -> Sanp:
    """Prune the teacher once, and give back weights until its counterexamples are corrected.

    Restoring is better than the paper's in what `niwaki.refinement.restore` says: gradients are refreshed,
    silent units can come back, and what is not needed is pruned again. Raises NiwakiError without
    specifications or a return to keep, and when the teacher itself does not reach that return.
    """
    args = arguments or Arguments()
    delta = task.return_threshold if args.delta is None else args.delta
    if not task.specs:
        raise NiwakiError(f"{task.name} has no specification: give one, such as --spec 'always(abs(x) <= 2.4)'")
    if delta is None:
        raise NiwakiError(f"{task.name} has no return threshold: say which mean return must be kept (--return)")
    start, simulator = time.perf_counter(), task.simulator

    at = bench(teacher, task, episodes=args.episodes, seed=args.seed)
    k, pruned = lower_k(teacher, task, at, delta=delta, args=args, progress=progress)

    tried, simulations = look(pruned, task, args, progress)
    failing = rollout(simulator, deployed(pruned), tried, specs=task.specs, record=True)
    recoveries = recover(simulator, deployed(teacher), failing, specs=task.specs, threshold=delta) if len(tried) else []
    hopeful = np.array([recovery is not None for recovery in recoveries], dtype=bool)
    states = [r.observation for r in recoveries if r is not None]

    restoration = None
    if states:
        observations = np.unique(states, axis=0)
        restoration = restore(
            simulator, pruned, teacher,
            scenarios=tried[hopeful], observations=observations, specs=task.specs, progress=progress,
        )  # fmt: skip
    return Sanp(
        k=k,
        pruned=pruned,
        counterexamples=tried,
        hopeless=int((~hopeful).sum()),
        recovery_states=np.array(states).reshape(-1, teacher.observation_size),
        restoration=restoration,
        simulations=simulations,
        seconds=time.perf_counter() - start,
    )


def lower_k(
    teacher: NetworkPolicy, task: Task, at: Bench, *, delta: float, args: Arguments, progress: Stages
) -> tuple[float, NetworkPolicy]:
    """Step 1: the first k, from `args.k` downwards, at which the mean return over the bench is at least delta."""
    gate = Gate(return_threshold=delta, more_violations=None)  # the return alone: safety is for later
    scores = args.score(teacher, at.observations)
    steps = int(args.k / args.step + 1e-9)
    for i in range(steps + 1):
        progress("lowering k", i, steps)
        k = args.k - i * args.step
        network = prune(teacher, scores, amount=k, scope=args.scope)
        if judge(gate, task.simulator, deployed(network), at.flights, specs=task.specs).passed:
            return k, network
    own = at.flights.returns.mean()
    raise NiwakiError(f"no k from {args.k:g} to {k:g} keeps a mean return of {delta:g}: the teacher's own is {own:.1f}")


def look(network: NetworkPolicy, task: Task, args: Arguments, progress: Stages) -> tuple[Floats, int]:
    """Step 2: all scenarios [B, K] that broke a specification in the search, and how many it tried."""
    advance = counted(progress, "looking for counterexamples", args.simulations)
    findings = falsify(
        task.simulator, network, task.specs,
        search=args.search, simulations=args.simulations, seed=args.seed, simplify=False, progress=advance,
    )  # fmt: skip
    failed = (findings.margins < 0).any(axis=1)
    return findings.scenarios[failed], findings.simulations
