"""The pool of tokens: jobs in, results out, whatever happens to a token on the way.

Knows deadlines, batches and which token is well; not what a job is for, nor PKCS#11, nor (but for `process.start`,
which is an argument) processes. Everything happens in the trio thread.

Both queues are for all tokens, because then a sick token holds up only what it already has. MACs to make are of what we
say: above all, replies to payments that are decided already. They go ahead of MACs to verify, which are of requests
that nobody has promised anything about, and which may fill only a part of the room. A token takes what waits as soon as
it has fewer than `BATCHES_MAX` under way: the second one lies ready in its socket while it does the first. Only when no
local token serves are remote ones used.

A batch that its worker does not answer within `Token.batch_within_s` (counted from when its turn came) means a hung
token. Its worker is killed, what it left undone goes to the head of its queue at once, and the token is tried again
after the breaker's pause. The same when the worker ends or says that its token failed. A job that `ATTEMPTS_MAX` tokens
were lost by is given up, so that one that kills workers cannot kill them all for ever; and so is one past its deadline.
"""

import os
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import trio

from gateway import config, log, metrics
from gateway.clock import Clock
from gateway.signer import messages, process
from gateway.signer.breaker import Breaker
from gateway.work import MacJob as Job

WAITING_MAX = 20_000
"""Jobs that may wait for a token; beyond it a job is unavailable at once. Some seconds' worth of one SoftHSM token, and
less than the deadlines of payments allow for."""
VERIFICATIONS_MAX = WAITING_MAX * 3 // 4
"""Verifications that may wait: however many requests come, there is room for the replies of decided payments."""
BATCH_JOBS_MAX = 256
"""A batch takes some 10 ms then, far below any `batch_within_s`, and larger ones gain nothing."""
BATCH_BYTES_MAX = 128 * 1024
"""Of data in a batch: two batches fit into a socket's buffer."""
BATCHES_MAX = 2
"""Batches that a token has under way: one that it does and one that lies ready."""
SHARE_MIN = 16
"""Fewer jobs than this are not split between tokens: another wake-up costs more than it gains."""
ATTEMPTS_MAX = 4
"""Tokens that a job may be lost by before it is given up."""
PROBE_EVERY_S = 5.0
"""How often a token must show that it is there and that its keys are what they were."""
SETTLE_S = 2.0
"""At the start nothing is served until every token has shown its keys or failed, or until so long has passed."""
PIN_FILE_EVERY_S = 5.0
"""How often the PIN file of a token that refused its PIN is looked at for a change."""

State = Literal[
    "starting", "serving", "hung", "crashed", "failing", "different-keys",
    "wrong-pin", "no-pin", "no-key", "no-token", "no-module",
]  # fmt: skip
"""`starting` and `serving`; all others say why it does not serve. `failing` is what the token itself reports."""
CheckValues = tuple[tuple[str, str], ...]
"""Label and check value of each key, in the order of the labels."""

NONSENSE = "crashed: the worker says what makes no sense"

_logger = log.get("signer")


class Fault(NamedTuple):
    """Why a token does not serve, also in words."""

    state: State
    why: str


class TokenHealth(NamedTuple):
    """How a token is, for `/ready` and `/statistics`."""

    state: State
    why: str
    """In words; empty when it serves."""
    local: bool
    in_flight: int
    """Jobs under way in it."""


class _SaidFault(msgspec.Struct):
    """`messages.Fault` as a worker may say it: its state is one of ours."""

    state: State
    why: str


class _Batch:
    """What a token was asked. `jobs` is empty for a probe."""

    __slots__ = ("due_s", "jobs", "number", "sent_s")

    def __init__(self, number: int, jobs: list[Job], sent_s: float) -> None:
        self.number = number
        self.jobs = jobs
        self.sent_s = sent_s
        self.due_s = inf
        """When the token is taken for hung; set when the batch's turn comes."""


class _Member:
    """A token as the pool sees it."""

    def __init__(self, token: config.Token) -> None:
        self.token = token
        self.state: State = "starting"
        self.why = "starting"
        self.tried = False
        """Its first attempt is over or has shown its keys."""
        self.check_values: CheckValues | None = None
        """What it showed last; kept while it is away: it still has a say in which keys are right."""
        self.worker: process.Worker | None = None
        self.shown = trio.Event()
        """Its present worker has shown its keys."""
        self.under_way: deque[_Batch] = deque()
        self.jobs = 0
        self.breaker = Breaker()
        self.scope = trio.CancelScope()
        self.fault: Fault | None = None
        """Why its present worker is given up."""
        self.said: Fault | None = None
        """What the log said last of its trouble."""
        self.serving_since_s = inf
        self.batch_s = metrics.SIGNER_BATCH_S.labels(token.name)
        self.up = metrics.SIGNER_TOKEN_UP.labels(token.name)
        self.up.set(0)
        self.keys_differ = metrics.SIGNER_KEYS_DIFFER.labels(token.name)
        self.keys_differ.set(0)

    def begin(self) -> None:
        """Before another worker."""
        self.fault = None
        self.shown = trio.Event()


class Signer:
    """See the top of the file. `open_worker` and `luck` (0..1) are arguments for the sake of the simulation."""

    def __init__(
        self,
        settings: tuple[config.Token, ...],
        mac: config.Mac,
        clock: Clock,
        *,
        extra_keys: Iterable[str] = (),
        open_worker: Callable[[config.Token], Awaitable[process.Worker]] = process.start,
        luck: Callable[[], float] = random.random,
    ) -> None:
        self.keys = tuple(dict.fromkeys([mac.hub_key, mac.own_key, *extra_keys]))
        """Labels of the keys that every token must have; a job names one of them."""
        self.on_done: Callable[[list[Job]], None] = lambda _jobs: None
        """Called in the trio thread with jobs that are done, each once; from within `submit` for those refused at once.
        It must not call `submit`."""
        self._mac = mac
        self._clock = clock
        self._open_worker = open_worker
        self._luck = luck
        self._key_index = {label: index for index, label in enumerate(self.keys)}
        self._members = [_Member(token) for token in settings]
        self._serving: list[_Member] = []
        """Those that are used now: the local ones that serve, or, without any, the remote ones that do."""
        self._turn = 0
        self._number = 0
        self._urgent: deque[Job] = deque()
        self._others: deque[Job] = deque()
        self._expiry_s = inf
        """No job that waits or is under way has an earlier deadline."""
        self._settled = False
        self._first_round = trio.Event()
        self._alarm = trio.CancelScope()
        self._work_came = trio.Event()
        self._changed = trio.Event()

    # --- for the engine

    def submit(self, jobs: list[Job]) -> None:
        """Take jobs; never blocks. Those beyond `WAITING_MAX` or `VERIFICATIONS_MAX` are unavailable at once."""
        if not jobs:
            return
        urgent = [job for job in jobs if job.urgent]
        others = [job for job in jobs if not job.urgent] if urgent else jobs
        refused: list[Job] = []
        room = max(WAITING_MAX - self.waiting, 0)
        if len(urgent) > room:
            urgent, refused = urgent[:room], urgent[room:]
        room = max(min(room - len(urgent), VERIFICATIONS_MAX - len(self._others)), 0)
        if len(others) > room:
            others, refused = others[:room], refused + others[room:]
        if urgent or others:
            self._urgent.extend(urgent)
            self._others.extend(others)
            self._expiry_s = min(self._expiry_s, *[job.deadline_s for job in jobs])
            self._dispatch()
        if refused:
            self._give_up(refused)

    @property
    def serving(self) -> int:
        """How many tokens serve, local or not."""
        return sum(member.state == "serving" for member in self._members)

    @property
    def waiting(self) -> int:
        """How many jobs wait for a token."""
        return len(self._urgent) + len(self._others)

    def health(self) -> dict[str, TokenHealth]:
        """By name: how each token is."""
        return {m.token.name: TokenHealth(m.state, m.why, m.token.local, m.jobs) for m in self._members}

    async def wait_changed(self) -> None:
        """Until some token's state changes."""
        await self._changed.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve for ever. Reports started once every token was tried, or after `SETTLE_S`, even when none serves.

        Cancelled, it ends the workers (in at most `process.END_WITHIN_S` and `REAP_WITHIN_S`) and leaves jobs undone
        without telling: cancel it after whoever waits for them.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            for member in self._members:
                nursery.start_soon(self._tend, member)
            with trio.move_on_after(SETTLE_S):
                await self._first_round.wait()
            self._settled = True
            self._judge()
            if not self.serving:
                _logger.error("no token serves", count=len(self._members))
            task_status.started()

    # --- jobs to tokens and back

    def _dispatch(self) -> None:
        """Give what waits to tokens that have room."""
        waiting = self.waiting
        if waiting and self._serving:
            now_s = self._clock().mono_s
            late: list[Job] = []
            share = min(max(SHARE_MIN, -(-waiting // len(self._serving))), BATCH_JOBS_MAX)
            while (self._urgent or self._others) and (member := self._next_member()) is not None:
                if jobs := self._take(share, now_s, late):
                    self._send(member, jobs, now_s)
            if late:
                self._give_up(late)
        metrics.SIGNER_WAITING.set(self.waiting)
        self._set_alarm(self._expiry_s)

    def _next_member(self) -> _Member | None:
        """The token with the least under way; taking turns among equals. None when all are busy."""
        serving = self._serving
        self._turn += 1
        best, best_load = None, (BATCHES_MAX, 0)
        for index in range(len(serving)):
            member = serving[(self._turn + index) % len(serving)]
            load = (len(member.under_way), member.jobs)
            if load < best_load:
                best, best_load = member, load
        return best

    def _take(self, count: int, now_s: float, late: list[Job]) -> list[Job]:
        """At most `count` jobs off the queues, those to make first; those past their deadline go to `late`."""
        taken, size = list[Job](), 0
        for waiting in (self._urgent, self._others):
            while waiting and len(taken) < count:
                job = waiting[0]
                size += len(job.data)
                if size > BATCH_BYTES_MAX and taken:
                    return taken
                waiting.popleft()
                if job.deadline_s <= now_s:
                    late.append(job)
                else:
                    taken.append(job)
        return taken

    def _send(self, member: _Member, jobs: list[Job], now_s: float) -> None:
        """Send a batch, or, without jobs, a probe."""
        assert member.worker is not None
        self._number = (self._number + 1) & 0xFFFFFFFF
        batch = _Batch(self._number, jobs, now_s)
        if not member.under_way:
            batch.due_s = now_s + member.token.batch_within_s
            self._set_alarm(batch.due_s)
        member.under_way.append(batch)
        if jobs:
            member.jobs += len(jobs)
            index = self._key_index
            member.worker.send(
                messages.batch_frame(batch.number, [(index[job.key], job.mac, job.data) for job in jobs])
            )
            metrics.SIGNER_BATCH_JOBS.observe(len(jobs))
        else:
            member.worker.send(messages.frame(messages.PROBE))

    def _settle_batch(
        self, member: _Member, number: int, results: list[tuple[int, bytes]], finished: list[Job]
    ) -> None:
        """The results of the batch whose turn it was; what is done goes to `finished`, what failed back to the queue.

        Raises `ValueError` when they are not that batch's.
        """
        if not member.under_way:
            raise ValueError("results that nobody asked for")
        if (member.under_way[0].number, len(member.under_way[0].jobs)) != (number, len(results)):
            raise ValueError("results of another batch")
        batch = self._answered(member)
        member.jobs -= len(batch.jobs)
        member.batch_s.observe(self._clock().mono_s - batch.sent_s)
        undone = []
        right = wrong = 0
        for job, (status, made) in zip(batch.jobs, results, strict=True):
            if job.done:
                continue
            if status == messages.OK:
                right += 1
                job.ok = True
                if not job.mac:
                    job.made = made
            elif status == messages.WRONG:
                wrong += 1
                job.error = "wrong-mac"
            else:
                undone.append(job)
                continue
            job.done = True
            finished.append(job)
        metrics.SIGNER_DONE.inc(right)
        if wrong:
            metrics.SIGNER_WRONG_MAC.inc(wrong)
        if undone:
            self._hand_on(undone)

    def _answered(self, member: _Member) -> _Batch:
        """The batch whose turn it was is answered; the next one's begins."""
        batch = member.under_way.popleft()
        if member.under_way:
            following = member.under_way[0]
            following.due_s = self._clock().mono_s + member.token.batch_within_s
            self._set_alarm(following.due_s)
        return batch

    def _hand_on(self, jobs: list[Job]) -> None:
        """Back to the head of their queues, in their order, what a token left undone. It had room before: no limit."""
        given_up = []
        for job in reversed(jobs):
            if job.done:
                continue
            job.attempts += 1
            if job.attempts >= ATTEMPTS_MAX:
                given_up.append(job)
            else:
                (self._urgent if job.urgent else self._others).appendleft(job)
                metrics.SIGNER_HANDED_ON.inc()
        if given_up:
            self._give_up(given_up)

    def _give_up(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.error = "unavailable"
            job.done = True
        metrics.SIGNER_UNAVAILABLE.inc(len(jobs))
        self.on_done(jobs)

    # --- time

    async def _watch(self) -> None:
        """The one timer: finds hung tokens and jobs whose deadline has passed."""
        while True:
            due_s = min([self._expiry_s, *[m.under_way[0].due_s for m in self._members if m.under_way]])
            if due_s == inf:
                self._work_came = trio.Event()
                await self._work_came.wait()
                continue
            self._alarm = trio.CancelScope(deadline=due_s)
            with self._alarm:
                await trio.sleep_forever()
            now_s = self._clock().mono_s
            for member in self._members:
                if member.under_way and member.under_way[0].due_s <= now_s:
                    self._lose(member, "hung", f"hung: no answer within {member.token.batch_within_s:g} s")
            if self._expiry_s <= now_s:
                self._expire(now_s)

    def _set_alarm(self, due_s: float) -> None:
        """The timer must look at this time, or before."""
        if due_s < self._alarm.deadline:  # noqa: PLR1730 (setting it costs, also to the same value)
            self._alarm.deadline = due_s
        if due_s < inf:
            self._work_came.set()

    def _expire(self, now_s: float) -> None:
        """Give up every job past its deadline, wherever it is. An answer that still comes for it is ignored."""
        under_way = [job for m in self._members for batch in m.under_way for job in batch.jobs if not job.done]
        everything = [*self._urgent, *self._others, *under_way]
        late = [job for job in everything if job.deadline_s <= now_s]
        self._urgent = deque(job for job in self._urgent if job.deadline_s > now_s)
        self._others = deque(job for job in self._others if job.deadline_s > now_s)
        left = [job.deadline_s for job in everything if job.deadline_s > now_s]
        self._expiry_s = min(left, default=inf)
        if late:
            self._give_up(late)

    # --- tokens

    async def _tend(self, member: _Member) -> None:
        """One token, for ever: have a worker, lose it, pause."""
        while True:
            pin_file = _seen(member.token.pin_file)
            member.serving_since_s = inf
            fault = await self._attempt(member)
            member.tried = True
            self._note_first_round()
            now_s = self._clock().mono_s
            served_s = now_s - member.serving_since_s if member.serving_since_s < inf else None
            pause_s = member.breaker.failed(served_s, self._luck())
            self._say_lost(member, fault, served_s, pause_s)
            if fault.state == "wrong-pin":
                while _seen(member.token.pin_file) == pin_file:  # noqa: ASYNC110 (a file tells nobody that it changed)
                    await trio.sleep(PIN_FILE_EVERY_S)
                _logger.info("PIN file changed, trying again", token=member.token.name)
            else:
                await trio.sleep(pause_s)

    def _say_lost(self, member: _Member, fault: Fault, served_s: float | None, pause_s: float) -> None:
        """Log and count; the same trouble again is said once, and then only to those who look closely."""
        metrics.SIGNER_LOST.labels(member.token.name, fault.state).inc()
        again = member.said == fault and served_s is None
        member.said = fault
        (_logger.debug if again else _logger.error)(
            "token does not serve" if served_s is None else "token lost",
            token=member.token.name,
            state=fault.state,
            reason=fault.why,
            attempt=member.breaker.failures,
            **({} if fault.state == "wrong-pin" else {"pause_s": round(pause_s, 3)}),
        )

    async def _attempt(self, member: _Member) -> Fault:
        """Have a worker for as long as it serves. Returns why it does no longer. Cancelled, it leaves no process."""
        member.begin()
        worker: process.Worker | None = None
        ended = ""
        try:
            with trio.CancelScope() as member.scope:
                try:
                    worker = await self._open_worker(member.token)
                except OSError as error:
                    self._lose(member, "crashed", f"no worker could be started: {log.describe(error)}")
                else:
                    await self._use(member, worker)
        finally:
            if worker is not None:
                kill = member.fault is not None and member.fault.state == "hung"
                with trio.CancelScope(shield=True):
                    ended = await worker.end(kill=kill)
        assert member.fault is not None, "a worker was left without a reason"
        if member.fault.state == "crashed" and ended:
            self._set_state(member, "crashed", f"crashed: the worker {ended}")
            return Fault("crashed", member.why)
        return member.fault

    async def _use(self, member: _Member, worker: process.Worker) -> None:
        """Until `_lose` cancels it."""
        token = member.token
        member.worker = worker
        worker.send(
            messages.json_frame(
                messages.START,
                messages.Start(
                    module=token.module,
                    label=token.label,
                    pin_file=token.pin_file,
                    algorithm=self._mac.algorithm,
                    retail_mechanism=token.retail_mechanism,
                    keys=self.keys,
                    start_within_s=token.start_within_s,
                    batch_within_s=token.batch_within_s,
                ),
            )
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.pump)
            nursery.start_soon(self._probe, member)
            while member.fault is None:
                try:
                    frames = await worker.receive()
                except process.WorkerLost:
                    self._lose(member, "crashed", "crashed: the worker ended")
                else:
                    self._hear(member, frames)

    async def _probe(self, member: _Member) -> None:
        """See that it comes up in time, and from then on that it is there although nobody asks anything of it."""
        with trio.move_on_after(member.token.start_within_s):
            await member.shown.wait()
        if not member.shown.is_set():
            self._lose(member, "hung", f"hung: not up within {member.token.start_within_s:g} s")
        while True:
            await trio.sleep(PROBE_EVERY_S)
            if member.worker is not None and all(batch.jobs for batch in member.under_way):
                self._send(member, [], self._clock().mono_s)

    def _hear(self, member: _Member, frames: list[tuple[int, bytes]]) -> None:
        """Take what a worker says; tell at once what is done, and give it more to do."""
        finished: list[Job] = []
        try:
            for kind, body in frames:
                if member.fault is not None:
                    break
                if kind == messages.RESULT:
                    number, results = messages.results(body)
                    self._settle_batch(member, number, results, finished)
                elif kind == messages.HELLO:
                    self._shown(member, msgspec.json.decode(body, type=dict[str, str]))
                elif kind == messages.FAULT:
                    fault = msgspec.json.decode(body, type=_SaidFault)
                    self._lose(member, fault.state, fault.why)
                else:
                    self._lose(member, "crashed", NONSENSE)
        except (ValueError, msgspec.DecodeError):
            self._lose(member, "crashed", NONSENSE)
        if finished:
            self.on_done(finished)
        self._dispatch()

    def _shown(self, member: _Member, check_values: dict[str, str]) -> None:
        """A token shows its keys: after its start, or when probed."""
        if member.shown.is_set():
            if not member.under_way or member.under_way[0].jobs:
                raise ValueError("keys shown that nobody asked for")
            self._answered(member)
        member.shown.set()
        member.check_values = tuple(sorted(check_values.items()))
        member.tried = True
        self._note_first_round()
        self._judge()

    def _note_first_round(self) -> None:
        if all(member.tried for member in self._members):
            self._first_round.set()

    def _judge(self) -> None:
        """Let those tokens serve whose keys are what most tokens have; without a majority, what the first one has."""
        if not self._settled:
            return
        groups: dict[CheckValues, list[_Member]] = {}
        for member in self._members:
            if member.check_values is not None:
                groups.setdefault(member.check_values, []).append(member)
        right = max(groups.values(), key=len, default=[])
        for member in self._members:
            if member.worker is None or not member.shown.is_set():
                continue
            if member not in right:
                self._lose(member, "different-keys", _difference(member, right))
            elif member.state != "serving":
                self._serve(member)

    def _serve(self, member: _Member) -> None:
        now_s = self._clock().mono_s
        member.serving_since_s = now_s
        member.said = None
        self._set_state(member, "serving", "")
        pid = member.worker.pid if member.worker is not None else 0
        _logger.info("token serves", token=member.token.name, worker_pid=pid, attempt=member.breaker.failures + 1)
        self._dispatch()

    def _lose(self, member: _Member, state: State, why: str) -> None:
        """Take a token out of service and hand on what it left undone. The first reason counts."""
        if member.fault is not None:
            return
        member.fault = Fault(state, why)
        member.worker = None
        undone = [job for batch in member.under_way for job in batch.jobs]
        member.under_way.clear()
        member.jobs = 0
        self._set_state(member, state, why)
        member.scope.cancel()
        self._hand_on(undone)
        self._dispatch()

    def _set_state(self, member: _Member, state: State, why: str) -> None:
        member.state = state
        member.why = why
        member.up.set(state == "serving")
        member.keys_differ.set(state == "different-keys")
        serving = [m for m in self._members if m.state == "serving"]
        metrics.SIGNER_SERVING.set(len(serving))
        local = [m for m in serving if m.token.local]
        if serving and not local and any(m.token.local for m in self._serving):
            _logger.warning("no local token serves, using remote ones", count=len(serving))
        self._serving = local or serving
        self._changed.set()
        self._changed = trio.Event()


def _difference(member: _Member, right: list[_Member]) -> str:
    """In words: which keys differ from which tokens' keys."""
    theirs = dict(right[0].check_values or ())
    labels = [f'"{label}"' for label, value in member.check_values or () if theirs.get(label) != value]
    names = ", ".join(m.token.name for m in right)
    return f"keys differ: {' and '.join(labels)} is not the same as in {names}"


def _seen(pin_file: str) -> tuple[int, int, int] | None:
    """What shows that a file was written anew; its content is the worker's business."""
    try:
        status = Path(os.path.expandvars(pin_file)).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
