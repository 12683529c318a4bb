"""Addresses × behaviours, storms and age, on a mock clock: what connections to the processor prove, and how long they
are used.
"""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from gateway.http.hosts import SPARE_S
from gateway.network.names import Answer, Network
from gateway.processor.asking import AWAY_AFTER
from gateway.processor.client import Client
from gateway.processor.pool import AWAY_PAUSE_MAX_S, CONNECTING_MAX, IDLE_S
from tests.fakes.processor import PATIENCE_S, Asking, Peer, Processor, Script, answering, asking, settings

Clock = trio.testing.MockClock


async def silent(peer: Peer) -> None:
    """Takes every question and says nothing."""
    while True:
        await peer.request()


async def hangs_up(peer: Peer) -> None:
    """Takes a question and hangs up."""
    await peer.request()
    await peer.close()


async def half(peer: Peer) -> None:
    """Hangs up in the middle of the answer."""
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{")
    await peer.close()


async def hangs_up_at_once(peer: Peer) -> None:
    """Accepts, and that is all."""
    await peer.close()


def saying(status: int) -> Script:
    """A host that says this to all, and keeps its connections."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.respond(status, b"")

    return script


BAD: dict[str, Script | None] = {
    "refuses": None,
    "silent": silent,
    "hangs up": hangs_up,
    "hangs up at once": hangs_up_at_once,
    "half": half,
    "502": saying(502),
    "503": saying(503),
    "504": saying(504),
}


@asynccontextmanager
async def hosts(*scripts: Script | None, **changes: object) -> AsyncIterator[tuple[Asking, list[Processor]]]:
    """A client of one name with so many addresses; None: nobody listens there."""
    async with trio.open_nursery() as nursery:
        played = [Processor(nursery, script or answering) for script in scripts]
        for host, script in zip(played, scripts, strict=True):
            host.away = script is None

        async def connect(address: str, port: int) -> trio.abc.Stream:
            return await played[int(address)].connect(address, port)

        def lookup(_name: str, answered: Callable[[Answer], None]) -> None:
            answered(tuple(str(number) for number in range(len(played))))

        client = Client(settings(**changes), network=Network(lookup, connect), luck=lambda: 1.0)  # type: ignore[arg-type]
        it = Asking(client, played[0])
        await nursery.start(client.run, it.take)
        with trio.fail_after(PATIENCE_S):
            yield it, played
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("bad", [*([one] for one in BAD), *map(list, itertools.permutations(BAD, 2))], ids="+".join)
async def test_the_next_address_has_its_turn(bad: list[str], autojump_clock: Clock) -> None:
    """Before the good address stand one or two others, of any kind. At most the first question to each is lost, where
    it is silent; all that follow are answered, each asked once.
    """
    async with hosts(*(BAD[name] for name in bad), answering) as (it, played):
        it.ask(1)
        await trio.sleep(30)
        it.ask(2)
        await trio.sleep(30)
        assert len(it.answers) >= 2 - bad.count("silent")
        before = len(it.answers)
        it.ask(*range(10, 50))
        await it.answered(before + 40)
        assert len(played[-1].dials) <= 40
        assert it.client.health() == ""


async def test_an_address_that_was_good_and_is_silent_now_gives_way(autojump_clock: Clock) -> None:
    """Also when its connections stand: those that are idle are not asked any more."""
    well = True

    async def once(peer: Peer) -> None:
        while True:
            await peer.request()
            await trio.sleep(0.1)
            if well:
                await peer.respond()

    async with hosts(once, answering) as (it, _):
        it.ask(*range(20))
        await it.answered(20)
        well = False
        it.ask(100, 101)
        await trio.sleep(5.5)
        assert len(it.answers) == 20
        it.ask(*range(200, 240))
        await it.answered(60)


async def test_one_503_costs_one_connection(autojump_clock: Clock) -> None:
    """A host that is overloaded for a moment is no host that has gone: its other connections stay."""
    asked = 0

    async def script(peer: Peer) -> None:
        nonlocal asked
        while True:
            await peer.request()
            asked += 1
            status = 503 if asked == 65 else 200
            await trio.sleep(0.1)
            await peer.respond(status)

    async with asking(script) as world:
        world.ask(*range(64))
        await world.answered(64)
        dials = len(world.processor.dials)
        world.ask(*range(100, 164))
        await world.answered(128)
        assert len(world.processor.dials) <= dials + 1
        assert world.counts == {"answered": 128, "again": 1}


async def test_a_host_that_says_503_to_all_is_not_stormed(autojump_clock: Clock) -> None:
    """Each 503 costs a connection, and the breaker has one question at a time tried: so many are dialled, however many
    payments come.
    """
    busy = False

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await trio.sleep(0.1)
            await peer.respond(503 if busy else 200)

    async with asking(script) as world:
        world.ask(*range(64))
        await world.answered(64)
        busy = True
        dials = len(world.processor.dials)
        for batch in range(100):
            world.ask(*range(1000 + batch * 10, 1010 + batch * 10))
            await trio.sleep(0.1)
        assert len(world.processor.dials) - dials <= AWAY_AFTER + CONNECTING_MAX + 10 / (AWAY_PAUSE_MAX_S / 2)


async def test_a_host_that_turns_a_part_away_is_not_stormed(autojump_clock: Clock) -> None:
    """One question in ten gets a 503, which opens no breaker: ten connections a second are made for it at the most, not
    one for each.
    """
    asked = 0

    async def script(peer: Peer) -> None:
        nonlocal asked
        while True:
            await peer.request()
            asked += 1
            status = 200 if asked % 10 else 503
            await trio.sleep(0.02)
            await peer.respond(status)

    async with asking(script) as world:
        for batch in range(100):
            world.ask(*range(batch * 100, batch * 100 + 100))
            await trio.sleep(0.1)
        assert world.counts["again"] > 1000
        assert world.counts["answered"] >= 9_900
        assert len(world.processor.dials) <= 128 + 10 / SPARE_S


async def test_connections_have_a_greatest_age(autojump_clock: Clock) -> None:
    """One that is old is closed once it has its answer, never in the middle; another takes its place, and nobody waits
    in vain.
    """
    closed: list[float] = []

    async def script(peer: Peer) -> None:
        try:
            while True:
                await peer.request()
                await trio.sleep(3)
                await peer.respond()
        finally:
            closed.append(trio.current_time())

    async with asking(script, connection_age_max_s=100.0) as world:  # luck: a quarter less
        for number in range(40):
            world.ask(number)
            await world.answered(number + 1)
        assert closed == [75]
        assert len(world.processor.dials) == 2
        assert world.counts == {"answered": 40}


async def test_connections_that_were_made_together_do_not_go_together(autojump_clock: Clock) -> None:
    """Their greatest ages are spread over the last quarter."""
    closed: list[float] = []

    async def script(peer: Peer) -> None:
        try:
            while True:
                await peer.request()
                await trio.sleep(0.5)
                await peer.respond()
        finally:
            closed.append(trio.current_time())

    lucks = itertools.cycle([0.0, 0.25, 0.5, 0.75, 1.0])
    async with asking(script, luck=lambda: next(lucks), connection_age_max_s=100.0, connections_max=5) as world:
        while trio.current_time() < 110:
            answers = len(world.answers)
            world.ask(*range(5))
            await world.answered(answers + 5)
        assert [round(at_s) for at_s in sorted(closed)[:5]] == pytest.approx([75, 81, 88, 94, 100], abs=1)
        assert set(world.counts) == {"answered"}


async def test_a_connection_that_is_idle_and_old_is_not_asked(autojump_clock: Clock) -> None:
    """It got old while nobody asked."""
    async with asking(answering, connection_age_max_s=IDLE_S / 2) as world:
        world.ask(1)
        await world.answered(1)
        await trio.sleep(IDLE_S / 2)
        world.ask(2)
        await world.answered(2)
        assert len(world.processor.dials) == 2
