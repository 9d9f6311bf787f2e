"""An adapted policy as dependency-free C99: both networks, the projection of every stage, the budgets' state.

The noise is an argument, so that the caller decides where it comes from and the code can be compared with the
reference number by number. The networks give the reference's bits. Exponential, logarithm and root are our own in
double: actions agree to TOLERANCE of their range (the last step is float32), and what is left of a budget to LEFT.
No budget is ever exceeded by rounding, see `c_projections`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import Budget, FixedRatio, GaussianShift, Odometer
from niwaki.adaptation.c_projections import ARITHMETIC, LOGARITHM, MOST_ACTIONS, RATIO, SHIFT
from niwaki.policies.c_kernels import KERNELS, PRELUDE
from niwaki.policies.c_source import c_source
from niwaki.policies.compact import compact
from niwaki.policies.deployed import MirrorPolicy
from niwaki.policies.gaussian import GaussianPolicy, LogStd
from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.policies.sampled import SampledPolicy
from niwaki.types import Floats, NiwakiError

TOLERANCE = 1e-6  # of half the range of an action
LEFT = 1e-8  # of what is left of a budget, times its size where that is above one
TESTED_STEPS = 6
MOST_STEPS = 2**31 - 1
NAME = "policy"
PARTS = ("policy_base", "policy_task", "policy_head")
FILES = tuple(f"{name}{kind}" for name in (NAME, *PARTS) for kind in (".h", ".c"))


@dataclass(frozen=True)
class _Stage:
    """A budget as the C holds it: a step may use `share` of what is left, none from step `horizon` on."""

    budget: float
    share: float  # 0: an equal share for each step until the horizon
    horizon: int
    spends: bool


def c_adapted(policy: AdaptedPolicy) -> dict[str, str]:
    """The C files by name: policy.h and policy.c, and the networks and the head that they call.

    Raises NiwakiError for stages of which some hold the ratio and others the shift, and for more actions than the
    margin of `c_projections` covers.
    """
    base, task = policy.base.policy, policy.task.policy
    size = base.head.low.size
    if size > MOST_ACTIONS:
        raise NiwakiError(f"an adapted policy of at most {MOST_ACTIONS} actions is exported to C, this has {size}")
    head = NetworkPolicy((Layer(np.eye(size), np.zeros(size)),), base.head)
    networks = (compact(base.network), compact(task.network), head)
    parts = [c_source(network, name=name) for network, name in zip(networks, PARTS, strict=True)]
    files = {f"{NAME}.h": _header(base, len(policy.budgets)), f"{NAME}.c": _source(policy)}
    for part in parts:
        files |= {f"{part.name}.h": part.header, f"{part.name}.c": part.source}
    return files


def _stage(budget: Budget) -> _Stage:
    if isinstance(budget, FixedRatio):
        return _Stage(budget.log_alpha_per_step, 1.0, min(budget.horizon, MOST_STEPS), spends=False)
    if isinstance(budget, Odometer):
        return _Stage(budget.log_budget, budget.fraction, MOST_STEPS, spends=True)
    if isinstance(budget, GaussianShift):
        return _Stage(budget.shift**2, budget.fraction or 0.0, min(budget.horizon, MOST_STEPS), spends=True)
    raise NiwakiError(f"a budget of the kind {type(budget).__name__} is not exported to C")


def _header(base: GaussianPolicy, stages: int) -> str:
    actions = base.head.low.size
    return f"""/* {NAME}.h: an adapted control policy, written by niwaki. */
#ifndef POLICY_H
#define POLICY_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {{
#endif

#define POLICY_OBSERVATIONS {base.observation_size}
#define POLICY_ACTIONS {actions}

/* What an episode has left of its budgets: one number for each stage. A fixed ratio stays what it is. */
typedef struct {{
  double left[{stages}];
  int32_t step;
}} policy_state;

/* Call it when an episode begins. */
void policy_begin(policy_state *state);

/* Writes the action of the next step. `noise` is {actions} fresh, independent standard normal numbers: the bound holds
   for these and no others. Where a network's answer is not finite, and where a budget is exhausted, it is the base's
   own action, and nothing is spent. No heap; nothing may overlap. */
void policy_act(policy_state *state, const float observation[{base.observation_size}],
                const double noise[{actions}], float action[{actions}]);

/* 0 when this build computes what was tested. Call it once on the target. */
int32_t policy_self_test(void);

#ifdef __cplusplus
}}
#endif
#endif
"""


def _source(policy: AdaptedPolicy) -> str:
    base, task = policy.base.policy, policy.task.policy
    rows = [_stage(budget) for budget in policy.budgets]
    shifts = {isinstance(budget, GaussianShift) for budget in policy.budgets}
    if len(shifts) > 1:
        raise NiwakiError("stages that hold the ratio and stages that hold the shift are not exported to C together")
    of_shift = shifts == {True}
    m, stages = base.head.low.size, len(rows)
    tanh = "tanh" in (base.log_std.form, task.log_std.form)
    drawn = "" if of_shift else ", last, noise"
    return f"""/* {NAME}.c: written by niwaki; see {NAME}.h. */
#include "{NAME}.h"
#include "policy_base.h"
#include "policy_task.h"
#include "policy_head.h"

{PRELUDE}
static const double budget[{stages}] = {{{", ".join(_double(row.budget) for row in rows)}}};
/* Of what is left, for one step; 0: an equal share for each until the horizon. */
static const double share[{stages}] = {{{", ".join(_double(row.share) for row in rows)}}};
static const int32_t horizon[{stages}] = {{{", ".join(str(row.horizon) for row in rows)}}};
static const int32_t spends[{stages}] = {{{", ".join(str(int(row.spends)) for row in rows)}}};

{ARITHMETIC}
{SHIFT if of_shift else LOGARITHM + RATIO}
{KERNELS["tanh_of"] if tanh else ""}
{_reading("base", base.log_std, m)}
{_reading("task", task.log_std, m)}
void policy_begin(policy_state *state)
{{
  int32_t k;
  for (k = 0; k < {stages}; ++k) state->left[k] = budget[k];
  state->step = 0;
}}

void policy_act(policy_state *state, const float observation[{base.observation_size}],
                const double noise[{m}], float action[{m}])
{{
  normal task, chain[{stages + 1}]; /* the base, then what every stage makes of the one before */
  const normal *last = chain + {stages};
  double allowed[{stages}];
  float outputs[{2 * m}], drawn[{m}];
  int32_t i, k;
  policy_task_act(observation, outputs);
  read_task(outputs, &task);
  policy_base_act(observation, outputs);
  read_base(outputs, chain);
  for (k = 0; k < {stages}; ++k) {{
    const int32_t rest = horizon[k] - state->step;
    const double part = share[k] > 0.0 ? share[k] : 1.0 / (rest > 1 ? rest : 1);
    allowed[k] = approach(&task, chain + k, rest > 0 ? part * state->left[k] : 0.0, chain + k + 1);
  }}
  for (k = 0; k < {stages}; ++k) {{
    const double charge = spends[k] ? spent(chain + k + 1, chain + k, allowed[k]{drawn}) : 0.0;
    if (charge != 0.0) state->left[k] = (state->left[k] - charge) * (1.0 - 0x1p-50); /* rounded down */
  }}
  if (state->step < INT32_MAX) ++state->step;
  for (i = 0; i < {m}; ++i) drawn[i] = (float)(last->mean[i] + last->deviation[i] * noise[i]);
  policy_head_act(drawn, action);
}}

{_self_test(policy, rows)}"""


def _reading(who: str, form: LogStd, actions: int) -> str:
    """The function that reads a distribution from a network's outputs."""
    low, high = _double(form.low), _double(form.high)
    if form.form == "clamp":
        logarithm = f"y < {low} ? {low} : y > {high} ? {high} : y"
    else:
        logarithm = f"{low} + ((double)tanh_of(y) + 1.0) / 2.0 * {_double(form.high - form.low)}"
    return f"""static void read_{who}(const float *outputs, normal *read)
{{
  int32_t i;
  for (i = 0; i < {actions}; ++i) {{
    const float y = outputs[{actions} + i]; /* of the deviation's logarithm */
    read->mean[i] = outputs[i];
    read->deviation[i] = exponential({logarithm});
  }}
}}
"""


def _self_test(policy: AdaptedPolicy, rows: list[_Stage]) -> str:
    """An episode of a few steps from the reference: its actions, and what it leaves of the budgets."""
    base = policy.base.policy
    rng = np.random.default_rng(0)
    observations = rng.standard_normal((TESTED_STEPS, base.observation_size)).astype(np.float32)
    noise = rng.standard_normal((TESTED_STEPS, base.head.low.size))
    expected, memories = reference(policy, observations, noise)
    # NumPy's logarithm differs in its last digits between processors, and the text must be the same on all
    left = np.where([row.spends for row in rows], np.rint(memories * 2**30) / 2**30, [row.budget for row in rows])
    halves = (base.head.high.astype(np.float64) - base.head.low) / 2
    allowed = [_double(TOLERANCE * half) for half in np.where(np.isfinite(halves), halves, 1.0)]
    o, m, s = base.observation_size, base.head.low.size, len(rows)
    return f"""static const float test_observation[{observations.size}] = {{{_floats(observations)}}};
static const double test_noise[{noise.size}] = {{{_doubles(noise)}}};
static const float test_action[{expected.size}] = {{{_floats(expected)}}};
static const double test_tolerance[{m}] = {{{", ".join(allowed)}}};
static const double test_left[{left.size}] = {{{_doubles(left)}}};

static int32_t close_to(double found, double expected, double tolerance)
{{
  return size_of(found - expected) <= tolerance;
}}

int32_t policy_self_test(void)
{{
  policy_state state;
  float action[{m}];
  int32_t i, k;
  if (policy_base_self_test() || policy_task_self_test() || policy_head_self_test()) return -1;
  policy_begin(&state);
  for (k = 0; k < {TESTED_STEPS}; ++k) {{
    policy_act(&state, test_observation + k * {o}, test_noise + k * {m}, action);
    for (i = 0; i < {m}; ++i)
      if (!close_to(action[i], test_action[k * {m} + i], test_tolerance[i])) return k + 1;
    for (i = 0; i < {s}; ++i) {{
      const double left = test_left[k * {s} + i];
      if (!close_to(state.left[i], left, {_double(LEFT)} * (1.0 + size_of(left)))) return k + 1;
    }}
  }}
  return 0;
}}
"""


def reference(policy: AdaptedPolicy, observations: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Actions [T, A] of one episode that sees observations [T, O] and draws this noise [T, A], and the memories
    [T, stages] after each step. The networks run in NumPy, so that the result is the same with and without a
    compiler."""
    mirrored = [SampledPolicy(p.policy, MirrorPolicy(p.policy.network)) for p in (policy.base, policy.task)]
    flying = AdaptedPolicy(mirrored[0], mirrored[1], policy.budget, policy.before)
    memories = tuple(budget.begin(1) for budget in flying.budgets)
    actions, left = [], []
    for t in range(len(observations)):
        action, memories = flying.step(t, memories, observations[t : t + 1], noise[t : t + 1])
        actions.append(action[0])
        left.append([memory[0] for memory in memories])
    return np.array(actions), np.array(left)


def _double(value: float | np.floating) -> str:
    """A float64 as a hexadecimal C99 literal."""
    return float(value).hex()


def _doubles(values: Floats) -> str:
    return ", ".join(map(_double, values.ravel().tolist()))


def _floats(values: Floats) -> str:
    return ", ".join(f"{_double(value)}f" for value in values.ravel().tolist())
