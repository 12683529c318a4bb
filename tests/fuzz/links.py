"""Whatever a processor host writes in response to a question."""

import random

from gateway.processor.link import End, Link, Response
from tests.fuzz import http
from tests.fuzz.target import Dice, Target, pieces

BODY_BYTES_MAX = 2000


async def asked(chunks: list[bytes], times: int) -> tuple[list[Response], End | None, list[bool]]:
    """What a link makes of these, asked so many times one after the other."""
    got: list[Response] = []
    kept: list[bool] = []

    def responded(link: Link, response: Response, keep: bool) -> None:  # noqa: FBT001  as it is called
        got.append(response)
        kept.append(keep)
        if keep and len(got) < times:
            link.send(b"GET / HTTP/1.1\r\n\r\n")

    pipe = http.Played(chunks)
    link = Link(pipe, BODY_BYTES_MAX, responded)
    link.send(b"GET / HTTP/1.1\r\n\r\n")
    end = await link.run()
    assert pipe.closed
    assert len(got) <= times
    assert link.served == len(got)
    return got, end, kept


def run(data: bytes) -> None:
    """At most one response to a question, and the first is the same however the bytes were cut."""
    dice = Dice(data)
    seed, times = dice.upto(255), 1 + dice.upto(255) % 3
    stream = http.grown(dice.rest())

    async def main() -> None:
        whole, end, _ = await asked([stream] if stream else [], times)
        parts, end_of_parts, _ = await asked(pieces(stream, seed if len(stream) > 800 else seed % 3), times)
        assert end is not None
        assert end_of_parts is not None
        if len(stream) < BODY_BYTES_MAX:
            # what comes behind a response that it was not asked for ends the link, before or after it is asked again
            assert whole[:1] == parts[:1]
            assert bool(whole) or end is end_of_parts or {end, end_of_parts} <= {End.CUT, End.MALFORMED}
        for response in (*whole, *parts):
            assert 100 < response.status < 1000
            assert len(response.body) <= BODY_BYTES_MAX + 16_384
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
    ]  # fmt: skip
    return [bytes([number, number]) + stream for number, stream in enumerate(streams)]


def spoil(data: bytes, luck: random.Random) -> bytes:
    """Keep the seed."""
    return data[:2] + http.spoil(data[2:], luck)


TARGET = Target(run, samples, spoil, http.WORDS)
