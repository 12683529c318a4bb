"""A worker process from the gateway's side: start it, feed it, hear it, end it. Knows frames, not jobs."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import trio

import gateway
from gateway import config
from gateway.signer import messages

END_WITHIN_S = 1.0
"""How long a worker may take to log out of its token once its socket is closed; then it is killed."""
REAP_WITHIN_S = 2.0
"""How long a killed process may take to go. One that hangs inside the kernel is left to it."""
RECEIVE_BYTES = 256 * 1024
"""Read at once: more than the results of all batches under way."""
_BUFFER = memoryview(bytearray(RECEIVE_BYTES))
"""Where all workers are heard: see `gateway.processor.pipe`."""
BUFFER_BYTES = 1024 * 1024
"""Asked for the socket's buffers, so that a batch is written in one go; the system gives what it allows."""


class WorkerLost(Exception):
    """The worker's end of the socket is closed, or it says what no worker says."""


class Worker(Protocol):
    """What the pool needs of a worker. `tests/fakes/token.py` has another one."""

    pid: int

    def send(self, frame: bytes) -> None:
        """Queue a frame; never blocks, never raises: a worker that is gone shows in `receive`."""

    async def receive(self) -> list[tuple[int, bytes]]:
        """Wait for frames (kind, body), at least one. Raises `WorkerLost`."""

    async def pump(self) -> None:
        """Write what `send` could not write at once. Runs as long as the worker is used."""

    async def end(self, *, kill: bool) -> str:
        """End it, at once or in peace, and say how it ended, in words. Bounded, and to be shielded by the caller."""


class Process:
    """A real one. See `start`."""

    def __init__(self, process: trio.Process, channel: socket.socket) -> None:
        self.pid = process.pid
        self._process = process
        self._channel = channel
        self._splitter = messages.Splitter()
        self._backlog = bytearray()
        self._backlogged = trio.Event()

    def send(self, frame: bytes) -> None:
        """See `Worker`. What waits here is bounded by what the pool has under way at once."""
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
        """See `Worker`."""
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
        """See `Worker`. Closing the socket is what ends a worker that is well."""
        trio.lowlevel.notify_closing(self._channel)
        self._channel.close()
        if kill:
            self._process.kill()
        else:
            with trio.move_on_after(END_WITHIN_S):
                await self._process.wait()
            if self._process.returncode is None:
                self._process.kill()
        with trio.move_on_after(REAP_WITHIN_S):
            await self._process.wait()
        return _ended(self._process.returncode)


async def start(token: config.Token) -> Process:
    """Start a worker for the token. Raises `OSError` when the system will not. Cancelled, it leaves no process."""
    ours, theirs = socket.socketpair()
    try:
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        ours.setblocking(False)
        # shielded: a process that was started must not be lost between its start and our hearing of it
        with trio.CancelScope(shield=True):
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "gateway.signer.worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=_environment(token),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # our own output is the log; libraries talk where they like
                start_new_session=True,  # no Ctrl-C either before it has begun to ignore it
            )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Process(process, ours)


def _environment(token: config.Token) -> dict[str, str]:
    """Ours, what the token needs, and where this very gateway's code is, wherever it was started from."""
    root = str(Path(gateway.__file__).parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **token.environment, "PYTHONPATH": os.pathsep.join(paths)}


def _ended(code: int | None) -> str:
    if code is None:
        return "does not end"
    if code < 0:
        return f"ended by {signal.strsignal(-code)} (signal {-code})"
    return f"ended with status {code}"
