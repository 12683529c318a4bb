"""The document for the teams at the other end: OpenAPI 3.1, made of the message definitions. Prints it as JSON.

.venv/bin/python -m gateway.processor.openapi > gateway.openapi.json
.venv/bin/python -m gateway.processor.openapi processor > processor.openapi.json

The one document describes both ends: `paths` is what the gateway serves, `webhooks` is what the processor serves for
the gateway to call (both have a /payments, and a document can say each path once). With `processor` the second half is
printed as paths: generators of server code read those only.
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("gateway.processor.openapi"))

from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

import gateway
from gateway import config
from gateway.config import file as config_file
from gateway.errors import ConfigurationError
from gateway.http.statuses import REFUSING
from gateway.machine import console
from gateway.machine.arguments import Parser
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
from gateway.processor.request import KEY_MAX
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

_REFUSING = ", ".join(str(status) for status in sorted(REFUSING))

DESCRIPTION = """\
A payment processor and its gateway to Faster Payments, both ends. HTTP/1.1 with keep-alive, TLS with client
certificates in production.

`paths` is what the gateway serves: the processor submits payments there. `webhooks` is what the processor serves, each
under its path: the gateway asks, tells and inquires there.

Every request may come more than once (a connection breaks, a process restarts): `Idempotency-Key` says what is the
same. Names are those of ISO 20022 where it has one; what a message of the scheme does not hold is left out. In what the
gateway sends, ignore members that you do not know: new ones may be added. The gateway, in turn, refuses members that it
does not know: one that is misspelt must not be a payment without it.\
"""
PROCESSOR_DESCRIPTION = """\
What a payment processor serves for its gateway to Faster Payments: the half of the gateway's document that is about it.
HTTP/1.1 with keep-alive, TLS with client certificates in production.

Every request may come more than once (a connection breaks, a gateway restarts): `Idempotency-Key` says what is the
same. Names are those of ISO 20022 where it has one; what a message of the scheme does not hold is left out. Ignore
members that you do not know: new ones may be added.\
"""
SUBMITTING = """\
The payment leaves for the hub once it is on disk. **Idempotency-Key** says which payment it is, for the whole of its
life and for as long as its FPID is remembered (seven business days unless configured otherwise):

* The same key with the same content is the same payment, however often it comes: it is answered with where that one
  stands, and is never sent twice because of it. The same content means the same members and values; the order of
  members and white space play no part.
* The same key with other content is refused (409). So is another key with the TxId, payment type, date, currency and
  InstgAgt of a payment that has a key already: together these make its FPID.
* UNKNOWN and the same key again: another round of repeats begins, of the very same payment, when there is a link to
  repeat it on; otherwise you hear UNKNOWN again, and never a 503. Ask as often as you like, and never submit it under a
  new key: the first may have been paid.
* UNSENT and the same key again: it is submitted anew. Nothing of it had left.
* The same key and content at the gateway's other site makes the same FPID there: the hub takes it for the same payment.
  After a 503 here go there. After a 202 stay with the site that has it, as long as that site can be reached. After
  silence, a broken connection or a 504 the site may have it or not: submit it at either one until one of them says how
  it ends. Until then it may have left, whatever the other one says: each site knows only what was submitted to it.

Without `Prefer` the answer comes as soon as the payment is on disk, some milliseconds. With `Prefer: wait=SECONDS` (RFC
7240; up to 30 unless configured otherwise) it comes with the outcome, when there is one by then. Either way the outcome
is told by a notice (SETTLED, UNKNOWN or UNSENT) as well.

200 is no acceptance: a payment that the hub or the receiver refused is SETTLED, with RJCT. Read `state`, then
`decided`.\
"""
GATEWAY = "gateway"
PROCESSOR = "processor"


def document(action_codes: codes.Codes | None = None) -> dict[str, Any]:
    """The document of both ends, as plain values. `action_codes`: None: the built-in table."""
    status = SCHEMAS.components["Status"]
    listed = {**status, "description": f"{status['description']}\n\n{_listed(action_codes or codes.built_in())}"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Gateway and processor", "version": gateway.__version__, "description": DESCRIPTION},
        "servers": [
            {
                "url": "https://{gateway}:{port}",
                "description": "The gateway, as `node.submissions` configures it; one for each payment group and site.",
                "variables": {"gateway": {"default": "gateway.example"}, "port": {"default": "9300"}},
            }
        ],
        "tags": [
            {"name": GATEWAY, "description": "Served by the gateway."},
            {"name": PROCESSOR, "description": "Served by the processor, under the URL that `node.processor` has."},
        ],
        "paths": _gateways_paths(),
        "webhooks": _processors_paths(),
        "components": {"schemas": {**SCHEMAS.components, "Status": listed}},
    }


def _listed(action_codes: codes.Codes) -> str:
    """The codes that a status may have, and what each says."""
    parts = {
        "ACSP": action_codes.accepted,
        "ACTC": action_codes.qualified,
        "RJCT, by the receiver: what a processor may answer": action_codes.receiver,
        "RJCT, by the hub, of a payment that was submitted": action_codes.hub,
    }
    return "\n\n".join(
        f"{title}: {'; '.join(f'{code} {says}' for code, says in table.items())}." for title, table in parts.items()
    )


def processor_document(action_codes: codes.Codes | None = None) -> dict[str, Any]:
    """What the processor serves, alone, as paths."""
    whole = document(action_codes)
    paths = whole["webhooks"]
    return {
        "openapi": whole["openapi"],
        "info": {**whole["info"], "title": "Payment processor", "description": PROCESSOR_DESCRIPTION},
        "servers": [
            {
                "url": "https://{processor}",
                "description": "The processor, as `node.processor` configures it: its base URL.",
                "variables": {"processor": {"default": "processor.example"}},
            }
        ],
        "tags": [tag for tag in whole["tags"] if tag["name"] == PROCESSOR],
        "paths": paths,
        "components": {"schemas": _reached(paths, whole["components"]["schemas"])},
    }


class _Schemas(NamedTuple):
    payment: dict[str, Any]
    status: dict[str, Any]
    notice: dict[str, Any]
    submitted: dict[str, Any]
    progress: dict[str, Any]
    problem: dict[str, Any]
    readiness: dict[str, Any]
    components: dict[str, Any]


def _schemas() -> _Schemas:
    types = [Payment, Status, Notice, Submitted, Progress, Problem, Readiness]
    references, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    _add_reversed(components)
    payment, status, notice, submitted, progress, problem, readiness = references
    return _Schemas(payment, status, notice, submitted, progress, problem, readiness, components)


def _add_reversed(components: dict[str, Any]) -> None:
    """What a reversal says of its payment is a payment that may lack what the hub need not say again."""
    whole = components["Payment"]
    said = [name for name in whole["required"] if name not in {"IntrBkSttlmAmt", "IntrBkSttlmDt"}]
    description = (
        "What a reversal says of its payment. What it leaves out, or says in no valid value, is empty or not there."
    )
    components["Reversed"] = {**whole, "title": "Reversed", "description": description, "required": said}
    components["Reversal"]["properties"]["OrgnlTxRef"] = {"$ref": "#/components/schemas/Reversed"}


SCHEMAS = _schemas()


def _reached(value: Any, components: dict[str, Any]) -> dict[str, Any]:
    """The schemas that something refers to, directly or not."""
    found: dict[str, Any] = {}
    names = _referred(value)
    while names:
        found |= {name: components[name] for name in names}
        names = set().union(*(_referred(components[name]) for name in names)) - set(found)
    return {name: components[name] for name in components if name in found}


def _referred(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set[str]()
        return own.union(*map(_referred, value.values()))
    return set[str]().union(*map(_referred, value)) if isinstance(value, list) else set()


def _gateways_paths() -> dict[str, Any]:
    """What the gateway serves."""
    key = {
        "name": "key",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": "The Idempotency-Key that it was submitted under, percent-encoded.",
    }
    submitted = _header(
        "Idempotency-Key",
        f"Yours: 1 to {KEY_MAX} visible ASCII characters, taken as they are. Names the payment for ever.",
        pattern=f"^[!-~]{{1,{KEY_MAX}}}$",
    )
    wait = _header("Prefer", "wait=SECONDS: answer with the outcome, if there is one by then (RFC 7240).", needed=False)
    outcomes = {"settled": SETTLED, "refused by the hub": REJECTED, "unknown": UNKNOWN, "unsent": UNSENT}
    unusable = {
        "400": _problem("The request, its Idempotency-Key or its JSON is not well-formed, or a member comes twice."),
        "405": _problem("Another method: Allow says which there is.", _ALLOW),
        "408": _problem("The request did not come in in time. The connection is closed."),
        "413": _problem("The body is too long. The connection is closed."),
        "417": _problem("Expect with something else than 100-continue. The connection is closed."),
        "431": _problem("The headers are too long. The connection is closed."),
        "500": _problem("A fault of the gateway's. Nothing was recorded."),
        "505": _problem("Neither HTTP/1.1 nor 1.0. The connection is closed."),
    }
    forbidden = {"403": _problem("Your certificate holds another name than the processor's. Nothing was recorded.")}
    return {
        "/payments": {
            "post": {
                "operationId": "submit",
                "tags": [GATEWAY],
                "summary": "Submit a payment",
                "description": SUBMITTING,
                "parameters": [submitted, wait],
                "requestBody": _content(SCHEMAS.submitted, {"payment": SUBMITTED, "return": RETURNED}),
                "responses": {
                    "200": {
                        "description": "Nothing is under way: SETTLED with its outcome, which may be a refusal; "
                        "UNKNOWN; or UNSENT.",
                        **_content(SCHEMAS.progress, outcomes, required=False),
                    },
                    "202": {
                        "description": "On disk, and under way. A notice will tell what becomes of it.",
                        **_content(SCHEMAS.progress, {"pending": PENDING}, required=False),
                    },
                    "409": _problem("The key, or the FPID, is another payment's. Nothing was recorded."),
                    "415": _problem("The body is not application/json in UTF-8, or is compressed."),
                    "422": _problem(
                        "It is JSON, and no payment that could leave here: a member is missing, not known, or breaks a "
                        "rule of the scheme; or its payment type is of another group. `errors` says which. Nothing was "
                        "recorded; the same will be refused again.",
                        examples={"bad members": INVALID},
                    ),
                    "503": _problem(
                        "Nothing was recorded here, and nothing has left: no link to the hub, no HSM, a slow disk, too "
                        "many under way, or the gateway is stopping; or the scheme has told us that it would refuse "
                        "the payment now, and `code` is what it would say. Use the other site, or try again after "
                        "Retry-After; a payment that every attempt at either site was answered so was never submitted.",
                        _RETRY,
                    ),
                    "504": _problem(
                        "It is not known whether it was recorded: it may be, and may leave. Look, or submit it again "
                        "under the same key, here."
                    ),
                    **forbidden,
                    **unusable,
                },
            }
        },
        "/payments/{key}": {
            "get": {
                "operationId": "look",
                "tags": [GATEWAY],
                "summary": "Where does a payment stand that was submitted here?",
                "parameters": [key],
                "responses": {
                    "200": {
                        "description": "It stands there.",
                        **_content(SCHEMAS.progress, {"pending": PENDING, **outcomes}, required=False),
                    },
                    "404": _problem(
                        "Unknown here: never submitted to this site, refused, or forgotten after so many days. It says "
                        "nothing about the other site."
                    ),
                    **forbidden,
                    **unusable,
                },
            }
        },
        "/ready": {
            "get": {
                "operationId": "ready",
                "tags": [GATEWAY],
                "summary": "May payments come here?",
                "description": "A preference for the site that says yes, and no more: a payment that was submitted is "
                "where it is, and one that this site does not take is answered 503.",
                "parameters": [],
                "responses": {
                    "200": {"description": "Yes.", **_content(SCHEMAS.readiness, {"ready": READY}, required=False)},
                    "503": {
                        "description": "No. Submissions may be taken all the same.",
                        **_content(SCHEMAS.readiness, {"unready": UNREADY}, required=False),
                    },
                    **unusable,
                },
            }
        },
    }


def _processors_paths() -> dict[str, Any]:
    """What the processor serves."""
    payment, status, notice = SCHEMAS.payment, SCHEMAS.status, SCHEMAS.notice
    fpid = {
        "name": "fpid",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": "The payment's FPID, percent-encoded: it holds spaces.",
    }
    not_now = {"description": "Not now. Asked again while there is time left."}
    return {
        "/payments": {
            "post": {
                "operationId": "decide",
                "tags": [PROCESSOR],
                "summary": "Decide on a payment that the hub has sent",
                "description": "Answer within Time-Left-Ms: after that the gateway may accept in your stead and tells "
                "you so by a notice. A later answer is heard for some seconds, but changes nothing; a late refusal "
                "comes back as a notice.\n\n"
                "Only a 200 with a valid answer accepts; in an answer, no member may come twice. A refusal counts in "
                "whatever shape and with whatever status it comes: where its code is none that a receiver may say, the "
                "payment is refused with one of the gateway's own, and an alert fires. Everything else decides "
                "nothing. A 3xx or 4xx is taken for a broken interface: an alert fires, and the gateway may accept "
                "in your stead.\n\n"
                "A question with `unusual_date` is about a payment whose date lies outside the window: the gateway "
                "does not accept it in your stead.",
                "parameters": [
                    _header("Idempotency-Key", "The FPID, percent-encoded. The same key gets the same answer."),
                    _header("Time-Left-Ms", "Milliseconds until the gateway stands in.", "integer"),
                ],
                "requestBody": _content(payment, {"payment": PAYMENT}),
                "responses": {
                    "200": {
                        "description": "Decided.",
                        **_content(
                            status,
                            {"accepted": ACCEPTED, "qualified": QUALIFIED, "refused": REFUSED, "bad field": BAD_FIELD},
                            required=False,
                        ),
                    },
                    "503": not_now,
                },
            }
        },
        "/payments/{fpid}": {
            "get": {
                "operationId": "inquire",
                "tags": [PROCESSOR],
                "summary": "What was decided on a payment",
                "description": "This version of the gateway does not call it; a later one may.",
                "parameters": [fpid],
                "responses": {
                    "200": {
                        "description": "This was decided.",
                        **_content(status, {"accepted": ACCEPTED}, required=False),
                    },
                    "404": {"description": "Never heard of, or not decided yet."},
                },
            }
        },
        "/notices": {
            "post": {
                "operationId": "notice",
                "tags": [PROCESSOR],
                "summary": "Something was done in the processor's absence, or became of a payment that it submitted",
                "description": "Told until it is acknowledged, for days if need be; in order for each FPID. Any "
                f"2xx acknowledges it. {_REFUSING} refuse it for good: it is parked, and an alert fires. An operator "
                "can have it told once more, under the same id; later ones about the FPID may have come before it. "
                "Anything else means that you are away, 401, 403 and 404 too: it is told again.\n\n"
                "ORPHANED and UNDELIVERED are statements about the moment `recorded` and about nothing after it. A "
                "question (POST /payments) for the same FPID that arrives after that moment, or its answer, "
                "stands. Do not undo a payment because of an ORPHANED alone: the hub repeats it, or "
                "reverses it, and you are told REVERSED.\n\n"
                "UNKNOWN is no failure: the payment may have been made. It is followed by SETTLED when an answer comes "
                "after all, or when you submit it again under the same key. CONTRADICTED changes nothing: the outcome "
                "that was told before it stands.",
                "parameters": [_header("Idempotency-Key", "The notice's id.")],
                "requestBody": _content(notice, {"stood in": NOTICE, "settled": SETTLED_NOTICE}),
                "responses": {
                    "204": {"description": "Acknowledged: you have it on disk. Any 2xx will do."},
                    "422": {"description": f"Refused for good, as by each of {_REFUSING}."},
                    "503": {"description": "Not now. Retry-After is honoured, within limits."},
                },
            }
        },
    }


_ALLOW = {"Allow": {"schema": {"type": "string"}, "description": "The methods that there are."}}
_RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}


def _problem(
    description: str, headers: dict[str, Any] | None = None, examples: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A response that says why not."""
    values = {name: {"value": _plain(value)} for name, value in (examples or {}).items()}
    content = {"schema": SCHEMAS.problem, **({"examples": values} if values else {})}
    response = {"description": description, "content": {"application/problem+json": content}}
    return response | ({"headers": headers} if headers else {})


def _header(
    name: str, description: str, kind: str = "string", *, needed: bool = True, pattern: str = ""
) -> dict[str, Any]:
    schema = {"type": kind} | ({"pattern": pattern} if pattern else {})
    return {"name": name, "in": "header", "required": needed, "schema": schema, "description": description}


def _plain(value: Struct) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _content(schema: dict[str, Any], examples: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    values = {name: {"value": _plain(value)} for name, value in examples.items()}
    content: dict[str, Any] = {"content": {"application/json": {"schema": schema, "examples": values}}}
    return {"required": True, **content} if required else content


def main(arguments: list[str]) -> int:
    """Print it."""
    parser = Parser(description="Print the OpenAPI document.")
    parser.add_argument(
        "half", nargs="?", choices=["processor"], help="what the processor serves, alone, as paths; default: both ends"
    )
    parser.add_argument("--codes", metavar="FILE", default="", help="a table of action codes in place of the built-in")
    chosen = parser.parse_args(arguments)
    try:
        action_codes = codes.load(chosen.codes)
    except ConfigurationError as error:
        return config_file.say(error)
    value = processor_document(action_codes) if chosen.half else document(action_codes)
    text = console.json_text(msgspec.json.format(msgspec.json.encode(value), indent=2), sys.stdout)
    sys.stdout.write(text + "\n")
    return 0
