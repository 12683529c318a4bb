"""The control socket: a line in, a line out, and whatever comes in, the hub goes on."""

import socket
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from loadtest.__main__ import main
from loadtest.control import Control, ControlError, serve


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
