"""The references of what other programs use, in Markdown: the OpenAPI document and the library for Python. Pure."""

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, get_args

from docs.markdown import table

Said = Callable[[type], dict[str, str]]
"""The docstrings below a class's fields."""


# --- HTTP


def http(document: dict[str, Any]) -> Iterator[str]:
    """Both ends' calls, and what their bodies hold."""
    yield from (document["info"]["description"], "")
    for part, title in (("paths", "What the gateway serves"), ("webhooks", "What the processor serves")):
        yield from (f"## {title}", "")
        for path, methods in document[part].items():
            shared = methods.get("parameters", [])
            for method, call in methods.items():
                if method != "parameters":
                    yield from _call(f"{method.upper()} {path}", call, shared)
    yield from ("## What the bodies hold", "")
    for name, schema in document["components"]["schemas"].items():
        yield from _schema(name, schema)


def _call(title: str, call: dict[str, Any], shared: list[dict[str, Any]]) -> Iterator[str]:
    yield from (f"### `{title}`", "", f"**{call['summary']}.**", "", call.get("description", ""), "")
    parameters = [*shared, *call.get("parameters", [])]
    if parameters:
        rows = [
            [f"`{one['name']}`", one["in"], "yes" if one.get("required") else "no", one.get("description", "")]
            for one in parameters
        ]
        yield from table(["parameter", "in", "required", "meaning"], rows)
    if "requestBody" in call:
        yield from (f"The body: {_body(call['requestBody'])}.", "")
    rows = [
        [f"`{status}`", response.get("description", ""), _body(response), _headers(response)]
        for status, response in call["responses"].items()
    ]
    yield from table(["status", "meaning", "body", "headers"], rows)


def _body(holder: dict[str, Any]) -> str:
    return "; ".join(
        f"{_type(content.get('schema', {}))} as `{kind}`" for kind, content in holder.get("content", {}).items()
    )


def _headers(response: dict[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in response.get("headers", {}))


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield from (f"### {name}", "", schema.get("description", ""), "")
    if "properties" not in schema:
        yield from (_type(schema), "")
        return
    required = set(schema.get("required", []))
    rows = [
        [f"`{member}`", _type(inner), "yes" if member in required else "no", inner.get("description", "")]
        for member, inner in schema["properties"].items()
    ]
    yield from table(["member", "type", "required", "meaning"], rows)


def _type(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(_type(one) for one in schema[several])
    kind = schema.get("type", "any")
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if words == "array":
        words = f"array of {_type(schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), dict):
        words = f"object of {_type(schema['additionalProperties'])}"
    if "pattern" in schema:
        words += f", `{schema['pattern']}`"
    if "maxLength" in schema:
        words += f", {schema['maxLength']} characters at most"
    return words


# --- the library


def sdk(package: ModuleType, said_below: Said) -> Iterator[str]:
    """The package's docstring, and each name that it offers."""
    yield from (inspect.cleandoc(package.__doc__ or ""), "")
    for name in package.__all__:
        value = getattr(package, name)
        yield from (f"## `{name}`", "")
        if inspect.isclass(value):
            yield from _class(value, said_below)
        elif inspect.isfunction(value):
            yield from _callable(name, value)
        else:
            kinds = " | ".join(f"`{kind.__name__}`" for kind in get_args(value))
            yield from (f"One of {kinds}.", "")


def _class(kind: type, said_below: Said) -> Iterator[str]:
    yield from (inspect.cleandoc(kind.__doc__ or ""), "")
    if fields := said_below(kind):
        defaults = {name: word.default for name, word in inspect.signature(kind).parameters.items()}
        rows = [[f"`{name}`", _default(defaults.get(name)), text] for name, text in fields.items()]
        yield from table(["field", "default", "meaning"], rows)
    elif inspect.isfunction(vars(kind).get("__init__")):
        yield from _callable(kind.__name__, kind)
    for name, method in vars(kind).items():
        if not name.startswith("_") and inspect.isfunction(method) and method.__doc__:
            yield from _callable(f"{kind.__name__}.{name}", method)


def _default(value: Any) -> str:
    return "required" if value is inspect.Parameter.empty or value is None else f"`{value!r}`"


def _callable(name: str, value: Any) -> Iterator[str]:
    words = "async " if inspect.iscoroutinefunction(value) else ""
    signature = inspect.signature(value)
    parameters = [
        word.name + ("=…" if word.default is not word.empty else "")
        for word in signature.parameters.values()
        if word.name != "self"
    ]
    doc = vars(value)["__init__"].__doc__ if inspect.isclass(value) else value.__doc__
    yield from ("```text", f"{words}{name}({', '.join(parameters)})", "```", "", inspect.cleandoc(doc or ""), "")
