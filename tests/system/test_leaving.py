"""Payments that leave, over real processes: whatever goes away, each has one outcome, and the ledger balances."""

import signal

import pytest
import trio
from msgspec.structs import replace

from tests.system.worlds import FAST, Worlds, end, until

pytestmark = pytest.mark.system

PLAN = replace(FAST, outbound=True, tokens=1, answer_within_s=5.0)
RATE, SECONDS = 60, 4


async def test_a_killed_gateway_forgets_no_payment_that_was_taken(worlds: Worlds) -> None:
    """What was acknowledged before the kill is settled after it, and carried out once."""
    async with worlds(PLAN) as it:
        # half a second at the receiver: payments are in the air when the gateway dies
        await it.hub("bank", rule="slow=0.5")
        await it.submit(RATE, SECONDS)
        await trio.sleep(SECONDS / 2)
        await it.kill_gateway()
        await it.start_gateway()
        verdict = await end(it)
    assert verdict.outbound["accepted"] == verdict.submitted
    assert verdict.figures["outbound repeats"] > 0, "some were in the air"


async def test_links_that_break_cost_no_payment(worlds: Worlds) -> None:
    """A request that may have left goes again over another link, as a repeat."""
    async with worlds(PLAN) as it:
        await it.hub("bank", rule="slow=0.3")
        await it.submit(RATE, SECONDS)
        for site in ("a", "b", "a"):
            await trio.sleep(1)
            await it.hub("drop", site=site)
        verdict = await end(it)
    assert verdict.outbound["accepted"] == verdict.submitted
    assert verdict.figures["outbound repeats"] > 0


async def test_whatever_the_hub_does_wrong_a_payment_has_one_outcome(worlds: Worlds) -> None:
    """Swallowed, late, doubled, lost with the connection, malfunctions, requests that it says it cannot read."""
    async with worlds(PLAN) as it:
        await it.submit(RATE, 2 * SECONDS, wait_s=2)
        for what in ("swallow", "late", "twice", "drop", "lose", "9909", "9909-after", "650", "690"):
            await it.hub("inject", what=what, count=3, every=2)
            await trio.sleep(SECONDS / 5)
        verdict = await end(it)
    assert verdict.outbound["accepted"] == verdict.submitted
    assert verdict.figures["answers injected"] > 0
    assert verdict.figures["steps INCONCLUSIVE"] > 0


async def test_a_receiver_that_says_nothing_is_the_hubs_to_speak_for(worlds: Worlds) -> None:
    """9911 is an outcome: the payment is refused, and nothing is unknown."""
    async with worlds(replace(PLAN, patience_s=2.0)) as it:
        await it.hub("bank", rule="accept*3,silent,1114")
        await it.submit(RATE, 1)
        verdict = await end(it)
    assert verdict.outbound["refused"] > 0
    assert verdict.outbound["accepted"] > 0
    assert verdict.outbound["refused"] + verdict.outbound["accepted"] == verdict.submitted


async def test_two_banks_pay_each_other_and_both_ends_agree(worlds: Worlds) -> None:
    """Through two gateways; where the receiving bank's processor fails, its gateway stands in and the sender hears
    the qualified accept.
    """
    async with worlds(replace(PLAN, banks=2)) as it:
        for bank in it.banks:
            await it.submit(RATE, SECONDS, bank=bank)
        await trio.sleep(1)
        await it.processor_mode("status:503")
        await trio.sleep(1)
        await it.processor_mode("fast")
        verdict = await end(it)
    assert verdict.outbound["accepted"] == verdict.accounts["answered"] > 0
    assert verdict.outbound["qualified"] == verdict.accounts["stood in"] > 0
    agreed = next(invariant for invariant in verdict.invariants if invariant.name == "both-ends-agree")
    assert agreed.checked == verdict.submitted == verdict.sent


async def test_the_other_data_centre_takes_what_this_one_cannot(worlds: Worlds) -> None:
    """One of two gateways is killed: the processor submits to the other, under the same keys; nothing is paid twice."""
    async with worlds(replace(PLAN, data_centres=2)) as it:
        await it.submit(RATE, SECONDS)
        await trio.sleep(1)
        await it.the_gateway.end(signal.SIGKILL)
        await trio.sleep(2)
        await it.start_gateway()
        verdict = await end(it)
    assert verdict.outbound["accepted"] == verdict.submitted
    assert verdict.figures["submitted again"] > 0


async def test_payments_that_came_are_returned(worlds: Worlds) -> None:
    """Type 20 leaves by the gateway of group `other`, and comes to the other bank as a payment that must be taken."""
    async with worlds(replace(PLAN, banks=2, groups=("sip", "other"))) as it:
        await it.submit(RATE, 1)
        await it.settled()
        await it.banks[1].submissions(do="return", count=5)
        verdict = await end(it)
    assert verdict.outbound["accepted"] == verdict.submitted
    assert verdict.sent == verdict.submitted


async def test_what_the_schemes_news_forbids_is_declined_here(worlds: Worlds) -> None:
    """News comes by the `usm` group's gateway, and the one of the payments' group acts on it."""
    async with worlds(replace(PLAN, groups=("sip", "usm"))) as it:
        await it.submit(20, SECONDS)
        await trio.sleep(1)
        await it.hub("usm", function="972", fields={"67": "01", "100": "400001"})

        async def declined() -> bool:
            return any(code.startswith("994") for code in (await it.submitted())["codes"])

        await until(declined)
        verdict = await end(it)
    assert verdict.outbound["accepted"] > 0
    assert verdict.outbound["declined here"] > 0
