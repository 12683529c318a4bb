"""The hub's own reader is strict: it says where bytes are no message, and cuts frames however they come."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Wire
from gateway.wire.fields import load
from gateway.wire.frame import frame
from loadtest.traffic import iso

TABLE = load()
GOOD = iso.write(TABLE, "9804", {7: "0101120000", 11: "000001", 24: "831"}) + b"0" * 16


def test_what_was_written_is_read() -> None:
    """Fixed digits, fixed text, LL and LLL."""
    fields = {3: "100000", 31: "TRN", 98: "400001", 120: "a: b", 123: "x" * 999}
    assert iso.read(TABLE, iso.write(TABLE, "9200", fields) + b"0" * 16) == ("9200", {**fields, 128: "0" * 16})


BAD = {
    "short": (GOOD[:30], "bitmaps"),
    "lower-case bitmap": (GOOD[:4] + GOOD[4:36].replace(b"0", b"a", 1) + GOOD[36:], "bitmaps"),
    "no secondary": (GOOD[:4] + b"4" + GOOD[5:], "bitmaps"),
    "a field that there is none of": (b"9804" + b"C" + GOOD[5:], "DE2 is not in the table"),
    "not digits": (GOOD[:36] + b"x" + GOOD[37:], "DE7: a bad value at 36"),
    "cut": (GOOD[:-1], "DE128: a bad value at 55"),
    "too long": (GOOD + b"0", "1 bytes after the last field"),
    "a length that is none": (
        iso.write(TABLE, "9200", {31: "T"}).replace(b"01T", b"xxT") + b"0" * 16,
        "DE31: a bad length",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_message_is_refused_with_its_place(case: str) -> None:
    """The place, never the content."""
    body, said = BAD[case]
    with pytest.raises(iso.Unreadable, match=said):
        iso.read(TABLE, body)


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=10),
    st.lists(st.integers(1, 40), min_size=1, max_size=50),
    st.sampled_from([(2, "binary", False), (4, "binary", True), (4, "ascii", False), (4, "ascii", True)]),
)
def test_frames_are_cut_whatever_the_chunks(
    bodies: list[bytes], sizes: list[int], form: tuple[Literal[2, 4], Literal["binary", "ascii"], bool]
) -> None:
    """The gateway's frames, in any chunks, give the bodies that went in."""
    header_bytes, header_format, inclusive = form
    wire = Wire(header_bytes=header_bytes, header_format=header_format, header_inclusive=inclusive)
    framing = iso.Framing(header_bytes, header_format, inclusive=inclusive)
    data = b"".join(frame(wire, body) for body in bodies)
    assert data == b"".join(map(framing.frame, bodies))
    reader, at = iso.Reader(framing), 0
    read: list[bytes] = []
    while at < len(data):
        size = sizes[len(read) % len(sizes)]
        read += reader.feed(data[at : at + size])
        at += size
    assert read == bodies


@pytest.mark.parametrize("header", [b"\x00\x00\x00\x00", b"\x00\x01\x00\x00"])
def test_an_impossible_length_is_refused(header: bytes) -> None:
    """Nothing, or more than any message holds."""
    with pytest.raises(iso.Unreadable, match="a frame of"):
        iso.Reader(iso.Framing()).feed(header)
