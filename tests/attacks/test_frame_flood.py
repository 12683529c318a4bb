"""Frames that prove nothing, as fast as a line carries them.

Attacker: somebody on the path between us and the hub, without any key. (Or a hub gone mad.)

Attack: 2,000 frames of 8 KiB in the hub's name on one connection, and on each one that follows it: bytes that are no
message, or payments with a MAC of zeros. Each was written to the journal, answered with a 9624, which costs a MAC, a
record and a sync, and logged.

Gained before: 16.4 MB of journal in 1.5 s, and so on for as long as it went on: a disk is full in hours, and a full
disk stops payments.

Now: the journal takes what the budget of the link allows (`node.unproved`), and what may be unjudged at once beyond it.
The other link carries payments meanwhile, and nobody's payment is stood in for.

`.venv/bin/python -m pytest -s tests/attacks/test_frame_flood.py` prints what the attack cost.
"""

import sys
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import pytest
import trio

from gateway import config
from gateway.payments.steps import Kind
from loadtest.ledger.oracle import Verdict
from loadtest.traffic import iso
from tests.simulation import canaries, faults, world
from tests.simulation.canaries import Scenario

FRAMES = 2000
FRAME_BYTES = 8192
WITHIN_S = 1.5
RECORD_BYTES = 512
"""What a record adds to the frame that it holds: the reply, and what a record has around it."""
FRAMING = iso.Framing(4, "binary", inclusive=False)


class Cost:
    """What the attack cost the gateway."""

    def __init__(self) -> None:
        self.sent = 0
        """Frames that the line took."""
        self.took_s = 0.0
        self.records = 0
        self.journal_bytes = 0
        self.lines = 0
        """Of the log, about no payment."""

    def __str__(self) -> str:
        return (
            f"{self.sent} frames in {self.took_s:.1f} s: {self.records} records, {self.journal_bytes / 1e6:.2f} MB of "
            f"journal, {self.lines} lines of log"
        )


def garbage(_number: int) -> bytes:
    return FRAMING.frame(bytes(range(256)) * (FRAME_BYTES // 256))


def crumb(_number: int) -> bytes:
    return FRAMING.frame(b"9")


def forged(number: int) -> bytes:
    """A payment with everything right but its MAC."""
    covered = b"9200" + f"{number:016X}".encode()
    return FRAMING.frame(covered + b"0" * 16)


class Attack:
    """A weather of the simulation: one flood, on the lines of gateway a to these sites of the hub."""

    def __init__(self, frame: Any, sites: str = "a", within_s: float = WITHIN_S) -> None:
        self.frame = frame
        self.sites = sites
        self.within_s = within_s
        self.cost = Cost()

    async def __call__(self, it: world.World, _luck: object) -> None:
        """Send them all, on whatever connection stands, then wait until nothing more becomes of them."""
        watched, lines = it.oracle._disks["a"], it.oracle._lines
        records, said, began_s = len(watched.records), len(lines), trio.current_time()
        with ExitStack() as stack:
            for site in self.sites:
                it.oracle.tampered(f"a/{site}")
                stack.enter_context(it.trouble("link", f"a/{site}"))
            while (self.cost.sent < FRAMES or self.within_s > WITHIN_S) and (
                trio.current_time() - began_s < self.within_s
            ):
                data = self.frame(self.cost.sent)
                if not sum(self._sent(it, site, data) for site in self.sites):
                    await trio.sleep(0.001 if self.within_s == WITHIN_S else 0.01)
            self.cost.took_s = trio.current_time() - began_s
            await trio.sleep(8)
        new = [record for _, record in sorted(watched.records.items())][records:]
        rejected = [record for record in new if record.kind is Kind.REJECTED]
        self.cost.records = len(rejected)
        self.cost.journal_bytes = sum(len(record.body) for record in rejected)
        self.cost.lines = sum(node == "a" and b'"fpid"' not in line for _, node, line in lines[said:])
        sys.stdout.write(f"\n{self.frame.__name__}: {self.cost}\n")
        await trio.sleep_forever()

    def _sent(self, it: world.World, site: str, data: bytes) -> bool:
        """Whether the line to this site took it."""
        ends = it.route("a", f"hub-{site}").ends(it.network.place(f"hub-{site}"))
        open_ends = [end for end in ends if not end.gone and end.room_bytes >= len(data)]
        for end in open_ends[:1]:
            end.forge(data)
            self.cost.sent += 1
        return bool(open_ends)


def attacked(attack: Attack) -> Verdict:
    """What became of a calm world with this attack."""
    with patch.dict(faults.FAULTS, {"flood": attack}):
        outcome = world.simulate(canaries.settings(Scenario({"flood": 2.0}, {"lasts_s": attack.within_s + 30}), seed=3))
    assert not outcome.failure
    return outcome.verdict


def within_budget(cost: Cost, lines: int = 1) -> None:
    """No more was written than the budgets of so many lines allow."""
    from gateway.hub import budget

    allowed = config.Unproved()
    earned_s = cost.took_s + 8
    frames_max = allowed.frames_max + allowed.frames_per_s * earned_s + budget.UNJUDGED_FRAMES_MIN
    bytes_max = allowed.bytes_max + allowed.bytes_per_s * earned_s + budget.UNJUDGED_BYTES_MIN
    assert 0 < cost.records <= lines * frames_max
    assert cost.journal_bytes <= lines * bytes_max + cost.records * RECORD_BYTES


@pytest.mark.parametrize("frame", [garbage, crumb, forged], ids=lambda frame: frame.__name__)
def test_frames_that_prove_nothing_cost_no_more_than_their_budget(frame: Any) -> None:
    """Disk, log and replies; and payments by the other link go on, none of them stood in for."""
    attack = Attack(frame)
    verdict = attacked(attack)
    assert attack.cost.sent == FRAMES
    within_budget(attack.cost)
    assert attack.cost.lines < 30
    assert verdict.balances, [one for one in verdict.invariants if one.violations]
    assert not verdict.accounts["stood in"]


def test_a_flood_that_waits_for_each_connection_meets_longer_and_longer_pauses() -> None:
    """For two minutes, on every connection as soon as it stands."""
    attack = Attack(garbage, within_s=120.0)
    verdict = attacked(attack)
    within_budget(attack.cost)
    assert attack.cost.journal_bytes < 1_500_000
    assert attack.cost.lines < 60
    assert verdict.balances, [one for one in verdict.invariants if one.violations]


def test_a_flood_on_every_link_is_read_at_the_pace_of_the_budgets() -> None:
    """For two minutes: none is closed for it, because none would be left; what the hub sends comes in between."""
    attack = Attack(garbage, sites="ab", within_s=120.0)
    verdict = attacked(attack)
    within_budget(attack.cost, lines=2)
    assert verdict.balances, [one for one in verdict.invariants if one.violations]
