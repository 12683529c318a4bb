"""A line for each test of the simulated network."""

import pytest

from tests.simulation.lines import Lines


@pytest.fixture
async def lines() -> Lines:
    """Just these."""
    made = Lines()
    await made.open()
    return made
