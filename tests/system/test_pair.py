"""The pair on real parts: two sites, each with a link to both sites of the hub, and whatever of it is taken away."""

from typing import Any

import pytest
from msgspec.structs import replace

from loadtest.banks import Gateway
from loadtest.processes import http, json_of
from tests.system.worlds import FAST, Worlds, log_of, until

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
