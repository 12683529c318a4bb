"""How a command of ours treats its standard streams and Ctrl-C, with a terminal, pipes, files or nothing at their ends.

Every entry point comes here by `entry.command`, before it imports any other module of ours. From then on:

* A closed standard stream is /dev/null. Else the next file that is opened (a segment of the journal, say) would get its
  number, and output would be written there.
* Output that cannot be delivered (`… | head -1`, a full disk) ends the command, without a traceback: with 141, as in
  shells, when the reader has gone; with 69 and a line that says why when it cannot be written. The command's own code
  is unknown then. Standard error that cannot be delivered costs only its lines.
* Characters that the encoding of a stream lacks are written in ASCII: `->` for an arrow, else the escape, which is also
  JSON's. So JSON stays JSON (and keeps its exact meaning by `json_text`, where its texts are prose of ours).
* Characters that do not show, and so might steer the terminal, are written as escapes, whatever they came from
  (`harmless`). Our own sequences take a way of their own: `rewrite`, `coloured`, `drawing`.
* Ctrl-C ends the command quietly with 130, at once while it imports and when it is through. In between it raises
  `KeyboardInterrupt`: a command may have to clean up, and may end otherwise.
* A Python without assertions (-O, PYTHONOPTIMIZE) is refused with 78: a broken invariant must end the process.

Knows no command. Imports next to nothing, because a Ctrl-C during earlier imports still shows a traceback.
"""

import codecs
import importlib
import io
import os
import re
import select
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, TextIO, cast

from gateway.machine import harmless

OUTPUT_GONE: Final = 141
"""128 and the number of SIGPIPE: the reader of the output left before its end."""
OUTPUT_FAILED: Final = 69
"""The output cannot be written: a full disk. As `exitcodes.UNAVAILABLE`."""
WITHOUT_ASSERTIONS: Final = 78
"""As `exitcodes.CONFIGURATION`: the environment, or the command line of Python, is wrong."""
INTERRUPTED: Final = 130
"""As `exitcodes.INTERRUPTED`."""
EXIT_CODES: Final = "130 interrupted by Ctrl-C; 141 the reader of the output has gone"
"""For the help of commands."""

PLAIN: Final = {
    "…": "...", "→": "->", "←": "<-", "↔": "<->", "─": "-", "│": "|", "├": "|", "└": "`", "·": "-", "≥": ">=",
    "≤": "<=", "‖": "||", "▶": ">", "–": "-", "—": "-", "×": "x",
}  # fmt: skip
"""The characters of our own texts beyond ASCII."""
_ERRORS: Final = "fps-plain"


def _plain(error: UnicodeError) -> tuple[str, int]:
    """The replacement for characters that an encoding lacks. The escape is JSON's, and Python's."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(sign) or harmless.escaped(sign) for sign in lacking), error.end


codecs.register_error(_ERRORS, _plain)


def plain(text: str, encoding: str | None) -> str:
    """A text with only the characters of an encoding."""
    encoding = encoding or "ascii"
    return text.encode(encoding, _ERRORS).decode(encoding)


def json_text(encoded: bytes, out: TextIO) -> str:
    """JSON for a stream; where its encoding lacks characters, with escapes that mean the same."""
    text = encoded.decode()
    try:
        text.encode(out.encoding or "ascii")
    except UnicodeEncodeError:
        return "".join(sign if sign.isascii() else harmless.escaped(sign) for sign in text)
    return text


def has_colours(out: TextIO) -> bool:
    """Whether colours are wanted there: on a terminal that has them, unless NO_COLOR is set (https://no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or rewrites(out)


def rewrites(out: TextIO) -> bool:
    """Whether a line there can be overwritten: on a terminal that is not dumb."""
    return out.isatty() and os.environ.get("TERM", "") not in {"dumb", "unknown"}


class _Text(io.TextIOWrapper):
    """A standard stream of text, on which nothing steers the terminal but what is ours."""

    def write(self, text: str, /) -> int:
        """Write it, made harmless."""
        super().write(harmless.text(text))
        return len(text)

    def steer(self, text: str) -> int:
        """Write a text of our own that steers."""
        return super().write(text)


def _steer(out: TextIO, text: str) -> None:
    """On a stream of a command; in tests there may be another one."""
    getattr(out, "steer", out.write)(text)


def rewrite(text: str) -> None:
    """Put this in the place of the last line of standard error, without an end; empty: the line goes."""
    _steer(sys.stderr, f"\r\x1b[K{harmless.line(text)}")
    sys.stderr.flush()


_COLOURED: Final = re.compile("(\x1b\\[[0-9;]{1,8}m)")


def coloured(out: TextIO, text: str) -> None:
    """Print a line with our colours in it; what came from elsewhere must be harmless before it is put among them."""
    parts = _COLOURED.split(text)
    _steer(out, "".join(part if at % 2 else harmless.text(part) for at, part in enumerate(parts)) + "\n")


class _Drawing:
    """See `drawing`. As much of a stream as such a library uses."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.encoding = out.encoding
        self.flush, self.isatty, self.fileno = out.flush, out.isatty, out.fileno

    def write(self, text: str, /) -> int:
        """Write it as it is."""
        _steer(self._out, text)
        return len(text)


def drawing(out: TextIO) -> TextIO:
    """A stream for a library that draws, with texts of ours alone."""
    return cast("TextIO", _Drawing(out))


def _say_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A traceback without colours, which Python has from 3.13 on: on our streams they are no colours."""
    import traceback

    sys.stderr.write("".join(traceback.format_exception(kind, error, trace)))


class _Ended(SystemExit):
    """Standard output takes no more. No `except` for errors catches it."""


class _Output(io.FileIO):
    """A standard stream. When it fails, `needed` ends the command; otherwise the output is lost."""

    def __init__(self, descriptor: int, *, needed: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._needed = needed
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write a part at least; the buffer above writes the rest."""
        try:
            while (written := super().write(data)) is None:  # another process has made it non-blocking
                select.select([], [self.fileno()], [])
        except OSError as error:
            self.failure = error
            _to_nowhere(self.fileno())  # the rest of the buffers must not fail once more, at the very end
            if self._needed:
                raise _Ended from error
            return memoryview(data).nbytes
        return written


def command(module: str) -> int:
    """Call `main` of a module with the command line, and return the exit code. For `entry` alone."""
    _take_interrupts(_end_now)
    output = _open_streams()
    if not keeps_assertions():
        return WITHOUT_ASSERTIONS
    main = importlib.import_module(module).main
    try:
        _take_interrupts(signal.default_int_handler)
        code = _code_of(main, sys.argv[1:])
        sys.stdout.flush()
    except BaseException as error:
        if output.failure is None and not _is_interrupt(error):
            raise
        code = INTERRUPTED
    finally:
        _take_interrupts(_end_now)
    return code if output.failure is None else _code_of_failure(output.failure)


def keeps_assertions() -> bool:
    """Whether this Python checks assertions. If not, standard error says so, and nothing may be started."""
    if not __debug__:
        sys.stderr.write(
            "refused: this Python leaves assertions out (-O or PYTHONOPTIMIZE); with them off, a broken invariant would"
            " lose payments in silence\n"
        )
    return __debug__


def _code_of(main: Callable[[list[str]], int], arguments: list[str]) -> int:
    """The code that `main` returns, or exits with, as argparse does."""
    try:
        return main(arguments)
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)


def _code_of_failure(error: OSError) -> int:
    if isinstance(error, ConnectionError):
        return OUTPUT_GONE
    sys.stderr.write(f"standard output: {error.strerror}\n")
    return OUTPUT_FAILED


def _is_interrupt(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(KeyboardInterrupt)[1] is None
    return isinstance(error, KeyboardInterrupt)


def _end_now(_number: int, _frame: object) -> None:
    os._exit(INTERRUPTED)


def _take_interrupts(handler: Callable[[int, FrameType | None], object]) -> None:
    """Call this at Ctrl-C; not when our parent process had it ignored, as shells do behind `&`."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def _open_streams() -> _Output:
    """Replace Python's streams by those that the top of the file describes; returns that of standard output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            _to_nowhere(descriptor)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it is kept, and no path
    output = _Output(1, needed=True)
    sys.stdout = _text(output, sys.stdout)
    sys.stderr = _text(_Output(2, needed=False), sys.stderr, line_buffering=True)
    sys.excepthook = _say_bug
    return output


def _text(raw: _Output, before: TextIO | None, *, line_buffering: bool = False) -> TextIO:
    """A text stream as Python made it, on our raw one. `before`: None where the stream was closed."""
    at_once = isinstance(before, io.TextIOWrapper) and before.write_through
    by_line = line_buffering or (isinstance(before, io.TextIOWrapper) and before.line_buffering)
    return _Text(
        io.BufferedWriter(raw),
        encoding=before.encoding if before is not None else "utf-8",
        errors=_ERRORS,
        line_buffering=by_line or at_once,
    )


def _to_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    os.set_inheritable(descriptor, True)
