"""THE STORY of the scheme's news (9824), whichever way it comes; no I/O.

    by a link of ours        → record USM → (durable) → apply, PERMITS if that changed anything, acknowledge (9834)
    handed on by a process   → record USM → (durable) → apply, PERMITS if that changed anything, tell the process: taken

The same news twice (two links, two processes, a repeat by the hub) is recorded as news once: what comes again by a link
is kept as a management message and acknowledged again, since the hub did not hear us; what is handed on again is taken
again. Both are applied again, which changes nothing, or at most whose stamp stands beside it: `permits` says why the
order of arrival does not matter. What comes by a link is handed on to our other processes and told to the processor
(processor/forwarder.py follows the journal); what was handed on is neither: whoever handed it on does both.

The whole `Permits` are recorded at each change, at the start and once a day (`steps.LASTING_KINDS` says why). A restart
merges these records with the news around them: news that stands before a record may have become durable after it.

A `Usm` with a fault never comes here by a link: the engine has rejected it (9624/650). Handed on, it is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from gateway import config, steps
from gateway.clock import Now
from gateway.errors import HubFault
from gateway.permits import Permits, Rules, apply, held, may_stand_in, merge, reasons, refusal
from gateway.steps import Kind
from gateway.wire.codec import Codec
from gateway.wire.meanings import Meanings
from gateway.wire.message import PaymentRequest, Usm
from gateway.wire.usm import (
    FUNCTIONS,
    Event,
    InstitutionStatus,
    PerformanceAlert,
    SchemeReturnFailure,
    event_of,
    sent_at,
)

DAILY_S = 86_400.0
"""How often the permits are recorded anew."""
REMEMBERED_MAX = 4096
"""News that is known when it comes again; the latest. Beyond it, it is recorded and told once more."""
SOURCE_MAX = 200
"""Characters of a source id: a node's name and a position are under sixty."""

_decode_permits = msgspec.msgpack.Decoder(Permits).decode

Outcome = Literal["applied", "unchanged", "again"]
"""What came of news: it changed the permits; it changed nothing (old, of no consequence, unknown); it was known."""
Taken = Callable[[str], None]
"""Called once, when what was handed on is durable and applied (empty), or is refused for good (why)."""


class Link(Protocol):
    """What the story knows of a link."""

    id: int


class HandedOn(Struct, frozen=True, forbid_unknown_fields=True):
    """How a process hands news on to another: the JSON of `POST /news` (the message in base64)."""

    source: str
    """The id of the notice at the process that hands it on: `node/position`."""
    message: bytes
    """The raw 9824."""


class Heard(NamedTuple):
    """News that waits for its record. `on_recorded` wants it back."""

    event: Event
    usm: Usm
    link: Link | None
    """None: a process of ours handed it on."""
    taken: list[Taken]
    source: str
    """Empty: a link of ours brought it; else the id under which a process of ours handed it on."""
    again: bool
    """Known already: only to be acknowledged."""


class Report(NamedTuple):
    """What people are told of news: a line and a count, without amounts, names or texts."""

    function_code: str
    what: str
    """In words: `service status`."""
    state: str
    """`suspended`, `available`, …; empty when the news says none that is known."""
    institution: str
    """Whom it is about; empty: us, or everyone."""
    outcome: Outcome
    source: str
    """Empty: a link of ours; else the id under which a process of ours handed it on."""
    unknown: str
    """Fields whose value is not in the table, separated by spaces."""
    urgent: bool
    """Something is suspended or reached, or it is a failure: somebody should look now."""


class Commands(Protocol):
    """What the story asks of the shells. Each call only notes something for the end of this wake-up."""

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        """Append a record; returns its position."""

    def when_news_recorded(self, position: int, heard: Heard) -> None:
        """Call `News.on_recorded` when everything up to `position` is durable."""

    def acknowledge(self, link: Link, usm: Usm) -> None:
        """Hand it to the link's session (`link.manage`), which sends the 9834. The link may be gone."""

    def report(self, report: Report) -> None:
        """Log it, count it by function code and outcome."""


class Replay:
    """Reads the journal's records in order and rebuilds what memory held: what stands, and what was heard."""

    def __init__(self, meanings: Meanings, codec: Codec) -> None:
        self.permits = Permits()
        self.known = Known()
        self._meanings = meanings
        self._codec = codec

    def record(self, kind: Kind, time_ns: int, body: bytes) -> None:
        """Take in one record. Raises `msgspec.DecodeError` when a PERMITS or USM record is none."""
        if kind == Kind.PERMITS:
            self.permits = merge(self.permits, _decode_permits(body))
        elif kind == Kind.USM:
            said = steps.unpack(kind, body)
            assert isinstance(said, steps.News)
            try:
                message = self._codec.decode(said.message)
            except HubFault:
                return  # another field table is configured since; what it changed is in a PERMITS record
            if isinstance(message, Usm):
                event = event_of(message, self._meanings, time_ns)
                self.permits = apply(self.permits, event)
                self.known.remember(event)


@dataclass(slots=True)
class Known:
    """Which news was heard, to know it when it comes again."""

    contents: dict[bytes, None] = field(default_factory=dict)
    """The oldest first."""
    latest: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """What was heard last, by function and institution."""

    def remember(self, event: Event) -> None:
        """It was heard."""
        self.contents[event.content] = None
        if len(self.contents) > REMEMBERED_MAX:
            del self.contents[next(iter(self.contents))]
        self.latest[event.function, event.institution] = event.content
        if len(self.latest) > REMEMBERED_MAX:
            del self.latest[next(iter(self.latest))]

    def has(self, event: Event, permits: Permits) -> bool:
        """Whether it is news no more, with `permits` as they were left by what was heard.

        Not when it says again what other news has undone meanwhile: then it is newer than that, and changes something.
        """
        if event.content not in self.contents:
            return False
        latest = self.latest.get((event.function, event.institution))
        return latest == event.content or apply(permits, event) is permits


class News:
    """What was heard, and what stands because of it."""

    def __init__(
        self,
        settings: config.News,
        meanings: Meanings,
        codec: Codec,
        commands: Commands,
        replay: Replay,
        recorder: Link,
    ) -> None:
        """`replay` has read the journal: what it holds is ours from here on. `recorder`: the link of our records."""
        self._rules = Rules(settings, meanings)
        self._meanings = meanings
        self._codec = codec
        self._do = commands
        self.permits = replay.permits
        self._heard = replay.permits
        """The same, with what waits for its record."""
        self._known = replay.known
        self._waiting: dict[bytes, list[Taken]] = {}
        """News whose record is not durable yet: who handed it on meanwhile."""
        self._recorder = recorder
        self._record_s = inf
        """When to record the permits anew; inf: it has not begun."""
        self.counts: dict[tuple[str, str], int] = {}
        """By function code (`other` for those that are not in the list) and outcome."""
        self._latest: dict[str, dict[str, str]] = {}

    # --- starting

    def begin(self, now: Now) -> None:
        """Before anything comes: record what stands."""
        self._record(now)

    # --- what comes

    def on_usm(self, usm: Usm, link: Link, now: Now) -> None:
        """A 9824 came by a link of ours, authentic and without a fault."""
        event = event_of(usm, self._meanings, now.wall_ns)
        again = self._known.has(event, self._heard)
        kind, body = (Kind.MANAGEMENT_IN, usm.body) if again else (Kind.USM, steps.pack(steps.News(usm.body)))
        self._hear(Heard(event, usm, link, [], "", again), kind, body, link)

    def on_handed_on(self, raw: bytes, source: str, taken: Taken, now: Now) -> None:
        """A process of ours hands on what it heard; `source` is its id for it. Ends in one call of `taken`."""
        why = self._refused(raw, source)
        if why:
            taken(why)
            return
        usm = self._codec.decode(raw)
        assert isinstance(usm, Usm)
        event = event_of(usm, self._meanings, now.wall_ns)
        waiting = self._waiting.get(event.content)
        if waiting is not None:
            waiting.append(taken)
        elif self._known.has(event, self._heard):
            self._settle(Heard(event, usm, None, [taken], source, again=True), now)
        else:
            heard = Heard(event, usm, None, [taken], source, again=False)
            self._hear(heard, Kind.USM, steps.pack(steps.News(raw, source)), self._recorder)

    def _refused(self, raw: bytes, source: str) -> str:
        """Why what was handed on is no news; empty when it is."""
        if not source or len(source) > SOURCE_MAX or not (source.isascii() and source.isprintable()):
            return "the source is no id"
        try:
            message = self._codec.decode(raw)
        except HubFault:
            return "the message cannot be read"
        if not isinstance(message, Usm):
            return "the message is no 9824"
        return f"DE{message.fault} of the message is in error" if message.fault else ""

    def _hear(self, heard: Heard, kind: Kind, body: bytes, link: Link) -> None:
        position = self._do.record(kind, body, "", link)
        if not heard.again:
            self._known.remember(heard.event)
            self._heard = apply(self._heard, heard.event)
            self._waiting[heard.event.content] = heard.taken
        self._do.when_news_recorded(position, heard)

    def on_recorded(self, heard: Heard, now: Now) -> None:
        """Its record is durable: now it counts, and whoever brought it may know."""
        if not heard.again:
            self._waiting.pop(heard.event.content, None)
        self._settle(heard, now)

    def _settle(self, heard: Heard, now: Now) -> None:
        event = heard.event
        permits = apply(self.permits, event)
        changed = permits is not self.permits
        self.permits = permits
        if changed:
            self._record(now)
        if heard.link is not None:
            self._do.acknowledge(heard.link, heard.usm)
        for taken in heard.taken:
            taken("")
        self._say(heard, "again" if heard.again else "applied" if changed else "unchanged")

    def _say(self, heard: Heard, outcome: Outcome) -> None:
        event = heard.event
        function = event.function if event.function in FUNCTIONS else "other"
        self.counts[function, outcome] = self.counts.get((function, outcome), 0) + 1
        if outcome != "again":
            self._latest[function] = {
                "what": event.what, "sent": sent_at(event), "state": event.state, "institution": event.institution,
            }  # fmt: skip
        about_us = not isinstance(event, InstitutionStatus) or self._rules.is_own(event.institution)
        failed = isinstance(event, SchemeReturnFailure | PerformanceAlert) or bool(event.unknown) or function == "other"
        urgent = failed or (about_us and event.state in {"suspended", "reached"})
        self._do.report(
            Report(
                event.function, event.what, event.state, event.institution, outcome, heard.source,
                " ".join(event.unknown), urgent and outcome != "again",
            )
        )  # fmt: skip

    # --- time

    def next_timer(self) -> float:
        """When to call `handle_timer`, on the clock of `Now.mono_s`."""
        return self._record_s

    def handle_timer(self, now: Now) -> None:
        """Record the permits anew once a day. Early calls do nothing."""
        if now.mono_s >= self._record_s:
            self._record(now)

    def _record(self, now: Now) -> None:
        self._record_s = now.mono_s + DAILY_S
        self._do.record(Kind.PERMITS, steps.pack(self.permits), "", self._recorder)

    # --- what follows

    def refusal(self, request: PaymentRequest) -> str:
        """With which code the scheme would refuse this payment of ours; empty: as far as we know it would not."""
        return refusal(self.permits, request, self._rules)

    def reasons(self, request: PaymentRequest) -> str:
        """Why, in words fit for a log."""
        return ", ".join(reasons(self.permits, request, self._rules))

    def may_stand_in(self, request: PaymentRequest) -> bool:
        """Whether nothing is suspended that a bank may withhold stand-in for: the service, the sender, we."""
        return may_stand_in(self.permits, request, self._rules)

    # --- what people look at

    def held(self) -> dict[str, int]:
        """What is held against payments: each of `permits.HELD`, 0 when it is not."""
        return held(self.permits, self._rules)

    def statistics(self) -> dict[str, Any]:
        """What stands, and what was heard since the start. No amount is in it."""
        institutions = self.permits.institutions
        return {
            "service": self.permits.service.word or "not said",
            "settlement": self.permits.settlement.word or "not said",
            "held": self.held(),
            "institutions": len(institutions),
            "suspended": sorted(name for name, one in institutions.items() if one.standing.word == "suspended"),
            "waiting": len(self._waiting),
            "counts": {f"{function} {outcome}": count for (function, outcome), count in sorted(self.counts.items())},
            "latest": dict(sorted(self._latest.items())),
        }
