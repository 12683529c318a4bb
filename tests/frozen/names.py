"""Every name and number that others rely on, read out of the code's own objects, as lines: a list for each surface.

A line is one fact, and a list is sorted, so that a difference is read as it is. Prose is left out, but where it is all
that names the words a member may have.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import trio
from msgspec import Struct
from msgspec import inspect as types

from tests.frozen import sources
from tests.simulation import canaries, world

ALERTS = Path(__file__).parents[2] / "compose" / "prometheus" / "alerts.yaml"
Lines = Iterator[str]


def lists() -> dict[str, list[str]]:
    """Every list, by its name. To be called in a process of its own: what has run before shows in the metrics."""
    metrics = sorted(set(_metrics()))  # before the simulation counts
    return {
        "disk": sorted(_disk()),
        "http": sorted(set(_http())),
        "metrics": metrics,
        "alerts": sorted(_alerts()),
        "configuration": sorted(_configuration()),
        "commands": sorted({*_commands(sources.command_line(), "fps-gateway"), *_exits()}),
        "operations": sorted(_operations()),
    }


# --- types


def _limits(kind: types.Type) -> str:
    names = ("gt", "ge", "lt", "le", "pattern", "min_length", "max_length")
    found = [f"{name}={value}" for name in names if (value := getattr(kind, name, None)) is not None]
    return f"({', '.join(found)})" if found else ""


def _type(kind: types.Type) -> str:
    """A type in words; a table or a body by its members, where it is met."""
    said = type(kind).__name__.removesuffix("Type").lower() + _limits(kind)
    match kind:
        case types.Metadata(type=inner):
            said = _type(inner)
        case types.UnionType(types=inner):
            said = " | ".join(sorted(map(_type, inner)))
        case types.LiteralType(values=values):
            said = "one of " + ", ".join(map(str, values))
        case types.EnumType(cls=cls):
            said = "one of " + ", ".join(f"{one.name}={one.value}" for one in cls)
        case types.VarTupleType(item_type=item) | types.ListType(item_type=item):
            said = f"[{_type(item)}]"
        case types.TupleType(item_types=items):
            said = f"[{', '.join(map(_type, items))}]"
        case types.DictType(key_type=key, value_type=value):
            said = f"{{{_type(key)}: {_type(value)}}}"
        case types.StructType():
            said = "table"
    return said


def _structs_in(kind: types.Type) -> Iterator[types.StructType]:
    match kind:
        case types.StructType():
            yield kind
        case types.Metadata(type=inner):
            yield from _structs_in(inner)
        case types.UnionType(types=inner):
            for one in inner:
                yield from _structs_in(one)
        case types.VarTupleType(item_type=item) | types.ListType(item_type=item):
            yield from _structs_in(item)
        case types.DictType(value_type=value):
            yield from _structs_in(value)


def _members(kind: type[Struct], place: str) -> Lines:
    """Every member of a struct, those of structs in it, too: `place.member: type = default`."""
    told = types.type_info(kind)
    assert isinstance(told, types.StructType)
    for number, member in enumerate(told.fields):
        at = f"[{number}] " if told.array_like else ""
        here = f"{place}{'.' if place else ''}{at}{member.encode_name}"
        yield f"{here}: {_type(member.type)}{_default(member)}"
        for inner in _structs_in(member.type):
            yield from _members(inner.cls, here)


def _default(member: types.Field) -> str:
    if member.required:
        return ", required"
    value = member.default if member.default is not msgspec.NODEFAULT else member.default_factory()
    return "" if isinstance(value, Struct) or value is msgspec.UNSET else f" = {value!r}"


# --- the surfaces


def _disk() -> Lines:
    for kind in sources.steps.Kind:
        body = sources.BODIES.get(kind.name)
        told = ", told" if kind in sources.steps.TOLD_KINDS else ""
        lasting = ", lasting" if kind in sources.steps.LASTING_KINDS else ""
        yield f"record {kind.value:3} {kind.name}: {'fields' if body else 'raw message or nothing'}{told}{lasting}"
        if body:
            yield from _members(body, f"body {kind.name}")
    for name, file in sources.FILES.items():
        yield from _members(file, f"file {name}")
    yield from (f"format {name}: {value!r}" for name, value in sources.FORMAT.items())
    yield from (f"{name}: {word}" for name, words in sources.ON_DISK.items() for word in words)


def _http() -> Lines:
    """What the gateway and its processor say to each other, out of the OpenAPI document."""
    whole = sources.document()
    yield f"openapi: {whole['openapi']}"
    for side, paths in (("gateway", whole["paths"]), ("processor", whole["webhooks"])):
        for path, methods in paths.items():
            for method, operation in methods.items():
                yield from _operation(f"{side} {method.upper()} {path}", operation)
    for name, schema in whole["components"]["schemas"].items():
        yield from _schema(f"schema {name}", schema)
    for name, order in sources.ORDERS.items():
        yield from _members(order, f"ops {name}")


def _operation(place: str, operation: dict[str, Any]) -> Lines:
    yield f"{place}: {operation['operationId']}"
    for one in operation.get("parameters", []):
        required = ", required" if one.get("required") else ""
        yield f"{place} {one['in']} {one['name']}: {_said(one['schema'])}{required}"
    if "requestBody" in operation:
        yield from _content(f"{place} request", operation["requestBody"])
    for status, response in operation["responses"].items():
        yield f"{place} {status}"
        yield from (f"{place} {status} header {name}" for name in response.get("headers", {}))
        yield from _content(f"{place} {status}", response)


def _content(place: str, holder: dict[str, Any]) -> Lines:
    for content_type, content in holder.get("content", {}).items():
        yield f"{place} {content_type}: {_said(content.get('schema', {}))}"


def _schema(place: str, schema: dict[str, Any]) -> Lines:
    required = schema.get("required", [])
    yield f"{place}: {_said(schema)}"
    for name, member in schema.get("properties", {}).items():
        here = f"{place}.{name}"
        words = f" ({member['description']})" if here.removeprefix("schema ") in sources.IN_PROSE else ""
        yield f"{here}: {_said(member)}{', required' if name in required else ''}{words}"


def _said(schema: dict[str, Any]) -> str:
    """A schema in one line, without its prose."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return " | ".join(sorted(_said(one) for one in schema[word]))
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "items" in schema and isinstance(schema["items"], dict):
        return f"[{_said(schema['items'])}]"
    prose = {"title", "description", "examples", "properties", "required", "type"}
    limits = ", ".join(f"{name}={schema[name]}" for name in sorted(set(schema) - prose))
    return f"{schema.get('type', 'anything')}{f' ({limits})' if limits else ''}"


def _metrics() -> Lines:
    for name, labels in sources.LABELS.items():
        yield from (f"{name}={value}" for value in labels)
    shown = sources.shown_collectors()
    for collector in sources.metrics.REGISTRY._collector_to_names:
        families = list(collector.collect())
        labels = getattr(collector, "_labelnames", ())
        yield from (line for family in families for line in _family(family, labels))
    for made in shown.values():
        yield from (line for family in made.collect() for line in _family(family, None))


def _family(family: Any, labels: tuple[str, ...] | None) -> Lines:
    """`labels`: None: as its samples have them."""
    if not family.name.startswith("fps_"):
        return  # the library's own, of the process
    own = {key: value for sample in family.samples for key, value in sample.labels.items()}
    names = sorted(set(own) - {"le"} if labels is None else labels)
    suffix = "_total" if family.type == "counter" else ""
    yield f"{family.name}{suffix}: {family.type}{', labels ' + ', '.join(names) if names else ''}"
    buckets = [sample.labels["le"] for sample in family.samples if set(sample.labels) == {"le"}]
    if buckets:
        yield f"{family.name} buckets: {' '.join(buckets)}"
    if labels and family.type == "counter":
        children = {tuple(sample.labels.items()) for sample in family.samples if sample.name.endswith("_total")}
        yield from (f"{family.name} {' '.join(f'{key}={value}' for key, value in child)}" for child in children)


def _alerts() -> Lines:
    for block in re.split(r"(?m)^      - alert: ", ALERTS.read_text(encoding="utf-8"))[1:]:
        name, body = block.split("\n", 1)
        labels = re.search(r"labels: \{(.+)\}", body)
        yield f"{name}: {labels.group(1) if labels else ''}"


def _configuration() -> Lines:
    return _members(sources.Configuration, "")


def _commands(parser: argparse.ArgumentParser, place: str) -> Lines:
    yield place
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from _commands(inner, f"{place} {name}")
        elif not isinstance(action, argparse._HelpAction):
            name = "/".join(action.option_strings) or str(action.metavar or action.dest)
            facts = {
                "choices": sorted(map(str, action.choices)) if action.choices else None,
                "nargs": action.nargs,
                "default": action.default,
                "required": action.required or None,
                "takes": repr(action.type)
                if isinstance(action.type, Struct) or hasattr(action.type, "least")
                else None,
            }
            said = ", ".join(f"{key} {value}" for key, value in facts.items() if value not in (None, argparse.SUPPRESS))
            yield f"{place} {name}{f': {said}' if said else ''}"


def _exits() -> Lines:
    return (f"exit code of {of}: {code} {name}" for of, codes in sources.EXITS.items() for name, code in codes.items())


def _operations() -> Lines:
    """What the ops port of a gateway that runs says: its paths, and every member of its JSON. The gateway is the real
    one, in a simulation without faults; names out of its configuration are stars.
    """
    seen: set[str] = set()
    serve = sources.ops.Server.serve

    async def watched(server: sources.ops.Server, **named: Any) -> None:
        async def look() -> None:
            await trio.sleep(LOOK_AT_S)
            seen.update(f"GET {path}" for path in ("/live", "/ready", "/metrics", *server._looks))
            seen.update(f"POST {path}" for path in server._controls)
            seen.update(_json("GET /ready", server._ready()[1]))
            _, shown = await server._looks["/statistics"].see(sources.Request())
            seen.update(_json("GET /statistics", shown))
            for family in sources.metrics.REGISTRY.collect():
                if family.name in BY_PART:
                    seen.update(
                        f"{family.name} {label}={value}" for s in family.samples for label, value in s.labels.items()
                    )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await serve(server, **named)
            nursery.cancel_scope.cancel()

    calm = msgspec.structs.replace(canaries.settings(canaries.Scenario({}, {}), 1), lasts_s=LOOK_AT_S + 1)
    with patch.object(sources.ops.Server, "serve", watched):
        outcome = world.simulate(calm)
    assert not outcome.failure, outcome.failure
    yield from seen


LOOK_AT_S = 10.0
"""By then, on the simulation's clock, payments of both directions have gone through."""
BY_NAME = re.compile(
    r"^GET /(ready\.parts|statistics)\.(signer|peers|volume\.peers|engine\.counts|engine\.outbound\.links"
    r"|submissions\.responses)$"
)
"""Objects whose members are named by the configuration, or listed elsewhere."""
BY_PART = {"fps_part_well", "fps_scheme_suspended"}
"""Metrics whose labels only a gateway that runs knows."""


def _json(place: str, value: Any) -> Lines:
    value = value._asdict() if hasattr(value, "_asdict") else value
    if isinstance(value, Struct):
        value = msgspec.to_builtins(value)
    if isinstance(value, dict):
        for name, inner in value.items():
            here = f"{place}.{'*' if BY_NAME.match(place) else name}"
            yield here
            yield from _json(here, inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _json(f"{place}[]", inner)
