"""Attacker: whoever reaches the ops server by any of its ways in: a local user, a stranger on the inner network, a
client with a certificate and no role.

Attack: it makes work, or takes all places. HTTP/2 streams begun and dropped; metrics asked for in ever new words; more
idle connections than there are places.

Gain before: six seconds of streams that were reset took the median time of a payment from 3 to 260 ms, and left work
behind. Each variation of `Accept` was a rendering of its own, in which no payment is decided. The Unix socket and TLS
are new ways in: on neither does a crowd keep a probe out.
"""

import struct
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import trio

from gateway import config, metrics
from gateway.ops import server
from tests.attacks.test_acts_of_strangers import ME, Scene, ask, folder, looked, scene
from tests.fakes.ops import Papers, actors

__all__ = ["folder"]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, RST_STREAM, SETTINGS = 1, 3, 4
STREAMS = 500
ATTEMPTS = 8


def frame(kind: int, stream: int, body: bytes = b"", flags: int = 0) -> bytes:
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    return len(body).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + body


def resets() -> bytes:
    """Streams, each a GET of /metrics that is dropped at once."""
    get = b"\x82\x87\x41\x09localhost\x44\x08/metrics"  # HPACK: literal names from the static table, no Huffman
    begun = (frame(HEADERS, at, get, 0x5) + frame(RST_STREAM, at, bytes(4)) for at in range(1, 2 * STREAMS, 2))
    return frame(SETTINGS, 0) + b"".join(begun)


async def all_of(stream: trio.abc.Stream) -> bytes:
    """What comes until it is closed, however that is done."""
    got = b""
    with suppress(trio.BrokenResourceError):  # closed with something unread
        while chunk := await stream.receive_some():
            got += chunk
    return got


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One item for each rendering of the metrics. One serves all who ask, for as long as the test runs."""
    done: list[bool] = []

    def render(*, openmetrics: bool) -> tuple[bytes, str]:
        done.append(openmetrics)
        return b"metrics\n", "text/plain"

    monkeypatch.setattr(metrics, "exposition", render)
    monkeypatch.setattr(server, "METRICS_FRESH_S", 1e9)
    return done


@pytest.mark.parametrize("way", ["loopback", "socket"])
async def test_there_is_no_http_2_to_begin_streams_in(folder: Path, rendered: list[bool], way: str) -> None:
    """By prior knowledge: no frame of HTTP/2 comes back, and the connection is closed. Nothing was begun."""
    async with scene(folder, (config.Actor("me", ("look",), user=ME),)) as it:
        stream = await (it.by_loopback() if way == "loopback" else it.by_socket())
        async with stream:
            with suppress(trio.BrokenResourceError):  # closed while it was sending
                await stream.send_all(PREFACE + resets())
            said = await all_of(stream)
        assert said == b"" or said.startswith(b"HTTP/1.1 4"), said[:40]
        assert said.count(b"HTTP/1.1 ") <= 1
        assert rendered == []
        assert (await ask(await it.by_loopback(), looked("/live")))[0] == 200


async def test_an_offer_of_http_2_is_passed_over(folder: Path, rendered: list[bool]) -> None:
    """By Upgrade: an ordinary response, and what follows as HTTP/2 is no request."""
    async with scene(folder) as it:
        stream = await it.by_loopback()
        upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        async with stream:
            await stream.send_all(f"GET /live HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n".encode())
            with suppress(trio.BrokenResourceError):  # closed while it was sending
                await stream.send_all(PREFACE + resets())
            said = await all_of(stream)
        assert b"101 Switching" not in said
        assert said == b"" or said.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 4")), said[:40]
        assert rendered == []
        assert (await ask(await it.by_loopback(), looked("/live")))[0] == 200


async def test_tls_agrees_on_no_http_2(folder: Path, tmp_path: Path) -> None:
    """A client that offers it in the handshake gets HTTP/1.1."""
    papers = Papers(tmp_path)
    async with scene(folder, actors(eve=("look",)), papers.ops) as it:
        stream = await it.by_tls(papers.client("eve.bank.example"), offered=("h2", "http/1.1"))
        assert stream.selected_alpn_protocol() != "h2"
        assert (await ask(stream, looked("/live")))[0] == 200


async def test_no_variation_of_accept_costs_a_rendering(folder: Path, rendered: list[bool]) -> None:
    """There are two: the plain text and OpenMetrics. Nothing else that a request says makes one."""
    openmetrics = "application/openmetrics-text"
    async with scene(folder) as it:
        for number in range(50):
            for accept in (
                f"text/plain;q=0.{number}",
                f"x/{number}",
                f"{openmetrics};q=0.{number + 1}",
                "*/*" * number,
            ):
                request = looked(f"/metrics?name[]=x{number}", head=f"Accept: {accept}\r\nX-{number}: y\r\n")
                assert (await ask(await it.by_loopback(), request))[0] == 200
        assert sorted(rendered) == [False, True]


async def idle(it: Scene, way: str, papers: Papers, held: AsyncExitStack) -> None:
    """More connections than there are places, on which nothing is asked."""
    eve = papers.client("eve.bank.example")
    for _ in range(2 * server.CONNECTIONS_MAX):
        if way == "socket":
            stream = await it.by_socket()
        elif way == "guests":
            stream = await it.by_tls(eve)
        else:
            stream = await it.by_loopback()  # with TLS there, strangers that never shake hands
        held.push_async_callback(trio.aclose_forcefully, stream)


@pytest.mark.parametrize("way", ["loopback", "socket", "strangers", "guests"])
async def test_a_crowd_keeps_no_probe_out(folder: Path, tmp_path: Path, way: str) -> None:
    """Neither at the way in where it stands, nor at the other one."""
    papers = Papers(tmp_path)
    over_tls = way in {"strangers", "guests"}
    who = (*actors(probe=("look",)), config.Actor("me", ("look",), user=ME))
    async with scene(folder, who, papers.ops if over_tls else None) as it, AsyncExitStack() as held:
        await idle(it, way, papers, held)
        probe = papers.client("probe.bank.example")
        for _ in range(ATTEMPTS):
            stream = await (it.by_tls(probe) if over_tls else it.by_loopback())
            assert (await ask(stream, looked("/live")))[0] == 200
            assert (await ask(await it.by_socket(), looked("/live")))[0] == 200
