"""The flow of jobs: from the engine, in batches to the tokens, and back with results, whatever happens to a token.

Knows deadlines and batches; not the purpose of a job, nor PKCS#11. `tokens` knows which token is well. Everything
happens in the trio thread.

Both queues are for all tokens, so that a sick token holds up only the jobs that it has. MACs to make belong to our own
messages: above all, replies to payments that are already decided. They go ahead of MACs to verify, which belong to
requests that are promised nothing yet, and may fill only a part of the room. A token takes waiting jobs as soon as it
has fewer than `BATCHES_MAX` batches under way: the second lies ready in its socket while it does the first. `choice`
says which tokens get work: those of our own site before remote ones, and none that is slower by far.

A batch that takes longer than `LATE_S` is given to another token as well, if one is quick or idle, and the first answer
counts. Every token makes the same MAC, so this costs nothing but a token's time, and only spare time: when all are slow
and have work, nothing is done twice. So a token that hangs, or three at once, cost a payment less than a second. A
quick token is asked first; a slow one is never left idle while another is late.

A token is hung when its worker does not answer a batch within `Token.batch_within_s`, counted from when the batch's
turn came. Its worker is killed, the jobs left undone go to the head of their queue at once, and the token is tried
again after the breaker's pause. The same happens when the worker ends or reports that its token failed. A job that has
lost `ATTEMPTS_MAX` tokens is given up, so that a job that kills workers cannot kill them all for ever; so is a job past
its deadline.
"""

import random
from collections.abc import Awaitable, Callable, Iterable
from math import inf

import trio

from gateway import config, metrics
from gateway.clock import Clock
from gateway.payments.work import Install
from gateway.payments.work import MacJob as Job
from gateway.signer import choice, messages, process
from gateway.signer.member import Batch, Member, TokenHealth
from gateway.signer.queues import Queues
from gateway.signer.tokens import Tokens

BATCH_JOBS_MAX = 256
"""A batch takes some 10 ms then, far below any `batch_within_s`, and larger ones gain nothing."""
BATCHES_MAX = 2
"""Batches that a token has under way: one in work and one that lies ready."""
LATE_S = 0.3
"""A batch older than this is given to another token as well. More than `choice.FAR_S`: that may be a remote one."""
PAUSE_S = 0.1
"""A timer that is later than this shows that the whole process stood still, so the delay may be ours."""
SHARE_MIN = 16
"""Fewer jobs than this are not split between tokens: another wake-up costs more than it gains."""
ATTEMPTS_MAX = 4
"""Tokens that may be lost with a job before it is given up. Where any three of four are dead or hung, the last one
still gets it."""


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
        self._waiting = Queues(clock)
        self._tokens = Tokens(
            settings, mac, keys or config.Keys(), extra_keys, clock, self, open_worker=open_worker, luck=luck
        )
        self._turn = 0
        self._number = 0
        self._expiry_s = inf
        """No job that waits or is under way has an earlier deadline."""
        self._alarm = trio.CancelScope()
        self._work_came = trio.Event()

    # --- keys

    def hold(self, keys: Iterable[Install]) -> None:
        """From now on every token must have these keys and the extra ones to serve; a job names one of them.

        Until the first call the keys are those of `config.Mac`. Keys with a wrapped value are installed where they are
        missing: in a token that was away, before it serves. Nothing is removed from a token. A waiting job that names a
        key that is no longer held is unavailable. Costs nothing when nothing has changed.
        """
        self._tokens.hold(keys)

    def install(self, key: Install) -> None:
        """Have every serving token unwrap this key and prove its check value; `on_installed` gets the result.

        The tokens try it one after the other, while the others make MACs: each has `install_within_s`, and commonly
        takes milliseconds. On success the key is held; otherwise nothing has changed. A held key may come with another
        wrapped value, which then takes the place of the first.
        """
        self._tokens.install(key)

    def check_of(self, label: str) -> str:
        """A key's check value, upper-case hex, from a serving token that shows it; empty when none does."""
        shown = [member.has for member in self._tokens.members if member.state == "serving" and member.has is not None]
        return next((each.checks[label] for each in shown if label in each.checks), "")

    # --- intake and state

    def submit(self, jobs: list[Job]) -> None:
        """Take jobs; never blocks. Those beyond `WAITING_MAX` or `VERIFICATIONS_MAX` are unavailable at once."""
        if not jobs:
            return
        refused = self._waiting.add(jobs)
        if len(refused) < len(jobs):
            self._expiry_s = min(self._expiry_s, *[job.deadline_s for job in jobs])
            self.dispatch()
        if refused:
            self._give_up(refused)

    @property
    def serving(self) -> int:
        """How many tokens serve, local or not."""
        return self._tokens.count

    @property
    def waiting(self) -> int:
        """How many jobs wait for a token."""
        return len(self._waiting)

    def health(self) -> dict[str, TokenHealth]:
        """By name: the state of each token."""
        return {member.token.name: member.health() for member in self._tokens.members}

    def trouble(self) -> str:
        """Trouble for on-call, in words; empty when local tokens are used."""
        if not self.serving:
            return "no token serves"
        if not self._tokens.preference.remote_only:
            return ""
        return f"only remote tokens are used: {self._tokens.preference.local_trouble(self._clock().mono_s)}"

    async def wait_changed(self) -> None:
        """Until some token's state changes."""
        await self._tokens.wait_changed()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve for ever. Reports started once every token was tried, or after `SETTLE_S`, even when none serves.

        Cancelled, it ends the workers (in at most `process.END_WITHIN_S` and `REAP_WITHIN_S`) and drops jobs without a
        word: cancel it after the tasks that wait for them.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            await self._tokens.run(nursery)
            task_status.started()

    # --- jobs to tokens and back

    def dispatch(self) -> None:
        """Give waiting jobs to tokens that have room."""
        waiting = self.waiting
        if waiting and self._tokens.count:
            now_s = self._clock().mono_s
            late: list[Job] = []
            if used := self._takers(now_s):
                share = min(max(SHARE_MIN, -(-waiting // len(used))), BATCH_JOBS_MAX)
                while self._waiting and (member := self._next_of(used)) is not None:
                    if jobs := self._waiting.take(share, now_s, late):
                        self._send(member, jobs, now_s)
            if late:
                self._give_up(late)
        metrics.SIGNER_WAITING.set(self.waiting)
        self._set_alarm(self._expiry_s)

    def _takers(self, now_s: float) -> list[Member]:
        """The tokens that get waiting jobs: the chosen ones; when all of these are late, the idle ones."""
        used = self._tokens.preference.choose(now_s)
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
        """See `tokens.Flow`: the results of the batch in turn; failed jobs go back to their queues."""
        number, results = messages.results(body)
        if not member.under_way:
            raise ValueError("results without a question")
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
        """See `tokens.Flow`: the batch in turn is answered; the next one begins."""
        batch, now_s = member.under_way.popleft(), self._clock().mono_s
        if not member.learning:
            # had we run, the timer would have moved these times on: an answer later than them lay unread
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
        """Return the jobs that a token left undone to the head of their queues, in their order."""
        left, given_up = list[Job](), list[Job]()
        for job in jobs:
            if not job.done:
                job.attempts += 1
                (left if job.attempts < ATTEMPTS_MAX else given_up).append(job)
        metrics.SIGNER_HANDED_ON.inc(len(left))
        self._waiting.put_back(left)
        if given_up:
            self._give_up(given_up)

    def _late(self, member: Member, now_s: float) -> None:
        """A token takes long: give its jobs to another one as well, if one has time for them.

        That is a quick token, or an idle one, however slow it was last: that this token is late now matters more. It
        takes no other token's time; and when all are slow and have work, none is idle. With neither quick nor idle
        tokens, the jobs go to those that get work instead of this one.
        """
        member.under_way[0].late_s = now_s + LATE_S
        used = self._tokens.preference.choose(now_s)
        quick = any(each.expected_s(now_s) <= choice.ALIKE_S for each in used)
        idle = [] if quick else self._idle(now_s)
        if idle:
            for at, batch in enumerate([*member.under_way]):
                if jobs := self._double(batch):
                    self._send(idle[at % len(idle)], jobs, now_s)
        elif used and member not in used:
            for batch in reversed(member.under_way):
                self._waiting.put_back(self._double(batch))
        self.dispatch()

    def _idle(self, now_s: float) -> list[Member]:
        """Serving tokens that have no jobs (at most a probe), the quickest first."""
        idle = [each for each in self._tokens.preference.free if not each.jobs and not _is_late(each, now_s)]
        return sorted(idle, key=lambda each: (each.expected_s(now_s), not each.token.local))

    @staticmethod
    def _double(batch: Batch) -> list[Job]:
        """The jobs that another token is given as well, and then owes.

        No job is doubled so often that it would be given up for that: it is not known yet whether it is to blame.
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
        """The only timer: finds tokens that are late or hung, and jobs past their deadlines."""
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
        """Give all tokens the time that this process did not run: their answers lie unread meanwhile, and our own pause
        must not make all of them look hung at once.
        """
        firsts = [member.under_way[0] for member in self._tokens.members if member.under_way]
        pause_s = now_s - min([min(first.late_s, first.due_s) for first in firsts], default=inf)
        if pause_s > PAUSE_S:
            for first in firsts:
                lost_s = min(pause_s, now_s - first.began_s)  # one that began behind the pause has lost nothing
                first.began_s += lost_s
                # unread answers are read before anything is judged
                first.late_s = max(first.late_s + lost_s, now_s + PAUSE_S)
                first.due_s = max(first.due_s + lost_s, now_s + PAUSE_S)

    def _set_alarm(self, due_s: float) -> None:
        """The timer must look at this time, or before."""
        if due_s < self._alarm.deadline:  # noqa: PLR1730 (setting it costs, also to the same value)
            self._alarm.deadline = due_s
        if due_s < inf:
            self._work_came.set()

    def _expire(self, now_s: float) -> None:
        """Give up every job past its deadline, wherever it is. A later answer for it is ignored."""
        batches = [batch for m in self._tokens.members for batch in m.under_way]
        everything = [*self._waiting, *[job for batch in batches for job in batch.owed()]]
        everything = [job for job in everything if not job.done]
        late = [job for job in everything if job.deadline_s <= now_s]
        self._waiting.drop_late(now_s)
        left = [job.deadline_s for job in everything if job.deadline_s > now_s]
        self._expiry_s = min(left, default=inf)
        if late:
            self._give_up(late)


def _is_late(member: Member, now_s: float) -> bool:
    """Whether it may hang, because its present batch, or showing its keys, takes too long."""
    return bool(member.under_way) and now_s - member.under_way[0].began_s >= LATE_S
