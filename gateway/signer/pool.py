"""The flow of jobs: in from the engine, in batches to the tokens, and out with results, whatever happens to a token on
the way.

Knows deadlines and batches; not what a job is for, nor PKCS#11. Which token is well is the business of `tokens`.
Everything happens in the trio thread.

Both queues are for all tokens, because then a sick token holds up only what it already has. MACs to make are of what we
say: above all, replies to payments that are decided already. They go ahead of MACs to verify, which are of requests
that nobody has promised anything about, and which may fill only a part of the room. A token takes what waits as soon as
it has fewer than `BATCHES_MAX` under way: the second one lies ready in its socket while it does the first. Which of
them gets work is said in `choice`: those of our own site before remote ones, and none that is slower by far.

A batch that takes longer than `LATE_S` is given to another token as well, if one is quick or idles, and the first
answer counts. A MAC is the same whoever makes it, so that this costs nothing but a token's time, and only of one that
has some: when all are slow and have work, nothing is done twice. So it costs a payment less than a second that a token
hangs, or three at once. How quick a token was is a reason to ask it first, never to let it idle while another is late.

A batch that its worker does not answer within `Token.batch_within_s` (counted from when its turn came) means a hung
token. Its worker is killed, what it left undone goes to the head of its queue at once, and the token is tried again
after the breaker's pause. The same when the worker ends or says that its token failed. A job that `ATTEMPTS_MAX` tokens
were lost by is given up, so that one that kills workers cannot kill them all for ever; and so is one past its deadline.
"""

import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from math import inf

import trio

from gateway import config, metrics
from gateway.clock import Clock
from gateway.log.limit import Limit
from gateway.payments.work import Install
from gateway.payments.work import MacJob as Job
from gateway.signer import choice, messages, process
from gateway.signer.member import Batch, Member, TokenHealth
from gateway.signer.tokens import Tokens

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
LATE_S = 0.3
"""After so long a batch is given to another token as well. More than `choice.FAR_S`: that may be a remote one."""
PAUSE_S = 0.1
"""When the timer runs so much late, the whole process stood still: what is late then may be ours."""
SHARE_MIN = 16
"""Fewer jobs than this are not split between tokens: another wake-up costs more than it gains."""
ATTEMPTS_MAX = 4
"""Tokens that a job may be lost by before it is given up: with any three of four dead or hung the last one has it."""


def _installs_nothing(label: str, _ok: bool, _why: str) -> None:  # noqa: FBT001 (as `on_installed`)
    raise AssertionError(f'the key "{label}" was installed, and no callback was given for that')


class Signer:
    """See the top of the file. `open_worker` and `luck` (0..1) are arguments for the sake of the simulation."""

    def __init__(
        self,
        settings: tuple[config.Token, ...],
        mac: config.Mac,
        clock: Clock,
        *,
        on_done: Callable[[list[Job]], None],
        on_installed: Callable[[str, bool, str], None] = _installs_nothing,
        extra_keys: Iterable[str] = (),
        keys: config.Keys | None = None,
        open_worker: Callable[[config.Token], Awaitable[process.Worker]] = process.start,
        luck: Callable[[], float] = random.random,
    ) -> None:
        """Both callbacks are called in the trio thread. Needed keys are those that `hold` names, and `extra_keys`.

        `on_done` gets jobs that are done, each once; from within `submit` those refused at once. It must not call
        `submit`. `on_installed` gets the result of an `install`: the label, whether the tokens have the key, and if not
        why, in words; also from within `install` and `hold`. It must not call `hold`, `install` or `submit`.
        """
        self.on_done = on_done
        self.on_installed = on_installed
        self._clock = clock
        self._places = Limit("signer.WAITING_MAX", WAITING_MAX)
        self._requests = Limit("signer.VERIFICATIONS_MAX", VERIFICATIONS_MAX)
        self._tokens = Tokens(
            settings, mac, keys or config.Keys(), extra_keys, clock, self, open_worker=open_worker, luck=luck
        )
        self._turn = 0
        self._number = 0
        self._urgent: deque[Job] = deque()
        self._others: deque[Job] = deque()
        self._expiry_s = inf
        """No job that waits or is under way has an earlier deadline."""
        self._alarm = trio.CancelScope()
        self._work_came = trio.Event()

    # --- keys

    @property
    def keys(self) -> tuple[str, ...]:
        """The labels of the keys that every token must have."""
        return tuple(self._tokens.wanted.needed)

    def hold(self, keys: Iterable[Install]) -> None:
        """From now on every token must have these keys and the extra ones to serve; a job names one of them.

        Those of `config.Mac` until this is first called. Those that have a wrapped value are installed where they are
        missing: in a token that was away, before it serves. Nothing is removed from a token. A job that waits and names
        a key that is not held any more is unavailable. Costs nothing when nothing has changed.
        """
        self._tokens.hold(keys)

    def install(self, key: Install) -> None:
        """Have every token that serves unwrap this key and prove its check value; `on_installed` says what came of it.

        One token after the other, while the others make MACs: each has `install_within_s`, and commonly takes
        milliseconds. When it came to good the key is held; otherwise nothing has changed. A key that is held already
        may come with another wrapped value, and has that from then on.
        """
        self._tokens.install(key)

    def check_of(self, label: str) -> str:
        """A key's check value, upper-case hex, as long as a token that serves gives it; empty when none does."""
        shown = [member.has for member in self._tokens.members if member.state == "serving" and member.has is not None]
        return next((each.checks[label] for each in shown if label in each.checks), "")

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
        left, room = room - len(urgent), VERIFICATIONS_MAX - len(self._others)
        full = self._places if refused or left <= room else self._requests
        room = max(min(left, room), 0)
        if len(others) > room:
            others, refused = others[:room], refused + others[room:]
        elif others:
            self._requests.eased()
        if urgent or others:
            self._urgent.extend(urgent)
            self._others.extend(others)
            self._expiry_s = min(self._expiry_s, *[job.deadline_s for job in jobs])
            self.dispatch()
        if full is self._requests or not refused:
            self._places.eased()
        if refused:
            what = "not verified" if full is self._requests else "neither verified nor signed"
            full.hit(self._clock().mono_s, f"messages are {what}", len(refused))
            self._give_up(refused)

    @property
    def serving(self) -> int:
        """How many tokens serve, local or not."""
        return self._tokens.count

    @property
    def waiting(self) -> int:
        """How many jobs wait for a token."""
        return len(self._urgent) + len(self._others)

    def health(self) -> dict[str, TokenHealth]:
        """By name: how each token is."""
        return {member.token.name: member.health() for member in self._tokens.members}

    def trouble(self) -> str:
        """What on-call should know, in words; empty when local tokens are used."""
        if not self.serving:
            return "no token serves"
        if not self._tokens.remote_only:
            return ""
        return f"only remote tokens are used: {self._tokens.local_trouble(self._clock().mono_s)}"

    async def wait_changed(self) -> None:
        """Until some token's state changes."""
        await self._tokens.wait_changed()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve for ever. Reports started once every token was tried, or after `SETTLE_S`, even when none serves.

        Cancelled, it ends the workers (in at most `process.END_WITHIN_S` and `REAP_WITHIN_S`) and leaves jobs undone
        without telling: cancel it after whoever waits for them.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            await self._tokens.run(nursery)
            task_status.started()

    # --- jobs to tokens and back

    def dispatch(self) -> None:
        """Give what waits to tokens that have room."""
        waiting = self.waiting
        if waiting and self._tokens.count:
            now_s = self._clock().mono_s
            late: list[Job] = []
            if used := self._takers(now_s):
                share = min(max(SHARE_MIN, -(-waiting // len(used))), BATCH_JOBS_MAX)
                while (self._urgent or self._others) and (member := self._next_of(used)) is not None:
                    if jobs := self._take(share, now_s, late):
                        self._send(member, jobs, now_s)
            if late:
                self._give_up(late)
        metrics.SIGNER_WAITING.set(self.waiting)
        self._set_alarm(self._expiry_s)

    def _takers(self, now_s: float) -> list[Member]:
        """Those that get what waits: the chosen ones; when each of these is late, whoever idles."""
        used = self._tokens.choose(now_s)
        return (self._idle(now_s) or used) if all(_is_late(each, now_s) for each in used) else used

    def _next_of(self, used: list[Member]) -> Member | None:
        """The token with the least under way; taking turns among equals. None when all are busy."""
        self._turn += 1
        best, best_load = None, (BATCHES_MAX, 0)
        for index in range(len(used)):
            member = used[(self._turn + index) % len(used)]
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
                if job.done:  # by the token that had it first
                    waiting.popleft()
                    continue
                size += len(job.data)
                if size > BATCH_BYTES_MAX and taken:
                    return taken
                waiting.popleft()
                if job.deadline_s <= now_s:
                    late.append(job)
                else:
                    taken.append(job)
        return taken

    def _send(self, member: Member, jobs: list[Job], now_s: float) -> None:
        """Send a batch."""
        index = self._tokens.wanted.index
        try:
            operations = [(index[job.key], job.mac, job.data) for job in jobs]
        except KeyError:
            self._give_up([job for job in jobs if job.key not in index])
            jobs = [job for job in jobs if job.key in index]
            operations = [(index[job.key], job.mac, job.data) for job in jobs]
            if not jobs:
                return
        batch = self._under_way(member, jobs, now_s, member.token.batch_within_s)
        member.jobs += len(jobs)
        assert member.worker is not None
        member.worker.send(messages.batch_frame(batch.number, operations))
        metrics.SIGNER_BATCH_JOBS.observe(len(jobs))

    def ask(self, member: Member, frame: bytes, within_s: float) -> None:
        """See `tokens.Flow`."""
        assert member.worker is not None
        self._under_way(member, [], self._clock().mono_s, within_s)
        member.worker.send(frame)

    def _under_way(self, member: Member, jobs: list[Job], now_s: float, within_s: float) -> Batch:
        self._number = (self._number + 1) & 0xFFFFFFFF
        batch = Batch(self._number, jobs, now_s, within_s, member.told)
        if not member.under_way:
            self._begin(batch, now_s)
        member.under_way.append(batch)
        return batch

    def _begin(self, batch: Batch, now_s: float) -> None:
        """Its turn has come."""
        batch.began_s, batch.late_s, batch.due_s = now_s, now_s + LATE_S, now_s + batch.within_s
        self._set_alarm(min(batch.late_s, batch.due_s))

    def settle(self, member: Member, body: bytes, finished: list[Job]) -> None:
        """See `tokens.Flow`: the results of the batch whose turn it was; what failed goes back to the queue."""
        number, results = messages.results(body)
        if not member.under_way:
            raise ValueError("results that nobody asked for")
        if (member.under_way[0].number, len(member.under_way[0].jobs)) != (number, len(results)):
            raise ValueError("results of another batch")
        batch = self.answered(member)
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
            self.hand_on([job for job in undone if job not in batch.doubled])

    def answered(self, member: Member) -> Batch:
        """See `tokens.Flow`: the batch whose turn it was is answered; the next one's begins."""
        batch, now_s = member.under_way.popleft(), self._clock().mono_s
        if not member.learning:
            # past these times the timer would have moved them, had we run: so long the answer lay there
            member.pace.took(min(now_s, batch.late_s, batch.due_s) - batch.began_s)
        if member.under_way:
            self._begin(member.under_way[0], now_s)
        return batch

    def finish(self, jobs: list[Job]) -> None:
        """See `tokens.Flow`."""
        self.on_done(jobs)

    def installed(self, label: str, ok: bool, why: str) -> None:  # noqa: FBT001 (as `on_installed`)
        """See `tokens.Flow`."""
        self.on_installed(label, ok, why)

    def hand_on(self, jobs: list[Job]) -> None:
        """Back to the head of their queues, in their order, what a token left undone."""
        left, given_up = list[Job](), list[Job]()
        for job in jobs:
            if not job.done:
                job.attempts += 1
                (left if job.attempts < ATTEMPTS_MAX else given_up).append(job)
        metrics.SIGNER_HANDED_ON.inc(len(left))
        self._return(left)
        if given_up:
            self._give_up(given_up)

    def _return(self, jobs: list[Job]) -> None:
        """To the head of their queues. There was room for them before: no limit."""
        for job in reversed(jobs):
            (self._urgent if job.urgent else self._others).appendleft(job)

    def _late(self, member: Member, now_s: float) -> None:
        """A token takes long: what it has is given to another one as well, if there is one that has time for it.

        That is one that is quick, or one that idles, however slow it was when it last did something: what it was then
        is worth less than that this one is late now. It costs nobody else's time; and when all are slow and have work,
        none idles. With neither, those that get work instead of this one.
        """
        member.under_way[0].late_s = now_s + LATE_S
        used = self._tokens.choose(now_s)
        quick = any(each.expected_s(now_s) <= choice.ALIKE_S for each in used)
        idle = [] if quick else self._idle(now_s)
        if idle:
            for at, batch in enumerate([*member.under_way]):
                if jobs := self._double(batch):
                    self._send(idle[at % len(idle)], jobs, now_s)
        elif used and member not in used:
            for batch in reversed(member.under_way):
                self._return(self._double(batch))
        self.dispatch()

    def _idle(self, now_s: float) -> list[Member]:
        """Tokens that serve and have nothing to do, but perhaps to show that they are there; the quickest first."""
        idle = [each for each in self._tokens.free if not each.jobs and not _is_late(each, now_s)]
        return sorted(idle, key=lambda each: (each.expected_s(now_s), not each.token.local))

    @staticmethod
    def _double(batch: Batch) -> list[Job]:
        """What another token is to be given as well, which then has it to answer for.

        No job so often that it would be given up for it: whether it is to blame is not known yet.
        """
        jobs = [job for job in batch.owed() if not job.done and job.attempts + 1 < ATTEMPTS_MAX]
        batch.doubled |= {*jobs}
        for job in jobs:
            job.attempts += 1
        metrics.SIGNER_DOUBLED.inc(len(jobs))
        metrics.SIGNER_HANDED_ON.inc(len(jobs))
        return jobs

    def _give_up(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.error = "unavailable"
            job.done = True
        metrics.SIGNER_UNAVAILABLE.inc(len(jobs))
        self.on_done(jobs)

    # --- time

    async def _watch(self) -> None:
        """The one timer: finds tokens that are late or hung, and jobs whose deadline has passed."""
        while True:
            firsts = [m.under_way[0] for m in self._tokens.members if m.under_way]
            due_s = min([self._expiry_s, *[min(first.late_s, first.due_s) for first in firsts]])
            if due_s == inf:
                self._work_came = trio.Event()
                await self._work_came.wait()
                continue
            self._alarm = trio.CancelScope(deadline=due_s)
            with self._alarm:
                await trio.sleep_forever()
            now_s = self._clock().mono_s
            self._excuse(now_s)
            for member in self._tokens.members:
                if member.under_way and member.under_way[0].due_s <= now_s:
                    self._tokens.hung(member)
                elif member.under_way and member.under_way[0].late_s <= now_s:
                    self._late(member, now_s)
            if self._expiry_s <= now_s:
                self._expire(now_s)

    def _excuse(self, now_s: float) -> None:
        """Give all tokens the time that this process did not run: what they have answered meanwhile lies unread, and
        they must not be taken for hung, all at once, for our own pause.
        """
        firsts = [member.under_way[0] for member in self._tokens.members if member.under_way]
        pause_s = now_s - min([min(first.late_s, first.due_s) for first in firsts], default=inf)
        if pause_s > PAUSE_S:
            for first in firsts:
                lost_s = min(pause_s, now_s - first.began_s)  # one that began behind the pause has lost nothing
                first.began_s += lost_s
                # what lies there is read before anything is judged
                first.late_s = max(first.late_s + lost_s, now_s + PAUSE_S)
                first.due_s = max(first.due_s + lost_s, now_s + PAUSE_S)

    def _set_alarm(self, due_s: float) -> None:
        """The timer must look at this time, or before."""
        if due_s < self._alarm.deadline:  # noqa: PLR1730 (setting it costs, also to the same value)
            self._alarm.deadline = due_s
        if due_s < inf:
            self._work_came.set()

    def _expire(self, now_s: float) -> None:
        """Give up every job past its deadline, wherever it is. An answer that still comes for it is ignored."""
        batches = [batch for m in self._tokens.members for batch in m.under_way]
        everything = [*self._urgent, *self._others, *[job for batch in batches for job in batch.owed()]]
        everything = [job for job in everything if not job.done]
        late = [job for job in everything if job.deadline_s <= now_s]
        self._urgent = deque(job for job in self._urgent if job.deadline_s > now_s)
        self._others = deque(job for job in self._others if job.deadline_s > now_s)
        left = [job.deadline_s for job in everything if job.deadline_s > now_s]
        self._expiry_s = min(left, default=inf)
        if late:
            self._give_up(late)


def _is_late(member: Member, now_s: float) -> bool:
    """It has been at work on the present batch, or at showing its keys, for so long that it may hang."""
    return bool(member.under_way) and now_s - member.under_way[0].began_s >= LATE_S
