"""Frames as a stream of bytes, in each of the forms that a hub may want."""

from gateway import config
from gateway.wire.frame import frame

BODIES = [b"9200" + bytes([65 + n]) * n * 7 for n in range(30)]

WIRES = [
    config.Wire(),
    config.Wire(header_bytes=2),
    config.Wire(header_format="ascii"),
    config.Wire(header_inclusive=True),
    config.Wire(header_format="ascii", header_inclusive=True),
]


def together(wire: config.Wire, bodies: list[bytes]) -> bytes:
    """Bodies as a stream."""
    return b"".join(frame(wire, body) for body in bodies)
