"""The acts of a journal, each with its end, as people see them."""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from gateway.payments import steps

ENTRIES_MAX = 1000
"""Acts that a running process shows. The journal has them all."""
ENDS = frozenset({"done", "failed", "lapsed", "unknown"})


class Entry(Struct, frozen=True):
    """One act."""

    number: int
    """The position of its first record."""
    act: str
    who: str
    origin: str
    why: str
    what: dict[str, str]
    begun_ns: int
    """When it was ordered, by the wall clock."""
    state: str
    """asked (it waits for a second person), begun, done, failed, lapsed, or unknown (a restart came between)."""
    second: str = ""
    """Who approved or rejected it."""
    result: dict[str, str] = {}
    """What came of it."""


class Book:
    """The latest acts, in order."""

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self._entries: dict[int, Entry] = {}
        self._entries_max = entries_max

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def get(self, number: int) -> Entry | None:
        """The act of this number, while it is kept."""
        return self._entries.get(number)

    def take(self, position: int, time_ns: int, act: steps.Act) -> Entry | None:
        """Take a record in, in the order of the journal. Returns the act as it stands now; None: its first record is
        not kept any more.
        """
        if not act.number:
            entry = Entry(position, act.act, act.who, act.origin, act.why, act.what, act.time_ns or time_ns, act.phase)
            self._entries[position] = entry
            if len(self._entries) > self._entries_max:
                del self._entries[next(iter(self._entries))]
            return entry
        before = self._entries.get(act.number)
        if before is None:
            return None
        second = act.who if act.who and before.state == "asked" else before.second
        entry = self._entries[act.number] = replace(before, state=act.phase, second=second, result=act.what)
        return entry

    def restarted(self) -> None:
        """A process began after all these: what waited for a second person lapsed, what was begun may be done."""
        for number, entry in self._entries.items():
            if entry.state not in ENDS:
                self._entries[number] = replace(entry, state="lapsed" if entry.state == "asked" else "unknown")
