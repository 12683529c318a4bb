"""What counts for a response: a whole one that began after its request was sent, and nothing else; h11 is the judge."""

import socket
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import h11
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.connection import Connection
from gateway.http.exchange import End, Exchange, Response
from gateway.http.pipe import SocketPipe

LIMIT = 2000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
GONE = b"HTTP/1.1 204 No Content\r\n\r\n"
INTERIM = b"HTTP/1.1 100 -\r\n\r\n"


class Read(NamedTuple):
    """What h11 makes of the bytes that followed a request."""

    response: Response
    rest: bytes
    """What follows the response."""


def strictly(data: bytes, *, closed: bool = False) -> Read | None:
    """The first whole response by h11, which shares no line with our parser; None: there is none."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "h"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    if closed:
        connection.receive_data(b"")
    status, body, retry_after = 0, b"", b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
                retry_after = dict(event.headers).get(b"retry-after", b"")
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return Read(Response(status, body, retry_after), connection.trailing_data[0])
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


# --- what a server may write


def response(status: int, body: bytes, framing: str, last: str) -> bytes:
    """A whole response, unless it is as long as the connection."""
    if status in (204, 304):
        body = b""
    head = b"HTTP/1.%d %d -\r\n" % (framing != "old", status)
    if last:
        head += b"Connection: %b\r\n" % last.encode()
    if framing == "sized" or (status in (204, 304) and framing == "empty"):
        head += b"Content-Length: %d\r\n" % len(body)
    if framing == "chunked" and status not in (204, 304):
        pieces = [body[at : at + 3] for at in range(0, len(body), 3)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    return head + b"\r\n" + body


RESPONSES = st.builds(
    response,
    st.sampled_from((200, 200, 202, 204, 304, 400, 408, 503)),
    st.sampled_from((b"{}", b"", b'{"TxSts":"ACSP"}', b"\r\n", b"a\r\n\r\n", b"HTTP/1.1 200 -\r\n\r\n")),
    st.sampled_from(("sized", "sized", "chunked", "none", "old", "empty")),
    st.sampled_from(("", "", "close", "keep-alive")),
)
PIECES = st.one_of(
    RESPONSES,
    st.builds(lambda whole, at: whole[: at % (len(whole) + 1)], RESPONSES, st.integers(0, 200)),
    st.builds(bytes.__add__, RESPONSES, RESPONSES),
    st.builds(bytes.__add__, st.sampled_from((INTERIM, b"HTTP/1.1 103 -\r\nRetry-After: 9\r\n\r\n")), RESPONSES),
    st.sampled_from((
        b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"H", b"HTTP/1.1 ", b"{}", b"0\r\n\r\n", b"RTSP/1.0 200 OK\r\n\r\n",
        b"HTTP/2.0 200 -\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 050 -\r\n\r\n", b"Content-Length: 2\r\n\r\n",
        b"HTTP/1.1 101 -\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 204 -\r\nContent-Length: 4\r\n\r\n", b"HTTP/1.1 304 -\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 -\r\nTransfer-Encoding: gzip\r\n\r\n", b"HTTP/1.0 200 -\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 -\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    )),
    st.binary(max_size=6),
)  # fmt: skip


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Into chunks, none of them empty."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


# --- one exchange


@given(
    st.lists(PIECES, max_size=4), st.lists(st.integers(0, 400), max_size=8), st.sampled_from(("", "orderly", "broken"))
)
def test_only_a_whole_response_counts(pieces: list[bytes], places: list[int], ending: str) -> None:
    """Whatever comes, in whatever chunks, and however it ends: what counts is what h11 reads there, too, and what the
    chunks are makes no difference.
    """
    data = b"".join(pieces)
    counted = []
    for chunks in ([data] if data else [], cut(data, places), [data[at : at + 1] for at in range(len(data))]):
        exchange = Exchange(LIMIT)
        for chunk in chunks:
            exchange.feed(chunk)
            if exchange.over:
                break
        if not exchange.over and ending:
            exchange.close(orderly=ending == "orderly")
            assert exchange.over
        counted.append(exchange.response)
    assert counted == counted[:1] * 3
    if (found := counted[0]) is not None:
        read = strictly(data, closed=ending == "orderly")
        assert read is not None, "h11 reads no response there"
        assert found == read.response


@given(RESPONSES, st.lists(st.integers(0, 400), max_size=4), st.sampled_from((b"", INTERIM)))
def test_a_whole_response_counts(whole: bytes, places: list[int], interim: bytes) -> None:
    """Every well-formed response is read, and the connection kept where h11 would keep it."""
    exchange = Exchange(LIMIT)
    for chunk in cut(interim + whole, places):
        assert not exchange.over
        exchange.feed(chunk)
    if not exchange.over:
        exchange.close(orderly=True)
    read = strictly(interim + whole, closed=True)
    assert read is not None
    assert exchange.response is not None
    assert exchange.response == read.response


@pytest.mark.parametrize(
    ("chunks", "found", "keep", "end"),
    [
        # nothing at all, and what is ahead of a response
        ([], None, False, End.CLOSED),
        ([b"\r\n"], None, False, End.UNASKED),
        ([b"\r\n" + OK], None, False, End.UNASKED),
        ([b"\n"], None, False, End.UNASKED),
        # what is behind it
        ([OK + b"\r\n"], (200, b"{}"), False, End.UNASKED),
        ([OK + b"\r"], (200, b"{}"), False, End.UNASKED),
        ([OK + OK], (200, b"{}"), False, End.UNASKED),
        ([GONE + b"\r\n"], (204, b""), False, End.UNASKED),
        ([GONE + GONE], (204, b""), False, End.UNASKED),
        ([b"HTTP/1.1 204 -\r\nContent-Length: 2\r\n\r\n{}"], (204, b""), False, End.UNASKED),
        ([b"HTTP/1.1 304 -\r\nContent-Length: 2\r\n\r\n"], (304, b""), True, None),
        ([b"HTTP/1.1 200 -\r\nContent-Length: 2\r\n\r\n{}{"], (200, b"{}"), False, End.UNASKED),
        # interim responses, and what is none
        ([b"HTTP/1.1 100 -\r\n\r\n"], None, False, End.CUT),
        ([b"HTTP/1.1 100 -\r\n\r\n", GONE], (204, b""), True, None),
        ([b"HTTP/1.1 103 -\r\nContent-Length: 2\r\n\r\n", GONE], (204, b""), True, None),
        ([b"HTTP/1.1 101 -\r\n\r\n"], None, False, End.MALFORMED),
        ([b"HTTP/1.1 050 -\r\n\r\n"], None, False, End.MALFORMED),
        ([b"HTTP/2.0 200 -\r\nContent-Length: 0\r\n\r\n"], None, False, End.MALFORMED),
        ([b"RTSP/1.0 200 -\r\nContent-Length: 0\r\n\r\n"], None, False, End.MALFORMED),
        # as long as the connection
        ([b"HTTP/1.1 200 -\r\n\r\n{}"], (200, b"{}"), False, None),
        ([b"HTTP/1.1 200 -\r\n"], None, False, End.CUT),
        ([b"HTTP/1.1 200 -\r\nTransfer-Encoding: gzip\r\n\r\n{}"], None, False, End.MALFORMED),
        ([b"HTTP/1.1 200 -\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"], None, False, End.MALFORMED),
        ([b"HTTP/1.1 200 -\r\nContent-Length: 3\r\n\r\n{}"], None, False, End.CUT),
        ([b"HTTP/1.0 200 -\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], (200, b""), False, None),
    ],
)  # fmt: skip
def test_how_an_exchange_ends(
    chunks: list[bytes],
    found: tuple[int, bytes] | None,
    keep: bool,  # noqa: FBT001 - a table
    end: End | None,
) -> None:
    """This comes in and the connection is closed: what counts, whether it would have been kept, and why not."""
    exchange = Exchange(LIMIT)
    for chunk in chunks:
        exchange.feed(chunk)
    if not exchange.over:
        exchange.close(orderly=True)
    assert (exchange.response and exchange.response[:2], exchange.keep, exchange.end) == (found, keep, end)


def test_a_trailer_is_no_header() -> None:
    """What stands behind a body says nothing of when to come back."""
    exchange = Exchange(LIMIT)
    exchange.feed(b"HTTP/1.1 503 -\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nRetry-After: 600\r\n\r\n")
    assert exchange.response == Response(503, b"", b"")


def test_a_body_that_was_broken_off_counts_for_nothing() -> None:
    """One that states no length is whole when the server says that this was all."""
    exchange = Exchange(LIMIT)
    exchange.feed(b"HTTP/1.1 200 -\r\n\r\n{}")
    exchange.close(orderly=False)
    assert (exchange.response, exchange.end) == (None, End.CUT)


# --- one exchange after the other, over a real socket


class Server:
    """The other end of a link's socket, and what a strict reader makes of what it wrote since each request."""

    def __init__(self) -> None:
        ours, self._theirs = socket.socketpair()
        ours.setblocking(False)
        self._theirs.setblocking(False)
        self.got: list[Response] = []
        self.link = Connection(SocketPipe(ours), LIMIT, self._responded)
        self.end: End | None = None
        self.over = False
        self.since: bytes | None = None
        """What was written since the request that waits for its response; None: none does."""
        self.spoilt = False
        """Something was written that answers nothing, or the connection ended."""
        self.due: list[Response] = []
        self.closed = False

    def _responded(self, _: Connection, response: Response, keep: bool) -> None:  # noqa: FBT001 - `connection.Responded`
        self.got.append(response)
        self.spoilt |= not keep

    def ask(self) -> None:
        """As the gateway does, when nothing is asked."""
        if self.link.busy or self.over:
            return
        sent = self.link.send(b"GET / HTTP/1.1\r\n\r\n") is None
        assert not (sent and self.spoilt), "a connection was used that is worth nothing"
        self.since = b"" if sent else None

    def write(self, data: bytes) -> None:
        """Anything."""
        if self.closed or self.over or not data:
            return
        self._theirs.send(data)
        if self.since is None:
            self.spoilt = True
        else:
            self.since += data
            self._judge(closed=False)

    def hang_up(self, *, orderly: bool) -> None:
        """Having read everything, or not."""
        if self.closed or self.over:
            return
        if orderly:
            self._theirs.shutdown(socket.SHUT_WR)
            self._judge(closed=True)
        else:
            self._theirs.close()
        self.closed = self.spoilt = True

    def _judge(self, *, closed: bool) -> None:
        if self.since is not None and (read := strictly(self.since, closed=closed)) is not None:
            self.due.append(read.response)
            self.since = None
            self.spoilt |= bool(read.rest)

    async def run(self) -> None:
        """The link's life."""
        try:
            self.end = await self.link.run()
        finally:
            self.over = True

    def close(self) -> None:
        """Our end."""
        self._theirs.close()


ACTS = st.one_of(
    st.just("ask"), st.just("ask"), st.just("look"), PIECES, RESPONSES, st.sampled_from(("shut", "break")),
)  # fmt: skip


@given(st.lists(ACTS, max_size=12))
def test_nothing_of_one_exchange_counts_for_the_next(acts: list[str | bytes]) -> None:
    """Whatever a server writes before a request, behind a response and in pieces, and whenever it hangs up: each
    response that counts is what h11 reads in the bytes that came since its request, and a connection on which anything
    came unasked is not used again. The link may look at its socket in between, or not.
    """

    async def main() -> None:
        server = Server()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            for act in acts:
                if act == "ask":
                    server.ask()
                elif act == "look":
                    await trio.testing.wait_all_tasks_blocked()
                elif act in ("shut", "break"):
                    server.hang_up(orderly=act == "shut")
                elif isinstance(act, bytes):
                    server.write(act)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        server.close()
        assert server.got == server.due[: len(server.got)]

    trio.run(main)
