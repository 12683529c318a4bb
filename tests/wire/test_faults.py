"""A message with a bad structure raises an error that says where; one with a bad value sets `fault`."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.wire.codec import PLANS_MAX, SIGHTS_MAX, SIGHTS_MIN, Codec, Unparseable
from gateway.wire.message import TYPES, Message

Wire = Callable[..., bytes]
Good = Callable[..., Message]

# 9804 with DE7, 11 and 24: the shortest good message
ECHO = b"9804" + b"82200100000000000000000000000001" + b"0131120000" + b"000042" + b"831" + b"0123456789ABCDEF"
# 9210 with DE3, 12, 26, 31, 51, 98
REPLY = (
    b"9210" + b"A0100042000020000000000040000001"
    b"100000" + b"20250131" + b"0000" + b"04TRN1" + b"826" + b"200000     " + b"0123456789ABCDEF"
)


def replaced(body: bytes, at: int, by: bytes) -> bytes:
    return body[:at] + by + body[at + len(by) :]


STRUCTURE = [
    # what is bad, the bytes, field, position
    ("nothing at all", b"", 0, 0),
    ("MTI cut", b"980", 0, 3),
    ("MTI unknown", replaced(ECHO, 0, b"0804"), 0, 0),
    ("MTI no digits", replaced(ECHO, 0, "9²04".encode("windows-1252")), 0, 0),
    ("bitmap cut", ECHO[:20], 1, 20),
    ("bitmap lower case", replaced(REPLY, 4, b"a"), 1, 4),
    ("bitmap no hex", replaced(ECHO, 30, b" "), 1, 30),
    ("bitmap with an underscore, which int() would take", replaced(ECHO, 6, b"_"), 1, 6),
    ("no secondary bitmap", replaced(ECHO, 4, b"0"), 1, 4),
    ("no DE128", replaced(ECHO, 35, b"0")[:-16], 128, 35),
    ("unknown field 64", replaced(ECHO, 19, b"1"), 64, 19),
    ("unknown field 65", replaced(ECHO, 20, b"8"), 65, 20),
    ("unknown field 2", replaced(ECHO, 4, b"C"), 2, 4),
    ("cut in a fixed field", ECHO[:40], 7, 40),
    ("cut in the MAC", ECHO[:-1], 128, len(ECHO) - 1),
    ("bytes left over", ECHO + b"0", 128, len(ECHO)),
    ("newline left over", ECHO + b"\n", 128, len(ECHO)),
    ("MAC in lower case", ECHO[:-1] + b"f", 128, len(ECHO) - 1),
    ("length no digits", replaced(REPLY, 54, b"0A"), 31, 55),
    ("length with a sign", replaced(REPLY, 54, b"+4"), 31, 54),
    ("length with a space", replaced(REPLY, 54, b" 4"), 31, 54),
    ("length of superscripts", replaced(REPLY, 54, "³¹".encode("windows-1252")), 31, 54),
    ("length over the maximum", replaced(REPLY, 54, b"19"), 31, 54),
    ("length over the end", REPLY[:54] + b"18TRN1", 31, 60),
    ("cut in a length", REPLY[:55], 31, 55),
    ("cut before a length", REPLY[:54], 31, 54),
    ("length one short: the rest is out of step", replaced(REPLY, 54, b"03"), 128, 73),
]


@pytest.mark.parametrize("warm", [False, True], ids=["walked", "planned"])
@pytest.mark.parametrize(
    ("body", "field", "position"), [row[1:] for row in STRUCTURE], ids=[row[0] for row in STRUCTURE]
)
def test_structure(body: bytes, field: int, position: int, warm: bool) -> None:  # noqa: FBT001 - a column of the table
    """An unreadable message raises an error with field and position, whether or not its shape is compiled."""
    codec = Codec()
    for known in (ECHO, REPLY):
        for _ in range(SIGHTS_MIN if warm else 0):
            codec.decode(known)
    with pytest.raises(Unparseable) as caught:
        codec.decode(body)
    assert (caught.value.field, caught.value.position) == (field, position)
    assert caught.value.function_code == "650"
    fatal = next(part for part in codec.explain(body) if part.fatal)
    assert (fatal.field, fatal.fault_position, fatal.fault) == (field, position, caught.value.what)


def test_errors_never_show_content() -> None:
    """Only fields, positions and our own words."""
    codec = Codec()
    for name, body, *_ in STRUCTURE:
        with pytest.raises(Unparseable) as caught:
            codec.decode(body)
        for content in ("TRN1", "20250131", "000042", "³", "+4", "0A"):
            assert content not in str(caught.value), name


VALUES = [
    # a spoiled 9200: what, the spoiling, first fault
    ("nothing", {}, 0),
    ("letters in the amount", {6: "0000000001234A"}, 6),
    ("space in the amount", {6: "0000000001234 "}, 6),
    ("superscript digits in the amount", {6: "000000000123²"[:12] + "²³"}, 6),
    ("a sign", {6: "-0000000001234"}, 6),
    ("letters in the currency", {51: "GBP"}, 51),
    ("bad date", {12: "2025-131"}, 12),
    ("tab in the TRN", {31: "TRN\t1"}, 31),
    ("underscore in a name", {116: "A_B"}, 116),
    ("control character in a name", {116: "A\x00B"}, 116),
    ("undefined byte of windows-1252 in a name", {116: "A\x81B"}, 116),
    ("accent in a name", {116: "BEYONCÉ"}, 0),
    ("euro sign in a reference", {120: "€ 5"}, 0),
    ("accent in an account", {35: "É2345678"}, 35),
    ("accent in a sort code", {98: "20000É"}, 98),
    ("line break in an address", {117: "1 HIGH STREET\r\nLONDON"}, 0),
    ("every allowed sign", {121: "/-?:().,'+ =#!\"%&*<>;{@\r\n"}, 0),
    ("a sign that is not", {121: "}"}, 121),
    ("two faults: the first by number", {116: "A_B", 43: "1_2"}, 43),
    ("fault and missing: the first by number", {35: None, 31: "_"}, 31),
    ("missing account", {35: None}, 35),
    ("missing name", {116: None}, 116),
    ("missing amount and account", {6: None, 43: None}, 6),
    ("missing processing code", {3: None}, 3),
    ("empty account", {35: ""}, 35),
    ("fixed field of spaces only", {42: " " * 11}, 42),
    ("account of spaces only", {35: "  "}, 35),
    ("a name of a line break", {116: "\r\n"}, 116),
    ("a name that begins with a space", {116: " A"}, 0),
    ("a name of an exclamation mark", {116: "!"}, 0),
    ("an original amount of no currency", {4: "00000000000001"}, 49),
    ("an original currency of no amount", {49: "978"}, 4),
    ("both", {4: "00000000000001", 49: "978"}, 0),
    ("a return of what, in any payment type", {126: "00000001"}, 127),
    ("a return without why", {127: "F" * 42}, 126),
    ("a return", {3: "200000", 126: "00000001", 127: "F" * 42}, 0),
    ("a return without either", {3: "200000"}, 126),
    ("a scheme return whose reason is blank", {3: "250000", 126: "  ", 127: "F" * 42}, 126),
    ("a missing partner is the second fault", {4: "00000000000001", 35: None}, 35),
    ("nested", {46: "001003SHA"}, 0),
    ("nested twice", {46: "001003SHA002000"}, 0),
    ("nested too long", {46: "001004SHA"}, 46),
    ("nested too short", {46: "001002SHA"}, 46),
    ("nested no digits", {61: "00A00200"}, 61),
    ("nested superscripts", {61: "00²00200"}, 61),
    ("nested cut", {61: "00100"}, 61),
    ("nested and empty", {61: ""}, 0),
    ("a field unusual for a 9200", {107: "01"}, 0),
    ("a bad field unusual for a 9200", {107: "0A"}, 107),
    ("text unusual for a 9200, bad", {124: "}"}, 124),
]
_WIDTHS = {126: 3, 127: 3, 31: 2, 35: 2, 43: 2, 95: 2, 116: 2, 46: 3, 61: 3, 117: 3, 120: 3, 121: 3, 124: 3}
_GOOD = {3: "100000", 6: "00000000012345", 12: "20250131", 31: "TRN1", 35: "12345678", 42: "200000", 43: "87654321"} | {
    51: "826",
    95: "400000",
    98: "200000",
    116: "A SENDER",
}


def spoiled(changes: dict[int, str | None], mti: str = "9200") -> bytes:
    """Write a 9200 by hand: no check is in the way."""
    values = {number: value for number, value in (_GOOD | changes).items() if value is not None}
    parts = []
    for number, value in sorted(values.items()):
        raw = value.encode("latin-1") if value == "A\x81B" else value.encode("windows-1252")
        parts.append(b"%0*d%b" % (_WIDTHS[number], len(raw), raw) if number in _WIDTHS else raw)
        if number in {42, 98}:
            parts[-1] = raw.ljust(11)
    bits = sum(1 << (128 - number) for number in {1, *values, 128})
    return b"%b%032X%b0123456789ABCDEF" % (mti.encode(), bits, b"".join(parts))


@pytest.mark.parametrize("warm", [False, True], ids=["walked", "planned"])
@pytest.mark.parametrize(("changes", "fault"), [row[1:] for row in VALUES], ids=[row[0] for row in VALUES])
def test_values(changes: dict[int, str | None], fault: int, warm: bool) -> None:  # noqa: FBT001 - a column of the table
    """A bad value or a missing mandatory field is named in `fault`, and all the rest is there to be read."""
    codec = Codec()
    body = spoiled(changes)
    for _ in range(SIGHTS_MIN if warm else 0):
        codec.decode(body)
    assert (body[:36] in codec._readers) == warm
    message = codec.decode(body)
    assert message.fault == fault
    for number, value in (_GOOD | changes).items():
        name = codec.table.fields[number].name
        expected = (value or "").rstrip(" ") if number in {42, 98} else value or ""
        assert getattr(message, name, expected) == expected
    faults = [part.field for part in codec.explain(body) if part.fault]
    assert min(faults, default=0) == fault


@pytest.mark.parametrize("mti", TYPES)
def test_every_mandatory_field_may_be_missed(codec: Codec, good: Good, mti: str) -> None:
    """Whatever is mandatory for an MTI is named when it is the one that is missing."""
    for number in codec.table.layouts[mti].mandatory:
        whole = good(mti)
        values = {field: getattr(whole, field) for field in whole.__struct_fields__ if field != "body"}
        without = type(whole)(**{**values, codec.table.fields[number].name: ""})
        assert codec.decode(codec.encode(without) + b"0123456789ABCDEF").fault == number


def test_unusual_field_stays_in_the_body(codec: Codec) -> None:
    """A field of the table that is not usual for an MTI has no attribute, and is part of the content."""
    plain, more = codec.decode(spoiled({})), codec.decode(spoiled({107: "01"}))
    assert not hasattr(more, "cap_status")
    assert codec.content_digest(plain) != codec.content_digest(more)
    assert [part.value for part in codec.explain(more.body) if part.field == 107] == ["01"]


def outcome(codec: Codec, body: bytes) -> object:
    try:
        return codec.decode(body)
    except Unparseable as error:
        return str(error), error.field, error.position


def test_explanation_does_not_show_itself() -> None:
    """A part of an explanation holds content in clear; its repr does not."""
    part = Codec().explain(spoiled({}))[-2]
    assert (part.name, part.value) == ("debtor_name", "A SENDER")
    assert "SENDER" not in repr(part)


@given(st.binary(max_size=200))
@example(b"9200" + b"F" * 32)
def test_any_bytes(body: bytes) -> None:
    """Any bytes give a message or `Unparseable`; explaining them never fails."""
    outcome(WARM, body)
    assert WARM.explain(body)


def _warm() -> Codec:
    codec = Codec()
    for body in (ECHO, REPLY, spoiled({}), spoiled({46: "001003SHA", 61: "00100200", 120: "REF"})):
        for _ in range(SIGHTS_MIN):
            codec.decode(body)
    return codec


WARM = _warm()


@given(
    st.sampled_from([ECHO, REPLY, spoiled({}), spoiled({46: "001003SHA", 61: "00100200", 120: "REF"})]),
    st.lists(st.tuples(st.integers(0, 300), st.binary(min_size=0, max_size=3), st.integers(0, 3)), max_size=4),
)
def test_plan_and_walk_agree_on_damaged_messages(body: bytes, damage: list[tuple[int, bytes, int]]) -> None:
    """However a message is damaged, the compiled plan and the walk say the same, and explain names the same place."""
    for at, by, skip in damage:
        body = body[:at] + by + body[at + skip :]
    walked = outcome(Codec(WARM.table), body)
    assert outcome(WARM, body) == walked
    parts = WARM.explain(body)
    if isinstance(walked, Message):
        assert min((part.field for part in parts if part.fault), default=0) == walked.fault
    else:
        assert any(part.fatal for part in parts)


@given(st.integers(0, (1 << 126) - 1), st.binary(max_size=400))
def test_any_bitmap(bits: int, rest: bytes) -> None:
    """Any set of fields with any bytes behind it gives a message or `Unparseable`."""
    outcome(WARM, b"9200%032X%b" % (1 << 127 | bits << 1 | 1, rest))


def test_plans_are_bounded() -> None:
    """Somebody who sends ever new shapes fills neither memory nor the time of the others."""
    codec = Codec()
    optional = [15, 29, 85, 91, 105, 106, 107, 86, 87, 88, 89]  # fixed digits, in any combination
    shapes = []
    for choice in range(PLANS_MAX + 40):
        numbers = [number for place, number in enumerate(optional) if choice >> place & 1]
        shapes.append(spoiled({n: "0" * codec.table.fields[n].width for n in numbers}))
    for body in shapes:
        for _ in range(SIGHTS_MIN):
            codec.decode(body)
    assert len(codec._readers) == PLANS_MAX
    assert set(codec._cuts) <= set(codec._readers)
    assert codec.decode(shapes[0]).fault == 0  # it gave way, and is walked again


def test_sights_are_bounded() -> None:
    """Shapes that come once are counted, up to a limit, and not compiled."""
    codec = Codec()
    optional = [15, 29, 85, 91, 105, 106, 107, 86, 87, 88, 89, 4]
    for choice in range(SIGHTS_MAX + 10):
        numbers = [number for place, number in enumerate(optional) if choice >> place & 1]
        codec.decode(spoiled({n: "0" * codec.table.fields[n].width for n in numbers}))
    assert not codec._readers
    assert len(codec._sights) <= SIGHTS_MAX


def test_unreadable_is_never_compiled() -> None:
    """Only what has been read whole is worth a plan."""
    codec = Codec()
    for _ in range(SIGHTS_MIN * 2):
        with pytest.raises(Unparseable):
            codec.decode(REPLY[:-1])
    assert not codec._readers
    assert not codec._sights
