"""One connection with the hub: the thin shell around a `Session`. Frames in, frames out; nothing here knows a payment.

Three tasks live and die together: a reader, a writer, a timekeeper.

* The reader hands all frames of a chunk to the `Inbox` at once and reads on: it waits for nothing but the hub.
* The writer joins all queued bodies into one write per wake-up. A body is *sent* when the stream took it: it may still
  be lost with the connection, and only the hub's repeat or reversal will tell. A write that the stream does not take in
  time ends the link: a reply that leaves late meets a hub that has given up, and would count as sent.
* The timekeeper wakes the session, ends a link whose hub stops in the middle of a frame, and bounds each closing.

When the link ends, for any reason, every body that was queued and not sent comes back through `Inbox.unsent`;
`Inbox.link_down` is the last call. A link that has ended takes nothing any more. Cancelling `run` is such an end.

A frame that cannot be right ends the link, but not at once: the engine may want to say so (9624), and the payments
before it deserve their replies. So the link understands nothing more, and closes `LAST_WORDS_S` later. So does a link
that brings too much that proves nothing, where another one does well (`budget`). Where none does, the reader waits
until the budget allows more; it also waits while too much of what it handed on is unjudged. For that the engine says
what became of each frame: it was `proved`, `disproved`, or `dropped`.
"""

import logging
from collections.abc import Callable
from math import inf
from typing import Any, Final, Protocol

import trio
from msgspec import Struct

from gateway import config, log, metrics
from gateway.clock import Clock, Now
from gateway.hub.budget import UNJUDGED_FRAMES_MAX, Budget, Unjudged
from gateway.hub.incoming import EMPTY_MAX, EMPTY_WITHIN_S, Incoming
from gateway.hub.outgoing import ContextT, Outgoing, known
from gateway.hub.rules import Changed, Direction, Finished, Lost, Report, ReportName, Send, wanted
from gateway.hub.session import Session
from gateway.log.limit import Limit
from gateway.wire.frame import Frame, FrameError
from gateway.wire.message import Message

_log = log.get("hub")

READ_BYTES = 65536
"""Bytes that one read takes at most: some 150 payments."""
LAST_WORDS_S = 2.0
"""How long a link may still write after a frame that cannot be right: enough for most replies, and shorter than a
reconnect that hurts."""
WRITE_AT_LEAST_S = 0.5
"""How long a write may take even when its bodies have waited for too long already."""
CAUGHT_UP_S = 0.1
"""What is read so soon after the reader has waited may have lain in the socket meanwhile."""
CLOSE_WITHIN_S = 2.0
"""How long a closing link may take to write its queue."""

REPORT_LEVELS: Final[dict[ReportName, int]] = {
    "sign-on refused": logging.WARNING,
    "sign-on unanswered": logging.WARNING,
    "sign-off refused": logging.WARNING,
    "sign-off unanswered": logging.WARNING,
    "signed off by hub": logging.WARNING,
    "echo unanswered": logging.WARNING,
    "response unplaced": logging.WARNING,
    "advice": logging.ERROR,
    "usm": logging.DEBUG,  # the story of the news logs its content
    "function unsupported": logging.WARNING,
    "request malformed": logging.ERROR,
}
"""The log level of each report. An advice says that the hub could not read or trust a message of ours: people must
look."""


class Inbox(Protocol):
    """Where a link reports: the engine. Called in the trio thread; must not block. It may
    call `send`, `flush`, `manage`, `close` and the verdicts of the link from within.
    """

    def link_up(self, link: "Link") -> None:
        """The connection stands; nothing was sent or received yet."""

    def link_down(self, link: "Link", reason: str) -> None:
        """It has ended. The last call for this link."""

    def frames(self, link: "Link", frames: list[Frame], now_s: float) -> None:
        """Frames came, in this order; never an empty list. The link gets one verdict on each, sooner or later."""

    def frame_error(self, link: "Link", error: FrameError) -> None:
        """The next bytes are no frame. Nothing more is read; bodies that are sent within `LAST_WORDS_S` still leave."""

    def transmit(self, link: "Link", message: Message) -> None:
        """The session has a message to send: make the MAC, record it, and `link.send` it.

        In the order of the calls, and within `respond_within_s` or not at all: after that the session sends another
        message, and a sign-off that comes late would undo the sign-on that followed it.
        """

    def sent(self, link: "Link", contexts: list[Any]) -> None:
        """The stream took the bodies with these contexts, in this order. Bodies without a context are left out."""

    def unsent(self, link: "Link", contexts: list[Any], *, surely: bool) -> None:
        """The link ended before these bodies were sent. Not `surely`: they were being written, and may have left."""

    def expired(self, link: "Link", contexts: list[Any]) -> None:
        """These bodies were not sent: their time had passed when their turn came."""


class LinkStatistics(Struct, frozen=True):
    """One link, for people."""

    site: str
    connection: int
    open: bool
    receive: str
    """The state of the direction, in words."""
    submit: str
    up_s: float
    frames_in: int
    frames_out: int
    bytes_in: int
    bytes_out: int
    waiting_bytes: int
    """Queued or being written."""


class Link:
    """One connection. `run` it once; it owns the stream."""

    def __init__(self, connection: int, site: config.HubSite, stream: trio.abc.Stream, session: Session, inbox: Inbox,
                 *, pair: config.Pair, clock: Clock, came_s: Callable[[float], float], budget: Budget,
                 is_needed: Callable[[], bool]) -> None:  # fmt: skip
        """`came_s`: the earliest time at which bytes read at a given time may have come (`machine.standstill`).
        `budget`: the site's. `is_needed`: asked when it is in debt; whether no other link does well.
        """
        self.id = connection
        """Unique in this process; never 0."""
        self.site = site.name
        self.session = session
        self.open = True
        """Whether bodies are taken."""
        self.reason = ""
        """Why it ended or is ending; empty while all is well."""
        self._half_frame_s = pair.session.half_frame_s
        # the time that a reply has left when the processor kept silent and stand-in decided
        self._write_within_s = max(1.0, pair.deadlines.reply_within_s - pair.deadlines.stand_in_after_s)
        self._stream = stream
        self._inbox = inbox
        self._clock = clock
        self._came_s = came_s
        self._log = _log.bind(link=site.name, connection=connection)
        # only of directions that we want: an alert would take another one's 0 for trouble
        self._signed_on = {each: metrics.LINK_SIGNED_ON.labels(site.name, each.value) for each in wanted(pair.session)}
        self._reports = {name: metrics.LINK_REPORTS.labels(site.name, name) for name in REPORT_LEVELS}
        self._incoming = Incoming(pair.wire, site.name, self._half_frame_s, connection)
        self._outgoing = Outgoing(pair.wire, site, clock)
        self._wake = trio.Event()
        self._scope = trio.CancelScope()
        self._alarm = trio.CancelScope()
        self._budget = budget
        self._is_needed = is_needed
        self._unjudged = Unjudged()
        self._judged: trio.Event | None = None
        """The reader waits for a verdict."""
        self._held_s = (inf, -inf)
        """Since when the reader waited last, for verdicts or for the budget, and until when."""
        self._places = Limit("hub.UNJUDGED_MAX", UNJUDGED_FRAMES_MAX)
        self._unproved = (metrics.LINK_UNPROVED_FRAMES.labels(site.name), metrics.LINK_UNPROVED_BYTES.labels(site.name))
        self.over_budget = False
        """It ends because it brought too much that proves nothing."""
        self._last_words = ""
        """Why it understands nothing more, and soon ends."""
        self._close_s = inf
        self._up_s = 0.0

    def __repr__(self) -> str:
        return f"<Link {self.id} {self.site}>"

    @property
    def hears(self) -> bool:
        """Whether it understands what comes: until its end, or shortly before it."""
        return self.open and not self._last_words

    @property
    def does_well(self) -> bool:
        """Whether it can be relied on: the hub has proved itself on it, and it is signed on or off as we want it."""
        return self.hears and self._unjudged.ever_proved and self.session.as_wanted

    # --- for the engine

    def send(self, body: bytes, context: Any = None, *, until_s: float = inf) -> bool:
        """Queue a whole message. It leaves at the next `flush`, unless `until_s` has passed when its turn comes.

        False: it will not be written, because the link has ended, or ends now because the hub does not read. Otherwise
        its context, unless None, comes to `Inbox.sent`, `unsent` or `expired`. Raises `ValueError` for a body over the
        frame limit: a bug of ours.
        """
        if not self.open:
            return False
        if not self._outgoing.put(body, context, until_s):
            self._break(f"the hub does not read: {self._outgoing.waiting_bytes} bytes wait to be written")
            return False
        return True

    def flush(self) -> None:
        """Let the writer write the queue."""
        if self._outgoing:
            self._wake.set()

    def recall(self, kind: type[ContextT]) -> list[ContextT]:
        """Take back the queued messages whose context is of this kind; returns the contexts. What is being written may
        have left, and stays.
        """
        return self._outgoing.recall(kind)

    def manage(self, message: Message, now: Now) -> None:
        """Hand the session a verified message that is no payment; a `Usm` only after it is durable."""
        proved = self.session.answered
        self.session.manage(message, now)
        if self.session.answered and not proved:
            self._log.info("link up")
        self._act()

    def proved(self, size: int) -> None:
        """A frame with a body of this size came from somebody who has the hub's key."""
        self._unjudged.proved(size)
        if self._judged is not None:
            self._judged.set()

    def disproved(self, size: int, *, key_changes: bool) -> None:
        """A frame is no message, or its MAC is wrong."""
        self._unjudged.disproved(size)
        self._charge(size, key_changes=key_changes)
        if self._judged is not None:
            self._judged.set()

    def dropped(self, size: int) -> None:
        """Nobody could or would say whether a frame proves anything."""
        self._unjudged.dropped(size)
        if self._judged is not None:
            self._judged.set()

    def _charge(self, size: int, *, key_changes: bool) -> None:
        for counter, amount in zip(self._unproved, (1, size), strict=True):
            counter.inc(amount)
        now = self._clock()
        self._budget.charge(size, now.mono_s, key_changes=key_changes)
        if self._budget.paid_s(now.mono_s) > now.mono_s and self.hears and not self._is_needed():
            self.over_budget = True
            self._say_last_words("more came that proves nothing than node.unproved allows", now)

    def close(self, reason: str) -> None:
        """Take nothing more, write the queue (for at most `CLOSE_WITHIN_S`), then end."""
        if self.open:
            self.open = False
            self.reason = reason
            self._close_s = self._clock().mono_s + CLOSE_WITHIN_S
            self._set_alarm(self._close_s)
            self._wake.set()

    # --- for the pool

    def doubt(self, now: Now) -> None:
        """See `Session.doubt`; so are the next four."""
        self.session.doubt(now)
        self._act()

    def hold(self, now: Now) -> None:
        """Sign off to receive."""
        self.session.hold(now)
        self._act()

    def resume(self, now: Now) -> None:
        """Undo `hold`."""
        self.session.resume(now)
        self._act()

    def drain(self, now: Now) -> None:
        """Sign off to receive for good."""
        self.session.drain(now)
        self._act()

    def finish(self, now: Now) -> None:
        """Sign off and end."""
        self.session.finish(now)
        self._act()

    def statistics(self) -> LinkStatistics:
        """For people."""
        return LinkStatistics(
            self.site,
            self.id,
            self.open,
            self.session.state(Direction.RECEIVE).value,
            self.session.state(Direction.SUBMIT).value,
            max(0.0, self._clock().mono_s - self._up_s),
            self._incoming.frames,
            self._outgoing.frames,
            self._incoming.bytes,
            self._outgoing.bytes,
            self._outgoing.waiting_bytes,
        )

    async def run(self) -> None:
        """Live until the connection ends; `reason` says why. Errors of the stream are an end, not an exception."""
        try:
            self._start()
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read)
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._keep_time)
        finally:
            self._end()
            # polite where there is time for it; when we are cancelled, trio's streams close at once
            with trio.move_on_after(CLOSE_WITHIN_S):
                await self._stream.aclose()

    def _start(self) -> None:
        now = self._clock()
        self._up_s = now.mono_s
        self._inbox.link_up(self)
        self.session.start(now)
        self._act()

    def _end(self) -> None:
        self.open = False
        self.reason = self.reason or "stopped"
        self.session.end(self._clock())
        for action in self.session.take():
            if isinstance(action, Changed):
                self._change(action)
        writing, queued = self._outgoing.give_back()
        for contexts, surely in ((known(writing), False), (known(queued), True)):
            if contexts:
                self._inbox.unsent(self, contexts, surely=surely)
        if self.session.answered or queued:
            say = self._log.info if self.session.finished else self._log.warning
            say("link down", reason=self.reason, count=len(queued))
        self._inbox.link_down(self, self.reason)

    # --- the reader

    async def _read(self) -> None:
        while True:
            try:
                chunk = await self._stream.receive_some(READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._break(f"connection broken: {log.describe(error)}")
                return
            now = self._clock()
            if not chunk:
                cut = self._incoming.is_cut
                self._break("closed by the hub in the middle of a frame" if cut else "closed by the hub")
                return
            if not self._last_words:
                await self._take(bytes(chunk), now)
            # else the chunk is thrown away: closing with unread bytes would reset the connection, and our last words
            # with it

    async def _take(self, chunk: bytes, now: Now) -> None:
        came = Now(self._came_s(now.mono_s), now.wall_ns)
        since_s, until_s = self._held_s
        if now.mono_s - until_s < CAUGHT_UP_S:
            came = Now(min(came.mono_s, since_s), now.wall_ns)
        self.session.heard(came)
        frames = self._incoming.feed(chunk, came.mono_s, now.mono_s)
        if self._incoming.flooded:
            self.close(f"flooded with empty frames: more than {EMPTY_MAX} within {EMPTY_WITHIN_S:g} s")
        await self._hand_on(frames, now)
        error = self._incoming.error
        if self._last_words:
            return
        if error is not None:
            self._log.error("frame error", error=log.describe(error))
            self._say_last_words(f"frame error: {error}", self._clock())
            self._charge(0, key_changes=False)
            self._inbox.frame_error(self, error)
        else:
            self._set_alarm(self._half_frame_due_s())

    async def _hand_on(self, frames: list[Frame], now: Now) -> None:
        """Hand frames to the engine, as many at once as may be unjudged. When the link understands nothing more, the
        rest is thrown away: nobody has acted on it. Cancelled, likewise.
        """
        while frames and not self._last_words:
            count = 0
            if self._budget.paid_s(now.mono_s) <= now.mono_s:
                count = self._unjudged.take(frames, self._budget.left(now.mono_s))
            if count:
                some, frames = frames[:count], frames[count:]
                self.session.came(count)
                self._inbox.frames(self, some, now.mono_s)
            else:
                await self._hold(now)
                now = self._clock()

    async def _hold(self, now: Now) -> None:
        """Wait until more may be handed on: for a verdict, or until the budget is in debt no more."""
        paid_s = self._budget.paid_s(now.mono_s)
        if paid_s <= now.mono_s and self._unjudged.at_most:
            self._places.hit(now.mono_s, "reading waits: too much has come that no HSM has judged yet")
        self._judged = trio.Event()
        with trio.CancelScope(deadline=paid_s if paid_s > now.mono_s else inf):
            await self._judged.wait()
        self._judged = None
        self._places.eased()
        self._held_s = now.mono_s, self._clock().mono_s
        self._incoming.go_on(self._held_s[1])

    # --- the writer

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            self._expire()
            if data := self._outgoing.begin():
                # counted from when the first body was queued, which may have waited for a slow write before this one;
                # but when this process was held up, the hub gets its chance all the same
                until_s = max(self._outgoing.queued_s + self._write_within_s, self._clock().mono_s + WRITE_AT_LEAST_S)
                with trio.CancelScope(deadline=until_s) as scope:
                    try:
                        await self._stream.send_all(data)
                    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                        self._break(f"connection broken: {log.describe(error)}")
                        return
                if scope.cancelled_caught:
                    self._break(f"the hub does not read: a write took more than {self._write_within_s:g} s")
                    return
                if contexts := self._outgoing.written():
                    self._inbox.sent(self, contexts)
            if not self.open and not self._outgoing:
                self._scope.cancel()
                return

    def _expire(self) -> None:
        if late := self._outgoing.expire(self._clock().mono_s):
            self._log.warning("too late to be sent", count=len(late))
            if contexts := known(late):
                self._inbox.expired(self, contexts)

    # --- the timekeeper

    async def _keep_time(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._next_s()) as self._alarm:
                await trio.sleep_forever()
            # when the whole process was held up, the hub's bytes lie in the socket: let the reader go first
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            now = self._clock()
            if self._close_s <= now.mono_s:
                self._close_at_last()
            elif self._half_frame_due_s() <= now.mono_s:
                self.close(f"half a frame for more than {self._half_frame_s:g} s")
            if self._judged is not None:
                self.session.heard(now)  # whoever does not read cannot call the other end silent
            self.session.handle_timer(now)
            self._act()

    def _next_s(self) -> float:
        timer = self.session.next_timer()
        return min(self._close_s, self._half_frame_due_s(), inf if timer is None else timer)

    def _half_frame_due_s(self) -> float:
        if not self.hears or self._judged is not None:
            return inf
        return self._incoming.half_frame_due_s()

    def _set_alarm(self, at_s: float) -> None:
        self._alarm.deadline = min(self._alarm.deadline, at_s)

    def _close_at_last(self) -> None:
        if not self.open:
            self._scope.cancel()
        else:
            assert self._last_words
            self._close_s = inf
            self.close(self._last_words)

    def _say_last_words(self, why: str, now: Now) -> None:
        """Understand nothing more, and close soon."""
        self._last_words = why
        self._close_s = now.mono_s + LAST_WORDS_S
        self._set_alarm(self._close_s)

    def _break(self, reason: str) -> None:
        """End now; the queue is not written."""
        self.open = False
        self.reason = self.reason or reason
        self._scope.cancel()

    # --- the session's actions

    def _act(self) -> None:
        for action in self.session.take():
            match action:
                case Send(message):
                    self._inbox.transmit(self, message)
                case Changed():
                    self._change(action)
                case Report():
                    self._report(action)
                case Lost(reason):
                    self._break(reason)
                case Finished():
                    self.close("signed off")
        timer = self.session.next_timer()
        if timer is not None:
            self._set_alarm(timer)

    def _change(self, change: Changed) -> None:
        if change.direction in self._signed_on:
            self._signed_on[change.direction].set(change.on)
        self._log.info("signed on" if change.on else "signed off", direction=change.direction.value)

    def _report(self, report: Report) -> None:
        self._reports[report.name].inc()
        fields = {"function_code": report.function_code, "code": report.code, "message_id": report.message_id}
        if report.direction is not None:
            fields["direction"] = report.direction.value
        self._log.log(REPORT_LEVELS[report.name], report.name, **{name: text for name, text in fields.items() if text})
