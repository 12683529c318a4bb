"""What the gateway writes to the processor: messages of the hub and records of the journal in its names. Pure."""

from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType

from gateway.payments.outbound_law import State
from gateway.payments.work import Standing
from gateway.processor.messages import (
    Account,
    Agent,
    Amount,
    CreditorReference,
    Decider,
    News,
    Party,
    Payment,
    Progress,
    Reason,
    Remittance,
    ReturnReason,
    Reversal,
    Structured,
    Sum,
    status_of,
)
from gateway.wire.codes import Codes
from gateway.wire.message import PaymentRequest, ReversalRequest
from gateway.wire.usm import NewsEvent, sent_at
from gateway.wire.values import is_day

CURRENCIES = {
    "826": "GBP", "978": "EUR", "840": "USD", "756": "CHF", "392": "JPY", "036": "AUD", "124": "CAD", "752": "SEK",
    "578": "NOK", "208": "DKK", "554": "NZD", "344": "HKD", "702": "SGD", "710": "ZAR", "356": "INR", "985": "PLN",
    "203": "CZK", "348": "HUF", "784": "AED", "376": "ILS",
}  # fmt: skip
"""ISO 4217 by number, for the currencies that payments from abroad come in."""


def payment_of(
    request: PaymentRequest | ReversalRequest, fpid: str, *, unusual_date: bool | UnsetType = UNSET
) -> Payment:
    """A payment request in the processor's names; also what a reversal says of its payment."""
    r = _readable(request) if isinstance(request, ReversalRequest) else request
    name, address, reference, remittance = r.creditor_name, r.creditor_address, r.reference, r.remittance
    reason = r.return_code
    rejected, items = (r.rejected_amount, r.credit_items) if isinstance(r, PaymentRequest) else ("", "")
    return Payment(
        fpid,
        "pacs.004" if reason or r.returned_fpid else "pacs.008",
        r.processing_code[:2],
        r.processing_code,
        r.trn,
        _amount(r.amount, r.currency) if r.amount else UNSET,
        _date(r.date_sent) if r.date_sent else UNSET,
        Party(r.debtor_name, r.debtor_address),
        Account(r.debtor_account),
        Agent(r.debtor_agent),
        Account(r.creditor_account),
        Agent(r.creditor_agent),
        Agent(r.sender),
        Party(name, address) if name or address else UNSET,
        Remittance(Structured(CreditorReference(reference)) if reference else UNSET, remittance)
        if reference or remittance
        else UNSET,
        r.end_to_end,
        r.settlement_date + r.settlement_cycle,
        r.submitting_member,
        Agent(r.receiving_member) if r.receiving_member else UNSET,
        r.charges,
        r.payment_data,
        r.numeric_reference,
        r.regulatory,
        r.file_id,
        _amount(r.original_amount, r.original_currency) if r.original_amount and r.original_currency else UNSET,
        r.exchange_rate,
        Agent(r.agency_agent) if r.agency_agent else UNSET,
        Account(r.agency_account) if r.agency_account else UNSET,
        _amount(rejected, r.currency) if rejected else UNSET,
        items,
        r.private,
        ReturnReason(Reason(reason)) if reason else UNSET,
        r.returned_fpid,
        unusual_date or UNSET,
    )


def texts_of(request: PaymentRequest, fpid: str) -> tuple[str, ...]:
    """Every text in a question, so that a response that quotes one is known."""
    return (fpid, *(value for value in msgspec.structs.astuple(request) if isinstance(value, str)))


def _readable(reversal: ReversalRequest) -> ReversalRequest:
    """Without malformed digits: a reversal is taken whatever is in it, and a strict reader must be able to read it."""
    values = {name: getattr(reversal, name) for name in _DIGITS_SAID}
    bad = {name: "" for name, value in values.items() if value and not (value.isascii() and value.isdigit())}
    bad |= {name: "" for name in ("date_sent", "settlement_date") if not is_day(getattr(reversal, name))}
    return msgspec.structs.replace(reversal, **bad) if bad else reversal


_DIGITS_SAID = ("amount", "original_amount", "original_currency", "settlement_date", "settlement_cycle")


def reversal_of(request: ReversalRequest, fpid: str, found: str) -> Reversal:
    """A reversal request in the processor's names; `found` is the payment's state when it came."""
    return Reversal(
        FPID=fpid,
        MsgTp="pacs.007",
        OrgnlTxId=request.trn,
        RvslRsnInf=ReturnReason(Reason(request.action_code)) if request.action_code else UNSET,
        found=found,
        OrgnlTxRef=payment_of(request, fpid),
    )


def news_of(event: NewsEvent) -> News:
    """News of the scheme in the processor's names."""
    said = {name: getattr(event, name, "") for name in _SAID_ALIKE}
    reason = getattr(event, "return_code", "")
    groups = getattr(event, "groups", None)
    return News(
        sent=sent_at(event),
        unknown=event.unknown,
        groups=UNSET if groups is None else groups,
        amount=_sum(getattr(event, "amount", None)),
        amount_before=_sum(getattr(event, "amount_before", None)),
        ClrSysRef=getattr(event, "settlement_date", "") + getattr(event, "settlement_cycle", ""),
        RtrRsnInf=ReturnReason(Reason(reason)) if reason else UNSET,
        OrgnlFPID=getattr(event, "returned_fpid", ""),
        **said,
    )


_SAID_ALIKE = ("function", "what", "institution", "name", "state", "before", "management", "risk", "response_time",
               "items", "information")  # fmt: skip
"""Names that an event and its JSON share."""


def _sum(pence: int | None) -> Sum | UnsetType:
    return Sum("GBP", f"{pence // 100}.{pence % 100:02}") if pence is not None else UNSET


def progress_of(standing: Standing, codes: Codes) -> Progress:
    """Where a submitted payment stands, in the processor's names."""
    fpid, state, code, by = standing.fpid, standing.state, standing.code, standing.by
    trn = fpid[:TRN_WIDTH].rstrip(" ")
    if state is not State.SETTLED:
        return Progress(fpid, trn, _STATES.get(state, "PENDING"), inconclusive=code or UNSET)
    agent, account = redirection(standing.redirected_agent, standing.redirected_account)
    return Progress(
        fpid,
        trn,
        "SETTLED",
        status_of(code, standing.field, codes),
        decider(by),
        UNSET,
        standing.settlement,
        agent,
        account,
        asynchronously(standing.asynchronous),
    )


_STATES: dict[State, Literal["UNKNOWN", "UNSENT"]] = {State.UNKNOWN: "UNKNOWN", State.UNSENT: "UNSENT"}
TRN_WIDTH = 18
"""An FPID begins with the TRN, padded to this width."""
_DECIDERS: dict[str, Decider] = {"receiver": "receiver", "hub": "hub"}


def decider(by: str) -> Decider | UnsetType:
    """The one that decided, if the record says."""
    return _DECIDERS.get(by, UNSET)


def redirection(agent: str, account: str) -> tuple[Agent | UnsetType, Account | UnsetType]:
    """The agent and account that the hub redirected a payment to (DE57, DE58), if it did."""
    return Agent(agent) if agent else UNSET, Account(account) if account else UNSET


def asynchronously(flag: str) -> bool | UnsetType:
    """DE27 as a flag, if it is there."""
    return flag == "1" if flag else UNSET


def moment(time_ns: int) -> str:
    """A record's time (nanoseconds since the epoch) as RFC 3339 with microseconds."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos // 1000:06d}Z"


def key_of(fpid: str) -> str:
    """An FPID as it stands in a header or a path: percent-encoded, since it holds spaces and may hold anything else."""
    # the common case in C; quote() is for the rest
    return fpid.replace(" ", "%20") if fpid.replace(" ", "").isalnum() and fpid.isascii() else quote(fpid, safe="")


def _amount(pence: str, currency: str) -> Amount:
    return Amount(CURRENCIES.get(currency, currency), f"{pence[:-2].lstrip('0') or '0'}.{pence[-2:]}")


def _date(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}"
