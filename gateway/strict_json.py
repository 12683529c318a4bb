"""JSON as this project reads it: into a type, and with every member of an object there once. Pure.

No standard says what JSON means when a member comes twice (RFC 8259, section 4): one reader takes the first, msgspec
the last, a third neither. So such a text is malformed wherever it comes from, before anything in it counts. This is the
one place that reads JSON; tests/test_layout.py holds every module to it. Its errors may quote a value, as msgspec's do:
a module that reads customers' data must use words of its own.

How a repeat is found: msgspec drops it silently, so the value, written again, has fewer colons than the text. (A text
has a colon for each member and those inside strings; writing adds none.) A backslash may hide a colon or spell a name
in two ways; then, and where msgspec cannot read all of it, Python's own reader looks at each object, which takes some
20 times as long. The property in tests/test_strict_json.py holds the two against each other.
"""

import json
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

REPEATED = "a member comes twice"


class Pairs(list[tuple[str, Any]]):
    """An object as it stands: its members in their order, repeated ones and all."""


class Reader(Generic[T]):
    """Reads one type. Make it once: building a decoder is what takes time."""

    def __init__(self, kind: type[T]) -> None:
        self._decode = msgspec.json.Decoder(kind).decode

    def __call__(self, text: bytes) -> T:
        """Raise `msgspec.DecodeError` for all that is not this type, or says a member twice; nothing else."""
        try:
            value = self._decode(text)
        except (UnicodeDecodeError, RecursionError):
            raise msgspec.DecodeError("JSON is malformed") from None
        if is_repeated(text):
            raise msgspec.DecodeError(REPEATED)
        return value


def is_repeated(text: bytes) -> bool:
    """Whether an object in this JSON, wherever it stands, has a member twice. Raises `msgspec.DecodeError`."""
    if b"\\" not in text:
        try:
            return text.count(b":") != _encode(_decode(text)).count(b":")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # a number that it has no room for in what was passed over; or no JSON
    return any(len({name for name, _ in pairs}) < len(pairs) for pairs in objects_in(pairs_of(text)))


def pairs_of(text: bytes | str) -> Any:
    """JSON with `Pairs` for its objects, and numbers as they are written. Raises `msgspec.DecodeError`."""
    try:
        return json.loads(text, object_pairs_hook=Pairs, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        raise msgspec.DecodeError("JSON is malformed") from None


def objects_in(value: Any) -> Iterator[Pairs]:
    """Every object in what `pairs_of` made, from the outside in."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Pairs):
            yield one
            waiting.extend(inner for _, inner in one)
        elif isinstance(one, list):
            waiting.extend(one)


_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
