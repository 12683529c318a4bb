"""The field table as a file: a bank may write its own, and every mistake in it is named."""

from pathlib import Path
from typing import get_args

import pytest

from gateway import config
from gateway.errors import ConfigurationError
from gateway.wire.codec import Codec, join_mac
from gateway.wire.fields import DIGITS, HEX, TEXT, UNDEFINED, WIDE, load
from gateway.wire.message import PaymentRequest

BUILT_IN = (Path(__file__).parents[2] / "gateway" / "wire" / "fps.toml").read_text(encoding="utf-8")


NEW_FIELD = """[fields.64]
name = "new"
title = ""
format = "LL5"
charset = "digits"
standing = "unknown"
sensitive = true
[nested.46]"""


def written(folder: Path, *changes: tuple[int, str, str]) -> Path:
    """Write the built-in table with changes: the line of a field (0: anywhere), what is there, what comes instead."""
    text = BUILT_IN
    for number, old, new in changes:
        line = next((line for line in text.splitlines() if number and line.startswith(f"{number} ")), text)
        assert old in line
        text = text.replace(line, line.replace(old, new))
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_own_table_changes_the_messages(tmp_path: Path) -> None:
    """Widths, prefixes and who carries what come from the file and not from the code."""
    path = written(
        tmp_path,
        (31, "LL18", "LLL20"),
        (6, "n14", "n12"),
        (0, "35, 42, 43, 51, 95, 98, 116]\noptional = [4,", "35, 42, 43, 51, 95, 98]\noptional = [4, 116,"),
        (0, "[nested.46]", NEW_FIELD),
    )
    codec = Codec(load(path))
    body = codec.encode(PaymentRequest(mti="9200", amount="5", trn="A" * 20, sender="200000"))
    assert body[36:] == b"000000000005" + b"020" + b"A" * 20 + b"200000     "
    decoded = codec.decode(join_mac(body, bytes(8)))
    assert isinstance(decoded, PaymentRequest)
    assert (decoded.trn, decoded.fault) == ("A" * 20, 3)
    assert codec.table.fields[64].format == "LL5"
    assert 116 not in codec.table.layouts["9200"].mandatory


@pytest.mark.parametrize("value", [b"12", b"1A", b""])
def test_number_new_in_the_table_is_read_and_checked(tmp_path: Path, value: bytes) -> None:
    """A field that no message type knows needs no code, also when its shape is compiled."""
    codec = Codec(load(written(tmp_path, (0, "[nested.46]", NEW_FIELD))))
    body = b"980482200100000000010000000000000001" + b"0131120000" + b"000042" + b"831" + b"%02d" % len(value) + value
    body += b"0123456789ABCDEF"
    for _ in range(10):
        assert codec.decode(body).fault == (64 if value == b"1A" else 0)
    assert codec._readers


IDENTITY = "mandatory = [3, 12, 31, 51, 98]"


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ((4, "n14", "b14"), "fields.4: format must be n6"),
        ((4, "n14", "n0"), "fields.4: format must be n6"),
        ((58, "LL34", "LL100"), "fields.58: format must be"),
        ((49, '"digits"', '"text"'), "fields.49: format n is for"),
        ((42, '"text"', '"digits"'), "fields.42: format n is for"),
        ((42, '"text"', '"latin"'), "fields.42: Invalid enum value"),
        ((120, '"reference"', '"trn"'), "fields.120: the name is that of field 31 already"),
        ((31, '"trn"', '"txn"'), "fields.31: must be there and be named trn"),
        ((6, '"amount"', '"an amount"'), "fields.6: name must be an identifier"),
        ((98, "ans11", "LL11"), "fields.98: must be 11 characters"),
        ((3, '"n6"', '"n7"'), "fields.3: must be 6 characters"),
        ((128, "hex16", "hex8"), "fields.128: must be hex16"),
        ((128, "128 = ", "129 = "), "fields.129: a field number is from 2 to 128"),
        ((12, "sensitive", "secret"), "fields.12: "),
        ((0, IDENTITY, "mandatory = [3, 12, 31, 51, 97]"), "messages[2]: field 97 is not in [fields]"),
        ((0, IDENTITY, "mandatory = [3, 3, 12, 31, 51, 98]"), "messages[2]: each field once"),
        ((0, IDENTITY, "mandatory = [3, 12, 31, 51, 98, 128]"), "messages[2]: each field once, and 128 not"),
        ((0, IDENTITY, "mandatory = [3, 12, 31, 51, 98, 107]"), "messages[2]: field 107 is mandatory, but"),
        ((0, IDENTITY, 'mandatory = "all"'), "messages[2]: Expected `array`"),
        ((0, 'mti = ["9834"]', 'mti = ["9835"]'), "messages: 9834 is missing"),
        ((0, 'mti = ["9834"]', 'mti = ["9835"]'), "messages[8]: there is no message type 9835"),
        ((0, 'mti = ["9834"]', 'mti = ["9834", "9835"]'), "messages[8]: there must be one title for each MTI"),
        ((0, "[nested.61]", "[nested.60]"), "nested.60: is no field of variable length"),
        ((0, "[nested.61]", "[nested.6]"), "nested.6: is no field of variable length"),
        ((0, '"001" = { name = "sub_type"', '"1" = { name = "sub_type"'), "nested.61.1: a tag is three digits"),
        ((0, '"001" = { name = "sub_type"', '"001" = { size = 3, name = "x"'), "nested: Object contains unknown"),
        ((0, "[nested.61]", "[tagged.61]"), "tagged: is not known here"),
        ((0, "[fields]", "[fields"), "not TOML"),
        (
            (0, "\n[fields]\n", "\nx = " + "9" * 5000 + "\n[fields]\n"),
            "not TOML: it nests too deeply, or holds a number",
        ),
        ((0, 'code = "30"', 'code = "3"'), "types[4]: Expected `str` matching regex"),
        ((0, 'code = "30"', 'code = "25"'), "types[4]: 25 is there already"),
        ((0, 'group = "fdp"', 'group = "usm"'), "types[5]: Invalid enum value 'usm'"),
        ((0, "synchronous = true", "asynchronous = false"), "types[1]: "),
        ((0, "[126, 127]\nmust", "[126, 64]\nmust"), "types[3]: field 64 is not in [fields]"),
        ((0, "[126, 127]\nmust", "[126, 126]\nmust"), "types[3]: each field once"),
        ((0, "[126, 127]\nmust", "[126, 128]\nmust"), "types[3]: each field once, and 128 not"),
        ((0, "[126, 127]\nmust", "[126, 26]\nmust"), "types[3]: field 26 is mandatory, but a 9200 has no action_code"),
        ((0, "[[types]]", "[[kinds]]"), "types: there are none"),
    ],
)
def test_every_mistake_is_named(tmp_path: Path, change: tuple[int, str, str], mistake: str) -> None:
    """A table that cannot be right is refused, with file and place."""
    path = written(tmp_path, change)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert any(line.startswith(f"{path}: {mistake}") for line in caught.value.mistakes), caught.value.mistakes


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """One mistake does not hide the next."""
    path = written(tmp_path, (31, '"trn"', '"txn"'), (0, 'mti = ["9834"]', 'mti = ["9835"]'))
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    for words in ("be named trn", "type 9835", "9834 is missing"):
        assert words in str(caught.value)


def test_payment_types_are_the_schemes() -> None:
    """Those of the note, each in a group that a process may serve; only a scheme return must be accepted."""
    types = load().types
    assert sorted(types) == ["00", "10", "20", "25", "30", "40", "50"]
    assert {kind.group for kind in types.values()} <= set(get_args(config.Group))
    assert [code for code, kind in types.items() if kind.synchronous] == ["10"]
    assert [code for code, kind in types.items() if kind.must_accept] == ["25"]
    assert {code: kind.mandatory for code, kind in types.items() if kind.mandatory} == {
        "20": (126, 127),
        "25": (126, 127),
    }


def test_no_file(tmp_path: Path) -> None:
    """A table that is not there is a configuration error like any other."""
    with pytest.raises(ConfigurationError, match="cannot be read: FileNotFoundError"):
        load(tmp_path / "none.toml")


def test_character_classes_contain_each_other() -> None:
    """Digits are hex digits, those are text, text is wide: a plan checks all of a message against text at once."""
    assert set(DIGITS) < set(HEX) < set(TEXT) < set(WIDE)
    assert len(TEXT) == 26 + 26 + 10 + 25 == len(set(TEXT))
    assert not set(UNDEFINED) & set(WIDE)
    assert set(range(256)) - set(WIDE) - set(UNDEFINED) == set(range(128)) - set(TEXT)


def test_sensitive_fields() -> None:
    """Accounts, names, addresses, amounts and references are marked; the kind of message is not."""
    shown = [number for number, field in load().fields.items() if not field.sensitive]
    assert not {4, 5, 6, 31, 35, 42, 43, 46, 48, 58, 62, 71, 95, *range(116, 126), 127} & set(shown)
    assert {3, 7, 11, 12, 15, 24, 26, 29, 44, 51, 98, 128} <= set(shown)
