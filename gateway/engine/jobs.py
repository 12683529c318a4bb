"""MACs to verify and to make, each with what happens afterwards: the work under way between wake-ups."""

from typing import NamedTuple

import trio

from gateway.engine.shells import HubLink
from gateway.payments.arrival import Arrival
from gateway.payments.departure import Departure
from gateway.payments.work import MacJob
from gateway.wire.message import Message


class Incoming(MacJob):
    """A message that came, while its MAC is verified."""

    __slots__ = ("first_byte_s", "link", "message", "tried")

    def __init__(self, key: str, covered: bytes, mac: bytes, deadline_s: float, link: HubLink, message: Message,
                 first_byte_s: float, tried: tuple[str, ...] = ()) -> None:  # fmt: skip
        super().__init__(key, covered, deadline_s=deadline_s, mac=mac)
        self.tried = tried
        """Keys that did not sign it."""
        self.link = link
        self.message = message
        self.first_byte_s = first_byte_s


class Outgoing(MacJob):
    """A reply or a management message that is to leave once its MAC is made and its record is durable."""

    __slots__ = ("authentic", "decides", "durable", "link", "owed", "payment")

    def __init__(
        self, key: str, covered: bytes, deadline_s: float, link: HubLink | None, payment: Arrival | None,
        *, decides: bool, durable: bool, owed: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(key, covered, deadline_s=deadline_s)
        self.link = link
        self.payment = payment
        self.decides = decides
        """The reply of a decision: when complete, the story sends it on every leg."""
        self.durable = durable
        self.owed = owed
        """Whether a drain waits for it. Replies are owed; the messages of a session are not."""
        self.authentic = False
        """The signer brought its MAC. Not the same as `made`, which the signer fills in before it says so."""


class Departing(MacJob):
    """A payment request of ours that is to leave once its MAC is made and its record is durable."""

    __slots__ = ("attempt", "authentic", "durable", "payment")

    def __init__(self, key: str, covered: bytes, deadline_s: float, payment: Departure) -> None:
        super().__init__(key, covered, deadline_s=deadline_s)
        self.payment = payment
        self.attempt = payment.attempt
        self.durable = False
        self.authentic = False
        self.urgent = False  # a reply that is owed goes first


class Carried(NamedTuple):
    """The context that a link gets with a request of ours: whose it is."""

    payment: Departure
    attempt: int


class Sealing(MacJob):
    """A seal under way: a MAC over the journal's chain value at a position."""

    __slots__ = ("over", "position")

    def __init__(self, key: str, chain: bytes, deadline_s: float, position: int) -> None:
        super().__init__(key, chain, deadline_s=deadline_s)
        self.position = position
        self.over = trio.Event()
        """Set when the seal is recorded, or cannot be made."""
