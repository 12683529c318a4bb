"""A token and its worker without a process, on any trio clock: what `gateway.signer.process` is for real ones.

It speaks the same frames, so that the very same pool runs on it. Held to the behaviour of SoftHSM by
`tests/signer/test_tokens.py`, which runs on both.
"""

import itertools
from collections.abc import Iterable, Mapping

import msgspec
import trio
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from gateway import config
from gateway.payments.work import Install
from gateway.signer import messages
from gateway.signer.messages import FAILED, NO_MAC, OK, WRONG, Held, Shown
from gateway.signer.outage import Outage, TokenState
from gateway.signer.process import WorkerLost
from hsm import reference

TRANSPORT = "fps-transport"

_PIDS = itertools.count(1)


class FakeToken:
    """A token and what is wrong with it. Attributes may change at any time; a worker notices like a real one."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self.keys = dict(keys)
        self.outage: Outage | None = None
        """What a worker says when it starts, or when it is probed or asked next."""
        self.batch_s = 0.0
        """How long a batch takes, and a probe."""
        self.unwrap_s = 0.0
        """How long it takes to take a key that it does not have; inf: for ever."""
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

    def fail(self, state: TokenState, why: str) -> None:
        """Refuse service, from now on, in words."""
        self.outage = Outage(state, why)

    def disappear(self) -> None:
        """Be gone, as if somebody had unplugged it."""
        self.fail("no-token", "no such token")

    def come_back(self) -> None:
        """Be well again."""
        self.outage = None

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
        self._held: tuple[Held, ...] = ()
        self._failures: dict[str, str] = {}
        self._made: set[str] = set()
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
                    await trio.sleep(self._token.batch_s if kind in {messages.BATCH, messages.PROBE} else 0)
                    await self._token.ready()
                    if kind in {messages.START, messages.KEYS} and self._has_to_unwrap(kind, body):
                        await trio.sleep(self._token.unwrap_s)
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
            self._held = self._start.keys
        elif kind == messages.KEYS:
            self._held = msgspec.json.decode(body, type=tuple[Held, ...])
        outage = self._token.outage
        if kind in {messages.START, messages.KEYS} and not outage:
            self._failures = {
                each.key.label: why for each in self._held if (why := self._install(each) or self._same(each.key))
            }
        # another value of a key that is there was refused: it goes on as it was
        refused = {label: why for label, why in self._failures.items() if label in self._made}
        failures = {label: why for label, why in self._failures.items() if label not in refused} | {
            each.key.label: f'no secret key labelled "{each.key.label}"'
            for each in self._held
            if each.key.label not in self._token.keys and each.key.label not in self._failures
        }
        needed = [failures[each.key.label] for each in self._held if each.needed and each.key.label in failures]
        if needed and not outage:
            outage = Outage("same-keys" if needed[0].endswith("are the same key") else "no-key", needed[0])
        if kind == messages.BATCH:
            number, operations = messages.operations(body)
            self._token.batches.append(len(operations))
            if outage:
                self._say(messages.result_frame(number, [(FAILED, NO_MAC)] * len(operations)))
            else:
                self._say(messages.result_frame(number, [self._operation(*operation) for operation in operations]))
        elif not outage:
            labels = [each.key.label for each in self._held if each.key.label not in failures]
            values = {label: self._mac(label, messages.CHECK_TEXT).hex() for label in labels}
            checks = {label: self._mac(label, bytes(16)).hex().upper() for label in labels}
            self._made = set(labels)
            self._show_transport(checks, failures)
            self._say(messages.json_frame(messages.HELLO, Shown(values, failures | refused, checks)))
        if outage:
            self._say(messages.json_frame(messages.FAULT, outage))
            self._lost = True

    def _show_transport(self, checks: dict[str, str], failures: dict[str, str]) -> None:
        """What there is to say of the transport key, when that is asked."""
        assert self._start is not None
        label = self._start.transport.label
        if self._start.transport_shown and label in self._token.keys:
            checks[label] = reference.enciphered_zeros(self._token.keys[label])[:3].hex().upper()
        elif self._start.transport_shown:
            failures[label] = f'no transport key labelled "{label}"'

    def _has_to_unwrap(self, kind: int, body: bytes) -> bool:
        """One of the keys that it is told is not in the token."""
        if kind == messages.START:
            keys = msgspec.json.decode(body, type=messages.Start).keys
        else:
            keys = msgspec.json.decode(body, type=tuple[Held, ...])
        return any(each.key.wrapped and each.key.label not in self._token.keys for each in keys)

    def _install(self, each: Held) -> str:
        """Returns why not, or nothing."""
        key = each.key
        there = self._token.keys.get(key.label)
        why = self._unwrap(key) if key.wrapped else ""
        if why and each.needed and there is not None and self._start is not None:
            check = reference.mac(self._start.algorithm, there, bytes(16)).hex().upper()
            return "" if check.startswith(key.check) else why
        return why

    def _unwrap(self, key: Install) -> str:
        assert self._start is not None
        assert self._start.transport.label == TRANSPORT
        if TRANSPORT not in self._token.keys:
            return f'no transport key labelled "{TRANSPORT}"'
        try:
            value = aes_key_unwrap(self._token.keys[TRANSPORT], key.wrapped)
        except InvalidUnwrap:
            return f'"{key.label}" cannot be unwrapped: GeneralError'
        check = reference.mac(self._start.algorithm, value, bytes(16)).hex().upper()[: len(key.check)]
        if check != key.check:
            return f'wrong check value: "{key.label}" unwraps to a key of {check}'
        if value == self._token.keys[TRANSPORT]:
            return self._same(key, value)
        if self._token.keys.setdefault(key.label, value) != value:
            return f'another key is labelled "{key.label}" already'
        return ""

    def _same(self, key: Install, value: bytes = b"") -> str:
        transport = self._token.keys.get(TRANSPORT, b"none")
        same = (value or self._token.keys.get(key.label)) == transport
        return f'"{TRANSPORT}" (which unwraps new keys) and "{key.label}" are the same key' if same else ""

    def _operation(self, key: int, expected: bytes, data: bytes) -> tuple[int, bytes]:
        label = self._held[key].key.label
        if label not in self._token.keys:
            return FAILED, NO_MAC
        made = self._mac(label, data)
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

    def beside(self) -> "FakeTokens":
        """The same tokens as another gateway has them: with the same keys in them, and trouble of their own."""
        other = FakeTokens(self.tokens, {})
        for name, token in self.tokens.items():
            other[name].keys = token.keys
        return other

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
