"""What came from elsewhere steers no terminal and no spreadsheet, wherever it is printed."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import log
from gateway.http.visitor import Turn
from gateway.journal.record import Record
from gateway.journal.showing import RecordPrinter
from gateway.machine import console, harmless
from gateway.ops import server
from gateway.payments import steps
from tests.fuzz.controls import Seen
from tests.machine.test_console import environment

TERMINAL = "\x1b]0;title\x07 \x1b[2J \x9b31m \x90 \x7f \x08 \r"
"""ESC, BEL, the C1 controls, DEL, backspace, carriage return."""
ORDER = "\u202e \u202a \u2066 \u2069 \u200e \u200f \u061c \u2028 \u2029 \u200b \ufeff"
"""The bidirectional controls, line separators, and what has no width."""
FORGED = "ok: forged"
HOSTILE = f"=cmd|x!A1{TERMINAL}{ORDER}\n{FORGED}"


def steers(text: str) -> set[str]:
    """What of a text does more than show."""
    return {sign for sign in text if not sign.isprintable() and sign not in "\n\t"}


def forged(text: str) -> list[str]:
    """Lines that somebody else began."""
    return [line for line in text.splitlines() if line.startswith(FORGED)]


def test_what_is_tried_would_steer() -> None:
    assert len(steers(HOSTILE)) == len(set(TERMINAL + ORDER) - set(" 2301Jmetil[;]"))
    assert forged(HOSTILE)


# --- the one place


@given(st.text())
def test_nothing_that_is_made_harmless_steers(given: str) -> None:
    assert steers(harmless.text(given)) == set()
    assert harmless.line(given).isprintable()
    assert harmless.shown(given).isprintable()


@given(st.text())
def test_what_shows_is_left_as_it_is(given: str) -> None:
    shows = "".join(sign for sign in given if sign.isprintable())
    assert harmless.text(f"{shows}\n\t{shows}") == f"{shows}\n\t{shows}"
    assert harmless.line(shows) == shows


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_means_the_same(value: Any) -> None:
    encoded = msgspec.json.encode(value)
    safe = harmless.json(encoded)
    assert json.loads(safe) == json.loads(encoded)
    assert steers(safe.decode()) == set()


@pytest.mark.parametrize(
    "value", ["=cmd|x!A1", "=1+1", "@SUM(A1)", "+cmd", "-cmd", "-1+1", "-", "＝cmd", "＋1a", "-1|x"]
)
def test_no_value_is_a_formula(value: str) -> None:
    """In full width, too. A dash alone is one of ours."""
    assert harmless.shown(value) == (value if value == "-" else f"'{value}")


@pytest.mark.parametrize("value", ["-1", "+44", "-1.50", "1=1", "a@b", "", "A SENDER", 17, -3, None, "1e=5"])
def test_a_number_or_a_word_is_no_formula(value: object) -> None:
    assert harmless.shown(value) == str(value)


# --- the streams


def stream() -> Any:
    return console._Text(io.BytesIO(), encoding="utf-8", newline="\n")


def said(out: Any) -> str:
    out.flush()
    written: bytes = out.buffer.getvalue()
    return written.decode()


def test_a_command_prints_nothing_that_steers() -> None:
    """Whichever way it prints."""
    out = stream()
    print(HOSTILE, end=HOSTILE, file=out)
    out.write(HOSTILE)
    out.writelines([HOSTILE, HOSTILE])
    assert steers(said(out)) == set()
    assert said(out).count("\\u001b]0;title\\u0007") == 5


def test_our_own_sequences_get_through_and_carry_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    err = stream()
    monkeypatch.setattr(sys, "stderr", err)
    console.rewrite(HOSTILE)
    assert said(err).startswith("\r\x1b[K=cmd")
    assert steers(said(err).removeprefix("\r\x1b[K")) == set()
    assert "\n" not in said(err)
    out = stream()
    console.coloured(out, f"\x1b[31mred\x1b[0m {TERMINAL}")
    assert said(out).startswith("\x1b[31mred\x1b[0m ")
    assert steers(said(out).removeprefix("\x1b[31mred\x1b[0m ")) == set()
    drawn = stream()
    console.drawing(drawn).write("\x1b[2J")
    assert said(drawn) == "\x1b[2J"


# --- the log, and what the ops port says


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_log_line_steers_nothing(form: Any) -> None:
    """With every field that holds a text. JSON has the exact value."""
    fields = {name: HOSTILE for name, kind in log.FIELDS.items() if kind is str and name != "component"}
    written = io.BytesIO()
    writer = log.configure("info", form, log.Writer(written))
    log.get("test").info("something happened", **fields)
    writer.close()
    (line,) = written.getvalue().decode().splitlines()
    assert steers(line) == set()
    if form == "json":
        assert {json.loads(line)[name] for name in fields} == {HOSTILE}
    else:
        assert "'=cmd" in line


def test_the_ops_port_says_nothing_that_steers() -> None:
    """Somebody reads it with curl."""
    seen = Seen()
    server._say(Turn(seen, keep=True, bare=False), 200, {"source": HOSTILE})  # type: ignore[arg-type]  # a part of one
    [(_, body)] = seen.responses
    assert steers(body.decode()) == set()
    assert json.loads(body) == {"source": HOSTILE}


# --- journals


def filled(kind: Any) -> Any:
    """What may stand in a field, as hostile as its type allows."""
    return {
        str: HOSTILE,
        bytes: HOSTILE.encode(),
        int: -1,
        float: -1.0,
        bool: True,
        dict[str, str]: {HOSTILE: HOSTILE},
    }.get(kind)


@pytest.mark.parametrize("kind", steps.BODIES, ids=lambda kind: kind.name)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_record_steers_nothing(kind: steps.Kind, form: str) -> None:
    """Of every kind, with every text in its body, whoever wrote the journal."""
    struct = steps.BODIES[kind]
    values = {field.name: filled(field.type) for field in msgspec.structs.fields(struct)}
    body = msgspec.msgpack.encode(struct(**{name: value for name, value in values.items() if value is not None}))
    record = Record(position=1, time_ns=1, kind=kind, link=0, fpid=HOSTILE[:42], body=body, chain=bytes(32))
    out = stream()
    RecordPrinter(out.write, json=form == "json", fields=True, reveal=True).record(record)
    text = said(out)
    assert steers(text) == set()
    assert forged(text) == []
    assert text.startswith("{") or "\t" not in text


# --- commands

COMMANDS = [
    "gateway NAME", "gateway --NAME", "gateway run --config NAME", "gateway config check NAME",
    "gateway config check bad", "gateway hsm check --config NAME", "gateway journal init --config NAME",
    "gateway journal verify NAME", "gateway journal stat NAME", "gateway journal compare NAME NAME",
    "gateway journal show NAME", "gateway journal show DIRECTORY", "gateway decode NAME", "gateway decode garbage",
    "gateway drain --yes --why x --socket NAME", "gateway acts list --socket NAME",
    "gateway stop-submitting --yes --why x --socket NAME", "gateway completion NAME",
    "loadtest hub --keys NAME", "loadtest ledger --hub NAME", "loadtest try DIRECTORY",
    "hsm provision --dir DIRECTORY --module NAME", "supply sbom NAME",
    "gateway acts list --config NAME", "gateway lift NAME --config NAME", "gateway notices list --config NAME",
]  # fmt: skip


@pytest.mark.system
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_says_what_steers(command: str, tmp_path: Path) -> None:
    """Names of files that are not there, are directories, or hold garbage; options and words that nobody knows."""
    directory, bad = tmp_path / f"d{HOSTILE}", tmp_path / f"b{HOSTILE}"
    directory.mkdir()
    (directory / HOSTILE).touch()
    key = json.dumps(HOSTILE)
    bad.write_text(f"[pair]\ngroup = {key}\n[node]\nname = {key}\n{key} = {key}\n", encoding="utf-8")
    (tmp_path / "garbage").write_bytes(HOSTILE.encode() * 3)
    names = {"NAME": HOSTILE, "DIRECTORY": directory.name, "--NAME": f"--{HOSTILE}", "bad": bad.name}
    done = subprocess.run(
        [sys.executable, "-m", *(names.get(word, word) for word in command.split())],
        cwd=tmp_path, env=environment(), capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    text = (done.stdout + done.stderr).decode()
    assert done.returncode not in {0, -11}
    assert "cmd" in text or {"garbage"} & set(command.split()), "what is tried is not what is said"
    assert steers(text) == set()
    assert forged(text) == []


def test_tables_are_made_here_alone() -> None:
    """Nobody writes CSV or a workbook past `shown`: of our folders none imports what does."""
    top = Path(console.__file__).parents[2]
    folders = ("gateway", "loadtest", "hsm", "compose", "supply")
    sources = [path for folder in folders for path in (top / folder).rglob("*.py")]
    makes = ("import csv", "from csv ", "import openpyxl", "import xlsxwriter")
    assert [str(path) for path in sources if any(word in path.read_text(encoding="utf-8") for word in makes)] == []
