"""What clients send to the door: any bytes, in any chunks."""

import json
import random

import trio

from gateway.payments.work import Submission
from gateway.processor.door import Door
from tests.fakes.door import BODY, READY, Engine, fresh, get, post, refuse, settings, settle
from tests.fakes.processor import CODEC
from tests.fuzz import http
from tests.fuzz.target import Dice, Target, pieces

SETTINGS = settings(body_bytes_max=1024, wait_max_s=5.0)
COMPARED_BYTES_MAX = 6000
"""In a longer stream it depends on the chunks which limit is met first."""
COMPARED_REQUESTS_MAX = 60


def play(submission: Submission) -> None:
    """An engine that does this or that, by the key."""
    what = sum(submission.key.encode()) % 8
    if what == 0:
        refuse(submission)
    elif what == 1:
        refuse(submission, "conflict", "another payment has this key")
    elif what == 2:
        pass  # not durable for ever
    else:
        settle(submission)


async def served(chunks: list[bytes]) -> tuple[bytes, Engine]:
    """What a door writes to a client that sends these, and what the engine was asked."""
    engine = Engine(play)
    door = Door(SETTINGS, engine, CODEC, "sip", lambda: READY, came_s=fresh)
    pipe = http.Played(chunks)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(door.sweep)
        await door.attend(pipe)
        nursery.cancel_scope.cancel()
    assert pipe.closed
    assert not door._visitors
    assert door.statistics()["owed"] == 0
    return pipe.written, engine


def read(written: bytes, stream: bytes) -> list[tuple[int, dict[bytes, bytes], bytes]]:
    """The responses; whoever asked with HEAD gets no bodies, and with other methods beside it we do not know which."""
    if b"HEAD" in stream:
        return []
    found = http.responses(written, lambda _: False)
    for status, headers, body in found:
        said = json.loads(body)
        assert headers[b"Content-Type"] in {b"application/json", b"application/problem+json"}
        assert (b"problem" in headers[b"Content-Type"]) is (status >= 400)
        assert status != 500, said
        assert status < 400 or said["status"] == status
    return found


def run(data: bytes) -> None:
    """Well-formed responses in their order, none behind the last, the same however the bytes were cut."""
    dice = Dice(data)
    seed, stream = dice.upto(255), http.grown(dice.rest())

    async def main() -> None:
        written, engine = await served([stream] if stream else [])
        whole = read(written, stream)
        cut = pieces(stream, seed if len(stream) > 800 else seed % 3)
        written_of_cut, engine_of_cut = await served(cut)
        parts = read(written_of_cut, stream)
        if len(stream) <= COMPARED_BYTES_MAX and len(whole) <= COMPARED_REQUESTS_MAX:
            assert [(status, body) for status, _, body in whole] == [(status, body) for status, _, body in parts]
            keys, keys_of_cut = ([one.key for one in of.submissions] for of in (engine, engine_of_cut))
            assert keys == keys_of_cut
        assert len(engine.submissions) <= stream.count(b"POST")

    http.play(main)


def samples() -> list[bytes]:
    """Submissions and looks, pipelined, chunked, upgraded, refused."""
    lines = (b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n3\r\n{}}\r\n0\r\n\r\n")
    head = post(b"").partition(b"Content-Length")[0]
    streams = [
        post(), post() + get("/payments/key-1"), get("/payments/a%20b?x=1") * 3, head + b"".join(lines),
        post(BODY, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA") + get("/payments/x"),
        post(BODY, "Prefer: wait=3", key="d"), post(b"{}", "Expect: 100-continue"), get("/") + post(key=None),
        b"GET http://g/payments/k HTTP/1.0\r\n\r\n", post(b"x" * 1030), b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nxxx",
        get("/payments/k")[:-2] + b"X: " + b"y" * 90 + b"\xfe\x50\xff" + b"\r\n\r\n", post(b'{"MsgTp":1}'),
        head + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n\xfe\x06\xff\xfe\xff\x02",
        post(BODY, "Connection: close") + get("/payments/late"), get("/payments/k", method="HEAD"),
        get("/x")[:-2] + b"\xfe\x1f\x50\r\n",
    ]  # fmt: skip
    return [bytes([number]) + stream for number, stream in enumerate(streams)]


def spoil(data: bytes, luck: random.Random) -> bytes:
    """Keep the seed."""
    return data[:1] + http.spoil(data[1:], luck)


TARGET = Target(run, samples, spoil, http.WORDS)
