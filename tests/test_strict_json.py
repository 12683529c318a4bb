"""JSON with every member once: the fast way to see a repeat is held against the slow one."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Struct

from gateway.strict_json import REPEATED, Reader, is_repeated

NAMES = st.sampled_from(["a", "b", "TxSts", ":", "", "é", "\\", "\x00", "a:b", '"'])
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    NAMES,
    st.text(max_size=4),
)


class Object(list[Any]):
    """Members in any number, of any name."""


VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.lists(st.tuples(NAMES, inner), max_size=4).map(Object)),
    max_leaves=12,
)


def written(value: Any, draw: Callable[..., Any]) -> str:
    """The value as JSON, each string and each gap in one of the ways that JSON knows."""
    gap: str = draw(st.sampled_from(["", " ", "\n\t"]))
    if isinstance(value, Object):
        members = (f"{_string(name, draw)}{gap}:{gap}{written(inner, draw)}" for name, inner in value)
        return "{" + gap + f"{gap},".join(members) + gap + "}"
    if isinstance(value, list):
        return f"[{gap}" + f",{gap}".join(written(inner, draw) for inner in value) + "]"
    return _string(value, draw) if isinstance(value, str) else json.dumps(value)


def _string(text: str, draw: Any) -> str:
    if draw(st.integers(0, 4)) == 0:  # `a` and `\\u0061` are one name
        return '"' + "".join(f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else letter for letter in text) + '"'
    return json.dumps(text, ensure_ascii=draw(st.booleans()))


def reference(text: bytes) -> bool:
    """Whether Python's own reader, told to look, meets a member twice."""
    found = False

    def hook(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len(dict(pairs)) < len(pairs)

    json.loads(text, object_pairs_hook=hook)
    return found


@given(st.data())
def test_a_repeat_is_seen_wherever_it_stands_and_however_it_is_spelt(data: st.DataObject) -> None:
    """Of any JSON: exactly what a reader that looks at each object's members calls a repeat."""
    text = written(data.draw(VALUES), data.draw).encode("utf-8", "replace")
    assert is_repeated(text) is reference(text)


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ('{"a":1,"a":1}', True),
        ('{"a":1,"\\u0061":2}', True),
        ('{"a":{"b":1,"b":2}}', True),
        ('[[{"x":[{"b":1,"b":2}]}]]', True),
        ('{"x":1e999,"a":1,"a":1}', True),  # what msgspec has no room for
        ('{"x":1e999,"a":1}', False),
        ('{"a":"\\u003a","b":1,"b":2}', True),  # a colon that only shows when it is read
        ('{"a":":","b":"::"}', False),
        ('{"a":1,"A":2}', False),
        ('[{"a":1},{"a":1}]', False),
        ('"a:b"', False),
        (f'{{"n":{"9" * 5000},"a":1}}', False),
    ],
)
def test_what_is_a_repeat(text: str, repeated: bool) -> None:  # noqa: FBT001 - a row of the table
    """A member twice in one object is one; in two objects, or in another spelling of letters, it is none."""
    assert is_repeated(text.encode()) is repeated


class Thing(Struct):
    """Something to read."""

    a: int = 0


READ = Reader(Thing)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"a":1,"a":1}', REPEATED),
        (b'{"a":1,"x":{"y":1,"y":1}}', REPEATED),
        (b'{"a":1,"x":"\xff"}', "JSON is malformed"),  # msgspec alone passes over it
        (b"\xff", "JSON is malformed"),
        (b'{"x":' + b"[" * 60_000, "JSON is malformed"),
        (b'{"a":"x"}', "Expected `int`"),
    ],
)
def test_one_kind_of_error(text: bytes, why: str) -> None:
    """Whatever is wrong with a text raises `DecodeError`: a reader has one thing to catch."""
    with pytest.raises(msgspec.DecodeError, match=why):
        READ(text)


@given(st.binary(max_size=60))
@example(b'{"a":1}')
def test_any_bytes(text: bytes) -> None:
    """Any bytes are the type, or `DecodeError`."""
    with suppress(msgspec.DecodeError):
        assert isinstance(READ(text), Thing)
