"""A world of real processes for each test: SoftHSM, sockets, disk, hub, processor, gateway; the ledger judges it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from loadtest.runs.world import Plan, World, world
from tests.system.worlds import FAST, WITHIN_S, Worlds


@pytest.fixture
def worlds(tmp_path: Path) -> Worlds:
    """Makes a world in the test's own directory, and takes it away again."""

    @asynccontextmanager
    async def make(plan: Plan = FAST, *, gateway: bool = True) -> AsyncIterator[World]:
        with trio.fail_after(WITHIN_S * 2):
            async with world(plan, tmp_path / "world", keep=True) as it:
                await it.start(gateway=gateway)
                yield it

    return make
