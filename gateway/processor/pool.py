"""The keep-alive connections that questions go over: which are idle, which are asked, which are listened to late.

The pool grows with what waits, up to `connections_max`, and shrinks when connections are idle. A connection whose
question passed its deadline is listened to for `late_answer_s` more, since a late refusal must be known; but when
payments wait for a connection, late listeners hold at most half of the pool.
"""

import math
from collections.abc import Callable
from typing import Protocol

import trio

from gateway import config, log, metrics
from gateway.errors import Unavailable
from gateway.http.breaker import Breaker
from gateway.http.connection import Connection, End, Response
from gateway.http.hosts import Host, Hosts
from gateway.log.limit import Limit
from gateway.payments.work import Ask

CONNECTING_MAX = 8
"""Connections being made at once: a burst does not become a burst of TLS handshakes."""
AWAY_PAUSE_S = 0.05
"""The first pause before connecting (or asking) again; it doubles, with jitter, up to:"""
AWAY_PAUSE_MAX_S = 1.0
"""Payments wait for less than a stand-in deadline: a processor that is back must be found well within it."""
IDLE_S = 30.0
"""A connection that was idle for so long is closed: middle boxes forget idle ones without a word."""
SWEEP_S = 0.01
"""How finely deadlines are looked at: being late is a matter of seconds."""

_log = log.get("processor")


class Alarm:
    """One timer for all that is due: it rings at the earliest time that was set, or `SWEEP_S` later."""

    def __init__(self) -> None:
        self._scope = trio.CancelScope()

    @property
    def deadline_s(self) -> float:
        """When it rings; inf: never."""
        return self._scope.deadline

    def at(self, at_s: float, now_s: float) -> None:
        """Ring then. What is over already ends by an event of its own."""
        if now_s < at_s < self._scope.deadline:
            self._scope.deadline = max(at_s, now_s + SWEEP_S)

    async def wait(self) -> None:
        """Wait until it rings, and forget what was set."""
        with self._scope:
            await trio.sleep_forever()
        self._scope = trio.CancelScope()


class Asker(Protocol):
    """What the pool reports to."""

    def freed(self, now_s: float) -> None:
        """A connection was made, was lost or cannot be had: see what can be sent."""

    def responded(self, ask: Ask, response: Response, now_s: float) -> None:
        """A whole response came; its connection may be idle again."""

    def ended(self, ask: Ask, connection: Connection, end: End | None, now_s: float) -> None:
        """The connection ended before the response; `end` None: we closed it, nobody listens any longer."""


class Pool:
    """The connections. `run` keeps them."""

    def __init__(
        self, settings: config.Processor, hosts: Hosts, asker: Asker, alarm: Alarm, luck: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._hosts = hosts
        self._asker = asker
        self._alarm = alarm
        self._luck = luck
        self._nursery: trio.Nursery | None = None
        """Where connections live; None: nobody runs it, and none is made."""
        self.connections: dict[Connection, Host] = {}
        self._idle: list[tuple[Connection, float]] = []
        """A stack: the least used stay at the bottom and time out."""
        self.asked: dict[Connection, float] = {}
        """For each connection that was asked: when it is closed if nothing came."""
        self.late: dict[Connection, None] = {}
        """Those of them whose deadline passed, the longest first."""
        self.connecting = 0
        self.breaker = Breaker(AWAY_PAUSE_S, AWAY_PAUSE_MAX_S)
        """Of connecting."""
        self.limit = Limit("node.processor.connections_max", settings.connections_max)

    def begin(self, nursery: trio.Nursery | None) -> None:
        """Let connections live in this nursery; None: make no more."""
        self._nursery = nursery

    # --- a connection for a question

    def take(self, now_s: float) -> Connection | None:
        """An idle connection; None: there is none. Give it back by `used`, unless nothing could be sent."""
        while self._idle:
            connection, _ = self._idle.pop()
            host = self.connections[connection]
            if host.place is self._hosts.directory.primary() and host.fit(connection, now_s):
                return connection
            connection.scope.cancel()
        return None

    def used(self, connection: Connection, ask: Ask) -> None:
        """This question was sent on it."""
        connection.context = ask
        self.asked[connection] = ask.deadline_s + self._settings.late_answer_s

    def grow(self, now_s: float, waiting: int, *, cautious: bool) -> None:
        """Connect for so many that wait, within the limits; else take a connection from a late listener.

        `cautious`: one connection at a time.
        """
        if self._nursery is None:
            return
        if not self.breaker.allows(now_s):
            self._alarm.at(self.breaker.until_s, now_s)
            return
        at_once = 1 if self.breaker.open or cautious else min(CONNECTING_MAX, waiting)
        most = self._settings.connections_max
        while self.connecting < at_once and len(self.connections) + self.connecting < most:
            self.connecting += 1
            self.breaker.started(now_s)
            self._nursery.start_soon(self._keep)
        if len(self.connections) >= most:
            self.limit.hit(now_s, "payments wait for a connection to the processor")
        if not self.connecting and len(self.late) > most // 2:
            longest = next(iter(self.late))
            del self.late[longest]
            longest.scope.cancel()

    # --- its life

    async def _keep(self) -> None:
        """Connect, and live as long as the connection does."""
        place = self._hosts.directory.primary()
        host = self._hosts.of(place)
        started_s = trio.current_time()
        try:
            connection = await self._hosts.open(host, self._responded)
        except Unavailable as error:
            now_s = trio.current_time()
            if not self.breaker.open:
                _log.warning("processor cannot be reached", reason=str(error), host=place.host, port=place.port)
            self.breaker.failed(now_s, started_s, self._luck())
            metrics.PROCESSOR_CONNECT_FAILURES.inc()
            self.connecting -= 1
            self._asker.freed(now_s)
            return
        except trio.Cancelled:
            self.connecting -= 1
            raise
        if self.breaker.open:
            _log.info("processor can be reached again", host=place.host, port=place.port)
        self.breaker.succeeded()
        self.connecting -= 1
        self.connections[connection] = host
        metrics.PROCESSOR_CONNECTIONS.set(len(self.connections))
        now_s = trio.current_time()
        self._idle.append((connection, now_s))
        self._alarm.at(now_s + IDLE_S, now_s)
        self._asker.freed(now_s)
        end = await connection.run()
        self._ended(connection, end)

    def _responded(self, connection: Connection, response: Response, keep: bool) -> None:  # noqa: FBT001 - `Responded`
        ask: Ask = connection.context
        connection.context = None
        del self.asked[connection]
        self.late.pop(connection, None)
        now_s = trio.current_time()
        fit = self.connections[connection].responded(connection, response, now_s)
        if keep and fit:
            self._idle.append((connection, now_s))
        elif keep:
            connection.scope.cancel()
        self._asker.responded(ask, response, now_s)

    def _ended(self, connection: Connection, end: End | None) -> None:
        now_s = trio.current_time()
        host = self.connections.pop(connection)
        self._idle = [item for item in self._idle if item[0] is not connection]
        self.asked.pop(connection, None)
        self.late.pop(connection, None)
        ask: Ask | None = connection.context
        connection.context = None
        if ask is not None:
            host.ended(connection, end)
            self._asker.ended(ask, connection, end, now_s)
        elif end is not End.CLOSED and end is not None:
            _log.warning("processor connection closed", reason=end.value)
        metrics.PROCESSOR_CONNECTIONS.set(len(self.connections))
        self._asker.freed(now_s)

    # --- time

    def sweep(self, now_s: float) -> float:
        """Close what has been idle or listened to for long. Returns when to look again; inf: nothing is due."""
        late_s = self._settings.late_answer_s
        next_s = math.inf
        for connection, limit_s in self.asked.items():
            if limit_s <= now_s:
                connection.scope.cancel()
            elif limit_s - late_s <= now_s:
                if connection not in self.late:
                    self.late[connection] = None
                    self.connections[connection].missed(connection)
                    self._doubt(self.connections[connection], connection.context.asked_s)
                next_s = min(next_s, limit_s)
            else:
                next_s = min(next_s, limit_s - late_s)
        while self._idle and self._idle[0][1] + IDLE_S <= now_s:
            self._idle.pop(0)[0].scope.cancel()
        if self._idle:
            next_s = min(next_s, self._idle[0][1] + IDLE_S)
        return next_s

    def _doubt(self, host: Host, asked_s: float) -> None:
        """Nothing came back since then: close this host's connections that have been idle since before.

        The same cut may have killed them without a word, and each would cost a payment its answer. One that brought a
        response later has shown that it lives.
        """
        doubted = [item for item in self._idle if item[1] <= asked_s and self.connections[item[0]] is host]
        self._idle = [item for item in self._idle if item not in doubted]
        for connection, _ in doubted:
            connection.scope.cancel()
