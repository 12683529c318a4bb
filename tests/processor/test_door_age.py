"""How old a connection to the door may get, and that its end costs no request."""

import trio
from trio.testing import MockClock

from gateway.payments.outbound_law import State
from tests.fakes.door import door, ignore, post, settle


async def test_a_connection_that_is_old_says_so_with_its_next_response(autojump_clock: MockClock) -> None:
    """It takes one more request, and what is sent behind that is for another connection."""
    async with door(connection_age_max_s=100.0, idle_s=1000.0) as world:
        client = world.client()
        assert "connection" not in (await client.ask(post(key="key-1"))).headers
        await trio.sleep(100.0)
        await client.send(post(key="key-2"))
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (202, "close")
        await client.send(post(key="key-3"))
        assert await client.end() == b""
        assert [one.key for one in world.engine.submissions] == ["key-1", "key-2"]


async def test_an_old_connection_answers_all_that_came_at_once(autojump_clock: MockClock) -> None:
    """Of several requests in one chunk the last response says that it closes; nothing that was read is lost."""
    async with door(ignore, connection_age_max_s=100.0, idle_s=1000.0) as world:
        client = world.client()
        await trio.sleep(100.0)
        await client.send(post(key="key-1") + post(key="key-2"))
        await world.engine.submitted()
        for submission in list(world.engine.submissions):
            settle(submission, State.WAITING)
        responses = [await client.response() for _ in range(2)]
        assert [response.headers.get("connection") for response in responses] == [None, "close"]
        assert await client.end() == b""


async def test_connections_that_came_together_do_not_get_old_together(autojump_clock: MockClock) -> None:
    """Each lives for its greatest age or up to a quarter less, and hardly two for the same time."""
    async with door(connection_age_max_s=100.0, idle_s=1000.0) as world:
        clients = [world.client() for _ in range(40)]
        closed = dict.fromkeys(range(40), 0)
        for second in range(1, 101):
            await trio.sleep(1.0)
            for number, client in enumerate(clients):
                if not closed[number] and "connection" in (await client.ask(post(key=f"key-{second}"))).headers:
                    closed[number] = second
        assert min(closed.values()) >= 75
        assert max(list(closed.values()).count(second) for second in range(101)) <= 3
