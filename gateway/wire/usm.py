"""Reads a 9824 into an event: one type for each function code, with the words of the table of meanings for the digits.

Knows which field means what in which function, and when the news was sent. `permits` knows what follows from it.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from gateway.wire.meanings import Meanings
from gateway.wire.message import NetworkRequest, Usm

MOMENT, NUMBERED = 14, 20
"""Digits of a stamp's moment, and of moment and DE11 together. A digest (16 hex digits) follows."""
STAMP = re.compile(r"[0-9]{20}[0-9a-f]{16}")
AHEAD_MAX_NS = 86_400 * 10**9
"""The sending time may be later than the time of arrival by this at most. Beyond it, the sender's clock is wrong."""


class NewsEvent(Struct, frozen=True, kw_only=True):
    """One piece of news. An attribute is empty or None when the message lacks it or gives an unknown value."""

    what: ClassVar[str] = "news of an unknown function"
    """The kind of news, in words for a log."""

    function: str
    """DE24."""
    stamp: str
    """Orders the news: moment of sending (14 digits), DE11 (6), digest (16 hex digits)."""
    content: bytes
    """Digest of the message without DE11 and DE128: equal for the same news over another link. Eight bytes."""
    institution: str = ""
    """DE100: the institution that the news is about; empty: us, or everyone."""
    name: str = ""
    """DE104."""
    state: str = ""
    """The status, in the words of the table of meanings."""
    before: str = ""
    """The previous status, where the message has it."""
    information: str = ""
    """DE124."""
    unknown: tuple[str, ...] = ()
    """Fields whose value is not in the table: `DE40`."""

    def __repr__(self) -> str:
        """Name the kind and no content: amounts and texts are nobody's business."""
        return f"<{self.__class__.__name__} {self.function}>"


class ServiceStatus(NewsEvent, frozen=True, kw_only=True):
    """971: the whole service is `available` or `suspended`."""

    what: ClassVar[str] = "service status"


class InstitutionStatus(NewsEvent, frozen=True, kw_only=True):
    """972: an institution is `available` or `suspended`, and takes these payment priority groups."""

    what: ClassVar[str] = "institution status"
    groups: tuple[str, ...] | None = None
    """None: the message does not say."""


class Amounts(NewsEvent, frozen=True, kw_only=True):
    """News with amounts, in pence."""

    amount: int | None = None
    amount_before: int | None = None


class ThresholdStatus(Amounts, frozen=True, kw_only=True):
    """973: the net position is `below` the net sender threshold or has `reached` it."""

    what: ClassVar[str] = "net sender threshold status"


class CapStatus(Amounts, frozen=True, kw_only=True):
    """974: the net position is `below` the net sender cap or has `reached` it."""

    what: ClassVar[str] = "net sender cap status"


class SitlChange(Amounts, frozen=True, kw_only=True):
    """975: the SITL is `in-force` with this amount, or `lifted`."""

    what: ClassVar[str] = "SITL change"


class StlChange(Amounts, frozen=True, kw_only=True):
    """976: the STL has this amount."""

    what: ClassVar[str] = "STL change"


class ThresholdChange(Amounts, frozen=True, kw_only=True):
    """977: the net sender threshold has this amount."""

    what: ClassVar[str] = "net sender threshold change"


class CapChange(Amounts, frozen=True, kw_only=True):
    """978: the net sender cap has this amount."""

    what: ClassVar[str] = "net sender cap change"


class SettlementStatus(NewsEvent, frozen=True, kw_only=True):
    """979: the state of settlement."""

    what: ClassVar[str] = "settlement status"
    settlement_date: str = ""
    settlement_cycle: str = ""
    management: str = ""
    """DE109."""
    risk: str = ""
    """DE111."""


class SchemeReturnFailure(NewsEvent, frozen=True, kw_only=True):
    """980: the hub could not return a payment to its sender."""

    what: ClassVar[str] = "scheme return failure"
    return_code: str = ""
    returned_fpid: str = ""


class PerformanceAlert(NewsEvent, frozen=True, kw_only=True):
    """981: we answer too slowly, in the hub's view."""

    what: ClassVar[str] = "performance alert"
    response_time: str = ""
    """DE45 as it came."""
    items: str = ""
    """DE41 as it came."""


# --- reading


class _UsmReader:
    """Translates the fields of one message, and notes the unknown values."""

    def __init__(self, usm: Usm, meanings: Meanings) -> None:
        self.usm = usm
        self.meanings = meanings
        self.unknown: list[str] = []

    def word(self, value: str, table: Mapping[str, str], number: int) -> str:
        """The meaning of a status; empty when it is absent or unknown. An unknown one is noted."""
        if value and value not in table:
            self.unknown.append(f"DE{number}")
        return table.get(value, "")

    def pence(self, amount: str, number: int) -> int | None:
        """An amount; None when it is absent or not a number."""
        if amount and not (amount.isascii() and amount.isdigit()):
            self.unknown.append(f"DE{number}")
            return None
        return int(amount) * self.meanings.limits.unit_pence if amount else None


def _service(r: _UsmReader) -> dict[str, Any]:
    return {"state": r.word(r.usm.service_status, r.meanings.service_status, 40)}


def _institution(r: _UsmReader) -> dict[str, Any]:
    groups = r.meanings.priority_groups.get(r.usm.priority_groups)
    if r.usm.priority_groups and groups is None:
        r.unknown.append("DE69")
    return {
        "state": r.word(r.usm.suspension, r.meanings.suspension, 67),
        "before": r.word(r.usm.suspension_previous, r.meanings.suspension, 68),
        "groups": groups,
    }


def _reach(r: _UsmReader) -> dict[str, Any]:
    return {
        "state": r.word(r.usm.cap_status, r.meanings.cap_status, 107),
        "amount": r.pence(r.usm.cap, 105),
        "amount_before": r.pence(r.usm.cap_previous, 106),
    }


def _sitl(r: _UsmReader) -> dict[str, Any]:
    return {
        "state": r.word(r.usm.sitl_status, r.meanings.sitl_status, 85) if r.usm.sitl_status else "in-force",
        "amount": r.pence(r.usm.sitl_new, 86),
        "amount_before": r.pence(r.usm.sitl_previous, 87),
    }


def _stl(r: _UsmReader) -> dict[str, Any]:
    return {"amount": r.pence(r.usm.stl_new, 88), "amount_before": r.pence(r.usm.stl_previous, 89)}


def _settlement(r: _UsmReader) -> dict[str, Any]:
    return {
        "state": r.word(r.usm.settlement_process, r.meanings.settlement_process, 91),
        "settlement_date": r.usm.settlement_date,
        "settlement_cycle": r.usm.settlement_cycle,
        "management": r.usm.settlement_management,
        "risk": r.usm.settlement_risk,
    }


def _return_failure(r: _UsmReader) -> dict[str, Any]:
    return {"return_code": r.usm.return_code, "returned_fpid": r.usm.returned_fpid}


def _performance(r: _UsmReader) -> dict[str, Any]:
    return {"response_time": r.usm.response_time, "items": r.usm.credit_items}


FUNCTIONS: dict[str, tuple[type[NewsEvent], Callable[[_UsmReader], dict[str, Any]]]] = {
    "971": (ServiceStatus, _service),
    "972": (InstitutionStatus, _institution),
    "973": (ThresholdStatus, _reach),
    "974": (CapStatus, _reach),
    "975": (SitlChange, _sitl),
    "976": (StlChange, _stl),
    "977": (ThresholdChange, _reach),
    "978": (CapChange, _reach),
    "979": (SettlementStatus, _settlement),
    "980": (SchemeReturnFailure, _return_failure),
    "981": (PerformanceAlert, _performance),
}
"""The kind of news of each function code (docs/protocol.md section 2, certain), and the fields that say it (likely)."""


_UNLISTED: tuple[type[NewsEvent], Callable[[_UsmReader], dict[str, Any]]] = (NewsEvent, lambda _: {})


def event_of(usm: Usm, meanings: Meanings, received_ns: int) -> NewsEvent:
    """Read a 9824 that came at this time (nanoseconds since the epoch). Never raises."""
    reading = _UsmReader(usm, meanings)
    kind, read = FUNCTIONS.get(usm.function_code, _UNLISTED)
    said = read(reading)
    event: NewsEvent = kind(
        function=usm.function_code,
        stamp=_stamp_of(usm, received_ns),
        content=_digest(usm, message_id=""),
        institution=usm.institution,
        name=usm.institution_name,
        information=usm.information,
        unknown=tuple(reading.unknown),
        **said,
    )
    return event


def _digest(usm: Usm, **without: str) -> bytes:
    """Digest of the fields of a message, whatever its bytes and MAC."""
    bare = msgspec.structs.replace(usm, body=b"", mac="", **without)
    return hashlib.blake2b(msgspec.msgpack.encode(bare), digest_size=8, person=b"fps-news").digest()


def _stamp_of(usm: Usm, received_ns: int) -> str:
    latest = moment_of(received_ns + AHEAD_MAX_NS)
    moment = _year_of(usm.transmission_time, usm.date_sent or moment_of(received_ns)) + usm.transmission_time.zfill(10)
    digits = len(moment) == MOMENT and moment.isascii() and moment.isdigit()
    if not digits or not moment_s(moment) or moment > latest:
        moment = moment_of(received_ns)
    return f"{moment}{usm.message_id[-6:]:0>6}{_digest(usm).hex()}"


def is_stamp(text: str, received_ns: int) -> bool:
    """Whether this can be the stamp of news that came at this time."""
    latest = moment_of(received_ns + AHEAD_MAX_NS)
    return STAMP.fullmatch(text) is not None and moment_s(text) > 0 and text[:MOMENT] <= latest


def moment_s(stamp: str) -> int:
    """The moment of a stamp, in seconds since the epoch, as if the hub's clock were in UTC; 0 when it is no date."""
    try:
        return int(datetime.strptime(stamp[:MOMENT], "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return 0


def shown_s(request: NetworkRequest, received_ns: int) -> int:
    """The sending time that a 9804 of the hub gives (as `moment_s`); 0 when it gives none."""
    time = request.transmission_time
    return moment_s(_year_of(time, request.date_sent or moment_of(received_ns)) + time)


def _year_of(time: str, day: str) -> str:
    """The year that brings MMDD… nearest to a day YYYYMMDD. Around New Year it may differ from the day's own."""
    try:
        year, of_day, of_time = int(day[:4]), int(day[4:6]) * 31 + int(day[6:8]), int(time[:2]) * 31 + int(time[2:4])
    except ValueError:
        return ""
    half = 6 * 31
    return f"{year + (of_day - of_time > half) - (of_time - of_day > half):04}"


def moment_of(time_ns: int) -> str:
    """A time in UTC, as the moment of a stamp."""
    return f"{datetime.fromtimestamp(time_ns // 10**9, UTC):%Y%m%d%H%M%S}"


def sent_at(event: NewsEvent) -> str:
    """The time of sending, `2025-11-22T20:55:01`, by the hub's clock, whose time zone is unknown.

    For a message with an impossible time of sending: the time when it came.
    """
    m = event.stamp
    return f"{m[:4]}-{m[4:6]}-{m[6:8]}T{m[8:10]}:{m[10:12]}:{m[12:14]}"
