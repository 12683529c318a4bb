"""Any bytes, in any chunks, through the framer, for every kind of header."""

import itertools

import msgspec

from gateway.config import Wire
from gateway.wire.frame import FrameError, Framer, frame
from tests.fuzz.target import Dice, Target, pieces

WIRES = [
    msgspec.convert(
        {"header_bytes": width, "header_format": form, "header_inclusive": counted, "frame_bytes_max": most}, Wire
    )
    for width, form, counted, most in itertools.product((2, 4), ("binary", "ascii"), (False, True), (512, 9999))
]


def reference(wire: Wire, data: bytes) -> tuple[list[tuple[int, bytes]], int, bool]:
    """What is in the stream, most simply: (where it begins, body) of each frame, where the rest begins, and whether the
    header there cannot be right.
    """
    frames, at = list[tuple[int, bytes]](), 0
    while len(data) - at >= wire.header_bytes:
        header = data[at : at + wire.header_bytes]
        if wire.header_format == "ascii" and not all(byte in b"0123456789" for byte in header):
            return frames, at, True
        length = int(header) if wire.header_format == "ascii" else int.from_bytes(header, "big")
        length -= wire.header_bytes if wire.header_inclusive else 0
        if not 0 <= length <= wire.frame_bytes_max:
            return frames, at, True
        end = at + wire.header_bytes + length
        if end > len(data):
            break
        frames.append((at, data[at + wire.header_bytes : end]))
        at = end
    return frames, at, False


def run(data: bytes) -> None:
    """Frames or the one error, the same however the bytes were cut; what is framed again is what came."""
    dice = Dice(data)
    wire = dice.pick(WIRES)
    seed = dice.upto(255)
    stream = dice.rest()
    wanted, rest, broken = reference(wire, stream)
    assert b"".join(frame(wire, body) for _, body in wanted) == stream[:rest]
    for chunks in ([stream], pieces(stream, seed), pieces(stream, 0 if len(stream) < 300 else seed + 1)):
        framer, found, said = Framer(wire), list[tuple[float, bytes]](), ""
        starts: list[int] = []
        for number, chunk in enumerate(chunks):
            starts += [number] * len(chunk)
            try:
                found += framer.feed(chunk, float(number))
            except FrameError as error:
                said = str(error)
            if framer.error is None and framer.partial_since is not None:
                assert framer.partial_since == starts[len(starts) - len(framer.unfinished)]
        assert found == [(starts[at], body) for at, body in wanted]
        assert (framer.error is not None) is broken
        if broken:
            assert framer.error is not None
            assert framer.error.position == rest
            assert said in {"", str(framer.error)}
            assert not stream or len(chunks) > 1 or bool(said) is not bool(found)
        else:
            assert framer.unfinished == stream[rest:]
            assert (framer.partial_since is None) is (rest == len(stream))


def samples() -> list[bytes]:
    """Two frames and a half for each header."""
    found = []
    for number, wire in enumerate(WIRES):
        stream = frame(wire, b"9804 A message") + frame(wire, b"") + frame(wire, b"9200 another one") * 2
        found.append(bytes([number, number]) + stream[:-5])
    return found


TARGET = Target(run, samples, words=[b"0004", b"\x00\x04", b"99", b"\x00\x00\x00\x05"])
