"""Selects records and prints them for a person. Customers' data is shown only on request."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from gateway import log
from gateway.journal.record import Record
from gateway.machine import harmless
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.wire.codec import Codec, Part, Unparseable, fpid_of, join_mac
from gateway.wire.fields import MAC_FIELD
from gateway.wire.message import Advice, PaymentRequest, PaymentResponse, ReversalRequest, ReversalResponse

RAW_KINDS = frozenset(
    {Kind.RECEIVED, Kind.REPEATED, Kind.UNPLACED, Kind.MANAGEMENT_IN, Kind.MANAGEMENT_OUT},
)
"""Kinds whose body is a message."""
MESSAGES = frozenset({"message", "request", "reply", "covered", "response"})
"""Fields of a body that hold a message."""
WITHOUT_MAC = frozenset({"reply", "covered"})
"""Messages recorded without DE128: the MAC is made while the record is on its way to the disk."""
SIZE_ALONE = frozenset({"covered", "response"})
"""Messages whose size has their own name, as always; the size of others is NAME_bytes."""
HEX = frozenset({"chain", "mac", "content"})
"""Fields of a body that hold a checksum."""
HIDDEN = frozenset({"pence"})
"""Fields of a body with customers' data: not shown."""
CLAIMS = frozenset({Kind.REJECTED, Kind.UNPLACED, Kind.REFUSED})
"""Kinds that may hold a message about a payment, but belong to no payment."""
NAMES_PAYMENT = (PaymentRequest, PaymentResponse, ReversalRequest, ReversalResponse, Advice)
"""Messages with the fields that make an FPID."""
MASK_MAX = 32
FPID_CHARS, TRN_CHARS = 42, 18
FPID_LEAST_CHARS = TRN_CHARS + 2 + 8 + 3 + 1
"""Characters of the shortest FPID without its trailing blanks: the sender has one character."""
_NS = 1_000_000_000


class Filter(Struct, frozen=True, kw_only=True):
    """Selects the records that are shown."""

    kinds: frozenset[Kind] = frozenset()
    """Empty: all."""
    fpid_hash: str = ""
    fpid: str = ""
    """All 42 characters."""
    trn: str = ""
    """All 18 characters."""
    fpids: frozenset[str] | None = None
    """None: all."""
    first: int = 0
    last: int = 1 << 63
    since_ns: int = -(1 << 63)
    until_ns: int = 1 << 63
    positions: frozenset[int] | None = None
    """None: all."""

    def takes(self, record: Record) -> bool:
        """Whether a record is shown."""
        return (
            self.first <= record.position <= self.last
            and self.since_ns <= record.time_ns <= self.until_ns
            and (not self.kinds or record.kind in self.kinds)
            and (self.positions is None or record.position in self.positions)
            and (not (self.fpid_hash or self.fpid or self.trn or self.fpids is not None) or self._names(record))
        )

    def _names(self, record: Record) -> bool:
        """Whether it concerns a selected payment."""
        fpid = record.fpid or _claimed(record)
        return (
            fpid != ""
            and (not self.fpid_hash or log.fpid_hash(fpid) == self.fpid_hash)
            and (not self.fpid or fpid == self.fpid)
            and (not self.trn or fpid[:TRN_CHARS] == self.trn)
            and (self.fpids is None or fpid in self.fpids)
        )


def _claimed(record: Record) -> str:
    """The FPID in a message that was not believed (a wrong MAC): it belongs to no payment, but it did come."""
    if record.kind not in CLAIMS:
        return ""
    try:
        message = _codec().decode(split_body(record)[1].get("message", b""))
    except Unparseable:
        return ""
    return fpid_of(message) if isinstance(message, NAMES_PAYMENT) else ""


@cache
def _codec() -> Codec:
    return Codec()


def whole_fpid(text: str) -> str:
    """An FPID as it is recorded, from text that somebody typed or copied, which may lack its blanks.

    Raises `ValueError`, which does not show it, for text that cannot be an FPID: a search for that would find nothing,
    and seem to say "never received".
    """
    if len(text) == FPID_CHARS:
        return text
    match text.split():
        case [trn, rest] if len(trn) <= TRN_CHARS:
            text = trn.ljust(TRN_CHARS) + rest
    if not FPID_LEAST_CHARS <= len(text.rstrip()) <= FPID_CHARS:
        raise ValueError(
            f"--fpid: an FPID has {FPID_CHARS} characters: TRN ({TRN_CHARS}), payment type (2), date (8), currency (3),"
            " sender (11); --trn takes a TRN alone"
        )
    return text.rstrip().ljust(FPID_CHARS)


def whole_trn(text: str) -> str:
    """A TRN as it is recorded. Raises `ValueError`, which does not show it, when it is too long for one."""
    if len(text.rstrip()) > TRN_CHARS:
        raise ValueError(f"--trn: a TRN has {TRN_CHARS} characters at most; --fpid takes an FPID")
    return text.rstrip().ljust(TRN_CHARS)


class RecordPrinter:
    """Turns a record into lines: text, or one JSON object."""

    def __init__(self, write: Callable[[str], object], *, json: bool, fields: bool, reveal: bool) -> None:
        self._write = write
        self._json = json
        self._fields = fields or reveal
        self._reveal = reveal
        self._codec = Codec()

    def record(self, record: Record) -> None:
        """Print one."""
        body, messages = split_body(record)
        if self._json:
            self._as_json(record, body, messages)
            return
        said = " ".join(f"{name}={harmless.shown(value)}" for name, value in body.items())
        payment = (
            "-" if not record.fpid else harmless.shown(record.fpid) if self._reveal else log.fpid_hash(record.fpid)
        )
        line = f"{record.position:>10} {when(record.time_ns)} {record.kind.name:14} {record.link:>5} {payment:16}"
        self._write(f"{line} {len(record.body):>6} {said}".rstrip() + "\n")
        if self._fields:
            for name, message in messages.items():
                self._write(f"{'':12}{name}, {len(message)} bytes\n")
                for line in self._lines(self._explain(record, name, message)):
                    self._write(f"{'':14}{line}\n")

    def _as_json(self, record: Record, body: dict[str, Any], messages: dict[str, bytes]) -> None:
        shown: dict[str, Any] = {
            "position": record.position,
            "time": when(record.time_ns),
            "time_ns": record.time_ns,
            "kind": record.kind.name,
            "link": record.link,
            "bytes": len(record.body),
            "chain": record.chain.hex(),
        }
        if record.fpid:
            shown["fpid_hash"] = log.fpid_hash(record.fpid)
        if self._reveal and record.fpid:
            shown["fpid"] = record.fpid
        if body:
            shown["body"] = body
        if self._fields and messages:
            shown["messages"] = {
                name: {
                    str(part.field): part.value if self._shown(part, parts) else None
                    for part in parts
                    if not part.fatal
                }
                for name, message in messages.items()
                for parts in [self._explain(record, name, message)]
            }
        self._write(msgspec.json.encode(shown).decode() + "\n")

    def _explain(self, record: Record, name: str, message: bytes) -> list[Part]:
        """Take a message apart. One recorded without its MAC is whole all the same, and DE128 is left out."""
        if name not in WITHOUT_MAC and record.kind is not Kind.MANAGEMENT_OUT:
            return self._codec.explain(message)
        return [part for part in self._codec.explain(join_mac(message, bytes(8))) if part.field != MAC_FIELD]

    def _lines(self, parts: list[Part]) -> Iterator[str]:
        for part in parts:
            shown = part.value if self._shown(part, parts) else "*" * min(len(part.value), MASK_MAX)
            fault = f"  bad at byte {part.fault_position}: {part.fault}" if part.fault else ""
            yield f"{part.field:>3} {part.name:28} {harmless.shown(shown)}{fault}".rstrip()

    def _shown(self, part: Part, parts: list[Part]) -> bool:
        """In an unreadable message a value may stand in the place of another: then only MTI and bitmaps are safe."""
        readable = not any(other.fatal for other in parts)
        return self._reveal or (not part.sensitive and not part.fault and (readable or part.field <= 1))


def split_body(record: Record) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Split a body into what may be shown (codes, reasons, positions, sizes) and its messages, which may not."""
    if record.kind in RAW_KINDS:
        return {}, {"message": record.body}
    if record.kind not in steps.BODIES:
        return {}, {}
    try:
        body = steps.unpack(record.kind, record.body)
    except msgspec.DecodeError:
        return {"unreadable": True}, {}
    shown: dict[str, Any] = {}
    messages: dict[str, bytes] = {}
    for name in body.__struct_fields__:
        value = getattr(body, name)
        if name in MESSAGES:
            if value:
                messages[name] = value
                shown[name if name in SIZE_ALONE else f"{name}_bytes"] = len(value)
        elif isinstance(value, bytes):
            shown[name] = value.hex() if name in HEX else len(value)
        elif value != "" and name not in HIDDEN:
            shown[name] = value
    return shown, messages


def counted(count: int, what: str) -> str:
    """A number of things in words: `1 record`, `2 records`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def when(time_ns: int) -> str:
    """A time as text: UTC, microseconds."""
    try:
        seconds = datetime.fromtimestamp(time_ns // _NS, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{time_ns} ns"
    return f"{seconds:%Y-%m-%dT%H:%M:%S}.{time_ns % _NS // 1000:06d}Z"
