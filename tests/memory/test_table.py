"""Names and a few bytes about each: the same as a dictionary, whatever grows, is replaced and is dropped."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.memory import table
from gateway.memory.table import Table

NAMES = [f"name {number}" for number in range(60)]
puts = st.tuples(st.just("put"), st.sampled_from(NAMES), st.binary(min_size=3, max_size=3), st.integers(0, 5))
drops = st.tuples(st.just("drop"), st.just(""), st.just(b""), st.integers(0, 5))


@pytest.fixture(autouse=True, scope="module")
def small_buckets() -> Iterator[None]:
    """So that little is enough to make many of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "_BUCKET_ENTRIES", 2)
        yield


@given(st.lists(st.one_of(puts, puts, puts, drops), max_size=200))
def test_it_is_a_dictionary(events: list[tuple[str, str, bytes, int]]) -> None:
    """Of names to values and marks, from which all of a mark are dropped; a mark may be used again at once."""
    kept, plain = Table(3), dict[str, tuple[bytes, int]]()
    for what, name, value, mark in events:
        if what == "put":
            kept.put(name, value, mark)
            plain[name] = value, mark
        else:
            kept.drop(mark)
            plain = {name: found for name, found in plain.items() if found[1] != mark}
        assert len(kept) == len(plain)
        for known in NAMES:
            assert kept.get(known) == plain.get(known)


def test_every_name_is_found_however_much_it_grows() -> None:
    kept = Table(4)
    for number in range(5000):
        kept.put(str(number), number.to_bytes(4), number % 7)
    assert len(kept) == 5000
    for number in range(5000):
        assert kept.get(str(number)) == (number.to_bytes(4), number % 7)
    assert kept.get("5000") is None


def test_growing_moves_a_bucket_at_a_time_and_no_bucket_becomes_long() -> None:
    """So no growth is a pause, and no search takes long."""
    kept = Table(4)
    for number in range(5000):
        before = {id(bucket): bucket for bucket in kept._buckets}
        kept.put(str(number), bytes(4), 0)
        assert sum(id(bucket) not in before for bucket in kept._buckets) <= 3, "its own, and two halves"
    assert len(kept._buckets) == 5000 // table._BUCKET_ENTRIES
    assert max(map(len, kept._buckets)) <= 10 * table._BUCKET_ENTRIES * kept._width


def test_what_is_dropped_leaves_a_bucket_at_a_time() -> None:
    """And it is as good as gone from the first moment."""
    kept = Table(1)
    for number in range(1000):
        kept.put(str(number), b"v", number % 2)
    kept.drop(0)
    assert len(kept) == 500
    assert kept.get("0") is None
    entries = kept._entries
    for _ in range(len(kept._buckets)):
        kept.put("1", b"w", 1)
        left, entries = entries - kept._entries, kept._entries
        assert left <= 10 * table._BUCKET_ENTRIES
    assert entries == len(kept) == 500
    assert kept.get("1") == (b"w", 1)
    assert kept.get("999") == (b"v", 1)


def test_what_is_put_again_after_its_mark_was_dropped_stays() -> None:
    kept = Table(1)
    for number in range(100):
        kept.put(str(number), b"v", 0)
    kept.drop(0)
    for number in range(0, 100, 2):
        kept.put(str(number), b"w", 1)
    assert [kept.get(str(number)) for number in range(100)] == [(b"w", 1), None] * 50
    assert len(kept) == 50


def test_an_entry_that_looks_like_another_name_inside_is_not_that_name() -> None:
    """The search runs over whole buckets: what it finds counts only where an entry begins."""
    kept = Table(16)
    kept.put("one", table._digest("other"), 0)
    assert kept.get("other") is None
    kept.put("other", b"the other's own!", 0)
    assert kept.get("other") == (b"the other's own!", 0)
    kept.put("other", b"and another one.", 1)
    assert kept.get("other") == (b"and another one.", 1)
    assert kept.get("one") == (table._digest("other"), 0)
    assert len(kept) == 2


def test_no_name_can_be_read_from_it() -> None:
    kept = Table(1)
    kept.put("A NAME", b"v", 0)
    assert b"A NAME" not in b"".join(kept._buckets)
    assert repr(kept) == "<Table of 1>"


def test_a_value_of_another_width_is_not_taken() -> None:
    """It would shear all entries behind it."""
    with pytest.raises(ValueError, match="shear"):
        Table(3).put("name", b"four", 0)
