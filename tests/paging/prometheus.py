"""A real Prometheus with the configuration and the rules of `compose/prometheus`, on loopback, for one gateway."""

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import trio

from loadtest.parts.processes import Child, free_port, http

HERE = Path(__file__).parents[2] / "compose" / "prometheus"
GROUP = "sip"
READY_WITHIN_S = 30.0
END_WITHIN_S = 10.0
LOOK_S = 0.1
"""How often it is asked."""
Sample = tuple[dict[str, str], float]


def installed() -> bool:
    """Whether there is one on this machine."""
    return shutil.which("prometheus") is not None


class Prometheus:
    """It, while it runs."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def query(self, expression: str) -> list[Sample]:
        """What an expression says now: labels and value of each series."""
        data = await self._get("query", query=expression)
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    async def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        data = await self._get("alerts")
        return {alert["labels"]["alertname"] for alert in data["alerts"] if alert["state"] == "firing"}

    async def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        status, body = await http(self._port, "GET", f"/api/v1/{what}?{urlencode(parameters)}")
        assert status == 200, body
        data: dict[str, Any] = msgspec.json.decode(body)["data"]
        return data

    async def until(self, expression: str) -> None:
        """Wait until this has a result. The caller limits the time."""
        while not await self.query(expression):  # noqa: ASYNC110 - another process cannot set our events
            await trio.sleep(LOOK_S)

    async def ready(self) -> bool:
        """Whether it has read what it must."""
        try:
            status, _ = await http(self._port, "GET", "/-/ready")
        except OSError:
            return False
        return status == 200


def configuration(port: int) -> str:
    """The project's own, but for who is watched."""
    text = (HERE / "prometheus.yaml").read_text(encoding="utf-8")
    watched = f'- targets: ["127.0.0.1:{port}"]\n        labels: {{group: "{GROUP}"}}'
    text, count = re.subn(r"- targets: \[.*\]", watched, text)
    assert count == 1
    # this gateway is on loopback, where everybody may look
    text, count = re.subn(r"(?m)^ +(# ops ports.*|scheme: https|tls_config:|\w+_file: .*)\n", "", text)
    assert count == 6
    return text


@asynccontextmanager
async def prometheus(directory: Path, ops_port: int) -> AsyncIterator[Prometheus]:
    """Start one that watches this port; end it. The caller has looked whether it is `installed`."""
    port = free_port()
    directory.mkdir(exist_ok=True)
    (directory / "prometheus.yaml").write_text(configuration(ops_port), encoding="utf-8")
    shutil.copy(HERE / "alerts.yaml", directory)
    command = [
        "env", "SITE=a", shutil.which("prometheus") or "prometheus", f"--config.file={directory}/prometheus.yaml",
        f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=expand-external-labels", "--log.level=warn",
    ]  # fmt: skip
    child = await Child.start("prometheus", command, directory)
    it = Prometheus(port)
    try:
        with trio.fail_after(READY_WITHIN_S):
            while not await it.ready():
                assert child.running, child.output
                await trio.sleep(LOOK_S)
        yield it
    finally:
        await child.end(within_s=END_WITHIN_S)
