"""The main job on real parts, and everything outside it taken away once: the ledger judges each run."""

import signal
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import trio

from gateway.disk import RealDisk
from gateway.journal.manifest import read_manifest
from gateway.journal.record import Record
from gateway.journal.segment import Walk
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.wire.codec import Codec
from gateway.wire.message import PaymentRequest
from loadtest.hub.keys import mac_of
from loadtest.parts.processes import order
from loadtest.runs.world import KEYS_FILE, World
from tests.system.worlds import FAST, Worlds, change, end, load, log_of, ready, until

pytestmark = pytest.mark.system
PATIENT = msgspec.structs.replace(FAST, stand_in_after_s=2.0)
"""Where nothing is to be stood in for: longer than a busy machine may pause."""


async def all_in_the_air(it: World) -> None:
    """Wait until payments flow."""

    async def flow() -> bool:
        return bool((await it.hub("statistics"))["counts"].get("sent", 0) > 20)

    await until(flow)


async def test_payments_are_answered_and_the_ledger_balances(worlds: Worlds) -> None:
    async with worlds(PATIENT) as it:
        await load(it, 200, 2)
        verdict = await end(it)
        assert verdict.sent > 200
        assert verdict.accounts["answered"] == verdict.sent
        replied = [line for line in log_of(it) if line["event"] == "payment replied"]
        assert len(replied) == verdict.sent, "one line for each payment"


async def test_while_the_processor_is_away_stand_in_answers_and_it_is_told_when_it_is_back(worlds: Worlds) -> None:
    """Nothing is rejected, and everything that was answered in its stead is told."""
    async with worlds() as it:
        await it.stop_processor()
        await load(it, 100, 2)
        await it.settled()
        statistics = await it.statistics()
        assert statistics["forwarder"]["backlog_at_least"] > 0
        assert (await ready(it))["ready"], "a processor that is away is no reason to turn payments away"
        await it.start_processor()
        verdict = await end(it)
        assert verdict.accounts["stood in"] == verdict.sent > 0


async def test_what_the_processor_refused_for_good_is_told_when_an_operator_says_so(worlds: Worlds) -> None:
    """It is parked, over a restart too, until the processor, mended, acknowledges it; then the books have it told."""
    async with worlds() as it:
        await it.processor_mode("status:422")
        await load(it, 20, 0.5)
        await it.settled()

        async def parked() -> list[int]:
            statistics = await it.statistics()
            return list(statistics["forwarder"]["parked_positions"]) if statistics else []

        async def all_parked() -> bool:
            statistics = await it.statistics()
            return bool(statistics) and statistics["forwarder"]["backlog_at_least"] == 0 < len(await parked())

        async def again(position: int) -> int:
            return await order(it.socket, "tell-again", {"position": position})

        await until(all_parked)
        positions = await parked()
        await it.kill_gateway()
        await it.start_gateway()
        assert await parked() == positions
        assert await again(positions[0]) == 409, "it is refused again"
        await it.processor_mode("fast")
        assert {await again(position) for position in positions} == {200}
        assert await again(positions[0]) == 409, "it is parked no more"
        assert await parked() == []
        assert "fps_notices_parked 0.0" in await it.metrics()
        verdict = await end(it)
        assert verdict.accounts["stood in"] == verdict.sent == len(positions)


@pytest.mark.parametrize(
    "mode",
    [
        "silent",
        "mix:fast=4,slow:0.6=2,malformed=1,huge=1,half=1,status:500=1,refusing:1114=2,garbled=1,qualified:0081=1",
    ],
    ids=["silent", "mixed"],
)
async def test_whatever_the_processor_does_every_payment_is_answered_once(worlds: Worlds, mode: str) -> None:
    """Silent, late, malformed, huge, cut short, failing, refusing anyhow: the deadline decides, late words count."""
    async with worlds() as it:
        await it.processor_mode(mode)
        await load(it, 100, 2)
        await it.settled()
        await it.processor_mode("fast")
        verdict = await end(it)
        accounts = verdict.accounts
        assert accounts["answered"] + accounts["stood in"] + accounts["refused"] == verdict.sent
        assert accounts["stood in"] > 0


async def test_a_killed_gateway_loses_nothing(worlds: Worlds) -> None:
    """SIGKILL under load; what was in the air is reversed or repeated, what was promised is remembered and told."""
    async with worlds() as it:
        await it.processor_mode("slow:0.2")
        await load(it, 200, 4)
        await all_in_the_air(it)
        await it.kill_gateway()
        await it.start_gateway()
        verdict = await end(it)
        assert verdict.accounts["orphaned"] + verdict.accounts["undelivered"] + verdict.accounts["reversed"] > 0


async def test_an_asynchronous_hub_gets_the_stored_outcome_of_what_it_repeats(worlds: Worlds) -> None:
    """No reversals: 9201 until there is an answer, also across a kill; each FPID has one outcome."""
    async with worlds(msgspec.structs.replace(FAST, synchronous=False, patience_s=1.5)) as it:
        await load(it, 200, 3)
        await all_in_the_air(it)
        await it.kill_gateway()
        await it.start_gateway()
        verdict = await end(it)
        assert verdict.accounts["reversed"] == 0


async def test_sigterm_drains_under_load_and_every_payment_in_flight_gets_its_reply(worlds: Worlds) -> None:
    """The processor answers them: stand-in's time is far from its own."""
    async with worlds(PATIENT) as it:
        await it.processor_mode("slow:0.2")
        await load(it, 100, 30)
        await all_in_the_air(it)
        assert it.gateway is not None
        assert await it.gateway.end() == 0
        await it.hub("stop")
        hub = await it.finish_hub()
        await it.stop_processor()
        verdict = await it.verdict()
        assert not hub["faults"]
        assert verdict.balances
        lost = ("undelivered", "reversed", "orphaned", "unreached")
        assert sum(verdict.accounts[account] for account in lost) == 0, verdict.accounts
        assert verdict.sent > 20


async def test_a_second_signal_ends_at_once_and_the_next_start_takes_everything_up(worlds: Worlds) -> None:
    async with worlds() as it:
        await it.processor_mode("silent")
        await load(it, 50, 1)
        await all_in_the_air(it)
        assert it.gateway is not None
        it.gateway.process.send_signal(signal.SIGTERM)
        await until(lambda: says(it, "signal: draining"))
        assert await it.gateway.end(signal.SIGTERM) == 130
        await it.processor_mode("fast")
        await it.start_gateway()
        await end(it)


async def says(it: World, event: str) -> bool:
    """Whether the log has such a line."""
    return event in {line["event"] for line in log_of(it)}


async def test_links_that_break_under_load_lose_no_payment(worlds: Worlds) -> None:
    """Hung up on, and a whole site gone: replies do not change connections, the other site carries on."""
    async with worlds() as it:
        await it.processor_mode("slow:0.1")
        await load(it, 200, 3)
        await all_in_the_air(it)
        await it.hub("drop", site="a")
        await until(lambda: says(it, "dialling again"))
        await it.hub("close", site="b")
        await all_in_the_air(it)
        await it.hub("open", site="b")
        await it.signed_on()
        await end(it)


async def test_every_kind_of_mischief_of_the_hub_gets_the_documented_answer(worlds: Worlds) -> None:
    """Garbage, wrong MAC, unknown MTI, missing and bad fields, duplicates, strays, over-limit and half frames.

    The hub judges the answer to each; payments beside them go on as if nothing were.
    """
    kinds = [
        "wrong-mac", "garbage", "unknown-mti", "missing-field", "bad-value", "duplicate", "stray-response",
        "stray-advice", "over-limit", "half-frame",
    ]  # fmt: skip
    async with worlds(gateway=False) as it:
        text = it.configuration.read_text()
        it.configuration.write_text("[pair.session]\nhalf_frame_s = 0.5\n" + text)
        await it.start_gateway()
        await load(it, 100, 20)
        await all_in_the_air(it)
        for kind in kinds:
            await misbehave(it, kind)
            await it.signed_on()
        counts = (await it.hub("statistics"))["counts"]
        assert counts["mischief answered"] == len(kinds), counts
        assert not counts.get("mischief missed"), counts
        await it.hub("stop")
        await end(it)


async def misbehave(it: World, kind: str) -> None:
    """Let the hub misbehave until it could be answered: once, but for connections that end just then."""
    for _ in range(5):
        before = (await it.hub("statistics"))["counts"]
        await it.hub("mischief", what=kind)

        async def over() -> bool:
            counts = (await it.hub("statistics"))["counts"]
            return any(counts.get(key, 0) > before.get(key, 0) for key in OVER)  # noqa: B023 - awaited in this round

        await until(over, 20)
        if (await it.hub("statistics"))["counts"].get("mischief void", 0) == before.get("mischief void", 0):
            return
    raise AssertionError(f"{kind} could not be tried")


OVER = ("mischief answered", "mischief missed", "mischief void")


async def test_a_token_worker_that_is_killed_costs_no_payment(worlds: Worlds) -> None:
    async with worlds(PATIENT) as it:
        await load(it, 200, 3)
        await all_in_the_air(it)
        it.kill_token_worker()
        verdict = await end(it)
        assert verdict.accounts["answered"] == verdict.sent


async def test_a_token_that_disappears_costs_no_payment(worlds: Worlds) -> None:
    """Its files are moved away under load, as when a token is pulled; the other one serves."""
    async with worlds() as it:
        await load(it, 200, 8)
        await all_in_the_air(it)
        tokens = it.directory / "hsm" / "tokens"
        first = min(tokens.iterdir())
        first.rename(it.directory / "pulled")
        await until(lambda: one_token_out(it))
        assert (await ready(it))["ready"]
        (it.directory / "pulled").rename(first)
        verdict = await end(it)
        assert verdict.accounts["answered"] + verdict.accounts["stood in"] == verdict.sent


async def one_token_out(it: World) -> bool:
    """Whether the gateway has noticed."""
    tokens = (await ready(it)).get("parts", {}).get("signer", {}).values()
    return [token["state"] for token in tokens].count("serving") == 1


async def test_the_log_the_metrics_and_the_statistics_hold_nothing_of_a_customer(worlds: Worlds) -> None:
    """No account, name, reference or amount that the hub sent stands anywhere but in the journal."""
    async with worlds() as it:
        await it.processor_mode("mix:fast=2,silent=1,refusing:1114=1")
        await load(it, 100, 2)
        await it.settled()
        metrics, statistics = await it.metrics(), str(await it.statistics())
        await it.processor_mode("fast")
        await end(it)
        secrets = await trio.to_thread.run_sync(secrets_of, it)
        assert len(secrets) > 100
        log = (it.directory / "gateway.log").read_text()
        for place, text in (("log", log), ("metrics", metrics), ("statistics", statistics)):
            assert not [secret for secret in secrets if secret in text], place


async def test_the_hsm_seals_the_chain_of_the_journal(worlds: Worlds) -> None:
    """Each seal is the right MAC, by the sealing key, over the chain value of the record that it names; one that ended
    in peace is sealed to its end.
    """
    async with worlds(gateway=False) as it:
        change(it, r"\[node\.journal\]", "[node.journal]\nseal_every_s = 0.2")
        await it.start_gateway()
        await load(it, 50, 2)
        await end(it)
        keys = msgspec.json.decode((it.directory / "hsm" / KEYS_FILE).read_bytes(), type=dict[str, Any])
        mac = mac_of("aes-cmac", bytes.fromhex(keys["fps-seal"]))
        chains, seals = dict[int, bytes](), list[steps.Seal]()
        for record in records_of(it):
            chains[record.position] = record.chain
            if record.kind is Kind.SEALED:
                seal = steps.unpack(record.kind, record.body)
                assert isinstance(seal, steps.Seal)
                seals.append(seal)
        assert len(seals) >= 3
        assert [(seal.chain, seal.mac.hex().upper().encode()) for seal in seals] == [
            (chains[seal.position], mac(chains[seal.position])) for seal in seals
        ]
        assert seals[-1].position == max(chains) - len((Kind.SEALED, Kind.STOPPED))


def records_of(it: World) -> Iterator[Record]:
    """The journal, verified, record by record."""
    directory = RealDisk().directory(str(it.journal))
    manifest = read_manifest(directory)
    assert manifest is not None
    for batch in Walk(directory, manifest):
        yield from batch


def secrets_of(it: World) -> set[str]:
    """What the journal's payments hold that nothing else may."""
    codec, secrets = Codec(), set[str]()
    for record in records_of(it):
        if record.kind is Kind.RECEIVED:
            payment = codec.decode(record.body)
            assert isinstance(payment, PaymentRequest)
            secrets |= {
                record.fpid, payment.trn, payment.amount, payment.debtor_account, payment.creditor_account,
                payment.debtor_name, payment.creditor_name, payment.reference, payment.mac,
            }  # fmt: skip
    return {secret.strip() for secret in secrets if len(secret.strip()) >= 6}
