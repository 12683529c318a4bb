"""Sends the output of Python and libraries to our log: one line with the kind and the place. The text is left out: it
may hold anything. A fatal error of Python itself (`faulthandler`) goes past the log.
"""

import logging
import sys
import threading
import traceback
import warnings
from pathlib import Path
from types import TracebackType
from typing import TextIO

from gateway import log

FRAMES_MAX = 6

_log = log.get("python")


def take_over() -> None:
    """Take over all such output of this process, from now on."""
    sys.excepthook = _unhandled
    threading.excepthook = _thread_ended
    sys.unraisablehook = _not_raised
    warnings.showwarning = _warned
    logging.basicConfig(handlers=[_Printed()], level=logging.WARNING, force=True)


def where_of(error: BaseException | None) -> str:
    """The place where an error comes from: files and lines, innermost last, without values."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:] if error is not None else []
    return " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)


def _unhandled(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    _log.critical("unhandled exception", error=_words(kind, error), where=where_of(error))


def _thread_ended(given: threading.ExceptHookArgs) -> None:
    _log.error(
        "exception ended a thread", error=_words(given.exc_type, given.exc_value), where=where_of(given.exc_value)
    )


def _not_raised(given: "sys.UnraisableHookArgs") -> None:
    _log.error(
        "exception could not be raised",
        error=_words(given.exc_type, given.exc_value),
        where=where_of(given.exc_value),
    )


def _warned(
    message: Warning | str,  # noqa: ARG001 - the text, which is not shown
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    _log.warning("Python warning", source=category.__name__, where=f"{Path(filename).name}:{lineno}")


class _Printed(logging.Handler):
    """Takes the lines that libraries give to the standard library's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one line."""
        kind, error, _ = record.exc_info or (None, None, None)
        where = f"{record.filename}:{record.lineno}"
        _log.warning("library log line", source=record.name, where=where, error=_words(kind, error))


def _words(kind: type[BaseException] | None, error: BaseException | None) -> str:
    if error is not None:
        return log.describe(error)
    return kind.__name__ if kind is not None else ""
