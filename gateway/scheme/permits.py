"""What the scheme lets us do, by the news (9824) that came: pure decisions, no memory of their own.

`wire.usm` reads a message; `apply` keeps the latest of what was said about each thing; `refusal` says what follows for
a payment that we would submit. For one that the hub sends nothing follows, unless a bank says so (`may_stand_in`).

**Old news must not undo newer news**, whichever way and however often either comes: over two links, from another
process, again after a restart. So each thing that news is about (`THINGS`) remembers the stamp of the news that said
it, and only news with a higher stamp changes it: the same messages in any order, any number of times, leave the same
permits, at both sites and in every process. What a stamp is, and what it is after a step of the hub's clock, says
`hubclock`.

**An operator can lift** what news has set. That is a word of its own, with a stamp right behind the one of that news.

**What is not known changes nothing.** A value that is not in the table leaves things as they were; its field is named
in `NewsEvent.unknown`, for people to see.
"""

from collections.abc import Iterator
from functools import partial
from typing import TypeVar

import msgspec
from msgspec import Struct

from gateway import config
from gateway.wire.meanings import Meanings
from gateway.wire.message import PaymentRequest
from gateway.wire.usm import (
    CapChange,
    CapStatus,
    InstitutionStatus,
    NewsEvent,
    ServiceStatus,
    SettlementStatus,
    SitlChange,
    StlChange,
    ThresholdChange,
    ThresholdStatus,
)

INSTITUTIONS_MAX = 128
"""Institutions that are remembered; the scheme has some fifty. Beyond it the one goes that was longest without news,
those that nothing is held against first. All of them are one record, which must fit into the smallest segment."""

# --- what stands


class Latest(Struct, frozen=True, array_like=True, gc=False):
    """The latest word about something."""

    stamp: str = ""
    word: str = ""

    def says(self, other: "Said") -> bool:
        """Whether it says the same, whenever."""
        return isinstance(other, Latest) and other.word == self.word


class Groups(Struct, frozen=True, array_like=True, gc=False):
    """The payment priority groups that an institution takes."""

    stamp: str = ""
    names: tuple[str, ...] | None = None
    """None: nothing was ever said, so all."""

    def says(self, other: "Said") -> bool:
        """Whether it says the same, whenever."""
        return isinstance(other, Groups) and other.names == self.names


class Limit(Struct, frozen=True, array_like=True, gc=False):
    """The most that one payment may be."""

    stamp: str = ""
    pence: int | None = None
    """None: no limit."""

    def says(self, other: "Said") -> bool:
        """Whether it says the same, whenever."""
        return isinstance(other, Limit) and other.pence == self.pence and bool(other.stamp)

    def __repr__(self) -> str:
        return f"<Limit {'set' if self.pence is not None else 'not set'}>"


class Institution(Struct, frozen=True, array_like=True):
    """What was said of one institution."""

    standing: Latest = Latest()
    groups: Groups = Groups()
    threshold: Latest = Latest()
    cap: Latest = Latest()
    sitl: Limit = Limit()
    stl: Limit = Limit()

    @property
    def latest(self) -> str:
        """The highest stamp."""
        parts = (self.standing, self.groups, self.threshold, self.cap, self.sitl, self.stl)
        return max(part.stamp for part in parts)

    @property
    def free(self) -> bool:
        """Whether nothing is held against it but limits on a payment."""
        held = {self.standing.word, self.threshold.word, self.cap.word} & HOLDING
        return not held and self.groups.names is None


class Permits(Struct, frozen=True, array_like=True):
    """What the scheme lets us do. The body of `Kind.PERMITS`. New fields only at the end."""

    service: Latest = Latest()
    settlement: Latest = Latest()
    institutions: dict[str, Institution] = {}
    """By DE100; empty: us, or everyone. Never changed in place."""


_T = TypeVar("_T", bound=Struct)
Said = Latest | Groups | Limit
EVERYONES = ("service", "settlement")
THINGS = (*EVERYONES, "standing", "groups", "threshold", "cap", "sitl", "stl")
"""What news can say something of, as the fields of `Permits` and of `Institution` are named."""
HOLDING = frozenset({"suspended", "reached"})
"""Words of a `Latest` that something is held against payments by."""
LIFTED = "lifted"
"""The word of a `Latest` that an operator lifted."""
LIFT_MARK = "+"
"""Behind the stamp of the news that was lifted: later than that, and earlier than any other later news."""
_KINDS: dict[str, type[Said]] = {**dict.fromkeys(THINGS, Latest), "groups": Groups, "sitl": Limit, "stl": Limit}


def said_by(event: NewsEvent) -> dict[str, Said]:
    """What news says of which of `THINGS`; empty: nothing that is known, or nothing that limits a payment."""
    stamp, state = event.stamp, event.state
    said: dict[str, Said] = {}
    match event:
        case ServiceStatus() if state:
            said["service"] = Latest(stamp, state)
        case SettlementStatus() if state:
            said["settlement"] = Latest(stamp, state)
        case InstitutionStatus():
            if state:
                said["standing"] = Latest(stamp, state)
            if event.groups is not None:
                said["groups"] = Groups(stamp, event.groups)
        case ThresholdStatus() | ThresholdChange() if state:
            said["threshold"] = Latest(stamp, state)
        case CapStatus() | CapChange() if state:
            said["cap"] = Latest(stamp, state)
        case SitlChange() | StlChange():
            said = _limits_said_by(event)
    return said


def _limits_said_by(event: SitlChange | StlChange) -> dict[str, Said]:
    stamp, amount = event.stamp, event.amount
    if isinstance(event, SitlChange):
        lifted = event.state == "lifted"
        known = lifted or (event.state and amount is not None)
        return {"sitl": Limit(stamp, None if lifted else amount)} if known else {}
    return {"stl": Limit(stamp, amount)} if amount is not None else {}


def known_of(permits: Permits, event: NewsEvent) -> dict[str, Said]:
    """What is known of the things that news says something of."""
    return {what: _of(permits, what, event.institution) for what in said_by(event)}


def apply(permits: Permits, event: NewsEvent) -> Permits:
    """Take the news in. The very same permits come back when it changes nothing: old, unknown, or about nothing."""
    return _put(permits, event.institution, said_by(event))


def lift(permits: Permits, what: str, institution: str, stamp: str) -> Permits:
    """Take back what news with this stamp set. It does not set it again; news with a higher stamp does."""
    lifted: Said = {Groups: Groups, Limit: Limit}.get(_KINDS[what], partial(Latest, word=LIFTED))(stamp + LIFT_MARK)
    return _put(permits, institution, {what: lifted})


def liftable(permits: Permits, what: str, institution: str) -> str:
    """The stamp of what news holds against payments; empty when it holds nothing."""
    known = _of(permits, what, institution)
    match known:
        case Latest():
            holds = known.word in HOLDING
        case Groups():
            holds = known.names is not None
        case _:
            holds = known.pence is not None
    return known.stamp if holds else ""


def _of(permits: Permits, what: str, institution: str) -> Said:
    holder = permits if what in EVERYONES else permits.institutions.get(institution, Institution())
    said: Said = getattr(holder, what)
    return said


def _put(permits: Permits, institution: str, said: dict[str, Said]) -> Permits:
    """Change what this was said of later."""
    later = {what: one for what, one in said.items() if one.stamp > _of(permits, what, institution).stamp}
    if not later:
        return permits
    everyones = {what: one for what, one in later.items() if what in EVERYONES}
    if everyones:
        return msgspec.structs.replace(permits, **everyones)
    after = msgspec.structs.replace(permits.institutions.get(institution, Institution()), **later)
    institutions = _bounded({**permits.institutions, institution: after})
    if institutions == permits.institutions:
        return permits  # nothing is held against it, and there is no room
    return msgspec.structs.replace(permits, institutions=institutions)


def merge(permits: Permits, recorded: Permits) -> Permits:
    """Of each thing the later: what was applied and what was recorded. Of one stamp, what was recorded.

    A record does not hold all news that stands before it: some of that was not durable yet when it was written.
    """
    institutions = dict(permits.institutions)
    for name, one in recorded.institutions.items():
        institutions[name] = _merged(institutions.get(name, Institution()), one)
    return msgspec.structs.replace(_merged(permits, recorded), institutions=_bounded(institutions))


def _merged(here: _T, there: _T) -> _T:
    later = {
        name: said
        for name in here.__struct_fields__
        if isinstance(said := getattr(there, name), Latest | Groups | Limit) and said.stamp >= getattr(here, name).stamp
    }
    return msgspec.structs.replace(here, **later)


def _bounded(institutions: dict[str, Institution]) -> dict[str, Institution]:
    while len(institutions) > INSTITUTIONS_MAX:
        del institutions[min(institutions, key=lambda key: (not institutions[key].free, institutions[key].latest))]
    return institutions


# --- what follows


class Rules:
    """The settings that decide what follows, made ready once."""

    def __init__(self, settings: config.News, meanings: Meanings) -> None:
        self._own = settings.own_institutions
        self._prefixes = [(prefix, name) for name, prefixes in settings.members.items() for prefix in prefixes]
        self._groups = {kind: name for name, kinds in meanings.groups.items() for kind in kinds}
        self.payment_types = frozenset(self._groups)
        self._sitl_types = frozenset(meanings.limits.sitl)
        self._stl_types = frozenset(meanings.limits.stl)
        self.codes = {
            "service suspended": settings.service_suspended_code,
            "sender suspended": settings.sender_suspended_code,
            "receiver suspended": settings.receiver_suspended_code,
            "group unavailable": settings.group_unavailable_code,
            "settlement suspended": settings.settlement_suspended_code,
            "above SITL": settings.above_sitl_code,
            "above STL": settings.above_stl_code,
            "cap reached": settings.cap_reached_code,
        }
        """Which action code each reason has, best first; empty: it is no reason."""

    def is_own(self, institution: str) -> bool:
        """Whether news about this institution is about us."""
        return not institution or institution in self._own

    def ours(self, permits: Permits, code: str = "") -> list[Institution]:
        """What was said of us: of the institution that a message names as us, and of our own ids."""
        return self._of(permits, {"", code, *self._own, *self._answering(code)})

    def theirs(self, permits: Permits, code: str) -> list[Institution]:
        """What was said of whoever answers for this id or sort code."""
        return self._of(permits, {code, *self._answering(code)}) if code else []

    def takes(self, institutions: list[Institution], payment_type: str) -> bool:
        """Whether each of these takes the priority group of this payment type; a type that is in none is taken."""
        group = self._groups.get(payment_type)
        return group is None or all(one.groups.names is None or group in one.groups.names for one in institutions)

    def above(self, institutions: list[Institution], request: PaymentRequest) -> Iterator[str]:
        """Which limits its amount is above."""
        amount, kind = request.amount, request.processing_code[:2]
        pence = int(amount) if amount.isascii() and amount.isdigit() else 0
        if kind in self._sitl_types and any(
            one.sitl.pence is not None and pence > one.sitl.pence for one in institutions
        ):
            yield "above SITL"
        if kind in self._stl_types and any(one.stl.pence is not None and pence > one.stl.pence for one in institutions):
            yield "above STL"

    def _answering(self, code: str) -> list[str]:
        return [name for prefix, name in self._prefixes if code.startswith(prefix)]

    @staticmethod
    def _of(permits: Permits, names: set[str]) -> list[Institution]:
        institutions = permits.institutions
        return [institutions[name] for name in names if name in institutions]


def refusal(permits: Permits, request: PaymentRequest, rules: Rules) -> str:
    """With which code the scheme would refuse this payment of ours; empty: as far as we know it would not."""
    return next((code for reason in reasons(permits, request, rules) if (code := rules.codes[reason])), "")


def reasons(permits: Permits, request: PaymentRequest, rules: Rules) -> Iterator[str]:
    """Everything that stands against a payment of ours, in words fit for a log, what weighs most first."""
    if permits.service.word == "suspended":
        yield "service suspended"
    if permits.institutions:
        us = rules.ours(permits, request.sender)
        them = rules.theirs(permits, request.receiving_member or request.creditor_agent)
        if _suspended(us):
            yield "sender suspended"
        if _suspended(them):
            yield "receiver suspended"
        if not rules.takes(them, request.processing_code[:2]):
            yield "group unavailable"
        yield from rules.above(us, request)
        if any(one.cap.word == "reached" for one in us):
            yield "cap reached"
    if permits.settlement.word == "suspended":
        yield "settlement suspended"


def may_stand_in(permits: Permits, request: PaymentRequest, rules: Rules) -> bool:
    """Whether neither the service nor we nor the sender of this payment of the hub are suspended.

    For a bank that withholds stand-in then (`pair.stand_in.withhold_while_suspended`). News limits what we submit: what
    the hub sends us it has admitted, also when a suspension of its sender is on its way still, or was lifted already.
    """
    if permits.service.word == "suspended":
        return False
    us, them = rules.ours(permits, request.receiving_member), rules.theirs(permits, request.sender)
    return not (_suspended(us) or _suspended(them))


def _suspended(institutions: list[Institution]) -> bool:
    return any(one.standing.word == "suspended" for one in institutions)


# --- what people look at

HELD = ("service", "settlement", "own", "own-groups", "cap", "threshold", "others")
"""What can be held against payments: the labels of the gauge `fps_scheme_suspended`."""


SHOWN = {
    "service": "service suspended",
    "settlement": "settlement suspended",
    "own": "we are suspended",
    "own-groups": "we take some priority groups only",
    "cap": "our net sender cap reached",
    "threshold": "our net sender threshold reached",
    "others": "other institutions suspended",
}
"""The same, in words."""


def held(permits: Permits, rules: Rules) -> dict[str, int]:
    """For each of `HELD` 1 when it is suspended, restricted or reached; for `others`, how many institutions are."""
    us = rules.ours(permits)
    known = {id(one) for one in us}
    return {
        "service": int(permits.service.word == "suspended"),
        "settlement": int(permits.settlement.word == "suspended"),
        "own": int(_suspended(us)),
        "own-groups": int(not all(rules.takes(us, kind) for kind in rules.payment_types)),
        "cap": int(any(one.cap.word == "reached" for one in us)),
        "threshold": int(any(one.threshold.word == "reached" for one in us)),
        "others": sum(_suspended([one]) for one in permits.institutions.values() if id(one) not in known),
    }
