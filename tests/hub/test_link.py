"""One link over streams in memory: whatever the other end does, every frame and every body has exactly one fate."""

import contextlib
from math import inf
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gateway import config, metrics
from gateway.clock import system_clock
from gateway.hub.budget import Budget
from gateway.hub.exchanges import MessageIds
from gateway.hub.incoming import EMPTY_MAX
from gateway.hub.link import LAST_WORDS_S, Link
from gateway.hub.session import Session
from gateway.wire.frame import frame
from tests.conftest import Logged
from tests.hub.conftest import Make
from tests.hub.streams import BODIES, WIRES, together

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
    """Bytes that came while this process stood still may end anywhere, with the rest right behind them."""
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
    """The hub's action on the stream."""
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
            1, site, ours, Session(pair.session, MessageIds()), inbox, pair=pair, clock=system_clock, came_s=float,
            budget=Budget(config.Unproved()), is_needed=lambda: False,
        )  # fmt: skip
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
