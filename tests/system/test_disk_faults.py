"""Disks that fail for real, under the real gateway and load: full, broken, hanging, and losing what was not synced.

The journal lies on a mount of its own (`tests.disks`); where the machine cannot mount one, the test is skipped and says
why. The ledger judges each run: whatever the disk did, nothing that was acknowledged to anyone is lost.
"""

import random
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from gateway.exitcodes import ExitCode
from loadtest.runs.world import Plan, World
from tests.disks import mounts
from tests.system.worlds import FAST, WITHIN_S, Worlds, change, end, load, log_of, ready, until

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
SMALL = replace(FAST, segment_bytes=1 << 16)
"""Segments that a second's load fills: a fault meets the making of them, too."""


@pytest.fixture
def small() -> Iterator[mounts.Mounted]:
    """A small file system."""
    with mounts.small() as mounted:
        yield mounted


@pytest.fixture
def faulty() -> Iterator[mounts.Faulty]:
    """One that fails on order."""
    with mounts.faulty() as mounted:
        yield mounted


@asynccontextmanager
async def on(worlds: Worlds, disk: mounts.Mounted, plan: Plan, *, gateway: bool = True) -> AsyncIterator[World]:
    """A world whose first gateway has its journal on this disk."""
    async with worlds(plan, gateway=False) as it:
        journal = disk.path / "sip" / "journal"
        change(it, r'dir = "[^"]*"', f'dir = "{journal}"')
        it.the_gateway.journal = journal
        if gateway:
            for one in it.gateways:
                await one.start()
            await it.signed_on()
        yield it


async def flows(it: World, count: int = 50) -> None:
    """Wait until so many payments more were answered."""
    before = (await it.hub("statistics"))["counts"].get("replied", 0)

    async def more() -> bool:
        return bool((await it.hub("statistics"))["counts"].get("replied", 0) >= before + count)

    await until(more)


async def ended(it: World) -> str:
    """Wait until the gateway has ended by itself, as of a disk that failed; what its last line says."""
    assert it.gateway is not None
    with trio.fail_after(WITHIN_S):
        assert await it.gateway.process.wait() == ExitCode.JOURNAL
    it.gateway = None
    line = log_of(it)[-1]
    assert (line["event"], line["exit_code"]) == ("ended", ExitCode.JOURNAL)
    return str(line["error"])


async def receiving(it: World) -> int:
    """Links over which the hub may send."""
    return sum(bool(link["receive"]) for link in (await it.hub("statistics"))["links"])


async def test_a_disk_that_others_fill_up_under_load_turns_payments_away_and_loses_none(
    worlds: Worlds, small: mounts.Mounted
) -> None:
    """It signs off before its last segment is full, also when it is killed and started meanwhile; with space again it
    signs on by itself.
    """
    async with on(worlds, small, replace(FAST, segment_bytes=1 << 20)) as it:

        async def unready() -> bool:
            return any("no next segment: No space left" in why for why in (await ready(it)).get("reasons", []))

        async def signed_off() -> bool:
            return not await receiving(it)

        await load(it, 300, 60)
        await flows(it)
        await trio.to_thread.run_sync(small.fill)
        await until(unready)
        await until(signed_off)
        await it.kill_gateway()
        await it.the_gateway.start()
        await until(unready)
        assert not await receiving(it)
        small.empty()
        await it.signed_on()
        await flows(it)
        await it.hub("stop")
        await end(it)


async def test_an_error_of_the_disk_ends_the_gateway_and_a_healthy_one_takes_everything_up(
    worlds: Worlds, faulty: mounts.Faulty
) -> None:
    """It says what failed at which file. What was in doubt then may be there, or is gone with the power, or (worse) is
    there until the power goes: after a sync that failed, the next one says yes to what it never writes.
    """
    async with on(worlds, faulty, SMALL) as it:
        await load(it, 150, 60)
        for kind, name, said in (
            ("sync", ".segment", "in a sync of "),
            ("write", ".segment", "in a write to "),
            ("dirsync", "", "in a sync of the directory"),
        ):
            await flows(it, 20)
            faulty("fail", kind=kind, name=name)
            line = await ended(it)
            assert "Input/output error " + said in line
            assert str(it.journal) in line
            faulty("heal")
            await it.start_gateway()
            await flows(it, 20)
            await lose_power(it, faulty, None, kind="sync", after=3)
            await it.start_gateway()
        await flows(it)
        await it.hub("stop")
        await end(it)


async def test_a_segment_that_cannot_be_read_any_more_ends_the_gateway_and_is_named(
    worlds: Worlds, faulty: mounts.Faulty
) -> None:
    """A follower comes upon it; so does the next start, and whoever verifies the journal."""
    async with on(worlds, faulty, SMALL) as it:
        await it.stop_processor()
        await load(it, 150, 60)
        await flows(it)
        faulty("fail", kind="read", name=".segment")  # stand-ins are to be told: a follower reads them
        said = await ended(it)
        assert re.search(r"follower .* cannot read segment \d+\.segment, offset \d+: .*Input/output error", said)
        verified = await trio.run_process(
            [sys.executable, "-m", "gateway", "journal", "verify", str(it.journal)],
            capture_stdout=True, stderr=subprocess.STDOUT, check=False, cwd=ROOT,
        )  # fmt: skip
        assert verified.returncode
        assert b"Input/output error in a read of 00000" in verified.stdout
        await it.the_gateway.start()
        assert "Input/output error in a read of 00000" in await ended(it)
        faulty("heal")
        await it.start_processor()
        await it.start_gateway()
        await flows(it)
        await it.hub("stop")
        verdict = await end(it)
        assert verdict.accounts["stood in"] > 0


@pytest.mark.parametrize("seed", [1])
async def test_power_that_is_lost_under_load_takes_nothing_that_was_acknowledged(
    worlds: Worlds, faulty: mounts.Faulty, seed: int
) -> None:
    """Again and again, at any operation of the disk, and while the gateway starts, the first time, too: what was not
    synced is gone, or parts of it, names, too.
    """
    luck = random.Random(seed)  # noqa: S311  a seed that replays

    async def again(within: int, *, kinds: tuple[str, ...] = ("sync", "sync", "write", "create", "dirsync")) -> None:
        kind = luck.choice(kinds)
        await lose_power(it, faulty, luck.randrange(1 << 30), kind=kind, after=luck.randrange(within))

    async def while_it_starts() -> None:
        await it.the_gateway.start()
        await again(4)
        await it.start_gateway()

    plan = replace(SMALL, outbound=True, answer_within_s=2.0)
    async with on(worlds, faulty, plan, gateway=False) as it:
        await while_it_starts()
        await load(it, 120, 60)
        await it.submit(60, 60)
        for start in (it.start_gateway, while_it_starts, it.start_gateway):
            await flows(it, 20)
            await again(20, kinds=("sync", "sync", "write", "create", "dirsync", "allocate"))
            await start()
        await flows(it)
        await it.hub("stop")
        await it.bank.submissions(do="stop")
        await end(it, may={"unsent", "unknown"})


async def lose_power(it: World, faulty: mounts.Faulty, seed: int | None, **when: object) -> None:
    """Of the disk and of the gateway at the same moment."""
    faulty("cut", **when)

    async def dark() -> bool:
        assert it.gateway is not None
        assert it.gateway.running, log_of(it)[-1]
        return bool(faulty("state")["dead"])

    await until(dark)
    assert it.gateway is not None
    it.gateway.process.send_signal(signal.SIGKILL)
    faulty("boot", seed=seed)  # lets go of whoever waited for the disk: nobody of those lives to see it
    await it.kill_gateway()


async def test_the_ledger_sees_a_disk_that_lies(worlds: Worlds, faulty: mounts.Faulty) -> None:
    """A disk that says synced and has not: then power is lost, and so are promises. No gateway could keep them; but
    this is how the tests above would fail if one did not sync.
    """
    async with on(worlds, faulty, SMALL) as it:
        await load(it, 100, 60)
        await flows(it, 20)
        faulty("lie", lies=True)
        await flows(it)
        await lose_power(it, faulty, None)
        faulty("lie", lies=False)
        await it.start_gateway()
        await it.hub("stop")
        await it.settled()
        await it.stop_gateway()
        await it.finish_hub()
        await it.stop_processor()
        verdict = await it.verdict()
        assert not verdict.balances


async def test_while_a_sync_hangs_payments_go_to_the_other_site(worlds: Worlds, faulty: mounts.Faulty) -> None:
    """It is unready after `stall_after_s` and signs off; when the disk answers it comes back by itself."""
    async with on(worlds, faulty, replace(SMALL, data_centres=2)) as it:
        other = it.gateways[1]
        await load(it, 100, 60)
        await flows(it)
        faulty("hang", kind="sync")

        async def unready() -> bool:
            return any("sync stalled" in why for why in (await ready(it)).get("reasons", []))

        async def signed_off() -> bool:
            return await receiving(it) == 2

        await until(unready)
        await until(signed_off)
        stalled = (await it.statistics())["journal"]["durable"]
        before = (await other.statistics())["journal"]["durable"]
        await flows(it, 100)
        assert (await other.statistics())["journal"]["durable"] > before + 100
        assert (await it.statistics())["journal"]["durable"] == stalled
        faulty("heal")
        await it.signed_on()
        await flows(it)
        await it.hub("stop")
        await end(it)
