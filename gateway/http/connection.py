"""One keep-alive HTTP/1.1 connection to a host: a request, its response, the next request.

The connection always reads, also while nothing is asked: it notices at once when the server closes an idle connection,
and not at the next request. Sending is synchronous. The connection knows no retry, no pool and no deadline: a response
goes to `responded`, and `run` returns how the connection ended (`exchange.End`).

A response counts only when it is whole and began after its request was sent. Each request has a fresh `Exchange`.
Before it writes, the connection looks whether something lies there unread; and what comes before the request is written
whole counts for nothing. In both cases it closes, since whatever follows may answer something else. CLOSED and UNASKED
mean that nothing of a response had come (`UNTOUCHED`): a request that crossed with the server's closing is safe to send
again, since the idempotency key is the same.

HTTP/1.1 cannot show a response that left the server before our request reached it, and reached us after we had written.
Only its status may say so (`statuses.UNREAD`).
"""

from collections.abc import Callable
from math import inf
from typing import Any

import trio

from gateway.http.exchange import HEAD_BYTES_MAX, End, Exchange, Response
from gateway.http.pipe import Pipe

__all__ = ["HEAD_BYTES_MAX", "UNTOUCHED", "Connection", "End", "Responded", "Response"]

UNTOUCHED = frozenset({End.CLOSED, End.UNASKED})
"""Nothing of a response had come."""
Responded = Callable[["Connection", Response, bool], None]
"""Takes a response. The flag: the connection may be asked again, at once if wanted."""


class Connection:
    """A connection. It is `busy` from `send` until `responded` took the response, or `run` returned."""

    def __init__(self, pipe: Pipe, body_bytes_max: int, responded: Responded) -> None:
        self._pipe = pipe
        self._body_bytes_max = body_bytes_max
        self._responded = responded
        self._exchange: Exchange | None = None
        self._end: End | None = None
        self.served = 0
        """Responses so far."""
        self.context: Any = None
        """The asker's own: what it has asked."""
        self.scope = trio.CancelScope()
        """Cancel it to close the connection."""
        self.address = ""
        """Where it leads to; the dialler sets it."""
        self.until_s = inf
        """When it is too old to be asked again; the dialler sets it."""

    @property
    def busy(self) -> bool:
        """Whether a response is due."""
        return self._exchange is not None

    def send(self, request: bytes) -> End | None:
        """Send a request, never a HEAD, and only when not `busy`.

        Returns None when it was sent; else how the connection had ended, and nothing was sent.
        """
        assert self._exchange is None
        if self._end is None and self.scope.cancel_called:
            self._end = End.CLOSED
        if self._end is None and (lying := self._pipe.unread()) is not None:
            self._end = End.UNASKED if lying else End.CLOSED
            self.scope.cancel()
        if self._end is not None:
            return self._end
        self._exchange = Exchange(self._body_bytes_max)
        self._pipe.write(request)
        return None

    @property
    def end(self) -> str:
        """Why reading ended, in words fit for a log."""
        return self._pipe.end

    async def run(self) -> End | None:
        """Read until the connection is over, and close it. Returns how it ended; None: we closed it by `scope`."""
        try:
            with self.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pipe.pump)
                    self._end = await self._read()
                    nursery.cancel_scope.cancel()
        finally:
            await self._pipe.aclose()
        return self._end

    async def _read(self) -> End:
        read = self._pipe.read
        while True:
            chunk = await read()
            exchange = self._exchange
            if exchange is None:
                return End.UNASKED if chunk else End.CLOSED
            if not chunk:
                exchange.close(orderly=self._pipe.complete)
            elif self._pipe.unsent_bytes or self._pipe.lost:
                return End.UNASKED
            else:
                exchange.feed(chunk)
            if exchange.response is not None:
                self._exchange = None
                self.served += 1
                self._responded(self, exchange.response, exchange.keep)
                if not exchange.keep:
                    return exchange.end or End.CLOSED
            elif exchange.end is not None:
                return exchange.end
