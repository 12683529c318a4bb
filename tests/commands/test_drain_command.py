"""`fps-gateway drain`: what it asks the ops server, how it waits, and what it says of each end."""

import json
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway import config
from gateway.__main__ import main
from gateway.commands import drain as drain_command
from gateway.commands import ordering
from gateway.commands.drain import Code, drain
from gateway.commands.ordering import Target
from gateway.http.hosts import Hosts, Keys
from gateway.http.visitor import Request as Asked
from gateway.network.names import Network
from gateway.ops.drain import Drain, Progress
from gateway.processor.calls import Calls
from tests.fakes.example import example
from tests.fakes.network import nameless
from tests.fakes.processor import Peer, Processor, Request

URL = "/run/fps/sip.sock"
ORDERED = {"act": 17, "state": "done", "result": {}, "status": 200}
UNDER_WAY = {"node": "sip-a", "draining": True, "over": False, "in_flight": 7, "longest_s": 33.0}
OVER = {**UNDER_WAY, "over": True, "in_flight": 0}

Play = Callable[[Request], Awaitable[dict[str, Any] | None]]
"""What a gateway responds to a request; None: it is gone from then on."""


def target(network: Network) -> Target:
    """What is asked, by way of this network."""
    settings = config.Processor(url="http://localhost", tell_within_s=ordering.WITHIN_S)
    return Target(URL, Calls(settings, Hosts(settings, network, random.random, Keys("--socket", "--socket", "ops"))))


def wait_s(request: Request) -> float:
    """How long it is asked to wait for the end."""
    return float(request.path.partition("wait_s=")[2] or 0)


async def drained(
    play: Play, within_s: float | None = None, show: Callable[..., None] | None = None, ordered: Any = ORDERED
) -> tuple[int, str]:
    """Drain a gateway that responds like this, first to the order, then to what is asked of its progress."""
    async with trio.open_nursery() as nursery:

        async def serve(peer: Peer) -> None:
            while True:
                request = await peer.request()
                said = dict(ordered) if request.path == "/acts/drain" and ordered else await play(request)
                if said is None:
                    gateway.away = True
                    return
                status = said.pop("status", 202)
                await peer.respond(status, said.pop("raw", b"") or json.dumps(said).encode())

        gateway = Processor(nursery, serve)
        code, text = await drain(target(nameless(gateway.connect)), "a new version", within_s, show)
        nursery.cancel_scope.cancel()
    return code, text


def responses(*said: dict[str, Any] | None) -> Play:
    """These, one after the other, to whatever is asked; the last one for ever."""
    left = list(said)

    async def play(request: Request) -> dict[str, Any] | None:
        assert request.method == "GET"
        it = left.pop(0) if len(left) > 1 else left[0]
        return dict(it) if it is not None else None

    return play


async def test_it_waits_until_everything_is_finished_and_the_port_is_closed(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    async def play(request: Request) -> dict[str, Any] | None:
        asked.append(request.path)
        await trio.sleep(wait_s(request))
        alive = len(asked) < 6
        return (UNDER_WAY if len(asked) < 3 else OVER) | {} if alive else None

    code, text = await drained(play)
    assert (code, text) == (Code.ENDED, "sip-a drained after 10.1 s: everything in flight was finished")
    assert asked == ["/drain?wait_s=0", "/drain?wait_s=5", "/drain?wait_s=5", "/live", "/live", "/live"]
    assert capsys.readouterr().out == "sip-a drains\n"


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [
        ((None,), Code.UNAVAILABLE, f"{URL}: nobody to drain: ConnectionRefusedError: Connection refused"),
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
        await trio.sleep(31 if asked == 2 else 0)
        return (UNDER_WAY if asked < 3 else OVER) | {} if asked < 4 else None

    code, text = await drained(play)
    assert (code, text) == (Code.ENDED, "sip-a drained after 30.0 s: everything in flight was finished")


@pytest.mark.parametrize(("within_s", "after_s"), [(3.5, 3.5), (None, 38.0)])
async def test_it_waits_no_longer_than_told(autojump_clock: MockClock, within_s: float | None, after_s: float) -> None:
    """Not told, for as long as the gateway says that it may take, and a little. The drain goes on."""

    async def play(request: Request) -> dict[str, Any]:
        await trio.sleep(wait_s(request))
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
def test_ctrl_c_ends_the_waiting_and_not_the_drain(tmp_path: Path) -> None:
    """A real one, while it waits for a gateway that says nothing."""
    path = str(tmp_path / "acts.sock")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen()
        command = [sys.executable, "-m", "gateway", "drain", "--socket", path, "--yes", "--why", "a new version"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(1)  # it has asked, and waits
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=60)
    assert process.returncode == Code.OVERDUE
    assert said == f"{path}: not waited for any longer; if it was asked in time, it drains\n"


async def test_who_comes_later_joins_in_waiting(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = await drained(responses(UNDER_WAY, OVER, None), ordered=ORDERED | {"result": {"joined": "yes"}})
    assert code is Code.ENDED
    assert capsys.readouterr().out == "sip-a drains already: waiting with it\n"


async def test_a_terminal_is_shown_what_is_left(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """One line in its place, which is gone at the end; nothing else is said meanwhile."""
    shown: list[Progress | None] = []

    async def play(request: Request) -> dict[str, Any] | None:
        if request.path == "/live":
            return None
        await trio.sleep(wait_s(request))
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


def asked_for(target: str) -> Asked:
    """A request for the progress."""
    request = Asked()
    request.target = target.encode()
    return request


async def test_the_progress_waits_for_no_longer_than_it_is_asked(autojump_clock: MockClock) -> None:
    """What is no number of seconds is none, and more than the most is the most."""
    drain_ = Drain("sip-a", trio.Event(), lambda: 5, 30.0)
    assert not drain_.begin()
    assert drain_.begin()
    assert await drain_.see(asked_for("/drain")) == (202, UNDER_WAY | {"in_flight": 5, "longest_s": 30.0})
    for text, after_s in (("4", 4), ("6", 5), ("-1", 0), ("x", 0), ("nan", 0), ("1e999", 5), ("%ff", 0)):
        began_s = trio.current_time()
        status, said = await drain_.see(asked_for(f"/drain?wait_s={text}"))
        assert (status, said["over"], trio.current_time() - began_s) == (202, False, after_s)


async def test_who_does_not_come_back_is_not_waited_for(autojump_clock: MockClock) -> None:
    """Nobody, or somebody who has heard the end already, holds it up for nothing; who asked and left, for a second."""
    drain_ = Drain("sip-a", trio.Event(), lambda: 0, 30.0)
    await drain_.see(asked_for("/drain"))
    drain_.begin()
    drain_.begin()
    await drain_.see(asked_for("/drain"))
    began_s = trio.current_time()
    await drain_.ended()
    assert trio.current_time() - began_s == 1
    for _ in range(2):
        assert (await drain_.see(asked_for("/drain")))[0] == 200
    await drain_.ended()
    assert trio.current_time() - began_s == 1


@pytest.mark.parametrize(("status", "code"), [(403, Code.REFUSED), (400, Code.REFUSED), (404, Code.UNAVAILABLE)])
async def test_who_may_not_is_told_so(autojump_clock: MockClock, status: int, code: Code) -> None:
    """The gateway's own words, which cannot steer a terminal."""
    said = {"status": status, "error": "eve has not the role operate\x1b[2J"}
    found, text = await drained(responses(None), ordered=said)
    assert found is code
    assert "\x1b" not in text


# --- the command line


def test_the_configuration_says_which_socket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both files as `run` was given them; without a socket there is nobody to ask, and every mistake is said."""
    files = [tmp_path / f"{half}.toml" for half in ("pair", "node")]
    for file in files:
        file.write_text(example(file.stem), encoding="utf-8")
    arguments = ["drain", "--config", str(files[0]), "--config", str(files[1]), "--yes", "--why", "x"]
    text = files[1].read_text(encoding="utf-8")
    socket_ = str(tmp_path / "nobody.sock")
    files[1].write_text(text.replace('#socket = ""', f'socket = "{socket_}"'), encoding="utf-8")
    assert main(arguments) == Code.UNAVAILABLE
    assert capsys.readouterr().err.startswith(f"{socket_}: nobody to drain: ")
    files[1].write_text(text, encoding="utf-8")
    assert main(arguments) == Code.CONFIGURATION
    assert "node.acts.socket: is not set" in capsys.readouterr().err
    files[1].write_text("", encoding="utf-8")
    assert main(arguments) == Code.CONFIGURATION
    assert "node: is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (["--url", "http://127.0.0.1:9200"], "--url: must be https://"),
        (["--url", "https://127.0.0.1:9200"], "--url: needs --ca, --certificate, --key, too"),
        ([], "which gateway? give --config, --socket or --url"),
        (["--socket", "a", "--socket", "b"], "one gateway at a time"),
    ],
)
def test_a_gateway_that_is_not_named_as_it_must_be(
    more: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drain", "--yes", "--why", "x", *more]) == Code.CONFIGURATION
    assert error in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [*(["--socket", URL, "--within", s] for s in ("0", "nan", "inf", "x"))])
def test_a_command_line_that_makes_no_sense(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["drain", *arguments])
    assert ended.value.code == 2


@pytest.mark.parametrize("more", [[], ["--why", "x"], ["--yes"], ["--yes", "--why", "x" * 501]])
def test_nobody_drains_by_mistake(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A script must say yes, and why."""
    assert main(["drain", "--socket", URL, *more]) == 2
    assert capsys.readouterr().err.startswith("drain: ")
