"""The document for the teams at the other end: valid in shape, and its examples are what it says."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gateway.processor.messages import Notice, Payment, Status, decided, encode, payment_of
from gateway.processor.openapi import document
from tests.fakes.processor import payment

DOCUMENT = document()
TYPES: dict[str, Any] = {"Payment": Payment, "Status": Status, "Notice": Notice}


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
    if unknown := set(schema) - known - {"$ref", "allOf"}:
        yield f"{place}: keywords {unknown}"
    for option in schema.get("allOf", []):
        yield from faults(value, option, place)
    options = [list(faults(value, option, place)) for option in schema.get("anyOf", [])]
    if options and all(options):
        yield f"{place}: fits no alternative: {options}"
    if schema.get("type") == "object":
        yield from object_faults(value, schema, place)
    if schema.get("type") == "string":
        if not isinstance(value, str):
            yield f"{place}: no string"
        elif "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{place}: not {schema['pattern']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: not one of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{place}: not {schema['const']}"


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


def test_its_shape() -> None:
    """What OpenAPI 3.1 wants of a document, its operations, parameters and responses."""
    assert re.fullmatch(r"3\.1\.\d", DOCUMENT["openapi"])
    assert {"title", "version"} <= set(DOCUMENT["info"])
    operations = [
        (path, method, operation)
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        if method in {"get", "post"}
    ]
    assert [(path, method) for path, method, _ in operations] == [
        ("/payments", "post"), ("/payments/{fpid}", "get"), ("/notices", "post"),
    ]  # fmt: skip
    assert len({operation["operationId"] for _, _, operation in operations}) == len(operations)
    for path, _, operation in operations:
        assert operation["responses"]
        for code, response in operation["responses"].items():
            assert re.fullmatch("[1-5][0-9]{2}", code)
            assert response["description"]
        named = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))
        for parameter in operation["parameters"]:
            assert parameter["required"] is True
            assert parameter["schema"]["type"] in {"string", "integer"}


def test_every_reference_leads_somewhere() -> None:
    """And every schema is used."""
    referred = {node["$ref"] for _, node in nodes(DOCUMENT) if "$ref" in node}
    assert referred == {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}


EXAMPLES = [
    pytest.param(node["schema"], example["value"], id=f"{place.split('/')[2]} {name}")
    for place, node in nodes(DOCUMENT)
    if "examples" in node
    for name, example in node["examples"].items()
]


@pytest.mark.parametrize(("schema", "value"), EXAMPLES)
def test_examples(schema: dict[str, Any], value: Any) -> None:
    """Each example is valid by its schema, and by the definition that the gateway reads or writes by."""
    assert list(faults(value, schema)) == []
    name = schema["$ref"].rpartition("/")[2]
    msgspec.convert(value, TYPES[name])
    if name == "Status":
        assert decided(json.dumps(value).encode())


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
    description = DOCUMENT["paths"]["/notices"]["post"]["description"]
    assert "Do not undo a payment because of an ORPHANED alone" in description
    assert "400, 409, 410, 413, 422 refuse it for good" in description


def test_it_can_be_printed() -> None:
    """`python -m gateway.processor.openapi` prints the document."""
    command = [sys.executable, "-m", "gateway.processor.openapi"]
    printed = subprocess.run(command, check=True, capture_output=True).stdout
    assert json.loads(printed) == json.loads(json.dumps(DOCUMENT))
