"""Good messages to begin with, and how to spoil one field by field."""

import random
from collections.abc import Iterator

from gateway.wire import walk
from gateway.wire.codec import Codec, join_mac
from gateway.wire.fields import CHARSETS, Field
from gateway.wire.message import TYPES, Message

CODEC = Codec()
TABLE = CODEC.table
MAC = bytes.fromhex("a1b2c3d4e5f60718")
_VALUES = {
    "processing_code": "100000", "amount": "00000000012345", "transmission_time": "0131120000", "message_id": "000042",
    "date_sent": "20250131", "settlement_date": "20250131", "settlement_cycle": "001", "function_code": "831",
    "action_code": "0000", "trn": "TRN0000000001", "creditor_account": "12345678", "debtor_agent": "200000",
    "debtor_account": "87654321", "currency": "826", "creditor_agent": "400000", "sender": "200000",
    "debtor_name": "A SÉNDER", "charges": "001003SHA", "field_in_error": "004", "asynchronous": "1",
    "service_status": "01", "suspension": "01", "priority_groups": "01", "cap_status": "01", "sitl_status": "01",
    "institution": "200000", "information": "SOME WORDS",
}  # fmt: skip


def value_of(field: Field) -> str:
    """A good value."""
    if field.name in _VALUES:
        return _VALUES[field.name]
    if field.number in TABLE.nested:
        return "001003SHA002001X"
    if field.charset == "digits":
        return ("0" * field.width)[:-1] + "7"
    return ("ABCDEF0123456789" if field.charset == "hex" else "A TEXT/1.")[: field.width]


def message(mti: str, *, full: bool) -> Message:
    """A good one: with every mandatory field, or with every one that has an attribute."""
    layout = TABLE.layouts[mti]
    names = {number: name for number, name in TABLE.attributes(mti) if full or number in layout.mandatory}
    values = {name: value_of(TABLE.fields[number]) for number, name in names.items()}
    return TYPES[mti](mti=mti, **values)  # type: ignore[arg-type]  # all are text


def bodies() -> Iterator[bytes]:
    """Both of each kind."""
    for mti in TYPES:
        for full in (False, True):
            yield join_mac(CODEC.encode(message(mti, full=full)), MAC)


def taken_apart(body: bytes) -> dict[int, bytes]:
    """The fields that can be read, each with its length."""
    found: dict[int, bytes] = {}
    try:
        for span in walk.spans(TABLE, body):
            found[span.field.number] = body[span.position : span.end]
    except walk.Unparseable:
        pass
    return found


def put_together(mti: bytes, fields: dict[int, bytes]) -> bytes:
    """A message of these."""
    bits = walk.SECONDARY | sum(1 << (128 - number) for number in fields)
    return b"%b%032X%b" % (mti, bits, b"".join(fields[number] for number in sorted(fields)))


def any_value(field: Field, luck: random.Random) -> bytes:
    """A value for a field, mostly good, with its length."""
    allowed = sorted(CHARSETS[field.charset]) if luck.random() < 0.9 else list(range(256))
    size = luck.choice((0, 1, field.width, luck.randint(0, field.width))) if field.prefix else field.width
    data = bytes(luck.choices(allowed, k=size))
    if field.number in TABLE.nested and luck.random() < 0.7:
        data = b"".join(b"%03d%03d%b" % (luck.randrange(12), n, b"X" * n) for n in luck.choices(range(9), k=3))
        data = data[: field.width]
    if luck.random() < 0.1:
        data = value_of(field).encode("cp1252")
        data = data if field.prefix else data.ljust(field.width, b"0" if field.charset == "digits" else b" ")
    return (b"%0*d" % (field.prefix, len(data)) if field.prefix else b"") + data


def spoil(body: bytes, luck: random.Random) -> bytes:
    """Change a field or two, leave one out, add one, or be another kind of message."""
    mti, fields = body[:4], taken_apart(body)
    if len(mti) < 4 or not fields:
        body = luck.choice(list(bodies()))
        mti, fields = body[:4], taken_apart(body)
    for _ in range(luck.choice((1, 1, 2, 4))):
        what = luck.randrange(6)
        if what == 0:
            mti = luck.choice(list(TYPES)).encode()
        elif what == 1 and fields:
            del fields[luck.choice(list(fields))]
        elif what == 2:
            other = taken_apart(luck.choice(list(bodies())))
            number = luck.choice(list(other))
            fields[number] = other[number]
        else:
            number = luck.choice(list(fields) if fields and luck.random() < 0.7 else list(TABLE.fields))
            fields[number] = any_value(TABLE.fields[number], luck)
    return put_together(mti, fields)
