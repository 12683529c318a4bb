"""Records for a person: which ones, and how they look. Nothing of a customer's is shown unless asked for."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from gateway import log, steps
from gateway.journal.record import Record
from gateway.steps import Kind
from gateway.wire.codec import Codec, Part

RAW_KINDS = frozenset(
    {Kind.RECEIVED, Kind.REPEATED, Kind.UNPLACED, Kind.MANAGEMENT_IN, Kind.MANAGEMENT_OUT},
)
"""Kinds whose body is a message."""
MESSAGES = frozenset({"message", "request", "reply"})
"""Fields of a body that hold a message."""
HEX = frozenset({"chain", "mac", "content"})
"""Fields of a body that hold a checksum."""
HIDDEN = frozenset({"pence"})
"""Fields of a body that are a customer's: not shown."""
MASK_MAX = 32
_NS = 1_000_000_000


class Filter(Struct, frozen=True, kw_only=True):
    """Which records are shown."""

    kinds: frozenset[Kind] = frozenset()
    """Empty: all."""
    fpid_hash: str = ""
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
            and (not self.fpid_hash or (record.fpid != "" and log.fpid_hash(record.fpid) == self.fpid_hash))
        )


class Printer:
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
        said = " ".join(f"{name}={value}" for name, value in body.items())
        payment = "-" if not record.fpid else record.fpid if self._reveal else log.fpid_hash(record.fpid)
        line = f"{record.position:>10} {when(record.time_ns)} {record.kind.name:14} {record.link:>5} {payment:16}"
        self._write(f"{line} {len(record.body):>6} {said}".rstrip() + "\n")
        if self._fields:
            for name, message in messages.items():
                self._write(f"{'':12}{name}, {len(message)} bytes\n")
                for line in self._lines(self._codec.explain(message)):
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
                for parts in [self._codec.explain(message)]
            }
        self._write(msgspec.json.encode(shown).decode() + "\n")

    def _lines(self, parts: list[Part]) -> Iterator[str]:
        for part in parts:
            shown = part.value if self._shown(part, parts) else "*" * min(len(part.value), MASK_MAX)
            value = shown.encode("unicode_escape").decode()
            fault = f"  bad at byte {part.fault_position}: {part.fault}" if part.fault else ""
            if part.field == 128 and not part.value:
                continue  # our own replies are recorded without their MAC
            yield f"{part.field:>3} {part.name:28} {value}{fault}".rstrip()

    def _shown(self, part: Part, parts: list[Part]) -> bool:
        """In a message that cannot be read a value may stand in another's place: then only MTI and bitmaps are safe."""
        readable = not any(other.fatal for other in parts)
        return self._reveal or (not part.sensitive and not part.fault and (readable or part.field <= 1))


def split_body(record: Record) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What can be shown of a body (codes, reasons, positions, sizes), and the messages in it, which may not."""
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
                shown[f"{name}_bytes"] = len(value)
        elif isinstance(value, bytes):
            shown[name] = value.hex() if name in HEX else len(value)
        elif value != "" and name not in HIDDEN:
            shown[name] = value
    return shown, messages


def counted(count: int, what: str) -> str:
    """So many of something, in words."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def when(time_ns: int) -> str:
    """A time as text: UTC, microseconds."""
    try:
        seconds = datetime.fromtimestamp(time_ns // _NS, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{time_ns} ns"
    return f"{seconds:%Y-%m-%dT%H:%M:%S}.{time_ns % _NS // 1000:06d}Z"
