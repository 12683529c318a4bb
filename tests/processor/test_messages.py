"""The JSON both ways: what is written, what is taken for an answer, and what of it may be printed."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.processor.answers import Answers
from gateway.processor.messages import Amount, Payment, Status, encode
from gateway.processor.writing import key_of, moment, payment_of
from gateway.wire.message import PaymentRequest
from tests.fakes.processor import payment


def test_a_payment_in_iso_20022_names() -> None:
    """A payment is written in ISO 20022 names, without what the message does not hold."""
    fpid, request = payment()
    assert json.loads(encode(payment_of(request, fpid))) == {
        "FPID": fpid,
        "MsgTp": "pacs.008",
        "LclInstrm": "10",
        "PrcgCd": "100000",
        "TxId": "TEST00000000000001",
        "IntrBkSttlmAmt": {"Ccy": "GBP", "Amt": "123.45"},
        "IntrBkSttlmDt": "2025-11-22",
        "Dbtr": {"Nm": "MR SECRET", "PstlAdr": "1 HIGH STREET"},
        "DbtrAcct": {"Id": "87654321"},
        "DbtrAgt": {"ClrSysId": "GBDSC", "MmbId": "200000"},
        "CdtrAcct": {"Id": "12345678"},
        "CdtrAgt": {"ClrSysId": "GBDSC", "MmbId": "300000"},
        "InstgAgt": {"ClrSysId": "GBDSC", "MmbId": "200000"},
        "Cdtr": {"Nm": "MRS SECRET"},
        "RmtInf": {"Strd": {"CdtrRefInf": {"Ref": "INVOICE 1234"}}},
        "ClrSysRef": "20251122001",
        "SubmgMmb": "200000",
        "InstdAgt": {"ClrSysId": "GBDSC", "MmbId": "300000"},
        "ChrgsInf": "001003SHA",
    }


def test_every_field_of_a_request_reaches_the_processor() -> None:
    """No field of a payment request is lost on the way: each value, made unique, is found in the JSON."""
    never = {"mti", "body", "fault", "mac"}
    names = [field.name for field in msgspec.structs.fields(PaymentRequest) if field.name not in never]
    shaped = {
        "amount": "00000000098765", "original_amount": "00000000054321", "rejected_amount": "00000000011223",
        "date_sent": "20251121", "settlement_date": "20251122", "settlement_cycle": "003", "currency": "826",
        "original_currency": "978", "processing_code": "200000",
    }  # fmt: skip
    shown = {
        "amount": '"987.65"', "original_amount": '"543.21"', "rejected_amount": '"112.23"', "date_sent": '"2025-11-21"',
        "settlement_date": '"20251122003"', "settlement_cycle": '"20251122003"', "currency": '"GBP"',
        "original_currency": '"EUR"',
    }  # fmt: skip
    values = {name: shaped.get(name, f"<{name}>") for name in names}
    text = encode(payment_of(PaymentRequest(mti="9200", **values), "F" * 42)).decode()  # type: ignore[arg-type]  # names out of a list
    assert [name for name in names if shown.get(name, f'"{values[name]}"') not in text] == []
    assert '"MsgTp":"pacs.004"' in text


@pytest.mark.parametrize(
    ("pence", "amount"),
    [
        ("00000000000000", "0.00"),
        ("00000000000001", "0.01"),
        ("00000000000099", "0.99"),
        ("00000000000100", "1.00"),
        ("99999999999999", "999999999999.99"),
    ],
)
def test_amounts(pence: str, amount: str) -> None:
    """Fourteen digits of pence become pounds, exactly."""
    _, request = payment()
    built = payment_of(msgspec.structs.replace(request, amount=pence), "F" * 42)
    assert built.IntrBkSttlmAmt == Amount("GBP", amount)


def test_nothing_of_a_payment_is_printed() -> None:
    """Neither repr nor str of a payment, nor of a part of it, shows what is in it."""
    fpid, request = payment()
    built = payment_of(request, fpid)
    for part in (built, built.Dbtr, built.DbtrAcct, built.IntrBkSttlmAmt, built.RmtInf, [built], {"": built}):
        shown = f"{part!r} {part}"
        assert "SECRET" not in shown
        assert "87654321" not in shown
        assert "123" not in shown


@given(st.text(alphabet=st.characters(codec="latin-1"), max_size=42))
def test_an_fpid_in_a_header_or_path(fpid: str) -> None:
    """Whatever is in an FPID, as a key it is one word of plain ASCII, and it can be read back."""
    from urllib.parse import unquote

    key = key_of(fpid)
    assert all(character.isalnum() or character in "%-._~" for character in key)
    assert key.isascii()
    assert unquote(key) == fpid


def test_a_moment() -> None:
    """A record's time is written to the microsecond, in UTC, also before the epoch's first second was over."""
    assert moment(1_763_844_901_123_456_789) == "2025-11-22T20:55:01.123456Z"
    assert moment(1_000) == "1970-01-01T00:00:00.000001Z"


@pytest.mark.parametrize("field", [*map(str, range(200)), "01", "001", "00", "000", "010", "0010", "x", " 1"])
def test_the_schema_of_a_field_in_error_is_what_is_read(field: str) -> None:
    """The pattern that the teams at the other end are given lets through exactly what is taken as agreed."""
    status = msgspec.json.encode({"TxSts": "RJCT", "StsRsnInf": {"Rsn": {"Prtry": "1930"}, "FldInErr": field}})
    try:
        msgspec.json.decode(status, type=Status)
        fits = True
    except msgspec.ValidationError:
        fits = False
    assert fits == (not Answers().read(200, status).fault)


def test_what_is_written_can_be_read() -> None:
    """The definitions that the document is made of accept what is written, patterns and all."""
    fpid, request = payment()
    built = payment_of(request, fpid)
    assert msgspec.json.decode(encode(built), type=Payment) == built
