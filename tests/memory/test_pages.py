"""Texts, one behind the other: each is read as it was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.memory.pages import PAGE_BYTES, TEXT_BYTES_MAX, Pages

LENGTHS = st.one_of(st.integers(0, 300), st.integers(TEXT_BYTES_MAX - 5, TEXT_BYTES_MAX))


@given(st.lists(LENGTHS, max_size=12))
def test_what_is_written_is_read(lengths: list[int]) -> None:
    """However the texts fall on the pages."""
    pages = Pages()
    texts = [bytes([number]) * length for number, length in enumerate(lengths)]
    places = [pages.write(text) for text in texts]
    assert [pages.read(place) for place in places] == texts
    assert len(set(places)) == len(texts)


def test_a_text_that_is_too_long_is_not_taken() -> None:
    with pytest.raises(ValueError, match="too long"):
        Pages().write(bytes(TEXT_BYTES_MAX + 1))


def test_pages_go_one_at_a_time() -> None:
    pages = Pages()
    for _ in range(3 * (PAGE_BYTES // (TEXT_BYTES_MAX + 2))):
        pages.write(bytes(TEXT_BYTES_MAX))
    assert [pages.shed() for _ in range(3)] == [True, True, False]
