"""The door over real sockets on loopback, plain and with TLS: what the streams in memory cannot show."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from gateway import config, metrics
from gateway.errors import ConfigurationError, Unavailable
from gateway.network import papers, trust
from gateway.processor import door as module
from gateway.processor.door import Door
from tests.fakes.door import BODY, READY, Client, Engine, durable, fresh, get, ignore, post, settings
from tests.fakes.processor import CODEC, until


class Certificates:
    """An authority, the gateway's certificate and a client's, as files."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.client = self.ca.issue_cert("processor.bank.example")
        self.onlooker = self.ca.issue_cert("sibling.bank.example")
        self.stranger = trustme.CA().issue_cert("processor.bank.example")
        ours = self.ca.issue_cert("gateway.example")
        self.certificate, self.key, self.authority = folder / "own.pem", folder / "own.key", folder / "ca.pem"
        ours.private_key_pem.write_to_path(self.key)
        ours.cert_chain_pems[0].write_to_path(self.certificate)
        self.ca.cert_pem.write_to_path(self.authority)

    def settings(self, **changes: Any) -> config.ServerTls:
        """What the gateway is configured with."""
        given = {"client_name": "processor.bank.example", **changes}
        return config.ServerTls(str(self.certificate), str(self.key), str(self.authority), **given)

    def context(self, identity: trustme.LeafCert | None) -> ssl.SSLContext:
        """The client's side."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if identity is not None:
            identity.configure_cert(context)
        return context


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Fresh ones."""
    return Certificates(tmp_path)


class Listening:
    """A door that listens."""

    def __init__(self, door: Door, engine: Engine, port: int) -> None:
        self.door = door
        self.engine = engine
        self.port = port
        self.streams: list[trio.abc.Stream] = []

    async def client(self, context: ssl.SSLContext | None = None) -> Client:
        """A connection."""
        stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        if context is not None:
            stream = trio.SSLStream(stream, context, server_hostname="gateway.example", https_compatible=True)
        self.streams.append(stream)
        return Client(stream)


@asynccontextmanager
async def listening(play: Any = durable, **changes: Any) -> AsyncIterator[Listening]:
    """A door on a free port."""
    engine = Engine(play)
    async with trio.open_nursery() as nursery:
        door = Door(settings(**changes), engine, CODEC, "sip", lambda: READY, came_s=fresh)
        port: int = await nursery.start(door.serve)
        served = Listening(door, engine, port)
        with trio.fail_after(30):
            yield served
        for stream in served.streams:
            await trio.aclose_forcefully(stream)
        nursery.cancel_scope.cancel()


async def test_over_tcp(logged: Any) -> None:
    """Submitted and looked for, on one connection; it says where it listens."""
    async with listening() as served:
        client = await served.client()
        for _ in range(3):
            assert (await client.ask(post())).status == 202
        assert (await client.ask(get("/payments/x"))).status == 404
        assert [line["port"] for line in logged("submissions are taken")] == [served.port]
        await client.hang_up()
        await until(lambda: not served.door.statistics()["connections"])


async def test_a_port_that_is_taken() -> None:
    """Said in words, before anything is served."""
    async with listening() as served:
        with pytest.raises(Unavailable, match=r"submissions: 127\.0\.0\.1:\d+: OSError"):
            await Door(settings(port=served.port), Engine(), CODEC, "sip", lambda: READY, came_s=fresh).serve()


async def test_a_whole_response_before_the_end() -> None:
    """A body that is too long gets its 413 although most of it is never read: closing does not reset the connection."""
    async with listening() as served:
        client = await served.client()
        await client.send(post(b"x" * 3_000_000)[:2_000_000])
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (413, "close")
        assert await client.end() == b""


async def test_a_client_that_does_not_read_over_tcp() -> None:
    """The kernel's buffers fill, then ours; nothing more is read from it, and it is dropped after its time."""
    async with listening(request_within_s=0.3) as served:
        client = await served.client()
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - until it is dropped
            while True:
                await client.send(get("/payments/nobody") * 60)
        await until(lambda: not served.door.statistics()["connections"])


async def test_a_client_that_resets() -> None:
    """Its submission is void."""
    async with listening(ignore) as served:
        client = await served.client()
        await client.send(post())
        submission = await served.engine.submitted()
        assert isinstance(client.stream, trio.SocketStream)
        client.stream.setsockopt(1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # SO_LINGER: a reset, no farewell
        await client.hang_up()
        await until(lambda: submission.void)


async def test_the_newest_is_turned_away() -> None:
    """When everybody is busy."""
    async with listening(ignore, connections_max=1) as served:
        busy = await served.client()
        await busy.send(post())
        await served.engine.submitted()
        crowded = await served.client()
        assert b"503 Service Unavailable" in await crowded.end()
        assert served.door.statistics()["turned_away"] == {"crowded": 1, "tls": 0, "short": 0}


async def test_closing_leaves_nothing() -> None:
    """Cancelled, the port is free at once and every connection gone."""
    async with listening() as served:
        client = await served.client()
        assert (await client.ask(post())).status == 202
        port = served.port
        served.streams.clear()
    assert await client.end() == b""
    await client.hang_up()
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", port)


# --- TLS


async def test_over_tls(certificates: Certificates) -> None:
    """With a certificate of our authority, and the right name; a last response ends with a proper farewell."""
    tls = certificates.settings(client_name="processor.bank.example")
    async with listening(tls=tls) as served:
        client = await served.client(certificates.context(certificates.client))
        assert (await client.ask(post())).status == 202
        assert (await client.ask(post(BODY, "Connection: close"))).status == 202
        assert await client.end() == b""
        assert served.engine.submissions[0].key == "key-1"


@pytest.mark.parametrize("who", ["nobody", "stranger", "plain", "garbage", "silent"])
async def test_who_is_not_let_in(certificates: Certificates, who: str, logged: Any) -> None:
    """No certificate, another authority's, no TLS, or no word: not let in, and said; others are."""
    async with listening(tls=certificates.settings(), request_within_s=0.2) as served:
        if who in {"plain", "garbage", "silent"}:
            client = await served.client()
            await client.send(
                {"plain": post(), "garbage": b"\x16\x03\x01\xff\xff" + b"x" * 70_000, "silent": b"\x16"}[who]
            )
        else:
            identity = {"nobody": None, "stranger": certificates.stranger}[who]
            client = await served.client(certificates.context(identity))
            with pytest.raises((trio.BrokenResourceError, EOFError)):
                await client.ask(post())
        await until(lambda: served.door.statistics()["turned_away"]["tls"] == 1)
        assert served.engine.submissions == []
        assert len(logged("a client was not let in")) == 1
        good = await served.client(certificates.context(certificates.client))
        assert (await good.ask(post())).status == 202


@pytest.mark.parametrize("how", ["distrusts", "sees that it has ended", "hangs up on what has ended"])
async def test_where_our_certificate_is_not_taken_no_client_is_blamed(
    certificates: Certificates, how: str, logged: Any
) -> None:
    """By what the client says, or, when it says nothing, by what is wrong with ours."""
    if how != "distrusts":
        ended = certificates.ca.issue_cert("gateway.example", not_after=datetime(2020, 1, 1, tzinfo=UTC))
        ended.private_key_pem.write_to_path(certificates.key)
        ended.cert_chain_pems[0].write_to_path(certificates.certificate)
    async with listening(tls=certificates.settings(), request_within_s=5.0) as served:
        if how == "hangs up on what has ended":
            client = await served.client()
            await client.send(b"\x16")
            await client.hang_up()
        else:
            context = ssl.create_default_context()
            if how != "distrusts":
                certificates.ca.configure_trust(context)
            await trio.to_thread.run_sync(refuse, context, served.port)
        await until(lambda: served.door.statistics()["turned_away"]["tls"] == 1)
    assert logged("a client was not let in") == []
    (line,) = logged("a client does not take our certificate")
    wanted = "our certificate is not taken" if how == "distrusts" else "node.submissions.tls.certificate_file has ended"
    assert wanted in line["reason"]
    assert line["level"] == "error"


def refuse(context: ssl.SSLContext, port: int) -> None:
    """Dial as a client that does not take our certificate, and says so (trio's leaves without a word)."""
    with socket.create_connection(("127.0.0.1", port)) as sock, pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(sock, server_hostname="gateway.example")


async def test_another_name_may_only_look(certificates: Certificates, logged: Any) -> None:
    """Whoever our authority knows sees whether we are ready; payments are the processor's, to submit and to look at."""
    async with listening(tls=certificates.settings(client_name="somebody.else.example")) as served:
        client = await served.client(certificates.context(certificates.client))
        assert (await client.ask(get("/ready"))).status == 200
        for request in (post(), get("/payments/key-1")):
            refused = await client.ask(request)
            assert refused.json["status"] == refused.status == 403
        assert served.engine.submissions == []
        assert len(logged("a client may not submit")) == 1


async def test_a_name_that_is_given_while_it_runs_counts_for_connections_that_stand(
    certificates: Certificates, logged: Any
) -> None:
    """Who has it may submit from now on; who had the old one is cut off."""
    async with listening(tls=certificates.settings()) as served:
        processor = await served.client(certificates.context(certificates.client))
        assert (await processor.ask(post())).status == 202
        onlooker = await served.client(certificates.context(certificates.onlooker))
        assert (await onlooker.ask(post())).status == 403
        served.door.on_client_name("processor.bank.example")
        assert (await processor.ask(post())).status == 202
        served.door.on_client_name("sibling.bank.example")
        assert await processor.end() == b""
        assert (await onlooker.ask(post())).status == 202
        assert len(logged("a client may submit no more: its connection is closed")) == 1


async def test_a_client_that_is_trusted_no_more_is_named_and_counted(
    certificates: Certificates, logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others keep their connections."""
    ends = certificates.ca.issue_cert("processor.bank.example", not_after=datetime.now(UTC) + timedelta(hours=1))
    before = metrics.TRUST_ENDED["submissions"]._value.get()
    async with listening(tls=certificates.settings()) as served:
        good = await served.client(certificates.context(certificates.client))
        ending = await served.client(certificates.context(ends))
        for client in (good, ending):
            assert (await client.ask(post())).status == 202
        later = datetime.now(UTC) + timedelta(hours=2)
        monkeypatch.setattr(papers, "wall_now", lambda: later)
        assert await ending.end() == b""
        assert (await good.ask(post())).status == 202
        (line,) = logged("a client is trusted no more: its connection is closed")
        assert (line["reason"], line["host"]) == ("its certificate has ended, or has not begun", "127.0.0.1")
        assert metrics.TRUST_ENDED["submissions"]._value.get() == before + 1
        again = await served.client(certificates.context(ends))
        assert await again.end() == b""
        await until(lambda: served.door.statistics()["turned_away"]["tls"] == 1)


async def test_a_certificate_that_cannot_be_judged_lets_nobody_in(
    certificates: Certificates, logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However reading it fails; the process goes on."""
    async with listening(tls=certificates.settings()) as served:
        monkeypatch.setattr(trust, "judge", lambda *_: 1 // 0)
        client = await served.client(certificates.context(certificates.client))
        assert await client.end() == b""
        monkeypatch.undo()
        good = await served.client(certificates.context(certificates.client))
        assert (await good.ask(post())).status == 202
        (line,) = logged("a client's certificate could not be judged")
        assert (line["level"], line["error"]) == ("error", "ZeroDivisionError")


async def test_who_may_only_look_takes_nobodys_place(certificates: Certificates) -> None:
    """One who may submit takes the place of one that is idle; one who may only look does not."""
    tls = certificates.settings(client_name="processor.bank.example")
    async with listening(tls=tls, connections_max=1) as served:
        processor = await served.client(certificates.context(certificates.client))
        assert (await processor.ask(post())).status == 202
        onlooker = await served.client(certificates.context(certificates.onlooker))
        assert b"503 Service Unavailable" in await onlooker.end()
        assert (await processor.ask(post())).status == 202
        again = await served.client(certificates.context(certificates.client))
        assert (await again.ask(post())).status == 202
        assert await processor.end() == b""


async def test_those_who_may_only_look_lock_nobody_out(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have few places, whatever they do there, and who may submit takes these as well."""
    monkeypatch.setattr(module, "ONLOOKERS_MAX", 2)
    tls = certificates.settings(client_name="processor.bank.example")
    async with listening(tls=tls, connections_max=3) as served:
        onlookers = [await served.client(certificates.context(certificates.onlooker)) for _ in range(2)]
        for onlooker in onlookers:
            await onlooker.send(b"GET /rea")
        await until(lambda: served.door.statistics()["connections"] == 2)
        third = await served.client(certificates.context(certificates.onlooker))
        assert b"503 Service Unavailable" in await third.end()
        for _ in range(3):
            processor = await served.client(certificates.context(certificates.client))
            assert (await processor.ask(post())).status == 202
        assert [await onlooker.end() for onlooker in onlookers] == [b"", b""]


async def test_a_crowd_without_certificates_disturbs_nobody(certificates: Certificates, logged: Any) -> None:
    """Those who were let in keep their connections while others only knock; it is said now and then, not each time."""
    async with listening(tls=certificates.settings(), connections_max=2) as served:
        good = await served.client(certificates.context(certificates.client))
        assert (await good.ask(post())).status == 202
        for _ in range(20):
            client = await served.client()
            await client.send(b"GET / HTTP/1.1\r\n\r\n")
            await client.end()
        await until(lambda: served.door.statistics()["turned_away"]["tls"] == 20)
        assert (await good.ask(post())).status == 202
        assert len(logged("a client was not let in")) < 10


async def test_a_certificate_that_is_renewed(certificates: Certificates) -> None:
    """The files are read anew when they change: the next client sees the new one."""
    async with listening(tls=certificates.settings()) as served:
        seen = []
        for _ in range(2):
            client = await served.client(certificates.context(certificates.client))
            assert (await client.ask(post())).status == 202
            assert isinstance(client.stream, trio.SSLStream)
            seen.append(client.stream.getpeercert()["serialNumber"])
            renewed = certificates.ca.issue_cert("gateway.example")
            renewed.private_key_pem.write_to_path(certificates.key)
            renewed.cert_chain_pems[0].write_to_path(certificates.certificate)
        assert len(set(seen)) == 2


@pytest.mark.parametrize("file", ["certificate", "key", "authority"])
def test_files_that_are_missing(certificates: Certificates, file: str) -> None:
    """A mistake of the configuration, before anybody is served."""
    getattr(certificates, file).unlink()
    with pytest.raises(ConfigurationError, match=r"node\.submissions\.tls"):
        Door(settings(tls=certificates.settings()), Engine(), CODEC, "sip", lambda: READY, came_s=fresh)
