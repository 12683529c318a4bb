"""The licence of each locked package, in SPDX's words, and whether we take it."""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import license_expression
import msgspec
from msgspec import Struct

from supply.locks import Locked

RULES = Path(__file__).with_name("licences.toml")
_CLASSIFIER = "License :: "


class Rules(Struct, frozen=True, forbid_unknown_fields=True):
    """What `licences.toml` says."""

    allowed: frozenset[str]
    classifiers: dict[str, str]
    read: dict[str, str]
    """Package → expression."""


class Unknown(Exception):
    """A package's licence cannot be told. The text says why."""


def rules() -> Rules:
    """Ours."""
    return msgspec.toml.decode(RULES.read_bytes(), type=Rules)


def installed(package: Locked) -> Distribution | None:
    """A locked package as it is installed here; None where it is not for this machine. Raises `Unknown` for another
    version.
    """
    try:
        found = distribution(package.name)
    except PackageNotFoundError:
        return None
    if found.version != package.version:
        raise Unknown(f"{package.name} is installed as {found.version}, and locked as {package.version}: make setup")
    return found


def licence_of(name: str, metadata: Any, rules: Rules) -> str:
    """The SPDX expression of a package, of its metadata or of what somebody has read. Raises `Unknown`."""
    if name in rules.read:
        return normalised(rules.read[name])
    for key in ("License-Expression", "License"):
        if metadata.get(key) and (expression := _expression(metadata[key])):
            return expression
    said = [
        each.removeprefix(_CLASSIFIER).removeprefix("OSI Approved :: ")
        for each in metadata.get_all("Classifier", [])
        if each.startswith(_CLASSIFIER)
    ]
    match said:
        case [only] if only in rules.classifiers:
            return rules.classifiers[only]
    raise Unknown(f"{name}: its metadata do not say its licence in SPDX's words: read it, and add it to {RULES.name}")


def refused(expression: str, allowed: Iterable[str]) -> bool:
    """Whether an expression asks for a licence that is not among these. Of `A OR B` one is enough."""
    return not _takes(_spdx().parse(expression, validate=True), frozenset(allowed))


def normalised(expression: str) -> str:
    """An expression as SPDX writes it. Raises `Unknown`."""
    found = _expression(expression)
    if not found:
        raise Unknown(f"{expression} is no expression of SPDX's")
    return found


def _expression(text: str) -> str:
    """The expression that a text is; empty when it is none, but a name in words or a whole licence."""
    try:
        return str(_spdx().parse(text.strip(), validate=True))
    except license_expression.ExpressionError:
        return ""


@cache
def _spdx() -> Any:
    return license_expression.get_spdx_licensing()


def _takes(part: Any, allowed: frozenset[str]) -> bool:
    licensing = _spdx()
    if isinstance(part, licensing.OR):
        return any(_takes(each, allowed) for each in part.args)
    if isinstance(part, licensing.AND):
        return all(_takes(each, allowed) for each in part.args)
    return str(part) in allowed


class Row(Struct, frozen=True):
    """A package with its licence."""

    package: Locked
    licence: str


def all_of(locked: tuple[Locked, ...], rules: Rules) -> tuple[list[Row], list[str]]:
    """The licences of what is installed of a lock, and what is wrong with them."""
    rows, failures = [], []
    for package in locked:
        try:
            found = installed(package)
            if found is None:
                continue
            row = Row(package, licence_of(package.name, found.metadata, rules))
        except Unknown as unknown:
            failures.append(str(unknown))
            continue
        rows.append(row)
        if refused(row.licence, rules.allowed):
            failures.append(
                f"{package.name} {package.version} is under {row.licence}, which {RULES.name} does not allow"
            )
    return rows, failures
