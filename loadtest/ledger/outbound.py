"""The ledger's half for payments that the processor submits: the account of each, and whether the promises were kept.

Every payment that the processor submitted ends in exactly one *account*:

* accepted, qualified, refused: the hub's answer settled it; declined by news: every attempt to submit it got a 503, at
  least one of them because the scheme had announced that it would refuse the payment;
* unknown: it may have left, and nobody gave its outcome; unsent: it certainly never left;
* not taken: every attempt to submit it got a 503; invalid: it got a 4xx; unreached: no attempt got a response (or it
  got a 504, by which the gateway says that it does not know), and neither a journal nor the hub knows the payment.

A payment that fits nowhere is `lost`. Several nodes may have the same payment when the processor tried both sites,
which share nothing. Then each gives its own outcome: one may settle a payment that the other calls unknown or unsent,
or does not take because of the scheme's news. A processor that submits at both hears both. Pure.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from loadtest.ledger.entries import HubEvent, JournalEvent, ProcessorEvent
from loadtest.ledger.promises import Promises, listed

ACCOUNTS = (
    "accepted", "qualified", "refused", "declined by news", "unknown", "unsent", "not taken", "invalid", "unreached",
    "lost",
)  # fmt: skip

KINDS = frozenset({"SUBMITTED", "RETRIED", "SETTLED", "UNKNOWN", "UNSENT", "INCONCLUSIVE", "CONTRADICTED"})
"""The journal's steps of a payment that leaves; all others belong to payments that arrive."""
RESTS = ("SETTLED", "UNKNOWN", "UNSENT")
"""The steps with which a payment may end."""
INCONCLUSIVE = frozenset({"9909", "9913"})
"""Codes that leave the outcome of a payment open (the gateway's default, restated)."""
SAYS = {"0": "receiver", "1": "receiver", "9": "hub"}
"""The party that uses a code, by its first digit (docs/protocol.md section 5)."""


class _Try(NamedTuple):
    """The response to an attempt to submit."""

    status: int
    state: str
    code: str

    @property
    def acknowledged(self) -> bool:
        return 200 <= self.status < 300


class _OutPayment:
    """All lines of all books about one FPID that was submitted."""

    __slots__ = (
        "answered_on", "answers", "asked_on", "asynchronous", "contents", "keys", "notices", "outcomes", "relayed",
        "repeats", "requests", "returned_as", "said", "steps", "submitting", "tries",
    )  # fmt: skip

    def __init__(self) -> None:
        self.submitting = 0
        self.contents: set[str] = set()
        """The contents that the processor submitted: one."""
        self.said: set[tuple[str, str]] = set()
        """Each content that another book gives, and where."""
        self.keys: set[str] = set()
        self.tries: list[_Try] = []
        self.notices: list[tuple[str, str]] = []
        self.requests = self.repeats = 0
        self.relayed = 0
        self.outcomes: list[str] = []
        self.asynchronous = False
        self.returned_as: list[str] = []
        self.answers: list[str] = []
        self.asked_on: set[int] = set()
        self.answered_on: set[int] = set()
        self.steps: dict[str, list[JournalEvent]] = {}

    @property
    def seen(self) -> int:
        """Times that the hub saw it."""
        return self.requests + self.repeats

    def all(self, kind: str) -> list[JournalEvent]:
        return [step for steps in self.steps.values() for step in steps if step.kind == kind]

    def ends(self) -> list[str]:
        """The last step at each node that changed its state."""
        return [
            next((step.kind for step in reversed(steps) if step.kind in {"SUBMITTED", "RETRIED", *RESTS}), "")
            for steps in self.steps.values()
        ]


class Outbound:
    """Takes from `ledger` all lines about payments that leave."""

    def __init__(self, promises: Promises, figures: Counter[str]) -> None:
        self.payments: dict[str, _OutPayment] = {}
        self._promises = promises
        self._figures = figures
        self.news_sent = 0
        """Pieces of news that the hub sent."""
        self._first_news: dict[str, int] = {}

    def _payment(self, fpid: str) -> _OutPayment:
        payment = self.payments.get(fpid)
        if payment is None:
            payment = self.payments[fpid] = _OutPayment()
        return payment

    # --- the books

    def hub(self, event: HubEvent) -> None:
        """Take a line of the hub's book about a payment submitted to it."""
        payment = self._payment(event.fpid)
        what = event.event
        if event.content:
            payment.said.add((event.content, "got by the hub"))
        if what == "submitted":
            payment.requests += event.mti != "9201"
            payment.repeats += event.mti == "9201"
            payment.asked_on.add(event.link)
        elif what == "relayed":
            payment.relayed += 1
        elif what == "outcome":
            payment.outcomes.append(event.code)
            payment.asynchronous |= event.why == "asynchronous"
        elif what == "returned":
            payment.returned_as.append(event.why)
        elif what == "answered":
            payment.answers.append(event.code)
            payment.answered_on.add(event.link)
            self._figures["answers injected"] += bool(event.why)

    def processor(self, event: ProcessorEvent) -> None:
        """Take an attempt of the processor's book, or a notice about a payment of its own."""
        payment = self._payment(event.fpid)
        if event.content and event.event != "submitting":
            payment.said.add((event.content, "told of"))
        if event.event == "submitting":
            payment.submitting += 1
            payment.keys.add(event.key)
            if event.content:
                payment.contents.add(event.content)
        elif event.event == "submitted":
            payment.tries.append(_Try(event.status, event.state, event.code))
        else:
            payment.notices.append((event.kind, event.code))

    def journal(self, event: JournalEvent, node: str) -> None:
        """Take a step of a payment that leaves."""
        payment = self._payment(event.fpid)
        payment.steps.setdefault(node, []).append(event)
        if event.content:
            payment.said.add((event.content, f"recorded by {node or 'the gateway'}"))

    def news(self, position: int, node: str) -> None:
        """Take news of the scheme, by which payments may be declined from this position on."""
        self._first_news.setdefault(node, position)

    # --- the verdict

    def judge(self, heard_in_time: Callable[[str], set[str] | None]) -> dict[str, int]:
        """Judge each payment, and return the accounts. `heard_in_time` is that of `Inbound`, for payments in both."""
        accounts = dict.fromkeys(ACCOUNTS, 0)
        for fpid, payment in self.payments.items():
            if payment.submitting:
                account, why = _account_of(payment)
                self._promises["submissions-accounted"].check(account != "lost", f"{fpid}: {why}")
                accounts[account] += 1
            self._judge_taken(fpid, payment)
            self._judge_books(fpid, payment)
            self._judge_sent(fpid, payment)
            self._judge_settled(fpid, payment)
            self._judge_failed(fpid, payment)
            self._judge_heard(fpid, payment)
            if payment.contents:
                for content, where in payment.said:
                    self._promises["content-sent"].check(
                        content in payment.contents, f"{fpid}: what was {where} is not what was submitted"
                    )
            self._judge_ends(fpid, payment, heard_in_time)
            self._count(payment)
        return accounts

    def _judge_taken(self, fpid: str, payment: _OutPayment) -> None:
        check = self._promises
        submitted = payment.all("SUBMITTED")
        if any(attempt.acknowledged for attempt in payment.tries):
            recorded = bool(submitted or payment.all("SETTLED"))
            check["taken-after-durable"].check(recorded, f"{fpid}: acknowledged, and not in the journal")
        for step in submitted:
            check["only-submitted"].check(
                payment.submitting > 0 and step.key in {"", *payment.keys},
                f"{fpid}: recorded {'under another key' if payment.submitting else 'and never submitted'}",
            )
        for node, end in zip(payment.steps, payment.ends(), strict=True):
            check["submissions-end"].check(
                end in RESTS, f"{fpid}: {node or 'the journal'} ends with {end or 'nothing'}"
            )
        refused = payment.tries and all(
            attempt.status == 503 or 400 <= attempt.status < 500 for attempt in payment.tries
        )
        for attempt in payment.tries:
            if attempt.status == 503 and attempt.code:
                heard = self.news_sent > 0 and bool(self._first_news)
                check["declined-by-news"].check(heard, f"{fpid}: declined with {attempt.code}, and there was no news")
        if refused:
            nothing = not payment.steps and not payment.seen
            check["refused-means-nothing"].check(
                nothing, f"{fpid}: refused, and {'recorded' if payment.steps else 'sent'}"
            )

    def _judge_books(self, fpid: str, payment: _OutPayment) -> None:
        """Check that the books of hub and processor do not contradict themselves: they are programs, too."""
        if payment.submitting:
            wrong = "submitted, and no attempt is booked" if not payment.tries else "submitted under several keys"
            self._promises["processor-honest"].check(bool(payment.tries) and len(payment.keys) == 1, f"{fpid}: {wrong}")
        if payment.seen or payment.relayed or payment.outcomes or payment.answers:
            wrong = _dishonest(payment)
            self._promises["hub-honest"].check(not wrong, f"{fpid}: {wrong}")

    def _judge_sent(self, fpid: str, payment: _OutPayment) -> None:
        check = self._promises
        if payment.seen:
            nodes = sum(any(step.kind == "SUBMITTED" for step in steps) for steps in payment.steps.values())
            recorded = len(payment.all("SUBMITTED")) + len(payment.all("RETRIED"))
            check["sent-after-durable"].check(
                payment.seen <= recorded, f"{fpid}: the hub saw it {payment.seen} times, the journal has {recorded}"
            )
            check["sent-once"].check(
                payment.requests <= max(nodes, 1), f"{fpid}: {payment.requests} requests (9200) of {nodes} nodes"
            )
            check["executed-once"].check(
                payment.relayed <= 1 and len(payment.outcomes) <= 1,
                f"{fpid}: passed on {payment.relayed} times, outcomes {listed(payment.outcomes)}",
            )
            check["only-submitted"].check(payment.submitting > 0, f"{fpid}: the hub has it, nobody submitted it")

    def _judge_settled(self, fpid: str, payment: _OutPayment) -> None:
        check = self._promises
        for step in (*payment.all("SETTLED"), *payment.all("CONTRADICTED")):
            right = step.code in payment.answers and step.code not in INCONCLUSIVE
            check["settled-as-answered"].check(
                right and step.by in {"", SAYS.get(step.code[:1])},
                f"{fpid}: {step.kind} {step.code} by {step.by}, the hub answered {listed(payment.answers)}",
            )
        settled = payment.all("SETTLED")
        if settled:
            codes = {step.code for step in settled}
            at_most_once = all(sum(step.kind == "SETTLED" for step in steps) <= 1 for steps in payment.steps.values())
            check["settled-once"].check(
                at_most_once and len(codes) == 1, f"{fpid}: {len(settled)} settlements, {listed(codes)}"
            )
        for step in payment.all("CONTRADICTED"):
            codes = {other.code for other in settled}
            check["settled-once"].check(
                bool(codes) and step.code not in codes, f"{fpid}: {step.code} contradicts {listed(codes)}"
            )

    def _judge_failed(self, fpid: str, payment: _OutPayment) -> None:
        """A payment reported as unsent was sent by no node, and one reported as refused was not carried out."""
        check = self._promises["never-failed"]
        if payment.all("UNSENT"):
            others = any(end != "UNSENT" for end in payment.ends())
            check.check(others or not payment.seen, f"{fpid}: reported as unsent, and the hub has it")
        for step in payment.all("SETTLED"):
            if payment.outcomes and step.code[:1] != "0":
                carried_out = any(code[:1] == "0" for code in payment.outcomes)
                check.check(not carried_out, f"{fpid}: reported as {step.code}, and it was carried out")

    def _judge_heard(self, fpid: str, payment: _OutPayment) -> None:
        """Every outcome that the processor heard, in a response or a notice, is in the journal."""
        recorded = {
            (step.kind, step.code if step.kind == "SETTLED" else "") for kind in RESTS for step in payment.all(kind)
        }
        heard = [(attempt.state, attempt.code) for attempt in payment.tries if attempt.acknowledged] + payment.notices
        for state, code in heard:
            if state in RESTS:
                said = (state, code if state == "SETTLED" else "")
                self._promises["outcome-as-recorded"].check(
                    said in recorded, f"{fpid}: heard {' '.join(said).strip()}, which no journal holds"
                )

    def _judge_ends(self, fpid: str, payment: _OutPayment, heard_in_time: Callable[[str], set[str] | None]) -> None:
        """A payment to a gateway of another bank has one code at both ends, or the hub's own at ours."""
        heard, check = heard_in_time(fpid), self._promises["both-ends-agree"]
        if heard is None:
            return
        back = payment.returned_as
        said = f"its receiver said {listed(heard)}{' in time' if not payment.asynchronous else ''}"
        for code in payment.outcomes:
            if payment.asynchronous:
                kept = any(other[:1] == "0" for other in heard)
                right = kept is not bool(back) and len(back) <= 1
            else:
                right = not back and (code in heard if code[:1] in {"0", "1"} else not heard)
            came = f", {len(back)} scheme returns" if back else ""
            check.check(right, f"{fpid}: the sender has {code}, {said}{came}")
        for name in back:
            check.check(heard_in_time(name) is not None, f"{fpid}: its scheme return {name} was not sent")

    def _count(self, payment: _OutPayment) -> None:
        figures = self._figures
        figures["submitted again"] += max(0, len(payment.tries) - 1)
        figures["submissions without a response"] += sum(attempt.status == 0 for attempt in payment.tries)
        figures["submissions unavailable"] += sum(attempt.status == 503 for attempt in payment.tries)
        figures["outbound repeats"] += payment.repeats
        for kind in ("RETRIED", "UNKNOWN", "UNSENT", "INCONCLUSIVE", "CONTRADICTED"):
            figures[f"steps {kind}"] += len(payment.all(kind))


def _dishonest(payment: _OutPayment) -> str:
    """What contradicts itself in the hub's book about this payment; empty: nothing."""
    if not payment.seen:
        return "passed on, decided or answered, and never submitted"
    if any(code[:1] == "0" for code in payment.outcomes) and not payment.relayed:
        return "accepted, and never passed on"
    conclusive = set(payment.answers) - INCONCLUSIVE
    if not conclusive <= set(payment.outcomes):
        return f"answered {listed(conclusive)}, its outcome is {listed(payment.outcomes)}"
    if not payment.answered_on <= payment.asked_on:
        return "answered on a connection that did not ask"
    return ""


def _account_of(payment: _OutPayment) -> tuple[str, str]:
    """The account, and the reason when it is `lost`."""
    if settled := payment.all("SETTLED"):
        return _settled_as(settled[0]), ""
    if payment.steps:
        ends = set(payment.ends())
        account = "unknown" if "UNKNOWN" in ends else "unsent" if ends == {"UNSENT"} else "lost"
        return account, "in the journal without an end"
    if payment.seen:
        return "lost", "the hub has it, and no journal does"
    statuses = {attempt.status for attempt in payment.tries}
    if said := statuses - {0, 503, 504}:
        account = "invalid" if all(400 <= status < 500 for status in said) else "lost"
        return account, f"answered with {listed(statuses)}, and in no journal"
    if statuses == {503}:
        return ("declined by news" if any(attempt.code for attempt in payment.tries) else "not taken"), ""
    return "unreached", ""


def _settled_as(step: JournalEvent) -> str:
    """The account of a settlement."""
    return "accepted" if step.code == "0000" else "qualified" if step.code[:1] == "0" else "refused"
