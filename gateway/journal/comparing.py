"""`fps-gateway journal compare DIR DIR`: compares two copies of one journal, record by record. It says where they part,
never what they hold.

The chain makes this cheap and certain: a chain value stands for the journal's name and for every record before it.
Where two copies have the same chain value at a position, everything before it is the same, also the records that one of
them has deleted by now. Otherwise they part at the first position with different values. The batches and segments that
records lie in do not count: they are each copy's own.

Both copies are read side by side, once, in constant memory, and verified on the way. The copy of a gateway that writes
counts as long as it was when it was read to its end.
"""

import argparse
import sys
from collections.abc import Iterator
from enum import IntEnum

import msgspec
from msgspec import Struct

from gateway import log
from gateway.disk import Directory
from gateway.errors import Refusal
from gateway.journal.looking import LOOKS_MAX, Watch, manifest_of, progress
from gateway.journal.record import Record
from gateway.journal.recovery import Corrupt, Newer
from gateway.journal.segment import Walk
from gateway.journal.showing import counted, when
from gateway.machine import harmless

SECOND_NS = 1_000_000_000
FIELDS = ("kind", "time_ns", "link", "fpid", "body")
"""The parts in which two records of one position may differ."""

EPILOG = """\
A gateway may write to either copy meanwhile. But a copy of files must be of one moment: a snapshot of the volume, a
backup of a snapshot, or a copy made while no gateway ran. A copy that was made while a gateway wrote may lack records
before some that it has: that is damage.

exit codes:
   0  the copies are the same
   1  they are the same as far as one goes, and the other goes on
   2  the command line makes no sense, or one is no journal
   3  not known: no position is in both
   4  they differ from a position on, or they are two journals
   5  one is damaged; as far as they can be read, they are as for 0, 1 or 3
  75  a newer gateway wrote one, and nothing was changed"""


class Outcome(IntEnum):
    """What two copies are to each other; the number is the exit code."""

    SAME = 0
    BEHIND = 1
    NOT_KNOWN = 3
    DIFFERENT = 4
    DAMAGED = 5


class DamagedPlace(Struct, frozen=True):
    """Where a copy does not add up, and how."""

    segment: str
    offset: int
    position: int
    what: str


class Copy(Struct, frozen=True):
    """One of the two."""

    path: str
    journal: str
    """Its name, in hex."""
    first_position: int
    """0 when there is no record."""
    last_position: int
    """As far as it can be read; 0 when there is no record."""
    newest: str
    """Time of the last record, or empty."""
    torn_bytes: int
    """At its end: being written just now, or left by a crash, to be cut off by a start."""
    damage: DamagedPlace | None


class Shown(Struct, frozen=True):
    """A record, without its content."""

    kind: str
    time: str
    link: int
    fpid_hash: str
    """Empty where it is no payment's."""
    bytes: int
    """Of the body."""


class Difference(Struct, frozen=True):
    """The first position where the two have different records."""

    position: int
    """When `records` is empty: all that is known is that they differ before it, in what one of them has deleted."""
    records: list[Shown] = []
    """Of the first and of the second copy."""
    fields: list[str] = []
    """What is not the same of `FIELDS`."""


class Behind(Struct, frozen=True):
    """How far one of them is behind."""

    copy: int
    """Which: 0 the first, 1 the second."""
    records: int
    seconds: float | None
    """Between the last records of the two; None where one has none. A wall clock may have stepped meanwhile."""


class Comparison(Struct, frozen=True):
    """What came of it."""

    outcome: str
    copies: list[Copy]
    """The first and the second, as they were named."""
    common: list[int]
    """First and last position that both have and that are the same; empty for none."""
    behind: Behind | None = None
    difference: Difference | None = None


class Side:
    """A copy that is read: each record once, in order, whatever its gateway writes or deletes meanwhile."""

    def __init__(self, directory: Directory, watch: Watch) -> None:
        manifest = manifest_of(directory)
        self.directory = directory
        self.journal = manifest.journal
        self.first = 0
        """Position of its first record, 0 for none."""
        self.next = 1 if manifest.oldest == 1 else 0
        """Position of the next record; 0 while that is not known."""
        self.chain = self.journal
        """The chain value before it."""
        self.last_ns: int | None = None
        self.rest: list[Record] = []
        """Records that are read and not compared."""
        self.damage: Corrupt | None = None
        self.torn_bytes = 0
        self._watch = watch
        self._read = 0
        self._batches = self._all()

    def fill(self) -> bool:
        """Have a record in `rest`. False at the end."""
        while not self.rest:
            batch = next(self._batches, None)
            if batch is None:
                return False
            self.rest = batch
        return True

    def take(self, count: int) -> None:
        """So many of `rest` are done with."""
        taken = self.rest[count - 1]
        self.next, self.chain, self.last_ns = taken.position + 1, taken.chain, taken.time_ns
        self.rest = self.rest[count:]

    def skip_to(self, position: int) -> None:
        """Pass over what is before a position, as far as there is any."""
        while self.next < position and self.fill():
            self.take(min(len(self.rest), position - self.next))

    def drain(self) -> None:
        """Read on to the end."""
        while self.fill():
            self.take(len(self.rest))

    def _all(self) -> Iterator[list[Record]]:
        """Batches. Raises `Refusal` when a gateway deletes faster than we read, or is newer."""
        seen: tuple[str, int] | None = None
        for _ in range(LOOKS_MAX):
            walk = Walk(self.directory, manifest_of(self.directory))
            try:
                yield from self._unread(walk)
            except FileNotFoundError:
                seen = None  # retention deleted it just now
            except Corrupt as corrupt:
                if seen == (corrupt.segment, corrupt.offset):
                    self.damage = corrupt
                    return
                seen = corrupt.segment, corrupt.offset  # of a batch that is being written, perhaps: look again
            else:
                self.torn_bytes = walk.torn.end - walk.torn.offset if walk.torn is not None else 0
                self._watch.end()
                return
        raise self._too_fast()

    def _unread(self, walk: Walk) -> Iterator[list[Record]]:
        for batch in walk:
            self._watch.batch(walk, batch)
            if not self.first and batch:
                self.first = self.next = batch[0].position
                self.chain = walk.chain
            elif batch and batch[0].position > self._read + 1:
                raise self._too_fast()
            new = [record for record in batch if record.position > self._read]
            if new:
                self._read = new[-1].position
                yield new

    def _too_fast(self) -> Refusal:
        return Refusal(f"{self.directory.path} changes faster than it can be read")

    def copy(self) -> Copy:
        """What there is to say of it, once it is read."""
        damage = self.damage
        return Copy(
            self.directory.path,
            self.journal.hex(),
            self.first,
            self.next - 1 if self.first else 0,
            when(self.last_ns) if self.last_ns is not None else "",
            self.torn_bytes,
            DamagedPlace(damage.segment, damage.offset, damage.position, damage.what) if damage is not None else None,
        )


def compare(one: Side, other: Side) -> Comparison:
    """Read both to their ends. Raises `Refusal`, `OSError`."""
    if one.journal != other.journal:
        return Comparison(Outcome.DIFFERENT.name, [one.copy(), other.copy()], [])
    for side in (one, other):
        side.fill()
    start = max(one.next, other.next)
    one.skip_to(start)
    other.skip_to(start)
    met = one.next == other.next
    difference = None
    if met and one.chain != other.chain:
        difference = Difference(start)
    elif met:
        difference = _side_by_side(one, other)
    last = min(one.next, other.next) - 1
    one.drain()
    other.drain()
    behind = None
    if met and difference is None:
        last = min(one.next, other.next) - 1
        behind = _behind(one, other)
    common = [start, last] if met and last >= start else []
    outcome = _outcome(one, other, met=met, difference=difference, behind=behind)
    return Comparison(outcome.name, [one.copy(), other.copy()], common, behind, difference)


def _side_by_side(one: Side, other: Side) -> Difference | None:
    """Read both for as long as they are the same. Where the chain values are, so is all before."""
    while one.fill() and other.fill():
        count = min(len(one.rest), len(other.rest))
        if one.rest[count - 1].chain == other.rest[count - 1].chain:
            one.take(count)
            other.take(count)
            continue
        pairs = list(zip(one.rest, other.rest, strict=False))
        same = next(index for index, (left, right) in enumerate(pairs) if left.chain != right.chain)
        if same:
            one.take(same)
            other.take(same)
        left, right = pairs[same]
        fields = [name for name in FIELDS if getattr(left, name) != getattr(right, name)]
        return Difference(left.position, [_shown(left), _shown(right)], fields)
    return None


def _shown(record: Record) -> Shown:
    payment = log.fpid_hash(record.fpid) if record.fpid else ""
    return Shown(record.kind.name, when(record.time_ns), record.link, payment, len(record.body))


def _behind(one: Side, other: Side) -> Behind | None:
    if one.next == other.next:
        return None
    copy, late, early = (0, one, other) if one.next < other.next else (1, other, one)
    seconds = None
    if late.last_ns is not None and early.last_ns is not None:
        seconds = (early.last_ns - late.last_ns) / SECOND_NS
    return Behind(copy, early.next - late.next, seconds)


def _outcome(one: Side, other: Side, *, met: bool, difference: Difference | None, behind: Behind | None) -> Outcome:
    if difference is not None:
        return Outcome.DIFFERENT
    if one.damage is not None or other.damage is not None:
        return Outcome.DAMAGED
    if not met:
        return Outcome.NOT_KNOWN
    return Outcome.SAME if behind is None else Outcome.BEHIND


# --- for a person


def run(one: Directory, other: Directory, args: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    # one line of progress is enough: that of the copy which has more to read
    longest = max((one, other), key=lambda each: len(each.names()))
    try:
        found = compare(*(Side(each, progress(each) if each is longest else Watch()) for each in (one, other)))
    except Newer:
        raise
    except (Corrupt, Refusal) as error:
        sys.stderr.write(f"fps-gateway journal: {harmless.line(error)}\n")
        return Outcome.DAMAGED if isinstance(error, Corrupt) else Outcome.NOT_KNOWN
    if args.json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines(found))
    return Outcome[found.outcome]


def lines(found: Comparison) -> Iterator[str]:
    """The result in words."""
    for copy in found.copies:
        yield from _copy_lines(copy)
    one, other = (copy.path for copy in found.copies)
    first, last = found.common or (0, 0)
    outcome = Outcome[found.outcome]
    if found.common and outcome is not Outcome.SAME:
        yield f"the same: positions {first} to {last}"
    if found.difference is not None:
        yield from _difference_lines(found, found.difference)
    elif outcome is Outcome.DIFFERENT:
        yield "these are two journals: their names differ"
    elif not found.common and not found.behind and outcome is not Outcome.SAME:
        yield "not known: no position is in both, nor does one go on where the other ends"
    elif outcome is Outcome.SAME:
        yield f"the same: positions {first} to {last}" if found.common else "the same: both are empty"
    if found.behind is not None:
        behind, ahead = (one, other) if found.behind.copy == 0 else (other, one)
        time = "" if found.behind.seconds is None else f", {found.behind.seconds:.3f} s"
        yield f"{behind} is behind: {ahead} goes on with {counted(found.behind.records, 'record')}{time}"


def _copy_lines(copy: Copy) -> Iterator[str]:
    has = f"positions {copy.first_position} to {copy.last_position}, newest {copy.newest}"
    yield f"{copy.path}: journal {copy.journal}, {has if copy.first_position else 'no records read'}"
    if copy.torn_bytes:
        yield f"{copy.path}: {copy.torn_bytes} bytes at the end are no whole batch: being written just now, or torn"
    if copy.damage is not None:
        at = copy.damage
        where = f"segment {at.segment}, offset {at.offset}, position {at.position}"
        yield f"{copy.path} is damaged, and read as far as that: {where}: {at.what}"


def _difference_lines(found: Comparison, difference: Difference) -> Iterator[str]:
    if not difference.records:
        yield f"they differ before position {difference.position}, in what one of them has deleted"
        return
    fields = ", ".join(difference.fields) or "reserved bytes"
    yield f"they differ from position {difference.position} on, there in {fields}:"
    for copy, record in zip(found.copies, difference.records, strict=True):
        payment = record.fpid_hash or "-"
        follow = copy.last_position - difference.position
        yield (
            f"  {copy.path}: {record.kind} {record.time} link {record.link} payment {payment} {record.bytes} bytes,"
            f" and {counted(follow, 'more record')}"
        )
