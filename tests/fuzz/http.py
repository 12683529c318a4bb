"""HTTP for its targets: a pipe that plays chunks, a strict reader of what our server writes, spoilt requests."""

import random
import re
from collections.abc import Callable, Coroutine
from typing import Any

import trio
import trio.testing

from gateway.http.visitor import REASONS
from tests.fuzz.quiet import HEARD, hush

REPEAT = 0xFE
"""In a stream: say the last so many bytes again, so many times (the two bytes that follow). No HTTP holds it."""
STREAM_BYTES_MAX = 40_000
METHODS = (b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"PRI", b"DELETE")
WORDS = [
    b"GET / HTTP/1.1\r\n", b"POST /payments HTTP/1.1\r\n", b"HTTP/1.0", b"HTTP/1.1 200 OK\r\n", b"\r\n", b"\r\n\r\n",
    b"Host: g\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n",
    b"Idempotency-Key: k\r\n", b"Prefer: wait=1\r\n", b"Content-Type: application/json\r\n", b"Retry-After: 1\r\n",
    b"Content-Encoding: gzip\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b";ext=1", b" \t", b"\n", b"HTTP/2.0",
    b"\xfe\x10\xff",     b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 No Content\r\n", b"%2F", b"?", b"http://h/payments",
    b"PRI * HTTP/2.0",     b"PATCH", b"HEAD ", b"CONNECT h:1 HTTP/1.1\r\n",
]  # fmt: skip


def grown(stream: bytes) -> bytes:
    """Do what `REPEAT` says: a small input can be a long stream."""
    out, at = bytearray(), 0
    while at < len(stream) and len(out) < STREAM_BYTES_MAX:
        if stream[at] == REPEAT and at + 2 < len(stream):
            size, times = stream[at + 1], stream[at + 2]
            out += (out[-size:] if size else b"") * min(times, STREAM_BYTES_MAX // (size or 1))
            at += 3
        else:
            out.append(stream[at])
            at += 1
    return bytes(out[:STREAM_BYTES_MAX])


class Played:
    """A pipe whose other end sends these chunks, then hangs up, and always reads."""

    unsent_bytes = 0
    lost = False

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = list(reversed(chunks))
        self.read_chunks = 0
        self.end = ""
        self.complete = False
        self.written = b""
        self.finished = False
        self.closed = False

    def write(self, data: bytes) -> None:
        """Keep it."""
        assert not self.finished, "something is written behind the end"
        self.written += data

    def finish(self) -> None:
        """The end of what is written."""
        self.finished = True

    async def read(self) -> bytes:
        """The next chunk."""
        await trio.lowlevel.checkpoint()
        if self._chunks:
            self.read_chunks += 1
            return self._chunks.pop()
        self.end, self.complete = "closed", True
        return b""

    def unread(self) -> bytes | None:
        """What this end sent before it was asked: nothing, a chunk comes when it is read."""
        return None

    async def pump(self) -> None:
        """Nothing waits."""
        await trio.sleep_forever()

    async def aclose(self) -> None:
        """It was dropped."""
        self.closed = True


def play(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on a clock that jumps; an error in the log is a finding."""
    hush()

    async def bounded() -> None:
        with trio.fail_after(100_000):
            await main()

    trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0))
    assert not HEARD.errors, HEARD.errors[0]


_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ([A-Za-z ]+)\r\n")
_HEADER = re.compile(rb"([A-Za-z-]+): ([!-~][ -~]*)\r\n")


def responses(written: bytes, heads: Callable[[int], bool]) -> list[tuple[int, dict[bytes, bytes], bytes]]:
    """What our server wrote, read strictly; interim responses are left out. `heads`: which answer a HEAD."""
    found: list[tuple[int, dict[bytes, bytes], bytes]] = []
    at = 0
    while at < len(written):
        assert not found or b"Connection" not in found[-1][1], "a response behind the last one"
        top = _STATUS.match(written, at)
        assert top is not None, "no status line"
        at, headers = top.end(), dict[bytes, bytes]()
        while line := _HEADER.match(written, at):
            assert line[1] not in headers, "a header comes twice"
            headers[line[1]] = line[2]
            at = line.end()
        assert written.startswith(b"\r\n", at), "a head does not end"
        at += 2
        status = int(top[1])
        if status == 100:
            assert not headers
            continue
        assert REASONS[status] == top[2]
        size = int(headers[b"Content-Length"]) if not heads(len(found)) else 0
        body = written[at : at + size]
        assert len(body) == size, "a body is cut off"
        at += size
        found.append((status, headers, body))
    return found


def spoil(stream: bytes, luck: random.Random) -> bytes:
    """Change the lines of a head, put one in, say it twice."""
    lines = stream.split(b"\r\n")
    for _ in range(luck.choice((1, 1, 2, 3))):
        at = luck.randrange(len(lines))
        what = luck.randrange(6)
        if what == 0 and len(lines) > 1:
            del lines[at]
        elif what == 1:
            lines.insert(at, luck.choice(WORDS).strip(b"\r\n"))
        elif what == 2:
            lines.insert(luck.randrange(len(lines)), lines[at])
        elif what == 3:
            lines[at] = luck.choice(METHODS) + lines[at][lines[at].find(b" ") :]
        elif what == 4:
            cut = luck.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:cut] + luck.choice(WORDS) + lines[at][cut:]
        else:
            lines[at] = lines[at] + bytes([REPEAT, luck.randrange(1, 200), luck.randrange(256)])
    return b"\r\n".join(lines)
