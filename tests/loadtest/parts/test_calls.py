"""Where calls go that do not go to loopback: to a place by its number, and only to whom we know."""

import ssl
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
import trustme

from loadtest.parts import calls


async def answers(stream: Any) -> None:
    """One request, one response, each to whoever has a certificate."""
    async with stream:
        try:
            await stream.receive_some(1000)
            await stream.send_all(b"HTTP/1.1 204 -\r\n\r\n")
            await stream.receive_some(1)
        except trio.BrokenResourceError:
            pass  # the client did not take our certificate


@pytest.mark.parametrize(("signed_by_ours", "status"), [(True, 204), (False, 0)])
async def test_a_call_goes_over_tls_to_a_place_whose_certificate_is_right(
    nursery: trio.Nursery,
    signed_by_ours: bool,  # noqa: FBT001 - a parameter of the test
    status: int,
) -> None:
    ours, others = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    (ours if signed_by_ours else others).issue_cert("localhost").configure_cert(context)
    ours.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    listeners = await nursery.start(partial(trio.serve_ssl_over_tcp, answers, 0, context, host="127.0.0.1"))
    client = ssl.create_default_context()
    ours.configure_trust(client)
    ours.issue_cert("processor").configure_cert(client)
    dial = calls.dial_at({1: ("localhost", listeners[0].transport_listener.socket.getsockname()[1])}, client)
    over = trio.Event()
    call = calls.Call(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", trio.current_time() + 10, lambda _: over.set(), None)
    calls.Lane(1, dial, nursery).call(call)
    await over.wait()
    assert call.status == status
    nursery.cancel_scope.cancel()


async def made(lane: calls.Lane) -> int:
    """Make a call: the status that it gets."""
    over = trio.Event()
    call = calls.Call(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", trio.current_time() + 10, lambda _: over.set(), None)
    lane.call(call)
    await over.wait()
    return call.status


@pytest.mark.parametrize(
    "unasked",
    [b"HTTP/1.1 408 -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200 -\r\n\r\n", b"\r\n", b""],
)
async def test_what_came_before_a_call_was_made_is_no_response_to_it(nursery: trio.Nursery, unasked: bytes) -> None:
    """What a server says on a connection that idles, as some do before they close it, ends it; the next call is made on
    another one, and each has the response that is its own.
    """
    connections = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        with suppress(trio.BrokenResourceError):
            await stream.receive_some(1000)
            await stream.send_all(b"HTTP/1.1 20%d -\r\nContent-Length: 0\r\n\r\n" % connections)
            if unasked:
                await stream.send_all(unasked)
            else:
                await stream.send_eof()
            await stream.receive_some(1)

    listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    lane = calls.Lane(listeners[0].socket.getsockname()[1], calls.dial, nursery)
    assert [await made(lane) for _ in range(3)] == [201, 202, 203]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 100 -\r\n\r\n", b"HTTP/1.1 200 -\r\nContent-Le"])
async def test_a_call_that_gets_no_whole_response_has_none(nursery: trio.Nursery, said: bytes) -> None:
    """Half a response, or an interim one alone, is none; and a new connection that is closed is not tried twice."""
    asked = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal asked
        asked += 1
        await stream.receive_some(1000)
        await stream.send_all(said)

    listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    assert (await made(calls.Lane(listeners[0].socket.getsockname()[1], calls.dial, nursery)), asked) == (0, 1)
    nursery.cancel_scope.cancel()
