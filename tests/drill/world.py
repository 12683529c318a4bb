"""Hub and processor outside, two servers inside, load both ways, and the books at the end.

Hub, processor and judge are those of `loadtest`. They reach the gateway by ports on their own loopback, which are
relayed to the server that the gateway is on. The parts:

    plan       what everything is called, addresses, patience, who answers DRBD's question: constants
    settings   the gateway's configuration inside a guest, made from the one that the world wrote; no I/O
    cpio       an archive for the kernel's first file system; no I/O
    images     the images that guests boot from: the system once, kept; a small one for each run
    network    bridges and taps in a network namespace of the drill's own
    guest      one virtual machine: QEMU, its monitor, and the agent inside it
    agent      what runs inside: standard library only
    server     the steps of the runbook, on one guest: attach, promote, mount, start; and back
    world      hub and processor outside, two servers inside, load, the books
    scenarios  the three losses, and what must hold during each
    __main__   arguments, the namespaces, the report
"""

import os
import shutil
import subprocess
import tomllib
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from loadtest.ledger.oracle import Verdict
from loadtest.parts.processes import PYTHON, http
from loadtest.runs.kills import Clock
from loadtest.runs.load import Rates
from loadtest.runs.world import Plan, World
from tests.drill import images, network, plan, settings
from tests.drill.guest import Guest, GuestError
from tests.drill.server import Server, connected, whole
from tests.machines import roots

LOOK_EVERY_S = 0.5
LOG_WITHIN_S = 10.0
LOAD_S = 86_400.0
"""Longer than any drill: load goes on until it is stopped."""
WORLD = Plan(
    stand_in_after_s=6.0, patience_s=13.0, answer_within_s=16.0, outbound=True, segment_bytes=1 << 20, contents=True,
    listen="0.0.0.0",  # noqa: S104 - of a network namespace of its own
)  # fmt: skip


class Drill:
    """The whole of it."""

    def __init__(self, directory: Path, rates: Rates, accelerator: str, say: Clock) -> None:
        self.directory = directory
        self.say = say
        self.it = World(directory, WORLD)
        self.servers: list[Server] = []
        self.primary: Server
        """Where the gateway is, or is to be."""
        self.figures: dict[str, float] = {}
        """What was measured, seconds, by its name."""
        self.problems: list[str] = []
        self._rates = rates
        self._accelerator = accelerator
        self._relays: set[trio.CancelScope] = set()

    # --- bringing it up

    async def start(self, nursery: trio.Nursery) -> None:
        """Everything up to a gateway that is signed on at both sites, on the first server."""
        it, say = self.it, self.say
        say("the system that the servers boot from: made once, kept")
        system = await trio.to_thread.run_sync(images.system, abandon_on_cancel=True)
        network.make()
        await it.start(gateway=False)
        image = self.directory / "node.img"
        await trio.to_thread.run_sync(images.node, self.directory / "node", image, self._files())
        for address in plan.SERVERS:
            guest = Guest(address, self.directory, system, image)
            guest.make_disks()
            self.servers.append(Server(guest))
        self.primary = self.servers[0]
        for port, inner in ((it.ops_port, plan.OPS_PORT), (it.the_gateway.submit_port, plan.SUBMIT_PORT)):
            await nursery.start(partial(trio.serve_tcp, partial(self._relay, inner), port, host="127.0.0.1"))
        say("two servers boot")
        async with trio.open_nursery() as booting:
            for server in self.servers:
                booting.start_soon(self._first_boot, server)
        first = self.primary
        await first.until("connected", connected)
        await first.first_copy()
        for server in self.servers:
            await server.until("whole", whole)
        await first.make_file_system()
        await first.take_volume()
        say(f"the volume is mounted on {first}; the gateway starts there")
        await first.start_gateway()
        await self.signed_on()

    async def _first_boot(self, server: Server) -> None:
        await self.boot(server)
        await server.prepare()

    async def boot(self, server: Server) -> None:
        """Switch a server on and wait for it."""
        began_s = trio.current_time()
        await server.guest.boot(self._accelerator)
        self.say(f"{server} is up, {trio.current_time() - began_s:.0f} s after it was switched on")

    def _files(self) -> dict[str, str | Path]:
        """What a server's image holds besides the code: configuration, tokens, DRBD's resource."""
        it = self.it
        tokens = it.bank.directory / "hsm"
        outside = tomllib.loads(it.configuration.read_text(encoding="utf-8"))
        files: dict[str, str | Path] = {
            f"{plan.ETC}/gateway.toml": settings.inside(outside, str(tokens)),
            "/etc/drbd.d/global_common.conf": plan.DRBD_COMMON,
            f"/etc/drbd.d/{plan.RESOURCE}.res": plan.RESOURCE_FILE,
            plan.FENCER: plan.FENCER_TEXT,
            plan.VOLUME_SCRIPT: plan.VOLUME_SOURCE,
        }
        for path in tokens.rglob("*"):
            at = f"{plan.ETC}/hsm/{path.relative_to(tokens)}"
            if path.suffix == ".conf":
                files[at] = path.read_text(encoding="utf-8").replace(str(tokens), f"{plan.ETC}/hsm")
            elif path.is_file():
                files[at] = path
        return files

    async def _relay(self, port: int, outer: trio.SocketStream) -> None:
        """To the server that the gateway is on now. Whoever is connected when the gateway moves is cut off."""
        with trio.CancelScope() as scope:
            self._relays.add(scope)
            try:
                inner = await trio.open_tcp_stream(self.primary.guest.address.front, port)
                async with inner, trio.open_nursery() as nursery:
                    nursery.start_soon(_pump, outer, inner)
                    await _pump(inner, outer)
                    nursery.cancel_scope.cancel()
            except OSError:
                return  # nobody is there: whoever called finds that its connection is closed
            finally:
                self._relays.discard(scope)

    def moved_to(self, server: Server) -> None:
        """The gateway is on this server from now on."""
        self.primary = server
        for scope in self._relays:
            scope.cancel()

    # --- load

    async def load(self) -> None:
        """Both ways, until it is stopped."""
        await self.it.hub("start", rate=self._rates.inbound, duration=LOAD_S)
        await self.it.submit(self._rates.outbound, LOAD_S)

    async def go_on(self, replies: int, within_s: float = plan.SETTLED_WITHIN_S) -> None:
        """Wait until so many more payments were replied to, and some more submissions settled. Raises `GuestError`."""
        before, settled = await self.replied(), await self.settled()
        with trio.move_on_after(within_s):
            while await self.replied() < before + replies or await self.settled() <= settled:
                await self.must_run()
                await trio.sleep(LOOK_EVERY_S)
            return
        raise GuestError(
            f"payments do not go on: {await self.replied() - before} in and {await self.settled() - settled} out "
            f"after {within_s:g} s"
        )

    async def replied(self) -> int:
        """How many payments of the hub's were replied to."""
        return int((await self.it.hub("statistics"))["counts"].get("replied", 0))

    async def settled(self) -> int:
        """How many submissions have their outcome."""
        return int((await self.it.submitted())["counts"].get("settled", 0))

    async def must_run(self) -> None:
        """Raises `GuestError` when the gateway has ended, with the last that it said."""
        code = await self.primary.gateway_code()
        if code is not None:
            last = "\n".join((await self.primary.log()).splitlines()[-8:])
            raise GuestError(f"the gateway on {self.primary} ended with {code}:\n{last}")

    async def links(self) -> list[dict[str, Any]]:
        """The hub's, as it sees them: it may not have missed yet who is dead."""
        links: list[dict[str, Any]] = (await self.it.hub("statistics"))["links"]
        return links

    async def signed_on(self, after: Collection[int] = ()) -> None:
        """Wait until it is, both ways, at both sites, by links with other numbers than these. Raises `GuestError`."""
        with trio.move_on_after(plan.GATEWAY_WITHIN_S):
            while True:
                fresh = [link for link in await self.links() if link["number"] not in after]
                if self.it.has_links(self.it.the_gateway, fresh):
                    return
                await self.must_run()
                await trio.sleep(LOOK_EVERY_S)
        raise GuestError(f"the gateway did not sign on within {plan.GATEWAY_WITHIN_S:g} s")

    async def ready(self) -> tuple[bool, dict[str, Any]]:
        """What the gateway's `/ready` says; OSError when it says nothing."""
        status, body = await http(self.it.ops_port, "GET", "/ready")
        return status == 200, msgspec.json.decode(body, type=dict[str, Any])

    # --- the end

    async def finish(self) -> Verdict:
        """Stop the load, let everything come to its end, switch everything off, judge. Raises `GuestError`."""
        it, say = self.it, self.say
        say("no more payments: each must come to its end")
        await it.hub("stop")
        await it.bank.submissions(do="stop")
        with trio.move_on_after(plan.SETTLED_WITHIN_S) as waiting:
            await it.settled()
        if waiting.cancelled_caught:
            self.problems.append("not every payment has its outcome")
        if not await it.told_everything(plan.SETTLED_WITHIN_S):
            self.problems.append("not everything is told")
        code = await self.primary.stop_gateway()
        if code != 0:
            self.problems.append(f"the gateway ended with {code} when it was told to")
        await self._keep_log(self.primary)
        await it.finish_hub()
        await it.stop_processor()
        await self.primary.give_volume()
        for server in self.servers:
            await server.down()
            await server.guest.off()
        say("the servers are off; the journals are read from the disks that are left")
        copies = [await trio.to_thread.run_sync(self._copy, server) for server in self.servers]
        for copy in copies:
            await self._journal("verify", copy)
        await self._journal("compare", *copies)
        return await it.verdict()

    def _copy(self, server: Server) -> Path:
        """The journal out of a server's disk image, without mounting it: the file system begins at its first byte, for
        the marks of the array and of DRBD are at its end.
        """
        disk = next(path for name, path in server.guest.disks.items() if name not in server.lost)
        into = self.directory / f"{server}-{disk.stem.rpartition('-')[2]}"
        into.mkdir()
        debugfs = roots.command("debugfs", "e2fsprogs")
        subprocess.run([debugfs, "-R", f"rdump /journal {into}", str(disk)], check=True, capture_output=True)
        if server is self.servers[0]:
            shutil.copytree(into / "journal", self.it.journal)  # where the ledger reads it
        return into / "journal"

    async def _journal(self, command: str, *journals: Path) -> None:
        """Have the gateway's own command look at journals; it must be content."""
        done = await trio.run_process(
            [PYTHON, "-m", "gateway", "journal", command, *map(str, journals)],
            capture_stdout=True, capture_stderr=True, check=False, env={**os.environ, "PYTHONPATH": str(plan.TOP)},
        )  # fmt: skip
        said = (done.stdout + done.stderr).decode().replace(f"{self.directory}/", "").strip()
        self.say(f"journal {command}: {said.replace(chr(10), '; ')}")
        if done.returncode:
            self.problems.append(f"journal {command} ended with {done.returncode}: {said}")

    async def aclose(self) -> None:
        """End everything."""
        with trio.CancelScope(shield=True):
            for server in self.servers:
                await self._keep_log(server)
                await server.guest.aclose()
            await self.it.aclose()

    async def _keep_log(self, server: Server) -> None:
        """What the gateway said there is gone with the machine, unless it is fetched before."""
        if server.guest.running:
            with trio.move_on_after(LOG_WITHIN_S), suppress(GuestError, OSError):
                (self.directory / f"gateway-{server}.log").write_text(await server.log(), encoding="utf-8")


@asynccontextmanager
async def drill(directory: Path, rates: Rates, accelerator: str, say: Clock) -> AsyncIterator[Drill]:
    """A drill that is up and under load; all of it is ended afterwards, however it went."""
    it = Drill(directory, rates, accelerator, say)
    async with trio.open_nursery() as nursery:
        try:
            await it.start(nursery)
            yield it
        finally:
            await it.aclose()
            nursery.cancel_scope.cancel()


async def _pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    try:
        async for data in source:
            await sink.send_all(data)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await trio.aclose_forcefully(sink)
