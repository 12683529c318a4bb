"""The ledger's third part: judges which event came before which, where the order between the books is known.

A simulation knows it, with one clock and one process. Real worlds do not, and then nothing is judged here. Each event
has a number, and so has the moment from which the disk held each record. The disk gives that number, not the gateway.

Two sites of one bank share nothing, so the words of a node must be durable in that node's own journal. Where the books
do not say which node it was, any node's journal will do. Both nodes may ask the processor about one payment, and it may
submit one to both; the hub may repeat or reverse at one node what it sent to the other. Pure.
"""

from collections import defaultdict
from math import inf
from typing import NamedTuple

from loadtest.ledger.entries import HubEvent, JournalEvent, ProcessorEvent
from loadtest.ledger.promises import Promises

DECISIONS = frozenset({"ANSWERED", "STOOD_IN", "REFUSED", "DECLINED"})
LEAVES = frozenset({"SUBMITTED", "RETRIED"})
TAKEN = frozenset({"SUBMITTED", "RETRIED", "SETTLED"})
RESTS = frozenset({"SETTLED", "UNKNOWN", "UNSENT"})


class _Step(NamedTuple):
    """A record, and the number from which the disk holds it; infinite: never."""

    node: str
    kind: str
    code: str
    by: str
    at: float


class _PaymentEvents:
    __slots__ = ("hub", "processor", "records")

    def __init__(self) -> None:
        self.hub: list[tuple[int, HubEvent]] = []
        self.processor: list[tuple[int, ProcessorEvent]] = []
        self.records: list[tuple[str, JournalEvent]] = []


class Order:
    """Takes everything from `ledger`, and keeps the events that have a number."""

    def __init__(self, promises: Promises) -> None:
        self._promises = promises
        self._payments: defaultdict[str, _PaymentEvents] = defaultdict(_PaymentEvents)
        self._durable: dict[tuple[str, int], int] = {}
        self._nodes: dict[int, str] = {}
        self._notices: list[tuple[int, ProcessorEvent]] = []
        self._news: list[tuple[int, HubEvent]] = []
        self._keys: list[tuple[int, HubEvent]] = []
        self._of_none: defaultdict[str, list[JournalEvent]] = defaultdict(list)
        """Records of news and keys, by node."""
        self._dropped: dict[tuple[str, int], int] = {}
        """By node and position of a step: where the record is that its notice was dropped."""

    # --- the books

    def hub(self, event: HubEvent, at: int) -> None:
        """Take a line of the hub's book."""
        if event.event == "connected":
            self._nodes[event.link] = event.why
        elif event.fpid:
            self._payments[event.fpid].hub.append((at, event))
        elif event.event == "usm-acknowledged":
            self._news.append((at, event))
        elif event.event == "key" and event.why.endswith(" taken"):
            self._keys.append((at, event))

    def processor(self, event: ProcessorEvent, at: int) -> None:
        """Take a line of a processor's book."""
        if event.event == "noticed":
            self._notices.append((at, event))
        else:
            self._payments[event.fpid].processor.append((at, event))

    def journal(self, event: JournalEvent, node: str) -> None:
        """Take a record."""
        if event.kind == "DROPPED" and not event.to:
            self._dropped[node, event.told] = event.position
        if event.fpid:
            self._payments[event.fpid].records.append((node, event))
        elif event.kind in {"USM", "KEYS", "STARTED"}:
            self._of_none[node].append(event)

    def durable(self, node: str, position: int, at: int) -> None:
        """Note that the disk of this node holds this record from then on."""
        self._durable.setdefault((node, position), at)

    def node_of(self, link: int) -> str:
        """The node at the other end of a connection of the hub; empty: unknown."""
        return self._nodes.get(link, "")

    # --- the verdict

    def judge(self) -> None:
        """Judge all events that have a number."""
        for fpid, payment in self._payments.items():
            steps = [
                _Step(node, event.kind, event.code, event.by, self._at(node, event.position))
                for node, event in payment.records
            ]
            self._judge_replies(fpid, payment, steps)
            self._judge_received(fpid, payment, steps)
            self._judge_sent(fpid, payment, steps)
            self._judge_unsent(fpid, payment, steps)
            self._judge_heard(fpid, payment, steps)
            self._judge_settled(fpid, payment, steps)
        self._judge_notices()
        self._judge_news_and_keys()

    def _at(self, node: str, position: int) -> float:
        return self._durable.get((node, position), inf)

    def _judge_replies(self, fpid: str, payment: _PaymentEvents, steps: list[_Step]) -> None:
        check = self._promises
        for at, event in payment.hub:
            node = self.node_of(event.link)
            if event.event == "replied":
                known = _before(steps, at, node, DECISIONS, event.code)
                check["durable-before-reply"].check(
                    known > 0, f"{fpid}: {_by(node)} said {event.code} before that was durable there"
                )
            elif event.event == "reversed":
                known = _before(steps, at, node, {"REVERSED"})
                check["reversals-recorded"].check(
                    known > 0, f"{fpid}: {_by(node)} answered the reversal before that was durable there"
                )

    def _judge_received(self, fpid: str, payment: _PaymentEvents, steps: list[_Step]) -> None:
        check = self._promises
        for at, event in payment.processor:
            if event.event == "asked":
                known = _before(steps, at, event.node, {"RECEIVED"})
                check["asked-after-durable"].check(known > 0, f"{fpid}: asked about before it was durable")
        if not any(event.event == "mischief" for _, event in payment.hub):
            for step in steps:
                if step.kind == "RECEIVED" and step.at < inf:
                    sent = any(event.event == "sent" and at < step.at for at, event in payment.hub)
                    check["received-once"].check(sent, f"{fpid}: received by {step.node} before the hub sent it")
        said = [(at, event.code) for at, event in payment.processor if event.event == "answered"]
        if said:
            for step in steps:
                if step.kind == "ANSWERED" and any(code == step.code for _, code in said):
                    before = any(at < step.at and code == step.code for at, code in said)
                    check["answers-kept"].check(before, f"{fpid}: {step.code} recorded before it was answered")

    def _judge_sent(self, fpid: str, payment: _PaymentEvents, steps: list[_Step]) -> None:
        seen: defaultdict[str, int] = defaultdict(int)
        for at, event in payment.hub:
            if event.event == "submitted":
                node = self.node_of(event.link)
                seen[node] += 1
                known = _before(steps, at, node, LEAVES)
                self._promises["sent-after-durable"].check(
                    seen[node] <= known,
                    f"{fpid}: the hub had it {seen[node]} times from {_by(node)}, of which {known} were durable there",
                )

    def _judge_unsent(self, fpid: str, payment: _PaymentEvents, steps: list[_Step]) -> None:
        """When the life of a payment at a node ends with UNSENT, the hub sees nothing of it from there."""
        for node in {step.node for step in steps if step.kind == "UNSENT"}:
            seen = [at for at, event in payment.hub if event.event == "submitted" and self.node_of(event.link) == node]
            begun = -inf
            ended = False
            for step in steps:
                if step.node != node:
                    continue
                if step.kind == "SUBMITTED" and (ended or begun == -inf):
                    if ended:
                        self._judge_life(fpid, node, seen, begun, step.at)
                    begun, ended = step.at, False
                ended = ended or step.kind == "UNSENT"
            if ended:
                self._judge_life(fpid, node, seen, begun, inf)

    def _judge_life(self, fpid: str, node: str, seen: list[int], begun: float, until: float) -> None:
        left = any(begun < at < until for at in seen)
        self._promises["never-failed"].check(not left, f"{fpid}: {node} says that it never left, and the hub had it")

    def _judge_heard(self, fpid: str, payment: _PaymentEvents, steps: list[_Step]) -> None:
        check = self._promises
        for at, event in payment.processor:
            if event.event == "submitted" and event.status == 503 and event.code:
                self._judge_declined(fpid, at, event)
            if event.event != "submitted" or not 200 <= event.status < 300:
                continue
            known = _before(steps, at, event.node, TAKEN)
            check["taken-after-durable"].check(
                known > 0, f"{fpid}: {_by(event.node)} acknowledged it before it was durable there"
            )
            if event.state in RESTS:
                code = event.code if event.state == "SETTLED" else ""
                known = _before(steps, at, event.node, {event.state}, code)
                check["outcome-as-recorded"].check(
                    known > 0, f"{fpid}: {_by(event.node)} said {event.state} {code} before that was durable there"
                )

    def _judge_declined(self, fpid: str, at: int, event: ProcessorEvent) -> None:
        nodes = [event.node] if event.node else list(self._of_none)
        known = any(self._at(node, record.position) < at for node in nodes for record in self._of(node, "USM"))
        self._promises["declined-by-news"].check(
            known, f"{fpid}: {_by(event.node)} declined it with {event.code} before any news was durable there"
        )

    def _judge_settled(self, fpid: str, payment: _PaymentEvents, steps: list[_Step]) -> None:
        for step in steps:
            if step.kind in {"SETTLED", "CONTRADICTED"} and step.at < inf:
                answered = any(
                    event.event == "answered"
                    and event.code == step.code
                    and at < step.at
                    and self.node_of(event.link) in {"", step.node}
                    for at, event in payment.hub
                )
                self._promises["settled-as-answered"].check(
                    answered, f"{fpid}: {step.kind} {step.code} at {step.node}, which the hub had not told it"
                )

    def _judge_notices(self) -> None:
        for at, event in self._notices:
            self._promises["told-what-happened"].check(
                self._at(event.node, event.position) < at,
                f"{event.fpid}: {event.kind} {event.node}:{event.position} told before it was durable",
            )
            dropped = self._dropped.get((event.node, event.position))
            if dropped is not None:
                self._promises["told"].check(
                    at < self._at(event.node, dropped),
                    f"{event.fpid}: {event.kind} {event.node}:{event.position} told after it was dropped",
                )

    def _judge_news_and_keys(self) -> None:
        """Compare numbers at each node: the books do not have the content of these records."""
        acknowledged: defaultdict[str, set[str]] = defaultdict(set)
        for at, event in self._news:
            node = self.node_of(event.link)
            acknowledged[node].add(event.why)
            known = sum(self._at(node, record.position) < at for record in self._of(node, "USM"))
            if node:
                self._promises["news-kept"].check(
                    len(acknowledged[node]) <= known,
                    f"{node} acknowledged {len(acknowledged[node])} pieces of news, of which {known} were durable",
                )
        taken: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        for at, event in self._keys:
            node = self.node_of(event.link)
            taken[node].add((event.why, event.code))
            known = sum(self._at(node, record.position) < at for record in self._of(node, "KEYS"))
            if node:
                self._promises["keys-kept"].check(
                    len(taken[node]) <= known,
                    f"{node} took {len(taken[node])} keys, of which {known} were durable",
                )

    def _of(self, node: str, kind: str) -> list[JournalEvent]:
        """The records of this kind; for KEYS, without those of starts."""
        found: list[JournalEvent] = []
        starting = False
        for record in self._of_none[node]:
            if record.kind == "STARTED":
                starting = True
            elif record.kind == kind:
                if not (kind == "KEYS" and starting):
                    found.append(record)
                starting = starting and kind != "KEYS"
        return found


def _before(steps: list[_Step], at: float, node: str, kinds: frozenset[str] | set[str], code: str = "") -> int:
    """The number of such records that were durable before, at this node, or at any when `node` is empty."""
    return sum(
        step.at < at and step.kind in kinds and (not node or step.node == node) and (not code or step.code == code)
        for step in steps
    )


def _by(node: str) -> str:
    return node or "a gateway"
