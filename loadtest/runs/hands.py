"""The hands that do to real processes what a schedule of `trouble` says, and keep everybody running, as systemd would.

What ends is started again after a pause; what ends otherwise than it was made to is noted as a problem.
"""

import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import trio

from loadtest.hub.control import ControlError, Gone
from loadtest.parts.processes import Child, children_of
from loadtest.runs.banks import Bank, Gateway
from loadtest.runs.trouble import Trouble
from loadtest.runs.world import World, WorldError

GONE_WITHIN_S = 15.0
"""How soon after its gateway's end a worker must have ended, too."""
STARTING_S = 5.0
"""A process that began so short a time ago may not listen to SIGTERM yet."""


class Kept:
    """A process that is kept running: what ends is started again, and must have ended as it was made to."""

    def __init__(self, name: str, hands: "Hands") -> None:
        self.name = name
        self.starts = 0
        self.pause_s = 0.1
        """Before it is started again."""
        self.up = trio.Event()
        """It was started."""
        self.gone = trio.Event()
        """It has ended."""
        self.began_s = -STARTING_S
        """When it was started, on trio's clock."""
        self._hands = hands
        self._may: set[int] = set()
        self._drains = False

    @property
    def child(self) -> Child | None:
        """Its process, while there is one."""
        raise NotImplementedError

    async def begin(self) -> None:
        """Start it."""
        raise NotImplementedError

    def forget(self) -> None:
        """It has ended."""
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        child = self.child
        return child.process.pid if child is not None and child.running else None

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; a process that it ends is expected to end by it. False when it does not run."""
        pid = self.pid
        if pid is None:
            return False
        if number == signal.SIGKILL:
            self._may.add(-signal.SIGKILL)
        elif number == signal.SIGTERM:
            # a second one ends it at once; one that comes before its first line, or after its last, ends any process
            self._may.add(130 if self._drains else 0)
            if self._drains or trio.current_time() < self.began_s + STARTING_S:
                self._may.add(-signal.SIGTERM)
            self._drains = True
        os.kill(pid, number)
        return True

    async def stop(self, for_s: float) -> bool:
        """SIGSTOP, and SIGCONT after so many seconds, or when cancelled. False when it does not run."""
        pid = self.pid
        if pid is None:
            return False
        await stopped(pid, for_s, lambda: self.pid == pid)
        return True

    async def run(self) -> None:
        """Keep it running until cancelled."""
        while True:
            child = self.child
            if child is None:
                self.began_s = trio.current_time()
                await self.begin()
                self.starts += 1
                child = self.child
            assert child is not None, "it was started"
            self.up.set()
            code = await child.process.wait()
            self.up = trio.Event()
            if child.process.stdout is not None:
                await child.process.stdout.aclose()
            expected, self._may, self._drains = self._may, set(), False
            self._hands.ended(self, child, code, expected=code in expected)
            self.forget()
            self.gone.set()
            self.gone = trio.Event()
            await trio.sleep(self.pause_s)


class KeptGateway(Kept):
    """A gateway."""

    def __init__(self, gateway: Gateway, hands: "Hands") -> None:
        super().__init__(gateway.name, hands)
        self.gateway = gateway

    @property
    def child(self) -> Child | None:
        """The gateway's own."""
        return self.gateway.child

    async def begin(self) -> None:
        """Whether it comes up is seen by whether it stays, and signs on."""
        await self.gateway.start()

    def forget(self) -> None:
        """It is away."""
        self.gateway.child = None


class KeptProcessor(Kept):
    """A bank's processor. `order` has it go on to submit."""

    def __init__(self, name: str, bank: Bank, hands: "Hands", order: Callable[[Bank], Awaitable[None]]) -> None:
        super().__init__(name, hands)
        self.bank = bank
        self._order = order

    @property
    def child(self) -> Child | None:
        """The bank's."""
        return self.bank.processor

    async def begin(self) -> None:
        """It must say where it listens, and take its order."""
        try:
            await self.bank.start_processor()
        except WorldError:
            child = self.child
            if child is None or -signal.SIGKILL not in self._may:
                raise
            await child.process.wait()
            return  # it was killed before it could say where it listens
        while self.pid is not None:
            try:
                await self._order(self.bank)
            except WorldError:
                await trio.sleep(0.2)  # it is stopped, or about to end
            else:
                return

    def forget(self) -> None:
        """It is away."""
        self.bank.processor = None


async def stopped(pid: int, for_s: float, there: Callable[[], bool]) -> None:
    """Stop a process for so long, or until cancelled. `there`: whether the process id is still its."""
    os.kill(pid, signal.SIGSTOP)
    try:
        await trio.sleep(for_s)
    finally:
        if there():
            _send(pid, signal.SIGCONT)


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def session_of(sid: int) -> list[int]:
    """The processes of a session: each child of a world leads one, and its own children stay in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == sid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


class Hands:
    """Do what a schedule says, say what they do, and keep everybody running."""

    def __init__(self, it: World, say: Callable[[str], None], order: Callable[[Bank], Awaitable[None]]) -> None:
        self.it = it
        self.done: Counter[str] = Counter()
        """What was done, by what and to what kind."""
        self.void = 0
        """Troubles whose victim was away already."""
        self.problems: list[str] = []
        """What must not happen, whatever is done to whom."""
        self.gateways = {one.name: KeptGateway(one, self) for one in it.gateways}
        self.processors = {
            name: KeptProcessor(name, bank, self, order)
            for bank in it.banks
            for name in [processor_of(bank)]
        }  # fmt: skip
        self._say = say
        self._sessions: dict[int, str] = {}
        self._held: Counter[str] = Counter()
        self._keepers = trio.CancelScope()

    @property
    def kept(self) -> list[Kept]:
        """Everybody."""
        return [*self.gateways.values(), *self.processors.values()]

    @property
    def restarts(self) -> int:
        """How often somebody was started again."""
        return sum(kept.starts for kept in self.kept)

    async def keep(self) -> None:
        """Keep everybody running until `let_go`."""
        with self._keepers:
            async with trio.open_nursery() as nursery:
                for kept in self.kept:
                    nursery.start_soon(kept.run)

    def let_go(self) -> None:
        """Whoever ends now is not started again."""
        self._keepers.cancel()

    async def play(self, troubles: Sequence[Trouble]) -> None:
        """Do it all, each at its time from now; returns when everything is over."""
        start_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for trouble in troubles:
                await trio.sleep_until(start_s + trouble.at_s)
                nursery.start_soon(self._do, trouble)

    def ended(self, kept: Kept, child: Child, code: int, *, expected: bool) -> None:
        """A process has ended."""
        if isinstance(kept, KeptGateway):
            self._sessions[child.process.pid] = kept.name
        if not expected:
            self.problems.append(f"{kept.name} ended with {code}, which nobody made it do: see {child.output}")
            self._say(f"!! {self.problems[-1]}")

    async def _do(self, trouble: Trouble) -> None:
        if trouble.what in {"drop", "close"}:
            did = await self._to_site(trouble)
        elif trouble.what.startswith("change"):
            did = await self._to_bank(trouble)
        elif trouble.what.endswith("worker"):
            did = await self._to_worker(trouble)
        else:
            did = await self._to_process(self.gateways.get(trouble.whom) or self.processors[trouble.whom], trouble)
        if not did:
            self.void += 1

    def _did(self, what: str, whom: str, kind: str, more: str = "") -> None:
        self.done[f"{what} {kind}"] += 1
        self._say(f"{what} {whom}{more}")

    async def _to_process(self, kept: Kept, trouble: Trouble) -> bool:
        kind = "gateway" if isinstance(kept, KeptGateway) else "processor"
        if kept.pid is None:
            return False
        if trouble.what == "stop":
            self._did("stop", kept.name, kind, f" for {trouble.for_s:.1f} s")
            await kept.stop(trouble.for_s)
            return True
        kept.pause_s = trouble.for_s
        number = signal.SIGTERM if trouble.what.startswith("drain") else signal.SIGKILL
        self._did(
            "drain" if number == signal.SIGTERM else "kill", kept.name, kind, f", back after {trouble.for_s:.1f} s"
        )
        gone = kept.gone
        kept.send(number)
        if trouble.what == "drain and kill":
            with trio.move_on_after(trouble.then_s):
                await gone.wait()
            if not gone.is_set() and kept.send(signal.SIGKILL):
                self._did("kill", kept.name, kind, " while it drains")
        elif trouble.what == "kill twice":
            await gone.wait()
            await kept.up.wait()
            await trio.sleep(trouble.then_s)
            if kept.send(signal.SIGKILL):
                self._did("kill", kept.name, kind, f" again, {trouble.then_s:.2f} s after its start")
        return True

    async def _to_worker(self, trouble: Trouble) -> bool:
        pid = self.gateways[trouble.whom].pid
        workers = children_of(pid) if pid is not None else []
        if not workers:
            return False
        worker = workers[int(trouble.which * len(workers))]
        if trouble.what == "kill worker":
            self._did("kill", f"a worker of {trouble.whom}", "worker")
            return _send(worker, signal.SIGKILL)
        self._did("stop", f"a worker of {trouble.whom}", "worker", f" for {trouble.for_s:.1f} s")
        try:
            await stopped(worker, trouble.for_s, lambda: is_worker(worker))
        except ProcessLookupError:
            return False
        return True

    async def _to_site(self, trouble: Trouble) -> bool:
        if trouble.what == "drop":
            self._did("drop", f"hub site {trouble.whom}", "site")
            await self.it.hub("drop", site=trouble.whom)
            return True
        self._did("close", f"hub site {trouble.whom}", "site", f" for {trouble.for_s:.1f} s")
        self._held[trouble.whom] += 1
        try:
            await self.it.hub("close", site=trouble.whom)
            await trio.sleep(trouble.for_s)
        finally:
            self._held[trouble.whom] -= 1
            if not self._held[trouble.whom]:
                with trio.CancelScope(shield=True):
                    await self.it.hub("open", site=trouble.whom)
        return True

    async def _to_bank(self, trouble: Trouble) -> bool:
        _, use, _ = trouble.what.split(" ", 2)
        try:
            await self.it.hub("key", use=use, participant=trouble.whom)
        except Gone:
            raise
        except ControlError:
            return False  # another change is under way
        self._did(trouble.what, trouble.whom, "bank")
        return True

    async def nobody_left(self) -> None:
        """Note as a problem what outlives a gateway that has ended. To be called when nothing is stopped any more."""
        with trio.move_on_after(GONE_WITHIN_S):
            while any(session_of(sid) for sid in self._sessions):  # noqa: ASYNC110 - others' processes
                await trio.sleep(0.2)
        for sid, name in self._sessions.items():
            for pid in session_of(sid):
                self.problems.append(f"a worker of {name} (process {pid}) has outlived its gateway")
                _send(pid, signal.SIGKILL)


def processor_of(bank: Bank) -> str:
    """What a bank's processor is called."""
    return f"processor of {bank.identity.name}"


def is_worker(pid: int) -> bool:
    """Whether there is such a process, and it is a signer worker."""
    try:
        return b"gateway.signer.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
