"""Payments that participants submit: judged, routed, answered (docs/protocol.md sections 5 and 6).

The order of judgement: frame, parse (9624/650), MAC (9624/690), another payment's FPID (9913: any other code would be
heard as that payment's answer), sign-on (9934), fields (9930 and DE44), suspended (9943 to 9945), limits (9940 to
9942), the sender's sort code (9950), route (9908), the receiver's sign-on (9910). What then passes goes to its
receiver, a participant or a bank that the hub plays.

**One payment has one outcome.** The first conclusive answer to an FPID is remembered, refusals too, and every later
request with the same content gets it, before anything is judged that may have changed meanwhile; a request that comes
while the receiver still decides waits with the first. Each request is answered on its own connection or not at all.
One that is known and comes as a 9200 is counted ("9200 again"), and no fault: a participant's two sites may each send
one, and no connection says whose it is. 9909 and 9913 conclude nothing. What is injected on demand (`injections`)
spoils answers (`answers`), never outcomes. Pure.
"""

from collections import Counter
from functools import partial

from loadtest.hub.answers import Answers, Outcome
from loadtest.hub.bank import NEVER_S
from loadtest.hub.deliveries import Deliveries
from loadtest.hub.injections import NOT_CARRIED_OUT, Injection, Injections
from loadtest.hub.keys import MAC_BYTES
from loadtest.hub.parties import Link, Party
from loadtest.hub.rekey import Rekey
from loadtest.hub.remembered import Remembered
from loadtest.hub.requests import Request, Requests
from loadtest.hub.returns import scheme_return
from loadtest.hub.standing import Standing
from loadtest.hub.switch import Switch
from loadtest.ledger.entries import HubEvent, fpid_hash
from loadtest.traffic import iso, payments
from loadtest.traffic.agenda import Agenda
from loadtest.traffic.judge import Heard

REMEMBERED = 500_000
"""Outcomes in each of two generations of memory: at least a minute and a half at 5,000 a second."""
ASKED_MAX = 64
"""Requests of one payment that may wait for its outcome; more are not answered."""
PENDING = Outcome("0000", asynchronous="1")
"""The answer to an asynchronous payment whose receiver has not decided."""


class Submission:
    """A payment that waits for its receiver."""

    __slots__ = ("asked", "body", "party", "receiver", "request", "settled", "synchronous")

    def __init__(self, request: Request, body: bytes, party: Party, receiver: Party, *, synchronous: bool) -> None:
        self.request = request
        self.body = body
        self.party = party
        """The participant that submitted it."""
        self.receiver = receiver
        self.synchronous = synchronous
        self.asked: list[tuple[Link, Injection | None]] = []
        """Requests that wait for the outcome, each with its link and the injection that spoils its answer."""
        self.settled = False
        """True once its sender has an outcome: a later refusal becomes a scheme return."""


class Submissions:
    """The hub in its role as receiver of submissions."""

    def __init__(self, switch: Switch, deliveries: Deliveries, standing: Standing, rekey: Rekey) -> None:
        self.injections = Injections()
        self.outcomes: Counter[str] = Counter()
        """Number of payments by the code of their one outcome."""
        self._switch = switch
        self._rekey = rekey
        self._deliveries = deliveries
        self._standing = standing
        self._requests = Requests(switch.table)
        self._agenda = Agenda()
        self._answers = Answers(switch, self._requests, self._agenda, self._route)
        self._routes = sorted(
            ((code, party) for party in switch.parties.values() for code in party.sort_codes),
            key=lambda route: -len(route[0]),
        )
        self._under_way: dict[bytes, Submission] = {}
        self._known: Remembered[tuple[bytes, Outcome]] = Remembered(REMEMBERED)
        """The digest of each payment, and its outcome."""
        self._returns = 0
        self._counts = switch.counts

    @property
    def codes(self) -> Counter[str]:
        """Number of answers by code."""
        return self._answers.codes

    @property
    def outstanding(self) -> int:
        """Payments that wait for a simulated bank, and answers that are held back."""
        return self._answers.kept_back + sum(one.receiver.bank is not None for one in self._under_way.values())

    @property
    def payments(self) -> int:
        """Payments submitted, without repeats and without those turned back without an outcome."""
        return self.outcomes.total() + len(self._under_way)

    # --- a request comes

    def received(self, link: Link, body: bytes, now_s: float) -> None:
        """Take a 9200 or 9201 from this link."""
        request = self._read(link, body, now_s)
        if request is None:
            return
        self._note(link, request, body, now_s)
        injection = self.injections.take(link.party) if self.injections else None
        if injection is not None:
            self._counts[f"injected {injection.what}"] += 1
            if injection.what in NOT_CARRIED_OUT:
                self._answers.not_carried_out(link, request, injection.what, now_s)
                return
            if injection.what == "drop":
                self._answers.hang_up(link)
        waiting, known = self._under_way.get(request.fpid), self._known.get(request.fpid)
        if waiting is not None and waiting.request.digest == request.digest:
            self._counts["9200 again"] += body[:4] == b"9200"
            self._wait(waiting, link, injection, now_s)
        elif known is not None and known[0] == request.digest:
            self._counts["9200 again"] += body[:4] == b"9200"
            self._again(link, request, known[1], injection, now_s)
        else:
            self._judge(link, request, body, injection, now_s, used=bool(known or waiting))

    def _read(self, link: Link, body: bytes, now_s: float) -> Request | None:
        """The request, if it can be read and its MAC is right; otherwise answer with a 9624 that says what is wrong."""
        try:
            request = self._requests.read(body)
        except iso.Unreadable as error:
            self._switch.fault(link, f"{body[:4].decode()}: {error}", now_s)
            self._answers.advise(link, "650", None)
            return None
        if not self._switch.authentic(link.party, body, now_s):
            self._rekey.not_authentic(link, body, now_s, request.name)
            self._answers.advise(link, "690", request)
            return None
        return request

    def _note(self, link: Link, request: Request, body: bytes, now_s: float) -> None:
        self._counts["submitted"] += 1
        contents = self._switch.contents
        content = contents.of_message(request.fpid.decode(iso.TEXT), body[:-MAC_BYTES]) if contents else ""
        self._switch.book(
            HubEvent(
                "submitted", request.name, now_s, now_s, link.number, link.site, body[:4].decode(), "", False, "",
                link.party.member, content,
            )
        )  # fmt: skip

    def _wait(self, waiting: Submission, link: Link, injection: Injection | None, now_s: float) -> None:
        self._counts["submitted again"] += 1
        if len(waiting.asked) >= ASKED_MAX:
            self._switch.fault(link, "repeated far too often", now_s, waiting.request.name)
            return
        waiting.asked.append((link, injection))

    def _again(self, link: Link, request: Request, outcome: Outcome, injection: Injection | None, now_s: float) -> None:
        self._counts["submitted again"] += 1
        if not link.submit:
            self._switch.fault(link, "submitted without being signed on to submit", now_s, request.name)
        self._answers.give(link, request, outcome, injection, now_s)

    def _judge(
        self, link: Link, request: Request, body: bytes, injection: Injection | None, now_s: float, *, used: bool
    ) -> None:
        """Refuse a request that is new, or pass it on."""
        receiver = self._route(request)
        code = self._refusal(link, request, receiver, now_s, used=used)
        if not code:
            assert receiver is not None, "what has no route is refused"
            self._pass_on(link, request, body, receiver, injection, now_s)
            return
        outcome = Outcome(code, f"{request.fault:03d}" if code == "9930" else "")
        if code not in {"9909", "9913"} and not used:
            self._conclude(request, outcome, now_s)
        self._answers.give(link, request, outcome, injection, now_s)

    def _refusal(  # noqa: PLR0911 - one for each rule, in their order
        self, link: Link, request: Request, receiver: Party | None, now_s: float, *, used: bool
    ) -> str:
        """The code of the hub's own refusal, by the order of judgement; empty: the payment may go to its receiver."""
        switch, party = self._switch, link.party
        if used:
            switch.fault(link, "the FPID of another payment", now_s, request.name)
            return "9913"
        if not link.submit:
            switch.fault(link, "submitted without being signed on to submit", now_s, request.name)
            return "9934"
        if request.fault:
            switch.fault(link, f"submitted with DE{request.fault} in error", now_s, request.name)
            return "9930"
        if not self._standing.quiet and (
            code := self._standing.refusal(
                party.institution, receiver.institution if receiver else "", request.type, int(request.amount)
            )
        ):
            return code
        if request.sender != party.de98 or not request.sent_from.startswith(party.sort_codes):
            switch.fault(link, "submitted from a sort code that is not the sender's", now_s, request.name)
            return "9950"
        group = switch.group_of(request.type)
        if group != link.group and group in party.groups:
            switch.fault(link, f"a payment of group {group} on a connection of {link.group}", now_s, request.name)
        if receiver is None:
            return "9908"
        if receiver.bank is None and not receiver.ready(group):
            return "9910"
        if len(self._under_way) >= switch.settings.outstanding_max:
            return "9909"
        return ""

    def _route(self, request: Request) -> Party | None:
        sent_to = request.sent_to
        for code, party in self._routes:
            if sent_to.startswith(code):
                return party
        return None

    # --- it goes to its receiver

    def _pass_on(
        self, link: Link, request: Request, body: bytes, receiver: Party, injection: Injection | None, now_s: float
    ) -> None:
        switch, bank = self._switch, receiver.bank
        way = bank.decide() if bank is not None else None
        member = receiver.name if way is not None else receiver.member
        switch.book(HubEvent("relayed", request.name, now_s, now_s, 0, "", "9200", "", False, "", member))
        if way is not None and not way.after_s:
            outcome = Outcome(way.code)
            self._conclude(request, outcome, now_s)
            self._carried_out(request, way.code, link.party, receiver)
            self._answers.give(link, request, outcome, injection, now_s)
            return
        synchronous = switch.synchronous(request.type)
        submission = Submission(request, body, link.party, receiver, synchronous=synchronous)
        submission.asked.append((link, injection))
        self._under_way[request.fpid] = submission
        if way is None:
            self._deliver(submission, now_s)
        else:
            self._wait_for_bank(submission, way.code, way.after_s, now_s)
        if submission.settled or synchronous:
            return
        if switch.settings.asynchronous_answer == "at-once":
            self._settle(submission, PENDING, now_s)
        else:
            self._agenda.add(now_s + switch.settings.patience_s, partial(self._not_waiting, submission))

    def _deliver(self, submission: Submission, now_s: float) -> None:
        """Send it to its receiver, a participant."""
        request, receiver = submission.request, submission.receiver
        covered = self._requests.passed_on(submission.body, request, self._answers.settlement, receiver.de99)
        self._deliveries.forward(
            payments.Made(request.fpid[:18], request.fpid.decode(iso.TEXT), covered),
            (request.key, request.currency + request.sender),
            receiver, now_s, synchronous=submission.synchronous, conclude=partial(self._concluded, submission),
        )  # fmt: skip

    def _wait_for_bank(self, submission: Submission, code: str, after_s: float, now_s: float) -> None:
        """Let a simulated bank take its time, perhaps too much of it."""
        patience_s = self._switch.settings.patience_s
        if after_s >= patience_s and submission.synchronous:
            self._agenda.add(now_s + patience_s, partial(self._heard, submission, Outcome("9911")))
        elif after_s < NEVER_S:
            self._agenda.add(now_s + after_s, partial(self._heard, submission, Outcome(code)))

    def _not_waiting(self, submission: Submission, now_s: float) -> None:
        """Answer the sender of an asynchronous payment: the payment will be carried out, or come back."""
        if not submission.settled:
            self._settle(submission, PENDING, now_s)

    def _concluded(self, submission: Submission, heard: Heard | None, now_s: float) -> None:
        """Take the receiver's answer, or note that none came in time."""
        self._heard(submission, Outcome(heard.code, heard.field) if heard is not None else Outcome("9911"), now_s)

    def _heard(self, submission: Submission, outcome: Outcome, now_s: float) -> None:
        if not submission.settled:
            self._settle(submission, outcome, now_s)
        elif outcome.code[:1] != "0" and not submission.synchronous:
            self._return(submission, outcome.code, now_s)

    def _return(self, submission: Submission, code: str, now_s: float) -> None:
        """Return a payment refused after its sender was told otherwise: a scheme return, which must be accepted."""
        switch, sender, receiver = self._switch, submission.party, submission.receiver
        self._returns += 1
        made, ends = scheme_return(
            switch.table, submission.body, switch.settings, code, number=self._returns,
            original=submission.request.fpid, sender=receiver.institution, receiver=sender.institution,
        )  # fmt: skip
        self._counts["returned"] += 1
        if not self._standing.quiet:
            # what was carried out comes back: neither has moved
            self._standing.moved(receiver.institution, sender.institution, int(submission.request.amount))
        name = submission.request.name
        switch.book(HubEvent("returned", name, now_s, now_s, 0, "", "9200", code, False, fpid_hash(made.fpid)))
        if sender.bank is None:
            self._deliveries.forward(made, ends, sender, now_s, synchronous=False)

    # --- outcomes

    def _settle(self, submission: Submission, outcome: Outcome, now_s: float) -> None:
        """Remember the one outcome of a waiting payment, and answer every request for it."""
        submission.settled = True
        request = submission.request
        del self._under_way[request.fpid]
        self._conclude(request, outcome, now_s)
        self._carried_out(request, outcome.code, submission.party, submission.receiver)
        for link, injection in submission.asked:
            self._answers.give(link, request, outcome, injection, now_s)
        submission.asked.clear()

    def _conclude(self, request: Request, outcome: Outcome, now_s: float) -> None:
        self._known.put(request.fpid, (request.digest, outcome))
        self.outcomes[outcome.code] += 1
        why = "asynchronous" if outcome.asynchronous == "1" else ""
        self._switch.book(HubEvent("outcome", request.name, now_s, now_s, 0, "", "9210", outcome.code, False, why))

    def _carried_out(self, request: Request, code: str, sender: Party, receiver: Party) -> None:
        if not self._standing.quiet and code[:1] == "0":
            self._standing.moved(sender.institution, receiver.institution, int(request.amount))

    # --- time

    def tick(self, now_s: float) -> None:
        """Do all work that is due."""
        self._agenda.run(now_s)

    @property
    def next_s(self) -> float:
        """The time when work is next due; infinite when there is none."""
        return self._agenda.next_s
