"""Payments that go to a receiver: patience, reversal, repeats (docs/protocol.md section 6).

They come from the load generator, from mischief, or from a sender whose side is told what the receiver said.
A payment is WAITING for its 9210; when that does not come in time, or its connection is lost, it is REVERSING (a
synchronous one: 9420, then 9421, until a 9430) or is repeated (an asynchronous one: 9201, on any connection); STRANDED
when there is no connection to do so; DONE when the hub has an answer or gives up. Pure.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable

from loadtest.hub.parties import Conclude, Ends, Link, Party, Payment, State
from loadtest.hub.switch import Switch
from loadtest.ledger.entries import HubEvent, HubWhat
from loadtest.traffic import payments
from loadtest.traffic.histogram import Histogram
from loadtest.traffic.judge import QUALIFIED, Heard

REMEMBERED = 300_000
"""Payments with an outcome in each of two generations of memory: half a minute at 10,000 a second, at the least."""


class Deliveries:
    """The hub as the one that sends to receivers."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self.settings = switch.settings
        self.counts = switch.counts
        self.codes: Counter[str] = Counter()
        self.outstanding = 0
        """Payments without an outcome, mischief's aside."""
        self.intended = Histogram()
        """From the intended time to the reply: what a user of the scheme would have waited."""
        self.decided = Histogram()
        """From handing the request to the socket to the reply, but for stand-in's: what the participant took."""
        self.stood_in = Histogram()
        """The same for qualified accepts: stand-in waits for its deadline, so these say when that was."""
        self.lateness = Histogram()
        """From the intended time to handing it to the socket: what this generator adds."""
        self.samples: dict[tuple[str, str], bytes] = {}
        """By participant and node: the last request that it answered, up to DE128, for mischief that needs one."""
        self._open: dict[bytes, Payment] = {}
        self._done: tuple[dict[bytes, Payment], dict[bytes, Payment]] = ({}, {})
        self._deadlines: deque[tuple[float, Payment]] = deque()
        self._stranded: deque[Payment] = deque()

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
        lateness = self.lateness.record
        sent = withheld = 0
        for intended_s in intended:
            if not receivers or sent >= room:
                # the scheme would tell the sender 9910: nothing was sent, nothing is owed
                withheld += 1
                continue
            turn += 1
            link = receivers[turn % len(receivers)]
            payment = Payment(generator.make(), ends, intended_s, party, group, synchronous=synchronous)
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
    ) -> Payment:
        """Send this payment to its receiver; `conclude` tells its sender's side what that says.

        Without a link that is signed on to receive it waits for one.
        """
        payment = Payment(made, ends, now_s, party, self._switch.group_of(made.fpid[18:20]), synchronous=synchronous)
        payment.conclude = conclude
        self._open[payment.id] = payment
        self.outstanding += 1
        link = party.next_link(payment.group)
        if link is None:
            self._strand(payment)
        else:
            self._send_first(payment, link, now_s)
        return payment

    def _send_first(self, payment: Payment, link: Link, now_s: float) -> None:
        payment.state = State.WAITING
        payment.links.append(link.number)
        link.waiting[payment.id] = payment
        self._sent_again(payment, link, now_s)
        self.counts["sent"] += 1
        self._sent("9200", payment, now_s, link)

    def pay_oddly(
        self, link: Link, made: payments.Made, ends: Ends, expected: tuple[str, str], now_s: float
    ) -> Payment:
        """Register a payment of mischief, which the caller sends: it must get this DE26 and DE44 and nothing else.

        Its FPID may be that of a true payment, but of none that is under way: a response would mean either.
        """
        is_under_way = self.under_way(made.fpid)
        assert not is_under_way, "an FPID is that of one payment at a time"
        payment = Payment(made, ends, now_s, link.party, link.group, synchronous=self.settings.synchronous)
        payment.expected = expected
        payment.link = link
        payment.links.append(link.number)
        payment.sent_s, payment.deadline_s, payment.attempts = now_s, now_s + self.settings.patience_s, 1
        link.waiting[payment.id] = self._open[payment.id] = payment
        self._deadlines.append((payment.deadline_s, payment))
        return payment

    def _repeat(self, payment: Payment, now_s: float) -> None:
        """Send an unanswered payment again."""
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
        payment.state = State.WAITING
        payment.links.append(link.number)
        link.waiting[payment.id] = payment
        self._sent_again(payment, link, now_s)
        self.counts["repeated"] += 1
        self._sent("9201", payment, now_s, link)

    def _reverse(self, payment: Payment, now_s: float) -> None:
        """Take an unanswered payment back, or ask for that again."""
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
        payment.state = State.REVERSING
        payment.reversals = (*payment.reversals, link.number)
        link.reversing[payment.id] = payment
        self._sent_again(payment, link, now_s)
        self.counts["reversals sent"] += 1
        self._event("reversal-sent", payment, now_s, link, mti=payment.covered[:4].decode())

    def _sent_again(self, payment: Payment, link: Link, now_s: float) -> None:
        payment.attempts += 1
        payment.link = link
        payment.sent_s = now_s
        payment.deadline_s = now_s + self.settings.patience_s
        self._deadlines.append((payment.deadline_s, payment))
        self._switch.transmit(link, payment.covered)

    def _strand(self, payment: Payment) -> None:
        payment.state = State.STRANDED
        payment.deadline_s = math.inf
        payment.link = None
        self._stranded.append(payment)

    def rescue(self, now_s: float) -> None:
        """A link is there again: carry on with what had none."""
        stranded, self._stranded = self._stranded, deque()
        for payment in stranded:
            if payment.state is State.STRANDED:
                self._carry_on(payment, now_s)

    def _carry_on(self, payment: Payment, now_s: float) -> None:
        if payment.expected is not None:
            self.mischief_over(payment, "no 9210 came", now_s)
        elif payment.synchronous or payment.covered[:3] == b"942":
            self._reverse(payment, now_s)
        else:
            self._repeat(payment, now_s)

    def _timed_out(self, payment: Payment, why: str, now_s: float) -> None:
        if payment.expected is not None and why == "link-lost":
            self.mischief_over(payment, "void", now_s)
            return
        self.counts["timed out"] += 1
        self._event("timed-out", payment, now_s, payment.link, why=why)
        if payment.synchronous:
            # an asynchronous payment may yet be refused: its sender is answered when its own time is over
            self._conclude(payment, None, now_s)
        self._carry_on(payment, now_s)

    def _conclude(self, payment: Payment, heard: Heard | None, now_s: float) -> None:
        """Tell the sender's side, once."""
        conclude, payment.conclude = payment.conclude, None
        if conclude is not None:
            conclude(heard, now_s)

    def _give_up(self, payment: Payment, why: str, now_s: float) -> None:
        self.counts["given up"] += 1
        self._event("given-up", payment, now_s, payment.link, why=why)
        self._conclude(payment, Heard(payment.id, "1909", "", *payment.ends), now_s)
        self._done_with(payment)

    def _done_with(self, payment: Payment) -> None:
        """Remember it for a while: a second response, or a late one, must be judged too."""
        payment.state = State.DONE
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
        if len(self._done[0]) >= REMEMBERED:
            self._done = ({}, self._done[0])
        self._done[0][payment.id] = payment

    # --- what a receiver says

    def response(self, link: Link, heard: Heard, now_s: float) -> None:
        """A 9210 came on this link."""
        payment = link.waiting.get(heard.fpid)
        if payment is None or now_s > payment.deadline_s:
            self._response_out_of_turn(link, heard, now_s)
            return
        if not self._as_asked(link, payment, heard, now_s):
            return  # no response at all, to the hub: its patience runs on
        del link.waiting[payment.id]
        if payment.expected is not None:
            right = (heard.code, heard.field) == payment.expected
            self.mischief_over(payment, "" if right else f"9210 says {heard.code} {heard.field}".strip(), now_s)
            return
        self.intended.record(now_s - payment.intended_s)
        (self.stood_in if heard.code in QUALIFIED else self.decided).record(now_s - payment.sent_s)
        self.codes[heard.code] += 1
        self.counts["replied"] += 1
        self._switch.book(
            HubEvent(
                "replied", payment.fpid, now_s, payment.intended_s, link.number, link.site, "9210", heard.code, False,
                "", payment.party.member,
            )
        )  # fmt: skip
        if heard.code[:1] == "1" and self._switch.must_accept(heard.fpid[18:20].decode()):
            self._fault(link, f"said {heard.code} to a payment that must be accepted", now_s, payment)
        if payment.conclude is not None:
            self._conclude(payment, heard, now_s)
        self._done_with(payment)

    def _known(self, link: Link, heard: Heard) -> Payment | None:
        """The payment that a response means, also one whose other fields are not copied."""
        fpid = heard.fpid
        known = self._open.get(fpid) or self._done[0].get(fpid) or self._done[1].get(fpid)
        return known or next((one for one in link.waiting.values() if one.id[:18] == fpid[:18]), None)

    def _response_out_of_turn(self, link: Link, heard: Heard, now_s: float) -> None:
        """A 9210 that nobody waits for on this link: late, on the wrong link, twice, or about nothing."""
        payment = self._known(link, heard)
        if payment is None:
            self._switch.fault(link, "9210 for a payment that was never sent", now_s)
        elif link.number not in payment.links:
            self._fault(link, "9210 on another connection than its request's", now_s, payment)
        elif payment.expected is not None:
            self._fault(link, "9210 for a message of mischief, too late", now_s, payment)
        elif self._as_asked(link, payment, heard, now_s):
            if payment.replies > len(payment.links):
                self._fault(link, "9210 more often than it was asked for", now_s, payment)
                return
            # on another connection it may have left before, or by another site, which cannot know
            if link.number in payment.undone and heard.code[:1] == "0":
                self._fault(link, f"said {heard.code} after it had answered the reversal", now_s, payment)
            self.counts["late"] += 1
            self._event("replied", payment, now_s, link, mti="9210", code=heard.code, late=True)

    def _as_asked(self, link: Link, payment: Payment, heard: Heard, now_s: float) -> bool:
        """Whether the response copies what it must, and says what it said before."""
        payment.replies += 1
        if (heard.key, heard.tail) != payment.ends:
            self._fault(link, "a field that the response must copy is not copied", now_s, payment)
            return False
        if (heard.code == "1930") != bool(heard.field):
            self._fault(link, "DE44 goes with 1930, and only with it", now_s, payment)
            return False
        if payment.expected is None:
            before = next((code for node, code in payment.said if node == link.node), None)
            if before is None:
                payment.said = (*payment.said, (link.node, heard.code))
            elif before != heard.code:
                self._fault(link, f"said {before} first and {heard.code} then", now_s, payment)
            payment.code = heard.code
        return True

    def reversed(self, link: Link, heard: Heard, now_s: float) -> None:
        """A 9430 came on this link."""
        payment = link.reversing.pop(heard.fpid, None)
        if payment is None:
            payment = next((one for one in link.reversing.values() if one.id[:18] == heard.fpid[:18]), None)
            if payment is not None:
                del link.reversing[payment.id]
        known = payment or self._known(link, heard)
        if known is None or not known.reversals:
            self._fault(link, "9430 for a payment that was not reversed", now_s, known)
            return
        known.undone = (*known.undone, link.number)
        if link.number not in known.reversals:
            self._fault(link, "9430 on another connection than its reversal's", now_s, known)
        elif known.undone.count(link.number) > known.reversals.count(link.number):
            self._fault(link, "9430 more often than it was asked for", now_s, known)
        if payment is None:
            return  # it is late: another reversal waits, or was answered
        if (heard.key, heard.tail) != payment.ends:
            self._fault(link, "a field that the 9430 must copy is not copied", now_s, payment)
        elif heard.code != "0000":
            self._fault(link, f"9430 says {heard.code}: a reversal is always answered positively", now_s, payment)
        self.counts["reversed"] += 1
        self._event("reversed", payment, now_s, link, mti="9430", code=heard.code)
        self._done_with(payment)

    # --- mischief

    def mischief_over(self, payment: Payment, why: str, now_s: float) -> None:
        """A payment of mischief was answered, rightly when `why` is empty."""
        link = payment.link
        self._done_with(payment)
        if link is not None:
            link.waiting.pop(payment.id, None)
            self.mischief_judged(link, "payment", why, now_s)

    def mischief_judged(self, link: Link, what: str, why: str, now_s: float) -> None:
        """`why` is empty when all went right, `void` when the connection was lost before it could."""
        if why == "void":
            self.counts["mischief void"] += 1
            return
        self.counts["mischief missed" if why else "mischief answered"] += 1
        event: HubWhat = "mischief-missed" if why else "mischief-answered"
        self._switch.event(event, "", now_s, link, why=f"{what}: {why}" if why else what)

    def under_way(self, fpid: str) -> bool:
        """Whether a 9210 with this FPID may still come: its payment has no end yet, mischief's too; or a connection
        that carried a request of it has yet to bring its response, which a slow link may do long afterwards.
        """
        key = fpid.encode()
        known = self._done[0].get(key) or self._done[1].get(key)
        return key in self._open or (known is not None and known.replies < len(known.links))

    def odd(self) -> int:
        """Payments of mischief that are under way."""
        return sum(payment.expected is not None for payment in self._open.values())

    # --- time, and links that go

    def tick(self, now_s: float) -> None:
        """Let patience end where it does."""
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
        """The connection is gone; so is every response that it could have brought."""
        waiting, reversing = list(link.waiting.values()), list(link.reversing.values())
        link.waiting.clear()
        link.reversing.clear()
        for payment in waiting:
            self._timed_out(payment, "link-lost", now_s)
        for payment in reversing:
            self._reverse(payment, now_s)

    @property
    def next_s(self) -> float:
        """When the first patience ends; infinite when nothing waits."""
        return self._deadlines[0][0] if self._deadlines else math.inf

    def reset(self) -> None:
        """Let the latencies start anew: what came before was a warm-up."""
        self.intended, self.decided, self.stood_in, self.lateness = (Histogram() for _ in range(4))

    # --- the book

    def _sent(self, mti: str, payment: Payment, now_s: float, link: Link) -> None:
        contents = self._switch.contents
        content = contents.of_message(payment.id.decode(), payment.covered) if contents else ""
        self._event("sent", payment, now_s, link, mti=mti, content=content)

    def _event(
        self,
        event: HubWhat,
        payment: Payment,
        now_s: float,
        link: Link | None,
        *,
        mti: str = "",
        code: str = "",
        late: bool = False,
        why: str = "",
        content: str = "",
    ) -> None:
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

    def _fault(self, link: Link, why: str, now_s: float, payment: Payment | None) -> None:
        self._switch.fault(link, why, now_s, payment.fpid if payment else "")
