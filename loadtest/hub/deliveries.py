"""Payments that go to a receiver: patience, reversal, repeats (docs/protocol.md section 6).

They come from the load generator, from mischief, or from a sender whose side is told what the receiver said.
A payment is WAITING for its 9210; when that does not come in time, or its connection is lost, it is REVERSING (a
synchronous one: 9420, then 9421, until a 9430) or is repeated (an asynchronous one: 9201, on any connection); STRANDED
when there is no connection to do so; DONE when the hub has an answer or gives up. Pure.
"""

import math
from collections import deque
from collections.abc import Iterable

from loadtest.hub.parties import Conclude, Delivery, DeliveryState, Ends, Link, Party
from loadtest.hub.remembered import Remembered
from loadtest.hub.switch import Switch
from loadtest.ledger.entries import HubEvent, HubWhat
from loadtest.traffic import payments
from loadtest.traffic.histogram import Latencies
from loadtest.traffic.judge import Heard

REMEMBERED = 300_000
"""Payments with an outcome in each of two generations of memory: at least half a minute at 10,000 a second."""


class Deliveries:
    """The hub in its role as sender to receivers."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self.settings = switch.settings
        self.counts = switch.counts
        self.outstanding = 0
        """Payments without an outcome, without those of mischief."""
        self.latency = Latencies("intended", "decided", "stood_in", "lateness")
        """`intended`: from the intended time to the reply, which is what a user of the scheme would have waited.
        `decided`: from handing the request to the socket to the reply, but for stand-in's: what the participant took.
        `stood_in`: the same for qualified accepts; stand-in waits for its deadline, so these say when that was.
        `lateness`: from the intended time to handing it to the socket: what this generator adds."""
        self.samples: dict[tuple[str, str], bytes] = {}
        """By participant and node: the last request that it answered, up to DE128, for mischief that needs one."""
        self._open: dict[bytes, Delivery] = {}
        self._done: Remembered[Delivery] = Remembered(REMEMBERED)
        self._deadlines: deque[tuple[float, Delivery]] = deque()
        self._stranded: deque[Delivery] = deque()

    # --- payments go

    def pay(self, intended: Iterable[float], generator: payments.Generator, party: Party, now_s: float) -> None:
        """Send one payment for each intended time, all due by now, over the links that are signed on to receive."""
        switch, ends = self._switch, (generator.reply_key, generator.reply_tail)
        group = switch.group_of(generator.payment_type)
        receivers, turn = party.ready(group), party.turn
        synchronous = self.settings.synchronous
        deadline_s = now_s + self.settings.patience_s
        frame, mac, book, deadlines = switch.framing.frame, party.mac, switch.book, self._deadlines
        opened, room, member = self._open, self.settings.outstanding_max - self.outstanding, party.member
        lateness = self.latency["lateness"].record
        sent = withheld = 0
        for intended_s in intended:
            if not receivers or sent >= room:
                # the scheme would tell the sender 9910: nothing was sent, nothing is owed
                withheld += 1
                continue
            turn += 1
            link = receivers[turn % len(receivers)]
            payment = Delivery(generator.make(), ends, intended_s, party, group, synchronous=synchronous)
            covered = payment.covered
            link.out.append(frame(covered + mac(covered)))
            payment.link = link
            payment.links.append(link.number)
            payment.sent_s = now_s
            payment.deadline_s = deadline_s
            payment.attempts = 1
            link.waiting[payment.id] = opened[payment.id] = payment
            deadlines.append((deadline_s, payment))
            lateness(now_s - intended_s)
            sent += 1
            content = switch.contents.of_message(payment.id.decode(), covered) if switch.contents else ""
            book(
                HubEvent(
                    "sent", payment.fpid, now_s, intended_s, link.number, link.site, "9200", "", False, "", member,
                    content,
                )
            )  # fmt: skip
        party.turn = turn
        self.outstanding += sent
        self.counts["sent"] += sent
        self.counts["withheld"] += withheld

    def forward(
        self,
        made: payments.Made,
        ends: Ends,
        party: Party,
        now_s: float,
        *,
        synchronous: bool,
        conclude: Conclude | None = None,
    ) -> Delivery:
        """Send this payment to its receiver; `conclude` tells its sender's side what that says.

        Without a link that is signed on to receive it waits for one.
        """
        payment = Delivery(made, ends, now_s, party, self._switch.group_of(made.fpid[18:20]), synchronous=synchronous)
        payment.conclude = conclude
        self._open[payment.id] = payment
        self.outstanding += 1
        link = party.next_link(payment.group)
        if link is None:
            self._strand(payment)
        else:
            self._send_first(payment, link, now_s)
        return payment

    def _send_first(self, payment: Delivery, link: Link, now_s: float) -> None:
        payment.state = DeliveryState.WAITING
        payment.links.append(link.number)
        link.waiting[payment.id] = payment
        self._sent_again(payment, link, now_s)
        self.counts["sent"] += 1
        self._sent("9200", payment, now_s, link)

    def pay_oddly(
        self, link: Link, made: payments.Made, ends: Ends, expected: tuple[str, str], now_s: float
    ) -> Delivery:
        """Register a payment of mischief, which the caller sends: it must get this DE26 and DE44 and nothing else.

        Its FPID may be that of a true payment, but of none that is under way: a response would mean either.
        """
        is_under_way = self.under_way(made.fpid)
        assert not is_under_way, "an FPID is that of one payment at a time"
        payment = Delivery(made, ends, now_s, link.party, link.group, synchronous=self.settings.synchronous)
        payment.expected = expected
        payment.link = link
        payment.links.append(link.number)
        payment.sent_s, payment.deadline_s, payment.attempts = now_s, now_s + self.settings.patience_s, 1
        link.waiting[payment.id] = self._open[payment.id] = payment
        self._deadlines.append((payment.deadline_s, payment))
        return payment

    def _repeat(self, payment: Delivery, now_s: float) -> None:
        """Repeat an unanswered payment."""
        if payment.attempts > self.settings.repeats_max:
            self._give_up(payment, "no response to any repeat", now_s)
            return
        link = payment.party.next_link(payment.group)
        if link is None:
            self._strand(payment)
            return
        if not payment.attempts:
            self._send_first(payment, link, now_s)
            return
        payment.covered = b"9201" + payment.covered[4:]
        payment.state = DeliveryState.WAITING
        payment.links.append(link.number)
        link.waiting[payment.id] = payment
        self._sent_again(payment, link, now_s)
        self.counts["repeated"] += 1
        self._sent("9201", payment, now_s, link)

    def _reverse(self, payment: Delivery, now_s: float) -> None:
        """Reverse an unanswered payment, or repeat the reversal."""
        if payment.covered[:3] != b"942":
            payment.covered = payments.reversal(self._switch.table, payment.covered, "9420")
            payment.attempts = 0
        elif payment.attempts:
            payment.covered = b"9421" + payment.covered[4:]
        if payment.attempts > self.settings.repeats_max:
            self._give_up(payment, "no response to any reversal", now_s)
            return
        link = payment.party.next_link(payment.group)
        if link is None:
            self._strand(payment)
            return
        payment.state = DeliveryState.REVERSING
        payment.reversals = (*payment.reversals, link.number)
        link.reversing[payment.id] = payment
        self._sent_again(payment, link, now_s)
        self.counts["reversals sent"] += 1
        self.note("reversal-sent", payment, now_s, link, mti=payment.covered[:4].decode())

    def _sent_again(self, payment: Delivery, link: Link, now_s: float) -> None:
        payment.attempts += 1
        payment.link = link
        payment.sent_s = now_s
        payment.deadline_s = now_s + self.settings.patience_s
        self._deadlines.append((payment.deadline_s, payment))
        self._switch.transmit(link, payment.covered)

    def _strand(self, payment: Delivery) -> None:
        payment.state = DeliveryState.STRANDED
        payment.deadline_s = math.inf
        payment.link = None
        self._stranded.append(payment)

    def rescue(self, now_s: float) -> None:
        """Go on with the payments that had no link, now that there is one."""
        stranded, self._stranded = self._stranded, deque()
        for payment in stranded:
            if payment.state is DeliveryState.STRANDED:
                self._carry_on(payment, now_s)

    def _carry_on(self, payment: Delivery, now_s: float) -> None:
        if payment.expected is not None:
            self.mischief_over(payment, "no 9210 came", now_s)
        elif payment.synchronous or payment.covered[:3] == b"942":
            self._reverse(payment, now_s)
        else:
            self._repeat(payment, now_s)

    def _timed_out(self, payment: Delivery, why: str, now_s: float) -> None:
        if payment.expected is not None and why == "link-lost":
            self.mischief_over(payment, "void", now_s)
            return
        self.counts["timed out"] += 1
        self.note("timed-out", payment, now_s, payment.link, why=why)
        if payment.synchronous:
            # an asynchronous payment may yet be refused: its sender is answered when its own time is over
            self.conclude(payment, None, now_s)
        self._carry_on(payment, now_s)

    def conclude(self, payment: Delivery, heard: Heard | None, now_s: float) -> None:
        """Tell the sender's side the result, once."""
        conclude, payment.conclude = payment.conclude, None
        if conclude is not None:
            conclude(heard, now_s)

    def _give_up(self, payment: Delivery, why: str, now_s: float) -> None:
        self.counts["given up"] += 1
        self.note("given-up", payment, now_s, payment.link, why=why)
        self.conclude(payment, Heard(payment.id, "1909", "", *payment.ends), now_s)
        self.done_with(payment)

    def done_with(self, payment: Delivery) -> None:
        """Remember the payment for a while: a second or late response must be judged, too."""
        payment.state = DeliveryState.DONE
        payment.deadline_s = math.inf
        link, payment.link = payment.link, None
        payment.conclude = None
        del self._open[payment.id]
        if payment.expected is not None:
            return  # mischief may have borrowed the FPID of a true payment, which stays remembered
        self.outstanding -= 1
        if link is not None and payment.covered[:3] == b"920" and payment.code:
            self.samples[payment.party.name, link.node] = payment.covered
        payment.covered = payment.covered[:4]
        self._done.put(payment.id, payment)

    # --- mischief

    def mischief_over(self, payment: Delivery, why: str, now_s: float) -> None:
        """Note the answer to a payment of mischief; it is right when `why` is empty."""
        link = payment.link
        self.done_with(payment)
        if link is not None:
            link.waiting.pop(payment.id, None)
            self._switch.mischief_judged(link, "payment", why, now_s)

    def find(self, fpid: bytes) -> Delivery | None:
        """The payment of this FPID, while it has no outcome or is remembered."""
        return self._open.get(fpid) or self._done.get(fpid)

    def under_way(self, fpid: str) -> bool:
        """Whether a 9210 with this FPID may still come: its payment has no end yet, mischief's too; or a connection
        that carried a request of it has yet to bring its response, which a slow link may do long afterwards.
        """
        key = fpid.encode()
        known = self._done.get(key)
        return key in self._open or (known is not None and known.replies < len(known.links))

    def odd(self) -> int:
        """Number of payments of mischief that are under way."""
        return sum(payment.expected is not None for payment in self._open.values())

    # --- time, and links that go

    def tick(self, now_s: float) -> None:
        """End the patience with every payment whose time is over."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now_s:
            deadline_s, payment = deadlines.popleft()
            if payment.deadline_s != deadline_s:
                continue  # it was answered, or sent again, meanwhile
            link = payment.link
            assert link is not None, "a payment with a deadline is on a link"
            if link.waiting.pop(payment.id, None) is not None:
                self._timed_out(payment, "patience", now_s)
            elif link.reversing.pop(payment.id, None) is not None:
                self._reverse(payment, now_s)

    def link_down(self, link: Link, now_s: float) -> None:
        """Note that the connection is gone, and with it every response that it could have brought."""
        waiting, reversing = list(link.waiting.values()), list(link.reversing.values())
        link.waiting.clear()
        link.reversing.clear()
        for payment in waiting:
            self._timed_out(payment, "link-lost", now_s)
        for payment in reversing:
            self._reverse(payment, now_s)

    # --- the book

    def _sent(self, mti: str, payment: Delivery, now_s: float, link: Link) -> None:
        contents = self._switch.contents
        content = contents.of_message(payment.id.decode(), payment.covered) if contents else ""
        self.note("sent", payment, now_s, link, mti=mti, content=content)

    def note(
        self,
        event: HubWhat,
        payment: Delivery,
        now_s: float,
        link: Link | None,
        *,
        mti: str = "",
        code: str = "",
        late: bool = False,
        why: str = "",
        content: str = "",
    ) -> None:
        """Write a line of the book about this payment."""
        number, site = (link.number, link.site) if link else (0, "")
        self._switch.book(
            HubEvent(
                event,
                payment.fpid,
                now_s,
                payment.intended_s,
                number,
                site,
                mti,
                code,
                late,
                why,
                payment.party.member,
                content,
            )
        )
