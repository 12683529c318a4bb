"""The document for the teams at the other end: valid in shape, and its examples are what it says."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gateway.http.visitor import REASONS
from gateway.payments.outbound_law import RESTING, State
from gateway.payments.work import Standing
from gateway.processor.answers import Answers
from gateway.processor.messages import Notice, Payment, Problem, Progress, Readiness, Status, Submitted, encode
from gateway.processor.openapi import document, processor_document
from gateway.processor.request import Reader
from gateway.processor.writing import payment_of, progress_of
from gateway.wire.codec import Codec
from gateway.wire.codes import built_in
from tests.fakes.door import BODY, FPID
from tests.fakes.processor import payment

DOCUMENT = document()
HALF = processor_document()
TYPES: dict[str, Any] = {
    "Payment": Payment,
    "Status": Status,
    "Notice": Notice,
    "Submitted": Submitted,
    "Progress": Progress,
    "Problem": Problem,
    "Readiness": Readiness,
}
GATEWAYS = [("/payments", "post"), ("/payments/{key}", "get"), ("/ready", "get")]
PROCESSORS = [("/payments", "post"), ("/payments/{fpid}", "get"), ("/notices", "post")]


def nodes(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in the document, with its place."""
    if isinstance(value, dict):
        yield place, value
        for key, inner in value.items():
            yield from nodes(inner, f"{place}/{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from nodes(inner, f"{place}/{index}")


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference."""
    if "$ref" in schema:
        found: dict[str, Any] = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def faults(value: Any, schema: dict[str, Any], place: str = "$") -> Iterator[str]:
    """What is wrong with a value, by the part of JSON Schema that the document uses; any other keyword is a fault."""
    schema = resolve(schema)
    known = {"type", "title", "description", "properties", "required", "enum", "pattern", "anyOf", "default", "const"}
    known |= {"items", "format", "minLength", "maxLength"}  # what they say, a whole reader looks at: test_strict_reader
    if unknown := set(schema) - known - {"$ref", "allOf"}:
        yield f"{place}: keywords {unknown}"
    for option in schema.get("allOf", []):
        yield from faults(value, option, place)
    options = [list(faults(value, option, place)) for option in schema.get("anyOf", [])]
    if options and all(options):
        yield f"{place}: fits no alternative: {options}"
    yield from type_faults(value, schema, place)
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: not one of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{place}: not {schema['const']}"


PLAIN: dict[str, type | tuple[type, ...]] = {"string": str, "boolean": bool, "integer": int}


def type_faults(value: Any, schema: dict[str, Any], place: str) -> Iterator[str]:
    """What is wrong with the type of a value, and what is inside of it."""
    kind = schema.get("type", "")
    if kind == "object":
        yield from object_faults(value, schema, place)
    elif kind == "array":
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            yield from faults(item, schema["items"], f"{place}[{index}]")
    elif kind in PLAIN and (not isinstance(value, PLAIN[kind]) or (kind == "integer" and isinstance(value, bool))):
        yield f"{place}: no {kind}"
    elif "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{place}: not {schema['pattern']}"


def object_faults(value: Any, schema: dict[str, Any], place: str) -> Iterator[str]:
    """What is wrong with an object. A member that is not described is a fault: we write these."""
    if not isinstance(value, dict):
        yield f"{place}: no object"
        return
    yield from (f"{place}: lacks {name}" for name in schema.get("required", []) if name not in value)
    properties = schema.get("properties", {})
    yield from (f"{place}: {name} is not described" for name in value if name not in properties)
    for name, inner in value.items():
        yield from faults(inner, properties.get(name, {}), f"{place}.{name}")


def operations(paths: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Each operation, with its path and method."""
    return [(path, method, operation) for path, item in paths.items() for method, operation in item.items()]


WHOLE = [*operations(DOCUMENT["paths"]), *operations(DOCUMENT["webhooks"])]


@pytest.mark.parametrize("made", [DOCUMENT, HALF], ids=["both ends", "the processor's"])
def test_its_shape(made: dict[str, Any]) -> None:
    """What OpenAPI 3.1 wants of a document: its top, servers whose variables have values, known tags."""
    assert re.fullmatch(r"3\.1\.\d", made["openapi"])
    assert set(made) <= {"openapi", "info", "servers", "tags", "paths", "webhooks", "components"}
    assert {"title", "version"} <= set(made["info"]) <= {"title", "version", "description"}
    for server in made["servers"]:
        assert set(re.findall(r"{(\w+)}", server["url"])) == set(server["variables"])
        assert all(isinstance(variable["default"], str) for variable in server["variables"].values())
    tags = {tag["name"] for tag in made["tags"]}
    of_all = operations(made["paths"]) + operations(made.get("webhooks", {}))
    assert {name for _, _, operation in of_all for name in operation["tags"]} == tags
    assert len({operation["operationId"] for _, _, operation in of_all}) == len(of_all)


@pytest.mark.parametrize(("path", "method", "operation"), WHOLE)
def test_the_shape_of_an_operation(path: str, method: str, operation: dict[str, Any]) -> None:
    """What it wants of an operation, its parameters, body and responses."""
    assert path.startswith("/")
    assert method in {"get", "post"}
    assert operation["responses"]
    for code, response in operation["responses"].items():
        assert re.fullmatch("[1-5][0-9]{2}", code)
        assert response["description"]
        assert set(response) <= {"description", "content", "headers"}
    named = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
    assert named == set(re.findall(r"{(\w+)}", path))
    for parameter in operation["parameters"]:
        assert parameter["in"] in {"path", "header"}
        assert parameter["required"] is (parameter["name"] != "Prefer")
        assert parameter["schema"]["type"] in {"string", "integer"}
    assert ("requestBody" in operation) is (method == "post")


def test_both_ends_are_described() -> None:
    """What the gateway serves are paths, what the processor serves are webhooks, and paths of its own document."""
    assert [(path, method) for path, method, _ in operations(DOCUMENT["paths"])] == GATEWAYS
    assert [(path, method) for path, method, _ in operations(DOCUMENT["webhooks"])] == PROCESSORS
    assert HALF["paths"] == DOCUMENT["webhooks"]


@pytest.mark.parametrize("made", [DOCUMENT, HALF], ids=["both ends", "the processor's"])
def test_every_reference_leads_somewhere(made: dict[str, Any]) -> None:
    """And every schema is used."""
    referred = {node["$ref"] for _, node in nodes(made) if "$ref" in node}
    assert referred == {f"#/components/schemas/{name}" for name in made["components"]["schemas"]}


def test_every_status_of_the_door_is_described() -> None:
    """Each status that the door can say has its meaning in the document, and no other has."""
    said = {code for _, _, operation in operations(DOCUMENT["paths"]) for code in operation["responses"]}
    assert said == {str(status) for status in REASONS}


def test_the_rules_of_idempotency_are_spelled_out() -> None:
    """What the same key means, in each case, stands where one submits."""
    said = DOCUMENT["paths"]["/payments"]["post"]["description"]
    for rule in (
        "The same key with the same content is the same payment",
        "The same key with other content is refused (409)",
        "UNKNOWN and the same key again: another round of repeats",
        "UNSENT and the same key again: it is submitted anew",
        "The same key and content at the gateway's other site makes the same FPID there",
    ):
        assert rule in said


@pytest.mark.parametrize("state", list(State))
def test_every_standing_is_as_described(state: State) -> None:
    """What the door says of a payment in any state is what the document says."""
    standing = Standing(FPID, state, "9909") if state is State.UNKNOWN else Standing(FPID, state)
    if state is State.SETTLED:
        standing = Standing(FPID, state, "0000", "", "receiver", "309999", "87654321", "20251122001", "1")
    value = json.loads(encode(progress_of(standing, built_in())))
    assert list(faults(value, {"$ref": "#/components/schemas/Progress"})) == []
    assert (value["state"] == "PENDING") is (state not in RESTING)


def test_what_is_submitted_is_as_described() -> None:
    """The examples of a submission are taken by the gateway that serves their type; so is the tests' own."""
    examples = DOCUMENT["paths"]["/payments"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    for group, value in (("sip", examples["payment"]), ("other", examples["return"]), ("sip", {"value": BODY})):
        Reader(Codec(), group).read(json.dumps(value["value"]).encode(), "key")  # type: ignore[arg-type]  # a literal in a tuple
        assert list(faults(value["value"], {"$ref": "#/components/schemas/Submitted"})) == []


EXAMPLES = [
    pytest.param(node["schema"], example["value"], id=f"{node['schema']['$ref'].rpartition('/')[2]} {name}")
    for place, node in nodes(DOCUMENT)
    if "examples" in node and "schema" in node
    for name, example in node["examples"].items()
]


@pytest.mark.parametrize(("schema", "value"), EXAMPLES)
def test_examples(schema: dict[str, Any], value: Any) -> None:
    """Each example is valid by its schema, and by the definition that the gateway reads or writes by."""
    assert list(faults(value, schema)) == []
    name = schema["$ref"].rpartition("/")[2]
    msgspec.convert(value, TYPES[name])
    if name == "Status":
        assert not Answers().read(200, json.dumps(value).encode()).fault


def test_there_are_examples_of_everything() -> None:
    """Each body has one."""
    assert {example.values[0]["$ref"].rpartition("/")[2] for example in EXAMPLES} == set(TYPES)  # type: ignore[index]


def test_what_is_really_sent_is_valid() -> None:
    """A payment as the client writes it is what the document says."""
    fpid, request = payment()
    value = json.loads(encode(payment_of(request, fpid)))
    assert list(faults(value, {"$ref": "#/components/schemas/Payment"})) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Status", {}),
        ("Status", {"TxSts": "OK"}),
        ("Status", {"TxSts": "ACTC", "StsRsnInf": {}}),
        ("Status", {"TxSts": "ACTC", "StsRsnInf": {"Rsn": {"Prtry": 81}}}),
        ("Notice", {"id": "x", "kind": "OTHER", "FPID": "", "recorded": ""}),
    ],
)
def test_the_validator_finds_faults(name: str, value: Any) -> None:
    """A validator that finds nothing would prove nothing."""
    assert list(faults(value, {"$ref": f"#/components/schemas/{name}"}))


@pytest.mark.parametrize("reason", ["link-lost", "link-lost-writing", "too-late", "no-mac", "restart"])
def test_every_reason_is_described(reason: str) -> None:
    """What `steps.Undelivered` may say is in the document."""
    described = DOCUMENT["components"]["schemas"]["Notice"]["properties"]["reason"]["description"]
    assert reason in re.split("[ ,;]+", described)


def test_it_is_said_what_a_notice_about_a_moment_is_not() -> None:
    """Whoever reads the document learns that an ORPHANED undoes nothing, and which statuses park a notice."""
    description = DOCUMENT["webhooks"]["/notices"]["post"]["description"]
    assert "Do not undo a payment because of an ORPHANED alone" in description
    assert "400, 409, 410, 413, 422 refuse it for good" in description


@pytest.mark.parametrize(("half", "expected"), [([], DOCUMENT), (["processor"], HALF)])
def test_it_can_be_printed(half: list[str], expected: dict[str, Any]) -> None:
    """`.venv/bin/python -m gateway.processor.openapi` prints the document, or the half of the processor."""
    command = [sys.executable, "-m", "gateway.processor.openapi", *half]
    printed = subprocess.run(command, check=True, capture_output=True).stdout
    assert json.loads(printed) == json.loads(json.dumps(expected))
