"""What the process as a whole does once in its life, or never."""

import os
import re
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
import trio

from gateway import daemon
from gateway.__main__ import main
from gateway.config import JournalSettings
from gateway.disk import RealDisk
from gateway.exitcodes import ExitCode
from gateway.payments.steps import Kind
from gateway.running.stopping import Stop
from tests.conftest import Logged
from tests.fakes.example import example
from tests.fakes.journal import SETTINGS, WALL_NS, running


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Path]:
    """A configuration whose journal lies in the test's directory."""
    path = tmp_path / "gateway.toml"
    text, count = re.subn(r'(?m)^dir = ".*"$', f'dir = "{tmp_path / "journal"}"', example())
    assert count == 1
    path.write_text(text, encoding="utf-8")
    interval_s = sys.getswitchinterval()
    yield path
    sys.setswitchinterval(interval_s)


async def write(settings: JournalSettings, kind: Kind, body: bytes) -> None:
    """A journal with this record in it."""
    disk = RealDisk()
    async with running(disk, settings) as journal:
        journal.append(kind, body, fpid="F" * 42, wall_ns=WALL_NS)
    disk.release()


def test_a_record_whose_body_is_none_of_its_kind_is_named_and_nothing_is_started(
    settings: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its checksum is right, so another program wrote it: what it was to say, nobody knows."""
    journal = msgspec.structs.replace(SETTINGS, dir=str(tmp_path / "journal"))
    trio.run(write, journal, Kind.ANSWERED, b"\xc1SECRET")
    assert main(["run", "--config", str(settings)]) == ExitCode.JOURNAL
    said = capfd.readouterr().out
    line = msgspec.json.decode(said.splitlines()[-1])
    assert "position 1 is of kind ANSWERED, and its body is none of that kind" in line["error"]
    assert "SECRET" not in said


def test_a_start_that_reads_a_long_journal_says_that_it_goes_on(
    settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes, the supervisor does not take it for hung."""
    journal = msgspec.structs.replace(SETTINGS, dir=str(tmp_path / "journal"))
    trio.run(write, journal, Kind.ANSWERED, b"\xc1")
    monkeypatch.setattr(daemon, "RECORDS_BETWEEN_WORDS", 1)
    address = f"fps-start-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("\0" + address)
        assert main(["run", "--config", str(settings)]) == ExitCode.JOURNAL
        said = [ear.recv(1000).decode().splitlines() for _ in range(2)]
    assert {lines[0] for lines in said} == {"EXTEND_TIMEOUT_USEC=120000000"}
    assert [lines[1] for lines in said] == ["STATUS=opening the journal", "STATUS=reading the journal: at position 1"]


@pytest.mark.parametrize(("finished", "code"), [(True, ExitCode.ENDED), (False, ExitCode.INTERRUPTED)])
def test_the_exit_code_says_whether_everything_was_finished(
    settings: Path, monkeypatch: pytest.MonkeyPatch, *, finished: bool, code: ExitCode
) -> None:
    async def run(_configuration: object, *, reread: object) -> bool:
        return finished

    monkeypatch.setattr(daemon, "run", run)
    assert main(["run", "--config", str(settings)]) == code


def noted(_signal: str, _act: str) -> None:
    """Nobody keeps acts here."""


async def test_the_first_signal_drains_and_the_second_ends_at_once(logged: Logged) -> None:
    """Whichever they are."""
    stop = Stop(pytest.fail, noted)

    async def signals() -> AsyncGenerator[int, None]:
        yield signal.SIGTERM
        assert stop.asked.is_set()
        assert not stop.at_once.is_set()
        yield signal.SIGINT

    async with aclosing(signals()) as coming:
        await stop.on_signals(coming)
    assert stop.at_once.is_set()
    (line,) = logged("second signal: ending at once")
    assert (line["level"], line["signal"]) == ("warning", "SIGINT")


async def test_signals_that_ask_for_nothing_end_nothing(logged: Logged) -> None:
    """Nor does reading the configuration again, however often; what ends is counted by itself."""
    reloads: list[int] = []
    stop = Stop(lambda: reloads.append(1), noted)

    async def signals() -> AsyncGenerator[int, None]:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            yield number
            assert not stop.asked.is_set()
        yield signal.SIGQUIT
        assert stop.asked.is_set()
        yield signal.SIGHUP
        assert not stop.at_once.is_set()
        yield signal.SIGQUIT

    async with aclosing(signals()) as coming:
        await stop.on_signals(coming)
    assert len(reloads) == 3
    assert stop.at_once.is_set()
    assert [line["signal"] for line in logged("signal: nothing is done")] == ["SIGUSR1", "SIGUSR2"]


async def test_a_signal_joins_a_drain_that_was_asked_for_by_the_ops_port(logged: Logged) -> None:
    """Only a second signal ends at once: whoever stops the process behind `fps-gateway drain` cuts nothing short."""
    stop = Stop(pytest.fail, noted)
    stop.asked.set()

    async def signals() -> AsyncGenerator[int, None]:
        yield signal.SIGTERM
        assert not stop.at_once.is_set()
        yield signal.SIGTERM

    async with aclosing(signals()) as coming:
        await stop.on_signals(coming)
    assert stop.at_once.is_set()
