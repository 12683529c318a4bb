"""Takes from a follower and writes for it, for the tests of what followers see and of what is kept for them."""

from typing import Any

import msgspec

from gateway.journal.writer import DAY_NS, Journal
from gateway.payments.steps import Kind
from tests.fakes.journal import SETTINGS, WALL_NS, durable

ALL = frozenset(Kind)

ODD = frozenset({Kind.STOOD_IN, Kind.TOLD})

replace = msgspec.structs.replace

SHORT = replace(SETTINGS, retention_days=1.0)

LATER_NS = WALL_NS + 2 * DAY_NS

WITHIN_S = 60.0


async def take(follower: Any, count: int, max_records: int = 7) -> list[int]:
    """Positions of the next records; exactly so many come."""
    got: list[int] = []
    while len(got) < count:
        got += [record.position for record in await follower.batch(max_records)]
    assert len(got) == count
    return got


async def write(journal: Journal, kinds: list[Kind], size: int = 10) -> None:
    """One batch of records of these kinds."""
    for kind in kinds:
        journal.append(kind, b"x" * size, fpid="F" * 42, wall_ns=WALL_NS)
    await durable(journal)
