"""Decisions, remembered for repeats and reversals: an index over the journal, rebuilt by reading it.

An outcome is twelve bytes per FPID (state, code, field, who decided, content digest), kept by the day of its decision.
A reply is not kept: a 9210 copies its fields from the request (docs/protocol.md section 3), and a repeat carries the
same content, so the same reply is made from the repeat.
"""

from functools import lru_cache
from typing import NamedTuple

from gateway.config import days_spanned
from gateway.memory.days import Days
from gateway.memory.table import Table
from gateway.payments import steps
from gateway.payments.inbound_law import DECIDES, RESTS, State
from gateway.payments.standin import DailyTotal
from gateway.payments.steps import Kind

_HEAD_BYTES = 4
_CONTENT_BYTES = 8
_CODE_MAX, _FIELD_MAX = 9999, 999
_HEADS_CACHED = 1024
"""Heads that are kept unpacked. There are about as many as there are codes in use."""
# a start reads the records of weeks, and in CPython 3.11 to find a member of an enumeration takes longer than all else
_RECEIVED, _STOOD_IN, _REPLIED = Kind.RECEIVED, Kind.STOOD_IN, Kind.REPLIED
_DONE = RESTS[_REPLIED]
NO_CONTENT = b"\0" * 8
"""The content digest of a request that was never seen, or cannot be read any more."""


class Outcome(NamedTuple):
    """The outcome of a payment that is no longer in flight."""

    state: State
    code: str
    """DE26 that was decided; empty when nothing was (reversed unseen, orphaned)."""
    field: str
    """DE44 that went with it, or empty."""
    stood_in: bool
    content: bytes
    """Digest of the request's content, eight bytes; zeros when the request was never seen."""

    @property
    def seen(self) -> bool:
        """Whether the request itself was ever here (a reversal may come alone)."""
        return self.content != NO_CONTENT


def unseen(state: State) -> Outcome:
    """The outcome of a payment of which only a reversal came."""
    return Outcome(state, "", "", stood_in=False, content=NO_CONTENT)


def _number(digits: str, most: int) -> int:
    """One more than they say; 0 when there are none."""
    number = int(digits) if digits else -1
    if digits and not 0 <= number <= most:
        raise ValueError("not a code of four digits, or not the number of a field")
    return number + 1


@lru_cache(_HEADS_CACHED)
def _pack(state: State, code: str, field: str, stood_in: bool) -> bytes:  # noqa: FBT001 - a cache knows them by place
    head = ((state << 1 | stood_in) << 14 | _number(code, _CODE_MAX)) << 10 | _number(field, _FIELD_MAX)
    return head.to_bytes(_HEAD_BYTES)


@lru_cache(_HEADS_CACHED)
def _unpack(head: bytes) -> tuple[State, str, str, bool]:
    packed = int.from_bytes(head)
    field, code = packed & 0x3FF, packed >> 10 & 0x3FFF
    return (
        State(packed >> 25),
        f"{code - 1:04}" if code else "",
        f"{field - 1:03}" if field else "",
        bool(packed >> 24 & 1),
    )


class Outcomes:
    """FPID → outcome, for a number of business days at least. Some 35 bytes for each."""

    def __init__(self, business_days: int) -> None:
        self._table = Table(_HEAD_BYTES + _CONTENT_BYTES)
        self._days = Days(days_spanned(business_days), self._table.drop)
        self.stood_in = DailyTotal()
        """The amounts that stand-in accepted."""

    def __len__(self) -> int:
        return len(self._table)

    def get(self, fpid: str) -> Outcome | None:
        """What is known of this FPID."""
        found = self._table.get(fpid)
        if found is None:
            return None
        packed, _ = found
        return Outcome(*_unpack(packed[:_HEAD_BYTES]), packed[_HEAD_BYTES:])

    def put(self, fpid: str, outcome: Outcome, wall_ns: int) -> None:
        """Remember; what was remembered before under this FPID is replaced.

        Raises `ValueError` for what is no outcome: a code that is not of digits, a digest of another length.
        """
        state, code, field, stood_in, content = outcome
        self._table.put(fpid, _pack(state, code, field, stood_in) + content, self._days.mark(wall_ns))


class Unfinished(NamedTuple):
    """A payment that the journal's end left between two steps."""

    request: bytes
    outcome: Outcome | None
    """What had been decided; None: nothing."""

    def __repr__(self) -> str:
        """Nothing of the request."""
        return "<Unfinished, decided>" if self.outcome else "<Unfinished>"


class Replay:
    """Reads the journal's records in order and rebuilds what memory held: outcomes, and what was left unfinished."""

    def __init__(self, outcomes: Outcomes) -> None:
        self.outcomes = outcomes
        self.unfinished: dict[str, Unfinished] = {}
        """By FPID, in the order of their requests."""
        self.stand_in_mode: steps.StandInMode | None = None
        """The latest order of how stand-in works; None: there is none."""
        self.clean = True
        """Whether the last process that wrote here had closed the journal."""

    def record(self, kind: Kind, time_ns: int, fpid: str, body: bytes) -> None:
        """Take in one record."""
        if kind == _RECEIVED:
            self.unfinished[fpid] = Unfinished(body, None)
        elif kind in DECIDES:
            self._decided(kind, time_ns, fpid, body)
        elif kind == _REPLIED:
            if self.unfinished.pop(fpid, None) is None:
                self._move(fpid, _DONE, time_ns)
        elif kind == Kind.UNDELIVERED:
            self.unfinished.pop(fpid, None)
            self._move(fpid, RESTS[kind], time_ns)
        elif kind == Kind.REVERSED:
            self._reversed(time_ns, fpid, body)
        elif kind in (Kind.ORPHANED, Kind.UNANSWERED):
            self.unfinished.pop(fpid, None)
            orphan = steps.unpack(kind, body)
            assert isinstance(orphan, steps.Orphan)
            self.outcomes.put(fpid, Outcome(RESTS[kind], "", "", False, orphan.content), time_ns)
        elif kind == Kind.STAND_IN_MODE:
            mode = steps.unpack(kind, body)
            assert isinstance(mode, steps.StandInMode)
            self.stand_in_mode = mode
        elif kind in (Kind.STARTED, Kind.STOPPED):
            self.clean = kind == Kind.STOPPED

    def _decided(self, kind: Kind, time_ns: int, fpid: str, body: bytes) -> None:
        decision = steps.unpack(kind, body)
        assert isinstance(decision, steps.Decision)
        stood_in = kind == _STOOD_IN
        if stood_in:
            self.outcomes.stood_in.add(decision.pence, time_ns)
        # REPLIED nearly always follows: taken for granted here, and put right where UNDELIVERED or nothing follows
        outcome = Outcome(_DONE, decision.code, decision.field, stood_in, decision.content)
        self.outcomes.put(fpid, outcome, time_ns)
        received = self.unfinished.get(fpid)
        if received is not None:
            self.unfinished[fpid] = Unfinished(received.request, outcome)

    def _move(self, fpid: str, state: State, time_ns: int) -> None:
        outcome = self.outcomes.get(fpid)
        if outcome is not None and outcome.state != RESTS[Kind.REVERSED]:
            self.outcomes.put(fpid, outcome._replace(state=state), time_ns)

    def _reversed(self, time_ns: int, fpid: str, body: bytes) -> None:
        self.unfinished.pop(fpid, None)
        reversal = steps.unpack(Kind.REVERSED, body)
        assert isinstance(reversal, steps.Reversal)
        state = RESTS[Kind.REVERSED]
        found = self.outcomes.get(fpid) or unseen(state)._replace(content=reversal.content)
        self.outcomes.put(fpid, found._replace(state=state), time_ns)
