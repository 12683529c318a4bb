"""Attacker: another user of a gateway's server, who has no role there; a page in an operator's browser; a process of
ours that somebody got into.

Attack: it posts to the ops port: drain, stand-in to always, ask for a key; it hands in news of the scheme with a MAC of
zeros, or in the name of another process. The page sends what browsers send without asking, or has a name of its own
lead to loopback.

Gain before: every one of these. Any local user could drain, and switch stand-in so that the next payment was accepted
without a question; whatever came as news was believed; and nothing said who had done it. A page could read what the
port showed.
"""

import base64
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from gateway import config
from gateway.acts.actors import ELSEWHERE, Actors, Caller
from gateway.acts.book import Book
from gateway.acts.settings import Remembered, flat
from gateway.acts.table import KINDS
from gateway.clock import Now
from gateway.errors import ConfigurationError
from gateway.http.visitor import Request
from gateway.network import papers as papers_module
from gateway.ops import server
from gateway.ops.desk import Desk, Effect
from gateway.ops.news import NewsControl
from gateway.scheme.news import HandedOn, Taken
from tests.conftest import Logged
from tests.fakes.ops import Papers, actors, ordered
from tests.ops.test_desk import Recorder
from tests.ops.test_server import Reply, parse

JSON = "Content-Type: application/json\r\n"
WHAT: dict[str, dict[str, object]] = {
    "drain": {}, "stop-submitting": {}, "start-submitting": {}, "stand-in": {"mode": "always"},
    "request-key": {"use": "own"}, "allow-key": {"use": "own", "check": "1A2B3C"},
    "lift": {"what": "cap", "institution": "200000"}, "tell-again": {"position": 1}, "drop-notice": {"position": 1},
    "reveal": {"scope": "everything"}, "approve": {"number": 1}, "reject": {"number": 1},
}  # fmt: skip
"""An order that is one, for every act."""
NEWS = b"9824" + b"\0" * 8 + b"0" * 16
"""What says that it is news, with a MAC of zeros: whoever takes it in here cannot verify one."""
ME, ANOTHER = str(os.getuid()), str(os.getuid() + 1)
Open = Callable[[], Any]


class Scene:
    """An ops server with everything that can be ordered, and what came of it."""

    def __init__(self, folder: Path, who: Iterable[config.Actor], tls: config.OpsTls | None = None) -> None:
        self.done: list[str] = []
        self.heard: list[str] = []
        self.recorder = Recorder()
        effects: dict[str, Effect] = {name: self._effect(name) for name in KINDS if name not in {"approve", "reject"}}
        self.desk = Desk(config.Acts(), self.recorder, Book(), effects, lambda: Now(trio.current_time(), 10**9))
        self.socket = str(folder / "acts.sock")
        self.port = 0
        orders = {f"/acts/{name}": server.Control(partial(self._order, name)) for name in self.desk.names}
        self.server = server.Server(
            config.Ops(port=0, tls=tls), Actors(who, lambda _name: None), ready=lambda: (True, {}),
            looks={"/acts": server.Look(self.desk.see), "/notices": server.Look(self._notices, ("operate",))},
            controls={**orders, "/news": server.Control(NewsControl(self._hand_in), ("peer",))}, path=self.socket,
        )  # fmt: skip

    def _effect(self, name: str) -> Effect:
        async def do(_takes: Any, _why: str) -> dict[str, str]:
            self.done.append(name)
            return {}

        return do

    async def _order(self, name: str, caller: Caller, body: bytes) -> server.Response:
        return await self.desk.order(caller, name, body)

    async def _notices(self, _request: Request) -> server.Response:
        return 200, {"parked": ["something about a payment"]}

    def _hand_in(self, handed_on: HandedOn, taken: Taken) -> None:
        self.heard.append(handed_on.source)
        taken("")

    async def by_loopback(self) -> trio.abc.Stream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def by_socket(self) -> trio.abc.Stream:
        return await trio.open_unix_socket(self.socket)

    async def by_tls(self, tls: config.Tls, *, offered: tuple[str, ...] = ()) -> trio.SSLStream[trio.SocketStream]:
        context = ssl.create_default_context(cafile=tls.ca_file)
        context.load_cert_chain(tls.certificate_file, tls.key_file)
        context.set_alpn_protocols(list(offered))
        stream = trio.SSLStream(
            await trio.open_tcp_stream("127.0.0.1", self.port), context, server_hostname="localhost",
            https_compatible=True,
        )  # fmt: skip
        await stream.do_handshake()
        return stream

    @property
    def untouched(self) -> bool:
        """Nothing was done, recorded or believed."""
        return not (self.done or self.heard or self.recorder.acts)


@asynccontextmanager
async def scene(
    folder: Path, who: Iterable[config.Actor] = (), tls: config.OpsTls | None = None
) -> AsyncIterator[Scene]:
    """While the block runs, it serves."""
    it = Scene(folder, who, tls)
    async with trio.open_nursery() as nursery:
        it.port = await nursery.start(it.server.serve)
        yield it
        nursery.cancel_scope.cancel()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a short path: a socket's may have 107 bytes."""
    return tmp_path_factory.mktemp("s")


async def ask(stream: trio.abc.Stream, request: bytes) -> Reply:
    """One request, which ends the connection."""
    async with stream:
        await stream.send_all(request)
        return parse(b"".join([chunk async for chunk in stream]))


def posted(path: str, body: bytes, head: str = JSON, host: str = "localhost") -> bytes:
    """A request that posts."""
    start = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{head}Content-Length: {len(body)}\r\n\r\n"
    return start.encode() + body


def looked(path: str, host: str = "localhost", head: str = "") -> bytes:
    """A request that looks."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{head}\r\n".encode()


def news(source: str) -> bytes:
    """News as one process hands it to another."""
    return json.dumps({"source": source, "message": base64.b64encode(NEWS).decode()}).encode()


# --- another local user


@pytest.mark.parametrize("way", ["loopback", "socket"])
@pytest.mark.parametrize("act", KINDS)
async def test_a_user_without_a_role_acts(folder: Path, act: str, way: str) -> None:
    """403: the port knows nobody by name, and the kernel names another user than the actor's."""
    who = (config.Actor("anna", ("operate", "approve", "peer"), user=ANOTHER),)
    async with scene(folder, who) as it:
        stream = await (it.by_loopback() if way == "loopback" else it.by_socket())
        assert (await ask(stream, posted(f"/acts/{act}", ordered(WHAT[act]))))[0] == 403
        assert it.untouched


@pytest.mark.parametrize("act", KINDS)
async def test_the_same_order_is_followed_where_the_role_is(folder: Path, act: str) -> None:
    """So it was refused for want of the role. (No act waits here for a second person: 409 to those who would be it.)"""
    who = (config.Actor("me", ("operate", "approve"), user=ME),)
    async with scene(folder, who) as it:
        reply = await ask(await it.by_socket(), posted(f"/acts/{act}", ordered(WHAT[act])))
        assert reply[0] == (409 if act in {"approve", "reject"} else 200)
        assert it.done == ([] if reply[0] == 409 else [act])


@pytest.mark.parametrize("roles", [("look",), ("peer",), ("approve",)])
async def test_another_role_does_not_do(folder: Path, roles: tuple[config.Role, ...]) -> None:
    async with scene(folder, (config.Actor("me", roles, user=ME),)) as it:
        for act in KINDS:
            if KINDS[act].role == "operate":
                assert (await ask(await it.by_socket(), posted(f"/acts/{act}", ordered(WHAT[act]))))[0] == 403, act
        assert it.untouched


async def test_who_may_only_look_sees_no_payment(folder: Path) -> None:
    """On loopback everybody may look, at nothing that names a payment. The socket shows nothing to strangers."""
    async with scene(folder) as it:
        said = {path: (await ask(await it.by_loopback(), looked(path)))[0] for path in ("/acts", "/ready", "/notices")}
        assert said == {"/acts": 200, "/ready": 200, "/notices": 403}
        assert (await ask(await it.by_socket(), looked("/acts")))[0] == 403


def test_the_number_for_users_of_elsewhere_is_nobody() -> None:
    """In a user namespace the kernel names everybody from outside so: an actor of that number would be anybody."""
    for user in ("nobody", str(ELSEWHERE)):
        with pytest.raises(ConfigurationError, match=r"node\.actors\[0\]\.user: is 65534"):
            Actors([config.Actor("eve", ("operate",), user=user)], lambda _name: ELSEWHERE)
    assert Actors((), lambda _name: None).by_user(ELSEWHERE).roles == frozenset()


# --- a page in an operator's browser, which has a certificate

HEADS = {
    "with an Origin": (f"{JSON}Origin: https://evil.example\r\n", "localhost", 403),
    "with a hidden Origin": (f"{JSON}Origin: null\r\n", "localhost", 403),
    "a form": ("Content-Type: application/x-www-form-urlencoded\r\n", "localhost", 415),
    "plain text": ("Content-Type: text/plain\r\n", "localhost", 415),
    "a form with files": ("Content-Type: multipart/form-data; boundary=application/json\r\n", "localhost", 415),
    "no type": ("", "localhost", 415),
    "a name that leads here": (JSON, "rebound.evil.example:9200", 403),
    "a name that looks like ours": (JSON, "localhost.evil.example", 403),
}


@pytest.mark.parametrize("how", HEADS)
async def test_a_web_page_sees_and_switches_nothing(folder: Path, tmp_path: Path, how: str) -> None:
    """The browser shows the operator's certificate for it. Without what gives a page away, the order is followed."""
    head, host, status = HEADS[how]
    papers = Papers(tmp_path)
    anna = papers.client("anna.bank.example")
    async with scene(folder, actors(anna=("operate",)), papers.ops) as it:
        body = ordered(WHAT["stand-in"])
        assert (await ask(await it.by_tls(anna), posted("/acts/stand-in", body, head, host)))[0] == status
        if "name" in how:
            for path in ("/acts", "/metrics", "/ready", "/live"):
                assert (await ask(await it.by_tls(anna), looked(path, host)))[0] == 403, path
        assert it.untouched
        assert (await ask(await it.by_tls(anna), posted("/acts/stand-in", body)))[0] == 200
        assert it.done == ["stand-in"]


@pytest.mark.parametrize("path", ["/acts", "/metrics", "/ready", "/live"])
async def test_a_rebound_name_reads_nothing_on_loopback(folder: Path, path: str) -> None:
    async with scene(folder) as it:
        assert (await ask(await it.by_loopback(), looked(path, "rebound.evil.example")))[0] == 403
        assert (await ask(await it.by_loopback(), looked(path, "127.0.0.1:9200")))[0] == 200


# --- forged news


@pytest.mark.parametrize("way", ["loopback", "socket", "operate", "look", "no actor"])
async def test_forged_news_needs_the_role_peer(folder: Path, tmp_path: Path, way: str) -> None:
    """Whoever acts may not hand in news either: a person has none."""
    papers = Papers(tmp_path)
    over_tls = way not in {"loopback", "socket"}
    who = (
        *actors(operate=("operate", "approve"), look=("look",), usm_a=("peer",)),
        config.Actor("me", ("operate",), ME),
    )
    async with scene(folder, who, papers.ops if over_tls else None) as it:
        if over_tls:
            stream: trio.abc.Stream = await it.by_tls(papers.client(f"{way.replace(' ', '-')}.bank.example"))
        else:
            stream = await (it.by_loopback() if way == "loopback" else it.by_socket())
        assert (await ask(stream, posted("/news", news("usm-a/17"))))[0] == 403
        assert it.untouched


@pytest.mark.parametrize("source", ["usm-b/17", "usm-ab/17", "usm-b/usm-a/17", "/17", "USM-A/17", ""])
async def test_a_peer_speaks_in_no_other_name(folder: Path, tmp_path: Path, source: str) -> None:
    """422. In its own name it is believed: it has verified the MAC, and the record says that it was this one."""
    papers = Papers(tmp_path)
    usm = papers.client("usm-a.bank.example")
    async with scene(folder, actors(usm_a=("peer",), usm_b=("peer",)), papers.ops) as it:
        assert (await ask(await it.by_tls(usm), posted("/news", news(source))))[0] == 422
        assert it.untouched
        assert (await ask(await it.by_tls(usm), posted("/news", news("usm-a/17"))))[0] == 200
        assert it.heard == ["usm-a/17"]


# --- an operator who was one, and one who makes himself one


def test_a_role_that_somebody_gives_himself_is_recorded_by_the_next_start() -> None:
    """With the old value and the new one, like every setting; of a start that changes nothing there is no record."""
    before, after = (actors(eve=roles) for roles in (("look",), ("look", "approve")))
    old, new = (flat(config.Acts()) | {f"node.actors.{name}": text for name, text in flat(who).items()}
                for (who,) in (before, after))  # fmt: skip
    kept: list[object] = []
    [act] = Remembered(new, old, lambda *record: kept.append(record)).begin(Now(0.0, 0))
    assert (act.act, act.phase, act.origin) == ("configuration", "done", "start")
    assert act.what == {"node.actors.roles": '["look"] → ["look","approve"]'}
    assert Remembered(new, new, lambda *record: kept.append(record)).begin(Now(0.0, 0)) == []
    assert len(kept) == 2


async def test_an_open_connection_to_the_ops_port_outlives_its_trust(
    folder: Path, tmp_path: Path, logged: Logged
) -> None:
    """When the authority is withdrawn, whoever came by it is cut off, and can act no more."""
    papers = Papers(tmp_path)
    async with scene(folder, actors(anna=("operate",)), papers.ops) as it:
        stream = await it.by_tls(papers.client("anna.bank.example"))
        await stream.send_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        trustme.CA().cert_pem.write_to_path(papers.ca)
        for path in tmp_path.glob("*.pem"):
            os.utime(path, ns=(path.stat().st_mtime_ns + 10**9,) * 2)
        papers_module.look_again()
        with suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
        assert len(logged("a client is trusted no more: its connection is closed")) == 1
        await trio.aclose_forcefully(stream)
