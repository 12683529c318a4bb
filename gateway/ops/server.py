"""The HTTP server for operations: hypercorn on trio, with a bare ASGI application.

hypercorn speaks HTTP. This file decides how many may connect, for how long, and what a mistake in a connection may
cost, because hypercorn serves every client of the port and runs in the process that decides payments.
`hypercorn.trio.serve` would not do: it sends within a shield and without a limit, so that one client that does not read
keeps the process from ending, and an error in one connection ends them all.

Controls change something: each is a POST with a JSON body. A web page in a browser on an operator's machine can send
requests to loopback, too, and must not be able to switch anything. So a control request needs the content type
`application/json`, which a page may send to another origin only after a preflight (OPTIONS), and that is 405 here. And
a request with an `Origin` is refused: browsers add it to every POST, and nothing else sends it.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

import msgspec
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from gateway import config, log, metrics
from gateway.errors import Unavailable
from gateway.log.limit import Limit
from gateway.machine import harmless
from gateway.network.listening import Listen, listen_tcp

CONNECTIONS_MAX = 32
"""Connections at most. For one more, the oldest without a request under way is closed, or else the oldest: a crowd
cannot keep a probe out."""
CONNECTION_S_MAX = 60.0
"""How long a connection may live. That cuts no response: one that may be the last says `Connection: close`."""
IDLE_S_MAX = 20.0
"""How long a request's head may take, and a connection may wait for its next request. Well above the intervals of
scrapes and probes: a close that meets the next request costs the client a connection, and some clients the request."""
SEND_S_MAX = 2.0
"""How long a client may take to read one write; at most this is added to the time that ending takes."""
HEAD_BYTES_MAX = 8192
"""A longer request line with headers gets 431."""
REQUESTS_MAX = 100
"""Requests on one connection."""
BODY_BYTES_MAX = 65536
"""A longer body of a control request gets 413."""
BODY_S_MAX = 5.0
"""How long the body of a control request may take; then 408."""
CONTROL_S_MAX = 10.0
"""How long a control may take (a disk that hangs); then 504: the order may be done or not."""
METRICS_FRESH_S = 0.1
"""How long a rendering of the metrics is used again: rendering takes milliseconds, in which no payment is decided."""

Ready = Callable[[], tuple[bool, dict[str, Any]]]
"""Whether payments may come, with `reasons` (why not) and `parts` (each part's state)."""
Statistics = Callable[[], dict[str, Any]]
Control = Callable[[bytes], Awaitable[tuple[int, dict[str, Any]]]]
"""Carries out the order in the body (JSON, not yet read); returns status and response. A mistake of the client's is 400
and `error`. It may be cancelled after `CONTROL_S_MAX`, or when the gateway ends."""
_Response = tuple[int, str, bytes]
_Headers = list[tuple[bytes, bytes]]
_HTTP_1 = frozenset({"1.0", "1.1"})
"""The versions that have a `Connection` header."""
_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]

_log = log.get("ops")
_JSON = "application/json"


async def serve(
    settings: config.Ops,
    *,
    ready: Ready,
    statistics: Statistics,
    controls: Mapping[str, Control] = MappingProxyType({}),
    listen: Listen = listen_tcp,
    over: trio.Event | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, or until `over` is set and earlier requests have their responses, within `SEND_S_MAX`.
    Starts with the port. `ready` and `statistics` are called in the trio thread.

    `controls`: by path (`/stand-in`), the effect of a POST with a JSON body.

    Cancelled, it closes every connection and leaves nothing behind; a write under way may take `SEND_S_MAX`.
    Raises `Unavailable` when the address cannot be listened on.
    """
    try:
        listeners, port = await listen(settings.host, settings.port, CONNECTIONS_MAX)
    except OSError as error:
        raise Unavailable(f"ops: {settings.host}:{settings.port}: {log.describe(error)}") from error
    _log.info("ops server listens", host=settings.host, port=port)
    task_status.started(port)
    application = _Application(ready, statistics, controls)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, _Door(application), listeners)
        await (over if over is not None else trio.Event()).wait()
        with trio.move_on_after(SEND_S_MAX):
            await application.quiet()
        nursery.cancel_scope.cancel()


class _Door:
    """Lets connections in, few at a time, and closes each one, however it ended."""

    def __init__(self, application: "_Application") -> None:
        self._application = ASGIWrapper(cast("Any", application))
        self._config = Config()
        self._config.errorlog = None
        self._config.include_server_header = False
        self._config.keep_alive_timeout = IDLE_S_MAX
        self._config.keep_alive_max_requests = REQUESTS_MAX
        self._config.h11_max_incomplete_size = HEAD_BYTES_MAX
        self._config.h2_max_concurrent_streams = 8
        self._context = WorkerContext(None)
        self._places = Limit("ops.CONNECTIONS_MAX", CONNECTIONS_MAX)
        self._open: dict[trio.SocketStream, _Life] = {}

    async def __call__(self, stream: trio.SocketStream) -> None:
        if len(self._open) < CONNECTIONS_MAX:
            self._places.eased()
        else:
            self._places.hit(trio.current_time(), "the oldest connection that is not asking is closed for the next", 1)
            self._make_place()
        life = self._open[stream] = _Life()
        try:
            with life.scope:
                impatient, state = cast("Any", _Impatient(stream)), ConnectionState({"life": life})
                await TCPServer(self._application, self._config, self._context, state, impatient).run()
        except* Exception as error:  # noqa: BLE001 - the boundary: one connection fails
            _log.warning("ops connection failed", error=log.describe(error))
        finally:
            self._open.pop(stream, None)
            stream.socket.close()

    def _make_place(self) -> None:
        leaving = next((stream for stream, life in self._open.items() if not life.under_way), next(iter(self._open)))
        self._open.pop(leaving).scope.cancel()
        # closing wakes a sender that hypercorn shields from cancellation
        leaving.socket.close()


class _Life:
    """The lifetime of one connection. Between requests it ends when its time is over; a request under way has limits of
    its own, and gets its response first.
    """

    def __init__(self) -> None:
        self._ends_s = trio.current_time() + CONNECTION_S_MAX
        self.scope = trio.CancelScope(deadline=self._ends_s)
        self.under_way = 0
        """Requests without a complete response."""

    def begin(self) -> None:
        """A request came."""
        self.under_way += 1
        self.scope.deadline = math.inf

    def end(self) -> None:
        """Its response was written, or there will be none."""
        self.under_way -= 1
        if not self.under_way:
            self.scope.deadline = self._ends_s

    @property
    def nearly_over(self) -> bool:
        """Whether the next request might come too late: the client is told not to send it here."""
        return trio.current_time() + IDLE_S_MAX >= self._ends_s


class _Impatient:
    """A stream whose other end has `SEND_S_MAX` to read each write."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.socket = stream.socket
        self.receive_some = stream.receive_some
        self.send_eof = stream.send_eof
        self.aclose = stream.aclose

    async def send_all(self, data: bytes) -> None:
        """Send, or close and raise `trio.BrokenResourceError`."""
        with trio.move_on_after(SEND_S_MAX) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            self.socket.close()
            raise trio.BrokenResourceError("the client does not read")


class _Application:
    """The ASGI application: four paths for GET, and the controls for POST."""

    def __init__(self, ready: Ready, statistics: Statistics, controls: Mapping[str, Control]) -> None:
        self._ready = ready
        self._statistics = statistics
        self._paths: dict[str, Callable[[str], _Response]] = {
            "/live": self._serve_live,
            "/ready": self._serve_ready,
            "/metrics": self._serve_metrics,
            "/statistics": self._serve_statistics,
        }
        self._controls = controls
        self._rendered: tuple[float, str, _Response] = (-math.inf, "", (0, "", b""))
        self._under_way = 0
        self._quiet = trio.Event()

    async def quiet(self) -> None:
        """Wait until no request is under way."""
        while self._under_way:
            self._quiet = trio.Event()
            await self._quiet.wait()

    async def __call__(self, scope: dict[str, Any], receive: _Receive, send: _Send) -> None:
        life: _Life = scope["state"]["life"]
        life.begin()
        self._under_way += 1
        try:
            await self._serve(scope, receive, send, life)
        finally:
            self._under_way -= 1
            self._quiet.set()
            life.end()

    async def _serve(self, scope: dict[str, Any], receive: _Receive, send: _Send, life: _Life) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        status, content_type, body = await self._respond(scope, receive)
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        if status == 405:
            headers.append((b"allow", self._allowed(scope["path"]).encode()))
        if life.nearly_over and scope["http_version"] in _HTTP_1:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _allowed(self, path: str) -> str:
        looks, controls = path in self._paths, path in self._controls
        return ", ".join(method for method, there in (("GET", looks), ("POST", controls)) if there)

    async def _respond(self, scope: dict[str, Any], receive: _Receive) -> _Response:
        path, allowed = scope["path"], self._allowed(scope["path"])
        if not allowed:
            return _json(404, {"error": "not found", "paths": sorted({*self._paths, *self._controls})})
        if scope["method"] not in allowed.split(", "):
            return _json(405, {"error": f"only {allowed}"})
        try:
            if scope["method"] == "POST":
                return await self._control(path, scope["headers"], receive)
            return self._paths[path](_header(scope["headers"], b"accept"))
        except Exception as error:  # noqa: BLE001 - the boundary: looking must not end it
            _log.error("ops request failed", path=scope["path"], error=log.describe(error))
            return _json(500, {"error": "failed; the log says how"})

    async def _control(self, path: str, headers: _Headers, receive: _Receive) -> _Response:
        if any(name == b"origin" for name, _ in headers):
            return _json(403, {"error": "not for web pages: a request with an Origin is refused"})
        if _header(headers, b"content-type").partition(";")[0].strip().lower() != _JSON:
            return _json(415, {"error": f"the content type must be {_JSON}"})
        if _header(headers, b"content-encoding").strip().lower() not in {"", "identity"}:
            return _json(415, {"error": "the body must not be compressed"})
        length = _header(headers, b"content-length")
        too_long = len(length) > 9 or (length.isascii() and length.isdigit() and int(length) > BODY_BYTES_MAX)
        body: bytes | None = None
        if not too_long:
            with trio.move_on_after(BODY_S_MAX) as waiting:
                body = await _body(receive)
            if waiting.cancelled_caught:
                return _json(408, {"error": f"the body did not come within {BODY_S_MAX:g} s"})
        if body is None:
            return _json(413, {"error": f"the body must not exceed {BODY_BYTES_MAX} bytes"})
        status, content = 504, {"error": f"not done within {CONTROL_S_MAX:g} s; whether it will be is not known"}
        with trio.move_on_after(CONTROL_S_MAX):
            status, content = await self._controls[path](body)
        _log.info("control request", path=path, status=status)
        return _json(status, content)

    def _serve_live(self, _accept: str) -> _Response:
        return _json(200, {"live": True})

    def _serve_ready(self, _accept: str) -> _Response:
        ready, why = self._ready()
        return _json(200 if ready else 503, {"ready": ready, "reasons": [], "parts": {}} | why)

    def _serve_statistics(self, _accept: str) -> _Response:
        return _json(200, self._statistics())

    def _serve_metrics(self, accept: str) -> _Response:
        now_s = trio.current_time()
        rendered_s, rendered_accept, response = self._rendered
        if accept != rendered_accept or now_s - rendered_s >= METRICS_FRESH_S:
            body, content_type = metrics.exposition(accept)
            response = (200, content_type, body)
            self._rendered = (now_s, accept, response)
        return response


def _header(headers: _Headers, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in headers if name == wanted), "")


async def _body(receive: _Receive) -> bytes | None:
    """Read the whole body; None when it is too long, or when the client left before its end."""
    body: bytes = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if event["type"] == "http.disconnect" or len(body) > BODY_BYTES_MAX:
            return None
        if not event.get("more_body", False):
            return body


def _json(status: int, content: dict[str, Any]) -> _Response:
    return status, _JSON, harmless.json(msgspec.json.encode(content))
