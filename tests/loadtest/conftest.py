"""A scripted participant: it speaks through the gateway's own codec, so that two writers of the protocol meet."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
import trio.testing

from gateway.config import Wire
from gateway.wire.codec import Codec, join_mac, split_mac
from gateway.wire.fields import load
from gateway.wire.frame import Framer, frame
from gateway.wire.message import Message, NetworkRequest, PaymentRequest, ReversalRequest
from hsm import reference
from loadtest import iso
from loadtest.keys import mac_of
from loadtest.ledger import HubEvent
from loadtest.scheme import Party, Scheme, Settings
from loadtest.sites import Book, Hub

HUB_KEY, OWN_KEY = bytes(range(16)), bytes(range(16, 32))
HUB, OWN = mac_of("aes-cmac", HUB_KEY), mac_of("aes-cmac", OWN_KEY)


class Participant:
    """One connection to the hub, from the other side."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.codec = Codec()
        self._framer = Framer(Wire())
        self._waiting: list[bytes] = []

    async def send(self, covered: bytes, *, key: bytes = OWN_KEY) -> None:
        mac = reference.mac("aes-cmac", key, covered)
        await self.stream.send_all(frame(Wire(), join_mac(covered, mac)))

    async def body(self) -> bytes:
        """The next message, whose MAC is checked. Raises EndOfChannel when the hub hung up."""
        while not self._waiting:
            chunk = await self.stream.receive_some()
            if not chunk:
                raise trio.EndOfChannel
            self._waiting += [body for _, body in self._framer.feed(bytes(chunk), trio.current_time())]
        return self._waiting.pop(0)

    async def next(self) -> Message:
        body = await self.body()
        covered, mac = split_mac(body)
        assert mac == reference.mac("aes-cmac", HUB_KEY, covered)
        return self.codec.decode(body)

    async def payment(self) -> PaymentRequest:
        message = await self.next()
        assert isinstance(message, PaymentRequest)
        assert message.fault == 0
        return message

    async def reversal(self) -> ReversalRequest:
        message = await self.next()
        assert isinstance(message, ReversalRequest)
        assert message.fault == 0
        return message

    async def respond(self, request: Message, code: str = "0000", field: str = "") -> None:
        assert isinstance(request, (PaymentRequest, ReversalRequest))
        await self.send(self.codec.respond(request, code, field))

    async def manage(self, function: str, message_id: str = "000001") -> Message:
        """Send a 9804 and return what comes next."""
        await self.send(
            self.codec.encode(
                NetworkRequest(
                    mti="9804", transmission_time="0101120000", message_id=message_id, function_code=function
                )
            )
        )
        return await self.next()

    async def sign_on(self) -> None:
        for function in ("881", "891"):
            message: Any = await self.manage(function)
            assert (message.mti, message.function_code, message.action_code) == ("9814", function, "0000")

    async def hang_up(self) -> None:
        await self.stream.aclose()


class Scene:
    """A hub on a mock clock, and a way to dial it."""

    def __init__(self, nursery: trio.Nursery, settings: Settings) -> None:
        self.events: list[HubEvent] = []
        table = load()
        book = Book(None)
        scheme = Scheme(table, iso.Framing(), [Party("one", "600002", ("60",), HUB, OWN)], settings, self.events.append)
        self.scheme = scheme
        self.hub = Hub(scheme, book, run="TEST", date="20250301")
        self._nursery = nursery
        nursery.start_soon(self.hub.drive)

    async def dial(self, site: str = "a", *, sign_on: bool = True) -> Participant:
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.hub.serve, site, theirs)
        participant = Participant(ours)
        if sign_on:
            await participant.sign_on()
        return participant

    def said(self, *events: str) -> list[HubEvent]:
        return [event for event in self.events if event.event in events]


@pytest.fixture
async def make_scene(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Callable[..., Scene]]:
    """Make a hub: `make_scene(patience_s=2, …)`."""
    async with trio.open_nursery() as nursery:
        yield lambda **settings: Scene(nursery, Settings(**settings))
        nursery.cancel_scope.cancel()


@pytest.fixture
def scene(make_scene: Callable[..., Scene]) -> Scene:
    """A synchronous hub with a patience of 10 s."""
    return make_scene()
