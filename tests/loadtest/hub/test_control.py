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
from loadtest.hub.control import FINISH_WITHIN_S, LINE_BYTES_MAX, REPLY_WITHIN_S, Control, ControlError, Gone, Service
from loadtest.parts.processes import WorldError


async def handler(request: dict[str, Any]) -> dict[str, Any]:
    if request.get("do") == "no":
        raise ValueError("not that")
    return {"asked": request}


async def dialled(nursery: trio.Nursery) -> tuple[Control, trio.StapledStream[Any, Any]]:
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(Service(handler).serve, theirs)
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
    for _ in range(2):
        with pytest.raises(Gone, match="statistics: the other end is gone"):
            await control("statistics")


def test_a_command_says_in_a_line_that_the_hub_refuses_or_is_gone() -> None:
    """Each command of loadtest catches what its world may raise."""
    assert issubclass(Gone, ControlError)
    assert issubclass(ControlError, WorldError)


async def test_a_hub_is_steered_from_a_command_line(nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it runs, by its port."""
    listeners = await nursery.start(partial(trio.serve_tcp, Service(handler).serve, 0, host="127.0.0.1"))
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


# --- how it ends, whatever runs at the same time


class Hub:
    """The other end, by hand: `reply` lets the next reply go."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.asked: list[str] = []
        self._go = trio.Semaphore(0)
        self.service = Service(self._handle)
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(self.service.serve, theirs)
        self.control = Control(ours)

    async def _handle(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request["do"])
        await self._go.acquire()
        return {"for": request["do"]}

    def reply(self, times: int = 1) -> None:
        for _ in range(times):
            self._go.release()


@pytest.mark.parametrize("given_up", [1, 2, 5])
async def test_an_asker_may_give_up_and_the_next_one_has_its_own_reply(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, given_up: int
) -> None:
    """Also when several have, one of them while it skipped what the others were owed."""
    hub = Hub(nursery)
    for number in range(given_up):
        with trio.move_on_after(1) as scope:
            await hub.control(f"statistics {number}")
        assert scope.cancelled_caught
    hub.reply(given_up - 1)
    with trio.move_on_after(1) as scope:
        await hub.control("given up at last")
    assert scope.cancelled_caught
    hub.reply(3)
    assert await hub.control("start") == {"for": "start"}
    hub.reply()
    assert await hub.control("stop") == {"for": "stop"}


@pytest.mark.parametrize(("do", "within_s"), [("statistics", REPLY_WITHIN_S), ("finish", FINISH_WITHIN_S)])
async def test_nobody_waits_for_ever_for_a_hub_that_is_stuck(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, do: str, within_s: float
) -> None:
    """To finish takes as long as every payment's outcome; everything else is answered at once."""
    hub = Hub(nursery)
    began_s = trio.current_time()
    with pytest.raises(ControlError, match=f"{do}: no reply within"):
        await hub.control(do)
    assert trio.current_time() - began_s == pytest.approx(within_s)


@pytest.mark.parametrize("when", ["before", "meanwhile", "behind"])
async def test_who_asks_a_hub_that_was_told_to_end_hears_that_it_is_gone(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, when: str
) -> None:
    """Whether it has ended yet or not, and nothing reaches it any more. Who had asked before has a reply."""
    hub = Hub(nursery)
    heard: list[object] = []

    async def ask() -> None:
        try:
            heard.append(await hub.control("statistics"))
        except Gone:
            heard.append(Gone)

    async with trio.open_nursery() as asking:
        if when == "before":
            asking.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
        asking.start_soon(hub.control, "finish")
        await trio.testing.wait_all_tasks_blocked()
        if when == "meanwhile":
            asking.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
        hub.reply(2)
    if when == "behind":
        await ask()
    assert heard == ([{"for": "statistics"}] if when == "before" else [Gone])
    assert hub.asked == (["statistics", "finish"] if when == "before" else ["finish"])


async def test_who_looks_on_ends_before_the_hub_is_told_to(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """In the middle of asking, between two times, and while it puts things in order: it never hears that it is gone."""
    hub = Hub(nursery)
    ended: list[str] = []

    async def look(name: str, pause_s: float) -> None:
        try:
            while True:
                await hub.control("statistics")
                await trio.sleep(pause_s)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            assert "finish" not in hub.asked
            ended.append(name)

    async with trio.open_nursery() as looking:
        looking.start_soon(hub.control.look_on, partial(look, "asks", 0.1))
        looking.start_soon(hub.control.look_on, partial(look, "pauses", 1000))
        await trio.testing.wait_all_tasks_blocked()
        hub.reply(100)
        await hub.control("finish")
        assert sorted(ended) == ["asks", "pauses"]
    assert hub.asked[-1] == "finish"
    assert hub.asked.count("finish") == 1


async def test_a_hub_that_ends_has_replied_to_everybody(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """However long the askers take to read; an asker that has gone keeps nobody."""
    service = Service(handler)
    pairs = [trio.testing.lockstep_stream_pair() for _ in range(3)]
    for ours, theirs in pairs:
        nursery.start_soon(service.serve, theirs)
        await ours.send_all(b'{"do":"finish"}\n')
    await trio.testing.wait_all_tasks_blocked()
    replied = trio.Event()

    async def end() -> None:
        await service.replied()
        replied.set()

    nursery.start_soon(end)
    for ours, _ in pairs[:2]:
        await trio.sleep(10)
        assert not replied.is_set()
        await ours.receive_some()
    await trio.testing.wait_all_tasks_blocked()
    assert not replied.is_set()
    await pairs[2][0].aclose()
    await replied.wait()
