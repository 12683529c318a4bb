"""Which errors are a shortage, and what each part then does."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway import config, log
from gateway.errors import ConfigurationError, Unavailable
from gateway.exitcodes import ExitCode, exit_code
from gateway.machine.aside import aside, begin_thread
from gateway.machine.descriptors import Kept, next_is_kept
from gateway.machine.shortage import NO_THREAD, is_shortage, no_thread
from gateway.network import papers
from gateway.network.dialler import Dialler
from gateway.network.listening import Patient, listen_tcp
from gateway.network.names import Network
from gateway.network.turns import Standing
from gateway.outside import machine
from gateway.signer import process
from gateway.volume.drbd import RealDrbd
from tests.fakes.shortage import no_threads, short_of_descriptors

HERE = Path(__file__).parents[2]


def summed(*errors: BaseException) -> OSError:
    """As trio says that none of several addresses could be dialled."""
    error = OSError("all attempts failed")
    error.__cause__ = BaseExceptionGroup("", errors)
    return error


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (OSError(errno.EMFILE, "x"), True),
        (OSError(errno.ENFILE, "x"), True),
        (OSError(errno.ENOMEM, "x"), True),
        (OSError(errno.ENOBUFS, "x"), True),
        (OSError(errno.EAGAIN, "x"), True),
        (RuntimeError(NO_THREAD), True),
        (MemoryError(), True),
        (no_thread(), True),
        (summed(OSError(errno.EMFILE, "x")), True),
        (summed(OSError(errno.EMFILE, "x"), OSError(errno.ECONNREFUSED, "x")), False),
        (OSError(errno.EIO, "x"), False),
        (OSError(errno.ENOSPC, "x"), False),
        (OSError(None, "x"), False),
        (RuntimeError("x"), False),
        (AssertionError(), False),
    ],
    ids=repr,
)
def test_a_shortage_is_told_from_a_fault(error: BaseException, is_one: bool) -> None:  # noqa: FBT001
    """And where it ends the process it is no bug."""
    assert is_shortage(error) is is_one
    assert exit_code(error) is (ExitCode.UNAVAILABLE if is_one else ExitCode.BUG)


def test_python_says_so_when_no_thread_can_be_started() -> None:
    """The real error, as a user gets it who has all the processes that are allowed."""
    program = (
        "import resource, threading\n"
        "from gateway.machine.shortage import is_no_thread\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))\n"
        "try:\n    threading.Thread(target=print).start()\n"
        "except RuntimeError as error:\n    print(is_no_thread(error))\n"
    )
    command = [sys.executable, "-c", program]
    if not os.geteuid():  # whom no such limit binds
        able = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]
        command = ["setpriv", "--reuid", "61234", *able, "--", *command]
    said = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert said.stdout == "True\n", said.stderr


# --- threads


async def test_without_a_thread_what_is_done_aside_is_an_error_of_the_system() -> None:
    with no_threads(), pytest.raises(OSError, match="no thread can be started"):
        await aside(int, trio.CapacityLimiter(1))
    assert await aside(int, trio.CapacityLimiter(1)) == 0


async def test_another_error_of_what_is_done_aside_stays_what_it_is() -> None:
    def fail() -> None:
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        await aside(fail, trio.CapacityLimiter(1))


def test_a_thread_of_our_own_that_cannot_be_begun() -> None:
    with no_threads(), pytest.raises(Unavailable, match="no thread can be started for it"):
        begin_thread(print, "it")
    with no_threads(), pytest.raises(Unavailable, match="no thread can be started for the log"):
        log.Writer()


# --- descriptors


async def test_a_dial_that_is_short_of_descriptors_blames_no_address() -> None:
    """Over real sockets: the address is as good as it was, and is dialled again."""

    async def at_once(_name: str, _port: int) -> trio.abc.Stream:
        return await trio.open_tcp_stream("127.0.0.1", port)

    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    async with listener:
        dialler = Dialler("hub a", "hub.example", port, Network(lambda _, answered: answered(("127.0.0.1",)), at_once))
        with short_of_descriptors(), pytest.raises(OSError, match="failed") as caught:
            await dialler.connect()
        assert is_shortage(caught.value)
        assert dialler._turns.standing("127.0.0.1") is Standing.NEW
        await (await dialler.connect()).connection.aclose()


async def test_a_listener_waits_for_a_descriptor(logged: Any, autojump_clock: trio.abc.Clock) -> None:
    """Clients that dial meanwhile are let in afterwards; one log line, and none of a library's."""
    (listener,), port = await listen_tcp("127.0.0.1", 0, 8)
    assert isinstance(listener, Patient)
    async with listener, await trio.open_tcp_stream("127.0.0.1", port):
        with short_of_descriptors(), trio.move_on_after(1.0):
            await listener.accept()
        await (await listener.accept()).aclose()
    lines = logged("no connection is taken")
    assert 5 <= len(lines) <= 11, "ten times a second"
    assert lines[0]["reason"] == "OSError: Too many open files"


async def test_connections_to_the_processor_leave_to_others_what_is_theirs() -> None:
    """The highest descriptors are kept, whatever is free below."""
    async with (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] as listener:
        port = listener.socket.getsockname()[1]
        outside = machine(Kept(30, 20))
        with short_of_descriptors(left=20):
            assert next_is_kept(20)
            with pytest.raises(OSError, match="kept for others"):
                await outside.modest().connect("127.0.0.1", port)
            await (await outside.network.connect("127.0.0.1", port)).aclose()
        with short_of_descriptors(left=22):
            await (await outside.modest().connect("127.0.0.1", port)).aclose()
        assert machine(Kept()).modest() is machine(Kept()).network


@pytest.mark.parametrize("left", range(8))
async def test_drbd_is_asked_again_after_any_shortage(tmp_path: Path, left: int) -> None:
    """Whichever of the descriptors that asking takes is not to be had: unknown, and next time as ever."""
    proc, program = tmp_path / "drbd", tmp_path / "drbdsetup"
    proc.write_text("version: 9.2.0 (api:2/proto:86-122)\n")
    program.write_text("#!/bin/sh\necho '[]'\n")
    program.chmod(0o755)
    drbd = RealDrbd(proc, str(program))
    for _ in range(2):
        with short_of_descriptors(left), pytest.raises(Unavailable):
            await drbd.status("fps-sip", 0)
    with pytest.raises(Unavailable, match="fps-sip"):
        await drbd.status("fps-sip", 0)


def test_files_of_tls_that_cannot_be_opened_now_are_not_taken_for_empty_ones(tmp_path: Path) -> None:
    """Those in use stay, and these are looked at again."""
    path = tmp_path / "own.pem"
    path.write_bytes(b"x")
    with short_of_descriptors(), pytest.raises(ConfigurationError, match="Too many open files"):
        papers._read(str(path))
    assert papers._read(str(path)) == b"x"


@pytest.mark.parametrize("left", [*range(9), None])
async def test_a_worker_that_cannot_be_started_leaves_nothing_open(left: int | None) -> None:
    """Whichever descriptor is not to be had, or no thread: an error of the system. With all of them it starts, and ends
    without one more.
    """
    token = config.Token("t", "t", "/nonexistent.so", "/nonexistent.pin")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with no_threads() if left is None else short_of_descriptors(left):
        try:
            worker = await process.start(token)
        except OSError as error:
            assert is_shortage(error)  # noqa: PT017 - or none is raised
        else:
            assert left is not None
            assert left > 2
            await worker.end(kill=True)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
