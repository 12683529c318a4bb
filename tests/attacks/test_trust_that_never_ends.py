"""Attacker: a client that was trusted once: a processor's old host, a certificate that was stolen and then revoked.

Attack: it keeps a connection open, or resumes the TLS session of an earlier one, after its certificate has ended, after
its authority was withdrawn, after it was revoked, or after another name was given to the clients that may submit.

Gain before: it went on submitting payments. An open connection was never judged again; a resumed session shows no
certificate at all; there was no way to revoke one; and a withdrawn authority stayed where it had signed our own
certificate, too.
"""

import dataclasses
import os
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trustme

from gateway import config
from gateway.network import papers
from gateway.running.reload import Reload
from tests.fakes.door import Client, post
from tests.fakes.revoked import NOW, list_of
from tests.processor.test_door_sockets import Certificates, Listening, listening

NAME = "processor.bank.example"


@dataclasses.dataclass
class Scene:
    """A door, and what its owner can do about a client."""

    certificates: Certificates
    served: Listening
    monkeypatch: pytest.MonkeyPatch
    folder: Path

    def end(self) -> None:
        """The client's certificate ends: half a day goes by."""
        later = datetime.now(UTC) + timedelta(hours=13)
        self.monkeypatch.setattr(papers, "wall_now", lambda: later, raising=False)

    def withdraw(self) -> None:
        """Its authority is trusted no more, and another one is."""
        trustme.CA().cert_pem.write_to_path(self.certificates.authority)
        self._look_again()

    def revoke(self) -> None:
        """Its certificate is on the list."""
        (self.folder / "crl.pem").write_bytes(list_of(self.certificates.ca, self.certificates.client, begun=NOW))
        self._look_again()

    def rename(self) -> None:
        """Others are the processor from now on."""
        before = configuration(self.certificates, NAME)
        reload = Reload(before, lambda: configuration(self.certificates, "another.bank.example"))
        reload.on_client_name = getattr(self.served.door, "on_client_name", None)
        reload()

    def _look_again(self) -> None:
        """As at SIGHUP. The files are new by any clock."""
        for path in self.folder.glob("*.pem"):
            os.utime(path, ns=(path.stat().st_mtime_ns + 10**9,) * 2)
        papers.look_again()


def configuration(certificates: Certificates, client_name: str) -> config.Configuration:
    """A whole one, with this name."""
    tls = certificates.settings(client_name=client_name)
    return config.Configuration(
        config.Node(
            "sip-a", (config.HubSite("a", "127.0.0.1", 1),), (config.Token("t", "t", "none", "none"),),
            config.JournalSettings("journal"), config.Processor("http://127.0.0.1:1"),
            submissions=config.Submissions(tls=tls),
        ),
        config.Pair(group="sip"),
    )  # fmt: skip


ENDS: dict[str, Callable[[Scene], None]] = {
    "its certificate has ended": Scene.end,
    "its authority is withdrawn": Scene.withdraw,
    "it is revoked": Scene.revoke,
    "another name is the processor's": Scene.rename,
}


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Fresh ones, the client's for half a day, and a list on which nobody stands."""
    made = Certificates(tmp_path)
    made.client = made.ca.issue_cert(NAME, not_after=NOW + timedelta(hours=12))
    (tmp_path / "crl.pem").write_bytes(list_of(made.ca))
    return made


def settings(certificates: Certificates, folder: Path) -> config.ServerTls:
    """With the list, where there is a setting for it."""
    known = {field.name for field in msgspec.structs.fields(config.ServerTls)}
    lists: dict[str, Any] = {"crl_file": str(folder / "crl.pem")} if "crl_file" in known else {}
    return certificates.settings(client_name=NAME, **lists)


@pytest.mark.parametrize("how", ENDS)
async def test_an_open_connection_outlives_its_trust(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It is cut off, and nothing that it sends is a payment."""
    async with listening(tls=settings(certificates, tmp_path)) as served:
        client = await served.client(certificates.context(certificates.client))
        assert (await client.ask(post(key="before"))).status == 202
        ENDS[how](Scene(certificates, served, monkeypatch, tmp_path))
        assert await client.end() == b""
        assert [one.key for one in served.engine.submissions] == ["before"]


class Resuming:
    """A client that resumes its session, in a thread of its own."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self._context = context
        self._port = port
        self._session: ssl.SSLSession | None = None
        self.resumed = False

    def submit(self, key: str) -> bytes:
        """On a new connection. Returns the head of the response; empty: there is none."""
        try:
            with (
                socket.create_connection(("127.0.0.1", self._port)) as sock,
                self._context.wrap_socket(sock, server_hostname="gateway.example", session=self._session) as tls,
            ):
                tls.sendall(post(key=key))
                head = tls.recv(12)
                self._session, self.resumed = tls.session, bool(tls.session_reused)
                return head
        except OSError:
            return b""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("how", ENDS)
async def test_a_resumed_session_outlives_its_trust(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, version: ssl.TLSVersion
) -> None:
    """Whatever the client has kept of an earlier connection, it submits nothing."""
    context = certificates.context(certificates.client)
    context.maximum_version = version
    async with listening(tls=settings(certificates, tmp_path)) as served:
        client = Resuming(context, served.port)
        assert await trio.to_thread.run_sync(client.submit, "before") == b"HTTP/1.1 202"
        ENDS[how](Scene(certificates, served, monkeypatch, tmp_path))
        assert await trio.to_thread.run_sync(client.submit, "after") in {b"", b"HTTP/1.1 403"}
        assert [one.key for one in served.engine.submissions] == ["before"]


async def test_a_session_is_resumed_without_showing_a_certificate(certificates: Certificates, tmp_path: Path) -> None:
    """With TLS 1.3 none is: each connection proves that its client still has the key."""
    async with listening(tls=settings(certificates, tmp_path)) as served:
        client = Resuming(certificates.context(certificates.client), served.port)
        for number in range(3):
            assert await trio.to_thread.run_sync(client.submit, f"key-{number}") == b"HTTP/1.1 202"
            assert not client.resumed


async def test_any_certificate_of_the_authority_submits(certificates: Certificates) -> None:
    """Where nobody said whose name may submit, nobody may."""
    async with listening(tls=certificates.settings(client_name="")) as served:
        client: Client = await served.client(certificates.context(certificates.onlooker))
        assert (await client.ask(post())).status == 403
        assert served.engine.submissions == []
