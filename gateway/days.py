"""A memory that forgets by days. Pure.

What is kept goes by the day on which it was last put, so that forgetting a day is dropping a dictionary. Days are
counted, never compared, so that a step of the clock does not make us forget.
"""

from typing import Generic, TypeVar

_Value = TypeVar("_Value")

_DAY_NS = 86_400 * 10**9
SPARE_DAYS = 7
"""Days kept beyond those that are needed: so many wrong dates may a clock show without costing a day of memory."""


class Days(Generic[_Value]):
    """Name → value, for at least so many days."""

    def __init__(self, days: int) -> None:
        self._days_max = days + SPARE_DAYS
        self._days: dict[int, dict[str, _Value]] = {}
        self._today: dict[str, _Value] = {}
        self._today_number = -1

    def __len__(self) -> int:
        return sum(map(len, self._days.values()))

    def get(self, name: str) -> _Value | None:
        """What is kept under this name."""
        for day in self._days.values():
            value = day.get(name)
            if value is not None:
                return value
        return None

    def put(self, name: str, value: _Value, wall_ns: int) -> None:
        """Keep, from today on; what was kept before under this name is replaced."""
        number = wall_ns // _DAY_NS
        if number != self._today_number:
            self._turn_to(number)
        today = self._today
        if len(self._days) > 1 and name not in today:
            for day in self._days.values():
                day.pop(name, None)
        today[name] = value

    def _turn_to(self, number: int) -> None:
        """Another day. One that a clock shows for a moment, ahead or behind, only adds a day."""
        self._today_number = number
        self._today = self._days[number] = self._days.pop(number, {})  # it is the latest now, whatever its number
        while len(self._days) > self._days_max:
            # dictionaries keep their order: the day that came first goes first, but never the one that is written to
            del self._days[next(day for day in self._days if day != number)]
