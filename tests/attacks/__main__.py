"""What a flood of frames that prove nothing costs, with real processes, sockets and tokens.

    .venv/bin/python -m tests.attacks                     with the budget of each link
    .venv/bin/python -m tests.attacks --without-budget    with limits that are never met

A gateway takes payments over two links. From the second half on, somebody on the path to hub site a writes frames of
8 KiB into each connection, as fast as it takes them. Printed are, for both halves: what the journal grew by, lines of
the log about no payment, and how long the hub waited for a reply (to the payments that got one).
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("tests.attacks.__main__"))

import re
from typing import Any, NamedTuple

import trio

from gateway.machine.arguments import Parser
from loadtest.runs.world import Plan, World, WorldError, world
from loadtest.traffic import iso
from tests.system.worlds import change, load

FRAME = iso.Framing(4, "binary", inclusive=False).frame(bytes(range(256)) * 32)
WARM_UP_S = 5.0
NEVER_MET = "frames_max = 1000000\nframes_per_s = 1e6\nbytes_max = 1073741824\nbytes_per_s = 1e9\n"


class Forger:
    """A line to a port of loopback, with somebody on it who writes towards us."""

    def __init__(self, to_port: int) -> None:
        self.flooding = trio.Event()
        self.forged = 0
        self._to_port = to_port

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started with the port."""
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listener.socket.getsockname()[1])
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, gateway: trio.SocketStream) -> None:
        whole = trio.Lock()
        try:
            async with (
                gateway,
                await trio.open_tcp_stream("127.0.0.1", self._to_port) as hub,
                trio.open_nursery() as both,
            ):
                both.start_soon(self._there, gateway, hub, both.cancel_scope)
                both.start_soon(self._back, hub, gateway, whole, both.cancel_scope)
                both.start_soon(self._flood, gateway, whole)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # one end is gone: so is the line

    async def _there(self, gateway: trio.SocketStream, hub: trio.SocketStream, both: trio.CancelScope) -> None:
        async for chunk in gateway:
            await hub.send_all(chunk)
        both.cancel()

    async def _back(
        self, hub: trio.SocketStream, gateway: trio.SocketStream, whole: trio.Lock, both: trio.CancelScope
    ) -> None:
        """Frame by frame: nothing is forged into the middle of one."""
        buffer = b""
        async for chunk in hub:
            buffer += chunk
            end = 0
            while len(buffer) >= end + 4 and len(buffer) >= (
                next_ := end + 4 + int.from_bytes(buffer[end : end + 4], "big")
            ):
                end = next_
            async with whole:
                await gateway.send_all(buffer[:end])
            buffer = buffer[end:]
        both.cancel()

    async def _flood(self, gateway: trio.SocketStream, whole: trio.Lock) -> None:
        await self.flooding.wait()
        while True:
            async with whole:
                await gateway.send_all(FRAME)
            self.forged += 1


class Figures(NamedTuple):
    """Up to a moment."""

    journal_bytes: float
    lines: int
    latency: dict[str, Any]

    def since(self, before: "Figures", seconds: float) -> str:
        """In words."""
        grew = self.journal_bytes - before.journal_bytes
        return (
            f"journal {grew / 1e6:.2f} MB ({grew / seconds / 1e6:.2f} MB/s), {self.lines - before.lines} lines of log, "
            f"p50 {self.latency['p50_ms']:.1f} ms, p99 {self.latency['p99_ms']:.1f} ms"
        )


async def figures(it: World) -> Figures:
    """Now; latencies since the last call."""
    found = re.search(r"^fps_journal_bytes_total (\S+)$", await it.metrics(), re.MULTILINE)
    assert found is not None
    lines = [line for line in (it.directory / "gateway.log").read_bytes().splitlines() if b'"fpid"' not in line]
    recent = (await it.hub("statistics", recent=True))["recent"]
    return Figures(float(found[1]), len(lines), recent["intended"])


async def measure(rate: float, seconds: float, *, without_budget: bool) -> None:
    """One world, both halves."""
    async with trio.open_nursery() as nursery, world(Plan(), None, keep=False) as it:
        await it.start(gateway=False)
        where = r'(name = "a"\nhost = "127.0.0.1"\nport = )(\d+)'
        found = re.search(where, it.configuration.read_text(encoding="utf-8"))
        assert found is not None
        forger = Forger(int(found[2]))
        change(it, where, rf"\g<1>{await nursery.start(forger.run)}")
        if without_budget:
            change(it, r"\[node\.journal\]", rf"[node.unproved]\n{NEVER_MET}[node.journal]")
        await it.start_gateway()
        await load(it, rate, 3600)
        await trio.sleep(WARM_UP_S)
        begin = await figures(it)
        await trio.sleep(seconds)
        quiet = await figures(it)
        print(f"{rate:g} payments a second for {seconds:g} s: {quiet.since(begin, seconds)}", flush=True)
        forger.flooding.set()
        await trio.sleep(seconds)
        flooded = await figures(it)
        print(f"and {forger.forged} forged frames: {flooded.since(quiet, seconds)}", flush=True)
        nursery.cancel_scope.cancel()


def main(arguments: list[str]) -> int:
    """The command."""
    parser = Parser(prog=".venv/bin/python -m tests.attacks", description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="payments a second (default: 200)")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each half (default: 15)")
    parser.add_argument("--without-budget", action="store_true", help="set limits that are never met")
    options = parser.parse_args(arguments)
    try:
        trio.run(lambda: measure(options.rate, options.seconds, without_budget=options.without_budget))
    except WorldError as error:
        print(f"tests.attacks: {error}", file=sys.stderr)
        return 1
    return 0
