"""Attacker: a stranger in the network, who reaches the port for submissions and has no certificate.

Attack: opens connections and says nothing, or begins a handshake and stops, and opens the next one when one is closed.

Gain before: every place for a handshake was taken for five seconds, and whoever came next was hung up on. With 70
silent connections the processor got in once in 78 attempts, and could submit no payment.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from tests.fakes.door import Client, post
from tests.processor.test_door_sockets import Certificates, Listening, listening

CROWD = 200
ATTEMPTS = 78
NAME = "processor.bank.example"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Fresh ones."""
    return Certificates(tmp_path)


def half_a_hello(certificates: Certificates) -> bytes:
    """The first half of a ClientHello."""
    out = ssl.MemoryBIO()
    client = certificates.context(None).wrap_bio(ssl.MemoryBIO(), out, server_hostname="gateway.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = out.read()
    return hello[: len(hello) // 2]


@asynccontextmanager
async def crowd(served: Listening, says: bytes) -> AsyncIterator[None]:
    """Strangers that come again whenever they are hung up on."""

    async def stranger(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        while True:
            async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
                if says:
                    await stream.send_all(says)
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                with suppress(trio.BrokenResourceError):
                    await stream.receive_some()
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(CROWD):
            await nursery.start(stranger)
        yield
        nursery.cancel_scope.cancel()


async def submits(served: Listening, context: ssl.SSLContext) -> bool:
    """Whether the processor, on a connection of its own, gets a payment in."""
    client: Client = await served.client(context)
    try:
        return (await client.ask(post())).status == 202
    except (EOFError, trio.BrokenResourceError):
        return False
    finally:
        await trio.aclose_forcefully(client.stream)


@pytest.mark.parametrize("how", ["silent", "half a hello"])
async def test_strangers_keep_the_processor_out(certificates: Certificates, how: str) -> None:
    """Every attempt of the processor's succeeds, from the very address that the strangers come from."""
    says = b"" if how == "silent" else half_a_hello(certificates)
    context = certificates.context(certificates.client)
    async with listening(tls=certificates.settings(client_name=NAME)) as served, crowd(served, says):
        got_in = [await submits(served, context) for _ in range(ATTEMPTS)]
        assert got_in.count(True) == ATTEMPTS
