"""Programs around emitted policies: what a user's own build would compute."""

import subprocess

import numpy as np
import pytest
import torch

from niwaki.policies.c_source import c_source
from niwaki.policies.compact import compact
from niwaki.policies.compiled import write_sources

TORCH = {
    "identity": torch.nn.Identity(),
    "relu": torch.relu,
    "tanh": torch.tanh,
    "elu": torch.nn.functional.elu,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "sigmoid": torch.sigmoid,
    "silu": torch.nn.functional.silu,
}

MAIN = """
#include <stdio.h>
#include "{name}.h"
int main(void)
{{
  static {kind} action[{name_upper}_ACTIONS];
  float observation[{name_upper}_OBSERVATIONS];
  if ({name}_self_test() != 0) return 9;
  while (fread(observation, sizeof observation, 1, stdin) == 1) {{
    {call}
    fwrite(action, {bytes}, 1, stdout);
  }}
  return 0;
}}
"""


@pytest.fixture(scope="session")
def run_program(tmp_path_factory):
    """run_program(policy, observations, command, emulator=()): compiles the emitted C with the command
    (compiler and flags) into a program, runs its self-test and then each observation; returns the actions."""

    def run(policy, observations, command, emulator=(), change=lambda source: source):
        folder = tmp_path_factory.mktemp("program")
        c = c_source(compact(policy))
        write_sources(c, folder)
        (folder / "policy.c").write_text(change(c.source))
        discrete = policy.discrete
        call = "action[0] = policy_act(observation);" if discrete else "policy_act(observation, action);"
        kind, size = ("int32_t", "sizeof action[0]") if discrete else ("float", "sizeof action")
        main = MAIN.format(name="policy", name_upper="POLICY", kind=kind, call=call, bytes=size)
        (folder / "main.c").write_text(main)
        command = [*command, "policy.c", "main.c", "-o", "program"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        data = np.ascontiguousarray(observations, np.float32).tobytes()
        done = subprocess.run([*emulator, "./program"], cwd=folder, input=data, capture_output=True)
        assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
        if discrete:
            return np.frombuffer(done.stdout, np.int32)
        return np.frombuffer(done.stdout, np.float32).reshape(-1, policy.output_size)

    return run


@pytest.fixture(scope="session")
def assert_same_bits():
    """Asserts that two arrays of actions are the same bit for bit; NaN equals NaN."""

    def check(actions, expected):
        actions, expected = np.asarray(actions), np.asarray(expected)
        assert actions.shape == expected.shape
        if expected.dtype.kind == "i":
            np.testing.assert_array_equal(actions, expected)
            return
        nan = np.isnan(expected)
        np.testing.assert_array_equal(np.isnan(actions), nan)
        np.testing.assert_array_equal(actions.view(np.int32)[~nan], expected.view(np.int32)[~nan])

    return check
