"""How long closed-loop distillation takes: LunarLanderContinuous to a linear map, on one core.

The student flies, the teacher says what it would have done, the student learns from the last three rounds of it; 48
flights and 1,500 gradient steps a round. A round's student is judged on 1,000 fresh flights beside its teacher, which
is not timed.

    python benchmarks/smallest/imitation.py [POLICY ...]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from niwaki.imitation import attention, distil, gather, join
from niwaki.policies.deployed import deployed
from niwaki.policies.loading import load_policy
from niwaki.recipes.shape import seedling
from niwaki.rollout import rollout
from niwaki.tasks import load_task

ROUNDS, KEPT, FLIGHTS, STEPS, JUDGED = 8, 3, 48, 1500, 1000


def main() -> None:
    task = load_task("lunarlander-continuous")
    simulator, specs = task.simulator, task.specs
    for source in sys.argv[1:] or ["lunarlander-continuous"]:
        teacher = load_policy(source).for_actions(simulator.action_space)
        flying = deployed(teacher)
        judged = simulator.sample(np.random.default_rng(1), JUDGED)
        shown = rollout(simulator, flying, judged, specs=specs)
        print(f"{source}: return {shown.returns.mean():.1f}, violates in {shown.violated.mean():.2%} of {JUDGED:,}")
        rng, spent = np.random.default_rng(0), 0.0
        student, pilot = seedling(teacher, 0, rng), flying
        lessons = []
        for number in range(1, ROUNDS + 1):
            start = time.perf_counter()
            rows = simulator.sample(rng, FLIGHTS)
            flown = rollout(simulator, pilot, rows, specs=specs, record=True, workers=1)
            lessons.append(gather(teacher, flown, weights=attention(flown)))
            student = distil(student, join(lessons[-KEPT:], most=400_000, rng=rng), steps=STEPS, seed=number)
            pilot = deployed(student)
            spent += time.perf_counter() - start
            flown = rollout(simulator, pilot, judged, specs=specs)
            difference = flown.returns - shown.returns
            print(
                f"  round {number}, {spent:5.1f} s: {student.parameters} parameters, return {flown.returns.mean():.1f}"
                f" ({difference.mean():+.1f} +- {1.96 * difference.std() / JUDGED**0.5:.1f}),"
                f" violates in {flown.violated.mean():.2%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
