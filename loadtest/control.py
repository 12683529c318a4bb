"""The hub's control socket, both ends: one JSON object a line each way, on loopback.

A request is `{"do": NAME, …}`; its reply has `"ok"` and what was asked for, or `"error"`. `python -m loadtest hub
--help` lists the names. For curl the same object may come as the body of an HTTP request, one for each connection.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import httptools
import msgspec
import trio

LINE_BYTES_MAX = 1 << 20
"""A longer line is none of ours."""

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class ControlError(Exception):
    """The other end refuses, or is gone."""


async def serve(stream: trio.abc.Stream, handler: Handler) -> None:
    """Answer the requests of one connection until it ends. What the handler raises as ValueError is told."""
    async with stream:
        try:
            rest, first = b"", True
            async for chunk in stream:
                if first and chunk[:1].isalpha():  # an object begins with a brace, HTTP with a method
                    await _serve_http(stream, bytes(chunk), handler)
                    return
                first = False
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    await stream.send_all(msgspec.json.encode(await _answer(line, handler)) + b"\n")
                if len(rest) > LINE_BYTES_MAX:
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the asker left: the hub goes on


class _HttpRequest:
    """What is read of one. The `on_` methods are what the parser calls."""

    def __init__(self) -> None:
        self.body = b""
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


async def _serve_http(stream: trio.abc.Stream, chunk: bytes, handler: Handler) -> None:
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
    reply = await _answer(request.body, handler)
    body = msgspec.json.encode(reply) + b"\n"
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (
        b"200 OK" if reply["ok"] else b"400 Bad Request",
        len(body),
    )
    await stream.send_all(head + body)


async def _answer(line: bytes, handler: Handler) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(line, type=dict[str, Any])
        return {"ok": True, **await handler(request)}
    except (ValueError, TypeError, msgspec.MsgspecError) as error:
        return {"ok": False, "error": str(error)}


class Control:
    """A client: `await control("start", rate=100)`. One request at a time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._rest = bytearray()
        self._turn = trio.Lock()

    async def __call__(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Ask and return the reply. Raises `ControlError`. When cancelled, the connection must not be used again."""
        async with self._turn:
            try:
                await self._stream.send_all(msgspec.json.encode({"do": do, **arguments}) + b"\n")
                while b"\n" not in self._rest:
                    chunk = await self._stream.receive_some(65536)
                    if not chunk:
                        raise ControlError(f"{do}: the other end is gone")
                    self._rest += chunk
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ControlError(f"{do}: the other end is gone") from error
            line, _, rest = bytes(self._rest).partition(b"\n")
            self._rest = bytearray(rest)
        reply = msgspec.json.decode(line, type=dict[str, Any])
        if not reply.pop("ok", False):
            raise ControlError(f"{do}: {reply.get('error', 'refused')}")
        return reply

    async def aclose(self) -> None:
        """Hang up."""
        await self._stream.aclose()


async def connect(port: int) -> Control:
    """Dial the control socket on loopback. Raises OSError."""
    return Control(await trio.open_tcp_stream("127.0.0.1", port))
