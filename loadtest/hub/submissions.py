"""Payments that participants submit: judged, routed, answered (docs/protocol.md sections 5 and 6).

The order of judgement: frame, parse (9624/650), MAC (9624/690), another payment's FPID (9913: any other code would be
heard as that payment's answer), sign-on (9934), fields (9930 and DE44), suspended (9943 to 9945), limits (9940 to
9942), the sender's sort code (9950), route (9908), the receiver's sign-on (9910). What then passes goes to its
receiver, a participant or a bank that the hub plays.

**One payment has one outcome.** The first conclusive answer to an FPID is remembered, refusals too, and every later
request with the same content gets it, before anything is judged that may have changed meanwhile; a request that comes
while the receiver still decides waits with the first. Each request is answered on its own connection or not at all.
One that is known and comes as a 9200 is counted ("9200 again"), and no fault: a participant's two sites may each send
one, and no connection says whose it is. 9909 and 9913 conclude nothing. What is injected on demand (`Ordered`) spoils
answers, never outcomes. Pure.
"""

from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from typing import Literal, NamedTuple, get_args

from loadtest.hub.bank import NEVER_S
from loadtest.hub.deliveries import Deliveries
from loadtest.hub.keys import MAC_BYTES
from loadtest.hub.parties import Link, Party
from loadtest.hub.rekey import Rekey
from loadtest.hub.requests import Request, Requests
from loadtest.hub.standing import Standing
from loadtest.hub.switch import Switch
from loadtest.ledger.entries import HubEvent, fpid_hash
from loadtest.traffic import iso, payments
from loadtest.traffic.judge import Heard

REMEMBERED = 500_000
"""Outcomes in each of two generations of memory: more than a minute and a half at 5,000 a second, at the least."""
WAITING_MAX = 64
"""Requests of one payment that wait for its outcome; more are not answered."""

Fault = Literal["swallow", "late", "twice", "drop", "lose", "9909", "9909-after", "650", "690"]
"""What the hub does wrong on demand. The payment is carried out, and `swallow`: its answer never leaves; `late`: it
leaves later; `twice`; `drop`: the link goes right after the request; `9909-after`: 9909 stands for its answer. Or it is
not carried out, and `lose`: the link goes with the request; `9909`: it is answered so; `650`, `690`: 9624 says so."""
UNDONE = frozenset({"lose", "9909", "650", "690"})

RETURN_CODES = {
    "1114": "00000001", "1160": "00000002", "1161": "00000003", "1167": "00000004", "1163": "00000005",
    "1162": "00000006", "1165": "00000008", "1170": "00000010", "1168": "00000011", "1166": "00000012",
    "1169": "00000013",
}  # fmt: skip
"""DE26 of a refusal → DE126 of the scheme return (docs/protocol.md section 5); for all others:"""
NO_REASON = "00000014"


class Ordered:
    """A fault that was asked for."""

    def __init__(
        self, what: Fault, count: int = 1, *, every: int = 1, after_s: float = 1.0, party: Party | None = None
    ) -> None:
        """Raises ValueError. Spoils `count` requests, of each `every` the last; those of this party, or anyone's."""
        if what not in get_args(Fault):
            raise ValueError(f"what: one of {', '.join(get_args(Fault))}")
        if count < 1 or every < 1 or not after_s >= 0:
            raise ValueError("count and every are at least 1, after_s is not negative")
        self.what = what
        self.left = count
        self.every = every
        self.after_s = after_s
        self.party = party
        self._seen = 0

    def takes(self, party: Party) -> bool:
        """Whether this request is one to be spoilt."""
        if self.party is not None and self.party is not party:
            return False
        self._seen += 1
        if self._seen % self.every:
            return False
        self.left -= 1
        return True


class _Asked(NamedTuple):
    """A request that waits for the outcome."""

    link: Link
    spoilt: Ordered | None


class Submission:
    """A payment that waits for its receiver."""

    __slots__ = ("asked", "body", "hash", "party", "receiver", "request", "settled", "synchronous")

    def __init__(self, request: Request, body: bytes, party: Party, receiver: Party, *, synchronous: bool) -> None:
        self.request = request
        self.body = body
        self.hash = fpid_hash(request.fpid.decode(iso.TEXT))
        self.party = party
        """Whose it is."""
        self.receiver = receiver
        self.synchronous = synchronous
        self.asked: list[_Asked] = []
        self.settled = False
        """Its sender's outcome stands; a refusal that comes now comes as a scheme return."""


class Submissions:
    """The hub as the one that participants submit to."""

    def __init__(self, switch: Switch, deliveries: Deliveries, standing: Standing, rekey: Rekey) -> None:
        self._switch = switch
        self._rekey = rekey
        self._deliveries = deliveries
        self._standing = standing
        self._requests = Requests(switch.table)
        self._routes = sorted(
            ((code, party) for party in switch.parties.values() for code in party.sort_codes),
            key=lambda route: -len(route[0]),
        )
        settings = switch.settings
        self._settlement = (settings.settlement_date + settings.settlement_cycle).encode()
        self._under_way: dict[bytes, Submission] = {}
        self._known: tuple[dict[bytes, bytes], dict[bytes, bytes]] = ({}, {})
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._turn = 0
        self._returns = 0
        self._late = 0
        self.ordered: deque[Ordered] = deque()
        self.codes: Counter[str] = Counter()
        """Answers, by code: a payment that was submitted again has several."""
        self.outcomes: Counter[str] = Counter()
        """Payments, by the code of their one outcome."""
        self.counts = switch.counts

    @property
    def outstanding(self) -> int:
        """Payments that wait for a bank of the hub's own, and answers that are kept back."""
        return self._late + sum(waiting.receiver.bank is not None for waiting in self._under_way.values())

    @property
    def payments(self) -> int:
        """Payments that were submitted and not turned back without an outcome; repeats do not count."""
        return self.outcomes.total() + len(self._under_way)

    # --- a request comes

    def received(self, link: Link, body: bytes, now_s: float) -> None:
        """A 9200 or 9201 came on this link."""
        switch, party = self._switch, link.party
        try:
            request = self._requests.read(body)
        except iso.Unreadable as error:
            switch.fault(link, f"{body[:4].decode()}: {error}", now_s)
            self._advise(link, "650", None)
            return
        if not switch.authentic(party, body, now_s):
            self._rekey.not_authentic(link, body, now_s, self._hash(request))
            self._advise(link, "690", request)
            return
        fpid = request.fpid
        hashed = fpid_hash(fpid.decode(iso.TEXT))
        self.counts["submitted"] += 1
        contents = switch.contents
        content = contents.of_message(fpid.decode(iso.TEXT), body[:-MAC_BYTES]) if contents else ""
        switch.book(
            HubEvent(
                "submitted", hashed, now_s, now_s, link.number, link.site, body[:4].decode(), "", False, "",
                party.member, content,
            )
        )  # fmt: skip
        spoilt = self._spoilt(party) if self.ordered else None
        if spoilt is not None and spoilt.what in UNDONE:
            self._undone(link, request, spoilt.what, hashed, now_s)
            return
        if spoilt is not None and spoilt.what == "drop":
            link.closing = "a fault on demand"
            switch.roster(party)
        waiting = self._under_way.get(fpid)
        if waiting is not None and waiting.request.digest == request.digest:
            self.counts["9200 again"] += body[:4] == b"9200"
            self._wait(waiting, link, spoilt, now_s)
            return
        known = self._known[0].get(fpid) or self._known[1].get(fpid)
        if known is not None and known[:8] == request.digest:
            self.counts["9200 again"] += body[:4] == b"9200"
            self._again(link, request, known, hashed, spoilt, now_s)
            return
        receiver = self._route(request)
        code = self._refusal(link, request, receiver, hashed, now_s, used=bool(known or waiting))
        if code:
            field = f"{request.fault:03d}" if code == "9930" else ""
            if code not in {"9909", "9913"} and not (known or waiting):
                self._conclude(request, code, "0", field, hashed, now_s)
            self._answer(link, request, code, "0", field, hashed, spoilt, now_s)
            return
        assert receiver is not None, "what has no route is refused"
        self._pass_on(link, request, body, receiver, hashed, spoilt, now_s)

    def _wait(self, waiting: Submission, link: Link, spoilt: Ordered | None, now_s: float) -> None:
        self.counts["submitted again"] += 1
        if len(waiting.asked) >= WAITING_MAX:
            self._switch.fault(link, "repeated far too often", now_s, waiting.hash)
            return
        waiting.asked.append(_Asked(link, spoilt))

    def _again(
        self, link: Link, request: Request, known: bytes, hashed: str, spoilt: Ordered | None, now_s: float
    ) -> None:
        self.counts["submitted again"] += 1
        if not link.submit:
            self._switch.fault(link, "submitted without being signed on to submit", now_s, hashed)
        text = known[8:].decode()
        self._answer(link, request, text[:4], text[4], text[5:], hashed, spoilt, now_s)

    def _refusal(  # noqa: PLR0911 - one for each rule, in their order
        self, link: Link, request: Request, receiver: Party | None, hashed: str, now_s: float, *, used: bool
    ) -> str:
        """The hub's own refusal, by the order of judgement; empty: it may go to its receiver."""
        switch, party = self._switch, link.party
        if used:
            switch.fault(link, "the FPID of another payment", now_s, hashed)
            return "9913"
        if not link.submit:
            switch.fault(link, "submitted without being signed on to submit", now_s, hashed)
            return "9934"
        if request.fault:
            switch.fault(link, f"submitted with DE{request.fault} in error", now_s, hashed)
            return "9930"
        if not self._standing.quiet and (
            code := self._standing.refusal(
                party.institution, receiver.institution if receiver else "", request.type, int(request.amount)
            )
        ):
            return code
        if request.sender != party.de98 or not request.sent_from.startswith(party.sort_codes):
            switch.fault(link, "submitted from a sort code that is not the sender's", now_s, hashed)
            return "9950"
        group = switch.group_of(request.type)
        if group != link.group and group in party.groups:
            switch.fault(link, f"a payment of group {group} on a connection of {link.group}", now_s, hashed)
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
        self,
        link: Link,
        request: Request,
        body: bytes,
        receiver: Party,
        hashed: str,
        spoilt: Ordered | None,
        now_s: float,
    ) -> None:
        switch = self._switch
        bank = receiver.bank
        way = bank.decide() if bank is not None else None
        member = receiver.name if way is not None else receiver.member
        switch.book(HubEvent("relayed", hashed, now_s, now_s, 0, "", "9200", "", False, "", member))
        if way is not None and not way.after_s:
            self._conclude(request, way.code, "0", "", hashed, now_s)
            self._carried_out(request, way.code, link.party, receiver)
            self._answer(link, request, way.code, "0", "", hashed, spoilt, now_s)
            return
        settings = switch.settings
        synchronous = switch.synchronous(request.type)
        submission = Submission(request, body, link.party, receiver, synchronous=synchronous)
        submission.asked.append(_Asked(link, spoilt))
        self._under_way[request.fpid] = submission
        if way is None:
            covered = self._requests.passed_on(body, request, self._settlement, receiver.de99)
            made = payments.Made(request.fpid[:18], request.fpid.decode(iso.TEXT), covered)
            ends = (request.key, request.currency + request.sender)
            self._deliveries.forward(
                made, ends, receiver, now_s, synchronous=synchronous, conclude=partial(self._concluded, submission)
            )
        else:
            self._wait_for_bank(submission, way.code, way.after_s, now_s)
        if submission.settled or synchronous:
            return
        if settings.asynchronous_answer == "at-once":
            self._settle(submission, "0000", "1", "", now_s)
        else:
            self._later(now_s + settings.patience_s, partial(self._not_waiting, submission))

    def _wait_for_bank(self, submission: Submission, code: str, after_s: float, now_s: float) -> None:
        """A bank of the hub's own takes its time, perhaps too much of it."""
        patience_s = self._switch.settings.patience_s
        if after_s < patience_s:
            self._later(now_s + after_s, partial(self._heard, submission, code, ""))
        elif submission.synchronous:
            self._later(now_s + patience_s, partial(self._heard, submission, "9911", ""))
        elif after_s < NEVER_S:
            self._later(now_s + after_s, partial(self._heard, submission, code, ""))

    def _not_waiting(self, submission: Submission, now_s: float) -> None:
        """An asynchronous payment's sender waits no longer: it will be carried out, or come back."""
        if not submission.settled:
            self._settle(submission, "0000", "1", "", now_s)

    def _concluded(self, submission: Submission, heard: Heard | None, now_s: float) -> None:
        """The receiver said this, or nothing in time."""
        code, field = (heard.code, heard.field) if heard is not None else ("9911", "")
        self._heard(submission, code, field, now_s)

    def _heard(self, submission: Submission, code: str, field: str, now_s: float) -> None:
        if not submission.settled:
            self._settle(submission, code, "0", field, now_s)
        elif code[:1] != "0" and not submission.synchronous:
            self._return(submission, code, now_s)

    def _return(self, submission: Submission, code: str, now_s: float) -> None:
        """Refused after its sender was told otherwise: it comes back as a scheme return, which must be accepted."""
        switch = self._switch
        _, old = iso.read(switch.table, submission.body)
        self._returns += 1
        trn = f"SR{self._returns:016d}"
        institution = submission.receiver.institution
        fields: iso.Fields = {
            3: "25" + old[3][2:], 6: old[6], 12: switch.settings.settlement_date,
            15: switch.settings.settlement_date, 29: switch.settings.settlement_cycle, 31: trn, 35: old[43],
            42: old[95], 43: old[35], 46: old.get(46, "001003SHA"), 51: old[51], 61: old.get(61, "00100200"),
            95: old[42], 98: institution, 99: submission.party.institution, 116: old.get(118, "SCHEME RETURN")[:40],
            118: old[116], 126: RETURN_CODES.get(code, NO_REASON), 127: submission.request.fpid.decode(iso.TEXT),
        }  # fmt: skip
        fpid = f"{trn}25{fields[12]}{fields[51]}{institution:<11}"
        ends = ((fields[3] + fields[12]).encode(), f"{fields[51]}{institution:<11}".encode())
        made = payments.Made(trn.encode(), fpid, iso.write(switch.table, "9200", fields))
        self.counts["returned"] += 1
        if not self._standing.quiet:
            # what was carried out comes back: neither has moved
            self._standing.moved(institution, submission.party.institution, int(submission.request.amount))
        switch.book(HubEvent("returned", submission.hash, now_s, now_s, 0, "", "9200", code, False, fpid_hash(fpid)))
        if submission.party.bank is None:
            self._deliveries.forward(made, ends, submission.party, now_s, synchronous=False)

    # --- outcomes

    def _settle(self, submission: Submission, code: str, asynchronous: str, field: str, now_s: float) -> None:
        """The one outcome of a payment that waited: remember it, answer all who asked."""
        submission.settled = True
        request = submission.request
        del self._under_way[request.fpid]
        self._conclude(request, code, asynchronous, field, submission.hash, now_s)
        self._carried_out(request, code, submission.party, submission.receiver)
        for link, spoilt in submission.asked:
            self._answer(link, request, code, asynchronous, field, submission.hash, spoilt, now_s)
        submission.asked.clear()

    def _conclude(self, request: Request, code: str, asynchronous: str, field: str, hashed: str, now_s: float) -> None:
        if len(self._known[0]) >= REMEMBERED:
            self._known = ({}, self._known[0])
        self._known[0][request.fpid] = request.digest + f"{code}{asynchronous}{field}".encode()
        self.outcomes[code] += 1
        why = "asynchronous" if asynchronous == "1" else ""
        self._switch.book(HubEvent("outcome", hashed, now_s, now_s, 0, "", "9210", code, False, why))

    def _carried_out(self, request: Request, code: str, sender: Party, receiver: Party) -> None:
        if not self._standing.quiet and code[:1] == "0":
            self._standing.moved(sender.institution, receiver.institution, int(request.amount))

    def _answer(
        self,
        link: Link,
        request: Request,
        code: str,
        asynchronous: str,
        field: str,
        hashed: str,
        spoilt: Ordered | None,
        now_s: float,
    ) -> None:
        """Answer one request, on its connection, as well as the faults on demand let us."""
        what = spoilt.what if spoilt is not None else ""
        if what == "late":
            assert spoilt is not None
            self._late += 1
            arguments = (link, request, code, asynchronous, field, hashed, "late")
            self._later(now_s + spoilt.after_s, partial(self._write_late, *arguments))
            return
        if what == "swallow":
            self.counts["answers swallowed"] += 1
            return
        if what == "9909-after":
            code, asynchronous, field = "9909", "0", ""
        self._write(link, request, code, asynchronous, field, hashed, what, now_s)
        if what == "twice":
            self._write(link, request, code, asynchronous, field, hashed, what, now_s)

    def _write_late(
        self,
        link: Link,
        request: Request,
        code: str,
        asynchronous: str,
        field: str,
        hashed: str,
        why: str,
        now_s: float,
    ) -> None:
        self._late -= 1
        self._leave(link, request, code, asynchronous, field, hashed, why, now_s)

    def _write(
        self,
        link: Link,
        request: Request,
        code: str,
        asynchronous: str,
        field: str,
        hashed: str,
        why: str,
        now_s: float,
    ) -> None:
        if link.sick is not None and link.sick.how in {"mute", "silent"}:
            self.counts["answers lost on a sick link"] += 1
            return
        if link.sick is not None and link.sick.how == "slow":
            self._late += 1
            arguments = (link, request, code, asynchronous, field, hashed, why)
            self._later(now_s + link.sick.after_s, partial(self._write_late, *arguments))
            return
        self._leave(link, request, code, asynchronous, field, hashed, why, now_s)

    def _leave(
        self,
        link: Link,
        request: Request,
        code: str,
        asynchronous: str,
        field: str,
        hashed: str,
        why: str,
        now_s: float,
    ) -> None:
        if link.down or link.retired or link.closing:
            self.counts["answers undeliverable"] += 1
            return
        redirection = None
        if code[:1] == "0" and (receiver := self._route(request)) is not None and receiver.redirections:
            redirection = receiver.redirections.get(request.account)
        self._switch.transmit(
            link,
            self._requests.answer(request, code, asynchronous, self._settlement, field=field, redirection=redirection),
        )
        self.codes[code] += 1
        self.counts["answered"] += 1
        self._switch.book(
            HubEvent(
                "answered", hashed, now_s, now_s, link.number, link.site, "9210", code, False, why, link.party.member
            )
        )

    # --- faults on demand

    def _spoilt(self, party: Party) -> Ordered | None:
        for ordered in self.ordered:
            if ordered.takes(party):
                if not ordered.left:
                    self.ordered.remove(ordered)
                self.counts[f"injected {ordered.what}"] += 1
                return ordered
        return None

    def _undone(self, link: Link, request: Request, what: Fault, hashed: str, now_s: float) -> None:
        if what == "lose":
            link.closing = "a fault on demand"
            self._switch.roster(link.party)
        elif what == "9909":
            self._write(link, request, "9909", "0", "", hashed, what, now_s)
        else:
            self._advise(link, what, request)

    def _advise(self, link: Link, function: str, request: Request | None) -> None:
        """Say in a 9624 what is wrong with a request; which one it is, where that could be read."""
        fields: iso.Fields = {}
        if request is not None:
            fields = {
                3: request.key[:6].decode(), 12: request.key[6:].decode(), 31: request.trn[2:].decode(iso.TEXT),
                51: request.currency.decode(), 98: request.sender.decode(iso.TEXT),
            }  # fmt: skip
        self.counts[f"advised {function}"] += 1
        self._switch.manage(link, "9624", function, fields)

    # --- time

    def _later(self, due_s: float, what: Callable[[float], None]) -> None:
        self._turn += 1
        heappush(self._due, (due_s, self._turn, what))

    def tick(self, now_s: float) -> None:
        """Do what is due."""
        while self._due and self._due[0][0] <= now_s:
            _, _, what = heappop(self._due)
            what(now_s)

    @property
    def next_s(self) -> float:
        """When something is due; infinite when nothing is."""
        return self._due[0][0] if self._due else NEVER_S

    @staticmethod
    def _hash(request: Request) -> str:
        return fpid_hash(request.fpid.decode(iso.TEXT))
