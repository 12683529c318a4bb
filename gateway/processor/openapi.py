"""The document for the teams at the other end: OpenAPI 3.1, made of the message definitions. Prints it as JSON.

python -m gateway.processor.openapi > processor.openapi.json
"""

import sys
from typing import Any

import msgspec

import gateway
from gateway.processor.client import REFUSING
from gateway.processor.messages import (
    Account,
    Agent,
    Amount,
    CreditorReference,
    Notice,
    Party,
    Payment,
    Reason,
    ReasonInformation,
    Remittance,
    Status,
    Structured,
)

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
    decided=Status("ACTC", ReasonInformation(Reason("0083"))),
    payment=PAYMENT,
)

_REFUSING = ", ".join(str(status) for status in sorted(REFUSING))

DESCRIPTION = """\
What a payment processor serves for the gateway. HTTP/1.1 with keep-alive, TLS with client certificates in production.

Every request may come more than once (a connection breaks, a gateway restarts): `Idempotency-Key` says what is the
same. Names are those of ISO 20022 where it has one; what a message of the scheme does not hold is left out. Ignore
members that you do not know: new ones may be added.\
"""


def document() -> dict[str, Any]:
    """The document, as plain values."""
    (payment, status, notice), components = msgspec.json.schema_components(
        [Payment, Status, Notice], ref_template="#/components/schemas/{name}"
    )
    fpid = {
        "name": "fpid",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": "The payment's FPID, percent-encoded: it holds spaces.",
    }
    not_now = {"description": "Not now. Asked again while there is time left."}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Payment processor", "version": gateway.__version__, "description": DESCRIPTION},
        "paths": {
            "/payments": {
                "post": {
                    "operationId": "decide",
                    "summary": "Decide on a payment that the hub has sent",
                    "description": "Answer within Time-Left-Ms: after that the gateway accepts in your stead and "
                    "tells you so by a notice. A later answer is heard for some seconds, but changes nothing; a late "
                    "refusal comes back as a notice. Anything but a 200 with a valid answer is no answer.",
                    "parameters": [
                        _header("Idempotency-Key", "The FPID, percent-encoded. The same key gets the same answer."),
                        _header("Time-Left-Ms", "Milliseconds until the gateway stands in.", "integer"),
                    ],
                    "requestBody": _content(payment, {"payment": PAYMENT}),
                    "responses": {
                        "200": {
                            "description": "Decided.",
                            **_content(status, {
                                "accepted": ACCEPTED,
                                "qualified": QUALIFIED,
                                "refused": REFUSED,
                                "bad field": BAD_FIELD,
                            }, required=False),
                        },
                        "503": not_now,
                    },
                }
            },
            "/payments/{fpid}": {
                "get": {
                    "operationId": "inquire",
                    "summary": "What was decided on a payment",
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
                    "summary": "Something was done in the processor's absence",
                    "description": "Told until it is acknowledged, for days if need be; in order for each FPID. Any "
                    f"2xx acknowledges it. {_REFUSING} refuse it for good: it is parked, and people are alarmed. "
                    "Anything else means that you are away, 401, 403 and 404 too: it is told again.\n\n"
                    "ORPHANED and UNDELIVERED are statements about the moment `recorded` and about nothing after it. A "
                    "question (POST /payments) for the same FPID that arrives after that moment, or its answer, "
                    "stands. Do not undo a payment because of an ORPHANED alone: the hub repeats it, or "
                    "reverses it, and you are told REVERSED.",
                    "parameters": [_header("Idempotency-Key", "The notice's id.")],
                    "requestBody": _content(notice, {"stood in": NOTICE}),
                    "responses": {
                        "204": {"description": "Acknowledged: you have it on disk. Any 2xx will do."},
                        "422": {"description": f"Refused for good, as by each of {_REFUSING}."},
                        "503": {"description": "Not now. Retry-After is honoured, within limits."},
                    },
                }
            },
        },
        "components": {"schemas": components},
    }  # fmt: skip


def _header(name: str, description: str, kind: str = "string") -> dict[str, Any]:
    return {"name": name, "in": "header", "required": True, "schema": {"type": kind}, "description": description}


def _content(schema: dict[str, Any], examples: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    values = {name: {"value": msgspec.json.decode(msgspec.json.encode(value))} for name, value in examples.items()}
    content: dict[str, Any] = {"content": {"application/json": {"schema": schema, "examples": values}}}
    return {"required": True, **content} if required else content


def main() -> None:
    """Print it."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n")


if __name__ == "__main__":
    main()
