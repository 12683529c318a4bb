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
from gateway.wire.message import (
    Message,
    NetworkRequest,
    NetworkResponse,
    PaymentRequest,
    ReversalRequest,
    UsmAcknowledgement,
)
from hsm import reference
from loadtest.hub.bank import SimulatedBank
from loadtest.hub.keys import Mac, mac_of, wrap
from loadtest.hub.parties import Redirection
from loadtest.hub.rekey import KeyBox
from loadtest.hub.scheme import HubSettings, Link, Party, Scheme
from loadtest.hub.sites import Hub, HubBook
from loadtest.hub.steering import Steering
from loadtest.ledger.oracle import HubEvent
from loadtest.traffic import iso

HUB_KEY, OWN_KEY = bytes(range(16)), bytes(range(16, 32))
ALPHA, BETA, SIMULATED = "600002", "700003", "400001"
"""Institutions, and how their sort codes begin: 60, 70, 40."""
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

    def __init__(self, nursery: trio.Nursery, settings: HubSettings) -> None:
        self.events: list[HubEvent] = []
        table = load()
        book = HubBook(None)
        parties = [
            Party("one", ALPHA, ("60",), HUB, OWN),
            Party("two", BETA, ("70",), HUB, OWN),
            Party("bank", SIMULATED, ("40",), HUB, OWN, bank=SimulatedBank()),
        ]
        scheme = Scheme(table, iso.Framing(), parties, settings, self.events.append)
        self.scheme = scheme
        self.hub = Hub(scheme, book, run="TEST", date="20250301")
        self.steer = Steering(self.hub)
        self._nursery = nursery
        nursery.start_soon(self.hub.drive)

    async def dial(self, site: str = "a", *, sign_on: bool = True, name: str = "one", node: str = "") -> Participant:
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.hub.serve, site, theirs, self.scheme.parties[name], "", node)
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
        yield lambda **settings: Scene(nursery, HubSettings(**settings))
        nursery.cancel_scope.cancel()


@pytest.fixture
def scene(make_scene: Callable[..., Scene]) -> Scene:
    """A synchronous hub with a patience of 10 s."""
    return make_scene()


# --- the scheme alone: no clock, no socket


def payment_request(**changed: str) -> PaymentRequest:
    """What alpha submits, to the simulated bank unless said otherwise."""
    fields: dict[str, Any] = {
        "processing_code": "100000", "amount": "00000000012345", "date_sent": "20250301", "trn": "A1",
        "creditor_account": "12345678", "debtor_agent": ALPHA, "debtor_account": "87654321", "currency": "826",
        "creditor_agent": SIMULATED, "sender": ALPHA, "debtor_name": "Zoë O'Brien", "creditor_name": "J NG",
        "mti": "9200",
    }  # fmt: skip
    return PaymentRequest(**{**fields, **changed})


class Bench:
    """A hub with two participants, alpha and beta, and a simulated bank, moved by hand."""

    def __init__(self, rule: str = "accept", **settings: Any) -> None:
        self.events: list[HubEvent] = []
        self.codec = Codec()
        self.now_s = 100.0
        self.keys = {
            (name, use): bytes([number]) * 16
            for number, (name, use) in enumerate((name, use) for name in ("alpha", "beta") for use in ("hub", "own"))
        }
        groups = settings.pop("groups", ("sip",))
        moved = {"55555555": Redirection("700009", "66666666")}
        self.parties = [
            Party("alpha", ALPHA, ("60",), self.mac("alpha", "hub"), self.mac("alpha", "own"), groups=groups),
            Party("beta", BETA, ("70",), self.mac("beta", "hub"), self.mac("beta", "own"), redirections=moved),
            Party("bank", SIMULATED, ("40",), HUB, OWN, redirections=moved, bank=SimulatedBank(rule)),
        ]
        self.transport = bytes(range(16))
        boxes = {
            name: KeyBox(
                lambda key: mac_of("aes-cmac", key),
                lambda key: wrap(self.transport, key),
                {"hub": self.keys[name, "hub"], "own": self.keys[name, "own"]},
            )
            for name in ("alpha", "beta")
        }
        self.drawn = 0
        self.scheme = Scheme(
            self.codec.table, iso.Framing(), self.parties, HubSettings(**settings), self.events.append,
            boxes=boxes, draw=self._draw,
        )  # fmt: skip
        self.ids = 0

    def _draw(self, length: int) -> bytes:
        self.drawn += 1
        return bytes([0xA0 + self.drawn]) * length

    def mac(self, name: str, use: str) -> Mac:
        return mac_of("aes-cmac", self.keys[name, use])

    # --- links

    def link(self, name: str = "alpha", *, on: bool = True, group: str = "", site: str = "a") -> Link:
        link = self.scheme.link_up(site, self.now_s, self.scheme.parties[name], group)
        if on:
            for function in ("881", "891"):
                self.manage(link, function)
            assert [message.mti for message in self.out(link)][:2] == ["9814", "9814"]
        return link

    def lose(self, link: Link) -> None:
        self.scheme.link_down(link, self.now_s)

    def manage(self, link: Link, function: str, key_data: str = "", mti: str = "9804") -> None:
        self.ids += 1
        self.say(
            link,
            NetworkRequest(
                mti=mti, transmission_time="0301120000", message_id=f"{self.ids:06d}", function_code=function,
                key_data=key_data,
            ),
        )  # fmt: skip

    # --- messages

    def say(self, link: Link, message: Message, *, key: bytes | None = None) -> None:
        self.say_bytes(link, self.codec.encode(message), key=key)

    def say_bytes(self, link: Link, covered: bytes, *, key: bytes | None = None) -> None:
        mac = reference.mac("aes-cmac", key or self.keys[link.party.name, "own"], covered)
        self.scheme.received(link, join_mac(covered, mac), self.now_s)

    def respond(self, link: Link, request: PaymentRequest | ReversalRequest, code: str, field: str = "") -> None:
        self.say_bytes(link, self.codec.respond(request, code, field))

    def confirm(self, link: Link, message: Any, code: str = "0000") -> None:
        """The 9814 to a 9804, the 9834 to a 9824."""
        kind = NetworkResponse if message.mti == "9804" else UsmAcknowledgement
        self.say(
            link,
            kind(
                mti={"9804": "9814", "9824": "9834"}[message.mti], transmission_time=message.transmission_time,
                message_id=message.message_id, function_code=message.function_code, action_code=code,
            ),
        )  # fmt: skip

    def out(self, link: Link, *, key: bytes | None = None) -> list[Any]:
        """What the hub wrote on this link since the last look; each MAC is checked."""
        messages = []
        for written in link.out:
            covered, mac = split_mac(written[4:])
            assert mac == reference.mac("aes-cmac", key or self.keys[link.party.name, "hub"], covered)
            messages.append(self.codec.decode(written[4:]))
        link.out.clear()
        return messages

    def codes(self, link: Link) -> list[str]:
        """The codes of the 9210s that the hub wrote on this link."""
        return [message.action_code for message in self.out(link) if message.mti == "9210"]

    def submit(self, link: Link, **changed: str) -> list[str]:
        """Submit a payment; the codes that come at once."""
        self.say(link, payment_request(**changed))
        return self.codes(link)

    def wait(self, seconds: float) -> None:
        """Let time pass, in ticks."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += 0.1
            self.scheme.tick(self.now_s)

    def said(self, *events: str) -> list[HubEvent]:
        return [event for event in self.events if event.event in events]


@pytest.fixture
def make_bench() -> type[Bench]:
    """`make_bench(rule, patience_s=2, …)`."""
    return Bench


@pytest.fixture
def bench() -> Bench:
    """A hub whose simulated bank accepts everything."""
    return Bench()
