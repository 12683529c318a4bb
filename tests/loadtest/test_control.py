"""The control socket: a line in, a line out, and whatever comes in, the hub goes on."""

import socket
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from loadtest.__main__ import main
from loadtest.control import LINE_BYTES_MAX, Control, ControlError, serve


async def handler(request: dict[str, Any]) -> dict[str, Any]:
    if request.get("do") == "no":
        raise ValueError("not that")
    return {"asked": request}


async def dialled(nursery: trio.Nursery) -> tuple[Control, trio.StapledStream[Any, Any]]:
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(serve, theirs, handler)
    return Control(ours), ours


async def test_a_request_has_its_reply_and_a_refusal_its_reason(nursery: trio.Nursery) -> None:
    """Refused is not gone: the connection goes on."""
    control, _ = await dialled(nursery)
    assert await control("start", rate=5) == {"asked": {"do": "start", "rate": 5}}
    with pytest.raises(ControlError, match="no: not that"):
        await control("no")
    assert await control("again") == {"asked": {"do": "again"}}


@pytest.mark.parametrize("line", [b"{}{}\n", b"[1]\n", b"\xff\n", b"\n"])
async def test_a_line_that_makes_no_sense_is_refused(nursery: trio.Nursery, line: bytes) -> None:
    """And the next one is read."""
    control, stream = await dialled(nursery)
    await stream.send_all(line)
    with pytest.raises(ControlError, match="start: "):
        await control("start")
    assert await control("more")


async def test_a_hub_that_is_gone_is_said_to_be(nursery: trio.Nursery) -> None:
    """Rather than waiting for it."""
    ours, theirs = trio.testing.memory_stream_pair()
    control = Control(ours)
    await theirs.aclose()
    with pytest.raises(ControlError, match="statistics: the other end is gone"):
        await control("statistics")


async def test_a_hub_is_steered_from_a_command_line(nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it runs, by its port."""
    listeners = await nursery.start(partial(trio.serve_tcp, partial(serve, handler=handler), 0, host="127.0.0.1"))
    port = str(listeners[0].socket.getsockname()[1])

    async def steer(*arguments: str) -> int:
        return await trio.to_thread.run_sync(main, ["steer", "hub", *arguments])

    assert await steer(port, '{"do": "start", "rate": 5}') == 0
    assert msgspec.json.decode(capsys.readouterr().out) == {"asked": {"do": "start", "rate": 5}}
    assert await steer(port, '{"do": "no"}') == 1
    assert await steer(port, "start") == 1
    said = capsys.readouterr().err
    assert "no: not that" in said
    assert "JSON" in said


def test_a_processor_that_refuses_or_is_not_there_is_said_to(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = str(nobody.getsockname()[1])
    assert main(["steer", "processor", port, '{"do": "statistics"}']) == 1
    assert "steer: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("order", "status", "said"),
    [
        (b'{"do": "start"}', b"200 OK", {"ok": True, "asked": {"do": "start"}}),
        (b'{"do": "no"}', b"400 Bad Request", {"ok": False, "error": "not that"}),
    ],
)
@pytest.mark.parametrize("bytes_at_once", [1, 1000])
async def test_curl_may_ask_as_well(
    nursery: trio.Nursery, order: bytes, status: bytes, said: dict[str, Any], bytes_at_once: int
) -> None:
    """The same object as the body of a request, in whatever pieces; the connection ends with the response."""
    _, stream = await dialled(nursery)
    request = b"POST / HTTP/1.1\r\nHost: hub\r\nContent-Length: %d\r\n\r\n%b" % (len(order), order)
    for start in range(0, len(request), bytes_at_once):
        await stream.send_all(request[start : start + bytes_at_once])
    response = b"".join([chunk async for chunk in stream])
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert msgspec.json.decode(body) == said


@pytest.mark.parametrize("request_", [b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", b"POST \x00\r\n\r\n"])
async def test_half_a_request_and_none_at_all_get_no_response(nursery: trio.Nursery, request_: bytes) -> None:
    """And the hub goes on."""
    _, stream = await dialled(nursery)
    await stream.send_all(request_)
    await stream.send_stream.aclose()
    assert [chunk async for chunk in stream] == []


async def test_a_body_without_end_is_cut_off(nursery: trio.Nursery) -> None:
    _, stream = await dialled(nursery)
    await stream.send_all(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (2 * LINE_BYTES_MAX))
    await stream.send_all(bytes(LINE_BYTES_MAX + 1))
    assert [chunk async for chunk in stream] == []


@pytest.mark.parametrize("part", ["hub", "processor"])
def test_a_port_that_is_taken_is_named(part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By whoever wanted it: exit code 2."""
    keys = tmp_path / "keys.json"
    keys.write_text('{"fps-hub": "00112233445566778899aabbccddeeff", "fps-own": "ffeeddccbbaa99887766554433221100"}')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wanted = {"hub": ["--keys", str(keys), "--control", str(port)], "processor": ["--control-port", str(port)]}
        assert main([part, *wanted[part]]) == 2
    assert capsys.readouterr().err == f"{part}: cannot listen on 127.0.0.1:{port}: Address already in use\n"
