"""A world on loopback: a mock hub with two sites, and a bank, or two, with tokens, a mock processor, and gateways.

Each part is a process of its own. Everything that is started here is ended here, by its process id, however the world
ends. Each part's output lies in the world's directory, and so do the books, the journals and the configurations.

Most worlds have one bank with one gateway: what is said of "the gateway" and "the processor" is said of those. `banks`
has all of them.
"""

import math
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from loadtest.hub import control
from loadtest.ledger import books
from loadtest.ledger.oracle import Verdict
from loadtest.parts.processes import (
    PYTHON,
    READY_WITHIN_S,
    Child,
    WorldError,
    children_of,
    http,
    machine_spent_s,
    rss_bytes,
    said,
    spent_s,
)
from loadtest.runs.banks import BANKS, KEYS_FILE, SIMULATED, Bank, Gateway, Plan, participants

__all__ = [
    "KEYS_FILE", "PYTHON", "SITES", "Child", "Plan", "World", "WorldError", "backlog", "children_of", "http",
    "interruptible", "said", "world",
]  # fmt: skip

SITES = ("a", "b")
SETTLED_WITHIN_S = 300.0
"""How long payments may be without an outcome after the last was sent: the hub repeats one 20 times, each 10 s."""


class World:
    """The parts, and how to take them away and bring them back."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        self.directory = directory
        self.plan = plan
        self.hub_book = directory / "hub.ndjson"
        self.hub: control.Control
        self.ports: dict[str, int] = {}
        """Site → port of the hub, for the first bank's first group."""
        self.banks = [Bank(who, directory, plan, first=not number) for number, who in enumerate(BANKS[: plan.banks])]
        self._hub: Child | None = None

    # --- the one bank, the one gateway

    @property
    def bank(self) -> Bank:
        """The first bank."""
        return self.banks[0]

    @property
    def the_gateway(self) -> Gateway:
        """The first gateway of the first bank."""
        return self.bank.gateways[0]

    @property
    def gateways(self) -> list[Gateway]:
        """Those of all banks."""
        return [gateway for bank in self.banks for gateway in bank.gateways]

    @property
    def gateway(self) -> Child | None:
        """The gateway's process."""
        return self.the_gateway.child

    @gateway.setter
    def gateway(self, child: Child | None) -> None:
        self.the_gateway.child = child

    @property
    def processor(self) -> Child | None:
        """The processor's process."""
        return self.bank.processor

    @property
    def journal(self) -> Path:
        """The gateway's journal."""
        return self.the_gateway.journal

    @property
    def configuration(self) -> Path:
        """The gateway's configuration."""
        return self.the_gateway.configuration

    @property
    def socket(self) -> Path:
        """Where the first gateway takes acts."""
        return self.the_gateway.socket

    @property
    def ops_port(self) -> int:
        """The gateway's."""
        return self.the_gateway.ops_port

    # --- bringing it up

    async def start(self, *, gateway: bool = True) -> None:
        """Make the tokens and start every part. Raises `WorldError`."""
        for bank in self.banks:
            await bank.provision()
            await bank.start_processor()
        ports = await self._start_hub()
        for one in self.gateways:
            one.write_configuration(ports[one.name])
        if gateway:
            for one in self.gateways:
                await one.start()
            await self.signed_on(self.gateway)

    async def _start_hub(self) -> dict[str, dict[str, int]]:
        """Gateway → site → port."""
        plan = self.plan
        cast = self.directory / "participants.toml"
        cast.write_text(participants(self.banks, plan.simulated), encoding="utf-8")
        command = [
            PYTHON, "-P", "-m", "loadtest", "hub", "--host", plan.listen, "--participants", str(cast),
            "--ledger", str(self.hub_book), "--patience", str(plan.patience_s),
            "--asynchronous-answer", plan.asynchronous_answer,
            *(["--asynchronous"] if not plan.synchronous else []), "--mischief", plan.mischief,
            "--overlap", str(plan.overlap_s), *(["--contents"] if plan.contents else []),
        ]  # fmt: skip
        for site in SITES:
            command += ["--site", site]
        self._hub = await Child.start("hub", command, self.directory, cpu=plan.others_cpu, piped=True)
        ready = await self._hub.first_line()
        self.ports = ready["sites"]
        self.hub = await control.connect(ready["control"])
        ports: dict[str, dict[str, int]] = ready["nodes"]
        return ports

    async def start_processor(self) -> None:
        """Start the processor, on the port that it had before."""
        await self.bank.start_processor()

    async def start_gateway(self) -> None:
        """Start the gateway and wait until every site has it signed on. Raises `WorldError`."""
        await self.the_gateway.start()
        await self.signed_on(self.gateway)

    async def signed_on(self, gateway: Child | None = None) -> None:
        """Wait until every gateway is signed on at each site, in both directions when payments leave, too.

        Raises `WorldError`. `gateway`: give up when this one ends.
        """
        with trio.move_on_after(READY_WITHIN_S):
            while gateway is None or gateway.running:
                links = (await self.hub("statistics"))["links"]
                if all(self.has_links(one, links) for one in self._expected()):
                    for one in self.gateways:
                        one.pin_workers()
                    return
                await trio.sleep(0.1)
        where = f": see {gateway.output}" if gateway else ""
        raise WorldError(f"the gateway did not sign on at both sites{where}")

    def _expected(self) -> list[Gateway]:
        """The gateways that run; of a group of which none does, all: they are not ours."""
        ours = {(one.bank.identity.name, one.group) for one in self.gateways if one.running}
        return [one for one in self.gateways if one.running or (one.bank.identity.name, one.group) not in ours]

    def has_links(self, gateway: Gateway, links: list[dict[str, Any]]) -> bool:
        """Whether it is signed on at each site, by the hub's `statistics`."""
        on = {
            link["site"]
            for link in links
            if link["node"] == gateway.name and link["receive"] and (link["submit"] or not self.plan.outbound)
        }
        return on >= set(SITES)

    # --- payments that leave

    async def submit(
        self, rate: float, duration: float, *, bank: Bank | None = None, wait_s: float = 0.0, **order: Any
    ) -> dict[str, Any]:
        """Have a bank's processor submit payments to everyone else's banks, at this rate. Raises `WorldError`."""
        bank = bank or self.bank
        others = [other.identity.institution for other in self.banks if other is not bank]
        receivers = others or [SIMULATED.institution]
        order = {"receivers": receivers, "model": "poisson", **order}
        return await bank.submissions(do="start", rate=rate, duration=duration, wait_s=wait_s, **order)

    async def submitted(self, bank: Bank | None = None, *, recent: bool = False) -> dict[str, Any]:
        """What a bank's processor says of its submissions. Raises `WorldError`."""
        return await (bank or self.bank).submissions(do="statistics", recent=recent)

    # --- taking parts away

    async def kill_gateway(self) -> None:
        """SIGKILL: it gets no chance to say anything."""
        assert self.gateway is not None
        await self.gateway.end(signal.SIGKILL)

    def kill_token_worker(self) -> None:
        """SIGKILL one of the gateway's token workers. Raises `WorldError`."""
        assert self.gateway is not None
        try:
            os.kill(children_of(self.gateway.process.pid)[0], signal.SIGKILL)
        except (IndexError, ProcessLookupError):
            raise WorldError(f"the gateway has no token worker: see {self.gateway.output}") from None

    async def processor_mode(self, mode: str) -> None:
        """Have the processors behave like this. Raises `WorldError`."""
        for bank in self.banks:
            await bank.processor_mode(mode)

    async def stop_gateway(self) -> int:
        """SIGTERM: all gateways drain. Returns the exit code of the first, or of one that did not end with 0."""
        codes: list[int] = []
        async with trio.open_nursery() as nursery:

            async def end(gateway: Gateway) -> None:
                codes.append(await gateway.end())

            for gateway in self.gateways:
                if gateway.child is not None:
                    nursery.start_soon(end, gateway)
        return next((code for code in codes if code), 0)

    async def stop_processor(self) -> None:
        """End the processors' processes; their books are kept."""
        for bank in self.banks:
            await bank.stop_processor()

    async def finish_hub(self) -> dict[str, Any]:
        """Let the hub wait until everything has its outcome, and end. Returns its statistics. Raises `WorldError`."""
        assert self._hub is not None
        statistics = await self.hub("finish")
        await self._hub.end()
        return statistics

    async def aclose(self) -> None:
        """End everything that is still there."""
        with trio.CancelScope(shield=True):
            for bank in self.banks:
                await bank.aclose()
            if self._hub is not None:
                await self._hub.end(within_s=5)
                if hasattr(self, "hub"):
                    await self.hub.aclose()

    # --- looking at it

    async def statistics(self) -> dict[str, Any]:
        """The gateway's `/statistics`; empty while it is away."""
        return await self.the_gateway.statistics()

    async def metrics(self) -> str:
        """The gateway's `/metrics`; empty while it is away."""
        try:
            _, body = await http(self.ops_port, "GET", "/metrics")
        except OSError:
            return ""
        return body.decode()

    async def settled(self, within_s: float = SETTLED_WITHIN_S) -> dict[str, Any]:
        """Wait until nothing more is sent or submitted and every payment has its outcome. Returns the hub's statistics.

        Raises `WorldError` when a payment still has none `within_s` after the last one was sent.
        """
        until_s = math.inf
        while True:
            hub = await self.hub("statistics")
            submitters = await self._submitters()
            loading = hub["loading"] or any(said["loading"] for said in submitters)
            outstanding = hub["outstanding"] + sum(said["open"] for said in submitters)
            if not loading and not outstanding:
                return hub
            if not loading:
                until_s = min(until_s, trio.current_time() + within_s)
            if trio.current_time() >= until_s:
                raise WorldError(f"{outstanding:,} payments without an outcome {within_s:g} s after the last was sent")
            await trio.sleep(0.2)

    async def _submitters(self) -> list[dict[str, Any]]:
        """What each processor that runs says of its submissions."""
        if not self.plan.outbound:
            return []
        return [await self.submitted(bank) for bank in self.banks if bank.processor is not None]

    async def told_everything(self, within_s: float) -> bool:
        """Wait until no gateway has anything left to tell; false when that takes too long."""
        quiet = 0
        with trio.move_on_after(within_s):
            while quiet < 3:
                waiting = [backlog(await gateway.statistics()) for gateway in self.gateways]
                quiet = quiet + 1 if not any(left != 0 for left in waiting) else 0
                await trio.sleep(0.2)
        return quiet >= 3

    async def gone(self) -> None:
        """Wait until no link is left: a gateway that is not ours was ended."""
        while (await self.hub("statistics"))["links"]:  # noqa: ASYNC110 - the hub is another process
            await trio.sleep(0.2)

    def spent_s(self) -> dict[str, float]:
        """Processor time that each part has used, seconds; the token workers together; `machine`: all that is on it.

        Of several gateways or processors: all together.
        """
        spent: Counter[str] = Counter()
        parts = [("hub", self._hub), *(("processor", bank.processor) for bank in self.banks)]
        parts += [("gateway", gateway.child) for gateway in self.gateways]
        for name, child in parts:
            if child is not None and child.running:
                spent[name] += spent_s(child.process.pid)  # type: ignore[assignment]  # a Counter adds floats as well
                if name == "gateway":
                    spent["workers"] += sum(map(spent_s, children_of(child.process.pid)))  # type: ignore[assignment]
        return {**spent, "machine": machine_spent_s()}

    def gateway_rss_bytes(self) -> int | None:
        """The gateway's resident memory; None when it is not ours or has ended."""
        return None if self.gateway is None or not self.gateway.running else rss_bytes(self.gateway.process.pid)

    async def verdict(self) -> Verdict:
        """Judge the books. All parts must have ended. Raises `WorldError`."""
        processors = [bank.book for bank in self.banks]
        journals = [gateway.journal for gateway in self.gateways]
        judge = partial(books.judge, [self.hub_book], processors, journals, whole=True)
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


async def interruptible(main: Callable[[], Awaitable[int]]) -> int:
    """Run `main`; a signal cancels it, so that it cleans up, and makes the exit code 130."""
    code = 130
    async with trio.open_nursery() as nursery:

        async def on_signal(*, task_status: trio.TaskStatus[None]) -> None:
            # the parts have sessions of their own: closing the terminal ends them only through us
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
                task_status.started()
                async for _ in signals:
                    print("interrupted: cleaning up", file=sys.stderr)
                    nursery.cancel_scope.cancel()

        await nursery.start(on_signal)  # a signal that comes before `main` has done anything is heard, too
        code = await main()
        nursery.cancel_scope.cancel()
    return code
