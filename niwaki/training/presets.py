"""Which settings a training run uses: the task's own preset, or the defaults of an algorithm."""

from __future__ import annotations

from niwaki.tasks import Algorithm, Argument, Task, Training
from niwaki.types import Discrete, NiwakiError, Simulator

DISCRETE_ONLY: tuple[Algorithm, ...] = ("dqn", "qrdqn")
CONTINUOUS_ONLY: tuple[Algorithm, ...] = ("sac", "td3", "tqc")
EITHER: tuple[Algorithm, ...] = ("ppo", "a2c", "trpo")
STOCHASTIC: tuple[Algorithm, ...] = (*EITHER, "sac", "tqc")

_BATCHES: dict[str, Argument] = {"n_steps": 512, "batch_size": 256, "gamma": 0.99, "gae_lambda": 0.95}
_REPLAY: dict[str, Argument] = {"learning_starts": 1_000, "buffer_size": 100_000}


def _on_policy(algorithm: Algorithm, arguments: dict[str, Argument], *, linear: bool) -> Training:
    return Training(
        algorithm=algorithm,
        steps=1_000_000,
        environments=8,
        normalize=True,
        linear_schedule=linear,
        arguments=arguments,
    )


def _off_policy(algorithm: Algorithm) -> Training:
    return Training(algorithm=algorithm, steps=200_000, activation="relu", arguments=_REPLAY)


DEFAULTS: dict[Algorithm, Training] = {
    "ppo": _on_policy("ppo", {**_BATCHES, "n_epochs": 10, "learning_rate": 5e-4}, linear=True),
    "a2c": _on_policy("a2c", {"learning_rate": 7e-4}, linear=True),
    "trpo": _on_policy("trpo", _BATCHES, linear=False),
    "dqn": _off_policy("dqn"),
    "qrdqn": _off_policy("qrdqn"),
    "sac": _off_policy("sac"),
    "td3": _off_policy("td3"),
    "tqc": _off_policy("tqc"),
}


def training_for(task: Task, *, algorithm: str | None = None, steps: int | None = None) -> Training:
    """The task's preset where it is for this algorithm, else the algorithm's defaults (PPO's without a name).

    Raises NiwakiError for an unknown algorithm, one that cannot learn the task's kind of action, or no steps.
    """
    if steps is not None and steps < 1:
        raise NiwakiError(f"steps must be at least 1, got {steps}")
    discrete = isinstance(task.simulator.action_space, Discrete)
    possible = (*EITHER, *(DISCRETE_ONLY if discrete else CONTINUOUS_ONLY))
    preset = task.training
    if algorithm is not None and (preset is None or algorithm != preset.algorithm):
        preset = next((training for name, training in DEFAULTS.items() if name == algorithm), None)
        if preset is None:
            raise NiwakiError(f"unknown algorithm {algorithm!r}; for {task.name}: {', '.join(possible)}")
    preset = preset or DEFAULTS["ppo"]
    if preset.algorithm not in possible:
        kind = "discrete" if discrete else "continuous"
        raise NiwakiError(
            f"{preset.algorithm} cannot learn the {kind} actions of {task.name}: use one of {', '.join(possible)}"
        )
    if preset.prioritized and preset.algorithm != "sac":
        raise NiwakiError(f"{task.name}: only sac replays by priority, not {preset.algorithm}")
    if preset.stochastic and discrete:
        raise NiwakiError(f"{task.name} takes discrete actions, for which there is no Gaussian: leave out stochastic")
    if preset.stochastic and preset.algorithm not in STOCHASTIC:
        raise NiwakiError(f"{task.name}: {preset.algorithm} trains no Gaussian policy: leave out stochastic")
    if preset.critic_widths is not None and preset.algorithm in DISCRETE_ONLY:
        raise NiwakiError(f"{task.name}: {preset.algorithm} has no critic beside its policy: leave out critic_widths")
    return preset if steps is None else preset.model_copy(update={"steps": steps})


def stages_of(task: Task, training: Training) -> tuple[Simulator, ...]:
    """The simulators that these settings train on, one after the other: the task's own if they name no stages."""
    return task.stages if training.stages else (task.simulator,)
