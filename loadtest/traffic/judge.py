"""Is this response what the scheme asks for? Bytes in, what they say and what is wrong with them out.

Whose bytes they are, by the MAC, was found out before.

Almost every response has one layout: no DE44 and a TRN of eighteen characters, 104 bytes. That one is cut at fixed
places; every other goes through `iso.read`. Both ways lead to the same `Heard`.
"""

from typing import NamedTuple

from gateway.wire import codes
from gateway.wire.fields import FieldTable
from loadtest.traffic import iso

QUALIFIED = frozenset(codes.built_in().qualified)
"""Accepts with a qualification: stand-in's, and a processor's that says so itself."""
RECEIVER_CODES = QUALIFIED | codes.built_in().accepted.keys() | codes.built_in().receiver.keys()
"""What a receiver may say in DE26 of a 9210."""

_PLAIN_BYTES = 104
_PLAIN_BITMAPS = b"A010004200002000000000004000000" + b"1"
"""DE3 12 26 31 51 98 128 and the secondary bitmap."""


class Heard(NamedTuple):
    """What a 9210 or 9430 says. `key` is DE3 and DE12, `tail` DE51 and DE98, as their bytes stand in a message."""

    fpid: bytes
    """As the fields of the response make it: that of the request when they are copied."""
    code: str
    field: str
    key: bytes
    tail: bytes


class Judge:
    """Reads what a participant sends in answer to the hub."""

    def __init__(self, table: FieldTable) -> None:
        self._table = table
        self._codes = {code.encode(): code for code in RECEIVER_CODES}

    def response(self, body: bytes) -> Heard:
        """Read a 9210 or 9430, whose MAC was checked. Raises `iso.Unreadable` with the place."""
        if len(body) == _PLAIN_BYTES and body[4:36] == _PLAIN_BITMAPS and body[54:56] == b"18":
            code = self._codes.get(body[50:54])
            if code is not None:
                tail = body[74:88]
                return Heard(body[56:74] + body[36:38] + body[42:50] + tail, code, "", body[36:50], tail)
        _, fields = iso.read(self._table, body)
        missing = [number for number in (3, 12, 26, 31, 51, 98) if number not in fields]
        if missing:
            raise iso.Unreadable(f"DE{missing[0]} is missing")
        extra = fields.keys() - {3, 12, 26, 31, 44, 51, 98, 128}
        if extra:
            raise iso.Unreadable(f"DE{min(extra)} does not belong there")
        code = fields[26]
        if code not in RECEIVER_CODES:
            raise iso.Unreadable(f"DE26: no receiver says {code}")
        end = fields[51] + fields[98].ljust(11)
        return Heard(
            (fields[31].ljust(18) + fields[3][:2] + fields[12] + end).encode(iso.TEXT),
            code,
            fields.get(44, ""),
            (fields[3] + fields[12]).encode(iso.TEXT),
            end.encode(iso.TEXT),
        )

    def management(self, body: bytes) -> iso.Fields:
        """Read a management message, whose MAC was checked. Raises `iso.Unreadable`."""
        _, fields = iso.read(self._table, body)
        for number in (7, 11, 24):
            if number not in fields:
                raise iso.Unreadable(f"DE{number} is missing")
        return fields
