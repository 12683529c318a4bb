"""The log: JSON lines for machines, colours for a terminal, and nothing in it that is a customer's.

Redaction is by construction: a line is an event in our own words and fields out of `FIELDS`, each with a type that cannot
hold a payload. A field that is not in the table raises in tests and is replaced by its name in `dropped` in production.
A payment is named by `fpid_hash`, never by its FPID. Lines leave through a thread with a bounded queue, so that a slow
pipe costs lines (counted, and said), not payments.
"""

import hashlib
import queue
import sys
import threading
from collections.abc import Callable, MutableMapping
from typing import Any, Literal

import msgspec
import structlog

from gateway.errors import GatewayError

WAITING_LINES_MAX = 20_000
"""Lines that may wait for a slow reader of our output: a few seconds' worth at full load."""
TEXT_MAX = 300
"""Characters of a text field; the longest of our own texts is under 200."""

FIELDS: dict[str, type | tuple[type, ...]] = {
    # who and where
    "component": str, "node": str, "group": str, "link": str, "connection": int, "token": str, "worker_pid": int,
    "host": str, "port": int, "path": str, "segment": str, "follower": str, "pid": int, "version": str, "fingerprint": str,
    "python": str, "key_label": str, "url": str,
    # a message, without its content
    "fpid": str, "mti": str, "function_code": str, "code": str, "field": int, "position": int, "wall_position": int,
    "state": str, "event_name": str, "step": str, "message_id": str, "outcome": str, "notice": str,
    # how much, how long
    "count": int, "bytes": int, "records": int, "segments": int, "limit": int, "status": int, "attempt": int,
    "elapsed_ms": (int, float), "pause_s": (int, float), "elapsed_s": (int, float), "age_s": (int, float), "in_flight": int,
    "waiting": int, "dropped_lines": int, "exit_code": int, "signal": str, "free_bytes": int,
    # why
    "reason": str, "error": str, "where": str, "detail": str,
}  # fmt: skip
"""Every field that a line may carry, with its type. `error` and `reason` come from `describe` or are our own words."""

strict = False
"""Set in tests: a field that is not in the table raises."""


def fpid_hash(fpid: str) -> str:
    """Name a payment in a log line or an error: sixteen hex digits that say nothing about it."""
    return hashlib.blake2b(fpid.encode(), digest_size=8, person=b"fps-fpid").hexdigest()


def describe(error: BaseException) -> str:
    """An error in words that are safe: ours in full, the system's by its name, a library's by its class."""
    if isinstance(error, GatewayError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.__class__.__name__}: {error.strerror}"
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(inner) for inner in error.exceptions)
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


class Writer:
    """Writes lines from a thread of its own. `write` never waits; what does not fit is counted and said later."""

    def __init__(self, stream: Any = None) -> None:
        self._stream = stream if stream is not None else sys.stdout.buffer
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.dropped_lines = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Hand a line over."""
        if self._queue.qsize() >= WAITING_LINES_MAX:
            self.dropped_lines += 1
        else:
            self._queue.put(line)

    def _run(self) -> None:
        said = 0
        while (line := self._queue.get()) is not None:
            lines = [line]
            while not self._queue.empty() and len(lines) < 1000:
                if (line := self._queue.get()) is None:
                    self._queue.put(None)
                    break
                lines.append(line)
            if self.dropped_lines > said:
                said = self.dropped_lines
                lines.append(b'{"event":"log lines dropped","level":"warning","dropped_lines":%d}' % said)
            try:
                self._stream.write(b"\n".join(lines) + b"\n")
                self._stream.flush()
            except (OSError, ValueError):
                # nobody reads us any more: payments go on, the lines are counted
                self.dropped_lines += len(lines)

    def close(self, within_s: float = 2.0) -> None:
        """Write what waits, for at most so long."""
        self._queue.put(None)
        self._thread.join(within_s)


class _Lines:
    """What structlog calls with a finished line."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def msg(self, line: str | bytes) -> None:
        self._write(line if isinstance(line, bytes) else line.encode())

    debug = info = warning = error = critical = msg


_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(level: str = "info", form: Literal["auto", "json", "console"] = "auto", writer: Writer | None = None) -> Writer:
    """Set up the log for this process and return its writer, to be closed last."""
    writer = writer or Writer()
    console = form == "console" or (form == "auto" and sys.stdout.isatty())
    encoder = msgspec.json.Encoder()
    render: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), timestamp_key="time")
        if console
        else lambda _logger, _method, event: encoder.encode(event)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _only_known,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _Lines(writer.write),
        cache_logger_on_first_use=True,
    )
    return writer


def get(component: str) -> Any:
    """The logger of a part: `log = get("journal")`; `log.info("segment created", segment=…)`."""
    return structlog.get_logger(component=component)
