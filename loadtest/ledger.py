"""The accounting oracle: the books of the hub, the processor and the gateway's journal must tell one story.

Events go in, in any order between the books but in order within each; a verdict comes out. Pure: no file, no clock. The
load test, the demo, the kill tests and the simulation all judge with it.

Every payment that the hub sent ends in exactly one *account*:

* answered, stood in, refused: the hub has the reply in time, and the journal the decision with the same code;
* reversed: the hub took it back and has our positive response, and the journal the reversal;
* undelivered, orphaned: the hub gave up on it, and the journal says why, and the processor was told;
* unreached: the hub gave up on it, its connection was lost each time, and the journal never saw it.

What fits nowhere is `lost`, and breaks the balance, as does every violated invariant of `INVARIANTS`.
`entries` says what the lines of the books are.
"""

from collections import Counter

from msgspec import Struct

from loadtest.entries import TOLD_KINDS, HubEvent, HubWhat, JournalEvent, ProcessorEvent, fpid_hash

__all__ = [
    "INVARIANTS", "TOLD_KINDS", "HubEvent", "HubWhat", "Invariant", "JournalEvent", "Ledger", "ProcessorEvent",
    "Verdict", "fpid_hash",
]  # fmt: skip

SHOWN_MAX = 5
"""Violations of an invariant that are shown; the rest are counted."""

DECISIONS = ("ANSWERED", "STOOD_IN", "REFUSED")
DUPLICATE = "1181"
"""Refuses a message, not a payment: another content under a used FPID."""
MALFUNCTION = "1909"
"""Allowed only when no qualified accept can be given: a gateway with a disk and one HSM always can."""

INVARIANTS = {
    "accounted": "every payment sent ends in exactly one account",
    "hub-satisfied": "every reply is on its request's link, in form, its MAC right, its fields copied, its code known",
    "durable-before-reply": "every reply that the hub has was decided in the journal, with the same code",
    "one-outcome": "no payment has two outcomes, in the journal or in the hub's ears",
    "in-time": "every payment is replied to within the hub's patience, or accounted for as reversed or given up",
    "nobody-turned-away": "no payment is refused because the bank's own systems are down (1909)",
    "received-once": "no payment is taken in twice, and none that the hub did not send",
    "reversals-recorded": "every reversal is answered positively, and recorded as soon as it is answered",
    "answers-kept": "a decision recorded as the processor's is what the processor answered",
    "asked-after-durable": "the processor is asked only about payments that the journal received",
    "told": "every step that must be told was acknowledged by the processor, or parked where people look",
    "told-in-order": "notices about one payment reach the processor in the journal's order",
    "told-what-happened": "every notice has its step in the journal",
    "journal-whole": "the journal's positions have no gap and never go back",
    "mischief-answered": "each mischief got the answer that the scheme prescribes, and nothing else",
}
"""Each promise by name. A verdict holds one entry for each, checked or not."""


class Invariant(Struct):
    """How one promise fared."""

    name: str
    sentence: str
    checked: int = 0
    violations: int = 0
    first: list[str] = []

    def check(self, holds: bool, what: str = "") -> None:  # noqa: FBT001 - the one thing this takes
        """Count a check, and a violation when it does not hold."""
        self.checked += 1
        if not holds:
            self.violations += 1
            if len(self.first) < SHOWN_MAX:
                self.first.append(what)


class Verdict(Struct):
    """What the books say together."""

    balances: bool
    sent: int
    accounts: dict[str, int]
    figures: dict[str, int]
    """Counts that are no accounts: repeats, late replies, notices told again, and so on."""
    invariants: list[Invariant]


ACCOUNTS = ("answered", "stood in", "refused", "reversed", "undelivered", "orphaned", "unreached", "lost")


class _Payment:
    """Everything that any book says about one FPID."""

    __slots__ = (
        "answers", "asked", "given_up", "in_time", "late", "mischief", "notices", "replies", "reversal_code",
        "reversal_sent", "sent", "steps", "timed_out",
    )  # fmt: skip

    def __init__(self) -> None:
        self.sent = 0
        self.mischief = False
        self.replies: list[str] = []
        self.in_time = self.late = 0
        self.timed_out: list[str] = []
        self.reversal_sent = 0
        self.reversal_code = ""
        self.given_up = ""
        self.asked = 0
        self.answers: list[str] = []
        self.notices: list[tuple[str, int]] = []
        self.steps: list[tuple[str, JournalEvent]] = []

    def codes(self, kind: str) -> list[str]:
        return [step.code for _, step in self.steps if step.kind == kind]

    def has(self, kind: str) -> bool:
        return any(step.kind == kind for _, step in self.steps)


class Ledger:
    """Feed it the three books, then ask for the verdict."""

    def __init__(self) -> None:
        self._payments: dict[str, _Payment] = {}
        self._steps_told: dict[tuple[str, int], str] = {}
        self._acknowledged: Counter[tuple[str, int]] = Counter()
        self._settled: dict[tuple[str, int], str] = {}
        self._noticed: dict[tuple[str, int], str] = {}
        self._last: dict[str, int] = {}
        self._figures: Counter[str] = Counter()
        self._hub_ended = False
        self._invariants = {name: Invariant(name, sentence, first=[]) for name, sentence in INVARIANTS.items()}

    def _payment(self, fpid: str) -> _Payment:
        payment = self._payments.get(fpid)
        if payment is None:
            payment = self._payments[fpid] = _Payment()
        return payment

    # --- the books

    def hub(self, event: HubEvent) -> None:
        """Take a line of the hub's book."""
        what = event.event
        check = self._invariants
        if what == "end":
            self._hub_ended = True
        elif what == "fault":
            check["hub-satisfied"].check(False, f"{event.fpid or 'link ' + str(event.link)}: {event.why}")
        elif what == "mischief-answered":
            check["mischief-answered"].check(True)
        elif what == "mischief-missed":
            check["mischief-answered"].check(False, f"{event.fpid or 'link ' + str(event.link)}: {event.why}")
        elif what == "mischief":
            self._figures["mischief"] += 1
            if event.fpid:
                self._payment(event.fpid).mischief = True
        elif event.fpid:
            self._hub_payment(event, self._payment(event.fpid))

    def _hub_payment(self, event: HubEvent, payment: _Payment) -> None:
        what = event.event
        if what == "sent":
            payment.sent += 1
            self._figures["repeats sent"] += event.mti == "9201"
        elif what == "replied":
            payment.replies.append(event.code)
            payment.late += event.late
            payment.in_time += not event.late
            self._invariants["hub-satisfied"].check(True)
        elif what == "timed-out":
            payment.timed_out.append(event.why)
        elif what == "reversal-sent":
            payment.reversal_sent += 1
        elif what == "reversed":
            payment.reversal_code = event.code
        elif what == "given-up":
            payment.given_up = event.why or "given up"

    def processor(self, event: ProcessorEvent) -> None:
        """Take a line of the processor's book."""
        if event.event == "asked":
            self._payment(event.fpid).asked += 1
        elif event.event == "answered":
            self._payment(event.fpid).answers.append(event.code)
        elif event.acknowledged:
            notice = (event.node, event.position)
            self._acknowledged[notice] += 1
            if self._acknowledged[notice] == 1:
                self._noticed[notice] = event.fpid
                self._payment(event.fpid).notices.append(notice)
        else:
            self._figures["notices not acknowledged"] += 1

    def journal(self, event: JournalEvent, node: str = "") -> None:
        """Take a record of this node's journal."""
        before = self._last.get(node)
        self._invariants["journal-whole"].check(
            before is None or event.position == before + 1, f"{node} position {event.position} after {before}"
        )
        self._last[node] = event.position
        if event.kind in {"TOLD", "PARKED"}:
            self._settled[node, event.told] = event.kind
        elif event.fpid:
            self._payment(event.fpid).steps.append((node, event))
            if event.kind in TOLD_KINDS:
                self._steps_told[node, event.position] = event.fpid

    # --- the verdict

    def verdict(self) -> Verdict:
        """Judge what was fed so far. To be called once."""
        accounts = dict.fromkeys(ACCOUNTS, 0)
        for fpid, payment in self._payments.items():
            if payment.sent and not payment.mischief:
                accounts[self._account(fpid, payment)] += 1
            self._judge_payment(fpid, payment)
        self._judge_notices()
        self._invariants["accounted"].check(
            self._hub_ended, "the hub's book has no end: it was still sending or waiting"
        )
        self._count()
        return Verdict(
            balances=not any(invariant.violations for invariant in self._invariants.values()),
            sent=sum(accounts.values()),
            accounts=accounts,
            figures=dict(self._figures),
            invariants=list(self._invariants.values()),
        )

    def _account(self, fpid: str, payment: _Payment) -> str:
        """The one account of a payment; says so where there is none."""
        account, why = _account_of(payment)
        self._invariants["accounted"].check(account != "lost", f"{fpid}: {why}")
        return account

    def _judge_payment(self, fpid: str, payment: _Payment) -> None:
        check = self._invariants
        decided = [(step.kind, step.code) for _, step in payment.steps if step.kind in DECISIONS]
        codes = {code for _, code in decided}
        for code in payment.replies:
            check["durable-before-reply"].check(
                code in codes, f"{fpid}: the hub has {code}, the journal {_list(codes)}"
            )
            check["nobody-turned-away"].check(code != MALFUNCTION, f"{fpid}: {code}")
        # another content under the same FPID is refused as a message; after a reversal a late request is refused too
        outcomes = [(kind, code) for kind, code in decided if not (kind == "REFUSED" and code == DUPLICATE)]
        if payment.steps or payment.replies:
            heard = set(payment.replies)
            check["one-outcome"].check(
                len(outcomes) <= 1 and len(heard) <= 1, f"{fpid}: decided {_list(codes)}, the hub heard {_list(heard)}"
            )
        if payment.late or payment.timed_out:
            settled = payment.in_time or payment.reversal_code == "0000" or payment.given_up
            check["in-time"].check(bool(settled), f"{fpid}: late or timed out, and neither reversed nor given up")
        elif payment.in_time:
            check["in-time"].check(True)
        self._judge_taken_in(fpid, payment)
        self._judge_reversal(fpid, payment)
        for code in payment.codes("ANSWERED"):
            check["answers-kept"].check(
                code in payment.answers, f"{fpid}: recorded {code}, the processor answered {_list(payment.answers)}"
            )
        if payment.asked:
            check["asked-after-durable"].check(payment.has("RECEIVED"), f"{fpid}: asked about, never received")

    def _judge_taken_in(self, fpid: str, payment: _Payment) -> None:
        """A payment is received once in each life: again only by a node that had orphaned it."""
        received: Counter[str] = Counter()
        orphaned: Counter[str] = Counter()
        for node, step in payment.steps:
            received[node] += step.kind == "RECEIVED"
            orphaned[node] += step.kind == "ORPHANED"
        for node, times in received.items():
            if times:
                known = payment.sent > 0 or payment.mischief
                self._invariants["received-once"].check(
                    known and times <= 1 + orphaned[node],
                    f"{fpid}: received {times} times" if known else f"{fpid}: the hub never sent it",
                )

    def _judge_reversal(self, fpid: str, payment: _Payment) -> None:
        check = self._invariants["reversals-recorded"]
        if payment.reversal_code:
            recorded = payment.has("REVERSED")
            check.check(
                recorded and payment.reversal_code == "0000",
                f"{fpid}: answered {payment.reversal_code}, {'' if recorded else 'not '}recorded",
            )
        elif payment.has("REVERSED"):
            check.check(payment.reversal_sent > 0, f"{fpid}: recorded, but the hub sent no reversal")

    def _judge_notices(self) -> None:
        check = self._invariants
        for step, fpid in self._steps_told.items():
            settled = self._settled.get(step)
            told = settled == "PARKED" or (settled == "TOLD" and self._acknowledged[step] > 0)
            why = "not acknowledged" if settled else "not told yet"
            check["told"].check(told, f"{fpid}: {_place(step)} {why}")
            self._figures["parked"] += settled == "PARKED"
        for step in self._settled:
            check["told-what-happened"].check(step in self._steps_told, f"{_place(step)}: told, but no such step")
        for step, fpid in self._noticed.items():
            check["told-what-happened"].check(
                self._steps_told.get(step) == fpid, f"{fpid}: a notice of {_place(step)}, which is not such a step"
            )
        for fpid, payment in self._payments.items():
            if payment.notices:
                by_node: dict[str, list[int]] = {}
                for node, position in payment.notices:
                    by_node.setdefault(node, []).append(position)
                in_order = all(positions == sorted(positions) for positions in by_node.values())
                check["told-in-order"].check(in_order, f"{fpid}: acknowledged in the order {_list(payment.notices)}")

    def _count(self) -> None:
        figures = self._figures
        figures["steps to tell"] = len(self._steps_told)
        figures["notices acknowledged"] = len(self._acknowledged)
        figures["notices acknowledged again"] = sum(self._acknowledged.values()) - len(self._acknowledged)
        for payment in self._payments.values():
            figures["replies late"] += payment.late
            figures["reversals sent again"] += max(0, payment.reversal_sent - 1)
            for _, step in payment.steps:
                if step.kind in {"UNDELIVERED", "LATE_ANSWER", "LATE_REFUSAL", "REVERSED", "ORPHANED", "REPEATED"}:
                    figures[f"steps {step.kind}"] += 1


def _account_of(payment: _Payment) -> tuple[str, str]:
    """The account, and why when it is `lost`."""
    account, why = "", "the hub still waits for it"
    if payment.in_time:
        code = payment.replies[-1]
        kinds = [step.kind for _, step in payment.steps if step.code == code]
        account = _first(kinds, STOOD_IN="stood in", ANSWERED="answered", REFUSED="refused")
        why = f"replied to with {code}, which nobody decided"
    elif payment.reversal_code:
        account = _first([step.kind for _, step in payment.steps], REVERSED="reversed")
        why = "reversed, but not in the journal"
    elif payment.given_up:
        kinds = [step.kind for _, step in payment.steps]
        account = _first(kinds, ORPHANED="orphaned", UNDELIVERED="undelivered", REVERSED="reversed")
        why = f"the hub gave up ({payment.given_up}), the journal does not say why"
        if not kinds and set(payment.timed_out) == {"link-lost"}:
            account = "unreached"
    return (account, "") if account else ("lost", why)


def _first(kinds: list[str], **accounts: str) -> str:
    """The account of the first of these kinds that is there, or nothing."""
    return next((account for kind, account in accounts.items() if kind in kinds), "")


def _place(step: tuple[str, int]) -> str:
    node, position = step
    return f"step {node + ':' if node else ''}{position}"


def _list(items: object) -> str:
    shown = [str(item) for item in items] if isinstance(items, (list, set)) else [str(items)]
    return ", ".join(sorted(shown)) if shown else "nothing"
