"""One connection to the mock processor: requests come, replies leave in their order, late, cut short or never."""

from collections.abc import Callable
from typing import NamedTuple

import httptools
import trio

from loadtest.processor.book import ProcessorBook

REQUEST_BYTES_MAX = 1 << 20
"""Bytes of a request at most: no gateway sends a longer one."""


class Reply(NamedTuple):
    """A reply on a connection: bytes, after a pause; None: no reply, ever."""

    data: bytes | None
    after_s: float = 0.0
    close: bool = False
    then: Callable[[], None] | None = None
    """Called when it leaves."""
    book: bool = False
    """The book follows, in chunks."""


def response(status: int, body: bytes = b"") -> bytes:
    """An HTTP response."""
    if status == 204:
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    head = b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


NOTED = response(204)
BOOK_HEAD = b"HTTP/1.1 200 -\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
MALFORMED = (
    response(200, b'{"TxSts":"ACSP"'),
    response(200, b'{"TxSts":"ACTC","StsRsnInf":{"Rsn":{"Prtry":"0000"}}}'),
    response(200, b'{"TxSts":"ACSP","TxSts":"ACSP"}'),
    response(200, b'{"TxSts":"MAYBE"}'),
    response(200, b"[]"),
    response(200, b"\xff\xfe\x00"),
)
"""Responses that no gateway may take for an answer."""
GARBLED_REFUSALS = (
    response(200, b'{"TxSts":"RJCT"}'),
    response(200, b'{"TxSts":"RJCT","StsRsnInf":{"Rsn":{"Prtry":"1999"}}}'),
    response(200, b'{"TxSts":"RJCT","StsRsnInf":{"Rsn":{"Prtry":"9909"}}}'),
    response(200, b'{"TxSts":"RJCT","StsRsnInf":{"Rsn":{"Prtry":1114}}}'),
    response(200, b'{"TxSts":"ACSP","TxSts":"RJCT"}'),
    response(200, b'{"TxSts":"RJCT","TxSts":"ACSP"}'),
    response(200, b'[{"\\u0054xSts":"\\u0052JCT"}]'),
    response(200, b'{"TxSts":"RJCT"'),
    response(422, b'{"TxSts":"RJCT"}'),
    response(503, b'{"TxSts":"RJCT"}'),
)
"""Responses that every gateway must take for a refusal all the same."""
NO_HTTP = Reply(b"ICY 200 OK\r\n\r\n", close=True)
Take = Callable[[bytes, bytes, bytes, bytes], Reply]
"""Method, target, idempotency key and body of a request → its reply."""


class Connection:
    """Reads requests and answers them in order; replies to requests that came together leave together."""

    # the `on_` methods are what the parser calls

    def __init__(self, take: Take, book: ProcessorBook, stream: trio.abc.Stream) -> None:
        self._take = take
        self._book = book
        self._stream = stream
        self._parser = httptools.HttpRequestParser(self)
        self._replies: list[Reply] = []
        self._url = self._key = self._body = b""

    async def run(self) -> None:
        """Serve until either end closes the connection."""
        read, feed = self._stream.receive_some, self._parser.feed_data
        try:
            while chunk := await read(65536):
                feed(chunk)
                replies, self._replies = self._replies, []
                if not await self._send(replies):
                    return
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, httptools.HttpParserError):
            return

    async def _send(self, replies: list[Reply]) -> bool:
        """Send these in order; False: close the connection."""
        out = b""
        for reply in replies:
            if reply.after_s or reply.data is None:
                if out:
                    self._book.flush()
                    await self._stream.send_all(out)
                    out = b""
                await trio.sleep(reply.after_s)
            if reply.data is None:
                await self._ignore()
                return False
            if reply.then is not None:
                reply.then()
            out += reply.data
            if reply.book:
                self._book.flush()
                await self._stream.send_all(out)
                await self._send_book()
                out = b""
            if reply.close:
                break
        if out:
            self._book.flush()
            await self._stream.send_all(out)
        return not (replies and replies[-1].close)

    async def _send_book(self) -> None:
        offset = 0
        while piece := self._book.read(offset):
            offset += len(piece)
            await self._stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece))
        await self._stream.send_all(b"0\r\n\r\n")

    async def _ignore(self) -> None:
        """Never answer on this connection again: read until the other end has had enough."""
        while await self._stream.receive_some(65536):
            pass

    def on_message_begin(self) -> None:
        """Start a request."""
        self._url = self._key = self._body = b""

    def on_url(self, url: bytes) -> None:
        """Take a part of its target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if len(name) == 15 and name.lower() == b"idempotency-key":
            self._key = value

    def on_body(self, body: bytes) -> None:
        """Take a part of its body."""
        self._body = self._body + body if self._body else body
        if len(self._body) > REQUEST_BYTES_MAX:
            raise ValueError("too long a request")

    def on_message_complete(self) -> None:
        """Finish the request."""
        method = self._parser.get_method()
        self._replies.append(self._take(method, self._url, self._key, self._body))
