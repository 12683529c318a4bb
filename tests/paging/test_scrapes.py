"""A real Prometheus reads our ops server for longer than a connection may live."""

from pathlib import Path

import pytest
import trio

from gateway import config, metrics
from gateway.ops import server
from tests.fakes.ops import NOBODY
from tests.paging import prometheus

pytestmark = [pytest.mark.system, pytest.mark.skipif(not prometheus.installed(), reason="package prometheus")]
SCRAPES = 8
"""At Prometheus's own interval, five seconds: three or more connections, each as long as the limit below."""
WITHIN_S = 90.0


async def test_no_scrape_fails_when_a_connection_has_lived_for_as_long_as_it_may(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a connection falls on a scrape, as 60 s do, which are twelve intervals: `up` is never 0."""
    monkeypatch.setattr(server, "CONNECTION_S_MAX", 10.0)
    monkeypatch.setattr(server, "IDLE_S_MAX", 6.0)
    scraped = 0
    rendered = metrics.exposition

    def count(*, openmetrics: bool) -> tuple[bytes, str]:
        nonlocal scraped
        scraped += 1
        return rendered(openmetrics=openmetrics)

    monkeypatch.setattr(metrics, "exposition", count)
    port: int = await nursery.start(server.Server(config.Ops(port=0), NOBODY, ready=lambda: (True, {})).serve)
    with trio.fail_after(WITHIN_S):
        async with prometheus.prometheus(tmp_path / "prometheus", port) as it:
            await it.until(f"count_over_time(up[5m]) >= {SCRAPES}")
            for expression in ("min_over_time(up[5m])", "min_over_time(scrape_samples_scraped[5m]) > bool 100"):
                assert [value for _, value in await it.query(expression)] == [1.0], expression
    assert scraped >= SCRAPES, "it was our server that was read"
    nursery.cancel_scope.cancel()


def test_a_scraper_is_not_closed_on_between_two_scrapes() -> None:
    """The interval of the configuration that we give, twice, is less than what a connection may be idle."""
    text = (prometheus.HERE / "prometheus.yaml").read_text(encoding="utf-8")
    [interval_s] = [float(line.split()[1].rstrip("s")) for line in text.splitlines() if "scrape_interval:" in line]
    assert 2 * interval_s <= server.IDLE_S_MAX
