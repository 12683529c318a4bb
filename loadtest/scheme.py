"""The hub's side of it, without I/O: sign-on, echo, payments, patience, reversal, repeats (fps-protocol section 6).

Bodies and the time come in by calls, frames collect in each link's `out`, events go to the book. The shell (`hub`, and
the simulation) carries bytes and reads clocks; nothing here waits.

A payment is WAITING for its 9210; when that does not come in time, or its connection is lost, it is REVERSING (a
synchronous one: 9420, then 9421, until a 9430) or is repeated (an asynchronous one: 9201, on any connection); STRANDED
when there is no connection to do so; DONE when the hub has an answer or gives up.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable
from enum import IntEnum

from msgspec import Struct

from gateway.wire.fields import FieldTable
from loadtest import iso, payments
from loadtest.histogram import Histogram
from loadtest.judge import QUALIFIED, Heard, Judge
from loadtest.keys import Mac
from loadtest.ledger import HubEvent, HubWhat, fpid_hash

Book = Callable[[HubEvent], None]

REMEMBERED = 300_000
"""Payments with an outcome in each of two generations of memory: half a minute at 10,000 a second, at the least."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """How this hub behaves."""

    patience_s: float = 10.0
    """How long it waits for a response."""
    synchronous: bool = True
    """SIP: reverse what was not answered in time. Otherwise repeat it."""
    repeats_max: int = 20
    """How often it repeats a payment, or a reversal, before it gives up."""
    echo_after_s: float = 30.0
    """It sends an echo on a connection that has been silent for so long."""
    outstanding_max: int = 500_000
    """Payments without an outcome at once; beyond it arrivals are withheld, and counted."""


class State(IntEnum):
    """Where a payment is, as the hub sees it."""

    WAITING = 0
    REVERSING = 1
    STRANDED = 2
    DONE = 3


class Expected(Struct, frozen=True):
    """What a mischief must be answered with: a 9624 with this function code, the end of the connection, or nothing."""

    what: str
    answer: str
    """`9624/650`, `9624/690`, `closed` or `nothing`."""
    until_s: float


class Payment:
    """One payment under way, or remembered."""

    __slots__ = (
        "attempts", "code", "covered", "deadline_s", "ends", "expected", "fpid", "intended_s", "link", "links",
        "replies", "sent_s", "state", "trn",
    )  # fmt: skip

    def __init__(self, made: payments.Made, ends: tuple[bytes, bytes], intended_s: float) -> None:
        self.trn = made.trn
        self.fpid = fpid_hash(made.fpid)
        self.covered = made.covered
        """What is sent next, up to DE128: the request, later its reversal."""
        self.ends = ends
        """`Heard.key` and `Heard.tail` of a right response."""
        self.intended_s = intended_s
        self.sent_s = 0.0
        self.deadline_s = math.inf
        self.state = State.WAITING
        self.link: Link | None = None
        self.links: list[int] = []
        """Where its requests went: a response on any other is wrong."""
        self.attempts = 0
        self.replies = 0
        self.code = ""
        self.expected: tuple[str, str] | None = None
        """For mischief: the DE26 and DE44 that it must get."""


class Link:
    """One connection of the participant."""

    def __init__(self, number: int, site: str, now_s: float) -> None:
        self.number = number
        self.site = site
        self.receive = False
        self.submit = False
        self.out: list[bytes] = []
        """Frames to be written; the shell takes them."""
        self.retired = False
        """Nothing that we write on it can be understood any more."""
        self.closing = ""
        """Why the shell should close it; empty: it should not."""
        self.waiting: dict[bytes, Payment] = {}
        self.reversing: dict[bytes, Payment] = {}
        self.expected: list[Expected] = []
        self.heard_s = now_s
        self.echo_id = ""
        self.echo_until_s = math.inf


class Scheme:
    """The hub."""

    def __init__(
        self,
        table: FieldTable,
        framing: iso.Framing,
        hub: Mac,
        own: Mac,
        settings: Settings,
        book: Book,
        stamp: Callable[[], str] = lambda: "0101000000",
    ) -> None:
        """`hub` makes our MACs, `own` the participant's. `stamp` says the time as DE7 does, MMDDhhmmss."""
        self.table = table
        self.framing = framing
        self.mac = hub
        self.settings = settings
        self.links: dict[int, Link] = {}
        self.counts: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.faults: deque[str] = deque(maxlen=10)
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
        self.sample = b""
        """The last request that was answered, up to DE128, for mischief that needs one."""
        self._book = book
        self._stamp = stamp
        self._judge = Judge(table, own)
        self._open: dict[bytes, Payment] = {}
        self._done: tuple[dict[bytes, Payment], dict[bytes, Payment]] = ({}, {})
        self._deadlines: deque[tuple[float, Payment]] = deque()
        self._stranded: deque[Payment] = deque()
        self._receivers: list[Link] = []
        self._turn = 0
        self._links_made = 0
        self._messages = 0

    # --- links

    def link_up(self, site: str, now_s: float) -> Link:
        """A participant connected to this site."""
        self._links_made += 1
        link = self.links[self._links_made] = Link(self._links_made, site, now_s)
        return link

    def link_down(self, link: Link, now_s: float) -> None:
        """The connection is gone; so is every response that it could have brought."""
        if self.links.pop(link.number, None) is None:
            return
        self._roster()
        for expected in link.expected:
            right = expected.answer == "closed"
            self._mischief_over(link, expected.what, "" if right else "void", now_s)
        link.expected.clear()
        waiting, reversing = list(link.waiting.values()), list(link.reversing.values())
        link.waiting.clear()
        link.reversing.clear()
        for payment in waiting:
            self._timed_out(payment, "link-lost", now_s)
        for payment in reversing:
            self._reverse(payment, now_s)

    def _roster(self) -> None:
        self._receivers = [
            link for link in self.links.values() if link.receive and not link.closing and not link.retired
        ]

    def retire(self, link: Link) -> None:
        """Send nothing more on this link, not even answers; what it brings is still heard."""
        link.retired = True
        self._roster()

    def next_link(self) -> Link | None:
        """A link that is signed on to receive, in turn."""
        if not self._receivers:
            return None
        self._turn += 1
        return self._receivers[self._turn % len(self._receivers)]

    def transmit(self, link: Link, covered: bytes) -> None:
        """Authenticate and queue a message."""
        if link.retired:
            return
        link.out.append(self.framing.frame(covered + self.mac(covered)))

    # --- payments go

    def pay(self, intended: Iterable[float], generator: payments.Generator, now_s: float) -> None:
        """Send one payment for each intended time, all due by now, over the links that are signed on to receive."""
        ends = (generator.reply_key, generator.reply_tail)
        receivers, turn = self._receivers, self._turn
        deadline_s = now_s + self.settings.patience_s
        frame, mac, book, deadlines = self.framing.frame, self.mac, self._book, self._deadlines
        opened, room = self._open, self.settings.outstanding_max - self.outstanding
        lateness = self.lateness.record
        sent = withheld = 0
        for intended_s in intended:
            if not receivers or sent >= room:
                # the scheme would tell the sender 9910: nothing was sent, nothing is owed
                withheld += 1
                continue
            turn += 1
            link = receivers[turn % len(receivers)]
            payment = Payment(generator.make(), ends, intended_s)
            covered = payment.covered
            link.out.append(frame(covered + mac(covered)))
            payment.link = link
            payment.links.append(link.number)
            payment.sent_s = now_s
            payment.deadline_s = deadline_s
            payment.attempts = 1
            link.waiting[payment.trn] = opened[payment.trn] = payment
            deadlines.append((deadline_s, payment))
            lateness(now_s - intended_s)
            sent += 1
            book(HubEvent("sent", payment.fpid, now_s, intended_s, link.number, link.site, "9200"))
        self._turn = turn
        self.outstanding += sent
        self.counts["sent"] += sent
        self.counts["withheld"] += withheld

    def pay_oddly(
        self, link: Link, made: payments.Made, ends: tuple[bytes, bytes], expected: tuple[str, str], now_s: float
    ) -> Payment:
        """Register a payment of mischief, which the caller sends: it must get this DE26 and DE44 and nothing else."""
        payment = Payment(made, ends, now_s)
        payment.expected = expected
        payment.link = link
        payment.links.append(link.number)
        payment.sent_s, payment.deadline_s, payment.attempts = now_s, now_s + self.settings.patience_s, 1
        link.waiting[payment.trn] = self._open[payment.trn] = payment
        self._deadlines.append((payment.deadline_s, payment))
        return payment

    def _repeat(self, payment: Payment, now_s: float) -> None:
        """Send an unanswered payment again."""
        if payment.attempts > self.settings.repeats_max:
            self._give_up(payment, "no response to any repeat", now_s)
            return
        link = self.next_link()
        if link is None:
            self._strand(payment)
            return
        payment.covered = b"9201" + payment.covered[4:]
        payment.state = State.WAITING
        payment.links.append(link.number)
        link.waiting[payment.trn] = payment
        self._sent_again(payment, link, now_s)
        self.counts["repeated"] += 1
        self._event("sent", payment, now_s, link, mti="9201")

    def _reverse(self, payment: Payment, now_s: float) -> None:
        """Take an unanswered payment back, or ask for that again."""
        if payment.covered[:3] != b"942":
            payment.covered = payments.reversal(self.table, payment.covered, "9420")
            payment.attempts = 0
        elif payment.attempts:
            payment.covered = b"9421" + payment.covered[4:]
        if payment.attempts > self.settings.repeats_max:
            self._give_up(payment, "no response to any reversal", now_s)
            return
        link = self.next_link()
        if link is None:
            self._strand(payment)
            return
        payment.state = State.REVERSING
        link.reversing[payment.trn] = payment
        self._sent_again(payment, link, now_s)
        self.counts["reversals sent"] += 1
        self._event("reversal-sent", payment, now_s, link, mti=payment.covered[:4].decode())

    def _sent_again(self, payment: Payment, link: Link, now_s: float) -> None:
        payment.attempts += 1
        payment.link = link
        payment.sent_s = now_s
        payment.deadline_s = now_s + self.settings.patience_s
        self._deadlines.append((payment.deadline_s, payment))
        self.transmit(link, payment.covered)

    def _strand(self, payment: Payment) -> None:
        payment.state = State.STRANDED
        payment.deadline_s = math.inf
        payment.link = None
        self._stranded.append(payment)

    def _rescue(self, now_s: float) -> None:
        """A link is there again: carry on with what had none."""
        stranded, self._stranded = self._stranded, deque()
        for payment in stranded:
            if payment.state is State.STRANDED:
                self._carry_on(payment, now_s)

    def _carry_on(self, payment: Payment, now_s: float) -> None:
        if payment.expected is not None:
            self._mischief_payment_over(payment, "no 9210 came", now_s)
        elif self.settings.synchronous or payment.covered[:3] == b"942":
            self._reverse(payment, now_s)
        else:
            self._repeat(payment, now_s)

    def _timed_out(self, payment: Payment, why: str, now_s: float) -> None:
        if payment.expected is not None and why == "link-lost":
            self._mischief_payment_over(payment, "void", now_s)
            return
        self.counts["timed out"] += 1
        self._event("timed-out", payment, now_s, payment.link, why=why)
        self._carry_on(payment, now_s)

    def _give_up(self, payment: Payment, why: str, now_s: float) -> None:
        self.counts["given up"] += 1
        self._event("given-up", payment, now_s, payment.link, why=why)
        self._done_with(payment)

    def _done_with(self, payment: Payment) -> None:
        """Remember it for a while: a second response, or a late one, must be judged too."""
        payment.state = State.DONE
        payment.deadline_s = math.inf
        payment.link = None
        del self._open[payment.trn]
        if payment.expected is not None:
            return  # mischief may have borrowed the FPID of a true payment, which stays remembered
        self.outstanding -= 1
        if payment.covered[:3] == b"920" and payment.code:
            self.sample = payment.covered
        payment.covered = payment.covered[:4]
        if len(self._done[0]) >= REMEMBERED:
            self._done = ({}, self._done[0])
        self._done[0][payment.trn] = payment

    # --- messages come

    def received(self, link: Link, body: bytes, now_s: float) -> None:
        """A message came on this link."""
        link.heard_s = now_s
        mti = body[:4]
        if not self._judge.mac_right(body):
            self.fault(link, f"{mti.decode('ascii', 'replace')}: wrong MAC", now_s)
            return
        try:
            if mti == b"9210":
                self._response(link, self._judge.response(body), now_s)
            elif mti == b"9430":
                self._reversed(link, self._judge.response(body), now_s)
            elif mti in {b"9804", b"9814", b"9624", b"9834"}:
                self._management(link, mti, self._judge.management(body), now_s)
            else:
                self.fault(link, f"{mti.decode('ascii', 'replace')}: not expected from a receiver", now_s)
        except iso.Unreadable as error:
            self.fault(link, f"{mti.decode('ascii', 'replace')}: {error}", now_s)

    def _response(self, link: Link, heard: Heard, now_s: float) -> None:
        payment = link.waiting.get(heard.trn)
        if payment is None or now_s > payment.deadline_s:
            self._response_out_of_turn(link, heard, now_s)
            return
        if not self._as_asked(link, payment, heard, now_s):
            return  # no response at all, to the hub: its patience runs on
        del link.waiting[heard.trn]
        if payment.expected is not None:
            right = (heard.code, heard.field) == payment.expected
            self._mischief_payment_over(
                payment, "" if right else f"9210 says {heard.code} {heard.field}".strip(), now_s
            )
            return
        self.intended.record(now_s - payment.intended_s)
        (self.stood_in if heard.code in QUALIFIED else self.decided).record(now_s - payment.sent_s)
        self.codes[heard.code] += 1
        self.counts["replied"] += 1
        self._book(
            HubEvent("replied", payment.fpid, now_s, payment.intended_s, link.number, link.site, "9210", heard.code)
        )
        self._done_with(payment)

    def _response_out_of_turn(self, link: Link, heard: Heard, now_s: float) -> None:
        """A 9210 that nobody waits for on this link: late, on the wrong link, twice, or about nothing."""
        payment = self._open.get(heard.trn) or self._done[0].get(heard.trn) or self._done[1].get(heard.trn)
        if payment is None:
            self.fault(link, "9210 for a payment that was never sent", now_s)
        elif link.number not in payment.links:
            self.fault(link, "9210 on another connection than its request's", now_s, payment)
        elif payment.expected is not None:
            self.fault(link, "9210 for a message of mischief, too late", now_s, payment)
        elif self._as_asked(link, payment, heard, now_s):
            if payment.replies > len(payment.links):
                self.fault(link, "9210 more often than it was asked for", now_s, payment)
                return
            self.counts["late"] += 1
            self._event("replied", payment, now_s, link, mti="9210", code=heard.code, late=True)

    def _as_asked(self, link: Link, payment: Payment, heard: Heard, now_s: float) -> bool:
        """Whether the response copies what it must, and says what it said before."""
        payment.replies += 1
        if (heard.key, heard.tail) != payment.ends:
            self.fault(link, "a field that the response must copy is not copied", now_s, payment)
            return False
        if (heard.code == "1930") != bool(heard.field):
            self.fault(link, "DE44 goes with 1930, and only with it", now_s, payment)
            return False
        if payment.expected is None:
            if payment.code and payment.code != heard.code:
                self.fault(link, f"said {payment.code} first and {heard.code} then", now_s, payment)
            payment.code = heard.code
        return True

    def _reversed(self, link: Link, heard: Heard, now_s: float) -> None:
        payment = link.reversing.pop(heard.trn, None)
        if payment is None:
            known = self._open.get(heard.trn) or self._done[0].get(heard.trn) or self._done[1].get(heard.trn)
            if known is None or known.covered[:3] != b"942":
                self.fault(link, "9430 for a payment that was not reversed", now_s, known)
            return
        if (heard.key, heard.tail) != payment.ends:
            self.fault(link, "a field that the 9430 must copy is not copied", now_s, payment)
        elif heard.code != "0000":
            self.fault(link, f"9430 says {heard.code}: a reversal is always answered positively", now_s, payment)
        self.counts["reversed"] += 1
        self._event("reversed", payment, now_s, link, mti="9430", code=heard.code)
        self._done_with(payment)

    # --- management

    def _management(self, link: Link, mti: bytes, fields: iso.Fields, now_s: float) -> None:
        if mti == b"9804":
            self._asked_to_manage(link, fields, now_s)
        elif mti == b"9624":
            self._advised(link, fields[24], now_s)
        elif mti == b"9814" and fields[11] == link.echo_id:
            link.echo_id, link.echo_until_s = "", math.inf
            if fields.get(26) != "0000":
                self.fault(link, f"an echo answered with {fields.get(26, 'no code')}", now_s)
        elif mti == b"9814":
            self.fault(link, "9814 that answers nothing of the hub's", now_s)

    def _asked_to_manage(self, link: Link, fields: iso.Fields, now_s: float) -> None:
        function = fields[24]
        code = "0000" if function in {"831", "881", "882", "891", "892"} else "1909"
        if function in {"881", "882"}:
            link.submit = function == "881"
        elif function in {"891", "892"}:
            link.receive = function == "891"
        copied = {number: fields[number] for number in (7, 11, 24)}
        self.transmit(link, iso.write(self.table, "9814", {**copied, 26: code}))
        self._roster()
        if function == "891":
            self._rescue(now_s)

    def manage(self, link: Link, mti: str, function: str) -> str:
        """Send a management message; returns its DE11."""
        self._messages = self._messages % 999_999 + 1
        number = f"{self._messages:06d}"
        self.transmit(link, iso.write(self.table, mti, {7: self._stamp(), 11: number, 24: function}))
        return number

    def _advised(self, link: Link, function: str, now_s: float) -> None:
        for expected in link.expected:
            if expected.answer == f"9624/{function}":
                link.expected.remove(expected)
                self._mischief_over(link, expected.what, "", now_s)
                return
        if function == "650" and any(expected.answer == "closed" for expected in link.expected):
            return  # a participant may say that it cannot read on before it hangs up
        self.fault(link, f"9624/{function} about nothing that the hub did wrong", now_s)

    # --- mischief

    def expect(self, link: Link, what: str, answer: str, within_s: float, now_s: float, fpid: str = "") -> None:
        """Note that the hub misbehaves on this link now, and what must come of it."""
        self.counts["mischief"] += 1
        self._book(HubEvent("mischief", fpid, now_s, now_s, link.number, link.site, why=what))
        if answer != "9210":
            link.expected.append(Expected(what, answer, now_s + within_s))

    def _mischief_payment_over(self, payment: Payment, why: str, now_s: float) -> None:
        link = payment.link
        self._done_with(payment)
        if link is not None:
            link.waiting.pop(payment.trn, None)
            self._mischief_over(link, "payment", why, now_s)

    def _mischief_over(self, link: Link, what: str, why: str, now_s: float) -> None:
        """`why` is empty when all went right, `void` when the connection was lost before it could."""
        if why == "void":
            self.counts["mischief void"] += 1
            return
        self.counts["mischief missed" if why else "mischief answered"] += 1
        event: HubWhat = "mischief-missed" if why else "mischief-answered"
        said = f"{what}: {why}" if why else what
        self._book(HubEvent(event, "", now_s, 0.0, link.number, link.site, why=said))

    def pending_mischief(self) -> int:
        """Mischief whose answer is still awaited."""
        expected = sum(len(link.expected) for link in self.links.values())
        return expected + sum(payment.expected is not None for payment in self._open.values())

    # --- time

    def tick(self, now_s: float) -> None:
        """Let what is due happen: patience, echoes, answers to mischief. A few times a second is often enough."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now_s:
            deadline_s, payment = deadlines.popleft()
            if payment.deadline_s != deadline_s:
                continue  # it was answered, or sent again, meanwhile
            link = payment.link
            assert link is not None, "a payment with a deadline is on a link"
            if link.waiting.pop(payment.trn, None) is not None:
                self._timed_out(payment, "patience", now_s)
            elif link.reversing.pop(payment.trn, None) is not None:
                self._reverse(payment, now_s)
        for link in list(self.links.values()):
            self._tick_link(link, now_s)

    def _tick_link(self, link: Link, now_s: float) -> None:
        for expected in [expected for expected in link.expected if expected.until_s <= now_s]:
            link.expected.remove(expected)
            why = "" if expected.answer == "nothing" else f"{expected.answer} did not come"
            self._mischief_over(link, expected.what, why, now_s)
        if link.echo_until_s <= now_s:
            link.echo_until_s = math.inf
            self.fault(link, "an echo was not answered", now_s)
            link.closing = "echo not answered"
            self._roster()
        elif (
            not link.echo_id
            and not link.retired
            and now_s - link.heard_s >= self.settings.echo_after_s
            and (link.receive or link.submit)
        ):
            link.echo_id = self.manage(link, "9804", "831")
            link.echo_until_s = now_s + self.settings.patience_s

    @property
    def next_s(self) -> float:
        """When the first patience ends; infinite when nothing waits."""
        return self._deadlines[0][0] if self._deadlines else math.inf

    def reset(self) -> None:
        """Let the latencies start anew: what came before was a warm-up."""
        self.intended, self.decided, self.stood_in, self.lateness = (Histogram() for _ in range(4))

    def end(self, now_s: float) -> None:
        """Close the book: everything that was sent has its outcome."""
        self._book(HubEvent("end", "", now_s))

    # --- the book

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
    ) -> None:
        number, site = (link.number, link.site) if link else (0, "")
        self._book(HubEvent(event, payment.fpid, now_s, payment.intended_s, number, site, mti, code, late, why))

    def fault(self, link: Link, why: str, now_s: float, payment: Payment | None = None) -> None:
        """Note what the scheme forbids."""
        self.counts["faults"] += 1
        self.faults.append(why)
        fpid = payment.fpid if payment else ""
        self._book(HubEvent("fault", fpid, now_s, 0.0, link.number, link.site, why=why))
