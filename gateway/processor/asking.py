"""Asking the processor about payments while there is time, without ever waiting for anything.

`ask` takes payments, and `on_answers` gets the answers, in any order, whenever they come. A question without an answer
brings nothing: the payment's own timer stands in for it. So whatever goes wrong (refused, broken, malformed, too long,
the wrong code) is counted, logged by the FPID's hash and, where asking again can help, asked again while the deadline
allows. The processor knows a question by its FPID: asking twice is safe.

A question that its asker made `void` is not sent, nor sent again: what was asked stays asked. A question in flight at
its deadline is listened to for some time more (`pool`).
"""

import math
from collections.abc import Callable
from typing import Any

import trio

from gateway import config, log, metrics
from gateway.backoff import backoff_s, jittered_s
from gateway.http.breaker import Breaker
from gateway.http.connection import UNTOUCHED, Connection, End, Response
from gateway.http.directory import Endpoint
from gateway.http.hosts import Hosts
from gateway.http.statuses import AGAIN, CROSSINGS_MAX, UNREAD
from gateway.payments.work import Answer, Ask
from gateway.processor.answers import Answers, Decided, NotAnAnswer
from gateway.processor.messages import encode
from gateway.processor.pool import AWAY_PAUSE_MAX_S, AWAY_PAUSE_S, Alarm, Pool
from gateway.processor.questions import Questions
from gateway.processor.writing import key_of, payment_of, texts_of

AWAY_AFTER = 8
"""Questions in a row that met nobody (502, 503, 504, dropped connections) before the processor counts as away."""
UNDECIDED_EVERY_S = 60.0
"""How often a log line says that responses decide nothing."""

OnAnswers = Callable[[list[Answer]], None]
_log = log.get("processor")


class Asking:
    """Questions to the processor. What is asked before `run` waits for it."""

    def __init__(self, settings: config.Processor, hosts: Hosts, answers: Answers, luck: Callable[[], float]) -> None:
        self._answers = answers
        self._luck = luck
        self._on_answers: OnAnswers | None = None
        self._alarm = Alarm()
        self._pool = Pool(settings, hosts, self, self._alarm, luck)
        self._questions = Questions(settings, self._pool.limit)
        self._breaker = Breaker(AWAY_PAUSE_S, AWAY_PAUSE_MAX_S, AWAY_AFTER)
        self._heads: dict[Endpoint, bytes] = {}
        self._undecided = 0
        """Responses that decide nothing since the last log line about them."""
        self._say_undecided_s = -math.inf

    async def run(
        self, on_answers: OnAnswers, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Ask, and hand over the answers, until cancelled. Then everything is dropped: asks are idempotent."""
        self._on_answers = on_answers
        async with trio.open_nursery() as nursery:
            self._pool.begin(nursery)
            task_status.started()
            try:
                self.freed(trio.current_time())
                while True:
                    await self._alarm.wait()
                    self._sweep(trio.current_time())
            finally:
                self._pool.begin(None)

    def ask(self, asks: list[Ask]) -> None:
        """Ask about these. Never blocks; what there is no room for is not asked about, and counted."""
        now_s = trio.current_time()
        self._questions.add(asks, now_s)
        self.freed(now_s)

    def why_unasked(self, ask: Ask) -> str:
        """Why a question has not left; empty when no reason can be named."""
        if ask.dropped:
            return self._questions.why_dropped()
        limit = self._pool.limit
        if limit.reached:
            return f"each of {limit.most} connections to the processor was in use ({limit.name})"
        return self.health()

    # --- sending

    def freed(self, now_s: float) -> None:
        """Send what waits over idle connections; connect for the rest."""
        questions, pool = self._questions, self._pool
        while questions.waiting:
            if not self._breaker.allows(now_s):
                self._alarm.at(self._breaker.until_s, now_s)
                return
            questions.drop_expired(now_s)
            if not questions.waiting:
                break
            connection = pool.take(now_s)
            if connection is None:
                pool.grow(now_s, questions.waiting, cautious=self._breaker.open)
                return
            self._send(connection, questions.next(), now_s)
        pool.limit.eased()

    def _send(self, connection: Connection, ask: Ask, now_s: float) -> None:
        host = self._pool.connections[connection]
        body = encode(payment_of(ask.request, ask.fpid, unusual_date=ask.unusual_date))
        over = connection.send(
            b"%bIdempotency-Key: %b\r\nTime-Left-Ms: %d\r\nContent-Length: %d\r\n\r\n%b"
            % (self._head(host.place), key_of(ask.fpid).encode(), (ask.deadline_s - now_s) * 1000, len(body), body)
        )
        if over is not None and connection.served:
            self._questions.put_back(ask)  # nothing was sent: another connection takes it
            return
        ask.attempts += 1
        ask.asked_s = now_s
        self._breaker.started(now_s)
        if over is not None:
            host.ended(connection, over)
            self._failed(ask, now_s, f"connection {over.value}: {connection.end}")
            return
        self._pool.used(connection, ask)
        self._alarm.at(ask.deadline_s, now_s)

    def _head(self, place: Endpoint) -> bytes:
        head = self._heads.get(place)
        if head is None:
            head = self._heads[place] = (
                f"POST {place.path}/payments HTTP/1.1\r\nHost: {place.authority}\r\n"
                "Content-Type: application/json\r\nAccept: application/json\r\nAccept-Encoding: identity\r\n"
            ).encode()
        return head

    # --- what came

    def responded(self, ask: Ask, response: Response, now_s: float) -> None:
        """A whole response came."""
        answer: Decided | None = None
        try:
            answer = self._answers.read(response.status, response.body, lambda: texts_of(ask.request, ask.fpid))
        except NotAnAnswer as error:
            self._decides_nothing(ask, response.status, str(error), now_s)
        else:
            self._met_somebody()
        if self._questions.waiting:
            self.freed(now_s)
        if answer is not None:
            self._answered(ask, answer, now_s)

    def _answered(self, ask: Ask, answer: Decided, now_s: float) -> None:
        late = now_s > ask.deadline_s
        self._questions.counted("late" if late else "answered")
        metrics.PROCESSOR_ANSWER_S.observe(now_s - ask.asked_s)
        if answer.fault:
            metrics.PROCESSOR_BAD_REFUSALS.inc()
            _log.error("refusal is not as agreed", fpid=log.fpid_hash(ask.fpid), reason=answer.fault, code=answer.code)
        assert self._on_answers is not None, "connections live in `run`"
        self._on_answers([Answer(ask.fpid, answer.code, answer.field, ask.context)])

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
        self._questions.not_answered(ask, "malformed" if status == 200 else "status", reason)

    def _broken_interface(self, status: int, now_s: float) -> None:
        """A question got no decision and would get none again. Logged once a minute: each payment has its own line."""
        metrics.PROCESSOR_UNDECIDED[status // 100].inc()
        self._undecided += 1
        if now_s >= self._say_undecided_s:
            _log.error("processor responds to questions without deciding", status=status, count=self._undecided)
            self._say_undecided_s = now_s + UNDECIDED_EVERY_S
            self._undecided = 0

    def ended(self, ask: Ask, connection: Connection, end: End | None, now_s: float) -> None:
        """Its connection ended before the response. It is asked again where that can help."""
        if end is None:
            self._questions.not_answered(ask, "silent", "no answer in time")
        elif end in UNTOUCHED and connection.served:
            self._crossed(ask, now_s, f"connection {end.value}: {connection.end}")
        elif end in {*UNTOUCHED, End.CUT}:
            self._failed(ask, now_s, f"connection {end.value}: {connection.end}")
        else:
            self._questions.not_answered(ask, "malformed", end.value)

    def _crossed(self, ask: Ask, now_s: float, reason: str) -> None:
        """Nobody read it, which does not mean that the processor is away: ask again at once, `CROSSINGS_MAX` times."""
        ask.crossings += 1
        if ask.crossings > CROSSINGS_MAX:
            self._failed(ask, now_s, reason)
            return
        self._questions.counted("again")
        self._questions.put_back(ask)

    def _failed(self, ask: Ask, now_s: float, reason: str) -> None:
        """It met nobody: ask again after a pause, if that is in time."""
        opened = self._breaker.open
        self._breaker.failed(now_s, ask.asked_s, self._luck())
        if self._breaker.open and not opened:
            _log.warning("processor is away", reason=reason, pause_s=round(self._breaker.until_s - now_s, 3))
        due_s = now_s + jittered_s(backoff_s(ask.attempts - 1, AWAY_PAUSE_S, AWAY_PAUSE_MAX_S), self._luck())
        if due_s < ask.deadline_s:
            self._questions.counted("again")
            self._questions.put_off(ask, due_s)
            self._alarm.at(due_s, now_s)
        else:
            self._questions.not_answered(ask, "away", reason)

    def _met_somebody(self) -> None:
        if self._breaker.open:
            _log.info("processor is back")
        self._breaker.succeeded()

    # --- time

    def _sweep(self, now_s: float) -> None:
        """Do what is due: end late listeners, ask again, close idle connections."""
        next_s = self._pool.sweep(now_s)
        due_s = self._questions.due(now_s)
        if due_s is not None:
            next_s = min(next_s, due_s)
        self._questions.drop_expired(now_s)
        if next_s < math.inf:
            self._alarm.at(next_s, now_s)
        self.freed(now_s)

    # --- what people look at

    def health(self) -> str:
        """Why the processor is not answering, as far as asking has shown; empty when it is, or nobody asked."""
        if self._pool.breaker.open:
            return "processor cannot be reached"
        if self._breaker.open:
            return "processor is away"
        return ""

    def statistics(self) -> dict[str, Any]:
        """Connections, what waits, and counts of questions by outcome since the start."""
        pool = self._pool
        return {
            "health": self.health(),
            "connections": len(pool.connections),
            "connecting": pool.connecting,
            "in_flight": len(pool.asked),
            "late_listeners": len(pool.late),
            "waiting": len(self._questions),
            "asks": dict(self._questions.counts),
        }
