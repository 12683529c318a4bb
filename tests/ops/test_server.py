"""The ops server as its clients see it: the kind ones and the others."""

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from itertools import count
from typing import Any

import pytest
import trio
from prometheus_client import Counter
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway import config, metrics
from gateway.acts.actors import Actors, Caller
from gateway.errors import Unavailable
from gateway.http import visitor
from gateway.http.visitor import Request
from gateway.ops import server
from tests.conftest import Reached

OPENMETRICS = "Accept: application/openmetrics-text"
Reply = tuple[int, dict[str, str], bytes]
COUNTED = Counter("test_ops_things_total", "Things.", registry=metrics.REGISTRY)


class Parts:
    """What the server is told about the gateway."""

    def __init__(self) -> None:
        self.ready: tuple[bool, dict[str, Any]] = (True, {"reasons": [], "parts": {"journal": "ok"}})
        self.statistics: Callable[[], dict[str, Any]] = lambda: {"payments": 7}
        self.posted: list[bytes] = []
        self.control: Callable[[bytes], Awaitable[server.Response]] = self.take

    async def take(self, body: bytes) -> tuple[int, dict[str, Any]]:
        self.posted.append(body)
        return 200, {"taken": len(body)}

    async def switch(self, _caller: Caller, body: bytes) -> server.Response:
        return await self.control(body)

    async def count(self, _request: Request) -> server.Response:
        return 200, self.statistics()


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
async def port(parts: Parts, nursery: trio.Nursery) -> AsyncIterator[int]:
    settings = config.Ops(port=0)
    started: int = await nursery.start(serve, settings, parts)
    yield started
    nursery.cancel_scope.cancel()


async def serve(
    settings: config.Ops, parts: Parts, *, over: trio.Event | None = None, task_status: trio.TaskStatus[int]
) -> None:
    serving = server.Server(
        settings, Actors((), lambda _name: None), ready=lambda: parts.ready,
        looks={"/statistics": server.Look(parts.count)}, controls={"/switch": server.Control(parts.switch)},
    )  # fmt: skip
    await serving.serve(over=over, task_status=task_status)


async def fetch(port: int, path: str, method: str = "GET", head: str = "", body: bytes = b"") -> Reply:
    """One request on a connection of its own."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        start = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n"
        await stream.send_all(start.encode() + body)
        return parse(b"".join([chunk async for chunk in stream]))


def parse(received: bytes) -> Reply:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in rest), body


async def closed(stream: trio.SocketStream) -> bool:
    """Whether the server closes the connection, whatever it says before."""
    try:
        while await stream.receive_some():
            pass
    except trio.BrokenResourceError:
        pass
    return True


async def test_live(port: int) -> None:
    """/live answers 200 while the loop turns."""
    status, headers, body = await fetch(port, "/live")
    assert (status, headers["content-type"], json.loads(body)) == (200, "application/json", {"live": True})
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("ready", "why", "status", "said"),
    [
        (True, {}, 200, {"ready": True, "reasons": [], "parts": {}}),
        (
            False,
            {"reasons": ["journal: sync stalled for 2.1 s"], "parts": {"journal": "stalled"}},
            503,
            {"ready": False, "reasons": ["journal: sync stalled for 2.1 s"], "parts": {"journal": "stalled"}},
        ),
    ],
)
async def test_ready(port: int, parts: Parts, ready: bool, why: dict[str, Any], status: int, said: Any) -> None:  # noqa: FBT001
    """/ready says 200 or 503, every reason and every part."""
    parts.ready = (ready, why)
    got, _, body = await fetch(port, "/ready")
    assert (got, json.loads(body)) == (status, said)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("Accept: */*\r\n", "text/plain; version=0.0.4; charset=utf-8"),
        ("Accept: application/openmetrics-text; version=1.0.0\r\n", "application/openmetrics-text; version=1.0.0"),
        ("Accept: application/openmetrics-text; version=x.y\r\n", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
async def test_metrics(port: int, accept: str, content_type: str) -> None:
    """/metrics shows our registry in the format that is asked for, and plain text when no known format is asked for."""
    COUNTED.inc()
    status, headers, body = await fetch(port, "/metrics", head=accept)
    assert status == 200
    assert headers["content-type"].startswith(content_type)
    assert b"\ntest_ops_things_total " in body
    assert b"process_resident_memory_bytes" in body
    assert body.endswith(b"# EOF\n") == ("openmetrics" in content_type)


async def test_metrics_are_rendered_once_for_a_crowd(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within METRICS_FRESH_S the same rendering serves everyone."""
    rendered = count(1)
    monkeypatch.setattr(server, "METRICS_FRESH_S", 1e9)
    monkeypatch.setattr(
        metrics, "exposition", lambda *, openmetrics: (b"rendering %d\n" % next(rendered), f"text/{openmetrics}")
    )
    replies = [await fetch(port, "/metrics", head=f"Accept: a/{number}\r\n") for number in range(3)]
    assert [reply[2] for reply in replies] == [b"rendering 1\n"] * 3
    replies = [await fetch(port, "/metrics", head=f"{OPENMETRICS};q=0.{number}\r\n") for number in range(1, 4)]
    assert [reply[2] for reply in replies] == [b"rendering 2\n"] * 3, "whatever else Accept says"


async def test_statistics(port: int) -> None:
    """/statistics is what the gateway counts."""
    status, _, body = await fetch(port, "/statistics?pretty=1")
    assert (status, json.loads(body)) == (200, {"payments": 7})


@pytest.mark.parametrize("path", ["/", "/metrics/", "/READY", "/..%2f..%2fetc", "/%ff"])
async def test_unknown_path(port: int, path: str) -> None:
    """Another path is 404, and the reply says which there are."""
    status, _, body = await fetch(port, path)
    assert status == 404
    assert json.loads(body)["paths"] == ["/live", "/metrics", "/ready", "/statistics", "/switch"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"])
async def test_other_methods(port: int, method: str) -> None:
    """Whatever is not GET is 405: looking changes nothing."""
    status, headers, _ = await fetch(port, "/ready", method)
    assert (status, headers["allow"]) == (405, "get")


async def test_a_part_that_fails(port: int, parts: Parts, logged: Any) -> None:
    """A part whose report fails costs that response, is logged without its content, and ends nothing."""

    def fail() -> dict[str, Any]:
        raise KeyError("12345678")

    parts.statistics = fail
    status, _, body = await fetch(port, "/statistics")
    assert status == 500
    assert b"12345678" not in body
    [line] = logged("ops request failed")
    assert (line["path"], line["error"]) == ("/statistics", "KeyError")
    assert (await fetch(port, "/live"))[0] == 200


async def test_several_requests_on_one_connection(port: int) -> None:
    """A connection is kept for the next request."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for _ in range(3):
            await stream.send_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = b""
            while not received.endswith(b"}"):
                received += await stream.receive_some()
            assert parse(received)[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /live HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\n\r\n\0\0\0",
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nHTTP2-Settings: !\r\n\r\n" + bytes(30),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(300),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x01\x01\x05\x00\x00\x00\x01\xff" + bytes(30),
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 5000,
    ],
    ids=lambda sent: ascii(sent[-40:]),
)
async def test_what_is_no_request_hurts_nobody_else(port: int, sent: bytes) -> None:
    """Any bytes cost at most their own connection."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        try:
            await stream.send_all(sent)
            await stream.send_eof()
        except trio.BrokenResourceError:
            pass
        assert await closed(stream)
    assert (await fetch(port, "/live"))[0] == 200


async def test_a_long_head_is_refused(port: int) -> None:
    """A head that does not end within HEAD_BYTES_MAX gets 431."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET /live HTTP/1.1\r\nA: ")
        await wait_all_tasks_blocked(0.01)
        await stream.send_all(b"b" * (visitor.HEAD_BYTES_MAX + 1))
        assert parse(await stream.receive_some())[0] == 431


async def test_no_websockets(port: int) -> None:
    """The offer of a WebSocket is passed over, as HTTP allows: the response is an ordinary one."""
    key = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"GET /live HTTP/1.1\r\nHost: localhost\r\n{key}\r\n".encode())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")


async def test_a_crowd_cannot_keep_a_probe_out(port: int, reached: Reached) -> None:
    """With CONNECTIONS_MAX idle connections a new one is served, and the oldest is closed: the limit says so."""
    crowd = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(server.CONNECTIONS_MAX)]
    assert (await fetch(port, "/live"))[0] == 200
    assert await closed(crowd[0])
    assert reached("ops.CONNECTIONS_MAX") == ([server.CONNECTIONS_MAX], 1)
    for stream in crowd:
        await stream.aclose()


async def test_an_error_in_serving_a_connection(port: int, monkeypatch: pytest.MonkeyPatch, logged: Any) -> None:
    """A mistake in serving one connection is logged and ends that one."""

    async def fail(_self: object) -> None:
        raise IndexError

    with monkeypatch.context() as patched:
        patched.setattr(visitor.Visitor, "_read", fail)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert await closed(stream)
    assert [line["error"] for line in logged("ops connection failed")] == ["IndexError"]
    assert (await fetch(port, "/live"))[0] == 200


async def test_it_says_where_it_listens(port: int, logged: Any) -> None:
    """Port 0 takes a free port, which is reported and logged."""
    assert port > 0
    assert [(line["host"], line["port"]) for line in logged("ops server listens")] == [("127.0.0.1", port)]


async def test_an_address_in_use(port: int) -> None:
    """An address that another process holds is reported as ours to free, by name."""
    with pytest.raises(Unavailable, match=rf"^ops: 127\.0\.0\.1:{port}: OSError: Address already in use$"):
        await server.Server(config.Ops(port=port), Actors((), lambda _name: None), ready=lambda: (True, {})).serve()


async def test_cancelled_it_leaves_nothing_behind(parts: Parts) -> None:
    """Cancelling closes every connection and the listener."""
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve, config.Ops(port=0), parts)
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET /li")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await closed(stream)
    await stream.aclose()
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", port))


async def test_told_to_end_it_responds_to_what_was_asked_before(mock_clock: MockClock, parts: Parts) -> None:
    """Requests under way get their responses; no connection is let in; a longer one than UNREAD_S_MAX is cut off."""
    over = trio.Event()
    answer = trio.Event()

    async def wait(_body: bytes) -> tuple[int, dict[str, Any]]:
        await answer.wait()
        return 200, {"waited": True}

    parts.control = wait
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(partial(serve, over=over), config.Ops(port=0), parts)
        waiting, idle, stuck = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3)]
        await waiting.send_all(
            f"POST /switch HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 2\r\n\r\n{{}}".encode()
        )
        await stuck.send_all(f"POST /switch HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 2\r\n\r\n{{".encode())
        await wait_all_tasks_blocked(0.01)
        over.set()
        await wait_all_tasks_blocked(0.01)
        answer.set()
        assert parse(await waiting.receive_some())[0] == 200
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(server.UNREAD_S_MAX)
    for stream in (waiting, idle, stuck):
        assert await closed(stream)
        await stream.aclose()
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", port))


async def test_told_to_end_it_does_so_at_once_when_nothing_is_asked(mock_clock: MockClock, parts: Parts) -> None:
    over = trio.Event()
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(partial(serve, over=over), config.Ops(port=0), parts)
        assert (await fetch(port, "/live"))[0] == 200
        over.set()


# --- controls


JSON = "Content-Type: application/json\r\n"


async def post(port: int, body: bytes = b'{"mode": "never"}', head: str = JSON) -> Reply:
    return await fetch(port, "/switch", "POST", f"{head}Content-Length: {len(body)}\r\n", body)


async def test_a_control_gets_the_body_and_gives_the_response(port: int, parts: Parts, logged: Any) -> None:
    """The body reaches the control unchanged, and the log has a line without its content."""
    status, headers, body = await post(port)
    assert (status, json.loads(body), headers["content-type"]) == (200, {"taken": 17}, "application/json")
    assert parts.posted == [b'{"mode": "never"}']
    assert [(line["path"], line["status"]) for line in logged("control request")] == [("/switch", 200)]


async def test_a_control_says_what_is_wrong(port: int, parts: Parts) -> None:
    """A mistake of the client's is the control's to name."""

    async def refuse(_body: bytes) -> tuple[int, dict[str, Any]]:
        return 400, {"error": "mode is missing"}

    parts.control = refuse
    status, _, body = await post(port, b"{}")
    assert (status, json.loads(body)) == (400, {"error": "mode is missing"})


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (JSON + "Origin: http://evil.example\r\n", 403),
        (JSON + "Origin: null\r\n", 403),
        (JSON + "origin:\r\n", 403),
        ("Content-Type: text/plain\r\n", 415),
        ("Content-Type: application/x-www-form-urlencoded\r\n", 415),
        ("Content-Type: multipart/form-data; boundary=application/json\r\n", 415),
        ("", 415),
        (JSON + "Content-Encoding: gzip\r\n", 415),
        (JSON + "Content-Encoding: Identity\r\n", 200),
        ("Content-Type: Application/JSON; charset=utf-8\r\n", 200),
    ],
)
async def test_a_web_page_cannot_switch_anything(port: int, parts: Parts, head: str, status: int) -> None:
    """What a page in an operator's browser can send without a preflight, or with an Origin, reaches no control."""
    assert (await post(port, head=head))[0] == status
    assert len(parts.posted) == (status == 200)


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "HEAD", "DELETE"])
async def test_a_control_is_posted_to(port: int, parts: Parts, method: str) -> None:
    """Every other method is 405, a browser's preflight too: it learns of no permission."""
    status, headers, _ = await fetch(port, "/switch", method, JSON + "Access-Control-Request-Method: POST\r\n")
    assert (status, headers["allow"]) == (405, "post")
    assert not [name for name in headers if name.startswith("access-control")]
    assert not parts.posted


@pytest.mark.parametrize(
    ("length", "chunked"), [(server.BODY_BYTES_MAX, 200), (server.BODY_BYTES_MAX + 1, 413)], ids=["most", "more"]
)
async def test_a_body_has_a_limit(port: int, parts: Parts, length: int, chunked: int) -> None:
    """BODY_BYTES_MAX are taken, one more is not, whether the length is said before or not."""
    body = b" " * length
    assert (await post(port, body))[0] == chunked
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:])) + b"0\r\n\r\n"
    status, _, _ = await fetch(port, "/switch", "POST", JSON + "Transfer-Encoding: chunked\r\n", pieces)
    assert status == chunked
    assert len(parts.posted) == (2 if chunked == 200 else 0)


@pytest.mark.parametrize(("said", "status"), [("99999999999999999999", 400), (str(server.BODY_BYTES_MAX + 1), 413)])
async def test_a_length_over_the_limit_is_not_waited_for(port: int, said: str, status: int) -> None:
    """The refusal comes before the body does."""
    assert (await fetch(port, "/switch", "POST", f"{JSON}Content-Length: {said}\r\n"))[0] == status


async def test_a_control_that_fails(port: int, parts: Parts, logged: Any) -> None:
    """A control that fails costs that response, is logged without its content, and ends nothing."""

    async def fail(_body: bytes) -> tuple[int, dict[str, Any]]:
        raise KeyError("12345678")

    parts.control = fail
    status, _, body = await post(port)
    assert status == 500
    assert b"12345678" not in body
    assert [line["error"] for line in logged("ops request failed")] == ["KeyError"]
    assert (await fetch(port, "/live"))[0] == 200


async def test_a_client_that_goes_away_before_the_end_switches_nothing(port: int, parts: Parts) -> None:
    """Half a body is none, also when it would do."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(
            f"POST /switch HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 99\r\n\r\n{{}}".encode()
        )
        await wait_all_tasks_blocked(0.01)
    assert (await fetch(port, "/live"))[0] == 200
    await wait_all_tasks_blocked(0.01)
    assert not parts.posted


# --- limits in time, on a clock that only moves when told to


async def test_a_dripping_head(mock_clock: MockClock, port: int) -> None:
    """A head that does not end is given up after IDLE_S_MAX, however steadily its bytes come."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for _ in range(4):
            await stream.send_all(b"G")
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(server.IDLE_S_MAX / 4)
        assert await closed(stream)


async def whole(stream: trio.SocketStream) -> Reply:
    """The next response, which must be there to its last byte."""
    received = b""
    while b"\r\n\r\n" not in received or len(parse(received)[2]) < int(parse(received)[1]["content-length"]):
        chunk = await stream.receive_some()
        assert chunk, "a response was cut"
        received += chunk
    return parse(received)


@pytest.mark.parametrize("interval_s", [0.7, 1.0, 5.0, 6.0, 10.0, 15.0, 19.9])
async def test_a_connection_ends_between_requests_and_says_so_before(
    mock_clock: MockClock, port: int, interval_s: float
) -> None:
    """A client that asks at an interval, for long, gets every response whole. A connection lives no longer than
    CONNECTION_S_MAX, and its last response says that it is the last: nobody asks on one that is about to be closed.
    """
    ended = 0
    while ended < 3:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            began_s = trio.current_time()
            last = False
            while not last:
                await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                _, headers, _ = await whole(stream)
                assert trio.current_time() - began_s <= server.CONNECTION_S_MAX
                last = headers.get("connection") == "close"
                await wait_all_tasks_blocked(0.01)
                if not last:
                    mock_clock.jump(interval_s)
            assert await closed(stream)
            assert trio.current_time() - began_s >= server.CONNECTION_S_MAX / 2, "not after each"
        ended += 1


async def test_a_response_under_way_is_not_cut_by_the_life_of_its_connection(
    mock_clock: MockClock, port: int, parts: Parts
) -> None:
    """A request that came before CONNECTION_S_MAX gets its response after it, and then the connection is over."""
    answer = trio.Event()

    async def wait(_body: bytes) -> tuple[int, dict[str, Any]]:
        await answer.wait()
        return 200, {"waited": True}

    parts.control = wait
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for _ in range(3):  # close to its end
            await stream.send_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert "connection" not in (await whole(stream))[1]
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(19.0)
        await stream.send_all(
            f"POST /switch HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 2\r\n\r\n{{}}".encode()
        )
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(server.CONTROL_S_MAX / 2)
        await wait_all_tasks_blocked(0.01)
        answer.set()
        status, headers, body = await whole(stream)
        assert (status, headers["connection"], json.loads(body)) == (200, "close", {"waited": True})
        assert await closed(stream)


async def test_a_body_that_does_not_come(mock_clock: MockClock, port: int, parts: Parts) -> None:
    """408 after IDLE_S_MAX."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"POST /switch HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 2\r\n\r\n{{".encode())
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(server.IDLE_S_MAX)
        assert parse(await stream.receive_some())[0] == 408
    assert not parts.posted


async def test_a_control_that_does_not_end(mock_clock: MockClock, port: int, parts: Parts) -> None:
    """504 after CONTROL_S_MAX, and the control is cancelled."""
    ended: list[bool] = []

    async def hang(_body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(True)
        raise AssertionError

    parts.control = hang
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(
            f"POST /switch HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 2\r\n\r\n{{}}".encode()
        )
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(server.CONTROL_S_MAX)
        assert parse(await stream.receive_some())[0] == 504
    assert ended


async def stuck(port: int, parts: Parts) -> trio.SocketStream:
    """A client that asks for much and reads little of it."""
    parts.statistics = lambda: {"much": "x" * 20_000_000}
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(b"GET /statistics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await stream.receive_some(1)
    await wait_all_tasks_blocked(0.01)
    return stream


async def test_a_client_that_does_not_read(mock_clock: MockClock, port: int, parts: Parts) -> None:
    """A client that does not read for IDLE_S_MAX loses the connection."""
    async with await stuck(port, parts) as stream:
        for _ in range(2):  # it is found unread, and then for too long
            mock_clock.jump(server.IDLE_S_MAX)
            await wait_all_tasks_blocked(0.01)
        assert await closed(stream)


async def test_a_client_that_does_not_read_cannot_delay_the_end(parts: Parts) -> None:
    """Cancelled while a client does not read, the server ends at once."""
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve, config.Ops(port=0), parts)
        stream = await stuck(port, parts)
        nursery.cancel_scope.cancel()
    await stream.aclose()


async def test_a_crowd_costs_nobody_a_response(port: int, parts: Parts) -> None:
    """The oldest connection on which nothing is under way makes place, not an older one that is owed a response."""
    answer = trio.Event()

    async def wait(_body: bytes) -> tuple[int, dict[str, Any]]:
        await answer.wait()
        return 200, {}

    parts.control = wait
    async with trio.open_nursery() as nursery:
        oldest = await trio.open_tcp_stream("127.0.0.1", port)
        await oldest.send_all(
            f"POST /switch HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 2\r\n\r\n{{}}".encode()
        )
        await wait_all_tasks_blocked(0.01)
        crowd = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(server.CONNECTIONS_MAX)]
        nursery.start_soon(closed, crowd[0])
    answer.set()
    assert (await whole(oldest))[0] == 200
    for stream in [oldest, *crowd]:
        await stream.aclose()


async def test_the_oldest_of_a_crowd_may_be_sending(mock_clock: MockClock, port: int, parts: Parts) -> None:
    """Where every connection is busy the oldest goes, and that does not wait for its client to read."""
    crowd = [await stuck(port, parts) for _ in range(server.CONNECTIONS_MAX)]
    crowd.append(await trio.open_tcp_stream("127.0.0.1", port))
    assert await closed(crowd[0])
    for stream in crowd:
        await stream.aclose()
