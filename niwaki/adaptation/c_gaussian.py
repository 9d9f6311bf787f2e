"""An adapted policy under Gaussian budgets as dependency-free C99: both networks, the projection, the budget's state.

The noise is an argument, so that the caller decides where it comes from and the code can be compared with the
reference number by number. The networks give the reference's bits; exponential and root are our own in double, so that
actions agree to TOLERANCE of their range (the last step is float32) and what is left of a budget to about 1e-13.
"""

from __future__ import annotations

import numpy as np

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import GaussianShift
from niwaki.policies.c_kernels import KERNELS, PRELUDE
from niwaki.policies.c_source import c_source
from niwaki.policies.compact import compact
from niwaki.policies.deployed import MirrorPolicy
from niwaki.policies.gaussian import GaussianPolicy, LogStd
from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.policies.sampled import SampledPolicy
from niwaki.types import Floats, NiwakiError

TOLERANCE = 1e-6  # of half the range of an action
TESTED_STEPS = 6
NAME = "policy"
PARTS = ("policy_base", "policy_task", "policy_head")
FILES = tuple(f"{name}{kind}" for name in (NAME, *PARTS) for kind in (".h", ".c"))

ARITHMETIC = """/* e^x for |x| <= 80: x = k ln 2 + r with |r| <= ln 2 / 2, a series in r, and 2^k by its bits. */
static double exponential(double x)
{
  const double turns = x * 0x1.71547652b82fep+0;
  const int32_t k = (int32_t)(turns < 0.0 ? turns - 0.5 : turns + 0.5);
  const double r = (x - k * 0x1.62e42fee00000p-1) - k * 0x1.a39ef35793c76p-33;
  union { uint64_t bits; double value; } power;
  double sum = 1.0;
  int32_t i;
  for (i = 14; i > 0; --i) sum = 1.0 + r / i * sum;
  power.bits = (uint64_t)(k + 1023) << 52;
  return sum * power.value;
}

/* The root of 0 <= x < 1 by Newton's method, from a guess that halves the exponent. */
static double root(double x)
{
  union { uint64_t bits; double value; } guess;
  int32_t i;
  if (!(x > 1e-300)) return 0.0;
  guess.value = x;
  guess.bits = (guess.bits >> 1) + ((uint64_t)511 << 52) + ((uint64_t)1 << 51);
  for (i = 0; i < 6; ++i) guess.value = 0.5 * (guess.value + x / guess.value);
  return guess.value;
}
"""


def c_gaussian(policy: AdaptedPolicy) -> dict[str, str]:
    """The C files by name: policy.h and policy.c, and the networks and the head that they call.

    Raises NiwakiError where a budget is not a GaussianShift: the others need a search in every step.
    """
    budgets = []
    for budget in policy.budgets:
        if not isinstance(budget, GaussianShift):
            raise NiwakiError(f"only Gaussian budgets are exported to C, not {type(budget).__name__}")
        budgets.append(budget)
    base, task = policy.base.policy, policy.task.policy
    size = base.head.low.size
    head = NetworkPolicy((Layer(np.eye(size), np.zeros(size)),), base.head)
    networks = (compact(base.network), compact(task.network), head)
    parts = [c_source(network, name=name) for network, name in zip(networks, PARTS, strict=True)]
    files = {f"{NAME}.h": _header(base, len(budgets)), f"{NAME}.c": _source(policy, budgets)}
    for part in parts:
        files |= {f"{part.name}.h": part.header, f"{part.name}.c": part.source}
    return files


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

/* What an episode has left of its budgets: one number for each stage. */
typedef struct {{
  double left[{stages}];
  int32_t step;
}} policy_state;

/* Call it when an episode begins. */
void policy_begin(policy_state *state);

/* Writes the action of the next step. Observations must be finite; `noise` is {actions} fresh, independent standard
   normal numbers: the bound holds for these and no others. No heap; nothing may overlap. */
void policy_act(policy_state *state, const float observation[{base.observation_size}],
                const double noise[{actions}], float action[{actions}]);

/* 0 when this build computes what was tested. Call it once on the target. */
int32_t policy_self_test(void);

#ifdef __cplusplus
}}
#endif
#endif
"""


def _source(policy: AdaptedPolicy, budgets: list[GaussianShift]) -> str:
    base, actions, stages = policy.base.policy, policy.base.policy.head.low.size, len(budgets)
    table = ", ".join(_double(budget.shift**2) for budget in budgets)
    share = ", ".join(_double(0.0 if b.fraction is None else b.fraction) for b in budgets)
    horizon = ", ".join(str(budget.horizon) for budget in budgets)
    return f"""/* {NAME}.c: written by niwaki; see {NAME}.h. */
#include "{NAME}.h"
#include "policy_base.h"
#include "policy_task.h"
#include "policy_head.h"

{PRELUDE}
static const double budget[{stages}] = {{{table}}};
static const double fraction[{stages}] = {{{share}}}; /* 0: an equal share for each step until the horizon */
static const int32_t horizon[{stages}] = {{{horizon}}};

{ARITHMETIC}
{KERNELS["tanh_of"] if base.log_std.form == "tanh" else ""}
/* The logarithm of the base's deviation from a network's output. */
static double log_deviation(float output)
{{
{_log_std(base.log_std)}
}}

void policy_begin(policy_state *state)
{{
  int32_t k;
  for (k = 0; k < {stages}; ++k) state->left[k] = budget[k];
  state->step = 0;
}}

void policy_act(policy_state *state, const float observation[{base.observation_size}],
                const double noise[{actions}], float action[{actions}])
{{
  float of_base[{2 * actions}], of_task[{2 * actions}], drawn[{actions}];
  double mean[{actions}], deviation[{actions}];
  int32_t i, k;
  policy_base_act(observation, of_base);
  policy_task_act(observation, of_task);
  for (i = 0; i < {actions}; ++i) {{
    mean[i] = of_base[i];
    deviation[i] = exponential(log_deviation(of_base[{actions} + i]));
  }}
  for (k = 0; k < {stages}; ++k) {{
    const int32_t rest = horizon[k] - state->step;
    const double share = fraction[k] > 0.0 ? fraction[k] : 1.0 / (rest > 1 ? rest : 1);
    const double allowed = rest > 0 ? share * state->left[k] : 0.0;
    double way = 0.0, part = 1.0;
    for (i = 0; i < {actions}; ++i) {{
      const double z = ((double)of_task[i] - mean[i]) / deviation[i];
      way += z * z;
    }}
    if (way > allowed) part = root(allowed / way);
    for (i = 0; i < {actions}; ++i) mean[i] += ((double)of_task[i] - mean[i]) * part;
    state->left[k] -= way * part * part;
    if (!(state->left[k] > 0.0)) state->left[k] = 0.0;
  }}
  if (state->step < INT32_MAX) ++state->step;
  for (i = 0; i < {actions}; ++i) drawn[i] = (float)(mean[i] + deviation[i] * noise[i]);
  policy_head_act(drawn, action);
}}

{_self_test(policy)}"""


def _log_std(form: LogStd) -> str:
    low, high = _double(form.low), _double(form.high)
    if form.form == "clamp":
        return f"""  const double y = output;
  return y < {low} ? {low} : y > {high} ? {high} : y;"""
    return f"  return {low} + ((double)tanh_of(output) + 1.0) / 2.0 * {_double(form.high - form.low)};"


def _self_test(policy: AdaptedPolicy) -> str:
    """An episode of a few steps from the reference; the tolerance is that of the actions."""
    base = policy.base.policy
    rng = np.random.default_rng(0)
    observations = rng.standard_normal((TESTED_STEPS, base.observation_size)).astype(np.float32)
    noise = rng.standard_normal((TESTED_STEPS, base.head.low.size))
    expected = reference(policy, observations, noise)
    halves = (base.head.high.astype(np.float64) - base.head.low) / 2
    allowed = [_double(TOLERANCE * half) for half in np.where(np.isfinite(halves), halves, 1.0)]
    o, m = base.observation_size, base.head.low.size
    return f"""static const float test_observation[{observations.size}] = {{{_floats(observations)}}};
static const double test_noise[{noise.size}] = {{{_doubles(noise)}}};
static const float test_action[{expected.size}] = {{{_floats(expected)}}};
static const double test_tolerance[{m}] = {{{", ".join(allowed)}}};

int32_t policy_self_test(void)
{{
  policy_state state;
  float action[{m}];
  int32_t i, k;
  if (policy_base_self_test() || policy_task_self_test() || policy_head_self_test()) return -1;
  policy_begin(&state);
  for (k = 0; k < {TESTED_STEPS}; ++k) {{
    policy_act(&state, test_observation + k * {o}, test_noise + k * {m}, action);
    for (i = 0; i < {m}; ++i) {{
      const double off = (double)action[i] - test_action[k * {m} + i];
      if (!(off <= test_tolerance[i] && -off <= test_tolerance[i])) return k + 1;
    }}
  }}
  return 0;
}}
"""


def reference(policy: AdaptedPolicy, observations: Floats, noise: Floats) -> Floats:
    """Actions [T, A] of one episode that sees observations [T, O] and draws this noise [T, A]. The networks run in
    NumPy, so that the result is the same with and without a compiler."""
    mirrored = [SampledPolicy(p.policy, MirrorPolicy(p.policy.network)) for p in (policy.base, policy.task)]
    flying = AdaptedPolicy(mirrored[0], mirrored[1], policy.budget, policy.before)
    memories = tuple(budget.begin(1) for budget in flying.budgets)
    actions = []
    for t in range(len(observations)):
        action, memories = flying.step(t, memories, observations[t : t + 1], noise[t : t + 1])
        actions.append(action[0])
    return np.array(actions)


def _double(value: float | np.floating) -> str:
    """A float64 as a hexadecimal C99 literal."""
    return float(value).hex()


def _doubles(values: Floats) -> str:
    return ", ".join(map(_double, values.ravel().tolist()))


def _floats(values: Floats) -> str:
    return ", ".join(f"{_double(value)}f" for value in values.ravel().tolist())
