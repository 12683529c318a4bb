"""What is to be done later, each thing at its time. Pure: the time is an argument."""

import math
from collections.abc import Callable
from heapq import heappop, heappush

Action = Callable[[float], None]
"""Called with the time at which it is done."""


class Agenda:
    """Actions in the order of their times; those of one time in the order in which they were added."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Action]] = []
        self._added = 0

    @property
    def next_s(self) -> float:
        """When the next action is due; infinite when there is none."""
        return self._due[0][0] if self._due else math.inf

    def add(self, due_s: float, action: Action) -> None:
        """Do this from then on, at the next `run`."""
        self._added += 1
        heappush(self._due, (due_s, self._added, action))

    def run(self, now_s: float) -> None:
        """Do what is due."""
        while self._due and self._due[0][0] <= now_s:
            _, _, action = heappop(self._due)
            action(now_s)
