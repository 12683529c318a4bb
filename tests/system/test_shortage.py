"""Descriptors and threads that are not to be had, for real: the process runs under the system's limits."""

import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from loadtest.runs.world import World, children_of
from tests.system.worlds import FAST, Worlds, change, end, load, log_of, ready, until

pytestmark = pytest.mark.system
FEW = 150
"""Descriptors: some dozens more than what must work takes."""


def limited(*limits: str) -> tuple[str, ...]:
    """What a process is started by to have these limits."""
    return ("prlimit", *limits, "--")


def crowd(it: World, count: int, within: ExitStack) -> None:
    """Clients of the port for submissions, who say nothing."""
    for _ in range(count):
        client = within.enter_context(socket.socket())
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", it.the_gateway.submit_port))


def only_lines(it: World) -> None:
    """Nothing but the log was written to its output: no traceback, no word of a library's."""
    said = (it.directory / "gateway.log").read_text(encoding="utf-8").splitlines()
    assert [line for line in said if not line.startswith("{")] == []


async def test_a_crowd_of_clients_costs_no_payment_and_no_journal(worlds: Worlds) -> None:
    """150 descriptors, 400 clients, and a processor that has to be told everything: payments go on both ways, a
    link that is cut comes back, and all is told. It had ended with 74.
    """
    plan = replace(FAST, outbound=True, segment_bytes=65536)
    async with worlds(plan, gateway=False) as it:
        it.the_gateway.behind = limited(f"--nofile={FEW}")
        await it.start_gateway()
        await it.processor_mode("slow:0.6")  # every payment is stood in for, and told
        with ExitStack() as clients:
            crowd(it, 400, clients)
            await load(it, 50, 4)

            async def turned_away() -> bool:
                said = (await it.the_gateway.statistics()).get("submissions") or {}
                return bool(said and said["turned_away"]["short"] >= 100)

            await until(turned_away)
            assert (await ready(it))["ready"], "what must work has what it needs"
            await it.hub("drop", site="a")
            await it.signed_on()
            await it.settled()
            await it.processor_mode("fast")
            assert await it.told_everything(60.0)
        await load(it, 50, 1)
        await end(it)
        assert "limits of this process may be reached" in {line["event"] for line in log_of(it)}
        only_lines(it)


async def test_descriptors_that_are_gone_at_once_are_waited_for(worlds: Worlds) -> None:
    """Not one is to be had for a while, under load: nothing ends, and everything is told afterwards."""
    async with worlds(replace(FAST, segment_bytes=65536)) as it:
        assert it.gateway is not None
        pid = it.gateway.process.pid
        await it.processor_mode("slow:0.6")
        await load(it, 50, 4)
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, before[1]))

        async def said() -> bool:
            return any(line["event"] == "the journal cannot be read just now" for line in log_of(it))

        await until(said)
        with ExitStack() as clients:
            clients.enter_context(socket.create_connection(("127.0.0.1", it.ops_port)))

            async def waits() -> bool:
                return any(line["event"] == "no connection is taken" for line in log_of(it))

            await until(waits)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        await it.settled()
        await it.processor_mode("fast")
        await end(it)
        only_lines(it)


@pytest.fixture
def group() -> Iterator[Path]:
    """A cgroup for the limit on threads and processes. Skips where none can be made."""
    mounts = [Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")]
    at = next((mount for mount in mounts if mount.is_dir()), mounts[0]) / f"fps-test-{os.getpid()}"
    try:
        at.mkdir()
    except OSError:
        pytest.skip("no cgroup can be made here: this needs root")
    if not (at / "pids.max").exists():
        at.rmdir()
        pytest.skip("this cgroup has no limit on processes")
    yield at
    at.rmdir()


async def test_threads_and_processes_that_are_not_to_be_had_end_nothing(worlds: Worlds, group: Path) -> None:
    """`pids.max` is reached; then links drop, connections end, a worker dies and a name is to be looked up: payments go
    on with what is there, and with room again all is as before. It had ended as a bug of ours.
    """
    async with worlds(FAST, gateway=False) as it:
        change(it, r'url = "http://127\.0\.0\.1:', 'url = "http://localhost:')
        change(it, r'host = "127\.0\.0\.1"', 'host = "localhost"')
        it.the_gateway.behind = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
        await it.start_gateway()
        assert it.gateway is not None
        pid = it.gateway.process.pid
        await load(it, 50, 1)
        await it.settled()
        limit = group / "pids.max"
        limit.write_text("1")
        os.kill(children_of(pid)[0], signal.SIGKILL)

        async def refused() -> bool:
            events = [line for line in log_of(it) if line.get("state") == "crashed"]
            return any("no worker could be started" in line["reason"] for line in events)

        await until(refused)
        await it.hub("drop", site="a")
        await it.stop_processor()
        await load(it, 50, 1)
        await it.settled()
        await it.start_processor()
        assert it.gateway.running
        limit.write_text("max")

        async def all_serve() -> bool:
            signer = (await ready(it))["parts"]["signer"]
            return all(token["state"] == "serving" for token in signer.values())

        await until(all_serve)
        await load(it, 50, 1)
        await end(it)
        assert any("no thread can be started" in str(line) for line in log_of(it))
        only_lines(it)
