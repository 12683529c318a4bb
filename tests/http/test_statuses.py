"""What becomes of a question and of a notice, by the status of its response and by how its connection ended."""

import pytest
import trio
import trio.testing

from gateway.http.statuses import AGAIN, CROSSINGS_MAX, REFUSING, UNREAD, Told
from gateway.processor.pool import AWAY_PAUSE_S
from tests.fakes.processor import Peer, Script, asking

Clock = trio.testing.MockClock
KEEP, CLOSE = b"Connection: keep-alive", b"Connection: close"

AT_ONCE, LATER, NEVER, ANSWERED = "at once", "later", "never", "answered"
ROWS = {
    **dict.fromkeys((408, 421, 425), (AT_ONCE, AT_ONCE)),
    **dict.fromkeys((429, 502, 503, 504), (LATER, "again")),
    **dict.fromkeys((400, 409, 410, 413, 422), (NEVER, "refused")),
    **dict.fromkeys((300, 301, 304, 307, 308), (NEVER, "again")),
    **dict.fromkeys((401, 402, 403, 404, 405, 406, 407, 411, 412, 414, 415, 416, 417), (NEVER, "again")),
    **dict.fromkeys((418, 423, 424, 426), (NEVER, "again")),
    **dict.fromkeys((428, 431, 451, 499, 500, 501, 505, 506, 507, 508, 510, 511, 520, 599), (NEVER, "again")),
    **dict.fromkeys((201, 202, 203, 204, 205, 206, 226), (NEVER, "told")),
}  # fmt: skip
"""By status: whether a question that it answers is asked again, and what becomes of a notice."""


def says_first(said: bytes) -> Script:
    """The first request gets this, every other one is accepted."""
    first = True

    async def script(peer: Peer) -> None:
        nonlocal first
        while True:
            await peer.request()
            if first:
                first = False
                await peer.send(said)
            else:
                await peer.respond()

    return script


def response(status: int, connection: bytes) -> bytes:
    """As a server or a proxy writes it."""
    length = b"" if status in (204, 304) else b"Content-Length: 0\r\n"
    return b"HTTP/1.1 %d -\r\n%b%b\r\n\r\n" % (status, length, connection)


@pytest.mark.parametrize("connection", [KEEP, CLOSE])
@pytest.mark.parametrize(("status", "becomes"), [(status, row[0]) for status, row in ROWS.items()])
async def test_a_question_that_is_not_answered(
    status: int, becomes: str, connection: bytes, autojump_clock: Clock
) -> None:
    """It is asked again where nobody read it, or nobody was there; never where it may have been decided."""
    async with asking(says_first(response(status, connection))) as world:
        world.ask(within_s=5.0)
        await trio.sleep(6)
        if becomes == NEVER:
            assert world.answers == []
            assert world.counts == {"status": 1}
            return
        assert await world.answered() == [(1, "0000")]
        assert (world.times[0] < AWAY_PAUSE_S / 2) == (becomes == AT_ONCE)
        assert world.counts == {"again": 1, "answered": 1}
        assert len(world.processor.dials) == (1 if (status, connection) == (429, KEEP) else 2)


@pytest.mark.parametrize("status", sorted(UNREAD))
async def test_what_nobody_read_never_goes_to_the_same_connection_again(status: int, autojump_clock: Clock) -> None:
    """However many meet that at once: a connection that leads to the wrong host is worth nothing to any of them."""
    asked: list[set[bytes]] = []

    async def script(peer: Peer) -> None:
        wrong, here = len(asked) < 6, set[bytes]()
        asked.append(here)
        while True:
            key = (await peer.request()).headers["idempotency-key"].encode()
            assert key not in here, "asked again on the same connection"
            here.add(key)
            await trio.sleep(0.01)
            await (peer.send(response(status, KEEP)) if wrong else peer.respond())

    async with asking(script) as world:
        world.ask(*range(6))
        assert sorted(await world.answered(6)) == [(number, "0000") for number in range(6)]
        assert all(len(keys) <= 1 for keys in asked[:6]), "nobody else is sent there either"


@pytest.mark.parametrize(("status", "becomes"), [(status, row[1]) for status, row in ROWS.items()])
async def test_a_notice_that_is_answered(status: int, becomes: str, autojump_clock: Clock) -> None:
    """It is told again at once where nobody read it; else the status says what it is."""
    async with asking(says_first(response(status, KEEP))) as world:
        told = await world.client.tell("node/1", b"{}")
        if becomes == AT_ONCE:
            assert (told.status, len(world.processor.dials)) == (200, 2)
        else:
            assert told.status == status
            assert (told.acknowledged, told.refused) == (becomes == "told", becomes == "refused")


def test_no_status_stands_in_two_rows() -> None:
    """And those that are asked again are these alone."""
    assert not UNREAD & AGAIN
    assert not (UNREAD | AGAIN) & REFUSING
    assert {status for status, row in ROWS.items() if row[0] == AT_ONCE} == UNREAD
    assert {status for status, row in ROWS.items() if row[0] == LATER} == AGAIN
    assert {status for status, row in ROWS.items() if row[1] == "refused"} == REFUSING


ENDS: dict[str, tuple[bytes, str, str]] = {
    "nothing": (b"", LATER, AT_ONCE),
    "an empty line": (b"\r\n", LATER, AT_ONCE),
    "an interim response": (b"HTTP/1.1 100 Continue\r\n\r\n", LATER, LATER),
    "half a status line": (b"HTTP/1.1 408", LATER, LATER),
    "half a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{", LATER, LATER),
    "no HTTP": (b"hello", NEVER, NEVER),
    "no answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", NEVER, NEVER),
}
"""What comes before the connection is closed; and whether a question is asked again, on a new one and on a kept one."""


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("end", ENDS)
async def test_a_question_whose_connection_is_closed(end: str, kept: bool, autojump_clock: Clock) -> None:  # noqa: FBT001
    """On a kept connection it crossed with the closing when nothing of a response came: that is no sign of trouble."""
    said, new, old = ENDS[end]
    becomes = old if kept else new
    turn = 0

    async def script(peer: Peer) -> None:
        nonlocal turn
        while True:
            await peer.request()
            turn += 1
            if turn == (2 if kept else 1):
                await peer.send(said)
                return
            await peer.respond()

    async with asking(script) as world:
        if kept:
            world.ask(1)
            await world.answered(1)
        asked_s = trio.current_time()
        world.ask(2)
        await trio.sleep(6)
        answers = await world.answered(int(kept))
        assert len(answers) == kept + (becomes != NEVER)
        if becomes != NEVER:
            assert (world.times[-1] - asked_s < AWAY_PAUSE_S / 2) == (becomes == AT_ONCE)


async def test_an_accident_that_does_not_end_is_none(autojump_clock: Clock) -> None:
    """A server that says of everything that it did not read it is asked some times at once, then with pauses, and a
    notice is told some times and given back.
    """
    asked: list[float] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.append(trio.current_time())
        await peer.respond(408, b"", CLOSE)

    async with asking(script) as world:
        assert await world.client.tell("node/1", b"{}") == Told(408, 0.0, "status 408")
        assert len(asked) == 1 + CROSSINGS_MAX
        asked.clear()
        world.ask(within_s=5.0)
        await trio.sleep(6)
        assert world.answers == []
        at_once = [at_s for at_s in asked if at_s == asked[0]]
        assert len(at_once) == 1 + CROSSINGS_MAX
        assert len(asked) < 20
        assert {outcome for outcome in world.counts if outcome != "again"} <= {"away", "expired"}
