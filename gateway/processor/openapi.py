"""The OpenAPI 3.1 document for the teams at the other end, made from the message definitions. Prints it as JSON.

.venv/bin/python -m gateway.processor.openapi > gateway.openapi.json
.venv/bin/python -m gateway.processor.openapi processor > processor.openapi.json

One document describes both ends: the gateway serves `paths`, and the processor serves `webhooks` for the gateway to
call. Both ends have a /payments, and a document may have each path once. With `processor`, the second half is printed
as paths: generators of server code read only those.
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("gateway.processor.openapi"))

from typing import Any

import msgspec

import gateway
from gateway.config import file as config_file
from gateway.errors import ConfigurationError
from gateway.machine import console
from gateway.machine.arguments import Parser
from gateway.processor.operations import GATEWAY, PROCESSOR, SCHEMAS, gateways_paths, processors_paths
from gateway.wire import codes

DESCRIPTION = """\
A payment processor and its gateway to Faster Payments, both ends. HTTP/1.1 with keep-alive, TLS with client
certificates in production.

The gateway serves `paths`: the processor submits payments there. The processor serves `webhooks`, each under its path:
the gateway asks, tells and inquires there.

Every request may come more than once (a connection breaks, a process restarts): `Idempotency-Key` tells which requests
are the same. Members have the names of ISO 20022 where it has one. A member is left out when the scheme's message lacks
its field. Ignore members from the gateway that you do not know: new ones may be added. The gateway, in turn, refuses
members that it does not know: a misspelt member must not make a payment without it.\
"""
PROCESSOR_DESCRIPTION = """\
The interface that a payment processor serves for its gateway to Faster Payments: the processor's half of the gateway's
document. HTTP/1.1 with keep-alive, TLS with client certificates in production.

Every request may come more than once (a connection breaks, a gateway restarts): `Idempotency-Key` tells which requests
are the same. Members have the names of ISO 20022 where it has one. A member is left out when the scheme's message lacks
its field. Ignore members that you do not know: new ones may be added.\
"""


def document(action_codes: codes.Codes | None = None) -> dict[str, Any]:
    """The document of both ends, as plain values. None stands for the built-in table of action codes."""
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
        "paths": gateways_paths(),
        "webhooks": processors_paths(),
        "components": {"schemas": {**SCHEMAS.components, "Status": listed}},
    }


def _listed(action_codes: codes.Codes) -> str:
    """The codes that a status may have, each with its meaning."""
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
    """The processor's half alone, as paths."""
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


def _reached(value: Any, components: dict[str, Any]) -> dict[str, Any]:
    """The schemas to which a value refers, directly or not."""
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


def main(arguments: list[str]) -> int:
    """Print the document."""
    parser = Parser(description="Print the OpenAPI document.")
    parser.add_argument(
        "half", nargs="?", choices=["processor"], help="print the processor's half alone, as paths; default: both ends"
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
