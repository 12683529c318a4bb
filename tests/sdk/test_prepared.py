"""Which payment it is, fixed once."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway import config
from gateway.processor.messages import Submitted
from gateway.processor.request import Invalid, Reader, trn_of
from gateway.sdk import Prepared, prepare
from gateway.wire.codec import fpid_of
from tests.fakes.door import BODY, FPID
from tests.fakes.processor import CODEC

PAYMENT = msgspec.convert(BODY, Submitted)
GROUP: config.Group = "sip"
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=100)


def test_the_fpid_is_the_gateways() -> None:
    """What a gateway reads in the body is the payment that was prepared."""
    prepared = prepare(PAYMENT, "key-1")
    request, _, _ = Reader(CODEC, GROUP).read(prepared.body.encode(), prepared.key)
    assert prepared.fpid == fpid_of(request) == FPID


@given(KEYS)
def test_a_trn_that_is_derived_is_written_down(key: str) -> None:
    """A gateway that derived another one would make the same FPID all the same."""
    prepared = prepare(replace(PAYMENT, TxId=""), key)
    request, _, _ = Reader(CODEC, GROUP).read(prepared.body.encode(), "another key")
    assert request.trn == trn_of(key)
    assert fpid_of(request) == prepared.fpid


@given(KEYS)
def test_it_is_stored_and_taken_up_as_it_was(key: str) -> None:
    """Plain data, whole, by any of msgspec's formats or field by field."""
    prepared = prepare(replace(PAYMENT, TxId=""), key)
    for module in (msgspec.json, msgspec.msgpack):
        assert module.decode(module.encode(prepared), type=Prepared) == prepared
    assert Prepared(prepared.key, prepared.fpid, prepared.body) == prepared


@pytest.mark.parametrize("key", ["", "x" * 101, "a b", "schlüssel", "line\n"])
def test_a_key_of_no_use(key: str) -> None:
    """A gateway would refuse it each time."""
    for payment in (PAYMENT, replace(PAYMENT, TxId="")):
        with pytest.raises(ValueError, match="1 to 100 visible ASCII"):
            prepare(payment, key)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"IntrBkSttlmDt": "2025-02-30"}, "#/IntrBkSttlmDt"),
        ({"IntrBkSttlmDt": "today"}, "#/IntrBkSttlmDt"),
        ({"MsgTp": "pacs.009"}, "#/MsgTp"),
        ({"PrcgCd": "10000"}, "#/PrcgCd"),
        ({"Dbtr": None}, "#/Dbtr"),
    ],
)
def test_what_no_gateway_would_take(changes: dict[str, object], place: str) -> None:
    """Said before anything is stored, with the member, never with the value."""
    with pytest.raises(Invalid) as invalid:
        prepare(replace(PAYMENT, **changes), "key-1")
    assert [fault.pointer for fault in invalid.value.faults] == [place]


@pytest.mark.parametrize(
    "changes",
    [
        {"TxId": "T" * 19},
        {"InstgAgt": replace(PAYMENT.InstgAgt, MmbId="2" * 12)},
        {"InstgAgt": replace(PAYMENT.InstgAgt, MmbId="")},
    ],
)
def test_what_makes_no_fpid(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="make no FPID"):
        prepare(replace(PAYMENT, **changes), "key-1")


@pytest.mark.parametrize(
    "changes",
    [
        {"fpid": FPID.replace("TEST", "TOST")},
        {"body": prepare(replace(PAYMENT, IntrBkSttlmDt="2025-11-23"), "key-1").body},
        {"body": prepare(replace(PAYMENT, TxId=""), "key-1").body},
        {"body": prepare(PAYMENT, "key-1").body.replace('"TxId":"TEST00000000000001",', "")},
        {"body": "{"},
        {"body": "{}"},
        {"key": "two words"},
    ],
)
def test_what_was_changed_after_it_was_prepared(changes: dict[str, str]) -> None:
    """Another day, another TRN, or damage: it is not submitted as if it were the same payment."""
    prepared = prepare(PAYMENT, "key-1")
    fields = {name: getattr(prepared, name) for name in ("key", "fpid", "body")} | changes
    with pytest.raises(ValueError, match=r"another one|not JSON|no payment|visible ASCII"):
        Prepared(**fields)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(fields), type=Prepared)


def test_it_shows_nothing_of_a_customer() -> None:
    """Neither printed nor in the error about it."""
    prepared = prepare(PAYMENT, "key-1")
    assert repr(prepared) == "<Prepared>"
    with pytest.raises(ValueError, match="another one") as error:
        Prepared("key-1", "x", prepared.body)
    assert "SECRET" not in str(error.value)
