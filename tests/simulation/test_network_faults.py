"""What sockets cannot be told to do, on the mock clock: what goes wrong between two places, and what each end hears.

Half of it is about who is not told.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from gateway import config
from gateway.clock import system_clock
from gateway.hub.exchanges import MessageIds
from gateway.hub.link import Link
from gateway.hub.session import Session
from gateway.network.names import nameless
from gateway.payments.work import Answer, Ask
from gateway.processor.client import Client
from gateway.processor.door import Door
from gateway.wire.frame import frame
from tests.fakes import door as doors
from tests.fakes import processor as processors
from tests.hub.conftest import Engine, Hub, site
from tests.simulation.network import DIAL_AGAIN_S, DIAL_S, UNACKNOWLEDGED_S, WINDOW_BYTES, Network, Place, Route
from tests.simulation.streams import Stream

Clock = trio.testing.MockClock
HOUR_S = 3600.0
PORT = 4711


class Lines:
    """Places a and b, a second apart, a listener at b, and an hour of patience."""

    def __init__(self) -> None:
        self.network = Network(random.Random(1))  # noqa: S311 - a simulation
        self.a, self.b = self.network.place("a"), self.network.place("b")
        self.route = self.network.route(self.a, self.b)
        self.route.latency_s = (1.0, 1.0)
        self.listener: Any = None

    async def open(self) -> None:
        """Listen at b."""
        self.listener = (await self.b.listen("", PORT, 1)).listeners[0]

    async def connected(self) -> tuple[Stream, Stream]:
        """The ends at a and b of a new connection."""
        ours = await self.a.dial(PORT)
        return ours, await self.listener.accept()


@pytest.fixture
async def lines() -> Lines:
    """Just these."""
    made = Lines()
    await made.open()
    return made


class Heard:
    """What a task hears at one end: pieces, the end, an error, each with its time."""

    def __init__(self, nursery: trio.Nursery, stream: Stream) -> None:
        self.data = b""
        self.end = ""
        self.at_s = 0.0
        self._stream = stream
        nursery.start_soon(self._listen)

    async def _listen(self) -> None:
        try:
            async for chunk in self._stream:
                self.data += chunk
                self.at_s = trio.current_time()
            self.end = "closed"
        except trio.BrokenResourceError as error:
            self.end = str(error.__cause__)
        self.at_s = trio.current_time()


async def hears_nothing(use: Callable[[], Awaitable[object]]) -> bool:
    """Whether it takes longer than an hour."""
    with trio.move_on_after(HOUR_S) as scope:
        await use()
    return scope.cancelled_caught


async def never(use: Callable[[], Awaitable[object]]) -> None:
    """It must not come to an end."""
    await use()
    pytest.fail("it came to an end")


async def error_of(use: Callable[[], Awaitable[object]]) -> str:
    """What breaks it."""
    with pytest.raises((trio.BrokenResourceError, OSError)) as raised:
        await use()
    return str(raised.value)


async def idle() -> None:
    """Let everybody do what can be done without time passing."""
    await trio.testing.wait_all_tasks_blocked()


# --- time and pieces


async def test_what_is_written_arrives_later(autojump_clock: Clock, lines: Lines) -> None:
    """Writing does not wait for it. A dial takes a round trip; who accepts knows of it half a round later."""
    ours = await lines.a.dial(PORT)
    assert trio.current_time() == pytest.approx(2)
    theirs = await lines.listener.accept()
    assert trio.current_time() == pytest.approx(3)
    await ours.send_all(b"word")
    assert trio.current_time() == pytest.approx(3)
    assert await theirs.receive_some() == b"word"
    assert trio.current_time() == pytest.approx(4)
    await ours.aclose()
    assert await theirs.receive_some() == b""
    assert trio.current_time() == pytest.approx(5)


async def test_nothing_overtakes(autojump_clock: Clock, lines: Lines) -> None:
    """However long each piece would take; and pieces are not what was written."""
    lines.route.latency_s = (0.0, 5.0)
    ours, theirs = await lines.connected()
    data = random.Random(3).randbytes(5000)  # noqa: S311 - content
    pieces: list[bytes] = []

    async def write() -> None:
        for at in range(0, len(data), 10):
            await ours.send_all(data[at : at + 10])
            await trio.sleep(0.5)
        await ours.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        pieces.extend([bytes(chunk) async for chunk in theirs])
    assert b"".join(pieces) == data
    sizes = {len(piece) for piece in pieces}
    assert min(sizes) < 10 < max(sizes)


async def test_nothing_runs_in_between(autojump_clock: Clock, lines: Lines) -> None:
    """No task is started for a connection or a piece, and a reader is woken once for each that arrives by itself."""
    ours, theirs = await lines.connected()
    before = trio.lowlevel.current_statistics().tasks_living
    woken = 0

    class Count(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            nonlocal woken
            woken += task is reader

    reader = trio.lowlevel.current_task()
    for _ in range(100):
        await ours.send_all(b"1234567890")
    counting = Count()
    trio.lowlevel.add_instrument(counting)
    size = 0
    while size < 1000:
        size += len(await theirs.receive_some())
    trio.lowlevel.remove_instrument(counting)
    assert woken < 10
    assert trio.lowlevel.current_statistics().tasks_living == before


class Story:
    """A small world full of faults; what happens in it, in its order."""

    def __init__(self, seed: int) -> None:
        self.happened: list[tuple[float, str]] = []
        self._luck = random.Random(seed)  # noqa: S311 - a simulation
        self._network = Network(random.Random(seed))  # noqa: S311 - a simulation
        self._places = [self._network.place(name) for name in "abcd"]

    async def run(self) -> None:
        """Everybody talks to everybody, and things break."""
        async with trio.open_nursery() as nursery:
            for number, place in enumerate(self._places):
                listening = await place.listen("", PORT + number, 3)
                nursery.start_soon(trio.serve_listeners, self._echo, listening.listeners)
                for other in range(len(self._places)):
                    nursery.start_soon(self._talk, place, PORT + other)
            await self._break_things()
            nursery.cancel_scope.cancel()

    def _say(self, text: str) -> None:
        self.happened.append((trio.current_time(), text))

    async def _echo(self, stream: Stream) -> None:
        try:
            async for chunk in stream:
                await stream.send_all(chunk)
        except trio.BrokenResourceError as error:
            self._say(f"echo {error}")

    async def _talk(self, place: Place, port: int) -> None:
        while True:
            try:
                async with await place.dial(port) as stream:
                    for _ in range(self._luck.randint(1, 20)):
                        await stream.send_all(bytes(self._luck.randint(1, 100)))
                        self._say(f"{place.name} {port} {len(await stream.receive_some())}")
            except (OSError, trio.BrokenResourceError) as error:
                self._say(f"{place.name} {port} {error}")
            await trio.sleep(self._luck.random())

    async def _break_things(self) -> None:
        luck = self._luck
        faults: list[Callable[[Route], object]] = [
            Route.cut,
            Route.stall,
            Route.go_on,
            lambda route: route.cut(rst=False),
            lambda route: route.half_open(luck.choice(self._places)),
        ]
        for _ in range(40):
            await trio.sleep(luck.random())
            luck.choice(faults)(luck.choice(self._network.routes()))
            if luck.random() < 0.1:
                luck.choice(self._places).exit()


def test_a_seed_is_a_story(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed and the same scheduling make everything happen again, at the same times; another seed does not."""
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)

    def again(seed: int) -> list[tuple[float, str]]:
        monkeypatch.setattr("trio._core._run._r", random.Random(seed))  # noqa: S311 - a schedule
        story = Story(seed)
        trio.run(story.run, clock=Clock(autojump_threshold=0))
        return story.happened

    first = again(1)
    assert len(first) > 1000
    assert all(before[0] <= after[0] for before, after in pairwise(first))
    assert again(1) == first
    assert again(2) != first


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_goes_wrong(autojump_clock: Clock, seed: int) -> None:
    """What is read is a first part of what was written, and all of it where the end was heard without an error."""
    luck = random.Random(seed)  # noqa: S311 - a simulation
    network = Network(random.Random(seed), window_bytes=2000)  # noqa: S311 - a simulation
    a, b = network.place("a"), network.place("b")
    route = network.route(a, b)
    listener = (await b.listen("", PORT, 30)).listeners[0]
    data = random.Random(7).randbytes(20_000)  # noqa: S311 - content

    async def write(stream: Stream, sizes: random.Random) -> None:
        at = 0
        try:
            while at < len(data):
                size = sizes.choice((1, 30, 400, 3000))
                with trio.move_on_after(sizes.choice((0.001, 5.0))):
                    await stream.send_all(data[at : at + size])
                    at += size
                    continue
                return  # nobody knows how much was taken
            await stream.aclose()
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        heard = []
        for number in range(20):
            ours = await a.dial(PORT)
            heard.append(Heard(nursery, await listener.accept()))
            nursery.start_soon(write, ours, random.Random(number))  # noqa: S311 - sizes
        for fault in luck.choices((Route.stall, Route.go_on, Route.cut, "half-open"), (5, 8, 0.2, 0.5), k=30):
            await trio.sleep(luck.random() * 4)
            if callable(fault):
                fault(route)
            else:
                route.half_open(luck.choice((a, b)))
        route.go_on()
        await trio.sleep(HOUR_S)
        nursery.cancel_scope.cancel()
    assert all(data.startswith(one.data) for one in heard)
    assert all(one.data == data for one in heard if one.end == "closed")


# --- stalls


async def test_a_stall_holds_everything_up(autojump_clock: Clock, lines: Lines) -> None:
    """What has arrived can be read, what is on its way waits, in its order; then it comes, none of it lost."""
    ours, theirs = await lines.connected()
    await ours.send_all(b"there")
    await trio.sleep(1)
    await ours.send_all(b" and")
    lines.route.stall()
    await ours.send_all(b" here")
    async with trio.open_nursery() as nursery:
        heard = Heard(nursery, theirs)
        await trio.sleep(9)
        assert heard.data == b"there"
        lines.route.go_on()
        await trio.sleep(1.5)
        assert heard.data == b"there and here"
        nursery.cancel_scope.cancel()


async def test_a_stall_is_felt_by_who_writes(autojump_clock: Clock, lines: Lines) -> None:
    """The window fills, and what the other end reads meanwhile is known only afterwards."""
    ours, theirs = await lines.connected()
    await ours.send_all(bytes(WINDOW_BYTES))
    await trio.sleep(1)
    lines.route.stall()
    async with trio.open_nursery() as nursery:
        heard = Heard(nursery, theirs)
        with trio.move_on_after(5) as scope:
            await ours.send_all(b"x")
        assert scope.cancelled_caught
        assert len(heard.data) == WINDOW_BYTES
        lines.route.go_on()
        with trio.fail_after(0.1):
            await ours.send_all(b"x")
        nursery.cancel_scope.cancel()


async def test_too_long_a_stall(autojump_clock: Clock, lines: Lines) -> None:
    """Who wrote gives up, reading or not; who only reads hears of nothing, until it writes when the stall is over."""
    ours, theirs = await lines.connected()
    lines.route.stall()
    await trio.sleep(HOUR_S)
    begun_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        heard, theirs_heard = Heard(nursery, ours), Heard(nursery, theirs)
        await ours.send_all(b"x")
        await trio.sleep(HOUR_S)
        assert "timed out" in heard.end
        assert heard.at_s == pytest.approx(begun_s + UNACKNOWLEDGED_S)
        lines.route.go_on()
        await trio.sleep(HOUR_S)
        assert (theirs_heard.data, theirs_heard.end) == (b"", "")
        await theirs.send_all(b"x")
        await trio.sleep(2.5)
        assert "reset" in theirs_heard.end


@pytest.mark.parametrize("begin", [Route.stall, lambda route: route.cut(rst=False)])
async def test_what_was_on_its_way_when_it_began(
    autojump_clock: Clock, lines: Lines, begin: Callable[[Route], None]
) -> None:
    """It is not acknowledged: who wrote it and waits already gives up as if it had been written later."""
    ours, _theirs = await lines.connected()
    async with trio.open_nursery() as nursery:
        heard = Heard(nursery, ours)
        await idle()
        begun_s = trio.current_time()
        await ours.send_all(b"x")
        await trio.sleep(0.5)
        begin(lines.route)
    assert "timed out" in heard.end
    assert heard.at_s == pytest.approx(begun_s + UNACKNOWLEDGED_S)


async def test_dialling_during_a_stall(autojump_clock: Clock, lines: Lines) -> None:
    """It takes until the stall is over."""
    lines.route.stall()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lines.a.dial, PORT)
        await trio.sleep(20)
        assert lines.route.open == 0
        lines.route.go_on()
        await idle()
        assert lines.route.open == 1


# --- cuts


async def test_a_cut(autojump_clock: Clock, lines: Lines) -> None:
    """Both ends hear of it at once, what was on its way is lost, what had arrived is not; the next dial is fine."""
    ours, theirs = await lines.connected()
    await ours.send_all(b"arrived")
    await trio.sleep(1)
    await ours.send_all(b"lost")
    async with trio.open_nursery() as nursery:
        heard = Heard(nursery, ours)
        await idle()
        lines.route.cut()
        cut_s = trio.current_time()
        await idle()
        assert "reset" in heard.end
        theirs_heard = Heard(nursery, theirs)
    assert theirs_heard.data == b"arrived"
    assert "reset" in theirs_heard.end
    assert theirs_heard.at_s == cut_s
    ours, theirs = await lines.connected()
    await ours.send_all(b"again")
    assert await theirs.receive_some() in {b"again"[:size] for size in range(1, 6)}


async def test_a_cut_wakes_a_writer(autojump_clock: Clock, lines: Lines) -> None:
    """Also one that waits for room."""
    ours, _ = await lines.connected()
    async with trio.open_nursery() as nursery:

        async def write() -> None:
            assert "reset" in await error_of(lambda: ours.send_all(bytes(WINDOW_BYTES + 1)))

        nursery.start_soon(write)
        await trio.sleep(100)
        lines.route.cut()


async def test_a_cut_that_nobody_is_told_of(autojump_clock: Clock, lines: Lines) -> None:
    """Who only reads waits for ever. Who writes finds out after a while, and so does whoever reads beside it."""
    ours, theirs = await lines.connected()
    await ours.send_all(b"lost")
    lines.route.cut(rst=False)
    begun_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        heard, theirs_heard = Heard(nursery, ours), Heard(nursery, theirs)
        await trio.sleep(HOUR_S)
        assert (heard.end, heard.at_s) == ("[Errno 110] Connection timed out", begun_s + UNACKNOWLEDGED_S)
        assert (theirs_heard.data, theirs_heard.end) == (b"", "")
        begun_s = trio.current_time()
        await theirs.send_all(b"x")
        await trio.sleep(HOUR_S)
        assert (theirs_heard.end, theirs_heard.at_s) == (heard.end, begun_s + UNACKNOWLEDGED_S)


# --- half of a connection


async def test_one_direction_is_lost(autojump_clock: Clock, lines: Lines) -> None:
    """Who writes there fills the window and breaks after a while. What is said the other way arrives, but who says it
    hears of no acknowledgement: it breaks, too. New connections are fine.
    """
    ours, theirs = await lines.connected()
    lines.route.half_open(towards=lines.b)
    begun_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        heard, theirs_heard = Heard(nursery, ours), Heard(nursery, theirs)
        await ours.send_all(bytes(WINDOW_BYTES))
        await trio.sleep(4)
        await theirs.send_all(b"arrives")
        said = await error_of(lambda: ours.send_all(b"x"))
        assert trio.current_time() == pytest.approx(begun_s + UNACKNOWLEDGED_S)
        await trio.sleep(HOUR_S)
        assert heard.data == b"arrives"
        assert ["timed out" in said, "timed out" in heard.end].count(True) == 1
        assert theirs_heard.data == b""
        assert "timed out" in theirs_heard.end
        assert theirs_heard.at_s == pytest.approx(begun_s + 4 + UNACKNOWLEDGED_S)
    ours, theirs = await lines.connected()
    await ours.send_all(b"n")
    assert await theirs.receive_some() == b"n"


async def test_acknowledgements_are_lost(autojump_clock: Clock, lines: Lines) -> None:
    """What was on its way arrives and is read, and who wrote it hears of neither: no room is made, and it breaks."""
    ours, theirs = await lines.connected()
    async with trio.open_nursery() as nursery:
        heard = Heard(nursery, theirs)
        begun_s = trio.current_time()
        await ours.send_all(bytes(WINDOW_BYTES - 1))
        lines.route.half_open(towards=lines.a)
        await trio.sleep(5)
        await ours.send_all(b"1")
        assert "timed out" in await error_of(lambda: ours.send_all(b"2"))
        assert trio.current_time() == pytest.approx(begun_s + UNACKNOWLEDGED_S)
        assert (len(heard.data), heard.end) == (WINDOW_BYTES, "")
        nursery.cancel_scope.cancel()


async def test_closing_before_it_arrives(autojump_clock: Clock, lines: Lines) -> None:
    """What reaches an end that was closed meanwhile is answered with a reset, when it gets there."""
    ours, theirs = await lines.connected()
    await ours.send_all(b"too late")
    await theirs.aclose()
    await trio.sleep(1.5)
    await ours.send_all(b"x")
    await trio.sleep(1)
    assert "Broken pipe" in await error_of(lambda: ours.send_all(b"x"))


async def test_closing_into_the_void(autojump_clock: Clock, lines: Lines) -> None:
    """The end is not heard either."""
    ours, theirs = await lines.connected()
    lines.route.half_open(towards=lines.b)
    await ours.aclose()
    assert await hears_nothing(theirs.receive_some)
    assert lines.route.open == 1
    await theirs.aclose()
    assert lines.route.open == 0


# --- dials


async def test_dials_are_refused(autojump_clock: Clock, lines: Lines) -> None:
    """After a round trip, until they are not."""
    lines.route.refuse = True
    assert "refused" in await error_of(lambda: lines.a.dial(PORT))
    assert trio.current_time() == pytest.approx(2)
    lines.route.refuse = False
    await lines.connected()


async def test_dials_are_not_heard(autojump_clock: Clock, lines: Lines) -> None:
    """They give up as late as the system does; a connection that stands is not touched."""
    ours, theirs = await lines.connected()
    begun_s = trio.current_time()
    lines.route.silent = True
    assert "timed out" in await error_of(lambda: lines.a.dial(PORT))
    assert trio.current_time() == pytest.approx(begun_s + DIAL_S)
    await ours.send_all(b"w")
    assert await theirs.receive_some() == b"w"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lines.a.dial, PORT)
        await trio.sleep(DIAL_S / 2)
        lines.route.silent = False


async def test_a_cancelled_dial_leaves_nothing(autojump_clock: Clock, lines: Lines) -> None:
    """Neither before nor after the first half of its way."""
    for after_s in (0.0, 0.5, 1.5):
        with trio.move_on_after(after_s):
            await lines.a.dial(PORT)
    await trio.sleep(10)
    assert lines.route.open == 0
    assert await hears_nothing(lines.listener.accept)


async def test_nobody_accepts(autojump_clock: Clock, lines: Lines) -> None:
    """Beyond the backlog (and one more: Linux) a dial tries again and again, until somebody accepts."""
    for _ in range(2):
        await lines.a.dial(PORT)
    assert "timed out" in await error_of(lambda: lines.a.dial(PORT))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lines.a.dial, PORT)
        await trio.sleep(60)
        assert lines.route.open == 2
        await lines.listener.accept()
        await trio.sleep(DIAL_AGAIN_S + 2)
        assert lines.route.open == 3


async def test_a_port_is_one_in_the_network(autojump_clock: Clock, lines: Lines) -> None:
    """Whoever dials names no host: nobody else may listen there meanwhile."""
    with pytest.raises(OSError, match="in use"):
        await lines.a.listen("", PORT, 1)
    ports = {(await place.listen("", 0, 1)).port for place in (lines.a, lines.b, lines.a)}
    assert len(ports) == 3
    await lines.listener.aclose()
    await lines.a.listen("", PORT, 1)


# --- the end of a process


async def test_power_is_lost(autojump_clock: Clock, lines: Lines) -> None:
    """The other ends hear a reset; what was on its way arrives, what is written by who does not know yet does not."""
    ours, theirs = await lines.connected()
    async with trio.open_nursery() as nursery:
        dead, heard = Heard(nursery, ours), Heard(nursery, theirs)
        await ours.send_all(b"on its way")
        lines.a.fail()
        await ours.send_all(b", too late")
        await ours.send_eof()
        await trio.sleep(HOUR_S)
        assert heard.data == b"on its way"
        assert "reset" in heard.end
        assert (dead.data, dead.end) == (b"", "")
        nursery.cancel_scope.cancel()
    assert lines.route.open == 0


async def test_power_is_lost_and_nobody_is_told(autojump_clock: Clock, lines: Lines) -> None:
    """The other ends hear nothing; who writes finds out after a while. What was on its way is lost."""
    ours, theirs = await lines.connected()
    await ours.send_all(b"on its way")
    lines.a.fail(half_open=True)
    assert await hears_nothing(theirs.receive_some)
    begun_s = trio.current_time()
    await theirs.send_all(b"x")
    assert "timed out" in await error_of(theirs.receive_some)
    assert trio.current_time() == pytest.approx(begun_s + UNACKNOWLEDGED_S)
    assert lines.route.open == 0


async def test_who_reads_already_when_what_is_written_is_lost_finds_out_too(
    autojump_clock: Clock, lines: Lines, nursery: trio.Nursery
) -> None:
    """A task that waited to read before power was lost is woken when the writer beside it is given up."""
    _, theirs = await lines.connected()
    ends: list[str] = []

    async def read() -> None:
        ends.append(await error_of(theirs.receive_some))

    nursery.start_soon(read)
    await trio.testing.wait_all_tasks_blocked()
    lines.a.fail(half_open=True)
    await trio.sleep(1)
    await theirs.send_all(b"x")
    await trio.sleep(UNACKNOWLEDGED_S + 1)
    assert "timed out" in ends[0]


async def test_the_dead_hear_nothing(autojump_clock: Clock, lines: Lines) -> None:
    """Tasks of a process without power wait for ever, whatever the others do; its ports are refused, then free."""
    ours, theirs = await lines.connected()
    await ours.send_all(b"arrived")
    await trio.sleep(1)
    lines.b.fail()
    assert await hears_nothing(lines.listener.accept)
    for _ in range(2):
        assert await hears_nothing(theirs.receive_some)
        assert await hears_nothing(lambda: theirs.send_all(bytes(WINDOW_BYTES + 1)))
    await ours.aclose()
    await theirs.aclose()
    assert "refused" in await error_of(lambda: lines.a.dial(PORT))
    await lines.open()
    await lines.connected()


async def test_a_process_is_gone(autojump_clock: Clock, lines: Lines) -> None:
    """The kernel closes what it had: the other ends hear all it wrote and the end, or a reset if it left something
    unread or not accepted. Its tasks hear nothing. Another process takes its ports.
    """
    ours, theirs = await lines.connected()
    unread_ours, unread_theirs = await lines.connected()
    await unread_ours.send_all(b"unread")
    waiting = await lines.a.dial(PORT)
    await trio.sleep(1)
    async with trio.open_nursery() as nursery:
        heard, dead = Heard(nursery, ours), Heard(nursery, theirs)
        reset, not_accepted = Heard(nursery, unread_ours), Heard(nursery, waiting)
        await theirs.send_all(b"last words")
        lines.b.exit()
        await theirs.send_all(b"from the grave")
        nursery.start_soon(never, unread_theirs.receive_some)
        await trio.sleep(10)
        assert (heard.data, heard.end) == (b"last words", "closed")
        assert "reset" in reset.end
        assert "reset" in not_accepted.end
        assert (dead.data, dead.end) == (b"", "")
        nursery.cancel_scope.cancel()
    await lines.open()
    await lines.connected()


async def test_a_process_ends_while_it_dials(autojump_clock: Clock, lines: Lines) -> None:
    """The dial leads to nothing, however late its task is cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lines.a.dial, PORT)
        await trio.sleep(1.5)
        lines.a.exit()
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert lines.route.open == 0
    await lines.connected()


async def test_what_is_over_is_forgotten(autojump_clock: Clock, lines: Lines) -> None:
    """A world that lives for long does not grow."""
    for _ in range(100):
        ours, theirs = await lines.connected()
        await ours.aclose()
        await theirs.aclose()
    assert lines.route.open == 0
    assert not lines.route.__dict__["_places"]


# --- the gateway on it


async def test_a_hub_link(autojump_clock: Clock, lines: Lines) -> None:
    """It signs on, payments go both ways, and a cut ends it with its reason."""
    lines.route.latency_s = (0.001, 0.1)
    ours, theirs = await lines.connected()
    pair = config.Pair(group="sip")
    engine, hub = Engine(), Hub(theirs, pair.wire)
    link = Link(
        1, site("a"), ours, Session(pair.session, MessageIds()), engine, pair=pair, clock=system_clock, came_s=float
    )
    bodies = [b"9200" + bytes([65 + number]) * number * 7 for number in range(30)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.run)
        nursery.start_soon(link.run)
        await hub.until(lambda hub: len(hub.requests) == 2)
        for body in bodies:
            await hub.send(frame(pair.wire, body))
            assert link.send(body, body[4:5])
        link.flush()
        await hub.until(lambda hub: len(hub.bodies) == len(bodies))
        await trio.sleep(1)
        lines.route.cut()
        await engine.until("down")
    assert engine.bodies == bodies
    assert hub.bodies == bodies
    assert "Connection reset" in link.reason


@asynccontextmanager
async def asking(lines: Lines) -> AsyncIterator[tuple[Client, list[Answer]]]:
    """A client at a, a processor at b that accepts everything."""
    answers: list[Answer] = []

    async def connect(_host: str, port: int) -> trio.abc.Stream:
        return await lines.a.dial(port)

    async with trio.open_nursery() as nursery:
        client = Client(processors.settings(f"http://processor:{PORT}"), network=nameless(connect), luck=lambda: 1.0)
        play = processors.Processor(nursery, processors.answering).play
        nursery.start_soon(trio.serve_listeners, play, [lines.listener])
        await nursery.start(client.run, answers.extend)
        yield client, answers
        nursery.cancel_scope.cancel()


async def test_the_processors_client(autojump_clock: Clock, lines: Lines) -> None:
    """It asks and gets its answers, before and after a cut in the middle of them."""
    lines.route.latency_s = (0.001, 0.01)
    async with asking(lines) as (client, answers):
        for number in range(50):
            client.ask([Ask(*processors.payment(number), trio.current_time() + 5, number)])
            await trio.sleep(0.01)
            if number == 25:
                lines.route.cut()
        await trio.sleep(5)
    assert sorted(answer.context for answer in answers) == list(range(50))


async def test_the_door(autojump_clock: Clock, lines: Lines) -> None:
    """It listens here, and whoever submits gets a response; when it goes, its port is refused."""
    lines.route.latency_s = (0.001, 0.01)
    engine = doors.Engine()
    served = Door(
        doors.settings(), engine, processors.CODEC, "sip", lambda: doors.READY,
        came_s=doors.fresh, listen=lines.b.listen,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        port = await nursery.start(served.serve)
        client = doors.Client(await lines.a.dial(port))
        for number in range(1, 20):
            response = await client.ask(doors.post(key=f"key-{number}"))
            assert response.status == 202
        await client.hang_up()
        await trio.sleep(1)
        assert served.statistics()["connections"] == 0
        nursery.cancel_scope.cancel()
    assert len(engine.submissions) == 19
    assert "refused" in await error_of(lambda: lines.a.dial(port))
