"""A dialler on a mock clock: names that move, fail and hang, and addresses that do what they like."""

import errno
import threading
from collections.abc import Callable
from math import inf

import pytest
import trio
import trio.testing

from gateway import metrics
from gateway.network.dialler import STAGGER_S, Dialler
from gateway.network.names import MACHINE, Answer, Network, lookup_aside, resolved
from gateway.network.turns import AGAIN_S, OLD_S, PATIENCE_S, Proof
from tests.conftest import Logged
from tests.fakes.network import nameless

Clock = trio.testing.MockClock


class World:
    """A name service and hosts that do what a test says."""

    def __init__(self, *addresses: str) -> None:
        self.answer: Answer | None = addresses
        """What the name service says; None: it hangs."""
        self.hosts: dict[str, float | trio.Event | OSError] = {}
        """By address: the time or event that connecting waits for, or its error; others connect at once."""
        self.lookups: list[float] = []
        self.dials: list[str] = []
        self.streams: list[trio.abc.Stream] = []
        self._hanging: list[Callable[[Answer], None]] = []
        self.dialler = Dialler("processor", "bank.example", 443, Network(self._lookup, self._connect))

    def _lookup(self, name: str, answered: Callable[[Answer], None]) -> None:
        assert name == "bank.example"
        self.lookups.append(trio.current_time())
        if self.answer is None:
            self._hanging.append(answered)
        else:
            answered(self.answer)

    def wake(self, answer: Answer) -> None:
        """The lookup that hangs is answered at last."""
        self._hanging.pop()(answer)

    async def _connect(self, address: str, port: int) -> trio.abc.Stream:
        assert port == 443
        self.dials.append(address)
        takes = self.hosts.get(address, 0.0)
        if isinstance(takes, OSError):
            await trio.lowlevel.checkpoint()
            raise takes
        if isinstance(takes, trio.Event):
            await takes.wait()
        else:
            await trio.sleep(takes)
        stream, _ = trio.testing.memory_stream_pair()
        self.streams.append(stream)
        return stream

    async def dial(self, proof: Proof = Proof.PROVED) -> str:
        """Connect, note the proof, hang up; returns the address."""
        stream, address = await self.dialler.connect()
        self.dialler.heard(address, proof)
        await stream.aclose()
        return address


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
UNKNOWN_NAME = OSError(-2, "Name or service not known")


async def test_a_name_is_looked_up_again_when_the_answer_is_old(autojump_clock: Clock) -> None:
    """Not at each dial; where it leads then is gone to."""
    world = World("a")
    assert await world.dial() == "a"
    world.answer = ("b",)
    await trio.sleep(OLD_S - 1)
    assert await world.dial() == "a"
    await trio.sleep(1)
    assert await world.dial() == "b"
    assert world.lookups == [0, OLD_S]


async def test_a_name_is_looked_up_again_after_a_failure(autojump_clock: Clock) -> None:
    """At the next dial, though not more often than every `AGAIN_S`."""
    world = World("a")
    assert await world.dial(Proof.NOTHING) == "a"
    world.answer = ("b",)
    await trio.sleep(AGAIN_S)
    assert await world.dial() == "b"
    world.hosts["b"] = REFUSED
    for _ in range(10):
        with pytest.raises(OSError, match="refused"):
            await world.dial()
        await trio.sleep(AGAIN_S / 4)
    assert len(world.lookups) == 2 + 2


async def test_a_missed_exchange_has_the_name_looked_up_at_once(autojump_clock: Clock) -> None:
    """So that a host which the name has left is known before the next question is asked; without a storm."""
    world = World("a")
    await world.dial()
    world.answer = ("b",)
    await trio.sleep(AGAIN_S)
    for _ in range(100):
        world.dialler.heard("a", Proof.MISSED)
    assert world.lookups == [0, AGAIN_S]
    assert not world.dialler.keeps("a")
    assert await world.dial() == "b"


@pytest.mark.parametrize("how", ["hangs", "fails"])
async def test_the_last_good_addresses_are_used_while_a_name_cannot_be_looked_up(
    how: str, autojump_clock: Clock, logged: Logged
) -> None:
    """One dial waits for a moment, the others do not; it is said once, shown, and said when it is over."""
    world = World("a")
    await world.dial()
    trouble = metrics.NAME_LOOKUP_TROUBLE.labels("processor")
    assert trouble._value.get() == 0
    world.answer = None if how == "hangs" else UNKNOWN_NAME
    await trio.sleep(OLD_S)
    began_s = trio.current_time()
    for _ in range(20):
        assert await world.dial() == "a"
    assert trio.current_time() - began_s == (pytest.approx(PATIENCE_S) if how == "hangs" else 0)
    for _ in range(60):
        await trio.sleep(AGAIN_S)
        assert await world.dial() == "a"
    assert len(world.lookups) == (2 if how == "hangs" else 2 + 60), "one at a time"
    assert trouble._value.get() == 1
    (line,) = logged("name cannot be looked up")
    assert (line["party"], line["host"], line["count"]) == ("processor", "bank.example", 1)
    assert line["reason"] == ("no answer within 0.5 s" if how == "hangs" else "OSError: Name or service not known")
    world.answer = ("b",)
    if how == "hangs":
        world.wake(("b",))
    await trio.sleep(AGAIN_S)
    await world.dial()
    assert await world.dial() == "b"
    assert trouble._value.get() == 0
    assert len(logged("name is looked up again")) == 1


async def test_an_answer_that_comes_after_its_asker_has_gone_is_used(autojump_clock: Clock) -> None:
    """A resolver that takes longer than a dial may: the next dial has its answer."""
    world = World()
    world.answer = None
    for _ in range(3):
        with trio.move_on_after(2.0) as given_up:
            await world.dial()
        assert given_up.cancelled_caught
    world.wake(("a",))
    assert await world.dial() == "a"
    assert world.lookups == [0]


async def test_a_name_that_was_never_known(autojump_clock: Clock) -> None:
    """The dial fails with the reason, at once; again soon, without asking each time."""
    world = World()
    world.answer = UNKNOWN_NAME
    for _ in range(5):
        with pytest.raises(OSError, match="name not looked up: Name or service not known"):
            await world.dial()
    assert world.lookups == [0]
    await trio.sleep(AGAIN_S)
    world.answer = ("a",)
    assert await world.dial() == "a"


async def test_many_who_dial_at_once_wait_for_one_lookup(autojump_clock: Clock) -> None:
    """And all of them get its answer."""
    world = World()
    world.answer = None
    where: list[str] = []

    async def dial() -> None:
        where.append(await world.dial())

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(dial)
        await trio.testing.wait_all_tasks_blocked()
        world.wake(("a",))
    assert where == ["a"] * 8
    assert world.lookups == [0]


@pytest.mark.parametrize("literal", ["127.0.0.1", "::1", "fe80::1%lo"])
async def test_a_literal_address_is_never_looked_up(literal: str) -> None:
    """There is nothing to look up, and nothing that could hang."""
    dialled: list[str] = []

    async def connect(address: str, _port: int) -> trio.abc.Stream:
        dialled.append(address)
        raise REFUSED

    def lookup(_name: str, _answered: Callable[[Answer], None]) -> None:
        raise AssertionError

    dialler = Dialler("hub a", literal, 1, Network(lookup, connect))
    with pytest.raises(ConnectionRefusedError):
        await dialler.connect()
    dialler.heard(literal, Proof.MISSED)
    assert dialled == [literal]


# --- addresses


async def test_an_address_that_hangs_does_not_hide_the_next(autojump_clock: Clock) -> None:
    """The next one is tried beside it after a quarter of a second; from then on it is the first."""
    world = World("hangs", "b")
    world.hosts["hangs"] = inf
    assert await world.dial() == "b"
    assert trio.current_time() == STAGGER_S
    assert await world.dial() == "b"
    assert trio.current_time() == STAGGER_S
    assert world.dials == ["hangs", "b", "b"]


async def test_an_address_that_refuses_is_followed_by_the_next_at_once(autojump_clock: Clock) -> None:
    """No time passes; when all refuse, it is said of how many."""
    world = World("a", "b")
    world.hosts["a"] = REFUSED
    assert await world.dial() == "b"
    assert trio.current_time() == 0
    world.hosts["b"] = REFUSED
    with pytest.raises(OSError, match="none of 2 addresses connects: ConnectionRefusedError"):
        await world.dial()


@pytest.mark.parametrize("given_up", [False, True])
async def test_of_two_that_connect_at_the_same_moment_one_is_kept_at_most(
    autojump_clock: Clock, *, given_up: bool
) -> None:
    """The other connection is closed; both are when the dial is cancelled at this moment."""
    world = World("a", "b")
    now = world.hosts["a"] = world.hosts["b"] = trio.Event()
    kept: list[trio.abc.Stream] = []

    async def dial() -> None:
        kept.append((await world.dialler.connect()).connection)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        await trio.sleep(2 * STAGGER_S)
        now.set()
        if given_up:
            nursery.cancel_scope.cancel()
    assert (len(world.streams), len(kept)) == (2, 0 if given_up else 1)
    for stream in world.streams:
        if stream not in kept:
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(b"x")


@pytest.mark.parametrize("proof", [Proof.NOTHING, Proof.MISSED])
async def test_an_address_that_accepts_and_proves_nothing_does_not_hide_the_next(
    proof: Proof, autojump_clock: Clock
) -> None:
    """It is silent, hangs up or says 503: the next one has its turn, and is kept to."""
    world = World("a", "b")
    assert await world.dial(proof) == "a"
    for _ in range(5):
        assert await world.dial() == "b"


# --- the machine's own way


@pytest.mark.parametrize("network", [MACHINE, nameless(trio.open_tcp_stream)], ids=["machine", "nameless"])
async def test_an_answer_comes_once_and_in_the_trio_thread(network: Network) -> None:
    """What the fakes do is what the machine does."""
    came: list[tuple[Answer, int]] = []
    over = trio.Event()

    def answered(answer: Answer) -> None:
        came.append((answer, threading.get_ident()))
        over.set()

    network.lookup("127.0.0.1", answered)
    await over.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert came == [(("127.0.0.1",), threading.get_ident())]


async def test_localhost_where_only_one_family_listens() -> None:
    """Both its addresses are known, and the one with a listener is reached."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, trio.aclose_forcefully, listeners)
        dialler = Dialler("hub a", "localhost", listeners[0].socket.getsockname()[1])
        stream, address = await dialler.connect()
        assert address == "127.0.0.1"
        await stream.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", ["no..name", "x" * 64 + ".example", "."])
def test_what_cannot_be_a_name_is_an_error_of_the_system(name: str) -> None:
    """Never a bug of ours, whatever the codec for names raises."""
    assert isinstance(resolved(name), OSError)


async def without_threads(*_given: object, **_more: object) -> None:
    """As `trio.to_thread.run_sync` where no thread is idle, and none can be started."""
    await trio.lowlevel.checkpoint()
    raise RuntimeError("can't start new thread")


async def test_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
    """A shortage: the lookup has failed, the addresses known last are used."""

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    answers: list[Answer] = []
    lookup_aside("localhost", answers.append)
    assert isinstance(answers[0], OSError)
    assert answers[0].errno == errno.EAGAIN
    dialler = Dialler("hub a", "localhost", 1)
    with pytest.raises(OSError, match="no thread can be started"):
        await dialler.connect()
    monkeypatch.setattr(trio.to_thread, "run_sync", without_threads)
    with pytest.raises(OSError, match="no thread can be started"):
        await dialler.aside(lambda: 7)
    assert len(logged("name cannot be looked up")) == 1


async def test_files_are_read_in_a_place_of_the_partys_own() -> None:
    """One that hangs is left behind, and holds up only its own party's next one."""
    held = threading.Event()
    one, other = Dialler("hub a", "::1", 1), Dialler("hub b", "::1", 1)
    for _ in range(2):
        with trio.move_on_after(0.01) as given_up:
            await one.aside(held.wait)
        assert given_up.cancelled_caught
    assert await other.aside(lambda: 7) == 7
    held.set()
    assert await one.aside(lambda: 8) == 8
