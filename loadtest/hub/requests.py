"""What a sender's 9200 or 9201 says: read fast, without trust.

Messages of one shape (the same bitmaps) have their fixed fields at fixed distances, so each shape is made once into a
list of steps; a request costs one walk over it. Anything unusual is looked at again, slowly, to say which field it is.
What the hub adds on the way (DE15, 29, 99) and what it answers are patched from the same bytes. Pure.
"""

import hashlib
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from gateway.wire.fields import CHARSETS, TEXT, WIDE, FieldTable
from loadtest.hub.keys import MAC_BYTES
from loadtest.ledger.entries import fpid_hash
from loadtest.traffic import iso

SHAPES_MAX = 256
"""Shapes remembered at most; beyond, the memory starts again. Real traffic has a few tens."""

COPIED = (3, 12, 31, 51, 98)
"""The fields that make the FPID and that a 9210 copies: all are needed to tell which payment it is."""
ADDED = (15, 29, 99)
"""Fields that only the hub may write."""

_ANSWER_BITS = 1 << 127 | 1
for _number in (3, 12, 15, 26, 27, 29, 31, 51, 98):
    _ANSWER_BITS |= 1 << (128 - _number)
_ANSWER = b"9210%032X" % _ANSWER_BITS


@lru_cache(maxsize=64)
def _no_day(value: bytes) -> bool:
    try:
        date(int(value[:4]), int(value[4:6]), int(value[6:]))
    except ValueError:
        return True
    return False


def _no_money(value: bytes) -> bool:
    return not value.strip(b"0")


WRONG: dict[int, Callable[[bytes], bool]] = {
    4: _no_money, 5: _no_money, 6: _no_money, 12: _no_day, 49: _no_money, 51: lambda value: value != b"826",
}  # fmt: skip
"""When a value of digits is wrong all the same (docs/protocol.md rulings): by other code than the gateway's."""


class Request(NamedTuple):
    """A request that could be read. Values are bytes as they stand in the message."""

    fpid: bytes
    name: str
    """The FPID's hash, as the books have it."""
    amount: bytes
    """DE6."""
    account: bytes
    """DE35."""
    sent_from: bytes
    """DE42."""
    sent_to: bytes
    """DE95."""
    sender: bytes
    """DE98, eleven characters."""
    digest: bytes
    """Eight bytes over the content: equal for a request and its repeat."""
    fault: int
    """The first field in error; 0: none."""
    key: bytes
    """DE3 and DE12."""
    trn: bytes
    """DE31 with its length."""
    currency: bytes
    """DE51."""
    at_15: int
    """The places of DE15 and DE29."""
    at_99: int
    """The place of DE99."""
    bits: bytes
    """The head of the relayed request without its MTI: the bitmaps with 15, 29 and 99."""

    @property
    def type(self) -> str:
        """The payment type."""
        return self.fpid[18:20].decode()


class _Shape(NamedTuple):
    """How to walk over requests with these bitmaps."""

    steps: tuple[tuple[int, int, bool], ...]
    """Length prefix (0: fixed), width, whether it is digits; neighbours of fixed digits are one step."""
    places: dict[int, tuple[int, int, int]]
    """Field → its step, its distance from there, its width (0: as long as the step)."""
    fault: int
    """The first fault of the bitmaps: a field that is missing, or does not belong there."""
    lacks: dict[bytes, int]
    """Payment type → the first field that payments of it, alone, may not lack."""
    strict: tuple[int, ...]
    """Steps whose values hold no letters but those of the scheme."""
    step_15: int
    step_99: int
    """The steps behind which these fields belong."""
    bits: bytes


class Requests:
    """Reads requests by a field table."""

    def __init__(self, table: FieldTable) -> None:
        self._table = table
        self._shapes: dict[bytes, _Shape] = {}

    def read(self, body: bytes) -> Request:
        """Read a 9200 or 9201. Raises `iso.Unreadable` where the hub would answer 9624/650."""
        shape = self._shapes.get(body[4 : iso.HEAD_BYTES]) or self._shape(body)
        spans, doubtful = _walk(shape.steps, body)
        places = shape.places

        def value(number: int) -> bytes:
            place = places.get(number)
            if place is None:
                return b""
            step, offset, width = place
            start, end = spans[step]
            return body[start + offset : start + offset + width] if width else body[start:end]

        code, sent, trn, currency, sender = value(3), value(12), value(31), value(51), value(98)
        if not trn.strip() or not sender.strip() or not (code + sent + currency).isdigit():
            raise iso.Unreadable("it does not say which payment it is")
        fault = shape.fault or shape.lacks.get(code[:2], 0)
        if not doubtful and body.translate(None, TEXT):
            # letters of windows-1252 are for names, addresses and references
            strict = b"".join([body[spans[step][0] : spans[step][1]] for step in shape.strict])
            doubtful = bool(strict.translate(None, TEXT) or body.translate(None, WIDE))
        if doubtful or any(wrong(said) for number, wrong in WRONG.items() if (said := value(number))):
            fault = self._first_fault(body, fault)
        fpid = trn.ljust(18) + code[:2] + sent + currency + sender
        return Request(
            fpid, fpid_hash(fpid.decode(iso.TEXT)),
            value(6), value(35), value(42), value(95), sender,
            hashlib.blake2b(body[4:-MAC_BYTES], digest_size=8).digest(),
            fault, code + sent, b"%02d%b" % (len(trn), trn), currency,
            spans[shape.step_15][1], spans[shape.step_99][1], shape.bits,
        )  # fmt: skip

    def _shape(self, body: bytes) -> _Shape:
        table = self._table
        head = body[4 : iso.HEAD_BYTES]
        try:
            bits = int(head, 16)
        except ValueError:
            raise iso.Unreadable("the bitmaps are not hex") from None
        if head != b"%032X" % bits or not bits >> 127 or not bits & 1:
            raise iso.Unreadable("the bitmaps are not upper-case, or the secondary or DE128 is missing")
        numbers = [number for number in range(2, 128) if bits & (1 << (128 - number))]
        if unknown := [number for number in numbers if number not in table.fields]:
            raise iso.Unreadable(f"DE{unknown[0]} is not in the table")
        if lacking := [number for number in COPIED if number not in numbers]:
            raise iso.Unreadable(f"DE{lacking[0]} is missing")
        steps: list[tuple[int, int, bool]] = []
        places: dict[int, tuple[int, int, int]] = {}
        last = 0
        for number in numbers:
            field = table.fields[number]
            digits = field.charset == "digits"
            # a step must end where a field of the hub's is put in
            between = any(last < added < number for added in ADDED)
            if steps and not field.prefix and digits and steps[-1][0] == 0 and steps[-1][2] and not between:
                offset = steps[-1][1]
                steps[-1] = (0, offset + field.width, True)
                places[number] = (len(steps) - 1, offset, field.width)
            else:
                steps.append((field.prefix, field.width, digits and not field.prefix))
                places[number] = (len(steps) - 1, 0, 0 if field.prefix else field.width)
            last = number
        missing = [number for number in table.layouts["9200"].mandatory if number not in numbers]
        wrong = sorted([*missing, *(number for number in ADDED if number in numbers)])
        lacks = {
            code.encode(): lacking[0]
            for code, kind in table.types.items()
            if (lacking := [number for number in kind.mandatory if number not in numbers])
        }
        for number in ADDED:
            bits |= 1 << (128 - number)
        shape = _Shape(
            tuple(steps), places, wrong[0] if wrong else 0, lacks,
            tuple(place[0] for number, place in places.items() if table.fields[number].charset == "text"),
            max(places[number][0] for number in numbers if number <= 15),
            max(places[number][0] for number in numbers if number <= 99),
            b"%032X" % bits,
        )  # fmt: skip
        if len(self._shapes) >= SHAPES_MAX:
            self._shapes.clear()
        self._shapes[head] = shape
        return shape

    def _first_fault(self, body: bytes, fault: int) -> int:
        """The first field with a bad value, or `fault` when that comes before it."""
        table = self._table
        bits = int(body[4 : iso.HEAD_BYTES], 16)
        mandatory = table.layouts["9200"].mandatory
        at = iso.HEAD_BYTES
        for number in range(2, 128):
            if fault == number:
                return fault
            if not bits & (1 << (128 - number)):
                continue
            field = table.fields[number]
            width = int(body[at : at + field.prefix]) if field.prefix else field.width
            at += field.prefix
            value = body[at : at + width]
            at += width
            if value.translate(None, CHARSETS[field.charset]) or (number in mandatory and not value.strip()):
                return number
            if number in WRONG and WRONG[number](value):
                return number
        return fault

    # --- what is made of it

    @staticmethod
    def passed_on(body: bytes, request: Request, settlement: bytes, de99: bytes) -> bytes:
        """The same request as its receiver gets it, up to DE128. `settlement` is DE15 and DE29, `de99` with length."""
        return b"".join(
            [
                b"9200", request.bits, body[iso.HEAD_BYTES : request.at_15], settlement,
                body[request.at_15 : request.at_99], de99, body[request.at_99 : -MAC_BYTES],
            ]
        )  # fmt: skip

    def answer(
        self,
        request: Request,
        code: str,
        asynchronous: str,
        settlement: bytes,
        *,
        field: str = "",
        redirection: tuple[str, str] | None = None,
    ) -> bytes:
        """The 9210 that the sender gets, up to DE128. `asynchronous` is DE27."""
        key, sender = request.key, request.sender
        if not field and redirection is None:
            return b"%b%b%b%b%b%b%b%b%b" % (
                _ANSWER, key, settlement[:8], code.encode(), asynchronous.encode(), settlement[8:], request.trn,
                request.currency, sender,
            )  # fmt: skip
        fields: iso.Fields = {
            3: key[:6].decode(), 12: key[6:].decode(), 15: settlement[:8].decode(), 26: code, 27: asynchronous,
            29: settlement[8:].decode(), 31: request.trn[2:].decode(iso.TEXT), 51: request.currency.decode(),
            98: sender.decode(iso.TEXT),
        }  # fmt: skip
        if field:
            fields[44] = field
        if redirection is not None:
            fields[57], fields[58] = redirection
        return iso.write(self._table, "9210", fields)


def _walk(steps: tuple[tuple[int, int, bool], ...], body: bytes) -> tuple[list[tuple[int, int]], bool]:
    """Where each step's value is, and whether a value deserves a second look. Raises `iso.Unreadable`."""
    at, doubtful = iso.HEAD_BYTES, False
    spans: list[tuple[int, int]] = []
    for prefix, width, digits in steps:
        start = at + prefix
        if prefix:
            length = body[at:start]
            if not length.isdigit() or (held := int(length)) > width:
                raise iso.Unreadable(f"a bad length at {at}")
            at = start + held
            doubtful |= not held
        else:
            at += width
            doubtful |= digits and not body[start:at].isdigit()
        spans.append((start, at))
    if at + MAC_BYTES != len(body):
        raise iso.Unreadable(f"{len(body) - at - MAC_BYTES} bytes after the last field")
    return spans, doubtful
