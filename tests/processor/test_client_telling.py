"""Inquiries and notices: each has one response, or none, and reaches the host that answers."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.errors import Unavailable
from gateway.http.directory import Endpoint
from gateway.http.statuses import Told
from tests.fakes.network import nameless
from tests.fakes.processor import REFUSED, Peer, Script, asking, payment

# --- inquiring and telling


async def test_an_inquiry(autojump_clock: MockClock) -> None:
    """The processor says what it decided."""
    asked = []

    async def script(peer: Peer) -> None:
        asked.append(await peer.request())
        await peer.respond(200, REFUSED)

    fpid = payment(1)[0]
    async with asking(script) as world:
        answer = await world.client.inquire(fpid)
        assert answer is not None
        assert (answer.fpid, answer.code) == (fpid, "1114")
    assert (asked[0].method, asked[0].path) == ("GET", "/base/payments/" + fpid.replace(" ", "%20"))


async def test_an_inquiry_about_what_nobody_knows(autojump_clock: MockClock) -> None:
    """404: not decided there."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond(404, b"{}")

    async with asking(script) as world:
        assert await world.client.inquire("F" * 42) is None


@pytest.mark.parametrize(("status", "body"), [(500, b""), (200, b"{}"), (302, b""), (503, b"")])
async def test_an_inquiry_that_is_not_answered(status: int, body: bytes, autojump_clock: MockClock) -> None:
    """Anything else is no answer: unavailable, not unknown."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond(status, body)

    async with asking(script) as world:
        with pytest.raises(Unavailable):
            await world.client.inquire("F" * 42)


class TwoHosts:
    """A directory with a primary and another one that takes inquiries."""

    def __init__(self) -> None:
        self.first = Endpoint("one", 1, tls=False, authority="one:1", path="")
        self.second = Endpoint("two", 2, tls=False, authority="two:2", path="")

    def primary(self) -> Endpoint:
        """Changes."""
        return self.first

    def inquiries(self) -> tuple[Endpoint, ...]:
        """Both."""
        return (self.first, self.second)


async def test_an_inquiry_goes_to_the_next_host(autojump_clock: MockClock) -> None:
    """When one host does not answer, the next that takes inquiries is asked."""
    async with asking(directory=TwoHosts()) as world:
        plain = world.processor.connect

        async def connect(host: str, port: int) -> trio.abc.Stream:
            if host == "one":
                raise ConnectionRefusedError(111, "Connection refused")
            return await plain(host, port)

        world.client.hosts._network = nameless(connect)
        answer = await world.client.inquire("F" * 42)
        assert answer is not None
        assert answer.code == "0000"


async def test_another_primary(autojump_clock: MockClock) -> None:
    """When the directory names another host, connections to the one before are not asked any more."""
    directory = TwoHosts()
    async with asking(directory=directory) as world:
        world.ask(1)
        await world.answered(1)
        directory.first = directory.second
        world.ask(2)
        await world.answered(2)
        await wait_all_tasks_blocked()
        assert world.processor.places == [("one", 1), ("two", 2)]
        assert world.processor.open == 1


@pytest.mark.parametrize(
    ("status", "acknowledged", "refused"),
    [
        (200, True, False), (202, True, False), (204, True, False), (299, True, False), (301, False, False),
        (307, False, False), (400, False, True), (401, False, False), (403, False, False), (404, False, False),
        (405, False, False), (407, False, False), (408, False, False), (409, False, True), (410, False, True),
        (411, False, False), (413, False, True), (421, False, False), (422, False, True), (425, False, False),
        (429, False, False), (499, False, False), (500, False, False), (501, False, False), (503, False, False),
        (599, False, False), (0, False, False),
    ],
)  # fmt: skip
def test_what_a_status_means_for_a_notice(status: int, *, acknowledged: bool, refused: bool) -> None:
    """The one table of it."""
    told = Told(status, 0.0, "")
    assert (told.acknowledged, told.refused) == (acknowledged, refused)


async def test_a_notice(autojump_clock: MockClock) -> None:
    """It is posted with its id as the key, on connections of its own that are kept."""
    got = []

    async def script(peer: Peer) -> None:
        while True:
            got.append(await peer.request())
            await peer.respond(204, b"")

    async with asking(script) as world:
        for number in range(3):
            told = await world.client.tell(f"node/{number}", b'{"id":%d}' % number)
            assert told.acknowledged
        assert len(world.processor.dials) == 1
    assert [(one.method, one.path, one.headers["idempotency-key"], one.body) for one in got] == [
        ("POST", "/base/notices", f"node/{number}", b'{"id":%d}' % number) for number in range(3)
    ]


async def no_response(peer: Peer) -> None:
    """Take it, say nothing, until the other end hangs up."""
    await peer.request()
    await peer.request()


async def hang_up(peer: Peer) -> None:
    """Take it, hang up."""
    await peer.request()


async def stutter(peer: Peer) -> None:
    """Half a response."""
    await peer.request()
    await peer.send(b"HTTP/1.1 204 No Con")


async def nonsense(peer: Peer) -> None:
    """Something else."""
    await peer.request()
    await peer.send(b"220 smtp ready\r\n")


@pytest.mark.parametrize(
    ("script", "reason", "after_s"),
    [
        (no_response, "no response within 10 s", 10),
        (hang_up, "connection closed: closed", 0),
        (stutter, "connection cut: closed", 0),
        (nonsense, "connection malformed: ", 0),
    ],
)
async def test_a_notice_that_nobody_takes(
    script: Script, reason: str, after_s: float, autojump_clock: MockClock
) -> None:
    """Telling always returns, in bounded time, and says why it was not acknowledged."""
    async with asking(script) as world:
        told = await world.client.tell("node/1", b"{}")
        assert told == Told(0, 0.0, reason)
        assert trio.current_time() == after_s
        await wait_all_tasks_blocked()
        assert world.processor.open == 0


async def test_a_line_that_was_cut_without_a_word_costs_one_notice(autojump_clock: MockClock) -> None:
    """Once nothing came back, no other connection of before the cut is trusted: the next notice gets a new one."""
    came, all_there = 0, trio.Event()

    async def script(peer: Peer) -> None:
        nonlocal came
        number = came = came + 1
        await peer.request()
        if number == 3:
            all_there.set()
        await all_there.wait()
        await peer.respond(204, b"")
        await peer.request()
        if number <= 3:
            await trio.sleep_forever()
        await peer.respond(204, b"")

    async with asking(script) as world:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(world.client.tell, f"node/{number}", b"{}")
        assert await world.client.tell("node/4", b"{}") == Told(0, 0.0, "no response within 10 s")
        assert (await world.client.tell("node/4", b"{}")).acknowledged
        assert (trio.current_time(), len(world.processor.dials)) == (10, 4)


async def test_a_notice_to_nobody(autojump_clock: MockClock) -> None:
    """A refused connection, too."""
    async with asking() as world:
        world.processor.away = True
        assert await world.client.tell("node/1", b"{}") == Told(0, 0.0, "ConnectionRefusedError: Connection refused")


async def test_a_notice_on_a_connection_that_was_closing(autojump_clock: MockClock) -> None:
    """A kept connection that turns out to be closed is replaced at once."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond(204, b"")
        await peer.request()

    async with asking(script) as world:
        assert (await world.client.tell("node/1", b"{}")).acknowledged
        assert (await world.client.tell("node/2", b"{}")).acknowledged
        assert len(world.processor.dials) == 2


@pytest.mark.parametrize(
    "junk", [b"\r\n", b"\n", b"\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 No", b""]
)
async def test_a_notice_that_nobody_took_is_not_told(junk: bytes, autojump_clock: MockClock) -> None:
    """The response to the notice before says nothing of this one, whatever comes before the server hangs up."""
    taken = set()

    async def script(peer: Peer) -> None:
        taken.add((await peer.request()).headers["idempotency-key"])
        await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        await peer.request()
        await peer.send(junk)

    async with asking(script) as world:
        told = {key for key in map("node/{}".format, range(20)) if (await world.client.tell(key, b"{}")).acknowledged}
    assert told == taken


async def test_a_notice_after_an_idle_connection_ended(autojump_clock: MockClock) -> None:
    """A kept connection that ended while idle is forgotten, not used."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond(204, b"")

    async with asking(script) as world:
        for number in range(3):
            assert (await world.client.tell(f"node/{number}", b"{}")).acknowledged
            await wait_all_tasks_blocked()
        assert len(world.processor.dials) == 3
        assert world.client.calls._spare == []


async def test_a_notice_goes_to_the_primary(autojump_clock: MockClock) -> None:
    """Also when a connection to the one before is still there."""
    directory = TwoHosts()
    async with asking(directory=directory) as world:
        assert (await world.client.tell("node/1", b"{}")).acknowledged
        directory.first = directory.second
        assert (await world.client.tell("node/2", b"{}")).acknowledged
        await wait_all_tasks_blocked()
        assert world.processor.places == [("one", 1), ("two", 2)]
        assert world.processor.open == 1


@pytest.mark.parametrize(("header", "seconds"), [(b"7", 7.0), (b"Wed, 21 Oct 2026 07:28:00 GMT", 0.0), (b"-1", 0.0)])
async def test_retry_after(header: bytes, seconds: float, autojump_clock: MockClock) -> None:
    """Seconds are understood; a date is not worth a clock."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond(503, b"", b"Retry-After: " + header)

    async with asking(script) as world:
        assert (await world.client.tell("node/1", b"{}")).retry_after_s == seconds


async def test_a_response_that_comes_after_its_asker_left(autojump_clock: MockClock) -> None:
    """A connection whose response is still out is never given to the next."""

    async def script(peer: Peer) -> None:
        first = await peer.request()
        if first.headers["idempotency-key"] == "node/1":
            await trio.sleep(11)
            await peer.respond(204, b"")
        else:
            await peer.respond(500, b"")

    async with asking(script) as world:
        assert not (await world.client.tell("node/1", b"{}")).acknowledged
        assert (await world.client.tell("node/2", b"{}")).status == 500
