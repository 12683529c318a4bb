"""Tells the processor what was done in its absence, until it acknowledges: nothing is forgotten.

Our other processes are told the scheme's news in the same way. An `Addressee` says whom a forwarder tells of what, and
in which words; each has a follower, a cursor and acknowledgements of its own. Below, "the processor" stands for any
addressee. News that another process handed on (a USM with a source) is told to nobody: that process tells it.

The forwarder follows the journal and tells a notice until it is done. A 2xx acknowledges it (`TOLD`). A status that
judges the notice itself (`statuses.REFUSING`) refuses it for good (`PARKED`: people must look). Anything else (another
status, a broken connection, silence) is no answer, and the notice is told again after a pause that grows. Order is kept
per payment: the second notice about an FPID waits until the first is acknowledged or parked, while notices about other
payments go past it. News of the scheme has no FPID and is told in the order in which it came.

When the processor answers nothing at all, one probe at a time is told, with growing pauses; once one is acknowledged,
everything goes at full pace again. Only notices that were never told before make these pauses grow: a repeated notice
has a pause of its own, so that notices that are never taken do not hold back the others. Memory holds a window of the
backlog, however much is on disk.

The cursor rests at the lowest notice that is not done. After a restart everything from there is read again. `Backlog`
sees every record that the journal finds at its opening, and knows which notices were told. A notice that was in flight,
or whose TOLD was not yet on disk, is told twice, under the same id. A notice that is never taken holds the cursor, and
with it the journal's segments, for ever: a metric shows its age, and above `OLD_S` a log line says so.

A parked notice is told once more when a person asks for it (`tell_again`). Once acknowledged, it gets its TOLD after
all and is no longer parked; otherwise nothing changes. A person may also have one dropped, with a reason (`drop`): its
receiver never hears of it.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple, Protocol

import trio

from gateway import config, log, metrics
from gateway.backoff import backoff_s, jittered_s
from gateway.clock import Clock, system_clock
from gateway.errors import Refusal, Unavailable
from gateway.http.breaker import Breaker
from gateway.http.statuses import Told
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.processor.addressees import Addressee, handed_on
from gateway.processor.backlog import Backlog, Refused
from gateway.processor.notices import Record, notice_id

WINDOW_MAX = 4096
"""Notices in memory, at most: some megabytes, two seconds' worth at the default pace. Only this many that are neither
taken nor refused hold up the others.
"""
BATCH_MAX = 512
"""Records read from the journal at once."""
GATHER_S = 0.01
"""The wait for room to gather in a nearly full window: records are not read one by one."""
AWAY_AFTER = 3
"""Notices in a row without an answer that mean that the processor is away; fewer: it cannot take these."""
BURST_S = 0.02
"""How much of the pace may go at once; half of it waits for its turn together. A timer for each costs too much."""
COMMIT_S = 0.05
"""TOLD records are gathered for this time before they go to disk. Losing them costs a repeated notice."""
OLD_S = 3600.0
"""A notice not done this long after its record needs people to look."""
LOOK_EVERY_S = 60.0
"""How often the age of the lowest notice is checked: at most one log line each time, whatever the backlog."""

_log = log.get("forwarder")


class Follower(Protocol):
    """A reader of the journal with a durable cursor."""

    @property
    def position(self) -> int:
        """The next position to read."""

    async def batch(self, max_records: int) -> Sequence[Record]:
        """The next durable records of its kinds; waits for the first."""

    def settle(self, position: int) -> None:
        """Note that everything below this position is done."""


class Journal(Protocol):
    """What the forwarder needs of the journal."""

    def append(self, kind: Kind, body: bytes = b"", *, fpid: str = "", link: int = 0, wall_ns: int) -> int:
        """Append a record. Raises `JournalFault`."""

    def commit(self) -> None:
        """Hand what was appended to the disk."""

    def has_room(self) -> bool:
        """Whether it is well below its limit."""

    def follower(self, name: str, kinds: frozenset[Kind]) -> Follower:
        """Open a follower where its cursor is."""

    async def record(self, position: int) -> Record | None:
        """The durable record at this position; None when it is not kept any more. Raises `JournalFault`."""

    async def until_durable(self, position: int) -> None:
        """Wait until the record at this position is durable."""


class Teller(Protocol):
    """Tells a notice once (`client.Client`)."""

    async def tell(self, key: str, body: bytes) -> Told:
        """Always returns, in bounded time."""


class ParkedNotice(NamedTuple):
    """A notice that its receiver refused for good, for people: it says nothing of the payment."""

    position: int
    to: str
    """The receiver."""
    kind: str
    """Of the step that it tells; empty: the journal does not keep that any more."""
    status: int
    """The HTTP status of the refusal."""
    since_ns: int
    """When it was refused, by the wall clock."""


@dataclass(slots=True, eq=False)
class _Item:
    """A notice in the window."""

    record: Record
    attempts: int = 0


class Forwarder:
    """The task that tells one addressee. `remember` while the journal is opened, then `run`."""

    def __init__(
        self,
        settings: config.Processor,
        node: str,
        teller: Teller,
        to: Addressee,
        *,
        clock: Clock = system_clock,
        luck: Callable[[], float] = random.random,
    ) -> None:
        """`node` names the notices: it must never change for a journal."""
        self._settings = settings
        self._node = node
        self._teller = teller
        self._to = to
        self._clock = clock
        self._luck = luck
        self._journal: Journal | None = None
        self._follower: Follower | None = None
        self._nursery: trio.Nursery | None = None
        self._backlog = Backlog(to.name, to.kinds)
        """What was found at the opening, less what has been read since."""
        self._window: dict[int, _Item] = {}
        """Notices that were read and are not done, by position, in order."""
        self._payments: dict[str, list[_Item]] = {}
        """For each FPID in the window: the notices that wait for the one before."""
        self._ready: deque[_Item] = deque()
        self._again_ready: deque[_Item] = deque()
        """Repeated notices whose pause is over."""
        self._paused: list[tuple[float, int, _Item]] = []
        self._turn = count()
        self._telling = 0
        self._telling_again: set[int] = set()
        """Parked notices that a person has told once more, while they are."""
        self._breaker = Breaker(settings.tell_pause_s, settings.tell_pause_max_s, AWAY_AFTER)
        self._next_s = -math.inf
        """When the pace allows the next notice."""
        self._room = trio.Event()
        self._timer = trio.CancelScope()
        self._write_s = math.inf
        """When to write down what is done; inf: there is nothing."""
        self._read_to = 0
        self._look_s = -math.inf
        """When to check the age of the lowest notice next."""
        self._said_old = 0
        """The highest position that was logged as old. The lowest notice only ever moves up: each is logged once."""
        self._counts = dict.fromkeys(metrics.NOTICE_OUTCOMES, 0)

    def remember(self, record: Record) -> None:
        """Take a record that the journal found at its opening: each one, in order.

        Notices from the cursor on that it was not shown are told (again).
        """
        self._backlog.take(record)

    async def run(self, journal: Journal, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell for ever. Cancelled, what is in flight will be told again. Raises `JournalFault`."""
        self._journal = journal
        self._follower = journal.follower(self._to.name, self._to.kinds)
        self._read_to = self._follower.position
        self._to.telling.oldest_age_s.set_function(self._oldest_age_s)
        self._to.telling.parked.set(len(self._backlog.parked))
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._read, self._follower)
                task_status.started()
                while True:
                    with self._timer:
                        await trio.sleep_forever()
                    self._timer = trio.CancelScope()
                    now_s = trio.current_time()
                    if now_s >= self._write_s:
                        self._write_down()
                    if now_s >= self._look_s:
                        self._look(now_s)
                    self._keep_up(now_s)
        finally:
            self._nursery = None
            self._to.telling.oldest_age_s.set_function(lambda: 0.0)
            self._write_down()

    # --- reading

    async def _read(self, follower: Follower) -> None:
        while True:
            while len(self._window) >= WINDOW_MAX:
                self._room = trio.Event()
                await self._room.wait()
            if len(self._window) > WINDOW_MAX - BATCH_MAX:
                await trio.sleep(GATHER_S)
            for record in await follower.batch(min(WINDOW_MAX - len(self._window), BATCH_MAX)):
                self._take(record)
            self._read_to = follower.position
            self._to.telling.waiting.set(len(self._window))
            now_s = trio.current_time()
            self._write_s = min(self._write_s, now_s + COMMIT_S)
            self._keep_up(now_s)

    def _take(self, record: Record) -> None:
        position = record.position
        if position <= self._backlog.last:
            if position not in self._backlog.untold:
                return
            self._backlog.untold.discard(position)
        elif handed_on(record):
            return
        item = _Item(record)
        self._window[position] = item
        behind = self._payments.get(record.fpid)
        if behind is None:
            self._payments[record.fpid] = []
            self._ready.append(item)
        else:
            behind.append(item)

    # --- telling

    def _keep_up(self, now_s: float) -> None:
        """Start telling what may be told now, and set the timer for the rest."""
        nursery, journal = self._nursery, self._journal
        if nursery is None or journal is None:
            return
        while self._paused and self._paused[0][0] <= now_s:
            self._again_ready.append(heapq.heappop(self._paused)[2])
        while (self._ready or self._again_ready) and self._telling < self._settings.tell_connections:
            if not self._breaker.allows(now_s):
                self._alarm(self._breaker.until_s)
                break
            if self._next_s > now_s:
                self._alarm(max(self._next_s, now_s + BURST_S / 2))
                break
            if not journal.has_room():
                self._alarm(now_s + COMMIT_S)  # payments first
                break
            self._next_s = max(self._next_s, now_s - BURST_S) + 1 / self._settings.tell_per_s
            self._telling += 1
            self._breaker.started(now_s)
            # new notices first: those that nobody will ever take must not use up every probe
            nursery.start_soon(self._tell, (self._ready or self._again_ready).popleft())
        if self._paused:
            self._alarm(self._paused[0][0])
        if self._window:
            self._alarm(self._look_s)
        self._alarm(self._write_s)

    async def _tell(self, item: _Item) -> None:
        record = item.record
        started_s = trio.current_time()
        told = await self._teller.tell(notice_id(self._node, record.position), self._to.write(record))
        self._telling -= 1
        now_s = trio.current_time()
        if told.acknowledged:
            self._answered()
            self._counted("told")
            self._done(item, Kind.TOLD, steps.pack(steps.Told(record.position, self._to.name)))
        elif told.refused:
            self._answered()
            self._counted("parked")
            self._backlog.park(record.position, Refused(told.status, self._clock().wall_ns))
            self._to.telling.parked.set(len(self._backlog.parked))
            self._done(item, Kind.PARKED, steps.pack(steps.Parked(record.position, told.status, self._to.name)))
            _log.warning(
                "notice refused and parked", follower=self._to.name,
                position=record.position, step=record.kind.name, fpid=log.fpid_hash(record.fpid), status=told.status,
            )  # fmt: skip
        else:
            self._counted("again")
            self._again(item, told, started_s, now_s)
        self._keep_up(now_s)

    def _answered(self) -> None:
        if self._breaker.open:
            _log.info("notices are taken again", follower=self._to.name, waiting=len(self._window))
        self._breaker.succeeded()

    def _again(self, item: _Item, told: Told, started_s: float, now_s: float) -> None:
        first_s, max_s = self._settings.tell_pause_s, self._settings.tell_pause_max_s
        wanted_s = min(told.retry_after_s, max_s)
        was_open = self._breaker.open
        if item.attempts and was_open:
            self._breaker.again(now_s, started_s, self._luck(), wanted_s)
        else:
            self._breaker.failed(now_s, started_s, self._luck(), wanted_s)
        if self._breaker.open and not was_open:
            waiting = len(self._window)
            _log.warning("notices are not taken", follower=self._to.name, reason=told.reason, waiting=waiting)
        pause_s = max(jittered_s(backoff_s(item.attempts, first_s, max_s), self._luck()), wanted_s)
        item.attempts += 1
        heapq.heappush(self._paused, (now_s + pause_s, next(self._turn), item))

    def _done(self, item: _Item, kind: Kind, body: bytes) -> None:
        fpid = item.record.fpid
        assert self._journal is not None
        self._journal.append(kind, body, fpid=fpid, wall_ns=self._clock().wall_ns)
        del self._window[item.record.position]
        self._behind(fpid)
        self._write_s = min(self._write_s, trio.current_time() + COMMIT_S)
        self._room.set()

    def _behind(self, fpid: str) -> None:
        """A notice of this payment is done: the one behind it may be told."""
        behind = self._payments[fpid]
        if behind:
            self._ready.append(behind.pop(0))
        else:
            del self._payments[fpid]

    # --- when a person says so

    async def tell_again(self, position: int) -> None:
        """Tell a parked notice once more, under the same id. Returns when it was acknowledged.

        Later notices about the same payment wait meanwhile. Raises `Refusal` when it is not parked, or is refused
        again, and `Unavailable` when nobody answers: then it stays parked, and nothing is recorded. Cancelled, it stays
        parked, too, even if it was taken: ask again.
        """
        record = await self._parked(position)
        if record.fpid in self._payments:
            raise Refusal(f"position {position}: another notice about the same payment is being told; ask again later")
        assert self._journal is not None
        if not self._journal.has_room():
            raise Unavailable("the journal has no room for the acknowledgement")
        self._payments[record.fpid] = []
        self._telling_again.add(position)
        try:
            told = await self._teller.tell(notice_id(self._node, position), self._to.write(record))
            if told.acknowledged:
                self._journal.append(
                    Kind.TOLD, steps.pack(steps.Told(position, self._to.name)),
                    fpid=record.fpid, wall_ns=self._clock().wall_ns,
                )  # fmt: skip
                self._counted("told")
                self._unpark(position)
        finally:
            self._telling_again.discard(position)
            self._behind(record.fpid)
            now_s = trio.current_time()
            self._write_s = min(self._write_s, now_s + COMMIT_S)
            self._keep_up(now_s)
        if told.refused:
            raise Refusal(f"position {position}: refused again, with status {told.status}; it stays parked")
        if not told.acknowledged:
            raise Unavailable(f"position {position}: {told.reason}; it stays parked")
        _log.info("parked notice acknowledged", follower=self._to.name, position=position, step=record.kind.name)

    async def drop(self, position: int, reason: str) -> None:
        """Drop a parked notice, for the reason that a person gives: it is parked no more, and its receiver never hears
        of it. Returns when that is durable.

        Raises `Refusal` when it is not parked, or is being told again, and `Unavailable` when there is no room for the
        record: then it stays parked. Cancelled, it is dropped all the same, once that is durable.
        """
        record = await self._parked(position)
        if position in self._telling_again:
            raise Refusal(f"position {position}: it is being told again; ask again later")
        assert self._journal is not None
        if not self._journal.has_room():
            raise Unavailable("the journal has no room for the record")
        dropped = self._journal.append(
            Kind.DROPPED, steps.pack(steps.Dropped(position, reason, self._to.name)),
            fpid=record.fpid, wall_ns=self._clock().wall_ns,
        )  # fmt: skip
        self._journal.commit()
        self._counted("dropped")
        self._unpark(position)
        _log.warning("parked notice dropped", follower=self._to.name, position=position, step=record.kind.name)
        await self._journal.until_durable(dropped)

    async def parked(self, most: int) -> list[ParkedNotice]:
        """Notices that are parked, in the order of parking: the latest of them, so many at most."""
        if self._journal is None:
            raise Unavailable("the journal is not open yet")
        found = []
        for position, refused in list(self._backlog.parked_last().items())[-most:]:
            record = await self._journal.record(position)
            kind = record.kind.name if record is not None else ""
            found.append(ParkedNotice(position, self._to.name, kind, *refused))
        return found

    async def _parked(self, position: int) -> Record:
        """The record of a parked notice, off the disk."""
        if self._journal is None:
            raise Unavailable("the journal is not open yet")
        kept = position in self._backlog.parked
        record = await self._journal.record(position) if kept else None
        if kept and record is None:
            self._unpark(position)
        if record is None or position not in self._backlog.parked:
            gone = ": the journal does not keep it any more" if kept and record is None else ""
            raise Refusal(f"position {position}: no notice to {self._to.name} is parked there{gone}")
        return record

    def _unpark(self, position: int) -> None:
        self._backlog.unpark(position)
        self._to.telling.parked.set(len(self._backlog.parked))

    def _write_down(self) -> None:
        """Commit the TOLD records, and move the cursor to the lowest notice that is not done."""
        if self._write_s < math.inf and self._journal is not None and self._follower is not None:
            self._write_s = math.inf
            self._journal.commit()
            self._follower.settle(self._lowest())
            self._to.telling.waiting.set(len(self._window))

    def _lowest(self) -> int:
        return next(iter(self._window), self._read_to)

    def _oldest_age_s(self) -> float:
        """Age of the lowest notice that is not done, by the wall clock; 0: there is none."""
        item = next(iter(self._window.values()), None)
        return max(0.0, (self._clock().wall_ns - item.record.time_ns) / 1e9) if item is not None else 0.0

    def _look(self, now_s: float) -> None:
        """Log, once for each, that the lowest notice is old: nothing else shows a single notice that is never taken."""
        self._look_s = now_s + LOOK_EVERY_S
        age_s = self._oldest_age_s()
        if age_s <= OLD_S or self._lowest() <= self._said_old:
            return
        item = next(iter(self._window.values()))
        record = item.record
        self._said_old = record.position
        _log.warning(
            "notice not acknowledged for long", follower=self._to.name,
            position=record.position, step=record.kind.name, fpid=log.fpid_hash(record.fpid), age_s=round(age_s),
            attempt=item.attempts,
        )  # fmt: skip

    def _counted(self, outcome: str) -> None:
        self._counts[outcome] += 1
        self._to.telling.outcomes[outcome].inc()

    def _alarm(self, at_s: float) -> None:
        self._timer.deadline = min(self._timer.deadline, at_s)

    # --- what people look at

    @property
    def name(self) -> str:
        """Of the follower, as the journal and the log have it."""
        return self._to.name

    def health(self) -> str:
        """Why notices are not being told; empty: they are, or there are none."""
        who, what = self._to.said
        return f"{who} takes no {what}" if self._breaker.open else ""

    def statistics(self) -> dict[str, Any]:
        """Notices that wait, were told, are parked."""
        open_ = self._breaker.open and self._nursery is not None
        return {
            "health": self.health(),
            "backlog_at_least": len(self._window) + len(self._backlog.untold),
            "in_window": len(self._window),
            "in_flight": self._telling,
            "lowest_position": self._lowest(),
            "oldest_age_s": round(self._oldest_age_s(), 3),
            "read_to_position": self._read_to,
            "pause_s": round(max(0.0, self._breaker.until_s - trio.current_time()), 3) if open_ else 0.0,
            "parked_positions": list(self._backlog.parked_last()),
            **self._counts,
        }
