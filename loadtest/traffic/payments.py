"""Synthetic payments: invented people and accounts, realistic fields, and the bytes of each for about a microsecond.

A full encode per payment would cost the generator more than the gateway's decode. So each kind of payment is encoded
once with marks where it varies, the marks become places of a bytes template, and a payment is one formatting of it.
Pure: the randomness comes from a seed, the date from the caller.
"""

import random
from typing import NamedTuple

from gateway.wire.fields import FieldTable
from loadtest.traffic import iso

CURRENCY = "826"
SENDER = "400001"
"""The sending institution, DE98: a sort code of nobody."""
RECEIVER = "600002"
"""The receiving one, DE95 and DE99: another."""
NAMES = (
    "A MARCHETTI", "Zoë O'BRIEN-SMITH", "MR J P OYELARAN", "Priya Ramanathan", "D LLEWELLYN & SONS", "Malgosia Nowak",
    "THE CORNER BAKERY LTD", "S. de la Cruz", "Mrs K Ahmed", "J Ng", "Émile Dufour", "NORTHERN LIGHT ROOFING (LEEDS)",
    "T Featherstonehaugh", "Björn Sand", "M/S CHEN + PARTNERS", "O Mac Giolla Phádraig",
)  # fmt: skip
REFERENCES = (
    "RENT MARCH",
    "INV 20441/7",
    "Thanks!",
    "WINDOW CLEANING",
    "GIFT",
    "ACC 77-201",
    "Split: dinner?",
    "DEPOSIT",
)

_COMMON: iso.Fields = {
    15: "", 29: "001", 32: "400001", 42: SENDER, 46: "001003SHA", 51: CURRENCY, 61: "00100200", 95: "600002",
    98: SENDER, 99: "600002", 117: "1 INVENTED ROAD, NOWHERE, NO1 1NO",
}  # fmt: skip
_KINDS: tuple[iso.Fields, ...] = (
    {},
    {62: "E2E-0000000000000001", 121: "Paid by the load generator; no such payment exists."},
    {71: "0042", 119: "2 INVENTED ROAD, NOWHERE, NO1 2NO"},
    {4: "12500", 10: "000001172500"[-12:], 49: "978", 62: "NOTPROVIDED", 122: "TRADE / SERVICES"},
)
"""What a payment may carry besides: nothing, references, an address, an origin abroad."""
_VARIES = (6, 31, 35, 43, 116, 118, 120)
"""In the order in which they stand in the message."""


class Made(NamedTuple):
    """A payment about to be sent."""

    trn: bytes
    """DE31, eighteen characters: unique in a run, and what the hub finds it by."""
    fpid: str
    """The 42 characters that identify it for ever (docs/protocol.md section 4)."""
    covered: bytes
    """The 9200 up to and without DE128."""


class Generator:
    """Makes payments. `run` (up to 6 characters) keeps the TRNs of different runs apart; `date` is YYYYMMDD."""

    def __init__(
        self,
        table: FieldTable,
        run: str,
        date: str,
        *,
        seed: int = 1,
        payment_type: str = "10",
        receiver: str = RECEIVER,
    ) -> None:
        self.payment_type = payment_type
        self._draw = random.Random(seed)  # noqa: S311 - synthetic load, not a secret
        self._prefix = f"LT{run[:6]:0<6}".encode()
        self._made = 0
        code = payment_type + "0000"
        common = {**_COMMON, 3: code, 12: date, 15: date, 95: receiver, 99: receiver}
        self._templates = [_template(table, {**common, **kind}) for kind in _KINDS]
        self._debtors = [_prefixed(table, 116, name) for name in NAMES]
        self._creditors = [_prefixed(table, 118, name) for name in NAMES]
        self._references = [_prefixed(table, 120, reference) for reference in REFERENCES]
        self._fpid_tail = f"{payment_type}{date}{CURRENCY}{SENDER:<11}"
        # what a response must copy, as it stands in a message: DE3 and DE12, DE51 and DE98
        self.reply_tail = CURRENCY.encode() + f"{SENDER:<11}".encode()
        self.reply_key = (code + date).encode()

    def make(self) -> Made:
        """The next payment."""
        self._made += 1
        trn = b"%b%010d" % (self._prefix, self._made)
        bits = self._draw.getrandbits(64)
        covered = self._templates[bits & 3] % (
            1 + (bits >> 2) % 99_999,
            trn,
            b"08%08d" % ((bits >> 20) % 100_000_000),
            b"08%08d" % ((bits >> 28) % 100_000_000),
            self._debtors[bits >> 48 & 15],
            self._creditors[bits >> 52 & 15],
            self._references[bits >> 56 & 7],
        )
        return Made(trn, trn.decode() + self._fpid_tail, covered)


def reversal(table: FieldTable, covered: bytes, mti: str, code: str = "4021") -> bytes:
    """The reversal of this request, up to and without DE128. 4021: it timed out."""
    _, fields = iso.read(table, covered + b"0" * 16)
    kept: iso.Fields = {number: fields[number] for number in (3, 6, 12, 15, 29, 31, 32, 51, 98, 99) if number in fields}
    return iso.write(table, mti, {**kept, 26: code})


def _prefixed(table: FieldTable, number: int, text: str) -> bytes:
    value = text.encode(iso.TEXT, "replace")
    return b"%0*d%b" % (table.fields[number].prefix, len(value), value)


def _template(table: FieldTable, fields: iso.Fields) -> bytes:
    """Encode with marks where a payment varies, then make the marks places of a template."""
    # each mark: how it is written into the message, what stands there then, and the place that it becomes
    marks = {
        6: ("\x06" * 14, b"\x06" * 14, b"%014d"),
        31: ("\x1f" * 18, b"\x1f" * 18, b"%b"),
        **{number: (chr(number & 31), _prefixed(table, number, chr(number & 31)), b"%b") for number in _VARIES[2:]},
    }
    written = iso.write(table, "9200", {**fields, **{number: mark[0] for number, mark in marks.items()}})
    template = written.replace(b"%", b"%%")
    for number in _VARIES:
        _, stands, place = marks[number]
        found = template.count(stands)
        assert found == 1, f"the mark of DE{number} is not unique"
        template = template.replace(stands, place)
    return template
