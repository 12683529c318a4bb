"""A client whose connection fails in a way that nobody foresaw."""

import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.conftest import Logged
from tests.fakes.door import door, post


async def test_a_connection_that_fails_in_a_way_of_its_own_disturbs_no_other(
    autojump_clock: MockClock, logged: Logged
) -> None:
    """Whatever a library makes of what a client does: that connection is closed, and the log says what it was."""

    class Failing(trio.abc.ReceiveStream):
        def __init__(self, stream: trio.abc.ReceiveStream) -> None:
            self._stream = stream

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await self._stream.receive_some(max_bytes)
            raise ZeroDivisionError

        async def aclose(self) -> None:
            await self._stream.aclose()

    async with door() as world:
        good = world.client()
        ours, theirs = memory_stream_pair()
        world.attend(trio.StapledStream(theirs.send_stream, Failing(theirs.receive_stream)))
        await ours.send_all(b"POST")
        assert await ours.receive_some() == b""
        await wait_all_tasks_blocked()
        (line,) = logged("a connection failed")
        assert (line["level"], line["error"]) == ("error", "ZeroDivisionError")
        assert (await good.ask(post())).status == 202
        assert world.door.statistics()["connections"] == 1
