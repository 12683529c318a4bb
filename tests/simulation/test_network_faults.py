"""What sockets cannot be told to do, on the mock clock: what goes wrong between two places, and what each end hears.

Half of it is about who is not told.
"""

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
import trio
import trio.testing

from tests.simulation.lines import HOUR_S, PORT, Clock, Heard, Lines, error_of, hears_nothing, idle
from tests.simulation.network import DIAL_AGAIN_S, DIAL_S, UNACKNOWLEDGED_S, WINDOW_BYTES, Network, Place, Route
from tests.simulation.streams import Stream

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
