"""One link over streams in memory: whatever the other end does, every frame and every body has exactly one fate."""

import contextlib
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gateway import config, metrics
from gateway.clock import system_clock
from gateway.hub.exchanges import MessageIds
from gateway.hub.incoming import EMPTY_MAX
from gateway.hub.link import CLOSE_WITHIN_S, LAST_WORDS_S, Link
from gateway.hub.session import Session
from gateway.wire.frame import frame
from tests.conftest import Logged

Make = Callable[..., Any]

BODIES = [b"9200" + bytes([65 + n]) * n * 7 for n in range(30)]
WIRES = [
    config.Wire(),
    config.Wire(header_bytes=2),
    config.Wire(header_format="ascii"),
    config.Wire(header_inclusive=True),
    config.Wire(header_format="ascii", header_inclusive=True),
]


def together(wire: config.Wire, bodies: list[bytes]) -> bytes:
    """Bodies as a stream."""
    return b"".join(frame(wire, body) for body in bodies)


# --- reading


@pytest.mark.parametrize("wire", WIRES, ids=lambda w: f"{w.header_bytes}-{w.header_format}-{w.header_inclusive}")
@pytest.mark.parametrize("size", [1, 3, 1000, 10**6])
async def test_chunks_do_not_matter(
    wired: Make, nursery: trio.Nursery, autojump_clock: object, size: int, wire: config.Wire
) -> None:
    """Byte by byte or all at once: the same frames in the same order."""
    w = wired(wire=wire)
    nursery.start_soon(w.link.run)
    stream = together(wire, BODIES)
    for at in range(0, len(stream), size):
        await w.stream.send_all(stream[at : at + size])
        await trio.testing.wait_all_tasks_blocked()
    assert w.engine.bodies == BODIES
    assert w.link.statistics().frames_in == len(BODIES)
    assert w.link.statistics().bytes_in == len(stream)


async def test_all_frames_of_a_chunk_come_together(wired: Make, nursery: trio.Nursery) -> None:
    """One call of the inbox per read."""
    w = wired()
    nursery.start_soon(w.link.run)
    await w.stream.send_all(together(w.wire, BODIES))
    assert (await w.engine.until("frames"))[2] == len(BODIES)


@pytest.mark.parametrize("wire", WIRES, ids=lambda w: f"{w.header_bytes}-{w.header_format}-{w.header_inclusive}")
async def test_frames_without_a_body_are_left_out_and_counted(
    wired: Make, nursery: trio.Nursery, autojump_clock: object, wire: config.Wire, logged: Logged
) -> None:
    """Some systems send them so that a connection is not idle: alone, before, between and after messages."""
    w = wired(wire=wire)
    nursery.start_soon(w.link.run)
    counted = metrics.LINK_EMPTY_FRAMES.labels(w.link.site)._value.get()
    for bodies in ([b""], [b"", b"9200 one", b"", b"9200 two", b""]):
        await w.stream.send_all(together(wire, bodies))
        await trio.testing.wait_all_tasks_blocked()
    assert w.engine.bodies == [b"9200 one", b"9200 two"]
    assert metrics.LINK_EMPTY_FRAMES.labels(w.link.site)._value.get() == counted + 4
    assert len(logged("frames without a body: ignored")) == 1
    for _ in range(50):
        await trio.sleep(1)
        await w.stream.send_all(together(wire, [b""] * 5))
    assert w.link.open, "so many keep a connection alive"
    assert not w.engine.of("frame error")


@pytest.mark.parametrize("others", [0, 1])
async def test_a_flood_of_frames_without_a_body_ends_the_link(
    wired: Make, nursery: trio.Nursery, autojump_clock: object, others: int
) -> None:
    """Also one between messages; queued bodies still leave."""
    w = wired()
    nursery.start_soon(w.link.run)
    await w.stream.send_all(together(w.wire, [b"", *[b"9200"] * others] * (EMPTY_MAX + 1)))
    reason = (await w.engine.until("down"))[2]
    assert reason == "flooded with empty frames: more than 100 within 10 s"
    assert len(w.engine.bodies) == others * (EMPTY_MAX + 1)


async def test_a_frame_counts_from_its_first_byte(wired: Make, nursery: trio.Nursery, autojump_clock: object) -> None:
    """A payment's deadline starts when its header starts, however slowly the rest comes."""
    w = wired()
    start_s = trio.current_time()
    nursery.start_soon(w.link.run)
    stream = together(w.wire, [b"9200 one", b"9200 two"])
    for at in range(0, len(stream), 4):
        await w.stream.send_all(stream[at : at + 4])
        await trio.sleep(1)
    assert [time_s - start_s for time_s in w.engine.read_s] == pytest.approx([0, 3])


async def test_half_a_frame_for_too_long_ends_the_link(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """Counted from its first byte, also when further bytes keep trickling in."""
    w = wired(half_frame_s=10.0)
    nursery.start_soon(w.link.run)
    await trio.testing.wait_all_tasks_blocked()
    start_s = trio.current_time()
    for byte in together(w.wire, [b"9200" + bytes(500)])[:100]:
        await w.stream.send_all(bytes([byte]))
        await trio.sleep(0.3)
        if not w.link.open:
            break
    assert (await w.engine.until("down"))[2] == "half a frame for more than 10 s"
    assert 10 <= trio.current_time() - start_s < 11


async def test_half_a_frame_that_lay_here_has_its_time_from_when_it_was_read(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """What came while this process stood still may end anywhere, with the rest right behind it."""
    w = wired(half_frame_s=10.0, came_s=lambda now_s: now_s - 3600)
    nursery.start_soon(w.link.run)
    stream = together(w.wire, [b"9200 one", b"9200 two", b"9200 three"])
    for at in range(0, len(stream), 7):
        await w.stream.send_all(stream[at : at + 7])
        await trio.sleep(0.01)
    assert w.link.open
    assert len(w.engine.bodies) == 3
    await w.stream.send_all(stream[:7])
    start_s = trio.current_time()
    assert (await w.engine.until("down"))[2] == "half a frame for more than 10 s"
    assert trio.current_time() - start_s == pytest.approx(10)


async def test_a_frame_that_completes_in_time_sets_the_half_frame_clock_back(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """Each frame has its own time."""
    w = wired(half_frame_s=10.0)
    nursery.start_soon(w.link.run)
    body = frame(w.wire, b"9200")
    for _ in range(5):
        await w.stream.send_all(body[:3])
        await trio.sleep(9)
        await w.stream.send_all(body[3:] + body[:2])
        await trio.sleep(9)
        await w.stream.send_all(body[2:])
        await trio.sleep(20)
    assert w.link.open
    assert len(w.engine.bodies) == 10


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("bad", [b"\xff\xff\xff\xff", b"\x00\x00\x20\x01" + bytes(20), b"GET / HTTP/1.1\r\n\r\n"])
async def test_what_is_no_frame_ends_the_link_after_its_last_words(
    wired: Make, nursery: trio.Nursery, autojump_clock: object, bad: bytes, before: int
) -> None:
    """Frames before it count, none after it does; bodies sent soon after still leave; then the link is closed."""
    w = wired()
    nursery.start_soon(w.link.run)
    start_s = trio.current_time()
    await w.stream.send_all(together(w.wire, BODIES[:before]) + bad)
    error = (await w.engine.until("frame error"))[2]
    assert error.function_code == "650"
    assert error.position == len(together(w.wire, BODIES[:before]))
    assert w.engine.bodies == BODIES[:before]
    # more of it, which must not be understood, nor pile up
    await w.stream.send_all(together(w.wire, BODIES))
    await trio.sleep(LAST_WORDS_S / 2)
    assert w.link.send(b"9624 cannot parse", "advice")
    w.link.flush()
    reason = (await w.engine.until("down"))[2]
    assert reason.startswith("frame error: frame header at byte")
    assert trio.current_time() - start_s == pytest.approx(LAST_WORDS_S)
    assert w.engine.of("sent") == [("sent", w.link, ["advice"])]
    assert len(w.engine.of("frame error")) == 1
    assert w.engine.bodies == BODIES[:before]
    assert await w.stream.receive_some() == frame(w.wire, b"9624 cannot parse")
    assert await w.stream.receive_some() == b""


async def test_the_hub_may_close_during_the_last_words(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """The hub is gone then: there are no last words."""
    w = wired()
    nursery.start_soon(w.link.run)
    start_s = trio.current_time()
    await w.stream.send_all(b"\xff\xff\xff\xff")
    await w.engine.until("frame error")
    await w.stream.aclose()
    assert (await w.engine.until("down"))[2] == "closed by the hub"
    assert trio.current_time() == start_s


@pytest.mark.parametrize(
    ("cut", "reason"), [(0, "closed by the hub"), (1, "closed by the hub in the middle of a frame")]
)
async def test_the_hub_closes(wired: Make, nursery: trio.Nursery, cut: int, reason: str) -> None:
    """And whether that was in the middle of a frame."""
    w = wired()
    nursery.start_soon(w.link.run)
    stream = together(w.wire, BODIES[:2])
    await w.stream.send_all(stream[: len(stream) - cut])
    await trio.testing.wait_all_tasks_blocked()
    await w.stream.aclose()
    assert (await w.engine.until("down"))[2] == reason


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


# --- any moment


class Fates:
    """An `Inbox` that keeps what became of each body."""

    def __init__(self) -> None:
        self.fates: list[str] = []
        self.down: list[str] = []

    def link_up(self, link: Link) -> None:
        """See Inbox."""

    def link_down(self, link: Link, reason: str) -> None:
        """See Inbox."""
        self.down.append(reason)

    def frames(self, link: Link, frames: list[Any], now_s: float) -> None:
        """See Inbox."""

    def frame_error(self, link: Link, error: object) -> None:
        """See Inbox."""

    def transmit(self, link: Link, message: object) -> None:
        """See Inbox."""

    def sent(self, link: Link, contexts: list[str]) -> None:
        """See Inbox."""
        assert not self.down
        self.fates.extend(contexts)

    def unsent(self, link: Link, contexts: list[str], *, surely: bool) -> None:
        """See Inbox."""
        assert not self.down
        self.fates.extend(contexts)

    def expired(self, link: Link, contexts: list[str]) -> None:
        """See Inbox."""
        assert not self.down
        self.fates.extend(contexts)


async def peer_does(step: str, stream: Any) -> None:
    """What the hub does to the stream."""
    with trio.move_on_after(0.01), contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        match step:
            case "read":
                await stream.receive_some(10)
            case "eof":
                await stream.send_stream.aclose()
            case "break":
                await stream.aclose()
            case "garbage":
                await stream.send_all(b"\xff\xff\xff\xff")


STEPS = ["send", "send", "late", "flush", "turn", "read", "eof", "break", "garbage", "close"]


@given(st.lists(st.sampled_from(STEPS), max_size=40))
def test_every_body_has_one_fate(steps: list[str]) -> None:
    """Whenever the hub closes, breaks, or stops reading: each body that was taken is sent, unsent or expired, once,
    what is still of use in order, and the end of the link is the last that is heard of it.
    """
    inbox, taken, late, pair = Fates(), list[str](), set[str](), config.Pair(group="sip")

    async def live() -> None:
        ours, theirs = trio.testing.lockstep_stream_pair()
        site = config.HubSite(name="a", host="h", port=1, write_bytes_max=60)
        link = Link(
            1, site, ours, Session(pair.session, MessageIds()), inbox, pair=pair, clock=system_clock, came_s=float
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            for number, step in enumerate(steps):
                body, until_s = f"body {number}", inf if step == "send" else trio.current_time() - 0.001
                if step in {"send", "late"} and link.send(b"body", body, until_s=until_s):
                    taken.append(body)
                    late.update([body] if step == "late" else [])
                elif step == "flush":
                    link.flush()
                elif step == "close":
                    link.close("test")
                elif step == "turn":
                    await trio.testing.wait_all_tasks_blocked()
                else:
                    await peer_does(step, theirs)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()

    trio.run(live, clock=trio.testing.MockClock(autojump_threshold=0))
    assert sorted(inbox.fates) == sorted(taken)
    assert [body for body in inbox.fates if body not in late] == [body for body in taken if body not in late]
    assert len(inbox.down) == 1


# --- the session's side


async def test_a_link_signs_on_and_answers_echoes(wired: Make, nursery: trio.Nursery) -> None:
    """From the first byte to signed on, through the engine and back."""
    w = wired(receive=True, submit=True)
    nursery.start_soon(w.link.run)
    nursery.start_soon(w.hub.run)
    await w.hub.until(lambda hub: len(hub.requests) == 2)
    await trio.testing.wait_all_tasks_blocked()
    statistics = w.link.statistics()
    assert (statistics.receive, statistics.submit) == ("on", "on")
    message_id = await w.hub.ask("831")
    await w.hub.until(lambda hub: len(hub.messages) == 3)
    assert (w.hub.messages[2].mti, w.hub.messages[2].message_id) == ("9814", message_id)


async def test_a_dead_hub_is_given_up(wired: Make, nursery: trio.Nursery, autojump_clock: object) -> None:
    """Silence after the sign-on: echoes at 30 s and 35 s, and at 40 s the end."""
    w = wired(receive=True)
    start_s = trio.current_time()
    w.hub.codes = {"891": "0000"}
    nursery.start_soon(w.link.run)
    nursery.start_soon(w.hub.run)
    assert (await w.engine.until("down"))[2] == "2 echoes in a row unanswered"
    assert trio.current_time() - start_s == pytest.approx(40)
    assert w.hub.requests == ["891", "831", "831"]


async def test_a_hub_that_answers_echoes_is_kept(wired: Make, nursery: trio.Nursery, autojump_clock: object) -> None:
    """For an hour of silence."""
    w = wired(receive=True)
    nursery.start_soon(w.link.run)
    nursery.start_soon(w.hub.run)
    await trio.sleep(3601)
    assert w.link.open
    assert w.hub.requests == ["891"] + ["831"] * 120


async def test_what_came_while_the_process_was_held_up_counts(
    wired: Make, message: Make, nursery: trio.Nursery, mock_clock: Any
) -> None:
    """The response to an echo lies in the socket when its time is over: it is read first, whichever task wakes
    first.
    """
    w = wired(receive=True, echo_misses_max=1)
    w.hub.codes = {"891": "0000"}
    nursery.start_soon(w.link.run)
    nursery.start_soon(w.hub.run)
    await trio.testing.wait_all_tasks_blocked()
    for count in range(10):
        mock_clock.jump(30)
        await w.hub.until(lambda hub, count=count: len(hub.requests) == count + 2)
        echo = w.hub.messages[-1]
        await w.hub.say(message("9814", "831", echo.message_id, "0000", sent=echo.transmission_time))
        # nothing has run since: now everything stands still for longer than a response may take
        mock_clock.jump(29)
        await trio.testing.wait_all_tasks_blocked()
        assert w.engine.of("down") == []


async def test_finish_signs_off_and_closes(wired: Make, nursery: trio.Nursery, autojump_clock: object) -> None:
    """After the sign-off was responded to, at once."""
    w = wired(receive=True, submit=True)
    nursery.start_soon(w.link.run)
    nursery.start_soon(w.hub.run)
    await trio.testing.wait_all_tasks_blocked()
    start_s = trio.current_time()
    w.link.finish(system_clock())
    assert (await w.engine.until("down"))[2] == "signed off"
    await w.hub.closed.wait()
    assert w.hub.requests == ["891", "881", "892", "882"]
    assert trio.current_time() == start_s


async def test_a_link_that_cannot_get_its_messages_out_is_given_up(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """No HSM, no MAC, no sign-on: time-outs say so, and the link does not hang."""
    w = wired(receive=True)
    w.engine.transmitting = False
    nursery.start_soon(w.link.run)
    nursery.start_soon(w.hub.run)
    assert (await w.engine.until("down"))[2] == "2 echoes in a row unanswered"
