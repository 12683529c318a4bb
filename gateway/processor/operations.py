"""The operations of both ends in the OpenAPI document: what the gateway serves, and what the processor serves.

Each operation is a function. The schemas come from the definitions by which the gateway reads and writes.
"""

from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from gateway.http.statuses import REFUSING
from gateway.processor.examples import (
    ACCEPTED,
    BAD_FIELD,
    INVALID,
    NOTICE,
    PAYMENT,
    PENDING,
    QUALIFIED,
    READY,
    REFUSED,
    REJECTED,
    RETURNED,
    SETTLED,
    SETTLED_NOTICE,
    SUBMITTED,
    UNKNOWN,
    UNREADY,
    UNSENT,
)
from gateway.processor.messages import (
    Notice,
    Payment,
    Problem,
    Progress,
    Readiness,
    Status,
    Submitted,
)
from gateway.processor.request import KEY_MAX

_REFUSING = ", ".join(str(status) for status in sorted(REFUSING))

SUBMITTING = """\
The payment leaves for the hub once it is on disk. **Idempotency-Key** identifies it for the whole of its life, and for
as long as its FPID is remembered (seven business days unless configured otherwise):

* The same key with the same content is the same payment, however often it comes. The response gives its state, and the
  payment is never sent twice because of it. Content is the same when members and values are the same; the order of
  members and white space play no part.
* The same key with other content is refused (409). So is another key with the TxId, payment type, date, currency and
  InstgAgt of a payment that has a key already: together these make its FPID.
* UNKNOWN and the same key again: another round of repeats of the very same payment begins, when there is a link to
  repeat it on. Otherwise the response is UNKNOWN again, never a 503. Ask as often as you like, and never submit it
  under a new key: the first may have been paid.
* UNSENT and the same key again: it is submitted anew. Nothing of it had left.
* The same key and content at the gateway's other site makes the same FPID there: for the hub it is the same payment.
  After a 503 here, go there. After a 202, stay with this site for as long as you can reach it. After silence, a broken
  connection or a 504, this site may have the payment or not: submit it at either site until one gives its outcome.
  Until then it may have left, whatever the other site says: each site knows only its own submissions.

Without `Prefer` the response comes as soon as the payment is on disk, within milliseconds. With `Prefer: wait=SECONDS`
(RFC 7240; up to 30 unless configured otherwise) it comes with the outcome, if there is one by then. Either way a notice
(SETTLED, UNKNOWN or UNSENT) tells the outcome as well.

200 is no acceptance: a payment that the hub or the receiver refused is SETTLED, with RJCT. Read `state`, then
`decided`.\
"""
GATEWAY = "gateway"
PROCESSOR = "processor"


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
    """Add the payment as a reversal describes it: it may lack the members that the hub need not repeat."""
    whole = components["Payment"]
    said = [name for name in whole["required"] if name not in {"IntrBkSttlmAmt", "IntrBkSttlmDt"}]
    description = (
        "The payment, as its reversal describes it. A member is empty or missing when the reversal lacks a valid value."
    )
    components["Reversed"] = {**whole, "title": "Reversed", "description": description, "required": said}
    components["Reversal"]["properties"]["OrgnlTxRef"] = {"$ref": "#/components/schemas/Reversed"}


SCHEMAS = _schemas()


def gateways_paths() -> dict[str, Any]:
    """The paths that the gateway serves."""
    return {
        "/payments": {"post": _submit()},
        "/payments/{key}": {"get": _look()},
        "/ready": {"get": _ready()},
    }


def processors_paths() -> dict[str, Any]:
    """The paths that the processor serves."""
    return {
        "/payments": {"post": _decide()},
        "/payments/{fpid}": {"get": _inquire()},
        "/notices": {"post": _notice()},
    }


def _problem(
    description: str, headers: dict[str, Any] | None = None, examples: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A response that gives the reason of a refusal."""
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


_ALLOW = {"Allow": {"schema": {"type": "string"}, "description": "The methods of this path."}}
_RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
_OUTCOMES = {"settled": SETTLED, "refused by the hub": REJECTED, "unknown": UNKNOWN, "unsent": UNSENT}
_UNUSABLE = {
    "400": _problem("The request, its Idempotency-Key or its JSON is not well-formed, or a member comes twice."),
    "405": _problem("The path has no such method: Allow lists those that it has.", _ALLOW),
    "408": _problem("The request did not arrive in time. The connection is closed."),
    "413": _problem("The body is too long. The connection is closed."),
    "417": _problem("Expect has another value than 100-continue. The connection is closed."),
    "431": _problem("The headers are too long. The connection is closed."),
    "500": _problem("The gateway is at fault. Nothing was recorded."),
    "505": _problem("Neither HTTP/1.1 nor 1.0. The connection is closed."),
}
_FORBIDDEN = {"403": _problem("Your certificate has another name than the processor's. Nothing was recorded.")}
_NOT_NOW = {"description": "Not now. The gateway asks again while there is time left."}


def _submit() -> dict[str, Any]:
    """Submit a payment."""
    submitted = _header(
        "Idempotency-Key",
        f"Yours: 1 to {KEY_MAX} visible ASCII characters, taken as they are. Names the payment for ever.",
        pattern=f"^[!-~]{{1,{KEY_MAX}}}$",
    )
    wait = _header("Prefer", "wait=SECONDS: answer with the outcome, if there is one by then (RFC 7240).", needed=False)
    return {
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
                **_content(SCHEMAS.progress, _OUTCOMES, required=False),
            },
            "202": {
                "description": "On disk and under way. A notice will tell the outcome.",
                **_content(SCHEMAS.progress, {"pending": PENDING}, required=False),
            },
            "409": _problem("The key, or the FPID, is another payment's. Nothing was recorded."),
            "415": _problem("The body is not application/json in UTF-8, or is compressed."),
            "422": _problem(
                "It is JSON, but no payment that could leave here: a member is missing, unknown, or breaks a rule of "
                "the scheme; or its payment type belongs to another group. `errors` names the member. Nothing was "
                "recorded; the same submission will be refused again.",
                examples={"bad members": INVALID},
            ),
            "503": _problem(
                "Nothing was recorded here, and nothing has left: no link to the hub, no HSM, a slow disk, too "
                "many under way, or the gateway is stopping; or the scheme has announced that it would "
                "refuse the payment now, with this `code`. Use the other site, or try again after Retry-After. When "
                "every attempt at either site got this response, the payment was never submitted.",
                _RETRY,
            ),
            "504": _problem(
                "Nobody knows whether it was recorded: it may be, and may leave. Look here, or submit it here again "
                "under the same key."
            ),
            **_FORBIDDEN,
            **_UNUSABLE,
        },
    }


def _look() -> dict[str, Any]:
    """Look where a payment stands."""
    key = {
        "name": "key",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": "The Idempotency-Key of the submission, percent-encoded.",
    }
    return {
        "operationId": "look",
        "tags": [GATEWAY],
        "summary": "Look where a payment stands that was submitted here",
        "parameters": [key],
        "responses": {
            "200": {
                "description": "The state of the payment.",
                **_content(SCHEMAS.progress, {"pending": PENDING, **_OUTCOMES}, required=False),
            },
            "404": _problem(
                "Unknown here: never submitted to this site, refused, or forgotten after the configured days. This "
                "says nothing about the other site."
            ),
            **_FORBIDDEN,
            **_UNUSABLE,
        },
    }


def _ready() -> dict[str, Any]:
    """Ask whether payments may come."""
    return {
        "operationId": "ready",
        "tags": [GATEWAY],
        "summary": "May payments come here?",
        "description": "Prefer a site that says yes. The answer means no more: a payment that was submitted stays "
        "where it is, and a submission that this site cannot take gets a 503.",
        "parameters": [],
        "responses": {
            "200": {"description": "Yes.", **_content(SCHEMAS.readiness, {"ready": READY}, required=False)},
            "503": {
                "description": "No. The site may still take submissions.",
                **_content(SCHEMAS.readiness, {"unready": UNREADY}, required=False),
            },
            **_UNUSABLE,
        },
    }


def _decide() -> dict[str, Any]:
    """Decide on a payment."""
    return {
        "operationId": "decide",
        "tags": [PROCESSOR],
        "summary": "Decide on a payment that the hub has sent",
        "description": "Answer within Time-Left-Ms: after that the gateway may accept in your stead, and tells "
        "you so by a notice. For some seconds it still hears a late answer, which changes nothing; a late refusal "
        "comes back as a notice.\n\n"
        "Only a 200 with a valid answer accepts; in an answer, no member may come twice. A refusal counts in "
        "any shape and with any status. If a receiver may not use its code, the gateway refuses the payment with a "
        "code of its own, and an alert fires. Every other response decides nothing. A 3xx or 4xx means a broken "
        "interface: an alert fires, and the gateway may accept in your stead.\n\n"
        "In a question with `unusual_date`, the date of the payment lies outside the window: the gateway does not "
        "accept it in your stead.",
        "parameters": [
            _header("Idempotency-Key", "The FPID, percent-encoded. The same key gets the same answer."),
            _header("Time-Left-Ms", "Milliseconds until the gateway stands in.", "integer"),
        ],
        "requestBody": _content(SCHEMAS.payment, {"payment": PAYMENT}),
        "responses": {
            "200": {
                "description": "Decided.",
                **_content(
                    SCHEMAS.status,
                    {"accepted": ACCEPTED, "qualified": QUALIFIED, "refused": REFUSED, "bad field": BAD_FIELD},
                    required=False,
                ),
            },
            "503": _NOT_NOW,
        },
    }


def _inquire() -> dict[str, Any]:
    """Ask what was decided."""
    fpid = {
        "name": "fpid",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": "The payment's FPID, percent-encoded because it holds spaces.",
    }
    return {
        "operationId": "inquire",
        "tags": [PROCESSOR],
        "summary": "Ask what was decided on a payment",
        "description": "This version of the gateway does not call it; a later one may.",
        "parameters": [fpid],
        "responses": {
            "200": {
                "description": "The decision.",
                **_content(SCHEMAS.status, {"accepted": ACCEPTED}, required=False),
            },
            "404": {"description": "The payment is unknown, or not decided yet."},
        },
    }


def _notice() -> dict[str, Any]:
    """Tell of an event."""
    return {
        "operationId": "notice",
        "tags": [PROCESSOR],
        "summary": "Take a notice: a decision made in your absence, or the outcome of a payment that you submitted",
        "description": "The gateway tells a notice until you acknowledge it, for days if need be, and tells those "
        "about one FPID in order. Any 2xx acknowledges it. "
        f"{_REFUSING} refuse it for good: it is parked, and an alert fires. An operator can have it told once "
        "more, under the same id; later notices about the FPID may have come before it. Any other response means "
        "that you are away, 401, 403 and 404 too: the notice is told again.\n\n"
        "ORPHANED and UNDELIVERED describe the moment `recorded` and nothing after it. A "
        "question (POST /payments) for the same FPID that arrives after that moment, or its answer, "
        "stands. Do not undo a payment because of an ORPHANED alone: the hub repeats it, or "
        "reverses it, and you are told REVERSED.\n\n"
        "UNKNOWN is no failure: the payment may have been made. SETTLED follows when an answer comes after all, "
        "or when you submit the payment again under the same key. CONTRADICTED changes nothing: the outcome told "
        "before it stands.",
        "parameters": [_header("Idempotency-Key", "The notice's id.")],
        "requestBody": _content(SCHEMAS.notice, {"stood in": NOTICE, "settled": SETTLED_NOTICE}),
        "responses": {
            "204": {"description": "Acknowledged: you have the notice on disk. Any 2xx will do."},
            "422": {"description": f"Refused for good, as by each of {_REFUSING}."},
            "503": {"description": "Not now. Retry-After is honoured, within limits."},
        },
    }
