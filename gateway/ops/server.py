"""The HTTP server for operations: what people and machines may look at, and where acts are ordered.

Two ways in. `node.ops` is a TCP port: on loopback in the clear, where everybody on this machine may look and nobody can
act; with `node.ops.tls`, where the client's certificate says who comes. `node.acts.socket` is a Unix socket: the kernel
says which user comes. `acts.actors` says what each may do.

It runs in the process that decides payments, so no client can hurt that one: connections are few, each has limits in
time and size (`http.visitor`), strangers at the TLS port have places of their own (`http.entrance`), and an answer that
is dear to make is made once for all who ask at that moment. It speaks HTTP/1.1: in HTTP/2 one connection could begin
and drop requests faster than they can be counted.

A web page in a browser on an operator's machine can send requests to loopback, too. It must see nothing and switch
nothing: the name in `Host` must be localhost, an address or one of `node.ops.hosts`; a request that posts must be JSON
by its content type, for which a browser asks first (OPTIONS, 405 here), and have no `Origin`.
"""

import errno
import math
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

import msgspec
import trio

from gateway import config, log, metrics
from gateway.acts.actors import ANYBODY, Actors, Caller
from gateway.config import Role
from gateway.errors import Unavailable
from gateway.http.entrance import Entrance
from gateway.http.pipe import Pipe, StreamPipe, socket_pipe
from gateway.http.visitor import Over, Request, Turn, Unreadable, Visitor
from gateway.log.limit import Limit
from gateway.machine import harmless
from gateway.network.listening import Listen, Patient, listen_tcp
from gateway.network.papers import Papers

CONNECTIONS_MAX = 32
"""Connections at each way in, at most. For one more, the oldest without a request under way is closed, or else the
oldest: a crowd cannot keep a probe out."""
CONNECTION_S_MAX = 60.0
"""How long a connection may live. That cuts no response: one that may be the last says `Connection: close`."""
IDLE_S_MAX = 20.0
"""How long a request may take to come in, and a connection may wait for its next request. Well above the intervals of
scrapes and probes: a close that meets the next request costs the client a connection, and some clients the request."""
UNREAD_S_MAX = 2.0
"""How long the last response may take to be read when the process ends; it is added to the time that ending takes."""
BODY_BYTES_MAX = 65536
"""A longer body gets 413."""
CONTROL_S_MAX = 25.0
"""How long a control may take; then 504: the order may be done or not. Above all limits of `ops.desk` together."""
CONTROLS_MAX = 16
"""Looks and controls under way at each way in, at most; one more gets 503."""
METRICS_FRESH_S = 0.1
"""How long a rendering of the metrics is used again: rendering takes milliseconds, in which no payment is decided."""
SWEEP_S = 0.25
"""How often the time of connections is looked at."""

Response = tuple[int, dict[str, Any]]
Ready = Callable[[], tuple[bool, dict[str, Any]]]
"""Whether payments may come, with `reasons` (why not) and `parts` (each part's state)."""


class Look(NamedTuple):
    """A path that is looked at."""

    see: Callable[[Request], Awaitable[Response]]
    roles: tuple[Role, ...] = ("look",)
    """One of these is needed."""


class Control(NamedTuple):
    """A path that is posted to."""

    do: Callable[[Caller, bytes], Awaitable[Response]]
    """Carries out the order in the body (JSON, not yet read); returns status and response. It is cancelled after
    `CONTROL_S_MAX`, or when the gateway ends."""
    roles: tuple[Role, ...] = ()
    """One of these is needed; none: the control judges that."""


_log = log.get("ops")
_JSON = b"application/json"
_PEER = struct.Struct("iII")
"""Linux's `struct ucred`: process, user, group."""


class Server:
    """The server. `serve` it."""

    def __init__(
        self, ops: config.Ops, actors: Actors, *, ready: Ready, looks: Mapping[str, Look] = MappingProxyType({}),
        controls: Mapping[str, Control] = MappingProxyType({}), path: str = "",
        identify: Callable[[trio.abc.Stream], Caller] | None = None,
    ) -> None:  # fmt: skip
        """`looks` and `controls`: by path, beside `/live`, `/ready` and `/metrics`. `path`: of the Unix socket; empty:
        there is none. `identify`: who comes by a stream that is no socket (a simulation's).

        Raises `ConfigurationError` when the TLS files are of no use.
        """
        self._settings = ops
        self._path = path
        self._ready = ready
        self._looks = looks
        self._controls = controls
        self._actors = actors
        self._identify = identify or (lambda _stream: ANYBODY)
        self._entrance = Entrance(Papers(ops.tls, "node.ops.tls"), "ops") if ops.tls is not None else None
        self._hosts = frozenset({"localhost", ops.host.lower(), *(host.lower() for host in ops.hosts)})
        self._ways = {way: _Way() for way in ("port", "socket", "nobody")}
        """Those who come by each way in; and those who were let in and may do nothing: they take nobody's place."""
        self._rendered: dict[bool, tuple[float, bytes, str]] = {}
        self._nursery: trio.Nursery
        self._quiet = trio.Event()

    async def serve(
        self, *, listen: Listen = listen_tcp, over: trio.Event | None = None,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:  # fmt: skip
        """Serve until cancelled, or until `over` is set and earlier requests have their responses, within
        `UNREAD_S_MAX`. Starts with the port.

        Cancelled, it closes every connection and leaves nothing behind. Raises `Unavailable` when an address cannot be
        listened on.
        """
        ops, path = self._settings, self._path
        try:
            listeners, port = await listen(ops.host, ops.port, CONNECTIONS_MAX)
        except OSError as error:
            raise Unavailable(f"ops: {ops.host}:{ops.port}: {log.describe(error)}") from error
        _log.info("ops server listens", host=ops.host, port=port)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._sweep)
            nursery.start_soon(trio.serve_listeners, self._on_port, listeners)
            if path:
                with _unix_listener(path) as listener:
                    nursery.start_soon(trio.serve_listeners, self._on_socket, [listener])
                    await self._until(over, task_status, port)
            else:
                await self._until(over, task_status, port)
            nursery.cancel_scope.cancel()

    async def _until(self, over: trio.Event | None, task_status: trio.TaskStatus[int], port: int) -> None:
        task_status.started(port)
        await (over if over is not None else trio.Event()).wait()
        with trio.move_on_after(UNREAD_S_MAX):
            while any(way.under_way or way.owes for way in self._ways.values()):
                self._quiet = trio.Event()
                await self._quiet.wait()

    # --- connections

    async def _on_port(self, stream: trio.abc.Stream) -> None:
        """A client at the TCP port."""
        if not isinstance(stream, trio.SocketStream):
            await self._attend("port", StreamPipe(stream), self._identify(stream))
        elif self._entrance is None:
            await self._attend("port", socket_pipe(stream), ANYBODY)
        elif (guest := await self._entrance.let_in(stream)) is not None:
            with self._entrance.serving(guest):
                await self._attend("port", guest.pipe, self._actors.by_certificate(guest.pipe.names))

    async def _on_socket(self, stream: trio.SocketStream) -> None:
        """A client at the Unix socket: the kernel says who."""
        credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        _, uid, _ = _PEER.unpack(credentials)
        await self._attend("socket", socket_pipe(stream), self._actors.by_user(uid))

    async def _attend(self, way_in: str, pipe: Pipe, caller: Caller) -> None:
        way = self._ways[way_in if caller.roles else "nobody"]
        visitor = Visitor(pipe, partial(self._take, way, caller), BODY_BYTES_MAX)
        with way.attended(visitor):
            try:
                await visitor.run(lambda _visitor: None)
            except* Exception as error:  # noqa: BLE001 - the boundary: one connection fails
                _log.warning("ops connection failed", error=log.describe(error))
        self._quiet.set()

    async def _sweep(self) -> NoReturn:
        while True:
            await trio.sleep(SWEEP_S)
            if self._entrance is not None:
                self._entrance.look()
            for way in self._ways.values():
                way.sweep(trio.current_time())
            self._quiet.set()

    # --- requests

    def _take(
        self, way: "_Way", caller: Caller, visitor: Visitor, requests: list[Request], fault: Unreadable | None
    ) -> None:
        """All requests of a chunk."""
        last = way.nearly_over(visitor, trio.current_time())
        owed = [visitor.owe(keep=request.keep and not last, bare=request.method == b"HEAD") for request in requests]
        behind = visitor.owe(keep=False) if fault is not None and (not requests or owed[-1].keep) else None
        for turn, request in zip(owed, requests, strict=True):
            self._route(way, caller, turn, request)
        if fault is not None and behind is not None:
            _say(behind, fault.status, {"error": fault.detail})

    def _route(self, way: "_Way", caller: Caller, turn: Turn, request: Request) -> None:
        path = request.target.partition(b"?")[0].decode("latin-1")
        try:
            refused = self._refusal(caller, path, request)
            if refused is not None:
                _say(turn, *refused)
            elif path == "/live":
                _say(turn, 200, {"live": True})
            elif path == "/ready":
                ready, why = self._ready()
                _say(turn, 200 if ready else 503, {"ready": ready, "reasons": [], "parts": {}} | why)
            elif path == "/metrics":
                body, media_type = self._metrics(request.accept.decode("latin-1"))
                turn.visitor.respond(turn, 200, media_type.encode(), body, _NO_STORE)
            elif path in self._looks:
                self._begin(way, turn, path, partial(self._looks[path].see, request))
            else:
                self._begin(way, turn, path, partial(self._controls[path].do, caller, request.body))
        except Exception as error:  # noqa: BLE001 - the boundary: looking must not end it
            _failed(turn, path, error)

    def _refusal(self, caller: Caller, path: str, request: Request) -> tuple[int, dict[str, Any], bytes] | None:
        """Why this request gets no further: status, body, more header lines."""
        known = {"/live", "/ready", "/metrics", *self._looks, *self._controls}
        if request.host and not self._is_ours(request.host.decode("latin-1")):
            return 403, {"error": "the name in Host is not one of this server's: node.ops.hosts has them"}, b""
        if path not in known:
            return 404, {"error": "not found", "paths": sorted(known)}, b""
        control = self._controls.get(path)
        allowed = b"GET" if control is None else b"POST"
        if request.method != allowed:
            return 405, {"error": f"only {allowed.decode()}"}, b"Allow: %b\r\n" % allowed
        roles = self._roles_of(path) if control is None else control.roles
        if roles and not caller.may(*roles):
            who, wanted = caller.name or "nobody by name", " or ".join(roles)
            return 403, {"error": f"{who} ({caller.origin}) has not the role {wanted}: node.actors gives it"}, b""
        refused = _unfit(request) if control is not None else None
        return (*refused, b"") if refused is not None else None

    def _roles_of(self, path: str) -> tuple[Role, ...]:
        return self._looks[path].roles if path in self._looks else ("look",)

    def _is_ours(self, host: str) -> bool:
        """Whether a name in `Host` is this server's. An address is: no name of a web page leads to it."""
        bare = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        bare = bare.removeprefix("[").removesuffix("]").lower().rstrip(".")
        if bare in self._hosts:
            return True
        try:
            ip_address(bare)
        except ValueError:
            return False
        return True

    def _begin(self, way: "_Way", turn: Turn, path: str, work: Callable[[], Awaitable[Response]]) -> None:
        if way.under_way >= CONTROLS_MAX:
            _say(turn, 503, {"error": f"{CONTROLS_MAX} requests are under way already"})
            return
        way.under_way += 1
        self._nursery.start_soon(self._work, way, turn, path, work)

    async def _work(self, way: "_Way", turn: Turn, path: str, work: Callable[[], Awaitable[Response]]) -> None:
        status, content = 504, {"error": f"not done within {CONTROL_S_MAX:g} s; whether it will be is not known"}
        try:
            with trio.move_on_after(CONTROL_S_MAX):
                status, content = await work()
            if path in self._controls:
                _log.info("control request", path=path, status=status)
            _say(turn, status, content)
        except Exception as error:  # noqa: BLE001 - the boundary: a control that fails costs its response
            _failed(turn, path, error)
        finally:
            way.under_way -= 1
            self._quiet.set()

    def _metrics(self, accept: str) -> tuple[bytes, str]:
        """One rendering for all who ask at that moment, in each of the two formats."""
        now_s, is_open = trio.current_time(), metrics.is_openmetrics(accept)
        rendered_s, body, media_type = self._rendered.get(is_open, (-math.inf, b"", ""))
        if now_s - rendered_s >= METRICS_FRESH_S:
            body, media_type = metrics.exposition(openmetrics=is_open)
            self._rendered[is_open] = (now_s, body, media_type)
        return body, media_type


_NO_STORE = b"Cache-Control: no-store\r\n"


def _say(turn: Turn, status: int, content: dict[str, Any], more: bytes = b"") -> None:
    turn.visitor.respond(turn, status, _JSON, harmless.json(msgspec.json.encode(content)), _NO_STORE + more)


def _unfit(request: Request) -> Response | None:
    """Why this is no request to a control, whatever its body says."""
    if request.origin:
        return 403, {"error": "not for web pages: a request with an Origin is refused"}
    if request.media_type.partition(b";")[0].strip().lower() != _JSON:
        return 415, {"error": f"the content type must be {_JSON.decode()}"}
    if request.encoding.strip().lower() not in {b"", b"identity"}:
        return 415, {"error": "the body must not be compressed"}
    return None


def _failed(turn: Turn, path: str, error: Exception) -> None:
    _log.error("ops request failed", path=path, error=log.describe(error))
    _say(turn, 500, {"error": "failed; the log says how"})


class _Way:
    """The connections of one way in: few, and none for ever."""

    def __init__(self) -> None:
        self._limit = Limit("ops.CONNECTIONS_MAX", CONNECTIONS_MAX)
        self._ends_s: dict[Visitor, float] = {}
        self.under_way = 0
        """Looks and controls."""

    @property
    def owes(self) -> bool:
        """Whether a response is owed or unread."""
        return any(visitor.owes for visitor in self._ends_s)

    def nearly_over(self, visitor: Visitor, now_s: float) -> bool:
        """Whether the connection might be closed before its client's next request has come."""
        return now_s + IDLE_S_MAX >= self._ends_s.get(visitor, math.inf)

    def attended(self, visitor: Visitor) -> "_Attended":
        """While the block runs, it has a place. The oldest without a request under way makes it, or else the oldest."""
        now_s = trio.current_time()
        if len(self._ends_s) < CONNECTIONS_MAX:
            self._limit.eased()
        else:
            self._limit.hit(now_s, "the oldest connection that is not asking is closed for the next", 1)
            leaving = next((one for one in self._ends_s if not one.turns), next(iter(self._ends_s)))
            del self._ends_s[leaving]
            leaving.scope.cancel()
        self._ends_s[visitor] = now_s + CONNECTION_S_MAX
        return _Attended(self._ends_s, visitor)

    def sweep(self, now_s: float) -> None:
        """Close what is over."""
        for visitor, ends_s in list(self._ends_s.items()):
            over = visitor.look(now_s, IDLE_S_MAX, IDLE_S_MAX)
            if over is Over.LATE and not visitor.turns:
                fault = visitor.give_up(408, f"a request may take {IDLE_S_MAX:g} s to come in")
                _say(visitor.owe(keep=False), fault.status, {"error": fault.detail})
            elif over not in {Over.NO, Over.LATE} or (visitor.idle and now_s >= ends_s):
                visitor.scope.cancel()


class _Attended(NamedTuple):
    """A place in a way."""

    places: dict[Visitor, float]
    visitor: Visitor

    def __enter__(self) -> None:
        """It was taken already."""

    def __exit__(self, *_error: object) -> None:
        self.places.pop(self.visitor, None)


class _unix_listener:  # noqa: N801 - used like a function
    """A Unix socket at a path while the block runs. One that nobody listens at any more is replaced.

    Everybody on this machine may connect: who comes is judged by the kernel's word, not by the file's mode.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def __enter__(self) -> Patient:
        path = self._path
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _clear(path)
            sock.bind(str(path))
            path.chmod(0o666)
            sock.listen(CONNECTIONS_MAX)
            self._inode = path.stat().st_ino
        except OSError as error:
            sock.close()
            raise Unavailable(f"node.acts.socket: {path}: {log.describe(error)}") from error
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        return Patient(listener, str(path), 0)

    def __exit__(self, *_error: object) -> None:
        try:
            if self._path.stat().st_ino == self._inode:  # another process may have its own there by now
                self._path.unlink()
        except OSError:
            return  # it is gone already


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens at. Raises `OSError` when somebody does, or when it is something else."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "something else than a socket is there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # somebody may listen who accepts nobody
        try:
            probe.connect(str(path))
        except BlockingIOError:
            pass
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "another process listens there")
