"""A processor whose name leads elsewhere now, over real sockets on loopback: it is found again within few questions."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from gateway.network import turns
from gateway.processor.client import Client
from loadtest.processor.server import MockProcessor
from tests.fakes.processor import Asking, Peer, Processor, settings, until

NAME = "processor.example"
OLD, NEW = "127.0.0.1", "127.0.0.2"
CONNECTIONS = 16


class Names:
    """What the machine's resolver says of the processor's name."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self._real = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *given: Any, **more: Any) -> Any:
        """As `socket.getaddrinfo`."""
        if host not in {NAME, NAME.encode()}:
            return self._real(host, port, *given, **more)
        if more.get("flags", given[3] if len(given) > 3 else 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [entry for address in self.addresses for entry in self._real(address, port, type=socket.SOCK_STREAM)]


class World:
    """Two hosts at one port, and a client that knows them by one name."""

    def __init__(self, asking: Asking, old: MockProcessor, new: MockProcessor, names: Names) -> None:
        self.asking = asking
        self.old = old
        self.new = new
        self.names = names

    def over(self) -> int:
        """Questions that have come to an end."""
        return sum(count for outcome, count in self.asking.counts.items() if outcome != "again")

    async def ask(self, *numbers: int, within_s: float = 5.0) -> int:
        """Ask, and wait until all are over; returns how many were stood in for."""
        answers, over = len(self.asking.answers), self.over()
        self.asking.ask(*numbers, within_s=within_s)
        await until(lambda: self.over() - over >= len(numbers))
        return len(numbers) - (len(self.asking.answers) - answers)


async def nobody(_peer: Peer) -> None:
    """Nobody dials the scripted processor here."""
    raise AssertionError


@asynccontextmanager
async def two(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> AsyncIterator[World]:
    """Both hosts, and the name."""
    names = Names(*addresses)
    monkeypatch.setattr(socket, "getaddrinfo", names)
    old, new = MockProcessor("fast"), MockProcessor("fast")
    async with trio.open_nursery() as nursery:
        port = await nursery.start(old.run, OLD)
        await nursery.start(new.run, NEW, port)
        given = settings(f"http://{NAME}:{port}", connections_max=CONNECTIONS, late_answer_s=0.5)
        client = Client(given, luck=lambda: 1.0)
        asking = Asking(client, Processor(nursery, nobody))
        await nursery.start(client.run, asking.take)
        yield World(asking, old, new, names)
        nursery.cancel_scope.cancel()


async def test_a_processor_that_moved_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old host says 503 and keeps its connections. No payment is stood in for, and the old host is asked no more
    once that is known.
    """
    async with two(monkeypatch, OLD) as world:
        old = world.old
        old.set_mode("slow:0.05")
        assert await world.ask(*range(100)) == 0
        assert world.asking.client.statistics()["connections"] == CONNECTIONS
        world.names.addresses = (NEW,)
        old.set_mode("status:503")
        asked = old.counts["asked"]
        assert await world.ask(*range(100, 135)) == 0
        assert old.counts["asked"] - asked <= 2 * CONNECTIONS, "what was under way then"
        asked = old.counts["asked"]
        assert await world.ask(*range(200, 235)) == 0
        assert old.counts["asked"] == asked
        assert world.new.counts["answered"] == 70


@pytest.mark.parametrize("old_host", ["silent", "half", "away"])
async def test_a_moved_processor_whose_old_host_does_something_else(
    old_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked on the connections that stand may be lost, when the old host is silent with all that waits behind
    it; then the new host is asked, and no other.
    """
    async with two(monkeypatch, OLD) as world:
        world.old.set_mode("slow:0.05")
        await world.ask(*range(40))
        world.names.addresses = (NEW,)
        world.old.set_mode(old_host)
        assert await world.ask(*range(100, 135), within_s=1.5) <= (35 if old_host == "silent" else 0)
        assert await world.ask(*range(200, 235), within_s=1.5) == 0


@pytest.mark.parametrize("first", ["silent", "status:502", "status:503", "status:504", "half"])
async def test_an_address_that_accepts_does_not_hide_the_next(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name has both addresses from the start; the first one accepts connections, and that is all."""
    async with two(monkeypatch, OLD, NEW) as world:
        world.old.set_mode(first)
        assert await world.ask(1, within_s=1.5) <= 1
        assert await world.ask(*range(100, 135), within_s=1.5) == 0
        assert world.new.counts["answered"] >= 35


async def test_notices_find_a_processor_that_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one that its old host does not take shows that it has moved; the next one is taken."""
    monkeypatch.setattr(turns, "AGAIN_S", 0.0)  # a forwarder pauses for longer than this
    async with two(monkeypatch, OLD) as world:
        tell = world.asking.client.tell
        notice = b'{"id":"a/%d","kind":"ORPHANED","FPID":"F"}'
        assert (await tell("a/1", notice % 1)).acknowledged
        world.names.addresses = (NEW,)
        world.old.set_mode("status:503")
        assert (await tell("a/2", notice % 2)).status == 503
        assert (await tell("a/2", notice % 2)).acknowledged
        assert world.new.counts["noticed"] == 1
