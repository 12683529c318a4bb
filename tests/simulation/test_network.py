"""The simulated network beside the real one: the same tests run on both. What sockets cannot be told to do has tests of
its own, on the mock clock.
"""

import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from gateway.network.listening import Listening, listen_tcp
from tests.simulation.network import Network

BLOCK = bytes(65536)


class World:
    """How to listen, and what dials to it. What was made in it is closed with it."""

    def __init__(
        self,
        listen: Callable[[str, int, int], Awaitable[Listening]],
        dial: Callable[[int], Awaitable[trio.abc.HalfCloseableStream]],
    ) -> None:
        self._listen = listen
        self._dial = dial
        self._made: list[Any] = []

    async def listen(self, port: int = 0) -> Listening:
        """On any port, or this one. Raises `OSError`."""
        listening = await self._listen("127.0.0.1", port, 10)
        self._made += listening.listeners
        return listening

    async def dial(self, port: int) -> Any:
        """Raises `OSError`."""
        stream = await self._dial(port)
        self._made.append(stream)
        return stream

    async def accept(self, listening: Listening) -> Any:
        """The next one."""
        stream = await listening.listeners[0].accept()
        self._made.append(stream)
        return stream

    async def aclose(self) -> None:
        """All of it."""
        for made in self._made:
            await made.aclose()


def simulated() -> World:
    """Two places."""
    network = Network(random.Random(1))  # noqa: S311 - a simulation
    here, there = network.place("here"), network.place("there")
    return World(there.listen, here.dial)


def real() -> World:
    """Loopback."""
    return World(listen_tcp, partial(trio.open_tcp_stream, "127.0.0.1"))


@pytest.fixture(params=[simulated, real])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """One of the two."""
    made: World = request.param()
    yield made
    await made.aclose()


Pair = tuple[Any, Any]


async def connected(world: World) -> Pair:
    """The two ends of a connection."""
    listening = await world.listen()
    ours = await world.dial(listening.port)
    theirs = await world.accept(listening)
    await listening.listeners[0].aclose()
    return ours, theirs


async def clogged(world: World) -> Pair:
    """The same, with as much written at both ends as goes."""
    pair = await connected(world)
    for stream in pair:
        await clog(stream)
    return pair


async def clog(stream: Any) -> int:
    """Write zeros until no more is taken; how many were offered."""
    offered = 0

    async def write() -> None:
        nonlocal offered
        while True:
            offered += len(BLOCK)
            await stream.send_all(BLOCK)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await quiet()
        nursery.cancel_scope.cancel()
    return offered


async def quiet() -> None:
    """Until everybody waits: also for what is under way in the kernel."""
    await trio.testing.wait_all_tasks_blocked(0.02)


async def read(stream: Any, size: int) -> bytes:
    """Exactly so much."""
    data = bytearray()
    while len(data) < size:
        chunk = await stream.receive_some(size - len(data))
        assert chunk, "the end came too early"
        data += chunk
    return bytes(data)


async def read_all(stream: Any) -> bytes:
    """Up to the end, whatever the end is."""
    data = bytearray()
    with contextlib.suppress(trio.BrokenResourceError):
        async for chunk in stream:
            data += chunk
    return bytes(data)


async def write_until_broken(stream: Any) -> str:
    """Write byte by byte until it is said to be in vain; what is said."""
    while True:
        try:
            await stream.send_all(b"x")
        except trio.BrokenResourceError as error:
            return str(error)
        await trio.sleep(0.001)


async def reset(stream: Any, other: Any) -> None:
    """Reset the connection from this end: it closes, and what the other one said is unread."""
    await other.send_all(b"unread")
    await quiet()
    await stream.aclose()
    await quiet()


# --- as of sockets


async def test_it_is_a_stream(world: World) -> None:
    """What trio asks of any stream that can be closed half."""
    await trio.testing.check_half_closeable_stream(lambda: connected(world), lambda: clogged(world))


async def test_what_was_written_before_closing_arrives(world: World) -> None:
    """Then comes the end, again and again."""
    ours, theirs = await connected(world)
    await ours.send_all(b"first")
    await ours.send_all(b"last")
    await trio.aclose_forcefully(ours)
    assert await read(theirs, 9) == b"firstlast"
    assert await theirs.receive_some() == b""
    assert await theirs.receive_some() == b""


async def test_one_way_ends_and_the_other_does_not(world: World) -> None:
    """After send_eof nothing can be sent, not even nothing; what comes the other way is heard."""
    ours, theirs = await connected(world)
    await ours.send_all(b"question")
    await ours.send_eof()
    assert await read_all(theirs) == b"question"
    await theirs.send_all(b"answer")
    await quiet()
    await theirs.send_all(b"s")
    await theirs.aclose()
    assert await read_all(ours) == b"answers"
    for data in (b"", b"x"):
        with pytest.raises(trio.ClosedResourceError):
            await ours.send_all(data)
    await ours.send_eof()


async def test_writing_to_one_who_closed(world: World) -> None:
    """The first write is taken; only its answer, a reset, says that it was in vain. A reader hears of the end only."""
    ours, theirs = await connected(world)
    await theirs.send_all(b"rest")
    await theirs.aclose()
    await quiet()
    await ours.send_all(b"in vain")
    await quiet()
    assert "Broken pipe" in await write_until_broken(ours)
    assert await read_all(ours) == b"rest"
    assert await ours.receive_some() == b""


async def test_reading_after_the_end_and_a_reset(world: World) -> None:
    """The end was said first: a reader hears of nothing else."""
    ours, theirs = await connected(world)
    await theirs.aclose()
    await quiet()
    await ours.send_all(b"in vain")
    await quiet()
    assert await ours.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError, match="Broken pipe"):
        await ours.send_all(b"x")


async def test_a_reset_is_told_once_to_a_reader(world: World) -> None:
    """Whoever reads first hears of it; then it is the end. Writing goes on being a broken pipe."""
    ours, theirs = await connected(world)
    await reset(theirs, ours)
    with pytest.raises(trio.BrokenResourceError, match="Connection reset"):
        await ours.receive_some()
    assert await ours.receive_some() == b""
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError, match="Broken pipe"):
            await ours.send_all(b"x")
    await ours.send_all(b"")
    with pytest.raises(trio.BrokenResourceError, match="not connected"):
        await ours.send_eof()
    await ours.aclose()


async def test_a_reset_is_told_once_to_a_writer(world: World) -> None:
    """Whoever writes first hears of it; a reader finds the end."""
    ours, theirs = await connected(world)
    await reset(theirs, ours)
    with pytest.raises(trio.BrokenResourceError, match="Connection reset"):
        await ours.send_all(b"x")
    with pytest.raises(trio.BrokenResourceError, match="Broken pipe"):
        await ours.send_all(b"x")
    assert await ours.receive_some() == b""


async def test_what_arrived_before_a_reset_can_be_read(world: World) -> None:
    """The reset comes behind it."""
    ours, theirs = await connected(world)
    await theirs.send_all(b"rest")
    await reset(theirs, ours)
    assert await read(ours, 4) == b"rest"
    with pytest.raises(trio.BrokenResourceError, match="Connection reset"):
        await ours.receive_some()


async def test_a_reset_wakes_who_waits(world: World) -> None:
    """A reader, and a writer whose other end did not read. One of them hears of the reset."""
    ours, theirs = await connected(world)
    await clog(ours)
    heard: list[str] = []

    async def write() -> None:
        with pytest.raises(trio.BrokenResourceError) as raised:
            await ours.send_all(BLOCK)
        heard.append(str(raised.value))

    async def listen() -> None:
        try:
            heard.append(str(await ours.receive_some()))
        except trio.BrokenResourceError as error:
            heard.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        nursery.start_soon(listen)
        await quiet()
        await theirs.aclose()
    assert sum("Connection reset" in text for text in heard) == 1, heard


async def test_closing_beside_a_task_that_waits(world: World) -> None:
    """Whoever reads or writes here hears that we closed."""
    ours, _theirs = await clogged(world)
    ours, theirs = await connected(world)
    await clog(ours)

    async def write() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await ours.send_all(BLOCK)

    async def listen() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await ours.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        nursery.start_soon(listen)
        await quiet()
        await ours.aclose()
    await listen()
    await write()
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_eof()
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"")
    await theirs.aclose()


async def test_one_reader_and_one_writer(world: World) -> None:
    """A second one is a bug of ours; the first goes on."""
    ours, theirs = await connected(world)
    offered = await clog(ours)
    heard: list[bytes] = []

    async def listen() -> None:
        heard.append(await ours.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        nursery.start_soon(ours.send_all, b"the end")
        await quiet()
        with pytest.raises(trio.BusyResourceError):
            await ours.receive_some()
        for use in (partial(ours.send_all, b"x"), ours.send_eof, ours.wait_send_all_might_not_block):
            with pytest.raises(trio.BusyResourceError):
                await use()
        await theirs.send_all(b"word")
        data = b""
        while not data.endswith(b"the end"):
            data = data[-10:] + await theirs.receive_some()
    assert heard == [b"word"] or b"word".startswith(heard[0])
    assert offered


async def test_much_arrives_whole_and_in_order(world: World) -> None:
    """Whatever the sizes of writes and reads, in both directions at once; writing waits for reading."""
    luck = random.Random(7)  # noqa: S311 - sizes
    data = luck.randbytes(3_000_000)
    ours, theirs = await connected(world)
    sizes = [luck.choice((1, 7, 400, 5_000, 100_000)) for _ in range(500)]

    async def write(stream: Any, data: bytes) -> None:
        at = 0
        for size in itertools.cycle(sizes):
            await stream.send_all(data[at : at + size])
            at += size
            if at >= len(data):
                break
        await stream.send_eof()

    async def check(stream: Any, expected: bytes) -> None:
        found = bytearray()
        while chunk := await stream.receive_some(luck.choice((3_000, 10_000, 70_000))):
            found += chunk
        assert found == expected

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, ours, data)
        nursery.start_soon(write, theirs, data[::-1])
        nursery.start_soon(check, ours, data[::-1])
        nursery.start_soon(check, theirs, data)


async def test_nobody_reads(world: World) -> None:
    """Writing blocks, also for the smallest bit, and goes on when somebody reads."""
    ours, theirs = await connected(world)
    await clog(ours)
    written = trio.Event()

    async def write() -> None:
        await ours.send_all(bytes(1_000_000) + b"!")
        written.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await quiet()
        assert not written.is_set()
        while not (await theirs.receive_some()).endswith(b"!"):
            pass
    assert written.is_set()


async def test_a_cancelled_read_takes_nothing(world: World) -> None:
    """Cancelled at any moment, also when something has just come: the next read has it."""
    ours, theirs = await connected(world)
    found = bytearray()
    expected = bytes(range(200))

    async def write() -> None:
        for number in expected:
            await ours.send_all(bytes([number]))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        for turn in itertools.count():
            if len(found) == len(expected):
                break
            with trio.CancelScope() as scope:
                if turn % 3:
                    nursery.start_soon(cancel_soon, scope, turn % 5)
                else:
                    scope.cancel()
                found += await theirs.receive_some(7)
    assert found == expected


async def cancel_soon(scope: trio.CancelScope, steps: int) -> None:
    """After so many steps."""
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def test_a_cancelled_write_has_taken_a_first_part(world: World) -> None:
    """Nobody knows how much; nothing is missing in between, and what is written next comes behind it."""
    ours, theirs = await connected(world)
    data = random.Random(7).randbytes(30_000_000)  # noqa: S311 - content
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, data)
        await quiet()
        nursery.cancel_scope.cancel()
    found: list[bytes] = []

    async def listen() -> None:
        found.append(await read_all(theirs))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await ours.send_all(b"behind it")
        await ours.aclose()
    part = found[0].removesuffix(b"behind it")
    assert 0 < len(part) < len(data)
    assert data.startswith(part)


async def test_nothing_is_written_when_it_is_cancelled_before(world: World) -> None:
    """As every function of trio."""
    ours, theirs = await connected(world)
    with trio.CancelScope() as scope:
        scope.cancel()
        await ours.send_all(b"not this")
    with trio.CancelScope() as scope:
        scope.cancel()
        await ours.send_eof()
    await ours.send_all(b"this")
    await ours.aclose()
    assert await read_all(theirs) == b"this"


# --- listening and dialling


async def refused(world: World, port: int) -> bool:
    """Whether nobody is there."""
    try:
        await world.dial(port)
    except OSError as error:
        # trio tries all addresses of a name, and groups what they said
        said = error.__cause__.exceptions if isinstance(error.__cause__, ExceptionGroup) else (error,)
        return all(isinstance(one, ConnectionRefusedError) for one in said)
    return False


async def test_dialling_nobody(world: World) -> None:
    """Before and after somebody listened."""
    listening = await world.listen()
    await listening.listeners[0].aclose()
    assert await refused(world, listening.port)
    assert await refused(world, 1)


async def test_a_connection_waits_to_be_accepted(world: World) -> None:
    """Dialling is done before anybody accepts, and what was written can be read then, also after it was closed."""
    listening = await world.listen()
    first, second = await world.dial(listening.port), await world.dial(listening.port)
    await first.send_all(b"one")
    await first.aclose()
    await second.send_all(b"two")
    assert await read_all(await world.accept(listening)) == b"one"
    theirs = await world.accept(listening)
    assert await read(theirs, 3) == b"two"
    await theirs.send_all(b"three")
    assert await read(second, 5) == b"three"


async def test_a_listener_is_closed(world: World) -> None:
    """Whoever accepts hears that we closed; whoever was not accepted yet hears a reset; who was, nothing."""
    listening = await world.listen()
    listener = listening.listeners[0]
    accepted = await world.dial(listening.port)
    theirs = await world.accept(listening)

    async def accept() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        await quiet()
        await listener.aclose()
    await accept()
    await theirs.send_all(b"still here")
    assert await read(accepted, 10) == b"still here"

    listening = await world.listen()
    waiting = await world.dial(listening.port)
    await quiet()
    await listening.listeners[0].aclose()
    with pytest.raises(trio.BrokenResourceError, match="Connection reset"):
        await waiting.receive_some()


async def test_one_accepts(world: World) -> None:
    """A second one is a bug of ours."""
    listener = (await world.listen()).listeners[0]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.accept)
        await quiet()
        with pytest.raises(trio.BusyResourceError):
            await listener.accept()
        nursery.cancel_scope.cancel()


async def test_a_cancelled_accept_takes_nothing(world: World) -> None:
    """The next one has the connection."""
    listening = await world.listen()
    with trio.CancelScope() as scope:
        scope.cancel()
        await world.accept(listening)
    ours = await world.dial(listening.port)
    await quiet()
    with trio.CancelScope() as scope:
        scope.cancel()
        await world.accept(listening)
    theirs = await world.accept(listening)
    await ours.send_all(b"here")
    assert await read(theirs, 4) == b"here"


async def test_a_port_is_taken(world: World) -> None:
    """By one at a time."""
    listening = await world.listen()
    with pytest.raises(OSError, match="in use"):
        await world.listen(listening.port)
    await listening.listeners[0].aclose()
    await (await world.listen(listening.port)).listeners[0].aclose()


async def test_serving(world: World) -> None:
    """Trio's server runs on it."""
    listening = await world.listen()

    async def echo(stream: Any) -> None:
        async for chunk in stream:
            await stream.send_all(chunk)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, listening.listeners)
        for number in range(20):
            stream = await world.dial(listening.port)
            await stream.send_all(b"%d" % number)
            await stream.send_eof()
            assert await read_all(stream) == b"%d" % number
            await stream.aclose()
        nursery.cancel_scope.cancel()
    assert await refused(world, listening.port)
