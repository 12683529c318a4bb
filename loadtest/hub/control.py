"""The hub's control socket, both ends: one JSON object a line each way, on loopback.

A request is `{"do": NAME, …}`; its reply has `"ok"` and what was asked for, or `"error"`.
`.venv/bin/python -m loadtest hub --help` lists the names. For curl the same object may come as the body of an HTTP
request, one for each connection.

How it ends, whatever runs at the same time:

* Whoever asks again and again does it under `Control.look_on`, and ends before the hub is told to `finish`.
* A request behind `finish` is not sent. It is `Gone`, whether the hub still runs or not.
* The hub ends when each request that it has taken has its reply (`Service.replied`).
* An asker may give up at any moment: the next one skips the reply that nobody waits for any more.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import httptools
import msgspec
import trio

from loadtest.parts.processes import WorldError

LINE_BYTES_MAX = 1 << 20
"""Bytes of a line at most."""
REPLY_WITHIN_S = 30.0
"""Time without a word from the hub after which it counts as stuck or stopped."""
FINISH_WITHIN_S = 600.0
"""`finish` has its reply when every payment has its outcome."""
LAST = "finish"
"""What tells a hub to end."""

Request = dict[str, Any]
Handler = Callable[[Request], Awaitable[Request]]


class ControlError(WorldError):
    """The other end refuses the request, or is gone."""


class Gone(ControlError):
    """The other end was told to end, or has ended."""


class _HttpRequest:
    """A request or response being read. The parser calls the `on_` methods."""

    def __init__(self) -> None:
        self.body = b""
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def _line(reply: Request) -> bytes:
    return msgspec.json.encode(reply) + b"\n"


def _response(reply: Request) -> bytes:
    body, status = _line(reply), b"200 OK" if reply["ok"] else b"400 Bad Request"
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (status, len(body)) + body


class Service:
    """The hub's end: answers requests, and knows whether a reply is still awaited."""

    def __init__(self, handler: Handler) -> None:
        """ValueError and TypeError of the handler are told to the asker."""
        self._handler = handler
        self._replying = 0
        self._replied = trio.Event()

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Answer the requests of one connection until it ends."""
        async with stream:
            try:
                rest, first = b"", True
                async for chunk in stream:
                    if first and chunk[:1].isalpha():  # an object begins with a brace, HTTP with a method
                        await self._serve_http(stream, bytes(chunk))
                        return
                    first = False
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        await self._reply(stream, line, _line)
                    if len(rest) > LINE_BYTES_MAX:
                        return
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # the asker left: the hub goes on

    async def replied(self) -> None:
        """Wait until every request has its reply, or has lost its asker."""
        while self._replying:
            await self._replied.wait()

    async def _serve_http(self, stream: trio.abc.Stream, chunk: bytes) -> None:
        """Answer one request, whatever its method and path: 200 done, 400 refused."""
        request = _HttpRequest()
        parser = httptools.HttpRequestParser(request)
        try:
            while not request.complete:
                parser.feed_data(chunk)
                if len(request.body) > LINE_BYTES_MAX:
                    return
                if not request.complete and not (chunk := bytes(await stream.receive_some(65536))):
                    return
        except httptools.HttpParserError:
            return
        await self._reply(stream, request.body, _response)

    async def _reply(self, stream: trio.abc.Stream, line: bytes, written: Callable[[Request], bytes]) -> None:
        self._replying += 1
        try:
            await stream.send_all(written(await self._answer(line)))
        finally:
            self._replying -= 1
            self._replied.set()
            self._replied = trio.Event()

    async def _answer(self, line: bytes) -> Request:
        try:
            request = msgspec.json.decode(line, type=Request)
            return {"ok": True, **await self._handler(request)}
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            return {"ok": False, "error": str(error)}


class Control:
    """A client: `await control("start", rate=100)`. One request at a time; others wait for their turn."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._rest = bytearray()
        self._turn = trio.Lock()
        self._owed = 0
        """Replies still to come to requests whose askers have given up: they come first, and are dropped."""
        self._gone = False
        self._looking: dict[trio.CancelScope, trio.Event] = {}

    async def look_on(self, look: Callable[[], Awaitable[None]]) -> None:
        """Run a task that asks again and again, at most until the other end is told to end."""
        ended = trio.Event()
        with trio.CancelScope() as scope:
            self._looking[scope] = ended
            try:
                await look()
            finally:
                del self._looking[scope]
                ended.set()

    async def _nobody_looks(self) -> None:
        looking = list(self._looking.items())
        for scope, _ in looking:
            scope.cancel()
        for _, ended in looking:
            await ended.wait()

    async def __call__(self, do: str, **arguments: Any) -> Request:
        """Ask and return the reply. Raises `ControlError`; `Gone` once the other end was told to end, or has ended.

        Cancelled, or too late, it leaves a connection that others can go on using.
        """
        if do == LAST:
            await self._nobody_looks()
        async with self._turn:
            if self._gone:
                raise Gone(f"{do}: the other end is gone")
            within_s = FINISH_WITHIN_S if do == LAST else REPLY_WITHIN_S
            with trio.move_on_after(within_s):
                line = await self._ask(do, msgspec.json.encode({"do": do, **arguments}) + b"\n")
                reply = msgspec.json.decode(line, type=Request)
                if not reply.pop("ok", False):
                    raise ControlError(f"{do}: {reply.get('error', 'refused')}")
                return reply
        raise ControlError(f"{do}: no reply within {within_s:g} s")

    async def _ask(self, do: str, request: bytes) -> bytes:
        """Send it and return its reply."""
        self._gone = True  # nothing can be asked behind half a request
        try:
            await self._stream.send_all(request)
            self._gone = do == LAST
            self._owed += 1
            while self._owed > 1:
                await self._line()
                self._owed -= 1
            line = await self._line()
        except (trio.BrokenResourceError, trio.ClosedResourceError, EOFError) as error:
            self._gone = True
            raise Gone(f"{do}: the other end is gone") from error
        self._owed -= 1
        return line

    async def _line(self) -> bytes:
        while b"\n" not in self._rest:
            chunk = await self._stream.receive_some(65536)
            if not chunk:
                raise EOFError
            self._rest += chunk
        line, _, rest = bytes(self._rest).partition(b"\n")
        self._rest = bytearray(rest)
        return line

    async def aclose(self) -> None:
        """Hang up."""
        await self._stream.aclose()


async def connect(port: int) -> Control:
    """Dial the control socket on loopback. Raises OSError."""
    return Control(await trio.open_tcp_stream("127.0.0.1", port))
