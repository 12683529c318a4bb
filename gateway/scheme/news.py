"""THE STORY of the scheme's news (9824), whichever way it comes; no I/O.

    by a link of ours        → record USM → (durable) → apply, PERMITS if that changed anything, acknowledge (9834)
    handed on by a process   → record USM → (durable) → apply, PERMITS if that changed anything, tell the process: taken

    an operator lifts what it set  → record LIFTED → (durable) → take it back, PERMITS, tell the operator

The same news twice (two links, two processes, a repeat by the hub) is recorded as news once: what comes again by a link
is kept as a management message and acknowledged again, since the hub did not hear us; what is handed on again is taken
again. Both are applied again, which changes nothing, or at most whose stamp stands beside it: `permits` says why the
order of arrival does not matter, and `hubclock` what a step of the hub's clock does to that. What comes by a link is
handed on to our other processes and told to the processor (processor/forwarder.py follows the journal); what was handed
on is neither: whoever handed it on does both.

The whole `Permits` are recorded at each change, at the start and once a day (`steps.LASTING_KINDS` says why). A restart
merges these records with the news around them: news that stands before a record may have become durable after it.

A `Usm` with a fault never comes here by a link: the engine has rejected it (9624/650). Handed on, it is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Annotated, Any, Literal, NamedTuple, Protocol, get_args

import msgspec
from msgspec import Meta, Struct

from gateway import config
from gateway.clock import Now
from gateway.errors import HubFault
from gateway.payments import steps
from gateway.payments.lasting import Lasting
from gateway.payments.links import RECORDER, Link
from gateway.payments.steps import Kind
from gateway.scheme.hubclock import HubClock, behind, may_have_stepped
from gateway.scheme.permits import (
    LIFT_MARK,
    SHOWN,
    THINGS,
    Permits,
    Rules,
    apply,
    held,
    known_of,
    lift,
    liftable,
    may_stand_in,
    merge,
    refusal,
    said_by,
)
from gateway.wire.codec import Codec
from gateway.wire.meanings import Meanings
from gateway.wire.message import NetworkRequest, PaymentRequest, Usm
from gateway.wire.usm import (
    FUNCTIONS,
    InstitutionStatus,
    NewsEvent,
    PerformanceAlert,
    SchemeReturnFailure,
    event_of,
    is_stamp,
    moment_s,
    sent_at,
    shown_s,
)

REMEMBERED_MAX = 4096
"""News that is known when it comes again; the latest. Beyond it, it is recorded and told once more."""
_NS = 1_000_000_000
UNITS = ((2 * 86_400, 86_400, "days"), (2 * 3600, 3600, "h"), (2 * 60, 60, "min"), (0, 1, "s"))
"""Of a difference in words: from so many seconds on, seconds in one, name."""
SOURCE_MAX = 200
"""Characters of a source id: a node's name and a position are under sixty."""

_decode_permits = msgspec.msgpack.Decoder(Permits).decode

Outcome = Literal["applied", "same", "older", "unchanged", "unknown", "stranger", "again"]
"""What came of news: it changed what stands; it says the same, later; it is older than what is known; it limits no
payment; its values are not in the table; nobody is known by that name, and nothing is held against them; it was heard
before."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
COUNTED = (*FUNCTIONS, "other")
"""What is counted, by function."""
Taken = Callable[[str], None]
"""Called once, when what was handed on is durable and applied (empty), or is refused for good (why)."""


class HandedOn(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a process hands news on to another: the JSON of `POST /news` (the message in base64)."""

    source: str
    """The id of the notice at the process that hands it on: `node/position`."""
    message: bytes
    """The raw 9824."""
    stamp: str = ""
    """As in `steps.News`."""


class Lift(Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's order to lift what news has set."""

    what: Literal["service", "settlement", "standing", "groups", "threshold", "cap", "sitl", "stl"]
    institution: Annotated[str, Meta(max_length=11)] = ""
    """As in the news; empty: us, or everyone."""


class Heard(NamedTuple):
    """News that waits for its record. `on_recorded` wants it back."""

    event: NewsEvent
    usm: Usm
    link: Link | None
    """None: a process of ours handed it on."""
    taken: list[Taken]
    source: str
    """Empty: a link of ours brought it; else the id under which a process of ours handed it on."""
    again: bool
    """Known already: only to be acknowledged."""
    stepped: bool = False
    """Its stamp is not its own: the hub's clock has stepped back."""


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
    why: str
    """In words: why it was not applied, or why although it calls itself old."""
    source: str
    """Empty: a link of ours; else the id under which a process of ours handed it on."""
    urgent: bool
    """Something is suspended or reached, or it is a failure: somebody should look now."""


class Commands(Protocol):
    """What the story asks of the shells. Each call only notes something for the end of this wake-up."""

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        """Append a record; returns its position."""

    def when_news_recorded(self, position: int, heard: Heard) -> None:
        """Call `News.on_recorded` when everything up to `position` is durable."""

    def when_lift_recorded(self, position: int, lifted: steps.Lifted, done: Taken) -> None:
        """Call `News.on_lift_recorded` when everything up to `position` is durable."""

    def acknowledge(self, link: Link, usm: Usm) -> None:
        """Hand it to the link's session (`link.manage`), which sends the 9834. The link may be gone."""

    def report(self, report: Report) -> None:
        """Log it, count it by function code and outcome."""

    def report_lift(self, what: str, institution: str) -> None:
        """Log and count that an operator lifted something."""


class Replay:
    """Reads the journal's records in order and rebuilds what memory held: what stands, and what was heard."""

    def __init__(self, meanings: Meanings, codec: Codec) -> None:
        self.permits = Permits()
        self.known = Known()
        self.clock = HubClock()
        self._meanings = meanings
        self._codec = codec

    def record(self, kind: Kind, time_ns: int, body: bytes) -> None:
        """Take in one record. Raises `msgspec.DecodeError` when a PERMITS, USM or LIFTED record is none."""
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
                shown_s = moment_s(event.stamp)
                if shown_s and not said.source and event.stamp > _latest(self.permits, event):
                    self.clock = HubClock(shown_s - time_ns / _NS)
                event = _stamped(event, said.stamp)
                self.permits = apply(self.permits, event)
                self.known.remember(event, time_ns / _NS)
        elif kind == Kind.LIFTED:
            lifted = steps.unpack(kind, body)
            assert isinstance(lifted, steps.Lifted)
            self.permits = _lifted(self.permits, lifted)


@dataclass(slots=True)
class Known:
    """Which news was heard, to know it when it comes again."""

    contents: dict[bytes, None] = field(default_factory=dict)
    """The oldest first."""
    latest: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """What was heard last, by function and institution."""
    sent_s: dict[str, float] = field(default_factory=dict, compare=False)
    """By stamp when it was sent, by our clock, or else came; the oldest first."""

    def remember(self, event: NewsEvent, sent_s: float) -> None:
        """It was heard; it was sent at this time by our clock, or else came."""
        self.contents[event.content] = None
        self.sent_s.setdefault(event.stamp, sent_s)
        if len(self.sent_s) > REMEMBERED_MAX:
            del self.sent_s[next(iter(self.sent_s))]
        if len(self.contents) > REMEMBERED_MAX:
            del self.contents[next(iter(self.contents))]
        self.latest[event.function, event.institution] = event.content
        if len(self.latest) > REMEMBERED_MAX:
            del self.latest[next(iter(self.latest))]

    def has(self, event: NewsEvent, permits: Permits) -> bool:
        """Whether it is news no more, with `permits` as they were left by what was heard.

        Not when it says again what other news has undone meanwhile: then it is newer than that, and changes something.
        """
        if event.content not in self.contents:
            return False
        latest = self.latest.get((event.function, event.institution))
        return latest == event.content or apply(permits, event) is permits


def _latest(permits: Permits, event: NewsEvent) -> str:
    """The stamp of the latest word about what this news is about."""
    return max((known.stamp for known in known_of(permits, event).values()), default="")


def _stamped(event: NewsEvent, stamp: str) -> NewsEvent:
    return msgspec.structs.replace(event, stamp=stamp) if stamp else event


def _lifted(permits: Permits, lifted: steps.Lifted) -> Permits:
    return lift(permits, lifted.what, lifted.institution, lifted.stamp) if lifted.what in THINGS else permits


class News:
    """What was heard, and what stands because of it."""

    def __init__(
        self,
        settings: config.News,
        meanings: Meanings,
        codec: Codec,
        commands: Commands,
        replay: Replay,
    ) -> None:
        """`replay` has read the journal: what it holds is ours from here on."""
        self._rules = Rules(settings, meanings)
        self._meanings = meanings
        self._codec = codec
        self._do = commands
        self.permits = replay.permits
        self._heard = replay.permits
        """The same, with what waits for its record."""
        self._known = replay.known
        self._clock = replay.clock
        self._waiting: dict[bytes, list[Taken]] = {}
        """News whose record is not durable yet: who handed it on meanwhile."""
        self._lasting = Lasting()
        self.counts: dict[tuple[str, str], int] = dict.fromkeys(product(COUNTED, OUTCOMES), 0)
        """By function code (`other` for those that are not in the list) and outcome; all of them, for alerts."""
        self._latest: dict[str, dict[str, str]] = {}

    # --- starting

    def begin(self, now: Now) -> None:
        """Before anything comes: record what stands."""
        self._record(now)

    # --- what comes

    def on_usm(self, usm: Usm, link: Link, now: Now, *, fresh: bool = True) -> None:
        """A 9824 came by a link of ours, authentic and without a fault. Not fresh: it may have come long ago, and lay
        here while this machine slept, so that it counts by its own stamp alone.
        """
        event = event_of(usm, self._meanings, now.wall_ns)
        if self._known.has(event, self._heard):
            self._hear(Heard(event, usm, link, [], "", again=True), Kind.MANAGEMENT_IN, usm.body, link, 0.0)
            return
        sent_s = self._sent_s(event, link, now) if fresh else None
        stamp = self._stamp_of(event, sent_s)
        heard = Heard(_stamped(event, stamp), usm, link, [], "", again=False, stepped=bool(stamp))
        self._hear(heard, Kind.USM, steps.pack(steps.News(usm.body, "", stamp)), link, sent_s or now.wall_ns / _NS)

    def _sent_s(self, event: NewsEvent, link: Link, now: Now) -> float | None:
        """When it was sent, by our clock, as far as that is known: see `hubclock`."""
        shown_s, newer = moment_s(event.stamp), event.stamp > _latest(self._heard, event)
        return self._clock.sent_s(link.site, shown_s, now.wall_ns / _NS, newer=newer) if shown_s else None

    def _stamp_of(self, event: NewsEvent, sent_s: float | None) -> str:
        """The stamp of news that was sent later than what is known, where that is not its own."""
        known = _latest(self._heard, event)
        if event.stamp > known or sent_s is None or not may_have_stepped(known, event.stamp):
            return ""
        known_s = self._known.sent_s.get(known.removesuffix(LIFT_MARK), 0.0)
        return behind(known, event.stamp) if sent_s > known_s else ""

    def on_request(self, request: NetworkRequest, link: Link, now: Now) -> None:
        """A 9804 came, authentic: it shows what the clock of its site says now."""
        sent_s = shown_s(request, now.wall_ns)
        if sent_s:
            self._clock.shows(link.site, sent_s, now.wall_ns / _NS)

    def on_handed_on(self, handed_on: HandedOn, taken: Taken, now: Now) -> None:
        """A process of ours hands on what it heard. Ends in one call of `taken`."""
        raw, source, stamp = handed_on.message, handed_on.source, handed_on.stamp
        why = self._refused(handed_on, now)
        if why:
            taken(why)
            return
        usm = self._codec.decode(raw)
        assert isinstance(usm, Usm)
        event = _stamped(event_of(usm, self._meanings, now.wall_ns), stamp)
        waiting = self._waiting.get(event.content)
        if waiting is not None:
            waiting.append(taken)
        elif self._known.has(event, self._heard):
            self._settle(Heard(event, usm, None, [taken], source, again=True), now)
        else:
            heard = Heard(event, usm, None, [taken], source, again=False, stepped=bool(stamp))
            self._hear(heard, Kind.USM, steps.pack(steps.News(raw, source, stamp)), RECORDER, now.wall_ns / _NS)

    def _refused(self, handed_on: HandedOn, now: Now) -> str:
        """Why what was handed on is no news; empty when it is."""
        raw, source = handed_on.message, handed_on.source
        if handed_on.stamp and not is_stamp(handed_on.stamp, now.wall_ns):
            return "the stamp is none"
        if not source or len(source) > SOURCE_MAX or not (source.isascii() and source.isprintable()):
            return "the source is no id"
        try:
            message = self._codec.decode(raw)
        except HubFault:
            return "the message cannot be read"
        if not isinstance(message, Usm):
            return "the message is no 9824"
        return f"DE{message.fault} of the message is in error" if message.fault else ""

    def _hear(self, heard: Heard, kind: Kind, body: bytes, link: Link, sent_s: float) -> None:
        position = self._do.record(kind, body, "", link)
        if not heard.again:
            self._known.remember(heard.event, sent_s)
            self._heard = apply(self._heard, heard.event)
            self._waiting[heard.event.content] = heard.taken
        self._do.when_news_recorded(position, heard)

    def on_recorded(self, heard: Heard, now: Now) -> None:
        """Its record is durable: now it counts, and whoever brought it may know."""
        if not heard.again:
            self._waiting.pop(heard.event.content, None)
        self._settle(heard, now)

    def _settle(self, heard: Heard, now: Now) -> None:
        event, before = heard.event, self.permits
        self.permits = apply(before, event)
        if self.permits is not before:
            self._record(now)
        if heard.link is not None:
            self._do.acknowledge(heard.link, heard.usm)
        for taken in heard.taken:
            taken("")
        self._say(heard, before)

    def _outcome(self, heard: Heard, before: Permits) -> tuple[Outcome, str]:
        """What came of news, and why, in words fit for a log."""
        event, known = heard.event, known_of(before, heard.event)
        latest = max((one.stamp for one in known.values()), default="")
        if heard.again:
            return "again", "it was heard before"
        if not known:
            unknown = bool(event.unknown) or event.function not in FUNCTIONS
            return ("unknown", _of_unknown(event)) if unknown else ("unchanged", "nothing in it limits a payment")
        if self.permits is before:
            strange = latest < event.stamp
            return ("stranger", "about nobody we know") if strange else ("older", _older(latest, event.stamp))
        if all(one.says(known[what]) for what, one in said_by(event).items()):
            return "same", "the same as before"
        stepped = "sent later than what is known, whatever its clock says"
        return "applied", stepped if heard.stepped else _of_unknown(event)

    def _say(self, heard: Heard, before: Permits) -> None:
        event = heard.event
        outcome, why = self._outcome(heard, before)
        function = event.function if event.function in FUNCTIONS else "other"
        self.counts[function, outcome] += 1
        if outcome != "again":
            self._latest[function] = {
                "what": event.what, "sent": sent_at(event), "state": event.state, "institution": event.institution,
            }  # fmt: skip
        about_us = not isinstance(event, InstitutionStatus) or self._rules.is_own(event.institution)
        failed = isinstance(event, SchemeReturnFailure | PerformanceAlert) or bool(event.unknown) or function == "other"
        urgent = failed or (about_us and event.state in {"suspended", "reached"})
        self._do.report(
            Report(
                event.function, event.what, event.state, event.institution, outcome, why, heard.source,
                urgent and outcome not in {"again", "older"},
            )
        )  # fmt: skip

    # --- what an operator lifts

    def on_lift(self, order: Lift, reason: str, done: Taken) -> None:
        """An operator lifts what news has set, for this reason. Ends in one call of `done`."""
        stamp = liftable(self._heard, order.what, order.institution)
        if not stamp:
            done("nothing of this is held against payments")
            return
        lifted = steps.Lifted(order.what, order.institution, stamp, reason)
        position = self._do.record(Kind.LIFTED, steps.pack(lifted), "", RECORDER)
        self._heard = _lifted(self._heard, lifted)
        self._do.when_lift_recorded(position, lifted, done)

    def on_lift_recorded(self, lifted: steps.Lifted, done: Taken, now: Now) -> None:
        """Its record is durable: now it counts."""
        self.permits = _lifted(self.permits, lifted)
        self._record(now)
        self._do.report_lift(lifted.what, lifted.institution)
        done("")

    # --- time

    def next_timer(self) -> float:
        """When to call `handle_timer`, on the clock of `Now.mono_s`."""
        return self._lasting.due_s

    def handle_timer(self, now: Now) -> None:
        """Record the permits anew once a day. Early calls do nothing."""
        if self._lasting.is_due(now):
            self._record(now)

    def _record(self, now: Now) -> None:
        self._lasting.written(now)
        self._do.record(Kind.PERMITS, steps.pack(self.permits), "", RECORDER)

    # --- what follows

    def refusal(self, request: PaymentRequest) -> str:
        """With which code the scheme would refuse this payment of ours; empty: as far as we know it would not."""
        return refusal(self.permits, request, self._rules)

    def may_stand_in(self, request: PaymentRequest) -> bool:
        """Whether nothing is suspended that a bank may withhold stand-in for: the service, the sender, we."""
        return may_stand_in(self.permits, request, self._rules)

    # --- what people look at

    def held(self) -> dict[str, int]:
        """What is held against payments: each of `permits.HELD`, 0 when it is not."""
        return held(self.permits, self._rules)

    def health(self) -> str:
        """What is held against payments, in words; empty: nothing. A fact, and no reason to be unready."""
        held = self.held()
        others = held.pop("others")
        words = [SHOWN[what] for what, count in held.items() if count]
        return ", ".join([*words, *([f"{others} {SHOWN['others']}"] if others else [])])

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
            "counts": {f"{what} {outcome}": count for (what, outcome), count in sorted(self.counts.items()) if count},
            "latest": dict(sorted(self._latest.items())),
        }


def _of_unknown(event: NewsEvent) -> str:
    if event.function not in FUNCTIONS:
        return "unknown function"
    return f"unknown values in {' '.join(event.unknown)}" if event.unknown else ""


def _older(known: str, own: str) -> str:
    seconds = moment_s(known) - moment_s(own)
    if seconds <= 0:
        return "older than what is known, by its number in the same second"
    unit_s, unit = next((unit_s, unit) for least_s, unit_s, unit in UNITS if seconds >= least_s)
    return f"older than what is known, by {seconds // unit_s} {unit}"
