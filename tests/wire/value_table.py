"""What becomes of every boundary value of every field of a payment, in both directions: the table in `values.txt`.

    .venv/bin/python -m tests.wire.value_table     writes it anew: read the difference before it is committed

Inbound: a 9200 by hand, decoded by the real codec and judged as the story does. At the door: the same value in the JSON
member, read by the real reader. The base is a return from abroad with every field there is, so that each can be spoiled
alone.
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("tests.wire.value_table"))

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.payments.verify import fault_of
from gateway.processor.request import MEMBERS, Invalid, Malformed, Reader
from gateway.wire.codec import Codec, Unparseable
from gateway.wire.fields import Field
from gateway.wire.message import PaymentRequest
from gateway.wire.walk import SECONDARY

FILE = Path(__file__).with_name("values.txt")
CODEC = Codec()
READER = Reader(CODEC, "other")
FPID = "ORIGINAL00000000011020251122826200000     "
BASE: dict[int, str] = {
    3: "200000", 4: "00000000000100", 5: "00000000000005", 6: "00000000012345", 10: "000001172500", 12: "20260131",
    15: "20260131", 29: "001", 31: "TRN0000000000001", 32: "12345678", 35: "12345678", 41: "00000001", 42: "200000",
    43: "87654321", 46: "001003SHA", 47: "300000", 48: "11112222", 49: "978", 51: "826", 61: "00100200", 62: "E2E 1",
    71: "0042", 72: "FILE1", 95: "400000", 98: "200000", 99: "40000000", 116: "A SENDER", 117: "1 HIGH STREET",
    118: "A RECEIVER", 119: "2 HIGH STREET", 120: "REF 1", 121: "WORDS", 122: "TRADE", 123: "OWN", 126: "00000001",
    127: FPID,
}  # fmt: skip
SUBMITTED: dict[str, Any] = {
    "MsgTp": "pacs.004", "Dbtr": {}, "Cdtr": {}, "DbtrAcct": {}, "CdtrAcct": {}, "IntrBkSttlmAmt": {}, "InstdAmt": {},
    "RjctdAmt": {"Ccy": "826"}, "RmtInf": {"Strd": {"CdtrRefInf": {}}}, "RtrRsnInf": {"Rsn": {}}, "DbtrAgcyAcct": {},
    **{agent: {"ClrSysId": "GBDSC"} for agent in ("DbtrAgt", "CdtrAgt", "InstgAgt", "DbtrAgcyAgt")},
}  # fmt: skip
DAYS = {
    "29 Feb of a leap year": "20280229", "29 Feb of another": "20270229", "31 Apr": "20260431", "month 13": "20261301",
    "month 0": "20260001", "day 0": "20260100", "year 0": "00000101", "the first day there is": "00010101",
    "the last day there is": "99991231",
}  # fmt: skip
ABSENT = "\0absent"


def boundaries(field: Field) -> Iterator[tuple[str, str]]:
    """Values at and beyond what a field may hold, each with its name."""
    good, width = BASE[field.number], field.width
    yield "as it should be", good
    yield "absent", ABSENT
    if field.charset == "digits":
        yield "zero", "0" * width
        yield "all nines", "9" * width
        yield "too short", good[1:]
        yield "too long", good + "0"
        tails = {
            "a letter": "A",
            "lower case": "a",
            "a space": " ",
            "a newline": "\n",
            "a NUL": "\0",
            "superscript": "²",
        }
        yield from ((f"{name} at the end", good[:-1] + tail) for name, tail in tails.items())
        yield "a sign in front", "-" + good[1:]
        if width == 8 and field.number in {12, 15}:
            yield from DAYS.items()
        if field.number in {49, 51}:
            yield from (("sterling", "826"), ("euro", "978"), ("a number of no currency", "001"))
        return
    yield "empty", ""
    yield "one character", "1"
    yield "as long as can be", (good * width)[:width]
    yield "too long", (good * width)[: width + 1]
    yield "spaces only", "  "
    yield "a line break only", "\r\n"
    yield "a space in front", (" " + good)[:width]
    yield "a space at the end", good[: width - 1] + " "
    yield "a newline at the end", good[: width - 1] + "\n"
    yield "a line break inside", good[:1] + "\r\n" + good[3:]
    yield "lower case", good.lower()
    yield "a letter", "A" + good[1:]
    marks = {"a NUL": "\0", "a tab": "\t", "a DEL": "\x7f", "é": "é", "an undefined byte": "\x81", "an underscore": "_"}
    yield from ((f"{name} inside", good[:1] + mark + good[2:]) for name, mark in marks.items())
    if field.number in CODEC.table.nested:
        yield from (("a length too great", "001004SHA"), ("a length too small", "001002SHA"), ("a tag cut", "00100"))


def message(values: dict[int, str]) -> bytes:
    """A 9200 by hand: no check is in the way, and a fixed field that is too short or long shifts the rest."""
    parts, bits = list[bytes](), SECONDARY | 1
    for number, value in sorted(values.items()):
        field = CODEC.table.fields[number]
        raw = value.encode("latin-1")
        if field.prefix:
            parts.append(b"%0*d%b" % (field.prefix, len(raw), raw))
        else:
            parts.append(raw if field.charset == "digits" else raw.ljust(field.width))
        bits |= 1 << (128 - number)
    return b"9200%032X%b0123456789ABCDEF" % (bits, b"".join(parts))


def inbound(number: int, value: str) -> str:
    """The hub's reply."""
    values = BASE | {number: value} if value is not ABSENT else {n: v for n, v in BASE.items() if n != number}
    try:
        request = CODEC.decode(message(values))
    except Unparseable:
        return "9624 650"
    assert isinstance(request, PaymentRequest)
    if not request.fault:
        return "taken"
    fault = fault_of(request)
    return f"9210 1930 {fault.field:03}" if fault.answerable else "9624 650"


def submission(number: int, value: str) -> dict[str, Any]:
    """The base as a submission, with this value in its member."""
    body = copy.deepcopy(SUBMITTED)
    for other, good in BASE.items():
        said = value if other == number else good
        member = MEMBERS.get(CODEC.table.fields[other].name)
        if member is None or said is ABSENT:
            continue
        if other in {4, 5, 6}:
            said = f"{said[:-2]}.{said[-2:]}"
        elif other == 12:
            said = f"{said[:4]}-{said[4:6]}-{said[6:]}"
        *outer, last = member.split("/")
        inside = body
        for step in outer:
            inside = inside[step]
        inside[last] = said
    return body


def at_the_door(number: int, value: str) -> str:
    """The processor's response."""
    if CODEC.table.fields[number].name not in MEMBERS:
        return "(the hub's)"
    try:
        READER.read(json.dumps(submission(number, value)).encode(), "key-1")
    except (Malformed, Invalid) as wrong:
        return f"422 {'; '.join(f'{fault.pointer} {fault.detail}' for fault in wrong.faults)}"
    return "taken"


def lines() -> Iterator[str]:
    """The whole table."""
    yield "field | boundary | from the hub | at the door"
    for number in BASE:
        field = CODEC.table.fields[number]
        for name, value in boundaries(field):
            yield f"{number} {field.name} | {name} | {inbound(number, value)} | {at_the_door(number, value)}"


def main(_arguments: list[str]) -> int:
    """Write it."""
    FILE.write_text("\n".join(lines()) + "\n", encoding="utf-8")
    sys.stdout.write(f"{FILE}: written\n")
    return 0
