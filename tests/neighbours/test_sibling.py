"""The other site's gateway, as this one sees it: an error line when they share not what they must, nothing else."""

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from gateway import config, metrics
from gateway.errors import ConfigurationError
from gateway.http.hosts import Hosts, Keys
from gateway.neighbours.sibling import Identity, Sibling
from gateway.network.names import MACHINE
from gateway.ops import server
from tests.conftest import Logged
from tests.fakes import door as doors
from tests.fakes.network import nameless
from tests.fakes.ops import NOBODY
from tests.fakes.processor import Peer, Processor, settings, until

OWN = Identity("sip-a", "sip", "0123456789abcdef", "0.1.0")
ITS = Identity("sip-b", "sip", "0123456789abcdef", "0.2.0")
SETTINGS = config.Sibling("http://sip-b:9200/ops")
ERROR_LINE = "the sites do not share what a pair must share"


def gauge(name: str) -> float | None:
    """What `/metrics` shows."""
    return metrics.REGISTRY.get_sample_value(name)


def ready(its: Identity, **parts: Any) -> bytes:
    """What it says of itself."""
    return json.dumps({"ready": True, "reasons": [], "parts": {**its._asdict(), **parts}}).encode()


class There:
    """The other site's ops server, as a test has it."""

    def __init__(self) -> None:
        self.status, self.body = 200, ready(ITS)
        self.asked: list[str] = []
        self.gone = False
        """Hangs up when it is asked again."""

    async def play(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            if self.gone:
                return
            self.asked.append(f"{request.method} {request.path}")
            await peer.respond(self.status, self.body)


@asynccontextmanager
async def looking(there: There) -> AsyncIterator[tuple[Sibling, Processor]]:
    """One that looks every ten seconds, on a mock clock: half a second after it has."""
    async with trio.open_nursery() as nursery:
        peer = Processor(nursery, there.play)
        sibling = Sibling(SETTINGS, OWN, network=nameless(peer.connect), luck=lambda: 1.0)
        assert sibling.health() == "not looked at yet"
        nursery.start_soon(sibling.run)
        await trio.sleep(0.5)
        yield sibling, peer
        nursery.cancel_scope.cancel()


async def test_a_sibling_that_shares_what_it_must(autojump_clock: MockClock, logged: Logged) -> None:
    """Looked at now and then, over one connection; another version of the gateway is no difference."""
    there = There()
    async with looking(there) as (sibling, peer):
        assert sibling.health() == ""
        await trio.sleep(20)
        assert there.asked == ["GET /ops/ready"] * 3
        assert peer.places == [("sip-b", 9200)]
    assert [line["event"] for line in logged()] == ["sibling is looked at"]
    assert (gauge("fps_sibling_differs"), gauge("fps_sibling_away")) == (0, 0)


@pytest.mark.parametrize(
    ("its", "said"),
    [
        (
            ITS._replace(fingerprint="f" * 16),
            "sip-b has the fingerprint ffffffffffffffff, we have 0123456789abcdef (versions 0.2.0 and 0.1.0)",
        ),
        (ITS._replace(group="sop", fingerprint="f" * 16), "sip-b serves group sop, we serve sip"),
        (OWN, "it has our name, sip-a: it is this very process, or misnamed"),
    ],
)
async def test_a_difference_is_an_alarm(autojump_clock: MockClock, logged: Logged, its: Identity, said: str) -> None:
    """One error line for each change, a metric, and words for `/ready`; put right, it is over."""
    there = There()
    there.body = ready(its)
    async with looking(there) as (sibling, _):
        await trio.sleep(100)
        assert sibling.health() == said
        assert gauge("fps_sibling_differs") == 1
        there.body = ready(ITS._replace(fingerprint="e" * 16))
        await trio.sleep(100)
        assert len(logged(ERROR_LINE)) == 2
        there.body = ready(ITS)
        await trio.sleep(10)
        assert sibling.health() == ""
        assert gauge("fps_sibling_differs") == 0
    first, second = logged(ERROR_LINE)
    assert (first["level"], first["reason"]) == ("error", said)
    assert "eeeeeeeeeeeeeeee" in second["reason"]
    assert len(logged("the sites share what a pair must share")) == 1


async def test_a_sibling_that_is_away_is_no_alarm(autojump_clock: MockClock, logged: Logged) -> None:
    """Only seen: the other site may be dead, and this one goes on. What differed before differs still."""
    there = There()
    there.body = ready(ITS._replace(fingerprint="f" * 16))
    async with looking(there) as (sibling, peer):
        peer.away = there.gone = True
        await trio.sleep(100)
        assert sibling.health().endswith("(versions 0.2.0 and 0.1.0); away: ConnectionRefusedError: Connection refused")
        assert (gauge("fps_sibling_differs"), gauge("fps_sibling_away")) == (1, 1)
        peer.away, there.gone, there.body = False, False, ready(ITS)
        await trio.sleep(10)
        assert sibling.health() == ""
        assert (gauge("fps_sibling_differs"), gauge("fps_sibling_away")) == (0, 0)
    assert [line["level"] for line in logged() if line["level"] not in {"info", "debug"}] == ["error"]
    assert len(logged("sibling cannot be looked at")) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"<html>"),
        (200, b"{}"),
        (200, b'{"parts": {"fingerprint": "0123456789abcdef"}}'),
        (200, ready(ITS, fingerprint="MR SECRET")),
        (200, ready(ITS, node="MR SECRET")),
        (200, ready(ITS, version="MR SECRET")),
        (200, ready(ITS).replace(b"sip-b", b"SECRET \xff")),
        (200, b'{"deep":' + b"[" * 20_000),
    ],
)
async def test_whoever_else_is_there_is_no_sibling(
    autojump_clock: MockClock, logged: Logged, status: int, body: bytes
) -> None:
    """What is no gateway's `/ready` is as good as nobody, and nothing of it gets into the log."""
    there = There()
    there.status, there.body = status, body
    async with looking(there) as (sibling, _):
        assert sibling.health() == f"away: status {status}, and not what a gateway says there"
    assert "SECRET" not in str(logged())


async def test_a_sibling_that_does_not_respond(autojump_clock: MockClock) -> None:
    """It is away after five seconds, and looked at again."""

    async def silent(peer: Peer) -> None:
        await peer.request()
        await trio.sleep_forever()

    there = There()
    there.play = silent  # type: ignore[method-assign]
    async with looking(there) as (sibling, peer):
        await trio.sleep(5)
        assert sibling.health() == "away: no response within 5 s"
        peer.script = There().play
        await trio.sleep(10)
        assert sibling.health() == ""


async def test_at_the_door_where_the_processor_submits(autojump_clock: MockClock) -> None:
    """It says as much as has to be known: where the ops port cannot be reached from the other site, the door can."""
    async with doors.door() as world:

        async def connect(_host: str, _port: int) -> trio.abc.Stream:
            ours, theirs = trio.testing.memory_stream_pair()
            world.attend(theirs)
            return ours

        own = Identity(**{**msgspec.structs.asdict(doors.READY.parts), "node": "sip-b"})
        sibling = Sibling(config.Sibling("http://sip-a:9300"), own, network=nameless(connect))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sibling.run)
            await trio.testing.wait_all_tasks_blocked()
            assert sibling.health() == ""
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("unready", [False, True])
async def test_over_real_sockets(nursery: trio.Nursery, *, unready: bool) -> None:
    """A real ops server is looked at; one that is unready shares what it must all the same."""
    ops = server.Server(config.Ops(port=0), NOBODY, ready=lambda: (not unready, {"parts": ITS._asdict()}))
    port: int = await nursery.start(ops.serve)
    sibling = Sibling(config.Sibling(f"http://127.0.0.1:{port}"), OWN)
    nursery.start_soon(sibling.run)
    await until(lambda: sibling.health() == "")
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Sibling(config.Sibling("https://a?b"), OWN), "node.sibling.url"),
        (lambda: Sibling(config.Sibling("https://a", config.Tls("none")), OWN), "node.sibling.tls.ca_file"),
        (lambda: Hosts(settings("https://a?b"), MACHINE, random.random, Keys("node.peers.x", "")), "node.peers.x"),
    ],
)
def test_a_mistake_names_its_own_setting(make: Callable[[], object], key: str) -> None:
    """A URL or a file of no use is the setting's that has it, not the processor's."""
    with pytest.raises(ConfigurationError, match=f"^{key}: "):
        make()
