"""The control socket: a line in, a line out, and whatever comes in, the hub goes on."""

from typing import Any

import pytest
import trio
import trio.testing

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
