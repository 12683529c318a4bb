"""Signals: what each does to a process that starts, and to one that runs."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from gateway import log
from gateway.__main__ import main
from gateway.config import file as config_file
from gateway.errors import ConfigurationError
from gateway.exitcodes import ExitCode
from gateway.running.reload import Reload
from gateway.running.signals import ENDS, HEARD, NOTHING, RELOADS
from loadtest.parts.processes import children_of
from tests.conftest import Logged
from tests.fakes.example import example

STARTING = """
import sys, time
from gateway import daemon
from gateway.__main__ import main

async def run(*_arguments, **_named):
    print("reads its journal", flush=True)
    time.sleep(60)

daemon.run = run
sys.exit(main(["run", "--config", sys.argv[1]]))
"""
"""A gateway whose start takes for ever."""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A configuration."""
    path = tmp_path / "gateway.toml"
    path.write_text(example(), encoding="utf-8")
    return path


@contextmanager
def starting(settings: Path, *before: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is in the middle of its start."""
    command = [*before, sys.executable, "-c", STARTING, str(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "reads its journal\n"
            yield process
        finally:
            process.kill()


def said_by(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    """The log lines until its end."""
    out, _ = process.communicate(timeout=30)
    return [msgspec.json.decode(line) for line in out.splitlines()]


@pytest.mark.system
@pytest.mark.parametrize("number", ENDS, ids=lambda number: number.name)
def test_a_signal_to_end_ends_a_start_at_once_and_says_so(number: signal.Signals, settings: Path) -> None:
    """Also in the middle of a long journal: no traceback, one line, and an exit code that says who ended it."""
    with starting(settings) as process:
        process.send_signal(number)
        (line,) = said_by(process)
    assert process.returncode == (ExitCode.ENDED if number == signal.SIGTERM else ExitCode.INTERRUPTED)
    assert (line["event"], line["signal"]) == ("ended: told to while it started", number.name)


@pytest.mark.system
def test_other_signals_do_nothing_to_a_start(settings: Path) -> None:
    with starting(settings) as process:
        for number in (RELOADS, *NOTHING):
            process.send_signal(number)
        process.send_signal(signal.SIGTERM)
        (line,) = said_by(process)
    assert process.returncode == ExitCode.ENDED
    assert line["signal"] == "SIGTERM"


def has_process_namespaces() -> bool:
    """Whether a process can be its own machine's first one here."""
    unshare = shutil.which("unshare")
    return unshare is not None and not subprocess.run([unshare, "--pid", "--fork", "true"], check=False).returncode


@pytest.mark.system
@pytest.mark.skipif(not has_process_namespaces(), reason="this machine gives no process namespaces")
def test_process_1_of_a_container_is_ended_in_its_start_too(settings: Path) -> None:
    """The system ignores what process 1 has not asked for."""
    with starting(settings, "unshare", "--pid", "--fork", "--kill-child") as process:
        (first,) = children_of(process.pid)
        subprocess.run(["kill", "-TERM", str(first)], check=True)
        (line,) = said_by(process)
    assert process.returncode == ExitCode.ENDED
    assert line["signal"] == "SIGTERM"


SEEN = {number: signal.getsignal(number) for number in HEARD}


@pytest.mark.parametrize("_again", range(2))
def test_no_test_finds_the_handlers_of_another(tmp_path: Path, _again: int) -> None:
    """A start in this process has signals end it: at Ctrl-C, all tests after it."""
    assert {number: signal.getsignal(number) for number in HEARD} == SEEN
    assert main(["run", "--config", str(tmp_path / "nothing")]) == ExitCode.CONFIGURATION
    assert signal.getsignal(signal.SIGINT) is not SEEN[signal.SIGINT]


def test_every_signal_that_is_heard_is_decided_once() -> None:
    assert len(set(HEARD)) == len(HEARD)


# --- SIGHUP


def edited(settings: Path, old: str, new: str) -> None:
    """Change the file as an editor does."""
    text = settings.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    settings.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def reload(settings: Path, logged: Logged) -> Iterator[Reload]:
    """What a running gateway does at SIGHUP; the level of the test's log is put back afterwards."""
    yield Reload(config_file.load(settings), lambda: config_file.load(settings))
    log.set_level("debug")


def test_the_log_level_is_taken_at_once_by_every_logger(settings: Path, reload: Reload, logged: Logged) -> None:
    """Also by those that were made, and bound, before."""
    early = log.get("hub").bind(link="a")
    edited(settings, '#level = "info"', 'level = "warning"')
    reload()
    early.info("not heard")
    early.warning("heard")
    edited(settings, 'level = "warning"', 'level = "info"')
    reload()
    early.info("heard again")
    events = [line["event"] for line in logged()]
    assert events == ["configuration read again", "heard", "configuration read again", "heard again"]


def test_what_cannot_be_taken_is_named_without_its_value(settings: Path, reload: Reload, logged: Logged) -> None:
    """And named again the next time: it still waits."""
    edited(settings, "#stand_in_after_s = 5.0", "stand_in_after_s = 4.5")
    reload()
    reload()
    lines = logged("changed settings wait for a restart")
    assert [(line["count"], line["detail"]) for line in lines] == [(1, "pair.deadlines.stand_in_after_s")] * 2


def test_a_file_with_a_mistake_changes_nothing(settings: Path, reload: Reload, logged: Logged) -> None:
    edited(settings, "#stand_in_after_s = 5.0", "stand_in_after_s = 5000.0")
    edited(settings, '#level = "info"', 'level = "error"')
    reload()
    log.get("hub").info("still heard")
    (line,) = logged("configuration not taken: it has mistakes")
    assert "pair.deadlines" in line["error"]
    assert logged("still heard")


def test_a_file_that_is_gone_is_a_mistake(settings: Path, reload: Reload, logged: Logged) -> None:
    settings.unlink()
    with pytest.raises(ConfigurationError):
        config_file.load(settings)
    reload()
    assert logged("configuration not taken: it has mistakes")
