"""A client that is slow, silent or one of a crowd costs the others nothing."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway import metrics
from gateway.http.visitor import LINGER_S, REQUESTS_MAX
from gateway.payments.outbound_law import State
from gateway.processor.door import SWEEP_S
from tests.conftest import Reached
from tests.fakes.door import BODY, door, get, head, ignore, post, settle
from tests.processor.door_cases import is_problem

# --- time, and those who have none


async def test_an_idle_connection_is_closed(autojump_clock: MockClock) -> None:
    """Silently, when nothing was asked for so long."""
    async with door(idle_s=75.0) as world:
        client = world.client()
        await trio.sleep(70)
        assert (await client.ask(post())).status == 202
        started_s = trio.current_time()
        assert await client.end() == b""
        assert 75 <= trio.current_time() - started_s < 75.3


@pytest.mark.parametrize("data", [b"G", head(), post()[:-1], head() + b"Transfer-Encoding: chunked\r\n\r\n5\r\n"])
async def test_a_request_that_does_not_end(autojump_clock: MockClock, data: bytes) -> None:
    """408 when it has not come in in its time, counted from its first byte, however much of it drips in."""
    async with door(request_within_s=5.0) as world:
        client = world.client()
        assert (await client.ask(post())).status == 202
        await trio.sleep(60)
        started_s = trio.current_time()
        await client.send(data)
        response = await client.response()
        assert is_problem(response, 408)
        assert 5 <= trio.current_time() - started_s < 5.3
        assert await client.end() == b""
        assert len(world.engine.submissions) == 1


async def test_a_head_that_drips(autojump_clock: MockClock) -> None:
    """A byte a second does not make it younger."""
    async with door(request_within_s=5.0) as world:
        client = world.client()
        async with trio.open_nursery() as nursery:

            async def drip() -> None:
                for byte in head():
                    try:
                        await client.send(bytes([byte]))
                    except trio.BrokenResourceError:
                        return
                    await trio.sleep(1)

            nursery.start_soon(drip)
            assert (await client.response()).status == 408
            nursery.cancel_scope.cancel()


async def test_a_slow_request_behind_one_that_waits(autojump_clock: MockClock) -> None:
    """The one that waits is answered first; then it is said that the other was too late."""
    async with door(request_within_s=5.0) as world:
        client = world.client()
        await client.send(post(BODY, "Prefer: wait=20") + post()[:-1])
        assert [(await client.response()).status for _ in range(2)] == [202, 408]
        assert 20 <= trio.current_time() < 20.5


async def test_a_client_that_does_not_read(autojump_clock: MockClock) -> None:
    """It is dropped after its time, and has made nobody else wait; nothing more is read from it meanwhile."""
    async with door(request_within_s=5.0) as world:
        ours, theirs = trio.testing.lockstep_stream_pair()
        world.attend(theirs)
        other = world.client()
        sent = 0
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - until it is dropped
            while True:
                await ours.send_all(get("/payments/nobody") * 20)
                sent += 20
        assert 5 <= trio.current_time() < 5.5
        assert sent < 1000
        assert (await other.ask(post())).status == 202


async def test_one_that_does_not_hang_up(autojump_clock: MockClock) -> None:
    """After our last word it has some time to hang up; then it is dropped, whatever it says."""
    async with door() as world:
        client = world.client()
        await client.send(post(BODY, "Connection: close"))
        assert (await client.response()).status == 202
        started_s = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - until it is dropped
            while True:
                await client.send(b"more")
                await trio.sleep(0.05)
        assert LINGER_S <= trio.current_time() - started_s < LINGER_S + 0.3


async def test_too_many_requests_at_once(autojump_clock: MockClock) -> None:
    """So many may wait on one connection; the next is refused, and closes it when the others are answered."""
    async with door(ignore) as world:
        client = world.client()
        await client.send(b"".join(post(key=f"key-{number}") for number in range(REQUESTS_MAX + 5)))
        await world.engine.submitted(REQUESTS_MAX)
        await wait_all_tasks_blocked()
        assert len(world.engine.submissions) == REQUESTS_MAX
        for submission in world.engine.submissions:
            settle(submission, State.WAITING)
        statuses = [(await client.response()).status for _ in range(REQUESTS_MAX + 1)]
        assert statuses == [202] * REQUESTS_MAX + [503]
        assert await client.end() == b""


async def test_one_bad_connection_disturbs_no_other(autojump_clock: MockClock) -> None:
    """Whatever happens on some, the others are served."""
    async with door() as world:
        good = world.client()
        for data in (b"\x00" * 100, post()[:50], head() + b"Content-Length: 99999999\r\n\r\n", b"", post(b"\xff")):
            bad = world.client()
            await bad.send(data)
            await bad.hang_up()
            assert (await good.ask(post())).status == 202
        await trio.sleep(SWEEP_S * 2)
        assert world.door.statistics()["connections"] == 1


async def test_who_gives_way(autojump_clock: MockClock, reached: Reached) -> None:
    """Beyond the limit the connection that has been idle for longest goes; when none is idle, the new one, and the
    limit says so: once, until there is room again.
    """
    limit = "node.submissions.connections_max"
    async with door(ignore, connections_max=3) as world:
        busy, old, young = world.client(), world.client(), world.client()
        await busy.send(post())
        await world.engine.submitted()
        for client in (old, young):
            assert (await client.ask(get("/payments/x"))).status == 404
            await trio.sleep(1)
        assert world.door._has_place(named=True)
        assert await old.end() == b""
        assert (await young.ask(get("/payments/x"))).status == 404
        assert reached(limit) == ([], 0), "somebody gave way"
        await young.send(post())
        newest = world.client()
        await newest.send(post())
        await world.engine.submitted(3)
        assert not world.door._has_place(named=True)
        assert world.door.statistics()["turned_away"] == {"crowded": 1, "tls": 0, "short": 0}
        assert not world.door._has_place(named=True)
        assert reached(limit) == ([3], 2)
        await newest.hang_up()
        await busy.hang_up()
        await trio.sleep(60)
        assert world.door._has_place(named=True)
        assert not world.door._places.reached


async def test_several_at_once_take_the_places_of_those_who_may_only_look_first(autojump_clock: MockClock) -> None:
    """Each takes another one's: who is leaving already has given its place away."""
    async with door(connections_max=3) as world:
        clients = [world.client(), world.client(), world.client(named=False)]
        for client in clients:
            assert (await client.ask(get("/ready"))).status == 200
            await trio.sleep(1)
        assert [world.door._has_place(named=True) for _ in clients] == [True, True, True]
        assert not world.door._has_place(named=True)
        await trio.testing.wait_all_tasks_blocked()
        assert world.door.statistics()["connections"] == 0


async def test_the_metrics_count(autojump_clock: MockClock) -> None:
    """By status, and how long it took to be durable."""
    statuses: dict[str, str] = {"status": "202"}
    named = [("fps_submissions_total", statuses), ("fps_submission_durable_seconds_count", dict[str, str]())]
    before = [metrics.REGISTRY.get_sample_value(name, labels) or 0.0 for name, labels in named]
    async with door() as world:
        await world.ask(post())
    after = [metrics.REGISTRY.get_sample_value(name, labels) for name, labels in named]
    assert after == [value + 1 for value in before]
