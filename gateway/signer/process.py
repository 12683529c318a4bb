"""A worker process from the gateway's side: start it, feed it, hear it, end it. Knows frames, not jobs.

The code that holds the PIN comes from the place where this gateway is installed, and from the interpreter's own
packages: Python is started in isolated mode, in which neither the working directory nor a variable of the environment
says where modules are. The worker has our environment, because a vendor's library may need any of it, without the
supervisor's variables (`notify` has taken those out). Of our open files it has its socket alone.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

import gateway
from gateway import config
from gateway.machine.shortage import is_no_thread, no_thread
from gateway.signer import messages
from gateway.signer.pin import NoPin, read_pin
from gateway.signer.said import CHUNK_BYTES, Said

END_WITHIN_S = 1.0
"""How long a worker may take to log out of its token once its socket is closed; then it is killed."""
REAP_WITHIN_S = 2.0
"""How long a killed process may take to go. A process that hangs inside the kernel is left behind."""
RECEIVE_BYTES = 256 * 1024
"""Read at once: more than the results of all batches under way."""
_BUFFER = memoryview(bytearray(RECEIVE_BYTES))
"""All workers are read into this: see `gateway.http.pipe`."""
LOOK_S = 0.01
"""Between two looks whether a process has ended."""
LAST_WORDS_WITHIN_S = 0.1
"""How long the standard error of an ended process is read: a child of it may hold that open."""
BUFFER_BYTES = 1024 * 1024
"""The size asked for the socket's buffers, so that a batch is written in one go; the system may give less."""


class WorkerLost(Exception):
    """The worker's end of the socket is closed, or its bytes make no sense."""


class Worker(Protocol):
    """A worker, as the pool uses it. `tests/fakes/token.py` has another one."""

    pid: int

    def send(self, frame: bytes) -> None:
        """Queue a frame; never blocks, never raises: a worker that is gone shows in `receive`."""

    async def receive(self) -> list[tuple[int, bytes]]:
        """Wait for frames (kind, body), at least one. Raises `WorkerLost`."""

    async def pump(self) -> None:
        """Write the frames that `send` could not write at once. Runs as long as the worker is used."""

    async def end(self, *, kill: bool) -> str:
        """End it, at once or in peace, and say how it ended, in words. Bounded; the caller shields it."""


class Process:
    """A real one. See `start`."""

    def __init__(self, process: trio.Process, channel: socket.socket, said: Said) -> None:
        self.pid = process.pid
        self._process = process
        self._channel = channel
        self._said = said
        self._splitter = messages.Splitter()
        self._backlog = bytearray()
        self._backlogged = trio.Event()

    def send(self, frame: bytes) -> None:
        """See `Worker`. The backlog is bounded by the pool's batches under way."""
        if frame[messages.KIND_AT] == messages.BATCH and self._said.trusted:
            self._hush()
        sent = 0
        if not self._backlog:
            try:
                sent = self._channel.send(frame)
            except BlockingIOError:
                pass
            except OSError:
                return
        if sent < len(frame):
            self._backlog += frame[sent:]
            self._backlogged.set()

    async def receive(self) -> list[tuple[int, bytes]]:
        """See `Worker`. Cancelled, it leaves everything unread."""
        while True:
            await trio.lowlevel.wait_readable(self._channel)
            try:
                chunk = bytes(_BUFFER[: self._channel.recv_into(_BUFFER)])
                frames = self._splitter.feed(chunk)
            except BlockingIOError:
                continue
            except (OSError, ValueError) as error:
                raise WorkerLost from error
            if not chunk:
                raise WorkerLost
            if frames:
                return frames

    async def pump(self) -> None:
        """See `Worker`. Reads its standard error as long."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            await self._write()
            nursery.cancel_scope.cancel()

    def _hush(self) -> None:
        """The first message goes to the library: its earlier output lies in the pipe, and is read first."""
        assert isinstance(self._process.stderr, trio.lowlevel.FdStream)
        with contextlib.suppress(OSError):  # nothing is there; or the pipe is closed, as the worker is
            self._said.feed(os.read(self._process.stderr.fileno(), CHUNK_BYTES))
        self._said.hush()

    async def _listen(self) -> None:
        """Read until no process holds the other end any more."""
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.receive_some(CHUNK_BYTES):
            self._said.feed(bytes(chunk))

    async def _write(self) -> None:
        while True:
            await self._backlogged.wait()
            while self._backlog:
                await trio.lowlevel.wait_writable(self._channel)
                try:
                    del self._backlog[: self._channel.send(self._backlog)]
                except BlockingIOError:
                    continue
                except OSError:
                    return
            self._backlogged = trio.Event()

    async def end(self, *, kill: bool) -> str:
        """See `Worker`. Closing the socket ends a worker that is well."""
        assert self._process.stderr is not None
        trio.lowlevel.notify_closing(self._channel)
        self._channel.close()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            await self._wait(kill=kill)
            nursery.cancel_scope.deadline = trio.current_time() + LAST_WORDS_WITHIN_S
        self._said.over()
        await self._process.stderr.aclose()
        return _how_ended(self._process.poll())

    async def _wait(self, *, kill: bool) -> None:
        if kill:
            self._process.kill()
        else:
            await self._ended(END_WITHIN_S)
            if self._process.poll() is None:
                self._process.kill()
        await self._ended(REAP_WITHIN_S)

    async def _ended(self, within_s: float) -> None:
        """Wait for it. By looking: trio's way takes a descriptor or else a thread, and ends us without both."""
        with trio.move_on_after(within_s):
            while self._process.poll() is None:  # noqa: ASYNC110 - of a process, when nothing else is to be had
                await trio.sleep(LOOK_S)


async def start(token: config.Token) -> Process:
    """Start a worker for the token. Raises `OSError` when the system refuses, also for want of a thread. Cancelled, it
    leaves no process.
    """
    ours, theirs = socket.socketpair()
    try:
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        ours.setblocking(False)
        # shielded: a process must not be lost between its start and our knowing of it
        with trio.CancelScope(shield=True):
            process = await trio.lowlevel.open_process(
                command(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                env={**os.environ, **token.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # our own output is the log; libraries talk where they like
                stderr=subprocess.PIPE,
                start_new_session=True,  # no Ctrl-C reaches it before it ignores that
            )
    except BaseException as error:
        ours.close()
        if is_no_thread(error):
            raise no_thread() from error
        raise
    finally:
        theirs.close()
    return Process(process, ours, Said(token.name, partial(_pin_of, token)))


def command(descriptor: int) -> list[str]:
    """The command line of a worker whose end of the socket pair is this descriptor."""
    return [sys.executable, "-I", "-c", _BEGIN, str(Path(gateway.__file__).parent.parent), str(descriptor)]


_BEGIN = """\
import sys
packages = [number for number, path in enumerate(sys.path) if path.endswith("-packages")]
sys.path.insert(packages[0] if packages else len(sys.path), sys.argv.pop(1))
from gateway.signer.worker import main
main()"""
"""Isolated mode knows no directory but the interpreter's own. Ours comes behind the standard library, so that no file
beside our code takes the place of a part of it, and before the packages, among which another version of us may be."""


def _pin_of(token: config.Token) -> bytes | None:
    try:
        return read_pin(token.pin_file).encode()
    except NoPin:
        return None  # the file has gone since the worker began, or the worker has no PIN either


def _how_ended(code: int | None) -> str:
    if code is None:
        return "does not end"
    if code < 0:
        return f"ended by {signal.strsignal(-code)} (signal {-code})"
    return f"ended with status {code}"
