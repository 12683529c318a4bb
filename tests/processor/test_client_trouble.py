"""A processor that is away, silent or saying not now is asked again in time, and a pool that is used up says so."""

from itertools import pairwise

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway import metrics
from gateway.payments.work import Ask
from gateway.processor.asking import AWAY_AFTER
from gateway.processor.client import Client
from gateway.processor.pool import AWAY_PAUSE_MAX_S, IDLE_S
from tests.conftest import Logged
from tests.fakes.network import nameless
from tests.fakes.processor import ACCEPTED, Peer, asking, payment, settings

# --- asking again


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_nobody_behind_the_load_balancer(status: int, autojump_clock: MockClock) -> None:
    """A status that says `not now` is asked about again, with growing pauses."""
    times = []

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            times.append(round(trio.current_time(), 2))
            if len(times) < 4:
                await peer.respond(status, b"")
            else:
                await peer.respond()

    async with asking(script) as world:
        world.ask()
        assert await world.answered() == [(1, "0000")]
        assert times == [0, 0.05, 0.15, 0.35]
        assert world.counts == {"answered": 1, "again": 3}


async def test_each_is_asked_again_in_its_time(autojump_clock: MockClock) -> None:
    """Pauses of several asks run beside each other."""
    times: dict[int, list[float]] = {}

    async def script(peer: Peer) -> None:
        while True:
            question = await peer.request()
            mine = times.setdefault(int(question.headers["idempotency-key"][4:18]), [])
            mine.append(round(trio.current_time(), 2))
            await (peer.respond() if len(mine) > 1 else peer.respond(503, b""))

    async with asking(script) as world:
        world.ask(1)
        await trio.sleep(0.03)
        world.ask(2)
        await world.answered(2)
    assert times == {1: [0, 0.05], 2: [0.03, 0.08]}


async def test_asking_again_ends_at_the_deadline(autojump_clock: MockClock) -> None:
    """When the next try would be too late there is none: stand-in answers."""
    times = []

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            times.append(trio.current_time())
            await peer.respond(503, b"")

    async with asking(script) as world:
        world.ask(within_s=2.0)
        await trio.sleep(10)
        assert max(times) < 2.0
        assert world.counts == {"away": 1, "again": len(times) - 1}
        assert world.answers == []


async def test_a_connection_that_was_closing(autojump_clock: MockClock) -> None:
    """A question that crosses with the server's closing is asked at once on another connection."""
    questions = []

    async def script(peer: Peer) -> None:
        questions.append((await peer.request()).body)
        await peer.respond()
        questions.append((await peer.request()).body)
        await peer.close()  # without a word, as when it was closing anyway

    async with asking(script) as world:
        world.ask(1)
        await world.answered(1)
        world.ask(2)
        assert await world.answered(2) == [(1, "0000"), (2, "0000")]
        assert trio.current_time() == 0
        assert questions[1] == questions[2]
        assert world.counts == {"answered": 2, "again": 1}
        assert world.client.health() == ""


@pytest.mark.parametrize("half", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n" + ACCEPTED[:7]])
async def test_half_a_response(half: bytes, autojump_clock: MockClock) -> None:
    """A fresh connection that breaks before or in the middle of the response is followed by another, after a pause."""
    times = []

    async def script(peer: Peer) -> None:
        await peer.request()
        times.append(round(trio.current_time(), 2))
        if len(times) == 1:
            await peer.send(half)
            await peer.close()
        else:
            await peer.respond()

    async with asking(script) as world:
        world.ask()
        assert await world.answered() == [(1, "0000")]
        assert times == [0, 0.05]


async def test_idle_connections_that_the_server_closes_are_let_go(autojump_clock: MockClock) -> None:
    """A keep-alive connection that ends while idle costs no question a detour."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond()
        await trio.sleep(1)

    async with asking(script) as world:
        for number in range(3):
            world.ask(number)
            await world.answered(number + 1)
            await trio.sleep(2)
            assert world.client.statistics()["connections"] == 0
        assert world.counts == {"answered": 3}


async def test_connections_that_nobody_needs(autojump_clock: MockClock) -> None:
    """After a burst the connections that are not used any more are closed."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await trio.sleep(0.1)
            await peer.respond()

    async with asking(script) as world:
        world.ask(*range(20))
        await world.answered(20)
        assert world.client.statistics()["connections"] == 20
        for number in range(4):
            await trio.sleep(IDLE_S / 3)
            world.ask(100 + number)
        await world.answered(24)
        assert world.client.statistics()["connections"] == 1
        await trio.sleep(IDLE_S + 1)
        assert world.processor.open == 0


# --- when it is away


async def test_connections_refused(autojump_clock: MockClock, logged: Logged) -> None:
    """While nobody listens, one connection is tried at a time with growing pauses; asks wait as long as they can."""
    async with asking() as world:
        world.processor.away = True
        world.ask(0, 1, within_s=20.0)
        await trio.sleep(2)
        for number in range(2, 10):
            world.ask(number, within_s=20.0)
            await trio.sleep(1)
        dials = world.processor.dials
        pauses = [later - earlier for earlier, later in pairwise(dials)]
        assert pauses[:4] == pytest.approx([0, 0.05, 0.1, 0.2], abs=0.02)
        assert min(pauses[1:]) >= 0.05
        assert max(pauses) <= AWAY_PAUSE_MAX_S + 0.02
        assert world.client.health() == "processor cannot be reached"
        world.processor.away = False
        await world.answered(10)
        assert trio.current_time() <= 10 + AWAY_PAUSE_MAX_S + 0.1
        assert world.client.health() == ""
        assert world.counts == {"answered": 10}
    assert len(logged("processor cannot be reached")) == 1
    assert len(logged("processor can be reached again")) == 1


async def test_asks_that_waited_too_long_are_not_sent(autojump_clock: MockClock) -> None:
    """What found no connection before its deadline is not asked about any more."""
    async with asking() as world:
        world.processor.away = True
        world.ask(1, 2, 3)
        await trio.sleep(5.1)
        world.ask(4)
        world.processor.away = False
        assert await world.answered() == [(4, "0000")]
        assert world.counts == {"answered": 1, "expired": 3}


async def test_too_many_wait(autojump_clock: MockClock, logged: Logged) -> None:
    """Beyond `waiting_max` nothing is taken in, and it is said."""
    async with asking(waiting_max=10) as world:
        world.processor.away = True
        world.ask(*range(8))
        world.ask(*range(8, 16))
        world.processor.away = False
        assert len(await world.answered(10)) == 10
        await trio.sleep(5)
        assert world.counts == {"answered": 10, "dropped": 6}
    assert logged("payments not asked about")[0]["count"] == 6


async def test_expired_asks_make_room(autojump_clock: MockClock) -> None:
    """A queue full of what is too late anyway does not keep fresh asks out."""
    async with asking(waiting_max=10) as world:
        world.processor.away = True
        world.ask(*range(10))
        await trio.sleep(5)
        world.ask(*range(10, 20))
        assert world.counts == {"expired": 10}
        world.processor.away = False
        await world.answered(10)


async def test_a_processor_that_says_not_now_to_everything(autojump_clock: MockClock, logged: Logged) -> None:
    """After some failures in a row only probes are sent, and everything goes again when one is answered."""
    times, well = [], False

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            times.append(trio.current_time())
            await (peer.respond() if well else peer.respond(503, b""))

    async with asking(script) as world:
        world.ask(*range(100), within_s=30.0)
        await trio.sleep(10)
        assert times.count(0) >= AWAY_AFTER
        probes = [at for at in times if at > 0]
        assert probes == pytest.approx([0.05, 0.15, 0.35, 0.75, *(1.55 + second for second in range(9))], abs=0.03)
        assert world.client.health() == "processor is away"
        well = True
        await world.answered(100)
        assert trio.current_time() <= 10 + AWAY_PAUSE_MAX_S * 2
        assert world.client.health() == ""
    assert len(logged("processor is away")) == 1
    assert len(logged("processor is back")) == 1


async def test_some_of_many_backends_away(autojump_clock: MockClock) -> None:
    """When only some questions meet nobody the others go on at full pace."""
    count = 0

    async def script(peer: Peer) -> None:
        nonlocal count
        while True:
            await peer.request()
            count += 1
            await (peer.respond(502, b"") if count % 4 == 0 else peer.respond())

    async with asking(script) as world:
        for number in range(300):
            world.ask(number)
            await trio.sleep(0.001)
        await world.answered(300)
        assert trio.current_time() < 2
        assert world.client.health() == ""


async def test_a_probe_that_gets_no_answer_does_not_block(autojump_clock: MockClock) -> None:
    """Away first, then silent: each longest pause another probe goes, so that its return is noticed."""
    state = "away"

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            if state == "away":
                await peer.respond(503, b"")
            elif state == "silent":
                await trio.sleep_forever()
            else:
                await peer.respond()

    async with asking(script) as world:
        world.ask(*range(50), within_s=30.0)
        await trio.sleep(3)
        state = "silent"
        await trio.sleep(3)
        state = "well"
        await world.answered(40)
        assert trio.current_time() < 6 + 2 * AWAY_PAUSE_MAX_S


async def test_late_listeners_make_room(autojump_clock: MockClock) -> None:
    """Questions that were swallowed do not hold the whole pool: at most half of it listens for late answers."""

    async def script(peer: Peer) -> None:
        while True:
            question = await peer.request()
            if int(question.headers["idempotency-key"][4:18]) < 4:
                await trio.sleep_forever()
            await peer.respond()

    async with asking(script, connections_max=4, late_answer_s=10.0) as world:
        world.ask(0, 1, 2, 3)
        await trio.sleep(5.1)
        assert world.client.statistics()["late_listeners"] == 4
        world.ask(4, 5)
        assert sorted(await world.answered(2)) == [(4, "0000"), (5, "0000")]
        await wait_all_tasks_blocked()
        assert world.client.statistics()["late_listeners"] >= 2


async def test_a_line_that_was_cut_without_a_word_costs_one_answer(autojump_clock: MockClock) -> None:
    """Once a question met silence, no connection that was idle before is asked: the next payment gets a new one."""
    all_there = trio.Event()
    came = 0

    async def script(peer: Peer) -> None:
        nonlocal came
        number = came = came + 1
        await peer.request()
        if number == 3:
            all_there.set()
        await all_there.wait()
        await peer.respond()
        await peer.request()
        if number <= 3:
            await trio.sleep_forever()
        await peer.respond()

    async with asking(script) as world:
        world.ask(1, 2, 3)
        await world.answered(3)
        await trio.sleep(1)
        world.ask(4)
        await trio.sleep(6)
        world.ask(5, 6)
        assert sorted((await world.answered(5))[3:]) == [(5, "0000"), (6, "0000")]
        assert len(world.processor.dials) == 5


async def test_silence_says_nothing_of_a_connection_that_answered_since(autojump_clock: MockClock) -> None:
    """One payment that the processor thinks about for long costs no handshake to the others."""

    async def script(peer: Peer) -> None:
        while True:
            question = await peer.request()
            slow = "TEST00000000000003" in question.headers["idempotency-key"]
            await trio.sleep(20 if slow else 1)
            await peer.respond()

    async with asking(script) as world:
        world.ask(1, 2)
        await world.answered(2)
        world.ask(3)
        world.ask(4)
        await world.answered(3)
        await trio.sleep(6)
        world.ask(5)
        assert (await world.answered(4))[3:] == [(5, "0000")]
        assert len(world.processor.dials) == 2


async def test_connecting_takes_too_long(autojump_clock: MockClock) -> None:
    """A host that does not even refuse is given up after `connect_within_s`."""
    async with asking(connect_within_s=2.0) as world:

        async def never(_host: str, _port: int) -> trio.abc.Stream:
            await trio.sleep_forever()
            raise AssertionError

        world.client.hosts._network = nameless(never)
        world.ask()
        await trio.sleep(1.9)
        assert world.client.health() == ""
        await trio.sleep(0.2)
        assert world.client.health() == "processor cannot be reached"


# --- the books balance


async def test_each_ask_ends_once(  # noqa: C901 - a table of misbehaviour
    autojump_clock: MockClock,
) -> None:
    """Whatever the processor does, each ask ends in exactly one outcome, and each answer belongs to one ask."""
    turn = 0

    async def script(peer: Peer) -> None:
        nonlocal turn
        while True:
            await peer.request()
            turn += 1
            match turn % 9:
                case 0:
                    await peer.close()
                    return
                case 1:
                    await peer.respond(503, b"")
                case 2:
                    await peer.respond(500, b"")
                case 3:
                    await trio.sleep(7)
                    await peer.respond()
                case 4:
                    await peer.respond(200, b"?")
                case 5:
                    await trio.sleep_forever()
                case 6:
                    await peer.respond(200, ACCEPTED, b"Connection: close")
                case _:
                    await peer.respond()

    async with asking(script, connections_max=8, waiting_max=50) as world:
        for batch in range(20):
            world.ask(*range(batch * 10, batch * 10 + 10))
            await trio.sleep(0.5)
        await trio.sleep(60)
        counts = world.counts
        counts.pop("again")
        assert sum(counts.values()) == 200
        answers = await world.answered(0)
        assert len(answers) == counts["answered"] + counts["late"]
        assert len({number for number, _ in answers}) == len(answers)
        statistics = world.client.statistics()
        assert (statistics["waiting"], statistics["in_flight"], statistics["late_listeners"]) == (0, 0, 0)
        assert world.client.asking._alarm.deadline_s > trio.current_time()


async def test_asks_before_the_client_runs_wait_for_it(autojump_clock: MockClock) -> None:
    """Nothing depends on who starts first."""
    async with trio.open_nursery() as nursery:
        client = Client(settings())
        client.ask([Ask(*payment(1), 5.0)])
        assert client.statistics()["waiting"] == 1
        nursery.cancel_scope.cancel()


async def test_a_pool_that_is_used_up_says_so(autojump_clock: MockClock, logged: Logged) -> None:
    """A slow processor uses up every connection: one line names the limit, what was never asked is counted, and each
    payment that waits knows why it was not asked.
    """
    name = "node.processor.connections_max"

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await trio.sleep(4)
            await peer.respond()

    before = metrics.LIMIT_TURNED_AWAY[name]._value.get()
    async with asking(script, connections_max=2) as world:
        asks = [Ask(*payment(number), 3.0, number) for number in range(6)]
        world.client.ask(asks)
        await trio.sleep(1)
        why = f"each of 2 connections to the processor was in use ({name})"
        assert [world.client.why_unasked(ask) for ask in asks if not ask.attempts] == [why] * 4
        asks[5].void = True
        await trio.sleep(9)
        assert metrics.LIMIT_TURNED_AWAY[name]._value.get() - before == 4
        (line,) = logged("limit reached")
        assert (line["where"], line["limit"]) == (name, 2)
        world.ask(9)
        await world.answered(3)
        assert not world.client.asking._pool.limit.reached


async def test_a_queue_that_is_full_says_so(autojump_clock: MockClock, logged: Logged) -> None:
    """Who is dropped knows why."""
    async with asking(waiting_max=1) as world:
        world.processor.away = True
        asks = [Ask(*payment(number), 3.0, number) for number in range(3)]
        world.client.ask(asks)
        assert [world.client.why_unasked(ask) for ask in asks[1:]] == [
            "1 questions waited already (node.processor.waiting_max)"
        ] * 2
        assert [line["where"] for line in logged("limit reached")] == ["node.processor.waiting_max"]
