"""How a block of each language is read by the real thing, without running it."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from gateway.config import file as config_file
from tests.documents.blocks import SHELL, TOP, Block
from tests.fakes.example import example

REASONS = (
    "needs root", "needs systemd", "needs Docker", "needs DRBD", "needs an HSM", "needs a network",
    "needs more servers", r"takes \d+ minutes?",
)  # fmt: skip
"""Why a block is not run where it stands; no other reason is one."""
_REASON = f"(?:{'|'.join(REASONS)})"
_NOT_RUN = re.compile(rf"(?P<reasons>{_REASON}(?:, {_REASON})*); (?:tried|read) by (?P<who>\S.*)")
MINUTES_MAX = 5
"""What takes longer is no block that `make documents` runs: it has a target of its own."""


def mistakes_of(block: Block) -> list[str]:
    """What is wrong with a block, as far as can be said without running it."""
    if block.language.startswith("{"):
        return []  # a directive: Sphinx refuses what it does not know
    check = _FORMS.get(block.language)
    if check is None:
        known = ", ".join(sorted(_FORMS))
        return [f"{block.place}: a block of language {block.language or '(none)'!r}: it is one of {known}"]
    return [f"{block.place}: {mistake}" for mistake in check(block)]


def not_run(block: Block) -> tuple[list[str], list[str]] | None:
    """Why not, and who tries it instead: paths of tests, `make TARGET`. None: it is run."""
    if "not run" not in block.marks:
        return None
    match = _NOT_RUN.fullmatch(block.marks["not run"])
    assert match, f"{block.place}: not run: {block.marks['not run']!r}: {_NOT_RUN.pattern} is wanted"
    return match["reasons"].split(", "), match["who"].split(", ")


def minutes(block: Block) -> int | None:
    """How long a block takes that only `make documents` runs. None: it is no such block."""
    marked = not_run(block)
    if marked is None or set(marked[0]) & set(REASONS) - {"needs a network"}:
        return None
    takes = re.search(r"takes (\d+) minute", block.marks["not run"])
    longest = int(takes[1]) if takes else 1
    return longest if longest <= MINUTES_MAX else None


def _shell(block: Block) -> list[str]:
    """Bash reads it, its mark is one, and whoever tries it is there."""
    read = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    mistakes = [read.stderr] if read.returncode else []
    if "exit" in block.marks and len(block.commands) != 1:
        mistakes.append("an exit code is said of a block with one command")
    for who in (not_run(block) or ([], []))[1]:
        target = who.removeprefix("make ")
        there = f"\n{target}: " in _makefile() if who != target else (TOP / who).is_file()
        if not there:
            mistakes.append(f"tried or read by {who}: there is no such thing")
    return mistakes


def _makefile() -> str:
    return (TOP / "Makefile").read_text(encoding="utf-8")


def _text(block: Block) -> list[str]:
    """A drawing, or what is printed; no command hides here."""
    lines = [line for line in block.text.splitlines() if re.match(r"\s*[$#] ?\w", line)]
    return [f"a command in a block of text: {line}" for line in lines]


def _toml(block: Block) -> list[str]:
    """Settings of the gateway: with the example around them `config check` has no objection."""
    try:
        said = tomllib.loads(block.text)
        merged = _merge(tomllib.loads(example()), said)
    except tomllib.TOMLDecodeError as error:
        return [str(error)]
    return _objections(merged) if set(said) <= {"pair", "node"} else ["neither of the pair nor of the node"]


def _objections(settings: dict[str, Any]) -> list[str]:
    from tempfile import TemporaryDirectory

    from gateway.errors import ConfigurationError

    with TemporaryDirectory() as directory:
        path = Path(directory, "gateway.toml")
        path.write_text(_written(settings), encoding="utf-8")
        try:
            config_file.load(path)
        except ConfigurationError as error:
            return error.mistakes
    return []


def _merge(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return {key: _merge(old.get(key), new.get(key, old.get(key))) for key in {**old, **new}}
    return new


def _written(value: dict[str, Any]) -> str:
    """The tables as TOML: inline, one line for each setting."""
    return "".join(f"{key} = {_inline(inner)}\n" for key, inner in value.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _json(block: Block) -> list[str]:
    try:
        json.loads(block.text)
    except ValueError as error:
        return [str(error)]
    return []


def _python(block: Block) -> list[str]:
    try:
        compile(block.text, block.place, "exec")
    except SyntaxError as error:
        return [str(error)]
    return []


def _drawing(_: Block) -> list[str]:
    """Generated from the law, and held to it by tests/commands/test_diagram.py."""
    return []


_FORMS = {SHELL: _shell, "text": _text, "toml": _toml, "json": _json, "python": _python, "mermaid": _drawing}


_OTHERWISE = re.compile(r"(?P<any>…)|(?P<number>\d+)|(?P<path>/[\w./-]*\w)")
_ALIKE = {"any": ".*", "number": r"\d+", "path": r"/[\w./-]*\w"}


def shape(shown: str) -> str:
    """What a document shows, as a pattern: another number, another path; any text for `…`, any lines for one alone."""
    pattern = ""
    for line in shown.rstrip().splitlines():
        if line == "…":
            pattern += r"(?:.*\n)*"
            continue
        parts, at = "", 0
        for match in _OTHERWISE.finditer(line):
            parts += re.escape(line[at : match.start()]) + _ALIKE[str(match.lastgroup)]
            at = match.end()
        pattern += parts + re.escape(line[at:]) + r"\n"
    return pattern


def differs(shown: str, said: str) -> str:
    """Where what was printed has not the shape of what a document shows; nothing when it has."""
    if re.fullmatch(shape(shown), said if said.endswith("\n") else f"{said}\n"):
        return ""
    return f"shown:\n{shown}\nprinted:\n{said}"


def words(command: str) -> list[str]:
    """A command line as its words."""
    return shlex.split(command, comments=True)
