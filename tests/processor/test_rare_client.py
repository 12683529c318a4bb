"""A processor whose connections behave as no client expects, and a client that is gone."""

import trio
import trio.testing

from gateway.http.statuses import Told
from gateway.processor.client import Client
from tests.conftest import Logged
from tests.fakes.network import nameless
from tests.fakes.processor import Peer, Processor, answering, asking, settings

TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
"""What some servers say to a connection that idles."""


async def test_a_processor_that_speaks_unasked_loses_its_connection_and_no_payment(
    autojump_clock: trio.testing.MockClock, logged: Logged
) -> None:
    """What it says there answers nobody; the next question goes by another connection."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond()
        await peer.send(TIMEOUT)
        await trio.sleep_forever()

    async with asking(script) as world:
        world.ask(1)
        await world.answered()
        await trio.testing.wait_all_tasks_blocked()
        (line,) = logged("processor connection closed")
        assert (line["level"], line["reason"]) == ("warning", "unasked")
        world.ask(2)
        assert await world.answered(2) == [(1, "0000"), (2, "0000")]
        assert len(world.processor.dials) == 2


async def test_a_client_that_ends_while_somebody_dials_keeps_no_connection(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """The notice was not told, and whoever told it hears so."""
    processor = Processor(nursery, answering)
    dialled = trio.Event()

    async def connect(host: str, port: int) -> trio.abc.Stream:
        with trio.CancelScope(shield=True):
            stream = await processor.connect(host, port)
            dialled.set()
            await trio.sleep(1)
        return stream

    client = Client(settings(), network=nameless(connect), luck=lambda: 1.0)
    heard: list[Told] = []

    async def tell() -> None:
        heard.append(await client.tell("key", b"{}"))

    with trio.CancelScope() as life:
        async with trio.open_nursery() as running:
            await running.start(client.calls.run)
            nursery.start_soon(tell)
            await dialled.wait()
            life.cancel()
    await trio.sleep(2)
    assert heard == [Told(0, 0.0, "not running")]
    assert processor.open == 0
