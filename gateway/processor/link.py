"""One keep-alive HTTP/1.1 connection to a processor host: one question at a time, its response, the next.

The link always reads, also while nothing is asked: a server that closes an idle connection is noticed then and not at
the next question. Asking is synchronous. It knows no retry, no pool and no deadline: what comes goes to `responded`,
and `run` returns when the connection is over, saying how.

How it may end, beside being closed by us: CLOSED, nothing was asked, or nothing of a response had come (a question on a
kept-alive connection may cross with its closing: safe to ask again, since the idempotency key is the same); CUT, in the
middle of a response; MALFORMED, not HTTP; HUGE, over the limit; UNASKED, bytes that answer nothing.
"""

from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Any, NamedTuple

import httptools
import trio

from gateway.processor.pipe import Pipe

HEAD_BYTES_MAX = 16_384
"""Added to the limit of the body for status line and headers."""


class End(Enum):
    """How a connection ended."""

    CLOSED = "closed"
    CUT = "cut"
    MALFORMED = "malformed"
    HUGE = "huge"
    UNASKED = "unasked"


class Response(NamedTuple):
    """A whole response."""

    status: int
    body: bytes
    retry_after: bytes
    """The header of that name, or empty."""


Responded = Callable[["Link", Response, bool], None]
"""Takes a response; True: the link may be asked again, at once if wanted."""


class Link:
    """A connection. `busy` from `send` until its response was handed to `responded`, or `run` returned."""

    def __init__(self, pipe: Pipe, body_bytes_max: int, responded: Responded) -> None:
        self._pipe = pipe
        self._bytes_max = body_bytes_max + HEAD_BYTES_MAX
        self._responded = responded
        self._parser = httptools.HttpResponseParser(self)
        self._came = 0
        self._body: bytes = b""
        self._retry_after = b""
        self._status = 0
        self._sized = False
        self._complete: Response | None = None
        self._keep = True
        self.busy = False
        self.served = 0
        """Responses so far."""
        self.context: Any = None
        """What is being asked: the asker's."""
        self.scope = trio.CancelScope()
        """Cancel it to close the connection."""
        self.address = ""
        """Where it leads to: whoever dialled says so, and when it is old."""
        self.until_s = inf

    def send(self, request: bytes) -> None:
        """Ask. Only when not `busy`."""
        assert not self.busy
        self.busy = True
        self._came = 0
        self._pipe.write(request)

    @property
    def end(self) -> str:
        """Why reading ended, in words fit for a log."""
        return self._pipe.end

    async def run(self) -> End | None:
        """Read until the connection is over and close it; says how it ended, None when we closed it by `scope`."""
        end: End | None = None
        try:
            with self.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pipe.pump)
                    end = await self._read()
                    nursery.cancel_scope.cancel()
        finally:
            await self._pipe.aclose()
        return end

    async def _read(self) -> End | None:
        feed, read = self._parser.feed_data, self._pipe.read
        while True:
            chunk = await read()
            if not chunk:
                return self._at_end()
            if not self.busy:
                return End.UNASKED
            self._came += len(chunk)
            if self._came > self._bytes_max:
                return End.HUGE
            fault = False
            try:
                feed(chunk)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                # what was complete before the fault counts; the connection is over either way
                fault = True
            if fault:
                self._keep = False
            if self._complete is not None:
                self._hand_over(self._complete)
                if not self._keep:
                    return End.CLOSED
            elif fault:
                return End.MALFORMED

    def _hand_over(self, response: Response) -> None:
        self._complete = None
        self.busy = False
        self.served += 1
        self._responded(self, response, self._keep)

    def _at_end(self) -> End:
        if not self.busy or not self._came:
            return End.CLOSED
        if self._status >= 200 and not self._sized:
            # a response of no stated length is as long as the connection lives; an interim one is none
            self._keep = False
            self._hand_over(Response(self._status, self._body, self._retry_after))
            return End.CLOSED
        return End.CUT

    # --- what the parser calls

    def on_message_begin(self) -> None:
        """A status line begins."""
        if self._complete is not None:
            self._keep = False  # more than was asked for: the first response counts, the connection is over
            return
        self._status = 0
        self._body = b""
        self._retry_after = b""
        self._sized = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        length = len(name)
        if length == 14:
            if name.lower() == b"content-length":
                self._sized = True
        elif length == 17:
            if name.lower() == b"transfer-encoding":
                self._sized = True
        elif length == 11 and name.lower() == b"retry-after":
            self._retry_after = value

    def on_headers_complete(self) -> None:
        """The head is over."""
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        if self._complete is None:
            self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """The response is over. Interim ones (1xx) say nothing."""
        if self._complete is None and self._status >= 200:
            self._keep = self._parser.should_keep_alive()
            self._complete = Response(self._status, self._body, self._retry_after)
