"""One connection of a client of ours: bytes to requests, and the responses in the order of their requests.

It speaks HTTP/1.1 and knows no payment. All requests of a chunk are handed over together. Each is owed a response (its
`Turn`), which may be filled in at once or later, and leaves when those before it have left. The connection always
reads, also while it owes a response: so it notices a client that goes away. Its memory for a client is bounded: a head,
a body, `REQUESTS_MAX` requests at once, and responses that the client has not read. Beyond each limit it refuses, or
stops reading.

Time is the sweeper's (`door`), which calls `look` every now and then.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Any, NamedTuple

import httptools
import trio

from gateway.http.pipe import Pipe

HEAD_BYTES_MAX = 8192
"""A longer head (request line and headers) gets 431."""
REQUESTS_MAX = 64
"""Unanswered requests on one connection, at most. No client needs to send one before the last is answered."""
UNREAD_BYTES_MAX = 65536
"""Bytes that a client may leave unread before nothing more is read from it."""
LINGER_S = 1.0
"""How long a client may take to hang up after our last response: closing at once could cost it that response."""

REASONS = {
    200: b"OK", 202: b"Accepted", 400: b"Bad Request", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 408: b"Request Timeout", 409: b"Conflict", 413: b"Content Too Large",
    415: b"Unsupported Media Type", 417: b"Expectation Failed", 422: b"Unprocessable Content",
    431: b"Request Header Fields Too Large", 500: b"Internal Server Error", 503: b"Service Unavailable",
    504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
}  # fmt: skip
"""Every status that is ever sent."""
_HEAD_TOO_LONG = f"a request's head may have {HEAD_BYTES_MAX} bytes"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Request:
    """A whole request."""

    __slots__ = (
        "accept", "body", "encoding", "expect", "host", "hosts", "keep", "keys", "media_type", "method", "origin",
        "prefer", "target",
    )  # fmt: skip

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        """As it came: path and query, or a whole URL."""
        self.keys: tuple[bytes, ...] = ()
        """Each Idempotency-Key."""
        self.media_type = b""
        self.encoding = b""
        self.prefer = b""
        self.expect = b""
        self.hosts = 0
        """How often there is a Host."""
        self.host = b""
        self.origin = False
        """It has an Origin: a web page sent it."""
        self.accept = b""
        self.body = b""
        self.keep = True
        """The connection may be used again."""


class Unreadable(NamedTuple):
    """Why no more requests can be read from this connection, and the status that says so."""

    status: int
    detail: str


NOT_HTTP = Unreadable(400, "this is not HTTP/1.1")


class Over(Enum):
    """What `look` finds to be over."""

    NO = "no"
    """Nothing."""
    LATE = "a request takes too long"
    UNREAD = "the client does not read"
    IDLE = "idle"
    FAREWELL = "the client does not hang up"


class Turn:
    """A response that is owed."""

    __slots__ = ("bare", "context", "due_s", "keep", "response", "visitor")

    def __init__(self, visitor: "Visitor", *, keep: bool, bare: bool) -> None:
        self.visitor = visitor
        self.keep = keep
        self.bare = bare
        """Without its body: the answer to a HEAD."""
        self.response: bytes | None = None
        self.due_s = inf
        """When the door decides what becomes of it, unless it was filled in."""
        self.context: Any = None
        """The door's own."""


Take = Callable[["Visitor", list[Request], Unreadable | None], None]
"""Takes the requests of a chunk, and why what follows them is unreadable."""


class _Stopped(Exception):
    """Ends the parser."""


class Visitor:
    """A connection. `run` it; `turns` are the responses that it owes, in order."""

    def __init__(self, pipe: Pipe, take: Take, body_bytes_max: int, *, named: bool = True) -> None:
        self.named = named
        """The client may submit; else it may only look."""
        self.until_s = inf
        """When it is too old for another request; the server sets it, and looks."""
        self._pipe = pipe
        self._take = take
        self._body_bytes_max = body_bytes_max
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._requests: list[Request] = []
        self._fault: Unreadable | None = None
        self._came_bytes = 0
        self._in_head = False
        self._in_body = False
        self._headers_bytes = 0
        self._promised_bytes = 0
        """The request's Content-Length."""
        self._length = b""
        self._chunked = b""
        self._upgrading = False
        self._resumed = False
        self._room = trio.Event()
        self.turns: deque[Turn] = deque()
        self.scope = trio.CancelScope()
        """Cancel it to drop the connection."""
        self.gone = False
        """The client sends no more: it has hung up, or shut down its sending half."""
        self._closing = False
        now_s = trio.current_time()
        self._begun_s = inf
        """When the request that is coming in began; inf: none is."""
        self._unread_s = inf
        """Since when the client has left bytes unread; inf: it has read all."""
        self.rested_s = now_s
        """When it last had nothing to do."""

    @property
    def end(self) -> str:
        """Why reading ended, in words fit for a log."""
        return self._pipe.end

    @property
    def owes(self) -> bool:
        """Whether a response is owed, or was not handed to the system whole."""
        return bool(self.turns or self._pipe.unsent_bytes)

    @property
    def idle(self) -> bool:
        """Whether no response is owed and no request is coming in."""
        return not self.turns and self._begun_s == inf and not self._closing

    # --- its life

    async def run(self, on_gone: Callable[["Visitor"], None]) -> None:
        """Serve until the connection is over, and close it. `on_gone`: the client sends no more."""
        try:
            with self.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pipe.pump)
                    await self._read()
                    self.gone = True
                    on_gone(self)
                    if self._pipe.end == "closed":
                        # its receiving half may still be there
                        while self.turns or self._pipe.unsent_bytes:
                            await self._wait_for_room()
                    nursery.cancel_scope.cancel()
        finally:
            await self._pipe.aclose()

    async def _read(self) -> None:
        read = self._pipe.read
        while chunk := await read():
            if self._closing:
                continue  # nobody will answer it
            self._feed(chunk)
            requests, self._requests = self._requests, []
            self._clock(bool(requests))
            if requests or self._fault is not None:
                self._closing = self._fault is not None
                self._take(self, requests, self._fault)
            while len(self.turns) >= REQUESTS_MAX or self._pipe.unsent_bytes > UNREAD_BYTES_MAX:
                await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        self._room = trio.Event()
        await self._room.wait()

    def _clock(self, finished: bool) -> None:  # noqa: FBT001 - one caller, above
        """A request's time counts from its first byte."""
        if not (self._in_head or self._in_body):
            self._begun_s = inf
        elif finished or self._begun_s == inf:
            self._begun_s = trio.current_time()

    def look(self, now_s: float, request_within_s: float, idle_s: float) -> Over:
        """What is over by now. Also resumes reading when the client has read."""
        unsent = self._pipe.unsent_bytes
        self._unread_s = min(self._unread_s, now_s) if unsent else inf
        if now_s - self._unread_s >= request_within_s:
            return Over.UNREAD
        if not unsent:
            self._room.set()
        if self._closing:
            return Over.FAREWELL if not self.turns and now_s - self.rested_s >= LINGER_S else Over.NO
        if self._begun_s < inf:
            return Over.LATE if now_s - self._begun_s >= request_within_s else Over.NO
        if not self.turns and now_s - self.rested_s >= idle_s:
            return Over.IDLE
        return Over.NO

    def retire(self) -> None:
        """Read no more: whatever the client sends behind the last request is for another connection."""
        self._closing = True

    def give_up(self, status: int, detail: str) -> Unreadable:
        """Read no more: the request that is coming in has taken too long."""
        self._closing = True
        self._fault = Unreadable(status, detail)
        return self._fault

    # --- responses

    def owe(self, *, keep: bool, bare: bool = False) -> Turn:
        """Owe the next response."""
        turn = Turn(self, keep=keep, bare=bare)
        self.turns.append(turn)
        return turn

    def respond(self, turn: Turn, status: int, media_type: bytes, body: bytes, more: bytes = b"") -> None:
        """Fill in a response (`more`: whole header lines), and send what is due. Later calls for a turn do nothing."""
        if turn.response is not None:
            return
        head = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n"
        close = b"" if turn.keep else b"Connection: close\r\n"
        turn.response = head % (status, REASONS[status], media_type, len(body), more, close)
        if not turn.bare:
            turn.response += body
        turns = self.turns
        if turns[0] is not turn:
            return
        out = b""
        while turns and (response := turns[0].response) is not None:
            out += response
            if not turns.popleft().keep:
                self._closing = True
                turns.clear()
        self._pipe.write(out)
        if not turns:
            self.rested_s = trio.current_time()
        if self._closing and not turns:
            self._pipe.finish()
        if len(turns) < REQUESTS_MAX:
            self._room.set()

    # --- requests

    def _feed(self, chunk: bytes) -> None:
        before = (self._in_head or self._in_body) and self._request
        try:
            self._parser.feed_data(chunk)
        except httptools.HttpParserUpgrade as upgrade:
            try:
                self._resume(chunk[upgrade.args[0] :])
            except httptools.HttpParserError:  # it judges the head only now
                self._fault = self._fault or NOT_HTTP
        except httptools.HttpParserError:
            self._fault = self._fault or NOT_HTTP
        # the parser hands over neither an endless header nor what stands between chunks: count them all the same
        same = (self._in_head or self._in_body) and self._request is before
        self._came_bytes = self._came_bytes + len(chunk) if same else 0
        if self._fault is None and self._in_head and self._came_bytes > HEAD_BYTES_MAX:
            self._fault = Unreadable(431, _HEAD_TOO_LONG)
        elif self._fault is None and self._came_bytes > HEAD_BYTES_MAX + 2 * self._body_bytes_max + UNREAD_BYTES_MAX:
            self._fault = Unreadable(413, f"a body may have {self._body_bytes_max} bytes")

    def _resume(self, rest: bytes) -> None:
        """Go on in HTTP/1.1 though the client offers another protocol (Java offers HTTP/2 like this).

        The parser stops behind such a head. Another one reads on, behind a head that says where the body ends.
        """
        self._upgrading = False
        if self._request.method == b"CONNECT":
            self._fault = Unreadable(405, "no tunnels here")
            return
        self._request.keep &= self._parser.should_keep_alive()  # the next parser knows nothing of this head
        self._parser = httptools.HttpRequestParser(self)
        self._resumed = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b%b\r\n" % (self._length, self._chunked))
        if rest:
            self._feed(rest)

    def _refuse(self, status: int, detail: str) -> None:
        self._fault = Unreadable(status, detail)
        raise _Stopped

    # --- what the parser calls

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        if self._resumed:
            return
        if not self._request.keep:
            self._refuse(400, "nothing comes after the last request")
        if len(self._requests) + len(self.turns) >= REQUESTS_MAX:
            self._refuse(503, f"no more than {REQUESTS_MAX} requests at once on one connection")
        self._request = Request()
        self._length = self._chunked = b""
        self._headers_bytes = self._promised_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Its target, or a part of it."""
        if not self._resumed:
            self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: C901, PLR0912 - by length first: it runs for each header
        """A header. Those behind a chunked body (trailers) say nothing."""
        self._headers_bytes += len(name) + len(value) + 4
        if not self._in_head or self._resumed:
            return
        request, length = self._request, len(name)
        if length == 4:
            if name.lower() == b"host":
                request.hosts += 1
                request.host = value
        elif length == 6:
            lower = name.lower()
            if lower == b"prefer":
                request.prefer = request.prefer + b"," + value if request.prefer else value
            elif lower == b"expect":
                request.expect = value
            elif lower == b"accept":
                request.accept = value
            elif lower == b"origin":
                request.origin = True
        elif length == 12:
            if name.lower() == b"content-type":
                request.media_type = value
        elif length == 14:
            if name.lower() == b"content-length":
                self._length = b"Content-Length: %b\r\n" % value
                # a value that is no number never gets here; whether there is a request at all, the whole head tells
                self._promised_bytes = int(value)
        elif length == 15:
            if name.lower() == b"idempotency-key":
                request.keys += (value,)
        elif length == 16:
            if name.lower() == b"content-encoding":
                request.encoding = value
        elif length == 17 and name.lower() == b"transfer-encoding":
            self._chunked = b"Transfer-Encoding: %b\r\n" % value

    def on_headers_complete(self) -> None:
        """The head is over."""
        self._in_head = False
        self._in_body = True
        if self._resumed:
            return
        request, parser = self._request, self._parser
        if self._headers_bytes + len(request.target) > HEAD_BYTES_MAX:
            self._refuse(431, _HEAD_TOO_LONG)
        if self._promised_bytes > self._body_bytes_max:
            self._refuse(413, f"a body may have {self._body_bytes_max} bytes")
        request.method = parser.get_method()
        self._upgrading = parser.should_upgrade()
        version = parser.get_http_version()
        if version != "1.1":
            if version != "1.0":
                self._refuse(505, "HTTP/1.1, or 1.0")
            request.keep = False
        elif request.hosts != 1:
            self._refuse(400, "one Host header, please")
        if request.expect and version == "1.1":
            if request.expect.lower() != b"100-continue":
                self._refuse(417, "100-continue is all that can be expected")
            if not self.turns and not self._requests:
                self._pipe.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        request = self._request
        request.body = request.body + body if request.body else body
        if len(request.body) > self._body_bytes_max:
            self._refuse(413, f"a body may have {self._body_bytes_max} bytes")

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._upgrading:
            return
        self._in_head = self._in_body = False
        request = self._request
        if not self._resumed and request.keep:
            request.keep = self._parser.should_keep_alive()
        self._resumed = False
        self._requests.append(request)
