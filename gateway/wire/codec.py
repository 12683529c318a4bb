"""Messages from bytes and bytes from messages, by the field table; and what is computed over a message.

`Codec` is the door: it keeps the compiled plans and falls back to `walk`. It holds nothing of any message.

What it accepts. A field of the table that is not usual for an MTI is read and its characters are checked like any
other; it has no attribute and stays in `body` (the archive may want it, and a field more is no reason to refuse a
payment). A field that is there and empty (length 00, or only spaces) counts as absent: a fault where it is mandatory.
The requests of payments are held to the rules for values besides (`values`): the same that a submission is held to, by
`fits`. An absent field and an empty one differ in `content_digest`, which goes by the bytes.
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
"""Compiled plans kept, some 20 KiB each. Real traffic has a few tens of shapes; the oldest gives way."""
SIGHTS_MIN = 8
"""A shape is compiled when it has come so often: compiling costs a millisecond, decoding slowly a tenth of that, so
that whoever sends a new shape with each message gains nothing by it."""
SIGHTS_MAX = 2048
"""Shapes that are counted; then counting begins anew."""

IGNORED = (15, 29)
"""What the hub adds on the way, and may differ between a payment and its repeat (docs/protocol.md section 6)."""


class Codec:
    """Decodes and encodes by one field table. Not for several threads at once."""

    def __init__(self, table: FieldTable | None = None, action_codes: Codes | None = None) -> None:
        """None: the built-in table, of fields or of action codes."""
        self.table = load() if table is None else table
        self.action_codes = codes.built_in() if action_codes is None else action_codes
        """What DE26 says. Here for whoever has a codec: reading and writing need none of it."""
        self._readers: dict[bytes, plan.Reader] = {}
        self._cuts: dict[bytes, _Cut] = {}
        self._sights: dict[bytes, int] = {}
        self._writers: dict[str, plan.Writer] = {}
        self.fits = plan.fitting(self.table, "9200")
        """Whether a 9200 that was built surely says what it means and breaks no rule; what it doubts may be right."""
        self._respond_payment = plan.responder(self.table, "9210", self._cannot_respond)
        self._respond_reversal = plan.responder(self.table, "9430", self._cannot_respond)

    def decode(self, body: bytes) -> Message:
        """Read one message. Raises `Unparseable`, and nothing else, when its structure cannot be read."""
        reader = self._readers.get(body[:HEADER_END])
        return self._unplanned(body) if reader is None else reader(body)

    def encode(self, message: Message) -> bytes:
        """Write everything but DE128, whose bit is set: what the MAC covers. `body`, `fault` and `mac` play no part.

        Digits are padded with zeros, fixed text with spaces. A missing mandatory field is not looked for: a test must
        be able to make a bad message. Raises `ValueError`, naming the field, when a value does not fit.
        """
        writer = self._writers.get(message.mti)
        if writer is None:
            if message.mti not in TYPES:
                raise ValueError("there is no message type with this MTI")
            writer = plan.writer(self.table, message.mti, self._write_slowly)
            self._writers[message.mti] = writer
        return writer(message)

    def respond(self, request: PaymentRequest | ReversalRequest, action_code: str, field_in_error: str = "") -> bytes:
        """Write the 9210 to a payment or the 9430 to a reversal, without DE128.

        3, 12, 31, 51 and 98 are copied from the request whatever is in them. Raises `Unparseable` when one is missing
        (the request then gets a 9624/650), and `ValueError` when code or field in error are of the wrong width.
        """
        if request.__class__ is PaymentRequest:
            return self._respond_payment(request, action_code, field_in_error)
        assert request.__class__ is ReversalRequest
        return self._respond_reversal(request, action_code, field_in_error)

    def content_digest(self, message: Message) -> bytes:
        """Eight bytes over the content: equal for a message and its repeat (docs/protocol.md section 6).

        That is all but the last digit of the MTI, DE15, DE29 and DE128, whether or not those are present. For a message
        that was built here it is the digest of what `encode` makes of it.
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
        """Everything that can be read, then where it is bad, if it is. Never raises."""
        return explain(self.table, body)

    def _unplanned(self, body: bytes) -> Message:
        """Decode slowly, and compile the plan when this shape has come often enough."""
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
            # what is left out lies at the same place in all messages of this shape
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
        """Say why."""
        for number in plan.COPIED:
            if not getattr(request, self.table.fields[number].name):
                raise Unparseable(number, HEADER_END, "is missing, and the reply would copy it")
        if len(action_code) != 4 or not (action_code.isascii() and action_code.isdigit()):
            raise ValueError("DE26 (action_code): must be four digits")
        if len(field_in_error) > self.table.fields[44].width:
            raise ValueError("DE44 (field_in_error): too long")
        raise ValueError("a field that the reply copies has a width that no decoded request has")

    def _cut(self, body: bytes, *, whole: bool = True) -> "_Cut":
        """What the digest covers of this body, or with `whole` false of every body of this shape."""
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
"""The header without what is ignored, and the ranges of the body that are content."""


def split_mac(body: bytes) -> tuple[bytes, bytes]:
    """Split a message into what the MAC covers (MTI to the last byte before DE128) and the eight bytes of the MAC.

    Raises `Unparseable` when DE128 is not sixteen upper-case hex digits.
    """
    mac = body[-MAC_WIDTH:]
    if len(body) < HEADER_END + MAC_WIDTH or mac.translate(None, HEX):
        raise Unparseable(MAC_FIELD, max(len(body) - MAC_WIDTH, 0), f"must be {MAC_WIDTH} upper-case hex digits")
    return body[:-MAC_WIDTH], bytes.fromhex(mac.decode("ascii"))


def join_mac(covered: bytes, mac: bytes) -> bytes:
    """Put DE128 behind what it covers. Raises `ValueError` when the MAC is not eight bytes."""
    if len(mac) != MAC_WIDTH // 2:
        raise ValueError(f"a MAC is {MAC_WIDTH // 2} bytes")
    return covered + mac.hex().upper().encode("ascii")


def fpid_of(message: PaymentRequest | PaymentResponse | ReversalRequest | ReversalResponse | Advice) -> str:
    """Return the FPID, 42 characters, which a request, its repeats, its reversal and their responses share.

    TRN padded to 18, payment type, DE12, DE51, DE98 padded to 11 (docs/protocol.md section 4, certain). Empty when one
    of them is missing: then there is no telling which payment it is.
    """
    trn, sender = message.trn, message.sender
    if not (trn and sender):
        return ""
    fpid = f"{trn:<18}{message.processing_code[:2]}{message.date_sent}{message.currency}{sender:<11}"
    return fpid if len(fpid) == 42 else ""
