"""Which day an entry belongs to, and which day is forgotten. Pure.

An entry carries the mark of the day on which it was last put. Days are counted, never compared: a step of the clock
does not make us forget.
"""

from collections.abc import Callable

_DAY_NS = 86_400 * 10**9
_MARKS = 256
SPARE_DAYS = 7
"""Days kept beyond those that are needed: a clock may show this many wrong dates without costing a day of memory."""


class Days:
    """The latest days, each with a mark of one byte."""

    def __init__(self, days: int, drop: Callable[[int], None]) -> None:
        """`days`: how many to keep at least. `drop` forgets all entries that carry a mark."""
        self._days_max = days + SPARE_DAYS
        assert self._days_max < _MARKS
        self._drop = drop
        self._marks: dict[int, int] = {}
        """By day, the latest last."""
        self._today: int | None = None
        self._mark = -1

    def mark(self, wall_ns: int) -> int:
        """The mark of an entry that is put now. May drop another mark first."""
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
