"""Whatever a processor host writes in response to a question."""

import random
from typing import NamedTuple

from gateway.http.connection import HEAD_BYTES_MAX, Connection, End, Response
from tests.fuzz import http
from tests.fuzz.target import Dice, Target, pieces

BODY_BYTES_MAX = 2000


class Asked(NamedTuple):
    """What became of a link that was asked one question after the other."""

    responses: list[Response]
    read: list[int]
    """For each question, how many chunks had been read before it was asked."""
    end: End | None


async def asked(chunks: list[bytes], times: int) -> Asked:
    """What a link makes of these, asked at most so many times, each as soon as the one before has its response."""
    got: list[Response] = []
    read = [0]

    def responded(link: Connection, response: Response, keep: bool) -> None:  # noqa: FBT001  as it is called
        got.append(response)
        if keep and len(got) < times:
            read.append(pipe.read_chunks)
            assert link.send(b"GET / HTTP/1.1\r\n\r\n") is None

    pipe = http.Played(chunks)
    link = Connection(pipe, BODY_BYTES_MAX, responded)
    assert link.send(b"GET / HTTP/1.1\r\n\r\n") is None
    end = await link.run()
    assert pipe.closed
    assert len(got) <= times
    assert link.served == len(got)
    return Asked(got, read, end)


def run(data: bytes) -> None:
    """At most one response to a question; the first is the same however the bytes were cut; and each is what the bytes
    since its question would be to a link that was never asked anything else.
    """
    dice = Dice(data)
    seed, times = dice.upto(255), 1 + dice.upto(255) % 3
    stream = http.grown(dice.rest())

    async def main() -> None:
        chunks = pieces(stream, seed if len(stream) > 800 else seed % 3)
        whole = await asked([stream] if stream else [], times)
        parts = await asked(chunks, times)
        assert whole.end is not None
        assert parts.end is not None
        if len(stream) < BODY_BYTES_MAX:
            # what comes behind a response that it was not asked for ends the link, before or after it is asked again
            assert whole.responses[:1] == parts.responses[:1]
            same = {End.CUT, End.MALFORMED}
            assert bool(whole.responses) or whole.end is parts.end or {whole.end, parts.end} <= same
        for number, start in enumerate(parts.read):
            alone = await asked(chunks[start:], 1)
            assert alone.responses == parts.responses[number : number + 1], "something is left of the exchange before"
        for response in (*whole.responses, *parts.responses):
            assert 200 <= response.status < 1000
            assert len(response.body) <= BODY_BYTES_MAX + HEAD_BYTES_MAX
            assert b"\n" not in response.retry_after

    http.play(main)


def samples() -> list[bytes]:
    """Every way to say how long a response is."""
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    streams = [
        ok, ok * 3, b"HTTP/1.1 100 Continue\r\n\r\n" + ok, b"HTTP/1.0 200 OK\r\n\r\n{}",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nRetry-After: 4\r\n\r\n",
        b"HTTP/1.1 503 Later\r\nRetry-After: 3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxyz", b"HTTP/1.1 304 Same\r\n\r\n" + ok,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nxxxxxxxx\xfe\x08\xff\xfe\xff\x40", b"HTTP/1.1 99 X\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n\xfe\x19\xff\xfe\xff\x60",
        b"HTTP/1.1 204 No Content\r\n\r\n\r\n", ok + b"\r\n" + ok, b"\r\n" + ok, ok + b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n" + ok, ok + b"HTTP/1.1 200 OK\r\n\r\n",
    ]  # fmt: skip
    return [bytes([number, number]) + stream for number, stream in enumerate(streams)]


def spoil(data: bytes, luck: random.Random) -> bytes:
    """Keep the seed."""
    return data[:2] + http.spoil(data[2:], luck)


TARGET = Target(run, samples, spoil, http.WORDS)
