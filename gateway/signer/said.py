"""The output of a worker and its PKCS#11 library on standard error: read, so that no library ever waits for a reader.

The gateway does not control its content. As long as the library has seen no message it may know the token's PIN, and
nothing of a customer: the log quotes the output line by line, bounded, without the PIN. From the first batch on it may
hold the content of messages (libraries that trace their calls do), so it is counted and not shown.
"""

import hashlib
import os
from collections.abc import Callable

from gateway import log, metrics
from gateway.machine import harmless

LINES_MAX = 20
"""Lines quoted of one worker; the rest is counted."""
LINE_BYTES_MAX = 1024
"""Bytes of a line that are looked at. The log shows fewer (`log.TEXT_MAX`)."""
CHUNK_BYTES = 65536
"""Bytes read at once: all that a pipe holds."""
HIDDEN = b"[PIN]"

_logger = log.get("signer")


class Mask:
    """Finds a secret in a text without keeping it: by its length and a digest that is good for this process alone."""

    def __init__(self, secret: bytes) -> None:
        self._salt = os.urandom(16)
        self._length = len(secret)
        self._digest = self._of(secret)

    def __call__(self, text: bytes, *, cut: bool = False) -> bytes:
        """The text without the secret; `cut`: the text goes on, and its end may be the beginning of the secret."""
        at = 0
        while at + self._length <= len(text):
            if self._of(text[at : at + self._length]) == self._digest:
                text = text[:at] + HIDDEN + text[at + self._length :]
                at += len(HIDDEN)
            else:
                at += 1
        return text[: max(len(text) - self._length + 1, 0)] if cut else text

    def _of(self, text: bytes) -> bytes:
        return hashlib.blake2b(text, key=self._salt, digest_size=16).digest()


class Said:
    """The output of one worker."""

    def __init__(self, token: str, pin_of: Callable[[], bytes | None]) -> None:
        """`pin_of` gives the PIN when there is a line to quote; None: it is not known."""
        self._token = token
        self._pin_of = pin_of
        self._mask: Mask | None = None
        self._line = b""
        self._left = LINES_MAX
        self.trusted = True
        """The library has seen no message yet."""
        self._counted = metrics.SIGNER_SAID_BYTES.labels(token)

    def hush(self) -> None:
        """A message goes to the library: nothing that is fed from now on is quoted."""
        self.trusted = False

    def feed(self, chunk: bytes) -> None:
        """Take some output. Bounded, in time and in memory."""
        self._counted.inc(len(chunk))
        if not self._left:
            return
        if not self.trusted:
            self._count_only("it has been given messages")
            return
        *lines, rest = (self._line + chunk).split(b"\n")
        self._line = rest[:LINE_BYTES_MAX]
        for line in lines:
            self._quote(line[:LINE_BYTES_MAX])

    def over(self) -> None:
        """The output has ended: its last line may have no end."""
        if self.trusted:
            self._quote(self._line)
        self._line = b""

    def _quote(self, line: bytes) -> None:
        if not line.strip() or not self._left:
            return
        if self._mask is None:
            pin = self._pin_of()
            if pin is None:
                self._count_only("the PIN is not known, and may be in it")
                return
            self._mask = Mask(pin)
        text = self._mask(line, cut=len(line) == LINE_BYTES_MAX).decode(errors="replace")
        shown = harmless.line(text.strip())
        self._left -= 1
        _logger.warning("a token's library says", token=self._token, detail=shown)
        if not self._left:
            self._count_only("too many lines")

    def _count_only(self, reason: str) -> None:
        self._left, self._line = 0, b""
        _logger.warning("what a token's library says is counted and not shown", token=self._token, reason=reason)
