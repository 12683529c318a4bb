"""Example values for the OpenAPI document: one payment in each of the shapes in which either end sees it."""

import msgspec

import gateway
from gateway import config
from gateway.processor.messages import (
    Account,
    Agent,
    Amount,
    CreditorReference,
    Fault,
    Notice,
    Party,
    Payment,
    Problem,
    Progress,
    Readiness,
    ReadyParts,
    Reason,
    ReasonInformation,
    Remittance,
    ReturnReason,
    Status,
    Structured,
    Submitted,
    status_of,
)
from gateway.wire import codes

FPID = "PMT0000000000000011020251122826200000     "
PAYMENT = Payment(
    FPID,
    "pacs.008",
    "10",
    "100000",
    "PMT000000000000001",
    Amount("GBP", "12.34"),
    "2025-11-22",
    Party("A N OTHER"),
    Account("87654321"),
    Agent("200000"),
    Account("12345678"),
    Agent("300000"),
    Agent("200000"),
    Party("B ELSEWHERE"),
    Remittance(Structured(CreditorReference("INVOICE 1")), "THANK YOU"),
)
ACCEPTED = Status("ACSP")
QUALIFIED = Status("ACTC", ReasonInformation(Reason("0081")))
REFUSED = Status("RJCT", ReasonInformation(Reason("1114")))
BAD_FIELD = Status("RJCT", ReasonInformation(Reason("1930"), "120"))
NOTICE = Notice(
    id="site-a-sip/4711",
    kind="STOOD_IN",
    FPID=FPID,
    recorded="2025-11-22T20:55:01.123456Z",
    decided=status_of(config.StandIn().code, "", codes.built_in()),
    payment=PAYMENT,
)
SUBMITTED = Submitted(
    "pacs.008",
    "100000",
    Amount("GBP", "12.34"),
    "2025-11-22",
    Party("A N OTHER"),
    Account("87654321"),
    Agent("200000"),
    Account("12345678"),
    Agent("300000"),
    Agent("200000"),
    "PMT000000000000001",
    Cdtr=Party("B ELSEWHERE"),
    RmtInf=Remittance(Structured(CreditorReference("INVOICE 1")), "THANK YOU"),
)
RETURNED = msgspec.structs.replace(
    SUBMITTED, MsgTp="pacs.004", PrcgCd="200000", RtrRsnInf=ReturnReason(Reason("00000002")), OrgnlFPID=FPID
)
PENDING = Progress(FPID, "PMT000000000000001", "PENDING")
SETTLED = Progress(
    FPID, "PMT000000000000001", "SETTLED", ACCEPTED, "receiver", ClrSysRef="20251122001", asynchronous=False
)
REJECTED = Progress(FPID, "PMT000000000000001", "SETTLED", status_of("9910", "", codes.built_in()), "hub")
UNKNOWN = Progress(FPID, "PMT000000000000001", "UNKNOWN", inconclusive="9909")
UNSENT = Progress(FPID, "PMT000000000000001", "UNSENT")
READY = Readiness(ready=True, reasons=(), parts=ReadyParts("sip-a", "sip", "0123456789abcdef", gateway.__version__))
UNREADY = msgspec.structs.replace(READY, ready=False, reasons=("no link is signed on to receive",))
INVALID = Problem(
    "Unprocessable Content",
    422,
    "it is no payment that could leave here",
    (Fault("#/CdtrAcct/Id", "is missing or empty"), Fault("#/Dbtr/Nm", "must be at most 40 characters")),
)
SETTLED_NOTICE = Notice(
    id="site-a-sip/4712",
    kind="SETTLED",
    FPID=FPID,
    recorded="2025-11-22T20:55:02.123456Z",
    key="order-4711",
    decided=ACCEPTED,
    by="receiver",
    ClrSysRef="20251122001",
    asynchronous=False,
    payment=msgspec.structs.replace(PAYMENT, ClrSysRef=""),
)
