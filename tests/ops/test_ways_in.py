"""The other ways in: the Unix socket, where the kernel says who comes, and TLS, where the certificate does."""

import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from gateway import config
from gateway.acts.actors import Actors, Caller
from gateway.config import Role
from gateway.errors import ConfigurationError, Unavailable
from gateway.network.names import by_socket
from gateway.network.papers import look_again
from gateway.ops.server import CONNECTIONS_MAX, CONTROLS_MAX, Control, Look, Response, Server
from tests.fakes.ops import NOBODY, Papers, actors

JSON = b"Content-Type: application/json\r\n"


class World:
    """A server with one of each kind of path, and what it heard."""

    def __init__(self, ops: config.Ops, people: Actors, path: str = "") -> None:
        self.heard: list[Caller] = []
        self.slow: trio.Event | None = None
        """What a look waits for."""
        self.server = Server(
            ops, people, ready=lambda: (True, {}), path=path,
            looks={"/look": Look(self._look), "/secret": Look(self._look, ("operate",))},
            controls={"/act": Control(self._act), "/news": Control(self._act, ("peer",))},
        )  # fmt: skip

    async def _look(self, _request: object) -> Response:
        if self.slow is not None:
            await self.slow.wait()
        return 200, {}

    async def _act(self, caller: Caller, _body: bytes) -> Response:
        self.heard.append(caller)
        return 200, {"who": caller.name}


async def ask(stream: trio.abc.Stream, method: str, path: str) -> int:
    """The status of one request, on a connection that it ends."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n".encode()
    received = b""
    async with stream:
        await stream.send_all(head + JSON + b"\r\n{}")
        try:
            while chunk := await stream.receive_some(65536):
                received += chunk
        except trio.BrokenResourceError:
            pass
    return int(received.split(b" ")[1])


def mine(*roles: Role) -> Actors:
    """Whoever runs this test, with these roles."""
    return Actors((config.Actor("me", roles, user=str(os.getuid())),), lambda _name: None)


@pytest.mark.parametrize(
    ("roles", "statuses"),
    [
        (("operate",), {"/live": 200, "/look": 200, "/secret": 200, "/act": 200, "/news": 403}),
        (("approve",), {"/live": 200, "/look": 200, "/secret": 403, "/act": 200, "/news": 403}),
        (("look",), {"/live": 200, "/look": 200, "/secret": 403, "/act": 200, "/news": 403}),
        (("peer",), {"/live": 403, "/look": 403, "/secret": 403, "/act": 200, "/news": 200}),
        ((), {"/live": 403, "/look": 403, "/secret": 403, "/act": 200, "/news": 403}),
    ],
)
async def test_by_the_socket_each_has_its_role(
    nursery: trio.Nursery, tmp_path: Path, roles: tuple[Role, ...], statuses: dict[str, int]
) -> None:
    """What a role may see; an act is judged by the desk, which hears who comes."""
    path = str(tmp_path / "s")
    world = World(config.Ops(port=0), mine(*roles) if roles else NOBODY, path)
    await nursery.start(world.server.serve)
    found = {}
    for place in statuses:
        method = "POST" if place in {"/act", "/news"} else "GET"
        found[place] = await ask(await trio.open_unix_socket(path), method, place)
    assert found == statuses
    assert world.heard[0].name == ("me" if roles else "")
    assert world.heard[0].origin == f"uid {os.getuid()} by socket"
    nursery.cancel_scope.cancel()


async def test_a_socket_of_a_process_that_was_killed_is_replaced(nursery: trio.Nursery, tmp_path: Path) -> None:
    """One that another process listens at is not, nor is anything that is no socket."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    await nursery.start(World(config.Ops(port=0), mine("look"), str(path)).server.serve)
    assert await ask(await trio.open_unix_socket(path), "GET", "/live") == 200
    with pytest.raises(BaseExceptionGroup) as raised:
        await World(config.Ops(port=0), NOBODY, str(path)).server.serve()
    assert "another process listens there" in str(raised.value.exceptions[0])
    other = tmp_path / "file"
    other.write_text("somebody's")
    with pytest.raises(BaseExceptionGroup) as raised:
        await World(config.Ops(port=0), NOBODY, str(other)).server.serve()
    assert isinstance(raised.value.exceptions[0], Unavailable)
    assert other.read_text() == "somebody's"
    nursery.cancel_scope.cancel()


async def test_at_its_end_the_socket_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with trio.open_nursery() as nursery:
        await nursery.start(World(config.Ops(port=0), NOBODY, str(path)).server.serve)
        assert path.is_socket()
        nursery.cancel_scope.cancel()
    assert not path.exists()


async def test_a_crowd_at_the_one_way_in_keeps_nobody_out_of_the_other(nursery: trio.Nursery, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    port: int = await nursery.start(World(config.Ops(port=0), mine("look"), path).server.serve)
    crowd = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2 * CONNECTIONS_MAX)]
    stream = await by_socket(path).connect("", 0)
    assert await ask(stream, "GET", "/live") == 200
    for one in crowd:
        await one.aclose()
    nursery.cancel_scope.cancel()


class Changing(Actors):
    """The same user is nobody, until somebody says otherwise."""

    named = False

    def by_user(self, uid: int) -> Caller:
        return super().by_user(uid) if self.named else Caller("", frozenset(), f"uid {uid} by socket")


async def test_users_who_may_do_nothing_take_no_operators_place(nursery: trio.Nursery, tmp_path: Path) -> None:
    """However many they are: an operator who is connected stays so, and is answered."""
    path = str(tmp_path / "s")
    people = Changing((config.Actor("me", ("operate",), user=str(os.getuid())),), lambda _name: None)
    people.named = True
    await nursery.start(World(config.Ops(port=0), people, path).server.serve)
    mine = await trio.open_unix_socket(path)
    await trio.testing.wait_all_tasks_blocked(0.01)
    people.named = False
    crowd = [await trio.open_unix_socket(path) for _ in range(3 * CONNECTIONS_MAX)]
    assert await ask(crowd.pop(), "GET", "/secret") == 403
    assert await ask(mine, "GET", "/secret") == 200
    for one in crowd:
        await one.aclose()
    nursery.cancel_scope.cancel()


async def test_what_is_under_way_at_the_one_way_in_keeps_no_act_out_of_the_other(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    """Whoever is on this machine may look, as slowly as the answer comes; acts have places of their own."""
    path = str(tmp_path / "s")
    world = World(config.Ops(port=0), mine("operate"), path)
    world.slow = trio.Event()
    port: int = await nursery.start(world.server.serve)
    lookers = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(CONTROLS_MAX)]
    for one in lookers:
        await one.send_all(b"GET /look HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert await ask(await trio.open_tcp_stream("127.0.0.1", port), "GET", "/look") == 503
    assert await ask(await trio.open_unix_socket(path), "POST", "/act") == 200
    world.slow.set()
    for one in lookers:
        await one.aclose()
    nursery.cancel_scope.cancel()


async def test_a_socket_at_which_nobody_is_accepted_holds_up_no_start(tmp_path: Path) -> None:
    """Its queue is full, and connecting would wait for ever: it is somebody's all the same."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(str(path))
        with pytest.raises(BaseExceptionGroup) as raised:
            await World(config.Ops(port=0), NOBODY, str(path)).server.serve()
        assert "another process listens there" in str(raised.value.exceptions[0])
        for one in waiting:
            one.close()


# --- TLS


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path)


@pytest.fixture
async def secure(nursery: trio.Nursery, papers: Papers) -> AsyncIterator[tuple[World, int]]:
    people = actors(anna=("operate",), prometheus=("look",), usm_a=("peer",))
    world = World(config.Ops(port=0, tls=papers.ops), Actors(people, lambda _name: None))
    port: int = await nursery.start(world.server.serve)
    yield world, port
    nursery.cancel_scope.cancel()


async def dial(port: int, tls: config.Tls | None, ca: str) -> trio.SSLStream[trio.SocketStream]:
    context = ssl.create_default_context(cafile=ca)
    if tls is not None:
        context.load_cert_chain(tls.certificate_file, tls.key_file)
    stream = trio.SSLStream(
        await trio.open_tcp_stream("127.0.0.1", port), context, server_hostname="localhost", https_compatible=True
    )
    await stream.do_handshake()
    return stream


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("anna.bank.example", {"/live": 200, "/secret": 200, "/news": 403}),
        ("prometheus.bank.example", {"/live": 200, "/secret": 403, "/news": 403}),
        ("usm-a.bank.example", {"/live": 403, "/secret": 403, "/news": 200}),
        ("eve.bank.example", {"/live": 403, "/secret": 403, "/news": 403}),
    ],
)
async def test_by_tls_the_certificate_says_who(
    secure: tuple[World, int], papers: Papers, name: str, statuses: dict[str, int]
) -> None:
    """One that our authority signed and that no actor has may not even look."""
    _, port = secure
    tls = papers.client(name)
    found = {}
    for place in statuses:
        stream = await dial(port, tls, papers.ca)
        found[place] = await ask(stream, "POST" if place == "/news" else "GET", place)
    assert found == statuses


async def test_without_a_certificate_nobody_looks(secure: tuple[World, int], papers: Papers) -> None:
    """TLS 1.3 tells a client only with the first bytes that come."""
    _, port = secure
    with pytest.raises((trio.BrokenResourceError, IndexError, ssl.SSLError)):
        await ask(await dial(port, None, papers.ca), "GET", "/live")


async def test_whose_authority_is_withdrawn_acts_no_more_on_a_connection_that_stands(
    secure: tuple[World, int], papers: Papers
) -> None:
    """The files are looked at again, as SIGHUP has them, and the connection is closed."""
    _, port = secure
    stream = await dial(port, papers.client("anna.bank.example"), papers.ca)
    await stream.send_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
    papers.withdraw()
    look_again()
    with trio.fail_after(20):
        try:
            while await stream.receive_some():
                pass
        except (trio.BrokenResourceError, ssl.SSLError):
            pass
    await trio.aclose_forcefully(stream)


# --- who is who


def test_names_of_two_actors_in_one_certificate_are_nobodys() -> None:
    people = Actors(actors(anna=("operate",), ben=("look",)), lambda _name: None)
    both = people.by_certificate(["anna.bank.example", "ben.bank.example"])
    assert (both.name, both.roles) == ("", frozenset())
    assert people.by_certificate(["x.example", "ben.bank.example"]).name == "ben"


def test_users_are_looked_up_once_and_a_mistake_is_named() -> None:
    """A user that is not there, and one user under two names (by name and by number)."""
    known = {"anna": 1000, "ben": 1001}
    both = (config.Actor("a", ("look",), user="anna"), config.Actor("b", ("look",), user="1000"))
    with pytest.raises(ConfigurationError) as raised:
        Actors((*both, config.Actor("c", ("look",), user="nobody-here")), known.get)
    assert raised.value.mistakes == [
        "node.actors[1].user: is the user of another actor: a user acts under one name",
        "node.actors[2].user: this machine has no user of this name",
    ]
    assert Actors(both[:1], known.get).by_user(1000).name == "a"
