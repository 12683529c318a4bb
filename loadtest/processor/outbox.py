"""What a mock processor has promised itself to submit, in a file, so that a `kill -9` makes it forget nothing.

A real processor has this in its database: a payment is in it, under its key, before the first attempt to submit it, and
until its outcome is known; after a crash every payment that is there is submitted again, under the same key. Lines of
JSON; what is over may stand in the file for a time, and is then submitted once more, which does no harm.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

COMPACT_BYTES = 32 << 20
"""Bytes beyond which the file is written again, without finished payments."""

_encode = msgspec.json.Encoder().encode


class OutboxLine(Struct, omit_defaults=True):
    """A line: a payment to be submitted, or one that is `over`, or where to submit."""

    fpid: str = ""
    key: str = ""
    body: str = ""
    """The JSON that is submitted."""
    group: str = ""
    wait_s: float = 0.0
    over: bool = False
    targets: dict[str, list[int]] = {}
    """Payment group → ports; the last such line counts."""


class Outbox:
    """The payments without an outcome, in memory and, where a path is given, in a file."""

    def __init__(self, path: Path | None = None) -> None:
        """Raises OSError."""
        self.targets: dict[str, list[int]] = {}
        self._path = path
        self._kept: dict[str, OutboxLine] = {}
        self._file: IO[bytes] | None = None
        self._lines: list[bytes] = []
        self._bytes = 0
        if path is not None:
            self._read(path)
            self._write_anew()

    def __iter__(self) -> Iterator[OutboxLine]:
        """The payments, the oldest first."""
        return iter(list(self._kept.values()))

    def _read(self, path: Path) -> None:
        decode = msgspec.json.Decoder(OutboxLine).decode
        if not path.exists():
            return
        for line in path.read_bytes().split(b"\n")[:-1]:  # what has no end was being written by who was killed
            kept = decode(line)
            if kept.targets:
                self.targets = kept.targets
            elif kept.over:
                self._kept.pop(kept.fpid, None)
            else:
                self._kept[kept.fpid] = kept

    def aim(self, targets: dict[str, list[int]]) -> None:
        """Note the ports to which payments are submitted from now on."""
        if targets != self.targets:
            self.targets = targets
            self._add(OutboxLine(targets=targets))

    def put(self, kept: OutboxLine) -> None:
        """Note a payment about to be submitted for the first time. Call `flush` before it leaves."""
        if self._path is not None:
            self._kept[kept.fpid] = kept
            self._add(kept)

    def over(self, fpid: str) -> None:
        """Note that its outcome is known, or that it was given up."""
        if self._kept.pop(fpid, None) is not None:
            self._add(OutboxLine(fpid, over=True))

    def _add(self, kept: OutboxLine) -> None:
        if self._path is not None:
            self._lines.append(_encode(kept) + b"\n")

    def flush(self) -> None:
        """Hand the waiting lines to the operating system, which keeps them when this process is killed."""
        if self._lines and self._file is not None:
            written = b"".join(self._lines)
            self._lines.clear()
            self._file.write(written)
            self._bytes += len(written)
            if self._bytes > COMPACT_BYTES:
                self._write_anew()

    def _write_anew(self) -> None:
        assert self._path is not None, "without a file nothing is written"
        lines = [OutboxLine(targets=self.targets), *self._kept.values()] if self.targets else [*self._kept.values()]
        text = b"".join(_encode(kept) + b"\n" for kept in lines)
        new = self._path.with_name(self._path.name + ".new")
        new.write_bytes(text)
        os.replace(new, self._path)  # noqa: PTH105 - the words of the system call that this relies on
        self.close()
        self._file = self._path.open("ab", buffering=0)
        self._bytes = 0

    def close(self) -> None:
        """Write the waiting lines and close the file."""
        if self._file is not None:
            if self._lines:
                self._file.write(b"".join(self._lines))
                self._lines.clear()
            self._file.close()
            self._file = None
