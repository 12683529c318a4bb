"""The same over real sockets on loopback, plain and with TLS: what the streams in memory cannot show."""

import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

import gateway.hub.link as link_module
from gateway import config, log
from gateway.clock import system_clock
from gateway.hub.dial import KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES, Sockets
from gateway.hub.exchanges import MessageIds
from gateway.hub.pool import Links
from gateway.hub.rules import Direction
from gateway.network.dialler import Dialler
from gateway.network.names import Answer, Network
from gateway.network.papers import client_context
from gateway.wire.codec import Codec, join_mac
from gateway.wire.frame import Framer, frame
from gateway.wire.message import NetworkRequest, NetworkResponse
from tests.fakes.shortage import no_threads
from tests.paging.cut import Cable

WIRE = config.Wire()
CODEC = Codec()
Serve = Callable[[trio.abc.Stream], Awaitable[None]]


class Certificates:
    """An authority, the hub's certificate and ours, as files."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.hub = self.ca.issue_cert("hub.example")
        self.stranger = trustme.CA()
        ours = self.ca.issue_cert("gateway.example")
        self.ca_file, self.certificate_file, self.key_file = (str(folder / n) for n in ("ca.pem", "own.pem", "own.key"))
        self.ca.cert_pem.write_to_path(self.ca_file)
        ours.private_key_pem.write_to_path(self.key_file)
        for blob in ours.cert_chain_pems:
            blob.write_to_path(self.certificate_file, append=True)

    def tls(self, **change: str) -> config.Tls:
        """The dialler as the gateway is configured."""
        settings = {
            "ca_file": self.ca_file,
            "certificate_file": self.certificate_file,
            "key_file": self.key_file,
            "server_name": "hub.example",
        }
        return config.Tls(**{**settings, **change})

    def server(self, **_: Any) -> ssl.SSLContext:
        """The hub's side: demands a certificate of ours."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.hub.configure_cert(context)
        self.ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Fresh ones."""
    return Certificates(tmp_path)


@asynccontextmanager
async def listening(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a free port; it ends with the block."""

    async def one(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True) if context else None
        try:
            await serve(tls or stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, one, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def site(port: int, tls: config.Tls | None = None, **settings: Any) -> config.HubSite:
    """A hub site on loopback."""
    return config.HubSite(name="a", host="127.0.0.1", port=port, tls=tls, **settings)


async def dial(site: config.HubSite) -> trio.abc.Stream:
    """As the pool dials."""
    return (await Sockets().dial(site, Dialler("hub", site.host, site.port))).stream


async def test_socket_options() -> None:
    """Nagle off, keepalive on, and bytes that are not confirmed in time end the connection."""

    async def wait(stream: trio.abc.Stream) -> None:
        await stream.receive_some()

    async with listening(wait) as port:
        stream = await dial(site(port))
        assert isinstance(stream, trio.SocketStream)
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 25_000
        await stream.aclose()


@pytest.mark.parametrize("by", ["data", "confirmation"])
async def test_how_long_the_other_machine_was_not_heard_of(by: str) -> None:
    """It grows, begins anew with whatever comes, also with the bare confirmation of what we sent, and once the cable is
    cut only grows.
    """
    ends: list[trio.SocketStream] = []

    async def hold(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio.SocketStream)
        ends.append(stream)
        await trio.sleep_forever()

    async def reaches(silent: Callable[[], float], wanted: Callable[[float], bool]) -> None:
        with trio.fail_after(10):
            while not wanted(silent()):  # noqa: ASYNC110 - the kernel cannot set our events
                await trio.sleep(0.01)

    async with listening(hold) as hub_port, trio.open_nursery() as nursery:
        cable = Cable(hub_port)
        port = await nursery.start(cable.run)
        dialled = await Sockets().dial(site(port), Dialler("hub", "127.0.0.1", port))
        await reaches(dialled.silent_s, lambda silent_s: bool(ends) and silent_s >= 0.5)
        before_s = trio.current_time()
        if by == "data":
            await ends[0].send_all(b"x")
            await dialled.stream.receive_some()
        else:
            await dialled.stream.send_all(b"x")
        await reaches(dialled.silent_s, lambda silent_s: silent_s <= trio.current_time() - before_s + 0.02)
        await cable.cut()
        cut_s = trio.current_time()
        if by == "confirmation":
            await dialled.stream.send_all(b"x")
        await reaches(dialled.silent_s, lambda silent_s: silent_s >= 0.5)
        assert dialled.silent_s() >= trio.current_time() - cut_s - 0.02, "nothing came since"
        await trio.aclose_forcefully(dialled.stream)
        assert dialled.silent_s() == 0.0, "it is no longer there to be asked"
        nursery.cancel_scope.cancel()


async def test_what_is_unconfirmed_is_given_up_sooner_than_echoes_would() -> None:
    """By the defaults; and when TCP's keepalive would give up an idle connection."""
    session, hub = config.Session(), site(1)
    assert hub.unconfirmed_s < session.echo_after_s + session.echo_misses_max * session.respond_within_s
    assert hub.unconfirmed_s == KEEPALIVE_IDLE_S + KEEPALIVE_PROBES * KEEPALIVE_INTERVAL_S


async def test_nobody_listens() -> None:
    """An OSError, as promised."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(OSError, match=r"127\.0\.0\.1|onnect"):
        await dial(site(port))


async def test_a_host_that_cannot_be_a_name_is_no_end_of_the_process(engine: Any) -> None:
    """It is tried for ever like any other that is away, and said."""
    seeded = random.Random(1)  # noqa: S311 - jitter
    bad = config.HubSite(name="a", host="hub..example", port=1, reconnect_s=100.0, reconnect_max_s=100.0)
    links = Links(
        (bad,), config.Pair(group="sip"), engine, MessageIds(), clock=system_clock, random=seeded, came_s=float,
        unproved=config.Unproved(),
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.run)
        while "Error" not in links.ready():
            await trio.lowlevel.checkpoint()
        await links.finish()


async def test_tls_with_certificates_of_both(certificates: Certificates) -> None:
    """The hub sees our certificate, we check its name, and old versions are not offered."""
    seen: list[tuple[str, str]] = []

    async def serve(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio.SSLStream)
        await stream.do_handshake()
        names = dict(stream.getpeercert()["subjectAltName"])
        seen.append((names["DNS"], stream.version()))
        await stream.send_all(b"hello")

    async with listening(serve, certificates.server()) as port:
        stream = await dial(site(port, certificates.tls()))
        assert await stream.receive_some() == b"hello"
        assert await stream.receive_some() == b""
        await stream.aclose()
    assert seen == [("gateway.example", "TLSv1.3")]
    assert client_context(certificates.tls(), "node.hub.a.tls").minimum_version is ssl.TLSVersion.TLSv1_2
    assert client_context(certificates.tls(), "node.hub.a.tls").check_hostname


@pytest.mark.parametrize("wrong", ["name", "host", "authority"])
async def test_tls_with_the_wrong_hub(certificates: Certificates, tmp_path: Path, wrong: str) -> None:
    """Another name, no name configured and an address that the certificate lacks, or another authority: no
    connection.
    """

    async def serve(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio.SSLStream)
        await stream.do_handshake()
        await stream.receive_some()

    other = tmp_path / "stranger.pem"
    certificates.stranger.cert_pem.write_to_path(str(other))
    change = {
        "name": {"server_name": "other.example"},
        "host": {"server_name": ""},
        "authority": {"ca_file": str(other)},
    }
    async with listening(serve, certificates.server()) as port:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await dial(site(port, certificates.tls(**change[wrong])))
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_a_hub_that_does_not_take_our_certificate_is_not_blamed(
    certificates: Certificates, tmp_path: Path
) -> None:
    """Its alert comes after our end of the handshake is over, and is told as what it is."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        """As a hub does that says why (trio's leaves without a word)."""
        with listener, listener.accept()[0] as accepted, pytest.raises(ssl.SSLCertVerificationError):
            certificates.server().wrap_socket(accepted, server_side=True).close()

    theirs = certificates.stranger.issue_cert("gateway.example")
    certificate, key = str(tmp_path / "other.pem"), str(tmp_path / "other.key")
    theirs.cert_chain_pems[0].write_to_path(certificate)
    theirs.private_key_pem.write_to_path(key)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, refuse)
        tls = certificates.tls(certificate_file=certificate, key_file=key)
        stream = await dial(site(listener.getsockname()[1], tls))
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.receive_some()
        await trio.aclose_forcefully(stream)
    assert log.describe(caught.value).endswith(": our certificate is not taken)")


async def test_a_renewed_certificate_is_shown_to_the_hub(certificates: Certificates, logged: Any) -> None:
    """By the next connection; one that has ended is not."""
    seen: list[int] = []

    async def serve(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio.SSLStream)
        await stream.do_handshake()
        seen.append(int(stream.getpeercert()["serialNumber"], 16))
        await stream.send_all(b"hello")

    sockets = Sockets()

    async def see(port: int) -> None:
        stream = (await sockets.dial(site(port, certificates.tls()), Dialler("hub", "127.0.0.1", port))).stream
        assert await stream.receive_some() == b"hello"
        await trio.aclose_forcefully(stream)

    def renew(**dates: Any) -> None:
        ours = certificates.ca.issue_cert("gateway.example", **dates)
        ours.private_key_pem.write_to_path(certificates.key_file)
        ours.cert_chain_pems[0].write_to_path(certificates.certificate_file)

    async with listening(serve, certificates.server()) as port:
        await see(port)
        renew(not_after=datetime(2020, 1, 1, tzinfo=UTC))
        await see(port)
        renew()
        await see(port)
    assert seen[0] == seen[1] != seen[2]
    assert "has ended" in logged("changed TLS files are not used")[0]["reason"]


async def test_tls_files_that_are_missing(certificates: Certificates) -> None:
    """An OSError: the pool tries again, and uses them as soon as they are there."""
    with pytest.raises(OSError, match="No such file"):
        await dial(site(1, certificates.tls(certificate_file="/nowhere/own.pem")))


class Signing:
    """A hub over sockets, one after the other, with the scripted hub of conftest."""

    def __init__(self, hub_type: Any) -> None:
        self.hub_type = hub_type
        self.hubs: list[Any] = []

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection."""
        hub = self.hub_type(stream, WIRE)
        self.hubs.append(hub)
        await hub.run()


def world(engine: Any, port: int, tls: config.Tls | None, **settings: Any) -> Links:
    """Links over sockets."""
    seeded = random.Random(1)  # noqa: S311 - jitter
    return Links(
        (site(port, tls, **settings),),
        config.Pair(group="sip"),
        engine,
        MessageIds(),
        clock=system_clock,
        random=seeded,
        came_s=float,
        unproved=config.Unproved(),
    )


@pytest.mark.parametrize("secure", [False, True])
async def test_a_life_over_sockets(
    certificates: Certificates, engine: Any, hub_type: Any, message: Any, *, secure: bool
) -> None:
    """Sign on, read bytes one at a time and all at once, write, lose the connection, come back, sign off."""
    signing = Signing(hub_type)
    tls, context = (certificates.tls(), certificates.server()) if secure else (None, None)
    async with listening(signing.serve, context) as port, trio.open_nursery() as nursery:
        links = world(engine, port, tls)
        nursery.start_soon(links.run)
        await engine.until("transmit", 2)
        while not links.signed_on(Direction.SUBMIT) or not links.signed_on(Direction.RECEIVE):
            await engine.progress.park()
        hub = signing.hubs[0]
        bodies = [b"9200" + bytes([n]) * 100 for n in range(200)]
        stream = b"".join(frame(WIRE, body) for body in bodies)
        for at in range(300):
            await hub.send(stream[at : at + 1])
        await hub.send(stream[300:])
        while len(engine.bodies) < len(bodies):
            await engine.progress.park()
        assert engine.bodies == bodies

        link = links.links[0]
        link.send(hub.body(message("9824", "971", "500001")), "reply")
        link.flush()
        assert (await engine.until("sent"))[2] == ["reply"]
        await hub.until(lambda hub: hub.messages[-1].mti == "9824")
        await trio.aclose_forcefully(hub.stream)
        reason = (await engine.until("down"))[2]
        assert "closed by the hub" in reason or "broken" in reason

        await engine.until("up", 2)
        await engine.until("transmit", 4)
        while not links.signed_on(Direction.SUBMIT) or not links.signed_on(Direction.RECEIVE):
            await engine.progress.park()
        await links.finish()
        assert signing.hubs[1].requests[-2:] == ["892", "882"]
        assert engine.of("down")[-1][2] == "signed off"


async def test_a_hub_that_does_not_read_over_sockets(engine: Any) -> None:
    """The kernel's buffers fill, then ours, then the link ends; every body has its fate."""

    async def sleep(_stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    async with listening(sleep) as port, trio.open_nursery() as nursery:
        links = world(engine, port, None, write_bytes_max=1_000_000, reconnect_s=100.0, reconnect_max_s=100.0)
        nursery.start_soon(links.run)
        link = (await engine.until("up"))[1]
        number = 0
        while link.send(bytes(8000), number):
            number += 1
            link.flush()
            await trio.lowlevel.checkpoint()
        assert (await engine.until("down"))[2].startswith("the hub does not read")
        fates = [context for event in engine.events if event[0] in {"sent", "unsent"} for context in event[2]]
        assert fates == list(range(number))
        assert engine.of("unsent")[0][3] is False
        await links.finish()


async def test_last_words_arrive_over_sockets(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the hub has sent more than we ever read: closing does not reset the connection under our 9624."""
    monkeypatch.setattr(link_module, "LAST_WORDS_S", 0.2)
    heard: list[bytes] = []
    over = trio.Event()

    async def babble(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"\xff\xff\xff\xff" + bytes(200_000))
        heard.extend([bytes(chunk) async for chunk in stream])
        over.set()

    async with listening(babble) as port, trio.open_nursery() as nursery:
        links = world(engine, port, None, reconnect_s=100.0, reconnect_max_s=100.0)
        nursery.start_soon(links.run)
        _, link, _ = await engine.until("frame error")
        link.send(b"9624 cannot parse", "advice")
        link.flush()
        await over.wait()
        assert frame(WIRE, b"9624 cannot parse") in b"".join(heard)
        await links.finish()


# --- a site with several addresses


@asynccontextmanager
async def two_hosts(first: Serve | None, second: Serve) -> AsyncIterator[tuple[int, Network]]:
    """A hub site whose name leads to two hosts; the first may have no listener."""
    async with trio.open_nursery() as nursery:
        (other,) = await trio.open_tcp_listeners(0, host="127.0.0.2")
        port = other.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, second, [other])
        if first is not None:
            nursery.start_soon(trio.serve_listeners, first, await trio.open_tcp_listeners(port, host="127.0.0.1"))

        def lookup(name: str, answered: Callable[[Answer], None]) -> None:
            assert name == "hub.example"
            answered(("127.0.0.1", "127.0.0.2"))

        yield port, Network(lookup, trio.open_tcp_stream)
        nursery.cancel_scope.cancel()


async def no_hub(stream: trio.abc.Stream) -> None:
    """Accepts, reads, and says nothing: a port forwarder with no hub behind it."""
    async for _ in stream:
        pass


async def speaks_http(stream: trio.abc.Stream) -> None:
    """Something else listens there."""
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await no_hub(stream)


async def echoes_alone(stream: trio.abc.Stream) -> None:
    """A hub's front, with no hub behind it to sign us on."""
    framer = Framer(WIRE)
    async for chunk in stream:
        for _, body in framer.feed(bytes(chunk), 0.0):
            request = CODEC.decode(body)
            assert isinstance(request, NetworkRequest)
            if request.function_code == "831":
                answer = NetworkResponse(
                    mti="9814", function_code="831", action_code="0000",
                    message_id=request.message_id, transmission_time=request.transmission_time,
                )  # fmt: skip
                await stream.send_all(frame(WIRE, join_mac(CODEC.encode(answer), bytes(8))))


@pytest.mark.parametrize("first", [None, trio.aclose_forcefully, no_hub, speaks_http, echoes_alone])
async def test_an_address_that_answers_no_sign_on_does_not_hide_the_next(
    first: Serve | None, engine: Any, hub_type: Any
) -> None:
    """Refused, hung up, silent, no hub at all: the site's other address has its turn, and is kept to."""
    signing = Signing(hub_type)
    async with two_hosts(first, signing.serve) as (port, network), trio.open_nursery() as nursery:
        named = config.HubSite(name="a", host="hub.example", port=port, reconnect_s=0.001, reconnect_max_s=0.001)
        session = config.Session(echo_after_s=0.05, respond_within_s=0.05, retry_s=0.01)
        links = Links(
            (named,), config.Pair(group="sip", session=session), engine, MessageIds(),
            clock=system_clock, random=random.Random(1), came_s=float, network=network, unproved=config.Unproved(),  # noqa: S311
        )  # fmt: skip
        nursery.start_soon(links.run)
        for life in range(3):
            while not links.signed_on(Direction.SUBMIT):
                await engine.progress.park()
            assert len(signing.hubs) == life + 1
            await trio.aclose_forcefully(signing.hubs[-1].stream)
            while links.links:
                await engine.progress.park()
        nursery.cancel_scope.cancel()
    assert len(engine.of("up")) <= 3 + 2, "the first address has not had more than its turn"


async def test_where_no_thread_can_be_started_the_files_known_are_used(certificates: Certificates) -> None:
    """A link is worth more than a look at files that may be new; a site without known files is dialled again later."""
    sockets, dialler = Sockets(), Dialler("hub a", "127.0.0.1", 1)
    known = await sockets._look("a", certificates.tls(), dialler)
    with no_threads():
        assert await sockets._look("a", certificates.tls(), dialler) is known
        with pytest.raises(OSError, match="no thread can be started"):
            await sockets._look("b", certificates.tls(), dialler)
