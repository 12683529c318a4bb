"""Where calls go that do not go to loopback: to a place by its number, and only to whom we know."""

import ssl
from functools import partial
from typing import Any

import pytest
import trio
import trustme

from loadtest import calls


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
