"""What a PIN file may hold: what editors and shells leave is no part of the PIN, and nothing is guessed."""

from pathlib import Path

import pytest

from gateway.signer.pin import PIN_BYTES_MAX, NoPin, pin_in, read_pin

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("pin", ["123456", "a pass phrase", "ä€🔑", "x" * 200])
@pytest.mark.parametrize("before", [b"", BOM])
@pytest.mark.parametrize("after", [b"", b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n"])
def test_the_pin_is_the_same_however_it_was_saved(tmp_path: Path, pin: str, before: bytes, after: bytes) -> None:
    """With a byte order mark, with line ends of any kind, without a last one; blanks inside belong to it."""
    path = tmp_path / "pin"
    path.write_bytes(before + pin.encode() + after)
    assert read_pin(path) == pin


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "holds no PIN"),
        (b"\n", "holds no PIN"),
        (BOM + b"\r\n", "holds no PIN"),
        (b" 1234\n", "begins or ends with a blank"),
        (b"1234 \n", "begins or ends with a blank"),
        (b"1234\t", "begins or ends with a blank"),
        ("1234\u00a0".encode(), "begins or ends with a blank"),
        (b"  \n", "begins or ends with a blank"),
        (b"1234\n5678\n", "holds more than one line"),
        (b"\n1234", "holds more than one line"),
        (b"12\r34", "holds more than one line"),
        (b"12\x0034", "holds a character that does not show"),
        (b"12\t34", "holds a character that does not show"),
        ("12\u200b34".encode(), "holds a character that does not show"),
        (BOM + BOM + b"1234", "holds a character that does not show"),
        ("1234".encode("utf-16"), "is UTF-16"),
        (b"\xfe\xff\x001", "is UTF-16"),
        (b"12\xff34", "is no UTF-8"),
        (b"1" * (PIN_BYTES_MAX + 1), "is too long"),
    ],
)
def test_what_may_be_meant_otherwise_is_refused_in_words_that_quote_nothing(raw: bytes, why: str) -> None:
    """Before a token is asked: each wrong try brings it nearer to being locked."""
    with pytest.raises(NoPin, match=why) as refused:
        pin_in(raw)
    assert not any(part in str(refused.value) for part in ("1234", "5678", "12", "34"))


def test_a_file_that_cannot_be_read_is_said_to_be(tmp_path: Path) -> None:
    """By the kind of error, whose text would name the path twice."""
    with pytest.raises(NoPin, match="the PIN file cannot be read: FileNotFoundError"):
        read_pin(tmp_path / "none")
    with pytest.raises(NoPin, match="the PIN file cannot be read: IsADirectoryError"):
        read_pin(tmp_path)
    with pytest.raises(NoPin, match="the PIN file cannot be read: ValueError"):
        read_pin("a\0name")
