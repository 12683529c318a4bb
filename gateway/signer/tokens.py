"""The tokens of a pool: has a worker for each, watches over it, judges its keys, gives it new ones.

Knows workers and their states, not jobs: the job flow (`Flow`, which is `pool.Signer`) knows the questions that a token
was asked, and takes back the jobs that it leaves undone.

Trusted tokens are those with the keys that most tokens have; without a majority, those with the keys of the first one.
A worker is told its keys at its start, and again whenever they change (`wanted`); it serves when it has shown the
present ones.

One token after the other tries a new key, and gets no jobs meanwhile: an unwrapping that hangs costs that token, and no
MAC.
"""

import os
import random
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from gateway import config, log, metrics
from gateway.clock import Clock
from gateway.machine.shortage import is_shortage
from gateway.payments.work import Install
from gateway.payments.work import MacJob as Job
from gateway.signer import messages, process
from gateway.signer.apart import Apart
from gateway.signer.member import Batch, Member
from gateway.signer.messages import Held, Shown
from gateway.signer.outage import Outage, TokenState
from gateway.signer.preference import Preference
from gateway.signer.wanted import Wanted
from gateway.strict_json import Reader

PROBE_EVERY_S = 5.0
"""How often a token must show that it is there and that its keys are the same."""
SETTLE_S = 2.0
"""A start waits at most this long for every token to show its keys or fail, before any serves."""
PIN_FILE_EVERY_S = 5.0
"""After a refused PIN, how often its file is looked at for a change."""
MECHANISMS = {"aes-key-wrap": 0x2109, "aes-key-wrap-pad": 0x210A, "des3-ecb": 0x132, "des3-cbc": 0x133}
"""PKCS#11's numbers of `config.Keys.wrapping`."""
DES3_VECTOR = bytes(8)

NONSENSE = "crashed: the worker's frames make no sense"

_logger = log.get("signer")


class Flow(Protocol):
    """The job flow, as the tokens use it."""

    def ask(self, member: Member, frame: bytes, within_s: float) -> None:
        """Ask the token something that it answers with HELLO."""

    def answered(self, member: Member) -> Batch:
        """The token has answered its first question."""

    def settle(self, member: Member, body: bytes, finished: list[Job]) -> None:
        """A RESULT came; jobs that are done go to `finished`. Raises `ValueError` when it makes no sense."""

    def finish(self, jobs: list[Job]) -> None:
        """These jobs are done."""

    def hand_on(self, jobs: list[Job]) -> None:
        """A token left these jobs undone."""

    def dispatch(self) -> None:
        """There may be room for jobs."""

    def installed(self, label: str, ok: bool, why: str) -> None:  # noqa: FBT001 (as `Signer.on_installed`)
        """The result of a new key."""


read_outage = Reader(Outage)
read_shown = Reader(Shown)


class Tokens:
    """See the top of the file."""

    def __init__(
        self,
        settings: tuple[config.Token, ...],
        mac: config.Mac,
        keys: config.Keys,
        always: Iterable[str],
        clock: Clock,
        flow: Flow,
        *,
        open_worker: Callable[[config.Token], Awaitable[process.Worker]] = process.start,
        luck: Callable[[], float] = random.random,
    ) -> None:
        self.members = [Member(token) for token in settings]
        self.preference = Preference(self.members, clock)
        self.wanted = Wanted(always, (Install(mac.hub_key), Install(mac.own_key)), Apart(mac))
        self._mac = mac
        self._keys = keys
        self._clock = clock
        self._flow = flow
        self._open_worker = open_worker
        self._luck = luck
        self._settled = False
        self._first_round = trio.Event()
        self._changed = trio.Event()

    @property
    def count(self) -> int:
        """Serving tokens, local or not."""
        return sum(member.state == "serving" for member in self.members)

    async def wait_changed(self) -> None:
        """Until some token's state changes."""
        await self._changed.wait()

    async def run(self, nursery: trio.Nursery) -> None:
        """Start workers and keep them for ever; returns when every token was tried, or after `SETTLE_S`."""
        for member in self.members:
            nursery.start_soon(self._tend, member)
        with trio.move_on_after(SETTLE_S):
            await self._first_round.wait()
        self._settled = True
        self._judge()
        if not self.count:
            _logger.error("no token serves", count=len(self.members))

    # --- keys

    def hold(self, keys: Iterable[Install]) -> None:
        """See `pool.Signer.hold`."""
        self.wanted.hold(keys)
        self._tell_keys()
        self._judge()
        self._decide()

    def install(self, key: Install) -> None:
        """See `pool.Signer.install`."""
        asked = [member.token.name for member in self.members if member.state == "serving"]
        refusal = self.wanted.refusal(key)
        if refusal:
            self._flow.installed(key.label, False, refusal)
        elif self.wanted.needed.get(key.label) == key:
            self._flow.installed(key.label, True, "")
        elif not asked:
            self._flow.installed(key.label, False, "no token serves")
        elif key.label not in self.wanted.trials:
            self.wanted.attempt(key, asked)
            self._tell_keys()

    def _tell_keys(self) -> None:
        """Tell serving tokens their present list; others get it when they have shown that of their start."""
        for member in self.members:
            if member.state == "serving":
                self._tell(member)

    def _tell(self, member: Member) -> None:
        keys = self.wanted.to_have(member.token.name)
        if member.told == keys:
            return
        known = {each.key for each in member.told}
        member.told = keys
        if any(each.key.wrapped and each.key not in known for each in keys):
            self._set_learning(member, learning=True)
        frame = messages.json_frame(messages.KEYS, keys)
        self._flow.ask(member, frame, member.token.install_within_s)

    def _decide(self) -> None:
        """Report the new keys that are decided; have the next token try a key on trial."""
        while self.wanted.trials:
            verdicts = self.wanted.verdicts()
            self._tell_keys()
            if not verdicts:
                return
            self._judge()
            for key, taken, why in verdicts:
                self._flow.installed(key.label, taken, why)

    # --- a token's life

    async def _tend(self, member: Member) -> None:
        """One token, for ever: have a worker, lose it, pause."""
        while True:
            pin_file = _seen(member.token.pin_file)
            member.serving_since_s = inf
            outage = await self._attempt(member)
            member.tried = True
            self._note_first_round()
            now_s = self._clock().mono_s
            served_s = now_s - member.serving_since_s if member.serving_since_s < inf else None
            pause_s = member.breaker.failed(served_s, self._luck())
            self._say_lost(member, outage, served_s, pause_s if self.count else member.breaker.alone_s)
            if outage.state == "wrong-pin":
                while _seen(member.token.pin_file) == pin_file:  # noqa: ASYNC110 (a file tells nobody that it changed)
                    await trio.sleep(PIN_FILE_EVERY_S)
                _logger.info("PIN file changed, trying again", token=member.token.name)
            else:
                await self._pause(member, now_s, pause_s)

    async def _pause(self, member: Member, from_s: float, pause_s: float) -> None:
        """Leave a sick token alone; but only for `alone_s` while no other one serves.

        That costs the start of a worker each second. A refused PIN is never tried so: see `_tend`.
        """
        while (until_s := from_s + (pause_s if self.count else member.breaker.alone_s)) > (
            now_s := self._clock().mono_s
        ):
            with trio.move_on_after(until_s - now_s):
                await self._changed.wait()

    def _say_lost(self, member: Member, outage: Outage, served_s: float | None, pause_s: float) -> None:
        """Log and count; the same trouble again is logged for debugging only."""
        metrics.SIGNER_LOST.labels(member.token.name, outage.state).inc()
        again = member.last_logged == outage and served_s is None
        member.last_logged = outage
        (_logger.debug if again else _logger.error)(
            "token does not serve" if served_s is None else "token lost",
            token=member.token.name,
            state=outage.state,
            reason=outage.why,
            attempt=member.breaker.failures,
            **({} if outage.state == "wrong-pin" else {"pause_s": round(pause_s, 3)}),
        )

    async def _attempt(self, member: Member) -> Outage:
        """Have a worker for as long as it serves. Returns why it ended. Cancelled, it leaves no process."""
        member.begin()
        worker: process.Worker | None = None
        ended = ""
        try:
            with trio.CancelScope() as member.scope:
                try:
                    worker = await self._open_worker(member.token)
                except OSError as error:
                    if is_shortage(error):
                        metrics.SHORTAGES["worker"].inc()
                    self._lose(member, "crashed", f"no worker could be started: {log.describe(error)}")
                else:
                    await self._use(member, worker)
        finally:
            if worker is not None:
                kill = member.outage is not None and member.outage.state == "hung"
                with trio.CancelScope(shield=True):
                    ended = await worker.end(kill=kill)
        assert member.outage is not None, "a worker was left without a reason"
        if member.outage.state == "crashed" and ended:
            self._set_state(member, "crashed", f"crashed: the worker {ended}")
            return Outage("crashed", member.why)
        return member.outage

    async def _use(self, member: Member, worker: process.Worker) -> None:
        """Until `_lose` cancels it."""
        member.worker = worker
        member.told = self.wanted.to_have(member.token.name)
        start = start_of(member.token, self._mac, self._keys, member.told)
        worker.send(messages.json_frame(messages.START, start))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.pump)
            nursery.start_soon(self._probe, member)
            while member.outage is None:
                try:
                    frames = await worker.receive()
                except process.WorkerLost:
                    self._lose(member, "crashed", "crashed: the worker ended")
                    self._decide()
                else:
                    self._hear(member, frames)

    async def _probe(self, member: Member) -> None:
        """See that it comes up in time, and from then on that it answers although it has no jobs."""
        with trio.move_on_after(member.token.start_within_s):
            await member.shown.wait()
        if not member.shown.is_set():
            self._lose(member, "hung", f"hung: not up within {member.token.start_within_s:g} s")
        while True:
            await trio.sleep(PROBE_EVERY_S)
            if member.worker is not None and all(batch.jobs for batch in member.under_way):
                self._flow.ask(member, messages.frame(messages.PROBE), member.token.batch_within_s)

    def _hear(self, member: Member, frames: list[tuple[int, bytes]]) -> None:
        """Take a worker's frames; report finished jobs at once, and give it more."""
        finished: list[Job] = []
        try:
            for kind, body in frames:
                if member.outage is not None:
                    break
                if kind == messages.RESULT:
                    self._flow.settle(member, body, finished)
                elif kind == messages.HELLO:
                    self._shown(member, read_shown(body))
                elif kind == messages.FAULT:
                    outage = read_outage(body)
                    self._lose(member, outage.state, outage.why)
                else:
                    self._lose(member, "crashed", NONSENSE)
        except (ValueError, msgspec.DecodeError):
            self._lose(member, "crashed", NONSENSE)
        if finished:
            self._flow.finish(finished)
        self._decide()
        self._flow.dispatch()

    def _shown(self, member: Member, shown: Shown) -> None:
        """A token shows its keys: after its start, when they were changed, or when probed."""
        told = member.told
        if member.shown.is_set():
            if not member.under_way or member.under_way[0].jobs:
                raise ValueError("keys shown without a question")
            told = self._flow.answered(member).told
        labels = shown.values.keys() | shown.failures.keys()
        if any(each.key.label not in labels for each in told):
            raise ValueError("fewer keys shown than it was told to have")
        if not shown.checks and member.has is not None:
            shown = msgspec.structs.replace(shown, checks=member.has.checks)
        member.has = shown
        member.shown.set()
        member.tried = True
        self._note_first_round()
        self.wanted.heard(member.token.name, told, shown)
        self._set_learning(member, learning=member.learning and told is not member.told)
        self._judge()

    def _note_first_round(self) -> None:
        if all(member.tried for member in self.members):
            self._first_round.set()

    def _judge(self) -> None:
        """Let the tokens serve that have the keys of most; without a majority, those with the keys of the first one."""
        if not self._settled:
            return
        has = {member.token.name: member.has for member in self.members if member.has is not None}
        right = next(iter(self.wanted.groups(has.items())), [])
        for member in sorted(self.members, key=lambda each: not each.token.local):  # or a remote one would serve alone
            if member.worker is None or not member.shown.is_set() or member.has is None:
                continue
            if failure := self.wanted.failure_of(member.has):
                self._lose(member, "no-key", failure)
            elif clash := self.wanted.clash_of(member.has):
                self._lose(member, "same-keys", clash)
            elif member.token.name in right:
                self._serve(member)
            elif self.wanted.values_of(member.has) is not None:
                self._lose(member, "different-keys", self.wanted.difference(member.has, has[right[0]], right))
            elif member.state != "serving":
                self._tell(member)

    def _serve(self, member: Member) -> None:
        """Let it serve, once it has been told the present keys: a batch names them by their place in that list."""
        self._tell(member)
        if member.state == "serving":
            return
        member.serving_since_s = self._clock().mono_s
        member.last_logged = None
        self._set_state(member, "serving", "")
        pid = member.worker.pid if member.worker is not None else 0
        _logger.info("token serves", token=member.token.name, worker_pid=pid, attempt=member.breaker.failures + 1)
        self._flow.dispatch()

    def hung(self, member: Member) -> None:
        """A token did not answer in time."""
        within_s = member.under_way[0].within_s
        member.pace.took(within_s)
        self._lose(member, "hung", f"hung: no answer within {within_s:g} s")
        self._decide()

    def _lose(self, member: Member, state: TokenState, why: str) -> None:
        """Take a token out of service and hand on the jobs that it left undone. The first reason counts."""
        if member.outage is not None:
            return
        member.outage = Outage(state, why)
        member.worker = None
        undone = [job for batch in member.under_way for job in batch.owed()]
        member.under_way.clear()
        member.jobs = 0
        self._set_state(member, state, why)
        member.scope.cancel()
        self._flow.hand_on(undone)
        self.wanted.lost(member.token.name)
        self._flow.dispatch()

    def _set_state(self, member: Member, state: TokenState, why: str) -> None:
        member.state = state
        member.why = why
        member.up.set(state == "serving")
        member.keys_differ.set(state == "different-keys")
        serving = [m for m in self.members if m.state == "serving"]
        metrics.SIGNER_SERVING.set(len(serving))
        self.preference.renew()
        self._changed.set()
        self._changed = trio.Event()

    def _set_learning(self, member: Member, *, learning: bool) -> None:
        if member.learning is not learning:
            member.learning = learning
            self.preference.renew()


def start_of(
    token: config.Token, mac: config.Mac, keys: config.Keys, told: tuple[Held, ...], *, transport_shown: bool = False
) -> messages.Start:
    """The first frame for a token's worker."""
    return messages.Start(
        module=token.module,
        label=token.label,
        pin_file=token.pin_file,
        algorithm=mac.algorithm,
        retail_mechanism=token.retail_mechanism,
        keys=told,
        start_within_s=token.start_within_s,
        batch_within_s=token.batch_within_s,
        install_within_s=token.install_within_s,
        transport=messages.Transport(
            label=keys.transport_key,
            mechanism=token.wrapping_mechanism or MECHANISMS[keys.wrapping],
            vector=DES3_VECTOR if keys.wrapping == "des3-cbc" else b"",
            check_value=keys.check_value,
        ),
        transport_shown=transport_shown,
    )


def _seen(pin_file: str) -> tuple[int, int, int] | None:
    """Changes when the file is written anew; only the worker reads its content."""
    try:
        status = Path(os.path.expandvars(pin_file)).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
