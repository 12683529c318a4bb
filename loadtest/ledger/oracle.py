"""The accounting oracle: the books of the hub and the processors and the gateways' journals must tell one story.

Events go in, in order within each book and in any order between books; a verdict comes out. Pure: no file, no clock.
The load test, the demo, the kill tests and the simulation all judge with it. Where the order between the books is
known, it is judged, too (`ledger.order`).

`ledger.inbound` judges the payments that the hub sends, `ledger.outbound` those that a processor submits. Each explains
the accounts in which its payments end. An FPID may be in both, when the payment crossed two gateways. A `lost` payment
breaks the balance, as does every violated invariant of `promises`. `entries` has the lines of the books. Notices are
judged here, because one stream tells them all.
"""

from collections import Counter

from msgspec import Struct

from loadtest.ledger.entries import TOLD_KINDS, HubEvent, HubWhat, JournalEvent, ProcessorEvent, fpid_hash
from loadtest.ledger.inbound import Inbound
from loadtest.ledger.order import Order
from loadtest.ledger.outbound import KINDS as OUTBOUND_KINDS
from loadtest.ledger.outbound import Outbound
from loadtest.ledger.promises import INVARIANTS, Invariant, listed, promises

__all__ = [
    "INVARIANTS", "TOLD_KINDS", "HubEvent", "HubWhat", "Invariant", "JournalEvent", "Ledger", "ProcessorEvent",
    "Verdict", "fpid_hash",
]  # fmt: skip

OUTBOUND_HUB = frozenset({"submitted", "relayed", "outcome", "answered", "returned"})
"""The events of the hub's book about payments submitted to it."""


class Verdict(Struct):
    """The judgement of all books together."""

    balances: bool
    sent: int
    accounts: dict[str, int]
    """The accounts of the payments that the hub sent."""
    figures: dict[str, int]
    """Counts besides the accounts: repeats, late replies, notices told again, and so on."""
    invariants: list[Invariant]
    submitted: int = 0
    outbound: dict[str, int] = {}
    """The accounts of the payments that processors submitted."""


class _Told(Struct, gc=False):
    """A step that must be told, or a notice of one."""

    fpid: str
    kind: str
    code: str


class Ledger:
    """Takes the books, then gives the verdict."""

    def __init__(self, *, whole: bool = False, ordered: bool = False) -> None:
        """`whole`: the journals are new, so each begins with its first start.

        `ordered`: every event has a number in the one order of all books, and `durable` gives the number from which a
        disk held a record.
        """
        self._whole = whole
        self._ordered = ordered
        self._promises = promises()
        self._figures: Counter[str] = Counter()
        self._order = Order(self._promises)
        self._inbound = Inbound(self._promises, self._figures, self._order.node_of)
        self._outbound = Outbound(self._promises, self._figures)
        self._to_tell: dict[tuple[str, int], _Told] = {}
        self._acknowledged: Counter[tuple[str, int]] = Counter()
        self._handed_on: dict[tuple[str, int], str] = {}
        self._settled: dict[tuple[str, int], str] = {}
        self._parked: set[tuple[str, int]] = set()
        """Steps whose notice was parked. It may have been acknowledged since, after later ones."""
        self._noticed: dict[tuple[str, int], _Told] = {}
        self._last: dict[str, int] = {}
        self._cut = False
        """True when a journal's beginning was deleted, perhaps with news and keys in it."""
        self._news_acknowledged: set[str] = set()
        self._keys_taken: set[tuple[str, str]] = set()
        self._news = self._keys = 0
        """Records of news that a link brought, and of keys other than those of a start."""
        self._starting: set[str] = set()
        """Nodes that started and have not recorded their keys yet: that record holds the keys that they had before."""
        self._hub_ended = False

    # --- the books

    def promise(self, name: str) -> Invariant:
        """An invariant, for a judge beside the ledger."""
        return self._promises[name]

    def hub(self, event: HubEvent, at: int = 0) -> None:
        """Take a line of the hub's book."""
        what = event.event
        check = self._promises
        if self._ordered or what == "connected":
            self._order.hub(event, at)
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
                self._inbound.mischief(event.fpid)
        elif event.fpid:
            (self._outbound if what in OUTBOUND_HUB else self._inbound).hub(event)
        else:
            self._hub_of_no_payment(event)

    def _hub_of_no_payment(self, event: HubEvent) -> None:
        """News and keys."""
        if event.event == "usm":
            self._outbound.news_sent += 1
        elif event.event == "usm-acknowledged":
            self._news_acknowledged.add(event.why)
        elif event.event == "key" and event.why.endswith(" taken"):
            self._keys_taken.add((event.why, event.code))

    def processor(self, event: ProcessorEvent, at: int = 0) -> None:
        """Take a line of a processor's book."""
        if self._ordered:
            self._order.processor(event, at)
        if event.event in {"asked", "answered"}:
            self._inbound.processor(event)
        elif event.event in {"submitting", "submitted"}:
            self._outbound.processor(event)
        elif event.acknowledged:
            notice = (event.node, event.position)
            self._acknowledged[notice] += 1
            if self._acknowledged[notice] == 1:
                self._noticed[notice] = _Told(event.fpid, event.kind, event.code)
                if event.kind in OUTBOUND_KINDS:
                    self._outbound.processor(event)
                elif event.content:
                    self._inbound.processor(event)
        else:
            self._figures["notices not acknowledged"] += 1

    def durable(self, node: str, position: int, at: int) -> None:
        """Take the word of a node's disk, not of its gateway, that it held this record from this number on."""
        self._order.durable(node, position, at)

    def journal(self, event: JournalEvent, node: str = "") -> None:
        """Take a record of this node's journal."""
        if self._ordered:
            self._order.journal(event, node)
        self._place_in_order(event, node)
        self._of_no_payment(event, node)
        if event.kind in {"TOLD", "PARKED", "DROPPED"}:
            if event.to:
                self._figures["handed on"] += event.kind == "TOLD"
            else:
                self._settle((node, event.told), event.kind)
            return
        if event.fpid:
            (self._outbound if event.kind in OUTBOUND_KINDS else self._inbound).journal(event, node)
        if event.source:
            self._handed_on[node, event.position] = event.source
        elif event.kind in TOLD_KINDS:
            self._to_tell[node, event.position] = _Told(event.fpid, event.kind, event.code)

    def _settle(self, step: tuple[str, int], kind: str) -> None:
        """A notice is done. What was never refused is no person's to drop."""
        if kind == "PARKED":
            self._parked.add(step)
        elif kind == "DROPPED":
            was = self._settled.get(step)
            self._promises["told"].check(was == "PARKED", f"{_place(step)}: dropped, and {was or 'nothing'} before")
        self._settled[step] = kind

    def _place_in_order(self, event: JournalEvent, node: str) -> None:
        before = self._last.get(node)
        if before is None:
            right = not self._whole or (event.position == 1 and event.kind == "STARTED")
            if event.position > 1:
                self._cut = True
                self._outbound.news(0, node)
        else:
            right = event.position == before + 1
        self._promises["journal-whole"].check(
            right, f"{node} position {event.position} ({event.kind}) after {before or 'nothing'}"
        )
        self._last[node] = event.position

    def _of_no_payment(self, event: JournalEvent, node: str) -> None:
        """News and keys."""
        if event.kind == "USM":
            self._outbound.news(event.position, node)
            self._news += not event.source
        elif event.kind == "STARTED":
            self._starting.add(node)
        elif event.kind == "KEYS":
            self._keys += node not in self._starting
            self._starting.discard(node)

    # --- the verdict

    def verdict(self) -> Verdict:
        """Judge the books so far. Call it once."""
        accounts = self._inbound.judge()
        outbound = self._outbound.judge(self._inbound.heard_in_time)
        self._judge_notices()
        self._judge_kept()
        if self._ordered:
            self._order.judge()
        self._promises["accounted"].check(self._hub_ended, "the hub's book has no end: it was still sending or waiting")
        figures = self._figures
        figures["steps to tell"] = len(self._to_tell)
        figures["notices acknowledged"] = len(self._acknowledged)
        figures["notices acknowledged again"] = sum(self._acknowledged.values()) - len(self._acknowledged)
        return Verdict(
            balances=not any(invariant.violations for invariant in self._promises.values()),
            sent=sum(accounts.values()),
            accounts=accounts,
            figures=dict(figures),
            invariants=list(self._promises.values()),
            submitted=sum(outbound.values()),
            outbound=outbound,
        )

    def _judge_kept(self) -> None:
        """Compare numbers: the books do not have the content of records of news and keys."""
        news, keys = len(self._news_acknowledged), len(self._keys_taken)
        if self._cut:
            return
        if news:
            self._promises["news-kept"].check(
                news <= self._news, f"{news} pieces of news acknowledged, {self._news} recorded"
            )
        if keys:
            self._promises["keys-kept"].check(keys <= self._keys, f"{keys} keys taken, {self._keys} changes recorded")

    def _judge_notices(self) -> None:
        check = self._promises
        for step, told in self._to_tell.items():
            settled = self._settled.get(step)
            known = settled in {"PARKED", "DROPPED"} or (settled == "TOLD" and self._acknowledged[step] > 0)
            why = "not acknowledged" if settled else "not told yet"
            check["told"].check(known, f"{told.fpid}: {_place(step)} {why}")
            self._figures["parked"] += settled == "PARKED"
            self._figures["dropped"] += settled == "DROPPED"
        for step in self._settled:
            check["told-what-happened"].check(step in self._to_tell, f"{_place(step)}: told, but no such step")
        for step, source in self._handed_on.items():
            node, _, position = source.rpartition("/")
            first = self._to_tell.get((node, int(position))) if position.isdigit() else None
            check["told-what-happened"].check(
                first is not None and first.kind == "USM", f"{_place(step)}: handed on by {source}, which is no news"
            )
        in_order: dict[tuple[str, str], list[int]] = {}
        for step, notice in self._noticed.items():
            check["told-what-happened"].check(
                _same(notice, self._to_tell.get(step)),
                f"{notice.fpid}: a notice {notice.kind} of {_place(step)}, which is not such a step",
            )
            if notice.fpid and step not in self._parked:
                in_order.setdefault((step[0], notice.fpid), []).append(step[1])
        for (node, fpid), positions in in_order.items():
            check["told-in-order"].check(
                positions == sorted(positions), f"{fpid}: acknowledged in the order {listed(positions)} of {node}"
            )


def _same(notice: _Told, step: _Told | None) -> bool:
    """Whether a notice is about this step. Members that the notice lacks are not compared."""
    return (
        step is not None
        and notice.fpid == step.fpid
        and notice.kind in {"", step.kind}
        and (notice.code in {"", step.code} or notice.kind not in OUTBOUND_KINDS)
    )


def _place(step: tuple[str, int]) -> str:
    node, position = step
    return f"step {node + ':' if node else ''}{position}"
