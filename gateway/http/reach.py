"""Hosts that are asked over HTTP: connections to them are made here, and what they prove of addresses is noted.

An address proves itself by a whole response that is not of those behind which nobody is (`NOBODY`). A connection that
brought one of these is not used again: it may lead to a host that the name has left. Of 502, 503 and 504 that costs one
every `SPARE_S` at the most: a host that turns away a part of what it is asked must not have to shake hands for each.
Nor is one used again that brought word that nobody read the request (`UNREAD`), that is old, or whose address has lost
its turn. All of that is looked at between two exchanges, never within one.
"""

from collections.abc import Callable
from math import inf

import trio

from gateway import config, log
from gateway.errors import Unavailable
from gateway.http.connection import UNTOUCHED, End, Link, Responded, Response
from gateway.http.directory import Endpoint
from gateway.http.pipe import dial
from gateway.http.statuses import UNREAD
from gateway.network.dialler import Dialler
from gateway.network.names import Network
from gateway.network.papers import Papers
from gateway.network.turns import Proof

NOBODY = frozenset({421, 502, 503, 504})
"""What a load balancer says that has nobody behind it, or a host that is not (or no more) the one to ask."""

SPARE_S = 0.1
"""How often one 502, 503 or 504 costs a connection whose address is as good as before."""


class Reach:
    """How a host is reached. Whoever asks says what became of each exchange."""

    def __init__(
        self, place: Endpoint, dialler: Dialler, papers: Papers | None, server_name: str,
        *, age_max_s: float, body_bytes_max: int, luck: Callable[[], float],
    ) -> None:  # fmt: skip
        """`papers`: TLS is spoken where the place has it. `server_name`: of its certificate; empty: the host."""
        assert papers is not None or not place.tls
        self.place = place
        self._dialler = dialler
        self._papers = papers if place.tls else None
        self._server_name = server_name or place.host
        self._age_max_s = age_max_s
        self._body_bytes_max = body_bytes_max
        self._luck = luck
        self._spared_s = -inf
        """Until when such a response costs nothing."""

    async def open(self, responded: Responded) -> Link:
        """Connect and shake hands; the caller limits the time. Raises `OSError`, `trio.BrokenResourceError`."""
        context = self._papers.context() if self._papers is not None else None
        pipe, address = await dial(self._dialler, context, self._server_name)
        link = Link(pipe, self._body_bytes_max, responded)
        link.address = address
        # those that were made together do not get old together
        link.until_s = trio.current_time() + self._age_max_s * (1.0 - self._luck() / 4)
        return link

    def fit(self, link: Link, now_s: float) -> bool:
        """Whether it may be asked once more."""
        return now_s < link.until_s and self._dialler.keeps(link.address)

    def responded(self, link: Link, response: Response, now_s: float) -> bool:
        """A whole response came. Says whether the link may be asked once more, as far as we are concerned."""
        if response.status in NOBODY:
            self._dialler.heard(link.address, Proof.MISSED)
        elif response.status not in UNREAD:
            self._dialler.heard(link.address, Proof.PROVED)
        if response.status in UNREAD:
            return False  # nobody read the request: the next one goes elsewhere
        if response.status in NOBODY and now_s >= self._spared_s:
            self._spared_s = now_s + SPARE_S
            return False
        return self.fit(link, now_s)

    def missed(self, link: Link) -> None:
        """No response came in time; it may still come."""
        self._dialler.heard(link.address, Proof.MISSED)

    def ended(self, link: Link, end: End | None) -> None:
        """It is over, and what was asked on it had no response."""
        if not link.served:
            self._dialler.heard(link.address, Proof.NOTHING)
        elif end not in UNTOUCHED:  # else the question crossed with its closing, which says nothing
            self._dialler.heard(link.address, Proof.MISSED)


class Reaches:
    """How each host that a directory names is reached by one party's settings."""

    def __init__(
        self, party: str, settings: config.Processor, papers: Papers | None, network: Network,
        luck: Callable[[], float],
    ) -> None:  # fmt: skip
        """`party` names it in logs and metrics."""
        self._party = party
        self._settings = settings
        self._papers = papers
        self._network = network
        self._luck = luck
        self._known: dict[Endpoint, Reach] = {}

    def of(self, place: Endpoint) -> Reach:
        """One for each place, whose addresses it remembers."""
        reach = self._known.get(place)
        if reach is None:
            settings = self._settings
            reach = self._known[place] = Reach(
                place,
                Dialler(self._party, place.host, place.port, self._network),
                self._papers,
                settings.tls.server_name if settings.tls is not None else "",
                age_max_s=settings.connection_age_max_s,
                body_bytes_max=settings.answer_bytes_max,
                luck=self._luck,
            )
        return reach

    async def open(self, reach: Reach, responded: Responded) -> Link:
        """Connect and shake hands. Raises `Unavailable`."""
        within_s = self._settings.connect_within_s
        with trio.move_on_after(within_s):
            try:
                return await reach.open(responded)
            except (OSError, trio.BrokenResourceError) as error:
                raise Unavailable(log.describe(error)) from error
        raise Unavailable(f"no connection within {within_s:g} s")
