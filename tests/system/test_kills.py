"""Kill tests on real processes, sockets, SoftHSM and disk: whoever is killed or stopped, whenever, under load in both
directions; the ledger judges.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.runs import siege
from loadtest.runs.load import Rates
from loadtest.runs.siege import Seen, Siege
from loadtest.runs.trouble import Trouble
from tests.system.worlds import Worlds

pytestmark = pytest.mark.system

ROOT = Path(__file__).parent.parent.parent
A, B, PROCESSOR = "sip-a", "sip-b", "processor of alpha"
PATIENCE_S = siege.PATIENCE_S


def test_two_minutes_of_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    """And leave no process and no file behind; what was done is said, so that a seed can be tried again."""
    command = [sys.executable, "-m", "loadtest", "kills", "--duration", "120", "--seed", "1"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "The ledger balances." in ended.stdout
    for what in ("kill sip-a", "kill sip-b", "stop sip-", "kill a worker", f"kill {PROCESSOR}", "drain sip-"):
        assert what in ended.stdout
    assert list(tmp_path.iterdir()) == []


async def under(worlds: Worlds, duration_s: float, *troubles: Trouble, synchronous: bool = True) -> Seen:
    """Two gateways under load, these troubles, and a ledger that must balance."""
    async with worlds(siege.plan(sites=2, banks=1, synchronous=synchronous)) as it:
        seen = await Siege(it, Rates(30, 30), print).run(duration_s, troubles)
    assert not seen.problems
    assert seen.verdict.balances, seen.verdict
    assert not seen.hub["faults"]
    assert seen.verdict.sent > 0 < seen.verdict.submitted
    return seen


async def test_a_gateway_that_is_killed_while_it_reads_its_journal_reads_it_again(worlds: Worlds) -> None:
    """Again and again, at one moment of its start after the other."""
    troubles = [Trouble(2 + 1.2 * number, "kill twice", A, 0.1, 0.1 + 0.12 * number) for number in range(8)]
    await under(worlds, 14, *troubles)


async def test_gateways_that_are_killed_while_they_drain_lose_nothing(worlds: Worlds) -> None:
    """And a second signal ends one at once."""
    troubles = (
        Trouble(2, "drain and kill", A, 0.1, 0.05),
        Trouble(4, "drain and kill", B, 0.1, 0.5),
        Trouble(7, "drain", A, 0.1),
        Trouble(7.1, "drain", A, 0.1),
        Trouble(9, "drain", A, 0.1),
        Trouble(9, "drain", B, 0.1),
    )
    await under(worlds, 12, *troubles)


@pytest.mark.parametrize("synchronous", [True, False], ids=["reversed", "repeated"])
async def test_a_gateway_that_stands_still_for_longer_than_the_hub_waits_does_no_harm(
    worlds: Worlds, *, synchronous: bool
) -> None:
    """What it then finds in its sockets is late, and known elsewhere: the hub has reversed it, or repeated it to the
    other site, where the processor has submitted again what this one did not take in time.
    """
    troubles = Trouble(2, "stop", A, 2 * PATIENCE_S), Trouble(7, "stop", B, 1.5 * PATIENCE_S)
    await under(worlds, 12, *troubles, synchronous=synchronous)


async def test_both_sites_and_the_processor_may_go_at_once(worlds: Worlds) -> None:
    """Nobody is there for a time; afterwards nothing is missing."""
    troubles = (
        *(Trouble(2, "kill", name, 1.0) for name in (A, B, PROCESSOR)),
        *(Trouble(6, "stop", name, PATIENCE_S + 1) for name in (A, B, PROCESSOR)),
    )
    await under(worlds, 12, *troubles)
