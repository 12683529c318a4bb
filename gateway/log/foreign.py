"""What Python and the libraries would print goes through our log: what it is and where, one line, and never the text,
which is nobody's of ours and may hold anything. Python's last words of all (`faulthandler`, a fatal error) go past it.
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
    """From now on, in this process."""
    sys.excepthook = _not_taken
    threading.excepthook = _thread_ended
    sys.unraisablehook = _not_raised
    warnings.showwarning = _warned
    logging.basicConfig(handlers=[_Printed()], level=logging.WARNING, force=True)


def where_of(error: BaseException | None) -> str:
    """Where an error comes from: files and lines, innermost last, and no values."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:] if error is not None else []
    return " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)


def _not_taken(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    _log.critical("an error that nobody took", error=_words(kind, error), where=where_of(error))


def _thread_ended(given: threading.ExceptHookArgs) -> None:
    _log.error(
        "a thread ended by an error", error=_words(given.exc_type, given.exc_value), where=where_of(given.exc_value)
    )


def _not_raised(given: "sys.UnraisableHookArgs") -> None:
    _log.error(
        "an error that could not be raised",
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
    _log.warning("Python warns", source=category.__name__, where=f"{Path(filename).name}:{lineno}")


class _Printed(logging.Handler):
    """Of the standard library's logging, which libraries speak to."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        kind, error, _ = record.exc_info or (None, None, None)
        where = f"{record.filename}:{record.lineno}"
        _log.warning("a library logs", source=record.name, where=where, error=_words(kind, error))


def _words(kind: type[BaseException] | None, error: BaseException | None) -> str:
    if error is not None:
        return log.describe(error)
    return kind.__name__ if kind is not None else ""
