"""Processes on loopback: started, watched, ended by their ids, and asked things over HTTP."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec
import trio

from loadtest.parts.responses import Reading

PYTHON = sys.executable
READY_WITHIN_S = 30.0
"""How long a part may take until it says that it is ready."""
END_WITHIN_S = 20.0
"""How long a part may take to end when told to; then it is killed."""
HTTP_WITHIN_S = 5.0
HTTP_BYTES_MAX = 1 << 26


class WorldError(Exception):
    """The world cannot be had, or fell apart. Says which part, and where its output is."""


class Child:
    """A process that this world started."""

    def __init__(self, name: str, process: trio.Process, output: Path) -> None:
        self.name = name
        self.process = process
        self.output = output

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        directory: Path,
        *,
        cpu: int | None = None,
        piped: bool = False,
        code: str = "",
    ) -> Self:
        """Start it; its output is appended to NAME.log, but for a `piped` standard output. `code`: where Python looks
        for its modules first; empty: where these are.
        """
        output = directory / f"{name}.log"
        with output.open("ab") as file:
            process = await trio.lowlevel.open_process(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else file,
                stderr=file,
                cwd=directory,
                env={**os.environ, "PYTHONPATH": code or python_path(), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C is ours to pass on, in our order
            )
        if cpu is not None:
            os.sched_setaffinity(process.pid, {cpu})
        return cls(name, process, output)

    async def first_line(self) -> dict[str, Any]:
        """The JSON that it prints first. Raises `WorldError`."""
        assert self.process.stdout is not None
        text = b""
        with trio.move_on_after(READY_WITHIN_S):
            while b"\n" not in text:
                chunk = await self.process.stdout.receive_some(65536)
                if not chunk:
                    break
                text += chunk
        try:
            return msgspec.json.decode(text.partition(b"\n")[0], type=dict[str, Any])
        except msgspec.MsgspecError:
            raise WorldError(f"{self.name} did not start: see {self.output}") from None

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    async def end(self, number: signal.Signals = signal.SIGTERM, within_s: float = END_WITHIN_S) -> int:
        """Ask it to end, wait, kill it when it does not; returns its exit code. Shielded: it is gone afterwards."""
        with trio.CancelScope(shield=True):
            if self.running:
                self.process.send_signal(number)
            with trio.move_on_after(within_s):
                await self.process.wait()
            if self.running:
                self.process.kill()
            code: int = await self.process.wait()
            if self.process.stdout is not None:
                await self.process.stdout.aclose()
        return code


async def output_of(command: Sequence[str], trouble: str) -> str:
    """What a command of ours prints until it ends. Raises `WorldError`: the trouble, and what the command says."""
    done = await trio.run_process(
        list(command),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={**os.environ, "PYTHONPATH": python_path()},
        start_new_session=True,  # Ctrl-C is an interruption of ours, not a failure of its
    )
    if done.returncode:
        raise WorldError(f"{trouble}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()


PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections (32768 and up on Linux): one of these could take a port
between our finding it free and a part's listening on it."""


_given: deque[int] = deque(maxlen=1000)
"""Ports that were said to be free lately: whoever asked may not have listened on them yet."""


def free_port() -> int:
    """A port on loopback that was free a moment ago, each time another. Raises OSError when none of many tried is."""
    for _ in range(100):
        port = random.choice(PORTS)  # noqa: S311 - not a secret; random, so that worlds side by side do not meet
        if port in _given:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.append(port)
            return port
    raise OSError("no free port was found")


async def listen(
    handler: Callable[[trio.SocketStream], Awaitable[object]], port: int, *, host: str, backlog: int | None = None,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:  # fmt: skip
    """As `trio.serve_tcp`, but an address that cannot be had is a `WorldError` that names it."""
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    except OSError as error:
        raise WorldError(f"cannot listen on {host}:{port}: {error.strerror or type(error).__name__}") from error
    await trio.serve_listeners(handler, listeners, task_status=task_status)


def said(error: BaseException) -> str:
    """What the first error of a group says."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


def children_of(pid: int) -> list[int]:
    """The process ids of its direct children; of one that has ended, or is about to, perhaps none."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def spent_s(pid: int) -> float:
    """User and system time of a process, seconds; 0 of one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int | None:
    """The resident memory of a process; None of one that has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") or None


def machine_spent_s() -> float:
    """Time that all processors of this machine were not idle, seconds."""
    times = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = times[3] + times[4]
    return (sum(times) - idle) / os.sysconf("SC_CLK_TCK")


def python_path() -> str:
    """Where this code is, for processes whose working directory is elsewhere."""
    return str(Path(__file__).parents[2])


async def http(port: int | Path, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """One HTTP exchange with a port of loopback, or with a Unix socket: status and body. Raises OSError when there is
    none within `HTTP_WITHIN_S`.
    """
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    reading = Reading(HTTP_BYTES_MAX)
    with trio.move_on_after(HTTP_WITHIN_S):
        try:
            async with await _dialled(port) as stream:
                await stream.send_all(head.encode() + body)
                while not reading.over:
                    if chunk := await stream.receive_some():
                        reading.feed(chunk)
                    else:
                        reading.close()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionError("broken off") from error
    if not reading.complete:
        raise ConnectionError("no answer")
    return reading.status, reading.body


async def _dialled(port: int | Path) -> trio.SocketStream:
    if isinstance(port, Path):
        return await trio.open_unix_socket(port)
    return await trio.open_tcp_stream("127.0.0.1", port)


async def order(socket: Path, act: str, what: dict[str, Any] | None = None) -> int:
    """Order an act of a gateway: the status."""
    body = msgspec.json.encode({"why": "the test says so", "what": what or {}})
    return (await http(socket, "POST", f"/acts/{act}", body))[0]


async def json_of(port: int, path: str) -> dict[str, Any]:
    """The JSON object that a GET gets; empty when it gets none."""
    try:
        status, body = await http(port, "GET", path)
        return msgspec.json.decode(body, type=dict[str, Any]) if status == 200 else {}
    except (OSError, msgspec.MsgspecError):
        return {}
