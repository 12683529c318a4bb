"""The JSON between gateway and processor, both ways: the only module that knows its names.

Names are ISO 20022's where it has one (docs/protocol.md section 9); wrappers that hold a single element are left out
unless that section names them. Upper-case names are ISO 20022's (or extend it in its manner), lower-case ones are ours.
The document for the teams at the other end is generated from these definitions (`openapi`).

Sensitive data is in bodies and nowhere else: in no header but the FPID, no log line, no metric, no error text.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.wire.codes import ACCEPTED, Codes
from gateway.wire.values import names_a_field

Code = Annotated[str, Meta(pattern="^[0-9]{4}$", description="An action code of the scheme (DE26).")]


ASYNCHRONOUS = "SETTLED: whether the hub processed it asynchronously (DE27): an acceptance may be followed by a return."
Decider = Literal["receiver", "hub"]
"""The one that decided on a payment that we submitted."""


class Sensitive(Struct, frozen=True, gc=False):
    """What holds a customer's data shows none of it, wherever it is printed: a traceback must not leak a payment."""

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


def _described(description: str, **schema: Any) -> Any:
    """Constraints that the document shows and the decoder does not check: the field table does."""
    return Meta(description=description, extra_json_schema=schema)


_FPID = _described("Names the payment for ever: 42 characters, padding included.", minLength=42, maxLength=42)
_REFERENCE = _described(
    "Settlement date YYYYMMDD and cycle (DE15, DE29), or what there is of them.", pattern="^([0-9]{8})?([0-9]{3})?$"
)


class Amount(Sensitive, frozen=True, gc=False):
    """An amount of money."""

    Ccy: Annotated[
        str,
        _described(
            "ISO 4217: letters where we know them (GBP), else the three digits.", pattern="^([A-Z]{3}|[0-9]{3})$"
        ),
    ]
    Amt: Annotated[str, Meta(pattern=r"^[0-9]{1,12}\.[0-9]{2}$", description="In units of the currency.")]


class Agent(Struct, frozen=True, gc=False, tag_field="ClrSysId", tag="GBDSC"):
    """A bank, by its sort code."""

    MmbId: Annotated[str, Meta(description="The sort code.")]


class Account(Sensitive, frozen=True, gc=False):
    """An account at an agent."""

    Id: str


class Party(Sensitive, frozen=True, gc=False, omit_defaults=True):
    """A person or company."""

    Nm: str = ""
    PstlAdr: str = ""


class CreditorReference(Sensitive, frozen=True, gc=False):
    """A reference that the creditor asked for."""

    Ref: str


class Structured(Sensitive, frozen=True, gc=False):
    """Structured remittance information."""

    CdtrRefInf: CreditorReference


class Remittance(Sensitive, frozen=True, gc=False, omit_defaults=True):
    """What the payment is for."""

    Strd: Structured | UnsetType = UNSET
    Ustrd: str = ""


class Reason(Struct, frozen=True, gc=False):
    """A reason in the scheme's own codes."""

    Prtry: str


class ReasonInformation(Struct, frozen=True, gc=False, omit_defaults=True):
    """Why, and where."""

    Rsn: Reason
    FldInErr: (
        Annotated[
            str,
            Meta(
                pattern="^(0{0,2}[1-9]|0?[1-9][0-9]|1[01][0-9]|12[0-8])$",
                description="The number of the first field in error (DE44), 1 to 128. In an answer of yours it leaves "
                "with 1930 alone: another code says that no field failed.",
            ),
        ]
        | UnsetType
    ) = UNSET
    AddtlInf: Annotated[
        str,
        Meta(
            max_length=105,
            description="What the code says, in words: of a qualified accept, when the beneficiary is credited. The "
            "gateway writes it; in an answer of yours nobody reads it.",
        ),
    ] = ""


class ReturnReason(Struct, frozen=True, gc=False):
    """Why a payment is returned (DE126) or reversed (DE26 of the 9420)."""

    Rsn: Reason


class Payment(Sensitive, frozen=True, gc=False, omit_defaults=True):
    """A payment request of the hub (9200, 9201). What the message does not hold is not there."""

    # Not `kw_only`: msgspec takes 3 microseconds to place so many keywords; `payment_of` writes them in this order.
    FPID: Annotated[str, _FPID]
    MsgTp: Annotated[
        Literal["pacs.008", "pacs.004"], Meta(description="pacs.004 is a return: it has OrgnlFPID and RtrRsnInf.")
    ]
    LclInstrm: Annotated[
        str,
        _described("Type: 10 SIP, 20 return, 25 scheme return, 30 SOP, 40 FDP, 50 bulk.", pattern="^[0-9]{2}$"),
    ]
    PrcgCd: Annotated[str, _described("DE3 whole: payment type, sender code, receiver code.", pattern="^[0-9]{6}$")]
    TxId: Annotated[str, Meta(description="The sender's reference number (DE31).")]
    # not there in what a reversal says of its payment, where that does not say it (`openapi`, Reversed)
    IntrBkSttlmAmt: Amount | UnsetType
    IntrBkSttlmDt: Annotated[str, _described("Date sent, YYYY-MM-DD (DE12).", format="date")] | UnsetType
    Dbtr: Party
    DbtrAcct: Account
    DbtrAgt: Agent
    CdtrAcct: Account
    CdtrAgt: Agent
    InstgAgt: Annotated[Agent, Meta(description="The sending FPS institution (DE98).")]
    Cdtr: Party | UnsetType = UNSET
    RmtInf: Remittance | UnsetType = UNSET
    EndToEndId: str = ""
    ClrSysRef: Annotated[str, _REFERENCE] = ""
    SubmgMmb: Annotated[str, Meta(description="The submitting member (DE32).")] = ""
    InstdAgt: Annotated[Agent, Meta(description="The receiving member (DE99).")] | UnsetType = UNSET
    ChrgsInf: Annotated[str, Meta(description="DE46 as it came.")] = ""
    PmtData: Annotated[str, Meta(description="DE61 as it came; tag 001 is the sub-type.")] = ""
    NbRef: Annotated[str, Meta(description="Numeric reference (DE71).")] = ""
    RgltryRptg: Annotated[str, Meta(description="DE122 as it came.")] = ""
    FileId: Annotated[str, Meta(description="DE72.")] = ""
    InstdAmt: Annotated[Amount, Meta(description="From abroad: the original amount (DE4, DE49).")] | UnsetType = UNSET
    XchgRate: Annotated[str, Meta(description="From abroad: DE10 as it came.")] = ""
    DbtrAgcyAgt: Annotated[Agent, Meta(description="Agency (DE47).")] | UnsetType = UNSET
    DbtrAgcyAcct: Annotated[Account, Meta(description="Agency's account (DE48).")] | UnsetType = UNSET
    RjctdAmt: Annotated[Amount, Meta(description="Rejected amount (DE5).")] | UnsetType = UNSET
    CdtItms: Annotated[str, Meta(description="Count of credit items (DE41).")] = ""
    PrvtUse: Annotated[str, Meta(description="For the participant's own use (DE123).")] = ""
    RtrRsnInf: Annotated[ReturnReason, Meta(description="Return: why (DE126).")] | UnsetType = UNSET
    OrgnlFPID: Annotated[str, Meta(description="Return: the FPID of the payment returned (DE127).")] = ""
    unusual_date: (
        Annotated[
            bool,
            Meta(
                description="In a question: true when IntrBkSttlmDt is outside the window in which a payment that the "
                "gateway does not know is ordinary. It may be a copy of one of long ago: accept it only when you are "
                "sure that it was never booked. The gateway does not accept it in your stead. Not there otherwise."
            ),
        ]
        | UnsetType
    ) = UNSET


class Submitted(Sensitive, frozen=True, gc=False, omit_defaults=True):
    """A payment that the processor submits. What the hub adds on the way (FPID, ClrSysRef, InstdAgt) is not there."""

    MsgTp: Annotated[
        Literal["pacs.008", "pacs.004"], Meta(description="pacs.004 is a return: it has OrgnlFPID and RtrRsnInf.")
    ]
    PrcgCd: Annotated[
        str,
        Meta(
            pattern="^[0-9]{6}$",
            description="DE3: payment type (of the group that this gateway serves), sender code, receiver code.",
        ),
    ]
    IntrBkSttlmAmt: Amount
    IntrBkSttlmDt: Annotated[
        str,
        Meta(
            pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
            extra_json_schema={"format": "date"},
            description="Date sent, YYYY-MM-DD (DE12). Part of the FPID: a submission that is repeated keeps it.",
        ),
    ]
    Dbtr: Party
    DbtrAcct: Account
    DbtrAgt: Agent
    CdtrAcct: Account
    CdtrAgt: Agent
    InstgAgt: Annotated[Agent, Meta(description="The sending FPS institution (DE98): you.")]
    TxId: Annotated[
        str,
        Meta(
            description="Your reference number (DE31), up to 18 characters, unique for the day. Left out, it is "
            "derived from Idempotency-Key, in the same way at both sites."
        ),
    ] = ""
    LclInstrm: Annotated[str, Meta(description="When given: the first two digits of PrcgCd.")] = ""
    Cdtr: Party | UnsetType = UNSET
    RmtInf: Remittance | UnsetType = UNSET
    EndToEndId: Annotated[str, Meta(description="DE62.")] = ""
    SubmgMmb: Annotated[str, Meta(description="The submitting member (DE32).")] = ""
    ChrgsInf: Annotated[str, Meta(description="DE46 as it is to leave: tag, length, value, repeated.")] = ""
    PmtData: Annotated[str, Meta(description="DE61 likewise; tag 001 is the sub-type.")] = ""
    NbRef: Annotated[str, Meta(description="Numeric reference (DE71).")] = ""
    RgltryRptg: Annotated[str, Meta(description="DE122.")] = ""
    FileId: Annotated[str, Meta(description="DE72.")] = ""
    InstdAmt: Annotated[Amount, Meta(description="From abroad: the original amount (DE4, DE49).")] | UnsetType = UNSET
    XchgRate: Annotated[str, Meta(description="From abroad: DE10 as it is to leave.")] = ""
    DbtrAgcyAgt: Annotated[Agent, Meta(description="Agency (DE47).")] | UnsetType = UNSET
    DbtrAgcyAcct: Annotated[Account, Meta(description="Agency's account (DE48).")] | UnsetType = UNSET
    RjctdAmt: (
        Annotated[Amount, Meta(description="Rejected amount (DE5), in the currency of IntrBkSttlmAmt.")] | UnsetType
    ) = UNSET
    CdtItms: Annotated[str, Meta(description="Count of credit items (DE41).")] = ""
    PrvtUse: Annotated[str, Meta(description="For the participant's own use (DE123).")] = ""
    RtrRsnInf: Annotated[ReturnReason, Meta(description="Return: why (DE126).")] | UnsetType = UNSET
    OrgnlFPID: Annotated[str, Meta(description="Return: the FPID of the payment returned (DE127).")] = ""


class Reversal(Sensitive, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A reversal request of the hub (9420, 9421): the payment is over, whether the processor saw it or not."""

    FPID: Annotated[str, _FPID]
    MsgTp: Annotated[Literal["pacs.007"], Meta(description="Always pacs.007.")]
    OrgnlTxId: Annotated[str, Meta(description="The sender's reference number (DE31).")]
    RvslRsnInf: Annotated[ReturnReason, Meta(description="Why: 4021 timed out.")] | UnsetType = UNSET
    found: Annotated[str, Meta(description="The payment's state here when the reversal came; NEW: never seen.")]
    OrgnlTxRef: Annotated[
        Payment,
        Meta(
            description="What the reversal says of the payment. What it leaves out, or says in no valid value, is "
            "empty or not there."
        ),
    ]


class Status(Struct, frozen=True, gc=False, omit_defaults=True):
    """A decision. ACSP: accepted. ACTC: accepted, to be credited later. RJCT: refused, by the receiver or, of a payment
    that you submit, also by the hub.
    """

    TxSts: Literal["ACSP", "ACTC", "RJCT"]
    StsRsnInf: (
        Annotated[ReasonInformation, Meta(description="The code; may be left out with ACSP only.")] | UnsetType
    ) = UNSET


class Sum(Sensitive, frozen=True, gc=False):
    """A limit, a threshold or a cap."""

    Ccy: Annotated[Literal["GBP"], Meta(description="Always GBP.")]
    Amt: Annotated[str, Meta(pattern=r"^[0-9]{1,16}\.[0-9]{2}$", description="In pounds.")]


class News(Sensitive, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """An unsolicited message (9824) of the scheme. What it does not say, or says in an unknown value, is not there."""

    function: Annotated[str, Meta(pattern="^[0-9]{3}$", description="The function code (DE24), 971 to 981.")]
    what: Annotated[str, Meta(description="The same in words: `service status`.")]
    sent: Annotated[
        str,
        Meta(
            description="When, by the hub's clock: YYYY-MM-DDThh:mm:ss, no time zone is known. "
            "When it came, where it says a moment that cannot be."
        ),
    ]
    institution: Annotated[str, Meta(description="Whom it is about (DE100); not there: us, or everyone.")] = ""
    name: Annotated[str, Meta(description="Its name (DE104).")] = ""
    state: Annotated[
        str,
        Meta(
            description="971, 972: available or suspended. 973, 974, 977, 978: below or reached. 975: in-force or "
            "lifted. 979: normal, delayed, suspended or completed."
        ),
    ] = ""
    before: Annotated[str, Meta(description="972: the state before.")] = ""
    groups: (
        Annotated[tuple[str, ...], Meta(description="972: the payment priority groups that it takes.")] | UnsetType
    ) = UNSET
    amount: Annotated[Sum, Meta(description="975 to 978: the new limit, threshold or cap.")] | UnsetType = UNSET
    amount_before: Annotated[Sum, Meta(description="975 to 978: the one before.")] | UnsetType = UNSET
    ClrSysRef: Annotated[str, Meta(description="979: settlement date YYYYMMDD and cycle (DE15, DE29).")] = ""
    management: Annotated[str, Meta(description="979: DE109 as it came.")] = ""
    risk: Annotated[str, Meta(description="979: DE111 as it came.")] = ""
    RtrRsnInf: Annotated[ReturnReason, Meta(description="980: why it was returned (DE126).")] | UnsetType = UNSET
    OrgnlFPID: Annotated[str, Meta(description="980: the FPID of the payment (DE127).")] = ""
    response_time: Annotated[str, Meta(description="981: DE45 as it came.")] = ""
    items: Annotated[str, Meta(description="981: DE41 as it came.")] = ""
    information: Annotated[str, Meta(description="DE124 as it came.")] = ""
    unknown: Annotated[
        tuple[str, ...], Meta(description="Fields whose value the gateway's table does not know: they changed nothing.")
    ] = ()


class Notice(Sensitive, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Something that was done in the processor's absence. Told until it is acknowledged by a 2xx."""

    id: Annotated[str, Meta(description="node/position: the same notice always has the same id.")]
    kind: Annotated[
        Literal[
            "STOOD_IN",
            "UNDELIVERED",
            "LATE_REFUSAL",
            "REVERSED",
            "ORPHANED",
            "DECLINED",
            "UNANSWERED",
            "OVERRULED",
            "SETTLED",
            "UNKNOWN",
            "UNSENT",
            "CONTRADICTED",
            "USM",
        ],
        Meta(
            description="Of payments that arrive. STOOD_IN: the gateway accepted in the processor's stead. "
            "UNDELIVERED: the reply did not reach the hub, or may not have. LATE_REFUSAL: refused by the processor "
            "after stand-in had accepted. REVERSED: the hub took the payment back. ORPHANED: received, perhaps asked "
            "about, and not decided when it was recorded: do not undo a payment because of it alone. DECLINED: the "
            "processor did not answer, stand-in might not accept, and the gateway refused. UNANSWERED: the same, and "
            "nothing was answered: the hub repeats it, or reverses it. OVERRULED: the processor refused what the "
            "scheme says must be accepted, and the gateway accepted it.\n\n"
            "Of payments that were submitted. SETTLED: it has its outcome. UNKNOWN: it may have left, and nobody said "
            "what became of it: neither paid nor failed. UNSENT: surely no request of it left. CONTRADICTED: the hub "
            "answered again, and otherwise than before; what was said before stands, people must look.\n\n"
            "USM: news of the scheme."
        ),
    ]
    recorded: Annotated[str, _described("When the gateway recorded it, RFC 3339, UTC.", format="date-time")]
    FPID: Annotated[
        str, _described("Which payment. Not there in a USM, which is about none.", minLength=42, maxLength=42)
    ] = ""
    key: Annotated[str, Meta(description="Of a payment that was submitted: its Idempotency-Key.")] = ""
    decided: Annotated[Status, Meta(description="What was decided, and stands.")] | UnsetType = UNSET
    by: Annotated[Decider, Meta(description="Of a payment that was submitted: who decided.")] | UnsetType = UNSET
    answered: (
        Annotated[
            Status,
            Meta(
                description="LATE_REFUSAL: what the processor answered, too late. OVERRULED: what it answered. "
                "CONTRADICTED: what the hub said this time."
            ),
        ]
        | UnsetType
    ) = UNSET
    reason: Annotated[
        str,
        Meta(
            description="UNDELIVERED: link-lost, too-late or no-mac, and the reply did not leave; link-lost-writing or "
            "restart, and it may have left all the same. UNKNOWN and UNSENT: what the last attempt met: no-answer, "
            "link-lost, no-link, no-mac, too-old, restart or inconclusive; or stopped: an operator had stopped "
            "submitting, and what is UNKNOWN by that is repeated when it is started again."
        ),
    ] = ""
    inconclusive: (
        Annotated[Code, Meta(description="UNKNOWN: the hub's last code, which settled nothing.")] | UnsetType
    ) = UNSET
    attempts: Annotated[int, Meta(description="UNKNOWN and UNSENT: requests that were made of it.")] | UnsetType = UNSET
    ClrSysRef: Annotated[str, _REFERENCE] = ""
    RdrctdAgt: (
        Annotated[Agent, Meta(description="SETTLED: the account was redirected, to here (DE57).")] | UnsetType
    ) = UNSET
    RdrctdAcct: Annotated[Account, Meta(description="SETTLED: redirected to this account (DE58).")] | UnsetType = UNSET
    asynchronous: Annotated[bool, Meta(description=ASYNCHRONOUS)] | UnsetType = UNSET
    payment: Payment | UnsetType = UNSET
    reversal: Reversal | UnsetType = UNSET
    news: Annotated[News, Meta(description="USM: what it says.")] | UnsetType = UNSET


class Progress(Sensitive, frozen=True, gc=False, omit_defaults=True):
    """Where a payment stands that was submitted."""

    FPID: Annotated[str, _FPID]
    TxId: Annotated[str, Meta(description="Its reference number (DE31), yours or derived.")]
    state: Annotated[
        Literal["PENDING", "SETTLED", "UNKNOWN", "UNSENT"],
        Meta(
            description="PENDING: on disk, and under way. SETTLED: it has its outcome, see `decided`. UNKNOWN: it may "
            "have left, and nobody said what became of it; never take it for failed. UNSENT: surely no request of it "
            "left."
        ),
    ]
    decided: Annotated[Status, Meta(description="SETTLED: accepted, qualified or refused.")] | UnsetType = UNSET
    by: Annotated[Decider, Meta(description="SETTLED: who decided.")] | UnsetType = UNSET
    inconclusive: (
        Annotated[Code, Meta(description="UNKNOWN: the hub's last code, which settled nothing.")] | UnsetType
    ) = UNSET
    ClrSysRef: Annotated[str, _REFERENCE] = ""
    RdrctdAgt: (
        Annotated[Agent, Meta(description="SETTLED: the account was redirected, to here (DE57).")] | UnsetType
    ) = UNSET
    RdrctdAcct: Annotated[Account, Meta(description="SETTLED: redirected to this account (DE58).")] | UnsetType = UNSET
    asynchronous: Annotated[bool, Meta(description=ASYNCHRONOUS)] | UnsetType = UNSET


class ReadyParts(Struct, frozen=True, gc=False):
    """Which gateway it is."""

    node: Annotated[str, Meta(description="Its name.")]
    group: Annotated[str, Meta(description="The payment group that it serves.")]
    fingerprint: Annotated[str, Meta(description="Over what both sites share: the other site has the same.")]
    version: str


class Readiness(Struct, frozen=True, gc=False):
    """Whether payments may go to a gateway."""

    ready: bool
    reasons: Annotated[tuple[str, ...], Meta(description="Why not, in words for people.")]
    parts: ReadyParts


class Fault(Struct, frozen=True, gc=False):
    """What is wrong with one member. Says the rule, never the value."""

    pointer: Annotated[str, Meta(description="Where, as JSON pointer in a URI fragment: #/CdtrAcct/Id.")]
    detail: Annotated[str, Meta(description="The rule that it breaks.")]


class Problem(Struct, frozen=True, gc=False, omit_defaults=True):
    """Why a request is not done (RFC 9457)."""

    title: str
    status: int
    detail: str = ""
    errors: tuple[Fault, ...] = ()
    code: str = ""
    """The code (DE26) with which the scheme would refuse the payment now, by its own news."""


encode = msgspec.json.Encoder().encode
"""Any of these structs to its JSON."""


def status_of(code: str, field: str, codes: Codes) -> Status:
    """A decided code (DE26, DE44) in ISO 20022's words, and in the words of this table. A DE44 of the hub's that is no
    number of a field is left out: the outcome must be read whatever else is in the answer.
    """
    if code == ACCEPTED:
        return _ACCEPTED
    field = field if names_a_field(field) else ""
    status: Literal["ACTC", "RJCT"] = "ACTC" if code[:1] == "0" else "RJCT"
    return Status(status, ReasonInformation(Reason(code), field or UNSET, codes.says(code)))


_ACCEPTED = Status("ACSP", ReasonInformation(Reason(ACCEPTED)))
