"""The pair on real parts: two sites, each with a link to both sites of the hub, and whatever of it is taken away."""

import os
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from loadtest.banks import Gateway
from loadtest.processes import PYTHON, http, json_of, python_path
from tests.system.worlds import FAST, Worlds, load, log_of, noted, until

pytestmark = pytest.mark.system

PAIR = replace(FAST, outbound=True, answer_within_s=2.0, data_centres=2)


async def parts(gateway: Gateway) -> dict[str, Any]:
    """The parts of its `/ready`; empty while it is not ready."""
    said: dict[str, Any] = (await json_of(gateway.ops_port, "/ready")).get("parts", {})
    return said


async def test_sites_that_do_not_share_what_a_pair_must_share_say_so_and_serve(worlds: Worlds) -> None:
    """An alarm at both, in `/ready`, metrics and log; both are ready all the same. Put right, it is over."""
    async with worlds(PAIR) as it:
        one, other = it.gateways

        async def say(which: str) -> bool:
            return all([(await parts(gateway)).get("sibling", "").startswith(which) for gateway in it.gateways])

        await until(lambda: say("ok"))
        right = other.configuration.read_text(encoding="utf-8")
        other.configuration.write_text(right.replace("[pair.submit]", "[pair.submit]\npause_s = 0.4"), encoding="utf-8")
        assert await other.end() == 0
        await other.start()
        name = {one.name: other.name, other.name: one.name}

        async def differ() -> bool:
            said = [(await parts(gateway)).get("sibling", "") for gateway in it.gateways]
            return all(
                f"{name[one.name]} has the fingerprint" in text for one, text in zip(it.gateways, said, strict=True)
            )

        await until(differ)
        for gateway in it.gateways:
            _, metrics = await http(gateway.ops_port, "GET", "/metrics")
            assert b"fps_sibling_differs 1.0" in metrics
            assert b'fps_pair_info{fingerprint="' in metrics
        assert await other.end() == 0
        other.configuration.write_text(right, encoding="utf-8")
        await other.start()
        await until(lambda: say("ok"))
        alarms = [line for line in log_of(it) if line["event"] == "the sites do not share what a pair must share"]
        assert [line["level"] for line in alarms] == ["error"]
        assert await it.stop_gateway() == 0


async def drained(gateway: Gateway, *arguments: str) -> tuple[int, str]:
    """What `fps-gateway drain` ends with, and says."""
    command = [PYTHON, "-m", "gateway", "drain", "--config", str(gateway.configuration), *arguments]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    ended = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, env=environment)
    return ended.returncode, (ended.stdout + ended.stderr).decode()


async def test_the_command_drains_under_load_and_every_payment_in_flight_gets_its_reply(worlds: Worlds) -> None:
    """It returns 0 when that is done and the process is gone; a second one joins in waiting; then nobody is there."""
    async with worlds(replace(FAST, stand_in_after_s=2.0)) as it:
        await it.processor_mode("slow:0.5")
        await load(it, 100, 30)
        await until(lambda: noted(it, "sent", 50))
        said: list[tuple[int, str]] = []

        async def drain() -> None:
            said.append(await drained(it.the_gateway))

        async with trio.open_nursery() as both:
            both.start_soon(drain)
            both.start_soon(drain)
        assert it.gateway is not None
        assert await it.gateway.process.wait() == 0
        assert [code for code, _ in said] == [0, 0]
        assert all("sip-a drained after" in text and "everything in flight was finished" in text for _, text in said)
        code, text = await drained(it.the_gateway)
        assert (code, "nobody to drain" in text) == (69, True)
        await it.hub("stop")
        hub = await it.finish_hub()
        await it.stop_processor()
        verdict = await it.verdict()
        assert not hub["faults"]
        assert verdict.balances
        lost = ("undelivered", "reversed", "orphaned", "unreached")
        assert sum(verdict.accounts[account] for account in lost) == 0, verdict.accounts
        assert verdict.sent > 50
