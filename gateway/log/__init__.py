"""The log: JSON lines for machines, colours for a terminal, and no customer's data.

Redaction is by construction. A line consists of an event, which is a constant in the source, and of fields out of
`FIELDS`. A field that is not in the table, or has another type, raises in tests; in production it is removed and its
name stands in `dropped`. A line names a payment by `fpid_hash`, never by its FPID. Lines leave through a thread with a
bounded queue, so that a slow pipe costs lines (counted, and reported), not payments.

A peer could cause some lines at its own pace: those of `PEERS` that are about no payment. The first few are written,
then fewer and fewer (`gateway/log/quiet.py`). A line that is written says in `held_back` how many were not.

Where the journal of systemd reads our output, each line begins with its level in the form of sd-daemon(3), `<4>{"…}`.
The journal removes it and filters by it (`journalctl -p warning`); `journalctl -o cat` prints the JSON lines.
"""

import hashlib
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, BinaryIO, Literal, TextIO

import msgspec
import structlog

from gateway.errors import GatewayError, Unavailable
from gateway.log.quiet import Quiet
from gateway.machine import console, harmless
from gateway.machine.shortage import NO_THREAD_WORDS, is_no_thread

WAITING_LINES_MAX = 20_000
"""Lines that may wait for a slow reader of our output: a few seconds' worth at full load."""
BATCH_LINES_MAX = 1000
"""Lines in one write at most."""
GATHER_S = 0.01
"""Time for which lines gather after the first, before they are written."""
TEXT_MAX = 300
"""Characters of a text field; the longest of our own texts is under 200."""

FIELDS: dict[str, type | tuple[type, ...]] = {
    # who and where
    "component": str, "node": str, "group": str, "link": str, "connection": int, "token": str, "worker_pid": int,
    "host": str, "port": int, "path": str, "segment": str, "follower": str, "pid": int, "version": str,
    "fingerprint": str, "python": str, "key_label": str, "url": str,
    # a message, without its content
    "fpid": str, "mti": str, "function_code": str, "code": str, "field": int, "position": int, "wall_position": int,
    "state": str, "event_name": str, "step": str, "message_id": str, "outcome": str, "notice": str, "direction": str,
    "institution": str, "source": str, "party": str, "act": str, "who": str, "origin": str,
    # how much, how long
    "count": int, "bytes": int, "records": int, "segments": int, "limit": int, "status": int, "attempt": int,
    "elapsed_ms": (int, float), "pause_s": (int, float), "elapsed_s": (int, float), "age_s": (int, float),
    "in_flight": int, "waiting": int, "dropped_lines": int, "held_back": int, "exit_code": int, "signal": str,
    "free_bytes": int,
    # why
    "reason": str, "error": str, "where": str, "detail": str,
}  # fmt: skip
"""Every field that a line may have, with its type. `error` and `reason` come from `describe` or are our own words."""

PEERS = frozenset({
    "hub", "engine", "processor", "door", "entrance", "ops", "acts", "sibling", "addresses", "listening", "python",
})  # fmt: skip
"""Components that talk with a peer, which may be broken or hostile, or that speak for foreign code."""
SUBJECTS = (
    "link", "host", "path", "url", "notice", "direction", "mti", "function_code", "code", "state", "institution",
    "source", "act", "who",
)  # fmt: skip
"""The fields that tell lines with the same text apart: what the line is about."""

strict = False
"""True in tests: a field that is not in the table raises."""


def fpid_hash(fpid: str) -> str:
    """Name a payment in a log line or an error: sixteen hex digits that say nothing about it."""
    return hashlib.blake2b(fpid.encode(), digest_size=8, person=b"fps-fpid").hexdigest()


_NOT_TAKEN = frozenset({
    "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_CERTIFICATE_REVOKED",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN", "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "TLSV1_ALERT_UNKNOWN_CA",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_ALERT_ACCESS_DENIED", "TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE",
})  # fmt: skip
"""The TLS alerts by which a peer rejects our certificate."""


def blame(error: BaseException) -> str:
    """Words for a TLS error that concerns our own certificate; empty for others."""
    return ": our certificate is not taken" if getattr(error, "reason", "") in _NOT_TAKEN else ""


def describe(error: BaseException) -> str:
    """An error in safe words: our own in full, one of the system by its name, one of a library by its class."""
    if isinstance(error, GatewayError | AssertionError):
        return str(error) or error.__class__.__name__
    if is_no_thread(error):
        return NO_THREAD_WORDS
    if isinstance(error, OSError) and error.strerror:
        return f"{error.__class__.__name__}: {error.strerror}{blame(error)}"
    if isinstance(error, BaseExceptionGroup):
        # each text once: a disk that fails ends several parts
        return "; ".join(dict.fromkeys(describe(inner) for inner in error.exceptions))
    cause = f" ({describe(error.__cause__)})" if error.__cause__ is not None else ""
    return error.__class__.__name__ + cause


def _only_known(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    dropped = None
    for key, value in event.items():
        kind = FIELDS.get(key)
        if kind is None:
            if key in {"event", "level", "time"}:
                continue
        elif isinstance(value, kind):
            if value.__class__ is str and len(value) > TEXT_MAX:
                event[key] = value[:TEXT_MAX] + "…"
            continue
        if strict:
            raise AssertionError(f"log field {key!r} ({type(value).__name__}) is not in gateway.log.FIELDS")
        dropped = [*(dropped or []), key]
    if dropped:
        for key in dropped:
            del event[key]
        event["dropped"] = dropped
    return event


def _seldom(seconds: Callable[[], float]) -> Any:
    """Hold back lines that come too often."""
    quiet = Quiet()

    def seldom(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if event.get("fpid") or event.get("component") not in PEERS:
            return event
        held = quiet.takes(event["event"], tuple([event.get(name) for name in SUBJECTS]), seconds())
        if held < 0:
            raise structlog.DropEvent
        if held:
            event["held_back"] = held
        return event

    return seldom


class Writer:
    """Writes lines from a thread of its own. `write` never waits; lines that do not fit are counted, and reported.

    Waking a thread costs as much as all other work for a line. So only the first line wakes it; then it looks for lines
    every `GATHER_S` for as long as they come.

    It writes to the file descriptor, past Python's buffer: a thread that holds that buffer's lock while a pipe is full
    would make the interpreter abort at its end.
    """

    journald = False
    """True when the journal of systemd reads the output: then each line begins with its level."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._put = partial(_write_all, sys.stdout.fileno()) if stream is None else stream.write
        self.journald = stream is None and _is_journald(sys.stdout.fileno())
        self._lines: deque[bytes] = deque()
        self._awake = False
        """The thread will look for lines without being woken. Cleared before it looks for the last time."""
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._unwritten = 0
        self._refused = 0
        self._said = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise Unavailable(f"{NO_THREAD_WORDS} for the log") from error

    @property
    def dropped_lines(self) -> int:
        """Lines that were lost: too many waited, or writing failed."""
        return self._refused + self._unwritten

    def write(self, line: bytes) -> None:
        """Hand a line over."""
        if len(self._lines) >= WAITING_LINES_MAX:
            self._refused += 1
            return
        self._lines.append(line)
        if not self._awake:
            self._awake = True
            self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            ending = self._ended.is_set()
            while self._lines:
                self._write_some()
            if ending:
                return
            self._ended.wait(GATHER_S)
            self._awake = False
            if self._lines or self._ended.is_set():  # they came before `_awake` was cleared
                self._awake = True
                self._wake.set()

    def _write_some(self) -> None:
        batch = [self._lines.popleft() for _ in range(min(len(self._lines), BATCH_LINES_MAX))]
        if (dropped := self.dropped_lines) > self._said:
            self._said = dropped
            batch.append((_PREFIXES["warning"] if self.journald else b"") + _dropped_line(dropped))
        try:
            self._put(b"\n".join(batch) + b"\n")
        except (OSError, ValueError):
            # the reader is gone: payments go on, and the lost lines are counted
            self._unwritten += len(batch)

    def close(self, within_s: float = 2.0) -> None:
        """Write the waiting lines, for `within_s` at most."""
        self._ended.set()
        self._wake.set()
        self._thread.join(within_s)


def _is_journald(descriptor: int) -> bool:
    """Whether this is the stream that systemd connected to its journal, not a redirection."""
    status = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            # another process that shares our output made it non-blocking: this thread may wait
            select.select([], [descriptor], [])


def _dropped_line(count: int) -> bytes:
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    line = {"component": "log", "dropped_lines": count, "event": "log lines dropped", "level": "warning", "time": now}
    return msgspec.json.encode(line)


class _Lines:
    """Takes finished lines from structlog."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def msg(self, line: str | bytes) -> None:
        self._write(line if isinstance(line, bytes) else line.encode(errors="backslashreplace"))

    debug = info = warning = error = critical = msg


_encoder = msgspec.json.Encoder()


def _as_json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> bytes:
    """Encode a line. A value that JSON cannot hold (a path that is not UTF-8, say) costs fields, never the process."""
    try:
        return harmless.json(_encoder.encode(event))
    except (TypeError, ValueError, OverflowError):
        ours = ("component", "event", "level", "time")
        line = {key: ascii(event[key]).strip("'") for key in ours if key in event}
        return _encoder.encode(line | {"dropped": [key for key in event if key not in ours]})


_PREFIXES = {"debug": b"<7>", "info": b"<6>", "warning": b"<4>", "error": b"<3>", "critical": b"<2>"}
"""The levels as syslog numbers them. `critical` is the last line of a process that cannot go on."""


def _prefixed(render: Any) -> Any:
    """Put the level before the rendered line."""

    def prefixed(logger: object, method: str, event: MutableMapping[str, Any]) -> bytes:
        line = render(logger, method, event)
        return _PREFIXES[method] + (line if isinstance(line, bytes) else line.encode(errors="backslashreplace"))

    return prefixed


def _as_text(out: TextIO) -> Any:
    """Lines for a person at a terminal, in characters that it can show."""
    render = structlog.dev.ConsoleRenderer(colors=console.has_colours(out), timestamp_key="time")

    def rendered(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        said = {key: harmless.shown(value) if isinstance(value, str) else value for key, value in event.items()}
        return console.plain(render(logger, method, said), out.encoding)

    return rendered


Level = Literal["debug", "info", "warning", "error"]
_LEVELS: dict[Level, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class _Leveled(structlog.BoundLoggerBase):
    """The class of every logger of this process. `set_level` gives it its methods, also to loggers that exist."""


def set_level(level: Level) -> None:
    """Set the lowest level that all loggers write from now on. A line below it costs next to nothing."""
    for name, method in vars(structlog.make_filtering_bound_logger(_LEVELS[level])).items():
        if not name.startswith("__"):
            setattr(_Leveled, name, method)


def configure(
    level: Level = "info",
    form: Literal["auto", "json", "console"] = "auto",
    writer: Writer | None = None,
    *,
    seconds: Callable[[], float] | None = None,
    out: TextIO | None = None,
) -> Writer:
    """Set up the log for this process and return its writer, which must be closed last.

    `seconds` is the clock by which repeated lines are held back; without it none is. `out` is the output of the writer,
    where that is not standard output. Loggers that were used before keep their setup, except in tests (`strict`).
    """
    writer = writer or Writer()
    out = out or sys.stdout
    in_words = form == "console" or (form == "auto" and out.isatty())
    render: Any = _as_text(out) if in_words else _as_json
    set_level(level)
    structlog.configure(
        processors=[
            *([_seldom(seconds)] if seconds is not None else []),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _only_known,
            _prefixed(render) if writer.journald else render,
        ],
        wrapper_class=_Leveled,
        logger_factory=lambda *_: _Lines(writer.write),
        cache_logger_on_first_use=not strict,
    )
    return writer


def get(component: str) -> Any:
    """Return the logger of a component. Call it once, at the top of a file.

    `_log = get("journal")`, and where something happens: `_log.info("segment created", segment=…)`.
    """
    return structlog.get_logger(component=component)
