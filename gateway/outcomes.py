"""What was decided, remembered for repeats and reversals: an index over the journal, rebuilt by reading it.

An outcome is one packed integer per FPID (state, code, field, who decided, content digest), kept by the day of its
decision, so that forgetting a day is dropping a dictionary. A reply is not kept: a 9210 copies its fields from the
request (fps-protocol section 3), and a repeat carries the same content, so the same reply is made from the repeat.
"""

from typing import NamedTuple

from gateway import steps
from gateway.config import days_spanned
from gateway.days import Days
from gateway.lifecycle import State
from gateway.standin import DailyTotal
from gateway.steps import Kind

NO_CONTENT = b"\0" * 8
"""The content digest of a request that was never seen, or cannot be read any more."""


class Outcome(NamedTuple):
    """What is known of a payment that is no longer in flight."""

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


def _pack(outcome: Outcome) -> int:
    code = int(outcome.code) + 1 if outcome.code else 0
    head = (((outcome.state << 1 | outcome.stood_in) << 14 | code) << 10) | (int(outcome.field) if outcome.field else 0)
    return head << 64 | int.from_bytes(outcome.content, "big")


def _unpack(packed: int) -> Outcome:
    head = packed >> 64
    field, code = head & 0x3FF, head >> 10 & 0x3FFF
    return Outcome(
        State(head >> 25),
        f"{code - 1:04}" if code else "",
        f"{field:03}" if field else "",
        bool(head >> 24 & 1),
        (packed & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big"),
    )


class Outcomes:
    """FPID → outcome, for at least so many business days."""

    def __init__(self, business_days: int) -> None:
        self._packed: Days[int] = Days(days_spanned(business_days))
        self.stood_in = DailyTotal()
        """What stand-in accepted."""

    def __len__(self) -> int:
        return len(self._packed)

    def get(self, fpid: str) -> Outcome | None:
        """What is known of this FPID."""
        packed = self._packed.get(fpid)
        return None if packed is None else _unpack(packed)

    def put(self, fpid: str, outcome: Outcome, wall_ns: int) -> None:
        """Remember; what was remembered before under this FPID is replaced."""
        self._packed.put(fpid, _pack(outcome), wall_ns)


class Unfinished(NamedTuple):
    """A payment that the journal's end left between two steps."""

    request: bytes
    outcome: Outcome | None
    """What had been decided; None: nothing."""


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
        if kind == Kind.RECEIVED:
            self.unfinished[fpid] = Unfinished(body, None)
        elif kind in (Kind.ANSWERED, Kind.STOOD_IN, Kind.DECLINED):
            self._decided(kind, time_ns, fpid, body)
        elif kind == Kind.REPLIED:
            if self.unfinished.pop(fpid, None) is None:
                self._move(fpid, State.REPLIED, time_ns)
        elif kind == Kind.UNDELIVERED:
            self.unfinished.pop(fpid, None)
            self._move(fpid, State.UNDELIVERED, time_ns)
        elif kind == Kind.REVERSED:
            self._reversed(time_ns, fpid, body)
        elif kind in (Kind.ORPHANED, Kind.UNANSWERED):
            self.unfinished.pop(fpid, None)
            orphan = steps.unpack(kind, body)
            assert isinstance(orphan, steps.Orphan)
            self.outcomes.put(fpid, Outcome(State.ORPHANED, "", "", False, orphan.content), time_ns)
        elif kind == Kind.STAND_IN_MODE:
            mode = steps.unpack(kind, body)
            assert isinstance(mode, steps.StandInMode)
            self.stand_in_mode = mode
        elif kind in (Kind.STARTED, Kind.STOPPED):
            self.clean = kind == Kind.STOPPED

    def _decided(self, kind: Kind, time_ns: int, fpid: str, body: bytes) -> None:
        decision = steps.unpack(kind, body)
        assert isinstance(decision, steps.Decision)
        stood_in = kind == Kind.STOOD_IN
        if stood_in:
            self.outcomes.stood_in.add(decision.pence, time_ns)
        # REPLIED nearly always follows: taken for granted here, and put right where UNDELIVERED or nothing follows
        outcome = Outcome(State.REPLIED, decision.code, decision.field, stood_in, decision.content)
        self.outcomes.put(fpid, outcome, time_ns)
        received = self.unfinished.get(fpid)
        if received is not None:
            self.unfinished[fpid] = Unfinished(received.request, outcome)

    def _move(self, fpid: str, state: State, time_ns: int) -> None:
        outcome = self.outcomes.get(fpid)
        if outcome is not None and outcome.state != State.REVERSED:
            self.outcomes.put(fpid, outcome._replace(state=state), time_ns)

    def _reversed(self, time_ns: int, fpid: str, body: bytes) -> None:
        self.unfinished.pop(fpid, None)
        reversal = steps.unpack(Kind.REVERSED, body)
        assert isinstance(reversal, steps.Reversal)
        found = self.outcomes.get(fpid) or unseen(State.REVERSED)._replace(content=reversal.content)
        self.outcomes.put(fpid, found._replace(state=State.REVERSED), time_ns)
