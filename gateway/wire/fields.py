"""The field table: the content of `fps.toml` (or of a bank's own file), checked as a whole and frozen.

Knows formats, character sets, the fields of each message type and the payment types. Rules for values are in `values`.
Does not know bytes: `walk` and `plan` read them.
"""

import re
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.errors import ConfigurationError
from gateway.wire.message import TYPES
from gateway.wire.tables import read
from gateway.wire.values import ANY, Rule, rule_of

Charset = Literal["digits", "text", "wide", "hex"]
Standing = Literal["certain", "likely", "unknown"]
PaymentGroup = Literal["sip", "sop", "fdp", "other"]
"""The groups that payments run over (docs/protocol.md section 4)."""

DIGITS = b"0123456789"
HEX = b"0123456789ABCDEF"
TEXT = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-?:().,'+ =#!\"%&*<>;{@\r\n"
"""The characters that the scheme allows (docs/protocol.md section 1, certain). `TEXT` holds `DIGITS` and `HEX`."""
UNDEFINED = b"\x81\x8d\x8f\x90\x9d"
"""Bytes that mean nothing in windows-1252."""
WIDE = TEXT + bytes(byte for byte in range(0x80, 0x100) if byte not in UNDEFINED)
"""`TEXT` and all that windows-1252 adds to ASCII: for names, addresses and references."""
CHARSETS: dict[Charset, bytes] = {"digits": DIGITS, "text": TEXT, "wide": WIDE, "hex": HEX}

RULED = frozenset({"9200", "9201"})
"""The messages whose values must keep the rules: payment requests. Only these are refused for a bad value (1930 and
DE44). A response gives the result of a payment whatever else is in it, and a reversal always gets a yes."""

MAC_FIELD = 128
MAC_WIDTH = 16
"""DE128 is a 64-bit MAC as hex (certain). The code relies on it, so no table can change it."""

_NEEDED = {
    3: "processing_code",
    12: "date_sent",
    26: "action_code",
    31: "trn",
    44: "field_in_error",
    51: "currency",
} | {
    98: "sender",
    128: "mac",
}
"""The fields that make the FPID and a reply: a table must have them."""
_WIDTHS_KEPT = {3: 6, 12: 8, 26: 4, 51: 3, 98: 11}
"""The widths on which the FPID and the replies rely (certain)."""
_FORMAT = re.compile(r"(n|ans|hex|LLL|LL)([1-9][0-9]{0,2})")
_PREFIX = {"n": 0, "ans": 0, "hex": 0, "LL": 2, "LLL": 3}


class Field(Struct, frozen=True, gc=False):
    """One data element."""

    number: int
    name: str
    """The attribute of the message types that holds it."""
    title: str
    """Its name for people."""
    prefix: int
    """Digits of the length prefix; 0: the width is fixed."""
    width: int
    """Characters of a fixed field; characters at most of a variable one."""
    charset: Charset
    standing: Standing
    sensitive: bool
    """Shown only to somebody who asks for it by name."""
    rule: Rule | None = None
    """The rule that a value must keep in the messages of `RULED`."""

    @property
    def format(self) -> str:
        """As the table writes it."""
        if self.prefix:
            return f"{'L' * self.prefix}{self.width}"
        return f"{ {'digits': 'n', 'hex': 'hex'}.get(self.charset, 'ans') }{self.width}"


class Tag(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One tag in a nested field."""

    name: str
    title: str
    standing: Standing


class Layout(Struct, frozen=True):
    """The fields of one message type, without DE128: numbers, ascending."""

    mti: str
    title: str
    standing: Standing
    mandatory: tuple[int, ...]
    optional: tuple[int, ...]


class PaymentType(Struct, frozen=True):
    """A kind of payment, which the first two digits of DE3 say."""

    code: str
    """Two digits."""
    title: str
    group: PaymentGroup
    """The group of connections that carry it."""
    synchronous: bool
    """The sender waits for the receiver's own answer. Otherwise the hub may repeat the request until it has one."""
    mandatory: tuple[int, ...]
    """The fields that are mandatory for it but not for every payment: numbers, ascending."""
    must_accept: bool
    """The receiver may not refuse it."""
    standing: Standing


class FieldTable(Struct, frozen=True):
    """The whole table, read-only."""

    fields: MappingProxyType[int, Field]
    layouts: MappingProxyType[str, Layout]
    nested: MappingProxyType[int, MappingProxyType[str, Tag]]
    types: MappingProxyType[str, PaymentType]
    """By code."""
    together: tuple[tuple[int, ...], ...] = ()
    """Groups of fields: a message of `RULED` has all fields of a group or none."""

    def attributes(self, mti: str) -> list[tuple[int, str]]:
        """Number and attribute of every field that has an attribute in the type of this MTI, ascending."""
        places = set(TYPES[mti].__struct_fields__) - {"mti", "body", "fault", "mac"}
        return [(number, field.name) for number, field in sorted(self.fields.items()) if field.name in places]


class _FieldEntry(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    title: str
    format: str
    charset: Charset
    standing: Standing
    sensitive: bool
    value: str | list[str] | None = None


class _TypeEntry(Struct, frozen=True, forbid_unknown_fields=True):
    code: Annotated[str, Meta(pattern=r"^[0-9]{2}\Z")]
    title: str
    group: PaymentGroup
    synchronous: bool
    standing: Standing
    mandatory: list[int] = []
    must_accept: bool = False


class _MessageEntry(Struct, frozen=True, forbid_unknown_fields=True):
    mti: list[str]
    title: list[str]
    standing: Standing
    mandatory: list[int]
    optional: list[int]


def load(path: str | Path = "") -> FieldTable:
    """Read a table; without a path, the built-in one. Raises `ConfigurationError` with every mistake in it."""
    where, _, raw = read(path, "fps.toml")
    mistakes = [f"{key}: is not known here" for key in sorted(set(raw) - _KEYS)]
    if path:
        _take_rules_from(load(), raw)
    fields = _fields(raw.get("fields", {}), mistakes)
    layouts = _layouts(raw.get("messages", []), fields, mistakes)
    nested = _nested(raw.get("nested", {}), fields, mistakes)
    types = _types(raw.get("types", []), fields, mistakes)
    together = _together(raw.get("together", []), fields, mistakes)
    if mistakes:
        raise ConfigurationError([f"{where}: {mistake}" for mistake in mistakes])
    return FieldTable(
        MappingProxyType(fields),
        MappingProxyType(layouts),
        MappingProxyType(nested),
        MappingProxyType(types),
        together,
    )


_KEYS = {"fields", "nested", "messages", "types", "together"}


def _take_rules_from(built_in: FieldTable, raw: dict[str, Any]) -> None:
    """Give a table that is older than the rules those of the built-in one, where its fields are the same.

    Without this, a bank with a table of its own would go on accepting payments that nobody can book.
    """
    entries = raw.get("fields")
    if not isinstance(entries, dict):
        return
    same = set[int]()
    for number, field in built_in.fields.items():
        entry = entries.get(str(number))
        if isinstance(entry, dict) and entry.get("name") == field.name:
            same.add(number)
            if entry.get("format") == field.format and "value" not in entry and field.rule is not None:
                entry["value"] = field.rule.written
    raw.setdefault("together", [list(numbers) for numbers in built_in.together if same.issuperset(numbers)])


def _fields(raw: Any, mistakes: list[str]) -> dict[int, Field]:
    fields: dict[int, Field] = {}
    if not isinstance(raw, dict):
        mistakes.append("fields: must be a table")
        return fields
    for key, value in raw.items():
        here = f"fields.{key}"
        try:
            entry = msgspec.convert(value, _FieldEntry)
        except msgspec.ValidationError as error:
            mistakes.append(f"{here}: {error}")
            continue
        form = _FORMAT.fullmatch(entry.format)
        if not (key.isascii() and key.isdigit() and 2 <= int(key) <= MAC_FIELD):
            mistakes.append(f"{here}: a field number is from 2 to {MAC_FIELD}")
        elif form is None or int(form[2]) >= 10 ** (_PREFIX[form[1]] or 3):
            mistakes.append(
                f"{here}: format must be n6, ans11, hex16, LL34 or LLL140, with a width that the prefix can say"
            )
        elif (form[1] == "n") != (entry.charset == "digits") and not _PREFIX[form[1]]:
            mistakes.append(
                f"{here}: format n is for the charset digits, and the charset digits for format n, LL or LLL"
            )
        elif not entry.name.isidentifier():
            mistakes.append(f"{here}: name must be an identifier")
        else:
            number, width = int(key), int(form[2])
            try:
                rule = rule_of(ANY if entry.value is None else entry.value, number, width, digits=form[1] == "n")
            except ValueError as error:
                mistakes.append(f"{here}: value: {error}")
                rule = None
            fields[number] = Field(
                number=number,
                name=entry.name,
                title=entry.title,
                prefix=_PREFIX[form[1]],
                width=width,
                charset=entry.charset,
                standing=entry.standing,
                sensitive=entry.sensitive,
                rule=rule,
            )
    _check_fields(fields, mistakes)
    return dict(sorted(fields.items()))


def _check_fields(fields: dict[int, Field], mistakes: list[str]) -> None:
    """Find the mistakes that concern several fields, or the fields on which the code relies."""
    owners: dict[str, int] = {}
    for number, field in fields.items():
        if owners.setdefault(field.name, number) != number:
            mistakes.append(f"fields.{number}: the name is that of field {owners[field.name]} already")
    for number, name in _NEEDED.items():
        if number not in fields or fields[number].name != name:
            mistakes.append(f"fields.{number}: must be there and be named {name}: the code relies on it")
    for number, width in _WIDTHS_KEPT.items():
        if number in fields and (fields[number].prefix or fields[number].width != width):
            mistakes.append(
                f"fields.{number}: must be {width} characters wide: the FPID and the replies are made of it"
            )
    date_sent = fields.get(12)
    if date_sent is not None and (date_sent.rule is None or date_sent.rule.written != "date"):
        mistakes.append('fields.12: must have value = "date": the code takes it for a day')
    mac = fields.get(MAC_FIELD)
    if mac is not None and (mac.prefix or mac.width != MAC_WIDTH or mac.charset != "hex"):
        mistakes.append(f"fields.{MAC_FIELD}: must be hex{MAC_WIDTH}")


def _layouts(raw: Any, fields: dict[int, Field], mistakes: list[str]) -> dict[str, Layout]:
    layouts: dict[str, Layout] = {}
    for index, value in enumerate(raw if isinstance(raw, list) else [raw]):
        here = f"messages[{index}]"
        try:
            entry = msgspec.convert(value, _MessageEntry)
        except msgspec.ValidationError as error:
            mistakes.append(f"{here}: {error}")
            continue
        if len(entry.title) != len(entry.mti):
            mistakes.append(f"{here}: there must be one title for each MTI")
            continue
        numbers = entry.mandatory + entry.optional
        mistakes += [f"{here}: field {number} is not in [fields]" for number in numbers if number not in fields]
        if len(set(numbers)) != len(numbers) or MAC_FIELD in numbers:
            mistakes.append(f"{here}: each field once, and {MAC_FIELD} not at all: it is always there")
        for mti, title in zip(entry.mti, entry.title, strict=True):
            if mti not in TYPES:
                mistakes.append(f"{here}: there is no message type {mti}")
                continue
            places = TYPES[mti].__struct_fields__
            # a mandatory field must have an attribute: else nobody could build the message
            mistakes += [
                f"{here}: field {number} is mandatory, but messages of type {mti} have no {fields[number].name}"
                for number in entry.mandatory
                if number in fields and fields[number].name not in places
            ]
            layouts[mti] = Layout(
                mti, title, entry.standing, tuple(sorted(entry.mandatory)), tuple(sorted(entry.optional))
            )
    mistakes += [f"messages: {mti} is missing" for mti in TYPES if mti not in layouts]
    return layouts


def _types(raw: Any, fields: dict[int, Field], mistakes: list[str]) -> dict[str, PaymentType]:
    types: dict[str, PaymentType] = {}
    places = TYPES["9200"].__struct_fields__
    for index, value in enumerate(raw if isinstance(raw, list) else [raw]):
        here = f"types[{index}]"
        try:
            entry = msgspec.convert(value, _TypeEntry)
        except msgspec.ValidationError as error:
            mistakes.append(f"{here}: {error}")
            continue
        if entry.code in types:
            mistakes.append(f"{here}: {entry.code} is there already")
        if len(set(entry.mandatory)) != len(entry.mandatory) or MAC_FIELD in entry.mandatory:
            mistakes.append(f"{here}: each field once, and {MAC_FIELD} not at all: it is always there")
        for number in entry.mandatory:
            if number not in fields:
                mistakes.append(f"{here}: field {number} is not in [fields]")
            elif number != MAC_FIELD and fields[number].name not in places:
                mistakes.append(f"{here}: field {number} is mandatory, but a 9200 has no {fields[number].name}")
        types[entry.code] = PaymentType(
            code=entry.code,
            title=entry.title,
            group=entry.group,
            synchronous=entry.synchronous,
            mandatory=tuple(sorted(entry.mandatory)),
            must_accept=entry.must_accept,
            standing=entry.standing,
        )
    if not types:
        mistakes.append("types: there are none: nobody could tell a return from another payment")
    return types


def _together(raw: Any, fields: dict[int, Field], mistakes: list[str]) -> tuple[tuple[int, ...], ...]:
    try:
        groups = msgspec.convert(raw, tuple[tuple[int, ...], ...])
    except msgspec.ValidationError as error:
        mistakes.append(f"together: {error}")
        return ()
    places = TYPES["9200"].__struct_fields__
    if any(len(set(group)) < 2 for group in groups) or any(
        number not in fields or fields[number].name not in places for group in groups for number in group
    ):
        mistakes.append("together: each is two fields or more, of those that a 9200 has")
    return groups


def _nested(raw: Any, fields: dict[int, Field], mistakes: list[str]) -> dict[int, MappingProxyType[str, Tag]]:
    nested: dict[int, MappingProxyType[str, Tag]] = {}
    try:
        entries = msgspec.convert(raw, dict[str, dict[str, Tag]])
    except msgspec.ValidationError as error:
        mistakes.append(f"nested: {error}")
        return nested
    for key, tags in entries.items():
        number = int(key) if key.isascii() and key.isdigit() else 0
        if number not in fields or not fields[number].prefix:
            mistakes.append(f"nested.{key}: is no field of variable length")
            continue
        mistakes += [
            f"nested.{key}.{tag}: a tag is three digits"
            for tag in tags
            if not (len(tag) == 3 and tag.isascii() and tag.isdigit())
        ]
        nested[number] = MappingProxyType(tags)
    return nested
