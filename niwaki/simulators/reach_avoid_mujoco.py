"""The point robot on MuJoCo: the twin that `reach_avoid` is tested against, a hundred times slower. Needs the extra
`mujoco`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators import reach_avoid_dynamics as robot
from niwaki.simulators.reach_avoid import ACTIONS, FELT, MOTION, STICKS, ReachAvoid, reach_avoid
from niwaki.types import ActionSpace, Engine, Floats, NiwakiError

MODEL = f"""
<mujoco model="point">
  <option timestep="{robot.PHYSICS_SECONDS}" integrator="Euler" gravity="0 0 -{robot.GRAVITY}"/>
  <worldbody>
    <body name="point">
      <joint name="along_x" type="slide" axis="1 0 0" damping="{robot.SLIDE_DAMPING}"/>
      <joint name="along_y" type="slide" axis="0 1 0" damping="{robot.SLIDE_DAMPING}"/>
      <joint name="turn" type="hinge" axis="0 0 1" damping="{robot.TURN_DAMPING}"/>
      <geom type="sphere" size="{robot.BALL_RADIUS}" density="{robot.DENSITY}"/>
      <geom type="box" size="{robot.NOSE_HALF} {robot.NOSE_HALF} {robot.NOSE_HALF}" pos="{robot.NOSE_AHEAD} 0 0"
            density="{robot.DENSITY}"/>
      <site name="origin"/>
    </body>
  </worldbody>
  <actuator>
    <motor site="origin" gear="{robot.GEAR} 0 0 0 0 0" ctrlrange="-1 1"
           forcerange="-{robot.TOP_FORCE} {robot.TOP_FORCE}"/>
    <velocity joint="turn" gear="{robot.GEAR}" kv="1" ctrlrange="-1 1"
              forcerange="-{robot.TOP_FORCE} {robot.TOP_FORCE}"/>
  </actuator>
  <sensor>
    <accelerometer site="origin"/>
    <velocimeter site="origin"/>
    <gyro site="origin"/>
    <magnetometer site="origin"/>
  </sensor>
</mujoco>
"""


class ReachAvoidRun:
    """One robot in flight (see EngineRun). MuJoCo moves it and reads its sensors; the rest is ReachAvoid's."""

    def __init__(self, simulator: ReachAvoid, mujoco: Any) -> None:
        self.simulator, self.mujoco = simulator, mujoco
        self.model = mujoco.MjModel.from_xml_string(MODEL)
        self.data = mujoco.MjData(self.model)
        self.state = simulator.reset(simulator.nominal[None])

    def start(self, scenario: Floats) -> Floats:
        """Begin the episode of scenario [K]; returns the first observation, float32 [44]."""
        self.put(self.simulator.reset(np.asarray(scenario, dtype=np.float64)[None]))
        return self.observe()

    def put(self, state: Floats) -> None:
        """Go on from any state [1, D] of ReachAvoid."""
        self.mujoco.mj_resetData(self.model, self.data)
        self.state = state.copy()
        self.data.qpos[:], self.data.qvel[:] = np.split(state[0, MOTION], 2)
        self.data.ctrl[:] = state[0, STICKS]
        self.mujoco.mj_forward(self.model, self.data)

    def advance(self, action: NDArray) -> tuple[Floats, float, int]:
        """One control period: observation float32 [44], reward, ending (0 = goes on)."""
        self.data.ctrl[:] = action
        self.mujoco.mj_step(self.model, self.data, nstep=self.simulator.physics_steps)
        self.mujoco.mj_forward(self.model, self.data)  # the sensors of the state that was reached
        after = self.state.copy()
        after[0, MOTION] = *self.data.qpos, *self.data.qvel
        after[0, STICKS] = action
        self.state, rewards, endings = self.simulator.judge(self.state, after)
        return self.observe(), float(rewards[0]), int(endings[0])

    def observe(self) -> Floats:
        """Sensors and lidars, float32 [44]."""
        seen = np.zeros((1, self.simulator.observation_size), dtype=np.float32)
        seen[0, :FELT] = self.data.sensordata
        self.simulator.look(self.state, seen)
        return seen[0]

    def measure(self) -> Floats:
        """The signals [S]."""
        return self.simulator.measure(self.state)[0]


@dataclass(frozen=True, kw_only=True)
class ReachAvoidTwin(Engine):
    """`ReachAvoid` with MuJoCo in place of its dynamics: the same scenarios, signals, observations and endings."""

    observation_size: int = ReachAvoid.observation_size
    action_space: ActionSpace = ACTIONS
    simulator: ReachAvoid

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """The scenarios [n, K] that ReachAvoid draws."""
        return self.simulator.sample(rng, n)

    def open(self) -> ReachAvoidRun:
        """A running robot. Raises NiwakiError without the extra `mujoco`."""
        try:
            import mujoco
        except ImportError as error:
            raise NiwakiError('the twin of reach-avoid needs MuJoCo: pip install "niwaki[mujoco]"') from error
        return ReachAvoidRun(self.simulator, mujoco)


def reach_avoid_twin(level: int = 5, **variant: Any) -> ReachAvoidTwin:
    """The twin of `reach_avoid(level, **variant)`, which says what there is."""
    simulator = reach_avoid(level, **variant)
    same = {f.name: getattr(simulator, f.name) for f in fields(ReachAvoidTwin) if f.name not in ("name", "simulator")}
    return ReachAvoidTwin(name="ReachAvoidTwin", simulator=simulator, **same)
