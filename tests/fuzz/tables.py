"""A bank's own tables, of fields and of meanings: the built-in ones, edited anyhow, and any TOML."""

import os
import tempfile
from importlib import resources
from pathlib import Path

from gateway.errors import ConfigurationError
from gateway.wire import fields, meanings
from gateway.wire.codec import SIGHTS_MIN, Codec, Unparseable
from tests.fuzz import good, toml
from tests.fuzz.target import Dice, Target, short

FILE = Path(tempfile.gettempdir()) / f"fuzzed-table-{os.getpid()}.toml"
FIELDS, USM = ((resources.files("gateway.wire") / name).read_bytes() for name in ("fps.toml", "usm.toml"))
EDITS_MAX = 12
BODIES = [body for body in good.bodies() if body[:4] in {b"9200", b"9804"}]


def edited(text: bytes, dice: Dice) -> bytes:
    """Change lines; a small input can be a whole table, which is larger than inputs are."""
    lines = text.split(b"\n")
    for _ in range(EDITS_MAX):
        if not dice:
            break
        at, what = dice.upto(65535) % len(lines), dice.upto(255) % 6
        if what == 0 and len(lines) > 1:
            del lines[at]
        elif what == 1:
            lines.insert(dice.upto(65535) % len(lines), lines[at])
        elif what == 2:
            lines[at] = lines[at].replace(dice.short() or b"=", dice.short(), 1)
        elif what == 3:
            name, equals, _ = lines[at].partition(b"=")
            lines[at] = name + equals + dice.pick(toml.VALUES)
        elif what == 4:
            # a value within an inline table
            parts = lines[at].split(b",")
            one = dice.upto(255) % len(parts)
            name, equals, _ = parts[one].rpartition(b"=")
            parts[one] = name + equals + dice.pick(toml.VALUES) + (b" }" if one == len(parts) - 1 else b"")
            lines[at] = b",".join(parts)
        else:
            lines.insert(at, dice.short())
    return b"\n".join(lines)


def run(data: bytes) -> None:
    """A table that decodes, or `ConfigurationError` with what is wrong."""
    dice = Dice(data)
    kind = dice.pick("fufux")
    text = dice.rest() if kind == "x" else edited(FIELDS if kind == "f" else USM, dice)
    FILE.write_bytes(text)
    try:
        if kind == "u":
            meanings.load(FILE).group_of("10")
            return
        table = fields.load(FILE)
    except ConfigurationError as error:
        assert error.mistakes
        assert all(mistake.startswith(f"{FILE}: ") for mistake in error.mistakes)
        return
    finally:
        FILE.unlink()
    codec = Codec(table)
    for body in BODIES:
        for _ in range(SIGHTS_MIN + 1):
            try:
                read = codec.decode(body)
            except Unparseable:
                break
            if not read.fault:
                codec.encode(read)


def samples() -> list[bytes]:
    """The built-in tables, an edit of each kind, and a piece of one."""

    def at(text: bytes, word: bytes, what: int, more: bytes) -> bytes:
        return text[: text.index(word)].count(b"\n").to_bytes(2, "big") + bytes([what]) + more

    edits = [
        at(FIELDS, b"\n4   =", 0, b""), at(FIELDS, b"\n72 ", 1, b"\0\x30"),
        at(FIELDS, b"\n10  =", 2, short(b"n12") + short(b"LLL99")), at(FIELDS, b"\n[nested", 3, b"\3"),
        at(FIELDS, b"\n46 ", 4, b"\1\x0c"), at(FIELDS, b"\n[fields]", 5, short(b"[x]")),
        at(FIELDS, b"\nmandatory", 2, short(b"[") + short(b"[2, ")),
    ]  # fmt: skip
    return [
        b"\0",
        b"\1",
        *(b"\0" + edit for edit in edits),
        b"\1\0\x09\3\2",
        b"\1\0\x05\2\x0201\x0271",
        b"\4" + USM[-900:],
    ]


TARGET = Target(run, samples, words=[*toml.WORDS, b"ans", b"LL", b"LLL", b"n6", b"charset", b"mandatory", b"wide"])
