"""Payments that leave, on real parts: two banks whose payments cross two gateways, every trouble on the way, key
changes under load, and every group of payments. The ledger judges each run.
"""

import signal
from typing import Any

import msgspec
import pytest

from loadtest.world import World, http
from tests.system.worlds import FAST, Worlds, change, end, load, log_of, until

pytestmark = pytest.mark.system

OUT = msgspec.structs.replace(FAST, outbound=True, answer_within_s=1.0)
"""One bank that submits; the other one is played by the hub."""
BOTH = msgspec.structs.replace(OUT, banks=2)
"""Two banks, a gateway each."""


async def submitted(it: World, count: int) -> None:
    """Wait until so many have an outcome."""

    async def so_many() -> bool:
        return bool((await it.submitted())["counts"].get("settled", 0) >= count)

    await until(so_many)


def in_journal(it: World) -> dict[str, int]:
    """How often each kind of note stands in the first gateway's log."""
    counts: dict[str, int] = {}
    for line in log_of(it):
        counts[line["event"]] = counts.get(line["event"], 0) + 1
    return counts


async def test_a_payment_crosses_two_gateways(worlds: Worlds) -> None:
    """Both ways at once: what one bank submits the other one decides, and both hear of it."""
    async with worlds(BOTH) as it:
        await it.submit(100, 2, bank=it.banks[0], wait_s=5.0)
        await it.submit(100, 2, bank=it.banks[1])
        verdict = await end(it)
        assert verdict.outbound["accepted"] == verdict.submitted > 200
        assert verdict.accounts["answered"] == verdict.sent == verdict.submitted


async def test_refusals_and_qualified_accepts_of_the_receiver_are_told(worlds: Worlds) -> None:
    async with worlds(BOTH) as it:
        await it.banks[1].processor_mode("mix:fast=1,refusing:1114=1,qualified:0081=1")
        await it.submit(100, 2)
        verdict = await end(it)
        assert min(verdict.outbound[name] for name in ("accepted", "qualified", "refused")) > 0


@pytest.mark.parametrize("what", ["swallow", "late", "twice", "drop", "lose", "9909", "9909-after", "690", "650"])
async def test_whatever_becomes_of_an_answer_a_payment_is_made_once(worlds: Worlds, what: str) -> None:
    """Lost, late, doubled, of no use, or the link goes: repeats find out, and none is made twice."""
    async with worlds(OUT) as it:
        more = {"after_s": 1.2} if what == "late" else {}
        await it.hub("inject", what=what, count=8, every=7, **more)
        await it.submit(100, 2)
        verdict = await end(it)
        assert verdict.outbound["accepted"] == verdict.submitted > 100


async def test_when_nobody_answers_at_all_it_is_unknown_and_submitted_again(worlds: Worlds) -> None:
    """Never failed: the processor hears UNKNOWN, submits it again under the same key, and hears the outcome."""
    async with worlds(OUT) as it:
        change(it, r"answer_within_s = .*", "answer_within_s = 0.3\nrepeats_max = 1")
        assert await it.the_gateway.end() == 0
        await it.start_gateway()
        await it.hub("inject", what="swallow", count=100)
        await it.submit(20, 1)

        async def unknown() -> bool:
            counts = (await it.statistics())["engine"]["counts"]
            return bool(counts.get("outbound_unknown", 0) >= 5)

        await until(unknown)
        await it.hub("inject", what="none")
        verdict = await end(it)
        assert verdict.outbound["accepted"] > 0
        assert verdict.outbound["lost"] == 0


async def test_without_a_link_nothing_is_taken(worlds: Worlds) -> None:
    """503 at once, nothing recorded; when a link is back the same keys are taken."""
    async with worlds(OUT) as it:
        for site in ("a", "b"):
            await it.hub("close", site=site)

        async def alone() -> bool:
            links = (await it.statistics())["links"]
            return all(site["link"] is None for site in links)

        await until(alone)
        await it.submit(50, 1)

        async def refused() -> bool:
            return bool((await it.submitted())["counts"].get("status 503", 0) > 10)

        await until(refused)
        counts = (await it.statistics())["engine"]["counts"]
        assert counts.get("outbound_submitted", 0) == 0
        for site in ("a", "b"):
            await it.hub("open", site=site)
        verdict = await end(it)
        assert verdict.outbound["accepted"] > 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "drained"])
async def test_a_gateway_that_goes_under_load_loses_and_doubles_no_payment(
    worlds: Worlds, number: signal.Signals
) -> None:
    async with worlds(OUT) as it:
        await it.submit(200, 3)
        await submitted(it, 50)
        await it.the_gateway.end(number)
        await it.start_gateway()
        verdict = await end(it)
        assert verdict.outbound["accepted"] > 100
        assert verdict.outbound["lost"] == 0


async def test_links_that_break_under_load_lose_and_double_no_payment(worlds: Worlds) -> None:
    async with worlds(BOTH) as it:
        await it.submit(100, 3)
        await it.submit(100, 3, bank=it.banks[1])
        for count, site in ((30, "a"), (80, "b"), (130, "a")):
            await submitted(it, count)
            await it.hub("drop", site=site)
        verdict = await end(it)
        assert verdict.outbound["lost"] == 0


async def test_keys_change_under_load_and_no_payment_is_refused_for_it(worlds: Worlds) -> None:
    """Both keys, twice each, in both directions of payments; then a restart, which uses the latest."""
    async with worlds(OUT) as it:
        await it.submit(150, 5)
        await load(it, 150, 5)
        for number in (1, 2):
            for use in ("own", "hub"):
                await it.hub("key", use=use)

                async def in_force(use: str = use, number: int = number) -> bool:
                    counts = (await it.hub("statistics"))["counts"]
                    return bool(counts.get(f"key {use} in force", 0) == number)

                await until(in_force)
        await it.settled()
        assert "wrong_mac" not in (await it.statistics())["engine"]["counts"]
        assert await it.the_gateway.end() == 0
        await it.start_gateway()
        await it.submit(100, 1, seed=2)
        await load(it, 100, 1)
        verdict = await end(it)
        assert verdict.outbound["accepted"] > 500
        assert verdict.accounts["answered"] == verdict.sent > 500


@pytest.mark.parametrize("spoil", ["check", "wrapping"])
async def test_a_key_that_cannot_be_right_is_refused_and_nothing_changes(worlds: Worlds, spoil: str) -> None:
    async with worlds(OUT) as it:
        await it.submit(100, 2)
        await it.hub("key", use="own", spoil=spoil)

        async def refused() -> bool:
            return bool((await it.statistics())["engine"]["counts"].get("key_refused", 0))

        await until(refused)
        verdict = await end(it)
        assert verdict.outbound["accepted"] > 100


async def test_a_token_that_was_away_gets_the_new_key_before_it_serves(worlds: Worlds) -> None:
    async with worlds(OUT) as it:
        await it.hub("key", use="own")
        it.kill_token_worker()
        await it.submit(100, 2)
        verdict = await end(it)
        assert verdict.outbound["accepted"] > 100


async def test_an_operator_asks_for_a_key(worlds: Worlds) -> None:
    """885 from us, and the hub changes the key."""
    async with worlds(OUT) as it:
        status, _ = await http(it.ops_port, "POST", "/keys/request", b'{"use": "own"}')
        assert status == 202

        async def in_force() -> bool:
            keys = (await it.statistics())["engine"]["keys"]
            return bool(keys["own"]["in_use"] != "fps-own")

        await until(in_force)
        await it.submit(50, 1)
        await end(it)


# --- every group


@pytest.mark.parametrize(("group", "kind"), [("sop", "30"), ("fdp", "40"), ("other", "50")])
async def test_asynchronous_payments_go_both_ways(worlds: Worlds, group: str, kind: str) -> None:
    """Standing orders, forward dated and bulk: a connection of their own; repeats are answered from the outcome."""
    plan = msgspec.structs.replace(BOTH, groups=(group,), synchronous=False)
    async with worlds(plan) as it:
        await it.submit(100, 2, group=group, type=kind)
        await it.hub("start", rate=50, duration=2, type=kind)
        await it.hub("inject", what="swallow", count=5, every=9)
        verdict = await end(it)
        assert verdict.outbound["accepted"] > 100
        assert verdict.outbound["lost"] == 0


async def test_what_came_is_returned(worlds: Worlds) -> None:
    """A return (type 20, fields 126 and 127) leaves by the process of its group, and arrives at the first sender."""
    plan = msgspec.structs.replace(BOTH, groups=("sip", "other"))
    async with worlds(plan) as it:
        await it.submit(50, 1)
        await submitted(it, 20)
        await it.settled()
        await it.banks[1].submissions(do="return", count=10, group="other")
        verdict = await end(it)
        returned = [
            statistics["engine"]["counts"].get("received", 0)
            for gateway in it.gateways
            if gateway.group == "other"
            for statistics in [await gateway.statistics()]
            if statistics
        ]
        assert verdict.outbound["accepted"] >= 30
        assert verdict.outbound["lost"] == 0
        assert returned == [] or sum(returned) >= 10


async def test_a_scheme_return_is_accepted_whatever_the_processor_says(worlds: Worlds) -> None:
    """An asynchronous payment that was accepted at once and refused later comes back, and must be taken."""
    plan = msgspec.structs.replace(BOTH, groups=("sop", "other"), synchronous=False, asynchronous_answer="at-once")
    async with worlds(plan) as it:
        for bank in it.banks:
            await bank.processor_mode("refusing:1114")
        await it.submit(30, 1, group="sop", type="30")
        await it.settled()

        async def came_back() -> bool:
            counts: dict[str, Any] = (await it.banks[0].gateways[1].statistics())["engine"]["counts"]
            return bool(counts.get("overruled", 0) >= 10)

        await until(came_back)
        await end(it)


# --- stand-in


async def test_stand_in_is_switched_while_payments_come(worlds: Worlds) -> None:
    """Maintenance: `always` answers without the processor, `never` only by it; both hold over a restart."""
    async with worlds(FAST) as it:
        await it.stop_processor()
        assert (await http(it.ops_port, "POST", "/stand-in", b'{"mode": "always"}'))[0] == 200
        await load(it, 100, 1)
        hub = await it.settled()
        assert set(hub["codes"]) == {"0083"}
        assert (await http(it.ops_port, "POST", "/stand-in", b'{"mode": "never"}'))[0] == 200
        assert await it.the_gateway.end() == 0
        await it.start_gateway()
        assert (await it.statistics())["engine"]["stand_in"]["mode"] == "never"
        await it.hub("start", rate=20, duration=1, model="poisson", seed=2)
        hub = await it.settled()
        assert hub["codes"].get("1909", 0) > 0
        assert (await http(it.ops_port, "POST", "/stand-in", b'{"mode": "perhaps"}'))[0] == 400
