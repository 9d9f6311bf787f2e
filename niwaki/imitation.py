"""Learning from a teacher in the closed loop: lessons gathered where the student itself goes, then a fit.

The loop (dataset aggregation, Ross, Gordon & Bagnell 2011) is three lines for whoever needs it:
fly the student with `record=True`, `gather` what the teacher would have done there, `distil`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from niwaki.policies.gradients import derivative
from niwaki.policies.network import Head, NetworkPolicy, Normalizer, activate
from niwaki.types import Floats, Integers, NiwakiError, Trajectories

BATCH = 2048  # lessons in one gradient step: smaller ones cost Python calls, larger ones leave the cache
MOMENTUM, SQUARES = 0.9, 0.999  # Adam's decay rates (Kingma & Ba 2015)
SHARPNESS = 3.0  # the teacher's median choice counts as odds of e^3 to 1
MISTAKE = 4.0  # a step of a flight that breaks a specification counts as much as so many others
LOST = 0.25  # and what comes after the moment at which nothing could be saved any more, so much less
MOST_LESSONS = 400_000
LAST_RATE = 0.01  # the learning rate falls to this share of itself, as a cosine
THIN_EVERY = 10  # gradient steps between two calls of a fit's `thin`: PoPS refreshes its masks as often

Thin = Callable[[int, NetworkPolicy], NetworkPolicy]  # (steps done, student) -> what is left of it


@dataclass(frozen=True, eq=False)
class Lessons:
    """Situations, and what the teacher's network gives in them."""

    observations: Floats  # [N, O] float32, before any normaliser
    outputs: Floats  # [N, out] float32, the teacher's outputs before its head
    weights: Floats  # [N] float32, how much each one counts

    def __post_init__(self) -> None:
        if not len(self.observations) == len(self.outputs) == len(self.weights):
            sizes = (len(self.observations), len(self.outputs), len(self.weights))
            raise NiwakiError(f"lessons need as many observations as outputs and weights, got {sizes}")

    def __len__(self) -> int:
        return len(self.weights)


def gather(teacher: NetworkPolicy, flights: Trajectories, *, weights: Floats | None = None) -> Lessons:
    """The teacher's answers at every step of recorded flights, whoever flew them.

    `weights` [B] or [B, T] say how much each flight or step counts (one each when left out); steps of
    weight zero are left out. Raises NiwakiError for flights without a recording.
    """
    if flights.recording is None:
        raise NiwakiError("lessons need recorded flights: fly them with record=True")
    observations = flights.recording.observations[:, :-1]
    taken = flights.alive(observations.shape[1]).astype(np.float32)
    if weights is not None:
        taken *= weights if np.ndim(weights) == 2 else np.asarray(weights)[:, None]
    met = observations[taken > 0]
    return Lessons(met, teacher.outputs(met), taken[taken > 0])


def join(parts: Sequence[Lessons], *, most: int, rng: np.random.Generator) -> Lessons:
    """All lessons as one; of more than `most`, a random choice of that many."""
    joined = Lessons(
        np.concatenate([part.observations for part in parts]),
        np.concatenate([part.outputs for part in parts]),
        np.concatenate([part.weights for part in parts]),
    )
    return joined if len(joined) <= most else choose(joined, most, rng)


def choose(lessons: Lessons, n: int, rng: np.random.Generator) -> Lessons:
    """n of the lessons (all, if there are fewer), drawn without replacement."""
    rows = rng.permutation(len(lessons))[:n]
    return Lessons(lessons.observations[rows], lessons.outputs[rows], lessons.weights[rows])


def distil(
    student: NetworkPolicy,
    lessons: Lessons,
    *,
    steps: int = 3000,
    rate: float = 3e-3,
    batch: int = BATCH,
    temperature: float | None = None,
    thin: Thin | None = None,
    bare: bool = False,
    seed: int = 0,
) -> NetworkPolicy:
    """The student after `steps` of Adam towards the teacher's actions. Zero weights stay zero.

    The loss is about what leaves the head: Huber's on clipped and scaled actions, the cross-entropy to the
    teacher's softmax where an action is chosen (`slopes`), at a `temperature` in units of the teacher's outputs
    (default: see `action_targets`). With `bare`, biases that are zero stay zero too. What `thin` takes out of the
    student's weights on the way, every THIN_EVERY steps, stays out. The same seed gives the same bits on the same
    machine. Raises NiwakiError when there is no lesson, for a temperature that is not positive, and when the fit
    diverges.
    """
    if not len(lessons):
        raise NiwakiError("a student cannot be distilled from no lessons at all")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lessons))
    inputs = normalised(student.normalizer, lessons.observations[order])
    targets = action_targets(student.head, lessons.outputs, temperature=temperature)[order]
    counts = (lessons.weights / lessons.weights.mean())[order]
    masked = student.parts if bare else [layer.weight for layer in student.layers]
    masks = [(part != 0).astype(np.float32) for part in masked]
    values = [part.copy() for part in student.parts]
    adam = _Adam(values)
    for step, rows in enumerate(_batches(len(order), steps, batch, rng)):
        gradients = _gradients(student, values, inputs[rows], targets[rows], counts[rows])
        for gradient, mask in zip(gradients, masks, strict=False):  # biases that may grow have no mask
            gradient *= mask
        cosine = (1 + np.cos(np.pi * step / steps)) / 2
        adam.descend(gradients, rate * (LAST_RATE + (1 - LAST_RATE) * cosine))
        if thin is not None and (step + 1) % THIN_EVERY == 0:
            left = thin(step + 1, student.with_parts(values))
            masks[: len(left.layers)] = [(layer.weight != 0).astype(np.float32) for layer in left.layers]
            adam.mask(masks)
    return student.with_parts(values)


def normalised(normalizer: Normalizer | None, observations: Floats) -> Floats:
    """What the first layer sees, float32 [N, O]."""
    if normalizer is None:
        return np.asarray(observations, dtype=np.float32)
    scaled = (observations - normalizer.mean) / normalizer.scale
    return np.clip(scaled, -normalizer.clip, normalizer.clip).astype(np.float32)


def action_targets(head: Head, outputs: Floats, *, temperature: float | None = None) -> Floats:
    """What a student is compared with, float32 [N, out]: actions, or probabilities where one is chosen.

    Without one given, the softmax's temperature is a share of the teacher's median lead of the best action over
    the next, so that it fits logits and Q values alike: clear choices count, near ties hardly do. Raises NiwakiError
    for a temperature that is not positive.
    """
    if temperature is not None and not 0 < temperature < np.inf:
        raise NiwakiError(f"the temperature must be a positive number, got {temperature}")
    if head.kind == "argmax":
        return _softmax(outputs / median_lead(outputs) * SHARPNESS if temperature is None else outputs / temperature)
    if head.kind == "clip":
        return np.clip(outputs, head.low, head.high)
    return np.tanh(np.clip(outputs, -head.limit, head.limit)) if head.kind == "squash" else outputs


def median_lead(outputs: Floats) -> float:
    """By how much the best of several scores [N, out] leads the next, in the median: the unit of the scores. 1 for
    a single score, never 0."""
    if outputs.shape[1] == 1:
        return 1.0
    ranked = np.sort(outputs, axis=1)
    return max(float(np.median(ranked[:, -1] - ranked[:, -2])), 1e-6)


def attention(flights: Trajectories, *, lost: Integers | None = None) -> Floats:
    """How much the lessons of each flight [B] count: those of mistakes more.

    Of recorded flights, with the first index `lost` [B] from which a specification cannot be kept any more, how much
    those of each step [B, T] count: where a robot lies on its back its teacher has never been.
    """
    each = np.where(flights.violated, MISTAKE, 1.0)
    if lost is None or flights.recording is None:
        return each
    steps = np.arange(flights.recording.observations.shape[1] - 1)
    return np.where(steps < lost[:, None], each[:, None], LOST)


def slopes(head: Head, outputs: Floats, targets: Floats) -> Floats:
    """The loss's gradient [N, out] at a student's outputs.

    A clipped action that is as far out as the teacher's is right however far out: no pull. The pull of any
    other is the difference in units of half the action's range, at most 1 (Huber's loss).
    """
    if head.kind == "argmax":
        return _softmax(outputs) - targets
    if head.kind == "squash":
        squashed = np.tanh(np.clip(outputs, -head.limit, head.limit))
        return (squashed - targets) * (1 - squashed * squashed)
    if head.kind == "raw":
        return np.clip(outputs - targets, -1, 1)
    right = ((outputs >= head.high) & (targets >= head.high)) | ((outputs <= head.low) & (targets <= head.low))
    return np.where(right, np.float32(0), np.clip((outputs - targets) / half_range(head), -1, 1))


def half_range(head: Head) -> Floats:
    """Half the width of each action's range, float32 [A]; 1 where it has none."""
    half = (head.high - head.low) / 2
    return np.where(np.isfinite(half), half, 1).astype(np.float32)


def _softmax(outputs: Floats) -> Floats:
    raised = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _batches(n: int, steps: int, size: int, rng: np.random.Generator) -> Sequence[slice]:
    """Slices of lessons that are shuffled once: each batch is a view, and epochs start at random places."""
    size = min(size, n)
    starts: list[int] = []
    while len(starts) < steps:
        first = int(rng.integers(size))
        epoch = np.arange(first, n - size + 1, size) if first <= n - size else np.zeros(1, dtype=int)
        starts += rng.permutation(epoch).tolist()
    return [slice(start, start + size) for start in starts[:steps]]


def _gradients(
    student: NetworkPolicy, values: list[Floats], x: Floats, targets: Floats, counts: Floats
) -> list[Floats]:
    """Mean gradients of the loss over a batch, weights first, then biases."""
    depth = len(student.layers)
    inputs, sums = [], []
    for layer, weight, bias in zip(student.layers, values[:depth], values[depth:], strict=True):
        inputs.append(x)
        sums.append(x @ weight.T + bias)
        x = activate(layer.activation, sums[-1])
    delta = slopes(student.head, x, targets) * (counts / len(counts))[:, None]
    weights, biases = [], []
    for i in reversed(range(depth)):
        delta = (delta * derivative(student.layers[i].activation, sums[i])).astype(np.float32, copy=False)
        weights.append(delta.T @ inputs[i])
        biases.append(delta.sum(axis=0))
        delta = delta @ values[i]
    return weights[::-1] + biases[::-1]


class _Adam:
    """Adam on arrays that it changes in place."""

    def __init__(self, values: list[Floats]) -> None:
        self.values, self.steps = values, 0
        self.means = [np.zeros_like(value) for value in values]
        self.squares = [np.zeros_like(value) for value in values]

    def mask(self, masks: list[Floats]) -> None:
        """Put zeros where the masks have them, in the values and in the momentum that would move them again."""
        for value, mean, mask in zip(self.values, self.means, masks, strict=False):  # the biases have no mask
            value *= mask
            mean *= mask

    def descend(self, gradients: list[Floats], rate: float) -> None:
        self.steps += 1
        mean_share, square_share = 1 - MOMENTUM**self.steps, 1 - SQUARES**self.steps
        for value, gradient, mean, square in zip(self.values, gradients, self.means, self.squares, strict=True):
            mean += (1 - MOMENTUM) * (gradient - mean)
            square += (1 - SQUARES) * (gradient * gradient - square)
            value -= rate / mean_share * mean / (np.sqrt(square / square_share) + 1e-8)
