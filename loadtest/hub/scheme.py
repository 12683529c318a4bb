"""The hub's side of it, without I/O: who may say what on a link, and which part of the hub it concerns.

    deliveries    payments to a receiver: patience, reversal, repeats; `responses`, what it says to them
    submissions   payments from a sender: judgement and routing; `answers`, what it is told, and `injections`, how that
                  is spoilt on demand
    rekey         keys that change in band
    bulletins     news of the scheme, and `standing`, what it does to payments

Bodies and the time come in by calls, frames collect in each link's `out`, events go to the book. The shell (`hub`, and
the simulation) carries bytes and reads clocks; nothing here waits.
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping

from gateway.wire import meanings
from gateway.wire.fields import FieldTable
from gateway.wire.meanings import Meanings
from loadtest.hub.bulletins import Bulletins
from loadtest.hub.deliveries import Deliveries
from loadtest.hub.parties import Delivery, DeliveryState, Ends, Expected, Link, Party
from loadtest.hub.rekey import KeyBox, Rekey
from loadtest.hub.responses import Responses
from loadtest.hub.standing import Standing
from loadtest.hub.submissions import Submissions
from loadtest.hub.switch import Booking, HubSettings, Switch
from loadtest.ledger.entries import HubEvent
from loadtest.traffic import iso, payments
from loadtest.traffic.judge import Judge

__all__ = ["Booking", "Delivery", "DeliveryState", "Expected", "HubSettings", "Link", "Party", "Scheme"]

SIGN_ON = {"881", "891"}
SIGNS = {"881", "882", "891", "892"}


class Scheme:
    """The hub."""

    def __init__(
        self,
        table: FieldTable,
        framing: iso.Framing,
        parties: list[Party],
        settings: HubSettings,
        book: Booking,
        stamp: Callable[[], str] = lambda: "0101000000",
        *,
        boxes: Mapping[str, KeyBox] | None = None,
        draw: Callable[[int], bytes] = os.urandom,
        usm_table: Meanings | None = None,
    ) -> None:
        """`stamp` says the time as DE7 does, MMDDhhmmss; `boxes` and `draw` are for changing keys (`rekey`)."""
        self.table = table
        self.framing = framing
        self.settings = settings
        self.switch = Switch(table, framing, parties, settings, book, stamp)
        self.standing = Standing(usm_table or meanings.load())
        self.deliveries = Deliveries(self.switch)
        self.responses = Responses(self.switch, self.deliveries)
        self.rekey = Rekey(self.switch, boxes or {}, draw)
        self.submissions = Submissions(self.switch, self.deliveries, self.standing, self.rekey)
        self.bulletins = Bulletins(self.switch, self.standing)
        self.links = self.switch.links
        self.counts = self.switch.counts
        self.faults = self.switch.faults
        self.parties = self.switch.parties
        self.first = next(party for party in parties if party.bank is None)
        """The participant that is meant when none is named."""
        self._judge = Judge(table)

    @property
    def outstanding(self) -> int:
        """Payments without an outcome, without those of mischief."""
        return self.deliveries.outstanding + self.submissions.outstanding

    # --- links

    def link_up(self, site: str, now_s: float, party: Party | None = None, group: str = "", node: str = "") -> Link:
        """Take a participant's connection to this site for this payment group; `node` is its process, where known."""
        party = party or self.first
        return self.switch.link_up(party, group or party.groups[0], site, now_s, node)

    def link_down(self, link: Link, now_s: float) -> None:
        """Note that the connection is gone, and with it every response that it could have brought."""
        if not self.switch.link_down(link):
            return
        if link.node:
            self.switch.event("disconnected", "", now_s, link, why=link.closing)
        for expected in link.expected:
            right = expected.answer == "closed"
            self.switch.mischief_judged(link, expected.what, "" if right else "void", now_s)
        link.expected.clear()
        self.deliveries.link_down(link, now_s)
        self.rekey.link_down(link, now_s)
        self.bulletins.link_down(link, now_s)

    def retire(self, link: Link) -> None:
        """Send nothing more on this link, not even answers, but go on reading it."""
        link.retired = True
        self.switch.roster(link.party)

    def next_link(self, party: Party | None = None) -> Link | None:
        """A link of this participant that is signed on to receive, in turn."""
        party = party or self.first
        return party.next_link(party.groups[0])

    def transmit(self, link: Link, covered: bytes) -> None:
        """Authenticate and queue a message."""
        self.switch.transmit(link, covered)

    def fault(self, link: Link, why: str, now_s: float) -> None:
        """Note a fault: something that the scheme forbids."""
        self.switch.fault(link, why, now_s)

    # --- payments go

    def pay(
        self, intended: Iterable[float], generator: payments.Generator, now_s: float, party: Party | None = None
    ) -> None:
        """Send one payment for each intended time, all due by now, over the links that are signed on to receive."""
        self.deliveries.pay(intended, generator, party or self.first, now_s)

    # --- messages come

    def received(self, link: Link, body: bytes, now_s: float) -> None:
        """Take a message from this link."""
        link.heard_s = now_s
        mti = body[:4]
        if mti in {b"9200", b"9201"}:
            if link.sick is not None and link.sick.how == "deaf":
                self.counts["lost on a sick link"] += 1
                return
            self.submissions.received(link, body, now_s)
            return
        if not self.switch.authentic(link.party, body, now_s):
            self.rekey.not_authentic(link, body, now_s)
            return
        try:
            if mti == b"9210":
                self.responses.response(link, self._judge.response(body), now_s)
            elif mti == b"9430":
                self.responses.reversed(link, self._judge.response(body), now_s)
            elif mti in {b"9804", b"9814", b"9624", b"9834"}:
                self._management(link, mti, self._judge.management(body), now_s)
            else:
                self.fault(link, f"{mti.decode('ascii', 'replace')}: not expected from a participant", now_s)
        except iso.Unreadable as error:
            self.fault(link, f"{mti.decode('ascii', 'replace')}: {error}", now_s)

    # --- management

    def _management(self, link: Link, mti: bytes, fields: iso.Fields, now_s: float) -> None:
        if mti == b"9804":
            self._asked_to_manage(link, fields, now_s)
        elif mti == b"9624":
            self._advised(link, fields[24], now_s)
        elif mti == b"9834":
            self.bulletins.acknowledged(link, fields, now_s)
        elif fields[11] == link.echo_id and fields[24] == "831":
            link.echo_id, link.echo_until_s = "", math.inf
            if fields.get(26) != "0000":
                self.fault(link, f"an echo answered with {fields.get(26, 'no code')}", now_s)
        elif not self.rekey.answered(link, fields, now_s):
            self.fault(link, "9814 that answers nothing of the hub's", now_s)

    def _asked_to_manage(self, link: Link, fields: iso.Fields, now_s: float) -> None:
        function = fields[24]
        code, then = "0000", _nothing
        if function in {"885", "886"}:
            code, then = self.rekey.asked(link, fields, now_s)
        elif function in {"881", "882"}:
            link.submit = function == "881"
        elif function in {"891", "892"}:
            link.receive = function == "891"
        elif function != "831":
            code = "1909"
        copied = {number: fields[number] for number in (7, 11, 24)}
        self.transmit(link, iso.write(self.table, "9814", {**copied, 26: code}))
        then()
        if function in SIGNS:
            self.switch.roster(link.party)
        if function == "891":
            self.deliveries.rescue(now_s)
        if function in SIGN_ON:
            self.rekey.signed_on(link.party, now_s)
            self.bulletins.signed_on(link.party, now_s)

    def manage(self, link: Link, mti: str, function: str) -> str:
        """Send a management message; returns its DE11."""
        return self.switch.manage(link, mti, function)

    def _advised(self, link: Link, function: str, now_s: float) -> None:
        for expected in link.expected:
            if expected.answer == f"9624/{function}":
                link.expected.remove(expected)
                self.switch.mischief_judged(link, expected.what, "", now_s)
                return
        if function == "650" and any(expected.answer == "closed" for expected in link.expected):
            return  # a participant may say that it cannot read on before it hangs up
        self.fault(link, f"9624/{function} about nothing that the hub did wrong", now_s)

    # --- mischief

    def expect(self, link: Link, what: str, answer: str, within_s: float, now_s: float, fpid: str = "") -> None:
        """Note that the hub misbehaves on this link now, and the reaction that must follow."""
        self.counts["mischief"] += 1
        self.switch.event("mischief", fpid, now_s, link, intended_s=now_s, why=what)
        if answer != "9210":
            link.expected.append(Expected(what, answer, now_s + within_s))

    def pay_oddly(
        self, link: Link, made: payments.Made, ends: Ends, expected: tuple[str, str], now_s: float
    ) -> Delivery:
        """Register a payment of mischief, which the caller sends: it must get this DE26 and DE44 and nothing else."""
        return self.deliveries.pay_oddly(link, made, ends, expected, now_s)

    def pending_mischief(self) -> int:
        """Number of mischiefs whose answer is still awaited."""
        return sum(len(link.expected) for link in self.links.values()) + self.deliveries.odd()

    # --- time

    def tick(self, now_s: float) -> None:
        """Do all that is due: patience, echoes, answers to mischief. Call it a few times a second."""
        self.deliveries.tick(now_s)
        self.submissions.tick(now_s)
        self.rekey.tick(now_s)
        self.bulletins.tick(now_s)
        for link in list(self.links.values()):
            self._tick_link(link, now_s)

    def _tick_link(self, link: Link, now_s: float) -> None:
        for expected in [expected for expected in link.expected if expected.until_s <= now_s]:
            link.expected.remove(expected)
            why = "" if expected.answer == "nothing" else f"{expected.answer} did not come"
            self.switch.mischief_judged(link, expected.what, why, now_s)
        if link.echo_until_s <= now_s:
            link.echo_until_s = math.inf
            self.fault(link, "an echo was not answered", now_s)
            link.closing = "echo not answered"
            self.switch.roster(link.party)
        elif (
            not link.echo_id
            and not link.retired
            and (link.sick is None or link.sick.how != "silent")
            and now_s - link.heard_s >= self.settings.echo_after_s
            and (link.receive or link.submit)
        ):
            link.echo_id = self.manage(link, "9804", "831")
            link.echo_until_s = now_s + self.settings.patience_s

    def reset(self) -> None:
        """Reset the latencies after a warm-up."""
        self.deliveries.latency.reset()

    def end(self, now_s: float) -> None:
        """Close the book, when every payment has its outcome."""
        self.switch.book(HubEvent("end", "", now_s))


def _nothing() -> None:
    pass
