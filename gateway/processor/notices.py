"""A record of the journal as the notice that tells it. Pure."""

from typing import Protocol

from msgspec import UNSET, UnsetType

from gateway.errors import HubFault
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.processor.messages import Notice, Payment, Reversal, status_of
from gateway.processor.writing import asynchronously, decider, moment, news_of, payment_of, redirection, reversal_of
from gateway.wire.codes import Codes
from gateway.wire.meanings import Meanings, built_in
from gateway.wire.message import Message, PaymentRequest, PaymentResponse, ReversalRequest, Usm
from gateway.wire.usm import event_of

UNMADE_MAC = b"0" * 16
"""Stands in for the MAC behind the bytes that a MAC covers, so that they can be decoded."""


class Record(Protocol):
    """A record of the journal."""

    # properties, so that a frozen value will do
    @property
    def position(self) -> int:
        """Its place in the journal."""

    @property
    def time_ns(self) -> int:
        """When, nanoseconds since the epoch."""

    @property
    def kind(self) -> Kind:
        """Which step."""

    @property
    def fpid(self) -> str:
        """Of which payment."""

    @property
    def body(self) -> bytes:
        """As `steps.BODIES` says."""


class Decoder(Protocol):
    """Reads a raw message (`wire.codec.Codec`)."""

    @property
    def action_codes(self) -> Codes:
        """What DE26 says."""

    def decode(self, body: bytes) -> Message:
        """Raise `HubFault` when it cannot be read."""


def notice_id(node: str, position: int) -> str:
    """What a notice is known by: the same notice always has the same id."""
    return f"{node}/{position}"


def notice_of(record: Record, node: str, decoder: Decoder, meanings: Meanings | None = None) -> Notice:
    """The notice of a record out of `steps.TOLD_KINDS`. `meanings` explains the scheme's news; None: the built-in ones.

    A message that cannot be read (any more: another field table is configured) is left out; the FPID names the payment.
    """
    kind = record.kind
    assert kind in steps.TOLD_KINDS
    body = steps.unpack(kind, record.body)
    decided, answered, reason, raw = "", "", "", b""
    reversal: Reversal | UnsetType = UNSET
    match body:
        case steps.Settlement() | steps.Unsettled():
            return _submitted(record, body, node, decoder)
        case steps.News():
            return _scheme(record, body, node, decoder, meanings or built_in())
        case steps.Decision():
            decided, raw = body.code, body.request
        case steps.Undelivered():
            decided, reason, raw = body.code, body.reason, body.request
        case steps.Late():
            decided, answered, raw = body.stood_in, body.code, body.request
        case steps.Orphan():
            raw = body.request
        case steps.Reversal():
            decided = body.code
            message = _decode(decoder, body.message)
            if isinstance(message, ReversalRequest):
                reversal = reversal_of(message, record.fpid, body.found)
        case _:
            raise AssertionError(kind)
    payment: Payment | UnsetType = UNSET
    message = _decode(decoder, raw)
    if isinstance(message, PaymentRequest):
        payment = payment_of(message, record.fpid)
    return Notice(
        id=notice_id(node, record.position),
        kind=kind.name,  # type: ignore[arg-type]  # the assertion above says that it is one of them
        FPID=record.fpid,
        recorded=moment(record.time_ns),
        decided=status_of(decided, "", decoder.action_codes) if decided else UNSET,
        answered=status_of(answered, "", decoder.action_codes) if answered else UNSET,
        reason=reason,
        payment=payment,
        reversal=reversal,
    )


def _scheme(record: Record, body: steps.News, node: str, decoder: Decoder, meanings: Meanings) -> Notice:
    """News of the scheme, which is about no payment."""
    usm = _decode(decoder, body.message)
    return Notice(
        id=notice_id(node, record.position),
        kind="USM",
        recorded=moment(record.time_ns),
        news=news_of(event_of(usm, meanings, record.time_ns)) if isinstance(usm, Usm) else UNSET,
    )


def _submitted(record: Record, body: steps.Settlement | steps.Unsettled, node: str, decoder: Decoder) -> Notice:
    """What became of a payment that the processor submitted."""
    payment: Payment | UnsetType = UNSET
    message = _decode(decoder, body.covered and body.covered + UNMADE_MAC)
    if isinstance(message, PaymentRequest):
        payment = payment_of(message, record.fpid)
    common = {
        "id": notice_id(node, record.position),
        "kind": record.kind.name,
        "FPID": record.fpid,
        "recorded": moment(record.time_ns),
        "key": body.key,
        "payment": payment,
    }
    if isinstance(body, steps.Unsettled):
        return Notice(**common, reason=body.reason, inconclusive=body.code or UNSET, attempts=body.attempts)  # type: ignore[arg-type]  # a dictionary has one type
    status, by = status_of(body.code, body.field, decoder.action_codes), decider(body.by)
    if record.kind is Kind.CONTRADICTED:
        # what was said before stands: this one decides nothing
        return Notice(**common, answered=status, by=by)  # type: ignore[arg-type]  # likewise
    response = _decode(decoder, body.response)
    if not isinstance(response, PaymentResponse):
        return Notice(**common, decided=status, by=by)  # type: ignore[arg-type]  # likewise
    agent, account = redirection(response.redirected_agent, response.redirected_account)
    return Notice(
        **common,  # type: ignore[arg-type]  # likewise
        decided=status,
        by=by,
        ClrSysRef=response.settlement_date + response.settlement_cycle,
        RdrctdAgt=agent,
        RdrctdAcct=account,
        asynchronous=asynchronously(response.asynchronous),
    )


def _decode(decoder: Decoder, raw: bytes) -> Message | None:
    try:
        return decoder.decode(raw) if raw else None
    except HubFault:
        return None
