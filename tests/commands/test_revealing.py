"""`journal show --reveal`: nothing of a customer's is shown before it is written down who looked, and why."""

import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from gateway import config
from gateway.__main__ import main
from gateway.acts.actors import Actors, Caller
from gateway.config import JournalSettings
from gateway.disk import RealDisk
from gateway.journal import beside
from gateway.journal.looking import manifest_of
from gateway.ops.server import Control, Look, Server
from gateway.payments.steps import Kind
from tests.commands.test_command import SECRETS, Run, day, run, settings

__all__ = ["day", "run", "settings"]
"""Fixtures."""

REVEAL = ("--reveal", "--why", "a complaint of the payer")


def written(path: str) -> list[tuple[str, str]]:
    """What stands beside the journal: who, and why."""
    directory = RealDisk().directory(path)
    found = beside.take(directory, manifest_of(directory).journal)
    assert not found.damage
    return [(act.origin.split(" (")[0], act.why) for act in found.acts]


@pytest.mark.parametrize("command", ["show", "tail"])
def test_beside_a_stopped_gateway_it_is_written_down_first(
    day: None,
    run: Run,
    settings: JournalSettings,
    command: str,
) -> None:
    """Each time, with the reason; without --reveal nothing is written."""
    run(command)
    assert "acts" not in os.listdir(settings.dir)  # noqa: PTH208 - names
    for _ in range(2):
        code, out, _ = run(command, *REVEAL)
        assert (code, SECRETS[0] in out) == (0, True)
    assert written(settings.dir) == [(f"uid {os.getuid()}", "a complaint of the payer")] * 2


@pytest.mark.parametrize("why", [(), ("--why", ""), ("--why", " "), ("--why", "x" * 501), ("--why", "two\nlines")])
def test_without_a_reason_nothing_is_shown(
    day: None,
    run: Run,
    settings: JournalSettings,
    why: tuple[str, ...],
) -> None:
    code, out, err = run("show", "--reveal", *why)
    assert (code, out) == (2, "")
    assert "--why TEXT" in err


def test_where_it_cannot_be_written_down_nothing_is_shown(
    day: None,
    run: Run,
    settings: JournalSettings,
) -> None:
    """Something else is in its place; its content was changed."""
    place = Path(settings.dir) / "acts"
    for content in (None, b"\x01" * 100):
        if content is None:
            place.mkdir()
        else:
            place.rmdir()
            place.write_bytes(content)
        code, out, err = run("show", *REVEAL)
        assert (code != 0, out) == (True, "")
        assert "not shown, because that cannot be recorded" in err


def test_it_names_no_payment(day: None, run: Run, settings: JournalSettings) -> None:
    """What was looked for is a customer's, too."""
    run("show", *REVEAL, "--fpid", SECRETS[0], "--kind", "received", "--from", "2")
    assert stat.S_IMODE((Path(settings.dir) / "acts").stat().st_mode) == 0o600
    content = (Path(settings.dir) / "acts").read_bytes()
    assert SECRETS[0].encode() not in content
    assert b"some payments" in content


# --- while its gateway runs


@contextmanager
def gateway(
    path: Path, response: Callable[[], tuple[int, dict[str, object]]], states: list[str]
) -> Iterator[list[bytes]]:
    """An ops server on a Unix socket, in a thread, that takes acts like this."""
    asked: list[bytes] = []
    started, over = threading.Event(), threading.Event()

    async def order(caller: Caller, body: bytes) -> tuple[int, dict[str, object]]:
        assert caller.name == "anna"
        asked.append(body)
        return response()

    async def acts(_request: object) -> tuple[int, dict[str, object]]:
        return 200, {"acts": [{"number": 7, "state": states.pop(0) if len(states) > 1 else states[0]}]}

    async def serve() -> None:
        anna = config.Actor("anna", ("operate",), user=str(os.getuid()))
        server = Server(
            config.Ops(port=0), Actors((anna,), lambda _name: None), ready=lambda: (True, {}),
            looks={"/acts": Look(acts)}, controls={"/acts/reveal": Control(order)}, path=str(path),
        )  # fmt: skip
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            started.set()
            await trio.to_thread.run_sync(over.wait)
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert started.wait(30)
    try:
        yield asked
    finally:
        over.set()
        thread.join(30)


@pytest.fixture
def held(day: None, settings: JournalSettings) -> Iterator[None]:
    """A gateway has the journal."""
    disk = RealDisk()
    disk.directory(settings.dir).lock()
    yield
    disk.release()


@pytest.mark.parametrize(
    ("status", "said", "states", "code"),
    [
        (200, {"act": 7, "state": "done", "result": {}}, ["done"], 0),
        (403, {"error": "anna has not the role"}, ["done"], 1),
        (503, {"error": "no room"}, ["done"], 69),
        (202, {"act": 7, "state": "asked", "within_s": 900.0}, ["asked", "begun", "done"], 0),
        (202, {"act": 7, "state": "asked", "within_s": 900.0}, ["asked", "lapsed"], 1),
    ],
)
@pytest.mark.usefixtures("held")
def test_a_gateway_that_runs_is_asked(
    tmp_path: Path, run: Run, status: int, said: dict[str, object], states: list[str], code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It records it, perhaps with a second person; what it refuses is not shown."""
    monkeypatch.setattr("gateway.commands.revealing.POLL_S", 0.01)
    path = tmp_path / "s"
    with gateway(path, lambda: (status, said), list(states)) as asked:
        found, out, err = run("show", *REVEAL, "--socket", str(path))
    assert (found, SECRETS[0] in out) == (code, code == 0), err
    assert json.loads(asked[0])["why"] == "a complaint of the payer"


@pytest.mark.usefixtures("held")
def test_without_its_socket_nothing_is_shown(tmp_path: Path, run: Run, settings: JournalSettings) -> None:
    """Nor is it written beside the journal of a gateway that runs."""
    code, out, err = run("show", *REVEAL)
    assert (code, out) == (2, "")
    assert "its gateway runs" in err
    assert run("show", *REVEAL, "--socket", str(tmp_path / "nobody"))[:2] == (69, "")
    assert "acts" not in os.listdir(settings.dir)  # noqa: PTH208 - names
    assert main(["journal", "show", settings.dir, "--kind", Kind.ACT.name]) == 66
