"""Gymnasium's MuJoCo environments (HalfCheetah, Hopper, Walker2d, Ant, ...), started elsewhere than
Gymnasium starts them and under other gravity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators.columns import constant
from niwaki.simulators.gymnasium import ENDINGS, GymnasiumEngine, GymnasiumRun
from niwaki.types import Floats, Signal, seed_column

# Units by MuJoCo's joint type: free (position and quaternion), ball, slide, hinge.
POSITION_UNITS = (("m",) * 3 + ("1",) * 4, ("1",) * 4, ("m",), ("rad",))
VELOCITY_UNITS = (("m/s",) * 3 + ("rad/s",) * 3, ("rad/s",) * 3, ("m/s",), ("rad/s",))

# These two end by falling over without having the switch that the walkers have for it.
PENDULUMS = ("InvertedPendulumEnv", "InvertedDoublePendulumEnv")


class MujocoRun(GymnasiumRun):
    """One MuJoCo environment in flight."""

    convert = staticmethod(np.asarray)

    def begin(self, *values: float) -> NDArray:
        *offsets, gravity, seed = values
        env = self.env
        env.model.opt.gravity[2] = gravity  # before the reset, whose forward pass uses it
        observation: NDArray = env.reset(seed=int(seed))[0]
        if not any(offsets):
            return observation
        positions, velocities = np.split(np.array(offsets), [env.model.nq])
        env.set_state(env.data.qpos + positions, env.data.qvel + velocities)
        observation = env._get_obs()
        return observation

    def measure(self) -> Floats:
        return np.concatenate([self.env.data.qpos, self.env.data.qvel])


@dataclass(frozen=True, kw_only=True)
class MujocoEngine(GymnasiumEngine):
    """A MuJoCo environment. The columns qpos[i] and qvel[i] are added to the state that the reset has drawn
    and stay at 0 unless a task widens them; quaternions among qpos are normalised by MuJoCo itself.
    The signals qpos[i] and qvel[i] are the state in MuJoCo's own units. The policy sees the observation
    as float32."""

    run_class: ClassVar[type[GymnasiumRun]] = MujocoRun

    @staticmethod
    def facts(env: Any) -> dict[str, Any]:
        positions = [unit for kind in env.model.jnt_type for unit in POSITION_UNITS[kind]]
        velocities = [unit for kind in env.model.jnt_type for unit in VELOCITY_UNITS[kind]]
        state = [(f"qpos[{i}]", unit) for i, unit in enumerate(positions)]
        state += [(f"qvel[{i}]", unit) for i, unit in enumerate(velocities)]
        falls = getattr(env, "_terminate_when_unhealthy", type(env).__name__ in PENDULUMS)
        return {
            "columns": (
                *(constant(name, unit, 0.0) for name, unit in state),
                constant("gravity", "m/s^2", float(env.model.opt.gravity[2])),
                seed_column(),
            ),
            "signals": tuple(Signal(name, unit) for name, unit in state),
            "endings": ENDINGS,
            "failures": ("terminated",) if falls else (),
            "step_seconds": float(env.dt),
        }
