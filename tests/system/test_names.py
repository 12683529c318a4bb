"""A resolver that hangs, for real: the process lives in a mount namespace whose name server takes questions and never
answers (`tests.network.hanging`).
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.config.rules import IN_CLEAR
from loadtest.parts.processes import PYTHON
from loadtest.runs.world import World
from tests.network import hanging
from tests.system.worlds import FAST, Worlds, until

pytestmark = pytest.mark.system
ROOT = Path(__file__).parents[2]
BEHIND = (PYTHON, "-m", "tests.network.hanging")
LIMITER = 40
"""Threads that trio's own limiter lets run at once."""
PEERS = 3


@pytest.fixture
def behind() -> tuple[str, ...]:
    """What the gateway is started by. Skips where this machine cannot."""
    probe = "import socket; socket.getaddrinfo('localhost', 1)"
    ran = subprocess.run([*BEHIND, sys.executable, "-c", probe], cwd=ROOT, check=False)
    if ran.returncode == hanging.CANNOT:
        pytest.skip("no mount namespace with a name server of our own: this needs root")
    assert ran.returncode == 0
    return BEHIND


async def test_names_that_hang_for_some_delay_nobody_else(worlds: Worlds, behind: tuple[str, ...]) -> None:
    """A sibling and three peers have names that hang. The processor is told what it has to know all the while; each
    name is said once, keeps one thread, and does not keep the process from ending.
    """
    async with worlds(replace(FAST, groups=("usm",)), gateway=False) as it:
        gateway = it.the_gateway
        text = gateway.configuration.read_text(encoding="utf-8")
        names = "".join(f'peer-{n} = "http://peer-{n}.fps.test:9200"\n' for n in range(PEERS))
        text = re.sub(r"\[node\.peers\]\n", f"[node.peers]\n{names}", text)
        text = text.replace("[node]\n", f'[node]\npeers_in_clear = "{IN_CLEAR}"\n', 1)
        hasty = "connect_within_s = 0.05\ntell_pause_s = 0.01\ntell_pause_max_s = 0.02"
        text = re.sub(r"tell_pause_max_s = [0-9.]+", hasty, text)
        text += (
            f'\n[node.sibling]\nurl = "http://sibling.fps.test:9200"\nin_clear = "{IN_CLEAR}"\nlook_every_s = 0.01\n'
        )
        gateway.configuration.write_text(text, encoding="utf-8")
        gateway.behind = behind
        await gateway.start()
        await it.signed_on()
        await it.hub("usm", function="971", fields={"40": "01"})

        async def dialled() -> bool:
            peers = (await gateway.statistics()).get("peers", {})
            return bool(sum(peer["again"] for peer in peers.values()) > 2 * LIMITER)

        await until(dialled)
        for count, state in enumerate(("00", "01", "00"), 2):
            await it.hub("usm", function="971", fields={"40": state})
            await until(lambda count=count: told(it, count))  # type: ignore[misc]
        assert gateway.child is not None
        assert threads_of(gateway.child.process.pid) < LIMITER / 2
        lines = gateway.child.output.read_text(encoding="utf-8").splitlines()
        said = [line for line in lines if '"name cannot be looked up"' in line]
        parties = {f"peer peer-{n}" for n in range(PEERS)} | {"sibling"}
        assert {party for party in parties if any(f'"{party}"' in line for line in said)} == parties
        assert len(said) == len(parties)
        assert await gateway.end() == 0


async def told(it: World, count: int) -> bool:
    """Whether the processor has acknowledged so many notices."""
    statistics = await it.the_gateway.statistics()
    return bool(statistics) and statistics["forwarder"]["told"] >= count


def threads_of(pid: int) -> int:
    """How many threads this process has."""
    found = re.search(r"Threads:\t(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])
