"""The journal of a real gateway under load: its copies are compared, its seals verified by the tokens."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from msgspec.structs import replace

from gateway.disk import RealDisk
from gateway.journal.manifest import read_manifest, write_manifest
from gateway.journal.record import VERSION_MAX
from gateway.journal.segment import name_of
from loadtest.parts.processes import python_path
from loadtest.runs.world import World
from tests.system.worlds import Worlds, change, end, load, until

pytestmark = pytest.mark.system


class Said(NamedTuple):
    """What a command ended with."""

    code: int
    out: str
    err: str


async def gateway(*arguments: str | Path) -> Said:
    """Run a command as a person does, in a process of its own."""
    done = await trio.run_process(
        [sys.executable, "-m", "gateway", *map(str, arguments)],
        capture_stdout=True, capture_stderr=True, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": python_path()},
    )  # fmt: skip
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


async def snapshot(it: World, into: Path) -> Path:
    """A copy of one moment, as a volume below makes it: nothing is written meanwhile."""
    running = it.gateway if it.gateway is not None and it.gateway.running else None
    if running is not None:
        running.process.send_signal(signal.SIGSTOP)
    try:
        await trio.to_thread.run_sync(shutil.copytree, it.journal, into)
    finally:
        if running is not None:
            running.process.send_signal(signal.SIGCONT)
    return into


async def verified(it: World, journal: Path, *arguments: str) -> Said:
    """Have the tokens of the gateway's own configuration look at it."""
    return await gateway("journal", "verify", journal, "--config", it.configuration, *arguments)


def sealed(it: World, count: int) -> Callable[[], Awaitable[object]]:
    """Until the journal has so many seals."""

    async def enough() -> bool:
        said = await gateway("journal", "stat", it.journal, "--json")
        return bool(json.loads(said.out)["kinds"].get("SEALED", {}).get("records", 0) >= count)

    return enough


async def test_copies_of_a_journal_are_compared_and_the_tokens_verify_its_seals(worlds: Worlds, tmp_path: Path) -> None:
    """While it is written, after a kill, and on copies: the same, behind, damaged; the seals hold, whoever asks."""
    async with worlds(gateway=False) as it:
        change(it, r"\[node\.journal\]", "[node.journal]\nseal_every_s = 0.2")
        await it.start_gateway()
        await load(it, 60, 4)
        await until(sealed(it, 3))

        before = await snapshot(it, tmp_path / "before")
        while (said := await gateway("journal", "compare", before, it.journal)).code == 0:
            pass  # payments come: at some look there is more than in the copy
        assert said.code == 1, said
        assert f"{before} is behind: {it.journal} goes on with " in said.out
        said = await verified(it, it.journal)
        assert said.code == 0, said
        assert "hold, the last of position " in said.out

        await it.kill_gateway()
        after = await snapshot(it, tmp_path / "after")
        assert (await gateway("journal", "compare", after, it.journal)).code == 0
        said = await gateway("journal", "compare", before, after, "--json")
        found = json.loads(said.out)
        assert (said.code, found["outcome"], found["behind"]["copy"]) == (1, "BEHIND", 0)
        assert found["behind"]["records"] == found["copies"][1]["last_position"] - found["copies"][0]["last_position"]
        for copy in (before, after):
            said = await verified(it, copy)
            assert said.code == 0, said
            count = said.out.partition("seals: ")[2].partition(",")[0]
            assert int(count) >= 3
            assert f"seals: {count}, of which {count} hold" in said.out

        await it.start_gateway()
        await end(it)
        assert (await gateway("journal", "compare", after, it.journal)).code == 1

        spoil(before)
        assert (await gateway("journal", "compare", before, it.journal)).code == 5
        assert (await verified(it, before)).code == 1
        change(it, r"\Z", '\n[pair.mac]\nseal_key = "fps-another"\n')
        said = await verified(it, after)
        assert said.code == 3, said
        assert 'sealed with the key "fps-seal", which is neither pair.mac.seal_key nor given with --key' in said.out
        assert (await verified(it, after, "--key", "fps-seal")).code == 0


def spoil(journal: Path) -> None:
    """Change a bit of its first record."""
    path = journal / name_of(1)
    data = bytearray(path.read_bytes())
    data[4096 + 48 + 30] ^= 1
    path.write_bytes(data)


async def test_a_gateway_that_is_rolled_back_too_far_refuses_and_changes_nothing(worlds: Worlds) -> None:
    """Exit code 75 and both versions in the last line; the journal is as the newer gateway left it."""
    async with worlds() as it:
        await load(it, 50, 1)
        await end(it)
        directory = RealDisk().directory(str(it.journal))
        manifest = read_manifest(directory)
        assert manifest is not None
        write_manifest(directory, replace(manifest, format=VERSION_MAX + 1, writer="9.8.7", turn=manifest.turn + 1))
        before = contents(it.journal)
        said = await gateway("run", "--config", it.configuration)
        assert said.code == 75
        last = json.loads(said.out.splitlines()[-1])
        assert (last["event"], last["exit_code"]) == ("ended", 75)
        assert "was written by a newer gateway (9.8.7) than this one" in last["error"]
        assert f"it is of format version {VERSION_MAX + 1}, and this one reads {VERSION_MAX} and older" in last["error"]
        assert contents(it.journal) == before


def contents(journal: Path) -> dict[str, bytes]:
    """All of it, but for the lock, which says who looked last."""
    return {path.name: path.read_bytes() for path in journal.iterdir() if path.name != "lock"}
