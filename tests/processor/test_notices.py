"""A record of the journal, as the notice that tells it: for each kind that is told."""

import json
from typing import Any

import msgspec
import pytest

from gateway.payments import steps
from gateway.payments.steps import TOLD_KINDS, Kind
from gateway.processor.messages import Notice, encode, status_of
from gateway.processor.notices import notice_of
from gateway.processor.writing import payment_of
from gateway.wire.codes import built_in
from gateway.wire.message import PaymentResponse, ReversalRequest
from tests.fakes.processor import CODEC, WALL_NS, Record, payment

FPID, REQUEST = payment()
RAW = CODEC.encode(REQUEST) + b"0" * 16
PAYMENT = json.loads(encode(payment_of(REQUEST, FPID)))
REVERSAL = CODEC.encode(
    ReversalRequest(
        mti="9420", processing_code="100000", amount="00000000012345", date_sent="20251122", currency="826",
        trn=REQUEST.trn, sender="200000", action_code="4021", creditor_account="12345678", creditor_agent="300000",
        debtor_account="87654321", debtor_agent="200000",
    )
) + b"0" * 16  # fmt: skip
COMMON = {"id": "node/7", "FPID": FPID, "recorded": "2025-11-22T20:55:01.123456Z"}
QUALIFIED = {
    "TxSts": "ACTC", "StsRsnInf": {"Rsn": {"Prtry": "0083"}, "AddtlInf": "credited the next working day"}
}  # fmt: skip
REFUSED = {"TxSts": "RJCT", "StsRsnInf": {"Rsn": {"Prtry": "1114"}, "AddtlInf": "account unknown"}}

OUT = msgspec.structs.replace(REQUEST, settlement_date="", settlement_cycle="", receiving_member="")
COVERED = CODEC.encode(OUT)
LEFT = json.loads(encode(payment_of(OUT, FPID)))
RESPONSE = CODEC.encode(
    PaymentResponse(
        mti="9210", processing_code="100000", date_sent="20251122", settlement_date="20251122", action_code="0000",
        asynchronous="1", settlement_cycle="002", trn=REQUEST.trn, currency="826", redirected_agent="309999",
        redirected_account="87651234", sender="200000",
    )
) + b"0" * 16  # fmt: skip

NOTICES: dict[Kind, tuple[msgspec.Struct, dict[str, Any]]] = {
    Kind.STOOD_IN: (
        steps.Decision("0083", "", bytes(8), b"", RAW),
        {"decided": QUALIFIED, "payment": PAYMENT},
    ),
    Kind.UNDELIVERED: (
        steps.Undelivered("link-lost", "1114", RAW),
        {"decided": REFUSED, "reason": "link-lost", "payment": PAYMENT},
    ),
    Kind.LATE_REFUSAL: (
        steps.Late("1114", "0083", RAW),
        {"decided": QUALIFIED, "answered": REFUSED, "payment": PAYMENT},
    ),
    Kind.ORPHANED: (steps.Orphan(RAW, bytes(8)), {"payment": PAYMENT}),
    Kind.DECLINED: (
        steps.Decision("1909", "", bytes(8), b"", RAW),
        {
            "decided": {
                "TxSts": "RJCT",
                "StsRsnInf": {"Rsn": {"Prtry": "1909"}, "AddtlInf": "system malfunction of the receiver"},
            },
            "payment": PAYMENT,
        },
    ),
    Kind.UNANSWERED: (steps.Orphan(RAW, bytes(8)), {"payment": PAYMENT}),
    Kind.OVERRULED: (
        steps.Late("1114", "0000", RAW),
        {
            "decided": {"TxSts": "ACSP", "StsRsnInf": {"Rsn": {"Prtry": "0000"}}},
            "answered": REFUSED,
            "payment": PAYMENT,
        },
    ),
    Kind.SETTLED: (
        steps.Settlement("key-1", bytes(8), "0000", "", "receiver", RESPONSE, COVERED),
        {
            "key": "key-1",
            "decided": {"TxSts": "ACSP", "StsRsnInf": {"Rsn": {"Prtry": "0000"}}},
            "by": "receiver",
            "ClrSysRef": "20251122002",
            "RdrctdAgt": {"ClrSysId": "GBDSC", "MmbId": "309999"},
            "RdrctdAcct": {"Id": "87651234"},
            "asynchronous": True,
            "payment": LEFT,
        },
    ),
    Kind.UNKNOWN: (
        steps.Unsettled("key-1", bytes(8), "inconclusive", "9909", 4, COVERED),
        {"key": "key-1", "reason": "inconclusive", "inconclusive": "9909", "attempts": 4, "payment": LEFT},
    ),
    Kind.UNSENT: (
        steps.Unsettled("key-1", bytes(8), "no-link", "", 0, COVERED),
        {"key": "key-1", "reason": "no-link", "attempts": 0, "payment": LEFT},
    ),
    Kind.CONTRADICTED: (
        steps.Settlement("key-1", bytes(8), "1114", "", "receiver", RESPONSE, b""),
        {"key": "key-1", "answered": REFUSED, "by": "receiver"},
    ),
    Kind.REVERSED: (
        steps.Reversal(REVERSAL, "REPLIED", "0083", bytes(8)),
        {
            "decided": QUALIFIED,
            "reversal": {
                "FPID": FPID,
                "MsgTp": "pacs.007",
                "OrgnlTxId": "TEST00000000000001",
                "RvslRsnInf": {"Rsn": {"Prtry": "4021"}},
                "found": "REPLIED",
                "OrgnlTxRef": {
                    "FPID": FPID,
                    "MsgTp": "pacs.008",
                    "LclInstrm": "10",
                    "PrcgCd": "100000",
                    "TxId": "TEST00000000000001",
                    "IntrBkSttlmAmt": {"Ccy": "GBP", "Amt": "123.45"},
                    "IntrBkSttlmDt": "2025-11-22",
                    "Dbtr": {},
                    "DbtrAcct": {"Id": "87654321"},
                    "DbtrAgt": {"ClrSysId": "GBDSC", "MmbId": "200000"},
                    "CdtrAcct": {"Id": "12345678"},
                    "CdtrAgt": {"ClrSysId": "GBDSC", "MmbId": "300000"},
                    "InstgAgt": {"ClrSysId": "GBDSC", "MmbId": "200000"},
                },
            },
        },
    ),
}


def record(kind: Kind, body: msgspec.Struct) -> Record:
    """A record at position 7."""
    return Record(7, WALL_NS, kind, FPID, steps.pack(body))


@pytest.mark.parametrize("kind", sorted(TOLD_KINDS - {Kind.USM}))
def test_each_kind(kind: Kind) -> None:
    """What each kind says, exactly; and what is written can be read by the definitions that the document is made of."""
    body, expected = NOTICES[kind]
    text = encode(notice_of(record(kind, body), "node", CODEC))
    assert json.loads(text) == COMMON | {"kind": kind.name} | expected
    assert msgspec.json.decode(text, type=Notice).kind == kind.name


def test_the_hub_refused_it_and_said_where() -> None:
    """A refusal by the hub names the field; one that we gave in its stead has no response to read."""
    for response in (RESPONSE, b""):
        body = steps.Settlement("key-1", bytes(8), "9930", "120", "hub", response, COVERED)
        notice = notice_of(record(Kind.SETTLED, body), "node", CODEC)
        assert notice.decided == status_of("9930", "120", built_in())
        assert notice.by == "hub"
        assert bool(notice.ClrSysRef) is bool(response)


def test_a_reversal_of_what_was_never_seen() -> None:
    """Nothing was decided, and the notice does not say that anything was."""
    notice = notice_of(record(Kind.REVERSED, steps.Reversal(REVERSAL, "NEW", "", bytes(8))), "node", CODEC)
    assert notice.decided is msgspec.UNSET
    assert notice.reversal is not msgspec.UNSET
    assert notice.reversal.found == "NEW"


def test_a_message_that_cannot_be_read_any_more() -> None:
    """Another field table, say: the notice is told all the same, the FPID naming the payment."""
    for body in (b"", b"9200garbage"):
        notice = notice_of(record(Kind.ORPHANED, steps.Orphan(body, bytes(8))), "node", CODEC)
        assert notice.payment is msgspec.UNSET
        assert notice.FPID == FPID
    reversal = notice_of(record(Kind.REVERSED, steps.Reversal(RAW, "NEW", "", bytes(8))), "node", CODEC)
    assert reversal.reversal is msgspec.UNSET


def test_a_notice_shows_nothing() -> None:
    """Not even when it is printed."""
    notice = notice_of(record(Kind.STOOD_IN, NOTICES[Kind.STOOD_IN][0]), "node", CODEC)
    assert "SECRET" not in repr(notice)
    assert FPID not in repr(notice)


def test_other_kinds_are_no_notices() -> None:
    """Whoever asks for one has a bug."""
    with pytest.raises(AssertionError):
        notice_of(Record(7, WALL_NS, Kind.REPLIED, FPID, b""), "node", CODEC)


@pytest.mark.parametrize("day", ["20250931", "00000000", "20251301", ""])
def test_a_day_that_is_none_is_not_told_of_a_reversal(day: str) -> None:
    """Neither as the date sent nor as the one of settlement; the cycle is."""
    reversal = msgspec.structs.replace(
        CODEC.decode(REVERSAL), date_sent=day, settlement_date=day, settlement_cycle="001"
    )
    assert isinstance(reversal, ReversalRequest)
    told = payment_of(reversal, "x" * 42)
    assert told.IntrBkSttlmDt is msgspec.UNSET
    assert told.ClrSysRef == "001"
