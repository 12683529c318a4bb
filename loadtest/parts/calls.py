"""HTTP calls over keep-alive connections, to loopback or to places elsewhere: thousands a second, each with a deadline.

A connection carries one call at a time; there are as many as are needed at once, up to a limit, and calls beyond it
wait for the next that is free. A call ends with a response or without one (`responses`), and is never made twice but in
one case: the other end closed a connection that it had kept, before any byte of a response. What to do then is the
caller's matter.
"""

import ssl
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import trio

from loadtest.parts.responses import Reading

CONNECTIONS_MAX = 512
"""To one port."""
CONNECT_WITHIN_S = 2.0
RESPONSE_BYTES_MAX = 1 << 20

Open = Callable[[int], Any]
"""Dials a port: an async function that returns a stream or raises OSError."""


class Call:
    """One request, and what came of it."""

    __slots__ = ("again", "body", "context", "deadline_s", "done", "request", "retry_after", "status")

    def __init__(self, request: bytes, deadline_s: float, done: Callable[["Call"], None], context: Any) -> None:
        self.request = request
        self.deadline_s = deadline_s
        """On trio's clock: without a whole response by then it ends with status 0."""
        self.done = done
        self.context = context
        """The caller's."""
        self.status = 0
        """0: no response."""
        self.body = b""
        self.retry_after = b""
        self.again = False


class Lane:
    """Calls to one port."""

    def __init__(self, port: int, dial: Open, nursery: trio.Nursery, connections_max: int = CONNECTIONS_MAX) -> None:
        self.port = port
        self.connections = 0
        self._dial = dial
        self._nursery = nursery
        self._connections_max = connections_max
        self._opening = 0
        self._waiting: deque[Call] = deque()
        self._idle: list[trio.Event] = []
        """A stack, so that what is not needed any more is not used any more, and closed by the other end."""

    def call(self, call: Call) -> None:
        """Make this call as soon as a connection is free. Its `done` is called once, from another task."""
        self._waiting.append(call)
        self._offer()

    def _offer(self) -> None:
        """Have somebody take what waits."""
        if self._idle:
            self._idle.pop().set()
        elif self.connections < self._connections_max and self._opening < len(self._waiting):
            self.connections += 1
            self._opening += 1
            self._nursery.start_soon(self._connection)

    async def _connection(self) -> None:
        stream = None
        try:
            with trio.move_on_after(CONNECT_WITHIN_S):
                stream = await self._dial(self.port)
        except OSError:
            pass
        self._opening -= 1
        try:
            if stream is None:
                # nobody listens: one call is over for each connection that cannot be had
                if self._waiting:
                    self._over(self._waiting.popleft())
            else:
                await _Connection(self, stream).run()
        finally:
            self.connections -= 1
            if stream is not None:
                await trio.aclose_forcefully(stream)
            if self._waiting and self.connections == 0:
                self.call(self._waiting.popleft())

    async def next(self) -> Call:
        """The next call that still has time."""
        while True:
            while not self._waiting:
                woken = trio.Event()
                self._idle.append(woken)
                try:
                    await woken.wait()
                except trio.Cancelled:
                    if woken.is_set():
                        self._offer()  # this connection is over
                    else:
                        self._idle.remove(woken)
                    raise
            call = self._waiting.popleft()
            if call.deadline_s > trio.current_time():
                return call
            self._over(call)

    def put_back(self, call: Call) -> None:
        """The connection was closed before the call was made."""
        call.again = True
        self.call(call)

    def _over(self, call: Call) -> None:
        call.done(call)


class _Connection:
    """One connection, and the call that it makes. It always reads: what comes while no call is made answers none."""

    def __init__(self, lane: Lane, stream: trio.abc.Stream) -> None:
        self._lane = lane
        self._stream = stream
        self._reading: Reading | None = None
        self._heard = trio.Event()
        self._served = 0
        self._ended = False
        self._waiting = trio.CancelScope()

    async def run(self) -> None:
        """Make one call after the other until the connection ends, or one gets no response."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            with self._waiting:
                while not self._ended:
                    call = await self._lane.next()
                    if self._waiting.cancel_called:
                        self._lane.call(call)  # nothing of it was sent
                    elif not await self._make(call):
                        break
            nursery.cancel_scope.cancel()

    async def _make(self, call: Call) -> bool:
        """Make this call; False: the connection is over."""
        reading = self._reading = Reading(RESPONSE_BYTES_MAX)
        self._heard = trio.Event()
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError), trio.move_on_at(call.deadline_s):
            await self._stream.send_all(call.request)
            await self._heard.wait()
        self._reading = None
        if reading.complete:
            self._served += 1
            call.status, call.body, call.retry_after = reading.status, reading.body, reading.retry_after
        elif not reading.came_bytes and self._served and not call.again and trio.current_time() < call.deadline_s:
            self._lane.put_back(call)
            return False
        call.done(call)
        return reading.keep

    async def _read(self) -> None:
        """Read for as long as the connection lives."""
        chunk = b"-"
        while chunk:
            try:
                chunk = bytes(await self._stream.receive_some(65536))
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                chunk = b""
            reading = self._reading
            if reading is None or reading.over:
                break
            if chunk:
                reading.feed(chunk)
            else:
                reading.close()
            if reading.over or not chunk:
                self._heard.set()
        self._ended = True
        if self._reading is None:
            self._waiting.cancel()


async def dial(port: int) -> trio.SocketStream:
    """A connection to a port on loopback. Raises OSError."""
    return await trio.open_tcp_stream("127.0.0.1", port)


Place = tuple[str, int]
"""Host and port."""


def dial_at(places: Mapping[int, Place], tls: ssl.SSLContext | None = None) -> Open:
    """Dials by number: the place that has it, or else that port on loopback; with TLS where there is a context."""

    async def dial_place(number: int) -> trio.abc.Stream:
        host, port = places.get(number, ("127.0.0.1", number))
        stream = await trio.open_tcp_stream(host, port)
        if tls is None:
            return stream
        return trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)

    return dial_place
