"""The door keeps to HTTP/1.1: requests in pieces, in chunks, one behind another, and what is no request."""

import json

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.http.visitor import HEAD_BYTES_MAX
from tests.fakes.door import BODY, door, get, head, post
from tests.processor.door_cases import PENDING, is_problem


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", 400), (b"ICY\r\n\r\n", 400), (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400), (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (head() + b"Content-Length: x\r\n\r\n", 400), (head() + b"Content-Length: -1\r\n\r\n", 400),
        (head() + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n", 400),
        (head() + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
        (head() + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (head() + b"Transfer-Encoding: gzip\r\n\r\n", 400), (head() + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        (head() + b"Content-Length: 16385\r\n\r\n", 413),
        (head() + b"Transfer-Encoding: chunked\r\n\r\n1000\r\n" + b"x" * 4096 + b"\r\n4000\r\n" + b"x" * 16384, 413),
        (head() + b"Expect: a miracle\r\nContent-Length: 2\r\n\r\n", 417),
        (head() + b"X: " + b"y" * HEAD_BYTES_MAX, 431), (head() + b"X: y\r\n" * 2000, 431),
        (head("GET", "/" + "x" * HEAD_BYTES_MAX) + b"\r\n", 431),
        (head("GET", "/" + "x" * HEAD_BYTES_MAX), 431),
        (head() + b"X: y\r\n" * 2000 + b"\r\n", 431),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1 << 20, 1000])
async def test_what_is_no_http_of_ours(autojump_clock: MockClock, data: bytes, status: int, size: int) -> None:
    """A problem says so and the connection is closed, however the bytes were cut; a request before it is answered."""
    async with door() as world:
        client = world.client()
        await client.send(post())
        data += b"x" * 65536 if status == 431 and not data.endswith(b"\r\n\r\n") else b""
        for at in range(0, len(data), size):
            try:
                await client.send(data[at : at + size])
            except trio.BrokenResourceError:
                break
        assert (await client.response()).status == 202
        response = await client.response()
        assert is_problem(response, status)
        assert response.headers["connection"] == "close"
        assert await client.end() == b""
        assert len(world.engine.submissions) == 1


async def test_what_is_no_request_behind_one_that_is_answered_at_once(autojump_clock: MockClock) -> None:
    """In one piece as in two: the answer, what is wrong with the rest, and the end."""
    for chunks in ([get("/") + b"5"], [get("/"), b"5"]):
        async with door() as world:
            client = world.client()
            for chunk in chunks:
                await client.send(chunk)
                await wait_all_tasks_blocked()
            assert [(await client.response()).status for _ in range(2)] == [404, 400]
            assert await client.end() == b""


async def test_behind_the_last_request_nothing_is_said(autojump_clock: MockClock) -> None:
    """Whatever follows a request that ends the connection, its response is the last."""
    for rest in (b" ", b"garbage\r\n\r\n", get("/")):
        async with door() as world:
            client = world.client()
            await client.send(get("/", "Connection: close") + rest)
            assert (await client.response()).headers["connection"] == "close"
            assert await client.end() == b""


# --- the manners of HTTP


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_a_request_in_pieces(autojump_clock: MockClock, size: int) -> None:
    """However the bytes are cut, the request is the same."""
    async with door() as world:
        client = world.client()
        data = post()
        for at in range(0, len(data), size):
            await client.send(data[at : at + size])
            await wait_all_tasks_blocked()
        assert (await client.response()).json == PENDING


async def test_a_body_in_chunks(autojump_clock: MockClock) -> None:
    """Chunked, with extensions and trailers, which say nothing."""
    body = json.dumps(BODY).encode()
    chunks = b"".join(
        b"%x;a=b\r\n%b\r\n" % (len(body[at : at + 50]), body[at : at + 50]) for at in range(0, len(body), 50)
    )
    data = (
        head()
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + chunks
        + b"0\r\nIdempotency-Key: other\r\nPrefer: wait=9\r\n\r\n"
    )
    async with door() as world:
        client = world.client()
        assert (await client.ask(data)).status == 202
        assert (await client.ask(data)).status == 202
        assert {submission.key for submission in world.engine.submissions} == {"key-1"}


async def test_what_stands_between_chunks_is_limited_too(autojump_clock: MockClock) -> None:
    """A body of one byte in a megabyte of chunks, or with trailers without end, is too long."""
    for more in (b"1;" + b"x" * 1000 + b"\r\nx\r\n", b"0\r\nX: " + b"y" * 1_000_000):
        async with door() as world:
            client = world.client()
            await client.send(head() + b"Transfer-Encoding: chunked\r\n\r\n")
            with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - until it has had enough
                for _ in range(1000):
                    await client.send(more)
                    await wait_all_tasks_blocked()
                    if world.door.statistics()["responses"]:
                        raise trio.BrokenResourceError
            assert (await client.response()).status in {413, 400}
            assert world.engine.submissions == []


async def test_expect_100_continue(autojump_clock: MockClock) -> None:
    """The client that asks before it sends its body hears that it may; one whose body is too long hears that."""
    async with door() as world:
        client = world.client()
        whole = post(BODY, "Expect: 100-continue")
        top, _, body = whole.partition(b"\r\n\r\n")
        await client.send(top + b"\r\n\r\n")
        assert (await client.response()).status == 100
        await client.send(body)
        assert (await client.response()).status == 202
        await client.send(head("POST", "/payments", "Expect: 100-continue") + b"Content-Length: 99999\r\n\r\n")
        assert (await client.response()).status == 413


async def test_http_1_0(autojump_clock: MockClock) -> None:
    """Understood, without Host, and answered once; the connection is closed."""
    async with door() as world:
        client = world.client()
        data = post(BODY, "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: gateway\r\n", b"")
        response = await client.ask(data + data)
        assert (response.status, response.headers["connection"]) == (202, "close")
        assert await client.end() == b""
        assert len(world.engine.submissions) == 1


async def test_a_client_that_wants_it_closed(autojump_clock: MockClock) -> None:
    """After `Connection: close` the response is the last."""
    async with door() as world:
        client = world.client()
        response = await client.ask(post(BODY, "Connection: close"))
        assert (response.status, response.headers["connection"]) == (202, "close")
        assert await client.end() == b""


async def test_a_client_that_would_rather_speak_http_2(autojump_clock: MockClock) -> None:
    """Java's offers it with each request: answered in HTTP/1.1, body and all, and the connection is kept."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA")
    async with door() as world:
        client = world.client()
        body = json.dumps(BODY).encode()
        chunked = head("POST", "/payments", *offer) + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        await client.send(
            post(BODY, *offer) + get("/payments/x", *offer) + chunked % (len(body), body) + post(BODY, *offer)
        )
        assert [(await client.response()).status for _ in range(4)] == [202, 404, 202, 202]
        data = post(BODY, *offer)
        for byte in data:
            await client.send(bytes([byte]))
        assert (await client.response()).status == 202
        assert len(world.engine.submissions) == 4
        assert all(submission.covered == world.engine.submissions[0].covered for submission in world.engine.submissions)
