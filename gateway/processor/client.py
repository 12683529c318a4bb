"""Asking the processor: a pool of keep-alive connections that asks while there is time and never waits for anything.

`ask` takes payments, `on_answers` brings answers, in any order, whenever they come; what brings no answer brings
nothing: the payment's own timer stands in for it. So whatever goes wrong (refused, broken, malformed, too long, the
wrong code) is counted, logged by the FPID's hash and, where asking again can help, asked again while the deadline
allows. The processor knows a question by its FPID: asking twice is safe.

An ask that its asker made `void` is not sent, nor sent again: what was asked stays asked. An ask in flight at its
deadline is listened to for `late_answer_s` more, since a late refusal must be known; but late listeners hold at most
half of the pool when payments wait that are not late yet.

`tell`, `look` and `inquire` have a few connections of their own (`calls`).
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import trio

from gateway import config, log, metrics
from gateway.backoff import backoff_s, jittered_s
from gateway.errors import Unavailable
from gateway.http.breaker import Breaker
from gateway.http.connection import UNTOUCHED, End, Link, Response
from gateway.http.directory import Directory, Endpoint, FixedDirectory, endpoint
from gateway.http.reach import Reach, Reaches
from gateway.http.statuses import AGAIN, CROSSINGS_MAX, UNREAD, Told
from gateway.log.limit import Limit
from gateway.network.names import MACHINE, Network
from gateway.network.papers import Papers
from gateway.payments.work import Answer, Ask
from gateway.processor.answers import Answers, Decided, NotAnAnswer
from gateway.processor.calls import Calls
from gateway.processor.messages import encode, key_of, payment_of, texts_of

CONNECTING_MAX = 8
"""Connections being made at once: a burst does not become a burst of TLS handshakes."""
AWAY_AFTER = 8
"""So many questions in a row that met nobody (502, 503, 504, dropped connections) mean that the processor is away."""
AWAY_PAUSE_S = 0.05
"""The first pause before asking (or connecting) again; it doubles, with jitter, up to:"""
AWAY_PAUSE_MAX_S = 1.0
"""Payments wait for less than a stand-in deadline: a processor that is back must be found well within it."""
IDLE_S = 30.0
"""A connection that was not used for so long is closed: middle boxes forget idle ones without a word."""
SWEEP_S = 0.01
"""Deadlines are looked at so finely: being late is a matter of seconds."""
UNDECIDED_EVERY_S = 60.0
"""How often it is said that responses decide nothing."""

_log = log.get("processor")


class Keys(NamedTuple):
    """Where the configuration has what a client is made of, for mistakes; and whom it asks."""

    url: str = "node.processor.url"
    tls: str = "node.processor.tls"
    party: str = "processor"
    """Names whom it asks, in logs and metrics."""


PROCESSOR = Keys()


class Client:
    """The processor, as the engine knows it. Set `on_answers` before `run`."""

    def __init__(
        self,
        settings: config.Processor,
        *,
        directory: Directory | None = None,
        network: Network = MACHINE,
        luck: Callable[[], float] = random.random,
        keys: Keys = PROCESSOR,
        answers: Answers | None = None,
    ) -> None:
        """`network` and `luck` are what a simulation replaces; `answers` reads them, None: by the built-in codes.

        Raises `ConfigurationError`.
        """
        self._settings = settings
        self._answers = answers or Answers()
        self._directory = directory or FixedDirectory(endpoint(settings, keys.url))
        papers = Papers(settings.tls, keys.tls) if settings.tls is not None or self._any_tls() else None
        self._reaches = Reaches(keys.party, settings, papers, network, luck)
        self._calls = Calls(settings, self._directory, self._reaches, self._answers)
        self._luck = luck
        self.on_answers: Callable[[list[Answer]], None] = lambda _: None
        self._nursery: trio.Nursery | None = None
        self._waiting: deque[Ask] = deque()
        self._later: list[tuple[float, int, Ask]] = []
        self._turn = count()
        self._links: dict[Link, Reach] = {}
        self._idle: list[tuple[Link, float]] = []
        """A stack: what is used least stays at the bottom and times out."""
        self._limits: dict[Link, float] = {}
        """For each link that was asked: when it is closed if nothing came."""
        self._late: dict[Link, None] = {}
        """Those of them whose deadline passed, the longest first."""
        self._connecting = 0
        self._connects = Breaker(AWAY_PAUSE_S, AWAY_PAUSE_MAX_S)
        self._asks = Breaker(AWAY_PAUSE_S, AWAY_PAUSE_MAX_S, AWAY_AFTER)
        self._timer = trio.CancelScope()
        self._heads: dict[Endpoint, bytes] = {}
        self._counts = dict.fromkeys(metrics.PROCESSOR_ASK_OUTCOMES, 0)
        self._pool = Limit("node.processor.connections_max", settings.connections_max)
        self._queue = Limit("node.processor.waiting_max", settings.waiting_max)
        self._undecided = 0
        """Responses that decide nothing since that was said last."""
        self._say_undecided_s = -math.inf

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the connections, until cancelled. Then everything is dropped: asks are idempotent, notices are kept."""
        async with trio.open_nursery() as nursery:
            self._nursery = self._calls.nursery = nursery
            task_status.started()
            try:
                self._dispatch(trio.current_time())
                await self._watch()
            finally:
                self._nursery = self._calls.nursery = None

    def _any_tls(self) -> bool:
        return self._directory.primary().tls or any(place.tls for place in self._directory.inquiries())

    # --- asking

    def ask(self, asks: list[Ask]) -> None:
        """Ask about these. Never blocks; what is too much is not asked about, and counted."""
        now_s = trio.current_time()
        self._drop_expired(now_s)
        room = self._settings.waiting_max - len(self._waiting) - len(self._later)
        if room < len(asks):
            dropped = len(asks) - max(room, 0)
            self._counted("dropped", dropped)
            _log.warning(
                "payments not asked about", reason="too many wait", count=dropped, limit=self._settings.waiting_max
            )
            self._queue.hit(now_s, "payments are not asked about", dropped)
            for ask in asks[max(room, 0) :]:
                ask.why_unasked = self._why_dropped
            asks = asks[: max(room, 0)]
        else:
            self._queue.eased()
        for ask in asks:
            ask.why_unasked = self._why_unasked
        self._waiting.extend(asks)
        self._dispatch(now_s)

    def _dispatch(self, now_s: float) -> None:
        """Send what waits on what is free; connect for the rest."""
        waiting, idle = self._waiting, self._idle
        while waiting:
            if not self._asks.allows(now_s):
                self._alarm(self._asks.until_s, now_s)
                return
            if waiting[0].void or waiting[0].deadline_s <= now_s:
                self._expired(waiting.popleft())
                continue
            if not idle:
                self._grow(now_s)
                return
            link, _ = idle.pop()
            reach = self._links[link]
            if reach.place is not self._directory.primary() or not reach.fit(link, now_s):
                link.scope.cancel()
                continue
            self._send(link, waiting.popleft(), now_s)
        self._pool.eased()

    def _why_unasked(self) -> str:
        """What keeps a question that waits."""
        if self._pool.reached:
            return f"each of {self._pool.most} connections to the processor was in use ({self._pool.name})"
        return self.health()

    def _why_dropped(self) -> str:
        return f"{self._queue.most} questions waited already ({self._queue.name})"

    def _send(self, link: Link, ask: Ask, now_s: float) -> None:
        body = encode(payment_of(ask.request, ask.fpid, unusual_date=ask.unusual_date))
        over = link.send(
            b"%bIdempotency-Key: %b\r\nTime-Left-Ms: %d\r\nContent-Length: %d\r\n\r\n%b"
            % (
                self._head(self._links[link].place),
                key_of(ask.fpid).encode(),
                (ask.deadline_s - now_s) * 1000,
                len(body),
                body,
            )
        )
        if over is not None and link.served:
            self._waiting.appendleft(ask)  # nothing was sent: another connection takes it
            return
        ask.attempts += 1
        ask.asked_s = now_s
        self._asks.started(now_s)
        if over is not None:
            self._links[link].ended(link, over)
            self._failed(ask, now_s, f"connection {over.value}: {link.end}")
            return
        link.context = ask
        self._limits[link] = ask.deadline_s + self._settings.late_answer_s
        self._alarm(ask.deadline_s, now_s)

    def _responded(self, link: Link, response: Response, keep: bool) -> None:  # noqa: FBT001 - `link.Responded`
        ask: Ask = link.context
        link.context = None
        del self._limits[link]
        self._late.pop(link, None)
        now_s = trio.current_time()
        fit = self._links[link].responded(link, response, now_s)
        if keep and fit:
            self._idle.append((link, now_s))
        elif keep:
            link.scope.cancel()
        answer: Decided | None = None
        try:
            answer = self._answers.read(response.status, response.body, lambda: texts_of(ask.request, ask.fpid))
        except NotAnAnswer as error:
            self._decides_nothing(ask, response.status, str(error), now_s)
        else:
            self._met_somebody()
        if self._waiting:
            self._dispatch(now_s)
        if answer is not None:
            self._answered(ask, answer, now_s)

    def _answered(self, ask: Ask, answer: Decided, now_s: float) -> None:
        late = now_s > ask.deadline_s
        self._counted("late" if late else "answered")
        metrics.PROCESSOR_ANSWER_S.observe(now_s - ask.asked_s)
        if answer.fault:
            metrics.PROCESSOR_BAD_REFUSALS.inc()
            _log.error("refusal is not as agreed", fpid=log.fpid_hash(ask.fpid), reason=answer.fault, code=answer.code)
        self.on_answers([Answer(ask.fpid, answer.code, answer.field, ask.context)])

    def _decides_nothing(self, ask: Ask, status: int, reason: str, now_s: float) -> None:
        """A whole response came, and it is no answer."""
        if status in UNREAD:
            self._crossed(ask, now_s, reason)
            return
        if status in AGAIN:
            self._failed(ask, now_s, reason)
            return
        self._met_somebody()
        self._broken_interface(status, now_s)
        self._not_answered(ask, "malformed" if status == 200 else "status", reason)

    def _broken_interface(self, status: int, now_s: float) -> None:
        """A question got no decision and would get none again. Said once a minute: each payment has its own line."""
        metrics.PROCESSOR_UNDECIDED[status // 100].inc()
        self._undecided += 1
        if now_s >= self._say_undecided_s:
            _log.error("processor responds to questions without deciding", status=status, count=self._undecided)
            self._say_undecided_s = now_s + UNDECIDED_EVERY_S
            self._undecided = 0

    def _ended(self, link: Link, end: End | None) -> None:
        """A connection is over; what was asked on it is asked again where that can help."""
        now_s = trio.current_time()
        reach = self._links.pop(link)
        self._idle = [item for item in self._idle if item[0] is not link]
        self._limits.pop(link, None)
        self._late.pop(link, None)
        ask: Ask | None = link.context
        link.context = None
        if ask is not None:
            reach.ended(link, end)
            if end is None:
                self._not_answered(ask, "silent", "no answer in time")
            elif end in UNTOUCHED and link.served:
                self._crossed(ask, now_s, f"connection {end.value}: {link.end}")
            elif end in {*UNTOUCHED, End.CUT}:
                self._failed(ask, now_s, f"connection {end.value}: {link.end}")
            else:
                self._not_answered(ask, "malformed", end.value)
        elif end is not End.CLOSED and end is not None:
            _log.warning("processor connection closed", reason=end.value)
        metrics.PROCESSOR_CONNECTIONS.set(len(self._links))
        self._dispatch(now_s)

    # --- what did not work

    def _crossed(self, ask: Ask, now_s: float, reason: str) -> None:
        """Nobody read it, and that says nothing of whether the processor is away: ask again at once, some times."""
        ask.crossings += 1
        if ask.crossings > CROSSINGS_MAX:
            self._failed(ask, now_s, reason)
            return
        self._counted("again")
        self._waiting.appendleft(ask)

    def _failed(self, ask: Ask, now_s: float, reason: str) -> None:
        """Nobody was met: ask again after a pause, if that is in time."""
        opened = self._asks.open
        self._asks.failed(now_s, ask.asked_s, self._luck())
        if self._asks.open and not opened:
            _log.warning("processor is away", reason=reason, pause_s=round(self._asks.until_s - now_s, 3))
        due_s = now_s + jittered_s(backoff_s(ask.attempts - 1, AWAY_PAUSE_S, AWAY_PAUSE_MAX_S), self._luck())
        if due_s < ask.deadline_s:
            self._counted("again")
            heapq.heappush(self._later, (due_s, next(self._turn), ask))
            self._alarm(due_s, now_s)
        else:
            self._not_answered(ask, "away", reason)

    def _met_somebody(self) -> None:
        if self._asks.open:
            _log.info("processor is back")
        self._asks.succeeded()

    def _not_answered(self, ask: Ask, outcome: str, reason: str) -> None:
        """Also a void one, when it was sent: that says something about the processor."""
        self._counted(outcome)
        _log.warning("payment not answered", fpid=log.fpid_hash(ask.fpid), reason=reason, attempt=ask.attempts)

    def _expired(self, ask: Ask) -> None:
        """It is not sent (again). Nobody misses a void one."""
        if self._pool.reached and not ask.attempts:
            metrics.LIMIT_TURNED_AWAY[self._pool.name].inc()
        if ask.void:
            return
        if ask.attempts:
            self._not_answered(ask, "expired", "no time left")
        else:
            self._counted("expired")

    def _drop_expired(self, now_s: float) -> None:
        """Deadlines are in the order of asking, nearly: whatever waits behind a fresh one is not far behind."""
        waiting = self._waiting
        while waiting and (waiting[0].void or waiting[0].deadline_s <= now_s):
            self._expired(waiting.popleft())

    def _counted(self, outcome: str, times: int = 1) -> None:
        self._counts[outcome] += times
        metrics.PROCESSOR_ASKS[outcome].inc(times)

    # --- the pool

    def _grow(self, now_s: float) -> None:
        """Connect for what waits, within the limits; else take a connection from a late listener."""
        if self._nursery is None:
            return
        if not self._connects.allows(now_s):
            self._alarm(self._connects.until_s, now_s)
            return
        at_once = 1 if self._connects.open or self._asks.open else min(CONNECTING_MAX, len(self._waiting))
        while self._connecting < at_once and len(self._links) + self._connecting < self._settings.connections_max:
            self._connecting += 1
            self._connects.started(now_s)
            self._nursery.start_soon(self._keep_link)
        if len(self._links) >= self._settings.connections_max:
            self._pool.hit(now_s, "payments wait for a connection to the processor")
        if not self._connecting and len(self._late) > self._settings.connections_max // 2:
            longest = next(iter(self._late))
            del self._late[longest]
            longest.scope.cancel()

    async def _keep_link(self) -> None:
        """Connect, and live as long as the connection does."""
        place = self._directory.primary()
        reach = self._reaches.of(place)
        started_s = trio.current_time()
        try:
            link = await self._reaches.open(reach, self._responded)
        except Unavailable as error:
            now_s = trio.current_time()
            if not self._connects.open:
                _log.warning("processor cannot be reached", reason=str(error), host=place.host, port=place.port)
            self._connects.failed(now_s, started_s, self._luck())
            metrics.PROCESSOR_CONNECT_FAILURES.inc()
            self._connecting -= 1
            self._dispatch(now_s)
            return
        except trio.Cancelled:
            self._connecting -= 1
            raise
        if self._connects.open:
            _log.info("processor can be reached again", host=place.host, port=place.port)
        self._connects.succeeded()
        self._connecting -= 1
        self._links[link] = reach
        metrics.PROCESSOR_CONNECTIONS.set(len(self._links))
        now_s = trio.current_time()
        self._idle.append((link, now_s))
        self._alarm(now_s + IDLE_S, now_s)
        self._dispatch(now_s)
        end = await link.run()
        self._ended(link, end)

    # --- time

    def _alarm(self, at_s: float, now_s: float) -> None:
        """Look at everything at that time, or soon after it. What is over already ends by an event of its own."""
        if now_s < at_s < self._timer.deadline:
            self._timer.deadline = max(at_s, now_s + SWEEP_S)

    async def _watch(self) -> None:
        while True:
            with self._timer:
                await trio.sleep_forever()
            self._timer = trio.CancelScope()
            self._sweep(trio.current_time())

    def _sweep(self, now_s: float) -> None:
        """Whatever is due: late listeners, asks to be asked again, idle connections."""
        late_s = self._settings.late_answer_s
        next_s = math.inf
        for link, limit_s in self._limits.items():
            if limit_s <= now_s:
                link.scope.cancel()
            elif limit_s - late_s <= now_s:
                if link not in self._late:
                    self._late[link] = None
                    self._links[link].missed(link)
                next_s = min(next_s, limit_s)
            else:
                next_s = min(next_s, limit_s - late_s)
        while self._later and self._later[0][0] <= now_s:
            self._waiting.append(heapq.heappop(self._later)[2])
        if self._later:
            next_s = min(next_s, self._later[0][0])
        while self._idle and self._idle[0][1] + IDLE_S <= now_s:
            self._idle.pop(0)[0].scope.cancel()
        if self._idle:
            next_s = min(next_s, self._idle[0][1] + IDLE_S)
        self._drop_expired(now_s)
        if next_s < math.inf:
            self._alarm(next_s, now_s)
        self._dispatch(now_s)

    # --- telling, looking, inquiring: `Calls`

    async def tell(self, key: str, body: bytes, path: bytes = b"/notices") -> Told:
        """Tell a notice, once. Always returns, within `tell_within_s`; says how it went."""
        return await self._calls.tell(key, body, path)

    async def look(self, path: bytes) -> Response:
        """GET this below the base URL, once; whatever the status. Raises `Unavailable`, within `tell_within_s`."""
        return await self._calls.look(path)

    async def post(self, path: bytes, body: bytes) -> Response:
        """POST this JSON below the base URL, once; whatever the status. Raises `Unavailable`, likewise."""
        return await self._calls.post(path, body)

    async def inquire(self, fpid: str) -> Answer | None:
        """Ask what was decided on a payment; None: the processor does not know it. Raises `Unavailable`."""
        return await self._calls.inquire(fpid)

    def _head(self, place: Endpoint) -> bytes:
        head = self._heads.get(place)
        if head is None:
            head = self._heads[place] = (
                f"POST {place.path}/payments HTTP/1.1\r\nHost: {place.authority}\r\n"
                "Content-Type: application/json\r\nAccept: application/json\r\nAccept-Encoding: identity\r\n"
            ).encode()
        return head

    # --- what people look at

    def health(self) -> str:
        """Why the processor is not answering, as far as asking has shown; empty when it is, or nobody asked."""
        if self._connects.open:
            return "processor cannot be reached"
        if self._asks.open:
            return "processor is away"
        return ""

    def statistics(self) -> dict[str, Any]:
        """Connections, what waits, and counts of asks by outcome since the start."""
        return {
            "health": self.health(),
            "connections": len(self._links),
            "connecting": self._connecting,
            "in_flight": len(self._limits),
            "late_listeners": len(self._late),
            "waiting": len(self._waiting) + len(self._later),
            "asks": dict(self._counts),
        }
