"""One connection: this goes in, that comes out, and this is how it ended."""

from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from gateway.http.connection import HEAD_BYTES_MAX, Connection, End, Response
from gateway.http.pipe import StreamPipe
from tests.fuzz.http import Played

LIMIT = 1000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Play:
    """A link, the server's end of it, and what came of it."""

    responses: list[tuple[Response, bool]] = field(default_factory=list)
    end: End | None = None


async def play(*chunks: bytes | None, asked: bool = True) -> Play:
    """Ask once (unless not), send these chunks, each read by the link before the next; None hangs up."""
    theirs, ours = trio.testing.memory_stream_pair()
    played = Play()

    def responded(_: Connection, response: Response, keep: bool) -> None:  # noqa: FBT001 - `connection.Responded`
        played.responses.append((response, keep))

    link = Connection(StreamPipe(ours), LIMIT, responded)

    async def run() -> None:
        played.end = await link.run()

    async with trio.open_nursery() as nursery:
        if asked:
            link.send(b"GET / HTTP/1.1\r\n\r\n")
        nursery.start_soon(run)
        for chunk in chunks:
            await trio.testing.wait_all_tasks_blocked()
            if chunk is None:
                await theirs.send_eof()
            else:
                try:
                    await theirs.send_all(chunk)
                except trio.BrokenResourceError:
                    break  # the link has had enough already
        await trio.testing.wait_all_tasks_blocked()
        link.scope.cancel()
    return played


async def test_a_response() -> None:
    """A response comes whole, and the link may be asked again."""
    played = await play(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy")
    assert played.responses == [(Response(503, b"busy", b"7"), True)]
    assert played.end is None


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_a_response_in_pieces(size: int) -> None:
    """However the bytes are cut, the response is the same."""
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    played = await play(*(whole[at : at + size] for at in range(0, len(whole), size)))
    assert played.responses == [(Response(200, b"abcde", b""), True)]
    assert played.end is None


async def test_an_interim_response_says_nothing() -> None:
    """1xx is passed over."""
    played = await play(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    assert played.responses == [(Response(200, b"{}", b""), True)]


async def test_the_server_says_it_will_close() -> None:
    """After `Connection: close` the link must not be asked again, and closes."""
    played = await play(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
    assert played.responses == [(Response(200, b"{}", b""), False)]
    assert played.end is End.CLOSED


async def test_a_response_as_long_as_the_connection() -> None:
    """A server of the old kind, which states no length, is understood when it hangs up."""
    played = await play(b"HTTP/1.0 200 OK\r\n\r\n{", b"}", None)
    assert played.responses == [(Response(200, b"{}", b""), False)]
    assert played.end is End.CLOSED


@pytest.mark.parametrize(
    ("chunks", "end"),
    [
        ([None], End.CLOSED),
        ([b"HTTP/1.1 200", None], End.CUT),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", None], End.CUT),
        ([OK[:-1], None], End.CUT),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", None], End.CUT),
        ([b"ICY 200 OK\r\n\r\n"], End.MALFORMED),
        ([b"\x16\x03\x01\x02\x00"], End.MALFORMED),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"], End.MALFORMED),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"], End.MALFORMED),
        ([b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"], End.MALFORMED),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b" " * (LIMIT + HEAD_BYTES_MAX)], End.HUGE),
        ([b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * HEAD_BYTES_MAX], End.HUGE),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" * 2000], End.HUGE),
    ],
)
async def test_how_it_ends_without_a_response(chunks: list[bytes | None], end: End) -> None:
    """What is no response is none, and the link says why it ended."""
    played = await play(*chunks)
    assert played.responses == []
    assert played.end is end


async def test_bytes_that_nobody_asked_for() -> None:
    """A server that speaks unasked is not listened to."""
    played = await play(OK, asked=False)
    assert played.responses == []
    assert played.end is End.UNASKED


@pytest.mark.parametrize(
    "more",
    [OK, OK[:10], b"junk", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nxyz"],
)
async def test_more_than_was_asked_for(more: bytes) -> None:
    """What follows a response in the same breath is dropped with the connection; the response counts."""
    played = await play(OK + more)
    assert played.responses == [(Response(200, b"{}", b""), False)]
    assert played.end is End.UNASKED


async def test_an_idle_connection_closed_by_the_server_is_noticed() -> None:
    """A link that asked nothing ends when the server hangs up, not at the next question."""
    played = await play(None, asked=False)
    assert played.end is End.CLOSED


async def test_the_next_question_may_be_asked_from_within_the_answer() -> None:
    """A link that may be kept is free already when its response is handed over."""
    theirs, ours = trio.testing.memory_stream_pair()
    got: list[bytes] = []

    def responded(link: Connection, response: Response, keep: bool) -> None:  # noqa: FBT001 - `connection.Responded`
        got.append(response.body)
        assert keep
        assert not link.busy
        if len(got) < 3:
            link.send(b"GET /%d HTTP/1.1\r\n\r\n" % len(got))

    link = Connection(StreamPipe(ours), LIMIT, responded)
    link.send(b"GET /0 HTTP/1.1\r\n\r\n")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        for number in range(3):
            assert await theirs.receive_some() == b"GET /%d HTTP/1.1\r\n\r\n" % number
            await theirs.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert got == [b"0", b"1", b"2"]


class Lingering(Played):
    """A pipe that takes its time to end."""

    def __init__(self, chunks: list[bytes]) -> None:
        super().__init__(chunks)
        self.let_go = trio.Event()

    async def pump(self) -> None:
        """Nothing waits, and ending does."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await self.let_go.wait()


@pytest.mark.parametrize(("chunks", "end"), [([b"\r\n"], End.UNASKED), ([], End.CLOSED)])
async def test_a_link_that_is_ending_sends_nothing(chunks: list[bytes], end: End, nursery: trio.Nursery) -> None:
    """Nobody would read what comes: who asks then hears how it ended, and nothing was sent."""
    pipe = Lingering(chunks)
    link = Connection(pipe, LIMIT, lambda *_: None)
    nursery.start_soon(link.run)
    await trio.testing.wait_all_tasks_blocked()
    assert not pipe.closed
    assert link.send(b"GET / HTTP/1.1\r\n\r\n") is end
    assert pipe.written == b""
    pipe.let_go.set()


async def test_a_link_that_we_closed_sends_nothing() -> None:
    """Also before its end has come."""
    pipe = Played([])
    link = Connection(pipe, LIMIT, lambda *_: None)
    link.scope.cancel()
    assert link.send(b"GET / HTTP/1.1\r\n\r\n") is End.CLOSED
    assert pipe.written == b""
    await link.run()
    assert pipe.closed
