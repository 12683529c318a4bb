"""Walks through a message field by field, by the table: finds its structure, and each place that is bad.

This is the law and the words: slow (some tens of microseconds) and exact. `plan` is the fast way to the same result.
Positions count bytes from the first byte of the MTI. No error here shows content, not even a length that was read: in a
message that is out of step, the digits read as a length may be part of an account number.
"""

import codecs
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

from gateway.errors import HubFault
from gateway.wire.fields import CHARSETS, DIGITS, HEX, MAC_FIELD, RULED, UNDEFINED, Field, FieldTable, Layout
from gateway.wire.message import TYPES, Message
from gateway.wire.values import is_blank

MTI_END = 4
HEADER_END = 36
"""MTI and both bitmaps: the fields begin here."""
PROCESSING_CODE = 3
SECONDARY = 1 << 127
"""Bit 1 of the bitmap: the secondary bitmap is there (always)."""

# A byte that windows-1252 leaves undefined stands for itself, so that each byte is one character. No charset allows it.
_CHARACTERS = "".join(chr(byte) if byte in UNDEFINED else bytes([byte]).decode("windows-1252") for byte in range(256))
_ENCODING = codecs.charmap_build(_CHARACTERS)


class Unparseable(HubFault):
    """The structure cannot be read, or a reply cannot be made: the gateway answers with a 9624/650."""

    def __init__(self, field: int, position: int, what: str) -> None:
        super().__init__(f"{_name_of(field, position)} at byte {position}: {what}")
        self.field = field
        """Number of the data element; 0 in the MTI, 1 in the bitmaps."""
        self.position = position
        """The byte that is bad, counted from the first byte of the MTI."""
        self.what = what


def _name_of(field: int, position: int) -> str:
    if field > 1:
        return f"DE{field}"
    return "MTI" if field == 0 and position < MTI_END else "bitmap" if position < HEADER_END else "message"


def text_of(data: bytes) -> str:
    """Decode windows-1252: one character for each byte, whatever the byte."""
    if data.isascii():
        return data.decode("ascii")
    return codecs.charmap_decode(data, "strict", _CHARACTERS)[0]


def bytes_of(text: str) -> bytes:
    """Encode what `text_of` decodes. Raises `ValueError`, which does not show the text."""
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
    """The first byte of the field: of its length prefix, if it has one."""
    start: int
    """The first byte of the value."""
    end: int


def numbers_in(body: bytes) -> list[int]:
    """The fields that the bitmaps announce, ascending, without 1. Raises `Unparseable` when they cannot be read."""
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
    """Yield each field in order, as far as the structure can be read. Raises `Unparseable` where it cannot."""
    numbers = numbers_in(body)
    at, end = HEADER_END, len(body)
    for number in numbers:
        field = table.fields.get(number)
        if field is None:
            # its length is unknown, and so are the places of all fields behind it
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


class Misfit(NamedTuple):
    """Why a value does not fit its field."""

    kind: Literal["width", "characters", "nested", "rule"]
    at: int
    """The first bad byte, counted from the start of the value."""


def misfit(table: FieldTable, field: Field, value: bytes, *, ruled: bool) -> Misfit | None:
    """The law of one value, in either direction. `ruled`: the message is one of `RULED`: the rule counts."""
    if len(value) > field.width:
        return Misfit("width", field.width)
    allowed = CHARSETS[field.charset]
    if value.translate(None, allowed):
        return Misfit("characters", next(at for at, byte in enumerate(value) if byte not in allowed))
    text = unpadded(field, text_of(value))
    if not text:
        return None  # an empty value is a fault only where the field is mandatory
    if field.number in table.nested and (bad := _first_misnested(text)) is not None:
        return Misfit("nested", bad)
    if ruled and field.rule is not None and not field.rule.holds(text):
        return Misfit("rule", 0)
    return None


class FieldFault(NamedTuple):
    """A value that is bad, or a field that is missing."""

    field: int
    position: int
    """The first bad byte; the end of the header when the field is missing."""
    what: str
    missing: bool = False


def faults_of(table: FieldTable, layout: Layout, body: bytes, found: list[Span]) -> Iterator[FieldFault]:
    """Every fault, by field number. DE44 names the first."""
    spans_by_number = {span.field.number: span for span in found}
    values = {number: value_in(body, span) for number, span in spans_by_number.items()}
    lacking = dict(missing(table, layout, values))
    for number in sorted({*spans_by_number, *lacking}):
        span = spans_by_number.get(number)
        fault = fault_of(table, body, span, ruled=layout.mti in RULED) if span is not None else None
        if fault is not None:
            yield fault
        elif number in lacking:
            yield FieldFault(number, HEADER_END if span is None else span.position, lacking[number], missing=True)


def fault_of(table: FieldTable, body: bytes, span: Span, *, ruled: bool) -> FieldFault | None:
    """The fault of one field's value, or None."""
    field, start = span.field, span.start
    bad = misfit(table, field, body[start : span.end], ruled=ruled)
    if bad is None:
        return None
    if bad.kind == "rule":
        assert field.rule is not None
        what = field.rule.words
    elif bad.kind == "nested":
        what = "the nested fields do not add up"
    else:  # a value that was read is never too wide
        what = f"is not allowed in a field of {_WORDS[field.charset]}"
    return FieldFault(field.number, start + bad.at, what)


_WORDS = {"digits": "digits", "text": "text", "wide": "text", "hex": "upper-case hex digits"}


def missing(table: FieldTable, layout: Layout, values: Mapping[int, str]) -> Iterator[tuple[int, str]]:
    """The mandatory fields that are missing, each with the reason why it is mandatory.

    In a payment request a field of nothing but spaces is missing, too: nobody can pay to a blank account.
    """
    there = {number for number, value in values.items() if value}
    if layout.mti in RULED:
        there = {number for number in there if not is_blank(values[number])}
        for group in table.together:
            if not there.isdisjoint(group):
                yield from ((n, f"is missing: {_others(n, group)} is there") for n in group if n not in there)
        kind = table.types.get(values.get(PROCESSING_CODE, "")[:2])
        if kind is not None:
            yield from ((n, "is missing: this payment type has it") for n in kind.mandatory if n not in there)
    yield from ((number, "is mandatory and missing") for number in layout.mandatory if number not in there)


def _others(number: int, group: tuple[int, ...]) -> str:
    return " or ".join(f"DE{other}" for other in group if other != number)


def value_in(body: bytes, span: Span) -> str:
    """The value of a field, without the padding of fixed text."""
    return unpadded(span.field, text_of(body[span.start : span.end]))


def unpadded(field: Field, value: str) -> str:
    """Remove the padding of fixed text."""
    return value if field.prefix or field.charset == "digits" else value.rstrip(" ")


def written(table: FieldTable, message: Message) -> bytes:
    """Encode field by field, without DE128. Raises `ValueError`, which names the bad field, no content."""
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
    # the value may break a rule: a test must be able to make a bad message
    bad = misfit(table, field, data, ruled=False)
    if bad is not None:
        raise ValueError(f"{where}: {_unfit(field, data)[bad.kind]}")
    if field.prefix:
        return b"%0*d%b" % (field.prefix, len(data), data)
    return data.zfill(field.width) if field.charset == "digits" else data.ljust(field.width)


def _unfit(field: Field, data: bytes) -> dict[str, str]:
    left = len(data.translate(None, CHARSETS[field.charset]))
    return {
        "width": f"{len(data)} characters are over the maximum of {field.width}",
        "characters": f"{left} of {len(data)} characters are not allowed in a field of {field.charset}",
        "nested": "the nested fields do not add up",
    }


class Piece(NamedTuple):
    """One tag of a nested field, with its value and the place in the field where the value starts."""

    tag: str
    start: int
    value: str


def pieces(value: str) -> list[Piece]:
    """Split a nested value into its tags, as far as it can be read."""
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
    """Offset of the first tag whose length is wrong; None when all are right."""
    found = pieces(value)
    end = found[-1].start + len(found[-1].value) if found else 0
    return None if end == len(value) else end


# bounded: a frequent value ("001003SHA") is checked once
@lru_cache(maxsize=256)
def nests(value: str) -> bool:
    """Whether the lengths in a nested value add up."""
    return _first_misnested(value) is None
