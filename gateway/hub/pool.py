"""The links of this process: one to each hub site, dialled again for ever. A site that is away disturbs no other.

A link that brings more that proves nothing than its budget allows (`budget`) is closed while another one does well, and
dialled again after a longer pause. Where none does well, it stays.

Between attempts lies a pause out of [0, limit], uniformly random so that gateways do not dial in step, with a limit
that doubles from `reconnect_s` up to `reconnect_max_s`. It starts anew only after a link that did well for
`SETTLED_S`: a hub that accepts connections and drops them is not hammered. When such a link goes and was the last one,
the pauses of the other sites end: a site that was away a while ago may be back, and there is no other link.

`hold`, `resume` and `drain` apply to present and later links. `drain` comes first; `finish` follows when nothing is in
flight any more.

A sign-off needs a MAC. Without a key one sign-off is left that the hub understands: a closed connection. So
`hold(mute=True)` closes every link, and none is dialled until a MAC can be made again.
"""

import itertools
import random as random_module
from collections.abc import Callable
from functools import partial

import trio
from msgspec import Struct

from gateway import config, log, metrics
from gateway.backoff import backoff_s
from gateway.clock import Clock
from gateway.hub.budget import Budget
from gateway.hub.dial import SILENT_S, Dial, HubConnection, Sockets
from gateway.hub.exchanges import MessageIds
from gateway.hub.link import Inbox, Link, LinkStatistics
from gateway.hub.outgoing import ContextT
from gateway.hub.rules import Direction, wanted
from gateway.hub.session import Session
from gateway.network.dialler import Dialler
from gateway.network.names import MACHINE, Network
from gateway.network.turns import Proof

_log = log.get("hub")

SETTLED_S = 10.0
"""How long a link must have been signed on as we want it before its end counts as an accident, and not as a hub that
turns us away."""

MUTE = "closed: mute, no MAC can be made, not even for a sign-off"
"""Why the links end when we are `mute`."""


class SiteStatistics(Struct, frozen=True):
    """One hub site, for people."""

    site: str
    attempts: int
    """Attempts in a row that led to no good link."""
    connects: int
    """Connections made since the start."""
    last_end: str
    """Why the last connection or attempt ended; empty before the first did."""
    link: LinkStatistics | None


class _Site:
    """One hub site, and its link while there is one."""

    def __init__(
        self, settings: config.HubSite, directions: tuple[Direction, ...], network: Network, unproved: config.Unproved
    ) -> None:
        self.settings = settings
        self.budget = Budget(unproved)
        """Of what its links bring that proves nothing."""
        self.paced = 0
        """The last strain of its budget in which its link stayed all the same."""
        self.banned_until_s = 0.0
        """It brought too much, and is not dialled before."""
        self.dialler = Dialler(f"hub {settings.name}", settings.host, settings.port, network)
        self.link: Link | None = None
        self.connection: HubConnection | None = None
        """The link's."""
        self.attempts = 0
        self.connects = 0
        self.last_end = ""
        self.proved = False
        """The hub answered on the last connection."""
        self.dialling = trio.CancelScope()
        self.connected = metrics.LINK_DIALS.labels(settings.name, "connected")
        self.failed = metrics.LINK_DIALS.labels(settings.name, "failed")
        # the series exist before the first connection, so that an alert sees a site that never came up
        metrics.LINK_UP.labels(settings.name).set_function(self._up)
        metrics.LINK_EJECTED.labels(settings.name).set(0)
        metrics.LINK_EJECTIONS.labels(settings.name)
        for outcome in metrics.OVER_BUDGET_OUTCOMES:
            metrics.LINK_OVER_BUDGET.labels(settings.name, outcome)
        for direction in directions:
            metrics.LINK_SIGNED_ON.labels(settings.name, direction.value).set(0)

    @property
    def silent(self) -> bool:
        """Whether there is a link, and its other machine has confirmed nothing for too long."""
        is_open = self.link is not None and self.link.open
        return is_open and self.connection is not None and self.connection.silent_s() > SILENT_S

    def _up(self) -> float:
        return float(self.link is not None and self.link.open and not self.silent)


class Links:
    """All links of this process. `run` it once."""

    def __init__(self, sites: tuple[config.HubSite, ...], pair: config.Pair, inbox: Inbox, message_ids: MessageIds,
                 *, clock: Clock, random: random_module.Random, came_s: Callable[[float], float],
                 unproved: config.Unproved,
                 network: Network = MACHINE,
                 dial: Dial | None = None) -> None:  # fmt: skip
        self.message_ids = message_ids
        """DE11 for every management message of this process; also for those that the engine makes."""
        self._pair = pair
        self._inbox = inbox
        self._clock = clock
        self._came_s = came_s
        self._random = random
        self._dial = dial or Sockets().dial
        self._sites = [_Site(settings, wanted(pair.session), network, unproved) for settings in sites]
        self._connections = itertools.count(1)
        self._held = False
        self._voice = trio.Event()
        self._voice.set()
        self._alone = trio.Event()
        """The last link that did well has gone."""
        self._lacking = trio.Event()
        """No link does well: also those that brought too much are wanted."""
        self._mutes = 0
        self._draining = False
        self._finishing = False
        self._running = False
        self._ended = trio.Event()

    # --- the present links

    @property
    def links(self) -> list[Link]:
        """The live ones, in the order of the configuration."""
        return [site.link for site in self._sites if site.link is not None and site.link.open]

    def signed_on(self, direction: Direction) -> list[Link]:
        """The live ones that the hub has signed on in this direction."""
        return [link for link in self.links if link.hears and link.session.signed_on(direction)]

    def submitters(self) -> list[Link]:
        """The live ones where a payment may be sent."""
        return self.signed_on(Direction.SUBMIT)

    def recall(self, kind: type[ContextT]) -> list[ContextT]:
        """Take back what no link has begun to write and whose context is of this kind; returns the contexts. Also from
        a link that ends, and writes its queue before.
        """
        return [context for site in self._sites if site.link is not None for context in site.link.recall(kind)]

    def receiving(self) -> bool:
        """Whether the hub may still send new payments on any link. A drain waits while it may."""
        return any(link.session.receiving for link in self.links)

    def ready(self) -> str:
        """Empty when at least one link is signed on in each direction that we want; else why not, in words.

        The decision on `hold` must not depend on this: held links are not ready.
        """
        if self._draining or self._finishing:
            return "draining: signed off to receive"
        if self.mute:
            return "no link to the hub: mute, none is dialled until a MAC can be made"
        if not self.links:
            ends = (f"{site.settings.name} ({site.last_end or 'not connected yet'})" for site in self._sites)
            return "no link to the hub: " + ", ".join(ends)
        return "; ".join(
            f"no link is signed on to {direction.value}" + (" (on hold)" if self._held else "")
            for direction in wanted(self._pair.session)
            if not self.signed_on(direction)
        )

    def trouble(self) -> str:
        """The sites without a link, or not signed on as we want them, in words; empty when there are none."""
        lacking: list[str] = []
        for site in self._sites:
            link = site.link
            if link is None or not link.open:
                lacking.append(f"no link to {site.settings.name} ({site.last_end or 'not connected yet'})")
                continue
            if site.silent:
                lacking.append(f"{site.settings.name} is silent: its machine does not even confirm what TCP sends")
                continue
            off = [direction.value for direction in wanted(self._pair.session) if not link.session.signed_on(direction)]
            if off:
                lacking.append(f"{site.settings.name} is not signed on to {' and '.join(off)}")
        return "; ".join(lacking)

    def statistics(self) -> list[SiteStatistics]:
        """Each site, for people."""
        return [
            SiteStatistics(
                site.settings.name,
                site.attempts,
                site.connects,
                site.last_end,
                site.link.statistics() if site.link is not None else None,
            )
            for site in self._sites
        ]

    # --- our wishes

    @property
    def mute(self) -> bool:
        """Whether every link is closed, and none dialled, for want of a MAC."""
        return not self._voice.is_set()

    def hold(self, *, mute: bool = False) -> None:
        """Not ready: sign off to receive, on every present and later link, until `resume`. Idempotent.

        Mute: no MAC can be made, so close every link instead, and dial none until `resume`, or `hold` without it.
        Queued messages still leave: they have their MACs.
        """
        if not self._held:
            self._held = True
            _log.warning("links on hold: signing off to receive")
            for link in self.links:
                link.hold(self._clock())
        if not mute:
            self._speak()
        elif not self.mute:
            _log.error("mute: closing every link, dialling none")
            self._voice = trio.Event()
            self._mutes += 1
            for site in self._sites:
                if site.link is not None:
                    site.link.close(MUTE)
                site.dialling.cancel()

    def doubt(self) -> None:
        """This process stood still: send an echo on each link."""
        for link in self.links:
            link.doubt(self._clock())

    def _speak(self) -> None:
        if self.mute:
            _log.info("no longer mute: dialling")
            self._voice.set()

    def resume(self) -> None:
        """Ready again: sign on again, unless draining; dial at once if we were mute. Idempotent."""
        self._speak()
        if self._held:
            self._held = False
            _log.info("links resumed")
            for link in self.links:
                link.resume(self._clock())

    def drain(self) -> None:
        """Sign off to receive for good. Links stay, replies leave, payments may be submitted. Idempotent."""
        if not self._draining:
            self._draining = True
            _log.info("links draining: signing off to receive")
            for link in self.links:
                link.drain(self._clock())
            self._stop_dialling()

    async def finish(self) -> None:
        """Sign off to submit too, close every link, and end `run`. Cancelled: links stay as they are, still
        finishing.
        """
        if not self._finishing:
            self._finishing = self._draining = True
            for link in self.links:
                link.finish(self._clock())
            self._stop_dialling()
        if self._running:
            await self._ended.wait()

    def _stop_dialling(self) -> None:
        for site in self._sites:
            if not self._dials():
                site.dialling.cancel()

    def _dials(self) -> bool:
        """Whether a new link is of use; while draining, only to submit."""
        return not self._finishing and (self._pair.session.submit or not self._draining)

    # --- the tasks

    async def run(self) -> None:
        """Keep a link to each site until `finish`. Cancelled: every link ends at once, and queued bodies are
        `unsent`.
        """
        assert not self._running
        self._running = True
        try:
            async with trio.open_nursery() as nursery:
                for site in self._sites:
                    nursery.start_soon(self._keep, site)
        finally:
            self._ended.set()

    async def _keep(self, site: _Site) -> None:
        while self._dials():
            if self.mute:
                with trio.CancelScope() as site.dialling:
                    await self._voice.wait()
                continue
            mutes, dialled = self._mutes, None
            with trio.CancelScope() as site.dialling:
                dialled = await self._connect(site)
            if dialled is not None and self._dials() and not self.mute:
                await self._live(site, dialled)
            elif dialled is not None:
                await trio.aclose_forcefully(dialled.stream)
            if self._mutes != mutes:
                # our doing, not the hub's: no pause once there is a voice again, which there may be already
                continue
            if not self._dials():
                return
            if site.banned_until_s > (now_s := self._clock().mono_s) and self._some_do_well():
                with trio.move_on_after(site.banned_until_s - now_s) as site.dialling:
                    await self._lacking.wait()
                site.banned_until_s = 0.0
                continue
            limit_s = backoff_s(site.attempts, site.settings.reconnect_s, site.settings.reconnect_max_s)
            pause_s = self._random.uniform(0, limit_s)
            site.attempts += 1
            self._say(site, pause_s, connected=dialled is not None)
            with trio.move_on_after(pause_s) as site.dialling:
                await self._alone.wait()

    @staticmethod
    def _say(site: _Site, pause_s: float, *, connected: bool) -> None:
        """Log each attempt once: its result, and the pause before the next."""
        about = {"link": site.settings.name, "pause_s": round(pause_s, 3), "attempt": site.attempts}
        if not connected:
            _log.warning("cannot connect", error=site.last_end, **about)
        elif site.proved:
            _log.info("dialling again", **about)
        else:
            _log.warning("connection came to nothing: no sign-on was answered", error=site.last_end, **about)

    async def _connect(self, site: _Site) -> HubConnection | None:
        within_s = site.settings.connect_within_s
        try:
            with trio.fail_after(within_s):
                dialled = await self._dial(site.settings, site.dialler)
        except trio.TooSlowError:
            site.last_end = f"no connection within {within_s:g} s"
        except (OSError, ValueError, trio.BrokenResourceError) as error:
            # ValueError: the host is not a possible name, which only the resolver or TLS can tell
            site.last_end = log.describe(error)
        else:
            site.connected.inc()
            site.connects += 1
            return dialled
        site.failed.inc()
        site.proved = False
        return None

    async def _live(self, site: _Site, dialled: HubConnection) -> None:
        # no wait between `_dials`, `mute` and here: hold, drain and finish find either no link, or this one
        session = Session(self._pair.session, self.message_ids, held=self._held, draining=self._draining)
        link = Link(
            next(self._connections), site.settings, dialled.stream, session, self._inbox,
            pair=self._pair, clock=self._clock, came_s=self._came_s, budget=site.budget,
            is_needed=partial(self._is_needed, site),
        )  # fmt: skip
        site.link, site.connection = link, dialled
        try:
            await link.run()
        finally:
            site.link = site.connection = None
            site.last_end, site.proved = link.reason, session.answered
            # an address that connects has proved nothing: a hub answers a sign-on
            site.dialler.heard(dialled.address, Proof.PROVED if session.answered else Proof.NOTHING)
            if link.over_budget:
                self._ban(site, link)
            if not self._some_do_well():
                self._call_back()
            if session.settled_s(self._clock()) >= SETTLED_S:
                site.attempts = 0
                if not self.links:
                    self._alone.set()
                    self._alone = trio.Event()

    # --- links that bring too much that proves nothing

    def _is_needed(self, site: _Site) -> bool:
        """The link of this site is in debt: whether it must stay, because no other one does well."""
        if self._some_do_well(but=site):
            return False
        if site.paced != site.budget.strains:
            site.paced = site.budget.strains
            metrics.LINK_OVER_BUDGET.labels(site.settings.name, "paced").inc()
            _log.error("link kept: what it brings proves nothing, and no other link does well", link=site.settings.name)
            self._call_back()
        return True

    def _some_do_well(self, *, but: _Site | None = None) -> bool:
        """Whether a link stands on which the hub has proved itself, and that keeps to its budget."""
        now_s = self._clock().mono_s
        return any(
            site.link is not None and site.link.does_well and not site.budget.strained(now_s)
            for site in self._sites
            if site is not but
        )

    def _ban(self, site: _Site, link: Link) -> None:
        """It was closed for what it brought."""
        now_s = self._clock().mono_s
        pause_s = site.budget.pause_s(now_s, self._random.random())
        site.banned_until_s = now_s + pause_s
        metrics.LINK_OVER_BUDGET.labels(site.settings.name, "closed").inc()
        _log.warning("link closed for a while", link=site.settings.name, reason=link.reason, pause_s=round(pause_s, 3))

    def _call_back(self) -> None:
        """No link does well: dial those that were closed for what they brought, too."""
        self._lacking.set()
        self._lacking = trio.Event()
