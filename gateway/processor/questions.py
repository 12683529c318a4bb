"""Questions that are not with the processor: those that wait for a connection, and those to be asked again later.

There is room for `waiting_max` of them. A question whose deadline passed, or that its asker made `void`, is dropped.
Every outcome of a question is counted here; what is not answered is logged by the FPID's hash.
"""

import heapq
from collections import deque
from itertools import count

from gateway import config, log, metrics
from gateway.log.limit import Limit
from gateway.payments.work import Ask

_log = log.get("processor")


class Questions:
    """The questions, and counts of what became of each."""

    def __init__(self, settings: config.Processor, connections: Limit) -> None:
        """`connections`: the pool's limit, which may be why a question was never asked."""
        self._most = settings.waiting_max
        self._connections = connections
        self._waiting: deque[Ask] = deque()
        self._later: list[tuple[float, int, Ask]] = []
        self._turn = count()
        self._limit = Limit("node.processor.waiting_max", settings.waiting_max)
        self.counts = dict.fromkeys(metrics.PROCESSOR_ASK_OUTCOMES, 0)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._later)

    @property
    def waiting(self) -> int:
        """Questions that wait for a connection."""
        return len(self._waiting)

    def add(self, asks: list[Ask], now_s: float) -> None:
        """Let these wait. Those that there is no room for are `dropped`: they are not asked about."""
        self.drop_expired(now_s)
        room = max(self._most - len(self), 0)
        taken, dropped = asks[:room], asks[room:]
        if dropped:
            self.counted("dropped", len(dropped))
            _log.warning("payments not asked about", reason="too many wait", count=len(dropped), limit=self._most)
            self._limit.hit(now_s, "payments are not asked about", len(dropped))
            for ask in dropped:
                ask.dropped = True
        else:
            self._limit.eased()
        self._waiting.extend(taken)

    def why_dropped(self) -> str:
        """Why there was no room for a question."""
        return f"{self._limit.most} questions waited already ({self._limit.name})"

    def drop_expired(self, now_s: float) -> None:
        """Drop what need not be asked any more from the front.

        Deadlines are in the order of asking, nearly: what waits behind a fresh one is not far behind.
        """
        waiting = self._waiting
        while waiting and (waiting[0].void or waiting[0].deadline_s <= now_s):
            self._expired(waiting.popleft())

    def next(self) -> Ask:
        """Take the first one that waits."""
        return self._waiting.popleft()

    def put_back(self, ask: Ask) -> None:
        """Let it be the next one."""
        self._waiting.appendleft(ask)

    def put_off(self, ask: Ask, due_s: float) -> None:
        """Let it wait again from then on."""
        heapq.heappush(self._later, (due_s, next(self._turn), ask))

    def due(self, now_s: float) -> float | None:
        """Let those wait that were put off until now. Returns when the next one is due; None: there is none."""
        while self._later and self._later[0][0] <= now_s:
            self._waiting.append(heapq.heappop(self._later)[2])
        return self._later[0][0] if self._later else None

    # --- what became of them

    def counted(self, outcome: str, times: int = 1) -> None:
        """Count an outcome."""
        self.counts[outcome] += times
        metrics.PROCESSOR_ASKS[outcome].inc(times)

    def not_answered(self, ask: Ask, outcome: str, reason: str) -> None:
        """It was sent and will get no answer. A void one counts too: that says something about the processor."""
        self.counted(outcome)
        _log.warning("payment not answered", fpid=log.fpid_hash(ask.fpid), reason=reason, attempt=ask.attempts)

    def _expired(self, ask: Ask) -> None:
        """It is not sent (again). Nobody misses a void one."""
        if self._connections.reached and not ask.attempts:
            metrics.LIMIT_TURNED_AWAY[self._connections.name].inc()
        if ask.void:
            return
        if ask.attempts:
            self.not_answered(ask, "expired", "no time left")
        else:
            self.counted("expired")
