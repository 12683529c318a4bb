"""Asking over real loopback sockets, plain and TLS, the mock processor at the other end."""

import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
import trio.testing
import trustme

from gateway import config
from gateway.errors import ConfigurationError
from gateway.http.connection import Connection, End, Response
from gateway.http.pipe import SocketPipe, TlsPipe, dial
from gateway.network.dialler import Dialler
from gateway.network.papers import client_context
from gateway.payments.work import Answer
from gateway.processor.client import Client
from loadtest.processor.server import MockProcessor
from tests.conftest import Logged
from tests.fakes.network import nameless
from tests.fakes.processor import Asking, Peer, Processor, payment, settings, until


@asynccontextmanager
async def asking(mock: MockProcessor, *, tls: config.Tls | None = None, **changes: object) -> AsyncIterator[Asking]:
    """A running client over loopback to this mock, which runs, too."""
    async with trio.open_nursery() as nursery:
        port = await nursery.start(mock.run)
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        client = Client(settings(url, tls=tls, **changes), luck=lambda: 1.0)
        found = Asking(client, Processor(nursery, nobody))
        await nursery.start(client.run, found.take)
        with trio.fail_after(20):
            yield found
        nursery.cancel_scope.cancel()


async def nobody(_peer: Peer) -> None:
    """Nobody dials the scripted processor here."""
    raise AssertionError


async def test_many_questions() -> None:
    """Many questions over real sockets: each is answered, each once, over a bounded number of connections."""
    mock = MockProcessor("mix:fast=3,refusing:1114=1")
    async with asking(mock, connections_max=16) as world:
        for batch in range(10):
            world.ask(*range(batch * 50, batch * 50 + 50))
        answers = await world.answered(500)
        assert sorted(number for number, _ in answers) == list(range(500))
        assert {code for _, code in answers} == {"0000", "1114"}
        assert mock.counts["asked"] == mock.counts["answered"] == 500
        assert mock.counts["connections"] <= 16
        assert mock.counts["bad"] == 0


@pytest.mark.parametrize("mode", ["malformed", "huge", "half", "status:500"])
async def test_what_is_no_answer(mode: str) -> None:
    """A misbehaving processor gives no answer, and the next question is answered when it has come to its senses."""
    mock = MockProcessor(mode)
    async with asking(mock) as world:
        world.ask(1, within_s=0.2)
        # a question that was cut off is asked again, and may find its time over before or after that
        outcomes = {"half": {"away", "expired"}, "status:500": {"status"}}.get(mode, {"malformed"})
        await until(lambda: outcomes & set(world.counts))
        assert mode != "half" or {"again", "away"} & set(world.counts), "it was asked, and cut off"
        assert world.answers == []
        mock.set_mode("fast")
        world.ask(2)
        assert await world.answered() == [(2, "0000")]


async def test_away_and_back() -> None:
    """A processor whose listening socket is closed is found again when it is back, by those who have time left."""
    mock = MockProcessor("fast")
    async with asking(mock) as world:
        world.ask(1)
        await world.answered(1)
        mock.set_mode("away")
        await until(lambda: not world.client.statistics()["connections"])
        world.ask(2)
        await until(world.client.health)
        mock.set_mode("fast")
        assert await world.answered(2) == [(1, "0000"), (2, "0000")]


async def test_a_request_that_the_socket_does_not_take_at_once() -> None:
    """What does not fit into the socket's buffer is written behind, whole and in order."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    data = bytes(range(256)) * 4000
    pipe = SocketPipe(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.pump)
        pipe.write(data)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        got = b""
        while len(got) < len(data):
            got += await stream.receive_some()
        assert got == data
        pipe.write(b"more")
        assert await stream.receive_some() == b"more"
        await stream.aclose()
        assert await pipe.read() == b""
        pipe.write(b"nobody reads this")
        await pipe.aclose()
        nursery.cancel_scope.cancel()


async def test_a_reset() -> None:
    """A connection that is reset ends, with the reason for the log."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    pipe, _ = await dial(Dialler("test", "127.0.0.1", listener.socket.getsockname()[1]), None, "")
    accepted = await listener.accept()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    accepted.socket.close()
    assert await pipe.read() == b""
    assert pipe.end == "ConnectionResetError: Connection reset by peer"
    await pipe.aclose()
    await listener.aclose()


# --- what comes before it was asked for

UNASKED = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"TxSts":"ACSP"}'


@asynccontextmanager
async def speaking_first(said: bytes) -> AsyncIterator[Asking]:
    """A running client, and a server that says this to whoever connects; connecting is over when it has come."""

    async def script(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):  # the client hangs up on what it did not read
            await stream.send_all(said)
            if not said:
                await stream.send_eof()
            await stream.receive_some()

    async def connect(host: str, port: int) -> trio.SocketStream:
        stream = await trio.open_tcp_stream(host, port)
        await trio.lowlevel.wait_readable(stream.socket)
        return stream

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, script, 0)
        client = Client(settings(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"), network=nameless(connect))
        found = Asking(client, Processor(nursery, nobody))
        await nursery.start(client.run, found.take)
        with trio.fail_after(20):
            yield found
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("said", "end"), [(UNASKED, "unasked"), (b"", "closed")])
async def test_a_server_that_speaks_first_is_not_believed(said: bytes, end: str, logged: Logged) -> None:
    """A whole acceptance that came before the request left answers nothing: neither a question nor a notice. The
    request is not even sent, and asked again as one that met nobody.
    """
    async with speaking_first(said) as world:
        world.ask(1, within_s=0.3)
        told = await world.client.tell("node/1", b"{}")
        assert (told.status, told.reason.partition(":")[0]) == (0, f"connection {end}")
        await until(lambda: {"away", "expired"} & set(world.counts))
        assert world.answers == []
        assert world.counts["again"] >= 1


async def test_a_request_that_cannot_be_sent_is_not_answered() -> None:
    """What comes over a socket that takes nothing any more answers nothing."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    got: list[Response] = []
    pipe = SocketPipe(ours)
    link = Connection(pipe, 1000, lambda _, response, __: got.append(response))
    ours.shutdown(socket.SHUT_WR)  # as if the other end had reset it
    assert link.send(b"GET / HTTP/1.1\r\n\r\n") is None
    assert pipe.lost
    theirs.send(UNASKED)
    assert await link.run() is End.UNASKED
    theirs.close()
    assert got == []


async def test_a_break_that_writing_met_first_is_no_orderly_end() -> None:
    """A body that is as long as the connection is not whole then."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    pipe = SocketPipe(ours)
    theirs.close()
    pipe.write(b"nobody reads this")
    assert await pipe.read() == b""
    assert (pipe.end, pipe.complete) == ("broken", False)
    await pipe.aclose()


# --- TLS


class Files(NamedTuple):
    """Certificates for both ends, as files."""

    server: ssl.SSLContext
    """Wants a client certificate by `ca`."""
    ca: str
    client: str
    stranger: str
    """A client certificate by somebody else."""
    other_ca: str


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Two authorities, and what they signed."""
    place = tmp_path_factory.mktemp("tls")
    authority, other = trustme.CA(), trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("processor.bank").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED

    def written(name: str, blob: trustme.Blob) -> str:
        blob.write_to_path(place / name)
        return str(place / name)

    return Files(
        server,
        written("ca.pem", authority.cert_pem),
        written("client.pem", authority.issue_cert("gateway").private_key_and_cert_chain_pem),
        written("stranger.pem", other.issue_cert("gateway").private_key_and_cert_chain_pem),
        written("other.pem", other.cert_pem),
    )


async def test_tls_with_a_client_certificate(papers: Files) -> None:
    """Both ends know each other: questions are answered, notices taken."""
    mock = MockProcessor("fast", tls=papers.server)
    tls = config.Tls(papers.ca, papers.client, server_name="processor.bank")
    async with asking(mock, tls=tls) as world:
        world.ask(*range(100))
        assert len(await world.answered(100)) == 100
        answer = await world.client.inquire(payment(1)[0])
        assert isinstance(answer, Answer)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ca_file": "other_ca"}, "certificate verify failed"),
        ({"server_name": "somebody.else"}, "certificate verify failed"),
        ({"certificate_file": "stranger"}, "connection closed"),
        ({"certificate_file": ""}, "connection closed"),
    ],
)
async def test_the_wrong_certificate(papers: Files, change: dict[str, str], reason: str) -> None:
    """A stranger at either end is refused, and nothing is said to it."""
    mock = MockProcessor("fast", tls=papers.server)
    async with asking(mock, tls=changed(papers, change)) as world:
        world.ask(1, within_s=0.3)
        told = await world.client.tell("node/1", b"{}")
        assert not told.acknowledged
        assert reason in told.reason
        await until(lambda: world.client.health() or world.counts)
        assert mock.counts["asked"] == 0
        assert world.answers == []


def changed(papers: Files, change: dict[str, str]) -> config.Tls:
    """The right TLS settings, with changes."""
    given = {"ca_file": papers.ca, "certificate_file": papers.client, "server_name": "processor.bank"}
    return config.Tls(**(given | {key: getattr(papers, value, value) for key, value in change.items()}))


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ("stranger", "connection closed: TLS: TLSV1_ALERT_UNKNOWN_CA: our certificate is not taken"),
        ("", "connection closed: TLS: TLSV13_ALERT_CERTIFICATE_REQUIRED: our certificate is not taken"),
    ],
)
async def test_the_server_says_what_it_has_against_us(papers: Files, certificate: str, reason: str) -> None:
    """A server's alert comes after our end of the handshake is over; the log can tell it all the same."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as accepted, pytest.raises(ssl.SSLError):
            papers.server.wrap_socket(accepted, server_side=True).close()

    client = Client(
        settings(
            f"https://127.0.0.1:{listener.getsockname()[1]}", tls=changed(papers, {"certificate_file": certificate})
        )
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(client.calls.run)
        async with trio.open_nursery() as beside:
            beside.start_soon(trio.to_thread.run_sync, serve)
            told = await client.tell("node/1", b"{}")
        assert told.reason == reason
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def over_tls(papers: Files) -> AsyncIterator[tuple[TlsPipe, trio.SSLStream[trio.SocketStream]]]:
    """A pipe over TLS, and the server's end of it, shaken hands."""
    async with trio.open_nursery() as nursery:
        accepted: list[trio.SSLStream[trio.SocketStream]] = []
        shaken = trio.Event()

        async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
            accepted.append(stream)
            await stream.do_handshake()
            shaken.set()
            await trio.sleep_forever()

        listeners = await nursery.start(partial(trio.serve_ssl_over_tcp, serve, 0, papers.server, host="127.0.0.1"))
        port = listeners[0].transport_listener.socket.getsockname()[1]
        tls = changed(papers, {})
        pipe, _ = await dial(Dialler("test", "127.0.0.1", port), client_context(tls, "tls"), "processor.bank")
        assert isinstance(pipe, TlsPipe)
        with trio.fail_after(20):
            await shaken.wait()
            yield pipe, accepted[0]
        await pipe.aclose()
        nursery.cancel_scope.cancel()


async def test_what_lies_in_a_tls_connection_is_seen_before_asking(papers: Files) -> None:
    """The tickets that TLS 1.3 sends are nothing; what the server says is seen, and not lost by that."""
    async with over_tls(papers) as (pipe, server):
        assert pipe.unread() is None
        await server.send_all(UNASKED)
        await until(pipe.unread)
        assert pipe.unread() == UNASKED
        assert await pipe.read() == UNASKED
        assert pipe.unread() is None
        await trio.aclose_forcefully(server)
        await until(lambda: pipe.unread() is not None)
        assert pipe.unread() == await pipe.read() == b""


@pytest.mark.parametrize("farewell", [True, False])
async def test_a_tls_connection_that_is_cut_off_is_not_complete(papers: Files, *, farewell: bool) -> None:
    """A response as long as the connection is whole when TLS itself said so: anybody can end a TCP connection."""
    async with over_tls(papers) as (pipe, server):
        got: list[Response] = []
        link = Connection(pipe, 1000, lambda _, response, __: got.append(response))
        assert link.send(b"GET / HTTP/1.1\r\n\r\n") is None
        await server.send_all(b"HTTP/1.0 200 OK\r\n\r\n{")
        if farewell:
            await server.aclose()
        else:
            server.transport_stream.socket.shutdown(socket.SHUT_WR)
        assert await link.run() is (End.CLOSED if farewell else End.CUT)
        assert got == ([Response(200, b"{", b"")] if farewell else [])


async def test_we_say_what_we_have_against_the_server(papers: Files) -> None:
    """A server whose certificate is not trusted hears why."""
    listener = socket.create_server(("127.0.0.1", 0))
    said = []

    def serve() -> None:
        with listener, listener.accept()[0] as accepted, pytest.raises(ssl.SSLError) as raised:
            papers.server.wrap_socket(accepted, server_side=True).close()
        said.append(raised.value.reason)

    tls = changed(papers, {"ca_file": "other_ca"})
    client = Client(settings(f"https://127.0.0.1:{listener.getsockname()[1]}", tls=tls))
    async with trio.open_nursery() as nursery:
        await nursery.start(client.calls.run)
        async with trio.open_nursery() as beside:
            beside.start_soon(trio.to_thread.run_sync, serve)
            await client.tell("node/1", b"{}")
        nursery.cancel_scope.cancel()
    assert said == ["TLSV1_ALERT_UNKNOWN_CA"]


async def test_a_tls_handshake_that_never_ends() -> None:
    """A port that accepts and says nothing is given up after `connect_within_s`, and the socket is closed."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}"
    client = Client(settings(url, connect_within_s=0.05))
    async with trio.open_nursery() as nursery:
        await nursery.start(client.calls.run)
        told = await client.tell("node/1", b"{}")
        assert told.reason == "no connection within 0.05 s"
        accepted = await listener.accept()
        with trio.fail_after(5):
            while await accepted.receive_some():
                pass
        await accepted.aclose()
        await listener.aclose()
        nursery.cancel_scope.cancel()


async def test_certificates_are_renewed(papers: Files, tmp_path: Path, logged: Logged) -> None:
    """A new certificate on disk is used by the next connection; one that is no good is said, and not used."""
    own = tmp_path / "client.pem"
    own.write_bytes(Path(papers.stranger).read_bytes())
    mock = MockProcessor("fast", tls=papers.server)
    async with asking(mock, tls=changed(papers, {"certificate_file": str(own)})) as world:
        notice = b'{"id":"a/1","kind":"ORPHANED","FPID":"F"}'
        assert not (await world.client.tell("a/1", notice)).acknowledged
        own.write_bytes(Path(papers.client).read_bytes())
        os.utime(own, ns=(1, 1))
        assert (await world.client.tell("a/1", notice)).acknowledged
        own.write_bytes(b"half a cert")
        os.utime(own, ns=(2, 2))
        world.ask(1)
        assert await world.answered() == [(1, "0000")]
    assert len(logged("changed TLS files are used from now on")) == 1
    assert "certificate_file" in logged("changed TLS files are not used")[0]["reason"]


@pytest.mark.parametrize("peer", ["hangs up", "speaks plain text"])
async def test_no_tls_at_the_other_end(peer: str) -> None:
    """What is no TLS is refused with a reason."""

    async def script(stream: trio.SocketStream) -> None:
        if peer == "speaks plain text":
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await stream.receive_some()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, script, 0)
        url = f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        client = Client(settings(url))
        await nursery.start(client.calls.run)
        told = await client.tell("node/1", b"{}")
        assert told.status == 0
        assert ("TLS handshake" if peer == "hangs up" else "SSLError") in told.reason
        nursery.cancel_scope.cancel()


async def test_tls_over_a_stream_that_is_no_socket(papers: Files) -> None:
    """TLS works over any stream, as a simulation has it."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def connect(_host: str, _port: int) -> trio.abc.Stream:
        return theirs

    tls = config.Tls(papers.ca, papers.client, server_name="processor.bank")
    client = Client(settings("https://processor.bank", tls=tls), network=nameless(connect))
    async with trio.open_nursery() as nursery:
        mock = MockProcessor("fast")
        nursery.start_soon(mock.serve, trio.SSLStream(ours, papers.server, server_side=True))
        await nursery.start(client.calls.run)
        assert (await client.tell("node/1", b'{"id":"node/1","kind":"ORPHANED","FPID":"F"}')).acknowledged
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("tls", "mistake"),
    [
        (config.Tls("nowhere/ca.pem"), "node.processor.tls.ca_file: FileNotFoundError: No such file or directory"),
        (config.Tls("{ca}", "nowhere.pem"), "node.processor.tls.certificate_file: FileNotFoundError"),
        (config.Tls("{ca}", "{ca}"), "node.processor.tls.certificate_file: "),
    ],
)
def test_tls_files_that_are_no_good(papers: Files, tls: config.Tls, mistake: str) -> None:
    """A missing or wrong file is a mistake in the configuration, found before anything runs."""
    given = config.Tls(tls.ca_file.format(ca=papers.ca), tls.certificate_file.format(ca=papers.ca))
    with pytest.raises(ConfigurationError) as raised:
        client_context(given, "node.processor.tls")
    assert mistake in str(raised.value)
