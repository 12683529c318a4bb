"""One keep-alive HTTP/1.1 connection to a processor host: one question at a time, its response, the next.

The link always reads, also while nothing is asked: a server that closes an idle connection is noticed then and not at
the next question. Asking is synchronous. It knows no retry, no pool and no deadline: what comes goes to `responded`,
and `run` returns when the connection is over, saying how (`exchange.End`).

An exchange counts only by a whole response that began after its request was sent. Each has a fresh `Exchange`, and the
link sees to its beginning: it looks whether something lies there unread before it writes, and what comes before the
request is written whole counts for nothing. Such a connection is closed, since whatever follows on it may answer
something else. CLOSED and UNASKED mean that nothing of a response had come (`UNTOUCHED`): a question that crossed so
with the server's closing is safe to ask again, since the idempotency key is the same.

What HTTP/1.1 cannot show: a response that left the server before our request reached it, and reached us after we had
written. Only its status may say so (`statuses.UNREAD`).
"""

from collections.abc import Callable
from math import inf
from typing import Any

import trio

from gateway.http.exchange import HEAD_BYTES_MAX, End, Exchange, Response
from gateway.http.pipe import Pipe

__all__ = ["HEAD_BYTES_MAX", "UNTOUCHED", "End", "Link", "Responded", "Response"]

UNTOUCHED = frozenset({End.CLOSED, End.UNASKED})
"""Nothing of a response had come."""
Responded = Callable[["Link", Response, bool], None]
"""Takes a response; True: the link may be asked again, at once if wanted."""


class Link:
    """A connection. `busy` from `send` until its response was handed to `responded`, or `run` returned."""

    def __init__(self, pipe: Pipe, body_bytes_max: int, responded: Responded) -> None:
        self._pipe = pipe
        self._body_bytes_max = body_bytes_max
        self._responded = responded
        self._exchange: Exchange | None = None
        self._end: End | None = None
        self.served = 0
        """Responses so far."""
        self.context: Any = None
        """What is being asked: the asker's."""
        self.scope = trio.CancelScope()
        """Cancel it to close the connection."""
        self.address = ""
        """Where it leads to: whoever dialled says so, and when it is old."""
        self.until_s = inf

    @property
    def busy(self) -> bool:
        """A response is waited for."""
        return self._exchange is not None

    def send(self, request: bytes) -> End | None:
        """Ask, never with HEAD. Only when not `busy`.

        None: it was sent. Else nothing was, and this is how the connection had ended.
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
        """Read until the connection is over and close it; says how it ended, None when we closed it by `scope`."""
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
