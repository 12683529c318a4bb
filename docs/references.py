"""The generated references: each is made of the source while the documents are built, so that none can grow old.

A page says where one goes by a line of its own, `<!-- reference: settings -->`; `REFERENCES` at the end of this file
lists what there is. Things are found by their name, wherever in the gateway they are defined.
"""

import argparse
import ast
import importlib
import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import yaml

import gateway
from docs import references_http
from docs.markdown import table
from supply import licences as supply_licences
from supply import locks

TOP = Path(gateway.__file__).parent.parent
ALERTS = TOP / "compose" / "prometheus" / "alerts.yaml"
MARKER = re.compile(r"^<!-- reference: ([a-z-]+) -->$", re.MULTILINE)
MERMAID = re.compile(r"^```mermaid\nstateDiagram-v2\n(.*?)^```$", re.MULTILINE | re.DOTALL)


# --- finding


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the gateway, parsed, by its dotted name."""
    found = {}
    for path in sorted((TOP / "gateway").rglob("*.py")):
        parts = path.relative_to(TOP).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def the(name: str) -> Any:
    """The one function or class of the gateway that has this name."""
    kinds = ast.ClassDef | ast.FunctionDef
    (home,) = [
        module
        for module, tree in modules().items()
        if any(isinstance(node, kinds) and node.name == name for node in tree.body)
    ]
    return getattr(importlib.import_module(home), name)


def said_below(kind: type) -> dict[str, str]:
    """The docstrings below the fields of a class, or below the members of an enumeration."""
    (body,) = [
        node.body
        for node in modules()[kind.__module__].body
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    ]
    found = {}
    for field, text in pairwise(body):
        target = field.targets[0] if isinstance(field, ast.Assign) else getattr(field, "target", None)
        if (
            isinstance(target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            found[target.id] = inspect.cleandoc(text.value.value)
    return found


# --- the references


Rows = Callable[[list[list[str]]], Iterator[str]]
"""How the settings of one table are shown."""


def settings(show: Rows | None = None) -> Iterator[str]:
    """Every setting, a table for each table of the configuration."""
    yield from _settings_of(the("Configuration"), "", {}, show or _as_table)


def _as_table(rows: list[list[str]]) -> Iterator[str]:
    return table(["setting", "type, unit, limits", "default", "meaning"], rows)


def _as_list(rows: list[list[str]]) -> Iterator[str]:
    """For a manual page, which is too narrow for such a table."""
    for name, kind, default, meaning in rows:
        yield from (name, f": {meaning} ({kind}; {default})", "")


def _settings_of(kind: type[msgspec.Struct], place: str, shown: dict[type, str], show: Rows) -> Iterator[str]:
    struct_in, is_many = the("struct_in"), the("is_many")
    limits_in_words, default_of, as_toml = the("limits_in_words"), the("default_of"), the("as_toml")
    said, rows, tables = said_below(kind), [], []
    for field in msgspec.structs.fields(kind):
        inner = struct_in(field.type)
        if inner is not None:
            tables.append((field, inner))
            continue
        default = "required" if field.required else f"`{as_toml(default_of(field))}`"
        limits = limits_in_words(field.type).strip("[]").replace("][", "; ")
        unit = unit_of(field.name)
        kind_in_words = "; ".join(part for part in (type_in_words(field.type), unit, limits) if part)
        rows.append([f"`{field.name}`", kind_in_words, default, said.get(field.name, "")])
    if rows:
        yield from show(rows)
    for field, inner in tables:
        here = f"{place}.{field.name}" if place else field.name
        many = is_many(field.type)
        yield f"## `{'[[' if many else '['}{here}{']]' if many else ']'}`"
        yield ""
        notes = [inspect.cleandoc(inner.__doc__ or "")]
        if many:
            notes.append("A table for each, at least one.")
        elif not field.required and field.default is None:
            notes.append("The table may be left out.")
        if inner in shown:
            yield from (*notes, "", f"Its settings are those of `{shown[inner]}`.", "")
            continue
        shown[inner] = here
        yield from (*notes, "")
        yield from _settings_of(inner, here, shown, show)


UNITS = {"_s": "seconds", "_bytes": "bytes", "_days": "days", "_per_s": "per second"}


def unit_of(name: str) -> str:
    """The unit that a setting's name ends in; nothing where there is none."""
    name = re.sub(r"_(max|min)$", "", name)
    return next((unit for end, unit in sorted(UNITS.items(), key=lambda pair: -len(pair[0])) if name.endswith(end)), "")


def type_in_words(kind: Any) -> str:
    """A setting's type as TOML calls it."""
    info = msgspec.inspect.type_info(kind)
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    words = {
        "BoolType": "boolean", "IntType": "integer", "FloatType": "number", "StrType": "string",
        "LiteralType": "one of", "VarTupleType": "array", "DictType": "table",
    }  # fmt: skip
    return words[type(info).__name__]


def metrics() -> Iterator[str]:
    """Every metric of ours, in the order of the source."""
    kinds = {
        "Counter": "counter", "Gauge": "gauge", "Histogram": "histogram", "Info": "info",
        "CounterMetricFamily": "counter", "GaugeMetricFamily": "gauge",
    }  # fmt: skip
    rows = []
    for tree in modules().values():
        texts = _assigned_texts(tree)
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds):
                continue
            if not (len(node.args) > 1 and isinstance(node.args[0], ast.Constant)):
                continue
            text = node.args[1]
            meaning = text.value if isinstance(text, ast.Constant) else texts(node.lineno)
            name, kind = str(node.args[0].value), kinds[node.func.id]
            name = name if kind != "counter" or name.endswith("_total") else f"{name}_total"
            rows.append([f"`{name}`", kind, _labels_of(node), str(meaning)])
        rows += _families_in_a_row(tree)
    yield from table(["metric", "kind", "labels", "meaning"], sorted(rows))


def _assigned_texts(tree: ast.Module) -> Callable[[int], str]:
    """What the variable `text` last held before a line."""
    found = {
        node.lineno: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == "text"
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }
    return lambda line: found[max(number for number in found if number < line)]


def _labels_of(call: ast.Call) -> str:
    given = [*call.args[2:3], *(word.value for word in call.keywords if word.arg in {"labels", "labelnames"})]
    names = [
        element.value
        for value in given
        if isinstance(value, ast.List)
        for element in value.elts
        if isinstance(element, ast.Constant)
    ]
    return ", ".join(f"`{name!s}`" for name in names)


def _families_in_a_row(tree: ast.Module) -> list[list[str]]:
    """Gauges that a loop makes out of a tuple of name, text and value."""
    return [
        [f"`{name}`", "gauge", "", text]
        for node in ast.walk(tree)
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple)
        for row in node.iter.elts
        if isinstance(row, ast.Tuple)
        for name, text in [[element.value if isinstance(element, ast.Constant) else "" for element in row.elts[:2]]]
        if isinstance(name, str) and isinstance(text, str) and name.startswith("fps_")
    ]


def alerts() -> Iterator[str]:
    """Every alert: a page or a ticket, why, when and what to do."""
    for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]:
        yield f"## {group['name'].capitalize()}"
        yield ""
        for rule in group["rules"]:
            if "alert" not in rule:
                continue
            said = rule["annotations"]
            lasting = f"for {rule['for']}" if "for" in rule else "at once"
            yield from (f"### {rule['alert']}", "", f"A **{rule['labels']['severity']}**, {lasting}. {said['why']}", "")
            yield from ("```text", " ".join(str(rule["expr"]).split()), "```", "", f"{said['action']}", "")


def exit_codes() -> Iterator[str]:
    """What each exit code means, to systemd and to people."""
    codes: type[Enum] = the("ExitCode")
    said = said_below(codes)
    yield from table(
        ["code", "name", "meaning"],
        [[str(code.value), f"`{name}`", said[name]] for name, code in codes.__members__.items()],
    )


def commands() -> Iterator[str]:
    """Every command with its arguments, as its own `--help` says them."""
    yield from _command(the("command_line")(), 2)


def _command(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    inner: dict[str, argparse.ArgumentParser] = {}
    rows = []
    for action in parser._actions:  # noqa: SLF001 - argparse offers no other way to ask a parser what it takes
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
            inner = dict(action.choices)
            continue
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):  # noqa: SLF001
            continue
        rows.append([_spelt(action), (action.help or "") % {"default": action.default, "prog": parser.prog}])
    yield from (f"{'#' * min(level, 5)} `{parser.prog}`", "")
    if parser.description:
        yield from (*_prose(parser.description), "")
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    yield from ("```text", *textwrap.wrap(usage, 100, subsequent_indent="    ", break_on_hyphens=False), "```", "")
    for argument, meaning in rows:
        yield from (argument, f": {meaning}", "")
    for name, command in inner.items():
        if not command.description:
            command.description = helps.get(name, "")[:1].upper() + helps.get(name, "")[1:]
        yield from _command(command, level + 1)


def _spelt(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else ""
    if not value and action.choices:
        value = " | ".join(str(choice) for choice in action.choices)
    elif not value and (action.nargs != 0 or not action.option_strings):
        value = action.dest.upper()
    return f"`{' '.join([', '.join(action.option_strings), value]).strip()}`"


def _prose(text: str) -> Iterator[str]:
    """A description as it stands: what is set further in is an example."""
    for line in inspect.cleandoc(text).splitlines():
        yield line.rstrip()


# --- the protocol's tables


def _data(name: str) -> dict[str, Any]:
    """A table of the gateway that is a file."""
    (path,) = (TOP / "gateway").rglob(name)
    return tomllib.loads(path.read_text(encoding="utf-8"))


def fields() -> Iterator[str]:
    """Every field of the built-in table."""
    yield from table(
        ["DE", "what it holds", "format", "characters", "standing"],
        [
            [number, field["title"], f"`{field['format']}`", field["charset"], field["standing"]]
            for number, field in _data("fps.toml")["fields"].items()
        ],
    )


def messages() -> Iterator[str]:
    """Who carries what."""
    yield from table(
        ["MTI", "message", "always", "may carry", "standing"],
        [
            [
                ", ".join(message["mti"]),
                message["title"][0],
                " ".join(map(str, [*message["mandatory"], 128])),
                " ".join(map(str, message["optional"])),
                message["standing"],
            ]
            for message in _data("fps.toml")["messages"]
        ],
    )


def payment_types() -> Iterator[str]:
    """The kinds of payment."""
    yield from table(
        ["code", "payment type", "group", "kind", "must be accepted", "standing"],
        [
            [
                kind["code"],
                kind["title"],
                f"`{kind['group']}`",
                "synchronous" if kind["synchronous"] else "asynchronous",
                "yes" if kind.get("must_accept") else "no",
                kind["standing"],
            ]
            for kind in _data("fps.toml")["types"]
        ],
    )


def action_codes() -> Iterator[str]:
    """Every action code, by who says it."""
    rows = [
        [code, who, meaning] for who, codes in _data("codes.toml").items() for code, meaning in sorted(codes.items())
    ]
    yield from table(["code", "who says it", "meaning"], rows)


# --- pages


def law(text: str) -> str:
    """A page with its state diagrams as tables: nothing outside the page is needed to show them."""
    return MERMAID.sub(lambda found: "\n".join(_moves(found[1])), text)


def _moves(diagram: str) -> Iterator[str]:
    """The moves of one diagram, `A --> B: EVENT / ACT, EVENT`."""
    rows = []
    for line in diagram.splitlines():
        before, _, words = line.strip().partition(": ")
        state, _, to = before.partition(" --> ")
        if state == "[*]":
            yield f"It begins as `{to}`."
            yield ""
            continue
        rows += [[f"`{state}`", *_event_and_act(word), f"`{to}`"] for word in words.split(", ")]
    yield from table(["in the state", "on the event", "this is done", "and it moves to"], rows)


def _event_and_act(word: str) -> list[str]:
    event, slash, act = word.partition(" / ")
    return [f"`{event}`", f"`{act}`" if slash else ""]


def the_map() -> Iterator[str]:
    """The package's own docstring, as it stands."""
    yield from ("```text", inspect.cleandoc(gateway.__doc__ or ""), "```", "")


def contributing() -> Iterator[str]:
    """CONTRIBUTING.md of the project's root."""
    return _of_root("CONTRIBUTING.md")


def changelog() -> Iterator[str]:
    """CHANGELOG.md of the project's root."""
    return _of_root("CHANGELOG.md")


def licences() -> Iterator[str]:
    """The packages of the locks, each with its licence: what is shipped, and what only builds and tests."""
    shipped = {package.name for package in locks.read(locks.SHIPPED)}
    rows, _ = supply_licences.all_of(locks.read(locks.TOOLS), supply_licences.rules())
    for title, inside in (("Installed with the gateway", True), ("To build and test", False)):
        yield from (f"## {title}", "")
        named = [row for row in rows if (row.package.name in shipped) is inside]
        yield from table(
            ["package", "version", "licence"], [[row.package.name, row.package.version, row.licence] for row in named]
        )
        yield ""


def _of_root(name: str) -> Iterator[str]:
    """A file of the project's root, without its title; its links lead out of these pages and become plain text."""
    path = TOP / name
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in lines[1:] if lines and lines[0].startswith("# ") else lines:
        yield re.sub(r"\[([^]]+)\]\((?!https?:)[^)]+\)", r"\1", line)


Made = Callable[[], Iterator[str]]

REFERENCES: dict[str, Made] = {
    "settings": settings,
    "metrics": metrics,
    "alerts": alerts,
    "exit-codes": exit_codes,
    "commands": commands,
    "http": lambda: references_http.http(the("document")()),
    "sdk": lambda: references_http.sdk(importlib.import_module("gateway.sdk"), said_below),
    "fields": fields,
    "messages": messages,
    "payment-types": payment_types,
    "action-codes": action_codes,
    "map": the_map,
    "contributing": contributing,
    "changelog": changelog,
    "licences": licences,
}


IN_A_MANUAL: dict[str, Made] = {**REFERENCES, "settings": lambda: settings(_as_list)}


def with_references(text: str, *, manual: bool = False) -> str:
    """A page with its references put in. Raises `KeyError` for one that does not exist."""
    references = IN_A_MANUAL if manual else REFERENCES
    return law(MARKER.sub(lambda found: "\n".join(references[found[1]]()), text))


def _read(app: Any, _page: str, source: list[str]) -> None:
    source[0] = with_references(source[0], manual=app.builder.name == "man")


def _write_openapi(app: Any, error: Exception | None) -> None:
    """The documents themselves beside the pages, for generators of code."""
    if error is None and app.builder.format == "html":
        for name, made in (("gateway", the("document")()), ("processor", the("processor_document")())):
            (Path(app.outdir) / f"{name}.openapi.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Join Sphinx."""
    app.connect("source-read", _read)
    app.connect("build-finished", _write_openapi)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
