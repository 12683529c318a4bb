"""Who is connected to the hub: participants, their links, what leaves by them, and the hub's one account of it all.

A participant dials the hub for each payment group and site, so the port says who it is. What is the hub's business with
it is told elsewhere: `deliveries` (it receives), `submissions` (it submits), `rekey` (its keys), `bulletins` (news).
Pure: frames collect in each link's `out`, events go to the book.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from gateway.wire.fields import FieldTable
from loadtest.hub.keys import MAC_BYTES
from loadtest.hub.parties import Link, Party, Sick
from loadtest.ledger.entries import HubEvent, HubWhat
from loadtest.traffic import iso
from loadtest.traffic.contents import Contents

Booking = Callable[[HubEvent], None]
SIGNED_BEFORE = "signed with the key before"
"""Counts messages by a key that was replaced `HubSettings.switch_within_s` ago, or longer, and is still accepted."""


class HubSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The behaviour of this hub."""

    patience_s: float = 10.0
    """Time that it waits for a receiver's response."""
    synchronous: bool = True
    """Reverse what was not answered in time: of the generated load, everything; of what is submitted, the types that
    are synchronous by the field table. Otherwise repeat it all."""
    repeats_max: int = 20
    """Repeats of a payment, or of a reversal, before it gives up."""
    echo_after_s: float = 30.0
    """Silence on a connection after which it sends an echo."""
    outstanding_max: int = 500_000
    """Payments without an outcome at once, at most. Beyond, arrivals are withheld, and submissions refused with
    9909."""
    asynchronous_answer: Literal["at-once", "after"] = "after"
    """When the sender of an asynchronous payment is answered: at once (0000 and DE27 1), or after its receiver, and
    then only when the receiver's patience ends with 0000 and DE27 1. A later refusal comes back as a scheme return."""
    settlement_date: str = "20250301"
    """DE15 of the payments that the hub passes on and answers."""
    settlement_cycle: str = "001"
    """DE29."""
    acknowledge_within_s: float = 5.0
    """Time that a participant may take to answer a management message: 9834 to news, 9814 to a key change."""
    overlap_s: float = 60.0
    """Time for which a replaced key of a participant is accepted."""
    asked_everywhere: bool = False
    """A key that a participant asks for (885) is announced on each of its connections: it has several processes."""
    switch_within_s: float = 2.0
    """How soon a participant signs with nothing but a key that is in force; what it signs later than that with the one
    before is counted."""


class Switch:
    """The links, and what every role of the hub needs: a way to send, to note and to count."""

    def __init__(
        self,
        table: FieldTable,
        framing: iso.Framing,
        parties: list[Party],
        settings: HubSettings,
        book: Booking,
        stamp: Callable[[], str],
    ) -> None:
        assert parties, "a hub has participants"
        self.table = table
        self.framing = framing
        self.parties = {party.name: party for party in parties}
        self.settings = settings
        self.book = book
        self.contents: Contents | None = getattr(book, "contents", None)
        """Computes digests of payments' content, where the book holds them."""
        self.links: dict[int, Link] = {}
        self.counts: Counter[str] = Counter()
        self.faults: deque[str] = deque(maxlen=10)
        self._stamp = stamp
        self._links_made = 0
        self._messages = 0
        self._sick: dict[tuple[str, str, str], Sick] = {}
        """Sicknesses by participant, site, and node (empty: all nodes)."""
        dialling = [party for party in parties if party.bank is None]
        if len(dialling) > 1:
            for party in dialling:
                party.member = party.name

    # --- what the table says of payment types

    def group_of(self, payment_type: str) -> str:
        """The group of connections that carry payments of this type."""
        kind = self.table.types.get(payment_type)
        return kind.group if kind is not None else "other"

    def synchronous(self, payment_type: str) -> bool:
        """Whether a payment that was submitted is reversed, rather than repeated, when its receiver is silent."""
        kind = self.table.types.get(payment_type)
        return self.settings.synchronous and kind is not None and kind.synchronous

    def must_accept(self, payment_type: str) -> bool:
        """Whether no receiver may refuse it."""
        kind = self.table.types.get(payment_type)
        return kind is not None and kind.must_accept

    # --- links

    def link_up(self, party: Party, group: str, site: str, now_s: float, node: str = "") -> Link:
        """Take a participant's connection; `node` is its process, where known."""
        self._links_made += 1
        link = self.links[self._links_made] = Link(self._links_made, party, group, site, now_s, node)
        link.sick = self._sick.get((party.name, site, node)) or self._sick.get((party.name, site, ""))
        if node:
            self.event("connected", "", now_s, link, why=node)
        return link

    def sicken(self, party: Party, site: str, node: str, sick: Sick | None) -> None:
        """Make this participant's links with a site sick, those of one node or of all, now and later; None: well."""
        self._sick.pop((party.name, site, node), None)
        if sick is not None:
            self._sick[party.name, site, node] = sick
        for link in self.links.values():
            if link.party is party and link.site == site and node in {"", link.node}:
                link.sick = sick

    def link_down(self, link: Link) -> bool:
        """Note that the connection is gone. False when that was noted before."""
        link.down = True
        if self.links.pop(link.number, None) is None:
            return False
        self.roster(link.party)
        return True

    def roster(self, party: Party) -> None:
        """Update the links by which this participant receives."""
        party.receivers = {}
        for link in self.links.values():
            if link.party is party and link.receive and not link.lost:
                party.receivers.setdefault(link.group, []).append(link)

    def links_of(self, party: Party, group: str) -> list[Link]:
        """Its links that are signed on for anything, those of this group first."""
        links = [link for link in self.links.values() if link.party is party and not link.lost]
        links = [link for link in links if link.receive or link.submit]
        return sorted(links, key=lambda link: link.group != group)

    # --- what leaves

    def transmit(self, link: Link, covered: bytes) -> None:
        """Authenticate and queue a message."""
        if link.retired or link.down or (link.sick is not None and link.sick.how == "silent"):
            return
        link.out.append(self.framing.frame(covered + link.party.mac(covered)))

    def manage(self, link: Link, mti: str, function: str, fields: iso.Fields | None = None) -> str:
        """Send a management message; returns its DE11."""
        self._messages = self._messages % 999_999 + 1
        number = f"{self._messages:06d}"
        self.transmit(link, iso.write(self.table, mti, {7: self._stamp(), 11: number, 24: function, **(fields or {})}))
        return number

    # --- what comes

    def authentic(self, party: Party, body: bytes, now_s: float) -> bool:
        """Whether DE128 is the participant's MAC over all that stands before it, by any of its keys."""
        covered, mac = body[:-MAC_BYTES], body[-MAC_BYTES:]
        own = party.own
        if own[0](covered) == mac:
            return True
        used = next((key for key in own[1:] if key(covered) == mac), None)
        if used is not None and used is party.before and now_s >= party.alone_from_s:
            self.counts[SIGNED_BEFORE] += 1
        return used is not None

    # --- the account

    def event(
        self,
        event: HubWhat,
        fpid: str,
        now_s: float,
        link: Link | None,
        *,
        intended_s: float = 0.0,
        mti: str = "",
        code: str = "",
        late: bool = False,
        why: str = "",
    ) -> None:
        """Note an event."""
        if link is None:
            self.book(HubEvent(event, fpid, now_s, intended_s, 0, "", mti, code, late, why))
        else:
            member = link.party.member
            self.book(HubEvent(event, fpid, now_s, intended_s, link.number, link.site, mti, code, late, why, member))

    def fault(self, link: Link, why: str, now_s: float, fpid: str = "") -> None:
        """Note a fault: something that the scheme forbids."""
        self.counts["faults"] += 1
        self.faults.append(why)
        self.event("fault", fpid, now_s, link, why=why)

    def mischief_judged(self, link: Link, what: str, why: str, now_s: float) -> None:
        """`why` is empty when all went right, `void` when the connection was lost before it could."""
        if why == "void":
            self.counts["mischief void"] += 1
            return
        self.counts["mischief missed" if why else "mischief answered"] += 1
        event: HubWhat = "mischief-missed" if why else "mischief-answered"
        self.event(event, "", now_s, link, why=f"{what}: {why}" if why else what)
