"""One field after the other, from the table: what the structure of a message is, where it is bad, and which value is.

This is the law and the words: slow (some tens of microseconds) and exact. `plan` is the fast way to the same result.
Positions count bytes from the first byte of the MTI. Nothing said here holds content, not even a length that was read:
when a message is out of step, what is read as a length may be part of an account number.
"""

import codecs
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from gateway.errors import HubFault
from gateway.wire.fields import CHARSETS, DIGITS, HEX, MAC_FIELD, UNDEFINED, Field, FieldTable, Layout
from gateway.wire.message import TYPES, Message

MTI_END = 4
HEADER_END = 36
"""MTI and both bitmaps: the fields begin here."""
SECONDARY = 1 << 127
"""Bit 1 of the bitmap: the secondary bitmap is there (always)."""

# What windows-1252 leaves undefined stands for itself, so that every byte is one character and back; no charset has it.
_CHARACTERS = "".join(chr(byte) if byte in UNDEFINED else bytes([byte]).decode("windows-1252") for byte in range(256))
_ENCODING = codecs.charmap_build(_CHARACTERS)


class Unparseable(HubFault):
    """The structure cannot be read (or a reply cannot be made): 9624/650."""

    def __init__(self, field: int, position: int, what: str) -> None:
        super().__init__(f"{_name_of(field, position)} at byte {position}: {what}")
        self.field = field
        """Number of the data element; 0 in the MTI, 1 in the bitmaps."""
        self.position = position
        """Byte at which it is bad, from the first byte of the MTI."""
        self.what = what


def _name_of(field: int, position: int) -> str:
    if field > 1:
        return f"DE{field}"
    return "MTI" if field == 0 and position < MTI_END else "bitmap" if position < HEADER_END else "message"


def text_of(data: bytes) -> str:
    """Windows-1252, one character for each byte whatever it is."""
    if data.isascii():
        return data.decode("ascii")
    return codecs.charmap_decode(data, "strict", _CHARACTERS)[0]


def bytes_of(text: str) -> bytes:
    """Undo `text_of`. Raises `ValueError`, which does not show the text."""
    if text.isascii():
        return text.encode("ascii")
    try:
        return codecs.charmap_encode(text, "strict", _ENCODING)[0]
    except UnicodeEncodeError:
        raise ValueError("a character is not in windows-1252") from None


class Span(NamedTuple):
    """Where a field lies in the body."""

    field: Field
    position: int
    """Its first byte, that of the length prefix if it has one."""
    start: int
    """The first byte of the value."""
    end: int


def numbers_in(body: bytes) -> list[int]:
    """Fields that the bitmaps announce, ascending, without 1. Raises `Unparseable` when the bitmaps cannot be read."""
    if len(body) < HEADER_END:
        raise Unparseable(1, len(body), "the message ends within the bitmaps")
    _check_hex(body, 1, MTI_END, HEADER_END)
    bits = int(body[MTI_END:HEADER_END], 16)
    if not bits & SECONDARY:
        raise Unparseable(1, MTI_END, "the bit of the secondary bitmap must be set")
    return [number for number in range(2, 129) if bits >> (128 - number) & 1]


def layout_of(table: FieldTable, body: bytes) -> Layout:
    """Look up the MTI. Raises `Unparseable`."""
    if len(body) < MTI_END:
        raise Unparseable(0, len(body), "the message ends within the MTI")
    layout = table.layouts.get(body[:MTI_END].decode("latin-1"))
    if layout is None:
        raise Unparseable(0, 0, "no message type of the scheme")
    return layout


def spans(table: FieldTable, body: bytes) -> Iterator[Span]:
    """Yield each field, in order, as far as the structure can be read; then raise `Unparseable` if it cannot."""
    numbers = numbers_in(body)
    at, end = HEADER_END, len(body)
    for number in numbers:
        field = table.fields.get(number)
        if field is None:
            # its length is unknown, and with it where everything after it lies
            raise Unparseable(number, MTI_END + (number - 1) // 4, "is in the bitmap and not in the field table")
        start = at + field.prefix
        stop = start + (_length(field, body, at) if field.prefix else field.width)
        if stop > end:
            raise Unparseable(number, end, "the message ends within the field")
        if number == MAC_FIELD:
            _check_hex(body, number, start, stop)
        yield Span(field, at, start, stop)
        at = stop
    if numbers[-1:] != [MAC_FIELD]:
        raise Unparseable(MAC_FIELD, HEADER_END - 1, "must be in the bitmap: every message has a MAC")
    if at != end:
        raise Unparseable(MAC_FIELD, at, f"{end - at} bytes are left over after the last field")


def _length(field: Field, body: bytes, at: int) -> int:
    """Read the length prefix."""
    prefix = body[at : at + field.prefix]
    if not prefix.isdigit():
        position = next((i for i in range(at, at + len(prefix)) if body[i] not in DIGITS), len(body))
        raise Unparseable(field.number, position, f"the length must be {field.prefix} digits")
    if len(prefix) < field.prefix:
        raise Unparseable(field.number, len(body), "the message ends within the length")
    width = int(prefix)
    if width > field.width:
        raise Unparseable(field.number, at, f"the length is over the maximum of {field.width}")
    return width


def _check_hex(body: bytes, field: int, start: int, stop: int) -> None:
    for position in range(start, stop):
        if body[position] not in HEX:
            raise Unparseable(field, position, "must be an upper-case hex digit")


class Fault(NamedTuple):
    """A value that is bad, or a mandatory field that is missing."""

    field: int
    position: int
    """Of the first bad byte; of the end of the header when the field is missing."""
    what: str


def fault_of(table: FieldTable, body: bytes, span: Span) -> Fault | None:
    """What is wrong with the value of one field."""
    field, start, end = span.field, span.start, span.end
    allowed = CHARSETS[field.charset]
    for at in range(start, end):
        if body[at] not in allowed:
            return Fault(field.number, at, f"is not allowed in a field of {_WORDS[field.charset]}")
    if field.number in table.nested and start < end:
        value = text_of(body[start:end])
        bad = _first_misnested(value)
        if bad is not None:
            return Fault(field.number, start + bad, "the nested fields do not add up")
    return None


_WORDS = {"digits": "digits", "text": "text", "wide": "text", "hex": "upper-case hex digits"}


def first_fault(table: FieldTable, layout: Layout, body: bytes, found: list[Span]) -> Fault | None:
    """Find the first fault by field number. A mandatory field that is empty, or only spaces, is missing."""
    present = {span.field.number: span for span in found}
    for number in sorted({*present, *layout.mandatory}):
        span = present.get(number)
        if span is not None and (fault := fault_of(table, body, span)) is not None:
            return fault
        if number in layout.mandatory and (span is None or not value_in(body, span)):
            return Fault(number, HEADER_END if span is None else span.position, "is mandatory and missing")
    return None


def value_in(body: bytes, span: Span) -> str:
    """Read the value of a field, without the padding of a fixed one."""
    value = text_of(body[span.start : span.end])
    return value if span.field.prefix or span.field.charset == "digits" else value.rstrip(" ")


def written(table: FieldTable, message: Message) -> bytes:
    """Encode field by field, without DE128. Raises `ValueError`, which names what does not fit and shows nothing."""
    mti = message.mti
    if mti not in table.layouts or message.__class__ is not TYPES[mti]:
        raise ValueError(f"{message.__class__.__name__} is not the type of messages with this MTI")
    bits, parts = SECONDARY | 1, list[bytes]()
    for number, name in table.attributes(mti):
        value: str = getattr(message, name)
        if value:
            bits |= 1 << (128 - number)
            parts.append(_written_field(table, mti, table.fields[number], value))
    return b"%b%032X%b" % (mti.encode("ascii"), bits, b"".join(parts))


def _written_field(table: FieldTable, mti: str, field: Field, value: str) -> bytes:
    where = f"{mti} DE{field.number} ({field.name})"
    try:
        data = bytes_of(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if len(data) > field.width:
        raise ValueError(f"{where}: {len(data)} characters are over the maximum of {field.width}")
    if left := data.translate(None, CHARSETS[field.charset]):
        raise ValueError(
            f"{where}: {len(left)} of {len(data)} characters are not allowed in a field of {field.charset}"
        )
    if field.number in table.nested and not nests(value):
        raise ValueError(f"{where}: the nested fields do not add up")
    if field.prefix:
        return b"%0*d%b" % (field.prefix, len(data), data)
    return data.zfill(field.width) if field.charset == "digits" else data.ljust(field.width)


class Piece(NamedTuple):
    """One tag of a nested field: tag, where its value starts in the field's value, and the value."""

    tag: str
    start: int
    value: str


def pieces(value: str) -> list[Piece]:
    """Take a nested value apart, as far as it can be read."""
    found: list[Piece] = []
    at = 0
    while at < len(value):
        head = value[at : at + 6]
        if len(head) < 6 or not (head.isascii() and head.isdigit()):
            break
        end = at + 6 + int(head[3:])
        if end > len(value):
            break
        found.append(Piece(head[:3], at + 6, value[at + 6 : end]))
        at = end
    return found


def _first_misnested(value: str) -> int | None:
    """Offset of the first tag that does not add up; None when all do."""
    found = pieces(value)
    end = found[-1].start + len(found[-1].value) if found else 0
    return None if end == len(value) else end


# bounded: what comes often ("001003SHA") is looked at once, whatever else comes
@lru_cache(maxsize=256)
def nests(value: str) -> bool:
    """Whether a nested value adds up."""
    return _first_misnested(value) is None
