"""The files of a configuration: read as one and checked as a whole, every mistake with its file, line and key."""

import argparse
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gateway import config
from gateway.config.checking import mistakes_in
from gateway.config.rules import Mistake
from gateway.config.written import BEYOND_PYTHON, first_line_of, is_of, line_of, lines_of
from gateway.errors import ConfigurationError
from gateway.exitcodes import ExitCode
from gateway.machine import harmless


class _File(NamedTuple):
    """One file of a configuration, read."""

    path: Path
    raw: dict[str, Any]
    lines: dict[str, int]
    """Key → where it is written."""

    def mistake(self, line: int, key: str, what: str) -> str:
        return f"{self.path}:{line}: {key}: {what}"


Rulebook = Callable[[config.Pair], list[str]]
"""Says where a pair, right in itself, contradicts the tables that it names: `rulebook.mistakes_of`."""


def load(first: str | Path, *others: str | Path, rulebook: Rulebook | None = None) -> config.Configuration:
    """Read the files and check them as one. The settings that both sites share may have a file of their own, which can
    be compared.

    A top-level table (`pair`, `node`) stands in one file only. Raises `ConfigurationError` with every mistake, each
    with its file, line and key. A file that cannot be read hides no mistake in the others.
    """
    files, unread = list[_File](), list[str]()
    for path in (first, *others):
        try:
            files.append(_read(Path(path)))
        except ConfigurationError as error:
            unread += error.mistakes
    raw, twice = _joined(files)
    mistakes = list(mistakes_in(raw))
    if unread:
        # what is missing may stand in what was not read
        mistakes = [(key, what) for key, what in mistakes if "." in key or key in raw]
    elsewhere = list[str]()
    if rulebook is not None and "pair" in raw and not any(is_of(key, "pair") for key, _ in mistakes):
        for said in rulebook(msgspec.convert(raw["pair"], config.Pair)):
            key, _, what = said.partition(": ")
            if is_of(key, "pair"):
                mistakes.append((key, what))
            else:
                elsewhere.append(said)
    everything = [*unread, *_placed(mistakes, files), *twice, *elsewhere]
    if everything:
        raise ConfigurationError(everything)
    return msgspec.convert(raw, config.Configuration)


def _joined(files: list[_File]) -> tuple[dict[str, Any], list[str]]:
    """All tables, each from the first file that has it, and the mistakes for tables that stand in two files."""
    raw: dict[str, Any] = {}
    holder: dict[str, Path] = {}
    twice: list[str] = []
    for file in files:
        for name, value in file.raw.items():
            if name in raw:
                what = f"stands in {holder[name]} already"
                twice.append(file.mistake(first_line_of(file.lines, name), name, what))
            else:
                raw[name], holder[name] = value, file.path
    return raw, twice


def _read(path: Path) -> _File:
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors put a byte order mark before it
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path}: cannot be read: it is no UTF-8"]) from error
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.__class__.__name__}"]) from error
    try:
        return _File(path, tomllib.loads(text), lines_of(text))
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).partition(" (at ")
        number = re.search(r"line (\d+)", place)
        line = int(number[1]) if number else text.count("\n") + 1
        raise ConfigurationError([f"{path}:{line}: not TOML: {what}"]) from error
    except (ValueError, RecursionError) as error:  # of Python's own, which names no place
        raise ConfigurationError([f"{path}:1: not TOML: {BEYOND_PYTHON}"]) from error


def _placed(mistakes: list[Mistake], files: list[_File]) -> Iterator[str]:
    """Each mistake with its place, in the order of files and lines. One without a place belongs to the first file."""
    places: list[tuple[int, int, str, str]] = []
    for key, what in mistakes:
        owners = (number for number, file in enumerate(files) if any(is_of(key, name) for name in file.raw))
        number = next(owners, 0)
        places.append((number, line_of(files[number].lines, key), key, what))
    for number, line, key, what in sorted(places):
        yield files[number].mistake(line, key, what)


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option `--config` to a command."""
    parser.add_argument(
        "--config", required=True, action="append", metavar="FILE",
        help="a file of the configuration (TOML); repeat the option for each file, with each table in one of them",
    )  # fmt: skip


def say(error: ConfigurationError) -> ExitCode:
    """Print every mistake on standard error, and return the exit code."""
    sys.stderr.write("".join(f"{harmless.line(mistake)}\n" for mistake in error.mistakes))
    return ExitCode.CONFIGURATION
