"""What is submitted, as the 9200 that leaves: the same payment as the one it was made of, or what is wrong with it."""

import contextlib
import copy
import json
import string
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import config
from gateway.processor.messages import encode
from gateway.processor.request import FAULTS_MAX, MEMBERS, Invalid, Malformed, Outgoing, Reader, trn_of
from gateway.processor.writing import CURRENCIES, payment_of
from gateway.wire.codec import Codec, fpid_of, join_mac
from gateway.wire.fields import CHARSETS, Charset, FieldTable
from gateway.wire.message import PaymentRequest
from tests.fakes.door import BODY, FPID
from tests.fakes.processor import CODEC

READER = Reader(CODEC, "sip")
GROUPS: tuple[config.Group, ...] = ("sip", "sop", "fdp", "other")
READERS = {group: Reader(CODEC, group) for group in GROUPS}
GROUP_OF = {kind.code: kind.group for kind in CODEC.table.types.values()}


def changed(**members: Any) -> bytes:
    """The usual body with other members; None takes one away; a__b is inside of a."""
    body = copy.deepcopy(BODY)
    for name, value in members.items():
        *outer, last = name.split("__")
        inside = body
        for step in outer:
            inside = inside.setdefault(step, {})
        if value is None:
            del inside[last]
        else:
            inside[last] = value
    return json.dumps(body).encode()


def read(body: bytes, key: str = "key-1") -> Outgoing:
    """By the gateway of single immediate payments."""
    return READER.read(body, key)


def pointers(body: bytes, reader: Reader = READER) -> list[str]:
    """Where the faults of an invalid submission are."""
    with pytest.raises(Invalid) as caught:
        reader.read(body, "key-1")
    return [fault.pointer for fault in caught.value.faults]


# --- what is right


def test_a_submission_as_a_request() -> None:
    """Every member arrives in its data element, amounts as digits of pence, and it is encoded as it leaves."""
    request, covered, content = read(json.dumps(BODY).encode())
    assert request == PaymentRequest(
        mti="9200", processing_code="100000", amount="00000000012345", date_sent="20251122", trn="TEST00000000000001",
        creditor_account="12345678", debtor_agent="200000", debtor_account="87654321", currency="826",
        creditor_agent="300000", sender="200000", debtor_name="MR SECRET", debtor_address="1 HIGH STREET",
        creditor_name="MRS SECRET", reference="INVOICE 1234",
    )  # fmt: skip
    assert fpid_of(request) == FPID
    assert covered == CODEC.encode(request)
    assert len(content) == 8


def _text(charset: Charset, width: int, *, least: int = 0) -> st.SearchStrategy[str]:
    alphabet = CHARSETS[charset].decode("cp1252")
    return st.text(alphabet, min_size=least, max_size=width)


def _digits(width: int) -> st.SearchStrategy[str]:
    return st.text(string.digits, min_size=width, max_size=width)


@st.composite
def requests(draw: st.DrawFn) -> PaymentRequest:
    """Any payment that may leave: every field that the table allows, there or not."""
    table = CODEC.table
    values: dict[str, str] = {}
    mandatory = {table.fields[number].name for number in table.layouts["9200"].mandatory}
    for field in table.fields.values():
        if field.name not in MEMBERS:
            continue
        least = 1 if field.name in mandatory else 0
        if field.charset == "digits" and not field.prefix:
            value = draw(
                _digits(field.width) if least else st.sampled_from(["", "0" * field.width]) | _digits(field.width)
            )
            if field.name in {"amount", "original_amount", "rejected_amount"} and value:
                value = value if int(value) else "00000000000001"
        else:
            value = draw(_text(field.charset, field.width, least=least))
            value = "X" if least and not value.strip(" \r\n") else value
        values[field.name] = value
    days = st.dates().map(lambda day: day.strftime("%Y").zfill(4) + day.strftime("%m%d"))
    values["date_sent"] = draw(days)
    values["processing_code"] = draw(st.sampled_from(sorted(GROUP_OF))) + draw(_digits(4))
    codes = st.sampled_from(sorted(CURRENCIES)) | _digits(3).filter(lambda digits: digits != "000")
    values["currency"] = "826"
    values["original_currency"] = draw(codes) if values["original_amount"] else ""
    for name in ("trn", "debtor_agent", "sender"):
        values[name] = values[name].strip(" \r\n") or "X"
    for name in ("charges", "payment_data"):
        values[name] = draw(st.sampled_from(["", "001003SHA", "00100210"]))
    if values["processing_code"][:2] in {"20", "25"} or draw(st.booleans()):
        values["return_code"] = values["return_code"] if values["return_code"].strip(" \r\n") else "00000014"
        values["returned_fpid"] = draw(_text("text", 42, least=42).filter(lambda text: bool(text.strip(" \r\n"))))
    else:
        values["return_code"] = values["returned_fpid"] = ""
    return PaymentRequest(mti="9200", **values)  # type: ignore[arg-type]  # names out of the table


@given(requests())
def test_it_is_the_payment_that_it_was_made_of(request: PaymentRequest) -> None:
    """Whatever leaves: written in the processor's names, and read back, it is the same; so it is to the hub."""
    written = json.loads(encode(payment_of(request, fpid_of(request))))
    del written["FPID"]
    read_back, covered, _ = READERS[GROUP_OF[request.processing_code[:2]]].read(json.dumps(written).encode(), "key")
    assert read_back == request
    decoded = CODEC.decode(join_mac(covered, bytes(8)))
    assert msgspec.structs.replace(decoded, body=b"", mac="") == request


def test_there_is_a_member_for_every_field_of_ours() -> None:
    """Nothing that a 9200 can carry is without a member, but for what the hub adds."""
    never = {"mti", "body", "fault", "mac", "settlement_date", "settlement_cycle", "receiving_member"}
    assert set(PaymentRequest.__struct_fields__) - never == set(MEMBERS)


def test_the_order_of_members_and_white_space_play_no_part() -> None:
    """The same content has the same digest however it is written; other content has another."""
    one = read(json.dumps(BODY).encode()).content
    assert read(json.dumps(dict(reversed(BODY.items())), indent=4).encode()).content == one
    assert read(changed(IntrBkSttlmAmt__Ccy="826")).content == one
    assert read(changed(IntrBkSttlmAmt__Amt="123.46")).content != one


@pytest.mark.parametrize(
    "members",
    [
        {"EndToEndId": ""},
        {"Dbtr__PstlAdr": "FLAT 1: 2 ROAD; (REAR)"},
        {"Dbtr__Nm": "RENÉE Ž"},
        {"Dbtr__Nm": "A/B"},
        {"LclInstrm": "10"},
        {"Cdtr": {}},
        {"RmtInf": {}},
    ],
)
def test_what_makes_it_look_twice_is_right_all_the_same(members: dict[str, Any]) -> None:
    """A colon in a value, an escape, an empty member: looked at slowly, and taken."""
    for body in (changed(**members), changed(**members).replace(b"/", b"\\/")):
        assert read(body).request.trn == "TEST00000000000001"


def test_without_a_reference_it_gets_one_from_its_key() -> None:
    """The same key makes the same TRN, at both sites; it fits DE31; other keys make other ones."""
    body = changed(TxId=None)
    trns = {key: read(body, key).request.trn for key in ("a", "b", "!~", "k" * 100)}
    assert len(set(trns.values())) == len(trns)
    for trn in trns.values():
        assert trn[0] == "G"
        assert set(trn[1:]) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
        assert len(trn) == 18


def test_a_key_makes_this_reference_for_ever() -> None:
    """Both sites, and every version, must make the same one."""
    assert trn_of("key-1") == "G90QRNNX0W5TPA762Z"


@given(st.integers(1, 10**14 - 1))
def test_amounts(pence: int) -> None:
    """Decimal text becomes pence, exactly."""
    text = f"{pence // 100}.{pence % 100:02}"
    assert read(changed(IntrBkSttlmAmt__Amt=text)).request.amount == f"{pence:014}"


# --- what is wrong with its form


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"nothing", b"\xff\xfe", b'{"MsgTp":"\xff"}', b'{"MsgTp":"pacs.008",}', b"{'MsgTp':'pacs.008'}",
        json.dumps(BODY).encode("utf-16"), json.dumps(BODY).encode() + b"}",
        b"\xef\xbb\xbf" + json.dumps(BODY).encode(),
        b"[" * 100_000, b'{"x":' * 5_000, b'{"Dbtr":' + b'{"Dbtr":' * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_json(body: bytes) -> None:
    """Not JSON, not UTF-8, nested without end: said so."""
    with pytest.raises(Malformed, match="the body is not JSON in UTF-8"):
        read(body)


DOUBLE = [
    ('"TxId":"TEST00000000000001"', '"TxId":"TEST00000000000001","TxId":"TEST00000000000002"', "#/TxId"),
    ('"TxId":"TEST00000000000001"', '"TxId" :"OTHER","TxId":"TEST00000000000001"', "#/TxId"),
    ('"TxId":"TEST00000000000001"', '"\\u0054xId":"OTHER","TxId":"TEST00000000000001"', "#/TxId"),
    ('"TxId":"TEST00000000000001"', '"TxId":"a:b","TxId":"TEST00000000000001"', "#/TxId"),
    ('"Nm":"MR SECRET"', '"Nm":"MR SECRET","Nm":"MR SECRET"', "#/Dbtr/Nm"),
    ('"Ccy":"GBP"', '"Ccy":"EUR","Ccy":"GBP"', "#/IntrBkSttlmAmt/Ccy"),
    ('"ClrSysId":"GBDSC"', '"ClrSysId":"GBDSC","ClrSysId":"GBDSC"', "#/DbtrAgt/ClrSysId"),
    ('"ClrSysId":"GBDSC","MmbId":"200000"', '"MmbId":"300000","MmbId":"200000"', "#/DbtrAgt/MmbId"),
]


@pytest.mark.parametrize(("once", "twice", "where"), DOUBLE)
def test_a_member_that_comes_twice(once: str, twice: str, where: str) -> None:
    """However it is written, and whatever else is left out: two values are none."""
    text = json.dumps(BODY, separators=(",", ":")).replace(once, twice, 1)
    with pytest.raises(Malformed, match="a member comes twice") as caught:
        read(text.encode())
    assert [fault.pointer for fault in caught.value.faults] == [where]


@given(st.data())
def test_no_member_twice_gets_through(data: st.DataObject) -> None:
    """Any member, at any place, written in any way, with any value: once more is once too often."""
    text = json.dumps(BODY, separators=(",", ":"))
    name = data.draw(st.sampled_from(sorted(BODY)))
    value = data.draw(st.sampled_from([json.dumps(BODY[name]), json.dumps(BODY[name]).replace("S", "\\u0053")]))
    space = data.draw(st.sampled_from(["", " ", "\n"]))
    written = data.draw(st.sampled_from([name, f"\\u{ord(name[0]):04x}{name[1:]}"]))
    less = data.draw(st.booleans())
    if less:
        text = text.replace('"ClrSysId":"GBDSC",', "", 1)
    with pytest.raises(Malformed):
        read(f'{{"{written}"{space}:{value},{text[1:]}'.encode())


@pytest.mark.parametrize("value", ['"USABA"', '""', "{}", "1"])
def test_a_clearing_system_at_a_wrong_place_makes_up_for_none(value: str) -> None:
    """An agent need not say its clearing system; an account that does is not what was meant."""
    text = json.dumps(BODY, separators=(",", ":")).replace('"ClrSysId":"GBDSC",', "", 1)
    text = text.replace('"Id":"87654321"', f'"Id":"87654321","ClrSysId":{value}')
    with pytest.raises(Invalid) as caught:
        read(text.encode())
    assert [fault.pointer for fault in caught.value.faults] == ["#/DbtrAcct/ClrSysId"]


# --- what is wrong with its members


@pytest.mark.parametrize(
    "name",
    [
        "MsgTp",
        "PrcgCd",
        "IntrBkSttlmAmt",
        "IntrBkSttlmDt",
        "Dbtr",
        "DbtrAcct",
        "DbtrAgt",
        "CdtrAcct",
        "CdtrAgt",
        "InstgAgt",
    ],
)
def test_a_member_that_is_missing(name: str) -> None:
    """It is named."""
    assert pointers(changed(**{name: None})) == [f"#/{name}"]


def test_all_that_is_empty_is_said_at_once() -> None:
    """Each member that must say something and does not."""
    body = changed(Dbtr={}, DbtrAcct__Id="", CdtrAgt__MmbId="", InstgAgt__MmbId="")
    assert pointers(body) == ["#/DbtrAcct/Id", "#/CdtrAgt/MmbId", "#/InstgAgt/MmbId", "#/Dbtr/Nm"]


HIDDEN = "SECRET 12345678 €|"
WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"MsgTp": "pacs.002"}, ["#/MsgTp"]),
    ({"MsgTp": 8}, ["#/MsgTp"]),
    ({"MsgTp": "pacs.004"}, ["#/RtrRsnInf", "#/OrgnlFPID"]),
    ({"OrgnlFPID": FPID}, ["#/MsgTp"]),
    ({"RtrRsnInf": {"Rsn": {"Prtry": "00000002"}}}, ["#/MsgTp"]),
    ({"MsgTp": "pacs.004", "RtrRsnInf": {"Rsn": {"Prtry": "00000002"}}, "OrgnlFPID": FPID.strip()}, ["#/OrgnlFPID"]),
    ({"RtrRsnInf": {}}, ["#/RtrRsnInf/Rsn"]),
    ({"PrcgCd": "1000"}, ["#/PrcgCd"]),
    ({"PrcgCd": "10000A"}, ["#/PrcgCd"]),
    ({"PrcgCd": "100000\n"}, ["#/PrcgCd"]),
    ({"PrcgCd": "１00000"}, ["#/PrcgCd"]),
    ({"PrcgCd": "300000"}, ["#/PrcgCd"]),
    ({"PrcgCd": "990000"}, ["#/PrcgCd"]),
    ({"LclInstrm": "20"}, ["#/LclInstrm"]),
    *(({"IntrBkSttlmAmt": {"Ccy": "GBP", "Amt": amount}}, ["#/IntrBkSttlmAmt/Amt"]) for amount in (
        "", "1", "1.2", "1.234", ".12", "-1.00", "+1.00", "1e3", "1,00", "1.00 ", " 1.00", "NaN", "1234567890123.00",
        "1.0\n", "1.00\n", "١.٠٠", "1.00.00", "0x1.00",
    )),
    ({"IntrBkSttlmAmt__Amt": 12.34}, ["#/IntrBkSttlmAmt/Amt"]),
    ({"IntrBkSttlmAmt__Amt": None}, ["#/IntrBkSttlmAmt/Amt"]),
    ({"IntrBkSttlmAmt": "12.34"}, ["#/IntrBkSttlmAmt"]),
    *(({"IntrBkSttlmAmt__Ccy": currency}, ["#/IntrBkSttlmAmt/Ccy"]) for currency in (
        "gbp", "XXX", "", "82", "８26", "GBPX",
    )),
    ({"InstdAmt": {"Ccy": "XXX", "Amt": "1.00"}}, ["#/InstdAmt/Ccy"]),
    ({"RjctdAmt": {"Ccy": "EUR", "Amt": "1.00"}}, ["#/RjctdAmt/Ccy"]),
    *(({"IntrBkSttlmDt": day}, ["#/IntrBkSttlmDt"]) for day in (
        "", "20251122", "2025-02-30", "2025-W47-6", "2025-13-01", "0000-01-01", "2025/11/22", "2025-11-22T00:00:00Z",
        "２025-11-22", "2025-1-1",
    )),
    ({"TxId": "X" * 19}, ["#/TxId"]),
    ({"TxId": " X"}, ["#/TxId"]),
    ({"TxId": "X "}, ["#/TxId"]),
    ({"TxId": "É"}, ["#/TxId"]),
    ({"Dbtr": None}, ["#/Dbtr"]),
    ({"Dbtr": []}, ["#/Dbtr"]),
    ({"Dbtr__Nm": 7}, ["#/Dbtr/Nm"]),
    ({"Dbtr__Nm": "X" * 41}, ["#/Dbtr/Nm"]),
    ({"Dbtr__Nm": HIDDEN}, ["#/Dbtr/Nm"]),
    ({"Dbtr__Nm": "漢"}, ["#/Dbtr/Nm"]),
    ({"DbtrAcct": {}}, ["#/DbtrAcct/Id"]),
    ({"DbtrAgt": {"ClrSysId": "XX", "MmbId": "200000"}}, ["#/DbtrAgt/ClrSysId"]),
    ({"DbtrAgt__MmbId": "200000 "}, ["#/DbtrAgt/MmbId"]),
    ({"InstgAgt__MmbId": "123456789012"}, ["#/InstgAgt/MmbId"]),
    ({"NbRef": "1"}, ["#/NbRef"]),
    ({"NbRef": "A234"}, ["#/NbRef"]),
    ({"XchgRate": "1.5"}, ["#/XchgRate"]),
    ({"CdtItms": "7"}, ["#/CdtItms"]),
    ({"ChrgsInf": "001004SHA"}, ["#/ChrgsInf"]),
    ({"PmtData": "SHA"}, ["#/PmtData"]),
    ({"RmtInf": {"Strd": {"CdtrRefInf": {"Ref": "X" * 19}}, "Ustrd": "X" * 141}},
     ["#/RmtInf/Strd/CdtrRefInf/Ref", "#/RmtInf/Ustrd"]),
    ({"Reference": HIDDEN}, ["#/Reference"]),
    ({"Dbtr__nm": HIDDEN}, ["#/Dbtr/nm"]),
    ({"DbtrAgt__Nm": HIDDEN}, ["#/DbtrAgt/Nm"]),
    ({HIDDEN: HIDDEN}, ["#"]),
    ({"Cdtr": {HIDDEN: HIDDEN}}, ["#/Cdtr"]),
    ({"FPID": FPID}, ["#/FPID"]),
    ({"ClrSysRef": "20251122001"}, ["#/ClrSysRef"]),
    ({"InstdAgt": {"ClrSysId": "GBDSC", "MmbId": "300000"}}, ["#/InstdAgt"]),
    ({"More": [{"Dbtr": {"Nm": 1}}] * 10}, ["#/More"]),
]  # fmt: skip


@pytest.mark.parametrize(("members", "where"), WRONG)
def test_a_member_that_is_wrong(members: dict[str, Any], where: list[str]) -> None:
    """It is named with its rule; no value of any member is in what is said."""
    with pytest.raises(Invalid) as caught:
        read(changed(**members))
    assert [fault.pointer for fault in caught.value.faults] == where
    said = str(caught.value) + encode(caught.value.faults).decode()
    assert caught.value.__cause__ is None
    for value in ("SECRET", "12345678", "87654321", "123.45", "HIGH STREET", "INVOICE"):
        assert value not in said
    for value in values_in(members):
        assert len(value) < 5 or value.startswith("pacs") or value not in said


def values_in(value: Any) -> list[str]:
    """Every text in it that is a value."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in values_in(inner)]
    return [value] if isinstance(value, str) else []


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(sorted([*BODY, "Nm", "Id", "Amt", "Ccy", "MmbId"])) | st.text(), inner, max_size=6
            )
        ),
    ),
    st.sampled_from(sorted(BODY)),
)
def test_any_json(value: Any, name: str) -> None:
    """Any JSON, whole or as a member, is a payment, malformed or invalid, and nothing else."""
    for body in (value, {**BODY, name: value}):
        with contextlib.suppress(Malformed, Invalid):
            READER.read(json.dumps(body).encode("utf-8", "surrogatepass"), "key")


@given(st.binary(max_size=300))
def test_any_bytes(body: bytes) -> None:
    """Any bytes too."""
    with pytest.raises((Malformed, Invalid)):
        read(body)


def test_no_more_faults_than_somebody_would_read() -> None:
    """A thousand strange members are not a thousand faults."""
    assert len(pointers(json.dumps({**BODY, **{f"X{n}": "" for n in range(1000)}}).encode())) == FAULTS_MAX


# --- which payments leave here


@pytest.mark.parametrize("group", [*GROUPS, "usm"])
def test_each_type_leaves_by_the_gateway_of_its_group(group: config.Group) -> None:
    """What the table of payment types says, for each of them."""
    reader = Reader(CODEC, group)
    returned = {"MsgTp": "pacs.004", "RtrRsnInf": {"Rsn": {"Prtry": "00000002"}}, "OrgnlFPID": FPID}
    for kind in CODEC.table.types.values():
        more = returned if 127 in kind.mandatory else {}
        body = changed(PrcgCd=kind.code + "0000", **more)
        if kind.group == group:
            assert reader.read(body, "key").request.processing_code == kind.code + "0000"
        else:
            assert pointers(body, reader) == ["#/PrcgCd"]


def test_a_return_must_say_what_it_returns_and_why() -> None:
    """A type that needs more than others says so by member."""
    body = changed(PrcgCd="200000")
    assert pointers(body, READERS["other"]) == ["#/RtrRsnInf/Rsn/Prtry", "#/OrgnlFPID"]


def table(without: Literal["private"], mandatory: int) -> FieldTable:
    """The built-in one, less a field, and with one more that must be there."""
    built_in = CODEC.table
    layout = built_in.layouts["9200"]
    gone = next(number for number, field in built_in.fields.items() if field.name == without)
    layouts = {**built_in.layouts, "9200": msgspec.structs.replace(layout, mandatory=(*layout.mandatory, mandatory))}
    fields = {number: field for number, field in built_in.fields.items() if number != gone}
    return msgspec.structs.replace(built_in, fields=fields, layouts=layouts)


def test_another_field_table() -> None:
    """A bank's own table decides what must be there, and what has no place is refused, not dropped."""
    reader = Reader(Codec(table("private", 62)), "sip")
    assert pointers(changed(), reader) == ["#/EndToEndId"]
    assert pointers(changed(EndToEndId="X", PrvtUse="X"), reader) == ["#/PrvtUse"]
    assert reader.read(changed(EndToEndId="X"), "key").request.end_to_end == "X"


def leaves(body: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(body, dict):
        return [leaf for name, inner in body.items() for leaf in leaves(inner, (*path, name))]
    return [path] if isinstance(body, str) else []


def test_other_content_in_any_member_has_another_digest() -> None:
    """The digest tells the same payment from another one under the same key: no member may be left out of it."""
    first, tried = read(json.dumps(BODY).encode()), 0
    for path in leaves(BODY):
        body = copy.deepcopy(BODY)
        inside = body
        for step in path[:-1]:
            inside = inside[step]
        text = inside[path[-1]]
        for last in "123456789ABX":
            inside[path[-1]] = text[:-1] + last
            try:
                other = read(json.dumps(body).encode())
            except (Invalid, Malformed):
                continue
            if other.covered != first.covered:
                tried += 1
                assert other.content != first.content, path
                break
    assert tried > 10
