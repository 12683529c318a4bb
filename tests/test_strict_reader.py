"""What a strict reader of the OpenAPI document says of what the gateway sends: jsonschema, with every format checked.

A payment that passes here and is refused there was accepted in the bank's name and can never be booked.
"""

import json
from datetime import datetime
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.payments.submissions import standing_of
from gateway.payments.verify import names_a_payment
from gateway.processor.messages import encode
from gateway.processor.notices import notice_of
from gateway.processor.openapi import document
from gateway.processor.writing import payment_of, progress_of
from gateway.wire.codec import Unparseable, fpid_of
from gateway.wire.fields import CHARSETS
from gateway.wire.message import PaymentRequest, PaymentResponse, ReversalRequest, Usm
from tests.fakes.processor import Record
from tests.wire.value_table import BASE, CODEC, boundaries, message

DOCUMENT = document()
FORMATS = FormatChecker(["date"])


@FORMATS.checks("date-time", raises=ValueError)  # type: ignore[untyped-decorator]  # jsonschema says no types
def _is_moment(value: object) -> bool:
    return datetime.fromisoformat(str(value)).tzinfo is not None


@cache
def validator(name: str) -> Any:
    """A strict reader of one schema: a member that the document does not know is a fault, too."""
    components = {"schemas": {known: closed(schema) for known, schema in DOCUMENT["components"]["schemas"].items()}}
    schema = {"$ref": f"#/components/schemas/{name}", "components": components}
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FORMATS)


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Nothing that is not described."""
    return schema | ({"additionalProperties": False} if schema.get("type") == "object" else {})


def faults(name: str, body: bytes) -> list[str]:
    """Where a body is not what the document says: places and rules."""
    return [f"{fault.json_path} {fault.validator}" for fault in validator(name).iter_errors(json.loads(body))]


def values_of(number: int) -> st.SearchStrategy[str]:
    """A value of a field: at a boundary, or any that its width and characters allow."""
    field = CODEC.table.fields[number]
    known = [value for _, value in boundaries(field) if not value.startswith("\0")]
    alphabet = CHARSETS[field.charset].decode("latin-1")
    least = 0 if field.prefix else field.width if field.charset == "digits" else 1
    return st.sampled_from(known) | st.text(alphabet, min_size=least, max_size=field.width)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A 9200 of any fields, a few of them spoiled."""
    absent = draw(st.sets(st.sampled_from(sorted(BASE)), max_size=6))
    spoiled = draw(st.dictionaries(st.sampled_from(sorted(BASE)), st.none(), max_size=4))
    changes = {number: draw(values_of(number)) for number in spoiled}
    kind = draw(st.sampled_from(["200000", "100000", "770000"]))
    return message({n: v for n, v in (BASE | {3: kind} | changes).items() if n not in absent})


def read(body: bytes) -> Any:
    try:
        return CODEC.decode(body)
    except Unparseable:
        return None


@given(bodies())
@example(message(BASE | {12: "20270229"}))
@example(message({n: v for n, v in BASE.items() if n != 49}))
@example(message({n: v for n, v in BASE.items() if n not in {15, 126, 127}}))
def test_whatever_payment_passes_inbound_a_strict_reader_takes(body: bytes) -> None:
    """As a question, and as each kind of notice that tells of one."""
    request = read(body)
    if not isinstance(request, PaymentRequest) or request.fault:
        return
    fpid = fpid_of(request)
    assert faults("Payment", encode(payment_of(request, fpid))) == []
    marked = encode(payment_of(request, fpid, unusual_date=True))
    assert faults("Payment", marked) == []
    assert json.loads(marked)["unusual_date"] is True
    told: dict[Kind, Any] = {
        Kind.STOOD_IN: steps.Decision("0080", "", bytes(8), b"", body),
        Kind.UNDELIVERED: steps.Undelivered("link-lost", "1114", body),
        Kind.LATE_REFUSAL: steps.Late("1114", "0080", body),
        Kind.ORPHANED: steps.Orphan(body, bytes(8)),
    }
    for position, (kind, step) in enumerate(told.items(), 1):
        record = Record(position, 1_763_844_901_123_456_000, kind, fpid, steps.pack(step))
        assert faults("Notice", encode(notice_of(record, "sip-a", CODEC))) == []


@given(bodies())
@example(message({n: v for n, v in BASE.items() if n in {3, 12, 31, 51, 98}}))
@example(message(BASE | {12: "20270229"}))
@example(message(BASE | {15: "ABCDEFGH"}))
@example(message(BASE | {6: "0000000000012A"}))
def test_whatever_reversal_is_taken_a_strict_reader_takes(body: bytes) -> None:
    """A reversal is answered positively whatever is in it: what it says in no valid value is not in what is told."""
    reversal = read(b"9420" + body[4:])
    if not isinstance(reversal, ReversalRequest) or not names_a_payment(reversal):
        return
    step = steps.Reversal(reversal.body, "NEW", "", bytes(8))
    record = Record(7, 1_763_844_901_123_456_000, Kind.REVERSED, fpid_of(reversal), steps.pack(step))
    assert faults("Notice", encode(notice_of(record, "sip-a", CODEC))) == []


ANSWER = {n: BASE[n] for n in (3, 12, 15, 29, 31, 51, 98)} | {26: "9930", 27: "1", 44: "121", 57: "300000", 58: "1234"}
"""The hub's answer to a payment of ours, with all that it may carry."""


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """A 9210 with some fields spoiled, as far as its structure can be read."""
    spoiled = draw(st.dictionaries(st.sampled_from(sorted(ANSWER)), st.none(), max_size=4))
    return message(ANSWER | {number: draw(any_of(number)) for number in spoiled})


def any_of(number: int) -> st.SearchStrategy[str]:
    """Any value of a field that its width and its characters allow, and digits in text."""
    field = CODEC.table.fields[number]
    least = 0 if field.prefix else field.width if field.charset == "digits" else 1
    text = st.text(CHARSETS[field.charset].decode("latin-1"), min_size=least, max_size=field.width)
    return text | st.text("0123456789", min_size=least, max_size=min(field.width, 40))


@given(answers(), st.sampled_from(["hub", "receiver"]))
@example(message(ANSWER | {44: "000"}), "hub")
@example(message(ANSWER | {44: "A/1"}), "hub")
def test_whatever_the_hub_answers_a_strict_reader_takes(body: bytes, by: str) -> None:
    """A payment of ours that has its outcome is told, and looked at, whatever else stands in the answer."""
    response = read(b"9210" + body[4:])
    if not isinstance(response, PaymentResponse) or response.fault:
        return
    fpid = fpid_of(response)
    code = response.action_code
    settled = steps.Settlement("key-1", bytes(8), code, response.field_in_error, by, response.body, b"")
    for kind in (Kind.SETTLED, Kind.CONTRADICTED):
        record = Record(7, 1_763_844_901_123_456_000, kind, fpid, steps.pack(settled))
        assert faults("Notice", encode(notice_of(record, "sip-a", CODEC))) == []
    progress = progress_of(standing_of(fpid, settled, response), CODEC.action_codes)
    assert faults("Progress", encode(progress)) == []
    left = steps.Unsettled("key-1", bytes(8), "inconclusive", code, 3, b"")
    record = Record(8, 1_763_844_901_123_456_000, Kind.UNKNOWN, fpid, steps.pack(left))
    assert faults("Notice", encode(notice_of(record, "sip-a", CODEC))) == []


TOLD = sorted({*CODEC.table.layouts["9824"].optional} - {12, 98, 123})
"""What news may carry."""


@st.composite
def news(draw: st.DrawFn) -> bytes:
    """A 9824 of each function, with any values."""
    said = {number: draw(any_of(number)) for number in draw(st.sets(st.sampled_from(TOLD), max_size=8))}
    return message({7: draw(any_of(7)), 11: "000001", 24: str(draw(st.integers(970, 982)))} | said)


@given(news())
def test_whatever_news_comes_a_strict_reader_takes(body: bytes) -> None:
    """News of the scheme is told whatever is in it: what it says in no valid value is not in what is told."""
    usm = read(b"9824" + body[4:])
    if not isinstance(usm, Usm) or usm.fault:
        return
    record = Record(9, 1_763_844_901_123_456_000, Kind.USM, "", steps.pack(steps.News(usm.body)))
    assert faults("Notice", encode(notice_of(record, "sip-a", CODEC))) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"IntrBkSttlmDt": "2027-02-29"}, "$.IntrBkSttlmDt format"),
        ({"IntrBkSttlmAmt": {"Ccy": "GBP", "Amt": "0."}}, "$.IntrBkSttlmAmt.Amt pattern"),
        ({"IntrBkSttlmAmt": {"Ccy": "", "Amt": "1.00"}}, "$.IntrBkSttlmAmt.Ccy pattern"),
        ({"FPID": "short"}, "$.FPID minLength"),
        ({"ClrSysRef": "20251122ABC"}, "$.ClrSysRef pattern"),
        ({"Stranger": "1"}, "$ additionalProperties"),
    ],
)
def test_a_strict_reader_is_strict(changes: dict[str, Any], fault: str) -> None:
    """What was sent before there were rules is found."""
    request = CODEC.decode(message(BASE))
    assert isinstance(request, PaymentRequest)
    body = json.loads(encode(payment_of(request, fpid_of(request)))) | changes
    assert faults("Payment", json.dumps(body).encode()) == [fault]
