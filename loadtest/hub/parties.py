"""The nouns of the hub: participants, their links, and the payments that a link must answer.

They know each other (a link its payments, a payment its link), so they stand together; what is done with them is
elsewhere: `switch` (links), `deliveries` (payments). Pure.
"""

import math
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Literal, NamedTuple

from msgspec import Struct

from loadtest.hub.bank import SimulatedBank
from loadtest.hub.keys import Mac
from loadtest.ledger.entries import fpid_hash
from loadtest.traffic import payments
from loadtest.traffic.judge import Heard

Group = Literal["sip", "sop", "fdp", "other", "usm"]
Ends = tuple[bytes, bytes]
"""`Heard.key` and `Heard.tail` of a right response."""
Conclude = Callable[[Heard | None, float], None]
"""Tells the sender's side what its receiver said; None: that it said nothing in time."""


class Expected(Struct, frozen=True):
    """The right answer to a mischief: a 9624 with this function code, the end of the connection, or nothing."""

    what: str
    answer: str
    """`9624/650`, `9624/690`, `closed` or `nothing`."""
    until_s: float


Sickness = Literal["silent", "deaf", "mute", "slow"]


class Sick(NamedTuple):
    """The sickness of a link that stands. All but a silent link answer echoes and carry what the hub sends."""

    how: Sickness
    """`silent`: nothing leaves the hub by it; what comes is carried out. `deaf`: payments that come get lost. `mute`:
    they are carried out and never answered. `slow`: they are answered `after_s` later."""
    after_s: float = 0.0


class Redirection(NamedTuple):
    """The new place of an account, which the sender is told in DE57 and DE58."""

    agent: str
    account: str


class Party:
    """A participant: a bank behind a gateway, or, with a `bank`, one that the hub itself plays."""

    def __init__(
        self,
        name: str,
        institution: str,
        sort_codes: tuple[str, ...],
        mac: Mac,
        own: Mac,
        *,
        groups: tuple[Group, ...] = ("sip",),
        redirections: Mapping[str, Redirection] | None = None,
        bank: SimulatedBank | None = None,
    ) -> None:
        self.name = name
        self.institution = institution
        """DE98 of what it submits, DE99 of what it receives."""
        self.sort_codes = tuple(code.encode() for code in sort_codes)
        """Prefixes: of DE95 that are routed to it, of DE42 that it may send."""
        self.mac = mac
        """The key with which the hub signs messages to it."""
        self.own = [own]
        """The keys with which it may sign, the likeliest first."""
        self.alone_from_s = math.inf
        """The time from which it should sign with the first of these alone, unless another is on trial."""
        self.before: Mac | None = None
        """The key that the first of these has replaced."""
        self.groups = groups
        self.redirections = {account.encode(): to for account, to in (redirections or {}).items()}
        """By DE35."""
        self.bank = bank
        self.member = ""
        """Its name in the book; empty where there is but one participant."""
        self.receivers: dict[str, list[Link]] = {}
        """By group: links that are signed on to receive."""
        self.turn = 0
        self.de99 = f"{len(institution):02d}{institution}".encode()
        self.de98 = f"{institution:<11}".encode()

    def group_for(self, group: str) -> str:
        """The group whose connections carry this one's messages: a small bank may have fewer than all."""
        return group if group in self.groups else self.groups[0]

    def ready(self, group: str) -> "list[Link]":
        """Links that are signed on to receive for this group."""
        return self.receivers.get(self.group_for(group), [])

    def next_link(self, group: str) -> "Link | None":
        """A link that is signed on to receive, in turn."""
        ready = self.ready(group)
        if not ready:
            return None
        self.turn += 1
        return ready[self.turn % len(ready)]


class Link:
    """One connection of a participant."""

    def __init__(self, number: int, party: Party, group: str, site: str, now_s: float, node: str = "") -> None:
        self.number = number
        self.node = node
        """The participant's process at the other end; empty where the hub cannot know."""
        self.party = party
        self.group = group
        self.site = site
        self.receive = False
        self.submit = False
        self.out: list[bytes] = []
        """Frames to be written; the shell takes them."""
        self.retired = False
        """True when nothing that we write on it can be understood any more."""
        self.closing = ""
        """The reason why the shell should close it; empty: it should not."""
        self.down = False
        self.sick: Sick | None = None
        self.waiting: dict[bytes, Delivery] = {}
        """The payments that it must answer with a 9210, by FPID."""
        self.reversing: dict[bytes, Delivery] = {}
        """The reversals that it must answer with a 9430, by FPID."""
        self.expected: list[Expected] = []
        self.heard_s = now_s
        self.echo_id = ""
        self.echo_until_s = math.inf

    @property
    def lost(self) -> bool:
        """Whether it can carry no more messages."""
        return self.down or self.retired or bool(self.closing)


class DeliveryState(IntEnum):
    """The state of a payment, as the hub sees it."""

    WAITING = 0
    REVERSING = 1
    STRANDED = 2
    DONE = 3


class Delivery:
    """One payment under way, or remembered."""

    __slots__ = (
        "attempts", "code", "conclude", "covered", "deadline_s", "ends", "expected", "fpid", "group", "id",
        "intended_s", "link", "links", "party", "replies", "reversals", "said", "sent_s", "state", "synchronous",
        "undone",
    )  # fmt: skip

    def __init__(
        self, made: payments.Made, ends: Ends, intended_s: float, party: Party, group: str, *, synchronous: bool
    ) -> None:
        self.id = made.fpid.encode()
        self.fpid = fpid_hash(made.fpid)
        self.covered = made.covered
        """The next message to send, up to DE128: the request, later its reversal."""
        self.ends = ends
        self.intended_s = intended_s
        self.party = party
        """The receiver."""
        self.group = group
        self.synchronous = synchronous
        self.sent_s = 0.0
        self.deadline_s = math.inf
        self.state = DeliveryState.WAITING
        self.link: Link | None = None
        self.links: list[int] = []
        """The links that carried its requests: a response on any other is wrong."""
        self.attempts = 0
        self.reversals: tuple[int, ...] = ()
        """The links that carried its reversals, and those that brought the responses:"""
        self.undone: tuple[int, ...] = ()
        self.replies = 0
        self.code = ""
        self.said: tuple[tuple[str, str], ...] = ()
        """The first code of each of the receiver's processes: sites share nothing, and one may have stood in."""
        self.expected: tuple[str, str] | None = None
        """For mischief: the right DE26 and DE44."""
        self.conclude: Conclude | None = None
        """For a submitted payment: the function to call, once, with the receiver's answer."""
