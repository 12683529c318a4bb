"""The layout of a record, a mark and a header: what goes in comes out, and nothing else does."""

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.journal.record import (
    HEAD,
    HEADER_BYTES,
    VERSION_MAX,
    Damage,
    Header,
    Mark,
    Unknown,
    chained,
    find_mark,
    header_bytes,
    mark_at,
    mark_bytes,
    read_header,
    read_records,
)
from gateway.payments.steps import Kind

JOURNAL = b"J" * 16
CHAIN = b"C" * 16
RECORD = st.tuples(
    st.sampled_from(Kind),
    st.text(max_size=60),
    st.binary(max_size=2000),
    st.integers(0, 2**32 - 1),
    st.integers(-(2**63), 2**63 - 1),
)
Fields = tuple[Kind, str, bytes, int, int]


def written(fields: list[Fields], first: int = 1) -> bytes:
    """The records, with the chain value before them in front."""
    data = chain = CHAIN
    for position, (kind, fpid, body, link, time_ns) in enumerate(fields, first):
        name = fpid.encode()
        head = HEAD.pack(HEAD.size + len(name) + len(body) + 16, position, time_ns, link, kind, len(name), 0)
        chain = chained(chain, head + name + body)
        data += head + name + body + chain
    return data


@given(st.lists(RECORD, max_size=20), st.integers(1, 2**60))
def test_what_was_written_is_read(fields: list[Fields], first: int) -> None:
    """Every record comes back as it went in, with its position and the chain value that a seal would sign."""
    data = written(fields, first)
    records = read_records(data, 16, len(data), 0, first)
    assert [(r.kind, r.fpid, r.body, r.link, r.time_ns) for r in records] == fields
    assert [r.position for r in records] == list(range(first, first + len(fields)))
    if records:
        assert records[-1].chain == data[-16:]


def test_a_record_says_where_everything_is() -> None:
    """The bytes of a record are those of the prose in the package's docstring, field by field."""
    data = written([(Kind.STOOD_IN, "AB", b"body", 7, 9)], 3)[16:]
    assert data[:4] == (50).to_bytes(4, "little")
    assert data[4:12] == (3).to_bytes(8, "little")
    assert data[12:20] == (9).to_bytes(8, "little")
    assert data[20:24] == (7).to_bytes(4, "little")
    assert data[24:28] == bytes([3, 2, 0, 0])
    assert data[28:34] == b"ABbody"
    assert data[34:] == blake2b(CHAIN + data[:34], digest_size=16).digest()


@given(st.lists(RECORD, min_size=1, max_size=4), st.data())
def test_any_changed_bit_is_found(fields: list[Fields], data: st.DataObject) -> None:
    """Not one bit of a record, nor of the chain value before it, can change unseen."""
    good = written(fields)
    bit = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damage):
        read_records(bytes(bad), 16, len(bad), 0, 1)


@given(st.lists(RECORD, min_size=1, max_size=4), st.data())
def test_a_cut_record_is_damage(fields: list[Fields], data: st.DataObject) -> None:
    """A batch that ends anywhere but at the end of a record does not read."""
    good = written(fields)
    ends = {16}
    while (last := max(ends)) < len(good):
        ends.add(last + int.from_bytes(good[last : last + 4], "little"))
    stop = data.draw(st.integers(17, len(good)).filter(lambda at: at not in ends))
    with pytest.raises(Damage) as caught:
        read_records(good[:stop], 16, stop, 1000, 1)
    assert caught.value.offset == 1000 + max(end for end in ends if end < stop)


def test_a_position_out_of_order_is_damage() -> None:
    """A record that was whole and right elsewhere is not right here."""
    data = written([(Kind.TOLD, "", b"", 0, 0)], first=5)
    with pytest.raises(Damage, match="position is 5"):
        read_records(data, 16, len(data), 0, 4)


def test_a_kind_from_the_future_is_refused() -> None:
    """A record that we do not understand is not one that we may skip."""
    head = HEAD.pack(44, 1, 0, 0, 200, 0, 0)
    data = CHAIN + head + chained(CHAIN, head)
    with pytest.raises(Unknown, match="kind 200"):
        read_records(data, 16, len(data), 0, 1)


@given(st.integers(0, 2**20), st.integers(1, 2**60), st.integers(0, 2**32 - 1), st.binary(max_size=100))
def test_a_mark_is_found_wherever_it_lies(size: int, first: int, count: int, before: bytes) -> None:
    """Only a mark of this journal is a mark, and it is found among other bytes."""
    mark = mark_bytes(JOURNAL, size, first, count, CHAIN) + CHAIN
    data = before + mark + b"after"
    assert find_mark(data, 0, JOURNAL) == len(before)
    assert mark_at(data, len(before), JOURNAL) == Mark(size, first, count, CHAIN)
    assert find_mark(data, 0, b"another journal!") == -1
    assert find_mark(data, len(before) + 1, JOURNAL) == -1


def test_any_changed_bit_of_a_mark_is_found() -> None:
    """Not one bit of a mark can change unseen."""
    mark = mark_bytes(JOURNAL, 100, 7, 2, CHAIN) + CHAIN
    for bit in range(len(mark) * 8):
        bad = bytearray(mark)
        bad[bit // 8] ^= 1 << bit % 8
        assert mark_at(bytes(bad), 0, JOURNAL) is None


def test_a_header_is_read_or_refused() -> None:
    """A header comes back as it went in; one changed bit is found; a newer format is refused, not guessed at."""
    header = Header(3, 65536, 17, 5, JOURNAL, CHAIN)
    page = header_bytes(header)
    assert len(page) == HEADER_BYTES
    assert read_header(page) == header
    for bit in range(0, len(page) * 8, 3):
        bad = bytearray(page)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises((Damage, Unknown)):
            read_header(bytes(bad))
    newer = VERSION_MAX + 1
    with pytest.raises(Unknown, match=f"format version {newer}"):
        read_header(header_bytes(Header(3, 65536, 17, 5, JOURNAL, CHAIN, version=newer)))
    with pytest.raises(Damage, match="cut off"):
        read_header(page[:100])
