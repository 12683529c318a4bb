"""Messages round trip, and another ISO 8583 library agrees.

The facts here are typed from the protocol note a second time, on purpose: they are the oracle of `fps.toml` too.
"""

import re
from typing import Any

import iso8583
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.codec import Codec, Unparseable, fpid_of, join_mac, split_mac
from gateway.wire.message import TYPES, Message, PaymentRequest

CODEC = Codec()
MAC = b"\x01\x23\x45\x67\x89\xab\xcd\xef"

FACTS = """
3 n6; 4 n14; 5 n14; 6 n14; 7 n10; 10 n12; 11 n6; 12 n8; 15 n8; 24 n3; 26 n4; 27 n1; 29 n3; 31 LL 18; 32 LL 8; 35 LL 34;
40 n2; 41 n8; 42 ans11; 43 LL 34; 44 LL 3; 45 LL 8; 46 LLL 204; 47 LLL 11; 48 LLL 34; 49 n3; 51 n3; 57 LL 11; 58 LL 34;
61 LLL 30; 62 LLL 31; 67 n2; 68 n2; 69 n2; 71 n4; 72 LLL 32; 85 n2; 86 n16; 87 n16; 88 n16; 89 n16; 91 n3; 95 LL 11;
98 ans11; 99 LL 8; 100 LL 8; 101 LL 8; 104 LL 80; 105 n16; 106 n16; 107 n2; 109 LL 44; 110 LL 40; 111 LL 81; 116 LL 40;
117 LLL 140; 118 LLL 40; 119 LLL 140; 120 LLL 18; 121 LLL 140; 122 LLL 105; 123 LLL 999; 124 LLL 255; 125 LLL 60;
126 LLL 8; 127 LLL 42; 128 hex16
"""
FORMATS = {int(n): "".join(form.split()) for n, form in (item.split(None, 1) for item in FACTS.split(";"))}
ALLOWED = "".join(map(chr, [*range(97, 123), *range(65, 91), *range(48, 58)])) + "/-?:().,'+ =#!\"%&*<>;{@\r\n"
LETTERS_BEYOND_ASCII = "".join(bytes([b]).decode("cp1252", "ignore") for b in range(128, 256))
ACCENTS = {62, 104, 110, *range(116, 125)}
IDENTITY = (3, 12, 31, 51, 98)
MANAGEMENT = (7, 11, 24)
MANDATORY = {
    **dict.fromkeys(("9200", "9201"), (3, 6, 12, 31, 35, 42, 43, 51, 95, 98, 116)),
    **dict.fromkeys(("9210", "9430"), (3, 12, 26, 31, 51, 98)),
    **dict.fromkeys(("9420", "9421"), IDENTITY),
    **dict.fromkeys(("9624", "9804", "9824"), MANAGEMENT),
    **dict.fromkeys(("9814", "9834"), (*MANAGEMENT, 26)),
}


def build(mti: str, **values: str) -> Any:
    """Build a message of the type of this MTI."""
    return TYPES[mti](mti=mti, **values)  # type: ignore[arg-type]  # no value is named body or fault


def oracle_spec() -> dict[str, dict[str, Any]]:
    """Our facts in the words of pyiso8583."""

    def entry(max_len: int, len_type: int = 0, enc: str = "cp1252") -> dict[str, Any]:
        return {"data_enc": enc, "len_enc": "ascii", "len_type": len_type, "max_len": max_len, "desc": ""}

    spec = {str(number): entry(0) for number in range(2, 129)}
    spec |= {"h": entry(0), "t": entry(4, enc="ascii"), "p": entry(16, enc="ascii"), "1": entry(16, enc="ascii")}
    for number, form in FORMATS.items():
        spec[str(number)] = entry(int(re.sub(r"\D", "", form)), {"LLL": 3, "LL": 2}.get(re.sub(r"\d", "", form), 0))
    return spec


SPEC = oracle_spec()
PAYMENTS = {"9200", "9201"}
DAYS = st.dates().map(lambda day: f"{day.year:04}{day.month:02}{day.day:02}")


def _trimmed(value: str) -> bool:
    return value == value.strip(" \r\n")


def value_of_a_payment(number: int) -> st.SearchStrategy[str]:
    """Any value that is valid in the request of a payment: the rulings, typed again."""
    value = value_of(number)
    if number in {12, 15}:
        return DAYS
    if number in {4, 5, 6, 49}:
        return value.filter(lambda digits: int(digits) > 0)
    if number == 51:
        return st.just("826")
    if number in {31, 42, 98}:
        return value.filter(_trimmed)
    if number == 127:
        return st.text(ALLOWED, min_size=42, max_size=42).filter(lambda text: bool(text.strip()))
    return value.filter(lambda text: bool(text.strip())) if number in {*MANDATORY["9200"], 126} else value


def value_of(number: int) -> st.SearchStrategy[str]:
    """Any valid value of a field."""
    form = FORMATS[number]
    width = int(re.sub(r"\D", "", form))
    if form.startswith("n"):
        return st.text("0123456789", min_size=width, max_size=width)
    if number in {46, 61}:
        piece = st.builds(
            lambda tag, text: f"{tag:03}{len(text):03}{text}", st.integers(0, 999), st.text(ALLOWED, max_size=9)
        )
        return st.lists(piece, min_size=1, max_size=width // 15).map("".join)
    alphabet = ALLOWED + (LETTERS_BEYOND_ASCII if number in ACCENTS else "")
    text = st.text(alphabet, min_size=1, max_size=min(width, 60)) | st.text("X", min_size=width, max_size=width)
    return text.filter(lambda value: not value.endswith(" ")) if form == "ans11" else text


@st.composite
def messages(draw: st.DrawFn, mtis: tuple[str, ...] = tuple(TYPES)) -> Message:
    """Any valid message, as it would be built here."""
    mti = draw(st.sampled_from(mtis))
    attributes = CODEC.table.attributes(mti)
    chosen = draw(st.sets(st.sampled_from([number for number, _ in attributes]))) | set(MANDATORY[mti])
    value = value_of_a_payment if mti in PAYMENTS else value_of
    if mti in PAYMENTS:
        kind = draw(st.sampled_from(["00", "10", "20", "25", "30", "40", "50", "77"]))
        for pair in ({4, 49}, {126, 127}):
            chosen |= pair if chosen & pair or (126 in pair and kind in {"20", "25"}) else set()
    values = {name: draw(value(n)) for n, name in attributes if n in chosen}
    if mti in PAYMENTS:
        values["processing_code"] = kind + values["processing_code"][2:]
    message: Message = build(mti, **values)
    return message


def fields_of(message: Message) -> dict[int, str]:
    return {number: value for number, name in CODEC.table.attributes(message.mti) if (value := getattr(message, name))}


def padded(fields: dict[int, str]) -> dict[str, str]:
    return {str(number): value.ljust(11) if FORMATS[number] == "ans11" else value for number, value in fields.items()}


@pytest.mark.parametrize("number", FORMATS)
def test_table_says_what_the_note_says(number: int) -> None:
    """Each field has the format of the protocol note, and the scheme's characters."""
    field = CODEC.table.fields[number]
    assert field.format == FORMATS[number]
    assert (field.charset == "wide") == (number in ACCENTS)


def test_table_has_no_other_field() -> None:
    """No field is in the table that the note does not have."""
    assert set(CODEC.table.fields) == set(FORMATS)


@given(messages())
def test_valid_message_round_trips(message: Message) -> None:
    """An encoded message is decoded to the same values, without a fault, and encoded to the same bytes again."""
    body = join_mac(CODEC.encode(message), MAC)
    decoded = CODEC.decode(body)
    assert (decoded.mti, decoded.fault, decoded.body) == (message.mti, 0, body)
    assert decoded.mac == MAC.hex().upper()
    assert type(decoded) is type(message)
    assert fields_of(decoded) == fields_of(message)
    assert split_mac(body) == (CODEC.encode(decoded), MAC)


@given(messages())
def test_oracle_reads_our_bytes(message: Message) -> None:
    """Another library finds the same fields with the same values."""
    read, _ = iso8583.decode(join_mac(CODEC.encode(message), MAC), SPEC)
    theirs = {number: value for number, value in read.items() if number.isdigit() and number not in {"1", "128"}}
    assert theirs == padded(fields_of(message))
    assert read["t"] == message.mti
    assert read["128"] == MAC.hex().upper()


@given(messages())
def test_we_read_the_oracles_bytes(message: Message) -> None:
    """We find the same in what another library writes."""
    document = padded(fields_of(message)) | {"t": message.mti, "128": MAC.hex().upper()}
    raw, _ = iso8583.encode(document, SPEC)
    decoded = CODEC.decode(bytes(raw))
    assert fields_of(decoded) == fields_of(message)
    assert decoded.fault == 0
    assert bytes(raw) == join_mac(CODEC.encode(message), MAC)


@pytest.mark.parametrize("mti", TYPES)
def test_all_fields_of_a_type_at_once(mti: str) -> None:
    """A message with every field at its longest round trips and is under 4 KiB, half of the frame limit."""
    values = {}
    for number, name in CODEC.table.attributes(mti):
        width = int(re.sub(r"\D", "", FORMATS[number]))
        values[name] = "1" * width if number not in {46, 61} else f"001{width - 6:03}".ljust(width, "X")
        if mti in PAYMENTS:
            values |= {"currency": "826", "date_sent": "20250131", "settlement_date": "20250131"}
    message = build(mti, **values)
    body = join_mac(CODEC.encode(message), MAC)
    assert len(body) < 4096
    decoded = CODEC.decode(body)
    assert decoded.fault == 0
    assert {name: getattr(decoded, name) for name in values} == values


@pytest.mark.parametrize("mti", TYPES)
def test_layout_lists_what_the_type_has(mti: str) -> None:
    """The table and the message type agree on which fields a message has, and the table on what must not miss."""
    layout = CODEC.table.layouts[mti]
    assert sorted(layout.mandatory + layout.optional) == [number for number, _ in CODEC.table.attributes(mti)]
    assert layout.mandatory == MANDATORY[mti]


def test_padding() -> None:
    """Digits get zeros on the left, fixed text gets spaces on the right, and those are not part of the value."""
    body = CODEC.encode(PaymentRequest(mti="9200", amount="1", sender="200000"))
    assert body == b"9200" + b"84000000000000000000000040000001" + b"00000000000001" + b"200000     "
    decoded = CODEC.decode(join_mac(body, MAC))
    assert isinstance(decoded, PaymentRequest)
    assert (decoded.amount, decoded.sender) == ("00000000000001", "200000")


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"amount": "12.50"}, r"DE6 \(amount\): 1 of 5 characters"),
        ({"amount": "1" * 15}, r"DE6 \(amount\): 15 characters are over the maximum of 14"),
        ({"amount": "²"}, r"DE6 \(amount\)"),
        ({"amount": "٣"}, r"DE6 \(amount\): a character is not in windows-1252"),
        ({"amount": "-1"}, r"DE6 \(amount\)"),
        ({"trn": "A" * 19}, r"DE31 \(trn\): 19 characters are over the maximum of 18"),
        ({"trn": "É"}, r"DE31 \(trn\)"),
        ({"debtor_name": "A_B"}, r"DE116 \(debtor_name\)"),
        ({"debtor_name": "Ж"}, r"DE116 \(debtor_name\): a character is not in windows-1252"),
        ({"debtor_name": "\x81"}, r"DE116 \(debtor_name\)"),
        ({"sender": "1" * 12}, r"DE98 \(sender\)"),
        ({"charges": "001004SHA"}, r"DE46 \(charges\): the nested fields do not add up"),
        ({"mti": "9210"}, "PaymentRequest is not the type"),
        ({"mti": "0200"}, "no message type"),
    ],
)
def test_value_that_does_not_fit_is_not_written(values: dict[str, str], error: str) -> None:
    """Encoding names the field and shows nothing of the value."""
    with pytest.raises(ValueError, match=error) as caught:
        CODEC.encode(PaymentRequest(**{"mti": "9200", **values}))  # type: ignore[arg-type]  # text only
    assert not [value for value in values.values() if len(value) > 2 and value in str(caught.value)]


@given(
    messages(("9200", "9201", "9420", "9421")), st.sampled_from(["0000", "0083", "1930"]), st.sampled_from(["", "043"])
)
def test_response_copies_five_fields(message: Message, code: str, field: str) -> None:
    """A 9210 or 9430 is what encoding one field by field would give."""
    request: Any = CODEC.decode(join_mac(CODEC.encode(message), MAC))
    mti = {"2": "9210", "4": "9430"}[message.mti[1]]
    copied = {name: getattr(message, name) for name in ("processing_code", "date_sent", "trn", "currency", "sender")}
    expected = build(mti, **copied, action_code=code, field_in_error=field)
    assert CODEC.respond(request, code, field) == CODEC.encode(expected)
    assert fpid_of(request) == fpid_of(expected)


@pytest.mark.parametrize(
    ("missing", "number"), [("processing_code", 3), ("date_sent", 12), ("trn", 31), ("currency", 51), ("sender", 98)]
)
def test_no_response_without_what_it_copies(missing: str, number: int) -> None:
    """It gets a 9624/650 instead."""
    values = {"processing_code": "100000", "date_sent": "20250131", "trn": "T", "currency": "826", "sender": "200000"}
    with pytest.raises(Unparseable) as caught:
        CODEC.respond(build("9200", **{**values, missing: ""}), "0000")
    assert (caught.value.field, caught.value.function_code) == (number, "650")


@pytest.mark.parametrize(
    ("values", "code", "field"),
    [
        ({}, "83", ""),
        ({}, "²²²²", ""),
        ({}, "00830", ""),
        ({}, "008X", ""),
        ({}, "0000", "1234"),
        ({"currency": "82"}, "0000", ""),
    ],
)
def test_no_response_of_wrong_width(values: dict[str, str], code: str, field: str) -> None:
    """A code, a field or a built request of the wrong width is our mistake."""
    good = {"processing_code": "100000", "date_sent": "20250131", "trn": "T", "currency": "826", "sender": "200000"}
    with pytest.raises(ValueError, match=r"DE26|DE44|width"):
        CODEC.respond(build("9200", **{**good, **values}), code, field)


@settings(max_examples=30)
@given(messages())
def test_plan_and_walk_agree_on_good_messages(message: Message) -> None:
    """A shape that came often is read by a compiled plan, to the same message as before."""
    codec = Codec(CODEC.table)
    body = join_mac(codec.encode(message), MAC)
    slow = codec.decode(body)
    for _ in range(10):
        assert codec.decode(body) == slow
    assert body[:36] in codec._readers
    assert codec._write_slowly(slow) == codec.encode(slow)


def test_message_does_not_show_itself() -> None:
    """Neither repr nor rich's pretty printer shows what is in a message."""
    message = PaymentRequest(mti="9200", debtor_name="SECRET", amount="00000000000999", body=b"SECRET")
    assert repr(message) == "<PaymentRequest 9200, 6 bytes, fault 0>"
    assert message.__rich_repr__() == [("mti", "9200"), ("fault", 0)]


def test_mac_is_split_and_joined() -> None:
    """DE128 is sixteen upper-case hex digits at the very end."""
    covered = CODEC.encode(PaymentRequest(mti="9200", amount="1"))
    assert join_mac(covered, MAC) == covered + b"0123456789ABCDEF"
    assert split_mac(join_mac(covered, MAC)) == (covered, MAC)
    for bad in (covered + b"0123456789abcdef", covered + b"0123456789ABCDE ", b"0123456789ABCDEF", b""):
        with pytest.raises(Unparseable) as caught:
            split_mac(bad)
        assert caught.value.field == 128
    with pytest.raises(ValueError, match="8 bytes"):
        join_mac(covered, bytes(7))


def test_fpid_is_made_of_five_fields() -> None:
    """TRN padded to 18, payment type, date, currency, sender padded to 11; nothing when one is missing."""
    values = {
        "processing_code": "102030",
        "date_sent": "20250131",
        "trn": "TRN1",
        "currency": "826",
        "sender": "200000",
    }
    fpid = fpid_of(build("9200", **values))
    assert fpid == "TRN1              " + "10" + "20250131" + "826" + "200000     "
    assert len(fpid) == 42
    for name in values:
        assert fpid_of(build("9200", **{**values, name: ""})) == ""


@given(
    messages(("9200",)),
    st.sampled_from(["9200", "9201"]),
    st.sampled_from(["", "20250201"]),
    st.sampled_from(["", "007"]),
)
def test_repeat_has_the_same_content(message: Message, mti: str, date: str, cycle: str) -> None:
    """The digest is blind to the last digit of the MTI, DE15, DE29 and the MAC, there or not, compiled or not."""
    values = {name: getattr(message, name) for _, name in CODEC.table.attributes("9200")}
    repeat = build(mti, **{**values, "settlement_date": date, "settlement_cycle": cycle})
    digest = CODEC.content_digest(message)
    assert len(digest) == 8
    assert CODEC.content_digest(repeat) == digest
    codec = Codec(CODEC.table)
    body = join_mac(codec.encode(repeat), bytes(8))
    for _ in range(10):
        assert codec.content_digest(codec.decode(body)) == digest


@given(messages(("9200", "9420")), st.data())
def test_other_content_has_another_digest(message: Message, data: st.DataObject) -> None:
    """Any other field that changes, appears or goes is other content."""
    attributes = [(n, name) for n, name in CODEC.table.attributes(message.mti) if n not in {15, 29}]
    number, name = data.draw(st.sampled_from(attributes))
    value = data.draw((value_of(number) | st.just("")).filter(lambda v: v != getattr(message, name)))
    values = {name: getattr(message, name) for _, name in CODEC.table.attributes(message.mti)}
    other = build(message.mti, **{**values, name: value})
    assert CODEC.content_digest(other) != CODEC.content_digest(message)


def test_reversal_is_not_the_payment() -> None:
    """A 9200 and a 9420 with the same fields have the same FPID and other content."""
    values = {
        "processing_code": "102030",
        "date_sent": "20250131",
        "trn": "TRN1",
        "currency": "826",
        "sender": "200000",
    }
    payment, reversal = build("9200", **values), build("9420", **values)
    assert fpid_of(payment) == fpid_of(reversal)
    assert CODEC.content_digest(payment) != CODEC.content_digest(reversal)
