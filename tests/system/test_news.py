"""The scheme's news among real processes: over the hub's `usm` group to one gateway, and from it to the others."""

from typing import Any

import msgspec
import pytest

from loadtest.parts.processes import order
from loadtest.runs.world import World, http
from tests.system.worlds import FAST, Worlds, end, log_of, until

pytestmark = pytest.mark.system
PLAN = msgspec.structs.replace(FAST, groups=("sip", "usm"))
SERVICE = "971"


async def heard(it: World, gateway: int, service: str) -> bool:
    """Whether this gateway says so of the service."""
    statistics: dict[str, Any] = await it.gateways[gateway].statistics()
    return bool(statistics) and statistics["engine"]["news"]["service"] == service


async def test_news_reaches_every_process_also_one_that_was_away(worlds: Worlds) -> None:
    """It is acknowledged once, handed on, survives a kill; what was said meanwhile comes when the process is back."""
    async with worlds(PLAN) as it:
        await it.hub("usm", function=SERVICE, fields={"40": "01"})
        await until(lambda: heard(it, 0, "suspended"))
        assert await heard(it, 1, "suspended")

        await it.kill_gateway()
        await it.the_gateway.start()
        await until(lambda: heard(it, 0, "suspended"))
        await it.kill_gateway()
        await it.hub("usm", function=SERVICE, fields={"40": "00"})
        await until(lambda: heard(it, 1, "available"))
        await it.start_gateway()
        await until(lambda: heard(it, 0, "available"))

        peers = (await it.gateways[1].statistics())["peers"]
        assert [peer["told"] for peer in peers.values()] == [2]
        await it.hub("usm", function=SERVICE, fields={"40": "01"})
        await until(lambda: heard(it, 0, "suspended"))
        status, said_ready = await http(it.ops_port, "GET", "/ready")
        scheme = msgspec.json.decode(said_ready)["parts"]["scheme"]
        assert (status, scheme) == (200, "service suspended")
        assert await order(it.socket, "lift", {"what": "service"}) == 200
        assert await order(it.socket, "lift", {"what": "service"}) == 409
        assert await heard(it, 0, "lifted")
        assert await heard(it, 1, "suspended"), "each process is lifted on its own"
        await it.kill_gateway()
        await it.start_gateway()
        await until(lambda: heard(it, 0, "lifted"))
        await end(it, may={"nothing was paid"})
        said = [(line["state"], line["source"]) for line in log_of(it) if line["event"] == "the scheme has news"]
        assert [state for state, _ in said] == ["suspended", "available", "suspended"]
        assert all(source.startswith(f"{it.gateways[1].name}/") for _, source in said)
