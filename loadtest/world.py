"""A world on loopback: tokens, a mock processor, a mock hub with two sites, and one gateway, each a process of its own.

Everything that is started here is ended here, by its process id, however the world ends. Each part's output lies in the
world's directory, and so do the books, the journal and the gateway's configuration.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import httptools
import msgspec
import trio
from msgspec import Struct

from loadtest import books, control
from loadtest.ledger import Verdict

PYTHON = sys.executable
READY_WITHIN_S = 30.0
"""How long a part may take until it says that it is ready."""
END_WITHIN_S = 20.0
"""How long a part may take to end when told to; then it is killed."""
HTTP_WITHIN_S = 5.0
SITES = ("a", "b")
KEYS_FILE = "DEVELOPMENT-ONLY-keys.json"
"""What `python -m hsm provision` writes for a mock hub."""


class WorldError(Exception):
    """The world cannot be had, or fell apart. Says which part, and where its output is."""


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """What the world is like."""

    tokens: int = 2
    stand_in_after_s: float = 5.0
    patience_s: float = 10.0
    synchronous: bool = True
    processor_mode: str = "fast"
    mischief: str = ""
    """What the hub misbehaves with, as its `--mischief` takes it."""
    segment_bytes: int = 64 * 1024 * 1024
    gateway_cpu: int | None = None
    """Pins the gateway's own process; its token workers go with `workers_cpu`, or stay with it."""
    workers_cpu: int | None = None
    others_cpu: int | None = None
    """Pins hub and processor."""
    log_level: str = "info"


class Child:
    """A process that this world started."""

    def __init__(self, name: str, process: trio.Process, output: Path) -> None:
        self.name = name
        self.process = process
        self.output = output

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], directory: Path, *, cpu: int | None = None, piped: bool = False
    ) -> Self:
        """Start it; its output is appended to NAME.log, but for a `piped` standard output."""
        output = directory / f"{name}.log"
        with output.open("ab") as file:
            process = await trio.lowlevel.open_process(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else file,
                stderr=file,
                cwd=directory,
                env={**os.environ, "PYTHONPATH": _python_path(), "PYTHONUNBUFFERED": "1"},
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


class World:
    """The parts, and how to take them away and bring them back."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        self.directory = directory
        self.plan = plan
        self.journal = directory / "journal"
        self.configuration = directory / "gateway.toml"
        self.hub_book = directory / "hub.ndjson"
        self.processor_book = directory / "processor.ndjson"
        self.hub: control.Control
        self.ports: dict[str, int] = {}
        self.ops_port = 0
        self.processor_port = 0
        self.processor_control_port = 0
        self.gateway: Child | None = None
        self.processor: Child | None = None
        self._hub: Child | None = None

    # --- bringing it up

    async def start(self, *, gateway: bool = True) -> None:
        """Make the tokens and start every part. Raises `WorldError`."""
        tokens = await self._provision()
        await self.start_processor()
        await self._start_hub()
        self.ops_port = free_port()
        self.configuration.write_text(_configuration(self, tokens), encoding="utf-8")
        if gateway:
            await self.start_gateway()

    async def _provision(self) -> str:
        """Make the tokens; returns their part of the gateway's configuration."""
        command = [PYTHON, "-m", "hsm", "provision", "--dir", str(self.directory / "hsm"), "--tokens"]
        made = await trio.run_process(
            [*command, str(self.plan.tokens)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={**os.environ, "PYTHONPATH": _python_path()},
        )
        if made.returncode:
            raise WorldError(f"tokens cannot be made: {made.stderr.decode(errors='replace').strip()}")
        text = made.stdout.decode()
        return text[text.index("[[node.token]]") :]

    async def start_processor(self) -> None:
        """Start the processor, on the port that it had before."""
        self.processor = await Child.start(
            "processor",
            [
                PYTHON, "-m", "loadtest", "processor", "--port", str(self.processor_port),
                "--control-port", str(self.processor_control_port), "--mode", self.plan.processor_mode,
                "--ledger", str(self.processor_book),
            ],
            self.directory, cpu=self.plan.others_cpu, piped=True,
        )  # fmt: skip
        ports = await self.processor.first_line()
        self.processor_port, self.processor_control_port = ports["port"], ports["control_port"]

    async def _start_hub(self) -> None:
        plan = self.plan
        command = [
            PYTHON, "-m", "loadtest", "hub", "--keys", str(self.directory / "hsm" / KEYS_FILE),
            "--ledger", str(self.hub_book), "--patience", str(plan.patience_s),
            *(["--asynchronous"] if not plan.synchronous else []), "--mischief", plan.mischief,
        ]  # fmt: skip
        for site in SITES:
            command += ["--site", site]
        self._hub = await Child.start("hub", command, self.directory, cpu=plan.others_cpu, piped=True)
        ready = await self._hub.first_line()
        self.ports = ready["sites"]
        self.hub = await control.connect(ready["control"])

    async def start_gateway(self) -> None:
        """Start the gateway and wait until every site has it signed on to receive. Raises `WorldError`."""
        self.gateway = await Child.start(
            "gateway",
            [PYTHON, "-m", "gateway", "run", "--config", str(self.configuration)],
            self.directory,
            cpu=self.plan.gateway_cpu,
        )
        await self.signed_on(self.gateway)

    async def signed_on(self, gateway: Child | None = None) -> None:
        """Wait until a link of each site is signed on to receive. Raises `WorldError`."""
        with trio.move_on_after(READY_WITHIN_S):
            while gateway is None or gateway.running:
                links = (await self.hub("statistics"))["links"]
                if {link["site"] for link in links if link["receive"]} >= set(SITES):
                    self._pin_workers()
                    return
                await trio.sleep(0.1)
        where = f": see {gateway.output}" if gateway else ""
        raise WorldError(f"the gateway did not sign on at both sites{where}")

    def _pin_workers(self) -> None:
        """Move the gateway's token workers to their processor core."""
        if self.gateway is not None and self.plan.workers_cpu is not None:
            for pid in children_of(self.gateway.process.pid):
                os.sched_setaffinity(pid, {self.plan.workers_cpu})

    # --- taking parts away

    async def kill_gateway(self) -> None:
        """SIGKILL: it gets no chance to say anything."""
        assert self.gateway is not None
        await self.gateway.end(signal.SIGKILL)

    def kill_token_worker(self) -> None:
        """SIGKILL one of the gateway's token workers."""
        assert self.gateway is not None
        os.kill(children_of(self.gateway.process.pid)[0], signal.SIGKILL)

    async def processor_mode(self, mode: str) -> None:
        """Have the processor behave like this. Raises `WorldError`."""
        body = msgspec.json.encode({"mode": mode})
        try:
            status, said = await http(self.processor_control_port, "POST", "/control", body)
        except OSError as error:
            raise WorldError("the processor is away") from error
        if status != 200:
            raise WorldError(f"the processor refuses {mode}: {said.decode(errors='replace')}")

    async def stop_gateway(self) -> int:
        """SIGTERM: it drains. Returns its exit code."""
        assert self.gateway is not None
        code = await self.gateway.end()
        self.gateway = None
        return code

    async def stop_processor(self) -> None:
        """End the processor's process; its book is kept."""
        assert self.processor is not None
        await self.processor.end()
        self.processor = None

    async def finish_hub(self) -> dict[str, Any]:
        """Let the hub wait until everything has its outcome, and end. Returns its statistics."""
        assert self._hub is not None
        statistics = await self.hub("finish")
        await self._hub.end()
        return statistics

    async def aclose(self) -> None:
        """End everything that is still there."""
        with trio.CancelScope(shield=True):
            for child in (self.gateway, self._hub, self.processor):
                if child is not None:
                    await child.end(within_s=5)
            if self._hub is not None and hasattr(self, "hub"):
                await self.hub.aclose()

    # --- looking at it

    async def statistics(self) -> dict[str, Any]:
        """The gateway's `/statistics`; empty while it is away."""
        return await _json_of(self.ops_port, "/statistics")

    async def metrics(self) -> str:
        """The gateway's `/metrics`; empty while it is away."""
        try:
            _, body = await http(self.ops_port, "GET", "/metrics")
        except OSError:
            return ""
        return body.decode()

    async def settled(self) -> dict[str, Any]:
        """Wait until the hub sends nothing more and everything sent has its outcome; returns the hub's statistics."""
        while True:
            hub = await self.hub("statistics")
            if not hub["loading"] and not hub["outstanding"]:
                return hub
            await trio.sleep(0.2)

    async def told_everything(self, within_s: float) -> bool:
        """Wait until the gateway has nothing left to tell; false when that takes too long."""
        quiet = 0
        with trio.move_on_after(within_s):
            while quiet < 3:
                quiet = quiet + 1 if backlog(await self.statistics()) == 0 else 0
                await trio.sleep(0.2)
        return quiet >= 3

    async def gone(self) -> None:
        """Wait until no link is left: a gateway that is not ours was ended."""
        while (await self.hub("statistics"))["links"]:  # noqa: ASYNC110 - the hub is another process
            await trio.sleep(0.2)

    def spent_s(self) -> dict[str, float]:
        """Processor time that each part has used, seconds; the token workers together; `machine`: all that is on it."""
        parts = {"gateway": self.gateway, "hub": self._hub, "processor": self.processor}
        running = {name: child.process.pid for name, child in parts.items() if child is not None and child.running}
        spent = {name: _spent_s(pid) for name, pid in running.items()}
        if "gateway" in running:
            spent["workers"] = sum(map(_spent_s, children_of(running["gateway"])))
        spent["machine"] = _machine_spent_s()
        return spent

    def gateway_rss_bytes(self) -> int | None:
        """The gateway's resident memory; None when it is not ours or has ended."""
        if self.gateway is None or not self.gateway.running:
            return None
        pages = int(Path(f"/proc/{self.gateway.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def verdict(self) -> Verdict:
        """Judge the books. All parts must have ended. Raises `WorldError`."""
        judge = partial(books.judge, [self.hub_book], [self.processor_book], [self.journal])
        try:
            return await trio.to_thread.run_sync(judge)
        except (books.Unusable, OSError) as error:
            raise WorldError(str(error)) from error


def backlog(statistics: dict[str, Any]) -> int | None:
    """How many notices the gateway has not had acknowledged; None when it did not say."""
    if not statistics:
        return None
    forwarder = statistics["forwarder"]
    return int(forwarder["backlog_at_least"]) + int(forwarder["in_flight"])


@asynccontextmanager
async def world(plan: Plan, directory: Path | None, *, keep: bool) -> AsyncIterator[World]:
    """A world in a new directory below this one; without one in a temporary directory, removed unless `keep`."""
    made = directory is None
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="fps-world-"))
    else:
        directory = directory.absolute()
        directory.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix="world-", dir=directory))
    it = World(directory, plan)
    try:
        yield it
    finally:
        await it.aclose()
        if made and not keep:
            shutil.rmtree(directory, ignore_errors=True)


def said(error: BaseException) -> str:
    """What the first error of a group says."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


async def interruptible(main: Callable[[], Awaitable[int]]) -> int:
    """Run `main`; a signal cancels it, so that it cleans up, and makes the exit code 130."""
    code = 130
    async with trio.open_nursery() as nursery:

        async def on_signal() -> None:
            # the parts have sessions of their own: closing the terminal ends them only through us
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
                async for _ in signals:
                    print("interrupted: cleaning up", file=sys.stderr)
                    nursery.cancel_scope.cancel()

        nursery.start_soon(on_signal)
        code = await main()
        nursery.cancel_scope.cancel()
    return code


# --- small things


def _python_path() -> str:
    """Where this code is, for processes whose working directory is elsewhere."""
    return str(Path(__file__).parent.parent)


def free_port() -> int:
    """A port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def children_of(pid: int) -> list[int]:
    """The process ids of its direct children."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def _spent_s(pid: int) -> float:
    """User and system time of a process, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _machine_spent_s() -> float:
    """Time that all processors of this machine were not idle, seconds."""
    times = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = times[3] + times[4]
    return (sum(times) - idle) / os.sysconf("SC_CLK_TCK")


class _Response:
    """Collects what the parser calls it with."""

    def __init__(self) -> None:
        self.body = b""
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


async def http(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """One HTTP exchange with loopback: status and body. Raises OSError when there is none within `HTTP_WITHIN_S`."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    response = _Response()
    parser = httptools.HttpResponseParser(response)
    with trio.move_on_after(HTTP_WITHIN_S):
        try:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(head.encode() + body)
                while not response.complete and (chunk := await stream.receive_some()):
                    parser.feed_data(chunk)
        except (trio.BrokenResourceError, trio.ClosedResourceError, httptools.HttpParserError) as error:
            raise ConnectionError("broken off") from error
    if not response.complete:
        raise ConnectionError("no answer")
    return parser.get_status_code(), response.body


async def _json_of(port: int, path: str) -> dict[str, Any]:
    try:
        status, body = await http(port, "GET", path)
        return msgspec.json.decode(body, type=dict[str, Any]) if status == 200 else {}
    except (OSError, msgspec.MsgspecError):
        return {}


def _configuration(it: World, tokens: str) -> str:
    """The gateway's TOML."""
    plan = it.plan
    hubs = "\n".join(
        f'[[node.hub]]\nname = "{site}"\nhost = "127.0.0.1"\nport = {port}\nreconnect_max_s = 1.0\n'
        for site, port in it.ports.items()
    )
    return f"""# Written by loadtest for one world.
[pair.deadlines]
stand_in_after_s = {plan.stand_in_after_s}
reply_within_s = {plan.patience_s - 1.0}
hub_patience_s = {plan.patience_s}

[node]
name = "sip-a"

[node.journal]
dir = {msgspec.json.encode(str(it.journal)).decode()}
segment_bytes = {plan.segment_bytes}

[node.processor]
url = "http://127.0.0.1:{it.processor_port}"
tell_pause_max_s = 2.0

[node.ops]
port = {it.ops_port}

[node.log]
level = "{plan.log_level}"
format = "json"

{hubs}
{tokens}"""
