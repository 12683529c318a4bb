"""Which day what is remembered goes by, and which day is forgotten. Pure.

What is kept goes by the mark of the day on which it was last put. Days are counted, never compared, so that a step of
the clock does not make us forget.
"""

from collections.abc import Callable

_DAY_NS = 86_400 * 10**9
_MARKS = 256
SPARE_DAYS = 7
"""Days kept beyond those that are needed: so many wrong dates may a clock show without costing a day of memory."""


class Days:
    """The days that are kept, at least so many, each with a mark of one byte."""

    def __init__(self, days: int, drop: Callable[[int], None]) -> None:
        """`drop` forgets all that goes by a mark."""
        self._days_max = days + SPARE_DAYS
        assert self._days_max < _MARKS
        self._drop = drop
        self._marks: dict[int, int] = {}
        """By day, the latest last."""
        self._today: int | None = None
        self._mark = -1

    def mark(self, wall_ns: int) -> int:
        """By which mark goes what is put now. May drop another one first."""
        number = wall_ns // _DAY_NS
        if number != self._today:
            self._turn_to(number)
        return self._mark

    def _turn_to(self, number: int) -> None:
        """Another day. One that a clock shows for a moment, ahead or behind, only adds a day."""
        marks = self._marks
        mark = marks.pop(number, None)
        if mark is None:  # in turn, so that one which was dropped is not used again soon
            used, mark = set(marks.values()), (max(self._mark, 0) + 1) % _MARKS
            while mark in used:
                mark = (mark + 1) % _MARKS
        self._today, self._mark = number, mark
        marks[number] = mark  # it is the latest now, whatever its number
        while len(marks) > self._days_max:
            # dictionaries keep their order: the day that came first goes first, but never the one that is written to
            self._drop(marks.pop(next(day for day in marks if day != number)))
