"""`fps-gateway decode`: prints messages as far as they can be read, and the exact place where they are bad.

Sensitive values are masked unless `--reveal` asks for them. A message out of step may show an account where a date
should be. So a message that cannot be read shows nothing but MTI and bitmaps, and any other shows no field that is in
error.
"""

import argparse
import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from gateway import log
from gateway.config import Wire
from gateway.errors import ConfigurationError
from gateway.exitcodes import ExitCode
from gateway.machine import console, harmless
from gateway.machine.arguments import Commands
from gateway.wire import codes, fields
from gateway.wire.codec import Codec, Part, Unparseable, fpid_of
from gateway.wire.frame import FrameError, Framer
from gateway.wire.message import PaymentRequest, PaymentResponse, ReversalRequest, ReversalResponse

ACTION_CODE = 26
"""Its words are printed beside it."""
INPUT_BYTES_MAX = 16 * 1024 * 1024
"""Largest input: it is held in memory, and nobody reads more."""

_ANY = 65535
HEADERS = {
    "none": None,
    "4": Wire(frame_bytes_max=_ANY),
    "2": Wire(header_bytes=2, frame_bytes_max=_ANY),
    "ascii4": Wire(header_format="ascii", frame_bytes_max=_ANY),
    "ascii2": Wire(header_bytes=2, header_format="ascii", frame_bytes_max=_ANY),
    "4i": Wire(header_inclusive=True, frame_bytes_max=_ANY),
    "2i": Wire(header_bytes=2, header_inclusive=True, frame_bytes_max=_ANY),
    "ascii4i": Wire(header_format="ascii", header_inclusive=True, frame_bytes_max=_ANY),
    "ascii2i": Wire(header_bytes=2, header_format="ascii", header_inclusive=True, frame_bytes_max=_ANY),
}
"""Length headers by name, in the order in which they are tried."""

_START = re.compile(rb"9[0-9]{3}[0-9A-F]{32}")
"""What a message begins with: MTI and bitmaps."""
_HEX_TEXT = re.compile(rb"[0-9A-Fa-f\s]*\Z")
_NEXT_LINE = re.compile(rb"\r?\n(?=9[0-9]{3}[0-9A-F]{32})")

_DESCRIPTION = """\
Print every field of the messages in a file or on standard input: number, byte, width, name and value.
Sensitive values are masked. A bad message is printed as far as it can be read, and then the place where it is bad.

The input may be raw bytes or hex text, with or without length headers; the command finds out which. Where it is wrong,
use --input and --header. In hex text, spaces and line breaks do not count; a new message begins at a line that looks
like the beginning of one, and after a whole message or an empty line."""

_EPILOG = """\
headers: 2 or 4 binary bytes; ascii2 or ascii4 are decimal digits; with i, the length includes the header.

exit codes:
  0  every message is good
  1  a message is bad
  2  the command line or the input makes no sense

examples:
  fps-gateway decode capture.bin
  fps-gateway decode --header 2 --reveal capture.bin
  echo '39 38 30 34 ...' | fps-gateway decode -"""


class FoundMessage(NamedTuple):
    """One message of the input, or the bytes that stand in place of one."""

    offset: int
    """Of its first byte, without header, in the input (in what the hex text says)."""
    body: bytes
    broken: str = ""
    """Why this is no whole frame; empty when it is."""


def add_parser(subparsers: Commands) -> None:
    """Mount the command."""
    parser = subparsers.add_parser(
        "decode",
        help="print the fields of messages, and where they are bad",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="the file to read, or - for standard input")
    parser.add_argument(
        "--header", choices=["auto", *HEADERS], default="auto", help="the length header (default: %(default)s)"
    )
    parser.add_argument(
        "--input", choices=["auto", "raw", "hex"], default="auto", help="the form of the input (default: %(default)s)"
    )
    parser.add_argument("--reveal", action="store_true", help="print sensitive values in clear")
    parser.add_argument("--table", metavar="FILE", default="", help="a field table that replaces the built-in one")
    parser.add_argument(
        "--codes", metavar="FILE", default="", help="a table of action codes that replaces the built-in one"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Decode and print; return the exit code."""
    try:
        codec = Codec(fields.load(args.table), codes.load(args.codes))
        found = list(find(_read(args.file), args.header, args.input, codec))
    except ConfigurationError as error:
        return _usage("\n".join(error.mistakes))
    except OSError as error:
        return _usage(f"{args.file}: {error.strerror or error.__class__.__name__}")
    except ValueError as error:
        return _usage(f"{args.file}: {error}")
    printer = MessagePrinter(sys.stdout, codec, reveal=args.reveal, colours=console.has_colours(sys.stdout))
    good = [printer.message(number, len(found), item) for number, item in enumerate(found, 1)]
    return 0 if all(good) else 1


def _usage(text: str) -> int:
    sys.stderr.write(f"fps-gateway decode: {harmless.line(text)}\n")
    return ExitCode.USAGE


def _read(name: str) -> bytes:
    if name == "-":
        data = sys.stdin.buffer.read(INPUT_BYTES_MAX + 1)
        if data is None:  # it is non-blocking, and nothing is there
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    else:
        with Path(name).open("rb") as file:
            data = file.read(INPUT_BYTES_MAX + 1)
    if len(data) > INPUT_BYTES_MAX:
        raise ValueError(f"more than {INPUT_BYTES_MAX} bytes: cut it")
    return data


def find(data: bytes, header: str, form: str, codec: Codec) -> Iterator[FoundMessage]:
    """Find the messages in the input. Raises `ValueError` when there are none or the hex text is none."""
    if not data.strip():
        raise ValueError("there is nothing in it")
    if form == "auto":
        form = "hex" if _HEX_TEXT.match(data) and not _begins(data, header) else "raw"
    if form == "raw":
        yield from _split(data, 0, header)
        return
    if not _HEX_TEXT.match(data):
        raise ValueError("not hex text")
    offset = 0
    for chunk in _from_hex(data, header, codec):
        yield from _split(chunk, offset, header)
        offset += len(chunk)


def _begins(data: bytes, header: str) -> bool:
    """Whether a message begins here, behind a header that may be."""
    names = HEADERS if header == "auto" else [header]
    return any(_START.match(data, _width(name)) for name in names)


def _width(name: str) -> int:
    settings = HEADERS[name]
    return settings.header_bytes if settings else 0


def _from_hex(data: bytes, header: str, codec: Codec) -> list[bytes]:
    """Turn lines of hex digits into chunks, each of one or more whole messages as far as can be told."""
    chunks: list[bytes] = []
    lines: list[bytes] = []
    waiting = 0
    for line in [*data.splitlines(), b""]:
        more = b"".join(line.split())
        if lines and (
            not more
            or _begins(_unhex(more), header)
            # a longer one is no message: looking again with each line would take for ever
            or (waiting <= 2 * Wire().frame_bytes_max and _whole(_unhex(b"".join(lines)), header, codec))
        ):
            chunks.append(_unhex(b"".join(lines), strict=True))
            lines, waiting = [], 0
        if more:
            lines.append(more)
            waiting += len(more)
    return chunks


def _unhex(digits: bytes, *, strict: bool = False) -> bytes:
    """Two digits to a byte; half a byte at the end is left out, or with `strict` raises `ValueError`."""
    if len(digits) % 2 and strict:
        raise ValueError("hex text with an odd number of digits")
    return bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))


def _whole(data: bytes, header: str, codec: Codec) -> bool:
    """Whether a message or frame ends exactly here."""
    items = list(_split(data, 0, header))
    if not items or items[-1].broken:
        return False
    if _detect(data, header) != "none":
        return True
    try:
        codec.decode(items[-1].body)
    except Unparseable:
        return False
    return True


def _detect(data: bytes, header: str) -> str:
    """Name the header: the one behind which a message begins, best when its lengths end where the input does."""
    if header != "auto":
        return header
    if _START.match(data):
        return "none"
    ranks = {}
    for name, settings in HEADERS.items():
        if settings is not None:
            framer = Framer(settings)
            try:
                complete = bool(framer.feed(data, 0.0)) and framer.error is None
            except FrameError:
                complete = False
            ends = complete and not framer.unfinished
            begins = bool(_START.match(data, settings.header_bytes))
            ranks[name] = (begins and ends, ends, begins and complete, begins)
    best = max(ranks, key=lambda name: ranks[name])
    return best if any(ranks[best]) else "none"


def _split(data: bytes, offset: int, header: str) -> Iterator[FoundMessage]:
    name = _detect(data, header)
    settings = HEADERS[name]
    if settings is None:
        # a line break between messages or behind the last is no part of them: every message ends with hex digits
        at = 0
        for body in _NEXT_LINE.split(data):
            at = data.index(body, at)
            yield FoundMessage(offset + at, body.removesuffix(b"\n").removesuffix(b"\r"))
            at += len(body)
        return
    framer, at, error = Framer(settings), 0, None
    frames = []
    try:
        frames = framer.feed(data, 0.0)
        error = framer.error
    except FrameError as caught:
        error = caught
    for _, body in frames:
        at += settings.header_bytes
        yield FoundMessage(offset + at, body)
        at += len(body)
    if error is not None:
        yield FoundMessage(offset + at, data[at:], str(error))
    elif framer.unfinished:
        yield FoundMessage(
            offset + at + settings.header_bytes, data[at + settings.header_bytes :], "the input ends in a frame"
        )


class MessagePrinter:
    """Writes messages to a terminal or a file."""

    def __init__(self, out: TextIO, codec: Codec, *, reveal: bool, colours: bool) -> None:
        self._out = out
        self._codec = codec
        self._reveal = reveal
        self._colours = colours

    def message(self, number: int, count: int, found: FoundMessage) -> bool:
        """Print one and return whether it is good."""
        body = found.body
        parts = self._codec.explain(body)
        readable = not any(part.fatal for part in parts)
        faults = [part for part in parts if part.fault]
        good = not faults and not found.broken
        what = f"{parts[0].value} {parts[0].title}" if not parts[0].fault else "of no known type"
        verdict = self._paint("good", "32") if good else self._paint("bad", "1;31")
        title = self._paint(f"message {number} of {count}", "1")
        self._line(f"{title}: {what}, {len(body)} bytes at {found.offset}{self._fpid(body)}, {verdict}")
        if found.broken:
            self._line(self._paint(f"  {found.broken}", "31"))
            if not _START.match(body):
                # what lies behind a header that cannot be right is no message
                self._dump(body, 0, shown=0)
                self._line("")
                return False
        self._line(self._paint(f"{'DE':>5} {'byte':>5} {'width':>5} {'name':24} value", "2"))
        for part in parts:
            if not part.fatal or part.value:
                self._field(part, readable=readable)
        for part in faults:
            self._fault(body, part, shown=36 if len(parts) > 1 and not (parts[0].fault or parts[1].fault) else 0)
        self._line("")
        return good

    def _fault(self, body: bytes, part: Part, shown: int) -> None:
        where = {0: "MTI", 1: "bitmaps"}.get(part.field, f"DE{part.field} {part.name}".rstrip())
        if part.width == 0 and not part.fatal:
            self._line(self._paint(f"  {where}: {part.fault}", "31"))  # it lies nowhere: it is missing
        else:
            self._line(self._paint(f"  {where} at byte {part.fault_position}: {part.fault}", "31"))
            self._dump(body, part.fault_position, shown)

    def _fpid(self, body: bytes) -> str:
        """Name the payment as the log does."""
        try:
            message = self._codec.decode(body)
        except Unparseable:
            return ""
        if isinstance(message, PaymentRequest | PaymentResponse | ReversalRequest | ReversalResponse):
            fpid = fpid_of(message)
            return f", FPID hash {log.fpid_hash(fpid)}" if fpid else ""
        return ""

    def _field(self, part: Part, *, readable: bool, tag: bool = False) -> None:
        plain = not part.fault and (not part.sensitive and readable if tag or part.field > 1 else True)
        shown = self._reveal or plain
        value = harmless.shown(part.value) if shown else self._mask(part.value)
        number = f"{part.field:03}" if tag else f"{part.field}" if part.field > 1 else ""
        name = part.name or "(not in the field table)"
        mark = self._paint("!", "1;31") if part.fault else " "
        indent = "  " if tag else ""
        says = self._codec.action_codes.says(part.value) if part.field == ACTION_CODE and not tag else ""
        if says:
            value = f"{value}  {self._paint(says, '2')}"
        self._line(f"{mark}{number:>4} {part.position:5} {part.width:5} {indent}{name:{24 - len(indent)}} {value}")
        for inner in part.parts:
            self._field(inner, readable=readable and not part.fault, tag=True)

    def _mask(self, value: str) -> str:
        return self._paint("*" * min(len(value), 32), "2")

    def _dump(self, body: bytes, position: int, shown: int) -> None:
        """Print the line of sixteen bytes with the position in it, and the one before, bytes from `shown` on masked."""
        line = min(position, max(len(body) - 1, 0)) // 16 * 16
        for start in range(max(line - 16, 0), line + 16, 16):
            row = range(start, min(start + 16, len(body)))
            clear = [self._reveal or at < shown for at in row]
            codes = [f"{body[at]:02x}" if seen else ".." for at, seen in zip(row, clear, strict=True)]
            signs = [_sign(body[at]) if seen else _class(body[at]) for at, seen in zip(row, clear, strict=True)]
            self._line(f"    {start:5}  {' '.join(codes):47}  {''.join(signs)}")
        here = position - line
        self._line(" " * (11 + here * 3) + self._paint("^^", "1;31"))
        if not self._reveal:
            self._line("    (masked: 9 a digit, A a letter, s a space, - another sign that is allowed, ? what is not)")

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    def _line(self, text: str) -> None:
        encoding = self._out.encoding or "ascii"
        console.coloured(self._out, text.encode(encoding, "backslashreplace").decode(encoding))


def _sign(byte: int) -> str:
    return chr(byte) if 0x20 <= byte < 0x7F else "."


def _class(byte: int) -> str:
    """The class of a character, but not the character: enough to see where a message came out of step."""
    character = bytes([byte])
    if character.isdigit():
        return "9"
    if character.isalpha():
        return "A"
    if character == b" ":
        return "s"
    return "-" if byte in fields.TEXT else "?"
