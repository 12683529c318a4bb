"""Checks the pair's settings against the tables that they name: of fields, of action codes, of the meanings of news.

A start checks each part against its table as it makes the part, and ends at the first mistake. This finds all mistakes
at once, before anything is made.
"""

from collections.abc import Callable
from typing import TypeVar

from gateway import config
from gateway.config.rules import is_file
from gateway.errors import ConfigurationError
from gateway.payments import dates, standin
from gateway.wire import codes, fields, meanings

T = TypeVar("T")


def mistakes_of(pair: config.Pair) -> list[str]:
    """Every mistake in the tables, and every setting that does not fit them; one does not hide the next."""
    found: list[str] = []
    wire = pair.wire
    table = _loaded(fields.load, wire.field_table, found)
    action_codes = _loaded(codes.load, wire.code_table, found)
    _loaded(meanings.load, wire.usm_table, found)
    if action_codes is not None:
        found += standin.unknown_codes(pair, action_codes)
    if table is not None:
        found += [*standin.strange_types(pair, table.types), *dates.strange_types(pair, table.types)]
    return found


def _loaded(load: Callable[[str], T], path: str, found: list[str]) -> T | None:
    if path and not is_file(path):
        return None  # `config.rules` says so
    try:
        return load(path)
    except ConfigurationError as error:
        found += error.mistakes
        return None
