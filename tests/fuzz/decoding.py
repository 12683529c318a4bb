"""`fps-gateway decode`, given any file."""

import io
import re

from gateway.commands.decode import HEADERS, MessagePrinter, find
from gateway.wire.frame import frame
from gateway.wire.walk import HEADER_END
from tests.fuzz import good
from tests.fuzz.target import Dice, Target

NAMES = ["auto", *HEADERS]
FORMS = ["auto", "raw", "hex"]
CLEAR_MIN = 8
"""Shorter values may be anywhere by chance."""
_DUMP = re.compile(r" {4} *([0-9]+)  ((?:[0-9a-f]{2}|\.\.)(?: (?:[0-9a-f]{2}|\.\.))*)(?: |$)")


def run(data: bytes) -> None:
    """Everything is printed or refused with `ValueError`; nothing sensitive is shown."""
    dice = Dice(data)
    header, form, content = dice.pick(NAMES), dice.pick(FORMS), dice.rest()
    try:
        found = list(find(content, header, form, good.CODEC))
    except ValueError as error:
        assert str(error) in {"there is nothing in it", "not hex text", "hex text with an odd number of digits"}
        return
    out = io.StringIO()
    printer = MessagePrinter(out, good.CODEC, reveal=False, colours=False)
    for number, item in enumerate(found, 1):
        printer.message(number, len(found), item)
    lines = out.getvalue().split("\n")
    assert all(line.isprintable() for line in lines), "something in it could steer a terminal"
    dumps = [dump for line in lines if (dump := _DUMP.match(line))]
    for dump in dumps:
        clear = [int(dump[1]) + at for at, code in enumerate(dump[2].split()) if code != ".."]
        assert max(clear, default=0) < HEADER_END, "a byte of a field is shown"
    printed = "\n".join(line for line in lines if not _DUMP.match(line))
    parts = [part for item in found for part in good.CODEC.explain(item.body)]
    shown = " ".join(part.value for part in parts if not part.sensitive)
    for part in parts:
        if part.sensitive and len(part.value.strip()) >= CLEAR_MIN and part.value.strip("*0 ") not in shown:
            assert f" {part.value}" not in printed


def samples() -> list[bytes]:
    """Each kind of header, raw and as hex text."""
    found = []
    bodies = sorted(good.bodies(), key=len)
    for number, name in enumerate(NAMES):
        settings = HEADERS.get(name)
        body = bodies[0] if "ascii2" in name else bodies[number]
        content = b"".join(frame(settings, body) if settings else body + b"\n" for body in (body, body))
        found += [bytes([number, 1]) + content, b"\0\0" + content, b"\0\2" + content.hex(" ", 16).encode() + b"\n"]
    return found


TARGET = Target(run, samples, words=[b"\r\n9200", b"9804", b" ", b"\n"])
