"""A process that ends on the simulated network, what its peers hear of that, and the gateway's own parts on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from gateway import config
from gateway.clock import system_clock
from gateway.hub.budget import Budget
from gateway.hub.exchanges import MessageIds
from gateway.hub.link import Link
from gateway.hub.session import Session
from gateway.payments.work import Answer, Ask
from gateway.processor.client import Client
from gateway.processor.door import Door
from gateway.wire.frame import frame
from tests.fakes import door as doors
from tests.fakes import processor as processors
from tests.fakes.network import nameless
from tests.hub.conftest import Engine, Hub, site
from tests.simulation.lines import HOUR_S, PORT, Clock, Heard, Lines, error_of, hears_nothing, never
from tests.simulation.network import UNACKNOWLEDGED_S, WINDOW_BYTES

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
        1, site("a"), ours, Session(pair.session, MessageIds()), engine, pair=pair, clock=system_clock, came_s=float,
        budget=Budget(config.Unproved()), is_needed=lambda: False,
    )  # fmt: skip
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
