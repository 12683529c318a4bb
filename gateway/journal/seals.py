"""The seals of a journal: found while it is read, compared with its chain, and counted. Knows no token and no key.

A seal is the HSM's MAC over the chain value of a record: sixteen bytes that stand for the journal's name and for every
record up to that one, each with its position, those included that are deleted by now. So a MAC that a token makes again
over the chain value that was computed here, from the records, says that they are what they were when it was made.

Seals do not show that a journal was cut off behind one of them, nor whether the records since the last seal are
genuine. The other server's copy does (`compare`). A longer stretch without a seal than a gateway leaves by itself
(`node.journal.seal_every_s`, or the time in which no token served) is a reason to ask.
"""

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec
from msgspec import Struct

from gateway.disk import Directory
from gateway.journal.looking import Watch, reader
from gateway.journal.record import CHAIN_BYTES, Record
from gateway.journal.segment import Walk
from gateway.payments.steps import Kind, Seal, unpack

WINDOW_RECORDS = 1 << 18
"""Records whose chain values are held in memory (16 bytes each): more than come at full load while a token makes a
seal. A seal of an older record takes another reading."""
MAC_BYTES = 8
"""Length of a seal's MAC. One of another length, or none, must not reach a token, which might make one instead."""
NO_SEAL = "it is of kind SEALED, and its body is none of that kind"


class SealVerdict(Enum):
    """The judgement on a seal."""

    HOLDS = "holds"
    WRONG = "wrong"
    UNKNOWN = "not known"


class Opinion(NamedTuple):
    """The tokens' judgement on a seal, with the reason unless it holds."""

    verdict: SealVerdict
    why: str = ""


class FoundSeal(Struct, frozen=True, gc=False):
    """A seal, and what it seals."""

    at: int
    """Position of the seal."""
    time_ns: int
    """When it was written."""
    position: int
    """Of the record whose chain value it seals."""
    chain: bytes
    key: str
    """The label of the key."""
    mac: bytes


Ask = Callable[[Sequence[FoundSeal]], list[Opinion]]
"""Asks the tokens: an opinion for each seal, in their order."""


class SealFault(NamedTuple):
    """A seal that is wrong, and its position."""

    at: int
    what: str


class Seals(Watch):
    """Collects the seals of a journal that is read by `looking.look`; call `finish` behind it."""

    def __init__(self, other: Watch) -> None:
        self._other = other
        self._begin()

    def _begin(self) -> None:
        self.found: list[FoundSeal] = []
        """Those that seal the chain value that the journal has at that position, in their order."""
        self.faults: list[SealFault] = []
        """Those that seal another one, or are no seals."""
        self.gone: list[FoundSeal] = []
        """Those of a record that is deleted by now: here is nothing to compare them with."""
        self.first = 0
        """Position of the first record, 0 for none."""
        self.last = 0
        """Position and time of the last record."""
        self.last_ns = 0
        self._far: list[FoundSeal] = []
        self._chains = deque[tuple[int, bytes]]()
        """Position of the first → chain values, batch by batch."""
        self._held = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.found) + len(self.faults) + len(self.gone)

    def batch(self, walk: Walk, records: list[Record]) -> None:
        """Look at each record; keep its chain value for a while."""
        self._other.batch(walk, records)
        if not records:
            return
        self.first = self.first or records[0].position
        self._chains.append((records[0].position, b"".join([record.chain for record in records])))
        self._held += len(records)
        self.last, self.last_ns = records[-1].position, records[-1].time_ns
        for record in records:
            if record.kind is Kind.SEALED:
                self._note(record)
        while self._held > WINDOW_RECORDS + len(self._chains[0][1]) // CHAIN_BYTES:
            self._held -= len(self._chains.popleft()[1]) // CHAIN_BYTES

    def again(self) -> None:
        """Forget everything."""
        self._other.again()
        self._begin()

    def end(self) -> None:
        """Let the other one know."""
        self._other.end()

    def finish(self, directory: Directory) -> None:
        """Read once more what was not at hand."""
        for seal in self._far:
            reading = reader(directory, seal.position)
            chains = (record.chain for record in reading.records() if record.position == seal.position)
            self._compare(seal, next(chains, None))
            reading.close()
        self._far.clear()
        self.found.sort(key=lambda seal: seal.at)

    def _note(self, record: Record) -> None:
        try:
            seal = unpack(record.kind, record.body)
        except msgspec.DecodeError:
            self.faults.append(SealFault(record.position, NO_SEAL))
            return
        assert isinstance(seal, Seal)
        found = FoundSeal(record.position, record.time_ns, seal.position, seal.chain, seal.key, seal.mac)
        if len(seal.mac) != MAC_BYTES:
            self.faults.append(SealFault(found.at, f"its MAC has {len(seal.mac)} bytes, not {MAC_BYTES}"))
        elif not 0 < seal.position < record.position:
            self.faults.append(SealFault(found.at, f"it seals position {seal.position}, which is not before it"))
        elif seal.position < self.first:
            self.gone.append(found)
        elif seal.position < self._chains[0][0]:
            self._far.append(found)
        else:
            first, chains = next(held for held in reversed(self._chains) if held[0] <= seal.position)
            at = (seal.position - first) * CHAIN_BYTES
            self._compare(found, chains[at : at + CHAIN_BYTES])

    def _compare(self, seal: FoundSeal, chain: bytes | None) -> None:
        if chain is None:
            self.gone.append(seal)  # by retention, while we read
        elif seal.chain == chain:
            self.found.append(seal)
        else:
            what = f"it seals another chain value for position {seal.position} than the record there has"
            self.faults.append(SealFault(seal.at, what))
