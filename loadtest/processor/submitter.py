"""The mock processor as a submitter: payments to the gateway's `POST /payments`, at the times of an open model.

It runs inside the mock processor's process and is steered by its port and control port:

    POST /submissions {"do":"start","rate":500,"duration":10,"targets":{"sip":[9300]}}   begin to submit
         also: "wait_s" (of `Prefer: wait`; 0: none), "model", "seed", "type", "sender", "receivers", "date"
    POST /submissions {"do":"stop"}                    submit nothing new
    POST /submissions {"do":"reset"}                   latencies start anew (after a warm-up)
    POST /submissions {"do":"return","count":3,"targets":{"other":[9301]}}   return the last payments that came
    POST /submissions {"do":"statistics","recent":true}, GET /submissions    counts, codes, latencies

Every request gets the statistics as its response. The ports of a group are tried in turn: a payment that got a 503, a
time-out or a broken connection goes to the next one under the same key, a bounded number of times, with growing pauses.
So does one that is UNKNOWN or UNSENT, after a longer pause. An outcome is heard in a response or in a notice, whichever
comes first. Everything is booked; what the books say together is the ledger's matter. With an `outbox` on disk a
submitter that was killed submits everything without an outcome again when it is back.
"""

import math
import random
import time
from collections import Counter
from typing import Any, Literal

import msgspec
import trio
from msgspec import Struct

from loadtest.ledger.entries import fpid_hash, key_hash
from loadtest.parts import calls
from loadtest.processor.book import ProcessorBook
from loadtest.processor.heard import declined_with, progress_of
from loadtest.processor.instructions import RETURN, Instruction, InstructionGenerator, return_of
from loadtest.processor.outbox import Outbox, OutboxLine
from loadtest.traffic.agenda import Agenda
from loadtest.traffic.arrivals import Model, Schedule
from loadtest.traffic.histogram import Latencies

TRIES_MAX = 12
"""Attempts to submit one payment at most; then this processor gives it up and remembers that."""
RESPONSE_WITHIN_S = 12.0
"""Time that a response may take beyond the requested wait."""
PAUSE_S, PAUSE_MAX_S = 0.1, 2.0
"""Pause before the next attempt; it doubles."""
UNSETTLED_PAUSE_S = 1.0
"""Pause before an UNKNOWN or UNSENT payment is submitted again."""
UNSETTLED_TRIES_MAX = 2
"""Times that a payment is submitted again because it is UNKNOWN or UNSENT."""
LOOK_AFTER_S = 45.0
"""Time without an outcome after which a payment is submitted again, to hear its state."""
OPEN_MAX = 200_000
"""Payments without an outcome at once, at most. Beyond, arrivals are withheld, and counted."""
BATCH_S = 0.0005
"""Least time between two wake-ups."""
RETURNABLE_MAX = 1000
"""Payments that came, remembered so that they can be returned."""
RUN_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
FINAL = frozenset({"SETTLED", "UNKNOWN", "UNSENT"})


class SubmissionOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """A request on the control port."""

    do: Literal["start", "stop", "reset", "return", "statistics"]
    rate: float = 0.0
    duration: float = 0.0
    model: Model = "poisson"
    seed: int = 1
    targets: dict[str, list[int]] = {}
    """Payment group → ports on loopback, or numbers of doors elsewhere (the processor's `--door`)."""
    group: str = "sip"
    type: str = "10"
    sender: str = "600002"
    receivers: tuple[str, ...] = ("400001",)
    date: str = ""
    """Empty: today."""
    wait_s: float = 0.0
    count: int = 1
    recent: bool = False


_decode_order = msgspec.json.Decoder(SubmissionOrder).decode
_decode_payment = msgspec.json.Decoder(dict[str, Any]).decode


class _Open:
    """A payment without an outcome."""

    __slots__ = (
        "acknowledged",
        "group",
        "instruction",
        "intended_s",
        "name",
        "over",
        "tries",
        "turn",
        "unsettled",
        "wait_s",
    )

    def __init__(self, instruction: Instruction, group: str, intended_s: float, wait_s: float, turn: int) -> None:
        self.instruction = instruction
        self.group = group
        self.intended_s = intended_s
        self.wait_s = wait_s
        self.name = fpid_hash(instruction.fpid)
        self.turn = turn
        """The port of its first attempt."""
        self.tries = 0
        self.unsettled = 0
        """Times that it was submitted again because it was UNKNOWN or UNSENT."""
        self.acknowledged = False
        self.over = False
        """True when its outcome is known, or it was given up."""


class Submitter:
    """Submits, hears, repeats. `run` gives it its tasks; everything is in the trio thread."""

    def __init__(self, book: ProcessorBook, *, dial: calls.Open = calls.dial, outbox: Outbox | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.latency = Latencies("acknowledged", "settled", "submitter")
        """From the intended time to the first response that takes it, and to the outcome; and the submitter's own
        lateness."""
        self._book = book
        self._dial = dial
        self._outbox = outbox if outbox is not None else Outbox()
        self._open: dict[str, _Open] = {}
        self._calling: set[str] = set()
        """Payments with an attempt under way."""
        self._targets: dict[str, list[int]] = self._outbox.targets
        self._turn = 0
        self._lanes: dict[int, calls.Lane] = {}
        self._schedule: Schedule | None = None
        self._order = SubmissionOrder("stop")
        self._generators: dict[tuple[object, ...], InstructionGenerator] = {}
        self._agenda = Agenda()
        """The times at which payments are submitted again."""
        self._came: dict[str, bytes] = {}
        self._wake = trio.Event()
        self._nursery: trio.Nursery | None = None
        # of each start another: the next one must not make the same TRNs
        self._run = "".join(random.SystemRandom().choices(RUN_LETTERS, k=6))

    # --- what it is told

    def order(self, body: bytes) -> dict[str, Any]:
        """Do a request of the control port. Raises ValueError."""
        order = _decode_order(body)
        if order.targets:
            self._targets = {**self._targets, **order.targets}
            self._outbox.aim(self._targets)
        if order.do == "start":
            self._start(order)
        elif order.do == "stop":
            self._schedule = None
        elif order.do == "reset":
            self.latency.reset()
        elif order.do == "return":
            self._return(order)
        return self.statistics(recent=order.recent)

    def _start(self, order: SubmissionOrder) -> None:
        if not self._targets.get(order.group):
            raise ValueError(f"targets: no port of group {order.group}")
        self._order = order
        self._schedule = Schedule(order.rate, order.duration, trio.current_time(), model=order.model, seed=order.seed)
        self._wake.set()

    def _generator(self, order: SubmissionOrder) -> InstructionGenerator:
        """One for each kind of order: two loads of the same kind must not make the same TRN twice."""
        date = order.date or time.strftime("%Y%m%d", time.gmtime())
        which = (order.sender, order.receivers, order.type, date)
        generator = self._generators.get(which)
        if generator is None:
            # the run's mark keeps TRNs apart between processes, its last digit between kinds of order
            run = f"{self._run[:5]}{len(self._generators) % 10}"
            generator = self._generators[which] = InstructionGenerator(
                run, date, sender=order.sender, receivers=order.receivers, payment_type=order.type, seed=order.seed
            )
        return generator

    def _return(self, order: SubmissionOrder) -> None:
        """Return the last payments that came and were not returned yet."""
        date = order.date or time.strftime("%Y%m%d", time.gmtime())
        for _ in range(min(order.count, len(self._came))):
            _, body = self._came.popitem()
            self._submit(return_of(_decode_payment(body), date), "other", trio.current_time(), order.wait_s)
            self.counts["returned"] += 1
        self._keep()

    def came(self, fpid: str, body: bytes) -> None:
        """Note a payment that the gateway asked about: it may be returned later. A return is not returned."""
        if fpid[18:20] != RETURN:
            self._came[fpid] = body
            if len(self._came) > RETURNABLE_MAX:
                del self._came[next(iter(self._came))]

    def noticed(self, fpid: str, kind: str, code: str) -> None:
        """Take the outcome of a payment from a notice."""
        payment = self._open.get(fpid)
        if payment is not None:
            self._heard(payment, kind, code)

    # --- submitting

    def _submit(self, instruction: Instruction, group: str, intended_s: float, wait_s: float) -> None:
        payment = self._open[instruction.fpid] = _Open(instruction, group, intended_s, wait_s, self._turn)
        self._turn += 1
        self.counts["submitted"] += 1
        contents = self._book.contents
        content = contents.of_json(instruction.fpid, instruction.body) if contents else ""
        self._book.submitting(payment.name, key_hash(instruction.key), content)
        self._outbox.put(OutboxLine(instruction.fpid, instruction.key, instruction.body.decode(), group, wait_s))
        self._try(payment)

    def _keep(self) -> None:
        """What is about to be submitted is on disk first: requests leave from other tasks, at the next checkpoint."""
        self._outbox.flush()
        self._book.flush()

    def _take_up(self) -> None:
        """Submit again what a submitter before this one left without an outcome: it may have been killed."""
        for kept in self._outbox:
            instruction = Instruction(kept.key, kept.fpid, kept.body.encode())
            payment = _Open(instruction, kept.group, trio.current_time(), kept.wait_s, self._turn)
            self._open[kept.fpid] = payment
            self._turn += 1
            self.counts["taken up"] += 1
            self._book.submitted(payment.name, 0)  # an attempt may have been under way
            self._try(payment)

    def _try(self, payment: _Open) -> None:
        """Submit it, to the next port in turn."""
        if payment.over:
            return
        ports = self._targets[payment.group]
        port = ports[(payment.turn + payment.tries) % len(ports)]
        payment.tries += 1
        instruction, now_s = payment.instruction, trio.current_time()
        prefer = b"Prefer: wait=%d\r\n" % math.ceil(payment.wait_s) if payment.wait_s else b""
        request = (
            b"POST /payments HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
            b"Idempotency-Key: %b\r\n%bContent-Length: %d\r\n\r\n%b"
        ) % (port, instruction.key.encode(), prefer, len(instruction.body), instruction.body)
        deadline_s = now_s + payment.wait_s + RESPONSE_WITHIN_S
        self._calling.add(payment.name)
        self._lane(port).call(calls.Call(request, deadline_s, self._responded, (payment, port)))

    def _lane(self, port: int) -> calls.Lane:
        lane = self._lanes.get(port)
        if lane is None:
            assert self._nursery is not None, "it runs"
            lane = self._lanes[port] = calls.Lane(port, self._dial, self._nursery)
        return lane

    def _responded(self, call: calls.Call) -> None:
        """Finish an attempt."""
        payment: _Open
        payment, port = call.context  # where this one went: another may be under way since
        status, state, code, by = call.status, "", "", ""
        if 200 <= status < 300:
            progress = progress_of(call.body)
            if progress is not None and payment.instruction.fpid == progress.FPID:
                state, by = progress.state, progress.by
                code = progress.decided.code if state == "SETTLED" else ""
            else:
                self.counts["bad responses"] += 1
                status = 0  # whatever it was, it says nothing of this payment
        elif status == 503:
            code = declined_with(call.body)
            self.counts[f"declined {code}"] += bool(code)
        self._calling.discard(payment.name)
        self._book.submitted(payment.name, status, state, code, by, port)
        self.counts[f"status {status}"] += 1
        if 200 <= status < 300:
            if not payment.acknowledged:
                payment.acknowledged = True
                self.latency["acknowledged"].record(trio.current_time() - payment.intended_s)
            self._heard(payment, state, code)
        elif 400 <= status < 500:
            self._give_up(payment, "invalid")
        else:
            self._again(payment, call.retry_after)

    def _heard(self, payment: _Open, state: str, code: str) -> None:
        """Take its state from a response or a notice."""
        if payment.over:
            return
        if state == "SETTLED":
            self.latency["settled"].record(trio.current_time() - payment.intended_s)
            self.counts["settled"] += 1
            self.codes[code] += 1
            self._done_with(payment)
        elif state in FINAL:
            self.counts[f"heard {state}"] += 1
            if payment.unsettled < UNSETTLED_TRIES_MAX:
                payment.unsettled += 1
                self._at(UNSETTLED_PAUSE_S, payment)
            else:
                self._give_up(payment, state)
        elif state == "PENDING":
            self._at(LOOK_AFTER_S, payment)

    def _again(self, payment: _Open, retry_after: bytes) -> None:
        """Nothing was taken, or nobody knows: the same key again, after a pause."""
        pause_s = min(PAUSE_S * 2.0 ** (payment.tries - 1), PAUSE_MAX_S)
        if retry_after.isdigit():
            pause_s = min(max(pause_s, float(retry_after)), PAUSE_MAX_S)
        self._at(pause_s, payment)

    def _at(self, pause_s: float, payment: _Open) -> None:
        """Submit it again after this pause, when it has no outcome by then."""
        if payment.over:
            return
        if payment.tries >= TRIES_MAX:
            self._give_up(payment, "tries")
            return
        tries = payment.tries

        def again(_now_s: float) -> None:
            # another attempt may have been made meanwhile: this was about the one before
            if payment.tries == tries:
                self._try(payment)

        at_s = trio.current_time() + pause_s
        if at_s < self._agenda.next_s:
            self._wake.set()
        self._agenda.add(at_s, again)

    def _give_up(self, payment: _Open, why: str) -> None:
        if not payment.over:
            self.counts[f"given up: {why}"] += 1
            self._done_with(payment)

    def _done_with(self, payment: _Open) -> None:
        payment.over = True
        self._open.pop(payment.instruction.fpid, None)
        self._outbox.over(payment.instruction.fpid)

    def close(self) -> None:
        """Close the outbox."""
        self._outbox.close()

    # --- time

    async def run(self) -> None:
        """Submit all that is due, until cancelled. Attempts under way then count as without a response."""
        try:
            await self._run_until_cancelled()
        finally:
            for name in self._calling:
                self._book.submitted(name, 0)
            self._calling.clear()
            self.close()

    async def _run_until_cancelled(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._take_up()
            while True:
                now_s = trio.current_time()
                if self._schedule is not None:
                    self._submit_due(self._schedule, now_s)
                self._agenda.run(now_s)
                next_s = min(self._schedule.next_s if self._schedule else math.inf, self._agenda.next_s)
                with trio.move_on_at(max(next_s, now_s + BATCH_S)):
                    await self._wake.wait()
                if self._wake.is_set():
                    self._wake = trio.Event()

    def _submit_due(self, schedule: Schedule, now_s: float) -> None:
        order = self._order
        generator = self._generator(order)
        for intended_s in schedule.due(now_s):
            if len(self._open) >= OPEN_MAX:
                self.counts["withheld"] += 1
                continue
            self.latency["submitter"].record(now_s - intended_s)
            self._submit(generator.make(), order.group, intended_s, order.wait_s)
        self._keep()
        if schedule.next_s > schedule.end_s:
            self._schedule = None

    # --- what it says

    @property
    def loading(self) -> bool:
        """Whether there is more to submit."""
        return self._schedule is not None

    def statistics(self, *, recent: bool = False) -> dict[str, Any]:
        """Counts, codes, latencies; with `recent` also the latencies since the last such asking."""
        said: dict[str, Any] = {
            "now_s": trio.current_time(),
            "loading": self.loading,
            "open": len(self._open),
            "connections": sum(lane.connections for lane in self._lanes.values()),
            "counts": dict(self.counts),
            "codes": dict(self.codes),
            "latency": self.latency.summaries(),
        }
        if recent:
            said["recent"] = self.latency.recent()
        return said
