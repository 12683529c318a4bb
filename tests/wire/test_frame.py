"""Framing: every variant of the note, in every chunking."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Wire
from gateway.wire.frame import Frame, FrameError, Framer, frame, framer_of

VARIANTS = [
    variant
    for inclusive in (False, True)
    for variant in (
        Wire(header_inclusive=inclusive),
        Wire(header_bytes=2, header_inclusive=inclusive),
        Wire(header_format="ascii", header_inclusive=inclusive),
    )
]
EVERY = pytest.mark.parametrize(
    "settings", VARIANTS, ids=lambda s: f"{s.header_format}{s.header_bytes}{s.header_inclusive}"
)


def bodies(frames: list[Frame]) -> list[bytes]:
    return [body for _, body in frames]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Wire(), b"\x00\x00\x00\x05hello"),
        (Wire(header_inclusive=True), b"\x00\x00\x00\x09hello"),
        (Wire(header_bytes=2), b"\x00\x05hello"),
        (Wire(header_bytes=2, header_inclusive=True), b"\x00\x07hello"),
        (Wire(header_format="ascii"), b"0005hello"),
        (Wire(header_format="ascii", header_inclusive=True), b"0009hello"),
        (Wire(header_bytes=2, header_format="ascii"), b"05hello"),
        (Wire(header_bytes=2, header_format="ascii", header_inclusive=True), b"07hello"),
    ],
)
def test_header_as_configured(settings: Wire, expected: bytes) -> None:
    """Each variant writes the header that its words say, and reads it back."""
    assert frame(settings, b"hello") == expected
    assert bodies(Framer(settings).feed(expected, 0.0)) == [b"hello"]


@EVERY
@given(
    messages=st.lists(st.binary(max_size=300), max_size=8),
    cuts=st.lists(st.integers(0, 2500)),
    trailing=st.binary(max_size=1),
)
def test_chunking_changes_nothing(settings: Wire, messages: list[bytes], cuts: list[int], trailing: bytes) -> None:
    """However the stream is cut, the same frames come out; bytes of a next frame stay where they are."""
    stream = b"".join(map(framer_of(settings), messages)) + trailing
    whole, cut, single = Framer(settings), Framer(settings), Framer(settings)
    assert bodies(whole.feed(stream, 0.0)) == messages
    edges = sorted({0, len(stream), *(place for place in cuts if place < len(stream))})
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert [body for piece in pieces for body in bodies(cut.feed(piece, 0.0))] == messages
    assert [body for byte in stream for body in bodies(single.feed(bytes([byte]), 0.0))] == messages
    for framer in (whole, cut, single):
        assert framer.error is None
        assert (framer.partial_since is not None) == bool(trailing)


@EVERY
@given(chunks=st.lists(st.binary(max_size=40), max_size=10))
def test_any_bytes_give_frames_or_the_one_error(settings: Wire, chunks: list[bytes]) -> None:
    """Nothing but `FrameError` comes out, in any chunking the same, and frames before it are not lost."""

    def run(pieces: list[bytes]) -> tuple[list[bytes], int | None]:
        framer, found = Framer(settings), list[bytes]()
        for piece in pieces:
            try:
                found += bodies(framer.feed(piece, 0.0))
            except FrameError:
                assert framer.error is not None
                break
        return found, framer.error.position if framer.error else None

    stream = b"".join(chunks)
    assert run(chunks) == run([stream]) == run([bytes([byte]) for byte in stream])


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        (Wire(), b"\x00\x00\x20\x01"),
        (Wire(), b"9200"),
        (Wire(header_bytes=2), b"\xff\xff"),
        (Wire(header_inclusive=True), b"\x00\x00\x00\x03"),
        (Wire(header_format="ascii"), b"00 5"),
        (Wire(header_format="ascii"), b"+005"),
        (Wire(header_format="ascii"), "00²5".encode("windows-1252")),
        (Wire(header_format="ascii"), b"9999"),
        (Wire(header_format="ascii", header_inclusive=True), b"0003"),
    ],
)
def test_bad_header_ends_it(settings: Wire, header: bytes) -> None:
    """Over the limit, no digits, or less than itself: the frames before are returned, then there is only the error."""
    first = frame(settings, b"first")
    framer = Framer(settings)
    assert bodies(framer.feed(first + header + b"rest", 0.0)) == [b"first"]
    assert framer.error is not None
    assert framer.error.position == len(first)
    assert framer.partial_since is None
    with pytest.raises(FrameError):
        framer.feed(b"more", 1.0)
    with pytest.raises(FrameError) as caught:
        Framer(settings).feed(header, 0.0)
    assert caught.value.function_code == "650"


def test_limit_itself_is_allowed() -> None:
    """A frame of exactly the limit passes both ways; one byte more does not leave."""
    settings = Wire(frame_bytes_max=512)
    assert bodies(Framer(settings).feed(frame(settings, bytes(512)), 0.0)) == [bytes(512)]
    with pytest.raises(ValueError, match="513 bytes"):
        frame(settings, bytes(513))


def test_header_too_narrow_for_the_limit() -> None:
    """A length that the header cannot hold is refused, not written wrongly."""
    with pytest.raises(ValueError, match="over the limit of 99"):
        frame(Wire(header_bytes=2, header_format="ascii"), bytes(100))
    with pytest.raises(ValueError, match="over the limit of 65533"):
        frame(Wire(header_bytes=2, header_inclusive=True, frame_bytes_max=65535), bytes(65534))


def test_time_is_that_of_the_first_byte() -> None:
    """A frame's time is when the first byte of its header came, whenever the rest did."""
    settings = Wire()
    one, two, three = (frame(settings, body) for body in (b"one", b"two", b"three"))
    framer, seen = Framer(settings), list[tuple[list[Frame], float | None]]()
    for now_s, chunk in enumerate((one[:1], one[1:5], one[5:] + two + three[:2], three[2:], b"")):
        seen.append((framer.feed(chunk, float(now_s)), framer.partial_since))
    assert seen == [
        ([], 0.0),
        ([], 0.0),
        ([(0.0, b"one"), (2.0, b"two")], 2.0),
        ([(2.0, b"three")], None),
        ([], None),
    ]
