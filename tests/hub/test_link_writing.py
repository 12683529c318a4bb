"""Every body that a link is given leaves, or is handed back: exactly one of the two."""

from typing import Any

import pytest
import trio
import trio.testing

from gateway.hub.link import CLOSE_WITHIN_S
from gateway.wire.frame import frame
from tests.hub.conftest import Make
from tests.hub.streams import BODIES, together

# --- writing


class Recording(trio.abc.Stream):
    """A stream that keeps each write apart, takes a set time for it, and can break."""

    def __init__(self, write_s: float = 0.0, break_at: int = -1) -> None:
        self.writes: list[bytes] = []
        self.write_s = write_s
        self.break_at = break_at
        self.closed = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        await trio.lowlevel.checkpoint()
        if len(self.writes) == self.break_at:
            raise trio.BrokenResourceError from ConnectionResetError(104, "Connection reset by peer")
        self.writes.append(bytes(data))
        await trio.sleep(self.write_s)

    async def wait_send_all_might_not_block(self) -> None:
        """Not used."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Nothing, until it is closed."""
        await self.closed.wait()
        return b""

    async def aclose(self) -> None:
        """Close."""
        self.closed.set()
        await trio.lowlevel.checkpoint()


def put(w: Any, *names: str) -> None:
    """Send bodies that are their own contexts, and flush."""
    for name in names:
        assert w.link.send(name.encode(), name)
    w.link.flush()


async def test_what_is_queued_leaves_in_one_write(wired: Make, nursery: trio.Nursery, autojump_clock: object) -> None:
    """One write per wake-up; what comes while it is under way leaves in the next. Sent is when the write is over."""
    stream = Recording(write_s=1.0)
    w = wired((stream, stream))
    nursery.start_soon(w.link.run)
    await trio.testing.wait_all_tasks_blocked()
    put(w, "a", "b", "c")
    await trio.sleep(0.5)
    put(w, "d")
    put(w, "e")
    assert w.engine.of("sent") == []
    await trio.sleep(2)
    assert stream.writes == [together(w.wire, [b"a", b"b", b"c"]), together(w.wire, [b"d", b"e"])]
    assert [event[2] for event in w.engine.of("sent")] == [["a", "b", "c"], ["d", "e"]]
    assert w.link.statistics().waiting_bytes == 0
    assert w.link.statistics().frames_out == 5


async def test_nothing_leaves_before_the_flush(wired: Make, nursery: trio.Nursery) -> None:
    """A batch is the engine's to close."""
    w = wired()
    nursery.start_soon(w.link.run)
    await trio.testing.wait_all_tasks_blocked()
    w.link.send(b"a", "a")
    await trio.testing.wait_all_tasks_blocked()
    assert w.engine.of("sent") == []
    w.link.flush()
    assert (await w.engine.until("sent"))[2] == ["a"]


async def test_what_has_become_useless_is_not_written(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """It waited for a slow write, or this process stood still before its turn; useful bodies leave, in their order."""
    stream = Recording(write_s=1.0)
    w = wired((stream, stream))
    nursery.start_soon(w.link.run)
    await trio.testing.wait_all_tasks_blocked()
    now_s = trio.current_time()
    put(w, "first")
    await trio.sleep(0.5)
    for body, until_s in (("in time", 1.5), ("too late", 0.9), ("also in time", 1.0)):
        assert w.link.send(body.encode(), body, until_s=now_s + until_s)
    assert w.link.send(b"nobody waits", until_s=now_s + 0.9)
    w.link.flush()
    await trio.sleep(2)
    assert stream.writes == [together(w.wire, [b"first"]), together(w.wire, [b"in time", b"also in time"])]
    assert w.engine.of("expired") == [("expired", w.link, ["too late"])]
    assert [event[2] for event in w.engine.of("sent")] == [["first"], ["in time", "also in time"]]
    assert w.link.statistics().waiting_bytes == 0
    assert w.link.send(b"nobody waits", until_s=now_s)
    w.link.flush()
    await trio.testing.wait_all_tasks_blocked()
    assert len(w.engine.of("expired")) == 1, "what nobody waits for is only not sent"
    assert w.link.statistics().waiting_bytes == 0


async def test_what_lay_in_the_socket_counts_from_when_it_may_have_come(wired: Make, nursery: trio.Nursery) -> None:
    """A payment's deadlines begin there, not when this process runs again."""
    w = wired(came_s=lambda now_s: now_s - 3600)
    nursery.start_soon(w.link.run)
    await w.stream.send_all(together(w.wire, BODIES[:2]))
    await w.engine.until("frames")
    assert all(first_s <= trio.current_time() - 3600 for first_s in w.engine.read_s)


@pytest.mark.parametrize("closing", [False, True])
async def test_what_is_taken_back_out_of_the_queue_does_not_leave(
    wired: Make, nursery: trio.Nursery, autojump_clock: object, *, closing: bool
) -> None:
    """Of one kind of context alone, also from a link that ends; what is being written is not given back: it may have
    left. What stays leaves in its order.
    """
    stream = Recording(write_s=1.0)
    w = wired((stream, stream))
    nursery.start_soon(w.link.run)
    await trio.testing.wait_all_tasks_blocked()
    w.link.send(b"being written", 1)
    w.link.flush()
    await trio.testing.wait_all_tasks_blocked()
    for body, context in ((b"one", 2), (b"reply", "a"), (b"two", 3), (b"nobody waits", None)):
        assert w.link.send(body, context)
    if closing:
        w.link.close("test")
    assert w.link.recall(int) == [2, 3]
    assert w.link.recall(int) == []
    w.link.flush()
    await trio.sleep(3)
    assert stream.writes == [together(w.wire, [b"being written"]), together(w.wire, [b"reply", b"nobody waits"])]
    assert [event[2] for event in w.engine.of("sent")] == [[1], ["a"]]
    assert w.engine.of("unsent") == []
    assert w.link.statistics().waiting_bytes == 0


async def test_bodies_without_a_context_are_not_reported(wired: Make, nursery: trio.Nursery) -> None:
    """Management messages: no story waits for their fate."""
    w = wired()
    nursery.start_soon(w.link.run)
    await trio.testing.wait_all_tasks_blocked()
    w.link.send(b"a")
    w.link.flush()
    await trio.testing.wait_all_tasks_blocked()
    w.link.send(b"b")
    w.link.send(b"c", "c")
    w.link.flush()
    assert (await w.engine.until("sent"))[2] == ["c"]
    w.link.send(b"d")
    w.link.close("test")
    await w.engine.until("down")
    assert w.engine.of("unsent") == []


async def test_a_hub_that_does_not_read_loses_the_link(wired: Make, nursery: trio.Nursery) -> None:
    """The limit counts queued bodies and those being written; beyond it nothing is kept, and the link ends."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    w = wired((ours, theirs), write_bytes_max=100)
    nursery.start_soon(w.link.run)
    await trio.testing.wait_all_tasks_blocked()
    put(w, "a" * 26)
    await trio.testing.wait_all_tasks_blocked()
    put(w, "b" * 26, "c" * 36)
    assert w.link.statistics().waiting_bytes == 100
    assert w.link.open
    assert not w.link.send(b"", "one too many")
    assert not w.link.open
    assert (await w.engine.until("down"))[2] == "the hub does not read: 100 bytes wait to be written"
    assert w.engine.of("unsent") == [
        ("unsent", w.link, ["a" * 26], False),
        ("unsent", w.link, ["b" * 26, "c" * 36], True),
    ]
    assert w.engine.events[-1][0] == "down"


async def test_a_broken_write_ends_the_link(wired: Make, nursery: trio.Nursery) -> None:
    """Bodies in the write may have left; bodies sent before are not reported again."""
    stream = Recording(break_at=1)
    w = wired((stream, stream))
    nursery.start_soon(w.link.run)
    await trio.testing.wait_all_tasks_blocked()
    put(w, "a")
    await w.engine.until("sent")
    put(w, "b", "c")
    reason = (await w.engine.until("down"))[2]
    assert reason == "connection broken: BrokenResourceError (ConnectionResetError: Connection reset by peer)"
    assert w.engine.of("unsent") == [("unsent", w.link, ["b", "c"], False)]
    assert stream.closed.is_set()


async def test_close_writes_what_is_queued(wired: Make, nursery: trio.Nursery) -> None:
    """But takes nothing more."""
    w = wired()
    nursery.start_soon(w.link.run)
    await trio.testing.wait_all_tasks_blocked()
    w.link.send(b"a", "a")
    w.link.close("done")
    w.link.close("again")
    assert not w.link.send(b"b", "b")
    assert (await w.engine.until("down"))[2] == "done"
    assert w.engine.of("sent") == [("sent", w.link, ["a"])]
    assert await w.stream.receive_some() == frame(w.wire, b"a")
    assert await w.stream.receive_some() == b""


async def test_a_write_that_the_hub_does_not_take_in_time_ends_the_link(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """A hub that goes on writing but does not read gets no late reply: nothing leaves after the limit, nor counts as
    sent. What is being written may have left, what waits behind it has not.
    """
    ours, theirs = trio.testing.lockstep_stream_pair()
    w = wired((ours, theirs))
    nursery.start_soon(w.link.run)
    await trio.testing.wait_all_tasks_blocked()
    start_s = trio.current_time()
    put(w, "a")
    for _ in range(3):
        await w.stream.send_all(together(w.wire, [b"9200"]))
        await trio.sleep(1)
    put(w, "b")
    assert (await w.engine.until("down"))[2] == "the hub does not read: a write took more than 4 s"
    assert trio.current_time() - start_s == pytest.approx(4)
    assert w.engine.of("sent") == []
    assert w.engine.of("unsent") == [("unsent", w.link, ["a"], False), ("unsent", w.link, ["b"], True)]


async def test_the_wait_for_a_slow_write_counts(wired: Make, nursery: trio.Nursery, autojump_clock: object) -> None:
    """A body's time begins when it is queued, not when its own write does: two slow writes are no way to be late."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    w = wired((ours, theirs))
    nursery.start_soon(w.link.run)
    await trio.testing.wait_all_tasks_blocked()
    start_s = trio.current_time()
    put(w, "a")
    await trio.sleep(1)
    put(w, "b")
    await trio.sleep(2)
    assert await w.stream.receive_some() == frame(w.wire, b"a")
    assert (await w.engine.until("sent"))[2] == ["a"]
    await w.engine.until("down")
    assert trio.current_time() - start_s == pytest.approx(5)
    assert w.engine.of("unsent") == [("unsent", w.link, ["b"], False)]


async def test_close_does_not_wait_for_a_hub_that_does_not_read(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """It is given `CLOSE_WITHIN_S`."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    w = wired((ours, theirs))
    nursery.start_soon(w.link.run)
    await trio.testing.wait_all_tasks_blocked()
    put(w, "a")
    await trio.testing.wait_all_tasks_blocked()
    w.link.send(b"b", "b")
    start_s = trio.current_time()
    w.link.close("done")
    assert (await w.engine.until("down"))[2] == "done"
    assert trio.current_time() - start_s == pytest.approx(CLOSE_WITHIN_S)
    assert w.engine.of("unsent") == [("unsent", w.link, ["a"], False), ("unsent", w.link, ["b"], True)]


async def test_cancelled(wired: Make) -> None:
    """A link whose task is cancelled reports like any other, and its stream is closed."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    w = wired((ours, theirs), receive=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(w.link.run)
        await trio.testing.wait_all_tasks_blocked()
        w.link.send(b"a", "a")
        nursery.cancel_scope.cancel()
    assert w.engine.events[-2:] == [("unsent", w.link, ["a"], True), ("down", w.link, "stopped")]
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"x")


async def test_an_oversized_body_is_a_bug(wired: Make) -> None:
    """Of ours, and said where it happens."""
    w = wired()
    with pytest.raises(ValueError, match="over the limit"):
        w.link.send(bytes(9000))
