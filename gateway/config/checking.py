"""Finds every mistake in a configuration that was read: field by field, then between fields (`rules`)."""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from gateway import config
from gateway.config.rules import Mistake, check_both, check_node, check_pair
from gateway.config.written import is_of

StructT = TypeVar("StructT", bound=Struct)
MISSING = "is missing"
PAIR_MISSING = f"{MISSING}: the part that both sites share is usually a file of its own; was it given, too?"
"""Defaults will not do: the rules could be another group's, and stand-in other than at the other site."""


def mistakes_in(raw: dict[str, Any]) -> Iterator[Mistake]:
    """Every mistake in the content of all files, as read from TOML. Without any, it is a `config.Configuration`."""
    mistakes = [
        (key, PAIR_MISSING if (key, what) == ("pair", MISSING) else what)
        for key, what in _check_struct(config.Configuration, raw, "")
    ]
    yield from mistakes
    wrong = {key for key, _ in mistakes}
    for key, what in _against_each_other(raw):
        if not _depends(key, what, wrong):
            yield key, what


def _against_each_other(raw: dict[str, Any]) -> Iterator[Mistake]:
    """The contradictions between settings, found also while others are wrong: one mistake does not hide the next."""
    pair, node = _mended(config.Pair, raw.get("pair")), _mended(config.Node, raw.get("node"))
    if pair is not None:
        yield from check_pair(pair)
    if node is not None:
        yield from check_node(node)
    if pair is not None and node is not None:
        yield from check_both(config.Configuration(node, pair))


def _depends(key: str, what: str, wrong: set[str]) -> bool:
    """Whether a contradiction may come from another mistake, in the same setting or in one that its words name.

    The words name the other setting by its whole key, or by its name alone in the same table.
    """
    table = key.rpartition(".")[0]
    named = [word.rstrip(".") for word in re.findall(r"[a-z_0-9.\[\]]+", what)]
    about = {key, *(word if "." in word else _join(table, word) for word in named)}
    return any(is_of(each, name) or is_of(name, each) for each in wrong for name in about)


_STAND_INS = ("x", 1, "http://x", "/x", *config.choices_in(config.Group))
"""Values for a required setting that is missing or wrong. Contradictions with such a value are left out."""


def _mended(kind: type[StructT], raw: Any) -> StructT | None:
    """The table with each wrong setting at its default, or at any valid value; None when that is not possible."""
    try:
        return msgspec.convert(_mended_table(kind, raw), kind)
    except (msgspec.ValidationError, TypeError):
        return None


def _mended_table(kind: type[Struct], raw: Any) -> dict[str, Any]:
    """The same as plain values. Raises `TypeError` when it is not a table."""
    if not isinstance(raw, dict):
        raise TypeError
    mended: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        inner = config.struct_in(field.type)
        if field.name in raw and inner is not None:
            value = raw[field.name]
            if config.is_many(field.type):
                mended[field.name] = [_mended_table(inner, item) for item in value]
            elif field.required or isinstance(value, dict):
                mended[field.name] = _mended_table(inner, value)
        elif inner is None:
            given = (raw[field.name],) if field.name in raw else ()
            instead = _STAND_INS if field.required else ()
            fitting = [value for value in (*given, *instead) if _fits(value, field.type)]
            if fitting:
                mended[field.name] = fitting[0]
    return mended


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _check_struct(kind: type[Struct], raw: Any, place: str) -> Iterator[Mistake]:
    """Check each field on its own, so that one mistake does not hide the next."""
    if not isinstance(raw, dict):
        yield place, "must be a table"
        return
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key in raw:
        if key not in fields:
            yield _join(place, key), "is not known here" + _meant(key, fields)
    for name, field in fields.items():
        if name in raw:
            yield from _check_value(field.type, raw[name], _join(place, name))
        elif field.required:
            yield _join(place, name), MISSING


def _check_value(kind: Any, value: Any, here: str) -> Iterator[Mistake]:
    inner = config.struct_in(kind)
    if inner is None:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            yield here, _in_words(str(error), kind, value)
    elif config.is_many(kind):
        if not isinstance(value, list) or not value:
            yield here, f"must be one or more [[{here}]] tables"
            return
        for index, item in enumerate(value):
            yield from _check_struct(inner, item, f"{here}[{index}]")
    else:
        yield from _check_struct(inner, value, here)


def _meant(key: str, fields: Iterable[str]) -> str:
    """Suggest a setting for an unknown name: a similar one here, or the same name elsewhere."""
    if near := difflib.get_close_matches(key, list(fields), n=1):
        return f"; {near[0]}?"
    elsewhere = _places_of(key, config.Configuration, "")
    return f"; {', '.join(elsewhere)}?" if elsewhere else ""


def _places_of(key: str, kind: type[Struct], place: str) -> list[str]:
    """The keys of all settings with this name."""
    found = []
    for field in msgspec.structs.fields(kind):
        here, inner = _join(place, field.name), config.struct_in(field.type)
        if field.name == key:
            found.append(here)
        if inner is not None:
            found += _places_of(key, inner, here)
    return found


def _in_words(said: str, kind: Any, value: Any) -> str:
    """Reword an error of msgspec for a person: list a choice, describe a pattern. Never quotes the value."""
    said, at, path = said.partition(" - at ")
    if said.startswith("Invalid enum value"):
        choices = list(map(str, config.choices_in(kind)))
        near = difflib.get_close_matches(value.lower(), choices, n=1) if isinstance(value, str) else []
        said = f"must be one of {', '.join(choices)}" + (f"; {near[0]}?" if near else "")
    for pattern, words in config.described(kind).items():
        if said == f"Expected `str` matching regex {pattern!r}":
            said = f"must be {words}"
    return f"{said}{at}{path}"


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
