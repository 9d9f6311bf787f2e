"""Curriculum: when training goes on to the next stage."""

from __future__ import annotations

from collections import deque

PROMOTION = 0.95  # of the last episodes must have succeeded
WINDOW = 100  # episodes


class Curriculum:
    """Promotes as soon as 95 % of the last 100 episodes of a stage succeeded; the next stage counts afresh."""

    def __init__(self, stages: int) -> None:
        self.stages, self.stage = stages, 0
        self.last: deque[bool] = deque(maxlen=WINDOW)

    def note(self, success: bool) -> bool:
        """Count one episode; whether the next stage begins. After the last stage there is none."""
        self.last.append(success)
        if self.stage + 1 == self.stages or len(self.last) < WINDOW or sum(self.last) < PROMOTION * WINDOW:
            return False
        self.last.clear()
        self.stage += 1
        return True
