"""The oracle of a simulation: it keeps everybody's books in their one order, and has the ledger judge them.

One process and one clock: every event gets the next number when it happens. So does every record when the disk has it
for good, which the disk says, not the gateway. What was broken, where and when, the world says, by `trouble`; what must
never show anywhere, the payments themselves.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

import msgspec
import trio

from gateway import config, log, metrics
from gateway.exitcodes import ExitCode
from gateway.journal.manifest import read_manifest
from gateway.journal.record import (
    HEADER_BYTES,
    MARK_BYTES,
    Damage,
    Record,
    Unknown,
    mark_at,
    read_header,
    read_records,
)
from gateway.journal.recovery import Corrupt
from gateway.journal.segment import Walk
from gateway.journal.showing import RecordPrinter
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.wire import fields
from gateway.wire.codec import Codec
from loadtest.hub import sites
from loadtest.hub.keys import MAC_BYTES
from loadtest.ledger import books
from loadtest.ledger.entries import HubEvent, JournalEvent, ProcessorEvent
from loadtest.ledger.oracle import Ledger, Verdict
from loadtest.processor import book as processor_book
from loadtest.traffic.contents import Contents
from tests.fakes.disk import Blob, FakeDisk
from tests.simulation import stand_in
from tests.simulation.node import WATCHDOG_S

EXCUSES = frozenset({"power", "down", "disk", "volume", "tokens", "link", "drain", "short"})
"""Trouble by which a payment may be late. Three tokens of four, the processor, a clock or an operator are none."""
REPLY_WITHIN_S = 9.0
"""The gateway's deadline."""
SLACK_S = 0.5
"""What the way there and back may take."""
BEFORE_S = 3.0
"""Trouble that ended so shortly before may still be felt."""
MISCHIEF_S = 40.0
"""By then a mischief has been answered, if ever; and so has an echo."""
NEWS_WITHIN_S = 60.0
"""So long the hub waits until news is acknowledged."""
OURS_ALONE = ("first and", "a reversal is always answered positively", "copied", "DE44 goes with")
"""Words of faults that nobody but the gateway can be to blame for: they are in messages that it has signed. For other
ones, on a line that somebody else writes on, that may be the one to blame."""
OF_TWO = " 1181"
"""The code for a second content under one FPID, which the hub sends by mischief. Both answers are right, and either one
may come again.
"""
AWAITED, OWED = "an echo was not answered", "without a 9834"
"""Faults that the hub finds when it has waited for long: what it waited for may have been broken."""
ASKED_WITHIN_S = 30.0
"""What was broken so long before stand-in decides may be why: a question is asked again, a connection made anew."""
DEAF_AFTER_S = {"over-limit": 0.0, "half-frame": config.Session().half_frame_s}
"""By mischief: how long after it the gateway understands nothing more that comes on this link, and soon closes it. It
submits nothing there, for nobody would hear the answer: a refusal is the right one where no other link is up."""
IN_ITS_STEAD = frozenset({Kind.STOOD_IN, Kind.DECLINED, Kind.UNANSWERED})
WORD = re.compile(r"\w+")


def _waited_s(event: HubEvent) -> float:
    """How long the hub may have waited, at most, for what it misses; 0: it misses nothing."""
    if event.why.endswith(OWED):
        return NEWS_WITHIN_S + SLACK_S
    return MISCHIEF_S if event.event == "mischief-missed" or event.why.startswith(AWAITED) else 0.0


class _Span(NamedTuple):
    what: str
    where: str
    from_s: float
    until_s: float


class _Stop:
    """Submitting was stopped at a node."""

    def __init__(self, node: str, from_s: float) -> None:
        self.node = node
        self.from_s = from_s
        self.ordered_s = inf
        """When the start was ordered, or the process ended that had forgotten the stop: from then on it may submit."""
        self.over_s = inf
        """From then on it must."""


class HubBook(sites.HubBook):
    """The hub's book."""

    def __init__(self, oracle: "Oracle") -> None:
        super().__init__(None)
        self._oracle = oracle
        self.contents = oracle.contents

    def __call__(self, event: HubEvent) -> None:
        self._oracle.happened(event)


class ProcessorBook(processor_book.ProcessorBook):
    """The processor's book."""

    def __init__(self, oracle: "Oracle") -> None:
        super().__init__()
        self._oracle = oracle
        self.contents = oracle.contents

    def _add(self, line: bytes) -> None:
        self._oracle.happened(_decode(line))


_decode = msgspec.json.Decoder(ProcessorEvent).decode


class _Disk:
    """What a disk was seen to hold for good, record by record."""

    def __init__(self, oracle: "Oracle", node: str, disk: FakeDisk) -> None:
        self.records: dict[int, Record] = {}
        self.at: dict[int, int] = {}
        self.when_s: dict[int, float] = {}
        self.changed: list[str] = []
        self._oracle = oracle
        self._node = node
        self._disk = disk
        self._read: dict[Blob, tuple[int, bytes]] = {}
        """Offset behind what was read of a segment, and its journal."""

    def look(self) -> None:
        """See what is durable by now."""
        for directory in self._disk.directories.values():
            for name, blob in directory.durable.items():
                if name.endswith(".segment") and blob.durable:
                    self._look_at(blob)

    def _look_at(self, blob: Blob) -> None:
        durable = blob.durable
        if blob not in self._read:
            try:
                header = read_header(bytes(durable[:HEADER_BYTES]))
            except (Damage, Unknown):
                return
            self._read[blob] = HEADER_BYTES, header.journal
        at, journal = self._read[blob]
        while (mark := mark_at(bytes(durable[at : at + MARK_BYTES]), 0, journal)) is not None:
            end = at + MARK_BYTES + mark.size
            try:
                batch = read_records(bytes(durable[at:end]), MARK_BYTES, end - at, at, mark.first)
            except (Damage, Unknown):
                return  # torn: it will be cut
            if len(batch) != mark.count:
                return
            at = end
            self._read[blob] = at, journal
            self._durable(batch)

    def _durable(self, batch: list[Record]) -> None:
        number = self._oracle.next_number() if batch else 0
        for record in batch:
            known = self.records.setdefault(record.position, record)
            self.at.setdefault(record.position, number)
            self.when_s.setdefault(record.position, trio.current_time())
            if known.chain != record.chain:
                self.changed.append(f"position {record.position} was {known.kind.name} and is {record.kind.name}")


class Oracle:
    """Tell it everything, then ask it to `finish`."""

    def __init__(self, nodes: Sequence[str], doors: Mapping[str, int] | None = None) -> None:
        """`doors`: by node, the port to which payments are submitted."""
        self.contents = Contents(fields.load(""), collect=True)
        self.hub_book = HubBook(self)
        self.processor_book = ProcessorBook(self)
        self._printed: list[str] = []
        self._printer = RecordPrinter(self._printed.append, json=True, fields=False, reveal=False)
        self._nodes = tuple(nodes)
        self._doors = {port: node for node, port in (doors or {}).items()}
        self._at = 0
        self._events: list[tuple[int, float, HubEvent | ProcessorEvent]] = []
        self._lines: list[tuple[int, str, bytes]] = []
        self._said: list[tuple[int, float, str]] = []
        self._disks: dict[str, _Disk] = {}
        self._troubles: list[_Span] = []
        self._tampered: dict[str, float] = {}
        """By node/site: since when somebody on the path does more than listen, for the first time."""
        self._stops: list[_Stop] = []
        self._sent_again: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        """The copies that somebody on the path sends of a message, by when each left."""
        self._ended: list[tuple[str, float, ExitCode | None, str, str]] = []
        self._lied: list[str] = []
        self._shown: set[str] = set()
        self._links: dict[int, tuple[str, float]] = {}
        """By number: node/site, and since when it stands."""
        self._labels: dict[str, str] = {}
        """What a node calls itself."""
        self._codec = Codec(fields.load(""))
        self.rules = config.StandIn()
        """Those of all nodes."""

    # --- what happens

    def next_number(self) -> int:
        """Of the next thing that happens."""
        self._at += 1
        return self._at

    @property
    def events(self) -> int:
        """How much hub and processor have seen."""
        return len(self._events)

    def happened(self, event: HubEvent | ProcessorEvent) -> None:
        """Hub or processor saw something."""
        if isinstance(event, HubEvent) and event.event == "connected":
            self._links[event.link] = f"{event.why}/{event.site}", event.t
        self._events.append((self.next_number(), trio.current_time(), event))

    def said(self, text: str) -> None:
        """The world says something that is about no payment."""
        self._said.append((self.next_number(), trio.current_time(), text))

    def log_line(self, node: str, line: bytes) -> None:
        """A gateway says something."""
        self._lines.append((self.next_number(), node, line))

    def disk(self, node: str, disk: FakeDisk) -> None:
        """Watch what becomes durable there."""
        self._disks[node] = watched = _Disk(self, node, disk)
        disk.synced = watched.look

    def trouble(self, what: str, where: str, from_s: float, until_s: float) -> None:
        """Something was broken: what (see `EXCUSES`), and where: a node, or node/site."""
        self._troubles.append(_Span(what, where, from_s, until_s))

    def tampered(self, where: str) -> None:
        """From now on somebody on this path (node/site) may say to each end what the other one has not said."""
        self._tampered.setdefault(where, trio.current_time())

    def stopped(self, node: str) -> None:
        """An operator has stopped submitting there: it is in effect."""
        self._stops.append(_Stop(node, trio.current_time()))

    def may_submit(self, node: str) -> None:
        """A start is ordered there, or a stop that was not durable is forgotten."""
        for stop in self._stops:
            if stop.node == node:
                stop.ordered_s = min(stop.ordered_s, trio.current_time())

    def submits(self, node: str) -> None:
        """The start is in effect."""
        for stop in self._stops:
            if stop.node == node:
                stop.over_s = min(stop.over_s, trio.current_time())

    def sent_again(self, where: str, mti: str, fpid: str) -> None:
        """Somebody on this path sends a message of the gateway to the hub once more; the hash of its FPID."""
        self._sent_again[where, mti, fpid].append(self.next_number())

    def ended(self, node: str, code: ExitCode | None, at_whose_hands: str, where: str) -> None:
        """A process ended: by itself, or drained, at once, killed or with its power."""
        self._ended.append((node, trio.current_time(), code, at_whose_hands, where))

    def overseen(self, node: str, silent_s: float, words: Iterable[str]) -> None:
        """What the supervisor of a life heard, and how long it did not hear that it was alive."""
        if silent_s > WATCHDOG_S:
            self.lied(node, f"not heard of for {silent_s:g} s: taken for stuck")
        self._shown.update(words)

    def lied(self, node: str, what: str) -> None:
        """A process did what it must not."""
        self._lied.append(f"{node}: {what}")

    # --- what it comes to

    def finish(self, disks: Mapping[str, FakeDisk]) -> Verdict:
        """Judge everything."""
        ledger = Ledger(whole=True, ordered=True)
        for node in self._nodes:
            self._read_journal(ledger, node, disks[node])
        came: set[tuple[str, str | int]] = set()
        for at, _, event in self._events:
            if isinstance(event, HubEvent):
                if event.event == "connected":
                    event.why = self._labels.get(event.why, event.why)
                if self._others_fault(event) or self._others_copy(event, at, came):
                    continue
                waited_s = _waited_s(event)
                if waited_s and not self._sound(event.link, event.t - waited_s, event.t):
                    continue  # whoever should have answered could not
                ledger.hub(event, at)
            else:
                if event.event == "submitted" and (door := self._doors.get(event.port)) is not None:
                    event.node = self._labels.get(door, door)
                ledger.processor(event, at)
        self._judge_lives(ledger)
        self._judge_leaks(ledger)
        self._judge_answers(ledger)
        self._judge_taken(ledger)
        self._judge_asked(ledger)
        self._judge_stopped(ledger)
        stand_in.judge(ledger.promise("within-rules"), self.rules, self._codec, self._records())
        return ledger.verdict()

    def _read_journal(self, ledger: Ledger, node: str, disk: FakeDisk) -> None:
        """What was durable once, and what the gateway's own reader makes of the disk now: they must agree."""
        watched = self._disks[node]
        records = dict(watched.records)
        wrong = list(watched.changed)
        for directory in disk.directories.values():
            manifest = read_manifest(directory)
            if manifest is None:
                continue
            walk = Walk(directory, manifest)
            try:
                kept = {record.position: record for batch in walk for record in batch}
            except Corrupt as corrupt:
                wrong.append(str(corrupt))
                continue
            first = min(kept, default=walk.position)
            wrong += [
                f"position {position} was durable and is {'gone' if position not in kept else 'another'}"
                for position, record in watched.records.items()
                if position >= first and (position not in kept or kept[position].chain != record.chain)
            ]
            records |= kept
        whole = ledger.promise("journal-whole")
        whole.check(not wrong, f"{node}: {'; '.join(wrong[:3])}")
        events = [self._event(record) for _, record in sorted(records.items())]
        label = node
        for record in records.values():
            if record.kind is Kind.STARTED:
                started = steps.unpack(Kind.STARTED, record.body)
                assert isinstance(started, steps.Started)
                label = started.node
        self._labels[node] = label
        for event in events:
            ledger.journal(event, label)
        for position, at in watched.at.items():
            ledger.durable(label, position, at)

    def _event(self, record: Record) -> JournalEvent:
        self._printer.record(record)
        event = books.journal_event(msgspec.json.decode(self._printed.pop()))
        if record.kind is Kind.RECEIVED:
            event.content = self.contents.of_message(record.fpid, record.body[:-MAC_BYTES])
        elif record.kind in {Kind.SUBMITTED, Kind.RETRIED}:
            body = steps.unpack(record.kind, record.body)
            assert isinstance(body, steps.Submitted | steps.Retry)
            event.content = self.contents.of_message(record.fpid, body.covered)
        return event

    def _others_fault(self, event: HubEvent) -> bool:
        """Whether this is a fault that somebody on the path may be to blame for."""
        where = self._links[event.link][0] if event.link in self._links else ""
        return (
            event.event in {"fault", "mischief-missed"}
            and event.t >= self._tampered.get(where, inf)
            and (OF_TWO in event.why or not any(words in event.why for words in OURS_ALONE))
        )

    def _others_copy(self, event: HubEvent, at: int, came: set[tuple[str, str | int]]) -> bool:
        """Whether this is a message that came before, and came again from somebody on the path; or the hub's answer on
        a line where nobody else has asked.

        What comes before a copy has left is the gateway's: its other node may submit there what came by this one.
        """
        if event.event == "answered" and self._links[event.link][0] in self._tampered:
            return (event.fpid, event.link) not in came
        if event.event != "submitted":
            return False
        again = (self._links[event.link][0], event.mti, event.fpid)
        left = self._sent_again[again]
        if (event.fpid, event.mti) in came and left and left[0] < at:
            del left[0]
            return True
        came |= {(event.fpid, event.mti), (event.fpid, event.link)}
        return False

    # --- promises that only a simulation can judge

    def _judge_lives(self, ledger: Ledger) -> None:
        check = ledger.promise("stops-rather-than-lies")
        for what in self._lied:
            check.check(False, what)
        for node, at_s, code, hands, where in self._ended:
            if code is None:
                check.check(hands in {"killed", "power"}, f"{node}: gone at nobody's hands")
                continue
            sick = any(one.what == "disk" and _is_at(one, node) and one.from_s <= at_s for one in self._troubles)
            short = any(one.what == "short" and _is_at(one, node) and one.from_s <= at_s for one in self._troubles)
            unmounted = any(one.what == "mount" and _is_at(one, node) and one.from_s <= at_s for one in self._troubles)
            right = (
                (code is ExitCode.REFUSED and unmounted)
                or (code in {ExitCode.JOURNAL, ExitCode.UNAVAILABLE} and sick)
                or (code is ExitCode.UNAVAILABLE and short)
                or (code is ExitCode.ENDED and hands == "drain")
                or (code is ExitCode.INTERRUPTED and hands in {"drain", "at-once"})
                or (code is ExitCode.ENDED and hands == "at-once")
            )
            check.check(right, f"{node}: ended with {code.name} ({hands or 'by itself'}) {where}")

    def _judge_leaks(self, ledger: Ledger) -> None:
        check = ledger.promise("nothing-leaks")
        words = {word for word in self.contents.words if WORD.fullmatch(word)}
        either = "|".join(re.escape(word) for word in sorted(self.contents.words - words)) or "(?!)"
        phrases = re.compile(rf"(?<!\w)(?:{either})(?!\w)")
        seen = [_texts(line) for _, _, line in self._lines] + [where for *_, where in self._ended] + [*self._shown]
        shown, _ = metrics.exposition(openmetrics=False)
        seen += [line.rpartition("}")[0] for line in shown.decode().splitlines() if line.endswith("}")]
        for line in seen:
            found = words.intersection(WORD.findall(line)) or phrases.search(line)
            check.check(not found, f"a payment's data in: {line[:40]!r}…")

    def _judge_answers(self, ledger: Ledger) -> None:
        """Each request on a sound link of a sound node gets its reply in time."""
        check = ledger.promise("always-answered")
        replied: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
        spoilt: set[int] = set()
        odd: set[str] = set()
        for _, _, event in self._events:
            if isinstance(event, HubEvent):
                if event.event == "replied":
                    replied[event.fpid, event.link].append(event.t)
                elif event.event == "mischief":
                    spoilt.add(event.link)
                    odd.add(event.fpid)
                elif event.event == "disconnected" and event.why:
                    spoilt.add(event.link)
        silent = self._unanswered()
        for _, _, event in self._events:
            if not isinstance(event, HubEvent) or event.event != "sent" or event.link not in self._links:
                continue
            where, due_s = self._links[event.link][0], event.t + REPLY_WITHIN_S + SLACK_S
            if event.fpid in odd or event.link in spoilt or event.fpid in silent:
                continue
            if self._sound(event.link, event.t, due_s):
                in_time = any(event.t <= at_s <= due_s for at_s in replied[event.fpid, event.link])
                check.check(in_time, f"{event.fpid}: not replied to in time on link {event.link} of {where}")

    def _judge_asked(self, ledger: Ledger) -> None:
        """Where nothing was broken for as long as a question may take, stand-in decides after the processor was asked,
        and nothing that it has answered.
        """
        check = ledger.promise("asked-first")
        asked: dict[str, float] = {}
        answered: dict[str, float] = {}
        for _, now_s, event in self._events:
            if isinstance(event, ProcessorEvent) and event.event == "asked":
                asked.setdefault(event.fpid, now_s)
            elif isinstance(event, ProcessorEvent) and event.event == "answered":
                answered.setdefault(event.fpid, now_s)
        for node, disk in self._disks.items():
            for record in disk.records.values():
                if record.kind in IN_ITS_STEAD:
                    until_s = disk.when_s[record.position]
                    fpid = log.fpid_hash(record.fpid)
                    if self._is_well(node, until_s - ASKED_WITHIN_S, until_s):
                        in_time = asked.get(fpid, inf) < until_s and answered.get(fpid, inf) > until_s - SLACK_S
                        check.check(in_time, f"{fpid}: {record.kind.name} by {node}, where nothing was broken")

    def _is_well(self, node: str, from_s: float, until_s: float) -> bool:
        """Whether nothing at all was broken at this node, its lines or the processor, and nothing was switched."""
        return not any(one == node and from_s <= at_s <= until_s for one, at_s, *_ in self._ended) and not any(
            one.from_s <= until_s and one.until_s >= from_s and one.where.partition("/")[0] in {"", node}
            for one in self._troubles
        )

    def _records(self) -> Iterator[tuple[str, list[Record]]]:
        """Of each node, in order."""
        for node, disk in self._disks.items():
            yield node, [record for _, record in sorted(disk.records.items())]

    def _unanswered(self) -> set[str]:
        """Payments that stand-in's rules say nothing to."""
        return {
            log.fpid_hash(record.fpid)
            for disk in self._disks.values()
            for record in disk.records.values()
            if record.kind is Kind.UNANSWERED
        }

    def _judge_taken(self, ledger: Ledger) -> None:
        """A submission is refused for want of anything only where something wants."""
        check = ledger.promise("always-taken")
        # by where it is from: whoever connects again has the one before no more, though its machine may have died
        # without a word to the hub, even before the hub saw it connect
        standing: dict[str, int] = {}
        deaf_s: dict[int, float] = {}
        for _, now_s, event in self._events:
            if isinstance(event, HubEvent):
                if event.event == "connected":
                    standing[self._links[event.link][0]] = event.link
                elif event.event == "mischief" and event.why in DEAF_AFTER_S:
                    deaf_s.setdefault(event.link, now_s + DEAF_AFTER_S[event.why])
                elif event.event == "disconnected" and standing.get(self._links[event.link][0]) == event.link:
                    del standing[self._links[event.link][0]]
            elif event.event == "submitted" and event.port in self._doors:
                node = self._doors[event.port]
                sound = [
                    link
                    for where, link in standing.items()
                    if where.startswith(f"{node}/")
                    and self._links[link][1] < now_s - BEFORE_S
                    and now_s < deaf_s.get(link, inf)
                    and self._sound(link, now_s, now_s)
                ]
                stopped = any(one.node == node and one.from_s <= now_s <= one.over_s + BEFORE_S for one in self._stops)
                if sound and not stopped:
                    refused = event.status in {503, 504} and not event.code
                    check.check(not refused, f"{event.fpid}: {event.status} by {node} with a link up")

    def _judge_stopped(self, ledger: Ledger) -> None:
        """What the hub gets from a node at which submitting is stopped had left before. It was held up on its way, or
        somebody there sent it again.
        """
        check = ledger.promise("stopped")
        for stop in self._stops:
            check.check(stop.over_s < inf, f"{stop.node}: submitting is stopped for ever")
        for _, now_s, event in self._events:
            if isinstance(event, HubEvent) and event.event == "submitted" and event.link in self._links:
                where, since_s = self._links[event.link]
                held_up = now_s >= self._tampered.get(where, inf) or any(
                    one.what == "link" and one.until_s >= since_s and one.from_s <= now_s and _is_at(one, where)
                    for one in self._troubles
                )
                stopped = any(
                    where.startswith(f"{one.node}/") and one.from_s + SLACK_S < now_s < one.ordered_s
                    for one in self._stops
                )
                check.check(
                    held_up or not stopped, f"{event.fpid}: {event.mti} by {where} while submitting was stopped"
                )

    def _sound(self, link: int, from_s: float, until_s: float) -> bool:
        """Whether nothing of its node was broken from shortly before, and nothing of its line since it stands.

        What broke the line once may have ended the connection without a word to the hub; so does the end of a process.
        """
        where, since_s = self._links[link]
        died = any(where.startswith(f"{node}/") and since_s <= at_s <= until_s for node, at_s, *_ in self._ended)
        return not died and not any(
            one.what in EXCUSES
            and one.from_s <= until_s
            and one.until_s >= (since_s if one.what == "link" else from_s - BEFORE_S)
            and _is_at(one, where)
            for one in self._troubles
        )

    # --- for people

    def story(self, name: str) -> list[str]:
        """What everybody saw of a payment (the hash of its FPID), in order; empty: of all that is about none."""
        told: list[tuple[float, str]] = []
        for at, now_s, event in self._events:
            if event.fpid == name:
                whose = "hub" if isinstance(event, HubEvent) else "processor"
                told.append((at, f"{now_s:10.3f} {whose:9} {_plain(event)}"))
        for node, disk in self._disks.items():
            for position, record in disk.records.items():
                if (log.fpid_hash(record.fpid) if record.fpid else "") == name:
                    kept = self._event(record)
                    told.append((disk.at[position], f"{'':10} {node + ' disk':9} {_plain(kept)}"))
        for at, node, line in self._lines:
            if (name.encode() in line) if name else b'"fpid"' not in line:
                told.append((at, f"{'':10} {node + ' log':9} {line.decode(errors='replace').strip()}"))
        for at, now_s, text in self._said:
            told.append((at, f"{now_s:10.3f} {'':9} {text}"))
        return [f"{at:7} {text}" for at, text in sorted(told)]


def _texts(line: bytes) -> str:
    """What a log line says in words: a number of milliseconds may look like anything."""
    said = msgspec.json.decode(line)
    return " ".join(str(value) for key, value in said.items() if key != "time" and not isinstance(value, float))


def _is_at(trouble: _Span, where: str) -> bool:
    """Whether this trouble is felt there: a link's by the link, a node's by all of it."""
    return where == trouble.where or where.startswith(f"{trouble.where}/")


def _plain(event: msgspec.Struct) -> str:
    said = msgspec.to_builtins(event)
    return " ".join(f"{key}={value}" for key, value in said.items() if key not in {"fpid", "t", "intended"})
