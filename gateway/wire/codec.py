"""Decodes and encodes messages by the field table, and computes the FPID and the digest of a message.

`Codec` is the door: it keeps the compiled plans and falls back to `walk`. It keeps nothing of any message.

The codec accepts a field that is in the table but unusual for its MTI: an additional field is no reason to refuse a
payment. It checks the characters of such a field like any other, gives it no attribute and leaves it in `body`, where
the archive may want it. A field that is present and empty (length 00, or only spaces) counts as absent. That is a fault
where the field is mandatory. Payment requests must also keep the rules of `values`; submissions must keep the same
rules, which `fits` checks. `content_digest` covers the bytes, so an absent field and an empty one differ in it.
"""

import hashlib
from typing import Any

from gateway.wire import codes, plan, walk
from gateway.wire.codes import Codes
from gateway.wire.explain import Part, explain
from gateway.wire.fields import HEX, MAC_FIELD, MAC_WIDTH, FieldTable, load
from gateway.wire.message import (
    TYPES,
    Advice,
    Message,
    PaymentRequest,
    PaymentResponse,
    ReversalRequest,
    ReversalResponse,
)
from gateway.wire.walk import HEADER_END, MTI_END, Unparseable

__all__ = ["Codec", "Part", "Unparseable", "fpid_of", "join_mac", "split_mac"]

PLANS_MAX = 256
"""Compiled plans kept at most, some 20 KiB each. Real traffic has a few tens of shapes. The oldest makes room."""
SIGHTS_MIN = 8
"""Messages of one shape after which the shape is compiled. Compiling costs a millisecond, slow decoding a tenth of it:
a sender gains nothing by a new shape for each message."""
SIGHTS_MAX = 2048
"""Shapes counted at most; beyond, counting starts again."""

IGNORED = (15, 29)
"""Fields that the hub adds on the way, and that may differ between a payment and its repeat (docs/protocol.md section
6)."""


class Codec:
    """Decodes and encodes by one field table. One thread at a time may use it."""

    def __init__(self, table: FieldTable | None = None, action_codes: Codes | None = None) -> None:
        """None stands for the built-in table."""
        self.table = load() if table is None else table
        self.action_codes = codes.built_in() if action_codes is None else action_codes
        """The meanings of DE26, for the users of the codec. Decoding and encoding do not need them."""
        self._readers: dict[bytes, plan.Reader] = {}
        self._cuts: dict[bytes, _Cut] = {}
        self._sights: dict[bytes, int] = {}
        self._writers: dict[str, plan.Writer] = {}
        self.fits = plan.fitting(self.table, "9200")
        """True when a 9200 built here certainly encodes without loss and breaks no rule. False is only a doubt."""
        self._respond_payment = plan.responder(self.table, "9210", self._cannot_respond)
        self._respond_reversal = plan.responder(self.table, "9430", self._cannot_respond)

    def decode(self, body: bytes) -> Message:
        """Decode one message. Raises `Unparseable`, and nothing else, when its structure cannot be read."""
        reader = self._readers.get(body[:HEADER_END])
        return self._unplanned(body) if reader is None else reader(body)

    def encode(self, message: Message) -> bytes:
        """Encode everything that the MAC covers: all but DE128, whose bit is set. Ignores `body`, `fault` and `mac`.

        Digits are padded with zeros, fixed text with spaces. Mandatory fields may be missing: a test must be able to
        make a bad message. Raises `ValueError`, naming the field, when a value does not fit.
        """
        writer = self._writers.get(message.mti)
        if writer is None:
            if message.mti not in TYPES:
                raise ValueError("there is no message type with this MTI")
            writer = plan.writer(self.table, message.mti, self._write_slowly)
            self._writers[message.mti] = writer
        return writer(message)

    def respond(self, request: PaymentRequest | ReversalRequest, action_code: str, field_in_error: str = "") -> bytes:
        """Encode the 9210 to a payment or the 9430 to a reversal, without DE128.

        Copies 3, 12, 31, 51 and 98 from the request, whatever their content. Raises `Unparseable` when one of them is
        missing (the request then gets a 9624/650), and `ValueError` when the code or the field in error has the wrong
        width.
        """
        if request.__class__ is PaymentRequest:
            return self._respond_payment(request, action_code, field_in_error)
        assert request.__class__ is ReversalRequest
        return self._respond_reversal(request, action_code, field_in_error)

    def content_digest(self, message: Message) -> bytes:
        """Eight bytes over the content, equal for a message and its repeat (docs/protocol.md section 6).

        The content is everything but the last digit of the MTI, DE15, DE29 and DE128, whether or not those are present.
        A message built here has the digest of its encoding.
        """
        body = message.body
        if not body:
            body = join_mac(self.encode(message), bytes(8))
        cut = self._cuts.get(body[:HEADER_END])
        if cut is None:
            cut = self._cut(body)
        head, ranges = cut
        content = head + b"".join([body[start:end] for start, end in ranges]) if len(ranges) > 1 else head
        if len(ranges) == 1:
            content += body[ranges[0][0] : ranges[0][1]]
        return hashlib.blake2b(content, digest_size=8, person=b"fps-content").digest()

    def explain(self, body: bytes) -> list[Part]:
        """List every field that can be read, then the place where the message is bad, if any. Never raises."""
        return explain(self.table, body)

    def _unplanned(self, body: bytes) -> Message:
        """Decode slowly, and compile a plan once this shape has come often enough."""
        message = self._read_slowly(body)
        header = body[:HEADER_END]
        sights = self._sights.get(header, 0) + 1
        if sights < SIGHTS_MIN:
            if len(self._sights) >= SIGHTS_MAX:
                self._sights.clear()
            self._sights[header] = sights
            return message
        self._sights.pop(header, None)
        if len(self._readers) >= PLANS_MAX:
            oldest = next(iter(self._readers))
            del self._readers[oldest]
            self._cuts.pop(oldest, None)
        numbers = walk.numbers_in(body)
        self._readers[header] = plan.reader(self.table, message.mti, numbers, self._read_slowly, self._fault)
        if all(not self.table.fields[number].prefix for number in numbers if number <= max(IGNORED)):
            # the ignored fields have the same place in all messages of this shape
            self._cuts[header] = self._cut(body, whole=False)
        return message

    def _read_slowly(self, body: bytes) -> Message:
        layout = walk.layout_of(self.table, body)
        found = list(walk.spans(self.table, body))
        fault = next(walk.faults_of(self.table, layout, body, found), None)
        kind = TYPES[layout.mti]
        places = kind.__struct_fields__
        values: dict[str, Any] = {
            span.field.name: walk.value_in(body, span) for span in found if span.field.name in places
        }
        return kind(**{**values, "mti": layout.mti, "body": body, "fault": 0 if fault is None else fault.field})

    def _fault(self, body: bytes) -> int:
        layout = walk.layout_of(self.table, body)
        fault = next(walk.faults_of(self.table, layout, body, list(walk.spans(self.table, body))), None)
        return 0 if fault is None else fault.field

    def _write_slowly(self, message: Message) -> bytes:
        return walk.written(self.table, message)

    def _cannot_respond(self, request: Message, action_code: str, field_in_error: str) -> bytes:
        """Raise the error that says why."""
        for number in plan.COPIED:
            if not getattr(request, self.table.fields[number].name):
                raise Unparseable(number, HEADER_END, "is missing, and the reply would copy it")
        if len(action_code) != 4 or not (action_code.isascii() and action_code.isdigit()):
            raise ValueError("DE26 (action_code): must be four digits")
        if len(field_in_error) > self.table.fields[44].width:
            raise ValueError("DE44 (field_in_error): too long")
        raise ValueError("a field that the reply copies has a width that no decoded request has")

    def _cut(self, body: bytes, *, whole: bool = True) -> "_Cut":
        """The parts of this body that the digest covers; with `whole` false, of every body of this shape."""
        bits = int(body[MTI_END:HEADER_END], 16)
        ranges, start = [], HEADER_END
        for span in walk.spans(self.table, body):
            if span.field.number in IGNORED:
                bits &= ~(1 << (128 - span.field.number))
                ranges.append((start, span.position))
                start = span.end
        ranges.append((start, len(body) - MAC_WIDTH if whole else -MAC_WIDTH))
        return b"%b%032X" % (body[: MTI_END - 1], bits), [(a, b) for a, b in ranges if a != b]


_Cut = tuple[bytes, list[tuple[int, int]]]
"""The header without the ignored fields, and the ranges of the body that are content."""


def split_mac(body: bytes) -> tuple[bytes, bytes]:
    """Split a message into the part that the MAC covers (all before DE128) and the eight bytes of the MAC.

    Raises `Unparseable` when DE128 is not sixteen upper-case hex digits.
    """
    mac = body[-MAC_WIDTH:]
    if len(body) < HEADER_END + MAC_WIDTH or mac.translate(None, HEX):
        raise Unparseable(MAC_FIELD, max(len(body) - MAC_WIDTH, 0), f"must be {MAC_WIDTH} upper-case hex digits")
    return body[:-MAC_WIDTH], bytes.fromhex(mac.decode("ascii"))


def join_mac(covered: bytes, mac: bytes) -> bytes:
    """Append DE128 to the part that it covers. Raises `ValueError` when the MAC is not eight bytes."""
    if len(mac) != MAC_WIDTH // 2:
        raise ValueError(f"a MAC is {MAC_WIDTH // 2} bytes")
    return covered + mac.hex().upper().encode("ascii")


def fpid_of(message: PaymentRequest | PaymentResponse | ReversalRequest | ReversalResponse | Advice) -> str:
    """Return the FPID, 42 characters, which a request, its repeats, its reversal and their responses share.

    TRN padded to 18, payment type, DE12, DE51, DE98 padded to 11 (docs/protocol.md section 4, certain). Empty when one
    of them is missing, because nothing then says which payment it is.
    """
    trn, sender = message.trn, message.sender
    if not (trn and sender):
        return ""
    fpid = f"{trn:<18}{message.processing_code[:2]}{message.date_sent}{message.currency}{sender:<11}"
    return fpid if len(fpid) == 42 else ""
