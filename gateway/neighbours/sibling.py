"""The gateway of our group at the other site: does it share what a pair must share?

We look at its `/ready` now and then. Another fingerprint, another group, or our own name there is an error line and an
alert (SitesDiffer): people must look. It never decides anything: sites share nothing and vote on nothing. A sibling
that is away calls nobody at once (SiblingAway waits), since the other site may well be dead while this one goes on.
"""

import random
from collections.abc import Callable
from typing import Annotated, NamedTuple

import msgspec
import trio
from msgspec import Meta, Struct

from gateway import config, log, metrics
from gateway.errors import Unavailable
from gateway.http.hosts import Hosts, Keys
from gateway.network.names import MACHINE, Network
from gateway.processor.calls import Calls
from gateway.strict_json import Reader

PATH = b"/ready"
"""Below the base URL of its ops server."""
LOOK_WITHIN_S = 5.0
"""The sibling must respond within this time."""

_log = log.get("sibling")


class Identity(NamedTuple):
    """Which gateway it is: a part of `/ready`."""

    node: str
    group: str
    fingerprint: str
    version: str


class _Parts(Struct):
    # bounded, because it is logged
    node: config.Name
    group: config.Group
    fingerprint: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    version: Annotated[str, Meta(pattern=r"^[0-9A-Za-z.+-]{1,40}\Z")]


class _Ready(Struct):
    parts: _Parts


_ready = Reader(_Ready)


class Sibling:
    """The sibling as last seen. `run` looks at it."""

    def __init__(
        self,
        settings: config.Sibling,
        own: Identity,
        *,
        network: Network = MACHINE,
        luck: Callable[[], float] = random.random,
    ) -> None:
        """`network` and `luck` are what a simulation replaces. Raises `ConfigurationError`."""
        self._own = own
        self._every_s = settings.look_every_s
        server = config.Processor(settings.url, settings.tls, tell_within_s=LOOK_WITHIN_S)
        keys = Keys("node.sibling.url", "node.sibling.tls", "sibling")
        self._calls = Calls(server, Hosts(server, network, luck, keys))
        self._away = "not looked at yet"
        self._difference = ""
        """Kept while the sibling is away: as far as we know, nothing has been put right."""

    async def run(self) -> None:
        """Look for ever."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._calls.run)
            while True:
                await self._look()
                await trio.sleep(self._every_s)

    def health(self) -> str:
        """Says what is wrong with it; empty: nothing. No reason to be unready."""
        return "; ".join(filter(None, (self._difference, self._away)))

    async def _look(self) -> None:
        try:
            response = await self._calls.look(PATH)
            parts = _ready(response.body).parts
        except Unavailable as error:
            self._is_away(f"away: {error}")
        except msgspec.DecodeError:
            self._is_away(f"away: status {response.status}, and not what a gateway says there")
        else:
            self._is_away("")
            self._is_seen(Identity(**msgspec.structs.asdict(parts)))

    def _is_away(self, why: str) -> None:
        if why and not self._away.startswith("away"):
            _log.info("sibling cannot be looked at", reason=why)
        elif self._away and not why:
            _log.info("sibling is looked at")
        self._away = why
        metrics.SIBLING_AWAY.set(bool(why))

    def _is_seen(self, its: Identity) -> None:
        difference = _difference(self._own, its)
        if difference and difference != self._difference:
            _log.error("the sites do not share what a pair must share", reason=difference)
        elif self._difference and not difference:
            _log.info("the sites share what a pair must share")
        self._difference = difference
        metrics.SIBLING_DIFFERS.set(bool(difference))


def _difference(own: Identity, its: Identity) -> str:
    """How the two differ where they must not, in words; empty: they do not."""
    if its.node == own.node:
        return f"it has our name, {own.node}: it is this very process, or misnamed"
    if its.group != own.group:
        return f"{its.node} serves group {its.group}, we serve {own.group}"
    if its.fingerprint != own.fingerprint:
        versions = f"versions {its.version} and {own.version}"
        return f"{its.node} has the fingerprint {its.fingerprint}, we have {own.fingerprint} ({versions})"
    return ""
