"""The pair on real parts: two sites, each with a link to both sites of the hub, and whatever of it is taken away."""

import os
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

import gateway as this
from gateway.disk import RealDisk
from gateway.journal.manifest import read_manifest
from gateway.journal.segment import Walk
from gateway.payments import steps
from gateway.payments.steps import Kind
from loadtest.parts.processes import PYTHON, children_of, http, json_of, python_path
from loadtest.runs.banks import Gateway
from loadtest.runs.world import SITES, World
from tests.system.worlds import FAST, Worlds, end, load, log_of, noted, until

pytestmark = pytest.mark.system

PAIR = replace(FAST, outbound=True, answer_within_s=2.0, data_centres=2)
ANOTHER = "9.9.9+another"


async def parts(gateway: Gateway) -> dict[str, Any]:
    """The parts of its `/ready`; empty while it is not ready."""
    said: dict[str, Any] = (await json_of(gateway.ops_port, "/ready")).get("parts", {})
    return said


async def test_sites_that_do_not_share_what_a_pair_must_share_say_so_and_serve(worlds: Worlds) -> None:
    """Seen at both, in `/ready`, metrics and log; both are ready all the same. Put right, it is over."""
    async with worlds(PAIR) as it:
        one, other = it.gateways

        async def say(which: str) -> bool:
            return all([(await parts(gateway)).get("sibling", "").startswith(which) for gateway in it.gateways])

        await until(lambda: say("ok"))
        right = other.configuration.read_text(encoding="utf-8")
        other.configuration.write_text(right.replace("[pair.submit]", "[pair.submit]\npause_s = 0.4"), encoding="utf-8")
        assert await other.end() == 0
        await other.start()
        name = {one.name: other.name, other.name: one.name}

        async def differ() -> bool:
            said = [(await parts(gateway)).get("sibling", "") for gateway in it.gateways]
            return all(
                f"{name[one.name]} has the fingerprint" in text for one, text in zip(it.gateways, said, strict=True)
            )

        await until(differ)
        for gateway in it.gateways:
            _, metrics = await http(gateway.ops_port, "GET", "/metrics")
            assert b"fps_sibling_differs 1.0" in metrics
            assert b'fps_pair_info{fingerprint="' in metrics
        assert await other.end() == 0
        other.configuration.write_text(right, encoding="utf-8")
        await other.start()
        await until(lambda: say("ok"))
        errors = [line for line in log_of(it) if line["event"] == "the sites do not share what a pair must share"]
        assert [line["level"] for line in errors] == ["error"]
        assert await it.stop_gateway() == 0


async def flows(it: World, count: int = 20) -> None:
    """Wait until so many payments more have gone each way."""
    before = (await it.hub("statistics"))["counts"]
    for what in ("replied", "answered"):
        await until(partial(noted, it, what, before.get(what, 0) + count))


async def loaded(it: World, rate: float, *, wait_s: float = 0.0) -> None:
    """Payments both ways, until `unloaded`."""
    await it.submit(rate, 100, wait_s=wait_s)
    await load(it, rate, 100)


async def unloaded(it: World) -> None:
    """No more payments."""
    await it.hub("stop")
    await it.bank.submissions(do="stop")


async def links(it: World) -> set[tuple[str, str]]:
    """The connections that are signed on both ways: node and site of the hub."""
    found = (await it.hub("statistics"))["links"]
    return {(link["node"], link["site"]) for link in found if link["receive"] and link["submit"]}


async def test_with_any_three_of_the_four_connections_down_payments_go_both_ways(worlds: Worlds) -> None:
    """Each of the four is the only one for a time, under load: what was in the air finds its way."""
    async with worlds(PAIR) as it:
        every = {(gateway.name, site) for gateway in it.gateways for site in SITES}
        await loaded(it, 30)
        for survivor in sorted(every):

            async def alone(survivor: tuple[str, str] = survivor) -> bool:
                return await links(it) == {survivor}

            for node, site in every - {survivor}:
                await it.hub("close", site=site, node=node)
            await until(alone)
            await flows(it)
            for site in SITES:
                await it.hub("open", site=site)
            await it.signed_on()
        await unloaded(it)
        verdict = await end(it)
        assert verdict.outbound["accepted"] == verdict.submitted
        assert verdict.figures["submitted again"] > 0, "a site without a link sends the processor to the other one"


async def test_with_a_whole_site_dead_the_other_one_serves_everything(worlds: Worlds) -> None:
    """All of its processes are killed in the middle of the load, and nobody touches anything: each payment gets its
    outcome while it is dead. It comes back when all is over, to tell what it had not told.
    """
    async with worlds(PAIR) as it:
        dead, other = it.gateways
        # so slow that payments are in the air when it dies, each way
        await it.hub("bank", rule="slow=0.3")
        await it.processor_mode("slow:0.1")
        await loaded(it, 40, wait_s=2.0)
        await flows(it)
        assert dead.child is not None
        for pid in (dead.child.process.pid, *children_of(dead.child.process.pid)):
            os.kill(pid, signal.SIGKILL)
        assert await dead.child.process.wait() == -signal.SIGKILL
        await flows(it, 60)
        await unloaded(it)
        hub = await it.settled()
        assert not dead.running
        assert {link["node"] for link in hub["links"]} == {other.name}
        assert (await json_of(other.ops_port, "/ready"))["ready"]
        assert (await parts(other))["sibling"].startswith("away: ")
        await dead.start()
        await it.signed_on(dead.child)
        verdict = await end(it)
        assert verdict.outbound["accepted"] == verdict.submitted > 60
        assert verdict.figures["submitted again"] > 0
        in_the_air = {name for name, count in verdict.accounts.items() if count} - {"answered", "stood in"}
        assert in_the_air <= {"reversed", "orphaned", "undelivered"}, verdict


def another_version(directory: Path) -> str:
    """A copy of the gateway's code that says that it is of another version; where it is."""
    shutil.copytree(Path(this.__file__).parent, directory / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    init = directory / "gateway" / "__init__.py"
    text = init.read_text(encoding="utf-8")
    assert this.__version__ in text
    init.write_text(text.replace(f'"{this.__version__}"', f'"{ANOTHER}"'), encoding="utf-8")
    return str(directory)


def versions_in(journal: Path) -> list[str]:
    """Which versions have opened a journal, in their order."""
    directory = RealDisk().directory(str(journal))
    manifest = read_manifest(directory)
    assert manifest is not None
    records = [record for batch in Walk(directory, manifest) for record in batch]
    bodies = [steps.unpack(record.kind, record.body) for record in records if record.kind is Kind.STARTED]
    return [body.version for body in bodies if isinstance(body, steps.Started)]


async def test_a_new_version_is_rolled_out_under_load_and_no_payment_is_lost_or_rejected(
    worlds: Worlds, tmp_path: Path
) -> None:
    """Drain a, start the new version there, then the same at b. The hub and the processor use the other one meanwhile;
    each new process goes on with the journal of the one before.
    """
    async with worlds(replace(PAIR, stand_in_after_s=2.0)) as it:
        code = another_version(tmp_path / "another")
        await it.processor_mode("slow:0.1")
        await loaded(it, 30)
        for gateway in it.gateways:
            await flows(it)
            code_of_drain, text = await drained(gateway)
            assert code_of_drain == 0, text
            assert gateway.child is not None
            assert await gateway.child.process.wait() == 0
            assert (await links(it)) == {
                (other.name, site) for other in it.gateways if other is not gateway for site in SITES
            }
            await flows(it)
            gateway.code = code
            await gateway.start()
            await it.signed_on(gateway.child)
            assert (await parts(gateway))["version"] == ANOTHER
        await flows(it)
        await unloaded(it)
        verdict = await end(it)
        assert verdict.accounts["answered"] == verdict.sent > 0, verdict
        assert verdict.outbound["accepted"] == verdict.submitted > 0, verdict
        assert not verdict.figures.get("outbound repeats")
        for gateway in it.gateways:
            assert versions_in(gateway.journal) == [this.__version__, ANOTHER]


async def drained(gateway: Gateway, *arguments: str) -> tuple[int, str]:
    """What `fps-gateway drain` ends with, and says."""
    command = [PYTHON, "-m", "gateway", "drain", "--config", str(gateway.configuration)]
    command += ["--yes", "--why", "a new version", *arguments]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    ended = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, env=environment)
    return ended.returncode, (ended.stdout + ended.stderr).decode()


async def test_the_command_drains_under_load_and_every_payment_in_flight_gets_its_reply(worlds: Worlds) -> None:
    """It returns 0 when that is done and the process is gone; a second one joins in waiting; then nobody is there."""
    async with worlds(replace(FAST, stand_in_after_s=2.0)) as it:
        await it.processor_mode("slow:0.5")
        await load(it, 100, 30)
        await until(lambda: noted(it, "sent", 50))
        said: list[tuple[int, str]] = []

        async def drain() -> None:
            said.append(await drained(it.the_gateway))

        async with trio.open_nursery() as both:
            both.start_soon(drain)
            both.start_soon(drain)
        assert it.gateway is not None
        assert await it.gateway.process.wait() == 0
        assert [code for code, _ in said] == [0, 0]
        assert all("sip-a drained after" in text and "everything in flight was finished" in text for _, text in said)
        code, text = await drained(it.the_gateway)
        assert (code, "nobody to drain" in text) == (69, True)
        await it.hub("stop")
        hub = await it.finish_hub()
        await it.stop_processor()
        verdict = await it.verdict()
        assert not hub["faults"]
        assert verdict.balances
        lost = ("undelivered", "reversed", "orphaned", "unreached")
        assert sum(verdict.accounts[account] for account in lost) == 0, verdict.accounts
        assert verdict.sent > 50
