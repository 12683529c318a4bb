"""The short version of `make pages`: faults side by side in one world, a real Prometheus, and each page in time."""

from pathlib import Path

import pytest

from tests.paging import prometheus
from tests.paging.__main__ import PAGE_WITHIN_S
from tests.paging.faults import FAULTS, fires
from tests.system.worlds import FAST, Worlds, end, load, ready

pytestmark = [pytest.mark.system, pytest.mark.skipif(not prometheus.installed(), reason="package prometheus")]
TOGETHER = ("one link down", "away, stand-in never")


async def test_a_link_and_the_processor_go_and_each_page_fires_in_time(worlds: Worlds, tmp_path: Path) -> None:
    """From the faults until Prometheus says that the alerts fire; `/ready` says meanwhile which parts it is about."""
    alerts = tuple(alert for name in TOGETHER for alert in FAULTS[name].alerts)
    async with worlds(FAST) as it:
        await load(it, 10, 100)
        async with prometheus.prometheus(tmp_path / "prometheus", it.ops_port) as watching:
            await watching.until("count_over_time(up[5m]) >= 2")
            assert not await watching.firing()
            for name in TOGETHER:
                await FAULTS[name].cause(it)
            took_s = await fires(watching.firing, alerts, PAGE_WITHIN_S)
            assert all(seconds < PAGE_WITHIN_S for seconds in took_s.values()), took_s
            said = await ready(it)
            assert said["ready"], "one link carries payments, and they get their answer"
            assert said["parts"]["links"].startswith("no link to a ("), said["parts"]["links"]
            assert said["parts"]["processor"] != "ok"
            assert said["parts"]["stand_in"].startswith("never, by an operator"), said["parts"]["stand_in"]
            not_well = 'fps_part_well{part=~"links|processor|stand_in"} == 0'
            assert len(await watching.query(not_well)) == 3, "and so does the metric"
        await it.hub("stop")
        for name in TOGETHER:
            await FAULTS[name].mend(it)
        await end(it)
