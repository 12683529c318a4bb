"""The log says what happened in words of ours, never a customer's, and never makes a payment wait."""

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st

from gateway import log
from gateway.errors import HubFault, JournalFault

SECRET = "GB29NWBK60161331926819"  # noqa: S105 - stands for an account number


class Colour(StrEnum):
    """A string that is not quite one."""

    RED = "red"


@pytest.fixture
def lax(logged: Any) -> Iterator[Any]:
    """The log as in production: what does not belong in it is dropped, and nothing raises."""
    log.strict = False
    yield logged
    log.strict = True


# --- what a line may hold


def test_a_line(logged: Any) -> None:
    """A line is an event, its fields, who says it, how grave it is and when."""
    log.get("journal").warning("segment created", segment="0001", bytes=65536)
    [line] = logged()
    assert line.pop("time").endswith("Z")
    assert line == {
        "component": "journal",
        "event": "segment created",
        "segment": "0001",
        "bytes": 65536,
        "level": "warning",
    }


@pytest.mark.parametrize(
    "fields",
    [{"account": SECRET}, {"port": SECRET}, {"reason": SECRET.encode()}, {"path": None}, {"exc_info": True}],
    ids=lambda fields: next(iter(fields)),
)
def test_in_tests_a_foreign_field_fails(fields: dict[str, Any]) -> None:
    """A field that is not in the table, or of another type, is found by any test that logs it."""
    with pytest.raises(AssertionError, match=rf"log field '{next(iter(fields))}' \(\w+\) is not in gateway.log.FIELDS"):
        log.get("hub").info("link up", **fields)


def test_in_production_a_foreign_field_is_dropped(lax: Any) -> None:
    """It leaves its name, not its value; the rest of the line stays."""
    log.get("hub").info("link up", account=SECRET, port=SECRET, link="hub-1")
    [line] = lax()
    assert line["dropped"] == ["account", "port"]
    assert line["link"] == "hub-1"
    assert SECRET not in str(line)


@given(
    st.dictionaries(st.sampled_from([*log.FIELDS, "account", "name", "event2"]), st.binary() | st.text() | st.floats())
)
def test_whatever_is_logged(fields: dict[str, Any]) -> None:
    """Any fields give one line of JSON with fields of the table only."""
    written: list[bytes] = []
    log.strict = False
    log.configure("info", "json", Kept(written))
    log.get("hub").info("link up", **fields)
    log.strict = True
    [line] = [msgspec.json.decode(line) for line in written]
    assert set(line) <= {*log.FIELDS, "event", "level", "time", "dropped"}
    assert all(isinstance(line[key], str | int | float | None) for key in set(line) - {"dropped"})


def test_a_long_text_is_cut(logged: Any) -> None:
    """A text field has a limit."""
    log.get("hub").info("link up", reason="x" * 1000)
    assert logged()[0]["reason"] == "x" * log.TEXT_MAX + "…"


def test_a_text_that_json_cannot_hold(lax: Any) -> None:
    """A path that is no UTF-8 costs the line its fields, not the process its life."""
    log.get("journal").info("opened", path=os.fsdecode(b"/journal/\xff"), bytes=3)
    [line] = lax()
    assert (line["component"], line["event"], line["level"]) == ("journal", "opened", "info")
    assert line["dropped"] == ["path", "bytes"]


def test_enumerations_are_their_values(logged: Any) -> None:
    """A StrEnum is a text, an IntEnum a number."""
    log.get("hub").info("state", state=Colour.RED)
    assert logged()[0]["state"] == "red"


def test_levels(lax: Any) -> None:
    """A line below the level is not even made."""
    written: list[bytes] = []
    log.configure("warning", "json", Kept(written))
    logger = log.get("hub")
    logger.debug("a")
    logger.info("b")
    logger.warning("c")
    logger.error("d")
    assert [msgspec.json.decode(line)["event"] for line in written] == ["c", "d"]
    assert lax() == []


def test_console(logged: Any) -> None:
    """For people at a terminal the same line is prose."""
    written: list[bytes] = []
    log.configure("info", "console", Kept(written))
    log.get("hub").info("link up", link="hub-1")
    assert b"link up" in written[0]
    assert b"hub-1" in written[0]
    assert logged() == []


def test_a_logger_made_before_the_configuration(logged: Any) -> None:
    """Modules take their logger when they are imported, long before the log is set up."""
    structlog.reset_defaults()
    early = log.get("wire")
    written: list[bytes] = []
    log.configure("info", "json", Kept(written))
    early.info("tables read")
    assert msgspec.json.decode(written[0])["component"] == "wire"
    assert logged() == []


# --- words for what is sensitive


def test_a_payment_is_named_by_a_hash() -> None:
    """The same payment has the same name, and the name says nothing of it."""
    name = log.fpid_hash("TRN0000000000000011020240101826200000     ")
    assert name == log.fpid_hash("TRN0000000000000011020240101826200000     ")
    assert name != log.fpid_hash("TRN0000000000000021020240101826200000     ")
    assert len(name) == 16


def broken(cause: BaseException) -> BaseException:
    """An error of trio's with its cause."""
    error = trio.BrokenResourceError("socket connection broken: " + SECRET)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (JournalFault("sync failed: I/O error"), "sync failed: I/O error"),
        (HubFault("field 35 at 120"), "field 35 at 120"),
        (OSError(28, "No space left on device", SECRET), "OSError: No space left on device"),
        (FileNotFoundError(2, "No such file or directory", SECRET), "FileNotFoundError: No such file or directory"),
        (OSError(SECRET), "OSError"),
        (ValueError(SECRET), "ValueError"),
        (KeyError(SECRET), "KeyError"),
        (broken(OSError(5, "Input/output error")), "BrokenResourceError (OSError: Input/output error)"),
        (ExceptionGroup(SECRET, [ValueError(SECRET), JournalFault("full")]), "ValueError; full"),
        (ExceptionGroup(SECRET, [JournalFault("full"), JournalFault("full")]), "full"),
        (UnicodeDecodeError("ascii", SECRET.encode(), 0, 1, SECRET), "UnicodeDecodeError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_error_in_safe_words(error: BaseException, words: str) -> None:
    """Ours in full, the system's by its name, a library's by its class: its text may quote what it choked on."""
    assert log.describe(error) == words
    assert SECRET not in log.describe(error)


# --- the writer


class Kept(log.Writer):
    """Keeps lines in a list of the test's."""

    def __init__(self, lines: list[bytes]) -> None:
        self._kept = lines

    def write(self, line: bytes) -> None:
        self._kept.append(line)


class Slow(io.BytesIO):
    """A reader that takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def write(self, data: Any) -> int:
        self.reached.set()
        assert self.go_on.wait(30)
        return super().write(data)


class Gone(io.BytesIO):
    """A reader that is gone."""

    def write(self, data: Any) -> int:
        raise BrokenPipeError


def test_lines_are_written_in_order() -> None:
    """All lines that are handed over are written, in order."""
    stream = io.BytesIO()
    writer = log.Writer(stream)
    for number in range(3 * log.BATCH_LINES_MAX):
        writer.write(b"%d" % number)
    writer.close()
    assert stream.getvalue().splitlines() == [b"%d" % number for number in range(3 * log.BATCH_LINES_MAX)]
    assert writer.dropped_lines == 0


def test_a_slow_reader_costs_lines_and_hears_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit lines are dropped without waiting, counted, and the count is said."""
    monkeypatch.setattr(log, "WAITING_LINES_MAX", 10)
    stream = Slow()
    writer = log.Writer(stream)
    writer.write(b"first")
    assert stream.reached.wait(30)
    for number in range(25):
        writer.write(b"%d" % number)
    assert writer.dropped_lines == 15
    stream.go_on.set()
    writer.close()
    *lines, last = stream.getvalue().splitlines()
    assert lines == [b"first", *(b"%d" % number for number in range(10))]
    said = msgspec.json.decode(last)
    assert (said["event"], said["dropped_lines"], said["level"]) == ("log lines dropped", 15, "warning")


def test_a_reader_that_is_gone_costs_lines_only() -> None:
    """When nobody reads any more the writer goes on and counts."""
    writer = log.Writer(Gone())
    writer.write(b"a")
    writer.write(b"b")
    writer.close()
    assert writer.dropped_lines >= 2


def test_closing_does_not_wait_for_ever() -> None:
    """A reader that is stuck delays the end by no more than it is given."""
    stream = Slow()
    writer = log.Writer(stream)
    writer.write(b"a")
    assert stream.reached.wait(30)
    writer.close(within_s=0.001)
    stream.go_on.set()


def test_nothing_waits_unbounded() -> None:
    """After the end lines are still taken, up to the limit, and go nowhere."""
    writer = log.Writer(io.BytesIO())
    writer.close()
    for _ in range(log.WAITING_LINES_MAX + 5):
        writer.write(b"late")
    assert writer.dropped_lines >= 5
    assert len(writer._lines) <= log.WAITING_LINES_MAX


PROGRAM = """
import sys
from gateway import log
writer = log.configure("info", "json")
logger = log.get("main")
for number in range(int(sys.argv[1])):
    logger.info("line", count=number, reason="x" * 200)
writer.close(0.01 if sys.argv[2] == "stuck" else 30)
print("ended", file=sys.stderr)
"""


def test_the_process_ends_in_order_when_its_pipe_is_full() -> None:
    """A full pipe that nobody reads neither hangs nor aborts the interpreter at its end."""
    command = [sys.executable, "-c", PROGRAM, "5000", "stuck"]
    # as in production, where standard output has Python's buffer
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    assert process.stdout
    assert process.stderr
    with process:
        assert process.stderr.readline() == "ended\n"
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


LEVELS = """
from gateway import log
writer = log.configure("debug", "auto")
for level in ("debug", "info", "warning", "error", "critical"):
    getattr(log.get("main"), level)("a line")
writer.close(30)
"""


@pytest.mark.parametrize("journald", [True, False])
def test_the_journal_of_systemd_gets_each_line_with_its_level(tmp_path: Path, *, journald: bool) -> None:
    """When standard output is what `JOURNAL_STREAM` names, not when something else is in its place."""
    with (tmp_path / "stdout").open("wb") as stdout:
        status = os.fstat(stdout.fileno())
        stream = f"{status.st_dev}:{status.st_ino + (not journald)}"
        environment = {**os.environ, "JOURNAL_STREAM": stream}
        subprocess.run([sys.executable, "-c", LEVELS], stdout=stdout, env=environment, check=True)
    lines = (tmp_path / "stdout").read_bytes().splitlines()
    wanted = [b"<7>", b"<6>", b"<4>", b"<3>", b"<2>"]
    if journald:
        assert [line[:3] for line in lines] == wanted
        lines = [line[3:] for line in lines]
    assert [msgspec.json.decode(line)["level"] for line in lines] == ["debug", "info", "warning", "error", "critical"]


def test_the_line_about_dropped_lines_has_its_level_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "WAITING_LINES_MAX", 0)
    stream = io.BytesIO()
    writer = log.Writer(stream)
    writer.journald = True
    writer.write(b"refused")
    monkeypatch.setattr(log, "WAITING_LINES_MAX", 1)
    writer.write(b"<6>{}")
    writer.close()
    assert [line[:4] for line in stream.getvalue().splitlines()] == [b"<6>{", b"<4>{"]


def test_an_output_that_is_non_blocking_loses_nothing() -> None:
    """Another process may make our output non-blocking; no line is torn or lost by that."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    command = [sys.executable, "-c", PROGRAM, "3000", "all"]
    process = subprocess.Popen(command, stdout=writing, stderr=subprocess.DEVNULL)
    os.close(writing)
    with process, open(reading, "rb") as stream:  # noqa: PTH123 - a descriptor, not a path
        lines = [msgspec.json.decode(line) for line in stream]
        assert process.wait(30) == 0
    assert [line["count"] for line in lines] == list(range(3000))
