"""The processor's book: lines in the order in which things happened, in a file (an unnamed one unless told).

Whoever lets something leave flushes first: then what the gateway heard stands in the book, whatever kills this process.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from loadtest.ledger.entries import ProcessorEvent
from loadtest.traffic.contents import Contents

BOOK_BYTES = 1 << 16
"""Bytes of the pieces in which the book is written."""

_encode = msgspec.json.Encoder().encode


class ProcessorBook:
    """The ledger's view of a processor: `entries.ProcessorEvent`, a JSON object a line."""

    def __init__(self, path: Path | None = None) -> None:
        # closed by `close`: the book lives as long as the processor; an unnamed file is made when there is too much
        self._file: IO[bytes] | None = None
        if path is not None:
            self._file = path.open("ab+")
            _cut_torn_line(self._file)
        self._lines: list[bytes] = []
        self._bytes = 0

    contents: Contents | None = None
    """Computes digests of payments' content, for a book that holds them."""

    def asked(self, name: str, content: str = "") -> None:
        """Note a question about this payment (the hash of its FPID)."""
        said = b',"content":"%b"' % content.encode() if content else b""
        self._add(b'{"event":"asked","fpid":"%b"%b}\n' % (name.encode(), said))

    def answered(self, name: str, code: str) -> None:
        """Note an answer that is about to leave."""
        self._add(b'{"event":"answered","fpid":"%b","code":"%b"}\n' % (name.encode(), code.encode()))

    def noticed(
        self, name: str, node: str, position: int, *, acknowledged: bool, kind: str = "", code: str = "",
        content: str = "",
    ) -> None:  # fmt: skip
        """Note a notice that is about to be acknowledged or not."""
        event = ProcessorEvent("noticed", name, code, node, position, acknowledged, kind, content=content)
        self._add(_encode(event) + b"\n")

    def submitting(self, name: str, key: str, content: str = "") -> None:
        """Note a payment about to be submitted for the first time; `key` is the hash of its idempotency key."""
        said = b',"content":"%b"' % content.encode() if content else b""
        self._add(b'{"event":"submitting","fpid":"%b","key":"%b"%b}\n' % (name.encode(), key.encode(), said))

    def submitted(self, name: str, status: int, state: str = "", code: str = "", by: str = "", port: int = 0) -> None:
        """Note the response to an attempt to submit; status 0: there was none."""
        event = ProcessorEvent("submitted", name, code, status=status, state=state, by=by, port=port)
        self._add(_encode(event) + b"\n")

    def _add(self, line: bytes) -> None:
        line = b'%b,"at":%.6f}\n' % (line[:-2], time.time())  # for people: no judge reads it
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= BOOK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the waiting lines. Nobody reads an unnamed book after a kill: there they wait until there are many."""
        if self._file is not None or self._bytes >= BOOK_BYTES:
            self._write()

    def _write(self) -> None:
        if self._lines:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
            self._file.write(b"".join(self._lines))
            self._lines, self._bytes = [], 0
            self._file.flush()

    def before(self) -> Iterator[ProcessorEvent]:
        """The lines of a processor before this one."""
        if self._file is not None:
            decode = msgspec.json.Decoder(ProcessorEvent).decode
            self._file.seek(0)
            for line in self._file:
                yield decode(line)
            self._file.seek(0, 2)

    def read(self, offset: int) -> bytes:
        """A piece of the book from this offset; empty at its end."""
        self._write()
        if self._file is None:
            return b""
        self._file.seek(offset)
        piece = self._file.read(BOOK_BYTES)
        self._file.seek(0, 2)
        return piece

    def close(self) -> None:
        """Write the waiting lines and close the file."""
        self.flush()
        if self._file is not None:
            self._file.close()


def _cut_torn_line(file: IO[bytes]) -> None:
    """Cut an unfinished last line, whose writer was killed: nothing of it has left."""
    size = file.seek(0, 2)
    start = max(0, size - BOOK_BYTES)
    file.seek(start)
    tail = file.read()
    if tail and not tail.endswith(b"\n"):
        file.truncate(start + tail.rfind(b"\n") + 1)
    file.seek(0, 2)
