"""Reads a table of facts from the built-in TOML file, or from a bank's own: a bank may know better."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from gateway.config.written import BEYOND_PYTHON
from gateway.errors import ConfigurationError


class Table(NamedTuple):
    """A file that was read but not checked yet."""

    where: str
    """Its name, for error messages."""
    text: str
    raw: dict[str, Any]


def read(path: str | Path, built_in: str) -> Table:
    """Read a file; without a path the built-in one of this name. Raises `ConfigurationError`."""
    where = str(path) or built_in
    try:
        text = (Path(path) if path else resources.files("gateway.wire") / built_in).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"{where}: cannot be read: {error.__class__.__name__}"]) from error
    try:
        return Table(where, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{where}: not TOML: {error}"]) from error
    except (ValueError, RecursionError) as error:  # limits of Python, which name no place
        raise ConfigurationError([f"{where}: not TOML: {BEYOND_PYTHON}"]) from error
