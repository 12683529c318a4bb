"""The ledger's half for payments that the hub sends: the account of each, and whether the promises were kept.

Every payment that the hub sent ends in exactly one *account*:

* answered, stood in, refused, declined: the hub has the reply in time, and the journal has the decision with the same
  code (declined: stand-in might not accept it, and its rules said 1909);
* reversed: the hub took it back and has our positive response, and the journal has the reversal;
* undelivered, orphaned, unanswered: the hub gave it up, the journal says why, and the processor was told;
* unreached: the hub gave it up, its connection was lost each time, and the journal never saw it.

A payment that fits nowhere is `lost`.

Two sites of one bank share nothing. So a payment that the hub repeats or reverses at the other site may have an outcome
at each: the processor's, which is the same at both, or that of stand-in, of which the processor is told. Pure.
"""

from collections import Counter, defaultdict
from collections.abc import Callable

from loadtest.ledger.entries import HubEvent, JournalEvent, ProcessorEvent
from loadtest.ledger.promises import Promises, listed

ACCOUNTS = (
    "answered", "stood in", "refused", "declined", "reversed", "undelivered", "orphaned", "unanswered", "unreached",
    "lost",
)  # fmt: skip

DECISIONS = ("ANSWERED", "STOOD_IN", "REFUSED", "DECLINED")
REOPENED = ("ORPHANED", "UNANSWERED")
"""Steps after which a payment that comes again is decided like a new one."""
COUNTED = frozenset(
    {"UNDELIVERED", "LATE_ANSWER", "LATE_REFUSAL", "REVERSED", "ORPHANED", "REPEATED", "UNANSWERED", "OVERRULED"}
)
"""Steps whose count is shown."""

DUPLICATE = "1181"
"""Refuses a message, not a payment: other content under a used FPID."""
MALFUNCTION = "1909"
"""Allowed only when stand-in cannot accept: a gateway with a disk and one HSM always can."""


class _InPayment:
    """All lines of all books about one FPID that the hub sent."""

    __slots__ = (
        "answers", "asked", "contents", "first", "given_up", "in_time", "late", "mischief", "replied_by", "replies",
        "reversal_code", "reversal_sent", "said", "sent", "steps", "timed_out",
    )  # fmt: skip

    def __init__(self) -> None:
        self.sent = self.first = 0
        self.mischief = False
        self.contents: set[str] = set()
        """The contents that the hub sent: one, except in mischief."""
        self.said: set[tuple[str, str]] = set()
        """Each content that another book gives, and where."""
        self.replies: list[str] = []
        self.replied_by: set[tuple[str, str]] = set()
        """Node, where it is known, and code."""
        self.in_time = self.late = 0
        self.timed_out: list[str] = []
        self.reversal_sent = 0
        self.reversal_code = ""
        self.given_up = ""
        self.asked = 0
        self.answers: list[str] = []
        self.steps: list[tuple[str, JournalEvent]] = []

    def codes(self, kind: str) -> list[str]:
        return [step.code for _, step in self.steps if step.kind == kind]

    def has(self, kind: str) -> bool:
        return any(step.kind == kind for _, step in self.steps)


class Inbound:
    """Takes from `ledger` all lines about payments that the hub sent."""

    def __init__(self, promises: Promises, figures: Counter[str], node_of: Callable[[int], str] = lambda _: "") -> None:
        """`node_of` gives the node at the other end of a connection of the hub; empty: unknown."""
        self.payments: dict[str, _InPayment] = {}
        self._promises = promises
        self._figures = figures
        self._node_of = node_of

    def _payment(self, fpid: str) -> _InPayment:
        payment = self.payments.get(fpid)
        if payment is None:
            payment = self.payments[fpid] = _InPayment()
        return payment

    def heard_in_time(self, fpid: str) -> set[str] | None:
        """The codes that the hub got in time for a payment, none if it reversed it; None if it did not send it."""
        payment = self.payments.get(fpid)
        if payment is None or not payment.sent:
            return None
        return set(payment.replies) if payment.in_time and not payment.reversal_code else set()

    # --- the books

    def mischief(self, fpid: str) -> None:
        """Note that the hub made this payment to misbehave."""
        self._payment(fpid).mischief = True

    def hub(self, event: HubEvent) -> None:
        """Take a line of the hub's book about a payment that it sent."""
        payment = self._payment(event.fpid)
        what = event.event
        if what == "sent":
            payment.sent += 1
            payment.first += event.mti == "9200"
            if event.content:
                payment.contents.add(event.content)
            self._figures["repeats sent"] += event.mti == "9201"
        elif what == "replied":
            payment.replies.append(event.code)
            payment.replied_by.add((self._node_of(event.link), event.code))
            payment.late += event.late
            payment.in_time += not event.late
            self._promises["hub-satisfied"].check(True)
        elif what == "timed-out":
            payment.timed_out.append(event.why)
        elif what == "reversal-sent":
            payment.reversal_sent += 1
        elif what == "reversed":
            payment.reversal_code = event.code
        elif what == "given-up":
            payment.given_up = event.why or "given up"

    def processor(self, event: ProcessorEvent) -> None:
        """Take a question, an answer or a notice of the processor's book."""
        payment = self._payment(event.fpid)
        if event.content:
            payment.said.add((event.content, "asked about" if event.event == "asked" else "told of"))
        if event.event == "asked":
            payment.asked += 1
        elif event.event == "answered":
            payment.answers.append(event.code)

    def journal(self, event: JournalEvent, node: str) -> None:
        """Take a step of a payment that came."""
        payment = self._payment(event.fpid)
        payment.steps.append((node, event))
        if event.content:
            payment.said.add((event.content, f"recorded by {node or 'the gateway'}"))

    # --- the verdict

    def judge(self) -> dict[str, int]:
        """Judge each payment, and return the accounts."""
        accounts = dict.fromkeys(ACCOUNTS, 0)
        for fpid, payment in self.payments.items():
            if payment.sent and not payment.mischief:
                account, why = _account_of(payment)
                self._promises["accounted"].check(account != "lost", f"{fpid}: {why}")
                accounts[account] += 1
            if payment.sent:
                self._promises["hub-honest"].check(payment.first <= 1, f"{fpid}: sent {payment.first} times as new")
            self._judge_payment(fpid, payment)
            self._count(payment)
        return accounts

    def _judge_payment(self, fpid: str, payment: _InPayment) -> None:
        check = self._promises
        decided = [(step.kind, step.code) for _, step in payment.steps if step.kind in DECISIONS]
        codes = {code for _, code in decided}
        for code in payment.replies:
            check["durable-before-reply"].check(
                code in codes, f"{fpid}: the hub has {code}, the journal {listed(codes)}"
            )
            by_rule = ("DECLINED", code) in decided
            check["nobody-turned-away"].check(code != MALFUNCTION or by_rule, f"{fpid}: {code}")
        self._judge_outcome(fpid, payment)
        if (payment.late or payment.timed_out) and not payment.mischief:  # which is not sent again
            settled = payment.in_time or payment.reversal_code == "0000" or payment.given_up
            check["in-time"].check(bool(settled), f"{fpid}: late or timed out, and neither reversed nor given up")
        elif payment.in_time:
            check["in-time"].check(True)
        self._judge_taken_in(fpid, payment)
        self._judge_reversal(fpid, payment)
        self._judge_answers(fpid, payment)
        if payment.contents and not payment.mischief:
            for content, where in payment.said:
                check["content-kept"].check(
                    content in payment.contents, f"{fpid}: what was {where} is not what the hub sent"
                )

    def _judge_outcome(self, fpid: str, payment: _InPayment) -> None:
        """One outcome at each node; at two nodes the same one of the processor, and any decided in its stead."""
        if not payment.steps and not payment.replies:
            return
        check = self._promises["one-outcome"]
        decided: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        over: set[str] = set()
        for node, step in payment.steps:
            # other content under its FPID is refused as a message, and so is anything after a reversal
            message = step.kind == "REFUSED" and (step.code == DUPLICATE or node in over)
            again = step.kind == "REFUSED" and (step.kind, step.code) in decided[node]
            if step.kind in DECISIONS and not message and not again:
                decided[node].append((step.kind, step.code))
                check.check(
                    node not in over, f"{fpid}: {node or 'the gateway'} decided {step.code} after it was reversed there"
                )
            elif step.kind == "REVERSED":
                over.add(node)
        for node, outcomes in decided.items():
            check.check(
                len(outcomes) <= 1, f"{fpid}: {node or 'the gateway'} decided {listed({c for _, c in outcomes})}"
            )
        own = {code for outcomes in decided.values() for kind, code in outcomes if kind in {"ANSWERED", "REFUSED"}}
        check.check(
            len(own) <= max(1, len(set(payment.answers))),
            f"{fpid}: decided {listed(own)}, the processor answered {listed(payment.answers)}",
        )
        heard: defaultdict[str, set[str]] = defaultdict(set)
        for node, code in payment.replied_by:
            heard[node].add(code)
        for node, codes in heard.items():
            most = max(1, len(over) + len({code for outcomes in decided.values() for _, code in outcomes}))
            check.check(
                len(codes) <= (1 if node else most), f"{fpid}: the hub heard {listed(codes)} from {node or 'us'}"
            )

    def _judge_answers(self, fpid: str, payment: _InPayment) -> None:
        """An answer in the journal is one that the processor gave, unless the journal says that it was overruled."""
        overruled = {step.said for _, step in payment.steps if step.kind == "OVERRULED"}
        for code in payment.codes("ANSWERED"):
            self._promises["answers-kept"].check(
                code in payment.answers or code in overruled,
                f"{fpid}: recorded {code}, the processor answered {listed(payment.answers)}",
            )
        for code in payment.codes("OVERRULED"):
            self._promises["answers-kept"].check(
                code in payment.answers,
                f"{fpid}: {code} overruled, the processor answered {listed(payment.answers)}",
            )
        stood_in: set[str] = set()
        for node, step in payment.steps:
            if step.kind == "STOOD_IN":
                stood_in.add(node)
            elif step.kind == "LATE_ANSWER" and step.code[:1] == "1":
                self._promises["answers-kept"].check(
                    node not in stood_in, f"{fpid}: {step.code} came after stand-in, and is told to nobody"
                )
        if payment.asked:
            self._promises["asked-after-durable"].check(payment.has("RECEIVED"), f"{fpid}: asked about, never received")

    def _judge_taken_in(self, fpid: str, payment: _InPayment) -> None:
        """A payment is received once, and again only by a node that had orphaned it."""
        received: Counter[str] = Counter()
        reopened: Counter[str] = Counter()
        for node, step in payment.steps:
            received[node] += step.kind == "RECEIVED"
            reopened[node] += step.kind in REOPENED
        for node, times in received.items():
            if times:
                known = payment.sent > 0 or payment.mischief
                self._promises["received-once"].check(
                    known and times <= 1 + reopened[node],
                    f"{fpid}: received {times} times" if known else f"{fpid}: the hub never sent it",
                )

    def _judge_reversal(self, fpid: str, payment: _InPayment) -> None:
        check = self._promises["reversals-recorded"]
        if payment.reversal_code:
            recorded = payment.has("REVERSED")
            check.check(
                recorded and payment.reversal_code == "0000",
                f"{fpid}: answered {payment.reversal_code}, {'' if recorded else 'not '}recorded",
            )
        elif payment.has("REVERSED"):
            check.check(payment.reversal_sent > 0, f"{fpid}: recorded, but the hub sent no reversal")

    def _count(self, payment: _InPayment) -> None:
        figures = self._figures
        figures["replies late"] += payment.late
        figures["reversals sent again"] += max(0, payment.reversal_sent - 1)
        for _, step in payment.steps:
            if step.kind in COUNTED:
                figures[f"steps {step.kind}"] += 1


def _account_of(payment: _InPayment) -> tuple[str, str]:
    """The account, and the reason when it is `lost`."""
    account, why = "", "the hub still waits for it"
    if payment.in_time:
        code = payment.replies[-1]
        kinds = [step.kind for _, step in payment.steps if step.code == code]
        account = _first(kinds, STOOD_IN="stood in", ANSWERED="answered", REFUSED="refused", DECLINED="declined")
        why = f"replied to with {code}, which nobody decided"
    elif payment.reversal_code:
        account = _first([step.kind for _, step in payment.steps], REVERSED="reversed")
        why = "reversed, but not in the journal"
    elif payment.given_up:
        kinds = [step.kind for _, step in payment.steps]
        account = _first(
            kinds, ORPHANED="orphaned", UNANSWERED="unanswered", UNDELIVERED="undelivered", REVERSED="reversed"
        )
        why = f"the hub gave up ({payment.given_up}), the journal does not say why"
        if not kinds and set(payment.timed_out) == {"link-lost"}:
            account = "unreached"
    return (account, "") if account else ("lost", why)


def _first(kinds: list[str], **accounts: str) -> str:
    """The account of the first of these kinds that occurs, or nothing."""
    return next((account for kind, account in accounts.items() if kind in kinds), "")
