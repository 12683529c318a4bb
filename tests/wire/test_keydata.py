"""DE125: what is put together comes apart again, and any other text is refused."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.keydata import KeyData, KeyLayout

ALL = ("use", "wrapped", "check")
LAYOUTS = [
    KeyLayout(parts)
    for parts in (
        ("use:1", "wrapped:*", "check:6"),
        ("check:6", "use:*", "wrapped:48"),
        ("wrapped:48", "check:6", "use:1"),
    )
]
DATA = st.builds(
    KeyData,
    use=st.sampled_from("12"),
    wrapped=st.binary(min_size=24, max_size=24),
    check=st.binary(min_size=3, max_size=3).map(lambda check: check.hex().upper()),
)


@given(st.sampled_from(LAYOUTS), DATA)
def test_what_is_put_together_comes_apart_again(layout: KeyLayout, data: KeyData) -> None:
    """In any order of the parts, with one of any width; hex digits in either case."""
    text = layout.put_together(data, ALL)
    assert layout.take_apart(text, ALL) == layout.take_apart(text.lower(), ALL) == data
    assert layout.take_apart(text + "0", ALL) != data
    short = layout.put_together(data, ("use", "check"))
    assert layout.take_apart(short, ("use", "check")) == KeyData(data.use, b"", data.check)


@given(st.sampled_from(LAYOUTS), st.text(alphabet="0123456789abcdefABCDEF gZ²", max_size=60))
def test_any_text_comes_apart_or_is_refused(layout: KeyLayout, text: str) -> None:
    """Without an error, and only as what would be put together so."""
    data = layout.take_apart(text, ALL)
    if data is not None:
        assert layout.put_together(data, ALL).upper() == text.upper()


def test_it_does_not_show_the_key() -> None:
    """The wrapped key belongs into no log."""
    assert repr(KeyData("1", b"wrapped", "AABBCC")) == "<KeyData>"
