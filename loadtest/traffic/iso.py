"""Messages and frames as the hub's side reads and writes them, restated from the public facts.

The field table is the gateway's (a specification is data, and a bank's own table must reach the hub too); reading and
writing bytes is not: what the gateway writes is read here by other code. Plain and strict, not fast: the hot path is
`payments` and `judge`.
"""

from struct import Struct as Packer
from typing import Literal

from gateway.wire.fields import FieldTable

Fields = dict[int, str]
"""Field number → value; fixed text without its padding."""

HEAD_BYTES = 36
"""MTI and both bitmaps: 4 + 16 + 16 characters."""
TEXT = "windows-1252"


class Unreadable(Exception):
    """These bytes are no message. Says where."""


def write(table: FieldTable, mti: str, fields: Fields) -> bytes:
    """A message up to and without DE128, whose bit is set. Values are not checked: mischief needs wrong ones."""
    bits = 1 << 127
    for number in (*fields, 128):
        bits |= 1 << (128 - number)
    parts = [f"{mti}{bits:032X}"]
    for number in sorted(fields):
        value, field = fields[number], table.fields[number]
        if field.prefix:
            parts.append(f"{len(value):0{field.prefix}d}{value}")
        else:
            parts.append(value.zfill(field.width) if field.charset == "digits" else value.ljust(field.width))
    return "".join(parts).encode(TEXT)


def read(table: FieldTable, body: bytes) -> tuple[str, Fields]:
    """MTI and fields, DE128 among them. Raises `Unreadable` on anything that is not exactly a message."""
    try:
        bits = int(body[4:HEAD_BYTES], 16)
    except ValueError:
        raise Unreadable("the bitmaps are not hex") from None
    if body[4:HEAD_BYTES] != b"%032X" % bits or not bits >> 127 or not bits & 1:
        raise Unreadable("the bitmaps are not upper-case, or the secondary or DE128 is missing")
    fields: Fields = {}
    at = HEAD_BYTES
    for number in range(2, 129):
        if bits & (1 << (128 - number)):
            field = table.fields.get(number)
            if field is None:
                raise Unreadable(f"DE{number} is not in the table")
            width = field.width
            if field.prefix:
                digits = body[at : at + field.prefix]
                if not digits.isdigit() or int(digits) > width:
                    raise Unreadable(f"DE{number}: a bad length at {at}")
                width, at = int(digits), at + field.prefix
            value = body[at : at + width]
            if len(value) < width or (field.charset == "digits" and not value.isdigit()):
                raise Unreadable(f"DE{number}: a bad value at {at}")
            fields[number] = (
                value.decode(TEXT, "replace") if field.prefix else value.decode(TEXT, "replace").rstrip(" ")
            )
            at += width
    if at != len(body):
        raise Unreadable(f"{len(body) - at} bytes after the last field")
    return body[:4].decode("ascii", "replace"), fields


class Framing:
    """The length header, as configured (docs/protocol.md section 1). `frame` writes; a `Reader` reads."""

    def __init__(
        self, header_bytes: Literal[2, 4] = 4, form: Literal["binary", "ascii"] = "binary", *, inclusive: bool = False
    ) -> None:
        self.header_bytes = header_bytes
        self.form = form
        self.extra = header_bytes if inclusive else 0
        self._packer = Packer(">H" if header_bytes == 2 else ">I")

    def header(self, body_bytes: int) -> bytes:
        """The header of a body of so many bytes."""
        if self.form == "ascii":
            return b"%0*d" % (self.header_bytes, body_bytes + self.extra)
        return self._packer.pack(body_bytes + self.extra)

    def frame(self, body: bytes) -> bytes:
        """Header and body."""
        return self.header(len(body)) + body

    def body_bytes(self, header: bytes) -> int:
        """How many bytes of body follow this header. Raises `Unreadable`."""
        if self.form == "ascii" and not header.isdigit():
            raise Unreadable("a length header that is not digits")
        return (int(header) if self.form == "ascii" else int.from_bytes(header, "big")) - self.extra


FRAME_BYTES_MAX = 8192
"""A participant that announces more than this sends no message of the scheme."""


class Reader:
    """Cuts a stream into bodies. One per connection."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The bodies that this chunk completes. Raises `Unreadable` on a header that cannot be."""
        data = self._rest + chunk if self._rest else chunk
        bodies: list[bytes] = []
        at, header_bytes, end = 0, self._framing.header_bytes, len(data)
        measure = self._framing.body_bytes
        while end - at >= header_bytes:
            body_bytes = measure(data[at : at + header_bytes])
            if not 0 < body_bytes <= FRAME_BYTES_MAX:
                raise Unreadable(f"a frame of {body_bytes} bytes")
            stop = at + header_bytes + body_bytes
            if stop > end:
                break
            bodies.append(data[at + header_bytes : stop])
            at = stop
        self._rest = data[at:]
        return bodies
