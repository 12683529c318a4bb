"""Reads a PIN from its file, or says why it cannot: before any token is asked, because each wrong try counts.

Traces of editors and shells are no part of the PIN: a byte order mark of UTF-8 before it, line ends (LF or CR LF) after
it. Blanks inside belong to it, as in a passphrase. A blank at either end may be meant or not, and so may a character
that does not show, a second line, or UTF-16: these are refused, and nothing is guessed.
"""

import codecs
import os
from pathlib import Path

PIN_BYTES_MAX = 256
"""PKCS#11 knows no limit; HSMs stop far below this. A longer file is no PIN file."""


class NoPin(Exception):
    """The file gives no PIN; says why, and nothing of its content."""


def read_pin(name: str | Path) -> str:
    """The PIN in this file; `$CREDENTIALS_DIRECTORY` is expanded. Raises `NoPin`."""
    try:
        with Path(os.path.expandvars(name)).open("rb") as file:
            raw = file.read(PIN_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise NoPin(f"the PIN file cannot be read: {type(error).__name__}") from error
    return pin_in(raw)


def pin_in(raw: bytes) -> str:
    """The PIN in the content of such a file. Raises `NoPin`."""
    if len(raw) > PIN_BYTES_MAX:
        raise NoPin("the PIN file holds no PIN: it is too long")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise NoPin("the PIN file is UTF-16: save it as UTF-8")
    try:
        pin = raw.removeprefix(codecs.BOM_UTF8).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise NoPin("the PIN file is no UTF-8") from None
    if not pin:
        raise NoPin("the PIN file holds no PIN")
    if "\n" in pin or "\r" in pin:
        raise NoPin("the PIN file holds more than one line: nothing but the PIN may stand in it")
    if pin != pin.strip():
        raise NoPin("the PIN file begins or ends with a blank: take it away, or give the token a PIN without one")
    if not pin.isprintable():
        raise NoPin("the PIN file holds a character that does not show: write it anew")
    return pin
