"""A token and its worker without a process, on any trio clock: what `gateway.signer.process` is for real ones.

It speaks the same frames, so that the very same pool runs on it. Held to the behaviour of SoftHSM by
`tests/signer/test_tokens.py`, which runs on both.
"""

import itertools
from collections.abc import Iterable, Mapping

import msgspec
import trio

from gateway import config
from gateway.signer import messages
from gateway.signer.messages import FAILED, NO_MAC, OK, WRONG
from gateway.signer.process import WorkerLost
from hsm import reference

_PIDS = itertools.count(1)


class FakeToken:
    """A token and what is wrong with it. Attributes may change at any time; a worker notices like a real one."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self.keys = dict(keys)
        self.fault: messages.Fault | None = None
        """What a worker says when it starts, or when it is probed or asked next."""
        self.batch_s = 0.0
        """How long a batch takes."""
        self.starts = 0
        """Workers that were started: logins."""
        self.batches: list[int] = []
        """How many jobs each batch had that was done."""
        self.workers: list[FakeWorker] = []
        """Those that run."""
        self._runs = trio.Event()
        self._runs.set()

    def hang(self) -> None:
        """Answer nothing from now on, not to new workers either."""
        self._runs = trio.Event()

    def go_on(self) -> None:
        """Hang no longer."""
        self._runs.set()

    def crash(self) -> None:
        """Lose the running workers; new ones can be had at once."""
        for worker in self.workers:
            worker.lose()

    def fail(self, state: str, why: str) -> None:
        """Refuse service, from now on, in words."""
        self.fault = messages.Fault(state, why)

    def disappear(self) -> None:
        """Be gone, as if somebody had unplugged it."""
        self.fail("no-token", "no such token")

    def come_back(self) -> None:
        """Be well again."""
        self.fault = None

    async def ready(self) -> None:
        """Returns when it does not hang."""
        await self._runs.wait()


class FakeWorker:
    """See `gateway.signer.process.Worker`."""

    def __init__(self, token: FakeToken) -> None:
        self.pid = next(_PIDS)
        self._token = token
        self._asked: list[bytes] = []
        self._said: list[tuple[int, bytes]] = []
        self._asked_something = trio.Event()
        self._said_something = trio.Event()
        self._start: messages.Start | None = None
        self._lost = False

    def send(self, frame: bytes) -> None:
        """Queue a frame."""
        self._asked.append(frame)
        self._asked_something.set()

    async def receive(self) -> list[tuple[int, bytes]]:
        """Wait for frames."""
        while not self._said:
            if self._lost:
                raise WorkerLost
            self._said_something = trio.Event()
            await self._said_something.wait()
        said, self._said = self._said, []
        return said

    async def pump(self) -> None:
        """Be the worker: the pool runs this for as long as it uses it."""
        splitter = messages.Splitter()
        while True:
            while self._asked and not self._lost:
                for kind, body in splitter.feed(self._asked.pop(0)):
                    await trio.sleep(self._token.batch_s if kind == messages.BATCH else 0)
                    await self._token.ready()
                    self._do(kind, body)
                    self._said_something.set()
            self._asked_something = trio.Event()
            await self._asked_something.wait()

    def lose(self) -> None:
        """Crash."""
        self._lost = True
        self._said.clear()
        self._said_something.set()

    async def end(self, *, kill: bool) -> str:
        """Be gone."""
        self._lost = True
        self._token.workers.remove(self)
        await trio.lowlevel.checkpoint()
        return "ended by nobody (a fake)"

    def _do(self, kind: int, body: bytes) -> None:
        if kind == messages.START:
            self._start = msgspec.json.decode(body, type=messages.Start)
        assert self._start is not None
        fault = self._token.fault or self._missing(self._start.keys)
        if kind == messages.BATCH:
            number, operations = messages.operations(body)
            self._token.batches.append(len(operations))
            if fault:
                self._say(messages.result_frame(number, [(FAILED, NO_MAC)] * len(operations)))
            else:
                self._say(messages.result_frame(number, [self._operation(*operation) for operation in operations]))
        elif not fault:
            values = {label: self._mac(label, messages.CHECK_TEXT).hex() for label in self._start.keys}
            self._say(messages.json_frame(messages.HELLO, values))
        if fault:
            self._say(messages.json_frame(messages.FAULT, fault))
            self._lost = True

    def _missing(self, labels: Iterable[str]) -> messages.Fault | None:
        for label in labels:
            if label not in self._token.keys:
                return messages.Fault("no-key", f'no secret key labelled "{label}"')
        return None

    def _operation(self, key: int, expected: bytes, data: bytes) -> tuple[int, bytes]:
        assert self._start is not None
        made = self._mac(self._start.keys[key], data)
        if not expected:
            return OK, made
        return (OK if made == expected else WRONG), NO_MAC

    def _mac(self, label: str, data: bytes) -> bytes:
        assert self._start is not None
        return reference.mac(self._start.algorithm, self._token.keys[label], data)

    def _say(self, frame: bytes) -> None:
        self._said += messages.Splitter().feed(frame)


class FakeTokens:
    """All tokens of a gateway, by the names of the configuration: `Signer(…, open_worker=FakeTokens(…).open)`."""

    def __init__(self, names: Iterable[str], keys: Mapping[str, bytes]) -> None:
        self.tokens = {name: FakeToken(keys) for name in names}

    def __getitem__(self, name: str) -> FakeToken:
        return self.tokens[name]

    async def open(self, settings: config.Token) -> FakeWorker:
        """Start a worker."""
        await trio.lowlevel.checkpoint()
        token = self.tokens[settings.name]
        token.starts += 1
        worker = FakeWorker(token)
        token.workers.append(worker)
        return worker
