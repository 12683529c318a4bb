"""Signals to a gateway under load: real processes."""

import signal

import pytest

from gateway.running.signals import NOTHING
from tests.system.worlds import Worlds, change, end, load, log_of, until

pytestmark = pytest.mark.system


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGPIPE, *NOTHING], ids=lambda number: number.name)
async def test_a_signal_that_asks_for_no_end_costs_no_payment(worlds: Worlds, number: signal.Signals) -> None:
    """It goes on, and drains as ever when it is asked to."""
    async with worlds() as it:
        await load(it, 100, 1)
        assert it.gateway is not None
        for _ in range(3):
            it.gateway.process.send_signal(number)
        await it.settled()
        verdict = await end(it)
    assert verdict.sent


async def test_a_level_that_was_changed_is_taken_while_payments_come(worlds: Worlds) -> None:
    """SIGHUP: from the line that says so on, nothing below the new level is logged, its own drain included."""
    async with worlds() as it:
        assert it.gateway is not None
        change(it, r"(?m)^level = .*$", 'level = "error"')
        it.gateway.process.send_signal(signal.SIGHUP)

        async def taken() -> bool:
            return any(line["event"] == "configuration read again" for line in log_of(it))

        await until(taken)
        await load(it, 100, 0.5)
        await it.settled()
        await end(it)
        assert log_of(it)[-1]["event"] == "configuration read again"


async def test_a_drain_by_sigquit_finishes_what_is_in_flight(worlds: Worlds) -> None:
    """As by SIGTERM."""
    async with worlds() as it:
        await load(it, 100, 0.5)
        assert await it.the_gateway.end(signal.SIGQUIT) == 0
        assert any(line["event"] == "drained" and line["in_flight"] == 0 for line in log_of(it))
