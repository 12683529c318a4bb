"""`fps-gateway drain`: what it asks the ops server, how it waits, and what it says of each end."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway import config
from gateway.__main__ import main
from gateway.commands import drain as drain_command
from gateway.commands.drain import Code, calls_of, drain
from gateway.ops import server
from gateway.ops.drain import DrainControl, Progress
from tests.conftest import Logged
from tests.fakes.example import example
from tests.fakes.network import nameless
from tests.fakes.processor import Peer, Processor, Request

URL = "http://127.0.0.1:9200"
UNDER_WAY = {"node": "sip-a", "joined": False, "over": False, "in_flight": 7, "longest_s": 33.0}
OVER = {**UNDER_WAY, "joined": True, "over": True, "in_flight": 0}

Play = Callable[[Request], Awaitable[dict[str, Any] | None]]
"""What a gateway responds to a request; None: it is gone from then on."""


async def drained(
    play: Play, within_s: float | None = None, show: Callable[..., None] | None = None
) -> tuple[int, str]:
    """Drain a gateway that responds like this."""
    async with trio.open_nursery() as nursery:

        async def serve(peer: Peer) -> None:
            while True:
                said = await play(await peer.request())
                if said is None:
                    gateway.away = True
                    return
                await peer.respond(said.pop("status", 202), said.pop("raw", b"") or json.dumps(said).encode())

        gateway = Processor(nursery, serve)
        code, text = await drain(calls_of(URL, nameless(gateway.connect)), URL, within_s, show)
        nursery.cancel_scope.cancel()
    return code, text


def responses(*said: dict[str, Any] | None) -> Play:
    """These, one after the other, to whatever is asked; the last one for ever."""
    left = list(said)

    async def play(request: Request) -> dict[str, Any] | None:
        assert (request.method, request.path) in {("POST", "/drain"), ("GET", "/live")}
        it = left.pop(0) if len(left) > 1 else left[0]
        return dict(it) if it is not None else None

    return play


async def test_it_waits_until_everything_is_finished_and_the_port_is_closed(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    async def play(request: Request) -> dict[str, Any] | None:
        asked.append(json.loads(request.body) if request.body else request.path)
        await trio.sleep(asked[-1]["wait_s"] if request.body else 0)
        alive = len(asked) < 6
        return (UNDER_WAY if len(asked) < 3 else OVER) | {} if alive else None

    code, text = await drained(play)
    assert (code, text) == (Code.ENDED, "sip-a drained after 10.1 s: everything in flight was finished")
    assert asked == [{"wait_s": 0}, {"wait_s": 5.0}, {"wait_s": 5.0}, "/live", "/live", "/live"]
    assert capsys.readouterr().out == "sip-a drains\n"


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [
        ((None,), Code.UNAVAILABLE, f"{URL}: nobody to drain: connection closed: closed"),
        (({"status": 404},), Code.UNAVAILABLE, f"{URL}: what listens there is no gateway that can be drained"),
        (
            ({"raw": b'{"deep":' + b"[" * 20_000},),
            Code.UNAVAILABLE,
            f"{URL}: what listens there is no gateway that can be drained",
        ),
        (
            ({"raw": b'{"node":"\xff"}'},),
            Code.UNAVAILABLE,
            f"{URL}: what listens there is no gateway that can be drained",
        ),
        (
            (UNDER_WAY, OVER | {"in_flight": 3}, None),
            Code.UNFINISHED,
            "sip-a drained after 0.0 s, and 3 payments in flight were not finished",
        ),
        (
            (UNDER_WAY, None),
            Code.UNFINISHED,
            "sip-a ended without saying that everything in flight was finished: see its log",
        ),
        (
            (UNDER_WAY, OVER | {"node": "sip-x"}),
            Code.UNFINISHED,
            f"sip-a ended, and something else listens at {URL} now: see its log",
        ),
        (
            (UNDER_WAY, {"status": 404}),
            Code.UNFINISHED,
            f"sip-a ended, and something else listens at {URL} now: see its log",
        ),
    ],
)
async def test_every_other_end(
    autojump_clock: MockClock, said: tuple[dict[str, Any] | None, ...], code: Code, text: str
) -> None:
    """0 only when everything in flight was finished, by the gateway's own word."""
    assert await drained(responses(*said)) == (code, text)


async def test_one_that_is_slow_to_say_how_far_it_is_has_not_ended(autojump_clock: MockClock) -> None:
    """Silence is no end: it is asked again, for as long as there is time."""
    asked = 0

    async def play(_: Request) -> dict[str, Any] | None:
        nonlocal asked
        asked += 1
        await trio.sleep(8 if asked == 2 else 0)
        return (UNDER_WAY if asked < 3 else OVER) | {} if asked < 4 else None

    code, text = await drained(play)
    assert (code, text) == (Code.ENDED, "sip-a drained after 7.0 s: everything in flight was finished")


@pytest.mark.parametrize(("within_s", "after_s"), [(3.5, 3.5), (None, 38.0)])
async def test_it_waits_no_longer_than_told(autojump_clock: MockClock, within_s: float | None, after_s: float) -> None:
    """Not told, for as long as the gateway says that it may take, and a little. The drain goes on."""

    async def play(request: Request) -> dict[str, Any]:
        await trio.sleep(json.loads(request.body)["wait_s"])
        return dict(UNDER_WAY)

    began_s = trio.current_time()
    code, text = await drained(play, within_s)
    assert trio.current_time() - began_s == after_s
    assert (code, text) == (Code.OVERDUE, f"sip-a has not ended within {after_s:g} s; it goes on draining")


async def test_it_waits_no_longer_for_the_first_word_either(autojump_clock: MockClock) -> None:
    async def play(_: Request) -> dict[str, Any]:
        await trio.sleep(6)
        return dict(UNDER_WAY)

    began_s = trio.current_time()
    code, text = await drained(play, 2.0)
    assert (code, text) == (Code.OVERDUE, f"{URL}: no response within 2 s; it may drain all the same")
    assert trio.current_time() - began_s == 2.0


@pytest.mark.system
def test_ctrl_c_ends_the_waiting_and_not_the_drain() -> None:
    """A real one, while it waits for a gateway that says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "gateway", "drain", "--ops", url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=60)
    assert process.returncode == Code.OVERDUE
    assert said == f"{url}: not waited for any longer; if it was asked in time, it goes on draining\n"


async def test_who_comes_later_joins_in_waiting(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = await drained(responses(UNDER_WAY | {"joined": True}, OVER, None))
    assert code is Code.ENDED
    assert capsys.readouterr().out == "sip-a drains already: waiting with it\n"


async def test_a_terminal_is_shown_what_is_left(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """One line in its place, which is gone at the end; nothing else is said meanwhile."""
    shown: list[Progress | None] = []

    async def play(request: Request) -> dict[str, Any] | None:
        if not request.body:
            return None
        await trio.sleep(json.loads(request.body)["wait_s"])
        left = 3 - len(shown)
        return UNDER_WAY | {"in_flight": left, "over": not left}

    def show(progress: Progress | None) -> None:
        shown.append(progress)
        drain_command._on_terminal(progress)

    code, text = await drained(play, show=show)
    assert (code, text) == (Code.ENDED, "sip-a drained after 1.5 s: everything in flight was finished")
    assert [progress and progress.in_flight for progress in shown] == [3, 2, 1, None]
    said = capsys.readouterr()
    assert said.err.replace("\x1b[K", "").split("\r")[1:] == [
        f"sip-a drains: {left} in flight" for left in (3, 2, 1)
    ] + [""]
    assert said.out == ""


async def test_two_drain_one_gateway_over_real_sockets(nursery: trio.Nursery, logged: Logged) -> None:
    """The control behind a real ops server: the first begins it, both hear how it ends before the port is closed."""
    asked, over = trio.Event(), trio.Event()
    control = DrainControl("sip-a", asked, lambda: 0, 30.0)
    port: int = await nursery.start(
        partial(
            server.serve, config.Ops(port=0), ready=lambda: (True, {}), statistics=dict,
            controls={"/drain": control}, over=over,
        )
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    ends: list[Code] = []

    async def one() -> None:
        ends.append((await drain(calls_of(url), url, 10))[0])

    with trio.fail_after(20):
        async with trio.open_nursery() as both:
            both.start_soon(one)
            both.start_soon(one)
            while len(logged("control request")) < 2:
                await trio.lowlevel.checkpoint()
            assert asked.is_set()
            # they have heard that it is not over, and have not asked again
            await control.ended()
            over.set()
    assert ends == [Code.ENDED, Code.ENDED]
    assert len(logged("asked to drain")) == 1
    assert [line["status"] for line in logged("control request")] == [202, 202, 200, 200]


async def test_the_control_waits_for_no_longer_than_it_is_asked(autojump_clock: MockClock) -> None:
    control = DrainControl("sip-a", trio.Event(), lambda: 5, 30.0)
    assert await control(b"{}") == (202, UNDER_WAY | {"in_flight": 5, "longest_s": 30.0})
    began_s = trio.current_time()
    status, said = await control(b'{"wait_s": 4}')
    assert (status, said["joined"], trio.current_time() - began_s) == (202, True, 4)


async def test_who_does_not_come_back_is_not_waited_for(autojump_clock: MockClock) -> None:
    """Nobody, or somebody who has heard the end already, holds it up for nothing; who asked and left, for a second."""
    control = DrainControl("sip-a", trio.Event(), lambda: 0, 30.0)
    await control(b"{}")
    await control(b"{}")
    began_s = trio.current_time()
    await control.ended()
    assert trio.current_time() - began_s == 1
    assert (await control(b"{}"))[0] == 200
    await control.ended()
    assert trio.current_time() - began_s == 1


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"wait_s": 6}', b'{"wait_s": -1}', b'{"wait": 1}', b"\xff", b'{"\xff": 1}']
)
async def test_an_order_that_makes_no_sense_drains_nothing(body: bytes) -> None:
    asked = trio.Event()
    status, said = await DrainControl("sip-a", asked, lambda: 5, 30.0)(body)
    assert (status, asked.is_set()) == (400, False)
    assert "the body must be JSON" in said["error"]


# --- the command line


@pytest.mark.parametrize(
    ("ops", "url"),
    [
        (config.Ops(), "http://127.0.0.1:9200"),
        (config.Ops("0.0.0.0", 1), "http://127.0.0.1:1"),  # noqa: S104 - what is replaced
        (config.Ops("::", 1), "http://[::1]:1"),
        (config.Ops("10.0.0.1", 1), "http://10.0.0.1:1"),
    ],
)
def test_where_the_ops_server_is(ops: config.Ops, url: str) -> None:
    assert drain_command.ops_url(ops) == url


def test_the_configuration_says_which_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both files as `run` was given them; a port that only the log knows is said, and so is every mistake."""
    files = [tmp_path / f"{half}.toml" for half in ("pair", "node")]
    for file in files:
        file.write_text(example(file.stem), encoding="utf-8")
    arguments = ["drain", "--config", str(files[0]), "--config", str(files[1])]
    text = files[1].read_text(encoding="utf-8")
    files[1].write_text(text.replace("#port = 9200", "port = 1"), encoding="utf-8")
    assert main(arguments) == Code.UNAVAILABLE
    assert capsys.readouterr().err.startswith("http://127.0.0.1:1: nobody to drain: ")
    files[1].write_text(text.replace("#port = 9200", "port = 0"), encoding="utf-8")
    assert main(arguments) == Code.CONFIGURATION
    assert "node.ops.port: is 0" in capsys.readouterr().err
    files[1].write_text("", encoding="utf-8")
    assert main(arguments) == Code.CONFIGURATION
    assert "node: is missing" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["127.0.0.1:9200", "http://a b", "http://a?b"])
def test_a_url_of_no_use(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drain", "--ops", url]) == Code.CONFIGURATION
    assert "--ops: must be http(s)://host[:port][/path] and nothing else" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["--ops", URL, "--config", "x"], *(["--ops", URL, "--within", s] for s in ("0", "nan", "inf", "x"))],
)
def test_a_command_line_that_makes_no_sense(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["drain", *arguments])
    assert ended.value.code == 2
